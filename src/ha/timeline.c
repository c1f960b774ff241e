/*-------------------------------------------------------------------------
 *
 * timeline.c
 *      Takes an id for the next timeline, and promotes.
 *
 * No two promotions may make the same timeline id: neither streaming nor
 * pg_rewind could tell their WAL apart.  So each id is recorded in the key
 * "promotions" before it is used (docs/architecture.md, "Timelines").
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "ha/internal.h"

/*
 * The key "promotions" with one id more, or with something else said of an id
 * in it; the caller frees it.  NULL: no memory.
 */
static char *
text_with(HaNode *node, const TakenTimeline *item)
{
	const ClusterView *view = &node->view;
	TakenTimeline *taken = malloc(((size_t) view->n_taken + 1) * sizeof(*taken));
	char	   *text;
	int			at = 0;

	if (taken == NULL)
		return NULL;
	if (view->n_taken > 0)
		memcpy(taken, view->taken, (size_t) view->n_taken * sizeof(*taken));
	while (at < view->n_taken && taken[at].timeline != item->timeline)
		at++;
	taken[at] = *item;
	text = taken_to_text(taken, at < view->n_taken ? view->n_taken : at + 1);
	free(taken);
	return text;
}

/* Add an id to the key "promotions", or replace what it says of it. */
static void
put_taken(HaNode *node, const TakenTimeline *item, const char *rule, const char *because)
{
	const ClusterView *view = &node->view;
	HaAction   *action = ha_request(node, FOR_TIMELINE, ha_put_kind(view->taken_version), rule, because);

	ha_name_copy(action->key, sizeof(action->key), "promotions");
	action->version = view->taken_version;
	action->timeline = item->timeline;
	ha_set_text(node, action, text_with(node, item));
}

/* The highest timeline id that anybody is known to have taken. */
static uint32_t
highest_timeline(const HaNode *node)
{
	const HaRace *race = &node->race;
	uint32_t	highest = ha_recorded_timeline(&node->view);

	/*
	 * A promotion by hand is recorded a little later than it is seen, one of a
	 * Patroni member with its first history; and it may never get that far.
	 */
	if (node->seen_timeline > highest)
		highest = node->seen_timeline;
	for (int i = 0; i < race->n_asked; i++)
		if (race->has_answered[i] && race->answers[i].is_reachable &&
			race->answers[i].timeline > highest)
			highest = race->answers[i].timeline;
	return highest;
}

/*
 * One that got an id which another member had claimed says so beside the claim.
 * Who follows it may lead before the claimant is back, and that one would see a
 * successor of its own.
 */
static void
record_double(HaNode *node)
{
	const ClusterView *view = &node->view;

	for (int i = 0; i < view->n_taken; i++)
	{
		TakenTimeline item = view->taken[i];

		item.also_lsn = 0;
		if (item.also[0] != '\0' || !ha_has_doubled(node, &item, &item.also_lsn) ||
			!ha_is_ready(node, FOR_TIMELINE))
			continue;
		ha_name_copy(item.also, sizeof(item.also), node->settings.name);
		put_taken(node, &item, "record-timeline", "this server is on a timeline that another member claimed");
		return;
	}
}

/*
 * A person who promotes a server by hand records nothing.  A server that has
 * WAL of such a timeline records its id, in nobody's name, so that no
 * promotion gets the same id for other WAL: neither streaming nor pg_rewind
 * could tell the two apart.  In nobody's name, because it must not look like
 * a leader's promotion to the primary that leads.
 */
void
ha_record_timeline(HaNode *node)
{
	const ClusterView *view = &node->view;
	const HaPostgres *postgres = &node->postgres;
	TakenTimeline item;
	uint32_t	timeline = 0;

	if (!node->has_postgres || !view->is_loaded || node->store_silent || node->is_promoting ||
		postgres->data != HA_DATA_PRESENT ||
		!ha_is_decimal(view->system_identifier, postgres->system_identifier))
		return;					/* another cluster's timelines are no matter of ours */
	record_double(node);
	if (ha_is_running(node))
		timeline = postgres->timeline;
	else if (postgres->server == HA_SERVER_STOPPED && ha_was_primary(node))
		timeline = postgres->checkpoint_timeline;
	if (timeline < 2 || timeline >= UINT32_MAX - 1 || timeline <= ha_recorded_timeline(view) ||
		!ha_is_ready(node, FOR_TIMELINE))
		return;
	memset(&item, 0, sizeof(item));
	item.timeline = timeline;
	if (postgres->n_history > 0)
	{
		item.parent = postgres->history[postgres->n_history - 1].timeline;
		item.lsn = postgres->history[postgres->n_history - 1].switch_lsn;
	}
	else
		item.parent = timeline - 1;
	put_taken(node, &item, "record-timeline", "this server is on a timeline that nobody claimed");
}

