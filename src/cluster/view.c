/*-------------------------------------------------------------------------
 *
 * view.c
 *      The view of a whole cluster, built key by key.
 *
 * Invariants:
 *  (1) Members and requests are sorted by name, each name once.
 *  (2) What a key's value was and its version change together; without memory
 *      neither does, and the view says that it is incomplete.
 *-------------------------------------------------------------------------
 */
#include "cluster/cluster_internal.h"
#include "cluster/ascii.h"

#include <stdlib.h>
#include <string.h>

/* An empty view: nothing is known.  Pairs with cluster_view_free(). */
void
cluster_view_init(ClusterView *view)
{
	memset(view, 0, sizeof(*view));
}

/* Free what the view owns and make it empty.  NULL is fine. */
void
cluster_view_free(ClusterView *view)
{
	if (view == NULL)
		return;
	free(view->config_json);
	free(view->sync.sync_standby);
	free(view->status.slots);
	free(view->status.retain_slots_json);
	free(view->failsafe_json);
	free(view->history);
	free(view->taken);
	for (int i = 0; i < view->n_requests; i++)
		request_free(&view->requests[i]);
	free(view->requests);
	for (int i = 0; i < view->n_members; i++)
		member_free(&view->members[i]);
	free(view->members);
	cluster_view_init(view);
}

/* Duplicate an array; one that is there but empty stays so. */
static bool
array_dup(void **to, const void *from, int count, size_t size)
{
	*to = NULL;
	if (from == NULL)
		return true;
	*to = calloc(count > 0 ? (size_t) count : 1, size);
	if (*to == NULL)
		return false;
	memcpy(*to, from, (size_t) count * size);
	return true;
}

static bool
copy_requests(ClusterView *to, const ClusterView *from)
{
	if (from->n_requests == 0)
		return true;
	to->requests = malloc((size_t) from->n_requests * sizeof(*to->requests));
	if (to->requests == NULL)
		return false;
	for (int i = 0; i < from->n_requests; i++)
	{
		to->requests[i] = from->requests[i];
		if (!cluster_text_dup(&to->requests[i].arguments_json, from->requests[i].arguments_json))
			return false;
		to->n_requests++;
	}
	return true;
}

static bool
copy_members(ClusterView *to, const ClusterView *from)
{
	if (from->n_members == 0)
		return true;
	to->members = malloc((size_t) from->n_members * sizeof(*to->members));
	if (to->members == NULL)
		return false;
	for (int i = 0; i < from->n_members; i++)
	{
		if (!member_copy(&to->members[i], &from->members[i]))
			return false;
		to->n_members++;
	}
	return true;
}

/* Copy into *to, which owns nothing yet.  False: no memory, *to is empty. */
bool
cluster_view_copy(ClusterView *to, const ClusterView *from)
{
	if (to == from)
		return true;
	*to = *from;
	to->config_json = to->sync.sync_standby = to->status.retain_slots_json = to->failsafe_json = NULL;
	to->status.slots = NULL;
	to->history = NULL;
	to->taken = NULL;
	to->requests = NULL;
	to->members = NULL;
	to->n_requests = to->n_members = 0;
	if (cluster_text_dup(&to->config_json, from->config_json) &&
		cluster_text_dup(&to->sync.sync_standby, from->sync.sync_standby) &&
		cluster_text_dup(&to->status.retain_slots_json, from->status.retain_slots_json) &&
		cluster_text_dup(&to->failsafe_json, from->failsafe_json) &&
		array_dup((void **) &to->status.slots, from->status.slots, from->status.n_slots, sizeof(ClusterSlot)) &&
		array_dup((void **) &to->history, from->history, from->n_history, sizeof(TimelineHistory)) &&
		array_dup((void **) &to->taken, from->taken, from->n_taken, sizeof(TakenTimeline)) &&
		copy_requests(to, from) && copy_members(to, from))
		return true;
	cluster_view_free(to);
	return false;
}

/* --- one function a key; value NULL = gone; false: no memory or no room --- */

