/*-------------------------------------------------------------------------
 *
 * isolation.h
 *      Holds commits while neither a standby nor the store answers.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_WORKER_ISOLATION_H
#define PATRONI_WORKER_ISOLATION_H

#include "postgres.h"

/* GUC patroni.isolation_hold_after, in ms; -1 = off. */
#define ISOLATION_HOLD_MIN_MS	50
#define ISOLATION_HOLD_MAX_MS	60000
extern int	isolation_hold_after_ms;

extern bool isolation_holds(void);
extern void isolation_wait(bool (*is_refused) (void));
extern void isolation_pause(void);

#endif							/* PATRONI_WORKER_ISOLATION_H */
