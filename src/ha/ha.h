/*-------------------------------------------------------------------------
 *
 * ha.h
 *      The engine: a deterministic state machine that decides what one node
 *      of a cluster does.  The only public header of src/ha (with rules.h).
 *
 *          ha_step(node, now_ms, input, actions)
 *
 * A step takes what happened and when, and returns what to do.  It does no
 * I/O, reads no clock, draws no random number, logs nothing, never waits.
 * Time is CLOCK_BOOTTIME in ms as the caller read it.
 *
 * The engine has two homes: the worker inside the server and the supervisor
 * outside it.  Exactly one drives it at a time (the baton).  What only the
 * supervisor can do (start, stop, rewind, ...) is a goal: the worker's engine
 * sets it and yields the baton; the supervisor's engine, which gets the saved
 * state, goes on from there and from what it observes.  Actions are safe to
 * repeat: a step cut short is taken again from what is observed.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_HA_HA_H
#define PATRONI_HA_HA_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster/cluster.h"

#define HA_REASON_MAX		256
#define HA_TEXT_MAX			512
#define HA_HANG_MAX			CLUSTER_HANG_MAX
#define HA_ACTIONS_MAX		512
#define HA_COMMANDS_MAX		16
#define HA_PROTOCOL			1		/* of the saved state */
#define HA_DEADLINE_NEVER	INT64_MAX
#define HA_SYNC_NAMES_MAX	4096	/* synchronous_standby_names, as text */
#define HA_SLOTS_TEXT_MAX	8192	/* "slots" and "ignore_slots", as JSON */
#define HA_EXIT_FOREIGN		6		/* HA_EXIT: the data directory belongs to another cluster */

typedef enum HaHome
{
	HA_HOME_SUPERVISOR,
	HA_HOME_WORKER,
} HaHome;

/* synchronous_mode */
typedef enum SyncPlanMode
{
	SYNC_PLAN_OFF,
	SYNC_PLAN_ON,
	SYNC_PLAN_QUORUM,
} SyncPlanMode;

/* pg_stat_replication.sync_state, worst first as Patroni sorts them */
typedef enum SyncWalsender
{
	SYNC_WALSENDER_ASYNC,
	SYNC_WALSENDER_POTENTIAL,
	SYNC_WALSENDER_QUORUM,
	SYNC_WALSENDER_SYNC,
} SyncWalsender;

/* What the engine needs to know of the configuration. */
typedef struct HaSettings
{
	char		name[CLUSTER_NAME_MAX];
	char		scope[CLUSTER_NAME_MAX];
	char		conn_url[CLUSTER_URL_MAX];
	char		api_url[CLUSTER_URL_MAX];
	char		proxy_url[CLUSTER_URL_MAX];		/* "" = none */
	char		agent_version[CLUSTER_VERSION_MAX];	/* published as "version" */
	int64_t		ttl_ms;
	int64_t		loop_wait_ms;
	int64_t		retry_timeout_ms;
	int64_t		peer_timeout_ms;	/* a silent peer costs this much; 300 */
	bool		is_paused;
	bool		failsafe_mode;
	int64_t		maximum_lag_on_failover;	/* bytes */
	int64_t		primary_start_timeout_ms;
	int64_t		primary_stop_timeout_ms;
	int			max_timelines_history;	/* 0 = all */
	SyncPlanMode sync_mode;
	bool		sync_is_strict;
	int			sync_node_count;
	int64_t		maximum_lag_on_syncnode;	/* bytes, <= 0 off */
	bool		use_slots;
	int64_t		member_slots_ttl_ms;
	char		permanent_slots[HA_SLOTS_TEXT_MAX];	/* JSON; "" = none */
	char		ignore_slots[HA_SLOTS_TEXT_MAX];
	bool		use_pg_rewind;
	bool		remove_data_directory_on_rewind_failure;
	bool		remove_data_directory_on_diverged_timelines;
	bool		may_bootstrap;		/* the file has a bootstrap section */
	MemberTags	tags;
	char		tags_json[1024];	/* effective tags; "" = none */
	char		initial_config[16384];	/* text for a missing "config" key */
} HaSettings;

