/*-------------------------------------------------------------------------
 *
 * observe.c
 *      What a home sees of its server: the worker from inside, the supervisor
 *      in files and processes, and what its worker told it.
 *
 * Field by field as src/worker/observe.c, src/supervisor/observe.c and
 * postmaster_observe() do, also where they know nothing or something old.
 *
 * What is simplified: nothing waits for a restart; there are no logical slots.
 *-------------------------------------------------------------------------
 */
#include "sim/home.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "node/combine.h"

/* When did this server stream last: its incarnation + 1.  Shared memory forgets. */
static uint32_t streamed[SIM_NODES_MAX];

/* The run is over or the host is new. */
void
observe_forget_node(int node)
{
	streamed[node] = 0;
}

static void
copy_upstream(const SimData *data, HaPostgres *postgres)
{
	memset(postgres->upstream_host, 0, sizeof(postgres->upstream_host));
	memset(postgres->upstream_slot, 0, sizeof(postgres->upstream_slot));
	postgres->upstream_port = 0;
	if (data->upstream < 0)
		return;
	snprintf(postgres->upstream_host, sizeof(postgres->upstream_host), "%s",
			 sim.node[data->upstream].name);
	postgres->upstream_port = 5432;
	memcpy(postgres->upstream_slot, data->upstream_slot, sizeof(postgres->upstream_slot));
	postgres->upstream_slot[sizeof(postgres->upstream_slot) - 1] = '\0';
}

/* What pg_control and the signal files say.  data is set, .problem if need be. */
void
observe_files(int node, HaPostgres *postgres)
{
	const SimData *data = &sim.node[node].data;

	postgres->data = data->state;
	postgres->problem[0] = '\0';
	if (data->state == HA_DATA_UNREADABLE)
		snprintf(postgres->problem, sizeof(postgres->problem), "pg_control cannot be read");
	if (data->state != HA_DATA_PRESENT)
		return;
	postgres->control_state = data->control_state;
	postgres->checkpoint_lsn = data->checkpoint.lsn;
	postgres->checkpoint_redo = data->checkpoint_redo;
	postgres->checkpoint_timeline = data->checkpoint_timeline;
	postgres->minimum_recovery_lsn = 0;
	postgres->minimum_recovery_timeline = 0;
	if (data->minimum_recovery.lsn != 0)
	{
		postgres->minimum_recovery_lsn = data->minimum_recovery.lsn;
		postgres->minimum_recovery_timeline = sim_timeline_of(data->minimum_recovery);
	}
	postgres->can_rewind = true;
	postgres->is_standby_configured = data->is_standby_configured;
	postgres->is_former_primary = data->is_former_primary;
	postgres->former_timeline = data->former_timeline;
}

static const SimHistoryFile *
find_file(const SimData *data, uint32_t timeline)
{
	for (int i = 0; i < data->n_history; i++)
	{
		if (data->history[i].timeline == timeline)
			return &data->history[i];
	}
	return NULL;
}

/* The history file of postgres->timeline, and the newest id that is taken. */
void
observe_history(int node, HaPostgres *postgres)
{
	const SimData *data = &sim.node[node].data;
	const SimHistoryFile *file = find_file(data, postgres->timeline);
	const int	max = (int) (sizeof(postgres->history) / sizeof(postgres->history[0]));
	int			n = 0;

	postgres->newest_timeline = postgres->timeline;
	while (find_file(data, postgres->newest_timeline + 1) != NULL)
		postgres->newest_timeline++;
	memset(postgres->history, 0, sizeof(postgres->history[0]) * (size_t) postgres->n_history);
	postgres->n_history = 0;
	if (postgres->timeline <= 1)
		return;
	for (const SimHistoryFile *f = file; f != NULL; f = find_file(data, f->parent))
	{
		n++;
		if (f->parent >= f->timeline || f->parent <= 1)
			break;
	}
	if (n > max)
		return;					/* as history_file_read(): more lines than there is room for */
	postgres->n_history = n;
	for (const SimHistoryFile *f = file; n > 0; f = find_file(data, f->parent))
	{
		TimelineHistory *entry = &postgres->history[--n];

		entry->timeline = f->parent;
		entry->switch_lsn = f->lsn;
		snprintf(entry->reason, sizeof(entry->reason), "%s",
				 f->is_placed ? "timeline id taken by another promotion (patroni)" :
				 "no recovery target specified");
	}
}

