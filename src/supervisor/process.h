/*-------------------------------------------------------------------------
 *
 * process.h
 *      The supervisor's children: starting them clean and learning of their
 *      end.
 *
 * The one place that handles SIGCHLD and calls waitpid(): everything that
 * becomes a zombie of ours is reaped here, also what was re-parented to us as
 * the subreaper.  Nobody else may call wait*() in the supervisor.  Signal
 * events are dispatched by the loop, so watching a child right after fork()
 * is not too late.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_SUPERVISOR_PROCESS_H
#define PATRONI_SUPERVISOR_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

#include <event2/event.h>

#include "base/error.h"

/* At most so many children are watched at a time. */
#define PROCESS_WATCH_MAX	16

typedef struct ProcessTable ProcessTable;

typedef void (*ProcessExited) (void *context, pid_t pid, int wait_status);

/* Handles SIGCHLD from now on and makes us the subreaper.  NULL: no memory. */
extern ProcessTable *process_table_create(struct event_base *base);
extern void process_table_free(ProcessTable *table);	/* NULL is fine */

extern bool process_watch(ProcessTable *table, pid_t pid, ProcessExited exited, void *context);
extern void process_unwatch(ProcessTable *table, pid_t pid);

/* "exited with exit code 1", "was terminated by signal 9: Killed" */
extern void process_status_text(int wait_status, char *text, size_t size);

/* pidfd of a process that need not be our child; -1 and errno. */
extern int	process_pidfd(pid_t pid);

/* fork() with all signals blocked on both sides of it: a signal for the new
 * child must not run the parent's handlers there.  The child must call
 * process_child_init(), which unblocks them. */
extern pid_t process_fork(void);

/*
 * In a new child only: default signal handlers, empty mask, all descriptors
 * from 3 on closed except "keep" (-1 none; moved to 3), stdin /dev/null.
 */
extern void process_child_init(int keep);

/* Variables that no child of ours may see are unset. */
extern void process_scrub_environment(void);

#endif							/* PATRONI_SUPERVISOR_PROCESS_H */
