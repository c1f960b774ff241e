/*-------------------------------------------------------------------------
 *
 * console.h
 *      A conversation with a PgBouncer: connect, send a command, read its
 *      answer, one after the other, and never wait.
 *
 * Only the simple protocol: the admin console knows no other.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_SUPERVISOR_CONSOLE_H
#define PATRONI_SUPERVISOR_CONSOLE_H

#include <stdbool.h>

#include <event2/dns.h>
#include <event2/event.h>

#include "config/settings.h"

#define CONSOLE_ADDRESSES_MAX 4 /* of a host's name are tried, in turn */
#define CONSOLE_DATABASE	  "pgbouncer"

typedef struct Console Console;

struct pg_result; /* libpq's PGresult */

/*
 * The end of connecting, or of a command; once for each, from the loop, never
 * from inside console_open() or console_send().  "result" is that of the
 * command, NULL after connecting.  "problem" is NULL when it went well; what
 * PgBouncer refused has a result and a problem, and the next command can be
 * sent; without a result there is no connection any more.  The console may be
 * closed from here.
 */
typedef void (*ConsoleDone)(void *context, const struct pg_result *result, const char *problem);

typedef struct ConsoleTarget
{
	const PgBouncer *where;	  /* copied */
	const char *database;	  /* CONSOLE_DATABASE, or one that PgBouncer serves */
	const char *application;  /* shown by SHOW CLIENTS */
	struct evdns_base *names; /* to look up a host's name */
	int timeout_ms;
} ConsoleTarget;

/* NULL: no memory. */
extern Console *console_open(struct event_base *base, const ConsoleTarget *target, ConsoleDone done,
							 void *context);
/* Once connected, and when the command before it has ended. */
extern void console_send(Console *console, const char *command, int timeout_ms);
extern void console_close(Console *console); /* NULL is fine; nothing is told any more */

#endif /* PATRONI_SUPERVISOR_CONSOLE_H */
