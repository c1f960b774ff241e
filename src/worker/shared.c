/*-------------------------------------------------------------------------
 *
 * shared.c
 *      Shared memory of backends and worker: its making, and the backends'
 *      side of the snapshot and of the command queue.
 *
 * Invariants:
 *  (1) A slot's owner is told by its state (CommandState); every change of
 *      state happens under the lock.
 *  (2) A backend never leaves a slot behind: on error and on exit it frees
 *      the slot, or abandons it to the worker that works on it.
 *  (3) Waiting ends: by the worker's answer, by the time limit, by a worker
 *      that stays away, or by cancelling.
 *
 * The worker's side is shared_worker.c, in the other library.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "worker/shared.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

#include "base/clock.h"
#include "worker/compat.h"

#define SHARED_NAME			"patroni"

/* How often a waiting backend looks whether the worker is still there. */
#define WAIT_STEP_MS		1000

/* How long the worker may be away: it is restarted after one second. */
#define WORKER_ABSENCE_MS	5000

/* How long after the worker's own time limit a backend gives up by itself. */
#define WAIT_GRACE_MS		2000

static PatroniShared *shared;

#ifdef COMPAT_HAS_SHMEM_REQUEST_HOOK
static shmem_request_hook_type previous_request_hook;
#endif
static shmem_startup_hook_type previous_startup_hook;

/* The memory shared with the worker; NULL when the library was not preloaded. */
PatroniShared *
patroni_shared_memory(void)
{
	return shared;
}

static void
request_memory(void)
{
#ifdef COMPAT_HAS_SHMEM_REQUEST_HOOK
	if (previous_request_hook)
		previous_request_hook();
#endif
	RequestAddinShmemSpace(MAXALIGN(sizeof(PatroniShared)));
	RequestNamedLWLockTranche(SHARED_NAME, 1);
}

static void
make_memory(void)
{
	bool		found;

	if (previous_startup_hook)
		previous_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct(SHARED_NAME, sizeof(PatroniShared), &found);
	if (!found)
	{
		memset(shared, 0, sizeof(PatroniShared));
		shared->version = SHARED_VERSION;
		shared->lock = &GetNamedLWLockTranche(SHARED_NAME)->lock;
		shared->next_command_id = 1;
		sync_report_init_memory(&shared->sync);
	}
	LWLockRelease(AddinShmemInitLock);
}

/* Ask for the memory; for _PG_init() in the postmaster. */
void
shared_init(void)
{
#ifdef COMPAT_HAS_SHMEM_REQUEST_HOOK
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = request_memory;
#else
	request_memory();
#endif
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = make_memory;
}

/* The worker's process id; 0 when it does not run. */
pid_t
shared_worker_pid(void)
{
	pid_t		pid;

	LWLockAcquire(shared->lock, LW_SHARED);
	pid = shared->worker_latch != NULL ? shared->worker_pid : 0;
	LWLockRelease(shared->lock);
	return pid;
}

/*
 * A palloc'ed copy of the latest snapshot, or NULL when the worker has made
 * none yet.  *number and *taken_ms (CLOCK_BOOTTIME) say which one it is.
 */
char *
shared_snapshot(uint64 *number, int64 *taken_ms)
{
	char	   *text = palloc(SNAPSHOT_MAX + 1);
	uint32		length;

	LWLockAcquire(shared->lock, LW_SHARED);
	*number = shared->snapshot_number;
	*taken_ms = shared->snapshot_taken_ms;
	length = Min(shared->snapshot_length, SNAPSHOT_MAX);
	memcpy(text, shared->snapshot, length);
	LWLockRelease(shared->lock);
	text[length] = '\0';
	if (*number != 0)
		return text;
	pfree(text);
	return NULL;
}

static void
raise_no_worker(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the patroni worker is not running"),
			 patroni_socket_path()[0] == '\0' ?
			 errdetail("This server is not run by patroni_supervisor: \"patroni.socket\" is not set.") :
			 errdetail("It is started again one second after it ends."),
			 patroni_socket_path()[0] == '\0' ?
			 errhint("Start the server with patroni_supervisor.") :
			 errhint("Look for the reason in the server log, then try again.")));
}

