/*-------------------------------------------------------------------------
 *
 * health.c
 *      Health checks: a path and some facts in, 200 or 503 out.
 *
 * patroni/api.py, do_GET(): the path table and the three kinds of codes.
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "rest/rest_internal.h"

/* A size in a parameter: "16MB"; false: absent or no size, then it is ignored. */
static bool
size_parameter(const RestQuery *query, const char *name, int64_t *bytes)
{
	const char *text = query_get(query, name);
	json_t *value = text == NULL ? NULL : json_string(text);
	bool ok = value != NULL && value_to_int(value, "B", bytes);

	json_decref(value);
	return ok;
}

static Lsn
leader_position(const RestFacts *facts)
{
	return facts->view != NULL && facts->view->status.exists ? facts->view->status.optime : 0;
}

static bool
is_lagging(const RestFacts *facts, const RestQuery *query)
{
	Lsn leader = leader_position(facts);
	int64_t lag_bytes;

	if (leader == 0 || !size_parameter(query, "lag", &lag_bytes) || lag_bytes < 0)
		return false;
	return leader > facts->status->postgres->replayed_lsn + (Lsn) lag_bytes;
}

/* "replica code" */
static bool
replica_ok(const RestFacts *facts, const RestQuery *query)
{
	const char *wanted = query_get(query, "replication_state");

	if (!facts->is_replica || facts->role != ROLE_REPLICA || facts->state != MEMBER_RUNNING)
		return false;
	if (facts->status->settings == NULL || facts->status->settings->tags.noloadbalance)
		return false;
	if (facts->is_leader && facts->is_standby_cluster)
		return false;
	if (wanted != NULL && strcmp(wanted, facts->replication_state) != 0)
		return false;
	return !is_lagging(facts, query);
}

/* Case A: no cluster to be seen and paused; only the server can say. */
static bool
knows_only_itself(const RestFacts *facts)
{
	return facts->view == NULL && facts->status->is_paused;
}

static bool
primary_ok(const RestFacts *facts)
{
	if (knows_only_itself(facts))
		return facts->is_primary;
	return facts->is_leader && !facts->is_standby_cluster;
}

static bool
standby_leader_ok(const RestFacts *facts)
{
	if (knows_only_itself(facts))
		return facts->role == ROLE_STANDBY_LEADER;
	return facts->is_leader && facts->is_standby_cluster &&
	       (facts->role == ROLE_REPLICA || facts->role == ROLE_STANDBY_LEADER);
}

static bool
leader_ok(const RestFacts *facts)
{
	if (knows_only_itself(facts))
		return facts->is_primary || facts->role == ROLE_STANDBY_LEADER;
	return facts->is_leader;
}

static bool
read_only_ok(const RestFacts *facts, const RestQuery *query)
{
	return primary_ok(facts) || standby_leader_ok(facts) || replica_ok(facts, query);
}

static bool
is_running(const RestFacts *facts)
{
	return facts->state == MEMBER_RUNNING;
}

/* One tag as text: strings as they are, the rest by its lower-cased JSON. */
static bool
tag_matches(const json_t *value, const char *wanted)
{
	char *text;
	bool matches;

	if (value == NULL)
		return false;
	if (json_is_string(value))
		return strcmp(json_string_value(value), wanted) == 0;
	text = json_dumps(value, JSON_ENCODE_ANY);
	if (text == NULL)
		return false;
	matches = strcmp(text, wanted) == 0;
	free(text);
	return matches;
}

/* Do all tag_<key>=<value> parameters match? */
static bool
tags_ok(const RestFacts *facts, const RestQuery *query)
{
	const Settings *settings = facts->status->settings;
	json_t *tags = settings == NULL || settings->tags_json == NULL
	                   ? NULL
	                   : json_loads(settings->tags_json, 0, NULL);
	bool ok = true;

	for (int i = 0; i < query->count && ok; i++)
	{
		const RestParameter *item = &query->items[i];

		if (strncmp(item->name, "tag_", 4) == 0)
			ok = tag_matches(json_object_get(tags, item->name + 4), item->value);
	}
	json_decref(tags);
	return ok;
}

