/*-------------------------------------------------------------------------
 *
 * postgres_json.c
 *      HaPostgres <-> JSON: how the worker tells the supervisor what it sees,
 *      and what patroni.snapshot() shows of the server.
 *
 * What postgres_to_json() writes, postgres_from_json() reads back the same,
 * field by field.  Fields that are missing stay zero, unknown ones are
 * ignored, so that neighbouring releases understand each other.  The reader
 * trusts nothing: lists and texts are cut at their bounds.
 *-------------------------------------------------------------------------
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/host_internal.h"

static const char *const data_names[] = { "unknown", "empty", "present", "unreadable", NULL };
static const char *const server_names[] = { "unknown", "stopped",  "starting",
	                                        "running", "stopping", NULL };
static const char *const control_names[] = {
	"starting up",   "shut down",         "shut down in recovery",
	"shutting down", "in crash recovery", "in archive recovery",
	"in production", "unknown",           NULL
};

/* as in pg_stat_replication */
static const char *const sync_names[] = { "async", "potential", "quorum", "sync", NULL };

typedef enum FieldType
{
	FIELD_BOOL,
	FIELD_INT,
	FIELD_UINT32,
	FIELD_INT64, /* also Lsn */
	FIELD_TEXT,
} FieldType;

typedef struct Field
{
	const char *name;
	FieldType type;
	size_t offset;
	size_t size; /* of a text */
} Field;

#define FIELD(type, name) \
	{ \
#name, type, offsetof(HaPostgres, name), sizeof(((HaPostgres *) NULL)->name) \
	}

/* The plain fields; enums, slots, senders and history are done by hand. */
static const Field fields[] = {
	FIELD(FIELD_TEXT, problem),
	FIELD(FIELD_INT64, checkpoint_lsn),
	FIELD(FIELD_INT64, checkpoint_redo),
	FIELD(FIELD_UINT32, checkpoint_timeline),
	FIELD(FIELD_INT64, minimum_recovery_lsn),
	FIELD(FIELD_UINT32, minimum_recovery_timeline),
	FIELD(FIELD_BOOL, can_rewind),
	FIELD(FIELD_BOOL, is_standby_configured),
	FIELD(FIELD_BOOL, is_former_primary),
	FIELD(FIELD_UINT32, former_timeline),
	FIELD(FIELD_BOOL, is_observed),
	FIELD(FIELD_BOOL, is_in_recovery),
	FIELD(FIELD_UINT32, timeline),
	FIELD(FIELD_UINT32, newest_timeline),
	FIELD(FIELD_INT64, write_lsn),
	FIELD(FIELD_INT64, flush_lsn),
	FIELD(FIELD_INT64, received_lsn),
	FIELD(FIELD_INT64, replayed_lsn),
	FIELD(FIELD_BOOL, is_streaming),
	FIELD(FIELD_BOOL, has_restore_command),
	FIELD(FIELD_BOOL, is_replay_paused),
	FIELD(FIELD_TEXT, upstream_host),
	FIELD(FIELD_INT, upstream_port),
	FIELD(FIELD_TEXT, upstream_slot),
	FIELD(FIELD_INT64, start_time_ms),
	FIELD(FIELD_INT, version_num),
	FIELD(FIELD_BOOL, has_pending_restart),
	FIELD(FIELD_TEXT, pending_restart_reason),
	FIELD(FIELD_TEXT, hang),
	FIELD(FIELD_BOOL, has_sync),
	FIELD(FIELD_BOOL, is_sync_settled),
	FIELD(FIELD_BOOL, is_sync_overridden),
	FIELD(FIELD_UINT32, sync_generation),
	FIELD(FIELD_INT64, sync_names_lsn),
	FIELD(FIELD_TEXT, sync_names),
};

#define N_FIELDS    ((int) (sizeof(fields) / sizeof(fields[0])))
#define HISTORY_MAX ((int) (sizeof(((HaPostgres *) NULL)->history) / sizeof(TimelineHistory)))

static int
name_index(const char *const *names, const json_t *value)
{
	const char *text = json_string_value(value);

	for (int i = 0; text != NULL && names[i] != NULL; i++)
	{
		if (strcmp(names[i], text) == 0)
			return i;
	}
	return -1;
}

/* How many bytes the UTF-8 character has that begins here; 0: it is none. */
static size_t
utf8_length(const unsigned char *text)
{
	size_t length = text[0] < 0x80                      ? 1
	                : text[0] >= 0xc2 && text[0] < 0xe0 ? 2
	                : text[0] >= 0xe0 && text[0] < 0xf0 ? 3
	                : text[0] >= 0xf0 && text[0] < 0xf5 ? 4
	                                                    : 0;

	for (size_t i = 1; i < length; i++)
	{
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	}
	if ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] > 0x9f) ||
	    (text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] > 0x8f))
		return 0;
	return length;
}

/*
 * A text as JSON.  Texts come from file names and messages, and are cut to
 * fit, maybe within a character: each byte that is no UTF-8 becomes "?".
 */
