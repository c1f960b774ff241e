/*-------------------------------------------------------------------------
 *
 * sync_watch.c
 *      Sets synchronous_standby_names, and tells the engine what is in force.
 *
 * The names are in a file of their own which postgresql.conf includes last,
 * so that they can be replaced without touching the rest; the server reads
 * them by a reload.
 *
 * Invariants:
 *  (1) is_sync_settled says that every process that may let a commit go does
 *      so by now->sync_names.  It is false as long as the file has a number
 *      that anybody has not read, whoever wrote it.
 *  (2) sync_names_lsn is an own end of WAL that was read after that: whatever
 *      was acknowledged under older names is before it.
 *
 * What the names shall be is decided in src/ha/sync.c.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "worker/worker.h"

#include <stdlib.h>
#include <string.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "cluster/ascii.h"
#include "replication/message.h"
#include "replication/syncrep.h"
#include "replication/walsender.h"
#include "replication/walsender_private.h"
#include "storage/spin.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"

#include "base/clock.h"
#include "ha/sync_plan.h"
#include "postgres/postgres_dir.h"
#include "worker/compat.h"
#include "worker/sync.h"

#define RELOAD_EVERY_MS		5000	/* while somebody has not read the file */
#define EAGER_MS			300		/* so long a change is looked for each 2 ms */

typedef struct SyncWatch
{
	SyncNames	names;			/* in this process */
	char		text[HA_SYNC_NAMES_MAX];	/* the same */
	bool		is_too_long;	/* for HaPostgres: then nothing is ever settled */
	bool		is_overridden;
	uint32		generation;		/* in this process */
	uint32		file_generation;	/* as last written or read */
	int64		file_at_ms;

	bool		is_settled;
	uint32		settled_generation;	/* that lsn is about */
	XLogRecPtr	lsn;
	int64		unsettled_ms;	/* since when; 0 = is settled */
	int64		reload_at_ms;
	uint32		changes;		/* of walsenders, as last seen */
} SyncWatch;

static SyncWatch watch;

/* The settings may be others: read them again.  Called with the turn's context. */
void
sync_watch_settings(void)
{
	const char *generation = GetConfigOption("patroni.sync_generation", true, false);
	const char *names = GetConfigOption("synchronous_standby_names", true, false);
	struct config_generic **variables;
	int			n_variables = 0;

	watch.file_at_ms = 0;		/* whoever had them read again may have written it */
	watch.generation = generation == NULL ? 0 : (uint32) strtoul(generation, NULL, 10);
	watch.is_too_long = names != NULL && strlen(names) >= sizeof(watch.text);
	memset(watch.text, 0, sizeof(watch.text));
	if (names != NULL && !watch.is_too_long)
		strlcpy(watch.text, names, sizeof(watch.text));
	(void) sync_names_parse(&watch.names, names);

	watch.is_overridden = false;
	variables = COMPAT_GUC_VARIABLES(&n_variables);
	for (int i = 0; i < n_variables; i++)
	{
		const char *file = variables[i]->sourcefile;
		const char *slash = file == NULL ? NULL : strrchr(file, '/');

		if (strcmp(variables[i]->name, "synchronous_standby_names") == 0 && file != NULL)
			watch.is_overridden = strcmp(slash == NULL ? file : slash + 1, CONF_SYNC_FILE) == 0;
	}

	/*
	 * Commits that wait are let go by the checkpointer, which may be in the
	 * middle of a checkpoint.  When nobody is to be waited for any more, this
	 * process can do it as well: to be told so twice does no harm.
	 */
	if (watch.text[0] == '\0' && !watch.is_too_long && COMPAT_SYNC_STANDBYS_DEFINED())
		SyncRepUpdateSyncStandbysDefined();
}

static bool
is_named(const char *name)
{
	if (watch.names.kind == SYNC_NAMES_ALL)
		return true;
	for (int i = 0; i < watch.names.n_names; i++)
	{
		/* a standby called "*" in a list stands for all */
		if (ascii_is_same(watch.names.names[i], name))
			return true;
	}
	return false;
}

/* Has this walsender read what this process has?  *generation 0: it reports nothing. */
static bool
find_report(const SyncReports *reports, pid_t pid, uint32 *generation)
{
	for (int i = 0; i < SYNC_REPORTS_MAX; i++)
	{
		SyncReport *report = (SyncReport *) &reports->walsenders[i];

		if (pg_atomic_read_u32(&report->pid) != (uint32) pid)
			continue;
		*generation = pg_atomic_read_u32(&report->generation);
		return true;
	}
	return false;
}

/*
 * An entry in the list of standbys that commits wait for?  As
 * pg_stat_get_wal_senders().
 */
static SyncWalsender
sender_state(int index, pid_t pid, int priority, const SyncRepStandbyData *chosen, int n_chosen)
{
	if (priority == 0)
		return SYNC_WALSENDER_ASYNC;
	for (int i = 0; i < n_chosen; i++)
	{
		if (chosen[i].walsnd_index == index && chosen[i].pid == pid)
			return watch.names.kind == SYNC_NAMES_QUORUM ? SYNC_WALSENDER_QUORUM : SYNC_WALSENDER_SYNC;
	}
	return SYNC_WALSENDER_POTENTIAL;
}

/*
 * Look at the walsenders that "now" lists: are they synchronous, and have they
 * read the names?  Returns whether all have.
 */
