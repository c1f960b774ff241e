/*-------------------------------------------------------------------------
 *
 * restart.c
 *      Restarts that people ask for: their conditions, and the one that may be
 *      scheduled (patroni/ha.py, evaluate_scheduled_restart()).
 *
 * A scheduled restart is kept in memory and shown in the member key.  A home
 * that begins without the other's state takes it from there.
 *
 * Invariants:
 *  (1) A scheduled restart is for the server that ran when it was scheduled:
 *      when that was restarted since, by whomever, it is forgotten.
 *  (2) It is carried out or forgotten at most HA_SCHEDULE_STALE_MS after its
 *      time, not counting pause mode, which it waits for.
 *
 * Only the worker looks: it knows when its server was started to the
 * millisecond, and before a server runs there is nothing to restart.
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "ha/internal.h"

#define SQLSTATE_NOT_NOW	"55000"		/* object_not_in_prerequisite_state */
#define SQLSTATE_IN_USE		"55006"		/* object_in_use */
#define SQLSTATE_STARTING	"57P03"		/* cannot_connect_now */

static bool
refuse(HaProblem *problem, const char *sqlstate, const char *text)
{
	problem->sqlstate = sqlstate;
	ha_name_copy(problem->text, sizeof(problem->text), text);
	return false;
}

/* Is anything under way that a restart, or the like, has to wait for? */
bool
ha_is_free(const HaNode *node, HaProblem *problem)
{
	const char *name = node->goal != HA_GOAL_NONE ? ha_goal_name(node) :
		node->task != HA_TASK_NONE ? ha_task_name(node->task) : "";
	char		text[HA_REASON_MAX];

	if (name[0] == '\0')
		return true;
	snprintf(text, sizeof(text), "%s already in progress", name);
	return refuse(problem, SQLSTATE_IN_USE, text);
}

/* Does the member fit what the command says of it? */
static bool
conditions_hold(const HaNode *node, const HaCommand *command, HaProblem *problem)
{
	if (command->role[0] != '\0' && strcmp(command->role, "any") != 0 &&
		strcmp(command->role, member_role_name(node->role)) != 0)
		return refuse(problem, SQLSTATE_NOT_NOW, "the member's role is another one");
	if (command->only_pending && !node->postgres.has_pending_restart)
		return refuse(problem, SQLSTATE_NOT_NOW, "no restart is pending");
	if (command->version_below != 0 && node->postgres.version_num >= command->version_below)
		return refuse(problem, SQLSTATE_NOT_NOW, "the server's version is not an older one");
	return true;
}

/* --- the scheduled one --- */

static bool
is_observed(const HaNode *node)
{
	return node->home == HA_HOME_WORKER && node->has_postgres && node->postgres.is_observed &&
		ha_is_running(node) && node->postgres.start_time_ms != 0;
}

/* The text of the member key; also what is handed over. */
static bool
describe(HaNode *node)
{
	const HaCommand *command = &node->restart;
	json_t	   *json;
	char	   *text;
	char		schedule[40];
	char		started[40];
	bool		fits;

	timestamp_to_text(command->scheduled_at_ms, schedule);
	timestamp_to_text(node->postgres.start_time_ms, started);
	started[10] = ' ';
	json = json_pack("{s:s, s:s}", "schedule", schedule, "postmaster_start_time", started);
	if (command->role[0] != '\0')
		json_object_set_new(json, "role", json_string(command->role));
	if (command->postgres_version[0] != '\0')
		json_object_set_new(json, "postgres_version", json_string(command->postgres_version));
	if (command->only_pending)
		json_object_set_new(json, "restart_pending", json_true());
	if (command->timeout_ms > 0)
		json_object_set_new(json, "timeout", json_integer(command->timeout_ms / 1000));
	text = json == NULL ? NULL : json_dumps(json, JSON_COMPACT);
	json_decref(json);
	fits = text != NULL && strlen(text) < sizeof(node->restart_text);
	ha_name_copy(node->restart_text, sizeof(node->restart_text), fits ? text : "");
	free(text);
	return fits;
}

static void
forget(HaNode *node)
{
	memset(&node->restart, 0, sizeof(node->restart));
	node->restart_text[0] = '\0';
}

static void
drop(HaNode *node, const char *because)
{
	ha_log(node, 1, "scheduled-restart-off", "the scheduled restart is forgotten: %s", because);
	forget(node);
}

