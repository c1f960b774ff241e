/*-------------------------------------------------------------------------
 *
 * hash.h
 *      FNV-1a, the hash for names that need to differ, not to be secret.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_BASE_HASH_H
#define PATRONI_BASE_HASH_H

#include <stdint.h>

/* 64 bits of FNV-1a (draft-eastlake-fnv, section 2) over the bytes of a text. */
static inline uint64_t
hash_text(const char *text)
{
	uint64_t	hash = UINT64_C(14695981039346656037);

	for (; *text != '\0'; text++)
		hash = (hash ^ (unsigned char) *text) * UINT64_C(1099511628211);
	return hash;
}

#endif							/* PATRONI_BASE_HASH_H */
