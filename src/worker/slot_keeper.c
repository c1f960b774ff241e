/*-------------------------------------------------------------------------
 *
 * slot_keeper.c
 *      The worker's side of replication slots: looks at them, and makes,
 *      moves and drops them as the engine wants.
 *
 * Physical slots are changed right here, in shared memory.  Logical ones need
 * a database (to make one) or a connection to the leader (to copy one): that
 * is done by processes that are started for it (slot_maker.c, slot_copier.c),
 * so that the worker never waits.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "worker/worker.h"

#include <string.h>

#include "access/xlog.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "replication/slot.h"
#include "replication/walsender_private.h"
#include "storage/lwlock.h"
#include "storage/spin.h"

#include "base/clock.h"
#include "cluster/ascii.h"
#include "postgres/postgres_files.h"
#include "worker/compat.h"
#include "worker/slots.h"

#define START_EVERY_MS		2000	/* a process that does not come up is not started without end */

static int64 copier_started_ms;
static int64 maker_started_ms;

/* --- looking --- */

/* What is known of logical slots beside what shared memory says of them. */
static void
add_reports(HaPostgres *now)
{
	SlotShare  *share = &patroni_shared_memory()->slots;

	LWLockAcquire(patroni_shared_memory()->lock, LW_SHARED);
	for (int i = 0; i < now->n_slots; i++)
	{
		HaSlot	   *slot = &now->slots[i];

		if (!slot->is_logical)
			continue;
		for (int k = 0; k < share->n_wishes; k++)
		{
			if (strcmp(share->wishes[k].name, slot->name) == 0)
				strlcpy(slot->database, share->wishes[k].database, sizeof(slot->database));
		}
		if (now->is_in_recovery && !slot->is_native)
			strlcpy(slot->problem, "it has not been compared with the leader's yet", sizeof(slot->problem));
		for (int k = 0; k < share->n_reports && now->is_in_recovery; k++)
		{
			if (strcmp(share->reports[k].name, slot->name) == 0)
				strlcpy(slot->problem, share->reports[k].problem, sizeof(slot->problem));
		}
	}
	LWLockRelease(patroni_shared_memory()->lock);
}

/*
 * A consumer can have confirmed more than there is, if it was ahead of this
 * server when that was promoted.  What has been written since in that place is
 * not sent.
 */
static void
find_consumers_ahead(HaPostgres *now)
{
	XLogRecPtr	end = COMPAT_FLUSH_LSN();

	for (int i = 0; i < now->n_slots; i++)
	{
		if (now->slots[i].is_logical && now->slots[i].confirmed_lsn > end)
			strlcpy(now->slots[i].problem, "its consumer was ahead of this server and misses changes",
					sizeof(now->slots[i].problem));
	}
}

/* Fill in the slots of this server. */
void
slot_keeper_look(const Worker *worker, HaPostgres *now)
{
	pid_t		copier_pid = worker->has_shared ? patroni_shared_memory()->slots.copier_pid : 0;
	bool		has_logical = false;

	memset(now->slots, 0, now->n_slots * sizeof(now->slots[0]));
	now->n_slots = 0;
	if (max_replication_slots <= 0)
		return;

	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	for (int i = 0; i < max_replication_slots &&
		 now->n_slots < (int) lengthof(now->slots); i++)
	{
		ReplicationSlot *slot = &ReplicationSlotCtl->replication_slots[i];
		HaSlot	   *seen = &now->slots[now->n_slots];

		if (!slot->in_use)
			continue;
		SpinLockAcquire(&slot->mutex);
		if (slot->data.persistency == RS_PERSISTENT ||
			(slot->data.persistency == RS_TEMPORARY && copier_pid != 0 && slot->active_pid == copier_pid))
		{
			/* no function calls here but these: a spinlock is held */
			memcpy(seen->name, NameStr(slot->data.name), Min(sizeof(seen->name), sizeof(NameData)));
			memcpy(seen->plugin, NameStr(slot->data.plugin), Min(sizeof(seen->plugin), sizeof(NameData)));
			seen->is_active = slot->active_pid != 0;
			seen->is_logical = SlotIsLogical(slot);
			seen->is_native = COMPAT_SLOT_IS_NATIVE(slot);
			seen->is_lost = COMPAT_SLOT_IS_LOST(slot);
			seen->is_copying = slot->data.persistency == RS_TEMPORARY;
			seen->has_xmin = !seen->is_logical &&
				(TransactionIdIsValid(slot->data.xmin) || TransactionIdIsValid(slot->data.catalog_xmin));
			seen->restart_lsn = slot->data.restart_lsn;
			seen->confirmed_lsn = seen->is_logical ? slot->data.confirmed_flush : InvalidXLogRecPtr;
			has_logical |= seen->is_logical;
			now->n_slots++;
		}
		SpinLockRelease(&slot->mutex);
		seen->name[sizeof(seen->name) - 1] = '\0';
		seen->plugin[sizeof(seen->plugin) - 1] = '\0';
	}
	LWLockRelease(ReplicationSlotControlLock);
	if (has_logical && worker->has_shared)
		add_reports(now);
	if (has_logical && !now->is_in_recovery)
		find_consumers_ahead(now);
}

