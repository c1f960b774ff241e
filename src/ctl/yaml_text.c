/*-------------------------------------------------------------------------
 *
 * yaml_text.c
 *      JSON values as YAML, as PyYAML's safe_dump() writes them with a width
 *      of 200: libyaml does the writing, here is only what a text must not
 *      look like to be written without quotes.
 *
 * Known to differ: libyaml escapes characters beyond the first plane (emoji)
 * and U+0085, takes an empty text for a simple key, and breaks long quoted
 * texts at blanks only.
 *-------------------------------------------------------------------------
 */
#include "ctl/format.h"

#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define YAML_TEXT_WIDTH 200

/* What a plain scalar means in YAML 1.1 when it is no text. */
static const char *const not_text =
	"^(yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$"
	"|^[-+]?([0-9][0-9_]*)\\.[0-9_]*([eE][-+][0-9]+)?$"
	"|^\\.[0-9][0-9_]*([eE][-+][0-9]+)?$"
	"|^[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+\\.[0-9_]*$"
	"|^[-+]?\\.(inf|Inf|INF)$|^\\.(nan|NaN|NAN)$"
	"|^[-+]?0b[0-1_]+$|^[-+]?0[0-7_]+$|^[-+]?(0|[1-9][0-9_]*)$|^[-+]?0x[0-9a-fA-F_]+$"
	"|^[-+]?[1-9][0-9_]*(:[0-5]?[0-9])+$"
	"|^<<$|^=$|^(~|null|Null|NULL|)$|^[!&*]$"
	"|^[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]$"
	"|^[0-9][0-9][0-9][0-9]-[0-9][0-9]?-[0-9][0-9]?([Tt]|[ \t]+)[0-9][0-9]?:[0-9][0-9]:[0-9][0-9]"
	"(\\.[0-9]*)?([ \t]*(Z|[-+][0-9][0-9]?(:[0-9][0-9])?))?$";

typedef struct Writer
{
	yaml_emitter_t emitter;
	regex_t pattern;
	bool flow;
	bool failed;
} Writer;

static void
emit(Writer *writer, yaml_event_t *event, int is_made)
{
	if (!is_made || !yaml_emitter_emit(&writer->emitter, event))
		writer->failed = true;
}

static void
write_scalar(Writer *writer, const char *text, bool is_text)
{
	yaml_event_t event;
	bool plain = true;

	if (is_text)
		plain = regexec(&writer->pattern, text, 0, NULL, 0) != 0;
	emit(writer, &event,
		 yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *) text,
									  (int) strlen(text), plain, is_text, YAML_ANY_SCALAR_STYLE));
}

static int
compare_keys(const void *a, const void *b)
{
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}

static void write_value(Writer *writer, const json_t *value);

static void
write_map(Writer *writer, const json_t *map)
{
	size_t n = json_object_size(map);
	const char **keys = calloc(n + 1, sizeof(char *));
	yaml_event_t event;
	const char *key;
	json_t *value;
	size_t i = 0;

	emit(writer, &event,
		 yaml_mapping_start_event_initialize(&event, NULL, NULL, 1,
											 writer->flow ? YAML_FLOW_MAPPING_STYLE
														  : YAML_BLOCK_MAPPING_STYLE));
	if (keys == NULL)
	{
		writer->failed = true;
		return;
	}
	json_object_foreach((json_t *) map, key, value) keys[i++] = key;
	qsort(keys, n, sizeof(char *), compare_keys);
	for (i = 0; i < n && !writer->failed; i++)
	{
		write_scalar(writer, keys[i], true);
		write_value(writer, json_object_get(map, keys[i]));
	}
	free(keys);
	if (!writer->failed)
		emit(writer, &event, yaml_mapping_end_event_initialize(&event));
}

static void
write_list(Writer *writer, const json_t *list)
{
	yaml_event_t event;
	json_t *value;
	size_t value_index;

	emit(writer, &event,
		 yaml_sequence_start_event_initialize(&event, NULL, NULL, 1,
											  writer->flow ? YAML_FLOW_SEQUENCE_STYLE
														   : YAML_BLOCK_SEQUENCE_STYLE));
	json_array_foreach((json_t *) list, value_index, value) if (!writer->failed)
		write_value(writer, value);
	if (!writer->failed)
		emit(writer, &event, yaml_sequence_end_event_initialize(&event));
}

static void
write_value(Writer *writer, const json_t *value)
{
	char text[48];
	char *exponent;

	if (writer->failed)
		return;
	switch (value == NULL ? JSON_NULL : json_typeof(value))
	{
		case JSON_OBJECT:
			write_map(writer, value);
			break;
		case JSON_ARRAY:
			write_list(writer, value);
			break;
		case JSON_STRING:
			write_scalar(writer, json_string_value(value), true);
			break;
		case JSON_INTEGER:
			snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
			write_scalar(writer, text, false);
			break;
		case JSON_REAL:
			format_real(json_real_value(value), text);
			exponent = strchr(text, 'e');
			if (exponent != NULL && strchr(text, '.') == NULL)
			{
				/* 1e-07 would be read as a text */
				memmove(exponent + 2, exponent, strlen(exponent) + 1);
				memcpy(exponent, ".0", 2);
			}
			write_scalar(writer, text, false);
			break;
		case JSON_TRUE:
		case JSON_FALSE:
			write_scalar(writer, json_is_true(value) ? "true" : "false", false);
			break;
		case JSON_NULL:
			write_scalar(writer, "null", false);
			break;
	}
}

static int
write_to_stream(void *stream, unsigned char *buffer, size_t size)
{
	return fwrite(buffer, 1, size, stream) == size;
}

/* A document of YAML, which ends in a line feed.  malloc'ed. */
char *
format_yaml(const json_t *value, bool flow)
{
	Writer writer;
	yaml_event_t event;
	char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);

	memset(&writer, 0, sizeof(writer));
	if (out == NULL)
		return NULL;
	if (regcomp(&writer.pattern, not_text, REG_EXTENDED | REG_NOSUB) != 0)
	{
		fclose(out);
		free(text);
		return NULL;
	}
	writer.flow = flow;
	if (yaml_emitter_initialize(&writer.emitter))
	{
		yaml_emitter_set_output(&writer.emitter, write_to_stream, out);
		yaml_emitter_set_unicode(&writer.emitter, 1);
		yaml_emitter_set_width(&writer.emitter, YAML_TEXT_WIDTH);
		emit(&writer, &event, yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING));
		if (!writer.failed)
			emit(&writer, &event,
				 yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1));
		write_value(&writer, value);
		if (!writer.failed)
			emit(&writer, &event, yaml_document_end_event_initialize(&event, 1));
		if (!writer.failed)
			emit(&writer, &event, yaml_stream_end_event_initialize(&event));
		yaml_emitter_delete(&writer.emitter);
	}
	else
		writer.failed = true;
	regfree(&writer.pattern);
	if (fclose(out) != 0 || writer.failed)
	{
		free(text);
		return NULL;
	}
	return text;
}
