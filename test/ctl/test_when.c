/*-------------------------------------------------------------------------
 *
 * test_when.c
 *      The times that people may write for a schedule, and those that are
 *      refused because they could mean something else.
 *
 *-------------------------------------------------------------------------
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "ctl/format.h"

/* Saturday, 2026-11-21 19:47:00 UTC */
#define NOW_MS INT64_C(1795290420000)

static void
assert_when(const char *text, const char *wanted)
{
	char got[48] = "(refused)";
	When when;

	if (when_parse(text, NOW_MS, &when))
		when_to_text(&when, got);
	assert_string_equal(got, wanted);
}

static void
test_with_zone(void **state)
{
	(void) state;
	assert_when("2026-03-23T18:00:00+00:00", "2026-03-23T18:00:00+00:00");
	assert_when("2026-03-23T18:00Z", "2026-03-23T18:00:00+00:00");
	assert_when("2026-03-23 18:00:00.5 UTC", "2026-03-23T18:00:00.500000+00:00");
	assert_when("2026-03-23T18:00:00.1234567-0330", "2026-03-23T18:00:00.123456-03:30");
	assert_when("20260323T1800+01", "2026-03-23T18:00:00+01:00");
	assert_when("20260323T180059Z", "2026-03-23T18:00:59+00:00");
	assert_when("2026/03/23 18:00 GMT", "2026-03-23T18:00:00+00:00");
	assert_when("Sat Nov 21 19:47:00 UTC 2026", "2026-11-21T19:47:00+00:00");
	assert_when("Mon, 23 Mar 2026 18:00:00 +0100", "2026-03-23T18:00:00+01:00");
}

static void
test_local(void **state)
{
	(void) state;
	/* summer and winter */
	assert_when("2026-07-01 12:00", "2026-07-01T12:00:00+02:00");
	assert_when("2026-12-01 12:00", "2026-12-01T12:00:00+01:00");
	assert_when("2026-12-01", "2026-12-01T00:00:00+01:00");
	/* today is what it is here: 20:47 */
	assert_when("23:30", "2026-11-21T23:30:00+01:00");
	assert_when("11pm", "2026-11-21T23:00:00+01:00");
	assert_when("12:30 am", "2026-11-21T00:30:00+01:00");
	assert_when("March 5th, 2027 at 7 pm", "2027-03-05T19:00:00+01:00");
	assert_when("5 Dec 07:15", "2026-12-05T07:15:00+01:00");
	assert_when("5-Dec-2026 07:15", "2026-12-05T07:15:00+01:00");
	assert_when("2026-02-28T24:00", "(refused)");
}

static void
test_refused(void **state)
{
	static const char *const texts[] = {
		"",
		"soon",
		"01/02/2026",
		"1/2/2026 10:00",
		"2026",
		"2026-13-01",
		"2026-02-29",
		"2026-02-30",
		"25:00",
		"12:60",
		"2026-01-01 2026-01-02",
		"10:00 11:00",
		"2026-01-01T10:00 UTC+3",
		"2026-01-01T10:00+25:00",
		"May",
		"5",
		"+01:00",
		"2026-01-01 10:00 EST5",
		"2026-01-01x",
		"13:00 pm",
		"0 am",
		"1969-12-31",
		"2026-1",
		"now()",
	};
	When when;

	(void) state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (when_parse(texts[i], NOW_MS, &when))
			fail_msg("\"%s\" was read", texts[i]);
}

static int
use_zone(void **state)
{
	(void) state;
	/* that of Vienna, without the files of the zone database */
	setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
	tzset();
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_with_zone),
		cmocka_unit_test(test_local),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, use_zone, NULL);
}
