/*-------------------------------------------------------------------------
 *
 * home.h
 *      What the files about a node share: node.c, home.c, home_worker.c,
 *      home_supervisor.c, observe.c, act.c and peers.c.  Nobody else includes
 *      this.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_SIM_HOME_H
#define PATRONI_SIM_HOME_H

#include "node/isolation_watch.h"
#include "node/channel.h"
#include "node/peers.h"
#include "sim/sim.h"

#define HOME_INBOX_MAX		512
#define HOME_RECORDS_MAX	512
#define HOME_ASKS_MAX		64
#define HOME_CONSENTS_MAX	16		/* as CALLS_MAX in src/supervisor/calls.c */

/* As in src/worker/worker.h and src/supervisor/supervisor_internal.h. */
#define WORKER_ROUNDS_MAX	16
#define WAIT_MAX_MS			500		/* real: 250; less often, never more */
#define OBSERVE_IDLE_MS		500		/* real: 250 */
#define OBSERVE_STARTING_MS	20
#define OBSERVE_FILES_MS	1000
#define OBSERVE_WAL_MS		400		/* real: 100 */
#define STATE_MIN_MS		10
#define STATE_WAL_MS		500		/* real: 250 */
#define PROMOTION_WATCH_MS	60000
#define CHECKPOINT_WATCH_MS	5000
#define CONNECT_DELAY_MIN_MS	200
#define CONNECT_DELAY_MAX_MS	1000
#define ASK_TIMEOUT_MS		100
#define BATON_CHECK_MS		100
#define STATE_FRESH_MS		2500
#define GIVE_TIMEOUT_MS		2000
/* Rarer than in the worker (10 and 2): a change is told by sim_server_changed(). */
#define OBSERVE_HURRY_MS	25
#define OBSERVE_PROMOTING_MS 5

typedef enum SimMessageKind
{
	/* to the supervisor */
	MESSAGE_HELLO,
	MESSAGE_STATE,
	MESSAGE_ANSWER,
	MESSAGE_RELOAD,
	MESSAGE_FAILSAFE_ANSWER,
	/* to the worker */
	MESSAGE_CONFIG,
	MESSAGE_GIVE,
	MESSAGE_ASK,
	MESSAGE_FAILSAFE,
	/* both ways */
	MESSAGE_BATON,
	MESSAGE_CLOSED,				/* by the kernel */
} SimMessageKind;

typedef struct SimMessage
{
	SimMessageKind kind;
	uint32_t	link;
	int64_t		arrives_us;
	uint32_t	generation;
	bool		has_baton;
	uint64_t	id;
	char	   *saved;			/* owned */
	HaPostgres *postgres;		/* owned */
	char		leader[32];		/* POST /failsafe: who asks */
	int64_t		ttl_ms;			/* for how long */
	bool		is_ok;			/* and what was answered */
} SimMessage;

/* Who asks over REST, and what answers have to find. */
typedef struct SimQuestion
{
	int			asker;
	int			home;
	int			target;
	int			slot;
	uint32_t	incarnation;	/* of the asking process */
	uint64_t	number;
	bool		is_consent;		/* POST /failsafe */
	char		leader[32];
	int64_t		ttl_ms;
} SimQuestion;

/* A question for consent that the engine has not answered yet. */
typedef struct SimConsent
{
	uint64_t	id;				/* 0 = free */
	int64_t		deadline_ms;
	SimQuestion question;
} SimConsent;

typedef struct SimAsk
{
	bool		is_used;
	uint64_t	id;
	int64_t		deadline_ms;
	SimQuestion question;
} SimAsk;

/* What the worker's observer remembers. */
typedef struct SimObserver
{
	HaPostgres	now;
	HaPostgres	told_engine;
	HaPostgres	told_supervisor;
	bool		has_told_engine;
	bool		has_told_supervisor;
	bool		has_looked;
	bool		files_are_stale;
	bool		must_look;		/* a walsender came or went, or has read its settings */
	int64_t		looked_at_ms;
	int64_t		engine_at_ms;
	int64_t		supervisor_at_ms;
	int64_t		files_at_ms;
	uint32_t	files_timeline;
	int64_t		promoting_until_ms;
	int64_t		checkpoint_until_ms;
	Lsn			checkpoint_before;
} SimObserver;

