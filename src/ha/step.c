/*-------------------------------------------------------------------------
 *
 * step.c
 *      One step of the engine: take in what happened, gather the facts,
 *      decide by the tables, carry out.
 *
 * Everything a step knows of the world is in the node; everything it wants
 * of the world is in the list of actions.  See ha.h.
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ha/internal.h"

/* A node that knows nothing yet; NULL without memory. */
HaNode *
ha_node_create(HaHome home)
{
	HaNode	   *node = calloc(1, sizeof(*node));

	if (node == NULL)
		return NULL;
	node->home = home;
	cluster_view_init(&node->view);
	node->role = ROLE_UNINITIALIZED;
	node->announced_role = ROLE_UNINITIALIZED;
	node->state = MEMBER_STOPPED;
	node->decision.rule = "starting-up";
	snprintf(node->decision.because, sizeof(node->decision.because), "nothing is known yet");
	return node;
}

/* Free a node; NULL is fine. */
void
ha_node_free(HaNode *node)
{
	if (node == NULL)
		return;
	cluster_view_free(&node->view);
	ha_sync_forget(node);
	free(node->member_text);
	free(node->member_sent);
	free(node->status_text);
	ha_slots_free(node);
	free(node);
}

/* --- what happened --- */

static void
remember_peer(HaNode *node, const Member *member)
{
	HaKnownPeer *peer = NULL;

	for (int i = 0; i < node->n_peers; i++)
		if (strcmp(node->peers[i].name, member->name) == 0)
			peer = &node->peers[i];
	if (peer == NULL && node->n_peers < CLUSTER_MEMBERS_MAX)
		peer = &node->peers[node->n_peers++];
	if (peer == NULL)
		return;
	ha_name_copy(peer->name, sizeof(peer->name), member->name);
	ha_name_copy(peer->api_url, sizeof(peer->api_url), member->api_url);
}

/*
 * Members vanish from the store together with the leader when their leases
 * run out in one outage; so the peers of the last view with a leader are
 * asked as well.
 */
static void
remember_peers(HaNode *node)
{
	if (node->view.has_leader)
		node->n_peers = 0;
	for (int i = 0; i < node->view.n_members; i++)
		remember_peer(node, &node->view.members[i]);
}

/* A claim of ours counts when the store shows it as the newest of all. */
static void
look_for_claim(HaNode *node)
{
	const ClusterView *view = &node->view;
	const TakenTimeline *newest = NULL;

	for (int i = 0; i < view->n_taken; i++)
		if (newest == NULL || view->taken[i].timeline > newest->timeline)
			newest = &view->taken[i];
	node->claimed_timeline = 0;
	if (newest != NULL && strcmp(newest->name, node->settings.name) == 0 &&
		newest->timeline > cluster_timeline(view) &&
		newest->parent == node->postgres.timeline)
		node->claimed_timeline = newest->timeline;
}

/*
 * Remember which ids are taken, as a member may vanish with its key.  A Patroni
 * member claims nothing: one that got the leader key as a standby may have been
 * promoted before it is seen again, or never be.
 */
static void
note_timelines(HaNode *node)
{
	const ClusterView *view = &node->view;
	const Member *leader = node->has_settings ? ha_leader_member(node) : NULL;

	for (int i = 0; i < view->n_members; i++)
		if (view->members[i].timeline > node->seen_timeline)
			node->seen_timeline = view->members[i].timeline;
	if (leader != NULL && leader->state == MEMBER_RUNNING && leader->role == ROLE_REPLICA &&
		leader->timeline != 0 && leader->timeline == node->seen_timeline &&
		leader->timeline < UINT32_MAX)
		node->seen_timeline++;
}

