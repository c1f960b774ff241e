/*-------------------------------------------------------------------------
 *
 * sync.c
 *      Synchronous replication: carries out the plan of the leader, and says
 *      whom the key "sync" lets lead.
 *
 * sync_plan.c knows what may be changed when; this file feeds it with what is
 * known for certain, and sends what it wants, one change at a time.
 *
 * Invariants:
 *  (1) After a change of the key or of the names was sent, nothing else is
 *      changed before the view, or the server, shows what became of it.
 *  (2) A write of the key that may still happen is sent again until it cannot
 *      happen any more: the view shows another version than the one that it
 *      replaces.  A home that begins without knowing what another process sent
 *      writes the key once as it is, which makes all older writes void.
 *  (3) The fence is not opened under a lease, and no server promoted, before
 *      the plan has said that the key and the names in force suit each other.
 *  (4) Who took the lease by one version of the key and finds another one gives
 *      the lease back: somebody may have led, and acknowledged, meanwhile.
 *
 * Facts of the protocol: Patroni 4.x, patroni/ha.py, process_sync_replication()
 * and _is_healthiest_node(), and patroni/quorum.py.
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ha/internal.h"
#include "cluster/ascii.h"

/* Is there a promise to keep?  Not with the mode off, whatever the key says. */
bool
ha_sync_is_active(const HaNode *node)
{
	return node->settings.sync_mode != SYNC_PLAN_OFF && node->view.sync.exists;
}

/* Does the key, if it is there, name the member of that name? */
bool
ha_sync_names_member(const HaNode *node, const char *name)
{
	return node->view.sync.exists && sync_names_member(&node->view.sync, name);
}

static bool
is_own_key(const HaNode *node)
{
	return node->view.sync.exists && ascii_is_same(node->view.sync.leader, node->settings.name);
}

/* --- the race --- */

/* Did an operator ask for a failover (no switchover) to this member? */
static bool
is_failover_to_me(const HaNode *node)
{
	const FailoverRequest *request = &node->view.failover;

	return request->exists && request->leader[0] == '\0' && ha_request_is_due(node) &&
		strcmp(request->candidate, node->settings.name) == 0;
}

/*
 * Does this member have every write that was acknowledged, as far as the key
 * and the answers of the last round tell?
 */
static bool
key_lets_lead(const HaNode *node, char because[HA_REASON_MAX])
{
	const HaRace *race = &node->race;
	SyncAnswer	answers[CLUSTER_MEMBERS_MAX];
	SyncCandidacy candidacy = {
		.mode = node->settings.sync_mode,
		.sync = &node->view.sync,
		.own_name = node->settings.name,
		.answers = answers,
	};
	SyncVotes	votes;
	bool		lets_lead;

	for (int i = 0; i < race->n_asked && race->purpose == RACE_LEADER; i++)
	{
		const HaPeer *peer = &race->answers[i];

		if (!race->has_answered[i] || !peer->is_reachable || !peer->is_in_recovery ||
			peer->position == 0)
			continue;
		answers[candidacy.n_answers].name = race->asked[i];
		answers[candidacy.n_answers++].is_ahead = ha_race_is_ahead(node, peer);
	}
	lets_lead = sync_may_promote(&candidacy, &votes);
	if (because != NULL)
		memcpy(because, votes.because, HA_REASON_MAX);
	return lets_lead;
}

/*
 * May that member get the votes, as far as the answers of the last round tell?
 * Who is silent may give it its own, and so may who is on another timeline.
 */
