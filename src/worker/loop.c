/*-------------------------------------------------------------------------
 *
 * loop.c
 *      The worker inside the server: drives the HA loop while the server runs.
 *
 * One loop around one WaitEventSet: our latch, the death of the postmaster,
 * the host's descriptor (store and peers), the channel to the supervisor.
 *
 * Invariants:
 *  (1) Nothing here waits, but for the loop itself, a few file writes (one a
 *      step of the engine while patroni.trace_file is set), and
 *      LEAVE_FLUSH_MS when the worker leaves.
 *  (2) No ERROR leaves a frame of libcurl or jansson: the host is called with
 *      callbacks that only record, and no server function is called there.
 *  (3) An ERROR ends one step of one turn.  The worker leaves with exit code
 *      0 (the server shuts down) or 1 (start me again), never otherwise.
 *  (4) Without a supervisor the worker goes on driving; it gives the baton
 *      only to a supervisor that is connected, except when it has to leave.
 *
 * What to do is decided in src/ha.  observe.c looks at the server, act.c
 * carries out, commands.c brings what people ask for in SQL.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "worker/worker.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "access/xlog.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "replication/slot.h"
#include "replication/walsender.h"
#include "storage/condition_variable.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "utils/guc.h"

#include "base/clock.h"
#include "base/version.h"
#include "node/peers.h"
#include "postgres/postgres_dir.h"
#include "worker/compat.h"

COMPAT_MODULE_MAGIC("patroni_worker", PATRONI_BGW_VERSION);

#define CONNECT_DELAY_MIN_MS	200
#define CONNECT_DELAY_MAX_MS	1000
#define LEAVE_FLUSH_MS			20
#define SNAPSHOT_EVERY_MS		50
#define WAIT_MAX_MS				1000
#define ERRORS_BEFORE_PAUSE		3
#define TRACE_GIVE_MS			10000

extern PGDLLEXPORT void patroni_worker_main(Datum argument);

static volatile sig_atomic_t must_leave = false;

static void
handle_leave(SIGNAL_ARGS)
{
	int			save_errno = errno;

	must_leave = true;
	SetLatch(MyLatch);
	errno = save_errno;
}

/* --- frames --- */

/*
 * Run one step; an ERROR in it is logged, cleaned up after, and ends only
 * this step.  Returns whether the step came to its end.
 */
bool
worker_guard(Worker *worker, WorkerStep step, void *argument)
{
	MemoryContext before = CurrentMemoryContext;
	volatile bool is_done = false;

	PG_TRY();
	{
		step(worker, argument);
		is_done = true;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(worker->context);
		HOLD_INTERRUPTS();
		EmitErrorReport();
		FlushErrorState();
		LWLockReleaseAll();
		ConditionVariableCancelSleep();
		pgstat_report_wait_end();
		if (MyReplicationSlot != NULL)
			ReplicationSlotRelease();
		AtEOXact_Files(false);
		MemoryContextSwitchTo(before);
		RESUME_INTERRUPTS();
		worker->n_errors_in_a_row++;
	}
	PG_END_TRY();
	return is_done;
}

/*
 * libcurl's resolver starts threads, which inherit the signal mask.  None of
 * them may run one of the server's signal handlers, so the mask is full
 * wherever one could start.
 */
static void
foreign_begin(sigset_t *before)
{
	sigset_t	all;

	sigfillset(&all);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGILL);
	sigdelset(&all, SIGABRT);
	pthread_sigmask(SIG_BLOCK, &all, before);
}

static void
foreign_end(const sigset_t *before)
{
	pthread_sigmask(SIG_SETMASK, before, NULL);
}

static void
process_host(Worker *worker)
{
	sigset_t	mask;

	foreign_begin(&mask);
	host_process(worker->host, clock_now_ms());
	foreign_end(&mask);
}

/* HostOps.settings: what follows from it is looked at in the turn. */
static void
settings_changed(void *context, const Settings *settings)
{
	(void) settings;
	((Worker *) context)->settings_changed = true;
}

