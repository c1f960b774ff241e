/*-------------------------------------------------------------------------
 *
 * test_cluster.c
 *      Three engines, a store and three servers in virtual time.
 *
 * A small world, just faithful enough to see whole stories end well:
 * bootstrap, switchover, the death of a primary, restart, pause, an outage of
 * the store.  Everything takes a few virtual milliseconds; leases run out.
 * After each event the fences are looked at: two open ones fail the test.
 *
 *-------------------------------------------------------------------------
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ha/ha.h"

#define NODES		3
#define KEYS		64
#define EVENTS		512
#define LATE		64
#define WALL_MS		INT64_C(1700000000000)	/* when "now" was 0 */
#define SYSID		UINT64_C(7277694203142172922)

typedef struct Key
{
	char		name[160];
	char	   *value;
	int			owner;			/* node whose lease it has; -1 = permanent */
	uint64_t	version;
} Key;

typedef struct Node
{
	char		name[32];
	HaNode	   *home[2];
	int			driving;		/* HaHome */
	bool		is_dead;		/* whole node */
	bool		is_cut;			/* off from the store, not from the others */
	bool		worker_may_drive;
	bool		cannot_mark;	/* its disk is full: no history file can be placed */
	HaPostgres	postgres;
	HaSettings	settings;
	int64_t		fence_ms;
	int64_t		wake_ms;
	int64_t		lease_ms;		/* store's expiry; 0 = no lease */
	bool		exited;
	char		answer[600];
	bool		answer_ok;
} Node;

typedef struct Event
{
	int64_t		at_ms;
	int			node;
	HaInput		input;
	HaPeer		peer;
	char		message[64];
} Event;

typedef struct Late
{
	int64_t		at_ms;			/* 0 = free */
	int			node;
	uint64_t	leader_version;
	HaAction	action;
} Late;

static Late late[LATE];
static Node nodes[NODES];
static Key keys[KEYS];
static Event events[EVENTS];
static int	n_events;
static int64_t now;
static uint64_t revision;
static bool store_is_down;
static Lsn	end_of_wal;
static bool is_traced;
static uint64_t chaos;			/* 0: nothing gets lost; else the state of the dice */

static void run_actions(int n, HaActions *actions);

static void
step(int n, HaInput *input)
{
	HaActions	actions;

	if (nodes[n].is_dead || nodes[n].exited)
		return;
	ha_actions_init(&actions);
	input->wall_ms = WALL_MS + now;
	ha_step(nodes[n].home[nodes[n].driving], now, input, &actions);
	assert_false(actions.is_incomplete);
	run_actions(n, &actions);
	ha_actions_free(&actions);
}

static void
later(int n, int64_t delay_ms, const HaInput *input, const HaPeer *peer)
{
	Event	   *event = &events[n_events];

	assert_true(n_events < EVENTS);
	n_events++;
	event->at_ms = now + delay_ms;
	event->node = n;
	event->input = *input;
	if (peer)
		event->peer = *peer;
}

static void
tell_postgres(int n)
{
	HaInput		input = {.kind = HA_INPUT_POSTGRES};

	later(n, 1, &input, NULL);
}

/* One of n, the same each time for the same seed. */
static unsigned
dice(unsigned n)
{
	chaos ^= chaos << 13;
	chaos ^= chaos >> 7;
	chaos ^= chaos << 17;
	return (unsigned) ((chaos >> 11) % n);
}

/* --- the store --- */

static Key *
find_key(const char *name)
{
	for (int i = 0; i < KEYS; i++)
		if (keys[i].value && strcmp(keys[i].name, name) == 0)
			return &keys[i];
	return NULL;
}

static void
tell_view(void)
{
	HaInput		input = {.kind = HA_INPUT_CLUSTER};

	for (int n = 0; n < NODES; n++)
		if (!store_is_down)
			later(n, 1, &input, NULL);
}

static uint64_t
put_key(const char *name, const char *value, int owner)
{
	Key		   *key = find_key(name);

	for (int i = 0; key == NULL && i < KEYS; i++)
		if (keys[i].value == NULL)
			key = &keys[i];
	assert_non_null(key);
	snprintf(key->name, sizeof(key->name), "%s", name);
	free(key->value);
	key->value = strdup(value);
	key->owner = owner;
	key->version = ++revision;
	tell_view();
	return key->version;
}

static void
delete_key(const char *name)
{
	Key		   *key = find_key(name);

	if (key == NULL)
		return;
	free(key->value);
	key->value = NULL;
	revision++;
	tell_view();
}

static void
build_view(ClusterView *view)
{
	cluster_view_init(view);
	view->is_loaded = true;
	for (int i = 0; i < KEYS; i++)
	{
		char		session[8];
		ClusterKey	key = {keys[i].name, keys[i].value, session, keys[i].version};

		snprintf(session, sizeof(session), "%d", keys[i].owner + 1);
		if (keys[i].value)
			cluster_view_apply(view, &key);
	}
	view->revision = view->complete_revision = revision;
}

static void
expire_leases(void)
{
	if (store_is_down)
		return;
	for (int n = 0; n < NODES; n++)
	{
		if (nodes[n].lease_ms == 0 || now < nodes[n].lease_ms)
			continue;
		nodes[n].lease_ms = 0;
		for (int i = 0; i < KEYS; i++)
			if (keys[i].value && keys[i].owner == n)
				delete_key(keys[i].name);
	}
}

