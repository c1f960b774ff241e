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

#include "worker/worker.h"

#include <libpq-fe.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/timeline.h"
#include "access/transam.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#if PG_VERSION_NUM >= 150000
#include "access/xlogrecovery.h"
#endif
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "replication/slot.h"
#include "replication/walreceiver.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/spin.h"

#include "base/clock.h"
#include "worker/compat.h"
#include "worker/slots.h"

#define EVERY_MS			1000	/* between two looks at the leader's slots */
#define HURRY_MS			300		/* while a copy is not safe yet */
#define AFTER_ERROR_MS		2000
#define QUERY_TIMEOUT_MS	10000
#define REPLAY_WAIT_MS		1000	/* for this server to come as far as the consumer */
#define SETTLE_MS			1500	/* feedback that was under way has arrived */
#define FEEDBACK_EVERY_MS	5000
#define SNAPSHOT_FILE_MAX	(16 * 1024 * 1024)

extern PGDLLEXPORT void patroni_slot_copier_main(Datum argument);

/* The leader's slot, at one moment. */
typedef struct Remote
{
	bool		exists;
	bool		is_lost;
	bool		is_two_phase;
	char		database[NAMEDATALEN];
	char		plugin[NAMEDATALEN];
	Oid			database_id;
	TransactionId catalog_xmin;
	TransactionId held_xmin;	/* of the physical slot there that stands for us */
	TimeLineID	timeline;		/* of the leader */
	XLogRecPtr	restart_lsn;
	XLogRecPtr	confirmed_lsn;
	const char *snapshot;		/* hexadecimal; NULL: none at restart_lsn, or known */
} Remote;

/* What is remembered of a copy. */
typedef struct Copy
{
	SlotWish	wish;
	int64		since_ms;		/* feedback has included it since; 0 = not */
	XLogRecPtr	bare_lsn;		/* the leader has no snapshot there, as seen last */
	char		problem[96];
} Copy;

static struct
{
	uint32		number;			/* of the wishes below */
	char		conninfo[2048];
	char		password[256];
	char		held_by[NAMEDATALEN];
	int			n_copies;
	Copy		copies[SLOT_WISHES_MAX];
	PGconn	   *conn;			/* NULL: not connected */
	int64		feedback_ms;	/* when it was last asked for */
	char		said[256];		/* the last problem with the connection */
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

static void
nap(int ms)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ms, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	leave_if_over();
}

/* --- the connection --- */

static void
disconnect(void)
{
	if (copier.conn != NULL)
		PQfinish(copier.conn);
	copier.conn = NULL;
}

/* The first line of a message of libpq. */
static void
complain(const char *what, const char *message)
{
	char		text[256];

	snprintf(text, sizeof(text), "%s: %.*s", what, (int) Min(strcspn(message, "\n"), 200), message);
	if (strcmp(text, copier.said) == 0)
		return;
	strlcpy(copier.said, text, sizeof(copier.said));
	ereport(LOG, (errmsg("could not copy replication slots: %s", text)));
}

