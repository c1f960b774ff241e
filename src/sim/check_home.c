/*-------------------------------------------------------------------------
 *
 * check_home.c
 *      What is right of one home: what it asks of the store, and what it does
 *      to the fence in a turn of its loop.
 *
 * Looked at when it is asked, not when it arrives: a message that is late is
 * the network's fault.
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "sim/sim.h"

#define IS_OF_THE_HOST(id)	((id) >> 63 != 0)	/* not the engine's: needs no baton */

static uint64_t handed_over[SIM_NODES_MAX]; /* version of the leader key when its release was judged */
static bool has_hung[SIM_NODES_MAX];	/* a home saw its server hang when its turn before this one was over */

/* Nothing was asked yet. */
void
sim_check_home_reset(void)
{
	memset(handed_over, 0, sizeof(handed_over));
	memset(has_hung, 0, sizeof(has_hung));
}

static const char *
home_name(HaHome home)
{
	return home == HA_HOME_WORKER ? "worker" : "supervisor";
}

/* Does another directory that may lead hold all that this one has? */
static bool
somebody_has_all_of(int node)
{
	SimPosition end = sim.node[node].data.end;

	for (int n = 0; n < sim.n_nodes; n++)
		if (n != node && sim.node[n].is_member && sim.node[n].data.state == HA_DATA_PRESENT &&
			sim_wal_contains(sim.node[n].data.end, end))
			return true;
	return false;
}

/*
 * S8: the engine of a home that does not have the baton asks nothing of the
 * store.
 *
 * S4: when a switchover releases the leader key of a primary that was shut down, another
 * member has all of its WAL, the shutdown checkpoint included: so it can follow
 * without pg_rewind, and nothing is lost.  A release whose answer was lost may
 * happen at any time and is sent again until there is one: it was decided when
 * it was sent first, and a member that goes for good later was there then.
 *
 * S5: while a cluster is paused a standby does not reach for the leader key,
 * unless an operator named it.
 */
void
sim_check_request(int number, HaHome home, const DcsRequest *request)
{
	const SimNode *node = &sim.node[number];
	const Host *host = node->host[home];
	const ClusterView *view;

	if (host == NULL || IS_OF_THE_HOST(request->id))
		return;
	view = host_view(host);
	if (host_generation(host) != lease_page_generation(node->page))
		sim_fail("S8 the %s of %s asks the store without the baton", home_name(home), node->name);
	if (request->operation == DCS_RELEASE_LEADER && home == HA_HOME_SUPERVISOR &&
		(node->server.state == HA_SERVER_STOPPED ||
		 (node->server.state == HA_SERVER_STOPPING && host_last_postgres(host) != NULL)) &&
		strcmp(ha_goal_name(host_node(host)), "switchover") == 0 && sim_store_leader() == number)
	{
		const SimKey *key = sim_store_find("leader");
		/* while it stops and hangs it is given away as it is, and that may be sent again later: hang.c */
		bool		is_hand_over = node->server.state == HA_SERVER_STOPPED ||
			host_last_postgres(host)->hang[0] == '\0';

		if (is_hand_over && key->version != handed_over[number] && !somebody_has_all_of(number))
			sim_fail("S4 %s hands over to nobody who has all of its WAL", node->name);
		handed_over[number] = key->version;
	}
	if (request->operation == DCS_ACQUIRE_LEADER && ha_is_paused(host_node(host)) &&
		node->server.state == HA_SERVER_RUNNING && node->server.is_in_recovery && view != NULL &&
		!(view->failover.exists && strcmp(view->failover.candidate, node->name) == 0) &&
		strcmp(ha_decision(host_node(host))->rule, "promoting-without-lease") != 0)
		sim_fail("S5 %s reaches for the leader key of a paused cluster", node->name);
}

static bool
is_hanging(const Host *host)
{
	return host_last_postgres(host) != NULL && host_last_postgres(host)->hang[0] != '\0';
}

/* A release while the server runs: the rules that say so. */
static bool
gives_away(int number, const Host *host)
{
	const HaNode *node = host_node(host);

	static const char *const rules[] = {
		"foreign-leader-running", "outdated-leader", "paused-not-primary", "hand-over",
		"starting",				/* it has not seen yet that the server runs */
	};

	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		if (strcmp(ha_decision(node)->rule, rules[i]) == 0)
			return true;
	/* it has promised not to lead, perhaps before a reboot: failsafe.c */
	if (ha_failsafe_bound_ms(node) != 0)
		return true;
	/* hang.c; the rule may be another one by the end of the turn, and the server hang no more */
	if (has_hung[number] || is_hanging(host))
		return true;
	return ha_goal_name(node)[0] != '\0';
}

/*
 * The fence was at "before_us" when the turn began.
 *
 * S8: a home without the baton does not move the fence.
 *
 * L4: an error is not an answer.  A primary's fence is not closed ahead of its
 * deadline while the store, and what this home has seen of the store, say that
 * the lease is its own.
 */
static void
check_fence(int number, HaHome home, int64_t before_us)
{
	const SimNode *node = &sim.node[number];
	const Host *host = node->host[home];
	int64_t		now_us = lease_page_deadline_us(node->page);
	const ClusterView *view;
	const SimKey *key;

	if (now_us == before_us || host == NULL)
		return;
	if (host_is_driving(host) && host_generation(host) != lease_page_generation(node->page))
		sim_fail("S8 the %s of %s moves the fence without the baton", home_name(home), node->name);
	if (now_us != LEASE_CLOSED_US || before_us == LEASE_NEVER_US ||
		sim_clock_us(number) >= before_us || !host_is_driving(host))
		return;
	view = host_view(host);
	key = sim_store_find("leader");
	if (node->server.state == HA_SERVER_RUNNING && !node->server.is_in_recovery &&
		view != NULL && cluster_is_leader(view, node->name) && sim_store_leader() == number &&
		key != NULL && strcmp(key->session, view->leader_session) == 0 &&
		sim_store_lease_runs(key->session) && !gives_away(number, host))
		sim_fail("L4 the %s of %s gives up a lease that is its own", home_name(home), node->name);
}

/* A turn of a home is over. */
void
sim_check_turn(int number, HaHome home, int64_t before_us)
{
	const Host *host = sim.node[number].host[home];

	check_fence(number, home, before_us);
	if (host != NULL && host_is_driving(host))
		has_hung[number] = is_hanging(host);
}
