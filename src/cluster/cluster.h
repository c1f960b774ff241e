/*-------------------------------------------------------------------------
 *
 * cluster.h
 *      The words of the domain: member, leader, failover request, sync state,
 *      status, history, and the view of a whole cluster as the store holds it.
 *
 * Pure: no I/O, no clock, no behaviour beyond reading and writing the JSON of
 * each key exactly as Patroni does.  Reading never fails: like Patroni it
 * takes what it can use and leaves the rest at its default (a member whose
 * JSON is broken still exists, with state unknown).
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_CLUSTER_CLUSTER_H
#define PATRONI_CLUSTER_CLUSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLUSTER_NAME_MAX		128	/* member, scope; bytes with the final NUL */
#define CLUSTER_HANG_MAX	176
#define CLUSTER_URL_MAX			512
#define CLUSTER_SESSION_MAX		64	/* etcd lease, Consul session, ... */
#define CLUSTER_VERSION_MAX		32
#define CLUSTER_MEMBERS_MAX		64	/* further members are ignored, and said so */
#define CLUSTER_HISTORY_MAX		1024
#define CLUSTER_SLOTS_MAX		256
#define CLUSTER_REASON_MAX		256

typedef uint64_t Lsn;				/* WAL position in bytes; 0 = unknown */

/* What a member says it is doing.  Texts: member_state_name(). */
typedef enum MemberState
{
	MEMBER_INITDB,					/* "initializing new cluster" */
	MEMBER_INITDB_FAILED,			/* "initdb failed" */
	MEMBER_CUSTOM_BOOTSTRAP,		/* "running custom bootstrap script" */
	MEMBER_CUSTOM_BOOTSTRAP_FAILED,	/* "custom bootstrap failed" */
	MEMBER_CREATING_REPLICA,		/* "creating replica" */
	MEMBER_RUNNING,					/* "running" */
	MEMBER_STARTING,				/* "starting" */
	MEMBER_STARTING_CUSTOM,			/* "starting after custom bootstrap" */
	MEMBER_START_FAILED,			/* "start failed" */
	MEMBER_RESTARTING,				/* "restarting" */
	MEMBER_RESTART_FAILED,			/* "restart failed" */
	MEMBER_STOPPING,				/* "stopping" */
	MEMBER_STOPPED,					/* "stopped" */
	MEMBER_STOP_FAILED,				/* "stop failed" */
	MEMBER_CRASHED,					/* "crashed" */
	MEMBER_STATE_UNKNOWN,			/* "unknown" */
} MemberState;

typedef enum MemberRole
{
	ROLE_UNINITIALIZED,
	ROLE_REPLICA,
	ROLE_STANDBY_LEADER,
	ROLE_PRIMARY,					/* reads "master" as well */
	ROLE_PROMOTED,
	ROLE_DEMOTED,
	ROLE_UNKNOWN,
} MemberRole;

/* The tags that mean something to us; the rest stays in Member.tags_json. */
typedef struct MemberTags
{
	bool		nofailover;			/* effective: also failover_priority <= 0 */
	bool		noloadbalance;
	bool		clonefrom;
	bool		nosync;
	bool		nostream;
	int			failover_priority;	/* default 1; 0 when nofailover */
	int			sync_priority;
	char		replicatefrom[CLUSTER_NAME_MAX];	/* "" = the leader */
} MemberTags;

typedef struct Member
{
	char		name[CLUSTER_NAME_MAX];
	char		session[CLUSTER_SESSION_MAX];	/* of the store's key; "" none */
	uint64_t	version;						/* of the store's key */
	char		conn_url[CLUSTER_URL_MAX];
	char		api_url[CLUSTER_URL_MAX];
	char		proxy_url[CLUSTER_URL_MAX];
	MemberState state;
	MemberRole	role;
	char		agent_version[CLUSTER_VERSION_MAX];	/* "version" */
	char		replication_state[32];			/* "streaming", "in archive recovery", "" */
	Lsn			xlog_location;
	Lsn			receive_lsn;
	Lsn			replay_lsn;
	uint32_t	timeline;						/* 0 = absent */
	bool		has_checkpoint_pending;			/* "checkpoint_after_promote": false */
	bool		is_paused;						/* "pause" */
	bool		has_pending_restart;
	char		hang[CLUSTER_HANG_MAX];			/* ours: it hangs, and what was measured; "" = it does not */
	bool		gives_way;						/* ours: it could not be promoted, and lets others go first */
	MemberTags	tags;
	char	   *tags_json;						/* owned; NULL = no tags */
	char	   *pending_restart_reason_json;	/* owned; NULL = absent */
	char	   *scheduled_restart_json;			/* owned; NULL = absent */
} Member;

