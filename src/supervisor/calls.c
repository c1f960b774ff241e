/*-------------------------------------------------------------------------
 *
 * calls.c
 *      What REST is asked to change: the dynamic configuration, the leader,
 *      our own configuration, our own server.
 *
 * What belongs to the cluster needs no baton: it is written to the store, and
 * who leads acts on it.  So this works as well while the worker drives, and on
 * the old leader through a whole switchover, of which this program is the part
 * that stays.  A restart, a reinitialization or POST /failsafe is decided by the
 * engine, in whichever home it is: ours, or the worker's over the channel.  When
 * control of the node is just changing hands, the first two are given again.
 *
 * Invariants:
 *  (1) Every call is answered once, and ends by time alone.
 *  (2) Ids of these calls have CHANNEL_CALL_BIT, so that nobody else answers
 *      them.
 *  (3) A command is given again only when the engine certainly did not see it,
 *      or refused it because there was no server to restart yet.
 *-------------------------------------------------------------------------
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "node/peers.h"
#include "rest/restart.h"
#include "rest/switchover.h"
#include "supervisor/log.h"
#include "supervisor/supervisor_internal.h"

#define CALLS_MAX	   16
#define COMMAND_MS	   5000 /* to find an engine that takes the command */
#define COMMAND_GAP_MS 50
#define FAILSAFE_MS	   2000 /* as long as Patroni's leader waits */

typedef enum CallState
{
	CALL_FREE,
	CALL_WRITING,	 /* the host has it, under "id" */
	CALL_WATCHING,	 /* written; the view shows how it ends */
	CALL_QUEUED,	 /* a command to be given to the engine */
	CALL_GIVEN,		 /* an engine has it, under "id" */
	CALL_RESTARTING, /* accepted; the postmaster shows how it ends */
} CallState;

typedef struct Call
{
	CallState state;
	RestCall kind;
	RestCallDone done;
	void *arg;
	uint64_t id;
	int seconds;
	int64_t deadline_ms;
	RestMove move;

	/* commands for the engine */
	RestRestart restart;
	int64_t give_at_ms;		  /* CALL_QUEUED: not before */
	int64_t give_up_ms;		  /* nor after */
	pid_t old_postmaster;	  /* CALL_RESTARTING */
	bool has_seen_goal;		  /* likewise: our engine was at it */
	char refused[2 * HA_REASON_MAX]; /* the last refusal that may pass */
} Call;

struct Calls
{
	Call items[CALLS_MAX];
	uint64_t next_id;
};

static bool
is_move(const Call *call)
{
	return call->kind == REST_SWITCHOVER || call->kind == REST_FAILOVER;
}

/* "result" may point into the call. */
static void
call_end(Call *call, const RestResult *result)
{
	call->state = CALL_FREE;
	call->done(call->arg, result);
}

static void
call_end_text(Call *call, int status, const char *text)
{
	RestResult result = { .status = status, .text = text };

	call_end(call, &result);
}

/* Has the move come to its end? */
static void
call_watch(Supervisor *supervisor, Call *call)
{
	RestResult result;

	if (call->state == CALL_WATCHING &&
		move_look(&call->move, host_view(supervisor->host), &result))
		call_end(call, &result);
}

/* The host is done with a configuration. */
static void
config_answered(Call *call, const HaAction *answer)
{
	json_t *config = answer->ok && answer->text != NULL ? json_loads(answer->text, 0, NULL) : NULL;
	char *text = config == NULL ? NULL : json_dumps(config, JSON_ENSURE_ASCII);
	const char *sqlstate = answer->sqlstate == NULL ? "" : answer->sqlstate;
	RestResult result = { .status = 200, .is_json = true, .text = text };

	json_decref(config);
	if (!answer->ok)
	{
		result.is_json = false;
		result.text = answer->text != NULL ? answer->text : answer->because;
		/* 40001: others were faster each time; 22023: the new configuration is wrong */
		result.status = strcmp(sqlstate, "40001") == 0	 ? 409
						: strcmp(sqlstate, "22023") == 0 ? 400
														 : 503;
		if (result.status == 409)
			result.text = NULL;
	}
	call_end(call, &result);
	free(text);
}

