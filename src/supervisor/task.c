/*-------------------------------------------------------------------------
 *
 * task.c
 *      Runs one long task at a time: the side that never blocks.
 *
 * Phases of a task, one function each: CLEAN (end what outlived the last
 * postmaster), WORK (the process of task_work.c), WAIT_START (the server
 * comes up), WAIT_STOP (the server goes down).  finish() owns the end: it puts
 * the result aside and delivers it from the loop.
 *-------------------------------------------------------------------------
 */
#include "supervisor/task.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "postgres/postgres_dir.h"
#include "postgres/postgres_files.h"
#include "supervisor/postmaster_internal.h"
#include "supervisor/task_internal.h"

#define CLEAN_POLL_MS			10
#define CLEAN_LIMIT_MS			30000
#define CANCEL_KILL_MS			5000
#define IMMEDIATE_KILL_MS		8000	/* the postmaster kills its children after 5 s itself */
#define STOP_LIMIT_MS		60000	/* of a fast stop, without its checkpoint */
#define STOP_CHECKPOINT_LIMIT_MS	600000
#define STOP_POLL_MS			200

typedef enum TaskPhase
{
	PHASE_IDLE,
	PHASE_CLEAN,				/* no process of the old server may be left */
	PHASE_WORK,					/* our process runs */
	PHASE_WAIT_START,			/* the postmaster runs, not yet accepting */
	PHASE_WAIT_STOP,			/* the postmaster was told to stop */
	PHASE_DONE,					/* the result waits for its delivery */
} TaskPhase;

struct TaskRunner
{
	struct event_base *base;
	ProcessTable *processes;
	Postmaster *postmaster;
	TaskOps		ops;
	char	   *arguments[TASK_ARGUMENTS_MAX];	/* owned copies of the ops' */

	/* the running task */
	TaskPhase	phase;
	HaTask		task;
	uint64_t	id;
	HaStopMode	stop_mode;
	bool		is_cancelled;
	int64_t		phase_since_ms;
	int64_t		progress_ms;	/* when something last came */
	int64_t		progress_limit_ms;
	int64_t		report_start_ms;	/* WAIT_START: say that it takes long; 0 = said */
	int64_t		escalate_after_ms;	/* WAIT_STOP: to the next harder way; 0 = never */
	int			harshness;		/* WAIT_STOP: 0 as asked, 1 immediate, 2 SIGKILL */
	int64_t		cancel_ms;
	pid_t		child;			/* 0 = none */
	bool		child_exited;
	int			child_status;
	int			report_fd;		/* -1 = none */
	struct event *report;
	struct event *timer;
	char		line[TASK_LINE_MAX];
	size_t		line_used;
	char		last_progress[256];
	int64_t		last_progress_ms;
	/* kept for START, whose process is made after the cleaning */
	TaskRequest request;
	char	   *texts[3];
	Settings	settings;		/* shallow and owned document, see copy_settings() */

	/* the result */
	bool		has_result;
	HaTaskOutcome outcome;
	HaDivergence divergence;
	Lsn			lsn;
	char		message[1024];
};

static void on_timer(evutil_socket_t fd, short what, void *context);
static void on_postmaster(void *context, PostmasterEvent event);
static void finish(TaskRunner *runner, HaTaskOutcome outcome, const char *format,...)
			PRINTF_LIKE(3, 4);

/* NULL: no memory. */
TaskRunner *
task_runner_create(struct event_base *base, ProcessTable *processes, Postmaster *postmaster,
				   const TaskOps *ops)
{
	TaskRunner *runner = calloc(1, sizeof(*runner));
	int			n = 0;

	if (runner == NULL)
		return NULL;
	runner->base = base;
	runner->processes = processes;
	runner->postmaster = postmaster;
	runner->ops = *ops;
	runner->report_fd = -1;
	for (int i = 0; i < TASK_ARGUMENTS_MAX - 1 && ops->postmaster_arguments[i] != NULL; i++)
		if ((runner->arguments[n] = strdup(ops->postmaster_arguments[i])) != NULL)
			n++;
	runner->timer = evtimer_new(base, on_timer, runner);
	if (runner->timer == NULL)
	{
		task_runner_free(runner);
		return NULL;
	}
	postmaster_listen(postmaster, on_postmaster, runner);
	return runner;
}

