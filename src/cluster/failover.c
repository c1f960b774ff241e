/*-------------------------------------------------------------------------
 *
 * failover.c
 *      The key "failover": a request for a switchover or failover.
 *
 * Its value: patroni/dcs/__init__.py, Failover.from_node().
 *-------------------------------------------------------------------------
 */
#include "cluster/cluster_internal.h"

#include <stdlib.h>
#include <string.h>

/* Copy one name of the legacy form, without the blanks around it. */
static const char *
read_legacy_name(const char *text, char to[CLUSTER_NAME_MAX])
{
	static const char blanks[] = " \t\r\n\f\v";
	size_t		length;
	const char *end;
	char		part[CLUSTER_NAME_MAX + 1];

	text += strspn(text, blanks);
	length = strcspn(text, ":");
	end = text + length;
	while (length > 0 && strchr(blanks, text[length - 1]) != NULL)
		length--;
	/* One byte too long is enough to see that it is too long. */
	if (length > CLUSTER_NAME_MAX)
		length = CLUSTER_NAME_MAX;
	memcpy(part, text, length);
	part[length] = '\0';
	cluster_name_copy(to, part);
	return end;
}

static void
read_schedule(FailoverRequest *request, const json_t *schedule)
{
	const char *text = json_string_value(schedule);
	bool		has_zone = false;

	if (!cluster_json_truth(schedule))
		return;
	request->is_scheduled = true;
	cluster_text_copy(request->scheduled_at, sizeof(request->scheduled_at), text);
	if (text == NULL || strlen(text) >= sizeof(request->scheduled_at) ||
		!timestamp_from_text(text, &request->scheduled_at_ms, &has_zone) || !has_zone)
	{
		request->schedule_is_bad = true;
		request->scheduled_at_ms = 0;
	}
}

/*
 * Read the value of the key; all but the version is replaced.  A request with
 * a bad schedule is a scheduled one that never comes due, not one for now.
 */
void
failover_from_text(FailoverRequest *request, const char *text)
{
	uint64_t	version = request->version;
	json_t	   *object = NULL;

	memset(request, 0, sizeof(*request));
	request->version = version;
	if (text == NULL || text[0] == '\0')
		return;
	if (cluster_json_read(text, &object) == JSON_READ_INVALID && strchr("{[\"", text[0]) == NULL)
	{
		/* No member is called {..., so broken JSON is not the legacy form. */
		const char *rest = read_legacy_name(text, request->leader);

		if (*rest == ':')
			read_legacy_name(rest + 1, request->candidate);
	}
	if (json_is_object(object))
	{
		cluster_json_get_text(object, "refused", request->refused, sizeof(request->refused));
		cluster_json_get_name(object, "leader", request->leader);
		cluster_json_get_name(object, "member", request->candidate);
		read_schedule(request, json_object_get(object, "scheduled_at"));
	}
	json_decref(object);
	request->exists = request->leader[0] != '\0' || request->candidate[0] != '\0';
}

/* The request as JSON object. */
json_t *
failover_to_json(const FailoverRequest *request)
{
	json_t	   *object = json_pack("{}");
	char		schedule[64];
	bool		ok = object != NULL;

	if (ok && request->refused[0] != '\0' && !request->exists)
		ok = cluster_json_put(object, "refused", cluster_json_text(request->refused));
	if (ok && !request->exists)
		return object;
	strcpy(schedule, request->scheduled_at);
	if (schedule[0] == '\0' && request->is_scheduled && !request->schedule_is_bad)
		timestamp_to_text(request->scheduled_at_ms, schedule);
	if (ok && request->leader[0] != '\0')
		ok = cluster_json_put(object, "leader", cluster_json_text(request->leader));
	if (ok && request->candidate[0] != '\0')
		ok = cluster_json_put(object, "member", cluster_json_text(request->candidate));
	if (ok && schedule[0] != '\0')
		ok = cluster_json_put(object, "scheduled_at", cluster_json_text(schedule));
	if (ok)
		return object;
	json_decref(object);
	return NULL;
}

/* The value of the key; "{}", or only the reason of a refusal, clears it. */
char *
failover_to_text(const FailoverRequest *request)
{
	return cluster_json_write(failover_to_json(request));
}
