/*-------------------------------------------------------------------------
 *
 * snapshot.c
 *      The document that patroni.snapshot() shows: what this node knows,
 *      thinks and did, in one JSON object.
 *
 *  {"node": {"name", "scope", "role", "state", "timeline", "is_in_recovery",
 *            "home", "goal", "version", "has_lease", "lease_deadline_ms",
 *            "store": {"driver", "is_reachable", "last_seen"},
 *            "decision": {"rule", "because", "since"},
 *            "postgres": {...}},
 *   "cluster": {... as cluster_view_to_json(), "pause", "scope"} or null,
 *   "config": {the dynamic configuration} or null,
 *   "history": [{"timeline", "lsn", "reason", "timestamp", "new_leader"}],
 *   "events": [{"time", "kind", "rule", "reason", "duration_ms"}], newest last,
 *   "explain": [{"member", "is_eligible", "is_for", "reason"}],
 *   "taken_ms": CLOCK_BOOTTIME}
 *
 * lease_deadline_ms is CLOCK_BOOTTIME; 0 = no lease, -1 = never ends.  Times
 * are ISO 8601 in UTC, null when unknown; duration_ms is null when unknown.
 *
 * The text is shorter than SNAPSHOT_TEXT_MAX: of lists that can grow, the
 * oldest entries are left out until it fits.
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/version.h"
#include "node/host_internal.h"

#define SNAPSHOT_TEXT_MAX    (512 * 1024) /* SNAPSHOT_MAX of the shared memory */
#define SNAPSHOT_HISTORY_MAX 256
#define SNAPSHOT_EXPLAIN_MAX (4 * CLUSTER_MEMBERS_MAX)
#define SNAPSHOT_SLOTS_MAX 256

static json_t *
json_text(const char *text)
{
	json_t *value = text == NULL ? json_null() : json_string(text);

	return value != NULL ? value : json_string("?");
}

static json_t *
json_time(int64_t wall_ms)
{
	char text[40];

	if (wall_ms <= 0)
		return json_null();
	timestamp_to_text(wall_ms, text);
	return json_text(text);
}

static json_t *
decision_to_json(const HaNode *node, int64_t now_ms)
{
	const HaDecision *decision = ha_decision(node);

	return json_pack("{s:o, s:o, s:o}", "rule", json_text(decision->rule), "because",
	                 json_text(decision->because), "since",
	                 decision->since_ms <= 0
	                     ? json_null()
	                     : json_time(clock_wall_ms() - (now_ms - decision->since_ms)));
}

static json_t *
node_to_json(const Host *host, int64_t now_ms)
{
	const HaNode *node = host->node;
	const HaPostgres *postgres = host_last_postgres(host);
	int64_t deadline_ms = ha_lease_deadline_ms(node);
	json_t *json;

	json = json_pack(
	    "{s:o, s:o, s:s, s:s, s:s, s:s, s:s, s:b, s:I}", "name", json_text(host->settings.name),
	    "scope", json_text(host->settings.scope), "role", member_role_name(ha_role(node)), "state",
	    member_state_name(ha_state(node)), "home",
	    host->home == HA_HOME_WORKER ? "worker" : "supervisor", "goal", ha_goal_name(node),
	    "version", PATRONI_BGW_VERSION, "has_lease", ha_has_lease(node), "lease_deadline_ms",
	    deadline_ms == HA_DEADLINE_NEVER ? (json_int_t) -1 : (json_int_t) deadline_ms);
	json_object_set_new(json, "store",
	                    json_pack("{s:o, s:b, s:o}", "driver", json_text(host->settings.dcs_driver),
	                              "is_reachable", host_store_is_reachable(host), "last_seen",
	                              json_time(host_store_last_seen_ms(host))));
	json_object_set_new(json, "decision", decision_to_json(node, now_ms));
	json_object_set_new(json, "timeline",
	                    postgres == NULL || postgres->timeline == 0
	                        ? json_null()
	                        : json_integer(postgres->timeline));
	json_object_set_new(json, "is_in_recovery",
	                    postgres == NULL || postgres->server != HA_SERVER_RUNNING
	                        ? json_null()
	                        : json_boolean(postgres->is_in_recovery));
	json_object_set_new(json, "postgres",
	                    postgres == NULL ? json_null() : postgres_to_json(postgres));
	return json;
}

