/*-------------------------------------------------------------------------
 *
 * documents.c
 *      The JSON of the REST API: the status of this node and of the cluster.
 *
 * As patroni/api.py, get_postgresql_status(), and patroni/utils.py,
 * cluster_as_json(), have them.  What is ours beside Patroni's fields:
 * "patroni_bgw" with the state of the fence, and "can_lead": false while this
 * node cannot reach the store, or hangs, and so could not take the lease, "hang"
 * with what was measured while its server hangs, "missing_slots"
 * while consumers of so many logical slots could not go on here; and of a standby
 * "patroni_bgw.checkpoint_redo", which a primary waits for before a switchover.
 *-------------------------------------------------------------------------
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/version.h"
#include "cluster/ascii.h"
#include "rest/rest_internal.h"

static void
set(json_t *object, const char *key, json_t *value)
{
	if (value != NULL)
		json_object_set_new(object, key, value);
}

static void
set_text(json_t *object, const char *key, const char *text)
{
	set(object, key, json_string(text));
}

static void
set_lsn(json_t *object, const char *key, Lsn lsn)
{
	set(object, key, json_integer((json_int_t) lsn));
}

static void
set_time(json_t *object, const char *key, int64_t wall_ms)
{
	char text[40];
	char *separator;

	if (wall_ms <= 0)
		return;
	timestamp_to_text(wall_ms, text);
	separator = strchr(text, 'T');
	if (separator != NULL)
		*separator = ' ';
	set_text(object, key, text);
}

static json_t *
xlog_to_json(const RestFacts *facts)
{
	const HaPostgres *postgres = facts->status->postgres;
	json_t *xlog = json_pack("{}");

	if (facts->is_replica)
	{
		set_lsn(xlog, "received_location",
		        postgres->received_lsn != 0 ? postgres->received_lsn : postgres->replayed_lsn);
		set_lsn(xlog, "replayed_location", postgres->replayed_lsn);
		set(xlog, "replayed_timestamp", json_null());
		set_time(xlog, "replayed_timestamp", facts->status->replayed_at_ms);
		set(xlog, "paused", json_boolean(postgres->is_replay_paused));
	}
	else
		set_lsn(xlog, "location", postgres->flush_lsn);
	return xlog;
}

/* Connected standbys.  The user's name, which only a query could tell, is null. */
static json_t *
senders_to_json(const RestFacts *facts)
{
	static const char *const sync_names[] = { "async", "potential", "quorum", "sync" };
	const HaPostgres *postgres = facts->status->postgres;
	json_t *list = json_array();

	for (int i = 0; i < postgres->n_senders; i++)
	{
		const json_t *more = json_array_get(facts->status->senders, (size_t) i);
		const char *address = json_string_value(json_object_get(more, "client_addr"));
		json_t *sender =
		    json_pack("{s:n, s:s, s:s?, s:s, s:s, s:I}", "usename", "application_name",
		              postgres->senders[i].application_name, "client_addr",
		              address == NULL || address[0] == '\0' ? NULL : address, "state",
		              postgres->senders[i].is_streaming ? "streaming" : "catchup", "sync_state",
		              sync_names[postgres->senders[i].sync_state & 3], "sync_priority",
		              json_integer_value(json_object_get(more, "sync_priority")));

		if (sender != NULL)
			json_array_append_new(list, sender);
	}
	return list;
}

static void
add_server_fields(json_t *json, const RestFacts *facts)
{
	const HaPostgres *postgres = facts->status->postgres;

	set_time(json, "postmaster_start_time", postgres->start_time_ms);
	set_text(json, "role", member_role_name(facts->role));
	if (postgres->version_num > 0)
		set(json, "server_version", json_integer(postgres->version_num));
	/*
	 * Without a position it is out of the race; so is a primary behind a closed
	 * fence.  An old position must not be told: others count it as a vote that
	 * this member has no more WAL than they have.
	 */
	if ((facts->is_replica && !facts->hides_wal && !facts->status->is_remembered) ||
	    facts->is_primary)
		set(json, "xlog", xlog_to_json(facts));
	if (facts->is_sync_standby)
		set(json, "sync_standby", json_true());
	if (facts->is_quorum_standby)
		set(json, "quorum_standby", json_true());
	set(json, "timeline", postgres->timeline == 0 ? json_null() : json_integer(postgres->timeline));
	if (facts->replication_state[0] != '\0')
		set_text(json, "replication_state", facts->replication_state);
	if (postgres->n_senders > 0)
		set(json, "replication", senders_to_json(facts));
}

static void
add_settings_fields(json_t *json, const Settings *settings)
{
	if (settings->tags_json != NULL)
	{
		json_t *tags = json_loads(settings->tags_json, 0, NULL);

		if (json_object_size(tags) > 0)
			json_object_set(json, "tags", tags);
		json_decref(tags);
	}
	set(json, "patroni",
	    json_pack("{s:s, s:s, s:s}", "version", PATRONI_PROTOCOL_VERSION, "scope", settings->scope,
	              "name", settings->name));
}

