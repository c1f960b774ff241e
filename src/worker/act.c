/*-------------------------------------------------------------------------
 *
 * act.c
 *      Carries out what the engine decided, as far as it is about this server.
 *
 * The host calls act_record() and act_log_record() from inside its own and
 * other libraries' frames: they only append to a bounded queue.  The turn
 * then calls act_run_records().
 *
 * Invariants:
 *  (1) Nothing but an answer and a message is carried out once the baton is
 *      gone: the lease page is asked before each action.
 *  (2) An action leaves the queue before it is tried, and an ERROR in one of
 *      them ends that one only.  Actions are safe to repeat: the engine asks
 *      again for what it does not see happen.
 *  (3) Who waits for an answer gets it before the baton is handed over.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "worker/worker.h"

#include <stdlib.h>
#include <string.h>

#include "access/xlog.h"
#if PG_VERSION_NUM >= 150000
#include "access/xlogrecovery.h"
#endif
#include "miscadmin.h"
#include "postmaster/bgwriter.h"

#include "base/clock.h"
#include "postgres/postgres_dir.h"
#include "worker/compat.h"

/* --- recording: no server function here, these run in foreign frames --- */

static void
record_free(WorkerRecord *record)
{
	if (record->action != NULL)
		free(record->action->text);
	free(record->action);
	free(record->message);
	free(record->detail);
	free(record->hint);
	free(record);
}

static void
record_append(Worker *worker, WorkerRecord *record)
{
	record->next = NULL;
	if (worker->last_record != NULL)
		worker->last_record->next = record;
	else
		worker->first_record = record;
	worker->last_record = record;
	worker->n_records++;
}

/* HostOps.act: remember the action for the turn. */
void
act_record(void *context, const HaAction *action)
{
	Worker	   *worker = context;
	WorkerRecord *record = NULL;
	HaAction   *copy = NULL;

	if (worker->n_records < WORKER_RECORDS_MAX)
		record = calloc(1, sizeof(*record));
	if (record != NULL)
		copy = malloc(sizeof(*copy));
	if (copy != NULL)
	{
		*copy = *action;
		if (action->text != NULL)
			copy->text = strdup(action->text);
		record->kind = RECORD_ACTION;
		record->action = copy;
		if (action->text == NULL || copy->text != NULL)
		{
			record_append(worker, record);
			return;
		}
	}
	if (record != NULL)
		record_free(record);
	worker->n_lost_records++;
}

/* HostOps.log: remember the message for the turn. */
void
act_log_record(void *context, int level, const char *message,
			   const char *detail, const char *hint)
{
	Worker	   *worker = context;
	WorkerRecord *record = NULL;

	/* leave room for actions */
	if (worker->n_records < WORKER_RECORDS_MAX / 2)
		record = calloc(1, sizeof(*record));
	if (record != NULL)
	{
		record->kind = RECORD_LOG;
		record->level = level;
		record->message = strdup(message != NULL ? message : "");
		if (detail != NULL && detail[0] != '\0')
			record->detail = strdup(detail);
		if (hint != NULL && hint[0] != '\0')
			record->hint = strdup(hint);
		if (record->message != NULL)
		{
			record_append(worker, record);
			return;
		}
		record_free(record);
	}
	worker->n_lost_records++;
}

/* --- carrying out --- */

static void
report_error(const char *what, const Error *error)
{
	ereport(WARNING,
			(errmsg("%s: %s", what, error->message),
			 error->detail[0] != '\0' ? errdetail("%s", error->detail) : 0,
			 error->hint[0] != '\0' ? errhint("%s", error->hint) : 0));
}

static void
act_promote(Worker *worker)
{
	Error		error;

	error_clear(&error);
	if (!RecoveryInProgress())
		return;					/* done already */
	if (!postmaster_promote(DataDir, PostmasterPid, &error))
	{
		report_error("could not promote this server", &error);
		return;
	}
	observer_expect_promotion(worker->observer, clock_now_ms());
}

static void
act_follow(Worker *worker, const HaAction *action)
{
	const Settings *settings = host_settings(worker->host);
	Error		error;

	error_clear(&error);
	if (settings == NULL)
		return;
	if (!conf_write_recovery(settings, action->url, action->slot, true, &error) ||
		!postmaster_reload(PostmasterPid, &error))
		report_error("could not change the upstream server", &error);
	observer_forget_files(worker->observer);
}

static void
act_place_history(Worker *worker, const HaAction *action)
{
	Error		error;

	error_clear(&error);
	if (!history_file_place(DataDir, action->timeline, action->parent,
							action->lsn, &error))
		report_error("could not mark a timeline as taken", &error);
	observer_forget_files(worker->observer);
}

