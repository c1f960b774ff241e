/*-------------------------------------------------------------------------
 *
 * operators.c
 *      People: what they command, change, add, remove, and do by hand.
 *
 * Every command has an id of its own; check.c waits for its answer (L2).
 * People make mistakes: they name members that do not exist, and ask for
 * things that make no sense now.
 *
 * What is simplified: a person talks to a node directly (no network between),
 * and what REST and SQL check before they hand a command on is not modelled:
 * the engine has to refuse it.
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/trouble.h"

#define PAUSE_TRY_US	SIM_MS(500)

static uint64_t last_id;

/* Nobody has commanded anything yet. */
void
sim_operators_reset(void)
{
	last_id = 0;
}

/* A member's name, sometimes one that nobody has. */
static void
draw_name(char name[CLUSTER_NAME_MAX], int some_wrong)
{
	int			node = sim_some_node();

	if (sim_chance(some_wrong) || node < 0)
		snprintf(name, CLUSTER_NAME_MAX, "nobody");
	else
		snprintf(name, CLUSTER_NAME_MAX, "%s", sim.node[node].name);
}

static void
prepare(HaCommand *command, HaCommandKind kind)
{
	memset(command, 0, sizeof(*command));
	command->id = ++last_id;
	command->kind = kind;
	command->wait = sim_chance(500);
	command->timeout_ms = sim_between(1000, 20000);
	snprintf(command->reason, sizeof(command->reason), "the simulator wants it");
}

/* Give it, and expect an answer.  False: it could not be given. */
static bool
give(int node, const HaCommand *command)
{
	bool		is_given;

	sim_check_command(node, command->id, false);
	sim_check_may_move();
	is_given = sim_command(node, command);
	if (!is_given)
		sim_check_command(node, command->id, true);
	sim_trace(node, "OPERATOR command %llu kind %d candidate \"%s\" member \"%s\"%s",
			  (unsigned long long) command->id, (int) command->kind, command->candidate,
			  command->member, is_given ? "" : ": could not be given");
	sim_note(node, "command", command->id, (uint64_t) command->kind);
	return is_given;
}

/* A Patroni member gets a request in the key that every member reads. */
static void
write_request(const HaCommand *command)
{
	const SimKey *key = sim_store_find("failover");
	FailoverRequest request;
	char	   *text;

	memset(&request, 0, sizeof(request));
	if (key != NULL && key->value != NULL)
		failover_from_text(&request, key->value);
	if (request.exists)
		return;
	memset(&request, 0, sizeof(request));
	request.exists = true;
	if (command->kind == HA_COMMAND_SWITCHOVER)
	{
		int			leader = sim_store_leader();

		if (leader < 0)
			return;
		snprintf(request.leader, sizeof(request.leader), "%s", sim.node[leader].name);
	}
	snprintf(request.candidate, sizeof(request.candidate), "%s", command->candidate);
	text = failover_to_text(&request);
	sim_store_put("failover", text, "");
	free(text);
}

static void
strike_move(SimFault fault, int node)
{
	HaCommand	command;

	prepare(&command, fault == SIM_FAULT_FAILOVER ? HA_COMMAND_FAILOVER : HA_COMMAND_SWITCHOVER);
	if (fault == SIM_FAULT_FAILOVER || sim_chance(500))
		draw_name(command.candidate, 50);
	if (fault != SIM_FAULT_FAILOVER && sim_chance(300))
	{
		int			leader = sim_store_leader();

		if (leader >= 0 && sim_chance(800))
			snprintf(command.leader, sizeof(command.leader), "%s", sim.node[leader].name);
		else
			draw_name(command.leader, 100);
	}
	if (fault == SIM_FAULT_SCHEDULED_SWITCHOVER)
	{
		command.is_scheduled = true;
		command.scheduled_at_ms = sim_wall_ms() + sim_between(-500, 10000);
	}
	if (sim.profile.n_patroni > 0 && !command.is_scheduled && sim_chance(500))
		write_request(&command);
	else
		give(node, &command);
}

