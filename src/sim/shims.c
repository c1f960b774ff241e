/*-------------------------------------------------------------------------
 *
 * shims.c
 *      What the linked code asks of the kernel, answered by the world.
 *
 * The clocks are those of the node whose code runs.  Epoll descriptors are
 * numbers that nobody opened: the loops of the simulator do not wait for
 * descriptors, and close() of such a number fails without harm.
 *
 * What is simplified: the wall clock is the same everywhere and never jumps.
 *-------------------------------------------------------------------------
 */
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "sim/sim.h"

#define FAKE_DESCRIPTOR		1000000000	/* more than any process may have */

static int
set_time(struct timespec *ts, int64_t us)
{
	ts->tv_sec = (time_t) (us / 1000000);
	ts->tv_nsec = (long) (us % 1000000) * 1000;
	return 0;
}

/* The clock of the node whose code runs; the real one between runs. */
int
clock_gettime(clockid_t clock, struct timespec *ts)
{
	if (sim.n_nodes == 0 || (sim.current_node < 0 && !sim.is_running))
		return (int) syscall(SYS_clock_gettime, clock, ts);
	switch (clock)
	{
		case CLOCK_REALTIME:
		case CLOCK_REALTIME_COARSE:
			return set_time(ts, sim_wall_ms() * 1000);
		case CLOCK_BOOTTIME:
		case CLOCK_MONOTONIC:
		case CLOCK_MONOTONIC_RAW:
		case CLOCK_MONOTONIC_COARSE:
			if (sim.current_node >= 0)
				return set_time(ts, sim_clock_us(sim.current_node));
			sim_fail("bug in the simulator: a clock was read that is nobody's");
			return set_time(ts, sim.now_us);
		default:
			return (int) syscall(SYS_clock_gettime, clock, ts);
	}
}

int
epoll_create1(int flags)
{
	(void) flags;
	return FAKE_DESCRIPTOR;
}

int
epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
	(void) epoll;
	(void) operation;
	(void) fd;
	(void) event;
	return 0;
}
