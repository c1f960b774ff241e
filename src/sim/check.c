/*-------------------------------------------------------------------------
 *
 * check.c
 *      What is right: the promises S1 to S8 and L1 to L3, looked at from
 *      outside, with knowledge that no node has.
 *
 * What is not held against the engine, and why:
 *  - A server that a person promoted by hand, and whatever a cluster does
 *    while it is paused: there the fence is open by definition.
 *  - What a Patroni member acknowledges after it lost the lease: it has no
 *    fence.  Such writes count as lost from the beginning.
 *  - Writes that an asynchronous cluster left behind when it failed over.
 *    They are marked at the promotion, so that nobody asks for them later.
 *
 * The first promise that is broken is kept; the run ends there.
 *-------------------------------------------------------------------------
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/trouble.h"

#define COMMANDS_MAX		256
#define OPTIMES_MAX			64
#define LOOK_US				SIM_MS(250)		/* between two looks at the store's "status" */
#define FOLLOW_US			SIM_MS(60000)	/* L1: rewind or clone included */
#define RETRY_MAX_US	SIM_MS(30000)	/* L1: between two starts that fail: HA_TASK_RETRY_MAX_MS */
#define EXCUSE_MAX_US		SIM_MS(120000)	/* L1: no wait for recovery is longer */
#define ANSWER_US			SIM_MS(60000)	/* L2: after peace, or after it was given */

typedef enum BranchKind
{
	BRANCH_UNKNOWN,				/* of initdb */
	BRANCH_LEASE,				/* one of ours, under the lease */
	BRANCH_PATRONI,
	BRANCH_BY_HAND,				/* by a person, or while the cluster was paused */
} BranchKind;

typedef struct Command
{
	uint64_t	id;				/* 0: free */
	int			node;
	int64_t		given_us;
	SimProcessKind home;		/* who drove when it was given */
	uint32_t	incarnation;
} Command;

typedef struct Check
{
	BranchKind	kind[SIM_BRANCHES_MAX];
	bool		has_acknowledged[SIM_BRANCHES_MAX];	/* a client was told of a write on it */
	bool		had_hands;		/* paused or promoted by hand at some time */

	/* what the store said when the leader key went to a node */
	bool		is_named[SIM_NODES_MAX];	/* by an operator, in the key "failover" */
	bool		is_forced[SIM_NODES_MAX];	/* the same, for a failover: writes may be lost */
	bool		has_sync_key;	/* the leader has written it, and nobody deleted it since */
	Lsn			optime[SIM_NODES_MAX];
	uint32_t	timeline[SIM_NODES_MAX];
	bool		is_writing_by_hand;
	int64_t		robbed_until_us[SIM_NODES_MAX]; /* own clock: its key was deleted by hand */

	/* the key "status" a while ago: what every node has heard of by now */
	Lsn			optimes[OPTIMES_MAX];
	int64_t		optimes_us[OPTIMES_MAX];
	int			n_optimes;
	uint64_t	status_version;
	int64_t		next_look_us;

	int64_t		ttl_us;			/* the longest that may be in force */
	int64_t		loop_wait_us;

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

	/* L3 */
	bool		is_formed;
	bool		may_move;
} Check;

static Check check;

/* Nothing is known yet. */
void
sim_check_reset(void)
{
	memset(&check, 0, sizeof(check));
	sim_check_home_reset();
}

/* A promise is broken.  "S1 what" becomes "S1 at 1.234567 s: what". */
void
sim_fail(const char *format,...)
{
	char		text[200];
	const char *rest = text;
	char		promise[4] = "";
	va_list		args;

	if (sim.has_failed)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if ((text[0] == 'S' || text[0] == 'L') && text[1] >= '1' && text[1] <= '9')
	{
		snprintf(promise, sizeof(promise), "%.2s ", text);
		for (rest = text + 2; *rest == ' ' || *rest == ':'; rest++)
			;
	}
	sim.has_failed = true;
	snprintf(sim.failure, sizeof(sim.failure), "%sat %lld.%06lld s: %s", promise,
			 (long long) (sim.now_us / 1000000), (long long) (sim.now_us % 1000000), rest);
	sim_trace(-1, "FAILED: %s", sim.failure);
}

