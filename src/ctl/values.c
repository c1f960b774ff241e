/*-------------------------------------------------------------------------
 *
 * values.c
 *      JSON values as texts, written as Python writes them, because that is
 *      what the readers of patronictl's output were made for.
 *
 *-------------------------------------------------------------------------
 */
#include "ctl/format.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * The fewest digits that read back as the same number; an exponent below
 * 1e-04 and from 1e+16 on.
 */
void
format_real(double value, char text[40])
{
	char digits[40];
	char *exponent;
	int precision;

	if (!isfinite(value))
	{
		snprintf(text, 40, "%s", isnan(value) ? "nan" : value > 0 ? "inf" : "-inf");
		return;
	}
	for (precision = 1; precision < 17; precision++)
	{
		snprintf(digits, sizeof(digits), "%.*e", precision - 1, value);
		if (strtod(digits, NULL) == value)
			break;
	}
	snprintf(digits, sizeof(digits), "%.*e", precision - 1, value);
	exponent = strchr(digits, 'e');
	if (exponent != NULL)
	{
		int power = atoi(exponent + 1);

		if (power >= -4 && power < 16)
		{
			int decimals = precision - 1 - power;

			snprintf(text, 40, "%.*f", decimals > 0 ? decimals : 1, value);
			return;
		}
	}
	snprintf(text, 40, "%s", digits);
}

/* The next character of UTF-8 that jansson has checked already. */
static uint32_t
next_character(const char **text)
{
	const unsigned char *p = (const unsigned char *) *text;
	int n_more = *p < 0x80 ? 0 : *p < 0xe0 ? 1 : *p < 0xf0 ? 2 : 3;
	uint32_t c = n_more == 0 ? *p : *p & (0x3fu >> n_more);

	for (p++; n_more > 0; n_more--, p++)
		c = (c << 6) | (*p & 0x3f);
	*text = (const char *) p;
	return c;
}

static void
write_string(FILE *out, const char *text)
{
	putc('"', out);
	while (*text != '\0')
	{
		uint32_t c = next_character(&text);

		if (c == '"' || c == '\\')
			fprintf(out, "\\%c", (int) c);
		else if (c == '\n')
			fputs("\\n", out);
		else if (c == '\r')
			fputs("\\r", out);
		else if (c == '\t')
			fputs("\\t", out);
		else if (c == '\b')
			fputs("\\b", out);
		else if (c == '\f')
			fputs("\\f", out);
		else if (c >= 0x10000)
			fprintf(out, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10),
					0xdc00 + ((c - 0x10000) & 0x3ff));
		else if (c < 0x20 || c > 0x7e)
			fprintf(out, "\\u%04x", c);
		else
			putc((int) c, out);
	}
	putc('"', out);
}

static void
write_json(FILE *out, const json_t *value)
{
	char real[40];
	const char *key;
	json_t *item;
	size_t item_index;
	bool is_first = true;

	switch (json_typeof(value))
	{
		case JSON_OBJECT:
			putc('{', out);
			json_object_foreach((json_t *) value, key, item)
			{
				fputs(is_first ? "" : ", ", out);
				write_string(out, key);
				fputs(": ", out);
				write_json(out, item);
				is_first = false;
			}
			putc('}', out);
			break;
		case JSON_ARRAY:
			putc('[', out);
			json_array_foreach((json_t *) value, item_index, item)
			{
				fputs(item_index == 0 ? "" : ", ", out);
				write_json(out, item);
			}
			putc(']', out);
			break;
		case JSON_STRING:
			write_string(out, json_string_value(value));
			break;
		case JSON_INTEGER:
			fprintf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
			break;
		case JSON_REAL:
			format_real(json_real_value(value), real);
			fputs(real, out);
			break;
		case JSON_TRUE:
			fputs("true", out);
			break;
		case JSON_FALSE:
			fputs("false", out);
			break;
		case JSON_NULL:
			fputs("null", out);
			break;
	}
}

/* One line of JSON with ", " and ": ", all of it ASCII.  malloc'ed. */
char *
format_json(const json_t *value)
{
	char *text = NULL;
	size_t length;
	FILE *out = open_memstream(&text, &length);

	if (out == NULL)
		return NULL;
	write_json(out, value);
	if (fclose(out) != 0)
	{
		free(text);
		return NULL;
	}
	return text;
}

/* A value inside of a line of text, as Python's str().  malloc'ed. */
char *
format_plain(const json_t *value)
{
	char text[40];

	switch (value == NULL ? JSON_NULL : json_typeof(value))
	{
		case JSON_STRING:
			return strdup(json_string_value(value));
		case JSON_INTEGER:
			snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
			return strdup(text);
		case JSON_REAL:
			format_real(json_real_value(value), text);
			return strdup(text);
		case JSON_TRUE:
			return strdup("True");
		case JSON_FALSE:
			return strdup("False");
		case JSON_NULL:
			return strdup("None");
		default:
			return format_json(value);
	}
}

/* Would the value show as nothing at all? */
bool
format_is_empty(const json_t *value)
{
	return json_is_string(value) && json_string_length(value) == 0;
}