static void
forget_child(TaskRunner *runner)
{
	if (runner->report != NULL)
		event_free(runner->report);
	runner->report = NULL;
	if (runner->report_fd >= 0)
		close(runner->report_fd);
	runner->report_fd = -1;
	if (runner->child > 0)
		process_unwatch(runner->processes, runner->child);
	runner->child = 0;
	runner->child_exited = false;
	runner->line_used = 0;
}

static void
forget_request(TaskRunner *runner)
{
	for (int i = 0; i < 3; i++)
	{
		free(runner->texts[i]);
		runner->texts[i] = NULL;
	}
	json_decref(runner->settings.document);
	json_decref(runner->settings.superuser.options);
	json_decref(runner->settings.replication.options);
	json_decref(runner->settings.rewind.options);
	explicit_bzero(&runner->settings, sizeof(runner->settings));
}

/* A running process is killed; the postmaster is not. */
void
task_runner_free(TaskRunner *runner)
{
	if (runner == NULL)
		return;
	if (runner->child > 0 && runner->phase == PHASE_WORK)
		kill(-runner->child, SIGKILL);
	forget_child(runner);
	forget_request(runner);
	if (runner->timer != NULL)
		event_free(runner->timer);
	postmaster_listen(runner->postmaster, NULL, NULL);
	for (int i = 0; i < TASK_ARGUMENTS_MAX; i++)
		free(runner->arguments[i]);
	free(runner);
}

HaTask
task_running(const TaskRunner *runner)
{
	return runner->phase == PHASE_IDLE ? HA_TASK_NONE : runner->task;
}

uint64_t
task_running_id(const TaskRunner *runner)
{
	return runner->phase == PHASE_IDLE ? 0 : runner->id;
}

static void
log_line(TaskRunner *runner, int level, const char *message)
{
	if (runner->ops.log != NULL)
		runner->ops.log(runner->ops.context, level, message, NULL, NULL);
}

static void
schedule(TaskRunner *runner, int64_t ms)
{
	struct timeval delay = {.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};

	evtimer_add(runner->timer, &delay);
}

static void
enter(TaskRunner *runner, TaskPhase phase, int64_t timer_ms)
{
	runner->phase = phase;
	runner->phase_since_ms = runner->progress_ms = clock_now_ms();
	schedule(runner, timer_ms);
}

/* The end; delivered from the loop by on_timer(). */
static void
finish(TaskRunner *runner, HaTaskOutcome outcome, const char *format,...)
{
	va_list		args;

	if (runner->phase == PHASE_DONE || runner->phase == PHASE_IDLE)
		return;
	runner->outcome = runner->is_cancelled && outcome != HA_TASK_OK ? HA_TASK_CANCELLED : outcome;
	va_start(args, format);
	vsnprintf(runner->message, sizeof(runner->message), format, args);
	va_end(args);
	forget_child(runner);
	forget_request(runner);
	enter(runner, PHASE_DONE, 0);
}

static void
deliver(TaskRunner *runner)
{
	TaskResult	result = {
		.task = runner->task,
		.id = runner->id,
		.outcome = runner->outcome,
		.divergence = runner->divergence,
		.lsn = runner->lsn,
	};
	char		message[sizeof(runner->message)];

	snprintf(message, sizeof(message), "%s", runner->message);
	result.message = message[0] != '\0' ? message : NULL;
	runner->phase = PHASE_IDLE;
	if (runner->ops.done != NULL)
		runner->ops.done(runner->ops.context, &result);
}

/* --- reports of the process --- */

static void
take_result(TaskRunner *runner, const char *line)
{
	int			outcome;
	int			divergence;
	unsigned long long lsn;
	int			used = 0;

	if (sscanf(line, "%d %d %llx %n", &outcome, &divergence, &lsn, &used) < 3 ||
		outcome < HA_TASK_OK || outcome > HA_TASK_CANCELLED ||
		divergence < HA_DIVERGENCE_UNKNOWN || divergence > HA_DIVERGENCE_CLONE)
		return;
	runner->has_result = true;
	runner->outcome = (HaTaskOutcome) outcome;
	runner->divergence = (HaDivergence) divergence;
	runner->lsn = (Lsn) lsn;
	snprintf(runner->message, sizeof(runner->message), "%s", used > 0 ? line + used : "");
}

