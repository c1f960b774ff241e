/*-------------------------------------------------------------------------
 *
 * home.c
 *      What both homes of the engine have in common: when their loops turn,
 *      and the messages between them.
 *
 * The baton protocol is in home_supervisor.c and home_worker.c, in the order
 * of operations of src/supervisor/baton.c and src/worker/loop.c.  The host
 * and the lease page are the real ones.
 *
 * What is simplified:
 *  - A turn takes no time, and a pause or a kill falls between two turns; but
 *    the moment between the decision to promote and the signal for it is one
 *    in which both can happen.
 *  - Messages are structs, not JSON; the saved state is the real text.  They
 *    come in order, after 0.05 to 2 ms, also those that were sent before the
 *    sender died.
 *  - There is one connection at a time; the close of the old one is seen
 *    before the hello of the next.
 *-------------------------------------------------------------------------
 */
#include "sim/home.h"

#include <stdlib.h>
#include <string.h>

#include "node/host_internal.h"

static SimHome homes[SIM_NODES_MAX][2];
static char *cached_config[SIM_NODES_MAX];	/* what cache.c keeps in the data directory */

/* The home, if its process lives and has begun; else NULL. */
SimHome *
sim_home(int node, HaHome home)
{
	return homes[node][home].is_open ? &homes[node][home] : NULL;
}

/* The process in which a home is. */
SimProcessKind
sim_home_process(HaHome home)
{
	return home == HA_HOME_WORKER ? SIM_WORKER : SIM_SUPERVISOR;
}

/* For the trace. */
const char *
home_name(HaHome home)
{
	return home == HA_HOME_WORKER ? "worker" : "supervisor";
}

/* Code of this home runs from here on: its node's clock counts. */
SimContext
home_enter(SimHome *home)
{
	SimContext	before = {.node = sim.current_node, .home = sim.current_home};

	sim.current_node = home->node;
	sim.current_home = (int) home->home;
	home->depth++;
	return before;
}

/* It does not any more.  A process that ended meanwhile goes away now. */
void
home_leave(SimHome *home, SimContext before)
{
	home->depth--;
	if (home->depth == 0 && home->must_close)
		home_close(home->node, home->home);
	sim.current_node = before.node;
	sim.current_home = before.home;
}

/* ------------------------------------------------------------------------
 * Turns
 * ------------------------------------------------------------------------
 */

static void
turn(SimHome *home, int64_t number)
{
	SimContext	before;
	int64_t		deadline_us;

	if (!home->is_open || (uint32_t) number != home->turn_number)
		return;
	home->turn_at_us = SIM_NEVER;
	before = home_enter(home);
	deadline_us = lease_page_deadline_us(sim.node[home->node].page);
	if (home->home == HA_HOME_WORKER)
		worker_turn(home);
	else
		supervisor_turn(home);
	sim_check_turn(home->node, home->home, deadline_us);
	if (home->n_inbox > 0 && !home->must_close)
		home_schedule(home, home->inbox[0]->arrives_us - sim.now_us);
	home_leave(home, before);
}

static void
worker_turns(int node, int64_t number, void *owned)
{
	(void) owned;
	turn(&homes[node][HA_HOME_WORKER], number);
}

static void
supervisor_turns(int node, int64_t number, void *owned)
{
	(void) owned;
	turn(&homes[node][HA_HOME_SUPERVISOR], number);
}

/* A turn at the latest then. */
void
home_schedule(SimHome *home, int64_t delay_us)
{
	if (delay_us < 20)
		delay_us = 20;
	if (home->turn_at_us <= sim.now_us + delay_us)
		return;
	home->turn_at_us = sim.now_us + delay_us;
	sim_later_in(home->node, sim_home_process(home->home), delay_us,
				 home->home == HA_HOME_WORKER ? worker_turns : supervisor_turns,
				 (int64_t) ++home->turn_number, NULL);
}

