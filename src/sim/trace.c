/*-------------------------------------------------------------------------
 *
 * trace.c
 *      What happened, in words when they are wanted and in a digest always.
 *
 * The digest is made of numbers and names only, in the order in which things
 * happened: two runs with one digest were the same run.
 *-------------------------------------------------------------------------
 */
#include <stdarg.h>
#include <stdio.h>

#include "sim/sim.h"

static uint64_t
mix(uint64_t digest, uint64_t value)
{
	digest ^= value;
	digest *= UINT64_C(0x9e3779b97f4a7c15);
	return digest ^ (digest >> 29);
}

/* Something happened: it goes into the digest of the run. */
void
sim_note(int node, const char *tag, uint64_t a, uint64_t b)
{
	uint64_t	word = 0;

	for (const char *c = tag; *c != '\0'; c++)
		word = word * 31 + (unsigned char) *c;
	sim.digest = mix(sim.digest, (uint64_t) sim.now_us);
	sim.digest = mix(sim.digest, (uint64_t) (int64_t) node + 1);
	sim.digest = mix(sim.digest, word);
	sim.digest = mix(sim.digest, a);
	sim.digest = mix(sim.digest, b);
}

/* A line for people; use sim_trace(). */
void
sim_trace_line(int node, const char *format,...)
{
	char		line[2048];
	va_list		args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	printf("%5lld.%06lld %-7s %s\n", (long long) (sim.now_us / 1000000),
		   (long long) (sim.now_us % 1000000),
		   node == SIM_STORE ? "store" : node < 0 ? "" : sim.node[node].name, line);
}
