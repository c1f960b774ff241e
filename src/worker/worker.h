/*-------------------------------------------------------------------------
 *
 * worker.h
 *      The inside of the worker: what loop.c, observe.c, act.c, commands.c and
 *      commit_watch.c share.  Nobody else includes this.
 *
 * The Host and what it is given live in plain malloc memory: the worker's
 * memory contexts hold only what the server's own functions allocate.  The
 * callbacks of the Host run inside frames of libcurl and jansson, so they do
 * nothing but append a WorkerRecord; the turn carries it out afterwards.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_WORKER_WORKER_H
#define PATRONI_WORKER_WORKER_H

#include "postgres.h"

#include "storage/latch.h"
#include "utils/memutils.h"

#include <jansson.h>

#include "base/lease_page.h"
#include "ha/ha.h"
#include "node/channel.h"
#include "node/health_watch.h"
#include "node/host.h"
#include "worker/shared.h"

#define WORKER_RECORDS_MAX		512		/* waiting callbacks of the host */
#define WORKER_ROUNDS_MAX		16		/* host_process() and actions in one turn */
#define WORKER_MESSAGES_MAX		64		/* of the supervisor, in one turn */
#define WORKER_COMMANDS_MAX		COMMAND_SLOTS

/* How often the server is looked at, in ms. */
#define OBSERVE_IDLE_MS			250
#define OBSERVE_REST_MS			1000	/* nothing new for so long: it can be looked less often */
#define OBSERVE_STARTING_MS		20
#define OBSERVE_SYNC_MS			50		/* a primary in synchronous mode */
#define OBSERVE_HURRY_MS		10		/* switchover, no leader, checkpoint awaited */
#define OBSERVE_PROMOTING_MS	2
#define OBSERVE_FILES_MS		1000	/* pg_control, signal files, history */
#define OBSERVE_FILES_REST		5		/* when nothing moves, at each so many-th look */
#define OBSERVE_WAL_MS			100		/* plain WAL progress to the engine */
#define STATE_MIN_MS			10		/* between two "state" messages */
#define STATE_WAL_MS			250		/* when only WAL progressed */

#define PROMOTION_WATCH_MS		60000
#define CHECKPOINT_WATCH_MS		5000

typedef enum WorkerRecordKind
{
	RECORD_ACTION,
	RECORD_LOG,
} WorkerRecordKind;

/* One callback of the host, waiting to be carried out. */
typedef struct WorkerRecord
{
	struct WorkerRecord *next;
	WorkerRecordKind kind;
	HaAction   *action;			/* RECORD_ACTION: own copy, .text too */
	int			level;			/* RECORD_LOG */
	char	   *message;
	char	   *detail;			/* or NULL */
	char	   *hint;			/* or NULL */
} WorkerRecord;

typedef struct Observer Observer;
typedef struct CommitWatch CommitWatch;

typedef struct Worker
{
	MemoryContext context;		/* lives as long as the worker */
	MemoryContext turn_context; /* reset after each turn */

	LeasePage  *page;
	Host	   *host;
	Observer   *observer;
	CommitWatch *commit_watch;
	HealthWatch health;
	bool		has_shared;		/* the shared memory has the layout we know */

	/* what the host told us and we have not done yet */
	WorkerRecord *first_record;
	WorkerRecord *last_record;
	int			n_records;
	int			n_lost_records; /* queue full or no memory, since the last report */

	/* the supervisor */
	Channel    *channel;		/* NULL: not connected */
	bool		channel_is_readable;	/* or not read to its end */
	bool		said_hello;
	int64_t		connect_at_ms;
	int			connect_delay_ms;
	bool		connect_failure_is_logged;

	/* the wait */
	WaitEventSet *wait_set;		/* NULL: must be built */
	int			wait_fd_host;
	int			wait_position_channel;	/* -1: not in it */
	uint32		wait_channel_events;

	/* flags set by callbacks, read by the turn */
	bool		lost_baton;
	bool		settings_changed;
	bool		yield_is_logged;

	/* the record of the engine's inputs; the setting wins over the supervisor */
	char		trace_wish[MAXPGPATH];	/* of the supervisor; "" = none */
	char		trace_file[MAXPGPATH];	/* what the host was told last */
	int64_t		trace_give_at_ms;	/* when control may be given away for it again */

	uint64_t	snapshot_number;	/* last published */
	int64_t		snapshot_at_ms;
	bool		snapshot_too_long;	/* said so already */

	int64_t		commands_wait_ms;	/* since then some wait for the baton; 0 = none does */

	int			n_errors_in_a_row;
} Worker;

