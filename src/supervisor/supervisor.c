/*-------------------------------------------------------------------------
 *
 * supervisor.c
 *      The program outside the server: start, loop, reload, end.
 *
 * One thread and one libevent loop.  After whatever event the loop brought,
 * one turn looks at everything that may follow from it, so no path can forget
 * a step: the engine's inputs, the baton, files to be written, a stop that
 * was asked for.
 *
 * Killing this program leaves server and worker running; the next supervisor
 * finds them by the lease page and the pid file and goes on.
 *-------------------------------------------------------------------------
 */
#include "supervisor/supervisor.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/version.h"
#include "cluster/ascii.h"
#include "postgres/own_conf.h"
#include "supervisor/log.h"
#include "supervisor/notify.h"
#include "supervisor/supervisor_internal.h"

extern char **environ;

#define SETTINGS_PROBLEMS_SHOWN 50

/* HostOps.log and its like: one log for all parts. */
void
supervisor_log(void *context, int level, const char *message, const char *detail, const char *hint)
{
	(void) context;
	log_write(level <= 0   ? LOG_LEVEL_DEBUG
			  : level == 1 ? LOG_LEVEL_LOG
						   : LOG_LEVEL_WARNING,
			  message, detail, hint);
}

static void
rest_log(void *context, int level, const char *message)
{
	supervisor_log(context, level, message, NULL, NULL);
}

/* Leave the loop. */
void
supervisor_end(Supervisor *supervisor, int exit_code)
{
	supervisor->is_over = true;
	supervisor->exit_code = exit_code;
	event_base_loopbreak(supervisor->base);
}

/* ------------------------------------------------------------------------
 * Configuration
 * ------------------------------------------------------------------------
 */

static void
log_problems(const ConfigProblems *problems)
{
	for (int i = 0; i < problems->count && i < SETTINGS_PROBLEMS_SHOWN; i++)
	{
		const ConfigProblem *problem = &problems->items[i];

		log_format(problem->is_error ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING, "%s%s%s%s%s",
				   problem->place, problem->place[0] != '\0' ? ": " : "", problem->key,
				   problem->key[0] != '\0' ? ": " : "", problem->message);
	}
}

/* One line a problem: "patroni.yml:12:3: error: restapi.listen: ..." */
static void
print_problems(const ConfigProblems *problems)
{
	for (int i = 0; i < problems->count; i++)
	{
		const ConfigProblem *problem = &problems->items[i];
		char line[1024];
		char clean[1024];

		snprintf(line, sizeof(line), "%s%s%s: %s%s%s", problem->place,
				 problem->place[0] != '\0' ? ": " : "", problem->is_error ? "error" : "warning",
				 problem->key, problem->key[0] != '\0' ? ": " : "", problem->message);
		log_redact(line, clean, sizeof(clean));
		fprintf(stderr, "%s\n", clean);
	}
}

/* Print the problems of a configuration, one a line.  Returns an exit code. */
int
supervisor_validate(const char *config_path)
{
	ConfigProblems problems;
	LocalConfig *local = NULL;
	Settings settings;
	bool ok;

	config_problems_init(&problems);
	settings_init(&settings);
	ok = local_config_read(&local, config_path, environ, &problems);
	if (ok)
	{
		char *dynamic = settings_initial_dynamic(local);

		ok = settings_merge(&settings, local, dynamic, &problems);
		if (ok)
			own_conf_compare(&settings, &problems);
		free(dynamic);
	}
	print_problems(&problems);
	settings_free(&settings);
	local_config_free(local);
	ok = ok && problems.n_errors == 0;
	config_problems_free(&problems);
	return ok ? SUPERVISOR_EXIT_OK : SUPERVISOR_EXIT_TROUBLE;
}

/* Keep a copy of the local configuration for the worker. */
static void
keep_document(Supervisor *supervisor, const LocalConfig *local)
{
	char *text = local_config_to_json(local);

	json_decref(supervisor->local_document);
	supervisor->local_document = text == NULL ? NULL : json_loads(text, 0, NULL);
	if (text != NULL)
		explicit_bzero(text, strlen(text));
	free(text);
}

