/*-------------------------------------------------------------------------
 *
 * sim.h
 *      The simulator: a whole cluster in one thread and in virtual time.
 *
 * It links the engine (src/ha, src/cluster), the front of the store
 * (src/dcs/dcs.c), what drives the engine (src/node/host.c) and the lease
 * page exactly as they ship, and replaces what is around them: the clocks,
 * the store behind its driver, the peers' REST, both homes' loops, the
 * server, the network, the people.
 *
 * One world at a time, in "sim".  Everything that happens is an event; the
 * only source of chance is sim_random().  A seed gives the same run on every
 * compiler: no floating point, no addresses or hash orders in decisions, and
 * never two draws in one expression (their order is the compiler's).
 *
 * Time is "true" time in microseconds from the start of the run.  Each host
 * has a clock of its own that runs a little fast or slow; what ships reads
 * that one, through clock_gettime().
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_SIM_SIM_H
#define PATRONI_SIM_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/lease_page.h"
#include "ha/ha.h"
#include "node/host.h"

#define SIM_NODES_MAX		9
#define SIM_BRANCHES_MAX	512
#define SIM_CHECKPOINTS_MAX	8
#define SIM_HISTORY_MAX		512		/* history files in one data directory */
#define SIM_WRITES_MAX		65536	/* of clients, in one run */
#define SIM_SYSTEM_ID		UINT64_C(7277694203142172922)
#define SIM_MS(ms)			((int64_t) (ms) * 1000)
#define SIM_NEVER			INT64_MAX

/* ------------------------------------------------------------------------
 * Chance and events: random.c, queue.c
 * ------------------------------------------------------------------------ */

extern void sim_seed(uint64_t seed);
extern uint64_t sim_random(void);
extern int	sim_pick(int n);						/* 0 .. n - 1; n > 0 */
extern bool sim_chance(int per_mille);
extern int64_t sim_between(int64_t low, int64_t high);	/* both included */
extern int64_t sim_client_between(int64_t low, int64_t high);	/* from a stream of its own */

/*
 * What happens later.  "owned" is malloc'ed or NULL; the queue frees it after
 * the call, and when the event is dropped.
 */
typedef void (*SimEvent) (int node, int64_t number, void *owned);

typedef enum SimProcessKind
{
	SIM_SUPERVISOR,
	SIM_WORKER,					/* lives only while the server does */
	SIM_SERVER,					/* postmaster and all its children but the worker */
	SIM_PROCESSES,
} SimProcessKind;

/*
 * A process that can be paused and killed.  An event for a paused process
 * waits until it goes on; one for a dead incarnation is dropped.
 */
typedef struct SimProcess
{
	bool		is_alive;
	int			n_pauses;		/* its own and its host's; 0 = runs */
	uint32_t	incarnation;
} SimProcess;

/* For the world: happens whatever the state of the nodes (node may be -1). */
extern void sim_later(int64_t delay_us, SimEvent event, int node, int64_t number, void *owned);
/* In a process, as it is now. */
extern void sim_later_in(int node, SimProcessKind process, int64_t delay_us,
						 SimEvent event, int64_t number, void *owned);
/* queue.c: take the next event; false: there is none before "until_us". */
extern bool sim_next(int64_t until_us);
extern void sim_queue_reset(void);
/* A process goes on: what waited for it happens now, in its order. */
extern void sim_process_resumed(int node, SimProcessKind process);

/* ------------------------------------------------------------------------
 * Write-ahead log: wal.c.  The truth, which no node sees.
 *
 * A branch is one timeline as it really is: it begins with a promotion (or
 * initdb) on one node and forks from its parent at fork_lsn.  Timeline ids
 * are what nodes call branches; two branches with one id break S6.
 * ------------------------------------------------------------------------ */

typedef struct SimBranch
{
	int			parent;			/* -1: of initdb */
	Lsn			fork_lsn;
	uint32_t	timeline;
	int			node;			/* who made it */
	int64_t		made_us;
	Lsn			tip;			/* how far its owner has written it */
	Lsn			checkpoint[SIM_CHECKPOINTS_MAX];	/* its last checkpoint records, in a ring */
	int			n_checkpoints;	/* ever */
} SimBranch;

