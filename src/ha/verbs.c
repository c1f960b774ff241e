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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ha/internal.h"

static const char *const task_names[] = {
	[HA_TASK_NONE] = "",
	[HA_TASK_INITDB] = "initdb",
	[HA_TASK_BASEBACKUP] = "base backup",
	[HA_TASK_START_PRIMARY] = "start as primary",
	[HA_TASK_START_STANDBY] = "start as standby",
	[HA_TASK_STOP] = "stop",
	[HA_TASK_POST_BOOTSTRAP] = "post-bootstrap",
	[HA_TASK_CHECK_DIVERGENCE] = "timeline check",
	[HA_TASK_REWIND] = "pg_rewind",
	[HA_TASK_CRASH_RECOVERY] = "crash recovery",
	[HA_TASK_WAL_END] = "search for the end of WAL",
	[HA_TASK_REMOVE_DATA] = "removal of the data directory",
	[HA_TASK_MOVE_DATA_ASIDE] = "move of the data directory",
};

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

/* The task's name in messages. */
const char *
ha_task_name(HaTask task)
{
	return (unsigned) task < sizeof(task_names) / sizeof(task_names[0]) ? task_names[task] : "";
}

/* The goal's name in messages and in the saved state; "" = none. */
const char *
ha_goal_name(const HaNode *node)
{
	return goal_names[node->goal];
}

static void
yield(HaNode *node, const char *rule, const char *because)
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
	yield(node, rule, because);
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

/*
 * Start a task, unless it runs already.  Another one that runs is cancelled
 * first; the same decision is then taken again when it has ended.
 */
void
ha_start_task(HaNode *node, HaTask task, const Member *member, HaStopMode mode,
			  const char *rule, const char *because)
{
	HaAction   *action;

	if (node->home == HA_HOME_WORKER)
	{
		yield(node, rule, because);
		return;
	}
	if (node->task == task)
		return;
	if (node->task != HA_TASK_NONE)
	{
		if (!node->is_task_cancelled)
			ha_add(node, HA_CANCEL_TASK, rule, "%s", because)->task_id = node->task_id;
		node->is_task_cancelled = true;
		return;
	}
	node->task = task;
	node->task_id = ++node->next_id;
	node->task_started_ms = node->now_ms;
	node->is_task_cancelled = false;
	ha_name_copy(node->task_member, sizeof(node->task_member), member ? member->name : "");
	action = ha_add(node, HA_START_TASK, rule, "%s", because);
	action->task = task;
	action->task_id = node->task_id;
	action->stop_mode = mode;
	action->from_leader = node->goal_from_leader;
	action->lsn = node->postgres.flush_lsn;
	action->is_former_primary = task == HA_TASK_START_STANDBY && node->is_uncompared;
	if (action->is_former_primary)
		action->timeline = node->primary_timeline;
	/* the control file may show an older one until the next restartpoint */
	if (ha_is_running(node) && node->postgres.is_in_recovery)
		action->timeline = ha_own_timeline(node);
	if (member != NULL)
	{
		ha_name_copy(action->member, sizeof(action->member), member->name);
		ha_name_copy(action->url, sizeof(action->url), member->conn_url);
		if (node->settings.use_slots)
			member_slot_name(node->settings.name, action->slot);
	}
}

/*
 * Starts that fail, and the timeline checks between them, are one series: the
 * pauses grow over both.
 */
static bool
is_same_series(HaTask failed, HaTask task)
{
	return failed == task ||
		(failed == HA_TASK_START_STANDBY && task == HA_TASK_CHECK_DIVERGENCE) ||
		(failed == HA_TASK_CHECK_DIVERGENCE && task == HA_TASK_START_STANDBY);
}

