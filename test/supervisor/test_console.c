/*-------------------------------------------------------------------------
 *
 * test_console.c
 *      A conversation with a PgBouncer never waits and always ends: also with
 *      one that refuses, is silent, hangs up, or says no.
 *
 * The other side is a few bytes of the protocol, in the same loop.
 *-------------------------------------------------------------------------
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <libpq-fe.h>

#include "base/clock.h"
#include "supervisor/console.h"

typedef enum Mood
{
	FRIENDLY,
	SILENT,	   /* accepts and says nothing */
	UNWILLING, /* refuses the login */
} Mood;

static struct event_base *base;
static struct evdns_base *names;
static struct evconnlistener *listener;
static PgBouncer where;
static Mood mood;
static struct bufferevent *client; /* of the fake, the last one */

/* what was told */
static int n_told;
static bool had_result;
static char value[64];
static char problem_told[512];
static Console *console;
static bool must_close; /* from inside the callback */

static void
put_message(struct evbuffer *out, char type, const void *body, size_t length)
{
	uint32_t size = htonl((uint32_t) length + 4);

	evbuffer_add(out, &type, 1);
	evbuffer_add(out, &size, 4);
	evbuffer_add(out, body, length);
}

static void
put_error(struct evbuffer *out, const char *severity, const char *text)
{
	char body[256];
	int n = snprintf(body, sizeof(body), "S%s%cC08P01%cM%s%c", severity, 0, 0, text, 0);

	put_message(out, 'E', body, (size_t) n + 1);
}

static void
answer_query(struct evbuffer *out, const char *query)
{
	static const char row_description[] =
		"\0\1paused\0\0\0\0\0\0\0\0\0\0\x17\0\4\xff\xff\xff\xff\0";
	static const char row[] = "\0\1\0\0\0\0011";

	if (strcmp(query, "SHOW") == 0)
	{
		put_message(out, 'T', row_description, sizeof(row_description));
		put_message(out, 'D', row, sizeof(row) - 1);
		put_message(out, 'C', "SHOW", 5);
	}
	else if (strcmp(query, "RESUME") == 0)
		put_message(out, 'C', "RESUME", 7);
	else if (strcmp(query, "WAIT") == 0)
		return;
	else
		put_error(out, "ERROR", "database app is not paused");
	put_message(out, 'Z', "I", 1);
}

static void
fake_read(struct bufferevent *event, void *arg)
{
	struct evbuffer *in = bufferevent_get_input(event);
	struct evbuffer *out = bufferevent_get_output(event);
	bool *is_started = arg;

	while (mood != SILENT && evbuffer_get_length(in) >= 5)
	{
		char head[5];
		uint32_t size;
		char body[1024];

		evbuffer_copyout(in, head, 5);
		memcpy(&size, *is_started ? head + 1 : head, 4);
		size = ntohl(size) + (*is_started ? 1 : 0);
		assert_true(size < sizeof(body));
		if (evbuffer_get_length(in) < size)
			break;
		evbuffer_remove(in, body, size);
		if (*is_started && body[0] == 'Q')
		{
			if (strcmp(body + 5, "HANG UP") == 0)
			{
				shutdown(bufferevent_getfd(event), SHUT_RDWR);
				return;
			}
			answer_query(out, body + 5);
		}
		else if (!*is_started && size == 8)
			evbuffer_add(out, "N", 1); /* no TLS */
		else if (!*is_started && mood == UNWILLING)
			put_error(out, "FATAL", "password authentication failed");
		else if (!*is_started)
		{
			*is_started = true;
			put_message(out, 'R', "\0\0\0\0", 4);
			put_message(out, 'Z', "I", 1);
		}
	}
}

static void
fake_accept(struct evconnlistener *at, evutil_socket_t fd, struct sockaddr *from, int length,
			void *arg)
{
	static bool is_started;

	(void) at;
	(void) from;
	(void) length;
	(void) arg;
	is_started = false;
	if (client != NULL)
		bufferevent_free(client);
	client = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
	bufferevent_setcb(client, fake_read, NULL, NULL, &is_started);
	bufferevent_enable(client, EV_READ | EV_WRITE);
}

static int
set_up(void **state)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t length = sizeof(address);

	(void) state;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	base = event_base_new();
	names =
		evdns_base_new(base, EVDNS_BASE_INITIALIZE_NAMESERVERS | EVDNS_BASE_DISABLE_WHEN_INACTIVE);
	listener = evconnlistener_new_bind(base, fake_accept, NULL, LEV_OPT_CLOSE_ON_FREE, 5,
									   (struct sockaddr *) &address, sizeof(address));
	if (listener == NULL ||
		getsockname(evconnlistener_get_fd(listener), (struct sockaddr *) &address, &length) != 0)
		return -1;
	memset(&where, 0, sizeof(where));
	strcpy(where.host, "127.0.0.1");
	strcpy(where.username, "patroni");
	strcpy(where.password, "top secret");
	where.port = ntohs(address.sin_port);
	mood = FRIENDLY;
	must_close = false;
	return 0;
}

