/*-------------------------------------------------------------------------
 *
 * test_history_file.c
 *      Which history files go before a standby is started.
 *
 *-------------------------------------------------------------------------
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "postgres/postgres_dir.h"
#include "postgres/postgres_files.h"
#include "postgres/unused_history.h"

static char directory[sizeof("/tmp/test_history_file.XXXXXX")];

static void
put(const char *name)
{
	char		path[256];
	int			fd;

	snprintf(path, sizeof(path), "%s/pg_wal/%s", directory, name);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	assert_true(fd >= 0);
	close(fd);
}

static bool
is_there(const char *name)
{
	char		path[256];

	snprintf(path, sizeof(path), "%s/pg_wal/%s", directory, name);
	return access(path, F_OK) == 0;
}

static int
make_directory(void **state)
{
	char		path[256];

	(void) state;
	strcpy(directory, "/tmp/test_history_file.XXXXXX");
	if (mkdtemp(directory) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/pg_wal", directory);
	return mkdir(path, 0700);
}

static int
remove_directory(void **state)
{
	char		command[256];

	(void) state;
	snprintf(command, sizeof(command), "rm -rf '%s'", directory);
	return system(command);
}

static void
unused_files_go(void **state)
{
	(void) state;
	put("000000010000000000000003");
	put("000000020000000000000003");
	put("000000090000000000000003.partial");	/* nothing that a server reads */
	put("00000002.history");
	put("00000003.history");
	put("0000000A.history");
	put("0000000B.history.tmp");
	/* up to "from" all are kept, whatever WAL there is */
	assert_int_equal(history_files_remove_unused(directory, 3), 1);
	assert_true(is_there("00000002.history"));
	assert_true(is_there("00000003.history"));
	assert_false(is_there("0000000A.history"));
	assert_true(is_there("0000000B.history.tmp"));
	/* and so is what WAL is here of */
	assert_int_equal(history_files_remove_unused(directory, 1), 1);
	assert_true(is_there("00000002.history"));
	assert_false(is_there("00000003.history"));
	assert_true(is_there("000000020000000000000003"));
	assert_int_equal(history_newest_timeline(directory, 1), 2);
	assert_int_equal(history_files_remove_unused("/nowhere", 1), 0);
}

static void
placed_files_go(void **state)
{
	Error		error;

	(void) state;
	put("000000010000000000000003");
	put("000000030000000000000003");
	put("00000003.history");
	assert_true(history_file_place(directory, 2, 1, 0x3000028, &error));
	assert_true(history_file_place(directory, 4, 3, 0x3000028, &error));
	assert_int_equal(history_newest_timeline(directory, 1), 4);
	/* 2 is a link from 1 to 3, of which there is WAL; 4 may hide a real one */
	history_files_remove_placed(directory);
	assert_true(is_there("00000002.history"));
	assert_true(is_there("00000003.history"));
	assert_false(is_there("00000004.history"));
	assert_int_equal(history_newest_timeline(directory, 1), 3);
	/* as before the first WAL of 6 comes: its history has been fetched */
	assert_true(history_file_place(directory, 5, 3, 0x3000028, &error));
	put("00000006.history");
	assert_true(history_file_place(directory, 7, 3, 0x3000028, &error));
	history_files_remove_placed(directory);
	assert_true(is_there("00000005.history"));
	assert_true(is_there("00000006.history"));
	assert_false(is_there("00000007.history"));
	history_files_remove_placed("/nowhere");
}

static void
gaps_are_bridged(void **state)
{
	Error		error;

	(void) state;
	put("000000010000000000000003");
	put("000000050000000000000003");
	put("00000003.history");
	put("00000005.history");
	assert_int_equal(history_newest_timeline(directory, 1), 1);
	assert_true(history_files_bridge(directory, 1, &error));
	assert_int_equal(history_newest_timeline(directory, 1), 5);
	assert_false(is_there("00000001.history"));
	assert_false(is_there("00000006.history"));
	/* and they are not taken away again before it follows */
	history_files_remove_placed(directory);
	assert_int_equal(history_newest_timeline(directory, 1), 5);
	put("000F0000.history");
	assert_true(history_files_bridge(directory, 1, &error));
	assert_false(is_there("00000006.history"));
	assert_false(history_files_bridge("/nowhere", 1, &error));
}

/* As pg_basebackup leaves it: the file of the newest timeline alone. */
static void
older_files_come_back(void **state)
{
	const char *text = "1\t0/2000000\tno recovery target specified\n\n"
		"3\t0/3000000\tno recovery target specified\n";
	char		path[PATH_MAX];
	char		read[200] = "";
	TimelineHistory entries[4];
	Error		error;
	FILE	   *file;

	(void) state;
	snprintf(path, sizeof(path), "%s/pg_wal/00000004.history", directory);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	assert_true(history_files_bridge(directory, 4, &error));
	assert_true(is_there("00000002.history"));
	assert_false(is_there("00000005.history"));
	/* what 3 was before it was left */
	snprintf(path, sizeof(path), "%s/pg_wal/00000003.history", directory);
	file = fopen(path, "r");
	assert_non_null(file);
	assert_true(fread(read, 1, sizeof(read) - 1, file) > 0);
	fclose(file);
	assert_int_equal(history_parse(read, entries, 4), 1);
	assert_int_equal(entries[0].timeline, 1);
	assert_true(entries[0].switch_lsn == 0x2000000);
	/* 2 was taken by somebody else: it is there for nobody to stop at */
	history_files_remove_placed(directory);
	assert_int_equal(history_newest_timeline(directory, 1), 4);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(unused_files_go, make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(gaps_are_bridged, make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(older_files_come_back, make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(placed_files_go, make_directory, remove_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