/* Everything up to "lsn" on "branch" and its ancestors. */
typedef struct SimPosition
{
	int			branch;
	Lsn			lsn;
} SimPosition;

extern int	sim_branch_make(int parent, Lsn fork_lsn, uint32_t timeline, int node);
/* Is b's WAL the beginning of a's? */
extern bool sim_wal_contains(SimPosition a, SimPosition b);
/* How far do both agree?  The last common position. */
extern SimPosition sim_wal_common(SimPosition a, SimPosition b);

/* ------------------------------------------------------------------------
 * Data directory and server: data.c, server.c, stream.c, commits.c
 * ------------------------------------------------------------------------ */

/* A history file: timeline "timeline" forked from "parent" at "lsn". */
typedef struct SimHistoryFile
{
	uint32_t	timeline;
	uint32_t	parent;
	Lsn			lsn;
	bool		is_placed;		/* by HA_PLACE_HISTORY: only takes the id */
} SimHistoryFile;

typedef enum SimSyncMode
{
	SIM_ASYNC,
	SIM_SYNC_PRIORITY,
	SIM_SYNC_QUORUM,
} SimSyncMode;

/* synchronous_standby_names as the server has it. */
typedef struct SimSyncNames
{
	SimSyncMode mode;
	int			number;
	uint32_t	nodes;			/* a bit each; in SIM_SYNC_PRIORITY lowest first */
	bool		any;			/* '*' */
	bool		is_overridden;	/* by us, not the operator's own value */
	uint32_t	generation;		/* number of the change */
} SimSyncNames;

/* What is on disk. */
typedef struct SimData
{
	HaDataDirectory state;
	uint64_t	system_identifier;
	HaControlState control_state;
	SimPosition end;			/* durable WAL: what survives any crash */
	Lsn			written_lsn;	/* >= end.lsn: lost when the host crashes, not with the server */
	SimPosition checkpoint;		/* the last checkpoint */
	Lsn			checkpoint_redo;
	uint32_t	checkpoint_timeline;
	SimPosition minimum_recovery;	/* pg_control's; .lsn 0 on a primary */
	bool		is_rewinding;	/* pg_rewind has begun and not ended: marked unusable */
	uint32_t	rewind_timeline;	/* the leader's, then */
	int			rewind_failed_of;	/* 1 + the node pg_rewind failed of for good; 0 none */
	bool		is_standby_configured;	/* standby.signal */
	bool		is_fresh_copy;	/* backup_label is there: a base backup that never ran */
	bool		is_former_primary;	/* the mark data_former_primary_set() */
	uint32_t	former_timeline;
	int			upstream;		/* primary_conninfo: node, -1 none */
	char		upstream_slot[64];
	SimHistoryFile history[SIM_HISTORY_MAX];
	int			n_history;
	SimSyncNames sync_file;		/* patroni.sync.conf */
	bool		is_broken;		/* server does not start from it, or it cannot be read */
} SimData;

