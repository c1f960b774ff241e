/*-------------------------------------------------------------------------
 *
 * test_channel.c
 *      The socket between the homes: split, many, oversized and broken
 *      messages, and the death of the peer.
 *-------------------------------------------------------------------------
 */
#include "node/channel.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct Pair
{
	char path[64];
	int listen_fd;
	Channel *server;
	int raw; /* a client without Channel, to send anything */
} Pair;

static int
raw_connect(const char *path)
{
	struct sockaddr_un address;
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	memset(&address, 0, sizeof(address));
	address.sun_family = AF_UNIX;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	assert_int_equal(connect(fd, (struct sockaddr *) &address, sizeof(address)), 0);
	return fd;
}

static void
raw_send(const Pair *pair, const char *text)
{
	assert_int_equal(send(pair->raw, text, strlen(text), MSG_NOSIGNAL), (ssize_t) strlen(text));
}

static int
setup(void **state)
{
	Pair *pair = calloc(1, sizeof(Pair));
	Error error;

	snprintf(pair->path, sizeof(pair->path), "/tmp/test_channel.%d", (int) getpid());
	assert_true(channel_listen(pair->path, &pair->listen_fd, &error));
	pair->raw = raw_connect(pair->path);
	pair->server = channel_accept(pair->listen_fd, &error);
	assert_non_null(pair->server);
	*state = pair;
	return 0;
}

static int
teardown(void **state)
{
	Pair *pair = *state;

	channel_close(pair->server);
	if (pair->raw >= 0)
		close(pair->raw);
	close(pair->listen_fd);
	unlink(pair->path);
	free(pair);
	return 0;
}

/* Receive one message and check its type. */
static void
expect_type(Channel *channel, const char *type)
{
	bool is_closed;
	json_t *message = channel_receive(channel, &is_closed);

	assert_non_null(message);
	assert_false(is_closed);
	assert_string_equal(json_string_value(json_object_get(message, "type")), type);
	json_decref(message);
}

static void
expect_nothing(Channel *channel)
{
	bool is_closed = true;

	assert_null(channel_receive(channel, &is_closed));
	assert_false(is_closed);
}

static void
expect_closed(Channel *channel)
{
	bool is_closed = false;

	assert_null(channel_receive(channel, &is_closed));
	assert_true(is_closed);
}

