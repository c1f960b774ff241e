/*-------------------------------------------------------------------------
 *
 * exposure.h
 *      Keeps clients waiting after a crash until the synchronous standbys
 *      have what they would see.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_WORKER_EXPOSURE_H
#define PATRONI_WORKER_EXPOSURE_H

#include "postgres.h"

#include "access/xlogdefs.h"

#include "worker/compat.h"
#include "worker/fence_shared.h"

extern void exposure_begin(FenceShared *shared);
extern void exposure_refuse_client(const Port *port);
extern void exposure_note_cut_off(void);

/* For the worker; exported by patroni_bgw.so. */
extern PGDLLEXPORT void patroni_exposure_forget_cut_off(void);
extern PGDLLEXPORT bool patroni_exposure_lasts(XLogRecPtr *wanted, XLogRecPtr *replicated);

#endif							/* PATRONI_WORKER_EXPOSURE_H */
