/*-------------------------------------------------------------------------
 *
 * state.c
 *      Gathers the facts that the tables decide by, from what was observed.
 *
 * Nothing here acts; asking for a wake-up is all it may do.
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "ha/internal.h"

/* Is there a server that takes connections? */
bool
ha_is_running(const HaNode *node)
{
	return node->has_postgres && node->postgres.server == HA_SERVER_RUNNING;
}

/* Is it a primary, as far as it says itself? */
bool
ha_is_primary(const HaNode *node)
{
	return ha_is_running(node) && !node->postgres.is_in_recovery;
}

/* Is the data directory that of a primary? */
bool
ha_was_primary(const HaNode *node)
{
	const HaPostgres *postgres = &node->postgres;

	return postgres->data == HA_DATA_PRESENT && !postgres->is_standby_configured &&
		postgres->control_state != HA_CONTROL_SHUTDOWNED_IN_RECOVERY &&
		postgres->control_state != HA_CONTROL_IN_ARCHIVE_RECOVERY;
}

/* Our WAL position: what a standby has safely received or replayed. */
Lsn
ha_own_position(const HaNode *node)
{
	const HaPostgres *postgres = &node->postgres;

	if (ha_is_primary(node))
		return postgres->flush_lsn;
	return postgres->received_lsn > postgres->replayed_lsn ?
		postgres->received_lsn : postgres->replayed_lsn;
}

/* Our timeline; 0 = unknown. */
uint32_t
ha_own_timeline(const HaNode *node)
{
	return node->postgres.timeline;
}

/* The member that leads, when it is not us and its key is there; or NULL. */
const Member *
ha_leader_member(const HaNode *node)
{
	if (!node->view.has_leader || strcmp(node->view.leader, node->settings.name) == 0)
		return NULL;
	return cluster_find_member(&node->view, node->view.leader);
}

/* Whom a standby streams from: replicatefrom if it is there, else the leader. */
const Member *
ha_upstream(const HaNode *node)
{
	const char *wanted = node->settings.tags.replicatefrom;
	const Member *member = NULL;

	if (node->settings.tags.nostream)
		return NULL;
	if (wanted[0] != '\0' && strcmp(wanted, node->settings.name) != 0)
		member = cluster_find_member(&node->view, wanted);
	if (member == NULL || member->conn_url[0] == '\0' || member->state != MEMBER_RUNNING)
		member = ha_leader_member(node);
	return member != NULL && member->conn_url[0] != '\0' ? member : NULL;
}

/* Whom to clone: a running member tagged clonefrom, else the leader. */
const Member *
ha_clone_source(const HaNode *node)
{
	const Member *leader = ha_leader_member(node);

	for (int i = 0; i < node->view.n_members && !node->goal_from_leader; i++)
	{
		const Member *member = &node->view.members[i];

		if (member->tags.clonefrom && member != leader && member->state == MEMBER_RUNNING &&
			member->conn_url[0] != '\0' && strcmp(member->name, node->settings.name) != 0 &&
			node->task_failures % 2 == 0)	/* every second try goes to the leader */
			return member;
	}
	return leader != NULL && leader->conn_url[0] != '\0' ? leader : NULL;
}

/* Has the time of a scheduled request come? */
bool
ha_request_is_due(const HaNode *node)
{
	const FailoverRequest *request = &node->view.failover;

	if (!request->is_scheduled || request->schedule_is_bad)
		return true;
	return !node->settings.is_paused && node->wall_ms >= request->scheduled_at_ms;
}

/*
 * Does the history of the cluster say that the leader's timeline left ours
 * before our WAL ends?  Then there is nothing to stream, and it is better not
 * to try: with the leader's history file, but without its WAL, the server would
 * replay our timeline beyond that place if it were restarted after a crash of
 * one of its processes.  A look at both timelines follows, and not at once again.
 */
