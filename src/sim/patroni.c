/*-------------------------------------------------------------------------
 *
 * patroni.c
 *      A model of a Patroni member: an agent outside the server.  Comments
 *      name the functions of patroni/ha.py.
 *
 * It runs in the process SIM_SUPERVISOR, a turn each loop_wait, and sooner
 * when the leader key changes.  It has no fence: a frozen agent lets its
 * primary go on, which is what Patroni's watchdog is for.
 *
 * What is simplified: a turn is one moment (its requests take no time, but
 * need a working way to the store), synchronous mode and slots are left out,
 * it never bootstraps a cluster, and a crashed primary is started as a
 * standby and promoted again rather than recovered in single-user mode.
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/home.h"
#include "sim/trouble.h"

#define WATCH_US		SIM_MS(200)		/* how soon it hears of the leader key */
#define STREAM_LOST_US	SIM_MS(5000)	/* then it asks whether it has to be rewound */

typedef struct Patroni
{
	int64_t		next_turn_us;
	int64_t		silent_since_us;	/* the store; 0 it answers */
	int64_t		lost_stream_us; /* 0: it streams */
	uint64_t	leader_version; /* as of the last turn */
	bool		is_releasing;	/* stops in order to give the key away */
	bool		is_task_running;
} Patroni;

static Patroni patroni[SIM_NODES_MAX];


static bool
store_answers(int node)
{
	return !sim.store_faults.is_down && !sim.store_faults.is_frozen &&
		sim_is_connected(node, SIM_STORE);
}

static void
session_of(int node, char session[24])
{
	snprintf(session, 24, "patroni%d-%u", node, (unsigned) sim.node[node].process[SIM_SUPERVISOR].incarnation);
}

static Lsn
position_of(const SimNode *node)
{
	if (node->server.state == HA_SERVER_RUNNING && !node->server.is_in_recovery)
		return node->server.insert.lsn;
	return node->data.end.lsn;
}

static uint32_t
timeline_of(const SimNode *node)
{
	return node->server.state == HA_SERVER_RUNNING ? node->server.timeline
		: sim_timeline_of(node->data.end);
}

static bool
is_primary(const SimNode *node)
{
	return node->server.state == HA_SERVER_RUNNING && !node->server.is_in_recovery;
}

/* The member key, as Patroni 3 writes it. */
static void
publish(int number, const char *session)
{
	SimNode    *node = &sim.node[number];
	char		key[160];
	Member		member;
	char	   *text;

	member_init(&member);
	snprintf(member.name, sizeof(member.name), "%s", node->name);
	snprintf(member.conn_url, sizeof(member.conn_url), "postgres://%s:5432/postgres", node->name);
	snprintf(member.api_url, sizeof(member.api_url), "http://%s:8008/patroni", node->name);
	snprintf(member.agent_version, sizeof(member.agent_version), "3.0.2");
	switch (node->server.state)
	{
		case HA_SERVER_RUNNING:
			member.state = MEMBER_RUNNING;
			break;
		case HA_SERVER_STARTING:
			member.state = MEMBER_STARTING;
			break;
		case HA_SERVER_STOPPING:
			member.state = MEMBER_STOPPING;
			break;
		default:
			member.state = node->data.state == HA_DATA_PRESENT ? MEMBER_STOPPED : MEMBER_CREATING_REPLICA;
			break;
	}
	member.role = is_primary(node) ? ROLE_PRIMARY : ROLE_REPLICA;
	member.xlog_location = position_of(node);
	member.timeline = node->data.state == HA_DATA_PRESENT ? timeline_of(node) : 0;
	text = member_to_text(&member);
	member_free(&member);
	if (text == NULL)
		abort();
	snprintf(key, sizeof(key), "members/%s", node->name);
	sim_store_put(key, text, session);
	free(text);
}

static void
load_view(ClusterView *view)
{
	static const char *const keys[] = {"leader", "failover", "status", "history", "initialize", "config"};

	cluster_view_init(view);
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
	{
		const SimKey *key = sim_store_find(keys[i]);

		if (key != NULL && key->value != NULL)
			cluster_view_apply(view, &(ClusterKey) {.name = keys[i], .value = key->value,
							   .session = key->session, .version = key->version});
	}
}