static void
failover_answered(Supervisor *supervisor, Call *call, const HaAction *answer)
{
	bool is_raced = answer->sqlstate != NULL && strcmp(answer->sqlstate, "40001") == 0;

	if (answer->ok && is_move(call))
	{
		call->move.version = answer->version;
		call->state = CALL_WATCHING;
		call_watch(supervisor, call);
	}
	else if (answer->ok)
		call_end_text(call, 200, "scheduled switchover deleted");
	else if (is_move(call))
		call_end_text(call, 503, "failed to write failover key into DCS");
	else
		call_end_text(call, is_raced ? 409 : 503, NULL);
}

/* The engine has promised, or not (patroni/api.py, do_POST_failsafe()). */
static void
failsafe_answered(Call *call, bool ok, const char *sqlstate, const char *text, Lsn lsn)
{
	RestResult result = { .status = 200, .text = text, .lsn = lsn };

	if (sqlstate == NULL)
		sqlstate = "";
	if (!ok)
	{
		result.lsn = 0;
		result.status = strcmp(sqlstate, "55000") == 0	 ? 500
						: strcmp(sqlstate, "0A000") == 0 ? 502
						: strcmp(sqlstate, "57P03") == 0 ? 503
														 : 409;
	}
	if (result.status == 502)
		result.text = NULL;
	call_end(call, &result);
}

/* ------------------------------------------------------------------------
 * Commands for the engine
 * ------------------------------------------------------------------------
 */

static const char *
command_kind(HaCommandKind kind)
{
	return kind == HA_COMMAND_RESTART		? "restart"
		   : kind == HA_COMMAND_REINITIALIZE ? "reinitialize"
											 : "flush_restart";
}

/* To the engine in the worker; false: there is none. */
static bool
give_to_worker(Supervisor *supervisor, const Call *call)
{
	const HaCommand *command = &call->restart.command;
	char schedule[40] = "";
	json_t *arguments;

	if (supervisor->worker == NULL || supervisor->give_deadline_ms != 0)
		return false;
	if (command->is_scheduled)
		timestamp_to_text(command->scheduled_at_ms, schedule);
	arguments = json_pack("{s:s, s:s, s:s, s:b, s:b, s:b, s:I}", "role", command->role,
						  "postgres_version", command->postgres_version, "scheduled_at", schedule,
						  "pending", command->only_pending, "force", command->force, "from_leader",
						  command->from_leader, "timeout_ms", (json_int_t) command->timeout_ms);
	return arguments != NULL &&
		   baton_send(supervisor, json_pack("{s:s, s:I, s:s, s:o}", "type", "command", "id",
											(json_int_t) call->id, "kind",
											command_kind(command->kind), "arguments", arguments));
}

static void
call_give(Supervisor *supervisor, Call *call)
{
	int64_t now_ms = clock_now_ms();
	RestResult result;

	if (call->state != CALL_QUEUED || now_ms < call->give_at_ms)
		return;
	if (now_ms >= call->give_up_ms)
	{
		restart_refused(&call->restart, "57P03", call->refused, &result);
		call_end(call, &result);
		return;
	}
	call->give_at_ms = now_ms + COMMAND_GAP_MS;
	call->restart.command.id = call->id;
	call->old_postmaster = postmaster_pid(supervisor->postmaster);
	/* before it is given: the answer may come at once */
	call->state = CALL_GIVEN;
	if (!(host_is_driving(supervisor->host)
			  ? host_command(supervisor->host, &call->restart.command)
			  : give_to_worker(supervisor, call)))
		call->state = CALL_QUEUED;
}

static void
command_answered(Call *call, bool ok, const char *sqlstate, const char *detail)
{
	RestResult result;

	if (!ok && strcmp(sqlstate, "57P03") == 0)
	{
		snprintf(call->refused, sizeof(call->refused), "%s", detail);
		call->state = CALL_QUEUED;
	}
	else if (!ok)
	{
		restart_refused(&call->restart, sqlstate, detail, &result);
		call_end(call, &result);
	}
	else if (call->kind == REST_DELETE_RESTART)
		call_end_text(call, 200, "scheduled restart deleted");
	else if (call->kind == REST_REINITIALIZE)
		call_end_text(call, 200, "reinitialize started");
	else if (call->restart.command.is_scheduled)
		call_end_text(call, 202, "Restart scheduled");
	else
		call->state = CALL_RESTARTING;
}

