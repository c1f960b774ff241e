/*-------------------------------------------------------------------------
 *
 * check.c
 *      What is right: the promises, looked at from outside, with knowledge
 *      that no node has.  Here S1, S3, S5, S6 for ids, S8, and L3.
 *
 * check_data.c has what becomes of WAL (S6, S7), check_home.c what one home
 * does (S4, S5, S8, L4), check_sync.c what synchronous mode promises (S2),
 * check_isolation.c what an isolated primary does (S9, L5), check_peace.c what
 * must come about (L1, L2, L3).
 *
 * What is not held against the engine, and why:
 *  - A server that a person promoted by hand, and whatever a cluster does
 *    while it is paused: there the fence is open by definition.
 *  - What a Patroni member acknowledges after it lost the lease: it has no
 *    fence.  Such writes count as lost from the beginning.
 *  - Writes that an asynchronous cluster left behind when it failed over.
 *    They are marked at the promotion, so that nobody asks for them later.
 *
 * The first promise that is broken is kept; the run ends there.
 *-------------------------------------------------------------------------
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/check_internal.h"

#define LOOK_US				SIM_MS(250)		/* between two looks at the store's "status" */

Check		check;

/* Nothing is known yet. */
void
sim_check_reset(void)
{
	memset(&check, 0, sizeof(check));
	check_isolation_reset();
	check_peace_reset();
	sim_check_home_reset();
}

/* A promise is broken.  "S1 what" becomes "S1 at 1.234567 s: what". */
void
sim_fail(const char *format,...)
{
	char		text[200];
	const char *rest = text;
	char		promise[4] = "";
	va_list		args;

	if (sim.has_failed)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if ((text[0] == 'S' || text[0] == 'L') && text[1] >= '1' && text[1] <= '9')
	{
		snprintf(promise, sizeof(promise), "%.2s ", text);
		for (rest = text + 2; *rest == ' ' || *rest == ':'; rest++)
			;
	}
	sim.has_failed = true;
	snprintf(sim.failure, sizeof(sim.failure), "%sat %lld.%06lld s: %s", promise,
			 (long long) (sim.now_us / 1000000), (long long) (sim.now_us % 1000000), rest);
	sim_trace(-1, "FAILED: %s", sim.failure);
}

/* These may be in force from now on, beside what was: bounds go by the longest. */
void
sim_check_ttl(int64_t ttl_ms, int64_t loop_wait_ms)
{
	if (SIM_MS(ttl_ms) > check.ttl_us)
		check.ttl_us = SIM_MS(ttl_ms);
	if (SIM_MS(loop_wait_ms) > check.loop_wait_us)
		check.loop_wait_us = SIM_MS(loop_wait_ms);
}

/* A person changes keys of the store: S3 is about the members. */
void
sim_check_operator_writes(bool is_writing)
{
	check.is_writing_by_hand = is_writing;
}

/* A person commanded something that moves the leader: L3 does not count. */
void
sim_check_may_move(void)
{
	check.may_move = true;
}

const char *
check_name(int node)
{
	return node >= 0 && node < SIM_NODES_MAX ? sim.node[node].name : "nobody";
}

/* ------------------------------------------------------------------------
 * Fences
 * ------------------------------------------------------------------------ */

bool
check_has_endless_fence(const SimNode *node)
{
	return lease_page_deadline_us(node->page) == LEASE_NEVER_US;
}

/* Open by a deadline that is still to come; never is another matter. */
bool
check_has_open_fence(const SimNode *node)
{
	int64_t		deadline_us;

	if (node->kind != SIM_OURS || !node->host_is_up || node->page == NULL)
		return false;
	deadline_us = lease_page_deadline_us(node->page);
	return deadline_us != LEASE_CLOSED_US && deadline_us != LEASE_NEVER_US &&
		sim_clock_us(node->index) < deadline_us;
}

/*
 * A person deleted its leader key while its lease ran: until what it had got
 * then is over, its fence is that person's fault.
 */
static bool
is_robbed(const SimNode *node)
{
	return check.robbed_until_us[node->index] != 0 && sim_store_leader() != node->index &&
		lease_page_deadline_us(node->page) <= check.robbed_until_us[node->index];
}

