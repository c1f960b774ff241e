/*-------------------------------------------------------------------------
 *
 * test_trace.c
 *      Inputs survive the way through a trace field by field, passwords do
 *      not; a file is written as promised; the replay finds what differs.
 *-------------------------------------------------------------------------
 */
#include "node/trace.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define main replay_main
#include "sim/replay.c"
#undef main

static char directory[] = "/tmp/test_trace.XXXXXX";
static char path[64];

/* --- round trips --- */

/* Through text and back; the result must be freed. */
static TraceInput *
round_trip(const HaInput *input)
{
	TraceInput *result = calloc(1, sizeof(*result));
	json_t *json = trace_input_to_json(input);
	char *text = json_dumps(json, JSON_COMPACT);
	json_t *again = json_loads(text, 0, NULL);

	assert_non_null(again);
	assert_true(trace_input_from_json(result, trace_input_name(input->kind), again));
	assert_int_equal(result->input.kind, input->kind);
	json_decref(json);
	json_decref(again);
	free(text);
	return result;
}

static void
drop(TraceInput *input)
{
	trace_input_free(input);
	free(input);
}

/* Every byte 1, texts as long as they can be: a forgotten field shows as zeroes. */
#define fill(object) memset(object, 1, sizeof(*(object)))
#define end_text(text) ((text)[sizeof(text) - 1] = '\0')
#if defined(__has_builtin)
#if __has_builtin(__builtin_clear_padding)
#define clear_padding(object) __builtin_clear_padding(object)
#endif
#endif
#ifndef clear_padding
#error "a compiler with __builtin_clear_padding is needed"
#endif

static void
test_settings(void **state)
{
	static HaSettings settings;
	HaInput input = { .kind = HA_INPUT_SETTINGS, .settings = &settings };
	TraceInput *result;
	json_t *json;

	(void) state;
	fill(&settings);
	end_text(settings.name);
	end_text(settings.scope);
	end_text(settings.conn_url);
	end_text(settings.api_url);
	end_text(settings.proxy_url);
	end_text(settings.agent_version);
	end_text(settings.tags.replicatefrom);
	end_text(settings.tags_json);
	end_text(settings.permanent_slots);
	end_text(settings.ignore_slots);
	memset(settings.initial_config, 0, sizeof(settings.initial_config));
	clear_padding(&settings);
	result = round_trip(&input);
	assert_memory_equal(&result->settings, &settings, sizeof(settings));
	drop(result);

	/* of the configuration only that there is one */
	strcpy(settings.initial_config, "{\"ttl\": 30}");
	result = round_trip(&input);
	assert_string_equal(result->settings.initial_config, "{}");
	drop(result);

	/* what an older release wrote, and the engine has no use for any more, is skipped */
	result = calloc(1, sizeof(*result));
	json = trace_input_to_json(&input);
	assert_int_equal(json_object_set_new(json, "check_timeline", json_true()), 0);
	assert_true(trace_input_from_json(result, "settings", json));
	assert_string_equal(result->settings.initial_config, "{}");
	assert_int_equal(result->settings.ttl_ms, settings.ttl_ms);
	json_decref(json);
	drop(result);
}

static void
test_peer(void **state)
{
	static HaPeer peer;
	HaInput input = { .kind = HA_INPUT_PEER, .peer = &peer };
	TraceInput *result;

	(void) state;
	fill(&peer);
	end_text(peer.name);
	end_text(peer.refusal);
	clear_padding(&peer);
	result = round_trip(&input);
	assert_memory_equal(&result->peer, &peer, sizeof(peer));
	drop(result);
}

static void
test_command(void **state)
{
	static HaCommand command;
	HaInput input = { .kind = HA_INPUT_COMMAND, .command = &command };
	TraceInput *result;

	(void) state;
	fill(&command);
	end_text(command.member);
	end_text(command.leader);
	end_text(command.candidate);
	end_text(command.role);
	end_text(command.reason);
	end_text(command.postgres_version);
	clear_padding(&command);
	result = round_trip(&input);
	assert_memory_equal(&result->command, &command, sizeof(command));
	drop(result);
}

