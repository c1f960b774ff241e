/*-------------------------------------------------------------------------
 *
 * sql.c
 *      The SQL functions of schema patroni.
 *
 * Reading shows the worker's snapshot; changing gives the worker a command
 * and waits for its answer.  Neither writes to the database, so all of it
 * works on standbys.
 *
 * Who may call what is said in the extension script alone.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "base/clock.h"
#include "base/lease_page.h"
#include "ha/rules.h"
#include "worker/compat.h"
#include "worker/fence.h"
#include "worker/fence_shared.h"
#include "worker/isolation.h"
#include "worker/shared.h"

#define DEFAULT_TIMEOUT_MS		INT64CONST(60000)
#define RULES_COLUMNS			6

PG_FUNCTION_INFO_V1(patroni_snapshot);
PG_FUNCTION_INFO_V1(patroni_status);
PG_FUNCTION_INFO_V1(patroni_rules);
PG_FUNCTION_INFO_V1(patroni_switchover);
PG_FUNCTION_INFO_V1(patroni_failover);
PG_FUNCTION_INFO_V1(patroni_pause);
PG_FUNCTION_INFO_V1(patroni_resume);
PG_FUNCTION_INFO_V1(patroni_restart);
PG_FUNCTION_INFO_V1(patroni_reload);
PG_FUNCTION_INFO_V1(patroni_reinitialize);
PG_FUNCTION_INFO_V1(patroni_edit_config);

static void
require_preload(void)
{
	if (patroni_shared_memory() == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("patroni_bgw is not loaded"),
				 errhint("Add \"patroni_bgw\" to \"shared_preload_libraries\" and restart the server.")));
}

/* --- JSON, in both directions --- */

static Datum
jsonb_from_text(const char *text)
{
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(text));
}

/* A member of a JSON object as text, or NULL when it is absent or null. */
static char *
json_member(Jsonb *object, const char *name)
{
	JsonbValue	key;
	JsonbValue *value;

	if (!JB_ROOT_IS_OBJECT(object))
		return NULL;
	key.type = jbvString;
	key.val.string.val = unconstify(char *, name);
	key.val.string.len = (int) strlen(name);
	value = findJsonbValueFromContainer(&object->root, JB_FOBJECT, &key);
	if (value == NULL || value->type == jbvNull)
		return NULL;
	if (value->type == jbvString)
		return pnstrdup(value->val.string.val, value->val.string.len);
	return JsonbToCString(NULL, &JsonbValueToJsonb(value)->root, 0);
}

static bool
json_member_is_true(Jsonb *object, const char *name)
{
	char	   *text = json_member(object, name);

	return text != NULL && strcmp(text, "true") == 0;
}

static void
add_name(StringInfo json, const char *name)
{
	appendStringInfoString(json, json->len == 0 ? "{" : ", ");
	escape_json(json, name);
	appendStringInfoString(json, ": ");
}

static void
add_text(StringInfo json, const char *name, const char *value)
{
	add_name(json, name);
	if (value == NULL)
		appendStringInfoString(json, "null");
	else
		escape_json(json, value);
}

static void
add_number(StringInfo json, const char *name, int64 value)
{
	add_name(json, name);
	appendStringInfo(json, INT64_FORMAT, value);
}

static void
add_boolean(StringInfo json, const char *name, bool value)
{
	add_name(json, name);
	appendStringInfoString(json, value ? "true" : "false");
}

static void
add_time(StringInfo json, const char *name, TimestampTz value)
{
	char		text[MAXDATELEN + 1];

	JsonEncodeDateTime(text, TimestampTzGetDatum(value), TIMESTAMPTZOID, NULL);
	add_text(json, name, text);
}

/* --- reading --- */

/* The latest snapshot, or an error that says why there is none. */
static char *
require_snapshot(void)
{
	uint64		number;
	int64		taken_ms;
	char	   *text;

	require_preload();
	text = shared_snapshot(&number, &taken_ms);
	if (text == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("nothing is known of the cluster yet"),
				 patroni_socket_path()[0] == '\0' ?
				 errdetail("This server is not run by patroni_supervisor: \"patroni.socket\" is not set.") :
				 errdetail("The patroni worker has not looked at the cluster since the server was started."),
				 patroni_socket_path()[0] == '\0' ?
				 errhint("Start the server with patroni_supervisor.") :
				 errhint("Try again in a moment; if that does not help, look at the server log.")));
	return text;
}

/* patroni.snapshot(): the worker's document as it is. */
Datum
patroni_snapshot(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(jsonb_from_text(require_snapshot()));
}

static const char *
holder_name(uint32 holder)
{
	switch ((LeaseHolder) holder)
	{
		case LEASE_HOLDER_SUPERVISOR:
			return "supervisor";
		case LEASE_HOLDER_WORKER:
			return "worker";
		case LEASE_HOLDER_NONE:
			break;
	}
	return "none";
}

