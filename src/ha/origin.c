/*-------------------------------------------------------------------------
 *
 * origin.c
 *      Where the WAL of this member comes from, beside ids and positions.
 *
 * Two servers promoted by hand can be on the same timeline id with different
 * WAL, and then neither streaming nor pg_rewind finds that out.  What members
 * claimed and did is asked here before either is relied upon.
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "ha/internal.h"

/* Who else claimed this id?  NULL: nobody, or it was a promotion in nobody's name. */
const char *
ha_other_claimant(const ClusterView *view, const char *name, uint32_t timeline)
{
	for (int i = 0; i < view->n_taken; i++)
		if (view->taken[i].timeline == timeline && view->taken[i].name[0] != '\0' &&
			strcmp(view->taken[i].name, name) != 0)
			return view->taken[i].name;
	return NULL;
}

/* Has that member claimed a newer timeline?  Its key may be from before. */
static bool
has_claimed_after(const ClusterView *view, const char *name, uint32_t timeline)
{
	for (int i = 0; i < view->n_taken; i++)
		if (view->taken[i].timeline > timeline && strcmp(view->taken[i].name, name) == 0)
			return true;
	return false;
}

/*
 * Is the leader a primary on this standby's timeline, the id of which somebody
 * else had claimed, while this standby is not set to follow it?  Then the
 * leader was promoted to it by hand, and this standby has it from the other
 * one.  Where both promotions began at the same position, no ids and no
 * positions tell their WAL apart.
 */
bool
ha_source_differs(const HaNode *node)
{
	const ClusterView *view = &node->view;
	const HaPostgres *postgres = &node->postgres;
	const Member *leader = ha_leader_member(node);
	const Member *upstream = ha_upstream(node);
	char		host[256];
	int			port;

	if (!view->is_loaded || leader == NULL || upstream == NULL || ha_is_primary(node) ||
		leader->role != ROLE_PRIMARY || leader->timeline < 2)
		return false;
	/* early in its recovery a server shows the checkpoint's, which it may have left */
	if (leader->timeline != ha_own_timeline(node) && leader->timeline != postgres->newest_timeline)
		return false;
	return ha_other_claimant(view, leader->name, leader->timeline) != NULL &&
		!has_claimed_after(view, leader->name, leader->timeline) &&
		member_host_port(upstream, host, &port) &&
		(strcmp(host, postgres->upstream_host) != 0 || port != postgres->upstream_port);
}

/*
 * Did this member come to its timeline another way than the cluster?  So it is
 * with a standby of a server that a person promoted while nobody could hear of
 * it: the leader may have got the same id, and the server looks at nothing but
 * that and the position.  What was compared already is not asked again.
 */
bool
ha_history_differs(const HaNode *node)
{
	const ClusterView *view = &node->view;
	const HaPostgres *postgres = &node->postgres;

	if (!node->has_postgres || ha_is_primary(node) || (node->is_checked && !node->is_diverged))
		return false;
	if (ha_source_differs(node))
		return true;
	for (int i = 0; i < postgres->n_history; i++)
		for (int j = 0; j < view->n_history; j++)
			if (postgres->history[i].timeline == view->history[j].timeline &&
				postgres->history[i].switch_lsn != view->history[j].switch_lsn)
				return true;
	return false;
}

/*
 * The timeline on which a primary wrote WAL here that was not compared; 0 none.
 * The checkpoint of one that crashed may be from before its promotion.
 */
static uint32_t
was_primary_on(const HaNode *node)
{
	if (!ha_is_running(node) && ha_was_primary(node))
		return node->postgres.control_state == HA_CONTROL_SHUTDOWNED ?
			node->postgres.checkpoint_timeline : 0;
	if (!node->is_uncompared)
		return 0;
	/* it has followed nobody since: what it has replayed is what it wrote */
	return ha_is_running(node) && ha_own_timeline(node) > node->primary_timeline ?
		ha_own_timeline(node) : node->primary_timeline;
}

/*
 * Did a primary here make that timeline, or write on it, and was not compared
 * since?  A person may promote a member twice before it meets a leader: then
 * it has made all of its timelines from the first one on.
 */