bool
ha_sync_may_let_lead(const HaNode *node, const HaPeer *candidate)
{
	const HaRace *race = &node->race;
	SyncAnswer	answers[CLUSTER_MEMBERS_MAX + 1];
	SyncCandidacy candidacy = {
		.mode = node->settings.sync_mode,
		.sync = &node->view.sync,
		.own_name = candidate->name,
		.answers = answers,
	};
	SyncVotes	votes;

	answers[candidacy.n_answers].name = node->settings.name;
	answers[candidacy.n_answers++].is_ahead = ha_own_timeline(node) == candidate->timeline &&
		ha_own_position(node) > candidate->position;
	for (int i = 0; i < race->n_asked; i++)
	{
		const HaPeer *peer = &race->answers[i];

		answers[candidacy.n_answers].name = race->asked[i];
		answers[candidacy.n_answers++].is_ahead = race->has_answered[i] && peer->is_reachable &&
			peer->is_in_recovery && peer->timeline == candidate->timeline &&
			peer->position > candidate->position;
	}
	return sync_may_promote(&candidacy, &votes);
}

/* Why this member may not lead, and who may. */
void
ha_sync_say_denied(const HaNode *node, char because[HA_REASON_MAX])
{
	const SyncState *sync = &node->view.sync;
	const char *list = sync->sync_standby != NULL ? sync->sync_standby : "";
	char		why[HA_REASON_MAX];

	(void) key_lets_lead(node, why);
	snprintf(because, HA_REASON_MAX, "this member may lack acknowledged writes: %.110s (it names %.60s%s%.60s)",
			 why, sync->leader, *list != '\0' ? "," : "", list);
}

/* The lease is being asked for: by which version of the key did this member race? */
void
ha_sync_race_won(HaNode *node, const char *rule)
{
	HaSync	   *sync = &node->sync;
	const ClusterView *view = &node->view;
	Lsn			position = ha_own_position(node);

	sync->may_lead = true;
	sync->raced_version = view->sync.version;
	sync->is_stale = is_own_key(node);
	sync->is_forced = is_failover_to_me(node) && ha_sync_is_active(node) &&
		!key_lets_lead(node, NULL) && !ha_is_primary(node);
	if (sync->is_forced)
		ha_log(node, 2, rule, "the sync key does not name this member, but an operator did: "
			   "at least %lld bytes of WAL may be lost, acknowledged writes among them",
			   (long long) (view->status.optime > position ? view->status.optime - position : 0));
}

/* What the tables ask about synchronous replication. */
HaFacts
ha_sync_facts(HaNode *node)
{
	const HaSync *sync = &node->sync;
	HaFacts		facts = 0;

	if (node->settings.sync_mode == SYNC_PLAN_OFF)
		return 0;
	if (!sync->is_open)
		facts |= HA_FACT(SYNC_UNREADY);
	if (!ha_sync_is_active(node))
		return facts;
	if (node->has_lease)
	{
		/* until the store has been read SYNC_UNREADY keeps it from promoting */
		if (ha_sees_lease(node) && !is_own_key(node) && !sync->is_forced &&
			!(sync->may_lead && sync->raced_version == node->view.sync.version))
			facts |= HA_FACT(SYNC_DENIES);
	}
	else if (!is_failover_to_me(node) && !key_lets_lead(node, NULL))
		facts |= HA_FACT(SYNC_DENIES);
	return facts;
}

/* --- what was sent and is not seen yet --- */

static void
forget_write(HaNode *node)
{
	HaSync	   *sync = &node->sync;

	free(sync->text);
	sync->text = NULL;
	sync->is_writing = sync->is_done = sync->is_unsure = sync->is_deleting = false;
	sync->retry_ms = 0;
}

/* Forget all, when another home drove meanwhile, or for good. */
void
ha_sync_forget(HaNode *node)
{
	forget_write(node);
	free(node->sync.names_text);
	memset(&node->sync, 0, sizeof(node->sync));
}

/* Invariant (2): the write is over when the version that it replaces is. */
static void
settle_key(HaNode *node)
{
	HaSync	   *sync = &node->sync;

	if (!sync->is_writing || !node->view.is_loaded ||
		node->view.sync.version == sync->base_version)
		return;
	forget_write(node);
	sync->must_touch = false;
}

