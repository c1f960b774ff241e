/*-------------------------------------------------------------------------
 *
 * status.c
 *      The key "status": the leader's position and those of its slots.
 *
 * Its value: Patroni 4.x, patroni/dcs/__init__.py, Status.  The legacy key
 * "optime/leader" is a bare number.
 *-------------------------------------------------------------------------
 */
#include "cluster/cluster_internal.h"

#include <stdlib.h>
#include <string.h>

/* A field that may be written as JSON inside a string.  False: no memory. */
static bool
unwrap(const json_t *object, const char *name, json_t **value)
{
	json_t	   *field = json_object_get(object, name);

	if (json_is_string(field))
		return cluster_json_read(json_string_value(field), value) != JSON_READ_NO_MEMORY;
	*value = json_incref(field);
	return true;
}

static bool
read_slots(ClusterStatus *status, json_t *slots)
{
	const char *name;
	json_t	   *value;

	if (!json_is_object(slots))
		return true;
	/* An empty list is not the same as none: one element at least. */
	status->slots = calloc(json_object_size(slots) < CLUSTER_SLOTS_MAX ? json_object_size(slots) + 1 : CLUSTER_SLOTS_MAX,
						   sizeof(*status->slots));
	if (status->slots == NULL)
		return false;
	json_object_foreach(slots, name, value)
	{
		int64_t		lsn;

		if (status->n_slots == CLUSTER_SLOTS_MAX)
			break;
		if (name[0] == '\0' || strlen(name) >= sizeof(status->slots->name) || !cluster_name_is_valid(name) ||
			!cluster_json_integer(value, &lsn) || lsn < 0)
			continue;
		strcpy(status->slots[status->n_slots].name, name);
		status->slots[status->n_slots++].lsn = (Lsn) lsn;
	}
	return true;
}

/* Keep the strings of the list. */
static bool
read_retain_slots(ClusterStatus *status, json_t *list)
{
	json_t	   *names;
	json_t	   *name;
	size_t		i;
	bool		ok = true;

	if (!json_is_array(list) || json_array_size(list) == 0)
		return true;
	names = json_pack("[]");
	if (names == NULL)
		return false;
	json_array_foreach(list, i, name)
	{
		if (json_is_string(name) && json_array_size(names) < CLUSTER_SLOTS_MAX)
			ok = ok && json_array_append(names, name) == 0;
	}
	if (ok && json_array_size(names) > 0)
		ok = cluster_json_fragment(names, &status->retain_slots_json);
	json_decref(names);
	return ok;
}

/* As status_from_text(), but false and nothing changed if memory is out. */
bool
status_read(ClusterStatus *status, const char *text)
{
	ClusterStatus fresh = {.exists = text != NULL};
	json_t	   *document;
	json_t	   *slots = NULL;
	json_t	   *retain_slots = NULL;
	int64_t		optime;
	bool		is_read;

	is_read = cluster_json_read(text, &document) != JSON_READ_NO_MEMORY;
	if (json_is_object(document))
	{
		fresh.optime = cluster_json_get_lsn(document, "optime");
		is_read = unwrap(document, "slots", &slots) && unwrap(document, "retain_slots", &retain_slots) &&
			read_slots(&fresh, slots) && read_retain_slots(&fresh, retain_slots);
	}
	else if (cluster_json_integer(document, &optime) && optime > 0)
		fresh.optime = (Lsn) optime;
	json_decref(slots);
	json_decref(retain_slots);
	json_decref(document);
	if (!is_read)
	{
		free(fresh.slots);
		free(fresh.retain_slots_json);
		return false;
	}
	free(status->slots);
	free(status->retain_slots_json);
	*status = fresh;
	return true;
}

/* Read the value of the key into *status, which was zeroed or read before. */
void
status_from_text(ClusterStatus *status, const char *text)
{
	if (!status_read(status, text))
		status_read(status, "");
}

/* The value of the key; what is not known is left out. */
char *
status_to_text(const ClusterStatus *status)
{
	json_t	   *object = json_pack("{}");
	json_t	   *slots = NULL;
	bool		ok;

	ok = object != NULL && cluster_json_put(object, "optime", cluster_json_lsn(status->optime));
	if (ok && status->slots != NULL)
	{
		slots = json_pack("{}");
		ok = slots != NULL && cluster_json_put(object, "slots", slots);
	}
	for (int i = 0; ok && status->slots != NULL && i < status->n_slots; i++)
		ok = cluster_json_put(slots, status->slots[i].name, cluster_json_lsn(status->slots[i].lsn));
	if (ok && status->retain_slots_json != NULL && strcmp(status->retain_slots_json, "[]") != 0)
		ok = cluster_json_put_raw(object, "retain_slots", status->retain_slots_json);
	if (ok)
		return cluster_json_write(object);
	json_decref(object);
	return NULL;
}
