/*-------------------------------------------------------------------------
 *
 * host.h
 *      What the engine's two homes share: drive src/ha with what the store,
 *      the peers and the local server say, and carry out its actions.
 *
 * A Host owns the engine's node, the store handle and the peers' HTTP.  It
 * keeps watching the store also while the other home has the baton, so that
 * taking over needs no read.  Only while it drives does it step the engine.
 *
 * One thread, nothing blocks, one descriptor and one timeout for the loop
 * around it, as dcs.h.  Before the actions of a step are carried out the
 * generation in the lease page is compared: a home that lost the baton stops
 * at once.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_NODE_HOST_H
#define PATRONI_NODE_HOST_H

#include <jansson.h>

#include "base/error.h"
#include "base/lease_page.h"
#include "config/settings.h"
#include "dcs/dcs.h"
#include "ha/ha.h"

#define HOST_EVENTS 256 /* patroni.event shows that many */

typedef struct HostEvent
{
	int64_t wall_ms;
	int64_t duration_ms; /* since the decision before it; -1 = unknown */
	char kind[24];       /* "decision", "action", "store", "baton" */
	char rule[64];
	char reason[HA_REASON_MAX];
} HostEvent;

typedef struct Host Host;

typedef struct HostOps
{
	void *context;
	/*
	 * Carry out an action that is about the local server or the baton:
	 * HA_FENCE is done by the host itself; this gets HA_YIELD, HA_PROMOTE,
	 * HA_PLACE_HISTORY, HA_FOLLOW, HA_CHECKPOINT, HA_CREATE_SLOT,
	 * HA_DROP_SLOT, HA_ADVANCE_SLOT, HA_COPY_SLOTS, HA_RELOAD, HA_RESUME_REPLAY, HA_SET_SYNC_NAMES,
	 * HA_START_TASK, HA_CANCEL_TASK, HA_CALLBACK, HA_EXIT and HA_ANSWER.  Must not block.
	 * May call host_postgres(), host_task_done() etc.: those are queued.
	 */
	void (*act)(void *context, const HaAction *action);
	/* level: 0 debug, 1 log, 2 warning */
	void (*log)(void *context, int level, const char *message, const char *detail,
	            const char *hint);
	/* Effective settings changed (file or dynamic configuration). Borrowed. */
	void (*settings)(void *context, const Settings *settings);
	/* The baton was lost to a newer generation; the host stopped driving. */
	void (*lost_baton)(void *context);
	/* The cycle counter (cycles.h); NULL where it is of no use. */
	uint64_t (*cycles)(void);
} HostOps;

extern bool host_open(Host **host, HaHome home, LeasePage *page, const HostOps *ops,
                      Error *error) MUST_CHECK;
extern void host_close(Host *host);

/* New local configuration; the host takes it over.  On false nothing changed. */
extern bool host_configure(Host *host, LocalConfig *local, ConfigProblems *problems) MUST_CHECK;
extern const Settings *host_settings(const Host *host); /* NULL before the first */
/* Is the dynamic configuration of the view one that cannot be used? */
extern bool host_refuses_dynamic(const Host *host);

/*
 * The baton.  host_drive: this home has it now, under "generation" (the
 * caller took it in the page or was told), going on from "saved" (NULL =
 * nothing).  host_rest: stop driving; returns the state for the other home
 * (malloc'ed) or NULL when it was not driving.  Pending commands are answered.
 */
extern bool host_drive(Host *host, uint32_t generation, const char *saved, Error *error) MUST_CHECK;
extern char *host_rest(Host *host);
extern bool host_is_driving(const Host *host);

/*
 * Record the engine's inputs and answers in a file from now on (trace.h), or
 * stop that (NULL or "").  A record begins with an engine that knows nothing:
 * when ours has worked already, it waits for the next host_drive(), which
 * then drives a new engine, as after a restart of the process.
 */
extern bool host_trace(Host *host, const char *path, Error *error) MUST_CHECK;
extern bool host_trace_is_waiting(const Host *host);
extern uint32_t host_generation(const Host *host);

