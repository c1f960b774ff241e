/*-------------------------------------------------------------------------
 *
 * lease_page.c
 *      One page of shared memory: until when may this node acknowledge
 *      writes, and which of its two homes drives the engine.
 *
 * See lease_page.h for the invariants.  Plain C: linked into the server's
 * stub, the worker and the supervisor.
 *-------------------------------------------------------------------------
 */
#include "base/lease_page.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"

/*
 * Names of the shared memory object and of the supervisor's socket.
 *
 * Both come from the absolute path of the data directory, whose parent must
 * exist; the directory itself need not (it may still have to be created).
 * The socket lives in /dev/shm too: its path must be short, and no cleaner of
 * temporary files may remove it.
 */
bool
lease_page_names(const char *data_directory,
				 char page_name[LEASE_PAGE_NAME_MAX],
				 char socket_path[LEASE_PAGE_NAME_MAX + 16],
				 Error *error)
{
	char		copy[PATH_MAX];
	char		parent[PATH_MAX];
	char		path[2 * PATH_MAX + 2];
	const char *base;
	char	   *slash;
	size_t		length = strlen(data_directory);

	if (length == 0 || length >= sizeof(copy))
		return error_set(error, "data directory \"%s\" is empty or too long", data_directory);
	if (realpath(data_directory, parent) != NULL)
		snprintf(path, sizeof(path), "%s", parent);
	else
	{
		memcpy(copy, data_directory, length + 1);
		while (length > 1 && copy[length - 1] == '/')
			copy[--length] = '\0';
		slash = strrchr(copy, '/');
		base = slash ? slash + 1 : copy;
		if (slash != NULL)
			*slash = '\0';
		if (realpath(slash == NULL ? "." : (copy[0] ? copy : "/"), parent) == NULL)
			return error_set(error, "could not resolve the directory of \"%s\": %s",
							 data_directory, strerror(errno));
		snprintf(path, sizeof(path), "%s/%s", strcmp(parent, "/") == 0 ? "" : parent, base);
	}
	snprintf(page_name, LEASE_PAGE_NAME_MAX, "/patroni.%u.%016llx",
			 (unsigned) geteuid(), (unsigned long long) hash_text(path));
	snprintf(socket_path, LEASE_PAGE_NAME_MAX + 16, "/dev/shm%s.sock", page_name);
	return true;
}

static bool
map_page(int fd, const char *page_name, LeasePage **page, Error *error)
{
	void	   *address;

	address = mmap(NULL, LEASE_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (address == MAP_FAILED)
		return error_set(error, "could not map lease page \"%s\": %s", page_name, strerror(errno));
	*page = address;
	return true;
}

/*
 * The same, by another open file: a mapping keeps its own open as long as any
 * child has it, and with that its lock.  A probe that hangs must not keep the
 * next supervisor out.
 */
static bool
map_page_unlocked(int fd, const char *page_name, LeasePage **page, Error *error)
{
	char		path[64];
	int			other;
	bool		ok;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	other = open(path, O_RDWR | O_CLOEXEC);
	if (other < 0)
		return error_set(error, "could not open lease page \"%s\" again: %s", page_name, strerror(errno));
	ok = map_page(other, page_name, page, error);
	close(other);
	return ok;
}

/* Only our own object will do: the name is in a directory others can write. */
static bool
check_owner(int fd, const char *page_name, off_t *size, Error *error)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return error_set(error, "could not stat lease page \"%s\": %s", page_name, strerror(errno));
	if (st.st_uid != geteuid() || (st.st_mode & 077) != 0)
		return error_set(error, "lease page \"%s\" belongs to another user or is open to others",
						 page_name);
	*size = st.st_size;
	return true;
}

/*
 * Supervisor: create or open the page and lock it.  *fd keeps the lock; the
 * kernel drops it when the supervisor dies, however it dies.  A page left by
 * an earlier supervisor is kept as it is: the server may still be using it.
 */
bool
lease_page_create(const char *page_name, LeasePage **page, int *fd, Error *error)
{
	off_t		size;

	_Static_assert(sizeof(LeasePage) <= LEASE_PAGE_SIZE, "lease page is one page");

	*page = NULL;
	*fd = shm_open(page_name, O_RDWR | O_CREAT, 0600);
	if (*fd < 0)
		return error_set(error, "could not create lease page \"%s\": %s", page_name, strerror(errno));
	if (!check_owner(*fd, page_name, &size, error))
		goto failed;
	if (flock(*fd, LOCK_EX | LOCK_NB) != 0)
	{
		error_set(error, "another supervisor runs this data directory already");
		error_hint(error, "Stop the other patroni_supervisor first, or name another data_dir.");
		goto failed;
	}
	if (size < LEASE_PAGE_SIZE && ftruncate(*fd, LEASE_PAGE_SIZE) != 0)
	{
		error_set(error, "could not size lease page \"%s\": %s", page_name, strerror(errno));
		goto failed;
	}
	if (!map_page_unlocked(*fd, page_name, page, error))
		goto failed;
	if ((*page)->magic == 0)
	{
		(*page)->version = LEASE_PAGE_VERSION;
		atomic_store_explicit(&(*page)->lease, UINT64_C(1) << LEASE_DEADLINE_BITS,
							  memory_order_release);
		(*page)->made_ms = clock_now_ms();
		(*page)->magic = LEASE_PAGE_MAGIC;
	}
	if ((*page)->magic != LEASE_PAGE_MAGIC || (*page)->version != LEASE_PAGE_VERSION)
	{
		error_set(error, "lease page \"%s\" is of another version", page_name);
		error_hint(error, "Stop the server of this data directory, then remove /dev/shm%s.", page_name);
		goto failed;
	}
	return true;

failed:
	lease_page_close(*page);
	*page = NULL;
	close(*fd);
	*fd = -1;
	return false;
}

