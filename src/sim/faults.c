/*-------------------------------------------------------------------------
 *
 * faults.c
 *      Trouble: what breaks, for how long, and how it is repaired.
 *
 * Faults are planned at random times within the run.  Most of them last for a
 * while (a twentieth of a ttl to three ttls); the list of those that last is
 * what the network, the store and the disks are made from, so that faults may
 * overlap and end in any order.  In peace the list is empty.
 *
 * What is simplified: the store fails as a whole or for single nodes, and
 * never loses what it confirmed.  A broken data directory is broken from one
 * moment to the next; pages that rot unseen are not modelled.
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "sim/trouble.h"

#define LASTING_MAX		64
#define REPAIR_US		SIM_MS(200)		/* peace: what went away meanwhile is brought back */
#define REPAIRS_MAX		300

uint64_t	sim_fault_count[SIM_FAULT_COUNT];

/* One that lasts. */
typedef struct Lasting
{
	bool		is_active;
	SimFault	fault;
	int			node;			/* or endpoint; -1 none */
	int			other;			/* endpoint; -1 all */
	int64_t		amount;
	bool		is_refusing;
	SimProcessKind process;
	uint32_t	incarnation;	/* of what was frozen */
	uint32_t	number;			/* of this use of the slot */
} Lasting;

static Lasting lasting[LASTING_MAX];
static uint32_t n_struck;
static SimLink calm_link[SIM_ENDPOINTS][SIM_ENDPOINTS];

#define FAULT_NAME(name) #name,
static const char *const fault_names[SIM_FAULT_COUNT] = {
	SIM_FAULTS(FAULT_NAME)
};

/* As in SIM_FAULTS. */
const char *
sim_fault_name(SimFault fault)
{
	return (unsigned) fault < SIM_FAULT_COUNT ? fault_names[fault] : "?";
}

/* Does the configuration in the store say "pause": true? */
bool
sim_config_is_paused(void)
{
	const SimKey *key = sim_store_find("config");
	const char *at = key != NULL && key->value != NULL ? strstr(key->value, "\"pause\"") : NULL;

	if (at == NULL)
		return false;
	for (at += strlen("\"pause\""); *at == ' ' || *at == ':'; at++)
		;
	return strncmp(at, "true", 4) == 0;
}

static int
pick_of(uint32_t nodes)
{
	int			count = __builtin_popcount(nodes);
	int			at;

	if (count == 0)
		return -1;
	at = sim_pick(count);
	for (int n = 0; n < SIM_NODES_MAX; n++)
		if ((nodes & (1u << n)) != 0 && at-- == 0)
			return n;
	return -1;
}

/* A member by chance, the leader more often than others; -1 there is none. */
int
sim_some_node(void)
{
	uint32_t	nodes = 0;
	int			leader = sim_store_leader();

	if (sim_chance(350) && leader >= 0 && sim.node[leader].is_member)
		return leader;
	for (int n = 0; n < sim.n_nodes; n++)
		if (sim.node[n].is_member)
			nodes |= 1u << n;
	return pick_of(nodes);
}

/* One of ours that has power and a supervisor; -1 none. */
int
sim_some_live_node(void)
{
	uint32_t	nodes = 0;

	for (int n = 0; n < sim.n_nodes; n++)
		if (sim.node[n].is_member && sim.node[n].host_is_up && sim.node[n].kind == SIM_OURS &&
			sim.node[n].process[SIM_SUPERVISOR].is_alive)
			nodes |= 1u << n;
	return pick_of(nodes);
}

/* ------------------------------------------------------------------------
 * What lasts
 * ------------------------------------------------------------------------ */

static void
cut(int from, int to, bool is_refusing)
{
	if (from == to)
		return;
	sim.link[from][to].is_cut = true;
	sim.link[from][to].is_refusing = is_refusing;
}

static void
worsen(SimLink *link, const Lasting *fault)
{
	if (fault->fault == SIM_FAULT_LOSSY && link->loss < fault->amount)
		link->loss = (int) fault->amount;
	if (fault->fault == SIM_FAULT_SLOW_NETWORK && link->delay_us < fault->amount)
		link->delay_us = fault->amount;
}

