/*-------------------------------------------------------------------------
 *
 * commands.c
 *      Commands that people give in SQL: from the queue in shared memory to
 *      the engine, and the engine's answers back.
 *
 * Every command that is taken is answered exactly once: here when it cannot
 * be understood or nobody here may decide, else by HA_ANSWER.  Names, kinds
 * and arguments are listed in shared.h.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "worker/worker.h"

#include <stdlib.h>
#include <string.h>

/* How long a command waits for the baton. */
#define BATON_PATIENCE_MS	2000

/* --- answers --- */

static void
answer_text(uint64_t id, bool ok, const char *message, const char *detail,
			const char *hint, const char *sqlstate, json_t *result)
{
	json_t	   *answer;
	char	   *text = NULL;

	answer = json_pack("{s:b,s:s,s:s,s:s,s:s}",
					   "ok", ok,
					   "message", message,
					   "detail", detail,
					   "hint", hint,
					   "sqlstate", sqlstate);
	if (answer != NULL && result != NULL)
		json_object_set(answer, "result", result);
	json_decref(result);
	if (answer != NULL)
		text = json_dumps(answer, JSON_COMPACT);
	json_decref(answer);
	if (text == NULL)
	{
		/* no memory, or a text that is not UTF-8 */
		shared_finish_command(id, ok ? "{\"ok\":true}" :
							  "{\"ok\":false,\"message\":\"command was refused\","
							  "\"sqlstate\":\"55000\"}");
		return;
	}
	shared_finish_command(id, text);
	free(text);
}

static void
answer_supervisor(Worker *worker, uint64_t id, bool ok, const char *text, const char *detail,
				  const char *sqlstate, Lsn lsn)
{
	worker_send(worker, json_pack("{s:s,s:I,s:b,s:s,s:s,s:s,s:I}", "type", "result",
								  "id", (json_int_t) id, "ok", ok, "text", text,
								  "detail", detail, "sqlstate", sqlstate,
								  "lsn", (json_int_t) lsn));
}

/*
 * The engine's answer to the command with this id; 0 = nobody waits.  What the
 * supervisor was asked over REST goes back there.
 */
void
commands_answer(Worker *worker, uint64_t id, const HaAction *answer)
{
	const char *text = answer->text != NULL ? answer->text : answer->because;
	json_t	   *result = NULL;

	if (id == 0)
		return;
	if ((id & CHANNEL_CALL_BIT) != 0)
	{
		answer_supervisor(worker, id, answer->ok, text, answer->detail,
						  answer->ok ? "00000" :
						  answer->sqlstate != NULL ? answer->sqlstate : "55000", answer->lsn);
		return;
	}
	if (answer->ok && answer->text != NULL &&
		(answer->text[0] == '{' || answer->text[0] == '['))
		result = json_loads(answer->text, 0, NULL);
	answer_text(id, answer->ok, result != NULL ? answer->because : text,
				answer->detail, answer->hint,
				answer->ok ? "00000" :
				answer->sqlstate != NULL ? answer->sqlstate : "55000",
				result);
}

static void
refuse(uint64_t id, const char *sqlstate, const char *message,
	   const char *detail, const char *hint)
{
	answer_text(id, false, message, detail, hint, sqlstate, NULL);
}

/* --- questions --- */

/* Copy a text argument; absent and null are "".  False: no text, or too long. */
static bool
argument_text(const json_t *arguments, const char *name, char *text, size_t size,
			  Error *error)
{
	const json_t *value = json_object_get(arguments, name);

	text[0] = '\0';
	if (value == NULL || json_is_null(value))
		return true;
	if (!json_is_string(value))
		return error_set(error, "argument \"%s\" is not a text", name);
	if (json_string_length(value) >= size ||
		strlen(json_string_value(value)) != json_string_length(value))
		return error_set(error, "argument \"%s\" is too long", name);
	memcpy(text, json_string_value(value), json_string_length(value) + 1);
	return true;
}

static bool
argument_bool(const json_t *arguments, const char *name)
{
	return json_is_true(json_object_get(arguments, name));
}

static int64_t
argument_timeout_ms(const json_t *arguments)
{
	json_int_t	value = json_integer_value(json_object_get(arguments, "timeout_ms"));

	return value < 0 ? 0 : Min(value, INT64_C(86400000));
}

static bool
argument_schedule(HaCommand *command, const json_t *arguments, Error *error)
{
	char		text[64];
	bool		has_zone = false;

	if (!argument_text(arguments, "scheduled_at", text, sizeof(text), error))
		return false;
	if (text[0] == '\0')
		return true;
	if (!timestamp_from_text(text, &command->scheduled_at_ms, &has_zone))
		return error_set(error, "argument \"scheduled_at\" is not a time: \"%s\"", text);
	if (!has_zone)
		return error_set(error, "argument \"scheduled_at\" has no time zone: \"%s\"", text);
	command->is_scheduled = true;
	return true;
}

static const struct
{
	const char *name;
	HaCommandKind kind;
}			command_kinds[] = {
	{"switchover", HA_COMMAND_SWITCHOVER},
	{"failover", HA_COMMAND_FAILOVER},
	{"restart", HA_COMMAND_RESTART},
	{"reload", HA_COMMAND_RELOAD},
	{"reinitialize", HA_COMMAND_REINITIALIZE},
	{"flush_switchover", HA_COMMAND_FLUSH_SWITCHOVER},
	{"flush_restart", HA_COMMAND_FLUSH_RESTART},
	{"shutdown", HA_COMMAND_SHUTDOWN},
};

/*
 * Make an engine's command of its JSON form, without id.  Also used for the
 * goal that the supervisor names when it asks for the baton.
 */
