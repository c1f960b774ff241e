/*-------------------------------------------------------------------------
 *
 * control_file.c
 *      Reads pg_control without the server's headers, and finds the end of a
 *      WAL record.
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

/*
 * Where the record that starts at "lsn" ends, aligned: that is where the next
 * one would begin, and the fork point of a promotion right after it.  Page
 * headers on the way are skipped.
 */
bool
wal_record_end(const char *data_directory, uint32_t timeline, Lsn lsn,
			   const ControlFile *control, Lsn *end, Error *error)
{
	const uint32_t short_header = 24;
	const uint32_t long_header = 40;
	uint32_t	segment_size = control->wal_segment_size;
	uint32_t	block_size = control->wal_block_size;
	uint64_t	segments_per_id;
	uint64_t	segment;
	char		name[64];
	char		path[PATH_MAX];
	unsigned char bytes[4];
	uint64_t	left;
	int			fd;
	ssize_t		got;

	if (segment_size < 1024 * 1024 || block_size < 1024 || lsn == 0 || (lsn % 8) != 0 ||
		lsn % block_size < short_header)
		return error_set(error, "no WAL record can start at %X/%X",
						 (unsigned) (lsn >> 32), (unsigned) lsn);
	segments_per_id = UINT64_C(0x100000000) / segment_size;
	segment = lsn / segment_size;
	snprintf(name, sizeof(name), "pg_wal/%08X%08X%08X", timeline,
			 (unsigned) (segment / segments_per_id), (unsigned) (segment % segments_per_id));
	if (!path_join(path, sizeof(path), data_directory, name))
		return error_set(error, "data directory name is too long");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_set(error, "could not open file \"%s\": %s", path, strerror(errno));
	got = pread(fd, bytes, sizeof(bytes), (off_t) (lsn % segment_size));
	close(fd);
	if (got != (ssize_t) sizeof(bytes))
		return error_set(error, "could not read file \"%s\"", path);
	left = get32(bytes);
	if (left < 24 || left > 1024 * 1024 * 1024)
		return error_set(error, "there is no WAL record at %X/%X in file \"%s\"",
						 (unsigned) (lsn >> 32), (unsigned) lsn, path);
	for (;;)
	{
		uint64_t	room = block_size - lsn % block_size;

		if (left <= room)
			break;
		left -= room;
		lsn += room;
		lsn += lsn % segment_size == 0 ? long_header : short_header;
	}
	*end = (lsn + left + 7) & ~UINT64_C(7);
	return true;
}