typedef struct ClusterSlot
{
	char		name[64];
	Lsn			lsn;
} ClusterSlot;

typedef struct ClusterStatus
{
	bool		exists;
	Lsn			optime;				/* the leader's last known position */
	ClusterSlot *slots;				/* owned */
	int			n_slots;
	char	   *retain_slots_json;	/* owned; NULL = absent */
} ClusterStatus;

/* The "failover" key: a request for a switchover or failover. */
typedef struct FailoverRequest
{
	bool		exists;				/* leader or candidate is set */
	char		leader[CLUSTER_NAME_MAX];		/* set: switchover from it */
	char		candidate[CLUSTER_NAME_MAX];	/* JSON field "member" */
	bool		is_scheduled;
	bool		schedule_is_bad;	/* unparsable or without time zone */
	int64_t		scheduled_at_ms;	/* since 1970 */
	char		scheduled_at[64];	/* as written */
	char		refused[CLUSTER_REASON_MAX];	/* ours: why the last one was refused, in a
											 * cleared key: {"refused": "..."}; "" = absent */
	uint64_t	version;
} FailoverRequest;

typedef struct SyncState
{
	bool		exists;				/* false when "leader" is empty */
	char		leader[CLUSTER_NAME_MAX];
	int			quorum;
	char	   *sync_standby;		/* owned; comma joined, NULL = none */
	uint64_t	version;
} SyncState;

typedef struct TimelineHistory
{
	uint32_t	timeline;			/* the one that ended */
	Lsn			switch_lsn;
	char		reason[CLUSTER_REASON_MAX];
	char		timestamp[40];		/* "" = absent */
	char		new_leader[CLUSTER_NAME_MAX];	/* "" = absent */
} TimelineHistory;

/*
 * Our own key "promotions": the timeline ids that were taken, written before
 * each promotion, so that no two promotions share an id.
 *   {"2": {"name": "node2", "from": 1, "lsn": 50331800}}
 * A server that a person promoted to such an id adds "also" and "also_lsn".
 */
typedef struct TakenTimeline
{
	uint32_t	timeline;
	uint32_t	parent;
	Lsn			lsn;				/* where it was about to fork */
	char		name[CLUSTER_NAME_MAX];
	char		also[CLUSTER_NAME_MAX];	/* who has other WAL on it, promoted by hand; "" = nobody known */
	Lsn			also_lsn;			/* where that forked */
} TakenTimeline;

/*
 * Our own key "requests/<member>": a command from another member's SQL or
 * ctl (restart, reload, reinitialize), answered in place.
 */
typedef struct MemberRequest
{
	char		member[CLUSTER_NAME_MAX];
	char		id[40];				/* "" = the text asks for nothing: it can be replaced */
	char		command[32];
	char	   *arguments_json;		/* owned; NULL = none */
	bool		is_done;
	bool		is_refused;
	char		result[CLUSTER_REASON_MAX];
	uint64_t	version;
} MemberRequest;

/* An entry of the key "failsafe": a member whose consent a leader without the store needs. */
typedef struct FailsafeMember
{
	char		name[CLUSTER_NAME_MAX];
	char		api_url[CLUSTER_URL_MAX];
} FailsafeMember;

typedef struct ClusterView
{
	bool		is_loaded;			/* false: nothing is known of the store */
	bool		is_incomplete;		/* a key did not fit the bounds or memory: reload when in doubt */
	uint64_t	revision;			/* store revision this view shows */
	uint64_t	complete_revision;	/* everything up to there is in it; own writes may be newer */

	bool		has_leader;			/* the key exists and is not empty */
	char		leader[CLUSTER_NAME_MAX];
	char		leader_session[CLUSTER_SESSION_MAX];
	uint64_t	leader_version;		/* 0 when there is none */

	bool		has_initialize;		/* the key exists, maybe empty */
	char		system_identifier[32];	/* "" while bootstrapping or invalid (< 10 digits) */

	char	   *config_json;		/* owned; NULL = missing or not an object */
	uint64_t	config_version;		/* 0 = no valid config */

	FailoverRequest failover;
	SyncState	sync;
	ClusterStatus status;			/* without the key, optime is that of "optime/leader" */
	Lsn			legacy_optime;		/* key "optime/leader"; 0 = absent */
	char	   *failsafe_json;		/* owned; NULL = absent, or not an object */

	bool		has_history;		/* the key exists and parses */
	TimelineHistory *history;		/* owned */
	int			n_history;

	TakenTimeline *taken;			/* owned, ascending */
	int			n_taken;
	uint64_t	taken_version;		/* of the key "promotions"; 0 = absent */

	/* the versions of these keys, of a text that cannot be read, too; 0 = absent */
	uint64_t	config_seen;
	uint64_t	promotions_seen;
	uint64_t	history_seen;
	uint64_t	status_seen;
	uint64_t	failsafe_seen;

	MemberRequest *requests;		/* owned */
	int			n_requests;

	Member	   *members;			/* owned, sorted by name */
	int			n_members;
} ClusterView;

