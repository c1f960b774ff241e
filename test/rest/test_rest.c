/*-------------------------------------------------------------------------
 *
 * test_rest.c
 *      The REST API over a real socket: which state of a node gives which
 *      code, what the documents say, who may change what, and what clients cannot
 *      do to it.
 *-------------------------------------------------------------------------
 */
#include "rest/rest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
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

#include "http_answer.h"
#include "node/peers.h"

#define CLIENT_MS 8000

/* One node, as the supervisor would describe it. */
typedef struct Node
{
	struct event_base *base;
	Rest *rest;
	LeasePage page;
	Settings settings;
	ClusterView view;
	HaPostgres postgres;
	RestStatus status;
	bool is_slow; /* do not answer: keep done and arg */
	RestDone done;
	void *arg;
	void *args[256]; /* all of them */
	int n_args;
	/* calls that change something */
	RestResult result;
	bool is_call_slow; /* do not answer: keep call_done and call_arg */
	RestCallDone call_done;
	void *call_arg;
	RestCall call;
	int n_calls;
	char *call_body; /* malloc'ed; NULL = none */
	char answer[65536];
	int code;
} Node;

static void
give_status(void *context, RestDone done, void *arg)
{
	Node *node = context;

	if (node->is_slow)
	{
		node->done = done;
		node->arg = arg;
		if (node->n_args < 256)
			node->args[node->n_args++] = arg;
	}
	else
		done(arg, &node->status);
}

static const Settings *
give_settings(void *context)
{
	Node *node = context;

	return &node->settings;
}

static void
take_call(void *context, RestCall call, const json_t *body, RestCallDone done, void *arg)
{
	Node *node = context;

	node->n_calls++;
	node->call = call;
	free(node->call_body);
	node->call_body = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);
	if (node->is_call_slow)
	{
		node->call_done = done;
		node->call_arg = arg;
	}
	else
		done(arg, &node->result);
}

static void
put_key(Node *node, const char *name, const char *value)
{
	static uint64_t version = 1;
	ClusterKey key;

	memset(&key, 0, sizeof(key));
	key.name = name;
	key.value = value;
	key.session = "";
	key.version = version++;
	cluster_view_apply(&node->view, &key);
	node->view.is_loaded = true;
}

static void
set_fence(Node *node, int64_t deadline_us, bool is_primary)
{
	atomic_store(&node->page.lease, (UINT64_C(1) << LEASE_DEADLINE_BITS) | (uint64_t) deadline_us);
	atomic_store(&node->page.is_primary, is_primary ? 1 : 0);
}

/* ------------------------------------------------------------------------
 * States of a node
 * ------------------------------------------------------------------------
 */

static void
become_primary(Node *node)
{
	node->postgres.server = HA_SERVER_RUNNING;
	node->postgres.is_in_recovery = false;
	node->postgres.flush_lsn = 0x3000000;
	node->status.role = ROLE_PRIMARY;
	node->status.state = MEMBER_RUNNING;
	node->status.has_lease = true;
	set_fence(node, clock_now_us() + 60 * 1000000, true);
	put_key(node, "leader", "node1");
}

static void
become_fenced(Node *node)
{
	become_primary(node);
	set_fence(node, clock_now_us() - 1000, true);
}

static void
become_replica(Node *node)
{
	node->postgres.server = HA_SERVER_RUNNING;
	node->postgres.is_in_recovery = true;
	node->postgres.is_streaming = true;
	node->postgres.received_lsn = 0x3000000;
	node->postgres.replayed_lsn = 0x3000000;
	node->status.role = ROLE_REPLICA;
	node->status.state = MEMBER_RUNNING;
	set_fence(node, LEASE_CLOSED_US, false);
	put_key(node, "leader", "node2");
	put_key(node, "status", "{\"optime\":50331648}");
}

static void
become_lagging(Node *node)
{
	become_replica(node);
	node->postgres.replayed_lsn = 0x3000000 - 2 * 1024 * 1024;
}

static void
become_noloadbalance(Node *node)
{
	become_replica(node);
	node->settings.tags.noloadbalance = true;
}

static void
become_stopped(Node *node)
{
	become_replica(node);
	node->postgres.server = HA_SERVER_STOPPED;
	node->status.state = MEMBER_STOPPED;
}

static void
become_unlocked(Node *node)
{
	become_replica(node);
	put_key(node, "leader", NULL);
}

static void
become_paused_primary(Node *node)
{
	become_primary(node);
	set_fence(node, LEASE_NEVER_US, true);
	node->status.is_paused = true;
}

/* Paused, out of recovery, but somebody else has the leader key. */
static void
become_paused_intruder(Node *node)
{
	become_paused_primary(node);
	node->status.has_lease = false;
	put_key(node, "leader", "node2");
}

/* Paused and no store: the server itself is all there is to ask. */
static void
become_paused_alone(Node *node)
{
	become_paused_primary(node);
	node->status.has_lease = false;
	node->status.view = NULL;
}

/* The same after an outage that began while it led: what it held is not told any more. */
static void
become_paused_outlasted(Node *node)
{
	become_paused_primary(node);
	node->status.store_is_reachable = false;
	node->status.store_last_seen_ms = clock_wall_ms() - 60000;
}

/* Paused, its server was stopped, and with that the leader key went. */
static void
become_stopped_primary(Node *node)
{
	become_primary(node);
	node->postgres.server = HA_SERVER_STOPPED;
	node->status.state = MEMBER_STOPPED;
	node->status.is_paused = true;
	node->status.has_lease = false;
	set_fence(node, LEASE_CLOSED_US, false);
	put_key(node, "leader", NULL);
}

/* There is nobody to stream from. */
static void
become_orphan(Node *node)
{
	become_unlocked(node);
	node->postgres.is_streaming = false;
}

static void
become_silent_replica(Node *node)
{
	become_replica(node);
	node->status.is_fresh = false;
}

/* The worker does not answer, but the lease holds: Patroni's case B. */
static void
become_silent_primary(Node *node)
{
	become_primary(node);
	node->status.is_fresh = false;
}

static void
become_sync_standby(Node *node)
{
	become_replica(node);
	node->settings.synchronous_mode = SYNC_MODE_ON;
	put_key(node, "sync", "{\"leader\":\"node2\",\"quorum\":0,\"sync_standby\":\"NODE1,node3\"}");
}

static void
become_quorum_standby(Node *node)
{
	become_sync_standby(node);
	node->settings.synchronous_mode = SYNC_MODE_QUORUM;
}

/* The view is older than ttl: nothing is known of the cluster any more. */
static void
become_cut_off_replica(Node *node)
{
	become_sync_standby(node);
	node->status.store_is_reachable = false;
	node->status.store_last_seen_ms = clock_wall_ms() - 60000;
	node->status.can_lead = false;
}

/* ------------------------------------------------------------------------
 * A client
 * ------------------------------------------------------------------------
 */

static int
client_connect(const Node *node)
{
	struct sockaddr_in address;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	memset(&address, 0, sizeof(address));
	address.sin_family = AF_INET;
	address.sin_port = htons((uint16_t) rest_port(node->rest));
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(connect(fd, (struct sockaddr *) &address, sizeof(address)), 0);
	return fd;
}

static void
run_for(Node *node, int64_t ms)
{
	int64_t end_ms = clock_now_ms() + ms;

	while (clock_now_ms() < end_ms)
	{
		event_base_loop(node->base, EVLOOP_NONBLOCK);
		usleep(1000);
	}
}