/* The same, in ms of the node's clock, as a loop gives them to the kernel. */
void
home_schedule_ms(SimHome *home, int64_t wait_ms)
{
	int64_t		at_us = sim_true_us(home->node, sim_clock_us(home->node) + SIM_MS(wait_ms));

	home_schedule(home, at_us - sim.now_us);
}

/* A host has something to do: its loop turns soon. */
void
sim_host_wake(int node, HaHome which)
{
	SimHome    *home = sim_home(node, which);

	if (home == NULL || home->turn_at_us <= sim.now_us + 20)
		return;
	home_schedule(home, sim_between(20, 200));
}

/* ------------------------------------------------------------------------
 * Messages
 * ------------------------------------------------------------------------
 */

/* A message without content. */
SimMessage *
message_new(SimMessageKind kind)
{
	SimMessage *message = calloc(1, sizeof(SimMessage));

	if (message == NULL)
		abort();
	message->kind = kind;
	return message;
}

/*
 * Server states of messages are large and mostly zero: they are used again.
 * What a used one holds does not matter to ha_postgres_copy().
 */
#define SPARE_STATES	64

static HaPostgres *spare_states[SPARE_STATES];
static int	n_spare_states;

/* Give a message a copy of a server state. */
void
message_set_postgres(SimMessage *message, const HaPostgres *postgres)
{
	message->postgres = n_spare_states > 0 ? spare_states[--n_spare_states] :
		calloc(1, sizeof(HaPostgres));
	if (message->postgres == NULL)
		abort();
	ha_postgres_copy(message->postgres, postgres);
}

/* NULL is fine. */
void
message_free(SimMessage *message)
{
	if (message == NULL)
		return;
	free(message->saved);
	if (message->postgres != NULL && n_spare_states < SPARE_STATES)
		spare_states[n_spare_states++] = message->postgres;
	else
		free(message->postgres);
	free(message);
}

static bool
post(SimHome *to, SimMessage *message)
{
	int64_t		delay_us = sim_between(50, 2000);

	if (!to->is_open || to->must_close)
	{
		message_free(message);
		return true;			/* into a socket that nobody reads any more */
	}
	/* the last places are for the kernel's words */
	if (to->n_inbox >= (message->kind == MESSAGE_CLOSED ? HOME_INBOX_MAX : HOME_INBOX_MAX - 32))
	{
		if (message->kind == MESSAGE_CLOSED)
			sim_fail("bug in the simulator: too many closed connections wait");
		message_free(message);
		return false;
	}
	message->arrives_us = sim.now_us + delay_us;
	if (message->arrives_us <= to->last_arrival_us)
		message->arrives_us = to->last_arrival_us + 1;
	to->last_arrival_us = message->arrives_us;
	to->inbox[to->n_inbox++] = message;
	home_schedule(to, message->arrives_us - sim.now_us);
	return true;
}

static SimHome *
other_home(const SimHome *home)
{
	return &homes[home->node][home->home == HA_HOME_WORKER ? HA_HOME_SUPERVISOR : HA_HOME_WORKER];
}

/*
 * Send over the connection; the message is taken over.  False: there is none,
 * or the other end has not read for long: the caller closes.
 */
bool
home_send(SimHome *from, SimMessage *message)
{
	if (from->link == 0)
	{
		message_free(message);
		return false;
	}
	message->link = from->link;
	return post(other_home(from), message);
}

/* Close the connection: the other end is told by the kernel. */
void
home_hang_up(SimHome *from)
{
	SimMessage *message;

	if (from->link == 0)
		return;
	message = message_new(MESSAGE_CLOSED);
	message->link = from->link;
	from->link = 0;
	from->said_hello = false;
	(void) post(other_home(from), message);
}

/* The next message that has arrived; the caller frees it.  NULL: none. */
SimMessage *
home_receive(SimHome *home)
{
	SimMessage *message;

	if (home->n_inbox == 0 || home->inbox[0]->arrives_us > sim.now_us)
		return NULL;
	message = home->inbox[0];
	home->n_inbox--;
	memmove(&home->inbox[0], &home->inbox[1], (size_t) home->n_inbox * sizeof(home->inbox[0]));
	return message;
}