/* What to do when a task failed. */
static void
task_failed(HaNode *node, HaTask task, HaTaskOutcome outcome, const char *message)
{
	int64_t		pause_ms = HA_TASK_RETRY_MIN_MS;

	node->task_failures = is_same_series(node->failed_task, task) ? node->task_failures + 1 : 1;
	node->failed_task = task;
	for (int i = 1; i < node->task_failures && pause_ms < HA_TASK_RETRY_MAX_MS; i++)
		pause_ms *= 2;
	if (pause_ms > HA_TASK_RETRY_MAX_MS)
		pause_ms = HA_TASK_RETRY_MAX_MS;
	if (outcome != HA_TASK_CANCELLED)
	{
		node->task_retry_ms = node->now_ms + pause_ms;
		ha_name_copy(node->task_error, sizeof(node->task_error), message ? message : "no reason given");
		ha_log(node, 2, "task-failed", "%s failed, trying again in %d s: %s", ha_task_name(task),
			   (int) (pause_ms / 1000), node->task_error);
	}
	switch (task)
	{
		case HA_TASK_INITDB:
			node->is_bootstrapping = false;
			node->has_bootstrap_failed = true;
			break;
		case HA_TASK_START_PRIMARY:
		case HA_TASK_START_STANDBY:
			/* files changed, or the leader went on: what was found out may be outdated */
			if (task == HA_TASK_START_STANDBY && outcome != HA_TASK_CANCELLED && !node->is_diverged)
				node->is_checked = false;
			/* the command is over; that the server is down is a matter of its own */
			if (node->goal == HA_GOAL_RESTART && outcome != HA_TASK_CANCELLED)
			{
				char		result[HA_REASON_MAX];

				snprintf(result, sizeof(result), "the server does not start: %.200s", node->task_error);
				ha_clear_goal(node);
				if (node->is_request_running)
					ha_finish_member_request(node, false, result);
			}
			break;
		case HA_TASK_REWIND:
			/* anything else is the leader or the way to it: that comes back */
			if (outcome == HA_TASK_IMPOSSIBLE)
				node->has_rewind_failed = true;
			break;
		case HA_TASK_WAL_END:
			node->is_wal_end_known = true;	/* as far as it can be */
			node->handover_lsn = 0;
			node->task_retry_ms = 0;
			break;
		case HA_TASK_CHECK_DIVERGENCE:
			if (node->goal == HA_GOAL_REPAIR)
				ha_clear_goal(node);
			break;
		default:
			break;
	}
}

/*
 * The timeline on which a primary wrote WAL here that was not compared; 0 none.
 * The checkpoint of one that crashed may be from before its promotion.
 */
static uint32_t
was_primary_on(const HaNode *node)
{
	if (!ha_is_running(node) && ha_was_primary(node))
		return node->postgres.control_state == HA_CONTROL_SHUTDOWNED ?
			node->postgres.checkpoint_timeline : 0;
	if (!node->is_uncompared)
		return 0;
	/* it has followed nobody since: what it has replayed is what it wrote */
	return ha_is_running(node) && ha_own_timeline(node) > node->primary_timeline ?
		ha_own_timeline(node) : node->primary_timeline;
}

/*
 * Where the leader left that timeline, as the store says; 0: it does not.
 */
static Lsn
left_at(const ClusterView *view, uint32_t timeline)
{
	for (int i = 0; i < view->n_history; i++)
		if (view->history[i].timeline == timeline)
			return view->history[i].switch_lsn;
	return 0;
}

/*
 * Has this member led on that timeline?  The history that a leader writes names
 * it, and so does its claim; a promotion by hand leaves neither.
 */
static bool
has_led_on(const HaNode *node, uint32_t timeline)
{
	const ClusterView *view = &node->view;
	const TimelineHistory *began = NULL;

	for (int i = 0; i < view->n_history; i++)
		if (view->history[i].timeline < timeline)
			began = &view->history[i];
	for (int i = 0; i < view->n_taken; i++)
		if (view->taken[i].timeline == timeline &&
			strcmp(view->taken[i].name, node->settings.name) == 0)
			return true;
	return began == NULL || strcmp(began->new_leader, node->settings.name) == 0;
}

