/*-------------------------------------------------------------------------
 *
 * baton.c
 *      Who drives the engine: this program or the worker inside the server.
 *
 * The lease page says who holds the baton and under which generation.  This
 * file decides when it changes hands, and talks to the worker.
 *
 *      page says     and                                   then
 *      NOBODY        -                                     take it
 *      SUPERVISOR    we do not drive                       take it
 *      WORKER        no postmaster, or its socket closed   take it
 *      WORKER        no turn of it for max(ttl/2, 1 s)     take it
 *      SUPERVISOR    the worker said hello, the server     give it
 *                    runs, the engine needs no task
 *
 * Invariants:
 *  (1) We drive only under a generation that we took or were given, and only
 *      while the page shows it (src/node sees to the second).
 *  (2) A worker that lost the baton gets it back only after a new hello, or
 *      after it has given the old one back: then it knows that it had lost it.
 *  (3) Taking the baton never moves the fence.
 *  (4) A worker that refused the baton is not offered it again before there
 *      is something new: a hello, or another configuration.
 *-------------------------------------------------------------------------
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/version.h"
#include "supervisor/log.h"
#include "supervisor/supervisor_internal.h"

static void link_close(Link *link);

static LeaseHolder
page_holder(const Supervisor *supervisor)
{
	return (LeaseHolder) atomic_load_explicit(&supervisor->page->holder, memory_order_acquire);
}

/* ------------------------------------------------------------------------
 * Taking and giving
 * ------------------------------------------------------------------------
 */

/* Drive under a generation that is ours already. */
static void
drive(Supervisor *supervisor, uint32_t generation, const char *saved)
{
	HaPostgres *postgres = malloc(sizeof(HaPostgres));
	Error error;

	error_clear(&error);
	if (postgres != NULL)
	{
		/* the engine shall begin with what is true now */
		observe_server(supervisor, postgres);
		host_postgres(supervisor->host, postgres);
		supervisor->given = *postgres;
		supervisor->has_given = true;
		supervisor->given_at_ms = clock_now_ms();
		free(postgres);
	}
	supervisor->give_deadline_ms = 0;
	supervisor->stale_checks = 0;
	supervisor->worker_drives = false;
	if (host_drive(supervisor->host, generation, saved, &error))
		return;
	log_error(LOG_LEVEL_WARNING, &error);
	if (saved != NULL && host_drive(supervisor->host, generation, NULL, &error))
		return;
	log_error(LOG_LEVEL_ERROR, &error);
}

/*
 * Take the baton from whoever has it.  The engine begins from nothing: what
 * the worker saved last may be long over, and what it needs it sees: the
 * lease in the store, the session in the page, the server in its files.
 * False: somebody was faster.
 */
bool
baton_take(Supervisor *supervisor, const char *because)
{
	uint32_t generation = lease_page_generation(supervisor->page);
	bool was_workers = page_holder(supervisor) == LEASE_HOLDER_WORKER;

	generation = lease_page_take(supervisor->page, generation, LEASE_HOLDER_SUPERVISOR);
	if (generation == 0)
		return false;
	/* else this one knows that it does not have it: another one gave it back before it left */
	if (supervisor->worker != NULL && was_workers)
		supervisor->worker->may_have_baton = false;
	log_write(LOG_LEVEL_LOG, "took control of this node", because, NULL);
	drive(supervisor, generation, NULL);
	return true;
}

/* Give the baton to the worker, who said hello. */
static void
give(Supervisor *supervisor)
{
	char *saved = host_rest(supervisor->host);
	uint32_t generation;

	if (saved == NULL)
		return; /* lost it just now; the check finds out */
	generation =
		lease_page_take(supervisor->page, host_generation(supervisor->host), LEASE_HOLDER_WORKER);
	if (generation == 0)
	{
		free(saved);
		return;
	}
	log_write(LOG_LEVEL_LOG, "gave control of this node to the worker", NULL, NULL);
	supervisor->worker_drives = true;
	baton_send(supervisor, json_pack("{s:s, s:I, s:s}", "type", "baton", "generation",
									 (json_int_t) generation, "saved", saved));
	free(saved);
}

/* Should the worker have the baton now? */
static bool
worker_should_drive(const Supervisor *supervisor)
{
	return host_is_driving(supervisor->host) && supervisor->stop == STOP_NOT &&
		   supervisor->worker != NULL && supervisor->worker->may_have_baton &&
		   task_running(supervisor->tasks) == HA_TASK_NONE &&
		   postmaster_pid(supervisor->postmaster) != 0 &&
		   !ha_wants_supervisor(host_node(supervisor->host));
}