static void
add_system_identifier(json_t *json, const RestFacts *facts)
{
	const HaPostgres *postgres = facts->status->postgres;
	char text[24];

	if (facts->view != NULL && facts->view->system_identifier[0] != '\0')
		set_text(json, "database_system_identifier", facts->view->system_identifier);
	else if (postgres != NULL && postgres->system_identifier != 0)
	{
		snprintf(text, sizeof(text), "%" PRIu64, postgres->system_identifier);
		set_text(json, "database_system_identifier", text);
	}
}

static void
add_pending_restart(json_t *json, const HaPostgres *postgres)
{
	json_t *reason;

	if (postgres == NULL || !postgres->has_pending_restart)
		return;
	set(json, "pending_restart", json_true());
	reason = json_loads(postgres->pending_restart_reason, 0, NULL);
	if (json_is_object(reason))
		json_object_set(json, "pending_restart_reason", reason);
	json_decref(reason);
}

/* As our member key shows it, less what is for ourselves. */
static void
add_scheduled_restart(json_t *json, const RestFacts *facts)
{
	const Member *self = facts->view == NULL
	                         ? NULL
	                         : cluster_find_member(facts->view, facts->status->settings->name);
	json_t *restart = self == NULL || self->scheduled_restart_json == NULL
	                      ? NULL
	                      : json_loads(self->scheduled_restart_json, 0, NULL);

	if (!json_is_object(restart))
	{
		json_decref(restart);
		return;
	}
	json_object_del(restart, "postmaster_start_time");
	set(json, "scheduled_restart", restart);
}

static json_t *
fence_to_json(const RestFacts *facts)
{
	const LeasePage *page = facts->status->page;
	int64_t deadline_us = page == NULL ? 0 : lease_page_deadline_us(page);
	int64_t remaining_ms = deadline_us / 1000 - facts->now_ms;
	json_t *json = json_pack(
	    "{s:s, s:b, s:b, s:o}", "version", PATRONI_BGW_VERSION, "can_lead", facts->can_lead,
	    "fence_open", facts->is_fence_open, "lease_remaining_ms",
	    deadline_us == LEASE_NEVER_US ? json_null()
	                                  : json_integer(remaining_ms > 0 ? remaining_ms : 0));

	if (facts->is_running && facts->is_replica)
		set_lsn(json, "checkpoint_redo", facts->status->postgres->checkpoint_redo);
	return json;
}

/*
 * The status of this node: GET /patroni, and the body of each health check.
 */
char *
status_document(const RestFacts *facts)
{
	const RestStatus *status = facts->status;
	json_t *json = json_pack("{}");
	char *text;

	set_text(json, "state", member_state_name(facts->state));
	if (facts->is_running)
		add_server_fields(json, facts);
	else
		set_text(json, "role", member_role_name(facts->role));
	if (status->is_paused)
		set(json, "pause", json_true());
	if (facts->view == NULL || !facts->view->has_leader)
		set(json, "cluster_unlocked", json_true());
	if (status->is_failsafe_active)
		set(json, "failsafe_mode_is_active", json_true());
	set(json, "dcs_last_seen", json_integer(status->store_last_seen_ms / 1000));
	add_system_identifier(json, facts);
	add_pending_restart(json, status->postgres);
	if (status->settings != NULL)
	{
		add_scheduled_restart(json, facts);
		add_settings_fields(json, status->settings);
	}
	if (!facts->can_lead)
		set(json, "can_lead", json_false());
	if (status->hang != NULL && status->hang[0] != '\0')
		set_text(json, "hang", status->hang);
	if (status->missing_slots > 0 && (status->postgres == NULL || status->postgres->is_in_recovery))
		set(json, "missing_slots", json_integer(status->missing_slots));
	set(json, "patroni_bgw", fence_to_json(facts));
	text = json_dumps(json, JSON_ENSURE_ASCII);
	json_decref(json);
	return text;
}

/* ------------------------------------------------------------------------
 * GET /cluster
 * ------------------------------------------------------------------------
 */

static const char *
shown_member_role(const ClusterView *view, const RestFacts *facts, const Member *member)
{
	const Settings *settings = facts->status->settings;
	SyncMode mode = settings == NULL ? SYNC_MODE_OFF : settings->synchronous_mode;

	if (cluster_is_leader(view, member->name))
		return facts->is_standby_cluster ? "standby_leader" : "leader";
	if (mode != SYNC_MODE_OFF && sync_names_standby(&view->sync, member->name))
		return mode == SYNC_MODE_QUORUM ? "quorum_standby" : "sync_standby";
	return "replica";
}

