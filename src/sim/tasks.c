/*-------------------------------------------------------------------------
 *
 * tasks.c
 *      The supervisor's tasks, as src/supervisor/task.c and task_work.c do
 *      them: one at a time, in a child, with a result for the engine.
 *
 * A child goes on while its supervisor is paused and the result waits.  When
 * the supervisor dies its child dies too, wherever it is: an unfinished clone
 * counts as an empty directory, an unfinished pg_rewind as an unusable one.
 * A server that was told to start or stop goes on without anybody watching.
 *
 * The divergence is decided by the code that ships (src/postgres/
 * divergence.c), from what the two servers could tell each other.
 *
 * Simplified: copying is one step at its end; there are no replica methods,
 * scripts or recovery from an archive.
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "postgres/postgres_files.h"
#include "sim/postgres_model.h"

#define STOP_LIMIT_US		SIM_MS(60000)
#define IMMEDIATE_LIMIT_US	SIM_MS(8000)
#define CONNECT_LIMIT_US	SIM_MS(3000)
#define HOST_POLL_US		SIM_MS(50)
#define HISTORY_LINES_MAX	64

static TimelineHistory local_lines[HISTORY_LINES_MAX];
static TimelineHistory leader_lines[HISTORY_LINES_MAX];

/* --- the end of a task --- */

static void
deliver(int node, int64_t serial, void *owned)
{
	SimTask    *task = &sim.node[node].task;
	SimTask		result = *task;

	(void) owned;
	if (task->task == HA_TASK_NONE || task->serial != (uint32_t) serial)
		return;
	task->task = HA_TASK_NONE;
	task->serial++;
	if (sim.node[node].kind == SIM_PATRONI)
		sim_patroni_task_done(node, result.task, result.outcome);
	else
		sim_task_done(node, result.task, result.id, result.outcome, result.divergence,
					  result.lsn, result.message);
}

/* The result; the supervisor hears of it when it runs. */
static void
finish(int node, HaTaskOutcome outcome, const char *message)
{
	SimTask    *task = &sim.node[node].task;

	if (task->task == HA_TASK_NONE || task->is_over)
		return;
	task->is_over = true;
	task->is_waiting = false;
	task->outcome = outcome;
	task->message = message;
	if (task->task == HA_TASK_REWIND && outcome == HA_TASK_IMPOSSIBLE)
		sim.node[node].data.rewind_failed_of = task->source + 1;
	else if ((task->task == HA_TASK_REWIND || task->task == HA_TASK_START_STANDBY) && outcome == HA_TASK_OK)
		sim.node[node].data.rewind_failed_of = 0;
	sim_note(node, "task", (uint64_t) task->task, (uint64_t) outcome);
	sim_trace(node, "task \"%s\" ends: %s%s%s", ha_task_name(task->task),
			  outcome == HA_TASK_OK ? "done" : outcome == HA_TASK_FAILED ? "failed" :
			  outcome == HA_TASK_IMPOSSIBLE ? "impossible" : "cancelled",
			  message != NULL ? ": " : "", message != NULL ? message : "");
	if (sim.node[node].kind == SIM_PATRONI)
		sim_later(sim_between(50, 1000), deliver, node, task->serial, NULL);
	else
		sim_later_in(node, SIM_SUPERVISOR, sim_between(50, 1000), deliver, task->serial, NULL);
}

static bool
is_running(int node, int64_t serial)
{
	const SimTask *task = &sim.node[node].task;

	return task->task != HA_TASK_NONE && !task->is_over && task->serial == (uint32_t) serial;
}

/* A child is paused only with its whole host. */
static void
run_step(int node, int64_t serial, void *owned)
{
	const SimNode *self = &sim.node[node];

	if (!is_running(node, serial))
		return;
	if (self->process[SIM_SUPERVISOR].n_pauses > 0 && self->process[SIM_SERVER].n_pauses > 0 &&
		self->process[SIM_WORKER].n_pauses > 0)
		sim_later(HOST_POLL_US, run_step, node, serial, NULL);
	else
		self->task.next(node, serial, owned);
}

