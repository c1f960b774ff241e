/*-------------------------------------------------------------------------
 *
 * server.c
 *      A PostgreSQL server: start, recovery, promotion, checkpoints, stop.
 *
 * Simplified: the server is one process beside its worker, so all of it is
 * paused or killed together; processes that outlive a killed postmaster are
 * not modelled.  A start replays all local WAL before connections are
 * possible.  Checkpoints happen on request, after a promotion and at a
 * shutdown only.
 *
 * Kept as it is: a stop waits for the worker before the shutdown checkpoint
 * and for connected receivers after it; WAL that was written but not flushed
 * survives the server but not the host; crash recovery makes commits visible
 * whose clients were never told; pg_control shows a promotion late; a standby
 * does not start on a timeline that left its own before its checkpoint.
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "sim/postgres_model.h"

#define STOP_POLL_US			SIM_MS(5)
#define STOP_SLOW_POLL_US		SIM_MS(50)
#define SENDER_TIMEOUT_US		SIM_MS(60000)
#define DISK_LIMIT_US			SIM_MS(8000)
#define STOP_IMMEDIATELY		1

/* How long the disk takes for what normally takes so long. */
int64_t
sim_disk_us(int node, int64_t us)
{
	int			slowness = sim.node[node].disk_slowness;

	if (slowness > 1)
		us *= slowness;
	return us < DISK_LIMIT_US ? us : DISK_LIMIT_US;
}

/* Would that server answer a connection of this node's? */
bool
sim_server_answers(int node, int asked)
{
	const SimNode *other;

	if (asked < 0 || asked >= sim.n_nodes)
		return false;
	other = &sim.node[asked];
	return other->host_is_up && other->server.state == HA_SERVER_RUNNING &&
		other->process[SIM_SERVER].n_pauses == 0 &&
		(node == asked || sim_is_connected(node, asked));
}

static void
changed(int node)
{
	sim_task_server_changed(node);
	sim_server_changed(node);
}

static void
set_state(int node, HaServer state)
{
	sim.node[node].server.state = state;
	sim_note(node, "server", (uint64_t) state, sim.node[node].data.end.lsn);
	sim_trace(node, "server is %s, WAL ends at %X on timeline %u",
			  state == HA_SERVER_STOPPED ? "stopped" : state == HA_SERVER_STARTING ? "starting" :
			  state == HA_SERVER_RUNNING ? "running" : "stopping",
			  (unsigned) sim.node[node].data.end.lsn, sim_timeline_of(sim.node[node].data.end));
}

/* --- the end --- */

/* The processes are gone, whatever the reason. */
static void
end_server(int node)
{
	SimNode    *self = &sim.node[node];
	SimServer  *server = &self->server;

	if (server->state == HA_SERVER_STOPPED)
		return;
	sim_stream_end(node);
	sim_stream_upstream_gone(node);
	self->process[SIM_SERVER].is_alive = false;
	for (int i = self->process[SIM_SERVER].n_pauses; i > 0; i--)
		sim_resume(node, SIM_SERVER);	/* a pause of its own ends with it */
	server->is_promoting = server->is_told_to_stop = server->is_stop_sent = false;
	server->is_flushing_checkpoint = false;
	server->is_in_recovery = false;
	server->insert = self->data.end;
	set_state(node, HA_SERVER_STOPPED);
	sim_worker_gone(node);
	changed(node);
}

/* SIGKILL of the postmaster: all its children go. */
void
sim_server_kill(int node)
{
	end_server(node);
}

/* Power: what was not flushed is gone. */
void
sim_server_host_lost(int node)
{
	end_server(node);
	sim_check_page_lost(node);
	sim.node[node].data.written_lsn = sim.node[node].data.end.lsn;
}

/* --- WAL of a primary --- */

/* More WAL, in memory; now and then it reaches the system's cache at once. */
void
sim_server_insert(int node, int bytes)
{
	SimServer  *server = &sim.node[node].server;

	server->insert.lsn += (Lsn) bytes;
	if (sim_chance(500))
		sim.node[node].data.written_lsn = server->insert.lsn;
}

