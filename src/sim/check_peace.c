/*-------------------------------------------------------------------------
 *
 * check_peace.c
 *      What must come about: there is a primary and everybody follows (L1),
 *      commands are answered (L2), and without faults nothing moves (L3).
 *
 *-------------------------------------------------------------------------
 */
#include "sim/check_internal.h"
#include "sim/postgres_model.h"

#include <string.h>

#define COMMANDS_MAX		256
#define FOLLOW_US			SIM_MS(60000)	/* L1: rewind or clone included */
#define RETRY_MAX_US	SIM_MS(30000)	/* L1: between two starts that fail: HA_TASK_RETRY_MAX_MS */
#define EXCUSE_MAX_US		SIM_MS(120000)	/* L1: no wait for recovery is longer */
#define WAIT_US				SIM_MS(2000)	/* L1: a commit, for standbys */
#define ANSWER_US			SIM_MS(60000)	/* L2: after peace, or after it was given */

typedef struct Command
{
	uint64_t	id;				/* 0: free */
	int			node;
	int64_t		given_us;
	SimProcessKind home;		/* who drove when it was given */
	uint32_t	incarnation;
} Command;

typedef struct Peace
{
	/* L1 */
	bool		has_peace;
	int64_t		primary_base_us;	/* since then somebody could have been the primary */
	int64_t		healthy_base_us;
	int64_t		last_look_us;
	int64_t		excused_us;
	int64_t		hopeless_us;	/* nobody may lead for so long */

	Command		commands[COMMANDS_MAX];
	int			n_commands;		/* slots in use, including free ones below */
	int			n_open;
} Peace;

static Peace peace;

/* Nobody has commanded anything, and there is no peace yet. */
void
check_peace_reset(void)
{
	memset(&peace, 0, sizeof(peace));
}

/* ------------------------------------------------------------------------
 * L2: commands
 * ------------------------------------------------------------------------ */

/*
 * A command was given to a node, or answered.  Giving it again, and answers
 * to what nobody gave, change nothing.
 */
void
sim_check_command(int number, uint64_t id, bool is_answered)
{
	const SimNode *node = &sim.node[number];
	Command    *command = NULL;

	if (id == 0)
		return;
	for (int i = 0; i < peace.n_commands; i++)
	{
		if (peace.commands[i].id == id)
		{
			if (is_answered)
			{
				peace.commands[i].id = 0;
				peace.n_open--;
			}
			return;
		}
		if (peace.commands[i].id == 0 && command == NULL)
			command = &peace.commands[i];
	}
	if (is_answered)
		return;
	if (command == NULL)
	{
		if (peace.n_commands == COMMANDS_MAX)
		{
			sim_fail("bug in the simulator: too many commands at a time");
			return;
		}
		command = &peace.commands[peace.n_commands++];
	}
	command->id = id;
	command->node = number;
	command->given_us = sim.now_us;
	command->home = node->page != NULL && node->page->holder == LEASE_HOLDER_WORKER
		? SIM_WORKER : SIM_SUPERVISOR;
	command->incarnation = node->process[command->home].incarnation;
	peace.n_open++;
}

/*
 * L2: every command that was given is answered within ANSWER_US, counted from
 * when it was given or from peace.  Whoever gave it to a process that died
 * since knows that: the connection broke.
 */
static void
look_at_commands(void)
{
	for (int i = 0; i < peace.n_commands && peace.n_open > 0; i++)
	{
		Command    *command = &peace.commands[i];
		const SimNode *node = &sim.node[command->node];
		const SimProcess *process = &node->process[command->home];
		int64_t		since_us = command->given_us;

		if (command->id == 0)
			continue;
		if (!process->is_alive || process->incarnation != command->incarnation || !node->is_member)
		{
			command->id = 0;
			peace.n_open--;
			continue;
		}
		if (peace.has_peace && since_us < sim.peace_us)
			since_us = sim.peace_us;
		if (peace.has_peace && sim.now_us > since_us + ANSWER_US)
		{
			sim_fail("L2 %s does not answer command %llu, given at %lld ms", check_name(command->node),
					 (unsigned long long) command->id, (long long) (command->given_us / 1000));
			return;
		}
	}
}

/* ------------------------------------------------------------------------
 * L1: a primary, and everybody follows
 * ------------------------------------------------------------------------ */

/* May it accept writes now, as a client sees it? */
static bool
is_writable(const SimNode *node)
{
	if (!node->host_is_up || node->server.state != HA_SERVER_RUNNING || node->server.is_in_recovery)
		return false;
	return node->kind == SIM_PATRONI ||
		(node->page != NULL && (check_has_open_fence(node) || check_has_endless_fence(node)));
}

