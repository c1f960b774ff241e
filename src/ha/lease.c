/*-------------------------------------------------------------------------
 *
 * lease.c
 *      The leader lease and the fence that hangs on it.
 *
 * Invariants:
 *  (1) has_lease is set only by an answer of the store, never by a guess.
 *  (2) The deadline is counted from before the request that succeeded was
 *      sent, less a margin for the rates of two clocks.
 *  (3) Only a definite answer (or the deadline) ends the lease: silence
 *      neither ends nor prolongs it.
 *  (4) The fence is closed before the leader key is given away, and the
 *      lease counts as given away from the moment the release is sent.  A
 *      release whose end is unknown may still happen at any time: it is sent
 *      again until the store gives a definite answer.
 *  (5) A leader key that names us is ours only when the store itself says so: the
 *      view of this home may be older than what the other home, or a refused
 *      renewal, has found out.
 *  (6) An acquired lease opens the fence only once the store has been read up
 *      to the acquisition, see ha_sees_lease(), and never that of a primary
 *      that turns out to be on an older timeline: it is about to be released.
 *  (7) With failsafe_mode the agreement of all members prolongs the deadline as
 *      the store would, and keeps the fence where it is when the store has lost
 *      the lease: failsafe.c.  A member that has promised not to lead opens none.
 *  (8) In synchronous mode it opens only once the sync key and the names in
 *      force suit each other: sync.c.
 *
 * Sources: etcd "lease keepalive" (the TTL restarts when the leader of the
 * store handles the request, so later than it was sent).
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "ha/internal.h"

/* By how much less than "ttl_ms" a promise of that length is kept: the clocks of two hosts differ. */
int64_t
ha_margin_ms(int64_t ttl_ms)
{
	int64_t		margin = ttl_ms / HA_MARGIN_DIVISOR;

	return margin > HA_MARGIN_MIN_MS ? margin : HA_MARGIN_MIN_MS;
}

/* Until when the lease in the store certainly runs; 0 without one. */
static int64_t
lease_deadline_ms(const HaNode *node)
{
	if (!node->has_lease)
		return 0;
	return node->lease_sent_ms + node->lease_ttl_ms - ha_margin_ms(node->lease_ttl_ms);
}

/*
 * Until when writes may be acknowledged, under the lease or because all members
 * agree; 0 without either.
 */
int64_t
ha_deadline_ms(const HaNode *node)
{
	int64_t		lease_ms = lease_deadline_ms(node);
	int64_t		failsafe_ms = ha_failsafe_deadline_ms(node);

	return failsafe_ms > lease_ms ? failsafe_ms : lease_ms;
}

/*
 * When was asked, at the earliest, for what gave this deadline?  Leases and
 * agreements last for ttl, as of when they were asked for and as it is now,
 * whichever is less.
 */
int64_t
ha_deadline_asked_ms(const HaNode *node, int64_t deadline_ms)
{
	return deadline_ms - (node->settings.ttl_ms - ha_margin_ms(node->settings.ttl_ms));
}

/* True when the lease may have run out. */
bool
ha_lease_is_over(const HaNode *node)
{
	return node->now_ms >= ha_deadline_ms(node);
}

/* Move the fence, if it is not there already. */
static void
ha_set_fence(HaNode *node, int64_t deadline_ms, const char *because)
{
	if (node->is_fence_set && node->fence_ms == deadline_ms)
		return;
	node->is_fence_set = true;
	node->fence_ms = deadline_ms;
	node->left_fence_ms = 0;
	ha_add(node, HA_FENCE, "fence", "%s", because)->deadline_ms = deadline_ms;
}

/*
 * The store says that the lease is ours, as of a request sent at "sent_ms".
 *
 * When ttl changes, the lease in the store has the old one until a renewal
 * that was sent under the new one succeeds; the smaller of what was in force
 * when it was sent and what is in force now is certain.
 */
