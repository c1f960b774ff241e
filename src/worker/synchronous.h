/*-------------------------------------------------------------------------
 *
 * synchronous.h
 *      Whether a commit got what synchronous replication promised it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_WORKER_SYNCHRONOUS_H
#define PATRONI_WORKER_SYNCHRONOUS_H

#include "postgres.h"

#include "access/xlogdefs.h"
#include "executor/execdesc.h"
#include "nodes/nodes.h"

/* GUC patroni.defer_cancel. */
extern bool synchronous_defers_cancel;

/* GUC patroni.commit_wait_timeout, in ms; 0 = off. */
extern int	commit_wait_timeout_ms;

extern void synchronous_begin(void);
extern void synchronous_end(void);
extern bool synchronous_has_commit(XLogRecPtr end_lsn);
extern bool synchronous_has_prepare(void);
extern bool synchronous_has_prepared_end(bool is_commit);

extern void synchronous_refuse_lonely(const char *what);
extern void synchronous_refuse_plan(const QueryDesc *query, int flags);
extern void synchronous_refuse_statement(Node *node);

#endif							/* PATRONI_WORKER_SYNCHRONOUS_H */