typedef struct SimHome
{
	int			node;
	HaHome		home;
	bool		is_open;		/* it has a host, its loop runs */
	Host	   *host;

	/* the loop */
	int			depth;			/* our code is on the stack */
	bool		must_close;		/* the process ended meanwhile */
	uint32_t	turn_number;
	int64_t		turn_at_us;		/* SIM_NEVER: none is to come */
	SimMessage *inbox[HOME_INBOX_MAX];
	int			n_inbox;
	int64_t		last_arrival_us;
	uint32_t	link;			/* the connection; 0 = none */
	bool		said_hello;

	/* worker */
	int64_t		connect_at_ms;
	int			connect_delay_ms;
	bool		lost_baton;
	bool		must_leave;
	bool		is_carrying_out;
	HaAction   *record[HOME_RECORDS_MAX];
	int			n_records;
	SimObserver observer;
	IsolationWatch isolation;

	/* supervisor */
	bool		may_have_baton;
	bool		worker_drives;
	int			stale_checks;
	int64_t		give_deadline_ms;
	uint32_t	postmaster;		/* stands for its pid; 0 = none */
	HaServer	server_state;	/* as last looked at */
	int64_t		look_at_us;		/* SIM_NEVER: no look is due */
	HaPostgres	seen;
	bool		has_seen;
	uint32_t	seen_postmaster;
	HaPostgres	given;
	bool		has_given;
	int64_t		given_at_ms;
	bool		stop_asked;
	bool		shutdown_is_queued;
	bool		is_over;
	int			exit_code;
	uint64_t	cached_version;
	SimAsk		asks[HOME_ASKS_MAX];
	uint64_t	next_ask_id;
	SimConsent	consents[HOME_CONSENTS_MAX];
	uint64_t	next_consent_id;
} SimHome;

typedef struct SimContext
{
	int			node;
	int			home;
} SimContext;

/* node.c */
extern void sim_process_ended(int node, HaHome home);
extern void sim_process_exit(int node, int exit_code);	/* the supervisor's own end */
extern LeaseHolder sim_page_holder(int node);

/* home.c */
extern SimHome *sim_home(int node, HaHome home);	/* NULL: the process is dead */
extern SimProcessKind sim_home_process(HaHome home);
extern SimContext home_enter(SimHome *home);
extern void home_leave(SimHome *home, SimContext before);
extern void home_begin_soon(int node, HaHome home);
extern void home_schedule(SimHome *home, int64_t delay_us);
extern void home_schedule_ms(SimHome *home, int64_t wait_ms);
extern void home_close(int node, HaHome home);
extern SimMessage *message_new(SimMessageKind kind);
extern void message_set_postgres(SimMessage *message, const HaPostgres *postgres);
extern void message_free(SimMessage *message);
extern bool home_send(SimHome *from, SimMessage *message);
extern void home_hang_up(SimHome *from);
extern SimMessage *home_receive(SimHome *home);
extern char *home_change_release(char *saved);
extern void home_log(void *context, int level, const char *message,
					 const char *detail, const char *hint);
extern const char *home_name(HaHome home);
extern bool home_configure(SimHome *home);
extern void home_cache_put(int node, const char *config_json);
extern void home_forget_node(int node);

/* home_worker.c */
extern void worker_open(SimHome *worker);
extern void worker_turn(SimHome *worker);
extern void worker_give_baton(SimHome *worker, const char *why);
extern bool worker_holds_baton(const SimHome *worker);
extern void worker_send_reload(SimHome *worker);
extern const HaPostgres *worker_look(SimHome *worker);
extern void worker_server_changed(SimHome *worker);

/* home_supervisor.c */
extern void supervisor_open(SimHome *supervisor);
extern void supervisor_turn(SimHome *supervisor);
extern void supervisor_observe_and_tell(SimHome *supervisor);
extern void supervisor_server_changed(SimHome *supervisor);
extern void supervisor_asked(SimHome *supervisor, const SimQuestion *question);
extern void supervisor_close_link(SimHome *supervisor);

/* observe.c */
extern void observe_files(int node, HaPostgres *postgres);
extern void observe_history(int node, HaPostgres *postgres);
extern void observe_server(int node, HaPostgres *postgres);
extern void observe_outside(SimHome *supervisor, HaPostgres *postgres);
extern void observe_forget_node(int node);

/* act.c */
extern bool act_run_records(SimHome *worker);
extern void act_free_records(SimHome *worker);

/* commits.c */
extern void sim_commits_worker_begins(SimHome *worker);
extern void sim_commits_turn(SimHome *worker);

/* sync.c */
extern void sim_sync_set(int node, const char *text);
extern void sim_sync_look(int node);		/* the worker looks */
extern void sim_sync_observe(int node, HaPostgres *postgres);
extern SyncWalsender sim_sync_state(int node, int k);

/* peers.c */
extern void peers_status_of(SimHome *supervisor, bool is_fresh, HaPeer *peer);
extern void peers_reply(const SimQuestion *question, const HaPeer *peer);

/* consent.c */
extern void consent_asked(SimHome *supervisor, const SimQuestion *question);
extern void consent_in_worker(SimHome *worker, const SimMessage *message);
extern void consent_answered(SimHome *home, const HaAction *answer);
extern void consent_worker_answered(SimHome *supervisor, const SimMessage *message);
extern bool sim_patroni_status(int node, HaPeer *peer);

#endif							/* PATRONI_SIM_HOME_H */