static bool
wait_for_socket(int events, int64 deadline_ms)
{
	int64		left_ms = deadline_ms - clock_now_ms();

	if (left_ms <= 0)
		return false;
	(void) WaitLatchOrSocket(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH | events,
							 PQsocket(copier.conn), (long) left_ms, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	leave_if_over();
	return true;
}

static bool
connect_to_leader(void)
{
	const char *keywords[] = {"dbname", copier.password[0] != '\0' ? "password" : NULL, NULL};
	const char *values[] = {copier.conninfo, copier.password, NULL};
	int64		deadline_ms = clock_now_ms() + QUERY_TIMEOUT_MS;
	PostgresPollingStatusType status = PGRES_POLLING_WRITING;

	if (copier.conn != NULL)
		return true;
	copier.conn = PQconnectStartParams(keywords, values, 1);
	while (copier.conn != NULL && PQstatus(copier.conn) != CONNECTION_BAD &&
		   status != PGRES_POLLING_OK && status != PGRES_POLLING_FAILED)
	{
		if (!wait_for_socket(status == PGRES_POLLING_READING ? WL_SOCKET_READABLE : WL_SOCKET_WRITEABLE,
							 deadline_ms))
			break;
		status = PQconnectPoll(copier.conn);
	}
	if (copier.conn != NULL && status == PGRES_POLLING_OK)
		return true;
	complain("no connection to the leader", copier.conn == NULL ? "out of memory" :
			 PQstatus(copier.conn) == CONNECTION_BAD ? PQerrorMessage(copier.conn) : "timeout");
	disconnect();
	return false;
}

/* NULL, and not connected any more: it failed. */
static PGresult *
ask(const char *query)
{
	int64		deadline_ms = clock_now_ms() + QUERY_TIMEOUT_MS;
	PGresult   *result = NULL;
	PGresult   *next;

	if (!PQsendQuery(copier.conn, query))
		goto failed;
	for (;;)
	{
		while (PQisBusy(copier.conn))
		{
			if (!wait_for_socket(WL_SOCKET_READABLE, deadline_ms) || !PQconsumeInput(copier.conn))
				goto failed;
		}
		next = PQgetResult(copier.conn);
		if (next == NULL)
			break;
		PQclear(result);
		result = next;
	}
	if (PQresultStatus(result) == PGRES_TUPLES_OK)
	{
		copier.said[0] = '\0';
		return result;
	}
failed:
	complain("the leader's slots could not be read",
			 result != NULL ? PQresultErrorMessage(result) : PQerrorMessage(copier.conn));
	PQclear(result);
	disconnect();
	return NULL;
}

/* --- this server --- */

/* What a logical slot here is at; false: there is none. */
static bool
look_here(const char *name, ReplicationSlotPersistentData *data, bool *is_ours)
{
	ReplicationSlot *slot = SearchNamedReplicationSlot(name, true);

	if (slot == NULL)
		return false;
	SpinLockAcquire(&slot->mutex);
	*data = slot->data;
	*is_ours = slot->active_pid == 0 || slot->active_pid == MyProcPid;
	SpinLockRelease(&slot->mutex);
	return true;
}

static XLogRecPtr
replayed(TimeLineID *timeline)
{
	return GetXLogReplayRecPtr(timeline);
}

/* Is the WAL at this position still here?  Its slot keeps it from being removed. */
static bool
has_wal(XLogRecPtr lsn)
{
	XLogSegNo	segment;
	TimeLineID	timeline;

	XLByteToSeg(lsn, segment, wal_segment_size);
	if (segment <= XLogGetLastRemovedSegno())
		return false;
	(void) replayed(&timeline);
	for (TimeLineID id = timeline; id > 0 && timeline - id < 1000; id--)
	{
		char		path[MAXPGPATH];
		char		name[MAXFNAMELEN];

		XLogFileName(name, id, segment, wal_segment_size);
		snprintf(path, sizeof(path), XLOGDIR "/%s", name);
		if (access(path, F_OK) == 0)
			return true;
	}
	return false;
}

/* Where a timeline began whose history is here. */
static XLogRecPtr
timeline_begin(TimeLineID timeline)
{
	ListCell   *cell;
	XLogRecPtr	begin = 0;

	foreach(cell, readTimeLineHistory(timeline))
	{
		TimeLineHistoryEntry *entry = lfirst(cell);

		if (entry->tli == timeline)
			begin = entry->begin;
	}
	return begin;
}

/*
 * Have the walreceiver tell upstream at once what our slots need: it does so
 * when it reads its settings again.
 */
static void
send_feedback(int64 now_ms)
{
	pid_t		pid;

	SpinLockAcquire(&WalRcv->mutex);
	pid = WalRcv->pid;
	SpinLockRelease(&WalRcv->mutex);
	if (pid > 0)
		(void) kill(pid, SIGHUP);
	copier.feedback_ms = now_ms;
}

static int
hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 0;
}

/* Put the leader's snapshot of that position beside our own. */
static void
write_snapshot(XLogRecPtr lsn, const char *hex)
{
	char		path[MAXPGPATH];
	char		temporary[MAXPGPATH];
	size_t		length = strlen(hex) / 2;
	char	   *bytes = palloc(length + 1);
	int			fd;

	snprintf(path, sizeof(path), "pg_logical/snapshots/%X-%X.snap", (uint32) (lsn >> 32), (uint32) lsn);
	/* the server removes what is left of this name at its next checkpoint */
	snprintf(temporary, sizeof(temporary), "%s.%d.tmp", path, MyProcPid);
	if (access(path, F_OK) == 0)
		return;
	for (size_t i = 0; i < length; i++)
		bytes[i] = (char) (hex_digit(hex[2 * i]) << 4 | hex_digit(hex[2 * i + 1]));
	fd = OpenTransientFile(temporary, O_CREAT | O_TRUNC | O_WRONLY | PG_BINARY);
	if (fd < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not create file \"%s\": %m", temporary)));
	errno = 0;
	if (write(fd, bytes, length) != (ssize_t) length || pg_fsync(fd) != 0)
	{
		if (errno == 0)
			errno = ENOSPC;
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not write file \"%s\": %m", temporary)));
	}
	CloseTransientFile(fd);
	(void) durable_rename(temporary, path, ERROR);
}

