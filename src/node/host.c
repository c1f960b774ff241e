/*-------------------------------------------------------------------------
 *
 * host.c
 *      Drives the engine in either home: what the store, the peers and the
 *      server say becomes inputs, what the engine wants becomes actions.
 *
 * Invariants:
 *  (1) Nothing is carried out while the lease page shows another generation.
 *  (2) Every request of the engine to the store ends in one reply, if only
 *      "not sent": the engine never waits for ever.
 *  (3) Every command given to host_command() is answered once.
 *  (4) The engine hears of settings before it sees the cluster they belong to.
 *  (5) Inputs wait in a queue of bounded length and are handled in the order
 *      in which they came; the newest view and server state stand for all
 *      older ones.
 *
 * Actions about the local server belong to the home: ops->act.
 *-------------------------------------------------------------------------
 */
#include "node/host.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/version.h"
#include "node/host_internal.h"

/* A server state older than this is not good enough to start driving from. */
#define POSTGRES_FRESH_MS 1000
/* See host_idle_interval_ms(). */
#define IDLE_INTERVAL_MAX_MS 1000

static void host_step(Host *host, HaInput *input);

/* ------------------------------------------------------------------------
 * Words
 * ------------------------------------------------------------------------
 */

/* Hand a message to the home's log. */
void
host_log(const Host *host, int level, const char *message, const char *detail)
{
	if (host->ops.log != NULL)
		host->ops.log(host->ops.context, level, message, detail, NULL);
}

/* Remember an event for people. */
void
host_event(Host *host, const char *kind, const char *rule, const char *reason)
{
	events_add(&host->events, clock_now_ms(), clock_wall_ms(), kind, rule == NULL ? "" : rule,
	           reason);
	host->snapshot_number++;
}

/* Answer a command that the host itself decides on.  Id 0: nobody waits. */
void
host_answer(Host *host, uint64_t command_id, bool ok, const char *text, const char *detail,
            const char *sqlstate)
{
	HaAction action;

	if (command_id == 0)
		return;
	memset(&action, 0, sizeof(action));
	action.kind = HA_ANSWER;
	action.rule = "host";
	action.command_id = command_id;
	action.ok = ok;
	action.sqlstate = sqlstate;
	host_copy_text(action.because, sizeof(action.because), text);
	host_copy_text(action.detail, sizeof(action.detail), detail);
	action.text = strdup(text);
	host->ops.act(host->ops.context, &action);
	free(action.text);
}

/* ------------------------------------------------------------------------
 * The queue of inputs
 * ------------------------------------------------------------------------
 */

/* How much of an entry is used: most kinds need far less than the largest. */
static size_t
input_size(HostInputKind kind)
{
	static const HostInput *const input;

	switch (kind)
	{
		case HOST_REACHABLE:
			return offsetof(HostInput, reachable) + sizeof(input->reachable);
		case HOST_REPLY:
			return offsetof(HostInput, reply) + sizeof(input->reply);
		case HOST_PEER:
			return offsetof(HostInput, peer) + sizeof(input->peer);
		case HOST_TASK:
			return offsetof(HostInput, task) + sizeof(input->task);
		case HOST_COMMAND:
			return offsetof(HostInput, command) + sizeof(input->command);
		case HOST_SETTINGS:
		case HOST_VIEW:
		case HOST_POSTGRES:
		case HOST_TICK:
		case HOST_PROMISE:
		case HOST_ASK_MEMBERS:
			break;
	}
	return sizeof(input->kind);
}

/* A new entry at the end, zeroed; NULL when the queue is full. */
static HostInput *
queue_push(Host *host, HostInputKind kind)
{
	HostInput *input;

	if (host->queue_count == HOST_QUEUE)
	{
		host_log(host, 2, "too many events wait, one is dropped", NULL);
		return NULL;
	}
	input = &host->queue[(host->queue_first + host->queue_count) % HOST_QUEUE];
	host->queue_count++;
	memset(input, 0, input_size(kind));
	input->kind = kind;
	return input;
}

/* Take the first entry; false: the queue is empty. */
static bool
queue_pop(Host *host, HostInput *input)
{
	const HostInput *first = &host->queue[host->queue_first];

	if (host->queue_count == 0)
		return false;
	memcpy(input, first, input_size(first->kind));
	host->queue_first = (host->queue_first + 1) % HOST_QUEUE;
	host->queue_count--;
	return true;
}

static void
queue_push_once(Host *host, HostInputKind kind, bool *is_queued)
{
	if (!*is_queued && queue_push(host, kind) != NULL)
		*is_queued = true;
}

static void
queue_push_reachable(Host *host, const char *reason)
{
	HostInput *input = queue_push(host, HOST_REACHABLE);

	if (input == NULL)
		return;
	input->reachable.is_reachable = host->is_reachable;
	host_copy_text(input->reachable.reason, sizeof(input->reachable.reason), reason);
}

/* The end of a request that was never sent. */
static void
queue_push_not_sent(Host *host, uint64_t request_id, const char *reason)
{
	HostInput *input = queue_push(host, HOST_REPLY);

	if (input == NULL)
		return;
	input->reply.id = request_id;
	input->reply.outcome = HA_OUTCOME_NOT_SENT;
	input->reply.sent_at_ms = clock_now_ms();
	host_copy_text(input->reply.error, sizeof(input->reply.error), reason);
}

/* Forget what waits, except commands and the fact that the view changed. */
static void
queue_clear(Host *host)
{
	int count = host->queue_count;

	for (int i = 0; i < count; i++)
	{
		HostInput input;
		HostInput *again;

		if (!queue_pop(host, &input))
			break;
		if (input.kind != HOST_COMMAND && input.kind != HOST_VIEW)
			continue;
		again = queue_push(host, input.kind);
		if (again != NULL)
			memcpy(again, &input, input_size(input.kind));
	}
	host->postgres_is_queued = false;
	host->tick_is_queued = false;
	host->ask_members_is_queued = false;
}

/* ------------------------------------------------------------------------
 * Commands
 * ------------------------------------------------------------------------
 */

static bool
command_remember(Host *host, uint64_t id)
{
	if (id == 0)
		return true;
	if (host->n_commands == (int) (sizeof(host->commands) / sizeof(host->commands[0])))
		return false;
	host->commands[host->n_commands++] = id;
	return true;
}

static void
command_forget(Host *host, uint64_t id)
{
	for (int i = 0; i < host->n_commands; i++)
	{
		if (host->commands[i] == id)
		{
			host->commands[i] = host->commands[--host->n_commands];
			return;
		}
	}
}

/* Answer all that wait, because this home stops driving. */
static void
commands_give_up(Host *host, const char *reason)
{
	int count = host->queue_count;

	/* Those that the engine has not seen leave the queue as well. */
	for (int i = 0; i < count; i++)
	{
		HostInput input;
		HostInput *again;

		if (!queue_pop(host, &input))
			break;
		if (input.kind == HOST_COMMAND)
			continue;
		again = queue_push(host, input.kind);
		if (again != NULL)
			memcpy(again, &input, input_size(input.kind));
	}
	while (host->n_commands > 0)
	{
		uint64_t id = host->commands[--host->n_commands];

		host_answer(host, id, false, reason,
		            "The command may still be carried out; look at the state of the cluster.",
		            "57P03");
	}
	edit_give_up(host, reason);
	put_give_up(host, reason);
}