/* These may be in force from now on, beside what was: bounds go by the longest. */
void
sim_check_ttl(int64_t ttl_ms, int64_t loop_wait_ms)
{
	if (SIM_MS(ttl_ms) > check.ttl_us)
		check.ttl_us = SIM_MS(ttl_ms);
	if (SIM_MS(loop_wait_ms) > check.loop_wait_us)
		check.loop_wait_us = SIM_MS(loop_wait_ms);
}

/* A person changes keys of the store: S3 is about the members. */
void
sim_check_operator_writes(bool is_writing)
{
	check.is_writing_by_hand = is_writing;
}

/* A person commanded something that moves the leader: L3 does not count. */
void
sim_check_may_move(void)
{
	check.may_move = true;
}

static const char *
name_of(int node)
{
	return node >= 0 && node < SIM_NODES_MAX ? sim.node[node].name : "nobody";
}

/* ------------------------------------------------------------------------
 * Fences
 * ------------------------------------------------------------------------ */

static bool
is_fence_never(const SimNode *node)
{
	return lease_page_deadline_us(node->page) == LEASE_NEVER_US;
}

/* Open by a deadline that is still to come; never is another matter. */
static bool
has_open_fence(const SimNode *node)
{
	int64_t		deadline_us;

	if (node->kind != SIM_OURS || !node->host_is_up || node->page == NULL)
		return false;
	deadline_us = lease_page_deadline_us(node->page);
	return deadline_us != LEASE_CLOSED_US && deadline_us != LEASE_NEVER_US &&
		sim_clock_us(node->index) < deadline_us;
}

/*
 * A person deleted its leader key while its lease ran: until what it had got
 * then is over, its fence is that person's fault.
 */
static bool
is_robbed(const SimNode *node)
{
	return check.robbed_until_us[node->index] != 0 && sim_store_leader() != node->index &&
		lease_page_deadline_us(node->page) <= check.robbed_until_us[node->index];
}

/* Remember what the key "status" said; a ring of the last few seconds. */
static void
look_at_status(void)
{
	const SimKey *key = sim_store_find("status");
	ClusterStatus status;
	int			slot;

	check.next_look_us = sim.now_us + LOOK_US;
	if (!sim.profile.has_faults && !check.is_formed)
		check.is_formed = sim_check_is_healthy();
	if (key == NULL || key->value == NULL)
		check.n_optimes = 0;	/* somebody deleted it: nobody knows it any more */
	if (key == NULL || key->version == check.status_version || key->value == NULL)
		return;
	check.status_version = key->version;
	memset(&status, 0, sizeof(status));
	status_from_text(&status, key->value);
	free(status.slots);
	free(status.retain_slots_json);
	slot = check.n_optimes % OPTIMES_MAX;
	check.optimes[slot] = status.optime;
	check.optimes_us[slot] = sim.now_us;
	check.n_optimes++;
}

/* The optime that was in the store "before_us" ago already; 0 unknown. */
static Lsn
old_optime(int64_t before_us)
{
	for (int i = 1; i <= OPTIMES_MAX && i <= check.n_optimes; i++)
	{
		int			slot = (check.n_optimes - i) % OPTIMES_MAX;

		if (check.optimes_us[slot] <= sim.now_us - before_us)
			return check.optimes[slot];
	}
	return 0;
}

/*
 * S1: at any instant at most one node has an open fence: its deadline lies
 * ahead on its own clock and its host has power, whatever its server does: a
 * stopped one could be started.  Frozen processes count as open: they go on where they were.
 * Deadlines move and servers change by events only, and an open fence closes
 * by itself, so looking after each event misses nothing.
 */
void
sim_check_step(void)
{
	int			open = -1;

	for (int n = 0; n < sim.n_nodes; n++)
	{
		if (!has_open_fence(&sim.node[n]) || is_robbed(&sim.node[n]))
			continue;
		if (open >= 0)
		{
			sim_fail("S1 %s and %s both have an open fence", name_of(open), name_of(n));
			return;
		}
		open = n;
	}
	if (sim.now_us >= check.next_look_us)
		look_at_status();
}

/* Writes that "position" does not contain were left behind; nobody is asked for them again. */
static void
leave_behind(SimPosition position)
{
	for (int i = 0; i < sim.n_writes; i++)
	{
		SimWrite   *write = &sim.write[i];

		if (write->acked_us >= 0 && !write->is_lost && !sim_wal_contains(position, write->commit))
			write->is_lost = true;
	}
}

