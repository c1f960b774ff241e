/*-------------------------------------------------------------------------
 *
 * switchover.c
 *      POST /switchover and POST /failover (patroni/api.py).
 *
 * The order of the checks, their codes and their texts are Patroni's.  Whether
 * a candidate answers is not asked here but by the leader, who refuses a
 * request with a reason; that reason is added to Patroni's text.
 *-------------------------------------------------------------------------
 */
#include "rest/switchover.h"
#include "cluster/ascii.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static bool
refuse(RestResult *result, int status, const char *text)
{
	memset(result, 0, sizeof(*result));
	result->status = status;
	result->text = text;
	return false;
}

static void answer(RestMove *move, RestResult *result, int status, const char *format, ...)
	PRINTF_LIKE(4, 5);

static void
answer(RestMove *move, RestResult *result, int status, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(move->text, sizeof(move->text), format, args);
	va_end(args);
	refuse(result, status, move->text);
}

/* A name or time; null and "" are none.  False: it is something else, or too long. */
static bool
read_text(const json_t *body, const char *key, char *text, size_t size)
{
	const json_t *value = json_object_get(body, key);

	text[0] = '\0';
	if (value == NULL || json_is_null(value))
		return true;
	if (!json_is_string(value) || json_string_length(value) >= size ||
		strlen(json_string_value(value)) != json_string_length(value))
		return false;
	strcpy(text, json_string_value(value));
	return true;
}

static bool
read_body(FailoverRequest *request, const json_t *body)
{
	const char *candidate_key = json_object_get(body, "candidate") != NULL &&
										!json_is_null(json_object_get(body, "candidate"))
									? "candidate"
									: "member";

	memset(request, 0, sizeof(*request));
	request->exists = true;
	if (!read_text(body, "leader", request->leader, sizeof(request->leader)) ||
		!read_text(body, candidate_key, request->candidate, sizeof(request->candidate)) ||
		!read_text(body, "scheduled_at", request->scheduled_at, sizeof(request->scheduled_at)))
		return false;
	request->is_scheduled = request->scheduled_at[0] != '\0';
	return true;
}

static bool
check_schedule(FailoverRequest *request, bool is_switchover, bool is_paused, int64_t wall_ms,
			   RestResult *result)
{
	bool has_zone = false;

	if (!is_switchover)
		return refuse(result, 400, "Failover can't be scheduled");
	if (is_paused)
		return refuse(result, 400, "Can't schedule switchover in the paused state");
	if (!timestamp_from_text(request->scheduled_at, &request->scheduled_at_ms, &has_zone))
		return refuse(result, 422,
					  "Unable to parse scheduled timestamp. It should be in an unambiguous "
					  "format, e.g. ISO 8601");
	if (!has_zone)
		return refuse(result, 400,
					  "Timezone information is mandatory for the scheduled switchover");
	if (request->scheduled_at_ms < wall_ms)
		return refuse(result, 422, "Cannot schedule switchover in the past");
	timestamp_to_text(request->scheduled_at_ms, request->scheduled_at);
	return true;
}

/* As far as the member's key tells; the leader asks it. */
static bool
may_lead(const Member *member)
{
	return !member->tags.nofailover && member->state == MEMBER_RUNNING &&
		   member->api_url[0] != '\0';
}

