/*-------------------------------------------------------------------------
 *
 * stream.c
 *      Streaming replication: the walreceiver of a standby and the walsender
 *      of its upstream, which may be a standby itself.
 *
 * Whether a standby may follow is decided from what both really compare:
 * system identifiers, timeline ids, LSNs and history files.  The truth is
 * asked only to notice that they were fooled by one id for two timelines.
 *
 * Simplified: a Patroni member has every slot that is asked for.  WAL goes from flush to flush, one piece under way at a time,
 * and crosses the end of a timeline in one piece.  A lost message stands for
 * one that TCP sends again 200 ms later.  A walreceiver tries to connect each
 * second.  Both ends notice a silent peer after the same time, one each run.
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "sim/postgres_model.h"

#define RETRY_US		SIM_MS(1000)
#define KEEPALIVE_US	SIM_MS(1000)
#define RESEND_US		SIM_MS(200)

/* wal_receiver_timeout; drawn from the seed without a draw of its own. */
static int64_t
silence_limit_us(void)
{
	return SIM_MS(2000 + (int64_t) (sim.seed % 8) * 1000);
}

static bool
is_receiver(int upstream, int node)
{
	return (sim.node[upstream].server.receivers & (UINT32_C(1) << node)) != 0;
}

static bool
is_current(int node, int64_t generation)
{
	const SimServer *server = &sim.node[node].server;

	return server->stream_generation == (uint32_t) generation && server->is_streaming &&
		server->stream_from >= 0;
}

/* The sender's side of a connection is over. */
static void
drop_receiver(int upstream, int node)
{
	SimServer  *server = &sim.node[upstream].server;

	if (!is_receiver(upstream, node))
		return;
	server->receivers &= ~(UINT32_C(1) << node);
	server->receiver_flush[node] = 0;
	sim_walsenders_changed(upstream);
	sim_server_changed(upstream);
}

static void
sender_timed_out(int node, int64_t upstream, void *owned)
{
	(void) owned;
	if (sim.node[node].server.stream_from != (int) upstream || !sim.node[node].server.is_streaming)
		drop_receiver((int) upstream, node);
}

/* The walreceiver ends; its sender hears of it if the network lets it. */
void
sim_stream_end(int node)
{
	SimServer  *server = &sim.node[node].server;
	int			upstream = server->stream_from;
	bool		was_streaming = server->is_streaming;

	server->stream_generation++;
	server->is_streaming = false;
	server->is_sending = false;
	server->stream_from = -1;
	if (!was_streaming || upstream < 0)
		return;
	if (sim_is_connected(node, upstream) && sim.node[node].host_is_up)
		drop_receiver(upstream, node);
	else
		sim_later(silence_limit_us(), sender_timed_out, node, upstream, NULL);
}

/* --- connecting --- */

/* As WalRcvFetchTimeLineHistoryFiles(): every id from ours to theirs. */
static bool
fetch_history(SimData *mine, const SimData *theirs, uint32_t from, uint32_t to)
{
	for (uint32_t id = from; id <= to; id++)
	{
		const SimHistoryFile *file;
		TimelineHistory line[1];

		if (id <= 1 || sim_history_find(mine, id) != NULL)
			continue;
		file = sim_history_find(theirs, id);
		if (file != NULL)
			sim_history_add(mine, id, file->parent, file->lsn, file->is_placed);
		else if (id != from || sim_history_list(mine, id, line, 1) == 0)
			return false;
	}
	return true;
}

/*
 * As rescanLatestTimeLine().  Where the WAL on disk is of a newer timeline than
 * recovery goes to (it began without a history file in between), what counts
 * is whether that timeline is on the way to the newest: recovery itself is
 * still at the end of the older one.
 */
static void
rescan_timelines(SimServer *server, const SimData *data)
{
	uint32_t	newest = sim_newest_after(data, server->recovery_target);
	uint32_t	own = sim_timeline_of(data->end);
	Lsn			fork_lsn;

	if (newest == server->recovery_target ||
		!sim_history_fork(data, newest, server->recovery_target, &fork_lsn))
		return;
	if (own > server->recovery_target ?
		newest == own || (sim_history_fork(data, newest, own, &fork_lsn) && data->end.lsn <= fork_lsn) :
		data->end.lsn <= fork_lsn)
		server->recovery_target = newest;
}