static void
take_view(HaNode *node, const ClusterView *view)
{
	ClusterView copy;
	bool		is_changed;

	if (!cluster_view_copy(&copy, view))
	{
		node->out->is_incomplete = true;
		return;
	}
	is_changed = copy.has_leader != node->view.has_leader || strcmp(copy.leader, node->view.leader) != 0;
	if (is_changed)
		node->leader_since_ms = node->view.is_loaded && copy.has_leader ? node->now_ms : 0;
	/* what failed with one leader need not wait with the next, or with none */
	if (is_changed && (node->failed_task == HA_TASK_CHECK_DIVERGENCE ||
					   node->failed_task == HA_TASK_REWIND || node->failed_task == HA_TASK_BASEBACKUP))
		node->task_retry_ms = 0;
	cluster_view_free(&node->view);
	node->view = copy;
	remember_peers(node);
	note_timelines(node);
	if (node->has_settings)		/* else it is not known who we are */
		ha_lease_from_view(node);
	if (node->view.has_leader && node->race.purpose == RACE_LEADER)
		node->race.purpose = RACE_NONE;
	if (node->view.has_leader)
		node->successor[0] = '\0';
}

static void
take_postgres(HaNode *node, const HaPostgres *postgres)
{
	bool		was_primary = ha_is_primary(node);
	bool		is_first = !node->has_postgres;

	ha_postgres_copy(&node->postgres, postgres);
	node->has_postgres = true;
	if (!node->knows_past && postgres->data != HA_DATA_UNKNOWN)
	{
		node->knows_past = true;
		node->is_uncompared = postgres->data == HA_DATA_PRESENT && postgres->is_former_primary;
		node->primary_timeline = node->is_uncompared ? postgres->former_timeline : 0;
		node->primary_from = node->primary_timeline;
	}
	if (ha_is_primary(node))
	{
		if (node->is_promoting)
		{
			ha_log(node, 1, "promoted", "promoted to primary on timeline %u after %lld ms",
				   postgres->timeline, (long long) (node->now_ms - node->promote_ms));
			if (node->claimed_timeline != 0 && postgres->timeline != 0 &&
				postgres->timeline != node->claimed_timeline)
				ha_log(node, 2, "timeline-differs", "the server chose timeline %u, not %u",
					   postgres->timeline, node->claimed_timeline);
			node->claimed_timeline = 0;
			node->sync.promoted_ms = node->now_ms;
		}
		node->is_promoting = false;
		if (!was_primary || is_first)
			node->needs_checkpoint = postgres->checkpoint_timeline != 0 &&
				postgres->checkpoint_timeline < postgres->timeline;
	}
	else if (node->is_promoting &&
			 (postgres->server == HA_SERVER_STOPPED ||
			  node->now_ms >= node->promote_ms + HA_PROMOTE_TIMEOUT_MS))
		node->is_promoting = false;
	if (postgres->server == HA_SERVER_STOPPED || postgres->server == HA_SERVER_STARTING)
	{
		if (node->down_since_ms == 0)
			node->down_since_ms = node->now_ms;
	}
	else
	{
		node->down_since_ms = 0;
		node->is_wal_end_known = false;
	}
	if (ha_is_running(node) && postgres->is_in_recovery && !postgres->is_streaming)
	{
		if (node->stream_lost_ms == 0)
			node->stream_lost_ms = node->now_ms;
	}
	else
	{
		node->stream_lost_ms = 0;
		if (postgres->is_streaming)
			node->repair_failures = 0;
	}
	/* goals that the observed server has reached */
	if (node->home == HA_HOME_SUPERVISOR && node->task == HA_TASK_NONE)
	{
		if (node->goal == HA_GOAL_DEMOTE &&
			(postgres->server == HA_SERVER_STOPPED ||
			 (ha_is_running(node) && postgres->is_in_recovery && !node->is_promoting)))
			ha_clear_goal(node);
		if (node->goal == HA_GOAL_REPAIR &&
			(postgres->server == HA_SERVER_STOPPED || postgres->is_streaming ||
			 ha_is_primary(node)))
			ha_clear_goal(node);
		if (node->goal == HA_GOAL_SWITCHOVER && ha_is_running(node) && postgres->is_in_recovery)
			ha_clear_goal(node);
	}
}

/* The view may still show our leader key for a moment after it has gone. */
static void
forget_own_leader_key(HaNode *node)
{
	if (!cluster_is_leader(&node->view, node->settings.name))
		return;
	node->view.has_leader = false;
	node->view.leader[0] = '\0';
}