/* HostOps.lost_baton */
static void
baton_was_lost(void *context)
{
	((Worker *) context)->lost_baton = true;
}

/* --- the channel --- */

static void
forget_wait_set(Worker *worker)
{
	if (worker->wait_set != NULL)
		FreeWaitEventSet(worker->wait_set);
	worker->wait_set = NULL;
}

static void
disconnect(Worker *worker)
{
	if (worker->channel == NULL)
		return;
	/* the set first: it must not hold a descriptor that is closed */
	forget_wait_set(worker);
	channel_close(worker->channel);
	worker->channel = NULL;
	worker->said_hello = false;
	worker->connect_delay_ms = CONNECT_DELAY_MIN_MS;
	worker->connect_at_ms = clock_now_ms();
}

/* Send to the supervisor, if there is one; the reference is stolen. */
void
worker_send(Worker *worker, json_t *message)
{
	if (message == NULL || worker->channel == NULL)
	{
		json_decref(message);
		return;
	}
	if (!channel_send(worker->channel, message))
		disconnect(worker);
}

static void
say_hello(Worker *worker)
{
	bool		has_baton = worker_holds_baton(worker);
	uint32_t	generation = has_baton ? host_generation(worker->host) :
		lease_page_generation(worker->page);

	worker_send(worker, json_pack("{s:s,s:i,s:s,s:I,s:I,s:b}",
								  "type", "hello",
								  "protocol", CHANNEL_PROTOCOL,
								  "version", PATRONI_BGW_VERSION,
								  "pid", (json_int_t) MyProcPid,
								  "generation", (json_int_t) generation,
								  "has_baton", has_baton));
	worker->said_hello = worker->channel != NULL;
	observer_send_state_again(worker->observer);
}

static void
connect_if_due(Worker *worker, int64_t now_ms)
{
	const char *path = patroni_socket_path();
	Error		error;

	if (worker->channel != NULL || now_ms < worker->connect_at_ms ||
		path == NULL || path[0] == '\0')
		return;
	error_clear(&error);
	worker->channel = channel_connect(path, &error);
	if (worker->channel == NULL)
	{
		if (!worker->connect_failure_is_logged)
			ereport(LOG,
					(errmsg("could not connect to the supervisor at \"%s\"%s%s", path,
							error.message[0] != '\0' ? ": " : "", error.message),
					 errdetail("The HA loop goes on as it is until the supervisor is back.")));
		worker->connect_failure_is_logged = true;
		worker->connect_at_ms = now_ms + worker->connect_delay_ms;
		worker->connect_delay_ms = Min(worker->connect_delay_ms * 2,
									   CONNECT_DELAY_MAX_MS);
		return;
	}
	if (worker->connect_failure_is_logged)
		ereport(LOG, (errmsg("connected to the supervisor")));
	worker->connect_failure_is_logged = false;
	worker->connect_delay_ms = CONNECT_DELAY_MIN_MS;
	worker->channel_is_readable = true;
	forget_wait_set(worker);
	atomic_store(&worker->page->worker_pid, (int32_t) MyProcPid);
	say_hello(worker);
}

/* --- the baton --- */

/* Do we drive, and does the page say so, now? */
bool
worker_holds_baton(const Worker *worker)
{
	return host_is_driving(worker->host) &&
		lease_page_generation(worker->page) == host_generation(worker->host);
}

/*
 * Stop driving, take the baton for the supervisor and send it there.  Does
 * nothing when we do not have it.
 */
static void
hand_over(Worker *worker)
{
	char	   *saved = host_rest(worker->host);
	uint32_t	generation;

	if (saved == NULL)
		return;
	generation = lease_page_take(worker->page, host_generation(worker->host),
								 LEASE_HOLDER_SUPERVISOR);
	if (generation != 0)
		worker_send(worker, json_pack("{s:s,s:I,s:s}", "type", "baton",
									  "generation", (json_int_t) generation,
									  "saved", saved));
	free(saved);
}

