/*-------------------------------------------------------------------------
 *
 * stall.c
 *      A library for LD_PRELOAD: a disk that stops.
 *
 * As long as the file $STALL_CONTROL exists, what flushes a file, or makes
 * one, below $STALL_DIRECTORY does not return.  The word in the file says for
 * whom: "wal" is for server processes and files in pg_wal alone, "disk" is for
 * all.  As in the kernel, a process that waits here takes no signal but
 * SIGKILL.
 *
 *-------------------------------------------------------------------------
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int (*OpenFunction) (const char *path, int flags, ...);

/* What the control file says now; "" = nothing stops. */
static void
read_mode(char mode[16])
{
	static OpenFunction real_open;
	const char *control = getenv("STALL_CONTROL");
	ssize_t		length = 0;
	int			fd = -1;

	if (real_open == NULL)
		real_open = (OpenFunction) dlsym(RTLD_NEXT, "open");
	if (control != NULL && access(control, R_OK) == 0)
		fd = real_open(control, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
	{
		length = read(fd, mode, 15);
		close(fd);
	}
	mode[length > 0 ? length : 0] = '\0';
	mode[strcspn(mode, "\n")] = '\0';
}

/* Not by its arguments: the server writes its title over them. */
static bool
is_server(void)
{
	char		path[PATH_MAX];
	ssize_t		length = readlink("/proc/self/exe", path, sizeof(path) - 1);

	return length > 9 && memcmp(path + length - 9, "/postgres", 9) == 0;
}

static bool
is_stopped(const char *path)
{
	const char *directory = getenv("STALL_DIRECTORY");
	char		mode[16];

	if (directory == NULL || strncmp(path, directory, strlen(directory)) != 0)
		return false;
	read_mode(mode);
	if (strcmp(mode, "wal") == 0)
		return strstr(path, "/pg_wal/") != NULL && is_server();
	return strcmp(mode, "disk") == 0;
}

static void
wait_while_stopped(const char *path)
{
	int			before_errno = errno;
	sigset_t	all;
	sigset_t	before;

	if (is_stopped(path))
	{
		sigfillset(&all);
		sigprocmask(SIG_SETMASK, &all, &before);
		while (is_stopped(path))
			(void) poll(NULL, 0, 5);
		sigprocmask(SIG_SETMASK, &before, NULL);
	}
	errno = before_errno;
}

static void
wait_for_file(int fd)
{
	char		link[64];
	char		path[PATH_MAX];
	ssize_t		length;
	int			before_errno = errno;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	length = readlink(link, path, sizeof(path) - 1);
	errno = before_errno;
	if (length <= 0)
		return;
	path[length] = '\0';
	wait_while_stopped(path);
}

#define FLUSH(name) \
	int \
	name(int fd) \
	{ \
		static int	(*real) (int fd); \
\
		if (real == NULL) \
			real = (int (*) (int)) dlsym(RTLD_NEXT, #name); \
		wait_for_file(fd); \
		return real(fd); \
	}

FLUSH(fsync)
FLUSH(fdatasync)

/* A relative name is one in the data directory: there servers live. */
static void
wait_to_make(const char *path, int flags)
{
	char		directory[PATH_MAX];
	char		full[2 * PATH_MAX];

	if ((flags & (O_CREAT | __O_TMPFILE)) == 0)
		return;
	if (path[0] == '/' || getcwd(directory, sizeof(directory)) == NULL)
		wait_while_stopped(path);
	else
	{
		snprintf(full, sizeof(full), "%s/%s", directory, path);
		wait_while_stopped(full);
	}
}

#define OPEN(name) \
	int \
	name(const char *path, int flags, ...) \
	{ \
		static OpenFunction real; \
		mode_t		mode = 0; \
		va_list		args; \
\
		if (real == NULL) \
			real = (OpenFunction) dlsym(RTLD_NEXT, #name); \
		va_start(args, flags); \
		if ((flags & (O_CREAT | __O_TMPFILE)) != 0) \
			mode = (mode_t) va_arg(args, int); \
		va_end(args); \
		wait_to_make(path, flags); \
		return real(path, flags, mode); \
	}

OPEN(open)
OPEN(open64)