static void
take_reply(HaNode *node, const HaInput *input)
{
	HaOutcome	outcome = input->reply.outcome;
	HaPurpose	purpose = ha_reply_purpose(node, input->reply.id, outcome);
	bool		is_done = outcome == HA_OUTCOME_DONE;
	bool		is_refused = outcome == HA_OUTCOME_LOST_RACE;

	switch (purpose)
	{
		case FOR_RENEW:
			if (is_done)
			{
				node->has_renewed = true;
				node->renewed_ms = input->reply.sent_at_ms;
				/* a view that shows another leader is newer than the renewal */
				if (node->is_renewing_lease && input->reply.id > node->released_id &&
					(node->has_lease || cluster_is_leader(&node->view, node->settings.name)))
					ha_lease_got(node, FOR_RENEW, input->reply.sent_at_ms, input->reply.version);
			}
			else if (is_refused)
			{
				/*
				 * Sent before the lease was acquired, it may have been refused
				 * before; if not, the next one says so, and the fence ends as ever.
				 */
				if (node->is_renewing_lease &&
					(input->reply.session_lost || input->reply.id > node->acquired_id))
					ha_lease_lost(node, input->reply.session_lost ? "the lease has expired in the store"
								  : "another member owns the leader key");
				if (input->reply.session_lost)
				{
					/* the key went with the lease, even if the view lags */
					forget_own_leader_key(node);
					node->has_renewed = false;
					free(node->member_text);
					node->member_text = NULL;
					node->pending[FOR_RENEW].next_try_ms = 0;
				}
			}
			break;
		case FOR_ACQUIRE:
			if (is_done && node->view.is_loaded && input->reply.version != 0 &&
				node->view.revision >= input->reply.version &&
				!cluster_is_leader(&node->view, node->settings.name))
				ha_log(node, 2, "lease-gone", "the leader key was gone again before the store's answer came");
			else if (is_done)
			{
				ha_lease_got(node, FOR_ACQUIRE, input->reply.sent_at_ms, input->reply.version);
				node->acquired_id = input->reply.id;
				ha_log(node, 1, "lease-acquired", "acquired the leader lease");
			}
			node->race.purpose = RACE_NONE;
			break;
		case FOR_RELEASE:
			if (is_done || is_refused)
			{
				forget_own_leader_key(node);
				node->lease_version = 0;
				node->has_lease = false;
				node->is_giving_away = false;
				node->released_id = node->next_id;
				ha_log(node, 1, "lease-released", "released the leader lease");
				/* else it is what starts the server again: "follow-successor", "follow-taker" */
				if (node->goal == HA_GOAL_SWITCHOVER && !node->settings.is_paused && !node->is_handed_over)
					ha_clear_goal(node);
			}
			break;
		case FOR_MEMBER:
			if (is_done)
			{
				free(node->member_text);
				node->member_text = node->member_sent;
				node->member_sent = NULL;
				node->member_version = input->reply.version;
			}
			break;
		case FOR_STATUS:
			if (is_done)
				node->status_lsn = node->status_sent;
			else
			{
				free(node->status_text);
				node->status_text = NULL;
			}
			break;
		case FOR_INITIALIZE:
			if (node->is_deleting_claim)
			{
				node->is_deleting_claim = false;
				node->has_bootstrap_failed = !is_done && !is_refused;
			}
			else if (is_done && node->postgres.data == HA_DATA_EMPTY && !node->is_bootstrapping &&
				node->view.system_identifier[0] == '\0')
			{
				node->is_bootstrapping = true;
				node->is_post_bootstrapped = false;
			}
			break;
		case FOR_FAILOVER:
		case FOR_MEMBER_REQUEST:
			ha_command_reply(node, purpose, outcome, input->reply.version);
			break;
		case FOR_SYNC:
			ha_sync_replied(node, outcome);
			break;
		case FOR_FAILSAFE:
			ha_failsafe_replied(node, outcome, input->reply.version);
			break;
		case FOR_HISTORY:
		case FOR_CONFIG:
		case FOR_TIMELINE:
		case FOR_COUNT:
			break;				/* the view will show it */
	}
}

