/*-------------------------------------------------------------------------
 *
 * stopped_clock.c
 *      A library for LD_PRELOAD: the clocks of a machine that its hypervisor
 *      has stopped and let go on.
 *
 * The clocks that count from the boot are late by as many microseconds as the
 * file $STOPPED_CLOCK says in its first eight bytes, which may change at any
 * time.
 *
 *-------------------------------------------------------------------------
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *late_us;

__attribute__((constructor))
static void
map_file(void)
{
	const char *path = getenv("STOPPED_CLOCK");
	int			fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	void	   *address;

	if (fd < 0)
		return;
	address = mmap(NULL, sizeof(*late_us), PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (address != MAP_FAILED)
		late_us = address;
}

int
clock_gettime(clockid_t clock, struct timespec *ts)
{
	int			result = (int) syscall(SYS_clock_gettime, clock, ts);
	int64_t		us;

	if (result != 0 || late_us == NULL ||
		(clock != CLOCK_BOOTTIME && clock != CLOCK_MONOTONIC && clock != CLOCK_MONOTONIC_RAW &&
		 clock != CLOCK_MONOTONIC_COARSE))
		return result;
	us = (int64_t) ts->tv_sec * 1000000 + ts->tv_nsec / 1000 - *late_us;
	ts->tv_sec = us / 1000000;
	ts->tv_nsec = us % 1000000 * 1000 + ts->tv_nsec % 1000;
	return 0;
}