/* The deadline, unless there is none: closed, or never over. */
static void
add_deadline(StringInfo json, int64 deadline_us)
{
	int64		left_us = deadline_us - clock_now_us();

	if (deadline_us == LEASE_CLOSED_US || deadline_us == LEASE_NEVER_US)
	{
		add_text(json, "deadline", NULL);
		add_text(json, "remaining_ms", NULL);
		return;
	}
	add_time(json, "deadline", GetCurrentTimestamp() + left_us);
	add_number(json, "remaining_ms", Max(left_us, 0) / 1000);
}

/* What the lease page says right now. */
static char *
fence_json(void)
{
	LeasePage  *page = patroni_lease_page();
	FenceShared *shared = patroni_fence_shared();
	StringInfoData json;
	int64		deadline_us = page ? lease_page_deadline_us(page) : LEASE_NEVER_US;

	initStringInfo(&json);
	add_boolean(&json, "is_managed", page != NULL);
	add_boolean(&json, "is_enabled", fence_is_enabled);
	add_boolean(&json, "is_open", page == NULL || lease_page_is_open(page));
	add_deadline(&json, deadline_us);
	add_number(&json, "refused_commits",
			   page ? (int64) atomic_load_explicit(&page->refused_commits, memory_order_relaxed) : 0);
	add_number(&json, "withheld_acks",
			   page ? (int64) atomic_load_explicit(&page->withheld_acks, memory_order_relaxed) : 0);
	add_number(&json, "generation", page ? lease_page_generation(page) : 0);
	add_text(&json, "baton",
			 holder_name(page ? atomic_load_explicit(&page->holder, memory_order_acquire) : LEASE_HOLDER_NONE));
	add_boolean(&json, "is_isolated", isolation_holds());
	add_boolean(&json, "is_exposed",
				shared != NULL && pg_atomic_read_u32(&shared->exposure) == EXPOSURE_HELD);
	add_number(&json, "refused_lonely",
			   shared != NULL ? (int64) pg_atomic_read_u64(&shared->refused_lonely) : 0);
	appendStringInfoChar(&json, '}');
	return json.data;
}

/* The parts of status() that no snapshot needs. */
static char *
live_json(int64 taken_ms, bool has_snapshot)
{
	pid_t		pid = shared_worker_pid();
	StringInfoData json;

	initStringInfo(&json);
	add_name(&json, "worker");
	appendStringInfo(&json, "{\"is_running\": %s, \"pid\": ", pid != 0 ? "true" : "false");
	if (pid != 0)
		appendStringInfo(&json, "%d}", (int) pid);
	else
		appendStringInfoString(&json, "null}");
	if (has_snapshot)
		add_number(&json, "snapshot_age_ms", Max(clock_now_ms() - taken_ms, 0));
	else
		add_text(&json, "snapshot_age_ms", NULL);
	add_name(&json, "fence");
	appendStringInfoString(&json, fence_json());
	appendStringInfoChar(&json, '}');
	return json.data;
}

/*
 * patroni.status(): this node and the cluster, with the lease page as it is
 * at this moment.  Also answers when nothing is known of the cluster.
 */
Datum
patroni_status(PG_FUNCTION_ARGS)
{
	static const char *const own_views[] = {"history", "events", "explain"};
	uint64		number;
	int64		taken_ms;
	char	   *text;
	Datum		status;

	require_preload();
	text = shared_snapshot(&number, &taken_ms);
	status = jsonb_from_text(text != NULL ? text : "{}");
	for (int i = 0; i < (int) lengthof(own_views); i++)
		status = DirectFunctionCall2(jsonb_delete, status, CStringGetTextDatum(own_views[i]));
	PG_RETURN_DATUM(DirectFunctionCall2(jsonb_concat, status,
										jsonb_from_text(live_json(taken_ms, text != NULL))));
}

/* "a, b" as an array of texts. */
static Datum
text_list(const char *joined)
{
	ArrayBuildState *list = initArrayResult(TEXTOID, CurrentMemoryContext, false);
	const char *end;

	while (*joined != '\0')
	{
		end = strstr(joined, ", ");
		if (end == NULL)
			end = joined + strlen(joined);
		list = accumArrayResult(list,
								PointerGetDatum(cstring_to_text_with_len(joined, (int) (end - joined))),
								false, TEXTOID, CurrentMemoryContext);
		joined = *end == '\0' ? end : end + 2;
	}
	return makeArrayResult(list, CurrentMemoryContext);
}