/* Remember what the key "status" said; a ring of the last few seconds. */
static void
look_at_status(void)
{
	const SimKey *key = sim_store_find("status");
	ClusterStatus status;
	int			slot;

	check.next_look_us = sim.now_us + LOOK_US;
	if (!sim.profile.has_faults && !check.is_formed)
		check.is_formed = sim_check_is_healthy();
	if (key == NULL || key->value == NULL)
		check.n_optimes = 0;	/* somebody deleted it: nobody knows it any more */
	if (key == NULL || key->version == check.status_version || key->value == NULL)
		return;
	check.status_version = key->version;
	memset(&status, 0, sizeof(status));
	status_from_text(&status, key->value);
	free(status.slots);
	free(status.retain_slots_json);
	slot = check.n_optimes % OPTIMES_MAX;
	check.optimes[slot] = status.optime;
	check.optimes_us[slot] = sim.now_us;
	check.n_optimes++;
}

/* The optime that was in the store "before_us" ago already; 0 unknown. */
Lsn
check_old_optime(int64_t before_us)
{
	for (int i = 1; i <= OPTIMES_MAX && i <= check.n_optimes; i++)
	{
		int			slot = (check.n_optimes - i) % OPTIMES_MAX;

		if (check.optimes_us[slot] <= sim.now_us - before_us)
			return check.optimes[slot];
	}
	return 0;
}

/*
 * S1: at any instant at most one node has an open fence: its deadline lies
 * ahead on its own clock and its host has power, whatever its server does: a
 * stopped one could be started.  Frozen processes count as open: they go on where they were.
 * Deadlines move and servers change by events only, and an open fence closes
 * by itself, so looking after each event misses nothing.
 */
void
sim_check_step(void)
{
	int			open = -1;

	for (int n = 0; n < sim.n_nodes; n++)
	{
		if (!check_has_open_fence(&sim.node[n]) || is_robbed(&sim.node[n]))
			continue;
		if (open >= 0)
		{
			sim_fail("S1 %s and %s both have an open fence", check_name(open), check_name(n));
			return;
		}
		open = n;
	}
	if (sim.now_us >= check.next_look_us)
		look_at_status();
}

/* Writes that "position" does not contain were left behind; nobody is asked for them again. */
static void
leave_behind(SimPosition position)
{
	for (int i = 0; i < sim.n_writes; i++)
	{
		SimWrite   *write = &sim.write[i];

		if ((write->is_left && (write->acked_us < 0 || write->is_lost)) ||
			sim_wal_contains(position, write->commit))
			continue;
		write->is_left = true;
		write->is_shown = false;
		if (write->acked_us >= 0)
			write->is_lost = true;
	}
}

/* A primary goes on from here: S2, and in asynchronous mode what it lacks is lost, as allowed. */
static void
take_over(int number, SimPosition from)
{
	if (sim.profile.engine_keeps_sync && !check.is_forced[number])
		check_sync_promotion(number, from);
	leave_behind(from);
}

/* Is what this node does on that branch no fault of the engine's? */
bool
check_is_excused(const SimNode *node, int branch)
{
	return check.kind[branch] == BRANCH_BY_HAND || node->kind != SIM_OURS ||
		check_has_endless_fence(node) || is_robbed(node);
}

/*
 * S1 for one acknowledgement: the fence of the node that gave it was open (or
 * "never"), and it is not on the losing side: there is no branch that was
 * made later by a promotion under a lease, that does not contain the write,
 * and on which clients were told of writes already.
 */
void
sim_check_acknowledged(int number)
{
	SimWrite   *write = &sim.write[number];
	const SimNode *node = &sim.node[write->node];
	int			branch = write->commit.branch;
	bool		is_excused = check_is_excused(node, branch);

	if (node->kind == SIM_OURS && !check_has_endless_fence(node) && !is_robbed(node) &&
		!check_has_open_fence(node))
	{
		/* a stopping server lets commits end that are under way: the fence still counts */
		int64_t		deadline_us = lease_page_deadline_us(node->page);

		if (deadline_us == LEASE_CLOSED_US || sim_clock_us(write->node) >= deadline_us)
			sim_fail("S1 %s acknowledged a write behind a closed fence", check_name(write->node));
	}
	check_isolation_acknowledged(number);

	if (check.is_late[branch] && !is_excused)
	{
		check.is_late[branch] = false;
		take_over(write->node, write->commit);
	}
	for (int b = branch + 1; b < sim.n_branches; b++)
	{
		const SimBranch *other = &sim.branch[b];

		if (!check.has_acknowledged[b] || check.kind[b] == BRANCH_UNKNOWN ||
			sim_wal_contains((SimPosition) {b, other->fork_lsn}, write->commit))
			continue;
		if (is_excused || check.kind[b] == BRANCH_BY_HAND)
			write->is_lost = true;
		else
			sim_fail("S1 %s acknowledged a write on timeline %u after %s had done so on its successor %u",
					 check_name(write->node), sim.branch[branch].timeline, check_name(other->node),
					 other->timeline);
	}
	/* two primaries by hand: whoever does not lead is on the losing side */
	if (is_excused && write->node != sim_store_leader())
		write->is_lost = true;
	check.has_acknowledged[branch] = true;
}