/* Names that were sent are in force, or it is clear that nobody took them. */
static void
settle_names(HaNode *node)
{
	HaSync	   *sync = &node->sync;
	const HaPostgres *postgres = &node->postgres;

	if (!sync->is_setting || !node->has_postgres)
		return;
	if (postgres->sync_generation != sync->names_generation)
		sync->is_setting = false;	/* from here on is_sync_settled tells */
	else if (node->now_ms >= sync->names_sent_ms + HA_SYNC_NAMES_WAIT_MS)
	{
		ha_log(node, 2, "sync-names-unseen",
			   "the server does not show the change of synchronous_standby_names; it is made again");
		sync->is_setting = false;
	}
	else
		ha_wake(node, sync->names_sent_ms + HA_SYNC_NAMES_WAIT_MS);
}

/* The answer to a write of the key; what it became is read from the view. */
void
ha_sync_replied(HaNode *node, HaOutcome outcome)
{
	HaSync	   *sync = &node->sync;

	if (!sync->is_writing)
		return;
	switch (outcome)
	{
		case HA_OUTCOME_DONE:
			sync->is_done = true;
			break;
		case HA_OUTCOME_LOST_RACE:
			/* the view will show who was faster, if only a write of our own */
			sync->retry_ms = node->now_ms + node->settings.loop_wait_ms;
			ha_log(node, 1, "sync-key-race", "the sync key was changed by somebody else");
			break;
		case HA_OUTCOME_NOT_SENT:
			if (!sync->is_unsure)
				forget_write(node);
			break;
		case HA_OUTCOME_UNKNOWN:
			sync->is_unsure = true;
			break;
	}
	settle_key(node);
}

/* --- the plan --- */

/*
 * Is enough known, and is it this member's business?  Only the worker sees what
 * is in force as it is now.  A primary on an older timeline may have the lease
 * of a paused cluster; the key tells who has what was acknowledged since then.
 */
static bool
can_plan(const HaNode *node)
{
	return node->home == HA_HOME_WORKER && node->has_lease && (node->settings.is_paused || !ha_lease_is_over(node)) &&
		!node->is_giving_away && !node->is_bootstrapping && node->view.is_loaded &&
		ha_sees_lease(node) && !ha_is_outdated(node) && ha_is_running(node) &&
		node->postgres.is_observed && node->postgres.has_sync;
}

/* Must the key be written once as it is?  Invariant (2). */
static bool
needs_touch(const HaNode *node)
{
	return node->sync.must_touch && is_own_key(node);
}

static bool
is_connected_here(const HaPostgres *postgres, const char *name)
{
	for (int i = 0; i < postgres->n_senders; i++)
		if (ascii_is_same(postgres->senders[i].application_name, name))
			return true;
	return false;
}

/*
 * The members that are connected here.  Of two connections under one name the
 * server may take either for the member: such a member is not relied on.
 */
static int
find_candidates(const HaNode *node, SyncCandidate *candidates, int *n_other_receivers)
{
	const HaPostgres *postgres = &node->postgres;
	int			n = 0;

	*n_other_receivers = 0;
	for (int i = 0; i < postgres->n_senders; i++)
	{
		const char *name = postgres->senders[i].application_name;
		bool		is_member = false;

		for (int k = 0; k < node->view.n_members && !is_member; k++)
			is_member = ascii_is_same(node->view.members[k].name, name);
		if (!is_member && postgres->senders[i].is_streaming && postgres->senders[i].flush_lsn != 0)
			(*n_other_receivers)++;
	}
	for (int k = 0; k < node->view.n_members && n < CLUSTER_MEMBERS_MAX; k++)
	{
		const Member *member = &node->view.members[k];
		SyncCandidate *candidate = &candidates[n];
		int			n_found = 0;

		if (ascii_is_same(member->name, node->settings.name))
			continue;
		memset(candidate, 0, sizeof(*candidate));
		for (int i = 0; i < postgres->n_senders; i++)
		{
			if (!ascii_is_same(postgres->senders[i].application_name, member->name))
				continue;
			n_found++;
			candidate->is_streaming = postgres->senders[i].is_streaming;
			candidate->state = postgres->senders[i].sync_state;
			candidate->lsn = postgres->senders[i].sync_lsn;
		}
		if (n_found == 0)
			continue;
		if (n_found > 1 || member->state != MEMBER_RUNNING)
			candidate->is_streaming = false;
		ha_name_copy(candidate->name, sizeof(candidate->name), member->name);
		candidate->nosync = member->tags.nosync;
		candidate->nofailover = member->tags.nofailover;
		candidate->sync_priority = member->tags.sync_priority;
		candidate->is_cascading = member->tags.replicatefrom[0] != '\0' &&
			!ascii_is_same(member->tags.replicatefrom, node->settings.name) &&
			is_connected_here(postgres, member->tags.replicatefrom);
		n++;
	}
	return n;
}

