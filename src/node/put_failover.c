/*-------------------------------------------------------------------------
 *
 * put_failover.c
 *      Writes the key "failover" for who has no baton: a switchover or
 *      failover that REST was asked for, or its end.
 *
 * The request belongs to the cluster: its leader reads it and acts.  Here it
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
	char event[HA_REASON_MAX];

	memset(put, 0, sizeof(*put));
	snprintf(event, sizeof(event), "refused: %.200s", text);
	host_event(host, "command", "put-failover", event);
	host_answer(host, command_id, false, text, detail, sqlstate);
}

static void
put_succeed(Host *host, HostPut *put, uint64_t version)
{
	HaAction action;

	memset(&action, 0, sizeof(action));
	action.kind = HA_ANSWER;
	action.rule = "host";
	action.command_id = put->command_id;
	action.ok = true;
	action.version = version;
	host_copy_text(action.because, sizeof(action.because), "the request is in the store");
	memset(put, 0, sizeof(*put));
	host_event(host, "command", "put-failover", action.because);
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

/*
 * Write the key, if it is as the caller has seen it.  The answer comes
 * through an HA_ANSWER action from a later host_process().  False: it cannot
 * be sent now, no answer comes.
 */
bool
host_put_failover(Host *host, uint64_t command_id, const FailoverRequest *failover)
{
	HostPut *put = NULL;
	DcsRequest request;
	Error error;
	char *text;

	for (int i = 0; i < HOST_PUTS && put == NULL; i++)
	{
		if (host->puts[i].request_id == 0)
			put = &host->puts[i];
	}
	text = put == NULL || host->dcs == NULL ? NULL : failover_to_text(failover);
	if (text == NULL)
		return false;
	error_clear(&error);
	memset(&request, 0, sizeof(request));
	request.id = HOST_REQUEST_BIT | host->next_request_id++;
	request.operation = failover->version != 0 ? DCS_PUT : DCS_CREATE;
	request.key = "failover";
	request.value = text;
	request.version = failover->version;
	if (dcs_submit(host->dcs, &request, &error))
	{
		put->request_id = request.id;
		put->command_id = command_id;
	}
	else
		host_log(host, 2, "could not send a request to the store", error.message);
	free(text);
	return put->request_id != 0;
}
