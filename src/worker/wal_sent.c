/*-------------------------------------------------------------------------
 *
 * wal_sent.c
 *      Tells no client of a commit before its WAL is on its way to a standby.
 *
 * With asynchronous replication a commit is told to its client as soon as it
 * is flushed.  The walsender is woken at that time, too, but may get the
 * processor later than the session: if the host dies or stands still in
 * between, the client knows of a commit that no standby will ever have.  So
 * the session looks, before it sends its answer, whether a walsender has
 * handed the WAL of the commit to the kernel, and waits if not.  That is a
 * matter of the two processes, tens of microseconds; nobody waits for the
 * network or for a standby's answer.  Synchronous replication does that.
 *
 * Walsenders say how far they are: a wrapper around what they send with reads
 * the position in each message of WAL (XLogData, "Streaming Replication
 * Protocol" in PostgreSQL's manual) and publishes it when all that was
 * buffered is sent.  WalSnd.sentPtr would not do: the server advances it when
 * the message is buffered.
 *
 * Invariants:
 *  (1) A session waits only while some walsender keeps up: it had sent
 *      everything once, and since then neither has the kernel refused to take
 *      more from it, nor was a wait in vain.  So a standby that is behind or
 *      out of reach costs nothing, and a walsender that hangs one wait of
 *      patroni.wal_send_wait.
 *  (2) Only a server that replays counts: pg_receivewal and pg_basebackup can
 *      replace no primary.
 *  (3) On a standby nothing is published: its WAL may end at another place
 *      when it is promoted.
 */
#include "postgres.h"

#include "worker/wal_sent.h"

#include "worker/compat.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "port/pg_bswap.h"
#include "replication/walsender.h"
#include "replication/walsender_private.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "storage/proc.h"

#include "base/clock.h"
#include "worker/fence_shared.h"

/* An XLogData message: kind, start of the data, end of the WAL, time; then the data. */
#define MESSAGE_COPY_DATA		'd'
#define COPY_XLOG_DATA			'w'
#define XLOG_DATA_HEADER_BYTES	(1 + 3 * sizeof(uint64))

int			wal_send_wait_ms = 100;

/* Of a walsender: what it sends with, and how far it is. */
static const PQcommMethods *server_methods;
static XLogRecPtr buffered_lsn; /* up to here messages are made */
static XLogRecPtr sent_lsn;		/* and up to here they are sent */
static bool is_counted;			/* among those that keep up */
static uint32 counted_round;
static bool has_exit_callback;

/*
 * Is this walsender counted among those that keep up?  FenceShared.wal_senders
 * has their number in its lower half.  Who waited in vain sets that to 0 and
 * adds one to the upper half, the round, so that nobody who was counted before
 * counts himself out.
 */
static bool
keeps_up_by(uint32 word)
{
	return is_counted && counted_round == WAL_SENDERS_ROUND(word);
}

/* Count this walsender, or no longer.  Returns whether there was a change. */
static bool
set_keeping_up(bool keeps_up)
{
	FenceShared *shared = patroni_fence_shared();
	uint32		word = pg_atomic_read_u32(&shared->wal_senders);
	uint32		wanted;

	do
	{
		is_counted = keeps_up_by(word);
		if (is_counted == keeps_up)
			return false;
		wanted = keeps_up ? word + 1 : word - 1;
	} while (!pg_atomic_compare_exchange_u32(&shared->wal_senders, &word, wanted));
	is_counted = keeps_up;
	counted_round = WAL_SENDERS_ROUND(wanted);
	return true;
}

/* Nobody shall wait for this walsender any longer. */
static void
fall_behind(void)
{
	if (set_keeping_up(false))
		ConditionVariableBroadcast(&patroni_fence_shared()->wal_sent_more);
}

static void
end_sender(int code, Datum argument)
{
	fall_behind();
}

