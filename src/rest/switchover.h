/*-------------------------------------------------------------------------
 *
 * switchover.h
 *      POST /switchover and POST /failover: what is asked for, whether it can
 *      be, and what became of it.
 *
 * Pure: from the body, the settings and the view of the cluster to a request
 * for the key "failover", and from later views to the answer.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_REST_SWITCHOVER_H
#define PATRONI_REST_SWITCHOVER_H

#include "rest/rest.h"

/* A switchover or failover that was asked for. */
typedef struct RestMove
{
	bool is_switchover;
	FailoverRequest request;		   /* with the version of the key it replaces */
	char old_leader[CLUSTER_NAME_MAX]; /* "" = there was none */
	uint64_t version;				   /* of the key as written; 0 = not yet */
	char text[3 * CLUSTER_NAME_MAX + CLUSTER_REASON_MAX]; /* of the result */
} RestMove;

/* False: it is refused, *result says how. */
extern bool move_check(RestMove *move, bool is_switchover, const json_t *body,
					   const Settings *settings, const ClusterView *view, int64_t wall_ms,
					   RestResult *result);
/* The key was written.  True: that is the end, *result is the answer. */
extern bool move_look(RestMove *move, const ClusterView *view, RestResult *result);
extern void move_time_out(RestMove *move, int seconds, RestResult *result);

#endif /* PATRONI_REST_SWITCHOVER_H */