/* Has the restart come to its end? */
static void
restart_watch(Supervisor *supervisor, Call *call)
{
	pid_t pid = postmaster_pid(supervisor->postmaster);

	if (call->state != CALL_RESTARTING)
		return;
	if (pid != 0 && pid != call->old_postmaster && postmaster_accepts(supervisor->postmaster))
		call_end_text(call, 200, "restarted successfully");
	else if (!host_is_driving(supervisor->host))
		return;
	else if (strcmp(ha_goal_name(host_node(supervisor->host)), "restart") == 0)
		call->has_seen_goal = true;
	else if (call->has_seen_goal && task_running(supervisor->tasks) == HA_TASK_NONE)
		call_end_text(call, 503, "restart failed");
}

static const char *
message_text(const json_t *message, const char *key)
{
	const char *text = json_string_value(json_object_get(message, key));

	return text == NULL ? "" : text;
}

/* A message "result" of the worker. */
void
calls_result(Supervisor *supervisor, const json_t *message)
{
	uint64_t id = (uint64_t) json_integer_value(json_object_get(message, "id"));
	bool is_ok = json_is_true(json_object_get(message, "ok"));
	const char *sqlstate = message_text(message, "sqlstate");
	const char *detail = message_text(message, "detail");
	const char *text = message_text(message, "text");

	for (int i = 0; supervisor->calls != NULL && i < CALLS_MAX; i++)
	{
		Call *call = &supervisor->calls->items[i];

		if (call->id != id)
			continue;
		if (call->state == CALL_GIVEN)
			command_answered(call, is_ok, sqlstate, detail);
		else if (call->state == CALL_WRITING && call->kind == REST_FAILSAFE)
			failsafe_answered(call, is_ok, sqlstate, text,
							  (Lsn) json_integer_value(json_object_get(message, "lsn")));
		break;
	}
}

/* The worker is gone, and with it what it was given and did not answer. */
static void
call_look_for_worker(Supervisor *supervisor, Call *call)
{
	if (call->state != CALL_GIVEN || supervisor->worker != NULL ||
		host_is_driving(supervisor->host))
		return;
	call->state = CALL_QUEUED;
}

/* ------------------------------------------------------------------------
 * Answers
 * ------------------------------------------------------------------------
 */

/* HA_ANSWER: is it ours?  False: it belongs to somebody else. */
bool
calls_answer(Supervisor *supervisor, const HaAction *answer)
{
	if ((answer->command_id & CHANNEL_CALL_BIT) == 0)
		return false;
	for (int i = 0; supervisor->calls != NULL && i < CALLS_MAX; i++)
	{
		Call *call = &supervisor->calls->items[i];

		if (call->state == CALL_GIVEN && call->id == answer->command_id)
		{
			command_answered(call, answer->ok, answer->sqlstate == NULL ? "" : answer->sqlstate,
							 answer->detail);
			break;
		}
		if (call->state != CALL_WRITING || call->id != answer->command_id)
			continue;
		if (call->kind == REST_PATCH_CONFIG || call->kind == REST_PUT_CONFIG)
			config_answered(call, answer);
		else if (call->kind == REST_FAILSAFE)
			failsafe_answered(call, answer->ok, answer->sqlstate,
							  answer->text != NULL ? answer->text : answer->because, answer->lsn);
		else
			failover_answered(supervisor, call, answer);
		break;
	}
	return true;
}

/* Does anybody wait for an answer of ours that comes by itself? */
bool
calls_are_under_way(const Supervisor *supervisor)
{
	for (int i = 0; supervisor->calls != NULL && i < CALLS_MAX; i++)
		if (supervisor->calls->items[i].state != CALL_FREE)
			return true;
	return false;
}

