/*-------------------------------------------------------------------------
 *
 * test_health_watch.c
 *      When a server is said to hang, and when it is not.
 *
 *-------------------------------------------------------------------------
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "node/health_watch.h"

#define CONNECT_MS	3000
#define DISK_MS		5000
#define LOOK_MS		100

static HealthWatch watch;
static HealthFacts facts;
static HealthProbe *const disk = &facts.probes[LEASE_PROBE_DISK];
static HealthProbe *const connection = &facts.probes[LEASE_PROBE_CONNECTION];

static int
set_up(void **state)
{
	(void) state;
	memset(&watch, 0, sizeof(watch));
	facts = (HealthFacts) {
		.now_ms = 100000,
		.wall_ms = 1700000000000,
		.connect_timeout_ms = CONNECT_MS,
		.disk_timeout_ms = DISK_MS,
		.takes_connections = true,
		.has_data = true,
		.flushed_lsn = 0x3000060,
	};
	disk->is_there = connection->is_there = true;
	health_watch_look(&watch, &facts);
	return 0;
}

static const char *
look_after(int64_t ms)
{
	facts.now_ms += ms;
	facts.wall_ms += ms;
	health_watch_look(&watch, &facts);
	return health_watch_verdict(&watch);
}

/* Look for so long; when, since now, was there a verdict?  -1: never. */
static int64_t
look_for(int64_t duration_ms)
{
	int64_t		begin_ms = facts.now_ms;

	while (facts.now_ms < begin_ms + duration_ms)
		if (look_after(LOOK_MS)[0] != '\0')
			return facts.now_ms - begin_ms;
	return -1;
}

static void
begin(HealthProbe *probe, LeaseProbeStep step)
{
	probe->begun_ms = facts.now_ms;
	probe->step = step;
	probe->is_waiting = true;
}

/* Each operation ends, and another one begins. */
static void
quick_operations_are_fine(void **state)
{
	(void) state;
	for (int i = 0; i < 100; i++)
	{
		begin(disk, LEASE_STEP_WAL);
		begin(connection, LEASE_STEP_SOCKET);
		assert_int_equal(look_for(CONNECT_MS - LOOK_MS), -1);
		disk->begun_ms = connection->begun_ms = 0;
		assert_string_equal(look_after(LOOK_MS), "");
	}
}

static void
silent_postmaster(void **state)
{
	char		text[HA_HANG_MAX];

	(void) state;
	begin(connection, LEASE_STEP_SOCKET);
	connection->n_tries = 3;
	assert_in_range(look_for(2 * CONNECT_MS), CONNECT_MS, CONNECT_MS + LOOK_MS);
	snprintf(text, sizeof(text), "%s", health_watch_verdict(&watch));
	assert_non_null(strstr(text, "the postmaster has not answered a new connection since 2023-11-14T22:13:20.1"));
	assert_non_null(strstr(text, "4 tries in 3.0 s"));
	/* the words stay */
	assert_string_equal(look_after(5000), text);
	/* until it answers */
	connection->begun_ms = 0;
	assert_string_equal(look_after(LOOK_MS), "");
}

static void
slow_write(void **state)
{
	(void) state;
	begin(disk, LEASE_STEP_DATA);
	assert_in_range(look_for(2 * DISK_MS), DISK_MS, DISK_MS + LOOK_MS);
	assert_non_null(strstr(health_watch_verdict(&watch), "writing a probe file in the data directory has not ended"));
	/* the next one is another one */
	begin(disk, LEASE_STEP_WAL);
	assert_string_equal(look_after(LOOK_MS), "");
	assert_in_range(look_for(2 * DISK_MS), DISK_MS, DISK_MS + LOOK_MS);
	assert_non_null(strstr(health_watch_verdict(&watch), "in \"pg_wal\""));
}

static void
full_disk(void **state)
{
	static const int errors[] = {ENOSPC, EDQUOT, EROFS, EIO};

	(void) state;
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
	{
		set_up(NULL);
		disk->error = errors[i];
		disk->failing_ms = facts.now_ms;
		disk->step = LEASE_STEP_WAL;
		assert_in_range(look_for(2 * DISK_MS), DISK_MS, DISK_MS + LOOK_MS);
		assert_non_null(strstr(health_watch_verdict(&watch), strerror(errors[i])));
		disk->error = 0;
		disk->failing_ms = 0;
		assert_string_equal(look_after(LOOK_MS), "");
	}
}