static void
act_reload(Worker *worker)
{
	Error		error;

	/* its own configuration file is the supervisor's to read */
	worker_send(worker, json_pack("{s:s,s:s}", "type", "command", "kind", "reload"));
	error_clear(&error);
	if (!postmaster_reload(PostmasterPid, &error))
		report_error("could not reload the configuration", &error);
}

static void
act_set_sync_names(Worker *worker, const HaAction *action)
{
	Error		error;

	error_clear(&error);
	if (!sync_watch_set(worker, action->text, &error))
		report_error("could not set synchronous_standby_names", &error);
}

static void
act_run(Worker *worker, void *argument)
{
	const HaAction *action = argument;

	switch (action->kind)
	{
		case HA_YIELD:
			worker_give_baton(worker, action->because);
			break;
		case HA_PROMOTE:
			act_promote(worker);
			break;
		case HA_PLACE_HISTORY:
			act_place_history(worker, action);
			break;
		case HA_FOLLOW:
			act_follow(worker, action);
			break;
		case HA_CHECKPOINT:
			RequestCheckpoint(CHECKPOINT_IMMEDIATE | CHECKPOINT_FORCE);
			observer_expect_checkpoint(worker->observer, clock_now_ms());
			break;
		case HA_CREATE_SLOT:
			slot_keeper_create(worker, action);
			break;
		case HA_DROP_SLOT:
			slot_keeper_drop(action);
			break;
		case HA_ADVANCE_SLOT:
			slot_keeper_advance(action);
			break;
		case HA_COPY_SLOTS:
			slot_keeper_copy(worker, action);
			break;
		case HA_RELOAD:
			act_reload(worker);
			break;
		case HA_RESUME_REPLAY:
			if (RecoveryInProgress())
			{
				SetRecoveryPause(false);
				WakeupRecovery();
			}
			break;
		case HA_SET_SYNC_NAMES:
			act_set_sync_names(worker, action);
			break;
		case HA_CALLBACK:
			worker_send(worker, json_pack("{s:s,s:s,s:s}", "type", "callback",
										  "name", action->key,
										  "role", member_role_name(action->role)));
			break;
		case HA_ANSWER:
			commands_answer(worker, action->command_id, action);
			break;
		default:
			ereport(WARNING,
					(errmsg("cannot carry out action %d inside the server", action->kind),
					 errdetail("Rule \"%s\": %s.",
							   action->rule != NULL ? action->rule : "",
							   action->because)));
			break;
	}
}

static void
log_run(const WorkerRecord *record)
{
	int			elevel = record->level <= 0 ? DEBUG1 :
		record->level == 1 ? LOG : WARNING;

	ereport(elevel,
			(errmsg_internal("%s", record->message),
			 record->detail != NULL ? errdetail_internal("%s", record->detail) : 0,
			 record->hint != NULL ? errhint("%s", record->hint) : 0));
}

/*
 * Send the answers that wait.  Whoever gets the baton may end the server at
 * once, and with it this process: what was not sent by then never is.
 */
static void
send_answers(Worker *worker)
{
	WorkerRecord **place = &worker->first_record;
	WorkerRecord *answers = NULL;
	WorkerRecord **next_answer = &answers;

	worker->last_record = NULL;
	while (*place != NULL)
	{
		WorkerRecord *record = *place;

		if (record->kind == RECORD_LOG || record->action->kind != HA_ANSWER)
		{
			worker->last_record = record;
			place = &record->next;
			continue;
		}
		*place = record->next;
		worker->n_records--;
		record->next = NULL;
		*next_answer = record;
		next_answer = &record->next;
	}
	while (answers != NULL)
	{
		WorkerRecord *record = answers;

		answers = record->next;
		(void) worker_guard(worker, act_run, record->action);
		record_free(record);
	}
}

/*
 * Carry out all that was recorded so far.  Returns whether there was anything
 * but messages: the engine may then have more to say at once.
 */
bool
act_run_records(Worker *worker)
{
	bool		did_act = false;
	int			n_lost = worker->n_lost_records;

	while (worker->first_record != NULL)
	{
		WorkerRecord *record = worker->first_record;

		worker->first_record = record->next;
		if (worker->first_record == NULL)
			worker->last_record = NULL;
		worker->n_records--;

		if (record->kind == RECORD_LOG)
			log_run(record);
		else if (record->action->kind == HA_ANSWER ||
				 record->action->kind == HA_CALLBACK ||
				 worker_holds_baton(worker))
		{
			did_act = true;
			if (record->action->kind == HA_YIELD)
				send_answers(worker);
			(void) worker_guard(worker, act_run, record->action);
		}
		record_free(record);
	}
	if (n_lost > 0)
	{
		worker->n_lost_records = 0;
		ereport(WARNING,
				(errmsg("%d actions or messages of the HA loop were lost", n_lost),
				 errdetail("More than %d waited, or there was no memory.",
						   WORKER_RECORDS_MAX)));
	}
	return did_act;
}
