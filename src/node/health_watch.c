/*-------------------------------------------------------------------------
 *
 * health_watch.c
 *      Notices a server that hangs without being dead.
 *
 * Processes of the supervisor try again and again to write a small file and
 * to reach the postmaster (src/supervisor/probe.c), and say in the lease page
 * when they began.  Whoever drives, in either home, looks at the page and at
 * the clock: what takes longer than its budget is a verdict, with what was
 * measured in words.
 *
 * Invariants:
 *  (1) Only silence and slowness count, and errors that say that the disk does
 *      not take writes.  Whatever the server answers is an answer, also that
 *      it has too many clients; what keeps a probe from trying is none.
 *  (2) Time counts only while it was looked at, a second at most between two
 *      looks, and while the probe's process sleeps: a host that stood still,
 *      or a probe that somebody stopped, is no evidence.
 *  (3) A verdict stands until what it is about has ended well, and its words
 *      stay what they were.
 *
 * What follows from it is decided in src/ha.
 *-------------------------------------------------------------------------
 */
#include "node/health_watch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* So much time counts between two looks, at most. */
#define LOOK_GAP_MAX_MS		1000

/* A process is asked about only when its operation is as old as that. */
#define ORDINARY_MS			100

/* The state of a process as /proc shows it; 0: there is none. */
static char
process_state(pid_t pid)
{
	char		path[64];
	char		text[512];
	const char *after;
	ssize_t		length;
	int			fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int) pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	length = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (length <= 0)
		return 0;
	text[length] = '\0';
	after = strrchr(text, ')');	/* the name may hold anything */
	return after != NULL && after[1] == ' ' ? after[2] : 0;
}

/* What the page shows of a probe now. */
void
health_probe_read(const LeasePage *page, LeaseProbeKind kind, HealthProbe *probe)
{
	LeaseProbe *shown = (LeaseProbe *) &page->probes[kind];
	pid_t		pid = (pid_t) atomic_load(&shown->pid);
	char		state;

	memset(probe, 0, sizeof(*probe));
	if (pid <= 0)
		return;
	probe->is_there = true;
	probe->begun_ms = atomic_load(&shown->begun_ms);
	probe->step = (LeaseProbeStep) atomic_load(&shown->step);
	probe->n_tries = atomic_load(&shown->n_tries);
	probe->error = atomic_load(&shown->error);
	probe->failing_ms = atomic_load(&shown->failing_ms);
	if (probe->begun_ms == 0 || clock_now_ms() - probe->begun_ms < ORDINARY_MS)
		return;
	state = process_state(pid);
	if (state == 0 || state == 'Z' || state == 'X')
		memset(probe, 0, sizeof(*probe));	/* it was killed in the middle */
	else
		probe->is_waiting = state == 'S' || state == 'D';
}

/* Does the error say that the disk takes no writes, and not that we do something wrong? */
static bool
is_disk_error(int error)
{
	switch (error)
	{
		case ENOSPC:
		case EDQUOT:
		case EROFS:
		case EIO:
		case ENXIO:
		case ENODEV:
		case ESTALE:
		case ETIMEDOUT:
		case EREMOTEIO:
		case EUCLEAN:
			return true;
		default:
			return false;
	}
}

static const char *
place_of(LeaseProbeStep step)
{
	return step == LEASE_STEP_WAL ? "\"pg_wal\"" : "the data directory";
}

/* What is wrong, if something is: the key changes when it becomes another trouble. */
static uint64_t
sign_key(const HealthFacts *facts, HealthSign sign)
{
	const HealthProbe *disk = &facts->probes[LEASE_PROBE_DISK];
	const HealthProbe *connection = &facts->probes[LEASE_PROBE_CONNECTION];
	bool		looks_at_disk = facts->disk_timeout_ms > 0 && facts->has_data;

	switch (sign)
	{
		case HEALTH_CONNECTION:
			return facts->connect_timeout_ms > 0 && facts->takes_connections && connection->is_there ?
				(uint64_t) connection->begun_ms : 0;
		case HEALTH_DISK_STALL:
			return looks_at_disk && disk->is_there ? (uint64_t) disk->begun_ms : 0;
		case HEALTH_DISK_ERROR:
			return looks_at_disk && disk->is_there && is_disk_error(disk->error) ?
				(uint64_t) disk->failing_ms : 0;
		case HEALTH_WAL_STALL:
			return looks_at_disk && facts->is_wal_awaited ? facts->flushed_lsn + 1 : 0;
		case HEALTH_SIGNS:
			break;
	}
	return 0;
}

