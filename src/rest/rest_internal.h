/*-------------------------------------------------------------------------
 *
 * rest_internal.h
 *      What the files of src/rest share.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_REST_REST_INTERNAL_H
#define PATRONI_REST_REST_INTERNAL_H

#include <jansson.h>

#include "rest/allowlist.h"
#include "rest/rest.h"
#include "rest/server.h"

#define REST_PARAMETERS_MAX 32

typedef struct RestParameter
{
	char name[64];
	char value[256];
} RestParameter;

typedef struct RestQuery
{
	RestParameter items[REST_PARAMETERS_MAX];
	int count;
} RestQuery;

/*
 * What follows from a RestStatus at this moment, once for each request, so
 * that all parts of an answer agree with each other.
 */
typedef struct RestFacts
{
	const RestStatus *status;
	const ClusterView *view; /* NULL: none that may still be believed */
	int64_t now_ms;
	int64_t wall_ms;
	bool is_standby_cluster;
	bool is_running; /* the server answered just now */
	bool is_fence_open;
	bool is_leader;  /* patroni/ha.py, is_leader() */
	bool is_primary; /* out of recovery, and allowed to say so */
	bool is_replica; /* in recovery */
	bool can_lead;  /* false: it would not take the leader lease, whatever its position */
	bool hides_wal; /* likewise, and Patroni's members need not know its position to vote */
	bool is_sync_standby;
	bool is_quorum_standby;
	MemberRole role; /* as shown */
	MemberState state;
	const char *replication_state; /* "" = none */
} RestFacts;

/* query.c */
extern void query_parse(RestQuery *query, const char *text);
extern const char *query_get(const RestQuery *query, const char *name); /* NULL = absent */

/* answer.c */
extern const json_t *restapi_setting(const Settings *settings, const char *key);
extern const char *server_token(const Settings *settings);
extern void answer_status_line(Connection *connection, int code);
extern void answer_text(Connection *connection, const Settings *settings, int code,
                        const char *content_type, const char *header, const char *body);

/* access.c: 0 = allowed; else the status, and the reason in *text */
extern int access_code(const Settings *settings, const Allowlist *list, const ClusterView *view,
                       const ServerRequest *request, bool is_of_members, const char **text);

/* facts.c */
extern void rest_facts(RestFacts *facts, const RestStatus *status, int64_t now_ms, int64_t wall_ms);

/* health.c */
extern int health_code(const RestFacts *facts, const char *path, const RestQuery *query);
extern int liveness_code(const RestFacts *facts, int64_t started_ms);
extern int readiness_code(const RestFacts *facts, const RestQuery *query);

/* documents.c: malloc'ed texts, NULL = no memory */
extern char *status_document(const RestFacts *facts);
extern char *cluster_document(const RestFacts *facts); /* NULL also without a view */
#define LEADER_KEY_ROUTE "/v2/keys"
extern char *leader_key_document(const RestFacts *facts, const char *path, int *code);

/* metrics.c: malloc'ed, NULL without settings */
extern char *metrics_document(const RestFacts *facts);

#endif /* PATRONI_REST_REST_INTERNAL_H */
