/*-------------------------------------------------------------------------
 *
 * observe.c
 *      Tells the engine and the supervisor what this server looks like, from
 *      shared memory: no connection, no query.
 *
 * Invariants:
 *  (1) Looking is cheap: spinlocks and shared lightweight locks held for
 *      microseconds.  Files (pg_control, history, signal files) are read once
 *      a second, more often while somebody waits for what they will say, and
 *      more rarely when nothing moves.
 *  (2) Whatever is not plain progress of the WAL is told at once; progress
 *      alone is told at most every OBSERVE_WAL_MS, or OBSERVE_HURRY_MS while
 *      the cluster waits for it.
 *
 * What follows from it is the business of src/ha.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "worker/worker.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "access/xlog.h"
#if PG_VERSION_NUM >= 150000
#include "access/xlogrecovery.h"
#endif
#include "miscadmin.h"
#include "pgstat.h"
#include "replication/walreceiver.h"
#include "replication/walsender.h"
#include "replication/walsender_private.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/spin.h"
#if PG_VERSION_NUM >= 140000
#include "utils/backend_status.h"
#endif
#include "utils/guc.h"
#include "utils/guc_tables.h"
#include "utils/timestamp.h"

#include "cluster/ascii.h"
#include "postgres/postgres_dir.h"
#include "postgres/postgres_files.h"
#include "worker/compat.h"

/* utils/builtins.h declares SQL functions that have the names of jansson's. */
extern bool parse_bool(const char *value, bool *result);

#define RECONNECT_MS		5000	/* so long a standby hurries to stream from a new leader */
#define RECONNECT_EVERY_MS	100

/* The application name of a walsender, remembered while its process lives. */
typedef struct SenderName
{
	pid_t		pid;			/* 0: not known yet */
	char		name[64];
	char		address[INET6_ADDRSTRLEN];	/* of the client; "" = a local one */
	int			priority;		/* sync_priority, now */
} SenderName;

struct Observer
{
	HaPostgres	now;			/* what we saw last */
	HaPostgres	told_engine;	/* what the engine heard last */
	HaPostgres	told_supervisor;
	HaPostgres	scratch;		/* for comparing */
	bool		has_told_engine;
	bool		has_told_supervisor;
	int64_t		looked_at_ms;
	int64_t		engine_at_ms;
	int64_t		supervisor_at_ms;
	bool		is_untold;		/* a change waits for STATE_MIN_MS to be over */

	int64_t		files_at_ms;
	bool		files_are_stale;
	bool		files_failed;	/* and it was said */
	bool		settings_are_stale;
	uint32_t	files_timeline; /* of the history that is kept */

	char		streamed_from[CLUSTER_NAME_MAX];	/* the leader at that time */
	int64_t		cut_off_ms;		/* since when there is another one; 0: it streams */
	int64_t		woken_ms;

	int64_t		promoting_until_ms;		/* 0: no promotion is expected */
	int64_t		moved_ms;				/* when a look showed something new */
	int64_t		checkpoint_until_ms;	/* 0: no checkpoint is expected */
	Lsn			checkpoint_from;	/* where its redo position is, at least */

	SenderName	sender_names[CLUSTER_MEMBERS_MAX];
	const SenderName *senders[CLUSTER_MEMBERS_MAX];	/* of now.senders, in their order */
};

/* A new observer that has seen nothing; lives until the process ends. */
Observer *
observer_create(void)
{
	Observer   *observer = calloc(1, sizeof(Observer));

	if (observer == NULL)
		return NULL;
	observer->files_are_stale = true;
	observer->settings_are_stale = true;
	return observer;
}

/* The files of the data directory changed, or may have. */
void
observer_forget_files(Observer *observer)
{
	observer->files_are_stale = true;
}

/* The server's settings, or what the operator wants them to be, changed. */
void
observer_forget_settings(Observer *observer)
{
	observer->settings_are_stale = true;
}

/* Tell the supervisor all again: it is a new one. */
void
observer_send_state_again(Observer *observer)
{
	observer->has_told_supervisor = false;
}