static void
test_postgres(void **state)
{
	static HaPostgres postgres;
	HaInput input = { .kind = HA_INPUT_POSTGRES, .postgres = &postgres };
	TraceInput *result;

	(void) state;
	postgres.data = HA_DATA_PRESENT;
	postgres.server = HA_SERVER_RUNNING;
	postgres.system_identifier = UINT64_C(17446744073709551615);
	postgres.timeline = 7;
	postgres.received_lsn = UINT64_C(0x7f00000000000000);
	/* cut within a character: the part that is one stays */
	strcpy(postgres.problem, "gr\xc3\xbc\xc3\x9f" "e \xc3");
	result = round_trip(&input);
	assert_string_equal(result->postgres.problem, "gr\xc3\xbc\xc3\x9f" "e ?");
	strcpy(postgres.problem, result->postgres.problem);
	assert_memory_equal(&result->postgres, &postgres, sizeof(postgres));
	drop(result);
}

static void
test_small_inputs(void **state)
{
	HaInput reply = { .kind = HA_INPUT_REPLY };
	HaInput task = { .kind = HA_INPUT_TASK };
	HaInput reachable = { .kind = HA_INPUT_REACHABLE };
	HaInput simple = { .kind = HA_INPUT_FENCE_LOST };
	TraceInput *result;

	(void) state;
	reply.reply.id = UINT64_MAX - 1;
	reply.reply.outcome = HA_OUTCOME_UNKNOWN;
	reply.reply.session_lost = true;
	reply.reply.sent_at_ms = INT64_MAX;
	reply.reply.version = 12;
	reply.reply.error = "http://root:secret@host: refused";
	result = round_trip(&reply);
	assert_true(result->input.reply.id == UINT64_MAX - 1);
	assert_int_equal(result->input.reply.outcome, HA_OUTCOME_UNKNOWN);
	assert_true(result->input.reply.session_lost);
	assert_true(result->input.reply.sent_at_ms == INT64_MAX);
	assert_int_equal(result->input.reply.version, 12);
	assert_string_equal(result->input.reply.error, "http://root:***@host: refused");
	drop(result);
	reply.reply.error = NULL;
	result = round_trip(&reply);
	assert_null(result->input.reply.error);
	drop(result);

	task.task.task = HA_TASK_REWIND;
	task.task.id = 3;
	task.task.outcome = HA_TASK_IMPOSSIBLE;
	task.task.divergence = HA_DIVERGENCE_REWIND;
	task.task.lsn = 0x5000028;
	task.task.message = "";
	result = round_trip(&task);
	assert_int_equal(result->input.task.task, HA_TASK_REWIND);
	assert_int_equal(result->input.task.id, 3);
	assert_int_equal(result->input.task.outcome, HA_TASK_IMPOSSIBLE);
	assert_int_equal(result->input.task.divergence, HA_DIVERGENCE_REWIND);
	assert_int_equal(result->input.task.lsn, 0x5000028);
	assert_string_equal(result->input.task.message, "");
	drop(result);

	reachable.reachable.is_reachable = true;
	reachable.reachable.reason = "why";
	result = round_trip(&reachable);
	assert_true(result->input.reachable.is_reachable);
	assert_string_equal(result->input.reachable.reason, "why");
	drop(result);

	simple.kind = HA_INPUT_PROMISE;
	simple.promise.until_ms = INT64_MAX;
	simple.promise.page_made_ms = 5;
	result = round_trip(&simple);
	assert_true(result->input.promise.until_ms == INT64_MAX);
	assert_int_equal(result->input.promise.page_made_ms, 5);
	drop(result);

	simple.kind = HA_INPUT_ASK_MEMBERS;
	drop(round_trip(&simple));
	simple.kind = HA_INPUT_FENCE_LOST;
	drop(round_trip(&simple));
	simple.kind = HA_INPUT_TICK;
	drop(round_trip(&simple));
}

static void
apply(ClusterView *view, json_t *document, const char *name, const char *value, uint64_t version)
{
	ClusterKey key = { .name = name, .value = value, .session = "77", .version = version };

	cluster_view_apply(view, &key);
	trace_view_add_key(document, &key);
}