static bool
is_beyond_leader(HaNode *node)
{
	const ClusterView *view = &node->view;
	uint32_t	own = ha_own_timeline(node);
	Lsn			left;

	if (!ha_is_running(node) || !node->postgres.is_in_recovery || !node->postgres.is_observed ||
		node->postgres.is_streaming || ha_leader_member(node) == NULL ||
		own == 0 || cluster_timeline(view) <= own)
		return false;
	left = cluster_left_at(view, own);
	if (left == 0 || ha_own_position(node) <= left)
		return false;
	ha_wake(node, node->repair_next_ms);
	return node->now_ms >= node->repair_next_ms;
}

/* Does the configured upstream match the wanted one? */
static bool
follows_right(HaNode *node)
{
	const Member *upstream = ha_upstream(node);
	char		host[256];
	int			port;
	char		slot[64] = "";

	if (upstream == NULL)
		return true;			/* nobody better to follow: leave it */
	if (is_beyond_leader(node))
		return true;			/* it is compared first */
	if (!member_host_port(upstream, host, &port))
		return true;
	if (node->settings.use_slots)
		member_slot_name(node->settings.name, slot);
	return strcmp(host, node->postgres.upstream_host) == 0 &&
		port == node->postgres.upstream_port &&
		strcmp(slot, node->postgres.upstream_slot) == 0;
}

/* Has the leader said that it is a primary? */
static bool
leader_is_primary(const HaNode *node)
{
	const Member *leader = ha_leader_member(node);

	return leader != NULL && leader->role == ROLE_PRIMARY;
}

/*
 * Is a promotion of the leader, expected since then (0 = never), still to be
 * seen?  It takes a moment only: nobody waits for it any longer.
 */
static bool
promotion_is_awaited(HaNode *node, int64_t since_ms)
{
	int64_t		until_ms = since_ms + HA_TAKER_WAIT_MS;

	if (since_ms == 0 || node->now_ms >= until_ms || leader_is_primary(node))
		return false;
	ha_wake(node, until_ms);
	return true;
}

/*
 * Is the leader to follow new, and still a standby itself?  Whoever streams from
 * it now begins at the start of a file of WAL, and does it again when the
 * promotion has ended the timeline; and it costs the server that is being
 * promoted, which all clients wait for.  So it is followed a moment later.
 */
static bool
leader_is_unpromoted(HaNode *node)
{
	return ha_upstream(node) == ha_leader_member(node) &&
		promotion_is_awaited(node, node->leader_since_ms);
}

/* Has a standby that should stream not done so for a while, or can it not? */
static bool
stream_is_lost(HaNode *node)
{
	int64_t		since_ms = node->stream_lost_ms;

	if (is_beyond_leader(node))
		return true;
	if (since_ms == 0 || !node->postgres.is_observed || ha_upstream(node) == NULL)
		return false;
	if (node->upstream_set_ms > since_ms)
		since_ms = node->upstream_set_ms;
	if (node->now_ms < since_ms + HA_STREAM_LOST_MS || node->now_ms < node->repair_next_ms)
	{
		ha_wake(node, since_ms + HA_STREAM_LOST_MS);
		ha_wake(node, node->repair_next_ms);
		return false;
	}
	return true;
}

/*
 * Is the cluster on a newer timeline?  Then it has had a leader whose writes
 * this member does not have, whatever its position is: check_timeline off does
 * not make that any better, so the engine does not ask.
 *
 * The history alone does not tell when ids were skipped.  For a primary, the
 * promotion of another member to a higher id is reason enough, even if it was
 * claimed only; and so is one to the same id, as this primary is a person's
 * promotion then that nobody had heard of.  An id in nobody's name is none: a
 * person made it.
 *
 * What was a primary on an id that another member had claimed differs from the
 * cluster on the same id; as a standby, too, until it has been compared.
 */