/* All of it is durable, and goes to the standbys. */
void
sim_server_flush(int node)
{
	SimNode    *self = &sim.node[node];

	self->data.end = self->server.insert;
	self->data.written_lsn = self->data.end.lsn;
	sim_wal_written(self->data.end);
	sim_check_flushed(node);
	sim_stream_flushed(node);
}

static void
write_checkpoint(int node)
{
	SimNode    *self = &sim.node[node];

	sim_wal_checkpoint_written(self->server.insert);
	self->data.checkpoint = self->server.insert;
	self->data.checkpoint_redo = self->server.insert.lsn;
	self->data.checkpoint_timeline = self->server.timeline;
	self->data.minimum_recovery.branch = -1;
	self->data.minimum_recovery.lsn = 0;
	self->server.insert.lsn += MODEL_CHECKPOINT_SIZE;
	sim_server_flush(node);
}

/* Recovery can begin here from now on. */
static void
make_restartpoint(int node, Lsn lsn)
{
	SimData    *data = &sim.node[node].data;
	SimPosition replayed = {.branch = data->end.branch, .lsn = sim.node[node].server.replayed_lsn};
	SimPosition record = sim_wal_checkpoint_before(replayed);

	if (record.lsn < lsn || !data->is_standby_configured)
		return;
	data->checkpoint = record;
	data->checkpoint_redo = record.lsn;
	data->checkpoint_timeline = sim_timeline_of(record);
	data->minimum_recovery = replayed;
	sim_server_changed(node);
}

/* "restartpoint": the record that was there when it was begun; 0: a checkpoint. */
static void
checkpoint_done(int node, int64_t restartpoint, void *owned)
{
	SimServer  *server = &sim.node[node].server;

	(void) owned;
	server->is_flushing_checkpoint = false;
	if (server->state != HA_SERVER_RUNNING || server->is_in_recovery != (restartpoint != 0))
		return;
	if (restartpoint != 0)
	{
		make_restartpoint(node, (Lsn) restartpoint);
		return;
	}
	write_checkpoint(node);
	sim_server_changed(node);
}

/* Ask for a checkpoint; in recovery a restartpoint at the last checkpoint replayed, if it is a new one. */
void
sim_server_checkpoint(int node)
{
	SimServer  *server = &sim.node[node].server;
	const SimData *data = &sim.node[node].data;
	SimPosition record = {.branch = -1, .lsn = 0};
	int64_t		delay_us;

	if (server->state != HA_SERVER_RUNNING || server->is_flushing_checkpoint)
		return;
	if (server->is_in_recovery)
	{
		record = sim_wal_checkpoint_before((SimPosition) {.branch = data->end.branch,
														  .lsn = server->replayed_lsn});
		if (record.lsn <= data->checkpoint_redo)
			return;
	}
	server->is_flushing_checkpoint = true;
	delay_us = sim_disk_us(node, sim_between(SIM_MS(5), SIM_MS(100)));
	sim_later_in(node, SIM_SERVER, delay_us, checkpoint_done, (int64_t) record.lsn, NULL);
}

static void
checkpoint_in_time(int node, int64_t number, void *owned)
{
	(void) number;
	(void) owned;
	sim_server_checkpoint(node);
}

/* --- start --- */

static bool
is_clean(const SimData *data)
{
	return data->control_state == HA_CONTROL_SHUTDOWNED ||
		data->control_state == HA_CONTROL_SHUTDOWNED_IN_RECOVERY;
}

/*
 * Without a minimum recovery point, and not shut down: crash recovery goes to
 * the end of the WAL on disk before archive recovery begins.
 */
static bool
is_crashed_primary(const SimData *data)
{
	return !is_clean(data) && data->minimum_recovery.lsn == 0;
}

