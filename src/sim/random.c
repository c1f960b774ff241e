/*-------------------------------------------------------------------------
 *
 * random.c
 *      The only source of chance: one generator, seeded once a run.
 *
 * xorshift64* of Vigna (2016); seeds are spread by splitmix64, so that
 * neighbouring ones have nothing in common.
 *-------------------------------------------------------------------------
 */
#include "sim/sim.h"

static uint64_t state;

/* Begin a run. */
void
sim_seed(uint64_t seed)
{
	uint64_t	z = seed + UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	state = z ^ (z >> 31);
	if (state == 0)
		state = 1;
}

/* 64 bits. */
uint64_t
sim_random(void)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return state * UINT64_C(0x2545f4914f6cdd1d);
}

/* One of 0 .. n - 1; n > 0. */
int
sim_pick(int n)
{
	return (int) ((sim_random() >> 33) % (uint64_t) n);
}

/* True that often in a thousand times. */
bool
sim_chance(int per_mille)
{
	return per_mille > 0 && sim_pick(1000) < per_mille;
}

/* One of low .. high, both included. */
int64_t
sim_between(int64_t low, int64_t high)
{
	if (high <= low)
		return low;
	return low + (int64_t) ((sim_random() >> 1) % (uint64_t) (high - low + 1));
}