/* Run the server until it has answered, or has hung up.  False: it has. */
static bool
client_read_one(Node *node, int fd)
{
	size_t used = 0;
	int64_t end_ms = clock_now_ms() + CLIENT_MS;

	for (;;)
	{
		ssize_t n;

		event_base_loop(node->base, EVLOOP_NONBLOCK);
		n = recv(fd, node->answer + used, sizeof(node->answer) - 1 - used, MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno == ECONNRESET))
			break;
		if (n > 0)
			used += (size_t) n;
		else
			usleep(200);
		node->answer[used] = '\0';
		if (http_answer_goes_on(node->answer, used))
			break;
		assert_true(clock_now_ms() < end_ms);
	}
	node->answer[used] = '\0';
	node->code = 0;
	sscanf(node->answer, "HTTP/1.%*1[01] %d", &node->code);
	return http_answer_goes_on(node->answer, used);
}

static void
client_read(Node *node, int fd)
{
	(void) client_read_one(node, fd);
	close(fd);
}

static void
ask_raw(Node *node, const char *text)
{
	int fd = client_connect(node);

	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t) strlen(text));
	client_read(node, fd);
}

static int
ask(Node *node, const char *method, const char *target)
{
	char text[4096];

	snprintf(text, sizeof(text), "%s %s HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n",
	         method, target);
	ask_raw(node, text);
	return node->code;
}

static json_t *
body_json(const Node *node)
{
	const char *body = strstr(node->answer, "\r\n\r\n");
	json_t *json;

	assert_non_null(body);
	json = json_loads(body + 4, 0, NULL);
	assert_non_null(json);
	return json;
}

static int
setup(void **state)
{
	Node *node = calloc(1, sizeof(Node));
	RestOps ops = { .context = node,
		            .status = give_status,
		            .settings = give_settings,
		            .call = take_call };
	RestListen listen = { .host = "", .port = 0 };
	Error error;

	node->base = event_base_new();
	node->rest = rest_start(node->base, &ops, &listen, &error);
	assert_non_null(node->rest);
	settings_init(&node->settings);
	strcpy(node->settings.name, "node1");
	strcpy(node->settings.scope, "demo");
	strcpy(node->settings.base, "/service/demo");
	node->settings.ttl_ms = 10000;
	node->settings.loop_wait_ms = 5000;
	node->settings.maximum_lag_on_failover = 1048576;
	free(node->settings.tags_json);
	node->settings.tags_json = strdup("{\"zone\":\"a\",\"n\":1,\"fast\":true}");
	cluster_view_init(&node->view);
	put_key(node, "initialize", "7300000000000000001");
	put_key(node, "members/node1",
	        "{\"conn_url\":\"postgres://10.0.0.1:5432/postgres\","
	        "\"api_url\":\"http://10.0.0.1:8008/patroni\",\"state\":\"running\","
	        "\"role\":\"primary\",\"timeline\":2,\"xlog_location\":50331648}");
	put_key(node, "members/node2",
	        "{\"conn_url\":\"postgres://10.0.0.2:5433/postgres\","
	        "\"api_url\":\"http://10.0.0.2:8008/patroni\",\"state\":\"running\","
	        "\"role\":\"replica\",\"replication_state\":\"streaming\",\"timeline\":2,"
	        "\"xlog_location\":50331000,\"replay_lsn\":50331000,\"tags\":{\"a\":1}}");
	put_key(node, "status", "{\"optime\":50331648}");
	node->postgres.timeline = 2;
	node->postgres.version_num = 150020;
	node->postgres.start_time_ms = INT64_C(1767225600123);
	node->status.settings = &node->settings;
	node->status.page = &node->page;
	node->status.view = &node->view;
	node->status.postgres = &node->postgres;
	node->status.is_fresh = true;
	node->status.can_lead = true;
	node->status.store_is_reachable = true;
	node->status.store_last_seen_ms = clock_wall_ms();
	node->status.last_step_ms = clock_now_ms();
	*state = node;
	return 0;
}

static int
teardown(void **state)
{
	Node *node = *state;

	rest_stop(node->rest);
	event_base_free(node->base);
	settings_free(&node->settings);
	cluster_view_free(&node->view);
	free(node->call_body);
	free(node);
	return 0;
}

/* ------------------------------------------------------------------------
 * The table of codes
 * ------------------------------------------------------------------------
 */

#define N_PATHS 14

static const char *const paths[N_PATHS] = {
	"/",           "/primary", "/master", "/leader", "/standby-leader", "/replica",   "/read-only",
	"/read-write", "/health",  "/sync",   "/async",  "/quorum",         "/readiness", "/liveness",
};

typedef struct Row
{
	const char *name;
	void (*become)(Node *node);
	const char *codes; /* one letter for each path: + is 200, - is 503 */
} Row;

static const Row rows[] = {
	{ "primary", become_primary, "++++--+++---++" },
	{ "fenced primary", become_fenced, "--------+----+" },
	{ "replica", become_replica, "-----++-+-+-++" },
	{ "lagging replica", become_lagging, "-----++-+-+--+" },
	{ "noloadbalance", become_noloadbalance, "--------+---++" },
	{ "stopped", become_stopped, "-------------+" },
	{ "no leader", become_unlocked, "-----++-+-+-++" },
	{ "paused primary", become_paused_primary, "++++--+++---++" },
	{ "paused, other leader", become_paused_intruder, "--------+----+" },
	{ "paused, no store", become_paused_alone, "++++--+++----+" },
	{ "paused, store long gone", become_paused_outlasted, "++++--+++----+" },
	{ "paused, stopped primary", become_stopped_primary, "-------------+" },
	{ "no leader, not streaming", become_orphan, "-----++-+-+--+" },
	{ "silent replica", become_silent_replica, "-------------+" },
	{ "silent primary", become_silent_primary, "++++--++----++" },
	{ "sync standby", become_sync_standby, "-----++-++--++" },
	{ "quorum standby", become_quorum_standby, "-----++-+--+++" },
	{ "cut off replica", become_cut_off_replica, "-----++-+----+" },
};

static void
test_codes(void **state)
{
	static const char *const methods[] = { "GET", "HEAD", "OPTIONS" };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
	{
		Node *node;

		teardown(state);
		setup(state);
		node = *state;
		rows[i].become(node);
		for (int path = 0; path < N_PATHS; path++)
		{
			for (int method = 0; method < 3; method++)
			{
				bool is_get_only = path >= N_PATHS - 2;
				int expected = rows[i].codes[path] == '+' ? 200 : 503;

				/* Only GET knows /liveness and /readiness. */
				if (is_get_only && method > 0)
					expected = 503;
				if (ask(node, methods[method], paths[path]) != expected)
					fail_msg("%s: %s %s gave %d, not %d", rows[i].name, methods[method],
					         paths[path], node->code, expected);
			}
		}
	}
}

/* A fence that closes between two requests: the next one hears it. */
static void
test_fence_closes(void **state)
{
	Node *node = *state;

	become_primary(node);
	set_fence(node, clock_now_us() + 50000, true);
	assert_int_equal(ask(node, "GET", "/primary"), 200);
	usleep(60000);
	assert_int_equal(ask(node, "GET", "/primary"), 503);
}

/* The fence closes while the status is being found out. */
static void
test_fence_closes_while_asked(void **state)
{
	Node *node = *state;
	const char *text = "GET /primary HTTP/1.0\r\n\r\n";
	int fd;

	become_primary(node);
	node->is_slow = true;
	fd = client_connect(node);
	assert_true(send(fd, text, strlen(text), 0) > 0);
	while (node->done == NULL)
		event_base_loop(node->base, EVLOOP_NONBLOCK);
	set_fence(node, LEASE_CLOSED_US, true);
	node->done(node->arg, &node->status);
	client_read(node, fd);
	assert_int_equal(node->code, 503);
}