/* Is what the home before us knew of a pause newer than what we know?  Not for long: versions may begin anew. */
static bool
was_paused_later(const HaNode *node)
{
	return node->was_paused_version > node->view.config_version &&
		node->now_ms < node->born_ms + HA_WAS_PAUSED_MS;
}

/* The version of the configuration that says whether the cluster is paused; 0 = unknown. */
uint64_t
ha_pause_version(const HaNode *node)
{
	return was_paused_later(node) ? node->was_paused_version : node->view.config_version;
}

/*
 * Who pauses a cluster is told that it is paused when all members are; that is
 * what drives them.  A home that takes over right then has to know, even if its
 * own look at the store shows the time before: it would stop a server that it
 * shall leave alone.
 */
static void
settle_pause(HaNode *node)
{
	node->settings.is_paused = was_paused_later(node) ? node->was_paused : node->has_pause;
}

static void
take_input(HaNode *node, const HaInput *input)
{
	switch (input->kind)
	{
		case HA_INPUT_TICK:
			break;
		case HA_INPUT_SETTINGS:
			node->settings = *input->settings;
			node->has_settings = true;
			node->has_pause = node->settings.is_paused;
			settle_pause(node);
			ha_slots_settings(node);
			if (node->view.is_loaded)
				ha_lease_from_view(node);
			break;
		case HA_INPUT_CLUSTER:
			take_view(node, input->view);
			break;
		case HA_INPUT_REACHABLE:
			if (!input->reachable.is_reachable && !node->store_silent)
				node->silent_since_ms = node->now_ms;
			node->store_silent = !input->reachable.is_reachable;
			break;
		case HA_INPUT_REPLY:
			take_reply(node, input);
			break;
		case HA_INPUT_POSTGRES:
			take_postgres(node, input->postgres);
			break;
		case HA_INPUT_PEER:
			if (input->peer->is_vote)
				ha_failsafe_voted(node, input->peer);
			else
				ha_peer_answered(node, input->peer);
			break;
		case HA_INPUT_TASK:
			ha_task_ended(node, input);
			break;
		case HA_INPUT_COMMAND:
			ha_command(node, input->command);
			break;
		case HA_INPUT_PROMISE:
			ha_failsafe_remember(node, input->promise.until_ms, input->promise.page_made_ms);
			break;
		case HA_INPUT_ASK_MEMBERS:
			ha_failsafe_wanted(node);
			break;
		case HA_INPUT_FENCE_LOST:
			break;
	}
}

/* --- what is in nobody's interest any more --- */

/* A bootstrap that failed leaves its claim behind: others wait for it to go. */
static void
take_back_claim(HaNode *node)
{
	if (!node->has_bootstrap_failed || !node->view.is_loaded)
		return;
	if (node->view.system_identifier[0] != '\0')
		node->has_bootstrap_failed = false;
	else if (ha_is_ready(node, FOR_INITIALIZE))
	{
		ha_name_copy(ha_request(node, FOR_INITIALIZE, HA_DELETE_KEY, "bootstrap-failed",
								"the bootstrap failed: another member may try")->key,
					 CLUSTER_NAME_MAX, "initialize");
		node->is_deleting_claim = true;
	}
}