/*
 * May this former primary have commits of its own that nobody else has, and will
 * clients see them when it is promoted?  Another member may have written the key
 * since, and never have been promoted itself.
 */
static bool
has_own_writes(const HaNode *node)
{
	return node->is_uncompared && !(is_own_key(node) && node->view.sync.sync_standby == NULL);
}

static void
make_plan(HaNode *node)
{
	HaSync	   *sync = &node->sync;
	const HaPostgres *postgres = &node->postgres;
	int64_t		settled_ms = sync->promoted_ms + node->settings.loop_wait_ms;
	SyncCandidate candidates[CLUSTER_MEMBERS_MAX];
	SyncNames	names;
	SyncPlanInput input = {
		.mode = node->settings.sync_mode,
		.is_strict = node->settings.sync_is_strict,
		.node_count = node->settings.sync_node_count,
		.maximum_lag_on_syncnode = node->settings.maximum_lag_on_syncnode,
		.own_name = node->settings.name,
		.own_lsn = postgres->flush_lsn,
		.sync = &node->view.sync,
		.names = &names,
		.operator_names = &names,	/* the operator's come back by taking ours away */
		.candidates = candidates,
	};

	(void) sync_names_parse(&names, postgres->sync_names);
	input.is_writable = ha_is_primary(node) && (sync->is_open || node->settings.is_paused);
	input.is_stale = (sync->is_stale || has_own_writes(node)) && !ha_is_primary(node);
	input.is_settling = sync->is_writing || sync->is_setting || !postgres->is_sync_settled ||
		needs_touch(node);
	input.names_lsn = input.is_settling ? 0 : postgres->sync_names_lsn;
	input.n_candidates = find_candidates(node, candidates, &input.n_other_receivers);
	if (sync->promoted_ms != 0 && node->now_ms < settled_ms)
	{
		input.is_new_leader = true;
		ha_wake(node, settled_ms);
	}
	sync_plan_next(&input, &sync->step);
	sync->has_plan = true;
	if (sync->step.is_safe)
		sync->is_open = true;
}

/* Before the fence and the decision: what is, and what should be next. */
void
ha_sync_look(HaNode *node)
{
	HaSync	   *sync = &node->sync;
	const HaPostgres *postgres = &node->postgres;

	sync->has_plan = false;
	if (node->has_postgres && (postgres->server == HA_SERVER_STOPPED ||
							   postgres->server == HA_SERVER_STARTING))
	{
		sync->is_open = sync->is_setting = false;
		sync->is_stale = true;
		sync->promoted_ms = 0;
	}
	/* unless a home that died has left it open, and the lease is being confirmed */
	if (!node->has_lease && node->now_ms >= node->left_fence_ms && !ha_failsafe_holds(node))
		sync->is_open = false;
	settle_key(node);
	settle_names(node);
	if (node->view.is_loaded && (!is_own_key(node) || node->view.sync.sync_standby == NULL))
		sync->is_stale = false;
	if (!node->has_lease)
		return;
	if (node->is_bootstrapping && ha_is_primary(node))
		sync->is_open = true;	/* a cluster that is being made has promised nothing */
	if (node->settings.sync_mode == SYNC_PLAN_OFF)
	{
		/* nothing is promised yet, should the mode be switched on now */
		sync->is_open = sync->is_open || ha_is_primary(node);
		if (!node->view.sync.exists && !postgres->is_sync_overridden && !sync->is_writing)
			return;
	}
	if (can_plan(node))
		make_plan(node);
}

