/*-------------------------------------------------------------------------
 *
 * wal.c
 *      The truth about write-ahead log: a tree of branches.
 *
 * A position is a branch and an LSN, so two positions can be compared without
 * looking at any record.  A branch is written by one node only: who writes
 * WAL on a directory that is not at the tip of its own branch begins a new
 * branch, even if the timeline id stays the same.
 *
 * Simplified: WAL has no contents and no segments, it is never removed or
 * archived, and records end where a client or a checkpoint ended them.
 *-------------------------------------------------------------------------
 */
#include "sim/postgres_model.h"

/* A new timeline, or a root when parent is -1.  Its index. */
int
sim_branch_make(int parent, Lsn fork_lsn, uint32_t timeline, int node)
{
	SimBranch  *branch;

	if (sim.n_branches >= SIM_BRANCHES_MAX)
	{
		sim_fail("bug in the simulator: too many branches of WAL");
		return sim.n_branches - 1;
	}
	branch = &sim.branch[sim.n_branches];
	branch->parent = parent;
	branch->fork_lsn = fork_lsn;
	branch->timeline = timeline;
	branch->node = node;
	branch->made_us = sim.now_us;
	branch->tip = fork_lsn;
	return sim.n_branches++;
}

/* One step towards the root. */
static SimPosition
to_parent(SimPosition position)
{
	const SimBranch *branch = &sim.branch[position.branch];

	if (position.lsn > branch->fork_lsn)
		position.lsn = branch->fork_lsn;
	position.branch = branch->parent;
	return position;
}

/* The same WAL, on the branch that really has its last byte. */
static SimPosition
normal(SimPosition position)
{
	while (position.branch >= 0 && sim.branch[position.branch].parent >= 0 &&
		   position.lsn <= sim.branch[position.branch].fork_lsn)
		position.branch = sim.branch[position.branch].parent;
	return position;
}

/* Is b's WAL the beginning of a's? */
bool
sim_wal_contains(SimPosition a, SimPosition b)
{
	if (b.lsn == 0 || b.branch < 0)
		return true;
	b = normal(b);
	while (a.branch >= 0 && a.branch != b.branch)
		a = to_parent(a);
	return a.branch >= 0 && b.lsn <= a.lsn;
}

/* How far do both agree?  {-1, 0}: not at all. */
SimPosition
sim_wal_common(SimPosition a, SimPosition b)
{
	SimPosition nothing = {.branch = -1, .lsn = 0};

	for (; a.branch >= 0; a = to_parent(a))
		for (SimPosition at = b; at.branch >= 0; at = to_parent(at))
			if (at.branch == a.branch)
			{
				if (at.lsn < a.lsn)
					a.lsn = at.lsn;
				return normal(a);
			}
	return nothing;
}

/* The owner of a branch has written that far. */
void
sim_wal_written(SimPosition position)
{
	if (position.branch >= 0 && position.lsn > sim.branch[position.branch].tip)
		sim.branch[position.branch].tip = position.lsn;
}

/* A checkpoint record begins at this place of a branch. */
void
sim_wal_checkpoint_written(SimPosition position)
{
	SimBranch  *branch = &sim.branch[position.branch];

	branch->checkpoint[branch->n_checkpoints++ % SIM_CHECKPOINTS_MAX] = position.lsn;
}

/* The newest checkpoint record, of those remembered, that ends there or before; {-1, 0}: none. */
SimPosition
sim_wal_checkpoint_before(SimPosition end)
{
	SimPosition found = {.branch = -1, .lsn = 0};

	for (; end.branch >= 0 && found.branch < 0; end = to_parent(end))
	{
		const SimBranch *branch = &sim.branch[end.branch];

		for (int i = 0; i < SIM_CHECKPOINTS_MAX && i < branch->n_checkpoints; i++)
			if (branch->checkpoint[i] > found.lsn &&
				branch->checkpoint[i] + MODEL_CHECKPOINT_SIZE <= end.lsn)
				found = (SimPosition) {.branch = end.branch, .lsn = branch->checkpoint[i]};
	}
	return found;
}

/* May this node go on writing there, or has that WAL been written otherwise? */
bool
sim_wal_is_owner(int node, SimPosition position)
{
	return sim.branch[position.branch].node == node &&
		position.lsn >= sim.branch[position.branch].tip;
}

/* The id of a position's timeline; 0: there is none. */
uint32_t
sim_timeline_of(SimPosition position)
{
	return position.branch < 0 ? 0 : sim.branch[position.branch].timeline;
}