static void
reply(int n, const HaAction *action, HaOutcome outcome, bool session_lost, uint64_t version)
{
	HaInput		input = {.kind = HA_INPUT_REPLY};

	if (action->request_id == 0)
		return;					/* nobody waits any more */
	input.reply.id = action->request_id;
	input.reply.outcome = outcome;
	input.reply.session_lost = session_lost;
	input.reply.sent_at_ms = now;
	input.reply.version = version;
	if (chaos != 0 && dice(12) == 0)
	{
		/* done, but nobody hears of it */
		input.reply.outcome = HA_OUTCOME_UNKNOWN;
		input.reply.session_lost = false;
		input.reply.version = 0;
		later(n, 100 + dice(2900), &input, NULL);
		return;
	}
	if (chaos != 0)
	{
		later(n, outcome == HA_OUTCOME_UNKNOWN ? 100 + dice(2900) : 1 + dice(40), &input, NULL);
		return;
	}
	later(n, outcome == HA_OUTCOME_UNKNOWN ? 300 : 2, &input, NULL);
}

/* A request that the store will carry out later, when its sender waits no more. */
static void
delay(int n, const HaAction *action)
{
	Late	   *request = NULL;
	Key		   *leader = find_key("leader");

	for (int i = 0; i < LATE && request == NULL; i++)
		if (late[i].at_ms == 0)
			request = &late[i];
	if (request == NULL)
		return;
	request->at_ms = now + 1 + dice(3000);
	request->node = n;
	request->action = *action;
	request->action.request_id = 0;
	request->action.text = action->text ? strdup(action->text) : NULL;
	request->leader_version = leader ? leader->version : 0;
}

static void
act_on_store(int n, const HaAction *action)
{
	Node	   *node = &nodes[n];
	Key		   *leader = find_key("leader");
	Key		   *key;
	char		name[200];

	if (store_is_down || node->is_cut || (chaos != 0 && action->request_id != 0 && dice(16) == 0))
	{
		if (chaos != 0 && dice(2))
			delay(n, action);
		reply(n, action, HA_OUTCOME_UNKNOWN, false, 0);
		return;
	}
	switch (action->kind)
	{
		case HA_RENEW:
			if (node->lease_ms == 0 && action->value[0])
				reply(n, action, HA_OUTCOME_LOST_RACE, true, 0);
			else if (action->value[0] && (leader == NULL || strcmp(leader->value, node->name) != 0))
				reply(n, action, HA_OUTCOME_LOST_RACE, false, 0);
			else
			{
				node->lease_ms = now + node->settings.ttl_ms;
				reply(n, action, HA_OUTCOME_DONE, false, action->value[0] ? leader->version : 0);
			}
			break;
		case HA_ACQUIRE:
			if (leader != NULL)
				reply(n, action, HA_OUTCOME_LOST_RACE, false, 0);
			else
			{
				node->lease_ms = now + node->settings.ttl_ms;
				if (action->text != NULL)
					put_key("promotions", action->text, -1);
				reply(n, action, HA_OUTCOME_DONE, false, put_key("leader", node->name, n));
			}
			break;
		case HA_RELEASE:
			if (leader == NULL || strcmp(leader->value, node->name) != 0)
				reply(n, action, HA_OUTCOME_LOST_RACE, false, 0);
			else
			{
				delete_key("leader");
				reply(n, action, HA_OUTCOME_DONE, false, 0);
			}
			break;
		case HA_PUT_MEMBER:
			if (node->lease_ms == 0)
				node->lease_ms = now + node->settings.ttl_ms;
			snprintf(name, sizeof(name), "members/%s", node->name);
			reply(n, action, HA_OUTCOME_DONE, false, put_key(name, action->text, n));
			break;
		case HA_CREATE_KEY:
			if (find_key(action->key) != NULL)
				reply(n, action, HA_OUTCOME_LOST_RACE, false, 0);
			else
				reply(n, action, HA_OUTCOME_DONE, false, put_key(action->key, action->text, -1));
			break;
		case HA_PUT_KEY:
			key = find_key(action->key);
			if (action->version != 0 && (key == NULL || key->version != action->version))
				reply(n, action, HA_OUTCOME_LOST_RACE, false, 0);
			else
				reply(n, action, HA_OUTCOME_DONE, false, put_key(action->key, action->text, -1));
			break;
		default:
			delete_key(action->key);
			reply(n, action, HA_OUTCOME_DONE, false, 0);
			break;
	}
}

/* What was delayed happens; a release only to the key it was meant for. */
static void
act_late(void)
{
	for (int i = 0; i < LATE; i++)
	{
		Key		   *leader;

		if (late[i].at_ms == 0 || late[i].at_ms > now || store_is_down)
			continue;
		late[i].at_ms = 0;
		leader = find_key("leader");
		if (!nodes[late[i].node].is_cut &&
			(late[i].action.kind != HA_RELEASE ||
			 (leader != NULL && leader->version == late[i].leader_version)))
			act_on_store(late[i].node, &late[i].action);
		free(late[i].action.text);
		late[i].action.text = NULL;
	}
}

/* --- the servers --- */

static int
node_of(const char *name)
{
	for (int n = 0; n < NODES; n++)
		if (strcmp(nodes[n].name, name) == 0)
			return n;
	return -1;
}

