/*-------------------------------------------------------------------------
 *
 * yaml.c
 *      YAML text to a JSON document, with the place of every key and value.
 *
 * Reads what PyYAML's safe_load reads, because that is what reads the same
 * files on Patroni's nodes: YAML 1.1 scalars (on, off, 0644, 0x1f, 1_000,
 * 1:30, ~), anchors, aliases and merge keys.  What JSON cannot hold (dates,
 * infinities, integers beyond 64 bits) stays text.
 *
 * Invariants:
 *  (1) Depth, number of nodes and size are bounded; an alias counts as many
 *      nodes as it stands for, so that no bomb of aliases grows.
 *  (2) No NUL byte gets into a value, and none that is not UTF-8.
 *-------------------------------------------------------------------------
 */
#include "config/config_internal.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define YAML_ANCHORS_MAX 256

typedef struct Anchor
{
	char *name;
	json_t *value; /* NULL while it is being read */
	int n_nodes;
} Anchor;

typedef struct Reader
{
	yaml_parser_t parser;
	const char *name;
	Places *places;
	int source;
	ConfigProblems *problems;
	int *n_nodes;
	char path[CONFIG_PATH_MAX];
	Anchor anchors[YAML_ANCHORS_MAX];
	int n_anchors;
	int depth;
	yaml_mark_t key_mark; /* of the key whose value is read */
	bool has_key;
} Reader;

static json_t *read_node(Reader *reader, yaml_event_t *event);

/* Add a problem at a mark; returns NULL so that callers can return it. */
static void *PRINTF_LIKE(4, 5)
    fail(Reader *reader, bool is_error, yaml_mark_t mark, const char *format, ...)
{
	char place[SETTINGS_PATH_MAX + 64];
	char key[CONFIG_PATH_MAX];
	char text[400];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	snprintf(place, sizeof(place), "%s:%d:%d", reader->name, (int) mark.line + 1,
	         (int) mark.column + 1);
	path_show(reader->path, key, sizeof(key));
	problem_at(reader->problems, is_error, place, key, "%s", text);
	return NULL;
}

static bool
next_event(Reader *reader, yaml_event_t *event)
{
	yaml_mark_t mark;

	if (yaml_parser_parse(&reader->parser, event))
		return true;
	mark = reader->parser.problem_mark;
	if (reader->parser.error == YAML_READER_ERROR)
	{
		/* The place is a byte offset; the mark is where reading stopped. */
		mark = reader->parser.mark;
		fail(reader, true, mark, "cannot read the text as UTF-8: %s",
		     reader->parser.problem ? reader->parser.problem : "unknown problem");
	}
	else if (reader->parser.error == YAML_MEMORY_ERROR)
		fail(reader, true, mark, "out of memory");
	else
		fail(reader, true, mark, "cannot read the YAML: %s%s%s",
		     reader->parser.problem ? reader->parser.problem : "unknown problem",
		     reader->parser.context ? " " : "",
		     reader->parser.context ? reader->parser.context : "");
	memset(event, 0, sizeof(*event));
	return false;
}

static bool
count_node(Reader *reader, yaml_mark_t mark, int n)
{
	if (n > CONFIG_NODES_MAX - *reader->n_nodes)
	{
		fail(reader, true, mark,
		     "the configuration has more than %d values (aliases count each time)",
		     CONFIG_NODES_MAX);
		return false;
	}
	*reader->n_nodes += n;
	return true;
}

/* Only digits of a base and underscores, at least one digit? */
static bool
is_digits(const char *text, size_t length, const char *digits)
{
	bool has_digit = false;

	for (size_t i = 0; i < length; i++)
	{
		if (text[i] == '_')
			continue;
		if (strchr(digits, text[i]) == NULL)
			return false;
		has_digit = true;
	}
	return has_digit;
}

