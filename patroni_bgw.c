/*-------------------------------------------------------------------------
 *
 * patroni_bgw.c
 *      What shared_preload_libraries loads: settings, shared memory, the
 *      lease page, the fence, what a standby needs before it recovers, and the
 *      registration of the worker.
 *
 * Thin on purpose.  It reads nothing that comes from a network and changes
 * rarely, because only a restart of the server replaces it.  The HA loop and
 * all its libraries are in patroni_worker.so, which only the worker loads.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/un.h>

#include "fmgr.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "utils/guc.h"

#include "base/lease_page.h"
#include "worker/consumer_hold.h"
#include "worker/compat.h"
#include "worker/fence.h"
#include "worker/isolation.h"
#include "worker/recovery.h"
#include "worker/shared.h"
#include "worker/sync.h"
#include "worker/synchronous.h"
#include "worker/wal_sent.h"

#define MODULE_VERSION			"1.0"
#define WORKER_RESTART_SECONDS	1

COMPAT_MODULE_MAGIC("patroni_bgw", MODULE_VERSION);

extern PGDLLEXPORT void _PG_init(void);

static char *lease_page_name = "";
static char *socket_path = "";
static char *trace_file = "";

/* Mapped by the postmaster, inherited by every child; NULL = not managed. */
static LeasePage *lease_page;

/* The lease page; NULL on a server nobody manages. */
LeasePage *
patroni_lease_page(void)
{
	return lease_page;
}

/* The supervisor's socket; "" on a server nobody manages. */
const char *
patroni_socket_path(void)
{
	return socket_path != NULL ? socket_path : "";
}

static bool
check_lease_page(char **value, void **extra, GucSource source)
{
	if ((*value)[0] == '\0')
		return true;
	if ((*value)[0] != '/' || (*value)[1] == '\0' || strchr(*value + 1, '/') != NULL)
	{
		GUC_check_errdetail("The name of a shared memory object begins with its only slash.");
		return false;
	}
	if (strlen(*value) >= LEASE_PAGE_NAME_MAX)
	{
		GUC_check_errdetail("The name must be shorter than %d bytes.", LEASE_PAGE_NAME_MAX);
		return false;
	}
	return true;
}

static bool
check_socket(char **value, void **extra, GucSource source)
{
	if ((*value)[0] == '\0')
		return true;
	if ((*value)[0] != '/')
	{
		GUC_check_errdetail("The path must be absolute.");
		return false;
	}
	if (strlen(*value) >= sizeof(((struct sockaddr_un *) NULL)->sun_path))
	{
		GUC_check_errdetail("The path must be shorter than %zu bytes.",
							sizeof(((struct sockaddr_un *) NULL)->sun_path));
		return false;
	}
	return true;
}

static bool
check_trace_file(char **value, void **extra, GucSource source)
{
	if ((*value)[0] == '\0' || ((*value)[0] == '/' && strlen(*value) < MAXPGPATH))
		return true;
	GUC_check_errdetail("The path must be absolute and shorter than %d bytes.", MAXPGPATH);
	return false;
}

/* Shorter than a disk may take to flush, it would hold commits for nothing. */
static bool
check_isolation_hold(int *value, void **extra, GucSource source)
{
	if (*value == -1 || *value >= ISOLATION_HOLD_MIN_MS)
		return true;
	GUC_check_errdetail("It must be -1 (off) or at least %d ms.", ISOLATION_HOLD_MIN_MS);
	return false;
}

