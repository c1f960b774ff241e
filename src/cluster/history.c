/*-------------------------------------------------------------------------
 *
 * history.c
 *      The keys "history" (timelines that ended) and "promotions" (timeline
 *      ids that were taken).
 *
 * "history": patroni/ha.py, update_cluster_history().  "promotions" is ours.
 *-------------------------------------------------------------------------
 */
#include "cluster/cluster_internal.h"

#include <stdlib.h>
#include <string.h>

/* One element of the list; false if it has no usable timeline. */
static bool
read_entry(TimelineHistory *entry, const json_t *element)
{
	int64_t		lsn;

	memset(entry, 0, sizeof(*entry));
	entry->timeline = cluster_json_get_timeline(json_array_get(element, 0));
	if (entry->timeline == 0)
		return false;
	if (cluster_json_integer(json_array_get(element, 1), &lsn) && lsn > 0)
		entry->switch_lsn = (Lsn) lsn;
	cluster_text_copy(entry->reason, sizeof(entry->reason),
					  json_string_value(json_array_get(element, 2)));
	cluster_text_copy(entry->timestamp, sizeof(entry->timestamp),
					  json_string_value(json_array_get(element, 3)));
	cluster_name_copy(entry->new_leader, json_string_value(json_array_get(element, 4)));
	return true;
}

/*
 * Read the key "history" into the view.  A list whose last element names no
 * timeline tells nothing (Patroni too takes the cluster's timeline for 0 then),
 * a bad one before it is left out.  Only the newest are kept.
 * False: no memory, nothing changed.
 */
bool
history_read(ClusterView *view, const char *text)
{
	json_t	   *list;
	TimelineHistory *history = NULL;
	TimelineHistory last;
	size_t		n_elements;
	int			n_history = 0;

	if (cluster_json_read(text, &list) == JSON_READ_NO_MEMORY)
		return false;
	n_elements = json_array_size(list);
	if (n_elements > 0 && read_entry(&last, json_array_get(list, n_elements - 1)))
	{
		size_t		first = n_elements > CLUSTER_HISTORY_MAX ? n_elements - CLUSTER_HISTORY_MAX : 0;

		history = calloc(n_elements - first, sizeof(*history));
		if (history == NULL)
		{
			json_decref(list);
			return false;
		}
		for (size_t i = first; i < n_elements; i++)
			if (read_entry(&history[n_history], json_array_get(list, i)))
				n_history++;
	}
	json_decref(list);
	free(view->history);
	view->history = history;
	view->n_history = n_history;
	view->has_history = n_history > 0 || (text != NULL && strcmp(text, "[]") == 0);
	return true;
}

/* The cluster's timeline: patroni/dcs/__init__.py, Cluster.timeline. */
uint32_t
cluster_timeline(const ClusterView *view)
{
	if (!view->has_history)
		return 0;
	return view->n_history == 0 ? 1 : view->history[view->n_history - 1].timeline + 1;
}

/* Where the leader left that timeline, as the store says; 0: it does not. */
Lsn
cluster_left_at(const ClusterView *view, uint32_t timeline)
{
	for (int i = 0; i < view->n_history; i++)
		if (view->history[i].timeline == timeline)
			return view->history[i].switch_lsn;
	return 0;
}

/* One finished timeline as JSON array. */
static json_t *
entry_to_json(const TimelineHistory *entry)
{
	json_t	   *element = json_pack("[]");
	bool		ok;

	ok = element != NULL &&
		json_array_append_new(element, json_integer(entry->timeline)) == 0 &&
		json_array_append_new(element, cluster_json_lsn(entry->switch_lsn)) == 0 &&
		json_array_append_new(element, cluster_json_text(entry->reason)) == 0;
	/* The name is the fifth entry, so it needs the fourth. */
	if (ok && (entry->timestamp[0] != '\0' || entry->new_leader[0] != '\0'))
		ok = json_array_append_new(element, cluster_json_text(entry->timestamp)) == 0;
	if (ok && entry->new_leader[0] != '\0')
		ok = json_array_append_new(element, cluster_json_text(entry->new_leader)) == 0;
	if (ok)
		return element;
	json_decref(element);
	return NULL;
}

