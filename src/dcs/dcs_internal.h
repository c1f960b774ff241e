/*-------------------------------------------------------------------------
 *
 * dcs_internal.h
 *      The inside of a Dcs, for the front and the drivers only.
 *
 * A driver translates: it turns a pending request into what its store
 * speaks, says how it ended with dcs_complete(), and puts keys into the
 * cache.  It calls nobody's callbacks; the front does, when the driver has
 * returned, so that a callback may submit, forget and reconfigure.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_DCS_DCS_INTERNAL_H
#define PATRONI_DCS_DCS_INTERNAL_H

#include "dcs/dcs.h"

#define DCS_PENDING_MAX		64
#define DCS_KEYS_MAX		8192	/* further keys are ignored, and said so */
#define DCS_VALUE_MAX		((size_t) 1024 * 1024)	/* etcd itself refuses more than 1.5 MiB */

/* One key of the store as last seen. */
typedef struct DcsKey
{
	char	   *name;				/* owned; relative to base */
	char	   *value;				/* owned; NULL = deleted at "version" */
	char		session[CLUSTER_SESSION_MAX];
	uint64_t	version;
} DcsKey;

/* A request from dcs_submit() until its reply was delivered. */
typedef struct DcsPending
{
	bool		is_used;
	bool		is_submitted;		/* the driver knows of it */
	bool		is_complete;		/* "reply" is ready to be delivered */
	uint64_t	order;				/* of submission */
	DcsRequest	request;			/* key and value owned */
	int64_t		deadline_ms;
	bool		may_be_done;		/* set by the driver before a byte of the write goes out */
	int64_t		sent_at_ms;			/* set by the driver with the same */
	void	   *driver_data;
	DcsReply	reply;
} DcsPending;

enum
{
	DCS_FEATURE_WATCH = 1 << 0,		/* changes are pushed */
};

typedef struct DcsDriver
{
	const char *name;				/* its section in the configuration: "etcd3" */
	uint32_t	features;			/* DCS_FEATURE_WATCH, ... */

	/* Every driver has these.  None of them blocks. */
	bool		(*open) (Dcs *dcs, Error *error);
	bool		(*reconfigure) (Dcs *dcs, Error *error);	/* dcs->config is new already */
	int			(*fd) (const Dcs *dcs);
	void		(*submit) (Dcs *dcs, DcsPending *pending);
	/* The front gave up waiting; forget it, without dcs_complete(). */
	void		(*abandon) (Dcs *dcs, DcsPending *pending);
	void		(*socket_ready) (Dcs *dcs, int64_t now_ms);
	int64_t		(*timer_at_ms) (const Dcs *dcs, int64_t now_ms);	/* -1 = none */
	void		(*timer_due) (Dcs *dcs, int64_t now_ms);
	void		(*session_was_set) (Dcs *dcs);
	void		(*close) (Dcs *dcs);
} DcsDriver;

struct Dcs
{
	const DcsDriver *driver;
	void	   *driver_data;
	DcsConfig	config;				/* hosts owned */
	DcsCallbacks callbacks;

	DcsKey	   *keys;				/* owned, sorted by name */
	int			n_keys;
	int			keys_size;
	uint64_t	revision;			/* highest revision put into the cache */
	ClusterView view;
	bool		is_loaded;
	bool		is_changed;			/* the view was, its callback is due */
	bool		is_overfull;		/* said once that there are too many keys */
	int64_t		last_seen_wall_ms;
	DcsSighting sighting;			/* set by the driver */
	DcsSighting others_sighting;	/* of the node's other home */

	bool		is_reachable;
	bool		is_reachable_told;
	bool		was_told;			/* "reachable" was called at all */
	Error		reachable_error;

	char		session[CLUSTER_SESSION_MAX];
	DcsPending	pending[DCS_PENDING_MAX];
	int			n_pending;			/* of them are used */
	uint64_t	order;
};

extern const DcsDriver etcd3_driver;

/* --- for drivers --- */

/* How a pending request ended; "error" is copied, NULL is fine. */
extern void dcs_complete(Dcs *dcs, DcsPending *pending, DcsOutcome outcome,
						 uint64_t version, const Error *error);
/* Replace the cache: begin, any number of puts, end. */
extern bool dcs_load(Dcs *dcs, DcsKey *keys, int n_keys, uint64_t revision, Error *error) MUST_CHECK;
/* Forget all keys and revisions: the store was replaced by an older one. */
extern void dcs_cache_forget(Dcs *dcs);
/* Apply one change; value NULL takes the key away.  Older news is ignored. */
extern void dcs_cache_apply(Dcs *dcs, const char *name, const char *value,
							const char *session, uint64_t version);
/* The cache shows everything up to this revision of the store. */
extern void dcs_cache_settle(Dcs *dcs, uint64_t revision);
extern const DcsKey *dcs_cache_find(const Dcs *dcs, const char *name);	/* NULL = absent */
extern void dcs_set_reachable(Dcs *dcs, bool is_reachable, const Error *error);
extern void dcs_was_heard(Dcs *dcs);		/* now is last_seen_wall_ms */
extern void dcs_log(Dcs *dcs, int level, const char *format,...) PRINTF_LIKE(3, 4);

#endif							/* PATRONI_DCS_DCS_INTERNAL_H */
