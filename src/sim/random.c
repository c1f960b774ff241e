/*-------------------------------------------------------------------------
 *
 * random.c
 *      The only source of chance: a generator, seeded once a run, and a second
 *      one for what came later and must not change what the first one gives.
 *
 * xorshift64* of Vigna (2016); seeds are spread by splitmix64, so that
 * neighbouring ones have nothing in common.
 *-------------------------------------------------------------------------
 */
#include "sim/sim.h"

#define SPREAD	UINT64_C(0x9e3779b97f4a7c15)

static uint64_t state;
static uint64_t client_state;

static uint64_t
spread(uint64_t seed)
{
	uint64_t	z = seed + SPREAD;

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	z ^= z >> 31;
	return z == 0 ? 1 : z;
}

/* Begin a run. */
void
sim_seed(uint64_t seed)
{
	state = spread(seed);
	client_state = spread(seed + SPREAD);
}

static uint64_t
next(uint64_t *of)
{
	*of ^= *of >> 12;
	*of ^= *of << 25;
	*of ^= *of >> 27;
	return *of * UINT64_C(0x2545f4914f6cdd1d);
}

/* 64 bits. */
uint64_t
sim_random(void)
{
	return next(&state);
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

/* The same from the stream of the clients: when they lose patience, and how. */
int64_t
sim_client_between(int64_t low, int64_t high)
{
	if (high <= low)
		return low;
	return low + (int64_t) ((next(&client_state) >> 1) % (uint64_t) (high - low + 1));
}
