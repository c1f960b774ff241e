/*-------------------------------------------------------------------------
 *
 * test_fuzz.c
 *      Malformed requests through real sockets: nothing crashes, nothing
 *      leaks, no answer is cut short, and nothing is done that was not allowed.
 *
 * FUZZ_REQUESTS says how many (2,000; "make fuzz" takes 100,000, sanitized),
 * FUZZ_SEED which.  Bodies that are read reach what really looks at them.
 *-------------------------------------------------------------------------
 */
#include "fuzz_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/peers.h"
#include "rest/rest.h"
#include "rest/restart.h"
#include "rest/switchover.h"

#define PATIENCE_MS	 30
#define GOOD_EVERY	 500
#define AUTHORIZATION "Authorization: Basic YWRtaW46YWRtMW4=\r\n"

static struct event_base *base;
static Rest *rest;
static LeasePage page;
static Settings settings;
static ClusterView view;
static HaPostgres postgres;
static Takeovers takeovers;
static Fuzz fuzz;
static FuzzClient clients[FUZZ_CLIENTS];
static long codes[FUZZ_CODES];
static long n_calls;
static long n_requests;
static uint64_t seed;

/* ------------------------------------------------------------------------
 * A node
 * ------------------------------------------------------------------------
 */

static void
put_key(const char *name, const char *value)
{
	static uint64_t version = 1;
	ClusterKey key = { .name = name, .value = value, .session = "", .version = version++ };

	cluster_view_apply(&view, &key);
	view.is_loaded = true;
}

static void
give_status(void *context, RestDone done, void *arg)
{
	RestStatus status;

	(void) context;
	memset(&status, 0, sizeof(status));
	status.settings = &settings;
	status.page = &page;
	status.view = &view;
	status.postgres = &postgres;
	status.takeovers = &takeovers;
	status.is_fresh = status.can_lead = status.store_is_reachable = true;
	status.store_last_seen_ms = clock_wall_ms();
	status.last_step_ms = clock_now_ms();
	status.state = MEMBER_RUNNING;
	status.role = ROLE_PRIMARY;
	done(arg, &status);
}

static const Settings *
give_settings(void *context)
{
	(void) context;
	return &settings;
}

static const ClusterView *
give_view(void *context)
{
	(void) context;
	return &view;
}

/* What the supervisor does with a body, up to the engine and the store. */
static void
take_call(void *context, RestCall call, const json_t *body, RestCallDone done, void *arg)
{
	static const RestResult fine = { .status = 200, .text = "fine" };
	static RestMove move;
	static RestRestart restart;
	RestResult result = fine;
	HaCommand command;
	ConfigProblems problems;
	char *text;
	char *patched;
	Error error;

	(void) context;
	n_calls++;
	error_clear(&error);
	switch (call)
	{
		case REST_SWITCHOVER:
		case REST_FAILOVER:
			move_check(&move, call == REST_SWITCHOVER, body, &settings, &view, clock_wall_ms(),
					   &result);
			break;
		case REST_RESTART:
			restart_check(&restart, body, &settings, clock_wall_ms(), &result);
			break;
		case REST_FAILSAFE:
			peer_failsafe_command(&command, body);
			break;
		case REST_REINITIALIZE:
			reinitialize_check(&restart, body, &settings, &view, &result);
			break;
		case REST_PATCH_CONFIG:
		case REST_PUT_CONFIG:
			text = json_dumps(body, JSON_COMPACT);
			patched = text == NULL ? NULL : dynamic_patch("{\"ttl\":30}", text, &error);
			config_problems_init(&problems);
			if (patched != NULL && !dynamic_validate(patched, &problems))
				result.status = 400;
			config_problems_free(&problems);
			free(patched);
			free(text);
			break;
		default:
			break;
	}
	done(arg, &result);
}

static int
setup(void **state)
{
	RestOps ops = { .status = give_status,
					.settings = give_settings,
					.view = give_view,
					.call = take_call };
	RestListen listen = { .host = "127.0.0.1" };
	Error error;

	(void) state;
	signal(SIGPIPE, SIG_IGN);
	memset(codes, 0, sizeof(codes));
	n_calls = 0;
	base = event_base_new();
	settings_init(&settings);
	strcpy(settings.name, "node1");
	strcpy(settings.scope, "demo");
	settings.ttl_ms = 10000;
	settings.loop_wait_ms = 5000;
	settings.primary_start_timeout_ms = 300000;
	free(settings.tags_json);
	settings.tags_json = strdup("{\"zone\":\"a\"}");
	json_decref(settings.document);
	settings.document =
		json_pack("{s:{s:{s:s, s:s}, s:{s:s}}}", "restapi", "authentication", "username", "admin",
				  "password", "adm1n", "http_extra_headers", "X-Test", "1");
	cluster_view_init(&view);
	put_key("leader", "node1");
	put_key("config", "{\"ttl\":30}");
	put_key("members/node1", "{\"api_url\":\"http://127.0.0.1:1/patroni\",\"state\":\"running\"}");
	put_key("members/node2", "{\"api_url\":\"http://127.0.0.1:2/patroni\",\"state\":\"running\"}");
	postgres.server = HA_SERVER_RUNNING;
	postgres.flush_lsn = 0x3000000;
	atomic_store(&page.lease, (UINT64_C(1) << LEASE_DEADLINE_BITS) | (uint64_t) LEASE_NEVER_US);
	atomic_store(&page.is_primary, 1);
	rest = rest_start(base, &ops, &listen, &error);
	assert_non_null(rest);
	for (int i = 0; i < FUZZ_CLIENTS; i++)
		clients[i].fd = -1;
	n_requests = getenv("FUZZ_REQUESTS") != NULL ? atol(getenv("FUZZ_REQUESTS")) : 2000;
	seed = getenv("FUZZ_SEED") != NULL ? strtoull(getenv("FUZZ_SEED"), NULL, 10) : 1;
	return 0;
}

