/*-------------------------------------------------------------------------
 *
 * compat.h
 *      All differences between the server versions we build for, 13 to 18.
 *
 * The code outside this file is written for the newest server; older ones
 * are taught here.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_WORKER_COMPAT_H
#define PATRONI_WORKER_COMPAT_H

#include "postgres.h"

/*
 * The server's headers ask for those of Kerberos, which are often not
 * installed and of no use here.  Port is laid out the same without.
 */
#undef ENABLE_GSS

#include "fmgr.h"
#include "libpq/auth.h"
#include "libpq/libpq-be.h"
#include "libpq/libpq.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/autovacuum.h"
#include "replication/walsender_private.h"
#include "tcop/utility.h"
#include "replication/walsender_private.h"
#include "utils/guc.h"
#if PG_VERSION_NUM >= 140000
#include "utils/wait_event.h"
#endif

#if PG_VERSION_NUM < 130000
#error "patroni_bgw needs PostgreSQL 13 or later"
#endif

/* 15: extensions reserve their prefix; before, one could only warn. */
#if PG_VERSION_NUM < 150000
#define MarkGUCPrefixReserved(prefix)	EmitWarningsOnPlaceholders(prefix)
#endif

/* 15: shared memory is asked for in a hook; before, in _PG_init() itself. */
#if PG_VERSION_NUM >= 150000
#define COMPAT_HAS_SHMEM_REQUEST_HOOK	1
#endif

/* 14: utility hooks are told whether they may scribble on the tree. */
#if PG_VERSION_NUM >= 140000
#define COMPAT_UTILITY_PARAMETERS \
	PlannedStmt *statement, const char *query, bool read_only_tree, \
	ProcessUtilityContext context, ParamListInfo params, \
	QueryEnvironment *environment, DestReceiver *dest, \
	QueryCompletion *completion
#define COMPAT_UTILITY_ARGUMENTS \
	statement, query, read_only_tree, context, params, environment, dest, \
	completion
#else
#define COMPAT_UTILITY_PARAMETERS \
	PlannedStmt *statement, const char *query, \
	ProcessUtilityContext context, ParamListInfo params, \
	QueryEnvironment *environment, DestReceiver *dest, \
	QueryCompletion *completion
#define COMPAT_UTILITY_ARGUMENTS \
	statement, query, context, params, environment, dest, completion
#endif

/* 14: positions have a way to be printed. */
#ifndef LSN_FORMAT_ARGS
#define LSN_FORMAT_ARGS(lsn)	((uint32) ((lsn) >> 32)), ((uint32) (lsn))
#endif

/* 14: the place of the client's socket in FeBeWaitSet has a name. */
#ifndef FeBeWaitSetSocketPos
#define FeBeWaitSetSocketPos	0
#endif

/* 18, and minor releases of April 2025: that it is looked at is kept as well. */
#ifdef SYNC_STANDBY_DEFINED
#define COMPAT_SYNC_STANDBYS_DEFINED() \
	((((volatile WalSndCtlData *) WalSndCtl)->sync_standbys_status & SYNC_STANDBY_DEFINED) != 0)
#else
#define COMPAT_SYNC_STANDBYS_DEFINED()	(((volatile WalSndCtlData *) WalSndCtl)->sync_standbys_defined)
#endif

/* 17: kinds of processes are asked for in one way. */
#if PG_VERSION_NUM < 170000
#define AmAutoVacuumWorkerProcess()		IsAutoVacuumWorkerProcess()
#endif

/* 18: a module can say its name and version. */
#ifdef PG_MODULE_MAGIC_EXT
#define COMPAT_MODULE_MAGIC(module_name, module_version) \
	PG_MODULE_MAGIC_EXT(.name = (module_name), .version = (module_version))
#else
#define COMPAT_MODULE_MAGIC(module_name, module_version) PG_MODULE_MAGIC
#endif

/*
 * For the worker; each macro needs the server's header it is about.
 */

/* 15: the insertion timeline is asked for; before, RecoveryInProgress() set a global. */
#if PG_VERSION_NUM >= 150000
#define COMPAT_FLUSH_LSN()				GetFlushRecPtr(NULL)
#define COMPAT_INSERT_TIMELINE()		GetWALInsertionTimeLine()
#else
#define COMPAT_FLUSH_LSN()				GetFlushRecPtr()
#define COMPAT_INSERT_TIMELINE()		ThisTimeLineID
#endif

/* 14: a pause may be asked for before it is reached. */
#if PG_VERSION_NUM >= 140000
#define COMPAT_REPLAY_IS_PAUSED()		(GetRecoveryPauseState() != RECOVERY_NOT_PAUSED)
#else
#define COMPAT_REPLAY_IS_PAUSED()		RecoveryIsPaused()
#endif

