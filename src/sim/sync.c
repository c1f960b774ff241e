/*-------------------------------------------------------------------------
 *
 * sync.c
 *      synchronous_standby_names in a simulated server, and how commits that
 *      wait are let go.
 *
 * As in the real one the file is read by each process in its own time after
 * a reload: the postmaster, the checkpointer (which may be in the middle of a
 * checkpoint), each walsender and the worker.  A walsender lets commits go
 * when its standby reports, by its own copy of the names and by what the
 * others say of themselves; the checkpointer decides whether there is anybody
 * to wait for at all.  So between a change and the moment when everybody has
 * read it a commit may be let go by either.
 *
 * Simplified: names are those of nodes; there is one commit at a time.
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ha/sync_plan.h"
#include "sim/home.h"
#include "sim/postgres_model.h"

#define CHECKPOINTER	SIM_NODES_MAX		/* which process reads the file */
#define WORKER			(SIM_NODES_MAX + 1)
#define POSTMASTER		(SIM_NODES_MAX + 2)

/* A new server, or new children of the same: all inherit what the file says. */
void
sim_sync_begin(int node)
{
	SimServer  *server = &sim.node[node].server;

	server->sync_names = server->checkpointer_names = server->worker_names =
		sim.node[node].data.sync_file;
	for (int k = 0; k < SIM_NODES_MAX; k++)
		server->sender_names[k] = server->sync_names;
	server->sync_lsn = 0;
	server->sync_lsn_generation = 0;
	server->replicated_lsn = 0;
}

/* A walsender begins: it inherits what the postmaster has read. */
void
sim_sync_connected(int upstream, int node)
{
	SimServer  *server = &sim.node[upstream].server;

	server->sender_names[node] = server->sync_names;
}

static bool
is_in_list(const SimSyncNames *names, int node)
{
	return names->mode != SIM_ASYNC && (names->any || (names->nodes >> node & 1) != 0);
}

/* Does this walsender count, as it says of itself? */
static bool
has_priority(const SimServer *server, int node)
{
	return (server->receivers >> node & 1) != 0 && is_in_list(&server->sender_names[node], node);
}

/* How many standbys count for "names"; with their positions, and is "reporter" one? */
static int
find_chosen(int node, const SimSyncNames *names, int reporter, Lsn flush[SIM_NODES_MAX],
			bool *is_reporter_chosen)
{
	const SimServer *server = &sim.node[node].server;
	int			n_chosen = 0;

	*is_reporter_chosen = false;
	for (int k = 0; k < sim.n_nodes; k++)
	{
		if (!has_priority(server, k))
			continue;
		/* by priority the first ones that are connected count, and only they */
		if (names->mode == SIM_SYNC_PRIORITY && n_chosen == names->number)
			break;
		if (k == reporter)
			*is_reporter_chosen = true;
		flush[n_chosen++] = server->receiver_flush[k];
	}
	return n_chosen;
}

/*
 * The walsender of "reporter" has heard from its standby: up to where have the
 * standbys all that a commit waits for?  As SyncRepReleaseWaiters().
 */
void
sim_sync_report(int node, int reporter)
{
	SimServer  *server = &sim.node[node].server;
	const SimSyncNames *names = &server->sender_names[reporter];
	Lsn			flush[SIM_NODES_MAX];
	bool		is_chosen;
	int			n_chosen;

	if (names->mode == SIM_ASYNC || !has_priority(server, reporter))
		return;
	n_chosen = find_chosen(node, names, reporter, flush, &is_chosen);
	if (!is_chosen || n_chosen < names->number)
		return;
	for (int i = 0; i < n_chosen; i++)
	{
		int			n_there = 0;

		for (int k = 0; k < n_chosen; k++)
			n_there += flush[k] >= flush[i];
		if (n_there >= names->number && flush[i] > server->replicated_lsn)
			server->replicated_lsn = flush[i];
	}
}