/*
 * A worker that starts while the store is away begins with the dynamic
 * configuration as it was last, like a program of ours does (cache.c); not with
 * bootstrap.dcs.  One that cannot be used is left out.
 */
static void
keep_dynamic(Supervisor *supervisor, const char *config_json)
{
	json_t *document = json_object_get(supervisor->local_document, "document");
	json_t *bootstrap = json_object_get(document, "bootstrap");
	char *text = json_is_object(bootstrap) ? json_dumps(document, JSON_COMPACT) : NULL;
	LocalConfig *local = text == NULL ? NULL : local_config_from_json(text);
	ConfigProblems problems;
	Settings settings;

	config_problems_init(&problems);
	settings_init(&settings);
	if (local != NULL && settings_merge(&settings, local, config_json, &problems) &&
		problems.n_errors == 0)
		json_object_set_new(bootstrap, "dcs", json_loads(config_json, 0, NULL));
	settings_free(&settings);
	local_config_free(local);
	config_problems_free(&problems);
	if (text != NULL)
		explicit_bzero(text, strlen(text));
	free(text);
}

static void
set_log_level(const Settings *settings)
{
	const char *level =
		json_string_value(json_object_get(json_object_get(settings->document, "log"), "level"));

	log_set_debug(level != NULL && ascii_is_same(level, "DEBUG"));
}

/* The part of the settings that ends up in the server's files. */
static json_t *
files_part(const Settings *settings)
{
	return json_object_get(settings->document, "postgresql");
}

/* HostOps.settings: what is in force has changed. */
static void
settings_changed(void *context, const Settings *settings)
{
	Supervisor *supervisor = context;
	Error error;

	error_clear(&error);
	set_log_level(settings);
	bouncers_configure(supervisor->bouncers);
	if (supervisor->postmaster != NULL &&
		!postmaster_configure(supervisor->postmaster, settings, &error))
		log_error(LOG_LEVEL_WARNING, &error);
	if (supervisor->written_part != NULL &&
		!json_equal(supervisor->written_part, files_part(settings)))
		supervisor->must_write_files = true;
	json_decref(supervisor->written_part);
	supervisor->written_part = json_deep_copy(files_part(settings));
}

/* The member's REST address may have changed. */
static void
configure_rest(Supervisor *supervisor)
{
	const Settings *settings = host_settings(supervisor->host);
	RestListen listen;
	Error error;

	error_clear(&error);
	rest_listen_from_settings(&listen, settings);
	if (!rest_reconfigure(supervisor->rest, &listen, &error))
		log_error(LOG_LEVEL_WARNING, &error);
}

/*
 * Read the configuration again.  A configuration that cannot be used is
 * logged and changes nothing.
 */
void
supervisor_reload(Supervisor *supervisor)
{
	ConfigProblems problems;
	LocalConfig *local = NULL;

	notify_reloading();
	config_problems_init(&problems);
	if (!local_config_read(&local, supervisor->config_path, supervisor->environment, &problems))
	{
		log_problems(&problems);
		log_write(LOG_LEVEL_ERROR, "could not reload the configuration, the old one stays in force",
				  NULL, NULL);
		local_config_free(local);
	}
	else
	{
		json_t *old = json_incref(supervisor->local_document);

		cache_apply(local, host_settings(supervisor->host)->data_dir);
		keep_document(supervisor, local);
		if (!host_configure(supervisor->host, local, &problems))
		{
			log_problems(&problems);
			log_write(LOG_LEVEL_ERROR,
					  "could not reload the configuration, the old one stays in force", NULL, NULL);
			local_config_free(local);
			json_decref(supervisor->local_document);
			supervisor->local_document = json_incref(old);
		}
		else
		{
			log_problems(&problems);
			log_write(LOG_LEVEL_LOG,
					  json_equal(old, supervisor->local_document)
						  ? "no local configuration item changed"
						  : "reloaded the configuration",
					  NULL, NULL);
			supervisor->must_write_files = supervisor->reload_was_asked = true;
			configure_rest(supervisor);
			baton_send_config(supervisor);
		}
		json_decref(old);
	}
	config_problems_free(&problems);
	notify_ready();
}

/* ------------------------------------------------------------------------
 * The loop
 * ------------------------------------------------------------------------
 */