/*
 * A saved state as another release might have written it: with a member that
 * nobody knows, and now and then without some that an older one did not have.
 * Takes the text over.
 */
char *
home_change_release(char *saved)
{
	static const char *const newer[] = {
		"successor", "handover_lsn", "is_promoting", "promote_ms", "is_bootstrapping",
		"is_post_bootstrapped", "is_checked", "is_diverged", "has_rewind_failed",
		"needs_checkpoint", "is_request_running", "repair_next_ms", "repair_failures",
		"announced_role", "handled_request", "member_text", "renewed_ms", "next_id",
		"is_giving_away", "request_problem", "has_bootstrap_failed", "checked_with",
		"primary_timeline", "is_uncompared", "knows_past", "is_checked_running", "left_fence_ms",
		"was_down_paused", "is_overruled",
		"seen_timeline", "is_source_unsure", "primary_from",
		"scheduled_restart", "is_paused", "config_version",
	};
	json_t	   *json;
	char	   *text;

	if (!sim.profile.is_mixed_release || saved == NULL)
		return saved;
	json = json_loads(saved, 0, NULL);
	if (!json_is_object(json))
	{
		json_decref(json);
		return saved;
	}
	json_object_set_new(json, "of_a_later_release", json_pack("{s:i}", "number", 1));
	if (sim_chance(300))
	{
		for (size_t i = 0; i < sizeof(newer) / sizeof(newer[0]); i++)
		{
			if (sim_chance(500))
				json_object_del(json, newer[i]);
		}
	}
	text = json_dumps(json, JSON_COMPACT);
	json_decref(json);
	if (text == NULL)
		return saved;
	free(saved);
	return text;
}

/* ------------------------------------------------------------------------
 * Life
 * ------------------------------------------------------------------------
 */

/* HostOps.log */
void
home_log(void *context, int level, const char *message, const char *detail, const char *hint)
{
	const SimHome *home = context;

	(void) hint;
	if (level > 0)
		sim_trace(home->node, "%s: %s%s%s", home_name(home->home), message,
				  detail != NULL && detail[0] != '\0' ? ". " : "", detail != NULL ? detail : "");
}

/* A file beside the data keeps the dynamic configuration (src/supervisor/cache.c). */
void
home_cache_put(int node, const char *config_json)
{
	if (sim.node[node].data.state != HA_DATA_PRESENT || sim.node[node].disk_is_full)
		return;
	free(cached_config[node]);
	cached_config[node] = strdup(config_json);
}

/* Give the host its local configuration. */
bool
home_configure(SimHome *home)
{
	LocalConfig *local = local_config_from_json(sim.node[home->node].yaml_json);
	ConfigProblems problems;
	bool		ok = false;

	if (sim.node[home->node].data.state == HA_DATA_EMPTY)
	{
		free(cached_config[home->node]);
		cached_config[home->node] = NULL;
	}
	config_problems_init(&problems);
	if (local != NULL)
	{
		json_t	   *cached = cached_config[home->node] == NULL ? NULL :
			json_loads(cached_config[home->node], 0, NULL);

		if (json_is_object(cached) && json_object_size(cached) > 0)
			local_config_set_initial(local, cached);
		json_decref(cached);
		ok = host_configure(home->host, local, &problems);
	}
	if (!ok)
	{
		local_config_free(local);
		sim_fail("bug in the simulator: the local configuration is refused: %s: %s",
				 problems.count > 0 ? problems.items[0].key : "",
				 problems.count > 0 ? problems.items[0].message : "");
	}
	config_problems_free(&problems);
	return ok;
}

static void
open_home(int node, HaHome which)
{
	SimHome    *home = &homes[node][which];
	SimContext	before;

	if (home->is_open)
		return;
	memset(home, 0, sizeof(*home));
	home->node = node;
	home->home = which;
	home->turn_at_us = home->look_at_us = SIM_NEVER;
	home->is_open = true;
	before = home_enter(home);
	if (which == HA_HOME_WORKER)
		worker_open(home);
	else
		supervisor_open(home);
	sim.node[node].host[which] = home->must_close ? NULL : home->host;
	home_leave(home, before);
}

