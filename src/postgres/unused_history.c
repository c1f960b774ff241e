/*-------------------------------------------------------------------------
 *
 * unused_history.c
 *      History files of timelines of which there is no WAL.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres/unused_history.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool
join(char path[PATH_MAX], const char *directory, const char *name)
{
	int			length = snprintf(path, PATH_MAX, "%s/%s", directory, name);

	return length >= 0 && length < PATH_MAX;
}

/* 8 upper case hexadecimal digits; 0: something else. */
static uint32_t
timeline_of_name(const char *name)
{
	char		digits[9];

	memcpy(digits, name, 8);
	digits[8] = '\0';
	return strspn(digits, "0123456789ABCDEF") == 8 ? (uint32_t) strtoul(digits, NULL, 16) : 0;
}

/* The newest timeline that there is a WAL segment of, "from" if that is newer. */
uint32_t
history_newest_segment(DIR *dir, uint32_t from)
{
	struct dirent *entry;

	while ((entry = readdir(dir)) != NULL)
		if (strlen(entry->d_name) == 24 &&
			strspn(entry->d_name, "0123456789ABCDEF") == 24 &&
			timeline_of_name(entry->d_name) > from)
			from = timeline_of_name(entry->d_name);
	rewinddir(dir);
	return from;
}

/* The timeline of a history file, and its path; 0: it is none. */
uint32_t
history_timeline_of(const char *directory, const char *name, char path[PATH_MAX])
{
	if (strlen(name) != 16 || strcmp(name + 8, ".history") != 0 || !join(path, directory, name))
		return 0;
	return timeline_of_name(name);
}

/*
 * Before a standby begins its recovery: take away the history files of
 * timelines above "from" of which no WAL is here.  Returns how many.
 *
 * The server goes to the newest timeline that it has a history file of, but
 * where it has no segment of that timeline it reads the older one's, also
 * beyond the place where the newer one left it.  A standby that had received
 * more than the new primary, fetched the new history, did not follow and
 * crashed would so replay WAL that is not in its history, and then stream as
 * if all were well.  Without the file it reads its own WAL to the end, fetches
 * the history again, and sees that it does not fit.
 */
int
history_files_remove_unused(const char *data_directory, uint32_t from)
{
	char		directory[PATH_MAX];
	DIR		   *dir;
	struct dirent *entry;
	int			n_removed = 0;

	if (!join(directory, data_directory, "pg_wal"))
		return 0;
	dir = opendir(directory);
	if (dir == NULL)
		return 0;
	from = history_newest_segment(dir, from);
	while ((entry = readdir(dir)) != NULL)
	{
		char		path[PATH_MAX];

		if (history_timeline_of(directory, entry->d_name, path) > from && unlink(path) == 0)
			n_removed++;
	}
	closedir(dir);
	return n_removed;
}
