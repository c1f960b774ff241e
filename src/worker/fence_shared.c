/*-------------------------------------------------------------------------
 *
 * fence_shared.c
 *      Makes the shared memory that fence_shared.h describes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "worker/fence_shared.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

#include "worker/compat.h"

#define FENCE_SHARED_NAME	"patroni fence"

static FenceShared *shared;
static void (*begin_memory) (FenceShared *shared);

#ifdef COMPAT_HAS_SHMEM_REQUEST_HOOK
static shmem_request_hook_type previous_request_hook;
#endif
static shmem_startup_hook_type previous_startup_hook;

/* The memory; NULL on a server that is not managed. */
FenceShared *
patroni_fence_shared(void)
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
	RequestAddinShmemSpace(MAXALIGN(sizeof(FenceShared)));
}

static void
make_memory(void)
{
	bool		found;

	if (previous_startup_hook)
		previous_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct(FENCE_SHARED_NAME, sizeof(FenceShared), &found);
	if (!found)
	{
		memset(shared, 0, sizeof(FenceShared));
		shared->version = FENCE_SHARED_VERSION;
		pg_atomic_init_u32(&shared->exposure, EXPOSURE_NONE);
		pg_atomic_init_u64(&shared->exposed_lsn, 0);
		pg_atomic_init_u64(&shared->lonely_since_us, 0);
		pg_atomic_init_u64(&shared->refused_lonely, 0);
		pg_atomic_init_u32(&shared->is_isolated, 0);
		ConditionVariableInit(&shared->isolation_ended);
		pg_atomic_init_u64(&shared->wal_sent, 0);
		pg_atomic_init_u32(&shared->wal_senders, 0);
		ConditionVariableInit(&shared->wal_sent_more);
	}
	LWLockRelease(AddinShmemInitLock);
	if (!found)
		begin_memory(shared);
}

/*
 * Ask for the memory; for fence_init() in the postmaster.  "begin" fills in
 * what depends on how the server starts.
 */
void
fence_shared_init(void (*begin) (FenceShared *shared))
{
	begin_memory = begin;
#ifdef COMPAT_HAS_SHMEM_REQUEST_HOOK
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = request_memory;
#else
	request_memory();
#endif
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = make_memory;
}
