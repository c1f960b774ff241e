/*-------------------------------------------------------------------------
 *
 * rules.c
 *      The decision tables of the engine.
 *
 * Rows are tried from the top; the first whose facts hold decides.  Facts
 * are gathered by ha_gather_facts(), verbs are carried out in verbs.c.  The
 * last row of each table matches always.  This file has no other dependency,
 * so that the tables can be shown as patroni.rules().
 *-------------------------------------------------------------------------
 */
#include "ha/rules.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "ha/facts.h"

#define F(name)		HA_FACT(name)

/*
 * No running server, or a goal that needs the server stopped: only the
 * supervisor can act on these.
 */
const HaRule ha_life_rules[] = {
	{"look-first", F(DATA_UNKNOWN), 0, HA_DO_WAIT,
	"the data directory has not been looked at yet"},
	{"refuse", F(GOAL_REFUSE), F(TASK), HA_DO_REFUSE,
	"this data directory may not take part in the cluster"},
	{"hangs-stopping", F(STOPPING) | F(LEASE_MINE) | F(HANGS) | F(CANDIDATE), F(PAUSED), HA_DO_RELEASE,
	"this server hangs while it stops and another member can take over"},
	{"hangs-down", F(STOPPED) | F(WAS_PRIMARY) | F(LEASE_MINE) | F(HANGS) | F(CANDIDATE), F(PAUSED) | F(BOOTSTRAPPING) | F(GOAL_SWITCHOVER) | F(GOAL_SHUTDOWN), HA_DO_HAND_OVER_CRASHED,
	"this server is down, its disk does not work, and another member can take over"},
	/* no WAL comes after the shutdown checkpoint: what is left of the server keeps nobody waiting */
	{"handover-confirm-early", F(GOAL_SWITCHOVER) | F(STOPPING) | F(LEASE_MINE) | F(CLEAN), F(HANDED_OVER), HA_DO_ASK_PEERS,
	"the shutdown checkpoint is written; asking whether the candidate has all of the WAL"},
	{"hand-over-early", F(GOAL_SWITCHOVER) | F(STOPPING) | F(LEASE_MINE) | F(CLEAN) | F(HANDED_OVER), 0, HA_DO_FINISH_HANDOVER,
	"the candidate has all of the WAL, the shutdown checkpoint included"},
	{"task-running", F(TASK), 0, HA_DO_SUPERVISE_TASK,
	"a task is under way"},

	/* a running server that has to stop for a goal */
	{"stop-for-shutdown", F(GOAL_SHUTDOWN) | F(RUNNING), F(PAUSED), HA_DO_STOP_FAST,
	"the supervisor was told to stop"},
	{"leave-running", F(GOAL_SHUTDOWN) | F(RUNNING) | F(PAUSED), 0, HA_DO_EXIT_STOPPED,
	"the supervisor was told to stop and the cluster is paused: the server stays up"},
	{"stop-for-switchover", F(GOAL_SWITCHOVER) | F(RUNNING), 0, HA_DO_STOP_FAST,
	"a switchover is under way: stopping, so that the candidate gets all of the WAL"},
	{"stop-for-restart", F(GOAL_RESTART) | F(RUNNING), 0, HA_DO_STOP_FAST,
	"a restart was asked for"},
	{"stop-for-reinit", F(GOAL_REINIT) | F(RUNNING), 0, HA_DO_STOP_IMMEDIATE,
	"this member is to be reinitialized"},
	{"stop-for-demotion", F(GOAL_DEMOTE) | F(RUNNING) | F(LEASE_OTHER), 0, HA_DO_STOP_IMMEDIATE,
	"another member leads: this one must not be a primary any more"},
	{"stop-hanging", F(GOAL_DEMOTE) | F(RUNNING) | F(HANGS), 0, HA_DO_STOP_IMMEDIATE,
	"this server hangs and must not be a primary any more"},
	{"stop-fenced", F(GOAL_DEMOTE) | F(RUNNING), 0, HA_DO_STOP_FAST,
	"the lease is over and writes are refused: going on as a standby"},
	{"stop-for-rewind", F(GOAL_REPAIR) | F(RUNNING) | F(DIVERGED), F(PAUSED), HA_DO_STOP_FAST,
	"this member has WAL that the leader does not have"},
	{"check-stream", F(GOAL_REPAIR) | F(RUNNING), F(TASK_PAUSE), HA_DO_CHECK_DIVERGENCE,
	"the server does not stream from the leader"},
	{"post-bootstrap", F(BOOTSTRAPPING) | F(RUNNING) | F(PRIMARY) | F(LEASE_MINE), F(TASK_PAUSE), HA_DO_POST_BOOTSTRAP,
	"the new cluster is up and needs its roles"},
	{"bootstrap-lease", F(BOOTSTRAPPING) | F(RUNNING) | F(PRIMARY) | F(LEASE_FREE), 0, HA_DO_ACQUIRE,
	"the new cluster is up and may write only under the leader lease"},
	{"bootstrap-wait", F(BOOTSTRAPPING) | F(RUNNING), 0, HA_DO_WAIT,
	"the new cluster is coming up"},
	{"start-too-slow", F(STARTING) | F(LEASE_MINE) | F(START_TIMEOUT) | F(CANDIDATE), F(PAUSED) | F(BOOTSTRAPPING), HA_DO_STOP_IMMEDIATE,
	"the start of the primary takes longer than primary_start_timeout and another member can take over"},
	{"hangs-starting", F(STARTING) | F(LEASE_MINE) | F(HANGS) | F(CANDIDATE), F(PAUSED) | F(BOOTSTRAPPING), HA_DO_STOP_IMMEDIATE,
	"this server hangs while it starts and another member can take over"},
	{"stop-while-starting", F(GOAL_SHUTDOWN) | F(STARTING), F(PAUSED), HA_DO_STOP_FAST,
	"the supervisor was told to stop"},
	{"demote-while-starting", F(STARTING) | F(WAS_PRIMARY) | F(LEASE_OTHER), F(PAUSED), HA_DO_STOP_IMMEDIATE,
	"another member became leader while this one was starting as primary"},
	{"starting", F(STARTING), 0, HA_DO_WAIT,
	"the server is starting"},
	{"stopping", F(STOPPING), 0, HA_DO_WAIT,
	"the server is stopping"},

	/* no server: what is there to start from? */
	{"shutdown-confirm", F(GOAL_SHUTDOWN) | F(STOPPED) | F(LEASE_MINE) | F(CLEAN) | F(CANDIDATE), F(HANDED_OVER) | F(HANDOVER_LATE), HA_DO_ASK_PEERS,
	"the server is shut down; asking who has all of its WAL"},
	{"shutdown-done", F(GOAL_SHUTDOWN) | F(STOPPED), 0, HA_DO_EXIT_STOPPED,
	"the server is stopped and the supervisor was told to stop"},
	{"data-unreadable", F(DATA_UNREADABLE) | F(LEASE_MINE), 0, HA_DO_RELEASE,
	"this member leads but its data directory cannot be used"},
	{"wait-for-data", F(DATA_UNREADABLE), 0, HA_DO_WAIT,
	"the data directory cannot be used"},
	{"foreign-leader", F(FOREIGN) | F(LEASE_MINE), 0, HA_DO_RELEASE,
	"the system identifier of the data directory is not the cluster's"},
	{"foreign-cluster", F(FOREIGN), F(PAUSED), HA_DO_REFUSE,
	"the system identifier of the data directory is not the cluster's"},
	{"empty-leader", F(DATA_EMPTY) | F(LEASE_MINE), F(BOOTSTRAPPING), HA_DO_RELEASE,
	"this member leads but its data directory is empty"},
	{"empty-paused", F(DATA_EMPTY) | F(PAUSED), 0, HA_DO_WAIT,
	"the data directory is empty and the cluster is paused"},
	{"empty-outage", F(DATA_EMPTY) | F(STORE_SILENT), 0, HA_DO_WAIT,
	"the data directory is empty and the store does not answer"},
	{"task-pause", F(TASK_PAUSE) | F(STOPPED), 0, HA_DO_WAIT,
	"the last task failed a moment ago"},
	{"initdb", F(DATA_EMPTY) | F(BOOTSTRAPPING), 0, HA_DO_INITDB,
	"this member won the race for the bootstrap"},
	{"clone", F(DATA_EMPTY) | F(LEASE_OTHER) | F(INITIALIZED) | F(CLONE_SOURCE), 0, HA_DO_CLONE,
	"the data directory is empty and the cluster has a leader"},
	{"claim-bootstrap", F(DATA_EMPTY) | F(LEASE_FREE) | F(MAY_BOOTSTRAP), F(INITIALIZED) | F(INITIALIZE_TAKEN) | F(NO_FAILOVER), HA_DO_CLAIM_INITIALIZE,
	"the cluster does not exist yet"},
	{"wait-for-leader", F(DATA_EMPTY), 0, HA_DO_WAIT,
	"the data directory is empty; waiting for a leader to clone"},
	{"start-bootstrapped", F(BOOTSTRAPPING) | F(STOPPED), 0, HA_DO_START_PRIMARY,
	"the new cluster has been created"},

	/* no server, but a data directory */
	{"promise-binds-stopped", F(STOPPED) | F(LEASE_MINE) | F(PROMISED), 0, HA_DO_RELEASE,
	"this member has promised not to lead"},
	{"handover-confirm", F(GOAL_SWITCHOVER) | F(STOPPED) | F(LEASE_MINE) | F(CLEAN), F(HANDED_OVER) | F(HANDOVER_LATE), HA_DO_ASK_PEERS,
	"the server is shut down; asking whether the candidate has all of its WAL"},
	{"hand-over", F(GOAL_SWITCHOVER) | F(STOPPED) | F(LEASE_MINE) | F(CLEAN) | F(HANDED_OVER), 0, HA_DO_FINISH_HANDOVER,
	"the candidate has all of the WAL"},
	{"handover-failed", F(GOAL_SWITCHOVER) | F(STOPPED) | F(LEASE_MINE), 0, HA_DO_ABORT_HANDOVER,
	"no candidate has all of the WAL: handing over would lose writes"},
	{"follow-successor", F(GOAL_SWITCHOVER) | F(STOPPED) | F(PAUSED), F(LEASE_MINE) | F(DIVERGED), HA_DO_START_STANDBY,
	"leadership was handed over; the pause does not keep the server down"},
	{"wait-for-taker", F(GOAL_SWITCHOVER) | F(STOPPED) | F(HANDED_OVER) | F(TAKER_UNPROMOTED), F(LEASE_MINE) | F(PAUSED), HA_DO_WAIT,
	"leadership was handed over; there is nobody to stream from before the new leader is a primary"},
	{"follow-taker", F(GOAL_SWITCHOVER) | F(STOPPED) | F(HANDED_OVER), F(LEASE_MINE) | F(DIVERGED), HA_DO_START_STANDBY,
	"leadership was handed over, with all of the WAL, before the server was down"},
	{"release-for-reinit", F(GOAL_REINIT) | F(STOPPED) | F(LEASE_MINE), 0, HA_DO_RELEASE,
	"this member leads but is to be reinitialized from another leader"},
	{"remove-for-reinit", F(GOAL_REINIT) | F(STOPPED) | F(LEASE_OTHER), F(LEADER_CHECKPOINT_PENDING) | F(STORE_SILENT), HA_DO_REMOVE_DATA,
	"this member is to be reinitialized"},
	{"reinit-wait", F(GOAL_REINIT) | F(STOPPED), 0, HA_DO_WAIT,
	"this member is to be reinitialized; waiting for a leader that is a primary"},
	{"restart-leader", F(GOAL_RESTART) | F(STOPPED) | F(LEASE_MINE) | F(WAS_PRIMARY), F(START_FAILED), HA_DO_START_PRIMARY,
	"a restart was asked for; the lease is kept"},
	{"restart-paused-primary", F(GOAL_RESTART) | F(STOPPED) | F(PAUSED) | F(WAS_PRIMARY), 0, HA_DO_START_PRIMARY,
	"a restart was asked for"},
	{"restart-standby", F(GOAL_RESTART) | F(STOPPED), F(WAS_PRIMARY) | F(START_FAILED), HA_DO_START_STANDBY,
	"a restart was asked for"},
	{"paused-leader-stopped", F(PAUSED) | F(STOPPED) | F(LEASE_MINE), 0, HA_DO_RELEASE,
	"the server is not running and the cluster is paused"},
	{"paused-stopped", F(PAUSED) | F(STOPPED), 0, HA_DO_WAIT,
	"the server is not running and the cluster is paused"},
	{"hangs-stopped", F(STOPPED) | F(HANGS), F(LEASE_MINE), HA_DO_WAIT,
	"the disk does not work: the server is not started before it does"},
	{"confirm-lease", F(STOPPED) | F(LEASE_UNSURE), F(STORE_SILENT), HA_DO_REGAIN_LEASE,
	"the leader key names this member"},
	{"outdated-leader-stopped", F(STOPPED) | F(WAS_PRIMARY) | F(LEASE_MINE) | F(TIMELINE_OLD) | F(CLEAN), 0, HA_DO_RELEASE,
	"this member leads but its data directory is on an older timeline than the cluster"},
	{"diverged-outage", F(STOPPED) | F(STORE_SILENT) | F(DIVERGED), F(LEASE_MINE), HA_DO_WAIT,
	"this member has WAL that the leader does not have, and the store does not answer"},
	{"start-outage", F(STOPPED) | F(STORE_SILENT) | F(LEASE_OVER), 0, HA_DO_START_STANDBY,
	"the store does not answer; a standby can do no harm"},
	{"start-failed", F(STOPPED) | F(LEASE_MINE) | F(START_FAILED) | F(CANDIDATE), F(STORE_SILENT), HA_DO_HAND_OVER_CRASHED,
	"the server does not start and another member can take over"},
	{"crashed-lossless", F(STOPPED) | F(WAS_PRIMARY) | F(LEASE_MINE) | F(LOSSLESS), F(CLEAN), HA_DO_HAND_OVER_CRASHED,
	"the server crashed and a candidate has all of its WAL"},
	{"crashed-no-restart", F(STOPPED) | F(WAS_PRIMARY) | F(LEASE_MINE) | F(START_TIMEOUT) | F(CANDIDATE), F(CLEAN), HA_DO_HAND_OVER_CRASHED,
	"the server crashed and primary_start_timeout does not allow to wait for it"},
	{"crashed-find-end", F(STOPPED) | F(WAS_PRIMARY) | F(LEASE_MINE) | F(CANDIDATE), F(CLEAN) | F(WAL_END_KNOWN), HA_DO_FIND_WAL_END,
	"the server crashed; a candidate may have all of its WAL"},
	{"crashed-ask", F(STOPPED) | F(WAS_PRIMARY) | F(LEASE_MINE) | F(CANDIDATE) | F(WAL_END_KNOWN), F(CLEAN) | F(ASKED), HA_DO_ASK_PEERS,
	"the server crashed; asking who has all of its WAL"},
	{"restart-in-place", F(STOPPED) | F(WAS_PRIMARY) | F(LEASE_MINE), 0, HA_DO_START_PRIMARY,
	"this member holds the leader lease and its server is down"},
	{"start-with-lease", F(STOPPED) | F(LEASE_MINE), 0, HA_DO_START_STANDBY,
	"this member holds the leader lease; it starts read-only and is promoted then"},
	{"rewind-after-checkpoint", F(STOPPED) | F(LEASE_OTHER) | F(DIVERGED) | F(LEADER_CHECKPOINT_PENDING) | F(CAN_REWIND), F(REWIND_FAILED), HA_DO_WAIT,
	"waiting for the leader's checkpoint before pg_rewind"},
	{"rewind", F(STOPPED) | F(LEASE_OTHER) | F(DIVERGED) | F(CAN_REWIND), F(REWIND_FAILED), HA_DO_REWIND,
	"this member has WAL that the leader does not have"},
	{"remove-diverged", F(STOPPED) | F(LEASE_OTHER) | F(DIVERGED) | F(MAY_REMOVE), 0, HA_DO_REMOVE_DATA,
	"this member has diverged and the configuration allows to remove its data directory"},
	{"diverged", F(STOPPED) | F(LEASE_OTHER) | F(DIVERGED), 0, HA_DO_WAIT,
	"this member has WAL that the leader does not have, and may neither rewind nor remove its data directory"},
	{"recover-crashed", F(STOPPED) | F(WAS_PRIMARY) | F(LEASE_OTHER), F(CLEAN) | F(CHECKED), HA_DO_CRASH_RECOVERY,
	"a crashed primary must finish crash recovery before its timeline can be compared"},
	{"check-former-primary", F(STOPPED) | F(WAS_PRIMARY) | F(LEASE_OTHER), F(CHECKED), HA_DO_CHECK_DIVERGENCE,
	"a former primary may have WAL that the leader does not have"},
	{"check-failed-start", F(STOPPED) | F(START_FAILED) | F(LEASE_OTHER), F(CHECKED), HA_DO_CHECK_DIVERGENCE,
	"the server does not start: it may have WAL that the leader does not have"},
	{"diverged-leaderless", F(STOPPED) | F(LEASE_FREE) | F(DIVERGED), 0, HA_DO_WAIT,
	"this member has WAL that the last leader did not have; waiting for a leader"},
	{"start-standby", F(STOPPED), 0, HA_DO_START_STANDBY,
	"the server is not running"},
	{"nothing-to-do", 0, 0, HA_DO_WAIT,
	"the server is in no state to act on"},
};