/*
 * A server that shuts down waits until its walsenders know of it, and looks only
 * each 10 ms whether they do (WalSndWaitStopping() in walsender.c): they are told
 * before.  They go on streaming.
 */
static void
prepare_walsenders(const Worker *worker)
{
	if (strcmp(ha_goal_name(host_node(worker->host)), "switchover") == 0 && !RecoveryInProgress())
		WalSndInitStopping();
}

/*
 * Give the baton to the supervisor.  Without one it is kept: a lease that is
 * renewed is better than one that nobody cares for.
 */
void
worker_give_baton(Worker *worker, const char *why)
{
	if (!worker_holds_baton(worker))
		return;
	if (worker->channel == NULL || !worker->said_hello)
	{
		if (!worker->yield_is_logged)
			ereport(WARNING,
					(errmsg("could not give control of this node to the supervisor"),
					 errdetail("It is not connected; control is wanted there because: %s.",
							   why != NULL && why[0] != '\0' ? why : "no reason given"),
					 errhint("Start patroni_supervisor for this data directory.")));
		worker->yield_is_logged = true;
		return;
	}
	worker->yield_is_logged = false;
	ereport(LOG,
			(errmsg("giving control of this node to the supervisor"),
			 why != NULL && why[0] != '\0' ? errdetail_internal("%s", why) : 0));
	prepare_walsenders(worker);
	hand_over(worker);
}

static void
got_baton(Worker *worker, const json_t *message)
{
	json_int_t	generation = json_integer_value(json_object_get(message, "generation"));
	const json_t *saved = json_object_get(message, "saved");
	char	   *object_text = NULL;
	const char *text = json_string_value(saved);
	sigset_t	mask;
	Error		error;
	bool		is_driving;

	if (generation <= 0 ||
		(uint32_t) generation != lease_page_generation(worker->page))
	{
		ereport(LOG,
				(errmsg("ignoring control of this node under generation %lld",
						(long long) generation),
				 errdetail("The lease page is at generation %u.",
						   lease_page_generation(worker->page))));
		/* the supervisor took it back from a worker that did not move: say that we do */
		worker->lost_baton = true;
		return;
	}
	if (json_is_object(saved))
		text = object_text = json_dumps(saved, JSON_COMPACT);

	/* the engine shall begin with what is true now, also of files that the supervisor wrote */
	observer_forget_files(worker->observer);
	host_postgres(worker->host, observer_look(worker, clock_now_ms()));
	error_clear(&error);
	foreign_begin(&mask);
	is_driving = host_drive(worker->host, (uint32_t) generation, text, &error);
	foreign_end(&mask);
	if (is_driving)
	{
		worker->lost_baton = false;
		ereport(LOG,
				(errmsg("the worker controls this node, generation %u",
						(uint32_t) generation)));
	}
	else
	{
		uint32_t	returned;

		ereport(WARNING,
				(errmsg("could not take control of this node: %s", error.message)));
		returned = lease_page_take(worker->page, (uint32_t) generation,
								   LEASE_HOLDER_SUPERVISOR);
		if (returned != 0)
			worker_send(worker, json_pack("{s:s,s:I,s:s?,s:b}", "type", "baton",
										  "generation", (json_int_t) returned,
										  "saved", text, "refused", 1));
	}
	free(object_text);
}

/* --- the record of the engine's inputs --- */

/* Record where the setting says, else where the supervisor says, else nowhere. */
static void
follow_trace_settings(Worker *worker)
{
	/* not there when the library in the server is of an older release */
	const char *setting = GetConfigOption("patroni.trace_file", true, false);
	const char *wanted = setting != NULL && setting[0] != '\0' ? setting : worker->trace_wish;
	Error		error;

	if (strcmp(wanted, worker->trace_file) == 0)
		return;
	strlcpy(worker->trace_file, wanted, sizeof(worker->trace_file));
	error_clear(&error);
	if (!host_trace(worker->host, wanted, &error))
		ereport(WARNING,
				(errmsg("%s", error.message),
				 errdetail("The inputs of the HA loop are not recorded.")));
}