/* The exact paths at the end of the table: they need a cluster to be seen. */
static bool
exact_path_ok(const RestFacts *facts, const char *path, const RestQuery *query)
{
	bool is_sync = facts->is_sync_standby;
	bool is_quorum = facts->is_quorum_standby;

	if (facts->view == NULL)
		return false;
	if (strcmp(path, "/sync") == 0 || strcmp(path, "/synchronous") == 0)
		return is_sync && replica_ok(facts, query);
	if (strcmp(path, "/quorum") == 0)
		return is_quorum && replica_ok(facts, query);
	if (strcmp(path, "/async") == 0 || strcmp(path, "/asynchronous") == 0)
		return !is_sync && !is_quorum && replica_ok(facts, query);
	if (strcmp(path, "/read-only-quorum") == 0)
		return primary_ok(facts) || standby_leader_ok(facts) ||
		       (is_quorum && replica_ok(facts, query));
	if (strcmp(path, "/read-only-sync") == 0 || strcmp(path, "/read-only-synchronous") == 0)
		return primary_ok(facts) || standby_leader_ok(facts) ||
		       (is_sync && replica_ok(facts, query));
	return false;
}

/*
 * The code of a health check: the path table, first match wins.  The tests
 * look for words anywhere in the path, as Patroni does.
 */
int
health_code(const RestFacts *facts, const char *path, const RestQuery *query)
{
	bool ok;

	if (strcmp(path, "/") == 0)
		path = "/primary";
	if (strstr(path, "standby_leader") != NULL || strstr(path, "standby-leader") != NULL)
		return standby_leader_ok(facts) ? 200 : 503;
	if (strstr(path, "leader") != NULL)
		return leader_ok(facts) ? 200 : 503;
	if (strstr(path, "master") != NULL || strstr(path, "primary") != NULL ||
	    strstr(path, "read-write") != NULL)
		return primary_ok(facts) ? 200 : 503;

	if (strstr(path, "replica") != NULL)
		ok = replica_ok(facts, query);
	else if (strstr(path, "read-only") != NULL && strstr(path, "sync") == NULL &&
	         strstr(path, "quorum") == NULL)
		ok = read_only_ok(facts, query);
	else if (strstr(path, "health") != NULL)
		ok = is_running(facts);
	else
		ok = exact_path_ok(facts, path, query);
	return ok && tags_ok(facts, query) ? 200 : 503;
}

/*
 * Is the HA loop alive?  Its next turn is due loop_wait after the last one;
 * a running primary may be late by ttl, anything else by twice that.
 */
int
liveness_code(const RestFacts *facts, int64_t started_ms)
{
	const RestStatus *status = facts->status;
	int64_t last_ms = status->last_step_ms > 0 ? status->last_step_ms : started_ms;
	int64_t patience_ms;

	if (status->is_paused || status->settings == NULL)
		return 200;
	patience_ms = status->settings->ttl_ms;
	if (facts->state != MEMBER_RUNNING || status->role != ROLE_PRIMARY)
		patience_ms *= 2;
	return facts->now_ms < last_ms + status->settings->loop_wait_ms + patience_ms ? 200 : 503;
}

/* May clients be sent here?  Patroni 4.1, patroni/api.py, do_GET_readiness(). */
int
readiness_code(const RestFacts *facts, const RestQuery *query)
{
	const char *mode = query_get(query, "mode");
	const Settings *settings = facts->status->settings;
	int64_t allowed_bytes;
	Lsn position;
	Lsn leader = leader_position(facts);

	/* in pause mode nothing ends a lease but its time */
	if (facts->is_leader && !knows_only_itself(facts))
		return 200;
	if (settings == NULL || facts->state != MEMBER_RUNNING ||
	    strcmp(facts->replication_state, "streaming") != 0)
		return 503;
	if (facts->view == NULL)
		return facts->status->is_failsafe_active ? 200 : 503;
	if (!size_parameter(query, "lag", &allowed_bytes))
		allowed_bytes = settings->maximum_lag_on_failover;
	position = mode != NULL && strcmp(mode, "write") == 0 ? facts->status->postgres->received_lsn
	                                                      : facts->status->postgres->replayed_lsn;
	if (leader > position && leader - position > (Lsn) allowed_bytes)
		return 503;
	return 200;
}
