/*-------------------------------------------------------------------------
 *
 * home_worker.c
 *      The worker inside the server: src/worker/loop.c and observe.c, with
 *      the real host.
 *
 * What is simplified:
 *  - While the cluster waits for something the server is looked at every
 *    25 ms and when it changed, not every 10 ms; during promotion every 5 ms
 *    and when it changed, not every 2 ms.
 *  - No SQL commands: people's commands go straight to the host that drives.
 *  - An ERROR of the server never ends a step half-way.
 *-------------------------------------------------------------------------
 */
#include "sim/home.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

static LeasePage *
page_of(const SimHome *worker)
{
	return sim.node[worker->node].page;
}

static void
heartbeat(SimHome *worker)
{
	atomic_store_explicit(&page_of(worker)->worker_heartbeat_ms, clock_now_ms(),
						  memory_order_release);
}

/* ------------------------------------------------------------------------
 * Looking and telling
 * ------------------------------------------------------------------------
 */

static void
look_at_files(SimHome *worker, int64_t now_ms)
{
	SimObserver *observer = &worker->observer;
	HaPostgres *now = &observer->now;

	/* what cannot be read changes nothing of what is known */
	observe_files(worker->node, now);
	now->data = HA_DATA_PRESENT;
	now->problem[0] = '\0';
	if (now->timeline != 0)
	{
		now->newest_timeline = 0;
		observe_history(worker->node, now);
		if (now->timeline != observer->files_timeline &&
			(now->timeline == 1 || now->n_history > 0))
			observer->files_timeline = now->timeline;
	}
	observer->files_at_ms = now_ms;
	observer->files_are_stale = false;
}

/* Look at the server now.  Borrowed until the next look. */
const HaPostgres *
worker_look(SimHome *worker)
{
	SimObserver *observer = &worker->observer;
	HaPostgres *now = &observer->now;
	LeasePage  *page = page_of(worker);
	int64_t		now_ms = clock_now_ms();
	bool		was_in_recovery = now->is_in_recovery;
	uint32_t	timeline_before = now->timeline;
	int64_t		files_every_ms;

	sim_sync_look(worker->node);
	observe_server(worker->node, now);
	observer->must_look = false;
	if (!now->is_in_recovery && (was_in_recovery || timeline_before == 0))
	{
		observer->promoting_until_ms = 0;
		observer->files_are_stale = true;
	}
	if (now->timeline != timeline_before)
		observer->files_are_stale = true;
	files_every_ms = observer->checkpoint_until_ms > now_ms ? OBSERVE_HURRY_MS : OBSERVE_FILES_MS;
	if (observer->files_are_stale || now_ms - observer->files_at_ms >= files_every_ms)
		look_at_files(worker, now_ms);
	if (observer->checkpoint_until_ms != 0 &&
		(now_ms >= observer->checkpoint_until_ms ||
		 now->checkpoint_redo != observer->checkpoint_before))
		observer->checkpoint_until_ms = 0;
	if (!now->is_in_recovery)
		atomic_store_explicit(&page->flush_lsn, now->flush_lsn, memory_order_relaxed);
	atomic_store_explicit(&page->is_primary, !now->is_in_recovery, memory_order_release);
	observer->looked_at_ms = now_ms;
	observer->has_looked = true;
	return now;
}

static void
forget_wal(HaPostgres *postgres)
{
	postgres->write_lsn = postgres->flush_lsn = 0;
	postgres->received_lsn = postgres->replayed_lsn = 0;
	postgres->minimum_recovery_lsn = 0;
	for (int i = 0; i < postgres->n_slots; i++)
		postgres->slots[i].restart_lsn = postgres->slots[i].restart_lsn == 0 ? 0 : 1;
	for (int i = 0; i < postgres->n_senders; i++)
	{
		postgres->senders[i].flush_lsn = postgres->senders[i].flush_lsn == 0 ? 0 : 1;
		postgres->senders[i].sync_lsn = postgres->senders[i].sync_lsn == 0 ? 0 : 1;
	}
}

typedef enum Change
{
	CHANGE_NONE,
	CHANGE_WAL,
	CHANGE_STATE,
} Change;

static Change
change_since(const HaPostgres *before, const HaPostgres *now)
{
	static HaPostgres a;
	static HaPostgres b;

	if (ha_postgres_equal(before, now))
		return CHANGE_NONE;
	ha_postgres_copy(&a, before);
	ha_postgres_copy(&b, now);
	forget_wal(&a);
	forget_wal(&b);
	return ha_postgres_equal(&a, &b) ? CHANGE_WAL : CHANGE_STATE;
}