void
ha_lease_got(HaNode *node, HaPurpose purpose, int64_t sent_ms, uint64_t version)
{
	int64_t		ttl_ms = node->pending[purpose].ttl_ms;
	bool		is_news = purpose == FOR_ACQUIRE || !node->has_lease || ha_lease_is_over(node);

	if (node->is_giving_away)
		return;					/* it speaks of the time before the release */
	if (ttl_ms == 0 || ttl_ms > node->settings.ttl_ms)
		ttl_ms = node->settings.ttl_ms;
	if (!node->has_lease || sent_ms > node->lease_sent_ms)
	{
		node->lease_sent_ms = sent_ms;
		node->lease_ttl_ms = ttl_ms;
	}
	if (!node->has_lease || purpose == FOR_ACQUIRE)
		ha_failsafe_lease_acquired(node, purpose == FOR_ACQUIRE);
	node->has_lease = true;
	/*
	 * A renewal confirms the key that we hold, which may have moved to another
	 * session since it was acquired; after the deadline it is like a new one.
	 * An older version than that of the acquisition says that the store was
	 * restored and counts anew.
	 */
	if (version != 0 && (is_news || version < node->lease_version))
		node->lease_version = version;
	node->leaderless_since_ms = 0;
}

/* The store says in so many words that it is not. */
void
ha_lease_lost(HaNode *node, const char *because)
{
	if (node->has_lease)
		ha_log(node, 2, "lease-lost", "lost the leader lease: %s", because);
	node->has_lease = false;
	node->lease_version = 0;
	if (node->view.is_loaded && node->view.has_leader &&
		!cluster_is_leader(&node->view, node->settings.name))
		ha_failsafe_end(node);
	if (!node->settings.is_paused && !ha_failsafe_holds(node))
		ha_set_fence(node, 0, because);
}

/*
 * What a new view says of the lease.  A view that is older than our own
 * acquisition says nothing.
 */
void
ha_lease_from_view(HaNode *node)
{
	const ClusterView *view = &node->view;

	if (node->has_lease && view->revision >= node->lease_version &&
		!cluster_is_leader(view, node->settings.name))
		ha_lease_lost(node, view->has_leader ? "another member owns the leader key"
					  : "the leader key is gone");
	if (view->has_leader || node->has_lease)
		node->leaderless_since_ms = 0;
	else if (node->leaderless_since_ms == 0)
		node->leaderless_since_ms = node->now_ms;
}

/*
 * Has the store been read since we acquired the lease?  Before that another
 * member may have led in between, on a newer timeline, without our knowing:
 * a host that was frozen takes up again with the view it had.
 */
bool
ha_sees_lease(const HaNode *node)
{
	return node->lease_version == 0 || node->view.complete_revision >= node->lease_version;
}

/*
 * Is nothing to be expected of this member?  Another leads, and nobody is asked
 * to take over: its lease carries the member key, and only that.
 */
static bool
is_at_rest(const HaNode *node)
{
	const ClusterView *view = &node->view;

	return view->has_leader && !cluster_is_leader(view, node->settings.name) && !node->has_lease &&
		!node->is_giving_away && !node->store_silent && !view->failover.exists;
}

/*
 * How often the lease is renewed: twice can fail before it is over.  A member at
 * rest spares the store every third renewal, but not where host and store would
 * have little time left.  It is behind with one as soon as the leader key goes:
 * that is made up for while the others are asked, and a lease for a new leader
 * is not an old one.
 */
static int64_t
renew_interval_ms(const HaNode *node)
{
	int64_t		ttl_ms = node->settings.ttl_ms;
	int64_t		interval_ms = ttl_ms / 3;
	int64_t		rest_ms;

	if (interval_ms > node->settings.loop_wait_ms)
		interval_ms = node->settings.loop_wait_ms;
	rest_ms = interval_ms * 3 / 2;
	return is_at_rest(node) && ttl_ms - rest_ms >= HA_REST_LEFT_MS ? rest_ms : interval_ms;
}

/*
 * A release that may or may not have happened is sent again, until the store
 * answers or shows that the key is not ours.
 */