/* Postmaster: map an existing page.  Never creates one. */
bool
lease_page_open(const char *page_name, LeasePage **page, Error *error)
{
	int			fd;
	off_t		size;
	bool		ok;

	*page = NULL;
	fd = shm_open(page_name, O_RDWR, 0);
	if (fd < 0)
		return error_set(error, "could not open lease page \"%s\": %s", page_name, strerror(errno));
	ok = check_owner(fd, page_name, &size, error);
	if (ok && size < LEASE_PAGE_SIZE)
		ok = error_set(error, "lease page \"%s\" is too short", page_name);
	if (ok)
		ok = map_page(fd, page_name, page, error);
	close(fd);
	if (ok && ((*page)->magic != LEASE_PAGE_MAGIC || (*page)->version != LEASE_PAGE_VERSION))
	{
		lease_page_close(*page);
		*page = NULL;
		return error_set(error, "lease page \"%s\" is of another version", page_name);
	}
	return ok;
}

/* Unmap; NULL is fine. */
void
lease_page_close(LeasePage *page)
{
	if (page != NULL)
		munmap(page, LEASE_PAGE_SIZE);
}

/* Remove the object; only right when server and supervisor are both gone. */
void
lease_page_unlink(const char *page_name)
{
	shm_unlink(page_name);
}

/*
 * Take the baton if the generation is still "expected".  The deadline stays
 * what it is.  Returns the new generation, or 0 if somebody else took it.
 */
uint32_t
lease_page_take(LeasePage *page, uint32_t expected, LeaseHolder holder)
{
	uint64_t	word = atomic_load_explicit(&page->lease, memory_order_acquire);

	for (;;)
	{
		uint32_t	next = (expected + 1) & 0xffff;
		uint64_t	wanted;

		if (next == 0)
			next = 1;
		if (lease_word_generation(word) != expected)
			return 0;
		wanted = ((uint64_t) next << LEASE_DEADLINE_BITS) | (word & LEASE_DEADLINE_MASK);
		if (atomic_compare_exchange_weak_explicit(&page->lease, &word, wanted,
												  memory_order_acq_rel, memory_order_acquire))
		{
			atomic_store_explicit(&page->holder, (uint32_t) holder, memory_order_release);
			return next;
		}
	}
}

/*
 * Move the fence.  Returns false, and leaves the fence, if "generation" is not
 * the page's: the caller has lost the baton and must stop acting at once.  (One
 * who loses it right here may leave its cycles behind; the clock counts still.)
 */
bool
lease_page_set_deadline(LeasePage *page, uint32_t generation, int64_t deadline_us,
						uint64_t deadline_cycles)
{
	uint64_t	word = atomic_load_explicit(&page->lease, memory_order_acquire);
	uint64_t	deadline;

	if (deadline_us < 0)
		deadline_us = LEASE_CLOSED_US;
	deadline = deadline_us > LEASE_NEVER_US ? LEASE_DEADLINE_MASK : (uint64_t) deadline_us;
	if (lease_word_generation(word) == generation)
		atomic_store_explicit(&page->deadline_cycles, deadline_cycles, memory_order_release);
	for (;;)
	{
		if (lease_word_generation(word) != generation)
			return false;
		if (atomic_compare_exchange_weak_explicit(&page->lease, &word,
												  ((uint64_t) generation << LEASE_DEADLINE_BITS) | deadline,
												  memory_order_acq_rel, memory_order_acquire))
			return true;
	}
}

/* Keep a promise; see lease_page.h.  Who takes the baton reads it after that. */
bool
lease_page_promise(LeasePage *page, uint32_t generation, int64_t until_ms)
{
	int64_t		before_ms = atomic_load(&page->promised_until_ms);

	while (before_ms < until_ms &&
		   !atomic_compare_exchange_weak(&page->promised_until_ms, &before_ms, until_ms))
		;
	atomic_thread_fence(memory_order_seq_cst);
	return lease_page_generation(page) == generation;
}

/* Remember the node's store session for whoever takes the baton next. */
void
lease_page_set_session(LeasePage *page, const char *session)
{
	uint32_t	sequence = atomic_load_explicit(&page->session_sequence, memory_order_acquire);

	atomic_store_explicit(&page->session_sequence, sequence | 1, memory_order_release);
	atomic_thread_fence(memory_order_seq_cst);
	snprintf(page->session, sizeof(page->session), "%s", session);
	atomic_thread_fence(memory_order_seq_cst);
	atomic_store_explicit(&page->session_sequence, (sequence | 1) + 1, memory_order_release);
}

/*
 * Read the session.  A writer that died half-way leaves "": a session nobody
 * knows is a session that has to be granted anew.
 */
void
lease_page_get_session(LeasePage *page, char session[LEASE_SESSION_MAX])
{
	for (int attempt = 0; attempt < 1000; attempt++)
	{
		uint32_t	before = atomic_load_explicit(&page->session_sequence, memory_order_acquire);

		memcpy(session, page->session, LEASE_SESSION_MAX);
		session[LEASE_SESSION_MAX - 1] = '\0';
		atomic_thread_fence(memory_order_seq_cst);
		if ((before & 1) == 0 &&
			before == atomic_load_explicit(&page->session_sequence, memory_order_acquire))
			return;
	}
	session[0] = '\0';
}