/* --- the local server, as a home observes it --- */

typedef enum HaDataDirectory
{
	HA_DATA_UNKNOWN,			/* not looked at yet */
	HA_DATA_EMPTY,				/* absent or empty */
	HA_DATA_PRESENT,			/* holds a cluster with a readable pg_control */
	HA_DATA_UNREADABLE,			/* there, but cannot be used; reason in .problem */
} HaDataDirectory;

typedef enum HaServer
{
	HA_SERVER_UNKNOWN,
	HA_SERVER_STOPPED,			/* no postmaster */
	HA_SERVER_STARTING,			/* postmaster lives, no connections yet */
	HA_SERVER_RUNNING,
	HA_SERVER_STOPPING,
} HaServer;

/* Values of DBState in PostgreSQL's catalog/pg_control.h, same order. */
typedef enum HaControlState
{
	HA_CONTROL_STARTUP,
	HA_CONTROL_SHUTDOWNED,
	HA_CONTROL_SHUTDOWNED_IN_RECOVERY,
	HA_CONTROL_SHUTDOWNING,
	HA_CONTROL_IN_CRASH_RECOVERY,
	HA_CONTROL_IN_ARCHIVE_RECOVERY,
	HA_CONTROL_IN_PRODUCTION,
	HA_CONTROL_UNKNOWN,
} HaControlState;

/* A replication slot. */
typedef struct HaSlot
{
	char		name[64];
	bool		is_active;
	bool		is_logical;
	bool		is_native;			/* the server itself keeps it on standbys */
	bool		is_lost;			/* WAL or rows that it needs are gone */
	bool		is_copying;			/* a copy that is not complete: not to be used */
	bool		has_xmin;			/* of a physical slot: it holds back vacuum */
	Lsn			restart_lsn;
	Lsn			confirmed_lsn;		/* logical */
	char		database[64];		/* logical; "" = not known */
	char		plugin[64];
	char		problem[96];		/* why this copy of a logical slot is not safe yet */
} HaSlot;

