/*-------------------------------------------------------------------------
 *
 * recovery.c
 *      What has to be done before a standby's recovery begins.
 *
 * The supervisor does it before it starts the server.  But after the crash of
 * a child the postmaster stops all others and begins recovery anew without the
 * supervisor.  It makes the shared memory anew then, so the hook for that is
 * the place: no child lives, and the startup process comes next.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "worker/recovery.h"

#include <unistd.h>

#include "access/xlog.h"
#include "catalog/pg_control.h"
#include "common/controldata_utils.h"
#include "miscadmin.h"
#include "storage/ipc.h"

#include "postgres/unused_history.h"

static shmem_startup_hook_type previous_startup_hook;

/*
 * A standby must not go to a timeline of which it has a history file and no
 * WAL: see unused_history.c.  A primary's files stay: they mark timeline ids
 * as taken, and its recovery goes to no other timeline.
 */
static void
before_recovery(void)
{
	ControlFileData *control;
	bool		is_intact;
	TimeLineID	timeline;
	int			n_removed;

	if (previous_startup_hook)
		previous_startup_hook();
	if (IsUnderPostmaster || access(STANDBY_SIGNAL_FILE, F_OK) != 0)
		return;
	control = get_controlfile(DataDir, &is_intact);
	timeline = Max(control->checkPointCopy.ThisTimeLineID, control->minRecoveryPointTLI);
	pfree(control);
	if (!is_intact)
		return;					/* the server says so itself */
	n_removed = history_files_remove_unused(DataDir, timeline);
	if (n_removed > 0)
		ereport(LOG,
				(errmsg_plural("removed %d history file of a timeline without WAL",
							   "removed %d history files of timelines without WAL",
							   n_removed, n_removed),
				 errdetail("Recovery would read the WAL of an older timeline in its place, also beyond the fork.")));
}

/* For _PG_init() in the postmaster of a managed server. */
void
recovery_init(void)
{
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = before_recovery;
}
