/*-------------------------------------------------------------------------
 *
 * test_switchover.c
 *      POST /switchover and POST /failover: which request is refused how, what
 *      is written, and what later views of the cluster make of it.
 *-------------------------------------------------------------------------
 */
#include "rest/switchover.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOW_MS INT64_C(1767225600000) /* 2026-01-01 00:00 UTC */

typedef struct Scene
{
	Settings settings;
	ClusterView view;
	uint64_t version;
	RestMove move;
	RestResult result;
} Scene;

static void
put_key(Scene *scene, const char *name, const char *value)
{
	ClusterKey key = { .name = name, .value = value, .session = "", .version = ++scene->version };

	cluster_view_apply(&scene->view, &key);
	scene->view.is_loaded = true;
	scene->view.revision = scene->version;
}

static void
put_member(Scene *scene, const char *name, const char *rest)
{
	char key[64];
	char value[256];

	snprintf(key, sizeof(key), "members/%s", name);
	snprintf(value, sizeof(value), "{\"api_url\":\"http://10.0.0.1:8008/patroni\",%s}", rest);
	put_key(scene, key, value);
}

static int
setup(void **state)
{
	Scene *scene = calloc(1, sizeof(Scene));

	settings_init(&scene->settings);
	cluster_view_init(&scene->view);
	put_key(scene, "leader", "node1");
	put_member(scene, "node1", "\"state\":\"running\",\"role\":\"primary\"");
	put_member(scene, "node2", "\"state\":\"running\",\"role\":\"replica\"");
	put_member(scene, "node3", "\"state\":\"running\",\"role\":\"replica\"");
	put_member(scene, "shy", "\"state\":\"running\",\"tags\":{\"nofailover\":true}");
	put_member(scene, "dead", "\"state\":\"stopped\"");
	*state = scene;
	return 0;
}

static int
teardown(void **state)
{
	Scene *scene = *state;

	settings_free(&scene->settings);
	cluster_view_free(&scene->view);
	free(scene);
	return 0;
}

static bool
check(Scene *scene, bool is_switchover, const char *text)
{
	json_t *body = json_loads(text, 0, NULL);
	bool ok;

	assert_non_null(body);
	ok = move_check(&scene->move, is_switchover, body, &scene->settings, &scene->view, NOW_MS,
					&scene->result);
	json_decref(body);
	return ok;
}

static void
expect(Scene *scene, bool is_switchover, const char *body, int status, const char *text)
{
	if (check(scene, is_switchover, body))
		fail_msg("%s was accepted", body);
	assert_int_equal(scene->result.status, status);
	if (text == NULL)
		assert_null(scene->result.text);
	else
		assert_string_equal(scene->result.text, text);
}

#define SWITCHOVER true
#define FAILOVER   false

