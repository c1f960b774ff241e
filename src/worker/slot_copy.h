/*-------------------------------------------------------------------------
 *
 * slot_copy.h
 *      The inside of the slot copier: what slot_copier.c, slot_copy.c and
 *      slot_leader.c share.  Nobody else includes this.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_WORKER_SLOT_COPY_H
#define PATRONI_WORKER_SLOT_COPY_H

#include "postgres.h"

#include "access/xlogdefs.h"

#include "worker/slots.h"

/* The leader's slot, at one moment. */
typedef struct Remote
{
	bool		exists;
	bool		is_lost;
	bool		is_two_phase;
	char		database[NAMEDATALEN];
	char		plugin[NAMEDATALEN];
	Oid			database_id;
	TransactionId catalog_xmin;
	TransactionId held_xmin;	/* of the physical slot there that stands for us */
	TimeLineID	timeline;		/* of the leader */
	XLogRecPtr	restart_lsn;
	XLogRecPtr	confirmed_lsn;
	const char *snapshot;		/* hexadecimal; NULL: none at restart_lsn, or known */
} Remote;

/* What is remembered of a copy. */
typedef struct Copy
{
	SlotWish	wish;
	int64		since_ms;		/* feedback has included it since; 0 = not */
	XLogRecPtr	bare_lsn;		/* the leader has no snapshot there, as seen last */
	char		problem[96];
} Copy;

/* slot_leader.c: the connection to the leader */
typedef struct pg_result LeaderSlots;	/* of libpq */

extern void slot_leader_set(const char *conninfo, const char *password);
extern void slot_leader_disconnect(void);
extern LeaderSlots *slot_leader_read(const Copy *copies, int n_copies, const char *held_by);
extern void slot_leader_free(LeaderSlots *slots);
extern void slot_leader_find(const LeaderSlots *slots, const char *name, Remote *remote);

/* slot_copy.c: the copies on this server */
extern void slot_copy_keep(Copy *copy, Remote *remote, const char *held_by);
extern XLogRecPtr slot_copy_restart_lsn(const char *name);	/* 0: there is none */

/* slot_copier.c */
extern void slot_copier_nap(int ms, int socket, int events);	/* does not come back when all is over */

#endif							/* PATRONI_WORKER_SLOT_COPY_H */
