/*-------------------------------------------------------------------------
 *
 * lease_page.h
 *      One page of shared memory: until when may this node acknowledge
 *      writes, and which of its two homes drives the engine.
 *
 * The page is a POSIX shared memory object named after the data directory.
 * The supervisor creates it and holds a lock on it for as long as it lives,
 * so that two supervisors never run one data directory.  The postmaster maps
 * it before it forks, so every backend has it.
 *
 * Invariants:
 *  (1) The word "lease" holds the baton's generation and the fence deadline
 *      together, and changes by compare-and-swap only.  A home that lost the
 *      baton therefore cannot move the deadline, however long it was frozen
 *      between computing it and storing it.
 *  (2) Whoever takes the baton adds one to the generation.
 *  (3) A new page is closed: deadline 0.
 *  (4) Where the processor's cycle counter is of use, the lease is over when
 *      either the clock or the counter says so: cycles.h.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_BASE_LEASE_PAGE_H
#define PATRONI_BASE_LEASE_PAGE_H

#include <stdint.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "base/clock.h"
#include "base/cycles.h"
#include "base/error.h"

#define LEASE_PAGE_MAGIC		UINT32_C(0x50474857)
#define LEASE_PAGE_VERSION		1
#define LEASE_PAGE_SIZE			4096
#define LEASE_PAGE_NAME_MAX		64
#define LEASE_SESSION_MAX		64

/* Deadlines are microseconds of CLOCK_BOOTTIME in 48 bits (8.9 years). */
#define LEASE_DEADLINE_BITS		48
#define LEASE_DEADLINE_MASK		((UINT64_C(1) << LEASE_DEADLINE_BITS) - 1)
#define LEASE_NEVER_US			((int64_t) LEASE_DEADLINE_MASK)
#define LEASE_CLOSED_US			((int64_t) 0)

typedef enum LeaseHolder
{
	LEASE_HOLDER_NONE = 0,		/* nobody drives: fresh page */
	LEASE_HOLDER_SUPERVISOR = 1,
	LEASE_HOLDER_WORKER = 2,
} LeaseHolder;

/* What a probe tries again and again; docs/gray-failures.md. */
typedef enum LeaseProbeKind
{
	LEASE_PROBE_DISK,			/* a small file can be written and flushed */
	LEASE_PROBE_CONNECTION,		/* the postmaster answers a new connection */
	LEASE_PROBE_COUNT,
} LeaseProbeKind;

typedef enum LeaseProbeStep
{
	LEASE_STEP_NONE,
	LEASE_STEP_DATA,			/* in the data directory */
	LEASE_STEP_WAL,				/* in pg_wal */
	LEASE_STEP_SOCKET,			/* through the Unix socket */
	LEASE_STEP_TCP,
} LeaseProbeStep;

/*
 * What a probe process has got to; CLOCK_BOOTTIME ms.  Written by the process
 * "pid" alone, but for "pid" itself, which the supervisor writes when it
 * starts one (and then all is zero) and when it ends; read by both homes
 * without lock: "begun_ms" is written last when an operation begins, first
 * when it ends.  All zero while nobody probes, also in a page of an earlier
 * release.
 */
typedef struct LeaseProbe
{
	_Atomic int32_t pid;		/* 0 = none */
	_Atomic int32_t step;		/* LeaseProbeStep of the operation under way, or the last */
	_Atomic int64_t begun_ms;	/* of the one under way; 0 = none is */
	_Atomic int32_t error;		/* errno of the last one that ended; 0 = it went well */
	_Atomic int32_t n_tries;	/* in vain, in the operation under way */
	_Atomic int64_t failing_ms;	/* since when each one has failed; 0 = the last went well */
	_Atomic int64_t done_ms;	/* when the last one went well; 0 = none has */
} LeaseProbe;