static void
set_upstream(HaPostgres *postgres, const char *member)
{
	int			n = node_of(member);

	if (n < 0)
		return;
	snprintf(postgres->upstream_host, sizeof(postgres->upstream_host), "10.0.0.%d", n + 1);
	postgres->upstream_port = 5432;
	postgres->upstream_slot[0] = '\0';
	postgres->is_streaming = !nodes[n].is_dead;
	if (nodes[n].postgres.server == HA_SERVER_RUNNING && !nodes[n].postgres.is_in_recovery)
	{
		postgres->timeline = postgres->newest_timeline = nodes[n].postgres.timeline;
		memcpy(postgres->history, nodes[n].postgres.history, sizeof(postgres->history));
		postgres->n_history = nodes[n].postgres.n_history;
	}
}

static void
do_task(int n, const HaAction *action)
{
	HaPostgres *postgres = &nodes[n].postgres;
	HaInput		input = {.kind = HA_INPUT_TASK};

	input.task.task = action->task;
	input.task.id = action->task_id;
	input.task.outcome = HA_TASK_OK;
	switch (action->task)
	{
		case HA_TASK_INITDB:
		case HA_TASK_BASEBACKUP:
			postgres->data = HA_DATA_PRESENT;
			postgres->system_identifier = SYSID;
			postgres->control_state = action->task == HA_TASK_INITDB ? HA_CONTROL_SHUTDOWNED
				: HA_CONTROL_SHUTDOWNED_IN_RECOVERY;
			postgres->is_standby_configured = action->task == HA_TASK_BASEBACKUP;
			postgres->timeline = postgres->newest_timeline = 1;
			postgres->can_rewind = true;
			break;
		case HA_TASK_START_PRIMARY:
		case HA_TASK_START_STANDBY:
			postgres->server = HA_SERVER_RUNNING;
			postgres->is_observed = true;
			postgres->start_time_ms = WALL_MS + now;
			postgres->is_in_recovery = action->task == HA_TASK_START_STANDBY;
			postgres->is_standby_configured = postgres->is_in_recovery;
			postgres->control_state = postgres->is_in_recovery ? HA_CONTROL_IN_ARCHIVE_RECOVERY
				: HA_CONTROL_IN_PRODUCTION;
			postgres->upstream_host[0] = '\0';
			postgres->is_streaming = false;
			if (postgres->is_in_recovery)
				set_upstream(postgres, action->member);
			postgres->received_lsn = postgres->replayed_lsn = end_of_wal;
			postgres->flush_lsn = postgres->write_lsn = end_of_wal;
			break;
		case HA_TASK_STOP:
			postgres->control_state = action->stop_mode == HA_STOP_IMMEDIATE ?
				postgres->control_state : postgres->is_in_recovery ?
				HA_CONTROL_SHUTDOWNED_IN_RECOVERY : HA_CONTROL_SHUTDOWNED;
			if (!postgres->is_in_recovery && action->stop_mode == HA_STOP_FAST)
			{
				end_of_wal += 100;
				postgres->checkpoint_lsn = input.task.lsn = end_of_wal;
				postgres->checkpoint_timeline = postgres->timeline;
				for (int other = 0; other < NODES; other++)
					tell_postgres(other);
			}
			postgres->server = HA_SERVER_STOPPED;
			postgres->is_observed = false;
			break;
		case HA_TASK_CHECK_DIVERGENCE:
			input.task.divergence = HA_DIVERGENCE_NONE;
			break;
		case HA_TASK_CRASH_RECOVERY:
			postgres->control_state = HA_CONTROL_SHUTDOWNED;
			postgres->checkpoint_timeline = postgres->timeline;
			break;
		case HA_TASK_WAL_END:
			input.task.lsn = end_of_wal;
			break;
		default:
			break;
	}
	tell_postgres(n);
	later(n, 20, &input, NULL);
}

static void
ask(int n, const HaAction *action)
{
	int			other = node_of(action->member);
	HaInput		input = {.kind = HA_INPUT_PEER};
	HaPeer		peer;
	const HaPostgres *postgres = &nodes[other].postgres;

	memset(&peer, 0, sizeof(peer));
	snprintf(peer.name, sizeof(peer.name), "%s", action->member);
	peer.round = action->round;
	peer.can_lead = true;
	peer.failover_priority = 1;
	if (!nodes[other].is_dead && postgres->server == HA_SERVER_RUNNING)
	{
		peer.is_reachable = true;
		peer.is_in_recovery = postgres->is_in_recovery;
		peer.timeline = postgres->timeline;
		peer.position = end_of_wal;
		later(n, 3, &input, &peer);
	}
	else
		later(n, 300, &input, &peer);
}

static void
move_home(int n, int to, const char *saved)
{
	Node	   *node = &nodes[n];
	HaInput		input = {.kind = HA_INPUT_SETTINGS};

	node->driving = to;
	assert_true(ha_node_load(node->home[to], saved, now));
	input.settings = &node->settings;
	later(n, 1, &input, NULL);
	tell_postgres(n);
	input.kind = HA_INPUT_CLUSTER;
	later(n, 1, &input, NULL);
	input.kind = HA_INPUT_REACHABLE;
	input.reachable.is_reachable = !store_is_down && !node->is_cut;
	later(n, 0, &input, NULL);
}

static void
swap_home(int n, int to)
{
	char	   *saved = ha_node_save(nodes[n].home[nodes[n].driving]);

	move_home(n, to, saved);
	free(saved);
}

/* The worker dies: the supervisor begins from nothing. */
static void
take_over(int n)
{
	move_home(n, HA_HOME_SUPERVISOR, NULL);
}