static void
apply_link(const Lasting *fault)
{
	int			n = fault->node;

	switch (fault->fault)
	{
		case SIM_FAULT_CUT_STORE:
		case SIM_FAULT_CUT_LINK:
			cut(n, fault->other, fault->is_refusing);
			cut(fault->other, n, fault->is_refusing);
			break;
		case SIM_FAULT_CUT_ONE_WAY:
			cut(n, fault->other, false);
			break;
		case SIM_FAULT_CUT_NODE:
			for (int to = 0; to < SIM_ENDPOINTS; to++)
			{
				cut(n, to, fault->is_refusing);
				cut(to, n, fault->is_refusing);
			}
			break;
		case SIM_FAULT_LOSSY:
		case SIM_FAULT_SLOW_NETWORK:
			for (int to = 0; to < SIM_ENDPOINTS; to++)
			{
				worsen(&sim.link[n][to], fault);
				worsen(&sim.link[to][n], fault);
			}
			break;
		default:
			break;
	}
}

static void
apply_store(const Lasting *fault, SimStoreFaults *store)
{
	switch (fault->fault)
	{
		case SIM_FAULT_STORE_FROZEN:
			store->is_frozen = true;
			break;
		case SIM_FAULT_STORE_LOSES_REPLIES:
			store->lost_reply = (int) fault->amount;
			break;
		case SIM_FAULT_STORE_LATE:
			store->late_request = (int) fault->amount;
			break;
		case SIM_FAULT_STORE_STALE:
			store->stale_read = (int) fault->amount;
			break;
		case SIM_FAULT_STORE_EXPIRES_LATE:
			store->lets_expire_late = true;
			break;
		case SIM_FAULT_WATCH_LAG:
			store->watch_lag_us = fault->amount;
			break;
		default:
			break;
	}
}

static void
apply_disk(const Lasting *fault)
{
	SimNode    *node = fault->node >= 0 && fault->node < SIM_NODES_MAX ? &sim.node[fault->node] : NULL;

	if (node == NULL)
		return;
	if (fault->fault == SIM_FAULT_SLOW_DISK)
		node->disk_slowness = (int) fault->amount;
	else if (fault->fault == SIM_FAULT_FULL_DISK)
		node->disk_is_full = true;
	else if (fault->fault == SIM_FAULT_TASKS_FAIL)
		node->task_failure = (int) fault->amount;
	else if (fault->fault == SIM_FAULT_DISK_HANGS)
		node->disk_hangs = true;
}

/* Make links, store and disks what the list says. */
static void
apply_all(void)
{
	SimStoreFaults store = {.is_down = sim.store_faults.is_down};
	bool		is_down = false;

	memcpy(sim.link, calm_link, sizeof(sim.link));
	for (int n = 0; n < SIM_NODES_MAX; n++)
	{
		sim.node[n].disk_slowness = 1;
		sim.node[n].disk_is_full = false;
		sim.node[n].disk_hangs = false;
		if (sim.node[n].task_failure != 0)
			sim.node[n].repaired_us = sim.now_us;
		sim.node[n].task_failure = 0;
	}
	for (int i = 0; i < LASTING_MAX; i++)
	{
		if (!lasting[i].is_active)
			continue;
		apply_link(&lasting[i]);
		apply_store(&lasting[i], &store);
		apply_disk(&lasting[i]);
		if (lasting[i].fault == SIM_FAULT_STORE_DOWN)
			is_down = true;
	}
	sim.store_faults = store;
	if (is_down != store.is_down)
		sim_store_outage(is_down);
}

static bool
is_pause(SimFault fault)
{
	return fault == SIM_FAULT_PAUSE_WORKER || fault == SIM_FAULT_PAUSE_SUPERVISOR ||
		fault == SIM_FAULT_PAUSE_SERVER || fault == SIM_FAULT_PAUSE_HOST;
}

/* It is over: undo what apply_all() does not make. */
static void
end_lasting(Lasting *fault)
{
	SimNode    *node = fault->node >= 0 && fault->node < SIM_NODES_MAX ? &sim.node[fault->node] : NULL;

	if (!fault->is_active)
		return;
	fault->is_active = false;
	sim_trace(fault->node < SIM_NODES_MAX ? fault->node : -1, "the fault %s is over",
			  sim_fault_name(fault->fault));
	sim_note(fault->node, "fault over", fault->fault, fault->number);
	if (fault->fault == SIM_FAULT_PAUSE_HOST && node->host_is_up)
		sim_host_resume(fault->node);
	else if (is_pause(fault->fault) && fault->fault != SIM_FAULT_PAUSE_HOST &&
			 node->process[fault->process].is_alive &&
			 node->process[fault->process].incarnation == fault->incarnation &&
			 node->process[fault->process].n_pauses > 0)
		sim_resume(fault->node, fault->process);
	else if (fault->fault == SIM_FAULT_HOST_CRASH && node->is_member && !node->host_is_up)
		sim_host_boot(fault->node);
	apply_all();
}

