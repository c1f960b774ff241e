/*-------------------------------------------------------------------------
 *
 * sync_state.c
 *      The key "sync": who may become primary without losing a write.
 *
 * Its value: patroni/dcs/__init__.py, SyncState.from_node(), with the quorum of
 * 4.x.  The list is never cut: a lost name is a lost vote.
 *-------------------------------------------------------------------------
 */
#include "cluster/cluster_internal.h"
#include "cluster/ascii.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

static const char blanks[] = " \t\r\n\f\v";

static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

/*
 * Split in place at commas, trim, drop what is empty.  Returns how many names
 * there are; "names" has room for one more than there are commas.
 */
static size_t
split_names(char *list, char **names)
{
	size_t		n_names = 0;
	char	   *rest;

	for (char *name = strtok_r(list, ",", &rest); name != NULL; name = strtok_r(NULL, ",", &rest))
	{
		size_t		length;

		name += strspn(name, blanks);
		length = strlen(name);
		while (length > 0 && strchr(blanks, name[length - 1]) != NULL)
			name[--length] = '\0';
		if (length > 0)
			names[n_names++] = name;
	}
	return n_names;
}

/* The list in its plain form, sorted if wanted; NULL = empty.  False: no memory. */
static bool
normalize(const char *list, bool sorted, char **result)
{
	size_t		n_names = 1;
	char	   *copy;
	char	  **names;
	char	   *to;

	*result = NULL;
	if (list == NULL || list[0] == '\0')
		return true;
	for (const char *c = list; *c != '\0'; c++)
		n_names += *c == ',';
	copy = strdup(list);
	names = calloc(n_names, sizeof(*names));
	*result = to = calloc(strlen(list) + 2, 1);
	if (copy == NULL || names == NULL || to == NULL)
	{
		free(copy);
		free(names);
		free(to);
		*result = NULL;
		return false;
	}
	n_names = split_names(copy, names);
	if (sorted && n_names > 1)
		qsort(names, n_names, sizeof(*names), compare_names);
	for (size_t i = 0; i < n_names; i++)
	{
		if (i > 0)
			*to++ = ',';
		to = stpcpy(to, names[i]);
	}
	if (n_names == 0)
	{
		free(*result);
		*result = NULL;
	}
	free(copy);
	free(names);
	return true;
}

/* As sync_from_text(), but false and nothing changed if memory is out. */
bool
sync_read(SyncState *sync, const char *text)
{
	SyncState	fresh = {.version = sync->version};
	json_t	   *object;
	int64_t		quorum = 0;
	bool		is_read = cluster_json_read(text, &object) != JSON_READ_NO_MEMORY;

	if (json_is_object(object))
		cluster_json_get_name(object, "leader", fresh.leader);
	if (fresh.leader[0] != '\0')
	{
		fresh.exists = true;
		if (cluster_json_integer(json_object_get(object, "quorum"), &quorum) && quorum > 0)
			fresh.quorum = quorum > INT_MAX ? INT_MAX : (int) quorum;
		is_read = normalize(json_string_value(json_object_get(object, "sync_standby")),
							false, &fresh.sync_standby);
	}
	json_decref(object);
	if (!is_read)
		return false;
	free(sync->sync_standby);
	*sync = fresh;
	return true;
}

/*
 * Read the value of the key into *sync, which was zeroed or read before; all
 * but the version is replaced.
 */
void
sync_from_text(SyncState *sync, const char *text)
{
	if (!sync_read(sync, text))
		sync_read(sync, "");
}

/* The state as JSON object, names sorted. */
json_t *
sync_to_json(const SyncState *sync)
{
	json_t	   *object = json_pack("{}");
	char	   *names = NULL;
	bool		ok;

	ok = object != NULL && normalize(sync->sync_standby, true, &names) &&
		cluster_json_put(object, "leader", cluster_json_text_or_null(sync->leader)) &&
		cluster_json_put(object, "quorum", json_integer(sync->quorum)) &&
		cluster_json_put(object, "sync_standby", cluster_json_text_or_null(names));
	free(names);
	if (ok)
		return object;
	json_decref(object);
	return NULL;
}

/* The value of the key. */
char *
sync_to_text(const SyncState *sync)
{
	return cluster_json_write(sync_to_json(sync));
}

/* The next name of the comma joined list, trimmed; false at its end.  NULL is an empty list. */
bool
sync_next_standby(const char **list, const char **name, size_t *length)
{
	while (*list != NULL && **list != '\0')
	{
		size_t		size = strcspn(*list, ",");
		const char *start = *list;

		*list += size + ((*list)[size] == ',');
		while (size > 0 && strchr(blanks, *start) != NULL)
			start++, size--;
		while (size > 0 && strchr(blanks, start[size - 1]) != NULL)
			size--;
		if (size > 0)
		{
			*name = start;
			*length = size;
			return true;
		}
	}
	return false;
}

/* Does the key name this member as one of its standbys?  Names are matched without case. */
bool
sync_names_standby(const SyncState *sync, const char *name)
{
	const char *list = sync->sync_standby;
	const char *standby;
	size_t		name_length = strlen(name);
	size_t		length;

	while (sync_next_standby(&list, &standby, &length))
		if (length == name_length && ascii_is_same_part(standby, name, length))
			return true;
	return false;
}

/* Does the key name this member, as its leader or as one of its standbys? */
bool
sync_names_member(const SyncState *sync, const char *name)
{
	return ascii_is_same(sync->leader, name) || sync_names_standby(sync, name);
}