/* Does the time since the last look count? */
static bool
is_counted(const HealthFacts *facts, HealthSign sign)
{
	if (sign == HEALTH_CONNECTION)
		return facts->probes[LEASE_PROBE_CONNECTION].is_waiting;
	if (sign == HEALTH_DISK_STALL)
		return facts->probes[LEASE_PROBE_DISK].is_waiting;
	return true;
}

static void
say(const HealthFacts *facts, HealthSign sign, int64_t waited_ms, char text[HA_HANG_MAX])
{
	const HealthProbe *disk = &facts->probes[LEASE_PROBE_DISK];
	char		since[40];

	timestamp_to_text(facts->wall_ms - waited_ms, since);
	switch (sign)
	{
		case HEALTH_CONNECTION:
			snprintf(text, HA_HANG_MAX, "the postmaster has not answered a new connection since %s, %d tries in %.1f s",
					 since, facts->probes[LEASE_PROBE_CONNECTION].n_tries + 1, (double) waited_ms / 1000);
			break;
		case HEALTH_DISK_STALL:
			snprintf(text, HA_HANG_MAX, "writing a probe file in %s has not ended since %s, for %.1f s",
					 place_of(disk->step), since, (double) waited_ms / 1000);
			break;
		case HEALTH_DISK_ERROR:
			snprintf(text, HA_HANG_MAX, "no probe file can be written in %s since %s, for %.1f s: %.50s",
					 place_of(disk->step), since, (double) waited_ms / 1000, strerror(disk->error));
			break;
		case HEALTH_WAL_STALL:
			snprintf(text, HA_HANG_MAX, "WAL is not flushed beyond %X/%X since %s, for %.1f s, and processes wait for it",
					 (unsigned) (facts->flushed_lsn >> 32), (unsigned) facts->flushed_lsn, since,
					 (double) waited_ms / 1000);
			break;
		case HEALTH_SIGNS:
			break;
	}
}

/*
 * Look, and judge.  To be called each second or more often unless all is calm:
 * longer gaps count as a second.
 */
void
health_watch_look(HealthWatch *watch, const HealthFacts *facts)
{
	int64_t		gap_ms = watch->looked_at_ms == 0 ? 0 : facts->now_ms - watch->looked_at_ms;

	if (gap_ms > LOOK_GAP_MAX_MS)
		gap_ms = LOOK_GAP_MAX_MS;
	if (gap_ms < 0)
		gap_ms = 0;
	watch->looked_at_ms = facts->now_ms;
	for (HealthSign sign = 0; sign < HEALTH_SIGNS; sign++)
	{
		uint64_t	key = sign_key(facts, sign);
		int64_t		budget_ms = sign == HEALTH_CONNECTION ? facts->connect_timeout_ms :
			facts->disk_timeout_ms;

		if (key == 0 || key != watch->signs[sign].key)
		{
			watch->signs[sign].key = key;
			watch->signs[sign].waited_ms = 0;
			watch->signs[sign].text[0] = '\0';
		}
		else if (is_counted(facts, sign))
			watch->signs[sign].waited_ms += gap_ms;
		if (key != 0 && watch->signs[sign].text[0] == '\0' &&
			watch->signs[sign].waited_ms >= budget_ms)
			say(facts, sign, watch->signs[sign].waited_ms, watch->signs[sign].text);
	}
}

/* Did the last look show nothing that has to end? */
bool
health_watch_is_calm(const HealthWatch *watch)
{
	for (HealthSign sign = 0; sign < HEALTH_SIGNS; sign++)
		if (watch->signs[sign].key != 0)
			return false;
	return true;
}

/* Why it is said to hang; "" = it is not. */
const char *
health_watch_verdict(const HealthWatch *watch)
{
	for (HealthSign sign = 0; sign < HEALTH_SIGNS; sign++)
		if (watch->signs[sign].text[0] != '\0')
			return watch->signs[sign].text;
	return "";
}
