/*-------------------------------------------------------------------------
 *
 * wal_sent.h
 *      Tells no client of a commit before its WAL is on its way to a standby.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_WORKER_WAL_SENT_H
#define PATRONI_WORKER_WAL_SENT_H

#include "postgres.h"

#include "worker/compat.h"

#include "access/xlogdefs.h"

/* GUC patroni.wal_send_wait, in ms; 0 = off. */
#define WAL_SEND_WAIT_MAX_MS	10000
extern int	wal_send_wait_ms;

extern void wal_sent_begin(const PQcommMethods *server, PQcommMethods *own);
extern bool wal_sent_is_wanted(void);
extern void wal_sent_wait(XLogRecPtr lsn);

#endif							/* PATRONI_WORKER_WAL_SENT_H */
