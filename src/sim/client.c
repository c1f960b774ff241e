/*-------------------------------------------------------------------------
 *
 * client.c
 *      Clients: a writer that tries every server which is no standby, and a
 *      reader.
 *
 * The strict case: clients reach every server, whatever the network does, and
 * never believe what they were told about who leads.
 *
 * A commit goes the way of src/worker/fence.c: the fence is asked before the
 * transaction becomes durable, and again when it is (and confirmed by synchronous
 * standbys, if there are any) before the client is told.  A server that is
 * paused goes on at the step in which it was.
 *
 * Simplified: one session at each server; the last look at the clock and the
 * sending are one moment.  Sessions never survive the beginning of a stop.
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "sim/postgres_model.h"

#define LOOK_BACK		64		/* writes a reader looks through */

typedef struct Session
{
	bool		is_busy;
	bool		is_waiting;		/* for synchronous standbys */
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
	session->is_busy = false;
	if (!is_primary(node))
		return;
	if (fence_is_closed(node))
	{
		sim_note(node, "withheld", (uint64_t) number, write->commit.lsn);
		return;
	}
	write->acked_us = sim.now_us;
	write->mode = sim_check_sync_promise();
	sim_check_acknowledged((int) number);
}

/* Nobody is waited for any more: the commit is visible, and its client told. */
static void
let_go(int node)
{
	Session    *session = &sessions[node];

	session->is_waiting = false;
	/* others see it before its own client hears of it, even if that never does */
	if (sim.write[session->write].commit.lsn > sim.node[node].server.recovered_lsn)
		sim.node[node].server.recovered_lsn = sim.write[session->write].commit.lsn;
	sim_later_in(node, SIM_SERVER, sim_between(10, 1000), acknowledge, session->write, NULL);
}

static bool
waits(int node)
{
	const Session *session = &sessions[node];

	return is_on && session->is_busy && session->is_waiting && is_primary(node) &&
		session->incarnation == sim.node[node].process[SIM_SERVER].incarnation;
}

/* A standby has reported to its walsender here. */
void
sim_client_progress(int node, int reporter)
{
	if (waits(node) &&
		sim_sync_lets_go(node, reporter, sim.write[sessions[node].write].commit.lsn))
		let_go(node);
}

/* The checkpointer has said that there is nobody to wait for. */
void
sim_client_released(int node)
{
	if (waits(node))
		let_go(node);
}

static void
flush(int node, int64_t number, void *owned)
{
	Session    *session = &sessions[node];

	(void) owned;
	(void) number;
	if (!is_primary(node))
	{
		session->is_busy = false;
		return;
	}
	sim_server_flush(node);
	if (sim_sync_is_defined(node))
		session->is_waiting = true;
	else
		let_go(node);
}

static void
insert(int node, int64_t number, void *owned)
{
	SimNode    *self = &sim.node[node];
	Session    *session = &sessions[node];
	SimWrite   *write;
	int64_t		delay_us;

	(void) number;
	(void) owned;
	if (!is_primary(node) || fence_is_closed(node) || self->disk_is_full ||
		sim.n_writes >= SIM_WRITES_MAX)
	{
		session->is_busy = false;
		return;
	}
	sim_server_insert(node, (int) sim_between(50, 500));
	session->write = sim.n_writes++;
	write = &sim.write[session->write];
	memset(write, 0, sizeof(*write));
	write->node = node;
	write->commit = self->server.insert;
	write->acked_us = -1;
	write->mode = SIM_ASYNC;
	delay_us = sim_disk_us(node, sim_between(100, 5000));
	sim_later_in(node, SIM_SERVER, delay_us, flush, 0, NULL);
}

/* Vacuum, statistics, whatever: no commit of a client's, and no fence stops it. */
static void
grow(int node)
{
	if (sim.node[node].disk_is_full)
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
	session->is_busy = true;
	session->is_waiting = false;
	session->incarnation = incarnation;
	sim_later_in(node, SIM_SERVER, sim_between(50, 500), insert, 0, NULL);
}

/* Look at the newest commit that this server shows. */
static void
read_from(int node)
{
	const SimNode *self = &sim.node[node];
	SimPosition seen = self->data.end;

	if (!self->host_is_up || self->server.state != HA_SERVER_RUNNING ||
		self->process[SIM_SERVER].n_pauses > 0)
		return;
	if (self->server.is_in_recovery && self->server.replayed_lsn < seen.lsn)
		seen.lsn = self->server.replayed_lsn;
	for (int i = sim.n_writes - 1; i >= 0 && i >= sim.n_writes - LOOK_BACK; i--)
	{
		SimWrite   *write = &sim.write[i];

		if (!self->server.is_in_recovery && write->acked_us < 0 &&
			write->commit.lsn > self->server.recovered_lsn)
			continue;			/* still waits there: nobody sees it */
		if (sim_wal_contains(seen, write->commit))
		{
			write->is_read = true;
			return;
		}
	}
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