/*
 * Ask the worker to give the baton back, applying the command "shutdown"
 * first.  False: it does not have it or cannot be asked.
 */
bool
baton_ask_back(Supervisor *supervisor, const char *reason)
{
	if (supervisor->worker == NULL || page_holder(supervisor) != LEASE_HOLDER_WORKER)
		return false;
	if (supervisor->give_deadline_ms != 0)
		return true;
	supervisor->give_deadline_ms = clock_now_ms() + GIVE_TIMEOUT_MS;
	return baton_send(supervisor, json_pack("{s:s, s:s, s:s}", "type", "give", "reason", reason,
											"goal_command", "shutdown"));
}

/* ------------------------------------------------------------------------
 * Messages
 * ------------------------------------------------------------------------
 */

static void
link_update_events(Link *link)
{
	if (link->channel != NULL && channel_wants_write(link->channel))
		event_add(link->write_event, NULL);
	else if (link->write_event != NULL)
		event_del(link->write_event);
}

static bool
link_send(Link *link, json_t *message)
{
	if (message == NULL)
		return false;
	if (!channel_send(link->channel, message))
	{
		link_close(link);
		return false;
	}
	link_update_events(link);
	return true;
}

/* Send to the worker, if there is one; the reference is stolen. */
bool
baton_send(Supervisor *supervisor, json_t *message)
{
	if (supervisor->worker == NULL)
	{
		json_decref(message);
		return false;
	}
	return link_send(supervisor->worker, message);
}

/* The worker works with the same local configuration as we do, and records where we do. */
void
baton_send_config(Supervisor *supervisor)
{
	if (supervisor->local_document != NULL)
		baton_send(supervisor,
				   json_pack("{s:s, s:O, s:s}", "type", "config", "local", supervisor->local_document,
							 "trace", supervisor->trace_path));
	if (supervisor->worker != NULL && supervisor->worker->was_refused)
	{
		supervisor->worker->was_refused = false;
		supervisor->worker->may_have_baton = true;
	}
}

static void
got_hello(Link *link, const json_t *message)
{
	Supervisor *supervisor = link->supervisor;
	json_int_t protocol = json_integer_value(json_object_get(message, "protocol"));
	json_int_t generation = json_integer_value(json_object_get(message, "generation"));
	bool has_baton = json_is_true(json_object_get(message, "has_baton"));
	bool is_again = link->said_hello;

	if (protocol != CHANNEL_PROTOCOL)
	{
		log_format(LOG_LEVEL_WARNING, "the worker speaks protocol %lld, this supervisor speaks %d",
				   (long long) protocol, CHANNEL_PROTOCOL);
		link_close(link);
		return;
	}
	if (supervisor->worker != NULL && supervisor->worker != link)
		link_close(supervisor->worker);
	supervisor->worker = link;
	link->said_hello = true;
	link->pid = (pid_t) json_integer_value(json_object_get(message, "pid"));
	atomic_store(&supervisor->page->worker_pid, (int32_t) link->pid);
	if (!is_again)
		log_format(LOG_LEVEL_LOG, "worker with PID %d connected%s", (int) link->pid,
				   has_baton ? ", it controls this node" : "");
	baton_send_config(supervisor);
	if (link->channel == NULL)
		return;

	if (has_baton && page_holder(supervisor) == LEASE_HOLDER_WORKER &&
		(uint32_t) generation == lease_page_generation(supervisor->page))
	{
		link->may_have_baton = true; /* it drives, and goes on */
		supervisor->worker_drives = true;
		return;
	}
	if (page_holder(supervisor) == LEASE_HOLDER_WORKER)
		baton_take(supervisor, "The worker that had control is gone.");
	link->may_have_baton = true; /* it was another worker's: this one is new */
}

static void
got_baton(Link *link, const json_t *message)
{
	Supervisor *supervisor = link->supervisor;
	json_int_t generation = json_integer_value(json_object_get(message, "generation"));
	const json_t *saved = json_object_get(message, "saved");

	/* it stays connected, and may have the baton again when the work is done */
	link->was_refused = json_is_true(json_object_get(message, "refused"));
	link->may_have_baton = !link->was_refused;
	if ((uint32_t) generation != lease_page_generation(supervisor->page) ||
		page_holder(supervisor) != LEASE_HOLDER_SUPERVISOR)
	{
		log_format(LOG_LEVEL_WARNING, "the worker gave back generation %lld, which is not current",
				   (long long) generation);
		return;
	}
	if (link->was_refused)
		log_write(LOG_LEVEL_WARNING, "the worker cannot take control of this node",
				  "The supervisor goes on in its place.", "The server's log says why.");
	else
		log_write(LOG_LEVEL_LOG, "the worker gave control of this node back", NULL, NULL);
	drive(supervisor, (uint32_t) generation, json_string_value(saved));
}

