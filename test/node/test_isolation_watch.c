/*-------------------------------------------------------------------------
 *
 * test_isolation_watch.c
 *      When a primary holds its commits, and when it does not.
 *
 *-------------------------------------------------------------------------
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node/isolation_watch.h"

#define HOLD_AFTER_MS	500

static IsolationWatch watch;
static IsolationFacts facts;

static int
set_up(void **state)
{
	(void) state;
	memset(&watch, 0, sizeof(watch));
	facts = (IsolationFacts) {
		.now_ms = 10000,
		.hold_after_ms = HOLD_AFTER_MS,
		.is_at_risk = true,
		.flushed_lsn = 100,
		.confirmed_lsn = 100,
		.store_answered_ms = 9000,
		.deadline_us = 20000000,
	};
	assert_false(isolation_watch_look(&watch, &facts).must_ask);
	return 0;
}

/* Look every 50 ms for that long; when, since now, were commits held?  -1: not. */
static int64_t
look_for(int64_t duration_ms, int *n_asked)
{
	int64_t		begin_ms = facts.now_ms;

	*n_asked = 0;
	while (facts.now_ms < begin_ms + duration_ms)
	{
		IsolationVerdict verdict;

		facts.now_ms += 50;
		verdict = isolation_watch_look(&watch, &facts);
		*n_asked += verdict.must_ask;
		assert_null(verdict.release_because);
		if (verdict.must_hold)
			return facts.now_ms - begin_ms;
	}
	return -1;
}

static void
holds_when_nobody_answers(void **state)
{
	int			n_asked;

	(void) state;
	facts.flushed_lsn = 200;
	assert_int_equal(look_for(5000, &n_asked), 2 * HOLD_AFTER_MS);
	assert_true(n_asked >= 4);
}

static void
asks_before_it_holds(void **state)
{
	int			n_asked;

	(void) state;
	facts.flushed_lsn = 200;
	assert_int_equal(look_for(HOLD_AFTER_MS - 50, &n_asked), -1);
	assert_int_equal(n_asked, 0);
	assert_int_equal(look_for(50, &n_asked), -1);
	assert_int_equal(n_asked, 1);
}

static void
holds_nothing_without_new_wal(void **state)
{
	int			n_asked;

	(void) state;
	assert_int_equal(look_for(60000, &n_asked), -1);
	assert_int_equal(n_asked, 0);
	assert_true(isolation_watch_due_ms(&watch, HOLD_AFTER_MS) == INT64_MAX);
}

static void
holds_nothing_when_not_at_risk(void **state)
{
	int			n_asked;

	(void) state;
	facts.is_at_risk = false;
	facts.flushed_lsn = 200;
	assert_int_equal(look_for(60000, &n_asked), -1);
	assert_int_equal(n_asked, 0);
}

/* The store answers each time, no standby does. */
static void
store_answers(void **state)
{
	int			n_asked;

	(void) state;
	for (int i = 0; i < 20; i++)
	{
		facts.flushed_lsn += 10;
		assert_int_equal(look_for(HOLD_AFTER_MS, &n_asked), -1);
		facts.store_answered_ms = facts.now_ms;
	}
	assert_int_equal(look_for(HOLD_AFTER_MS, &n_asked), -1);
	assert_int_equal(n_asked, 0);
}

/* An answer to what was asked before the WAL was seen says nothing of it. */
static void
old_answer_is_none(void **state)
{
	int			n_asked;

	(void) state;
	facts.flushed_lsn = 200;
	assert_int_equal(look_for(100, &n_asked), -1);
	facts.store_answered_ms = watch.seen_ms;
	assert_int_equal(look_for(5000, &n_asked), 2 * HOLD_AFTER_MS - 100);
}

static void
standby_confirms_late(void **state)
{
	int			n_asked;

	(void) state;
	for (int i = 0; i < 20; i++)
	{
		facts.flushed_lsn += 10;
		assert_int_equal(look_for(2 * HOLD_AFTER_MS - 100, &n_asked), -1);
		facts.confirmed_lsn = facts.flushed_lsn;
		assert_int_equal(look_for(50, &n_asked), -1);
	}
}

/* It confirms something, but not what is waited for. */
static void
standby_stands_still(void **state)
{
	int			n_asked;

	(void) state;
	facts.flushed_lsn = 200;
	assert_int_equal(look_for(50, &n_asked), -1);
	facts.confirmed_lsn = 199;
	assert_int_equal(look_for(5000, &n_asked), 2 * HOLD_AFTER_MS - 50);
}

static void
expect_release(const char *because)
{
	IsolationVerdict verdict;

	facts.now_ms += 20;
	verdict = isolation_watch_look(&watch, &facts);
	assert_non_null(verdict.release_because);
	assert_string_equal(verdict.release_because, because);
	assert_false(verdict.must_hold);
	facts.now_ms += 20;
	assert_null(isolation_watch_look(&watch, &facts).release_because);
}

static void
hold_now(void)
{
	int			n_asked;

	facts.flushed_lsn += 100;
	assert_true(look_for(5000, &n_asked) > 0);
}

static void
goes_on_when_somebody_answers(void **state)
{
	(void) state;
	hold_now();
	facts.confirmed_lsn = facts.flushed_lsn;
	expect_release("a standby has confirmed them");
	hold_now();
	facts.store_answered_ms = facts.now_ms;
	expect_release("the store answers");
	hold_now();
	facts.deadline_us += 5000000;
	expect_release("the leader lease was prolonged");
	hold_now();
	facts.is_at_risk = false;
	expect_release("there is nothing to hold them for");
}

static void
rivals(void **state)
{
	ClusterView view;
	Member		members[2];

	(void) state;
	memset(&view, 0, sizeof(view));
	memset(members, 0, sizeof(members));
	strcpy(members[0].name, "a");
	members[0].state = MEMBER_RUNNING;
	strcpy(members[1].name, "b");
	members[1].state = MEMBER_RUNNING;
	view.members = members;
	view.n_members = 2;
	assert_false(isolation_has_rival(NULL, "a"));
	assert_false(isolation_has_rival(&view, "a"));
	view.is_loaded = true;
	assert_true(isolation_has_rival(&view, "a"));
	members[1].tags.nofailover = true;
	assert_false(isolation_has_rival(&view, "a"));
	members[1].tags.nofailover = false;
	members[1].state = MEMBER_STOPPED;
	assert_false(isolation_has_rival(&view, "a"));
	members[1].xlog_location = 5;
	assert_true(isolation_has_rival(&view, "a"));
	view.n_members = 1;
	assert_false(isolation_has_rival(&view, "a"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(holds_when_nobody_answers, set_up),
		cmocka_unit_test_setup(asks_before_it_holds, set_up),
		cmocka_unit_test_setup(holds_nothing_without_new_wal, set_up),
		cmocka_unit_test_setup(holds_nothing_when_not_at_risk, set_up),
		cmocka_unit_test_setup(store_answers, set_up),
		cmocka_unit_test_setup(old_answer_is_none, set_up),
		cmocka_unit_test_setup(standby_confirms_late, set_up),
		cmocka_unit_test_setup(standby_stands_still, set_up),
		cmocka_unit_test_setup(goes_on_when_somebody_answers, set_up),
		cmocka_unit_test(rivals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
