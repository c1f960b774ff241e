/*-------------------------------------------------------------------------
 *
 * verbs.c
 *      Carries out what the tables decided.
 *
 * A verb may be carried out again and again until what it wants is observed:
 * each looks first whether the same thing is under way already.  Verbs that
 * need a task in the worker's home yield the baton instead; the supervisor's
 * engine comes to the same decision and acts.
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "ha/internal.h"

/* Nobody takes writes while it is asked who has all of the WAL of a stopped server. */
#define HANDOVER_ASK_MS		5

#define FOLLOW_PAUSE_MS		200		/* for the server to show its new upstream */

static const char *const goal_names[HA_GOAL_COUNT] = {
	[HA_GOAL_NONE] = "",
	[HA_GOAL_SWITCHOVER] = "switchover",
	[HA_GOAL_RESTART] = "restart",
	[HA_GOAL_DEMOTE] = "demote",
	[HA_GOAL_REINIT] = "reinitialize",
	[HA_GOAL_REPAIR] = "repair",
	[HA_GOAL_SHUTDOWN] = "shutdown",
	[HA_GOAL_REFUSE] = "refuse",
};

/* The goal's name in messages and in the saved state; "" = none. */
const char *
ha_goal_name(const HaNode *node)
{
	return goal_names[node->goal];
}

/* Give the baton away: the supervisor has to act. */
void
ha_yield(HaNode *node, const char *rule, const char *because)
{
	if (node->home == HA_HOME_WORKER)
		ha_add(node, HA_YIELD, rule, "%s", because);
}

/* Take up a goal; in the worker's home that means to give the baton away. */
void
ha_set_goal(HaNode *node, HaGoal goal, const char *rule, const char *because)
{
	if (node->goal != goal)
	{
		ha_log(node, 1, rule, "%s: %s", goal_names[goal], because);
		node->goal = goal;
		node->goal_since_ms = node->now_ms;
		ha_name_copy(node->goal_because, sizeof(node->goal_because), because);
		node->goal_candidate[0] = '\0';
		node->is_handed_over = false;
		node->handover_lsn = 0;
		node->task_retry_ms = 0;
	}
	ha_yield(node, rule, because);
}

/* The goal is reached, or given up. */
void
ha_clear_goal(HaNode *node)
{
	node->goal = HA_GOAL_NONE;
	node->goal_candidate[0] = '\0';
	node->goal_because[0] = '\0';
	node->is_handed_over = false;
	node->checkpoint_asked_ms = 0;
}

/* A task that makes no sense any more is cancelled. */
static void
supervise_task(HaNode *node, const HaRule *rule)
{
	const char *why = NULL;

	if (node->task == HA_TASK_START_PRIMARY && !node->settings.is_paused &&
		!node->has_lease && node->view.has_leader &&
		!cluster_is_leader(&node->view, node->settings.name))
		why = "another member became leader";
	else if (node->goal == HA_GOAL_SHUTDOWN && node->task != HA_TASK_STOP &&
			 node->task != HA_TASK_REMOVE_DATA)
		why = "the supervisor was told to stop";
	if (why == NULL || node->is_task_cancelled)
		return;
	node->is_task_cancelled = true;
	ha_add(node, HA_CANCEL_TASK, rule->name, "%s", why)->task_id = node->task_id;
}

static void
acquire(HaNode *node, const HaRule *rule)
{
	HaAction   *action;

	if (node->is_giving_away || ha_failsafe_bound_ms(node) != 0 || !ha_is_ready(node, FOR_ACQUIRE))
		return;
	ha_sync_race_won(node, rule->name);
	action = ha_request(node, FOR_ACQUIRE, HA_ACQUIRE, rule->name, rule->because);
	ha_name_copy(action->value, sizeof(action->value), node->settings.name);
	/* it may be carried out late: only while nobody else was promoted since what we decide by */
	action->version = node->view.promotions_seen;
	action->history_version = node->view.history_seen;
	action->failsafe_version = node->view.failsafe_seen;
	action->timeout_ms = (int) node->settings.retry_timeout_ms;
	if (!ha_is_primary(node) && !node->is_promoting)
		ha_claim_with(node, action);
}