/*
 * Nothing was found by comparing ids and positions.  But two primaries on one
 * timeline were promoted to it both, one of them by hand when nobody could
 * hear of it; and the WAL that they wrote there differs, whatever its length.
 * "other" is who else was promoted to it.  So it is, too, when the leader went
 * further on that timeline than "end", where this standby is or the former
 * primary was shut down (0 = unknown): it was its own, and there cannot be
 * more of it than its primary wrote; nor as much, if this one never led on it,
 * so that nobody was to follow it.  False:
 * that is not known yet, the leader's key or the history is from before its
 * promotion.
 */
static bool
is_leader_newer(const HaNode *node, Lsn end, const char **other)
{
	const ClusterView *view = &node->view;
	const Member *leader = cluster_find_member(view, node->task_member);
	uint32_t	own = was_primary_on(node);

	if (ha_source_differs(node))
	{
		*other = view->leader;
		return true;
	}
	if (own == 0)
		return true;
	for (int i = 0; i < view->n_taken && *other == NULL; i++)
		if (view->taken[i].timeline == own && view->taken[i].name[0] != '\0' &&
			strcmp(view->taken[i].name, node->settings.name) != 0)
			*other = view->taken[i].name;
	if (leader != NULL && leader->timeline == own && leader->role == ROLE_PRIMARY && *other == NULL &&
		!ha_has_claimed_after(view, leader->name, own))
		*other = leader->name;
	if (*other != NULL)
		return true;
	if (leader == NULL || leader->timeline <= own)
		return false;
	if (end != 0 && (left_at(view, own) > end || (left_at(view, own) == end && !has_led_on(node, own))))
		*other = leader->name;
	return *other != NULL || end == 0 || cluster_timeline(view) > own;
}

/*
 * pg_rewind, too, goes by ids and positions.  Of WAL that was found to be
 * different it finds no difference, or one too late, where another member was
 * promoted to the timeline of this former primary, and from the same position.
 */
static bool
fools_rewind(const HaNode *node, const char **other)
{
	const ClusterView *view = &node->view;
	const HaPostgres *postgres = &node->postgres;
	uint32_t	own = was_primary_on(node);

	if (ha_source_differs(node))
		*other = view->leader;
	for (int i = 0; i < view->n_taken && own != 0 && *other == NULL; i++)
	{
		const TakenTimeline *taken = &view->taken[i];

		if (taken->timeline != own || taken->name[0] == '\0' ||
			strcmp(taken->name, node->settings.name) == 0)
			continue;
		for (int j = 0; j < postgres->n_history; j++)
			if (postgres->history[j].timeline == taken->parent &&
				postgres->history[j].switch_lsn == taken->lsn)
				*other = taken->name;
	}
	return *other != NULL;
}

static void
tell_same_timeline(HaNode *node, const char *other)
{
	uint32_t	own = was_primary_on(node);
	const Member *member = cluster_find_member(&node->view, other);

	ha_log(node, 2, "same-timeline",
		   "%s and \"%s\" were both promoted to timeline %u, and their WAL differs: "
		   "this member has to be cloned anew",
		   own == 0 ? "another member" : "this member", other,
		   own == 0 && member != NULL ? member->timeline : own);
}

/*
 * A standby recovers to the newest timeline that it has found a history file
 * of.  When the leader that made that timeline is lost before any of its WAL
 * came, and the next one comes from another, a running server stays on its
 * course for ever ("new timeline is not a child of database system timeline");
 * it looks again when it is started.  Not at the first try: the leader may be
 * about to make a slot, or to come up.
 */
static bool
is_off_course(const HaNode *node)
{
	const Member *leader = cluster_find_member(&node->view, node->task_member);

	return node->goal == HA_GOAL_REPAIR && !node->is_uncompared && ha_is_running(node) &&
		node->postgres.is_in_recovery && node->repair_failures == HA_OFF_COURSE_REPAIRS &&
		leader != NULL && leader->role == ROLE_PRIMARY && ha_own_timeline(node) != 0 &&
		leader->timeline > ha_own_timeline(node);
}

