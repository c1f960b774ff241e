/*-------------------------------------------------------------------------
 *
 * slot_copy.c
 *      Copies of the leader's logical slots in this server's shared memory.
 *
 * slot_copier.c says what must stay true.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "worker/slot_copy.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "access/timeline.h"
#include "access/transam.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#if PG_VERSION_NUM >= 150000
#include "access/xlogrecovery.h"
#endif
#include "miscadmin.h"
#include "replication/slot.h"
#include "replication/walreceiver.h"
#include "storage/fd.h"
#include "storage/spin.h"

#include "base/clock.h"
#include "worker/compat.h"

#define REPLAY_WAIT_MS		1000	/* for this server to come as far as the consumer */
#define SETTLE_MS			1500	/* feedback that was under way has arrived */
#define FEEDBACK_EVERY_MS	5000

static int64 feedback_ms;		/* when it was last asked for */

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

/* From where on the copy keeps WAL. */
XLogRecPtr
slot_copy_restart_lsn(const char *name)
{
	ReplicationSlotPersistentData here;
	bool		is_ours;

	return look_here(name, &here, &is_ours) ? here.restart_lsn : InvalidXLogRecPtr;
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
	feedback_ms = now_ms;
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
judge_copy(Copy *copy, const Remote *remote, const char *held_by, int64 now_ms)
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
				 "slot \"%.40s\" of the leader does not hold back vacuum for it yet", held_by);
		if (!is_held && now_ms >= feedback_ms + FEEDBACK_EVERY_MS)
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
		slot_copier_nap(20, PGINVALID_SOCKET, 0);
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

/* One round for one slot. */
void
slot_copy_keep(Copy *copy, Remote *remote, const char *held_by)
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
	judge_copy(copy, remote, held_by, now_ms);
}
