/*-------------------------------------------------------------------------
 *
 * slot_plan.h
 *      Which replication slots a member shall have, and why.
 *
 * Plain functions of the configuration and the view; Patroni 4.x,
 * patroni/dcs/__init__.py, get_replication_slots().
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_HA_SLOT_PLAN_H
#define PATRONI_HA_SLOT_PLAN_H

#include "ha/ha.h"

#define SLOT_CONFIG_MAX		64		/* entries of "slots" */
#define SLOT_MATCHERS_MAX	64		/* entries of "ignore_slots" */
#define SLOT_PLAN_MAX		(CLUSTER_MEMBERS_MAX + SLOT_CONFIG_MAX + 64)

/* An entry of "slots". */
typedef struct SlotConfig
{
	char		name[64];
	bool		is_logical;
	char		database[64];	/* of logical ones */
	char		plugin[64];
} SlotConfig;

/* An entry of "ignore_slots"; "" = whatever it is. */
typedef struct SlotMatcher
{
	char		name[64];
	char		type[16];
	char		database[64];
	char		plugin[64];
} SlotMatcher;

typedef struct SlotConfigs
{
	int			n_slots;
	int			n_matchers;
	SlotConfig	slots[SLOT_CONFIG_MAX];
	SlotMatcher matchers[SLOT_MATCHERS_MAX];
	char		problem[HA_REASON_MAX];	/* an entry that cannot be used; "" = none */
} SlotConfigs;

typedef enum SlotReason
{
	SLOT_FOR_MEMBER,			/* a member that is there */
	SLOT_RETAINED,				/* a member that was there lately */
	SLOT_PERMANENT,				/* an entry of "slots" */
} SlotReason;

typedef struct WantedSlot
{
	char		name[64];
	SlotReason	reason;
	bool		is_logical;
	char		database[64];
	char		plugin[64];
	char		member[CLUSTER_NAME_MAX];	/* SLOT_FOR_MEMBER */
	bool		is_used_here;	/* by who streams from this member: it moves by itself */
	Lsn			lsn;			/* where the one of the leader stands; 0 = unknown */
} WantedSlot;

typedef struct SlotPlan
{
	int			n;
	WantedSlot	items[SLOT_PLAN_MAX];
	char		conflict[HA_REASON_MAX];	/* what cannot be had, and why; "" = nothing */
} SlotPlan;

extern void slot_configs_read(SlotConfigs *configs, const char *slots_json, const char *ignore_json);
extern void slot_plan_make(SlotPlan *plan, const HaSettings *settings, const SlotConfigs *configs,
						   const ClusterView *view, bool is_primary);
extern const WantedSlot *slot_plan_find(const SlotPlan *plan, const char *name);
extern bool slot_is_ignored(const SlotConfigs *configs, const HaSlot *slot);
extern bool slot_differs(const WantedSlot *wanted, const HaSlot *slot);
extern bool slot_status_position(const ClusterStatus *status, const char *name, Lsn *lsn);

#endif							/* PATRONI_HA_SLOT_PLAN_H */