static void
test_view(void **state)
{
	ClusterView view;
	TraceInput *result = calloc(1, sizeof(*result));
	json_t *document;
	char *text;
	char *before;
	char *after;

	(void) state;
	cluster_view_init(&view);
	view.is_loaded = true;
	view.revision = 99;
	document = trace_view_to_json(&view);
	apply(&view, document, "config", "{\"ttl\": 30, \"secret\": \"x\"}", 5);
	apply(&view, document, "failover", "{\"leader\": \"node1\", \"member\": \"node2\"}", 6);
	apply(&view, document, "history", "[[1, 67108960, \"no recovery target specified\"]]", 7);
	apply(&view, document, "initialize", "7123456789012345678", 8);
	apply(&view, document, "leader", "node1", 9);
	apply(&view, document, "members/node1",
	      "{\"conn_url\": \"postgres://u:secret@h:5432/postgres\", \"state\": \"running\"}", 10);
	apply(&view, document, "promotions", "{\"2\": {\"name\": \"node2\", \"from\": 1, \"lsn\": 3}}", 11);
	apply(&view, document, "requests/node1", "{\"id\": \"r1\", \"command\": \"restart\"}", 12);
	apply(&view, document, "status", "{\"optime\": 67108960}", 13);
	apply(&view, document, "something", "secret", 14);
	text = json_dumps(document, 0);
	assert_null(strstr(text, "secret"));
	free(text);
	assert_true(trace_input_from_json(result, "cluster", document));

	assert_true(result->view.is_loaded);
	assert_int_equal(result->view.revision, 99);
	assert_int_equal(result->view.config_version, 5);
	assert_string_equal(result->view.config_json, "{}");
	assert_int_equal(result->view.leader_version, 9);
	assert_string_equal(result->view.leader_session, "77");
	assert_int_equal(result->view.failover.version, 6);
	assert_int_equal(result->view.taken_version, 11);
	assert_int_equal(result->view.n_requests, 1);
	assert_string_equal(result->view.members[0].conn_url, "postgres://u:***@h:5432/postgres");
	strcpy(view.members[0].conn_url, result->view.members[0].conn_url);
	strcpy(view.config_json, "{}");
	before = cluster_view_to_json(&view);
	after = cluster_view_to_json(&result->view);
	assert_string_equal(before, after);
	free(before);
	free(after);
	json_decref(document);
	cluster_view_free(&view);
	drop(result);
}

static void
test_change(void **state)
{
	json_t *before = json_pack("{s:i, s:i, s:s}", "a", 1, "b", 2, "c", "x");
	json_t *now = json_pack("{s:i, s:i, s:s}", "a", 1, "b", 3, "d", "y");
	json_t *change = trace_change(before, now);

	(void) state;
	assert_int_equal(json_object_size(json_object_get(change, "set")), 2);
	assert_true(trace_apply_change(before, change));
	assert_true(json_equal(before, now));
	assert_null(trace_change(before, now));
	assert_true(trace_apply_change(before, NULL));
	assert_false(trace_apply_change(before, change)); /* "c" is gone already */
	json_decref(before);
	json_decref(now);
	json_decref(change);
}

static void
test_scrub(void **state)
{
	static const char *const cases[][2] = {
		{ "postgres://user:secret@host:5432/db", "postgres://user:***@host:5432/db" },
		{ "postgres://user@host:5432/db", "postgres://user@host:5432/db" },
		{ "postgres://host:5432/db and http://a:b@c", "postgres://host:5432/db and http://a:***@c" },
		{ "host=a password=secret user=b", "host=a password=*** user=b" },
		{ "password='se cr\\'et' user=b", "password=*** user=b" },
		{ "://:@", "://:***@" },
		{ "", "" },
	};

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		char *once = trace_scrub(cases[i][0]);
		char *twice = trace_scrub(once);

		assert_string_equal(once, cases[i][1]);
		assert_string_equal(twice, once);
		free(once);
		free(twice);
	}
}

/* --- a file --- */

/* An engine with a supervisor's first steps, recorded. */
static void
record(int64_t limit)
{
	HaNode *node = ha_node_create(HA_HOME_SUPERVISOR);
	HaSettings *settings = calloc(1, sizeof(*settings));
	HaPostgres *postgres = calloc(1, sizeof(*postgres));
	ClusterView view;
	HaInput inputs[5];
	HaActions actions;
	Trace *trace;
	Error error;
	bool ok;