/* ------------------------------------------------------------------------
 * The record of what the engine is told
 * ------------------------------------------------------------------------
 */

/* Nothing more is recorded; HA goes on. */
static void
trace_failed(Host *host, const Error *error)
{
	host_log(host, 2, error->message, "The HA loop goes on, its inputs are not recorded any more.");
	trace_close(host->trace);
	host->trace = NULL;
}

static void
begin_trace(Host *host)
{
	char text[1100];
	Error error;

	error_clear(&error);
	snprintf(text, sizeof(text), "recording the inputs of the HA loop in \"%s\"",
	         trace_path(host->trace));
	host_log(host, 1, text, NULL);
	if (!trace_begin(host->trace, clock_now_ms(), clock_wall_ms(), &error))
		trace_failed(host, &error);
}

/* A step of the engine, into the record if there is one. */
static void
step_engine(Host *host, const HaInput *input, HaActions *actions)
{
	uint64_t cycles = host->ops.cycles != NULL ? host->ops.cycles() : 0;
	int64_t now_ms = clock_now_ms();
	Error error;

	/* before anything is asked that a lease is counted from */
	if (cycles != 0)
		cycle_clock_add(&host->cycles, now_ms * 1000, cycles);
	ha_step(host->node, now_ms, input, actions);
	host->has_stepped = true;
	if (host->trace == NULL || !trace_has_begun(host->trace))
		return;
	error_clear(&error);
	if (!trace_step(host->trace, now_ms, input, host->dcs, host->node, actions, &error))
		trace_failed(host, &error);
}

/* Give the engine what the other home saved; false: it could not use it. */
static bool
load_engine(Host *host, const char *saved, int64_t now_ms)
{
	HaNode *fresh;
	Error error;
	bool is_usable;

	if (host_trace_is_waiting(host))
	{
		fresh = ha_node_create(host->home);
		if (fresh != NULL)
		{
			ha_node_free(host->node);
			host->node = fresh;
			begin_trace(host);
		}
	}
	is_usable = ha_node_load(host->node, saved, now_ms);
	host->has_stepped = true;
	if (host->trace == NULL || !trace_has_begun(host->trace))
		return is_usable;
	error_clear(&error);
	if (!trace_load(host->trace, now_ms, clock_wall_ms(), saved, is_usable, &error))
		trace_failed(host, &error);
	return is_usable;
}

/* Begin to record, or stop; see host.h.  False: the file cannot be opened. */
bool
host_trace(Host *host, const char *path, Error *error)
{
	if (host->trace != NULL)
	{
		trace_close(host->trace);
		host->trace = NULL;
		host_log(host, 1, "the inputs of the HA loop are not recorded any more", NULL);
	}
	if (path == NULL || path[0] == '\0')
		return true;
	if (!trace_open(&host->trace, path, host->home, TRACE_LIMIT, error))
		return false;
	if (!host->has_stepped)
		begin_trace(host);
	return true;
}

/* Is a record wanted, and waits for host_drive()? */
bool
host_trace_is_waiting(const Host *host)
{
	return host->trace != NULL && !trace_has_begun(host->trace);
}

/* ------------------------------------------------------------------------
 * The baton
 * ------------------------------------------------------------------------
 */

/* Stop driving without a word to the engine. */
static void
stop_driving(Host *host, const char *reason)
{
	host->is_driving = false;
	host->wake_at_ms = INT64_MAX;
	if (host->dcs != NULL)
		dcs_forget_all(host->dcs);
	host->ask_id = 0;
	peers_forget_all(host->peers);
	queue_clear(host);
	commands_give_up(host, reason);
}

/*
 * Somebody took the baton from us.  The engine is told, so that a later turn
 * of ours starts clean; of what it wants then only words are listened to.
 */
static void
lose_baton(Host *host)
{
	HaInput input;
	HaActions actions;

	if (!host->is_driving)
		return;
	host->is_driving = false;
	host_log(host, 2, "the other home took control of this node", NULL);
	host_event(host, "baton", "lost-baton", "the other home took control of this node");

	memset(&input, 0, sizeof(input));
	input.kind = HA_INPUT_FENCE_LOST;
	input.wall_ms = clock_wall_ms();
	ha_actions_init(&actions);
	step_engine(host, &input, &actions);
	for (int i = 0; i < actions.count; i++)
	{
		if (actions.items[i].kind != HA_ANSWER)
			continue;
		command_forget(host, actions.items[i].command_id);
		host->ops.act(host->ops.context, &actions.items[i]);
	}
	ha_actions_free(&actions);
	stop_driving(host, "control of the node changed hands before the command was done");
	if (host->ops.lost_baton != NULL)
		host->ops.lost_baton(host->ops.context);
}

/* May we act?  Looked at before each action. */
static bool
holds_baton(Host *host)
{
	if (!host->is_driving)
		return false;
	if (lease_page_generation(host->page) == host->generation)
		return true;
	lose_baton(host);
	return false;
}

/*
 * Keep the store's session in the page, so that whoever drives next goes on
 * with the same lease, also if we die.
 */
static void
save_session(Host *host)
{
	char session[LEASE_SESSION_MAX];
	const char *current = dcs_session(host->dcs);

	lease_page_get_session(host->page, session);
	if (strncmp(session, current, sizeof(session)) != 0 && holds_baton(host))
		lease_page_set_session(host->page, current);
}

/*
 * This home drives from now on, under "generation", going on from what the
 * other home saved (NULL: from nothing).
 */
bool
host_drive(Host *host, uint32_t generation, const char *saved, Error *error)
{
	char session[LEASE_SESSION_MAX];
	char left[64];
	int64_t left_us = lease_page_deadline_us(host->page);
	int64_t now_ms = clock_now_ms();
	bool has_fresh_postgres =
	    host->has_postgres && now_ms - host->postgres_at_ms <= POSTGRES_FRESH_MS;

	if (host->local == NULL)
		return error_set(error, "cannot drive the node without a configuration");
	if (lease_page_generation(host->page) != generation)
		return error_set(error, "the baton of generation %u is not current any more", generation);
	/* of a home that died nothing is known but how it left the fence */
	if (saved == NULL && left_us == LEASE_NEVER_US)
		saved = "{\"protocol\":1,\"fence_is_never\":true}";
	else if (saved == NULL && left_us > now_ms * 1000)
	{
		snprintf(left, sizeof(left), "{\"protocol\":1,\"left_fence_ms\":%lld}", (long long) (left_us / 1000));
		saved = left;
	}
	if (!load_engine(host, saved, now_ms))
		return error_set(error, "could not read the state that the other home saved");

	if (host->is_driving)
		stop_driving(host, "control of the node changed hands before the command was done");
	lease_page_get_session(host->page, session);
	if (strcmp(session, dcs_session(host->dcs)) != 0)
		dcs_set_session(host->dcs, session);

	host->generation = generation;
	host->is_driving = true;
	host->wake_at_ms = INT64_MAX;
	host->last_tick_ms = now_ms;

	/* What waited before comes after what the engine has to know first. */
	queue_clear(host);
	queue_push(host, HOST_PROMISE);
	queue_push(host, HOST_SETTINGS);
	if (has_fresh_postgres)
		queue_push_once(host, HOST_POSTGRES, &host->postgres_is_queued);
	if (dcs_view(host->dcs) != NULL)
		queue_push_once(host, HOST_VIEW, &host->view_is_queued);
	if (host->has_been_told)
		queue_push_reachable(host, "the store was not reachable when control was taken over");
	queue_push_once(host, HOST_TICK, &host->tick_is_queued);
	host_event(host, "baton", "drive",
	           host->home == HA_HOME_WORKER ? "the worker controls this node"
	                                        : "the supervisor controls this node");
	return true;
}

