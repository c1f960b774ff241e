/*-------------------------------------------------------------------------
 *
 * shared_worker.c
 *      The worker's side of the snapshot and of the command queue.
 *
 * Part of patroni_worker.so, so that it is of the worker's release; the
 * memory belongs to patroni_bgw.so, see shared.h.  Call it from the worker
 * only, and never from inside a callback of another library: locks are taken
 * here, which may raise errors.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "worker/shared.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"

#include "base/clock.h"
#include "worker/compat.h"

#define LOST_COMMAND \
	"{\"ok\": false, \"sqlstate\": \"55000\"," \
	" \"message\": \"the patroni worker was restarted while it ran the command\"," \
	" \"detail\": \"Whether the command took effect is not known.\"," \
	" \"hint\": \"See patroni.event and patroni.member.\"}"

#define LONG_ANSWER \
	"{\"ok\": false, \"sqlstate\": \"54000\"," \
	" \"message\": \"the answer of the patroni worker is too long\"," \
	" \"detail\": \"Whether the command took effect is not known.\"," \
	" \"hint\": \"See patroni.event and patroni.member.\"}"

/* Answer one running command; the lock is held. */
static void
finish_slot(CommandSlot *slot, const char *json)
{
	if (slot->state == COMMAND_ABANDONED)
	{
		slot->state = COMMAND_FREE;
		return;
	}
	if (slot->state != COMMAND_RUNNING)
		return;
	strlcpy(slot->result, json, sizeof(slot->result));
	slot->state = COMMAND_DONE;
	if (slot->backend_latch != NULL)
		SetLatch(slot->backend_latch);
}

static void
detach(int code, Datum argument)
{
	PatroniShared *shared = patroni_shared_memory();

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (shared->worker_pid == MyProcPid)
	{
		shared->worker_latch = NULL;
		shared->worker_pid = 0;
	}
	LWLockRelease(shared->lock);
}

/*
 * Be the worker that commands are given to; ends by itself when the process
 * does.  Commands that an earlier worker had begun are answered as lost.
 *
 * Returns false when the memory is laid out by another release of
 * patroni_bgw.so: only a restart of the server helps then.
 */
bool
shared_attach(void)
{
	PatroniShared *shared = patroni_shared_memory();

	if (shared == NULL || shared->version != SHARED_VERSION)
		return false;
	before_shmem_exit(detach, (Datum) 0);
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < COMMAND_SLOTS; i++)
		finish_slot(&shared->commands[i], LOST_COMMAND);
	shared->worker_pid = MyProcPid;
	shared->worker_latch = MyLatch;
	LWLockRelease(shared->lock);
	return true;
}

/*
 * Show a new snapshot, a JSON object of "length" bytes.  False, and the old
 * one stays, when it is longer than SNAPSHOT_MAX.
 */
bool
shared_publish_snapshot(const char *text, size_t length)
{
	PatroniShared *shared = patroni_shared_memory();

	if (length > SNAPSHOT_MAX)
		return false;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	memcpy(shared->snapshot, text, length);
	shared->snapshot_length = (uint32) length;
	shared->snapshot_taken_ms = clock_now_ms();
	shared->snapshot_number++;
	LWLockRelease(shared->lock);
	return true;
}

/* Take the oldest command that waits and that "may" lets through; false when none does. */
bool
shared_next_command(SharedCommand *command, bool (*may) (const char *kind))
{
	PatroniShared *shared = patroni_shared_memory();
	CommandSlot *oldest = NULL;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < COMMAND_SLOTS; i++)
	{
		CommandSlot *slot = &shared->commands[i];

		if (slot->state == COMMAND_WAITING && (oldest == NULL || slot->id < oldest->id) &&
			(may == NULL || may(slot->kind)))
			oldest = slot;
	}
	if (oldest != NULL)
	{
		oldest->state = COMMAND_RUNNING;
		command->id = oldest->id;
		strlcpy(command->kind, oldest->kind, sizeof(command->kind));
		strlcpy(command->arguments, oldest->arguments, sizeof(command->arguments));
	}
	LWLockRelease(shared->lock);
	return oldest != NULL;
}

/* Is there a command that nobody has taken yet? */
bool
shared_command_waits(void)
{
	PatroniShared *shared = patroni_shared_memory();
	bool		waits = false;

	LWLockAcquire(shared->lock, LW_SHARED);
	for (int i = 0; i < COMMAND_SLOTS && !waits; i++)
		waits = shared->commands[i].state == COMMAND_WAITING;
	LWLockRelease(shared->lock);
	return waits;
}

/*
 * Answer a command taken with shared_next_command().  An answer that does not
 * fit is replaced by one that says so: half a JSON text helps nobody.
 */
void
shared_finish_command(uint64 id, const char *json)
{
	PatroniShared *shared = patroni_shared_memory();

	if (strlen(json) >= COMMAND_RESULT_MAX)
		json = LONG_ANSWER;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < COMMAND_SLOTS; i++)
		if (shared->commands[i].id == id)
			finish_slot(&shared->commands[i], json);
	LWLockRelease(shared->lock);
}
