/*-------------------------------------------------------------------------
 *
 * test_wal_end.c
 *      Where WAL ends whose last file is full (control_file.c).
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

#define MEGABYTE (1024 * 1024)
#define BLOCK	 8192
#define FIRST	 UINT64_C(0x0FFD00000) /* the last three segments of an id, and one more */
#define SEGMENTS 4

static const ControlFile control = { .wal_block_size = BLOCK, .wal_segment_size = MEGABYTE };

static char data[64];
static unsigned char *wal; /* from FIRST on */
static Lsn at;			   /* where the next record begins */

static void
path_of(char path[PATH_MAX], Lsn lsn)
{
	snprintf(path, PATH_MAX, "%s/pg_wal/%08X%08X%08X", data, 3, (unsigned) (lsn >> 32),
			 (unsigned) ((lsn & UINT32_MAX) / MEGABYTE));
}

static int
make_directory(void **state)
{
	char path[PATH_MAX];

	(void) state;
	snprintf(data, sizeof(data), "/tmp/test_wal_end.XXXXXX");
	if (mkdtemp(data) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/pg_wal", data);
	wal = calloc(SEGMENTS, MEGABYTE);
	at = FIRST;
	return wal != NULL && mkdir(path, 0700) == 0 ? 0 : -1;
}

static int
remove_directory(void **state)
{
	char path[PATH_MAX];

	(void) state;
	free(wal);
	for (int i = 0; i < SEGMENTS; i++)
	{
		path_of(path, FIRST + (Lsn) i * MEGABYTE);
		unlink(path);
	}
	snprintf(path, sizeof(path), "%s/pg_wal", data);
	return rmdir(path) == 0 && rmdir(data) == 0 ? 0 : -1;
}

/* The header of the page that begins here, with so much of a record from before. */
static void
begin_page(uint32_t rest)
{
	unsigned char *page = wal + (at - FIRST);
	uint16_t flags = rest > 0 ? 1 : 0;

	memcpy(page + 2, &flags, sizeof(flags));
	memcpy(page + 8, &at, sizeof(at));
	memcpy(page + 16, &rest, sizeof(rest));
	at += at % MEGABYTE == 0 ? 40 : 24;
}

/* A record of so many bytes; where it began. */
static Lsn
add(uint32_t length)
{
	uint32_t left = length;
	Lsn start;

	if (at % BLOCK == 0)
		begin_page(0);
	start = at;
	memcpy(wal + (at - FIRST), &length, sizeof(length));
	while (left > BLOCK - at % BLOCK)
	{
		left -= (uint32_t) (BLOCK - at % BLOCK);
		at += BLOCK - at % BLOCK;
		begin_page(left);
	}
	at = (at + left + 7) & ~UINT64_C(7);
	return start;
}

/* Records of all lengths until "room" bytes are left in the file. */
static void
fill(uint32_t room)
{
	uint32_t length = 24;
	Lsn target = FIRST + MEGABYTE - room;

	while (target - at > 4096)
	{
		add(length);
		length = length < 3000 ? length + 1 : 24;
	}
	add((uint32_t) (target - at));
	assert_int_equal(at, target);
}

/* So many files are there; where does their WAL end? */
static Lsn
end_of(int n_files)
{
	Error error;
	char path[PATH_MAX];
	Lsn limit = 0;
	Lsn end = 0;

	for (int i = 0; i < n_files; i++)
	{
		FILE *file;

		path_of(path, FIRST + (Lsn) i * MEGABYTE);
		file = fopen(path, "w");
		assert_non_null(file);
		assert_int_equal(fwrite(wal + (size_t) i * MEGABYTE, MEGABYTE, 1, file), 1);
		assert_int_equal(fclose(file), 0);
	}
	assert_true(wal_files_end(data, 3, FIRST + 40, &control, &limit, &error));
	assert_int_equal(limit, FIRST + (Lsn) n_files * MEGABYTE);
	assert_true(wal_last_end(data, 3, FIRST + 40, limit, &control, &end, &error));
	return end;
}

static void
the_last_record_goes_on(void **state)
{
	Lsn start;

	(void) state;
	fill(1000);
	start = add(50000);
	assert_int_equal(end_of(1), start);
	assert_int_equal(at > FIRST + MEGABYTE, true);
}

/* Its length is all that is here of it. */
static void
only_its_length_is_here(void **state)
{
	Lsn start;

	(void) state;
	fill(8);
	start = add(24);
	assert_int_equal(end_of(1), start);
}

static void
it_is_longer_than_a_file(void **state)
{
	Lsn start;

	(void) state;
	fill(20000);
	start = add(2 * MEGABYTE + 50000);
	assert_int_equal(end_of(3), start);
}

static void
it_ends_with_the_file(void **state)
{
	(void) state;
	fill(0);
	assert_int_equal(end_of(1), FIRST + MEGABYTE);
}

/* The page of the record that goes on begins with it: what is whole ended before. */
static void
it_begins_a_page(void **state)
{
	(void) state;
	fill(2 * BLOCK);
	add(3 * BLOCK);
	assert_int_equal(end_of(1), FIRST + MEGABYTE - 2 * BLOCK);
}

/* After a switch the pages of a file are empty. */
static void
the_file_was_switched(void **state)
{
	Lsn switched;

	(void) state;
	fill(5 * BLOCK + 512);
	add(24);
	switched = at;
	for (at = FIRST + MEGABYTE - 5 * BLOCK; at < FIRST + MEGABYTE; at += BLOCK - at % BLOCK)
		begin_page(0);
	assert_int_equal(end_of(1), switched);
}

static void
there_is_no_wal(void **state)
{
	Error error;
	Lsn end;

	(void) state;
	error_clear(&error);
	assert_false(wal_files_end(data, 3, FIRST, &control, &end, &error));
	assert_non_null(strstr(error.message, "could not find file"));
	/* zeros, or what a recycled file has from before */
	assert_int_equal(at, FIRST);
	begin_page(0);
	add(2 * MEGABYTE);
	memset(wal + MEGABYTE - BLOCK, 0, BLOCK);
	{
		FILE *file;
		char path[PATH_MAX];

		path_of(path, FIRST);
		file = fopen(path, "w");
		assert_non_null(file);
		assert_int_equal(fwrite(wal, MEGABYTE, 1, file), 1);
		assert_int_equal(fclose(file), 0);
	}
	assert_false(wal_last_end(data, 3, FIRST, FIRST + MEGABYTE, &control, &end, &error));
	assert_non_null(strstr(error.message, "there is no WAL page at"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_last_record_goes_on, make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(only_its_length_is_here, make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(it_is_longer_than_a_file, make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(it_ends_with_the_file, make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(it_begins_a_page, make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(the_file_was_switched, make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(there_is_no_wal, make_directory, remove_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