/* A running server, and the lease is ours. */
const HaRule ha_leader_rules[] = {
	{"promise-binds", F(PROMISED), 0, HA_DO_RELEASE,
	"this member has promised not to lead"},
	{"confirming-lease", F(LEASE_UNSURE), 0, HA_DO_WAIT,
	"the leader key names this member; asking the store whether the lease still runs"},
	{"foreign-leader-running", F(FOREIGN), F(PAUSED), HA_DO_RELEASE,
	"the system identifier of this server is not the cluster's"},
	{"outdated-leader", F(PRIMARY) | F(TIMELINE_OLD), F(PAUSED), HA_DO_RELEASE,
	"this primary is on an older timeline than the cluster"},
	{"hangs-replaced", F(PRIMARY) | F(HANGS) | F(SUCCESSOR), F(PAUSED), HA_DO_RELEASE,
	"this server hangs and another member can take over"},
	{"switchover", F(PRIMARY) | F(REQUEST) | F(REQUEST_DUE), 0, HA_DO_SWITCHOVER,
	"a switchover or failover is requested"},
	{"hangs-asking", F(PRIMARY) | F(HANGS), F(PAUSED) | F(SUCCESSOR_ASKED), HA_DO_LEAD,
	"this server hangs; asking who can take over"},
	{"hangs-alone", F(PRIMARY) | F(HANGS), F(PAUSED), HA_DO_LEAD,
	"this server hangs, but no other member can take over: it goes on leading"},
	{"lead", F(PRIMARY), 0, HA_DO_LEAD,
	"this member is the primary and holds the leader lease"},
	{"paused-unseen", F(PAUSED), F(OBSERVED) | F(PROMOTING) | F(REQUEST_FOR_ME), HA_DO_WAIT,
	"the cluster is paused and the worker has not seen yet what this server is"},
	{"paused-not-primary", F(PAUSED), F(PROMOTING) | F(REQUEST_FOR_ME), HA_DO_RELEASE,
	"the cluster is paused and this server is not a primary"},
	{"promoting", F(PROMOTING), 0, HA_DO_WAIT,
	"the promotion is under way"},
	{"hangs-unpromoted", F(HANGS) | F(CANDIDATE), F(PAUSED), HA_DO_RELEASE,
	"this server hangs before it is promoted: another member goes first"},
	{"outdated-standby", F(TIMELINE_OLD), F(REQUEST_FOR_ME), HA_DO_RELEASE,
	"this member is on an older timeline than the cluster"},
	{"nofailover-leader", F(NO_FAILOVER), 0, HA_DO_RELEASE,
	"this member is tagged nofailover and not a primary any more: it may not be promoted"},
	{"sync-key-changed", F(SYNC_DENIES), 0, HA_DO_RELEASE,
	"the sync key changed since this member raced: another member may have led meanwhile"},
	{"claim-timeline", 0, F(TIMELINE_CLAIMED), HA_DO_CLAIM_TIMELINE,
	"this member holds the leader lease; the next timeline id must be nobody else's"},
	{"sync-first", F(SYNC_UNREADY), 0, HA_DO_WAIT,
	"before the promotion synchronous_standby_names and the sync key must suit each other"},
	{"cannot-mark", F(TIMELINES_UNMARKED) | F(CANNOT_MARK), 0, HA_DO_RELEASE,
	"this member cannot mark timeline ids as taken in its data directory; it gives way to others for a ttl"},
	{"mark-timelines", F(TIMELINES_UNMARKED), 0, HA_DO_MARK_TIMELINES,
	"this member holds the leader lease; ids of other promotions are marked as taken in its data directory first"},
	{"promote", 0, 0, HA_DO_PROMOTE,
	"this member holds the leader lease"},
};

