/*-------------------------------------------------------------------------
 *
 * events.h
 *      The ring of the last things that a home decided and did, for people.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_NODE_EVENTS_H
#define PATRONI_NODE_EVENTS_H

#include "node/host.h"

typedef struct HostEvents
{
	HostEvent items[HOST_EVENTS];
	int first; /* the oldest */
	int count;
	int64_t last_decision_ms; /* CLOCK_BOOTTIME; 0 = none yet */
} HostEvents;

extern void events_add(HostEvents *events, int64_t now_ms, int64_t wall_ms, const char *kind,
                       const char *rule, const char *reason);
/* index 0 is the oldest; NULL beyond the newest. */
extern const HostEvent *events_get(const HostEvents *events, int index);

#endif /* PATRONI_NODE_EVENTS_H */
