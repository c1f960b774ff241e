/*-------------------------------------------------------------------------
 *
 * command.c
 *      Commands of people: accepted or refused at once with a reason, and
 *      answered when they are over, if somebody waits.
 *
 * A command for another member travels through the store as our own key
 * "requests/<member>"; that member answers in place.
 *-------------------------------------------------------------------------
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/hash.h"
#include "ha/internal.h"

#define SQLSTATE_NOT_NOW	"55000"		/* object_not_in_prerequisite_state */
#define SQLSTATE_NO_SUCH	"42704"		/* undefined_object */
#define SQLSTATE_BAD_VALUE	"22023"		/* invalid_parameter_value */

static void
answer_ok(HaNode *node, uint64_t id, const char *format,...) PRINTF_LIKE(3, 4);

static void
answer_ok(HaNode *node, uint64_t id, const char *format,...)
{
	char		text[HA_TEXT_MAX];
	HaAction   *action;
	va_list		args;

	if (id == 0)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	action = ha_add(node, HA_ANSWER, "answer", "the command is over");
	action->command_id = id;
	action->ok = true;
	ha_set_text(node, action, strdup(text));
}

/* Message, detail and hint in PostgreSQL's style. */
static void
refuse(HaNode *node, uint64_t id, const char *sqlstate, const char *message,
	   const char *detail, const char *hint)
{
	HaAction   *action;

	ha_log(node, 1, "refused", "%s%s%s", message, detail ? ": " : "", detail ? detail : "");
	if (id == 0)
		return;
	action = ha_add(node, HA_ANSWER, "answer", "the command is refused");
	action->command_id = id;
	action->ok = false;
	action->sqlstate = sqlstate;
	ha_name_copy(action->detail, sizeof(action->detail), detail ? detail : "");
	ha_name_copy(action->hint, sizeof(action->hint), hint ? hint : "");
	ha_set_text(node, action, strdup(message));
}

/* Where a command waits for its end; NULL: refused, as too many do. */
static HaWaiting *
wait_for(HaNode *node, const HaCommand *command)
{
	char		detail[HA_TEXT_MAX];

	for (int i = 0; i < HA_COMMANDS_MAX; i++)
	{
		HaWaiting  *waiting = &node->waiting[i];

		if (waiting->command.id != 0)
			continue;
		memset(waiting, 0, sizeof(*waiting));
		waiting->command = *command;
		waiting->deadline_ms = node->now_ms +
			(command->timeout_ms > 0 ? command->timeout_ms : HA_COMMAND_TIMEOUT_MS);
		ha_name_copy(waiting->old_leader, sizeof(waiting->old_leader), node->view.leader);
		return waiting;
	}
	snprintf(detail, sizeof(detail), "At most %d commands can wait for their end at a time.", HA_COMMANDS_MAX);
	refuse(node, command->id, "53400", "too many commands are waiting", detail, "Try again later.");
	return NULL;
}

/* Is the member there, and may it lead?  False: refused. */
static bool
check_candidate(HaNode *node, const HaCommand *command)
{
	const Member *member;
	char		detail[HA_TEXT_MAX];
	const char *action = command->kind == HA_COMMAND_SWITCHOVER ? "cannot switch over" : "cannot fail over";

	if (command->candidate[0] == '\0')
		return true;
	member = cluster_find_member(&node->view, command->candidate);
	if (member == NULL)
	{
		snprintf(detail, sizeof(detail), "There is no member \"%.100s\" in this cluster.", command->candidate);
		refuse(node, command->id, SQLSTATE_NO_SUCH, action, detail,
			   "SELECT name FROM patroni.member lists the members.");
		return false;
	}
	if (member->tags.nofailover)
	{
		snprintf(detail, sizeof(detail), "Member \"%.100s\" is tagged nofailover.", command->candidate);
		refuse(node, command->id, SQLSTATE_NOT_NOW, action, detail,
			   "Name another candidate; SELECT * FROM patroni.explain() tells which ones could lead.");
		return false;
	}
	return true;
}

