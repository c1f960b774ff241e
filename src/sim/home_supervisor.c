/*-------------------------------------------------------------------------
 *
 * home_supervisor.c
 *      The program outside the server: src/supervisor/supervisor.c, baton.c,
 *      observe.c and status.c, with the real host.
 *
 * What is simplified:
 *  - While the server starts or stops it is looked at when it changed, 0.2 to
 *    5 ms later, not every 5 ms.
 *  - The server's configuration files are not written; who is its upstream
 *    is kept as a fact of the data directory.
 *  - REST is asked by peers only, and people's commands skip it.
 *  - baton_check() goes by a timer of its own and the turn after it is left
 *    out when it did nothing.  What begins after an idle check waits for the
 *    next one, which arm_check() of supervisor.c brings forward: here a stop,
 *    or a worker that does not give the baton back, is noticed later.
 *  - A worker does not refuse the baton.
 *-------------------------------------------------------------------------
 */
#include "sim/home.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

static LeasePage *
page_of(const SimHome *supervisor)
{
	return sim.node[supervisor->node].page;
}

static uint32_t
postmaster_now(int node)
{
	/* its pid: a restart of its children by the postmaster changes nothing */
	return sim.node[node].process[SIM_SERVER].is_alive ?
		(uint32_t) sim.node[node].server.start_wall_ms : 0;
}

static bool
send(SimHome *supervisor, SimMessage *message)
{
	if (supervisor->link == 0)
	{
		message_free(message);
		return false;
	}
	if (home_send(supervisor, message))
		return true;
	supervisor_close_link(supervisor);
	return false;
}

/* ------------------------------------------------------------------------
 * Looking at the server
 * ------------------------------------------------------------------------
 */

/* Look, and tell the engine what is new. */
void
supervisor_observe_and_tell(SimHome *supervisor)
{
	static HaPostgres postgres;
	int64_t		now_ms = clock_now_ms();

	observe_outside(supervisor, &postgres);
	supervisor->server_state = sim.node[supervisor->node].server.state;
	if (!supervisor->has_given || now_ms - supervisor->given_at_ms >= OBSERVE_IDLE_MS ||
		!ha_postgres_equal(&postgres, &supervisor->given))
	{
		ha_postgres_copy(&supervisor->given, &postgres);
		supervisor->has_given = true;
		supervisor->given_at_ms = now_ms;
		host_postgres(supervisor->host, &postgres);
	}
}

static bool
is_in_hurry(const SimHome *supervisor)
{
	const HaPostgres *postgres = host_last_postgres(supervisor->host);
	HaTask		task = sim_task_running(supervisor->node);

	return task == HA_TASK_STOP || task == HA_TASK_START_PRIMARY ||
		task == HA_TASK_START_STANDBY ||
		(postgres != NULL && (postgres->server == HA_SERVER_STARTING ||
							  postgres->server == HA_SERVER_STOPPING));
}

/* Its end, its beginning and what it says of itself are seen at once. */
void
supervisor_server_changed(SimHome *supervisor)
{
	int64_t		at_us;

	if (supervisor->postmaster == postmaster_now(supervisor->node) &&
		supervisor->server_state == sim.node[supervisor->node].server.state &&
		!is_in_hurry(supervisor))
		return;
	if (supervisor->look_at_us <= sim.now_us + 200)
		return;
	at_us = sim.now_us + sim_between(200, 5000);
	if (supervisor->look_at_us <= at_us)
		return;
	supervisor->look_at_us = at_us;
	home_schedule(supervisor, at_us - sim.now_us);
}

/* PostmasterOps.changed */
static void
look_for_postmaster(SimHome *supervisor)
{
	uint32_t	postmaster = postmaster_now(supervisor->node);

	if (supervisor->postmaster == postmaster)
		return;
	supervisor->postmaster = postmaster;
	supervisor->has_seen = false;
	supervisor->seen_postmaster = 0;
	sim_trace(supervisor->node, "supervisor: the postmaster %s",
			  postmaster == 0 ? "is gone" : "is there");
	if (host_is_driving(supervisor->host))
		supervisor_observe_and_tell(supervisor);
}

static void
worker_state(SimHome *supervisor, const HaPostgres *postgres)
{
	ha_postgres_copy(&supervisor->seen, postgres);
	supervisor->has_seen = true;
	supervisor->seen_postmaster = supervisor->postmaster;
	if (host_is_driving(supervisor->host))
		supervisor_observe_and_tell(supervisor);
	else
		host_postgres(supervisor->host, &supervisor->seen);
}