/* The slot is acquired: it is at the leader's position now. */
static void
put_values(const Remote *remote)
{
	SpinLockAcquire(&MyReplicationSlot->mutex);
	MyReplicationSlot->data.restart_lsn = remote->restart_lsn;
	MyReplicationSlot->data.confirmed_flush = remote->confirmed_lsn;
	MyReplicationSlot->data.catalog_xmin = remote->catalog_xmin;
	SpinLockRelease(&MyReplicationSlot->mutex);
	ReplicationSlotMarkDirty();
	ReplicationSlotSave();
	/* only what is on disk may let rows go */
	SpinLockAcquire(&MyReplicationSlot->mutex);
	MyReplicationSlot->effective_catalog_xmin = remote->catalog_xmin;
	SpinLockRelease(&MyReplicationSlot->mutex);
	ReplicationSlotsComputeRequiredXmin(false);
	ReplicationSlotsComputeRequiredLSN();
}

/* A copy that lives as long as this process.  False: it cannot begin here. */
static bool
begin_copy(Copy *copy, const Remote *remote, int64 now_ms)
{
	Oid			none = MyDatabaseId;

	/* the slot belongs to the database of whoever makes it; we are in none */
	MyDatabaseId = remote->database_id;
	PG_TRY();
	{
		COMPAT_SLOT_CREATE(copy->wish.name, true, RS_TEMPORARY, false);
	}
	PG_CATCH();
	{
		MyDatabaseId = none;
		PG_RE_THROW();
	}
	PG_END_TRY();
	MyDatabaseId = none;

	SpinLockAcquire(&MyReplicationSlot->mutex);
	memset(&MyReplicationSlot->data.plugin, 0, sizeof(NameData));
	strlcpy(NameStr(MyReplicationSlot->data.plugin), remote->plugin, NAMEDATALEN);
	SpinLockRelease(&MyReplicationSlot->mutex);
	put_values(remote);
	if (!has_wal(remote->restart_lsn))
	{
		ReplicationSlotRelease();
		ReplicationSlotDrop(copy->wish.name, true);
		strlcpy(copy->problem, "WAL that it needs is not here; it is copied when the consumer has gone on",
				sizeof(copy->problem));
		return false;
	}
	if (remote->snapshot != NULL)
		write_snapshot(remote->restart_lsn, remote->snapshot);
	ReplicationSlotRelease();
	copy->since_ms = now_ms;
	send_feedback(now_ms);
	ereport(LOG,
			(errmsg("copying logical replication slot \"%s\" from the leader", copy->wish.name)));
	return true;
}

/* Take the leader's values over, if they are newer. */
static void
update_copy(Copy *copy, const Remote *remote, const ReplicationSlotPersistentData *here)
{
	if (remote->restart_lsn < here->restart_lsn || remote->confirmed_lsn < here->confirmed_flush ||
		TransactionIdPrecedes(remote->catalog_xmin, here->catalog_xmin))
		return;
	if (remote->restart_lsn == here->restart_lsn && remote->confirmed_lsn == here->confirmed_flush &&
		remote->catalog_xmin == here->catalog_xmin)
		return;
	if (remote->restart_lsn != here->restart_lsn && remote->snapshot != NULL)
		write_snapshot(remote->restart_lsn, remote->snapshot);
	COMPAT_SLOT_ACQUIRE(copy->wish.name);
	put_values(remote);
	ReplicationSlotRelease();
}

/* Is it safe now?  Then it is kept. */
static void
judge_copy(Copy *copy, const Remote *remote, int64 now_ms)
{
	ReplicationSlotPersistentData here;
	bool		is_ours;
	bool		is_held;

	if (!look_here(copy->wish.name, &here, &is_ours))
		return;
	is_held = TransactionIdIsValid(remote->held_xmin) &&
		!TransactionIdPrecedes(here.catalog_xmin, remote->held_xmin);
	if (copy->since_ms == 0)
	{
		copy->since_ms = now_ms;
		send_feedback(now_ms);
	}
	if (!is_held || now_ms < copy->since_ms + SETTLE_MS)
	{
		snprintf(copy->problem, sizeof(copy->problem),
				 "slot \"%.40s\" of the leader does not hold back vacuum for it yet", copier.held_by);
		if (!is_held && now_ms >= copier.feedback_ms + FEEDBACK_EVERY_MS)
			send_feedback(now_ms);
		return;
	}
	copy->problem[0] = '\0';
	if (here.persistency == RS_PERSISTENT)
		return;
	COMPAT_SLOT_ACQUIRE(copy->wish.name);
	ReplicationSlotPersist();
	ReplicationSlotRelease();
	ereport(LOG,
			(errmsg("logical replication slot \"%s\" is safe to be used after a failover",
					copy->wish.name)));
}