static json_t *
cluster_to_json(const Host *host, const ClusterView *view)
{
	json_t *cluster = view == NULL ? NULL : cluster_view_to_object(view);

	if (cluster == NULL)
		return json_null();
	json_object_set_new(cluster, "pause", json_boolean(host->settings.is_paused));
	json_object_set_new(cluster, "scope", json_text(host->settings.scope));
	return cluster;
}

static json_t *
history_to_json(const ClusterView *view)
{
	json_t *list = json_array();
	int first = view == NULL ? 0 : view->n_history - SNAPSHOT_HISTORY_MAX;

	for (int i = first < 0 ? 0 : first; view != NULL && i < view->n_history; i++)
	{
		const TimelineHistory *entry = &view->history[i];
		char lsn[24];

		lsn_to_text(entry->switch_lsn, lsn);
		json_array_append_new(
		    list,
		    json_pack("{s:I, s:s, s:o, s:o, s:o}", "timeline", (json_int_t) entry->timeline, "lsn",
		              lsn, "reason", json_text(entry->reason), "timestamp",
		              entry->timestamp[0] == '\0' ? json_null() : json_text(entry->timestamp),
		              "new_leader",
		              entry->new_leader[0] == '\0' ? json_null() : json_text(entry->new_leader)));
	}
	return list;
}

static json_t *
events_to_json(const HostEvents *events)
{
	json_t *list = json_array();

	for (int i = 0; i < events->count; i++)
	{
		const HostEvent *event = events_get(events, i);

		json_array_append_new(
		    list,
		    json_pack("{s:o, s:o, s:o, s:o, s:o}", "time", json_time(event->wall_ms), "kind",
		              json_text(event->kind), "rule", json_text(event->rule), "reason",
		              json_text(event->reason), "duration_ms",
		              event->duration_ms < 0 ? json_null() : json_integer(event->duration_ms)));
	}
	return list;
}

static json_t *
explain_to_json(const HaNode *node, int64_t now_ms)
{
	json_t *list = json_array();
	HaExplanation *rows = calloc(SNAPSHOT_EXPLAIN_MAX, sizeof(HaExplanation));
	int count = rows == NULL ? 0 : ha_explain(node, now_ms, rows, SNAPSHOT_EXPLAIN_MAX);

	for (int i = 0; i < count; i++)
		json_array_append_new(list,
		                      json_pack("{s:o, s:b, s:b, s:o}", "member", json_text(rows[i].member),
		                                "is_eligible", rows[i].is_eligible, "is_for",
		                                rows[i].is_for, "reason", json_text(rows[i].reason)));
	free(rows);
	return list;
}

/* The names of the key "sync", as a list. */
static json_t *
sync_standbys_to_json(const SyncState *sync)
{
	json_t *list = json_array();
	const char *rest = sync->sync_standby;
	const char *standby;
	size_t length;

	while (sync_next_standby(&rest, &standby, &length))
	{
		char name[CLUSTER_NAME_MAX];

		snprintf(name, sizeof(name), "%.*s", (int) length, standby);
		json_array_append_new(list, json_text(name));
	}
	return list;
}

/* Synchronous replication: what is, what comes next, and why not yet. */
static json_t *
synchronous_to_json(const Host *host, const ClusterView *view)
{
	static const char *const modes[] = { "off", "on", "quorum" };
	const HaPostgres *postgres = host_last_postgres(host);
	bool is_known = postgres != NULL && postgres->is_observed && postgres->has_sync;
	bool has_key = view != NULL && view->sync.exists;
	HaSyncReport report;
	json_t *json;

	ha_sync_report(host->node, &report);
	json = json_pack("{s:s, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "mode",
	                 modes[report.mode], "is_strict", host->settings.synchronous_mode_strict,
	                 "leader", has_key ? json_text(view->sync.leader) : json_null(), "quorum",
	                 has_key ? json_integer(view->sync.quorum) : json_null(), "standbys",
	                 has_key ? sync_standbys_to_json(&view->sync) : json_null(), "names",
	                 is_known ? json_text(postgres->sync_names) : json_null(), "is_in_force",
	                 is_known ? json_boolean(postgres->is_sync_settled) : json_null(), "next_step",
	                 report.step[0] != '\0' ? json_text(report.step) : json_null(), "next_names",
	                 report.has_names ? json_text(report.names) : json_null(), "reason",
	                 json_text(report.because));
	return json != NULL ? json : json_null();
}