/* What runs. */
typedef struct SimServer
{
	HaServer	state;
	bool		is_in_recovery;
	SimPosition insert;			/* primary: end of WAL inserted, >= data.end */
	Lsn			replayed_lsn;	/* standby */
	uint32_t	timeline;		/* as the server says */
	bool		is_streaming;	/* standby: walreceiver connected */
	int			stream_from;	/* node, -1 none */
	int64_t		start_wall_ms;
	/* synchronous_standby_names, as each process has read them: sync.c */
	SimSyncNames sync_names;	/* the postmaster */
	SimSyncNames checkpointer_names;
	SimSyncNames worker_names;
	SimSyncNames sender_names[SIM_NODES_MAX];
	Lsn			sync_lsn;		/* end of WAL when the names were in force; 0 unknown */
	uint32_t	sync_lsn_generation;
	int64_t		sync_unsettled_us;	/* 0 = all have read the file */
	Lsn			replicated_lsn;	/* the synchronous standbys have it, as walsenders found */
	/* what backends and the worker share about commits: commits.c */
	bool		is_exposed;		/* clients wait until the standbys have what was recovered */
	Lsn			exposed_lsn;	/* which is that; 0 = not looked at yet */
	int64_t		lonely_since_us;	/* commits have too few standbys to wait for; 0 = enough */
	bool		is_isolated;	/* neither a standby nor the store answers: commits are held */
	bool		is_replay_paused;
	/* walsenders, a bit for each node that streams from here */
	uint32_t	receivers;
	Lsn			receiver_flush[SIM_NODES_MAX];	/* as the walsender knows it */
	/* physical slots, named after members; where one was moved to, 0 = nowhere */
	char		slots[SIM_NODES_MAX * 2][64];
	Lsn			slot_moved_to[SIM_NODES_MAX * 2];
	int			n_slots;

	/* private to server.c and stream.c */
	bool		is_promoting;
	bool		is_told_to_stop;
	bool		is_stop_sent;	/* the signal may be waiting for a paused postmaster */
	bool		is_flushing_checkpoint;
	Lsn			visible_lsn;	/* primary: commits up to there are seen by who may look */
	uint32_t	recovery_target;	/* timeline that recovery goes to */
	uint32_t	stream_generation;
	bool		is_sending;		/* WAL is under way to here */
	bool		is_replay_pending;
	SimPosition in_flight;
	int64_t		heard_us;		/* from the upstream */
	int64_t		stop_until_us;	/* of waiting for receivers */
} SimServer;

/* The task of the supervisor that runs: tasks.c. */
typedef struct SimTask
{
	HaTask		task;
	uint64_t	id;
	uint32_t	serial;			/* events of earlier ones are void */
	int			source;			/* node, -1 none */
	uint32_t	source_incarnation;
	char		slot[64];
	HaStopMode	stop_mode;
	uint32_t	timeline;		/* of the running standby; 0 = unknown */
	bool		is_former_primary;
	int			harshness;
	bool		must_fail;
	bool		is_waiting;		/* for the server to start or stop */
	bool		is_over;		/* the result waits for the supervisor */
	HaTaskOutcome outcome;
	HaDivergence divergence;
	Lsn			lsn;
	const char *message;		/* static, or NULL */
	SimEvent	next;			/* step of the child */
} SimTask;

extern uint32_t sim_timeline_of(SimPosition position);		/* its branch's id */
extern void sim_data_clear(int node);						/* an empty directory */
extern void sim_history_add(SimData *data, uint32_t timeline, uint32_t parent, Lsn lsn, bool is_placed);
extern uint32_t sim_newest_timeline(const SimData *data);	/* last of the run of files after its own */

/* The server.  Each may be called in any state; what makes no sense does nothing. */
extern void sim_server_start(int node, bool as_standby);	/* STARTING; RUNNING later; worker with it */
extern void sim_server_stop(int node, HaStopMode mode);		/* STOPPING; STOPPED later */
extern void sim_server_kill(int node);						/* SIGKILL of the postmaster: all children go */
extern void sim_server_promote(int node);					/* pg_promote: takes time */
extern void sim_server_follow(int node, int upstream, const char *slot);	/* primary_conninfo + reload */
extern void sim_server_checkpoint(int node);
extern void sim_server_host_lost(int node);					/* power: the unflushed tail is gone */
extern void sim_server_crash_restart(int node);	/* a child was killed: the same postmaster restarts all, worker too */
extern void sim_server_resumed(int node);					/* after a pause of SIM_SERVER */

/* An operator promotes by hand (pg_ctl promote), whatever the cluster thinks. */
extern void sim_server_promote_by_hand(int node);

/* Clients: client.c.  Writers with unique values, readers. */
typedef struct SimWrite
{
	int			node;			/* where it was written */
	SimPosition commit;			/* end of its commit record */
	int64_t		acked_us;		/* -1: never acknowledged */
	bool		is_lost;		/* a promotion left it behind, allowed by the mode then */
	bool		is_shown;		/* a primary showed it to readers, who were promised that it stays */
	bool		is_left;		/* a promotion left it behind, and was allowed to */
	bool		is_cut_off;		/* its wait was cancelled: seen by all, and promised to nobody */
	bool		is_cut_by_stop; /* a stop ended its wait, and the lease page remembers that */
	SimSyncMode mode;			/* promised when it was acknowledged; SIM_ASYNC: nothing */
} SimWrite;