/*
 * A record begins with a new engine, hence with a change of control: give it
 * to the supervisor, which gives it back when it sees that all is well.
 */
static void
help_trace_begin(Worker *worker, int64_t now_ms)
{
	if (!host_trace_is_waiting(worker->host) || now_ms < worker->trace_give_at_ms ||
		worker->channel == NULL || !worker->said_hello || !worker_holds_baton(worker))
		return;
	worker->trace_give_at_ms = now_ms + TRACE_GIVE_MS;
	worker_give_baton(worker, "the record of the HA loop's inputs begins with a change of control");
}

/* The supervisor wants the baton, maybe for a goal that the engine must know. */
static void
got_give(Worker *worker, const json_t *message)
{
	const json_t *goal = json_object_get(message, "goal_command");
	const char *kind = json_string_value(json_is_object(goal) ?
										 json_object_get(goal, "kind") : goal);
	const char *reason = json_string_value(json_object_get(message, "reason"));
	HaCommand	command;
	Error		error;

	if (!worker_holds_baton(worker))
		return;
	error_clear(&error);
	if (kind != NULL)
	{
		if (command_from_json(&command, kind, goal, &error) &&
			host_command(worker->host, &command))
		{
			process_host(worker);
			act_run_records(worker);
		}
		else
			ereport(LOG,
					(errmsg("command \"%s\" of the supervisor was not carried out", kind),
					 error.message[0] != '\0' ? errdetail_internal("%s", error.message) : 0));
	}
	worker_give_baton(worker, reason != NULL ? reason : "the supervisor asked for it");
}

/* host_configure() takes the configuration over, or leaves it to us. */
static void
got_config(Worker *worker, const json_t *message)
{
	const json_t *document = json_object_get(message, "local");
	const char *trace = json_string_value(json_object_get(message, "trace"));
	LocalConfig *local = NULL;
	ConfigProblems problems;
	char	   *text = NULL;
	sigset_t	mask;
	bool		is_configured = false;

	strlcpy(worker->trace_wish, trace != NULL ? trace : "", sizeof(worker->trace_wish));
	follow_trace_settings(worker);
	if (json_is_object(document))
		text = json_dumps(document, JSON_COMPACT);
	config_problems_init(&problems);
	if (text != NULL)
	{
		local = local_config_from_json(text);
		explicit_bzero(text, strlen(text));
		free(text);
	}
	if (local != NULL)
	{
		foreign_begin(&mask);
		is_configured = host_configure(worker->host, local, &problems);
		foreign_end(&mask);
	}
	if (!is_configured)
	{
		ereport(WARNING,
				(errmsg("could not use the configuration that the supervisor sent"),
				 problems.n_errors > 0 ?
				 errdetail("%s: %s", problems.items[0].key, problems.items[0].message) : 0));
		local_config_free(local);
	}
	config_problems_free(&problems);
	worker->settings_changed = true;
	forget_wait_set(worker);
}

static void
got_ask(Worker *worker, const json_t *message)
{
	json_t	   *id = json_object_get(message, "id");
	json_t	   *postgres = postgres_to_json(observer_look(worker, clock_now_ms()));

	if (id == NULL || postgres == NULL)
	{
		json_decref(postgres);
		return;
	}
	worker_send(worker, json_pack("{s:s,s:O,s:o,s:I,s:o}", "type", "answer",
								  "id", id, "postgres", postgres,
								  "replayed_at_ms", (json_int_t) observer_replayed_at_ms(),
								  "senders", observer_senders(worker)));
}

/* POST /failsafe came to the supervisor: the engine decides, here if it is here. */
static void
got_failsafe(Worker *worker, const json_t *message)
{
	HaCommand	command;

	peer_failsafe_command(&command, message);
	command.id = (uint64_t) json_integer_value(json_object_get(message, "id"));
	/* a silence is an answer, too */
	if ((command.id & CHANNEL_CALL_BIT) != 0)
		(void) host_command(worker->host, &command);
}

