/*-------------------------------------------------------------------------
 *
 * task_internal.h
 *      Between task.c (the supervisor's side) and task_work.c (the side of
 *      the task's own process).
 *
 * The process reports lines through descriptor 3:
 *      L<level> <text>                         for the log
 *      P<text>                                 for people
 *      H                                       it is alive and gets on
 *      R<outcome> <divergence> <lsn> <text>    the result, last line
 * A process that is to become the postmaster ends its reports by exec: the
 * descriptor closes without a result.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_SUPERVISOR_TASK_INTERNAL_H
#define PATRONI_SUPERVISOR_TASK_INTERNAL_H

#include "supervisor/task.h"

#define TASK_REPORT_FD		3
#define TASK_LINE_MAX		2048

/* Only before_stop, not the stop itself, runs in the process. */
extern void task_work(const TaskRequest *request, const Settings *settings,
					  char *const *postmaster_arguments) __attribute__((noreturn));

#endif							/* PATRONI_SUPERVISOR_TASK_INTERNAL_H */
