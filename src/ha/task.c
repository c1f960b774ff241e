/*-------------------------------------------------------------------------
 *
 * task.c
 *      Begins the supervisor's tasks, and draws conclusions from their ends.
 *
 * At most one task is under way.  One that failed is not begun again before a
 * pause, which grows while the same thing fails.
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
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

/* The task's name in messages. */
const char *
ha_task_name(HaTask task)
{
	return (unsigned) task < sizeof(task_names) / sizeof(task_names[0]) ? task_names[task] : "";
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
		ha_yield(node, rule, because);
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
		action->timeline = node->primary_from != 0 ? node->primary_from : node->primary_timeline;
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

/* A comparison that told nothing is made each second: what is repeated is said once. */
static void
note_unclear(HaNode *node, const char *why)
{
	char		unclear[HA_REASON_MAX] = "";

	if (why != NULL)
		snprintf(unclear, sizeof(unclear), "%.100s: %.150s", node->task_member, why);
	if (strcmp(node->unclear, unclear) != 0 || node->now_ms >= node->unclear_ms + HA_UNCLEAR_SAID_MS)
		node->n_unclear = 0;
	node->n_unclear += why != NULL;
	node->unclear_ms = node->now_ms;
	memcpy(node->unclear, unclear, sizeof(unclear));
}

/* Is this task a comparison that told the same nothing at least twice? */
bool
ha_is_unclear_again(const HaNode *node, HaTask task)
{
	return task == HA_TASK_CHECK_DIVERGENCE && node->n_unclear > 1;
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
		ha_log(node, ha_is_unclear_again(node, task) ? 0 : 2, "task-failed",
			   "%s failed, trying again in %d s: %s", ha_task_name(task),
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
			/* as after any other failure from now on */
			if (task == HA_TASK_START_STANDBY && node->goal == HA_GOAL_SWITCHOVER && node->is_handed_over)
				ha_clear_goal(node);
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
 * A standby recovers to the newest timeline that it has found a history file
 * of.  When the leader that made that timeline is lost before any of its WAL
 * came, and the next one comes from another, a running server stays on its
 * course for ever ("new timeline is not a child of database system timeline");
 * it looks again when it is started.  Not at each try: the leader may be about
 * to make a slot, or to come up.  A try in which it does not answer counts.
 */
static bool
is_off_course(const HaNode *node)
{
	const Member *leader = cluster_find_member(&node->view, node->task_member);

	return node->goal == HA_GOAL_REPAIR && !node->is_uncompared && ha_is_running(node) &&
		node->postgres.is_in_recovery && node->repair_failures % HA_OFF_COURSE_REPAIRS == 0 &&
		leader != NULL && leader->role == ROLE_PRIMARY && ha_own_timeline(node) != 0 &&
		leader->timeline > ha_own_timeline(node);
}

static void
tells_nothing(HaNode *node, const char *why)
{
	note_unclear(node, why != NULL ? why : "no reason given");
	task_failed(node, HA_TASK_CHECK_DIVERGENCE, HA_TASK_FAILED, why);
}

/*
 * What a comparison with the leader has found, and what it says of this member.
 * One that tells nothing, as the store does not show enough yet, is made again
 * after the shortest pause, but between starts that fail: it did not fail itself.
 * It is said once, until the reason changes.
 */
static void
timelines_compared(HaNode *node, const HaInput *input)
{
	HaDivergence divergence = input->task.divergence;
	const char *other = NULL;

	if (divergence == HA_DIVERGENCE_UNKNOWN)
	{
		tells_nothing(node, input->task.message);
		return;
	}
	if (divergence == HA_DIVERGENCE_NONE && !ha_is_leader_newer(node, input->task.lsn, &other))
	{
		tells_nothing(node, "the leader's timeline is not known yet");
		return;
	}
	if (divergence == HA_DIVERGENCE_REWIND && !ha_is_recorded(node))
	{
		tells_nothing(node, "this member's timeline is not in the store yet");
		return;
	}
	if (divergence == HA_DIVERGENCE_REWIND)
		(void) ha_fools_rewind(node, &other);
	if (ha_is_unclear_again(node, HA_TASK_CHECK_DIVERGENCE))
		ha_log(node, 1, "compared",
			   "the timelines could be compared with \"%s\" now, after %d tries that told nothing",
			   node->task_member, node->n_unclear);
	note_unclear(node, NULL);
	node->is_checked = true;
	node->is_checked_running = ha_is_running(node);
	ha_name_copy(node->checked_with, sizeof(node->checked_with), node->task_member);
	node->is_diverged = divergence == HA_DIVERGENCE_REWIND || divergence == HA_DIVERGENCE_CLONE ||
		other != NULL;
	if (other != NULL)
	{
		node->has_rewind_failed = true; /* it goes by ids and positions, too */
		ha_tell_same_timeline(node, other);
	}
	else if (node->is_diverged)
	{
		/* asked again later, when the leader has gone on, ids and positions may say otherwise */
		node->has_rewind_failed = node->has_rewind_failed || divergence == HA_DIVERGENCE_CLONE;
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
}

static void
task_succeeded(HaNode *node, const HaInput *input)
{
	HaTask		task = input->task.task;

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
	if (task != HA_TASK_CHECK_DIVERGENCE && task != HA_TASK_STOP)
		note_unclear(node, NULL);
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
			timelines_compared(node, input);
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
			node->primary_timeline = node->primary_from = 0;
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
		ha_log(node, ha_is_unclear_again(node, input->task.task) ? 0 : 1, "task-done",
			   "%s done after %lld ms", ha_task_name(input->task.task),
			   (long long) (node->now_ms - node->task_started_ms));
		task_succeeded(node, input);
	}
	else
	{
		if (input->task.task == HA_TASK_CHECK_DIVERGENCE && input->task.outcome != HA_TASK_CANCELLED)
			note_unclear(node, NULL);
		task_failed(node, input->task.task, input->task.outcome, input->task.message);
	}
	node->is_task_cancelled = false;
}