/* Take a free slot and give it to the worker. */
static CommandSlot *
give_command(const char *kind, const char *arguments)
{
	CommandSlot *slot = NULL;

	if (strlen(kind) >= COMMAND_KIND_MAX || strlen(arguments) >= COMMAND_ARGUMENTS_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("arguments of command \"%s\" are too long", kind),
				 errdetail("They have %zu bytes, at most %d are possible.",
						   strlen(arguments), COMMAND_ARGUMENTS_MAX - 1)));
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (shared->worker_latch == NULL && patroni_socket_path()[0] == '\0')
	{
		LWLockRelease(shared->lock);
		raise_no_worker();
	}
	for (int i = 0; i < COMMAND_SLOTS && slot == NULL; i++)
		if (shared->commands[i].state == COMMAND_FREE)
			slot = &shared->commands[i];
	if (slot == NULL)
	{
		LWLockRelease(shared->lock);
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many commands are under way"),
				 errdetail("At most %d commands can wait for the patroni worker.", COMMAND_SLOTS),
				 errhint("Wait until one of them ends, or cancel a session that waits.")));
	}
	slot->id = shared->next_command_id++;
	slot->backend_latch = MyLatch;
	strlcpy(slot->kind, kind, sizeof(slot->kind));
	strlcpy(slot->arguments, arguments, sizeof(slot->arguments));
	slot->result[0] = '\0';
	slot->state = COMMAND_WAITING;
	if (shared->worker_latch != NULL)
		SetLatch(shared->worker_latch);
	LWLockRelease(shared->lock);
	return slot;
}

/* Leave a slot, however the wait for it ends. */
static void
leave_command(int code, Datum argument)
{
	CommandSlot *slot = (CommandSlot *) DatumGetPointer(argument);

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot->backend_latch = NULL;
	slot->state = slot->state == COMMAND_RUNNING ? COMMAND_ABANDONED : COMMAND_FREE;
	LWLockRelease(shared->lock);
}

/* Look at the slot once. */
static CommandState
look_at_command(CommandSlot *slot, char result[COMMAND_RESULT_MAX], bool *has_worker)
{
	CommandState state;

	LWLockAcquire(shared->lock, LW_SHARED);
	state = slot->state;
	*has_worker = shared->worker_pid != 0 && shared->worker_latch != NULL;
	if (state == COMMAND_DONE)
		strlcpy(result, slot->result, COMMAND_RESULT_MAX);
	LWLockRelease(shared->lock);
	return state;
}

static void
raise_too_late(const char *kind, CommandState state, int64 timeout_ms)
{
	ereport(ERROR,
			(errcode(ERRCODE_QUERY_CANCELED),
			 errmsg("command \"%s\" did not end within %lld ms", kind, (long long) timeout_ms),
			 state == COMMAND_RUNNING ?
			 errdetail("The patroni worker has begun it.") :
			 errdetail("The patroni worker has not begun it."),
			 state == COMMAND_RUNNING ?
			 errhint("It may still take place: see patroni.event and patroni.member.") :
			 errhint("It will not take place; look at the server log, then try again.")));
}

static void
wait_for_command(CommandSlot *slot, const char *kind, int64 timeout_ms,
				 char result[COMMAND_RESULT_MAX])
{
	int64		begin_ms = clock_now_ms();
	int64		worker_seen_ms = begin_ms;

	for (;;)
	{
		bool		has_worker;
		CommandState state = look_at_command(slot, result, &has_worker);
		int64		now_ms = clock_now_ms();
		int64		left_ms = begin_ms + timeout_ms + WAIT_GRACE_MS - now_ms;

		if (state == COMMAND_DONE)
			return;
		if (has_worker)
			worker_seen_ms = now_ms;
		if (now_ms - worker_seen_ms > WORKER_ABSENCE_MS)
			raise_no_worker();
		if (left_ms <= 0)
			raise_too_late(kind, state, timeout_ms);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 (long) Min(left_ms, WAIT_STEP_MS), PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * Have the worker do something, and wait until it says that it is done or
 * refused.  Returns the worker's answer, a JSON object, palloc'ed.
 */
char *
shared_run_command(const char *kind, const char *arguments, int64 timeout_ms)
{
	char	   *result = palloc0(COMMAND_RESULT_MAX);
	CommandSlot *slot = give_command(kind, arguments);

	PG_ENSURE_ERROR_CLEANUP(leave_command, PointerGetDatum(slot));
	{
		wait_for_command(slot, kind, timeout_ms, result);
	}
	PG_END_ENSURE_ERROR_CLEANUP(leave_command, PointerGetDatum(slot));
	leave_command(0, PointerGetDatum(slot));
	return result;
}
