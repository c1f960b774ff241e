/*-------------------------------------------------------------------------
 *
 * commit_watch.c
 *      The worker's part of what holds or refuses commits: is the node
 *      isolated, do commits lack synchronous standbys, do clients still wait
 *      after a crash.
 *
 * When to hold commits is decided by isolation_watch.c; here are the means.
 *
 * Invariant: before it is decided, all that standbys and store have said has
 * been read: the store in this turn, the standbys in shared memory.  So a
 * worker that stood still holds nothing because of that.
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
#include "node/isolation_watch.h"
#include "worker/compat.h"
#include "worker/exposure.h"
#include "worker/fence_shared.h"

struct CommitWatch
{
	FenceShared *shared;		/* NULL: of another release, or not managed */
	IsolationWatch isolation;
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
		watch->isolation.held_since_ms = clock_now_ms();
	return watch;
}

/* --- isolation --- */

/* Is there anything to lose?  In pause nobody takes over. */
static bool
is_at_risk(const Worker *worker)
{
	const Settings *settings = host_settings(worker->host);
	int64_t		deadline_us = lease_page_deadline_us(worker->page);

	return patroni_isolation_hold_after() >= 0 && !RecoveryInProgress() &&
		worker_holds_baton(worker) && deadline_us != LEASE_NEVER_US &&
		clock_now_us() < deadline_us && settings != NULL &&
		isolation_has_rival(host_view(worker->host), settings->name);
}

static void
hold(Worker *worker, int64_t now_ms)
{
	CommitWatch *watch = worker->commit_watch;
	int64_t		answered_ms = host_store_answered_ms(worker->host);

	pg_atomic_write_u32(&watch->shared->is_isolated, 1);
	host_tell_event(worker->host, "isolation-hold",
					"commits are held: neither a standby nor the store answers");
	ereport(WARNING,
			(errmsg("holding commits: neither a standby nor the store answers"),
			 errdetail("No standby has confirmed the WAL up to %X/%X for %lld ms; the store has not answered for %lld ms.",
					   LSN_FORMAT_ARGS(watch->isolation.unconfirmed_lsn),
					   (long long) (now_ms - watch->isolation.unconfirmed_ms),
					   (long long) (now_ms - answered_ms)),
			 errhint("They go on when one of them answers, and are refused when the leader lease is over before that.")));
}

static void
release(Worker *worker, const IsolationVerdict *verdict)
{
	CommitWatch *watch = worker->commit_watch;
	char		text[HA_REASON_MAX];

	pg_atomic_write_u32(&watch->shared->is_isolated, 0);
	ConditionVariableBroadcast(&watch->shared->isolation_ended);
	snprintf(text, sizeof(text), "commits are no longer held: %s", verdict->release_because);
	host_tell_event(worker->host, "isolation-end", text);
	ereport(LOG,
			(errmsg("no longer holding commits: %s", verdict->release_because),
			 errdetail("They were held for %lld ms.", (long long) verdict->held_ms)));
}

static void
watch_isolation(Worker *worker, int64_t now_ms)
{
	CommitWatch *watch = worker->commit_watch;
	IsolationFacts facts = {
		.now_ms = now_ms,
		.hold_after_ms = patroni_isolation_hold_after(),
		.is_at_risk = is_at_risk(worker),
	};
	IsolationVerdict verdict;

	if (facts.is_at_risk)
	{
		facts.flushed_lsn = COMPAT_FLUSH_LSN();
		facts.confirmed_lsn = observer_confirmed_lsn(worker);
		facts.store_answered_ms = host_store_answered_ms(worker->host);
		facts.deadline_us = lease_page_deadline_us(worker->page);
	}
	verdict = isolation_watch_look(&watch->isolation, &facts);
	if (verdict.release_because != NULL)
		release(worker, &verdict);
	if (verdict.must_ask)
		host_ask_store(worker->host);
	if (verdict.must_hold)
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

/* How long the worker may sleep; for new WAL it is the observer that looks. */
int
commit_watch_timeout_ms(const Worker *worker, int64_t now_ms)
{
	int64_t		due_ms = isolation_watch_due_ms(&worker->commit_watch->isolation,
												patroni_isolation_hold_after());

	return (int) Max(0, Min(due_ms - now_ms, INT_MAX));
}
