/*-------------------------------------------------------------------------
 *
 * test_probe.c
 *      The probes of disk and postmaster, with a postmaster of our own.
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
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "supervisor/probe.h"

#define PORT		5432
#define PATIENCE_MS	20000

static char directory[] = "/tmp/test_probe.XXXXXX";
static LeasePage *page;
static Settings settings;
static struct event_base *base;
static ProcessTable *processes;
static Probes *probes;
static int	listener = -1;

static LeaseProbe *
shown(LeaseProbeKind kind)
{
	return &page->probes[kind];
}

static void
path_of(const char *name, char path[200])
{
	snprintf(path, 200, "%s/%s", directory, name);
}

/* Turn the loop until it is so. */
static void
wait_until(bool (*is_so) (void))
{
	int64_t		end_ms = clock_now_ms() + PATIENCE_MS;

	while (!is_so())
	{
		if (clock_now_ms() >= end_ms)
			fail_msg("not within %d ms", PATIENCE_MS);
		probes_turn(probes, &settings, true, listener >= 0 ? getpid() : 0);
		event_base_loop(base, EVLOOP_NONBLOCK);
		usleep(10000);
	}
}

static void
write_postmaster_file(void)
{
	char		path[200];
	FILE	   *file;

	path_of("postmaster.pid", path);
	file = fopen(path, "w");
	assert_non_null(file);
	fprintf(file, "%d\n%s\n1700000000\n%d\n%s\n\n123 456\nready   \n", (int) getpid(), directory,
			PORT, directory);
	fclose(file);
}

static void
listen_here(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(address.sun_path, sizeof(address.sun_path), "%.80s/.s.PGSQL.%d", directory, PORT);
	unlink(address.sun_path);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(listener >= 0);
	assert_int_equal(bind(listener, (struct sockaddr *) &address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 1), 0);
}

