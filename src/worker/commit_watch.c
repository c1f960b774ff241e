/*-------------------------------------------------------------------------
 *
 * commit_watch.c
 *      The worker's part of what holds or refuses commits: is the node
 *      isolated, do commits lack synchronous standbys, do clients still wait
 *      after a crash.
 *
 * Isolation.  WAL that is flushed here and confirmed by no standby is
 * remembered with the time it may be old.  When it has that age of
 * patroni.isolation_hold_after, the store is asked.  When the store does not
 * answer for as long, commits are held (isolation.c) until a standby confirms,
 * the store answers a request that was sent after the WAL was seen, or the
 * lease is prolonged by other means (all members agree: failsafe_mode).
 *
 * Invariants:
 *  (1) Commits are held only while this node has the lease for a limited
 *      time, another member could take over, and both a standby and the store
 *      have been silent for patroni.isolation_hold_after.
 *  (2) Before it is decided, all that standbys and store have said has been
 *      read: the store in this turn, the standbys in shared memory.  So a
 *      worker that stood still holds nothing because of that.
 *  (3) Without new WAL nothing here wakes up the worker: with a standby it
 *      ends with the confirmation, without one with the store's answer.
 *
 * Refusing and waiting is done in the backends: isolation.c, synchronous.c,
 * exposure.c.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "worker/worker.h"

#include <stdlib.h>
#include <string.h>

#include "access/xlog.h"
#include "replication/syncrep.h"
#include "replication/walsender_private.h"

#include "base/clock.h"
#include "worker/compat.h"
#include "worker/exposure.h"
#include "worker/fence_shared.h"

/* How soon the store is asked again that has not answered. */
#define ASK_AGAIN_MS		100

struct CommitWatch
{
	FenceShared *shared;		/* NULL: of another release, or not managed */

	int64_t		looked_at_ms;	/* 0 = not yet, or nothing to look for */
	Lsn			proven_lsn;		/* up to here the store has answered since */

	/* WAL that no standby has confirmed yet; 0 = none */
	Lsn			unconfirmed_lsn;
	int64_t		unconfirmed_ms; /* it may be as old as that */
	int64_t		seen_ms;		/* and was seen then */
	int64_t		seen_deadline_us;	/* when the lease lasted until then */
	int64_t		asked_ms;		/* the store was asked about it; 0 = not */
	int64_t		asked_last_ms;
	int64_t		held_since_ms;	/* commits are held; 0 = they are not */
};

/* A new watch; lives until the process ends. */
CommitWatch *
commit_watch_create(void)
{
	CommitWatch *watch = calloc(1, sizeof(CommitWatch));

	if (watch == NULL)
		return NULL;
	watch->shared = patroni_fence_shared();
	if (watch->shared != NULL && watch->shared->version != FENCE_SHARED_VERSION)
		watch->shared = NULL;
	/* what an earlier worker has begun is ended, or confirmed, by this one */
	if (watch->shared != NULL && pg_atomic_read_u32(&watch->shared->is_isolated) != 0)
		watch->held_since_ms = clock_now_ms();
	return watch;
}

/* --- isolation --- */

/* Could another member lead?  It could if it has ever had data of ours. */
static bool
has_rival(const Worker *worker)
{
	const ClusterView *view = host_view(worker->host);
	const Settings *settings = host_settings(worker->host);

	if (view == NULL || !view->is_loaded || settings == NULL)
		return false;
	for (int i = 0; i < view->n_members; i++)
	{
		const Member *member = &view->members[i];

		if (strcmp(member->name, settings->name) != 0 && !member->tags.nofailover &&
			(member->state == MEMBER_RUNNING || member->xlog_location != 0))
			return true;
	}
	return false;
}

/* Is there anything to lose?  In pause nobody takes over. */
static bool
is_at_risk(const Worker *worker)
{
	int64_t		deadline_us = lease_page_deadline_us(worker->page);

	return patroni_isolation_hold_after() >= 0 && !RecoveryInProgress() &&
		worker_holds_baton(worker) && deadline_us != LEASE_NEVER_US &&
		clock_now_us() < deadline_us && has_rival(worker);
}

static void
hold(Worker *worker, int64_t now_ms)
{
	CommitWatch *watch = worker->commit_watch;
	int64_t		answered_ms = host_store_answered_ms(worker->host);

	watch->held_since_ms = now_ms;
	pg_atomic_write_u32(&watch->shared->is_isolated, 1);
	host_tell_event(worker->host, "isolation-hold",
					"commits are held: neither a standby nor the store answers");
	ereport(WARNING,
			(errmsg("holding commits: neither a standby nor the store answers"),
			 errdetail("No standby has confirmed the WAL up to %X/%X for %lld ms; the store has not answered for %lld ms.",
					   LSN_FORMAT_ARGS(watch->unconfirmed_lsn),
					   (long long) (now_ms - watch->unconfirmed_ms),
					   (long long) (now_ms - answered_ms)),
			 errhint("They go on when one of them answers, and are refused when the leader lease is over before that.")));
}

