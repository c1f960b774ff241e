/*-------------------------------------------------------------------------
 *
 * trace_json.c
 *      Inputs and answers of the engine as JSON, and inputs back.
 *
 * Invariants:
 *  (1) What an input says is written and read back the same, except for what
 *      trace_scrub() takes out and bytes that are no UTF-8.
 *  (2) The same is taken out of inputs and of answers, so that an engine that
 *      gets the inputs as written answers as it is written.
 *  (3) The dynamic configuration is never written: the engine asks of it only
 *      whether it is there.
 *-------------------------------------------------------------------------
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "node/host_internal.h"

/* ------------------------------------------------------------------------
 * Texts
 * ------------------------------------------------------------------------
 */

/* The end of a text's part that a URL's user name and password could be in. */
static size_t
user_length(const char *text)
{
	return strcspn(text, "@/ \t\n\"'");
}

/* "scheme://user:secret@" -> "scheme://user:***@"; moves both on. */
static bool
scrub_url(const char **from, char **to)
{
	const char *user = *from + 3;
	size_t length;
	const char *colon;

	if (strncmp(*from, "://", 3) != 0)
		return false;
	length = user_length(user);
	if (user[length] != '@')
		return false;
	colon = memchr(user, ':', length);
	if (colon == NULL)
		return false;
	memcpy(*to, *from, (size_t) (colon + 1 - *from));
	*to += colon + 1 - *from;
	memcpy(*to, "***", 3);
	*to += 3;
	*from = user + length;
	return true;
}

/* "password=secret", "password='sec ret'" -> "password=***". */
static bool
scrub_word(const char **from, char **to)
{
	static const char word[] = "password=";
	const char *value;

	if (strncmp(*from, word, strlen(word)) != 0)
		return false;
	value = *from + strlen(word);
	memcpy(*to, word, strlen(word));
	memcpy(*to + strlen(word), "***", 3);
	*to += strlen(word) + 3;
	if (*value == '\'')
	{
		value++;
		while (*value != '\0' && *value != '\'')
			value += value[0] == '\\' && value[1] != '\0' ? 2 : 1;
		value += *value == '\'';
	}
	else
		value += strcspn(value, " \t\n\"'&\\");
	*from = value;
	return true;
}

/* The text without what looks like a password.  Twice is the same as once. */
char *
trace_scrub(const char *text)
{
	size_t n_found = 0;
	char *copy;
	char *to;

	for (const char *at = text; *at != '\0'; at++)
		n_found += *at == ':' || *at == '=';
	copy = malloc(strlen(text) + 3 * n_found + 1);
	to = copy;
	while (copy != NULL && *text != '\0')
	{
		if (!scrub_url(&text, &to) && !scrub_word(&text, &to))
			*to++ = *text++;
	}
	if (copy != NULL)
		*to = '\0';
	return copy;
}

static json_t *
text_to_json(const char *text)
{
	char *clean = trace_scrub(text);
	json_t *value = clean == NULL ? NULL : host_text_to_json(clean);

	free(clean);
	return value;
}

/* ------------------------------------------------------------------------
 * Plain fields
 * ------------------------------------------------------------------------
 */

typedef enum FieldType
{
	FIELD_BOOL,
	FIELD_INT, /* also an enum or uint32_t */
	FIELD_INT64,
	FIELD_TEXT,
} FieldType;

typedef struct Field
{
	const char *name;
	FieldType type;
	size_t offset;
	size_t size;
} Field;

#define FIELD(of, type, name) \
	{ \
#name, type, offsetof(of, name), sizeof(((of *) NULL)->name) \
	}
/* A field of one of the nameless structs in HaInput. */
#define PART(part, type, name) \
	{ \
#name, type, offsetof(HaInput, part.name), sizeof(((HaInput *) NULL)->part.name) \
	}
#define COUNT(array) ((int) (sizeof(array) / sizeof((array)[0])))

