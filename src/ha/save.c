/*-------------------------------------------------------------------------
 *
 * save.c
 *      The baton's content: what one home of the engine tells the other.
 *
 * A JSON object; unknown members are ignored and missing ones keep their
 * default, so that neighbouring releases can hand over to each other.
 * Requests under way are not handed over: their effects are observed.
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "ha/internal.h"

/* The state for the other home.  malloc'ed; NULL without memory. */
char *
ha_node_save(const HaNode *node)
{
	json_t	   *saved;
	const HaSync *sync = &node->sync;
	json_t	   *sync_state;
	json_t	   *failsafe_state;
	char	   *text;

	saved = json_pack("{s:i, s:b, s:I, s:I, s:I, s:i, s:I, s:s, s:s, s:s, s:b, s:I, s:b, s:I,"
					  " s:b, s:b, s:b, s:b, s:b, s:b, s:b, s:I, s:i, s:i, s:s, s:s, s:I, s:I, s:b, s:s, s:b, s:b, s:s, s:I, s:I, s:b, s:b, s:b, s:I, s:b, s:b, s:I, s:b, s:b, s:I}",
					  "protocol", HA_PROTOCOL,
					  "has_lease", node->has_lease,
					  "lease_sent_ms", (json_int_t) node->lease_sent_ms,
					  "lease_ttl_ms", (json_int_t) node->lease_ttl_ms,
					  "lease_version", (json_int_t) node->lease_version,
					  "goal", (int) node->goal,
					  "goal_since_ms", (json_int_t) node->goal_since_ms,
					  "goal_candidate", node->goal_candidate,
					  "goal_because", node->goal_because,
					  "successor", node->successor,
					  "goal_from_leader", node->goal_from_leader,
					  "handover_lsn", (json_int_t) node->handover_lsn,
					  "is_promoting", node->is_promoting,
					  "promote_ms", (json_int_t) node->promote_ms,
					  "is_bootstrapping", node->is_bootstrapping,
					  "is_post_bootstrapped", node->is_post_bootstrapped,
					  "is_checked", node->is_checked,
					  "is_diverged", node->is_diverged,
					  "has_rewind_failed", node->has_rewind_failed,
					  "needs_checkpoint", node->needs_checkpoint,
					  "is_request_running", node->is_request_running,
					  "repair_next_ms", (json_int_t) node->repair_next_ms,
					  "repair_failures", node->repair_failures,
					  "announced_role", (int) node->announced_role,
					  "handled_request", node->handled_request,
					  "member_text", node->member_text ? node->member_text : "",
					  "renewed_ms", (json_int_t) (node->has_renewed ? node->renewed_ms : 0),
					  "next_id", (json_int_t) node->next_id,
					  "is_giving_away", node->is_giving_away,
					  "request_problem", node->request_problem,
					  "has_bootstrap_failed", node->has_bootstrap_failed,
					  "fence_is_never", node->is_fence_set && node->fence_ms == HA_DEADLINE_NEVER,
					  "checked_with", node->checked_with,
					  "primary_timeline", (json_int_t) node->primary_timeline,
					  "primary_from", (json_int_t) node->primary_from,
					  "is_uncompared", node->is_uncompared,
					  "knows_past", node->knows_past,
					  "is_checked_running", node->is_checked_running,
					  "left_fence_ms", (json_int_t) node->left_fence_ms,
					  "was_down_paused", node->was_down_paused,
					  "is_overruled", node->is_overruled,
					  "seen_timeline", (json_int_t) node->seen_timeline,
					  "is_source_unsure", node->is_source_unsure,
					  "is_paused", node->settings.is_paused,
					  "config_version", (json_int_t) ha_pause_version(node));
	sync_state = json_pack("{s:b, s:b, s:b, s:I, s:s?, s:b, s:I, s:I, s:I, s:b, s:I, s:b, s:b, s:b}",
						   "is_open", sync->is_open,
						   "is_writing", sync->is_writing,
						   "is_deleting", sync->is_deleting,
						   "base_version", (json_int_t) sync->base_version,
						   "text", sync->text,
						   "is_setting", sync->is_setting,
						   "names_generation", (json_int_t) sync->names_generation,
						   "names_sent_ms", (json_int_t) sync->names_sent_ms,
						   "promoted_ms", (json_int_t) sync->promoted_ms,
						   "may_lead", sync->may_lead,
						   "raced_version", (json_int_t) sync->raced_version,
						   "is_forced", sync->is_forced,
						   "must_touch", sync->must_touch,
						   "is_stale", sync->is_stale);
	failsafe_state = ha_failsafe_save(node);
	if (saved != NULL && (failsafe_state == NULL || json_object_set_new(saved, "failsafe", failsafe_state) != 0))
	{
		json_decref(saved);
		json_decref(sync_state);
		return NULL;
	}
	if (saved != NULL)
		json_object_set_new(saved, "scheduled_restart", json_string(node->restart_text));
	if (saved == NULL || sync_state == NULL || json_object_set_new(saved, "sync", sync_state) != 0)
	{
		if (saved == NULL)
			json_decref(sync_state);
		json_decref(saved);
		return NULL;
	}
	text = json_dumps(saved, JSON_COMPACT);
	json_decref(saved);
	return text;
}

