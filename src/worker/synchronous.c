/*-------------------------------------------------------------------------
 *
 * synchronous.c
 *      Whether a commit got what synchronous replication promised it.
 *
 * The server ends the wait for a synchronous standby when the session is
 * cancelled or terminated, warns, and calls the transaction committed.  Here
 * is looked whether the standbys really have it; fence.c then keeps the
 * acknowledgement.  Two settings go further:
 *
 *  - patroni.defer_cancel lets a commit wait in spite of cancel and
 *    terminate, which are delivered when the wait is over.  A shutdown of the
 *    server still ends the wait;
 *  - patroni.commit_wait_timeout refuses writing transactions before they
 *    start, when the standbys that they would wait for have been missing for
 *    that long.
 *
 * Invariants:
 *  (1) True is only returned for a commit whose session does not ask for
 *      synchronous replication, or which the standbys have, or which was made
 *      while no standbys were named.
 *  (2) Nothing here raises an error after a commit record is written.
 *
 * What the server waits for is decided by SyncRepWaitForLSN(); the code here
 * must ask the same questions.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "worker/synchronous.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "worker/compat.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_class.h"
#include "executor/executor.h"
#include "parser/parsetree.h"
#include "replication/syncrep.h"
#include "replication/walsender.h"
#include "replication/walsender_private.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/lsyscache.h"
#include "utils/pidfile.h"

#include "base/clock.h"
#include "worker/fence_shared.h"

bool		synchronous_defers_cancel = false;
int			commit_wait_timeout_ms = 0;

/* Of this session: what was so before its transaction became durable. */
static bool had_standby_names;	/* standbys were named, so the server waits */
static bool has_written_wal;	/* else the server does not wait */

/* Cancel and terminate are kept back while is_deferring. */
static volatile sig_atomic_t is_deferring;
static volatile sig_atomic_t has_deferred_cancel;
static volatile sig_atomic_t has_deferred_terminate;
static bool has_handlers;
static struct sigaction server_cancel;
static struct sigaction server_terminate;

/* --- did the standbys get it? --- */

/* The kind of wait that the session asks for, as assign_synchronous_commit(). */
static int
wait_mode(bool is_commit)
{
	switch (synchronous_commit)
	{
		case SYNCHRONOUS_COMMIT_REMOTE_WRITE:
			return SYNC_REP_WAIT_WRITE;
		case SYNCHRONOUS_COMMIT_REMOTE_FLUSH:
			return SYNC_REP_WAIT_FLUSH;
		case SYNCHRONOUS_COMMIT_REMOTE_APPLY:
			/* what does not commit shows nothing when it is applied */
			return is_commit ? SYNC_REP_WAIT_APPLY : SYNC_REP_WAIT_FLUSH;
		default:
			return SYNC_REP_NO_WAIT;
	}
}

/* How far the standbys are; false when none are named. */
static bool
replicated_lsn(int mode, XLogRecPtr *lsn)
{
	bool		are_named;

	LWLockAcquire(SyncRepLock, LW_SHARED);
	are_named = COMPAT_SYNC_STANDBYS_DEFINED();
	*lsn = WalSndCtl->lsn[mode];
	LWLockRelease(SyncRepLock);
	return are_named;
}

/*
 * Have the standbys everything up to "lsn", when they should?  If they were
 * named only after the server had looked, wait for them now.
 */
static bool
has_lsn(XLogRecPtr lsn, bool is_commit)
{
	int			mode = wait_mode(is_commit);
	XLogRecPtr	replicated;

	if (!SyncRepRequested() || mode == SYNC_REP_NO_WAIT)
		return true;
	if (!replicated_lsn(mode, &replicated) || replicated >= lsn)
		return true;
	if (had_standby_names)
		return false;
	SyncRepWaitForLSN(lsn, is_commit);
	return !replicated_lsn(mode, &replicated) || replicated >= lsn;
}