/* Could this standby become primary? */
static bool
may_be_promoted(const ClusterView *view, const char *application_name)
{
	for (int i = 0; i < view->n_members; i++)
	{
		const Member *member = &view->members[i];

		/* application names are matched without case */
		if (ascii_is_same(member->name, application_name))
			return !member->tags.nofailover;
	}
	return false;
}

/*
 * Tell the walsenders of logical consumers for which standbys to wait.  As
 * there may be some for minutes after the list of slots was emptied, what
 * counts is whether there is a permanent logical slot here.
 */
void
slot_keeper_candidates(const Worker *worker, const HaPostgres *now, const WatchedSender *senders)
{
	const ClusterView *view = host_view(worker->host);
	const Settings *settings = host_settings(worker->host);
	PatroniShared *shared = patroni_shared_memory();
	SlotCandidate candidates[SLOT_CANDIDATES_MAX];
	bool		has_logical = false;
	int			n = 0;

	if (!worker->has_shared)
		return;
	for (int i = 0; i < now->n_slots; i++)
		has_logical |= now->slots[i].is_logical;
	memset(candidates, 0, sizeof(candidates));
	for (int i = 0; has_logical && !now->is_in_recovery && view != NULL && i < now->n_senders; i++)
	{
		/* one that catches up may be promoted when it is near enough */
		bool		is_near = senders[i].state == WALSNDSTATE_STREAMING ||
			senders[i].state == WALSNDSTATE_STOPPING ||
			(senders[i].state == WALSNDSTATE_CATCHUP && settings != NULL &&
			 now->senders[i].flush_lsn != InvalidXLogRecPtr &&
			 (int64) (now->flush_lsn - now->senders[i].flush_lsn) <= settings->maximum_lag_on_failover);

		if (n < SLOT_CANDIDATES_MAX && is_near && may_be_promoted(view, now->senders[i].application_name))
			candidates[n++] = (SlotCandidate) {senders[i].pid, senders[i].index};
	}
	/* nobody else writes it */
	if (n == shared->slots.n_candidates && memcmp(candidates, shared->slots.candidates, sizeof(candidates)) == 0)
		return;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->slots.n_candidates = n;
	memcpy(shared->slots.candidates, candidates, sizeof(candidates));
	LWLockRelease(shared->lock);
}

/* --- physical slots --- */

/*
 * It keeps WAL from now on.  It is ephemeral until all is done, so that a
 * failure half-way leaves nothing behind.
 */
static void
create_physical(const char *name)
{
	if (SearchNamedReplicationSlot(name, true) != NULL)
		return;
	COMPAT_SLOT_CREATE(name, false, RS_EPHEMERAL, false);
	ReplicationSlotReserveWal();
	ReplicationSlotMarkDirty();
	ReplicationSlotSave();
	ReplicationSlotPersist();
	ReplicationSlotRelease();
	ereport(LOG, (errmsg("created physical replication slot \"%s\"", name)));
}