static void
task_succeeded(HaNode *node, const HaInput *input)
{
	HaTask		task = input->task.task;
	const char *other = NULL;

	/*
	 * A start that was given up has failed, even if the stop after it went
	 * well; and a check in between does not make the next start a first one.
	 */
	if (task != HA_TASK_STOP &&
		(task != HA_TASK_CHECK_DIVERGENCE || node->failed_task != HA_TASK_START_STANDBY))
	{
		node->task_failures = 0;
		node->failed_task = HA_TASK_NONE;
		node->task_error[0] = '\0';
	}
	node->task_retry_ms = 0;
	switch (task)
	{
		case HA_TASK_BASEBACKUP:
			node->is_uncompared = false;
			node->is_checked = node->is_diverged = node->has_rewind_failed = false;
			node->goal_from_leader = false;
			ha_finish_member_request(node, true, "reinitialized");
			break;
		case HA_TASK_START_PRIMARY:
		case HA_TASK_START_STANDBY:
			if (node->goal == HA_GOAL_RESTART)
			{
				ha_clear_goal(node);
				ha_finish_member_request(node, true, "restarted");
			}
			/* it has come back, by whatever way */
			if (task == HA_TASK_START_STANDBY &&
				(node->goal == HA_GOAL_SWITCHOVER || node->goal == HA_GOAL_DEMOTE))
				ha_clear_goal(node);
			node->handover_lsn = 0;
			node->is_checked = node->is_diverged = node->has_rewind_failed = false;
			node->is_wal_end_known = false;
			node->upstream_set_ms = node->now_ms;
			break;
		case HA_TASK_STOP:
			if (node->goal == HA_GOAL_SWITCHOVER || node->goal == HA_GOAL_SHUTDOWN)
				node->handover_lsn = input->task.lsn;
			if (node->goal == HA_GOAL_DEMOTE || node->goal == HA_GOAL_REPAIR)
				ha_clear_goal(node);
			break;
		case HA_TASK_CHECK_DIVERGENCE:
			if (input->task.divergence == HA_DIVERGENCE_UNKNOWN)
			{
				task_failed(node, task, HA_TASK_FAILED, input->task.message);
				break;
			}
			if (input->task.divergence == HA_DIVERGENCE_NONE && !is_leader_newer(node, input->task.lsn, &other))
			{
				task_failed(node, task, HA_TASK_FAILED, "the leader's timeline is not known yet");
				break;
			}
			if (input->task.divergence == HA_DIVERGENCE_REWIND)
				(void) fools_rewind(node, &other);
			node->is_checked = true;
			node->is_checked_running = ha_is_running(node);
			ha_name_copy(node->checked_with, sizeof(node->checked_with), node->task_member);
			node->is_diverged = input->task.divergence == HA_DIVERGENCE_REWIND ||
				input->task.divergence == HA_DIVERGENCE_CLONE || other != NULL;
			if (other != NULL)
			{
				node->has_rewind_failed = true; /* it goes by ids and positions, too */
				tell_same_timeline(node, other);
			}
			else if (node->is_diverged)
			{
				/* asked again later, when the leader has gone on, ids and positions may say otherwise */
				node->has_rewind_failed = node->has_rewind_failed ||
					input->task.divergence == HA_DIVERGENCE_CLONE;
				ha_log(node, 2, "diverged", "this member has WAL that \"%s\" does not have%s%s",
					   node->task_member, input->task.message ? ": " : "",
					   input->task.message ? input->task.message : "");
			}
			else
			{
				bool		is_stuck = is_off_course(node);

				node->is_uncompared = false;
				if (node->goal == HA_GOAL_REPAIR)
					ha_clear_goal(node);
				if (is_stuck)
					ha_set_goal(node, HA_GOAL_RESTART, "off-course",
								"the leader can be reached and has all of this member's WAL, yet its newer "
								"timeline is not reached: looking for it anew");
			}
			break;
		case HA_TASK_REWIND:
			node->is_uncompared = false;
			node->is_checked = true;
			node->is_checked_running = false;
			ha_name_copy(node->checked_with, sizeof(node->checked_with), node->task_member);
			node->is_diverged = node->has_rewind_failed = false;
			break;
		case HA_TASK_REMOVE_DATA:
			node->is_uncompared = false;
			node->primary_timeline = 0;
			node->is_checked = node->is_diverged = node->has_rewind_failed = false;
			if (node->goal == HA_GOAL_REINIT)
			{
				bool		from_leader = node->goal_from_leader;

				ha_clear_goal(node);
				node->goal_from_leader = from_leader;
			}
			break;
		case HA_TASK_WAL_END:
			node->is_wal_end_known = true;
			node->handover_lsn = input->task.lsn;
			break;
		case HA_TASK_POST_BOOTSTRAP:
			node->is_post_bootstrapped = true;
			break;
		default:
			break;
	}
}