/* A failover to a member that the sync key does not name: say what it may cost. */
static void
warn_of_loss(HaNode *node, HaWaiting *waiting)
{
	const Member *member = cluster_find_member(&node->view, waiting->command.candidate);
	Lsn			optime = node->view.status.optime;
	Lsn			position = member != NULL ? member->xlog_location : 0;

	if (waiting->command.kind != HA_COMMAND_FAILOVER || !ha_sync_is_active(node) ||
		ha_sync_names_member(node, waiting->command.candidate))
		return;
	if (ha_is_primary(node) && node->postgres.flush_lsn > optime)
		optime = node->postgres.flush_lsn;
	snprintf(waiting->warning, sizeof(waiting->warning),
			 "; it is not a synchronous standby: %lld bytes of WAL or more may be lost, acknowledged writes among them",
			 (long long) (optime > position ? optime - position : 0));
	ha_log(node, 2, "command", "failover to \"%.100s\"%s", waiting->command.candidate, waiting->warning);
}

/* May a switchover or failover be asked for now?  False: refused. */
static bool
check_move(HaNode *node, const HaCommand *command)
{
	const ClusterView *view = &node->view;
	bool		is_switchover = command->kind == HA_COMMAND_SWITCHOVER;
	const char *what = is_switchover ? "cannot switch over" : "cannot fail over";

	if (!view->is_loaded || node->store_silent)
	{
		refuse(node, command->id, SQLSTATE_NOT_NOW, what, "The store does not answer.",
			   "SELECT patroni.status() shows since when.");
		return false;
	}
	if (is_switchover && !view->has_leader)
	{
		refuse(node, command->id, SQLSTATE_NOT_NOW, what, "The cluster has no leader.",
			   "Use patroni.failover() to name a member that shall lead.");
		return false;
	}
	if (!is_switchover && command->candidate[0] == '\0')
	{
		refuse(node, command->id, SQLSTATE_BAD_VALUE, what, "A failover needs a candidate.",
			   "SELECT * FROM patroni.explain() tells which members could lead.");
		return false;
	}
	if (command->leader[0] != '\0' && strcmp(command->leader, view->leader) != 0)
	{
		refuse(node, command->id, SQLSTATE_BAD_VALUE, what, "The named leader does not lead.",
			   "SELECT name FROM patroni.member WHERE role = 'leader' tells who does.");
		return false;
	}
	if (command->candidate[0] != '\0' && strcmp(command->candidate, view->leader) == 0)
	{
		refuse(node, command->id, SQLSTATE_BAD_VALUE, what, "The candidate is the leader already.", NULL);
		return false;
	}
	if (!check_candidate(node, command))
		return false;
	if (is_switchover && command->candidate[0] == '\0' && view->n_members < 2)
	{
		refuse(node, command->id, SQLSTATE_NOT_NOW, what, "There is no other member to switch over to.", NULL);
		return false;
	}
	if (node->settings.is_paused && (command->candidate[0] == '\0' || command->is_scheduled))
	{
		refuse(node, command->id, SQLSTATE_NOT_NOW, what,
			   command->is_scheduled ? "Nothing can be scheduled while the cluster is paused."
			   : "A candidate must be named while the cluster is paused.",
			   "Name a candidate, or SELECT patroni.resume() first.");
		return false;
	}
	if (command->is_scheduled && command->scheduled_at_ms < node->wall_ms)
	{
		refuse(node, command->id, SQLSTATE_BAD_VALUE, what, "The scheduled time is in the past.", NULL);
		return false;
	}
	if (view->failover.exists)
	{
		refuse(node, command->id, SQLSTATE_NOT_NOW, what,
			   "Another switchover or failover is requested already.",
			   "patronictl flush forgets a scheduled one.");
		return false;
	}
	if (!ha_is_ready(node, FOR_FAILOVER))
	{
		refuse(node, command->id, SQLSTATE_NOT_NOW, what, "The store is busy with another request.",
			   "Try again.");
		return false;
	}
	return true;
}