/* Promotion was asked for: its end is to be seen within milliseconds. */
void
observer_expect_promotion(Observer *observer, int64_t now_ms)
{
	observer->promoting_until_ms = now_ms + PROMOTION_WATCH_MS;
}

/* A checkpoint was asked for: pg_control will show it soon. */
void
observer_expect_checkpoint(Observer *observer, int64_t now_ms)
{
	observer->checkpoint_until_ms = now_ms + CHECKPOINT_WATCH_MS;
	/*
	 * Not another redo position than the last seen: we look now and then only.
	 * But a restartpoint is where the primary's checkpoint was.
	 */
	observer->checkpoint_from = observer->now.is_in_recovery ?
		observer->now.checkpoint_redo + 1 : observer->now.flush_lsn;
}

/* --- the parts of a look --- */

static const char *
option_text(const char *name)
{
	const char *value = GetConfigOption(name, true, false);

	return value == NULL ? "" : value;
}

/*
 * Is the checkpointer at work?  When pg_control shows its checkpoint it still
 * has to make and to remove WAL files, and a shutdown would wait for that.
 */
static bool
checkpointer_is_busy(void)
{
	const volatile PGPROC *checkpointer = COMPAT_CHECKPOINTER();

	return checkpointer != NULL && checkpointer->wait_event_info != WAIT_EVENT_CHECKPOINTER_MAIN;
}

/* pg_control, signal files and the history of the timeline. */
static void
look_at_files(Observer *observer, int64_t now_ms)
{
	HaPostgres *now = &observer->now;
	HaPostgres *found = &observer->scratch;
	Error		error;

	/*
	 * pg_control is written in one go, but a reader may see half of it; the
	 * next look, a moment later, gets it right.  So a failure changes nothing
	 * of what is known.
	 */
	ha_postgres_reset(found);
	data_directory_look(DataDir, found);
	if (found->data == HA_DATA_PRESENT)
	{
		now->control_state = found->control_state;
		/* who asked for a checkpoint wants to hear of it when all of it is over */
		if (observer->checkpoint_until_ms <= now_ms || !checkpointer_is_busy())
		{
			now->checkpoint_lsn = found->checkpoint_lsn;
			now->checkpoint_redo = found->checkpoint_redo;
			now->checkpoint_timeline = found->checkpoint_timeline;
		}
		now->minimum_recovery_lsn = found->minimum_recovery_lsn;
		now->minimum_recovery_timeline = found->minimum_recovery_timeline;
		now->can_rewind = found->can_rewind;
		now->is_standby_configured = found->is_standby_configured;
		now->is_former_primary = found->is_former_primary;
		now->former_timeline = found->former_timeline;
		observer->files_failed = false;
	}
	else if (!observer->files_failed)
	{
		observer->files_failed = true;
		ereport(LOG,
				(errmsg("could not look at the data directory \"%s\"", DataDir),
				 errdetail("%s", found->problem)));
	}
	now->data = HA_DATA_PRESENT;

	if (now->timeline != 0)
	{
		now->newest_timeline = history_newest_timeline(DataDir, now->timeline);
		if (now->newest_timeline < now->timeline)
			now->newest_timeline = now->timeline;
	}
	if (now->timeline != observer->files_timeline)
	{
		int			count = 0;

		memset(now->history, 0, sizeof(now->history));
		now->n_history = 0;
		if (now->timeline <= 1)
			observer->files_timeline = now->timeline;
		else if (history_file_read(DataDir, now->timeline, now->history,
								   lengthof(now->history), &count, &error))
		{
			now->n_history = Max(0, Min(count, (int) lengthof(now->history)));
			observer->files_timeline = now->timeline;
		}
		else
			/* a standby gets the file a moment after the first WAL of it */
			memset(now->history, 0, sizeof(now->history));
	}
	observer->files_at_ms = now_ms;
	observer->files_are_stale = false;
}

