/*-------------------------------------------------------------------------
 *
 * test_slots.c
 *      Tests src/ha/slot_plan.c: which replication slots a member shall have.
 *
 *-------------------------------------------------------------------------
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ha/slot_plan.h"

static HaSettings settings;
static SlotConfigs configs;
static ClusterView view;
static SlotPlan plan;

static void
put(const char *name, const char *value)
{
	ClusterKey	key = {.name = name, .value = value, .session = "1", .version = 1};

	cluster_view_apply(&view, &key);
}

static int
set_up(void **state)
{
	(void) state;
	memset(&settings, 0, sizeof(settings));
	strcpy(settings.name, "node1");
	settings.member_slots_ttl_ms = 1800000;
	cluster_view_init(&view);
	put("leader", "node1");
	put("members/node1", "{\"xlog_location\":100}");
	put("members/node2", "{\"xlog_location\":90}");
	put("members/node-3", "{\"xlog_location\":80}");
	slot_configs_read(&configs, "", "");
	return 0;
}

static int
tear_down(void **state)
{
	(void) state;
	cluster_view_free(&view);
	return 0;
}

/* The names of the plan, sorted as they are. */
static const char *
names(bool is_primary)
{
	static char text[4096];

	slot_plan_make(&plan, &settings, &configs, &view, is_primary);
	text[0] = '\0';
	for (int i = 0; i < plan.n; i++)
	{
		strcat(text, i > 0 ? " " : "");
		strcat(text, plan.items[i].name);
	}
	return text;
}

static void
has_one_for_each_other_member(void **state)
{
	(void) state;
	assert_string_equal(names(true), "node_3 node2");
	assert_true(plan.items[0].is_used_here && plan.items[1].is_used_here);
	assert_string_equal(plan.items[0].member, "node-3");
	strcpy(settings.name, "node2");
	assert_string_equal(names(false), "node_3 node1");
	assert_false(plan.items[0].is_used_here || plan.items[1].is_used_here);
	put("members/node-3", "{\"tags\":{\"nostream\":true}}");
	assert_string_equal(names(false), "node1");
}

static void
with_ttl_zero_only_those_in_use(void **state)
{
	(void) state;
	settings.member_slots_ttl_ms = 0;
	assert_string_equal(names(true), "node_3 node2");
	put("members/node-3", "{\"tags\":{\"replicatefrom\":\"node2\"}}");
	assert_string_equal(names(true), "node2");
	strcpy(settings.name, "node2");
	assert_string_equal(names(false), "node_3");
	assert_true(plan.items[0].is_used_here);
	/* whom it would stream from is gone: it streams from the leader */
	put("members/node2", NULL);
	strcpy(settings.name, "node1");
	assert_string_equal(names(true), "node_3");
}

static void
nofailover_needs_none_but_for_its_own(void **state)
{
	(void) state;
	strcpy(settings.name, "node2");
	settings.tags.nofailover = true;
	slot_configs_read(&configs, "{\"a\":null,\"l\":{\"type\":\"logical\",\"database\":\"d\",\"plugin\":\"p\"}}", "");
	put("status", "{\"optime\":5,\"retain_slots\":[\"gone\"]}");
	assert_string_equal(names(false), "");
	put("members/node-3", "{\"tags\":{\"replicatefrom\":\"node2\"}}");
	assert_string_equal(names(false), "node_3");
	/* promoted by hand */
	assert_string_equal(names(true), "node_3 node1 a l");
}

static void
permanent_slots(void **state)
{
	const WantedSlot *slot;

	(void) state;
	slot_configs_read(&configs,
					  "{\"arch\":{\"type\":\"physical\"},\"plain\":null,"
					  "\"feed\":{\"type\":\"logical\",\"database\":\"app\",\"plugin\":\"pgoutput\"},"
					  "\"dr\":{\"type\":\"physical\",\"cluster_type\":\"standby\"},"
					  "\"node1\":{\"type\":\"physical\"},\"node2\":{\"type\":\"physical\"}}", "");
	assert_string_equal(configs.problem, "");
	put("status", "{\"optime\":100,\"slots\":{\"feed\":77,\"arch\":50}}");
	assert_string_equal(names(true), "node_3 node2 arch plain feed");
	slot = slot_plan_find(&plan, "feed");
	assert_true(slot->is_logical && slot->reason == SLOT_PERMANENT && slot->lsn == 77);
	assert_string_equal(slot->database, "app");
	assert_string_equal(slot->plugin, "pgoutput");
	/* one slot for both; on a standby nobody moves it */
	assert_int_equal(slot_plan_find(&plan, "node2")->reason, SLOT_PERMANENT);
	strcpy(settings.name, "node-3");
	assert_string_equal(names(false), "node1 node2 arch plain feed");
	assert_false(slot_plan_find(&plan, "arch")->is_used_here);
	assert_int_equal(slot_plan_find(&plan, "arch")->lsn, 50);
	settings.tags.nostream = true;
	assert_string_equal(names(false), "node1 node2 arch plain");
}

static void
wrong_entries_are_said(void **state)
{
	static const struct
	{
		const char *text;
		const char *says;
	}			cases[] = {
		{"{\"Bad-Name\":null}", "1 to 63 characters"},
		{"{\"a\":{\"type\":\"logical\",\"database\":\"d\"}}", "needs \"database\" and \"plugin\""},
		{"{\"a\":{\"type\":\"other\"}}", "neither physical nor logical"},
	};
	char		many[8192] = "{";

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		slot_configs_read(&configs, cases[i].text, "");
		assert_int_equal(configs.n_slots, 0);
		assert_non_null(strstr(configs.problem, cases[i].says));
	}
	for (int i = 0; i < SLOT_CONFIG_MAX + 1; i++)
		sprintf(many + strlen(many), "%s\"s%d\":null", i > 0 ? "," : "", i);
	strcat(many, "}");
	slot_configs_read(&configs, many, "");
	assert_int_equal(configs.n_slots, SLOT_CONFIG_MAX);
	assert_non_null(strstr(configs.problem, "more than"));
	slot_configs_read(&configs, "nonsense", "nonsense");
	assert_int_equal(configs.n_slots + configs.n_matchers, 0);
}