static const Field settings_fields[] = {
	FIELD(HaSettings, FIELD_TEXT, name),
	FIELD(HaSettings, FIELD_TEXT, scope),
	FIELD(HaSettings, FIELD_TEXT, conn_url),
	FIELD(HaSettings, FIELD_TEXT, api_url),
	FIELD(HaSettings, FIELD_TEXT, proxy_url),
	FIELD(HaSettings, FIELD_TEXT, agent_version),
	FIELD(HaSettings, FIELD_INT64, ttl_ms),
	FIELD(HaSettings, FIELD_INT64, loop_wait_ms),
	FIELD(HaSettings, FIELD_INT64, retry_timeout_ms),
	FIELD(HaSettings, FIELD_INT64, peer_timeout_ms),
	FIELD(HaSettings, FIELD_BOOL, is_paused),
	FIELD(HaSettings, FIELD_BOOL, failsafe_mode),
	FIELD(HaSettings, FIELD_INT64, maximum_lag_on_failover),
	FIELD(HaSettings, FIELD_INT64, primary_start_timeout_ms),
	FIELD(HaSettings, FIELD_INT64, primary_stop_timeout_ms),
	FIELD(HaSettings, FIELD_INT, max_timelines_history),
	FIELD(HaSettings, FIELD_INT, sync_mode),
	FIELD(HaSettings, FIELD_BOOL, sync_is_strict),
	FIELD(HaSettings, FIELD_INT, sync_node_count),
	FIELD(HaSettings, FIELD_INT64, maximum_lag_on_syncnode),
	FIELD(HaSettings, FIELD_BOOL, use_slots),
	FIELD(HaSettings, FIELD_INT64, member_slots_ttl_ms),
	FIELD(HaSettings, FIELD_TEXT, permanent_slots),
	FIELD(HaSettings, FIELD_TEXT, ignore_slots),
	FIELD(HaSettings, FIELD_BOOL, use_pg_rewind),
	FIELD(HaSettings, FIELD_BOOL, remove_data_directory_on_rewind_failure),
	FIELD(HaSettings, FIELD_BOOL, remove_data_directory_on_diverged_timelines),
	FIELD(HaSettings, FIELD_BOOL, may_bootstrap),
	FIELD(HaSettings, FIELD_BOOL, tags.nofailover),
	FIELD(HaSettings, FIELD_BOOL, tags.noloadbalance),
	FIELD(HaSettings, FIELD_BOOL, tags.clonefrom),
	FIELD(HaSettings, FIELD_BOOL, tags.nosync),
	FIELD(HaSettings, FIELD_BOOL, tags.nostream),
	FIELD(HaSettings, FIELD_INT, tags.failover_priority),
	FIELD(HaSettings, FIELD_INT, tags.sync_priority),
	FIELD(HaSettings, FIELD_TEXT, tags.replicatefrom),
	FIELD(HaSettings, FIELD_TEXT, tags_json),
	FIELD(HaSettings, FIELD_TEXT, initial_config),
};

static const Field peer_fields[] = {
	FIELD(HaPeer, FIELD_TEXT, name),
	FIELD(HaPeer, FIELD_INT64, round),
	FIELD(HaPeer, FIELD_BOOL, is_reachable),
	FIELD(HaPeer, FIELD_BOOL, is_in_recovery),
	FIELD(HaPeer, FIELD_BOOL, can_lead),
	FIELD(HaPeer, FIELD_BOOL, is_hanging),
	FIELD(HaPeer, FIELD_BOOL, nofailover),
	FIELD(HaPeer, FIELD_BOOL, watchdog_failed),
	FIELD(HaPeer, FIELD_INT, failover_priority),
	FIELD(HaPeer, FIELD_INT, missing_slots),
	FIELD(HaPeer, FIELD_INT, timeline),
	FIELD(HaPeer, FIELD_INT64, position),
	FIELD(HaPeer, FIELD_INT64, checkpoint_redo),
	FIELD(HaPeer, FIELD_INT, state),
	FIELD(HaPeer, FIELD_BOOL, is_vote),
	FIELD(HaPeer, FIELD_BOOL, has_accepted),
	FIELD(HaPeer, FIELD_TEXT, refusal),
};

static const Field command_fields[] = {
	FIELD(HaCommand, FIELD_INT64, id),
	FIELD(HaCommand, FIELD_INT, kind),
	FIELD(HaCommand, FIELD_TEXT, member),
	FIELD(HaCommand, FIELD_TEXT, leader),
	FIELD(HaCommand, FIELD_TEXT, candidate),
	FIELD(HaCommand, FIELD_TEXT, role),
	FIELD(HaCommand, FIELD_TEXT, reason),
	FIELD(HaCommand, FIELD_BOOL, is_scheduled),
	FIELD(HaCommand, FIELD_INT64, scheduled_at_ms),
	FIELD(HaCommand, FIELD_BOOL, only_pending),
	FIELD(HaCommand, FIELD_INT, version_below),
	FIELD(HaCommand, FIELD_TEXT, postgres_version),
	FIELD(HaCommand, FIELD_BOOL, force),
	FIELD(HaCommand, FIELD_BOOL, from_leader),
	FIELD(HaCommand, FIELD_BOOL, wait),
	FIELD(HaCommand, FIELD_INT64, timeout_ms),
};