json_t *
host_text_to_json(const char *text)
{
	json_t *value = json_string(text);
	char *copy;

	if (value != NULL)
		return value;
	copy = strdup(text);
	for (char *at = copy; copy != NULL && *at != '\0';)
	{
		size_t length = utf8_length((unsigned char *) at);

		if (length == 0)
			*at = '?';
		at += length == 0 ? 1 : length;
	}
	value = copy == NULL ? NULL : json_string(copy);
	free(copy);
	return value;
}

static json_t *
field_to_json(const HaPostgres *postgres, const Field *field)
{
	const char *place = (const char *) postgres + field->offset;

	switch (field->type)
	{
		case FIELD_BOOL:
			return json_boolean(*(const bool *) place);
		case FIELD_INT:
			return json_integer(*(const int *) place);
		case FIELD_UINT32:
			return json_integer(*(const uint32_t *) place);
		case FIELD_INT64:
			return json_integer(*(const int64_t *) place);
		case FIELD_TEXT:
			return host_text_to_json(place);
	}
	return NULL;
}

static void
field_from_json(HaPostgres *postgres, const Field *field, const json_t *value)
{
	char *place = (char *) postgres + field->offset;
	int64_t number = json_is_integer(value) ? (int64_t) json_integer_value(value) : 0;

	switch (field->type)
	{
		case FIELD_BOOL:
			*(bool *) place = json_is_true(value);
			break;
		case FIELD_INT:
			*(int *) place = number >= INT32_MIN && number <= INT32_MAX ? (int) number : 0;
			break;
		case FIELD_UINT32:
			*(uint32_t *) place = number >= 0 && number <= UINT32_MAX ? (uint32_t) number : 0;
			break;
		case FIELD_INT64:
			*(int64_t *) place = number;
			break;
		case FIELD_TEXT:
			host_copy_text(place, field->size, json_string_value(value));
			break;
	}
}

static const struct
{
	const char *name;
	size_t offset;
} slot_flags[] = {
	{ "is_logical", offsetof(HaSlot, is_logical) }, { "is_native", offsetof(HaSlot, is_native) },
	{ "is_lost", offsetof(HaSlot, is_lost) },       { "is_copying", offsetof(HaSlot, is_copying) },
	{ "has_xmin", offsetof(HaSlot, has_xmin) },
};

#define N_SLOT_FLAGS ((int) (sizeof(slot_flags) / sizeof(slot_flags[0])))

static bool *
slot_flag(const HaSlot *slot, int index)
{
	return (bool *) ((char *) slot + slot_flags[index].offset);
}

static json_t *
slots_to_json(const HaPostgres *postgres)
{
	json_t *list = json_array();

	for (int i = 0; i < postgres->n_slots; i++)
	{
		const HaSlot *slot = &postgres->slots[i];
		json_t *item = json_pack("{s:o, s:b, s:I}", "name", host_text_to_json(slot->name), "is_active",
		                         slot->is_active, "restart_lsn", (json_int_t) slot->restart_lsn);

		/* most slots have none of these */
		for (int k = 0; k < N_SLOT_FLAGS; k++)
			if (*slot_flag(slot, k))
				json_object_set_new(item, slot_flags[k].name, json_true());
		if (slot->is_logical)
		{
			json_object_set_new(item, "confirmed_lsn", json_integer((json_int_t) slot->confirmed_lsn));
			json_object_set_new(item, "database", host_text_to_json(slot->database));
			json_object_set_new(item, "plugin", host_text_to_json(slot->plugin));
			json_object_set_new(item, "problem", host_text_to_json(slot->problem));
		}
		json_array_append_new(list, item);
	}
	return list;
}

static json_t *
senders_to_json(const HaPostgres *postgres)
{
	json_t *list = json_array();

	for (int i = 0; i < postgres->n_senders; i++)
		json_array_append_new(list,
		                      json_pack("{s:o, s:I, s:I, s:s, s:b}", "application_name",
		                                host_text_to_json(postgres->senders[i].application_name),
		                                "flush_lsn", (json_int_t) postgres->senders[i].flush_lsn,
		                                "sync_lsn", (json_int_t) postgres->senders[i].sync_lsn,
		                                "sync_state", sync_names[postgres->senders[i].sync_state],
		                                "is_streaming", postgres->senders[i].is_streaming));
	return list;
}

static json_t *
history_to_json(const HaPostgres *postgres)
{
	json_t *list = json_array();

	for (int i = 0; i < postgres->n_history; i++)
	{
		const TimelineHistory *entry = &postgres->history[i];

		json_array_append_new(
		    list, json_pack("[I, I, o, o, o]", (json_int_t) entry->timeline,
		                    (json_int_t) entry->switch_lsn, host_text_to_json(entry->reason),
		                    host_text_to_json(entry->timestamp), host_text_to_json(entry->new_leader)));
	}
	return list;
}

/*
 * The state of a server as JSON, a new reference (NULL: no memory).  The
 * system identifier is a text: it may be larger than what all readers take.
 */