/* Look at the calls under way; after each event, and at least each BATON_CHECK_MS. */
void
calls_turn(Supervisor *supervisor)
{
	int64_t now_ms = clock_now_ms();

	for (int i = 0; supervisor->calls != NULL && i < CALLS_MAX; i++)
	{
		Call *call = &supervisor->calls->items[i];
		RestResult result = { .status = 503 };

		call_watch(supervisor, call);
		call_look_for_worker(supervisor, call);
		call_give(supervisor, call);
		restart_watch(supervisor, call);
		if (call->state == CALL_FREE || now_ms < call->deadline_ms)
			continue;
		if (is_move(call))
			move_time_out(&call->move, call->seconds, &result);
		else if (call->state == CALL_RESTARTING)
			result.text = "postgres is still starting";
		call_end(call, &result);
	}
}

/* The end of this program: nobody will look at the calls any more. */
void
calls_close(Supervisor *supervisor)
{
	for (int i = 0; supervisor->calls != NULL && i < CALLS_MAX; i++)
	{
		if (supervisor->calls->items[i].state != CALL_FREE)
			call_end_text(&supervisor->calls->items[i], 503,
						  "the member is shutting down; the operation may still be in progress");
	}
	free(supervisor->calls);
	supervisor->calls = NULL;
}

static void
start_config(Supervisor *supervisor, Call *call, const json_t *body)
{
	char *text;
	bool is_patch = call->kind == REST_PATCH_CONFIG;
	const ClusterView *view = host_view(supervisor->host);
	bool is_sent;

	/* also of a change that changes nothing here: elsewhere it may be otherwise by now */
	if (!host_store_is_reachable(supervisor->host))
	{
		call_end_text(call, 503, "the store cannot be reached");
		return;
	}
	/* patroni/api.py, do_PATCH_config(): an error page when there is nothing to patch */
	text = json_dumps(body, JSON_COMPACT | JSON_ENSURE_ASCII);
	is_sent = text != NULL && view != NULL && view->is_loaded &&
			  (!is_patch || view->config_json != NULL) &&
			  host_put_config(supervisor->host, call->id, text, is_patch);
	free(text);
	if (!is_sent)
		call_end_text(call, 503, NULL);
}

static void
start_move(Supervisor *supervisor, Call *call, const json_t *body)
{
	const ClusterView *view = host_view(supervisor->host);
	RestResult result;

	if (view == NULL || !view->is_loaded || !host_store_is_reachable(supervisor->host))
		call_end_text(call, 503, "the store cannot be reached");
	else if (!move_check(&call->move, call->kind == REST_SWITCHOVER, body,
						 host_settings(supervisor->host), view, clock_wall_ms(), &result))
		call_end(call, &result);
	else
	{
		const FailoverRequest *request = &call->move.request;

		log_format(LOG_LEVEL_LOG, "REST asks for a %s%s to %s%s%s%s%s",
				   request->is_scheduled ? "scheduled " : "",
				   call->move.is_switchover ? "switchover" : "failover",
				   request->candidate[0] != '\0' ? "\"" : "the best member", request->candidate,
				   request->candidate[0] != '\0' ? "\"" : "", request->is_scheduled ? " at " : "",
				   request->scheduled_at);
		if (!host_put_failover(supervisor->host, call->id, request))
			call_end_text(call, 503, "failed to write failover key into DCS");
	}
}

static void
start_failsafe(Supervisor *supervisor, Call *call, const json_t *body)
{
	HaCommand command;

	peer_failsafe_command(&command, body);
	command.id = call->id;
	call->deadline_ms = clock_now_ms() + FAILSAFE_MS;
	if (command.leader[0] == '\0')
		call_end_text(call, 400, NULL);
	else if (host_is_driving(supervisor->host))
	{
		if (!host_command(supervisor->host, &command))
			call_end_text(call, 503, "too many commands are under way");
	}
	else if (!baton_send(supervisor, json_pack("{s:s, s:I, s:s, s:s, s:I}", "type", "failsafe", "id",
											   (json_int_t) call->id, "name", command.leader, "member",
											   command.member, "ttl_ms", (json_int_t) command.timeout_ms)))
		call_end_text(call, 503, "nobody controls this member at the moment");
}

