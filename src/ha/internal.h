/*-------------------------------------------------------------------------
 *
 * internal.h
 *      The inside of the engine: the node's state and what its files share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_HA_INTERNAL_H
#define PATRONI_HA_INTERNAL_H

#include <jansson.h>

#include "base/error.h"
#include "ha/facts.h"
#include "ha/ha.h"
#include "ha/slot_plan.h"
#include "ha/sync_plan.h"

/* How much earlier than the store's own expiry the fence closes: ha_margin_ms(). */
#define HA_MARGIN_MIN_MS		100
#define HA_MARGIN_DIVISOR		20		/* or ttl / 20, if that is more */

#define HA_RETRY_MIN_MS			100		/* first pause after a failed request */
#define HA_RETRY_MAX_MS			1000
#define HA_RACE_VALID_MS		500		/* answers of peers are used that long */
#define HA_TASK_RETRY_MIN_MS	1000
#define HA_TASK_RETRY_MAX_MS	30000
#define HA_UNCLEAR_SAID_MS		600000	/* what is as unclear after that long is said again */
#define HA_PROMOTE_TIMEOUT_MS	60000	/* then the promotion is asked for again */
#define HA_CHECKPOINT_PAUSE_MS	500		/* after a promotion: clients connect then */
#define HA_CHECKPOINT_WAIT_MS	60000	/* before a switchover; then it goes on without */
#define HA_RESTARTPOINT_WAIT_MS	5000	/* before a switchover, for the candidate's; then likewise */
#define HA_RESTARTPOINT_ASK_MS	50		/* whether it has it */
#define HA_RESTARTPOINT_RETRY_MS	200	/* a candidate asks for it so often: it needs the leader's record */
#define HA_TAKER_WAIT_MS		300		/* at most, for a new leader to be a primary before it is followed */
#define HA_WAS_PAUSED_MS		5000	/* so long the home before is believed about a pause */
#define HA_SETTLE_MS			1000	/* positions that begin to move are told so much later */
#define HA_REST_LEFT_MS			5000	/* of its lease, when a member at rest renews it; at least */
#define HA_PUBLISH_PAUSE_MS		300		/* what a member is doing in a switchover may wait that long */
#define HA_HANDOVER_WAIT_MS		5000	/* at most, for a candidate to confirm the shutdown checkpoint */
#define HA_STREAM_LOST_MS		5000
#define HA_REPAIR_MAX_MS		60000
#define HA_OFF_COURSE_REPAIRS	2		/* in a row, before a standby is started anew */
#define HA_SLOTS_PAUSE_MS		500		/* for the server to show what was made or dropped */
#define HA_COMMAND_TIMEOUT_MS	60000
#define HA_SYNC_NAMES_WAIT_MS	2000	/* for a change of the names to be seen at all */
#define HA_PLACE_MAX			256		/* history files placed in one step */
#define HA_HANG_ASK_MS			1000	/* a primary that hangs asks so often who can take over */
#define HA_SCHEDULE_STALE_MS	30000
#define HA_TTL_MAX_MS			86400000	/* no lease is longer */

/* What a request to the store is for; at most one of each is under way. */
typedef enum HaPurpose
{
	FOR_RENEW,
	FOR_ACQUIRE,
	FOR_RELEASE,
	FOR_MEMBER,
	FOR_STATUS,
	FOR_HISTORY,
	FOR_INITIALIZE,
	FOR_CONFIG,
	FOR_TIMELINE,
	FOR_FAILOVER,				/* clear or write the failover key */
	FOR_MEMBER_REQUEST,			/* requests/<member> */
	FOR_SYNC,
	FOR_FAILSAFE,
	FOR_COUNT,
} HaPurpose;

typedef struct HaPending
{
	uint64_t	id;				/* 0 = none under way */
	int64_t		sent_ms;
	int64_t		next_try_ms;	/* not before */
	int64_t		ttl_ms;			/* the ttl in force when it was sent */
	int			failures;
} HaPending;

/* What only the supervisor can bring about. */
typedef enum HaGoal
{
	HA_GOAL_NONE,
	HA_GOAL_SWITCHOVER,			/* stop, let the candidate catch up, release, come back as standby */
	HA_GOAL_RESTART,			/* stop and start, keeping role and lease */
	HA_GOAL_DEMOTE,				/* stop at once, come back as standby */
	HA_GOAL_REINIT,				/* stop, remove the data, clone */
	HA_GOAL_REPAIR,				/* find out why a standby does not stream; rewind if needed */
	HA_GOAL_SHUTDOWN,			/* stop, release, end */
	HA_GOAL_REFUSE,				/* end, leaving the server alone */
	HA_GOAL_COUNT,
} HaGoal;