static void
ask_for_stop(Supervisor *supervisor)
{
	Error error;

	error_clear(&error);
	if (supervisor->stop == STOP_NOT)
	{
		supervisor->stop = STOP_ASKED;
		notify_stopping();
		log_write(LOG_LEVEL_LOG, "received a request to stop",
				  "Leadership is handed over and the server is stopped.", NULL);
	}
	else if (supervisor->stop == STOP_ASKED)
	{
		supervisor->stop = STOP_FASTER;
		log_write(LOG_LEVEL_LOG, "received another request to stop",
				  "The server is stopped at once and recovers when it is started again.", NULL);
		if (postmaster_pid(supervisor->postmaster) != 0 &&
			!postmaster_signal(supervisor->postmaster, SIGQUIT, &error))
			log_error(LOG_LEVEL_WARNING, &error);
	}
}

static void
signal_received(evutil_socket_t signal_number, short what, void *arg)
{
	Supervisor *supervisor = arg;

	(void) what;
	switch (signal_number)
	{
		case SIGHUP:
			supervisor_reload(supervisor);
			break;
		case SIGQUIT:
			log_write(LOG_LEVEL_LOG, "the supervisor ends, the server is left alone", NULL, NULL);
			supervisor_end(supervisor, SUPERVISOR_EXIT_OK);
			break;
		default:
			ask_for_stop(supervisor);
			break;
	}
}

/* Nothing to do here: the turn after each event does it. */
static void
woken(evutil_socket_t fd, short what, void *arg)
{
	(void) fd;
	(void) what;
	(void) arg;
}

static void
arm_timer(struct event *timer, int64_t wait_ms)
{
	struct timeval wait;

	wait.tv_sec = wait_ms / 1000;
	wait.tv_usec = (wait_ms % 1000) * 1000;
	event_add(timer, &wait);
}

/*
 * The worker does it all, shows that it lives, and nobody waits for anything.
 * The simulator has this, and the interval, as well: src/sim/home_supervisor.c.
 */
static bool
is_idle(const Supervisor *supervisor)
{
	return !host_is_driving(supervisor->host) && observe_worker_sees(supervisor) &&
		   supervisor->stale_checks == 0 && supervisor->give_deadline_ms == 0 &&
		   supervisor->stop == STOP_NOT && health_watch_is_calm(&supervisor->health) &&
		   observe_hang(supervisor)[0] == '\0' && !calls_are_under_way(supervisor);
}

/*
 * How often to look.  Who watches a worker that takes its turns can do it half
 * as often as that looks itself: it is long before ttl/2 that the worker is missed.
 */
static int64_t
check_interval_ms(const Supervisor *supervisor)
{
	int64_t idle_ms = host_idle_interval_ms(supervisor->host, BATON_CHECK_MS);

	return idle_ms > BATON_CHECK_MS && is_idle(supervisor) ? 2 * idle_ms : BATON_CHECK_MS;
}

/* Look again when it is time; what begins after an idle check may not wait for the next. */
static void
arm_check(Supervisor *supervisor, bool is_over)
{
	int64_t every_ms = check_interval_ms(supervisor);

	if (!is_over && every_ms >= supervisor->check_every_ms)
		return;
	supervisor->check_every_ms = every_ms;
	arm_timer(supervisor->check_timer, every_ms);
}

static void
check_due(evutil_socket_t fd, short what, void *arg)
{
	(void) fd;
	(void) what;
	observe_health(arg);
	baton_check(arg);
	arm_check(arg, true);
}

static void
ask_due(evutil_socket_t fd, short what, void *arg)
{
	(void) fd;
	(void) what;
	status_give_up(arg, false);
}

static void
observe_due(evutil_socket_t fd, short what, void *arg)
{
	Supervisor *supervisor = arg;

	(void) fd;
	(void) what;
	/* else the turn sets it when the worker is gone */
	if (!host_is_driving(supervisor->host))
		return;
	observe_and_tell(supervisor);
	arm_timer(supervisor->observe_timer,
			  observe_in_hurry(supervisor) ? OBSERVE_HURRY_MS : OBSERVE_IDLE_MS);
}

