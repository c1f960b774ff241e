/*-------------------------------------------------------------------------
 *
 * events.c
 *      The ring of the last HOST_EVENTS things that a home decided and did.
 *
 * The newest replaces the oldest.  An event that says again exactly what the
 * newest one said is not added: repetition is no news.
 *-------------------------------------------------------------------------
 */
#include "node/events.h"

#include <stdio.h>
#include <string.h>

/*
 * Add an event.  Its duration is the time since the decision before it, so
 * that "how long did the failover take" can be read from the list.
 */
void
events_add(HostEvents *events, int64_t now_ms, int64_t wall_ms, const char *kind, const char *rule,
           const char *reason)
{
	const HostEvent *newest = events_get(events, events->count - 1);
	HostEvent *event;

	if (newest != NULL && strcmp(newest->kind, kind) == 0 &&
	    strncmp(newest->rule, rule, sizeof(newest->rule) - 1) == 0 &&
	    strncmp(newest->reason, reason, sizeof(newest->reason) - 1) == 0)
		return;

	event = &events->items[(events->first + events->count) % HOST_EVENTS];
	if (events->count < HOST_EVENTS)
		events->count++;
	else
		events->first = (events->first + 1) % HOST_EVENTS;

	event->wall_ms = wall_ms;
	event->duration_ms = events->last_decision_ms == 0 ? -1 : now_ms - events->last_decision_ms;
	snprintf(event->kind, sizeof(event->kind), "%s", kind);
	snprintf(event->rule, sizeof(event->rule), "%s", rule);
	snprintf(event->reason, sizeof(event->reason), "%s", reason);
	if (strcmp(kind, "decision") == 0)
		events->last_decision_ms = now_ms;
}

/* The event at "index", 0 being the oldest; NULL beyond the newest. */
const HostEvent *
events_get(const HostEvents *events, int index)
{
	if (index < 0 || index >= events->count)
		return NULL;
	return &events->items[(events->first + index) % HOST_EVENTS];
}
