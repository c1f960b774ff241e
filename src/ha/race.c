/*-------------------------------------------------------------------------
 *
 * race.c
 *      Asking the other members, and what their answers mean.
 *
 * All peers are asked at once; a silent one costs peer_timeout_ms at most.
 * Positions are compared as (timeline, LSN): WAL of an older timeline is
 * never better.  Equal positions go to the higher failover_priority, then to
 * who has more of the permanent logical slots; equal in all, the store decides
 * who was first.
 *
 * Facts of the protocol: patroni/ha.py, is_healthiest_node() and
 * manual_failover_process_no_leader().
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "ha/internal.h"

static bool
is_known_peer(const HaNode *node, const char *name)
{
	for (int i = 0; i < node->n_peers; i++)
		if (strcmp(node->peers[i].name, name) == 0)
			return true;
	return false;
}

static void
ask_peer(HaNode *node, const char *name, const char *api_url, const char *only, const char *because)
{
	HaRace	   *race = &node->race;
	HaAction   *action;

	if (strcmp(name, node->settings.name) == 0 || api_url[0] == '\0' ||
		(only != NULL && only[0] != '\0' && strcmp(only, name) != 0))
		return;
	ha_name_copy(race->asked[race->n_asked], CLUSTER_NAME_MAX, name);
	race->n_asked++;
	action = ha_add(node, HA_ASK_PEER, "ask", "%s", because);
	ha_name_copy(action->member, sizeof(action->member), name);
	ha_name_copy(action->url, sizeof(action->url), api_url);
	action->round = race->round;
	action->timeout_ms = (int) node->settings.peer_timeout_ms;
}

/* Ask every known peer (or only one) for its state. */
void
ha_ask_peers(HaNode *node, HaRacePurpose purpose, const char *only, const char *because)
{
	HaRace	   *race = &node->race;
	uint64_t	round = race->round + 1;

	memset(race, 0, sizeof(*race));
	race->purpose = purpose;
	race->round = round;
	race->started_ms = node->now_ms;
	race->deadline_ms = node->now_ms + node->settings.peer_timeout_ms;
	for (int i = 0; i < node->n_peers; i++)
		ask_peer(node, node->peers[i].name, node->peers[i].api_url, only, because);
	/* and those of the failsafe key, who may be known from there only */
	for (int i = 0; ha_failsafe_listed(node, i) != NULL && race->n_asked < CLUSTER_MEMBERS_MAX; i++)
	{
		const FailsafeMember *listed = ha_failsafe_listed(node, i);

		if (!is_known_peer(node, listed->name))
			ask_peer(node, listed->name, listed->api_url, only, because);
	}
	if (race->n_asked == 0)
	{
		race->ended_ms = node->now_ms;
		ha_wake(node, node->now_ms + 1);	/* no answer will come to go on with */
	}
	else
		ha_wake(node, race->deadline_ms);
}

/* One answer, or a silence. */
void
ha_peer_answered(HaNode *node, const HaPeer *peer)
{
	HaRace	   *race = &node->race;

	if (race->purpose == RACE_NONE || peer->round != race->round)
		return;
	for (int i = 0; i < race->n_asked; i++)
	{
		if (strcmp(race->asked[i], peer->name) != 0 || race->has_answered[i])
			continue;
		race->has_answered[i] = true;
		race->answers[i] = *peer;
		race->n_answered++;
	}
	if (race->n_answered == race->n_asked && race->ended_ms == 0)
		race->ended_ms = node->now_ms;
}

/* Are answers for this purpose still awaited?  Silence ends by time. */
bool
ha_race_is_asking(HaNode *node, HaRacePurpose purpose)
{
	HaRace	   *race = &node->race;

	if (race->purpose != purpose || race->ended_ms != 0)
		return false;
	if (node->now_ms >= race->deadline_ms)
	{
		race->ended_ms = node->now_ms;
		return false;
	}
	ha_wake(node, race->deadline_ms);
	return true;
}

/* Are there answers that are fresh enough to decide by? */
bool
ha_race_is_asked(HaNode *node, HaRacePurpose purpose)
{
	HaRace	   *race = &node->race;

	if (race->purpose != purpose || race->ended_ms == 0 ||
		node->now_ms - race->ended_ms > HA_RACE_VALID_MS)
		return false;
	ha_wake(node, race->ended_ms + HA_RACE_VALID_MS + 1);
	return true;
}

/* May this peer be considered as a leader at all? */
bool
ha_peer_can_lead(const HaPeer *peer)
{
	return peer->is_reachable && peer->can_lead && !peer->nofailover && !peer->watchdog_failed;
}

/*
 * Does that member let others go first, as it could not be promoted when it had
 * the lease?  Waiting for it would be for ever: it tries again after a ttl.
 */
