/*-------------------------------------------------------------------------
 *
 * command_worker.c
 *      Stands in for patroni_worker.so in tests of the command queue.
 *
 * Answers as the argument "reason" or "member" of a command says: "refuse",
 * "long" (an answer that does not fit), "never", "exit" (the worker ends with
 * the command in its hands), "broken" (no JSON); anything else is answered
 * with the command's own arguments.  Publishes one snapshot, that of the file
 * named by the setting "command_worker.snapshot".
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <unistd.h>

#include "fmgr.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/guc.h"

#include "worker/compat.h"
#include "worker/shared.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void patroni_worker_main(Datum argument);

static void
publish(const char *path)
{
	char	   *text = palloc(SNAPSHOT_MAX + 2);
	FILE	   *file = AllocateFile(path, "r");
	size_t		length;

	if (file == NULL)
		elog(FATAL, "could not read \"%s\"", path);
	length = fread(text, 1, SNAPSHOT_MAX + 2, file);
	FreeFile(file);
	if (shared_publish_snapshot(text, SNAPSHOT_MAX + 1))
		elog(FATAL, "a snapshot that is too long was taken");
	if (!shared_publish_snapshot(text, length))
		elog(FATAL, "the snapshot was not taken");
}

static void
answer(const SharedCommand *command)
{
	const char *arguments = command->arguments;
	char		json[COMMAND_RESULT_MAX + 10];

	elog(LOG, "command %s %s", command->kind, arguments);
	if (strstr(arguments, "\"never\"") != NULL)
		return;
	if (strstr(arguments, "\"exit\"") != NULL)
		proc_exit(1);
	if (strstr(arguments, "\"refuse\"") != NULL)
		strlcpy(json, "{\"ok\": false, \"message\": \"refused\", \"detail\": \"Because.\","
				" \"hint\": \"Do not.\", \"sqlstate\": \"0A000\"}", sizeof(json));
	else if (strstr(arguments, "\"broken\"") != NULL)
		strlcpy(json, "{\"ok\": tr", sizeof(json));
	else if (strstr(arguments, "\"long\"") != NULL)
	{
		memset(json, 'x', sizeof(json));
		json[sizeof(json) - 1] = '\0';
	}
	else
		snprintf(json, sizeof(json), "{\"ok\": true, \"result\": %s}", arguments);
	shared_finish_command(command->id, json);
}

/* The background worker that patroni_bgw registers. */
void
patroni_worker_main(Datum argument)
{
	SharedCommand command;

	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	if (!shared_attach())
		elog(FATAL, "the shared memory is of another release");
	publish(GetConfigOption("command_worker.snapshot", false, false));
	while (!ShutdownRequestPending)
	{
		while (shared_next_command(&command, NULL))
			answer(&command);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH, -1, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
	proc_exit(1);				/* with 0 it would not be started again */
}
