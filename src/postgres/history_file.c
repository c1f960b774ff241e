/*-------------------------------------------------------------------------
 *
 * history_file.c
 *      Timeline history files in pg_wal.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres/postgres_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "postgres/postgres_files.h"
#include "postgres/unused_history.h"

#define HISTORY_FILE_MAX	(1024 * 1024)

/* The reason in a file that history_file_place() made; tells it from a real one. */
#define PLACED_REASON		"timeline id taken by another promotion (patroni)"

/* More timelines than that between a checkpoint and the newest are no gap of ours. */
#define BRIDGE_MAX			1000
/* A server that is still on an older one than so many ago has to be cloned. */
#define OLDER_MAX			100
/* Before any position: the first WAL of a cluster comes later. */
#define BRIDGE_LSN			1

static bool
history_path(const char *data_directory, uint32_t timeline, char path[PATH_MAX])
{
	char		name[40];

	snprintf(name, sizeof(name), "pg_wal/%08X.history", timeline);
	return path_join(path, PATH_MAX, data_directory, name);
}

/*
 * Lines "<timeline> <X/X> <reason>"; comments and empty lines are skipped, as
 * the server does.  Returns how many, -1 when a line is bad or there are more
 * than "max".
 */
int
history_parse(const char *text, TimelineHistory *entries, int max)
{
	int			count = 0;

	while (*text != '\0')
	{
		const char *end = strchrnul(text, '\n');
		const char *at = text;
		unsigned	timeline;
		unsigned	high;
		unsigned	low;
		int			used = 0;
		TimelineHistory *entry;

		while (at < end && strchr(" \t\r", *at) != NULL)
			at++;
		if (at < end && *at != '#')
		{
			if (count >= max || sscanf(at, "%u %X/%X%n", &timeline, &high, &low, &used) != 3 ||
				at + used > end || timeline == 0)
				return -1;
			entry = &entries[count];
			if (count > 0 && timeline <= entries[count - 1].timeline)
				return -1;
			memset(entry, 0, sizeof(*entry));
			entry->timeline = timeline;
			entry->switch_lsn = ((Lsn) high << 32) | low;
			at += used;
			while (at < end && strchr(" \t", *at) != NULL)
				at++;
			snprintf(entry->reason, sizeof(entry->reason), "%.*s", (int) (end - at), at);
			count++;
		}
		text = *end == '\n' ? end + 1 : end;
	}
	return count;
}

/* The local history file of a timeline.  Timeline 1 has none: no entries. */
bool
history_file_read(const char *data_directory, uint32_t timeline, TimelineHistory *entries,
				  int max, int *count, Error *error)
{
	char		path[PATH_MAX];
	char	   *text;

	*count = 0;
	if (timeline <= 1)
		return true;
	if (!history_path(data_directory, timeline, path))
		return error_set(error, "data directory name is too long");
	text = file_read(path, HISTORY_FILE_MAX, NULL);
	if (text == NULL)
		return error_set(error, "could not read file \"%s\": %s", path, strerror(errno));
	*count = history_parse(text, entries, max);
	free(text);
	if (*count < 0)
	{
		*count = 0;
		return error_set(error, "file \"%s\" is no history file with at most %d lines", path, max);
	}
	return true;
}

/*
 * The id after which a promotion would count on, found as the server finds
 * it: the last of the unbroken run of history files after "from".
 */
uint32_t
history_newest_timeline(const char *data_directory, uint32_t from)
{
	char		path[PATH_MAX];
	struct stat st;

	while (from < UINT32_MAX && history_path(data_directory, from + 1, path) && stat(path, &st) == 0)
		from++;
	return from;
}

/* Make a history file, unless there is one. */
static bool
write_file(const char *data_directory, uint32_t timeline, const char *text, size_t length,
		   const char *last_line, Error *error)
{
	char		path[PATH_MAX];
	char		temporary[PATH_MAX + 40];
	char		directory[PATH_MAX];
	FILE	   *file;
	int			fd;
	bool		ok;

	if (!history_path(data_directory, timeline, path) ||
		!path_join(directory, sizeof(directory), data_directory, "pg_wal"))
		return error_set(error, "data directory name is too long");
	if (access(path, F_OK) == 0)
		return true;
	snprintf(temporary, sizeof(temporary), "%s/patroni.%08X.tmp", directory, timeline);
	unlink(temporary);
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
			  data_directory_file_mode(data_directory));
	file = fd < 0 ? NULL : fdopen(fd, "w");
	if (file == NULL)
	{
		error_set(error, "could not create file \"%s\": %s", temporary, strerror(errno));
		if (fd >= 0)
			close(fd);
		return false;
	}
	fwrite(text, 1, length, file);
	if (length > 0 && text[length - 1] != '\n')
		fputc('\n', file);
	fputs(last_line, file);
	ok = fflush(file) == 0 && !ferror(file) && fsync(fd) == 0;
	ok = fclose(file) == 0 && ok;
	if (!ok)
		error_set(error, "could not write file \"%s\": %s", temporary, strerror(errno));
	/* link(), not rename(): a real file that came in between is kept */
	else if (link(temporary, path) != 0 && errno != EEXIST)
		ok = error_set(error, "could not create file \"%s\": %s", path, strerror(errno));
	unlink(temporary);
	return ok && directory_sync(directory, error);
}

/*
 * Mark an id as taken.  The file says that the timeline forked from "parent"
 * at "lsn"; because that is before any position this server may be at, the
 * server never follows it but does not choose its id either.  An existing
 * file is left as it is, whatever it says, and is success.
 */