/* YAML 1.1 integers: binary, octal, hex, decimal, sexagesimal. */
static bool
plain_integer(const char *text, int64_t *result)
{
	bool negative = *text == '-';
	const char *p = text + (*text == '-' || *text == '+');
	size_t length = strlen(p);
	char digits[80];
	size_t n = 0;
	int base = 10;
	unsigned long long value = 0;

	if (length == 0 || length >= sizeof(digits) || *p == '_')
		return false;
	if (p[0] == '0' && p[1] == 'b' && is_digits(p + 2, length - 2, "01"))
		base = 2, p += 2;
	else if (p[0] == '0' && p[1] == 'x' && is_digits(p + 2, length - 2, "0123456789abcdefABCDEF"))
		base = 16, p += 2;
	else if (p[0] == '0' && length > 1 && is_digits(p + 1, length - 1, "01234567"))
		base = 8, p += 1;
	else if ((p[0] == '0' && length == 1) ||
	         (p[0] >= '1' && p[0] <= '9' && is_digits(p, length, "0123456789")))
		base = 10;
	else if (p[0] >= '1' && p[0] <= '9' && strchr(p, ':') != NULL)
		base = 60;
	else
		return false;
	for (const char *c = p; *c != '\0'; c++)
		if (*c != '_')
			digits[n++] = *c;
	digits[n] = '\0';
	errno = 0;
	if (base == 60)
	{
		char *rest = NULL;
		int part_index = 0;

		if (digits[n - 1] == ':' || strstr(digits, "::") != NULL)
			return false;
		for (char *part = strtok_r(digits, ":", &rest); part != NULL;
		     part = strtok_r(NULL, ":", &rest), part_index++)
		{
			if (strspn(part, "0123456789") != strlen(part) || strlen(part) > 9 ||
			    (part_index > 0 && atoi(part) > 59))
				return false;
			if (value > (unsigned long long) INT64_MAX / 60 - 1)
				return false;
			value = value * 60 + (unsigned long long) atoi(part);
		}
	}
	else
		value = strtoull(digits, NULL, base);
	if (errno == ERANGE || value > (unsigned long long) INT64_MAX)
		return false;
	*result = negative ? -(int64_t) value : (int64_t) value;
	return true;
}

/* YAML 1.1 floats need a point: 1.5, .5, 1.5e+3. */
static bool
plain_real(const char *text, double *result)
{
	const char *p = text + (*text == '-' || *text == '+');
	char digits[80];
	size_t n = 0;
	bool has_point = false;
	char *end;

	if (strlen(text) >= sizeof(digits) || !(isdigit((unsigned char) *p) || *p == '.'))
		return false;
	if (*p == '.' && (p != text || !isdigit((unsigned char) p[1])))
		return false;
	for (p = text; *p != '\0'; p++)
	{
		if (*p == '_')
			continue;
		if (*p == '.')
		{
			if (has_point)
				return false;
			has_point = true;
		}
		else if (*p == 'e' || *p == 'E')
		{
			if (!has_point || (p[1] != '+' && p[1] != '-'))
				return false;
		}
		else if (strchr("+-0123456789", *p) == NULL)
			return false;
		digits[n++] = *p;
	}
	digits[n] = '\0';
	if (!has_point)
		return false;
	*result = strtod(digits, &end);
	return *end == '\0' && isfinite(*result);
}

static bool
is_one_of(const char *text, const char *const *words)
{
	for (; *words != NULL; words++)
		if (strcmp(text, *words) == 0)
			return true;
	return false;
}

/* What a plain scalar means. */
static json_t *
plain_value(const char *text)
{
	static const char *const truths[] = { "yes",  "Yes", "YES", "true", "True",
		                                  "TRUE", "on",  "On",  "ON",   NULL };
	static const char *const lies[] = { "no",    "No",  "NO",  "false", "False",
		                                "FALSE", "off", "Off", "OFF",   NULL };
	static const char *const nothings[] = { "", "~", "null", "Null", "NULL", NULL };
	int64_t integer;
	double real;

	if (is_one_of(text, nothings))
		return json_null();
	if (is_one_of(text, truths))
		return json_true();
	if (is_one_of(text, lies))
		return json_false();
	if (plain_integer(text, &integer))
		return json_integer(integer);
	if (plain_real(text, &real))
		return json_real(real);
	return json_string(text);
}

