/*-------------------------------------------------------------------------
 *
 * publish.c
 *      What a node writes to the store about itself and, as the leader,
 *      about the cluster.
 *
 * Formats: src/cluster, file by file.  A key is written only when its content
 * changed; a change of WAL positions alone waits for loop_wait.
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ha/internal.h"

/* Fill in the member key of this node.  Texts in it are borrowed. */
static void
ha_describe_self(HaNode *node, Member *member)
{
	const HaSettings *settings = &node->settings;
	const HaPostgres *postgres = &node->postgres;

	memset(member, 0, sizeof(*member));
	ha_name_copy(member->name, sizeof(member->name), settings->name);
	ha_name_copy(member->conn_url, sizeof(member->conn_url), settings->conn_url);
	ha_name_copy(member->api_url, sizeof(member->api_url), settings->api_url);
	ha_name_copy(member->proxy_url, sizeof(member->proxy_url), settings->proxy_url);
	ha_name_copy(member->agent_version, sizeof(member->agent_version), settings->agent_version);
	member->state = node->state;
	member->role = node->role;
	member->is_paused = settings->is_paused;
	member->tags = settings->tags;
	member->tags_json = settings->tags_json[0] ? (char *) settings->tags_json : NULL;
	member->has_pending_restart = postgres->has_pending_restart;
	if (postgres->has_pending_restart && postgres->pending_restart_reason[0])
		member->pending_restart_reason_json = (char *) postgres->pending_restart_reason;
	ha_name_copy(member->hang, sizeof(member->hang), node->has_postgres ? postgres->hang : "");
	member->gives_way = node->has_postgres && ha_cannot_mark(node);
	if (node->restart_text[0] != '\0')
		member->scheduled_restart_json = node->restart_text;
	if (!node->has_postgres || !ha_is_running(node))
		return;
	member->timeline = postgres->timeline;
	if (ha_is_primary(node))
	{
		member->xlog_location = postgres->write_lsn ? postgres->write_lsn : postgres->flush_lsn;
		member->has_checkpoint_pending = node->has_lease && postgres->timeline > 1 &&
			postgres->checkpoint_timeline != 0 &&
			postgres->checkpoint_timeline < postgres->timeline;
	}
	else
	{
		member->xlog_location = ha_own_position(node);
		member->receive_lsn = postgres->received_lsn;
		member->replay_lsn = postgres->replayed_lsn;
		ha_name_copy(member->replication_state, sizeof(member->replication_state),
					 postgres->is_streaming ? "streaming" :
					 postgres->has_restore_command ? "in archive recovery" : "");
	}
}

/* How what this member would write differs from its key in the store. */
typedef enum Difference
{
	DIFFERS_NOT,
	DIFFERS_IN_WAL,				/* only positions do */
	DIFFERS_IN_STREAM,			/* also whether it streams */
	DIFFERS_IN_MORE,			/* or there is no key */
} Difference;

static Difference
compare_members(const Member *then, const Member *now)
{
	if (then == NULL || then->state != now->state || then->role != now->role ||
		then->timeline != now->timeline || then->is_paused != now->is_paused ||
		then->has_checkpoint_pending != now->has_checkpoint_pending ||
		then->has_pending_restart != now->has_pending_restart ||
		strcmp(then->hang, now->hang) != 0 || then->gives_way != now->gives_way ||
		!json_text_equal(then->scheduled_restart_json ? then->scheduled_restart_json : "{}",
						 now->scheduled_restart_json ? now->scheduled_restart_json : "{}") ||
		strcmp(then->conn_url, now->conn_url) != 0 ||
		strcmp(then->api_url, now->api_url) != 0 ||
		strcmp(then->agent_version, now->agent_version) != 0 ||
		!json_text_equal(then->tags_json ? then->tags_json : "{}",
						 now->tags_json ? now->tags_json : "{}"))
		return DIFFERS_IN_MORE;
	if (strcmp(then->replication_state, now->replication_state) != 0)
		return DIFFERS_IN_STREAM;
	if (then->xlog_location != now->xlog_location || then->receive_lsn != now->receive_lsn ||
		then->replay_lsn != now->replay_lsn)
		return DIFFERS_IN_WAL;
	return DIFFERS_NOT;
}