static void
take_line(TaskRunner *runner, char *line)
{
	runner->progress_ms = clock_now_ms();
	switch (line[0])
	{
		case 'L':
			if (line[1] >= '0' && line[1] <= '2' && line[2] == ' ')
				log_line(runner, line[1] - '0', line + 3);
			break;
		case 'P':
			if (runner->ops.progress != NULL && strcmp(line + 1, runner->last_progress) != 0 &&
				runner->progress_ms - runner->last_progress_ms >= 1000)
			{
				snprintf(runner->last_progress, sizeof(runner->last_progress), "%.255s", line + 1);
				runner->last_progress_ms = runner->progress_ms;
				runner->ops.progress(runner->ops.context, runner->task, line + 1);
			}
			break;
		case 'R':
			take_result(runner, line + 1);
			break;
		default:
			break;
	}
}

static void begin_stop(TaskRunner *runner);

static bool
is_start(HaTask task)
{
	return task == HA_TASK_START_PRIMARY || task == HA_TASK_START_STANDBY;
}

/* The process has nothing more to say, or is gone, or both. */
static void
work_ended(TaskRunner *runner)
{
	char		status[100];
	Error		error;

	if (runner->phase != PHASE_WORK || runner->report_fd >= 0)
		return;
	if (runner->has_result && !(runner->task == HA_TASK_STOP && runner->outcome == HA_TASK_OK))
	{
		char		message[sizeof(runner->message)];

		if (!runner->child_exited)
			return;
		snprintf(message, sizeof(message), "%s", runner->message);
		finish(runner, runner->outcome, "%s", message);
	}
	else if (runner->child_exited && runner->task != HA_TASK_STOP)
	{
		process_status_text(runner->child_status, status, sizeof(status));
		if (is_start(runner->task))
			finish(runner, HA_TASK_FAILED, "server %s right at its start", status);
		else
			finish(runner, HA_TASK_FAILED, "process of task \"%s\" %s",
				   ha_task_name(runner->task), status);
	}
	else if (runner->task == HA_TASK_STOP)
	{
		if (runner->child_exited)
		{
			forget_child(runner);
			begin_stop(runner);
		}
	}
	else if (is_start(runner->task))
	{
		/* exec succeeded: it is the postmaster now */
		pid_t		child = runner->child;

		forget_child(runner);
		if (!postmaster_adopt(runner->postmaster, child, &error))
		{
			kill(child, SIGQUIT);
			finish(runner, HA_TASK_FAILED, "could not watch the server: %s", error.message);
		}
		else
		{
			enter(runner, PHASE_WAIT_START, 1000);
			if (runner->is_cancelled)
				finish(runner, HA_TASK_CANCELLED, "cancelled");
		}
	}
}

static void
on_child(void *context, pid_t pid, int wait_status)
{
	TaskRunner *runner = context;

	if (pid != runner->child)
		return;
	runner->child_exited = true;
	runner->child_status = wait_status;
	if (runner->phase == PHASE_WORK && runner->task != HA_TASK_NONE)
		kill(-pid, SIGKILL);		/* what it may have left in its group */
	work_ended(runner);
}

static void
on_report(evutil_socket_t fd, short what, void *context)
{
	TaskRunner *runner = context;

	(void) what;
	for (int reads = 0; reads < 16; reads++)
	{
		ssize_t		got = read(fd, runner->line + runner->line_used,
							   sizeof(runner->line) - 1 - runner->line_used);
		char	   *newline;

		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (got <= 0)
		{
			event_free(runner->report);
			runner->report = NULL;
			close(runner->report_fd);
			runner->report_fd = -1;
			work_ended(runner);
			return;
		}
		runner->line_used += (size_t) got;
		runner->line[runner->line_used] = '\0';
		while ((newline = memchr(runner->line, '\n', runner->line_used)) != NULL)
		{
			size_t		length = (size_t) (newline - runner->line) + 1;

			*newline = '\0';
			take_line(runner, runner->line);
			if (runner->report_fd < 0)
				return;
			runner->line_used -= length;
			memmove(runner->line, runner->line + length, runner->line_used + 1);
		}
		if (runner->line_used == sizeof(runner->line) - 1)
			runner->line_used = 0;	/* no line is that long */
	}
}

