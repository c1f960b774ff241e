/*-------------------------------------------------------------------------
 *
 * test_data_directory.c
 *      Unit tests for the marks beside a data directory (data_directory.c).
 *
 *-------------------------------------------------------------------------
 */
#include <limits.h>
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

#include "postgres/postgres_files.h"

static char base[PATH_MAX];
static char data[PATH_MAX + 8];

static int
make_directory(void **state)
{
	(void) state;
	snprintf(base, sizeof(base), "/tmp/test_data_directory.XXXXXX");
	if (mkdtemp(base) == NULL)
		return -1;
	snprintf(data, sizeof(data), "%s/data", base);
	return mkdir(data, 0700);
}

static int
remove_directory(void **state)
{
	(void) state;
	data_former_primary_clear(data);
	return rmdir(data) == 0 && rmdir(base) == 0 ? 0 : -1;
}

static void
former_primary_is_kept(void **state)
{
	Error		error;
	uint32_t	timeline = 7;
	char		slash[PATH_MAX + 16];

	(void) state;
	assert_false(data_former_primary_get(data, &timeline));
	assert_int_equal(timeline, 0);
	assert_true(data_former_primary_set(data, 3, &error));
	assert_true(data_former_primary_set(data, 4, &error));
	snprintf(slash, sizeof(slash), "%s//", data);
	assert_true(data_former_primary_get(slash, &timeline));
	assert_int_equal(timeline, 4);
	/* on a timeline that nobody knows */
	assert_true(data_former_primary_set(data, 0, &error));
	assert_true(data_former_primary_get(data, &timeline));
	assert_int_equal(timeline, 0);
	data_former_primary_clear(data);
	assert_false(data_former_primary_get(data, &timeline));
}

/* The mark is about one directory, not about what has its name later. */
static void
another_directory_is_none(void **state)
{
	Error		error;
	uint32_t	timeline;
	char		aside[PATH_MAX + 16];

	(void) state;
	assert_true(data_former_primary_set(data, 3, &error));
	snprintf(aside, sizeof(aside), "%s.aside", data);
	assert_int_equal(rename(data, aside), 0);
	assert_false(data_former_primary_get(data, &timeline));
	assert_int_equal(mkdir(data, 0700), 0);
	assert_false(data_former_primary_get(data, &timeline));
	assert_int_equal(rmdir(aside), 0);
	assert_false(data_former_primary_set(aside, 3, &error));
}

/* From which timeline a rewind copied; marks of others do not say. */
static void
rewind_is_kept(void **state)
{
	(void) state;
	assert_int_equal(data_mark_get(data), DATA_MARK_NONE);
	assert_int_equal(data_mark_timeline(data), 0);
	data_mark_set(data, DATA_MARK_REWIND, 29);
	assert_int_equal(data_mark_get(data), DATA_MARK_REWIND);
	assert_int_equal(data_mark_timeline(data), 29);
	data_mark_set(data, DATA_MARK_CLONE, 0);
	assert_int_equal(data_mark_get(data), DATA_MARK_CLONE);
	assert_int_equal(data_mark_timeline(data), 0);
	data_mark_clear(data);
	assert_int_equal(data_mark_get(data), DATA_MARK_NONE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(former_primary_is_kept, make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(another_directory_is_none, make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(rewind_is_kept, make_directory, remove_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
