/*-------------------------------------------------------------------------
 *
 * test_peers.c
 *      What a peer's status document says about it (patroni/ha.py,
 *      _MemberStatus), and asking over a real socket.
 *-------------------------------------------------------------------------
 */
#include "node/peers.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"

static HaPeer
read_peer(const char *text)
{
	HaPeer peer;

	memset(&peer, 0, sizeof(peer));
	strcpy(peer.name, "node2");
	peer.round = 7;
	peer_from_status(&peer, text, strlen(text));
	assert_string_equal(peer.name, "node2");
	assert_int_equal(peer.round, 7);
	return peer;
}

static void
test_replica(void **state)
{
	HaPeer peer = read_peer("{\"state\": \"running\", \"role\": \"replica\", \"timeline\": 3,"
	                        "\"xlog\": {\"received_location\": 200, \"replayed_location\": 300}}");

	(void) state;
	assert_true(peer.is_reachable);
	assert_true(peer.is_in_recovery);
	assert_true(peer.can_lead);
	assert_false(peer.nofailover);
	assert_false(peer.watchdog_failed);
	assert_int_equal(peer.failover_priority, 1);
	assert_int_equal(peer.position, 300);
	assert_int_equal(peer.timeline, 3);
	assert_int_equal(peer.state, MEMBER_RUNNING);
	peer = read_peer("{\"role\": \"replica\", \"timeline\": null,"
	                 "\"wal\": {\"received_location\": 400, \"replayed_location\": 300}}");
	assert_true(peer.is_reachable);
	assert_int_equal(peer.position, 400);
	assert_int_equal(peer.timeline, 0);
}

static void
test_primary(void **state)
{
	HaPeer peer = read_peer("{\"role\": \"primary\", \"xlog\": {\"location\": 500}}");

	(void) state;
	assert_false(peer.is_in_recovery);
	assert_int_equal(peer.position, 500);
	/* Either of the two is enough. */
	assert_false(read_peer("{\"role\": \"replica\", \"xlog\": {\"location\": 5}}").is_in_recovery);
	assert_false(read_peer("{\"role\": \"master\", \"xlog\": {}}").is_in_recovery);
}

static void
test_tags(void **state)
{
	(void) state;
	assert_true(read_peer("{\"xlog\": {}, \"tags\": {\"nofailover\": true}}").nofailover);
	assert_true(read_peer("{\"xlog\": {}, \"tags\": {\"failover_priority\": 0}}").nofailover);
	assert_int_equal(
	    read_peer("{\"xlog\": {}, \"tags\": {\"failover_priority\": 4}}").failover_priority, 4);
	assert_true(read_peer("{\"xlog\": {}, \"watchdog_failed\": true}").watchdog_failed);
	assert_false(read_peer("{\"xlog\": {}, \"can_lead\": false}").can_lead);
	assert_int_equal(read_peer("{\"xlog\": {}}").missing_slots, 0);
	assert_int_equal(read_peer("{\"xlog\": {}, \"missing_slots\": 2}").missing_slots, 2);
	assert_int_equal(read_peer("{\"xlog\": {}}").checkpoint_redo, 0);
	assert_int_equal(
	    read_peer("{\"xlog\": {}, \"patroni_bgw\": {\"checkpoint_redo\": 83886080}}").checkpoint_redo,
	    83886080);
	assert_int_equal(read_peer("{\"xlog\": {}, \"patroni_bgw\": 1}").checkpoint_redo, 0);
}

/* No position, no peer; but what it says of its state is kept. */
static void
test_unreachable(void **state)
{
	static const char *const texts[] = {
		"", "nonsense", "[]", "{}", "{\"xlog\": 5}", "{\"xlog\": null, \"role\": \"replica\"}",
	};
	HaPeer peer;

	(void) state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_false(read_peer(texts[i]).is_reachable);
	peer = read_peer("{\"state\": \"starting\", \"role\": \"replica\"}");
	assert_false(peer.is_reachable);
	assert_int_equal(peer.state, MEMBER_STARTING);
}