static void
run_actions(int n, HaActions *actions)
{
	Node	   *node = &nodes[n];
	int			home = node->driving;

	for (int i = 0; i < actions->count && node->driving == home; i++)
	{
		HaAction   *action = &actions->items[i];

		if (is_traced && action->kind != HA_WAKE_AT)
			printf("%8lld %s%s kind %d rule %s: %s %s\n", (long long) now, node->name,
				   home == HA_HOME_WORKER ? "w" : "s", action->kind, action->rule, action->because,
				   action->kind == HA_START_TASK ? ha_task_name(action->task) : "");
		switch (action->kind)
		{
			case HA_RENEW:
			case HA_ACQUIRE:
			case HA_RELEASE:
			case HA_PUT_MEMBER:
			case HA_DELETE_MEMBER:
			case HA_CREATE_KEY:
			case HA_PUT_KEY:
			case HA_DELETE_KEY:
				act_on_store(n, action);
				break;
			case HA_ASK_PEER:
				ask(n, action);
				break;
			case HA_FENCE:
				node->fence_ms = action->deadline_ms;
				break;
			case HA_YIELD:
				swap_home(n, HA_HOME_SUPERVISOR);
				break;
			case HA_PROMOTE:
				node->postgres.is_in_recovery = false;
				node->postgres.is_standby_configured = false;
				if (node->postgres.n_history < 64)
				{
					TimelineHistory *entry = &node->postgres.history[node->postgres.n_history++];

					entry->timeline = node->postgres.timeline;
					entry->switch_lsn = end_of_wal;
				}
				node->postgres.timeline = action->timeline;
				node->postgres.newest_timeline = action->timeline;
				node->postgres.control_state = HA_CONTROL_IN_PRODUCTION;
				node->postgres.flush_lsn = node->postgres.write_lsn = end_of_wal;
				tell_postgres(n);
				break;
			case HA_PLACE_HISTORY:
				if (action->timeline > node->postgres.newest_timeline && !node->cannot_mark)
					node->postgres.newest_timeline = action->timeline;
				tell_postgres(n);
				break;
			case HA_CHECKPOINT:
				node->postgres.checkpoint_redo = node->postgres.flush_lsn;
				node->postgres.checkpoint_timeline = node->postgres.timeline;
				tell_postgres(n);
				break;
			case HA_FOLLOW:
				set_upstream(&node->postgres, action->member);
				tell_postgres(n);
				break;
			case HA_START_TASK:
				assert_int_equal(home, HA_HOME_SUPERVISOR);
				do_task(n, action);
				break;
			case HA_EXIT:
				node->exited = true;
				break;
			case HA_ANSWER:
				node->answer_ok = action->ok;
				snprintf(node->answer, sizeof(node->answer), "%s %s", action->text, action->detail);
				break;
			case HA_WAKE_AT:
				node->wake_ms = action->deadline_ms;
				break;
			default:
				break;
		}
	}
}

static bool
fence_is_open(const Node *node)
{
	return node->fence_ms == HA_DEADLINE_NEVER || now < node->fence_ms;
}

static int
leader_index(void)
{
	Key		   *leader = find_key("leader");

	return leader ? node_of(leader->value) : -1;
}

/* Let the world go on for a while. */
static void
run(int64_t duration_ms)
{
	int64_t		end = now + duration_ms;

	for (; now < end; now++)
	{
		int			n_open = 0;

		expire_leases();
		act_late();
		for (int n = 0; n < NODES; n++)
		{
			Node	   *node = &nodes[n];
			HaInput		input = {.kind = HA_INPUT_TICK};

			if (node->driving == HA_HOME_SUPERVISOR && node->worker_may_drive && !node->is_dead &&
				node->postgres.server == HA_SERVER_RUNNING &&
				!ha_wants_supervisor(node->home[HA_HOME_SUPERVISOR]))
				swap_home(n, HA_HOME_WORKER);
			if (now >= node->wake_ms)
				step(n, &input);
		}
		for (int i = 0; i < n_events; i++)
		{
			Event		event = events[i];
			ClusterView view;

			if (event.at_ms > now)
				continue;
			events[i--] = events[--n_events];
			if (event.input.kind == HA_INPUT_CLUSTER && (nodes[event.node].is_cut || store_is_down))
				continue;
			if (event.input.kind == HA_INPUT_REACHABLE)
				event.input.reachable.is_reachable = !store_is_down && !nodes[event.node].is_cut;
			if (event.input.kind == HA_INPUT_CLUSTER)
			{
				build_view(&view);
				event.input.view = &view;
				step(event.node, &event.input);
				cluster_view_free(&view);
				continue;
			}
			if (event.input.kind == HA_INPUT_POSTGRES)
			{
				HaPostgres *postgres = &nodes[event.node].postgres;

				if (postgres->is_in_recovery && postgres->is_streaming)
					postgres->received_lsn = postgres->replayed_lsn = end_of_wal;
				event.input.postgres = postgres;
			}
			if (event.input.kind == HA_INPUT_PEER)
				event.input.peer = &event.peer;
			if (event.input.kind == HA_INPUT_SETTINGS)
				event.input.settings = &nodes[event.node].settings;
			step(event.node, &event.input);
		}
		for (int n = 0; n < NODES; n++)
			if (!nodes[n].is_dead && fence_is_open(&nodes[n]) && !nodes[n].settings.is_paused &&
				nodes[n].postgres.server == HA_SERVER_RUNNING && !nodes[n].postgres.is_in_recovery)
				n_open++;
		assert_true(n_open <= 1);
	}
}

