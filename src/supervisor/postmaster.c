/*-------------------------------------------------------------------------
 *
 * postmaster.c
 *      The server of our data directory, seen from outside.
 *
 * While a postmaster is held, its files are polled only in the short phases
 * in which they say something new: every 5 ms until it accepts connections,
 * every 3 ms after it was told to stop, as nobody takes writes meanwhile.
 * Its end comes from the pidfd.
 *-------------------------------------------------------------------------
 */
#include "supervisor/postmaster.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "postgres/postgres_dir.h"
#include "postgres/postgres_files.h"
#include "supervisor/postmaster_internal.h"

#define START_POLL_US		5000
#define STOP_POLL_US		3000
#define SLOW_POLL_US		100000	/* a start that takes longer than 10 s */
#define ORPHAN_KILL_AFTER_MS	1000

struct Postmaster
{
	struct event_base *base;
	ProcessTable *processes;
	PostmasterOps ops;
	PostmasterListener listener;
	void	   *listener_context;
	Settings	paths;			/* only the directories are set */
	pid_t		pid;			/* 0 = none */
	int			pidfd;			/* -1 = none */
	bool		is_child;
	bool		accepts;
	bool		is_stopping;	/* told to stop by us */
	bool		checkpoint_told;
	struct event *death;
	struct event *poll;
	int64_t		since_ms;
	int64_t		orphans_since_ms;	/* 0 = none seen */
	char		last_end[100];
};

static void on_poll(evutil_socket_t fd, short what, void *context);

static void
tell(Postmaster *postmaster, PostmasterEvent event)
{
	if (postmaster->listener != NULL)
		postmaster->listener(postmaster->listener_context, event);
	if (postmaster->ops.changed != NULL)
		postmaster->ops.changed(postmaster->ops.context, event);
}

static void
log_line(Postmaster *postmaster, int level, const char *message)
{
	if (postmaster->ops.log != NULL)
		postmaster->ops.log(postmaster->ops.context, level, message, NULL, NULL);
}

Postmaster *
postmaster_create(struct event_base *base, ProcessTable *processes, const PostmasterOps *ops)
{
	Postmaster *postmaster = calloc(1, sizeof(*postmaster));

	if (postmaster == NULL)
		return NULL;
	postmaster->base = base;
	postmaster->processes = processes;
	postmaster->ops = *ops;
	postmaster->pidfd = -1;
	postmaster->poll = evtimer_new(base, on_poll, postmaster);
	if (postmaster->poll == NULL)
	{
		free(postmaster);
		return NULL;
	}
	return postmaster;
}

static void
detach(Postmaster *postmaster)
{
	if (postmaster->death != NULL)
		event_free(postmaster->death);
	postmaster->death = NULL;
	if (postmaster->pidfd >= 0)
		close(postmaster->pidfd);
	postmaster->pidfd = -1;
	evtimer_del(postmaster->poll);
	postmaster->pid = 0;
	postmaster->accepts = postmaster->is_child = false;
	postmaster->is_stopping = postmaster->checkpoint_told = false;
}

/* The server is left alone. */
void
postmaster_free(Postmaster *postmaster)
{
	if (postmaster == NULL)
		return;
	if (postmaster->is_child)
		process_unwatch(postmaster->processes, postmaster->pid);
	detach(postmaster);
	event_free(postmaster->poll);
	free(postmaster);
}

/* A running server keeps its directory: changing data_dir needs a restart of us. */
bool
postmaster_configure(Postmaster *postmaster, const Settings *settings, Error *error)
{
	Settings   *paths = &postmaster->paths;

	if (postmaster->pid > 0 && strcmp(paths->data_dir, settings->data_dir) != 0)
		return error_set(error, "data_dir cannot change from \"%s\" to \"%s\" while the server runs",
						 paths->data_dir, settings->data_dir);
	memcpy(paths->data_dir, settings->data_dir, sizeof(paths->data_dir));
	memcpy(paths->config_dir, settings->config_dir, sizeof(paths->config_dir));
	memcpy(paths->config_base_name, settings->config_base_name, sizeof(paths->config_base_name));
	return true;
}