static void
test_parameters(void **state)
{
	Node *node = *state;

	become_lagging(node);
	assert_int_equal(ask(node, "GET", "/replica?lag=1MB"), 503);
	assert_int_equal(ask(node, "GET", "/replica?lag=4MB"), 200);
	assert_int_equal(ask(node, "GET", "/replica?lag=1048576"), 503);
	assert_int_equal(ask(node, "GET", "/replica?lag=0"), 503);
	assert_int_equal(ask(node, "GET", "/replica?lag=soup"), 200);
	assert_int_equal(ask(node, "GET", "/replica?lag="), 200);
	assert_int_equal(ask(node, "GET", "/replica?lag=4MB&lag=0"), 200);
	assert_int_equal(ask(node, "GET", "/read-only?lag=1MB"), 503);
	assert_int_equal(ask(node, "GET", "/async?lag=1MB"), 503);
	assert_int_equal(ask(node, "GET", "/health?lag=1MB"), 200);
	assert_int_equal(ask(node, "GET", "/replica?replication_state=streaming"), 200);
	assert_int_equal(ask(node, "GET", "/replica?replication_state=in+archive%20recovery"), 503);
	assert_int_equal(ask(node, "GET", "/replica?tag_zone=a&tag_n=1&tag_fast=true"), 200);
	assert_int_equal(ask(node, "GET", "/replica?tag_zone=b"), 503);
	assert_int_equal(ask(node, "GET", "/replica?tag_missing=a"), 503);
	assert_int_equal(ask(node, "GET", "/replica?unknown=1&%zz=1&="), 200);
	assert_int_equal(ask(node, "GET", "/readiness?lag=4MB"), 200);
	assert_int_equal(ask(node, "GET", "/readiness?mode=write"), 200);
	node->settings.tags.noloadbalance = true;
	assert_int_equal(ask(node, "GET", "/replica?lag=4MB"), 503);
}

static void
test_liveness(void **state)
{
	Node *node = *state;

	become_primary(node);
	node->status.last_step_ms = clock_now_ms() - 14000;
	assert_int_equal(ask(node, "GET", "/liveness"), 200);
	node->status.last_step_ms = clock_now_ms() - 16000;
	assert_int_equal(ask(node, "GET", "/liveness"), 503);
	node->status.is_paused = true;
	assert_int_equal(ask(node, "GET", "/liveness"), 200);
	node->status.is_paused = false;
	become_replica(node);
	assert_int_equal(ask(node, "GET", "/liveness"), 200);
	node->status.last_step_ms = clock_now_ms() - 26000;
	assert_int_equal(ask(node, "GET", "/liveness"), 503);
}

/* ------------------------------------------------------------------------
 * Documents
 * ------------------------------------------------------------------------
 */

#define expect_text(json, key, text) \
	assert_string_equal(json_string_value(json_object_get(json, key)), text)
#define expect_integer(json, key, number) \
	assert_int_equal(json_integer_value(json_object_get(json, key)), number)

static void
test_status_of_primary(void **state)
{
	Node *node = *state;
	json_t *senders = json_pack("[{s:s, s:i}]", "client_addr", "10.0.0.2", "sync_priority", 1);
	json_t *json;

	become_primary(node);
	node->postgres.n_senders = 1;
	strcpy(node->postgres.senders[0].application_name, "node2");
	node->postgres.senders[0].sync_state = SYNC_WALSENDER_QUORUM;
	node->status.senders = senders;
	node->postgres.senders[0].is_streaming = true;
	assert_int_equal(ask(node, "GET", "/patroni"), 200);
	assert_non_null(strstr(node->answer, "\r\nContent-Type: application/json\r\n"));
	assert_non_null(strstr(node->answer, "Content-Length"));
	/* who speaks HTTP/1.0 gets what Patroni sends */
	ask_raw(node, "GET /patroni HTTP/1.0\r\n\r\n");
	assert_null(strstr(node->answer, "Content-Length"));
	assert_non_null(strstr(node->answer, "\"state\": \"running\", "));
	json = body_json(node);
	expect_text(json, "role", "primary");
	expect_text(json, "postmaster_start_time", "2026-01-01 00:00:00.123000+00:00");
	expect_integer(json, "server_version", 150020);
	expect_integer(json_object_get(json, "xlog"), "location", 0x3000000);
	expect_integer(json, "timeline", 2);
	expect_text(json_array_get(json_object_get(json, "replication"), 0), "application_name",
	            "node2");
	expect_text(json_array_get(json_object_get(json, "replication"), 0), "sync_state", "quorum");
	expect_text(json_array_get(json_object_get(json, "replication"), 0), "client_addr", "10.0.0.2");
	expect_integer(json_array_get(json_object_get(json, "replication"), 0), "sync_priority", 1);
	json_decref(senders);
	expect_integer(json, "dcs_last_seen", node->status.store_last_seen_ms / 1000);
	expect_text(json, "database_system_identifier", "7300000000000000001");
	expect_text(json_object_get(json, "patroni"), "scope", "demo");
	expect_text(json_object_get(json, "patroni"), "name", "node1");
	expect_text(json_object_get(json, "tags"), "zone", "a");
	assert_null(json_object_get(json, "cluster_unlocked"));
	assert_null(json_object_get(json, "pause"));
	assert_null(json_object_get(json, "can_lead"));
	assert_true(json_is_true(json_object_get(json_object_get(json, "patroni_bgw"), "fence_open")));
	assert_null(json_object_get(json_object_get(json, "patroni_bgw"), "checkpoint_redo"));
	json_decref(json);
}

static void
test_status_of_fenced(void **state)
{
	Node *node = *state;
	json_t *json;

	become_fenced(node);
	node->status.can_lead = false;
	assert_int_equal(ask(node, "GET", "/primary"), 503);
	json = body_json(node);
	expect_text(json, "role", "replica");
	assert_null(json_object_get(json, "xlog"));
	assert_true(json_is_false(json_object_get(json, "can_lead")));
	assert_true(json_is_false(json_object_get(json_object_get(json, "patroni_bgw"), "fence_open")));
	json_decref(json);
}

static void
test_status_of_stopped_primary(void **state)
{
	Node *node = *state;
	json_t *json;

	become_stopped_primary(node);
	assert_int_equal(ask(node, "GET", "/patroni"), 200);
	json = body_json(node);
	expect_text(json, "state", "stopped");
	expect_text(json, "role", "replica");
	assert_true(json_is_true(json_object_get(json, "cluster_unlocked")));
	json_decref(json);
}

static void
test_status_of_replica(void **state)
{
	Node *node = *state;
	json_t *json;

	become_unlocked(node);
	node->postgres.checkpoint_redo = 0x2000028;
	assert_int_equal(ask(node, "GET", "/nonsense"), 503);
	json = body_json(node);
	expect_text(json, "role", "replica");
	expect_integer(json_object_get(json, "patroni_bgw"), "checkpoint_redo", 0x2000028);
	expect_integer(json_object_get(json, "xlog"), "received_location", 0x3000000);
	expect_integer(json_object_get(json, "xlog"), "replayed_location", 0x3000000);
	assert_true(json_is_null(json_object_get(json_object_get(json, "xlog"), "replayed_timestamp")));
	expect_text(json, "replication_state", "streaming");
	assert_true(json_is_true(json_object_get(json, "cluster_unlocked")));
	json_decref(json);
}