static const Field reply_fields[] = {
	PART(reply, FIELD_INT64, id),
	PART(reply, FIELD_INT, outcome),
	PART(reply, FIELD_BOOL, session_lost),
	PART(reply, FIELD_INT64, sent_at_ms),
	PART(reply, FIELD_INT64, version),
};

static const Field task_fields[] = {
	PART(task, FIELD_INT, task),
	PART(task, FIELD_INT64, id),
	PART(task, FIELD_INT, outcome),
	PART(task, FIELD_INT, divergence),
	PART(task, FIELD_INT64, lsn),
};

static const Field promise_fields[] = {
	PART(promise, FIELD_INT64, until_ms),
	PART(promise, FIELD_INT64, page_made_ms),
};

static const Field reachable_fields[] = {
	PART(reachable, FIELD_BOOL, is_reachable),
};

static const Field action_fields[] = {
	FIELD(HaAction, FIELD_TEXT, because),
	FIELD(HaAction, FIELD_INT, level),
	FIELD(HaAction, FIELD_INT64, request_id),
	FIELD(HaAction, FIELD_INT64, version),
	FIELD(HaAction, FIELD_INT64, history_version),
	FIELD(HaAction, FIELD_INT64, failsafe_version),
	FIELD(HaAction, FIELD_INT64, leader_version),
	FIELD(HaAction, FIELD_INT64, command_id),
	FIELD(HaAction, FIELD_INT64, round),
	FIELD(HaAction, FIELD_INT64, task_id),
	FIELD(HaAction, FIELD_INT64, deadline_ms),
	FIELD(HaAction, FIELD_INT, timeout_ms),
	FIELD(HaAction, FIELD_INT, stop_mode),
	FIELD(HaAction, FIELD_BOOL, from_leader),
	FIELD(HaAction, FIELD_BOOL, is_former_primary),
	FIELD(HaAction, FIELD_BOOL, ok),
	FIELD(HaAction, FIELD_INT, exit_code),
	FIELD(HaAction, FIELD_INT, timeline),
	FIELD(HaAction, FIELD_INT, parent),
	FIELD(HaAction, FIELD_INT64, lsn),
	FIELD(HaAction, FIELD_INT, role),
	FIELD(HaAction, FIELD_TEXT, member),
	FIELD(HaAction, FIELD_TEXT, key),
	FIELD(HaAction, FIELD_TEXT, value),
	FIELD(HaAction, FIELD_TEXT, url),
	FIELD(HaAction, FIELD_TEXT, slot),
	FIELD(HaAction, FIELD_TEXT, database),
	FIELD(HaAction, FIELD_TEXT, plugin),
	FIELD(HaAction, FIELD_TEXT, detail),
	FIELD(HaAction, FIELD_TEXT, hint),
};

static const char *const input_names[] = {
	[HA_INPUT_TICK] = "tick",
	[HA_INPUT_SETTINGS] = "settings",
	[HA_INPUT_CLUSTER] = "cluster",
	[HA_INPUT_REACHABLE] = "reachable",
	[HA_INPUT_REPLY] = "reply",
	[HA_INPUT_POSTGRES] = "postgres",
	[HA_INPUT_PEER] = "peer",
	[HA_INPUT_TASK] = "task",
	[HA_INPUT_COMMAND] = "command",
	[HA_INPUT_FENCE_LOST] = "fence lost",
	[HA_INPUT_PROMISE] = "promise",
	[HA_INPUT_ASK_MEMBERS] = "ask members",
};