static void
test_file_is_private(void **state)
{
	Pair *pair = *state;
	struct stat st;

	assert_int_equal(stat(pair->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void
test_split_messages(void **state)
{
	Pair *pair = *state;
	const char *text = "{\"type\":\"state\",\"postgres\":{}}\n";

	expect_nothing(pair->server);
	for (size_t i = 0; text[i] != '\0'; i++)
	{
		char piece[2] = { text[i], '\0' };

		expect_nothing(pair->server);
		raw_send(pair, piece);
	}
	expect_type(pair->server, "state");
	expect_nothing(pair->server);
}

static void
test_many_at_once(void **state)
{
	Pair *pair = *state;

	raw_send(pair, "{\"type\":\"one\"}\n{\"type\":\"two\"}\n{\"type\":\"thr");
	expect_type(pair->server, "one");
	expect_type(pair->server, "two");
	expect_nothing(pair->server);
	raw_send(pair, "ee\"}\n");
	expect_type(pair->server, "three");
}

static void
test_unknown_types_pass(void **state)
{
	Pair *pair = *state;

	raw_send(pair, "{\"type\":\"from the future\",\"x\":[1,2]}\n");
	expect_type(pair->server, "from the future");
}

static void
test_garbage(void **state)
{
	static const char *const lines[] = {
		"no json\n",
		"\n",
		"[1]\n",
		"{\"kind\":\"x\"}\n",
		"{\"type\":1}\n",
		"{\"type\":\"a\",\"type\":\"b\"}\n",
		"{\"type\":\"a\"} x\n",
		"\377\376\n",
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
	{
		if (i > 0)
		{
			teardown(state);
			setup(state);
		}
		raw_send(*state, lines[i]);
		expect_closed(((Pair *) *state)->server);
		/* Broken for good, also if something sensible follows. */
		raw_send(*state, "{\"type\":\"state\"}\n");
		expect_closed(((Pair *) *state)->server);
		assert_false(channel_send(((Pair *) *state)->server, json_pack("{s:s}", "type", "x")));
	}
}

static void
test_oversized_input(void **state)
{
	Pair *pair = *state;
	char piece[16 * 1024];
	bool is_closed = false;
	size_t sent = 0;

	memset(piece, 'a', sizeof(piece));
	while (!is_closed && sent < 4 * CHANNEL_MESSAGE_MAX)
	{
		sent += (size_t) send(pair->raw, piece, sizeof(piece), MSG_NOSIGNAL);
		assert_null(channel_receive(pair->server, &is_closed));
	}
	assert_true(is_closed);
	assert_true(sent <= CHANNEL_MESSAGE_MAX + 2 * sizeof(piece));
}

static json_t *
message_of_size(size_t length)
{
	char *filler = malloc(length + 1);
	json_t *message;

	memset(filler, 'x', length);
	filler[length] = '\0';
	message = json_pack("{s:s, s:s}", "type", "big", "filler", filler);
	free(filler);
	return message;
}

/* The largest message goes through, in many pieces, to a real Channel. */
static void
test_large_message(void **state)
{
	Pair *pair = *state;
	Error error;
	Channel *client = channel_connect(pair->path, &error);
	Channel *server = channel_accept(pair->listen_fd, &error);
	json_t *message = NULL;
	bool is_closed = false;

	assert_non_null(client);
	assert_non_null(server);
	assert_true(channel_send(client, message_of_size(CHANNEL_MESSAGE_MAX - 64)));
	assert_true(channel_wants_write(client));
	while (message == NULL && !is_closed)
	{
		assert_true(channel_flush(client));
		message = channel_receive(server, &is_closed);
	}
	assert_non_null(message);
	assert_false(channel_wants_write(client));
	assert_int_equal(json_string_length(json_object_get(message, "filler")),
	                 CHANNEL_MESSAGE_MAX - 64);
	json_decref(message);

	assert_false(channel_send(client, message_of_size(CHANNEL_MESSAGE_MAX)));
	channel_close(client);
	channel_close(server);
}

/* A peer that reads nothing is cut off before it eats all memory. */
static void
test_peer_does_not_read(void **state)
{
	Pair *pair = *state;
	int sent = 0;

	while (sent < 100 && channel_send(pair->server, message_of_size(256 * 1024)))
		sent++;
	assert_true(sent >= 4);
	assert_true(sent < 30);
}

static void
test_peer_death(void **state)
{
	Pair *pair = *state;

	raw_send(pair, "{\"type\":\"last words\"}\n{\"type\":\"half");
	close(pair->raw);
	pair->raw = -1;
	expect_type(pair->server, "last words");
	expect_closed(pair->server);
	expect_closed(pair->server);
	/* Writing to the dead must not raise SIGPIPE. */
	for (int i = 0; i < 3; i++)
		(void) channel_send(pair->server, json_pack("{s:s}", "type", "x"));
	assert_false(channel_flush(pair->server));
}

static void
test_listen_and_connect_errors(void **state)
{
	Pair *pair = *state;
	char path[80];
	int fd;
	Error error;
	FILE *file;

	snprintf(path, sizeof(path), "%s.none", pair->path);
	assert_null(channel_connect(path, &error));
	assert_string_not_equal(error.message, "");

	/* Nobody waits: no error. */
	assert_null(channel_accept(pair->listen_fd, &error));
	assert_string_equal(error.message, "");

	/* An old socket is replaced, another file is not. */
	assert_true(channel_listen(path, &fd, &error));
	close(fd);
	assert_true(channel_listen(path, &fd, &error));
	close(fd);
	unlink(path);
	file = fopen(path, "w");
	assert_non_null(file);
	fclose(file);
	assert_false(channel_listen(path, &fd, &error));
	assert_int_equal(fd, -1);
	unlink(path);
}

/* A process of another user is refused.  Only root can try that. */
static void
test_other_user(void **state)
{
	Pair *pair = *state;
	Error error;
	int client;

	if (geteuid() != 0)
		skip();
	assert_int_equal(chmod(pair->path, 0666), 0);
	assert_int_equal(seteuid(65534), 0);
	client = raw_connect(pair->path);
	assert_int_equal(seteuid(0), 0);
	assert_null(channel_accept(pair->listen_fd, &error));
	assert_non_null(strstr(error.message, "another user"));
	close(client);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_file_is_private, setup, teardown),
		cmocka_unit_test_setup_teardown(test_split_messages, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unknown_types_pass, setup, teardown),
		cmocka_unit_test_setup_teardown(test_garbage, setup, teardown),
		cmocka_unit_test_setup_teardown(test_oversized_input, setup, teardown),
		cmocka_unit_test_setup_teardown(test_large_message, setup, teardown),
		cmocka_unit_test_setup_teardown(test_peer_does_not_read, setup, teardown),
		cmocka_unit_test_setup_teardown(test_peer_death, setup, teardown),
		cmocka_unit_test_setup_teardown(test_listen_and_connect_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_user, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