/*
 * Stop driving, to hand over.  Returns what the other home must know
 * (malloc'ed), or NULL when this home was not driving.
 */
char *
host_rest(Host *host)
{
	char *saved;

	if (!holds_baton(host))
		return NULL;
	saved = ha_node_save(host->node);
	if (saved == NULL)
		saved = strdup("{}");
	stop_driving(host, "control of the node changed hands before the command was done");
	host_event(host, "baton", "rest",
	           host->home == HA_HOME_WORKER ? "the worker gave control back"
	                                        : "the supervisor gave control to the worker");
	return saved;
}

/* Does this home drive? */
bool
host_is_driving(const Host *host)
{
	return host->is_driving;
}

/* The generation under which it drives or drove last. */
uint32_t
host_generation(const Host *host)
{
	return host->generation;
}

/* ------------------------------------------------------------------------
 * Settings
 * ------------------------------------------------------------------------
 */

/* A list of slots as text.  One that is too long names none, or all. */
static void
slots_to_text(Host *host, const char *key, const char *otherwise, char text[HA_SLOTS_TEXT_MAX])
{
	const json_t *value = json_object_get(host->settings.document, key);
	char *dump = value == NULL ? NULL : json_dumps(value, JSON_COMPACT);

	if (dump != NULL && strlen(dump) < HA_SLOTS_TEXT_MAX)
		host_copy_text(text, HA_SLOTS_TEXT_MAX, dump);
	else if (value != NULL)
	{
		host_log(host, 2, "the list of slots in the dynamic configuration is too long", key);
		host_copy_text(text, HA_SLOTS_TEXT_MAX, otherwise);
	}
	free(dump);
}

/* What cannot be read must not make slots go: then all are left alone. */
static void
slots_to_ha(Host *host, HaSettings *ha)
{
	slots_to_text(host, "ignore_slots", "[{}]", ha->ignore_slots);
	slots_to_text(host, "slots", "{}", ha->permanent_slots);
	if (json_object_size(json_object_get(host->settings.document, "slots")) > 0 &&
	    strcmp(ha->permanent_slots, "{}") == 0)
		host_copy_text(ha->ignore_slots, sizeof(ha->ignore_slots), "[{}]");
}

static void
settings_to_ha(Host *host)
{
	const Settings *settings = &host->settings;
	HaSettings *ha = &host->ha_settings;
	/* what is in force, if the key should be lost later */
	char *initial = host->dynamic != NULL ? strdup(host->dynamic)
	                                      : settings_initial_dynamic(host->local);

	memset(ha, 0, sizeof(*ha));
	host_copy_text(ha->name, sizeof(ha->name), settings->name);
	host_copy_text(ha->scope, sizeof(ha->scope), settings->scope);
	host_copy_text(ha->conn_url, sizeof(ha->conn_url), settings->conn_url);
	host_copy_text(ha->api_url, sizeof(ha->api_url), settings->api_url);
	host_copy_text(ha->proxy_url, sizeof(ha->proxy_url), settings->proxy_url);
	host_copy_text(ha->agent_version, sizeof(ha->agent_version), PATRONI_PROTOCOL_VERSION);
	ha->ttl_ms = settings->ttl_ms;
	ha->loop_wait_ms = settings->loop_wait_ms;
	ha->retry_timeout_ms = settings->retry_timeout_ms;
	ha->peer_timeout_ms = HOST_PEER_TIMEOUT;
	ha->is_paused = settings->is_paused;
	ha->failsafe_mode = settings->failsafe_mode;
	ha->maximum_lag_on_failover = settings->maximum_lag_on_failover;
	ha->primary_start_timeout_ms = settings->primary_start_timeout_ms;
	ha->primary_stop_timeout_ms = settings->primary_stop_timeout_ms;
	ha->max_timelines_history = settings->max_timelines_history;
	ha->sync_mode = settings->synchronous_mode == SYNC_MODE_QUORUM ? SYNC_PLAN_QUORUM
	                : settings->synchronous_mode == SYNC_MODE_ON   ? SYNC_PLAN_ON
	                                                               : SYNC_PLAN_OFF;
	ha->sync_is_strict = settings->synchronous_mode_strict;
	ha->sync_node_count = settings->synchronous_node_count;
	ha->maximum_lag_on_syncnode = settings->maximum_lag_on_syncnode;
	ha->use_slots = settings->use_slots;
	ha->member_slots_ttl_ms = settings->member_slots_ttl_ms;
	slots_to_ha(host, ha);
	ha->use_pg_rewind = settings->use_pg_rewind;
	ha->remove_data_directory_on_rewind_failure = settings->remove_data_directory_on_rewind_failure;
	ha->remove_data_directory_on_diverged_timelines =
	    settings->remove_data_directory_on_diverged_timelines;
	ha->may_bootstrap = settings->may_bootstrap;
	ha->tags = settings->tags;
	/* A JSON text that is cut is no JSON: rather none than half of one. */
	if (settings->tags_json != NULL && strlen(settings->tags_json) < sizeof(ha->tags_json))
		host_copy_text(ha->tags_json, sizeof(ha->tags_json), settings->tags_json);
	else if (settings->tags_json != NULL)
		host_log(host, 2, "tags are too long to be published", NULL);
	if (initial != NULL && strlen(initial) < sizeof(ha->initial_config))
		host_copy_text(ha->initial_config, sizeof(ha->initial_config), initial);
	else if (initial != NULL)
		host_log(host, 2, "the dynamic configuration is too long to be written to the store", NULL);
	free(initial);
}

static void
settings_to_dcs(const Settings *settings, HostDcsConfig *dcs)
{
	DcsConfig *config = &dcs->config;

	memset(dcs, 0, sizeof(*dcs));
	host_copy_text(config->driver, sizeof(config->driver), settings->dcs_driver);
	host_copy_text(config->base, sizeof(config->base), settings->base);
	host_copy_text(config->protocol, sizeof(config->protocol), settings->dcs_protocol);
	host_copy_text(config->username, sizeof(config->username), settings->dcs_username);
	host_copy_text(config->password, sizeof(config->password), settings->dcs_password);
	host_copy_text(config->cacert, sizeof(config->cacert), settings->dcs_cacert);
	host_copy_text(config->cert, sizeof(config->cert), settings->dcs_cert);
	host_copy_text(config->key, sizeof(config->key), settings->dcs_key);
	host_copy_text(config->proxy, sizeof(config->proxy), settings->dcs_proxy);
	config->use_proxies = settings->dcs_use_proxies;
	config->ttl_ms = settings->ttl_ms;
	config->loop_wait_ms = settings->loop_wait_ms;
	config->retry_timeout_ms = settings->retry_timeout_ms;
	config->n_hosts = settings->n_dcs_hosts;
	for (int i = 0; i < config->n_hosts; i++)
		host_copy_text(dcs->hosts[i], sizeof(dcs->hosts[i]), settings->dcs_hosts[i]);
}