extern void sim_walsenders_changed(int node);	/* one came, went, or has read its settings */
extern SimSyncMode sim_check_sync_promise(void);	/* what a write is promised that is acknowledged now */
extern void sim_check_sync_key(bool exists);		/* the key "sync" was written or deleted */
extern void sim_check_shown(int write);				/* S2: a primary shows it to whoever looks */
extern void sim_check_shows(int node);				/* S2: all that is visible there */
extern void sim_check_wal_ends(int node);			/* S2: what was behind it never came to be */
extern void sim_check_page_lost(int node);			/* S2: a host forgets whose wait it cut off */

extern void sim_clients_start(void);
extern void sim_clients_stop(void);
extern int64_t sim_client_waits_us(int node);	/* a commit, for standbys; 0 = none does */

/* ------------------------------------------------------------------------
 * Tasks of the supervisor: tasks.c
 * ------------------------------------------------------------------------ */

extern void sim_task_start(int node, const HaAction *action);
extern void sim_task_cancel(int node);
extern HaTask sim_task_running(int node);
extern void sim_task_forget(int node);			/* its supervisor died */

/* ------------------------------------------------------------------------
 * The network: network.c.  Endpoints are nodes 0..n-1 and SIM_STORE.
 * ------------------------------------------------------------------------ */

#define SIM_STORE			SIM_NODES_MAX
#define SIM_ENDPOINTS		(SIM_NODES_MAX + 1)

typedef struct SimLink
{
	bool		is_cut;			/* nothing gets through in this direction */
	bool		is_refusing;	/* a cut that is told (RST), not a silence */
	int			loss;			/* per mille, of messages */
	int64_t		delay_us;		/* base; up to as much again by chance */
} SimLink;

/* One message: its delay, or -1 when it gets lost.  Both ends must be up. */
extern int64_t sim_send_delay(int from, int to);
extern bool sim_is_connected(int a, int b);		/* both directions let something through */
extern void sim_network_reset(void);			/* no faults */

/* ------------------------------------------------------------------------
 * The store: store.c, and its driver, which src/dcs/dcs.c calls: driver.c
 *
 * Linearisable; leases, revisions, watches, compare-and-swap.  The faults
 * are switches that faults.c sets.
 * ------------------------------------------------------------------------ */

typedef struct SimStoreFaults
{
	bool		is_down;		/* nobody is answered; leases do not run */
	bool		is_frozen;		/* connections stay, nothing moves */
	bool		lets_expire_late;	/* leases end up to 1 s after their time */
	int			lost_reply;		/* per mille: done, but the answer is lost */
	int			late_request;	/* per mille: takes effect up to seconds later */
	int			stale_read;		/* per mille of loads that are not linearisable */
	int64_t		watch_lag_us;	/* events come that much later */
} SimStoreFaults;

typedef struct SimKey
{
	char		name[160];		/* relative: "leader" */
	char	   *value;			/* owned */
	char		session[24];	/* "" = permanent */
	uint64_t	version;
	uint64_t	created;		/* the version with which it appeared */
} SimKey;

extern void sim_store_reset(void);
extern const SimKey *sim_store_find(const char *name);		/* NULL: absent */
extern int	sim_store_leader(void);			/* node, -1 none or unknown name */
extern int	sim_node_of(const char *name);	/* -1 unknown */
/* By the world, as an operator or a Patroni member would; NULL deletes.  Returns the version. */
extern uint64_t sim_store_put(const char *name, const char *value, const char *session);
extern bool sim_store_cas(const char *name, const char *value, const char *session, uint64_t version);
extern void sim_store_grant(const char *session, int64_t ttl_us);	/* grant or renew */
extern bool sim_store_lease_runs(const char *session);
/* A change of the leader inside the store: all leases get their full time again. */
extern void sim_store_new_leader(void);
extern void sim_store_compact(void);		/* watches must load again */
extern void sim_store_outage(bool is_down);	/* leases stop while down, full time after */
/* Is anything of the store's to be told to drivers of this node? wakes their hosts */

