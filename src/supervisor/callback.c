/*-------------------------------------------------------------------------
 *
 * callback.c
 *      Runs postgresql.callbacks: <command words> <action> <role> <scope>.
 *
 *-------------------------------------------------------------------------
 */
#include "supervisor/callback.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "postgres/postgres_files.h"

/* Two slots: on_reload does not kill the others, nor they it. */
enum
{
	SLOT_EVENTS,
	SLOT_RELOAD,
	SLOT_COUNT,
};

typedef struct CallbackSlot
{
	struct CallbackRunner *runner;
	pid_t		pid;			/* of the script and its process group; 0 = none */
	char		action[32];
} CallbackSlot;

struct CallbackRunner
{
	ProcessTable *processes;
	CallbackLog log;
	void	   *log_context;
	CallbackSlot slots[SLOT_COUNT];
};

CallbackRunner *
callback_runner_create(ProcessTable *processes, CallbackLog log, void *log_context)
{
	CallbackRunner *runner = calloc(1, sizeof(*runner));

	if (runner == NULL)
		return NULL;
	runner->processes = processes;
	runner->log = log;
	runner->log_context = log_context;
	for (int i = 0; i < SLOT_COUNT; i++)
		runner->slots[i].runner = runner;
	return runner;
}

void
callback_runner_free(CallbackRunner *runner)
{
	if (runner == NULL)
		return;
	for (int i = 0; i < SLOT_COUNT; i++)
		if (runner->slots[i].pid > 0)
			process_unwatch(runner->processes, runner->slots[i].pid);
	free(runner);
}

static void
on_exit_of_script(void *context, pid_t pid, int wait_status)
{
	CallbackSlot *slot = context;
	char		status[100];
	char		message[200];

	(void) pid;
	process_status_text(wait_status, status, sizeof(status));
	snprintf(message, sizeof(message), "callback script for %s %s", slot->action, status);
	slot->runner->log(slot->runner->log_context, wait_status == 0 ? 0 : 2, message, NULL, NULL);
	slot->pid = 0;
}

/* Start the script of an action, if one is configured; kills the one before. */
void
callback_run(CallbackRunner *runner, const Settings *settings, const char *action, const char *role)
{
	const char *command = settings_text(settings, "postgresql", "callbacks", action);
	CallbackSlot *slot = &runner->slots[strcmp(action, "on_reload") == 0 ? SLOT_RELOAD : SLOT_EVENTS];
	char	   *words[OPTION_WORDS_MAX + 4];
	int			n_words = 0;
	Error		error;
	char		message[ERROR_TEXT_MAX + 100];
	pid_t		pid;

	if (command == NULL)
		return;
	error_clear(&error);
	if (!command_words(command, words, &n_words, &error) || n_words == 0)
	{
		snprintf(message, sizeof(message), "could not run callback for %s: %s", action, error.message);
		runner->log(runner->log_context, 2, message, NULL, NULL);
		words_free(words, n_words);
		return;
	}
	if (slot->pid > 0)
	{
		snprintf(message, sizeof(message), "killing the callback script for %s: %s is next",
				 slot->action, action);
		runner->log(runner->log_context, 1, message, NULL, NULL);
		process_unwatch(runner->processes, slot->pid);
		kill(-slot->pid, SIGKILL);
		slot->pid = 0;
	}
	pid = process_fork();
	if (pid == 0)
	{
		setpgid(0, 0);
		process_child_init(-1);
		process_scrub_environment();
		words[n_words] = (char *) action;
		words[n_words + 1] = (char *) role;
		words[n_words + 2] = (char *) settings->scope;
		words[n_words + 3] = NULL;
		execvp(words[0], words);
		_exit(127);
	}
	if (pid > 0)
	{
		setpgid(pid, pid);			/* both sides, so that kill() cannot come too early */
		if (process_watch(runner->processes, pid, on_exit_of_script, slot))
			slot->pid = pid;
		snprintf(slot->action, sizeof(slot->action), "%s", action);
		snprintf(message, sizeof(message), "running callback for %s as %s", action, role);
	}
	else
		snprintf(message, sizeof(message), "could not run callback for %s: %s", action, strerror(errno));
	runner->log(runner->log_context, pid > 0 ? 1 : 2, message, NULL, NULL);
	words_free(words, n_words);
}