/* Write what is asked for into the key "failover"; the leader does the rest. */
static void
move_leader(HaNode *node, const HaCommand *command)
{
	const ClusterView *view = &node->view;
	bool		is_switchover = command->kind == HA_COMMAND_SWITCHOVER;
	FailoverRequest request;
	HaWaiting  *waiting;
	HaAction   *action;

	if (!check_move(node, command))
		return;
	waiting = wait_for(node, command);
	if (waiting == NULL)
		return;
	warn_of_loss(node, waiting);
	memset(&request, 0, sizeof(request));
	request.exists = true;
	if (is_switchover)
		ha_name_copy(request.leader, sizeof(request.leader), view->leader);
	ha_name_copy(request.candidate, sizeof(request.candidate), command->candidate);
	if (command->is_scheduled)
	{
		request.is_scheduled = true;
		request.scheduled_at_ms = command->scheduled_at_ms;
		timestamp_to_text(command->scheduled_at_ms, request.scheduled_at);
	}
	ha_log(node, 1, "command", "%s to \"%s\" was asked for%s%.150s",
		   is_switchover ? "a switchover" : "a failover",
		   command->candidate[0] ? command->candidate : "the best member",
		   command->reason[0] ? ": " : "", command->reason);
	action = ha_request(node, FOR_FAILOVER, ha_put_kind(view->failover.version),
						"command", "an operator asked for it");
	ha_name_copy(action->key, sizeof(action->key), "failover");
	action->version = view->failover.version;
	ha_set_text(node, action, failover_to_text(&request));
	waiting->is_submitted = true;
}

static const char *
command_name(HaCommandKind kind)
{
	switch (kind)
	{
		case HA_COMMAND_RESTART:
			return "restart";
		case HA_COMMAND_RELOAD:
			return "reload";
		case HA_COMMAND_REINITIALIZE:
			return "reinitialize";
		default:
			return "";
	}
}

/* Who asked, and when.  A hash of the name, as a cut one may end within a character. */
static void
make_request_id(const HaNode *node, char *id, size_t size)
{
	snprintf(id, size, "%llx-%llx", (unsigned long long) hash_text(node->settings.name),
			 (unsigned long long) node->wall_ms);
}

/* Hand a command to another member, through the store. */
static void
send_to_member(HaNode *node, const HaCommand *command)
{
	const MemberRequest *old = cluster_find_request(&node->view, command->member);
	MemberRequest request;
	HaWaiting  *waiting;
	HaAction   *action;
	char		detail[HA_TEXT_MAX];
	json_t	   *arguments;
	char		message[64];

	snprintf(message, sizeof(message), "cannot %s the member", command_name(command->kind));
	if (command->is_scheduled || command->version_below != 0)
	{
		refuse(node, command->id, SQLSTATE_NOT_NOW, message,
			   "Another member's restart cannot be scheduled here.", "Ask that member.");
		return;
	}
	if (cluster_find_member(&node->view, command->member) == NULL)
	{
		snprintf(detail, sizeof(detail), "There is no member \"%.100s\" in this cluster.", command->member);
		refuse(node, command->id, SQLSTATE_NO_SUCH, message, detail,
			   "SELECT name FROM patroni.member lists the members.");
		return;
	}
	if (node->store_silent || !ha_is_ready(node, FOR_MEMBER_REQUEST))
	{
		refuse(node, command->id, SQLSTATE_NOT_NOW, message, "The store does not answer, or is busy.",
			   "Try again.");
		return;
	}
	waiting = wait_for(node, command);
	if (waiting == NULL)
		return;
	memset(&request, 0, sizeof(request));
	ha_name_copy(request.member, sizeof(request.member), command->member);
	make_request_id(node, request.id, sizeof(request.id));
	ha_name_copy(waiting->request_id, sizeof(waiting->request_id), request.id);
	ha_name_copy(request.command, sizeof(request.command), command_name(command->kind));
	arguments = json_pack("{s:s, s:b, s:b, s:b}", "role", command->role,
						  "pending", command->only_pending, "force", command->force,
						  "from_leader", command->from_leader);
	request.arguments_json = arguments ? json_dumps(arguments, JSON_COMPACT) : NULL;
	json_decref(arguments);
	action = ha_request(node, FOR_MEMBER_REQUEST, old ? HA_PUT_KEY : HA_CREATE_KEY, "command",
						"an operator asked another member for it");
	snprintf(action->key, sizeof(action->key), "requests/%s", command->member);
	action->version = old ? old->version : 0;
	ha_set_text(node, action, request_to_text(&request));
	free(request.arguments_json);
	waiting->is_submitted = true;
}

