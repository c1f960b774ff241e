/*-------------------------------------------------------------------------
 *
 * switchover.c
 *      What the leader does with a requested switchover or failover.
 *
 * Every request ends: it is carried out, or the key is cleared with the
 * reason in it.  Protocol: patroni/ha.py,
 * process_manual_failover_from_leader().
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ha/internal.h"

/* Is there another member that may lead, as far as its key says? */
bool
ha_has_candidate(const HaNode *node)
{
	for (int i = 0; i < node->view.n_members; i++)
	{
		const Member *member = &node->view.members[i];

		if (ha_sync_is_active(node) && !ha_sync_names_member(node, member->name))
			continue;
		if (strcmp(member->name, node->settings.name) != 0 && !member->tags.nofailover &&
			member->state == MEMBER_RUNNING && member->api_url[0] != '\0' &&
			member->hang[0] == '\0' && !member->gives_way)
			return true;
	}
	return false;
}

/* Clear the failover key; "refused" says why, or NULL when it was carried out. */
void
ha_clear_request(HaNode *node, const char *refused, const char *rule, const char *because)
{
	FailoverRequest empty;
	HaAction   *action;

	if (!node->view.failover.exists || !ha_is_ready(node, FOR_FAILOVER))
		return;
	memset(&empty, 0, sizeof(empty));
	if (refused != NULL)
	{
		ha_name_copy(empty.refused, sizeof(empty.refused), refused);
		ha_log(node, 2, rule, "%s is not possible: %s",
			   node->view.failover.leader[0] ? "switchover" : "failover", refused);
	}
	action = ha_request(node, FOR_FAILOVER, HA_PUT_KEY, rule, because);
	ha_name_copy(action->key, sizeof(action->key), "failover");
	action->version = node->view.failover.version;
	ha_set_text(node, action, failover_to_text(&empty));
}

/* Would that member be refused for not being synchronous?  Not where an operator names it to replace a lost leader. */
static bool
lacks_synchrony(const HaNode *node, const char *name)
{
	const FailoverRequest *request = &node->view.failover;

	return ha_sync_is_active(node) && !ha_sync_names_member(node, name) &&
		(request->leader[0] != '\0' || request->candidate[0] == '\0');
}

/* Why a candidate cannot take over; NULL when it can. */
static const char *
candidate_problem(const HaNode *node, const char *name, char text[HA_REASON_MAX])
{
	const HaPeer *peer = ha_race_answer(node, name);
	Lsn			own = ha_own_position(node);

	if (peer == NULL || !peer->is_reachable)
		snprintf(text, HA_REASON_MAX, "\"%.100s\" did not answer over REST", name);
	else if (peer->nofailover)
		snprintf(text, HA_REASON_MAX, "\"%.100s\" is tagged nofailover", name);
	else if (peer->watchdog_failed)
		snprintf(text, HA_REASON_MAX, "the watchdog of \"%.100s\" does not work", name);
	else if (peer->is_hanging)
		snprintf(text, HA_REASON_MAX, "\"%.100s\" hangs", name);
	else if (ha_gives_way(node, name))
		snprintf(text, HA_REASON_MAX,
				 "\"%.100s\" could not mark timeline ids as taken in its data directory", name);
	else if (!peer->can_lead)
		snprintf(text, HA_REASON_MAX,
				 "\"%.100s\" cannot reach the store or is bound by a promise of failsafe mode", name);
	else if (lacks_synchrony(node, name))
		snprintf(text, HA_REASON_MAX, "\"%.100s\" is not a synchronous standby", name);
	else if (!peer->is_in_recovery)
		snprintf(text, HA_REASON_MAX, "\"%.100s\" is not a standby", name);
	else if (own > peer->position &&
			 (int64_t) (own - peer->position) > node->settings.maximum_lag_on_failover)
		snprintf(text, HA_REASON_MAX, "\"%.100s\" lags by %lld bytes, more than maximum_lag_on_failover",
				 name, (long long) (own - peer->position));
	else if (peer->timeline != 0 && peer->timeline < ha_own_timeline(node))
		snprintf(text, HA_REASON_MAX, "\"%.100s\" is still on timeline %u", name, peer->timeline);
	else
		return NULL;
	return text;
}