/* All that was buffered is with the kernel: say so. */
static void
publish(void)
{
	FenceShared *shared = patroni_fence_shared();
	uint64		published = pg_atomic_read_u64(&shared->wal_sent);

	sent_lsn = buffered_lsn;
	if (MyWalSnd == NULL || XLogRecPtrIsInvalid(MyWalSnd->apply))
		return;					/* invariant 2 */
	if (!has_exit_callback)
	{
		before_shmem_exit(end_sender, (Datum) 0);
		has_exit_callback = true;
	}
	while (published < sent_lsn &&
		   !pg_atomic_compare_exchange_u64(&shared->wal_sent, &published, sent_lsn))
		;
	if (!keeps_up_by(pg_atomic_read_u32(&shared->wal_senders)) && sent_lsn >= COMPAT_FLUSH_LSN())
		(void) set_keeping_up(true);
	ConditionVariableBroadcast(&shared->wal_sent_more);
}

/* Something was sent, or could not be. */
static void
note_flushed(int result)
{
	if (result != 0 || sent_lsn == buffered_lsn)
		return;
	if (server_methods->is_send_pending())
		fall_behind();
	else
		publish();
}

static int
sender_flush(void)
{
	int			result = server_methods->flush();

	note_flushed(result);
	return result;
}

static int
sender_flush_if_writable(void)
{
	int			result = server_methods->flush_if_writable();

	note_flushed(result);
	return result;
}

/* This one only buffers; WAL takes no other way. */
static void
sender_putmessage_noblock(char type, const char *text, size_t length)
{
	uint64		start;

	server_methods->putmessage_noblock(type, text, length);
	if (type != MESSAGE_COPY_DATA || length <= XLOG_DATA_HEADER_BYTES || text[0] != COPY_XLOG_DATA ||
		am_cascading_walsender) /* invariant 3 */
		return;
	memcpy(&start, text + 1, sizeof(start));
	buffered_lsn = pg_ntoh64(start) + (length - XLOG_DATA_HEADER_BYTES);
}

/* A session is a physical walsender: replace what it sends messages with. */
void
wal_sent_begin(const PQcommMethods *server, PQcommMethods *own)
{
	if (patroni_fence_shared() == NULL)
		return;
	server_methods = server;
	own->flush = sender_flush;
	own->flush_if_writable = sender_flush_if_writable;
	own->putmessage_noblock = sender_putmessage_noblock;
}

/* Shall commits of this transaction wait?  Whoever set "local" waits for no standby. */
bool
wal_sent_is_wanted(void)
{
	return wal_send_wait_ms > 0 && synchronous_commit > SYNCHRONOUS_COMMIT_LOCAL_FLUSH;
}

/*
 * Wait until a standby has been sent the WAL up to "lsn", for at most
 * patroni.wal_send_wait.  One load if it has been.  Raises no error, so it may
 * be called after a commit: signals are obeyed afterwards.
 */
void
wal_sent_wait(XLogRecPtr lsn)
{
	FenceShared *shared = patroni_fence_shared();
	uint32		word = 0;
	int64		until_us;
	int64		left_us = 1;

	if (shared == NULL || pg_atomic_read_u64(&shared->wal_sent) >= lsn ||
		WAL_SENDERS_COUNT(pg_atomic_read_u32(&shared->wal_senders)) == 0 ||
		MyProc == NULL || proc_exit_inprogress)
		return;
	until_us = clock_now_us() + (int64) wal_send_wait_ms * 1000;
	HOLD_INTERRUPTS();
	ConditionVariablePrepareToSleep(&shared->wal_sent_more);
	while (pg_atomic_read_u64(&shared->wal_sent) < lsn)
	{
		word = pg_atomic_read_u32(&shared->wal_senders);
		left_us = until_us - clock_now_us();
		if (WAL_SENDERS_COUNT(word) == 0 || left_us <= 0)
			break;
		(void) ConditionVariableTimedSleep(&shared->wal_sent_more, (long) (left_us / 1000 + 1),
										   PG_WAIT_EXTENSION);
	}
	ConditionVariableCancelSleep();
	RESUME_INTERRUPTS();

	/* invariant 1; of all who waited in vain, one */
	if (left_us <= 0 && WAL_SENDERS_COUNT(word) > 0 &&
		pg_atomic_compare_exchange_u32(&shared->wal_senders, &word, WAL_SENDERS_NEXT(word)))
		ereport(LOG_SERVER_ONLY,
				(errmsg("the WAL of a commit was not sent to a standby within %d ms", wal_send_wait_ms),
				 errdetail("Commits do not wait for that until a standby has been sent everything.")));
}
