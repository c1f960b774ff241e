/*-------------------------------------------------------------------------
 *
 * probe.c
 *      Processes that try whether the disk takes writes and the postmaster
 *      takes connections, and may hang in it in our place.
 *
 * Two children: one writes and flushes a small file in pg_wal and in the data
 * directory, the other connects and asks the postmaster a question that it
 * answers to everybody (may I use TLS?), before it looks at passwords or at
 * how many clients there are.  Both say in the lease page what they began and
 * when.  They judge nothing: health_watch.c compares the clocks.
 *
 * Invariants:
 *  (1) The supervisor never waits for a probe.  One that hangs in the kernel
 *      and outlives its successor writes nothing any more.
 *  (2) A probe changes nothing that others see: its file has no name, or one
 *      for a moment; its connection ends before it says who it is.
 *  (3) A probe ends when its supervisor has.
 *
 * Sources: PostgreSQL's documentation, "Message Formats", SSLRequest; the
 * server's ProcessStartupPacket(), which answers it first of all.
 *-------------------------------------------------------------------------
 */
#include "supervisor/probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "postgres/postgres_dir.h"

#define PROBE_BYTES			8192
#define PROBE_FILE			"patroni.probe"
#define PAUSE_MIN_MS		200
#define PAUSE_MAX_MS		5000
#define DISK_PAUSES			10		/* of the budget between two operations */
#define CONNECT_PAUSES		3
#define CONNECT_TRIES		3		/* that fit into the budget */
#define CONNECT_TRY_MIN_MS	500
#define BACKLOG_PAUSE_MS	100		/* when the socket's queue is full */
#define LOOK_MS				200		/* how often a probe that waits for an answer looks for its supervisor */
#define RESTART_AFTER_MS	1000

/* What a probe works with; also what it was started with. */
typedef struct ProbeOrder
{
	bool		is_wanted;
	int64_t		budget_ms;
	char		data_directory[SETTINGS_PATH_MAX];	/* of the disk */
	pid_t		postmaster;		/* of the connection, and what its file says */
	PostmasterFile file;
} ProbeOrder;

typedef struct Probe
{
	struct Probes *probes;
	LeaseProbeKind kind;
	pid_t		pid;			/* 0 = none runs */
	ProbeOrder	order;
	int64_t		not_before_ms;
} Probe;

struct Probes
{
	ProcessTable *processes;
	LeasePage  *page;
	Probe		probes[LEASE_PROBE_COUNT];
};

/* ------------------------------------------------------------------------
 * In the probe's process
 * ------------------------------------------------------------------------
 */

typedef struct ProbeSelf
{
	LeaseProbe *shown;
	pid_t		pid;
	pid_t		supervisor;
	const ProbeOrder *order;
} ProbeSelf;

/* Is there nobody who wants to know any more? */
static void
end_if_superseded(const ProbeSelf *self)
{
	pid_t		mine = self->pid;

	if (getppid() == self->supervisor && atomic_load(&self->shown->pid) == mine)
		return;
	atomic_compare_exchange_strong(&self->shown->pid, &mine, 0);
	_exit(0);
}

static void
pause_ms(const ProbeSelf *self, int64_t ms)
{
	int64_t		until_ms = clock_now_ms() + ms;

	for (;;)
	{
		int64_t		left_ms = until_ms - clock_now_ms();

		end_if_superseded(self);
		if (left_ms <= 0)
			return;
		/* the end of the supervisor interrupts it */
		(void) poll(NULL, 0, (int) left_ms);
	}
}

static void
on_supervisor_end(int signal_number)
{
	(void) signal_number;
}

static int64_t
pause_of(int64_t budget_ms, int parts)
{
	int64_t		ms = budget_ms / parts;

	return ms < PAUSE_MIN_MS ? PAUSE_MIN_MS : ms > PAUSE_MAX_MS ? PAUSE_MAX_MS : ms;
}

static void
begin(const ProbeSelf *self, LeaseProbeStep step)
{
	end_if_superseded(self);
	atomic_store(&self->shown->step, step);
	atomic_store(&self->shown->n_tries, 0);
	atomic_store(&self->shown->begun_ms, clock_now_ms());
}