static void
start_task(int number, HaTask task, const char *member)
{
	HaAction	action;

	memset(&action, 0, sizeof(action));
	action.kind = HA_START_TASK;
	action.rule = "patroni";
	action.task = task;
	action.task_id = 1;
	snprintf(action.member, sizeof(action.member), "%s", member);
	snprintf(action.url, sizeof(action.url), "postgres://%s:5432/postgres", member);
	patroni[number].is_task_running = true;
	sim_trace(number, "Patroni: %s from \"%s\"", ha_task_name(task), member);
	sim_task_start(number, &action);
}

/* By tasks.c: a task of a Patroni member is over; the next turn looks at what is there. */
void
sim_patroni_task_done(int node, HaTask task, HaTaskOutcome outcome)
{
	patroni[node].is_task_running = false;
	sim_trace(node, "Patroni: %s is over, outcome %d", ha_task_name(task), (int) outcome);
}

/* What it answers to GET /patroni: no word about whether it reaches the store. */
static void
status_of(int number, HaPeer *peer)
{
	const SimNode *node = &sim.node[number];

	memset(peer, 0, sizeof(*peer));
	peer->is_reachable = node->host_is_up && node->process[SIM_SUPERVISOR].is_alive &&
		node->process[SIM_SUPERVISOR].n_pauses == 0;
	peer->is_in_recovery = !is_primary(node);
	peer->can_lead = true;
	peer->nofailover = sim.profile.nofailover == number;
	peer->failover_priority = peer->nofailover ? 0 : 1;
	peer->timeline = timeline_of(node);
	peer->position = node->data.state == HA_DATA_PRESENT ? position_of(node) : 0;
	peer->state = node->server.state == HA_SERVER_RUNNING ? MEMBER_RUNNING : MEMBER_STOPPED;
}

/* What a Patroni member answers to GET /patroni; false: it is silent. */
bool
sim_patroni_status(int node, HaPeer *peer)
{
	status_of(node, peer);
	return peer->is_reachable;
}

static bool
ask(int from, int to, HaPeer *peer)
{
	if (!sim.node[to].is_member || !sim_is_connected(from, to))
		return false;
	if (sim.node[to].kind == SIM_PATRONI)
		status_of(to, peer);
	else
		sim_peer_status(to, peer);
	return peer->is_reachable;
}

static void
clear_request(void)
{
	sim_store_put("failover", "{}", "");
}

/* is_healthiest_node(): may it race for the key? */
static bool
is_healthiest(int number, const ClusterView *view)
{
	const SimNode *node = &sim.node[number];
	Lsn			own = position_of(node);
	const char *candidate = view->failover.exists ? view->failover.candidate : "";
	bool		is_named = strcmp(candidate, node->name) == 0;
	HaPeer		peer;

	if (sim.profile.nofailover == number)
		return false;
	if (candidate[0] != '\0' && !is_named)
	{
		int			other = sim_node_of(candidate);

		if (other >= 0 && ask(number, other, &peer) && !peer.nofailover)
			return false;
	}
	if (!is_named && view->status.optime > own &&
		(int64_t) (view->status.optime - own) > sim.profile.maximum_lag)
		return false;
	if (timeline_of(node) < cluster_timeline(view))
		return false;
	for (int n = 0; n < sim.n_nodes; n++)
	{
		if (n == number || !ask(number, n, &peer) || peer.nofailover)
			continue;
		if (!peer.is_in_recovery)
			return false;
		if (!is_named && peer.position > own)
			return false;
	}
	return true;
}

/* update_cluster_history(): the line of the last fork, when it is not there yet. */
static void
write_history(int number, const ClusterView *view)
{
	const SimData *data = &sim.node[number].data;
	uint32_t	timeline = sim.node[number].server.timeline;
	TimelineHistory lines[64];
	int			n_lines = 0;
	char	   *text;

	if (cluster_timeline(view) >= timeline)
		return;
	memset(lines, 0, sizeof(lines));
	for (int i = 0; i < data->n_history && n_lines < 64; i++)
	{
		TimelineHistory *line = &lines[n_lines];

		if (data->history[i].is_placed || data->history[i].timeline > timeline)
			continue;
		line->timeline = data->history[i].parent;
		line->switch_lsn = data->history[i].lsn;
		snprintf(line->reason, sizeof(line->reason), "no recovery target specified");
		n_lines++;
	}
	text = history_to_text(lines, n_lines);
	if (text != NULL && n_lines > 0)
		sim_store_put("history", text, "");
	free(text);
}