/* After a commit that ended at "end_lsn": may its client be told? */
bool
synchronous_has_commit(XLogRecPtr end_lsn)
{
	return !has_written_wal || has_lsn(end_lsn, true);
}

/*
 * After PREPARE TRANSACTION.  The server does not say where the record ended,
 * only where it began; what lies between is settled by waiting for all that
 * is flushed by now.
 */
bool
synchronous_has_prepare(void)
{
	int			mode = wait_mode(false);
	XLogRecPtr	flushed;
	XLogRecPtr	replicated;

	if (!SyncRepRequested() || mode == SYNC_REP_NO_WAIT)
		return true;
	if (!replicated_lsn(mode, &replicated))
		return true;
	if (replicated <= ProcLastRecPtr && had_standby_names)
		return false;
	flushed = COMPAT_FLUSH_LSN();
	if (replicated >= flushed)
		return true;
	SyncRepWaitForLSN(flushed, false);
	return !replicated_lsn(mode, &replicated) || replicated >= flushed;
}

/*
 * After COMMIT PREPARED (is_commit) or ROLLBACK PREPARED, inside their own
 * transaction: the record is the last one that the session has written.
 */
bool
synchronous_has_prepared_end(bool is_commit)
{
	bool		is_there;

	HOLD_INTERRUPTS();			/* as the server, for the wait */
	is_there = has_lsn(XactLastRecEnd, is_commit);
	RESUME_INTERRUPTS();
	return is_there;
}

/* --- cancel and terminate while a commit waits --- */

/*
 * Does the postmaster stop the server?  It writes that into its file before it
 * sends any signal (postmaster.c, pmdie() and its successors).  For signal handlers.
 */
