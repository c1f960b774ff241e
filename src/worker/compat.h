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
#include "tcop/utility.h"
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

/* 14: the place of the client's socket in FeBeWaitSet has a name. */
#ifndef FeBeWaitSetSocketPos
#define FeBeWaitSetSocketPos	0
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

#endif							/* PATRONI_WORKER_COMPAT_H */