/* How many more standbys would a commit need that waits by these names? */
int
sim_sync_missing(int node, const SimSyncNames *names)
{
	Lsn			flush[SIM_NODES_MAX];
	bool		is_chosen;

	if (names->mode == SIM_ASYNC)
		return 0;
	return names->number - find_chosen(node, names, -1, flush, &is_chosen);
}

/* Does a commit wait at all? */
bool
sim_sync_is_defined(int node)
{
	return sim.node[node].server.checkpointer_names.mode != SIM_ASYNC;
}

static void
read_file(int node, int64_t process, void *owned)
{
	SimServer  *server = &sim.node[node].server;
	const SimSyncNames *file = &sim.node[node].data.sync_file;

	(void) owned;
	if (server->state == HA_SERVER_STOPPED)
		return;
	if (process == POSTMASTER)
	{
		int64_t		delay_us;

		server->sync_names = *file;
		for (int k = 0; k < sim.n_nodes; k++)
		{
			if ((server->receivers >> k & 1) == 0)
				continue;
			delay_us = sim_between(20, SIM_MS(10));
			if (sim_chance(100))
				delay_us = sim_between(SIM_MS(10), SIM_MS(2000));	/* reads old WAL from a slow disk */
			sim_later_in(node, SIM_SERVER, delay_us, read_file, k, NULL);
		}
		delay_us = sim_between(20, SIM_MS(5));
		if (sim_chance(50))
			delay_us = sim_between(SIM_MS(5), SIM_MS(1500));	/* in a checkpoint */
		sim_later_in(node, SIM_SERVER, delay_us, read_file, CHECKPOINTER, NULL);
		sim_later_in(node, SIM_SERVER, sim_between(20, SIM_MS(5)), read_file, WORKER, NULL);
		return;
	}
	if (process == CHECKPOINTER)
	{
		server->checkpointer_names = *file;
		if (file->mode == SIM_ASYNC)
			sim_client_released(node);
	}
	else if (process == WORKER)
	{
		server->worker_names = *file;
		if (file->mode == SIM_ASYNC && server->checkpointer_names.mode != SIM_ASYNC)
		{
			/* it tells the backends itself; the checkpointer's number stays what it is */
			uint32_t	generation = server->checkpointer_names.generation;

			server->checkpointer_names = *file;
			server->checkpointer_names.generation = generation;
			sim_client_released(node);
		}
	}
	else
		server->sender_names[process] = *file;
	sim_walsenders_changed(node);
}

/* postmaster_reload() */
static void
reload(int node)
{
	sim_later_in(node, SIM_SERVER, sim_between(100, SIM_MS(3)), read_file, POSTMASTER, NULL);
}

/* HA_SET_SYNC_NAMES: "names" NULL = the operator's own value, which is none here. */
void
sim_sync_set(int node, const char *text)
{
	SimData    *data = &sim.node[node].data;
	SimSyncNames names;
	SyncNames	parsed;

	if (sim.node[node].disk_is_full || data->state != HA_DATA_PRESENT)
		return;
	memset(&names, 0, sizeof(names));
	if (!sync_names_parse(&parsed, text))
		sim_fail("S8: synchronous_standby_names cannot be read: %.100s", text);
	names.mode = parsed.kind == SYNC_NAMES_NONE ? SIM_ASYNC :
		parsed.kind == SYNC_NAMES_QUORUM ? SIM_SYNC_QUORUM : SIM_SYNC_PRIORITY;
	names.number = parsed.number;
	names.any = parsed.kind == SYNC_NAMES_ALL;
	for (int i = 0; i < parsed.n_names; i++)
	{
		int			k = sim_node_of(parsed.names[i]);

		if (k >= 0)
			names.nodes |= UINT32_C(1) << k;
		else
			sim_fail("S8: \"%s\" in synchronous_standby_names is no node", parsed.names[i]);
	}
	names.is_overridden = text != NULL;
	names.generation = data->sync_file.generation + 1;
	data->sync_file = names;
	sim_note(node, "names", names.generation, (uint64_t) names.nodes << 8 | (uint64_t) names.number);
	sim_trace(node, "synchronous_standby_names = '%s', change %u", text != NULL ? text : "", names.generation);
	reload(node);
	sim_moment(node);
}