static bool
has_made(const HaNode *node, uint32_t timeline)
{
	const HaPostgres *postgres = &node->postgres;
	uint32_t	own = was_primary_on(node);

	if (own == 0 || timeline == own)
		return own != 0;
	for (int i = 0; i < postgres->n_history; i++)
		if (postgres->history[i].timeline == timeline)
			return node->primary_from != 0 && timeline >= node->primary_from && timeline < own;
	return false;
}

/*
 * Has this member led on that timeline?  The history that a leader writes names
 * it, and so does its claim; a promotion by hand leaves neither.
 */
static bool
has_led_on(const HaNode *node, uint32_t timeline)
{
	const ClusterView *view = &node->view;
	const TimelineHistory *began = NULL;

	for (int i = 0; i < view->n_history; i++)
		if (view->history[i].timeline < timeline)
			began = &view->history[i];
	for (int i = 0; i < view->n_taken; i++)
		if (view->taken[i].timeline == timeline &&
			strcmp(view->taken[i].name, node->settings.name) == 0)
			return true;
	return began == NULL || strcmp(began->new_leader, node->settings.name) == 0;
}

/*
 * Has this former primary, or primary, WAL on an id that another member had
 * claimed?  Then a person promoted it.  "lsn" is where that began.  What a
 * standby has recovered to, or has from others, is not its own doing.
 */
bool
ha_has_doubled(const HaNode *node, const TakenTimeline *taken, Lsn *lsn)
{
	const HaPostgres *postgres = &node->postgres;
	uint32_t	own = was_primary_on(node);
	bool		is_made = false;

	if (ha_is_primary(node))
		own = ha_own_timeline(node);
	else if (node->is_uncompared)
		own = node->is_source_unsure ? 0 : node->primary_timeline;
	if (own == 0 || taken->name[0] == '\0' || strcmp(taken->name, node->settings.name) == 0)
		return false;
	for (int i = 0; i < postgres->n_history; i++)
	{
		const TimelineHistory *past = &postgres->history[i];

		if (past->timeline == taken->timeline && node->primary_from != 0)
			is_made = taken->timeline >= node->primary_from && taken->timeline < own;
		if (past->timeline == taken->parent)
			*lsn = past->switch_lsn;
	}
	return *lsn != 0 && (is_made || taken->timeline == own);
}

/*
 * Who has other WAL on an id that this member claimed, from the very position
 * where its own begins?  A leader may have it from that one; NULL: nobody, as
 * far as is known.
 */
static const char *
double_of(const HaNode *node, const TakenTimeline *taken)
{
	const HaPostgres *postgres = &node->postgres;

	if (taken->also[0] == '\0' || strcmp(taken->name, node->settings.name) != 0 ||
		strcmp(taken->also, node->settings.name) == 0)
		return NULL;
	for (int i = 0; i < postgres->n_history; i++)
		if (postgres->history[i].timeline == taken->parent &&
			postgres->history[i].switch_lsn == taken->also_lsn)
			return taken->also;
	return NULL;
}

/* Who else was promoted to an id, by its own claim or by that of this member; or NULL. */
static const char *
other_promoted(const HaNode *node, const TakenTimeline *taken)
{
	const char *other = ha_other_claimant(&node->view, node->settings.name, taken->timeline);

	return other != NULL ? other : double_of(node, taken);
}

/*
 * Nothing was found by comparing ids and positions.  But two primaries on one
 * timeline were promoted to it both, one of them by hand when nobody could
 * hear of it; and the WAL that they wrote there differs, whatever its length.
 * "other" is who else was promoted to it.  So it is, too, when the leader went
 * further on that timeline than "end", where this standby is or the former
 * primary was shut down (0 = unknown): it was its own, and there cannot be
 * more of it than its primary wrote; nor as much, if this one never led on it,
 * so that nobody was to follow it.  False:
 * that is not known yet, the leader's key or the history is from before its
 * promotion.
 */