static int
writable_primary(void)
{
	int			leader = sim_store_leader();

	return leader >= 0 && is_writable(&sim.node[leader]) ? leader : -1;
}

/* Does it stream from the primary, directly or through others? */
static bool
follows(int number, int primary)
{
	int			at = number;

	for (int hops = 0; hops < sim.n_nodes; hops++)
	{
		const SimServer *server = &sim.node[at].server;

		if (!sim.node[at].host_is_up || server->state != HA_SERVER_RUNNING ||
			!server->is_in_recovery || !server->is_streaming || server->stream_from < 0)
			return false;
		at = server->stream_from;
		if (at == primary)
			return true;
	}
	return false;
}

/*
 * Did both go different ways under one timeline id?  That is what a promotion
 * by hand, or by Patroni, can do that nobody could hear of.  pg_rewind compares
 * ids and positions: for it there is nothing to rewind, or not from there.
 */
static bool
has_same_id(SimPosition a, SimPosition b)
{
	SimPosition common = sim_wal_common(a, b);

	for (int i = a.branch; i >= 0 && i != common.branch; i = sim.branch[i].parent)
		for (int j = b.branch; j >= 0 && j != common.branch; j = sim.branch[j].parent)
			if (sim.branch[i].timeline == sim.branch[j].timeline)
				return true;
	return false;
}

/*
 * Was its timeline made twice, somewhere in the cluster?  Then ids and
 * positions may not tell whose of the two the leader has, and a member that
 * supposes the worse is right.  So it is where somebody was promoted by hand:
 * nobody may have heard of it.
 */
static bool
has_twin(SimPosition position)
{
	for (int i = position.branch; i >= 0; i = sim.branch[i].parent)
		for (int j = 0; j < sim.n_branches; j++)
			if (j != i && sim.branch[i].timeline == sim.branch[j].timeline)
				return true;
	return false;
}

/*
 * A directory that went another way, when nobody allowed its removal and a
 * rewind is not allowed, is no help or has failed of this very primary for
 * good, waits for a person to reinitialize it: pg_rewind's manual says to take
 * a new backup then.  Patroni, which asks nothing more, would start a member
 * with the same timeline id; the model of it leaves it alone, even when it
 * might remove its data.
 */
static bool
waits_for_person(const SimNode *node, int primary)
{
	SimPosition leader = sim.node[primary].server.insert;

	if (node->data.state != HA_DATA_PRESENT)
		return false;
	/* what Patroni's members try in vain, for ever, is no promise of ours */
	if (node->kind == SIM_PATRONI && node->server.state == HA_SERVER_STOPPED)
		return true;
	if (!sim.profile.may_remove_data && node->server.state == HA_SERVER_STOPPED &&
		(check.had_hands || has_twin(node->data.end) || node->data.rewind_failed_of == primary + 1))
		return true;
	if (node->data.is_rewinding && node->kind == SIM_OURS && !sim.profile.may_remove_data &&
		node->data.rewind_timeline != sim.node[primary].server.timeline)
		return true;			/* half of it is of another leader */
	if (!node->data.is_rewinding && sim_wal_contains(leader, node->data.end))
		return false;
	if (node->kind == SIM_PATRONI && has_same_id(leader, node->data.end))
		return true;
	return !sim.profile.may_remove_data &&
		(!sim.profile.use_pg_rewind || node->data.rewind_failed_of == primary + 1 ||
		 has_same_id(leader, node->data.end));
}

/*
 * Has a primary the fence that it had in a paused cluster, although the pause is
 * over?  It may not have heard of that yet: a watch whose connection died in a
 * cut network, without a word, is found out when it is looked at, a third of
 * ttl after it was last heard of.
 */
static bool
pause_outlives(const SimNode *node)
{
	return !sim_config_is_paused() && node->is_member && node->kind == SIM_OURS && node->page != NULL &&
		node->server.state == HA_SERVER_RUNNING && !node->server.is_in_recovery && check_has_endless_fence(node);
}

/*
 * Does a primary keep clients waiting?  NULL: no.  In strict mode it does so
 * for as long as there are too few standbys.
 */
static const char *
what_clients_wait_for(int primary)
{
	const SimServer *server = &sim.node[primary].server;
	bool		needs_standbys = sim.profile.sync_is_strict &&
		sim_sync_missing(primary, &server->sync_names) > 0;

	if (server->is_isolated)
		return "holds commits";
	if (server->is_exposed && !needs_standbys)
		return "turns clients away";
	if (sim_client_waits_us(primary) > WAIT_US && !needs_standbys)
		return "lets commits wait for standbys";
	return NULL;
}