/*
 * S1 for one acknowledgement: the fence of the node that gave it was open (or
 * "never"), and it is not on the losing side: there is no branch that was
 * made later by a promotion under a lease, that does not contain the write,
 * and on which clients were told of writes already.
 */
void
sim_check_acknowledged(int number)
{
	SimWrite   *write = &sim.write[number];
	const SimNode *node = &sim.node[write->node];
	int			branch = write->commit.branch;
	bool		is_excused = check.kind[branch] == BRANCH_BY_HAND;

	if (node->kind == SIM_OURS)
	{
		if (is_fence_never(node))
			is_excused = true;
		else if (is_robbed(node))
			is_excused = true;
		else if (!has_open_fence(node))
		{
			/* a stopping server lets commits end that are under way: the fence still counts */
			int64_t		deadline_us = lease_page_deadline_us(node->page);

			if (deadline_us == LEASE_CLOSED_US || sim_clock_us(write->node) >= deadline_us)
				sim_fail("S1 %s acknowledged a write behind a closed fence", name_of(write->node));
		}
	}
	else
		is_excused = true;

	for (int b = branch + 1; b < sim.n_branches; b++)
	{
		const SimBranch *other = &sim.branch[b];

		if (!check.has_acknowledged[b] || check.kind[b] == BRANCH_UNKNOWN ||
			sim_wal_contains((SimPosition) {b, other->fork_lsn}, write->commit))
			continue;
		if (is_excused || check.kind[b] == BRANCH_BY_HAND)
			write->is_lost = true;
		else
			sim_fail("S1 %s acknowledged a write on timeline %u after %s had done so on its successor %u",
					 name_of(write->node), sim.branch[branch].timeline, name_of(other->node),
					 other->timeline);
	}
	/* two primaries by hand: whoever does not lead is on the losing side */
	if (is_excused && write->node != sim_store_leader())
		write->is_lost = true;
	check.has_acknowledged[branch] = true;
}

/* ------------------------------------------------------------------------
 * The leader key and promotions
 * ------------------------------------------------------------------------ */

static uint32_t
timeline_of_history(void)
{
	const SimKey *key = sim_store_find("history");
	ClusterView view;
	uint32_t	timeline;

	if (key == NULL || key->value == NULL)
		return 0;
	cluster_view_init(&view);
	cluster_view_apply(&view, &(ClusterKey) {.name = "history", .value = key->value, .session = "",
					   .version = key->version});
	timeline = cluster_timeline(&view);
	cluster_view_free(&view);
	return timeline;
}

/* What an operator and the store said when a node became the leader. */
static void
note_new_leader(int node)
{
	const SimKey *key = sim_store_find("failover");
	FailoverRequest request;

	memset(&request, 0, sizeof(request));
	if (key != NULL && key->value != NULL)
		failover_from_text(&request, key->value);
	check.is_named[node] = request.exists &&
		(request.candidate[0] == '\0' || strcmp(request.candidate, sim.node[node].name) == 0);
	check.is_forced[node] = check.is_named[node] && request.leader[0] == '\0';
	sim_check_ttl(sim.profile.ttl_ms, sim.profile.loop_wait_ms);
	check.optime[node] = old_optime(check.ttl_us / 2);
	check.timeline[node] = timeline_of_history();
	/* a primary that takes the key after hands were at work decides what is lost */
	if (check.had_hands && sim.node[node].server.state == HA_SERVER_RUNNING &&
		!sim.node[node].server.is_in_recovery)
		leave_behind(sim.node[node].server.insert);
}

/*
 * The promise of S2 begins when the leader has written the key "sync".  Who
 * deletes it takes it back for all that was acknowledged before.
 */
void
sim_check_sync_key(bool exists)
{
	check.has_sync_key = exists;
	for (int i = 0; i < sim.n_writes && !exists; i++)
		sim.write[i].mode = SIM_ASYNC;
}

SimSyncMode
sim_check_sync_promise(void)
{
	return sim.profile.engine_keeps_sync && check.has_sync_key ? sim.profile.sync_mode : SIM_ASYNC;
}

/*
 * S3: the leader key changes hands only by compare-and-swap, and never while
 * the lease of another owner runs: it is released (compared) or expires first.
 * Names are NULL or "" for an absent key.
 *
 * L3: in a run without faults it does not change at all once there is one.
 */