static const char *const action_names[] = {
	[HA_RENEW] = "renew",
	[HA_ACQUIRE] = "acquire",
	[HA_RELEASE] = "release",
	[HA_PUT_MEMBER] = "put member",
	[HA_DELETE_MEMBER] = "delete member",
	[HA_CREATE_KEY] = "create key",
	[HA_PUT_KEY] = "put key",
	[HA_DELETE_KEY] = "delete key",
	[HA_ASK_PEER] = "ask peer",
	[HA_ASK_CONSENT] = "ask consent",
	[HA_PROMISE] = "promise",
	[HA_FENCE] = "fence",
	[HA_YIELD] = "yield",
	[HA_PROMOTE] = "promote",
	[HA_PLACE_HISTORY] = "place history",
	[HA_FOLLOW] = "follow",
	[HA_CHECKPOINT] = "checkpoint",
	[HA_CREATE_SLOT] = "create slot",
	[HA_DROP_SLOT] = "drop slot",
	[HA_ADVANCE_SLOT] = "advance slot",
	[HA_COPY_SLOTS] = "copy slots",
	[HA_RELOAD] = "reload",
	[HA_RESUME_REPLAY] = "resume replay",
	[HA_SET_SYNC_NAMES] = "set sync names",
	[HA_START_TASK] = "start task",
	[HA_CANCEL_TASK] = "cancel task",
	[HA_CALLBACK] = "callback",
	[HA_EXIT] = "exit",
	[HA_ANSWER] = "answer",
	[HA_LOG] = "log",
	[HA_WAKE_AT] = "wake at",
};

static bool
field_is_zero(const char *place, const Field *field)
{
	if (field->type == FIELD_TEXT)
		return *place == '\0';
	for (size_t i = 0; i < field->size; i++)
	{
		if (place[i] != 0)
			return false;
	}
	return true;
}

static json_t *
field_to_json(const char *place, const Field *field)
{
	switch (field->type)
	{
		case FIELD_BOOL:
			return json_boolean(*(const bool *) place);
		case FIELD_INT:
			return json_integer(*(const int32_t *) place);
		case FIELD_INT64:
			return json_integer(*(const int64_t *) place);
		case FIELD_TEXT:
			return text_to_json(place);
	}
	return NULL;
}

/* All fields, or only those that are not zero. */
static json_t *
fields_to_json(const void *object, const Field *fields, int n_fields, bool with_zeroes)
{
	json_t *json = json_pack("{}");

	for (int i = 0; json != NULL && i < n_fields; i++)
	{
		const char *place = (const char *) object + fields[i].offset;

		if (with_zeroes || !field_is_zero(place, &fields[i]))
			json_object_set_new(json, fields[i].name, field_to_json(place, &fields[i]));
	}
	return json;
}

static void
fields_from_json(void *object, const Field *fields, int n_fields, const json_t *json)
{
	for (int i = 0; i < n_fields; i++)
	{
		const json_t *value = json_object_get(json, fields[i].name);
		char *place = (char *) object + fields[i].offset;

		switch (fields[i].type)
		{
			case FIELD_BOOL:
				*(bool *) place = json_is_true(value);
				break;
			case FIELD_INT:
				*(int32_t *) place = (int32_t) json_integer_value(value);
				break;
			case FIELD_INT64:
				*(int64_t *) place = json_integer_value(value);
				break;
			case FIELD_TEXT:
				host_copy_text(place, fields[i].size, json_string_value(value));
				break;
		}
	}
}

/* ------------------------------------------------------------------------
 * Inputs
 * ------------------------------------------------------------------------
 */

/* The word for a kind of input. */
const char *
trace_input_name(HaInputKind kind)
{
	return input_names[kind];
}

/* Settings, views and server states are written as changes. */
bool
trace_input_is_long(HaInputKind kind)
{
	return kind == HA_INPUT_SETTINGS || kind == HA_INPUT_CLUSTER || kind == HA_INPUT_POSTGRES;
}

/* What a view says of itself; its keys come with trace_view_add_key(). */
json_t *
trace_view_to_json(const ClusterView *view)
{
	return json_pack("{s:b, s:b, s:I, s:I}", "is_loaded", view->is_loaded, "is_incomplete",
	                 view->is_incomplete, "revision", (json_int_t) view->revision,
	                 "complete_revision", (json_int_t) view->complete_revision);
}

static bool
view_shows(const char *name)
{
	static const char *const names[] = { "leader", "initialize", "config",  "failover",
		                                 "sync",   "status",     "history", "optime/leader",
		                                 "failsafe", "promotions" };

	for (int i = 0; i < COUNT(names); i++)
	{
		if (strcmp(names[i], name) == 0)
			return true;
	}
	return strncmp(name, "members/", 8) == 0 || strncmp(name, "requests/", 9) == 0;
}

/*
 * A key of the view, "key <name>": [value, session, version].  Of the
 * configuration only whether it is one: an object or not.
 */
