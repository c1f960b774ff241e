/*-------------------------------------------------------------------------
 *
 * fence.h
 *      Refuses to acknowledge writes once the leader lease may be over.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_WORKER_FENCE_H
#define PATRONI_WORKER_FENCE_H

#include "postgres.h"

/* GUC patroni.fence. */
extern bool fence_is_enabled;

extern void fence_init(void);
extern bool fence_is_closed(void);

#endif							/* PATRONI_WORKER_FENCE_H */