/* Nobody leads and this one never will: Patroni's members must not wait for it. */
static void
test_status_of_outranked(void **state)
{
	Node *node = *state;
	json_t *json;

	become_unlocked(node);
	node->postgres.timeline = 1;
	assert_int_equal(ask(node, "GET", "/patroni"), 200);
	json = body_json(node);
	assert_null(json_object_get(json, "xlog")); /* node2 is on timeline 2 */
	assert_true(json_is_false(json_object_get(json, "can_lead")));
	json_decref(json);
	put_key(node, "members/node2", "{\"timeline\":1,\"xlog_location\":50331000}");
	assert_int_equal(ask(node, "GET", "/patroni"), 200);
	json = body_json(node);
	expect_integer(json_object_get(json, "xlog"), "received_location", 0x3000000);
	assert_null(json_object_get(json, "can_lead"));
	json_decref(json);
	put_key(node, "history", "[[1,33554432,\"no recovery target specified\"]]");
	assert_int_equal(ask(node, "GET", "/patroni"), 200);
	json = body_json(node);
	expect_text(json, "state", "running");
	assert_null(json_object_get(json, "xlog"));
	json_decref(json);

	/* where others need its vote they see its WAL, and that it is nobody to wait for */
	node->settings.synchronous_mode = SYNC_MODE_QUORUM;
	assert_int_equal(ask(node, "GET", "/patroni"), 200);
	json = body_json(node);
	expect_integer(json_object_get(json, "xlog"), "received_location", 0x3000000);
	assert_true(json_is_false(json_object_get(json, "can_lead")));
	json_decref(json);
}

/* A server that does not answer: no position, so peers count it as unreachable. */
static void
test_status_of_silent(void **state)
{
	Node *node = *state;
	json_t *json;

	become_silent_replica(node);
	assert_int_equal(ask(node, "GET", "/patroni"), 200);
	json = body_json(node);
	expect_text(json, "state", "unknown");
	expect_text(json, "role", "replica");
	assert_null(json_object_get(json, "xlog"));
	assert_null(json_object_get(json, "server_version"));
	json_decref(json);
}

/* Before the first configuration and without a page there is an answer too. */
static void
test_status_of_nothing(void **state)
{
	Node *node = *state;

	memset(&node->status, 0, sizeof(node->status));
	node->status.state = MEMBER_STATE_UNKNOWN;
	for (int path = 0; path < N_PATHS - 1; path++)
		assert_int_equal(ask(node, "GET", paths[path]), 503);
	assert_int_equal(ask(node, "GET", "/patroni"), 200);
	assert_int_equal(ask(node, "GET", "/cluster"), 503);
	assert_int_equal(ask(node, "GET", "/config"), 502);
	assert_int_equal(ask(node, "GET", "/history"), 503);
	assert_non_null(strstr(node->answer, "Error code: 503"));
}

static void
test_cluster(void **state)
{
	Node *node = *state;
	json_t *json;
	const json_t *members;

	become_primary(node);
	node->status.is_paused = true;
	put_key(node, "failover",
	        "{\"leader\":\"node1\",\"member\":\"node2\","
	        "\"scheduled_at\":\"2030-01-14T10:09:57.139400+00:00\"}");
	assert_int_equal(ask(node, "GET", "/cluster"), 200);
	json = body_json(node);
	members = json_object_get(json, "members");
	assert_int_equal(json_array_size(members), 2);
	expect_text(json_array_get(members, 0), "name", "node1");
	expect_text(json_array_get(members, 0), "role", "leader");
	expect_text(json_array_get(members, 0), "state", "running");
	expect_text(json_array_get(members, 0), "host", "10.0.0.1");
	assert_null(json_object_get(json_array_get(members, 0), "lag"));
	expect_text(json_array_get(members, 1), "role", "replica");
	expect_text(json_array_get(members, 1), "state", "streaming");
	expect_integer(json_array_get(members, 1), "port", 5433);
	expect_integer(json_array_get(members, 1), "lag", 648);
	expect_text(json_array_get(members, 1), "receive_lag", "unknown");
	expect_text(json_array_get(members, 1), "replay_lsn", "0/2FFFD78");
	assert_true(json_is_true(json_object_get(json, "pause")));
	expect_text(json, "scope", "demo");
	expect_text(json_object_get(json, "scheduled_switchover"), "to", "node2");
	json_decref(json);
}

/* The leader key as etcd's API v2 would show it: whom a virtual address belongs to. */
static void
test_leader_key(void **state)
{
	static const struct
	{
		void (*become)(Node *node);
		const char *leader; /* NULL: no such key */
	} rows[] = {
		{ become_primary, "node1" }, { become_fenced, NULL },         { become_replica, "node2" },
		{ become_unlocked, NULL },   { become_cut_off_replica, NULL }, { become_paused_primary, "node1" },
		{ become_paused_intruder, "node2" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
	{
		Node *node;
		json_t *json;

		teardown(state);
		setup(state);
		node = *state;
		rows[i].become(node);
		assert_int_equal(ask(node, "GET", "/v2/keys/service/demo/leader?quorum=true&recursive=false"),
		                 rows[i].leader == NULL ? 404 : 200);
		json = body_json(node);
		if (rows[i].leader != NULL)
		{
			expect_text(json, "action", "get");
			expect_text(json_object_get(json, "node"), "key", "/service/demo/leader");
			expect_text(json_object_get(json, "node"), "value", rows[i].leader);
		}
		else
			expect_integer(json, "errorCode", 100);
		json_decref(json);
		assert_int_equal(ask(node, "GET", "/v2/keys/service/other/leader"), 404);
		assert_int_equal(ask(node, "GET", "/v2/keys"), 404);
		assert_int_equal(ask(node, "GET", "/v2/keys/\xff"), 503); /* cannot be said in JSON */
	}
	/* before there is a configuration */
	((Node *) *state)->status.settings = NULL;
	assert_int_equal(ask(*state, "GET", "/v2/keys/service/demo/leader"), 404);
}

/* ------------------------------------------------------------------------
 * Wire
 * ------------------------------------------------------------------------
 */

/* Checks read nothing but the status line, and get nothing else. */
static void
test_status_line_only(void **state)
{
	Node *node = *state;

	become_primary(node);
	ask(node, "OPTIONS", "/");
	assert_string_equal(node->answer, "HTTP/1.0 200 OK\r\n\r\n");
	ask(node, "HEAD", "/replica");
	assert_string_equal(node->answer, "HTTP/1.0 503 Service Unavailable\r\n\r\n");
	ask(node, "GET", "/liveness");
	assert_string_equal(node->answer, "HTTP/1.0 200 OK\r\n\r\n");
	ask(node, "GET", "/readiness");
	assert_string_equal(node->answer, "HTTP/1.0 200 OK\r\n\r\n");
	ask_raw(node, "OPTIONS / HTTP/1.0\r\n\r\n");
	assert_string_equal(node->answer, "HTTP/1.0 200 OK\r\n\r\n");
	ask_raw(node, "GET http://10.0.0.1:8008/primary HTTP/1.1\nHost: x\n\n");
	assert_int_equal(node->code, 200);
}

static void
test_bad_requests(void **state)
{
	Node *node = *state;
	char long_text[40000];

	become_primary(node);
	assert_int_equal(ask(node, "POST", "/restarting"), 501);
	assert_non_null(strstr(node->answer, "Unsupported method ('POST')"));
	assert_int_equal(ask(node, "BREW", "/primary"), 501);
	ask_raw(node, "POST /primary HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello");
	assert_int_equal(node->code, 501);
	ask_raw(node, "<script> / HTTP/1.0\r\n\r\n");
	assert_int_equal(node->code, 400);
	ask_raw(node, "GET /\r\n\r\n");
	assert_int_equal(node->code, 400);
	ask_raw(node, "\r\n\r\n");
	assert_int_equal(node->code, 400);
	ask_raw(node, "GET /pri\001mary HTTP/1.0\r\n\r\n");
	assert_int_equal(node->code, 400);
	ask_raw(node, "GET / SPDY/3\r\n\r\n");
	assert_int_equal(node->code, 400);
	ask_raw(node, "GET /primary HTTP/1.0 more\r\n\r\n");
	assert_int_equal(node->code, 400);
	assert_non_null(strstr(node->answer, "\r\nServer: patroni_bgw/"));

	memset(long_text, 'a', sizeof(long_text));
	memcpy(long_text, "GET /", 5);
	strcpy(long_text + 8000, " HTTP/1.0\r\n\r\n");
	ask_raw(node, long_text);
	assert_int_equal(node->code, 414);

	memset(long_text, 'a', sizeof(long_text));
	memcpy(long_text, "GET / HTTP/1.0\r\nX: ", 19);
	strcpy(long_text + 30000, "\r\n\r\n");
	ask_raw(node, long_text);
	assert_int_equal(node->code, 431);
}

/* Byte by byte is slow, but right. */
static void
test_slow_request(void **state)
{
	Node *node = *state;
	const char *text = "GET /primary HTTP/1.0\r\nUser-Agent: x\r\n\r\n";
	int fd = client_connect(node);

	become_primary(node);
	for (const char *c = text; *c != '\0'; c++)
	{
		assert_int_equal(send(fd, c, 1, MSG_NOSIGNAL), 1);
		event_base_loop(node->base, EVLOOP_NONBLOCK);
	}
	client_read(node, fd);
	assert_int_equal(node->code, 200);
}

static bool
ask_on(Node *node, int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t) strlen(text));
	return client_read_one(node, fd);
}

