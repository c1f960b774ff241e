/*-------------------------------------------------------------------------
 *
 * data_files.c
 *      Removing a data directory's content, or moving it aside.
 *
 * Symbolic links are never followed, but for pg_wal and the tablespaces in
 * pg_tblspc: what belongs to this cluster there goes as well.
 *-------------------------------------------------------------------------
 */
#include "supervisor/data_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "postgres/postgres_dir.h"
#include "postgres/postgres_files.h"

#define DEPTH_MAX		64
#define LINKS_MAX		1024

static bool remove_content(int fd, const char *prefix, int depth, Error *error);

/* Remove one entry of the directory "parent", whatever it is. */
static bool
remove_entry(int parent, const char *name, int depth, Error *error)
{
	int			fd;
	bool		ok;

	if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
		return true;
	if (errno != EISDIR && errno != EPERM)
		return error_set(error, "could not remove \"%s\": %s", name, strerror(errno));
	fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return error_set(error, "could not open directory \"%s\": %s", name, strerror(errno));
	ok = depth < DEPTH_MAX ? remove_content(fd, NULL, depth + 1, error) :
		error_set(error, "directory \"%s\" is nested too deep", name);
	close(fd);
	if (ok && unlinkat(parent, name, AT_REMOVEDIR) != 0 && errno != ENOENT)
		ok = error_set(error, "could not remove directory \"%s\": %s", name, strerror(errno));
	return ok;
}

/* Remove what is in a directory (names that begin with prefix, or all). */
static bool
remove_content(int fd, const char *prefix, int depth, Error *error)
{
	int			copy = dup(fd);
	DIR		   *dir = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;
	bool		ok = true;

	if (dir == NULL)
	{
		if (copy >= 0)
			close(copy);
		return error_set(error, "could not read directory: %s", strerror(errno));
	}
	rewinddir(dir);
	while (ok && (entry = readdir(dir)) != NULL)
	{
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
			(depth == 0 && strcmp(entry->d_name, "lost+found") == 0) ||
			(prefix != NULL && strncmp(entry->d_name, prefix, strlen(prefix)) != 0))
			continue;
		ok = remove_entry(fd, entry->d_name, depth, error);
	}
	closedir(dir);
	return ok;
}

static bool
remove_content_of(const char *path, const char *prefix, Error *error)
{
	int			fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool		ok;

	if (fd < 0)
		return errno == ENOENT ? true :
			error_set(error, "could not open directory \"%s\": %s", path, strerror(errno));
	ok = remove_content(fd, prefix, 0, error);
	close(fd);
	return ok ? true : error_wrap(error, "in \"%s\"", path);
}

/* What must hold before anything is taken away. */
static bool
check_directory(const char *data_directory, Error *error)
{
	PostmasterFile file;
	char		real[PATH_MAX];

	if (data_directory[0] != '/' || strlen(data_directory) >= PATH_MAX - 64)
		return error_set(error, "data directory \"%s\" is no absolute path", data_directory);
	if (realpath(data_directory, real) == NULL)
		return error_set(error, "could not resolve data directory \"%s\": %s",
						 data_directory, strerror(errno));
	if (strcmp(real, "/") == 0)
		return error_set(error, "data directory \"%s\" is the root directory", data_directory);
	if ((postmaster_file_read(data_directory, &file) &&
		 postmaster_is_alive(data_directory, file.pid)) || postmaster_orphans(data_directory, 0) > 0)
		return error_set(error, "a server runs in data directory \"%s\"", data_directory);
	return true;
}

/* The links that lead out: pg_wal and pg_tblspc/<oid>.  Their real paths. */
typedef struct Link
{
	char		link[PATH_MAX];
	char		real[PATH_MAX];
	bool		is_wal;
} Link;

static void
add_link(Link *links, int *n_links, const char *directory, const char *name, bool is_wal)
{
	struct stat st;
	Link	   *link = &links[*n_links];

	if (*n_links >= LINKS_MAX || !path_join(link->link, sizeof(link->link), directory, name) ||
		lstat(link->link, &st) != 0 || !S_ISLNK(st.st_mode) || realpath(link->link, link->real) == NULL)
		return;
	link->is_wal = is_wal;
	(*n_links)++;
}

static int
find_links(const char *data_directory, Link *links)
{
	char		path[PATH_MAX];
	int			n_links = 0;
	DIR		   *dir;
	struct dirent *entry;

	add_link(links, &n_links, data_directory, "pg_wal", true);
	if (!path_join(path, sizeof(path), data_directory, "pg_tblspc") || (dir = opendir(path)) == NULL)
		return n_links;
	while ((entry = readdir(dir)) != NULL)
		if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9')
			add_link(links, &n_links, path, entry->d_name, false);
	closedir(dir);
	return n_links;
}

