/*-------------------------------------------------------------------------
 *
 * fence_shared.h
 *      What backends and the worker share about commits, beyond the lease
 *      page: is this node isolated, do commits lack a synchronous standby,
 *      must clients wait after a crash, how much WAL has a standby been sent.
 *
 * Lives in the server's main shared memory, made by patroni_bgw.so when the
 * server is managed; the worker finds it through patroni_fence_shared(),
 * which patroni_bgw.so exports.  It begins anew with each start of the server
 * and with each restart after a crash of one of its processes.
 *
 * The layout is an interface between two libraries that may be of different
 * releases: whoever changes it changes FENCE_SHARED_VERSION.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_WORKER_FENCE_SHARED_H
#define PATRONI_WORKER_FENCE_SHARED_H

#include "postgres.h"

#include "port/atomics.h"
#include "storage/condition_variable.h"

#define FENCE_SHARED_VERSION	2

/* Must clients wait until the synchronous standbys have what was recovered? */
typedef enum ExposureState
{
	EXPOSURE_NONE,				/* no, and it stays so until the next start */
	EXPOSURE_HELD,				/* yes, until they have exposed_lsn */
} ExposureState;

/* The two halves of FenceShared.wal_senders. */
#define WAL_SENDERS_COUNT(word)	((word) & 0xffff)
#define WAL_SENDERS_ROUND(word)	((word) >> 16)
#define WAL_SENDERS_NEXT(word)	((WAL_SENDERS_ROUND(word) + 1) << 16)

typedef struct FenceShared
{
	uint32		version;		/* FENCE_SHARED_VERSION; written once */

	/* Written by the postmaster at the start and by whoever sees that it is
	 * over; read by each new session. */
	pg_atomic_uint32 exposure;	/* ExposureState */

	/* A position that was flushed when recovery was over, 0 = not seen yet;
	 * set once, by whoever looks first. */
	pg_atomic_uint64 exposed_lsn;

	/* Since when commits have fewer synchronous standbys than they wait for,
	 * in us of CLOCK_BOOTTIME; 0 = they have enough.  Worker writes. */
	pg_atomic_uint64 lonely_since_us;

	/* Commits that were refused for that; backends add, anybody reads. */
	pg_atomic_uint64 refused_lonely;

	/* 1 = neither a standby nor the store answers, so no commit is told to
	 * its client.  Worker writes; read by every backend at each commit. */
	pg_atomic_uint32 is_isolated;

	/* Broadcast by the worker when is_isolated ends. */
	ConditionVariable isolation_ended;

	/* Up to where some standby has been sent this primary's WAL; walsenders
	 * raise it, backends read it at each commit. */
	pg_atomic_uint64 wal_sent;

	/* How many walsenders keep up, so that commits may wait for that: see
	 * wal_sent.c.  Walsenders count themselves, who waited in vain begins a
	 * new round without any. */
	pg_atomic_uint32 wal_senders;

	/* Broadcast by walsenders when one of the two has changed. */
	ConditionVariable wal_sent_more;
} FenceShared;

/* Exported by patroni_bgw.so; NULL on a server that is not managed. */
extern PGDLLEXPORT FenceShared *patroni_fence_shared(void);

/* Setting patroni.isolation_hold_after, for the worker. */
extern PGDLLEXPORT int patroni_isolation_hold_after(void);

/* For fence_init(); "begin" is called when the memory is new. */
extern void fence_shared_init(void (*begin) (FenceShared *shared));

#endif							/* PATRONI_WORKER_FENCE_SHARED_H */
