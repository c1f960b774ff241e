/*-------------------------------------------------------------------------
 *
 * callback.h
 *      Runs postgresql.callbacks: <command words> <action> <role> <scope>.
 *
 * Off the loop, not waited for, one at a time: a new one kills the running
 * one with its whole process group; on_reload has a slot of its own (as
 * patroni/postgresql/callback_executor.py).
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_SUPERVISOR_CALLBACK_H
#define PATRONI_SUPERVISOR_CALLBACK_H

#include <event2/event.h>

#include "config/settings.h"
#include "supervisor/process.h"

typedef void (*CallbackLog) (void *context, int level, const char *message,
							 const char *detail, const char *hint);

typedef struct CallbackRunner CallbackRunner;

extern CallbackRunner *callback_runner_create(ProcessTable *processes, CallbackLog log,
											  void *log_context);
extern void callback_runner_free(CallbackRunner *runner);	/* a running script goes on */
/* action: "on_start", ...; role as Patroni's ("primary", "replica", ...).
 * Nothing happens when no such callback is configured. */
extern void callback_run(CallbackRunner *runner, const Settings *settings,
						 const char *action, const char *role);

#endif							/* PATRONI_SUPERVISOR_CALLBACK_H */
