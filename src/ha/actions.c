/*-------------------------------------------------------------------------
 *
 * actions.c
 *      The list of actions that a step returns.
 *
 * The list is bounded: a step that wants more than HA_ACTIONS_MAX marks it
 * incomplete, and the caller steps again with a tick.
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ha/internal.h"

/* An empty list. */
void
ha_actions_init(HaActions *actions)
{
	memset(actions, 0, sizeof(*actions));
}

/* Free the texts, keep the array for the next step. */
void
ha_actions_reset(HaActions *actions)
{
	for (int i = 0; i < actions->count; i++)
		free(actions->items[i].text);
	actions->count = 0;
	actions->is_incomplete = false;
}

/* Free everything; the list is empty and usable afterwards. */
void
ha_actions_free(HaActions *actions)
{
	ha_actions_reset(actions);
	free(actions->items);
	ha_actions_init(actions);
}

/* Where an action goes that there is no room for. */
static HaAction no_room;

/*
 * Append an action with its reason.  Never returns NULL: without memory the
 * list is marked incomplete and the caller fills a scratch entry.
 */
HaAction *
ha_add(HaNode *node, HaActionKind kind, const char *rule, const char *because,...)
{
	HaActions  *out = node->out;
	HaAction   *action;
	va_list		args;

	if (out->count == out->n_allocated && out->count < HA_ACTIONS_MAX)
	{
		int			wanted = out->n_allocated ? 2 * out->n_allocated : 8;
		HaAction   *items = realloc(out->items, (size_t) wanted * sizeof(HaAction));

		if (items != NULL)
		{
			out->items = items;
			out->n_allocated = wanted;
		}
	}
	if (out->count == out->n_allocated)
	{
		out->is_incomplete = true;
		action = &no_room;
	}
	else
		action = &out->items[out->count++];
	memset(action, 0, sizeof(*action));
	action->kind = kind;
	action->rule = rule;
	va_start(args, because);
	vsnprintf(action->because, sizeof(action->because), because, args);
	va_end(args);
	return action;
}

/* Give an action its text; the list owns it from here on. */
void
ha_set_text(HaNode *node, HaAction *action, char *text)
{
	if (text == NULL)
		node->out->is_incomplete = true;
	if (action == &no_room)
		free(text);
	else
		action->text = text;
}

/* Words for the log: 0 debug, 1 log, 2 warning. */
void
ha_log(HaNode *node, int level, const char *rule, const char *because,...)
{
	char		text[HA_REASON_MAX];
	va_list		args;

	va_start(args, because);
	vsnprintf(text, sizeof(text), because, args);
	va_end(args);
	ha_add(node, HA_LOG, rule, "%s", text)->level = level;
}

/*
 * Wish for a tick at the latest at "at_ms".  A time that has come needs none:
 * this step has already looked, and ticking again at once would change nothing.
 * As loop_wait is at least a second, the next tick is always later than this one.
 */
void
ha_wake(HaNode *node, int64_t at_ms)
{
	if (at_ms > node->now_ms && at_ms < node->wake_ms)
		node->wake_ms = at_ms;
}

/* Copy a name, cut to fit. */
void
ha_name_copy(char *to, size_t size, const char *from)
{
	size_t		length = strnlen(from, size - 1);

	memmove(to, from, length);
	to[length] = '\0';
}