/* Why peers are asked. */
typedef enum HaRacePurpose
{
	RACE_NONE,
	RACE_LEADER,				/* who is best placed to lead? */
	RACE_SWITCHOVER,			/* who could take over? */
	RACE_HANDOVER,				/* who has all WAL up to handover_lsn? */
	RACE_HANG,					/* who could take over from a primary that hangs? */
} HaRacePurpose;

typedef struct HaKnownPeer
{
	char		name[CLUSTER_NAME_MAX];
	char		api_url[CLUSTER_URL_MAX];
} HaKnownPeer;

#define HA_SEEN_SLOTS_MAX	(2 * CLUSTER_MEMBERS_MAX)
#define HA_CREATE_LOGICAL_MS	10000	/* between two attempts */

/* A slot that was wanted, or is here. */
typedef struct HaSeenSlot
{
	char		slot[64];
	int64_t		seen_ms;		/* last wanted, or used, or first seen here */
	bool		is_member;		/* it was a member's */
	bool		was_here;		/* on this server, since this member leads */
	bool		has_problem;	/* which has been said, on the leader */
	int64_t		asked_ms;		/* when it was last asked for; 0 = never */
	int			n_asked;		/* so often a physical one was, in vain */
} HaSeenSlot;

/* Replication slots: changed in slots.c only. */
typedef struct HaSlots
{
	SlotConfigs configs;
	SlotPlan	plan;			/* of the last step that looked */
	HaSeenSlot	seen[HA_SEEN_SLOTS_MAX];
	int			n_seen;
	int64_t		asked_ms;		/* when slots were last made or dropped */
	bool		is_leading;		/* the list of retained slots was taken over */
	char		said[HA_REASON_MAX];	/* the last complaint */
	char	   *copy_text;		/* owned: what was asked for last; NULL = nothing */
	char		copy_url[CLUSTER_URL_MAX];
	int64_t		copy_ms;
} HaSlots;

typedef struct HaRace
{
	HaRacePurpose purpose;
	uint64_t	round;
	int64_t		started_ms;
	int64_t		deadline_ms;	/* silent peers are given up then */
	int64_t		ended_ms;		/* 0 = still asking */
	int			n_asked;
	int			n_answered;
	char		asked[CLUSTER_MEMBERS_MAX][CLUSTER_NAME_MAX];
	bool		has_answered[CLUSTER_MEMBERS_MAX];
	HaPeer		answers[CLUSTER_MEMBERS_MAX];
} HaRace;

typedef struct HaWaiting
{
	HaCommand	command;		/* id 0 = free */
	bool		is_submitted;	/* its store request is under way */
	bool		is_accepted;
	uint64_t	version;		/* of the key as we wrote it; older views say nothing */
	char		old_leader[CLUSTER_NAME_MAX];
	char		request_id[40];	/* of requests/<member> */
	char		warning[HA_REASON_MAX];	/* added to the answer; "" = none */
	int64_t		deadline_ms;
} HaWaiting;

/* Why a command is refused. */
typedef struct HaProblem
{
	const char *sqlstate;		/* static */
	char		text[HA_REASON_MAX];
} HaProblem;

/* Synchronous replication: changed in sync.c only. */
typedef struct HaSync
{
	bool		is_open;		/* under this lease, on this server, commits may be acknowledged */
	bool		has_plan;		/* "step" is of this step of the engine */
	SyncStep	step;

	/* a write of the key whose outcome the view does not show yet */
	bool		is_writing;
	bool		is_deleting;
	bool		is_unsure;		/* it may still happen: it is sent again */
	bool		is_done;		/* the store has confirmed it */
	int64_t		retry_ms;		/* not before */
	uint64_t	base_version;	/* of the key that it replaces; 0 = none */
	char	   *text;			/* owned */
	bool		must_touch;		/* a write of an earlier process may be under way */
	bool		is_stale;		/* the key in our name may be of an earlier primary here */

	/* a change of the names that the server does not show yet */
	bool		is_setting;
	int64_t		names_sent_ms;
	uint32_t	names_generation;	/* before the change */
	char	   *names_text;		/* owned: what was sent last; NULL = the operator's */
	bool		has_names_text;

	int64_t		promoted_ms;	/* 0 = not lately */
	bool		may_lead;		/* raced with the key at "raced_version" */
	uint64_t	raced_version;
	bool		is_forced;		/* an operator named this member, whatever the key says */

	const char *said_rule;		/* of the last message about waiting; static */
} HaSync;