/* The id that the next timeline will get, in our name.  False: not known now. */
static bool
next_timeline(HaNode *node, const char *rule, TakenTimeline *item)
{
	uint32_t	next = node->postgres.newest_timeline;

	if (!ha_is_ready(node, FOR_TIMELINE))
		return false;
	if (node->postgres.timeline == 0)
		return false;			/* not observed yet */
	if (node->postgres.timeline > next)
		next = node->postgres.timeline;
	if (highest_timeline(node) > next)
		next = highest_timeline(node);
	if (next >= UINT32_MAX - 1)
	{
		ha_log(node, 2, rule, "timeline %u is taken: no id is left", next);
		node->pending[FOR_TIMELINE].next_try_ms = node->now_ms + node->settings.loop_wait_ms;
		return false;
	}
	memset(item, 0, sizeof(*item));
	item->timeline = next + 1;
	item->parent = node->postgres.timeline;
	item->lsn = ha_own_position(node);
	ha_name_copy(item->name, CLUSTER_NAME_MAX, node->settings.name);
	return true;
}

/*
 * Record the id that the next timeline will get, before promoting, so that
 * no two promotions ever share one (docs/architecture.md, "Timelines").
 */
void
ha_claim_timeline(HaNode *node, const HaRule *rule)
{
	TakenTimeline item;

	if (!next_timeline(node, rule->name, &item))
		return;
	put_taken(node, &item, rule->name, rule->because);
	node->claimed_timeline = 0;
}

/*
 * The same with the acquisition of the leader key: clients wait for one write
 * of the store less.  What the acquisition is decided by, the claim is, too.
 * Whether it was recorded is seen in the store; else it is claimed afterwards.
 */
void
ha_claim_with(HaNode *node, HaAction *action)
{
	TakenTimeline item;
	char	   *text;

	if (node->view.taken_version != node->view.promotions_seen ||
		!next_timeline(node, action->rule, &item))
		return;
	text = text_with(node, &item);
	if (text == NULL)
		return;					/* it is claimed afterwards */
	action->timeline = item.timeline;
	ha_set_text(node, action, text);
}

/* Who cannot mark ids lets others go first for a ttl, then tries again. */
static int64_t
gives_way_until(const HaNode *node)
{
	return node->mark_since_ms + node->settings.retry_timeout_ms + node->settings.ttl_ms;
}

/* Has this member tried in vain, for retry_timeout and not too long ago? */
bool
ha_cannot_mark(const HaNode *node)
{
	return node->mark_since_ms != 0 && node->mark_first == node->postgres.newest_timeline + 1 &&
		node->now_ms >= node->mark_since_ms + node->settings.retry_timeout_ms &&
		node->now_ms < gives_way_until(node);
}

/*
 * A server that is promoted takes the first id after its own timeline that it
 * finds no history file of.  So each id up to the claimed one gets one.  That
 * may fail, as when the disk is full: the promotion waits until they are seen.
 */
void
ha_mark_timelines(HaNode *node, const HaRule *rule)
{
	const ClusterView *view = &node->view;
	uint32_t	first = node->postgres.newest_timeline + 1;

	if (ha_lease_is_over(node))
		return;
	/* those before have been seen: on with the rest at once */
	if (node->now_ms < node->mark_next_ms && first == node->mark_first)
	{
		ha_wake(node, node->mark_next_ms);
		return;
	}
	for (uint32_t id = first; id < node->claimed_timeline && id - first < HA_PLACE_MAX; id++)
	{
		HaAction   *action = ha_add(node, HA_PLACE_HISTORY, rule->name,
									"timeline %u is taken by another promotion", id);

		action->timeline = id;
		action->parent = 1;
		for (int i = 0; i < view->n_taken; i++)
			if (view->taken[i].timeline == id)
				ha_name_copy(action->member, sizeof(action->member), view->taken[i].name);
	}
	if (first != node->mark_first || node->mark_since_ms == 0 || node->now_ms >= gives_way_until(node))
		node->mark_since_ms = node->now_ms;
	node->mark_first = first;
	node->mark_next_ms = node->now_ms + HA_RETRY_MAX_MS;
	ha_wake(node, node->mark_next_ms);
}

/* Have the server promoted, under the id that was claimed. */
void
ha_promote(HaNode *node, const HaRule *rule)
{
	if (ha_lease_is_over(node))
		return;
	ha_add(node, HA_PROMOTE, rule->name, "%s", rule->because)->timeline = node->claimed_timeline;
	node->is_promoting = true;
	node->promote_ms = node->now_ms;
	ha_wake(node, node->now_ms + HA_PROMOTE_TIMEOUT_MS);
}
