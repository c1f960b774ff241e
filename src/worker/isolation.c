/*-------------------------------------------------------------------------
 *
 * isolation.c
 *      Holds commits while neither a standby nor the store answers: the part
 *      of the backends.
 *
 * With asynchronous replication, a primary that is cut off goes on to confirm
 * commits which its successor will never have, until its lease is over.  The
 * worker notices within patroni.isolation_hold_after (commit_watch.c) and
 * raises a flag.  While it is up, no transaction that wrote begins to commit,
 * and no commit made is told to its client.  Either the flag is taken down
 * because somebody answers, or the lease ends and the fence refuses.
 *
 * Invariants:
 *  (1) Nobody waits here longer than the lease lasts: the fence is looked at
 *      each time, and by itself it ends.
 *  (2) A flag whose worker is dead counts as down after WORKER_DEAD_MS; the
 *      supervisor then drives, and closes the fence when the store is away.
 */
#include "postgres.h"

#include "worker/isolation.h"

#include "worker/compat.h"

#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "storage/latch.h"

#include "base/clock.h"
#include "base/lease_page.h"
#include "worker/fence.h"
#include "worker/fence_shared.h"
#include "worker/shared.h"

/* The worker shows a sign of life several times a second. */
#define WORKER_DEAD_MS		5000

/* How often a waiting commit looks by itself whether to go on. */
#define LOOK_MS				500

/* How often one does whose answer waits to be sent. */
#define PAUSE_MS			10

int			isolation_hold_after_ms = 500;

/* The setting, for the worker; -1 also when there is no fence that ends a hold. */
int
patroni_isolation_hold_after(void)
{
	return fence_is_enabled ? isolation_hold_after_ms : -1;
}

/* Is the node isolated, as far as its worker knows?  One load if not. */
bool
isolation_holds(void)
{
	FenceShared *shared = patroni_fence_shared();
	LeasePage  *page = patroni_lease_page();

	if (shared == NULL || pg_atomic_read_u32(&shared->is_isolated) == 0)
		return false;
	return patroni_isolation_hold_after() >= 0 && page != NULL &&
		clock_now_ms() - atomic_load_explicit(&page->worker_heartbeat_ms,
											  memory_order_acquire) < WORKER_DEAD_MS;
}

/*
 * Before a commit: wait while the node is isolated, until "is_refused" says
 * that waiting is in vain.  Can be cancelled, and then nothing has happened.
 */
void
isolation_wait(bool (*is_refused) (void))
{
	FenceShared *shared = patroni_fence_shared();

	if (!isolation_holds())
		return;
	ConditionVariablePrepareToSleep(&shared->isolation_ended);
	while (isolation_holds() && !is_refused())
	{
		int64		left_ms = (lease_page_deadline_us(patroni_lease_page()) -
							   clock_now_us()) / 1000 + 1;

		(void) ConditionVariableTimedSleep(&shared->isolation_ended,
										   (long) Max(Min(left_ms, LOOK_MS), 1),
										   PG_WAIT_EXTENSION);
	}
	ConditionVariableCancelSleep();
}

/* After one: let some time pass before its answer is tried to be sent. */
void
isolation_pause(void)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 PAUSE_MS, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
}
