/*-------------------------------------------------------------------------
 *
 * cycles.h
 *      A second clock, for leases: the processor's cycle counter.
 *
 * A hypervisor that stops a virtual machine and lets it go on may hide the
 * time between from the machine's clocks: QEMU does so with kvm-clock (its
 * hw/i386/kvm/clock.c sets the clock back when the machine is continued).  The
 * time-stamp counter goes on meanwhile ("Intel 64 and IA-32 Architectures
 * Software Developer's Manual", volume 3, "Invariant TSC").  So a deadline is
 * also kept as a number of cycles, and is over when either says so.
 *
 * How many cycles a microsecond has is measured between samples, and the
 * lowest of what was measured counts: a sample after such a pause has too many.
 * Whatever is wrong with the counter can make a deadline come earlier, by as
 * much as its rate has changed since, but never later than the clock has it.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_BASE_CYCLES_H
#define PATRONI_BASE_CYCLES_H

#include <stdbool.h>
#include <stdint.h>

#define CYCLE_SAMPLES_MAX	32
#define CYCLE_SPACING_US	1000000

typedef struct CycleSample
{
	int64_t		us;				/* CLOCK_BOOTTIME */
	uint64_t	cycles;
} CycleSample;

/* The last samples, the oldest first.  All zero = none. */
typedef struct CycleClock
{
	int			n_samples;
	double		lowest_rate;	/* cycles of a microsecond, of what was measured; 0 = nothing was */
	CycleSample samples[CYCLE_SAMPLES_MAX];
} CycleClock;

/* The counter; 0 where there is none. */
static inline uint64_t
cycles_now(void)
{
#ifdef __x86_64__
	return __builtin_ia32_rdtsc();
#else
	return 0;
#endif
}

/* Does the counter of this machine run at one rate, whatever the processor does? */
extern bool cycles_are_steady(void);

/*
 * Remember that the clock showed "us" when the counter was at "cycles", unless
 * the last sample is not a second old by either.  The counter must be read
 * before the clock.
 */
extern void cycle_clock_add(CycleClock *clock, int64_t us, uint64_t cycles);

/*
 * What the counter will show at the time "at_us", counted from the last sample
 * that is not younger than "from_us"; 0 = not known.
 */
extern uint64_t cycle_clock_at(const CycleClock *clock, int64_t from_us, int64_t at_us);

#endif							/* PATRONI_BASE_CYCLES_H */