/* A task ended. */
void
ha_task_ended(HaNode *node, const HaInput *input)
{
	if (node->task == HA_TASK_NONE || input->task.id != node->task_id ||
		input->task.task != node->task)
		return;
	node->task = HA_TASK_NONE;
	if (input->task.outcome == HA_TASK_OK)
	{
		ha_log(node, 1, "task-done", "%s done after %lld ms", ha_task_name(input->task.task),
			   (long long) (node->now_ms - node->task_started_ms));
		task_succeeded(node, input);
	}
	else
		task_failed(node, input->task.task, input->task.outcome, input->task.message);
	node->is_task_cancelled = false;
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
	else if (node->task == HA_TASK_BASEBACKUP && node->goal == HA_GOAL_SHUTDOWN)
		why = "the supervisor was told to stop";
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

	if (node->is_giving_away || !ha_is_ready(node, FOR_ACQUIRE))
		return;
	ha_sync_race_won(node, rule->name);
	action = ha_request(node, FOR_ACQUIRE, HA_ACQUIRE, rule->name, rule->because);
	ha_name_copy(action->value, sizeof(action->value), node->settings.name);
	/* it may be carried out late: only while nobody else was promoted since what we decide by */
	action->version = node->view.promotions_seen;
	action->history_version = node->view.history_seen;
	action->timeout_ms = (int) node->settings.retry_timeout_ms;
}

/* Add an id to the key "promotions".  False: not now. */
static bool
put_taken(HaNode *node, const TakenTimeline *item, const char *rule, const char *because)
{
	const ClusterView *view = &node->view;
	TakenTimeline *taken = malloc(((size_t) view->n_taken + 1) * sizeof(*taken));
	HaAction   *action;

	if (taken == NULL)
	{
		node->out->is_incomplete = true;
		return false;
	}
	if (view->n_taken > 0)
		memcpy(taken, view->taken, (size_t) view->n_taken * sizeof(*taken));
	taken[view->n_taken] = *item;
	action = ha_request(node, FOR_TIMELINE, view->taken_version ? HA_PUT_KEY : HA_CREATE_KEY,
						rule, because);
	ha_name_copy(action->key, sizeof(action->key), "promotions");
	action->version = view->taken_version;
	action->timeline = item->timeline;
	ha_set_text(node, action, taken_to_text(taken, view->n_taken + 1));
	free(taken);
	return true;
}

/* The highest timeline id that anybody is known to have taken. */
static uint32_t
highest_timeline(const HaNode *node)
{
	const ClusterView *view = &node->view;
	const HaRace *race = &node->race;
	uint32_t	highest = cluster_timeline(view);

	for (int i = 0; i < view->n_taken; i++)
		if (view->taken[i].timeline > highest)
			highest = view->taken[i].timeline;
	/*
	 * A promotion by hand is recorded a little later than it is seen, one of a
	 * Patroni member with its first history; and it may never get that far.
	 */
	if (node->seen_timeline > highest)
		highest = node->seen_timeline;
	for (int i = 0; i < race->n_asked; i++)
		if (race->has_answered[i] && race->answers[i].is_reachable &&
			race->answers[i].timeline > highest)
			highest = race->answers[i].timeline;
	return highest;
}

