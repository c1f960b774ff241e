/*-------------------------------------------------------------------------
 *
 * supervisor_internal.h
 *      The inside of the supervisor: what supervisor.c, baton.c, observe.c,
 *      act.c and status.c share.  Nobody else includes this.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_SUPERVISOR_SUPERVISOR_INTERNAL_H
#define PATRONI_SUPERVISOR_SUPERVISOR_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <event2/event.h>
#include <jansson.h>

#include "base/lease_page.h"
#include "config/settings.h"
#include "node/channel.h"
#include "node/health_watch.h"
#include "node/host.h"
#include "rest/rest.h"
#include "supervisor/callback.h"
#include "supervisor/pgbouncer.h"
#include "supervisor/postmaster.h"
#include "supervisor/probe.h"
#include "supervisor/process.h"
#include "supervisor/supervisor.h"
#include "supervisor/task.h"

#define LINKS_MAX		 4	 /* connections at a time; one is the worker */
#define ASKS_MAX		 256 /* questions of REST that wait for the worker */
#define ASK_TIMEOUT_MS	 100
#define BATON_CHECK_MS	 100 /* how often a silent worker is looked for, at least when something goes on */
#define OBSERVE_IDLE_MS	 250
#define OBSERVE_HURRY_MS 5	  /* while the server starts or stops */
#define STATE_FRESH_MS	 2500 /* a worker whose last turn is older sees nothing */
#define GIVE_TIMEOUT_MS	 2000 /* a worker that was asked for the baton has that long */

struct Supervisor;

/* A connection at the channel: the worker, or something that may become it. */
typedef struct Link
{
	struct Supervisor *supervisor;
	Channel *channel; /* NULL = free */
	struct event *read_event;
	struct event *write_event;
	bool said_hello;	 /* with our protocol */
	bool may_have_baton; /* it said hello since it lost the baton */
	bool was_refused;     /* it could not drive; until a hello or another configuration */
	pid_t pid;
} Link;

/* A question of REST for the worker. */
typedef struct Ask
{
	RestDone done; /* NULL = free */
	void *arg;
	uint64_t id; /* of the message that asks for it; 0 = not sent yet */
	int64_t deadline_ms;
} Ask;

typedef enum StopStage
{
	STOP_NOT,	 /* nobody asked us to stop */
	STOP_ASKED,	 /* hand over, stop the server in order, end */
	STOP_FASTER, /* asked again: the server is stopped at once */
	STOP_DETACH, /* end, and leave the server alone */
} StopStage;

typedef struct Supervisor
{
	const char *config_path;
	char trace_path[1024]; /* absolute; "" = nothing is recorded */
	char **environment; /* as it was at the start */
	struct event_base *base;

	LeasePage *page;
	int page_fd; /* holds the lock */
	char page_name[LEASE_PAGE_NAME_MAX];
	char socket_path[LEASE_PAGE_NAME_MAX + 16];
	char page_argument[LEASE_PAGE_NAME_MAX + 64];
	char socket_argument[LEASE_PAGE_NAME_MAX + 64];
	int listen_fd;

	Host *host;
	json_t *local_document; /* owned; what the host was configured with; has secrets */
	ProcessTable *processes;
	Postmaster *postmaster;
	TaskRunner *tasks;
	CallbackRunner *callbacks;
	Probes *probes;
	Bouncers *bouncers;
	Rest *rest;

	struct event *host_event;
	struct event *host_timer;
	struct event *listen_event;
	struct event *check_timer;
	struct event *observe_timer;
	struct event *ask_timer;
	struct event *signals[5];

	/* the worker */
	Link links[LINKS_MAX];
	Link *worker;			  /* the one that said hello last; NULL */
	int stale_checks;		  /* in a row */
	int64_t check_every_ms;	  /* what check_timer is set to */
	bool worker_drives;		  /* and was connected when it began, so its end is seen */
	int64_t give_deadline_ms; /* the worker was asked for the baton; 0 = not */

	/* what the worker saw of the server, and of which server */
	HaPostgres seen;
	bool has_seen;
	pid_t seen_postmaster;
	int64_t replayed_at_ms; /* told by the worker with its last answer; 0 = unknown */
	json_t *senders;		/* likewise; owned, NULL = unknown */

	HealthWatch health; /* does the server hang?  Looked at all the time, whoever drives */

	/* the last observation given to the engine, to tell news from repetition */
	HaPostgres given;
	bool has_given;
	int64_t given_at_ms;

	struct Calls *calls; /* what REST is asked to change; calls.c */
	Takeovers takeovers; /* changes of the leader, as seen here */
	Ask asks[ASKS_MAX];
	uint64_t next_ask_id;
	uint64_t status_number; /* grows with each look at the server that is answered from */
	int64_t asked_ms; /* when the message under way was sent; 0 = none is */

	/* reload */
	json_t *written_part; /* owned; "postgresql" as last written to the files */
	bool must_write_files;
	bool reload_was_asked;	 /* by a signal: write and reload whatever changed */
	uint64_t cached_version; /* of the dynamic configuration in the cache file */

	StopStage stop;
	bool shutdown_is_queued; /* the engine has the command */
	bool is_over;
	int exit_code;
} Supervisor;