/* process_manual_failover_from_leader(): the leader's way with a request. */
static void
handle_request(int number, const ClusterView *view)
{
	const FailoverRequest *request = &view->failover;
	const char *name = sim.node[number].name;
	HaPeer		peer;

	if (!request->exists || (request->is_scheduled && sim_wall_ms() < request->scheduled_at_ms))
		return;
	if ((request->leader[0] != '\0' && strcmp(request->leader, name) != 0) ||
		strcmp(request->candidate, name) == 0)
	{
		clear_request();
		return;
	}
	for (int n = 0; n < sim.n_nodes; n++)
	{
		if (n == number || (request->candidate[0] != '\0' && strcmp(request->candidate, sim.node[n].name) != 0))
			continue;
		if (!ask(number, n, &peer) || peer.nofailover || !peer.is_in_recovery ||
			peer.state != MEMBER_RUNNING || peer.timeline != sim.node[number].server.timeline ||
			peer.position + (Lsn) sim.profile.maximum_lag < position_of(&sim.node[number]))
			continue;
		sim_trace(number, "Patroni: stops for a switchover to \"%s\"", request->candidate);
		patroni[number].is_releasing = true;
		sim_server_stop(number, HA_STOP_FAST);
		return;
	}
	clear_request();
}

/* It has the key. */
static void
lead(int number, const ClusterView *view, const char *session)
{
	SimNode    *node = &sim.node[number];
	char		status[64];

	(void) session;
	if (node->server.state != HA_SERVER_RUNNING)
		return;
	if (node->server.is_in_recovery)
	{
		sim_trace(number, "Patroni: promotes");
		sim_server_promote(number);
		return;
	}
	snprintf(status, sizeof(status), "{\"optime\":%llu}", (unsigned long long) position_of(node));
	sim_store_put("status", status, "");
	write_history(number, view);
	handle_request(number, view);
}

/* Nobody leads. */
static void
race(int number, const ClusterView *view, const char *session)
{
	SimNode    *node = &sim.node[number];

	if (node->server.state != HA_SERVER_RUNNING || !view->has_initialize || view->system_identifier[0] == '\0')
		return;
	if (is_primary(node))
	{
		if (node->server.timeline < cluster_timeline(view))
			return;
	}
	else if (sim_config_is_paused() || !is_healthiest(number, view))
		return;
	if (!sim_store_cas("leader", node->name, session, 0))
		return;
	sim_trace(number, "Patroni: acquired the leader key");
	if (view->failover.exists)
		clear_request();
	if (!is_primary(node))
		sim_server_promote(number);
}

/* Another one leads. */
static void
follow(int number, int leader)
{
	SimNode    *node = &sim.node[number];
	Patroni    *own = &patroni[number];
	bool		is_reachable = sim_is_connected(number, leader) && is_primary(&sim.node[leader]);
	char		slot[64];

	if (is_primary(node))
	{
		if (!sim_config_is_paused())
		{
			sim_trace(number, "Patroni: demotes, another member leads");
			sim_server_stop(number, HA_STOP_FAST);
		}
		return;
	}
	if (node->server.is_streaming && node->server.stream_from == leader)
	{
		own->lost_stream_us = 0;
		return;
	}
	if (node->data.upstream != leader)
	{
		member_slot_name(node->name, slot);
		sim_server_follow(number, leader, slot);
	}
	if (own->lost_stream_us == 0)
		own->lost_stream_us = sim.now_us;
	if (is_reachable && sim.now_us - own->lost_stream_us > STREAM_LOST_US && !sim_config_is_paused() &&
		!sim_wal_contains(sim.node[leader].server.insert, node->data.end))
	{
		sim_trace(number, "Patroni: stops, it has to be rewound");
		sim_server_stop(number, HA_STOP_FAST);
	}
}