/* ------------------------------------------------------------------------
 * Nodes: node.c (life, loop, baton), observe.c, act.c, peers.c
 * ------------------------------------------------------------------------ */

typedef enum SimNodeKind
{
	SIM_OURS,
	SIM_PATRONI,				/* a model of a Patroni member: patroni.c */
} SimNodeKind;

typedef struct SimNode
{
	int			index;
	char		name[32];		/* "node1" */
	SimNodeKind kind;
	bool		is_member;		/* false: not added yet, or removed for good */
	bool		host_is_up;
	bool		supervisor_wanted;	/* systemd starts it again; false after HA_EXIT 0 */
	int			clock_ppm;		/* -20000 .. 20000 */
	int64_t		clock_offset_us;
	char	   *yaml_json;		/* owned; local configuration as JSON text */

	SimProcess	process[SIM_PROCESSES];
	LeasePage  *page;			/* in plain memory */
	Host	   *host[2];		/* by HaHome; NULL: the process is dead */

	SimData		data;
	SimServer	server;
	bool		disk_is_full;
	bool		disk_hangs;
	int64_t		disk_hangs_since_us;
	int			disk_slowness;	/* 1 = normal; factor of everything on disk */
	int			task_failure;	/* per mille of tasks that fail */
	bool		may_be_cloned;	/* a person asked to reinitialize it */
	bool		was_promoted_by_hand;	/* the last promotion that began */
	int64_t		repaired_us;	/* its data directory was repaired, or its tasks last failed; 0 never */
	SimTask		task;
} SimNode;

/* The configuration of one run, drawn from the seed by profile.c. */
typedef struct SimProfile
{
	const char *name;			/* "default", "sync", ... */
	int			n_nodes;
	int			n_patroni;		/* how many of them are Patroni members */
	int64_t		ttl_ms;
	int64_t		loop_wait_ms;
	int64_t		retry_timeout_ms;
	int64_t		maximum_lag;
	int64_t		duration_us;	/* of the faults */
	int			n_faults;
	bool		has_faults;		/* false: L3 is checked */
	SimSyncMode sync_mode;		/* synchronous_mode of the cluster */
	bool		sync_is_strict;
	int			sync_node_count;
	int64_t		maximum_lag_on_syncnode;
	bool		use_pg_rewind;
	bool		may_remove_data;
	int64_t		primary_start_timeout_ms;
	int64_t		write_every_us;
	int			nofailover;		/* node tagged so, -1 none */
	/* settings of clients and servers about commits */
	int64_t		patience_us;	/* a longer wait for standbys is cut off by its client; 0 = none is */
	bool		defers_cancel;	/* patroni.defer_cancel */
	int64_t		commit_wait_timeout_us;	/* patroni.commit_wait_timeout; 0 = off */
	int			isolation_hold_after_ms;	/* patroni.isolation_hold_after; -1 = off */
	bool		is_mixed_release;	/* saved states cross a release boundary */
	bool		failsafe_mode;
	bool		engine_keeps_sync;	/* the cluster is in synchronous mode, S2 is checked */
} SimProfile;

typedef struct SimWorld
{
	uint64_t	seed;
	int64_t		now_us;
	int			n_nodes;
	SimNode		node[SIM_NODES_MAX];
	SimProfile	profile;
	SimLink		link[SIM_ENDPOINTS][SIM_ENDPOINTS];
	SimStoreFaults store_faults;
	SimBranch	branch[SIM_BRANCHES_MAX];
	int			n_branches;
	SimWrite   *write;			/* SIM_WRITES_MAX of them */
	int			n_writes;
	bool		is_faulty;		/* faults may happen; false: peace */
	int64_t		peace_us;		/* when peace began */
	bool		is_traced;
	uint64_t	digest;			/* of all that happened */
	bool		has_failed;
	char		failure[256];	/* "S1 ...": the first thing that was wrong */
	int			current_node;	/* whose code runs: its clock counts; -1 none */
	int			current_home;	/* HaHome, together with current_node */
	bool		is_running;		/* a run is on: the real clocks are out of reach */
	uint64_t	n_steps;
	uint64_t	n_events;
} SimWorld;