/* Does a standby's recovery begin at all?  Chooses the timeline it goes to. */
static bool
can_recover(int node)
{
	SimNode    *self = &sim.node[node];
	SimData    *data = &self->data;
	uint32_t	target = sim_newest_after(data, data->checkpoint_timeline);
	uint32_t	own = sim_timeline_of(data->end);
	Lsn			fork_lsn = 0;

	self->server.recovery_target = target;
	if (target != data->checkpoint_timeline &&
		(!sim_history_fork(data, target, data->checkpoint_timeline, &fork_lsn) ||
		 data->checkpoint.lsn >= fork_lsn))
		return false;			/* "requested timeline is not a child of this server's history" */
	if (target == own || (sim_history_fork(data, target, own, &fork_lsn) && data->end.lsn <= fork_lsn))
		return true;
	if (own > target)
	{
		/*
		 * A history file on the way to its own is missing.  Without a page
		 * from there it begins all the same and asks the upstream for it.
		 */
		return sim_timeline_of(data->minimum_recovery) <= target;
	}
	if (data->minimum_recovery.lsn > fork_lsn || own != sim_timeline_of(data->checkpoint))
		return false;			/* "does not contain minimum recovery point" */
	if (self->kind == SIM_PATRONI)
	{
		/* Patroni does nothing about that: it is its member, and not ours, that has other data then */
		sim_history_remove_unused(data);
		self->server.recovery_target = own;
		return true;
	}
	sim_fail("S7 %s replays timeline %u beyond the place where timeline %u left it",
			 self->name, own, target);
	return false;
}

static void
begin_as_primary(int node)
{
	SimNode    *self = &sim.node[node];
	SimData    *data = &self->data;
	SimServer  *server = &self->server;
	bool		was_clean = is_clean(data);
	int64_t		delay_us;

	if (!sim_wal_is_owner(node, data->end))
		data->end.branch = sim_branch_make(data->end.branch, data->end.lsn,
										   sim_timeline_of(data->end), node);
	sim_check_wal_ends(node);
	server->timeline = sim_timeline_of(data->end);
	server->insert = data->end;
	server->is_in_recovery = false;
	server->visible_lsn = data->end.lsn;
	data->control_state = HA_CONTROL_IN_PRODUCTION;
	data->minimum_recovery.branch = -1;
	data->minimum_recovery.lsn = 0;
	if (!was_clean)
		write_checkpoint(node);
	sim_check_shows(node);
	delay_us = sim_between(SIM_MS(2000), SIM_MS(20000));
	sim_later_in(node, SIM_SERVER, delay_us, checkpoint_in_time, 0, NULL);
}

static void
start_done(int node, int64_t as_standby, void *owned)
{
	SimNode    *self = &sim.node[node];
	SimData    *data = &self->data;
	SimServer  *server = &self->server;

	(void) owned;
	if (server->state != HA_SERVER_STARTING || server->is_told_to_stop)
		return;
	if (data->is_broken || data->is_rewinding || data->state != HA_DATA_PRESENT ||
		(!as_standby && self->disk_is_full) || (as_standby && !can_recover(node)))
	{
		sim_trace(node, "server cannot start: checkpoint %X of timeline %u, minimum recovery %X of %u, "
				  "newest timeline %u%s%s", (unsigned) data->checkpoint.lsn, data->checkpoint_timeline,
				  (unsigned) data->minimum_recovery.lsn, sim_timeline_of(data->minimum_recovery),
				  server->recovery_target, data->is_broken ? ", broken" : "",
				  self->disk_is_full ? ", disk full" : "");
		end_server(node);
		return;
	}
	if (data->written_lsn > data->end.lsn)
		data->end.lsn = data->written_lsn;	/* read, replayed and flushed */
	server->insert = data->end;
	server->replayed_lsn = data->end.lsn;
	server->timeline = sim_timeline_of(data->end);
	set_state(node, HA_SERVER_RUNNING);
	if (as_standby)
	{
		/*
		 * As SwitchIntoArchiveRecovery(): the end of a crashed primary's WAL
		 * becomes its minimum recovery point, so PostgreSQL itself refuses a
		 * timeline that left before it ("does not contain minimum recovery
		 * point").
		 */
		if (is_crashed_primary(data))
			data->minimum_recovery = data->end;
		data->control_state = HA_CONTROL_IN_ARCHIVE_RECOVERY;
		data->is_fresh_copy = false;
		sim_stream_begin(node);
	}
	else
		begin_as_primary(node);
	changed(node);
}