/* A member that is in the failsafe key and not in the store any more. */
typedef struct HaGoneMember
{
	char		name[CLUSTER_NAME_MAX];
	int64_t		since_ms;
} HaGoneMember;

/* failsafe_mode: changed in failsafe.c only. */
typedef struct HaFailsafe
{
	/* the key, as the view shows it */
	bool		has_read;
	uint64_t	read_version;
	int			n_listed;		/* -1: the text cannot be used */
	FailsafeMember listed[CLUSTER_MEMBERS_MAX];

	/* as the leader: what was written */
	uint64_t	trusted_version;	/* of our last write that the store has confirmed; 0 = none */
	uint64_t	base_version;	/* that those would replace which name "maybe" */
	int			n_maybe;
	FailsafeMember maybe[CLUSTER_MEMBERS_MAX];
	bool		is_deleting;	/* the request under way deletes it */
	int			n_gone;
	HaGoneMember gone[CLUSTER_MEMBERS_MAX];

	/* as the leader: the round under way, or the last one */
	bool		is_asking;
	bool		must_ask;		/* somebody wants to know at once */
	uint64_t	round;
	int64_t		sent_ms;
	int64_t		ttl_ms;			/* that was asked for */
	int64_t		give_up_ms;
	int64_t		next_ms;		/* not before */
	int			n_asked;
	char		asked[2 * CLUSTER_MEMBERS_MAX][CLUSTER_NAME_MAX];
	bool		has_accepted[2 * CLUSTER_MEMBERS_MAX];
	int64_t		agreed_ms;		/* when the last round was sent in which all accepted */
	int64_t		until_ms;		/* writes may be acknowledged until then; 0 = only under the lease */
	char		refusal[HA_REASON_MAX];	/* who did not accept, and why */

	/* as another member */
	int64_t		promise_ms;		/* it does not lead before */
	char		promised_to[CLUSTER_NAME_MAX];
	int64_t		page_made_ms;
} HaFailsafe;

struct HaNode
{
	HaHome		home;
	int64_t		now_ms;			/* of the current step */
	int64_t		wall_ms;
	HaActions  *out;			/* of the current step */
	int64_t		wake_ms;		/* earliest wish of the current step */

	bool		has_settings;
	HaSettings	settings;
	ClusterView view;
	HaKnownPeer peers[CLUSTER_MEMBERS_MAX];	/* of the last view with a leader, and the current */
	int			n_peers;
	bool		has_postgres;
	HaPostgres	postgres;

	bool		store_silent;
	int64_t		silent_since_ms;
	int64_t		born_ms;		/* first step */

	/* The lease.  Changed in lease.c only. */
	bool		has_lease;
	int64_t		lease_sent_ms;	/* before the renewal that succeeded was sent */
	int64_t		lease_ttl_ms;	/* the ttl under which it was granted or renewed */
	uint64_t	lease_version;	/* store version at which we got the key */
	uint64_t	acquired_id;	/* of the request: a renewal that was sent before may have been refused before */
	uint64_t	released_id;	/* the newest request when it was released: they speak of before */
	int64_t		left_fence_ms;	/* the open fence that a home which died has left; 0 = none */
	bool		is_giving_away;	/* a release was decided and its end is not known */
	bool		is_fence_set;	/* we have set the fence since we drive */
	bool		was_down_paused;	/* the server was down in this pause: who starts it means it */
	bool		has_pause;		/* our own settings say that the cluster is paused */
	bool		was_paused;		/* so it was for the home that drove before, as of... */
	uint64_t	was_paused_version;	/* ... this version of the configuration; 0 = unknown */
	bool		is_overruled;	/* another member led when this pause met a primary with a closed fence */
	int64_t		fence_ms;		/* what we set */
	int64_t		leaderless_since_ms;	/* 0 = there is a leader */
	int64_t		leader_since_ms;	/* when this leader was first seen in place of another; 0 = it always led */
	uint64_t	patience_version;	/* of the request that names another member, see step.c; 0 = none waits */
	int64_t		patience_since_ms;
	bool		has_renewed;	/* the session was renewed since we drive */
	int64_t		renewed_ms;
	bool		is_renewing_lease;	/* the renewal under way is for the leader key too */

	HaPending	pending[FOR_COUNT];
	uint64_t	next_id;