/* --- carrying it out --- */

/* Send the write that is remembered, for the first time or again. */
static void
send_write(HaNode *node, const char *rule, const char *because)
{
	HaSync	   *sync = &node->sync;
	HaAction   *action;
	HaActionKind kind = sync->is_deleting ? HA_DELETE_KEY : ha_put_kind(sync->base_version);

	action = ha_request(node, FOR_SYNC, kind, rule, because);
	ha_name_copy(action->key, sizeof(action->key), "sync");
	action->version = sync->base_version;
	if (!sync->is_deleting)
		ha_set_text(node, action, strdup(sync->text));
}

/* Write the key, or delete it (state NULL), if it still is what the view shows. */
static void
begin_write(HaNode *node, const SyncState *state, const char *rule, const char *because)
{
	HaSync	   *sync = &node->sync;
	char	   *text = state == NULL ? NULL : sync_to_text(state);

	if (state != NULL && text == NULL)
	{
		node->out->is_incomplete = true;
		return;
	}
	if (!ha_is_ready(node, FOR_SYNC))
	{
		free(text);
		return;
	}
	forget_write(node);
	sync->is_writing = true;
	sync->is_deleting = state == NULL;
	sync->text = text;
	sync->base_version = node->view.sync.version;
	send_write(node, rule, because);
	ha_log(node, 1, rule, "%s", because);
}

/* Have the server wait for others; NULL: for whom the operator's own value says. */
static void
set_names(HaNode *node, const char *text, const char *rule, const char *because)
{
	HaSync	   *sync = &node->sync;
	bool		is_again = sync->has_names_text &&
		(text == NULL ? sync->names_text == NULL :
		 sync->names_text != NULL && strcmp(sync->names_text, text) == 0);
	HaAction   *action;

	if (is_again && node->now_ms < sync->names_sent_ms + HA_SYNC_NAMES_WAIT_MS)
	{
		/* in force is what somebody else has set: not faster than that */
		ha_wake(node, sync->names_sent_ms + HA_SYNC_NAMES_WAIT_MS);
		return;
	}
	if (is_again)
		ha_log(node, 2, rule, "synchronous_standby_names is not what it was set to: it is set again");
	action = ha_add(node, HA_SET_SYNC_NAMES, rule, "%s", because);
	if (text != NULL)
		ha_set_text(node, action, strdup(text));
	free(sync->names_text);
	sync->names_text = text != NULL ? strdup(text) : NULL;
	sync->has_names_text = true;
	sync->is_setting = true;
	sync->names_sent_ms = node->now_ms;
	sync->names_generation = node->postgres.sync_generation;
	ha_wake(node, node->now_ms + HA_SYNC_NAMES_WAIT_MS);
	ha_log(node, 1, rule, "%s", because);
}

static void
set_planned_names(HaNode *node)
{
	const SyncStep *step = &node->sync.step;
	char		text[SYNC_NAMES_TEXT_MAX];

	if (!sync_names_write(&step->names, text, sizeof(text)) || strlen(text) >= HA_SYNC_NAMES_MAX)
	{
		if (node->sync.said_rule != step->rule)
			ha_log(node, 2, step->rule, "synchronous_standby_names would be longer than %d bytes",
				   HA_SYNC_NAMES_MAX - 1);
		node->sync.said_rule = step->rule;
		return;
	}
	set_names(node, text, step->rule, step->because);
}

/* Waiting is said once. */
static void
say_waiting(HaNode *node)
{
	HaSync	   *sync = &node->sync;
	const SyncStep *step = &sync->step;
	int			level = strcmp(step->rule, "strict") == 0 ? 2 :
		strcmp(step->rule, "settling") == 0 ? 0 : 1;

	if (sync->said_rule != step->rule && level > 0)
	{
		ha_log(node, level, step->rule, "%s", step->because);
		sync->said_rule = step->rule;
	}
}