typedef struct HaPostgres
{
	HaDataDirectory data;
	HaServer	server;
	char		problem[HA_REASON_MAX];	/* why data or server is not usable */

	/* pg_control; valid when data is PRESENT */
	uint64_t	system_identifier;
	HaControlState control_state;
	Lsn			checkpoint_lsn;
	Lsn			checkpoint_redo;
	uint32_t	checkpoint_timeline;
	Lsn			minimum_recovery_lsn;
	uint32_t	minimum_recovery_timeline;
	bool		can_rewind;			/* wal_log_hints or data checksums */
	bool		is_standby_configured;	/* standby.signal or recovery.signal is there */
	bool		is_former_primary;	/* marked as one that was not compared with a leader */
	uint32_t	former_timeline;	/* the first that it was on as one; 0 = unknown */

	/* valid when RUNNING (or STARTING, as far as known) */
	bool		is_observed;		/* seen by the worker just now, not remembered */
	bool		is_in_recovery;
	uint32_t	timeline;			/* primary: its own; standby: received or replayed */
	uint32_t	newest_timeline;	/* highest id with a local history file, at least timeline */
	Lsn			write_lsn;			/* primary: insert/write position */
	Lsn			flush_lsn;			/* primary */
	Lsn			received_lsn;		/* standby: flushed by the walreceiver */
	Lsn			replayed_lsn;		/* standby */
	bool		is_streaming;		/* walreceiver status "streaming" */
	bool		has_restore_command;
	bool		is_replay_paused;
	char		upstream_host[256];	/* of primary_conninfo as configured; "" = none */
	int			upstream_port;
	char		upstream_slot[64];
	int64_t		start_time_ms;		/* of the postmaster, wall clock; 0 unknown */
	int			version_num;		/* 150020 */
	bool		has_pending_restart;
	char		pending_restart_reason[HA_TEXT_MAX];	/* JSON or "" */
	char		hang[HA_HANG_MAX];	/* it hangs: what was measured; "" = it does not, as far as known */

	/*
	 * synchronous_standby_names.  Changes of ours are numbered; a change is in
	 * force when every process that may let a commit go has read it.
	 */
	bool		has_sync;			/* the worker can set the names and see them come into force */
	bool		is_sync_settled;	/* what the file says is in force */
	bool		is_sync_overridden;	/* our value is in force, not the operator's own */
	uint32_t	sync_generation;	/* number of the change that the worker has read */
	Lsn			sync_names_lsn;		/* own end of WAL after the names were in force; 0 unknown */
	char		sync_names[HA_SYNC_NAMES_MAX];

	/*
	 * What varies in number comes last: slots and who is connected
	 * (primary and standby), and the parsed local history file of "timeline".
	 * Entries past the count are zero: ha_postgres_copy() keeps them so.
	 */
	int			n_slots;
	int			n_senders;
	int			n_history;			/* 0 on timeline 1 */
	HaSlot		slots[CLUSTER_MEMBERS_MAX];
	struct
	{
		char		application_name[64];	/* of a connected walsender */
		Lsn			flush_lsn;
		Lsn			sync_lsn;		/* what counts for synchronous_commit: write, flush or replay */
		SyncWalsender sync_state;
		bool		is_streaming;
	}			senders[CLUSTER_MEMBERS_MAX];
	TimelineHistory history[64];
} HaPostgres;

/*
 * The structure is large and mostly unused; these touch only what is used.
 * Each needs structures that were zeroed once.
 */
extern void ha_postgres_copy(HaPostgres *to, const HaPostgres *from);
extern bool ha_postgres_equal(const HaPostgres *a, const HaPostgres *b);
extern void ha_postgres_reset(HaPostgres *postgres);	/* to zero */

/* A peer's answer to GET api_url, or its silence. */
typedef struct HaPeer
{
	char		name[CLUSTER_NAME_MAX];
	uint64_t	round;				/* of the HA_ASK_PEER it answers */
	bool		is_reachable;		/* false: silence, refusal or nonsense */
	bool		is_in_recovery;
	bool		can_lead;			/* false: it says that it would not take the lease (ours) */
	bool		is_hanging;			/* one reason for can_lead to be false (ours) */
	bool		nofailover;
	bool		watchdog_failed;
	int			failover_priority;
	int			missing_slots;		/* logical slots that a consumer could not use there */
	uint32_t	timeline;
	Lsn			position;			/* max(received, replayed); primary: location */
	Lsn			checkpoint_redo;	/* of a standby's last restartpoint (ours); 0 = not told */
	MemberState state;

	/* the answer to HA_ASK_CONSENT: nothing else of the above but name and round counts */
	bool		is_vote;
	bool		has_accepted;
	char		refusal[128];		/* why it has not; "" = it did not answer */
} HaPeer;

/* --- long work that only the supervisor does; at most one at a time --- */

typedef enum HaTask
{
	HA_TASK_NONE,
	HA_TASK_INITDB,				/* initdb + configuration */
	HA_TASK_BASEBACKUP,			/* clone from .member (replica methods) */
	HA_TASK_START_PRIMARY,		/* start without standby.signal */
	HA_TASK_START_STANDBY,		/* start as standby of .member ("" = nobody) */
	HA_TASK_STOP,				/* .stop_mode */
	HA_TASK_POST_BOOTSTRAP,		/* roles, extension, script, on a running primary */
	HA_TASK_CHECK_DIVERGENCE,	/* must this directory be rewound to follow .member? */
	HA_TASK_REWIND,				/* pg_rewind from .member; server stopped */
	HA_TASK_CRASH_RECOVERY,		/* single user mode */
	HA_TASK_WAL_END,			/* find the end of the WAL on disk of a crashed primary */
	HA_TASK_REMOVE_DATA,		/* only what the operator allowed to be removed */
	HA_TASK_MOVE_DATA_ASIDE,	/* failed bootstrap: to <dir>.failed */
} HaTask;