/* Does the cluster wait for what this server is about to do? */
static bool
is_hurried(const SimHome *worker)
{
	const ClusterView *view = host_view(worker->host);
	const Settings *settings = host_settings(worker->host);

	if (worker->observer.promoting_until_ms != 0 || worker->observer.checkpoint_until_ms != 0 ||
		ha_sync_is_waiting(host_node(worker->host)))
		return true;
	return view != NULL && view->is_loaded && (view->failover.exists || !view->has_leader) &&
		settings != NULL && !settings->is_paused;
}

static int
look_interval_ms(const SimHome *worker)
{
	if (worker->observer.promoting_until_ms != 0)
		return OBSERVE_PROMOTING_MS;
	if (worker->observer.now.server != HA_SERVER_RUNNING)
		return OBSERVE_STARTING_MS;
	return is_hurried(worker) ? OBSERVE_HURRY_MS : OBSERVE_IDLE_MS;
}

static void
tell_engine(SimHome *worker, int64_t now_ms)
{
	SimObserver *observer = &worker->observer;
	Change		change = CHANGE_STATE;

	if (observer->has_told_engine)
		change = change_since(&observer->told_engine, &observer->now);
	if (change == CHANGE_NONE ||
		(change == CHANGE_WAL && now_ms - observer->engine_at_ms <
		 (is_hurried(worker) ? OBSERVE_HURRY_MS : OBSERVE_WAL_MS)))
		return;
	host_postgres(worker->host, &observer->now);
	ha_postgres_copy(&observer->told_engine, &observer->now);
	observer->has_told_engine = true;
	observer->engine_at_ms = now_ms;
}

static void disconnect(SimHome *worker);

static void
send(SimHome *worker, SimMessage *message)
{
	if (worker->link != 0 && home_send(worker, message))
		return;
	if (worker->link == 0)
		message_free(message);
	else
		disconnect(worker);
}

static void
send_state(SimHome *worker, SimMessageKind kind, uint64_t id)
{
	SimMessage *message = message_new(kind);

	message->id = id;
	message_set_postgres(message, &worker->observer.now);
	send(worker, message);
}

static void
tell_supervisor(SimHome *worker, int64_t now_ms)
{
	SimObserver *observer = &worker->observer;
	Change		change;

	if (worker->link == 0 || !worker->said_hello)
		return;
	if (observer->has_told_supervisor)
	{
		change = change_since(&observer->told_supervisor, &observer->now);
		if (change == CHANGE_NONE ||
			now_ms - observer->supervisor_at_ms <
			(change == CHANGE_WAL ? STATE_WAL_MS : STATE_MIN_MS))
			return;
	}
	send_state(worker, MESSAGE_STATE, 0);
	ha_postgres_copy(&observer->told_supervisor, &observer->now);
	observer->has_told_supervisor = true;
	observer->supervisor_at_ms = now_ms;
}

static void
observer_turn(SimHome *worker)
{
	SimObserver *observer = &worker->observer;
	int64_t		now_ms = clock_now_ms();

	if (observer->promoting_until_ms != 0 && now_ms >= observer->promoting_until_ms)
		observer->promoting_until_ms = 0;
	if (!observer->has_looked || observer->files_are_stale || observer->must_look ||
		now_ms - observer->looked_at_ms >= look_interval_ms(worker))
		(void) worker_look(worker);
	tell_engine(worker, now_ms);
	tell_supervisor(worker, now_ms);
}

/* Only what is waited for is looked at before its time. */
void
worker_server_changed(SimHome *worker)
{
	SimContext	before = home_enter(worker);
	int			every_ms = look_interval_ms(worker);

	if (every_ms < OBSERVE_IDLE_MS)
		home_schedule(worker, sim_between(200, SIM_MS(every_ms)));
	home_leave(worker, before);
}

/* Its latch is set when a walsender comes or goes. */
void
sim_walsenders_changed(int node)
{
	SimHome    *worker = sim.profile.engine_keeps_sync ? sim_home(node, HA_HOME_WORKER) : NULL;

	if (worker == NULL || !worker->is_open || worker->must_close)
		return;
	worker->observer.must_look = true;
	home_schedule(worker, sim_between(50, SIM_MS(2)));
}

/* ------------------------------------------------------------------------
 * The connection
 * ------------------------------------------------------------------------
 */