static void
lasting_ends(int node, int64_t number, void *owned)
{
	(void) node;
	(void) owned;
	for (int i = 0; i < LASTING_MAX; i++)
		if (lasting[i].is_active && lasting[i].number == (uint32_t) number)
			end_lasting(&lasting[i]);
}

/* What dies, or loses its power, is frozen no more. */
static void
end_pauses(int node)
{
	for (int i = 0; i < LASTING_MAX; i++)
		if (lasting[i].is_active && is_pause(lasting[i].fault) && lasting[i].node == node)
			end_lasting(&lasting[i]);
}

static bool
is_lasting(SimFault fault, int node)
{
	for (int i = 0; i < LASTING_MAX; i++)
		if (lasting[i].is_active && lasting[i].fault == fault && lasting[i].node == node)
			return true;
	return false;
}

/* A twentieth of a ttl to three: short ones are as likely as long ones. */
static int64_t
draw_duration(void)
{
	int64_t		ttl_us = SIM_MS(sim.profile.ttl_ms);

	/* what failsafe mode is for: longer than a ttl */
	if (sim.profile.failsafe_mode && sim_chance(500))
		return sim_between(ttl_us, 5 * ttl_us);
	return sim_chance(400) ? sim_between(ttl_us / 20, ttl_us / 2) : sim_between(ttl_us / 2, 3 * ttl_us);
}

static Lasting *
begin_lasting(SimFault fault, int node, int other, int64_t amount)
{
	for (int i = 0; i < LASTING_MAX; i++)
	{
		Lasting    *slot = &lasting[i];

		if (slot->is_active)
			continue;
		memset(slot, 0, sizeof(*slot));
		slot->is_active = true;
		slot->fault = fault;
		slot->node = node;
		slot->other = other;
		slot->amount = amount;
		slot->number = ++n_struck;
		sim_later(draw_duration(), lasting_ends, -1, slot->number, NULL);
		return slot;
	}
	return NULL;
}

/* ------------------------------------------------------------------------
 * Striking
 * ------------------------------------------------------------------------ */

static bool
freeze(SimFault fault, int node, SimProcessKind process)
{
	SimProcess *frozen = &sim.node[node].process[process];
	Lasting    *slot;

	if (!sim.node[node].host_is_up || !frozen->is_alive || is_lasting(fault, node))
		return false;
	slot = begin_lasting(fault, node, -1, 0);
	if (slot == NULL)
		return false;
	slot->process = process;
	slot->incarnation = frozen->incarnation;
	sim_pause(node, process);
	return true;
}

static bool
strike_process(SimFault fault, int node)
{
	SimNode    *target = &sim.node[node];
	Lasting    *slot;

	if (!target->host_is_up)
		return false;
	switch (fault)
	{
		case SIM_FAULT_SERVER_KILL:
			if (!target->process[SIM_SERVER].is_alive)
				return false;
			end_pauses(node);
			sim_server_kill(node);
			return true;
		case SIM_FAULT_SUPERVISOR_KILL:
			if (!target->process[SIM_SUPERVISOR].is_alive)
				return false;
			end_pauses(node);
			sim_supervisor_kill(node);
			return true;
		case SIM_FAULT_WORKER_KILL:
		case SIM_FAULT_WORKER_LEAVE:
			if (!target->process[SIM_WORKER].is_alive || target->kind != SIM_OURS)
				return false;
			if (fault == SIM_FAULT_WORKER_LEAVE)
				sim_worker_leave(node);
			else
			{
				end_pauses(node);
				sim_worker_kill(node);
			}
			return true;
		case SIM_FAULT_HOST_CRASH:
			slot = begin_lasting(fault, node, -1, 0);
			if (slot == NULL)
				return false;
			end_pauses(node);
			sim_host_crash(node);
			return true;
		case SIM_FAULT_PAUSE_WORKER:
			return target->kind == SIM_OURS && freeze(fault, node, SIM_WORKER);
		case SIM_FAULT_PAUSE_SUPERVISOR:
			return freeze(fault, node, SIM_SUPERVISOR);
		case SIM_FAULT_PAUSE_SERVER:
			return freeze(fault, node, SIM_SERVER);
		case SIM_FAULT_PAUSE_HOST:
			if (is_lasting(fault, node) || begin_lasting(fault, node, -1, 0) == NULL)
				return false;
			sim_host_pause(node);
			return true;
		default:
			return false;
	}
}

