/*-------------------------------------------------------------------------
 *
 * document.c
 *      Documents of configuration: where each value stands, how one is merged
 *      over another, and the list of problems found on the way.
 *
 * A place is remembered per path.  A later place of the same path wins, and a
 * place marked "whole" hides older ones below it, because there the value was
 * replaced as a whole.  A path without a place takes that of its parent.
 *-------------------------------------------------------------------------
 */
#include "config/config_internal.h"
#include "cluster/ascii.h"

#include <stdlib.h>
#include <string.h>

void
config_problems_init(ConfigProblems *problems)
{
	memset(problems, 0, sizeof(*problems));
}

/* Free the list; it may be used again afterwards. */
void
config_problems_free(ConfigProblems *problems)
{
	if (problems == NULL)
		return;
	free(problems->items);
	memset(problems, 0, sizeof(*problems));
}

static void
problem_add(ConfigProblems *problems, bool is_error, const char *place, const char *key,
            const char *format, va_list args)
{
	ConfigProblem *items;
	ConfigProblem *item;

	if (problems == NULL)
		return;
	if (is_error)
		problems->n_errors++;
	/* Errors stay even when warnings have filled the list. */
	if (problems->count >= CONFIG_PROBLEMS_MAX * (is_error ? 2 : 1))
		return;
	items = realloc(problems->items, sizeof(*items) * (size_t) (problems->count + 1));
	if (items == NULL)
		return;
	problems->items = items;
	item = &items[problems->count++];
	memset(item, 0, sizeof(*item));
	item->is_error = is_error;
	/* Of a long place the end says most. */
	if (strlen(place) >= sizeof(item->place))
		snprintf(item->place, sizeof(item->place), "...%s",
		         place + strlen(place) - (sizeof(item->place) - 4));
	else
		snprintf(item->place, sizeof(item->place), "%s", place);
	snprintf(item->key, sizeof(item->key), "%s", key);
	vsnprintf(item->message, sizeof(item->message), format, args);
}

/* Add a problem whose place is known as text. */
void
problem_at(ConfigProblems *problems, bool is_error, const char *place, const char *key,
           const char *format, ...)
{
	va_list args;

	va_start(args, format);
	problem_add(problems, is_error, place, key, format, args);
	va_end(args);
}

/*
 * Add a problem with the value at "dotted"; "of_key" names the place of the
 * key instead.  A path without any CONFIG_SEP is taken to use dots.
 */
void
report(const Reporter *reporter, bool is_error, const char *dotted, bool of_key, const char *format,
       ...)
{
	char path[CONFIG_PATH_MAX];
	char key[CONFIG_PATH_MAX];
	char place[SETTINGS_PATH_MAX + 64];
	va_list args;

	snprintf(path, sizeof(path), "%s", dotted);
	if (strchr(path, CONFIG_SEP) == NULL)
	{
		for (char *p = path; *p != '\0'; p++)
			if (*p == '.')
				*p = CONFIG_SEP;
	}
	path_show(path, key, sizeof(key));
	if (reporter->places != NULL && reporter->places->count > 0)
		places_describe(reporter->places, path, of_key, place, sizeof(place));
	else
		snprintf(place, sizeof(place), "%s", reporter->fallback);
	va_start(args, format);
	problem_add(reporter->problems, is_error, place, key, format, args);
	va_end(args);
}

/* Remember a file or variable; returns its index or -1 without memory. */
int
places_add_source(Places *places, const char *name)
{
	char **sources;
	char *copy;

	sources = realloc(places->sources, sizeof(*sources) * (size_t) (places->n_sources + 1));
	if (sources == NULL)
		return -1;
	places->sources = sources;
	copy = strdup(name);
	if (copy == NULL)
		return -1;
	sources[places->n_sources] = copy;
	return places->n_sources++;
}

/* Remember where the value at "path" stands. */
bool
places_add(Places *places, const char *path, int source, int key_line, int key_column, int line,
           int column, bool is_whole)
{
	Place *place;

	if (places->count == places->capacity)
	{
		int capacity = places->capacity == 0 ? 128 : places->capacity * 2;
		Place *items = realloc(places->items, sizeof(*items) * (size_t) capacity);

		if (items == NULL)
			return false;
		places->items = items;
		places->capacity = capacity;
	}
	place = &places->items[places->count];
	place->path = strdup(path);
	if (place->path == NULL)
		return false;
	place->source = source;
	place->key_line = key_line;
	place->key_column = key_column;
	place->line = line;
	place->column = column;
	place->is_whole = is_whole;
	places->count++;
	return true;
}

void
places_free(Places *places)
{
	for (int i = 0; i < places->count; i++)
		free(places->items[i].path);
	for (int i = 0; i < places->n_sources; i++)
		free(places->sources[i]);
	free(places->items);
	free(places->sources);
	memset(places, 0, sizeof(*places));
}

