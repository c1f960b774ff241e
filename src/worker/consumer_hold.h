/*-------------------------------------------------------------------------
 *
 * consumer_hold.h
 *      Consumers of logical changes get nothing that a failover could lose.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_WORKER_CONSUMER_HOLD_H
#define PATRONI_WORKER_CONSUMER_HOLD_H

#include "postgres.h"

#include "worker/compat.h"

extern bool consumer_hold_is_enabled;	/* patroni.hold_consumers */

extern void consumer_hold_define(void);		/* for _PG_init() */
extern void consumer_hold_begin(const PQcommMethods *server, PQcommMethods *own);

#endif							/* PATRONI_WORKER_CONSUMER_HOLD_H */