bool
command_from_json(HaCommand *command, const char *kind,
				  const json_t *arguments, Error *error)
{
	bool		is_known = false;

	memset(command, 0, sizeof(*command));
	for (size_t i = 0; i < lengthof(command_kinds); i++)
	{
		if (strcmp(command_kinds[i].name, kind) == 0)
		{
			command->kind = command_kinds[i].kind;
			is_known = true;
		}
	}
	if (!is_known)
		return error_set(error, "unknown command \"%s\"", kind);
	if (!argument_text(arguments, "member", command->member,
					   sizeof(command->member), error) ||
		!argument_text(arguments, "leader", command->leader,
					   sizeof(command->leader), error) ||
		!argument_text(arguments, "candidate", command->candidate,
					   sizeof(command->candidate), error) ||
		!argument_text(arguments, "role", command->role,
					   sizeof(command->role), error) ||
		!argument_text(arguments, "reason", command->reason,
					   sizeof(command->reason), error) ||
		!argument_schedule(command, arguments, error))
		return false;
	if (!argument_text(arguments, "postgres_version", command->postgres_version,
					   sizeof(command->postgres_version), error))
		return false;
	command->version_below = ha_version_number(command->postgres_version);
	command->only_pending = argument_bool(arguments, "pending");
	command->force = argument_bool(arguments, "force");
	command->from_leader = argument_bool(arguments, "from_leader");
	command->wait = argument_bool(arguments, "wait");
	command->timeout_ms = argument_timeout_ms(arguments);
	return true;
}

/* pause, resume and edit_config change the dynamic configuration. */
static bool
edit_config(Worker *worker, uint64_t id, const char *kind, const json_t *arguments,
			Error *error)
{
	const json_t *patch = json_object_get(arguments, "patch");
	char	   *text = NULL;
	bool		is_queued;

	if (strcmp(kind, "pause") == 0)
		text = strdup("{\"pause\": true}");
	else if (strcmp(kind, "resume") == 0)
		text = strdup("{\"pause\": null}");
	else if (!json_is_object(patch))
		return error_set(error, "argument \"patch\" is not a JSON object");
	else
		text = json_dumps(patch, JSON_COMPACT);
	if (text == NULL)
		return error_set(error, "out of memory");
	is_queued = host_edit_config(worker->host, id, text,
								 argument_bool(arguments, "wait"),
								 argument_timeout_ms(arguments));
	free(text);
	if (!is_queued)
		return error_set(error, "too many changes of the configuration are under way");
	return true;
}

static bool
is_edit(const char *kind)
{
	return strcmp(kind, "pause") == 0 || strcmp(kind, "resume") == 0 ||
		strcmp(kind, "edit_config") == 0;
}

static void
command_begin(Worker *worker, const SharedCommand *request)
{
	json_t	   *arguments = json_loads(request->arguments, 0, NULL);
	HaCommand	command;
	Error		error;

	error_clear(&error);
	if (!json_is_object(arguments))
		refuse(request->id, "22023", "the arguments of the command are not a JSON object",
			   "", "");
	else if (is_edit(request->kind))
	{
		if (!edit_config(worker, request->id, request->kind, arguments, &error))
			refuse(request->id, "22023", error.message, "", "");
	}
	else if (!command_from_json(&command, request->kind, arguments, &error) ||
			 command.kind == HA_COMMAND_SHUTDOWN)
		refuse(request->id, "22023",
			   error.message[0] != '\0' ? error.message : "cannot shut down from SQL",
			   "", "");
	else
	{
		command.id = request->id;
		if (!host_command(worker->host, &command))
			refuse(request->id, "53000", "too many commands are under way", "",
				   "Try again later.");
	}
	json_decref(arguments);
}

/*
 * Take the commands that wait and give them to the engine.  Without the baton
 * they go on waiting for it: while the server starts or stops it is with the
 * supervisor for a moment.  The dynamic configuration is the cluster's, to
 * change that needs no baton.
 */
void
commands_take(Worker *worker, int64_t now_ms)
{
	bool		has_baton = worker_holds_baton(worker);
	bool		is_patient = !has_baton &&
		(worker->commands_wait_ms == 0 || now_ms - worker->commands_wait_ms < BATON_PATIENCE_MS);
	SharedCommand request;

	if (!worker->has_shared)
		return;
	for (int i = 0; i < WORKER_COMMANDS_MAX &&
		 shared_next_command(&request, is_patient ? is_edit : NULL); i++)
	{
		if (has_baton || is_edit(request.kind))
			command_begin(worker, &request);
		else
			refuse(request.id, "55000",
				   "this node's HA loop is in the hands of the supervisor right now",
				   "", "Try again in a moment.");
	}
	if (!is_patient || !shared_command_waits())
		worker->commands_wait_ms = 0;
	else if (worker->commands_wait_ms == 0)
		worker->commands_wait_ms = now_ms;
}

/*
 * A command that the supervisor gives, because REST was asked for it.  57P03:
 * it may be given again, to whoever drives by then.
 */
void
commands_from_supervisor(Worker *worker, const json_t *message)
{
	uint64_t	id = (uint64_t) json_integer_value(json_object_get(message, "id"));
	const char *kind = json_string_value(json_object_get(message, "kind"));
	HaCommand	command;
	Error		error;

	error_clear(&error);
	if (kind == NULL || (id & CHANNEL_CALL_BIT) == 0)
		return;
	if (!worker_holds_baton(worker))
		answer_supervisor(worker, id, false, "the worker does not control this node", "", "57P03", 0);
	else if (!command_from_json(&command, kind, json_object_get(message, "arguments"), &error))
		answer_supervisor(worker, id, false, error.message, "", "22023", 0);
	else
	{
		command.id = id;
		if (!host_command(worker->host, &command))
			answer_supervisor(worker, id, false, "too many commands are under way", "", "53000", 0);
	}
}
