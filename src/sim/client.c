/*-------------------------------------------------------------------------
 *
 * client.c
 *      Clients: a writer that tries every server which is no standby, and
 *      readers.
 *
 * The strict case: clients reach every server, whatever the network does, and
 * never believe what they were told about who leads.
 *
 * A commit goes the way of src/worker/fence.c.  Before the transaction becomes
 * durable it is asked whether the fence is closed, whether there are standbys
 * to wait for, and it waits while the node is isolated.  Then it waits for
 * synchronous standbys, if there are any.  When that wait is over the commit
 * is visible; its client is told if the standbys have it, the fence is still
 * open and the node is not isolated.  A server that is paused goes on at the
 * step in which it was.
 *
 * In some runs clients lose patience with a commit that waits for standbys:
 * they cancel it, or a person terminates the session.
 *
 * Readers look at a primary whenever something becomes visible there, which
 * is as strict as can be: check_sync.c.  While a server that has crashed waits
 * for its standbys neither they nor the writer come in.
 *
 * Simplified: one session at each server; the last look at the clock and the
 * sending are one moment.  Sessions never survive the beginning of a stop.
 * Whether what holds commits is over is looked at every 20 ms.  An answer never
 * waits for the walsender (wal_sent.c): the less is promised, the stricter.
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "sim/postgres_model.h"

#define HELD_POLL_US	SIM_MS(20)

typedef struct Session
{
	bool		is_busy;
	bool		is_waiting;		/* for synchronous standbys */
	bool		is_flushing;	/* the commit record is inserted, and not on the disk yet */
	bool		had_names;		/* standbys were named when its commit began */
	bool		waits_again;	/* they were named later: after the first wait, which was cut off */
	int64_t		waits_since_us;
	uint32_t	incarnation;	/* of the server it is connected to */
	int			write;
} Session;

static Session sessions[SIM_NODES_MAX];
static bool is_on;

/* As fence_is_closed(), with this node's clock. */
static bool
fence_is_closed(int node)
{
	int			before = sim.current_node;
	bool		is_closed;

	if (sim.node[node].page == NULL)
		return false;
	sim.current_node = node;
	is_closed = !lease_page_is_open(sim.node[node].page);
	sim.current_node = before;
	return is_closed;
}

static bool
is_primary(int node)
{
	const SimNode *self = &sim.node[node];

	return self->server.state == HA_SERVER_RUNNING && !self->server.is_in_recovery;
}

static void
acknowledge(int node, int64_t number, void *owned)
{
	Session    *session = &sessions[node];
	SimWrite   *write = &sim.write[number];

	(void) owned;
	if (!is_primary(node))
	{
		session->is_busy = false;
		return;
	}
	if (!fence_is_closed(node) && sim_commits_are_held(node))
	{
		sim_later_in(node, SIM_SERVER, HELD_POLL_US, acknowledge, number, NULL);
		return;
	}
	session->is_busy = false;
	if (fence_is_closed(node))
	{
		sim_note(node, "withheld", (uint64_t) number, write->commit.lsn);
		return;
	}
	write->acked_us = sim.now_us;
	write->mode = sim_check_sync_promise();
	sim_check_acknowledged((int) number);
}

/* The commit is over, and others see it, before its own client hears of it. */
static void
become_visible(int node, int number)
{
	SimServer  *server = &sim.node[node].server;

	if (sim.write[number].commit.lsn > server->visible_lsn)
		server->visible_lsn = sim.write[number].commit.lsn;
	sim_check_shown(number);
}

/* Nobody is waited for any more. */
static void
let_go(int node)
{
	Session    *session = &sessions[node];

	session->is_waiting = false;
	become_visible(node, session->write);
	sim_later_in(node, SIM_SERVER, sim_between(10, 1000), acknowledge, session->write, NULL);
}

static bool
waits(int node)
{
	const Session *session = &sessions[node];

	return is_on && session->is_busy && session->is_waiting && is_primary(node) &&
		session->incarnation == sim.node[node].process[SIM_SERVER].incarnation;
}

/* For how long has a commit waited for standbys?  0: there is none that waits. */
int64_t
sim_client_waits_us(int node)
{
	return waits(node) ? sim.now_us - sessions[node].waits_since_us : 0;
}

/* A standby has reported to its walsender here. */
void
sim_client_progress(int node, int reporter)
{
	sim_sync_report(node, reporter);
	sim_check_confirmed(node, reporter);
	if (waits(node) &&
		sim.node[node].server.replicated_lsn >= sim.write[sessions[node].write].commit.lsn)
		let_go(node);
}

/* The checkpointer has said that there is nobody to wait for. */
void
sim_client_released(int node)
{
	if (waits(node))
		let_go(node);
}

/*
 * The wait of a commit is cut off: the server makes it visible all the same.
 * Then synchronous_has_commit() looks whether the standbys have it.  If they
 * were named only after the commit had begun, it waits for them itself.
 */
static void
lose_patience(int node, int64_t number, void *owned)
{
	Session    *session = &sessions[node];
	bool		is_terminated = (number & 1) != 0;

	(void) owned;
	if (!waits(node) || session->write != (int) (number >> 1) || sim.profile.defers_cancel)
		return;
	sim_note(node, "cut off", (uint64_t) session->write, is_terminated);
	sim_trace(node, "the wait of write %d is %s", session->write,
			  is_terminated ? "terminated" : "cancelled");
	sim.write[session->write].is_cut_off = true;
	become_visible(node, session->write);
	if (!session->had_names && !session->waits_again && !is_terminated)
	{
		session->waits_again = true;
		return;
	}
	session->is_waiting = false;
	if (!is_terminated &&
		sim.node[node].server.replicated_lsn >= sim.write[session->write].commit.lsn)
	{
		let_go(node);
		return;
	}
	sim_commits_cut_off(node);
	session->is_busy = false;
}