	HaTask		task;
	uint64_t	task_id;
	int64_t		task_started_ms;
	char		task_member[CLUSTER_NAME_MAX];
	bool		is_task_cancelled;
	HaTask		failed_task;
	int			task_failures;
	int64_t		task_retry_ms;
	char		task_error[HA_REASON_MAX];
	char		unclear[HA_REASON_MAX];	/* why the last comparison told nothing, and with whom; "" = it did */
	int			n_unclear;		/* so many in a row for that reason */
	int64_t		unclear_ms;		/* the last of them */

	HaGoal		goal;
	int64_t		goal_since_ms;
	char		goal_candidate[CLUSTER_NAME_MAX];	/* named by the operator, or "" */
	char		successor[CLUSTER_NAME_MAX];		/* who confirmed, for following at once */
	char		goal_because[HA_REASON_MAX];
	bool		goal_from_leader;
	Lsn			handover_lsn;	/* shutdown checkpoint or end of WAL; 0 = unknown */
	bool		is_handed_over;
	int64_t		checkpoint_asked_ms;
	Lsn			checkpoint_from;
	uint64_t	checkpoint_version;	/* of the request it was asked for */
	int64_t		checkpointed_ms;	/* when it was done; 0 = not yet */
	uint64_t	restartpoint_version;	/* of the request that this member gets ready for */
	int64_t		restartpoint_since_ms;
	int64_t		restartpoint_asked_ms;
	Lsn			restartpoint_replayed;	/* what was replayed then */
	bool		is_bootstrapping;
	bool		is_post_bootstrapped;
	bool		has_bootstrap_failed;	/* our claim is still to be deleted */
	bool		is_deleting_claim;		/* the request FOR_INITIALIZE deletes it */

	HaRace		race;

	bool		is_promoting;
	int64_t		promote_ms;
	uint32_t	claimed_timeline;
	uint32_t	mark_first;			/* of the ids that were last to be marked as taken */
	int64_t		mark_next_ms;		/* not again before, unless some have been seen */
	int64_t		mark_since_ms;		/* this one since then; 0 = none has been tried */
	int64_t		upstream_set_ms;	/* when we last re-pointed the server */

	char		checked_with[CLUSTER_NAME_MAX];	/* the leader that what follows is about; "" = unknown */
	bool		is_checked;
	bool		is_checked_running;	/* as a standby: says nothing of what it writes as a primary since */
	bool		is_diverged;
	bool		has_rewind_failed;
	uint32_t	primary_timeline;	/* a primary here was on it; 0 = unknown */
	uint32_t	primary_from;		/* the first one since it last agreed with a leader; 0 = unknown */
	uint32_t	seen_timeline;	/* the newest of any member that was in the store; its key may be gone */
	bool		is_uncompared;	/* a standby that was started from a primary's data directory unseen */
	bool		is_source_unsure;	/* it was none: it has its WAL from another member than the one that leads */
	bool		knows_past;		/* whether it is that: else the mark on the data directory tells */
	bool		is_wal_end_known;
	int64_t		down_since_ms;	/* 0 = the server runs */
	int64_t		stream_lost_ms;	/* 0 = streams */
	int64_t		repair_next_ms;
	int			repair_failures;
	bool		needs_checkpoint;	/* after a promotion */

	HaSync		sync;
	HaFailsafe	failsafe;
	bool		is_successor_asked;	/* a round about a server that hangs has ended; hang.c */

	/* what was published */
	char	   *member_text;	/* owned */
	uint64_t	member_version;	/* revision of the store with it; 0 = the other home wrote it */
	int64_t		member_put_ms;
	int64_t		moved_ms;		/* since when positions differ from the key; 0 = they do not */
	int64_t		unpublished_ms; /* since when more than positions differs from the key; 0 = it does not */
	char	   *member_sent;	/* owned: under way */
	Lsn			status_lsn;
	int64_t		status_put_ms;
	int64_t		status_moved_ms;	/* since when the position differs from it; 0 = it does not */
	int64_t		status_look_ms;
	Lsn			status_sent;
	char	   *status_text;	/* owned: as written or being written last; NULL = none */
	MemberRole	announced_role;	/* to callbacks */
	HaSlots		slots;
	char		handled_request[40];	/* id of the requests/<me> under way or done */
	char		request_problem[HA_REASON_MAX];	/* why it was refused; "" = it was not */
	bool		is_request_running;

	HaCommand	restart;		/* scheduled, if it is so; restart.c */
	char		restart_text[HA_TEXT_MAX];	/* the same, for the member key; "" = none */
	bool		must_recall_restart;	/* our member key may show one */