/* The operation is over; error 0: it went well. */
static void
end(const ProbeSelf *self, int error)
{
	int64_t		now_ms = clock_now_ms();

	if (atomic_load(&self->shown->pid) != self->pid)
		_exit(0);				/* it took too long: there is another one */
	atomic_store(&self->shown->begun_ms, 0);
	if (error == 0)
	{
		atomic_store(&self->shown->failing_ms, 0);
		atomic_store(&self->shown->done_ms, now_ms);
	}
	else if (atomic_load(&self->shown->failing_ms) == 0)
		atomic_store(&self->shown->failing_ms, now_ms);
	atomic_store(&self->shown->error, error);
}

/* A file without a name, or one whose name is gone at once; -1 and errno. */
static int
open_nameless(const char *directory)
{
	char		path[SETTINGS_PATH_MAX + sizeof(PROBE_FILE) + 1];
	int			fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
		return fd;
	snprintf(path, sizeof(path), "%s/" PROBE_FILE, directory);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0)
		unlink(path);
	return fd;
}

/* Write a block there and flush it: 0 or errno. */
static int
try_directory(const char *directory)
{
	static char block[PROBE_BYTES];
	size_t		written = 0;
	int			error = 0;
	int			fd = open_nameless(directory);

	if (fd < 0)
		return errno;
	memset(block, 'p', sizeof(block));
	while (written < sizeof(block) && error == 0)
	{
		ssize_t		n = write(fd, block + written, sizeof(block) - written);

		if (n > 0)
			written += (size_t) n;
		else if (n == 0)
			error = ENOSPC;
		else if (errno != EINTR)
			error = errno;
	}
	if (error == 0 && fsync(fd) != 0)
		error = errno;
	if (close(fd) != 0 && error == 0)
		error = errno;
	return error;
}

/* The end of both operations is that of the first that fails. */
static void
probe_disk(const ProbeSelf *self)
{
	const char *data_directory = self->order->data_directory;
	char		wal_directory[SETTINGS_PATH_MAX + 16];
	int64_t		every_ms = pause_of(self->order->budget_ms, DISK_PAUSES);

	snprintf(wal_directory, sizeof(wal_directory), "%s/pg_wal", data_directory);
	for (;;)
	{
		int			error;

		begin(self, LEASE_STEP_WAL);
		error = try_directory(wal_directory);
		if (error == 0)
		{
			begin(self, LEASE_STEP_DATA);
			error = try_directory(data_directory);
		}
		end(self, error);
		pause_ms(self, every_ms);
	}
}

typedef union SocketAddress
{
	struct sockaddr any;
	struct sockaddr_un local;
	struct sockaddr_in inet;
	struct sockaddr_in6 inet6;
} SocketAddress;

/* 0: the postmaster has no such address. */
static socklen_t
local_address(const PostmasterFile *file, SocketAddress *address)
{
	int			length;

	if (file->socket_directory[0] == '\0')
		return 0;
	memset(address, 0, sizeof(*address));
	address->local.sun_family = AF_UNIX;
	length = snprintf(address->local.sun_path, sizeof(address->local.sun_path), "%s/.s.PGSQL.%d",
					  file->socket_directory, file->port);
	if (length < 0 || (size_t) length >= sizeof(address->local.sun_path))
		return 0;
	if (file->socket_directory[0] != '@')
		return (socklen_t) sizeof(address->local);
	/* Linux's abstract names begin with a zero and end where we say */
	address->local.sun_path[0] = '\0';
	return (socklen_t) (offsetof(struct sockaddr_un, sun_path) + (size_t) length);
}

static socklen_t
tcp_address(const PostmasterFile *file, SocketAddress *address)
{
	const char *host = file->listen_address;

	memset(address, 0, sizeof(*address));
	if (strcmp(host, "*") == 0 || strcmp(host, "0.0.0.0") == 0)
		host = "127.0.0.1";
	else if (strcmp(host, "::") == 0)
		host = "::1";
	if (inet_pton(AF_INET, host, &address->inet.sin_addr) == 1)
	{
		address->inet.sin_family = AF_INET;
		address->inet.sin_port = htons((uint16_t) file->port);
		return sizeof(address->inet);
	}
	if (inet_pton(AF_INET6, host, &address->inet6.sin6_addr) == 1)
	{
		address->inet6.sin6_family = AF_INET6;
		address->inet6.sin6_port = htons((uint16_t) file->port);
		return sizeof(address->inet6);
	}
	return 0;
}

typedef enum Answer
{
	ANSWER_CAME,				/* whatever it was */
	ANSWER_NONE,				/* not in time */
	ANSWER_UNTRIED,				/* there is nobody to ask, or no way to */
} Answer;