/* Goals that need a leader end when there is none, or this member could not become one. */
static void
drop_goal(HaNode *node)
{
	bool		is_leaderless = node->view.is_loaded && !node->store_silent &&
		!node->view.has_leader;

	if (node->home != HA_HOME_SUPERVISOR || node->task != HA_TASK_NONE)
		return;
	if (node->goal == HA_GOAL_REPAIR &&
		(node->settings.is_paused || (node->view.is_loaded && ha_leader_member(node) == NULL)))
	{
		ha_log(node, 1, "repair-off", "%s", node->settings.is_paused ?
			   "nothing is repaired while the cluster is paused" : "there is no leader to compare with");
		/* this home's view may lag behind the one that asked for it: soon again, not at once */
		node->repair_failures = 0;
		node->repair_next_ms = node->now_ms + HA_TASK_RETRY_MIN_MS;
		ha_clear_goal(node);
	}
	if (node->goal == HA_GOAL_REINIT && is_leaderless && node->leaderless_since_ms != 0 &&
		node->postgres.server == HA_SERVER_STOPPED && node->postgres.data == HA_DATA_PRESENT)
	{
		int64_t		until_ms = node->leaderless_since_ms + node->settings.ttl_ms;

		if (node->now_ms < until_ms)
			ha_wake(node, until_ms);
		else
		{
			ha_log(node, 2, "reinit-off", "not reinitialized: there is no leader to clone");
			ha_clear_goal(node);
			ha_finish_member_request(node, false, "there is no leader to clone");
		}
	}
}

/*
 * How long others wait for the candidate of a request counts from when nobody
 * led first, not from each time that nobody does: a candidate may get the
 * lease, and give it back unpromoted, again and again.  With a leader that is
 * a primary it is over.
 */
static void
note_patience(HaNode *node)
{
	const ClusterView *view = &node->view;
	const Member *leader = ha_leader_member(node);

	if (!view->failover.exists || (leader != NULL && leader->role == ROLE_PRIMARY))
		node->patience_version = 0;
	else if (node->leaderless_since_ms != 0 && node->patience_version != view->failover.version &&
			 ha_request_is_due(node))
	{
		node->patience_version = view->failover.version;
		node->patience_since_ms = node->now_ms;
	}
}

/*
 * What was found out against one leader says nothing of the next: its history
 * is another one, and a rewind from it may work.
 */
static void
forget_check(HaNode *node)
{
	const ClusterView *view = &node->view;

	/* it was compared as a standby, and is the directory of a primary now: promoted by hand, unseen */
	if (node->is_checked && node->is_checked_running && node->task == HA_TASK_NONE &&
		ha_was_primary(node) && node->postgres.server == HA_SERVER_STOPPED)
		node->is_checked = node->is_diverged = node->has_rewind_failed = false;
	if (!node->is_checked || node->checked_with[0] == '\0' || node->task != HA_TASK_NONE ||
		!view->is_loaded || !view->has_leader || strcmp(view->leader, node->checked_with) == 0 ||
		cluster_is_leader(view, node->settings.name))
		return;
	ha_log(node, 1, "new-leader", "\"%s\" leads instead of \"%s\": timelines are to be compared again",
		   view->leader, node->checked_with);
	node->is_checked = node->is_diverged = node->has_rewind_failed = false;
	node->checked_with[0] = '\0';
}

/* --- what this node is --- */

static MemberState
state_of(const HaNode *node)
{
	switch (node->task)
	{
		case HA_TASK_INITDB:
			return MEMBER_INITDB;
		case HA_TASK_BASEBACKUP:
			return MEMBER_CREATING_REPLICA;
		case HA_TASK_STOP:
			return node->goal == HA_GOAL_RESTART ? MEMBER_RESTARTING : MEMBER_STOPPING;
		case HA_TASK_START_PRIMARY:
		case HA_TASK_START_STANDBY:
			return node->goal == HA_GOAL_RESTART ? MEMBER_RESTARTING : MEMBER_STARTING;
		default:
			break;
	}
	switch (node->postgres.server)
	{
		case HA_SERVER_RUNNING:
			return MEMBER_RUNNING;
		case HA_SERVER_STARTING:
			return MEMBER_STARTING;
		case HA_SERVER_STOPPING:
			return MEMBER_STOPPING;
		default:
			break;
	}
	if (node->failed_task == HA_TASK_START_PRIMARY || node->failed_task == HA_TASK_START_STANDBY)
		return MEMBER_START_FAILED;
	if (node->postgres.data == HA_DATA_PRESENT && !node->postgres.is_standby_configured &&
		node->postgres.control_state == HA_CONTROL_IN_PRODUCTION)
		return MEMBER_CRASHED;
	return MEMBER_STOPPED;
}

