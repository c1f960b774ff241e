/*-------------------------------------------------------------------------
 *
 * commits.c
 *      What holds, refuses or turns away clients beside the fence: as
 *      src/worker/exposure.c, isolation.c, synchronous.c and the worker's
 *      part of them, commit_watch.c.
 *
 * When commits are held is decided by isolation_watch.c, as it ships.
 *
 * Simplified: what is shared by processes of the server is a part of
 * SimServer, made anew where the real one makes its shared memory.
 *-------------------------------------------------------------------------
 */

#include "base/clock.h"
#include "cluster/ascii.h"
#include "sim/home.h"
#include "sim/postgres_model.h"

#define WORKER_DEAD_MS		5000	/* as in isolation.c */

/* ------------------------------------------------------------------------
 * After a crash: exposure.c
 * ------------------------------------------------------------------------
 */

/* May recovery, or a start, show what was waiting for standbys? */
static bool
shows_unconfirmed(const SimNode *self)
{
	if (self->data.is_standby_configured)
		return false;
	switch (self->data.control_state)
	{
		case HA_CONTROL_SHUTDOWNED:
			return self->page != NULL && self->page->cut_off_lsn != 0;
		case HA_CONTROL_IN_PRODUCTION:
		case HA_CONTROL_SHUTDOWNING:
		case HA_CONTROL_IN_CRASH_RECOVERY:
			return true;
		default:
			return false;
	}
}

/* The server's shared memory is new: exposure_begin(). */
void
sim_commits_begin(int node)
{
	SimServer  *server = &sim.node[node].server;

	server->exposed_lsn = 0;
	server->lonely_since_us = 0;
	server->is_isolated = false;
	server->is_exposed = server->sync_names.mode != SIM_ASYNC && shows_unconfirmed(&sim.node[node]);
	if (server->is_exposed)
	{
		sim_note(node, "exposed", 0, 0);
		sim_trace(node, "clients wait until the synchronous standbys have the WAL of this server");
	}
}

/*
 * Must clients still wait?  Asked by a new session and by the worker, each
 * with its own copy of the names: patroni_exposure_lasts().
 */
bool
sim_commits_are_exposed(int node, const SimSyncNames *names)
{
	SimServer  *server = &sim.node[node].server;

	if (!server->is_exposed)
		return false;
	if (server->is_in_recovery || server->state != HA_SERVER_RUNNING)
		return true;
	if (server->exposed_lsn == 0)
		server->exposed_lsn = sim.node[node].data.end.lsn;
	if (names->mode != SIM_ASYNC && server->replicated_lsn < server->exposed_lsn)
		return true;
	server->is_exposed = false;
	sim_note(node, "exposure over", server->replicated_lsn, 0);
	sim_trace(node, "clients need not wait for the synchronous standbys any longer");
	sim_check_shows(node);
	return false;
}

/* The wait of a commit for standbys was cut off: exposure_note_cut_off(). */
void
sim_commits_cut_off(int node)
{
	LeasePage  *page = sim.node[node].page;

	if (page != NULL && page->cut_off_lsn < sim.node[node].data.end.lsn)
		page->cut_off_lsn = sim.node[node].data.end.lsn;
}

static void
forget_cut_off(int node)
{
	const SimServer *server = &sim.node[node].server;
	LeasePage  *page = sim.node[node].page;

	if (!server->is_in_recovery && page->cut_off_lsn != 0 &&
		(server->worker_names.mode == SIM_ASYNC || server->replicated_lsn >= page->cut_off_lsn))
		page->cut_off_lsn = 0;
}

/* ------------------------------------------------------------------------
 * Without synchronous standbys: synchronous.c
 * ------------------------------------------------------------------------
 */

/* Is a write refused because nobody would confirm it? */
bool
sim_commits_are_lonely(int node)
{
	const SimServer *server = &sim.node[node].server;

	return sim.profile.commit_wait_timeout_us > 0 && sim_sync_is_defined(node) &&
		server->lonely_since_us != 0 && sim_sync_missing(node, &server->sync_names) > 0 &&
		sim_clock_us(node) - server->lonely_since_us >= sim.profile.commit_wait_timeout_us;
}

