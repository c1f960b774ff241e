/*-------------------------------------------------------------------------
 *
 * consumer_hold.c
 *      Consumers of logical changes get nothing that a failover could lose.
 *
 * A consumer that is ahead of the standby that is promoted confirms, and
 * begins again at, a position that the new primary has filled with other
 * changes: those before it are never sent, and nobody is told.  So a logical
 * walsender waits, before each message, until a standby that may be promoted
 * has the WAL that it speaks of.  Later servers can do it by themselves
 * (synchronized_standby_slots, from 17 on).
 *
 * Invariants:
 *  (1) No position is sent that is beyond what is safe, neither of a change
 *      nor in a keepalive, as long as there is a standby to wait for.
 *  (2) The wait ends: when the standby has it, when no standby streams any
 *      more, or when the session is to end.
 *
 * Which walsenders serve members that may be promoted is told by the worker
 * (slot_keeper.c), while permanent logical slots are configured.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "worker/consumer_hold.h"

#include "worker/compat.h"

#include "libpq/libpq.h"
#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "replication/syncrep.h"
#include "replication/walsender.h"
#include "replication/walsender_private.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/spin.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "worker/shared.h"

#define WAIT_MS				1
#define KEEPALIVE_MS		1000	/* a consumer that waits long shall not think that we are gone */
#define POSITION_AT			1		/* of both kinds of message: kind, position, ... */
#define MESSAGE_MIN			17

bool		consumer_hold_is_enabled;

static const PQcommMethods *server_methods;
static XLogRecPtr safe_lsn;		/* as looked up last */

/* What the standbys that may be promoted have; false: there is none. */
static bool
look_up(XLogRecPtr *lsn)
{
	PatroniShared *shared = patroni_shared_memory();
	SlotCandidate candidates[SLOT_CANDIDATES_MAX];
	XLogRecPtr	best = InvalidXLogRecPtr;
	XLogRecPtr	worst = PG_UINT64_MAX;
	bool		is_there = false;
	int			n;

	if (!consumer_hold_is_enabled || RecoveryInProgress())
		return false;
	LWLockAcquire(shared->lock, LW_SHARED);
	n = shared->slots.n_candidates;
	memcpy(candidates, shared->slots.candidates, sizeof(candidates[0]) * n);
	LWLockRelease(shared->lock);
	for (int i = 0; i < n; i++)
	{
		WalSnd	   *sender = &WalSndCtl->walsnds[candidates[i].index];

		SpinLockAcquire(&sender->mutex);
		if (sender->pid == candidates[i].pid)
		{
			is_there = true;
			best = Max(best, sender->flush);
			worst = Min(worst, sender->flush);
		}
		SpinLockRelease(&sender->mutex);
	}
	/*
	 * In synchronous mode who is promoted has what was acknowledged.  Or all
	 * have it: the one that is waited for may be the consumer itself.
	 */
	if (is_there && COMPAT_SYNC_STANDBYS_DEFINED())
	{
		LWLockAcquire(SyncRepLock, LW_SHARED);
		best = Max(WalSndCtl->lsn[SYNC_REP_WAIT_FLUSH], worst);
		LWLockRelease(SyncRepLock);
	}
	*lsn = best;
	return is_there;
}

/* As the server's own, with the position that is safe. */
static void
send_keepalive(void)
{
	StringInfoData message;

	initStringInfo(&message);
	pq_sendbyte(&message, 'k');
	pq_sendint64(&message, safe_lsn);
	pq_sendint64(&message, GetCurrentTimestamp());
	pq_sendbyte(&message, 0);
	server_methods->putmessage_noblock('d', message.data, message.len);
	(void) server_methods->flush_if_writable();
	pfree(message.data);
}

static void
wait_until_safe(XLogRecPtr lsn)
{
	TimestampTz told_at = GetCurrentTimestamp();

	while (lsn > safe_lsn && look_up(&safe_lsn) && lsn > safe_lsn)
	{
		(void) WaitLatch(NULL, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, WAIT_MS, PG_WAIT_EXTENSION);
		CHECK_FOR_INTERRUPTS();
		/* the names of synchronous standbys come into force when all have read them */
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			SyncRepInitConfig();
		}
		if (TimestampDifferenceExceeds(told_at, GetCurrentTimestamp(), KEEPALIVE_MS))
		{
			told_at = GetCurrentTimestamp();
			send_keepalive();
		}
	}
}

static XLogRecPtr
position_of(const char *message)
{
	uint64		value;

	memcpy(&value, message + POSITION_AT, sizeof(value));
	return (XLogRecPtr) pg_ntoh64(value);
}

/* In the place of the server's function, in logical walsenders. */
static void
put_message(char type, const char *message, size_t length)
{
	if (type == 'd' && length >= MESSAGE_MIN && message[0] == 'w')
		wait_until_safe(position_of(message));
	else if (type == 'd' && length >= MESSAGE_MIN && message[0] == 'k' &&
			 position_of(message) > safe_lsn && look_up(&safe_lsn) && position_of(message) > safe_lsn)
	{
		char	   *copy = palloc(length);
		uint64		value = pg_hton64(safe_lsn);

		memcpy(copy, message, length);
		memcpy(copy + POSITION_AT, &value, sizeof(value));
		server_methods->putmessage_noblock(type, copy, length);
		pfree(copy);
		return;
	}
	server_methods->putmessage_noblock(type, message, length);
}

/* A session is a logical walsender: replace what it sends messages with. */
void
consumer_hold_begin(const PQcommMethods *server, PQcommMethods *own)
{
	if (patroni_shared_memory() == NULL)
		return;
	server_methods = server;
	own->putmessage_noblock = put_message;
}

/* Define the setting; for _PG_init(). */
void
consumer_hold_define(void)
{
	DefineCustomBoolVariable("patroni.hold_consumers",
							 "Keeps changes from logical consumers until a standby that may be promoted has them.",
							 "Without it a consumer can miss changes after a failover without notice.",
							 &consumer_hold_is_enabled,
							 true,
							 PGC_SIGHUP,
							 0,
							 NULL, NULL, NULL);
}
