/*-------------------------------------------------------------------------
 *
 * slot_maker.c
 *      A short process on a primary that makes one logical slot.
 *
 * That needs a connection to its database, and waits for transactions that
 * are under way there.  The wait is bounded: another slot may be wanted in
 * another database, and the engine asks again.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "worker/shared.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"

#include "worker/compat.h"
#include "worker/slots.h"

#define MAKE_TIMEOUT_MS		60000

extern PGDLLEXPORT void patroni_slot_maker_main(Datum argument);

static void
detach(int code, Datum argument)
{
	PatroniShared *shared = patroni_shared_memory();

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (shared->slots.maker_pid == MyProcPid)
		shared->slots.maker_pid = 0;
	LWLockRelease(shared->lock);
}

/* The process's life. */
void
patroni_slot_maker_main(Datum argument)
{
	PatroniShared *shared = patroni_shared_memory();
	SlotWish	wish;
	char		query[512];

	(void) argument;
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	if (shared == NULL || shared->version != SHARED_VERSION)
		proc_exit(0);
	before_shmem_exit(detach, (Datum) 0);
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (shared->slots.maker_pid == 0)
		shared->slots.maker_pid = MyProcPid;
	wish = shared->slots.to_make;
	LWLockRelease(shared->lock);
	if (shared->slots.maker_pid != MyProcPid || wish.name[0] == '\0')
		proc_exit(0);

	BackgroundWorkerInitializeConnection(wish.database, NULL, 0);
	enable_timeout_after(STATEMENT_TIMEOUT, MAKE_TIMEOUT_MS);
	StartTransactionCommand();
	SPI_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
	snprintf(query, sizeof(query), "SELECT pg_catalog.pg_create_logical_replication_slot(%s, %s)",
			 quote_literal_cstr(wish.name), quote_literal_cstr(wish.plugin));
	pgstat_report_activity(STATE_RUNNING, query);
	if (SPI_execute(query, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not make replication slot \"%s\"", wish.name);
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	ereport(LOG,
			(errmsg("created logical replication slot \"%s\" in database \"%s\"", wish.name,
					wish.database)));
	proc_exit(0);
}