/* The server does not run. */
static void
bring_up(int number, int leader)
{
	SimNode    *node = &sim.node[number];
	bool		is_reachable = leader >= 0 && leader != number && sim_is_connected(number, leader) &&
		is_primary(&sim.node[leader]);
	char		slot[64];

	patroni[number].lost_stream_us = 0;
	if (sim_config_is_paused())
		return;
	if (node->data.state == HA_DATA_EMPTY || node->data.state == HA_DATA_UNREADABLE ||
		(node->data.is_broken && sim.profile.may_remove_data))
	{
		if (is_reachable && node->data.state != HA_DATA_EMPTY)
			start_task(number, HA_TASK_REMOVE_DATA, sim.node[leader].name);
		else if (is_reachable)
			start_task(number, HA_TASK_BASEBACKUP, sim.node[leader].name);
		return;
	}
	if (node->data.state != HA_DATA_PRESENT)
		return;
	if (is_reachable && !sim_wal_contains(sim.node[leader].server.insert, node->data.end))
	{
		if (sim.profile.use_pg_rewind && node->data.control_state != HA_CONTROL_SHUTDOWNED &&
			node->data.control_state != HA_CONTROL_SHUTDOWNED_IN_RECOVERY)
			start_task(number, HA_TASK_CRASH_RECOVERY, "");
		else if (sim.profile.use_pg_rewind &&
				 (node->data.rewind_failed_of != leader + 1 || !sim.profile.may_remove_data))
			start_task(number, HA_TASK_REWIND, sim.node[leader].name);
		else if (sim.profile.may_remove_data)
			start_task(number, HA_TASK_REMOVE_DATA, sim.node[leader].name);
		return;
	}
	member_slot_name(node->name, slot);
	sim_server_follow(number, leader == number ? -1 : leader, slot);
	sim_server_start(number, true);
}

/* _handle_dcs_error(): a primary that cannot reach the store demotes itself. */
static void
store_is_silent(int number)
{
	Patroni    *own = &patroni[number];

	if (own->silent_since_us == 0)
		own->silent_since_us = sim.now_us;
	if (sim.now_us - own->silent_since_us < SIM_MS(sim.profile.retry_timeout_ms))
		return;
	if (is_primary(&sim.node[number]) && !sim_config_is_paused())
	{
		sim_trace(number, "Patroni: demotes, the store does not answer");
		sim_server_stop(number, HA_STOP_FAST);
	}
}

/* One turn of its loop. */
static void
turn(int number)
{
	SimNode    *node = &sim.node[number];
	Patroni    *own = &patroni[number];
	ClusterView view;
	char		session[24];
	int			leader;

	if (!store_answers(number))
	{
		store_is_silent(number);
		return;
	}
	own->silent_since_us = 0;
	session_of(number, session);
	sim_store_grant(session, SIM_MS(sim.profile.ttl_ms));
	publish(number, session);
	load_view(&view);
	leader = sim_store_leader();
	if (leader == number && strcmp(view.leader_session, session) != 0)
	{
		/* the key of the agent before: the new one takes it over with its own lease */
		sim_store_cas("leader", node->name, session, view.leader_version);
	}
	if (own->is_releasing && node->server.state == HA_SERVER_STOPPED)
	{
		own->is_releasing = false;
		if (leader == number)
		{
			sim_trace(number, "Patroni: releases the leader key");
			cluster_view_free(&view);
			load_view(&view);
			sim_store_cas("leader", NULL, session, view.leader_version);
		}
	}
	else if (own->is_task_running || node->server.state == HA_SERVER_STARTING ||
			 node->server.state == HA_SERVER_STOPPING)
		;						/* the key was kept by the grant */
	else if (node->server.state != HA_SERVER_RUNNING)
		bring_up(number, leader);
	else if (leader == number)
		lead(number, &view, session);
	else if (leader >= 0)
		follow(number, leader);
	else
		race(number, &view, session);
	cluster_view_free(&view);
}

static uint64_t
leader_version(void)
{
	const SimKey *key = sim_store_find("leader");

	return key != NULL ? key->version : 0;
}

/* Its watch ends, or its loop is due. */
static void
turn_is_due(int number, int64_t unused, void *owned)
{
	Patroni    *own = &patroni[number];
	int			before = sim.current_node;

	(void) unused;
	(void) owned;
	if (sim.node[number].kind != SIM_PATRONI)
		return;
	if (sim.now_us >= own->next_turn_us || own->is_releasing || own->silent_since_us != 0 ||
		(store_answers(number) && leader_version() != own->leader_version))
	{
		own->next_turn_us = sim.now_us + SIM_MS(sim.profile.loop_wait_ms);
		sim.current_node = number;
		turn(number);
		sim.current_node = before;
		own->leader_version = leader_version();
	}
	sim_later_in(number, SIM_SUPERVISOR, WATCH_US, turn_is_due, 0, NULL);
}

/* The agent starts, whatever the server does. */
void
sim_patroni_start(int node)
{
	memset(&patroni[node], 0, sizeof(patroni[node]));
	sim_later_in(node, SIM_SUPERVISOR, SIM_MS(50), turn_is_due, 0, NULL);
}
