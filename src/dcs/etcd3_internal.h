/*-------------------------------------------------------------------------
 *
 * etcd3_internal.h
 *      The words of etcd's JSON gateway: request bodies and errors.
 *
 * Bodies are byte for byte those of Patroni (patroni/dcs/etcd3.py).
 * Builders return malloc'ed text, NULL when there is no memory or a text is
 * not UTF-8.  "lease" NULL or "" means a permanent key.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_DCS_ETCD3_INTERNAL_H
#define PATRONI_DCS_ETCD3_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

/* What an error answer means for us: patroni/dcs/etcd3.py, _raise_for_data(). */
typedef enum Etcd3Error
{
	ETCD3_LEASE_NOT_FOUND,
	ETCD3_AUTH_FAILED,			/* user name or password is wrong */
	ETCD3_NOT_AUTHENTICATED,	/* get a token and repeat */
	ETCD3_AUTH_DISABLED,		/* go on without a token */
	ETCD3_COMPACTED,
	ETCD3_RETRIABLE,			/* certainly did not happen; try again */
	ETCD3_UNAVAILABLE,			/* may have happened; another endpoint may know */
	ETCD3_NO_SUCH_PATH,			/* wrong API prefix */
	ETCD3_REFUSED,				/* certainly did not happen */
} Etcd3Error;

extern char *etcd3_range_end(const char *prefix);
extern char *etcd3_body_range(const char *key, const char *range_end, bool serializable);
extern char *etcd3_body_newest(const char *leader, const char *key, const char *range_end);
extern char *etcd3_body_put(const char *key, const char *value, const char *lease);
extern char *etcd3_body_delete(const char *key);
extern char *etcd3_body_create(const char *key, const char *value, const char *lease);
extern char *etcd3_body_put_version(const char *key, const char *value, uint64_t version);
extern char *etcd3_body_put_as_leader(const char *key, const char *value, uint64_t version,
									  const char *leader, uint64_t leader_version);
extern char *etcd3_body_delete_version(const char *key, uint64_t version);
extern char *etcd3_body_delete_value(const char *key, const char *value, uint64_t revision);
extern char *etcd3_body_acquire(const char *key, const char *value, const char *lease,
								const char *promotions, uint64_t promotions_version,
								const char *new_promotions, const char *history, uint64_t history_version,
								const char *failsafe, uint64_t failsafe_version);
extern char *etcd3_body_confirm(const char *key, const char *value, uint64_t version, const char *lease);
extern char *etcd3_body_grant(int64_t ttl_s);
extern char *etcd3_body_keepalive(const char *lease);
extern char *etcd3_body_watch(const char *key, const char *range_end, uint64_t revision);
extern char *etcd3_body_authenticate(const char *username, const char *password);

extern uint64_t etcd3_number(const json_t *value);
extern bool etcd3_prefix_of_version(const char *version, char prefix[16]);
extern Etcd3Error etcd3_classify(int status, const json_t *answer, char *message, size_t size);

#endif							/* PATRONI_DCS_ETCD3_INTERNAL_H */