static void
test_refusals(void **state)
{
	Scene *scene = *state;
	const char *no_leader = "Switchover could be performed only from a specific leader";
	const char *no_candidate = "Failover could be performed only to a specific candidate";
	const char *none_good = "switchover is not possible: no good candidates have been found";
	char long_name[400];

	expect(scene, SWITCHOVER, "{\"candidate\":\"node2\"}", 400, no_leader);
	expect(scene, SWITCHOVER, "{\"leader\":null,\"member\":\"node2\"}", 400, no_leader);
	expect(scene, FAILOVER, "{\"leader\":\"node1\"}", 400, no_candidate);
	expect(scene, FAILOVER, "{\"candidate\":\"node2\",\"scheduled_at\":\"2030-01-01T00:00Z\"}", 400,
		   "Failover can't be scheduled");
	expect(scene, SWITCHOVER, "{\"leader\":\"node1\",\"scheduled_at\":\"2030-01-01T00:00\"}", 400,
		   "Timezone information is mandatory for the scheduled switchover");
	expect(scene, SWITCHOVER, "{\"leader\":\"node1\",\"scheduled_at\":\"2020-01-01T00:00Z\"}", 422,
		   "Cannot schedule switchover in the past");
	expect(scene, SWITCHOVER, "{\"leader\":\"node1\",\"scheduled_at\":\"soon\"}", 422,
		   "Unable to parse scheduled timestamp. It should be in an unambiguous format, e.g. "
		   "ISO 8601");
	expect(scene, SWITCHOVER, "{\"leader\":\"node1\",\"candidate\":\"node1\"}", 400,
		   "Switchover target and source are the same");
	expect(scene, SWITCHOVER, "{\"leader\":\"node2\"}", 412, "leader name does not match");
	expect(scene, FAILOVER, "{\"leader\":\"node2\",\"candidate\":\"node3\"}", 412,
		   "leader name does not match");
	expect(scene, FAILOVER, "{\"candidate\":\"node9\"}", 412, "candidate does not exists");
	expect(scene, SWITCHOVER, "{\"leader\":\"node1\",\"candidate\":\"shy\"}", 412, none_good);
	expect(scene, SWITCHOVER, "{\"leader\":\"node1\",\"candidate\":\"dead\"}", 412, none_good);
	expect(scene, FAILOVER, "{\"candidate\":\"shy\"}", 412,
		   "failover is not possible: no good candidates have been found");
	put_key(scene, "members/node2", NULL);
	put_key(scene, "members/node3", NULL);
	expect(scene, SWITCHOVER, "{\"leader\":\"node1\"}", 412, none_good);
	put_key(scene, "members/shy", NULL);
	put_key(scene, "members/dead", NULL);
	expect(scene, SWITCHOVER, "{\"leader\":\"node1\"}", 412,
		   "switchover is not possible: cluster does not have members except leader");

	/* what is no name at all */
	expect(scene, SWITCHOVER, "{\"leader\":1}", 400, NULL);
	expect(scene, SWITCHOVER, "{\"leader\":\"node1\",\"scheduled_at\":[]}", 400, NULL);
	snprintf(long_name, sizeof(long_name), "{\"leader\":\"%0300d\"}", 1);
	expect(scene, SWITCHOVER, long_name, 400, NULL);
}

static void
test_paused(void **state)
{
	Scene *scene = *state;

	scene->settings.is_paused = true;
	expect(scene, SWITCHOVER, "{\"leader\":\"node1\"}", 400,
		   "Switchover is possible only to a specific candidate in a paused state");
	expect(scene, SWITCHOVER,
		   "{\"leader\":\"node1\",\"candidate\":\"node2\",\"scheduled_at\":\"2030-01-01T00:00Z\"}",
		   400, "Can't schedule switchover in the paused state");
	assert_true(check(scene, SWITCHOVER, "{\"leader\":\"node1\",\"candidate\":\"node2\"}"));
}

static void
test_synchronous(void **state)
{
	Scene *scene = *state;

	scene->settings.synchronous_mode = SYNC_MODE_ON;
	expect(scene, SWITCHOVER, "{\"leader\":\"node1\"}", 412,
		   "switchover is not possible: can not find sync_standby");
	put_key(scene, "sync", "{\"leader\":\"node1\",\"sync_standby\":\"node9,NODE2\"}");
	expect(scene, SWITCHOVER, "{\"leader\":\"node1\",\"candidate\":\"node3\"}", 412,
		   "candidate name does not match with sync_standby");
	assert_true(check(scene, SWITCHOVER, "{\"leader\":\"node1\",\"candidate\":\"node2\"}"));
	assert_true(check(scene, SWITCHOVER, "{\"leader\":\"node1\"}"));
	/* a failover may go to any member, and quorum mode leaves it to the leader */
	assert_true(check(scene, FAILOVER, "{\"candidate\":\"node3\"}"));
	scene->settings.synchronous_mode = SYNC_MODE_QUORUM;
	assert_true(check(scene, SWITCHOVER, "{\"leader\":\"node1\",\"candidate\":\"node3\"}"));
}

