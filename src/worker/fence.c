/*-------------------------------------------------------------------------
 *
 * fence.c
 *      Refuses to acknowledge writes once the leader lease may be over, and
 *      what else a client must not be told.
 *
 * Whoever holds the node's baton keeps a deadline in the lease page.  Here,
 * in every backend, stands what happens after it:
 *
 *  - a transaction that wrote is refused before its commit record exists: an
 *    ERROR, so the client knows that nothing happened;
 *  - a transaction whose commit record exists already is not acknowledged:
 *    the session ends and the client sees a lost connection;
 *  - a client that looks for a server that takes writes is told that this is
 *    none, so that it tries the next host.
 *
 * The same places serve what else keeps an answer from a client:
 *
 *  - a commit whose wait for synchronous standbys was cut off is not
 *    acknowledged either; the client hears why (synchronous.c);
 *  - while the node is isolated, commits wait before they are made and
 *    answers before they are sent (isolation.c);
 *  - an answer waits until the WAL of its commit is on its way to a standby
 *    (wal_sent.c);
 *  - after a crash, clients wait outside (exposure.c).
 *
 * Invariants:
 *  (1) No message that follows a commit is handed to the kernel after the
 *      deadline, until the client has been told that the session is ready
 *      again.  The clock is read right before each send.
 *  (2) What is withheld once stays withheld: nothing leaves the session any
 *      more, and it ends at the next CHECK_FOR_INTERRUPTS().
 *  (3) Reading is never refused by the fence.
 *
 * (1) needs the wrapper around PqCommMethods: between the commit and the send
 * the process may be stopped, and a client that does not read may hold up
 * the send for any time.  The wrapper is put around a session's methods when
 * it first commits a write; sessions that only read have no part in this.
 *
 * Autovacuum is refused too, which only costs a line in the log: its work
 * would be lost with this timeline anyway.  Parallel workers are not asked,
 * their leader is.
 *
 * Renewing the lease is the business of src/ha and src/dcs; this file only
 * keeps the promise.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "worker/fence.h"

#include <sys/socket.h>

#include "worker/compat.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "executor/executor.h"
#include "nodes/parsenodes.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/dest.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"

#include "base/clock.h"
#include "base/lease_page.h"
#include "worker/exposure.h"
#include "worker/fence_shared.h"
#include "worker/isolation.h"
#include "worker/shared.h"
#include "worker/synchronous.h"
#include "worker/wal_sent.h"
#include "worker/walsender.h"

/* What pqcomm.c collects before it sends, and what a message adds to its text. */
#define SEND_BUFFER_BYTES		8192
#define MESSAGE_HEADER_BYTES	5

/* The longest wait for a client's socket before the clock is read again. */
#define SOCKET_WAIT_MAX_MS		1000

/* Messages of the protocol that matter here. */
#define MESSAGE_READY			'Z'
#define MESSAGE_ERROR			'E'
#define MESSAGE_PARAMETER		'S'
#define READ_ONLY_PARAMETER		"default_transaction_read_only"

/* What a client hears, who is not told of its commit: fields of an ErrorResponse. */
#define CUT_OFF_MESSAGE \
	"the wait for a synchronous standby was cut off, the outcome of the transaction is not known"
#define CUT_OFF_DETAIL \
	"The transaction is committed on this server, but a failover may lose it."
#define CUT_OFF_HINT \
	"Connect again and look whether it is there before you repeat it."
#define CUT_OFF_RESPONSE \
	"SFATAL\0" "VFATAL\0" "C08007\0" "M" CUT_OFF_MESSAGE "\0" \
	"D" CUT_OFF_DETAIL "\0" "H" CUT_OFF_HINT "\0"

bool		fence_is_enabled = true;

/* Of this session; only its own process reads and writes them. */
static bool is_ack_pending;		/* a write is committed, its client not told yet */
static XLogRecPtr wanted_lsn;	/* to be on its way to a standby before, or invalid */
static bool is_ready_buffered;	/* and the message that ends the telling is buffered */
static bool is_withheld;		/* invariant 2 */
static bool is_cut_off;			/* withheld as no synchronous standby has the commit */
static bool is_cut_off_told;	/* and the client has got CUT_OFF_RESPONSE */
static bool is_flushing;		/* flush_while_open() is on the stack */
static bool has_exit_callback;
static int64 withheld_deadline_us;
static size_t n_buffered_bytes; /* at most that much is in the send buffer */