/* ------------------------------------------------------------------------
 * Over a socket
 * ------------------------------------------------------------------------
 */

static HaPeer last_answer;
static int n_answers;

static void
answered(void *context, const HaPeer *peer)
{
	(void) context;
	last_answer = *peer;
	n_answers++;
}

static int
listen_anywhere(char url[64])
{
	struct sockaddr_in address;
	socklen_t length = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	memset(&address, 0, sizeof(address));
	address.sin_family = AF_INET;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *) &address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 5), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *) &address, &length), 0);
	snprintf(url, 64, "http://127.0.0.1:%d/patroni", ntohs(address.sin_port));
	return fd;
}

static void
run_until_answered(Peers *peers, int wanted)
{
	int64_t end_ms = clock_now_ms() + 3000;

	while (n_answers < wanted && clock_now_ms() < end_ms)
	{
		struct pollfd wait = { .fd = peers_fd(peers), .events = POLLIN };
		int timeout_ms = peers_timeout_ms(peers, clock_now_ms());

		poll(&wait, 1, timeout_ms < 0 || timeout_ms > 20 ? 20 : timeout_ms);
		peers_process(peers, clock_now_ms());
	}
	assert_int_equal(n_answers, wanted);
}

/* A peer that accepts and says nothing costs its timeout and no more. */
static void
test_silence(void **state)
{
	Peers *peers;
	Error error;
	char url[64];
	int fd = listen_anywhere(url);
	int64_t start_ms = clock_now_ms();

	(void) state;
	n_answers = 0;
	assert_true(peers_open(&peers, answered, NULL, &error));
	assert_true(peers_ask(peers, "node2", url, 3, 200));
	run_until_answered(peers, 1);
	assert_false(last_answer.is_reachable);
	assert_string_equal(last_answer.name, "node2");
	assert_int_equal(last_answer.round, 3);
	assert_in_range(clock_now_ms() - start_ms, 150, 1000);

	/* Nobody listens there any more: an answer as well, and sooner. */
	close(fd);
	assert_true(peers_ask(peers, "node2", url, 4, 2000));
	run_until_answered(peers, 2);
	assert_int_equal(last_answer.round, 4);
	assert_false(last_answer.is_reachable);
	assert_false(peers_ask(peers, "node3", "", 5, 200));
	peers_close(peers);
}

/* The HTTP status is not looked at; an older question is given up silently. */
static void
test_answer(void **state)
{
	static const char text[] =
	    "HTTP/1.0 503 Service Unavailable\r\n\r\n"
	    "{\"state\": \"running\", \"role\": \"replica\", \"xlog\": {\"received_location\": 9}}";
	Peers *peers;
	Error error;
	char url[64];
	int fd = listen_anywhere(url);
	int client = -1;
	int64_t end_ms = clock_now_ms() + 3000;

	(void) state;
	n_answers = 0;
	assert_true(peers_open(&peers, answered, NULL, &error));
	assert_true(peers_ask(peers, "node2", url, 1, 3000));
	assert_true(peers_ask(peers, "node2", url, 2, 3000));
	while (n_answers == 0 && clock_now_ms() < end_ms)
	{
		peers_process(peers, clock_now_ms());
		client = accept(fd, NULL, NULL);
		if (client >= 0)
		{
			(void) send(client, text, strlen(text), MSG_NOSIGNAL);
			shutdown(client, SHUT_WR);
		}
		usleep(2000);
	}
	assert_int_equal(n_answers, 1);
	assert_int_equal(last_answer.round, 2);
	assert_true(last_answer.is_reachable);
	assert_int_equal(last_answer.position, 9);
	peers_close(peers);
	close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_replica), cmocka_unit_test(test_primary),
		cmocka_unit_test(test_tags),    cmocka_unit_test(test_unreachable),
		cmocka_unit_test(test_silence), cmocka_unit_test(test_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
