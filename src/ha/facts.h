/*-------------------------------------------------------------------------
 *
 * facts.h
 *      What a decision can depend on, what can be decided, and the tables.
 *
 * No dependency beyond the C library's headers: see rules.h.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_HA_FACTS_H
#define PATRONI_HA_FACTS_H

#include <stdint.h>

/* One word of bits; there are more than 64 facts. */
__extension__ typedef unsigned __int128 HaFacts;

#define HA_FACT_BITS	128

#define HA_FACTS(X) \
	X(PAUSED,			"the cluster is paused") \
	X(STORE_SILENT,		"the store does not answer") \
	X(LEASE_MINE,		"this member holds the leader lease") \
	X(LEASE_UNSURE,		"the leader key names this member but the lease is not confirmed") \
	X(LEASE_FREE,		"the leader lease is free") \
	X(LEASE_OTHER,		"another member holds the leader lease") \
	X(LEASE_OVER,		"the deadline of the lease has passed") \
	X(GRACE_OVER,		"the store has been silent for longer than the grace period") \
	X(INITIALIZED,		"the cluster has a system identifier") \
	X(INITIALIZE_TAKEN,	"another member is bootstrapping the cluster") \
	X(FOREIGN,			"the data directory belongs to another cluster") \
	X(MAY_BOOTSTRAP,	"the configuration has a bootstrap section") \
	X(BOOTSTRAPPING,	"this member is bootstrapping the cluster") \
	X(DATA_UNKNOWN,		"the data directory has not been looked at") \
	X(DATA_EMPTY,		"the data directory is empty") \
	X(DATA_UNREADABLE,	"the data directory cannot be used") \
	X(STOPPED,			"the server is not running") \
	X(STARTING,			"the server is starting") \
	X(STOPPING,			"the server is stopping") \
	X(RUNNING,			"the server is running") \
	X(OBSERVED,			"the worker sees the server") \
	X(PRIMARY,			"the server is a primary") \
	X(WAS_PRIMARY,		"the data directory is that of a primary") \
	X(CLEAN,			"the server was shut down cleanly") \
	X(PROMOTING,		"the server is being promoted") \
	X(TIMELINE_CLAIMED,	"the id of the next timeline is recorded in the store") \
	X(TIMELINES_UNMARKED,	"the server would choose a timeline id that another promotion took") \
	X(CANNOT_MARK,		"this member tried in vain to mark timeline ids as taken") \
	X(TIMELINE_OLD,		"the cluster is on a newer timeline") \
	X(TASK,				"a task is running") \
	X(TASK_PAUSE,		"the last task failed a moment ago") \
	X(GOAL_SWITCHOVER,	"a switchover away from this member is under way") \
	X(GOAL_RESTART,		"a restart of this member is under way") \
	X(GOAL_DEMOTE,		"this member is being demoted") \
	X(GOAL_REINIT,		"this member is being reinitialized") \
	X(GOAL_REPAIR,		"it has to be found out why this standby does not stream") \
	X(GOAL_SHUTDOWN,	"the supervisor was told to stop") \
	X(GOAL_REFUSE,		"this member refuses to take part") \
	X(HANDED_OVER,		"a candidate has all of this member's WAL") \
	X(TAKER_UNPROMOTED,	"the member that leadership was handed over to is not a primary yet") \
	X(LEADER_UNPROMOTED,	"the new leader is not a primary yet") \
	X(HANDOVER_LATE,	"no candidate confirmed all of the WAL in time") \
	X(REQUEST,			"a switchover or failover is requested") \
	X(REQUEST_DUE,		"the requested time has come") \
	X(REQUEST_FOR_ME,	"the request names this member as the candidate") \
	X(REQUEST_FOR_OTHER,	"the request names another member, which can take over") \
	X(NO_FAILOVER,		"this member is tagged nofailover") \
	X(LAGS,				"this member lags more than maximum_lag_on_failover") \
	X(ASKING,			"the answers of the other members are awaited") \
	X(ASKED,			"the other members have been asked") \
	X(PRIMARY_ALIVE,	"another member says it is a primary") \
	X(MOST_WAL,			"no reachable member is better placed") \
	X(MISSED_WRITES,	"a member that may have more of the last leader's WAL has not answered") \
	X(START_TIMEOUT,	"primary_start_timeout is over or zero") \
	X(START_FAILED,		"the last start of the server failed") \
	X(LOSSLESS,			"a candidate has all of the crashed primary's WAL") \
	X(CANDIDATE,		"another member could take over") \
	X(WAL_END_KNOWN,	"the end of the WAL on disk is known") \
	X(CLONE_SOURCE,		"there is a member to clone from") \
	X(CHECKED,			"it is known whether the data directory has diverged") \
	X(DIVERGED,			"this member has WAL that the leader does not have") \
	X(CAN_REWIND,		"pg_rewind can be used") \
	X(REWIND_FAILED,	"pg_rewind has failed") \
	X(MAY_REMOVE,		"the configuration allows the data directory to be removed") \
	X(LEADER_CHECKPOINT_PENDING,	"the leader is not promoted yet or has not finished its checkpoint after that") \
	X(FOLLOWS,			"the server follows the right member") \
	X(STREAM_LOST,		"the server has not streamed for a while or cannot") \
	X(REPLAY_PAUSED,	"replay of WAL is paused") \
	X(SYNC_DENIES,		"the sync key does not let this member lead") \
	X(SYNC_UNREADY,		"synchronous replication is not prepared for a primary here") \
	X(FAILSAFE,			"all members agree that this one goes on leading") \
	X(PROMISED,			"this member has promised not to lead") \
	X(NOT_LISTED,		"the failsafe key names other members only") \
	X(HANGS,			"this server hangs") \
	X(SUCCESSOR_ASKED,	"the other members have been asked who can take over from it") \
	X(SUCCESSOR,		"another member has answered that can take over from it")

