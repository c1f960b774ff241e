/*-------------------------------------------------------------------------
 *
 * console.c
 *      A conversation with a PgBouncer, in the loop.
 *
 * libpq looks up names while its caller waits, so a name is looked up by
 * libevent first.  Everything after that is libpq's non-blocking interface.
 *
 * Invariants:
 *  (1) "done" is called once for each console_open() and console_send(),
 *      unless the console is closed before, and from the loop only.
 *  (2) Nothing of a console is touched after its "done" was called: it may
 *      have been closed there.
 *  (3) Each of the two ends within its timeout.
 *-------------------------------------------------------------------------
 */
#include "supervisor/console.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#include "base/clock.h"

#define CONSOLE_LOST_MS "1000" /* what is sent and not received by then is lost */

typedef enum ConsoleState
{
	CONSOLE_LOOKING_UP,
	CONSOLE_CONNECTING,
	CONSOLE_IDLE,
	CONSOLE_SENDING, /* a command, or reading its answer */
	CONSOLE_BROKEN,
} ConsoleState;

/* Outlives a console that is closed meanwhile: libevent still calls back. */
typedef struct Lookup
{
	Console *console; /* NULL: closed */
	struct evdns_getaddrinfo_request *request;
} Lookup;

struct Console
{
	struct event_base *base;
	PgBouncer where; /* without the password once connecting has begun */
	char database[64];
	char application[160];
	char addresses[CONSOLE_ADDRESSES_MAX * 64]; /* comma joined; "" = none */
	int n_addresses;
	ConsoleDone done;
	void *context;
	ConsoleState state;
	int timeout_ms;
	Lookup *lookup;				/* NULL: none under way */
	struct event *socket_event; /* NULL: none; made anew when the socket or the wish changes */
	struct event *timer;		/* also calls what would otherwise be told from inside a call */
	char problem[512];			/* that the timer tells; "" = it ran out */
	PGconn *conn;
	PGresult *result; /* of the command under way, the first one that says something */
};

static void socket_ready(evutil_socket_t fd, short what, void *arg);

/* --- ends --- */

static void
forget_socket(Console *console)
{
	if (console->socket_event != NULL)
		event_free(console->socket_event);
	console->socket_event = NULL;
}

static void
arm(struct event *timer, int wait_ms)
{
	struct timeval wait = { .tv_sec = wait_ms / 1000, .tv_usec = (wait_ms % 1000) * 1000 };

	event_add(timer, &wait);
}

/* One line, without the final line feed. */
static void
one_line(char *to, size_t size, const char *from)
{
	snprintf(to, size, "%s", from == NULL ? "" : from);
	for (char *p = to; *p != '\0'; p++)
	{
		if (*p == '\n' || *p == '\r')
			*p = p[1 + strspn(p + 1, "\r\n\t ")] == '\0' ? '\0' : ' ';
	}
}

/* The conversation is over.  Call last. */
static void
fail(Console *console, const char *problem)
{
	char text[512];

	one_line(text, sizeof(text), problem);
	console->state = CONSOLE_BROKEN;
	forget_socket(console);
	event_del(console->timer);
	console->done(console->context, NULL, text);
}

/* The same, from inside console_open() and console_send(): told by the timer. */
static void
fail_later(Console *console, const char *problem)
{
	one_line(console->problem, sizeof(console->problem), problem);
	console->state = CONSOLE_BROKEN;
	forget_socket(console);
	arm(console->timer, 0);
}

static void
timer_due(evutil_socket_t fd, short what, void *arg)
{
	Console *console = arg;
	char text[512];
	const char *doing = console->state == CONSOLE_LOOKING_UP   ? "the host's name was not found"
						: console->state == CONSOLE_CONNECTING ? "no connection"
															   : "no answer";

	(void) fd;
	(void) what;
	if (console->problem[0] != '\0')
		snprintf(text, sizeof(text), "%s", console->problem);
	else
		snprintf(text, sizeof(text), "%s within %d ms", doing, console->timeout_ms);
	fail(console, text);
}

/* --- the socket --- */

/* Wait until the socket can be read, or written. */
static bool
watch(Console *console, short wish)
{
	int fd = PQsocket(console->conn);

	forget_socket(console);
	if (fd >= 0)
		console->socket_event = event_new(console->base, fd, wish, socket_ready, console);
	return console->socket_event != NULL && event_add(console->socket_event, NULL) == 0;
}

