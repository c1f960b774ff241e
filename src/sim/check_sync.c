/*-------------------------------------------------------------------------
 *
 * check_sync.c
 *      S2: in synchronous mode nothing that clients were told, or that a
 *      primary has shown to readers, is missing on a later primary.
 *
 * Readers are as strict as can be: they look at each primary whenever
 * something becomes visible there, also at one that is cut off from
 * everybody.  Not promised to stay is what they see on standbys, a commit
 * whose wait was cancelled (PostgreSQL makes it visible), and what a primary
 * shows when its lease is over: nothing refuses readers there, and a standby
 * that has voted for another member may still confirm a commit to it.
 *
 *-------------------------------------------------------------------------
 */
#include "sim/check_internal.h"

#include <stdlib.h>
#include <string.h>

/*
 * The promise of S2 begins when the leader has written the key "sync".  Who
 * deletes it takes it back for all that was acknowledged and shown before.
 */
void
sim_check_sync_key(bool exists)
{
	check.has_sync_key = exists;
	for (int i = 0; i < sim.n_writes && !exists; i++)
	{
		sim.write[i].mode = SIM_ASYNC;
		sim.write[i].is_shown = false;
	}
}

/* What a write is promised that is acknowledged, or shown, now. */
SimSyncMode
sim_check_sync_promise(void)
{
	return sim.profile.engine_keeps_sync && check.has_sync_key ? sim.profile.sync_mode : SIM_ASYNC;
}

/*
 * S2: a member becomes the primary under the lease, and nobody ordered a failover
 * to it.  It has every write that was acknowledged, or shown by a primary,
 * while the key "sync" was there.
 */
void
check_sync_promotion(int number, SimPosition fork)
{
	for (int i = 0; i < sim.n_writes; i++)
	{
		const SimWrite *write = &sim.write[i];
		bool		was_promised = write->acked_us >= 0 && !write->is_lost && write->mode != SIM_ASYNC;

		if ((!was_promised && !write->is_shown) || sim_wal_contains(fork, write->commit))
			continue;
		sim_fail("S2 %s became the primary without write %d, %s by %s in synchronous mode",
				 check_name(number), i, was_promised ? "acknowledged" : "shown",
				 check_name(write->node));
	}
}

/* Is what readers see there promised to stay? */
static bool
is_trusted(const SimNode *node, int branch)
{
	return sim_check_sync_promise() != SIM_ASYNC && !check.is_late[branch] &&
		(check_has_open_fence(node) || check_has_endless_fence(node));
}

/* Readers see a commit, which the server has just made visible. */
void
sim_check_shown(int number)
{
	SimWrite   *write = &sim.write[number];
	int			node = write->node;

	if (write->is_shown || write->is_cut_off || write->is_left ||
		!is_trusted(&sim.node[node], write->commit.branch))
		return;
	if (check_is_excused(&sim.node[node], write->commit.branch) && node != sim_store_leader())
		write->is_left = true;
	else
		write->is_shown = true;
}

/* Readers look at all that a primary shows, if it lets them in. */
void
sim_check_shows(int number)
{
	const SimNode *node = &sim.node[number];
	SimPosition seen = {node->data.end.branch, node->server.visible_lsn};

	if (node->server.is_exposed || node->server.is_in_recovery ||
		node->server.state != HA_SERVER_RUNNING || !is_trusted(node, node->server.insert.branch) ||
		(check_is_excused(node, node->server.insert.branch) && number != sim_store_leader()))
		return;
	for (int i = 0; i < sim.n_writes; i++)
	{
		SimWrite   *write = &sim.write[i];

		if (!write->is_shown && !write->is_lost && !write->is_cut_off && !write->is_left &&
			write->commit.lsn <= seen.lsn && sim_wal_contains(seen, write->commit))
			write->is_shown = true;
	}
}

/*
 * A primary goes on in place after a crash: commits that had not been written
 * are gone, and other WAL comes where they were.
 */
void
sim_check_wal_ends(int number)
{
	SimPosition end = sim.node[number].data.end;

	for (int i = 0; i < sim.n_writes; i++)
	{
		SimWrite   *write = &sim.write[i];

		if (write->node == number && write->acked_us < 0 && write->commit.branch == end.branch &&
			write->commit.lsn > end.lsn)
			write->is_lost = true;
	}
}

/*
 * A host has lost its power, and the lease page with it.  That the last stop of
 * its server cut off a wait is forgotten.
 */
void
sim_check_page_lost(int number)
{
	for (int i = 0; i < sim.n_writes; i++)
		if (sim.write[i].node == number && sim.write[i].is_cut_by_stop)
			sim.write[i].is_cut_off = true;
}

/*
 * Could this member lead by the key, with the votes that can be had at all?  Nobody
 * votes for a member that lacks his WAL, unless that is the end of a timeline which
 * was left; where persons have promoted, nobody knows that.  And a server that is
 * down, because it waits for a leader to be rewound to, tells nobody what it has.
 */
static bool
can_have_votes(const SyncState *sync, int number)
{
	SimPosition end = sim.node[number].data.end;
	int			n_voters = 0;
	int			n_ahead = 0;

	for (int n = 0; n < sim.n_nodes; n++)
	{
		const SimNode *node = &sim.node[n];

		if (n == number || !node->is_member || node->data.state != HA_DATA_PRESENT ||
			node->data.is_broken || node->data.is_rewinding)
			continue;
		if (!sim_wal_contains(end, node->data.end) &&
			(check.had_hands || node->server.state == HA_SERVER_STOPPED ||
			 sim_timeline_of(node->data.end) >= sim_timeline_of(end)))
			n_ahead += check.had_hands;
		else
			n_voters += sync_names_member(sync, node->name);
	}
	return (strcmp(sync->leader, sim.node[number].name) == 0 && n_ahead == 0) ||
		n_voters >= sync->quorum;
}

/*
 * May this member lead, by the key "sync"?  Not if the key does not name it, or if
 * the others whose votes it needs are gone: then it may lack acknowledged writes,
 * and an operator has to name it.  nofailover does not keep a primary from going
 * on: that is looked at elsewhere.
 */
bool
check_sync_lets_lead(int number)
{
	const SimKey *key = sim.profile.engine_keeps_sync ? sim_store_find("sync") : NULL;
	const SimNode *node = &sim.node[number];
	SyncState	sync;
	bool		lets_lead;

	if (key == NULL || key->value == NULL)
		return true;
	memset(&sync, 0, sizeof(sync));
	sync_from_text(&sync, key->value);
	lets_lead = node->is_member && sim.profile.nofailover != number && !node->data.is_rewinding &&
		sync_names_member(&sync, node->name) && can_have_votes(&sync, number);
	free(sync.sync_standby);
	return lets_lead;
}