enum
{
#define HA_FACT_BIT(name, text) HA_BIT_##name,
	HA_FACTS(HA_FACT_BIT)
#undef HA_FACT_BIT
	HA_FACT_COUNT
};

/* One constant a fact: LEASE_FREE, ... */
#define HA_FACT(name)	((HaFacts) 1 << HA_BIT_##name)

/* What can be decided.  The words are those of patroni.rules(). */
#define HA_VERBS(X) \
	X(WAIT,				"wait") \
	X(SUPERVISE_TASK,	"let the task go on, or cancel it") \
	X(REGAIN_LEASE,		"confirm the lease") \
	X(ACQUIRE,			"acquire the leader lease") \
	X(RELEASE,			"release the leader lease") \
	X(ASK_PEERS,		"ask the other members") \
	X(CLAIM_TIMELINE,	"record the id of the next timeline") \
	X(MARK_TIMELINES,	"mark timeline ids as taken") \
	X(PROMOTE,			"promote the server") \
	X(LEAD,				"lead") \
	X(FOLLOW,			"follow the leader") \
	X(RESUME_REPLAY,	"resume replay") \
	X(DEMOTE,			"stop at once and come back as a standby") \
	X(DEMOTE_OFFLINE,	"restart as a standby of nobody") \
	X(REPAIR,			"find out why it does not stream") \
	X(SWITCHOVER,		"check the request and hand over") \
	X(STOP_FAST,		"stop the server") \
	X(STOP_IMMEDIATE,	"stop the server at once") \
	X(FINISH_HANDOVER,	"release the leader lease to the candidate") \
	X(ABORT_HANDOVER,	"give up the switchover and start again as primary") \
	X(CLAIM_INITIALIZE,	"claim the bootstrap of the cluster") \
	X(INITDB,			"create a new cluster") \
	X(POST_BOOTSTRAP,	"create roles and the extension") \
	X(CLONE,			"clone another member") \
	X(START_PRIMARY,	"start as primary") \
	X(START_STANDBY,	"start as standby") \
	X(CRASH_RECOVERY,	"run crash recovery in single user mode") \
	X(CHECK_DIVERGENCE,	"compare the timelines with the leader's") \
	X(REWIND,			"run pg_rewind") \
	X(REMOVE_DATA,		"remove the data directory") \
	X(FIND_WAL_END,		"find the end of the WAL on disk") \
	X(HAND_OVER_CRASHED,	"release the leader lease instead of restarting") \
	X(EXIT_STOPPED,		"release the leader lease and end the supervisor") \
	X(REFUSE,			"refuse to take part")

typedef enum HaVerb
{
#define HA_VERB_ENUM(name, text) HA_DO_##name,
	HA_VERBS(HA_VERB_ENUM)
#undef HA_VERB_ENUM
	HA_VERB_COUNT
} HaVerb;

typedef struct HaRule
{
	const char *name;
	HaFacts		when;			/* all of these hold */
	HaFacts		unless;			/* none of these holds */
	HaVerb		then;
	const char *because;
} HaRule;

/* The first row whose facts hold decides; the last row matches always. */
extern const HaRule ha_life_rules[];		/* no server, or a goal for the supervisor */
extern const HaRule ha_leader_rules[];		/* a running server, the lease is ours */
extern const HaRule ha_race_rules[];		/* a running server, the lease is free */
extern const HaRule ha_follower_rules[];	/* a running server, another leads */
extern const HaRule ha_outage_rules[];		/* a running server, the store is silent */

extern const HaRule *ha_match(const HaRule *rules, HaFacts facts);

/* The tables by name, for tests and patroni.rules(). */
typedef struct HaRuleTable
{
	const char *name;
	const HaRule *rules;
	int			n_rules;
} HaRuleTable;

extern const HaRuleTable ha_rule_tables[];
extern const int ha_n_rule_tables;

#endif							/* PATRONI_HA_FACTS_H */
