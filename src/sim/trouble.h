/*-------------------------------------------------------------------------
 *
 * trouble.h
 *      What check.c, faults.c, operators.c, profile.c and patroni.c share.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_SIM_TROUBLE_H
#define PATRONI_SIM_TROUBLE_H

#include "sim/sim.h"

/* profile.c: which fault strikes next, by the weights of this run's profile. */
extern SimFault sim_profile_fault(void);

/* faults.c */
extern bool sim_config_is_paused(void);			/* the key "config" in the store says so */
extern int	sim_some_node(void);				/* a member by chance; -1 there is none */
extern int	sim_some_live_node(void);			/* one of ours whose host is up; -1 none */
extern void sim_strike_key_deleted(void);
extern void sim_faults_strike(SimFault fault, int node, int other);	/* now; other -1: by chance */

/* moments.c */
extern void sim_moments_reset(void);

/* operators.c */
extern void sim_operators_reset(void);
extern void sim_operators_end_pause(int tries);	/* until the store's config shows it */

/* check.c */
extern void sim_check_ttl(int64_t ttl_ms, int64_t loop_wait_ms);	/* these may be in force now */
extern void sim_check_operator_writes(bool is_writing);		/* by hand, in the store: S3 is not asked */
extern void sim_check_may_move(void);			/* somebody commanded it: L3 does not count */
extern bool sim_check_has_eligible(void);		/* L1: is there anybody who may lead? */

#endif							/* PATRONI_SIM_TROUBLE_H */