static int
set_up(void **state)
{
	char		path[200];

	(void) state;
	strcpy(directory, "/tmp/test_probe.XXXXXX");
	assert_non_null(mkdtemp(directory));
	path_of("pg_wal", path);
	assert_int_equal(mkdir(path, 0700), 0);
	write_postmaster_file();
	page = mmap(NULL, LEASE_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(page != MAP_FAILED);
	snprintf(settings.data_dir, sizeof(settings.data_dir), "%s", directory);
	settings.health_disk_timeout_ms = settings.health_connect_timeout_ms = 2000;
	base = event_base_new();
	processes = process_table_create(base);
	probes = probes_create(processes, page);
	assert_non_null(probes);
	return 0;
}

static int
tear_down(void **state)
{
	char		command[300];

	(void) state;
	probes_free(probes);
	process_table_free(processes);
	event_base_free(base);
	munmap(page, LEASE_PAGE_SIZE);
	if (listener >= 0)
		close(listener);
	listener = -1;
	snprintf(command, sizeof(command), "rm -rf %s", directory);
	return system(command) == 0 ? 0 : -1;
}

static bool
disk_is_fine(void)
{
	return atomic_load(&shown(LEASE_PROBE_DISK)->done_ms) != 0;
}

static bool
disk_has_failed(void)
{
	return atomic_load(&shown(LEASE_PROBE_DISK)->failing_ms) != 0;
}

static bool
has_answer(void)
{
	return atomic_load(&shown(LEASE_PROBE_CONNECTION)->done_ms) != 0;
}

static bool
has_tried_twice(void)
{
	return atomic_load(&shown(LEASE_PROBE_CONNECTION)->n_tries) >= 2;
}

static bool
has_nobody_to_ask(void)
{
	return atomic_load(&shown(LEASE_PROBE_CONNECTION)->failing_ms) != 0;
}

static bool
connection_is_tried(void)
{
	return atomic_load(&shown(LEASE_PROBE_CONNECTION)->begun_ms) != 0;
}

static void
disk(void **state)
{
	char		command[300];
	char		path[200];

	(void) state;
	wait_until(disk_is_fine);
	assert_int_equal(atomic_load(&shown(LEASE_PROBE_DISK)->error), 0);
	/* it leaves nothing behind */
	snprintf(command, sizeof(command), "test \"$(ls %s)\" = \"pg_wal\npostmaster.pid\" -a -z \"$(ls %s/pg_wal)\"",
			 directory, directory);
	assert_int_equal(system(command), 0);
	path_of("pg_wal", path);
	assert_int_equal(rmdir(path), 0);
	wait_until(disk_has_failed);
	assert_int_equal(atomic_load(&shown(LEASE_PROBE_DISK)->error), ENOENT);
	assert_int_equal(atomic_load(&shown(LEASE_PROBE_DISK)->step), LEASE_STEP_WAL);
	assert_int_equal(mkdir(path, 0700), 0);
	atomic_store(&shown(LEASE_PROBE_DISK)->done_ms, 0);
	wait_until(disk_is_fine);
	assert_int_equal(atomic_load(&shown(LEASE_PROBE_DISK)->failing_ms), 0);
}

/* A postmaster that accepts nobody; then one that does, whatever it says. */
static void
silence(void **state)
{
	char		request[8];
	int			fd;

	(void) state;
	listen_here();
	wait_until(has_tried_twice);
	assert_true(connection_is_tried());
	assert_false(has_answer());
	for (int64_t end_ms = clock_now_ms() + PATIENCE_MS; !has_answer() && clock_now_ms() < end_ms;)
	{
		fd = accept(listener, NULL, NULL);
		if (fd >= 0)
		{
			if (recv(fd, request, sizeof(request), 0) == 8)
			{
				assert_memory_equal(request, "\0\0\0\x08\x04\xd2\x16\x2f", 8);
				/* some of those in the queue have been given up */
				(void) !send(fd, "E", 1, MSG_NOSIGNAL);
			}
			close(fd);
		}
		usleep(10000);
	}
	assert_true(has_answer());
	assert_int_equal(atomic_load(&shown(LEASE_PROBE_CONNECTION)->begun_ms), 0);
}

/* Without a way to ask there is nothing to learn, and nothing hangs. */
static void
nobody_listens(void **state)
{
	char		path[200];

	(void) state;
	listen_here();
	path_of(".s.PGSQL.5432", path);
	assert_int_equal(unlink(path), 0);
	wait_until(has_nobody_to_ask);
	assert_int_equal(atomic_load(&shown(LEASE_PROBE_CONNECTION)->error), ENOTCONN);
}

static bool
nobody_probes(void)
{
	return atomic_load(&shown(LEASE_PROBE_DISK)->pid) == 0 &&
		atomic_load(&shown(LEASE_PROBE_CONNECTION)->pid) == 0;
}

static void
switched_off(void **state)
{
	(void) state;
	listen_here();
	wait_until(disk_is_fine);
	settings.health_disk_timeout_ms = settings.health_connect_timeout_ms = 0;
	wait_until(nobody_probes);
}

/* One that was killed is started again; those of a dead supervisor end. */
static void
come_and_go(void **state)
{
	int32_t		pid;
	int			status;
	pid_t		supervisor;

	(void) state;
	wait_until(disk_is_fine);
	pid = atomic_load(&shown(LEASE_PROBE_DISK)->pid);
	assert_int_equal(kill(pid, SIGKILL), 0);
	wait_until(nobody_probes);
	atomic_store(&shown(LEASE_PROBE_DISK)->done_ms, 0);
	wait_until(disk_is_fine);
	assert_int_not_equal(atomic_load(&shown(LEASE_PROBE_DISK)->pid), pid);
	probes_free(probes);
	probes = NULL;
	assert_true(nobody_probes());

	supervisor = fork();
	if (supervisor == 0)
	{
		probes = probes_create(processes, page);
		while (atomic_load(&shown(LEASE_PROBE_DISK)->done_ms) == 0)
		{
			probes_turn(probes, &settings, true, 0);
			usleep(10000);
		}
		_exit(0);
	}
	atomic_store(&shown(LEASE_PROBE_DISK)->done_ms, 0);
	/* the loop reaps children, so the end is seen otherwise */
	while (kill(supervisor, 0) == 0 && waitpid(supervisor, &status, WNOHANG) == 0)
		usleep(10000);
	for (int64_t end_ms = clock_now_ms() + PATIENCE_MS; !nobody_probes() && clock_now_ms() < end_ms;)
		usleep(10000);
	assert_true(nobody_probes());
}

/* A probe that hangs has the page mapped; its supervisor's lock ends all the same. */
static void
lock_ends_with_the_supervisor(void **state)
{
	char		name[LEASE_PAGE_NAME_MAX];
	LeasePage  *mine = NULL;
	LeasePage  *next = NULL;
	int			fd = -1;
	int			next_fd = -1;
	int			status;
	pid_t		child;
	Error		error;

	(void) state;
	error_clear(&error);
	snprintf(name, sizeof(name), "/patroni_test_probe.%d", (int) getpid());
	assert_true(lease_page_create(name, &mine, &fd, &error));
	assert_false(lease_page_create(name, &next, &next_fd, &error));
	child = fork();
	if (child == 0)
	{
		close(fd);
		for (;;)
			pause();
	}
	close(fd);
	usleep(100000);
	assert_true(lease_page_create(name, &next, &next_fd, &error));
	kill(child, SIGKILL);
	(void) waitpid(child, &status, 0);
	lease_page_close(mine);
	lease_page_close(next);
	close(next_fd);
	lease_page_unlink(name);
}

#define TEST(name)	cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(disk),
		TEST(silence),
		TEST(nobody_listens),
		TEST(switched_off),
		TEST(come_and_go),
		TEST(lock_ends_with_the_supervisor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