static void
schedule_poll(Postmaster *postmaster, long us)
{
	struct timeval delay = {.tv_sec = us / 1000000, .tv_usec = us % 1000000};

	evtimer_add(postmaster->poll, &delay);
}

static bool
status_accepts(const PostmasterFile *file)
{
	return strcmp(file->status, "ready") == 0 || strcmp(file->status, "standby") == 0;
}

/* Look at the files while they change. */
static void
on_poll(evutil_socket_t fd, short what, void *context)
{
	Postmaster *postmaster = context;
	PostmasterFile file;

	(void) fd;
	(void) what;
	if (postmaster->pid == 0)
		return;
	if (postmaster->is_stopping)
	{
		ControlFile control;

		if (postmaster->checkpoint_told)
			return;
		if (control_file_load(postmaster->paths.data_dir, &control, NULL) &&
			control.state == HA_CONTROL_SHUTDOWNED)
		{
			postmaster->checkpoint_told = true;
			tell(postmaster, POSTMASTER_SHUT_DOWN_CHECKPOINT);
		}
		else
			schedule_poll(postmaster, STOP_POLL_US);
		return;
	}
	if (postmaster->accepts)
		return;
	if (postmaster_file_read(postmaster->paths.data_dir, &file) &&
		file.pid == postmaster->pid && status_accepts(&file))
	{
		postmaster->accepts = true;
		tell(postmaster, POSTMASTER_ACCEPTS);
	}
	else
		schedule_poll(postmaster, clock_now_ms() - postmaster->since_ms < 10000 ?
					  START_POLL_US : SLOW_POLL_US);
}

static void
died(Postmaster *postmaster)
{
	char		message[200];
	bool		told = postmaster->is_stopping;

	snprintf(message, sizeof(message), "postmaster (PID %d) %s", (int) postmaster->pid,
			 postmaster->last_end[0] != '\0' ? postmaster->last_end : "has ended");
	detach(postmaster);
	log_line(postmaster, told ? 1 : 2, message);
	tell(postmaster, POSTMASTER_DIED);
}

/* Our child was reaped. */
static void
on_child_exit(void *context, pid_t pid, int wait_status)
{
	Postmaster *postmaster = context;

	if (pid != postmaster->pid)
		return;
	process_status_text(wait_status, postmaster->last_end, sizeof(postmaster->last_end));
	died(postmaster);
}

/* Somebody else's child has ended. */
static void
on_pidfd(evutil_socket_t fd, short what, void *context)
{
	Postmaster *postmaster = context;

	(void) fd;
	(void) what;
	postmaster->last_end[0] = '\0';
	died(postmaster);
}

static bool
hold(Postmaster *postmaster, pid_t pid, bool is_child, Error *error)
{
	PostmasterFile file;
	int			pidfd = process_pidfd(pid);

	if (pidfd < 0)
		return error_set(error, "could not open process %d: %s", (int) pid, strerror(errno));
	postmaster->pidfd = pidfd;
	postmaster->pid = pid;
	postmaster->is_child = is_child;
	postmaster->since_ms = clock_now_ms();
	postmaster->orphans_since_ms = 0;
	postmaster->last_end[0] = '\0';
	if (is_child)
	{
		if (!process_watch(postmaster->processes, pid, on_child_exit, postmaster))
		{
			detach(postmaster);
			return error_set(error, "too many children are watched");
		}
	}
	else
	{
		/* the pid may have been recycled between reading and opening it */
		if (!postmaster_is_alive(postmaster->paths.data_dir, pid))
		{
			detach(postmaster);
			return error_set(error, "process %d is no server of this directory", (int) pid);
		}
		postmaster->death = event_new(postmaster->base, pidfd, EV_READ, on_pidfd, postmaster);
		if (postmaster->death == NULL || event_add(postmaster->death, NULL) != 0)
		{
			detach(postmaster);
			return error_set(error, "out of memory");
		}
	}
	postmaster->accepts = postmaster_file_read(postmaster->paths.data_dir, &file) &&
		file.pid == pid && status_accepts(&file);
	if (!postmaster->accepts)
		schedule_poll(postmaster, START_POLL_US);
	return true;
}