/* Write "file:line:column" of the value (or key) at "path". */
void
places_describe(const Places *places, const char *path, bool of_key, char *place, size_t size)
{
	size_t length = strlen(path);
	const Place *best = NULL;

	/* Latest place of the path itself or of its nearest known parent. */
	for (int i = 0; i < places->count; i++)
	{
		const Place *candidate = &places->items[i];
		size_t n = strlen(candidate->path);

		if (n > length || strncmp(candidate->path, path, n) != 0)
			continue;
		if (n > 0 && n < length && path[n] != CONFIG_SEP)
			continue;
		if (best == NULL || candidate->is_whole || n >= strlen(best->path))
			best = candidate;
	}
	if (best == NULL)
	{
		snprintf(place, size, "%s", places->n_sources > 0 ? places->sources[0] : "configuration");
		return;
	}
	if (strlen(best->path) < length)
		of_key = true; /* the parent: where it begins */
	if (best->line == 0)
		snprintf(place, size, "%s", places->sources[best->source]);
	else if (of_key && best->key_line > 0)
		snprintf(place, size, "%s:%d:%d", places->sources[best->source], best->key_line,
		         best->key_column);
	else
		snprintf(place, size, "%s:%d:%d", places->sources[best->source], best->line, best->column);
}

/* Add a step to a path; false when it does not fit, path unchanged. */
bool
path_append(char *path, size_t size, const char *key)
{
	size_t used = strlen(path);
	size_t n = strlen(key);

	if (used + n + 2 > size)
		return false;
	if (used > 0)
		path[used++] = CONFIG_SEP;
	memcpy(path + used, key, n + 1);
	return true;
}

/* The path as people write it: with dots. */
void
path_show(const char *path, char *shown, size_t size)
{
	snprintf(shown, size, "%s", path);
	for (; *shown != '\0'; shown++)
		if (*shown == CONFIG_SEP)
			*shown = '.';
}

/* The value at "a.b.c", or NULL. */
const json_t *
document_get(const json_t *document, const char *dotted)
{
	char copy[CONFIG_PATH_MAX];
	char *rest = NULL;

	snprintf(copy, sizeof(copy), "%s", dotted);
	for (char *key = strtok_r(copy, ".", &rest); key != NULL && document != NULL;
	     key = strtok_r(NULL, ".", &rest))
		document = json_object_get(document, key);
	return document;
}

/*
 * Merge "patch" over "document" as Patroni's patch_config does: null removes
 * a key, maps that are in both are merged, everything else is replaced.
 */
bool
document_patch(json_t *document, const json_t *patch, int depth)
{
	const char *key;
	json_t *value;

	if (depth > CONFIG_DEPTH_MAX)
		return false;
	json_object_foreach((json_t *) patch, key, value)
	{
		json_t *old = json_object_get(document, key);

		if (json_is_null(value))
			json_object_del(document, key);
		else if (json_is_object(value) && json_is_object(old))
		{
			if (!document_patch(old, value, depth + 1))
				return false;
		}
		else if (json_object_set_new(document, key, json_deep_copy(value)) != 0)
			return false;
	}
	return true;
}

/* May the value of a key of this name be shown? */
bool
text_is_secret(const char *key)
{
	static const char *const names[] = {
		"password",  "keyfile_password", "key_password", "sslpassword", "token",
		"auth_data", "set_acls",         "url",          "proxy",       "primary_conninfo",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (ascii_is_same(key, names[i]))
			return true;
	return false;
}

/*
 * The text of a scalar; booleans are on and off.  False for null, lists, maps
 * and what does not fit.
 */
bool
value_to_text(const json_t *value, char *text, size_t size)
{
	int n;

	switch (value == NULL ? JSON_NULL : json_typeof(value))
	{
		case JSON_STRING:
			n = snprintf(text, size, "%s", json_string_value(value));
			break;
		case JSON_INTEGER:
			n = snprintf(text, size, "%lld", (long long) json_integer_value(value));
			break;
		case JSON_REAL:
			/* The shortest form that reads back as the same number. */
			for (int precision = 15;; precision++)
			{
				n = snprintf(text, size, "%.*g", precision, json_real_value(value));
				if (precision == 17 || strtod(text, NULL) == json_real_value(value))
					break;
			}
			break;
		case JSON_TRUE:
			n = snprintf(text, size, "on");
			break;
		case JSON_FALSE:
			n = snprintf(text, size, "off");
			break;
		default:
			return false;
	}
	return n >= 0 && (size_t) n < size;
}

/* A value for a message: short, and secrets hidden. */
void
value_show(const char *key, const json_t *value, char *shown, size_t size)
{
	char text[64];

	if (json_is_object(value))
		snprintf(shown, size, "a map");
	else if (json_is_array(value))
		snprintf(shown, size, "a list");
	else if (value == NULL || json_is_null(value))
		snprintf(shown, size, "nothing");
	else if (text_is_secret(key))
		snprintf(shown, size, "(hidden)");
	else if (json_is_boolean(value))
		snprintf(shown, size, "%s", json_is_true(value) ? "true" : "false");
	else if (value_to_text(value, text, sizeof(text)))
		snprintf(shown, size, "\"%s\"", text);
	else
		snprintf(shown, size, "\"%.50s...\"", json_string_value(value));
}

/* An empty one, or NULL without memory. */
LocalConfig *
local_config_new(void)
{
	LocalConfig *config = calloc(1, sizeof(*config));

	if (config == NULL)
		return NULL;
	config->document = json_pack("{}");
	if (config->document == NULL)
	{
		free(config);
		return NULL;
	}
	return config;
}

/* Free a configuration; NULL is fine. */
void
local_config_free(LocalConfig *config)
{
	if (config == NULL)
		return;
	json_decref(config->document);
	places_free(&config->places);
	free(config);
}

/* The merged document, borrowed. */
const json_t *
local_config_document(const LocalConfig *config)
{
	return config->document;
}