/*
 * Is there a writable primary that owns the leader key, lets clients in and
 * lets commits go, and does every other member stream from it?  In peace also: is every command answered, and has
 * the fence of every primary a deadline?
 *
 * A cluster where nobody may lead (the one member that might has lost its data
 * directory, the others are tagged nofailover or lag too much) waits for a
 * person: S5 forbids what L1 would ask for.
 */
bool
sim_check_is_healthy(void)
{
	int			primary = writable_primary();

	if (primary < 0)
		return peace.has_peace && peace.hopeless_us >= EXCUSE_MAX_US;
	if (what_clients_wait_for(primary) != NULL)
		return false;
	for (int n = 0; n < sim.n_nodes; n++)
		if (n != primary && sim.node[n].is_member && !follows(n, primary) &&
			!waits_for_person(&sim.node[n], primary))
			return false;
	if (peace.has_peace)
	{
		for (int n = 0; n < sim.n_nodes; n++)
			if (pause_outlives(&sim.node[n]))
				return false;
		look_at_commands();
		if (peace.n_open > 0)
			return false;
	}
	return true;
}

/* Has a got further than b?  As the engine compares: timeline, then position. */
static bool
is_further(const SimData *a, const SimData *b)
{
	uint32_t	a_timeline = sim_timeline_of(a->end);
	uint32_t	b_timeline = sim_timeline_of(b->end);

	return a_timeline != b_timeline ? a_timeline > b_timeline : a->end.lsn > b->end.lsn;
}

/* The best placed of those that the key "sync" lets lead; NULL when none has data. */
static const SimNode *
best_placed(void)
{
	const SimNode *best = NULL;

	for (int n = 0; n < sim.n_nodes; n++)
	{
		const SimNode *node = &sim.node[n];

		if (node->is_member && node->data.state == HA_DATA_PRESENT && node->data.end.lsn != 0 &&
			check_sync_lets_lead(n) && (best == NULL || is_further(&node->data, &best->data)))
			best = node;
	}
	return best;
}

/*
 * Does this member, being Patroni's, wait for another one of its kind?  They
 * compare positions alone: with check_timeline a member on the newest timeline
 * waits for ever for one with more WAL of an older, which may not lead.
 */
static bool
waits_as_patroni(int number)
{
	for (int n = 0; n < sim.n_nodes && sim.node[number].kind == SIM_PATRONI; n++)
		if (n != number && sim.node[n].is_member && sim.node[n].kind == SIM_PATRONI &&
			sim.profile.nofailover != n && sim.node[n].data.state == HA_DATA_PRESENT &&
			sim.node[n].data.end.lsn > sim.node[number].data.end.lsn)
			return true;
	return false;
}

/*
 * May this member lead by the key "failsafe"?  If that does not name it, a leader
 * without the store would not ask it for its consent: it may be taken for gone.
 */
static bool
failsafe_lets_lead(int number)
{
	const SimKey *key = sim_store_find("failsafe");
	FailsafeMember members[CLUSTER_MEMBERS_MAX];
	int			n_members;

	if (key == NULL || key->value == NULL)
		return true;
	n_members = failsafe_from_text(members, key->value);
	for (int i = 0; i < n_members; i++)
		if (strcmp(members[i].name, sim.node[number].name) == 0)
			return true;
	return n_members <= 0;
}

/* Is there a member that its tags, lag and timeline let lead, and the keys "sync" and "failsafe"? */
bool
sim_check_has_eligible(void)
{
	uint32_t	timeline = check_history_timeline();
	Lsn			optime = check_old_optime(0);

	for (int n = 0; n < sim.n_nodes; n++)
	{
		const SimNode *node = &sim.node[n];

		if (!node->is_member || node->data.state == HA_DATA_UNREADABLE || node->data.is_broken)
			continue;
		if (node->data.state == HA_DATA_PRESENT && node->data.end.lsn != 0 && check_sync_lets_lead(n) &&
			failsafe_lets_lead(n) && sim.profile.nofailover != n && !waits_as_patroni(n) &&
			sim_timeline_of(node->data.end) >= timeline &&
			(node->data.end.lsn >= optime ||
			 (int64_t) (optime - node->data.end.lsn) <= sim.profile.maximum_lag))
			return true;
		/* nofailover does not keep a primary from going on */
		if (node->server.state == HA_SERVER_RUNNING && !node->server.is_in_recovery)
			return true;
	}
	return false;
}

/* Was it repaired by a person, and its supervisor does not know? */
static bool
is_tried_later(const SimNode *node)
{
	return node->server.state == HA_SERVER_STOPPED && node->repaired_us != 0 &&
		sim.now_us < node->repaired_us + RETRY_MAX_US;
}

