/*-------------------------------------------------------------------------
 *
 * node.c
 *      A host and the processes on it: their lives, their pauses, its clock.
 *
 * systemd starts a dead supervisor again after 0.1 to 2 s unless it ended
 * with a code that forbids it; the postmaster starts a worker again, with all
 * else if it was killed.  The lease page outlives processes, not the host.
 *
 * What is simplified: a host that is paused is paused as a whole and at once;
 * its clock goes on, as CLOCK_BOOTTIME does.  A clock has one rate for a run.
 *-------------------------------------------------------------------------
 */
#include "sim/home.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WALL_START_MS		INT64_C(1767225600000)	/* 2026-01-01 */
#define WORKER_RESTART_US	SIM_MS(1000)	/* bgw_restart_time of patroni_bgw.c */

/* What only this file needs to know of a node. */
typedef struct Life
{
	int			own_pauses[SIM_PROCESSES];
	int			host_pauses;
	int64_t		boots;			/* tells an old host's systemd from a new one's */
	bool		worker_leaves;	/* it was told to; the server may be stopping */
} Life;

static Life lives[SIM_NODES_MAX];

/* ------------------------------------------------------------------------
 * Clocks
 * ------------------------------------------------------------------------
 */

/* The node's CLOCK_BOOTTIME now. */
int64_t
sim_clock_us(int node)
{
	const SimNode *self;

	if (node < 0 || node >= SIM_NODES_MAX)
		return sim.now_us;
	self = &sim.node[node];
	return self->clock_offset_us + sim.now_us * (1000000 + self->clock_ppm) / 1000000;
}

/* When its clock will show that, rounded up; now if it does already. */
int64_t
sim_true_us(int node, int64_t clock_us)
{
	const SimNode *self;
	int64_t		since_us;
	int64_t		rate;
	int64_t		true_us;

	if (node < 0 || node >= SIM_NODES_MAX)
		return clock_us > sim.now_us ? clock_us : sim.now_us;
	self = &sim.node[node];
	rate = 1000000 + self->clock_ppm;
	if (clock_us >= LEASE_NEVER_US)
		return SIM_NEVER;
	since_us = clock_us - self->clock_offset_us;
	if (since_us > INT64_C(9000000000000))
		return SIM_NEVER;
	if (since_us <= 0)
		return sim.now_us;
	true_us = (since_us * 1000000 + rate - 1) / rate;
	return true_us > sim.now_us ? true_us : sim.now_us;
}

/* CLOCK_REALTIME of everybody. */
int64_t
sim_wall_ms(void)
{
	return WALL_START_MS + sim.now_us / 1000;
}

/* ------------------------------------------------------------------------
 * The lease page
 * ------------------------------------------------------------------------
 */

/* As lease_page_create() leaves a page that it made. */
static void
make_page(SimNode *self)
{
	if (self->page == NULL)
		self->page = malloc(sizeof(LeasePage));
	if (self->page == NULL)
		abort();
	memset(self->page, 0, sizeof(*self->page));
	self->page->version = LEASE_PAGE_VERSION;
	atomic_store_explicit(&self->page->lease, UINT64_C(1) << LEASE_DEADLINE_BITS,
						  memory_order_release);
	self->page->made_ms = sim_clock_us(self->index) / 1000;
	self->page->magic = LEASE_PAGE_MAGIC;
}

/* Who drives, as the page says. */
LeaseHolder
sim_page_holder(int node)
{
	return (LeaseHolder) atomic_load_explicit(&sim.node[node].page->holder, memory_order_acquire);
}

/* ------------------------------------------------------------------------
 * Processes
 * ------------------------------------------------------------------------
 */

static void
begin_process(int node, SimProcessKind kind)
{
	SimProcess *process = &sim.node[node].process[kind];

	process->is_alive = true;
	process->incarnation++;
	lives[node].own_pauses[kind] = 0;
	process->n_pauses = lives[node].host_pauses;
	sim_note(node, "process", (uint64_t) kind, process->incarnation);
}

static void
end_process(int node, SimProcessKind kind)
{
	SimProcess *process = &sim.node[node].process[kind];

	process->is_alive = false;
	lives[node].own_pauses[kind] = 0;
	process->n_pauses = lives[node].host_pauses;
}

static void restart_supervisor(int node, int64_t boot, void *owned);

static void
let_systemd_restart(int node)
{
	if (sim.node[node].supervisor_wanted && sim.node[node].host_is_up)
		sim_later(sim_between(SIM_MS(100), SIM_MS(2000)), restart_supervisor, node,
				  lives[node].boots, NULL);
}