static bool
get_bool(const json_t *saved, const char *key)
{
	return json_is_true(json_object_get(saved, key));
}

static int64_t
get_int(const json_t *saved, const char *key)
{
	return json_integer_value(json_object_get(saved, key));
}

/* A time that cannot be later than now. */
static int64_t
get_past(const json_t *saved, const char *key, int64_t now_ms)
{
	int64_t		ms = get_int(saved, key);

	return ms < 0 ? 0 : ms > now_ms ? now_ms : ms;
}

static void
get_text(const json_t *saved, const char *key, char *text, size_t size)
{
	const char *value = json_string_value(json_object_get(saved, key));

	ha_name_copy(text, size, value ? value : "");
}

/*
 * Synchronous replication.  A write that was under way may still happen; of a
 * home that died, or of an older release, not even that is known.
 */
static void
load_sync(HaNode *node, const json_t *saved, int64_t now_ms)
{
	HaSync	   *sync = &node->sync;
	const char *text = json_string_value(json_object_get(saved, "text"));

	ha_sync_forget(node);
	if (!json_is_object(saved))
	{
		sync->must_touch = sync->is_stale = true;
		return;
	}
	sync->is_open = get_bool(saved, "is_open");
	sync->is_deleting = get_bool(saved, "is_deleting");
	sync->is_writing = get_bool(saved, "is_writing") && (sync->is_deleting || text != NULL);
	if (sync->is_writing)
	{
		sync->is_unsure = true;
		sync->base_version = (uint64_t) get_int(saved, "base_version");
		sync->text = text != NULL ? strdup(text) : NULL;
		sync->must_touch = !sync->is_deleting && sync->text == NULL;
		sync->is_writing = !sync->must_touch;
	}
	sync->is_setting = get_bool(saved, "is_setting");
	sync->names_generation = (uint32_t) get_int(saved, "names_generation");
	sync->names_sent_ms = get_past(saved, "names_sent_ms", now_ms);
	sync->promoted_ms = get_past(saved, "promoted_ms", now_ms);
	sync->may_lead = get_bool(saved, "may_lead");
	sync->raced_version = (uint64_t) get_int(saved, "raced_version");
	sync->is_forced = get_bool(saved, "is_forced");
	sync->must_touch = sync->must_touch || get_bool(saved, "must_touch");
	sync->is_stale = get_bool(saved, "is_stale");
}

/*
 * Go on from a saved state.  NULL or nonsense: from nothing, which is safe:
 * a lease that is still ours is confirmed by the store.
 *
 * What this home knew from an earlier time with the baton is forgotten, the
 * server's state and the cluster included: the host tells both anew.  Settings,
 * known peers and waiting commands stay.  Returns false if "saved" could not be used.
 */