static void
conflicts_are_said(void **state)
{
	(void) state;
	slot_configs_read(&configs, "{\"node2\":{\"type\":\"logical\",\"database\":\"d\",\"plugin\":\"p\"}}", "");
	assert_string_equal(names(true), "node_3 node2");
	assert_false(slot_plan_find(&plan, "node2")->is_logical);
	assert_non_null(strstr(plan.conflict, "\"node2\""));
	/* on that member, too */
	strcpy(settings.name, "node2");
	assert_string_equal(names(false), "node_3 node1");
	assert_string_not_equal(plan.conflict, "");
	slot_configs_read(&configs, "", "");
	strcpy(settings.name, "node1");
	put("members/node.3", "{}");
	assert_string_equal(names(true), "node_3 node2");
	assert_non_null(strstr(plan.conflict, "share"));
}

static void
members_that_were_there_lately(void **state)
{
	(void) state;
	strcpy(settings.name, "node2");
	put("status", "{\"optime\":100,\"slots\":{\"node4\":60},\"retain_slots\":[\"node1\",\"node2\",\"node4\",\"No\"]}");
	assert_string_equal(names(false), "node_3 node1 node4");
	assert_int_equal(slot_plan_find(&plan, "node4")->lsn, 60);
	assert_int_equal(slot_plan_find(&plan, "node4")->reason, SLOT_RETAINED);
	/* the leader itself goes by what it has seen */
	strcpy(settings.name, "node1");
	assert_string_equal(names(true), "node_3 node2");
}

static void
positions(void **state)
{
	(void) state;
	strcpy(settings.name, "node2");
	/* an old leader publishes none: the member's own */
	assert_string_equal(names(false), "node_3 node1");
	assert_int_equal(plan.items[0].lsn, 80);
	put("status", "{\"optime\":100,\"slots\":{\"node_3\":70}}");
	names(false);
	assert_int_equal(plan.items[0].lsn, 70);
	/* who streams from another member is not known to the leader */
	put("members/node-3", "{\"xlog_location\":80,\"tags\":{\"replicatefrom\":\"node2\"}}");
	names(false);
	assert_int_equal(plan.items[0].lsn, 80);
}

static bool
ignores(const char *matchers, const char *name, const char *database, const char *plugin)
{
	HaSlot		slot = {.is_logical = plugin[0] != '\0'};

	strcpy(slot.name, name);
	strcpy(slot.database, database);
	strcpy(slot.plugin, plugin);
	slot_configs_read(&configs, "", matchers);
	return slot_is_ignored(&configs, &slot);
}

static void
matchers(void **state)
{
	(void) state;
	assert_false(ignores("", "a", "", ""));
	assert_true(ignores("[{}]", "a", "", ""));
	assert_true(ignores("[{\"name\":\"b\"},{\"name\":\"a\"}]", "a", "", ""));
	assert_true(ignores("[{\"name\":\"a\",\"type\":\"physical\"}]", "a", "", ""));
	assert_false(ignores("[{\"name\":\"a\",\"type\":\"logical\"}]", "a", "", ""));
	assert_true(ignores("[{\"type\":\"logical\"}]", "a", "d", "p"));
	assert_true(ignores("[{\"database\":\"d\",\"plugin\":\"p\"}]", "a", "d", "p"));
	assert_false(ignores("[{\"database\":\"e\"}]", "a", "d", "p"));
	assert_false(ignores("[{\"database\":\"d\"}]", "a", "", ""));
	assert_false(ignores("[{\"plugin\":\"q\"}]", "a", "d", "p"));
	/* those of a table that is being copied, and of a shard that is being moved */
	assert_true(ignores("", "pg_16394_sync_16385_7212345678901234567", "d", "pgoutput"));
	assert_true(ignores("", "citus_shard_move_slot_1_2", "d", "pgoutput"));
	assert_false(ignores("", "pg_16394_sync_16385_x", "d", "pgoutput"));
	assert_false(ignores("", "pg_16394_sync_16385_72", "", ""));
	/* the name of the database is not known: left alone */
	assert_true(ignores("[{\"database\":\"e\"}]", "a", "", "p"));
}

static void
differences(void **state)
{
	WantedSlot	wanted = {.is_logical = true, .database = "d", .plugin = "p"};
	HaSlot		slot = {.is_logical = true, .database = "d", .plugin = "p"};

	(void) state;
	assert_false(slot_differs(&wanted, &slot));
	slot.database[0] = '\0';
	assert_false(slot_differs(&wanted, &slot));
	slot.database[0] = 'e';
	assert_true(slot_differs(&wanted, &slot));
	slot.database[0] = 'd';
	slot.plugin[0] = 'q';
	assert_true(slot_differs(&wanted, &slot));
	slot.is_logical = false;
	assert_true(slot_differs(&wanted, &slot));
	wanted.is_logical = false;
	assert_false(slot_differs(&wanted, &slot));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(has_one_for_each_other_member),
		TEST(with_ttl_zero_only_those_in_use),
		TEST(nofailover_needs_none_but_for_its_own),
		TEST(permanent_slots),
		TEST(wrong_entries_are_said),
		TEST(conflicts_are_said),
		TEST(members_that_were_there_lately),
		TEST(positions),
		TEST(matchers),
		TEST(differences),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