static void
restart_supervisor(int node, int64_t boot, void *owned)
{
	SimNode    *self = &sim.node[node];

	(void) owned;
	if (boot != lives[node].boots || !self->host_is_up || !self->supervisor_wanted ||
		!self->is_member || self->process[SIM_SUPERVISOR].is_alive)
		return;
	if (lives[node].host_pauses > 0)
		sim_later(SIM_MS(100), restart_supervisor, node, boot, NULL);	/* systemd sleeps, too */
	else
		sim_supervisor_start(node);
}

/* Start it now, as systemd or an operator does. */
void
sim_supervisor_start(int node)
{
	SimNode    *self = &sim.node[node];

	if (!self->host_is_up || !self->is_member || self->process[SIM_SUPERVISOR].is_alive)
		return;
	self->supervisor_wanted = true;
	begin_process(node, SIM_SUPERVISOR);
	if (self->kind == SIM_PATRONI)
		sim_patroni_start(node);
	else
		home_begin_soon(node, HA_HOME_SUPERVISOR);
}

static void
supervisor_dies(int node)
{
	if (!sim.node[node].process[SIM_SUPERVISOR].is_alive)
		return;
	end_process(node, SIM_SUPERVISOR);
	sim_task_forget(node);
	if (sim.node[node].kind != SIM_PATRONI)
		home_close(node, HA_HOME_SUPERVISOR);
}

/* SIGKILL: server and worker go on by themselves. */
void
sim_supervisor_kill(int node)
{
	if (!sim.node[node].process[SIM_SUPERVISOR].is_alive)
		return;
	sim_note(node, "kill supervisor", 0, 0);
	sim_trace(node, "supervisor: is killed");
	supervisor_dies(node);
	let_systemd_restart(node);
}

/* Its own end.  A page that neither server nor supervisor uses is removed. */
void
sim_process_exit(int node, int exit_code)
{
	SimNode    *self = &sim.node[node];

	sim_note(node, "exit", (uint64_t) exit_code, 0);
	sim_trace(node, "supervisor: ends with exit code %d", exit_code);
	supervisor_dies(node);
	if (!self->process[SIM_SERVER].is_alive)
		make_page(self);
	/* Restart=on-failure, RestartPreventExitStatus=2 3 4 6 */
	if (exit_code == 0 || (exit_code >= 2 && exit_code <= 4) || exit_code == HA_EXIT_FOREIGN)
		self->supervisor_wanted = false;
	let_systemd_restart(node);
}

static void
restart_worker(int node, int64_t server, void *owned)
{
	SimNode    *self = &sim.node[node];

	(void) owned;
	if (!self->process[SIM_SERVER].is_alive ||
		(uint32_t) server != self->process[SIM_SERVER].incarnation ||
		self->server.state == HA_SERVER_STOPPING || self->server.state == HA_SERVER_STOPPED)
		return;
	sim_worker_started(node);
}

/* The worker left by itself; the postmaster starts it again, unless it stops. */
void
sim_process_ended(int node, HaHome home)
{
	SimNode    *self = &sim.node[node];

	if (home != HA_HOME_WORKER || !self->process[SIM_WORKER].is_alive)
		return;
	sim_note(node, "worker leaves", 0, 0);
	sim_trace(node, "worker: has left");
	end_process(node, SIM_WORKER);
	home_close(node, HA_HOME_WORKER);
	lives[node].worker_leaves = false;
	if (self->process[SIM_SERVER].is_alive && self->server.state != HA_SERVER_STOPPING)
		sim_later_in(node, SIM_SERVER, WORKER_RESTART_US, restart_worker,
					 (int64_t) self->process[SIM_SERVER].incarnation, NULL);
}

/* SIGKILL.  The postmaster takes no chances with shared memory: all restart. */
void
sim_worker_kill(int node)
{
	if (!sim.node[node].process[SIM_WORKER].is_alive)
		return;
	sim_note(node, "kill worker", 0, 0);
	sim_trace(node, "worker: is killed, all backends are restarted");
	sim_worker_gone(node);
	sim_server_crash_restart(node);
}

static void
worker_told(int node, int64_t number, void *owned)
{
	SimHome    *worker = sim_home(node, HA_HOME_WORKER);

	(void) number;
	(void) owned;
	if (worker != NULL && !worker->must_close)
	{
		worker->must_leave = true;
		sim_host_wake(node, HA_HOME_WORKER);
		return;
	}
	/* its program has not begun: the signal ends it */
	sim_process_ended(node, HA_HOME_WORKER);
}

/* SIGTERM: baton first, then exit. */
void
sim_worker_leave(int node)
{
	if (!sim.node[node].process[SIM_WORKER].is_alive || lives[node].worker_leaves)
		return;
	lives[node].worker_leaves = true;
	sim_later_in(node, SIM_WORKER, sim_between(20, 500), worker_told, 0, NULL);
}

