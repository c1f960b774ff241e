/*-------------------------------------------------------------------------
 *
 * json_text.c
 *      Careful reading of JSON and text that anybody may have written.
 *
 * Invariants:
 *  (1) Text in a fixed-size field is valid UTF-8 without control characters,
 *      whatever the store held.
 *  (2) A number is either within its range or absent; it never wraps.
 *-------------------------------------------------------------------------
 */
#include "cluster/cluster_internal.h"

#include <stdlib.h>
#include <string.h>

/*
 * Parse a JSON text.  The caller owns *document.  Integers that do not fit
 * 64 bits, which JSON allows, cost the precision of all numbers, but do not
 * make the text invalid.
 */
JsonRead
cluster_json_read(const char *text, json_t **document)
{
	json_error_t error;
	size_t		length;

	*document = NULL;
	if (text == NULL || (length = strnlen(text, CLUSTER_DOCUMENT_MAX + 1)) > CLUSTER_DOCUMENT_MAX)
		return JSON_READ_INVALID;
	*document = json_loadb(text, length, JSON_DECODE_ANY, &error);
	if (*document != NULL)
		return JSON_READ_EXACT;
	if (json_error_code(&error) == json_error_numeric_overflow)
	{
		*document = json_loadb(text, length, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, &error);
		if (*document != NULL)
			return JSON_READ_ROUNDED;
	}
	return json_error_code(&error) == json_error_out_of_memory ? JSON_READ_NO_MEMORY : JSON_READ_INVALID;
}

/* Print as Patroni does, compact and in ASCII, and drop the document; NULL = no memory. */
char *
cluster_json_write(json_t *document)
{
	char	   *text = document == NULL ? NULL :
		json_dumps(document, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_ENCODE_ANY);

	json_decref(document);
	return text;
}

/* Keep a part of a document as text; what is absent or too long becomes NULL. */
bool
cluster_json_fragment(json_t *value, char **text)
{
	*text = NULL;
	if (value == NULL)
		return true;
	*text = cluster_json_write(json_incref(value));
	if (*text == NULL)
		return false;
	if (strlen(*text) > CLUSTER_FRAGMENT_MAX)
	{
		free(*text);
		*text = NULL;
	}
	return true;
}

/* A JSON string of any bytes: what is not UTF-8 becomes question marks. */
json_t *
cluster_json_text(const char *text)
{
	json_t	   *value = json_string(text);
	char	   *copy;
	size_t		size;

	if (value != NULL || text == NULL)
		return value;
	size = strlen(text) + 1;
	copy = malloc(size);
	if (copy == NULL)
		return NULL;
	cluster_text_copy(copy, size, text);
	value = json_string(copy);
	free(copy);
	return value;
}

/* As cluster_json_text(), but "" and NULL are null. */
json_t *
cluster_json_text_or_null(const char *text)
{
	return text == NULL || text[0] == '\0' ? json_null() : cluster_json_text(text);
}

/* A WAL position as integer; JSON readers know no more than 63 bits. */
json_t *
cluster_json_lsn(Lsn lsn)
{
	return json_integer(lsn > INT64_MAX ? INT64_MAX : (json_int_t) lsn);
}

/* Add a member, taking its reference; false when it is NULL or memory is out. */
bool
cluster_json_put(json_t *object, const char *name, json_t *value)
{
	return json_object_set_new(object, name, value) == 0;
}

/* Add a member given as JSON text; null when the text is NULL or invalid. */
bool
cluster_json_put_raw(json_t *object, const char *name, const char *text)
{
	json_t	   *value;

	if (cluster_json_read(text, &value) == JSON_READ_NO_MEMORY)
		return false;
	return cluster_json_put(object, name, value == NULL ? json_null() : value);
}

/* Truth as Python sees it: everything but absent, null, false, 0 and empty. */
bool
cluster_json_truth(const json_t *value)
{
	switch (value == NULL ? JSON_NULL : json_typeof(value))
	{
		case JSON_OBJECT:
			return json_object_size(value) > 0;
		case JSON_ARRAY:
			return json_array_size(value) > 0;
		case JSON_STRING:
			return json_string_length(value) > 0;
		case JSON_INTEGER:
			return json_integer_value(value) != 0;
		case JSON_REAL:
			return json_real_value(value) != 0;
		case JSON_TRUE:
			return true;
		case JSON_FALSE:
		case JSON_NULL:
			break;
	}
	return false;
}