/* An empty tuplestore as the result of the calling set-returning function. */
static Tuplestorestate *
begin_rows(FunctionCallInfo fcinfo, TupleDesc *description)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext old;
	Tuplestorestate *rows;

	if (result == NULL || !IsA(result, ReturnSetInfo) || !(result->allowedModes & SFRM_Materialize))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("set-valued function called in context that cannot accept a set")));
	if (get_call_result_type(fcinfo, NULL, description) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	old = MemoryContextSwitchTo(result->econtext->ecxt_per_query_memory);
	*description = CreateTupleDescCopy(*description);
	rows = tuplestore_begin_heap((result->allowedModes & SFRM_Materialize_Random) != 0,
								 false, work_mem);
	result->returnMode = SFRM_Materialize;
	result->setResult = rows;
	result->setDesc = *description;
	MemoryContextSwitchTo(old);
	return rows;
}

/* patroni.rules(): the engine's decision tables, in the order they are tried. */
Datum
patroni_rules(PG_FUNCTION_ARGS)
{
	TupleDesc	description;
	Tuplestorestate *rows = begin_rows(fcinfo, &description);
	HaRuleRow	rule;

	for (int i = 0; ha_rule_row(i, &rule); i++)
	{
		Datum		values[RULES_COLUMNS];
		bool		nulls[RULES_COLUMNS] = {false};

		values[0] = CStringGetTextDatum(rule.table);
		values[1] = CStringGetTextDatum(rule.name);
		values[2] = text_list(rule.when);
		values[3] = text_list(rule.unless);
		values[4] = CStringGetTextDatum(rule.then);
		values[5] = CStringGetTextDatum(rule.because);
		tuplestore_putvalues(rows, description, values, nulls);
	}
	return (Datum) 0;
}

/* --- commands --- */

/* The arguments every command has; the caller adds its own. */
static void
begin_arguments(StringInfo json)
{
	require_preload();
	initStringInfo(json);
	add_text(json, "user", GetUserNameFromId(GetUserId(), false));
}

static void
add_text_argument(StringInfo json, const char *name, FunctionCallInfo fcinfo, int index)
{
	add_text(json, name, PG_ARGISNULL(index) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(index)));
}

static void
add_boolean_argument(StringInfo json, const char *name, FunctionCallInfo fcinfo, int index,
					 bool value_for_null)
{
	add_boolean(json, name, PG_ARGISNULL(index) ? value_for_null : PG_GETARG_BOOL(index));
}

/* A member that must be named. */
static void
require_argument(const char *name, FunctionCallInfo fcinfo, int index)
{
	if (PG_ARGISNULL(index) || VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(index)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" must be given", name),
				 errhint("The members of the cluster are in patroni.member.")));
}

/* A time limit in milliseconds; the default for NULL. */
static int64
timeout_argument(FunctionCallInfo fcinfo, int index)
{
	Interval   *interval;
	double		timeout_ms;

	if (PG_ARGISNULL(index))
		return DEFAULT_TIMEOUT_MS;
	interval = PG_GETARG_INTERVAL_P(index);
	timeout_ms = interval->time / 1000.0 +
		((double) interval->day + (double) interval->month * DAYS_PER_MONTH) * SECS_PER_DAY * 1000.0;
	if (timeout_ms < 1 || timeout_ms > INT_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("timeout is out of range"),
				 errdetail("It must be between one millisecond and 24 days.")));
	return (int64) timeout_ms;
}

