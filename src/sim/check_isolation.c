/*-------------------------------------------------------------------------
 *
 * check_isolation.c
 *      S9: a primary that nobody answers does not go on to acknowledge
 *      writes.  L5: commits are held for that reason alone.
 *
 * With asynchronous replication the writes of an isolated primary are lost
 * when another one takes over.  What is promised is a bound in time: counted
 * from the first WAL that was flushed after anybody had answered, no write is
 * acknowledged later than twice patroni.isolation_hold_after.  Anybody is the
 * store, with whatever it says, or a standby that may lead and has got more.
 *
 * Nothing is promised while the worker does not watch: while it is dead,
 * frozen, or without the baton; for a lease that has no end; and without
 * another member that could lead, as far as the worker knows.
 *
 *-------------------------------------------------------------------------
 */
#include "sim/check_internal.h"

#include <string.h>

#include "sim/home.h"

#define LOOK_LATE_US	SIM_MS(WAIT_MAX_MS + 100)	/* a worker that looks less often does not watch */
#define MARGIN_US		SIM_MS(200)		/* clocks, and two looks of 50 ms */

typedef struct Watched
{
	int64_t		unanswered_us;	/* WAL was flushed then, and nobody has answered since; 0 = none */
	bool		is_watched;		/* by its worker, as at its last look */
	int64_t		watched_since_us;
	int64_t		looked_us;
	int64_t		deadline_us;	/* of the fence, at that look */
	Lsn			confirmed_lsn[SIM_NODES_MAX];	/* by each standby, to this start of the server */
	uint32_t	incarnation;
} Watched;

static Watched watched[SIM_NODES_MAX];

/* A new run. */
void
check_isolation_reset(void)
{
	memset(watched, 0, sizeof(watched));
}

static bool
is_on(void)
{
	return sim.profile.isolation_hold_after_ms >= 0;
}

/* May that member lead, as far as the worker of this node knows? */
static bool
may_lead(int number, int other, bool must_be_seen)
{
	SimHome    *worker = sim_home(number, HA_HOME_WORKER);
	const ClusterView *view = worker != NULL && worker->host != NULL ? host_view(worker->host) : NULL;

	for (int i = 0; view != NULL && i < view->n_members; i++)
	{
		const Member *member = &view->members[i];

		if (strcmp(member->name, sim.node[other].name) == 0)
			return !member->tags.nofailover && (!must_be_seen || member->state == MEMBER_RUNNING);
	}
	return false;
}

static bool
has_rival(int number, bool must_be_seen)
{
	for (int n = 0; n < sim.n_nodes; n++)
		if (n != number && may_lead(number, n, must_be_seen))
			return true;
	return false;
}

static bool
has_limited_lease(const SimNode *node)
{
	return node->page != NULL && check_has_open_fence(node);
}

static bool
worker_drives(int number)
{
	const SimNode *node = &sim.node[number];
	SimHome    *worker = sim_home(number, HA_HOME_WORKER);

	return worker != NULL && worker->host != NULL && worker_holds_baton(worker) &&
		node->process[SIM_WORKER].n_pauses == 0;
}

/* More WAL is durable on a primary. */
void
sim_check_flushed(int number)
{
	if (is_on() && watched[number].unanswered_us == 0)
		watched[number].unanswered_us = sim.now_us;
}

/* The store has answered something. */
void
sim_check_store_answered(int number, HaHome home)
{
	if (home == HA_HOME_WORKER)
		watched[number].unanswered_us = 0;
}

/* A standby has told its walsender what it has. */
void
sim_check_confirmed(int number, int standby)
{
	Lsn			lsn = sim.node[number].server.receiver_flush[standby];
	uint32_t	incarnation = sim.node[number].process[SIM_SERVER].incarnation;

	/* a server that was restarted waits for a word on all of its WAL, and the first one is news */
	if (watched[number].incarnation != incarnation)
		memset(watched[number].confirmed_lsn, 0, sizeof(watched[number].confirmed_lsn));
	watched[number].incarnation = incarnation;
	if (!is_on() || lsn == watched[number].confirmed_lsn[standby])
		return;
	watched[number].confirmed_lsn[standby] = lsn;
	if (may_lead(number, standby, false))
		watched[number].unanswered_us =
			lsn < sim.node[number].data.end.lsn ? sim.now_us : 0;
}