static bool
timeline_is_old(const HaNode *node)
{
	const ClusterView *view = &node->view;
	uint32_t	own = ha_own_timeline(node);

	if (own == 0)
		return false;
	if (cluster_timeline(view) > own)
		return true;
	for (int i = 0; i < view->n_taken && ha_is_primary(node); i++)
		if (view->taken[i].timeline >= own && view->taken[i].name[0] != '\0' &&
			strcmp(view->taken[i].name, node->settings.name) != 0)
			return true;
	return node->is_uncompared && !node->is_source_unsure && ha_is_running(node) &&
		!ha_is_primary(node) && ha_other_claimant(view, node->settings.name, own) != NULL;
}

/* Is the text this number, as printf() writes it?  Asked in each step. */
bool
ha_is_decimal(const char *text, uint64_t number)
{
	size_t		at = strlen(text);

	do
	{
		if (at == 0 || text[--at] != (char) ('0' + number % 10))
			return false;
		number /= 10;
	} while (number != 0);
	return at == 0;
}

/* Does a primary run here that must not write, because the cluster went on without it? */
bool
ha_is_outdated(const HaNode *node)
{
	return ha_is_primary(node) && timeline_is_old(node);
}

static HaFacts
store_facts(HaNode *node)
{
	const ClusterView *view = &node->view;
	const HaSettings *settings = &node->settings;
	HaFacts		facts = 0;
	const Member *leader = ha_leader_member(node);

	if (settings->is_paused)
		facts |= HA_FACT(PAUSED);
	if (settings->may_bootstrap)
		facts |= HA_FACT(MAY_BOOTSTRAP);
	if (node->store_silent || !view->is_loaded)
	{
		int64_t		grace_from_ms = node->silent_since_ms;

		facts |= HA_FACT(STORE_SILENT);
		if (ha_deadline_ms(node) > grace_from_ms)
			grace_from_ms = ha_deadline_ms(node);
		if (node->left_fence_ms > grace_from_ms)
			grace_from_ms = node->left_fence_ms;
		if (node->now_ms >= grace_from_ms + settings->retry_timeout_ms)
			facts |= HA_FACT(GRACE_OVER);
		else
			ha_wake(node, grace_from_ms + settings->retry_timeout_ms);
	}
	if (node->has_lease)
		facts |= HA_FACT(LEASE_MINE);
	else if (view->is_loaded && cluster_is_leader(view, settings->name))
		facts |= HA_FACT(LEASE_UNSURE);
	else if (view->is_loaded && view->has_leader)
		facts |= HA_FACT(LEASE_OTHER);
	else if (view->is_loaded)
		facts |= HA_FACT(LEASE_FREE);
	/* a primary whose last home died in an outage writes on until the fence ends that it left */
	if (ha_is_primary(node) && node->now_ms < node->left_fence_ms)
		ha_wake(node, node->left_fence_ms);
	else if (ha_lease_is_over(node))
		facts |= HA_FACT(LEASE_OVER);
	if (view->system_identifier[0] != '\0')
	{
		facts |= HA_FACT(INITIALIZED);
		if (node->has_postgres && node->postgres.system_identifier != 0 &&
			node->postgres.data == HA_DATA_PRESENT &&
			!ha_is_decimal(view->system_identifier, node->postgres.system_identifier))
			facts |= HA_FACT(FOREIGN);
	}
	else if (view->has_initialize && !node->is_bootstrapping)
		facts |= HA_FACT(INITIALIZE_TAKEN);
	if (node->is_bootstrapping)
		facts |= HA_FACT(BOOTSTRAPPING);
	if (timeline_is_old(node))
		facts |= HA_FACT(TIMELINE_OLD);
	if (ha_clone_source(node) != NULL)
		facts |= HA_FACT(CLONE_SOURCE);
	/* who got the lease may still be lost before it is promoted */
	if (leader == NULL || leader->has_checkpoint_pending ||
		(leader->role != ROLE_PRIMARY && leader->role != ROLE_STANDBY_LEADER))
		facts |= HA_FACT(LEADER_CHECKPOINT_PENDING);
	return facts;
}