/* The SQLSTATE that the worker asked for, or a general one. */
static int
result_sqlstate(Jsonb *answer)
{
	char	   *text = json_member(answer, "sqlstate");

	if (text == NULL || strlen(text) != 5 ||
		strspn(text, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") != 5 || strncmp(text, "00", 2) == 0)
		return ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
	return MAKE_SQLSTATE(text[0], text[1], text[2], text[3], text[4]);
}

/*
 * Give the command to the worker and wait.  Returns its "result" as text
 * (JSON when it is not a string), or NULL; its refusal is raised as an error.
 */
static char *
run_command(const char *kind, StringInfo json, int64 timeout_ms)
{
	Jsonb	   *answer;
	char	   *message;
	char	   *detail;
	char	   *hint;

	add_number(json, "timeout_ms", timeout_ms);
	appendStringInfoChar(json, '}');
	answer = DatumGetJsonbP(jsonb_from_text(shared_run_command(kind, json->data, timeout_ms)));
	message = json_member(answer, "message");
	if (json_member_is_true(answer, "ok"))
	{
		char	   *result = json_member(answer, "result");

		return result != NULL ? result : message;
	}
	detail = json_member(answer, "detail");
	hint = json_member(answer, "hint");
	ereport(ERROR,
			(errcode(result_sqlstate(answer)),
			 message != NULL ? errmsg("%s", message) : errmsg("command \"%s\" was refused", kind),
			 detail != NULL && detail[0] != '\0' ? errdetail("%s", detail) : 0,
			 hint != NULL && hint[0] != '\0' ? errhint("%s", hint) : 0));
	return NULL;				/* not reached */
}

static Datum
return_text(FunctionCallInfo fcinfo, const char *text)
{
	PG_RETURN_TEXT_P(cstring_to_text(text != NULL && text[0] != '\0' ? text : "done"));
}

/* patroni.switchover(candidate, scheduled_at, wait, timeout, reason) */
Datum
patroni_switchover(PG_FUNCTION_ARGS)
{
	StringInfoData json;
	int64		timeout_ms = timeout_argument(fcinfo, 3);

	begin_arguments(&json);
	add_text_argument(&json, "candidate", fcinfo, 0);
	if (PG_ARGISNULL(1))
		add_text(&json, "scheduled_at", NULL);
	else if (TIMESTAMP_NOT_FINITE(PG_GETARG_TIMESTAMPTZ(1)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"scheduled_at\" must be finite")));
	else
		add_time(&json, "scheduled_at", PG_GETARG_TIMESTAMPTZ(1));
	add_boolean_argument(&json, "wait", fcinfo, 2, true);
	add_text_argument(&json, "reason", fcinfo, 4);
	return return_text(fcinfo, run_command("switchover", &json, timeout_ms));
}

/* patroni.failover(candidate, wait, timeout, reason) */
Datum
patroni_failover(PG_FUNCTION_ARGS)
{
	StringInfoData json;
	int64		timeout_ms = timeout_argument(fcinfo, 2);

	begin_arguments(&json);
	require_argument("candidate", fcinfo, 0);
	add_text_argument(&json, "candidate", fcinfo, 0);
	add_boolean_argument(&json, "wait", fcinfo, 1, true);
	add_text_argument(&json, "reason", fcinfo, 3);
	return return_text(fcinfo, run_command("failover", &json, timeout_ms));
}

static Datum
pause_or_resume(const char *kind, FunctionCallInfo fcinfo)
{
	StringInfoData json;

	begin_arguments(&json);
	add_boolean_argument(&json, "wait", fcinfo, 0, true);
	return return_text(fcinfo, run_command(kind, &json, timeout_argument(fcinfo, 1)));
}

/* patroni.pause(wait, timeout) */
Datum
patroni_pause(PG_FUNCTION_ARGS)
{
	return pause_or_resume("pause", fcinfo);
}

/* patroni.resume(wait, timeout) */
Datum
patroni_resume(PG_FUNCTION_ARGS)
{
	return pause_or_resume("resume", fcinfo);
}

/* patroni.restart(member, role, pending, wait, timeout) */
Datum
patroni_restart(PG_FUNCTION_ARGS)
{
	StringInfoData json;
	int64		timeout_ms = timeout_argument(fcinfo, 4);

	begin_arguments(&json);
	add_text_argument(&json, "member", fcinfo, 0);
	add_text_argument(&json, "role", fcinfo, 1);
	add_boolean_argument(&json, "pending", fcinfo, 2, false);
	add_boolean_argument(&json, "wait", fcinfo, 3, true);
	return return_text(fcinfo, run_command("restart", &json, timeout_ms));
}

/* patroni.reload(member) */
Datum
patroni_reload(PG_FUNCTION_ARGS)
{
	StringInfoData json;

	begin_arguments(&json);
	add_text_argument(&json, "member", fcinfo, 0);
	return return_text(fcinfo, run_command("reload", &json, DEFAULT_TIMEOUT_MS));
}

/* patroni.reinitialize(member, force, from_leader) */
Datum
patroni_reinitialize(PG_FUNCTION_ARGS)
{
	StringInfoData json;

	begin_arguments(&json);
	require_argument("member", fcinfo, 0);
	add_text_argument(&json, "member", fcinfo, 0);
	add_boolean_argument(&json, "force", fcinfo, 1, false);
	add_boolean_argument(&json, "from_leader", fcinfo, 2, false);
	return return_text(fcinfo, run_command("reinitialize", &json, DEFAULT_TIMEOUT_MS));
}

/*
 * patroni.edit_config(patch): the dynamic configuration with the patch in
 * it, as far as the worker's answer tells it.
 */
Datum
patroni_edit_config(PG_FUNCTION_ARGS)
{
	StringInfoData json;
	Jsonb	   *patch = PG_GETARG_JSONB_P(0);
	char	   *result;

	if (!JB_ROOT_IS_OBJECT(patch))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("patch must be a JSON object"),
				 errhint("A key with the value null removes that key from the configuration.")));
	begin_arguments(&json);
	add_name(&json, "patch");
	JsonbToCString(&json, &patch->root, VARSIZE(patch));
	result = run_command("edit_config", &json, DEFAULT_TIMEOUT_MS);
	if (result == NULL || result[0] != '{')
		PG_RETURN_NULL();
	PG_RETURN_DATUM(jsonb_from_text(result));
}