/* The directory itself stays: it may be a mount point. */
bool
data_files_remove(const char *data_directory, Error *error)
{
	Link	   *links;
	int			n_links;
	char		prefix[32] = "PG_";
	int			major;
	bool		ok = true;
	struct stat st;

	if (stat(data_directory, &st) != 0 && errno == ENOENT)
		return true;
	if (!check_directory(data_directory, error))
		return false;
	links = calloc(LINKS_MAX, sizeof(Link));
	if (links == NULL)
		return error_set(error, "out of memory");
	n_links = find_links(data_directory, links);
	if (data_directory_version(data_directory, &major, NULL))
		snprintf(prefix, sizeof(prefix), "PG_%d_", major);
	for (int i = 0; ok && i < n_links; i++)
		ok = remove_content_of(links[i].real, links[i].is_wal ? NULL : prefix, error);
	ok = ok && remove_content_of(data_directory, NULL, error);
	free(links);
	if (ok)
	{
		data_mark_clear(data_directory);
		data_former_primary_clear(data_directory);
	}
	return ok ? true : error_wrap(error, "could not empty data directory \"%s\"", data_directory);
}

/* Rename to <path>.failed; what has that name already goes. */
/*
 * Is this the directory of a logical slot?  Its file "state" begins with four
 * numbers, the name of the slot, and the id of its database.
 */
static bool
is_logical_slot(int parent, const char *name)
{
	char		path[PATH_MAX];
	char		head[84];
	uint32_t	database = 0;
	int			fd;

	snprintf(path, sizeof(path), "%s/state", name);
	fd = openat(parent, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (read(fd, head, sizeof(head)) == (ssize_t) sizeof(head))
		memcpy(&database, head + 80, sizeof(database));
	close(fd);
	return database != 0;
}

/*
 * What a logical slot says of a timeline that this server has left (pg_rewind)
 * is worth nothing: its consumer would skip what is there now.  It is copied
 * again from the leader.
 */
bool
data_files_remove_logical_slots(const char *data_directory, Error *error)
{
	char		path[PATH_MAX];
	DIR		   *dir;
	struct dirent *entry;
	bool		ok = true;

	if (!check_directory(data_directory, error))
		return false;
	snprintf(path, sizeof(path), "%s/pg_replslot", data_directory);
	dir = opendir(path);
	if (dir == NULL)
		return errno == ENOENT ? true :
			error_set(error, "could not open directory \"%s\": %s", path, strerror(errno));
	while (ok && (entry = readdir(dir)) != NULL)
	{
		if (entry->d_name[0] != '.' && is_logical_slot(dirfd(dir), entry->d_name))
			ok = remove_entry(dirfd(dir), entry->d_name, 0, error);
	}
	closedir(dir);
	return ok;
}

static bool
rename_failed(const char *path, char target[PATH_MAX], Error *error)
{
	size_t		length = strlen(path);

	while (length > 1 && path[length - 1] == '/')
		length--;
	if (snprintf(target, PATH_MAX, "%.*s.failed", (int) length, path) >= PATH_MAX)
		return error_set(error, "name of \"%s\" is too long", path);
	if (!remove_entry(AT_FDCWD, target, 0, error))
		return false;
	if (rename(path, target) != 0)
		return error_set(error, "could not rename \"%s\" to \"%s\": %s", path, target, strerror(errno));
	return true;
}

/* To <data directory>.failed, with the targets of pg_wal and tablespaces. */
bool
data_files_move_aside(const char *data_directory, Error *error)
{
	Link	   *links;
	int			n_links;
	char		target[PATH_MAX];
	bool		ok = true;
	struct stat st;

	if (stat(data_directory, &st) != 0 && errno == ENOENT)
		return true;
	if (!check_directory(data_directory, error))
		return false;
	links = calloc(LINKS_MAX, sizeof(Link));
	if (links == NULL)
		return error_set(error, "out of memory");
	n_links = find_links(data_directory, links);
	for (int i = 0; ok && i < n_links; i++)
	{
		ok = rename_failed(links[i].real, target, error);
		if (ok && (unlink(links[i].link) != 0 || symlink(target, links[i].link) != 0))
			ok = error_set(error, "could not change link \"%s\": %s", links[i].link, strerror(errno));
	}
	free(links);
	ok = ok && rename_failed(data_directory, target, error);
	if (ok)
	{
		data_mark_clear(data_directory);
		data_former_primary_clear(data_directory);
	}
	return ok;
}