/*
 * A stop terminates all sessions: a commit that waits is cut off, and one whose
 * record is just being flushed as soon as that is done.
 */
void
sim_client_stopped(int node)
{
	const Session *session = &sessions[node];
	bool		would_wait = is_on && session->is_busy && session->is_flushing && is_primary(node) &&
		session->incarnation == sim.node[node].process[SIM_SERVER].incarnation &&
		sim_sync_is_defined(node);

	if (!waits(node) && !would_wait)
		return;
	sim.write[sessions[node].write].is_cut_by_stop = true;
	sim_commits_cut_off(node);
}

static void
flush(int node, int64_t number, void *owned)
{
	Session    *session = &sessions[node];
	int64_t		patience_us = sim.profile.patience_us;

	(void) owned;
	(void) number;
	if (!is_primary(node))
	{
		session->is_busy = false;
		return;
	}
	if (sim.node[node].disk_hangs)
	{
		sim_later_in(node, SIM_SERVER, HELD_POLL_US, flush, 0, NULL);
		return;
	}
	sim_server_flush(node);
	session->is_flushing = false;
	if (!sim_sync_is_defined(node) ||
		sim.node[node].server.replicated_lsn >= sim.write[session->write].commit.lsn)
	{
		let_go(node);
		return;
	}
	session->is_waiting = true;
	session->waits_since_us = sim.now_us;
	session->waits_again = false;
	if (patience_us > 0)
	{
		int64_t		delay_us = sim_client_between(patience_us / 2, 3 * patience_us / 2);
		int64_t		is_terminated = sim_client_between(0, 2) == 0;

		sim_later_in(node, SIM_SERVER, delay_us, lose_patience,
					 (int64_t) session->write << 1 | is_terminated, NULL);
	}
}

static void
insert(int node, int64_t is_again, void *owned)
{
	SimNode    *self = &sim.node[node];
	Session    *session = &sessions[node];
	SimWrite   *write;
	int64_t		delay_us;

	(void) owned;
	if (!is_primary(node) || fence_is_closed(node) || self->disk_is_full ||
		sim.n_writes >= SIM_WRITES_MAX || (!is_again && sim_commits_are_lonely(node)))
	{
		session->is_busy = false;
		return;
	}
	if (sim_commits_are_held(node))
	{
		sim_later_in(node, SIM_SERVER, HELD_POLL_US, insert, true, NULL);
		return;
	}
	sim_server_insert(node, (int) sim_between(50, 500));
	session->had_names = sim_sync_is_defined(node);
	session->write = sim.n_writes++;
	write = &sim.write[session->write];
	memset(write, 0, sizeof(*write));
	write->node = node;
	write->commit = self->server.insert;
	write->acked_us = -1;
	write->mode = SIM_ASYNC;
	session->is_flushing = true;
	delay_us = sim_disk_us(node, sim_between(100, 5000));
	sim_later_in(node, SIM_SERVER, delay_us, flush, 0, NULL);
}

/* Vacuum, statistics, whatever: no commit of a client's, and no fence stops it. */
static void
grow(int node)
{
	if (sim.node[node].disk_is_full || sim.node[node].disk_hangs)
		return;
	sim_server_insert(node, (int) sim_between(50, 200));
	sim_server_flush(node);
}

static void
try_node(int node)
{
	SimNode    *self = &sim.node[node];
	Session    *session = &sessions[node];
	uint32_t	incarnation = self->process[SIM_SERVER].incarnation;

	if (!self->host_is_up || !is_primary(node) || self->process[SIM_SERVER].n_pauses > 0)
		return;
	if (sim_chance(20))
		grow(node);
	if (session->is_busy && session->incarnation == incarnation)
		return;
	if (sim_commits_are_exposed(node, &self->server.sync_names))
		return;
	session->is_busy = true;
	session->is_waiting = session->is_flushing = false;
	session->incarnation = incarnation;
	sim_later_in(node, SIM_SERVER, sim_between(50, 500), insert, 0, NULL);
}

/* A reader comes and looks at all that a primary shows. */
static void
read_from(int node)
{
	const SimNode *self = &sim.node[node];

	if (self->host_is_up && is_primary(node) && self->process[SIM_SERVER].n_pauses == 0 &&
		!sim_commits_are_exposed(node, &self->server.sync_names))
		sim_check_shows(node);
}

static void
tick(int node, int64_t number, void *owned)
{
	int64_t		period_us = sim.profile.write_every_us;

	(void) owned;
	(void) node;
	if (!is_on)
		return;
	for (int n = 0; n < sim.n_nodes; n++)
		if (sim.node[n].is_member)
			try_node(n);
	if (sim_chance(100))
		read_from(sim_pick(sim.n_nodes));
	if (number > 0)
		number--;				/* a burst */
	else if (sim_chance(5))
		number = sim_between(10, 50);
	if (period_us < SIM_MS(1))
		period_us = SIM_MS(1);
	if (number > 0)
		period_us /= 4;
	sim_later(sim_between(period_us / 2, period_us * 3 / 2), tick, -1, number, NULL);
}

/* Clients come. */
void
sim_clients_start(void)
{
	memset(sessions, 0, sizeof(sessions));
	is_on = true;
	sim_later(0, tick, -1, 0, NULL);
}

/* And go. */
void
sim_clients_stop(void)
{
	is_on = false;
}