json_t *
postgres_to_json(const HaPostgres *postgres)
{
	char identifier[24];
	json_t *json;

	snprintf(identifier, sizeof(identifier), "%" PRIu64, postgres->system_identifier);
	json = json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:o}", "data", data_names[postgres->data],
	                 "server", server_names[postgres->server], "control_state",
	                 control_names[postgres->control_state], "system_identifier", identifier,
	                 "slots", slots_to_json(postgres), "senders", senders_to_json(postgres),
	                 "history", history_to_json(postgres));
	for (int i = 0; json != NULL && i < N_FIELDS; i++)
		json_object_set_new(json, fields[i].name, field_to_json(postgres, &fields[i]));
	return json;
}

static int64_t
member_integer(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	return json_is_integer(value) ? (int64_t) json_integer_value(value) : 0;
}

static void
slot_from_json(HaSlot *slot, const json_t *item)
{
	host_copy_text(slot->name, sizeof(slot->name), json_string_value(json_object_get(item, "name")));
	slot->is_active = json_is_true(json_object_get(item, "is_active"));
	slot->restart_lsn = (Lsn) member_integer(item, "restart_lsn");
	slot->confirmed_lsn = (Lsn) member_integer(item, "confirmed_lsn");
	for (int k = 0; k < N_SLOT_FLAGS; k++)
		*slot_flag(slot, k) = json_is_true(json_object_get(item, slot_flags[k].name));
	host_copy_text(slot->database, sizeof(slot->database),
	               json_string_value(json_object_get(item, "database")));
	host_copy_text(slot->plugin, sizeof(slot->plugin), json_string_value(json_object_get(item, "plugin")));
	host_copy_text(slot->problem, sizeof(slot->problem),
	               json_string_value(json_object_get(item, "problem")));
}

static void
lists_from_json(HaPostgres *postgres, const json_t *json)
{
	const json_t *list;
	const json_t *item;
	size_t index;
	int sync_state;

	list = json_object_get(json, "slots");
	json_array_foreach(list, index, item)
	{
		if (postgres->n_slots == CLUSTER_MEMBERS_MAX)
			break;
		slot_from_json(&postgres->slots[postgres->n_slots++], item);
	}
	list = json_object_get(json, "senders");
	json_array_foreach(list, index, item)
	{
		if (postgres->n_senders == CLUSTER_MEMBERS_MAX)
			break;
		host_copy_text(postgres->senders[postgres->n_senders].application_name, 64,
		               json_string_value(json_object_get(item, "application_name")));
		postgres->senders[postgres->n_senders].flush_lsn = (Lsn) member_integer(item, "flush_lsn");
		postgres->senders[postgres->n_senders].sync_lsn = (Lsn) member_integer(item, "sync_lsn");
		sync_state = name_index(sync_names, json_object_get(item, "sync_state"));
		postgres->senders[postgres->n_senders].sync_state =
		    sync_state < 0 ? SYNC_WALSENDER_ASYNC : (SyncWalsender) sync_state;
		postgres->senders[postgres->n_senders].is_streaming =
		    json_is_true(json_object_get(item, "is_streaming"));
		postgres->n_senders++;
	}
	list = json_object_get(json, "history");
	json_array_foreach(list, index, item)
	{
		TimelineHistory *entry = &postgres->history[postgres->n_history];

		if (postgres->n_history == HISTORY_MAX)
			break;
		entry->timeline = (uint32_t) json_integer_value(json_array_get(item, 0));
		entry->switch_lsn = (Lsn) json_integer_value(json_array_get(item, 1));
		host_copy_text(entry->reason, sizeof(entry->reason),
		               json_string_value(json_array_get(item, 2)));
		host_copy_text(entry->timestamp, sizeof(entry->timestamp),
		               json_string_value(json_array_get(item, 3)));
		host_copy_text(entry->new_leader, sizeof(entry->new_leader),
		               json_string_value(json_array_get(item, 4)));
		postgres->n_history++;
	}
}

/*
 * Read what postgres_to_json() wrote.  False, and *postgres untouched, when
 * it does not say in known words what the data directory and the server are.
 */
bool
postgres_from_json(HaPostgres *postgres, const json_t *json)
{
	int data = name_index(data_names, json_object_get(json, "data"));
	int server = name_index(server_names, json_object_get(json, "server"));
	int control = name_index(control_names, json_object_get(json, "control_state"));
	const char *identifier = json_string_value(json_object_get(json, "system_identifier"));

	if (data < 0 || server < 0)
		return false;
	memset(postgres, 0, sizeof(*postgres));
	postgres->data = (HaDataDirectory) data;
	postgres->server = (HaServer) server;
	postgres->control_state = control < 0 ? HA_CONTROL_UNKNOWN : (HaControlState) control;
	if (identifier != NULL)
		postgres->system_identifier = strtoull(identifier, NULL, 10);
	for (int i = 0; i < N_FIELDS; i++)
		field_from_json(postgres, &fields[i], json_object_get(json, fields[i].name));
	lists_from_json(postgres, json);
	return true;
}