static MemberRole
role_of(const HaNode *node)
{
	if (!node->has_postgres || node->postgres.data == HA_DATA_EMPTY ||
		node->postgres.data == HA_DATA_UNKNOWN)
		return ROLE_UNINITIALIZED;
	if (ha_is_primary(node))
		return ROLE_PRIMARY;
	if (node->is_promoting)
		return ROLE_PROMOTED;
	if (node->goal == HA_GOAL_SWITCHOVER || node->goal == HA_GOAL_DEMOTE)
		return ROLE_DEMOTED;
	if (node->postgres.server == HA_SERVER_STOPPED && node->has_lease &&
		!node->postgres.is_standby_configured)
		return ROLE_PRIMARY;
	return ROLE_REPLICA;
}

/* Patroni's callbacks: on_start first, on_role_change when the role changed. */
static void
announce(HaNode *node)
{
	MemberRole	role = node->role;
	HaAction   *action;

	if (!ha_is_running(node) || (role != ROLE_PRIMARY && role != ROLE_REPLICA) ||
		node->is_bootstrapping || role == node->announced_role)
		return;
	action = ha_add(node, HA_CALLBACK, "callback", "the server is a %s now", member_role_name(role));
	ha_name_copy(action->key, sizeof(action->key),
				 node->announced_role == ROLE_UNINITIALIZED ? "on_start" : "on_role_change");
	action->role = role;
	node->announced_role = role;
}

/* --- the decision --- */

static const HaRule first_load = {
	"first-load", 0, 0, HA_DO_WAIT, "the store has not been read yet"
};
static const HaRule yielded = {
	"yield", 0, 0, HA_DO_WAIT, "the supervisor has to act"
};

static const HaRule *
decide(HaNode *node, HaFacts facts)
{
	if (!node->view.is_loaded &&
		(!node->store_silent ||
		 node->now_ms < node->silent_since_ms + node->settings.retry_timeout_ms) &&
		node->task == HA_TASK_NONE)
	{
		ha_wake(node, node->born_ms + node->settings.retry_timeout_ms);
		if (node->store_silent)
			ha_wake(node, node->silent_since_ms + node->settings.retry_timeout_ms);
		if (node->goal != HA_GOAL_SHUTDOWN)
			return &first_load;
	}
	if (node->home == HA_HOME_WORKER && node->goal != HA_GOAL_NONE)
	{
		ha_add(node, HA_YIELD, "yield", "%s", node->goal_because);
		return &yielded;
	}
	if (!ha_is_running(node) || node->goal != HA_GOAL_NONE || node->task != HA_TASK_NONE ||
		node->is_bootstrapping)
		return ha_match(ha_life_rules, facts);
	if ((facts & HA_FACT(STORE_SILENT)) != 0 &&
		(facts & (HA_FACT(PRIMARY) | HA_FACT(LEASE_OTHER))) !=
		(HA_FACT(PRIMARY) | HA_FACT(LEASE_OTHER)))
		return ha_match(ha_outage_rules, facts);
	if ((facts & (HA_FACT(LEASE_MINE) | HA_FACT(LEASE_UNSURE))) != 0)
		return ha_match(ha_leader_rules, facts);
	if ((facts & HA_FACT(LEASE_FREE)) != 0)
		return ha_match(ha_race_rules, facts);
	return ha_match(ha_follower_rules, facts);
}

/*
 * As long as a member may not lead it asks the others again and again.  Such
 * rounds are said once, until one of them ends in another way.
 */
static bool
is_same_round(HaNode *node, const HaRule *rule, HaFacts facts, const char *because)
{
	bool		is_race = (facts & HA_FACT(LEASE_FREE)) != 0 && !node->settings.is_paused;
	bool		is_same;

	if (is_race && (strcmp(rule->name, "ask") == 0 || strcmp(rule->name, "asking") == 0))
		return node->round_end[0] != '\0';
	is_same = strcmp(node->round_end, because) == 0;
	ha_name_copy(node->round_end, sizeof(node->round_end),
				 is_race && rule->then == HA_DO_WAIT ? because : "");
	return is_same;
}

