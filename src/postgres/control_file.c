/*-------------------------------------------------------------------------
 *
 * control_file.c
 *      Reads pg_control without the server's headers, and finds the end of a
 *      WAL record and of the last whole one in the files that there are.
 *
 * The layout of what is read here is the same in PostgreSQL 13 to 17 (version
 * 1300); 18 put one byte before the nonce, so only the CRC moved.  Offsets
 * are of a 64 bit build with 8 byte alignment, as every supported platform
 * has.  The CRC proves that the layout was guessed right.
 *-------------------------------------------------------------------------
 */
#include "postgres/postgres_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "postgres/postgres_files.h"

#define CONTROL_READ_MAX		512
#define CONTROL_VERSION_13		1300
#define CONTROL_VERSION_18		1800

/* Offsets in struct ControlFileData. */
enum
{
	AT_SYSTEM_IDENTIFIER = 0,
	AT_CONTROL_VERSION = 8,
	AT_STATE = 16,
	AT_CHECKPOINT = 32,
	AT_REDO = 40,
	AT_TIMELINE = 48,
	AT_MINIMUM_RECOVERY = 136,
	AT_MINIMUM_RECOVERY_TIMELINE = 144,
	AT_WAL_LOG_HINTS = 176,
	AT_MAX_CONNECTIONS = 180,
	AT_MAX_WORKER_PROCESSES = 184,
	AT_MAX_WAL_SENDERS = 188,
	AT_MAX_PREPARED = 192,
	AT_MAX_LOCKS = 196,
	AT_WAL_BLOCK_SIZE = 224,
	AT_WAL_SEGMENT_SIZE = 228,
	AT_DATA_CHECKSUM = 252,
	AT_CRC_13 = 288,
	AT_CRC_18 = 292,
};

