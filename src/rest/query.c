/*-------------------------------------------------------------------------
 *
 * query.c
 *      The parameters of a request, read as form data.
 *
 * Parameters without value are ignored and of repeated ones the first counts,
 * as Patroni does.  What does not fit is ignored as well.
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "rest/rest_internal.h"

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Undo form encoding; false when the result does not fit or holds a NUL. */
static bool
decode(char *to, size_t size, const char *from, size_t length)
{
	size_t used = 0;

	for (size_t i = 0; i < length; i++)
	{
		char c = from[i];

		if (c == '+')
			c = ' ';
		else if (c == '%' && i + 2 < length && hex_digit(from[i + 1]) >= 0 &&
		         hex_digit(from[i + 2]) >= 0)
		{
			c = (char) (hex_digit(from[i + 1]) * 16 + hex_digit(from[i + 2]));
			i += 2;
		}
		if (c == '\0' || used + 1 >= size)
			return false;
		to[used++] = c;
	}
	to[used] = '\0';
	return used > 0;
}

/* Split a query string. */
void
query_parse(RestQuery *query, const char *text)
{
	query->count = 0;
	while (*text != '\0' && query->count < REST_PARAMETERS_MAX)
	{
		RestParameter *item = &query->items[query->count];
		size_t length = strcspn(text, "&");
		const char *equals = memchr(text, '=', length);

		if (equals != NULL &&
		    decode(item->name, sizeof(item->name), text, (size_t) (equals - text)) &&
		    decode(item->value, sizeof(item->value), equals + 1,
		           length - (size_t) (equals + 1 - text)) &&
		    query_get(query, item->name) == NULL)
			query->count++;
		text += length;
		if (*text == '&')
			text++;
	}
}

/* The value of a parameter, NULL when it is absent. */
const char *
query_get(const RestQuery *query, const char *name)
{
	for (int i = 0; i < query->count; i++)
	{
		if (strcmp(query->items[i].name, name) == 0)
			return query->items[i].value;
	}
	return NULL;
}