static json_t *
read_scalar(Reader *reader, const yaml_event_t *event)
{
	const char *text = (const char *) event->data.scalar.value;
	const char *tag = (const char *) event->data.scalar.tag;
	json_t *value;
	int64_t integer;
	bool truth;
	double real;

	if (memchr(text, '\0', event->data.scalar.length) != NULL)
		return fail(reader, true, event->start_mark, "a value cannot contain a NUL byte");
	if (tag == NULL && event->data.scalar.plain_implicit)
		value = plain_value(text);
	else if (tag == NULL || strcmp(tag, "!") == 0 || strcmp(tag, YAML_STR_TAG) == 0)
		value = json_string(text);
	else if (strcmp(tag, YAML_NULL_TAG) == 0)
		value = json_null();
	else if (strcmp(tag, YAML_BOOL_TAG) == 0 && text_to_bool(text, &truth))
		value = json_boolean(truth);
	else if (strcmp(tag, YAML_INT_TAG) == 0 && plain_integer(text, &integer))
		value = json_integer(integer);
	else if (strcmp(tag, YAML_FLOAT_TAG) == 0 && text_to_real(text, NULL, &real))
		value = json_real(real);
	else
		return fail(reader, true, event->start_mark, "cannot make a value of the tag \"%.100s\"",
		            tag);
	if (value == NULL)
		return fail(reader, true, event->start_mark, "the value is not valid UTF-8");
	return value;
}

static bool
tag_is(const yaml_char_t *tag, const char *expected)
{
	return tag == NULL || strcmp((const char *) tag, expected) == 0 ||
	       strcmp((const char *) tag, "!") == 0;
}

/* Begin an anchor; returns its index, -1 for none, -2 after an error. */
static int
anchor_begin(Reader *reader, const yaml_char_t *name, yaml_mark_t mark)
{
	Anchor *anchor;

	if (name == NULL)
		return -1;
	if (reader->n_anchors == YAML_ANCHORS_MAX)
	{
		fail(reader, true, mark, "more than %d anchors", YAML_ANCHORS_MAX);
		return -2;
	}
	anchor = &reader->anchors[reader->n_anchors];
	anchor->name = strdup((const char *) name);
	if (anchor->name == NULL)
		return -2;
	anchor->value = NULL;
	anchor->n_nodes = *reader->n_nodes;
	return reader->n_anchors++;
}

static void
anchor_end(Reader *reader, int anchor_index, json_t *value)
{
	Anchor *anchor;

	if (anchor_index < 0)
		return;
	anchor = &reader->anchors[anchor_index];
	anchor->value = json_deep_copy(value);
	anchor->n_nodes = *reader->n_nodes - anchor->n_nodes + 1;
}

static json_t *
read_alias(Reader *reader, const yaml_event_t *event)
{
	const char *name = (const char *) event->data.alias.anchor;

	/* The latest anchor of a name is meant. */
	for (int i = reader->n_anchors - 1; i >= 0; i--)
	{
		const Anchor *anchor = &reader->anchors[i];

		if (strcmp(anchor->name, name) != 0)
			continue;
		if (anchor->value == NULL)
			return fail(reader, true, event->start_mark,
			            "the alias \"*%.64s\" stands inside its own anchor", name);
		if (!count_node(reader, event->start_mark, anchor->n_nodes))
			return NULL;
		return json_deep_copy(anchor->value);
	}
	return fail(reader, true, event->start_mark, "the alias \"*%.64s\" has no anchor", name);
}

static json_t *
read_sequence(Reader *reader)
{
	json_t *list = json_array();
	size_t used = strlen(reader->path);
	yaml_event_t event;

	while (list != NULL)
	{
		json_t *item;
		char step[24];

		if (!next_event(reader, &event))
			break;
		if (event.type == YAML_SEQUENCE_END_EVENT)
		{
			yaml_event_delete(&event);
			return list;
		}
		snprintf(step, sizeof(step), "%zu", json_array_size(list));
		if (!path_append(reader->path, sizeof(reader->path), step))
		{
			fail(reader, true, event.start_mark, "the value is nested too deep");
			yaml_event_delete(&event);
			break;
		}
		reader->has_key = false;
		item = read_node(reader, &event);
		yaml_event_delete(&event);
		reader->path[used] = '\0';
		if (item == NULL || json_array_append_new(list, item) != 0)
			break;
	}
	json_decref(list);
	return NULL;
}

/* The keys of a merge key that are not there yet, and where they came from. */
static bool
merge_over(Reader *reader, json_t *merged, const json_t *from, yaml_mark_t mark)
{
	const char *key;
	json_t *value;

	if (!json_is_object(from))
	{
		fail(reader, true, mark, "a merge key \"<<\" needs a map or a list of maps");
		return false;
	}
	json_object_foreach((json_t *) from, key, value)
	{
		size_t used = strlen(reader->path);

		if (json_object_get(merged, key) != NULL)
			continue;
		if (json_object_set(merged, key, value) != 0)
			return false;
		if (path_append(reader->path, sizeof(reader->path), key))
		{
			bool ok =
			    places_add(reader->places, reader->path, reader->source, (int) mark.line + 1,
			               (int) mark.column + 1, (int) mark.line + 1, (int) mark.column + 1, true);

			reader->path[used] = '\0';
			if (!ok)
				return false;
		}
	}
	return true;
}