/* The next comparison, and the pause before it, are said as seldom as what they bring. */
static bool
is_same_comparison(const HaNode *node, const HaRule *rule)
{
	if (strcmp(rule->name, "task-running") == 0)
		return ha_is_unclear_again(node, node->task);
	if (strcmp(rule->name, "task-pause") == 0)
		return ha_is_unclear_again(node, node->failed_task);
	return rule->then == HA_DO_CHECK_DIVERGENCE && node->n_unclear > 1;
}

static void
note_decision(HaNode *node, const HaRule *rule, HaFacts facts)
{
	char		because[HA_REASON_MAX];
	char		better[CLUSTER_NAME_MAX];
	int			level;

	ha_name_copy(because, sizeof(because), rule->because);
	if (strcmp(rule->name, "better-placed") == 0 && !ha_race_most_wal(node, better))
		snprintf(because, sizeof(because), "\"%.100s\" is better placed to lead", better);
	else if (strcmp(rule->name, "race-for-lease") == 0 && ha_race_giving_way(node) != NULL)
		snprintf(because, sizeof(because), "\"%.60s\" gives way, as it could not mark timeline ids as taken; "
				 "the leader lease is free and nobody else is better placed", ha_race_giving_way(node));
	else if (strcmp(rule->name, "following") == 0 || strcmp(rule->name, "follow") == 0)
		snprintf(because, sizeof(because), "\"%.100s\" leads and this member follows it",
				 node->view.leader);
	else if (strcmp(rule->name, "wait-for-data") == 0 && node->postgres.problem[0] != '\0')
		snprintf(because, sizeof(because), "the data directory cannot be used: %.190s",
				 node->postgres.problem);
	else if (ha_failsafe_refusal(node)[0] != '\0' && (strcmp(rule->name, "outage-fenced") == 0 ||
													 strcmp(rule->name, "demote-offline") == 0))
		snprintf(because, sizeof(because), "%.90s; %.150s", rule->because, ha_failsafe_refusal(node));
	else if (strcmp(rule->name, "promised") == 0 && ha_failsafe_promised_to(node)[0] != '\0')
		snprintf(because, sizeof(because), "this member has promised not to lead while \"%.100s\" goes on without the store",
				 ha_failsafe_promised_to(node));
	else if ((rule->when & HA_FACT(HANGS)) != 0)
		snprintf(because, sizeof(because), "%.78s: %s", rule->because, node->postgres.hang);
	else if (strcmp(rule->name, "task-running") == 0)
		snprintf(because, sizeof(because), "%s is under way", ha_task_name(node->task));
	else if (strcmp(rule->name, "task-pause") == 0)
		snprintf(because, sizeof(because), "%s failed a moment ago: %.180s",
				 ha_task_name(node->failed_task), node->task_error);
	else if (strcmp(rule->name, "not-synchronous") == 0)
		ha_sync_say_denied(node, because);
	if (node->decision.rule != NULL && strcmp(node->decision.rule, rule->name) == 0 &&
		strcmp(node->decision.because, because) == 0)
		return;
	level = is_same_round(node, rule, facts, because) || is_same_comparison(node, rule) ||
		rule == &yielded || rule == &first_load ? 0 : 1;
	if (node->decision.rule == NULL || strcmp(node->decision.rule, rule->name) != 0)
		node->decision.since_ms = node->now_ms;
	node->decision.rule = rule->name;
	memcpy(node->decision.because, because, sizeof(because));
	ha_log(node, level, rule->name, "%s", because);
}

/*
 * One step: what happened in, what to do out.
 *
 * "actions" is emptied first; the caller owns it.  now_ms must not go back
 * between steps (a smaller value counts as the last one).
 */