static void
start_delete(Supervisor *supervisor, Call *call)
{
	const ClusterView *view = host_view(supervisor->host);
	FailoverRequest nothing;

	if (view == NULL || !view->is_loaded || !host_store_is_reachable(supervisor->host))
	{
		call_end_text(call, 503, "the store cannot be reached");
		return;
	}
	if (!view->failover.is_scheduled)
	{
		call_end_text(call, 404, "no switchover is scheduled");
		return;
	}
	memset(&nothing, 0, sizeof(nothing));
	nothing.version = view->failover.version;
	if (!host_put_failover(supervisor->host, call->id, &nothing))
		call_end_text(call, 503, NULL);
}

static void
start_command(Supervisor *supervisor, Call *call, const json_t *body)
{
	const Settings *settings = host_settings(supervisor->host);
	const ClusterView *view = host_view(supervisor->host);
	RestResult result;
	bool is_right = true;

	if (call->kind == REST_RESTART)
		is_right = restart_check(&call->restart, body, settings, clock_wall_ms(), &result);
	else if (call->kind == REST_DELETE_RESTART)
		call->restart.command.kind = HA_COMMAND_FLUSH_RESTART;
	else if (view == NULL || !view->is_loaded || !host_store_is_reachable(supervisor->host))
	{
		/* the leader to copy from may be gone by now */
		call_end_text(call, 503, "the store cannot be reached");
		return;
	}
	else
		is_right = reinitialize_check(&call->restart, body, settings, view, &result);
	if (!is_right)
	{
		call_end(call, &result);
		return;
	}
	log_format(LOG_LEVEL_LOG, "REST asks this member for: %s%s",
			   command_kind(call->restart.command.kind),
			   call->restart.command.is_scheduled ? " (scheduled)" : "");
	call->state = CALL_QUEUED;
	call->give_up_ms = clock_now_ms() + COMMAND_MS;
	call_give(supervisor, call);
}

/* RestOps.settings: the settings in force. */
const Settings *
calls_settings(void *context)
{
	const Supervisor *supervisor = context;

	return host_settings(supervisor->host);
}

/* RestOps.view: the cluster, NULL if it was never seen. */
const ClusterView *
calls_view(void *context)
{
	const Supervisor *supervisor = context;

	return host_view(supervisor->host);
}

/* RestOps.call: start what was asked for. */
void
calls_request(void *context, RestCall kind, const json_t *body, RestCallDone done, void *arg)
{
	Supervisor *supervisor = context;
	RestResult busy = { .status = 503, .text = "too many calls are under way, try again later" };
	RestResult reloading = { .status = 202, .text = "reload scheduled" };
	RestResult shutting = { .status = 202, .text = "shutdown scheduled" };
	RestResult heard = { .status = 200, .text = "OK" };
	Call *call = NULL;

	if (kind == REST_RELOAD)
		kill(getpid(), SIGHUP);
	if (kind == REST_RELOAD || kind == REST_SIGTERM || kind == REST_MPP)
	{
		done(arg, kind == REST_RELOAD ? &reloading : kind == REST_SIGTERM ? &shutting : &heard);
		return;
	}
	if (supervisor->calls == NULL)
		supervisor->calls = calloc(1, sizeof(Calls));
	for (int i = 0; supervisor->calls != NULL && call == NULL && i < CALLS_MAX; i++)
	{
		if (supervisor->calls->items[i].state == CALL_FREE)
			call = &supervisor->calls->items[i];
	}
	if (call == NULL)
	{
		done(arg, &busy);
		return;
	}
	memset(call, 0, sizeof(*call));
	call->state = CALL_WRITING;
	call->kind = kind;
	call->done = done;
	call->arg = arg;
	call->id = CHANNEL_CALL_BIT | ++supervisor->calls->next_id;
	call->seconds = rest_call_seconds(host_settings(supervisor->host), kind, body);
	call->deadline_ms = clock_now_ms() + call->seconds * INT64_C(1000);
	if (kind == REST_PATCH_CONFIG || kind == REST_PUT_CONFIG)
		start_config(supervisor, call, body);
	else if (kind == REST_DELETE_SWITCHOVER)
		start_delete(supervisor, call);
	else if (kind == REST_FAILSAFE)
		start_failsafe(supervisor, call, body);
	else if (kind == REST_RESTART || kind == REST_DELETE_RESTART || kind == REST_REINITIALIZE)
		start_command(supervisor, call, body);
	else
		start_move(supervisor, call, body);
}
