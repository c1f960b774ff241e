/*-------------------------------------------------------------------------
 *
 * observe.c
 *      What the server looks like to the supervisor: files and processes, and
 *      what its worker says while it is connected.
 *
 * Whether the server lives, starts or stops, and what pg_control says, always
 * comes from outside: the worker of a stopping server says what was.  Positions,
 * slots and senders come from the worker; once it is gone they are remembered,
 * for as long as it is the same postmaster, and is_observed is false.
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "node/combine.h"
#include "supervisor/log.h"
#include "supervisor/supervisor_internal.h"

/* Does the worker look at the server at the moment? */
bool
observe_worker_sees(const Supervisor *supervisor)
{
	int64_t last_ms =
		atomic_load_explicit(&supervisor->page->worker_heartbeat_ms, memory_order_acquire);

	return supervisor->worker != NULL && clock_now_ms() - last_ms <= STATE_FRESH_MS;
}

/* What the worker told of this postmaster, besides what files and processes say. */
static void
add_seen(const Supervisor *supervisor, HaPostgres *postgres)
{
	HaPostgres *outside = malloc(sizeof(HaPostgres));

	if (outside == NULL)
		return;
	*outside = *postgres;
	combine_views(postgres, outside, &supervisor->seen, observe_worker_sees(supervisor));
	free(outside);
}

/* What hangs, as the probes show it; else what the worker sees of it while it looks. */
static void
add_health(const Supervisor *supervisor, HaPostgres *postgres)
{
	const char *verdict = health_watch_verdict(&supervisor->health);

	if (verdict[0] == '\0' && postgres->is_observed)
		return;
	memset(postgres->hang, 0, sizeof(postgres->hang));
	snprintf(postgres->hang, sizeof(postgres->hang), "%s", verdict);
}

/* The server as it is now. */
void
observe_server(Supervisor *supervisor, HaPostgres *postgres)
{
	pid_t pid;

	memset(postgres, 0, sizeof(*postgres));
	postmaster_observe(supervisor->postmaster, postgres);
	pid = postmaster_pid(supervisor->postmaster);
	if (postgres->server == HA_SERVER_STOPPED)
	{
		atomic_store_explicit(&supervisor->page->is_primary, 0, memory_order_release);
		add_health(supervisor, postgres);
		return;
	}
	if (supervisor->has_seen && pid != 0 && pid == supervisor->seen_postmaster)
		add_seen(supervisor, postgres);
	add_health(supervisor, postgres);
}

/*
 * Keep the probes running, and look at what they have measured: also while the
 * worker drives, who may be stuck in what they find.
 */
void
observe_health(Supervisor *supervisor)
{
	const Settings *settings = host_settings(supervisor->host);
	const HaPostgres *postgres = host_last_postgres(supervisor->host);
	HealthFacts facts;

	if (settings == NULL)
		return;
	memset(&facts, 0, sizeof(facts));
	facts.now_ms = clock_now_ms();
	facts.wall_ms = clock_wall_ms();
	facts.connect_timeout_ms = settings->health_connect_timeout_ms;
	facts.disk_timeout_ms = settings->health_disk_timeout_ms;
	facts.takes_connections = postmaster_accepts(supervisor->postmaster);
	facts.has_data = postgres != NULL && postgres->data == HA_DATA_PRESENT;
	probes_turn(supervisor->probes, settings, facts.has_data,
				facts.takes_connections ? postmaster_pid(supervisor->postmaster) : 0);
	for (LeaseProbeKind kind = 0; kind < LEASE_PROBE_COUNT; kind++)
		health_probe_read(supervisor->page, kind, &facts.probes[kind]);
	health_watch_look(&supervisor->health, &facts);
}

/* Why this server is said to hang, by either home; "" = it is not.  Borrowed. */
const char *
observe_hang(const Supervisor *supervisor)
{
	const HaPostgres *postgres = host_last_postgres(supervisor->host);
	const char *verdict = health_watch_verdict(&supervisor->health);

	return verdict[0] == '\0' && postgres != NULL && postgres->is_observed ? postgres->hang : verdict;
}

/*
 * Look, and tell the engine.  What did not change is told only now and then:
 * each telling is a step of the engine.
 */
void
observe_and_tell(Supervisor *supervisor)
{
	HaPostgres *postgres = malloc(sizeof(HaPostgres));
	int64_t now_ms = clock_now_ms();

	if (postgres == NULL)
		return;
	observe_server(supervisor, postgres);
	if (!supervisor->has_given || now_ms - supervisor->given_at_ms >= OBSERVE_IDLE_MS ||
		memcmp(postgres, &supervisor->given, sizeof(*postgres)) != 0)
	{
		supervisor->given = *postgres;
		supervisor->has_given = true;
		supervisor->given_at_ms = now_ms;
		host_postgres(supervisor->host, postgres);
	}
	free(postgres);
}

/* Is something going on with the server that the engine should see at once? */
bool
observe_in_hurry(const Supervisor *supervisor)
{
	const HaPostgres *postgres = host_last_postgres(supervisor->host);
	HaTask task = task_running(supervisor->tasks);

	return task == HA_TASK_STOP || task == HA_TASK_START_PRIMARY || task == HA_TASK_START_STANDBY ||
		   (postgres != NULL &&
			(postgres->server == HA_SERVER_STARTING || postgres->server == HA_SERVER_STOPPING));
}

/* The worker tells what it sees. */
void
observe_worker_state(Supervisor *supervisor, const json_t *json)
{
	if (!json_is_object(json) || !postgres_from_json(&supervisor->seen, json))
	{
		log_write(LOG_LEVEL_DEBUG, "state of the worker cannot be read", NULL, NULL);
		return;
	}
	supervisor->has_seen = true;
	supervisor->seen_postmaster = postmaster_pid(supervisor->postmaster);
	if (host_is_driving(supervisor->host))
		observe_and_tell(supervisor);
	else
		host_postgres(supervisor->host, &supervisor->seen);
}

/* The server that the worker saw is no more. */
void
observe_forget(Supervisor *supervisor)
{
	supervisor->has_seen = false;
	supervisor->seen_postmaster = 0;
}