static void
step_in(int node, int64_t delay_us, SimEvent step)
{
	sim.node[node].task.next = step;
	sim_later(delay_us, run_step, node, sim.node[node].task.serial, NULL);
}

/* The next piece of work of the child, after so long on the disk. */
static void
work_later(int node, int64_t low_us, int64_t high_us, SimEvent step)
{
	int64_t		delay_us = sim_disk_us(node, sim_between(low_us, high_us));

	step_in(node, delay_us, step);
}

/* --- initdb, base backup --- */

static void
end_initdb(int node, int64_t serial, void *owned)
{
	SimNode    *self = &sim.node[node];

	(void) owned;
	if (!is_running(node, serial))
		return;
	if (self->data.state != HA_DATA_EMPTY)
		finish(node, HA_TASK_IMPOSSIBLE, "data directory is not empty");
	else if (self->task.must_fail || self->disk_is_full)
		finish(node, HA_TASK_FAILED, "initdb failed");
	else
	{
		sim_data_make_cluster(node);
		finish(node, HA_TASK_OK, NULL);
	}
}

/* Is the source still the server it was at the beginning? */
static bool
source_stays(int node)
{
	const SimTask *task = &sim.node[node].task;

	return sim_server_answers(node, task->source) &&
		sim.node[task->source].process[SIM_SERVER].incarnation == task->source_incarnation;
}

static void
end_basebackup(int node, int64_t serial, void *owned)
{
	SimNode    *self = &sim.node[node];
	SimData    *data = &self->data;
	const SimData *from;
	const SimHistoryFile *file;

	(void) owned;
	if (!is_running(node, serial))
		return;
	if (self->task.must_fail || self->disk_is_full || !source_stays(node) ||
		data->state != HA_DATA_EMPTY)
	{
		finish(node, HA_TASK_FAILED, "pg_basebackup failed");
		return;
	}
	from = &sim.node[self->task.source].data;
	if (!sim.node[self->task.source].server.is_in_recovery &&
		from->checkpoint_timeline != sim.node[self->task.source].server.timeline)
	{
		/* a copy of a primary begins with a checkpoint of its own */
		sim_server_checkpoint(self->task.source);
		work_later(node, SIM_MS(50), SIM_MS(500), end_basebackup);
		return;
	}
	sim_data_clear(node);
	data->state = HA_DATA_PRESENT;
	data->system_identifier = from->system_identifier;
	data->control_state = from->control_state;
	data->end = from->end;
	data->written_lsn = from->end.lsn;
	data->checkpoint = from->checkpoint;
	data->checkpoint_redo = from->checkpoint_redo;
	data->checkpoint_timeline = from->checkpoint_timeline;
	data->minimum_recovery = from->end;
	data->is_standby_configured = true;
	data->is_fresh_copy = true;
	data->is_broken = from->is_broken;
	file = sim_history_find(from, sim_timeline_of(from->end));
	if (file != NULL)
		sim_history_add(data, file->timeline, file->parent, file->lsn, file->is_placed);
	sim_server_follow(node, self->task.source, self->task.slot);
	finish(node, HA_TASK_OK, NULL);
}

static void
begin_basebackup(int node, int64_t serial, void *owned)
{
	SimTask    *task = &sim.node[node].task;

	(void) owned;
	if (!is_running(node, serial))
		return;
	if (sim.node[node].data.state != HA_DATA_EMPTY)
		finish(node, HA_TASK_FAILED, "data directory is not empty");
	else if (!sim_server_answers(node, task->source))
		finish(node, HA_TASK_FAILED, "could not connect to the source of the copy");
	else
	{
		task->source_incarnation = sim.node[task->source].process[SIM_SERVER].incarnation;
		sim_server_checkpoint(task->source);
		work_later(node, SIM_MS(100), SIM_MS(5000), end_basebackup);
	}
}

/* --- start and stop --- */