static const char *
find_candidate_problem(const HaNode *node, char text[HA_REASON_MAX])
{
	const char *wanted = node->view.failover.candidate;
	const char *problem = "there is no other member";

	if (wanted[0] != '\0' && cluster_find_member(&node->view, wanted) == NULL)
	{
		snprintf(text, HA_REASON_MAX, "there is no member \"%.100s\"", wanted);
		return text;
	}
	for (int i = 0; i < node->race.n_asked; i++)
	{
		if (wanted[0] != '\0' && strcmp(wanted, node->race.asked[i]) != 0)
			continue;
		problem = candidate_problem(node, node->race.asked[i], text);
		if (problem == NULL)
			return NULL;
	}
	return problem;
}

/*
 * A checkpoint now makes the shutdown checkpoint short.  True when it is
 * done, cannot be asked for, or has been waited for long enough.
 */
static bool
is_checkpointed(HaNode *node, const HaRule *rule)
{
	if (node->home != HA_HOME_WORKER || !node->postgres.is_observed)
		return true;
	if (node->checkpoint_asked_ms == 0)
	{
		node->checkpoint_asked_ms = node->now_ms;
		node->checkpointed_ms = 0;
		node->checkpoint_version = node->view.failover.version;
		node->checkpoint_from = node->postgres.flush_lsn;
		ha_add(node, HA_CHECKPOINT, rule->name, "a checkpoint before the switchover makes it short");
	}
	if (node->postgres.checkpoint_redo >= node->checkpoint_from ||
		node->now_ms >= node->checkpoint_asked_ms + HA_CHECKPOINT_WAIT_MS)
		return true;
	ha_wake(node, node->checkpoint_asked_ms + HA_CHECKPOINT_WAIT_MS);
	return false;
}

/*
 * A restartpoint at that checkpoint leaves the candidate little to write after
 * its promotion, and little to recover if it crashes then; in the middle of a
 * switchover it would cost the disk's time.  A member that may win makes one by
 * itself, see below.  True when it has, does not tell of any, or was waited for
 * long enough: no clients wait yet, but a person does.
 */
static bool
is_candidate_ready(HaNode *node, const HaRule *rule)
{
	const HaRace *race = &node->race;
	const char *wanted = node->view.failover.candidate;
	const HaPeer *behind = NULL;
	char		text[HA_REASON_MAX];

	if (node->checkpoint_asked_ms == 0 || node->postgres.checkpoint_redo < node->checkpoint_from)
		return true;
	if (node->checkpointed_ms == 0)
		node->checkpointed_ms = node->now_ms;
	for (int i = 0; i < race->n_asked; i++)
		if ((wanted[0] == '\0' || strcmp(wanted, race->asked[i]) == 0) &&
			candidate_problem(node, race->asked[i], text) == NULL &&
			race->answers[i].checkpoint_redo != 0 &&
			race->answers[i].checkpoint_redo < node->checkpoint_from)
			behind = &race->answers[i];
	if (behind == NULL)
		return true;
	if (node->now_ms >= node->checkpointed_ms + HA_RESTARTPOINT_WAIT_MS)
	{
		ha_log(node, 1, rule->name, "the restartpoint of \"%.100s\" is not waited for any longer",
			   behind->name);
		return true;
	}
	if (node->now_ms >= race->ended_ms + HA_RESTARTPOINT_ASK_MS)
		ha_ask_peers(node, RACE_SWITCHOVER, wanted, rule->because);
	else
		ha_wake(node, race->ended_ms + HA_RESTARTPOINT_ASK_MS);
	return false;
}

/*
 * A standby that may win a requested switchover makes a restartpoint while the
 * leader makes its checkpoint.  It needs the record of that checkpoint, which no
 * function of the server tells the arrival of, and where it begins only the
 * leader knows; so this member asks again whenever more WAL is replayed, until
 * the request is gone.  Without a new record that costs nothing.
 */