/* As src/worker/sync_watch.c: has everybody who matters read the file? */
static bool
is_settled(int node)
{
	const SimServer *server = &sim.node[node].server;
	uint32_t	generation = server->worker_names.generation;

	if (sim.node[node].data.sync_file.generation != generation ||
		server->checkpointer_names.generation != generation)
		return false;
	for (int k = 0; k < sim.n_nodes; k++)
		if ((server->receivers >> k & 1) != 0 && server->sender_names[k].generation != generation)
			return false;
	return true;
}

/* What the worker does when it looks: note_settled(), sync_watch_turn(). */
void
sim_sync_look(int node)
{
	SimServer  *server = &sim.node[node].server;

	if (!sim.profile.engine_keeps_sync)
		return;
	if (!is_settled(node))
	{
		server->sync_lsn = 0;
		if (server->sync_unsettled_us == 0)
			server->sync_unsettled_us = sim.now_us;
		else if (sim.now_us - server->sync_unsettled_us > SIM_MS(5000))
		{
			server->sync_unsettled_us = sim.now_us;
			reload(node);
		}
		return;
	}
	server->sync_unsettled_us = 0;
	if (server->is_in_recovery || server->state != HA_SERVER_RUNNING)
		server->sync_lsn = 0;
	else if (server->sync_lsn == 0 || server->sync_lsn_generation != server->worker_names.generation)
	{
		server->sync_lsn = sim.node[node].data.end.lsn;
		server->sync_lsn_generation = server->worker_names.generation;
		if (server->worker_names.mode != SIM_ASYNC && !sim.node[node].disk_is_full)
		{
			sim_server_insert(node, 40);
			sim_server_flush(node);
		}
	}
}

static void
write_names(const SimSyncNames *names, char *text, size_t size)
{
	static SyncNames full;

	memset(&full, 0, sizeof(full));
	full.kind = names->mode == SIM_ASYNC ? SYNC_NAMES_NONE : names->any ? SYNC_NAMES_ALL :
		names->mode == SIM_SYNC_QUORUM ? SYNC_NAMES_QUORUM : SYNC_NAMES_PRIORITY;
	full.number = names->mode == SIM_ASYNC ? 0 : names->number;
	for (int k = 0; k < SIM_NODES_MAX; k++)
		if ((names->nodes >> k & 1) != 0)
			snprintf(full.names[full.n_names++], sizeof(full.names[0]), "%s", sim.node[k].name);
	if (!sync_names_write(&full, text, size))
		sim_fail("bug in the simulator: names do not fit");
}

/* The part of HaPostgres that is about it; the senders are filled in already. */
void
sim_sync_observe(int node, HaPostgres *postgres)
{
	const SimServer *server = &sim.node[node].server;
	const SimSyncNames *names = &server->worker_names;

	memset(postgres->sync_names, 0, sizeof(postgres->sync_names));
	if (!sim.profile.engine_keeps_sync)
		return;
	postgres->has_sync = true;
	postgres->is_sync_settled = is_settled(node);
	postgres->is_sync_overridden = names->is_overridden;
	postgres->sync_generation = names->generation;
	postgres->sync_names_lsn = postgres->is_sync_settled ? server->sync_lsn : 0;
	write_names(names, postgres->sync_names, sizeof(postgres->sync_names));
}

/* sync_state of the walsender of node "k", as the worker of "node" works it out. */
SyncWalsender
sim_sync_state(int node, int k)
{
	const SimServer *server = &sim.node[node].server;
	const SimSyncNames *names = &server->worker_names;
	int			n_before = 0;

	if (!has_priority(server, k) || server->is_in_recovery)
		return SYNC_WALSENDER_ASYNC;
	if (names->mode == SIM_SYNC_QUORUM)
		return SYNC_WALSENDER_QUORUM;
	for (int i = 0; i < k; i++)
		n_before += has_priority(server, i);
	return n_before < names->number ? SYNC_WALSENDER_SYNC : SYNC_WALSENDER_POTENTIAL;
}