static void
test_schedule(void **state)
{
	Scene *scene = *state;
	char *text;

	/* the candidate need not be there yet */
	assert_true(check(scene, SWITCHOVER,
					  "{\"leader\":\"node1\",\"candidate\":\"node9\","
					  "\"scheduled_at\":\"2030-01-14T12:00:00+02:00\"}"));
	text = failover_to_text(&scene->move.request);
	assert_true(json_text_equal(text, "{\"leader\":\"node1\",\"member\":\"node9\","
									  "\"scheduled_at\":\"2030-01-14T10:00:00.000000+00:00\"}"));
	free(text);
	assert_true(move_look(&scene->move, &scene->view, &scene->result));
	assert_int_equal(scene->result.status, 202);
	assert_string_equal(scene->result.text, "Switchover scheduled");
}

/* The request is in the store, under the next version. */
static void
written(Scene *scene)
{
	char *text = failover_to_text(&scene->move.request);

	assert_int_equal(scene->move.request.version, scene->view.failover.version);
	scene->move.version = scene->version + 1;
	/* an old view, in which the key is still empty, is no end */
	assert_false(move_look(&scene->move, &scene->view, &scene->result));
	put_key(scene, "failover", text);
	free(text);
	assert_false(move_look(&scene->move, &scene->view, &scene->result));
}

static void
ends(Scene *scene, int status, const char *text)
{
	assert_true(move_look(&scene->move, &scene->view, &scene->result));
	assert_int_equal(scene->result.status, status);
	assert_string_equal(scene->result.text, text);
}

static void
test_success(void **state)
{
	Scene *scene = *state;

	assert_true(check(scene, SWITCHOVER, "{\"leader\":\"node1\",\"candidate\":\"node2\"}"));
	written(scene);
	put_key(scene, "leader", NULL);
	assert_false(move_look(&scene->move, &scene->view, &scene->result));
	put_key(scene, "leader", "node2");
	ends(scene, 200, "Successfully switched over to \"node2\"");
	put_key(scene, "leader", "node3");
	ends(scene, 200, "Switched over to \"node3\" instead of \"node2\"");
}

/* Patroni's old command names the leader of a failover: a switchover then. */
static void
test_failover(void **state)
{
	Scene *scene = *state;

	assert_true(check(scene, FAILOVER, "{\"leader\":\"node1\",\"member\":\"node2\"}"));
	assert_true(scene->move.is_switchover);
	put_key(scene, "leader", NULL);
	assert_true(check(scene, FAILOVER, "{\"candidate\":\"node2\"}"));
	assert_string_equal(scene->move.request.leader, "");
	written(scene);
	put_key(scene, "leader", "node1");
	ends(scene, 200, "Failed over to \"node1\" instead of \"node2\"");
	put_key(scene, "leader", "node2");
	ends(scene, 200, "Successfully failed over to \"node2\"");
}

static void
test_failure(void **state)
{
	Scene *scene = *state;

	/* the reason of an earlier refusal is not ours */
	put_key(scene, "failover", "{\"refused\":\"too late\"}");
	assert_true(check(scene, SWITCHOVER, "{\"leader\":\"node1\"}"));
	written(scene);
	put_key(scene, "failover", "{\"refused\":\"no mood\"}");
	ends(scene, 503, "Switchover failed: no mood");
	put_key(scene, "failover", "{}");
	ends(scene, 503, "Switchover failed");

	assert_true(check(scene, FAILOVER, "{\"candidate\":\"node2\"}"));
	written(scene);
	put_key(scene, "failover", NULL);
	ends(scene, 503, "Failover failed");
	move_time_out(&scene->move, 20, &scene->result);
	assert_int_equal(scene->result.status, 503);
	assert_string_equal(
		scene->result.text,
		"Failover status unknown after 20 seconds; operation may still be in progress");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(test_paused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_synchronous, setup, teardown),
		cmocka_unit_test_setup_teardown(test_schedule, setup, teardown),
		cmocka_unit_test_setup_teardown(test_success, setup, teardown),
		cmocka_unit_test_setup_teardown(test_failover, setup, teardown),
		cmocka_unit_test_setup_teardown(test_failure, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
