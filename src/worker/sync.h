/*-------------------------------------------------------------------------
 *
 * sync.h
 *      synchronous_standby_names: what is in force in all processes.
 *
 * Each change of ours has a number, the setting patroni.sync_generation in
 * the same file.  A process that reads the file says in shared memory which
 * number it has read; so the worker knows when a change is in force:
 *  - a walsender lets commits go by its own copy of the names, so each one
 *    that streams must have read them;
 *  - the checkpointer tells the backends whether there is anybody to wait
 *    for at all.
 * Backends that commit look at nothing else.
 *
 * sync_report.c is the side of the processes, in patroni_bgw.so; sync_watch.c
 * that of the worker.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_WORKER_SYNC_H
#define PATRONI_WORKER_SYNC_H

#include "postgres.h"

#include "port/atomics.h"

#define SYNC_REPORTS_MAX	256		/* walsenders at a time; more are not relied on */

typedef struct SyncReport
{
	pg_atomic_uint32 pid;		/* 0 = free; claimed and freed by the walsender itself */
	pg_atomic_uint32 generation;	/* written by it alone */
} SyncReport;

/* In shared memory; each field has one writer at a time, so there is no lock. */
typedef struct SyncReports
{
	pg_atomic_uint32 checkpointer;	/* generation; first what the postmaster has read */
	pg_atomic_uint32 changes;		/* grows when a walsender comes or goes */
	SyncReport	walsenders[SYNC_REPORTS_MAX];
} SyncReports;

/* sync_report.c */
extern void sync_report_define(void);		/* for _PG_init() */
extern void sync_report_init_memory(SyncReports *reports);	/* in the postmaster */

#endif							/* PATRONI_WORKER_SYNC_H */
