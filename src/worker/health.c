/*-------------------------------------------------------------------------
 *
 * health.c
 *      Does this server hang?  As seen from the inside.
 *
 * The probes of the supervisor try the disk with a file of their own.  What
 * only this process can see is that the server's own processes are stuck in
 * writing WAL: they say so in shared memory, as for pg_stat_activity.
 *
 * Invariant: nothing here takes a lock or touches the disk.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "worker/worker.h"

#include "pgstat.h"
#include "storage/proc.h"

#include "worker/compat.h"

#define HEALTH_LOOK_MS	100

/* Is some process in the middle of writing or flushing WAL? */
static bool
wal_is_awaited(void)
{
	for (uint32 i = 0; i < ProcGlobal->allProcCount; i++)
	{
		const volatile PGPROC *proc = &ProcGlobal->allProcs[i];

		if (proc->pid == 0)
			continue;
		switch (proc->wait_event_info)
		{
			case WAIT_EVENT_WAL_SYNC:
			case WAIT_EVENT_WAL_WRITE:
			case WAIT_EVENT_WAL_INIT_SYNC:
			case WAIT_EVENT_WAL_INIT_WRITE:
				return true;
			default:
				break;
		}
	}
	return false;
}

/* Look, and put the verdict into what is told of this server. */
void
health_look(Worker *worker, int64_t now_ms, HaPostgres *postgres)
{
	const Settings *settings = host_settings(worker->host);
	HealthFacts facts;

	if (settings == NULL ||
		(worker->health.looked_at_ms != 0 && now_ms - worker->health.looked_at_ms < HEALTH_LOOK_MS))
		return;
	memset(&facts, 0, sizeof(facts));
	facts.now_ms = now_ms;
	facts.wall_ms = clock_wall_ms();
	facts.connect_timeout_ms = settings->health_connect_timeout_ms;
	facts.disk_timeout_ms = settings->health_disk_timeout_ms;
	facts.takes_connections = postgres->server == HA_SERVER_RUNNING;
	facts.has_data = true;
	for (LeaseProbeKind kind = 0; kind < LEASE_PROBE_COUNT; kind++)
		health_probe_read(worker->page, kind, &facts.probes[kind]);
	facts.is_wal_awaited = wal_is_awaited();
	facts.flushed_lsn = postgres->is_in_recovery ? postgres->received_lsn : postgres->flush_lsn;
	health_watch_look(&worker->health, &facts);
	memset(postgres->hang, 0, sizeof(postgres->hang));
	strlcpy(postgres->hang, health_watch_verdict(&worker->health), sizeof(postgres->hang));
}