static bool
has_slot(const SimServer *server, const char *name)
{
	for (int i = 0; i < server->n_slots; i++)
		if (strcmp(server->slots[i], name) == 0)
			return true;
	return name[0] == '\0';
}

/* Why it cannot stream, as it says in its log. */
static bool
refused(int node, const char *reason)
{
	sim_trace(node, "cannot stream at %X of timeline %u, its recovery goes to %u: %s",
			  (unsigned) sim.node[node].data.end.lsn, sim_timeline_of(sim.node[node].data.end),
			  sim.node[node].server.recovery_target, reason);
	return false;
}

/* Would the upstream send WAL to this standby, and would that go on from it? */
static bool
may_follow(int node, int upstream)
{
	SimNode    *self = &sim.node[node];
	const SimNode *other = &sim.node[upstream];
	uint32_t	own = sim_timeline_of(self->data.end);
	uint32_t	theirs = sim_timeline_of(other->data.end);
	Lsn			fork_lsn;

	if (other->data.system_identifier != self->data.system_identifier)
		return refused(node, "the upstream is of another cluster");
	if (theirs < own)
		return refused(node, "the upstream is on an older timeline");
	/* it asks for WAL of the timeline its recovery is at, and for the files from there on */
	if (!fetch_history(&self->data, &other->data,
					   self->server.recovery_target < own ? self->server.recovery_target : own, theirs))
		return refused(node, "the upstream has not all history files");
	if (other->kind == SIM_OURS && !has_slot(&other->server, self->data.upstream_slot))
		return refused(node, "its replication slot does not exist");
	rescan_timelines(&self->server, &self->data);
	if (own == theirs)
	{
		if (self->data.end.lsn > other->data.end.lsn)
			return refused(node, "ahead of the WAL flush position of the upstream");
	}
	else
	{
		if (!sim_history_fork(&other->data, theirs, own, &fork_lsn) || self->data.end.lsn > fork_lsn)
			return refused(node, "its position is not in the upstream's history");
		if (self->server.recovery_target != theirs &&
			!sim_history_fork(&self->data, self->server.recovery_target, theirs, &fork_lsn))
			return refused(node, "its recovery goes to a timeline the upstream is not on");
	}
	if (!sim_wal_contains(other->data.end, self->data.end) && sim_check_is_patronis(node, upstream))
		return refused(node, "other WAL on the same timeline, made by Patroni: what it would replay is not modelled");
	if (!sim_wal_contains(other->data.end, self->data.end) && !sim_check_looks_the_same(node, upstream))
	{
		sim_fail("S6 %s follows %s on timeline %u with other WAL below %llX",
				 self->name, other->name, theirs, (unsigned long long) self->data.end.lsn);
		return false;
	}
	return true;
}

static void stream_push(int upstream, int node);
static void try_connect(int node, int64_t generation, void *owned);
static void keepalive(int node, int64_t generation, void *owned);

static void
connected(int node, int64_t generation, void *owned)
{
	SimNode    *self = &sim.node[node];
	SimServer  *server = &self->server;
	int			upstream = self->data.upstream;

	(void) owned;
	if (server->stream_generation != (uint32_t) generation || server->is_streaming)
		return;
	if (upstream < 0 || !sim_server_answers(node, upstream) || !may_follow(node, upstream))
	{
		sim_later_in(node, SIM_SERVER, RETRY_US, try_connect, generation, NULL);
		return;
	}
	server->is_streaming = true;
	server->stream_from = upstream;
	server->is_sending = false;
	server->heard_us = sim.now_us;
	sim.node[upstream].server.receivers |= UINT32_C(1) << node;
	sim_sync_connected(upstream, node);
	sim.node[upstream].server.receiver_flush[node] = self->data.end.lsn;
	sim_note(node, "streams", (uint64_t) upstream, self->data.end.lsn);
	sim_trace(node, "streams from %s", sim.node[upstream].name);
	sim_later_in(node, SIM_SERVER, KEEPALIVE_US, keepalive, generation, NULL);
	sim_server_changed(node);
	sim_server_changed(upstream);
	sim_walsenders_changed(upstream);
	stream_push(upstream, node);
	sim_client_progress(upstream, node);
}