/* Nobody uses it, and is it logical? */
static bool
is_free(const char *name, bool *is_logical)
{
	ReplicationSlot *slot = SearchNamedReplicationSlot(name, true);
	bool		is_free;

	if (slot == NULL)
		return false;
	SpinLockAcquire(&slot->mutex);
	is_free = slot->active_pid == 0;
	*is_logical = SlotIsLogical(slot);
	SpinLockRelease(&slot->mutex);
	return is_free;
}

/* HA_DROP_SLOT */
void
slot_keeper_drop(const HaAction *action)
{
	bool		is_logical;

	if (!is_free(action->slot, &is_logical))
		return;
	/* should somebody connect to it right now, this raises an ERROR */
	ReplicationSlotDrop(action->slot, true);
	ereport(LOG,
			(errmsg("dropped %s replication slot \"%s\"", is_logical ? "logical" : "physical",
					action->slot),
			 errdetail_internal("%s", action->because)));
}

/* HA_ADVANCE_SLOT: as pg_replication_slot_advance() does it. */
void
slot_keeper_advance(const HaAction *action)
{
	bool		is_logical;

	if (!is_free(action->slot, &is_logical) || is_logical)
		return;
	COMPAT_SLOT_ACQUIRE(action->slot);
	if (MyReplicationSlot->data.restart_lsn != InvalidXLogRecPtr &&
		MyReplicationSlot->data.restart_lsn < action->lsn)
	{
		SpinLockAcquire(&MyReplicationSlot->mutex);
		MyReplicationSlot->data.restart_lsn = action->lsn;
		SpinLockRelease(&MyReplicationSlot->mutex);
		ReplicationSlotMarkDirty();
		ReplicationSlotsComputeRequiredXmin(false);
		ReplicationSlotsComputeRequiredLSN();
	}
	ReplicationSlotRelease();
}

/* --- logical slots --- */

static void
start_process(const char *name, const char *function, bool needs_database)
{
	BackgroundWorker process;
	BackgroundWorkerHandle *handle;

	memset(&process, 0, sizeof(process));
	strlcpy(process.bgw_name, name, sizeof(process.bgw_name));
	strlcpy(process.bgw_type, name, sizeof(process.bgw_type));
	process.bgw_flags = BGWORKER_SHMEM_ACCESS |
		(needs_database ? BGWORKER_BACKEND_DATABASE_CONNECTION : 0);
	process.bgw_start_time = needs_database ? BgWorkerStart_RecoveryFinished : BgWorkerStart_ConsistentState;
	process.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(process.bgw_library_name, WORKER_LIBRARY, sizeof(process.bgw_library_name));
	strlcpy(process.bgw_function_name, function, sizeof(process.bgw_function_name));
	if (!RegisterDynamicBackgroundWorker(&process, &handle))
		ereport(WARNING,
				(errmsg("could not start process \"%s\"", name),
				 errhint("Raise \"max_worker_processes\".")));
}

static void
make_logical(Worker *worker, const HaAction *action)
{
	PatroniShared *shared = patroni_shared_memory();
	int64		now_ms = clock_now_ms();
	SlotWish	wish;

	if (!worker->has_shared || RecoveryInProgress() ||
		SearchNamedReplicationSlot(action->slot, true) != NULL)
		return;
	memset(&wish, 0, sizeof(wish));
	strlcpy(wish.name, action->slot, sizeof(wish.name));
	strlcpy(wish.database, action->database, sizeof(wish.database));
	strlcpy(wish.plugin, action->plugin, sizeof(wish.plugin));
	/* one at a time: the engine asks again */
	if (shared->slots.maker_pid != 0 || now_ms < maker_started_ms + START_EVERY_MS)
		return;
	maker_started_ms = now_ms;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->slots.to_make = wish;
	LWLockRelease(shared->lock);
	start_process("patroni slot maker", SLOT_MAKER_FUNCTION, true);
}