static void
strike_member(SimFault fault, int node)
{
	HaCommand	command;

	if (fault == SIM_FAULT_RELOAD)
		prepare(&command, HA_COMMAND_RELOAD);
	else if (fault == SIM_FAULT_RESTART)
		prepare(&command, HA_COMMAND_RESTART);
	else
		prepare(&command, HA_COMMAND_REINITIALIZE);
	/* often by way of another member */
	if (sim_chance(400))
		draw_name(command.member, 30);
	if (fault == SIM_FAULT_RESTART && sim_chance(200))
		snprintf(command.role, sizeof(command.role), "%s", sim_chance(500) ? "primary" : "replica");
	if (fault == SIM_FAULT_RESTART)
		command.only_pending = sim_chance(100);
	if (fault == SIM_FAULT_REINITIALIZE)
	{
		command.force = sim_chance(300);
		command.from_leader = sim_chance(300);
		for (int i = 0; i < sim.n_nodes; i++)
			if (command.member[0] == '\0' ? i == node : strcmp(command.member, sim.node[i].name) == 0)
				sim.node[i].may_be_cloned = true;
	}
	give(node, &command);
}

static void
change_config(int node)
{
	char		patch[128];
	int64_t		ttl_s;
	int64_t		loop_wait_s;

	if (sim.profile.failsafe_mode && sim_chance(500))
	{
		snprintf(patch, sizeof(patch), "{\"failsafe_mode\": %s}", sim_chance(650) ? "true" : "false");
		sim_trace(node, "OPERATOR changes the configuration: %s", patch);
		sim_edit_config(node, patch);
		return;
	}
	switch (sim_pick(4))
	{
		case 0:
			ttl_s = sim.profile.n_patroni > 0 ? 20 + sim_pick(10) : sim_between(2, 30);
			snprintf(patch, sizeof(patch), "{\"ttl\": %lld}", (long long) ttl_s);
			sim_check_ttl(ttl_s * 1000, sim.profile.loop_wait_ms);
			break;
		case 1:
			loop_wait_s = sim_between(1, 10);
			snprintf(patch, sizeof(patch), "{\"loop_wait\": %lld}", (long long) loop_wait_s);
			sim_check_ttl(sim.profile.ttl_ms, loop_wait_s * 1000);
			break;
		case 2:
			snprintf(patch, sizeof(patch), "{\"maximum_lag_on_failover\": %lld}",
					 (long long) sim.profile.maximum_lag);
			break;
		default:
			snprintf(patch, sizeof(patch), "{\"primary_start_timeout\": %d}", sim_pick(60));
			break;
	}
	sim_trace(node, "OPERATOR changes the configuration: %s", patch);
	sim_edit_config(node, patch);
}

/* Pause for a while. */
static void
resume_later(int unused, int64_t number, void *owned)
{
	int			node = sim_some_live_node();

	(void) unused;
	(void) number;
	(void) owned;
	if (sim.is_faulty && node >= 0 && sim_config_is_paused())
	{
		sim_trace(node, "OPERATOR ends the pause");
		sim_edit_config(node, "{\"pause\": null}");
	}
}

static void
pause_cluster(int node)
{
	int64_t		duration_us = sim_between(SIM_MS(200), 3 * SIM_MS(sim.profile.ttl_ms));

	sim_trace(node, "OPERATOR pauses the cluster");
	sim_edit_config(node, "{\"pause\": true}");
	sim_later(duration_us, resume_later, -1, 0, NULL);
}

static void
end_pause_again(int unused, int64_t tries, void *owned)
{
	int			node;

	(void) unused;
	(void) owned;
	if (sim_config_is_paused())
	{
		node = sim_some_live_node();
		if (node >= 0)
			sim_edit_config(node, "{\"pause\": null}");
	}
	/* one that was under way may still come */
	if (tries > 0)
		sim_later(PAUSE_TRY_US, end_pause_again, -1, tries - 1, NULL);
}

/* In peace: until the store's configuration shows no pause. */
void
sim_operators_end_pause(int tries)
{
	end_pause_again(-1, tries, NULL);
}

