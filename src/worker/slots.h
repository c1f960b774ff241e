/*-------------------------------------------------------------------------
 *
 * slots.h
 *      What the worker and the processes that it starts for logical
 *      replication slots share.
 *
 * A part of PatroniShared, under its lock.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_WORKER_SLOTS_H
#define PATRONI_WORKER_SLOTS_H

#include "postgres.h"

#include "storage/latch.h"

#define SLOT_WISHES_MAX		64
#define SLOT_CANDIDATES_MAX	64

/* The walsender of a standby that may be promoted. */
typedef struct SlotCandidate
{
	pid_t		pid;
	int			index;			/* in WalSndCtl->walsnds */
} SlotCandidate;

typedef struct SlotWish
{
	char		name[NAMEDATALEN];
	char		database[NAMEDATALEN];
	char		plugin[NAMEDATALEN];
} SlotWish;

/* How a copy is, as the copier sees it. */
typedef struct SlotReport
{
	char		name[NAMEDATALEN];
	char		problem[96];	/* "" = it is safe */
} SlotReport;

typedef struct SlotShare
{
	/* what is to be copied, and from where; written by the worker */
	uint32		number;			/* grows with each change */
	char		conninfo[2048];
	char		password[256];
	char		held_by[NAMEDATALEN];	/* the leader's slot that holds back vacuum for us */
	int			n_wishes;
	SlotWish	wishes[SLOT_WISHES_MAX];

	/* the copier, and what it says */
	pid_t		copier_pid;		/* 0: there is none */
	Latch	   *copier_latch;
	int			n_reports;
	SlotReport	reports[SLOT_WISHES_MAX];

	/* for consumers of logical slots; written by the worker of a primary */
	int			n_candidates;
	SlotCandidate candidates[SLOT_CANDIDATES_MAX];

	/* the slot that is being made on a primary */
	SlotWish	to_make;
	pid_t		maker_pid;		/* 0: there is none */
} SlotShare;

/* Entry points of the processes, in patroni_worker.so. */
#define SLOT_COPIER_FUNCTION	"patroni_slot_copier_main"
#define SLOT_MAKER_FUNCTION		"patroni_slot_maker_main"

#endif							/* PATRONI_WORKER_SLOTS_H */