/* Make the process of the task. */
static bool
begin_work(TaskRunner *runner, Error *error)
{
	int			fds[2];
	pid_t		child;

	if (pipe2(fds, O_CLOEXEC) != 0)
		return error_set(error, "could not create pipe: %s", strerror(errno));
	child = process_fork();
	if (child == 0)
	{
		if (is_start(runner->task))
			setsid();				/* the server outlives us and our terminal */
		else
			setpgid(0, 0);
		process_child_init(fds[1]);
		prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
		task_work(&runner->request, &runner->settings, runner->arguments);
	}
	close(fds[1]);
	if (child < 0)
	{
		close(fds[0]);
		return error_set(error, "could not fork: %s", strerror(errno));
	}
	if (!is_start(runner->task))
		setpgid(child, child);
	runner->child = child;
	runner->child_exited = false;
	runner->report_fd = fds[0];
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	runner->report = event_new(runner->base, fds[0], EV_READ | EV_PERSIST, on_report, runner);
	if (runner->report == NULL || event_add(runner->report, NULL) != 0 ||
		!process_watch(runner->processes, child, on_child, runner))
	{
		kill(-child, SIGKILL);
		forget_child(runner);
		return error_set(error, "could not watch the process of the task");
	}
	enter(runner, PHASE_WORK, 1000);
	return true;
}

/* --- cleaning --- */

static void
continue_clean(TaskRunner *runner)
{
	Error		error;

	if (postmaster_pid(runner->postmaster) > 0 || postmaster_attach(runner->postmaster))
	{
		if (is_start(runner->task))
			enter(runner, PHASE_WAIT_START, 0);	/* it runs: what was wanted, or nearly */
		else
			finish(runner, HA_TASK_FAILED, "the server is running");
	}
	else if (postmaster_kill_orphans(runner->postmaster) == 0)
	{
		if (!begin_work(runner, &error))
			finish(runner, HA_TASK_FAILED, "%s", error.message);
	}
	else if (clock_now_ms() - runner->phase_since_ms > CLEAN_LIMIT_MS)
		finish(runner, HA_TASK_FAILED,
			   "processes of the server before it do not end, not even by SIGKILL");
	else
		schedule(runner, CLEAN_POLL_MS);
}

/* --- stopping --- */

/* Harder with each call: as asked, immediate, SIGKILL of everything. */
static void
signal_stop(TaskRunner *runner)
{
	static const char *const words[] = {"fast", "immediate", "by SIGKILL"};
	int			signals[] = {SIGINT, SIGQUIT, SIGKILL};
	Error		error;

	if (runner->harshness > 0)
	{
		char		message[120];

		snprintf(message, sizeof(message), "server has not stopped in time, now stopping it %s",
				 words[runner->harshness]);
		log_line(runner, 2, message);
	}
	if (!postmaster_signal(runner->postmaster, signals[runner->harshness], &error))
		log_line(runner, 2, error.message);
	runner->phase_since_ms = clock_now_ms();
	if (runner->harshness == 1)
		runner->escalate_after_ms = IMMEDIATE_KILL_MS;
	else if (runner->harshness == 2)
		runner->escalate_after_ms = 0;
}

/*
 * The end of the shutdown checkpoint's record: pg_control has its beginning,
 * and who has the WAL up to there does not have the record.
 */
static Lsn
end_of_checkpoint(const char *data_dir, const ControlFile *control)
{
	Error		error;
	Lsn			end;

	error_clear(&error);
	if (wal_record_end(data_dir, control->checkpoint_timeline, control->checkpoint_lsn, control,
					   &end, &error))
		return end;
	return control->checkpoint_lsn + 1;
}

static void
stopped(TaskRunner *runner)
{
	ControlFile control;
	const char *data_dir = postmaster_data_directory(runner->postmaster);

	if (control_file_load(data_dir, &control, NULL) &&
		(control.state == HA_CONTROL_SHUTDOWNED || control.state == HA_CONTROL_SHUTDOWNED_IN_RECOVERY))
		runner->lsn = end_of_checkpoint(data_dir, &control);
	finish(runner, HA_TASK_OK, "%s", "");
}

static void
begin_stop(TaskRunner *runner)
{
	runner->harshness = runner->stop_mode == HA_STOP_IMMEDIATE ? 1 : 0;
	enter(runner, PHASE_WAIT_STOP, STOP_POLL_MS);
	if (postmaster_pid(runner->postmaster) == 0 && !postmaster_attach(runner->postmaster))
	{
		schedule(runner, 0);
		return;
	}
	if (runner->harshness == 1)
	{
		Error		error;

		runner->escalate_after_ms = IMMEDIATE_KILL_MS;
		if (!postmaster_signal(runner->postmaster, SIGQUIT, &error))
			log_line(runner, 2, error.message);
	}
	else
		signal_stop(runner);
}