void
sim_check_leader_key(const char *before, bool lease_ran, const char *after, bool was_compared)
{
	int			node;

	if (before == NULL)
		before = "";
	if (after == NULL)
		after = "";
	if (strcmp(before, after) == 0)
		return;
	node = after[0] != '\0' ? sim_node_of(after) : -1;
	if (!check.is_writing_by_hand)
	{
		if (after[0] != '\0' && !was_compared)
			sim_fail("S3 \"%s\" wrote the leader key without compare-and-swap", after);
		if (before[0] != '\0' && lease_ran && after[0] != '\0')
			sim_fail("S3 the leader key went from \"%s\" to \"%s\" while the lease ran", before, after);
		if (before[0] != '\0' && lease_ran && !was_compared)
			sim_fail("S3 the leader key of \"%s\" was deleted without comparing while its lease ran", before);
		if (!sim.profile.has_faults && check.is_formed && !check.may_move)
			sim_fail("L3 the leader changed from \"%s\" to \"%s\" without any fault", before, after);
	}
	else if (before[0] != '\0' && sim_node_of(before) >= 0)
	{
		int			robbed = sim_node_of(before);

		sim_check_ttl(sim.profile.ttl_ms, sim.profile.loop_wait_ms);
		check.robbed_until_us[robbed] = sim_clock_us(robbed) + check.ttl_us;
	}
	if (node >= 0)
		note_new_leader(node);
}

/*
 * A server ended its recovery: it writes on a new branch from now on.
 *
 * S5: unless an operator named it or promoted it by hand, or the cluster is
 * paused, the node is not tagged nofailover, does not lag more than
 * maximum_lag_on_failover behind the optime that was in the store half a ttl
 * before it got the key, and is not on an older timeline than the history in
 * the store had then.
 *
 * S6: no other promotion under a lease ever had its timeline id.
 *
 * S2 (in synchronous mode): every write that was acknowledged while the key
 * "sync" was there is on the new branch, unless an operator ordered a failover
 * to this member.
 *
 * What else was acknowledged and is not on it is lost, as allowed.
 */
void
sim_check_promotion(int number, int branch)
{
	SimNode    *node = &sim.node[number];
	SimBranch  *made = &sim.branch[branch];
	SimPosition fork = {branch, made->fork_lsn};
	uint32_t	parent = made->parent >= 0 ? sim.branch[made->parent].timeline : 0;
	bool		is_by_hand;

	if (number < 0 || number >= SIM_NODES_MAX)
		return;
	/* also of a node whose name is still in the leader key: no home has asked for it */
	is_by_hand = node->was_promoted_by_hand;
	node->was_promoted_by_hand = false;
	sim_note(number, "promoted", made->timeline, made->fork_lsn);
	if (node->kind == SIM_PATRONI && !is_by_hand)
	{
		check.kind[branch] = BRANCH_PATRONI;
		leave_behind(fork);
		return;
	}
	if (is_by_hand || (node->page != NULL && is_fence_never(node)) ||
		(sim_config_is_paused() && !check.is_named[number]))
	{
		check.kind[branch] = BRANCH_BY_HAND;
		check.had_hands = true;
		/* a failover that a person ordered in a paused cluster leaves writes behind too */
		if (sim_store_leader() == number)
			leave_behind(fork);
		return;
	}
	check.kind[branch] = BRANCH_LEASE;

	for (int b = 0; b < sim.n_branches; b++)
		if (b != branch && check.kind[b] == BRANCH_LEASE && sim.branch[b].timeline == made->timeline)
			sim_fail("S6 %s and %s both made timeline %u", name_of(sim.branch[b].node), name_of(number),
					 made->timeline);

	if (!check.is_named[number])
	{
		if (sim.profile.nofailover == number)
			sim_fail("S5 %s was promoted but is tagged nofailover", name_of(number));
		if (check.optime[number] > made->fork_lsn &&
			(int64_t) (check.optime[number] - made->fork_lsn) > sim.profile.maximum_lag)
			sim_fail("S5 %s was promoted %lld bytes behind the last leader", name_of(number),
					 (long long) (check.optime[number] - made->fork_lsn));
		if (parent < check.timeline[number])
			sim_fail("S5 %s was promoted from timeline %u, the cluster was on %u already",
					 name_of(number), parent, check.timeline[number]);
	}
	if (sim.profile.engine_keeps_sync && !check.is_forced[number])
	{
		for (int i = 0; i < sim.n_writes; i++)
			if (sim.write[i].acked_us >= 0 && !sim.write[i].is_lost &&
				sim.write[i].mode != SIM_ASYNC && !sim_wal_contains(fork, sim.write[i].commit))
				sim_fail("S2 %s became the primary without write %d, acknowledged by %s in synchronous mode",
						 name_of(number), i, name_of(sim.write[i].node));
	}
	leave_behind(fork);
	if (!sim.profile.has_faults && check.is_formed && !check.may_move)
		sim_fail("L3 %s was promoted without any fault", name_of(number));
}