static void
try_connect(int node, int64_t generation, void *owned)
{
	SimServer  *server = &sim.node[node].server;
	int			upstream = sim.node[node].data.upstream;
	int64_t		delay_us;
	int64_t		back_us;

	(void) owned;
	if (server->stream_generation != (uint32_t) generation || server->is_streaming ||
		server->state != HA_SERVER_RUNNING || !server->is_in_recovery || upstream < 0)
		return;
	if (upstream != node && sim_server_answers(node, upstream))
	{
		delay_us = sim_send_delay(node, upstream);
		back_us = sim_send_delay(upstream, node);
		if (delay_us >= 0 && back_us >= 0)
		{
			sim_later_in(node, SIM_SERVER, 2 * (delay_us + back_us), connected, generation, NULL);
			return;
		}
	}
	sim_later_in(node, SIM_SERVER, RETRY_US, try_connect, generation, NULL);
}

/* Recovery is through with local WAL, or primary_conninfo is new. */
void
sim_stream_begin(int node)
{
	SimServer  *server = &sim.node[node].server;

	server->stream_generation++;
	if (sim.node[node].data.upstream >= 0)
		sim_later_in(node, SIM_SERVER, SIM_MS(1), try_connect, server->stream_generation, NULL);
}

/* The connection is over and the standby notices: it tries again. */
static void
disconnected(int node)
{
	sim_trace(node, "streams no more");
	sim_stream_end(node);
	sim_stream_begin(node);
	sim_server_changed(node);
}

static void
disconnected_later(int node, int64_t generation, void *owned)
{
	(void) owned;
	if (is_current(node, generation))
		disconnected(node);
}

/* This server's walsenders end: at once for those whom the network tells. */
void
sim_stream_upstream_gone(int node)
{
	SimServer  *server = &sim.node[node].server;

	for (int n = 0; n < sim.n_nodes; n++)
	{
		SimServer  *other = &sim.node[n].server;
		int64_t		delay_us;

		if (!is_receiver(node, n) || !other->is_streaming || other->stream_from != node)
			continue;
		delay_us = sim.node[node].host_is_up && sim_is_connected(node, n) ?
			sim_send_delay(node, n) : -1;
		if (delay_us >= 0)
			sim_later_in(n, SIM_SERVER, delay_us, disconnected_later, other->stream_generation, NULL);
	}
	server->receivers = 0;
	memset(server->receiver_flush, 0, sizeof(server->receiver_flush));
}

/* --- WAL on its way --- */

static void
acknowledged(int upstream, int64_t number, void *owned)
{
	SimServer  *server = &sim.node[upstream].server;
	int			node = (int) (number & 15);
	Lsn			lsn = (Lsn) (number >> 16);

	(void) owned;
	if (!is_receiver(upstream, node) || sim.node[node].server.stream_from != upstream ||
		((sim.node[node].server.stream_generation & 0xfff) != (uint32_t) ((number >> 4) & 0xfff)))
		return;
	if (lsn > server->receiver_flush[node])
		server->receiver_flush[node] = lsn;
	sim_client_progress(upstream, node);
}

/* Tell the walsender what is safe here. */
static void
acknowledge(int node)
{
	SimServer  *server = &sim.node[node].server;
	int64_t		delay_us = sim_send_delay(node, server->stream_from);
	int64_t		number = (int64_t) (sim.node[node].data.end.lsn << 16) |
		(int64_t) (server->stream_generation & 0xfff) << 4 | node;

	if (delay_us >= 0)
		sim_later_in(server->stream_from, SIM_SERVER, delay_us, acknowledged, number, NULL);
}

static void
replayed(int node, int64_t number, void *owned)
{
	SimNode    *self = &sim.node[node];

	(void) number;
	(void) owned;
	self->server.is_replay_pending = false;
	if (self->server.is_replay_paused || !self->server.is_in_recovery)
		return;
	self->server.replayed_lsn = self->data.end.lsn;
	if (sim_chance(100))
		self->data.minimum_recovery = self->data.end;	/* some page was written */
}

