/*-------------------------------------------------------------------------
 *
 * data_directory.c
 *      Is there a usable cluster in the data directory?
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

#define MARK_SUFFIX		".patroni-incomplete"
#define FORMER_SUFFIX		".patroni-former-primary"

/* The data directory's mode decides for files inside it, as in the server. */
mode_t
data_directory_file_mode(const char *data_directory)
{
	struct stat st;

	if (stat(data_directory, &st) == 0 && (st.st_mode & 0050) == 0050)
		return 0640;
	return 0600;
}

static bool
beside(const char *data_directory, const char *suffix, char path[PATH_MAX])
{
	size_t		length = strlen(data_directory);

	while (length > 1 && data_directory[length - 1] == '/')
		length--;
	return snprintf(path, PATH_MAX, "%.*s%s", (int) length, data_directory, suffix) < PATH_MAX;
}

static bool
mark_path(const char *data_directory, char path[PATH_MAX])
{
	return beside(data_directory, MARK_SUFFIX, path);
}

/*
 * Say that a clone or a rewind has begun.  Best effort: the parent directory
 * may belong to somebody else, then a crash half-way needs an operator.
 */
void
data_mark_set(const char *data_directory, DataMark mark, uint32_t timeline)
{
	char		path[PATH_MAX];
	char		text[128];
	struct stat st;
	Error		ignored;
	int			length;

	if (!mark_path(data_directory, path) || stat(data_directory, &st) != 0)
		return;
	length = snprintf(text, sizeof(text), "%s %llu %llu %u\n",
					  mark == DATA_MARK_REWIND ? "rewind" : "clone",
					  (unsigned long long) st.st_dev, (unsigned long long) st.st_ino, timeline);
	if (!file_replace(path, text, (size_t) length, 0600, &ignored))
		return;
}

static DataMark
read_mark(const char *data_directory, unsigned *timeline)
{
	char		path[PATH_MAX];
	char		opts[PATH_MAX];
	char		word[16];
	char	   *text;
	unsigned long long dev;
	unsigned long long ino;
	struct stat st;
	DataMark	mark = DATA_MARK_NONE;

	*timeline = 0;
	if (!mark_path(data_directory, path) || stat(data_directory, &st) != 0)
		return DATA_MARK_NONE;
	text = file_read(path, 1024, NULL);
	if (text == NULL)
		return DATA_MARK_NONE;
	if (sscanf(text, "%15s %llu %llu %u", word, &dev, &ino, timeline) >= 3 &&
		dev == (unsigned long long) st.st_dev && ino == (unsigned long long) st.st_ino)
	{
		if (strcmp(word, "rewind") == 0)
			mark = DATA_MARK_REWIND;
		else if (path_join(opts, sizeof(opts), data_directory, "postmaster.opts") &&
				 access(opts, F_OK) != 0)
			mark = DATA_MARK_CLONE;
	}
	free(text);
	return mark;
}

/*
 * What the mark says, if it is about this very directory.  A directory in
 * which a server was started (postmaster.opts, which base backups leave out)
 * is never taken for an unfinished clone.
 */
DataMark
data_mark_get(const char *data_directory)
{
	unsigned	timeline;

	return read_mark(data_directory, &timeline);
}

/* Of a rewind: from which timeline of a leader; 0 = there is none, or it is not known. */
uint32_t
data_mark_timeline(const char *data_directory)
{
	unsigned	timeline;

	return read_mark(data_directory, &timeline) == DATA_MARK_REWIND ? timeline : 0;
}

void
data_mark_clear(const char *data_directory)
{
	char		path[PATH_MAX];

	if (mark_path(data_directory, path))
		unlink(path);
}

/*
 * Say that what is about to be started as a standby was a primary, on that
 * timeline (0 = not known), and has not been compared with a leader.  Once it
 * has run as a standby pg_control does not tell any more.
 */
bool
data_former_primary_set(const char *data_directory, uint32_t timeline, Error *error)
{
	char		path[PATH_MAX];
	char		text[128];
	struct stat st;
	int			length;

	if (!beside(data_directory, FORMER_SUFFIX, path))
		return error_set(error, "data directory name is too long");
	if (stat(data_directory, &st) != 0)
		return error_set(error, "could not stat \"%s\": %s", data_directory, strerror(errno));
	length = snprintf(text, sizeof(text), "%u %llu %llu\n", timeline,
					  (unsigned long long) st.st_dev, (unsigned long long) st.st_ino);
	return file_replace(path, text, (size_t) length, 0600, error);
}