static void
worker_forked(int node, int64_t number, void *owned)
{
	SimNode    *self = &sim.node[node];

	(void) number;
	(void) owned;
	if (self->server.state != HA_SERVER_STARTING || self->server.is_told_to_stop)
		return;
	if (self->data.is_standby_configured && !is_crashed_primary(&self->data))
	{
		self->data.control_state = HA_CONTROL_IN_ARCHIVE_RECOVERY;
		self->data.is_fresh_copy = false;
		if (self->data.minimum_recovery.lsn < self->data.checkpoint_redo)
		{
			self->data.minimum_recovery.branch = self->data.checkpoint.branch;
			self->data.minimum_recovery.lsn = self->data.checkpoint_redo;
		}
	}
	else if (!is_clean(&self->data))
		self->data.control_state = HA_CONTROL_IN_CRASH_RECOVERY;
	sim_worker_started(node);
}

/* A postmaster lives; its recovery begins. */
static void
begin_start(int node, bool as_standby)
{
	SimNode    *self = &sim.node[node];
	SimServer  *server = &self->server;
	SimData    *data = &self->data;
	int64_t		delay_us;
	int64_t		fork_us;

	self->process[SIM_SERVER].is_alive = true;
	self->process[SIM_SERVER].incarnation++;
	server->is_in_recovery = true;
	server->is_streaming = false;
	server->stream_from = -1;
	server->receivers = 0;
	server->timeline = sim_timeline_of(data->end);
	server->is_promoting = server->is_told_to_stop = server->is_stop_sent = false;
	server->is_flushing_checkpoint = false;
	server->is_replay_paused = server->is_sending = server->is_replay_pending = false;
	server->visible_lsn = 0;
	sim_sync_begin(node);
	sim_commits_begin(node);
	server->replayed_lsn = data->checkpoint_redo;
	server->stream_generation++;
	set_state(node, HA_SERVER_STARTING);

	delay_us = sim_disk_us(node, sim_between(SIM_MS(20), SIM_MS(300)));
	if (!is_clean(data) && data->written_lsn > data->checkpoint_redo)
		delay_us += (int64_t) (data->written_lsn - data->checkpoint_redo) / 10;
	if (!is_clean(data) && sim_chance(30))
		delay_us += sim_between(SIM_MS(1000), SIM_MS(8000));
	fork_us = sim_between(SIM_MS(2), SIM_MS(8));
	sim_later_in(node, SIM_SERVER, fork_us, worker_forked, 0, NULL);
	sim_later_in(node, SIM_SERVER, fork_us + delay_us, start_done, as_standby, NULL);
}

/* Start.  STARTING now; RUNNING, or STOPPED if it cannot start, later. */
void
sim_server_start(int node, bool as_standby)
{
	SimNode    *self = &sim.node[node];

	if (!self->host_is_up || self->server.state != HA_SERVER_STOPPED ||
		self->data.state != HA_DATA_PRESENT)
		return;
	self->data.is_standby_configured = as_standby;
	self->server.start_wall_ms = sim_wall_ms();
	begin_start(node, as_standby);
	changed(node);
}

/* A child was killed: the same postmaster starts all others again. */
void
sim_server_crash_restart(int node)
{
	SimNode    *self = &sim.node[node];
	HaServer	state = self->server.state;

	if (!self->process[SIM_SERVER].is_alive)
		return;
	if (state == HA_SERVER_STOPPING || self->server.is_told_to_stop || self->server.is_stop_sent)
	{
		end_server(node);
		return;
	}
	sim_stream_end(node);
	sim_stream_upstream_gone(node);
	sim_worker_gone(node);
	self->server.insert = self->data.end;
	if (self->data.is_standby_configured)
		sim_history_remove_unused(&self->data);	/* src/worker/recovery.c */
	begin_start(node, self->data.is_standby_configured);
	changed(node);
}

/* --- promotion --- */