static void
received(int node, int64_t generation, void *owned)
{
	SimNode    *self = &sim.node[node];
	SimServer  *server = &self->server;
	int			upstream = server->stream_from;
	uint32_t	timeline = server->timeline;
	int64_t		delay_us;

	(void) owned;
	if (!is_current(node, generation) || !server->is_in_recovery)
		return;
	server->is_sending = false;
	if (self->disk_is_full)
	{
		disconnected(node);
		return;
	}
	self->data.end = server->in_flight;
	self->data.written_lsn = self->data.end.lsn;
	server->insert = self->data.end;
	server->timeline = sim_timeline_of(self->data.end);
	acknowledge(node);
	if (!server->is_replay_pending)
	{
		server->is_replay_pending = true;
		delay_us = sim_disk_us(node, sim_between(100, 3000));
		sim_later_in(node, SIM_SERVER, delay_us, replayed, 0, NULL);
	}
	if (server->timeline != timeline)
		sim_server_changed(node);
	sim_stream_flushed(node);
	stream_push(upstream, node);
}

/* In the kernel of the receiver, whatever its processes do. */
static void
arrived(int node, int64_t generation, void *owned)
{
	int64_t		delay_us;

	(void) owned;
	if (!is_current(node, generation))
		return;
	sim.node[node].server.heard_us = sim.now_us;
	delay_us = sim_disk_us(node, sim_between(50, 1500));
	sim_later_in(node, SIM_SERVER, delay_us, received, generation, NULL);
}

static void
push_again(int node, int64_t generation, void *owned)
{
	SimServer  *server = &sim.node[node].server;

	(void) owned;
	if (!is_current(node, generation))
		return;
	server->is_sending = false;
	if (is_receiver(server->stream_from, node) &&
		sim.node[server->stream_from].process[SIM_SERVER].n_pauses == 0)
		stream_push(server->stream_from, node);
}

/* Send what is new, unless something is under way. */
static void
stream_push(int upstream, int node)
{
	SimServer  *server = &sim.node[node].server;
	const SimNode *other = &sim.node[upstream];
	int64_t		delay_us;

	if (server->is_sending || !server->is_streaming || server->stream_from != upstream ||
		!is_receiver(upstream, node) || other->process[SIM_SERVER].n_pauses > 0 ||
		other->data.end.lsn <= sim.node[node].data.end.lsn)
		return;
	/* the end of a timeline: the standby looks for the next one */
	if (sim_timeline_of(other->data.end) != sim_timeline_of(sim.node[node].data.end) &&
		!may_follow(node, upstream))
	{
		disconnected(node);
		return;
	}
	server->is_sending = true;
	delay_us = sim_send_delay(upstream, node);
	if (delay_us < 0)
	{
		sim_later(RESEND_US, push_again, node, server->stream_generation, NULL);
		return;
	}
	server->in_flight = other->data.end;
	sim_later(delay_us, arrived, node, server->stream_generation, NULL);
}

/* More WAL is durable here. */
void
sim_stream_flushed(int node)
{
	uint32_t	receivers = sim.node[node].server.receivers;

	for (int n = 0; receivers != 0; n++, receivers >>= 1)
		if ((receivers & 1) != 0)
			stream_push(node, n);
}

/* Each second: is the other side there; status, and what got lost, again. */
static void
keepalive(int node, int64_t generation, void *owned)
{
	SimServer  *server = &sim.node[node].server;
	int			upstream = server->stream_from;
	const SimNode *other;

	(void) owned;
	if (!is_current(node, generation))
		return;
	other = &sim.node[upstream];
	if (!sim_is_connected(node, upstream) || !other->host_is_up ||
		other->process[SIM_SERVER].n_pauses > 0)
	{
		if (sim.now_us - server->heard_us >= silence_limit_us())
		{
			disconnected(node);
			return;
		}
	}
	else if (!is_receiver(upstream, node))
	{
		disconnected(node);		/* the other end is gone: a reset answers */
		return;
	}
	else
	{
		server->heard_us = sim.now_us;
		acknowledge(node);
		stream_push(upstream, node);
	}
	sim_later_in(node, SIM_SERVER, KEEPALIVE_US, keepalive, generation, NULL);
}

/* Has every connected receiver confirmed all WAL? */
bool
sim_stream_all_have(int node)
{
	const SimServer *server = &sim.node[node].server;

	for (int n = 0; n < sim.n_nodes; n++)
		if (is_receiver(node, n) && server->receiver_flush[n] < sim.node[node].data.end.lsn)
			return false;
	return true;
}
