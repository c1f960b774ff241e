/*-------------------------------------------------------------------------
 *
 * data.c
 *      A data directory: history files, a new cluster, crash recovery.
 *
 * Simplified: of its contents only WAL positions, pg_control and the history
 * files are kept.  A history file's earlier lines are found through the other
 * files, or in the directory's own past if one is missing.
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "sim/postgres_model.h"

#define FIRST_LSN	UINT64_C(0x2000000)

/* An empty directory.  The server must not run. */
void
sim_data_clear(int node)
{
	SimData    *data = &sim.node[node].data;
	SimServer  *server = &sim.node[node].server;

	memset(data, 0, sizeof(*data));
	data->state = HA_DATA_EMPTY;
	data->control_state = HA_CONTROL_UNKNOWN;
	data->end.branch = data->checkpoint.branch = data->minimum_recovery.branch = -1;
	data->upstream = -1;
	server->n_slots = 0;
	server->stream_from = -1;
	if (server->state == HA_SERVER_UNKNOWN)
		server->state = HA_SERVER_STOPPED;
}

/* NULL: no such file. */
const SimHistoryFile *
sim_history_find(const SimData *data, uint32_t timeline)
{
	for (int i = 0; i < data->n_history; i++)
		if (data->history[i].timeline == timeline)
			return &data->history[i];
	return NULL;
}

/* A file that exists stays what it is. */
void
sim_history_add(SimData *data, uint32_t timeline, uint32_t parent, Lsn lsn, bool is_placed)
{
	SimHistoryFile *file;

	if (timeline <= 1 || sim_history_find(data, timeline) != NULL)
		return;
	if (data->n_history >= SIM_HISTORY_MAX)
	{
		sim_fail("bug in the simulator: too many history files");
		return;
	}
	file = &data->history[data->n_history++];
	file->timeline = timeline;
	file->parent = parent;
	file->lsn = lsn;
	file->is_placed = is_placed;
}

/* The newest timeline of which there is WAL. */
static uint32_t
newest_with_wal(const SimData *data)
{
	uint32_t	newest = data->checkpoint_timeline;

	if (sim_timeline_of(data->minimum_recovery) > newest)
		newest = sim_timeline_of(data->minimum_recovery);
	if (sim_timeline_of(data->end) > newest)
		newest = sim_timeline_of(data->end);
	return newest;
}

/* As before following somebody: history_files_remove_placed(). */
void
sim_history_remove_placed(SimData *data)
{
	uint32_t	from = newest_with_wal(data);
	int			kept = 0;

	for (int i = 0; i < data->n_history; i++)
		if (!data->history[i].is_placed && data->history[i].timeline > from)
			from = data->history[i].timeline;
	for (int i = 0; i < data->n_history; i++)
		if (!data->history[i].is_placed || data->history[i].timeline < from)
			data->history[kept++] = data->history[i];
	data->n_history = kept;
}

/* As before a standby is started: history_files_remove_unused(). */
void
sim_history_remove_unused(SimData *data)
{
	uint32_t	from = newest_with_wal(data);
	int			kept = 0;

	for (int i = 0; i < data->n_history; i++)
		if (data->history[i].timeline <= from)
			data->history[kept++] = data->history[i];
	data->n_history = kept;
}

/* As PostgreSQL's findNewestTimeLine(): the unbroken run of files. */
uint32_t
sim_newest_after(const SimData *data, uint32_t timeline)
{
	while (sim_history_find(data, timeline + 1) != NULL)
		timeline++;
	return timeline;
}

/* The id a promotion would count on. */
uint32_t
sim_newest_timeline(const SimData *data)
{
	return sim_newest_after(data, sim_timeline_of(data->end));
}

/* Where a timeline began, by files or else by the directory's own past. */
static bool
find_parent(const SimData *data, uint32_t timeline, uint32_t *parent, Lsn *lsn)
{
	const SimHistoryFile *file;

	/* the truth first: it is what the file of its own timeline says */
	for (int b = data->end.branch; b >= 0 && sim.branch[b].parent >= 0; b = sim.branch[b].parent)
	{
		uint32_t	older = sim.branch[sim.branch[b].parent].timeline;

		if (sim.branch[b].timeline == timeline && older != timeline)
		{
			*parent = older;
			*lsn = sim.branch[b].fork_lsn;
			return true;
		}
	}
	file = sim_history_find(data, timeline);
	if (file == NULL)
		return false;
	*parent = file->parent;
	*lsn = file->lsn;
	return true;
}