/* Who asks by GET and HTTP/1.1 may ask again, in whatever pieces. */
static void
test_connection_goes_on(void **state)
{
	static const char text[] = "GET /primary HTTP/1.1\r\nHost: x\r\n\r\n";
	Node *node = *state;
	int fd = client_connect(node);
	int other = client_connect(node);

	become_primary(node);
	for (int i = 0; i < 20; i++)
	{
		assert_true(ask_on(node, fd, text));
		assert_int_equal(node->code, 200);
		json_decref(body_json(node));
		/* two of them do not mix */
		assert_true(ask_on(node, other, "GET /replica HTTP/1.1\r\n\r\n"));
		assert_int_equal(node->code, 503);
	}
	for (const char *c = text; *c != '\0'; c++)
	{
		assert_int_equal(send(fd, c, 1, MSG_NOSIGNAL), 1);
		event_base_loop(node->base, EVLOOP_NONBLOCK);
	}
	assert_true(client_read_one(node, fd));
	assert_int_equal(node->code, 200);
	/* answered late */
	node->is_slow = true;
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t) strlen(text));
	run_for(node, 20);
	node->is_slow = false;
	node->done(node->args[0], &node->status);
	assert_true(client_read_one(node, fd));
	/* what the client sends has to be right each time */
	assert_false(ask_on(node, fd, "nonsense\r\n\r\n"));
	assert_int_equal(node->code, 400);
	assert_false(ask_on(node, other, "GET /primary HTTP/1.1\r\nConnection: x , Close\r\n\r\n"));
	assert_int_equal(node->code, 200);
	assert_int_equal(strncmp(node->answer, "HTTP/1.0 ", 9), 0);
	close(fd);
	close(other);
}

/* While the supervisor has to do with the server it does not answer as fast as it can. */
static void
test_connection_is_paced(void **state)
{
	Node *node = *state;
	int fd = client_connect(node);
	int64_t start_ms;

	become_primary(node);
	node->status.is_remembered = true;
	assert_true(ask_on(node, fd, "GET /patroni HTTP/1.1\r\n\r\n"));
	start_ms = clock_now_ms();
	for (int i = 0; i < 20; i++)
		assert_true(ask_on(node, fd, "GET /patroni HTTP/1.1\r\n\r\n"));
	assert_true(clock_now_ms() - start_ms >= 90);
	/* as long as it has to */
	node->status.is_remembered = false;
	assert_true(ask_on(node, fd, "GET /patroni HTTP/1.1\r\n\r\n"));
	for (int i = 0; i < 20; i++)
		assert_true(ask_on(node, fd, "GET /patroni HTTP/1.1\r\n\r\n"));
	/* and the time for the next request is the same */
	node->status.is_remembered = true;
	assert_true(ask_on(node, fd, "GET /patroni HTTP/1.1\r\n\r\n"));
	run_for(node, 100);
	assert_true(ask_on(node, fd, "GET /patroni HTTP/1.1\r\n\r\n"));
	/* a client that leaves meanwhile is noticed */
	close(fd);
	run_for(node, 20);
}

/* Everything else ends with its answer: where the next request begins must be no question. */
static void
test_connection_ends(void **state)
{
	static const char *const last[] = {
		"GET /primary HTTP/1.0\r\n\r\n",
		"GET /primary HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
		"GET /primary HTTP/1.1\r\nConnection: close\r\n\r\n",
		"GET /primary HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
		"GET /primary HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"GET /primary HTTP/1.1\r\n\r\nGET /replica HTTP/1.1\r\n\r\n",
		"HEAD /primary HTTP/1.1\r\n\r\n",
		"OPTIONS /primary HTTP/1.1\r\n\r\n",
	};
	static const char text[] = "GET /primary HTTP/1.1\r\n\r\n";
	Node *node = *state;
	int fd;

	become_primary(node);
	for (size_t i = 0; i < sizeof(last) / sizeof(last[0]); i++)
	{
		fd = client_connect(node);
		assert_true(ask_on(node, fd, text));
		assert_false(ask_on(node, fd, last[i]));
		assert_int_equal(node->code, 200);
		assert_int_equal(strncmp(node->answer, "HTTP/1.0 200 OK\r\n", 17), 0);
		assert_null(strstr(node->answer + 9, "HTTP/1."));
		close(fd);
	}
	/* the next one is there before the answer is */
	fd = client_connect(node);
	node->is_slow = true;
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t) strlen(text));
	run_for(node, 20);
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t) strlen(text));
	run_for(node, 20);
	node->is_slow = false;
	node->done(node->args[0], &node->status);
	assert_false(client_read_one(node, fd));
	assert_int_equal(strncmp(node->answer, "HTTP/1.0 200 OK\r\n", 17), 0);
	close(fd);
}

/* A client that never finishes is hung up on, however it trickles. */
static void
test_request_takes_too_long(void **state)
{
	Node *node = *state;
	int fd = client_connect(node);
	int idle = client_connect(node);
	int64_t start_ms = clock_now_ms();
	char byte;

	/* nor does one that was answered stay for ever */
	assert_true(ask_on(node, idle, "GET /patroni HTTP/1.1\r\n\r\n"));
	for (;;)
	{
		ssize_t n;

		(void) send(fd, "G", 1, MSG_NOSIGNAL);
		event_base_loop(node->base, EVLOOP_NONBLOCK);
		n = recv(fd, &byte, 1, MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno != EAGAIN))
			break;
		usleep(20000);
		assert_true(clock_now_ms() - start_ms < CLIENT_MS);
	}
	assert_true(clock_now_ms() - start_ms >= 4500);
	run_for(node, 300);
	assert_int_equal(recv(idle, &byte, 1, MSG_DONTWAIT), 0);
	close(fd);
	close(idle);
}

/* The 257th client is turned away; when one leaves there is room again. */
static void
test_too_many_connections(void **state)
{
	Node *node = *state;
	int fds[256];
	char byte;

	become_primary(node);
	for (int i = 0; i < 256; i++)
	{
		fds[i] = client_connect(node);
		event_base_loop(node->base, EVLOOP_NONBLOCK);
	}
	/* who asks is heard: those that say nothing make room, the oldest first */
	for (int i = 0; i < 3; i++)
		assert_int_equal(ask(node, "GET", "/primary"), 200);
	run_for(node, 50);
	assert_true(recv(fds[0], &byte, 1, MSG_DONTWAIT) == 0);
	assert_true(recv(fds[1], &byte, 1, MSG_DONTWAIT) < 0);
	assert_true(recv(fds[255], &byte, 1, MSG_DONTWAIT) < 0);
	for (int i = 0; i < 256; i++)
		close(fds[i]);
}