static bool
strike_network(SimFault fault, int node)
{
	Lasting    *slot;
	int			other = SIM_STORE;
	bool		is_refusing;
	int64_t		amount = 0;

	if (fault == SIM_FAULT_CUT_LINK || (fault == SIM_FAULT_CUT_ONE_WAY && sim_chance(500)))
	{
		other = sim_some_node();
		if (other == node)
			other = SIM_STORE;
	}
	if (fault == SIM_FAULT_LOSSY)
		amount = sim_between(20, 500);
	else if (fault == SIM_FAULT_SLOW_NETWORK)
		amount = SIM_MS(sim_between(10, 600));
	/* one way, seen from the other end */
	if (fault == SIM_FAULT_CUT_ONE_WAY && sim_chance(500))
	{
		int			swapped = node;

		node = other;
		other = swapped;
	}
	is_refusing = sim_chance(300);
	slot = begin_lasting(fault, node, other, amount);
	if (slot == NULL)
		return false;
	slot->is_refusing = is_refusing;
	apply_all();
	return true;
}

static bool
strike_store(SimFault fault)
{
	int64_t		amount = 0;

	switch (fault)
	{
		case SIM_FAULT_STORE_LEADER:
			sim_store_new_leader();
			return true;
		case SIM_FAULT_STORE_COMPACT:
			sim_store_compact();
			return true;
		case SIM_FAULT_STORE_LOSES_REPLIES:
		case SIM_FAULT_STORE_LATE:
		case SIM_FAULT_STORE_STALE:
			amount = sim_between(50, 700);
			break;
		case SIM_FAULT_WATCH_LAG:
			amount = SIM_MS(sim_between(50, 3000));
			break;
		default:
			break;
	}
	if (begin_lasting(fault, -1, -1, amount) == NULL)
		return false;
	apply_all();
	return true;
}

/* Does another member that may lead have all that this directory has? */
static bool
has_copy(int node)
{
	for (int n = 0; n < sim.n_nodes; n++)
		if (n != node && n != sim.profile.nofailover && sim.node[n].is_member &&
			!sim.node[n].data.is_broken &&
			sim.node[n].data.state == HA_DATA_PRESENT &&
			sim_wal_contains(sim.node[n].data.end, sim.node[node].data.end))
			return true;
	return false;
}

static bool
strike_disk(SimFault fault, int node)
{
	int64_t		amount = fault == SIM_FAULT_SLOW_DISK ? sim_between(2, 40) : sim_between(200, 1000);

	if (fault == SIM_FAULT_BROKEN_DATA)
	{
		SimData    *data = &sim.node[node].data;

		if (data->state != HA_DATA_PRESENT || data->is_broken || !has_copy(node))
			return false;
		data->is_broken = true;
		return true;
	}
	if (begin_lasting(fault, node, -1, amount) == NULL)
		return false;
	apply_all();
	return true;
}

static bool
strike_hang(int node)
{
	if (is_lasting(SIM_FAULT_DISK_HANGS, node) ||
		begin_lasting(SIM_FAULT_DISK_HANGS, node, -1, 0) == NULL)
		return false;
	sim.node[node].disk_hangs_since_us = sim.now_us;
	apply_all();
	return true;
}

static bool
strike_by_hand(int node)
{
	const SimNode *target = &sim.node[node];

	if (!target->host_is_up || target->server.state != HA_SERVER_RUNNING || !target->server.is_in_recovery)
		return false;
	sim_server_promote_by_hand(node);
	return true;
}

/* One fault, if it makes sense now.  False: it did not strike. */
static bool
strike(SimFault fault, int node)
{
	if (fault <= SIM_FAULT_PAUSE_HOST)
		return strike_process(fault, node);
	if (fault <= SIM_FAULT_SLOW_NETWORK)
		return strike_network(fault, node);
	if (fault <= SIM_FAULT_WATCH_LAG)
		return strike_store(fault);
	if (fault <= SIM_FAULT_BROKEN_DATA)
		return strike_disk(fault, node);
	if (fault == SIM_FAULT_PROMOTE_BY_HAND)
		return strike_by_hand(node);
	if (fault == SIM_FAULT_DISK_HANGS)
		return strike_hang(node);
	sim_operators_strike(fault);
	return true;
}

/*
 * Failsafe mode is tried by a leader that the store is out of reach for, now
 * and then together with some of the others.
 */
