/*-------------------------------------------------------------------------
 *
 * sync_report.c
 *      Each walsender and the checkpointer say which change of
 *      synchronous_standby_names they have read.
 *
 * Invariants:
 *  (1) A process reports a number only after it has taken over the names that
 *      belong to it: the file names them first, and settings come into force
 *      in the order of the file.
 *  (2) A walsender's entry is free again before its process has gone, and the
 *      worker is woken then: a standby that is lost is noticed at once.
 *
 * The worker's side is sync_watch.c, in the other library.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "worker/sync.h"

#include "worker/compat.h"

#include "miscadmin.h"
#include "postmaster/bgwriter.h"
#include "replication/walsender.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"

#include "worker/shared.h"

static int	sync_generation;	/* the setting, as this process has read it */
static SyncReport *own_report;	/* NULL: not a walsender, or no room */
static ClientAuthentication_hook_type previous_authentication_hook;

/* GUC assign hook: this process has read a change. */
static void
assign_sync_generation(int value, void *extra)
{
	PatroniShared *shared = patroni_shared_memory();

	if (shared == NULL || !IsUnderPostmaster)
		return;
	if (own_report != NULL)
		pg_atomic_write_u32(&own_report->generation, (uint32) value);
	else if (AmCheckpointerProcess())
		pg_atomic_write_u32(&shared->sync.checkpointer, (uint32) value);
}

static void
wake_worker(PatroniShared *shared)
{
	pg_atomic_fetch_add_u32(&shared->sync.changes, 1);
	LWLockAcquire(shared->lock, LW_SHARED);
	if (shared->worker_latch != NULL)
		SetLatch(shared->worker_latch);
	LWLockRelease(shared->lock);
}

static void
end_report(int code, Datum argument)
{
	PatroniShared *shared = patroni_shared_memory();
	SyncReport *report = own_report;

	own_report = NULL;
	pg_atomic_write_u32(&report->pid, 0);
	wake_worker(shared);
}

/* A connection for replication begins: take an entry. */
static void
begin_report(PatroniShared *shared)
{
	for (int i = 0; i < SYNC_REPORTS_MAX && own_report == NULL; i++)
	{
		SyncReport *report = &shared->sync.walsenders[i];
		uint32		nobody = 0;

		if (pg_atomic_read_u32(&report->pid) != 0 ||
			!pg_atomic_compare_exchange_u32(&report->pid, &nobody, (uint32) MyProcPid))
			continue;
		/* a setting that is read from here on reports itself */
		own_report = report;
		pg_atomic_write_u32(&report->generation, (uint32) sync_generation);
		before_shmem_exit(end_report, (Datum) 0);
	}
}

static void
report_authentication(Port *port, int status)
{
	PatroniShared *shared = patroni_shared_memory();

	if (previous_authentication_hook)
		previous_authentication_hook(port, status);
	if (status == STATUS_OK && am_walsender && shared != NULL && own_report == NULL)
		begin_report(shared);
}

/* Nobody has reported; called whenever the postmaster makes its shared memory. */
void
sync_report_init_memory(SyncReports *reports)
{
	pg_atomic_init_u32(&reports->checkpointer, (uint32) sync_generation);
	pg_atomic_init_u32(&reports->changes, 0);
	for (int i = 0; i < SYNC_REPORTS_MAX; i++)
	{
		pg_atomic_init_u32(&reports->walsenders[i].pid, 0);
		pg_atomic_init_u32(&reports->walsenders[i].generation, 0);
	}
}

/* Define the setting and watch for walsenders; for _PG_init(). */
void
sync_report_define(void)
{
	DefineCustomIntVariable("patroni.sync_generation",
							"Number of the last change of synchronous_standby_names by patroni.",
							"Written by the patroni worker; not for people.",
							&sync_generation,
							0, 0, PG_INT32_MAX,
							PGC_SIGHUP,
							GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE | GUC_DISALLOW_IN_AUTO_FILE,
							NULL, assign_sync_generation, NULL);
	previous_authentication_hook = ClientAuthentication_hook;
	ClientAuthentication_hook = report_authentication;
}