void
trace_view_add_key(json_t *document, const ClusterKey *key)
{
	char name[600];
	const char *value = key->value;

	if (value == NULL || !view_shows(key->name))
		return;
	if (strcmp(key->name, "config") == 0)
	{
		json_t *config = json_loads(value, JSON_ALLOW_NUL, NULL);

		value = json_is_object(config) ? "{}" : "";
		json_decref(config);
	}
	snprintf(name, sizeof(name), "key %.580s", key->name);
	json_object_set_new(document, name,
	                    json_pack("[o, o, I]", text_to_json(value), text_to_json(key->session),
	                              (json_int_t) key->version));
}

static bool
view_from_json(ClusterView *view, const json_t *document)
{
	const char *name;
	json_t *entry;
	bool has_status = json_object_get(document, "key status") != NULL;

	/* the macro wants what is not const */
	json_object_foreach((json_t *) document, name, entry)
	{
		ClusterKey key;

		if (strncmp(name, "key ", 4) != 0)
			continue;
		key.name = name + 4;
		key.value = json_string_value(json_array_get(entry, 0));
		key.session = json_string_value(json_array_get(entry, 1));
		key.version = (uint64_t) json_integer_value(json_array_get(entry, 2));
		if (key.value == NULL || key.session == NULL)
			return false;
		/* as src/dcs shows them: "status" wins */
		if (!has_status || strcmp(key.name, "optime/leader") != 0)
			cluster_view_apply(view, &key);
	}
	view->is_loaded = json_is_true(json_object_get(document, "is_loaded"));
	view->is_incomplete = json_is_true(json_object_get(document, "is_incomplete"));
	view->revision = (uint64_t) json_integer_value(json_object_get(document, "revision"));
	view->complete_revision = (uint64_t)
		json_integer_value(json_object_get(document, "complete_revision"));
	return true;
}

static json_t *
settings_to_json(const HaSettings *settings)
{
	json_t *json = fields_to_json(settings, settings_fields, COUNT(settings_fields), true);

	/* what matters of it is that there is one */
	if (json != NULL && settings->initial_config[0] != '\0')
		json_object_set_new(json, "initial_config", json_string("{}"));
	return json;
}

static void
add_text(json_t *json, const char *key, const char *text)
{
	if (json != NULL && text != NULL)
		json_object_set_new(json, key, text_to_json(text));
}

/* Any input but a view; an empty object when its kind says it all. */
json_t *
trace_input_to_json(const HaInput *input)
{
	json_t *json;

	switch (input->kind)
	{
		case HA_INPUT_SETTINGS:
			return settings_to_json(input->settings);
		case HA_INPUT_POSTGRES:
			return postgres_to_json(input->postgres);
		case HA_INPUT_PEER:
			return fields_to_json(input->peer, peer_fields, COUNT(peer_fields), true);
		case HA_INPUT_COMMAND:
			return fields_to_json(input->command, command_fields, COUNT(command_fields), true);
		case HA_INPUT_REACHABLE:
			json = fields_to_json(input, reachable_fields, COUNT(reachable_fields), true);
			add_text(json, "text", input->reachable.reason);
			return json;
		case HA_INPUT_PROMISE:
			return fields_to_json(input, promise_fields, COUNT(promise_fields), true);
		case HA_INPUT_REPLY:
			json = fields_to_json(input, reply_fields, COUNT(reply_fields), true);
			add_text(json, "text", input->reply.error);
			return json;
		case HA_INPUT_TASK:
			json = fields_to_json(input, task_fields, COUNT(task_fields), true);
			add_text(json, "text", input->task.message);
			return json;
		default:
			return json_pack("{}");
	}
}

