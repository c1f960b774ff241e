/*-------------------------------------------------------------------------
 *
 * world.c
 *      One run: a cluster comes to life, has trouble, and finds peace.
 *
 *      formed      the hosts start with empty directories; the first healthy
 *                  state must come within FORM_US
 *      trouble     writers write, faults strike (none in a quiet profile)
 *      peace       everything is repaired; L1 says how long it may take
 *      end         a little calm, then what must have ended has ended
 *
 * The promises are looked at after every event.
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "sim/sim.h"

#define FORM_US			SIM_MS(120000)
#define PEACE_US		SIM_MS(600000)	/* check.c has failed the run long before */
#define CALM_US			SIM_MS(3000)
#define PACE_US			SIM_MS(100)		/* between two looks of a phase */
#define EVENTS_MAX		3000000			/* of one run; more is a loop */

SimWorld	sim;

static void
reset(uint64_t seed, bool is_traced)
{
	SimWrite   *write = sim.write;

	sim_world_free();
	memset(&sim, 0, sizeof(sim));
	sim.write = write;
	if (sim.write == NULL)
		sim.write = malloc(sizeof(SimWrite) * SIM_WRITES_MAX);
	if (sim.write == NULL)
		abort();
	sim.seed = seed;
	sim.is_traced = is_traced;
	sim.current_node = -1;
	sim.digest = seed;
	sim_seed(seed);
	sim_store_reset();
	sim_network_reset();
	sim_check_reset();
}

/* Let the world go on until then; false: something was wrong. */
static bool
go_on(int64_t until_us)
{
	while (!sim.has_failed && sim_next(until_us))
	{
		sim_check_step();
		if (sim.n_events > EVENTS_MAX)
			sim_fail("bug in the simulator or a loop in the engine: too many events");
	}
	return !sim.has_failed;
}

static void
form(void)
{
	for (int n = 0; n < sim.n_nodes; n++)
	{
		sim.node[n].index = n;
		if (n < sim.profile.n_nodes)
			sim_node_add(n);
	}
	while (!sim.has_failed && !sim_check_is_healthy())
	{
		go_on(sim.now_us + PACE_US);
		if (sim.now_us > FORM_US)
			sim_fail("L1: the cluster was not formed within %d s", (int) (FORM_US / 1000000));
	}
	sim_trace(-1, "the cluster is formed");
}

static void
have_trouble(void)
{
	sim_clients_start();
	sim.is_faulty = sim.profile.has_faults;
	if (sim.is_faulty)
		sim_faults_start();
	go_on(sim.now_us + sim.profile.duration_us);
	sim.is_faulty = false;
	sim_trace(-1, "peace");
}

static void
find_peace(void)
{
	sim.peace_us = sim.now_us;
	if (sim.profile.has_faults)
		sim_faults_heal();
	do
	{
		go_on(sim.now_us + PACE_US);
		sim_check_peace();
		if (sim.now_us > sim.peace_us + PEACE_US)
			sim_fail("bug in the simulator: peace does not end");
	} while (!sim.has_failed && !sim_check_is_healthy());
	go_on(sim.now_us + CALM_US);
}

/*
 * Run one seed.  n_nodes 0: by chance.  False: a promise was broken, the first
 * is in sim.failure.
 */
bool
sim_run(uint64_t seed, const char *profile, int n_nodes, bool is_traced)
{
	reset(seed, is_traced);
	if (!sim_profile_draw(profile, n_nodes))
	{
		sim_fail("there is no profile \"%s\"", profile);
		return false;
	}
	sim.n_nodes = SIM_NODES_MAX;	/* the rest may be added later */
	form();
	if (!sim.has_failed)
		have_trouble();
	if (!sim.has_failed)
		find_peace();
	if (!sim.has_failed)
		sim_check_end();
	sim_clients_stop();
	return !sim.has_failed;
}

/* Free what the run has left; sim.write stays for the next one. */
void
sim_world_free(void)
{
	sim_queue_reset();
	for (int n = 0; n < SIM_NODES_MAX; n++)
		sim_node_free(n);
}
