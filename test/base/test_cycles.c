/*-------------------------------------------------------------------------
 *
 * test_cycles.c
 *      Deadlines by the cycle counter, and the lease page's use of them.
 *
 *-------------------------------------------------------------------------
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/lease_page.h"

#define SECOND		INT64_C(1000000)
#define RATE		2000		/* cycles of a microsecond */

static CycleClock samples;
static int64_t now_us;
static uint64_t now_cycles;

static int
set_up(void **state)
{
	(void) state;
	memset(&samples, 0, sizeof(samples));
	now_us = 100 * SECOND;
	now_cycles = 5000000000;
	return 0;
}

/* Time passes, by the clock and by the counter, and a sample is taken. */
static void
pass(int64_t clock_us, int64_t real_us)
{
	now_us += clock_us;
	now_cycles += (uint64_t) real_us * RATE;
	cycle_clock_add(&samples, now_us, now_cycles);
}

/* When, from now on, is a deadline over by the counter that the clock has at "at_us"?  In us. */
static int64_t
left_us(int64_t from_us, int64_t at_us)
{
	uint64_t	cycles = cycle_clock_at(&samples, from_us, at_us);

	assert_true(cycles != 0);
	return (int64_t) (cycles - now_cycles) / RATE;
}

static void
test_unknown_rate(void **state)
{
	(void) state;
	assert_int_equal(cycle_clock_at(&samples, now_us, now_us + SECOND), 0);
	pass(0, 0);
	assert_int_equal(cycle_clock_at(&samples, now_us, now_us + SECOND), 0);
	pass(2 * SECOND, 2 * SECOND);
	assert_int_equal(left_us(now_us, now_us + SECOND), SECOND);
	/* a deadline of the past needs no cycles: the clock has it */
	assert_int_equal(cycle_clock_at(&samples, now_us, now_us - 1), 0);
}

static void
test_quiet_clock(void **state)
{
	(void) state;
	for (int i = 0; i < 100; i++)
		pass(3 * SECOND, 3 * SECOND);
	assert_int_equal(samples.n_samples, CYCLE_SAMPLES_MAX);
	assert_int_equal(left_us(now_us, now_us + 30 * SECOND), 30 * SECOND);
	/* also when it is counted from a while ago */
	assert_int_equal(left_us(now_us - 7 * SECOND, now_us + 30 * SECOND), 30 * SECOND);
	/* or from before all that is known */
	assert_int_equal(left_us(0, now_us + 30 * SECOND), 30 * SECOND);
}

/* What is closer than a second is no new sample. */
static void
test_spacing(void **state)
{
	(void) state;
	pass(0, 0);
	for (int i = 0; i < 99; i++)
		pass(10000, 10000);
	assert_int_equal(samples.n_samples, 1);
	pass(10000, 10000);
	assert_int_equal(samples.n_samples, 2);
}

/* The answer to a question from before the stop: the stop counts. */
static void
test_stop_before_answer(void **state)
{
	int64_t		asked_us;

	(void) state;
	for (int i = 0; i < 5; i++)
		pass(2 * SECOND, 2 * SECOND);
	asked_us = now_us;
	pass(1000, 20 * SECOND);
	assert_int_equal(left_us(asked_us, asked_us + 30 * SECOND), 10 * SECOND);
	assert_true(left_us(asked_us, asked_us + 10 * SECOND) < 0);
}

/* One to a question from after it: it does not, and the rate is as before. */
static void
test_stop_before_question(void **state)
{
	(void) state;
	for (int i = 0; i < 5; i++)
		pass(2 * SECOND, 2 * SECOND);
	pass(1000, 20 * SECOND);
	assert_int_equal(left_us(now_us, now_us + 30 * SECOND), 30 * SECOND);
	pass(5 * SECOND, 5 * SECOND);
	assert_int_equal(left_us(now_us, now_us + 30 * SECOND), 30 * SECOND);
	/* nor one that lies within a longer distance of two samples */
	pass(5 * SECOND, 25 * SECOND);
	assert_int_equal(left_us(now_us, now_us + 30 * SECOND), 30 * SECOND);
}

/* A faster counter ends leases earlier until the old rate is forgotten, a slower one never later. */
static void
test_other_rate(void **state)
{
	(void) state;
	for (int i = 0; i < 5; i++)
		pass(2 * SECOND, 2 * SECOND);
	pass(2 * SECOND, 3 * SECOND);
	assert_int_equal(left_us(now_us, now_us + 30 * SECOND), 30 * SECOND);
	for (int i = 0; i < CYCLE_SAMPLES_MAX; i++)
		pass(2 * SECOND, 3 * SECOND);
	assert_int_equal(left_us(now_us, now_us + 30 * SECOND), 45 * SECOND);
	pass(2 * SECOND, SECOND);
	assert_int_equal(left_us(now_us, now_us + 30 * SECOND), 15 * SECOND);
}

/* A counter that begins anew says nothing for a while. */
static void
test_reset(void **state)
{
	(void) state;
	for (int i = 0; i < 5; i++)
		pass(2 * SECOND, 2 * SECOND);
	now_cycles = 7;
	pass(2 * SECOND, 0);
	assert_int_equal(samples.n_samples, 1);
	assert_int_equal(cycle_clock_at(&samples, now_us, now_us + SECOND), 0);
}

/* The counter of this machine, if it has one, and its clock. */
static void
test_lease_page(void **state)
{
	static LeasePage page;
	int64_t		deadline_us = clock_now_us() + 1000 * SECOND;

	(void) state;
	page.lease = UINT64_C(1) << LEASE_DEADLINE_BITS;
	assert_false(lease_page_is_open(&page));
	assert_true(lease_page_set_deadline(&page, 1, deadline_us, 0));
	assert_true(lease_page_is_open(&page));
	assert_true(lease_page_set_deadline(&page, 1, deadline_us, UINT64_MAX));
	assert_true(lease_page_is_open(&page));
	/* another generation's word counts for nothing, nor do its cycles */
	assert_false(lease_page_set_deadline(&page, 2, deadline_us, 1));
	assert_true(lease_page_is_open(&page));
	assert_true(lease_page_set_deadline(&page, 1, LEASE_NEVER_US, 1));
	assert_true(lease_page_is_open(&page));
	assert_true(lease_page_set_deadline(&page, 1, clock_now_us() - 1, UINT64_MAX));
	assert_false(lease_page_is_open(&page));
	if (cycles_now() == 0)
		return;
	assert_true(lease_page_set_deadline(&page, 1, deadline_us, cycles_now()));
	assert_false(lease_page_is_open(&page));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_unknown_rate, set_up),
		cmocka_unit_test_setup(test_quiet_clock, set_up),
		cmocka_unit_test_setup(test_spacing, set_up),
		cmocka_unit_test_setup(test_stop_before_answer, set_up),
		cmocka_unit_test_setup(test_stop_before_question, set_up),
		cmocka_unit_test_setup(test_other_rate, set_up),
		cmocka_unit_test_setup(test_reset, set_up),
		cmocka_unit_test_setup(test_lease_page, set_up),
	};

	return cmocka_run_group_tests_name("cycles", tests, NULL, NULL);
}