static void
disconnect(SimHome *worker)
{
	if (worker->link == 0)
		return;
	home_hang_up(worker);
	worker->connect_delay_ms = CONNECT_DELAY_MIN_MS;
	worker->connect_at_ms = clock_now_ms();
}

static void
say_hello(SimHome *worker)
{
	SimMessage *hello = message_new(MESSAGE_HELLO);

	hello->has_baton = worker_holds_baton(worker);
	hello->generation = hello->has_baton ? host_generation(worker->host) :
		lease_page_generation(page_of(worker));
	send(worker, hello);
	worker->said_hello = worker->link != 0;
	worker->observer.has_told_supervisor = false;
}

static void
connect_if_due(SimHome *worker, int64_t now_ms)
{
	static uint32_t next_link;
	SimHome    *supervisor = sim_home(worker->node, HA_HOME_SUPERVISOR);

	if (worker->link != 0 || now_ms < worker->connect_at_ms)
		return;
	if (supervisor == NULL || supervisor->must_close)
	{
		worker->connect_at_ms = now_ms + worker->connect_delay_ms;
		worker->connect_delay_ms *= 2;
		if (worker->connect_delay_ms > CONNECT_DELAY_MAX_MS)
			worker->connect_delay_ms = CONNECT_DELAY_MAX_MS;
		return;
	}
	worker->connect_delay_ms = CONNECT_DELAY_MIN_MS;
	if (++next_link == 0)
		next_link = 1;
	worker->link = next_link;
	say_hello(worker);
}

/* ------------------------------------------------------------------------
 * The baton
 * ------------------------------------------------------------------------
 */

/* Do we drive, and does the page say so, now? */
bool
worker_holds_baton(const SimHome *worker)
{
	return host_is_driving(worker->host) &&
		lease_page_generation(page_of(worker)) == host_generation(worker->host);
}

static void
hand_over(SimHome *worker)
{
	char	   *saved = host_rest(worker->host);
	uint32_t	generation;

	if (saved == NULL)
		return;
	generation = lease_page_take(page_of(worker), host_generation(worker->host),
								 LEASE_HOLDER_SUPERVISOR);
	if (generation != 0)
	{
		SimMessage *message = message_new(MESSAGE_BATON);

		message->generation = generation;
		message->saved = home_change_release(saved);
		saved = NULL;
		sim_note(worker->node, "give back", generation, 0);
		sim_trace(worker->node, "worker: gives the baton back, generation %u", generation);
		send(worker, message);
	}
	free(saved);
}

/* Give it to the supervisor; without one it is kept. */
void
worker_give_baton(SimHome *worker, const char *why)
{
	if (!worker_holds_baton(worker))
		return;
	if (worker->link == 0 || !worker->said_hello)
	{
		sim_trace(worker->node, "worker: could not give the baton (%s)", why);
		return;
	}
	hand_over(worker);
}

/* HA_RELOAD: the supervisor reads its own file. */
void
worker_send_reload(SimHome *worker)
{
	send(worker, message_new(MESSAGE_RELOAD));
}

static void
got_baton(SimHome *worker, const SimMessage *message)
{
	LeasePage  *page = page_of(worker);
	Error		error;
	uint32_t	returned;

	if (message->generation == 0 || message->generation != lease_page_generation(page))
	{
		worker->lost_baton = true;
		return;
	}
	worker->observer.files_are_stale = true;
	host_postgres(worker->host, worker_look(worker));
	error_clear(&error);
	if (host_drive(worker->host, message->generation, message->saved, &error))
	{
		worker->lost_baton = false;
		sim_note(worker->node, "worker drives", message->generation, 0);
		sim_trace(worker->node, "worker: drives, generation %u", message->generation);
		return;
	}
	sim_trace(worker->node, "worker: could not take the baton: %s", error.message);
	returned = lease_page_take(page, message->generation, LEASE_HOLDER_SUPERVISOR);
	if (returned != 0)
	{
		SimMessage *back = message_new(MESSAGE_BATON);

		back->generation = returned;
		back->saved = message->saved == NULL ? NULL : strdup(message->saved);
		send(worker, back);
	}
}

/* The supervisor wants it back to shut down. */
static void
got_give(SimHome *worker)
{
	HaCommand	command;

	if (!worker_holds_baton(worker))
		return;
	memset(&command, 0, sizeof(command));
	command.kind = HA_COMMAND_SHUTDOWN;
	if (host_command(worker->host, &command))
	{
		sim.n_steps++;
		host_process(worker->host, clock_now_ms());
		(void) act_run_records(worker);
	}
	worker_give_baton(worker, "the supervisor was told to stop");
}