	MemberRole	role;
	MemberState state;
	HaDecision	decision;
	char		round_end[HA_REASON_MAX];	/* why the last round of questions ended without a
									 * lease; "" = there was none, see step.c */
	HaWaiting	waiting[HA_COMMANDS_MAX];
};

/* actions.c */
extern HaAction *ha_add(HaNode *node, HaActionKind kind, const char *rule,
						const char *because,...) PRINTF_LIKE(4, 5);
extern void ha_log(HaNode *node, int level, const char *rule, const char *because,...) PRINTF_LIKE(4, 5);
extern void ha_set_text(HaNode *node, HaAction *action, char *text);	/* takes "text" */
extern void ha_wake(HaNode *node, int64_t at_ms);
extern void ha_name_copy(char *to, size_t size, const char *from);

/* requests.c */
extern bool ha_is_ready(HaNode *node, HaPurpose purpose);
extern HaAction *ha_request(HaNode *node, HaPurpose purpose, HaActionKind kind,
							const char *rule, const char *because);
extern bool ha_is_pending(const HaNode *node, HaPurpose purpose);
extern HaPurpose ha_reply_purpose(HaNode *node, uint64_t id, HaOutcome outcome);

/* step.c */
extern uint64_t ha_pause_version(const HaNode *node);

/* state.c */
extern HaFacts ha_gather_facts(HaNode *node);
extern bool ha_is_primary(const HaNode *node);
extern bool ha_was_primary(const HaNode *node);
extern bool ha_is_running(const HaNode *node);
extern bool ha_is_outdated(const HaNode *node);
extern Lsn	ha_own_position(const HaNode *node);
extern uint32_t ha_own_timeline(const HaNode *node);
extern const Member *ha_leader_member(const HaNode *node);
extern const Member *ha_upstream(const HaNode *node);
extern const Member *ha_clone_source(const HaNode *node);
extern bool ha_request_is_due(const HaNode *node);
extern bool ha_is_decimal(const char *text, uint64_t number);

/* origin.c */
extern const char *ha_other_claimant(const ClusterView *view, const char *name, uint32_t timeline);
extern bool ha_source_differs(const HaNode *node);
extern bool ha_history_differs(const HaNode *node);
extern bool ha_is_leader_newer(const HaNode *node, Lsn end, const char **other);
extern bool ha_has_doubled(const HaNode *node, const TakenTimeline *taken, Lsn *lsn);
extern uint32_t ha_recorded_timeline(const ClusterView *view);
extern bool ha_is_recorded(const HaNode *node);
extern bool ha_fools_rewind(const HaNode *node, const char **other);
extern void ha_tell_same_timeline(HaNode *node, const char *other);

/* lease.c */
extern int64_t ha_margin_ms(int64_t ttl_ms);
extern int64_t ha_deadline_ms(const HaNode *node);
extern bool ha_lease_is_over(const HaNode *node);
extern bool ha_sees_lease(const HaNode *node);
extern void ha_keep_lease(HaNode *node);
extern void ha_lease_got(HaNode *node, HaPurpose purpose, int64_t sent_ms, uint64_t version);
extern void ha_lease_lost(HaNode *node, const char *because);
extern void ha_lease_from_view(HaNode *node);
extern void ha_release(HaNode *node, Lsn lsn, const char *rule, const char *because);

/* race.c */
extern void ha_ask_peers(HaNode *node, HaRacePurpose purpose, const char *only, const char *because);
extern void ha_peer_answered(HaNode *node, const HaPeer *peer);
extern bool ha_race_is_asking(HaNode *node, HaRacePurpose purpose);
extern bool ha_race_is_asked(HaNode *node, HaRacePurpose purpose);
extern bool ha_race_primary_alive(const HaNode *node);
extern bool ha_race_is_ahead(const HaNode *node, const HaPeer *peer);
extern bool ha_race_most_wal(const HaNode *node, char better[CLUSTER_NAME_MAX]);
extern bool ha_peer_can_lead(const HaPeer *peer);
extern bool ha_gives_way(const HaNode *node, const char *name);
extern const char *ha_race_giving_way(const HaNode *node);
extern const HaPeer *ha_race_answer(const HaNode *node, const char *name);
extern const HaPeer *ha_race_successor(const HaNode *node);
extern const HaPeer *ha_race_holder_of(const HaNode *node, Lsn lsn, const char *only);