/* A running server, and nobody leads. */
const HaRule ha_race_rules[] = {
	{"foreign-running", F(FOREIGN), 0, HA_DO_REFUSE,
	"the system identifier of this server is not the cluster's"},
	{"demote-outdated", F(PRIMARY) | F(TIMELINE_OLD), F(PAUSED), HA_DO_DEMOTE,
	"this primary is on an older timeline than the cluster"},
	{"outdated-paused", F(PRIMARY) | F(TIMELINE_OLD), 0, HA_DO_WAIT,
	"the cluster is paused: this primary is on an older timeline than the cluster and may not lead, or others would be rewound to it"},
	{"promised", F(PROMISED), 0, HA_DO_WAIT,
	"this member has promised not to lead"},
	{"not-listed", F(NOT_LISTED), 0, HA_DO_WAIT,
	"the failsafe key names other members only: a leader without the store would not ask this one"},
	{"hangs-demoted", F(PRIMARY) | F(HANGS) | F(CANDIDATE), F(PAUSED), HA_DO_DEMOTE,
	"this server hangs and another member can take over"},
	{"retake-lease", F(PRIMARY), 0, HA_DO_ACQUIRE,
	"this member is a primary and the leader lease is free"},
	{"promotion-denied", F(PROMOTING) | F(SYNC_DENIES), F(PAUSED), HA_DO_DEMOTE,
	"another member led while this one was being promoted, and has writes that this one lacks"},
	{"promoting-without-lease", F(PROMOTING), 0, HA_DO_ACQUIRE,
	"this member is being promoted and the leader lease is free"},
	{"unseen", 0, F(OBSERVED), HA_DO_WAIT,
	"the worker does not see the server, so nothing is known of its WAL"},
	{"gives-way", F(CANNOT_MARK), 0, HA_DO_WAIT,
	"this member could not mark timeline ids as taken in its data directory; others go first for a ttl"},
	{"hangs", F(HANGS) | F(CANDIDATE), F(PAUSED), HA_DO_WAIT,
	"this server hangs: another member goes first"},
	{"named", F(REQUEST_FOR_ME), F(NO_FAILOVER) | F(SYNC_DENIES), HA_DO_ACQUIRE,
	"the operator named this member"},
	{"named-asking", F(REQUEST_FOR_ME) | F(ASKING), F(NO_FAILOVER), HA_DO_WAIT,
	"the operator named this member; waiting for the votes of other synchronous members"},
	{"named-ask", F(REQUEST_FOR_ME), F(NO_FAILOVER) | F(ASKED), HA_DO_ASK_PEERS,
	"the operator named this member; others must confirm that it has every acknowledged write"},
	{"paused", F(PAUSED), 0, HA_DO_WAIT,
	"there is no automatic failover while the cluster is paused"},
	{"nofailover", F(NO_FAILOVER), 0, HA_DO_WAIT,
	"this member is tagged nofailover"},
	{"lagging", F(LAGS), 0, HA_DO_WAIT,
	"this member lags more than maximum_lag_on_failover"},
	{"outdated", F(TIMELINE_OLD), 0, HA_DO_WAIT,
	"this member is on an older timeline than the cluster"},
	{"asking", F(ASKING), 0, HA_DO_WAIT,
	"waiting for the answers of the other members"},
	{"ask", 0, F(ASKED), HA_DO_ASK_PEERS,
	"the leader lease is free"},
	{"primary-alive", F(PRIMARY_ALIVE), 0, HA_DO_WAIT,
	"another member says it is still a primary"},
	{"not-synchronous", F(SYNC_DENIES), 0, HA_DO_WAIT,
	"this member may lack acknowledged writes: the sync key does not let it lead"},
	{"candidate-first", F(REQUEST_FOR_OTHER), 0, HA_DO_WAIT,
	"the operator named another member, which can take over"},
	{"missed-writes", F(MISSED_WRITES), 0, HA_DO_WAIT,
	"the last leader wrote more than this member has; waiting for a member that may have it"},
	{"race-for-lease", F(MOST_WAL), 0, HA_DO_ACQUIRE,
	"the leader lease is free and no reachable member is better placed"},
	{"better-placed", 0, 0, HA_DO_WAIT,
	"another member is better placed to lead"},
};