static bool
server_is_stopping(void)
{
	static const char status[] = "\n" PM_STATUS_STOPPING;
	char		text[1024];
	ssize_t		length;
	int			fd = open("postmaster.pid", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return true;			/* it is gone already */
	length = read(fd, text, sizeof(text));
	close(fd);
	for (ssize_t i = 0; i + (ssize_t) strlen(status) <= length; i++)
		if (memcmp(text + i, status, strlen(status)) == 0)
			return true;
	return false;
}

/*
 * Only what the postmaster sends is a shutdown.  Where it sent while another
 * one's signal was pending, the kernel shows us the other one's alone.
 */
static void
keep_back_signal(int signal_number, siginfo_t *info, void *context)
{
	int			saved_errno = errno;

	if (is_deferring && signal_number == SIGINT)
		has_deferred_cancel = true;
	else if (is_deferring && info->si_pid != PostmasterPid && !server_is_stopping())
		has_deferred_terminate = true;
	else if (signal_number == SIGINT)
		server_cancel.sa_handler(signal_number);
	else
		server_terminate.sa_handler(signal_number);
	errno = saved_errno;
}

/* Stand in front of the server's own handlers, once per session. */
static void
install_handlers(void)
{
	struct sigaction action;

	if (has_handlers)
		return;
	if (sigaction(SIGINT, NULL, &server_cancel) != 0 ||
		sigaction(SIGTERM, NULL, &server_terminate) != 0)
		return;
	if ((server_cancel.sa_flags & SA_SIGINFO) || (server_terminate.sa_flags & SA_SIGINFO) ||
		server_cancel.sa_handler == SIG_IGN || server_cancel.sa_handler == SIG_DFL ||
		server_terminate.sa_handler == SIG_IGN || server_terminate.sa_handler == SIG_DFL)
		return;					/* not a session as we know them */
	memset(&action, 0, sizeof(action));
	action.sa_sigaction = keep_back_signal;
	sigemptyset(&action.sa_mask);
	action.sa_flags = SA_SIGINFO | SA_RESTART;
	has_handlers = sigaction(SIGINT, &action, NULL) == 0 &&
		sigaction(SIGTERM, &action, NULL) == 0;
}

/*
 * A transaction is about to become durable.  Called for each one, also those
 * that may get their transaction id later.
 */
void
synchronous_begin(void)
{
	has_written_wal = XactLastRecEnd != InvalidXLogRecPtr;
	had_standby_names = SyncRepRequested() && COMPAT_SYNC_STANDBYS_DEFINED();
	if (synchronous_defers_cancel && had_standby_names && MyProcPort != NULL)
	{
		install_handlers();
		is_deferring = true;
	}
}

/* It is durable, or it failed: deliver what was kept back. */
void
synchronous_end(void)
{
	if (!is_deferring)
		return;
	is_deferring = false;
	if (has_deferred_cancel)
		QueryCancelPending = InterruptPending = true;
	if (has_deferred_terminate)
		ProcDiePending = InterruptPending = true;
	has_deferred_cancel = has_deferred_terminate = false;
}

/* --- refusing writes that nobody would confirm --- */

/* For how long have commits lacked standbys, in us?  -1: they do not. */
static int64
lonely_us(void)
{
	FenceShared *shared = patroni_fence_shared();
	int64		since_us;
	SyncRepStandbyData *standbys;
	int			n_standbys;

	if (shared == NULL || !SyncRepRequested() || !COMPAT_SYNC_STANDBYS_DEFINED())
		return -1;
	since_us = (int64) pg_atomic_read_u64(&shared->lonely_since_us);
	if (since_us == 0)
		return -1;

	/* The worker says since when; what is true now is looked up. */
	if (SyncRepConfig == NULL)
		return -1;
	n_standbys = SyncRepGetCandidateStandbys(&standbys);
	pfree(standbys);
	return n_standbys >= SyncRepConfig->num_sync ? -1 : clock_now_us() - since_us;
}

/*
 * Raise an error when a commit would have waited for standbys that have been
 * missing for longer than patroni.commit_wait_timeout.
 */
void
synchronous_refuse_lonely(const char *what)
{
	int64		alone_us;

	if (commit_wait_timeout_ms <= 0 || RecoveryInProgress())
		return;
	alone_us = lonely_us();
	if (alone_us < commit_wait_timeout_ms * INT64CONST(1000))
		return;
	pg_atomic_fetch_add_u64(&patroni_fence_shared()->refused_lonely, 1);
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("cannot %s: there is no synchronous standby that would confirm it", what),
			 errdetail("Too few of the standbys in \"synchronous_standby_names\" have been connected for %lld.%03lld seconds; \"patroni.commit_wait_timeout\" is %d ms.",
					   (long long) (alone_us / 1000000), (long long) (alone_us / 1000 % 1000),
					   commit_wait_timeout_ms),
			 errhint("Try again when a standby is back, or set \"synchronous_commit\" to \"local\" for transactions that a failover may lose.")));
}

/* Does it change a table that outlives the session? */
static bool
plan_writes(const PlannedStmt *plan)
{
	ListCell   *cell;

	if (plan->rowMarks != NIL)
		return true;			/* a row lock is written, and waited for */
	foreach(cell, plan->resultRelations)
	{
		RangeTblEntry *entry = rt_fetch(lfirst_int(cell), plan->rtable);

		if (get_rel_persistence(entry->relid) == RELPERSISTENCE_PERMANENT)
			return true;
	}
	return false;
}

/* Before a query starts. */
void
synchronous_refuse_plan(const QueryDesc *query, int flags)
{
	if (commit_wait_timeout_ms <= 0 || (flags & EXEC_FLAG_EXPLAIN_ONLY))
		return;
	if (plan_writes(query->plannedstmt))
		synchronous_refuse_lonely("write");
}

/* Before a statement that is not a query. */
void
synchronous_refuse_statement(Node *node)
{
	LogStmtLevel level;

	if (commit_wait_timeout_ms <= 0)
		return;
	level = GetCommandLogLevel(node);
	if ((level == LOGSTMT_DDL || level == LOGSTMT_MOD) && !IsA(node, AlterSystemStmt) &&
		!IsA(node, ExecuteStmt) && !IsA(node, ExplainStmt))
		synchronous_refuse_lonely("write");
}