/* Is the wanted text of a setting another value than the one in force? */
static bool
setting_differs(struct config_generic *setting, const char *wanted)
{
	const char *hint = NULL;

	switch (setting->vartype)
	{
		case PGC_BOOL:
			{
				bool		value;

				return parse_bool(wanted, &value) &&
					value != *((struct config_bool *) setting)->variable;
			}
		case PGC_INT:
			{
				int			value;

				return parse_int(wanted, &value, setting->flags, &hint) &&
					value != *((struct config_int *) setting)->variable;
			}
		case PGC_REAL:
			{
				double		value;

				return parse_real(wanted, &value, setting->flags, &hint) &&
					value != *((struct config_real *) setting)->variable;
			}
		case PGC_ENUM:
			{
				int			value;

				return config_enum_lookup_by_name((struct config_enum *) setting,
												  wanted, &value) &&
					value != *((struct config_enum *) setting)->variable;
			}
		case PGC_STRING:
			{
				const char *value = *((struct config_string *) setting)->variable;

				return strcmp(wanted, value == NULL ? "" : value) != 0;
			}
	}
	return false;
}

/*
 * Settings that take effect at the next restart only: those the server has
 * flagged when it read its files, and those of the command line that are now
 * wanted otherwise.
 */
static void
look_at_pending_restart(Worker *worker, HaPostgres *now)
{
	const Settings *settings = host_settings(worker->host);
	json_t	   *command_line = NULL;
	json_t	   *config_file = NULL;
	json_t	   *reasons = json_pack("{}");
	ConfigProblems problems;
	Error		error;
	struct config_generic **variables;
	int			n_variables = 0;
	char	   *text;

	config_problems_init(&problems);
	if (settings != NULL &&
		!server_parameters(settings, now->version_num, false, &command_line,
						   &config_file, &problems, &error))
	{
		/* the supervisor, who writes the files, complains about them */
	}
	config_problems_free(&problems);

	now->has_pending_restart = false;
	variables = COMPAT_GUC_VARIABLES(&n_variables);
	for (int i = 0; i < n_variables; i++)
	{
		struct config_generic *setting = variables[i];
		json_t	   *wanted;
		json_t	   *reason;
		const char *value;

		if (setting->context != PGC_POSTMASTER)
			continue;
		wanted = json_object_get(command_line, setting->name);
		if (!(setting->status & GUC_PENDING_RESTART) &&
			!(json_is_string(wanted) &&
			  setting_differs(setting, json_string_value(wanted))))
			continue;
		now->has_pending_restart = true;
		if (wanted == NULL)
			wanted = json_object_get(config_file, setting->name);
		value = (setting->flags & GUC_SUPERUSER_ONLY) ? "" :
			option_text(setting->name);
		reason = json_pack("{s:s}", "old_value", value);
		if (reason != NULL && json_is_string(wanted) &&
			!(setting->flags & GUC_SUPERUSER_ONLY))
			json_object_set(reason, "new_value", wanted);
		if (reason != NULL)
			json_object_set_new(reasons, setting->name, reason);
	}

	memset(now->pending_restart_reason, 0, sizeof(now->pending_restart_reason));
	if (now->has_pending_restart && reasons != NULL)
	{
		text = json_dumps(reasons, JSON_COMPACT);
		if (text != NULL && strlen(text) < sizeof(now->pending_restart_reason))
			strcpy(now->pending_restart_reason, text);
		free(text);
	}
	json_decref(reasons);
	json_decref(command_line);
	json_decref(config_file);
}

/* What the settings in force say. */
static void
look_at_settings(Worker *worker, HaPostgres *now)
{
	char		conninfo[MAXCONNINFO];

	now->version_num = atoi(option_text("server_version_num"));
	now->has_restore_command = option_text("restore_command")[0] != '\0';

	memset(now->upstream_host, 0, sizeof(now->upstream_host));
	now->upstream_port = 0;
	strlcpy(conninfo, option_text("primary_conninfo"), sizeof(conninfo));
	if (conninfo[0] != '\0')
		conninfo_host_port(conninfo, now->upstream_host, &now->upstream_port);
	memset(conninfo, 0, sizeof(conninfo));

	memset(now->upstream_slot, 0, sizeof(now->upstream_slot));
	strlcpy(now->upstream_slot, option_text("primary_slot_name"),
			sizeof(now->upstream_slot));

	look_at_pending_restart(worker, now);
	sync_watch_settings();
	worker->observer->settings_are_stale = false;
}