static void
set_reachable(bool is_reachable)
{
	HaInput		input = {.kind = HA_INPUT_REACHABLE};

	store_is_down = !is_reachable;
	input.reachable.is_reachable = is_reachable;
	for (int n = 0; n < NODES; n++)
		later(n, 1, &input, NULL);
	if (is_reachable)
	{
		/* a store that comes back gives every lease its full time again */
		for (int n = 0; n < NODES; n++)
			if (nodes[n].lease_ms != 0)
				nodes[n].lease_ms = now + nodes[n].settings.ttl_ms;
		tell_view();
	}
}

static int
setup(void **state)
{
	(void) state;
	now = 100000;
	revision = 10;
	n_events = 0;
	store_is_down = false;
	chaos = 0;
	end_of_wal = 0x3000000;
	is_traced = getenv("TRACE") != NULL;
	for (int i = 0; i < LATE; i++)
	{
		free(late[i].action.text);
		memset(&late[i], 0, sizeof(late[i]));
	}
	for (int i = 0; i < KEYS; i++)
	{
		free(keys[i].value);
		keys[i].value = NULL;
	}
	for (int n = 0; n < NODES; n++)
	{
		Node	   *node = &nodes[n];
		HaSettings *settings = &node->settings;
		HaInput		input = {.kind = HA_INPUT_SETTINGS};

		memset(node, 0, sizeof(*node));
		snprintf(node->name, sizeof(node->name), "node%d", n + 1);
		snprintf(settings->name, sizeof(settings->name), "node%d", n + 1);
		snprintf(settings->conn_url, sizeof(settings->conn_url), "postgres://10.0.0.%d:5432/postgres", n + 1);
		snprintf(settings->api_url, sizeof(settings->api_url), "http://10.0.0.%d:8008/patroni", n + 1);
		snprintf(settings->initial_config, sizeof(settings->initial_config), "{\"ttl\":10}");
		settings->ttl_ms = 10000;
		settings->loop_wait_ms = 5000;
		settings->retry_timeout_ms = 3000;
		settings->peer_timeout_ms = 300;
		settings->maximum_lag_on_failover = 1048576;
		settings->primary_start_timeout_ms = 300000;
		settings->may_bootstrap = true;
		settings->use_pg_rewind = true;
		settings->tags.failover_priority = 1;
		node->worker_may_drive = true;
		node->home[0] = ha_node_create(HA_HOME_SUPERVISOR);
		node->home[1] = ha_node_create(HA_HOME_WORKER);
		node->postgres.data = HA_DATA_EMPTY;
		node->postgres.server = HA_SERVER_STOPPED;
		input.settings = settings;
		later(n, n, &input, NULL);
		input.kind = HA_INPUT_POSTGRES;
		later(n, n + 1, &input, NULL);
		input.kind = HA_INPUT_CLUSTER;
		later(n, n + 2, &input, NULL);
	}
	run(20000);
	return 0;
}

static int
teardown(void **state)
{
	(void) state;
	for (int n = 0; n < NODES; n++)
	{
		ha_node_free(nodes[n].home[0]);
		ha_node_free(nodes[n].home[1]);
	}
	return 0;
}

static void
give(int n, const HaCommand *command)
{
	HaInput		input = {.kind = HA_INPUT_COMMAND};

	input.command = command;
	nodes[n].answer[0] = '\0';
	step(n, &input);
}

/* Tell node n to make the candidate the leader, and to say how it went. */
static void
switch_over(int n, int candidate)
{
	HaCommand	command = {.id = 7, .kind = HA_COMMAND_SWITCHOVER, .wait = true};

	snprintf(command.candidate, sizeof(command.candidate), "%s", nodes[candidate].name);
	give(n, &command);
}

static void
check_healthy(void)
{
	int			leader = leader_index();

	assert_true(leader >= 0);
	assert_false(nodes[leader].postgres.is_in_recovery);
	assert_int_equal(nodes[leader].postgres.server, HA_SERVER_RUNNING);
	assert_true(fence_is_open(&nodes[leader]));
	for (int n = 0; n < NODES; n++)
	{
		char		host[16];

		if (n == leader || nodes[n].is_dead)
			continue;
		snprintf(host, sizeof(host), "10.0.0.%d", leader + 1);
		assert_int_equal(nodes[n].postgres.server, HA_SERVER_RUNNING);
		assert_true(nodes[n].postgres.is_in_recovery);
		assert_string_equal(nodes[n].postgres.upstream_host, host);
		assert_int_equal(nodes[n].driving, HA_HOME_WORKER);
	}
}

static void
bootstraps(void **state)
{
	(void) state;
	check_healthy();
	assert_string_equal(find_key("initialize")->value, "7277694203142172922");
	assert_non_null(find_key("config"));
	assert_non_null(find_key("members/node3"));
}

static void
switches_over(void **state)
{
	int			old = leader_index();
	int			candidate = (old + 2) % NODES;
	uint32_t	timeline = nodes[old].postgres.timeline;

	(void) state;
	switch_over((old + 1) % NODES, candidate);
	run(3000);
	assert_int_equal(leader_index(), candidate);
	check_healthy();
	assert_true(nodes[(old + 1) % NODES].answer_ok);
	assert_non_null(strstr(nodes[(old + 1) % NODES].answer, "Successfully"));
	assert_int_equal(nodes[candidate].postgres.timeline, timeline + 1);
	assert_string_equal(find_key("failover")->value, "{}");
	assert_non_null(strstr(find_key("promotions")->value, nodes[candidate].name));
}