static void
wait_for_replay(XLogRecPtr lsn)
{
	int64		deadline_ms = clock_now_ms() + REPLAY_WAIT_MS;

	while (replayed(NULL) < lsn && clock_now_ms() < deadline_ms)
		nap(20);
}

/* What keeps the leader's slot from being copied; NULL: nothing. */
static const char *
why_not(const Copy *copy, const Remote *remote)
{
	if (!remote->exists)
		return "the leader has no such slot";
	if (remote->is_lost)
		return "the leader's slot has lost WAL or rows that it needs";
	if (remote->is_two_phase)
		return "a slot with two_phase cannot be copied";
	if (strcmp(remote->database, copy->wish.database) != 0 || strcmp(remote->plugin, copy->wish.plugin) != 0)
		return "the leader's slot has another database or plugin";
	return NULL;
}

static void
keep_copy(Copy *copy, Remote *remote)
{
	const char *problem = why_not(copy, remote);
	ReplicationSlotPersistentData here;
	bool		is_ours = true;
	bool		is_here = look_here(copy->wish.name, &here, &is_ours);
	TimeLineID	timeline;
	int64		now_ms;

	(void) replayed(&timeline);
	if (problem == NULL && timeline != remote->timeline)
		problem = "this standby is not on the leader's timeline yet";
	if (problem == NULL && is_here &&
		(here.database == InvalidOid || !is_ours))
		problem = "a slot of this name is in use here";
	if (problem != NULL)
	{
		strlcpy(copy->problem, problem, sizeof(copy->problem));
		return;
	}
	if (is_here && here.confirmed_flush > remote->confirmed_lsn &&
		here.confirmed_flush > timeline_begin(timeline))
	{
		ReplicationSlotDrop(copy->wish.name, true);
		ereport(LOG,
				(errmsg("dropped logical replication slot \"%s\" to copy it anew", copy->wish.name),
				 errdetail("It was ahead of the leader, on a timeline that has ended.")));
		copy->since_ms = 0;
		is_here = false;
	}
	wait_for_replay(remote->confirmed_lsn);
	if (replayed(NULL) < remote->confirmed_lsn)
	{
		strlcpy(copy->problem, "this standby has not replayed yet what the consumer has", sizeof(copy->problem));
		return;
	}

	/* No snapshot: it was never needed, or it went while it was being read. */
	if ((!is_here || here.restart_lsn != remote->restart_lsn) && remote->snapshot == NULL &&
		copy->bare_lsn != remote->restart_lsn)
	{
		copy->bare_lsn = remote->restart_lsn;
		if (!is_here)
			strlcpy(copy->problem, "it is being read from the leader", sizeof(copy->problem));
		return;
	}
	now_ms = clock_now_ms();
	if (is_here)
		update_copy(copy, remote, &here);
	else if (!begin_copy(copy, remote, now_ms))
		return;
	judge_copy(copy, remote, now_ms);
}

/* --- a round --- */

static XLogRecPtr
lsn_value(const PGresult *result, int row, int column)
{
	unsigned	high;
	unsigned	low;

	if (PQgetisnull(result, row, column) || sscanf(PQgetvalue(result, row, column), "%X/%X", &high, &low) != 2)
		return InvalidXLogRecPtr;
	return ((XLogRecPtr) high << 32) | low;
}

static TransactionId
xid_value(const PGresult *result, int row, int column)
{
	return PQgetisnull(result, row, column) ? InvalidTransactionId :
		(TransactionId) strtoul(PQgetvalue(result, row, column), NULL, 10);
}