static bool
apply_leader(ClusterView *view, const ClusterKey *key)
{
	view->has_leader = key->value != NULL && key->value[0] != '\0';
	cluster_name_copy(view->leader, key->value);
	cluster_text_copy(view->leader_session, sizeof(view->leader_session),
					  view->has_leader ? key->session : NULL);
	view->leader_version = view->has_leader ? key->version : 0;
	return true;
}

static bool
apply_initialize(ClusterView *view, const ClusterKey *key)
{
	size_t		length = key->value == NULL ? 0 : strlen(key->value);

	view->has_initialize = key->value != NULL;
	view->system_identifier[0] = '\0';
	if (length >= 10 && length <= 20 && strspn(key->value, "0123456789") == length)
		strcpy(view->system_identifier, key->value);
	return true;
}

/* Keep a JSON object as text; anything else becomes NULL. */
static bool
replace_object(char **to, const char *text)
{
	json_t	   *object;
	JsonRead	result = cluster_json_read(text, &object);
	char	   *copy = NULL;
	bool		ok = result != JSON_READ_NO_MEMORY;

	if (json_is_object(object))
	{
		/* As written, if every reader will get the same out of it. */
		copy = result == JSON_READ_EXACT ? strdup(text) : cluster_json_write(json_incref(object));
		ok = copy != NULL;
	}
	json_decref(object);
	if (ok)
	{
		free(*to);
		*to = copy;
	}
	return ok;
}

static bool
apply_config(ClusterView *view, const ClusterKey *key)
{
	if (!replace_object(&view->config_json, key->value))
		return false;
	view->config_version = view->config_json == NULL ? 0 : key->version;
	view->config_seen = key->value == NULL ? 0 : key->version;
	return true;
}

static bool
apply_failsafe(ClusterView *view, const ClusterKey *key)
{
	view->failsafe_seen = key->value == NULL ? 0 : key->version;
	return replace_object(&view->failsafe_json, key->value);
}

static bool
apply_failover(ClusterView *view, const ClusterKey *key)
{
	failover_from_text(&view->failover, key->value);
	view->failover.version = key->value == NULL ? 0 : key->version;
	return true;
}

static bool
apply_sync(ClusterView *view, const ClusterKey *key)
{
	if (!sync_read(&view->sync, key->value))
		return false;
	view->sync.version = key->value == NULL ? 0 : key->version;
	return true;
}

static bool
apply_status(ClusterView *view, const ClusterKey *key)
{
	view->status_seen = key->value == NULL ? 0 : key->version;
	if (!status_read(&view->status, key->value))
		return false;
	if (!view->status.exists)
		view->status.optime = view->legacy_optime;
	return true;
}

static bool
apply_legacy_optime(ClusterView *view, const ClusterKey *key)
{
	ClusterStatus legacy = {0};

	if (!status_read(&legacy, key->value))
		return false;
	view->legacy_optime = legacy.optime;
	free(legacy.slots);
	free(legacy.retain_slots_json);
	if (!view->status.exists)
		view->status.optime = view->legacy_optime;
	return true;
}

static bool
apply_history(ClusterView *view, const ClusterKey *key)
{
	view->history_seen = key->value == NULL ? 0 : key->version;
	return history_read(view, key->value);
}

static bool
apply_promotions(ClusterView *view, const ClusterKey *key)
{
	view->promotions_seen = key->value == NULL ? 0 : key->version;
	if (!taken_read(view, key->value))
		return false;
	view->taken_version = key->value == NULL ? 0 : key->version;
	return true;
}

static const struct
{
	const char *name;
	bool		(*apply) (ClusterView *view, const ClusterKey *key);
}			plain_keys[] = {
	{"leader", apply_leader},
	{"initialize", apply_initialize},
	{"config", apply_config},
	{"failover", apply_failover},
	{"sync", apply_sync},
	{"status", apply_status},
	{"optime/leader", apply_legacy_optime},
	{"history", apply_history},
	{"failsafe", apply_failsafe},
	{"promotions", apply_promotions},
};

/*
 * Where a name is, or belongs, in a sorted array whose elements begin with
 * the name, as Member and MemberRequest do.
 */