static void
follow(HaNode *node, const HaRule *rule)
{
	const Member *upstream = ha_upstream(node);
	HaAction   *action;

	if (upstream == NULL || node->now_ms < node->upstream_set_ms + FOLLOW_PAUSE_MS)
	{
		ha_wake(node, node->upstream_set_ms + FOLLOW_PAUSE_MS);
		return;
	}
	action = ha_add(node, HA_FOLLOW, rule->name, "following \"%s\": %s", upstream->name, rule->because);
	ha_name_copy(action->member, sizeof(action->member), upstream->name);
	ha_name_copy(action->url, sizeof(action->url), upstream->conn_url);
	if (node->settings.use_slots)
		member_slot_name(node->settings.name, action->slot);
	node->upstream_set_ms = node->now_ms;
	node->repair_failures = 0;
	node->repair_next_ms = node->now_ms;	/* what did not work was about another */
}

/* Of a server that is down: who has all of its WAL?  Else: who is best placed? */
static void
ask_peers(HaNode *node, const HaRule *rule)
{
	bool		is_handover = !ha_is_running(node);
	HaRacePurpose purpose = is_handover ? RACE_HANDOVER : RACE_LEADER;

	/* more than its beginning: who has just that does not have the record */
	if (is_handover && node->handover_lsn == 0 &&
		(node->goal == HA_GOAL_SHUTDOWN || node->goal == HA_GOAL_SWITCHOVER))
		node->handover_lsn = node->postgres.checkpoint_lsn + 1;
	if (!ha_race_is_asking(node, purpose) &&
		(!is_handover || node->now_ms >= node->race.started_ms + HANDOVER_ASK_MS))
		ha_ask_peers(node, purpose, is_handover ? node->goal_candidate : NULL, rule->because);
	else
		ha_wake(node, node->race.started_ms + HANDOVER_ASK_MS);
}

/*
 * A former primary may be started as a standby without a look at its WAL: so
 * it is when the store is silent, or when nobody leads.  Then it is a standby
 * of nobody, and stays that until it has been compared with a leader: what it
 * wrote may be on a timeline with the id and the position of the leader's.
 * One that has handed over knows that its successor has all it wrote.
 */
static void
note_former_primary(HaNode *node)
{
	const HaPostgres *postgres = &node->postgres;

	if (postgres->data != HA_DATA_PRESENT || !ha_was_primary(node) || node->is_checked ||
		node->is_handed_over)
		return;
	if (!node->is_uncompared)
	{
		node->repair_failures = 0;
		node->repair_next_ms = 0;
	}
	node->is_uncompared = true;
	node->is_source_unsure = false;
	/* of one that crashed it may be from before the promotion */
	if (postgres->control_state == HA_CONTROL_SHUTDOWNED &&
		postgres->checkpoint_timeline > node->primary_timeline)
		node->primary_timeline = postgres->checkpoint_timeline;
}

static void
start_standby(HaNode *node, const HaRule *rule)
{
	const Member *upstream = NULL;

	note_former_primary(node);
	if (!node->has_lease && !node->is_uncompared && !ha_history_differs(node))
		upstream = ha_upstream(node);
	if (!node->is_uncompared && upstream == NULL && node->successor[0] != '\0' && !node->has_lease)
		upstream = cluster_find_member(&node->view, node->successor);
	ha_start_task(node, HA_TASK_START_STANDBY, upstream, HA_STOP_FAST, rule->name, rule->because);
}

static void
finish_handover(HaNode *node, const HaRule *rule)
{
	const HaPeer *holder = ha_race_holder_of(node, node->handover_lsn, node->goal_candidate);

	if (holder != NULL)
		ha_name_copy(node->successor, sizeof(node->successor), holder->name);
	node->is_handed_over = true;
	ha_release(node, node->handover_lsn, rule->name, rule->because);
}

