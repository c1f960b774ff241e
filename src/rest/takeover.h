/*-------------------------------------------------------------------------
 *
 * takeover.h
 *      How long the last switchover and the last failover took, by phase, as
 *      the store showed them to this member.
 *
 * Pure: from views of the cluster and the time at which they were seen.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_REST_TAKEOVER_H
#define PATRONI_REST_TAKEOVER_H

#include "cluster/cluster.h"

/* One change of the leader.  -1: that phase was not seen. */
typedef struct Takeover
{
	bool exists;
	int64_t handover_ms;  /* asked for, until the old leader gave the lease away */
	int64_t election_ms;  /* without a leader */
	int64_t promotion_ms; /* until the new leader said that it is a primary */
} Takeover;

typedef struct Takeovers
{
	Takeover last_switchover;
	Takeover last_failover;

	/* the one under way; times of CLOCK_BOOTTIME, 0 = not yet */
	char leader[CLUSTER_NAME_MAX]; /* the last one that was known to lead; "" = none yet */
	char taker[CLUSTER_NAME_MAX];
	bool is_switchover;
	int64_t asked_ms;
	int64_t vacant_ms;
	int64_t taken_ms;
} Takeovers;

/* Look at the cluster as it is now; "view" may be NULL. */
extern void takeovers_look(Takeovers *takeovers, const ClusterView *view, int64_t now_ms,
                           int64_t wall_ms);

#endif /* PATRONI_REST_TAKEOVER_H */