static void
look_at_standby(int node, HaPostgres *postgres)
{
	const SimData *data = &sim.node[node].data;
	const SimServer *server = &sim.node[node].server;
	SimPosition replayed = {.branch = data->end.branch, .lsn = server->replayed_lsn};
	uint32_t	this_one = sim.node[node].process[SIM_SERVER].incarnation + 1;

	if (server->is_streaming)
		streamed[node] = this_one;
	postgres->is_in_recovery = true;
	postgres->server = server->state == HA_SERVER_RUNNING ? HA_SERVER_RUNNING : HA_SERVER_STARTING;
	postgres->is_streaming = server->is_streaming;
	postgres->received_lsn = streamed[node] == this_one ? data->end.lsn : 0;
	postgres->replayed_lsn = server->replayed_lsn;
	postgres->write_lsn = postgres->flush_lsn = 0;
	postgres->is_replay_paused = server->is_replay_paused;
	if (postgres->received_lsn != 0 &&
		(server->is_streaming || postgres->received_lsn > postgres->replayed_lsn))
		postgres->timeline = sim_timeline_of(data->end);
	else if (replayed.lsn != 0)
	{
		while (sim.branch[replayed.branch].parent >= 0 &&
			   replayed.lsn <= sim.branch[replayed.branch].fork_lsn)
			replayed.branch = sim.branch[replayed.branch].parent;
		postgres->timeline = sim_timeline_of(replayed);
	}
}

static void
look_at_connections(int node, HaPostgres *postgres)
{
	const SimServer *server = &sim.node[node].server;
	int			n = 0;

	memset(postgres->slots, 0, sizeof(postgres->slots[0]) * (size_t) postgres->n_slots);
	memset(postgres->senders, 0, sizeof(postgres->senders[0]) * (size_t) postgres->n_senders);
	for (int i = 0; i < server->n_slots; i++)
	{
		memcpy(postgres->slots[i].name, server->slots[i], sizeof(postgres->slots[i].name));
		postgres->slots[i].restart_lsn = sim.node[node].data.checkpoint_redo;
		for (int k = 0; k < SIM_NODES_MAX; k++)
		{
			char		slot[64];

			if (sim.node[k].name[0] == '\0')
				continue;
			member_slot_name(sim.node[k].name, slot);
			if (strcmp(slot, server->slots[i]) != 0)
				continue;
			postgres->slots[i].is_active = (server->receivers & (1u << k)) != 0;
			if (server->receiver_flush[k] != 0)
				postgres->slots[i].restart_lsn = server->receiver_flush[k];
		}
		if (server->slot_moved_to[i] > postgres->slots[i].restart_lsn)
			postgres->slots[i].restart_lsn = server->slot_moved_to[i];
	}
	postgres->n_slots = server->n_slots;
	for (int k = 0; k < SIM_NODES_MAX; k++)
	{
		if ((server->receivers & (1u << k)) == 0)
			continue;
		snprintf(postgres->senders[n].application_name,
				 sizeof(postgres->senders[n].application_name), "%s", sim.node[k].name);
		postgres->senders[n].flush_lsn = postgres->senders[n].sync_lsn = server->receiver_flush[k];
		postgres->senders[n].sync_state = sim_sync_state(node, k);
		postgres->senders[n].is_streaming = true;
		n++;
	}
	postgres->n_senders = n;
}

/* health_watch.c, by its result alone: what has lasted for longer than the budget. */
static void
observe_health(int node, HaPostgres *postgres)
{
	int64_t		budget_us = SIM_MS(200 + (int64_t) (sim.seed % 5) * 300);

	memset(postgres->hang, 0, sizeof(postgres->hang));
	if (sim.node[node].disk_hangs && postgres->data == HA_DATA_PRESENT &&
		sim.now_us - sim.node[node].disk_hangs_since_us >= budget_us)
		snprintf(postgres->hang, sizeof(postgres->hang), "the disk has stopped");
}

