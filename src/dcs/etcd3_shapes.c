/*-------------------------------------------------------------------------
 *
 * etcd3_shapes.c
 *      The words of etcd's JSON gateway: request bodies and errors.
 *
 * The order of the fields is Patroni's, so that traffic can be compared
 * byte for byte.  No I/O here.
 *-------------------------------------------------------------------------
 */
#include "dcs/etcd3_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dcs/base64.h"

/* Takes the reference; NULL in, NULL out. */
static char *
dump(json_t *json)
{
	char	   *text;

	if (json == NULL)
		return NULL;
	text = json_dumps(json, JSON_COMPACT);
	json_decref(json);
	return text;
}

static json_t *
text64(const char *text)
{
	char	   *encoded = base64_encode(text, strlen(text));
	json_t	   *json = encoded != NULL ? json_string(encoded) : NULL;

	free(encoded);
	return json;
}

static json_t *
number(uint64_t value)
{
	char		text[24];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	return json_string(text);
}

/* {"key":K,"value":V,"lease":"ID"} */
static json_t *
put(const char *key, const char *value, const char *lease)
{
	json_t	   *json = json_pack("{s:o,s:o}", "key", text64(key), "value", text64(value));

	if (json != NULL && lease != NULL && lease[0] != '\0' &&
		json_object_set_new(json, "lease", json_string(lease)) != 0)
	{
		json_decref(json);
		return NULL;
	}
	return json;
}

static char *
txn(json_t *compare, const char *request, json_t *argument)
{
	return dump(json_pack("{s:[o],s:[{s:o}]}", "compare", compare, "success", request, argument));
}

static json_t *
compare_version(const char *key, uint64_t version)
{
	return json_pack("{s:s,s:o,s:o}", "target", "MOD", "mod_revision", number(version),
					 "key", text64(key));
}

static json_t *
compare_value(const char *key, const char *value)
{
	return json_pack("{s:o,s:s,s:o}", "key", text64(key), "target", "VALUE",
					 "value", text64(value));
}

/* The end of a prefix scan: the last byte below 0xff counted up.  malloc'ed. */
char *
etcd3_range_end(const char *prefix)
{
	char	   *end = strdup(prefix);
	size_t		n;

	if (end == NULL)
		return NULL;
	for (n = strlen(end); n > 0; n--)
	{
		unsigned char last = (unsigned char) end[n - 1];

		if (last < 0xff)
		{
			end[n - 1] = (char) (last + 1);
			end[n] = '\0';
			return end;
		}
	}
	free(end);
	return NULL;
}

/* "range_end" NULL: one key. */
char *
etcd3_body_range(const char *key, const char *range_end, bool serializable)
{
	if (range_end == NULL)
		return dump(json_pack("{s:o,s:b}", "key", text64(key), "serializable", serializable));
	return dump(json_pack("{s:o,s:o,s:b}", "key", text64(key), "range_end", text64(range_end),
						  "serializable", serializable));
}

/*
 * The leader key, and which key of the cluster was written last, in one read:
 * a transaction that only reads is no proposal.
 */
char *
etcd3_body_newest(const char *leader, const char *key, const char *range_end)
{
	return dump(json_pack("{s:[{s:{s:o}},{s:{s:o,s:o,s:s,s:s,s:s,s:b}}]}", "success",
						  "request_range", "key", text64(leader),
						  "request_range", "key", text64(key), "range_end", text64(range_end),
						  "limit", "1", "sort_order", "DESCEND", "sort_target", "MOD",
						  "keys_only", 1));
}

char *
etcd3_body_put(const char *key, const char *value, const char *lease)
{
	return dump(put(key, value, lease));
}

char *
etcd3_body_delete(const char *key)
{
	return dump(json_pack("{s:o}", "key", text64(key)));
}

/* Create the key if it is absent. */
char *
etcd3_body_create(const char *key, const char *value, const char *lease)
{
	return txn(json_pack("{s:s,s:s,s:o}", "target", "CREATE", "create_revision", "0",
						 "key", text64(key)),
			   "request_put", put(key, value, lease));
}

