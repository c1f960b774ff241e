/*-------------------------------------------------------------------------
 *
 * postmaster.h
 *      The server of our data directory, seen from outside: is it there, what
 *      does it say of itself, when did it die.
 *
 * The postmaster is either our child or one that an earlier supervisor
 * started; both are held by a pidfd, so that its end is an event and a
 * recycled pid is never taken for it.  Nothing here blocks.  Starting and
 * stopping are tasks (task.h), which use this.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_SUPERVISOR_POSTMASTER_H
#define PATRONI_SUPERVISOR_POSTMASTER_H

#include <stdbool.h>
#include <sys/types.h>

#include <event2/event.h>

#include "base/error.h"
#include "config/settings.h"
#include "ha/ha.h"
#include "supervisor/process.h"

typedef enum PostmasterEvent
{
	POSTMASTER_ATTACHED,		/* there is one now: started by us or found */
	POSTMASTER_ACCEPTS,			/* postmaster.pid says "ready" or "standby" */
	POSTMASTER_SHUT_DOWN_CHECKPOINT,	/* pg_control says "shut down", the process still
										 * lives (archiving, walsenders): an early release
										 * of the leader key is possible */
	POSTMASTER_DIED,			/* for whatever reason; wait_status in the log */
} PostmasterEvent;

typedef struct PostmasterOps
{
	void	   *context;
	/* Something changed: observe again.  Called from the loop only. */
	void		(*changed) (void *context, PostmasterEvent event);
	/* level: 0 debug, 1 log, 2 warning; texts may be NULL except message */
	void		(*log) (void *context, int level, const char *message,
						const char *detail, const char *hint);
} PostmasterOps;

typedef struct Postmaster Postmaster;

/* NULL: no memory.  "ops" is copied. */
extern Postmaster *postmaster_create(struct event_base *base, ProcessTable *processes,
									 const PostmasterOps *ops);
extern void postmaster_free(Postmaster *postmaster);	/* leaves the server alone */

/* What is copied: data_dir, config_dir, config_base_name.  Call on every change of settings. */
extern bool postmaster_configure(Postmaster *postmaster, const Settings *settings, Error *error) MUST_CHECK;

/* Look for a running server of the data directory and attach to it (start of
 * the supervisor; also when the directory is started by someone else).
 * False: there is none.  Calls .changed only from the loop. */
extern bool postmaster_attach(Postmaster *postmaster);
/* Is the running server under this lease page?  page_name as of lease_page_names(). */
extern bool postmaster_has_page(const Postmaster *postmaster, int page_fd, const char *page_name);
extern pid_t postmaster_pid(const Postmaster *postmaster);		/* 0 = none */
extern bool postmaster_is_child(const Postmaster *postmaster);
extern bool postmaster_accepts(const Postmaster *postmaster);	/* "ready" or "standby" was seen */

/*
 * Fill *postgres from files alone: data, server, pg_control, upstream, newest
 * timeline.  is_observed is false.  What only the worker sees (positions of a
 * running server, slots, senders) is zero.  Costs a few small reads, no fork.
 * Attaches by itself when a foreign postmaster appeared.
 */
extern void postmaster_observe(Postmaster *postmaster, HaPostgres *postgres);

/* SIGHUP, SIGINT, SIGQUIT, ...: through the pidfd, never to a recycled pid. */
extern bool postmaster_signal(Postmaster *postmaster, int signal, Error *error) MUST_CHECK;

/*
 * Server processes that outlived their postmaster: SIGQUIT first, SIGKILL
 * from the second call on after 1 s.  Returns how many are left; a server
 * must not be started before it is 0.  Call again after some ms.
 */
extern int	postmaster_kill_orphans(Postmaster *postmaster);

/* For task.c: a child that has become a postmaster. */
extern bool postmaster_adopt(Postmaster *postmaster, pid_t child, Error *error) MUST_CHECK;

#endif							/* PATRONI_SUPERVISOR_POSTMASTER_H */