/* A running server, and another member leads. */
const HaRule ha_follower_rules[] = {
	{"foreign-follower", F(FOREIGN), F(PAUSED), HA_DO_REFUSE,
	"the system identifier of this server is not the cluster's"},
	{"primary-without-lease-paused", F(PRIMARY) | F(PAUSED), 0, HA_DO_WAIT,
	"the cluster is paused: going on as a primary without the leader lease"},
	{"demote", F(PRIMARY), 0, HA_DO_DEMOTE,
	"another member holds the leader lease"},
	{"promotion-lost", F(PROMOTING), 0, HA_DO_DEMOTE,
	"another member took the leader lease while this one was being promoted"},
	{"compare-first", F(WAS_PRIMARY), F(PAUSED) | F(TASK_PAUSE), HA_DO_REPAIR,
	"this standby was a primary, or followed one that did not lead, and may have WAL that the leader does not have"},
	{"compare-later", F(WAS_PRIMARY), 0, HA_DO_WAIT,
	"this standby was a primary, or followed one that did not lead, and follows nobody before its timeline has been compared"},
	{"follow-promoted", F(LEADER_UNPROMOTED), F(FOLLOWS), HA_DO_WAIT,
	"another member leads and is about to be promoted: what is streamed before would be streamed anew"},
	{"follow", 0, F(FOLLOWS), HA_DO_FOLLOW,
	"the leader changed"},
	{"resume-replay", F(REPLAY_PAUSED), F(PAUSED), HA_DO_RESUME_REPLAY,
	"replay stopped because a parameter is smaller than on the primary"},
	{"repair", F(STREAM_LOST), F(PAUSED), HA_DO_REPAIR,
	"the server has not streamed from the leader for a while, or cannot"},
	{"following", 0, 0, HA_DO_WAIT,
	"another member leads and this one follows it"},
};