static void
add_node(void)
{
	for (int n = 0; n < SIM_NODES_MAX; n++)
	{
		if (sim.node[n].is_member || sim.node[n].kind != SIM_OURS)
			continue;
		sim_trace(n, "OPERATOR adds the node");
		sim_node_add(n);
		return;
	}
}

/* People take away what is not the leader, and keep a copy of everything. */
static void
remove_node(int node)
{
	int			n_copies = 0;

	for (int n = 0; n < sim.n_nodes; n++)
		if (n != node && sim.node[n].is_member && sim.node[n].host_is_up &&
			!sim.node[n].data.is_broken && sim.node[n].data.state == HA_DATA_PRESENT &&
			sim_wal_contains(sim.node[n].data.end, sim.node[node].data.end))
			n_copies++;
	if (n_copies == 0 || node == sim_store_leader() || sim.node[node].kind != SIM_OURS)
		return;
	sim_trace(node, "OPERATOR removes the node for good");
	sim_node_remove(node);
}

static void
start_supervisor_again(int node, int64_t number, void *owned)
{
	SimNode    *target = &sim.node[node];

	(void) number;
	(void) owned;
	if (!target->is_member || target->supervisor_wanted)
		return;
	target->supervisor_wanted = true;
	if (!target->process[SIM_SUPERVISOR].is_alive && target->host_is_up)
		sim_supervisor_start(node);
}

/* systemctl stop: it stops the server too, in order, and is started again later. */
static void
stop_supervisor(int node)
{
	HaCommand	command;
	int64_t		delay_us = sim_between(SIM_MS(500), 2 * SIM_MS(sim.profile.ttl_ms));

	prepare(&command, HA_COMMAND_SHUTDOWN);
	command.wait = false;
	if (!give(node, &command))
		return;
	sim.node[node].supervisor_wanted = false;
	sim_later(delay_us, start_supervisor_again, node, 0, NULL);
}

/* Somebody deletes a key of the store, as one should not. */
void
sim_strike_key_deleted(void)
{
	char		name[160];
	int			node = sim_some_node();

	switch (sim_pick(5))
	{
		case 0:
			snprintf(name, sizeof(name), "leader");
			break;
		case 1:
			snprintf(name, sizeof(name), "failover");
			break;
		case 2:
			snprintf(name, sizeof(name), "sync");
			break;
		case 3:
			snprintf(name, sizeof(name), "members/%.100s", node >= 0 ? sim.node[node].name : "nobody");
			break;
		default:
			/* which lags, timelines and ids were known goes with these */
			snprintf(name, sizeof(name), sim_chance(500) ? "status" : "failover");
			break;
	}
	sim_trace(-1, "OPERATOR deletes the key \"%s\"", name);
	sim_check_operator_writes(true);
	sim_check_may_move();
	if (sim_store_find(name) != NULL)
		sim_store_put(name, NULL, "");
	sim_check_operator_writes(false);
}

/* A person does something. */
void
sim_operators_strike(SimFault fault)
{
	int			node = sim_some_live_node();

	if (fault == SIM_FAULT_ADD_NODE)
		add_node();
	else if (fault == SIM_FAULT_KEY_DELETED)
		sim_strike_key_deleted();
	else if (node < 0)
		return;
	else
	{
		switch (fault)
		{
			case SIM_FAULT_SWITCHOVER:
			case SIM_FAULT_FAILOVER:
			case SIM_FAULT_SCHEDULED_SWITCHOVER:
				strike_move(fault, node);
				break;
			case SIM_FAULT_RESTART:
			case SIM_FAULT_REINITIALIZE:
			case SIM_FAULT_RELOAD:
				strike_member(fault, node);
				break;
			case SIM_FAULT_PAUSE_CLUSTER:
				pause_cluster(node);
				break;
			case SIM_FAULT_CONFIG_CHANGE:
				change_config(node);
				break;
			case SIM_FAULT_REMOVE_NODE:
				remove_node(node);
				break;
			case SIM_FAULT_SUPERVISOR_STOP:
				stop_supervisor(node);
				break;
			default:
				break;
		}
	}
}