/* CRC-32C, bit by bit: 300 bytes a call need no table. */
static uint32_t
crc32c(const unsigned char *data, size_t length)
{
	uint32_t	crc = UINT32_MAX;

	for (size_t i = 0; i < length; i++)
	{
		crc ^= data[i];
		for (int bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^ ((crc & 1) ? UINT32_C(0x82F63B78) : 0);
	}
	return ~crc;
}

static uint32_t
get32(const unsigned char *at)
{
	uint32_t	value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static uint64_t
get64(const unsigned char *at)
{
	uint64_t	value;

	memcpy(&value, at, sizeof(value));
	return value;
}

/* Understand the bytes of a pg_control; false: other version or wrong CRC. */
bool
control_file_parse(const unsigned char *data, size_t size, ControlFile *control, Error *error)
{
	size_t		at_crc;
	uint32_t	state;

	memset(control, 0, sizeof(*control));
	if (size < AT_CRC_18 + 4)
		return error_set(error, "control file is too short");
	control->control_version = get32(data + AT_CONTROL_VERSION);
	if (control->control_version == CONTROL_VERSION_13)
		at_crc = AT_CRC_13;
	else if (control->control_version == CONTROL_VERSION_18)
		at_crc = AT_CRC_18;
	else
		return error_set(error, "control file has unknown version %u", control->control_version);
	if (crc32c(data, at_crc) != get32(data + at_crc))
		return error_set(error, "control file has a wrong checksum");

	control->system_identifier = get64(data + AT_SYSTEM_IDENTIFIER);
	state = get32(data + AT_STATE);
	control->state = state < HA_CONTROL_UNKNOWN ? (HaControlState) state : HA_CONTROL_UNKNOWN;
	control->checkpoint_lsn = get64(data + AT_CHECKPOINT);
	control->checkpoint_redo = get64(data + AT_REDO);
	control->checkpoint_timeline = get32(data + AT_TIMELINE);
	control->minimum_recovery_lsn = get64(data + AT_MINIMUM_RECOVERY);
	control->minimum_recovery_timeline = get32(data + AT_MINIMUM_RECOVERY_TIMELINE);
	control->wal_log_hints = data[AT_WAL_LOG_HINTS] != 0;
	control->data_checksum_version = get32(data + AT_DATA_CHECKSUM);
	control->max_connections = (int) get32(data + AT_MAX_CONNECTIONS);
	control->max_worker_processes = (int) get32(data + AT_MAX_WORKER_PROCESSES);
	control->max_wal_senders = (int) get32(data + AT_MAX_WAL_SENDERS);
	control->max_prepared_transactions = (int) get32(data + AT_MAX_PREPARED);
	control->max_locks_per_transaction = (int) get32(data + AT_MAX_LOCKS);
	control->wal_block_size = get32(data + AT_WAL_BLOCK_SIZE);
	control->wal_segment_size = get32(data + AT_WAL_SEGMENT_SIZE);
	return true;
}

/*
 * Read global/pg_control.  A read that met a write half-way shows as a wrong
 * CRC and is tried again a few times, for a millisecond at most each.
 */
bool
control_file_load(const char *data_directory, ControlFile *control, Error *error)
{
	char		path[PATH_MAX];

	if (!path_join(path, sizeof(path), data_directory, "global/pg_control"))
		return error_set(error, "data directory name is too long");
	for (int attempt = 0;; attempt++)
	{
		unsigned char data[CONTROL_READ_MAX];
		ssize_t		got;
		int			fd = open(path, O_RDONLY | O_CLOEXEC);
		struct timespec pause = {.tv_nsec = 1000000};

		if (fd < 0)
			return error_set(error, "could not open file \"%s\": %s", path, strerror(errno));
		got = read(fd, data, sizeof(data));
		if (got < 0)
		{
			error_set(error, "could not read file \"%s\": %s", path, strerror(errno));
			close(fd);
			return false;
		}
		close(fd);
		if (control_file_parse(data, (size_t) got, control, error))
			return true;
		if (attempt >= 5)
			return error_wrap(error, "could not use file \"%s\"", path);
		nanosleep(&pause, NULL);
	}
}

/* Fill the pg_control part of *postgres. */
bool
control_file_read(const char *data_directory, HaPostgres *postgres, Error *error)
{
	ControlFile control;

	if (!control_file_load(data_directory, &control, error))
		return false;
	postgres->system_identifier = control.system_identifier;
	postgres->control_state = control.state;
	postgres->checkpoint_lsn = control.checkpoint_lsn;
	postgres->checkpoint_redo = control.checkpoint_redo;
	postgres->checkpoint_timeline = control.checkpoint_timeline;
	postgres->minimum_recovery_lsn = control.minimum_recovery_lsn;
	postgres->minimum_recovery_timeline = control.minimum_recovery_timeline;
	postgres->can_rewind = control.wal_log_hints || control.data_checksum_version != 0;
	return true;
}

/* --- WAL --- */

/* Sizes of page headers, aligned; the first page of a segment has the long one. */
#define SHORT_HEADER	24
#define LONG_HEADER		40
#define RECORD_HEADER	24
#define RECORD_MAX		(1024 * 1024 * 1024)

/* Offsets in struct XLogPageHeaderData. */
enum
{
	AT_PAGE_FLAGS = 2,
	AT_PAGE_ADDRESS = 8,
	AT_PAGE_REST = 16,
	PAGE_READ = 20,
};

#define PAGE_STARTS_WITH_REST	0x0001	/* of a record that began before */

static uint32_t
page_header(const ControlFile *control, Lsn page)
{
	return page % control->wal_segment_size == 0 ? LONG_HEADER : SHORT_HEADER;
}

/* The name of the segment file that has the byte at "lsn". */
static bool
wal_path(char path[PATH_MAX], const char *data_directory, uint32_t timeline, Lsn lsn,
		 const ControlFile *control, Error *error)
{
	uint64_t	segments_per_id = UINT64_C(0x100000000) / control->wal_segment_size;
	uint64_t	segment = lsn / control->wal_segment_size;
	char		name[64];

	snprintf(name, sizeof(name), "pg_wal/%08X%08X%08X", timeline,
			 (unsigned) (segment / segments_per_id), (unsigned) (segment % segments_per_id));
	if (!path_join(path, PATH_MAX, data_directory, name))
		return error_set(error, "data directory name is too long");
	return true;
}

/* "size" bytes from "lsn" on, which are in one file. */
static bool
wal_read(const char *data_directory, uint32_t timeline, Lsn lsn, const ControlFile *control,
		 unsigned char *bytes, size_t size, Error *error)
{
	char		path[PATH_MAX];
	int			fd;
	ssize_t		got;

	if (!wal_path(path, data_directory, timeline, lsn, control, error))
		return false;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_set(error, "could not open file \"%s\": %s", path, strerror(errno));
	got = pread(fd, bytes, size, (off_t) (lsn % control->wal_segment_size));
	close(fd);
	if (got != (ssize_t) size)
		return error_set(error, "could not read file \"%s\"", path);
	return true;
}

static bool
has_wal_sizes(const ControlFile *control, Error *error)
{
	if (control->wal_segment_size >= 1024 * 1024 && control->wal_block_size >= 1024)
		return true;
	return error_set(error, "control file has no sizes of WAL");
}

/*
 * Where the record that starts at "lsn" ends, aligned: that is where the next
 * one would begin, and the fork point of a promotion right after it.  Page
 * headers on the way are skipped.
 */
bool
wal_record_end(const char *data_directory, uint32_t timeline, Lsn lsn,
			   const ControlFile *control, Lsn *end, Error *error)
{
	unsigned char bytes[4];
	uint64_t	left;

	if (!has_wal_sizes(control, error))
		return false;
	if (lsn == 0 || (lsn % 8) != 0 || lsn % control->wal_block_size < SHORT_HEADER)
		return error_set(error, "no WAL record can start at %X/%X",
						 (unsigned) (lsn >> 32), (unsigned) lsn);
	if (!wal_read(data_directory, timeline, lsn, control, bytes, sizeof(bytes), error))
		return false;
	left = get32(bytes);
	if (left < RECORD_HEADER || left > RECORD_MAX)
		return error_set(error, "there is no WAL record at %X/%X on timeline %u",
						 (unsigned) (lsn >> 32), (unsigned) lsn, timeline);
	for (;;)
	{
		uint64_t	room = control->wal_block_size - lsn % control->wal_block_size;

		if (left <= room)
			break;
		left -= room;
		lsn += room;
		lsn += page_header(control, lsn);
	}
	*end = (lsn + left + 7) & ~UINT64_C(7);
	return true;
}

/*
 * Where the segment files end that there are from "lsn" on, without a gap.
 * WAL is written in order, so nothing was written there or beyond.
 */
bool
wal_files_end(const char *data_directory, uint32_t timeline, Lsn lsn,
			  const ControlFile *control, Lsn *end, Error *error)
{
	char		path[PATH_MAX];
	bool		is_first = true;

	if (!has_wal_sizes(control, error))
		return false;
	lsn -= lsn % control->wal_segment_size;
	for (;; lsn += control->wal_segment_size, is_first = false)
	{
		if (!wal_path(path, data_directory, timeline, lsn, control, error))
			return false;
		if (access(path, F_OK) == 0)
			continue;
		if (errno != ENOENT || is_first)
			return error_set(error, "could not find file \"%s\": %s", path, strerror(errno));
		*end = lsn;
		return true;
	}
}

/* Where the first record of a page begins, or would: beyond the page if none does. */
static bool
first_record(const char *data_directory, uint32_t timeline, Lsn page,
			 const ControlFile *control, Lsn *start, Error *error)
{
	unsigned char bytes[PAGE_READ];
	uint16_t	flags;

	if (!wal_read(data_directory, timeline, page, control, bytes, sizeof(bytes), error))
		return false;
	if (get64(bytes + AT_PAGE_ADDRESS) != page)
		return error_set(error, "there is no WAL page at %X/%X on timeline %u",
						 (unsigned) (page >> 32), (unsigned) page, timeline);
	memcpy(&flags, bytes + AT_PAGE_FLAGS, sizeof(flags));
	*start = page + page_header(control, page);
	if ((flags & PAGE_STARTS_WITH_REST) != 0)
		*start += (get32(bytes + AT_PAGE_REST) + UINT64_C(7)) & ~UINT64_C(7);
	return true;
}

/*
 * Where the last record ends that is whole before "limit", the end of the
 * files.  The WAL from "start" to there must be known to be valid: this looks
 * at lengths only.  A record that would go on in the missing file is no part
 * of it, as one that goes on in a file of zeros is none.
 */
bool
wal_last_end(const char *data_directory, uint32_t timeline, Lsn start, Lsn limit,
			 const ControlFile *control, Lsn *end, Error *error)
{
	Lsn			page = limit;
	Lsn			lsn = 0;
	Lsn			next = 0;

	if (!has_wal_sizes(control, error))
		return false;
	/* the last page where one begins; after a switch of segments pages are empty */
	while (next == 0)
	{
		if (page < start)
			return error_set(error, "no WAL record begins between %X/%X and %X/%X",
							 (unsigned) (start >> 32), (unsigned) start,
							 (unsigned) (limit >> 32), (unsigned) limit);
		page -= control->wal_block_size;
		if (!first_record(data_directory, timeline, page, control, &lsn, error))
			return false;
		if (lsn >= page + control->wal_block_size ||
			!wal_record_end(data_directory, timeline, lsn, control, &next, error))
			next = 0;
	}
	while (next < limit)
	{
		lsn = next;
		if (lsn % control->wal_block_size == 0)
			lsn += page_header(control, lsn);
		if (!wal_record_end(data_directory, timeline, lsn, control, &next, error))
			break;
	}
	*end = next == limit ? limit : lsn;
	/* the header of a page where nothing is whole is not worth waiting for */
	page = *end - *end % control->wal_block_size;
	if (*end == page + page_header(control, page))
		*end = page;
	return true;
}
