/*-------------------------------------------------------------------------
 *
 * rest.h
 *      The REST API of a node, served by the supervisor.
 *
 * Patroni's paths, status codes and JSON (patroni/api.py).  Besides GET, HEAD and
 * OPTIONS there are the calls that change something (RestCall); all else is
 * refused with 501.  Such a call is allowed only with the user name and the
 * password of restapi.authentication, a client certificate or from an address
 * of restapi.allowlist, as far as these are set, and to nobody where none is;
 * but POST /failsafe, which members send to each other, then to everybody.
 *
 * Whether this node may call itself primary is read from the lease page at
 * the moment the answer is written: a node whose fence is closed is no
 * primary, whatever it believed when it was asked.
 *
 * libevent, one thread, nothing blocks.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_REST_REST_H
#define PATRONI_REST_REST_H

#include <event2/event.h>
#include <jansson.h>

#include "base/error.h"
#include "base/lease_page.h"
#include "config/settings.h"
#include "ha/ha.h"
#include "rest/takeover.h"

/*
 * What the supervisor knows when it is asked.  All pointers are borrowed and
 * valid during the call of "done" only.
 */
typedef struct RestStatus
{
	uint64_t number;            /* answers of the same number say the same; 0: they may not */
	const Settings *settings;   /* NULL: no configuration yet */
	const LeasePage *page;      /* NULL: none; then nobody is primary */
	const ClusterView *view;    /* NULL: never loaded, or too old to be shown */
	const HaPostgres *postgres; /* NULL: nothing is known of the server */
	bool is_fresh;              /* the worker was asked just now and answered */
	bool is_remembered;         /* the supervisor drives: what the worker told last may be older */
	MemberRole role;            /* in-memory role of the engine */
	MemberState state;
	bool has_lease; /* the engine's view; the page decides */
	bool is_paused;
	bool can_lead; /* false: cannot reach the store, hangs, or has promised not to */
	const char *hang; /* it hangs: what was measured; NULL or "" = it does not */
	int missing_slots; /* logical slots that could not be used here after a failover */
	bool store_is_reachable;
	int64_t store_last_seen_ms; /* wall clock; 0 never */
	bool is_failsafe_active; /* the leader leads by the consent of all members, without the store */
	int64_t last_step_ms;       /* CLOCK_BOOTTIME of the driving home's last turn; 0 never */
	int64_t replayed_at_ms;     /* commit time of the last transaction replayed; 0 unknown */
	const json_t *senders;      /* array of {client_addr, sync_priority}; NULL: not known */
	const Takeovers *takeovers; /* NULL: not measured */
} RestStatus;

typedef void (*RestDone)(void *arg, const RestStatus *status);

/* The calls that change something. */
typedef enum RestCall
{
	REST_PATCH_CONFIG,
	REST_PUT_CONFIG,
	REST_RELOAD,
	REST_SWITCHOVER,
	REST_FAILOVER,
	REST_DELETE_SWITCHOVER,
	REST_FAILSAFE,
	REST_RESTART,
	REST_DELETE_RESTART,
	REST_REINITIALIZE,
	REST_SIGTERM, /* nothing happens, as in Patroni */
	REST_MPP,     /* an event of a Citus cluster; heard, and ignored */
} RestCall;

/* What became of a call. */
typedef struct RestResult
{
	int status;
	bool is_json;
	const char *text; /* the body, borrowed; NULL = an error page */
	Lsn lsn;          /* REST_FAILSAFE: for the header; 0 = none */
} RestResult;

typedef void (*RestCallDone)(void *arg, const RestResult *result);

typedef struct RestOps
{
	void *context;
	/*
	 * Find out the status and call done(arg, status) exactly once: at once or
	 * later, but soon (the worker is asked first; 100 ms later what is
	 * remembered is good enough).  Still pending calls must be made, or never
	 * come, before rest_stop() frees what "arg" belongs to: rest_stop() keeps
	 * a stub for each, so calling late is harmless.
	 */
	void (*status)(void *context, RestDone done, void *arg);
	/* The settings in force, borrowed; NULL: none yet.  Decides who may call. */
	const Settings *(*settings)(void *context);
	/* The cluster, borrowed; may be NULL.  For restapi.allowlist_include_members. */
	const ClusterView *(*view)(void *context);
	/*
	 * Do it, and call done(arg, result) exactly once, at once or within
	 * rest_call_seconds(); like "status" also after rest_stop().  "body" is a
	 * JSON object, or NULL where the call has none; borrowed.  An optional body
	 * that is not there is an empty object.
	 */
	void (*call)(void *context, RestCall call, const json_t *body, RestCallDone done, void *arg);
	/* level: 0 debug, 1 log, 2 warning; may be NULL */
	void (*log)(void *context, int level, const char *message);
} RestOps;

typedef struct RestListen
{
	char host[256]; /* "" or "*" = all interfaces, IPv6 and IPv4 */
	int port;       /* 0 = any free port (tests): rest_port() */
	int backlog;    /* 0 = 128 */
} RestListen;

typedef struct Rest Rest;

/* NULL and *error when it cannot listen there. */
extern Rest *rest_start(struct event_base *base, const RestOps *ops, const RestListen *listen,
                        Error *error);
extern void rest_stop(Rest *rest); /* NULL is fine */
/* restapi.listen and restapi.request_queue_size. */
extern void rest_listen_from_settings(RestListen *listen, const Settings *settings);
/*
 * Take over changed settings.  Listens elsewhere if that is another place; the
 * certificate's files are read again in any case, the allowlist's names looked
 * up.  On false what could not be changed stays as it was.
 */
extern bool rest_reconfigure(Rest *rest, const RestListen *listen, Error *error) MUST_CHECK;
extern int rest_port(const Rest *rest);
/* How long a call may take until its answer is "unknown". */
extern int rest_call_seconds(const Settings *settings, RestCall call, const json_t *body);

#endif /* PATRONI_REST_REST_H */