/* ------------------------------------------------------------------------
 * The leader key and promotions
 * ------------------------------------------------------------------------ */

uint32_t
check_history_timeline(void)
{
	const SimKey *key = sim_store_find("history");
	ClusterView view;
	uint32_t	timeline;

	if (key == NULL || key->value == NULL)
		return 0;
	cluster_view_init(&view);
	cluster_view_apply(&view, &(ClusterKey) {.name = "history", .value = key->value, .session = "",
					   .version = key->version});
	timeline = cluster_timeline(&view);
	cluster_view_free(&view);
	return timeline;
}

/* What an operator and the store said when a node became the leader. */
static void
note_new_leader(int node)
{
	const SimKey *key = sim_store_find("failover");
	FailoverRequest request;

	memset(&request, 0, sizeof(request));
	if (key != NULL && key->value != NULL)
		failover_from_text(&request, key->value);
	check.is_named[node] = request.exists &&
		(request.candidate[0] == '\0' || strcmp(request.candidate, sim.node[node].name) == 0);
	check.is_forced[node] = check.is_named[node] && request.leader[0] == '\0';
	sim_check_ttl(sim.profile.ttl_ms, sim.profile.loop_wait_ms);
	if (sim_store_find("status") == NULL)
		check.n_optimes = 0;	/* somebody deleted it, since the last look as well */
	check.optime[node] = check_old_optime(check.ttl_us / 2);
	check.timeline[node] = check_history_timeline();
	/* a primary that takes the key after hands were at work decides what is lost */
	if (check.had_hands && sim.node[node].server.state == HA_SERVER_RUNNING &&
		!sim.node[node].server.is_in_recovery)
		leave_behind(sim.node[node].server.insert);
}

/*
 * S3: the leader key changes hands only by compare-and-swap, and never while
 * the lease of another owner runs: it is released (compared) or expires first.
 * Names are NULL or "" for an absent key.
 *
 * L3: in a run without faults it does not change at all once there is one.
 */
void
sim_check_leader_key(const char *before, bool lease_ran, const char *after, bool was_compared)
{
	int			node;

	if (before == NULL)
		before = "";
	if (after == NULL)
		after = "";
	if (strcmp(before, after) == 0)
		return;
	node = after[0] != '\0' ? sim_node_of(after) : -1;
	if (!check.is_writing_by_hand)
	{
		if (after[0] != '\0' && !was_compared)
			sim_fail("S3 \"%s\" wrote the leader key without compare-and-swap", after);
		if (before[0] != '\0' && lease_ran && after[0] != '\0')
			sim_fail("S3 the leader key went from \"%s\" to \"%s\" while the lease ran", before, after);
		if (before[0] != '\0' && lease_ran && !was_compared)
			sim_fail("S3 the leader key of \"%s\" was deleted without comparing while its lease ran", before);
		if (!sim.profile.has_faults && check.is_formed && !check.may_move)
			sim_fail("L3 the leader changed from \"%s\" to \"%s\" without any fault", before, after);
	}
	else if (before[0] != '\0' && sim_node_of(before) >= 0)
	{
		int			robbed = sim_node_of(before);

		sim_check_ttl(sim.profile.ttl_ms, sim.profile.loop_wait_ms);
		check.robbed_until_us[robbed] = sim_clock_us(robbed) + check.ttl_us;
	}
	if (node >= 0)
		note_new_leader(node);
}