static HaFacts
server_facts(HaNode *node)
{
	const HaPostgres *postgres = &node->postgres;
	HaFacts		facts = 0;

	if (!node->has_postgres || postgres->data == HA_DATA_UNKNOWN ||
		postgres->server == HA_SERVER_UNKNOWN)
		return HA_FACT(DATA_UNKNOWN);
	if (postgres->server == HA_SERVER_STOPPED && postgres->data == HA_DATA_EMPTY)
		facts |= HA_FACT(DATA_EMPTY);
	if (postgres->server == HA_SERVER_STOPPED && postgres->data == HA_DATA_UNREADABLE)
		facts |= HA_FACT(DATA_UNREADABLE);
	if (postgres->server == HA_SERVER_STOPPED)
		facts |= HA_FACT(STOPPED);
	if (postgres->server == HA_SERVER_STARTING)
		facts |= HA_FACT(STARTING);
	if (postgres->server == HA_SERVER_STOPPING)
		facts |= HA_FACT(STOPPING);
	if (ha_is_running(node))
		facts |= HA_FACT(RUNNING);
	if (postgres->is_observed)
		facts |= HA_FACT(OBSERVED);
	if (ha_is_primary(node))
		facts |= HA_FACT(PRIMARY);
	if (ha_was_primary(node))
		facts |= HA_FACT(WAS_PRIMARY);
	/*
	 * As a standby it stays what it was until it has been compared with a
	 * leader; who followed it is no better.
	 */
	if ((node->is_uncompared || ha_history_differs(node)) && ha_is_running(node) && !ha_is_primary(node))
		facts |= HA_FACT(WAS_PRIMARY);
	if (postgres->control_state == HA_CONTROL_SHUTDOWNED ||
		postgres->control_state == HA_CONTROL_SHUTDOWNED_IN_RECOVERY)
		facts |= HA_FACT(CLEAN);
	if (node->is_promoting)
		facts |= HA_FACT(PROMOTING);
	if (node->claimed_timeline != 0 && node->claimed_timeline > postgres->newest_timeline &&
		node->claimed_timeline > ha_own_timeline(node))
	{
		facts |= HA_FACT(TIMELINE_CLAIMED);
		/* it chooses the first id after its own that has no history file */
		if (node->claimed_timeline > postgres->newest_timeline + 1)
			facts |= HA_FACT(TIMELINES_UNMARKED);
	}
	if (ha_cannot_mark(node))
		facts |= HA_FACT(CANNOT_MARK);
	if (follows_right(node))
		facts |= HA_FACT(FOLLOWS);
	else if (leader_is_unpromoted(node))
		facts |= HA_FACT(LEADER_UNPROMOTED);
	if (stream_is_lost(node))
		facts |= HA_FACT(STREAM_LOST);
	if (postgres->is_replay_paused)
		facts |= HA_FACT(REPLAY_PAUSED);
	if (postgres->can_rewind && node->settings.use_pg_rewind)
		facts |= HA_FACT(CAN_REWIND);
	return facts;
}