static void
keep_giving_away(HaNode *node)
{
	if (!node->is_giving_away || !node->view.is_loaded || ha_is_pending(node, FOR_RELEASE))
		return;
	if (!cluster_is_leader(&node->view, node->settings.name) &&
		node->view.revision >= node->lease_version)
	{
		node->is_giving_away = false;
		node->released_id = node->next_id;
	}
	else if (ha_is_ready(node, FOR_RELEASE))
		ha_name_copy(ha_request(node, FOR_RELEASE, HA_RELEASE, "release-again",
								"it is not known whether the leader key was released")->value,
					 CLUSTER_NAME_MAX, node->settings.name);
}

/*
 * A renewal under a smaller ttl may shorten the lease in the store although
 * we never hear of it, and one that is under way may be repeated with it: from
 * the moment the setting is known only the smaller is certain.
 */
static void
shorten_lease(HaNode *node)
{
	int64_t		old_ms = lease_deadline_ms(node);

	if (!node->has_lease || node->settings.ttl_ms >= node->lease_ttl_ms ||
		node->now_ms + node->settings.ttl_ms >= node->lease_sent_ms + node->lease_ttl_ms)
		return;
	node->lease_sent_ms = node->now_ms;
	node->lease_ttl_ms = node->settings.ttl_ms;
	if (lease_deadline_ms(node) > old_ms)
		node->lease_sent_ms -= lease_deadline_ms(node) - old_ms;
}

/*
 * While the cluster is paused the fence is open for ever: what is a primary when
 * the pause begins stays one without a lease.  But it opens no fence that it
 * finds closed: a primary that another member has replaced, and that was about
 * to be demoted, would write beside it.  A standby may open it, as a person may
 * promote it, and so may a server that a person starts.
 */
static void
pause_fence(HaNode *node)
{
	const ClusterView *view = &node->view;
	bool		is_standby = ha_is_running(node) && node->postgres.is_in_recovery;

	if (node->has_lease || is_standby || node->was_down_paused)
		node->is_overruled = false;
	else if (node->is_fence_set && node->fence_ms == HA_DEADLINE_NEVER)
		return;
	else if (view->is_loaded && view->has_leader && !cluster_is_leader(view, node->settings.name))
		node->is_overruled = true;
	else if (!node->has_postgres || (!view->is_loaded && !node->store_silent) ||
			 cluster_is_leader(view, node->settings.name))
		return;					/* not known yet */
	if (node->is_overruled)
		ha_set_fence(node, 0, "another member leads since before the cluster was paused");
	else
		ha_set_fence(node, HA_DEADLINE_NEVER, "the cluster is paused");
}

/*
 * Renew the session (it carries the member key, and the leader key when that
 * is ours), confirm a leader key that names us, and keep the fence.
 */