static void
got_message(Worker *worker, void *argument)
{
	const json_t *message = argument;
	const char *type = json_string_value(json_object_get(message, "type"));

	if (type == NULL)
		return;
	if (strcmp(type, "config") == 0)
		got_config(worker, message);
	else if (strcmp(type, "baton") == 0)
		got_baton(worker, message);
	else if (strcmp(type, "give") == 0)
		got_give(worker, message);
	else if (strcmp(type, "ask") == 0)
		got_ask(worker, message);
	else if (strcmp(type, "failsafe") == 0)
		got_failsafe(worker, message);
	else if (strcmp(type, "command") == 0)
		commands_from_supervisor(worker, message);
	else
		ereport(DEBUG1,
				(errmsg_internal("message \"%.30s\" of the supervisor is ignored", type)));
}

static void
read_channel(Worker *worker)
{
	for (int i = 0; i < WORKER_MESSAGES_MAX && worker->channel != NULL &&
		 worker->channel_is_readable; i++)
	{
		bool		is_closed = false;
		json_t	   *message = channel_receive(worker->channel, &is_closed);

		if (message != NULL)
		{
			/* an ERROR comes back here, so that the message is freed */
			(void) worker_guard(worker, got_message, message);
			json_decref(message);
			continue;
		}
		worker->channel_is_readable = false;
		if (is_closed)
		{
			ereport(LOG,
					(errmsg("the supervisor closed the connection"),
					 worker_holds_baton(worker) ?
					 errdetail("The worker goes on controlling this node.") : 0));
			disconnect(worker);
		}
		break;
	}
}

/* --- leaving --- */

/*
 * The postmaster, or somebody, told us to go.  The baton goes first.  Exit
 * code 0 would keep the postmaster from starting us again, so it is used only
 * when the server shuts down.
 */
static void
leave(Worker *worker)
{
	PostmasterFile file;
	int64_t		deadline_ms = clock_now_ms() + LEAVE_FLUSH_MS;
	bool		is_shutdown;

	hand_over(worker);
	while (worker->channel != NULL && channel_wants_write(worker->channel))
	{
		struct pollfd wait = {.fd = channel_fd(worker->channel), .events = POLLOUT};
		int64_t		left_ms = deadline_ms - clock_now_ms();

		if (!channel_flush(worker->channel))
			break;
		if (!channel_wants_write(worker->channel) || left_ms <= 0)
			break;
		(void) poll(&wait, 1, (int) left_ms);
	}
	act_run_records(worker);	/* answers */

	is_shutdown = postmaster_file_read(DataDir, &file) &&
		strcmp(file.status, "stopping") == 0;
	ereport(is_shutdown ? DEBUG1 : LOG,
			(errmsg_internal("patroni worker is leaving")));
	proc_exit(is_shutdown ? 0 : 1);
}

/* --- a turn --- */

static void
publish_snapshot(Worker *worker, int64_t now_ms)
{
	const Settings *settings = host_settings(worker->host);
	uint64_t	number = host_snapshot_number(worker->host);
	/* a little more: the renewal of the lease brings a new one */
	int64_t		at_least_every_ms = SNAPSHOT_EVERY_MS +
		(settings != NULL ? settings->loop_wait_ms : 10000);
	char	   *text;

	if (!worker->has_shared)
		return;
	if (now_ms - worker->snapshot_at_ms <
		(number != worker->snapshot_number ? SNAPSHOT_EVERY_MS : at_least_every_ms))
		return;
	worker->snapshot_at_ms = now_ms;
	text = host_snapshot(worker->host, now_ms);
	if (text == NULL)
		return;
	if (shared_publish_snapshot(text, strlen(text)))
		worker->snapshot_too_long = false;
	else if (!worker->snapshot_too_long)
	{
		worker->snapshot_too_long = true;
		ereport(WARNING,
				(errmsg("could not publish the state of the cluster"),
				 errdetail("It has %zu bytes, the limit is %d.", strlen(text), SNAPSHOT_MAX)));
	}
	worker->snapshot_number = number;
	free(text);
}

