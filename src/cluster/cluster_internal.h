/*-------------------------------------------------------------------------
 *
 * cluster_internal.h
 *      What the files of src/cluster share: careful reading of JSON and text.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_CLUSTER_CLUSTER_INTERNAL_H
#define PATRONI_CLUSTER_CLUSTER_INTERNAL_H

#include <jansson.h>

#include "cluster/cluster.h"

#define CLUSTER_DOCUMENT_MAX	(8 * 1024 * 1024)	/* longer values are not JSON to us */
#define CLUSTER_FRAGMENT_MAX	(64 * 1024) /* of raw JSON kept beside the fields */

typedef enum JsonRead
{
	JSON_READ_EXACT,			/* all of it is as written */
	JSON_READ_ROUNDED,			/* integers beyond 64 bits: all numbers are doubles */
	JSON_READ_INVALID,			/* *document is NULL */
	JSON_READ_NO_MEMORY,		/* *document is NULL */
} JsonRead;

/* json_text.c */
extern JsonRead cluster_json_read(const char *text, json_t **document);
extern char *cluster_json_write(json_t *document);	/* takes the reference */
extern bool cluster_json_fragment(json_t *value, char **text);	/* false: no memory */
extern json_t *cluster_json_text(const char *text);
extern json_t *cluster_json_text_or_null(const char *text);
extern json_t *cluster_json_lsn(Lsn lsn);
extern bool cluster_json_put(json_t *object, const char *name, json_t *value);
extern bool cluster_json_put_raw(json_t *object, const char *name, const char *text);
extern bool cluster_json_truth(const json_t *value);
extern bool cluster_json_integer(const json_t *value, int64_t *number);
extern Lsn cluster_json_get_lsn(const json_t *object, const char *name);
extern uint32_t cluster_json_get_timeline(const json_t *value);
extern void cluster_json_get_text(const json_t *object, const char *name, char *to, size_t size);
extern void cluster_json_get_name(const json_t *object, const char *name, char *to);
extern size_t cluster_utf8_length(const char *text);
extern void cluster_text_copy(char *to, size_t size, const char *from);
extern void cluster_name_copy(char to[CLUSTER_NAME_MAX], const char *from);
extern bool cluster_name_is_valid(const char *name);
extern bool cluster_text_dup(char **to, const char *from);

/* One value each; false: no memory, and what was there stays. */
extern bool member_read(Member *member, const char *text);
extern bool sync_read(SyncState *sync, const char *text);
extern bool status_read(ClusterStatus *status, const char *text);
extern bool history_read(ClusterView *view, const char *text);
extern bool taken_read(ClusterView *view, const char *text);
extern bool request_read(MemberRequest *request, const char *text);
extern void request_free(MemberRequest *request);

/* The same values as JSON, NULL = no memory. */
extern json_t *failover_to_json(const FailoverRequest *request);
extern json_t *sync_to_json(const SyncState *sync);
extern json_t *history_to_json(const TimelineHistory *history, int n_history);

#endif							/* PATRONI_CLUSTER_CLUSTER_INTERNAL_H */
