/*-------------------------------------------------------------------------
 *
 * test_data_files.c
 *      After pg_rewind logical slots go, and nothing else does.
 *
 *-------------------------------------------------------------------------
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "supervisor/data_files.h"

static char directory[] = "/tmp/test_data_files.XXXXXX";

static void
path_of(char path[256], const char *slot, const char *file)
{
	snprintf(path, 256, "%s/pg_replslot%s%s%s%s", directory, slot[0] != '\0' ? "/" : "", slot,
			 file[0] != '\0' ? "/" : "", file);
}

/* As the server writes it: four numbers, name, database, and more. */
static void
make_slot(const char *name, uint32_t database, size_t size)
{
	char		path[256];
	char		state[200] = "";
	FILE	   *file;

	path_of(path, name, "");
	assert_int_equal(mkdir(path, 0700), 0);
	strcpy(state + 16, name);
	memcpy(state + 80, &database, sizeof(database));
	path_of(path, name, "state");
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(state, 1, size, file), size);
	fclose(file);
}

static bool
exists(const char *name)
{
	char		path[256];

	path_of(path, name, "");
	return access(path, F_OK) == 0;
}

static void
removes_logical_slots_only(void **state)
{
	char		command[300];
	char		path[256];
	Error		error;

	(void) state;
	assert_non_null(mkdtemp(directory));
	error_clear(&error);
	assert_true(data_files_remove_logical_slots(directory, &error));
	path_of(path, "", "");
	assert_int_equal(mkdir(path, 0700), 0);
	make_slot("node2", 0, 200);
	make_slot("feed", 16384, 200);
	make_slot("broken", 16384, 20);
	path_of(path, "empty", "");
	assert_int_equal(mkdir(path, 0700), 0);
	assert_true(data_files_remove_logical_slots(directory, &error));
	assert_true(exists("node2"));
	assert_true(exists("broken"));
	assert_true(exists("empty"));
	assert_false(exists("feed"));
	assert_false(data_files_remove_logical_slots("not/absolute", &error));
	snprintf(command, sizeof(command), "rm -rf '%s'", directory);
	assert_int_equal(system(command), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(removes_logical_slots_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
