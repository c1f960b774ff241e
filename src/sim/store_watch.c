/*-------------------------------------------------------------------------
 *
 * store_watch.c
 *      Watches on the store: one stream for each home of each node.
 *
 * A stream carries "all changes up to this revision"; the driver takes the
 * changes themselves from the store's log.  It is TCP: what is sent arrives in
 * order and without gaps, or, while the network does not let it through,
 * later.  A stream that the store has given up says so if the network can;
 * else the driver finds out when it looks.
 *
 * What is simplified: a driver that leaves its watch does not say so; what
 * still comes is ignored by its number.
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "sim/store.h"

#define RESEND_MIN_US	SIM_MS(200)
#define RESEND_MAX_US	SIM_MS(2000)

typedef struct Watch
{
	bool		is_open;
	bool		is_stalled;		/* a resend is planned */
	uint64_t	driver_id;
	uint64_t	call_id;
	uint64_t	sent;			/* all changes up to here are under way or told */
	uint64_t	newest;
	int64_t		arrival_us;		/* of the last message */
	int64_t		resend_us;
} Watch;

static Watch watches[SIM_NODES_MAX][2];

static void watch_resend(int node, int64_t number, void *owned);

/* No watch is open. */
void
sim_watches_reset(void)
{
	memset(watches, 0, sizeof(watches));
}

/* Does the store still know this watch? */
bool
sim_store_watches(int node, HaHome home, uint64_t call_id)
{
	const Watch *watch = &watches[node][home];

	return watch->is_open && watch->call_id == call_id;
}

/* One message of the stream; false: it could not be sent now. */
static bool
watch_message(int node, HaHome home, SimAnswer answer, uint64_t revision)
{
	Watch	   *watch = &watches[node][home];
	SimReply   *reply;
	int64_t		delay_us = sim_send_delay(SIM_STORE, node);
	int64_t		lag_us = answer == SIM_WATCH_EVENTS ? sim.store_faults.watch_lag_us : 0;
	int64_t		arrival_us;

	if (delay_us < 0 || sim.store_faults.is_frozen || sim.link[node][SIM_STORE].is_cut)
		return false;
	reply = calloc(1, sizeof(SimReply));
	if (reply == NULL)
		abort();
	reply->size = sizeof(SimReply);
	reply->driver_id = watch->driver_id;
	reply->call_id = watch->call_id;
	reply->home = home;
	reply->answer = answer;
	reply->revision = revision;
	arrival_us = sim.now_us + delay_us + lag_us;
	if (arrival_us < watch->arrival_us)
		arrival_us = watch->arrival_us;
	watch->arrival_us = arrival_us;
	sim_later_in(node, sim_process_of(home), arrival_us - sim.now_us, sim_driver_reply, 0, reply);
	return true;
}

/* Tell of everything that was not told yet. */
static void
watch_tell(int node, HaHome home)
{
	Watch	   *watch = &watches[node][home];

	if (!watch->is_open || watch->is_stalled || watch->sent >= watch->newest)
		return;
	if (!sim.node[node].process[sim_process_of(home)].is_alive)
	{
		watch->is_open = false;
		return;
	}
	if (sim_link_refuses(SIM_STORE, node))
	{
		/* The store's host is told that the connection is gone. */
		watch->is_open = false;
		return;
	}
	if (watch_message(node, home, SIM_WATCH_EVENTS, watch->newest))
	{
		watch->sent = watch->newest;
		watch->resend_us = RESEND_MIN_US;
		return;
	}
	watch->is_stalled = true;
	sim_later(watch->resend_us, watch_resend, node, (int64_t) home, NULL);
	watch->resend_us *= 2;
	if (watch->resend_us > RESEND_MAX_US)
		watch->resend_us = RESEND_MAX_US;
}

static void
watch_resend(int node, int64_t number, void *owned)
{
	(void) owned;
	watches[node][number].is_stalled = false;
	watch_tell(node, (HaHome) number);
}

/* A request for a watch came in; an older one of the same home ends. */
void
sim_watch_open(const SimRequest *request, uint64_t revision, uint64_t compacted)
{
	Watch	   *watch = &watches[request->node][request->home];
	bool		is_stalled = watch->is_stalled;

	/* Requests may overtake each other. */
	if (watch->is_open && watch->driver_id == request->driver_id &&
		watch->call_id > request->call_id)
		return;
	memset(watch, 0, sizeof(*watch));
	watch->is_stalled = is_stalled; /* its resend will come anyway */
	watch->is_open = true;
	watch->driver_id = request->driver_id;
	watch->call_id = request->call_id;
	watch->sent = request->version - 1;
	watch->newest = revision;
	watch->resend_us = RESEND_MIN_US;
	if (request->version < compacted || (request->version <= revision && sim_store_change(request->version) == NULL))
	{
		(void) watch_message(request->node, request->home, SIM_WATCH_COMPACTED, compacted);
		watch->is_open = false;
		return;
	}
	/* etcd says first that the watch stands, and then what was missed. */
	if (!watch_message(request->node, request->home, SIM_ANSWERED, revision))
	{
		watch->is_open = false;
		return;
	}
	watch_tell(request->node, request->home);
}

/* Something changed. */
void
sim_watches_tell(uint64_t revision)
{
	for (int node = 0; node < SIM_NODES_MAX; node++)
	{
		for (int home = 0; home < 2; home++)
		{
			if (!watches[node][home].is_open)
				continue;
			watches[node][home].newest = revision;
			watch_tell(node, (HaHome) home);
		}
	}
}

/* All watches end, with the words of "answer" where the network lets them through. */
void
sim_watches_end(SimAnswer answer)
{
	for (int node = 0; node < SIM_NODES_MAX; node++)
	{
		for (int home = 0; home < 2; home++)
		{
			if (!watches[node][home].is_open)
				continue;
			(void) watch_message(node, (HaHome) home, answer, 0);
			watches[node][home].is_open = false;
		}
	}
}