extern int host_fd(const Host *host);
extern int host_timeout_ms(const Host *host, int64_t now_ms);
/* Store, peers, due ticks, queued inputs; steps the engine as long as there are inputs. */
extern void host_process(Host *host, int64_t now_ms);

/* Inputs; they are queued and handled by the next host_process(). */
extern void host_postgres(Host *host, const HaPostgres *postgres);
extern void host_task_done(Host *host, HaTask task, uint64_t task_id, HaTaskOutcome outcome,
                           HaDivergence divergence, Lsn lsn, const char *message);
extern bool host_command(Host *host, const HaCommand *command); /* false: queue is full */
/*
 * A change of the dynamic configuration (pause, resume, edit_config): patch
 * is JSON as for PATCH /config.  Checked, written by compare-and-swap, and
 * answered through an HA_ANSWER action with this id: at once when written or
 * refused, or with wait when all members show the new pause state.
 */
extern bool host_edit_config(Host *host, uint64_t command_id, const char *patch_json, bool wait,
                             int64_t timeout_ms);

/*
 * The same for PATCH /config (is_patch) and PUT /config: a change that
 * changes nothing is no mistake, and nobody is waited for.
 */
extern bool host_put_config(Host *host, uint64_t command_id, const char *config_json,
                            bool is_patch);
/*
 * Write the key "failover", or clear it (!request->exists), if it still has
 * request->version (0: if it is absent).  Needs no baton.  Answered through an
 * HA_ANSWER action with this id: action->version is that of the written key;
 * refused with sqlstate 40001 somebody else was faster.  False: too many are
 * under way, no answer comes.
 */
extern bool host_put_failover(Host *host, uint64_t command_id, const FailoverRequest *request);

/* Likewise any key that the engine does not know. */
typedef struct HostPutKey
{
	const char *key;
	const char *text; /* NULL: delete it */
	uint64_t version; /* as it was seen; 0: absent */
	const char *rule; /* for patroni.event; static */
	int timeout_ms;   /* 0 = retry_timeout */
} HostPutKey;

extern bool host_put_key(Host *host, uint64_t command_id, const HostPutKey *put);
extern bool host_key(const Host *host, const char *name, ClusterKey *key);

extern const ClusterView *host_view(const Host *host); /* NULL: never loaded */
extern bool host_store_is_reachable(const Host *host);
/* How often a home that has nothing to do looks whether that is still so, in ms. */
extern int64_t host_idle_interval_ms(const Host *host, int64_t at_least_ms);
extern int64_t host_store_last_seen_ms(const Host *host); /* wall clock; 0 never */
/*
 * Ask the store for a sign of life, if no such question is under way: a
 * renewal of the session, so that a majority of the store has to answer.  Asked
 * again before it has answered, with failsafe_mode, all members are asked: their
 * agreement is worth as much.
 * host_store_answered_ms() is when the newest request, of whatever kind, was
 * sent that the store has answered; CLOCK_BOOTTIME, 0 = none.
 */
extern void host_ask_store(Host *host);
extern int64_t host_store_answered_ms(const Host *host);
/* Something for patroni.event that the home has done by itself. */
extern void host_tell_event(Host *host, const char *rule, const char *reason);
extern int host_missing_slots(const Host *host); /* ha_missing_slots() of this server */
extern const HaNode *host_node(const Host *host);
extern const HaPostgres *host_last_postgres(const Host *host);

/*
 * The document that patroni.snapshot() shows.  malloc'ed.  Grows a number
 * whenever its content may have changed: host_snapshot_number().
 */
extern char *host_snapshot(const Host *host, int64_t now_ms);
extern uint64_t host_snapshot_number(const Host *host);

/* HaPostgres <-> JSON, for the channel between the homes. */
extern json_t *postgres_to_json(const HaPostgres *postgres);
extern bool postgres_from_json(HaPostgres *postgres, const json_t *json);

#endif /* PATRONI_NODE_HOST_H */
