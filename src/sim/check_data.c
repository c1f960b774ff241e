/*-------------------------------------------------------------------------
 *
 * check_data.c
 *      What is right of data: no two members have other WAL that looks the
 *      same (S6), and nothing goes that is nowhere else (S7).
 *
 *-------------------------------------------------------------------------
 */
#include "sim/check_internal.h"

/* The two branches on which the WAL of a member and its upstream parts. */
static bool
find_parting(int number, int upstream, int *ours, int *other)
{
	SimPosition common = sim_wal_common(sim.node[number].data.end, sim.node[upstream].data.end);

	*ours = sim.node[number].data.end.branch;
	*other = sim.node[upstream].data.end.branch;
	while (*ours >= 0 && sim.branch[*ours].parent != common.branch)
		*ours = sim.branch[*ours].parent;
	while (*other >= 0 && sim.branch[*other].parent != common.branch)
		*other = sim.branch[*other].parent;
	return common.branch >= 0 && *ours >= 0 && *other >= 0 && *ours != *other;
}

/*
 * Does a Patroni member follow another one that Patroni promoted to the same
 * timeline id?  A Patroni that gets the leader key asks nobody which ids are
 * taken, and its replicas start to stream from it when the ids are the same,
 * whatever the positions where they began: PostgreSQL, too, looks at no more
 * than the id.  No member of ours has had any part in that.
 */
bool
sim_check_is_patronis(int number, int upstream)
{
	int			ours;
	int			other;

	return sim.node[number].kind == SIM_PATRONI && sim.node[upstream].kind == SIM_PATRONI &&
		find_parting(number, upstream, &ours, &other) &&
		check.kind[ours] == BRANCH_PATRONI && check.kind[other] == BRANCH_PATRONI &&
		sim.branch[ours].timeline == sim.branch[other].timeline;
}

/*
 * S6: a standby begins to stream from a server that has other WAL than it has,
 * and neither can know.  It has the timeline from a server that was promoted
 * to it by hand, while another member was promoted to the same id under the
 * lease, at the same position, and claimed it.  The ids, the history files
 * and the positions of both are the same, the claim is the upstream's, and
 * the standby itself was never a primary on it.  Who was, and who has it from
 * a leader that did not claim it, has to know.
 */
bool
sim_check_looks_the_same(int number, int upstream)
{
	int			ours;
	int			other;

	return find_parting(number, upstream, &ours, &other) &&
		check.kind[ours] == BRANCH_BY_HAND && check.kind[other] == BRANCH_LEASE &&
		sim.branch[ours].timeline == sim.branch[other].timeline &&
		sim.branch[ours].fork_lsn == sim.branch[other].fork_lsn &&
		sim.branch[ours].node != number;
}

/*
 * S7: a data directory is about to lose everything beyond "kept" (lsn 0: all).
 * What it holds of acknowledged writes that are not lost is durable in
 * another member's data directory too.  And a whole directory goes only when the
 * configuration allows it, or a person asked for a new copy.
 */
void
sim_check_destroy(int number, SimPosition kept)
{
	const SimNode *node = &sim.node[number];

	if (node->data.state != HA_DATA_PRESENT || node->data.end.lsn == 0)
		return;
	if (kept.lsn == 0 && !sim.profile.may_remove_data && !node->may_be_cloned)
		sim_fail("S7 %s removes its data directory, which nobody has allowed", check_name(number));
	for (int i = sim.n_writes - 1; i >= 0; i--)
	{
		const SimWrite *write = &sim.write[i];
		bool		is_elsewhere = false;

		if (write->acked_us < 0 || write->is_lost ||
			(kept.lsn != 0 && sim_wal_contains(kept, write->commit)) ||
			!sim_wal_contains(node->data.end, write->commit))
			continue;
		for (int m = 0; m < sim.n_nodes && !is_elsewhere; m++)
			is_elsewhere = m != number && sim.node[m].is_member &&
				sim.node[m].data.state == HA_DATA_PRESENT && sim.node[m].data.end.lsn != 0 &&
				sim_wal_contains(sim.node[m].data.end, write->commit);
		if (!is_elsewhere)
		{
			sim_fail("S7 %s destroys write %d (acknowledged by %s at %lld ms), which is nowhere else",
					 check_name(number), i, check_name(write->node), (long long) (write->acked_us / 1000));
			return;
		}
	}
}