void
ha_step(HaNode *node, int64_t now_ms, const HaInput *input, HaActions *actions)
{
	HaFacts		facts;
	const HaRule *rule;

	ha_actions_reset(actions);
	node->out = actions;
	if (now_ms > node->now_ms)
		node->now_ms = now_ms;
	if (node->born_ms == 0)
		node->born_ms = node->now_ms;
	node->wall_ms = input->wall_ms;
	node->wake_ms = INT64_MAX;

	take_input(node, input);
	settle_pause(node);
	if (!node->has_settings)
	{
		node->out = NULL;
		return;
	}
	node->wake_ms = node->now_ms + node->settings.loop_wait_ms;
	look_for_claim(node);
	ha_member_requests_look(node);
	ha_failsafe_look(node);
	ha_restart_look(node);
	ha_sync_look(node);
	ha_keep_lease(node);
	ha_hang_look(node);

	if (node->goal == HA_GOAL_DEMOTE && node->task == HA_TASK_NONE && ha_is_primary(node) &&
		!ha_lease_is_over(node) && !node->store_silent)
	{
		ha_log(node, 1, "demotion-off", "the store confirmed the lease before the server was stopped");
		ha_clear_goal(node);
	}
	take_back_claim(node);
	drop_goal(node);
	forget_check(node);
	note_patience(node);
	if (ha_is_primary(node) && node->postgres.is_observed)
	{
		/* it is one again: what it was, or was found to be, does not matter */
		node->is_uncompared = node->is_source_unsure = false;
		if (node->task == HA_TASK_NONE && node->goal != HA_GOAL_REPAIR)
			node->is_checked = node->is_diverged = node->has_rewind_failed = false;
		node->primary_timeline = ha_own_timeline(node);
		/* by hand, a member is promoted again before it was compared with anybody */
		if (node->primary_from == 0 || node->primary_from > node->primary_timeline)
			node->primary_from = node->primary_timeline;
	}
	else if (!node->is_uncompared && ha_source_differs(node) && (!node->is_checked || node->is_diverged))
	{
		/* for good: when the leader goes on to the next timeline nobody can tell any more */
		node->is_uncompared = node->is_source_unsure = true;
		node->primary_timeline = node->primary_from = ha_leader_member(node)->timeline;
	}
	else if (!node->is_uncompared && ha_is_running(node) && node->postgres.is_in_recovery)
		node->primary_from = 0;
	facts = ha_gather_facts(node);
	rule = decide(node, facts);
	node->role = role_of(node);
	node->state = state_of(node);
	note_decision(node, rule, facts);
	ha_carry_out(node, rule);

	node->role = role_of(node);
	node->state = state_of(node);
	ha_lead(node);
	ha_prepare_candidate(node);
	ha_sync_act(node);
	ha_record_timeline(node);
	ha_publish(node);
	ha_keep_slots(node);
	ha_commands_look(node);
	announce(node);
	ha_add(node, HA_WAKE_AT, "wake", "the next tick")->deadline_ms = node->wake_ms;
	node->out = NULL;
}

/* --- what it thinks, for people --- */

/* The decision in force. */
const HaDecision *
ha_decision(const HaNode *node)
{
	return &node->decision;
}

/* The role as Patroni's in-memory role. */
MemberRole
ha_role(const HaNode *node)
{
	return node->role;
}

/* The state as published in the member key. */
MemberState
ha_state(const HaNode *node)
{
	return node->state;
}

/* Does the store say that the lease is ours? */
bool
ha_has_lease(const HaNode *node)
{
	return node->has_lease;
}

/* Until when; 0 none, HA_DEADLINE_NEVER while paused. */
int64_t
ha_lease_deadline_ms(const HaNode *node)
{
	return node->settings.is_paused ? HA_DEADLINE_NEVER : ha_deadline_ms(node);
}

/* Is the cluster paused, as far as this node knows? */
bool
ha_is_paused(const HaNode *node)
{
	return node->settings.is_paused;
}

/* Should the supervisor keep the baton?  See ha.h. */
bool
ha_wants_supervisor(const HaNode *node)
{
	return node->goal != HA_GOAL_NONE || node->task != HA_TASK_NONE ||
		node->is_bootstrapping || !ha_is_running(node);
}