static int
aim_at_leader(SimFault fault, int node)
{
	int			leader = sim_store_leader();

	if (fault == SIM_FAULT_DISK_HANGS && leader >= 0 && sim.node[leader].is_member && sim_chance(600))
		return leader;
	if (!sim.profile.failsafe_mode || leader < 0 || !sim.node[leader].is_member ||
		(fault != SIM_FAULT_CUT_STORE && fault != SIM_FAULT_PAUSE_HOST && fault != SIM_FAULT_CUT_ONE_WAY) ||
		!sim_chance(fault == SIM_FAULT_CUT_STORE ? 700 : 300))
		return node;
	for (int n = 0; n < sim.n_nodes && fault == SIM_FAULT_CUT_STORE; n++)
		if (n != leader && sim.node[n].is_member && sim_chance(350))
			(void) strike(fault, n);
	return leader;
}

/* One fault, now.  other: the other end of SIM_FAULT_CUT_LINK, -1 by chance. */
void
sim_faults_strike(SimFault fault, int node, int other)
{
	bool		has_struck;

	sim_trace(node, "FAULT %s", sim_fault_name(fault));
	if (other >= 0)
	{
		has_struck = begin_lasting(fault, node, other, 0) != NULL;
		apply_all();
	}
	else
		has_struck = strike(fault, node);
	if (!has_struck)
	{
		sim_trace(node, "the fault %s makes no sense now", sim_fault_name(fault));
		return;
	}
	sim_fault_count[fault]++;
	sim_note(node, "fault", fault, 0);
}

static void
fault_is_due(int unused, int64_t number, void *owned)
{
	SimFault	fault;
	int			node;

	(void) unused;
	(void) number;
	(void) owned;
	if (!sim.is_faulty)
		return;
	fault = sim_profile_fault();
	node = sim_some_node();
	if (fault == SIM_FAULT_COUNT || node < 0)
		return;
	node = aim_at_leader(fault, node);
	sim_faults_strike(fault, node, -1);
}

/* Plan the faults of this run. */
void
sim_faults_start(void)
{
	memset(lasting, 0, sizeof(lasting));
	n_struck = 0;
	memcpy(calm_link, sim.link, sizeof(calm_link));
	sim_operators_reset();
	sim_moments_reset();
	for (int i = 0; i < sim.profile.n_faults; i++)
	{
		int64_t		delay_us = sim_between(0, sim.profile.duration_us);

		/* troubles like company: some come right after another one */
		sim_later(delay_us, fault_is_due, -1, i, NULL);
		if (sim_chance(250))
		{
			int64_t		more_us = sim_between(0, SIM_MS(sim.profile.ttl_ms) / 2);

			sim_later(delay_us + more_us, fault_is_due, -1, i, NULL);
		}
	}
}

/* ------------------------------------------------------------------------
 * Peace
 * ------------------------------------------------------------------------ */

/* What a person repairs: by a backup of another member, or on the spot. */
static void
repair_data(int node)
{
	SimData    *data = &sim.node[node].data;

	if (!data->is_broken && data->state != HA_DATA_UNREADABLE)
		return;
	if (has_copy(node) && sim.node[node].server.state == HA_SERVER_STOPPED)
	{
		sim_trace(node, "an operator empties the broken data directory");
		sim_data_clear(node);
	}
	else
	{
		sim_trace(node, "an operator repairs the data directory");
		data->is_broken = false;
		sim.node[node].repaired_us = sim.now_us;
		if (data->state == HA_DATA_UNREADABLE)
			data->state = data->end.lsn != 0 ? HA_DATA_PRESENT : HA_DATA_EMPTY;
	}
	sim_server_changed(node);
}

static void
repair_node(int n)
{
	SimNode    *node = &sim.node[n];

	if (!node->is_member)
		return;
	if (!node->host_is_up)
		sim_host_boot(n);
	repair_data(n);
	if (!node->supervisor_wanted)
	{
		node->supervisor_wanted = true;
		if (!node->process[SIM_SUPERVISOR].is_alive && node->host_is_up)
			sim_supervisor_start(n);
	}
}

/* The supervisor of a node may end once more before it sees the repair. */
static void
repair_again(int unused, int64_t tries, void *owned)
{
	(void) unused;
	(void) owned;
	for (int n = 0; n < sim.n_nodes; n++)
		repair_node(n);
	if (tries > 0)
		sim_later(REPAIR_US, repair_again, -1, tries - 1, NULL);
}

/* Peace: everything is repaired and started, and nothing breaks any more. */
void
sim_faults_heal(void)
{
	sim.is_faulty = false;
	for (int i = 0; i < LASTING_MAX; i++)
		end_lasting(&lasting[i]);
	apply_all();
	repair_again(-1, REPAIRS_MAX, NULL);
	sim_operators_end_pause(200);
}
