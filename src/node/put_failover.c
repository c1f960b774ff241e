/*-------------------------------------------------------------------------
 *
 * put_failover.c
 *      Writes keys for who has no baton: "failover", a switchover or failover
 *      that REST was asked for, or its end; and "pgbouncer", of which the
 *      engine knows nothing.
 *
 * A request belongs to the cluster: its leader reads it and acts.  Here it
 * is only written, by compare-and-swap, and answered once.
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/host_internal.h"

static void
put_refuse(Host *host, HostPut *put, const char *text, const char *detail, const char *sqlstate)
{
	uint64_t command_id = put->command_id;
	const char *rule = put->rule;
	char event[HA_REASON_MAX];

	memset(put, 0, sizeof(*put));
	snprintf(event, sizeof(event), "refused: %.200s", text);
	host_event(host, "command", rule, event);
	host_answer(host, command_id, false, text, detail, sqlstate);
}

static void
put_succeed(Host *host, HostPut *put, uint64_t version)
{
	const char *rule = put->rule;
	HaAction action;

	memset(&action, 0, sizeof(action));
	action.kind = HA_ANSWER;
	action.rule = "host";
	action.command_id = put->command_id;
	action.ok = true;
	action.version = version;
	host_copy_text(action.because, sizeof(action.because), "the request is in the store");
	memset(put, 0, sizeof(*put));
	host_event(host, "command", rule, action.because);
	host->ops.act(host->ops.context, &action);
}

/* The store's answer to one of our writes. */
void
put_reply(Host *host, const DcsReply *reply)
{
	for (int i = 0; i < HOST_PUTS; i++)
	{
		HostPut *put = &host->puts[i];

		if (put->request_id != reply->id)
			continue;
		switch (reply->outcome)
		{
			case DCS_DONE:
				put_succeed(host, put, reply->version);
				break;
			case DCS_LOST_RACE:
				put_refuse(host, put, "somebody else wrote the request at the same time", NULL,
						   "40001");
				break;
			case DCS_NOT_SENT:
				put_refuse(host, put, "could not write the request to the store",
						   reply->error.message, "55000");
				break;
			case DCS_UNKNOWN:
				put_refuse(host, put, "it is not known whether the request was written",
						   reply->error.message, "08007");
				break;
		}
		return;
	}
}

/* Answer all writes whose end will not be heard of any more. */
void
put_give_up(Host *host, const char *reason)
{
	for (int i = 0; i < HOST_PUTS; i++)
	{
		if (host->puts[i].request_id != 0)
			put_refuse(host, &host->puts[i], "it is not known whether the request was written",
					   reason, "08007");
	}
}

/* Send a request; its end is told by put_reply(). */
static bool
put_submit(Host *host, uint64_t command_id, const char *rule, DcsRequest *request)
{
	HostPut *put = NULL;
	Error error;

	for (int i = 0; i < HOST_PUTS && put == NULL; i++)
	{
		if (host->puts[i].request_id == 0)
			put = &host->puts[i];
	}
	if (put == NULL || host->dcs == NULL)
		return false;
	error_clear(&error);
	request->id = HOST_REQUEST_BIT | host->next_request_id++;
	if (!dcs_submit(host->dcs, request, &error))
	{
		host_log(host, 2, "could not send a request to the store", error.message);
		return false;
	}
	put->request_id = request->id;
	put->command_id = command_id;
	put->rule = rule;
	return true;
}

/*
 * Write the key, if it is as the caller has seen it.  The answer comes
 * through an HA_ANSWER action from a later host_process().  False: it cannot
 * be sent now, no answer comes.
 */
bool
host_put_failover(Host *host, uint64_t command_id, const FailoverRequest *failover)
{
	DcsRequest request;
	char *text = failover_to_text(failover);
	bool ok;

	if (text == NULL)
		return false;
	memset(&request, 0, sizeof(request));
	request.operation = failover->version != 0 ? DCS_PUT : DCS_CREATE;
	request.key = "failover";
	request.value = text;
	request.version = failover->version;
	ok = put_submit(host, command_id, "put-failover", &request);
	free(text);
	return ok;
}

/*
 * The same for a key that only the home reads, with host_key(): written, or
 * deleted (text NULL), if it still has "version" (0: is absent).
 */
bool
host_put_key(Host *host, uint64_t command_id, const HostPutKey *put)
{
	DcsRequest request;

	memset(&request, 0, sizeof(request));
	request.operation = put->text == NULL ? DCS_DELETE : put->version != 0 ? DCS_PUT : DCS_CREATE;
	request.key = put->key;
	request.value = put->text;
	request.version = put->version;
	request.timeout_ms = put->timeout_ms;
	return put_submit(host, command_id, put->rule, &request);
}

/* A key of the store as it was last seen, borrowed; false: it is not there. */
bool
host_key(const Host *host, const char *name, ClusterKey *key)
{
	if (host->dcs == NULL)
		return false;
	for (int i = 0; dcs_key(host->dcs, i, key); i++)
	{
		if (key->name != NULL && strcmp(key->name, name) == 0)
			return key->value != NULL;
	}
	return false;
}