bool
ha_is_leader_newer(const HaNode *node, Lsn end, const char **other)
{
	const ClusterView *view = &node->view;
	const Member *leader = cluster_find_member(view, node->task_member);
	uint32_t	own = was_primary_on(node);

	if (ha_source_differs(node))
	{
		*other = view->leader;
		return true;
	}
	if (own == 0)
		return true;
	for (int i = 0; i < view->n_taken && *other == NULL; i++)
		if (has_made(node, view->taken[i].timeline))
			*other = other_promoted(node, &view->taken[i]);
	if (leader != NULL && leader->timeline == own && leader->role == ROLE_PRIMARY && *other == NULL &&
		!has_claimed_after(view, leader->name, own))
		*other = leader->name;
	if (*other != NULL)
		return true;
	if (leader == NULL || leader->timeline <= own)
		return false;
	if (end != 0 && (cluster_left_at(view, own) > end || (cluster_left_at(view, own) == end && !has_led_on(node, own))))
		*other = leader->name;
	return *other != NULL || end == 0 || cluster_timeline(view) > own;
}

/* The newest timeline that the store tells of, as the leader's or as claimed; 0: of none. */
uint32_t
ha_recorded_timeline(const ClusterView *view)
{
	uint32_t	led = cluster_timeline(view);
	uint32_t	claimed = view->n_taken > 0 ? view->taken[view->n_taken - 1].timeline : 0;

	return claimed > led ? claimed : led;
}

/*
 * Is the timeline on which a primary wrote here in the store?  If not, it was
 * promoted by hand, and its record of that is still on its way, see
 * ha_record_timeline(): what is known of the store may be from before, and who
 * else has taken that id may not be known.
 */
bool
ha_is_recorded(const HaNode *node)
{
	uint32_t	own = was_primary_on(node);

	return own < 2 || own <= ha_recorded_timeline(&node->view);
}

/* Is or was the leader on that timeline, as far as the store says? */
static bool
leader_was_on(const ClusterView *view, uint32_t timeline)
{
	const Member *leader = cluster_find_member(view, view->leader);

	return (leader != NULL && leader->timeline == timeline) || cluster_left_at(view, timeline) != 0;
}

/*
 * Did this member come to that timeline, or through it, from where the other
 * promotion began?  A claim may name a position a little after the end of the
 * last record; where the promotion really began is in the leader's history.
 */
static bool
begins_alike(const HaNode *node, const TakenTimeline *taken)
{
	const HaPostgres *postgres = &node->postgres;
	const ClusterView *view = &node->view;

	for (int i = 0; i < postgres->n_history; i++)
		if (postgres->history[i].timeline == taken->parent)
			return postgres->history[i].switch_lsn == taken->lsn ||
				(leader_was_on(view, taken->timeline) &&
				 postgres->history[i].switch_lsn == cluster_left_at(view, taken->parent));
	return false;
}

/*
 * pg_rewind, too, goes by ids and positions.  Of WAL that was found to be
 * different it finds no difference, or one too late, where another member was
 * promoted to a timeline that this former primary made, and from the same
 * position.  Who that was is said by its claim, or by what it adds to the claim
 * of this member; if a person promoted it, and this member never led on that
 * timeline, it is the leader that was on it.
 */
bool
ha_fools_rewind(const HaNode *node, const char **other)
{
	const ClusterView *view = &node->view;

	if (ha_source_differs(node))
		*other = view->leader;
	for (int i = 0; i < view->n_taken && *other == NULL; i++)
	{
		const TakenTimeline *taken = &view->taken[i];

		if (!has_made(node, taken->timeline) || !begins_alike(node, taken))
			continue;
		*other = other_promoted(node, taken);
		if (*other == NULL && taken->name[0] == '\0' && leader_was_on(view, taken->timeline) &&
			!has_led_on(node, taken->timeline))
			*other = view->leader;
	}
	return *other != NULL;
}

/* Say why neither streaming nor pg_rewind will do: "other" was promoted to the same id. */
void
ha_tell_same_timeline(HaNode *node, const char *other)
{
	uint32_t	own = was_primary_on(node);
	const Member *member = cluster_find_member(&node->view, other);

	ha_log(node, 2, "same-timeline",
		   "%s and \"%s\" were both promoted to timeline %u, and their WAL differs: "
		   "this member has to be cloned anew",
		   own == 0 ? "another member" : "this member", other,
		   own == 0 && member != NULL ? member->timeline : own);
}