static void
begin_start(int node, int64_t serial, void *owned)
{
	SimNode    *self = &sim.node[node];
	SimTask    *task = &self->task;
	bool		is_standby = task->task == HA_TASK_START_STANDBY;

	(void) owned;
	if (!is_running(node, serial))
		return;
	if (self->server.state == HA_SERVER_STOPPED)
	{
		if (self->data.is_rewinding)
		{
			finish(node, HA_TASK_IMPOSSIBLE, "an interrupted pg_rewind left the data directory unusable");
			return;
		}
		if (task->must_fail || self->data.state != HA_DATA_PRESENT)
		{
			finish(node, HA_TASK_FAILED, "server exited right at its start");
			return;
		}
		self->data.is_former_primary = is_standby && task->is_former_primary;
		self->data.former_timeline = self->data.is_former_primary ? task->timeline : 0;
		if (is_standby && self->kind == SIM_OURS)
		{
			sim_history_remove_unused(&self->data);
			sim_history_bridge(&self->data);
		}
		if (is_standby)
			sim_server_follow(node, task->source, task->source >= 0 ? task->slot : "");
		task->is_waiting = true;
		sim_server_start(node, is_standby);
		return;
	}
	task->is_waiting = true;
	sim_task_server_changed(node);
}

static void
escalate(int node, int64_t serial, void *owned)
{
	SimTask    *task = &sim.node[node].task;

	(void) owned;
	if (!is_running(node, serial) || !task->is_waiting)
		return;
	if (task->harshness == 0 && sim.node[node].data.control_state == HA_CONTROL_SHUTDOWNING)
	{
		sim_later_in(node, SIM_SUPERVISOR, SIM_MS(1000), escalate, serial, NULL);
		return;					/* the checkpoint goes on, that is progress */
	}
	if (++task->harshness >= 2)
		sim_server_kill(node);
	else
	{
		sim_server_stop(node, HA_STOP_IMMEDIATE);
		sim_later_in(node, SIM_SUPERVISOR, IMMEDIATE_LIMIT_US, escalate, serial, NULL);
	}
}

static void
begin_stop(int node)
{
	SimTask    *task = &sim.node[node].task;

	task->is_waiting = true;
	if (sim.node[node].server.state == HA_SERVER_STOPPED)
	{
		sim_task_server_changed(node);
		return;
	}
	task->harshness = task->stop_mode == HA_STOP_IMMEDIATE ? 1 : 0;
	sim_server_stop(node, task->stop_mode);
	if (sim.node[node].kind == SIM_PATRONI)
		sim_later(STOP_LIMIT_US, escalate, node, task->serial, NULL);
	else
		sim_later_in(node, SIM_SUPERVISOR, task->harshness == 0 ? STOP_LIMIT_US : IMMEDIATE_LIMIT_US,
					 escalate, task->serial, NULL);
}

/* By server.c: does the task wait for that? */
void
sim_task_server_changed(int node)
{
	SimNode    *self = &sim.node[node];
	SimTask    *task = &self->task;

	if (task->task == HA_TASK_NONE || task->is_over || !task->is_waiting)
		return;
	if (task->task == HA_TASK_STOP)
	{
		if (self->server.state != HA_SERVER_STOPPED)
			return;
		if (self->data.control_state == HA_CONTROL_SHUTDOWNED ||
			self->data.control_state == HA_CONTROL_SHUTDOWNED_IN_RECOVERY)
			task->lsn = self->data.checkpoint.lsn + MODEL_CHECKPOINT_SIZE;
		finish(node, HA_TASK_OK, NULL);
	}
	else if (self->server.state == HA_SERVER_RUNNING)
		finish(node, HA_TASK_OK, NULL);
	else if (self->server.state == HA_SERVER_STOPPED)
		finish(node, HA_TASK_FAILED, "server ended while it was starting");
}