/* A whole number written as text, blanks around it allowed. */
static bool
text_integer(const char *text, int64_t *number)
{
	static const char blanks[] = " \t\r\n\f\v";
	bool		is_negative = false;
	uint64_t	value = 0;
	int			n_digits = 0;

	text += strspn(text, blanks);
	if (*text == '+' || *text == '-')
		is_negative = *text++ == '-';
	for (; *text >= '0' && *text <= '9'; text++, n_digits++)
	{
		if (value > (INT64_MAX - (uint64_t) (*text - '0')) / 10)
			return false;
		value = value * 10 + (uint64_t) (*text - '0');
	}
	text += strspn(text, blanks);
	if (n_digits == 0 || *text != '\0')
		return false;
	*number = is_negative ? -(int64_t) value : (int64_t) value;
	return true;
}

/* An integer, leniently: as patroni/utils.py, parse_int(), but without units. */
bool
cluster_json_integer(const json_t *value, int64_t *number)
{
	double		real;

	if (json_is_integer(value))
	{
		*number = json_integer_value(value);
		return true;
	}
	if (json_is_string(value))
		return text_integer(json_string_value(value), number);
	if (!json_is_real(value))
		return false;
	real = json_real_value(value);
	if (!(real > -9.2e18 && real < 9.2e18))
		return false;
	*number = (int64_t) (real < 0 ? real - 0.5 : real + 0.5);
	return true;
}

/* A WAL position of an object; 0 when absent, negative or no number. */
Lsn
cluster_json_get_lsn(const json_t *object, const char *name)
{
	int64_t		number;

	if (!cluster_json_integer(json_object_get(object, name), &number) || number < 0)
		return 0;
	return (Lsn) number;
}

/* A timeline id; 0 when it cannot be one. */
uint32_t
cluster_json_get_timeline(const json_t *value)
{
	int64_t		number;

	if (!cluster_json_integer(value, &number) || number < 1 || number >= UINT32_MAX)
		return 0;
	return (uint32_t) number;
}

/* A string of an object; "" when absent or of another type. */
void
cluster_json_get_text(const json_t *object, const char *name, char *to, size_t size)
{
	cluster_text_copy(to, size, json_string_value(json_object_get(object, name)));
}

/* A member name of an object; "" when absent or of another type. */
void
cluster_json_get_name(const json_t *object, const char *name, char *to)
{
	cluster_name_copy(to, json_string_value(json_object_get(object, name)));
}

/* Bytes of the UTF-8 character at text, 0 if there is none that is valid. */
size_t
cluster_utf8_length(const char *text)
{
	const unsigned char *s = (const unsigned char *) text;
	size_t		length = s[0] < 0x80 ? 1 : s[0] < 0xC2 ? 0 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : s[0] < 0xF5 ? 4 : 0;

	if (length <= 1)
		return s[0] == '\0' ? 0 : length;
	for (size_t i = 1; i < length; i++)
		if ((s[i] & 0xC0) != 0x80)
			return 0;
	if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) ||
		(s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F))
		return 0;
	return length;
}

static bool
is_control(const char *text)
{
	return (unsigned char) *text < 0x20 || *text == 0x7f;
}

/*
 * Copy text into a field: cut at a character when it is too long, with '?'
 * for control characters and for bytes that are not UTF-8.  NULL is "".
 */
void
cluster_text_copy(char *to, size_t size, const char *from)
{
	size_t		used = 0;

	while (from != NULL && *from != '\0')
	{
		size_t		length = cluster_utf8_length(from);
		bool		is_bad = length == 0 || is_control(from);

		if (is_bad)
			length = 1;
		if (used + length >= size)
			break;
		memcpy(to + used, is_bad ? "?" : from, length);
		used += length;
		from += length;
	}
	to[used] = '\0';
}

/*
 * Copy the name of a member.  One that is too long ends in "...", so that it
 * cannot be taken for a member whose name is the part that fits.
 */
void
cluster_name_copy(char to[CLUSTER_NAME_MAX], const char *from)
{
	if (from == NULL || strnlen(from, CLUSTER_NAME_MAX) < CLUSTER_NAME_MAX)
	{
		cluster_text_copy(to, CLUSTER_NAME_MAX, from);
		return;
	}
	cluster_text_copy(to, CLUSTER_NAME_MAX - 3, from);
	strcat(to, "...");
}

/* Can this be the name of a member?  Keys with other names are ignored. */
bool
cluster_name_is_valid(const char *name)
{
	size_t		length = strnlen(name, CLUSTER_NAME_MAX);

	if (length == 0 || length == CLUSTER_NAME_MAX)
		return false;
	for (; *name != '\0'; name += cluster_utf8_length(name))
		if (cluster_utf8_length(name) == 0 || is_control(name))
			return false;
	return true;
}

/* strdup() that knows NULL; false: no memory. */
bool
cluster_text_dup(char **to, const char *from)
{
	*to = from == NULL ? NULL : strdup(from);
	return from == NULL || *to != NULL;
}