/* HA_CREATE_SLOT */
void
slot_keeper_create(Worker *worker, const HaAction *action)
{
	if (action->plugin[0] != '\0')
		make_logical(worker, action);
	else
		create_physical(action->slot);
}

static int
read_wishes(const char *text, SlotWish wishes[SLOT_WISHES_MAX])
{
	json_t	   *list = text == NULL ? NULL : json_loads(text, 0, NULL);
	json_t	   *item;
	size_t		i;
	int			n = 0;

	memset(wishes, 0, sizeof(SlotWish) * SLOT_WISHES_MAX);
	json_array_foreach(list, i, item)
	{
		const char *name = json_string_value(json_object_get(item, "name"));
		const char *database = json_string_value(json_object_get(item, "database"));
		const char *plugin = json_string_value(json_object_get(item, "plugin"));

		if (n == SLOT_WISHES_MAX || name == NULL || database == NULL || plugin == NULL)
			continue;
		strlcpy(wishes[n].name, name, sizeof(wishes[n].name));
		strlcpy(wishes[n].database, database, sizeof(wishes[n].database));
		strlcpy(wishes[n].plugin, plugin, sizeof(wishes[n].plugin));
		n++;
	}
	json_decref(list);
	return n;
}

/* HA_COPY_SLOTS: tell the copier, and see that there is one. */
void
slot_keeper_copy(Worker *worker, const HaAction *action)
{
	PatroniShared *shared = patroni_shared_memory();
	const Settings *settings = host_settings(worker->host);
	const Credentials *user;
	static SlotShare wanted;
	int64		now_ms = clock_now_ms();
	Error		error;
	bool		is_running;

	if (!worker->has_shared || settings == NULL)
		return;
	memset(&wanted, 0, sizeof(wanted));
	wanted.n_wishes = read_wishes(action->text, wanted.wishes);
	user = settings->use_pg_rewind && settings->rewind.exists ? &settings->rewind : &settings->superuser;
	error_clear(&error);
	if (wanted.n_wishes > 0 &&
		!conninfo_for_tool(settings, user, action->url, NULL, wanted.conninfo,
						   sizeof(wanted.conninfo), &error))
	{
		ereport(WARNING, (errmsg("cannot copy replication slots: %s", error.message)));
		return;
	}
	strlcpy(wanted.password, user->password, sizeof(wanted.password));
	strlcpy(wanted.held_by, action->slot, sizeof(wanted.held_by));

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (strcmp(wanted.conninfo, shared->slots.conninfo) != 0 ||
		strcmp(wanted.password, shared->slots.password) != 0 ||
		strcmp(wanted.held_by, shared->slots.held_by) != 0 ||
		wanted.n_wishes != shared->slots.n_wishes ||
		memcmp(wanted.wishes, shared->slots.wishes, sizeof(wanted.wishes)) != 0)
	{
		memcpy(shared->slots.conninfo, wanted.conninfo, sizeof(wanted.conninfo));
		memcpy(shared->slots.password, wanted.password, sizeof(wanted.password));
		memcpy(shared->slots.held_by, wanted.held_by, sizeof(wanted.held_by));
		memcpy(shared->slots.wishes, wanted.wishes, sizeof(wanted.wishes));
		shared->slots.n_wishes = wanted.n_wishes;
		shared->slots.n_reports = 0;
		shared->slots.number++;
	}
	is_running = shared->slots.copier_pid != 0;
	if (is_running && shared->slots.copier_latch != NULL)
		SetLatch(shared->slots.copier_latch);
	LWLockRelease(shared->lock);
	explicit_bzero(wanted.password, sizeof(wanted.password));

	if (wanted.n_wishes > 0 && !is_running && RecoveryInProgress() &&
		now_ms >= copier_started_ms + START_EVERY_MS)
	{
		copier_started_ms = now_ms;
		start_process("patroni slot copier", SLOT_COPIER_FUNCTION, false);
	}
}