static void
heartbeat(Worker *worker)
{
	atomic_store_explicit(&worker->page->worker_heartbeat_ms, clock_now_ms(),
						  memory_order_release);
}

/* Look and listen. */
static void
turn_inputs(Worker *worker, void *argument)
{
	int64_t		now_ms = clock_now_ms();

	(void) argument;
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		observer_forget_settings(worker->observer);
		observer_forget_files(worker->observer);
		follow_trace_settings(worker);
	}
	if (worker->settings_changed)
	{
		worker->settings_changed = false;
		observer_forget_settings(worker->observer);
	}
	connect_if_due(worker, now_ms);
	read_channel(worker);
	help_trace_begin(worker, now_ms);
	observer_turn(worker, now_ms);
	commands_take(worker, now_ms);
}

/* Decide and carry out, as long as one leads to the other. */
static void
turn_engine(Worker *worker, void *argument)
{
	(void) argument;
	for (int i = 0; i < WORKER_ROUNDS_MAX; i++)
	{
		process_host(worker);
		if (!act_run_records(worker))
			break;
		observer_turn(worker, clock_now_ms());
	}
	if (worker->lost_baton)
	{
		/* the next hello tells the supervisor that we know */
		worker->lost_baton = false;
		ereport(LOG,
				(errmsg("the supervisor took control of this node, generation %u",
						lease_page_generation(worker->page))));
		disconnect(worker);
		connect_if_due(worker, clock_now_ms());
	}
}

static void
turn_outputs(Worker *worker, void *argument)
{
	(void) argument;
	publish_snapshot(worker, clock_now_ms());
	if (worker->channel != NULL && channel_wants_write(worker->channel) &&
		!channel_flush(worker->channel))
		disconnect(worker);
}

static void
worker_turn(Worker *worker)
{
	int			n_errors = worker->n_errors_in_a_row;

	heartbeat(worker);
	if (must_leave)
		leave(worker);
	MemoryContextSwitchTo(worker->turn_context);
	(void) worker_guard(worker, turn_inputs, NULL);
	(void) worker_guard(worker, turn_engine, NULL);
	(void) worker_guard(worker, commit_watch_turn, NULL);
	(void) worker_guard(worker, turn_outputs, NULL);
	MemoryContextSwitchTo(worker->context);
	MemoryContextReset(worker->turn_context);

	/* errors without end must not eat a CPU */
	if (worker->n_errors_in_a_row == n_errors)
		worker->n_errors_in_a_row = 0;
	else if (worker->n_errors_in_a_row > ERRORS_BEFORE_PAUSE)
		pg_usleep(10000L * Min(worker->n_errors_in_a_row, 10));
	heartbeat(worker);
}

/* --- the wait --- */