static int
tear_down(void **state)
{
	(void) state;
	console_close(console);
	console = NULL;
	if (client != NULL)
		bufferevent_free(client);
	client = NULL;
	if (listener != NULL)
		evconnlistener_free(listener);
	evdns_base_free(names, 1);
	event_base_free(base);
	return 0;
}

static void
told(void *context, const PGresult *result, const char *problem)
{
	assert_ptr_equal(context, &where);
	n_told++;
	had_result = result != NULL;
	value[0] = problem_told[0] = '\0';
	if (result != NULL && PQntuples(result) > 0)
		snprintf(value, sizeof(value), "%s", PQgetvalue(result, 0, PQfnumber(result, "paused")));
	if (problem != NULL)
		snprintf(problem_told, sizeof(problem_told), "%s", problem);
	if (must_close)
	{
		console_close(console);
		console = NULL;
	}
}

/* Loop until one more thing was told. */
static void
wait_until_told(void)
{
	int before = n_told;
	int64_t end_ms = clock_now_ms() + 10000;

	while (n_told == before && clock_now_ms() < end_ms)
		event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(n_told, before + 1);
}

static void
open_it(int timeout_ms)
{
	ConsoleTarget target = {
		.where = &where,
		.database = CONSOLE_DATABASE,
		.application = "test",
		.names = names,
		.timeout_ms = timeout_ms,
	};
	int before = n_told;

	console = console_open(base, &target, told, &where);
	assert_non_null(console);
	assert_int_equal(n_told, before); /* never from inside */
}

static void
test_answers(void **state)
{
	(void) state;
	open_it(5000);
	wait_until_told();
	assert_string_equal(problem_told, "");
	console_send(console, "SHOW", 5000);
	wait_until_told();
	assert_true(had_result);
	assert_string_equal(problem_told, "");
	assert_string_equal(value, "1");
	/* what is refused leaves the connection as it is */
	console_send(console, "NONSENSE", 5000);
	wait_until_told();
	assert_true(had_result);
	assert_non_null(strstr(problem_told, "is not paused"));
	console_send(console, "RESUME", 5000);
	wait_until_told();
	assert_true(had_result);
	assert_string_equal(problem_told, "");
}

static void
test_closed_from_inside(void **state)
{
	(void) state;
	open_it(5000);
	wait_until_told();
	must_close = true;
	console_send(console, "SHOW", 5000);
	wait_until_told();
	assert_null(console);
	open_it(5000);
	wait_until_told();
	assert_null(console);
}

static void
test_silence(void **state)
{
	int64_t begin_ms = clock_now_ms();

	(void) state;
	mood = SILENT;
	open_it(50);
	wait_until_told();
	assert_false(had_result);
	assert_string_equal(problem_told, "no connection within 50 ms");
	assert_true(clock_now_ms() - begin_ms >= 49);
	console_close(console);
	mood = FRIENDLY;
	open_it(5000);
	wait_until_told();
	console_send(console, "WAIT", 40);
	wait_until_told();
	assert_false(had_result);
	assert_string_equal(problem_told, "no answer within 40 ms");
}

static void
test_refusals(void **state)
{
	(void) state;
	mood = UNWILLING;
	open_it(5000);
	wait_until_told();
	assert_non_null(strstr(problem_told, "password authentication failed"));
	assert_null(strstr(problem_told, "top secret"));
	assert_null(strchr(problem_told, '\n'));
	console_close(console);
	mood = FRIENDLY;
	open_it(5000);
	wait_until_told();
	console_send(console, "HANG UP", 5000);
	wait_until_told();
	assert_false(had_result);
	assert_string_not_equal(problem_told, "");
	/* nothing can be sent any more: told, not forgotten */
	console_send(console, "SHOW", 5000);
	wait_until_told();
	assert_string_not_equal(problem_told, "");
	console_close(console);
	evconnlistener_free(listener);
	listener = NULL;
	open_it(5000);
	wait_until_told();
	assert_non_null(strstr(problem_told, "refused"));
}

/* A name is looked up without waiting; one that there is not is a problem like any other. */
static void
test_names(void **state)
{
	(void) state;
	strcpy(where.host, "localhost");
	open_it(5000);
	wait_until_told();
	assert_string_equal(problem_told, "");
	console_close(console);
	strcpy(where.host, "no-such-host.invalid");
	open_it(200);
	wait_until_told();
	assert_string_not_equal(problem_told, "");
	/* closed while the question is under way */
	console_close(console);
	open_it(5000);
	console_close(console);
	console = NULL;
	event_base_loop(base, EVLOOP_NONBLOCK);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_answers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_closed_from_inside, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_silence, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_refusals, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_names, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