/* What the worker sees from inside; the files are not looked at. */
void
observe_server(int node, HaPostgres *postgres)
{
	const SimData *data = &sim.node[node].data;
	const SimServer *server = &sim.node[node].server;

	postgres->is_observed = true;
	postgres->system_identifier = data->system_identifier;
	postgres->start_time_ms = server->start_wall_ms;
	if (server->is_in_recovery || server->state == HA_SERVER_STARTING)
		look_at_standby(node, postgres);
	else
	{
		postgres->is_in_recovery = false;
		postgres->server = HA_SERVER_RUNNING;
		postgres->timeline = server->timeline;
		postgres->flush_lsn = data->end.lsn;
		postgres->write_lsn = data->written_lsn > data->end.lsn ? data->written_lsn : data->end.lsn;
		postgres->received_lsn = postgres->replayed_lsn = 0;
		postgres->is_streaming = postgres->is_replay_paused = false;
	}
	look_at_connections(node, postgres);
	postgres->version_num = 150020;
	postgres->has_restore_command = false;
	postgres->has_pending_restart = false;
	copy_upstream(data, postgres);
	sim_sync_observe(node, postgres);
	observe_health(node, postgres);
}

/* postmaster_observe(): from files and processes alone. */
static void
look_from_outside(int node, HaPostgres *postgres)
{
	const SimData *data = &sim.node[node].data;
	const SimServer *server = &sim.node[node].server;

	ha_postgres_reset(postgres);
	observe_files(node, postgres);
	if (data->state == HA_DATA_PRESENT)
	{
		postgres->system_identifier = data->system_identifier;
		postgres->version_num = 150000;
	}
	postgres->server = HA_SERVER_STOPPED;
	if (sim.node[node].process[SIM_SERVER].is_alive)
	{
		postgres->server = server->state == HA_SERVER_STOPPED || server->state == HA_SERVER_UNKNOWN ?
			HA_SERVER_STARTING : server->state;
		postgres->start_time_ms = server->start_wall_ms / 1000 * 1000;
		postgres->is_in_recovery = postgres->is_standby_configured;
		if (postgres->server == HA_SERVER_RUNNING && postgres->data == HA_DATA_PRESENT)
			postgres->is_in_recovery = postgres->control_state != HA_CONTROL_IN_PRODUCTION;
	}
	if (postgres->data != HA_DATA_PRESENT)
		return;
	copy_upstream(data, postgres);
	postgres->timeline = postgres->checkpoint_timeline;
	if (postgres->minimum_recovery_timeline > postgres->timeline)
		postgres->timeline = postgres->minimum_recovery_timeline;
	observe_history(node, postgres);
	if (postgres->server == HA_SERVER_RUNNING && !postgres->is_in_recovery &&
		postgres->newest_timeline > postgres->timeline)
	{
		postgres->timeline = postgres->newest_timeline;
		observe_history(node, postgres);
	}
}

static void
add_seen(const SimHome *supervisor, HaPostgres *postgres)
{
	static HaPostgres outside;
	int64_t		last_ms = atomic_load_explicit(&sim.node[supervisor->node].page->worker_heartbeat_ms,
											   memory_order_acquire);

	ha_postgres_copy(&outside, postgres);
	combine_views(postgres, &outside, &supervisor->seen,
				  supervisor->link != 0 && clock_now_ms() - last_ms <= STATE_FRESH_MS);
}

/* The server as the supervisor knows it. */
void
observe_outside(SimHome *supervisor, HaPostgres *postgres)
{
	int			node = supervisor->node;

	look_from_outside(node, postgres);
	observe_health(node, postgres);
	if (postgres->server == HA_SERVER_STOPPED)
	{
		atomic_store_explicit(&sim.node[node].page->is_primary, 0, memory_order_release);
		return;
	}
	if (supervisor->has_seen && supervisor->postmaster != 0 &&
		supervisor->postmaster == supervisor->seen_postmaster)
	{
		add_seen(supervisor, postgres);
		observe_health(node, postgres);
	}
}

/* What a home would tell of its server if it looked now. */
void
sim_observe(int node, HaHome which, HaPostgres *postgres)
{
	SimHome    *home = sim_home(node, which);

	if (which == HA_HOME_SUPERVISOR)
	{
		SimContext	before;

		if (home == NULL || home->must_close)
		{
			look_from_outside(node, postgres);
			return;
		}
		before = home_enter(home);
		observe_outside(home, postgres);
		home_leave(home, before);
		return;
	}
	ha_postgres_reset(postgres);
	observe_server(node, postgres);
	observe_files(node, postgres);
	if (postgres->timeline != 0)
		observe_history(node, postgres);
}
