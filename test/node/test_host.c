/*-------------------------------------------------------------------------
 *
 * test_host.c
 *      A host on a real etcd: settings, changes of the configuration, and the
 *      baton.  Skipped where there is no etcd.
 *-------------------------------------------------------------------------
 */
#include "node/host.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define ETCD        "/usr/bin/etcd"
#define PATIENCE_MS 60000 /* a busy machine: etcd has to elect itself first */

typedef struct Answer
{
	uint64_t id;
	bool ok;
	char text[4096];
	char sqlstate[8];
	uint64_t version;
} Answer;

typedef struct Node
{
	LeasePage page;
	Host *host;
	Answer answers[16];
	int n_answers;
	int n_settings;
	int n_warnings;
	int n_lost;
	int64_t loop_wait_ms;
} Node;

static pid_t etcd_pid;
static char etcd_directory[64];
static int etcd_port;
static int next_scope;

static void
act(void *context, const HaAction *action)
{
	Node *node = context;
	Answer *answer = &node->answers[node->n_answers % 16];

	if (action->kind != HA_ANSWER)
		return;
	answer->id = action->command_id;
	answer->ok = action->ok;
	answer->version = action->version;
	snprintf(answer->text, sizeof(answer->text), "%s", action->text == NULL ? "" : action->text);
	snprintf(answer->sqlstate, sizeof(answer->sqlstate), "%s",
	         action->sqlstate == NULL ? "" : action->sqlstate);
	node->n_answers++;
}

static void
log_message(void *context, int level, const char *message, const char *detail, const char *hint)
{
	Node *node = context;

	(void) message;
	(void) detail;
	(void) hint;
	if (level == 2)
		node->n_warnings++;
}

static void
settings_changed(void *context, const Settings *settings)
{
	Node *node = context;

	node->n_settings++;
	node->loop_wait_ms = settings->loop_wait_ms;
}

static void
lost_baton(void *context)
{
	((Node *) context)->n_lost++;
}