	error_clear(&error);
	strcpy(settings->name, "node1");
	strcpy(settings->scope, "test");
	strcpy(settings->initial_config, "{\"password\": \"secret\"}");
	settings->ttl_ms = 3000;
	settings->loop_wait_ms = settings->retry_timeout_ms = 1000;
	settings->may_bootstrap = true;
	postgres->data = HA_DATA_EMPTY;
	postgres->server = HA_SERVER_STOPPED;
	cluster_view_init(&view);
	view.is_loaded = true;
	memset(inputs, 0, sizeof(inputs));
	inputs[0].kind = HA_INPUT_SETTINGS;
	inputs[0].settings = settings;
	inputs[1].kind = HA_INPUT_POSTGRES;
	inputs[1].postgres = postgres;
	inputs[2].kind = HA_INPUT_CLUSTER;
	inputs[2].view = &view;
	inputs[3].kind = HA_INPUT_POSTGRES;
	inputs[3].postgres = postgres;
	inputs[4].kind = HA_INPUT_TICK;

	if (!trace_open(&trace, path, HA_HOME_SUPERVISOR, limit, &error))
		fail_msg("%s", error.message);
	ha_actions_init(&actions);
	assert_false(trace_has_begun(trace));
	ok = trace_begin(trace, 1000, 5000, &error);
	assert_true(trace_has_begun(trace));
	ok = ok && ha_node_load(node, NULL, 1000) && trace_load(trace, 1000, 5000, NULL, true, &error);
	for (int i = 0; ok && i < 5; i++)
	{
		inputs[i].wall_ms = 5000 + i;
		ha_step(node, 1000 + i, &inputs[i], &actions);
		ok = trace_step(trace, 1000 + i, &inputs[i], NULL, node, &actions, &error);
	}
	if (limit == TRACE_LIMIT)
		assert_true(ok);
	else
	{
		assert_false(ok);
		assert_non_null(strstr(error.message, "could not write"));
		/* nothing follows what could not be written */
		assert_false(trace_begin(trace, 1, 1, &error));
	}
	trace_close(trace);
	ha_actions_free(&actions);
	ha_node_free(node);
	free(settings);
	free(postgres);
}

static char *
contents(void)
{
	static char text[1024 * 1024];
	FILE *file = fopen(path, "r");
	size_t length = fread(text, 1, sizeof(text) - 1, file);

	fclose(file);
	text[length] = '\0';
	return text;
}

static char said[65536];

static int
replay_text(const char *text)
{
	FILE *in = fmemopen((char *) text, strlen(text), "r");
	FILE *out = fmemopen(said, sizeof(said), "w");
	int result = replay_trace(in, out, false, NULL);

	fclose(in);
	fclose(out);
	return result;
}

/* The text with one word replaced by another, the first time it comes. */
static char *
changed(const char *text, const char *from, const char *to)
{
	const char *at = strstr(text, from);
	char *result;

	assert_non_null(at);
	assert_true(asprintf(&result, "%.*s%s%s", (int) (at - text), text, to, at + strlen(from)) > 0);
	return result;
}