/* A shutdown checkpoint is progress, if it does not take for ever. */
static bool
is_checkpointing(const TaskRunner *runner, int64_t waited_ms)
{
	ControlFile control;

	return runner->harshness == 0 && waited_ms < STOP_CHECKPOINT_LIMIT_MS &&
		control_file_load(postmaster_data_directory(runner->postmaster), &control, NULL) &&
		control.state == HA_CONTROL_SHUTDOWNING;
}

static void
continue_stop(TaskRunner *runner)
{
	int64_t		waited_ms = clock_now_ms() - runner->phase_since_ms;

	if (postmaster_pid(runner->postmaster) == 0)
	{
		if (postmaster_kill_orphans(runner->postmaster) == 0)
			stopped(runner);
		else if (waited_ms > CLEAN_LIMIT_MS)
			finish(runner, HA_TASK_FAILED, "processes of the server do not end, not even by SIGKILL");
		else
			schedule(runner, CLEAN_POLL_MS);
		return;
	}
	if (runner->escalate_after_ms > 0 && waited_ms > runner->escalate_after_ms &&
		runner->harshness < 2 && !is_checkpointing(runner, waited_ms))
	{
		runner->harshness++;
		signal_stop(runner);
	}
	schedule(runner, STOP_POLL_MS);
}

/* --- starting --- */

static void
continue_start(TaskRunner *runner)
{
	int64_t		waited_ms = clock_now_ms() - runner->phase_since_ms;

	if (postmaster_accepts(runner->postmaster))
		finish(runner, HA_TASK_OK, "%s", "");
	else if (postmaster_pid(runner->postmaster) == 0)
		finish(runner, HA_TASK_FAILED, "server %s while it was starting",
			   postmaster_last_end(runner->postmaster)[0] != '\0' ?
			   postmaster_last_end(runner->postmaster) : "ended");
	else
	{
		if (runner->report_start_ms > 0 && waited_ms > runner->report_start_ms)
		{
			char		message[120];

			snprintf(message, sizeof(message),
					 "server is still starting after %lld s", (long long) (waited_ms / 1000));
			log_line(runner, 1, message);
			runner->report_start_ms = 0;
		}
		schedule(runner, 1000);
	}
}

static void
on_postmaster(void *context, PostmasterEvent event)
{
	TaskRunner *runner = context;

	if (runner->phase == PHASE_WAIT_START && (event == POSTMASTER_ACCEPTS || event == POSTMASTER_DIED))
		continue_start(runner);
	else if (runner->phase == PHASE_WAIT_STOP && event == POSTMASTER_DIED)
		continue_stop(runner);
}

/* --- time --- */

static void
continue_work(TaskRunner *runner)
{
	int64_t		now_ms = clock_now_ms();

	if (runner->is_cancelled)
	{
		if (now_ms - runner->cancel_ms >= CANCEL_KILL_MS && runner->child > 0)
		{
			kill(-runner->child, SIGKILL);
			finish(runner, HA_TASK_CANCELLED, "cancelled");
			return;
		}
	}
	else if (now_ms - runner->progress_ms > runner->progress_limit_ms)
	{
		int64_t		seconds = (now_ms - runner->progress_ms) / 1000;

		if (runner->child > 0)
			kill(-runner->child, SIGKILL);
		finish(runner, HA_TASK_FAILED, "no progress for %lld s, so its processes were killed",
			   (long long) seconds);
		return;
	}
	schedule(runner, 250);
}

static void
on_timer(evutil_socket_t fd, short what, void *context)
{
	TaskRunner *runner = context;

	(void) fd;
	(void) what;
	switch (runner->phase)
	{
		case PHASE_IDLE:
			break;
		case PHASE_CLEAN:
			continue_clean(runner);
			break;
		case PHASE_WORK:
			continue_work(runner);
			break;
		case PHASE_WAIT_START:
			continue_start(runner);
			break;
		case PHASE_WAIT_STOP:
			continue_stop(runner);
			break;
		case PHASE_DONE:
			deliver(runner);
			break;
	}
}

/* --- start and cancel --- */