/* The two branches on which the WAL of a member and its upstream parts. */
static bool
find_parting(int number, int upstream, int *ours, int *other)
{
	SimPosition common = sim_wal_common(sim.node[number].data.end, sim.node[upstream].data.end);

	*ours = sim.node[number].data.end.branch;
	*other = sim.node[upstream].data.end.branch;
	while (*ours >= 0 && sim.branch[*ours].parent != common.branch)
		*ours = sim.branch[*ours].parent;
	while (*other >= 0 && sim.branch[*other].parent != common.branch)
		*other = sim.branch[*other].parent;
	return common.branch >= 0 && *ours >= 0 && *other >= 0 && *ours != *other;
}

/*
 * Does a Patroni member follow another one that Patroni promoted to the same
 * timeline id?  A Patroni that gets the leader key asks nobody which ids are
 * taken, and its replicas start to stream from it when the ids are the same,
 * whatever the positions where they began: PostgreSQL, too, looks at no more
 * than the id.  No member of ours has had any part in that.
 */
bool
sim_check_is_patronis(int number, int upstream)
{
	int			ours;
	int			other;

	return sim.node[number].kind == SIM_PATRONI && sim.node[upstream].kind == SIM_PATRONI &&
		find_parting(number, upstream, &ours, &other) &&
		check.kind[ours] == BRANCH_PATRONI && check.kind[other] == BRANCH_PATRONI &&
		sim.branch[ours].timeline == sim.branch[other].timeline;
}

/*
 * S6: a standby begins to stream from a server that has other WAL than it has,
 * and neither can know.  It has the timeline from a server that was promoted
 * to it by hand, while another member was promoted to the same id under the
 * lease, at the same position, and claimed it.  The ids, the history files
 * and the positions of both are the same, the claim is the upstream's, and
 * the standby itself was never a primary on it.  Who was, and who has it from
 * a leader that did not claim it, has to know.
 */
bool
sim_check_looks_the_same(int number, int upstream)
{
	int			ours;
	int			other;

	return find_parting(number, upstream, &ours, &other) &&
		check.kind[ours] == BRANCH_BY_HAND && check.kind[other] == BRANCH_LEASE &&
		sim.branch[ours].timeline == sim.branch[other].timeline &&
		sim.branch[ours].fork_lsn == sim.branch[other].fork_lsn &&
		sim.branch[ours].node != number;
}

/*
 * S7: a data directory is about to lose everything beyond "kept" (lsn 0: all).
 * What it holds of acknowledged writes that are not lost is durable in
 * another member's data directory too.  And a whole directory goes only when the
 * configuration allows it, or a person asked for a new copy.
 */
void
sim_check_destroy(int number, SimPosition kept)
{
	const SimNode *node = &sim.node[number];

	if (node->data.state != HA_DATA_PRESENT || node->data.end.lsn == 0)
		return;
	if (kept.lsn == 0 && !sim.profile.may_remove_data && !node->may_be_cloned)
		sim_fail("S7 %s removes its data directory, which nobody has allowed", name_of(number));
	for (int i = sim.n_writes - 1; i >= 0; i--)
	{
		const SimWrite *write = &sim.write[i];
		bool		is_elsewhere = false;

		if (write->acked_us < 0 || write->is_lost ||
			(kept.lsn != 0 && sim_wal_contains(kept, write->commit)) ||
			!sim_wal_contains(node->data.end, write->commit))
			continue;
		for (int m = 0; m < sim.n_nodes && !is_elsewhere; m++)
			is_elsewhere = m != number && sim.node[m].is_member &&
				sim.node[m].data.state == HA_DATA_PRESENT && sim.node[m].data.end.lsn != 0 &&
				sim_wal_contains(sim.node[m].data.end, write->commit);
		if (!is_elsewhere)
		{
			sim_fail("S7 %s destroys write %d (acknowledged by %s at %lld ms), which is nowhere else",
					 name_of(number), i, name_of(write->node), (long long) (write->acked_us / 1000));
			return;
		}
	}
}