static void
look_at_primary(HaPostgres *now)
{
	now->is_in_recovery = false;
	now->server = HA_SERVER_RUNNING;
	now->timeline = COMPAT_INSERT_TIMELINE();
	now->flush_lsn = COMPAT_FLUSH_LSN();
	now->write_lsn = Max(GetXLogWriteRecPtr(), now->flush_lsn);
	now->received_lsn = 0;
	now->replayed_lsn = 0;
	now->is_streaming = false;
	now->is_replay_paused = false;
}

static void
look_at_standby(HaPostgres *now)
{
	WalRcvData *receiver = WalRcv;
	XLogRecPtr	received;
	TimeLineID	received_timeline;
	TimeLineID	replayed_timeline = 0;
	bool		is_streaming;

	SpinLockAcquire(&receiver->mutex);
	is_streaming = receiver->walRcvState == WALRCV_STREAMING;
	received = receiver->flushedUpto;
	received_timeline = receiver->receivedTLI;
	SpinLockRelease(&receiver->mutex);

	now->is_in_recovery = true;
	now->server = HotStandbyActive() ? HA_SERVER_RUNNING : HA_SERVER_STARTING;
	now->is_streaming = is_streaming;
	now->received_lsn = received;
	now->replayed_lsn = GetXLogReplayRecPtr(&replayed_timeline);
	now->write_lsn = 0;
	now->flush_lsn = 0;
	now->is_replay_paused = COMPAT_REPLAY_IS_PAUSED();

	/*
	 * A walreceiver that was only asked for shows the start of a segment that
	 * has been replayed long ago: the received timeline counts once there is
	 * WAL of it.
	 */
	if (received_timeline != 0 && (is_streaming || received > now->replayed_lsn))
		now->timeline = received_timeline;
	else if (replayed_timeline != 0)
		now->timeline = replayed_timeline;
}

/* Does a standby look for the stream of a leader that has just become one? */
static bool
is_reconnecting(const Observer *observer, int64_t now_ms)
{
	return observer->cut_off_ms != 0 && now_ms - observer->cut_off_ms < RECONNECT_MS;
}

/*
 * A new leader may refuse the stream at first: it makes its slots, or is being
 * promoted.  The startup process tries again each wal_retrieve_retry_interval,
 * and commits may wait for it: wake it more often.
 */
static void
hurry_stream(Worker *worker, int64_t now_ms)
{
	Observer   *observer = worker->observer;
	const HaPostgres *now = &observer->now;
	const ClusterView *view = host_view(worker->host);

	if (!now->is_in_recovery || now->server != HA_SERVER_RUNNING || view == NULL ||
		!view->has_leader)
		observer->cut_off_ms = 0;
	else if (now->is_streaming)
	{
		observer->cut_off_ms = 0;
		strlcpy(observer->streamed_from, view->leader, sizeof(observer->streamed_from));
	}
	else if (strcmp(view->leader, observer->streamed_from) != 0)
	{
		if (observer->cut_off_ms == 0)
			observer->cut_off_ms = observer->woken_ms = now_ms;
		if (is_reconnecting(observer, now_ms) && now_ms - observer->woken_ms >= RECONNECT_EVERY_MS)
		{
			observer->woken_ms = now_ms;
			WakeupRecovery();
		}
	}
}

/*
 * A startup process that notices the promotion while it waits for the stream
 * still sleeps for what is left of wal_retrieve_retry_interval before it goes on
 * (WaitForWALToBecomeAvailable() in xlogrecovery.c): that is when a lease is
 * handed over before the old primary is gone.
 */
static void
hurry_promotion(const Observer *observer)
{
	if (observer->promoting_until_ms != 0 && observer->now.is_in_recovery)
		WakeupRecovery();
}