/* PostmasterOps.changed: something happened to the server. */
static void
postmaster_changed(void *context, PostmasterEvent event)
{
	Supervisor *supervisor = context;

	if (event == POSTMASTER_ATTACHED || event == POSTMASTER_DIED)
		observe_forget(supervisor);
	if (host_is_driving(supervisor->host))
	{
		observe_and_tell(supervisor);
		arm_timer(supervisor->observe_timer, OBSERVE_HURRY_MS);
	}
}

static void
task_progress(void *context, HaTask task, const char *text)
{
	(void) context;
	(void) task;
	notify_status(text);
	log_write(LOG_LEVEL_LOG, text, NULL, NULL);
}

/* The stop that was asked for, as far as it is this program's part. */
static void
stop_turn(Supervisor *supervisor)
{
	HaCommand command;

	if (supervisor->stop == STOP_NOT)
		return;
	if (!host_is_driving(supervisor->host))
	{
		supervisor->shutdown_is_queued = false;
		if (!baton_ask_back(supervisor, "the supervisor was told to stop") &&
			supervisor->give_deadline_ms == 0)
			supervisor->give_deadline_ms = clock_now_ms() + GIVE_TIMEOUT_MS;
		return;
	}
	if (supervisor->shutdown_is_queued)
		return;
	supervisor->shutdown_is_queued = true;
	memset(&command, 0, sizeof(command));
	command.kind = HA_COMMAND_SHUTDOWN;
	snprintf(command.reason, sizeof(command.reason), "the supervisor was told to stop");
	if (strcmp(ha_goal_name(host_node(supervisor->host)), "shutdown") != 0 &&
		!host_command(supervisor->host, &command))
		supervisor->shutdown_is_queued = false;
}

static void
files_turn(Supervisor *supervisor)
{
	const Settings *settings = host_settings(supervisor->host);
	const ClusterView *view = host_view(supervisor->host);
	Error error;

	error_clear(&error);
	/* a task writes the files itself; what changed meanwhile is written after it */
	if (supervisor->must_write_files && task_running(supervisor->tasks) == HA_TASK_NONE)
	{
		supervisor->must_write_files = supervisor->reload_was_asked = false;
		if (!act_write_files(supervisor, &error))
		{
			error_wrap(&error, "could not write the server's configuration");
			log_error(LOG_LEVEL_WARNING, &error);
		}
		else if (postmaster_accepts(supervisor->postmaster))
			callback_run(supervisor->callbacks, settings, "on_reload",
						 host_last_postgres(supervisor->host) != NULL &&
								 host_last_postgres(supervisor->host)->is_in_recovery
							 ? "replica"
							 : "primary");
	}
	if (view != NULL && view->config_json != NULL &&
		view->config_version != supervisor->cached_version &&
		!host_refuses_dynamic(supervisor->host))
	{
		supervisor->cached_version = view->config_version;
		keep_dynamic(supervisor, view->config_json);
		if (!cache_write(settings->data_dir, view->config_json, &error))
			log_error(LOG_LEVEL_WARNING, &error);
	}
}

static void
turn(Supervisor *supervisor)
{
	int64_t now_ms = clock_now_ms();

	host_process(supervisor->host, now_ms);
	if (supervisor->is_over)
		return;
	stop_turn(supervisor);
	baton_turn(supervisor);
	files_turn(supervisor);
	bouncers_turn(supervisor->bouncers);
	takeovers_look(&supervisor->takeovers, host_view(supervisor->host), clock_now_ms(),
				   clock_wall_ms());
	calls_turn(supervisor);
	arm_check(supervisor, false);
	if (host_is_driving(supervisor->host) && !evtimer_pending(supervisor->observe_timer, NULL))
		arm_timer(supervisor->observe_timer, OBSERVE_HURRY_MS);
}

static int
run_loop(Supervisor *supervisor)
{
	while (!supervisor->is_over)
	{
		int timeout_ms;

		turn(supervisor);
		if (supervisor->is_over)
			break;
		timeout_ms = host_timeout_ms(supervisor->host, clock_now_ms());
		if (timeout_ms >= 0)
			arm_timer(supervisor->host_timer, timeout_ms);
		else
			event_del(supervisor->host_timer);
		if (event_base_loop(supervisor->base, EVLOOP_ONCE) < 0)
		{
			log_write(LOG_LEVEL_ERROR, "could not wait for events", NULL, NULL);
			return SUPERVISOR_EXIT_TROUBLE;
		}
	}
	return supervisor->exit_code;
}