/* By tasks.c: what the task left behind first, then its result. */
void
sim_task_done(int node, HaTask task, uint64_t task_id, HaTaskOutcome outcome,
			  HaDivergence divergence, Lsn lsn, const char *message)
{
	SimHome    *supervisor;
	SimContext	before;

	if (sim.node[node].kind == SIM_PATRONI)
	{
		sim_patroni_task_done(node, task, outcome);
		return;
	}
	supervisor = sim_home(node, HA_HOME_SUPERVISOR);
	if (supervisor == NULL || supervisor->must_close)
		return;
	before = home_enter(supervisor);
	look_for_postmaster(supervisor);
	supervisor_observe_and_tell(supervisor);
	host_task_done(supervisor->host, task, task_id, outcome, divergence, lsn, message);
	home_leave(supervisor, before);
	sim_host_wake(node, HA_HOME_SUPERVISOR);
}

/* ------------------------------------------------------------------------
 * Questions of peers
 * ------------------------------------------------------------------------
 */

static void
answer(SimHome *supervisor, const SimQuestion *question, bool is_fresh)
{
	HaPeer		peer;

	peers_status_of(supervisor, is_fresh, &peer);
	peers_reply(question, &peer);
}

static void
give_up_asks(SimHome *supervisor, bool all)
{
	int64_t		now_ms = clock_now_ms();

	for (int i = 0; i < HOME_ASKS_MAX; i++)
	{
		SimAsk	   *ask = &supervisor->asks[i];

		if (!ask->is_used || (!all && ask->deadline_ms > now_ms))
			continue;
		ask->is_used = false;
		answer(supervisor, &ask->question, false);
	}
}

static void
answer_asks(SimHome *supervisor, uint64_t id)
{
	for (int i = 0; i < HOME_ASKS_MAX; i++)
	{
		SimAsk	   *ask = &supervisor->asks[i];

		if (!ask->is_used || ask->id > id)
			continue;
		ask->is_used = false;
		answer(supervisor, &ask->question, true);
	}
}

/* Somebody asks how we are. */
void
supervisor_asked(SimHome *supervisor, const SimQuestion *question)
{
	SimAsk	   *ask = NULL;
	SimMessage *message;

	if (host_is_driving(supervisor->host))
	{
		supervisor_observe_and_tell(supervisor);
		answer(supervisor, question, true);
		home_schedule(supervisor, 20);
		return;
	}
	for (int i = 0; i < HOME_ASKS_MAX && ask == NULL; i++)
	{
		if (!supervisor->asks[i].is_used)
			ask = &supervisor->asks[i];
	}
	if (supervisor->link == 0 || ask == NULL)
	{
		answer(supervisor, question, false);
		return;
	}
	ask->is_used = true;
	ask->id = ++supervisor->next_ask_id;
	ask->deadline_ms = clock_now_ms() + ASK_TIMEOUT_MS;
	ask->question = *question;
	home_schedule_ms(supervisor, ASK_TIMEOUT_MS);
	message = message_new(MESSAGE_ASK);
	message->id = ask->id;
	(void) send(supervisor, message);
}

/* ------------------------------------------------------------------------
 * The baton
 * ------------------------------------------------------------------------
 */

static void
drive(SimHome *supervisor, uint32_t generation, const char *saved)
{
	Error		error;

	error_clear(&error);
	observe_outside(supervisor, &supervisor->given);
	host_postgres(supervisor->host, &supervisor->given);
	supervisor->has_given = true;
	supervisor->given_at_ms = clock_now_ms();
	supervisor->give_deadline_ms = 0;
	supervisor->stale_checks = 0;
	supervisor->worker_drives = false;
	sim_note(supervisor->node, "supervisor drives", generation, saved != NULL);
	if (host_drive(supervisor->host, generation, saved, &error))
		return;
	sim_trace(supervisor->node, "supervisor: could not drive: %s", error.message);
	if (saved != NULL)
		(void) !host_drive(supervisor->host, generation, NULL, &error);
}

static bool
take(SimHome *supervisor, const char *because)
{
	LeasePage  *page = page_of(supervisor);
	uint32_t	generation = lease_page_generation(page);
	bool		was_workers = sim_page_holder(supervisor->node) == LEASE_HOLDER_WORKER;

	generation = lease_page_take(page, generation, LEASE_HOLDER_SUPERVISOR);
	if (generation == 0)
		return false;
	if (was_workers)
		supervisor->may_have_baton = false;
	sim_trace(supervisor->node, "supervisor: takes the baton, generation %u. %s", generation,
			  because);
	drive(supervisor, generation, NULL);
	return true;
}