static void
test_replay(void **state)
{
	char *text;
	char *other;

	(void) state;
	unlink(path);
	record(TRACE_LIMIT);
	text = contents();
	assert_null(strstr(text, "secret"));
	assert_non_null(strstr(text, "\"do\":\"create key\""));
	assert_int_equal(replay_text(text), REPLAY_SAME);
	assert_non_null(strstr(said, "5 steps, all decisions the same\n"));

	/* the last line cut short */
	other = strdup(text);
	other[strlen(other) - 10] = '\0';
	assert_int_equal(replay_text(other), REPLAY_SAME);
	assert_non_null(strstr(said, "is cut short"));
	assert_non_null(strstr(said, "4 steps, all decisions the same\n"));
	free(other);

	/* another answer, another decision, another input */
	other = changed(text, "\"do\":\"wake at\"", "\"do\":\"promote\"");
	assert_int_equal(replay_text(other), REPLAY_DIFFERENT);
	assert_non_null(strstr(said, "recorded action"));
	free(other);
	other = changed(text, "\"state\":\"stopped\"", "\"state\":\"running\"");
	assert_int_equal(replay_text(other), REPLAY_DIFFERENT);
	free(other);
	other = changed(text, "\"loop_wait_ms\":1000", "\"loop_wait_ms\":1001");
	assert_int_equal(replay_text(other), REPLAY_DIFFERENT);
	free(other);
	other = changed(text, "\"usable\":true", "\"usable\":false");
	assert_int_equal(replay_text(other), REPLAY_DIFFERENT);
	free(other);

	/* a line that is damaged, and what follows it */
	other = changed(text, "\"n\":3,", "\"n\":3 ");
	assert_int_equal(replay_text(other), REPLAY_UNUSABLE);
	assert_non_null(strstr(said, "cannot be followed: lines are missing"));
	free(other);
	assert_int_equal(replay_text(strchr(text, '\n') + 1), REPLAY_UNUSABLE);
	assert_non_null(strstr(said, "its beginning is not in the trace"));
	assert_int_equal(replay_text("nonsense\n"), REPLAY_UNUSABLE);
	assert_int_equal(replay_text("[]\n{\"trace\":\"step\"}\n"), REPLAY_UNUSABLE);

	/* a second life, of a process with the same number */
	record(TRACE_LIMIT);
	assert_int_equal(replay_text(contents()), REPLAY_SAME);
	assert_non_null(strstr(said, "10 steps, all decisions the same\n"));
}

static void
test_limit(void **state)
{
	struct stat st;

	(void) state;
	unlink(path);
	record(2000);
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_size > 100 && st.st_size <= 2000);
}

static void
write_file(const char *text, mode_t mode)
{
	FILE *file = fopen(path, "w");

	fputs(text, file);
	fclose(file);
	chmod(path, mode);
}

static void
test_file(void **state)
{
	char link_path[80];
	struct stat st;
	Trace *trace;
	Error error;

	(void) state;
	error_clear(&error);
	unlink(path);
	umask(0);
	assert_true(trace_open(&trace, path, HA_HOME_WORKER, TRACE_LIMIT, &error));
	assert_string_equal(trace_path(trace), path);
	trace_close(trace);
	stat(path, &st);
	assert_int_equal(st.st_mode & 07777, 0600);

	/* an earlier trace goes on, and becomes private */
	write_file("{\"trace\":\"begin\"}\n", 0644);
	assert_true(trace_open(&trace, path, HA_HOME_WORKER, TRACE_LIMIT, &error));
	trace_close(trace);
	stat(path, &st);
	assert_int_equal(st.st_mode & 07777, 0600);

	/* what is no trace is left alone */
	write_file("15\n", 0644);
	assert_false(trace_open(&trace, path, HA_HOME_WORKER, TRACE_LIMIT, &error));
	assert_non_null(strstr(error.message, "something else"));
	assert_null(trace);
	stat(path, &st);
	assert_int_equal(st.st_mode & 07777, 0644);

	snprintf(link_path, sizeof(link_path), "%s.link", path);
	assert_int_equal(symlink(path, link_path), 0);
	assert_false(trace_open(&trace, link_path, HA_HOME_WORKER, TRACE_LIMIT, &error));
	unlink(link_path);
	assert_int_equal(mkfifo(link_path, 0600), 0);
	assert_false(trace_open(&trace, link_path, HA_HOME_WORKER, TRACE_LIMIT, &error));
	unlink(link_path);
	assert_false(trace_open(&trace, directory, HA_HOME_WORKER, TRACE_LIMIT, &error));
	trace_close(NULL);
}

static int
setup(void **state)
{
	(void) state;
	if (mkdtemp(directory) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/trace", directory);
	return 0;
}

static int
teardown(void **state)
{
	(void) state;
	unlink(path);
	return rmdir(directory);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_settings), cmocka_unit_test(test_peer),
		cmocka_unit_test(test_command),  cmocka_unit_test(test_postgres),
		cmocka_unit_test(test_small_inputs), cmocka_unit_test(test_view),
		cmocka_unit_test(test_change),   cmocka_unit_test(test_scrub),
		cmocka_unit_test(test_replay),   cmocka_unit_test(test_limit),
		cmocka_unit_test(test_file),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