static void
end_post_bootstrap(int node, int64_t serial, void *owned)
{
	SimNode    *self = &sim.node[node];

	(void) owned;
	if (!is_running(node, serial))
		return;
	if (self->task.must_fail || self->disk_is_full || self->server.state != HA_SERVER_RUNNING ||
		self->server.is_in_recovery || self->process[SIM_SERVER].n_pauses > 0)
	{
		finish(node, HA_TASK_FAILED, "could not connect to the new server");
		return;
	}
	sim_server_insert(node, 4000);
	sim_server_flush(node);
	finish(node, HA_TASK_OK, NULL);
}

/* --- divergence and rewind --- */

/* As look_at_self() and ask_leader(); the leader answers. */
static void
find_divergence(int node, DivergenceResult *result)
{
	const SimNode *self = &sim.node[node];
	const SimData *data = &self->data;
	const SimNode *leader = &sim.node[self->task.source];
	DivergenceFacts facts;

	memset(&facts, 0, sizeof(facts));
	facts.local_system_identifier = data->system_identifier;
	facts.local_timeline = data->checkpoint_timeline;
	facts.local_lsn = data->checkpoint.lsn;
	switch (data->control_state)
	{
		case HA_CONTROL_SHUTDOWNED:
			facts.local_wal = LOCAL_WAL_SHUT_DOWN;
			facts.local_checkpoint_end = data->checkpoint.lsn + MODEL_CHECKPOINT_SIZE;
			break;
		case HA_CONTROL_SHUTDOWNED_IN_RECOVERY:
		case HA_CONTROL_IN_ARCHIVE_RECOVERY:
			facts.local_wal = data->minimum_recovery.lsn != 0 ? LOCAL_WAL_IN_RECOVERY :
				data->control_state == HA_CONTROL_SHUTDOWNED_IN_RECOVERY ? LOCAL_WAL_SHUT_DOWN :
				LOCAL_WAL_CRASHED;
			break;
		case HA_CONTROL_IN_PRODUCTION:
			facts.local_wal = data->is_fresh_copy && data->is_standby_configured &&
				!data->is_former_primary ? LOCAL_WAL_COPY : LOCAL_WAL_CRASHED;
			break;
		case HA_CONTROL_SHUTDOWNING:
		case HA_CONTROL_IN_CRASH_RECOVERY:
			facts.local_wal = LOCAL_WAL_CRASHED;
			break;
		default:
			facts.local_wal = LOCAL_WAL_UNKNOWN;
	}
	if (facts.local_wal == LOCAL_WAL_IN_RECOVERY)
	{
		facts.local_lsn = data->minimum_recovery.lsn;
		facts.local_timeline = sim_timeline_of(data->minimum_recovery);
		if (self->server.state == HA_SERVER_RUNNING && self->process[SIM_SERVER].n_pauses == 0)
		{
			facts.local_lsn = sim.node[node].task.lsn = data->end.lsn;
			if (self->task.timeline > facts.local_timeline)
				facts.local_timeline = self->task.timeline;
		}
		if (data->checkpoint_timeline == facts.local_timeline)
			facts.local_checkpoint = data->checkpoint.lsn;
	}
	if (facts.local_wal == LOCAL_WAL_SHUT_DOWN)
		sim.node[node].task.lsn = facts.local_checkpoint_end;
	if (facts.local_wal == LOCAL_WAL_CRASHED)
		facts.local_timeline = sim_newest_after(data, facts.local_timeline);
	facts.local_history = local_lines;
	facts.n_local_history = sim_history_list(data, facts.local_timeline, local_lines, HISTORY_LINES_MAX);
	facts.has_local_history = facts.local_timeline <= 1 || facts.n_local_history > 0;

	facts.leader_system_identifier = leader->data.system_identifier;
	facts.leader_is_in_recovery = leader->server.is_in_recovery;
	facts.leader_timeline = leader->server.timeline;
	facts.leader_lsn = leader->server.is_in_recovery ? leader->server.replayed_lsn :
		leader->data.end.lsn;
	facts.leader_history = leader_lines;
	facts.n_leader_history = sim_history_list(&leader->data, facts.leader_timeline,
											  leader_lines, HISTORY_LINES_MAX);
	divergence_decide(&facts, result);
}