static void
give(SimHome *supervisor)
{
	char	   *saved = host_rest(supervisor->host);
	SimMessage *message;
	uint32_t	generation;

	if (saved == NULL)
		return;
	generation = lease_page_take(page_of(supervisor), host_generation(supervisor->host),
								 LEASE_HOLDER_WORKER);
	if (generation == 0)
	{
		free(saved);
		return;
	}
	sim_note(supervisor->node, "give", generation, 0);
	sim_trace(supervisor->node, "supervisor: gives the baton, generation %u", generation);
	supervisor->worker_drives = true;
	message = message_new(MESSAGE_BATON);
	message->generation = generation;
	message->saved = home_change_release(saved);
	(void) send(supervisor, message);
}

static bool
worker_should_drive(const SimHome *supervisor)
{
	return host_is_driving(supervisor->host) && !supervisor->stop_asked &&
		supervisor->link != 0 && supervisor->may_have_baton &&
		sim_task_running(supervisor->node) == HA_TASK_NONE &&
		supervisor->postmaster != 0 && !ha_wants_supervisor(host_node(supervisor->host));
}

static bool
ask_back(SimHome *supervisor)
{
	if (supervisor->link == 0 || sim_page_holder(supervisor->node) != LEASE_HOLDER_WORKER)
		return false;
	if (supervisor->give_deadline_ms != 0)
		return true;
	supervisor->give_deadline_ms = clock_now_ms() + GIVE_TIMEOUT_MS;
	return send(supervisor, message_new(MESSAGE_GIVE));
}

static void
link_is_over(SimHome *supervisor)
{
	supervisor->link = 0;
	supervisor->said_hello = supervisor->may_have_baton = false;
	sim_trace(supervisor->node, "supervisor: the worker disconnected");
	give_up_asks(supervisor, true);
}

/* Close the connection from our side. */
void
supervisor_close_link(SimHome *supervisor)
{
	home_hang_up(supervisor);
	link_is_over(supervisor);
}

static void
got_hello(SimHome *supervisor, const SimMessage *message)
{
	if (supervisor->link != 0 && supervisor->link != message->link)
		supervisor_close_link(supervisor);
	supervisor->link = message->link;
	supervisor->said_hello = true;
	sim_trace(supervisor->node, "supervisor: the worker connected%s",
			  message->has_baton ? ", it drives" : "");
	if (!send(supervisor, message_new(MESSAGE_CONFIG)))
		return;
	if (message->has_baton && sim_page_holder(supervisor->node) == LEASE_HOLDER_WORKER &&
		message->generation == lease_page_generation(page_of(supervisor)))
	{
		supervisor->may_have_baton = true;
		supervisor->worker_drives = true;
		return;
	}
	if (sim_page_holder(supervisor->node) == LEASE_HOLDER_WORKER)
		(void) take(supervisor, "The worker that had control is gone.");
	supervisor->may_have_baton = true;
}

static void
got_baton(SimHome *supervisor, const SimMessage *message)
{
	supervisor->may_have_baton = true;
	if (message->generation != lease_page_generation(page_of(supervisor)) ||
		sim_page_holder(supervisor->node) != LEASE_HOLDER_SUPERVISOR)
	{
		sim_trace(supervisor->node, "supervisor: the baton of generation %u is not current",
				  message->generation);
		return;
	}
	drive(supervisor, message->generation, message->saved);
}

static void
reload(SimHome *supervisor)
{
	if (home_configure(supervisor) && supervisor->link != 0)
		(void) send(supervisor, message_new(MESSAGE_CONFIG));
}

static void
read_channel(SimHome *supervisor)
{
	SimMessage *message;

	while (!supervisor->must_close && (message = home_receive(supervisor)) != NULL)
	{
		if (message->kind == MESSAGE_HELLO)
			got_hello(supervisor, message);
		else if (message->link == supervisor->link && supervisor->link != 0)
		{
			switch (message->kind)
			{
				case MESSAGE_STATE:
					worker_state(supervisor, message->postgres);
					break;
				case MESSAGE_ANSWER:
					worker_state(supervisor, message->postgres);
					answer_asks(supervisor, message->id);
					break;
				case MESSAGE_FAILSAFE_ANSWER:
					consent_worker_answered(supervisor, message);
					break;
				case MESSAGE_BATON:
					got_baton(supervisor, message);
					break;
				case MESSAGE_RELOAD:
					reload(supervisor);
					break;
				case MESSAGE_CLOSED:
					link_is_over(supervisor);
					break;
				default:
					break;
			}
		}
		message_free(message);
	}
}