/* Attach to a server that runs already; false: there is none. */
bool
postmaster_attach(Postmaster *postmaster)
{
	PostmasterFile file;
	char		message[100];

	if (postmaster->pid > 0)
		return true;
	if (!postmaster_file_read(postmaster->paths.data_dir, &file) || file.is_single_user ||
		!postmaster_is_alive(postmaster->paths.data_dir, file.pid) ||
		!hold(postmaster, file.pid, false, NULL))
		return false;
	snprintf(message, sizeof(message), "attached to running postmaster (PID %d)", (int) file.pid);
	log_line(postmaster, 1, message);
	return true;
}

/*
 * Has the running server mapped the lease page that page_fd is?  A server that
 * was started without it, or under a page that was removed since, has no
 * fence, or one that nobody moves.
 *
 * Source: proc(5), /proc/pid/maps.
 */
bool
postmaster_has_page(const Postmaster *postmaster, int page_fd, const char *page_name)
{
	char		path[64];
	char		line[1024];
	struct stat st;
	bool		found = false;
	FILE	   *maps;

	if (fstat(page_fd, &st) != 0)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/maps", (int) postmaster->pid);
	maps = fopen(path, "r");
	if (maps == NULL)
		return false;
	while (!found && fgets(line, sizeof(line), maps) != NULL)
	{
		unsigned long inode;
		const char *name = strrchr(line, '/');

		found = name != NULL && sscanf(line, "%*s %*s %*s %*s %lu", &inode) == 1 &&
			inode == (unsigned long) st.st_ino && strstr(line, " (deleted)") == NULL &&
			strncmp(name, page_name, strlen(page_name)) == 0;
	}
	fclose(maps);
	return found;
}

/* A child of ours that has become a postmaster. */
bool
postmaster_adopt(Postmaster *postmaster, pid_t child, Error *error)
{
	if (postmaster->pid > 0)
		return error_set(error, "there is a postmaster already");
	if (!hold(postmaster, child, true, error))
		return false;
	postmaster->accepts = false;
	tell(postmaster, POSTMASTER_ATTACHED);
	return true;
}

pid_t
postmaster_pid(const Postmaster *postmaster)
{
	return postmaster->pid;
}

bool
postmaster_is_child(const Postmaster *postmaster)
{
	return postmaster->is_child;
}

bool
postmaster_accepts(const Postmaster *postmaster)
{
	return postmaster->accepts;
}

const char *
postmaster_last_end(const Postmaster *postmaster)
{
	return postmaster->last_end;
}

const char *
postmaster_data_directory(const Postmaster *postmaster)
{
	return postmaster->paths.data_dir;
}

void
postmaster_listen(Postmaster *postmaster, PostmasterListener listener, void *context)
{
	postmaster->listener = listener;
	postmaster->listener_context = context;
}