static bool
check_candidates(RestMove *move, const Settings *settings, const ClusterView *view,
				 RestResult *result)
{
	const FailoverRequest *request = &move->request;
	bool must_be_sync = move->is_switchover && settings->synchronous_mode == SYNC_MODE_ON;
	int n_named = 0;
	int n_good = 0;

	if (request->leader[0] != '\0' && !cluster_is_leader(view, request->leader))
		return refuse(result, 412, "leader name does not match");
	if (request->candidate[0] != '\0' && must_be_sync && !sync_names_standby(&view->sync, request->candidate))
		return refuse(result, 412, "candidate name does not match with sync_standby");
	if (request->candidate[0] != '\0' && cluster_find_member(view, request->candidate) == NULL)
		return refuse(result, 412, "candidate does not exists");
	for (int i = 0; i < view->n_members; i++)
	{
		const Member *member = &view->members[i];
		bool is_named = request->candidate[0] != '\0'
							? strcmp(member->name, request->candidate) == 0
							: !cluster_is_leader(view, member->name) &&
								  (!must_be_sync || sync_names_standby(&view->sync, member->name));

		n_named += is_named;
		n_good += is_named && may_lead(member);
	}
	if (n_named == 0)
		return refuse(result, 412,
					  must_be_sync ? "switchover is not possible: can not find sync_standby"
								   : "switchover is not possible: cluster does not have members "
									 "except leader");
	if (n_good == 0)
		return refuse(result, 412,
					  move->is_switchover
						  ? "switchover is not possible: no good candidates have been found"
						  : "failover is not possible: no good candidates have been found");
	return true;
}

/*
 * Read what is asked for and check it against the cluster as it is.  False:
 * *result is the answer.
 */
bool
move_check(RestMove *move, bool is_switchover, const json_t *body, const Settings *settings,
		   const ClusterView *view, int64_t wall_ms, RestResult *result)
{
	FailoverRequest *request = &move->request;

	memset(move, 0, sizeof(*move));
	if (!read_body(request, body))
		return refuse(result, 400, NULL);
	if (!is_switchover && request->candidate[0] == '\0')
		return refuse(result, 400, "Failover could be performed only to a specific candidate");
	if (is_switchover && request->leader[0] == '\0')
		return refuse(result, 400, "Switchover could be performed only from a specific leader");
	if (request->is_scheduled &&
		!check_schedule(request, is_switchover, settings->is_paused, wall_ms, result))
		return false;
	if (settings->is_paused && request->candidate[0] == '\0')
		return refuse(result, 400,
					  "Switchover is possible only to a specific candidate in a paused state");
	/* patronictl failover names the leader */
	move->is_switchover = is_switchover || request->leader[0] != '\0';
	if (strcmp(request->leader, request->candidate) == 0)
		return refuse(result, 400, "Switchover target and source are the same");
	if (!request->is_scheduled && !check_candidates(move, settings, view, result))
		return false;
	request->version = view->failover.version;
	if (view->has_leader)
		memcpy(move->old_leader, view->leader, sizeof(move->old_leader));
	return true;
}

/*
 * The key is written, move->version says under which version.  True: it is
 * over, and *result is the answer.
 */
bool
move_look(RestMove *move, const ClusterView *view, RestResult *result)
{
	const char *wanted = move->request.candidate;
	const char *done = move->is_switchover ? "switched" : "failed";
	const char *reason = view == NULL ? "" : view->failover.refused;

	if (move->request.is_scheduled)
	{
		answer(move, result, 202, "Switchover scheduled");
		return true;
	}
	if (view == NULL || view->revision < move->version || !view->has_leader)
		return false;
	if (strcmp(view->leader, move->old_leader) != 0)
	{
		if (wanted[0] == '\0' || strcmp(wanted, view->leader) == 0)
			answer(move, result, 200, "Successfully %s over to \"%s\"", done, view->leader);
		else
			answer(move, result, 200, "%s over to \"%s\" instead of \"%s\"",
				   move->is_switchover ? "Switched" : "Failed", view->leader, wanted);
		return true;
	}
	if (view->failover.exists)
		return false;
	answer(move, result, 503, "%s failed%s%s", move->is_switchover ? "Switchover" : "Failover",
		   reason[0] != '\0' ? ": " : "", reason);
	return true;
}

/* It is not over after so long. */
void
move_time_out(RestMove *move, int seconds, RestResult *result)
{
	answer(move, result, 503,
		   "%s status unknown after %d seconds; operation may still be in progress",
		   move->is_switchover ? "Switchover" : "Failover", seconds);
}
