/*-------------------------------------------------------------------------
 *
 * shared.h
 *      What backends and the worker share: the snapshot that SQL shows and
 *      the queue of commands that SQL gives.
 *
 * Lives in the server's main shared memory, made by patroni_bgw.so; the
 * worker finds it through patroni_shared_memory() which patroni_bgw.so
 * exports.  Nothing here survives a restart of the server, nor has to.
 *
 * The layout is an interface between two libraries that may be of different
 * releases: whoever changes it changes SHARED_VERSION.
 *
 * The snapshot is one JSON object:
 *	{"node": {name, scope, role, state, timeline, decision: {...}, ...},
 *	 "cluster": {..., "members": [{name, role, state, host, port, timeline,
 *		lag, tags, pending_restart, api_url, conn_url, version}]},
 *	 "config": {the dynamic configuration},
 *	 "history": [{timeline, lsn, reason, timestamp, new_leader}],
 *	 "events": [{time, kind, rule, reason, duration_ms}],
 *	 "explain": [{member, is_eligible, is_for, reason}],
 *	 "synchronous": {mode, is_strict, leader, quorum, standbys, names,
 *		is_in_force, next_step, next_names, reason},
 *	 "slots": [{name, type, kind, member, database, plugin, exists, active,
 *		restart_lsn, confirmed_lsn, leader_lsn, is_safe, reason}],
 *	 "taken_ms": ...}
 *
 * Commands and their arguments (null = not given; each also has "user"):
 *	switchover		candidate, scheduled_at (ISO 8601 with zone), reason,
 *					wait, timeout_ms
 *	failover		candidate, reason, wait, timeout_ms
 *	pause, resume	wait, timeout_ms
 *	restart			member (null = this one), role, pending, wait, timeout_ms
 *	reload			member (null = this one), timeout_ms
 *	reinitialize	member, force, from_leader, timeout_ms
 *	edit_config		patch (object), timeout_ms
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_WORKER_SHARED_H
#define PATRONI_WORKER_SHARED_H

#include "postgres.h"

#include "storage/latch.h"
#include "storage/lwlock.h"

#include "base/lease_page.h"
#include "worker/slots.h"
#include "worker/sync.h"

#define SHARED_VERSION			3
#define SNAPSHOT_MAX			(512 * 1024)
#define COMMAND_SLOTS			16
#define COMMAND_KIND_MAX		32
#define COMMAND_ARGUMENTS_MAX	4096
#define COMMAND_RESULT_MAX		8192

typedef enum CommandState
{
	COMMAND_FREE,				/* -> WAITING by a backend */
	COMMAND_WAITING,			/* -> RUNNING by the worker */
	COMMAND_RUNNING,			/* -> DONE by the worker */
	COMMAND_DONE,				/* -> FREE by the backend */
	COMMAND_ABANDONED,			/* the backend left while it ran; -> FREE by the worker */
} CommandState;

typedef struct CommandSlot
{
	CommandState state;			/* under PatroniShared.lock, as all of a slot */
	uint64		id;				/* unique since server start */
	Latch	   *backend_latch;	/* of the waiting backend; NULL when it left */
	char		kind[COMMAND_KIND_MAX];				/* "switchover", "pause", ... */
	char		arguments[COMMAND_ARGUMENTS_MAX];	/* JSON object */
	/* Result: JSON {"ok":bool,"message":text,"detail":text,"hint":text,
	 * "sqlstate":text,"result":any} */
	char		result[COMMAND_RESULT_MAX];
} CommandSlot;

typedef struct PatroniShared
{
	uint32		version;		/* SHARED_VERSION; written once */
	LWLock	   *lock;			/* guards all below; held for microseconds only */
	Latch	   *worker_latch;	/* set by the worker when it starts, NULL when it left */
	pid_t		worker_pid;		/* likewise, 0 when it left */
	uint64		next_command_id;

	/* JSON document, see docs/architecture.md; written by the worker. */
	uint64		snapshot_number;	/* grows with each snapshot; 0 = none yet */
	int64		snapshot_taken_ms;	/* CLOCK_BOOTTIME */
	uint32		snapshot_length;
	char		snapshot[SNAPSHOT_MAX];

	CommandSlot commands[COMMAND_SLOTS];

	SlotShare	slots;			/* see slots.h */

	SyncReports sync;			/* not under the lock; see sync.h */
} PatroniShared;

/* Exported by patroni_bgw.so (PGDLLEXPORT), used by patroni_worker.so. */
extern PGDLLEXPORT PatroniShared *patroni_shared_memory(void);	/* NULL: not preloaded */
extern PGDLLEXPORT LeasePage *patroni_lease_page(void);			/* NULL: not managed */
extern PGDLLEXPORT const char *patroni_socket_path(void);		/* GUC patroni.socket, "" = none */

/*
 * Backend side, shared.c in patroni_bgw.so.  shared_init() is for _PG_init().
 */
extern void shared_init(void);
extern char *shared_snapshot(uint64 *number, int64 *taken_ms);	/* palloc'ed; NULL: none yet */
extern pid_t shared_worker_pid(void);							/* 0: not running */
extern char *shared_run_command(const char *kind, const char *arguments,
								int64 timeout_ms);				/* palloc'ed result */

/*
 * Worker side, shared_worker.c in patroni_worker.so.  A command taken with
 * shared_next_command() is finished once with shared_finish_command(); when
 * its backend has left meanwhile, that only frees the slot.
 */
typedef struct SharedCommand
{
	uint64		id;
	char		kind[COMMAND_KIND_MAX];
	char		arguments[COMMAND_ARGUMENTS_MAX];
} SharedCommand;

extern bool shared_attach(void);		/* false: another release's layout */
extern bool shared_publish_snapshot(const char *text, size_t length);	/* false: too long */

/* The oldest that waits, of those whose kind "may" lets through (NULL: all); false: there is none. */
extern bool shared_next_command(SharedCommand *command, bool (*may) (const char *kind));
extern bool shared_command_waits(void);
extern void shared_finish_command(uint64 id, const char *json);

/* The worker's entry point, in patroni_worker.so. */
#define WORKER_LIBRARY		"patroni_worker"
#define WORKER_FUNCTION		"patroni_worker_main"

#endif							/* PATRONI_WORKER_SHARED_H */