static void
abort_handover(HaNode *node, const HaRule *rule)
{
	ha_clear_request(node, rule->because, rule->name, rule->because);
	ha_clear_goal(node);
	ha_wake(node, node->now_ms + 1);	/* it is down: do not wait for the reply */
}

static void
exit_stopped(HaNode *node, const HaRule *rule)
{
	bool		is_stopped = node->postgres.server == HA_SERVER_STOPPED;
	bool		is_late = node->now_ms >= node->goal_since_ms + node->settings.retry_timeout_ms +
		HA_HANDOVER_WAIT_MS + HA_COMMAND_TIMEOUT_MS;

	if (node->is_giving_away && !node->store_silent && !is_late)
		return;					/* until the store has answered */
	if (node->has_lease && is_stopped && !node->store_silent && !is_late &&
		node->postgres.control_state == HA_CONTROL_SHUTDOWNED)
	{
		ha_release(node, node->postgres.checkpoint_lsn, rule->name,
				   "the server is shut down cleanly");
		return;
	}
	if (!ha_is_pending(node, FOR_RELEASE))
		ha_add(node, HA_EXIT, rule->name, "%s", rule->because)->exit_code = 0;
}

static void
claim_initialize(HaNode *node, const HaRule *rule)
{
	HaAction   *action;

	if (!ha_is_ready(node, FOR_INITIALIZE))
		return;
	action = ha_request(node, FOR_INITIALIZE, HA_CREATE_KEY, rule->name, rule->because);
	ha_name_copy(action->key, sizeof(action->key), "initialize");
	ha_set_text(node, action, strdup(""));
}

static void
repair(HaNode *node, const HaRule *rule)
{
	/* a former primary follows nobody before it has been compared: sooner again */
	int64_t		pause_ms = node->is_uncompared ? HA_TASK_RETRY_MIN_MS : HA_STREAM_LOST_MS;
	int64_t		max_ms = node->is_uncompared ? HA_STREAM_LOST_MS : HA_REPAIR_MAX_MS;

	for (int i = 0; i < node->repair_failures && pause_ms < max_ms; i++)
		pause_ms *= 2;
	if (pause_ms > max_ms)
		pause_ms = max_ms;
	node->repair_failures++;
	node->repair_next_ms = node->now_ms + pause_ms;
	ha_set_goal(node, HA_GOAL_REPAIR, rule->name, rule->because);
}

static void
rewind_from(HaNode *node, const Member *leader, const HaRule *rule)
{
	const char *other = NULL;

	/* who claimed what may have become known only after the comparison */
	if (ha_fools_rewind(node, &other))
	{
		node->has_rewind_failed = true;
		ha_tell_same_timeline(node, other);
		ha_wake(node, node->now_ms + 1);	/* what else can be done is another rule's */
	}
	else if (leader != NULL)
		ha_start_task(node, HA_TASK_REWIND, leader, HA_STOP_FAST, rule->name, rule->because);
}

static void
refuse(HaNode *node, const HaRule *rule)
{
	if (node->home == HA_HOME_WORKER)
		ha_set_goal(node, HA_GOAL_REFUSE, rule->name, rule->because);
	else
		ha_add(node, HA_EXIT, rule->name,
			   "system identifier mismatch: \"%s\" has %llu, the cluster has %s",
			   node->settings.name, (unsigned long long) node->postgres.system_identifier,
			   node->view.system_identifier)->exit_code = HA_EXIT_FOREIGN;
}