char *
etcd3_body_put_version(const char *key, const char *value, uint64_t version)
{
	return txn(compare_version(key, version), "request_put", put(key, value, NULL));
}

/*
 * Write the key if it has this version (0: if it is absent) and the leader key has
 * that one: what only a leader may write, carried out late, must not tell of
 * one whose lease is over.
 */
char *
etcd3_body_put_as_leader(const char *key, const char *value, uint64_t version,
						 const char *leader, uint64_t leader_version)
{
	return dump(json_pack("{s:[o,o],s:[{s:o}]}", "compare", compare_version(key, version),
						  compare_version(leader, leader_version),
						  "success", "request_put", put(key, value, NULL)));
}

char *
etcd3_body_delete_version(const char *key, uint64_t version)
{
	return txn(compare_version(key, version), "request_delete_range",
			   json_pack("{s:o}", "key", text64(key)));
}

/*
 * Delete the key if it still holds the value and was created by this revision.
 * Without the latter a request that arrives late could delete a key that its
 * sender has let go and created anew since.
 */
char *
etcd3_body_delete_value(const char *key, const char *value, uint64_t revision)
{
	return dump(json_pack("{s:[o,{s:s,s:s,s:o,s:o}],s:[{s:{s:o}}]}",
						  "compare", compare_value(key, value),
						  "target", "CREATE", "result", "LESS",
						  "create_revision", number(revision + 1), "key", text64(key),
						  "success", "request_delete_range", "key", text64(key)));
}

/*
 * Create the leader key if it is absent and nobody was promoted since we read
 * the store: then another member has led that we have not heard of, on a newer
 * timeline.  Who held the key without knowing would be taken for right by the
 * others.  And only while the key "failsafe" is the one that we read: a leader
 * who has written another since need not ask us (src/ha/failsafe.c).  Version
 * 0: the key is not there.  With "new_promotions" that key gets it as well.
 */
char *
etcd3_body_acquire(const char *key, const char *value, const char *lease,
				   const char *promotions, uint64_t promotions_version,
				   const char *new_promotions, const char *history, uint64_t history_version,
				   const char *failsafe, uint64_t failsafe_version)
{
	json_t	   *writes = json_pack("[{s:o}]", "request_put", put(key, value, lease));

	if (writes != NULL && new_promotions != NULL &&
		json_array_append_new(writes, json_pack("{s:o}", "request_put",
												put(promotions, new_promotions, NULL))) != 0)
	{
		json_decref(writes);
		writes = NULL;
	}
	return dump(json_pack("{s:[{s:s,s:s,s:o},o,o,o],s:o}", "compare",
						  "target", "CREATE", "create_revision", "0", "key", text64(key),
						  compare_version(promotions, promotions_version),
						  compare_version(history, history_version),
						  compare_version(failsafe, failsafe_version),
						  "success", writes));
}

/*
 * Put the leader key under our lease if it is ours, as we read it; an absent one is
 * not made anew.  Without the version a request that arrives late, from before
 * the host was started anew, could put it back under a lease that nobody renews.
 */
char *
etcd3_body_confirm(const char *key, const char *value, uint64_t version, const char *lease)
{
	return dump(json_pack("{s:[o,o],s:[{s:o}]}",
						  "compare", compare_value(key, value), compare_version(key, version),
						  "success", "request_put", put(key, value, lease)));
}

char *
etcd3_body_grant(int64_t ttl_s)
{
	return dump(json_pack("{s:I}", "TTL", (json_int_t) ttl_s));
}

char *
etcd3_body_keepalive(const char *lease)
{
	return dump(json_pack("{s:s}", "ID", lease));
}

/* Watch a range from a revision on (inclusive). */
char *
etcd3_body_watch(const char *key, const char *range_end, uint64_t revision)
{
	return dump(json_pack("{s:{s:o,s:o,s:o,s:[],s:b}}", "create_request",
						  "key", text64(key), "range_end", text64(range_end),
						  "start_revision", number(revision), "filters",
						  "progress_notify", 1));
}

char *
etcd3_body_authenticate(const char *username, const char *password)
{
	return dump(json_pack("{s:s,s:s}", "name", username, "password", password));
}

