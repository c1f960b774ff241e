/*-------------------------------------------------------------------------
 *
 * test_combine.c
 *      What a node believes of its server when its two views differ.
 *
 *-------------------------------------------------------------------------
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node/combine.h"

static HaPostgres combined;
static HaPostgres outside;
static HaPostgres seen;

/* A running standby, as both see it. */
static int
set_up(void **state)
{
	(void) state;
	ha_postgres_reset(&combined);
	ha_postgres_reset(&outside);
	ha_postgres_reset(&seen);
	outside.data = HA_DATA_PRESENT;
	outside.server = HA_SERVER_RUNNING;
	outside.is_in_recovery = true;
	outside.timeline = outside.newest_timeline = 3;
	outside.checkpoint_redo = 500;
	strcpy(outside.upstream_host, "file");
	seen = outside;
	seen.is_observed = true;
	seen.flush_lsn = 700;
	seen.checkpoint_redo = 400;
	strcpy(seen.upstream_host, "memory");
	return 0;
}

static void
test_both_agree(void **state)
{
	(void) state;
	combine_views(&combined, &outside, &seen, true);
	assert_true(combined.is_observed);
	assert_int_equal(combined.server, HA_SERVER_RUNNING);
	assert_int_equal(combined.flush_lsn, 700);
	assert_int_equal(combined.checkpoint_redo, 500);	/* pg_control's own */
	assert_string_equal(combined.upstream_host, "memory");
}

static void
test_worker_looks_away(void **state)
{
	(void) state;
	combine_views(&combined, &outside, &seen, false);
	assert_false(combined.is_observed);
	assert_int_equal(combined.flush_lsn, 700);			/* remembered */
	assert_string_equal(combined.upstream_host, "file");
}

/* What its worker said before does not keep a server running. */
static void
test_stopped_server(void **state)
{
	(void) state;
	outside.server = HA_SERVER_STOPPED;
	outside.is_in_recovery = false;
	combine_views(&combined, &outside, &seen, true);
	assert_int_equal(combined.server, HA_SERVER_STOPPED);
	assert_false(combined.is_observed);
	assert_true(combined.is_in_recovery);
	assert_int_equal(combined.timeline, 3);
}

/* The postmaster lets clients in before the worker has seen an end of recovery. */
static void
test_standby_that_starts(void **state)
{
	(void) state;
	seen.server = HA_SERVER_STARTING;
	combine_views(&combined, &outside, &seen, true);
	assert_int_equal(combined.server, HA_SERVER_STARTING);
	combine_views(&combined, &outside, &seen, false);
	assert_int_equal(combined.server, HA_SERVER_RUNNING);
}

static void
test_promoted_since(void **state)
{
	(void) state;
	outside.is_in_recovery = false;
	outside.timeline = outside.newest_timeline = 4;
	outside.n_history = 1;
	outside.history[0].timeline = 3;
	combine_views(&combined, &outside, &seen, true);
	assert_false(combined.is_observed);
	assert_false(combined.is_in_recovery);
	assert_int_equal(combined.timeline, 4);
	assert_int_equal(combined.newest_timeline, 4);
	assert_int_equal(combined.n_history, 1);
	assert_int_equal(combined.history[0].timeline, 3);
	assert_int_equal(combined.flush_lsn, 700);
}

/* The worker may know of a timeline that no file names yet, and the other way round. */
static void
test_newest_timeline(void **state)
{
	(void) state;
	outside.newest_timeline = 5;
	combine_views(&combined, &outside, &seen, true);
	assert_int_equal(combined.newest_timeline, 5);
	seen.newest_timeline = 6;
	combine_views(&combined, &outside, &seen, true);
	assert_int_equal(combined.newest_timeline, 6);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_both_agree, set_up),
		cmocka_unit_test_setup(test_worker_looks_away, set_up),
		cmocka_unit_test_setup(test_stopped_server, set_up),
		cmocka_unit_test_setup(test_standby_that_starts, set_up),
		cmocka_unit_test_setup(test_promoted_since, set_up),
		cmocka_unit_test_setup(test_newest_timeline, set_up),
	};

	return cmocka_run_group_tests_name("combine", tests, NULL, NULL);
}