/*
 * Positions that begin to move after a rest move on: to where the standbys and
 * the replay get in the next moment.  That is told at once with it.
 */
static int64_t
settled_ms(const HaNode *node, int64_t *moved_ms)
{
	if (*moved_ms == 0)
		*moved_ms = node->now_ms;
	return *moved_ms +
		(node->settings.loop_wait_ms < HA_SETTLE_MS ? node->settings.loop_wait_ms : HA_SETTLE_MS);
}

/*
 * Until when may a change wait?  Clients wait for a promotion and for a
 * switchover to end; each key that is written then costs the store and every
 * member that hears of it, and what it says is old a few hundredths of a second
 * later, like the state of a stream that ends because of them.
 */
static int64_t
publish_due_ms(HaNode *node, const Member *then, Difference difference)
{
	if (then == NULL || node->member_text == NULL)
		return 0;
	if (difference <= DIFFERS_IN_WAL)
	{
		int64_t		due_ms = node->member_put_ms + node->settings.loop_wait_ms;

		node->unpublished_ms = 0;
		if (difference == DIFFERS_NOT)
			node->moved_ms = 0;
		else if (settled_ms(node, &node->moved_ms) > due_ms)
			due_ms = settled_ms(node, &node->moved_ms);
		return due_ms;
	}
	if (node->unpublished_ms == 0)
		node->unpublished_ms = node->now_ms;
	if (node->is_promoting || node->goal == HA_GOAL_SWITCHOVER || difference == DIFFERS_IN_STREAM)
		return node->unpublished_ms + HA_PUBLISH_PAUSE_MS;
	return 0;
}

/*
 * The member key is written without a comparison: nothing that must not be lost
 * hangs on it.  Taken timeline ids, the sync key, position and history have keys
 * that are compared; votes and places in the race are asked for over HTTP; that
 * a leader's timeline may be from before is known where it matters.  But what a
 * home that was frozen, or a slow store, writes late would stay, and others wait
 * for a leader that does not seem to be promoted: then it is written again.
 */
static bool
is_overwritten(const HaNode *node, const Member *then, const Member *now, Difference difference)
{
	return node->view.revision >= node->member_version &&
		node->now_ms >= node->member_put_ms + node->settings.loop_wait_ms &&
		(difference > DIFFERS_IN_WAL || then->xlog_location != now->xlog_location);
}

/* Write the member key when it is missing, differs, or is due. */
void
ha_publish(HaNode *node)
{
	const Member *shown = cluster_find_member(&node->view, node->settings.name);
	Member		self;
	Difference	difference;
	char	   *text;
	int64_t		due_ms;
	HaAction   *action;

	if (!node->view.is_loaded || node->goal == HA_GOAL_REFUSE)
		return;
	ha_describe_self(node, &self);
	difference = compare_members(shown, &self);
	due_ms = publish_due_ms(node, shown, difference);
	if (node->now_ms < due_ms)
	{
		/* what changes later is another step's business */
		if (difference != DIFFERS_NOT)
			ha_wake(node, due_ms);
		return;
	}

	/*
	 * The answer to a renewal shows that nobody has written since the watch told
	 * that the leader key is ours.  If we do meanwhile, that has to be asked for.
	 */
	if (difference == DIFFERS_IN_WAL && node->is_renewing_lease && ha_is_pending(node, FOR_RENEW))
		return;
	text = member_to_text(&self);
	if (text == NULL)
	{
		node->out->is_incomplete = true;
		return;
	}
	if (shown != NULL && node->member_text != NULL && strcmp(text, node->member_text) == 0 &&
		!is_overwritten(node, shown, &self, difference))
	{
		if (difference <= DIFFERS_IN_WAL)
			node->member_put_ms = node->now_ms;
		node->unpublished_ms = 0;
		ha_wake(node, node->now_ms + node->settings.loop_wait_ms);
		free(text);
		return;
	}
	if (!ha_is_ready(node, FOR_MEMBER))
	{
		free(text);
		return;
	}
	free(node->member_sent);
	node->member_sent = strdup(text);
	node->member_put_ms = node->now_ms;
	node->unpublished_ms = node->moved_ms = 0;
	action = ha_request(node, FOR_MEMBER, HA_PUT_MEMBER, "publish", "what this member is doing");
	ha_name_copy(action->key, sizeof(action->key), node->settings.name);
	ha_set_text(node, action, text);
}

