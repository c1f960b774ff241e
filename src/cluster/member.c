/*-------------------------------------------------------------------------
 *
 * member.c
 *      The key "members/<name>": what a member says of itself, and its tags.
 *
 * Its fields: patroni/ha.py, touch_member().  Which tags are effective is decided
 * where the configuration is read; here they are passed on as they are.
 *-------------------------------------------------------------------------
 */
#include "cluster/cluster_internal.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* Make an empty member, state unknown.  Pairs with member_free(). */
void
member_init(Member *member)
{
	memset(member, 0, sizeof(*member));
	member->state = MEMBER_STATE_UNKNOWN;
	member->role = ROLE_UNKNOWN;
	member_tags_from_json(&member->tags, NULL);
}

/* Free what the member owns and make it empty.  NULL is fine. */
void
member_free(Member *member)
{
	if (member == NULL)
		return;
	free(member->tags_json);
	free(member->pending_restart_reason_json);
	free(member->scheduled_restart_json);
	member_init(member);
}

/* Copy into *to, which owns nothing yet.  False: no memory, *to is empty. */
bool
member_copy(Member *to, const Member *from)
{
	*to = *from;
	to->tags_json = to->pending_restart_reason_json = to->scheduled_restart_json = NULL;
	if (cluster_text_dup(&to->tags_json, from->tags_json) &&
		cluster_text_dup(&to->pending_restart_reason_json, from->pending_restart_reason_json) &&
		cluster_text_dup(&to->scheduled_restart_json, from->scheduled_restart_json))
		return true;
	member_free(to);
	return false;
}

/*
 * A switch and a priority that mean the same: the switch, if there is one,
 * wins; otherwise a priority of zero or less turns it on.
 */
static void
read_priority_tag(const json_t *tags, const char *switch_name, const char *priority_name,
				  bool *is_on, int *priority)
{
	const json_t *given = json_object_get(tags, switch_name);
	int64_t		number = 1;
	bool		has_priority = cluster_json_integer(json_object_get(tags, priority_name), &number);

	if (given != NULL && !json_is_null(given))
		*is_on = cluster_json_truth(given);
	else
		*is_on = has_priority && number <= 0;
	*priority = *is_on || number < 0 ? 0 : number > INT_MAX ? INT_MAX : (int) number;
}

static void
read_tags(MemberTags *tags, const json_t *object)
{
	memset(tags, 0, sizeof(*tags));
	tags->failover_priority = tags->sync_priority = 1;
	if (object == NULL)
		return;
	read_priority_tag(object, "nofailover", "failover_priority", &tags->nofailover, &tags->failover_priority);
	read_priority_tag(object, "nosync", "sync_priority", &tags->nosync, &tags->sync_priority);
	tags->noloadbalance = cluster_json_truth(json_object_get(object, "noloadbalance"));
	tags->clonefrom = cluster_json_truth(json_object_get(object, "clonefrom"));
	tags->nostream = cluster_json_truth(json_object_get(object, "nostream"));
	cluster_json_get_name(object, "replicatefrom", tags->replicatefrom);
}

