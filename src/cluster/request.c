/*-------------------------------------------------------------------------
 *
 * request.c
 *      Our own key "requests/<member>": a command to one member.
 *
 *   {"id": "...", "command": "restart", "arguments": {...},
 *    "done": true, "refused": true, "result": "why not"}
 *
 * The member is in the key.  "done" and "refused" are written only when true,
 * "result" only when there is one.
 *-------------------------------------------------------------------------
 */
#include "cluster/cluster_internal.h"

#include <stdlib.h>
#include <string.h>

/* Free what the request owns.  NULL is fine. */
void
request_free(MemberRequest *request)
{
	if (request == NULL)
		return;
	free(request->arguments_json);
	memset(request, 0, sizeof(*request));
}

/*
 * Read the value of a request key; member and version stay.  Without an id
 * and a command it is no request: both are "" then, and of the rest nothing
 * counts; its version is what replaces it.  False: no memory, and nothing
 * changed.
 */
bool
request_read(MemberRequest *request, const char *text)
{
	MemberRequest fresh = {.version = request->version};
	json_t	   *object;
	json_t	   *arguments;
	bool		is_read = cluster_json_read(text, &object) != JSON_READ_NO_MEMORY;

	strcpy(fresh.member, request->member);
	if (json_is_object(object))
	{
		cluster_json_get_text(object, "id", fresh.id, sizeof(fresh.id));
		cluster_json_get_text(object, "command", fresh.command, sizeof(fresh.command));
		cluster_json_get_text(object, "result", fresh.result, sizeof(fresh.result));
		fresh.is_done = cluster_json_truth(json_object_get(object, "done"));
		fresh.is_refused = cluster_json_truth(json_object_get(object, "refused"));
		arguments = json_object_get(object, "arguments");
		is_read = cluster_json_fragment(json_is_object(arguments) ? arguments : NULL, &fresh.arguments_json);
	}
	json_decref(object);
	if (is_read && (fresh.id[0] == '\0' || fresh.command[0] == '\0'))
		fresh.id[0] = fresh.command[0] = '\0';
	if (!is_read)
	{
		free(fresh.arguments_json);
		return false;
	}
	free(request->arguments_json);
	*request = fresh;
	return true;
}

/* The value of the key. */
char *
request_to_text(const MemberRequest *request)
{
	json_t	   *object = json_pack("{}");
	bool		ok;

	ok = object != NULL &&
		cluster_json_put(object, "id", cluster_json_text(request->id)) &&
		cluster_json_put(object, "command", cluster_json_text(request->command));
	if (ok && request->arguments_json != NULL)
		ok = cluster_json_put_raw(object, "arguments", request->arguments_json);
	if (ok && request->is_done)
		ok = cluster_json_put(object, "done", json_true());
	if (ok && request->is_refused)
		ok = cluster_json_put(object, "refused", json_true());
	if (ok && request->result[0] != '\0')
		ok = cluster_json_put(object, "result", cluster_json_text(request->result));
	if (ok)
		return cluster_json_write(object);
	json_decref(object);
	return NULL;
}