/* Wait for the socket; false: not in time. */
static bool
wait_for(const ProbeSelf *self, int fd, short events, int64_t until_ms)
{
	for (;;)
	{
		struct pollfd wait = {.fd = fd, .events = events};
		int64_t		left_ms = until_ms - clock_now_ms();

		end_if_superseded(self);
		if (left_ms <= 0)
			return false;
		if (poll(&wait, 1, (int) (left_ms < LOOK_MS ? left_ms : LOOK_MS)) > 0)
			return true;
	}
}

/* Connect, ask, and wait for the first byte, or for the end of the connection. */
static Answer
ask_postmaster(const ProbeSelf *self, const SocketAddress *address, socklen_t length, int64_t until_ms)
{
	/* SSLRequest: 8 bytes, and a code that is no version */
	static const unsigned char request[8] = {0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f};
	Answer		answer = ANSWER_NONE;
	int			error = 0;
	socklen_t	error_size = sizeof(error);
	char		byte;
	int			fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return ANSWER_UNTRIED;
	while (connect(fd, &address->any, length) != 0)
	{
		if (errno == EINPROGRESS)
		{
			if (!wait_for(self, fd, POLLOUT, until_ms))
				goto done;
			if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_size) != 0 || error != 0)
				answer = ANSWER_UNTRIED;
			if (answer == ANSWER_UNTRIED)
				goto done;
			break;
		}
		/* the queue of connections that nobody has accepted is full */
		if (errno != EAGAIN && errno != EINTR)
		{
			answer = ANSWER_UNTRIED;
			goto done;
		}
		if (clock_now_ms() >= until_ms)
			goto done;
		pause_ms(self, BACKLOG_PAUSE_MS);
	}
	if (send(fd, request, sizeof(request), MSG_NOSIGNAL) < 0)
		answer = ANSWER_CAME;	/* it was closed */
	else if (wait_for(self, fd, POLLIN, until_ms))
	{
		(void) !recv(fd, &byte, 1, 0);
		answer = ANSWER_CAME;
	}
done:
	close(fd);
	return answer;
}

/*
 * One operation has as many tries as it takes to get an answer: a connection
 * may be lost for reasons of its own.
 */
static void
probe_connection(const ProbeSelf *self)
{
	const PostmasterFile *file = &self->order->file;
	SocketAddress addresses[2];
	socklen_t	lengths[2] = {local_address(file, &addresses[0]), tcp_address(file, &addresses[1])};
	int64_t		every_ms = pause_of(self->order->budget_ms, CONNECT_PAUSES);
	int64_t		try_ms = self->order->budget_ms / CONNECT_TRIES;

	if (try_ms < CONNECT_TRY_MIN_MS)
		try_ms = CONNECT_TRY_MIN_MS;
	for (;;)
	{
		Answer		answer = ANSWER_NONE;

		begin(self, LEASE_STEP_SOCKET);
		while (answer == ANSWER_NONE)
		{
			answer = ANSWER_UNTRIED;
			for (int i = 0; i < 2 && answer == ANSWER_UNTRIED; i++)
			{
				if (lengths[i] == 0)
					continue;
				atomic_store(&self->shown->step, i == 0 ? LEASE_STEP_SOCKET : LEASE_STEP_TCP);
				answer = ask_postmaster(self, &addresses[i], lengths[i], clock_now_ms() + try_ms);
			}
			if (answer == ANSWER_NONE)
				atomic_fetch_add(&self->shown->n_tries, 1);
		}
		end(self, answer == ANSWER_CAME ? 0 : ENOTCONN);
		pause_ms(self, every_ms);
	}
}

static void
probe_main(LeaseProbe *shown, LeaseProbeKind kind, const ProbeOrder *order, pid_t supervisor)
{
	ProbeSelf	self = {.shown = shown, .pid = getpid(), .supervisor = supervisor, .order = order};

	prctl(PR_SET_NAME, "patroni_probe", 0, 0, 0);
	signal(SIGUSR1, on_supervisor_end);
	prctl(PR_SET_PDEATHSIG, SIGUSR1, 0, 0, 0);
	atomic_store(&shown->begun_ms, 0);
	atomic_store(&shown->error, 0);
	atomic_store(&shown->failing_ms, 0);
	atomic_store(&shown->done_ms, 0);
	atomic_store(&shown->pid, self.pid);
	if (kind == LEASE_PROBE_DISK)
		probe_disk(&self);
	else
		probe_connection(&self);
}

