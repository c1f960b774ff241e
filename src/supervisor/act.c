/*-------------------------------------------------------------------------
 *
 * act.c
 *      Carries out what the engine wants of the server while this program
 *      drives it.
 *
 * Nothing here waits: what takes long is a task.  What needs the inside of
 * the server (slots, checkpoints, replay) is left to the worker, who gets the
 * baton as soon as the server runs; the engine asks again then.
 *-------------------------------------------------------------------------
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "postgres/postgres_dir.h"
#include "supervisor/log.h"
#include "supervisor/supervisor_internal.h"

static void
warn(const char *what, const Error *error)
{
	log_format(LOG_LEVEL_WARNING, "could not %s: %s", what, error->message);
}

static bool
reload_server(Supervisor *supervisor, Error *error)
{
	if (postmaster_pid(supervisor->postmaster) == 0)
		return true;
	return postmaster_signal(supervisor->postmaster, SIGHUP, error);
}

static bool
promote(Supervisor *supervisor, Error *error)
{
	const Settings *settings = host_settings(supervisor->host);
	pid_t pid = postmaster_pid(supervisor->postmaster);

	if (pid == 0)
		return error_set(error, "the server is not running");
	return postmaster_promote(settings->data_dir, pid, error);
}

static bool
follow(Supervisor *supervisor, const HaAction *action, Error *error)
{
	const Settings *settings = host_settings(supervisor->host);

	return conf_write_recovery(settings, action->url, action->slot, true, error) &&
		   reload_server(supervisor, error);
}

/* The server's version; 15 is 150000 when nobody said it more exactly. */
static bool
server_version(const Supervisor *supervisor, int *version, Error *error)
{
	const HaPostgres *postgres = host_last_postgres(supervisor->host);
	int major;

	if (postgres != NULL && postgres->version_num > 0)
	{
		*version = postgres->version_num;
		return true;
	}
	if (!data_directory_version(host_settings(supervisor->host)->data_dir, &major, error))
		return false;
	*version = major * 10000;
	return true;
}

/*
 * Write the server's configuration files anew, for the upstream that they
 * name now, and reload the server.  A data directory that does not exist yet
 * is left to the task that makes it.
 */
bool
act_write_files(Supervisor *supervisor, Error *error)
{
	const Settings *settings = host_settings(supervisor->host);
	HaPostgres *postgres = malloc(sizeof(HaPostgres));
	ConfigProblems problems;
	char host[256];
	char slot[64];
	char url[CLUSTER_URL_MAX] = "";
	int port = 0;
	int version;
	bool ok;

	if (postgres == NULL)
		return error_set(error, "out of memory");
	observe_server(supervisor, postgres);
	ok = postgres->data == HA_DATA_PRESENT && postgres->server != HA_SERVER_STOPPED;
	if (!ok)
	{
		free(postgres);
		return true;
	}
	conf_read_upstream(settings, host, &port, slot);
	if (host[0] != '\0')
		snprintf(url, sizeof(url),
				 strchr(host, ':') == NULL ? "postgres://%s:%d/%s" : "postgres://[%s]:%d/%s", host,
				 port, settings->database);
	config_problems_init(&problems);
	ok = server_version(supervisor, &version, error) &&
		 conf_write_all(settings, version, url, slot, postgres->is_standby_configured, &problems,
						error) &&
		 reload_server(supervisor, error);
	for (int i = 0; i < problems.count; i++)
		log_format(problems.items[i].is_error ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING, "%s: %s",
				   problems.items[i].key, problems.items[i].message);
	config_problems_free(&problems);
	free(postgres);
	return ok;
}

/* Start the task that an action asks for. */
void
act_start_task(Supervisor *supervisor, const HaAction *action)
{
	TaskRequest request;
	Error error;

	memset(&request, 0, sizeof(request));
	error_clear(&error);
	request.task = action->task;
	request.id = action->task_id;
	request.member = action->member;
	request.conn_url = action->url;
	request.slot = action->slot;
	request.stop_mode = action->stop_mode;
	if (supervisor->stop == STOP_FASTER)
		request.stop_mode = HA_STOP_IMMEDIATE;
	request.from_leader = action->from_leader;
	request.timeline = action->timeline;
	request.is_former_primary = action->is_former_primary;
	if (action->task == HA_TASK_WAL_END)
		request.start_lsn =
			atomic_load_explicit(&supervisor->page->flush_lsn, memory_order_acquire);
	log_write(LOG_LEVEL_DEBUG, ha_task_name(action->task), action->because, NULL);
	if (task_start(supervisor->tasks, &request, host_settings(supervisor->host), &error))
		return;
	log_error(LOG_LEVEL_WARNING, &error);
	host_task_done(supervisor->host, action->task, action->task_id, HA_TASK_FAILED,
				   HA_DIVERGENCE_UNKNOWN, 0, error.message);
}

/* The end of a task: what it left behind first, then its result. */
void
act_task_done(void *context, const TaskResult *result)
{
	Supervisor *supervisor = context;

	observe_and_tell(supervisor);
	host_task_done(supervisor->host, result->task, result->id, result->outcome, result->divergence,
				   result->lsn, result->message);
}

/* HostOps.act: carry out an action about the local server or the baton. */
void
act_carry_out(void *context, const HaAction *action)
{
	Supervisor *supervisor = context;
	const Settings *settings = host_settings(supervisor->host);
	Error error;

	error_clear(&error);
	switch (action->kind)
	{
		case HA_PROMOTE:
			if (!promote(supervisor, &error))
				warn("promote the server", &error);
			break;
		case HA_PLACE_HISTORY:
			if (!history_file_place(settings->data_dir, action->timeline, action->parent,
									action->lsn, &error))
				warn("mark a timeline as taken", &error);
			break;
		case HA_FOLLOW:
			if (!follow(supervisor, action, &error))
				warn("follow another server", &error);
			break;
		case HA_RELOAD:
			if (!act_write_files(supervisor, &error))
				warn("reload the server", &error);
			break;
		case HA_START_TASK:
			if (!bouncers_pause_first(supervisor->bouncers, action))
				act_start_task(supervisor, action);
			break;
		case HA_CANCEL_TASK:
			if (!bouncers_cancel(supervisor->bouncers))
				task_cancel(supervisor->tasks);
			break;
		case HA_CALLBACK:
			callback_run(supervisor->callbacks, settings, action->key,
						 member_role_name(action->role));
			break;
		case HA_EXIT:
			log_write(LOG_LEVEL_LOG, "the supervisor ends", action->because, NULL);
			supervisor_end(supervisor, action->exit_code);
			break;
		case HA_ANSWER:
			if (calls_answer(supervisor, action) ||
				bouncers_answer(supervisor->bouncers, action))
				break;
			log_format(LOG_LEVEL_DEBUG, "command %llu is %s: %s",
					   (unsigned long long) action->command_id, action->ok ? "done" : "refused",
					   action->text != NULL ? action->text : action->because);
			break;
		case HA_YIELD:
		case HA_CHECKPOINT:
		case HA_CREATE_SLOT:
		case HA_DROP_SLOT:
		case HA_ADVANCE_SLOT:
		case HA_COPY_SLOTS:
		case HA_RESUME_REPLAY:
		case HA_SET_SYNC_NAMES:
			log_format(LOG_LEVEL_DEBUG, "left to the worker: %s", action->because);
			break;
		default:
			break; /* done by the host */
	}
}
