/*-------------------------------------------------------------------------
 *
 * act.c
 *      Carries out what the engine wants of the server, in either home:
 *      src/worker/act.c and src/supervisor/act.c.
 *
 * The worker's host only records; the turn carries out what was recorded, and
 * asks the lease page again before each action.  A promotion takes a moment
 * between the decision and the signal in which the process can be paused or
 * killed, and the baton can be lost.
 *
 * What is simplified: callbacks and the server's configuration files.
 *-------------------------------------------------------------------------
 */
#include "sim/home.h"

#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

/* The node that a connection URL leads to: "postgres://node2:5432/..."; -1: nobody. */
static int
node_of_member(const HaAction *action)
{
	const char *at = strstr(action->url, "://");
	char		name[CLUSTER_NAME_MAX];
	size_t		length;

	if (at == NULL)
		return -1;
	at += strlen("://");
	length = strcspn(at, ":/");
	if (length == 0 || length >= sizeof(name))
		return -1;
	memcpy(name, at, length);
	name[length] = '\0';
	return sim_node_of(name);
}

static void
promote_now(int node, int64_t number, void *owned)
{
	(void) number;
	(void) owned;
	sim_server_promote(node);
}

static void
promote(SimHome *home)
{
	const SimServer *server = &sim.node[home->node].server;

	if (home->home == HA_HOME_WORKER)
	{
		if (!server->is_in_recovery)
			return;
		home->observer.promoting_until_ms = clock_now_ms() + PROMOTION_WATCH_MS;
	}
	else if (home->postmaster == 0)
		return;
	sim_later_in(home->node, sim_home_process(home->home), sim_between(20, 500), promote_now, 0,
				 NULL);
}

static void
place_history(int node, const HaAction *action)
{
	SimData    *data = &sim.node[node].data;

	if (data->state != HA_DATA_PRESENT || sim.node[node].disk_is_full ||
		action->timeline <= action->parent || action->parent == 0)
		return;
	for (int i = 0; i < data->n_history; i++)
	{
		if (data->history[i].timeline == action->timeline)
			return;				/* whatever it says */
	}
	sim_history_add(data, action->timeline, action->parent, action->lsn, true);
}

static void
create_slot(int node, const char *name)
{
	SimServer  *server = &sim.node[node].server;

	for (int i = 0; i < server->n_slots; i++)
	{
		if (strcmp(server->slots[i], name) == 0)
			return;
	}
	if (server->n_slots == (int) (sizeof(server->slots) / sizeof(server->slots[0])))
	{
		sim_fail("bug in the simulator: too many replication slots");
		return;
	}
	memset(server->slots[server->n_slots], 0, sizeof(server->slots[0]));
	snprintf(server->slots[server->n_slots], sizeof(server->slots[0]), "%s", name);
	server->slot_moved_to[server->n_slots] = 0;
	server->n_slots++;
}

static void
advance_slot(int node, const char *name, Lsn lsn)
{
	SimServer  *server = &sim.node[node].server;

	for (int i = 0; i < server->n_slots; i++)
	{
		if (strcmp(server->slots[i], name) == 0)
			server->slot_moved_to[i] = lsn;
	}
}

static void
drop_slot(int node, const char *name)
{
	SimServer  *server = &sim.node[node].server;

	for (int k = 0; k < SIM_NODES_MAX; k++)
	{
		char		slot[64];

		if (sim.node[k].name[0] == '\0' || (server->receivers & (1u << k)) == 0)
			continue;
		member_slot_name(sim.node[k].name, slot);
		if (strcmp(slot, name) == 0)
			return;				/* it is active */
	}
	for (int i = 0; i < server->n_slots; i++)
	{
		if (strcmp(server->slots[i], name) != 0)
			continue;
		memmove(server->slots[i], server->slots[i + 1],
				(size_t) (server->n_slots - i - 1) * sizeof(server->slots[0]));
		memmove(&server->slot_moved_to[i], &server->slot_moved_to[i + 1],
				(size_t) (server->n_slots - i - 1) * sizeof(server->slot_moved_to[0]));
		server->n_slots--;
		return;
	}
}