static void
promotion_done(int node, int64_t number, void *owned)
{
	SimNode    *self = &sim.node[node];
	SimData    *data = &self->data;
	SimServer  *server = &self->server;
	uint32_t	parent = sim_timeline_of(data->end);
	uint32_t	timeline;
	int64_t		delay_us;
	int			branch;

	(void) number;
	(void) owned;
	if (server->state != HA_SERVER_RUNNING || !server->is_in_recovery || server->is_told_to_stop)
		return;
	if (self->disk_is_full)
	{
		end_server(node);		/* the startup process fails, and the server with it */
		return;
	}
	timeline = sim_newest_after(data, server->recovery_target > parent ?
								server->recovery_target : parent) + 1;
	branch = sim_branch_make(data->end.branch, data->end.lsn, timeline, node);
	sim_history_add(data, timeline, parent, data->end.lsn, false);
	server->is_promoting = false;
	server->is_replay_paused = false;
	server->visible_lsn = server->replayed_lsn = data->end.lsn;
	server->insert.branch = branch;
	server->insert.lsn = data->end.lsn + MODEL_END_OF_RECOVERY_SIZE;
	server->timeline = timeline;
	server->is_in_recovery = false;
	data->is_standby_configured = false;
	data->control_state = HA_CONTROL_IN_PRODUCTION;
	data->minimum_recovery = server->insert;
	sim_note(node, "promotion", timeline, data->end.lsn);
	sim_trace(node, "is promoted to timeline %u at %X", timeline, (unsigned) data->end.lsn);
	sim_check_promotion(node, branch);
	sim_check_shows(node);
	sim_server_flush(node);
	delay_us = sim_between(SIM_MS(50), SIM_MS(10000));
	sim_later_in(node, SIM_SERVER, delay_us, checkpoint_in_time, 0, NULL);
	changed(node);
}

static void
promotion_begins(int node, int64_t is_by_hand, void *owned)
{
	SimServer  *server = &sim.node[node].server;
	int64_t		delay_us;

	(void) owned;
	if (server->state != HA_SERVER_RUNNING || !server->is_in_recovery || server->is_promoting ||
		server->is_told_to_stop)
		return;
	server->is_promoting = true;
	sim.node[node].was_promoted_by_hand = is_by_hand != 0;	/* whose signal came first */
	sim_stream_end(node);
	delay_us = sim_disk_us(node, sim_between(SIM_MS(10), SIM_MS(60)));
	sim_later_in(node, SIM_SERVER, delay_us, promotion_done, 0, NULL);
}

static void
send_promotion(int node, bool is_by_hand)
{
	sim_later_in(node, SIM_SERVER, sim_between(100, 1000), promotion_begins, is_by_hand, NULL);
}

/* pg_promote: a signal first, then it takes its time. */
void
sim_server_promote(int node)
{
	send_promotion(node, false);
}

/* An operator promotes by hand, whatever the cluster thinks. */
void
sim_server_promote_by_hand(int node)
{
	SimServer  *server = &sim.node[node].server;

	if (server->state != HA_SERVER_RUNNING || !server->is_in_recovery)
		return;
	send_promotion(node, true);
}

/* --- follow --- */

static void
reloaded(int node, int64_t number, void *owned)
{
	const SimServer *server = &sim.node[node].server;

	(void) number;
	(void) owned;
	if (server->state == HA_SERVER_RUNNING && server->is_in_recovery && !server->is_promoting)
	{
		sim_stream_end(node);
		sim_stream_begin(node);
		sim_server_changed(node);
	}
}

/* primary_conninfo and primary_slot_name, then a reload. */
void
sim_server_follow(int node, int upstream, const char *slot)
{
	SimData    *data = &sim.node[node].data;
	size_t		length = slot != NULL ? strlen(slot) : 0;

	if (length >= sizeof(data->upstream_slot))
		length = sizeof(data->upstream_slot) - 1;
	data->upstream = upstream;
	memset(data->upstream_slot, 0, sizeof(data->upstream_slot));
	if (length > 0)
		memcpy(data->upstream_slot, slot, length);
	if (upstream >= 0)
	{
		sim_history_remove_placed(data);
		data->is_former_primary = false;
	}
	sim_later_in(node, SIM_SERVER, sim_between(SIM_MS(1), SIM_MS(20)), reloaded, 0, NULL);
}