/* What is our own mistake, or nobody's. */
static void
other_errors_are_no_reason(void **state)
{
	static const int errors[] = {EACCES, EPERM, ENOENT, ENOTDIR, EMFILE, ENFILE, ENOMEM, EINVAL};

	(void) state;
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
	{
		disk->error = errors[i];
		disk->failing_ms = connection->failing_ms = facts.now_ms;
		connection->error = ENOTCONN;
		assert_int_equal(look_for(3 * DISK_MS), -1);
	}
}

static void
wal_that_is_awaited(void **state)
{
	(void) state;
	facts.is_wal_awaited = true;
	assert_in_range(look_for(2 * DISK_MS), DISK_MS, DISK_MS + LOOK_MS);
	assert_non_null(strstr(health_watch_verdict(&watch), "WAL is not flushed beyond 0/3000060"));
	facts.flushed_lsn++;
	assert_string_equal(look_after(LOOK_MS), "");
	/* as long as it goes on, however slowly */
	for (int i = 0; i < 10; i++)
	{
		facts.flushed_lsn++;
		assert_int_equal(look_for(DISK_MS - LOOK_MS), -1);
	}
	/* one look at which nobody waits is enough */
	facts.is_wal_awaited = false;
	assert_string_equal(look_after(LOOK_MS), "");
	facts.is_wal_awaited = true;
	assert_int_equal(look_for(DISK_MS), -1);
}

/* A host that stood still, or a probe that somebody stopped, proves nothing. */
static void
time_that_was_not_seen_does_not_count(void **state)
{
	(void) state;
	begin(disk, LEASE_STEP_WAL);
	begin(connection, LEASE_STEP_SOCKET);
	assert_string_equal(look_after(1000000), "");
	assert_string_equal(look_after(LOOK_MS), "");
	disk->is_waiting = connection->is_waiting = false;
	assert_int_equal(look_for(3 * DISK_MS), -1);
	disk->is_waiting = true;
	assert_in_range(look_for(2 * DISK_MS), DISK_MS - 2000, DISK_MS);
}

static void
what_is_switched_off_is_not_looked_for(void **state)
{
	(void) state;
	begin(disk, LEASE_STEP_WAL);
	begin(connection, LEASE_STEP_SOCKET);
	facts.is_wal_awaited = true;
	facts.disk_timeout_ms = facts.connect_timeout_ms = 0;
	assert_int_equal(look_for(10 * DISK_MS), -1);
	facts.disk_timeout_ms = DISK_MS;
	facts.connect_timeout_ms = CONNECT_MS;
	facts.takes_connections = facts.has_data = false;
	assert_int_equal(look_for(10 * DISK_MS), -1);
	facts.takes_connections = facts.has_data = true;
	disk->is_there = connection->is_there = facts.is_wal_awaited = false;
	assert_int_equal(look_for(10 * DISK_MS), -1);
}

/* The page of a probe that sleeps, is stopped, is dead. */
static void
process_is_looked_at(void **state)
{
	static LeasePage page;
	LeaseProbe *shown = &page.probes[LEASE_PROBE_DISK];
	HealthProbe probe;
	int			status;
	pid_t		child = fork();

	(void) state;
	if (child == 0)
		for (;;)
			pause();
	health_probe_read(&page, LEASE_PROBE_DISK, &probe);
	assert_false(probe.is_there);
	shown->pid = child;
	shown->step = LEASE_STEP_WAL;
	shown->begun_ms = clock_now_ms() - 10000;
	do
		health_probe_read(&page, LEASE_PROBE_DISK, &probe);
	while (!probe.is_waiting);
	assert_true(probe.is_there);
	assert_int_equal(probe.step, LEASE_STEP_WAL);
	kill(child, SIGSTOP);
	assert_int_equal(waitpid(child, &status, WUNTRACED), child);
	health_probe_read(&page, LEASE_PROBE_DISK, &probe);
	assert_true(probe.is_there);
	assert_false(probe.is_waiting);
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, &status, 0), child);
	health_probe_read(&page, LEASE_PROBE_DISK, &probe);
	assert_false(probe.is_there);
}

#define TEST(name)	cmocka_unit_test_setup(name, set_up)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(quick_operations_are_fine),
		TEST(silent_postmaster),
		TEST(slow_write),
		TEST(full_disk),
		TEST(other_errors_are_no_reason),
		TEST(wal_that_is_awaited),
		TEST(time_that_was_not_seen_does_not_count),
		TEST(what_is_switched_off_is_not_looked_for),
		TEST(process_is_looked_at),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