static int
find_place(const void *array, int count, size_t size, const char *name, bool *is_found)
{
	int			low = 0;
	int			high = count;

	*is_found = false;
	while (low < high)
	{
		int			middle = low + (high - low) / 2;
		int			order = strcmp((const char *) array + (size_t) middle * size, name);

		if (order == 0)
		{
			*is_found = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

_Static_assert(offsetof(Member, name) == 0, "find_place() expects the name first");
_Static_assert(offsetof(MemberRequest, member) == 0, "find_place() expects the name first");

/* Make room at a place; false: no memory or too many. */
static bool
open_place(void **array, int *count, size_t size, int place)
{
	char	   *grown;

	if (*count >= CLUSTER_MEMBERS_MAX)
		return false;
	grown = realloc(*array, (size_t) (*count + 1) * size);
	if (grown == NULL)
		return false;
	*array = grown;
	memmove(grown + (size_t) (place + 1) * size, grown + (size_t) place * size, (size_t) (*count - place) * size);
	(*count)++;
	return true;
}

static void
close_place(void *array, int *count, size_t size, int place)
{
	char	   *bytes = array;

	(*count)--;
	memmove(bytes + (size_t) place * size, bytes + (size_t) (place + 1) * size, (size_t) (*count - place) * size);
}

static bool
apply_member(ClusterView *view, const ClusterKey *key, const char *name)
{
	bool		is_found;
	int			place = find_place(view->members, view->n_members, sizeof(Member), name, &is_found);
	Member		fresh;

	if (key->value == NULL)
	{
		if (is_found)
		{
			member_free(&view->members[place]);
			close_place(view->members, &view->n_members, sizeof(Member), place);
		}
		return true;
	}
	member_init(&fresh);
	strcpy(fresh.name, name);
	cluster_text_copy(fresh.session, sizeof(fresh.session), key->session);
	fresh.version = key->version;
	if (!member_read(&fresh, key->value))
		return false;
	if (is_found)
		member_free(&view->members[place]);
	else if (!open_place((void **) &view->members, &view->n_members, sizeof(Member), place))
	{
		member_free(&fresh);
		return false;
	}
	view->members[place] = fresh;
	return true;
}

static bool
apply_request(ClusterView *view, const ClusterKey *key, const char *member)
{
	bool		is_found;
	int			place = find_place(view->requests, view->n_requests, sizeof(MemberRequest), member, &is_found);
	MemberRequest fresh = {.version = key->version};

	strcpy(fresh.member, member);
	if (key->value == NULL)
	{
		if (is_found)
		{
			request_free(&view->requests[place]);
			close_place(view->requests, &view->n_requests, sizeof(MemberRequest), place);
		}
		return true;
	}
	if (!request_read(&fresh, key->value))
		return false;
	if (is_found)
		request_free(&view->requests[place]);
	else if (!open_place((void **) &view->requests, &view->n_requests, sizeof(MemberRequest), place))
	{
		request_free(&fresh);
		return false;
	}
	view->requests[place] = fresh;
	return true;
}

/*
 * Put one key into the view, or take it away.  Keys that are not ours to know
 * are ignored, as are names that no member can have.  A key for which there
 * is no room or no memory leaves the view as it was, marked incomplete.
 */
void
cluster_view_apply(ClusterView *view, const ClusterKey *key)
{
	static const char members[] = "members/";
	static const char requests[] = "requests/";
	bool		ok = true;

	if (key->name == NULL)
		return;
	for (size_t i = 0; i < sizeof(plain_keys) / sizeof(plain_keys[0]); i++)
		if (strcmp(plain_keys[i].name, key->name) == 0)
		{
			if (!plain_keys[i].apply(view, key))
				view->is_incomplete = true;
			return;
		}
	if (strncmp(key->name, members, sizeof(members) - 1) == 0)
	{
		const char *name = key->name + sizeof(members) - 1;

		if (strchr(name, '/') == NULL && cluster_name_is_valid(name))
			ok = apply_member(view, key, name);
	}
	else if (strncmp(key->name, requests, sizeof(requests) - 1) == 0)
	{
		const char *name = key->name + sizeof(requests) - 1;

		if (strchr(name, '/') == NULL && cluster_name_is_valid(name))
			ok = apply_request(view, key, name);
	}
	if (!ok)
		view->is_incomplete = true;
}

/* The member of that name, or NULL. */
const Member *
cluster_find_member(const ClusterView *view, const char *name)
{
	bool		is_found = false;
	int			place = 0;

	if (name != NULL)
		place = find_place(view->members, view->n_members, sizeof(Member), name, &is_found);
	return is_found ? &view->members[place] : NULL;
}

/* What the key of requests to that member holds, without an id if it asks for nothing; or NULL. */
const MemberRequest *
cluster_find_request(const ClusterView *view, const char *member)
{
	bool		is_found = false;
	int			place = 0;

	if (member != NULL)
		place = find_place(view->requests, view->n_requests, sizeof(MemberRequest), member, &is_found);
	return is_found ? &view->requests[place] : NULL;
}

/* Does the leader key hold that name? */
bool
cluster_is_leader(const ClusterView *view, const char *name)
{
	return view->has_leader && name != NULL && strcmp(view->leader, name) == 0;
}

/* --- the view as JSON --- */

/* What the dynamic configuration says of the roles people see. */
typedef struct RoleWords
{
	const char *leader;
	const char *sync;			/* NULL = synchronous mode is off */
} RoleWords;

static bool
is_word(const json_t *value, const char *word)
{
	return json_is_string(value) && ascii_is_same(json_string_value(value), word);
}

static RoleWords
role_words(const json_t *config)
{
	const json_t *standby = json_object_get(config, "standby_cluster");
	const json_t *mode = json_object_get(config, "synchronous_mode");
	RoleWords	words = {"leader", NULL};

	if (cluster_json_truth(json_object_get(standby, "host")) ||
		cluster_json_truth(json_object_get(standby, "port")) ||
		cluster_json_truth(json_object_get(standby, "restore_command")))
		words.leader = "standby_leader";
	else if (is_word(mode, "quorum"))
		words.sync = "quorum_standby";
	else if (json_is_true(mode) || (json_is_integer(mode) && json_integer_value(mode) == 1) ||
			 is_word(mode, "on") || is_word(mode, "true") || is_word(mode, "yes") || is_word(mode, "1"))
		words.sync = "sync_standby";
	return words;
}

/* Patroni 4.1, patroni/utils.py, cluster_as_json(): position and lag, or "unknown". */
static bool
put_lag(json_t *object, const char *lag_name, const char *lsn_name, Lsn optime, Lsn lsn)
{
	char		text[24];

	lsn_to_text(lsn, text);
	return cluster_json_put(object, lag_name, lsn == 0 ? json_string("unknown") :
							cluster_json_lsn(optime > lsn ? optime - lsn : 0)) &&
		cluster_json_put(object, lsn_name, json_string(lsn == 0 ? "unknown" : text));
}

/* What GET /cluster does not show but patroni.member does. */
static bool
put_member_details(json_t *object, const Member *member)
{
	return cluster_json_put(object, "conn_url", cluster_json_text_or_null(member->conn_url)) &&
		cluster_json_put(object, "version", cluster_json_text_or_null(member->agent_version)) &&
		cluster_json_put(object, "xlog_location", member->xlog_location == 0 ? json_null() :
						 cluster_json_lsn(member->xlog_location)) &&
		cluster_json_put(object, "member_role", json_string(member_role_name(member->role))) &&
		cluster_json_put(object, "member_state", json_string(member_state_name(member->state)));
}

static json_t *
member_to_json(const ClusterView *view, const Member *member, const RoleWords *words)
{
	json_t	   *object = json_pack("{}");
	bool		leads = cluster_is_leader(view, member->name);
	const char *role = leads ? words->leader :
		words->sync != NULL && sync_names_standby(&view->sync, member->name) ? words->sync : "replica";
	const char *state = strcmp(role, "leader") != 0 && member->replication_state[0] != '\0' ?
		member->replication_state : member_state_name(member->state);
	char		host[256];
	int			port;
	bool		ok;

	ok = object != NULL &&
		cluster_json_put(object, "name", cluster_json_text(member->name)) &&
		cluster_json_put(object, "role", json_string(role)) &&
		cluster_json_put(object, "state", cluster_json_text(state)) &&
		cluster_json_put(object, "api_url", cluster_json_text_or_null(member->api_url));
	if (ok && member_host_port(member, host, &port))
		ok = cluster_json_put(object, "host", cluster_json_text(host)) &&
			cluster_json_put(object, "port", json_integer(port));
	if (ok && member->timeline != 0)
		ok = cluster_json_put(object, "timeline", json_integer(member->timeline));
	if (ok && member->has_pending_restart)
		ok = cluster_json_put(object, "pending_restart", json_true());
	if (ok && member->pending_restart_reason_json != NULL)
		ok = cluster_json_put_raw(object, "pending_restart_reason", member->pending_restart_reason_json);
	if (ok && member->scheduled_restart_json != NULL)
		ok = cluster_json_put_raw(object, "scheduled_restart", member->scheduled_restart_json);
	if (ok && member->tags_json != NULL)
		ok = cluster_json_put_raw(object, "tags", member->tags_json);
	if (ok && !leads)
		ok = put_lag(object, "receive_lag", "receive_lsn", view->status.optime, member->receive_lsn) &&
			put_lag(object, "replay_lag", "replay_lsn", view->status.optime, member->replay_lsn) &&
			put_lag(object, "lag", "lsn", view->status.optime, member->xlog_location);
	if (ok && put_member_details(object, member))
		return object;
	json_decref(object);
	return NULL;
}

static bool
put_members(json_t *document, const ClusterView *view, const RoleWords *words)
{
	json_t	   *list = json_pack("[]");
	bool		ok = cluster_json_put(document, "members", list);

	for (int i = 0; ok && i < view->n_members; i++)
		ok = json_array_append_new(list, member_to_json(view, &view->members[i], words)) == 0;
	return ok;
}

static bool
put_schedule(json_t *document, const FailoverRequest *request)
{
	json_t	   *object;

	if (!request->exists || !request->is_scheduled)
		return true;
	object = json_pack("{}");
	return cluster_json_put(document, "scheduled_switchover", object) &&
		cluster_json_put(object, "at", cluster_json_text(request->scheduled_at)) &&
		(request->leader[0] == '\0' ||
		 cluster_json_put(object, "from", cluster_json_text(request->leader))) &&
		(request->candidate[0] == '\0' ||
		 cluster_json_put(object, "to", cluster_json_text(request->candidate)));
}

/*
 * The whole view for SQL and REST.  A member's fields are those of GET
 * /cluster (patroni/utils.py, cluster_as_json()), absent under the same
 * conditions, followed by those of put_member_details(), null when not known.
 */
json_t *
cluster_view_to_object(const ClusterView *view)
{
	json_t	   *document = json_pack("{}");
	json_t	   *config;
	RoleWords	words;
	bool		ok;

	ok = cluster_json_read(view->config_json, &config) != JSON_READ_NO_MEMORY && document != NULL;
	words = role_words(config);
	ok = ok && put_members(document, view, &words) &&
		put_schedule(document, &view->failover) &&
		cluster_json_put(document, "leader", view->has_leader ? cluster_json_text(view->leader) : json_null()) &&
		cluster_json_put(document, "system_identifier", cluster_json_text_or_null(view->system_identifier)) &&
		cluster_json_put(document, "optime", cluster_json_lsn(view->status.optime)) &&
		cluster_json_put(document, "failover", failover_to_json(&view->failover)) &&
		cluster_json_put(document, "history", history_to_json(view->history, view->n_history)) &&
		cluster_json_put(document, "sync", sync_to_json(&view->sync)) &&
		cluster_json_put(document, "config", config == NULL ? json_null() : json_incref(config)) &&
		cluster_json_put(document, "revision", cluster_json_lsn(view->revision));
	json_decref(config);
	if (ok)
		return document;
	json_decref(document);
	return NULL;
}

/* The same as text. */
char *
cluster_view_to_json(const ClusterView *view)
{
	json_t	   *document = cluster_view_to_object(view);

	return document == NULL ? NULL : cluster_json_write(document);
}