/* --- stop --- */

/* After the checkpoint: the walsenders send all, the receivers confirm it. */
static void
wait_for_receivers(int node, int64_t number, void *owned)
{
	SimServer  *server = &sim.node[node].server;

	(void) owned;
	if (server->receivers == 0 || sim.now_us >= server->stop_until_us || sim_stream_all_have(node))
		end_server(node);
	else
		sim_later_in(node, SIM_SERVER, number < 50 ? STOP_POLL_US : STOP_SLOW_POLL_US,
					 wait_for_receivers, number + 1, NULL);
}

static void
shutdown_checkpoint(int node, int64_t number, void *owned)
{
	SimNode    *self = &sim.node[node];
	SimServer  *server = &self->server;

	(void) number;
	(void) owned;
	if (server->is_in_recovery)
	{
		if (self->data.is_standby_configured)
		{
			self->data.minimum_recovery = self->data.end;
			self->data.minimum_recovery.lsn = server->replayed_lsn;
			self->data.control_state = HA_CONTROL_SHUTDOWNED_IN_RECOVERY;
		}
		end_server(node);
		return;
	}
	if (self->disk_is_full)
	{
		end_server(node);		/* PANIC: not a clean end */
		return;
	}
	write_checkpoint(node);
	self->data.control_state = HA_CONTROL_SHUTDOWNED;
	server->stop_until_us = sim.now_us + SENDER_TIMEOUT_US;
	sim_trace(node, "shutdown checkpoint is written, WAL ends at %X", (unsigned) self->data.end.lsn);
	sim_later_in(node, SIM_SERVER, SIM_MS(1), wait_for_receivers, 0, NULL);
	sim_server_changed(node);
}

/* The postmaster waits for every child, the worker too, before the checkpoint. */
static void
wait_for_worker(int node, int64_t number, void *owned)
{
	SimNode    *self = &sim.node[node];
	int64_t		delay_us;

	(void) owned;
	if (self->process[SIM_WORKER].is_alive)
	{
		sim_later_in(node, SIM_SERVER, number < 50 ? STOP_POLL_US : STOP_SLOW_POLL_US,
					 wait_for_worker, number + 1, NULL);
		return;
	}
	if (self->server.is_in_recovery)
	{
		sim_stream_end(node);
		delay_us = sim_disk_us(node, sim_between(SIM_MS(5), SIM_MS(60)));
	}
	else
	{
		self->data.control_state = HA_CONTROL_SHUTDOWNING;
		delay_us = sim_disk_us(node, sim_between(SIM_MS(20), SIM_MS(200)));
	}
	sim_later_in(node, SIM_SERVER, delay_us, shutdown_checkpoint, 0, NULL);
}

static void
stop_signalled(int node, int64_t mode, void *owned)
{
	SimServer  *server = &sim.node[node].server;

	(void) owned;
	if (mode == STOP_IMMEDIATELY)
	{
		end_server(node);
		return;
	}
	if (server->is_told_to_stop)
		return;
	server->is_told_to_stop = true;
	server->is_promoting = false;
	sim_client_stopped(node);
	set_state(node, HA_SERVER_STOPPING);
	sim_worker_leave(node);
	sim_server_changed(node);
	sim_later_in(node, SIM_SERVER, SIM_MS(1), wait_for_worker, 0, NULL);
}

/* Stop.  A paused server takes the signal when it goes on. */
void
sim_server_stop(int node, HaStopMode mode)
{
	int64_t		number = mode == HA_STOP_IMMEDIATE ? STOP_IMMEDIATELY : 0;

	if (sim.node[node].server.state == HA_SERVER_STOPPED)
		return;
	sim.node[node].server.is_stop_sent = true;
	sim_later_in(node, SIM_SERVER, sim_between(200, 2000), stop_signalled, number, NULL);
}

/* After a pause: what waited has been queued already; whoever watches looks. */
void
sim_server_resumed(int node)
{
	if (sim.node[node].server.state != HA_SERVER_STOPPED)
		sim_server_changed(node);
}