static void
carry_out_in_worker(SimHome *worker, const HaAction *action)
{
	int			node = worker->node;

	switch (action->kind)
	{
		case HA_YIELD:
			worker_give_baton(worker, action->because);
			break;
		case HA_CHECKPOINT:
			sim_server_checkpoint(node);
			worker->observer.checkpoint_until_ms = clock_now_ms() + CHECKPOINT_WATCH_MS;
			worker->observer.checkpoint_before = worker->observer.now.checkpoint_redo;
			break;
		case HA_CREATE_SLOT:
			create_slot(node, action->slot);
			break;
		case HA_DROP_SLOT:
			drop_slot(node, action->slot);
			break;
		case HA_ADVANCE_SLOT:
			advance_slot(node, action->slot, action->lsn);
			break;
		case HA_RESUME_REPLAY:
			if (sim.node[node].server.is_in_recovery)
			{
				sim.node[node].server.is_replay_paused = false;
				sim_server_changed(node);
			}
			break;
		case HA_RELOAD:
			worker_send_reload(worker);
			worker->observer.files_are_stale = true;
			break;
		case HA_SET_SYNC_NAMES:
			sim_sync_set(node, action->text);
			worker->observer.must_look = true;
			break;
		case HA_CALLBACK:
			break;
		default:
			sim_fail("S8: action %d cannot be carried out inside the server (%s)",
					 (int) action->kind, action->rule == NULL ? "" : action->rule);
			break;
	}
}

static void
carry_out_in_supervisor(SimHome *supervisor, const HaAction *action)
{
	switch (action->kind)
	{
		case HA_START_TASK:
			sim_task_start(supervisor->node, action);
			break;
		case HA_CANCEL_TASK:
			sim_task_cancel(supervisor->node);
			break;
		case HA_EXIT:
			supervisor->is_over = true;
			supervisor->exit_code = action->exit_code;
			break;
		default:
			break;				/* left to the worker, or not modelled */
	}
}

static void
carry_out(SimHome *home, const HaAction *action)
{
	int			node = home->node;

	sim_note(node, action->rule == NULL ? "" : action->rule, (uint64_t) action->kind,
			 ((uint64_t) action->task << 32) | action->timeline);
	sim_trace(node, "%s: action %d%s%s %s (%s)%s%s", home_name(home->home), (int) action->kind,
			  action->kind == HA_START_TASK ? " task " : "",
			  action->kind == HA_START_TASK ? ha_task_name(action->task) : "",
			  action->because, action->rule == NULL ? "" : action->rule,
			  action->member[0] != '\0' ? " member " : "", action->member);
	if (action->kind == HA_ANSWER)
	{
		if ((action->command_id & CHANNEL_CALL_BIT) != 0)
			consent_answered(home, action);
		else
			sim_check_command(node, action->command_id, true);
		return;
	}
	/* the worker tells of what it did also when it has lost the baton since */
	if (action->kind == HA_CALLBACK && home->home == HA_HOME_WORKER)
		return;
	sim_check_act(node, home->home, action);
	switch (action->kind)
	{
		case HA_PROMOTE:
			promote(home);
			break;
		case HA_PLACE_HISTORY:
			place_history(node, action);
			home->observer.files_are_stale = true;
			break;
		case HA_FOLLOW:
			sim_server_follow(node, node_of_member(action), action->slot);
			home->observer.files_are_stale = true;
			break;
		default:
			if (home->home == HA_HOME_WORKER)
				carry_out_in_worker(home, action);
			else
				carry_out_in_supervisor(home, action);
			break;
	}
}

static void
record_free(HaAction *action)
{
	free(action->text);
	free(action);
}

/* HostOps.act: the supervisor carries out at once, the worker in its turn. */
void
sim_act(void *context, const HaAction *action)
{
	SimHome    *home = context;
	HaAction   *copy;

	if (home->home == HA_HOME_SUPERVISOR)
	{
		carry_out(home, action);
		return;
	}
	if (home->n_records == HOME_RECORDS_MAX)
	{
		sim_fail("the worker loses actions: too many wait");
		return;
	}
	copy = malloc(sizeof(*copy));
	if (copy == NULL)
		abort();
	*copy = *action;
	copy->text = action->text == NULL ? NULL : strdup(action->text);
	home->record[home->n_records++] = copy;
}

/* The worker's turn: carry out what was recorded.  True: there was something. */
bool
act_run_records(SimHome *worker)
{
	bool		did_act = false;

	for (int i = 0; i < worker->n_records; i++)
	{
		HaAction   *action = worker->record[i];

		if (!worker->must_close &&
			(action->kind == HA_ANSWER || action->kind == HA_CALLBACK ||
			 worker_holds_baton(worker)))
		{
			did_act = true;
			carry_out(worker, action);
		}
		record_free(action);
	}
	worker->n_records = 0;
	return did_act;
}

/* The process died with them. */
void
act_free_records(SimHome *worker)
{
	for (int i = 0; i < worker->n_records; i++)
		record_free(worker->record[i]);
	worker->n_records = 0;
}