/* Where the client of a backend is, as text. */
static void
address_text(const SockAddr *client, char address[INET6_ADDRSTRLEN])
{
	const struct sockaddr *from = (const struct sockaddr *) &client->addr;
	const void *bytes = NULL;

	if (from->sa_family == AF_INET)
		bytes = &((const struct sockaddr_in *) from)->sin_addr;
	else if (from->sa_family == AF_INET6)
		bytes = &((const struct sockaddr_in6 *) from)->sin6_addr;
	if (bytes == NULL || inet_ntop(from->sa_family, bytes, address, INET6_ADDRSTRLEN) == NULL)
		address[0] = '\0';
}

/* The application names of these processes; those not found stay "". */
static void
find_application_names(SenderName *const *wanted, int n_wanted)
{
	int			n_entries = pgstat_fetch_stat_numbackends();

	for (int i = 1; i <= n_entries; i++)
	{
		LocalPgBackendStatus *entry = COMPAT_BACKEND_ENTRY(i);

		if (entry == NULL || entry->backendStatus.st_appname == NULL)
			continue;
		for (int k = 0; k < n_wanted; k++)
		{
			if (wanted[k]->pid != entry->backendStatus.st_procpid)
				continue;
			strlcpy(wanted[k]->name, entry->backendStatus.st_appname, sizeof(wanted[k]->name));
			address_text(&entry->backendStatus.st_clientaddr, wanted[k]->address);
		}
	}
	COMPAT_FORGET_BACKEND_ENTRIES();
}

/*
 * Who is connected.  Names are looked up when a process is new: that copies
 * the entries of all backends, the rest reads a few words of each walsender.
 */
static void
look_at_senders(Worker *worker, HaPostgres *now, int64_t now_ms)
{
	Observer   *observer = worker->observer;
	WatchedSender watched[CLUSTER_MEMBERS_MAX];
	SenderName *unknown[CLUSTER_MEMBERS_MAX];
	SenderName *names[CLUSTER_MEMBERS_MAX];
	int			n_unknown = 0;
	int			n = 0;

	memset(now->senders, 0, now->n_senders * sizeof(now->senders[0]));
	now->n_senders = 0;
	for (int i = 0; i < max_wal_senders && n < CLUSTER_MEMBERS_MAX; i++)
	{
		WalSnd	   *sender = &WalSndCtl->walsnds[i];
		pid_t		pid;
		WalSndState state;
		XLogRecPtr	write;
		XLogRecPtr	flush;
		XLogRecPtr	apply;
		int			priority;
		SenderName *name = NULL;

		SpinLockAcquire(&sender->mutex);
		pid = sender->pid;
		state = sender->state;
		write = sender->write;
		flush = sender->flush;
		apply = sender->apply;
		priority = sender->sync_standby_priority;
		SpinLockRelease(&sender->mutex);
		if (pid == 0)
			continue;

		for (int k = 0; k < CLUSTER_MEMBERS_MAX && name == NULL; k++)
		{
			if (observer->sender_names[k].pid == pid)
				name = &observer->sender_names[k];
		}
		for (int k = 0; k < CLUSTER_MEMBERS_MAX && name == NULL; k++)
		{
			if (observer->sender_names[k].pid == 0)
				name = &observer->sender_names[k];
		}
		if (name == NULL)
			continue;			/* one that ended has the place; seen next time */
		if (name->pid != pid)
		{
			memset(name, 0, sizeof(*name));
			name->pid = pid;
		}
		if (name->name[0] == '\0')
			unknown[n_unknown++] = name;
		name->priority = priority;
		names[n] = name;
		observer->senders[n] = name;
		now->senders[n].flush_lsn = flush;
		now->senders[n].sync_lsn =
			synchronous_commit == SYNCHRONOUS_COMMIT_REMOTE_APPLY ? apply :
			synchronous_commit == SYNCHRONOUS_COMMIT_REMOTE_WRITE ? write : flush;
		watched[n] = (WatchedSender) {pid, i, (int) state, priority};
		now->senders[n].is_streaming = state == WALSNDSTATE_STREAMING;
		n++;
	}

	if (n_unknown > 0)
		find_application_names(unknown, n_unknown);
	for (int i = 0; i < n; i++)
		memcpy(now->senders[i].application_name, names[i]->name,
			   sizeof(now->senders[i].application_name));
	now->n_senders = n;
	sync_watch_look(worker, now, watched, now_ms);
	slot_keeper_candidates(worker, now, watched);

	/* forget the processes that ended */
	for (int k = 0; k < CLUSTER_MEMBERS_MAX; k++)
	{
		bool		is_used = false;

		for (int i = 0; i < n; i++)
			is_used = is_used || names[i] == &observer->sender_names[k];
		if (!is_used)
			memset(&observer->sender_names[k], 0, sizeof(SenderName));
	}
}