extern SimWorld sim;

extern int64_t sim_clock_us(int node);			/* its CLOCK_BOOTTIME now */
extern int64_t sim_true_us(int node, int64_t clock_us);	/* when its clock shows that; at least now */
extern int64_t sim_wall_ms(void);				/* of everybody: NTP works well enough */

/* Life of a node. */
extern void sim_node_add(int node);				/* a fresh host with an empty directory, all up */
extern void sim_node_free(int node);			/* the memory, after a run */
extern void sim_node_remove(int node);			/* for good; its member key runs out */
extern void sim_supervisor_start(int node);
extern void sim_supervisor_stop(int node);		/* SIGTERM: hand over, stop the server, end */
extern void sim_supervisor_kill(int node);		/* systemd starts it again after a while */
extern void sim_worker_kill(int node);			/* the postmaster starts it again: crash of all
												 * backends if it was SIGKILL, as PostgreSQL does */
extern void sim_worker_leave(int node);			/* SIGTERM: baton first, then exit */
extern void sim_worker_started(int node);		/* by server.c: the postmaster forked it */
extern void sim_worker_gone(int node);			/* by server.c: it went with the server */
extern void sim_host_crash(int node);			/* power off */
extern void sim_host_boot(int node);
extern void sim_pause(int node, SimProcessKind process);	/* SIGSTOP */
extern void sim_resume(int node, SimProcessKind process);
extern void sim_host_pause(int node);			/* all of them; its clock goes on */
extern void sim_host_resume(int node);
/* Something about the server changed: whoever watches it looks soon. */
extern void sim_server_changed(int node);
/* A host has something to do: its loop turns soon.  By driver.c, peers.c. */
extern void sim_host_wake(int node, HaHome home);
extern int	sim_host_node_of_dcs(const Dcs *dcs, HaHome *home);	/* -1 unknown */
/* A command to whichever home drives; false: could not be given. */
extern bool sim_command(int node, const HaCommand *command);
extern bool sim_edit_config(int node, const char *patch_json);

/* By tasks.c: a task ended; its supervisor looks at the server, then tells the engine. */
extern void sim_task_done(int node, HaTask task, uint64_t task_id, HaTaskOutcome outcome,
						  HaDivergence divergence, Lsn lsn, const char *message);

/* observe.c: what a home sees of its server. */
extern void sim_observe(int node, HaHome home, HaPostgres *postgres);
/* act.c: HostOps.act; context is SimHome. */
extern void sim_act(void *context, const HaAction *action);

/* peers.c: what the node answers to GET /patroni, whatever the network does. */
extern void sim_peer_status(int node, HaPeer *peer);
/* A process of patroni.c, for nodes of kind SIM_PATRONI. */
extern void sim_patroni_start(int node);
/* By tasks.c when there is no host: a task of a Patroni member is over. */
extern void sim_patroni_task_done(int node, HaTask task, HaTaskOutcome outcome);

/* ------------------------------------------------------------------------
 * What is right: check.c.  Called by those who make it happen.
 * ------------------------------------------------------------------------ */

extern void sim_check_reset(void);
extern void sim_check_step(void);				/* after each event: S1 */
extern void sim_check_leader_key(const char *before, bool lease_ran, const char *after, bool was_compared);	/* S3 */
extern void sim_check_promotion(int node, int branch);		/* S5 S6 and what it leaves behind */
extern bool sim_check_looks_the_same(int node, int upstream);	/* S6: what nobody can tell apart */
extern bool sim_check_is_patronis(int node, int upstream);	/* S6: what Patroni members do to each other */
extern void sim_check_acknowledged(int write);				/* S1: by an open fence, on the right branch */
extern void sim_check_destroy(int node, SimPosition kept);	/* S7: kept.lsn 0 = all goes */
extern void sim_check_act(int node, HaHome home, const HaAction *action);	/* S8 */
/* check_isolation.c: S9 L5 */
extern void sim_check_store_answered(int node, HaHome home);
extern void sim_check_flushed(int node);
extern void sim_check_confirmed(int node, int standby);
extern void sim_check_watched(int node);		/* the worker has had a turn */
extern void sim_check_thawed(int node, SimProcessKind kind);	/* it goes on after a pause */
extern void sim_check_held(int node);			/* and begins to hold commits */
/* check_home.c: S4 S5 S8 L4 */
extern void sim_check_home_reset(void);
extern void sim_check_request(int node, HaHome home, const DcsRequest *request);
extern void sim_check_turn(int node, HaHome home, int64_t before_us);
extern void sim_check_command(int node, uint64_t id, bool is_answered);	/* L2 */
extern bool sim_check_is_healthy(void);			/* a writable primary and everybody follows */
extern void sim_check_peace(void);				/* L1, when its time is over */
extern void sim_check_end(void);				/* L2 L3 */
extern void sim_fail(const char *format,...) PRINTF_LIKE(1, 2);