static void
view_changed(void *context, const ClusterView *view)
{
	Host *host = context;

	(void) view; /* taken from dcs_view() when its turn comes */
	queue_push_once(host, HOST_VIEW, &host->view_is_queued);
	host->snapshot_number++;
}

static HaOutcome
outcome_from_dcs(DcsOutcome outcome)
{
	switch (outcome)
	{
		case DCS_DONE:
			return HA_OUTCOME_DONE;
		case DCS_LOST_RACE:
			return HA_OUTCOME_LOST_RACE;
		case DCS_NOT_SENT:
			return HA_OUTCOME_NOT_SENT;
		case DCS_UNKNOWN:
			break;
	}
	return HA_OUTCOME_UNKNOWN;
}

static void
reply_came(void *context, const DcsReply *reply)
{
	Host *host = context;
	HostInput *input;

	if ((reply->outcome == DCS_DONE || reply->outcome == DCS_LOST_RACE) &&
	    reply->sent_at_ms > host->answered_ms)
		host->answered_ms = reply->sent_at_ms;
	if ((reply->id & HOST_REQUEST_BIT) != 0)
	{
		if (reply->id == host->ask_id)
			host->ask_id = 0;
		edit_reply(host, reply);
		put_reply(host, reply);
		return;
	}
	if (!holds_baton(host))
		return;
	if (reply->outcome == DCS_DONE || reply->session_lost)
		save_session(host);
	input = queue_push(host, HOST_REPLY);
	if (input == NULL)
		return;
	input->reply.id = reply->id;
	input->reply.outcome = outcome_from_dcs(reply->outcome);
	input->reply.session_lost = reply->session_lost;
	input->reply.sent_at_ms = reply->sent_at_ms;
	input->reply.version = reply->version;
	if (reply->outcome == DCS_NOT_SENT || reply->outcome == DCS_UNKNOWN)
		host_copy_text(input->reply.error, sizeof(input->reply.error), reply->error.message);
}

static void
reachable_changed(void *context, bool is_reachable, const Error *error)
{
	Host *host = context;
	const char *reason = error == NULL ? "" : error->message;
	char text[HA_REASON_MAX];

	host->is_reachable = is_reachable;
	host->has_been_told = true;
	if (is_reachable)
		host_copy_text(text, sizeof(text), "the store can be reached");
	else
		snprintf(text, sizeof(text), "the store cannot be reached: %.200s", reason);
	host_log(host, is_reachable ? 1 : 2, text, NULL);
	host_event(host, "store", is_reachable ? "store-reachable" : "store-unreachable", text);
	queue_push_reachable(host, reason);
}

static void
dcs_logged(void *context, int level, const Error *message)
{
	Host *host = context;

	if (host->ops.log != NULL)
		host->ops.log(host->ops.context, level, message->message,
		              message->detail[0] != '\0' ? message->detail : NULL,
		              message->hint[0] != '\0' ? message->hint : NULL);
}