static void
read_channel(SimHome *worker)
{
	SimMessage *message;

	while (!worker->must_close && (message = home_receive(worker)) != NULL)
	{
		if (message->link != worker->link || worker->link == 0)
		{
			message_free(message);
			continue;
		}
		switch (message->kind)
		{
			case MESSAGE_CONFIG:
				(void) home_configure(worker);
				break;
			case MESSAGE_BATON:
				got_baton(worker, message);
				break;
			case MESSAGE_GIVE:
				got_give(worker);
				break;
			case MESSAGE_ASK:
				(void) worker_look(worker);
				send_state(worker, MESSAGE_ANSWER, message->id);
				break;
			case MESSAGE_FAILSAFE:
				consent_in_worker(worker, message);
				break;
			case MESSAGE_CLOSED:
				sim_trace(worker->node, "worker: the supervisor closed the connection");
				worker->link = 0;
				worker->said_hello = false;
				worker->connect_delay_ms = CONNECT_DELAY_MIN_MS;
				worker->connect_at_ms = clock_now_ms();
				break;
			default:
				break;
		}
		message_free(message);
	}
}

/* ------------------------------------------------------------------------
 * A turn
 * ------------------------------------------------------------------------
 */

static void
turn_engine(SimHome *worker)
{
	for (int i = 0; i < WORKER_ROUNDS_MAX && !worker->must_close; i++)
	{
		sim.n_steps++;
		host_process(worker->host, clock_now_ms());
		if (!act_run_records(worker) || worker->must_close)
			break;
		observer_turn(worker);
	}
	if (worker->lost_baton && !worker->must_close)
	{
		/* the next hello tells the supervisor that we know */
		worker->lost_baton = false;
		sim_trace(worker->node, "worker: lost the baton, generation %u",
				  lease_page_generation(page_of(worker)));
		disconnect(worker);
		connect_if_due(worker, clock_now_ms());
	}
}

static void
arm(SimHome *worker)
{
	int64_t		now_ms = clock_now_ms();
	int64_t		wait_ms = WAIT_MAX_MS;
	int64_t		look_ms = worker->observer.looked_at_ms + look_interval_ms(worker) - now_ms;
	int			host_ms = host_timeout_ms(worker->host, now_ms);
	int64_t		due_ms = isolation_watch_due_ms(&worker->isolation, sim.profile.isolation_hold_after_ms);

	if (look_ms < wait_ms)
		wait_ms = look_ms;
	if (host_ms >= 0 && host_ms < wait_ms)
		wait_ms = host_ms;
	if (due_ms - now_ms < wait_ms)
		wait_ms = due_ms - now_ms;
	if (worker->link == 0 && worker->connect_at_ms - now_ms < wait_ms)
		wait_ms = worker->connect_at_ms - now_ms;
	if (worker->n_records > 0)
		wait_ms = 0;
	home_schedule_ms(worker, wait_ms > 0 ? wait_ms : 0);
}

/* One turn of the loop, in its order. */
void
worker_turn(SimHome *worker)
{
	heartbeat(worker);
	if (worker->must_leave)
	{
		hand_over(worker);
		(void) act_run_records(worker);
		sim_process_ended(worker->node, HA_HOME_WORKER);
		return;
	}
	connect_if_due(worker, clock_now_ms());
	read_channel(worker);
	if (worker->must_close)
		return;
	observer_turn(worker);
	turn_engine(worker);
	if (worker->must_close)
		return;
	sim_commits_turn(worker);
	heartbeat(worker);
	arm(worker);
}

/* HostOps.lost_baton */
static void
baton_was_lost(void *context)
{
	((SimHome *) context)->lost_baton = true;
}

/* The process begins. */
void
worker_open(SimHome *worker)
{
	HostOps		ops = {
		.context = worker,
		.act = sim_act,
		.log = home_log,
		.lost_baton = baton_was_lost,
	};
	Error		error;

	error_clear(&error);
	worker->connect_delay_ms = CONNECT_DELAY_MIN_MS;
	worker->observer.files_are_stale = true;
	if (!host_open(&worker->host, HA_HOME_WORKER, page_of(worker), &ops, &error))
	{
		sim_fail("bug in the simulator: could not open a host: %s", error.message);
		worker->must_close = true;
		return;
	}
	sim_commits_worker_begins(worker);
	sim_trace(worker->node, "worker: begins");
	home_schedule(worker, 20);
}