/*
 * Nobody could be the primary right now, however well it decides: a member is
 * not up yet (its host boots, systemd starts its supervisor), or a server
 * with the newest WAL recovers, stops, or is worked on by a task.  A cluster
 * waits for it: what it has may have been acknowledged.  It may also be down
 * because it could not start and is tried again only now and then: that a
 * person has repaired its data directory since, nobody tells it.
 */
static bool
is_excused(void)
{
	const SimNode *best = best_placed();

	for (int n = 0; n < sim.n_nodes; n++)
	{
		const SimNode *node = &sim.node[n];

		if (!node->is_member)
			continue;
		if (!node->host_is_up || !node->process[SIM_SUPERVISOR].is_alive)
			return true;
		/*
		 * The leader's own matters whoever has got further: its crash recovery is
		 * waited for up to primary_start_timeout, and who got further by a
		 * promotion by hand has a directory that is being rewound.
		 */
		if (n == sim_store_leader() &&
			(is_tried_later(node) || node->server.state == HA_SERVER_STARTING))
			return true;
		if (best != NULL && (node->data.state != HA_DATA_PRESENT || is_further(&best->data, &node->data)))
			continue;
		if (node->server.state == HA_SERVER_STARTING || node->server.state == HA_SERVER_STOPPING ||
			sim_task_running(n) != HA_TASK_NONE)
			return true;
		if (is_tried_later(node))
			return true;
	}
	return !sim_check_has_eligible();
}

/*
 * L1, looked at again and again once there is peace.
 *
 * There is a writable primary (its fence open, the leader key its own) within
 * ttl + loop_wait + 2 s, counted from the last moment when there was one, or
 * when nobody could have been it (is_excused).  Patroni members go by their
 * own clockwork, a loop and two retries slower.  Every other member streams
 * from it within FOLLOW_US after the primary was there, a rewind or a clone
 * included.
 */
void
sim_check_peace(void)
{
	int64_t		passed_us = sim.now_us - peace.last_look_us;
	int64_t		bound_us;

	sim_check_ttl(sim.profile.ttl_ms, sim.profile.loop_wait_ms);
	bound_us = check.ttl_us + check.loop_wait_us + SIM_MS(2000);
	if (sim.profile.n_patroni > 0)
		bound_us += check.loop_wait_us + 2 * SIM_MS(sim.profile.retry_timeout_ms);
	if (!peace.has_peace)
	{
		peace.has_peace = true;
		peace.primary_base_us = sim.peace_us;
		peace.healthy_base_us = sim.peace_us;
		passed_us = 0;
	}
	peace.last_look_us = sim.now_us;
	look_at_commands();
	if (writable_primary() >= 0)
	{
		peace.primary_base_us = sim.now_us;
		peace.hopeless_us = 0;
	}
	else
	{
		if (!sim_check_has_eligible())
		{
			peace.hopeless_us += passed_us;
			peace.primary_base_us = sim.now_us;
		}
		else
			peace.hopeless_us = 0;
		if (is_excused() && peace.excused_us < EXCUSE_MAX_US)
		{
			peace.excused_us += passed_us;
			peace.primary_base_us = sim.now_us;
		}
		peace.healthy_base_us = sim.now_us;
	}
	if (sim.now_us > peace.primary_base_us + bound_us)
	{
		sim_fail("L1 there is no writable primary %lld ms after it could be there",
				 (long long) ((sim.now_us - peace.primary_base_us) / 1000));
		return;
	}
	if (sim_check_is_healthy())
		peace.healthy_base_us = sim.now_us;
	else if (sim.now_us > peace.healthy_base_us + FOLLOW_US)
	{
		int			primary = writable_primary();

		for (int n = 0; n < sim.n_nodes; n++)
			if (n != primary && sim.node[n].is_member && !follows(n, primary) &&
				!waits_for_person(&sim.node[n], primary))
				sim_fail("L1 %s does not follow %s", check_name(n), check_name(primary));
		if (primary >= 0 && what_clients_wait_for(primary) != NULL)
			sim_fail("L1 %s %s", check_name(primary), what_clients_wait_for(primary));
		for (int n = 0; n < sim.n_nodes; n++)
			if (pause_outlives(&sim.node[n]))
				sim_fail("S1 the fence of %s has no deadline, and the cluster is not paused", check_name(n));
	}
}

/* The run is over: L2 for all that is left, L3 as a whole. */
void
sim_check_end(void)
{
	look_at_commands();
	if (!sim.profile.has_faults && writable_primary() < 0)
		sim_fail("L3 the primary is gone without any fault");
}
