/*-------------------------------------------------------------------------
 *
 * isolation_watch.h
 *      Is a primary cut off from its standbys and from the store?  What the
 *      worker has to do about it, without any of its means.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_NODE_ISOLATION_WATCH_H
#define PATRONI_NODE_ISOLATION_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster/cluster.h"

/* What it remembers; private, all zero at first. */
typedef struct IsolationWatch
{
	int64_t		looked_at_ms;	/* 0 = not yet, or nothing to look for */
	Lsn			proven_lsn;		/* up to here the store has answered since */

	/* WAL that no standby has confirmed yet; 0 = none */
	Lsn			unconfirmed_lsn;
	int64_t		unconfirmed_ms; /* it may be as old as that */
	int64_t		seen_ms;		/* and was seen then */
	int64_t		seen_deadline_us;	/* when the lease lasted until then */
	int64_t		asked_ms;		/* the store was asked about it; 0 = not */
	int64_t		asked_last_ms;
	int64_t		held_since_ms;	/* commits are held; 0 = they are not */
} IsolationWatch;

/* What is so now; times are of CLOCK_BOOTTIME. */
typedef struct IsolationFacts
{
	int64_t		now_ms;
	int			hold_after_ms;	/* patroni.isolation_hold_after */
	bool		is_at_risk;		/* it leads for a limited time, and another could */
	Lsn			flushed_lsn;
	Lsn			confirmed_lsn;	/* by a standby that may lead; 0 = none */
	int64_t		store_answered_ms;	/* host_store_answered_ms() */
	int64_t		deadline_us;	/* of the lease */
} IsolationFacts;

/* What to do about it, in this order. */
typedef struct IsolationVerdict
{
	const char *release_because;	/* stop holding; NULL = nothing to stop */
	int64_t		held_ms;		/* they were held for so long */
	bool		must_ask;		/* the store, for a sign of life */
	bool		must_hold;		/* begin to hold commits */
} IsolationVerdict;

extern IsolationVerdict isolation_watch_look(IsolationWatch *watch, const IsolationFacts *facts);
extern int64_t isolation_watch_due_ms(const IsolationWatch *watch, int hold_after_ms);
extern bool isolation_has_rival(const ClusterView *view, const char *own_name);

#endif							/* PATRONI_NODE_ISOLATION_WATCH_H */