/* All of them have asked and wait: one more is closed at once. */
static void
test_too_many_requests(void **state)
{
	static const char text[] = "GET /primary HTTP/1.0\r\n\r\n";
	Node *node = *state;
	int fds[256];
	int extra;
	char byte;

	become_primary(node);
	node->is_slow = true;
	for (int i = 0; i < 256; i++)
	{
		fds[i] = client_connect(node);
		assert_true(send(fds[i], text, strlen(text), MSG_NOSIGNAL) > 0);
		event_base_loop(node->base, EVLOOP_NONBLOCK);
	}
	for (int i = 0; i < 100 && node->n_args < 256; i++)
		run_for(node, 10);
	assert_int_equal(node->n_args, 256);
	extra = client_connect(node);
	run_for(node, 50);
	assert_true(recv(extra, &byte, 1, MSG_DONTWAIT) == 0);
	assert_true(recv(fds[0], &byte, 1, MSG_DONTWAIT) < 0);
	close(extra);
	node->is_slow = false;
	for (int i = 0; i < 256; i++)
		node->done(node->args[i], &node->status);
	run_for(node, 50);
	for (int i = 0; i < 256; i++)
		close(fds[i]);
	assert_int_equal(ask(node, "GET", "/primary"), 200);
}

/* The client leaves, or the server stops, before the status is known. */
static void
test_status_comes_late(void **state)
{
	Node *node = *state;
	const char *text = "GET /primary HTTP/1.0\r\n\r\n";

	become_primary(node);
	node->is_slow = true;
	for (int round = 0; round < 2; round++)
	{
		int fd = client_connect(node);
		struct linger linger = { 1, 0 };

		node->done = NULL;
		assert_true(send(fd, text, strlen(text), 0) > 0);
		while (node->done == NULL)
			event_base_loop(node->base, EVLOOP_NONBLOCK);
		if (round == 0)
		{
			/* A reset, not a polite end. */
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
			close(fd);
			run_for(node, 20);
		}
		else
		{
			rest_stop(node->rest);
			node->rest = NULL;
		}
		node->done(node->arg, &node->status);
		if (round == 1)
			close(fd);
	}
}

/* A client that shut down its sending side still gets its answer. */
static void
test_half_closed_client(void **state)
{
	Node *node = *state;
	const char *text = "GET /primary HTTP/1.0\r\n\r\n";
	int fd = client_connect(node);

	become_primary(node);
	node->is_slow = true;
	assert_true(send(fd, text, strlen(text), 0) > 0);
	shutdown(fd, SHUT_WR);
	run_for(node, 20);
	assert_non_null(node->done);
	node->done(node->arg, &node->status);
	client_read(node, fd);
	assert_int_equal(node->code, 200);
}

/* ------------------------------------------------------------------------
 * Calls that change something
 * ------------------------------------------------------------------------
 */

#define AUTHORIZED "Authorization: Basic YWRtaW46YWRtMW4=\r\n" /* admin:adm1n */

static void
set_authentication(Node *node, const char *json)
{
	json_t *document = json_pack("{s:{s:o}}", "restapi", "authentication",
	                             json_loads(json, JSON_DECODE_ANY, NULL));

	assert_non_null(document);
	json_decref(node->settings.document);
	node->settings.document = document;
	node->result.status = 200;
	node->result.text = "all is well";
}

static void
open_access(Node *node)
{
	set_authentication(node, "{\"username\":\"admin\",\"password\":\"adm1n\"}");
}

static int
call(Node *node, const char *line, const char *headers, const char *body)
{
	char text[4096];

	if (body == NULL)
		snprintf(text, sizeof(text), "%s HTTP/1.1\r\n%s\r\n", line, headers);
	else
		snprintf(text, sizeof(text), "%s HTTP/1.1\r\n%sContent-Length: %zu\r\n\r\n%s", line,
		         headers, strlen(body), body);
	ask_raw(node, text);
	return node->code;
}

static const struct
{
	const char *line;
	RestCall call;
	bool has_body;
} call_rows[] = {
	{ "PATCH /config", REST_PATCH_CONFIG, true },
	{ "PUT /config", REST_PUT_CONFIG, true },
	{ "POST /reload", REST_RELOAD, false },
	{ "POST /switchover", REST_SWITCHOVER, true },
	{ "POST /failover", REST_FAILOVER, true },
	{ "DELETE /switchover", REST_DELETE_SWITCHOVER, false },
	{ "POST /restart", REST_RESTART, true },
	{ "DELETE /restart", REST_DELETE_RESTART, false },
	{ "POST /reinitialize", REST_REINITIALIZE, true },
	{ "POST /sigterm", REST_SIGTERM, false },
	{ "POST /citus", REST_MPP, true },
	{ "POST /mpp", REST_MPP, true },
};

#define N_CALLS (sizeof(call_rows) / sizeof(call_rows[0]))

/* Without a configured user nobody may, whatever he sends. */
static void
test_closed_by_default(void **state)
{
	static const char *const settings[] = {
		"null",
		"{}",
		"{\"username\":\"admin\"}",
		"{\"username\":\"admin\",\"password\":\"\"}",
		"{\"username\":\"\",\"password\":\"\"}",
		"{\"password\":\"adm1n\"}",
		"\"admin:adm1n\"",
	};
	Node *node = *state;

	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
	{
		set_authentication(node, settings[i]);
		for (size_t row = 0; row < N_CALLS; row++)
		{
			assert_int_equal(call(node, call_rows[row].line, "", "{\"a\":1}"), 403);
			assert_non_null(strstr(node->answer, "restapi.authentication"));
			assert_non_null(strstr(node->answer, "\r\nContent-Type: text/html\r\n"));
			assert_int_equal(call(node, call_rows[row].line, AUTHORIZED, "{\"a\":1}"), 403);
			/* "Og==" is ":" */
			assert_int_equal(
			    call(node, call_rows[row].line, "Authorization: Basic Og==\r\n", "{\"a\":1}"), 403);
		}
	}
	assert_int_equal(node->n_calls, 0);
	json_decref(node->settings.document);
	node->settings.document = NULL;
	assert_int_equal(call(node, "POST /reload", AUTHORIZED, NULL), 403);
	assert_int_equal(node->n_calls, 0);
}

static void
test_authentication(void **state)
{
	static const char *const wrong[] = {
		"Authorization: \r\n",
		"Authorization: Basic\r\n",
		"Authorization: Basic \r\n",
		"Authorization: Basic YWRtaW46YWRtMW4\r\n",
		"Authorization: Basic YWRtaW46YWRtMW4=A\r\n",
		"Authorization: Basic YWRtaW46YWRtMW4=YWRtaW46YWRtMW4=\r\n",
		"Authorization: Basic yWRtaW46YWRtMW4=\r\n",
		"Authorization: Bearer YWRtaW46YWRtMW4=\r\n",
		"Authorization: YWRtaW46YWRtMW4=\r\n",
		/* the first one counts */
		"Authorization: Basic nonsense\r\n" AUTHORIZED,
	};
	Node *node = *state;
	char long_header[3000];

	open_access(node);
	for (size_t row = 0; row < N_CALLS; row++)
	{
		assert_int_equal(call(node, call_rows[row].line, "", "{\"a\":1}"), 401);
		assert_non_null(strstr(node->answer, "\r\nWWW-Authenticate: Basic realm=\"Patroni\"\r\n"));
		assert_non_null(strstr(node->answer, "\r\n\r\nno auth header received"));
	}
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
	{
		if (call(node, "POST /reload", wrong[i], NULL) != 401)
			fail_msg("%s gave %d", wrong[i], node->code);
		assert_non_null(strstr(node->answer, "\r\n\r\nnot authenticated"));
	}
	memset(long_header, 'a', sizeof(long_header));
	memcpy(long_header, "Authorization: Basic ", 21);
	strcpy(long_header + 2900, "\r\n");
	assert_int_equal(call(node, "POST /reload", long_header, NULL), 401);
	assert_int_equal(node->n_calls, 0);
	/* nobody but those who may learns what is wrong with the body */
	assert_int_equal(call(node, "PATCH /config", "", NULL), 401);
	assert_int_equal(call(node, "POST /reload", "authorization:basic YWRtaW46YWRtMW4= \r\n", NULL),
	                 200);
	/* what is no such call needs no password and is not done */
	assert_int_equal(call(node, "POST /primary", "", NULL), 501);
	assert_int_equal(call(node, "POST /config", AUTHORIZED, "{\"a\":1}"), 501);
	assert_int_equal(node->n_calls, 1);
}

