/*-------------------------------------------------------------------------
 *
 * network.c
 *      Messages between nodes, and between nodes and the store.
 *
 * What is simplified: a message arrives whole or not at all, and two messages
 * between the same ends may overtake each other (streams take care of their
 * order themselves).  The store is one address: its members are not seen.
 *-------------------------------------------------------------------------
 */
#include "sim/sim.h"
#include "sim/store.h"

#define DELAY_MIN_US	200
#define DELAY_MAX_US	1000

static bool
is_up(int endpoint)
{
	if (endpoint == SIM_STORE)
		return !sim.store_faults.is_down;
	return sim.node[endpoint].host_is_up;
}

/* The delay of one message, or -1 when it gets lost. */
int64_t
sim_send_delay(int from, int to)
{
	const SimLink *link = &sim.link[from][to];

	if (link->is_cut || !is_up(from) || !is_up(to))
		return -1;
	if (from == to)
		return 20;
	if (sim_chance(link->loss))
		return -1;
	return link->delay_us + sim_between(0, link->delay_us);
}

/* Do both directions let something through? */
bool
sim_is_connected(int a, int b)
{
	return is_up(a) && is_up(b) && !sim.link[a][b].is_cut && !sim.link[b][a].is_cut;
}

/* Is the sender told at once that nothing gets through? */
bool
sim_link_refuses(int a, int b)
{
	const SimLink *there = &sim.link[a][b];
	const SimLink *back = &sim.link[b][a];

	if ((there->is_cut && there->is_refusing) || (back->is_cut && back->is_refusing))
		return true;
	/* The host of the store is up and says that nobody listens. */
	return b == SIM_STORE && sim.store_faults.is_down && !there->is_cut && !back->is_cut;
}

/* A network without faults, with delays that are typical for this run. */
void
sim_network_reset(void)
{
	int64_t		delay_us = sim_between(DELAY_MIN_US, DELAY_MAX_US);

	for (int a = 0; a < SIM_ENDPOINTS; a++)
	{
		for (int b = 0; b < SIM_ENDPOINTS; b++)
		{
			SimLink    *link = &sim.link[a][b];

			link->is_cut = false;
			link->is_refusing = false;
			link->loss = 0;
			link->delay_us = delay_us;
		}
	}
}