/*
 * The newest position that a member of the cluster has confirmed to have
 * flushed which could take over; 0 if none is connected.  Copies and clients
 * that receive WAL as well are no help: they are never promoted.
 */
Lsn
observer_confirmed_lsn(const Worker *worker)
{
	const Observer *observer = worker->observer;
	const ClusterView *view = host_view(worker->host);
	Lsn			confirmed = 0;

	for (int i = 0; view != NULL && i < max_wal_senders; i++)
	{
		WalSnd	   *sender = &WalSndCtl->walsnds[i];
		pid_t		pid;
		XLogRecPtr	flush;
		const char *name = NULL;

		SpinLockAcquire(&sender->mutex);
		pid = sender->pid;
		flush = sender->flush;
		SpinLockRelease(&sender->mutex);
		if (pid == 0 || flush <= confirmed)
			continue;
		for (int k = 0; k < CLUSTER_MEMBERS_MAX && name == NULL; k++)
		{
			if (observer->sender_names[k].pid == pid)
				name = observer->sender_names[k].name;
		}
		for (int k = 0; name != NULL && k < view->n_members; k++)
		{
			const Member *member = &view->members[k];

			if (ascii_is_same(name, member->name) && !member->tags.nofailover)
				confirmed = flush;
		}
	}
	return confirmed;
}

/* Milliseconds since 1970. */
static int64_t
wall_ms(TimestampTz timestamp)
{
	return (int64_t) (timestamp / 1000) +
		INT64_C(86400000) * (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE);
}

/*
 * What REST shows of the walsenders beside the observation: the client's address
 * and sync_priority, in the order of "senders".
 */
json_t *
observer_senders(const Worker *worker)
{
	const Observer *observer = worker->observer;
	json_t	   *list = json_pack("[]");

	for (int i = 0; i < observer->now.n_senders && observer->senders[i] != NULL; i++)
		json_array_append_new(list, json_pack("{s:s,s:i}",
											  "client_addr", observer->senders[i]->address,
											  "sync_priority", observer->senders[i]->priority));
	return list;
}

/*
 * When the last transaction that a standby has replayed was committed; 0: none
 * was, or this is no standby.  It changes all the time, so it is no part of the
 * observation: who wants to know it asks.
 */
int64_t
observer_replayed_at_ms(void)
{
	TimestampTz replayed = RecoveryInProgress() ? GetLatestXTime() : 0;

	return replayed == 0 ? 0 : wall_ms(replayed);
}

/* --- looking and telling --- */

/*
 * Look at the server now.  Borrowed until the next look.  Keeps the lease
 * page's idea of the server as well.
 */
const HaPostgres *
observer_look(Worker *worker, int64_t now_ms)
{
	Observer   *observer = worker->observer;
	HaPostgres *now = &observer->now;
	bool		was_in_recovery = now->is_in_recovery;
	uint32_t	timeline_before = now->timeline;

	now->is_observed = true;
	now->system_identifier = GetSystemIdentifier();
	now->start_time_ms = wall_ms(PgStartTime);

	if (RecoveryInProgress())
		look_at_standby(now);
	else
		look_at_primary(now);
	hurry_stream(worker, now_ms);
	hurry_promotion(observer);
	slot_keeper_look(worker, now);
	if (observer->settings_are_stale)
		look_at_settings(worker, now);
	look_at_senders(worker, now, now_ms);
	health_look(worker, now_ms, now);

	if (!now->is_in_recovery && (was_in_recovery || timeline_before == 0))
	{
		observer->promoting_until_ms = 0;
		observer->files_are_stale = true;
	}
	if (now->timeline != timeline_before)
		observer->files_are_stale = true;
	if (observer->files_are_stale ||
		now_ms - observer->files_at_ms >= observer_files_interval_ms(worker, now_ms))
		look_at_files(observer, now_ms);
	if (observer->checkpoint_until_ms != 0 &&
		(now_ms >= observer->checkpoint_until_ms ||
		 now->checkpoint_redo >= observer->checkpoint_from))
		observer->checkpoint_until_ms = 0;

	if (!now->is_in_recovery)
		atomic_store_explicit(&worker->page->flush_lsn, now->flush_lsn,
							  memory_order_relaxed);
	atomic_store_explicit(&worker->page->is_primary, !now->is_in_recovery,
						  memory_order_release);
	observer->looked_at_ms = now_ms;
	return now;
}