static void
test_calls(void **state)
{
	Node *node = *state;

	open_access(node);
	for (size_t row = 0; row < N_CALLS; row++)
	{
		node->result.is_json = row % 2 == 0;
		assert_int_equal(call(node, call_rows[row].line, AUTHORIZED, "{\"a\": {\"b\": null}}"), 200);
		assert_non_null(strstr(node->answer, "\r\n\r\nall is well"));
		assert_non_null(strstr(node->answer, row % 2 == 0 ? "\r\nContent-Type: application/json\r\n"
		                                                  : "\r\nContent-Type: text/html\r\n"));
		assert_int_equal(node->call, call_rows[row].call);
		if (call_rows[row].has_body)
			assert_string_equal(node->call_body, "{\"a\":{\"b\":null}}");
		else
			assert_null(node->call_body);
	}
	assert_int_equal(node->n_calls, N_CALLS);

	node->result = (RestResult){ .status = 409 };
	assert_int_equal(call(node, "DELETE /switchover", AUTHORIZED, NULL), 409);
	assert_non_null(strstr(node->answer, "HTTP/1.0 409 Conflict\r\n"));
	assert_non_null(strstr(node->answer, "Error code: 409"));
	node->result = (RestResult){ .status = 202, .text = "Switchover scheduled" };
	assert_int_equal(call(node, "POST /switchover", AUTHORIZED, "{\"a\":1}"), 202);
	assert_non_null(strstr(node->answer, "HTTP/1.0 202 Accepted\r\n"));
}

/*
 * POST /failsafe (patroni/api.py, do_POST_failsafe()): a leader without the store
 * asks.  What the engine answers becomes status, text and the header that says
 * how far we are.
 */
static void
test_failsafe(void **state)
{
	static const char *const no_body[] = { "", "{}", "[]", "\"x\"", "{\"name\":", "null" };
	static const char *const no_name[] = {
		"{\"conn_url\":\"x\"}", "{\"name\":1}", "{\"name\":\"\"}", "{\"name\":null}", "{\"name\":[\"node2\"]}",
	};
	static const struct
	{
		int status;
		const char *text;
	} refusals[] = {
		{ 500, "Running as a leader" },
		{ 409, "\"node3\" leads, as far as this member knows" },
		{ 503, "nobody controls this member at the moment" },
	};
	const char *body = "{\"name\":\"node2\",\"conn_url\":\"x\",\"api_url\":\"y\",\"slots\":{\"a\":1}}";
	Node *node = *state;
	HaCommand command;
	json_t *json;

	/* accepted; members need no password where there is none */
	node->result = (RestResult){ .status = 200, .text = "Accepted", .lsn = 0x3000000 };
	assert_int_equal(call(node, "POST /failsafe", "", body), 200);
	assert_non_null(strstr(node->answer, "\r\nlsn: 50331648\r\n"));
	assert_non_null(strstr(node->answer, "\r\n\r\nAccepted"));
	assert_string_equal(strstr(node->answer, "\r\n\r\n") + 4, "Accepted");
	assert_int_equal(node->call, REST_FAILSAFE);
	json = json_loads(node->call_body, 0, NULL);
	peer_failsafe_command(&command, json);
	json_decref(json);
	assert_string_equal(command.leader, "node2");
	node->result.lsn = 0;
	assert_int_equal(call(node, "POST /failsafe", "", body), 200);
	assert_null(strstr(node->answer, "lsn:"));

	/* refused: not the leader's word, or the mode is off */
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++)
	{
		node->result = (RestResult){ .status = refusals[i].status, .text = refusals[i].text };
		assert_int_equal(call(node, "POST /failsafe", "", body), refusals[i].status);
		assert_string_equal(strstr(node->answer, "\r\n\r\n") + 4, refusals[i].text);
	}
	node->result = (RestResult){ .status = 502 };
	assert_int_equal(call(node, "POST /failsafe", "", body), 502);
	assert_non_null(strstr(node->answer, "Error code: 502"));

	/* what is no body is not passed on */
	node->n_calls = 0;
	for (size_t i = 0; i < sizeof(no_body) / sizeof(no_body[0]); i++)
		assert_int_equal(call(node, "POST /failsafe", "", no_body[i]), 400);
	assert_int_equal(call(node, "POST /failsafe", "", NULL), 411);
	assert_int_equal(node->n_calls, 0);

	/* one that names nobody is: it has no leader then, and calls.c answers 400 */
	for (size_t i = 0; i < sizeof(no_name) / sizeof(no_name[0]); i++)
	{
		json = json_loads(no_name[i], 0, NULL);
		peer_failsafe_command(&command, json);
		json_decref(json);
		assert_string_equal(command.leader, "");
	}

	/* where there is a password members need it, too */
	open_access(node);
	assert_int_equal(call(node, "POST /failsafe", "", body), 401);
	assert_int_equal(node->n_calls, 0);
	assert_int_equal(call(node, "POST /failsafe", AUTHORIZED, body), 200);
	assert_int_equal(node->n_calls, 1);
}

static void
test_bodies(void **state)
{
	Node *node = *state;
	char headers[256];

	open_access(node);
	assert_int_equal(call(node, "PATCH /config", AUTHORIZED, NULL), 411);
	assert_int_equal(
	    call(node, "PATCH /config", AUTHORIZED "Transfer-Encoding: chunked\r\n", NULL), 411);
	assert_int_equal(call(node, "PATCH /config", AUTHORIZED, ""), 400);
	assert_int_equal(call(node, "PATCH /config", AUTHORIZED, "{}"), 400);
	assert_int_equal(call(node, "PATCH /config", AUTHORIZED, "[1]"), 400);
	assert_int_equal(call(node, "PATCH /config", AUTHORIZED, "{\"a\":1} x"), 400);
	assert_int_equal(call(node, "PATCH /config", AUTHORIZED, "{\"a\":"), 400);
	assert_int_equal(call(node, "PATCH /config", AUTHORIZED, "{\"a\":\"\xff\"}"), 400);
	for (int i = 0; i < 5; i++)
	{
		static const char *const lengths[] = { "-1", "0x10", "5, 5", "9999999999999999", "" };

		snprintf(headers, sizeof(headers), AUTHORIZED "Content-Length: %s\r\n", lengths[i]);
		assert_int_equal(call(node, "PATCH /config", headers, NULL), 400);
	}
	assert_int_equal(
	    call(node, "PATCH /config", AUTHORIZED "Content-Length: 9\r\n", "{\"a\":1}"), 400);
	assert_int_equal(call(node, "PATCH /config", AUTHORIZED "Content-Length: 1048577\r\n", NULL),
	                 413);
	assert_int_equal(call(node, "POST /restart", AUTHORIZED, "[1]"), 400);
	assert_int_equal(call(node, "POST /restart", AUTHORIZED, "{\"a\""), 400);
	assert_int_equal(node->n_calls, 0);
	/* where it is optional, an empty one is as good as none */
	node->result = (RestResult){ .status = 200, .text = "all is well" };
	for (int i = 0; i < 3; i++)
	{
		static const char *const bodies[] = { NULL, "", "{}" };

		assert_int_equal(call(node, "POST /reinitialize", AUTHORIZED, bodies[i]), 200);
		assert_string_equal(node->call_body, "{}");
	}
}