/* After the decision: the next change, if one may be made. */
void
ha_sync_act(HaNode *node)
{
	HaSync	   *sync = &node->sync;
	const SyncStep *step = &sync->step;
	SyncState	state;

	if (!sync->has_plan || !node->has_lease || node->is_giving_away || node->store_silent)
		return;
	if (sync->is_writing)
	{
		if (sync->is_done || ha_is_pending(node, FOR_SYNC))
			return;
		if (node->now_ms < sync->retry_ms)
			ha_wake(node, sync->retry_ms);
		else if (ha_is_ready(node, FOR_SYNC))
			send_write(node, "sync-again", "it is not known whether the sync key was written");
		return;
	}
	if (needs_touch(node))
	{
		begin_write(node, &node->view.sync, "sync-touch",
					"writes of the sync key by an earlier process of this member become void");
		return;
	}
	switch (step->kind)
	{
		case SYNC_STEP_WRITE_KEY:
			memset(&state, 0, sizeof(state));
			state.exists = true;
			ha_name_copy(state.leader, sizeof(state.leader), node->settings.name);
			state.quorum = step->quorum;
			state.sync_standby = step->sync_standby[0] != '\0' ? sync->step.sync_standby : NULL;
			begin_write(node, &state, step->rule, step->because);
			break;
		case SYNC_STEP_DELETE_KEY:
			begin_write(node, NULL, step->rule, step->because);
			break;
		case SYNC_STEP_SET_NAMES:
			set_planned_names(node);
			break;
		case SYNC_STEP_WAIT:
			say_waiting(node);
			return;
		case SYNC_STEP_NONE:
			if (node->settings.sync_mode == SYNC_PLAN_OFF && node->postgres.is_sync_overridden &&
				!sync->is_setting)
				set_names(node, NULL, "switched-off",
						  "synchronous mode is off: the configured value holds again");
			if (strcmp(step->rule, "strict") != 0)
				break;
			say_waiting(node);	/* clients are */
			return;
	}
	sync->said_rule = NULL;
}

/* --- for people --- */

/* What is planned next, and why not more; see ha.h. */
void
ha_sync_report(const HaNode *node, HaSyncReport *report)
{
	const HaSync *sync = &node->sync;
	const SyncStep *step = &sync->step;
	char		text[SYNC_NAMES_TEXT_MAX];

	memset(report, 0, sizeof(*report));
	report->mode = node->settings.sync_mode;
	report->step = report->rule = "";
	if (!sync->has_plan)
	{
		if (report->mode == SYNC_PLAN_OFF)
			ha_name_copy(report->because, sizeof(report->because), "synchronous mode is off");
		else if (!node->has_lease)
			ha_name_copy(report->because, sizeof(report->because), "another member leads, or nobody");
		else if (node->postgres.is_observed && !node->postgres.has_sync)
			ha_name_copy(report->because, sizeof(report->because),
						 "the library patroni_bgw in this server is of another release: restart the server");
		else
			ha_name_copy(report->because, sizeof(report->because),
						 "the worker in the server has not told yet what is in force");
		return;
	}
	report->step = sync_step_kind_name(step->kind);
	report->rule = step->rule;
	memcpy(report->because, step->because, sizeof(report->because));
	report->is_settling = sync->is_writing || sync->is_setting || !node->postgres.is_sync_settled;
	if (step->kind == SYNC_STEP_SET_NAMES && sync_names_write(&step->names, text, sizeof(text)))
	{
		report->has_names = true;
		ha_name_copy(report->names, sizeof(report->names), text);
	}
}

/* Will the server show something soon that the plan waits for? */
bool
ha_sync_is_waiting(const HaNode *node)
{
	const HaSync *sync = &node->sync;

	return sync->has_plan && (sync->is_setting || !node->postgres.is_sync_settled ||
							  (sync->step.kind == SYNC_STEP_WAIT &&
							   strcmp(sync->step.rule, "wait-for-standby") == 0));
}