/* 14: two_phase; 17: failover and synced. */
#if PG_VERSION_NUM >= 170000
#define COMPAT_SLOT_CREATE(name, is_logical, persistency, two_phase) \
	ReplicationSlotCreate(name, is_logical, persistency, two_phase, false, false)
#elif PG_VERSION_NUM >= 140000
#define COMPAT_SLOT_CREATE(name, is_logical, persistency, two_phase) \
	ReplicationSlotCreate(name, is_logical, persistency, two_phase)
#else
#define COMPAT_SLOT_CREATE(name, is_logical, persistency, two_phase) \
	((void) (two_phase), ReplicationSlotCreate(name, is_logical, persistency))
#endif

/* 18: whether a lost slot is an error is said.  14: waiting or not is a bool. */
#if PG_VERSION_NUM >= 180000
#define COMPAT_SLOT_ACQUIRE(name)		ReplicationSlotAcquire(name, true, false)
#elif PG_VERSION_NUM >= 140000
#define COMPAT_SLOT_ACQUIRE(name)		ReplicationSlotAcquire(name, true)
#else
#define COMPAT_SLOT_ACQUIRE(name)		((void) ReplicationSlotAcquire(name, SAB_Error))
#endif

/* 17: temporary slots can be dropped by kind. */
#if PG_VERSION_NUM >= 170000
#define COMPAT_SLOT_CLEANUP_ARGUMENT	false
#else
#define COMPAT_SLOT_CLEANUP_ARGUMENT
#endif

/* 16: why a slot was given up has a name; before, WAL was the only reason. */
#if PG_VERSION_NUM >= 160000
#define COMPAT_SLOT_IS_LOST(slot)		((slot)->data.invalidated != RS_INVAL_NONE)
#else
#define COMPAT_SLOT_IS_LOST(slot) \
	((slot)->data.invalidated_at != InvalidXLogRecPtr && (slot)->data.restart_lsn == InvalidXLogRecPtr)
#endif

/* 17: the server itself can keep a logical slot on standbys. */
#if PG_VERSION_NUM >= 170000
#define COMPAT_SLOT_IS_NATIVE(slot)		((slot)->data.failover || (slot)->data.synced)
#else
#define COMPAT_SLOT_IS_NATIVE(slot)		(false)
#endif

/* 17: a set of wait events belongs to a resource owner, not to a context. */
#if PG_VERSION_NUM >= 170000
#define COMPAT_WAIT_SET(context, n_events)	CreateWaitEventSet(NULL, n_events)
#else
#define COMPAT_WAIT_SET(context, n_events)	CreateWaitEventSet(context, n_events)
#endif

/* 16: the entry of a backend by its place in the local copy has a new name. */
#if PG_VERSION_NUM >= 160000
#define COMPAT_BACKEND_ENTRY(i)			pgstat_get_local_beentry_by_index(i)
#else
#define COMPAT_BACKEND_ENTRY(i)			pgstat_fetch_stat_local_beentry(i)
#endif

/* 14: only the local copy of the backends' entries, not all statistics. */
#if PG_VERSION_NUM >= 140000
#define COMPAT_FORGET_BACKEND_ENTRIES()	pgstat_clear_backend_activity_snapshot()
#else
#define COMPAT_FORGET_BACKEND_ENTRIES()	pgstat_clear_snapshot()
#endif

/* 16: the number of settings comes with them. */
#if PG_VERSION_NUM >= 160000
#define COMPAT_GUC_VARIABLES(n)			get_guc_variables(n)
#else
#define COMPAT_GUC_VARIABLES(n)			(*(n) = GetNumConfigOptions(), get_guc_variables())
#endif

/* 17: a logical message can be flushed by the function that writes it. */
#if PG_VERSION_NUM >= 170000
#define COMPAT_LOG_MESSAGE(prefix, text, size)	LogLogicalMessage(prefix, text, size, false, false)
#else
#define COMPAT_LOG_MESSAGE(prefix, text, size)	LogLogicalMessage(prefix, text, size, false)
#endif

/* 18: the checkpointer's process is known by its number, not by its latch. */
#if PG_VERSION_NUM >= 180000
#define COMPAT_CHECKPOINTER() \
	(ProcGlobal->checkpointerProc == INVALID_PROC_NUMBER ? NULL : GetPGProcByNumber(ProcGlobal->checkpointerProc))
#else
#define COMPAT_CHECKPOINTER() \
	(ProcGlobal->checkpointerLatch == NULL ? NULL : \
	 (PGPROC *) ((char *) ProcGlobal->checkpointerLatch - offsetof(PGPROC, procLatch)))
#endif

/* 19: what was called immediate is called fast. */
#if PG_VERSION_NUM >= 190000
#define CHECKPOINT_IMMEDIATE			CHECKPOINT_FAST
#endif

#endif							/* PATRONI_WORKER_COMPAT_H */