/* What the session sent with before the fence; NULL = not wrapped. */
static const PQcommMethods *base_methods;
static PQcommMethods fence_methods;

static void wrap_session(void);

static ClientAuthentication_hook_type previous_authentication_hook;
static ProcessUtility_hook_type previous_utility_hook;
static ExecutorStart_hook_type previous_executor_hook;

/*
 * Is the lease over?  False on a server nobody manages and while the fence
 * is switched off.  Costs one atomic load and one reading of the clock.
 */
bool
fence_is_closed(void)
{
	LeasePage  *page = patroni_lease_page();

	return page != NULL && fence_is_enabled && !lease_page_is_open(page);
}

/* Why the lease is over; an errdetail(). */
static int
lease_detail(int64 deadline_us)
{
	int64		late_us = clock_now_us() - deadline_us;

	if (deadline_us == LEASE_CLOSED_US || lease_page_is_open(patroni_lease_page()))
		return errdetail("This node does not hold the leader lease.");
	if (late_us < 0)
		return errdetail("The clock of this machine has stood still: by the processor's cycle counter the lease has ended, %lld.%03lld seconds before its time by the clock.",
						 (long long) (-late_us / 1000000), (long long) (-late_us / 1000 % 1000));
	return errdetail("The lease ended %lld.%03lld seconds ago.",
					 (long long) (late_us / 1000000), (long long) (late_us / 1000 % 1000));
}

/*
 * Raise an error when the lease is over.  "what" is what this would have done
 * ("commit").
 */
static void
refuse_when_closed(const char *what)
{
	LeasePage  *page = patroni_lease_page();
	int64		deadline_us;

	if (!fence_is_closed())
		return;
	deadline_us = lease_page_deadline_us(page);
	atomic_fetch_add_explicit(&page->refused_commits, 1, memory_order_relaxed);
	ereport(ERROR,
			(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
			 errmsg("cannot %s: this node's leader lease is over", what),
			 lease_detail(deadline_us),
			 errhint("Connect to the current primary of the cluster.")));
}

/* Say in the log, when the session ends, why it did. */
static void
log_withheld(int code, Datum argument)
{
	if (!is_withheld)
		return;
	if (is_cut_off)
	{
		ereport(LOG,
				(errmsg("withheld the acknowledgement of a commit: its wait for a synchronous standby was cut off"),
				 errdetail(CUT_OFF_DETAIL)));
		return;
	}
	ereport(LOG,
			(errmsg("withheld the acknowledgement of a commit: this node's leader lease is over"),
			 lease_detail(withheld_deadline_us),
			 errhint("Whether the transaction survives is known on the current primary only.")));
}

/*
 * End this session without another byte to its client.
 *
 * As the server does when the wait for a synchronous standby is cut off, and
 * the socket is shut as well: what is buffered must not leave either with
 * whatever is sent last.  A wrapped session drops all messages by itself;
 * DestNone would have it read its next command from the server's own input.
 * Allocates nothing and cannot fail, so it may be called right after the
 * commit record.
 */
static void
withhold(void)
{
	LeasePage  *page = patroni_lease_page();

	if (is_withheld)
		return;
	is_withheld = true;
	withheld_deadline_us = lease_page_deadline_us(page);
	atomic_fetch_add_explicit(&page->withheld_acks, 1, memory_order_relaxed);
	if (base_methods == NULL)
		whereToSendOutput = DestNone;
	if (MyProcPort != NULL && MyProcPort->sock != PGINVALID_SOCKET)
		(void) shutdown(MyProcPort->sock, SHUT_RDWR);
	ProcDiePending = true;
	InterruptPending = true;
}

/*
 * End this session because its wait for a synchronous standby was cut off.
 *
 * The lease may well hold, so the client is told: when the session ends, at
 * the next CHECK_FOR_INTERRUPTS(), its last words are replaced by ours (see
 * fence_putmessage()).  As withhold(), this cannot fail.
 */
