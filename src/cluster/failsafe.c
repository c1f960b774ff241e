/*-------------------------------------------------------------------------
 *
 * failsafe.c
 *      The key "failsafe": the members that a leader without the store asks.
 *
 * Name -> api_url (patroni/ha.py, _failsafe_config()).  A text that does not
 * fit is refused as a whole: a member left out would not be asked.
 *-------------------------------------------------------------------------
 */
#include "cluster/cluster_internal.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

static bool
copy_text(char *to, size_t size, const char *from)
{
	size_t		length = strlen(from);

	if (length >= size)
		return false;
	memcpy(to, from, length + 1);
	return true;
}

/*
 * Read the key into "members", which has CLUSTER_MEMBERS_MAX entries.  Returns
 * how many there are, or -1 when the text is no object of names and addresses
 * or has too many of them.
 */
int
failsafe_from_text(FailsafeMember *members, const char *text)
{
	json_t	   *object;
	const char *name;
	json_t	   *url;
	int			n = 0;

	if (text == NULL)
		return 0;
	object = json_loads(text, 0, NULL);
	if (!json_is_object(object))
	{
		json_decref(object);
		return -1;
	}
	json_object_foreach(object, name, url)
	{
		if (n < 0 || n == CLUSTER_MEMBERS_MAX || !json_is_string(url) || name[0] == '\0' ||
			!copy_text(members[n].name, sizeof(members[n].name), name) ||
			!copy_text(members[n].api_url, sizeof(members[n].api_url), json_string_value(url)))
		{
			n = -1;
			break;
		}
		n++;
	}
	json_decref(object);
	return n;
}

/* The key's text; malloc'ed, NULL without memory. */
char *
failsafe_to_text(const FailsafeMember *members, int n_members)
{
	json_t	   *object = json_pack("{}");
	char	   *text;

	for (int i = 0; i < n_members; i++)
		json_object_set_new(object, members[i].name, json_string(members[i].api_url));
	text = object == NULL ? NULL : json_dumps(object, JSON_SORT_KEYS);
	json_decref(object);
	return text;
}