/* health.c */
extern void health_look(Worker *worker, int64_t now_ms, HaPostgres *postgres);

/* loop.c */
typedef void (*WorkerStep) (Worker *worker, void *argument);
extern bool worker_guard(Worker *worker, WorkerStep step, void *argument);
extern bool worker_holds_baton(const Worker *worker);
extern void worker_give_baton(Worker *worker, const char *why);
extern void worker_send(Worker *worker, json_t *message);

/* observe.c */
extern Observer *observer_create(void);			/* NULL: no memory */
extern void observer_forget_files(Observer *observer);	/* look at the files next time */
extern void observer_forget_settings(Observer *observer);	/* GUCs may have changed */
extern void observer_expect_promotion(Observer *observer, int64_t now_ms);
extern void observer_expect_checkpoint(Observer *observer, int64_t now_ms);
extern const HaPostgres *observer_look(Worker *worker, int64_t now_ms);
extern int64_t observer_replayed_at_ms(void);
extern json_t *observer_senders(const Worker *worker);	/* a new reference */
extern void observer_turn(Worker *worker, int64_t now_ms);
extern int	observer_timeout_ms(const Worker *worker, int64_t now_ms);
extern int	observer_files_interval_ms(const Worker *worker, int64_t now_ms);
extern void observer_send_state_again(Observer *observer);

extern Lsn	observer_confirmed_lsn(const Worker *worker);

/* commit_watch.c */
extern CommitWatch *commit_watch_create(void);	/* NULL: no memory */
extern void commit_watch_turn(Worker *worker, void *argument);
extern int	commit_watch_timeout_ms(const Worker *worker, int64_t now_ms);

/* sync_watch.c */
typedef struct WatchedSender
{
	pid_t		pid;
	int			index;			/* in WalSndCtl->walsnds */
	int			state;			/* WalSndState */
	int			priority;		/* sync_standby_priority */
} WatchedSender;

extern void sync_watch_settings(void);
extern void sync_watch_look(Worker *worker, HaPostgres *now, const WatchedSender *senders,
							int64_t now_ms);
extern bool sync_watch_is_due(const Worker *worker);
extern int	sync_watch_interval_ms(const Worker *worker, int64_t now_ms);
extern void sync_watch_turn(const Worker *worker, int64_t now_ms);
extern bool sync_watch_set(const Worker *worker, const char *names, Error *error) MUST_CHECK;

/* slot_keeper.c */
extern void slot_keeper_candidates(const Worker *worker, const HaPostgres *now,
								   const WatchedSender *senders);
extern void slot_keeper_look(const Worker *worker, HaPostgres *now);
extern void slot_keeper_create(Worker *worker, const HaAction *action);
extern void slot_keeper_drop(const HaAction *action);
extern void slot_keeper_advance(const HaAction *action);
extern void slot_keeper_copy(Worker *worker, const HaAction *action);

/* act.c */
extern void act_record(void *context, const HaAction *action);
extern void act_log_record(void *context, int level, const char *message,
						   const char *detail, const char *hint);
extern bool act_run_records(Worker *worker);	/* true: did something */

/* commands.c */
extern void commands_take(Worker *worker, int64_t now_ms);
extern void commands_answer(Worker *worker, uint64_t id, const HaAction *answer);
extern void commands_from_supervisor(Worker *worker, const json_t *message);
extern bool command_from_json(HaCommand *command, const char *kind,
							  const json_t *arguments, Error *error);

#endif							/* PATRONI_WORKER_WORKER_H */
