/*-------------------------------------------------------------------------
 *
 * clock.h
 *      The two clocks.  src/ha and src/cluster never call these.
 *
 * Leases are measured on CLOCK_BOOTTIME: it never jumps, and unlike
 * CLOCK_MONOTONIC it goes on while the host is suspended, as the store's
 * clock does.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_BASE_CLOCK_H
#define PATRONI_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Microseconds of CLOCK_BOOTTIME.  Safe in signal handlers. */
static inline int64_t
clock_now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (int64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* Milliseconds of CLOCK_BOOTTIME: the engine's "now". */
static inline int64_t
clock_now_ms(void)
{
	return clock_now_us() / 1000;
}

/* Milliseconds since 1970: for schedules and for people only. */
static inline int64_t
clock_wall_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

#endif							/* PATRONI_BASE_CLOCK_H */