/* --- the view, built from the store's keys --- */

/* One key of the store, relative to the cluster's base path. */
typedef struct ClusterKey
{
	const char *name;				/* "leader", "members/node1", ... */
	const char *value;				/* NUL-terminated, may be "" */
	const char *session;			/* "" = permanent */
	uint64_t	version;
} ClusterKey;

extern void cluster_view_init(ClusterView *view);
extern void cluster_view_free(ClusterView *view);
extern bool cluster_view_copy(ClusterView *to, const ClusterView *from);	/* false: no memory, *to empty */

/* Put one key into the view (replacing what it held) or take it away (value NULL). */
extern void cluster_view_apply(ClusterView *view, const ClusterKey *key);

extern const Member *cluster_find_member(const ClusterView *view, const char *name);
extern const MemberRequest *cluster_find_request(const ClusterView *view, const char *member);
extern bool cluster_is_leader(const ClusterView *view, const char *name);
/* patroni/dcs/__init__.py, Cluster.timeline: last entry + 1; exactly [] is 1; missing is 0. */
extern uint32_t cluster_timeline(const ClusterView *view);
extern Lsn cluster_left_at(const ClusterView *view, uint32_t timeline);

/* --- one key each way; returned texts are malloc'ed, NULL = no memory --- */

extern void member_init(Member *member);
extern void member_free(Member *member);
extern bool member_copy(Member *to, const Member *from);
extern void member_from_text(Member *member, const char *text);
extern char *member_to_text(const Member *member);
extern void member_tags_from_json(MemberTags *tags, const char *json);	/* NULL = defaults */

extern void failover_from_text(FailoverRequest *request, const char *text);
extern char *failover_to_text(const FailoverRequest *request);	/* "{}" when !exists */
extern void sync_from_text(SyncState *sync, const char *text);
extern char *sync_to_text(const SyncState *sync);
extern bool sync_next_standby(const char **list, const char **name, size_t *length);
extern bool sync_names_standby(const SyncState *sync, const char *name);
extern bool sync_names_member(const SyncState *sync, const char *name);
extern void status_from_text(ClusterStatus *status, const char *text);
extern char *status_to_text(const ClusterStatus *status);
extern char *history_to_text(const TimelineHistory *history, int n_history);
extern char *taken_to_text(const TakenTimeline *taken, int n_taken);
extern char *request_to_text(const MemberRequest *request);
/* How many members the text names, at most CLUSTER_MEMBERS_MAX; -1: it cannot be used.  NULL: 0. */
extern int	failsafe_from_text(FailsafeMember *members, const char *text);
extern char *failsafe_to_text(const FailsafeMember *members, int n_members);

/* Text forms. */
extern const char *member_state_name(MemberState state);
extern MemberState member_state_from_name(const char *name);
extern const char *member_role_name(MemberRole role);
extern MemberRole member_role_from_name(const char *name);
/* The replication slot of a member: patroni/dcs/__init__.py, slot_name_from_member_name(). */
extern void member_slot_name(const char *member_name, char slot_name[64]);
extern bool member_host_port(const Member *member, char host[256], int *port);	/* from conn_url */
extern void lsn_to_text(Lsn lsn, char text[24]);			/* "0/4000400" */
extern bool lsn_from_text(const char *text, Lsn *lsn);		/* "X/X" */

/* ISO 8601 with zone <-> ms since 1970.  Pure arithmetic, no tz database. */
extern bool timestamp_from_text(const char *text, int64_t *wall_ms, bool *has_zone);
extern void timestamp_to_text(int64_t wall_ms, char text[40]);	/* ...T..:..:..ffffff+00:00 */

/* patroni/utils.py, deep_compare(): equal key sets, other values by their printed form. */
extern bool json_text_equal(const char *a, const char *b);

/* The whole view as a JSON document, for SQL and REST; members as REST
 * /cluster shows them plus what patroni.member needs.  malloc'ed, or jansson's. */
extern char *cluster_view_to_json(const ClusterView *view);
extern struct json_t *cluster_view_to_object(const ClusterView *view);

#endif							/* PATRONI_CLUSTER_CLUSTER_H */