void
ha_prepare_candidate(HaNode *node)
{
	const FailoverRequest *request = &node->view.failover;
	const HaPostgres *postgres = &node->postgres;
	const char *self = node->settings.name;

	if (node->home != HA_HOME_WORKER || !request->exists || !node->view.has_leader ||
		!ha_is_running(node) || !postgres->is_observed || !postgres->is_in_recovery ||
		node->settings.tags.nofailover || !ha_request_is_due(node) ||
		(request->leader[0] != '\0' && strcmp(request->leader, node->view.leader) != 0) ||
		(request->candidate[0] != '\0' && strcmp(request->candidate, self) != 0) ||
		lacks_synchrony(node, self))
		return;
	if (node->restartpoint_version != request->version)
	{
		node->restartpoint_version = request->version;
		node->restartpoint_since_ms = node->now_ms;
		node->restartpoint_asked_ms = 0;
		node->restartpoint_replayed = 0;
	}
	if (postgres->replayed_lsn == node->restartpoint_replayed ||
		node->now_ms >= node->restartpoint_since_ms + HA_CHECKPOINT_WAIT_MS)
		return;
	if (node->now_ms < node->restartpoint_asked_ms + HA_RESTARTPOINT_RETRY_MS)
	{
		ha_wake(node, node->restartpoint_asked_ms + HA_RESTARTPOINT_RETRY_MS);
		return;
	}
	node->restartpoint_asked_ms = node->now_ms;
	node->restartpoint_replayed = postgres->replayed_lsn;
	ha_add(node, HA_CHECKPOINT, "prepare",
		   "a restartpoint before the switchover leaves less to do after the promotion");
}

/* The leader's way with a request that is due. */
void
ha_do_switchover(HaNode *node, const HaRule *rule)
{
	const FailoverRequest *request = &node->view.failover;
	const char *self = node->settings.name;
	const char *refused = NULL;
	char		text[HA_REASON_MAX];
	char		because[HA_REASON_MAX];

	if (ha_lease_is_over(node) || ha_is_pending(node, FOR_FAILOVER))
		return;
	if (node->checkpoint_version != request->version)
		node->checkpoint_asked_ms = 0;
	if (request->schedule_is_bad)
		refused = "scheduled_at cannot be understood or has no time zone";
	else if (request->is_scheduled &&
			 node->wall_ms > request->scheduled_at_ms + HA_SCHEDULE_STALE_MS +
			 3 * node->settings.loop_wait_ms / 2)
		refused = "the scheduled time has long passed";
	else if (request->leader[0] != '\0' && strcmp(request->leader, self) != 0)
	{
		if (request->version < node->lease_version || strcmp(request->candidate, self) == 0)
		{
			ha_clear_request(node, NULL, "switchover-done", "the requested switchover is done");
			return;
		}
		snprintf(text, sizeof(text), "the request names \"%.100s\" as the leader, but \"%.100s\" leads",
				 request->leader, self);
		refused = text;
	}
	else if (strcmp(request->candidate, self) == 0)
	{
		ha_clear_request(node, request->version < node->lease_version ? NULL :
						 "the candidate is the leader already", "switchover-done",
						 "this member is the leader already");
		return;
	}
	else if (request->leader[0] == '\0' && request->version < node->lease_version)
	{
		ha_clear_request(node, NULL, "failover-done", "the requested failover is over");
		return;
	}
	else if (request->candidate[0] == '\0' && node->settings.is_paused)
		refused = "a candidate must be named while the cluster is paused";

	if (refused == NULL)
	{
		if (ha_race_is_asking(node, RACE_SWITCHOVER))
			return;
		/* again after the checkpoint: it can take longer than an answer is good for */
		if (!ha_race_is_asked(node, RACE_SWITCHOVER))
		{
			if (node->checkpoint_asked_ms == 0 || is_checkpointed(node, rule))
				ha_ask_peers(node, RACE_SWITCHOVER, request->candidate, rule->because);
			return;
		}
		refused = find_candidate_problem(node, text);
	}
	if (refused != NULL)
	{
		ha_clear_request(node, refused, rule->name, "the request is refused");
		node->checkpoint_asked_ms = 0;
		return;
	}
	if (!is_checkpointed(node, rule) || !is_candidate_ready(node, rule))
		return;
	node->checkpoint_asked_ms = 0;
	snprintf(because, sizeof(because), "%s to %s%.100s%s was requested",
			 request->leader[0] ? "switchover" : "failover",
			 request->candidate[0] ? "\"" : "", request->candidate[0] ? request->candidate : "the best member",
			 request->candidate[0] ? "\"" : "");
	ha_set_goal(node, HA_GOAL_SWITCHOVER, rule->name, because);
	ha_name_copy(node->goal_candidate, sizeof(node->goal_candidate), request->candidate);
}