/* A candidate that gets the lease and cannot be promoted keeps nobody waiting. */
static void
leads_instead_of_a_candidate_that_gives_way(void **state)
{
	int			old = leader_index();
	int			candidate = (old + 2) % NODES;

	(void) state;
	put_key("promotions", "{\"5\":{\"name\":\"\",\"from\":1,\"lsn\":1000}}", -1);
	nodes[candidate].cannot_mark = true;
	run(100);
	switch_over((old + 1) % NODES, candidate);
	run(nodes[old].settings.retry_timeout_ms + 2000);
	assert_true(leader_index() >= 0 && leader_index() != candidate);
	run(20000);
	check_healthy();
	assert_true(leader_index() != candidate);
}

static void
refuses_a_dead_candidate(void **state)
{
	int			old = leader_index();
	int			candidate = (old + 1) % NODES;

	(void) state;
	nodes[candidate].is_dead = true;
	switch_over(old, candidate);
	run(2000);
	assert_int_equal(leader_index(), old);
	assert_false(nodes[old].answer_ok);
	assert_non_null(strstr(nodes[old].answer, "did not answer"));
	assert_non_null(strstr(find_key("failover")->value, "refused"));
}

static void
replaces_a_dead_primary(void **state)
{
	int			old = leader_index();

	(void) state;
	nodes[old].is_dead = true;
	run(12000);
	assert_true(leader_index() >= 0 && leader_index() != old);
	check_healthy();
	/* the old one comes back, to a data directory that crashed */
	nodes[old].is_dead = false;
	nodes[old].postgres.server = HA_SERVER_STOPPED;
	nodes[old].postgres.is_observed = false;
	swap_home(old, HA_HOME_SUPERVISOR);
	run(10000);
	check_healthy();
}

static void
hands_over_a_crashed_server(void **state)
{
	int			old = leader_index();

	(void) state;
	nodes[old].postgres.server = HA_SERVER_STOPPED;
	nodes[old].postgres.is_observed = false;
	swap_home(old, HA_HOME_SUPERVISOR);
	run(3000);
	assert_true(leader_index() >= 0 && leader_index() != old);
	run(10000);
	check_healthy();
}

static void
restarts_without_failover(void **state)
{
	int			old = leader_index();
	HaCommand	command = {.id = 9, .kind = HA_COMMAND_RESTART};

	(void) state;
	give(old, &command);
	run(3000);
	assert_int_equal(leader_index(), old);
	assert_int_equal(nodes[old].postgres.timeline, 1);
	check_healthy();
	/* and a standby, asked for from elsewhere */
	command.id = 10;
	command.wait = true;
	snprintf(command.member, sizeof(command.member), "%s", nodes[(old + 1) % NODES].name);
	give(old, &command);
	run(6000);
	assert_true(nodes[old].answer_ok);
	assert_non_null(strstr(nodes[old].answer, "restarted"));
	check_healthy();
}

/* What the member key of a node shows; NULL = nothing. */
static const char *
shown_restart(int n)
{
	char		name[64];
	Key		   *key;

	snprintf(name, sizeof(name), "members/%s", nodes[n].name);
	key = find_key(name);
	return key == NULL || key->value == NULL ? NULL : strstr(key->value, "scheduled_restart");
}

static void
restarts_at_a_time(void **state)
{
	int			n = (leader_index() + 1) % NODES;
	int64_t		started_ms = nodes[n].postgres.start_time_ms;
	HaCommand	command = {.id = 9, .kind = HA_COMMAND_RESTART, .is_scheduled = true,
		.role = "replica", .postgres_version = "16.1", .version_below = 160001};

	(void) state;
	nodes[n].postgres.version_num = 150004;
	tell_postgres(n);
	run(100);
	command.scheduled_at_ms = WALL_MS + now + 20000;
	give(n, &command);
	assert_true(nodes[n].answer_ok);
	run(1000);
	assert_non_null(shown_restart(n));
	assert_non_null(strstr(shown_restart(n), "\"postgres_version\""));
	assert_non_null(strstr(shown_restart(n), "\"postmaster_start_time\""));
	/* one at a time */
	command.id = 10;
	give(n, &command);
	assert_false(nodes[n].answer_ok);
	run(18000);
	assert_int_equal(nodes[n].postgres.start_time_ms, started_ms);
	run(3000);
	assert_true(nodes[n].postgres.start_time_ms > started_ms);
	run(6000);
	assert_null(shown_restart(n));
	check_healthy();
}

/* Each way in which a scheduled restart does not happen. */
static void
forgets_a_scheduled_restart(void **state)
{
	int			n = leader_index();
	int64_t		started_ms = nodes[n].postgres.start_time_ms;
	HaCommand	command = {.id = 9, .kind = HA_COMMAND_RESTART, .is_scheduled = true};
	HaCommand	flush = {.id = 10, .kind = HA_COMMAND_FLUSH_RESTART};
	HaCommand	restart = {.id = 11, .kind = HA_COMMAND_RESTART};

	(void) state;
	give(n, &flush);
	assert_false(nodes[n].answer_ok);
	command.scheduled_at_ms = WALL_MS + now + 10000;
	give(n, &command);
	give(n, &flush);
	assert_true(nodes[n].answer_ok);
	run(15000);
	assert_null(shown_restart(n));
	assert_int_equal(nodes[n].postgres.start_time_ms, started_ms);
	/* its conditions do not hold */
	command.scheduled_at_ms = WALL_MS + now + 5000;
	command.only_pending = true;
	give(n, &command);
	assert_true(nodes[n].answer_ok);
	run(15000);
	assert_null(shown_restart(n));
	assert_int_equal(nodes[n].postgres.start_time_ms, started_ms);
	/* somebody else restarts the server before */
	command.scheduled_at_ms = WALL_MS + now + 20000;
	command.only_pending = false;
	give(n, &command);
	run(1000);
	assert_non_null(shown_restart(n));
	give(n, &restart);
	run(5000);
	assert_true(nodes[n].postgres.start_time_ms > started_ms);
	started_ms = nodes[n].postgres.start_time_ms;
	run(30000);
	assert_null(shown_restart(n));
	assert_int_equal(nodes[n].postgres.start_time_ms, started_ms);
	check_healthy();
}