/* How long a task may be silent.  The tools' own network waits are shorter. */
static int64_t
progress_limit_ms(const TaskRunner *runner, HaTask task)
{
	if (runner->ops.progress_timeout_ms > 0)
		return runner->ops.progress_timeout_ms;
	switch (task)
	{
		case HA_TASK_CHECK_DIVERGENCE:
			return 15000;
		case HA_TASK_START_PRIMARY:
		case HA_TASK_START_STANDBY:
			return 30000;
		case HA_TASK_POST_BOOTSTRAP:
			return 600000;			/* a script of the operator's */
		case HA_TASK_CRASH_RECOVERY:
			return 600000;
		default:
			return 120000;
	}
}

/* What the process needs outlives the caller's settings. */
static bool
copy_request(TaskRunner *runner, const TaskRequest *request, const Settings *settings)
{
	const char *texts[3] = {request->member, request->conn_url, request->slot};

	runner->request = *request;
	for (int i = 0; i < 3; i++)
		if ((runner->texts[i] = strdup(texts[i] != NULL ? texts[i] : "")) == NULL)
			return false;
	runner->request.member = runner->texts[0];
	runner->request.conn_url = runner->texts[1];
	runner->request.slot = runner->texts[2];
	runner->settings = *settings;
	runner->settings.tags_json = NULL;
	runner->settings.document = json_deep_copy(settings->document);
	runner->settings.superuser.options = json_deep_copy(settings->superuser.options);
	runner->settings.replication.options = json_deep_copy(settings->replication.options);
	runner->settings.rewind.options = json_deep_copy(settings->rewind.options);
	return true;
}

bool
task_start(TaskRunner *runner, const TaskRequest *request, const Settings *settings, Error *error)
{
	if (runner->phase != PHASE_IDLE)
		return error_set(error, "task \"%s\" is still running", ha_task_name(runner->task));
	if (request->task <= HA_TASK_NONE || request->task > HA_TASK_MOVE_DATA_ASIDE)
		return error_set(error, "there is no task %d", (int) request->task);
	if (!postmaster_configure(runner->postmaster, settings, error))
		return false;
	if (!copy_request(runner, request, settings))
	{
		forget_request(runner);
		return error_set(error, "out of memory");
	}
	runner->task = request->task;
	runner->id = request->id;
	runner->stop_mode = request->stop_mode;
	runner->is_cancelled = runner->has_result = false;
	runner->outcome = HA_TASK_FAILED;
	runner->divergence = HA_DIVERGENCE_UNKNOWN;
	runner->lsn = 0;
	runner->message[0] = runner->last_progress[0] = '\0';
	runner->last_progress_ms = 0;
	runner->progress_limit_ms = progress_limit_ms(runner, request->task);
	runner->report_start_ms = settings->pg_ctl_timeout_ms;
	/*
	 * A stop must end: an archive_command or a process that hangs would keep
	 * the lease and refuse every write.
	 */
	runner->escalate_after_ms = request->stop_mode == HA_STOP_FAST &&
		settings->synchronous_mode != SYNC_MODE_OFF && settings->primary_stop_timeout_ms > 0 ?
		settings->primary_stop_timeout_ms : STOP_LIMIT_MS;
	switch (request->task)
	{
		case HA_TASK_STOP:
			if (settings->before_stop[0] == '\0' || request->stop_mode == HA_STOP_IMMEDIATE)
			{
				begin_stop(runner);
				return true;
			}
			break;
		case HA_TASK_POST_BOOTSTRAP:
		case HA_TASK_CHECK_DIVERGENCE:
			break;
		default:
			enter(runner, PHASE_CLEAN, 0);
			return true;
	}
	if (!begin_work(runner, error))
	{
		runner->phase = PHASE_IDLE;
		forget_request(runner);
		return false;
	}
	return true;
}

void
task_cancel(TaskRunner *runner)
{
	if (runner->phase == PHASE_IDLE || runner->phase == PHASE_DONE || runner->is_cancelled)
		return;
	runner->is_cancelled = true;
	runner->cancel_ms = clock_now_ms();
	if (runner->phase == PHASE_WORK && runner->child > 0 && !is_start(runner->task))
	{
		kill(-runner->child, SIGTERM);
		schedule(runner, 250);
	}
	else if (runner->phase == PHASE_WORK)
		return;					/* about to be the postmaster: work_ended() sees it */
	else
		finish(runner, HA_TASK_CANCELLED, "cancelled");
}