/* Read an input, except for its time. */
bool
trace_input_from_json(TraceInput *result, const char *name, const json_t *document)
{
	HaInput *input = &result->input;
	const char *text = json_string_value(json_object_get(document, "text"));
	int kind = 0;

	trace_input_free(result);
	while (kind < COUNT(input_names) && (name == NULL || strcmp(input_names[kind], name) != 0))
		kind++;
	if (kind == COUNT(input_names) || !json_is_object(document))
		return false;
	input->kind = (HaInputKind) kind;
	host_copy_text(result->text, sizeof(result->text), text);
	text = text == NULL ? NULL : result->text;
	switch (input->kind)
	{
		case HA_INPUT_SETTINGS:
			fields_from_json(&result->settings, settings_fields, COUNT(settings_fields), document);
			input->settings = &result->settings;
			break;
		case HA_INPUT_CLUSTER:
			input->view = &result->view;
			return view_from_json(&result->view, document);
		case HA_INPUT_POSTGRES:
			input->postgres = &result->postgres;
			return postgres_from_json(&result->postgres, document);
		case HA_INPUT_PEER:
			fields_from_json(&result->peer, peer_fields, COUNT(peer_fields), document);
			input->peer = &result->peer;
			break;
		case HA_INPUT_COMMAND:
			fields_from_json(&result->command, command_fields, COUNT(command_fields), document);
			input->command = &result->command;
			break;
		case HA_INPUT_REACHABLE:
			fields_from_json(input, reachable_fields, COUNT(reachable_fields), document);
			input->reachable.reason = text;
			break;
		case HA_INPUT_PROMISE:
			fields_from_json(input, promise_fields, COUNT(promise_fields), document);
			break;
		case HA_INPUT_REPLY:
			fields_from_json(input, reply_fields, COUNT(reply_fields), document);
			input->reply.error = text;
			break;
		case HA_INPUT_TASK:
			fields_from_json(input, task_fields, COUNT(task_fields), document);
			input->task.message = text;
			break;
		default:
			break;
	}
	return true;
}

/* Free what it owns and make it zero. */
void
trace_input_free(TraceInput *input)
{
	cluster_view_free(&input->view);
	memset(input, 0, sizeof(*input));
}

/* What makes "now" of "before"; both are objects.  NULL: they are equal. */
json_t *
trace_change(const json_t *before, const json_t *now)
{
	json_t *set = json_pack("{}");
	json_t *gone = json_pack("[]");
	const char *name;
	json_t *value;

	json_object_foreach((json_t *) now, name, value)
	{
		json_t *old = json_object_get(before, name);

		if (old == NULL || !json_equal(old, value))
			json_object_set(set, name, value);
	}
	json_object_foreach((json_t *) before, name, value)
	{
		if (json_object_get(now, name) == NULL)
			json_array_append_new(gone, json_string(name));
	}
	if (json_object_size(set) > 0 || json_array_size(gone) > 0)
		return json_pack("{s:o, s:o}", "set", set, "gone", gone);
	json_decref(set);
	json_decref(gone);
	return NULL;
}

/* Apply what trace_change() found; NULL changes nothing. */
bool
trace_apply_change(json_t *document, const json_t *change)
{
	json_t *set = json_object_get(change, "set");
	json_t *gone = json_object_get(change, "gone");
	size_t index;
	json_t *name;

	if (change == NULL)
		return true;
	if (!json_is_object(set) || !json_is_array(gone))
		return false;
	json_array_foreach(gone, index, name)
	{
		if (json_string_value(name) == NULL ||
		    json_object_del(document, json_string_value(name)) != 0)
			return false;
	}
	return json_object_update(document, set) == 0;
}

/* ------------------------------------------------------------------------
 * Answers
 * ------------------------------------------------------------------------
 */

static json_t *
action_to_json(const HaAction *action)
{
	json_t *json = fields_to_json(action, action_fields, COUNT(action_fields), false);
	bool is_config = strcmp(action->key, "config") == 0 && action->text != NULL;

	if (json == NULL)
		return NULL;
	json_object_set_new(json, "do", json_string(action_names[action->kind]));
	if (action->task != HA_TASK_NONE)
		add_text(json, "task", ha_task_name(action->task));
	add_text(json, "rule", action->rule);
	add_text(json, "sqlstate", action->sqlstate);
	add_text(json, "text", is_config ? "{}" : action->text);
	return json;
}

/* What a step wants done, in order. */
json_t *
trace_actions_to_json(const HaActions *actions)
{
	json_t *list = json_pack("[]");

	for (int i = 0; list != NULL && i < actions->count; i++)
		json_array_append_new(list, action_to_json(&actions->items[i]));
	if (list != NULL && actions->is_incomplete)
		json_array_append_new(list, json_string("incomplete"));
	return list;
}

/* What the engine thinks after a step. */
json_t *
trace_node_to_json(const HaNode *node)
{
	const HaDecision *decision = ha_decision(node);

	return json_pack("{s:o, s:o, s:s, s:s, s:s, s:b, s:I}", "rule", text_to_json(decision->rule),
	                 "because", text_to_json(decision->because), "role",
	                 member_role_name(ha_role(node)), "state", member_state_name(ha_state(node)),
	                 "goal", ha_goal_name(node), "lease", ha_has_lease(node), "deadline",
	                 (json_int_t) ha_lease_deadline_ms(node));
}
