/*-------------------------------------------------------------------------
 *
 * walsender.h
 *      What walsenders send goes through functions of this extension.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_WORKER_WALSENDER_H
#define PATRONI_WORKER_WALSENDER_H

extern void walsender_init(void);		/* for _PG_init() in the postmaster */

#endif							/* PATRONI_WORKER_WALSENDER_H */
