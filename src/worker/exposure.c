/*-------------------------------------------------------------------------
 *
 * exposure.c
 *      Keeps clients waiting after a crash until the synchronous standbys
 *      have what they would see.
 *
 * A transaction whose commit waits for a synchronous standby is invisible.
 * When the server crashes meanwhile, recovery makes it visible although no
 * standby may have it: a client would read what the next failover loses.  So
 * after crash recovery of a primary with synchronous_standby_names, clients
 * are told to come back (SQLSTATE 57P03, as while the server starts), until
 * the synchronous standbys have everything that was recovered.
 *
 * Invariants:
 *  (1) It is decided before the first process of the server is forked, and it
 *      only ever ends.  So no session can be past the check while it lasts:
 *      all sessions of the time before the crash are gone.
 *  (2) It ends when the standbys that the server waits for have flushed a
 *      position that was flushed after recovery had ended, or when no
 *      standbys are named any more.
 *
 * Let in are superusers, standbys (physical replication), and pg_rewind and
 * the tools of HA members by their application_name: what they bring about is
 * needed to end it, and they show nothing to anybody.
 *
 * A clean shutdown has sent everything to the standbys that are connected; it
 * counts like a crash only when it has cut off the wait of a commit, or some
 * wait was cut off before, and the standbys do not have that commit yet.  The
 * lease page remembers this.
 *
 * Clients of a promoted standby are not held.  It alone may lead until it has
 * standbys of its own; in quorum mode nobody can without the vote of the former
 * leader, which has what it shows (src/ha/sync_plan.c).
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "worker/exposure.h"

#include <sys/stat.h>

#include "worker/compat.h"

#include "access/xlog.h"
#include "catalog/pg_control.h"
#include "common/controldata_utils.h"
#include "libpq/auth.h"
#include "replication/syncrep.h"
#include "replication/walsender.h"
#include "replication/walsender_private.h"
#include "storage/lwlock.h"
#include "utils/acl.h"

#include "base/lease_page.h"
#include "worker/shared.h"

/* As the supervisor names its connections, before the name of the member. */
#define TOOL_NAME_PREFIX	"Patroni "
#define REWIND_NAME			"pg_rewind"

static bool
standbys_are_named(void)
{
	return SyncRepStandbyNames != NULL && SyncRepStandbyNames[0] != '\0';
}

/* May recovery, or a start, show what was waiting for standbys? */
static bool
shows_unconfirmed(const LeasePage *page)
{
	ControlFileData *control;
	bool		is_valid;
	struct stat st;
	DBState		state;

	if (stat("standby.signal", &st) == 0 || stat("recovery.signal", &st) == 0)
		return false;
	control = get_controlfile(DataDir, &is_valid);
	state = control->state;
	pfree(control);
	if (!is_valid)
		return false;			/* the server does not start with it */
	if (state == DB_SHUTDOWNED)
		return page != NULL && atomic_load_explicit(&page->cut_off_lsn, memory_order_acquire) != 0;
	return state == DB_IN_PRODUCTION || state == DB_SHUTDOWNING || state == DB_IN_CRASH_RECOVERY;
}

/* The server starts, or starts again after a crash; in the postmaster. */
void
exposure_begin(FenceShared *shared)
{
	if (!standbys_are_named() || !shows_unconfirmed(patroni_lease_page()))
		return;
	pg_atomic_write_u32(&shared->exposure, EXPOSURE_HELD);
	ereport(LOG,
			(errmsg("clients wait until the synchronous standbys have the WAL of this server"),
			 errdetail("A commit that was waiting for them when the server ended will be visible, and a failover could lose it."),
			 errhint("Superusers and standbys can connect.")));
}

/* The wait of a commit for synchronous standbys was cut off.  Cannot fail. */
void
exposure_note_cut_off(void)
{
	LeasePage  *page = patroni_lease_page();
	uint64		end = COMPAT_FLUSH_LSN();	/* the commit is flushed */
	uint64		noted = atomic_load_explicit(&page->cut_off_lsn, memory_order_relaxed);

	while (noted < end &&
		   !atomic_compare_exchange_weak_explicit(&page->cut_off_lsn, &noted, end,
												  memory_order_release, memory_order_relaxed))
		;
}