/* ------------------------------------------------------------------------
 * Trouble: faults.c, operators.c, profile.c
 * ------------------------------------------------------------------------ */

#define SIM_FAULTS(X) \
	X(SERVER_KILL) X(SUPERVISOR_KILL) X(WORKER_KILL) X(WORKER_LEAVE) X(HOST_CRASH) \
	X(PAUSE_WORKER) X(PAUSE_SUPERVISOR) X(PAUSE_SERVER) X(PAUSE_HOST) \
	X(CUT_STORE) X(CUT_NODE) X(CUT_LINK) X(CUT_ONE_WAY) X(LOSSY) X(SLOW_NETWORK) \
	X(STORE_DOWN) X(STORE_FROZEN) X(STORE_LEADER) X(STORE_COMPACT) X(STORE_LOSES_REPLIES) \
	X(STORE_LATE) X(STORE_STALE) X(STORE_EXPIRES_LATE) X(WATCH_LAG) \
	X(SLOW_DISK) X(FULL_DISK) X(TASKS_FAIL) X(BROKEN_DATA) X(PROMOTE_BY_HAND) \
	X(SWITCHOVER) X(FAILOVER) X(SCHEDULED_SWITCHOVER) X(RESTART) X(REINITIALIZE) X(RELOAD) \
	X(PAUSE_CLUSTER) X(CONFIG_CHANGE) X(ADD_NODE) X(REMOVE_NODE) X(SUPERVISOR_STOP) \
	X(KEY_DELETED) X(DISK_HANGS)

typedef enum SimFault
{
#define SIM_FAULT_ENUM(name) SIM_FAULT_##name,
	SIM_FAULTS(SIM_FAULT_ENUM)
#undef SIM_FAULT_ENUM
	SIM_FAULT_COUNT
} SimFault;

extern const char *sim_fault_name(SimFault fault);
extern uint64_t sim_fault_count[SIM_FAULT_COUNT];	/* over all runs of this process */

extern bool sim_profile_draw(const char *name, int n_nodes);	/* false: no such profile; n_nodes 0 = by chance */
extern const char *const *sim_profile_names(void);			/* NULL at the end */
extern int	sim_profiles_in_turn(void);
extern void sim_faults_start(void);				/* plans them; each is counted when it strikes */
extern void sim_faults_heal(void);				/* peace: everything is repaired and started */
extern void sim_operators_strike(SimFault fault);
extern void sim_moment(int leader);				/* it changes who is synchronous */

/* ------------------------------------------------------------------------
 * One run: world.c;  words: trace.c
 * ------------------------------------------------------------------------ */

/* True: nothing was wrong.  sim.failure tells else. */
extern bool sim_run(uint64_t seed, const char *profile, int n_nodes, bool is_traced);
extern void sim_world_free(void);

/* What the digest is made of; cheap. */
extern void sim_note(int node, const char *tag, uint64_t a, uint64_t b);
/* A line of the trace, only when it is wanted: virtual time, node, text. */
#define sim_trace(...) \
	do { if (sim.is_traced) sim_trace_line(__VA_ARGS__); } while (0)
extern void sim_trace_line(int node, const char *format,...) PRINTF_LIKE(2, 3);

#endif							/* PATRONI_SIM_SIM_H */