static void
got_callback(Supervisor *supervisor, const json_t *message)
{
	const char *name = json_string_value(json_object_get(message, "name"));
	const char *role = json_string_value(json_object_get(message, "role"));

	if (name != NULL && role != NULL && host_settings(supervisor->host) != NULL)
		callback_run(supervisor->callbacks, host_settings(supervisor->host), name, role);
}

static void
got_message(Link *link, const json_t *message)
{
	Supervisor *supervisor = link->supervisor;
	const char *type = json_string_value(json_object_get(message, "type"));

	if (strcmp(type, "hello") == 0)
		got_hello(link, message);
	else if (link != supervisor->worker)
		log_format(LOG_LEVEL_DEBUG, "message \"%.30s\" before hello is ignored", type);
	else if (strcmp(type, "state") == 0)
		observe_worker_state(supervisor, json_object_get(message, "postgres"));
	else if (strcmp(type, "answer") == 0)
	{
		observe_worker_state(supervisor, json_object_get(message, "postgres"));
		supervisor->replayed_at_ms =
			(int64_t) json_integer_value(json_object_get(message, "replayed_at_ms"));
		json_decref(supervisor->senders);
		supervisor->senders = json_incref(json_object_get(message, "senders"));
		status_answer(supervisor, (uint64_t) json_integer_value(json_object_get(message, "id")));
	}
	else if (strcmp(type, "result") == 0)
		calls_result(supervisor, message);
	else if (strcmp(type, "baton") == 0)
		got_baton(link, message);
	else if (strcmp(type, "callback") == 0)
		got_callback(supervisor, message);
	else if (strcmp(type, "command") == 0 &&
			 strcmp(json_string_value(json_object_get(message, "kind")) ?
					json_string_value(json_object_get(message, "kind")) : "", "reload") == 0)
		supervisor_reload(supervisor);
	else
		log_format(LOG_LEVEL_DEBUG, "unknown message \"%.30s\" from the worker is ignored", type);
}

/* ------------------------------------------------------------------------
 * Connections
 * ------------------------------------------------------------------------
 */

static void
link_close(Link *link)
{
	Supervisor *supervisor = link->supervisor;

	if (link->channel == NULL)
		return;
	event_free(link->read_event);
	event_free(link->write_event);
	channel_close(link->channel);
	link->channel = NULL;
	link->read_event = link->write_event = NULL;
	link->said_hello = link->may_have_baton = link->was_refused = false;
	if (supervisor->worker != link)
		return;
	supervisor->worker = NULL;
	log_format(LOG_LEVEL_LOG, "worker with PID %d disconnected", (int) link->pid);
	status_give_up(supervisor, true);
}

static void
link_readable(evutil_socket_t fd, short what, void *arg)
{
	Link *link = arg;

	(void) fd;
	(void) what;
	while (link->channel != NULL)
	{
		bool is_closed = false;
		json_t *message = channel_receive(link->channel, &is_closed);

		if (message != NULL)
		{
			got_message(link, message);
			json_decref(message);
			continue;
		}
		if (is_closed)
			link_close(link);
		break;
	}
}

static void
link_writable(evutil_socket_t fd, short what, void *arg)
{
	Link *link = arg;

	(void) fd;
	(void) what;
	if (!channel_flush(link->channel))
		link_close(link);
	else
		link_update_events(link);
}

static void
link_open(Supervisor *supervisor, Channel *channel)
{
	for (int i = 0; i < LINKS_MAX; i++)
	{
		Link *link = &supervisor->links[i];

		if (link->channel != NULL)
			continue;
		memset(link, 0, sizeof(*link));
		link->supervisor = supervisor;
		link->read_event = event_new(supervisor->base, channel_fd(channel), EV_READ | EV_PERSIST,
									 link_readable, link);
		link->write_event = event_new(supervisor->base, channel_fd(channel), EV_WRITE | EV_PERSIST,
									  link_writable, link);
		if (link->read_event == NULL || link->write_event == NULL ||
			event_add(link->read_event, NULL) != 0)
		{
			if (link->read_event != NULL)
				event_free(link->read_event);
			if (link->write_event != NULL)
				event_free(link->write_event);
			break;
		}
		link->channel = channel;
		return;
	}
	log_write(LOG_LEVEL_WARNING, "connection of a worker is refused",
			  "There are too many connections already.", NULL);
	channel_close(channel);
}