/* Is "ancestor" in the history of "timeline"?  Where did that leave it? */
bool
sim_history_fork(const SimData *data, uint32_t timeline, uint32_t ancestor, Lsn *fork_lsn)
{
	uint32_t	parent;
	Lsn			lsn;

	while (timeline > ancestor && find_parent(data, timeline, &parent, &lsn))
	{
		if (parent == ancestor)
		{
			*fork_lsn = lsn;
			return true;
		}
		timeline = parent;
	}
	return false;
}

/* The lines of a history file; how many. */
int
sim_history_list(const SimData *data, uint32_t timeline, TimelineHistory *entries, int max)
{
	uint32_t	parent;
	Lsn			lsn;
	int			count = 0;

	for (uint32_t at = timeline; count < max && find_parent(data, at, &parent, &lsn); at = parent)
	{
		for (int i = count; i > 0; i--)
			entries[i] = entries[i - 1];
		entries[0].timeline = parent;
		entries[0].switch_lsn = lsn;
		count++;
	}
	return count;
}

/* As after sim_history_remove_unused(): history_files_bridge(). */
void
sim_history_bridge(SimData *data)
{
	TimelineHistory entries[SIM_HISTORY_MAX];
	uint32_t	newest = 0;
	uint32_t	from = data->checkpoint_timeline;
	int			n_entries;
	int			at = 0;

	for (int i = 0; i < data->n_history; i++)
		if (data->history[i].timeline > newest)
			newest = data->history[i].timeline;
	n_entries = sim_history_list(data, newest, entries, SIM_HISTORY_MAX);
	for (uint32_t id = 2; id < newest; id++)
	{
		while (at < n_entries && entries[at].timeline < id)
			at++;
		if (at == n_entries || entries[at].timeline != id)
			sim_history_add(data, id, id > from ? from : 1, 0, true);
		else if (at > 0)
			sim_history_add(data, id, entries[at - 1].timeline, entries[at - 1].switch_lsn, false);
	}
}

/* initdb.  Only the first one makes the cluster that all others join. */
void
sim_data_make_cluster(int node)
{
	SimData    *data = &sim.node[node].data;

	sim_data_clear(node);
	data->state = HA_DATA_PRESENT;
	data->system_identifier = SIM_SYSTEM_ID + (uint64_t) sim.n_branches;
	data->end.branch = sim_branch_make(-1, 0, 1, node);
	data->end.lsn = data->written_lsn = FIRST_LSN;
	data->checkpoint = data->end;
	data->checkpoint.lsn -= MODEL_CHECKPOINT_SIZE;
	data->checkpoint_redo = data->checkpoint.lsn;
	data->checkpoint_timeline = 1;
	data->control_state = HA_CONTROL_SHUTDOWNED;
	sim_wal_written(data->end);
}

/*
 * Single user mode: recovers to the end of the WAL on disk and shuts down,
 * which writes a checkpoint record of its own.
 */
void
sim_data_crash_recovery(int node)
{
	SimData    *data = &sim.node[node].data;

	if (data->written_lsn > data->end.lsn)
		data->end.lsn = data->written_lsn;
	if (!sim_wal_is_owner(node, data->end))
		data->end.branch = sim_branch_make(data->end.branch, data->end.lsn,
										   sim_timeline_of(data->end), node);
	data->checkpoint = data->end;
	data->checkpoint_redo = data->end.lsn;
	data->checkpoint_timeline = sim_timeline_of(data->end);
	data->end.lsn += MODEL_CHECKPOINT_SIZE;
	data->written_lsn = data->end.lsn;
	sim_wal_written(data->end);
	data->minimum_recovery.branch = -1;
	data->minimum_recovery.lsn = 0;
	data->is_standby_configured = false;
	data->is_fresh_copy = false;
	data->control_state = HA_CONTROL_SHUTDOWNED;
}
