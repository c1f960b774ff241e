/*-------------------------------------------------------------------------
 *
 * cycles.c
 *      A second clock, for leases: the processor's cycle counter.
 *
 *-------------------------------------------------------------------------
 */
#include "base/cycles.h"

#include <string.h>

#ifdef __x86_64__
#include <cpuid.h>
#endif

/* Samples that are closer together say too little about the rate. */
#define RATE_SPACING_US		(CYCLE_SPACING_US / 2)

/*
 * The processor says so, or a hypervisor hides whether it does.  Sources: the
 * manual's CPUID leaf 80000007H, EDX bit 8, and leaf 1, ECX bit 31.
 */
bool
cycles_are_steady(void)
{
#ifdef __x86_64__
	unsigned	a,
				b,
				c,
				d;

	if (__get_cpuid(0x80000007, &a, &b, &c, &d) && (d & (1u << 8)) != 0)
		return true;
	return __get_cpuid(1, &a, &b, &c, &d) && (c & (1u << 31)) != 0;
#else
	return false;
#endif
}

static double
lowest_rate(const CycleClock *clock)
{
	double		lowest = 0;

	for (int i = 1; i < clock->n_samples; i++)
	{
		const CycleSample *a = &clock->samples[i - 1];
		const CycleSample *b = &clock->samples[i];
		double		rate;

		if (b->us - a->us < RATE_SPACING_US)
			continue;
		rate = (double) (b->cycles - a->cycles) / (double) (b->us - a->us);
		if (lowest == 0 || rate < lowest)
			lowest = rate;
	}
	return lowest;
}

void
cycle_clock_add(CycleClock *clock, int64_t us, uint64_t cycles)
{
	if (clock->n_samples > 0)
	{
		const CycleSample *last = &clock->samples[clock->n_samples - 1];

		if (us < last->us || cycles < last->cycles)
			clock->n_samples = 0;	/* a counter that began anew, or another one */
		else if (us - last->us < CYCLE_SPACING_US &&
				 (clock->lowest_rate == 0 ||
				  (double) (cycles - last->cycles) < clock->lowest_rate * CYCLE_SPACING_US))
			return;
	}
	if (clock->n_samples == CYCLE_SAMPLES_MAX)
	{
		clock->n_samples--;
		memmove(clock->samples, clock->samples + 1,
				(size_t) clock->n_samples * sizeof(clock->samples[0]));
	}
	clock->samples[clock->n_samples++] = (CycleSample) {.us = us,.cycles = cycles};
	clock->lowest_rate = lowest_rate(clock);
}

uint64_t
cycle_clock_at(const CycleClock *clock, int64_t from_us, int64_t at_us)
{
	double		rate = clock->lowest_rate;
	int			i = clock->n_samples - 1;

	if (rate <= 0)
		return 0;
	while (i > 0 && clock->samples[i].us > from_us)
		i--;
	if (at_us <= clock->samples[i].us)
		return 0;
	return clock->samples[i].cycles + (uint64_t) ((double) (at_us - clock->samples[i].us) * rate);
}