static void
withhold_cut_off(void)
{
	if (is_withheld)
		return;
	is_withheld = is_cut_off = true;
	atomic_fetch_add_explicit(&patroni_lease_page()->withheld_acks, 1, memory_order_relaxed);
	wrap_session();
	if (base_methods != NULL)
		whereToSendOutput = DestRemote; /* a terminated session has none any more */
	ProcDiePending = true;
	InterruptPending = true;
}

/* Until the socket takes more, something happens, or the deadline is over. */
static void
wait_for_socket(void)
{
	WaitEvent	event;
	int64		left_ms;

	left_ms = (lease_page_deadline_us(patroni_lease_page()) - clock_now_us()) / 1000 + 1;
	left_ms = Max(Min(left_ms, SOCKET_WAIT_MAX_MS), 1);
	ModifyWaitEvent(FeBeWaitSet, FeBeWaitSetSocketPos, WL_SOCKET_WRITEABLE, NULL);
	if (WaitEventSetWait(FeBeWaitSet, (long) left_ms, &event, 1, WAIT_EVENT_CLIENT_WRITE) < 1)
		return;

	/* From here as secure_write(). */
	if (event.events & WL_POSTMASTER_DEATH)
		ereport(FATAL,
				(errcode(ERRCODE_ADMIN_SHUTDOWN),
				 errmsg("terminating connection due to unexpected postmaster exit")));
	if (event.events & WL_LATCH_SET)
	{
		ResetLatch(MyLatch);
		ProcessClientWriteInterrupt(true);
	}
}

/* Send what is buffered, with a look at the clock before each send. */
static int
flush_while_open(void)
{
	if (!XLogRecPtrIsInvalid(wanted_lsn))
		wal_sent_wait(wanted_lsn);
	wanted_lsn = InvalidXLogRecPtr;
	for (;;)
	{
		if (fence_is_closed())
		{
			withhold();
			return EOF;
		}
		if (isolation_holds())
		{
			isolation_pause();
			ProcessClientWriteInterrupt(true);
			if (is_withheld)
				return EOF;
			continue;
		}
		if (base_methods->flush_if_writable() != 0)
			return EOF;
		if (!base_methods->is_send_pending())
			return 0;
		wait_for_socket();
		if (is_withheld)
			return EOF;
	}
}

/* All is sent: has the client been told of its commits? */
static void
note_flushed(void)
{
	n_buffered_bytes = 0;
	if (is_ready_buffered)
		is_ack_pending = is_ready_buffered = false;
}

static void
fence_comm_reset(void)
{
	is_flushing = false;
	base_methods->comm_reset();
}

static int
fence_flush(void)
{
	int			result;

	if (is_withheld)
		return is_cut_off_told && !fence_is_closed() ? base_methods->flush() : EOF;
	if (is_flushing)
		return 0;				/* as the server's own: the outer call goes on */
	if (!is_ack_pending)
		result = base_methods->flush();
	else
	{
		is_flushing = true;
		result = flush_while_open();
		is_flushing = false;
	}
	if (result == 0 && !base_methods->is_send_pending())
		note_flushed();
	return result;
}

static int
fence_flush_if_writable(void)
{
	int			result;

	if (is_withheld)
		return EOF;
	if (is_ack_pending && fence_is_closed())
	{
		withhold();
		return EOF;
	}
	if (is_ack_pending && isolation_holds())
		return 0;				/* as when the socket takes no more */
	result = base_methods->flush_if_writable();
	if (result == 0 && !base_methods->is_send_pending())
		note_flushed();
	return result;
}

static bool
fence_is_send_pending(void)
{
	return !is_withheld && base_methods->is_send_pending();
}

/*
 * While the fence is closed, new sessions hear that they are read-only by
 * default: that is what libpq's target_session_attrs looks at.  The setting
 * itself stays as it is, so that a pooled session which was opened in a short
 * gap between two leases is of use afterwards.
 */
static bool
is_read_only_parameter(char type, const char *text, size_t length)
{
	return type == MESSAGE_PARAMETER &&
		length == sizeof(READ_ONLY_PARAMETER) + sizeof("off") &&
		memcmp(text, READ_ONLY_PARAMETER "\0off", length) == 0 &&
		fence_is_closed() && !RecoveryInProgress();
}