static bool
merge_key(Reader *reader, json_t *merged, const json_t *value, yaml_mark_t mark)
{
	size_t item_index;
	json_t *item;

	if (!json_is_array(value))
		return merge_over(reader, merged, value, mark);
	json_array_foreach((json_t *) value, item_index,
	                   item) if (!merge_over(reader, merged, item, mark)) return false;
	return true;
}

/* One "key: value"; the key's event has been read.  False after an error. */
static bool
read_pair(Reader *reader, json_t *map, json_t *merged, const yaml_event_t *key_event)
{
	size_t used = strlen(reader->path);
	const char *key = (const char *) key_event->data.scalar.value;
	yaml_mark_t mark = key_event->start_mark;
	yaml_event_t event;
	json_t *value;
	bool is_merge;
	bool ok;

	if (key_event->type != YAML_SCALAR_EVENT)
	{
		fail(reader, true, mark, "a key must be a plain text");
		return false;
	}
	if (memchr(key, '\0', key_event->data.scalar.length) != NULL || strchr(key, CONFIG_SEP) != NULL)
	{
		fail(reader, true, mark, "a key cannot contain control characters");
		return false;
	}
	if (!count_node(reader, mark, 1))
		return false;
	is_merge = key_event->data.scalar.plain_implicit && strcmp(key, "<<") == 0;
	if (!is_merge && !path_append(reader->path, sizeof(reader->path), key))
	{
		fail(reader, true, mark, "the key is too long or nested too deep");
		return false;
	}
	if (!is_merge && json_object_get(map, key) != NULL)
		fail(reader, false, mark, "the key \"%.100s\" occurs twice, the last one wins", key);
	if (!next_event(reader, &event))
		return false;
	reader->key_mark = mark;
	reader->has_key = !is_merge;
	value = read_node(reader, &event);
	mark = event.start_mark;
	yaml_event_delete(&event);
	reader->path[used] = '\0';
	if (value == NULL)
		return false;
	if (!is_merge)
		return json_object_set_new(map, key, value) == 0;
	ok = merge_key(reader, merged, value, mark);
	json_decref(value);
	return ok;
}

static json_t *
read_mapping(Reader *reader)
{
	json_t *map = json_pack("{}");
	json_t *merged = json_pack("{}");
	const char *key;
	json_t *value;
	yaml_event_t event;

	while (map != NULL && merged != NULL)
	{
		bool ok;

		if (!next_event(reader, &event))
			break;
		if (event.type == YAML_MAPPING_END_EVENT)
		{
			yaml_event_delete(&event);
			/* What is written out wins over what a merge key brings. */
			json_object_foreach(merged, key, value) if (json_object_get(map, key) == NULL)
			    json_object_set(map, key, value);
			json_decref(merged);
			return map;
		}
		ok = read_pair(reader, map, merged, &event);
		yaml_event_delete(&event);
		if (!ok)
			break;
	}
	json_decref(map);
	json_decref(merged);
	return NULL;
}