static void
supervisor_begins(int node, int64_t number, void *owned)
{
	(void) number;
	(void) owned;
	open_home(node, HA_HOME_SUPERVISOR);
}

static void
worker_begins(int node, int64_t number, void *owned)
{
	(void) number;
	(void) owned;
	open_home(node, HA_HOME_WORKER);
}

/* The process was made; its program begins a moment later. */
void
home_begin_soon(int node, HaHome home)
{
	sim_later_in(node, sim_home_process(home), sim_between(2000, 60000),
				 home == HA_HOME_WORKER ? worker_begins : supervisor_begins, 0, NULL);
}

/* The process is dead: free what it had.  If its own code runs, a bit later. */
void
home_close(int node, HaHome which)
{
	SimHome    *home = &homes[node][which];
	SimContext	before = {.node = sim.current_node, .home = sim.current_home};

	if (!home->is_open)
		return;
	if (home->depth > 0)
	{
		home->must_close = true;
		sim.node[node].host[which] = NULL;
		return;
	}
	/* a worker that the supervisor has not accepted yet is told as well */
	if (which == HA_HOME_SUPERVISOR && other_home(home)->link != 0)
		home->link = other_home(home)->link;
	home_hang_up(home);
	home->is_open = false;
	sim.node[node].host[which] = NULL;
	for (int i = 0; i < home->n_inbox; i++)
		message_free(home->inbox[i]);
	home->n_inbox = 0;
	act_free_records(home);
	sim.current_node = node;
	sim.current_home = (int) which;
	host_close(home->host);
	sim.current_node = before.node;
	sim.current_home = before.home;
	home->host = NULL;
}

/* Its host of hardware is gone for good, or the run is over. */
void
home_forget_node(int node)
{
	free(cached_config[node]);
	cached_config[node] = NULL;
	observe_forget_node(node);
}

/* Whose store handle is it?  -1: nobody's (yet). */
int
sim_host_node_of_dcs(const Dcs *dcs, HaHome *which)
{
	for (int node = 0; node < SIM_NODES_MAX; node++)
	{
		for (int home = 0; home < 2; home++)
		{
			if (homes[node][home].is_open && homes[node][home].host != NULL &&
				homes[node][home].host->dcs == dcs)
			{
				*which = (HaHome) home;
				return node;
			}
		}
	}
	return -1;
}

/* Something about the server changed: whoever watches it looks soon. */
void
sim_server_changed(int node)
{
	SimHome    *worker = sim_home(node, HA_HOME_WORKER);
	SimHome    *supervisor = sim_home(node, HA_HOME_SUPERVISOR);

	if (supervisor != NULL && !supervisor->must_close)
		supervisor_server_changed(supervisor);
	if (worker != NULL && !worker->must_close)
		worker_server_changed(worker);
}

static SimHome *
driving_home(int node)
{
	for (int which = 0; which < 2; which++)
	{
		SimHome    *home = sim_home(node, (HaHome) which);

		if (home != NULL && !home->must_close && host_is_driving(home->host) &&
			sim.node[node].process[sim_home_process(home->home)].n_pauses == 0)
			return home;
	}
	return NULL;
}

/* A command to whichever home drives; false: could not be given. */
bool
sim_command(int node, const HaCommand *command)
{
	SimHome    *home = driving_home(node);
	SimContext	before;
	bool		ok;

	if (home == NULL)
		return false;
	before = home_enter(home);
	ok = host_command(home->host, command);
	home_leave(home, before);
	sim_host_wake(node, home->home);
	return ok;
}

/* The same for a change of the dynamic configuration. */
bool
sim_edit_config(int node, const char *patch_json)
{
	SimHome    *home = driving_home(node);
	SimContext	before;
	bool		ok;

	if (home == NULL)
		return false;
	before = home_enter(home);
	ok = host_edit_config(home->host, 0, patch_json, false, 10000);
	home_leave(home, before);
	sim_host_wake(node, home->home);
	return ok;
}