static bool
worker_is_stale(const SimHome *supervisor)
{
	const Settings *settings = host_settings(supervisor->host);
	int64_t		patience_ms = settings == NULL ? 5000 : settings->ttl_ms / 2;
	int64_t		last_ms = atomic_load_explicit(&page_of(supervisor)->worker_heartbeat_ms,
											   memory_order_acquire);

	if (patience_ms < 1000)
		patience_ms = 1000;
	return clock_now_ms() - last_ms > patience_ms;
}

/* Everything that shows at once. */
static void
baton_turn(SimHome *supervisor)
{
	if (worker_should_drive(supervisor))
	{
		give(supervisor);
		return;
	}
	if (host_is_driving(supervisor->host) ||
		sim_page_holder(supervisor->node) != LEASE_HOLDER_WORKER)
		return;
	if (supervisor->postmaster == 0)
		(void) take(supervisor, "The server is not running.");
	else if (supervisor->link == 0 && supervisor->worker_drives)
		(void) take(supervisor, "The worker is gone.");
}

/* What shows by time alone; true: took the baton. */
static bool
baton_check(SimHome *supervisor)
{
	const char *because = NULL;

	if (!host_is_driving(supervisor->host))
	{
		if (sim_page_holder(supervisor->node) != LEASE_HOLDER_WORKER)
			because = "Nobody had it.";
		else if (worker_is_stale(supervisor))
			because = "The worker has not taken a turn for too long.";
		else if (supervisor->give_deadline_ms != 0 &&
				 clock_now_ms() >= supervisor->give_deadline_ms)
			because = "The worker did not give it when asked.";
	}
	if (because == NULL)
		supervisor->stale_checks = 0;
	else if (++supervisor->stale_checks >= 2)
		return take(supervisor, because);
	return false;
}

/*
 * As is_idle() of supervisor.c, without what is not simulated (the health of the
 * server, hangs and calls) or does not bring a check forward here.  What is added
 * there for something that is simulated belongs here as well.
 */
static bool
is_idle(const SimHome *supervisor)
{
	int64_t		last_ms = atomic_load_explicit(&page_of(supervisor)->worker_heartbeat_ms,
												   memory_order_acquire);

	return !host_is_driving(supervisor->host) && supervisor->link != 0 &&
		clock_now_ms() - last_ms <= STATE_FRESH_MS && supervisor->stale_checks == 0;
}

/* As check_interval_ms() of supervisor.c. */
static int64_t
check_interval_ms(const SimHome *supervisor)
{
	int64_t		idle_ms = host_idle_interval_ms(supervisor->host, BATON_CHECK_MS);

	return idle_ms > BATON_CHECK_MS && is_idle(supervisor) ? 2 * idle_ms : BATON_CHECK_MS;
}

static void
check_due(int node, int64_t number, void *owned)
{
	SimHome    *supervisor = sim_home(node, HA_HOME_SUPERVISOR);
	SimContext	before;
	int64_t		wait_ms;

	(void) number;
	(void) owned;
	if (supervisor == NULL || supervisor->must_close)
		return;
	before = home_enter(supervisor);
	if (baton_check(supervisor))
		home_schedule(supervisor, 20);
	wait_ms = check_interval_ms(supervisor);
	home_leave(supervisor, before);
	sim_later_in(node, SIM_SUPERVISOR, SIM_MS(wait_ms), check_due, 0, NULL);
}

/* ------------------------------------------------------------------------
 * A turn
 * ------------------------------------------------------------------------
 */

/* The stop that was asked for, as far as it is this program's part. */
static void
stop_turn(SimHome *supervisor)
{
	HaCommand	command;

	if (!supervisor->stop_asked)
		return;
	if (!host_is_driving(supervisor->host))
	{
		supervisor->shutdown_is_queued = false;
		if (!ask_back(supervisor) && supervisor->give_deadline_ms == 0)
			supervisor->give_deadline_ms = clock_now_ms() + GIVE_TIMEOUT_MS;
		return;
	}
	if (supervisor->shutdown_is_queued)
		return;
	supervisor->shutdown_is_queued = true;
	memset(&command, 0, sizeof(command));
	command.kind = HA_COMMAND_SHUTDOWN;
	if (strcmp(ha_goal_name(host_node(supervisor->host)), "shutdown") != 0 &&
		!host_command(supervisor->host, &command))
		supervisor->shutdown_is_queued = false;
}