static HaFacts
task_facts(HaNode *node)
{
	static const HaFacts goal_facts[HA_GOAL_COUNT] = {
		[HA_GOAL_SWITCHOVER] = HA_FACT(GOAL_SWITCHOVER),
		[HA_GOAL_RESTART] = HA_FACT(GOAL_RESTART),
		[HA_GOAL_DEMOTE] = HA_FACT(GOAL_DEMOTE),
		[HA_GOAL_REINIT] = HA_FACT(GOAL_REINIT),
		[HA_GOAL_REPAIR] = HA_FACT(GOAL_REPAIR),
		[HA_GOAL_SHUTDOWN] = HA_FACT(GOAL_SHUTDOWN),
		[HA_GOAL_REFUSE] = HA_FACT(GOAL_REFUSE),
	};
	const HaSettings *settings = &node->settings;
	bool		is_start = node->task == HA_TASK_START_PRIMARY || node->task == HA_TASK_START_STANDBY;
	HaFacts		facts = goal_facts[node->goal];

	/* a start is judged by the server it brings up, once there is one */
	if (node->task != HA_TASK_NONE && !(is_start && node->postgres.server == HA_SERVER_STARTING))
		facts |= HA_FACT(TASK);
	if (node->now_ms < node->task_retry_ms)
	{
		facts |= HA_FACT(TASK_PAUSE);
		ha_wake(node, node->task_retry_ms);
	}
	/* between two comparisons of a running server; the pause goes with the baton */
	if (node->goal == HA_GOAL_NONE && node->is_uncompared && ha_is_running(node) &&
		node->now_ms < node->repair_next_ms)
	{
		facts |= HA_FACT(TASK_PAUSE);
		ha_wake(node, node->repair_next_ms);
	}
	if (node->is_checked)
		facts |= HA_FACT(CHECKED);
	if (node->is_diverged)
		facts |= HA_FACT(DIVERGED);
	if (node->has_rewind_failed)
		facts |= HA_FACT(REWIND_FAILED);
	if (settings->remove_data_directory_on_diverged_timelines ||
		(node->has_rewind_failed && settings->remove_data_directory_on_rewind_failure))
		facts |= HA_FACT(MAY_REMOVE);
	if (node->is_wal_end_known)
		facts |= HA_FACT(WAL_END_KNOWN);
	/* of a primary: a standby that was begun late would be given up at once, again and again */
	if (node->down_since_ms != 0 &&
		!(node->postgres.server == HA_SERVER_STARTING && node->postgres.is_standby_configured))
	{
		int64_t		over_ms = node->down_since_ms + settings->primary_start_timeout_ms;

		if (node->now_ms >= over_ms)
			facts |= HA_FACT(START_TIMEOUT);
		else
			ha_wake(node, over_ms);
	}
	if (node->failed_task == HA_TASK_START_PRIMARY || node->failed_task == HA_TASK_START_STANDBY)
		facts |= HA_FACT(START_FAILED);
	if (ha_has_candidate(node))
		facts |= HA_FACT(CANDIDATE);
	return facts;
}

/*
 * Does the store know of WAL that we do not have, while a member that lives
 * (its key is there) has not told its position yet?  So it is when a whole
 * cluster is started: the first one up need not be the best.  The keys of
 * members that are really gone run out, so this ends within ttl.
 */
static bool
missed_writes(HaNode *node)
{
	const ClusterView *view = &node->view;

	if (view->status.optime <= ha_own_position(node) || node->leaderless_since_ms == 0 ||
		node->now_ms >= node->leaderless_since_ms + node->settings.ttl_ms)
		return false;
	for (int i = 0; i < view->n_members; i++)
	{
		const Member *member = &view->members[i];
		const HaPeer *peer = ha_race_answer(node, member->name);

		if (strcmp(member->name, node->settings.name) == 0 || member->api_url[0] == '\0' ||
			member->tags.nofailover)
			continue;
		if (member->timeline != 0 && member->timeline < ha_own_timeline(node))
			continue;			/* what it has more is of a branch that was left behind */
		if (peer == NULL || !peer->is_reachable || peer->position == 0)
		{
			ha_wake(node, node->leaderless_since_ms + node->settings.ttl_ms);
			return true;
		}
	}
	return false;
}