/* A 64-bit number, which travels as text; 0 if it is none. */
uint64_t
etcd3_number(const json_t *value)
{
	if (json_is_string(value))
		return strtoull(json_string_value(value), NULL, 10);
	if (json_is_integer(value) && json_integer_value(value) > 0)
		return (uint64_t) json_integer_value(value);
	return 0;
}

/* The path prefix that a version of etcd speaks; false: we cannot speak to it. */
bool
etcd3_prefix_of_version(const char *version, char prefix[16])
{
	unsigned	major;
	unsigned	minor;

	if (sscanf(version, "%u.%u", &major, &minor) != 2 ||
		major < 3 || (major == 3 && minor < 3))
		return false;
	snprintf(prefix, 16, "%s", major == 3 && minor == 3 ? "/v3beta" : "/v3");
	return true;
}

static const struct
{
	const char *text;			/* part of the message */
	Etcd3Error	error;
}			known_messages[] =
{
	{"requested lease not found", ETCD3_LEASE_NOT_FOUND},
	{"user name is empty", ETCD3_NOT_AUTHENTICATED},
	{"authentication failed, invalid user ID or password", ETCD3_AUTH_FAILED},
	{"revision of auth store is old", ETCD3_NOT_AUTHENTICATED},
	{"permission denied", ETCD3_NOT_AUTHENTICATED},
	{"authentication is not enabled", ETCD3_AUTH_DISABLED},
	{"invalid auth token", ETCD3_NOT_AUTHENTICATED},
	{"required revision has been compacted", ETCD3_COMPACTED},
	{"not a primary lessor", ETCD3_UNAVAILABLE},
	{"context deadline exceeded", ETCD3_UNAVAILABLE},
};

/*
 * What an answer that is not 200 means.  "answer" is its body or NULL when
 * that is no JSON; the message is copied for people.
 */
Etcd3Error
etcd3_classify(int status, const json_t *answer, char *message, size_t size)
{
	const json_t *error = json_object_get(answer, "error");
	const json_t *text = json_object_get(answer, "message");
	const json_t *code = json_object_get(answer, "code");
	const char *found;
	size_t		i;

	if (error == NULL)
		error = json_object_get(answer, "Error");
	if (code == NULL)
		code = json_object_get(answer, "Code");
	if (json_is_object(error))
	{
		text = json_object_get(error, "message");
		code = json_object_get(error, "grpc_code");
	}
	else if (json_is_string(error))
		text = error;
	found = json_is_string(text) ? json_string_value(text) : NULL;
	if (found == NULL)
		snprintf(message, size, "etcd answered with HTTP status %d", status);
	else
		snprintf(message, size, "%.500s", found);
	for (i = 0; message[i] != '\0'; i++)
		if ((unsigned char) message[i] < ' ')
			message[i] = ' ';

	if (found != NULL)
		for (i = 0; i < sizeof(known_messages) / sizeof(known_messages[0]); i++)
			if (strstr(found, known_messages[i].text) != NULL)
				return known_messages[i].error;
	if (code == NULL)
		return status == 404 ? ETCD3_NO_SUCH_PATH :
			status == 401 ? ETCD3_NOT_AUTHENTICATED :
			status >= 500 || status < 400 ? ETCD3_UNAVAILABLE : ETCD3_REFUSED;
	switch (etcd3_number(code))
	{
		case 5:					/* NotFound, without a known message */
			return ETCD3_REFUSED;
		case 7:					/* PermissionDenied */
		case 16:				/* Unauthenticated */
			return ETCD3_NOT_AUTHENTICATED;
		case 9:					/* FailedPrecondition */
			return ETCD3_RETRIABLE;
		case 3:					/* InvalidArgument */
		case 6:					/* AlreadyExists */
		case 8:					/* ResourceExhausted */
		case 11:				/* OutOfRange */
		case 12:				/* Unimplemented */
			return ETCD3_REFUSED;
		default:				/* also 14, Unavailable: it may have happened */
			return ETCD3_UNAVAILABLE;
	}
}