static bool
look_at_walsenders(const SyncReports *reports, HaPostgres *now, const WatchedSender *senders)
{
	SyncRepStandbyData *chosen = NULL;
	int			n_chosen = SyncRepGetCandidateStandbys(&chosen);
	bool		is_settled = true;

	for (int i = 0; i < now->n_senders; i++)
	{
		const WatchedSender *sender = &senders[i];
		uint32		generation = 0;

		if (!find_report(reports, sender->pid, &generation))
		{
			/* it ends, or there are too many of them */
			now->senders[i].is_streaming = false;
			now->senders[i].sync_state = SYNC_WALSENDER_ASYNC;
			continue;
		}
		now->senders[i].sync_state = sender_state(sender->index, sender->pid, sender->priority,
												  chosen, n_chosen);
		/* before it streams a walsender lets nothing go, and reads its settings first */
		if (sender->state != WALSNDSTATE_STREAMING && sender->state != WALSNDSTATE_STOPPING)
			continue;
		if (generation != watch.generation ||
			(sender->priority != 0 && !is_named(now->senders[i].application_name)))
			is_settled = false;
	}
	return is_settled;
}

/*
 * Some WAL, so that all standbys confirm something soon: a commit that waits
 * for one that is no longer waited for is let go only when another one
 * reports, and without new WAL that may take ten seconds.
 */
static void
make_standbys_report(void)
{
	XLogFlush(COMPAT_LOG_MESSAGE("patroni", "sync", 4));
}

static void
note_settled(HaPostgres *now, bool is_settled, int64 now_ms)
{
	if (!is_settled)
	{
		if (watch.unsettled_ms == 0)
			watch.unsettled_ms = now_ms;
		watch.is_settled = false;
		watch.lsn = InvalidXLogRecPtr;
		return;
	}
	watch.unsettled_ms = 0;
	watch.is_settled = true;
	if (now->is_in_recovery)
		watch.lsn = InvalidXLogRecPtr;
	else if (watch.lsn == InvalidXLogRecPtr || watch.settled_generation != watch.generation)
	{
		watch.lsn = COMPAT_FLUSH_LSN();
		watch.settled_generation = watch.generation;
		if (watch.text[0] != '\0' && watch.is_overridden)
			make_standbys_report();
	}
}

/* Fill in what "now" says of synchronous replication. */
void
sync_watch_look(Worker *worker, HaPostgres *now, const WatchedSender *senders, int64_t now_ms)
{
	PatroniShared *shared = patroni_shared_memory();
	const Settings *settings = host_settings(worker->host);
	bool		is_settled;

	now->has_sync = worker->has_shared && !watch.is_too_long;
	now->is_sync_settled = false;
	if (!worker->has_shared)
		return;
	watch.changes = pg_atomic_read_u32(&shared->sync.changes);
	if (settings != NULL &&
		now_ms - watch.file_at_ms >= Max(OBSERVE_FILES_MS, observer_files_interval_ms(worker, now_ms)))
	{
		watch.file_generation = conf_read_sync_generation(settings);
		watch.file_at_ms = now_ms;
	}
	is_settled = look_at_walsenders(&shared->sync, now, senders) && settings != NULL &&
		watch.file_generation == watch.generation &&
		pg_atomic_read_u32(&shared->sync.checkpointer) == watch.generation &&
		COMPAT_SYNC_STANDBYS_DEFINED() == (watch.text[0] != '\0' || watch.is_too_long);
	note_settled(now, is_settled, now_ms);

	now->is_sync_settled = watch.is_settled;
	now->is_sync_overridden = watch.is_overridden;
	now->sync_generation = watch.generation;
	now->sync_names_lsn = watch.lsn;
	memcpy(now->sync_names, watch.text, sizeof(now->sync_names));
}

/* Has a walsender come or gone since the last look? */
bool
sync_watch_is_due(const Worker *worker)
{
	PatroniShared *shared = patroni_shared_memory();

	return worker->has_shared && pg_atomic_read_u32(&shared->sync.changes) != watch.changes;
}

/* How often to look for what is under way; 0 = nothing is. */
int
sync_watch_interval_ms(const Worker *worker, int64_t now_ms)
{
	if (!worker->has_shared || watch.unsettled_ms == 0)
		return 0;
	return now_ms - watch.unsettled_ms < EAGER_MS ? OBSERVE_PROMOTING_MS : OBSERVE_STARTING_MS;
}

/*
 * Somebody has not read the file for long: the signal was lost with whoever
 * should have sent it, or a process reads nothing now.
 */
void
sync_watch_turn(const Worker *worker, int64_t now_ms)
{
	Error		error;

	if (!worker->has_shared || watch.unsettled_ms == 0 || !worker_holds_baton(worker) ||
		now_ms - watch.unsettled_ms < OBSERVE_FILES_MS || now_ms < watch.reload_at_ms)
		return;
	watch.reload_at_ms = now_ms + RELOAD_EVERY_MS;
	ereport(LOG,
			(errmsg("reloading the server: synchronous_standby_names is not in force everywhere yet"),
			 errdetail("It was changed %lld ms ago.", (long long) (now_ms - watch.unsettled_ms))));
	error_clear(&error);
	if (!postmaster_reload(PostmasterPid, &error))
		ereport(WARNING, (errmsg("%s", error.message)));
}

/* HA_SET_SYNC_NAMES.  names NULL: the operator's own value shall hold. */
bool
sync_watch_set(const Worker *worker, const char *names, Error *error)
{
	const Settings *settings = host_settings(worker->host);
	uint32		generation;

	if (settings == NULL || !worker->has_shared)
		return error_set(error, "the server does not know how to report them");
	generation = Max(Max(watch.generation, watch.file_generation),
					 conf_read_sync_generation(settings));
	if (generation >= PG_INT32_MAX)
		generation = 0;
	generation++;
	if (!conf_write_sync(settings, names, generation, error))
		return false;
	watch.file_generation = generation;
	watch.file_at_ms = clock_now_ms();
	watch.reload_at_ms = watch.file_at_ms + RELOAD_EVERY_MS;
	return postmaster_reload(PostmasterPid, error);
}
