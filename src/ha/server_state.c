/*-------------------------------------------------------------------------
 *
 * server_state.c
 *      Copies and compares what was observed of a server.
 *
 * Invariant: entries of the lists past their count are zero, so that two equal
 * states are equal byte for byte too.
 *-------------------------------------------------------------------------
 */
#include <stddef.h>
#include <string.h>

#include "ha/ha.h"

#define HEAD_SIZE	offsetof(HaPostgres, slots)

/* Copy a list, and zero what the target has beyond it. */
static void
copy_list(void *to, int n_before, const void *from, int n, size_t size)
{
	memcpy(to, from, (size_t) n * size);
	if (n_before > n)
		memset((char *) to + (size_t) n * size, 0, (size_t) (n_before - n) * size);
}

/* Copy a state over another one; the same one is fine. */
void
ha_postgres_copy(HaPostgres *to, const HaPostgres *from)
{
	if (to == from)
		return;
	copy_list(to->slots, to->n_slots, from->slots, from->n_slots, sizeof(to->slots[0]));
	copy_list(to->senders, to->n_senders, from->senders, from->n_senders, sizeof(to->senders[0]));
	copy_list(to->history, to->n_history, from->history, from->n_history, sizeof(to->history[0]));
	memcpy(to, from, HEAD_SIZE);
}

/* Is everything the same? */
bool
ha_postgres_equal(const HaPostgres *a, const HaPostgres *b)
{
	return memcmp(a, b, HEAD_SIZE) == 0 &&
		memcmp(a->slots, b->slots, (size_t) a->n_slots * sizeof(a->slots[0])) == 0 &&
		memcmp(a->senders, b->senders, (size_t) a->n_senders * sizeof(a->senders[0])) == 0 &&
		memcmp(a->history, b->history, (size_t) a->n_history * sizeof(a->history[0])) == 0;
}

/* Back to nothing known. */
void
ha_postgres_reset(HaPostgres *postgres)
{
	memset(postgres->slots, 0, (size_t) postgres->n_slots * sizeof(postgres->slots[0]));
	memset(postgres->senders, 0, (size_t) postgres->n_senders * sizeof(postgres->senders[0]));
	memset(postgres->history, 0, (size_t) postgres->n_history * sizeof(postgres->history[0]));
	memset(postgres, 0, HEAD_SIZE);
}
