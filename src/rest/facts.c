/*-------------------------------------------------------------------------
 *
 * facts.c
 *      What is true of this node at the moment a request is answered.
 *
 * Invariants:
 *  (1) Nobody hears "primary" unless the fence in the lease page is open now,
 *      whatever the status says that was asked for a moment ago.
 *  (2) A server out of recovery is never shown as a replica that may be read,
 *      also when its fence is closed: it is shown with role "replica", as its
 *      peers expect of a node that lost the lease, but gets no 200.
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "rest/rest_internal.h"
#include "cluster/ascii.h"

/*
 * The view, unless it is older than ttl: a cluster that we have not heard of
 * for so long may look quite different (patroni/dcs/__init__.py,
 * AbstractDCS.cluster).
 */
static const ClusterView *
believable_view(const RestStatus *status, int64_t wall_ms)
{
	if (status->view == NULL || !status->view->is_loaded || status->settings == NULL)
		return NULL;
	if (status->store_is_reachable ||
	    wall_ms - status->store_last_seen_ms <= status->settings->ttl_ms)
		return status->view;
	return NULL;
}

static void
find_sync_facts(RestFacts *facts)
{
	const Settings *settings = facts->status->settings;

	if (facts->view == NULL || !facts->is_replica ||
	    settings->synchronous_mode == SYNC_MODE_OFF ||
	    !sync_names_standby(&facts->view->sync, settings->name))
		return;
	facts->is_quorum_standby = settings->synchronous_mode == SYNC_MODE_QUORUM;
	facts->is_sync_standby = !facts->is_quorum_standby;
}

/*
 * Is this node the leader now?  The page knows, without asking anyone.  In
 * pause the fence is always open, so there the leader key must be ours too.
 */
static bool
find_leader(const RestFacts *facts)
{
	const RestStatus *status = facts->status;
	bool has_key = status->has_lease || (facts->view != NULL && status->settings != NULL &&
	                                     cluster_is_leader(facts->view, status->settings->name));

	if (!facts->is_fence_open)
		return false;
	if (facts->is_standby_cluster)
		return has_key;
	if (__atomic_load_n((const uint32_t *) &status->page->is_primary, __ATOMIC_ACQUIRE) == 0)
		return false;
	return !status->is_paused || has_key;
}

/*
 * Nobody leads, and this standby will not, whatever its position, being on an
 * older timeline than others.  Patroni's members compare positions alone: they
 * would wait for it for ever when it has more WAL than they have, be it of a
 * branch that was left behind.
 */
static bool
is_outranked(const RestFacts *facts)
{
	const Settings *settings = facts->status->settings;

	return facts->is_replica && facts->view != NULL && !facts->view->has_leader &&
	       settings != NULL &&
	       ha_is_outranked(facts->view, settings->name, facts->status->postgres,
	                       settings->maximum_lag_on_failover);
}

static MemberRole
shown_role(const RestFacts *facts)
{
	MemberRole role = facts->status->role;

	if (facts->is_running && facts->is_replica)
		return facts->is_standby_cluster && role == ROLE_STANDBY_LEADER ? ROLE_STANDBY_LEADER
		                                                                : ROLE_REPLICA;
	if (facts->is_running)
		return facts->is_primary ? ROLE_PRIMARY : ROLE_REPLICA;
	if ((role == ROLE_PRIMARY || role == ROLE_PROMOTED) && !facts->is_fence_open)
		return ROLE_REPLICA;
	return role;
}

/* As in Patroni, is_standby_cluster(): any of the three makes it one. */
static bool
has_standby_cluster(const json_t *document)
{
	static const char *const keys[] = {"host", "port", "restore_command"};
	const json_t *section = json_object_get(document, "standby_cluster");

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
	{
		const json_t *value = json_object_get(section, keys[i]);

		if (json_string_length(value) > 0 || json_integer_value(value) != 0)
			return true;
	}
	return false;
}

/*
 * Find out what is true now.  A server whose worker does not answer counts as
 * one whose query failed: its state is "unknown" and nothing is said of its
 * WAL.
 */
void
rest_facts(RestFacts *facts, const RestStatus *status, int64_t now_ms, int64_t wall_ms)
{
	const HaPostgres *postgres = status->postgres;
	bool outranked;

	memset(facts, 0, sizeof(*facts));
	facts->status = status;
	facts->now_ms = now_ms;
	facts->wall_ms = wall_ms;
	facts->view = believable_view(status, wall_ms);
	facts->is_standby_cluster =
		status->settings != NULL && has_standby_cluster(status->settings->document);
	facts->is_fence_open = status->page != NULL && lease_page_is_open(status->page);
	facts->is_running =
	    status->is_fresh && postgres != NULL && postgres->server == HA_SERVER_RUNNING;
	facts->is_leader = find_leader(facts);
	facts->is_replica = facts->is_running && postgres->is_in_recovery;
	facts->is_primary = facts->is_running && !postgres->is_in_recovery && facts->is_fence_open;
	outranked = is_outranked(facts);
	facts->can_lead = status->can_lead && !outranked;
	/* its vote counts in a quorum, whoever leads */
	facts->hides_wal = outranked &&
		(status->settings == NULL || status->settings->synchronous_mode != SYNC_MODE_QUORUM);
	facts->role = shown_role(facts);
	facts->state = status->state == MEMBER_RUNNING && !facts->is_running ? MEMBER_STATE_UNKNOWN
	                                                                     : status->state;
	facts->replication_state = "";
	if (facts->is_replica && postgres->is_streaming)
		facts->replication_state = "streaming";
	else if (facts->is_replica && postgres->has_restore_command)
		facts->replication_state = "in archive recovery";
	find_sync_facts(facts);
}