typedef enum HaStopMode
{
	HA_STOP_FAST,
	HA_STOP_IMMEDIATE,
} HaStopMode;

typedef enum HaTaskOutcome
{
	HA_TASK_OK,
	HA_TASK_FAILED,				/* may work when tried again */
	HA_TASK_IMPOSSIBLE,			/* will not work however often it is tried */
	HA_TASK_CANCELLED,
} HaTaskOutcome;

typedef enum HaDivergence
{
	HA_DIVERGENCE_UNKNOWN,		/* could not be found out: ask again later */
	HA_DIVERGENCE_NONE,			/* it can simply follow */
	HA_DIVERGENCE_REWIND,		/* it has WAL that .member does not have */
	HA_DIVERGENCE_CLONE,		/* so it has, on one timeline id, which pg_rewind takes for the same */
} HaDivergence;

/* --- commands: SQL, REST, signals, and requests/<member> --- */

typedef enum HaCommandKind
{
	HA_COMMAND_SWITCHOVER,		/* .leader "" = the current one, .candidate "" = the best */
	HA_COMMAND_FAILOVER,		/* .candidate */
	HA_COMMAND_RESTART,			/* .member "" = this one; .role, .only_pending, .version_below;
								 * .scheduled_at_ms, of this member only */
	HA_COMMAND_RELOAD,			/* .member */
	HA_COMMAND_REINITIALIZE,	/* .member, .force, .from_leader */
	HA_COMMAND_FLUSH_SWITCHOVER,	/* forget a scheduled one */
	HA_COMMAND_SHUTDOWN,		/* the supervisor was told to stop */
	HA_COMMAND_CHECKPOINT_DONE,	/* nobody gives it: traces have the numbers of those below */
	HA_COMMAND_FAILSAFE,		/* POST /failsafe: .leader wants to go on without the store for
								 * .timeout_ms (0 = our ttl).  Answered at once; ok: .lsn is our
								 * position; else sqlstate 55000 (leads), 0A000 (mode off), 55006 */
	HA_COMMAND_FLUSH_RESTART,	/* forget the scheduled one of this member */
} HaCommandKind;

typedef struct HaCommand
{
	uint64_t	id;					/* comes back in HA_ANSWER; 0 = nobody waits */
	HaCommandKind kind;
	char		member[CLUSTER_NAME_MAX];
	char		leader[CLUSTER_NAME_MAX];
	char		candidate[CLUSTER_NAME_MAX];
	char		role[32];
	char		reason[HA_REASON_MAX];	/* of the operator, for the log */
	bool		is_scheduled;
	int64_t		scheduled_at_ms;	/* wall clock */
	bool		only_pending;
	int			version_below;		/* only a server of an older version; 0 = of any */
	char		postgres_version[16];	/* the same as it was given: "16.4" */
	bool		force;
	bool		from_leader;
	bool		wait;				/* answer when it is over, not when accepted */
	int64_t		timeout_ms;			/* for wait; 0 = 60 s */
} HaCommand;

/* --- inputs --- */

typedef enum HaInputKind
{
	HA_INPUT_TICK,				/* time passed */
	HA_INPUT_SETTINGS,			/* .settings: configuration read or changed */
	HA_INPUT_CLUSTER,			/* .view: the store as it is now */
	HA_INPUT_REACHABLE,			/* .is_reachable: the store can(not) be read */
	HA_INPUT_REPLY,				/* .reply: the end of one of our requests */
	HA_INPUT_POSTGRES,			/* .postgres */
	HA_INPUT_PEER,				/* .peer */
	HA_INPUT_TASK,				/* .task: a task ended */
	HA_INPUT_COMMAND,			/* .command */
	HA_INPUT_FENCE_LOST,		/* the page has a newer generation: stop acting */
	HA_INPUT_PROMISE,			/* .promise: what the page keeps of failsafe mode; first of all inputs */
	HA_INPUT_ASK_MEMBERS,		/* may this node go on? asked because store and standbys are silent */
} HaInputKind;