static void
define_settings(void)
{
	DefineCustomBoolVariable("patroni.fence",
							 "Refuses to acknowledge writes when this node's leader lease is over.",
							 "Switching it off allows two nodes to take writes at the same time.",
							 &fence_is_enabled,
							 true,
							 PGC_SIGHUP,
							 GUC_SUPERUSER_ONLY,
							 NULL, NULL, NULL);
	DefineCustomIntVariable("patroni.commit_wait_timeout",
							"Refuses writing transactions when synchronous standbys have been missing for that long.",
							"0 lets their commits wait for as long as it takes.",
							&commit_wait_timeout_ms,
							0, 0, INT_MAX,
							PGC_SIGHUP,
							GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomBoolVariable("patroni.defer_cancel",
							 "Lets a commit wait for its synchronous standbys when the session is cancelled or terminated.",
							 "The session is cancelled or terminated after that. A shutdown of the server ends the wait.",
							 &synchronous_defers_cancel,
							 false,
							 PGC_SIGHUP,
							 0,
							 NULL, NULL, NULL);
	DefineCustomIntVariable("patroni.isolation_hold_after",
							"Holds commits when neither a standby nor the store has answered for that long.",
							"The store is asked when no standby has confirmed a commit for that long, and is given as long to answer. -1 switches it off.",
							&isolation_hold_after_ms,
							500, -1, ISOLATION_HOLD_MAX_MS,
							PGC_SIGHUP,
							GUC_UNIT_MS,
							check_isolation_hold, NULL, NULL);
	DefineCustomIntVariable("patroni.wal_send_wait",
							"Lets the answer to a commit wait until a standby has been sent its WAL, for at most that long.",
							"It waits for the walsender alone, not for the standby. 0 switches it off.",
							&wal_send_wait_ms,
							100, 0, WAL_SEND_WAIT_MAX_MS,
							PGC_SIGHUP,
							GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomStringVariable("patroni.lease_page",
							   "Name of the shared memory object that holds the leader lease.",
							   "Set by patroni_supervisor; empty on a server it does not run.",
							   &lease_page_name,
							   "",
							   PGC_POSTMASTER,
							   GUC_SUPERUSER_ONLY,
							   check_lease_page, NULL, NULL);
	DefineCustomStringVariable("patroni.socket",
							   "Path of the socket of patroni_supervisor.",
							   "Set by patroni_supervisor; empty on a server it does not run.",
							   &socket_path,
							   "",
							   PGC_POSTMASTER,
							   GUC_SUPERUSER_ONLY,
							   check_socket, NULL, NULL);
	DefineCustomStringVariable("patroni.trace_file",
							   "File in which the inputs of the HA loop are recorded.",
							   "Empty: the file that patroni_supervisor was told, or none.",
							   &trace_file,
							   "",
							   PGC_SIGHUP,
							   GUC_SUPERUSER_ONLY,
							   check_trace_file, NULL, NULL);
	consumer_hold_define();
	sync_report_define();
	MarkGUCPrefixReserved("patroni");
}

/* A server that should be fenced and cannot be must not start. */
static void
map_lease_page(void)
{
	Error		error;

	if (lease_page_name == NULL || lease_page_name[0] == '\0')
		return;
	error_clear(&error);
	if (!lease_page_open(lease_page_name, &lease_page, &error))
		ereport(FATAL,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("%s", error.message),
				 errdetail("Without it nothing keeps this server from taking writes after its leader lease is over."),
				 errhint("Start the server with patroni_supervisor, or unset \"patroni.lease_page\" to run it without high availability.")));
}

static void
register_worker(void)
{
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	strlcpy(worker.bgw_name, "patroni worker", sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, "patroni worker", sizeof(worker.bgw_type));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS;
	worker.bgw_start_time = BgWorkerStart_PostmasterStart;
	worker.bgw_restart_time = WORKER_RESTART_SECONDS;
	strlcpy(worker.bgw_library_name, WORKER_LIBRARY, sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, WORKER_FUNCTION, sizeof(worker.bgw_function_name));
	RegisterBackgroundWorker(&worker);
}

/*
 * Loaded.  Only in shared_preload_libraries does anything take effect: loaded
 * later, by CREATE EXTENSION say, the SQL functions are there to tell so.  In
 * single-user mode and during pg_upgrade nobody but the operator is there who
 * could be told a lie, so there is no fence and no worker.
 */
void
_PG_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	define_settings();
	shared_init();
	if (!IsPostmasterEnvironment || IsBinaryUpgrade)
		return;
	map_lease_page();
	if (lease_page != NULL)
	{
		fence_init();
		recovery_init();
	}
	if (patroni_socket_path()[0] != '\0')
		register_worker();
}
