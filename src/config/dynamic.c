/*-------------------------------------------------------------------------
 *
 * dynamic.c
 *      The dynamic configuration: the store's "config" key, which is one JSON
 *      object for the whole cluster.  How it begins, how it is patched, and
 *      what is checked before it is written.
 *
 *-------------------------------------------------------------------------
 */
#include "config/config_internal.h"

#include <stdlib.h>
#include <string.h>

/* What a cluster of ours begins with where bootstrap.dcs says nothing. */
static const struct
{
	const char *key;
	int value;
} initial_defaults[] = {
	{ "ttl", 10 },
	{ "loop_wait", 5 },
	{ "retry_timeout", 3 },
};

/* The first "config" key of a new cluster, malloc'ed; NULL without memory. */
char *
settings_initial_dynamic(const LocalConfig *local)
{
	const json_t *given = document_get(local->document, "bootstrap.dcs");
	json_t *config = json_is_object(given) ? json_deep_copy(given) : json_pack("{}");
	char *text;

	if (config == NULL)
		return NULL;
	for (size_t i = 0; i < sizeof(initial_defaults) / sizeof(initial_defaults[0]); i++)
	{
		const json_t *value = json_object_get(config, initial_defaults[i].key);

		if (value == NULL || json_is_null(value))
			json_object_set_new(config, initial_defaults[i].key,
			                    json_integer(initial_defaults[i].value));
	}
	if (json_object_get(config, "failsafe_mode") == NULL ||
	    json_is_null(json_object_get(config, "failsafe_mode")))
		json_object_set_new(config, "failsafe_mode", json_false());
	text = json_dumps(config, JSON_COMPACT | JSON_ENSURE_ASCII);
	json_decref(config);
	return text;
}

static json_t *
load_object(const char *text, const char *what, Error *error)
{
	json_error_t where;
	json_t *value;

	if (strlen(text) > CONFIG_FILE_SIZE_MAX)
	{
		error_set(error, "the %s is longer than %d bytes", what, CONFIG_FILE_SIZE_MAX);
		return NULL;
	}
	value = json_loads(text, 0, &where);
	if (value == NULL)
		error_set(error, "the %s is not valid JSON: line %d, column %d: %s", what, where.line,
		          where.column, where.text);
	else if (!json_is_object(value))
	{
		error_set(error, "the %s is not a JSON object", what);
		json_decref(value);
		return NULL;
	}
	return value;
}

/*
 * The configuration after a patch: null removes a key, objects recurse.
 * config_json NULL is an empty configuration.  malloc'ed, NULL with *error.
 */
char *
dynamic_patch(const char *config_json, const char *patch_json, Error *error)
{
	json_t *config = load_object(config_json != NULL ? config_json : "{}", "configuration", error);
	json_t *patch = NULL;
	char *text = NULL;

	if (config != NULL)
		patch = load_object(patch_json, "patch", error);
	if (patch != NULL)
	{
		if (document_patch(config, patch, 0))
			text = json_dumps(config, JSON_COMPACT | JSON_ENSURE_ASCII);
		else
			error_set(error, "the patch is nested deeper than %d levels", CONFIG_DEPTH_MAX);
	}
	json_decref(config);
	json_decref(patch);
	return text;
}

/*
 * Check a dynamic configuration before it is written.  False when a value is
 * wrong; unknown keys and keys without effect are warnings.
 */
bool
dynamic_validate(const char *config_json, ConfigProblems *problems)
{
	const Reporter reporter = { problems, NULL, "dynamic configuration" };
	int n_before = problems->n_errors;
	Error error;
	json_t *config;
	int64_t ttl = 30;
	int64_t number;

	config = load_object(config_json, "configuration", &error);
	if (config == NULL)
	{
		problem_at(problems, true, reporter.fallback, "", "%s", error.message);
		return false;
	}
	schema_check_dynamic(config, "", &reporter);
	value_to_int(json_object_get(config, "ttl"), NULL, &ttl);
	if (ttl < 2)
		report(&reporter, false, "ttl", false, "%lld is too small, 2 is used", (long long) ttl);
	if (ttl < 20)
		report(&reporter, false, "ttl", false,
		       "Patroni members in the same cluster want a ttl of at least 20");
	if (value_to_int(json_object_get(config, "loop_wait"), NULL, &number) && number < 1)
		report(&reporter, false, "loop_wait", false, "%lld is too small, 1 is used",
		       (long long) number);
	if (value_to_int(json_object_get(config, "retry_timeout"), NULL, &number) && number < 1)
		report(&reporter, false, "retry_timeout", false, "%lld is too small, 1 is used",
		       (long long) number);
	json_decref(config);
	return problems->n_errors == n_before;
}
