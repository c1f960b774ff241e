/*-------------------------------------------------------------------------
 *
 * values.c
 *      How values are read: booleans by their usual words, numbers as strtol()
 *      reads them, with units of size and time (patroni/utils.py, parse_bool()
 *      and parse_int()).
 *-------------------------------------------------------------------------
 */
#include "config/config_internal.h"
#include "cluster/ascii.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Unit
{
	const char *name;
	bool is_time;
	double factor; /* bytes or microseconds */
} Unit;

static const Unit units[] = {
	{ "B", false, 1.0 },
	{ "kB", false, 1024.0 },
	{ "MB", false, 1024.0 * 1024.0 },
	{ "GB", false, 1024.0 * 1024.0 * 1024.0 },
	{ "TB", false, 1024.0 * 1024.0 * 1024.0 * 1024.0 },
	{ "us", true, 1.0 },
	{ "ms", true, 1e3 },
	{ "s", true, 1e6 },
	{ "min", true, 60e6 },
	{ "h", true, 3600e6 },
	{ "d", true, 86400e6 },
};

static const Unit *
unit_find(const char *name)
{
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (strcmp(units[i].name, name) == 0)
			return &units[i];
	return NULL;
}

/* on/true/yes/1 and off/false/no/0, in any case. */
bool
text_to_bool(const char *text, bool *result)
{
	static const char *const words[][2] = {
		{ "off", "on" },
		{ "false", "true" },
		{ "no", "yes" },
		{ "0", "1" },
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		for (int truth = 0; truth < 2; truth++)
			if (ascii_is_same(text, words[i][truth]))
			{
				*result = truth == 1;
				return true;
			}
	return false;
}

/* Convert by what follows the number; "base_unit" may be "8kB". */
static bool
apply_unit(const char *rest, const char *base_unit, double *value)
{
	char name[8];
	size_t n;
	char *base_name;
	double multiple;
	const Unit *unit;
	const Unit *base;

	while (ascii_is_space(*rest))
		rest++;
	n = strlen(rest);
	while (n > 0 && ascii_is_space(rest[n - 1]))
		n--;
	if (n == 0)
		return true;
	if (base_unit == NULL || n >= sizeof(name))
		return false;
	memcpy(name, rest, n);
	name[n] = '\0';
	multiple = strtod(base_unit, &base_name);
	if (base_name == base_unit)
		multiple = 1.0;
	unit = unit_find(name);
	base = unit_find(base_name);
	if (unit == NULL || base == NULL || unit->is_time != base->is_time)
		return false;
	*value = *value * unit->factor / (base->factor * multiple);
	return true;
}

/* A decimal number, perhaps with a fraction and a unit.  Never hex or "nan". */
bool
text_to_real(const char *text, const char *base_unit, double *result)
{
	const char *p = text;
	char *end;
	double value;

	while (ascii_is_space(*p))
		p++;
	if (strspn(p, "+-.0123456789") == 0 || ascii_is_same_part(p + strspn(p, "+-"), "0x", 2))
		return false;
	errno = 0;
	value = strtod(p, &end);
	if (end == p || !isfinite(value) || !apply_unit(end, base_unit, &value))
		return false;
	*result = value;
	return true;
}

/* An integer as strtol() reads it; fractions are rounded; a unit may follow. */
bool
text_to_int(const char *text, const char *base_unit, int64_t *result)
{
	const char *p = text;
	char *end;
	long long integer;
	double value;

	while (ascii_is_space(*p))
		p++;
	errno = 0;
	integer = strtoll(p, &end, 0);
	if (end == p || *end == '.' || *end == 'e' || *end == 'E')
	{
		if (*end != '.' && end == p && *p != '+' && *p != '-')
			return false;
		if (!text_to_real(p, base_unit, &value))
			return false;
	}
	else
	{
		if (errno == ERANGE)
			return false;
		if (end[strspn(end, " \t\r\n")] == '\0')
		{
			*result = integer;
			return true;
		}
		value = (double) integer;
		if (!apply_unit(end, base_unit, &value))
			return false;
	}
	value = rint(value);
	if (!(value >= -9223372036854775808.0 && value < 9223372036854775808.0))
		return false;
	*result = (int64_t) value;
	return true;
}

/* What Python calls true: neither null nor 0 nor empty.  NULL is false. */
bool
value_is_true(const json_t *value)
{
	switch (value == NULL ? JSON_NULL : json_typeof(value))
	{
		case JSON_TRUE:
			return true;
		case JSON_INTEGER:
			return json_integer_value(value) != 0;
		case JSON_REAL:
			return json_real_value(value) != 0.0;
		case JSON_STRING:
			return json_string_value(value)[0] != '\0';
		case JSON_ARRAY:
			return json_array_size(value) > 0;
		case JSON_OBJECT:
			return json_object_size(value) > 0;
		default:
			return false;
	}
}

/* A boolean out of a document: true, 1, or one of the words. */
bool
value_to_bool(const json_t *value, bool *result)
{
	if (json_is_boolean(value))
	{
		*result = json_is_true(value);
		return true;
	}
	if (json_is_integer(value) &&
	    (json_integer_value(value) == 0 || json_integer_value(value) == 1))
	{
		*result = json_integer_value(value) == 1;
		return true;
	}
	return json_is_string(value) && text_to_bool(json_string_value(value), result);
}

/* An integer out of a document: a number, or a text that reads as one. */
bool
value_to_int(const json_t *value, const char *base_unit, int64_t *result)
{
	double number;

	if (json_is_integer(value))
	{
		*result = json_integer_value(value);
		return true;
	}
	if (json_is_real(value))
	{
		number = rint(json_real_value(value));
		if (!(number >= -9223372036854775808.0 && number < 9223372036854775808.0))
			return false;
		*result = (int64_t) number;
		return true;
	}
	return json_is_string(value) && text_to_int(json_string_value(value), base_unit, result);
}