bool
ha_node_load(HaNode *node, const char *saved_text, int64_t now_ms)
{
	json_t	   *saved = saved_text ? json_loads(saved_text, 0, NULL) : NULL;
	int64_t		goal;
	int64_t		role;
	const char *member_text;

	if (now_ms > node->now_ms)
		node->now_ms = now_ms;
	/* what we saw when we drove last is no base for decisions */
	ha_postgres_reset(&node->postgres);
	node->has_postgres = false;
	cluster_view_free(&node->view);
	cluster_view_init(&node->view);
	node->born_ms = now_ms;
	node->down_since_ms = node->stream_lost_ms = node->leaderless_since_ms = 0;
	node->leader_since_ms = 0;
	node->patience_version = 0;
	memset(node->pending, 0, sizeof(node->pending));
	memset(&node->race, 0, sizeof(node->race));
	node->has_lease = false;
	node->lease_version = 0;
	node->is_giving_away = false;
	node->acquired_id = node->released_id = 0;
	node->left_fence_ms = 0;
	node->was_down_paused = node->is_overruled = false;
	node->was_paused = false;
	node->was_paused_version = 0;
	node->is_fence_set = false;
	node->has_renewed = false;
	node->task = HA_TASK_NONE;
	node->task_retry_ms = 0;
	node->task_failures = 0;
	node->failed_task = HA_TASK_NONE;
	node->is_promoting = false;
	node->claimed_timeline = 0;
	node->checkpoint_asked_ms = 0;
	node->goal_from_leader = false;
	ha_restart_recall(node, json_string_value(json_object_get(saved, "scheduled_restart")));
	node->must_recall_restart = json_object_get(saved, "scheduled_restart") == NULL;
	node->successor[0] = '\0';
	node->is_checked = node->is_diverged = node->has_rewind_failed = false;
	node->is_checked_running = false;
	node->checked_with[0] = '\0';
	node->primary_timeline = node->primary_from = 0;
	node->is_uncompared = node->is_source_unsure = false;
	node->knows_past = false;
	node->is_wal_end_known = false;
	free(node->member_text);
	node->member_text = NULL;
	node->member_version = 0;
	node->unpublished_ms = node->moved_ms = node->status_moved_ms = 0;
	ha_clear_goal(node);
	load_sync(node, json_object_get(saved, "sync"), now_ms);
	ha_failsafe_load(node, json_object_get(saved, "failsafe"), now_ms);
	node->decision.rule = "taking-over";
	if (!json_is_object(saved))
	{
		json_decref(saved);
		return saved_text == NULL;
	}
	if (get_bool(saved, "fence_is_never"))
	{
		node->is_fence_set = true;
		node->fence_ms = HA_DEADLINE_NEVER;
	}
	node->lease_sent_ms = get_int(saved, "lease_sent_ms");
	node->has_lease = get_bool(saved, "has_lease") && node->lease_sent_ms > 0 &&
		node->lease_sent_ms <= now_ms;
	node->lease_ttl_ms = get_int(saved, "lease_ttl_ms");
	if (node->lease_ttl_ms <= 0 || node->lease_ttl_ms > HA_TTL_MAX_MS)
		node->has_lease = false;
	node->lease_version = get_int(saved, "lease_version") > 0 ?
		(uint64_t) get_int(saved, "lease_version") : 0;
	node->left_fence_ms = get_int(saved, "left_fence_ms");
	node->was_down_paused = get_bool(saved, "was_down_paused");
	node->was_paused = get_bool(saved, "is_paused");
	if (get_int(saved, "config_version") > 0)
		node->was_paused_version = (uint64_t) get_int(saved, "config_version");
	node->is_overruled = get_bool(saved, "is_overruled");
	/* a fence that is open has been opened for good reason */
	if (!json_is_object(json_object_get(saved, "sync")))
		node->sync.is_open = node->left_fence_ms > now_ms || get_bool(saved, "fence_is_never");
	node->is_giving_away = get_bool(saved, "is_giving_away");
	if (node->is_giving_away)
		node->has_lease = false;
	goal = get_int(saved, "goal");
	if (goal > HA_GOAL_NONE && goal < HA_GOAL_COUNT)
		node->goal = (HaGoal) goal;
	node->goal_since_ms = get_past(saved, "goal_since_ms", now_ms);
	get_text(saved, "goal_candidate", node->goal_candidate, sizeof(node->goal_candidate));
	get_text(saved, "goal_because", node->goal_because, sizeof(node->goal_because));
	get_text(saved, "successor", node->successor, sizeof(node->successor));
	node->goal_from_leader = get_bool(saved, "goal_from_leader");
	node->handover_lsn = (Lsn) get_int(saved, "handover_lsn");
	node->is_promoting = get_bool(saved, "is_promoting");
	node->promote_ms = get_past(saved, "promote_ms", now_ms);
	node->is_bootstrapping = get_bool(saved, "is_bootstrapping");
	node->is_post_bootstrapped = get_bool(saved, "is_post_bootstrapped");
	node->is_checked = get_bool(saved, "is_checked");
	node->is_checked_running = get_bool(saved, "is_checked_running");
	node->is_diverged = get_bool(saved, "is_diverged");
	node->has_rewind_failed = get_bool(saved, "has_rewind_failed");
	get_text(saved, "checked_with", node->checked_with, sizeof(node->checked_with));
	node->primary_timeline = (uint32_t) get_int(saved, "primary_timeline");
	node->primary_from = (uint32_t) get_int(saved, "primary_from");
	node->is_uncompared = get_bool(saved, "is_uncompared");
	node->is_source_unsure = get_bool(saved, "is_source_unsure");
	if (get_int(saved, "seen_timeline") > node->seen_timeline && get_int(saved, "seen_timeline") <= UINT32_MAX)
		node->seen_timeline = (uint32_t) get_int(saved, "seen_timeline");
	node->knows_past = get_bool(saved, "knows_past") && json_is_boolean(json_object_get(saved, "is_uncompared"));
	node->has_bootstrap_failed = get_bool(saved, "has_bootstrap_failed");
	node->needs_checkpoint = get_bool(saved, "needs_checkpoint");
	node->is_request_running = get_bool(saved, "is_request_running");
	node->repair_next_ms = get_int(saved, "repair_next_ms");
	if (node->repair_next_ms > now_ms + HA_REPAIR_MAX_MS)
		node->repair_next_ms = now_ms + HA_REPAIR_MAX_MS;
	node->repair_failures = (int) (get_int(saved, "repair_failures") & 15);
	role = get_int(saved, "announced_role");
	if (role >= ROLE_UNINITIALIZED && role <= ROLE_UNKNOWN)
		node->announced_role = (MemberRole) role;
	get_text(saved, "request_problem", node->request_problem, sizeof(node->request_problem));
	get_text(saved, "handled_request", node->handled_request, sizeof(node->handled_request));
	member_text = json_string_value(json_object_get(saved, "member_text"));
	if (member_text != NULL && member_text[0] != '\0')
		node->member_text = strdup(member_text);
	node->renewed_ms = get_int(saved, "renewed_ms");
	node->has_renewed = node->renewed_ms > 0 && node->renewed_ms <= now_ms;
	if (get_int(saved, "next_id") > 0 && (uint64_t) get_int(saved, "next_id") > node->next_id)
		node->next_id = (uint64_t) get_int(saved, "next_id");
	json_decref(saved);
	return true;
}