/* False: this member cannot do it now, *problem says why. */
static bool
reinitialize_here(HaNode *node, const HaCommand *command, HaProblem *problem)
{
	const char *text = NULL;

	problem->sqlstate = SQLSTATE_NOT_NOW;
	if (!node->view.has_leader)
		text = "the cluster has no leader to clone";
	else if (cluster_is_leader(&node->view, node->settings.name) || node->has_lease)
		text = "the member is the leader";
	if (text != NULL)
	{
		ha_name_copy(problem->text, sizeof(problem->text), text);
		return false;
	}
	/* who told the supervisor to stop waits for its end */
	if ((!command->force || node->goal == HA_GOAL_SHUTDOWN) && !ha_is_free(node, problem))
		return false;
	node->goal_from_leader = command->from_leader;
	ha_set_goal(node, HA_GOAL_REINIT, "command", "an operator asked for it");
	return true;
}

/* Commands for a member: here, or sent on. */
static void
member_command(HaNode *node, const HaCommand *command)
{
	HaProblem	problem;
	bool		is_done = true;
	char		message[64];
	char		detail[HA_TEXT_MAX];

	if (command->member[0] != '\0' && strcmp(command->member, node->settings.name) != 0)
	{
		send_to_member(node, command);
		return;
	}
	if (command->kind == HA_COMMAND_RESTART)
		is_done = ha_restart_here(node, command, &problem);
	else if (command->kind == HA_COMMAND_REINITIALIZE)
		is_done = reinitialize_here(node, command, &problem);
	else
		ha_add(node, HA_RELOAD, "command", "an operator asked for it");
	if (is_done)
	{
		answer_ok(node, command->id, "%s of \"%s\" %s", command_name(command->kind),
				  node->settings.name, command->kind == HA_COMMAND_RELOAD ? "done" :
				  command->is_scheduled ? "scheduled" : "started");
		return;
	}
	snprintf(message, sizeof(message), "cannot %s this member", command_name(command->kind));
	snprintf(detail, sizeof(detail), "%c%s.", problem.text[0] - 'a' + 'A', problem.text + 1);
	refuse(node, command->id, problem.sqlstate, message, detail,
		   "SELECT patroni.status() shows what the member is doing.");
}

/* A command came in. */
void
ha_command(HaNode *node, const HaCommand *command)
{
	if (!node->has_settings)
	{
		refuse(node, command->id, SQLSTATE_NOT_NOW, "this node is not configured yet", NULL, "Try again.");
		return;
	}
	switch (command->kind)
	{
		case HA_COMMAND_SWITCHOVER:
		case HA_COMMAND_FAILOVER:
			move_leader(node, command);
			break;
		case HA_COMMAND_RESTART:
		case HA_COMMAND_RELOAD:
		case HA_COMMAND_REINITIALIZE:
			member_command(node, command);
			break;
		case HA_COMMAND_FLUSH_SWITCHOVER:
			if (!node->view.failover.is_scheduled)
				refuse(node, command->id, SQLSTATE_NOT_NOW, "no switchover is scheduled", NULL, NULL);
			else if (node->store_silent || !ha_is_ready(node, FOR_FAILOVER))
				refuse(node, command->id, SQLSTATE_NOT_NOW, "cannot delete the scheduled switchover",
					   "The store does not answer, or is busy.", "Try again.");
			else
			{
				ha_clear_request(node, NULL, "command", "the scheduled switchover was cancelled");
				answer_ok(node, command->id, "scheduled switchover deleted");
			}
			break;
		case HA_COMMAND_FLUSH_RESTART:
			if (ha_restart_forget(node))
				answer_ok(node, command->id, "scheduled restart deleted");
			else
				refuse(node, command->id, SQLSTATE_NO_SUCH, "no restarts are scheduled", NULL, NULL);
			break;
		case HA_COMMAND_SHUTDOWN:
			ha_set_goal(node, HA_GOAL_SHUTDOWN, "command", "the supervisor was told to stop");
			answer_ok(node, command->id, "shutting down");
			break;
		case HA_COMMAND_FAILSAFE:
			ha_failsafe_asked(node, command);
			break;
		case HA_COMMAND_CHECKPOINT_DONE:
			break;
	}
}