/* ------------------------------------------------------------------------
 * Start and end
 * ------------------------------------------------------------------------
 */

/* All directories above the data directory. */
static void
make_parents(const char *data_directory)
{
	char path[SETTINGS_PATH_MAX];

	snprintf(path, sizeof(path), "%s", data_directory);
	for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/'))
	{
		*slash = '\0';
		(void) mkdir(path, 0755); /* what fails shows at the first use */
		*slash = '/';
	}
}

static bool
check_owner(const char *data_directory, Error *error)
{
	struct stat st;

	if (stat(data_directory, &st) != 0 || st.st_uid == geteuid())
		return true;
	error_set(error, "data directory \"%s\" belongs to another user", data_directory);
	error_hint(error, "Run patroni_supervisor as the user that owns the data directory.");
	return false;
}

static bool
watch_events(Supervisor *supervisor, Error *error)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT };

	supervisor->host_event = event_new(supervisor->base, host_fd(supervisor->host),
									   EV_READ | EV_PERSIST, woken, supervisor);
	supervisor->host_timer = evtimer_new(supervisor->base, woken, supervisor);
	supervisor->observe_timer = evtimer_new(supervisor->base, observe_due, supervisor);
	supervisor->ask_timer = evtimer_new(supervisor->base, ask_due, supervisor);
	supervisor->check_timer = evtimer_new(supervisor->base, check_due, supervisor);
	if (supervisor->host_event == NULL || supervisor->host_timer == NULL ||
		supervisor->observe_timer == NULL || supervisor->ask_timer == NULL ||
		supervisor->check_timer == NULL || event_add(supervisor->host_event, NULL) != 0)
		return error_set(error, "could not set up the loop");
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
	{
		supervisor->signals[i] =
			evsignal_new(supervisor->base, signals[i], signal_received, supervisor);
		if (supervisor->signals[i] == NULL || event_add(supervisor->signals[i], NULL) != 0)
			return error_set(error, "could not set up signal handling");
	}
	arm_timer(supervisor->observe_timer, OBSERVE_HURRY_MS);
	arm_check(supervisor, true);
	return true;
}

static bool
make_parts(Supervisor *supervisor, Error *error)
{
	HostOps host_ops = {
		.context = supervisor,
		.act = act_carry_out,
		.log = supervisor_log,
		.settings = settings_changed,
		.cycles = cycles_are_steady() ? cycles_now : NULL,
	};
	PostmasterOps postmaster_ops = {
		.context = supervisor,
		.changed = postmaster_changed,
		.log = supervisor_log,
	};
	TaskOps task_ops = {
		.context = supervisor,
		.done = act_task_done,
		.progress = task_progress,
		.log = supervisor_log,
		.postmaster_arguments = { supervisor->page_argument, supervisor->socket_argument },
	};

	snprintf(supervisor->page_argument, sizeof(supervisor->page_argument),
			 "--patroni.lease_page=%s", supervisor->page_name);
	snprintf(supervisor->socket_argument, sizeof(supervisor->socket_argument),
			 "--patroni.socket=%s", supervisor->socket_path);
	supervisor->base = event_base_new();
	if (supervisor->base == NULL)
		return error_set(error, "could not set up the loop");
	supervisor->processes = process_table_create(supervisor->base);
	supervisor->postmaster =
		supervisor->processes == NULL
			? NULL
			: postmaster_create(supervisor->base, supervisor->processes, &postmaster_ops);
	supervisor->tasks = supervisor->postmaster == NULL
							? NULL
							: task_runner_create(supervisor->base, supervisor->processes,
												 supervisor->postmaster, &task_ops);
	supervisor->callbacks =
		supervisor->tasks == NULL
			? NULL
			: callback_runner_create(supervisor->processes, supervisor_log, supervisor);
	supervisor->probes = supervisor->callbacks == NULL
							 ? NULL
							 : probes_create(supervisor->processes, supervisor->page);
	supervisor->bouncers = supervisor->probes == NULL ? NULL : bouncers_create(supervisor);
	if (supervisor->bouncers == NULL)
		return error_set(error, "out of memory");
	return host_open(&supervisor->host, HA_HOME_SUPERVISOR, supervisor->page, &host_ops, error);
}