/* The other home goes on with it, also if it was not told of it. */
static void
remembers_a_scheduled_restart(void **state)
{
	int			n = (leader_index() + 1) % NODES;
	int64_t		started_ms = nodes[n].postgres.start_time_ms;
	HaCommand	command = {.id = 9, .kind = HA_COMMAND_RESTART, .is_scheduled = true};

	(void) state;
	command.scheduled_at_ms = WALL_MS + now + 20000;
	give(n, &command);
	run(2000);
	assert_non_null(shown_restart(n));
	take_over(n);
	run(3000);
	assert_int_equal(nodes[n].driving, HA_HOME_WORKER);
	assert_non_null(shown_restart(n));
	run(18000);
	assert_true(nodes[n].postgres.start_time_ms > started_ms);
	run(6000);
	check_healthy();
}

static void
reads_versions(void **state)
{
	(void) state;
	assert_int_equal(ha_version_number("16.4"), 160004);
	assert_int_equal(ha_version_number("9.6.3"), 90603);
	assert_int_equal(ha_version_number("16"), 0);
	assert_int_equal(ha_version_number("9.6"), 0);
	assert_int_equal(ha_version_number("16."), 0);
	assert_int_equal(ha_version_number(".4"), 0);
	assert_int_equal(ha_version_number("16.-4"), 0);
	assert_int_equal(ha_version_number("16.100"), 0);
	assert_int_equal(ha_version_number("1.2.3.4"), 0);
	assert_int_equal(ha_version_number("99999999999999.1"), 0);
	assert_int_equal(ha_version_number(""), 0);
}

static void
survives_an_outage_of_the_store(void **state)
{
	int			old = leader_index();

	(void) state;
	/* shorter than the lease: nothing happens */
	set_reachable(false);
	run(3000);
	assert_true(fence_is_open(&nodes[old]));
	set_reachable(true);
	run(6000);
	assert_int_equal(leader_index(), old);
	assert_int_equal(nodes[old].postgres.timeline, 1);
	/* a little longer than the lease: fenced, but not demoted yet */
	set_reachable(false);
	run(9500);
	assert_false(fence_is_open(&nodes[old]));
	assert_false(nodes[old].postgres.is_in_recovery);
	set_reachable(true);
	run(6000);
	assert_int_equal(leader_index(), old);
	assert_int_equal(nodes[old].postgres.timeline, 1);
	check_healthy();
	/* much longer: a standby, then a primary again */
	set_reachable(false);
	run(30000);
	assert_false(fence_is_open(&nodes[old]));
	assert_true(nodes[old].postgres.is_in_recovery);
	set_reachable(true);
	run(20000);
	check_healthy();
}

/* A backup of the store has all that it had, but its revisions count anew. */
static void
goes_on_with_a_restored_store(void **state)
{
	int			leader;

	(void) state;
	revision += 1000;
	nodes[leader_index()].is_dead = true;
	run(60000);
	leader = leader_index();
	assert_true(fence_is_open(&nodes[leader]));
	assert_true(find_key("leader")->version > 1000);
	set_reachable(false);
	run(200);
	revision = 0;
	for (int i = 0; i < KEYS; i++)
		if (keys[i].value)
			keys[i].version = ++revision;
	set_reachable(true);
	run(60000);
	assert_int_equal(leader_index(), leader);
	assert_true(revision < 1000);
	assert_true(fence_is_open(&nodes[leader]));
}

static void
pauses(void **state)
{
	int			old = leader_index();
	HaInput		input = {.kind = HA_INPUT_SETTINGS};

	(void) state;
	for (int n = 0; n < NODES; n++)
	{
		nodes[n].settings.is_paused = true;
		later(n, 1, &input, NULL);
	}
	run(2000);
	assert_true(nodes[old].fence_ms == HA_DEADLINE_NEVER);
	nodes[old].is_dead = true;
	run(30000);
	assert_int_equal(leader_index(), -1);
	for (int n = 0; n < NODES; n++)
	{
		nodes[n].settings.is_paused = false;
		later(n, 1, &input, NULL);
	}
	run(3000);
	assert_true(leader_index() >= 0 && leader_index() != old);
	check_healthy();
}

static void
never_promotes_nofailover(void **state)
{
	int			old = leader_index();
	HaInput		input = {.kind = HA_INPUT_SETTINGS};

	(void) state;
	for (int n = 0; n < NODES; n++)
	{
		if (n == old)
			continue;
		nodes[n].settings.tags.nofailover = true;
		snprintf(nodes[n].settings.tags_json, sizeof(nodes[n].settings.tags_json), "{\"nofailover\":true}");
		later(n, 1, &input, NULL);
	}
	run(6000);
	nodes[old].is_dead = true;
	run(60000);
	assert_int_equal(leader_index(), -1);
}