/* The end of a request to the store that a command had made. */
void
ha_command_reply(HaNode *node, HaPurpose purpose, HaOutcome outcome, uint64_t version)
{
	for (int i = 0; i < HA_COMMANDS_MAX; i++)
	{
		HaWaiting  *waiting = &node->waiting[i];
		bool		is_move = waiting->command.kind == HA_COMMAND_SWITCHOVER ||
			waiting->command.kind == HA_COMMAND_FAILOVER;

		if (waiting->command.id == 0 || !waiting->is_submitted ||
			is_move != (purpose == FOR_FAILOVER))
			continue;
		waiting->is_submitted = false;
		waiting->is_accepted = true;
		waiting->version = version;
		if (outcome == HA_OUTCOME_DONE)
			continue;
		refuse(node, waiting->command.id, SQLSTATE_NOT_NOW,
			   outcome == HA_OUTCOME_UNKNOWN ? "the request may or may not have been written to the store"
			   : "could not write the request to the store",
			   outcome == HA_OUTCOME_LOST_RACE ? "Somebody else wrote it at the same time." :
			   "The store did not answer.", "SELECT * FROM patroni.event tells what happened.");
		waiting->command.id = 0;
	}
}

static void
look_at_move(HaNode *node, HaWaiting *waiting)
{
	const ClusterView *view = &node->view;
	const HaCommand *command = &waiting->command;
	const char *what = command->kind == HA_COMMAND_SWITCHOVER ? "switched over" : "failed over";
	bool		is_from_here = node->has_lease || cluster_is_leader(view, node->settings.name);

	if (command->is_scheduled)
		answer_ok(node, command->id, "switchover scheduled");
	else if (!command->wait || (is_from_here && node->goal == HA_GOAL_SWITCHOVER))
		answer_ok(node, command->id, "%s to %s accepted%s",
				  command->kind == HA_COMMAND_SWITCHOVER ? "switchover" : "failover",
				  command->candidate[0] ? command->candidate : "the best member", waiting->warning);
	else if (view->has_leader && strcmp(view->leader, waiting->old_leader) != 0)
	{
		const Member *leader = cluster_find_member(view, view->leader);

		/* done when the new leader says that it is a primary */
		if (leader == NULL || leader->role != ROLE_PRIMARY)
			return;
		if (command->candidate[0] == '\0' || strcmp(command->candidate, view->leader) == 0)
			answer_ok(node, command->id, "Successfully %s to \"%s\"%s", what, view->leader,
					  waiting->warning);
		else
			answer_ok(node, command->id, "%c%s to \"%s\" instead of \"%s\"", what[0] - 'a' + 'A',
					  what + 1, view->leader, command->candidate);
	}
	else if (!view->failover.exists && view->has_leader && view->revision >= waiting->version)
	{
		char		detail[HA_TEXT_MAX];

		snprintf(detail, sizeof(detail), "The leader refused: %.200s.",
				 view->failover.refused[0] ? view->failover.refused : "it gave no reason");
		refuse(node, command->id, SQLSTATE_NOT_NOW,
			   command->kind == HA_COMMAND_SWITCHOVER ? "switchover failed" : "failover failed", detail,
			   "SELECT * FROM patroni.explain() tells which members could lead.");
	}
	else
		return;
	waiting->command.id = 0;
}

static void
look_at_member_command(HaNode *node, HaWaiting *waiting)
{
	const HaCommand *command = &waiting->command;
	const MemberRequest *request = cluster_find_request(&node->view, command->member);
	char		message[CLUSTER_NAME_MAX + 64];

	if (!command->wait)
		answer_ok(node, command->id, "%s of \"%s\" accepted", command_name(command->kind), command->member);
	else if (request == NULL || strcmp(request->id, waiting->request_id) != 0 || !request->is_done)
		return;
	else if (!request->is_refused)
		answer_ok(node, command->id, "%s of \"%s\": %s", command_name(command->kind),
				  command->member, request->result);
	else
	{
		snprintf(message, sizeof(message), "cannot %s \"%.120s\"", command_name(command->kind),
				 command->member);
		refuse(node, command->id, SQLSTATE_NOT_NOW, message, request->result, NULL);
	}
	waiting->command.id = 0;
}