typedef struct LeasePage
{
	uint32_t	magic;			/* LEASE_PAGE_MAGIC; written once at creation */
	uint32_t	version;		/* LEASE_PAGE_VERSION; likewise */

	/*
	 * (generation << 48) | deadline.  Written by the holder of the baton with
	 * lease_page_set_deadline(), by whoever takes the baton with
	 * lease_page_take(); read by every backend at each commit, without lock.
	 */
	_Atomic uint64_t lease;

	/*
	 * Who drives.  Written only right after a successful lease_page_take() by
	 * the taker; read by both homes.
	 */
	_Atomic uint32_t holder;

	/* 1 while this server is a primary by its own view.  Written by the
	 * worker each turn, 0 by the supervisor when the server is down. */
	_Atomic uint32_t is_primary;

	/* CLOCK_BOOTTIME ms of the worker's last turn.  Worker writes, supervisor
	 * reads: a stale one shows a frozen worker. */
	_Atomic int64_t worker_heartbeat_ms;

	/* Last known flush LSN of a running primary, in bytes.  Worker writes;
	 * the supervisor starts there when it looks for the end of the WAL of a
	 * crashed server. */
	_Atomic uint64_t flush_lsn;

	/* PID of the worker that last said hello; 0 unknown. */
	_Atomic int32_t worker_pid;

	/*
	 * The store session (etcd lease id) of the node, so that a home that
	 * takes over from a dead one goes on with the same lease.  Written by the
	 * holder, guarded by session_lock (odd = being written, a seqlock: one
	 * writer at a time, the holder).
	 */
	_Atomic uint32_t session_sequence;
	char		session[LEASE_SESSION_MAX];

	/* Commits refused and acknowledgements withheld by the fence since the
	 * page was made.  Backends add, anybody reads. */
	_Atomic uint64_t refused_commits;
	_Atomic uint64_t withheld_acks;

	/*
	 * A position behind the newest commit whose wait for synchronous standbys
	 * was cut off; 0 = none, or they have it.  Backends raise it, the worker
	 * clears it; the postmaster looks at it when it starts, so that also a
	 * clean restart shows no such commit before the standbys have it.
	 */
	_Atomic uint64_t cut_off_lsn;

	/*
	 * failsafe_mode, CLOCK_BOOTTIME ms.  This node has promised not to lead
	 * before "promised_until_ms", which only grows: lease_page_promise().
	 * What it had promised before "made_ms", when the page was made, is lost;
	 * 0 in a page of an earlier release, which is older than any promise.
	 * The last two are for REST, written by the holder: until when failsafe
	 * mode is active here, and until when this node may not lead.
	 */
	_Atomic int64_t promised_until_ms;
	_Atomic int64_t made_ms;
	_Atomic int64_t failsafe_until_ms;
	_Atomic int64_t bound_until_ms;

	/*
	 * The holder's last look at the store (dcs.h, DcsSighting), which spares the
	 * other home one of its own: written by the holder, the time last.
	 */
	_Atomic uint64_t store_revision;
	_Atomic int64_t store_seen_ms;

	/* Is this server able to work?  Whoever drives compares the clocks. */
	LeaseProbe	probes[LEASE_PROBE_COUNT];

	/*
	 * The deadline of "lease" by the cycle counter; 0 = the clock alone counts,
	 * also in a page of an earlier release.  Written before "lease", read
	 * after it: who sees a new deadline sees its cycles.
	 */
	_Atomic uint64_t deadline_cycles;
} LeasePage;

/* Is a deadline over?  The only test that backends make. */
static inline int64_t
lease_word_deadline_us(uint64_t word)
{
	return (int64_t) (word & LEASE_DEADLINE_MASK);
}

static inline uint32_t
lease_word_generation(uint64_t word)
{
	return (uint32_t) (word >> LEASE_DEADLINE_BITS);
}

static inline int64_t
lease_page_deadline_us(const LeasePage *page)
{
	return lease_word_deadline_us(__atomic_load_n((const uint64_t *) &page->lease,
												  __ATOMIC_ACQUIRE));
}

static inline bool
lease_page_is_open(const LeasePage *page)
{
	int64_t		deadline_us = lease_page_deadline_us(page);
	uint64_t	deadline_cycles;

	if (deadline_us == LEASE_NEVER_US)
		return true;
	if (clock_now_us() >= deadline_us)
		return false;
	deadline_cycles = __atomic_load_n((const uint64_t *) &page->deadline_cycles, __ATOMIC_RELAXED);
	return deadline_cycles == 0 || cycles_now() < deadline_cycles;
}

static inline uint32_t
lease_page_generation(const LeasePage *page)
{
	return lease_word_generation(__atomic_load_n((const uint64_t *) &page->lease,
												 __ATOMIC_ACQUIRE));
}

/* Names of the shared memory object and of the socket for a data directory. */
extern bool lease_page_names(const char *data_directory,
							 char page_name[LEASE_PAGE_NAME_MAX],
							 char socket_path[LEASE_PAGE_NAME_MAX + 16],
							 Error *error) MUST_CHECK;

/* Supervisor: create or open the page and lock it.  *fd keeps the lock. */
extern bool lease_page_create(const char *page_name, LeasePage **page, int *fd,
							  Error *error) MUST_CHECK;

/* Postmaster: map an existing page.  Never creates one. */
extern bool lease_page_open(const char *page_name, LeasePage **page,
							Error *error) MUST_CHECK;
extern void lease_page_close(LeasePage *page);
extern void lease_page_unlink(const char *page_name);

/*
 * Take the baton if the generation is still "expected".  The deadline stays
 * what it is.  Returns the new generation, or 0 if somebody else took it.
 */
extern uint32_t lease_page_take(LeasePage *page, uint32_t expected, LeaseHolder holder);

/*
 * Move the fence; "deadline_cycles" is the same deadline by the cycle counter,
 * 0 = not known.  Returns false, and leaves the fence, if "generation" is not
 * the page's: the caller has lost the baton and must stop acting at once.
 */
extern bool lease_page_set_deadline(LeasePage *page, uint32_t generation,
									int64_t deadline_us, uint64_t deadline_cycles) MUST_CHECK;

/*
 * Keep a promise for whoever takes the baton next.  False: "generation" is not the
 * page's any more; the promise must not be answered, as that one may not see it.
 */
extern bool lease_page_promise(LeasePage *page, uint32_t generation, int64_t until_ms) MUST_CHECK;

extern void lease_page_set_session(LeasePage *page, const char *session);
extern void lease_page_get_session(LeasePage *page, char session[LEASE_SESSION_MAX]);

#endif							/* PATRONI_BASE_LEASE_PAGE_H */
