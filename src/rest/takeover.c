/*-------------------------------------------------------------------------
 *
 * takeover.c
 *      Measures changes of the leader from what the store shows.
 *
 * Every member sees the same three moments, whichever of its homes drives:
 * the leader key goes, another name comes into it, and that member's own key
 * says "primary".  Before them an operator's request may have stood there.
 *
 * Invariants:
 *  (1) A leader that comes back is no takeover.
 *  (2) A taker that loses the lease again before it was promoted does not end
 *      the takeover: it goes on until somebody is a primary.
 *-------------------------------------------------------------------------
 */
#include "rest/takeover.h"

#include <string.h>

static void
begin_anew(Takeovers *takeovers, const char *leader)
{
	memset(takeovers->leader, 0, sizeof(takeovers->leader));
	memccpy(takeovers->leader, leader, '\0', sizeof(takeovers->leader) - 1);
	takeovers->taker[0] = '\0';
	takeovers->is_switchover = false;
	takeovers->asked_ms = takeovers->vacant_ms = takeovers->taken_ms = 0;
}

/* The old leader leads: does anybody want that to end? */
static void
look_at_request(Takeovers *takeovers, const FailoverRequest *request, int64_t now_ms,
                int64_t wall_ms)
{
	bool is_due = request->exists && !request->schedule_is_bad &&
	              (!request->is_scheduled || wall_ms >= request->scheduled_at_ms);

	if (!is_due)
		takeovers->asked_ms = 0;
	else if (takeovers->asked_ms == 0)
	{
		takeovers->asked_ms = now_ms;
		takeovers->is_switchover = request->leader[0] != '\0';
	}
}

static void
end(Takeovers *takeovers, int64_t now_ms)
{
	bool is_switchover = takeovers->asked_ms != 0 && takeovers->is_switchover;
	Takeover *last = is_switchover ? &takeovers->last_switchover : &takeovers->last_failover;

	last->exists = true;
	last->handover_ms =
	    takeovers->asked_ms == 0 ? -1 : takeovers->vacant_ms - takeovers->asked_ms;
	last->election_ms = takeovers->taken_ms - takeovers->vacant_ms;
	last->promotion_ms = now_ms - takeovers->taken_ms;
}

static bool
is_promoted(const ClusterView *view)
{
	const Member *leader = cluster_find_member(view, view->leader);

	return leader != NULL && (leader->role == ROLE_PRIMARY || leader->role == ROLE_STANDBY_LEADER);
}

/* Look at the cluster as it is now; call it whenever the view may have changed. */
void
takeovers_look(Takeovers *takeovers, const ClusterView *view, int64_t now_ms, int64_t wall_ms)
{
	if (view == NULL || !view->is_loaded)
		return;
	if (takeovers->leader[0] == '\0')
	{
		if (view->has_leader)
			begin_anew(takeovers, view->leader);
		return;
	}
	if (!view->has_leader)
	{
		if (takeovers->vacant_ms == 0)
			takeovers->vacant_ms = now_ms;
		takeovers->taken_ms = 0;
		return;
	}
	if (strcmp(view->leader, takeovers->leader) == 0)
	{
		if (takeovers->vacant_ms != 0)
			begin_anew(takeovers, view->leader);
		look_at_request(takeovers, &view->failover, now_ms, wall_ms);
		return;
	}
	if (takeovers->vacant_ms == 0)
		takeovers->vacant_ms = now_ms;
	if (takeovers->taken_ms == 0 || strcmp(view->leader, takeovers->taker) != 0)
	{
		takeovers->taken_ms = now_ms;
		memcpy(takeovers->taker, view->leader, sizeof(takeovers->taker));
	}
	if (is_promoted(view))
	{
		end(takeovers, now_ms);
		begin_anew(takeovers, view->leader);
	}
}