static void
build_wait_set(Worker *worker)
{
	worker->wait_set = COMPAT_WAIT_SET(worker->context, 4);
	AddWaitEventToSet(worker->wait_set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(worker->wait_set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	worker->wait_fd_host = host_fd(worker->host);
	if (worker->wait_fd_host >= 0)
		AddWaitEventToSet(worker->wait_set, WL_SOCKET_READABLE,
						  worker->wait_fd_host, NULL, NULL);
	worker->wait_position_channel = -1;
	if (worker->channel != NULL)
	{
		worker->wait_channel_events = WL_SOCKET_READABLE;
		worker->wait_position_channel =
			AddWaitEventToSet(worker->wait_set, WL_SOCKET_READABLE,
							  channel_fd(worker->channel), NULL, NULL);
	}
}

static int
wait_timeout_ms(const Worker *worker, int64_t now_ms)
{
	int			timeout_ms = Min(WAIT_MAX_MS, observer_timeout_ms(worker, now_ms));
	int			host_ms = host_timeout_ms(worker->host, now_ms);

	timeout_ms = Min(timeout_ms, commit_watch_timeout_ms(worker, now_ms));
	if (host_ms >= 0)
		timeout_ms = Min(timeout_ms, host_ms);
	if (worker->channel == NULL)
		timeout_ms = Min(timeout_ms, (int) Max(0, Min(worker->connect_at_ms - now_ms,
													  CONNECT_DELAY_MAX_MS)));
	if (worker->first_record != NULL || (worker->channel != NULL && worker->channel_is_readable))
		timeout_ms = 0;
	return timeout_ms;
}

static void
worker_wait(Worker *worker, void *argument)
{
	WaitEvent	events[4];
	uint32		channel_events;
	int			n_events;

	(void) argument;
	if (worker->wait_set != NULL && worker->wait_fd_host != host_fd(worker->host))
		forget_wait_set(worker);
	if (worker->wait_set == NULL)
		build_wait_set(worker);
	if (worker->wait_position_channel >= 0)
	{
		channel_events = WL_SOCKET_READABLE |
			(channel_wants_write(worker->channel) ? WL_SOCKET_WRITEABLE : 0);
		if (channel_events != worker->wait_channel_events)
			ModifyWaitEvent(worker->wait_set, worker->wait_position_channel,
							channel_events, NULL);
		worker->wait_channel_events = channel_events;
	}
	n_events = WaitEventSetWait(worker->wait_set, wait_timeout_ms(worker, clock_now_ms()),
								events, lengthof(events), PG_WAIT_EXTENSION);
	for (int i = 0; i < n_events; i++)
	{
		/* when the latch is set the sockets may not have been looked at */
		if (events[i].pos == worker->wait_position_channel ||
			(events[i].events & WL_LATCH_SET) != 0)
			worker->channel_is_readable = true;
	}
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/* --- life --- */

static Worker *
worker_create(LeasePage *page)
{
	Worker	   *worker = MemoryContextAllocZero(TopMemoryContext, sizeof(Worker));
	HostOps		ops = {
		.context = worker,
		.act = act_record,
		.log = act_log_record,
		.settings = settings_changed,
		.lost_baton = baton_was_lost,
		.cycles = cycles_are_steady() ? cycles_now : NULL,
	};
	sigset_t	mask;
	Error		error;
	bool		is_open;

	worker->context = AllocSetContextCreate(TopMemoryContext, "patroni worker",
											ALLOCSET_DEFAULT_SIZES);
	worker->turn_context = AllocSetContextCreate(worker->context, "patroni worker turn",
												 ALLOCSET_DEFAULT_SIZES);
	worker->page = page;
	worker->connect_delay_ms = CONNECT_DELAY_MIN_MS;
	worker->wait_position_channel = -1;
	worker->observer = observer_create();
	worker->commit_watch = commit_watch_create();
	if (worker->observer == NULL || worker->commit_watch == NULL)
		ereport(FATAL,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	error_clear(&error);
	foreign_begin(&mask);
	is_open = host_open(&worker->host, HA_HOME_WORKER, page, &ops, &error);
	foreign_end(&mask);
	if (!is_open)
		ereport(FATAL,
				(errmsg("could not start the HA loop: %s", error.message)));
	return worker;
}

/*
 * The worker's life.  Called by the server as the entry point of a background
 * worker without a database.
 */
void
patroni_worker_main(Datum argument)
{
	LeasePage  *page;
	Worker	   *worker;

	(void) argument;
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, handle_leave);
	pqsignal(SIGPIPE, SIG_IGN);
	BackgroundWorkerUnblockSignals();

	page = patroni_lease_page();
	if (page == NULL)
	{
		ereport(LOG,
				(errmsg("patroni worker is not needed"),
				 errdetail("This server was not started by patroni_supervisor.")));
		proc_exit(0);
	}

	worker = worker_create(page);
	worker->has_shared = shared_attach();
	if (!worker->has_shared)
		ereport(WARNING,
				(errmsg("the library patroni_bgw in this server is of another release"),
				 errdetail("SQL commands and views of schema patroni do not work until then."),
				 errhint("Restart the server.")));

	follow_trace_settings(worker);
	for (;;)
	{
		worker_turn(worker);
		if (!worker_guard(worker, worker_wait, NULL))
			forget_wait_set(worker);
	}
}