/*
 * A write may be carried out seconds after we gave up waiting for it.  So that
 * it does not take the place of what we, or another leader, have written since,
 * it goes by the version of the key that we know.
 */
HaActionKind
ha_put_kind(uint64_t version)
{
	return version != 0 ? HA_PUT_KEY : HA_CREATE_KEY;
}

static HaAction *
put_key(HaNode *node, HaPurpose purpose, HaActionKind kind, const char *key, char *text,
		uint64_t version, const char *because)
{
	HaAction   *action = ha_request(node, purpose, kind, "lead", because);

	ha_name_copy(action->key, sizeof(action->key), key);
	action->version = version;
	ha_set_text(node, action, text);
	return action;
}

/* patroni/ha.py, update_cluster_history(). */
static void
put_history(HaNode *node)
{
	const HaPostgres *postgres = &node->postgres;
	const ClusterView *view = &node->view;
	TimelineHistory *lines;
	HaAction   *action;
	int			first = 0;

	if (postgres->timeline < 2 || postgres->n_history == 0 || !postgres->is_observed ||
		postgres->history[postgres->n_history - 1].timeline != postgres->timeline - 1)
	{
		/* ids can be skipped: the last entry is the parent, whatever its id */
		if (postgres->timeline < 2 || postgres->n_history == 0 || !postgres->is_observed)
			return;
	}
	if (view->n_history > 0 &&
		view->history[view->n_history - 1].timeline ==
		postgres->history[postgres->n_history - 1].timeline &&
		view->history[view->n_history - 1].switch_lsn ==
		postgres->history[postgres->n_history - 1].switch_lsn)
		return;
	if (!ha_is_ready(node, FOR_HISTORY))
		return;
	lines = calloc((size_t) postgres->n_history, sizeof(*lines));
	if (lines == NULL)
	{
		node->out->is_incomplete = true;
		return;
	}
	for (int i = 0; i < postgres->n_history; i++)
	{
		lines[i] = postgres->history[i];
		for (int k = 0; k < view->n_history; k++)
			if (view->history[k].timeline == lines[i].timeline &&
				view->history[k].switch_lsn == lines[i].switch_lsn)
				lines[i] = view->history[k];
	}
	if (lines[postgres->n_history - 1].new_leader[0] == '\0')
	{
		TimelineHistory *newest = &lines[postgres->n_history - 1];

		ha_name_copy(newest->new_leader, sizeof(newest->new_leader), node->settings.name);
		if (newest->timestamp[0] == '\0')
			timestamp_to_text(node->wall_ms, newest->timestamp);
	}
	if (node->settings.max_timelines_history > 0 &&
		postgres->n_history > node->settings.max_timelines_history)
		first = postgres->n_history - node->settings.max_timelines_history;
	action = put_key(node, FOR_HISTORY, ha_put_kind(view->history_seen), "history",
					 history_to_text(lines + first, postgres->n_history - first),
					 view->history_seen, "the history of timelines");
	/* nobody may lead who is on an older timeline than it tells of, so no late word of ours */
	action->leader_version = view->leader_version;
	free(lines);
}