/* Take out what moves all the time on a busy server. */
static void
forget_wal(HaPostgres *postgres)
{
	postgres->write_lsn = postgres->flush_lsn = 0;
	postgres->received_lsn = postgres->replayed_lsn = 0;
	postgres->minimum_recovery_lsn = 0;
	for (int i = 0; i < postgres->n_slots; i++)
	{
		postgres->slots[i].restart_lsn =
			postgres->slots[i].restart_lsn == 0 ? 0 : 1;
		postgres->slots[i].confirmed_lsn = 0;
	}
	for (int i = 0; i < postgres->n_senders; i++)
	{
		postgres->senders[i].flush_lsn =
			postgres->senders[i].flush_lsn == 0 ? 0 : 1;
		postgres->senders[i].sync_lsn =
			postgres->senders[i].sync_lsn == 0 ? 0 : 1;
	}
}

typedef enum Change
{
	CHANGE_NONE,
	CHANGE_WAL,					/* nothing but progress of the WAL */
	CHANGE_STATE,
} Change;

static Change
change_since(Observer *observer, const HaPostgres *before)
{
	static HaPostgres before_without_wal;

	if (ha_postgres_equal(before, &observer->now))
		return CHANGE_NONE;
	ha_postgres_copy(&before_without_wal, before);
	ha_postgres_copy(&observer->scratch, &observer->now);
	forget_wal(&before_without_wal);
	forget_wal(&observer->scratch);
	return ha_postgres_equal(&before_without_wal, &observer->scratch) ? CHANGE_WAL : CHANGE_STATE;
}

/* Does the cluster wait for what this server is about to do? */
static bool
is_hurried(const Worker *worker)
{
	const ClusterView *view = host_view(worker->host);
	const Settings *settings = host_settings(worker->host);

	if (worker->observer->promoting_until_ms != 0 ||
		worker->observer->checkpoint_until_ms != 0 ||
		ha_sync_is_waiting(host_node(worker->host)))
		return true;
	return view != NULL && view->is_loaded &&
		(view->failover.exists || !view->has_leader) &&
		settings != NULL && !settings->is_paused;
}

static int
look_interval_ms(const Worker *worker, int64_t now_ms)
{
	const Observer *observer = worker->observer;
	const Settings *settings = host_settings(worker->host);
	int			sync_ms = sync_watch_interval_ms(worker, now_ms);

	if (observer->promoting_until_ms != 0)
		return OBSERVE_PROMOTING_MS;
	if (sync_ms != 0)
		return sync_ms;
	if (is_hurried(worker))
		return OBSERVE_HURRY_MS;
	if (observer->now.server != HA_SERVER_RUNNING)
		return OBSERVE_STARTING_MS;
	if (is_reconnecting(observer, now_ms))
		return OBSERVE_SYNC_MS;
	if (settings != NULL && settings->synchronous_mode != SYNC_MODE_OFF &&
		!observer->now.is_in_recovery)
		return OBSERVE_SYNC_MS;
	if (now_ms - observer->moved_ms >= OBSERVE_REST_MS)
		return (int) host_idle_interval_ms(worker->host, OBSERVE_IDLE_MS);
	return OBSERVE_IDLE_MS;
}