static int
teardown(void **state)
{
	(void) state;
	rest_stop(rest);
	event_base_free(base);
	settings_free(&settings);
	cluster_view_free(&view);
	return 0;
}

/* ------------------------------------------------------------------------
 * Clients
 * ------------------------------------------------------------------------
 */

static void
begin(FuzzClient *client, const char *text, size_t length)
{
	struct sockaddr_in address;

	if (!client->is_kept)
	{
		memset(&address, 0, sizeof(address));
		address.sin_family = AF_INET;
		address.sin_port = htons((uint16_t) rest_port(rest));
		address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		client->fd = socket(AF_INET, SOCK_STREAM, 0);
		assert_int_equal(connect(client->fd, (struct sockaddr *) &address, sizeof(address)), 0);
	}
	fuzz_client_begin(client, text, length, PATIENCE_MS);
}

static void
end(FuzzClient *client)
{
	if (!fuzz_client_end(client, &fuzz, codes))
		fail_msg("seed %llu: \"%.200s\"\nto \"%.200s\"", (unsigned long long) seed, client->answer,
				 client->request);
}

/* The server still does what it should. */
static void
ask_well(void)
{
	static const char request[] = "GET /primary HTTP/1.0\r\n\r\n";
	static FuzzClient client;
	int64_t end_ms = clock_now_ms() + 5000;

	begin(&client, request, strlen(request));
	assert_int_equal(send(client.fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
	client.sent = client.length;
	for (;;)
	{
		ssize_t n;

		event_base_loop(base, EVLOOP_NONBLOCK);
		n = recv(client.fd, client.answer + client.got, sizeof(client.answer) - 1 - client.got,
				 MSG_DONTWAIT);
		if (n == 0)
			break;
		assert_true(n > 0 || errno == EAGAIN);
		assert_true(clock_now_ms() < end_ms);
		client.got += n > 0 ? (size_t) n : 0;
	}
	assert_true(strncmp(client.answer, "HTTP/1.0 200 OK\r\n", 17) == 0);
	close(client.fd);
	free(client.request);
}

static void
torment(const char *authorization)
{
	long begun = 0;
	int n_busy = 0;

	fuzz_init(&fuzz, seed, authorization);
	while (begun < n_requests || n_busy > 0)
	{
		for (int i = 0; i < FUZZ_CLIENTS; i++)
		{
			if ((clients[i].fd < 0 || clients[i].is_kept) && begun < n_requests)
			{
				fuzz_next(&fuzz);
				begin(&clients[i], fuzz.text, fuzz.length);
				n_busy++;
				if (++begun % GOOD_EVERY == 0)
					ask_well();
			}
			else if (clients[i].fd >= 0 && !clients[i].is_kept &&
					 !fuzz_client_go_on(&clients[i], &fuzz, 1000))
			{
				end(&clients[i]);
				n_busy--;
			}
		}
		event_base_loop(base, EVLOOP_NONBLOCK);
	}
	for (int i = 0; i < FUZZ_CLIENTS; i++)
	{
		if (clients[i].is_kept)
			close(clients[i].fd);
		clients[i].is_kept = false;
		clients[i].fd = -1;
	}
	ask_well();
	print_message("# %ld requests, %ld calls", begun, n_calls);
	for (int i = 0; i < FUZZ_CODES; i++)
		if (codes[i] > 0)
			print_message(", %ld %s%d", codes[i], i == 0 ? "without answer: " : "of ", i);
	print_message("\n");
}

/* Nobody knows the password: whatever is sent, nothing is done. */
static void
test_strangers(void **state)
{
	(void) state;
	torment(NULL);
	assert_int_equal(n_calls, 0);
	/* of each some; how many time out instead depends on the machine */
	assert_true(codes[200] > n_requests / 200);
	assert_true(codes[400] > n_requests / 50);
	assert_true(codes[401] > n_requests / 200);
}

/* Those who know it send nonsense as well. */
static void
test_operators(void **state)
{
	(void) state;
	torment(AUTHORIZATION);
	assert_true(n_calls > n_requests / 200);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_strangers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_operators, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
