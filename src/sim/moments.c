/*-------------------------------------------------------------------------
 *
 * moments.c
 *      Trouble at the worst moment: while it changes who is synchronous.
 *
 * Such a change takes some milliseconds in a run of a minute, and a fault at
 * a random time hardly ever meets it.  So in the synchronous profiles some
 * changes of the names or of the key "sync" draw a fault upon themselves: the
 * primary is lost within milliseconds, mostly after a standby was cut off or
 * slowed down, which lacks what the others confirm, and sometimes together with
 * another member, so that whoever is left has to decide.
 *-------------------------------------------------------------------------
 */
#include "sim/trouble.h"

#define MOMENTS_MAX		4		/* each run */

static int	n_moments;

/* A new run. */
void
sim_moments_reset(void)
{
	n_moments = 0;
}

/* Any member but this one; -1 there is none. */
static int
some_other(int node)
{
	int			other = sim_some_node();

	if (other == node)
		other = (node + 1 + sim_pick(sim.n_nodes)) % sim.n_nodes;
	return other >= 0 && other != node && sim.node[other].is_member ? other : -1;
}

static void
lose(int unused, int64_t number, void *owned)
{
	static const SimFault losses[] = {
		SIM_FAULT_HOST_CRASH, SIM_FAULT_HOST_CRASH, SIM_FAULT_HOST_CRASH, SIM_FAULT_PAUSE_HOST,
		SIM_FAULT_PAUSE_HOST, SIM_FAULT_CUT_NODE, SIM_FAULT_CUT_NODE, SIM_FAULT_SERVER_KILL,
		SIM_FAULT_WORKER_KILL, SIM_FAULT_SUPERVISOR_KILL, SIM_FAULT_CUT_STORE, SIM_FAULT_CUT_STORE,
		SIM_FAULT_CUT_STORE, SIM_FAULT_CUT_STORE,
	};
	int			node = (int) number;

	(void) unused;
	(void) owned;
	if (sim.is_faulty && sim.node[node].is_member)
		sim_faults_strike(losses[sim_pick(sizeof(losses) / sizeof(losses[0]))], node, -1);
}

static void
begin(int unused, int64_t leader, void *owned)
{
	int64_t		delay_us = 0;
	int			other;

	(void) unused;
	(void) owned;
	if (!sim.is_faulty)
		return;
	if (sim_chance(500))
	{
		other = some_other((int) leader);
		if (other >= 0 && sim_chance(500))
			sim_faults_strike(SIM_FAULT_CUT_LINK, (int) leader, other);
		else if (other >= 0)
			sim_faults_strike(sim_chance(700) ? SIM_FAULT_SLOW_NETWORK : SIM_FAULT_LOSSY, other, -1);
		delay_us = sim_chance(500) ? sim_between(0, SIM_MS(20)) : sim_between(0, SIM_MS(1500));
	}
	if (sim_chance(250))
	{
		other = some_other((int) leader);
		if (other >= 0)
			sim_later(sim_between(0, delay_us + SIM_MS(5)), lose, -1, other, NULL);
	}
	if (sim_chance(800))
		sim_later(delay_us, lose, -1, leader, NULL);
}

/* The names of this primary, or the key that it writes, are changing. */
void
sim_moment(int leader)
{
	int64_t		delay_us;

	if (!sim.is_faulty || !sim.profile.engine_keeps_sync || leader < 0 ||
		n_moments == MOMENTS_MAX || !sim_chance(100))
		return;
	n_moments++;
	delay_us = sim_chance(600) ? sim_between(0, SIM_MS(8)) : sim_between(0, SIM_MS(100));
	sim_later(delay_us, begin, -1, leader, NULL);
}