/* By server.c: the postmaster forked it. */
void
sim_worker_started(int node)
{
	SimNode    *self = &sim.node[node];

	if (self->kind == SIM_PATRONI || self->process[SIM_WORKER].is_alive)
		return;
	lives[node].worker_leaves = false;
	begin_process(node, SIM_WORKER);
	home_begin_soon(node, HA_HOME_WORKER);
}

/* By server.c: it went with the server. */
void
sim_worker_gone(int node)
{
	if (!sim.node[node].process[SIM_WORKER].is_alive)
		return;
	end_process(node, SIM_WORKER);
	lives[node].worker_leaves = false;
	home_close(node, HA_HOME_WORKER);
}

/* ------------------------------------------------------------------------
 * Pauses
 * ------------------------------------------------------------------------
 */

static void
resume_one(int node, SimProcessKind kind)
{
	SimProcess *process = &sim.node[node].process[kind];

	if (process->n_pauses <= 0)
		return;
	process->n_pauses--;
	if (process->n_pauses > 0)
		return;
	sim_check_thawed(node, kind);
	sim_process_resumed(node, kind);
	if (kind == SIM_SERVER && process->is_alive)
		sim_server_resumed(node);
}

/* SIGSTOP */
void
sim_pause(int node, SimProcessKind kind)
{
	if (!sim.node[node].process[kind].is_alive)
		return;
	sim_note(node, "pause", (uint64_t) kind, 0);
	sim_trace(node, "process %d is stopped", (int) kind);
	sim.node[node].process[kind].n_pauses++;
	lives[node].own_pauses[kind]++;
}

/* SIGCONT; a process that died meanwhile has forgotten its pauses. */
void
sim_resume(int node, SimProcessKind kind)
{
	if (lives[node].own_pauses[kind] == 0)
		return;
	sim_note(node, "resume", (uint64_t) kind, 0);
	sim_trace(node, "process %d goes on", (int) kind);
	lives[node].own_pauses[kind]--;
	resume_one(node, kind);
}

/* Everything on the host stands still. */
void
sim_host_pause(int node)
{
	if (!sim.node[node].host_is_up)
		return;
	sim_note(node, "pause host", 0, 0);
	sim_trace(node, "the host is stopped");
	lives[node].host_pauses++;
	for (int kind = 0; kind < SIM_PROCESSES; kind++)
		sim.node[node].process[kind].n_pauses++;
}

/* And goes on. */
void
sim_host_resume(int node)
{
	if (lives[node].host_pauses == 0)
		return;
	sim_note(node, "resume host", 0, 0);
	sim_trace(node, "the host goes on");
	lives[node].host_pauses--;
	for (int kind = 0; kind < SIM_PROCESSES; kind++)
		resume_one(node, (SimProcessKind) kind);
}

/* ------------------------------------------------------------------------
 * Hosts
 * ------------------------------------------------------------------------
 */

static void
forget_pauses(int node)
{
	lives[node].host_pauses = 0;
	for (int kind = 0; kind < SIM_PROCESSES; kind++)
	{
		lives[node].own_pauses[kind] = 0;
		sim.node[node].process[kind].n_pauses = 0;
	}
}

/* Power off. */
void
sim_host_crash(int node)
{
	SimNode    *self = &sim.node[node];

	if (!self->host_is_up)
		return;
	sim_note(node, "host crash", 0, 0);
	sim_trace(node, "the host loses its power");
	sim_worker_gone(node);
	supervisor_dies(node);
	sim_server_host_lost(node);
	self->host_is_up = false;
	forget_pauses(node);
	/* whatever came of the page: nobody reads it any more */
	make_page(self);
	lives[node].boots++;
}

/* Power on: a clock and a lease page that begin anew, systemd starts us. */
void
sim_host_boot(int node)
{
	SimNode    *self = &sim.node[node];

	if (self->host_is_up || !self->is_member)
		return;
	sim_note(node, "host boot", 0, 0);
	sim_trace(node, "the host boots");
	self->host_is_up = true;
	lives[node].boots++;
	self->clock_offset_us = 0;
	self->clock_offset_us = sim_between(SIM_MS(2000), SIM_MS(20000)) - sim_clock_us(node);
	make_page(self);
	observe_forget_node(node);
	let_systemd_restart(node);
}