/*
 * A person who promotes a server by hand records nothing.  A server that has
 * WAL of such a timeline records its id, in nobody's name, so that no
 * promotion gets the same id for other WAL: neither streaming nor pg_rewind
 * could tell the two apart.  In nobody's name, because it must not look like
 * a leader's promotion to the primary that leads.
 */
void
ha_record_timeline(HaNode *node)
{
	const ClusterView *view = &node->view;
	const HaPostgres *postgres = &node->postgres;
	TakenTimeline item;
	char		own[32];

	if (!node->has_postgres || !view->is_loaded || node->store_silent || node->is_promoting ||
		postgres->data != HA_DATA_PRESENT || view->n_taken > CLUSTER_HISTORY_MAX)
		return;
	snprintf(own, sizeof(own), "%llu", (unsigned long long) postgres->system_identifier);
	if (strcmp(own, view->system_identifier) != 0)
		return;					/* another cluster's timelines are no matter of ours */
	memset(&item, 0, sizeof(item));
	if (ha_is_running(node))
		item.timeline = postgres->timeline;
	else if (postgres->server == HA_SERVER_STOPPED && !postgres->is_standby_configured &&
			 postgres->control_state != HA_CONTROL_SHUTDOWNED_IN_RECOVERY &&
			 postgres->control_state != HA_CONTROL_IN_ARCHIVE_RECOVERY)
		item.timeline = postgres->checkpoint_timeline;
	if (item.timeline < 2 || item.timeline >= UINT32_MAX - 1 ||
		item.timeline <= cluster_timeline(view))
		return;
	for (int i = 0; i < view->n_taken; i++)
		if (view->taken[i].timeline >= item.timeline)
			return;
	if (!ha_is_ready(node, FOR_TIMELINE))
		return;
	if (postgres->n_history > 0)
	{
		item.parent = postgres->history[postgres->n_history - 1].timeline;
		item.lsn = postgres->history[postgres->n_history - 1].switch_lsn;
	}
	else
		item.parent = item.timeline - 1;
	put_taken(node, &item, "record-timeline", "this server is on a timeline that nobody claimed");
}

/*
 * Record the id that the next timeline will get, before promoting, so that
 * no two promotions ever share one (docs/architecture.md, "Timelines").
 */
static void
claim_timeline(HaNode *node, const HaRule *rule)
{
	const ClusterView *view = &node->view;
	uint32_t	next = node->postgres.newest_timeline;
	TakenTimeline item;

	if (!ha_is_ready(node, FOR_TIMELINE))
		return;
	if (node->postgres.timeline == 0 || view->n_taken > CLUSTER_HISTORY_MAX)
		return;					/* not observed yet */
	if (node->postgres.timeline > next)
		next = node->postgres.timeline;
	if (highest_timeline(node) > next)
		next = highest_timeline(node);
	if (next >= UINT32_MAX - 1)
	{
		ha_log(node, 2, rule->name, "timeline %u is taken: no id is left", next);
		node->pending[FOR_TIMELINE].next_try_ms = node->now_ms + node->settings.loop_wait_ms;
		return;
	}
	memset(&item, 0, sizeof(item));
	item.timeline = next + 1;
	item.parent = node->postgres.timeline;
	item.lsn = ha_own_position(node);
	ha_name_copy(item.name, CLUSTER_NAME_MAX, node->settings.name);
	if (put_taken(node, &item, rule->name, rule->because))
		node->claimed_timeline = 0;
}