static void
listen_readable(evutil_socket_t fd, short what, void *arg)
{
	Supervisor *supervisor = arg;
	Channel *channel;
	Error error;

	(void) what;
	channel = channel_accept(fd, &error);
	if (channel != NULL)
		link_open(supervisor, channel);
	else if (error.message[0] != '\0')
		log_error(LOG_LEVEL_WARNING, &error);
}

/* ------------------------------------------------------------------------
 * The loop's side
 * ------------------------------------------------------------------------
 */

/* Is the worker that holds the baton stuck? */
static bool
worker_is_stale(const Supervisor *supervisor)
{
	const Settings *settings = host_settings(supervisor->host);
	int64_t patience_ms = settings == NULL ? 5000 : settings->ttl_ms / 2;
	int64_t last_ms =
		atomic_load_explicit(&supervisor->page->worker_heartbeat_ms, memory_order_acquire);

	if (patience_ms < 1000)
		patience_ms = 1000;
	return clock_now_ms() - last_ms > patience_ms;
}

/* Everything that shows at once; called in each turn of the loop. */
void
baton_turn(Supervisor *supervisor)
{
	if (worker_should_drive(supervisor))
	{
		give(supervisor);
		return;
	}
	if (host_is_driving(supervisor->host) || page_holder(supervisor) != LEASE_HOLDER_WORKER)
		return;
	if (postmaster_pid(supervisor->postmaster) == 0)
		baton_take(supervisor, "The server is not running.");
	else if (supervisor->worker == NULL && supervisor->worker_drives)
		baton_take(supervisor, "The worker is gone.");
}

/*
 * What shows by time alone: a frozen worker, a baton that nobody drives with,
 * a worker that does not give what it was asked for.
 */
void
baton_check(Supervisor *supervisor)
{
	bool is_wrong = false;
	const char *because = "";

	if (!host_is_driving(supervisor->host))
	{
		if (page_holder(supervisor) != LEASE_HOLDER_WORKER)
		{
			is_wrong = true;
			because = "Nobody had it.";
		}
		else if (worker_is_stale(supervisor))
		{
			is_wrong = true;
			because = "The worker has not taken a turn for too long.";
		}
		else if (supervisor->give_deadline_ms != 0 &&
				 clock_now_ms() >= supervisor->give_deadline_ms)
		{
			is_wrong = true;
			because = "The worker did not give it when asked.";
		}
	}
	if (!is_wrong)
		supervisor->stale_checks = 0;
	else if (++supervisor->stale_checks >= 2)
		baton_take(supervisor, because);
}

/*
 * Listen for the worker.  If a server runs and its worker drives, leave it the
 * baton and wait for its hello; else take it.
 */
bool
baton_start(Supervisor *supervisor, Error *error)
{
	if (!channel_listen(supervisor->socket_path, &supervisor->listen_fd, error))
		return error_wrap(error, "could not open the worker's socket");
	supervisor->listen_event = event_new(supervisor->base, supervisor->listen_fd,
										 EV_READ | EV_PERSIST, listen_readable, supervisor);
	if (supervisor->listen_event == NULL || event_add(supervisor->listen_event, NULL) != 0)
		return error_set(error, "could not watch the worker's socket");
	if (postmaster_attach(supervisor->postmaster))
	{
		log_format(LOG_LEVEL_LOG, "the server is running already with PID %d",
				   (int) postmaster_pid(supervisor->postmaster));
		if (!postmaster_has_page(supervisor->postmaster, supervisor->page_fd, supervisor->page_name))
		{
			error_set(error, "the running server is not under this supervisor's lease page");
			error_detail(error, "It was started without patroni_supervisor, or its page was removed: "
						 "nothing would keep it from acknowledging writes beside another leader.");
			error_hint(error, "Stop the server (pg_ctl stop -D \"%s\"), then start patroni_supervisor again.",
					   host_settings(supervisor->host)->data_dir);
			return false;
		}
		if (page_holder(supervisor) == LEASE_HOLDER_WORKER)
			return true;
	}
	if (!baton_take(supervisor, "The supervisor was started."))
		return error_set(error, "could not take control of this node");
	return true;
}

/* Close all connections; the worker goes on by itself. */
void
baton_close(Supervisor *supervisor)
{
	for (int i = 0; i < LINKS_MAX; i++)
		link_close(&supervisor->links[i]);
	if (supervisor->listen_event != NULL)
		event_free(supervisor->listen_event);
	supervisor->listen_event = NULL;
	if (supervisor->listen_fd >= 0)
		close(supervisor->listen_fd);
	supervisor->listen_fd = -1;
}