void
ha_keep_lease(HaNode *node)
{
	bool		is_unsure;
	int64_t		due_ms = node->has_renewed ? node->renewed_ms + renew_interval_ms(node) : 0;

	keep_giving_away(node);
	shorten_lease(node);
	is_unsure = node->view.is_loaded && !node->has_lease && !node->is_giving_away &&
		cluster_is_leader(&node->view, node->settings.name);
	if (node->has_lease && node->lease_sent_ms + renew_interval_ms(node) < due_ms)
		due_ms = node->lease_sent_ms + renew_interval_ms(node);
	if (is_unsure)
		due_ms = 0;
	if (node->view.is_loaded && node->now_ms >= due_ms && !ha_is_pending(node, FOR_ACQUIRE))
	{
		if (ha_is_ready(node, FOR_RENEW))
		{
			HaAction   *action = ha_request(node, FOR_RENEW, HA_RENEW, "renew",
											node->has_lease ? "renewing the leader lease" :
											is_unsure ? "confirming the leader lease" : "renewing the session");

			node->is_renewing_lease = node->has_lease || is_unsure;
			if (node->is_renewing_lease)
				ha_name_copy(action->value, sizeof(action->value), node->settings.name);
			/* a short bound, so that a dead connection leaves time to try again */
			action->timeout_ms = (int) (node->settings.ttl_ms / 6);
			if (action->timeout_ms > node->settings.retry_timeout_ms)
				action->timeout_ms = (int) node->settings.retry_timeout_ms;
			if (action->timeout_ms < 200)
				action->timeout_ms = 200;
		}
	}
	else
		ha_wake(node, due_ms);

	if (!node->settings.is_paused)
		node->was_down_paused = node->is_overruled = false;
	if (node->has_postgres && node->postgres.server == HA_SERVER_STOPPED)
	{
		node->was_down_paused = node->settings.is_paused;
		ha_set_fence(node, 0, "the server is down: whatever is left of it must not acknowledge writes");
	}
	else if (node->settings.is_paused)
		pause_fence(node);
	else if (node->has_postgres && node->postgres.server == HA_SERVER_STARTING &&
			 node->settings.sync_mode != SYNC_PLAN_OFF)
		ha_set_fence(node, 0, "the server is starting: synchronous replication is prepared first");
	else if (node->has_lease && ha_failsafe_bound_ms(node) != 0)
		ha_set_fence(node, 0, "this member has promised not to lead");
	else if (node->has_lease && (!ha_sees_lease(node) || ha_is_outdated(node)) &&
			 !(node->is_fence_set && node->fence_ms == HA_DEADLINE_NEVER))
	{
		/* it is opened, or prolonged, when the store has been read; a shorter lease counts at once */
		if (node->is_fence_set && ha_deadline_ms(node) < node->fence_ms)
			ha_set_fence(node, ha_deadline_ms(node), "the leader lease got shorter");
	}
	else if (node->has_lease && node->settings.sync_mode != SYNC_PLAN_OFF && !node->sync.is_open &&
			 !ha_is_pending(node, FOR_RELEASE))
		ha_set_fence(node, 0, "synchronous replication is not prepared yet");
	else if (node->has_lease && !ha_is_pending(node, FOR_RELEASE))
	{
		ha_set_fence(node, ha_deadline_ms(node),
					 ha_deadline_ms(node) > lease_deadline_ms(node) ?
					 "all members agree that this one goes on leading" : "the leader lease was renewed");
		if (!ha_lease_is_over(node))
			ha_wake(node, ha_deadline_ms(node));
	}
	else if (!node->has_lease && ha_failsafe_holds(node))
	{
		/* the store has lost the lease, which is taken anew; nobody else leads meanwhile */
		if (ha_is_primary(node) && !ha_is_outdated(node) && !node->is_giving_away &&
			(node->settings.sync_mode == SYNC_PLAN_OFF || node->sync.is_open))
			ha_set_fence(node, ha_deadline_ms(node), "all members agree that this one goes on leading");
		ha_wake(node, ha_deadline_ms(node));
	}
	else if (!node->has_lease &&
			 ((!is_unsure && node->view.is_loaded) ||
			  (node->is_fence_set && node->fence_ms == HA_DEADLINE_NEVER)))
		ha_set_fence(node, 0, "this member does not hold the leader lease");

	/*
	 * Else nothing is known yet: a deadline that the other home has left is still
	 * right, and ends by itself.
	 */
}

/*
 * Give the leader key away: the fence first, then the last position (0 =
 * unknown), then the key.
 */
void
ha_release(HaNode *node, Lsn lsn, const char *rule, const char *because)
{
	if (!node->settings.is_paused)
		ha_set_fence(node, 0, because);

	/*
	 * From here on the key may be gone at any moment, whatever the reply says:
	 * the lease is ours again only if the store confirms it anew.
	 */
	node->has_lease = false;
	node->is_giving_away = true;
	ha_failsafe_end(node);
	if (!ha_is_ready(node, FOR_RELEASE))
		return;
	if (lsn != 0 && ha_is_ready(node, FOR_STATUS))
	{
		ClusterStatus status = node->view.status;
		HaAction   *action = ha_request(node, FOR_STATUS, ha_put_kind(node->view.status_seen), rule,
										"the last WAL position before the lease is released");

		action->version = node->view.status_seen;
		status.exists = true;
		status.optime = lsn;
		ha_name_copy(action->key, sizeof(action->key), "status");
		ha_set_text(node, action, status_to_text(&status));
		node->status_sent = lsn;
	}
	ha_name_copy(ha_request(node, FOR_RELEASE, HA_RELEASE, rule, because)->value,
				 CLUSTER_NAME_MAX, node->settings.name);
}