static int
fence_putmessage(char type, const char *text, size_t length)
{
	static const char read_only[] = READ_ONLY_PARAMETER "\0on";
	static const char cut_off[] = CUT_OFF_RESPONSE;

	if (is_cut_off && !is_cut_off_told && type == MESSAGE_ERROR && !fence_is_closed())
	{
		is_cut_off_told = true;
		return base_methods->putmessage(type, cut_off, sizeof(cut_off));
	}
	if (is_withheld)
		return EOF;
	if (is_read_only_parameter(type, text, length))
	{
		text = read_only;
		length = sizeof(read_only);
	}

	/* A full buffer is sent without asking us: empty it before. */
	if (is_ack_pending && base_methods->is_send_pending() &&
		n_buffered_bytes + length + MESSAGE_HEADER_BYTES >= SEND_BUFFER_BYTES &&
		fence_flush() != 0)
		return EOF;
	if (is_ack_pending && type == MESSAGE_READY)
		is_ready_buffered = true;
	n_buffered_bytes += length + MESSAGE_HEADER_BYTES;
	return base_methods->putmessage(type, text, length);
}

/* This one only buffers. */
static void
fence_putmessage_noblock(char type, const char *text, size_t length)
{
	if (is_withheld)
		return;
	if (is_ack_pending && type == MESSAGE_READY)
		is_ready_buffered = true;
	n_buffered_bytes += length + MESSAGE_HEADER_BYTES;
	base_methods->putmessage_noblock(type, text, length);
}

/* Put the fence between this session and its client, once. */
static void
wrap_session(void)
{
	if (base_methods != NULL || MyProcPort == NULL)
		return;
	base_methods = PqCommMethods;
	memcpy(&fence_methods, base_methods, sizeof(fence_methods));
	fence_methods.comm_reset = fence_comm_reset;
	fence_methods.flush = fence_flush;
	fence_methods.flush_if_writable = fence_flush_if_writable;
	fence_methods.is_send_pending = fence_is_send_pending;
	fence_methods.putmessage = fence_putmessage;
	fence_methods.putmessage_noblock = fence_putmessage_noblock;
	PqCommMethods = &fence_methods;
	/* How full the buffer is already, we cannot know. */
	n_buffered_bytes = SEND_BUFFER_BYTES;
}

/*
 * Before a transaction becomes durable: refuse, or make ready for
 * acknowledge().  May raise an error.
 */
static void
before_durable(const char *what)
{
	if (patroni_lease_page() == NULL)
		return;
	refuse_when_closed(what);
	synchronous_refuse_lonely(what);
	isolation_wait(fence_is_closed);
	refuse_when_closed(what);
	wrap_session();
	if (!has_exit_callback)
	{
		on_proc_exit(log_withheld, (Datum) 0);
		has_exit_callback = true;
	}
}

/*
 * A transaction whose WAL ends at "end_lsn" is durable, here and, if
 * "is_replicated", as synchronous replication asks, and its client waits to
 * hear it.  Must not fail.
 *
 * A background worker has no client of ours but may confirm what it has
 * committed elsewhere (logical replication does, to the publisher), so it
 * ends as well.  Autovacuum tells nobody.
 */
static void
acknowledge(XLogRecPtr end_lsn, bool is_replicated)
{
	if (patroni_lease_page() == NULL)
		return;
	/* whether or not the lease is over: the next start may show it */
	if (!is_replicated && !AmAutoVacuumWorkerProcess())
		exposure_note_cut_off();
	if (fence_is_closed())
	{
		if (!AmAutoVacuumWorkerProcess())
			withhold();
	}
	else if (!is_replicated)
	{
		if (!AmAutoVacuumWorkerProcess())
			withhold_cut_off();
	}
	else if (MyProcPort != NULL)
	{
		/* NOTIFY and ON COMMIT get their transaction id after PRE_COMMIT. */
		wrap_session();
		is_ack_pending = true;
		is_ready_buffered = false;
		if (wal_sent_is_wanted())
			wanted_lsn = Max(wanted_lsn, end_lsn);
	}
}