/* ------------------------------------------------------------------------
 * In the supervisor
 * ------------------------------------------------------------------------
 */

/* What it was about is over, or is another's business. */
static void
forget(Probe *probe)
{
	int32_t		pid = (int32_t) probe->pid;

	(void) atomic_compare_exchange_strong(&probe->probes->page->probes[probe->kind].pid, &pid, 0);
	probe->pid = 0;
}

static void
on_end(void *context, pid_t pid, int wait_status)
{
	Probe	   *probe = context;

	(void) wait_status;
	if (probe->pid != pid)
		return;
	forget(probe);
	probe->not_before_ms = clock_now_ms() + RESTART_AFTER_MS;
}

/* It may hang in the kernel: then it is gone when it comes back. */
static void
stop(Probe *probe)
{
	if (probe->pid == 0)
		return;
	process_unwatch(probe->probes->processes, probe->pid);
	kill(probe->pid, SIGKILL);
	forget(probe);
}

static void
start(Probe *probe, const ProbeOrder *order)
{
	LeaseProbe *shown = &probe->probes->page->probes[probe->kind];
	pid_t		supervisor = getpid();
	pid_t		child = process_fork();

	if (child == 0)
	{
		setpgid(0, 0);
		process_child_init(-1);
		probe_main(shown, probe->kind, order, supervisor);
		_exit(0);
	}
	if (child < 0)
	{
		probe->not_before_ms = clock_now_ms() + RESTART_AFTER_MS;
		return;
	}
	probe->pid = child;
	probe->order = *order;
	if (process_watch(probe->probes->processes, child, on_end, probe))
		return;
	stop(probe);
	probe->not_before_ms = clock_now_ms() + RESTART_AFTER_MS;
}

static bool
is_same_order(const ProbeOrder *a, const ProbeOrder *b)
{
	return a->is_wanted == b->is_wanted && a->budget_ms == b->budget_ms &&
		a->postmaster == b->postmaster && strcmp(a->data_directory, b->data_directory) == 0;
}

static void
follow_order(Probe *probe, const ProbeOrder *order)
{
	if (probe->pid != 0 && !is_same_order(&probe->order, order))
		stop(probe);
	if (probe->pid == 0 && order->is_wanted && clock_now_ms() >= probe->not_before_ms)
		start(probe, order);
}

/* See probe.h.  Reads postmaster.pid only when there is another postmaster. */
void
probes_turn(Probes *probes, const Settings *settings, bool has_data, pid_t postmaster)
{
	ProbeOrder	disk = {.is_wanted = has_data && settings->health_disk_timeout_ms > 0,
		.budget_ms = settings->health_disk_timeout_ms};
	ProbeOrder	connection = {.is_wanted = postmaster != 0 && settings->health_connect_timeout_ms > 0,
		.budget_ms = settings->health_connect_timeout_ms,
		.postmaster = postmaster};
	Probe	   *known = &probes->probes[LEASE_PROBE_CONNECTION];

	snprintf(disk.data_directory, sizeof(disk.data_directory), "%s", settings->data_dir);
	follow_order(&probes->probes[LEASE_PROBE_DISK], &disk);

	if (connection.is_wanted && known->pid != 0 && known->order.postmaster == postmaster)
		connection.file = known->order.file;
	else if (connection.is_wanted)
		connection.is_wanted = postmaster_file_read(settings->data_dir, &connection.file) &&
			connection.file.pid == postmaster;
	follow_order(known, &connection);
}

/* They begin with the first turn. */
Probes *
probes_create(ProcessTable *processes, LeasePage *page)
{
	Probes	   *probes = calloc(1, sizeof(*probes));

	if (probes == NULL)
		return NULL;
	probes->processes = processes;
	probes->page = page;
	for (LeaseProbeKind kind = 0; kind < LEASE_PROBE_COUNT; kind++)
	{
		probes->probes[kind].probes = probes;
		probes->probes[kind].kind = kind;
		/* of an earlier supervisor: it ends when it sees this */
		atomic_store(&page->probes[kind].pid, 0);
	}
	return probes;
}

void
probes_free(Probes *probes)
{
	if (probes == NULL)
		return;
	for (LeaseProbeKind kind = 0; kind < LEASE_PROBE_COUNT; kind++)
		stop(&probes->probes[kind]);
	free(probes);
}