static void
poll_connection(Console *console)
{
	bool ok = true;

	forget_socket(console); /* it may be closed, and its number used for another */
	switch (PQconnectPoll(console->conn))
	{
		case PGRES_POLLING_READING:
			ok = watch(console, EV_READ);
			break;
		case PGRES_POLLING_WRITING:
			ok = watch(console, EV_WRITE);
			break;
		case PGRES_POLLING_OK:
			if (PQsetnonblocking(console->conn, 1) != 0)
			{
				fail(console, PQerrorMessage(console->conn));
				return;
			}
			event_del(console->timer);
			console->state = CONSOLE_IDLE;
			console->done(console->context, NULL, NULL);
			return;
		default:
			fail(console, PQerrorMessage(console->conn));
			return;
	}
	if (!ok)
		fail(console, "could not set up the loop");
}

/* A command's answer is complete. */
static void
finish_command(Console *console)
{
	PGresult *result = console->result;
	ExecStatusType status = PQresultStatus(result);
	char problem[512];

	console->result = NULL;
	forget_socket(console);
	event_del(console->timer);
	console->state = CONSOLE_IDLE;
	one_line(problem, sizeof(problem), PQresultErrorMessage(result));
	if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
		console->done(console->context, result, NULL);
	else
		console->done(console->context, result, problem[0] != '\0' ? problem : "no result");
	PQclear(result);
}

static void
read_answer(Console *console)
{
	int left = PQflush(console->conn);

	if (left < 0 || !PQconsumeInput(console->conn))
	{
		fail(console, PQerrorMessage(console->conn));
		return;
	}
	while (left == 0 && !PQisBusy(console->conn))
	{
		PGresult *result = PQgetResult(console->conn);

		if (result == NULL && console->result != NULL)
		{
			if (PQstatus(console->conn) == CONNECTION_BAD)
				fail(console, PQresultErrorMessage(console->result));
			else
				finish_command(console);
			return;
		}
		if (result == NULL)
		{
			fail(console, "no result");
			return;
		}
		if (console->result == NULL)
			console->result = result;
		else
			PQclear(result);
	}
	if (!watch(console, left > 0 ? EV_READ | EV_WRITE : EV_READ))
		fail(console, "could not set up the loop");
}

static void
socket_ready(evutil_socket_t fd, short what, void *arg)
{
	Console *console = arg;

	(void) fd;
	(void) what;
	if (console->state == CONSOLE_CONNECTING)
		poll_connection(console);
	else if (console->state == CONSOLE_SENDING)
		read_answer(console);
}

/* --- connecting --- */

/* libpq takes as many hosts as addresses. */
static void
repeat_host(const Console *console, char *to, size_t size)
{
	size_t used = 0;

	to[0] = '\0';
	for (int i = 0; i < console->n_addresses && used < size; i++)
		used += (size_t) snprintf(to + used, size - used, "%s%s", i > 0 ? "," : "",
								  console->where.host);
}

/* Begin to connect; what goes wrong is told by the timer. */
static void
connect_now(Console *console)
{
	const PgBouncer *where = &console->where;
	char hosts[CONSOLE_ADDRESSES_MAX * (sizeof(where->host) + 1)];
	char port[16];
	const char *names[16];
	const char *values[16];
	int n = 0;

	snprintf(port, sizeof(port), "%d", where->port);
	repeat_host(console, hosts, sizeof(hosts));
	names[n] = "host", values[n++] = hosts[0] != '\0' ? hosts : where->host;
	if (console->addresses[0] != '\0')
		names[n] = "hostaddr", values[n++] = console->addresses;
	names[n] = "port", values[n++] = port;
	names[n] = "dbname", values[n++] = console->database;
	names[n] = "user", values[n++] = where->username;
	names[n] = "password", values[n++] = where->password;
	names[n] = "passfile", values[n++] = "/dev/null";
	names[n] = "application_name", values[n++] = console->application;
	/* a command does not arrive long after it was given up, or its sender is dead */
	names[n] = "tcp_user_timeout", values[n++] = CONSOLE_LOST_MS;
	names[n] = "gssencmode", values[n++] = "disable";
	names[n] = values[n] = NULL;
	console->state = CONSOLE_CONNECTING;
	console->conn = PQconnectStartParams(names, values, 0);
	explicit_bzero(console->where.password, sizeof(console->where.password));
	if (console->conn == NULL)
		fail_later(console, "out of memory");
	else if (PQstatus(console->conn) == CONNECTION_BAD)
		fail_later(console, PQerrorMessage(console->conn));
	else if (!watch(console, EV_WRITE))
		fail_later(console, "could not set up the loop");
}

