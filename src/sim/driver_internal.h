/*-------------------------------------------------------------------------
 *
 * driver_internal.h
 *      The inside of the simulated driver: calls, operations, follower.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_SIM_DRIVER_INTERNAL_H
#define PATRONI_SIM_DRIVER_INTERNAL_H

#include "dcs/dcs_internal.h"
#include "sim/store.h"

#define BACKOFF_MIN_MS		100
#define BACKOFF_MAX_MS		500
#define TRY_MIN_MS			1000
#define STALE_CHECK_MS		500

typedef struct Driver Driver;
typedef struct Call Call;

typedef enum CallOutcome
{
	CALL_ANSWERED,
	CALL_REFUSED,				/* an error that says: it did not happen */
	CALL_NOT_SENT,
	CALL_UNKNOWN,
} CallOutcome;

typedef struct CallResult
{
	CallOutcome outcome;
	const SimReply *answer;		/* CALL_ANSWERED and CALL_REFUSED; borrowed */
	bool		repeated;		/* it may have happened before this answer */
	int64_t		sent_at_ms;		/* of the attempt that was answered */
	const char *error;
} CallResult;

typedef enum CallState
{
	CALL_WAITING,				/* for the version or for a pause to end */
	CALL_RUNNING,
	CALL_ENDED,					/* its "done" is being called */
} CallState;

struct Call
{
	Driver	   *driver;
	Call	   *next;
	CallState	state;
	uint64_t	number;			/* of the call */
	uint64_t	id;				/* of this attempt */
	SimRequest *request;		/* owned; what is sent */
	bool		is_idempotent;
	bool		is_single_pass;
	bool		was_tried;		/* the only endpoint, in this pass */
	int64_t		deadline_ms;
	int64_t		pause_until_ms;
	int			backoff_ms;
	int64_t		attempt_until_ms;
	int			n_sent;			/* of this attempt: copies that left */
	bool		used_kept;		/* a connection that had been kept */
	int64_t		sent_at_ms;
	bool		may_be_done;	/* an earlier attempt was sent */
	DcsPending *pending;		/* NULL: the follower's own */
	void		(*done) (Call *call, const CallResult *result);
	const char *last_error;		/* NULL = none */
};

typedef enum WatchState
{
	WATCH_NONE,
	WATCH_STARTING,
	WATCH_HEALTHY,
} WatchState;

struct Driver
{
	Dcs		   *dcs;
	int			node;
	HaHome		home;
	uint64_t	id;
	SimReply   *inbox;			/* oldest first */
	SimReply  **inbox_end;
	bool		is_connected;	/* a connection is kept */
	bool		knows_version;

	int64_t		session_sent_at_ms; /* before the last extension; 0 = not known */
	int64_t		session_ttl_s;		/* that was asked for; 0 = somebody else's */
	DcsPending *granting;

	Call	   *calls;

	/* the follower */
	Call	   *sync_call;
	int64_t		sync_at_ms;		/* -1: nothing to do */
	int			sync_backoff_ms;
	bool		needs_load;
	bool		load_linearizable;
	WatchState	watch_state;
	uint64_t	watch_id;		/* of its request */
	uint64_t	watch_revision; /* all events up to here are applied */
	uint64_t	checked_revision;	/* a probe found that there are none up to here */
	uint64_t	extended_revision;	/* of the store when the session was last extended */
	int64_t		extended_ms;
	int64_t		watch_deadline_ms;
	int64_t		alive_at_ms;	/* then the kernel asks for a sign of life of its connection */
	Call	   *probe_call;
	int64_t		probe_at_ms;
	uint64_t	probe_revision; /* of the watch when the probe was started */
	bool		is_suspect;
	uint64_t	suspect_revision;
	int64_t		suspect_until_ms;
};

static inline Driver *
driver_of(const Dcs *dcs)
{
	return (Driver *) dcs->driver_data;
}

static inline int64_t
driver_ttl_s(const Driver *driver)
{
	return (driver->dcs->config.ttl_ms + 999) / 1000;
}

static inline int
driver_dead_peer_ms(const Driver *driver)
{
	int64_t		third = driver->dcs->config.ttl_ms / 3;

	return third < 1000 ? 1000 : (int) third;
}

static inline int
driver_probe_interval_ms(const Driver *driver)
{
	return driver_dead_peer_ms(driver) * 7 / 4;
}

/* driver.c */
extern bool driver_watch_is_complete(const Driver *driver, uint64_t revision);
extern void driver_watch_was_checked(Driver *driver, int64_t at_ms);
extern bool driver_watch_has_told(const Driver *driver, const SimReply *answer);
extern void driver_watch_is_right(Driver *driver, uint64_t revision, int64_t sent_at_ms);

/* driver_call.c */
extern SimRequest *driver_request(const Driver *driver, SimRequestKind kind, const char *key,
								  const char *value, const char *session);
extern SimRequest *driver_request_both(const Driver *driver, SimRequestKind kind, const char *key,
									   const char *value, const char *promotions,
									   const char *session);
extern Call *driver_call(Driver *driver, SimRequest *request, int64_t deadline_ms,
						 void (*done) (Call *call, const CallResult *result), DcsPending *pending);
extern void driver_call_try(Call *call, int64_t now_ms);
extern void driver_call_free(Call *call);
extern void driver_calls_kick(Driver *driver, int64_t now_ms);
extern void driver_calls_time_out(Driver *driver, int64_t now_ms);
extern void driver_calls_answer(Driver *driver, const SimReply *reply, int64_t now_ms);
extern void driver_transmit(Driver *driver, const SimRequest *request, bool *used_kept, int *n_sent);
extern bool driver_key_next(const SimReply *reply, size_t *at, SimKey *key);

/* driver_operation.c */
extern void driver_submit(Dcs *dcs, DcsPending *pending);
extern void driver_abandon(Dcs *dcs, DcsPending *pending);

/* driver.c */
extern void driver_endpoint_failed(Driver *driver, int64_t now_ms);

#endif							/* PATRONI_SIM_DRIVER_INTERNAL_H */
