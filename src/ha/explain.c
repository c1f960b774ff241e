/*-------------------------------------------------------------------------
 *
 * explain.c
 *      Could each member become the primary now, and why (not)?
 *
 * Answered from the cluster view alone, without asking anyone, so that it
 * also works at 3 am with half of the members gone.
 *-------------------------------------------------------------------------
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ha/internal.h"
#include "cluster/ascii.h"

typedef struct Rows
{
	HaExplanation *rows;
	int			count;
	int			max;
	int			first;			/* of the member at hand */
	const char *member;
} Rows;

static void
say(Rows *rows, bool is_for, const char *format,...) PRINTF_LIKE(3, 4);

static void
say(Rows *rows, bool is_for, const char *format,...)
{
	HaExplanation *row;
	va_list		args;

	if (rows->count >= rows->max)
		return;
	row = &rows->rows[rows->count++];
	memset(row, 0, sizeof(*row));
	ha_name_copy(row->member, sizeof(row->member), rows->member);
	row->is_for = is_for;
	va_start(args, format);
	vsnprintf(row->reason, sizeof(row->reason), format, args);
	va_end(args);
}

/* failsafe_mode: who has agreed to what, as far as this node knows. */
static void
explain_failsafe(const HaNode *node, const Member *member, int64_t now_ms, Rows *rows)
{
	bool		is_self = strcmp(member->name, node->settings.name) == 0;
	bool		is_listed = false;
	int64_t		bound_ms = ha_failsafe_bound_ms(node);

	for (int i = 0; ha_failsafe_listed(node, i) != NULL; i++)
		is_listed = is_listed || strcmp(ha_failsafe_listed(node, i)->name, member->name) == 0;
	if (ha_failsafe_listed(node, 0) != NULL && !is_listed)
		say(rows, false, "is not in the failsafe key: a leader without the store would not ask it");
	if (!is_self)
		return;
	if (ha_failsafe_holds(node))
		say(rows, true, "all members agree that it goes on leading for another %lld ms",
			(long long) (ha_failsafe_deadline_ms(node) - now_ms));
	else if (ha_failsafe_refusal(node)[0] != '\0')
		say(rows, false, "cannot go on leading without the store: %s", ha_failsafe_refusal(node));
	if (bound_ms != 0 && ha_failsafe_promised_to(node)[0] != '\0')
		say(rows, false, "has promised not to lead for another %lld ms: \"%.100s\" goes on without the store",
			(long long) (bound_ms - now_ms), ha_failsafe_promised_to(node));
	else if (bound_ms != 0)
		say(rows, false, "may have promised not to lead before its host was started: it waits for another %lld ms",
			(long long) (bound_ms - now_ms));
}

static void
explain_member(const HaNode *node, const Member *member, int64_t now_ms, Rows *rows)
{
	const ClusterView *view = &node->view;
	bool		is_self = strcmp(member->name, node->settings.name) == 0;
	uint32_t	newest = cluster_timeline(view);
	Lsn			lag = view->status.optime > member->xlog_location ?
		view->status.optime - member->xlog_location : 0;

	if (cluster_is_leader(view, member->name))
	{
		say(rows, true, "holds the leader lease");
		if (is_self && node->has_lease && !node->settings.is_paused)
			say(rows, true, "its lease runs for another %lld ms",
				(long long) (ha_deadline_ms(node) - now_ms));
	}
	else if (view->has_leader)
		say(rows, true, "could take over from \"%.100s\" if asked to, or when its lease ends",
			view->leader);
	if (member->tags.nofailover)
		say(rows, false, "is tagged nofailover");
	if (member->state != MEMBER_RUNNING)
		say(rows, false, "its state is \"%s\"", member_state_name(member->state));
	if (member->api_url[0] == '\0')
		say(rows, false, "publishes no api_url, so nobody can ask it");
	if (ha_sync_is_active(node) && !cluster_is_leader(view, member->name))
	{
		if (ha_sync_names_member(node, member->name))
			say(rows, true, node->settings.sync_mode == SYNC_PLAN_QUORUM ?
				"is one of the synchronous standbys of which a quorum has every acknowledged write" :
				"is a synchronous standby: it has every acknowledged write");
		else
			say(rows, false, "is not synchronous: it may lack acknowledged writes");
	}
	if (!cluster_is_leader(view, member->name))
	{
		if (member->xlog_location == 0)
			say(rows, false, "publishes no WAL position");
		else if ((int64_t) lag > node->settings.maximum_lag_on_failover)
			say(rows, false, "lags by %llu bytes, more than maximum_lag_on_failover (%lld)",
				(unsigned long long) lag, (long long) node->settings.maximum_lag_on_failover);
		else
			say(rows, true, "lags by %llu bytes", (unsigned long long) lag);
		if (member->timeline != 0 && member->timeline < newest)
			say(rows, false, "is on timeline %u, the cluster is on %u", member->timeline, newest);
		if (member->replication_state[0] != '\0')
			say(rows, true, "%s", member->replication_state);
		if (view->has_leader == false && node->settings.is_paused)
			say(rows, false, "there is no automatic failover while the cluster is paused");
	}
	if (is_self && node->has_postgres && node->postgres.hang[0] != '\0')
		say(rows, false, "hangs: %s", node->postgres.hang);
	else if (!is_self && member->hang[0] != '\0')
		say(rows, false, "hangs: %s", member->hang);
	if (member->gives_way)
		say(rows, false, "gives way to others, as it could not mark timeline ids as taken in its data directory");
	if (is_self && !ha_is_primary(node))
	{
		int			missing = ha_missing_slots(&node->settings, &node->postgres);

		/* it is preferred to none that has more WAL for it */
		if (missing > 0)
			say(rows, true, "lacks %d logical slots: where others have as much WAL they are preferred",
				missing);
	}
	if (is_self && node->store_silent)
		say(rows, ha_failsafe_holds(node), "cannot reach the store");
	explain_failsafe(node, member, now_ms, rows);
}

static void
explain_named(const HaNode *node, const char *name, Rows *rows)
{
	for (int i = 0; i < node->view.n_members; i++)
		if (ascii_is_same(node->view.members[i].name, name))
			return;
	rows->member = name;
	say(rows, false, "is not running, but the sync key names it: it may have acknowledged writes that others lack");
}

/*
 * Who may lead by the sync key, but is not in the store: when nobody leads,
 * these have to be brought back, or an operator names another member.
 */
static void
explain_missing(const HaNode *node, Rows *rows)
{
	const SyncState *sync = &node->view.sync;
	const char *list = sync->sync_standby;
	const char *standby;
	size_t		length;
	char		name[CLUSTER_NAME_MAX];

	explain_named(node, sync->leader, rows);
	while (sync_next_standby(&list, &standby, &length))
	{
		snprintf(name, sizeof(name), "%.*s", (int) length, standby);
		explain_named(node, name, rows);
	}
}

/* Fills up to "max" rows, returns how many. */
int
ha_explain(const HaNode *node, int64_t now_ms, HaExplanation *explanations, int max)
{
	Rows		rows = {explanations, 0, max, 0, NULL};

	for (int i = 0; i < node->view.n_members; i++)
	{
		bool		is_eligible = true;

		rows.first = rows.count;
		rows.member = node->view.members[i].name;
		explain_member(node, &node->view.members[i], now_ms, &rows);
		for (int k = rows.first; k < rows.count; k++)
			is_eligible = is_eligible && explanations[k].is_for;
		for (int k = rows.first; k < rows.count; k++)
			explanations[k].is_eligible = is_eligible;
	}
	if (ha_sync_is_active(node))
		explain_missing(node, &rows);
	return rows.count;
}
