/*-------------------------------------------------------------------------
 *
 * recovery.h
 *      What has to be done before a standby's recovery begins.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_WORKER_RECOVERY_H
#define PATRONI_WORKER_RECOVERY_H

/* For _PG_init() in the postmaster of a managed server. */
extern void recovery_init(void);

#endif							/* PATRONI_WORKER_RECOVERY_H */