bool
history_file_place(const char *data_directory, uint32_t timeline, uint32_t parent, Lsn lsn,
				   Error *error)
{
	char		parent_path[PATH_MAX];
	char		line[sizeof(PLACED_REASON) + 64];
	char	   *inherited = NULL;
	bool		ok;

	if (timeline <= parent || parent == 0)
		return error_set(error, "timeline %u cannot fork from timeline %u", timeline, parent);
	if (!history_path(data_directory, parent, parent_path))
		return error_set(error, "data directory name is too long");
	if (parent > 1)
		inherited = file_read(parent_path, HISTORY_FILE_MAX, NULL);	/* none: one line will do */
	snprintf(line, sizeof(line), "%u\t%X/%X\t%s\n", parent, (unsigned) (lsn >> 32), (unsigned) lsn,
			 PLACED_REASON);
	ok = write_file(data_directory, timeline, inherited == NULL ? "" : inherited,
					inherited == NULL ? 0 : strlen(inherited), line, error);
	free(inherited);
	return ok;
}

/* Did history_file_place() make it?  Of a copy, too. */
static bool
is_placed(const char *path)
{
	size_t		length;
	char	   *text = file_read(path, HISTORY_FILE_MAX, &length);
	char	   *last;
	bool		is_ours;

	if (text == NULL)
		return false;
	if (length > 0 && text[length - 1] == '\n')
		text[length - 1] = '\0';
	last = strrchr(text, '\n');
	is_ours = strstr(last == NULL ? text : last, PLACED_REASON) != NULL;
	free(text);
	return is_ours;
}

/*
 * Take away what history_file_place() made, here or on the server it was
 * fetched from.  Called before following an upstream: the walreceiver does not
 * fetch a history file that is there.
 *
 * Those of timelines older than the newest with WAL or a real history file
 * here stay.  They hide nothing, as we come, or go, past them, but they are
 * links of a chain: a server that starts from a checkpoint of timeline 1 looks
 * for 00000002.history, then for 00000003.history, and ends at the first that
 * is not there.  With a minimum recovery point on timeline 3 it would not start
 * any more.
 */
void
history_files_remove_placed(const char *data_directory)
{
	char		directory[PATH_MAX];
	char		path[PATH_MAX];
	DIR		   *dir;
	struct dirent *entry;
	uint32_t	from;
	uint32_t	timeline;

	if (!path_join(directory, sizeof(directory), data_directory, "pg_wal"))
		return;
	dir = opendir(directory);
	if (dir == NULL)
		return;
	from = history_newest_segment(dir, 0);
	while ((entry = readdir(dir)) != NULL)
	{
		timeline = history_timeline_of(directory, entry->d_name, path);
		if (timeline > from && !is_placed(path))
			from = timeline;
	}
	rewinddir(dir);
	while ((entry = readdir(dir)) != NULL)
	{
		timeline = history_timeline_of(directory, entry->d_name, path);
		if (timeline != 0 && timeline >= from && is_placed(path))
			unlink(path);
	}
	closedir(dir);
}

/*
 * The file of an older timeline, from that of one which comes from it: all the
 * lines before its own.  NULL: it does not come from there.
 */
static const char *
own_line(const char *text, uint32_t timeline)
{
	for (const char *line = text; line != NULL && line[0] != '\0';)
	{
		char	   *end;
		unsigned long id = strtoul(line, &end, 10);

		if (end != line && id == timeline)
			return line;
		line = strchr(line, '\n');
		if (line != NULL)
			line++;
	}
	return NULL;
}

/*
 * Before a standby is started, after the above: have a history file of each
 * timeline up to the newest there is one of.
 *
 * Where one is missing between the timeline of the checkpoint, "from", and the
 * newest, the server would not look any further.  Where an older one is missing, as
 * after pg_basebackup, which fetches that of the newest only, no standby could
 * stream from this server, once it leads, that is on a timeline before it: a
 * walreceiver asks for all in between, and gives up at the first it does not get.
 *
 * What a timeline's own history says of an older one is put into the file of
 * that; an id in between was left out, because another promotion took it.
 */
bool
history_files_bridge(const char *data_directory, uint32_t from, Error *error)
{
	char		directory[PATH_MAX];
	char		path[PATH_MAX];
	char	   *text;
	DIR		   *dir;
	struct dirent *entry;
	uint32_t	newest = 0;
	bool		ok = true;

	if (!path_join(directory, sizeof(directory), data_directory, "pg_wal"))
		return error_set(error, "data directory name is too long");
	dir = opendir(directory);
	if (dir == NULL)
		return error_set(error, "could not open directory \"%s\": %s", directory, strerror(errno));
	while ((entry = readdir(dir)) != NULL)
	{
		uint32_t	timeline = history_timeline_of(directory, entry->d_name, path);

		if (timeline > newest)
			newest = timeline;
	}
	closedir(dir);
	if (from == 0 || (newest > from && newest - from > BRIDGE_MAX) ||
		!history_path(data_directory, newest, path))
		return true;
	text = file_read(path, HISTORY_FILE_MAX, NULL);
	for (uint32_t id = from > OLDER_MAX + 1 ? from - OLDER_MAX : 2; ok && id < newest; id++)
	{
		const char *line = text == NULL ? NULL : own_line(text, id);

		if (line == NULL)
			ok = history_file_place(data_directory, id, id > from ? from : 1, BRIDGE_LSN, error);
		else if (line != text)
			ok = write_file(data_directory, id, text, (size_t) (line - text), "", error);
	}
	free(text);
	return ok;
}
