/*-------------------------------------------------------------------------
 *
 * config_change.c
 *      Changes of the dynamic configuration that edit-config makes in memory,
 *      before anybody has seen or confirmed them.
 *
 *-------------------------------------------------------------------------
 */
#include "ctl/format.h"

#include <stdlib.h>
#include <string.h>

#include "cluster/ascii.h"
#include "config/settings.h"

#define CHANGE_PATH_MAX	 512
#define CHANGE_DEPTH_MAX 32

/* Read a YAML text; a new reference, NULL after an error. */
json_t *
config_change_read(const char *text, size_t length, const char *name, Error *error)
{
	ConfigProblems problems;
	json_t *value;

	config_problems_init(&problems);
	value = config_read_yaml(text, length, name, &problems);
	for (int i = 0; value == NULL && i < problems.count; i++)
		if (problems.items[i].is_error)
		{
			error_set(error, "%s: %s", problems.items[i].place, problems.items[i].message);
			break;
		}
	config_problems_free(&problems);
	return value;
}

/*
 * Set "path" to the value (NULL: remove it).  Maps on the way are made, and
 * those that end up empty are removed.
 */
static bool
set_at(json_t *config, char *path, const char *prefix, json_t *value, int depth)
{
	char whole[CHANGE_PATH_MAX];
	char *dot = strchr(path, '.');
	json_t *inner;
	bool ok;

	if (depth > CHANGE_DEPTH_MAX)
		return false;
	/* names of parameters may contain dots */
	if (dot == NULL || strcmp(prefix, "postgresql.parameters") == 0)
	{
		if (value != NULL)
			return json_object_set(config, path, value) == 0;
		json_object_del(config, path);
		return true;
	}
	*dot = '\0';
	snprintf(whole, sizeof(whole), "%s%s%s", prefix, prefix[0] != '\0' ? "." : "", path);
	inner = json_object_get(config, path);
	if (!json_is_object(inner))
	{
		inner = json_pack("{}");
		if (json_object_set_new(config, path, inner) != 0)
			return false;
	}
	ok = set_at(inner, dot + 1, whole, value, depth + 1);
	if (json_object_size(inner) == 0)
		json_object_del(config, path);
	return ok;
}

/* Take over one "a.b.c=value"; see format.h. */
bool
config_change_set(json_t *config, const char *pair, Error *error)
{
	const char *equals = strchr(pair, '=');
	char path[CHANGE_PATH_MAX];
	size_t length;
	json_t *value;
	bool ok;

	if (equals == NULL)
		return error_set(error, "Invalid parameter setting %s", pair);
	while (ascii_is_space(*pair) && pair < equals)
		pair++;
	length = (size_t) (equals - pair);
	while (length > 0 && ascii_is_space(pair[length - 1]))
		length--;
	if (length == 0 || length >= sizeof(path))
		return error_set(error, "Invalid parameter setting %s", pair);
	memcpy(path, pair, length);
	path[length] = '\0';
	value = config_change_read(equals + 1, strlen(equals + 1), path, error);
	if (value == NULL)
		return false;
	ok = set_at(config, path, "", json_is_null(value) ? NULL : value, 0);
	json_decref(value);
	return ok || error_set(error, "Invalid parameter setting %s", pair);
}

/* Merge a patch into the configuration.  False: not two maps, or no memory. */
bool
config_change_patch(json_t *config, const json_t *patch)
{
	char *old = json_dumps(config, JSON_COMPACT);
	char *change = json_dumps(patch, JSON_COMPACT | JSON_ENCODE_ANY);
	char *merged = NULL;
	json_t *result = NULL;
	Error error;

	if (old != NULL && change != NULL)
		merged = dynamic_patch(old, change, &error);
	if (merged != NULL)
		result = json_loads(merged, 0, NULL);
	if (result != NULL)
	{
		json_object_clear(config);
		json_object_update(config, result);
	}
	json_decref(result);
	free(old);
	free(change);
	free(merged);
	return result != NULL;
}