static void
keep_addresses(Console *console, const struct evutil_addrinfo *info)
{
	size_t used = 0;

	for (; info != NULL && console->n_addresses < CONSOLE_ADDRESSES_MAX; info = info->ai_next)
	{
		char text[INET6_ADDRSTRLEN];
		const void *address =
			info->ai_family == AF_INET
				? (const void *) &((const struct sockaddr_in *) (const void *) info->ai_addr)
					  ->sin_addr
				: (const void *) &((const struct sockaddr_in6 *) (const void *) info->ai_addr)
					  ->sin6_addr;

		if (inet_ntop(info->ai_family, address, text, sizeof(text)) == NULL)
			continue;
		used += (size_t) snprintf(console->addresses + used, sizeof(console->addresses) - used,
								  "%s%s", console->n_addresses > 0 ? "," : "", text);
		console->n_addresses++;
	}
}

static void
looked_up(int result, struct evutil_addrinfo *info, void *arg)
{
	Lookup *lookup = arg;
	Console *console = lookup->console;

	free(lookup);
	if (console == NULL)
	{
		if (info != NULL)
			evutil_freeaddrinfo(info);
		return;
	}
	console->lookup = NULL;
	if (result != 0)
		fail_later(console, evutil_gai_strerror(result));
	else
	{
		keep_addresses(console, info);
		connect_now(console);
	}
	if (info != NULL)
		evutil_freeaddrinfo(info);
}

static void
look_up(Console *console, struct evdns_base *names)
{
	struct evutil_addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	Lookup *lookup = calloc(1, sizeof(Lookup));
	struct evdns_getaddrinfo_request *request;

	if (lookup == NULL || names == NULL)
	{
		free(lookup);
		fail_later(console, "could not look up the host's name");
		return;
	}
	lookup->console = console;
	console->lookup = lookup;
	console->state = CONSOLE_LOOKING_UP;
	/* may have called back already: then the lookup is gone */
	request = evdns_getaddrinfo(names, console->where.host, NULL, &hints, looked_up, lookup);
	if (console->lookup != NULL)
		console->lookup->request = request;
}

static bool
needs_lookup(const char *host)
{
	struct in6_addr address;

	return host[0] != '/' && inet_pton(AF_INET, host, &address) != 1 &&
		   inet_pton(AF_INET6, host, &address) != 1;
}

/* Begin to connect; see console.h. */
Console *
console_open(struct event_base *base, const ConsoleTarget *target, ConsoleDone done, void *context)
{
	Console *console = calloc(1, sizeof(Console));

	if (console == NULL)
		return NULL;
	console->base = base;
	console->where = *target->where;
	snprintf(console->database, sizeof(console->database), "%s", target->database);
	snprintf(console->application, sizeof(console->application), "%s", target->application);
	console->done = done;
	console->context = context;
	console->timeout_ms = target->timeout_ms;
	console->timer = evtimer_new(base, timer_due, console);
	if (console->timer == NULL)
	{
		console_close(console);
		return NULL;
	}
	arm(console->timer, target->timeout_ms);
	if (needs_lookup(console->where.host))
		look_up(console, target->names);
	else
		connect_now(console);
	return console;
}

/* Send a command; see console.h. */
void
console_send(Console *console, const char *command, int timeout_ms)
{
	console->timeout_ms = timeout_ms;
	arm(console->timer, timeout_ms);
	if (console->state != CONSOLE_IDLE)
		fail_later(console, "the connection is not ready for a command");
	else if (!PQsendQuery(console->conn, command))
		fail_later(console, PQerrorMessage(console->conn));
	else
	{
		console->state = CONSOLE_SENDING;
		if (!watch(console, EV_READ | EV_WRITE))
			fail_later(console, "could not set up the loop");
	}
}

/* End the conversation and free it. */
void
console_close(Console *console)
{
	if (console == NULL)
		return;
	if (console->lookup != NULL)
	{
		struct evdns_getaddrinfo_request *request = console->lookup->request;

		console->lookup->console = NULL; /* it is freed when it is called back */
		if (request != NULL)
			evdns_getaddrinfo_cancel(request);
	}
	forget_socket(console);
	if (console->timer != NULL)
		event_free(console->timer);
	PQclear(console->result);
	PQfinish(console->conn);
	explicit_bzero(&console->where, sizeof(console->where));
	free(console);
}