static void
release(Worker *worker, int64_t now_ms, const char *because)
{
	CommitWatch *watch = worker->commit_watch;
	char		text[HA_REASON_MAX];

	if (watch->held_since_ms == 0)
		return;
	pg_atomic_write_u32(&watch->shared->is_isolated, 0);
	ConditionVariableBroadcast(&watch->shared->isolation_ended);
	snprintf(text, sizeof(text), "commits are no longer held: %s", because);
	host_tell_event(worker->host, "isolation-end", text);
	ereport(LOG,
			(errmsg("no longer holding commits: %s", because),
			 errdetail("They were held for %lld ms.",
					   (long long) (now_ms - watch->held_since_ms))));
	watch->held_since_ms = 0;
}

/* Nothing is waited for any more. */
static void
forget_wal(CommitWatch *watch)
{
	watch->unconfirmed_lsn = 0;
	watch->asked_ms = 0;
}

static void
watch_isolation(Worker *worker, int64_t now_ms)
{
	CommitWatch *watch = worker->commit_watch;
	int			hold_after_ms = patroni_isolation_hold_after();
	int64_t		before_ms = watch->looked_at_ms;
	Lsn			flushed;
	Lsn			confirmed;

	if (!is_at_risk(worker))
	{
		release(worker, now_ms, "there is nothing to hold them for");
		forget_wal(watch);
		watch->looked_at_ms = 0;
		return;
	}
	watch->looked_at_ms = now_ms;
	flushed = COMPAT_FLUSH_LSN();
	confirmed = observer_confirmed_lsn(worker);

	if (watch->unconfirmed_lsn != 0 && confirmed >= watch->unconfirmed_lsn)
	{
		release(worker, now_ms, "a standby has confirmed them");
		forget_wal(watch);
	}
	else if (watch->unconfirmed_lsn != 0 &&
			 (host_store_answered_ms(worker->host) > watch->seen_ms ||
			  lease_page_deadline_us(worker->page) > watch->seen_deadline_us))
	{
		release(worker, now_ms, host_store_answered_ms(worker->host) > watch->seen_ms ?
				"the store answers" : "the leader lease was prolonged");
		forget_wal(watch);
		watch->proven_lsn = flushed;
	}
	if (watch->unconfirmed_lsn == 0)
	{
		if (flushed <= Max(confirmed, watch->proven_lsn))
		{
			release(worker, now_ms, "a standby has confirmed them");
			return;
		}
		watch->unconfirmed_lsn = flushed;
		watch->unconfirmed_ms = before_ms != 0 ? before_ms : now_ms;
		watch->seen_ms = now_ms;
		watch->seen_deadline_us = lease_page_deadline_us(worker->page);
	}

	if (now_ms - watch->unconfirmed_ms < hold_after_ms && watch->held_since_ms == 0)
		return;
	if (watch->asked_ms == 0)
		watch->asked_ms = watch->asked_last_ms = now_ms;
	else if (now_ms - watch->asked_last_ms >= ASK_AGAIN_MS)
		watch->asked_last_ms = now_ms;
	if (watch->asked_last_ms == now_ms)
		host_ask_store(worker->host);
	if (watch->held_since_ms == 0 && now_ms - watch->asked_ms >= hold_after_ms)
		hold(worker, now_ms);
}

/* --- synchronous standbys --- */

/* Note since when commits have had too few standbys to wait for. */
static void
watch_standbys(CommitWatch *watch)
{
	SyncRepStandbyData *standbys;
	bool		is_lonely = false;
	bool		was_lonely = pg_atomic_read_u64(&watch->shared->lonely_since_us) != 0;

	if (!RecoveryInProgress() && SyncRepConfig != NULL && COMPAT_SYNC_STANDBYS_DEFINED())
	{
		is_lonely = SyncRepGetCandidateStandbys(&standbys) < SyncRepConfig->num_sync;
		pfree(standbys);
	}
	if (is_lonely != was_lonely)
		pg_atomic_write_u64(&watch->shared->lonely_since_us, is_lonely ? clock_now_us() : 0);
}

/* --- the turn's part --- */

/* Look at all of it; the engine and the store have had their turn. */
void
commit_watch_turn(Worker *worker, void *argument)
{
	CommitWatch *watch = worker->commit_watch;
	XLogRecPtr	wanted;
	XLogRecPtr	replicated;

	(void) argument;
	if (watch->shared == NULL)
		return;
	watch_isolation(worker, clock_now_ms());
	watch_standbys(watch);
	(void) patroni_exposure_lasts(&wanted, &replicated);	/* says when it is over */
	patroni_exposure_forget_cut_off();
}

/* How long the worker may sleep. */
int
commit_watch_timeout_ms(const Worker *worker, int64_t now_ms)
{
	const CommitWatch *watch = worker->commit_watch;
	int64_t		due_ms;

	if (watch->unconfirmed_lsn == 0)
		return OBSERVE_IDLE_MS;
	if (watch->held_since_ms != 0)
		return WATCH_HELD_MS;
	due_ms = patroni_isolation_hold_after() +
		(watch->asked_ms != 0 ? watch->asked_ms : watch->unconfirmed_ms);
	return (int) Max(0, Min(due_ms - now_ms, WATCH_BUSY_MS));
}