/*
 * S8: who acts has the baton: its generation is the page's, and its process
 * lives and is not frozen.  Words and answers are no acts: a home may refuse
 * a command, or write the configuration, without the baton.
 */
void
sim_check_act(int number, HaHome home, const HaAction *action)
{
	const SimNode *node = &sim.node[number];
	const SimProcess *process = &node->process[home == HA_HOME_WORKER ? SIM_WORKER : SIM_SUPERVISOR];

	if (!process->is_alive || process->n_pauses > 0)
		sim_fail("S8 a %s %s of %s acts: %s", process->is_alive ? "frozen" : "dead",
				 home == HA_HOME_WORKER ? "worker" : "supervisor", name_of(number),
				 action->rule ? action->rule : "");
	if (action->kind == HA_ANSWER || action->kind == HA_LOG || action->kind == HA_WAKE_AT ||
		node->page == NULL || node->host[home] == NULL)
		return;
	if (host_generation(node->host[home]) != lease_page_generation(node->page))
		sim_fail("S8 the %s of %s acts (%s) without the baton",
				 home == HA_HOME_WORKER ? "worker" : "supervisor", name_of(number),
				 action->rule ? action->rule : "");
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
	for (int i = 0; i < check.n_commands; i++)
	{
		if (check.commands[i].id == id)
		{
			if (is_answered)
			{
				check.commands[i].id = 0;
				check.n_open--;
			}
			return;
		}
		if (check.commands[i].id == 0 && command == NULL)
			command = &check.commands[i];
	}
	if (is_answered)
		return;
	if (command == NULL)
	{
		if (check.n_commands == COMMANDS_MAX)
		{
			sim_fail("bug in the simulator: too many commands at a time");
			return;
		}
		command = &check.commands[check.n_commands++];
	}
	command->id = id;
	command->node = number;
	command->given_us = sim.now_us;
	command->home = node->page != NULL && node->page->holder == LEASE_HOLDER_WORKER
		? SIM_WORKER : SIM_SUPERVISOR;
	command->incarnation = node->process[command->home].incarnation;
	check.n_open++;
}

/*
 * L2: every command that was given is answered within ANSWER_US, counted from
 * when it was given or from peace.  Whoever gave it to a process that died
 * since knows that: the connection broke.
 */