/* The list as JSON array. */
json_t *
history_to_json(const TimelineHistory *history, int n_history)
{
	json_t	   *list = json_pack("[]");
	bool		ok = list != NULL;

	for (int i = 0; ok && i < n_history; i++)
		ok = json_array_append_new(list, entry_to_json(&history[i])) == 0;
	if (ok)
		return list;
	json_decref(list);
	return NULL;
}

/* The value of the key "history". */
char *
history_to_text(const TimelineHistory *history, int n_history)
{
	return cluster_json_write(history_to_json(history, n_history));
}

static int
compare_taken(const void *a, const void *b)
{
	uint32_t	left = ((const TakenTimeline *) a)->timeline;
	uint32_t	right = ((const TakenTimeline *) b)->timeline;

	return (left > right) - (left < right);
}

/*
 * Read the key "promotions" into the view, ascending.  Of more ids than fit
 * the highest are kept: they are the ones a promotion may collide with.
 * False: no memory, nothing changed.
 */
bool
taken_read(ClusterView *view, const char *text)
{
	json_t	   *object;
	const char *id;
	json_t	   *value;
	TakenTimeline *taken = NULL;
	int			n_taken = 0;

	if (cluster_json_read(text, &object) == JSON_READ_NO_MEMORY)
		return false;
	if (json_object_size(object) > 0)
	{
		taken = calloc(json_object_size(object), sizeof(*taken));
		if (taken == NULL)
		{
			json_decref(object);
			return false;
		}
	}
	json_object_foreach(object, id, value)
	{
		TakenTimeline *item = &taken[n_taken];
		uint64_t	timeline = 0;

		for (const char *c = id; timeline <= UINT32_MAX; c++)
		{
			if (*c == '\0' || *c < '0' || *c > '9')
			{
				timeline = *c == '\0' ? timeline : 0;
				break;
			}
			timeline = timeline * 10 + (uint64_t) (*c - '0');
		}
		if (timeline == 0 || timeline >= UINT32_MAX)
			continue;
		item->timeline = (uint32_t) timeline;
		item->parent = cluster_json_get_timeline(json_object_get(value, "from"));
		item->lsn = cluster_json_get_lsn(value, "lsn");
		cluster_json_get_name(value, "name", item->name);
		cluster_json_get_name(value, "also", item->also);
		item->also_lsn = cluster_json_get_lsn(value, "also_lsn");
		n_taken++;
	}
	json_decref(object);
	if (n_taken > 1)
		qsort(taken, (size_t) n_taken, sizeof(*taken), compare_taken);
	if (n_taken > CLUSTER_HISTORY_MAX)
	{
		memmove(taken, taken + n_taken - CLUSTER_HISTORY_MAX, CLUSTER_HISTORY_MAX * sizeof(*taken));
		n_taken = CLUSTER_HISTORY_MAX;
	}
	free(view->taken);
	view->taken = taken;
	view->n_taken = n_taken;
	return true;
}

/* The value of the key "promotions". */
char *
taken_to_text(const TakenTimeline *taken, int n_taken)
{
	json_t	   *object = json_pack("{}");
	bool		ok = object != NULL;

	for (int i = 0; ok && i < n_taken; i++)
	{
		char		id[16];
		uint32_t	number = taken[i].timeline;
		char	   *digit = id + sizeof(id);
		json_t	   *item = json_pack("{}");

		*--digit = '\0';
		do
			*--digit = (char) ('0' + number % 10);
		while ((number /= 10) != 0);
		ok = cluster_json_put(object, digit, item) &&
			cluster_json_put(item, "name", cluster_json_text(taken[i].name)) &&
			cluster_json_put(item, "from", json_integer(taken[i].parent)) &&
			cluster_json_put(item, "lsn", cluster_json_lsn(taken[i].lsn));
		if (ok && taken[i].also[0] != '\0')
			ok = cluster_json_put(item, "also", cluster_json_text(taken[i].also)) &&
				cluster_json_put(item, "also_lsn", cluster_json_lsn(taken[i].also_lsn));
	}
	if (ok)
		return cluster_json_write(object);
	json_decref(object);
	return NULL;
}
