/*-------------------------------------------------------------------------
 *
 * dcs.h
 *      How both homes talk to the consensus store: the front and the driver
 *      interface.
 *
 * The front (dcs.c) is what others call: it checks arguments, takes the time
 * *before* a request is sent, bounds the wait, keeps the raw cache of keys,
 * builds the ClusterView and delivers replies.  A driver only translates.
 *
 * One thread.  Nothing blocks.  All of a handle's sockets sit in one epoll
 * descriptor, so that a host loop of any kind (WaitEventSet, libevent) needs
 * one readable descriptor and one timeout:
 *
 *      wait until dcs_fd() is readable or dcs_timeout_ms() has passed;
 *      dcs_process(dcs, now_ms);
 *
 * Callbacks are called from dcs_process() only, never from inside
 * dcs_submit() or dcs_open().
 *
 * An error is not an answer: only DCS_DONE and DCS_LOST_RACE are.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_DCS_DCS_H
#define PATRONI_DCS_DCS_H

#include <stdint.h>

#include "base/error.h"
#include "cluster/cluster.h"

typedef enum DcsOutcome
{
	DCS_DONE,					/* the store did it */
	DCS_LOST_RACE,				/* certainly refused: compare failed, or the session is gone */
	DCS_NOT_SENT,				/* certainly did not happen; may be tried again */
	DCS_UNKNOWN,				/* sent, no answer: may or may not have happened */
} DcsOutcome;

typedef enum DcsOperation
{
	/*
	 * Extend the node's session (granting one if there is none) and, if
	 * "key" is not NULL, make sure that the leader key still holds "value"
	 * under this session.  The store itself is asked for the key after the
	 * session was extended, as what is known of it may be old, unless the
	 * extension has shown that nothing was changed since.  It is written
	 * only to move it to another session, and an absent key is never made
	 * anew: that takes DCS_ACQUIRE_LEADER.  LOST_RACE: the session is gone
	 * (reply.session_lost), somebody else owns the key, or it is gone.
	 */
	DCS_RENEW,
	/*
	 * Create "leader" = value under the session if it is absent, and
	 * "promotions", "history" and "failsafe" have these versions still: those that the
	 * caller has decided by, which may be older than the cache when the request
	 * is carried out.  LOST_RACE also if they have not.  With "promotions" that
	 * key is written in the same transaction.  DONE may speak of the leader key
	 * alone, when it had been created by an earlier request.
	 */
	DCS_ACQUIRE_LEADER,
	DCS_RELEASE_LEADER,			/* delete "leader" if it still holds value */
	DCS_PUT_MEMBER,				/* write "members/<key>" under the session */
	DCS_DELETE_MEMBER,			/* delete "members/<key>" */
	DCS_CREATE,					/* permanent key, only if absent; leader_version as in DCS_PUT */
	DCS_PUT,					/* permanent key; with version != 0 only if it still has it.
								 * "leader" is refused: it is never put unconditionally.  With
								 * leader_version != 0 only while "leader" has that one */
	DCS_DELETE,					/* permanent key; version as in DCS_PUT */
} DcsOperation;

typedef struct DcsRequest
{
	uint64_t	id;				/* the caller's; comes back in the reply; not 0 */
	DcsOperation operation;
	const char *key;			/* relative: "config"; copied by dcs_submit() */
	const char *value;			/* copied by dcs_submit() */
	const char *promotions;		/* of DCS_ACQUIRE_LEADER; NULL = the key stays as it is; copied */
	uint64_t	version;		/* 0 = unconditional; of DCS_ACQUIRE_LEADER that of "promotions",
								 * 0 = absent */
	uint64_t	history_version;	/* of DCS_ACQUIRE_LEADER; 0 = absent */
	uint64_t	failsafe_version;	/* likewise */
	uint64_t	leader_version; /* of DCS_CREATE and DCS_PUT; 0 = whoever leads */
	int			timeout_ms;		/* bound of the wait; 0 = retry_timeout */
} DcsRequest;