/* As the supervisor's; Patroni's members try in any case. */
static bool
rewind_can_be_repeated(int node, int leader)
{
	return sim.node[node].kind != SIM_OURS ||
		sim.node[node].data.rewind_timeline == sim.node[leader].server.timeline;
}

static void
end_check_divergence(int node, int64_t serial, void *owned)
{
	SimNode    *self = &sim.node[node];
	DivergenceResult result;

	(void) owned;
	if (!is_running(node, serial))
		return;
	if (self->task.must_fail || self->data.state != HA_DATA_PRESENT ||
		!sim_server_answers(node, self->task.source))
	{
		finish(node, HA_TASK_FAILED, "could not connect to leader");
		return;
	}
	if (self->data.is_rewinding)
	{
		bool		can_repeat = rewind_can_be_repeated(node, self->task.source);

		self->task.divergence = can_repeat ? HA_DIVERGENCE_REWIND : HA_DIVERGENCE_CLONE;
		finish(node, HA_TASK_OK, can_repeat ? "an interrupted pg_rewind has to be repeated" :
			   "pg_rewind was interrupted when the leader was on another timeline");
		return;
	}
	find_divergence(node, &result);
	self->task.divergence = result.divergence == HA_DIVERGENCE_REWIND && !result.pg_rewind_can_help ?
		HA_DIVERGENCE_CLONE : result.divergence;
	finish(node, result.is_other_cluster ? HA_TASK_IMPOSSIBLE : HA_TASK_OK, NULL);
}

static void
end_pg_rewind(int node, int64_t serial, void *owned)
{
	SimNode    *self = &sim.node[node];
	SimData    *data = &self->data;
	const SimData *from;

	(void) owned;
	if (!is_running(node, serial))
		return;
	if (self->task.must_fail || self->disk_is_full || !source_stays(node))
	{
		/* the mark stays; a leader that is well means that it fails again */
		finish(node, source_stays(node) ? HA_TASK_IMPOSSIBLE : HA_TASK_FAILED, "pg_rewind failed");
		return;
	}
	from = &sim.node[self->task.source].data;
	data->end = from->end;
	data->written_lsn = from->end.lsn;
	data->checkpoint = from->checkpoint;
	data->checkpoint_redo = from->checkpoint_redo;
	data->checkpoint_timeline = from->checkpoint_timeline;
	data->minimum_recovery = from->end;
	data->control_state = HA_CONTROL_IN_ARCHIVE_RECOVERY;
	memcpy(data->history, from->history, sizeof(SimHistoryFile) * (size_t) from->n_history);
	data->n_history = from->n_history;
	data->is_broken = data->is_broken || from->is_broken;
	data->is_rewinding = false;
	data->is_standby_configured = true;
	sim_server_follow(node, self->task.source, self->task.slot);
	finish(node, HA_TASK_OK, NULL);
}

/*
 * As findCommonAncestorTimeline() of pg_rewind, which sees ids and history
 * files only.  What differs before that place stays different.
 */
static void
check_ancestor(int node, int source)
{
	const SimNode *self = &sim.node[node];
	const SimNode *leader = &sim.node[source];
	uint32_t	own = self->data.checkpoint_timeline;
	uint32_t	theirs = leader->data.checkpoint_timeline;
	int			n_local = sim_history_list(&self->data, own, local_lines, HISTORY_LINES_MAX - 1);
	int			n_leader = sim_history_list(&leader->data, theirs, leader_lines, HISTORY_LINES_MAX - 1);
	Lsn			ancestor = 0;
	SimPosition common = sim_wal_common(self->data.end, leader->data.end);

	local_lines[n_local].timeline = own;
	leader_lines[n_leader].timeline = theirs;
	local_lines[n_local].switch_lsn = leader_lines[n_leader].switch_lsn = UINT64_MAX;
	for (int i = 0; i <= n_local && i <= n_leader; i++)
	{
		if (local_lines[i].timeline != leader_lines[i].timeline ||
			(i > 0 && local_lines[i - 1].switch_lsn != leader_lines[i - 1].switch_lsn))
			break;
		ancestor = local_lines[i].switch_lsn < leader_lines[i].switch_lsn ?
			local_lines[i].switch_lsn : leader_lines[i].switch_lsn;
	}
	if (common.branch >= 0 && common.lsn < ancestor && common.lsn < self->data.end.lsn &&
		common.lsn < leader->data.end.lsn && !sim_check_looks_the_same(node, source))
		sim_fail("S6 %s is rewound to %llX, its WAL differs from %s's from %llX on", self->name,
				 (unsigned long long) ancestor, leader->name, (unsigned long long) common.lsn);
}

