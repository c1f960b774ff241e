/*-------------------------------------------------------------------------
 *
 * task.h
 *      The long work of HaTask: what takes longer than a turn of the loop and
 *      needs processes.  At most one at a time.
 *
 * Event-driven: task_start() returns at once, the end comes through
 * TaskOps.done, exactly once for every successful task_start(), always from
 * the loop and never from inside task_start() or task_cancel().  The work
 * itself runs in a child of its own process group, made by fork(): it may
 * block, it reports lines through a pipe, it can be killed at any time.  A
 * task without progress (bytes of the data directory, output) for its
 * deadline is killed and FAILED with the reason.
 *
 * Passwords travel in files of mode 0600 only.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_SUPERVISOR_TASK_H
#define PATRONI_SUPERVISOR_TASK_H

#include <stdbool.h>
#include <stdint.h>

#include <event2/event.h>

#include "base/error.h"
#include "config/settings.h"
#include "ha/ha.h"
#include "supervisor/postmaster.h"
#include "supervisor/process.h"

#define TASK_ARGUMENTS_MAX	8

typedef struct TaskResult
{
	HaTask		task;
	uint64_t	id;
	HaTaskOutcome outcome;
	HaDivergence divergence;	/* CHECK_DIVERGENCE */
	Lsn			lsn;			/* WAL_END: end of WAL; STOP: shutdown checkpoint, 0 = not clean */
	const char *message;		/* what went wrong, or NULL; borrowed for the call */
} TaskResult;

typedef struct TaskOps
{
	void	   *context;
	/* The end of a task.  May call task_start() for the next one. */
	void		(*done) (void *context, const TaskResult *result);
	/* For people: "copying from \"node1\": 123 MB"; when it changed, at most each second. */
	void		(*progress) (void *context, HaTask task, const char *text);
	/* level: 0 debug, 1 log, 2 warning; already redacted; detail, hint may be NULL */
	void		(*log) (void *context, int level, const char *message,
						const char *detail, const char *hint);
	/* Further "--name=value" words for the postmaster, NULL-terminated; copied:
	 * "--patroni.lease_page=...", "--patroni.socket=..." */
	const char *postmaster_arguments[TASK_ARGUMENTS_MAX];
	/* No progress for so long = stuck; 0 = a default for each task. */
	int64_t		progress_timeout_ms;
} TaskOps;

typedef struct TaskRequest
{
	HaTask		task;
	uint64_t	id;				/* comes back in the result */
	const char *member;			/* source, upstream or leader; "" or NULL = nobody */
	const char *conn_url;		/* of .member; "" or NULL = nobody */
	const char *slot;			/* START_STANDBY, BASEBACKUP, REWIND: primary_slot_name;
								 * "" or NULL: own slot if settings->use_slots */
	HaStopMode	stop_mode;		/* STOP */
	bool		from_leader;	/* BASEBACKUP: informational */
	bool		is_former_primary;	/* START_STANDBY: of .timeline (0 = unknown), not compared */
	uint32_t	timeline;		/* CHECK_DIVERGENCE: of the running standby; 0 = unknown */
	Lsn			start_lsn;		/* WAL_END: where to begin looking; 0 = checkpoint */
} TaskRequest;

typedef struct TaskRunner TaskRunner;

/* NULL: no memory.  "ops" is copied. */
extern TaskRunner *task_runner_create(struct event_base *base, ProcessTable *processes,
									  Postmaster *postmaster, const TaskOps *ops);
/* Kills a running task's processes without calling .done; never the postmaster. */
extern void task_runner_free(TaskRunner *runner);

/*
 * Start.  Texts and settings are needed only during the call.  False: a task
 * runs already, or no process could be made; .done is not called then.
 */
extern bool task_start(TaskRunner *runner, const TaskRequest *request,
					   const Settings *settings, Error *error) MUST_CHECK;
/*
 * Ask the running task to end: SIGTERM to its process group, SIGKILL 5 s
 * later, then .done with CANCELLED.  A started postmaster is left alone (START
 * ends CANCELLED at once), a stop that was signalled goes on unwatched.
 */
extern void task_cancel(TaskRunner *runner);
extern HaTask task_running(const TaskRunner *runner);	/* HA_TASK_NONE */
extern uint64_t task_running_id(const TaskRunner *runner);

#endif							/* PATRONI_SUPERVISOR_TASK_H */