/* Same meaning as DcsOutcome in dcs/dcs.h, which src/ha does not know. */
typedef enum HaOutcome
{
	HA_OUTCOME_DONE,
	HA_OUTCOME_LOST_RACE,
	HA_OUTCOME_NOT_SENT,
	HA_OUTCOME_UNKNOWN,
} HaOutcome;

typedef struct HaInput
{
	HaInputKind kind;
	int64_t		wall_ms;		/* wall clock, for schedules and time stamps */
	union
	{
		const HaSettings *settings;
		const ClusterView *view;	/* copied by the step */
		const HaPostgres *postgres; /* copied by the step */
		const HaPeer *peer;
		const HaCommand *command;
		struct
		{
			bool		is_reachable;
			const char *reason;
		}			reachable;
		struct
		{
			uint64_t	id;
			HaOutcome	outcome;
			bool		session_lost;
			int64_t		sent_at_ms;
			uint64_t	version;
			const char *error;		/* or NULL */
		}			reply;
		struct
		{
			HaTask		task;
			uint64_t	id;
			HaTaskOutcome outcome;
			HaDivergence divergence;	/* CHECK_DIVERGENCE */
			/* WAL_END; STOP: end of the shutdown checkpoint's record; CHECK_DIVERGENCE of a
			 * running standby: how far it has got, 0 = it was not asked */
			Lsn			lsn;
			const char *message;		/* what went wrong, or NULL */
		}			task;
		struct
		{
			int64_t		until_ms;	/* this node may not lead until then; 0 = it has promised nothing */
			int64_t		page_made_ms;	/* what it promised before that is not known; 0 = long ago */
		}			promise;
	};
} HaInput;

/* --- actions --- */

typedef enum HaActionKind
{
	/* the store; .request_id comes back in HA_INPUT_REPLY */
	HA_RENEW,					/* .value = own name when the leader key is ours, else "" */
	HA_ACQUIRE,					/* .value = own name; .text = the key "promotions" from then on, or
								 * NULL; .timeline that it claims; .version of the key "promotions",
								 * .history_version of "history" and .failsafe_version of
								 * "failsafe" as decided by, 0 = absent */
	HA_RELEASE,					/* .value = own name */
	HA_PUT_MEMBER,				/* .text */
	HA_DELETE_MEMBER,
	HA_CREATE_KEY,				/* .key .text .leader_version (0 = whoever leads) */
	HA_PUT_KEY,					/* .key .text .version (0 = unconditional) .leader_version */
	HA_DELETE_KEY,				/* .key .version */
	/* peers */
	HA_ASK_PEER,				/* .member .url .round .timeout_ms */
	HA_ASK_CONSENT,				/* POST /failsafe: .member .url .round .timeout_ms .text */
	HA_PROMISE,					/* .deadline_ms: keep it in the page, before what follows is done;
								 * .ok: what was promised before the page was made does not matter */
	/* the fence and the baton */
	HA_FENCE,					/* .deadline_ms: 0 closed, HA_DEADLINE_NEVER open */
	HA_YIELD,					/* worker: give the baton to the supervisor (goal in the state) */
	/* the server; both homes can */
	HA_PROMOTE,
	HA_PLACE_HISTORY,			/* .timeline .parent .lsn: mark a taken id as taken */
	HA_FOLLOW,					/* .member .url (conn_url) .slot; "" = nobody; by reload */
	HA_CHECKPOINT,				/* ask for one, do not wait (worker) */
	HA_CREATE_SLOT,				/* .slot; .database .plugin = a logical one (worker) */
	HA_DROP_SLOT,				/* .slot (worker) */
	HA_ADVANCE_SLOT,			/* .slot .lsn: a physical one (worker) */
	HA_COPY_SLOTS,				/* .text = logical slots to keep as .member at .url (conn_url) has them,
								 * where .slot holds back vacuum for us; "[]" = none (worker) */
	HA_RELOAD,					/* configuration files again */
	HA_RESUME_REPLAY,
	HA_SET_SYNC_NAMES,			/* .text = synchronous_standby_names; NULL = the operator's own value */
	/* the server; supervisor only */
	HA_START_TASK,				/* .task .task_id .member .url .stop_mode .from_leader;
								 * .timeline of a running standby;
								 * START_STANDBY: .is_former_primary of .timeline */
	HA_CANCEL_TASK,				/* .task_id */
	HA_CALLBACK,				/* .key = on_start, on_stop, on_restart, on_role_change; .role */
	HA_EXIT,					/* .exit_code: the supervisor ends, the server is left alone */
	/* answers */
	HA_ANSWER,					/* .command_id .ok .text, .detail .hint .sqlstate when !ok */
	/* words */
	HA_LOG,						/* a decision that is new: .rule .because; level in .level */
	HA_WAKE_AT,					/* .deadline_ms: a tick is wanted then, at the latest */
} HaActionKind;