typedef struct DcsReply
{
	uint64_t	id;
	DcsOperation operation;
	DcsOutcome	outcome;
	bool		session_lost;	/* with DCS_LOST_RACE */
	int64_t		sent_at_ms;		/* clock_now_ms() before the first byte went out */
	uint64_t	version;		/* new version of a written key, else 0 */
	Error		error;			/* when outcome is neither DONE nor LOST_RACE */
} DcsReply;

/*
 * A look at the store: asked at "at_ms" (clock_now_ms()), it had no change of
 * this cluster behind "revision".
 */
typedef struct DcsSighting
{
	uint64_t	revision;
	int64_t		at_ms;			/* 0 = never */
} DcsSighting;

typedef struct DcsConfig
{
	char		driver[16];		/* "etcd3" */
	char		base[384];		/* "/service/batman" */
	const char *const *hosts;	/* "host:port", IPv6 bracketed; copied */
	int			n_hosts;
	char		protocol[8];	/* "http" or "https" */
	char		username[128];
	char		password[256];
	char		cacert[512];
	char		cert[512];
	char		key[512];
	char		proxy[256];
	bool		use_proxies;	/* do not learn the member list */
	int64_t		ttl_ms;
	int64_t		loop_wait_ms;
	int64_t		retry_timeout_ms;
} DcsConfig;

typedef struct Dcs Dcs;

typedef struct DcsCallbacks
{
	void	   *context;
	/* The view changed (first load, watch event, own write).  Borrowed. */
	void		(*view) (void *context, const ClusterView *view);
	void		(*reply) (void *context, const DcsReply *reply);
	/*
	 * The store could not be read or watched (is_reachable false, with the
	 * reason), or can again: after the view that has been read.  Called on
	 * each change only.
	 */
	void		(*reachable) (void *context, bool is_reachable, const Error *error);
	void		(*log) (void *context, int level, const Error *message);	/* 0 debug 1 log 2 warning */
} DcsCallbacks;

extern bool dcs_open(Dcs **dcs, const DcsConfig *config, const DcsCallbacks *callbacks,
					 Error *error) MUST_CHECK;
extern void dcs_close(Dcs *dcs);				/* never revokes the session; NULL is fine */
extern bool dcs_reconfigure(Dcs *dcs, const DcsConfig *config, Error *error) MUST_CHECK;
extern int	dcs_fd(const Dcs *dcs);
extern int	dcs_timeout_ms(const Dcs *dcs, int64_t now_ms);		/* -1 = none */
extern void dcs_process(Dcs *dcs, int64_t now_ms);
/* False: bad arguments or too many requests under way (bound: 64); nothing happens later. */
extern bool dcs_submit(Dcs *dcs, const DcsRequest *request, Error *error) MUST_CHECK;
/* Forget a request's reply; the request itself may still take effect. */
extern void dcs_forget_all(Dcs *dcs);
extern const ClusterView *dcs_view(const Dcs *dcs);				/* NULL before the first load */
/* The keys that the view was made of, borrowed; index from 0, false past the end. */
extern bool dcs_key(const Dcs *dcs, int index, ClusterKey *key);
extern bool dcs_is_reachable(const Dcs *dcs);
extern int64_t dcs_last_seen_wall_ms(const Dcs *dcs);
/*
 * The two homes of a node share their looks at the store: this handle's last
 * one, and the one of the other home, which spares this handle its own.
 */
extern DcsSighting dcs_sighting(const Dcs *dcs);
extern void dcs_set_sighting(Dcs *dcs, DcsSighting others);
/* Session hand-over between the homes: the same lease goes on. "" = none. */
extern const char *dcs_session(const Dcs *dcs);
extern void dcs_set_session(Dcs *dcs, const char *session);

/* ------------------------------------------------------------------------
 * For drivers: dcs_internal.h shows the inside of Dcs.
 * Adding a store is one file and one line in dcs.c.
 * ------------------------------------------------------------------------ */

#endif							/* PATRONI_DCS_DCS_H */