/* The leader's position and those of its slots, at most each loop_wait. */
static void
put_status(HaNode *node)
{
	ClusterStatus status = {.exists = true, .optime = node->postgres.flush_lsn};
	int64_t		due_ms = node->status_put_ms + node->settings.loop_wait_ms;
	char	   *text;

	if (status.optime == 0)
		return;
	if (status.optime == node->status_lsn)
		node->status_moved_ms = 0;
	else if (node->status_lsn != 0 && settled_ms(node, &node->status_moved_ms) > due_ms)
		due_ms = settled_ms(node, &node->status_moved_ms);
	if (node->now_ms < due_ms)
	{
		ha_wake(node, due_ms);
		return;
	}
	/* without progress of the WAL there may still be some of a slot */
	if (status.optime == node->status_lsn &&
		node->now_ms < node->status_look_ms + node->settings.loop_wait_ms)
		return;
	if (!ha_is_ready(node, FOR_STATUS))
		return;
	node->status_look_ms = node->now_ms;
	text = ha_slots_status(node, &status) ? status_to_text(&status) : NULL;
	free(status.slots);
	free(status.retain_slots_json);
	if (text == NULL)
	{
		node->out->is_incomplete = true;
		return;
	}
	if (node->status_text != NULL && strcmp(text, node->status_text) == 0 &&
		status.optime == node->status_lsn)
	{
		free(text);
		return;
	}
	free(node->status_text);
	node->status_text = strdup(text);
	put_key(node, FOR_STATUS, ha_put_kind(node->view.status_seen), "status", text,
			node->view.status_seen, "the leader's WAL position");
	node->status_sent = status.optime;
	node->status_put_ms = node->now_ms;
	node->status_moved_ms = 0;
}

/* What the leader owes the cluster, each step. */
void
ha_lead(HaNode *node)
{
	const HaPostgres *postgres = &node->postgres;
	const ClusterView *view = &node->view;

	/* one on an older timeline would tell an older position and history */
	if (!node->has_lease || !ha_is_primary(node) || ha_lease_is_over(node) || !view->is_loaded ||
		!ha_sees_lease(node) || ha_is_outdated(node))
		return;
	if (node->is_bootstrapping && !node->is_post_bootstrapped)
		return;
	if (view->system_identifier[0] == '\0' && postgres->system_identifier != 0 &&
		ha_is_ready(node, FOR_INITIALIZE))
	{
		char		text[32];

		snprintf(text, sizeof(text), "%llu", (unsigned long long) postgres->system_identifier);
		put_key(node, FOR_INITIALIZE, HA_PUT_KEY, "initialize", strdup(text), 0,
				"the cluster's system identifier");
	}
	if (view->config_version == 0 && node->settings.initial_config[0] != '\0' &&
		ha_is_ready(node, FOR_CONFIG))
		put_key(node, FOR_CONFIG, ha_put_kind(view->config_seen), "config",
				strdup(node->settings.initial_config), view->config_seen,
				view->config_seen == 0 ? "the cluster's dynamic configuration is missing" :
				"the cluster's dynamic configuration cannot be read");
	if (node->is_bootstrapping && view->system_identifier[0] != '\0' && view->config_version != 0)
	{
		node->is_bootstrapping = node->is_post_bootstrapped = false;
		ha_log(node, 1, "bootstrapped", "initialized a new cluster");
	}
	put_history(node);
	ha_failsafe_lead(node);
	if (node->needs_checkpoint && node->home == HA_HOME_WORKER &&
		node->now_ms < node->sync.promoted_ms + HA_CHECKPOINT_PAUSE_MS)
		ha_wake(node, node->sync.promoted_ms + HA_CHECKPOINT_PAUSE_MS);
	else if (node->needs_checkpoint && node->home == HA_HOME_WORKER)
	{
		ha_add(node, HA_CHECKPOINT, "lead", "pg_rewind needs the new timeline in pg_control");
		node->needs_checkpoint = false;
	}
	put_status(node);
}