static bool
start_rest(Supervisor *supervisor, Error *error)
{
	const Settings *settings = host_settings(supervisor->host);
	RestOps ops = {
		.context = supervisor,
		.status = status_request,
		.settings = calls_settings,
		.view = calls_view,
		.call = calls_request,
		.log = rest_log,
	};
	RestListen listen;

	rest_listen_from_settings(&listen, settings);
	supervisor->rest = rest_start(supervisor->base, &ops, &listen, error);
	return supervisor->rest != NULL || error_wrap(error, "could not start the REST API");
}

/*
 * Free everything.  The lease page stays for as long as a server may have it
 * mapped; one without supervisor and server is of no use to anybody.
 */
static void
close_parts(Supervisor *supervisor)
{
	bool is_alone = supervisor->page != NULL && supervisor->postmaster != NULL &&
					postmaster_pid(supervisor->postmaster) == 0 &&
					!postmaster_attach(supervisor->postmaster);
	struct event *events[] = {
		supervisor->host_event,	   supervisor->host_timer, supervisor->check_timer,
		supervisor->observe_timer, supervisor->ask_timer,  supervisor->signals[0],
		supervisor->signals[1],	   supervisor->signals[2], supervisor->signals[3],
	};

	if (supervisor->host != NULL && supervisor->ask_timer != NULL)
		status_give_up(supervisor, true);
	calls_close(supervisor);
	rest_stop(supervisor->rest);
	baton_close(supervisor);
	if (supervisor->socket_path[0] != '\0')
		unlink(supervisor->socket_path);
	probes_free(supervisor->probes);
	bouncers_free(supervisor->bouncers);
	callback_runner_free(supervisor->callbacks);
	if (supervisor->tasks != NULL)
		task_runner_free(supervisor->tasks);
	host_close(supervisor->host);
	if (supervisor->postmaster != NULL)
		postmaster_free(supervisor->postmaster);
	process_table_free(supervisor->processes);
	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
	{
		if (events[i] != NULL)
			event_free(events[i]);
	}
	if (supervisor->base != NULL)
		event_base_free(supervisor->base);
	json_decref(supervisor->local_document);
	json_decref(supervisor->written_part);
	json_decref(supervisor->senders);
	lease_page_close(supervisor->page);
	if (is_alone)
		lease_page_unlink(supervisor->page_name);
	if (supervisor->page_fd >= 0)
		close(supervisor->page_fd);
}

/* A node without a record is better than none: what goes wrong is only said. */
static void
start_trace(Supervisor *supervisor)
{
	Error error;

	error_clear(&error);
	if (!host_trace(supervisor->host, supervisor->trace_path, &error))
		log_error(LOG_LEVEL_WARNING, &error);
}

/*
 * From the configuration to a running loop.  Returns an exit code when it
 * cannot be, else that of the loop.
 */
static int
start_and_run(Supervisor *supervisor, LocalConfig *local, const Settings *settings)
{
	ConfigProblems problems;
	Error error;
	bool ok;

	error_clear(&error);
	make_parents(settings->data_dir);
	if (!check_owner(settings->data_dir, &error))
	{
		log_error(LOG_LEVEL_FATAL, &error);
		local_config_free(local);
		return SUPERVISOR_EXIT_WRONG_USER;
	}
	if (!lease_page_names(settings->data_dir, supervisor->page_name, supervisor->socket_path,
						  &error) ||
		!lease_page_create(supervisor->page_name, &supervisor->page, &supervisor->page_fd, &error))
	{
		supervisor->socket_path[0] = '\0'; /* it is another's */
		log_error(LOG_LEVEL_FATAL, &error);
		local_config_free(local);
		return SUPERVISOR_EXIT_ANOTHER_RUNS;
	}
	if (!make_parts(supervisor, &error) ||
		!postmaster_configure(supervisor->postmaster, settings, &error))
	{
		log_error(LOG_LEVEL_FATAL, &error);
		local_config_free(local);
		return SUPERVISOR_EXIT_TROUBLE;
	}
	start_trace(supervisor);
	config_problems_init(&problems);
	keep_document(supervisor, local);
	ok = host_configure(supervisor->host, local, &problems);
	log_problems(&problems);
	config_problems_free(&problems);
	if (!ok)
	{
		local_config_free(local);
		return SUPERVISOR_EXIT_CONFIGURATION;
	}
	if (!watch_events(supervisor, &error) || !start_rest(supervisor, &error) ||
		!baton_start(supervisor, &error))
	{
		log_error(LOG_LEVEL_FATAL, &error);
		return SUPERVISOR_EXIT_TROUBLE;
	}
	notify_ready();
	return run_loop(supervisor);
}