/* Which claim of ours does the store show?  Set from the view, never from a reply alone. */
static void
promote(HaNode *node, const HaRule *rule)
{
	const ClusterView *view = &node->view;
	int			n_placed = 0;

	if (ha_lease_is_over(node))
		return;
	for (uint32_t id = node->postgres.newest_timeline + 1; id < node->claimed_timeline; id++)
	{
		HaAction   *action;

		if (n_placed++ == HA_PLACE_MAX)
		{
			ha_wake(node, node->now_ms + HA_RETRY_MAX_MS);
			return;				/* the rest when these have been seen */
		}
		action = ha_add(node, HA_PLACE_HISTORY, rule->name,
						"timeline %u is taken by another promotion", id);
		action->timeline = id;
		action->parent = 1;
		action->lsn = 0;
		for (int i = 0; i < view->n_taken; i++)
			if (view->taken[i].timeline == id)
				ha_name_copy(action->member, sizeof(action->member), view->taken[i].name);
	}
	ha_add(node, HA_PROMOTE, rule->name, "%s", rule->because)->timeline = node->claimed_timeline;
	node->is_promoting = true;
	node->promote_ms = node->now_ms;
	ha_wake(node, node->now_ms + HA_PROMOTE_TIMEOUT_MS);
}

static void
follow(HaNode *node, const HaRule *rule)
{
	const Member *upstream = ha_upstream(node);
	HaAction   *action;

	if (upstream == NULL || node->now_ms < node->upstream_set_ms + 200)
	{
		ha_wake(node, node->upstream_set_ms + 200);
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
	const char *other = NULL;

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
			ha_release(node, 0, rule->name, rule->because);
			break;
		case HA_DO_ASK_PEERS:
			{
				bool		is_handover = !ha_is_running(node);
				HaRacePurpose purpose = is_handover ? RACE_HANDOVER : RACE_LEADER;

				/* more than its beginning: who has just that does not have the record */
				if (is_handover && node->handover_lsn == 0 &&
					(node->goal == HA_GOAL_SHUTDOWN || node->goal == HA_GOAL_SWITCHOVER))
					node->handover_lsn = node->postgres.checkpoint_lsn + 1;
				if (!ha_race_is_asking(node, purpose) &&
					(!is_handover || node->now_ms >= node->race.started_ms + 20))
					ha_ask_peers(node, purpose, is_handover ? node->goal_candidate : NULL, rule->because);
				else
					ha_wake(node, node->race.started_ms + 20);
			}
			break;
		case HA_DO_CLAIM_TIMELINE:
			claim_timeline(node, rule);
			break;
		case HA_DO_PROMOTE:
			promote(node, rule);
			break;
		case HA_DO_LEAD:
			break;				/* ha_lead() does it each step */
		case HA_DO_FOLLOW:
			follow(node, rule);
			break;
		case HA_DO_RESUME_REPLAY:
			if (ha_leader_member(node) != NULL)
				ha_add(node, HA_RESUME_REPLAY, rule->name, "%s", rule->because);
			break;
		case HA_DO_DEMOTE:
		case HA_DO_DEMOTE_OFFLINE:
			ha_set_goal(node, HA_GOAL_DEMOTE, rule->name, rule->because);
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
			ha_start_task(node, HA_TASK_STOP, NULL, HA_STOP_IMMEDIATE, rule->name, rule->because);
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
			/* who claimed what may have become known only after the comparison */
			if (fools_rewind(node, &other))
			{
				node->has_rewind_failed = true;
				tell_same_timeline(node, other);
				ha_wake(node, node->now_ms);
			}
			else if (leader != NULL)
				ha_start_task(node, HA_TASK_REWIND, leader, HA_STOP_FAST, rule->name, rule->because);
			break;
		case HA_DO_REMOVE_DATA:
			/* who has to answer first: its key outlives it by up to ttl */
			ha_start_task(node, HA_TASK_REMOVE_DATA, leader, HA_STOP_FAST, rule->name, rule->because);
			break;
		case HA_DO_FIND_WAL_END:
			ha_start_task(node, HA_TASK_WAL_END, NULL, HA_STOP_FAST, rule->name, rule->because);
			break;
		case HA_DO_HAND_OVER_CRASHED:
			ha_release(node, node->handover_lsn, rule->name, rule->because);
			break;
		case HA_DO_EXIT_STOPPED:
			exit_stopped(node, rule);
			break;
		case HA_DO_REFUSE:
			refuse(node, rule);
			break;
	}
}
