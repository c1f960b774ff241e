/*-------------------------------------------------------------------------
 *
 * postmaster_file.c
 *      postmaster.pid, and processes of a data directory as /proc shows them.
 *
 * A server process is one whose executable is named postgres (or postmaster)
 * and whose working directory is the data directory.
 *-------------------------------------------------------------------------
 */
#include "postgres/postgres_dir.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "postgres/postgres_files.h"

/* Line numbers of postmaster.pid, as in the server's utils/pidfile.h. */
enum
{
	LINE_PID = 1,
	LINE_START_TIME = 3,
	LINE_PORT = 4,
	LINE_SOCKET_DIRECTORY = 5,
	LINE_LISTEN_ADDRESS = 6,
	LINE_STATUS = 8,
};

/* False: there is no postmaster.pid, or it holds no pid. */
bool
postmaster_file_read(const char *data_directory, PostmasterFile *file)
{
	char		path[PATH_MAX];
	char	   *text;
	char	   *line;
	int			number = 0;

	memset(file, 0, sizeof(*file));
	if (!path_join(path, sizeof(path), data_directory, "postmaster.pid"))
		return false;
	text = file_read(path, 64 * 1024, NULL);
	if (text == NULL)
		return false;
	for (line = text; line != NULL && *line != '\0';)
	{
		char	   *next = strchr(line, '\n');

		if (next != NULL)
			*next++ = '\0';
		number++;
		if (number == LINE_PID)
		{
			long		pid = strtol(line, NULL, 10);

			file->pid = (pid_t) labs(pid);
			file->is_single_user = pid < 0;
		}
		else if (number == LINE_START_TIME)
			file->start_time_s = strtoll(line, NULL, 10);
		else if (number == LINE_PORT)
			file->port = atoi(line);
		else if (number == LINE_SOCKET_DIRECTORY)
			snprintf(file->socket_directory, sizeof(file->socket_directory), "%s", line);
		else if (number == LINE_LISTEN_ADDRESS)
			snprintf(file->listen_address, sizeof(file->listen_address), "%s", line);
		else if (number == LINE_STATUS)
		{
			size_t		length = strcspn(line, " ");

			if (length < sizeof(file->status))
			{
				memcpy(file->status, line, length);
				file->status[length] = '\0';
			}
		}
		line = next;
	}
	free(text);
	return file->pid > 0;
}

/* Is it a server process with this working directory (dev, ino)? */
static bool
is_server_process(pid_t pid, const struct stat *directory)
{
	char		path[64];
	char		exe[PATH_MAX];
	struct stat cwd;
	ssize_t		length;
	char	   *name;

	snprintf(path, sizeof(path), "/proc/%d/cwd", (int) pid);
	if (stat(path, &cwd) != 0 || cwd.st_dev != directory->st_dev || cwd.st_ino != directory->st_ino)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/exe", (int) pid);
	length = readlink(path, exe, sizeof(exe) - 1);
	if (length <= 0)
		return false;
	exe[length] = '\0';
	name = strrchr(exe, '/');
	name = name == NULL ? exe : name + 1;
	return strcmp(name, "postgres") == 0 || strcmp(name, "postmaster") == 0 ||
		strcmp(name, "postgres (deleted)") == 0 || strcmp(name, "postmaster (deleted)") == 0;
}

/* 0: no such process. */
static pid_t
parent_of(pid_t pid)
{
	char		path[64];
	char		stat_line[1024];
	char	   *after;
	int			parent = 0;
	int			fd;
	ssize_t		got;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int) pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	got = read(fd, stat_line, sizeof(stat_line) - 1);
	close(fd);
	if (got <= 0)
		return 0;
	stat_line[got] = '\0';
	after = strrchr(stat_line, ')');	/* the name may hold anything */
	if (after == NULL || sscanf(after + 1, " %*c %d", &parent) != 1)
		return 0;
	return parent;
}

/*
 * Is that pid a postmaster of this directory?  A backend is none: its parent
 * is a server process as well.
 */
bool
postmaster_is_alive(const char *data_directory, pid_t pid)
{
	struct stat directory;

	if (pid <= 0 || stat(data_directory, &directory) != 0 || !is_server_process(pid, &directory))
		return false;
	return !is_server_process(parent_of(pid), &directory);
}

/* Ask for promotion; it goes on in the server. */
bool
postmaster_promote(const char *data_directory, pid_t postmaster, Error *error)
{
	char		path[PATH_MAX];
	int			fd;

	if (!path_join(path, sizeof(path), data_directory, "promote"))
		return error_set(error, "data directory name is too long");
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, data_directory_file_mode(data_directory));
	if (fd < 0)
		return error_set(error, "could not create file \"%s\": %s", path, strerror(errno));
	close(fd);
	if (postmaster <= 0 || kill(postmaster, SIGUSR1) != 0)
	{
		error_set(error, "could not signal the server for promotion: %s",
				  postmaster <= 0 ? "it is not running" : strerror(errno));
		unlink(path);
		return false;
	}
	return true;
}

/* Have the server read its configuration files again. */
bool
postmaster_reload(pid_t postmaster, Error *error)
{
	if (postmaster <= 0 || kill(postmaster, SIGHUP) != 0)
		return error_set(error, "could not signal the server for reload: %s",
						 postmaster <= 0 ? "it is not running" : strerror(errno));
	return true;
}

/*
 * Server processes without postmaster.  A process whose parent is a server
 * process has one, and the process that postmaster.pid names is one, unless
 * it is itself the child of a stranger and the file is stale: the caller must
 * know that no postmaster is alive before it sends a signal.
 */
int
postmaster_orphans(const char *data_directory, int signal)
{
	struct stat directory;
	PostmasterFile file;
	DIR		   *proc;
	struct dirent *entry;
	int			count = 0;
	bool		has_file = postmaster_file_read(data_directory, &file);

	if (stat(data_directory, &directory) != 0)
		return 0;
	if (has_file && postmaster_is_alive(data_directory, file.pid))
		return 0;
	proc = opendir("/proc");
	if (proc == NULL)
		return 0;
	while ((entry = readdir(proc)) != NULL)
	{
		pid_t		pid;

		if (!isdigit((unsigned char) entry->d_name[0]))
			continue;
		pid = (pid_t) atoi(entry->d_name);
		if (pid == getpid() || !is_server_process(pid, &directory))
			continue;
		count++;
		if (signal != 0)
			kill(pid, signal);
	}
	closedir(proc);
	return count;
}