/* baton.c */
extern bool baton_start(Supervisor *supervisor, Error *error) MUST_CHECK;
extern void baton_turn(Supervisor *supervisor);
extern void baton_check(Supervisor *supervisor);
extern void baton_close(Supervisor *supervisor);
extern bool baton_take(Supervisor *supervisor, const char *because);
extern void baton_send_config(Supervisor *supervisor);
extern bool baton_send(Supervisor *supervisor, json_t *message);
extern bool baton_ask_back(Supervisor *supervisor, const char *reason);

/* observe.c */
extern void observe_server(Supervisor *supervisor, HaPostgres *postgres);
extern void observe_and_tell(Supervisor *supervisor);
extern bool observe_in_hurry(const Supervisor *supervisor);
extern void observe_worker_state(Supervisor *supervisor, const json_t *postgres);
extern void observe_forget(Supervisor *supervisor);
extern void observe_health(Supervisor *supervisor);
extern bool observe_worker_sees(const Supervisor *supervisor);
extern const char *observe_hang(const Supervisor *supervisor);

/* act.c */
extern void act_start_task(Supervisor *supervisor, const HaAction *action);
extern void act_carry_out(void *context, const HaAction *action);
extern void act_task_done(void *context, const TaskResult *result);
extern bool act_write_files(Supervisor *supervisor, Error *error) MUST_CHECK;

/* status.c */
extern void status_request(void *context, RestDone done, void *arg);
extern void status_answer(Supervisor *supervisor, uint64_t id);
extern void status_give_up(Supervisor *supervisor, bool all);

/* calls.c */
typedef struct Calls Calls;
extern const Settings *calls_settings(void *context);
extern const ClusterView *calls_view(void *context);
extern void calls_request(void *context, RestCall kind, const json_t *body, RestCallDone done,
						  void *arg);
extern bool calls_answer(Supervisor *supervisor, const HaAction *answer);
extern void calls_result(Supervisor *supervisor, const json_t *message);
extern bool calls_are_under_way(const Supervisor *supervisor);
extern void calls_turn(Supervisor *supervisor);
extern void calls_close(Supervisor *supervisor);

/* supervisor.c */
extern void supervisor_log(void *context, int level, const char *message, const char *detail,
						   const char *hint);
extern void supervisor_end(Supervisor *supervisor, int exit_code);
extern void supervisor_reload(Supervisor *supervisor);

/* cache.c */
extern void cache_apply(LocalConfig *local, const char *data_directory);
extern bool cache_write(const char *data_directory, const char *config_json,
						Error *error) MUST_CHECK;

#endif /* PATRONI_SUPERVISOR_SUPERVISOR_INTERNAL_H */