/*
 * A server ended its recovery: it writes on a new branch from now on.
 *
 * S5: unless an operator named it or promoted it by hand, or the cluster is
 * paused, the node is not tagged nofailover, does not lag more than
 * maximum_lag_on_failover behind the optime that was in the store half a ttl
 * before it got the key, and is not on an older timeline than the history in
 * the store had then.
 *
 * S6: no other promotion under a lease ever had its timeline id.
 *
 * S2 (in synchronous mode): every write that was acknowledged while the key
 * "sync" was there is on the new branch, unless an operator ordered a failover
 * to this member.
 *
 * What else was acknowledged and is not on it is lost, as allowed.
 */
void
sim_check_promotion(int number, int branch)
{
	SimNode    *node = &sim.node[number];
	SimBranch  *made = &sim.branch[branch];
	SimPosition fork = {branch, made->fork_lsn};
	uint32_t	parent = made->parent >= 0 ? sim.branch[made->parent].timeline : 0;
	bool		is_by_hand;

	if (number < 0 || number >= SIM_NODES_MAX)
		return;
	/* also of a node whose name is still in the leader key: no home has asked for it */
	is_by_hand = node->was_promoted_by_hand;
	node->was_promoted_by_hand = false;
	sim_note(number, "promoted", made->timeline, made->fork_lsn);
	if (node->kind == SIM_PATRONI && !is_by_hand)
	{
		check.kind[branch] = BRANCH_PATRONI;
		leave_behind(fork);
		return;
	}
	if (is_by_hand || (node->page != NULL && check_has_endless_fence(node)) ||
		(sim_config_is_paused() && !check.is_named[number]))
	{
		check.kind[branch] = BRANCH_BY_HAND;
		check.had_hands = true;
		/* a failover that a person ordered in a paused cluster leaves writes behind too */
		if (sim_store_leader() == number)
			leave_behind(fork);
		return;
	}
	check.kind[branch] = BRANCH_LEASE;

	for (int b = 0; b < sim.n_branches; b++)
		if (b != branch && check.kind[b] == BRANCH_LEASE && sim.branch[b].timeline == made->timeline)
			sim_fail("S6 %s and %s both made timeline %u", check_name(sim.branch[b].node), check_name(number),
					 made->timeline);

	if (!check.is_named[number])
	{
		if (sim.profile.nofailover == number)
			sim_fail("S5 %s was promoted but is tagged nofailover", check_name(number));
		if (check.optime[number] > made->fork_lsn &&
			(int64_t) (check.optime[number] - made->fork_lsn) > sim.profile.maximum_lag)
			sim_fail("S5 %s was promoted %lld bytes behind the last leader", check_name(number),
					 (long long) (check.optime[number] - made->fork_lsn));
		if (parent < check.timeline[number])
			sim_fail("S5 %s was promoted from timeline %u, the cluster was on %u already",
					 check_name(number), parent, check.timeline[number]);
	}
	else
		check.n_optimes = 0;	/* what that person left behind is no measure for the next one */

	/* frozen in its promotion while its lease ended: what counts is whether it gets to write */
	if (sim_store_leader() != number && (sim_store_leader() >= 0 || !check_has_open_fence(node)))
		check.is_late[branch] = true;
	else
		take_over(number, fork);
	if (!sim.profile.has_faults && check.is_formed && !check.may_move)
		sim_fail("L3 %s was promoted without any fault", check_name(number));
}
/*
 * S8: who acts has the baton: its generation is the page's, and its process
 * lives and is not frozen.  Words and answers are no acts: a home may refuse
 * a command, or write the configuration, without the baton.
 */
void
sim_check_act(int number, HaHome home, const HaAction *action)
{
	const SimNode *node = &sim.node[number];
	const SimProcess *process = &node->process[home == HA_HOME_WORKER ? SIM_WORKER : SIM_SUPERVISOR];

	if (!process->is_alive || process->n_pauses > 0)
		sim_fail("S8 a %s %s of %s acts: %s", process->is_alive ? "frozen" : "dead",
				 home == HA_HOME_WORKER ? "worker" : "supervisor", check_name(number),
				 action->rule ? action->rule : "");
	if (action->kind == HA_ANSWER || action->kind == HA_LOG || action->kind == HA_WAKE_AT ||
		node->page == NULL || node->host[home] == NULL)
		return;
	if (host_generation(node->host[home]) != lease_page_generation(node->page))
		sim_fail("S8 the %s of %s acts (%s) without the baton",
				 home == HA_HOME_WORKER ? "worker" : "supervisor", check_name(number),
				 action->rule ? action->rule : "");
}
