/*-------------------------------------------------------------------------
 *
 * isolation_watch.c
 *      Notices when neither a standby nor the store answers.
 *
 * WAL that is flushed here and confirmed by no standby is remembered with the
 * time it may be old.  When it has that age of patroni.isolation_hold_after,
 * the store is asked.  When the store does not answer for as long, commits
 * are held until a standby confirms, the store answers a request that was
 * sent after the WAL was seen, or the lease is prolonged by other means (all
 * members agree: failsafe_mode).
 *
 * Invariants:
 *  (1) Commits are held only while another member could take over, and both a
 *      standby and the store have been silent for the time that is set.
 *  (2) Without new WAL nothing here wants to be looked at: with a standby it
 *      ends with the confirmation, without one with the store's answer.
 *
 * The means, and what backends do, are the business of src/worker.
 *-------------------------------------------------------------------------
 */
#include "node/isolation_watch.h"

#include <string.h>

/* How soon the store is asked again that has not answered. */
#define ASK_AGAIN_MS		100

/* How soon to look again while WAL waits to be confirmed, and while commits are held. */
#define LOOK_BUSY_MS		50
#define LOOK_HELD_MS		20

/* Could another member lead?  It could if it has ever had data of ours. */
bool
isolation_has_rival(const ClusterView *view, const char *own_name)
{
	if (view == NULL || !view->is_loaded)
		return false;
	for (int i = 0; i < view->n_members; i++)
	{
		const Member *member = &view->members[i];

		if (strcmp(member->name, own_name) != 0 && !member->tags.nofailover &&
			(member->state == MEMBER_RUNNING || member->xlog_location != 0))
			return true;
	}
	return false;
}

/* Nothing is waited for any more. */
static void
forget_wal(IsolationWatch *watch)
{
	watch->unconfirmed_lsn = 0;
	watch->asked_ms = 0;
}

static void
release(IsolationWatch *watch, int64_t now_ms, const char *because, IsolationVerdict *verdict)
{
	if (watch->held_since_ms == 0)
		return;
	verdict->release_because = because;
	verdict->held_ms = now_ms - watch->held_since_ms;
	watch->held_since_ms = 0;
}

/* Has somebody answered since what is waited for was seen? */
static void
look_for_answers(IsolationWatch *watch, const IsolationFacts *facts, IsolationVerdict *verdict)
{
	bool		store_answers = facts->store_answered_ms > watch->seen_ms;

	if (facts->confirmed_lsn >= watch->unconfirmed_lsn)
	{
		release(watch, facts->now_ms, "a standby has confirmed them", verdict);
		forget_wal(watch);
	}
	else if (store_answers || facts->deadline_us > watch->seen_deadline_us)
	{
		release(watch, facts->now_ms, store_answers ? "the store answers" :
				"the leader lease was prolonged", verdict);
		forget_wal(watch);
		watch->proven_lsn = facts->flushed_lsn;
	}
}

/* Look, and say what is to be done.  All that has been heard must be known. */
IsolationVerdict
isolation_watch_look(IsolationWatch *watch, const IsolationFacts *facts)
{
	IsolationVerdict verdict = {.release_because = NULL};
	int64_t		now_ms = facts->now_ms;
	int64_t		before_ms = watch->looked_at_ms;

	if (!facts->is_at_risk)
	{
		release(watch, now_ms, "there is nothing to hold them for", &verdict);
		forget_wal(watch);
		watch->looked_at_ms = 0;
		return verdict;
	}
	watch->looked_at_ms = now_ms;
	if (watch->unconfirmed_lsn != 0)
		look_for_answers(watch, facts, &verdict);
	if (watch->unconfirmed_lsn == 0)
	{
		if (facts->flushed_lsn <= facts->confirmed_lsn || facts->flushed_lsn <= watch->proven_lsn)
		{
			release(watch, now_ms, "a standby has confirmed them", &verdict);
			return verdict;
		}
		watch->unconfirmed_lsn = facts->flushed_lsn;
		watch->unconfirmed_ms = before_ms != 0 ? before_ms : now_ms;
		watch->seen_ms = now_ms;
		watch->seen_deadline_us = facts->deadline_us;
	}

	if (now_ms - watch->unconfirmed_ms < facts->hold_after_ms && watch->held_since_ms == 0)
		return verdict;
	if (watch->asked_ms == 0)
		watch->asked_ms = watch->asked_last_ms = now_ms;
	else if (now_ms - watch->asked_last_ms >= ASK_AGAIN_MS)
		watch->asked_last_ms = now_ms;
	verdict.must_ask = watch->asked_last_ms == now_ms;
	if (watch->held_since_ms == 0 && now_ms - watch->asked_ms >= facts->hold_after_ms)
	{
		watch->held_since_ms = now_ms;
		verdict.must_hold = true;
	}
	return verdict;
}

/* When it wants to look again at the latest; INT64_MAX: when there is new WAL. */
int64_t
isolation_watch_due_ms(const IsolationWatch *watch, int hold_after_ms)
{
	int64_t		due_ms;

	if (watch->unconfirmed_lsn == 0)
		return INT64_MAX;
	if (watch->held_since_ms != 0)
		return watch->looked_at_ms + LOOK_HELD_MS;
	due_ms = hold_after_ms + (watch->asked_ms != 0 ? watch->asked_ms : watch->unconfirmed_ms);
	return due_ms < watch->looked_at_ms + LOOK_BUSY_MS ? due_ms : watch->looked_at_ms + LOOK_BUSY_MS;
}