/*
 * How old what was read in files may be.  What changes them moves the WAL, too,
 * or is told: a node at rest looks more rarely.  But the end of the checkpoint
 * after a promotion moves nothing, and members wait for it that were primaries.
 */
int
observer_files_interval_ms(const Worker *worker, int64_t now_ms)
{
	const Observer *observer = worker->observer;
	const HaPostgres *now = &observer->now;
	int			look_ms = look_interval_ms(worker, now_ms);

	if (observer->checkpoint_until_ms > now_ms)
		return OBSERVE_HURRY_MS;
	if (look_ms <= OBSERVE_IDLE_MS ||
		(!now->is_in_recovery && now->checkpoint_timeline != now->timeline))
		return OBSERVE_FILES_MS;
	return Max(OBSERVE_FILES_MS, OBSERVE_FILES_REST * look_ms);
}

static void
tell_engine(Worker *worker, int64_t now_ms)
{
	Observer   *observer = worker->observer;
	Change		change = CHANGE_STATE;
	int			wal_every_ms = is_hurried(worker) ?
		OBSERVE_HURRY_MS : OBSERVE_WAL_MS;

	if (observer->has_told_engine)
		change = change_since(observer, &observer->told_engine);
	if (change != CHANGE_NONE)
		observer->moved_ms = now_ms;
	if (change == CHANGE_NONE ||
		(change == CHANGE_WAL && now_ms - observer->engine_at_ms < wal_every_ms))
		return;
	host_postgres(worker->host, &observer->now);
	ha_postgres_copy(&observer->told_engine, &observer->now);
	observer->has_told_engine = true;
	observer->engine_at_ms = now_ms;
}

static void
tell_supervisor(Worker *worker, int64_t now_ms)
{
	Observer   *observer = worker->observer;
	Change		change = CHANGE_STATE;
	json_t	   *postgres;

	if (worker->channel == NULL || !worker->said_hello)
		return;
	if (observer->has_told_supervisor)
	{
		change = change_since(observer, &observer->told_supervisor);
		observer->is_untold = change == CHANGE_STATE &&
			now_ms - observer->supervisor_at_ms < STATE_MIN_MS;
		if (change == CHANGE_NONE || observer->is_untold ||
			(change == CHANGE_WAL && now_ms - observer->supervisor_at_ms < STATE_WAL_MS))
			return;
	}
	postgres = postgres_to_json(&observer->now);
	if (postgres == NULL)
		return;					/* no memory: the next turn tries again */
	worker_send(worker, json_pack("{s:s,s:o}", "type", "state", "postgres", postgres));
	ha_postgres_copy(&observer->told_supervisor, &observer->now);
	observer->has_told_supervisor = true;
	observer->supervisor_at_ms = now_ms;
}

/* The turn's part: look if it is time, and tell who must know. */
void
observer_turn(Worker *worker, int64_t now_ms)
{
	Observer   *observer = worker->observer;
	int			due_ms;

	if (observer->promoting_until_ms != 0 && now_ms >= observer->promoting_until_ms)
		observer->promoting_until_ms = 0;
	due_ms = look_interval_ms(worker, now_ms);
	/* at rest who is awake anyway looks early: that saves a turn */
	if (due_ms > OBSERVE_IDLE_MS)
		due_ms -= due_ms / 4;
	if (observer->looked_at_ms == 0 || observer->files_are_stale ||
		observer->settings_are_stale || sync_watch_is_due(worker) ||
		now_ms - observer->looked_at_ms >= due_ms)
		observer_look(worker, now_ms);
	sync_watch_turn(worker, now_ms);
	tell_engine(worker, now_ms);
	tell_supervisor(worker, now_ms);
}

/* When the next look is due, or the supervisor is to be told of the last one. */
int
observer_timeout_ms(const Worker *worker, int64_t now_ms)
{
	const Observer *observer = worker->observer;
	int			interval_ms = look_interval_ms(worker, now_ms);
	int64_t		due_ms = observer->looked_at_ms + interval_ms;

	if (observer->is_untold)
		due_ms = Min(due_ms, observer->supervisor_at_ms + STATE_MIN_MS);
	return (int) Max(0, Min(due_ms - now_ms, interval_ms));
}
