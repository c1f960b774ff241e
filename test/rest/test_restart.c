/*-------------------------------------------------------------------------
 *
 * test_restart.c
 *      POST /restart and POST /reinitialize: which request is refused how, what
 *      the engine is told, and what becomes of its refusals.
 *-------------------------------------------------------------------------
 */
#include "rest/restart.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOW_MS INT64_C(1767225600000) /* 2026-01-01 00:00 UTC */

static Settings settings;
static RestRestart restart;
static RestResult result;

static int
setup(void **state)
{
	(void) state;
	settings_init(&settings);
	strcpy(settings.name, "node1");
	return 0;
}

static int
teardown(void **state)
{
	(void) state;
	settings_free(&settings);
	return 0;
}

static bool
check(const char *body)
{
	json_t *json = json_loads(body, 0, NULL);
	bool ok;

	assert_non_null(json);
	memset(&result, 0, sizeof(result));
	ok = restart_check(&restart, json, &settings, NOW_MS, &result);
	json_decref(json);
	return ok;
}

/* Texts as Patroni has them. */
static const struct
{
	const char *body;
	int status;
	const char *text;
} refusals[] = {
	{ "{\"schedule\":\"2027-01-01T00:00:00\"}", 400,
	  "Timezone information is mandatory for the scheduled restart" },
	{ "{\"schedule\":\"2025-01-01T00:00:00+00:00\"}", 422, "Cannot schedule restart in the past" },
	{ "{\"schedule\":\"soon\"}", 422,
	  "Unable to parse scheduled timestamp. It should be in an unambiguous format, e.g. ISO 8601" },
	{ "{\"schedule\":5}", 422,
	  "Unable to parse scheduled timestamp. It should be in an unambiguous format, e.g. ISO 8601" },
	{ "{\"role\":\"boss\"}", 400,
	  "PostgreSQL role should be either primary, standby_leader, or replica" },
	{ "{\"role\":null}", 400,
	  "PostgreSQL role should be either primary, standby_leader, or replica" },
	{ "{\"postgres_version\":\"a.b\"}", 400, "Invalid PostgreSQL version: a.b" },
	{ "{\"postgres_version\":\"<b>\"}", 400, "Invalid PostgreSQL version: ?b?" },
	{ "{\"postgres_version\":16}", 400, "Invalid PostgreSQL version: ?" },
	{ "{\"postgres_version\":\"16\"}", 400,
	  "Invalid PostgreSQL version format: X.Y or X.Y.Z is accepted: 16" },
	{ "{\"postgres_version\":\"9.6\"}", 400,
	  "Invalid PostgreSQL version format: X.Y or X.Y.Z is accepted: 9.6" },
	{ "{\"timeout\":0}", 400, "Timeout should be a positive number of seconds" },
	{ "{\"timeout\":\"-5s\"}", 400, "Timeout should be a positive number of seconds" },
	{ "{\"timeout\":\"long\"}", 400, "Timeout should be a positive number of seconds" },
	{ "{\"when\":1}", 400, "Unknown filter for the scheduled restart: when" },
	{ "{\"<when>\":1}", 400, "Unknown filter for the scheduled restart" },
	/* the first one that is wrong counts */
	{ "{\"timeout\":0,\"role\":\"boss\"}", 400, "Timeout should be a positive number of seconds" },
	{ "{\"role\":\"boss\",\"timeout\":0}", 400,
	  "PostgreSQL role should be either primary, standby_leader, or replica" },
};

static void
test_refusals(void **state)
{
	(void) state;
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++)
	{
		if (check(refusals[i].body))
			fail_msg("%s was taken", refusals[i].body);
		assert_int_equal(result.status, refusals[i].status);
		assert_string_equal(result.text, refusals[i].text);
	}
	settings.is_paused = true;
	assert_false(check("{\"schedule\":\"2027-01-01T00:00:00+00:00\"}"));
	assert_int_equal(result.status, 500);
	assert_string_equal(result.text, "Can't schedule restart in the paused state");
	assert_true(check("{}"));
}

static void
test_command(void **state)
{
	const HaCommand *command = &restart.command;

	(void) state;
	assert_true(check("{}"));
	assert_int_equal(command->kind, HA_COMMAND_RESTART);
	assert_false(command->is_scheduled);
	assert_string_equal(command->role, "");
	assert_true(check("{\"schedule\":\"2026-01-01T02:00:00+01:00\",\"role\":\"master\","
	                  "\"postgres_version\":\"16.4\",\"timeout\":\"2min\",\"restart_pending\":false}"));
	assert_true(command->is_scheduled);
	assert_int_equal(command->scheduled_at_ms, NOW_MS + 3600000);
	assert_string_equal(command->role, "primary");
	assert_string_equal(command->postgres_version, "16.4");
	assert_int_equal(command->version_below, 160004);
	assert_int_equal(command->timeout_ms, 120000);
	assert_true(command->only_pending);
}

static void
test_reinitialize(void **state)
{
	ClusterView view;
	ClusterKey key = { .name = "leader", .value = "node2", .session = "", .version = 1 };
	json_t *body = json_pack("{s:b, s:s}", "force", 1, "from_leader", "on");
	json_t *wrong = json_pack("{s:s}", "force", "perhaps");

	(void) state;
	cluster_view_init(&view);
	view.is_loaded = true;
	assert_false(reinitialize_check(&restart, body, &settings, &view, &result));
	assert_int_equal(result.status, 503);
	assert_string_equal(result.text, "Cluster has no leader, can not reinitialize");
	cluster_view_apply(&view, &key);
	assert_false(reinitialize_check(&restart, wrong, &settings, &view, &result));
	assert_int_equal(result.status, 400);
	assert_true(reinitialize_check(&restart, body, &settings, &view, &result));
	assert_int_equal(restart.command.kind, HA_COMMAND_REINITIALIZE);
	assert_true(restart.command.force);
	assert_true(restart.command.from_leader);
	strcpy(settings.name, "node2");
	assert_false(reinitialize_check(&restart, body, &settings, &view, &result));
	assert_string_equal(result.text, "I am the leader, can not reinitialize");
	cluster_view_free(&view);
	json_decref(body);
	json_decref(wrong);
}

static void
refused(const char *sqlstate, const char *detail, int status, const char *text)
{
	restart_refused(&restart, sqlstate, detail, &result);
	assert_int_equal(result.status, status);
	assert_string_equal(result.text, text);
}

static void
test_engine_refusals(void **state)
{
	(void) state;
	assert_true(check("{}"));
	refused("55000", "No restart is pending.", 503,
	        "restart conditions are not satisfied: no restart is pending");
	refused("55006", "Restart already in progress.", 503, "restart already in progress");
	refused("57P03", "The server is not running.", 503, "postgres is still starting");
	refused(NULL, NULL, 503, "restart failed");
	assert_true(check("{\"schedule\":\"2027-01-01T00:00:00+00:00\"}"));
	refused("55006", "Another restart is already scheduled.", 409,
	        "Another restart is already scheduled");
	restart.command.kind = HA_COMMAND_FLUSH_RESTART;
	refused("42704", "", 404, "no restarts are scheduled");
	restart.command.kind = HA_COMMAND_REINITIALIZE;
	refused(NULL, NULL, 503, "nothing in this member took the request up in time");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(test_command, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reinitialize, setup, teardown),
		cmocka_unit_test_setup_teardown(test_engine_refusals, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