/* Carry out one decision. */
void
ha_carry_out(HaNode *node, const HaRule *rule)
{
	const Member *leader = ha_leader_member(node);
	/* what was measured belongs to the reason */
	const char *because = (rule->when & HA_FACT(HANGS)) != 0 ? node->decision.because : rule->because;

	switch (rule->then)
	{
		case HA_DO_WAIT:
		case HA_VERB_COUNT:
			break;
		case HA_DO_SUPERVISE_TASK:
			supervise_task(node, rule);
			break;
		case HA_DO_REGAIN_LEASE:
			break;				/* ha_keep_lease() is at it */
		case HA_DO_ACQUIRE:
			acquire(node, rule);
			break;
		case HA_DO_RELEASE:
			ha_release(node, 0, rule->name, because);
			break;
		case HA_DO_ASK_PEERS:
			ask_peers(node, rule);
			break;
		case HA_DO_CLAIM_TIMELINE:
			ha_claim_timeline(node, rule);
			break;
		case HA_DO_MARK_TIMELINES:
			ha_mark_timelines(node, rule);
			break;
		case HA_DO_PROMOTE:
			ha_promote(node, rule);
			break;
		case HA_DO_LEAD:
			break;				/* ha_lead() does it each step */
		case HA_DO_FOLLOW:
			follow(node, rule);
			break;
		case HA_DO_RESUME_REPLAY:
			if (leader != NULL)
				ha_add(node, HA_RESUME_REPLAY, rule->name, "%s", rule->because);
			break;
		case HA_DO_DEMOTE:
		case HA_DO_DEMOTE_OFFLINE:
			ha_set_goal(node, HA_GOAL_DEMOTE, rule->name, because);
			break;
		case HA_DO_REPAIR:
			repair(node, rule);
			break;
		case HA_DO_SWITCHOVER:
			ha_do_switchover(node, rule);
			break;
		case HA_DO_STOP_FAST:
			ha_start_task(node, HA_TASK_STOP, NULL, HA_STOP_FAST, rule->name, rule->because);
			break;
		case HA_DO_STOP_IMMEDIATE:
			ha_start_task(node, HA_TASK_STOP, NULL, HA_STOP_IMMEDIATE, rule->name, because);
			break;
		case HA_DO_FINISH_HANDOVER:
			finish_handover(node, rule);
			break;
		case HA_DO_ABORT_HANDOVER:
			abort_handover(node, rule);
			break;
		case HA_DO_CLAIM_INITIALIZE:
			claim_initialize(node, rule);
			break;
		case HA_DO_INITDB:
			ha_start_task(node, HA_TASK_INITDB, NULL, HA_STOP_FAST, rule->name, rule->because);
			break;
		case HA_DO_POST_BOOTSTRAP:
			if (!node->is_post_bootstrapped)
				ha_start_task(node, HA_TASK_POST_BOOTSTRAP, NULL, HA_STOP_FAST, rule->name, rule->because);
			break;
		case HA_DO_CLONE:
			ha_start_task(node, HA_TASK_BASEBACKUP, ha_clone_source(node), HA_STOP_FAST,
						  rule->name, rule->because);
			break;
		case HA_DO_START_PRIMARY:
			ha_start_task(node, HA_TASK_START_PRIMARY, NULL, HA_STOP_FAST, rule->name, rule->because);
			break;
		case HA_DO_START_STANDBY:
			start_standby(node, rule);
			break;
		case HA_DO_CRASH_RECOVERY:
			ha_start_task(node, HA_TASK_CRASH_RECOVERY, NULL, HA_STOP_FAST, rule->name, rule->because);
			break;
		case HA_DO_CHECK_DIVERGENCE:
			if (leader != NULL)
				ha_start_task(node, HA_TASK_CHECK_DIVERGENCE, leader, HA_STOP_FAST,
							  rule->name, rule->because);
			break;
		case HA_DO_REWIND:
			rewind_from(node, leader, rule);
			break;
		case HA_DO_REMOVE_DATA:
			/* who has to answer first: its key outlives it by up to ttl */
			ha_start_task(node, HA_TASK_REMOVE_DATA, leader, HA_STOP_FAST, rule->name, rule->because);
			break;
		case HA_DO_FIND_WAL_END:
			ha_start_task(node, HA_TASK_WAL_END, NULL, HA_STOP_FAST, rule->name, rule->because);
			break;
		case HA_DO_HAND_OVER_CRASHED:
			ha_release(node, node->handover_lsn, rule->name, because);
			break;
		case HA_DO_EXIT_STOPPED:
			exit_stopped(node, rule);
			break;
		case HA_DO_REFUSE:
			refuse(node, rule);
			break;
	}
}