static HaFacts
race_facts(HaNode *node)
{
	const FailoverRequest *request = &node->view.failover;
	const HaSettings *settings = &node->settings;
	Lsn			position = ha_own_position(node);
	HaFacts		facts = 0;
	HaRacePurpose purpose = RACE_LEADER;
	char		better[CLUSTER_NAME_MAX];

	if (!ha_is_running(node) && (node->goal == HA_GOAL_SWITCHOVER || node->goal == HA_GOAL_SHUTDOWN ||
								 node->has_lease))
		purpose = RACE_HANDOVER;
	if (settings->tags.nofailover)
		facts |= HA_FACT(NO_FAILOVER);
	if (request->exists)
	{
		facts |= HA_FACT(REQUEST);
		if (ha_request_is_due(node))
		{
			const HaPeer *peer = ha_race_answer(node, request->candidate);
			int64_t		until_ms = node->patience_since_ms + settings->ttl_ms +
				settings->loop_wait_ms;

			facts |= HA_FACT(REQUEST_DUE);
			if (strcmp(request->candidate, settings->name) == 0)
				facts |= HA_FACT(REQUEST_FOR_ME);
			else if (request->candidate[0] != '\0' && peer != NULL && ha_peer_can_lead(peer) &&
					 node->now_ms < until_ms && !ha_gives_way(node, request->candidate) &&
					 (request->leader[0] == '\0' || !ha_sync_is_active(node) ||
					  (ha_sync_names_member(node, request->candidate) && ha_sync_may_let_lead(node, peer))))
				facts |= HA_FACT(REQUEST_FOR_OTHER);
		}
		else if (request->is_scheduled && !settings->is_paused)
			ha_wake(node, node->now_ms + (request->scheduled_at_ms - node->wall_ms));
	}
	/* a request for whoever can lead accepts its lag, one for another member not ours */
	if (node->view.status.optime > position &&
		!((facts & HA_FACT(REQUEST_DUE)) && request->candidate[0] == '\0') &&
		(int64_t) (node->view.status.optime - position) > settings->maximum_lag_on_failover)
		facts |= HA_FACT(LAGS);
	if (ha_race_is_asking(node, purpose))
		facts |= HA_FACT(ASKING);
	else if (ha_race_is_asked(node, purpose))
		facts |= HA_FACT(ASKED);
	if (facts & HA_FACT(ASKED))
	{
		if (ha_race_primary_alive(node))
			facts |= HA_FACT(PRIMARY_ALIVE);
		if (ha_race_most_wal(node, better))
			facts |= HA_FACT(MOST_WAL);
		if (purpose == RACE_LEADER && missed_writes(node))
			facts |= HA_FACT(MISSED_WRITES);
	}
	/* one answer is enough: nobody waits for others, who may be silent */
	if (purpose == RACE_HANDOVER && (facts & (HA_FACT(ASKED) | HA_FACT(ASKING))) && node->handover_lsn != 0 &&
		(node->goal != HA_GOAL_NONE || node->is_wal_end_known) &&
		ha_race_holder_of(node, node->handover_lsn,
						  node->goal == HA_GOAL_SWITCHOVER ? node->goal_candidate : NULL) != NULL)
		facts |= node->goal == HA_GOAL_NONE ? HA_FACT(LOSSLESS) : HA_FACT(HANDED_OVER);
	if (node->is_handed_over)
		facts |= HA_FACT(HANDED_OVER);
	if (node->is_handed_over && promotion_is_awaited(node, node->down_since_ms))
		facts |= HA_FACT(TAKER_UNPROMOTED);
	/* nobody takes writes meanwhile: not for longer than a failover would take */
	if ((node->goal == HA_GOAL_SWITCHOVER || node->goal == HA_GOAL_SHUTDOWN) &&
		node->down_since_ms != 0 &&
		node->now_ms >= node->down_since_ms +
		(settings->ttl_ms < HA_HANDOVER_WAIT_MS ? settings->ttl_ms : HA_HANDOVER_WAIT_MS))
		facts |= HA_FACT(HANDOVER_LATE);
	return facts;
}

/* Everything the tables can ask, as of now. */
HaFacts
ha_gather_facts(HaNode *node)
{
	return store_facts(node) | server_facts(node) | task_facts(node) | race_facts(node) |
		ha_sync_facts(node) | ha_failsafe_facts(node) | ha_hang_facts(node);
}