/* Which of the waiting commands are over? */
void
ha_commands_look(HaNode *node)
{
	for (int i = 0; i < HA_COMMANDS_MAX; i++)
	{
		HaWaiting  *waiting = &node->waiting[i];

		if (waiting->command.id == 0)
			continue;
		if (waiting->is_accepted)
		{
			if (waiting->command.kind == HA_COMMAND_SWITCHOVER ||
				waiting->command.kind == HA_COMMAND_FAILOVER)
				look_at_move(node, waiting);
			else
				look_at_member_command(node, waiting);
		}
		if (waiting->command.id == 0)
			continue;
		if (node->now_ms >= waiting->deadline_ms)
		{
			refuse(node, waiting->command.id, "57014", "the command did not end in time",
				   "It may still be carried out.", "SELECT * FROM patroni.event tells what happened.");
			waiting->command.id = 0;
		}
		else
			ha_wake(node, waiting->deadline_ms);
	}
}

/* Answer the request of another member, in its key. */
void
ha_finish_member_request(HaNode *node, bool ok, const char *result)
{
	const MemberRequest *request = cluster_find_request(&node->view, node->settings.name);
	MemberRequest done;
	HaAction   *action;

	node->is_request_running = false;
	ha_name_copy(node->request_problem, sizeof(node->request_problem), ok ? "" : result);
	if (request == NULL || request->id[0] == '\0' || request->is_done ||
		!ha_is_ready(node, FOR_MEMBER_REQUEST))
		return;
	done = *request;
	done.is_done = true;
	done.is_refused = !ok;
	ha_name_copy(done.result, sizeof(done.result), result);
	action = ha_request(node, FOR_MEMBER_REQUEST, HA_PUT_KEY, "command", "the answer to a request");
	snprintf(action->key, sizeof(action->key), "requests/%s", node->settings.name);
	action->version = request->version;
	ha_set_text(node, action, request_to_text(&done));
}

static void
read_arguments(const char *text, HaCommand *command)
{
	json_t	   *arguments = json_loads(text ? text : "{}", 0, NULL);
	const char *role = json_string_value(json_object_get(arguments, "role"));

	command->only_pending = json_is_true(json_object_get(arguments, "pending"));
	command->force = json_is_true(json_object_get(arguments, "force"));
	command->from_leader = json_is_true(json_object_get(arguments, "from_leader"));
	ha_name_copy(command->role, sizeof(command->role), role ? role : "");
	json_decref(arguments);
}

/* Is there a request of another member for us? */
void
ha_member_requests_look(HaNode *node)
{
	const MemberRequest *request = cluster_find_request(&node->view, node->settings.name);
	HaCommand	command;
	HaProblem	problem;
	bool		is_begun;

	if (request == NULL || request->is_done || request->id[0] == '\0' || node->store_silent ||
		!ha_is_ready(node, FOR_MEMBER_REQUEST))
		return;
	/* a start is over soon; to refuse because of it would help nobody */
	if (strcmp(request->id, node->handled_request) != 0 &&
		(node->task == HA_TASK_START_PRIMARY || node->task == HA_TASK_START_STANDBY))
		return;
	if (strcmp(request->id, node->handled_request) == 0)
	{
		/* its end is noticed where it ends; the baton may have moved meanwhile */
		if (!node->is_request_running &&
			(node->request_problem[0] != '\0' ||
			 (node->goal == HA_GOAL_NONE && node->task == HA_TASK_NONE && ha_is_running(node))))
		{
			char		problem[HA_REASON_MAX];

			ha_name_copy(problem, sizeof(problem), node->request_problem);
			ha_finish_member_request(node, problem[0] == '\0', problem[0] ? problem : "done");
		}
		return;
	}
	ha_name_copy(node->handled_request, sizeof(node->handled_request), request->id);
	node->is_request_running = true;
	node->request_problem[0] = '\0';
	memset(&command, 0, sizeof(command));
	read_arguments(request->arguments_json, &command);
	if (strcmp(request->command, "restart") == 0)
		is_begun = ha_restart_here(node, &command, &problem);
	else if (strcmp(request->command, "reinitialize") == 0)
		is_begun = reinitialize_here(node, &command, &problem);
	else if (strcmp(request->command, "reload") == 0)
	{
		ha_add(node, HA_RELOAD, "command", "another member's operator asked for it");
		ha_finish_member_request(node, true, "reloaded");
		return;
	}
	else
	{
		ha_finish_member_request(node, false, "this release does not know the command");
		return;
	}
	if (!is_begun)
		ha_finish_member_request(node, false, problem.text);
}