/* Take a scheduled restart from its text; what cannot be read is none. */
void
ha_restart_recall(HaNode *node, const char *text)
{
	json_t	   *json = text != NULL ? json_loads(text, 0, NULL) : NULL;
	const char *schedule = json_string_value(json_object_get(json, "schedule"));
	const char *role = json_string_value(json_object_get(json, "role"));
	const char *version = json_string_value(json_object_get(json, "postgres_version"));
	HaCommand  *command = &node->restart;
	bool		has_zone = false;

	forget(node);
	if (schedule != NULL && strlen(text) < sizeof(node->restart_text) &&
		timestamp_from_text(schedule, &command->scheduled_at_ms, &has_zone))
	{
		command->kind = HA_COMMAND_RESTART;
		command->is_scheduled = true;
		ha_name_copy(command->role, sizeof(command->role), role ? role : "");
		ha_name_copy(command->postgres_version, sizeof(command->postgres_version), version ? version : "");
		command->version_below = ha_version_number(command->postgres_version);
		command->only_pending = json_object_get(json, "restart_pending") != NULL;
		command->timeout_ms = json_integer_value(json_object_get(json, "timeout")) * 1000;
		ha_name_copy(node->restart_text, sizeof(node->restart_text), text);
	}
	json_decref(json);
}

/* "16.4" is 160004, "9.6.3" is 90603; 0: it is no such version. */
int
ha_version_number(const char *text)
{
	int			part[3] = {0, 0, 0};
	int			count = 0;

	for (const char *c = text;; c++)
	{
		int			value = 0;

		if (*c < '0' || *c > '9' || count == 3)
			return 0;
		for (; *c >= '0' && *c <= '9' && value < 100; c++)
			value = value * 10 + (*c - '0');
		if (value > 99)
			return 0;
		part[count++] = value;
		if (*c == '\0')
			break;
		if (*c != '.')
			return 0;
	}
	if (count == 2 && part[0] >= 10)
		return part[0] * 10000 + part[1];
	return count == 3 ? part[0] * 10000 + part[1] * 100 + part[2] : 0;
}

static bool
schedule_restart(HaNode *node, const HaCommand *command, HaProblem *problem)
{
	if (node->restart.is_scheduled)
		return refuse(problem, SQLSTATE_IN_USE, "another restart is already scheduled");
	if (!is_observed(node))
		return refuse(problem, SQLSTATE_STARTING, "the server is not running");
	node->restart = *command;
	if (!describe(node))
	{
		forget(node);
		return refuse(problem, "53000", "the schedule cannot be kept");
	}
	ha_log(node, 1, "scheduled-restart", "a restart is scheduled: %s", node->restart_text);
	return true;
}

/* Is the server still the one that the scheduled restart is for? */
static bool
is_same_server(const HaNode *node)
{
	json_t	   *json = json_loads(node->restart_text, 0, NULL);
	const char *then = json_string_value(json_object_get(json, "postmaster_start_time"));
	char		now[40];
	bool		is_same;

	timestamp_to_text(node->postgres.start_time_ms, now);
	now[10] = ' ';
	is_same = then != NULL && strcmp(then, now) == 0;
	json_decref(json);
	return is_same;
}

/* Has the time of a scheduled restart come?  To be called in each step. */
void
ha_restart_look(HaNode *node)
{
	int64_t		due_ms;
	HaProblem	problem;

	if (node->must_recall_restart && node->view.is_loaded)
	{
		const Member *self = cluster_find_member(&node->view, node->settings.name);

		node->must_recall_restart = false;
		if (!node->restart.is_scheduled && self != NULL)
			ha_restart_recall(node, self->scheduled_restart_json);
	}
	if (!node->restart.is_scheduled || node->settings.is_paused || !is_observed(node))
		return;
	due_ms = node->restart.scheduled_at_ms;
	if (!is_same_server(node))
		drop(node, "the server has been restarted since");
	else if (node->wall_ms < due_ms)
		ha_wake(node, node->now_ms + (due_ms - node->wall_ms));
	else if (node->wall_ms > due_ms + HA_SCHEDULE_STALE_MS)
		drop(node, "its time is long over");
	else if (!conditions_hold(node, &node->restart, &problem))
		drop(node, problem.text);
	else if (ha_is_free(node, &problem))
	{
		forget(node);
		ha_set_goal(node, HA_GOAL_RESTART, "scheduled-restart", "its time has come");
	}
}

/* --- commands --- */

/* HA_COMMAND_RESTART: begin, or remember when to.  False: it cannot be, *problem says why. */
bool
ha_restart_here(HaNode *node, const HaCommand *command, HaProblem *problem)
{
	if (command->is_scheduled)
		return schedule_restart(node, command, problem);
	if (!conditions_hold(node, command, problem) || !ha_is_free(node, problem))
		return false;
	/* one that was stopped in pause mode is started, as by Patroni */
	if (!ha_is_running(node) && !(node->settings.is_paused && node->postgres.data == HA_DATA_PRESENT &&
								  node->postgres.server == HA_SERVER_STOPPED))
		return refuse(problem, SQLSTATE_STARTING, "the server is not running");
	ha_set_goal(node, HA_GOAL_RESTART, "command", "an operator asked for it");
	return true;
}

/* HA_COMMAND_FLUSH_RESTART: forget the scheduled one.  False: there is none. */
bool
ha_restart_forget(HaNode *node)
{
	if (!node->restart.is_scheduled)
		return false;
	drop(node, "an operator asked for it");
	return true;
}
