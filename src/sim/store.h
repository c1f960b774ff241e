/*-------------------------------------------------------------------------
 *
 * store.h
 *      Between the model of the store and its driver: what travels.
 *
 * A request and a reply are flat blocks of memory, so that the queue can free
 * them with a single free().
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_SIM_STORE_H
#define PATRONI_SIM_STORE_H

#include "sim/sim.h"

#define SIM_SESSION_MAX		24
#define SIM_KEY_MAX			160

typedef enum SimRequestKind
{
	SIM_VERSION,
	SIM_LOAD,					/* all keys; is_serializable: perhaps older ones */
	SIM_READ,					/* one key, linearisable */
	SIM_GRANT,
	SIM_KEEPALIVE,
	SIM_PUT,
	SIM_PUT_VERSION,
	SIM_CREATE,
	SIM_ACQUIRE,				/* create, if "promotions", "history", "failsafe" have these versions still */
	SIM_CONFIRM,				/* put if the value is ours, in the version that was read */
	SIM_DELETE,
	SIM_DELETE_VERSION,
	SIM_DELETE_VALUE,
	SIM_WATCH,					/* from "version" on */
} SimRequestKind;

typedef struct SimRequest
{
	int			node;
	HaHome		home;
	uint64_t	driver_id;
	uint64_t	call_id;
	SimRequestKind kind;
	uint64_t	promotions_version;	/* SIM_ACQUIRE; 0 = absent */
	uint64_t	history_version;
	uint64_t	failsafe_version;
	uint64_t	leader_version;	/* SIM_CREATE, SIM_PUT_VERSION; 0 = whoever leads */
	bool		is_serializable;
	uint64_t	version;
	int64_t		ttl_us;
	char		session[SIM_SESSION_MAX];	/* "" = permanent */
	char		key[SIM_KEY_MAX];
	bool		has_promotions;	/* SIM_ACQUIRE: a second text follows the value; its key gets a
								 * version one less than the leader key's */
	size_t		size;			/* of the whole block */
	char		value[];		/* NUL-terminated */
} SimRequest;

typedef enum SimAnswer
{
	SIM_ANSWERED,
	SIM_LEASE_NOT_FOUND,
	SIM_UNAVAILABLE,			/* an error: it may have happened or not */
	SIM_RESET,					/* the connection died after the request went out */
	SIM_REFUSED,				/* no connection */
	SIM_WATCH_EVENTS,			/* all changes up to "revision" */
	SIM_WATCH_COMPACTED,
	SIM_WATCH_ENDED,
} SimAnswer;

typedef struct SimReply
{
	struct SimReply *next;		/* in the driver's inbox */
	uint64_t	driver_id;
	uint64_t	call_id;
	HaHome		home;
	SimAnswer	answer;
	bool		succeeded;		/* of a transaction */
	uint64_t	revision;		/* of the store */
	int64_t		ttl_us;			/* of a lease; 0 = there is none */
	char		session[SIM_SESSION_MAX];
	int			n_keys;
	size_t		size;			/* of the whole block */
	char		data[];			/* version (8 bytes), name, session, value of each key */
} SimReply;

/* One change, as watches tell of it. */
typedef struct SimText
{
	int			references;
	char		text[];
} SimText;

typedef struct SimChange
{
	uint64_t	revision;
	char		name[SIM_KEY_MAX];
	char		session[SIM_SESSION_MAX];
	SimText    *value;			/* NULL: deleted */
	char		old_session[SIM_SESSION_MAX];
	SimText    *old_value;		/* NULL: was absent */
	uint64_t	old_version;
} SimChange;

/* store.c */
extern void sim_store_arrive(int node, int64_t number, void *owned);	/* event: a SimRequest */
extern const SimChange *sim_store_change(uint64_t revision);	/* NULL: too old, or not yet */
extern bool sim_store_watches(int node, HaHome home, uint64_t call_id);
extern uint64_t sim_store_next_id(void);

/* store_watch.c */
extern void sim_watches_reset(void);
extern void sim_watch_open(const SimRequest *request, uint64_t revision, uint64_t compacted);
extern void sim_watches_tell(uint64_t revision);
extern void sim_watches_end(SimAnswer answer);

/* driver.c */
extern void sim_driver_reply(int node, int64_t number, void *owned);	/* event: a SimReply */

/* network.c */
extern bool sim_link_refuses(int a, int b);		/* and says so, at once */

static inline SimProcessKind
sim_process_of(HaHome home)
{
	return home == HA_HOME_WORKER ? SIM_WORKER : SIM_SUPERVISOR;
}

#endif							/* PATRONI_SIM_STORE_H */