/* A running server, and the store does not answer. */
const HaRule ha_outage_rules[] = {
	{"outage-paused", F(PAUSED), 0, HA_DO_WAIT,
	"the store does not answer; the cluster is paused, so nothing changes"},
	{"outage-standby", 0, F(PRIMARY), HA_DO_WAIT,
	"the store does not answer; going on as a standby"},
	{"outage-failsafe", F(PRIMARY) | F(FAILSAFE), F(LEASE_OVER), HA_DO_WAIT,
	"the store does not answer; all members agree that this one goes on leading"},
	{"outage-lease-runs", F(PRIMARY), F(LEASE_OVER), HA_DO_WAIT,
	"the store does not answer; the lease still runs"},
	{"outage-fenced", F(PRIMARY) | F(LEASE_OVER), F(GRACE_OVER), HA_DO_WAIT,
	"the store does not answer and the lease may be over: writes are refused"},
	{"demote-offline", 0, 0, HA_DO_DEMOTE_OFFLINE,
	"the store does not answer and the lease is over"},
};

#define TABLE(name, rules) {name, rules, (int) (sizeof(rules) / sizeof(rules[0]))}

const HaRuleTable ha_rule_tables[] = {
	TABLE("life", ha_life_rules),
	TABLE("leader", ha_leader_rules),
	TABLE("race", ha_race_rules),
	TABLE("follower", ha_follower_rules),
	TABLE("outage", ha_outage_rules),
};
const int	ha_n_rule_tables = (int) (sizeof(ha_rule_tables) / sizeof(ha_rule_tables[0]));

