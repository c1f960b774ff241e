/*-------------------------------------------------------------------------
 *
 * requests.c
 *      Requests to the store: one of each purpose at a time, tried again
 *      after a growing pause, forgotten when their reply never comes.
 *
 *-------------------------------------------------------------------------
 */
#include "ha/internal.h"

/* A reply that does not come within this is not waited for any more. */
static int64_t
patience_ms(const HaNode *node)
{
	return 2 * node->settings.retry_timeout_ms + 1000;
}

/* Is a request of this purpose under way? */
bool
ha_is_pending(const HaNode *node, HaPurpose purpose)
{
	return node->pending[purpose].id != 0;
}

/* May one be sent now?  If not, a tick is asked for at the right time. */
bool
ha_is_ready(HaNode *node, HaPurpose purpose)
{
	HaPending  *pending = &node->pending[purpose];

	if (pending->id != 0 && node->now_ms - pending->sent_ms > patience_ms(node))
		pending->id = 0;
	if (pending->id != 0)
	{
		ha_wake(node, pending->sent_ms + patience_ms(node) + 1);
		return false;
	}
	if (node->now_ms < pending->next_try_ms)
	{
		ha_wake(node, pending->next_try_ms);
		return false;
	}
	return true;
}

/* Append a request; the caller has asked ha_is_ready() and fills in the rest. */
HaAction *
ha_request(HaNode *node, HaPurpose purpose, HaActionKind kind, const char *rule, const char *because)
{
	HaAction   *action = ha_add(node, kind, rule, "%s", because);

	action->request_id = ++node->next_id;
	node->pending[purpose].id = action->request_id;
	node->pending[purpose].sent_ms = node->now_ms;
	node->pending[purpose].ttl_ms = node->settings.ttl_ms;
	return action;
}

/* What was the request for?  FOR_COUNT: not (any more) one of ours. */
HaPurpose
ha_reply_purpose(HaNode *node, uint64_t id, HaOutcome outcome)
{
	for (int i = 0; i < FOR_COUNT; i++)
	{
		HaPending  *pending = &node->pending[i];

		if (id == 0 || pending->id != id)
			continue;
		pending->id = 0;
		if (outcome == HA_OUTCOME_DONE)
		{
			pending->failures = 0;
			pending->next_try_ms = 0;
		}
		else
		{
			int64_t		pause_ms = HA_RETRY_MIN_MS;

			for (int n = 0; n < pending->failures && pause_ms < HA_RETRY_MAX_MS; n++)
				pause_ms *= 2;
			if (pause_ms > HA_RETRY_MAX_MS)
				pause_ms = HA_RETRY_MAX_MS;
			pending->failures++;
			pending->next_try_ms = node->now_ms + pause_ms;
			ha_wake(node, pending->next_try_ms);
		}
		return (HaPurpose) i;
	}
	return FOR_COUNT;
}