static bool
watch_fd(Host *host, int fd, Error *error)
{
	struct epoll_event event;

	memset(&event, 0, sizeof(event));
	event.events = EPOLLIN;
	event.data.fd = fd;
	if (epoll_ctl(host->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
		return error_set(error, "could not watch a descriptor: %s", strerror(errno));
	return true;
}

/* Open the store, or tell it what changed.  On false it goes on as before. */
static bool
configure_dcs(Host *host, const Settings *settings, Error *error)
{
	HostDcsConfig wanted;
	DcsConfig config;
	DcsCallbacks callbacks;
	const char *hosts[SETTINGS_HOSTS_MAX];
	int old_fd;

	settings_to_dcs(settings, &wanted);
	if (host->dcs != NULL && memcmp(&wanted, &host->dcs_config, sizeof(wanted)) == 0)
		return true;
	for (int i = 0; i < wanted.config.n_hosts; i++)
		hosts[i] = wanted.hosts[i];
	config = wanted.config;
	config.hosts = hosts;

	if (host->dcs == NULL)
	{
		memset(&callbacks, 0, sizeof(callbacks));
		callbacks.context = host;
		callbacks.view = view_changed;
		callbacks.reply = reply_came;
		callbacks.reachable = reachable_changed;
		callbacks.log = dcs_logged;
		if (!dcs_open(&host->dcs, &config, &callbacks, error))
		{
			host->dcs = NULL;
			return error_wrap(error, "could not open the store");
		}
		if (!watch_fd(host, dcs_fd(host->dcs), error))
		{
			dcs_close(host->dcs);
			host->dcs = NULL;
			return false;
		}
	}
	else
	{
		old_fd = dcs_fd(host->dcs);
		if (!dcs_reconfigure(host->dcs, &config, error))
			return error_wrap(error, "could not change the settings of the store");
		if (dcs_fd(host->dcs) != old_fd)
		{
			(void) epoll_ctl(host->epoll_fd, EPOLL_CTL_DEL, old_fd, NULL);
			if (!watch_fd(host, dcs_fd(host->dcs), error))
				return false;
		}
	}
	host->dcs_config = wanted;
	return true;
}

/* Settings that were merged without error come into force; takes *fresh over. */
static void
adopt_settings(Host *host, Settings *fresh)
{
	settings_free(&host->settings);
	host->settings = *fresh;
	settings_to_ha(host);
	peers_configure(host->peers, &host->settings);
	host->snapshot_number++;
	if (host->ops.settings != NULL)
		host->ops.settings(host->ops.context, &host->settings);
}

static void
add_problem(ConfigProblems *problems, const char *key, const char *message)
{
	ConfigProblem *larger =
	    realloc(problems->items, sizeof(ConfigProblem) * (size_t) (problems->count + 64));
	ConfigProblem *problem;

	problems->n_errors++;
	if (larger == NULL)
		return;
	problems->items = larger;
	problem = &problems->items[problems->count++];
	memset(problem, 0, sizeof(*problem));
	problem->is_error = true;
	host_copy_text(problem->key, sizeof(problem->key), key);
	host_copy_text(problem->message, sizeof(problem->message), message);
}

/* What cannot change while the node lives. */
static bool
check_identity(const Host *host, const Settings *fresh, ConfigProblems *problems)
{
	if (host->local == NULL)
		return true;
	if (strcmp(host->settings.name, fresh->name) != 0)
	{
		add_problem(problems, "name",
		            "the member's name cannot be changed without a restart of the supervisor");
		return false;
	}
	if (strcmp(host->settings.base, fresh->base) != 0)
	{
		add_problem(problems, "scope",
		            "scope and namespace cannot be changed without a restart of the supervisor");
		return false;
	}
	return true;
}

/*
 * Merge with the dynamic configuration of the store; before it was ever seen
 * with bootstrap.dcs, as what creates a cluster starts its server with it
 * (patroni/__main__.py, load_dynamic_configuration()).
 */
static bool
merge_local(const Host *host, const LocalConfig *local, Settings *fresh, ConfigProblems *problems)
{
	char *initial = host->dynamic == NULL ? settings_initial_dynamic(local) : NULL;
	bool ok = settings_merge(fresh, local, host->dynamic == NULL ? initial : host->dynamic, problems);

	free(initial);
	return ok;
}

/*
 * New local configuration, which the host takes over.  On false nothing has
 * changed, and the caller keeps it.
 */
bool
host_configure(Host *host, LocalConfig *local, ConfigProblems *problems)
{
	Settings fresh;
	Error error;

	error_clear(&error);
	settings_init(&fresh);
	if (!merge_local(host, local, &fresh, problems) ||
	    !check_identity(host, &fresh, problems))
	{
		settings_free(&fresh);
		return false;
	}
	if (!configure_dcs(host, &fresh, &error))
	{
		add_problem(problems, fresh.dcs_driver, error.message);
		settings_free(&fresh);
		return false;
	}
	if (host->local != NULL && host->local != local)
		local_config_free(host->local);
	host->local = local;
	host->refused_version = 0; /* may fit now */
	adopt_settings(host, &fresh);
	if (host->is_driving)
		queue_push(host, HOST_SETTINGS);
	if (dcs_view(host->dcs) != NULL)
		queue_push_once(host, HOST_VIEW, &host->view_is_queued);
	return true;
}

/* The settings in force; NULL before the first. */
const Settings *
host_settings(const Host *host)
{
	return host->local == NULL ? NULL : &host->settings;
}

bool
host_refuses_dynamic(const Host *host)
{
	const ClusterView *view = dcs_view(host->dcs);

	return view != NULL && host->refused_version != 0 &&
	       host->refused_version == view->config_version;
}

static void
refuse_dynamic(Host *host, const ClusterView *view, const ConfigProblems *problems)
{
	char detail[700];
	const ConfigProblem *first = NULL;

	for (int i = 0; i < problems->count && first == NULL; i++)
	{
		if (problems->items[i].is_error)
			first = &problems->items[i];
	}
	snprintf(detail, sizeof(detail), "%s%s%s", first == NULL ? "" : first->key,
	         first == NULL ? "" : ": ", first == NULL ? "" : first->message);
	host_log(host, 2, "the dynamic configuration cannot be used, the old one stays in force",
	         detail);
	host_event(host, "store", "bad-configuration",
	           "the dynamic configuration cannot be used, the old one stays in force");
	host->refused_version = view->config_version;
}

/*
 * Has the dynamic configuration changed?  Then merge and adopt it.  A missing
 * key changes nothing, as in Patroni, nor does one that cannot be used.
 * Returns true when there are new settings.
 */
static bool
apply_dynamic(Host *host, const ClusterView *view)
{
	ConfigProblems problems;
	Settings fresh;
	Error error;
	bool is_adopted = false;

	if (host->local == NULL || view->config_json == NULL)
		return false;
	if (view->config_version == host->refused_version && host->refused_version != 0)
		return false;
	if (host->dynamic != NULL && strcmp(host->dynamic, view->config_json) == 0)
		return false;

	error_clear(&error);
	config_problems_init(&problems);
	settings_init(&fresh);
	if (!settings_merge(&fresh, host->local, view->config_json, &problems))
	{
		refuse_dynamic(host, view, &problems);
		settings_free(&fresh);
	}
	else
	{
		char *dynamic = strdup(view->config_json);

		if (!configure_dcs(host, &fresh, &error))
			host_log(host, 2, error.message, error.detail);
		if (dynamic != NULL)
		{
			free(host->dynamic);
			host->dynamic = dynamic;
		}
		host->refused_version = 0;
		adopt_settings(host, &fresh);
		is_adopted = true;
	}
	config_problems_free(&problems);
	return is_adopted;
}

/* ------------------------------------------------------------------------
 * Actions
 * ------------------------------------------------------------------------
 */

static void
submit_request(Host *host, const HaAction *action, DcsOperation operation, const char *key,
               const char *value)
{
	DcsRequest request;
	Error error;

	memset(&request, 0, sizeof(request));
	error_clear(&error);
	request.id = action->request_id;
	request.operation = operation;
	request.key = key;
	request.value = value;
	if (operation == DCS_ACQUIRE_LEADER)
		request.promotions = action->text;
	request.version = action->version;
	request.history_version = action->history_version;
	request.failsafe_version = action->failsafe_version;
	request.leader_version = action->leader_version;
	request.timeout_ms = action->timeout_ms;
	if (!dcs_submit(host->dcs, &request, &error))
	{
		host_log(host, 2, "could not send a request to the store", error.message);
		queue_push_not_sent(host, action->request_id, error.message);
	}
}

static void
act_on_store(Host *host, const HaAction *action)
{
	const char *name = host->settings.name;

	switch (action->kind)
	{
		case HA_RENEW:
			submit_request(host, action, DCS_RENEW, action->value[0] == '\0' ? NULL : "leader",
			               action->value[0] == '\0' ? NULL : action->value);
			break;
		case HA_ACQUIRE:
			submit_request(host, action, DCS_ACQUIRE_LEADER, "leader", action->value);
			break;
		case HA_RELEASE:
			submit_request(host, action, DCS_RELEASE_LEADER, "leader", action->value);
			break;
		case HA_PUT_MEMBER:
			submit_request(host, action, DCS_PUT_MEMBER, name, action->text);
			break;
		case HA_DELETE_MEMBER:
			submit_request(host, action, DCS_DELETE_MEMBER, name, NULL);
			break;
		case HA_CREATE_KEY:
			submit_request(host, action, DCS_CREATE, action->key, action->text);
			break;
		case HA_PUT_KEY:
			submit_request(host, action, DCS_PUT, action->key, action->text);
			break;
		case HA_DELETE_KEY:
			submit_request(host, action, DCS_DELETE, action->key, NULL);
			break;
		default:
			break;
	}
}

/* A member that could not be asked is silent. */
static void
peer_is_silent(Host *host, const HaAction *action, bool is_vote)
{
	HostInput *input = queue_push(host, HOST_PEER);

	if (input == NULL)
		return;
	host_copy_text(input->peer.name, sizeof(input->peer.name), action->member);
	input->peer.round = action->round;
	input->peer.is_vote = is_vote;
	if (is_vote)
		return;
	input->peer.can_lead = true;
	input->peer.state = MEMBER_STATE_UNKNOWN;
}

/* Ask a member whether we may go on leading without the store. */
static void
ask_consent(Host *host, const HaAction *action)
{
	if (!peers_ask_consent(host->peers, action->member, action->url, action->text, action->round,
	                       action->timeout_ms))
		peer_is_silent(host, action, true);
}

/* A promise is kept before it is answered: lose_baton() ends the step. */
static void
keep_promise(Host *host, const HaAction *action)
{
	if (action->ok)
		atomic_store(&host->page->made_ms, 0);
	else if (!lease_page_promise(host->page, host->generation, action->deadline_ms))
		lose_baton(host);
}

static void
ask_peer(Host *host, const HaAction *action)
{
	if (!peers_ask(host->peers, action->member, action->url, action->round,
	               action->timeout_ms > 0 ? action->timeout_ms : HOST_PEER_TIMEOUT))
		peer_is_silent(host, action, false);
}

/* Move the fence.  Only its opening and closing are news. */
static void
set_fence(Host *host, const HaAction *action)
{
	int64_t deadline_us = action->deadline_ms == HA_DEADLINE_NEVER ? LEASE_NEVER_US
	                      : action->deadline_ms <= 0               ? LEASE_CLOSED_US
	                                                               : action->deadline_ms * 1000;
	uint64_t cycles = 0;
	bool was_open = lease_page_is_open(host->page);
	bool is_open;

	if (deadline_us != LEASE_NEVER_US && deadline_us != LEASE_CLOSED_US)
		cycles = cycle_clock_at(&host->cycles,
		                        ha_deadline_asked_ms(host->node, action->deadline_ms) * 1000,
		                        deadline_us);
	if (!lease_page_set_deadline(host->page, host->generation, deadline_us, cycles))
	{
		lose_baton(host);
		return;
	}
	is_open = lease_page_is_open(host->page);
	if (is_open != was_open)
	{
		char text[HA_REASON_MAX + 32];

		snprintf(text, sizeof(text), "%s%s%s",
		         is_open ? "writes are allowed" : "writes are refused",
		         action->because[0] != '\0' ? ": " : "", action->because);
		host_event(host, "action", is_open ? "fence-open" : "fence-closed", text);
	}
}

static void
log_decision(Host *host, const HaAction *action)
{
	char detail[HA_TEXT_MAX + 128];

	snprintf(detail, sizeof(detail), "Rule \"%s\".%s%s", action->rule == NULL ? "" : action->rule,
	         action->detail[0] != '\0' ? " " : "", action->detail);
	if (host->ops.log != NULL)
		host->ops.log(host->ops.context, action->level, action->because, detail,
		              action->hint[0] != '\0' ? action->hint : NULL);
	if (action->level > 0)
		host_event(host, "decision", action->rule, action->because);
}

/* The event of an action that matters to people; false: it does not. */
static bool
describe_action(const HaAction *action, char *text, size_t size)
{
	switch (action->kind)
	{
		case HA_ACQUIRE:
			snprintf(text, size, "try to take the leader lease");
			break;
		case HA_RELEASE:
			snprintf(text, size, "release the leader lease");
			break;
		case HA_YIELD:
			snprintf(text, size, "give control to the supervisor");
			break;
		case HA_PROMOTE:
			snprintf(text, size, "promote");
			break;
		case HA_PLACE_HISTORY:
			snprintf(text, size, "mark timeline %u as taken", action->timeline);
			break;
		case HA_FOLLOW:
			snprintf(text, size, action->url[0] == '\0' ? "follow nobody" : "follow \"%.120s\"",
			         action->member);
			break;
		case HA_CREATE_SLOT:
			snprintf(text, size, "create replication slot \"%s\"", action->slot);
			break;
		case HA_DROP_SLOT:
			snprintf(text, size, "drop replication slot \"%s\"", action->slot);
			break;
		case HA_RESUME_REPLAY:
			snprintf(text, size, "resume WAL replay");
			break;
		case HA_SET_SYNC_NAMES:
			if (action->text == NULL)
				snprintf(text, size, "let the configured synchronous_standby_names hold again");
			else
				snprintf(text, size, "set synchronous_standby_names to \"%.150s\"", action->text);
			break;
		case HA_START_TASK:
			snprintf(text, size, "start task \"%s\"", ha_task_name(action->task));
			break;
		case HA_CANCEL_TASK:
			snprintf(text, size, "cancel the task under way");
			break;
		case HA_CALLBACK:
			snprintf(text, size, "run callback \"%.60s\"", action->key);
			break;
		case HA_EXIT:
			snprintf(text, size, "end the supervisor with exit code %d", action->exit_code);
			break;
		default:
			return false;
	}
	return true;
}

static void
act_on_server(Host *host, const HaAction *action)
{
	char what[HA_REASON_MAX];
	char text[2 * HA_REASON_MAX + 8];

	if (describe_action(action, what, sizeof(what)))
	{
		snprintf(text, sizeof(text), "%s%s%s", what, action->because[0] != '\0' ? ": " : "",
		         action->because);
		host_event(host, "action", action->rule, text);
	}
	host->ops.act(host->ops.context, action);
}

static void
answer_command(Host *host, const HaAction *action)
{
	char text[HA_REASON_MAX];

	snprintf(text, sizeof(text), "%s: %.200s", action->ok ? "done" : "refused",
	         action->text != NULL ? action->text : action->because);
	host_event(host, "command", action->rule, text);
	command_forget(host, action->command_id);
	host->ops.act(host->ops.context, action);
}

static void
carry_out(Host *host, const HaAction *action)
{
	char what[HA_REASON_MAX];

	switch (action->kind)
	{
		case HA_ACQUIRE:
		case HA_RELEASE:
			if (describe_action(action, what, sizeof(what)))
				host_event(host, "action", action->rule, what);
			act_on_store(host, action);
			break;
		case HA_RENEW:
		case HA_PUT_MEMBER:
		case HA_DELETE_MEMBER:
		case HA_CREATE_KEY:
		case HA_PUT_KEY:
		case HA_DELETE_KEY:
			act_on_store(host, action);
			break;
		case HA_ASK_PEER:
			ask_peer(host, action);
			break;
		case HA_ASK_CONSENT:
			ask_consent(host, action);
			break;
		case HA_PROMISE:
			keep_promise(host, action);
			break;
		case HA_FENCE:
			set_fence(host, action);
			break;
		case HA_LOG:
			log_decision(host, action);
			break;
		case HA_WAKE_AT:
			if (action->deadline_ms < host->wake_at_ms)
				host->wake_at_ms = action->deadline_ms;
			break;
		case HA_ANSWER:
			answer_command(host, action);
			break;
		default:
			act_on_server(host, action);
			break;
	}
}

/* Is all that a tick brought the renewal of the lease?  Its answer will show. */
static bool
is_only_renewal(const HaInput *input, const HaActions *actions)
{
	bool is_renewal = false;

	if (input->kind != HA_INPUT_TICK)
		return false;
	for (int i = 0; i < actions->count; i++)
	{
		if (actions->items[i].kind != HA_RENEW && actions->items[i].kind != HA_WAKE_AT)
			return false;
		is_renewal = is_renewal || actions->items[i].kind == HA_RENEW;
	}
	return is_renewal;
}

/* One step of the engine, and what it wants. */
static void
host_step(Host *host, HaInput *input)
{
	uint32_t generation = host->generation;

	if (!holds_baton(host))
		return;
	input->wall_ms = clock_wall_ms();
	ha_actions_reset(&host->actions);
	step_engine(host, input, &host->actions);
	if (!is_only_renewal(input, &host->actions))
		host->snapshot_number++;
	if (host->actions.is_incomplete)
	{
		host_log(host, 2, "out of memory in the HA loop, the step is taken again", NULL);
		host->wake_at_ms = clock_now_ms() + 100;
		return;
	}

	/* The baton may go away with any action: by its own doing or others'. */
	for (int i = 0; i < host->actions.count; i++)
	{
		if (!holds_baton(host) || host->generation != generation)
			break;
		carry_out(host, &host->actions.items[i]);
	}
	if (host->is_driving && host->generation == generation)
	{
		atomic_store(&host->page->failsafe_until_ms, ha_failsafe_until_ms(host->node));
		atomic_store(&host->page->bound_until_ms, ha_failsafe_bound_ms(host->node));
	}
}

/* ------------------------------------------------------------------------
 * Inputs
 * ------------------------------------------------------------------------
 */

static void
step_settings(Host *host)
{
	HaInput input;

	memset(&input, 0, sizeof(input));
	input.kind = HA_INPUT_SETTINGS;
	input.settings = &host->ha_settings;
	host_step(host, &input);
}

static void
handle_view(Host *host)
{
	const ClusterView *view = dcs_view(host->dcs);
	HaInput input;

	host->view_is_queued = false;
	if (view == NULL)
		return;
	if (apply_dynamic(host, view))
		step_settings(host);
	memset(&input, 0, sizeof(input));
	input.kind = HA_INPUT_CLUSTER;
	input.view = view;
	host_step(host, &input);
}

static void
handle_reply(Host *host, const HostInput *waiting)
{
	HaInput input;

	memset(&input, 0, sizeof(input));
	input.kind = HA_INPUT_REPLY;
	input.reply.id = waiting->reply.id;
	input.reply.outcome = waiting->reply.outcome;
	input.reply.session_lost = waiting->reply.session_lost;
	input.reply.sent_at_ms = waiting->reply.sent_at_ms;
	input.reply.version = waiting->reply.version;
	input.reply.error = waiting->reply.error[0] == '\0' ? NULL : waiting->reply.error;
	host_step(host, &input);
}

static void
handle_task(Host *host, const HostInput *waiting)
{
	HaInput input;

	memset(&input, 0, sizeof(input));
	input.kind = HA_INPUT_TASK;
	input.task.task = waiting->task.task;
	input.task.id = waiting->task.id;
	input.task.outcome = waiting->task.outcome;
	input.task.divergence = waiting->task.divergence;
	input.task.lsn = waiting->task.lsn;
	input.task.message = waiting->task.has_message ? waiting->task.message : NULL;
	host_step(host, &input);
}

static void
handle_command(Host *host, const HostInput *waiting)
{
	HaInput input;

	if (!holds_baton(host))
	{
		command_forget(host, waiting->command.id);
		host_answer(host, waiting->command.id, false,
		            "this process does not control the node at the moment",
		            "Try again in a moment.", "57P03");
		return;
	}
	memset(&input, 0, sizeof(input));
	input.kind = HA_INPUT_COMMAND;
	input.command = &waiting->command;
	host_step(host, &input);
}

static void
handle_simple(Host *host, const HostInput *waiting)
{
	HaInput input;

	memset(&input, 0, sizeof(input));
	switch (waiting->kind)
	{
		case HOST_REACHABLE:
			input.kind = HA_INPUT_REACHABLE;
			input.reachable.is_reachable = waiting->reachable.is_reachable;
			input.reachable.reason = waiting->reachable.reason;
			break;
		case HOST_POSTGRES:
			host->postgres_is_queued = false;
			input.kind = HA_INPUT_POSTGRES;
			input.postgres = &host->postgres;
			break;
		case HOST_PEER:
			input.kind = HA_INPUT_PEER;
			input.peer = &waiting->peer;
			break;
		case HOST_PROMISE:
			input.kind = HA_INPUT_PROMISE;
			input.promise.until_ms = atomic_load(&host->page->promised_until_ms);
			input.promise.page_made_ms = atomic_load(&host->page->made_ms);
			break;
		case HOST_ASK_MEMBERS:
			host->ask_members_is_queued = false;
			input.kind = HA_INPUT_ASK_MEMBERS;
			break;
		default:
			host->tick_is_queued = false;
			host->wake_at_ms = INT64_MAX;
			host->last_tick_ms = clock_now_ms();
			input.kind = HA_INPUT_TICK;
			break;
	}
	host_step(host, &input);
}

static void
handle_input(Host *host, const HostInput *waiting)
{
	switch (waiting->kind)
	{
		case HOST_SETTINGS:
			step_settings(host);
			break;
		case HOST_VIEW:
			handle_view(host);
			break;
		case HOST_REPLY:
			handle_reply(host, waiting);
			break;
		case HOST_TASK:
			handle_task(host, waiting);
			break;
		case HOST_COMMAND:
			handle_command(host, waiting);
			break;
		case HOST_REACHABLE:
		case HOST_POSTGRES:
		case HOST_PEER:
		case HOST_TICK:
		case HOST_PROMISE:
		case HOST_ASK_MEMBERS:
			handle_simple(host, waiting);
			break;
	}
}

static void
peer_answered(void *context, const HaPeer *peer)
{
	Host *host = context;
	HostInput *input = queue_push(host, HOST_PEER);

	if (input != NULL)
		input->peer = *peer;
}

/* The server as it is now.  The newest one stands for those not handled yet. */
void
host_postgres(Host *host, const HaPostgres *postgres)
{
	ha_postgres_copy(&host->postgres, postgres);
	host->has_postgres = true;
	host->postgres_at_ms = clock_now_ms();
	host->snapshot_number++;
	if (host->is_driving)
		queue_push_once(host, HOST_POSTGRES, &host->postgres_is_queued);
}

/* The end of a task that HA_START_TASK started. */
void
host_task_done(Host *host, HaTask task, uint64_t task_id, HaTaskOutcome outcome,
               HaDivergence divergence, Lsn lsn, const char *message)
{
	HostInput *input = queue_push(host, HOST_TASK);
	char text[HA_REASON_MAX];

	snprintf(text, sizeof(text), "task \"%s\" %s%s%.150s", ha_task_name(task),
	         outcome == HA_TASK_OK          ? "is done"
	         : outcome == HA_TASK_CANCELLED ? "was cancelled"
	                                        : "failed",
	         message != NULL && message[0] != '\0' ? ": " : "", message != NULL ? message : "");
	host_event(host, "action", ha_task_name(task), text);
	if (input == NULL)
		return;
	input->task.task = task;
	input->task.id = task_id;
	input->task.outcome = outcome;
	input->task.divergence = divergence;
	input->task.lsn = lsn;
	input->task.has_message = message != NULL;
	host_copy_text(input->task.message, sizeof(input->task.message), message);
}

/* A command of a person.  False: too many wait already, it will not be answered. */
bool
host_command(Host *host, const HaCommand *command)
{
	HostInput *input;

	if (host->queue_count > HOST_QUEUE / 2 || !command_remember(host, command->id))
		return false;
	input = queue_push(host, HOST_COMMAND);
	if (input == NULL)
	{
		command_forget(host, command->id);
		return false;
	}
	input->command = *command;
	return true;
}

/* ------------------------------------------------------------------------
 * The loop's side
 * ------------------------------------------------------------------------
 */

/* One descriptor, readable when host_process() has something to do. */
int
host_fd(const Host *host)
{
	return host->epoll_fd;
}

static int64_t
tick_due_ms(const Host *host)
{
	int64_t due_ms = host->last_tick_ms + host->settings.loop_wait_ms;

	if (!host->is_driving)
		return INT64_MAX;
	if (host->wake_at_ms < due_ms)
		due_ms = host->wake_at_ms;
	/* A wake in the past must not make the loop spin. */
	return due_ms <= host->last_tick_ms ? host->last_tick_ms + 1 : due_ms;
}

static int
sooner_ms(int timeout_ms, int other_ms)
{
	if (other_ms < 0)
		return timeout_ms;
	return timeout_ms < 0 || other_ms < timeout_ms ? other_ms : timeout_ms;
}

static int
until_ms(int64_t now_ms, int64_t due_ms)
{
	int64_t wait_ms = due_ms - now_ms;

	if (due_ms == INT64_MAX)
		return -1;
	return wait_ms < 0 ? 0 : wait_ms > INT32_MAX ? INT32_MAX : (int) wait_ms;
}

/* How long the loop may sleep at most; -1 = until the descriptor is readable. */
int
host_timeout_ms(const Host *host, int64_t now_ms)
{
	int timeout_ms = -1;

	if (host->queue_count > 0)
		return 0;
	if (host->dcs != NULL)
		timeout_ms = sooner_ms(timeout_ms, dcs_timeout_ms(host->dcs, now_ms));
	timeout_ms = sooner_ms(timeout_ms, peers_timeout_ms(host->peers, now_ms));
	timeout_ms = sooner_ms(timeout_ms, until_ms(now_ms, edit_deadline_ms(host)));
	return sooner_ms(timeout_ms, until_ms(now_ms, tick_due_ms(host)));
}

/* One look at the store serves both homes: who drives tells the other. */
static void
tell_sighting(Host *host)
{
	DcsSighting sighting = dcs_sighting(host->dcs);

	if (!host->is_driving)
		return;
	atomic_store_explicit(&host->page->store_revision, sighting.revision, memory_order_relaxed);
	atomic_store_explicit(&host->page->store_seen_ms, sighting.at_ms, memory_order_release);
}

static void
hear_sighting(Host *host)
{
	DcsSighting sighting;

	if (host->is_driving)
		return;
	sighting.at_ms = atomic_load_explicit(&host->page->store_seen_ms, memory_order_acquire);
	sighting.revision = atomic_load_explicit(&host->page->store_revision, memory_order_relaxed);
	dcs_set_sighting(host->dcs, sighting);
}

/*
 * Go on with the store and the peers, and step the engine as long as there
 * are inputs; at most HOST_STEPS_MAX, so that the loop around gets its turn.
 */
void
host_process(Host *host, int64_t now_ms)
{
	HostInput input;

	(void) holds_baton(host);	/* notice at once, not with the next step */
	if (host->dcs != NULL)
	{
		hear_sighting(host);
		dcs_process(host->dcs, now_ms);
		tell_sighting(host);
	}
	peers_process(host->peers, now_ms);
	edit_process(host, now_ms);
	if (tick_due_ms(host) <= now_ms)
		queue_push_once(host, HOST_TICK, &host->tick_is_queued);
	for (int steps = 0; steps < HOST_STEPS_MAX && queue_pop(host, &input); steps++)
		handle_input(host, &input);
}

/* Make a host that does not drive yet and has no configuration. */
bool
host_open(Host **result, HaHome home, LeasePage *page, const HostOps *ops, Error *error)
{
	Host *host = calloc(1, sizeof(Host));

	*result = NULL;
	if (host == NULL)
		return error_set(error, "out of memory");
	host->home = home;
	host->page = page;
	host->ops = *ops;
	host->wake_at_ms = INT64_MAX;
	host->next_request_id = 1;
	host->snapshot_number = 1;
	settings_init(&host->settings);
	ha_actions_init(&host->actions);
	host->queue = malloc(HOST_QUEUE * sizeof(HostInput));	/* queue_push() zeroes what is used */
	host->node = ha_node_create(home);
	host->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (host->queue == NULL || host->node == NULL || host->epoll_fd < 0)
	{
		host_close(host);
		return error_set(error, "could not make the HA loop: %s", strerror(errno));
	}
	if (!peers_open(&host->peers, peer_answered, host, error) ||
	    !watch_fd(host, peers_fd(host->peers), error))
	{
		host_close(host);
		return false;
	}
	*result = host;
	return true;
}

/* Free everything; the session of the store lives on.  NULL is fine. */
void
host_close(Host *host)
{
	if (host == NULL)
		return;
	dcs_close(host->dcs);
	peers_close(host->peers);
	for (int i = 0; i < HOST_EDITS; i++)
	{
		free(host->edits[i].patch);
		free(host->edits[i].written);
	}
	if (host->epoll_fd >= 0)
		close(host->epoll_fd);
	ha_actions_free(&host->actions);
	trace_close(host->trace);
	ha_node_free(host->node);
	settings_free(&host->settings);
	local_config_free(host->local);
	free(host->dynamic);
	free(host->queue);
	free(host);
}

/* The cluster as the store shows it; NULL: never loaded. */
const ClusterView *
host_view(const Host *host)
{
	return host->dcs == NULL ? NULL : dcs_view(host->dcs);
}

/* Can the store be read at the moment? */
bool
host_store_is_reachable(const Host *host)
{
	return host->dcs != NULL && dcs_is_reachable(host->dcs);
}

/* When the store was last read, wall clock; 0 = never. */
int64_t
host_store_last_seen_ms(const Host *host)
{
	return host->dcs == NULL ? 0 : dcs_last_seen_wall_ms(host->dcs);
}

/* How many permanent logical slots could not be used here after a failover. */
int
host_missing_slots(const Host *host)
{
	const HaPostgres *postgres = host_last_postgres(host);

	return postgres == NULL ? 0 : ha_missing_slots(&host->ha_settings, postgres);
}

/* The engine's node, to look at. */
const HaNode *
host_node(const Host *host)
{
	return host->node;
}

/* The last server state that was given; NULL = none. */
const HaPostgres *
host_last_postgres(const Host *host)
{
	return host->has_postgres ? &host->postgres : NULL;
}

/* Ask the store for a sign of life; see host.h. */
void
host_ask_store(Host *host)
{
	DcsRequest request;
	Error error;

	if (host->dcs == NULL)
		return;
	if (host->ask_id != 0)
	{
		/* it has not answered since: members that agree are an answer, too */
		if (host->is_driving && host->settings.failsafe_mode)
			queue_push_once(host, HOST_ASK_MEMBERS, &host->ask_members_is_queued);
		return;
	}
	memset(&request, 0, sizeof(request));
	error_clear(&error);
	request.id = HOST_REQUEST_BIT | host->next_request_id++;
	request.operation = DCS_RENEW;
	request.timeout_ms = HOST_ASK_TIMEOUT;
	if (dcs_submit(host->dcs, &request, &error))
		host->ask_id = request.id;
}

/*
 * A thirtieth of ttl, at most a second: what shows by time alone may show that
 * much later, and sleeping is what an idle node does best.
 */
int64_t
host_idle_interval_ms(const Host *host, int64_t at_least_ms)
{
	int64_t interval_ms = host->settings.ttl_ms / 30;

	if (interval_ms > IDLE_INTERVAL_MAX_MS)
		interval_ms = IDLE_INTERVAL_MAX_MS;
	return interval_ms < at_least_ms ? at_least_ms : interval_ms;
}

/* When the newest request was sent that the store, or all members, have answered; 0 = none. */
int64_t
host_store_answered_ms(const Host *host)
{
	int64_t agreed_ms = host->is_driving ? ha_failsafe_agreed_ms(host->node) : 0;

	return agreed_ms > host->answered_ms ? agreed_ms : host->answered_ms;
}

/* Show in patroni.event what the home has done by itself. */
void
host_tell_event(Host *host, const char *rule, const char *reason)
{
	host_event(host, "action", rule, reason);
}
