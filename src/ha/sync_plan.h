/*-------------------------------------------------------------------------
 *
 * sync_plan.h
 *      Synchronous replication: the next step of the primary, and who may
 *      take part in the race.
 *
 * The primary holds two things that must agree: synchronous_standby_names
 * (whom a commit waits for) and the key "sync" (who may become primary).
 * sync_plan_next() names the one next change of either; it is asked again
 * after the change was observed.  Facts of the protocol: Patroni 4.x,
 * patroni/postgresql/sync.py and patroni/quorum.py.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_HA_SYNC_PLAN_H
#define PATRONI_HA_SYNC_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/cluster.h"
#include "ha/ha.h"

#define SYNC_NAMES_TEXT_MAX		(CLUSTER_MEMBERS_MAX * (2 * CLUSTER_NAME_MAX + 2) + 32)
#define SYNC_STANDBY_TEXT_MAX	(CLUSTER_MEMBERS_MAX * (CLUSTER_NAME_MAX + 1))

typedef enum SyncNamesKind
{
	SYNC_NAMES_NONE,				/* commits wait for nobody */
	SYNC_NAMES_PRIORITY,			/* a / n (a, b) / FIRST n (a, b) */
	SYNC_NAMES_QUORUM,				/* ANY n (a, b) */
	SYNC_NAMES_ALL,					/* "*": any receiver, member or not */
} SyncNamesKind;

/* What synchronous_standby_names says. */
typedef struct SyncNames
{
	SyncNamesKind kind;
	int			number;				/* how many must confirm; 0 for NONE */
	int			n_names;			/* 0 for NONE and ALL */
	char		names[CLUSTER_MEMBERS_MAX][CLUSTER_NAME_MAX];
} SyncNames;

/* A member, not ourselves, with a walsender on this server. */
typedef struct SyncCandidate
{
	char		name[CLUSTER_NAME_MAX];	/* as the member key spells it */
	bool		is_streaming;		/* walsender in state streaming, and member running */
	SyncWalsender state;
	Lsn			lsn;				/* replay (remote_apply), write (remote_write),
									 * otherwise flush; 0 = unknown */
	bool		nosync;
	bool		nofailover;
	bool		is_cascading;		/* shall follow another member that is connected */
	int			sync_priority;		/* <= 0 is nosync */
} SyncCandidate;

typedef struct SyncPlanInput
{
	SyncPlanMode mode;
	bool		is_strict;
	int			node_count;			/* synchronous_node_count; < 1 counts as 1 */
	int64_t		maximum_lag_on_syncnode;	/* bytes, <= 0 off */
	const char *own_name;
	Lsn			own_lsn;			/* the primary's; for the lag of a lone standby */
	bool		is_writable;		/* false: no commit can be acknowledged yet (in
									 * recovery, or fenced since the server started) */
	bool		is_stale;			/* in recovery, and the key is of an earlier time as the
									 * leader, or of another one's after that: what has been
									 * written since may be nowhere else */
	bool		is_new_leader;		/* promoted a moment ago: standbys that are about to
									 * reconnect are not taken for lost */
	const SyncState *sync;			/* as last read or as just written by ourselves */
	const SyncNames *names;			/* in force, NULL = none */
	bool		is_settling;		/* a change of either was sent, its outcome is not
									 * yet seen everywhere */
	Lsn			names_lsn;			/* own end of WAL read after "names" were seen in
									 * force; 0 = not known yet */
	const SyncNames *operator_names;	/* to go back to when off; NULL = none */
	const SyncCandidate *candidates;
	int			n_candidates;		/* at most CLUSTER_MEMBERS_MAX are looked at */
	int			n_other_receivers;	/* streaming, not members: pg_receivewal, barman */
} SyncPlanInput;

typedef enum SyncStepKind
{
	SYNC_STEP_NONE,					/* all is as wanted */
	SYNC_STEP_WAIT,					/* nothing to do until what "because" names happened */
	SYNC_STEP_WRITE_KEY,			/* write {leader: me, quorum, sync_standby} */
	SYNC_STEP_DELETE_KEY,
	SYNC_STEP_SET_NAMES,			/* set synchronous_standby_names */
} SyncStepKind;

typedef struct SyncStep
{
	SyncStepKind kind;
	const char *rule;				/* a short name for the log, static */
	char		because[HA_REASON_MAX];
	bool		is_safe;			/* commits may be acknowledged and this node promoted
									 * now, before this step */
	int			quorum;				/* WRITE_KEY */
	char		sync_standby[SYNC_STANDBY_TEXT_MAX];	/* WRITE_KEY; sorted, "" = null */
	SyncNames	names;				/* SET_NAMES */
} SyncStep;

/* Somebody who answered in the race, in recovery, with a known position. */
typedef struct SyncAnswer
{
	const char *name;
	bool		is_ahead;			/* has more WAL than we have */
} SyncAnswer;

typedef struct SyncCandidacy
{
	SyncPlanMode mode;
	const SyncState *sync;
	const char *own_name;
	const SyncAnswer *answers;
	int			n_answers;
} SyncCandidacy;

typedef struct SyncVotes
{
	int			needed;				/* others named in the key that must not be ahead */
	int			seen;
	char		because[HA_REASON_MAX];
} SyncVotes;

extern bool sync_names_parse(SyncNames *names, const char *text);
extern bool sync_names_write(const SyncNames *names, char *text, size_t size);
extern bool sync_names_equal(const SyncNames *a, const SyncNames *b);
extern const char *sync_step_kind_name(SyncStepKind kind);
extern void sync_plan_next(const SyncPlanInput *input, SyncStep *step);
extern bool sync_may_promote(const SyncCandidacy *candidacy, SyncVotes *votes);

#endif							/* PATRONI_HA_SYNC_PLAN_H */