/* The local configuration, as the file of an operator would say it. */
static char *
make_configuration(const SimNode *self)
{
	const SimProfile *profile = &sim.profile;
	json_t	   *json;
	char		address[64];
	char		api_address[64];
	char	   *text;

	snprintf(address, sizeof(address), "%s:5432", self->name);
	snprintf(api_address, sizeof(api_address), "%s:8008", self->name);
	json = json_pack("{s:s, s:s, s:{s:[s]}, s:{s:s, s:s},"
					 " s:{s:{s:I, s:I, s:I, s:I, s:I, s:{s:b, s:b}}},"
					 " s:{s:s, s:s, s:s, s:b, s:b, s:b, s:{s:{s:s, s:s}, s:{s:s, s:s}}},"
					 " s:{s:b}}",
					 "scope", "sim", "name", self->name,
					 "etcd3", "hosts", "store:2379",
					 "restapi", "listen", "0.0.0.0:8008", "connect_address", api_address,
					 "bootstrap", "dcs",
					 "ttl", (json_int_t) (profile->ttl_ms / 1000),
					 "loop_wait", (json_int_t) (profile->loop_wait_ms / 1000),
					 "retry_timeout", (json_int_t) (profile->retry_timeout_ms / 1000),
					 "maximum_lag_on_failover", (json_int_t) profile->maximum_lag,
					 "primary_start_timeout",
					 (json_int_t) (profile->primary_start_timeout_ms / 1000),
					 "postgresql", "use_pg_rewind", profile->use_pg_rewind, "use_slots", 1,
					 "postgresql", "listen", "0.0.0.0:5432", "connect_address", address,
					 "data_dir", "/tmp/sim_no_data",
					 "use_pg_rewind", profile->use_pg_rewind,
					 "remove_data_directory_on_rewind_failure", profile->may_remove_data,
					 "remove_data_directory_on_diverged_timelines", profile->may_remove_data,
					 "authentication",
					 "superuser", "username", "postgres", "password", "one",
					 "replication", "username", "replicator", "password", "two",
					 "tags", "nofailover", profile->nofailover == self->index);
	if (json == NULL)
		abort();
	if (profile->engine_keeps_sync)
	{
		json_t	   *dcs = json_object_get(json_object_get(json, "bootstrap"), "dcs");

		json_object_set_new(dcs, "synchronous_mode", profile->sync_mode == SIM_SYNC_QUORUM ?
							json_string("quorum") : json_true());
		json_object_set_new(dcs, "synchronous_mode_strict", json_boolean(profile->sync_is_strict));
		json_object_set_new(dcs, "synchronous_node_count", json_integer(profile->sync_node_count));
		json_object_set_new(dcs, "maximum_lag_on_syncnode",
							json_integer(profile->maximum_lag_on_syncnode));
	}
	if (profile->failsafe_mode)
		json_object_set_new(json_object_get(json_object_get(json, "bootstrap"), "dcs"),
							"failsafe_mode", json_true());
	text = json_dumps(json, JSON_COMPACT);
	json_decref(json);
	return text;
}

static int
draw_rate(void)
{
	int			kind = sim_pick(10);

	if (kind < 6)
		return (int) sim_between(-100, 100);
	return kind < 9 ? (int) sim_between(-5000, 5000) : (int) sim_between(-20000, 20000);
}

/* A fresh host with an empty directory, all up. */
void
sim_node_add(int node)
{
	SimNode    *self = &sim.node[node];
	const SimProfile *profile = &sim.profile;

	sim_node_free(node);
	self->index = node;
	snprintf(self->name, sizeof(self->name), "node%d", node + 1);
	self->kind = node < profile->n_nodes && node >= profile->n_nodes - profile->n_patroni ?
		SIM_PATRONI : SIM_OURS;
	self->is_member = true;
	self->host_is_up = true;
	self->supervisor_wanted = true;
	if (self->disk_slowness == 0)
		self->disk_slowness = 1;
	self->clock_ppm = draw_rate();
	self->clock_offset_us = 0;
	self->clock_offset_us = sim_between(SIM_MS(5000), SIM_MS(2000000)) - sim_clock_us(node);
	forget_pauses(node);
	lives[node].boots++;
	make_page(self);
	self->yaml_json = make_configuration(self);
	sim_data_clear(node);
	self->server.state = HA_SERVER_STOPPED;
	self->server.stream_from = -1;
	sim_note(node, "add", (uint64_t) self->clock_ppm, (uint64_t) self->clock_offset_us);
	sim_trace(node, "is added, its clock runs at %+d ppm", self->clock_ppm);
	sim_later(sim_between(0, SIM_MS(200)), restart_supervisor, node, lives[node].boots, NULL);
}

/* The memory, after a run. */
void
sim_node_free(int node)
{
	SimNode    *self = &sim.node[node];

	/* first, so that the end of the homes leaves no events behind */
	for (int kind = 0; kind < SIM_PROCESSES; kind++)
		self->process[kind].is_alive = false;
	for (int home = 0; home < 2; home++)
		home_close(node, (HaHome) home);
	home_forget_node(node);
	free(self->yaml_json);
	self->yaml_json = NULL;
	free(self->page);
	self->page = NULL;
	memset(&lives[node], 0, sizeof(lives[node]));
}

/* For good; its member key runs out by itself. */
void
sim_node_remove(int node)
{
	SimNode    *self = &sim.node[node];

	sim_note(node, "remove", 0, 0);
	sim_host_crash(node);
	self->is_member = false;
	self->supervisor_wanted = false;
}
