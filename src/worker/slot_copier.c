/*-------------------------------------------------------------------------
 *
 * slot_copier.c
 *      A process on a standby that keeps copies of the leader's logical slots,
 *      so that their consumers can go on here after a failover.
 *
 * It is connected to the leader, reads the state of the slots there once a
 * second, and puts it into slots of this server: in shared memory, without a
 * restart, and without decoding anything.  What decoding needs to begin at
 * restart_lsn is copied as well: the snapshot that the leader has serialized
 * there.
 *
 * Invariants:
 *  (1) A copy is temporary until it is safe: it vanishes with this process,
 *      hence before a promotion lets anybody use it.
 *  (2) Safe means: the rows of the catalogs that it needs are kept.  The
 *      leader's slot has just shown that they are there (catalog_xmin); and
 *      since before that the slot from which this standby streams holds them,
 *      because this standby has told of its copy (hot_standby_feedback).
 *  (3) restart_lsn, catalog_xmin and confirmed_flush are of one moment, and
 *      this server has replayed up to confirmed_flush.  They never go back.
 *  (4) What was confirmed on another timeline after it was left is thrown away.
 *
 * Whatever this process waits for, it waits for in a place of its own: the
 * worker goes on.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "worker/slot_copy.h"

#include <string.h>

#include "access/xlog.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "replication/slot.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "utils/memutils.h"

#include "worker/compat.h"
#include "worker/shared.h"

#define EVERY_MS			1000	/* between two looks at the leader's slots */
#define HURRY_MS			300		/* while a copy is not safe yet */
#define AFTER_ERROR_MS		2000

extern PGDLLEXPORT void patroni_slot_copier_main(Datum argument);

static struct
{
	uint32		number;			/* of the wishes below */
	char		held_by[NAMEDATALEN];
	int			n_copies;
	Copy		copies[SLOT_WISHES_MAX];
	MemoryContext context;
} copier;

static void
detach(int code, Datum argument)
{
	PatroniShared *shared = patroni_shared_memory();

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (shared->slots.copier_pid == MyProcPid)
	{
		shared->slots.copier_pid = 0;
		shared->slots.copier_latch = NULL;
		shared->slots.n_reports = 0;
	}
	LWLockRelease(shared->lock);
}

/* Leave when there is nothing more to do; temporary slots go with us. */
static void
leave_if_over(void)
{
	if (ShutdownRequestPending || !RecoveryInProgress())
		proc_exit(0);
}

/* Wait, also for a socket. */
void
slot_copier_nap(int ms, int socket, int events)
{
	(void) WaitLatchOrSocket(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH | events, socket, ms,
							 PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	leave_if_over();
}

/* --- a round --- */

/* What the worker wants now.  Leave when that is nothing. */
static void
read_wishes(void)
{
	SlotShare  *share = &patroni_shared_memory()->slots;
	static Copy fresh[SLOT_WISHES_MAX];
	char		conninfo[sizeof(share->conninfo)];
	char		password[sizeof(share->password)];
	int			n;

	LWLockAcquire(patroni_shared_memory()->lock, LW_SHARED);
	if (share->number == copier.number)
	{
		LWLockRelease(patroni_shared_memory()->lock);
		return;
	}
	n = share->n_wishes;
	memset(fresh, 0, sizeof(fresh));
	for (int i = 0; i < n; i++)
		fresh[i].wish = share->wishes[i];
	copier.number = share->number;
	strlcpy(conninfo, share->conninfo, sizeof(conninfo));
	strlcpy(password, share->password, sizeof(password));
	strlcpy(copier.held_by, share->held_by, sizeof(copier.held_by));
	LWLockRelease(patroni_shared_memory()->lock);

	slot_leader_set(conninfo, password);
	explicit_bzero(password, sizeof(password));
	/* copies that were not safe are begun anew: the leader may be another one */
	ReplicationSlotCleanup(COMPAT_SLOT_CLEANUP_ARGUMENT);
	memcpy(copier.copies, fresh, sizeof(fresh));
	copier.n_copies = n;
	if (n == 0)
		proc_exit(0);
}

static void
write_reports(void)
{
	SlotShare  *share = &patroni_shared_memory()->slots;

	LWLockAcquire(patroni_shared_memory()->lock, LW_EXCLUSIVE);
	if (share->number == copier.number)
	{
		share->n_reports = copier.n_copies;
		for (int i = 0; i < copier.n_copies; i++)
		{
			memcpy(share->reports[i].name, copier.copies[i].wish.name, NAMEDATALEN);
			memcpy(share->reports[i].problem, copier.copies[i].problem, sizeof(share->reports[i].problem));
		}
	}
	LWLockRelease(patroni_shared_memory()->lock);
}

/* Returns how long to wait before the next one. */
static int
copy_slots(void)
{
	LeaderSlots *volatile slots = NULL;
	volatile bool is_safe = true;

	read_wishes();
	slots = slot_leader_read(copier.copies, copier.n_copies, copier.held_by);
	if (slots == NULL)
		return AFTER_ERROR_MS;
	PG_TRY();
	{
		for (int i = 0; i < copier.n_copies; i++)
		{
			Remote		remote;

			slot_leader_find(slots, copier.copies[i].wish.name, &remote);
			slot_copy_keep(&copier.copies[i], &remote, copier.held_by);
			if (copier.copies[i].problem[0] != '\0')
				is_safe = false;
		}
	}
	PG_FINALLY();
	{
		slot_leader_free(slots);
	}
	PG_END_TRY();
	write_reports();
	return is_safe ? EVERY_MS : HURRY_MS;
}

/* An ERROR ends one round. */
static int
guarded_round(void)
{
	volatile int wait_ms = AFTER_ERROR_MS;

	PG_TRY();
	{
		wait_ms = copy_slots();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(copier.context);
		HOLD_INTERRUPTS();
		EmitErrorReport();
		FlushErrorState();
		LWLockReleaseAll();
		pgstat_report_wait_end();
		if (MyReplicationSlot != NULL)
			ReplicationSlotRelease();
		AtEOXact_Files(false);
		slot_leader_disconnect();
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(copier.context);
	MemoryContextReset(copier.context);
	return wait_ms;
}

/* The process's life. */
void
patroni_slot_copier_main(Datum argument)
{
	PatroniShared *shared = patroni_shared_memory();
	bool		is_only = false;

	(void) argument;
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	pqsignal(SIGPIPE, SIG_IGN);
	BackgroundWorkerUnblockSignals();
	if (shared == NULL || shared->version != SHARED_VERSION)
		proc_exit(0);
	before_shmem_exit(detach, (Datum) 0);
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (shared->slots.copier_pid == 0)
	{
		is_only = true;
		shared->slots.copier_pid = MyProcPid;
		shared->slots.copier_latch = MyLatch;
		shared->slots.n_reports = 0;
	}
	LWLockRelease(shared->lock);
	if (!is_only)
		proc_exit(0);
	copier.context = AllocSetContextCreate(TopMemoryContext, "slot copier", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(copier.context);
	for (;;)
	{
		leave_if_over();
		slot_copier_nap(guarded_round(), PGINVALID_SOCKET, 0);
	}
}
