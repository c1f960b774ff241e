/*-------------------------------------------------------------------------
 *
 * test_takeover.c
 *      Durations of switchovers and failovers, from views of the cluster.
 *-------------------------------------------------------------------------
 */
#include "rest/takeover.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WALL_MS INT64_C(1767225600000)

static ClusterView view;
static Takeovers takeovers;

static void
put_key(const char *name, const char *value)
{
	static uint64_t version = 1;
	ClusterKey key;

	memset(&key, 0, sizeof(key));
	key.name = name;
	key.value = value;
	key.session = "";
	key.version = version++;
	cluster_view_apply(&view, &key);
	view.is_loaded = true;
}

static void
look(int64_t now_ms)
{
	takeovers_look(&takeovers, &view, now_ms, WALL_MS + now_ms);
}

static int
setup(void **state)
{
	(void) state;
	memset(&takeovers, 0, sizeof(takeovers));
	cluster_view_init(&view);
	put_key("members/a", "{\"state\":\"running\",\"role\":\"primary\"}");
	put_key("members/b", "{\"state\":\"running\",\"role\":\"replica\"}");
	put_key("leader", "a");
	look(1000);
	return 0;
}

static int
teardown(void **state)
{
	(void) state;
	cluster_view_free(&view);
	return 0;
}

static void
expect(const Takeover *takeover, int64_t handover_ms, int64_t election_ms, int64_t promotion_ms)
{
	assert_true(takeover->exists);
	assert_int_equal(takeover->handover_ms, handover_ms);
	assert_int_equal(takeover->election_ms, election_ms);
	assert_int_equal(takeover->promotion_ms, promotion_ms);
}

static void
test_failover(void **state)
{
	(void) state;
	put_key("leader", NULL);
	look(2000);
	look(2500);
	put_key("leader", "b");
	look(3000);
	look(3100);
	assert_false(takeovers.last_failover.exists);
	put_key("members/b", "{\"state\":\"running\",\"role\":\"primary\"}");
	look(3400);
	expect(&takeovers.last_failover, -1, 1000, 400);
	assert_false(takeovers.last_switchover.exists);
	look(9000);
	expect(&takeovers.last_failover, -1, 1000, 400);
}

static void
test_switchover(void **state)
{
	(void) state;
	put_key("failover", "{\"leader\":\"a\",\"member\":\"b\"}");
	look(2000);
	put_key("leader", NULL);
	look(2300);
	put_key("leader", "b");
	look(2310);
	put_key("failover", "{}");
	put_key("members/b", "{\"state\":\"running\",\"role\":\"primary\"}");
	look(2400);
	expect(&takeovers.last_switchover, 300, 10, 90);
	assert_false(takeovers.last_failover.exists);
}

/* A request that names nobody to leave is a failover, also while a leader leads. */
static void
test_manual_failover(void **state)
{
	(void) state;
	put_key("failover", "{\"member\":\"b\"}");
	look(2000);
	put_key("leader", "b"); /* the key changed hands between two looks */
	look(2300);
	put_key("members/b", "{\"state\":\"running\",\"role\":\"primary\"}");
	look(2400);
	expect(&takeovers.last_failover, 300, 0, 100);
}

/* What is scheduled begins at its time; what is forgotten never began. */
static void
test_schedule(void **state)
{
	char text[40];
	char key[128];

	(void) state;
	timestamp_to_text(WALL_MS + 5000, text);
	snprintf(key, sizeof(key), "{\"leader\":\"a\",\"scheduled_at\":\"%s\"}", text);
	put_key("failover", key);
	look(2000);
	assert_int_equal(takeovers.asked_ms, 0);
	look(5100);
	assert_int_equal(takeovers.asked_ms, 5100);
	put_key("failover", "{}");
	look(5200);
	assert_int_equal(takeovers.asked_ms, 0);
}

static void
test_leader_comes_back(void **state)
{
	(void) state;
	put_key("leader", NULL);
	look(2000);
	put_key("leader", "a");
	look(3000);
	assert_false(takeovers.last_failover.exists);
	put_key("leader", NULL);
	look(8000);
	put_key("members/b", "{\"state\":\"running\",\"role\":\"primary\"}");
	put_key("leader", "b");
	look(8100);
	expect(&takeovers.last_failover, -1, 100, 0);
}

/* Who loses the lease again before it was promoted does not end it. */
static void
test_second_taker(void **state)
{
	(void) state;
	put_key("members/c", "{\"state\":\"running\",\"role\":\"replica\"}");
	put_key("leader", NULL);
	look(2000);
	put_key("leader", "b");
	look(2100);
	put_key("leader", NULL);
	look(2200);
	put_key("leader", "c");
	look(2500);
	put_key("members/c", "{\"state\":\"running\",\"role\":\"primary\"}");
	look(2600);
	expect(&takeovers.last_failover, -1, 500, 100);
}

static void
test_no_view(void **state)
{
	(void) state;
	takeovers_look(&takeovers, NULL, 2000, WALL_MS);
	view.is_loaded = false;
	put_key("leader", NULL);
	view.is_loaded = false;
	look(3000);
	assert_int_equal(takeovers.vacant_ms, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_failover, setup, teardown),
		cmocka_unit_test_setup_teardown(test_switchover, setup, teardown),
		cmocka_unit_test_setup_teardown(test_manual_failover, setup, teardown),
		cmocka_unit_test_setup_teardown(test_schedule, setup, teardown),
		cmocka_unit_test_setup_teardown(test_leader_comes_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_second_taker, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_view, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