static void
begin_rewind(int node, int64_t serial, void *owned)
{
	SimNode    *self = &sim.node[node];
	SimData    *data = &self->data;
	SimTask    *task = &self->task;
	const SimNode *leader;
	DivergenceResult result;

	(void) owned;
	if (!is_running(node, serial))
		return;
	if (data->state != HA_DATA_PRESENT)
	{
		finish(node, HA_TASK_IMPOSSIBLE, "there is no control file");
		return;
	}
	if (!sim_server_answers(node, task->source))
	{
		finish(node, HA_TASK_FAILED, "could not connect to leader");
		return;
	}
	leader = &sim.node[task->source];
	if (leader->server.is_in_recovery)
	{
		finish(node, HA_TASK_FAILED, "leader is still in recovery");
		return;
	}
	if (leader->data.checkpoint_timeline != leader->server.timeline)
	{
		finish(node, HA_TASK_FAILED, "leader has not yet done its checkpoint after promotion");
		return;
	}
	if (data->is_rewinding && !rewind_can_be_repeated(node, task->source))
	{
		finish(node, HA_TASK_IMPOSSIBLE, "pg_rewind was interrupted when the leader was on another timeline");
		return;
	}
	if (!data->is_rewinding && data->control_state != HA_CONTROL_SHUTDOWNED &&
		data->control_state != HA_CONTROL_SHUTDOWNED_IN_RECOVERY)
	{
		if (data->is_broken || self->disk_is_full)
		{
			finish(node, HA_TASK_IMPOSSIBLE, "crash recovery in single user mode failed");
			return;
		}
		sim_data_crash_recovery(node);
		work_later(node, SIM_MS(100), SIM_MS(1500), begin_rewind);
		return;
	}
	find_divergence(node, &result);
	if (result.is_other_cluster)
		finish(node, HA_TASK_IMPOSSIBLE, "the leader is of another cluster");
	else if (!data->is_rewinding && result.divergence == HA_DIVERGENCE_REWIND && !result.pg_rewind_can_help)
		finish(node, HA_TASK_IMPOSSIBLE, "pg_rewind cannot help on the same timeline");
	else if (!data->is_rewinding && result.divergence == HA_DIVERGENCE_REWIND &&
			 data->checkpoint_timeline == leader->data.checkpoint_timeline)
		/* it looks at no more of pg_control, also when this one is behind */
		finish(node, HA_TASK_IMPOSSIBLE, "pg_rewind found nothing to do");
	else if (!data->is_rewinding && result.divergence == HA_DIVERGENCE_REWIND &&
			 self->kind == SIM_OURS && data->control_state != HA_CONTROL_SHUTDOWNED &&
			 sim_timeline_of(data->minimum_recovery) > data->checkpoint_timeline)
		/*
		 * It looks for the WAL up to there on the checkpoint's timeline, and
		 * stops.  A member of Patroni's would wait for a person then.
		 */
		finish(node, HA_TASK_IMPOSSIBLE, "pg_rewind could not read the WAL");
	else if (!data->is_rewinding && result.divergence == HA_DIVERGENCE_UNKNOWN)
		finish(node, HA_TASK_FAILED, "the divergence is not known");
	else if (data->is_rewinding || result.divergence == HA_DIVERGENCE_REWIND)
	{
		sim_check_destroy(node, sim_wal_common(data->end, leader->data.end));
		if (!data->is_rewinding && self->kind == SIM_OURS)
			check_ancestor(node, task->source);
		data->is_rewinding = true;
		data->rewind_timeline = leader->server.timeline;
		task->source_incarnation = leader->process[SIM_SERVER].incarnation;
		work_later(node, SIM_MS(200), SIM_MS(4000), end_pg_rewind);
	}
	else
	{
		data->is_standby_configured = true;
		sim_server_follow(node, task->source, task->slot);
		finish(node, HA_TASK_OK, NULL);
	}
}