/* Any value, of whose events the first has been read. */
static json_t *
read_node(Reader *reader, yaml_event_t *event)
{
	yaml_mark_t mark = event->start_mark;
	json_t *value = NULL;
	int anchor_index = -1;
	bool has_key = reader->has_key;

	reader->has_key = false;
	if (!count_node(reader, mark, 1))
		return NULL;
	if (!places_add(reader->places, reader->path, reader->source,
	                has_key ? (int) reader->key_mark.line + 1 : 0,
	                has_key ? (int) reader->key_mark.column + 1 : 0, (int) mark.line + 1,
	                (int) mark.column + 1, event->type != YAML_MAPPING_START_EVENT))
		return NULL;
	if (reader->depth >= CONFIG_DEPTH_MAX)
		return fail(reader, true, mark, "values are nested deeper than %d levels",
		            CONFIG_DEPTH_MAX);
	reader->depth++;
	switch (event->type)
	{
		case YAML_SCALAR_EVENT:
			anchor_index = anchor_begin(reader, event->data.scalar.anchor, mark);
			if (anchor_index != -2)
				value = read_scalar(reader, event);
			break;
		case YAML_ALIAS_EVENT:
			value = read_alias(reader, event);
			break;
		case YAML_SEQUENCE_START_EVENT:
			if (!tag_is(event->data.sequence_start.tag, YAML_SEQ_TAG))
				fail(reader, true, mark, "cannot make a value of the tag \"%.100s\"",
				     (const char *) event->data.sequence_start.tag);
			else
			{
				anchor_index = anchor_begin(reader, event->data.sequence_start.anchor, mark);
				if (anchor_index != -2)
					value = read_sequence(reader);
			}
			break;
		case YAML_MAPPING_START_EVENT:
			if (!tag_is(event->data.mapping_start.tag, YAML_MAP_TAG))
				fail(reader, true, mark, "cannot make a value of the tag \"%.100s\"",
				     (const char *) event->data.mapping_start.tag);
			else
			{
				anchor_index = anchor_begin(reader, event->data.mapping_start.anchor, mark);
				if (anchor_index != -2)
					value = read_mapping(reader);
			}
			break;
		default:
			fail(reader, true, mark, "cannot read the YAML: a value is missing");
			break;
	}
	reader->depth--;
	if (value != NULL)
		anchor_end(reader, anchor_index, value);
	return value;
}

/* The stream: at most one document.  An empty one gives null. */
static json_t *
read_stream(Reader *reader)
{
	json_t *value = NULL;
	bool is_done = false;
	yaml_event_t event;

	while (!is_done)
	{
		if (!next_event(reader, &event))
			break;
		switch (event.type)
		{
			case YAML_STREAM_START_EVENT:
			case YAML_DOCUMENT_END_EVENT:
				break;
			case YAML_DOCUMENT_START_EVENT:
				if (value != NULL)
				{
					fail(reader, true, event.start_mark,
					     "a second document begins, but only one is expected");
					yaml_event_delete(&event);
					json_decref(value);
					return NULL;
				}
				break;
			case YAML_STREAM_END_EVENT:
				yaml_event_delete(&event);
				return value != NULL ? value : json_null();
			default:
				value = read_node(reader, &event);
				is_done = value == NULL;
				break;
		}
		yaml_event_delete(&event);
	}
	json_decref(value);
	return NULL;
}

/*
 * Read one YAML document.  "name" is what problems call it; "root_path" is
 * the path of its value in the whole configuration ("" for a file).  Returns
 * a new reference (null for an empty text), or NULL after an error has been
 * listed.  *n_nodes counts over all documents of one configuration.
 */
json_t *
yaml_parse(const char *text, size_t length, const char *name, Places *places, const char *root_path,
           int *n_nodes, ConfigProblems *problems)
{
	Reader *reader = calloc(1, sizeof(*reader));
	json_t *value = NULL;

	if (reader == NULL)
		return NULL;
	reader->name = name;
	reader->places = places;
	reader->problems = problems;
	reader->n_nodes = n_nodes;
	snprintf(reader->path, sizeof(reader->path), "%s", root_path);
	reader->source = places_add_source(places, name);
	if (length > CONFIG_FILE_SIZE_MAX)
		problem_at(problems, true, name, "", "the text is longer than %d bytes",
		           CONFIG_FILE_SIZE_MAX);
	else if (reader->source >= 0 && yaml_parser_initialize(&reader->parser))
	{
		yaml_parser_set_encoding(&reader->parser, YAML_UTF8_ENCODING);
		yaml_parser_set_input_string(&reader->parser, (const unsigned char *) text, length);
		value = read_stream(reader);
		yaml_parser_delete(&reader->parser);
	}
	if (value == NULL && problems != NULL && problems->n_errors == 0)
		problem_at(problems, true, name, "", "could not read the configuration: out of memory");
	for (int i = 0; i < reader->n_anchors; i++)
	{
		free(reader->anchors[i].name);
		json_decref(reader->anchors[i].value);
	}
	free(reader);
	return value;
}

/*
 * Read any YAML text as a JSON value (null for an empty one).  A new
 * reference, or NULL after an error has been listed.
 */
json_t *
config_read_yaml(const char *text, size_t length, const char *name, ConfigProblems *problems)
{
	Places places = { 0 };
	int n_nodes = 0;
	json_t *value = yaml_parse(text, length, name, &places, "", &n_nodes, problems);

	places_free(&places);
	return value;
}
