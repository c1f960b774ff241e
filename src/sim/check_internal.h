/*-------------------------------------------------------------------------
 *
 * check_internal.h
 *      What the files that check promises share: check.c, check_data.c,
 *      check_isolation.c, check_peace.c and check_sync.c.  Nobody else includes
 *      this.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_SIM_CHECK_INTERNAL_H
#define PATRONI_SIM_CHECK_INTERNAL_H

#include "sim/trouble.h"

#define OPTIMES_MAX			64

typedef enum BranchKind
{
	BRANCH_UNKNOWN,				/* of initdb */
	BRANCH_LEASE,				/* one of ours, under the lease */
	BRANCH_PATRONI,
	BRANCH_BY_HAND,				/* by a person, or while the cluster was paused */
} BranchKind;

typedef struct Check
{
	BranchKind	kind[SIM_BRANCHES_MAX];
	bool		has_acknowledged[SIM_BRANCHES_MAX];	/* a client was told of a write on it */
	bool		is_late[SIM_BRANCHES_MAX];	/* promoted while another led: not a primary yet */
	bool		had_hands;		/* paused or promoted by hand at some time */

	/* what the store said when the leader key went to a node */
	bool		is_named[SIM_NODES_MAX];	/* by an operator, in the key "failover" */
	bool		is_forced[SIM_NODES_MAX];	/* the same, for a failover: writes may be lost */
	bool		has_sync_key;	/* the leader has written it, and nobody deleted it since */
	Lsn			optime[SIM_NODES_MAX];
	uint32_t	timeline[SIM_NODES_MAX];
	bool		is_writing_by_hand;
	int64_t		robbed_until_us[SIM_NODES_MAX]; /* own clock: its key was deleted by hand */

	/* the key "status" a while ago: what every node has heard of by now */
	Lsn			optimes[OPTIMES_MAX];
	int64_t		optimes_us[OPTIMES_MAX];
	int			n_optimes;
	uint64_t	status_version;
	int64_t		next_look_us;

	int64_t		ttl_us;			/* the longest that may be in force */
	int64_t		loop_wait_us;

	/* L3 */
	bool		is_formed;
	bool		may_move;
} Check;

extern Check check;

/* check.c */
extern const char *check_name(int node);
extern bool check_has_endless_fence(const SimNode *node);
extern bool check_has_open_fence(const SimNode *node);
extern Lsn	check_old_optime(int64_t before_us);
extern uint32_t check_history_timeline(void);
extern bool check_is_excused(const SimNode *node, int branch);

/* check_isolation.c */
extern void check_isolation_reset(void);
extern void check_isolation_acknowledged(int write);

/* check_sync.c */
extern void check_sync_promotion(int node, SimPosition fork);
extern bool check_sync_lets_lead(int number);

/* check_peace.c */
extern void check_peace_reset(void);

#endif							/* PATRONI_SIM_CHECK_INTERNAL_H */