/* Do the standbys have what was cut off, or are none wanted any more? */
void
patroni_exposure_forget_cut_off(void)
{
	LeasePage  *page = patroni_lease_page();
	uint64		noted;
	XLogRecPtr	replicated;

	if (page == NULL || RecoveryInProgress())
		return;
	noted = atomic_load_explicit(&page->cut_off_lsn, memory_order_relaxed);
	if (noted == 0)
		return;
	LWLockAcquire(SyncRepLock, LW_SHARED);
	replicated = WalSndCtl->lsn[SYNC_REP_WAIT_FLUSH];
	LWLockRelease(SyncRepLock);
	if (!standbys_are_named() || replicated >= noted)
		(void) atomic_compare_exchange_strong(&page->cut_off_lsn, &noted, 0);
}

/*
 * Must clients still wait?  *wanted is what the synchronous standbys must
 * have, *replicated what they have.
 */
bool
patroni_exposure_lasts(XLogRecPtr *wanted, XLogRecPtr *replicated)
{
	FenceShared *shared = patroni_fence_shared();
	uint64		unset = 0;
	uint32		held = EXPOSURE_HELD;

	*wanted = *replicated = InvalidXLogRecPtr;
	if (shared == NULL || pg_atomic_read_u32(&shared->exposure) == EXPOSURE_NONE)
		return false;
	if (RecoveryInProgress())
		return true;

	/* Whatever is flushed now includes what was recovered. */
	if (pg_atomic_read_u64(&shared->exposed_lsn) == 0)
		(void) pg_atomic_compare_exchange_u64(&shared->exposed_lsn, &unset, COMPAT_FLUSH_LSN());
	*wanted = pg_atomic_read_u64(&shared->exposed_lsn);
	LWLockAcquire(SyncRepLock, LW_SHARED);
	*replicated = WalSndCtl->lsn[SYNC_REP_WAIT_FLUSH];
	LWLockRelease(SyncRepLock);
	if (standbys_are_named() && *replicated < *wanted)
		return true;
	if (pg_atomic_compare_exchange_u32(&shared->exposure, &held, EXPOSURE_NONE))
		ereport(LOG,
				(errmsg("clients need not wait for the synchronous standbys any longer"),
				 standbys_are_named() ?
				 errdetail("The synchronous standbys have the WAL up to %X/%X.", LSN_FORMAT_ARGS(*replicated)) :
				 errdetail("No synchronous standbys are named any more.")));
	return false;
}

/* Let in all the same?  Called after authentication, inside a transaction. */
static bool
is_excepted(const Port *port)
{
	Oid			role = get_role_oid(port->user_name, true);

	if (am_walsender && !am_db_walsender)
		return true;
	if (OidIsValid(role) && superuser_arg(role))
		return true;
	return port->application_name != NULL &&
		(strcmp(port->application_name, REWIND_NAME) == 0 ||
		 strncmp(port->application_name, TOOL_NAME_PREFIX, strlen(TOOL_NAME_PREFIX)) == 0);
}

/* A client has proved who it is: may it come in? */
void
exposure_refuse_client(const Port *port)
{
	XLogRecPtr	wanted;
	XLogRecPtr	replicated;

	if (!patroni_exposure_lasts(&wanted, &replicated) || RecoveryInProgress() ||
		is_excepted(port))
		return;
	ereport(FATAL,
			(errcode(ERRCODE_CANNOT_CONNECT_NOW),
			 errmsg("this server has been restarted and waits for its synchronous standbys"),
			 errdetail("Until they have the WAL up to %X/%X, a failover could lose what you would see; they have it up to %X/%X.",
					   LSN_FORMAT_ARGS(wanted), LSN_FORMAT_ARGS(replicated)),
			 errhint("Try again in a moment.")));
}