typedef struct HaAction
{
	HaActionKind kind;
	const char *rule;			/* name of the rule; static */
	char		because[HA_REASON_MAX];	/* the reason in plain words */
	int			level;			/* HA_LOG: 0 debug, 1 log, 2 warning */
	uint64_t	request_id;
	uint64_t	version;
	uint64_t	history_version;
	uint64_t	failsafe_version;
	uint64_t	leader_version;
	uint64_t	command_id;
	uint64_t	round;
	uint64_t	task_id;
	int64_t		deadline_ms;
	int			timeout_ms;
	HaTask		task;
	HaStopMode	stop_mode;
	bool		from_leader;
	bool		is_former_primary;
	bool		ok;
	int			exit_code;
	uint32_t	timeline;
	uint32_t	parent;
	Lsn			lsn;
	MemberRole	role;
	char		member[CLUSTER_NAME_MAX];
	char		key[CLUSTER_NAME_MAX + 16];
	char		value[CLUSTER_NAME_MAX];
	char		url[CLUSTER_URL_MAX];
	char		slot[64];
	char		database[64];
	char		plugin[64];
	const char *sqlstate;		/* static, or NULL */
	char		detail[HA_TEXT_MAX];
	char		hint[HA_REASON_MAX];
	char	   *text;			/* owned by the list; NULL = none */
} HaAction;

typedef struct HaActions
{
	HaAction   *items;			/* owned */
	int			count;
	int			n_allocated;
	bool		is_incomplete;	/* no memory: the caller drops the list and ticks again */
} HaActions;

extern void ha_actions_init(HaActions *actions);
extern void ha_actions_reset(HaActions *actions);	/* frees texts, keeps the array */
extern void ha_actions_free(HaActions *actions);

/* --- the node --- */

typedef struct HaNode HaNode;

extern HaNode *ha_node_create(HaHome home);			/* NULL: no memory */
extern void ha_node_free(HaNode *node);
extern void ha_step(HaNode *node, int64_t now_ms, const HaInput *input, HaActions *actions);

/* The baton: what the other home must know.  malloc'ed JSON, no secrets. */
extern char *ha_node_save(const HaNode *node);
/* Take over from a saved state (NULL: from nothing).  Unknown fields are ignored. */
extern bool ha_node_load(HaNode *node, const char *saved, int64_t now_ms);

/*
 * Should the supervisor keep the baton?  True while a task runs, a goal is
 * under way or the server is not running.
 */
