/*-------------------------------------------------------------------------
 *
 * process.c
 *      The supervisor's children: starting them clean and learning of their
 *      end.
 *
 *-------------------------------------------------------------------------
 */
#include "supervisor/process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct Watch
{
	pid_t		pid;			/* 0 = free */
	ProcessExited exited;
	void	   *context;
} Watch;

struct ProcessTable
{
	struct event *sigchld;
	Watch		watches[PROCESS_WATCH_MAX];
};

/* Reap all there is.  Strangers re-parented to us are simply buried. */
static void
on_sigchld(evutil_socket_t signal, short what, void *context)
{
	ProcessTable *table = context;

	(void) signal;
	(void) what;
	for (;;)
	{
		int			status;
		pid_t		pid = waitpid(-1, &status, WNOHANG);

		if (pid < 0 && errno == EINTR)
			continue;
		if (pid <= 0)
			break;
		for (int i = 0; i < PROCESS_WATCH_MAX; i++)
		{
			Watch		watch = table->watches[i];

			if (watch.pid != pid)
				continue;
			table->watches[i].pid = 0;
			watch.exited(watch.context, pid, status);
			break;
		}
	}
}

/* Handle SIGCHLD from now on and be the subreaper.  NULL: no memory. */
ProcessTable *
process_table_create(struct event_base *base)
{
	ProcessTable *table = calloc(1, sizeof(*table));

	if (table == NULL)
		return NULL;
	table->sigchld = evsignal_new(base, SIGCHLD, on_sigchld, table);
	if (table->sigchld == NULL || evsignal_add(table->sigchld, NULL) != 0)
	{
		process_table_free(table);
		return NULL;
	}
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	return table;
}

void
process_table_free(ProcessTable *table)
{
	if (table == NULL)
		return;
	if (table->sigchld != NULL)
		event_free(table->sigchld);
	free(table);
}

/* False: too many are watched. */
bool
process_watch(ProcessTable *table, pid_t pid, ProcessExited exited, void *context)
{
	for (int i = 0; i < PROCESS_WATCH_MAX; i++)
		if (table->watches[i].pid == 0)
		{
			table->watches[i] = (Watch) {.pid = pid, .exited = exited, .context = context};
			return true;
		}
	return false;
}

/* The child is still reaped, but nobody hears of it. */
void
process_unwatch(ProcessTable *table, pid_t pid)
{
	for (int i = 0; i < PROCESS_WATCH_MAX; i++)
		if (table->watches[i].pid == pid)
			table->watches[i].pid = 0;
}

void
process_status_text(int wait_status, char *text, size_t size)
{
	if (WIFEXITED(wait_status))
		snprintf(text, size, "exited with exit code %d", WEXITSTATUS(wait_status));
	else if (WIFSIGNALED(wait_status))
		snprintf(text, size, "was terminated by signal %d: %s", WTERMSIG(wait_status),
				 strsignal(WTERMSIG(wait_status)));
	else
		snprintf(text, size, "ended with status %d", wait_status);
}

int
process_pidfd(pid_t pid)
{
	return (int) syscall(SYS_pidfd_open, pid, 0);
}

/* See process.h. */
pid_t
process_fork(void)
{
	sigset_t	all;
	sigset_t	before;
	pid_t		pid;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	pid = fork();
	if (pid != 0)
		sigprocmask(SIG_SETMASK, &before, NULL);
	return pid;
}

/*
 * In a new child: nothing of the parent's loop may live on here.  The
 * descriptors of its epoll, sockets and the locked lease page are closed (the
 * lock stays with the parent's own descriptor).
 */
void
process_child_init(int keep)
{
	sigset_t	none;
	int			null_fd;

	for (int number = 1; number < NSIG; number++)
		if (number != SIGKILL && number != SIGSTOP)
			signal(number, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (keep >= 0 && keep != 3)
	{
		dup2(keep, 3);
		keep = 3;
	}
	syscall(SYS_close_range, keep >= 0 ? 4u : 3u, ~0u, 0u);
	null_fd = open("/dev/null", O_RDWR);
	if (null_fd >= 0)
	{
		dup2(null_fd, 0);
		if (null_fd > 2)
			close(null_fd);
	}
}

/* As patroni/postgresql/postmaster.py, start(), and more: PG* would change what tools connect to. */
void
process_scrub_environment(void)
{
	static const char *const prefixes[] = {"PATRONI_", "KUBERNETES_", "NOTIFY_SOCKET=", "WATCHDOG_",
		"LISTEN_PID=", "LISTEN_FDS=", "LISTEN_FDNAMES=", "PGPASSWORD=", "PGOPTIONS=", "PGHOST=",
	"PGHOSTADDR=", "PGPORT=", "PGUSER=", "PGDATABASE=", "PGSERVICE", "PGDATA=", "PGPASSFILE="};
	const char *arena = getenv("PG_MALLOC_ARENA_MAX");

	if (arena != NULL)
	{
		setenv("MALLOC_ARENA_MAX", arena, 1);
		unsetenv("PG_MALLOC_ARENA_MAX");
	}
	for (char **variable = environ; variable != NULL && *variable != NULL;)
	{
		bool		scrub = false;
		char		name[256];
		size_t		length = strcspn(*variable, "=");

		for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
			scrub = scrub || strncmp(*variable, prefixes[i], strlen(prefixes[i])) == 0;
		if (scrub && length > 0 && length < sizeof(name))
		{
			memcpy(name, *variable, length);
			name[length] = '\0';
			unsetenv(name);			/* moves the rest down */
		}
		else
			variable++;
	}
}