/* Read the tags that mean something to us.  NULL and what is no object: defaults. */
void
member_tags_from_json(MemberTags *tags, const char *json)
{
	json_t	   *object;

	cluster_json_read(json, &object);
	read_tags(tags, object);
	json_decref(object);
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Undo the escapes of a URL's query, in place. */
static void
query_decode(char *text)
{
	char	   *to = text;

	for (; *text != '\0'; text++)
	{
		if (*text == '%' && hex_digit(text[1]) >= 0 && hex_digit(text[2]) >= 0 &&
			(text[1] != '0' || text[2] != '0'))
		{
			*to++ = (char) (hex_digit(text[1]) * 16 + hex_digit(text[2]));
			text += 2;
		}
		else
			*to++ = *text == '+' ? ' ' : *text;
	}
	*to = '\0';
}

/* The legacy form: a connection URL whose application_name is the api_url. */
static void
read_legacy_url(Member *member, const char *text)
{
	static const char wanted[] = "application_name=";
	char		url[2 * CLUSTER_URL_MAX + 64];
	char	   *query;
	char	   *rest;

	if (strnlen(text, sizeof(url)) == sizeof(url))
		return;
	strcpy(url, text);
	url[strcspn(url, "#")] = '\0';
	query = strchr(url, '?');
	if (query != NULL)
		*query++ = '\0';
	cluster_text_copy(member->conn_url, sizeof(member->conn_url), url);
	if (query == NULL)
		return;
	for (char *part = strtok_r(query, "&", &rest); part != NULL; part = strtok_r(NULL, "&", &rest))
	{
		if (strncmp(part, wanted, sizeof(wanted) - 1) != 0)
			continue;
		part += sizeof(wanted) - 1;
		query_decode(part);
		cluster_text_copy(member->api_url, sizeof(member->api_url), part);
		return;
	}
}

static bool
read_fields(Member *member, json_t *object)
{
	json_t	   *tags = json_object_get(object, "tags");
	json_t	   *reason = json_object_get(object, "pending_restart_reason");
	json_t	   *restart = json_object_get(object, "scheduled_restart");

	cluster_json_get_text(object, "conn_url", member->conn_url, sizeof(member->conn_url));
	cluster_json_get_text(object, "api_url", member->api_url, sizeof(member->api_url));
	cluster_json_get_text(object, "proxy_url", member->proxy_url, sizeof(member->proxy_url));
	cluster_json_get_text(object, "version", member->agent_version, sizeof(member->agent_version));
	cluster_json_get_text(object, "replication_state",
						  member->replication_state, sizeof(member->replication_state));
	member->state = member_state_from_name(json_string_value(json_object_get(object, "state")));
	member->role = member_role_from_name(json_string_value(json_object_get(object, "role")));
	member->xlog_location = cluster_json_get_lsn(object, "xlog_location");
	member->receive_lsn = cluster_json_get_lsn(object, "receive_lsn");
	member->replay_lsn = cluster_json_get_lsn(object, "replay_lsn");
	member->timeline = cluster_json_get_timeline(json_object_get(object, "timeline"));
	/* Its absence means "done", whatever its value. */
	member->has_checkpoint_pending = json_object_get(object, "checkpoint_after_promote") != NULL;
	member->is_paused = cluster_json_truth(json_object_get(object, "pause"));
	member->has_pending_restart = cluster_json_truth(json_object_get(object, "pending_restart"));
	cluster_json_get_text(object, "hang", member->hang, sizeof(member->hang));
	member->gives_way = cluster_json_truth(json_object_get(object, "gives_way"));
	read_tags(&member->tags, tags);
	if (member->conn_url[0] == '\0')
		member->tags.clonefrom = false;
	return cluster_json_fragment(json_is_object(tags) ? tags : NULL, &member->tags_json) &&
		cluster_json_fragment(json_is_object(reason) ? reason : NULL, &member->pending_restart_reason_json) &&
		cluster_json_fragment(json_is_object(restart) ? restart : NULL, &member->scheduled_restart_json);
}

/* As member_from_text(), but false and the member unchanged if memory is out. */
bool
member_read(Member *member, const char *text)
{
	Member		fresh;
	json_t	   *object = NULL;
	bool		is_read = true;

	member_init(&fresh);
	strcpy(fresh.name, member->name);
	strcpy(fresh.session, member->session);
	fresh.version = member->version;
	if (text != NULL && strncmp(text, "postgres", 8) == 0)
		read_legacy_url(&fresh, text);
	else if (cluster_json_read(text, &object) == JSON_READ_NO_MEMORY)
		is_read = false;
	else if (json_is_object(object))
		is_read = read_fields(&fresh, object);
	json_decref(object);
	if (!is_read)
	{
		member_free(&fresh);
		return false;
	}
	member_free(member);
	*member = fresh;
	return true;
}

/*
 * Read the value of a member key.  The member must have been initialized; all
 * but its name, session and version is replaced.
 */
void
member_from_text(Member *member, const char *text)
{
	if (!member_read(member, text))
		member_read(member, "");
}

/* The value of a member key, fields in the order of patroni/ha.py, touch_member(). */
char *
member_to_text(const Member *member)
{
	json_t	   *object = json_pack("{}");
	bool		ok = object != NULL;

#define PUT(condition, name, value) \
	(ok = ok && (!(condition) || cluster_json_put(object, name, value)))
#define PUT_RAW(condition, name, text) \
	(ok = ok && (!(condition) || cluster_json_put_raw(object, name, text)))
	PUT(true, "conn_url", cluster_json_text(member->conn_url));
	PUT(true, "api_url", cluster_json_text(member->api_url));
	PUT(true, "state", json_string(member_state_name(member->state)));
	PUT(true, "role", json_string(member_role_name(member->role)));
	PUT(true, "version", cluster_json_text(member->agent_version));
	PUT(member->proxy_url[0] != '\0', "proxy_url", cluster_json_text(member->proxy_url));
	PUT(member->has_checkpoint_pending, "checkpoint_after_promote", json_false());
	PUT_RAW(member->tags_json != NULL && strcmp(member->tags_json, "{}") != 0, "tags", member->tags_json);
	PUT(member->has_pending_restart, "pending_restart", json_true());
	PUT_RAW(member->has_pending_restart && member->pending_restart_reason_json != NULL,
			"pending_restart_reason", member->pending_restart_reason_json);
	PUT(member->xlog_location != 0, "xlog_location", cluster_json_lsn(member->xlog_location));
	PUT(member->replay_lsn != 0, "replay_lsn", cluster_json_lsn(member->replay_lsn));
	PUT(member->receive_lsn != 0, "receive_lsn", cluster_json_lsn(member->receive_lsn));
	PUT(member->replication_state[0] != '\0', "replication_state",
		cluster_json_text(member->replication_state));
	PUT(member->timeline != 0, "timeline", json_integer(member->timeline));
	PUT_RAW(member->scheduled_restart_json != NULL, "scheduled_restart", member->scheduled_restart_json);
	PUT(member->is_paused, "pause", json_true());
	PUT(member->hang[0] != '\0', "hang", cluster_json_text(member->hang));
	PUT(member->gives_way, "gives_way", json_true());
#undef PUT
#undef PUT_RAW
	if (!ok)
	{
		json_decref(object);
		return NULL;
	}
	return cluster_json_write(object);
}