static void
fence_transaction(XactEvent event, void *argument)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			if (TransactionIdIsValid(GetTopTransactionIdIfAny()))
				before_durable("commit");
			synchronous_begin();
			break;
		case XACT_EVENT_PRE_PREPARE:
			before_durable("prepare transaction");
			synchronous_begin();
			break;
		case XACT_EVENT_COMMIT:
			if (TransactionIdIsValid(GetTopTransactionIdIfAny()))
				acknowledge(XactLastCommitEnd, synchronous_has_commit(XactLastCommitEnd));
			synchronous_end();
			break;
		case XACT_EVENT_PREPARE:
			acknowledge(COMPAT_FLUSH_LSN(), synchronous_has_prepare());
			synchronous_end();
			break;
		case XACT_EVENT_ABORT:
			synchronous_end();
			break;
		default:
			break;
	}
}

/* Does this statement end a prepared transaction, without an own id? */
static const char *
prepared_end(const Node *node)
{
	if (!IsA(node, TransactionStmt))
		return NULL;
	switch (((const TransactionStmt *) node)->kind)
	{
		case TRANS_STMT_COMMIT_PREPARED:
			return "commit prepared transaction";
		case TRANS_STMT_ROLLBACK_PREPARED:
			return "roll back prepared transaction";
		default:
			return NULL;
	}
}

/*
 * Statements that change files before they commit, or that are no use when
 * they cannot commit but get their transaction id too late to be refused.
 */
static bool
is_refused_early(const Node *node)
{
	switch (nodeTag(node))
	{
		case T_CreatedbStmt:
		case T_DropdbStmt:
		case T_AlterDatabaseStmt:
		case T_CreateTableSpaceStmt:
		case T_DropTableSpaceStmt:
		case T_NotifyStmt:
			return true;
		default:
			return false;
	}
}

/* Is this how older clients ask whether the session takes writes? */
static bool
asks_for_read_only(const Node *node)
{
	return IsA(node, VariableShowStmt) &&
		pg_strcasecmp(((const VariableShowStmt *) node)->name, "transaction_read_only") == 0;
}

static void
fence_utility(COMPAT_UTILITY_PARAMETERS)
{
	Node	   *node = statement->utilityStmt;
	const char *prepared = prepared_end(node);

	/* A standby's fence is closed as well, and the server says why it reads only. */
	if (prepared != NULL && !RecoveryInProgress())
	{
		before_durable(prepared);
		synchronous_begin();
	}
	else if (is_refused_early(node) && !RecoveryInProgress())
		refuse_when_closed("change this cluster");
	else if (asks_for_read_only(node) && fence_is_closed())
		XactReadOnly = true;	/* until the transaction ends */
	synchronous_refuse_statement(node);

	if (previous_utility_hook)
		previous_utility_hook(COMPAT_UTILITY_ARGUMENTS);
	else
		standard_ProcessUtility(COMPAT_UTILITY_ARGUMENTS);

	if (prepared != NULL)
	{
		acknowledge(COMPAT_FLUSH_LSN(),
					synchronous_has_prepared_end(((TransactionStmt *) node)->kind ==
												 TRANS_STMT_COMMIT_PREPARED));
		synchronous_end();
	}
}

/* Queries that write nothing cost nothing here. */
static void
fence_executor_start(QueryDesc *query, int flags)
{
	synchronous_refuse_plan(query, flags);
	if (previous_executor_hook)
		previous_executor_hook(query, flags);
	else
		standard_ExecutorStart(query, flags);
}

/* Sessions that begin while the fence is closed: see is_read_only_parameter(). */
static void
fence_authentication(Port *port, int status)
{
	if (previous_authentication_hook)
		previous_authentication_hook(port, status);
	if (status != STATUS_OK)
		return;
	exposure_refuse_client(port);
	if (fence_is_closed())
		wrap_session();
}

/* Put up the fence; for _PG_init() in the postmaster. */
void
fence_init(void)
{
	fence_shared_init(exposure_begin);
	walsender_init();
	RegisterXactCallback(fence_transaction, NULL);
	previous_executor_hook = ExecutorStart_hook;
	ExecutorStart_hook = fence_executor_start;
	previous_utility_hook = ProcessUtility_hook;
	ProcessUtility_hook = fence_utility;
	previous_authentication_hook = ClientAuthentication_hook;
	ClientAuthentication_hook = fence_authentication;
}