/* Fill *postgres from files alone. */
void
postmaster_observe(Postmaster *postmaster, HaPostgres *postgres)
{
	const char *data_dir = postmaster->paths.data_dir;
	PostmasterFile file;
	Error		ignored;

	bool		has_file;

	if (postmaster->pid == 0)
		postmaster_attach(postmaster);
	/* before pg_control, which is then at least as new */
	has_file = postmaster->pid > 0 && postmaster_file_read(data_dir, &file) &&
		file.pid == postmaster->pid;
	memset(postgres, 0, sizeof(*postgres));
	data_directory_look(data_dir, postgres);
	postgres->server = HA_SERVER_STOPPED;
	if (postmaster->pid > 0)
	{
		postgres->server = HA_SERVER_STARTING;
		if (has_file && strcmp(file.status, "stopping") == 0)
			postgres->server = HA_SERVER_STOPPING;
		else if (has_file && status_accepts(&file))
			postgres->server = HA_SERVER_RUNNING;
		if (has_file)
			postgres->start_time_ms = file.start_time_s * 1000;

		/*
		 * "ready" is said by a primary and by a hot standby alike; pg_control
		 * tells which: it is written before either begins to accept.
		 */
		postgres->is_in_recovery = postgres->is_standby_configured;
		if (postgres->server == HA_SERVER_RUNNING && postgres->data == HA_DATA_PRESENT)
			postgres->is_in_recovery = postgres->control_state != HA_CONTROL_IN_PRODUCTION;

		/*
		 * "ready" stays there while all backends are restarted after a crash.
		 * Crash recovery ends with a checkpoint as for a shutdown.
		 */
		if (postgres->server == HA_SERVER_RUNNING && postgres->data == HA_DATA_PRESENT &&
			postgres->control_state != HA_CONTROL_IN_PRODUCTION &&
			postgres->control_state != HA_CONTROL_IN_ARCHIVE_RECOVERY)
			postgres->server = HA_SERVER_STARTING;
	}
	if (postgres->data != HA_DATA_PRESENT)
		return;
	conf_read_upstream(&postmaster->paths, postgres->upstream_host, &postgres->upstream_port,
					   postgres->upstream_slot);
	postgres->timeline = postgres->checkpoint_timeline;
	if (postgres->minimum_recovery_timeline > postgres->timeline)
		postgres->timeline = postgres->minimum_recovery_timeline;
	postgres->newest_timeline = history_newest_timeline(data_dir, postgres->timeline);

	/*
	 * The checkpoint of a running primary may be from before its promotion,
	 * which took the id after the newest one there was and wrote its history
	 * file.
	 */
	if (postgres->server == HA_SERVER_RUNNING && !postgres->is_in_recovery)
		postgres->timeline = postgres->newest_timeline;
	if (!history_file_read(data_dir, postgres->timeline, postgres->history,
						   (int) (sizeof(postgres->history) / sizeof(postgres->history[0])),
						   &postgres->n_history, &ignored))
		postgres->n_history = 0;
}

/* Through the pidfd: never to a recycled pid. */
bool
postmaster_signal(Postmaster *postmaster, int signal, Error *error)
{
	if (postmaster->pid == 0)
		return error_set(error, "the server is not running");
	if (syscall(SYS_pidfd_send_signal, postmaster->pidfd, signal, NULL, 0) != 0)
		return error_set(error, "could not send signal %d to postmaster (PID %d): %s",
						 signal, (int) postmaster->pid, strerror(errno));
	if (signal == SIGINT || signal == SIGTERM || signal == SIGQUIT || signal == SIGKILL)
	{
		postmaster->is_stopping = true;
		if (!postmaster->checkpoint_told)
			schedule_poll(postmaster, STOP_POLL_US);
	}
	return true;
}

/*
 * Processes of a dead postmaster: they end by themselves within moments, but
 * one that hangs holds the shared memory and must not write beside a new
 * server.
 */
int
postmaster_kill_orphans(Postmaster *postmaster)
{
	int64_t		now_ms = clock_now_ms();
	int			count;

	if (postmaster->pid > 0)
		return 0;
	count = postmaster_orphans(postmaster->paths.data_dir, 0);
	if (count == 0)
		postmaster->orphans_since_ms = 0;
	else if (postmaster->orphans_since_ms == 0)
	{
		char		message[120];

		snprintf(message, sizeof(message), "ending %d processes that outlived their postmaster", count);
		log_line(postmaster, 2, message);
		postmaster->orphans_since_ms = now_ms;
		postmaster_orphans(postmaster->paths.data_dir, SIGQUIT);
	}
	else if (now_ms - postmaster->orphans_since_ms > ORPHAN_KILL_AFTER_MS)
		postmaster_orphans(postmaster->paths.data_dir, SIGKILL);
	return count;
}