/* Was that said of this very directory? */
bool
data_former_primary_get(const char *data_directory, uint32_t *timeline)
{
	char		path[PATH_MAX];
	char	   *text;
	unsigned	id;
	unsigned long long dev;
	unsigned long long ino;
	struct stat st;
	bool		is_one;

	*timeline = 0;
	if (!beside(data_directory, FORMER_SUFFIX, path))
		return false;
	text = file_read(path, 1024, NULL);
	if (text == NULL)
		return false;
	is_one = sscanf(text, "%u %llu %llu", &id, &dev, &ino) == 3 && stat(data_directory, &st) == 0 &&
		dev == (unsigned long long) st.st_dev && ino == (unsigned long long) st.st_ino;
	free(text);
	if (is_one)
		*timeline = id;
	return is_one;
}

/* It has been compared, or its content is another one. */
void
data_former_primary_clear(const char *data_directory)
{
	char		path[PATH_MAX];

	if (beside(data_directory, FORMER_SUFFIX, path))
		unlink(path);
}

/* 15 for "15". */
bool
data_directory_version(const char *data_directory, int *major, Error *error)
{
	char		path[PATH_MAX];
	char	   *text;

	if (!path_join(path, sizeof(path), data_directory, "PG_VERSION"))
		return error_set(error, "data directory name is too long");
	text = file_read(path, 64, NULL);
	if (text == NULL)
		return error_set(error, "could not read file \"%s\": %s", path, strerror(errno));
	*major = atoi(text);
	free(text);
	if (*major < 9 || *major > 99)
		return error_set(error, "file \"%s\" does not hold a version", path);
	return true;
}

/* Hidden files and lost+found do not count, as in Patroni. */
static bool
is_empty(DIR *dir)
{
	struct dirent *entry;

	while ((entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.' && strcmp(entry->d_name, "lost+found") != 0)
			return false;
	return true;
}

/* Fill .data, .problem and, when present, the pg_control part. */
void
data_directory_look(const char *data_directory, HaPostgres *postgres)
{
	char		path[PATH_MAX];
	Error		error;
	struct stat st;
	DIR		   *dir;
	bool		empty;
	int			major;

	postgres->problem[0] = '\0';
	postgres->is_standby_configured = false;
	postgres->is_former_primary = false;
	postgres->former_timeline = 0;
	dir = opendir(data_directory);
	if (dir == NULL)
	{
		if (errno == ENOENT)
			postgres->data = HA_DATA_EMPTY;
		else
		{
			postgres->data = HA_DATA_UNREADABLE;
			snprintf(postgres->problem, sizeof(postgres->problem),
					 "could not open data directory: %s", strerror(errno));
		}
		return;
	}
	empty = is_empty(dir);
	if (fstat(dirfd(dir), &st) != 0)
		memset(&st, 0, sizeof(st));
	closedir(dir);
	if (empty || data_mark_get(data_directory) == DATA_MARK_CLONE)
	{
		postgres->data = HA_DATA_EMPTY;
		return;
	}
	if (st.st_uid != geteuid())
	{
		postgres->data = HA_DATA_UNREADABLE;
		snprintf(postgres->problem, sizeof(postgres->problem),
				 "data directory belongs to user %u, this process runs as user %u",
				 (unsigned) st.st_uid, (unsigned) geteuid());
		return;
	}
	if (!data_directory_version(data_directory, &major, &error) ||
		!control_file_read(data_directory, postgres, &error))
	{
		postgres->data = HA_DATA_UNREADABLE;
		snprintf(postgres->problem, sizeof(postgres->problem), "%.250s", error.message);
		return;
	}
	postgres->data = HA_DATA_PRESENT;
	if (postgres->version_num / 10000 != major)
		postgres->version_num = major * 10000;
	postgres->is_former_primary = data_former_primary_get(data_directory, &postgres->former_timeline);
	postgres->is_standby_configured =
		(path_join(path, sizeof(path), data_directory, "standby.signal") && access(path, F_OK) == 0) ||
		(path_join(path, sizeof(path), data_directory, "recovery.signal") && access(path, F_OK) == 0);
}