/* A whole megabyte, in pieces that come when they like. */
static void
test_large_body(void **state)
{
	Node *node = *state;
	const size_t size = 1024 * 1024;
	char *body = malloc(size);
	int fd = client_connect(node);
	size_t sent = 0;

	open_access(node);
	memset(body, 'x', size);
	memcpy(body, "{\"a\":\"", 6);
	memcpy(body + size - 2, "\"}", 2);
	assert_true(dprintf(fd, "PUT /config HTTP/1.1\r\n" AUTHORIZED "Content-Length: %zu\r\n\r\n",
	                    size) > 0);
	while (sent < size)
	{
		size_t piece = size - sent < 50001 ? size - sent : 50001;
		ssize_t n = send(fd, body + sent, piece, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0)
			sent += (size_t) n;
		assert_int_equal(node->n_calls, 0);
		event_base_loop(node->base, EVLOOP_NONBLOCK);
	}
	client_read(node, fd);
	assert_int_equal(node->code, 200);
	assert_int_equal(strlen(node->call_body), size);
	free(body);
}

/* A body that never comes: the client is hung up on, nothing is called. */
static void
test_body_takes_too_long(void **state)
{
	Node *node = *state;
	int64_t start_ms = clock_now_ms();

	open_access(node);
	ask_raw(node, "PATCH /config HTTP/1.1\r\n" AUTHORIZED "Content-Length: 9\r\n\r\n{\"a\"");
	assert_string_equal(node->answer, "");
	assert_true(clock_now_ms() - start_ms >= 4500);
	assert_int_equal(node->n_calls, 0);
}

/* The client leaves in the middle of its body, or the server stops. */
static void
test_body_is_cut_off(void **state)
{
	Node *node = *state;
	const char *text = "PATCH /config HTTP/1.1\r\n" AUTHORIZED "Content-Length: 9\r\n\r\n{";

	open_access(node);
	for (int round = 0; round < 3; round++)
	{
		int fd = client_connect(node);
		struct linger linger = { 1, 0 };

		assert_true(send(fd, text, strlen(text), 0) > 0);
		run_for(node, 20);
		if (round == 0)
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
		if (round < 2)
		{
			close(fd);
			run_for(node, 20);
			continue;
		}
		rest_stop(node->rest);
		node->rest = NULL;
		close(fd);
	}
	assert_int_equal(node->n_calls, 0);
}

/* A switchover takes its time: longer than a question may. */
static void
test_call_takes_long(void **state)
{
	Node *node = *state;
	const char *text = "POST /switchover HTTP/1.1\r\n" AUTHORIZED "Content-Length: 7\r\n\r\n{\"a\":1}";
	int fd = client_connect(node);

	open_access(node);
	assert_int_equal(rest_call_seconds(&node->settings, REST_SWITCHOVER, NULL), 20);
	node->settings.loop_wait_ms = 15000;
	assert_int_equal(rest_call_seconds(&node->settings, REST_SWITCHOVER, NULL), 30);
	node->is_call_slow = true;
	assert_true(send(fd, text, strlen(text), 0) > 0);
	run_for(node, 5500);
	assert_non_null(node->call_done);
	node->call_done(node->call_arg, &node->result);
	client_read(node, fd);
	assert_int_equal(node->code, 200);
}

/* The client leaves, or the server stops, before the call is done. */
static void
test_call_ends_late(void **state)
{
	Node *node = *state;
	const char *text = "POST /switchover HTTP/1.1\r\n" AUTHORIZED "Content-Length: 7\r\n\r\n{\"a\":1}";

	open_access(node);
	node->is_call_slow = true;
	for (int round = 0; round < 3; round++)
	{
		int fd = client_connect(node);
		struct linger linger = { 1, 0 };

		node->call_done = NULL;
		assert_true(send(fd, text, strlen(text), 0) > 0);
		while (node->call_done == NULL)
			event_base_loop(node->base, EVLOOP_NONBLOCK);
		if (round == 0)
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
		if (round == 2)
		{
			rest_stop(node->rest);
			node->rest = NULL;
		}
		close(fd);
		if (round < 2)
			run_for(node, 20);
		node->call_done(node->call_arg, &node->result);
		if (round < 2)
			run_for(node, 20);
	}
	assert_int_equal(node->n_calls, 3);
}

static void
test_reconfigure(void **state)
{
	Node *node = *state;
	RestListen listen = { .host = "127.0.0.1", .port = rest_port(node->rest) };
	RestListen impossible = { .host = "192.0.2.1", .port = rest_port(node->rest) };
	Error error;
	RestOps ops = { .context = node, .status = give_status, .settings = give_settings };

	become_primary(node);
	assert_true(rest_reconfigure(node->rest, &listen, &error));
	assert_int_equal(rest_port(node->rest), listen.port);
	assert_int_equal(ask(node, "GET", "/primary"), 200);
	assert_false(rest_reconfigure(node->rest, &impossible, &error));
	assert_string_not_equal(error.message, "");
	assert_int_equal(ask(node, "GET", "/primary"), 200);

	/* A port that is taken. */
	assert_null(rest_start(node->base, &ops, &listen, &error));
	assert_non_null(strstr(error.message, "could not start the REST API"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_codes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fence_closes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fence_closes_while_asked, setup, teardown),
		cmocka_unit_test_setup_teardown(test_parameters, setup, teardown),
		cmocka_unit_test_setup_teardown(test_liveness, setup, teardown),
		cmocka_unit_test_setup_teardown(test_status_of_primary, setup, teardown),
		cmocka_unit_test_setup_teardown(test_status_of_fenced, setup, teardown),
		cmocka_unit_test_setup_teardown(test_status_of_stopped_primary, setup, teardown),
		cmocka_unit_test_setup_teardown(test_status_of_replica, setup, teardown),
		cmocka_unit_test_setup_teardown(test_status_of_outranked, setup, teardown),
		cmocka_unit_test_setup_teardown(test_status_of_silent, setup, teardown),
		cmocka_unit_test_setup_teardown(test_status_of_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cluster, setup, teardown),
		cmocka_unit_test_setup_teardown(test_leader_key, setup, teardown),
		cmocka_unit_test_setup_teardown(test_status_line_only, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_requests, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slow_request, setup, teardown),
		cmocka_unit_test_setup_teardown(test_connection_goes_on, setup, teardown),
		cmocka_unit_test_setup_teardown(test_connection_is_paced, setup, teardown),
		cmocka_unit_test_setup_teardown(test_connection_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(test_request_takes_too_long, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_many_connections, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_many_requests, setup, teardown),
		cmocka_unit_test_setup_teardown(test_status_comes_late, setup, teardown),
		cmocka_unit_test_setup_teardown(test_half_closed_client, setup, teardown),
		cmocka_unit_test_setup_teardown(test_closed_by_default, setup, teardown),
		cmocka_unit_test_setup_teardown(test_authentication, setup, teardown),
		cmocka_unit_test_setup_teardown(test_calls, setup, teardown),
		cmocka_unit_test_setup_teardown(test_failsafe, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bodies, setup, teardown),
		cmocka_unit_test_setup_teardown(test_large_body, setup, teardown),
		cmocka_unit_test_setup_teardown(test_body_takes_too_long, setup, teardown),
		cmocka_unit_test_setup_teardown(test_body_is_cut_off, setup, teardown),
		cmocka_unit_test_setup_teardown(test_call_takes_long, setup, teardown),
		cmocka_unit_test_setup_teardown(test_call_ends_late, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reconfigure, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