/* The worker has looked. */
void
sim_check_watched(int number)
{
	const SimNode *node = &sim.node[number];
	Watched    *at = &watched[number];
	int64_t		deadline_us = lease_page_deadline_us(node->page);

	if (!at->is_watched || sim.now_us - at->looked_us > LOOK_LATE_US)
		at->watched_since_us = sim.now_us;
	at->is_watched = worker_drives(number) && has_limited_lease(node) &&
		!node->server.is_in_recovery && has_rival(number, true);
	if (deadline_us > at->deadline_us)
		at->unanswered_us = 0;	/* by all members, or by the store */
	/* the first word of a standby that is back is an answer, whatever it has */
	for (int n = 0; n < sim.n_nodes; n++)
		if ((node->server.receivers >> n & 1) == 0)
			at->confirmed_lsn[n] = 0;
	/* a standby had everything before it was seen that it may lead */
	for (int n = 0; n < sim.n_nodes; n++)
		if ((node->server.receivers >> n & 1) != 0 && may_lead(number, n, false) &&
			node->server.receiver_flush[n] >= node->data.end.lsn)
			at->unanswered_us = 0;
	at->deadline_us = deadline_us;
	at->looked_us = sim.now_us;
}

/* A process goes on.  While the worker stood still it did not watch, however short that was. */
void
sim_check_thawed(int number, SimProcessKind kind)
{
	if (kind == SIM_WORKER)
		watched[number].watched_since_us = sim.now_us;
}

/* S9, for a write whose client is told now. */
void
check_isolation_acknowledged(int number)
{
	int			writer = sim.write[number].node;
	const Watched *at = &watched[writer];
	int64_t		hold_us = SIM_MS(sim.profile.isolation_hold_after_ms);
	int64_t		since_us = at->unanswered_us;
	int64_t		look_us = SIM_MS(WAIT_MAX_MS);

	if (!is_on() || since_us == 0 || sim.node[writer].kind != SIM_OURS)
		return;
	if (at->watched_since_us > since_us)
		since_us = at->watched_since_us;
	if (!at->is_watched || !worker_drives(writer) || !has_limited_lease(&sim.node[writer]) ||
		sim.now_us - at->looked_us > LOOK_LATE_US)
		return;
	if (sim.now_us - since_us > (hold_us > look_us ? hold_us : look_us) + hold_us + MARGIN_US)
		sim_fail("S9 %s acknowledged a write %lld ms after the first one that nobody has answered",
				 check_name(writer), (long long) ((sim.now_us - since_us) / 1000));
}

/*
 * L5: commits are held only by a leader that has another member beside it,
 * while the store has not answered for as long as is set, and no standby has
 * everything.
 */
void
sim_check_held(int number)
{
	const SimNode *node = &sim.node[number];
	SimHome    *worker = sim_home(number, HA_HOME_WORKER);
	int64_t		silent_ms = sim_clock_us(number) / 1000 - host_store_answered_ms(worker->host);

	if (!worker_drives(number) || !has_limited_lease(node))
		sim_fail("L5 %s holds commits without a lease that ends", check_name(number));
	if (!has_rival(number, false))
		sim_fail("L5 %s holds commits, and nobody else could lead", check_name(number));
	if (silent_ms < sim.profile.isolation_hold_after_ms)
		sim_fail("L5 %s holds commits, and the store answered what it was asked %lld ms ago",
				 check_name(number), (long long) silent_ms);
	for (int n = 0; n < sim.n_nodes; n++)
		if ((node->server.receivers >> n & 1) != 0 && may_lead(number, n, false) &&
			node->server.receiver_flush[n] >= node->data.end.lsn)
			sim_fail("L5 %s holds commits, and %s has confirmed them", check_name(number), check_name(n));
}
