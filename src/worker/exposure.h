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

#include "worker/compat.h"
#include "worker/fence_shared.h"

extern void exposure_begin(FenceShared *shared);
extern void exposure_refuse_client(const Port *port);

/*
 * For the worker, too: is it over, or just now?  Exported by patroni_bgw.so.
 */
typedef enum ExposureLook
{
	EXPOSURE_IS_OVER,
	EXPOSURE_ENDS_NOW,
	EXPOSURE_LASTS,
} ExposureLook;

extern PGDLLEXPORT ExposureLook patroni_exposure_look(XLogRecPtr *wanted, XLogRecPtr *replicated);

#endif							/* PATRONI_WORKER_EXPOSURE_H */