static void
files_turn(SimHome *supervisor)
{
	const ClusterView *view = host_view(supervisor->host);

	if (view == NULL || view->config_json == NULL ||
		view->config_version == supervisor->cached_version)
		return;
	supervisor->cached_version = view->config_version;
	home_cache_put(supervisor->node, view->config_json);
}

static void
arm(SimHome *supervisor)
{
	int64_t		now_ms = clock_now_ms();
	int64_t		wait_ms = host_timeout_ms(supervisor->host, now_ms);

	if (host_is_driving(supervisor->host) && (wait_ms < 0 || wait_ms > OBSERVE_IDLE_MS))
	{
		int64_t		look_ms = supervisor->given_at_ms + OBSERVE_IDLE_MS - now_ms;

		if (look_ms < 1)
			look_ms = 1;
		if (wait_ms < 0 || look_ms < wait_ms)
			wait_ms = look_ms;
	}
	for (int i = 0; i < HOME_ASKS_MAX; i++)
	{
		int64_t		left_ms = supervisor->asks[i].deadline_ms - now_ms;

		if (supervisor->asks[i].is_used && (wait_ms < 0 || left_ms < wait_ms))
			wait_ms = left_ms < 1 ? 1 : left_ms;
	}
	if (wait_ms >= 0)
		home_schedule_ms(supervisor, wait_ms);
	if (supervisor->look_at_us != SIM_NEVER)
		home_schedule(supervisor, supervisor->look_at_us - sim.now_us);
}

/* One turn of the loop: the events first, then what follows from them. */
void
supervisor_turn(SimHome *supervisor)
{
	bool		dead_first = supervisor->postmaster != postmaster_now(supervisor->node) &&
		supervisor->n_inbox > 0 && sim_chance(500);

	if (dead_first)
		look_for_postmaster(supervisor);
	read_channel(supervisor);
	look_for_postmaster(supervisor);
	give_up_asks(supervisor, false);
	if (supervisor->look_at_us <= sim.now_us ||
		clock_now_ms() - supervisor->given_at_ms >= OBSERVE_IDLE_MS)
	{
		supervisor->look_at_us = SIM_NEVER;
		supervisor->server_state = sim.node[supervisor->node].server.state;
		if (host_is_driving(supervisor->host))
			supervisor_observe_and_tell(supervisor);
	}
	sim.n_steps++;
	host_process(supervisor->host, clock_now_ms());
	if (supervisor->must_close)
		return;
	if (supervisor->is_over)
	{
		sim_process_exit(supervisor->node, supervisor->exit_code);
		return;
	}
	stop_turn(supervisor);
	baton_turn(supervisor);
	files_turn(supervisor);
	arm(supervisor);
}

/* SIGTERM: hand over, stop the server in order, end. */
void
sim_supervisor_stop(int node)
{
	SimHome    *supervisor = sim_home(node, HA_HOME_SUPERVISOR);

	if (supervisor == NULL || supervisor->must_close)
		return;
	sim_trace(node, "supervisor: is asked to stop");
	sim_note(node, "stop", 0, 0);
	supervisor->stop_asked = true;
	sim_host_wake(node, HA_HOME_SUPERVISOR);
}

/* The process begins: attach to a server that runs, else take the baton. */
void
supervisor_open(SimHome *supervisor)
{
	HostOps		ops = {
		.context = supervisor,
		.act = sim_act,
		.log = home_log,
	};
	Error		error;

	error_clear(&error);
	if (!host_open(&supervisor->host, HA_HOME_SUPERVISOR, page_of(supervisor), &ops, &error))
	{
		sim_fail("bug in the simulator: could not open a host: %s", error.message);
		supervisor->must_close = true;
		return;
	}
	sim_trace(supervisor->node, "supervisor: begins");
	if (!home_configure(supervisor))
	{
		supervisor->must_close = true;
		return;
	}
	supervisor->postmaster = postmaster_now(supervisor->node);
	supervisor->server_state = sim.node[supervisor->node].server.state;
	if (supervisor->postmaster == 0 || sim_page_holder(supervisor->node) != LEASE_HOLDER_WORKER)
		(void) take(supervisor, "The supervisor was started.");
	sim_later_in(supervisor->node, SIM_SUPERVISOR, SIM_MS(BATON_CHECK_MS), check_due, 0, NULL);
	home_schedule(supervisor, 20);
}