/* The environment as it was, for reloads: our variables are removed from the real one. */
static char **
copy_environment(void)
{
	size_t count = 0;
	char **copy;

	while (environ[count] != NULL)
		count++;
	copy = calloc(count + 1, sizeof(char *));
	for (size_t i = 0; copy != NULL && i < count; i++)
	{
		copy[i] = strdup(environ[i]);
		if (copy[i] == NULL)
			break;
	}
	return copy;
}

static void
free_environment(char **copy)
{
	for (size_t i = 0; copy != NULL && copy[i] != NULL; i++)
		free(copy[i]);
	free(copy);
}

/* The worker has another working directory: make the path absolute. */
static void
keep_trace_path(Supervisor *supervisor, const char *path)
{
	char directory[512] = "";
	int length;

	if (path == NULL || path[0] == '\0')
		return;
	if (path[0] != '/' && getcwd(directory, sizeof(directory)) == NULL)
		directory[0] = '\0';
	length = snprintf(supervisor->trace_path, sizeof(supervisor->trace_path), "%s%s%s", directory,
					  directory[0] != '\0' ? "/" : "", path);
	if (supervisor->trace_path[0] == '/' && (size_t) length < sizeof(supervisor->trace_path))
		return;
	supervisor->trace_path[0] = '\0';
	log_write(LOG_LEVEL_WARNING, "the trace file's path is too long, nothing is recorded", NULL,
			  NULL);
}

/* Run until told to stop.  Returns an exit code. */
int
supervisor_run(const char *config_path, const char *trace_path)
{
	Supervisor *supervisor = calloc(1, sizeof(Supervisor));
	char **environment = copy_environment();
	ConfigProblems problems;
	LocalConfig *local = NULL;
	Settings settings;
	int exit_code = SUPERVISOR_EXIT_CONFIGURATION;

	if (supervisor == NULL || environment == NULL)
	{
		free(supervisor);
		free_environment(environment);
		return SUPERVISOR_EXIT_TROUBLE;
	}
	supervisor->config_path = config_path;
	supervisor->environment = environment;
	supervisor->page_fd = supervisor->listen_fd = -1;
	keep_trace_path(supervisor, trace_path);
	notify_init();
	signal(SIGPIPE, SIG_IGN);
	process_scrub_environment();
	local_config_scrub_environment();

	config_problems_init(&problems);
	settings_init(&settings);
	if (local_config_read(&local, config_path, environment, &problems) &&
		settings_merge(&settings, local, NULL, &problems))
	{
		set_log_level(&settings);
		log_format(LOG_LEVEL_LOG,
				   "starting patroni_supervisor %s for member \"%s\" of cluster \"%s\"",
				   PATRONI_BGW_VERSION, settings.name, settings.scope);
		cache_apply(local, settings.data_dir);
		exit_code = start_and_run(supervisor, local, &settings);
	}
	else
	{
		log_problems(&problems);
		log_write(LOG_LEVEL_FATAL, "the configuration cannot be used", NULL,
				  "Correct it; patroni_supervisor --validate FILE shows all problems.");
		local_config_free(local);
	}
	config_problems_free(&problems);
	settings_free(&settings);
	close_parts(supervisor);
	free_environment(environment);
	free(supervisor);
	return exit_code;
}
