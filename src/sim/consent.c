/*-------------------------------------------------------------------------
 *
 * consent.c
 *      POST /failsafe on the side of who is asked: from the supervisor's REST
 *      to the engine, in whichever home it is, and the answer back.
 *
 * In the order of operations of src/supervisor/calls.c and of got_failsafe()
 * in src/worker/loop.c.  A call that waits for longer than FAILSAFE_MS is
 * given up: its answer is nobody's.
 *-------------------------------------------------------------------------
 */
#include "sim/home.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

#define FAILSAFE_MS	2000

static void
reply(const SimQuestion *question, bool has_accepted)
{
	HaPeer		vote;

	memset(&vote, 0, sizeof(vote));
	vote.is_vote = true;
	vote.has_accepted = has_accepted;
	if (!has_accepted)
		snprintf(vote.refusal, sizeof(vote.refusal), "it has refused");
	peers_reply(question, &vote);
}

static void
make_command(HaCommand *command, uint64_t id, int node, const char *leader, int64_t ttl_ms)
{
	memset(command, 0, sizeof(*command));
	command->kind = HA_COMMAND_FAILSAFE;
	command->id = id;
	command->timeout_ms = ttl_ms;
	snprintf(command->leader, sizeof(command->leader), "%s", leader);
	snprintf(command->member, sizeof(command->member), "%s", sim.node[node].name);
}

/* The supervisor is asked over REST. */
void
consent_asked(SimHome *supervisor, const SimQuestion *question)
{
	SimConsent *consent = NULL;
	SimMessage *message;
	HaCommand	command;

	for (int i = 0; i < HOME_CONSENTS_MAX; i++)
		if (supervisor->consents[i].id == 0 ||
			supervisor->consents[i].deadline_ms <= clock_now_ms())
			consent = &supervisor->consents[i];
	if (consent == NULL || (!host_is_driving(supervisor->host) && supervisor->link == 0))
	{
		reply(question, false);
		return;
	}
	consent->id = CHANNEL_CALL_BIT | ++supervisor->next_consent_id;
	consent->deadline_ms = clock_now_ms() + FAILSAFE_MS;
	consent->question = *question;
	if (host_is_driving(supervisor->host))
	{
		make_command(&command, consent->id, supervisor->node, question->leader, question->ttl_ms);
		if (!host_command(supervisor->host, &command))
		{
			consent->id = 0;
			reply(question, false);
		}
		sim_host_wake(supervisor->node, supervisor->home);
		return;
	}
	message = message_new(MESSAGE_FAILSAFE);
	message->id = consent->id;
	message->ttl_ms = question->ttl_ms;
	snprintf(message->leader, sizeof(message->leader), "%s", question->leader);
	if (!home_send(supervisor, message))
		supervisor_close_link(supervisor);
}

/* The worker got the question from its supervisor. */
void
consent_in_worker(SimHome *worker, const SimMessage *message)
{
	HaCommand	command;

	make_command(&command, message->id, worker->node, message->leader, message->ttl_ms);
	(void) host_command(worker->host, &command);
}

static void
answer(SimHome *supervisor, uint64_t id, bool is_ok)
{
	for (int i = 0; i < HOME_CONSENTS_MAX; i++)
	{
		SimConsent *consent = &supervisor->consents[i];

		if (consent->id != id || clock_now_ms() >= consent->deadline_ms)
			continue;
		consent->id = 0;
		reply(&consent->question, is_ok);
		return;
	}
}

/* HA_ANSWER of the engine, in either home. */
void
consent_answered(SimHome *home, const HaAction *action)
{
	SimMessage *message;

	sim_trace(home->node, "%s: %s", home_name(home->home), action->text != NULL ? action->text : "");
	if (home->home == HA_HOME_SUPERVISOR)
	{
		answer(home, action->command_id, action->ok);
		return;
	}
	message = message_new(MESSAGE_FAILSAFE_ANSWER);
	message->id = action->command_id;
	message->is_ok = action->ok;
	(void) home_send(home, message);
}

/* The supervisor hears from its worker. */
void
consent_worker_answered(SimHome *supervisor, const SimMessage *message)
{
	answer(supervisor, message->id, message->is_ok);
}