/* --- recovery by hand, the end of the WAL, files --- */

static void
end_crash_recovery(int node, int64_t serial, void *owned)
{
	SimNode    *self = &sim.node[node];

	(void) owned;
	if (!is_running(node, serial))
		return;
	if (self->task.must_fail || self->disk_is_full || self->data.is_broken ||
		self->data.is_rewinding || self->data.state != HA_DATA_PRESENT)
	{
		finish(node, HA_TASK_FAILED, "crash recovery in single user mode failed");
		return;
	}
	sim_data_crash_recovery(node);
	finish(node, HA_TASK_OK, NULL);
}

static void
end_wal_end(int node, int64_t serial, void *owned)
{
	SimNode    *self = &sim.node[node];

	(void) owned;
	if (!is_running(node, serial))
		return;
	if (self->data.state != HA_DATA_PRESENT)
		finish(node, HA_TASK_IMPOSSIBLE, "there is no control file");
	else if (self->task.must_fail || self->data.is_broken)
		finish(node, HA_TASK_FAILED, "pg_waldump did not say where the WAL ends");
	else
	{
		self->task.lsn = self->data.written_lsn > self->data.end.lsn ?
			self->data.written_lsn : self->data.end.lsn;
		finish(node, HA_TASK_OK, NULL);
	}
}

static void
end_files(int node, int64_t serial, void *owned)
{
	SimNode    *self = &sim.node[node];
	SimPosition nothing = {.branch = self->data.end.branch, .lsn = 0};

	(void) owned;
	if (!is_running(node, serial))
		return;
	if (self->task.must_fail)
	{
		finish(node, HA_TASK_FAILED, "could not remove or rename files");
		return;
	}
	if (self->task.task == HA_TASK_REMOVE_DATA && self->kind == SIM_OURS && self->task.source >= 0)
	{
		/* as work_files() */
		if (!sim_server_answers(node, self->task.source))
		{
			finish(node, HA_TASK_FAILED, "could not connect to leader");
			return;
		}
		if (sim.node[self->task.source].server.is_in_recovery)
		{
			finish(node, HA_TASK_FAILED, "leader is still in recovery");
			return;
		}
	}
	if (self->task.task == HA_TASK_REMOVE_DATA && self->data.state != HA_DATA_EMPTY)
		sim_check_destroy(node, nothing);
	sim_data_clear(node);
	finish(node, HA_TASK_OK, NULL);
}

/* --- asked for --- */

static bool
needs_no_server(HaTask task)
{
	return task != HA_TASK_STOP && task != HA_TASK_POST_BOOTSTRAP &&
		task != HA_TASK_CHECK_DIVERGENCE && task != HA_TASK_START_PRIMARY &&
		task != HA_TASK_START_STANDBY;
}

static void
take_slot(SimNode *self, const HaAction *action)
{
	const Host *host = self->host[HA_HOME_SUPERVISOR];
	size_t		length;

	memset(self->task.slot, 0, sizeof(self->task.slot));
	if (self->task.source < 0)
		return;
	if (action->slot[0] != '\0')
		memcpy(self->task.slot, action->slot, sizeof(self->task.slot) - 1);
	else if (host != NULL && host_settings(host) != NULL && host_settings(host)->use_slots)
	{
		length = strlen(self->name);
		memcpy(self->task.slot, self->name, length);
	}
}