/* Two fields: the position as text, and how far it is behind the leader. */
static void
set_lag(json_t *json, const char *lsn_key, const char *lag_key, Lsn lsn, Lsn leader)
{
	char text[24];

	if (lsn == 0)
	{
		set_text(json, lag_key, "unknown");
		set_text(json, lsn_key, "unknown");
		return;
	}
	lsn_to_text(lsn, text);
	set(json, lag_key, json_integer(leader > lsn ? (json_int_t) (leader - lsn) : 0));
	set_text(json, lsn_key, text);
}

static void
set_json_text(json_t *json, const char *key, const char *text)
{
	if (text != NULL)
		set(json, key, json_loads(text, 0, NULL));
}

static json_t *
cluster_member_to_json(const RestFacts *facts, const Member *member)
{
	const ClusterView *view = facts->view;
	const char *role = shown_member_role(view, facts, member);
	bool is_leader = strcmp(role, "leader") == 0;
	Lsn optime = view->status.optime;
	char host[256];
	int port;
	json_t *json = json_pack("{}");

	set_text(json, "name", member->name);
	set_text(json, "role", role);
	set_text(json, "state",
	         !is_leader && member->replication_state[0] != '\0' ? member->replication_state
	                                                            : member_state_name(member->state));
	set_text(json, "api_url", member->api_url);
	if (member_host_port(member, host, &port))
	{
		set_text(json, "host", host);
		set(json, "port", json_integer(port));
	}
	if (member->timeline != 0)
		set(json, "timeline", json_integer(member->timeline));
	if (member->has_pending_restart)
		set(json, "pending_restart", json_true());
	set_json_text(json, "pending_restart_reason", member->pending_restart_reason_json);
	set_json_text(json, "scheduled_restart", member->scheduled_restart_json);
	set_json_text(json, "tags", member->tags_json);
	if (!is_leader)
	{
		set_lag(json, "receive_lsn", "receive_lag", member->receive_lsn, optime);
		set_lag(json, "replay_lsn", "replay_lag", member->replay_lsn, optime);
		set_lag(json, "lsn", "lag", member->xlog_location, optime);
	}
	return json;
}

/* The cluster as the store shows it; NULL when it has not been seen. */
char *
cluster_document(const RestFacts *facts)
{
	const ClusterView *view = facts->view;
	json_t *members;
	json_t *json;
	char *text;

	if (view == NULL)
		return NULL;
	members = json_array();
	for (int i = 0; i < view->n_members; i++)
		json_array_append_new(members, cluster_member_to_json(facts, &view->members[i]));
	json = json_pack("{s:o}", "members", members);
	if (facts->status->is_paused)
		set(json, "pause", json_true());
	if (view->failover.exists && view->failover.is_scheduled)
	{
		json_t *schedule = json_pack("{s:s}", "at", view->failover.scheduled_at);

		if (view->failover.leader[0] != '\0')
			set_text(schedule, "from", view->failover.leader);
		if (view->failover.candidate[0] != '\0')
			set_text(schedule, "to", view->failover.candidate);
		set(json, "scheduled_switchover", schedule);
	}
	set_text(json, "scope", facts->status->settings->scope);
	text = json_dumps(json, JSON_ENSURE_ASCII);
	json_decref(json);
	return text;
}

/* ------------------------------------------------------------------------
 * GET /v2/keys/NAMESPACE/SCOPE/leader
 * ------------------------------------------------------------------------
 */

/*
 * The leader key in the words of etcd's API v2, for vip-manager 1.x, which
 * cannot read keys of API v3.  This member is named only while its lease holds,
 * as in /leader; another one as the store was seen last.  *code becomes 404 for
 * any other key and where nobody leads.
 */
char *
leader_key_document(const RestFacts *facts, const char *path, int *code)
{
	const Settings *settings = facts->status->settings;
	const ClusterView *view = facts->view;
	const char *key = path + strlen(LEADER_KEY_ROUTE);
	const char *leader = NULL;
	char wanted[sizeof(settings->base) + 16];
	json_t *json;
	char *text;

	if (settings != NULL)
	{
		snprintf(wanted, sizeof(wanted), "%s/leader", settings->base);
		if (facts->is_leader)
			leader = settings->name;
		else if (view != NULL && view->has_leader && strcmp(view->leader, settings->name) != 0)
			leader = view->leader;
	}
	if (leader != NULL && strcmp(key, wanted) == 0)
	{
		*code = 200;
		json = json_pack("{s:s, s:{s:s, s:s}}", "action", "get", "node", "key", key, "value",
		                 leader);
	}
	else
	{
		*code = 404;
		json = json_pack("{s:i, s:s, s:s, s:i}", "errorCode", 100, "message", "Key not found",
		                 "cause", key, "index", 0);
	}
	text = json_dumps(json, JSON_ENSURE_ASCII);
	json_decref(json);
	return text;
}