bool
ha_gives_way(const HaNode *node, const char *name)
{
	const Member *member = cluster_find_member(&node->view, name);

	return member != NULL && member->gives_way;
}

/*
 * What that one answered, if it is a standby that may lead and lets nobody else
 * go first; or NULL.  Whether its WAL is enough for that is another question.
 */
static const HaPeer *
candidates_answer(const HaNode *node, int index)
{
	const HaRace *race = &node->race;
	const HaPeer *peer = &race->answers[index];

	return race->has_answered[index] && ha_peer_can_lead(peer) && peer->is_in_recovery &&
		!ha_gives_way(node, race->asked[index]) ? peer : NULL;
}

/* Who of those that were asked gives way, or NULL: it is said why nobody waits for it. */
const char *
ha_race_giving_way(const HaNode *node)
{
	const HaRace *race = &node->race;

	for (int i = 0; i < race->n_asked; i++)
		if (race->has_answered[i] && race->answers[i].is_reachable && ha_gives_way(node, race->asked[i]))
			return race->asked[i];
	return NULL;
}

/* The answer of one member in the last round, or NULL. */
const HaPeer *
ha_race_answer(const HaNode *node, const char *name)
{
	const HaRace *race = &node->race;

	for (int i = 0; i < race->n_asked; i++)
		if (race->has_answered[i] && strcmp(race->asked[i], name) == 0)
			return &race->answers[i];
	return NULL;
}

/* Does a member that can reach the store say that it is still a primary? */
bool
ha_race_primary_alive(const HaNode *node)
{
	const HaRace *race = &node->race;

	for (int i = 0; i < race->n_asked; i++)
		if (race->has_answered[i] && race->answers[i].is_reachable &&
			race->answers[i].can_lead && !race->answers[i].is_in_recovery)
			return true;
	return false;
}

typedef struct Place
{
	uint32_t	timeline;
	Lsn			position;
	int			priority;
	int			missing_slots;
} Place;

static Place
place_of(const HaPeer *peer)
{
	return (Place) {peer->timeline, peer->position, peer->failover_priority, peer->missing_slots};
}

static Place
own_place(const HaNode *node)
{
	return (Place) {ha_own_timeline(node), ha_own_position(node), node->settings.tags.failover_priority,
		ha_missing_slots(&node->settings, &node->postgres)};
}

/* Negative: a is worse placed than b. */
static int
compare_place(Place a, Place b)
{
	if (a.timeline != b.timeline && a.timeline != 0 && b.timeline != 0)
		return a.timeline < b.timeline ? -1 : 1;
	if (a.position != b.position)
		return a.position < b.position ? -1 : 1;
	if (a.priority != b.priority)
		return a.priority < b.priority ? -1 : 1;
	return (a.missing_slots < b.missing_slots) - (a.missing_slots > b.missing_slots);
}

/*
 * Does it lag too much to lead?  It leaves the lease alone then, by rule
 * "lagging", on however new a timeline it may be: that of a promotion by hand.
 * Waiting for it would be for ever.
 */
static bool
leaves_lease(const HaNode *node, const HaPeer *peer)
{
	Lsn			optime = node->view.status.optime;

	return optime > peer->position &&
		(int64_t) (optime - peer->position) > node->settings.maximum_lag_on_failover &&
		!(node->view.failover.exists && ha_request_is_due(node) &&
		  (node->view.failover.candidate[0] == '\0' ||
		   strcmp(node->view.failover.candidate, peer->name) == 0));
}

/*
 * Was this member's timeline made by the leader that the sync key names?  It had
 * every acknowledged write and wrote its name there before the promotion; nobody
 * else has led since, even if the store was lost before the history was written.
 */
static bool
is_on_sync_leaders_timeline(const HaNode *node)
{
	const ClusterView *view = &node->view;

	for (int i = 0; i < view->n_taken && ha_sync_is_active(node); i++)
		if (view->taken[i].timeline == ha_own_timeline(node))
			return view->taken[i].name[0] != '\0' && strcmp(view->taken[i].name, view->sync.leader) == 0;
	return false;
}

/*
 * May the peer have WAL that this member does not have?  That a timeline is
 * newer proves nothing: a person may have made it while the leader went on.
 * So of WAL on an older one this member has what is before its own left it.
 * Where the cluster left it at the same place, nothing after that counts: no
 * leader has acknowledged it since.
 */