static void
shuts_down_and_hands_over(void **state)
{
	int			old = leader_index();
	HaCommand	command = {.kind = HA_COMMAND_SHUTDOWN};
	HaInput		input = {.kind = HA_INPUT_COMMAND};

	(void) state;
	input.command = &command;
	step(old, &input);
	run(3000);
	assert_true(nodes[old].exited);
	nodes[old].is_dead = true;
	assert_true(leader_index() >= 0 && leader_index() != old);
	run(10000);
	check_healthy();
}

/* --- faults, then peace --- */

static void
crash_server(int n)
{
	nodes[n].postgres.server = HA_SERVER_STOPPED;
	nodes[n].postgres.is_observed = false;
	nodes[n].postgres.is_streaming = false;
}

static void
cut_off(int n, bool is_cut)
{
	HaInput		input = {.kind = HA_INPUT_REACHABLE};

	nodes[n].is_cut = is_cut;
	input.reachable.is_reachable = !is_cut && !store_is_down;
	later(n, 1, &input, NULL);
	input.kind = HA_INPUT_CLUSTER;
	later(n, 2, &input, NULL);
}

static void
revive(int n)
{
	HaInput		input = {.kind = HA_INPUT_SETTINGS};
	Node	   *node = &nodes[n];

	if (!node->is_dead)
		return;
	node->is_dead = false;
	node->fence_ms = 0;
	crash_server(n);
	node->driving = HA_HOME_SUPERVISOR;
	for (int home = 0; home < 2; home++)
	{
		ha_node_free(node->home[home]);
		node->home[home] = ha_node_create((HaHome) home);
	}
	input.settings = &node->settings;
	later(n, 1, &input, NULL);
	tell_postgres(n);
	cut_off(n, node->is_cut);
}

static void
strike(void)
{
	HaInput		input = {.kind = HA_INPUT_COMMAND};
	HaCommand	command = {.wait = true};
	int			n = (int) dice(NODES);
	Node	   *node = &nodes[n];

	command.id = 1 + dice(1000);
	input.command = &command;
	switch (dice(9))
	{
		case 0:
			node->is_dead = true;
			break;
		case 1:
			revive(n);
			break;
		case 2:
			cut_off(n, true);
			break;
		case 3:
			cut_off(n, false);
			break;
		case 4:
			set_reachable(store_is_down);
			break;
		case 5:
			if (node->is_dead || node->postgres.data != HA_DATA_PRESENT)
				break;
			crash_server(n);
			if (node->driving == HA_HOME_WORKER)
				swap_home(n, HA_HOME_SUPERVISOR);
			tell_postgres(n);
			break;
		case 6:
			if (!node->is_dead && node->driving == HA_HOME_WORKER)
				swap_home(n, HA_HOME_SUPERVISOR);
			break;
		case 7:
			command.kind = HA_COMMAND_SWITCHOVER;
			if (dice(2))
				snprintf(command.candidate, sizeof(command.candidate), "node%u", 1 + dice(NODES));
			step(n, &input);
			break;
		default:
			command.kind = dice(3) ? HA_COMMAND_RESTART : HA_COMMAND_REINITIALIZE;
			snprintf(command.member, sizeof(command.member), "node%u", 1 + dice(NODES));
			step(n, &input);
			break;
	}
}

static void
recovers_from_chaos(void **state)
{
	const char *first = getenv("SEED");
	uint64_t	seed = first ? strtoull(first, NULL, 10) : 1;
	uint64_t	last = first ? seed : 12;

	if (getenv("SEEDS"))
		last = strtoull(getenv("SEEDS"), NULL, 10);
	for (; seed <= last; seed++)
	{
		print_message("  seed %llu\n", (unsigned long long) seed);
		chaos = seed * UINT64_C(0x9e3779b97f4a7c15);
		for (int i = 0; i < 40; i++)
		{
			strike();
			run(1 + dice(dice(3) ? 3000 : 15000));
		}
		/* peace: everybody is back, nothing gets lost */
		chaos = 0;
		for (int n = 0; n < NODES; n++)
		{
			revive(n);
			cut_off(n, false);
		}
		set_reachable(true);
		run(17000);				/* ttl + loop_wait + 2 s */
		assert_true(leader_index() >= 0 && fence_is_open(&nodes[leader_index()]));
		assert_false(nodes[leader_index()].postgres.is_in_recovery);
		run(60000);
		check_healthy();
		teardown(state);
		setup(state);
	}
}

static void
explains(void **state)
{
	HaExplanation rows[64];
	int			leader = leader_index();
	int			count = ha_explain(nodes[leader].home[nodes[leader].driving], now, rows, 64);
	int			n_eligible = 0;

	(void) state;
	assert_true(count >= NODES);
	for (int i = 0; i < count; i++)
		n_eligible += rows[i].is_eligible;
	assert_true(n_eligible >= NODES);
}

#define STORY(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STORY(bootstraps),
		STORY(switches_over),
		STORY(leads_instead_of_a_candidate_that_gives_way),
		STORY(refuses_a_dead_candidate),
		STORY(replaces_a_dead_primary),
		STORY(hands_over_a_crashed_server),
		STORY(restarts_without_failover),
		STORY(restarts_at_a_time),
		STORY(forgets_a_scheduled_restart),
		STORY(remembers_a_scheduled_restart),
		STORY(reads_versions),
		STORY(survives_an_outage_of_the_store),
		STORY(goes_on_with_a_restored_store),
		STORY(pauses),
		STORY(never_promotes_nofailover),
		STORY(shuts_down_and_hands_over),
		STORY(recovers_from_chaos),
		STORY(explains),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