static void
watch_standbys(int node)
{
	SimServer  *server = &sim.node[node].server;
	bool		is_lonely = !server->is_in_recovery && sim_sync_is_defined(node) &&
		sim_sync_missing(node, &server->worker_names) > 0;

	if (is_lonely != (server->lonely_since_us != 0))
		server->lonely_since_us = is_lonely ? sim_clock_us(node) : 0;
}

/* ------------------------------------------------------------------------
 * Isolation: isolation.c, commit_watch.c
 * ------------------------------------------------------------------------
 */

/* Are commits held?  Asked by backends. */
bool
sim_commits_are_held(int node)
{
	const SimNode *self = &sim.node[node];

	return self->server.is_isolated && self->page != NULL &&
		sim_clock_us(node) / 1000 - self->page->worker_heartbeat_ms < WORKER_DEAD_MS;
}

static bool
is_at_risk(const SimHome *worker)
{
	const SimServer *server = &sim.node[worker->node].server;
	int64_t		deadline_us = lease_page_deadline_us(sim.node[worker->node].page);

	return sim.profile.isolation_hold_after_ms >= 0 && !server->is_in_recovery &&
		worker_holds_baton(worker) && deadline_us != LEASE_NEVER_US &&
		clock_now_us() < deadline_us &&
		isolation_has_rival(host_view(worker->host), sim.node[worker->node].name);
}

/* As observer_confirmed_lsn(): the newest position of a standby that may lead. */
static Lsn
confirmed_lsn(const SimHome *worker)
{
	const SimServer *server = &sim.node[worker->node].server;
	const ClusterView *view = host_view(worker->host);
	Lsn			confirmed = 0;

	for (int k = 0; view != NULL && k < sim.n_nodes; k++)
	{
		if ((server->receivers >> k & 1) == 0 || server->receiver_flush[k] <= confirmed)
			continue;
		for (int i = 0; i < view->n_members; i++)
			if (ascii_is_same(view->members[i].name, sim.node[k].name) &&
				!view->members[i].tags.nofailover)
				confirmed = server->receiver_flush[k];
	}
	return confirmed;
}

static void
watch_isolation(SimHome *worker)
{
	SimServer  *server = &sim.node[worker->node].server;
	IsolationFacts facts = {
		.now_ms = clock_now_ms(),
		.hold_after_ms = sim.profile.isolation_hold_after_ms,
		.is_at_risk = is_at_risk(worker),
	};
	IsolationVerdict verdict;

	if (facts.is_at_risk)
	{
		facts.flushed_lsn = sim.node[worker->node].data.end.lsn;
		facts.confirmed_lsn = confirmed_lsn(worker);
		facts.store_answered_ms = host_store_answered_ms(worker->host);
		facts.deadline_us = lease_page_deadline_us(sim.node[worker->node].page);
	}
	verdict = isolation_watch_look(&worker->isolation, &facts);
	if (verdict.release_because != NULL)
	{
		server->is_isolated = false;
		sim_note(worker->node, "isolation end", 0, 0);
		sim_trace(worker->node, "no longer holding commits: %s", verdict.release_because);
	}
	if (verdict.must_ask)
		host_ask_store(worker->host);
	if (verdict.must_hold)
	{
		server->is_isolated = true;
		sim_note(worker->node, "isolated", 0, 0);
		sim_trace(worker->node, "holding commits: neither a standby nor the store answers");
		sim_check_held(worker->node);
	}
}

/* What an earlier worker has begun is ended, or confirmed, by this one. */
void
sim_commits_worker_begins(SimHome *worker)
{
	if (sim.node[worker->node].server.is_isolated)
		worker->isolation.held_since_ms = clock_now_ms();
}

/* The worker looks, when the engine and the store have had their turn. */
void
sim_commits_turn(SimHome *worker)
{
	int			node = worker->node;

	if (sim.profile.isolation_hold_after_ms >= 0)
	{
		watch_isolation(worker);
		sim_check_watched(node);
	}
	if (!sim.profile.engine_keeps_sync)
		return;
	watch_standbys(node);
	(void) sim_commits_are_exposed(node, &sim.node[node].server.worker_names);
	forget_cut_off(node);
}