static const char *const fact_texts[HA_FACT_COUNT] = {
#define HA_FACT_TEXT(name, text) text,
	HA_FACTS(HA_FACT_TEXT)
#undef HA_FACT_TEXT
};

static const char *const verb_texts[HA_VERB_COUNT] = {
#define HA_VERB_TEXT(name, text) text,
	HA_VERBS(HA_VERB_TEXT)
#undef HA_VERB_TEXT
};

_Static_assert(HA_FACT_COUNT <= HA_FACT_BITS, "facts are bits of one word");

/* The first row whose facts hold.  The last row of a table matches always. */
const HaRule *
ha_match(const HaRule *rules, HaFacts facts)
{
	while ((facts & rules->when) != rules->when || (facts & rules->unless) != 0)
		rules++;
	return rules;
}

static void
facts_to_text(HaFacts facts, char text[HA_RULE_TEXT_MAX])
{
	size_t		used = 0;

	text[0] = '\0';
	for (int i = 0; i < HA_FACT_COUNT; i++)
	{
		int			n;

		if ((facts & ((HaFacts) 1 << i)) == 0)
			continue;
		n = snprintf(text + used, HA_RULE_TEXT_MAX - used, "%s%s", used ? ", " : "", fact_texts[i]);
		if (n < 0 || (size_t) n >= HA_RULE_TEXT_MAX - used)
			return;
		used += (size_t) n;
	}
}

/* The rows in the order in which the engine tries them; false past the end. */
bool
ha_rule_row(int index, HaRuleRow *row)
{
	for (int i = 0; i < ha_n_rule_tables && index >= 0; i++)
	{
		const HaRuleTable *table = &ha_rule_tables[i];

		if (index < table->n_rules)
		{
			const HaRule *rule = &table->rules[index];

			row->table = table->name;
			row->name = rule->name;
			facts_to_text(rule->when, row->when);
			facts_to_text(rule->unless, row->unless);
			row->then = verb_texts[rule->then];
			row->because = rule->because;
			return true;
		}
		index -= table->n_rules;
	}
	return false;
}