static json_t *
json_position(Lsn lsn)
{
	char text[24];

	if (lsn == 0)
		return json_null();
	lsn_to_text(lsn, text);
	return json_string(text);
}

/* Replication slots: what is, what should be, and why not yet. */
static json_t *
slots_to_json(const HaNode *node)
{
	json_t *list = json_array();
	HaSlotReport *rows = calloc(SNAPSHOT_SLOTS_MAX, sizeof(HaSlotReport));
	int count = rows == NULL ? 0 : ha_slot_report(node, rows, SNAPSHOT_SLOTS_MAX);

	for (int i = 0; i < count; i++)
	{
		const HaSlotReport *row = &rows[i];

		json_array_append_new(
		    list,
		    json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:b, s:b, s:o, s:o, s:o, s:o, s:s}", "name",
		              row->name, "type", row->is_logical ? "logical" : "physical", "kind", row->kind,
		              "member", row->member[0] != '\0' ? json_text(row->member) : json_null(),
		              "database", row->database[0] != '\0' ? json_text(row->database) : json_null(),
		              "plugin", row->plugin[0] != '\0' ? json_text(row->plugin) : json_null(),
		              "exists", row->exists, "active", row->is_active, "restart_lsn",
		              json_position(row->restart_lsn), "confirmed_lsn",
		              json_position(row->confirmed_lsn), "leader_lsn", json_position(row->leader_lsn),
		              "is_safe", json_boolean(row->exists && row->is_safe), "reason", row->because));
	}
	free(rows);
	return list;
}

/* Leave out the older half of a list; false when there is nothing to leave out. */
static bool
halve(json_t *list)
{
	size_t size = json_array_size(list);

	if (size == 0)
		return false;
	for (size_t i = 0; i < (size + 1) / 2; i++)
		json_array_remove(list, 0);
	return true;
}

/* Print the document, without what does not fit. */
static char *
print_bounded(json_t *document)
{
	json_t *lists[4];

	lists[0] = json_object_get(document, "history");
	lists[1] = json_object_get(document, "events");
	lists[2] = json_object_get(document, "explain");
	lists[3] = json_object_get(document, "slots");
	for (;;)
	{
		char *text = json_dumps(document, JSON_COMPACT);
		bool is_shorter = false;

		if (text == NULL || strlen(text) < SNAPSHOT_TEXT_MAX)
			return text;
		free(text);
		/* The cluster repeats the history: that goes first. */
		if (json_object_del(json_object_get(document, "cluster"), "history") == 0)
			continue;
		for (int i = 0; i < 4 && !is_shorter; i++)
			is_shorter = halve(lists[i]);
		if (!is_shorter && json_is_null(json_object_get(document, "cluster")))
			return NULL;
		if (!is_shorter)
			json_object_set_new(document, "cluster", json_null());
	}
}

/*
 * The document that patroni.snapshot() shows, malloc'ed and shorter than
 * SNAPSHOT_MAX; NULL when there is no memory.
 */
char *
host_snapshot(const Host *host, int64_t now_ms)
{
	const ClusterView *view = host_view(host);
	json_t *cluster = cluster_to_json(host, view);
	json_t *config = json_object_get(cluster, "config");
	json_t *document;
	char *text;

	document = json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I}", "node", node_to_json(host, now_ms),
	                     "cluster", cluster, "config",
	                     config != NULL ? json_incref(config) : json_null(),
	                     "history", history_to_json(view),
	                     "events", events_to_json(&host->events), "explain",
	                     explain_to_json(host->node, now_ms), "synchronous",
	                     synchronous_to_json(host, view), "slots", slots_to_json(host->node), "taken_ms", (json_int_t) now_ms);
	if (document == NULL)
		return NULL;
	text = print_bounded(document);
	json_decref(document);
	return text;
}

/* Grows whenever the document may have changed. */
uint64_t
host_snapshot_number(const Host *host)
{
	return host->snapshot_number;
}