static void
look_at_commands(void)
{
	for (int i = 0; i < check.n_commands && check.n_open > 0; i++)
	{
		Command    *command = &check.commands[i];
		const SimNode *node = &sim.node[command->node];
		const SimProcess *process = &node->process[command->home];
		int64_t		since_us = command->given_us;

		if (command->id == 0)
			continue;
		if (!process->is_alive || process->incarnation != command->incarnation || !node->is_member)
		{
			command->id = 0;
			check.n_open--;
			continue;
		}
		if (check.has_peace && since_us < sim.peace_us)
			since_us = sim.peace_us;
		if (check.has_peace && sim.now_us > since_us + ANSWER_US)
		{
			sim_fail("L2 %s does not answer command %llu, given at %lld ms", name_of(command->node),
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
		(node->page != NULL && (has_open_fence(node) || is_fence_never(node)));
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
has_endless_fence(const SimNode *node)
{
	return !sim_config_is_paused() && node->is_member && node->kind == SIM_OURS && node->page != NULL &&
		node->server.state == HA_SERVER_RUNNING && !node->server.is_in_recovery && is_fence_never(node);
}

/*
 * Is there a writable primary that owns the leader key, and does every other
 * member stream from it?  In peace also: is every command answered, and has
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
		return check.has_peace && check.hopeless_us >= EXCUSE_MAX_US;
	for (int n = 0; n < sim.n_nodes; n++)
		if (n != primary && sim.node[n].is_member && !follows(n, primary) &&
			!waits_for_person(&sim.node[n], primary))
			return false;
	if (check.has_peace)
	{
		for (int n = 0; n < sim.n_nodes; n++)
			if (has_endless_fence(&sim.node[n]))
				return false;
		look_at_commands();
		if (check.n_open > 0)
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

/* The best place a member has; NULL when no member has data. */
static const SimNode *
best_placed(void)
{
	const SimNode *best = NULL;

	for (int n = 0; n < sim.n_nodes; n++)
	{
		const SimNode *node = &sim.node[n];

		if (node->is_member && node->data.state == HA_DATA_PRESENT && node->data.end.lsn != 0 &&
			(best == NULL || is_further(&node->data, &best->data)))
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
 * Have all whom the key "sync" lets lead been removed for good?  Then others
 * may lack acknowledged writes, and an operator has to name one of them.
 */
static bool
sync_key_waits_for_operator(void)
{
	const SimKey *key = sim.profile.engine_keeps_sync ? sim_store_find("sync") : NULL;
	SyncState	sync;
	bool		is_anybody_there = false;

	if (key == NULL || key->value == NULL)
		return false;
	memset(&sync, 0, sizeof(sync));
	sync_from_text(&sync, key->value);
	for (int n = 0; n < sim.n_nodes && !is_anybody_there; n++)
	{
		const char *name = sim.node[n].name;
		size_t		length = strlen(name);

		if (!sim.node[n].is_member)
			continue;
		is_anybody_there = strcmp(sync.leader, name) == 0;
		for (const char *list = sync.sync_standby; list != NULL && *list != '\0' && !is_anybody_there;)
		{
			size_t		size = strcspn(list, ",");

			is_anybody_there = size == length && strncmp(list, name, size) == 0;
			list += size + (list[size] == ',');
		}
	}
	free(sync.sync_standby);
	return !is_anybody_there;
}

/* Is there a member that its tags, lag and timeline let lead, and the key "sync"? */
bool
sim_check_has_eligible(void)
{
	uint32_t	timeline = timeline_of_history();
	Lsn			optime = old_optime(0);
	bool		needs_operator = sync_key_waits_for_operator();

	for (int n = 0; n < sim.n_nodes; n++)
	{
		const SimNode *node = &sim.node[n];

		if (!node->is_member || node->data.state == HA_DATA_UNREADABLE || node->data.is_broken)
			continue;
		if (node->data.state == HA_DATA_PRESENT && node->data.end.lsn != 0 && !needs_operator &&
			sim.profile.nofailover != n && !waits_as_patroni(n) &&
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
	int64_t		passed_us = sim.now_us - check.last_look_us;
	int64_t		bound_us;

	sim_check_ttl(sim.profile.ttl_ms, sim.profile.loop_wait_ms);
	bound_us = check.ttl_us + check.loop_wait_us + SIM_MS(2000);
	if (sim.profile.n_patroni > 0)
		bound_us += check.loop_wait_us + 2 * SIM_MS(sim.profile.retry_timeout_ms);
	if (!check.has_peace)
	{
		check.has_peace = true;
		check.primary_base_us = sim.peace_us;
		check.healthy_base_us = sim.peace_us;
		passed_us = 0;
	}
	check.last_look_us = sim.now_us;
	look_at_commands();
	if (writable_primary() >= 0)
	{
		check.primary_base_us = sim.now_us;
		check.hopeless_us = 0;
	}
	else
	{
		if (!sim_check_has_eligible())
		{
			check.hopeless_us += passed_us;
			check.primary_base_us = sim.now_us;
		}
		else
			check.hopeless_us = 0;
		if (is_excused() && check.excused_us < EXCUSE_MAX_US)
		{
			check.excused_us += passed_us;
			check.primary_base_us = sim.now_us;
		}
		check.healthy_base_us = sim.now_us;
	}
	if (sim.now_us > check.primary_base_us + bound_us)
	{
		sim_fail("L1 there is no writable primary %lld ms after it could be there",
				 (long long) ((sim.now_us - check.primary_base_us) / 1000));
		return;
	}
	if (sim_check_is_healthy())
		check.healthy_base_us = sim.now_us;
	else if (sim.now_us > check.healthy_base_us + FOLLOW_US)
	{
		int			primary = writable_primary();

		for (int n = 0; n < sim.n_nodes; n++)
			if (n != primary && sim.node[n].is_member && !follows(n, primary) &&
				!waits_for_person(&sim.node[n], primary))
				sim_fail("L1 %s does not follow %s", name_of(n), name_of(primary));
		for (int n = 0; n < sim.n_nodes; n++)
			if (has_endless_fence(&sim.node[n]))
				sim_fail("S1 the fence of %s has no deadline, and the cluster is not paused", name_of(n));
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