/* All slots at once; names are of characters that need no quoting. */
static PGresult *
read_leader(void)
{
	StringInfoData query;
	int			version = PQserverVersion(copier.conn);

	initStringInfo(&query);
	appendStringInfo(&query,
					 "SELECT s.slot_name, s.database, s.plugin, s.datoid, s.catalog_xmin, h.catalog_xmin,"
					 " s.restart_lsn, s.confirmed_flush_lsn, %s, %s,"
					 " CASE WHEN s.restart_lsn <> k.lsn THEN pg_catalog.encode(pg_catalog.pg_read_binary_file("
					 "'pg_logical/snapshots/' || pg_catalog.replace(s.restart_lsn::pg_catalog.text, '/', '-') || '.snap',"
					 " 0, %d, true), 'hex') END,"
					 " pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 8)"
					 " FROM pg_catalog.pg_replication_slots s JOIN (VALUES ",
					 version >= 160000 ? "s.wal_status = 'lost' OR s.conflicting" : "s.wal_status = 'lost'",
					 version >= 140000 ? "s.two_phase" : "false", SNAPSHOT_FILE_MAX);
	for (int i = 0; i < copier.n_copies; i++)
	{
		ReplicationSlotPersistentData here;
		XLogRecPtr	known = InvalidXLogRecPtr;
		bool		is_ours;

		if (look_here(copier.copies[i].wish.name, &here, &is_ours))
			known = here.restart_lsn;
		appendStringInfo(&query, "%s('%s', '%X/%X'::pg_catalog.pg_lsn)", i > 0 ? ", " : "",
						 copier.copies[i].wish.name, (uint32) (known >> 32), (uint32) known);
	}
	appendStringInfo(&query,
					 ") AS k (name, lsn) ON k.name = s.slot_name LEFT JOIN pg_catalog.pg_replication_slots h"
					 " ON h.slot_name = '%s' WHERE s.slot_type = 'logical'%s",
					 copier.held_by, version >= 170000 ? " AND NOT s.failover" : "");
	return ask(query.data);
}

static void
find_remote(const PGresult *result, const char *name, Remote *remote)
{
	memset(remote, 0, sizeof(*remote));
	for (int row = 0; row < PQntuples(result); row++)
	{
		if (strcmp(PQgetvalue(result, row, 0), name) != 0)
			continue;
		remote->exists = true;
		strlcpy(remote->database, PQgetvalue(result, row, 1), sizeof(remote->database));
		strlcpy(remote->plugin, PQgetvalue(result, row, 2), sizeof(remote->plugin));
		remote->database_id = (Oid) strtoul(PQgetvalue(result, row, 3), NULL, 10);
		remote->catalog_xmin = xid_value(result, row, 4);
		remote->held_xmin = xid_value(result, row, 5);
		remote->restart_lsn = lsn_value(result, row, 6);
		remote->confirmed_lsn = lsn_value(result, row, 7);
		remote->is_lost = strcmp(PQgetvalue(result, row, 8), "t") == 0 ||
			remote->restart_lsn == InvalidXLogRecPtr || remote->confirmed_lsn == InvalidXLogRecPtr ||
			remote->database_id == InvalidOid || !TransactionIdIsValid(remote->catalog_xmin);
		remote->is_two_phase = strcmp(PQgetvalue(result, row, 9), "t") == 0;
		if (!PQgetisnull(result, row, 10))
			remote->snapshot = PQgetvalue(result, row, 10);
		remote->timeline = (TimeLineID) strtoul(PQgetvalue(result, row, 11), NULL, 16);
	}
}

/* What the worker wants now.  Leave when that is nothing. */
static void
read_wishes(void)
{
	SlotShare  *share = &patroni_shared_memory()->slots;
	static Copy fresh[SLOT_WISHES_MAX];
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
	strlcpy(copier.conninfo, share->conninfo, sizeof(copier.conninfo));
	strlcpy(copier.password, share->password, sizeof(copier.password));
	strlcpy(copier.held_by, share->held_by, sizeof(copier.held_by));
	LWLockRelease(patroni_shared_memory()->lock);

	disconnect();
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
	PGresult   *volatile result = NULL;
	volatile bool is_safe = true;

	read_wishes();
	if (!connect_to_leader() || (result = read_leader()) == NULL)
		return AFTER_ERROR_MS;
	PG_TRY();
	{
		for (int i = 0; i < copier.n_copies; i++)
		{
			Remote		remote;

			find_remote(result, copier.copies[i].wish.name, &remote);
			keep_copy(&copier.copies[i], &remote);
			if (copier.copies[i].problem[0] != '\0')
				is_safe = false;
		}
	}
	PG_FINALLY();
	{
		PQclear(result);
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
		disconnect();
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
		nap(guarded_round());
	}
}