bool
ha_race_is_ahead(const HaNode *node, const HaPeer *peer)
{
	const HaPostgres *postgres = &node->postgres;
	uint32_t	own = ha_own_timeline(node);
	Lsn			common = 0;

	if (peer->timeline == own || peer->timeline == 0 || own == 0)
		return peer->position > ha_own_position(node);
	if (peer->timeline > own)
		return true;
	for (int i = 0; i < postgres->n_history; i++)
		if (postgres->history[i].timeline == peer->timeline)
			common = postgres->history[i].switch_lsn;
	if (common != 0 && (cluster_left_at(&node->view, peer->timeline) == common ||
						is_on_sync_leaders_timeline(node)))
		return false;
	return peer->position > common;
}

/*
 * Is no reachable member better placed?  If one is, its name comes back.  In
 * synchronous mode one that the sync key does not name is nobody to wait for.
 */
bool
ha_race_most_wal(const HaNode *node, char better[CLUSTER_NAME_MAX])
{
	const HaRace *race = &node->race;

	better[0] = '\0';
	for (int i = 0; i < race->n_asked; i++)
	{
		const HaPeer *peer = candidates_answer(node, i);

		if (peer == NULL || peer->position == 0 || leaves_lease(node, peer) ||
			(ha_sync_is_active(node) && !ha_sync_names_member(node, race->asked[i])))
			continue;
		/* by votes one on a newer timeline may be out of the race: it speaks for itself */
		if (ha_sync_is_active(node) && node->settings.sync_mode == SYNC_PLAN_QUORUM &&
			peer->timeline > ha_own_timeline(node))
			continue;
		if (compare_place(own_place(node), place_of(peer)) < 0)
		{
			ha_name_copy(better, CLUSTER_NAME_MAX, race->asked[i]);
			return false;
		}
	}
	return true;
}

/*
 * Would a standby on this timeline leave the lease alone, whatever its
 * position?  When the cluster is on a newer one, or a member that may lead; or
 * when it was a primary on an id that another member had claimed.
 */
bool
ha_is_outranked(const ClusterView *view, const char *name, const HaPostgres *postgres, int64_t maximum_lag)
{
	uint32_t	timeline = postgres->timeline;

	if (timeline == 0)
		return false;
	for (int i = 0; i < view->n_members; i++)
	{
		const Member *member = &view->members[i];

		if (strcmp(member->name, name) != 0 && member->timeline > timeline &&
			!member->tags.nofailover && member->xlog_location != 0 &&
			(view->status.optime <= member->xlog_location ||
			 (int64_t) (view->status.optime - member->xlog_location) <= maximum_lag))
			return true;
	}
	if (postgres->is_former_primary && postgres->former_timeline != 0 &&
		postgres->former_timeline <= timeline && ha_other_claimant(view, name, timeline) != NULL)
		return true;
	return timeline < cluster_timeline(view);
}

/*
 * A member that could take over from this primary as after its failure; or
 * NULL.  Which one does is decided by themselves.
 */
const HaPeer *
ha_race_successor(const HaNode *node)
{
	const HaRace *race = &node->race;
	Lsn			own = ha_own_position(node);

	for (int i = 0; i < race->n_asked; i++)
	{
		const HaPeer *peer = candidates_answer(node, i);

		if (peer == NULL || peer->position == 0 ||
			(peer->timeline != 0 && peer->timeline != ha_own_timeline(node)))
			continue;
		if (own > peer->position &&
			(int64_t) (own - peer->position) > node->settings.maximum_lag_on_failover)
			continue;
		if (ha_sync_is_active(node) && !ha_sync_names_member(node, race->asked[i]))
			continue;
		return peer;
	}
	return NULL;
}

/*
 * The best placed member that can lead and has all WAL up to "lsn"; or NULL.
 * The same position on another timeline is other WAL.  In synchronous mode it
 * is one that the sync key names, unless the operator named it.
 */
const HaPeer *
ha_race_holder_of(const HaNode *node, Lsn lsn, const char *only)
{
	const HaRace *race = &node->race;
	const HaPeer *best = NULL;
	uint32_t	timeline = ha_own_timeline(node);

	if (timeline < node->postgres.checkpoint_timeline)
		timeline = node->postgres.checkpoint_timeline;	/* a server that is down tells no other */

	for (int i = 0; i < race->n_asked; i++)
	{
		const HaPeer *peer = candidates_answer(node, i);

		if (peer == NULL || peer->position < lsn ||
			(peer->timeline != 0 && peer->timeline != timeline))
			continue;
		if (only != NULL && only[0] != '\0' && strcmp(only, race->asked[i]) != 0)
			continue;
		if ((only == NULL || only[0] == '\0') && ha_sync_is_active(node) &&
			!ha_sync_names_member(node, race->asked[i]))
			continue;
		if (best == NULL || compare_place(place_of(best), place_of(peer)) < 0)
			best = peer;
	}
	return best;
}