extern bool ha_wants_supervisor(const HaNode *node);

/* --- what it thinks, for people; never NULL texts --- */

typedef struct HaDecision
{
	const char *rule;
	char		because[HA_REASON_MAX];
	int64_t		since_ms;
} HaDecision;

extern const HaDecision *ha_decision(const HaNode *node);
extern MemberRole ha_role(const HaNode *node);			/* in-memory role, as Patroni's */
extern MemberState ha_state(const HaNode *node);
extern bool ha_has_lease(const HaNode *node);
/* When at the earliest was asked for what gave a deadline of the fence? */
extern int64_t ha_deadline_asked_ms(const HaNode *node, int64_t deadline_ms);
extern int64_t ha_lease_deadline_ms(const HaNode *node);	/* 0 none, HA_DEADLINE_NEVER */
extern const char *ha_goal_name(const HaNode *node);	/* "" = none */
extern const char *ha_task_name(HaTask task);
extern bool ha_is_paused(const HaNode *node);

/* Would this standby leave the lease alone, whatever its position? */
extern bool ha_is_outranked(const ClusterView *view, const char *name, const HaPostgres *postgres,
							int64_t maximum_lag);

/* "16.4" is 160004, "9.6.3" is 90603; 0: it is no such version. */
extern int	ha_version_number(const char *text);

/* Synchronous replication, for people: what should be and why it is not yet. */
typedef struct HaSyncReport
{
	SyncPlanMode mode;
	const char *step;				/* the next one; "" = none is planned here */
	const char *rule;
	char		because[HA_REASON_MAX];
	bool		is_settling;		/* the last change has not taken effect everywhere */
	char		names[HA_SYNC_NAMES_MAX];	/* that shall come into force next; "" = no change */
	bool		has_names;			/* "names" says something, if only that nobody is waited for */
} HaSyncReport;

extern void ha_sync_report(const HaNode *node, HaSyncReport *report);
extern bool ha_sync_is_waiting(const HaNode *node);	/* for the server to show a change, or a confirmation */

/* A slot that this member keeps or finds, for people. */
typedef struct HaSlotReport
{
	char		name[64];
	bool		is_logical;
	const char *kind;				/* "member", "retained", "permanent", "ignored", "foreign" */
	char		member[CLUSTER_NAME_MAX];	/* "" = none */
	char		database[64];
	char		plugin[64];
	bool		exists;
	bool		is_active;
	Lsn			restart_lsn;
	Lsn			confirmed_lsn;
	Lsn			leader_lsn;			/* as the leader has published it; 0 = unknown */
	bool		is_safe;			/* could be used after a failover to this member */
	char		because[HA_REASON_MAX];
} HaSlotReport;

/* How many permanent logical slots could not be used on this standby. */
extern int	ha_missing_slots(const HaSettings *settings, const HaPostgres *postgres);
extern int	ha_slot_report(const HaNode *node, HaSlotReport *rows, int max);

/*
 * failsafe_mode.  Until when is it active here: all members have agreed that this
 * one goes on leading without the store, or this one has promised not to lead;
 * 0 = it is not.  When was the request sent with which all agreed last?
 */
extern int64_t ha_failsafe_until_ms(const HaNode *node);
extern int64_t ha_failsafe_agreed_ms(const HaNode *node);
extern int64_t ha_failsafe_bound_ms(const HaNode *node);	/* it may not lead before; 0 = it may */

/* One row a member and reason: could it become primary now, and why (not)? */
typedef struct HaExplanation
{
	char		member[CLUSTER_NAME_MAX];
	bool		is_eligible;
	bool		is_for;				/* the reason speaks for it */
	char		reason[HA_REASON_MAX];
} HaExplanation;

/* Fills up to "max" rows, returns how many. */
extern int	ha_explain(const HaNode *node, int64_t now_ms, HaExplanation *rows, int max);

#endif							/* PATRONI_HA_HA_H */