/* HA_START_TASK.  The end comes through sim_task_done(). */
void
sim_task_start(int node, const HaAction *action)
{
	SimNode    *self = &sim.node[node];
	SimTask    *task = &self->task;
	uint32_t	serial = task->serial + 1;

	if (task->task != HA_TASK_NONE)
	{
		sim_fail("bug in the simulator or the engine: %s starts task \"%s\" while \"%s\" runs",
				 self->name, ha_task_name(action->task), ha_task_name(task->task));
		return;
	}
	memset(task, 0, sizeof(*task));
	task->serial = serial;
	task->task = action->task;
	task->id = action->task_id;
	task->source = action->member[0] != '\0' ? sim_node_of(action->member) : -1;
	task->stop_mode = action->stop_mode;
	task->timeline = action->timeline;
	task->is_former_primary = action->is_former_primary;
	task->must_fail = sim_chance(self->task_failure);
	task->divergence = HA_DIVERGENCE_UNKNOWN;
	take_slot(self, action);
	sim_trace(node, "task \"%s\" begins%s%s", ha_task_name(task->task),
			  task->source >= 0 ? ", of " : "", task->source >= 0 ? sim.node[task->source].name : "");
	if (needs_no_server(task->task) && self->server.state != HA_SERVER_STOPPED)
	{
		finish(node, HA_TASK_FAILED, "the server is running");
		return;
	}
	switch (task->task)
	{
		case HA_TASK_INITDB:
			work_later(node, SIM_MS(300), SIM_MS(2000), end_initdb);
			break;
		case HA_TASK_BASEBACKUP:
			work_later(node, SIM_MS(20), SIM_MS(60), begin_basebackup);
			break;
		case HA_TASK_START_PRIMARY:
		case HA_TASK_START_STANDBY:
			work_later(node, SIM_MS(2), SIM_MS(15), begin_start);
			break;
		case HA_TASK_STOP:
			begin_stop(node);
			break;
		case HA_TASK_POST_BOOTSTRAP:
			work_later(node, SIM_MS(50), SIM_MS(400), end_post_bootstrap);
			break;
		case HA_TASK_CHECK_DIVERGENCE:
			if (task->source >= 0 && sim_server_answers(node, task->source))
				work_later(node, SIM_MS(5), SIM_MS(80), end_check_divergence);
			else
				step_in(node, sim_between(SIM_MS(5), CONNECT_LIMIT_US), end_check_divergence);
			break;
		case HA_TASK_REWIND:
			work_later(node, SIM_MS(10), SIM_MS(80), begin_rewind);
			break;
		case HA_TASK_CRASH_RECOVERY:
			work_later(node, SIM_MS(100), SIM_MS(1500), end_crash_recovery);
			break;
		case HA_TASK_WAL_END:
			work_later(node, SIM_MS(20), SIM_MS(200), end_wal_end);
			break;
		case HA_TASK_REMOVE_DATA:
		case HA_TASK_MOVE_DATA_ASIDE:
			work_later(node, SIM_MS(10), SIM_MS(300), end_files);
			break;
		case HA_TASK_NONE:
			break;
	}
}

/* HA_CANCEL_TASK.  The server is left alone. */
void
sim_task_cancel(int node)
{
	SimTask    *task = &sim.node[node].task;

	if (task->task == HA_TASK_CRASH_RECOVERY && sim_chance(500))
		return;					/* it was over just before the signal came */
	if ((task->task == HA_TASK_START_PRIMARY || task->task == HA_TASK_START_STANDBY) &&
		!task->is_waiting && !task->is_over && sim_chance(500))
		begin_start(node, task->serial, NULL);	/* on its way to become the postmaster */
	finish(node, HA_TASK_CANCELLED, "cancelled");
}

/* HA_TASK_NONE: none. */
HaTask
sim_task_running(int node)
{
	return sim.node[node].task.task;
}

/* Its supervisor died, and the child with it; what is half done stays so. */
void
sim_task_forget(int node)
{
	sim.node[node].task.task = HA_TASK_NONE;
	sim.node[node].task.is_over = false;
	sim.node[node].task.serial++;
}