/* sync.c */
extern void ha_sync_look(HaNode *node);
extern void ha_sync_act(HaNode *node);
extern void ha_sync_replied(HaNode *node, HaOutcome outcome);
extern void ha_sync_race_won(HaNode *node, const char *rule);
extern bool ha_sync_is_active(const HaNode *node);
extern bool ha_sync_names_member(const HaNode *node, const char *name);
extern void ha_sync_say_denied(const HaNode *node, char because[HA_REASON_MAX]);
extern bool ha_sync_may_let_lead(const HaNode *node, const HaPeer *candidate);
extern HaFacts ha_sync_facts(HaNode *node);
extern void ha_sync_forget(HaNode *node);

/* failsafe.c */
extern int64_t ha_failsafe_deadline_ms(const HaNode *node);
extern bool ha_failsafe_holds(const HaNode *node);
extern void ha_failsafe_end(HaNode *node);
extern void ha_failsafe_voted(HaNode *node, const HaPeer *vote);
extern void ha_failsafe_wanted(HaNode *node);
extern void ha_failsafe_look(HaNode *node);
extern void ha_failsafe_lead(HaNode *node);
extern void ha_failsafe_replied(HaNode *node, HaOutcome outcome, uint64_t version);
extern void ha_failsafe_lease_acquired(HaNode *node, bool by_request);
extern void ha_failsafe_remember(HaNode *node, int64_t until_ms, int64_t page_made_ms);
extern void ha_failsafe_asked(HaNode *node, const HaCommand *command);
extern HaFacts ha_failsafe_facts(HaNode *node);
extern const FailsafeMember *ha_failsafe_listed(const HaNode *node, int index);
extern const char *ha_failsafe_refusal(const HaNode *node);
extern const char *ha_failsafe_promised_to(const HaNode *node);
extern json_t *ha_failsafe_save(const HaNode *node);
extern void ha_failsafe_load(HaNode *node, const json_t *saved, int64_t now_ms);

/* hang.c */
extern void ha_hang_look(HaNode *node);
extern HaFacts ha_hang_facts(HaNode *node);

/* switchover.c */
extern void ha_do_switchover(HaNode *node, const HaRule *rule);
extern void ha_prepare_candidate(HaNode *node);
extern void ha_clear_request(HaNode *node, const char *refused, const char *rule, const char *because);
extern bool ha_has_candidate(const HaNode *node);

/* verbs.c */
extern void ha_carry_out(HaNode *node, const HaRule *rule);
extern void ha_yield(HaNode *node, const char *rule, const char *because);
extern void ha_set_goal(HaNode *node, HaGoal goal, const char *rule, const char *because);
extern void ha_clear_goal(HaNode *node);

/* task.c */
extern bool ha_is_unclear_again(const HaNode *node, HaTask task);
extern void ha_start_task(HaNode *node, HaTask task, const Member *member, HaStopMode mode,
						  const char *rule, const char *because);
extern void ha_task_ended(HaNode *node, const HaInput *input);

/* timeline.c */
extern void ha_record_timeline(HaNode *node);
extern void ha_claim_timeline(HaNode *node, const HaRule *rule);
extern void ha_claim_with(HaNode *node, HaAction *action);
extern void ha_mark_timelines(HaNode *node, const HaRule *rule);
extern bool ha_cannot_mark(const HaNode *node);
extern void ha_promote(HaNode *node, const HaRule *rule);

/* restart.c */
extern bool ha_is_free(const HaNode *node, HaProblem *problem);
extern bool ha_restart_here(HaNode *node, const HaCommand *command, HaProblem *problem);
extern bool ha_restart_forget(HaNode *node);
extern void ha_restart_recall(HaNode *node, const char *text);
extern void ha_restart_look(HaNode *node);

/* publish.c */
extern void ha_publish(HaNode *node);
extern void ha_lead(HaNode *node);
extern HaActionKind ha_put_kind(uint64_t version);

/* slots.c */
extern void ha_slots_settings(HaNode *node);
extern void ha_keep_slots(HaNode *node);
extern bool ha_slots_status(HaNode *node, ClusterStatus *status);
extern void ha_slots_free(HaNode *node);

/* command.c */
extern void ha_command(HaNode *node, const HaCommand *command);
extern void ha_commands_look(HaNode *node);
extern void ha_command_reply(HaNode *node, HaPurpose purpose, HaOutcome outcome, uint64_t version);
extern void ha_member_requests_look(HaNode *node);
extern void ha_finish_member_request(HaNode *node, bool ok, const char *result);

#endif							/* PATRONI_HA_INTERNAL_H */
