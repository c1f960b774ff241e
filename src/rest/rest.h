/*-------------------------------------------------------------------------
 *
 * rest.h
 *      The REST API of a node, served by the supervisor.
 *
 * Patroni's paths, status codes and JSON (rest-api.md).  This part answers
 * GET, HEAD and OPTIONS; all other methods are refused with 501.
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

#include "base/error.h"
#include "base/lease_page.h"
#include "config/settings.h"
#include "ha/ha.h"

/*
 * What the supervisor knows when it is asked.  All pointers are borrowed and
 * valid during the call of "done" only.
 */
typedef struct RestStatus
{
	const Settings *settings;   /* NULL: no configuration yet */
	const LeasePage *page;      /* NULL: none; then nobody is primary */
	const ClusterView *view;    /* NULL: never loaded, or too old to be shown */
	const HaPostgres *postgres; /* NULL: nothing is known of the server */
	bool is_fresh;              /* the worker was asked just now and answered */
	MemberRole role;            /* in-memory role of the engine */
	MemberState state;
	bool has_lease; /* the engine's view; the page decides */
	bool is_paused;
	bool can_lead; /* false: cannot reach the store */
	bool store_is_reachable;
	int64_t store_last_seen_ms; /* wall clock; 0 never */
	int64_t last_step_ms;       /* CLOCK_BOOTTIME of the driving home's last turn; 0 never */
} RestStatus;

typedef void (*RestDone)(void *arg, const RestStatus *status);

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
/* Listen elsewhere; does nothing when it is the same.  On false the old one stays. */
extern bool rest_reconfigure(Rest *rest, const RestListen *listen, Error *error) MUST_CHECK;
extern int rest_port(const Rest *rest);

#endif /* PATRONI_REST_REST_H */