/* Let the host run until a fact holds. */
#define run_until(node, fact) \
	do \
	{ \
		int64_t end_ms_ = clock_now_ms() + PATIENCE_MS; \
		while (!(fact)) \
		{ \
			run_once(node); \
			if (clock_now_ms() > end_ms_) \
				fail_msg("never came true: %s", #fact); \
		} \
	} while (0)

static void
run_once(Node *node)
{
	struct pollfd wait = { .fd = host_fd(node->host), .events = POLLIN };
	int timeout_ms = host_timeout_ms(node->host, clock_now_ms());

	poll(&wait, 1, timeout_ms < 0 || timeout_ms > 20 ? 20 : timeout_ms);
	host_process(node->host, clock_now_ms());
}

static LocalConfig *
local_config(const char *scope, const char *name)
{
	char text[2048];

	snprintf(
	    text, sizeof(text),
	    "{\"scope\":\"%s\",\"name\":\"%s\",\"etcd3\":{\"hosts\":[\"127.0.0.1:%d\"]},"
	    "\"restapi\":{\"listen\":\"127.0.0.1:18999\",\"connect_address\":\"127.0.0.1:18999\"},"
	    "\"postgresql\":{\"listen\":\"127.0.0.1:15999\",\"connect_address\":\"127.0.0.1:15999\","
	    "\"data_dir\":\"/tmp/test_host_no_data\",\"authentication\":{"
	    "\"superuser\":{\"username\":\"postgres\",\"password\":\"secret-one\"},"
	    "\"replication\":{\"username\":\"replicator\",\"password\":\"secret-two\"}}}}",
	    scope, name, etcd_port);
	return local_config_from_json(text);
}

/* Write a key with the store's own tool's protocol: another process would. */
static void
store_put(const char *scope, const char *key, const char *value)
{
	char endpoint[64];
	char path[256];
	pid_t pid = fork();
	int status;

	if (pid == 0)
	{
		snprintf(endpoint, sizeof(endpoint), "--endpoints=127.0.0.1:%d", etcd_port);
		snprintf(path, sizeof(path), "/service/%s/%s", scope, key);
		dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO);
		setenv("ETCDCTL_API", "3", 1);
		execlp("etcdctl", "etcdctl", endpoint, "put", path, value, (char *) NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static char current_scope[32];

static int
setup(void **state)
{
	Node *node = calloc(1, sizeof(Node));
	HostOps ops = { .context = node,
		            .act = act,
		            .log = log_message,
		            .settings = settings_changed,
		            .lost_baton = lost_baton };
	Error error;
	ConfigProblems problems;

	if (etcd_pid == 0)
		return 0;
	snprintf(current_scope, sizeof(current_scope), "scope%d", next_scope++);
	atomic_store(&node->page.lease, UINT64_C(5) << LEASE_DEADLINE_BITS);
	assert_true(host_open(&node->host, HA_HOME_SUPERVISOR, &node->page, &ops, &error));
	assert_null(host_settings(node->host));
	assert_false(host_drive(node->host, 5, NULL, &error));
	config_problems_init(&problems);
	if (!host_configure(node->host, local_config(current_scope, "node1"), &problems))
		fail_msg("%s: %s", problems.items[0].key, problems.items[0].message);
	config_problems_free(&problems);
	run_until(node, host_view(node->host) != NULL && host_view(node->host)->is_loaded);
	*state = node;
	return 0;
}

static int
teardown(void **state)
{
	Node *node = *state;

	if (etcd_pid == 0)
		return 0;
	host_close(node->host);
	free(node);
	return 0;
}

#define need_etcd() \
	do \
	{ \
		if (etcd_pid == 0) \
			skip(); \
	} while (0)

static const Answer *
edit(Node *node, const char *patch, bool wait, int64_t timeout_ms)
{
	int before = node->n_answers;

	assert_true(host_edit_config(node->host, (uint64_t) before + 100, patch, wait, timeout_ms));
	assert_int_equal(node->n_answers, before);
	run_until(node, node->n_answers > before);
	assert_int_equal(node->answers[before].id, before + 100);
	return &node->answers[before];
}

static void
put_config(Node *node, const char *text)
{
	int before = node->n_settings;

	store_put(current_scope, "config", text);
	run_until(node, node->n_settings > before);
}

static void
test_dynamic_configuration(void **state)
{
	Node *node = *state;

	need_etcd();
	assert_int_equal(node->n_settings, 1);
	put_config(node, "{\"ttl\":20,\"loop_wait\":7,\"retry_timeout\":5}");
	assert_int_equal(node->loop_wait_ms, 7000);
	assert_int_equal(host_settings(node->host)->ttl_ms, 20000);

	/* One that cannot be used: warned of, the old one stays. */
	node->n_warnings = 0;
	store_put(current_scope, "config", "{\"ttl\":\"soup\",\"loop_wait\":3}");
	run_until(node, node->n_warnings > 0);
	assert_int_equal(node->loop_wait_ms, 7000);
	put_config(node, "{\"ttl\":20,\"loop_wait\":4,\"retry_timeout\":5}");
	assert_int_equal(node->loop_wait_ms, 4000);
}

static void
test_edit_config(void **state)
{
	Node *node = *state;
	const Answer *answer;

	need_etcd();
	answer = edit(node, "{\"ttl\":30}", false, 0);
	assert_false(answer->ok);
	assert_string_equal(answer->text, "the cluster has no configuration in the store yet");

	put_config(node, "{\"ttl\":20,\"loop_wait\":5,\"retry_timeout\":5}");
	answer = edit(node, "{\"loop_wait\":6}", false, 0);
	assert_true(answer->ok);
	assert_true(json_text_equal(answer->text, "{\"ttl\":20,\"loop_wait\":6,\"retry_timeout\":5}"));
	run_until(node, node->loop_wait_ms == 6000);

	answer = edit(node, "not json", false, 0);
	assert_false(answer->ok);
	assert_string_equal(answer->sqlstate, "22023");
	answer = edit(node, "{\"ttl\":\"soup\"}", false, 0);
	assert_false(answer->ok);
	assert_string_equal(answer->sqlstate, "22023");
	assert_int_equal(node->loop_wait_ms, 6000);

	/* Nothing to change is no failure. */
	assert_true(edit(node, "{\"loop_wait\":6}", false, 0)->ok);
}

/* All write at once on the same version: each loses and tries again until it is in. */
static void
test_lost_race(void **state)
{
	Node *node = *state;

	need_etcd();
	put_config(node, "{\"ttl\":20,\"loop_wait\":5,\"retry_timeout\":5}");
	assert_true(host_edit_config(node->host, 1, "{\"loop_wait\":6}", false, 0));
	assert_true(host_edit_config(node->host, 2, "{\"retry_timeout\":6}", false, 0));
	assert_true(host_edit_config(node->host, 3, "{\"ttl\":30}", false, 0));
	run_until(node, node->n_answers == 3);
	for (int i = 0; i < 3; i++)
		assert_true(node->answers[i].ok);
	run_until(node, host_settings(node->host)->ttl_ms == 30000 &&
	                    host_settings(node->host)->loop_wait_ms == 6000 &&
	                    host_settings(node->host)->retry_timeout_ms == 6000);
}

/* What REST writes: a change that changes nothing is fine, a whole one replaces. */
static void
test_put_config(void **state)
{
	Node *node = *state;

	need_etcd();
	assert_true(host_put_config(node->host, 1, "{\"ttl\":20}", true));
	run_until(node, node->n_answers == 1);
	assert_false(node->answers[0].ok);
	assert_true(host_put_config(node->host, 2, "{\"ttl\":20,\"loop_wait\":5}", false));
	run_until(node, node->n_answers == 2);
	assert_true(node->answers[1].ok);
	run_until(node, host_settings(node->host)->ttl_ms == 20000);
	assert_true(host_put_config(node->host, 3, "{\"pause\":null}", true));
	assert_true(host_put_config(node->host, 4, "{\"ttl\":\"soup\"}", false));
	run_until(node, node->n_answers == 4);
	assert_true(node->answers[2].ok);
	assert_string_equal(node->answers[3].sqlstate, "22023");
	assert_true(host_put_config(node->host, 5, "{\"loop_wait\":4}", false));
	run_until(node, node->n_answers == 5);
	run_until(node, json_text_equal(host_view(node->host)->config_json, "{\"loop_wait\":4}"));
}

static void
test_put_failover(void **state)
{
	Node *node = *state;
	FailoverRequest request;
	Error error;

	need_etcd();
	memset(&request, 0, sizeof(request));
	request.exists = true;
	strcpy(request.leader, "node1");
	strcpy(request.candidate, "node2");
	assert_true(host_put_failover(node->host, 9, &request));
	assert_int_equal(node->n_answers, 0);
	run_until(node, node->n_answers == 1);
	assert_int_equal(node->answers[0].id, 9);
	assert_true(node->answers[0].ok);
	run_until(node, host_view(node->host)->failover.exists);
	assert_string_equal(host_view(node->host)->failover.candidate, "node2");
	assert_int_equal(host_view(node->host)->failover.version, node->answers[0].version);
	assert_true(host_view(node->host)->revision >= node->answers[0].version);

	/* Somebody else wrote it since we looked. */
	assert_true(host_put_failover(node->host, 10, &request));
	run_until(node, node->n_answers == 2);
	assert_false(node->answers[1].ok);
	assert_string_equal(node->answers[1].sqlstate, "40001");

	request.version = node->answers[0].version;
	request.exists = false;
	assert_true(host_put_failover(node->host, 11, &request));
	run_until(node, node->n_answers == 3);
	assert_true(node->answers[2].ok);
	run_until(node, !host_view(node->host)->failover.exists);

	/* The end of one whose answer nobody will hear is said to be unknown. */
	put_config(node, "{\"ttl\":20,\"loop_wait\":5,\"retry_timeout\":5}");
	assert_true(host_drive(node->host, 5, NULL, &error));
	request.version = node->answers[2].version;
	assert_true(host_put_failover(node->host, 12, &request));
	free(host_rest(node->host));
	assert_int_equal(node->n_answers, 4);
	assert_string_equal(node->answers[3].sqlstate, "08007");
	for (int i = 0; i < 10; i++)
		run_once(node);
	assert_int_equal(node->n_answers, 4);
}

/* A sign of life of the store: the answer counts from when it was asked for. */
static void
test_ask_store(void **state)
{
	Node *node = *state;
	int64_t before_ms;
	int64_t answered_ms;
	Error error;

	need_etcd();
	before_ms = clock_now_ms();
	host_ask_store(node->host);
	host_ask_store(node->host); /* one at a time */
	run_until(node, host_store_answered_ms(node->host) >= before_ms);
	answered_ms = host_store_answered_ms(node->host);
	assert_true(answered_ms <= clock_now_ms());

	/* Nobody asks, so nothing is known any later; refusals are answers as well. */
	for (int i = 0; i < 5; i++)
		run_once(node);
	assert_int_equal(host_store_answered_ms(node->host), answered_ms);
	store_put(current_scope, "config", "{\"ttl\":20,\"loop_wait\":5,\"retry_timeout\":5}");
	run_until(node, node->loop_wait_ms == 5000);
	assert_int_equal(host_store_answered_ms(node->host), answered_ms);

	/* No answer is none, and the next question is asked all the same. */
	kill(etcd_pid, SIGSTOP);
	for (int i = 0; i < 20; i++) /* what is on its way comes in */
		run_once(node);
	before_ms = clock_now_ms() + 1;
	host_ask_store(node->host);
	for (int i = 0; i < 100; i++)
		run_once(node);
	assert_true(host_store_answered_ms(node->host) < before_ms);
	kill(etcd_pid, SIGCONT);
	run_until(node, (host_ask_store(node->host), host_store_answered_ms(node->host) >= before_ms));

	/* Also when the question was forgotten with the baton. */
	assert_true(host_drive(node->host, 5, NULL, &error));
	host_ask_store(node->host);
	free(host_rest(node->host));
	before_ms = clock_now_ms();
	host_ask_store(node->host);
	run_until(node, host_store_answered_ms(node->host) >= before_ms);
}

static void
test_pause(void **state)
{
	Node *node = *state;
	const Answer *answer;

	need_etcd();
	put_config(node, "{\"ttl\":20,\"loop_wait\":5,\"retry_timeout\":5}");
	answer = edit(node, "{\"pause\":null}", false, 0);
	assert_false(answer->ok);
	assert_string_equal(answer->text, "cluster is not paused");

	/* A member that does not follow is named. */
	store_put(current_scope, "members/node2", "{\"state\":\"running\",\"role\":\"replica\"}");
	store_put(current_scope, "members/node3",
	          "{\"state\":\"running\",\"role\":\"replica\",\"pause\":true}");
	run_until(node, host_view(node->host)->n_members == 2);
	answer = edit(node, "{\"pause\":true}", true, 300);
	assert_false(answer->ok);
	assert_non_null(strstr(answer->text, "\"node2\""));
	assert_null(strstr(answer->text, "\"node3\""));
	run_until(node, host_settings(node->host)->is_paused);

	answer = edit(node, "{\"pause\":true}", false, 0);
	assert_false(answer->ok);
	assert_string_equal(answer->text, "cluster is already paused");

	/* The answer waits for the last member. */
	store_put(current_scope, "members/node3", "{\"state\":\"running\",\"role\":\"replica\"}");
	answer = edit(node, "{\"pause\":null}", true, 5000);
	assert_true(answer->ok);
	assert_null(strstr(answer->text, "pause"));
}

static void
test_baton(void **state)
{
	Node *node = *state;
	Error error;
	HaPostgres *postgres = calloc(1, sizeof(HaPostgres));
	HaCommand command;
	char *saved;
	char session[LEASE_SESSION_MAX];

	need_etcd();
	put_config(node, "{\"ttl\":20,\"loop_wait\":5,\"retry_timeout\":5}");
	postgres->data = HA_DATA_EMPTY;
	postgres->server = HA_SERVER_STOPPED;
	postgres->control_state = HA_CONTROL_UNKNOWN;
	host_postgres(node->host, postgres);
	assert_false(host_drive(node->host, 4, NULL, &error)); /* not the page's generation */
	assert_true(host_drive(node->host, 5, NULL, &error));
	assert_true(host_is_driving(node->host));
	assert_int_equal(host_generation(node->host), 5);

	/* The member shows up in the store, under a session that the page knows. */
	run_until(node, cluster_find_member(host_view(node->host), "node1") != NULL);
	run_until(node, (lease_page_get_session(&node->page, session), session[0] != '\0'));

	/* Hand over: what was asked for is answered, the session stays. */
	memset(&command, 0, sizeof(command));
	command.id = 77;
	command.kind = HA_COMMAND_SWITCHOVER;
	assert_true(host_command(node->host, &command));
	saved = host_rest(node->host);
	assert_non_null(saved);
	assert_false(host_is_driving(node->host));
	assert_int_equal(node->n_answers, 1);
	assert_int_equal(node->answers[0].id, 77);
	assert_false(node->answers[0].ok);
	assert_null(host_rest(node->host));

	/* And back again, under a new generation. */
	assert_int_equal(lease_page_take(&node->page, 5, LEASE_HOLDER_SUPERVISOR), 6);
	assert_true(host_drive(node->host, 6, saved, &error));
	free(saved);
	for (int i = 0; i < 10; i++)
		run_once(node);
	assert_true(host_is_driving(node->host));

	/* Somebody takes it without a word: we notice at the next turn. */
	assert_int_equal(lease_page_take(&node->page, 6, LEASE_HOLDER_WORKER), 7);
	host_postgres(node->host, postgres);
	run_until(node, node->n_lost > 0);
	assert_int_equal(node->n_lost, 1);
	assert_false(host_is_driving(node->host));

	/* Commands are refused then, not swallowed. */
	command.id = 78;
	assert_true(host_command(node->host, &command));
	run_until(node, node->n_answers == 2);
	assert_int_equal(node->answers[1].id, 78);
	assert_false(node->answers[1].ok);
	free(postgres);
}

static void
test_snapshot(void **state)
{
	Node *node = *state;
	uint64_t number;
	char *text;
	json_t *json;

	need_etcd();
	number = host_snapshot_number(node->host);
	put_config(node, "{\"ttl\":20,\"loop_wait\":5,\"retry_timeout\":5}");
	assert_true(host_snapshot_number(node->host) > number);
	text = host_snapshot(node->host, clock_now_ms());
	assert_non_null(text);
	assert_null(strstr(text, "secret"));
	json = json_loads(text, 0, NULL);
	assert_string_equal(json_string_value(json_object_get(json_object_get(json, "node"), "name")),
	                    "node1");
	assert_true(json_is_true(
	    json_object_get(json_object_get(json_object_get(json, "node"), "store"), "is_reachable")));
	assert_true(json_is_false(json_object_get(json_object_get(json, "cluster"), "pause")));
	assert_true(json_array_size(json_object_get(json, "events")) > 0);
	json_decref(json);
	free(text);
}

/* Name and scope belong to the life of the process. */
static void
test_identity_is_fixed(void **state)
{
	Node *node = *state;
	ConfigProblems problems;
	LocalConfig *other;

	need_etcd();
	config_problems_init(&problems);
	other = local_config(current_scope, "somebody-else");
	assert_false(host_configure(node->host, other, &problems));
	assert_int_equal(problems.n_errors, 1);
	local_config_free(other);
	other = local_config("another-scope", "node1");
	assert_false(host_configure(node->host, other, &problems));
	local_config_free(other);
	assert_string_equal(host_settings(node->host)->name, "node1");
	config_problems_free(&problems);
}

/* ------------------------------------------------------------------------
 * etcd
 * ------------------------------------------------------------------------
 */

static int
free_port(void)
{
	struct sockaddr_in address;
	socklen_t length = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	memset(&address, 0, sizeof(address));
	address.sin_family = AF_INET;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(fd, (struct sockaddr *) &address, sizeof(address)) != 0 ||
	    getsockname(fd, (struct sockaddr *) &address, &length) != 0)
		abort();
	close(fd);
	return ntohs(address.sin_port);
}

static int
start_etcd(void **state)
{
	char client_url[64];
	char peer_url[64];
	char cluster[80];

	(void) state;
	if (access(ETCD, X_OK) != 0)
		return 0;
	strcpy(etcd_directory, "/tmp/test_host.XXXXXX");
	if (mkdtemp(etcd_directory) == NULL)
		return -1;
	etcd_port = free_port();
	snprintf(client_url, sizeof(client_url), "http://127.0.0.1:%d", etcd_port);
	snprintf(peer_url, sizeof(peer_url), "http://127.0.0.1:%d", free_port());
	snprintf(cluster, sizeof(cluster), "default=%s", peer_url);
	etcd_pid = fork();
	if (etcd_pid == 0)
	{
		int null_fd = open("/dev/null", O_RDWR);

		dup2(null_fd, STDOUT_FILENO);
		dup2(null_fd, STDERR_FILENO);
		execl(ETCD, "etcd", "--data-dir", etcd_directory, "--unsafe-no-fsync",
		      "--listen-client-urls", client_url, "--advertise-client-urls", client_url,
		      "--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url,
		      "--initial-cluster", cluster, (char *) NULL);
		_exit(127);
	}
	return 0;
}

static int
stop_etcd(void **state)
{
	char command[128];

	(void) state;
	if (etcd_pid == 0)
		return 0;
	kill(etcd_pid, SIGKILL);
	waitpid(etcd_pid, NULL, 0);
	snprintf(command, sizeof(command), "rm -rf %s", etcd_directory);
	return system(command);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_dynamic_configuration, setup, teardown),
		cmocka_unit_test_setup_teardown(test_edit_config, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lost_race, setup, teardown),
		cmocka_unit_test_setup_teardown(test_put_config, setup, teardown),
		cmocka_unit_test_setup_teardown(test_put_failover, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ask_store, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pause, setup, teardown),
		cmocka_unit_test_setup_teardown(test_baton, setup, teardown),
		cmocka_unit_test_setup_teardown(test_snapshot, setup, teardown),
		cmocka_unit_test_setup_teardown(test_identity_is_fixed, setup, teardown),
	};

	return cmocka_run_group_tests(tests, start_etcd, stop_etcd);
}
