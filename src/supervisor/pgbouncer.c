/*-------------------------------------------------------------------------
 *
 * pgbouncer.c
 *      PAUSE before a switchover's gap, RESUME after it, whatever happens.
 *
 * The old leader pauses, between the engine's decision to stop the server and
 * the stop: it looks which databases are paused already (those are somebody
 * else's business), writes the key "pgbouncer" in the store, which names the
 * ones that it is about to pause, sends PAUSE, and stops the server when all
 * have answered or the time for that is over.
 *
 * Every member that sees the key resumes what it names and then deletes it:
 *
 *      the leader      as soon as its server takes writes
 *      each member     resume_timeout after it saw the key, without conditions
 *
 * The key is in the store before the first PAUSE, so the death of the process
 * or of the host that paused leaves nothing paused.  A RESUME too many does
 * no harm: PgBouncer says that the database is not paused.
 *
 * Invariants:
 *  (1) Nothing is paused that the key does not name.
 *  (2) The stop is put off by connect_timeout, the store's answer and
 *      pause_timeout at most.
 *  (3) What the key names is resumed, or tried again, until it is deleted; it
 *      is deleted when all is resumed or GIVE_UP_MS after the latest time.
 *
 * How to set up PgBouncer: docs/pgbouncer.md.
 *-------------------------------------------------------------------------
 */
#include "supervisor/pgbouncer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#include "base/clock.h"
#include "supervisor/console.h"
#include "supervisor/log.h"
#include "supervisor/supervisor_internal.h"

#define MARK_KEY		"pgbouncer"
#define MARK_TIMEOUT_MS 500 /* for the store to write it */
#define MARK_BIT		(UINT64_C(1) << 61)
#define ANSWER_MS		1000 /* for a login, and for what PgBouncer does at once */
#define PROBE_ANSWER_MS 100	 /* it waits for its own next attempt otherwise */
#define PROBE_LOGIN_MS	500	 /* likewise */
#define PROBE_RETRY_MS	10
#define CHECK_LATE_MS	20 /* the proxy's check may be, and its answer takes time */
#define WAKE_MS			10 /* see wake_up() */
#define RETRY_MIN_MS	100
#define RETRY_MAX_MS	1000
#define GIVE_UP_MS		600000 /* after resume_timeout */
#define REQUEST_SOON_MS 10000  /* a scheduled switchover as near is prepared */

typedef enum Phase
{
	PHASE_NONE,
	PHASE_CHECKING, /* after a change of the settings: can the consoles be used? */
	PHASE_LOOKING,	/* what is paused already? */
	PHASE_MARKING,	/* the key is being written */
	PHASE_PAUSING,
} Phase;

/* What is wanted of a console; sent as soon as it is connected. */
typedef enum Job
{
	JOB_NONE,
	JOB_LOOK,
	JOB_PAUSE,
	JOB_RECONNECT, /* of probe_database: what it was connected to before says nothing */
	JOB_WAKE,	   /* see wake_up() */
	JOB_RESUME,
} Job;

/* A configured PgBouncer and database. */
typedef struct Target
{
	Bouncers *all;
	PgBouncer where;
	Console *console; /* NULL: none is open */
	bool is_ready;	  /* it is connected and idle */
	Job job;
	Console *probe;		 /* a client of probe_database; NULL: none */
	bool is_probe_ready; /* it is logged in, and has not been asked */
	bool is_probe_fresh; /* it will be connected anew when it is asked */
	bool is_probed;		 /* which leads to the new primary */
	bool is_chosen;		 /* to be paused, or paused */
	bool is_marked;		 /* named by the key as we know it */
	bool is_resumed;	 /* so far as that key is meant */
	int64_t retry_ms;	 /* the console is not to be opened again before */
	int64_t probe_retry_ms;
	int n_attempts;	   /* that failed, in a row */
	char problem[512]; /* the last one said, so that it is said once */
} Target;

struct Bouncers
{
	Supervisor *supervisor;
	struct evdns_base *names;
	struct event *timer;
	Target *targets;
	int n_targets;
	int64_t connect_timeout_ms;
	int64_t pause_timeout_ms;
	int64_t resume_timeout_ms;
	int64_t check_interval_ms;
	bool is_outdated; /* the settings have changed */

	Phase phase;
	int64_t started_ms;	 /* PHASE_LOOKING */
	int64_t marked_ms;	 /* before the key was written */
	int64_t deadline_ms; /* of the phase */
	uint64_t mark_id;	 /* of the request that writes the key */
	uint64_t last_id;
	HaAction put_off; /* the stop that waits, in all phases but the first two */

	/* the key as it was seen last */
	uint64_t mark_version;	/* 0: there is none */
	uint64_t known_version; /* of the one that what follows is about */
	int64_t mark_seen_ms;
	int64_t mark_timeout_ms;
	int n_strangers;		 /* named there but not in our configuration */
	int64_t delete_retry_ms; /* 0: not tried yet */
	bool is_late_said;

	int64_t leads_since_ms; /* 0: another member leads, or none */
};

/* --- words --- */

static const char *
describe(const Target *target, char text[512])
{
	snprintf(text, 512, "database \"%s\" of PgBouncer \"%s\" (%s:%d)", target->where.database,
			 target->where.name, target->where.host, target->where.port);
	return text;
}

/* What an operator can do about it; NULL = nothing in particular. */
static const char *
hint_for(const char *problem)
{
	if (strstr(problem, "auth") != NULL || strstr(problem, "no such user") != NULL ||
		strstr(problem, "not allowed") != NULL || strstr(problem, "password") != NULL)
		return "Compare pgbouncer.username and the secret beside it with PgBouncer's auth_file; "
			   "the user must be one of its admin_users.";
	if (strstr(problem, "admin access") != NULL)
		return "The user must be one of PgBouncer's admin_users, not of its stats_users.";
	return NULL;
}

/* A problem with one of them: said once until it changes. */
static void
complain(Target *target, const char *what, const char *problem)
{
	char text[1024];
	char name[512];

	snprintf(text, sizeof(text), "%s %s: %.400s", describe(target, name), what, problem);
	if (strcmp(target->problem, problem) == 0)
	{
		log_write(LOG_LEVEL_DEBUG, text, NULL, NULL);
		return;
	}
	snprintf(target->problem, sizeof(target->problem), "%s", problem);
	log_write(LOG_LEVEL_WARNING, text, NULL, hint_for(problem));
}

static void
tell(Bouncers *bouncers, const char *rule, const char *text)
{
	log_write(LOG_LEVEL_LOG, text, NULL, NULL);
	host_tell_event(bouncers->supervisor->host, rule, text);
}

/* PgBouncer's commands take a quoted name. */
static void
command_text(char *to, size_t size, const char *verb, const char *database)
{
	size_t used = (size_t) snprintf(to, size, "%s \"", verb);

	for (const char *p = database; *p != '\0' && used + 4 < size; p++)
	{
		if (*p == '"')
			to[used++] = '"';
		to[used++] = *p;
	}
	snprintf(to + used, size - used, "\"");
}

/* --- consoles --- */

static void look_answered(Target *target, const PGresult *result, const char *problem);
static void pause_answered(Target *target, const PGresult *result, const char *problem);
static void resume_answered(Target *target, const PGresult *result, const char *problem);

static void
hang_up(Target *target)
{
	console_close(target->console);
	target->console = NULL;
	target->is_ready = false;
	target->job = JOB_NONE;
}

static void
end_probe(Target *target)
{
	console_close(target->probe);
	target->probe = NULL;
	target->is_probe_ready = target->is_probe_fresh = false;
}

static void
hang_up_all(Bouncers *bouncers)
{
	for (int i = 0; i < bouncers->n_targets; i++)
	{
		hang_up(&bouncers->targets[i]);
		end_probe(&bouncers->targets[i]);
	}
}

/* Send what is wanted. */
static void
send_job(Target *target)
{
	char command[256];
	int timeout_ms = ANSWER_MS;

	switch (target->job)
	{
		case JOB_NONE:
			return;
		case JOB_LOOK:
			snprintf(command, sizeof(command), "SHOW DATABASES");
			break;
		case JOB_PAUSE:
			command_text(command, sizeof(command), "PAUSE", target->where.database);
			timeout_ms += (int) target->all->pause_timeout_ms;
			break;
		case JOB_RECONNECT:
			command_text(command, sizeof(command), "RECONNECT", target->where.probe_database);
			break;
		case JOB_WAKE:
			snprintf(command, sizeof(command), "SHOW VERSION");
			break;
		case JOB_RESUME:
			command_text(command, sizeof(command), "RESUME", target->where.database);
			break;
	}
	target->is_ready = false;
	console_send(target->console, command, timeout_ms);
}

/* Connected, answered or lost. */
static void
console_told(void *context, const PGresult *result, const char *problem)
{
	Target *target = context;
	Job job = target->job;

	if (problem == NULL && result == NULL)
	{
		target->is_ready = true;
		if (job != JOB_NONE)
			send_job(target);
		return;
	}
	if (result != NULL)
		target->is_ready = true;
	else
	{
		int64_t wait_ms = RETRY_MIN_MS;

		hang_up(target);
		for (int i = 0; i < target->n_attempts && wait_ms < RETRY_MAX_MS; i++)
			wait_ms *= 2;
		target->n_attempts++;
		target->retry_ms = clock_now_ms() + (wait_ms < RETRY_MAX_MS ? wait_ms : RETRY_MAX_MS);
	}
	target->job = JOB_NONE;
	switch (job)
	{
		case JOB_NONE:
			log_format(LOG_LEVEL_DEBUG, "no console of PgBouncer \"%s\": %s", target->where.name,
					   problem);
			break;
		case JOB_LOOK:
			look_answered(target, result, problem);
			break;
		case JOB_PAUSE:
			pause_answered(target, result, problem);
			break;
		case JOB_RECONNECT:
			target->is_probe_fresh = problem == NULL;
			if (problem == NULL)
				break;
			complain(target, "cannot be probed", problem);
			if (result != NULL)
				target->retry_ms = clock_now_ms() + RETRY_MAX_MS;
			break;
		case JOB_WAKE:
			break;
		case JOB_RESUME:
			resume_answered(target, result, problem);
			break;
	}
}

static Console *
open_console(Target *target, const char *database, ConsoleDone done)
{
	Bouncers *bouncers = target->all;
	char application[160];
	ConsoleTarget to = {
		.where = &target->where,
		.database = database,
		.application = application,
		.names = bouncers->names,
		.timeout_ms = done == console_told ? ANSWER_MS : PROBE_LOGIN_MS,
	};

	snprintf(application, sizeof(application), "patroni_bgw %s",
			 host_settings(bouncers->supervisor->host)->name);
	return console_open(bouncers->supervisor->base, &to, done, target);
}

/* Want something of a console; false: there is none. */
static bool
ask(Target *target, Job job)
{
	if (!target->is_ready && target->job != JOB_NONE && target->job != job)
		hang_up(target); /* what it is busy with does not matter any more */
	if (target->console == NULL)
		target->console = open_console(target, CONSOLE_DATABASE, console_told);
	if (target->console == NULL)
		return false;
	target->job = job;
	if (target->is_ready && job != JOB_NONE)
		send_job(target);
	return true;
}

static int
count_job(const Bouncers *bouncers, Job job)
{
	int n = 0;

	for (int i = 0; i < bouncers->n_targets; i++)
		n += bouncers->targets[i].job == job;
	return n;
}

static int
count_chosen(const Bouncers *bouncers)
{
	int n = 0;

	for (int i = 0; i < bouncers->n_targets; i++)
		n += bouncers->targets[i].is_chosen;
	return n;
}

/* The time of a phase is over: those that have not answered are left behind. */
static void
leave_behind(Bouncers *bouncers, Job job, const char *what, const char *problem)
{
	for (int i = 0; i < bouncers->n_targets; i++)
	{
		if (bouncers->targets[i].job != job)
			continue;
		hang_up(&bouncers->targets[i]);
		complain(&bouncers->targets[i], what, problem);
	}
}

/* --- the key --- */

static bool
same_target(const Target *target, const json_t *entry)
{
	const char *host = json_string_value(json_object_get(entry, "host"));
	const char *database = json_string_value(json_object_get(entry, "database"));

	return host != NULL && database != NULL && strcmp(host, target->where.host) == 0 &&
		   strcmp(database, target->where.database) == 0 &&
		   json_integer_value(json_object_get(entry, "port")) == target->where.port;
}

static json_t *
read_mark(const ClusterKey *key)
{
	json_t *mark = key->value == NULL ? NULL : json_loads(key->value, 0, NULL);

	if (json_is_object(mark))
		return mark;
	json_decref(mark);
	return NULL;
}

/* Take note of the key as it is now. */
static void
look_at_mark(Bouncers *bouncers)
{
	ClusterKey key;
	json_t *mark;
	json_t *entry;
	json_int_t timeout_ms;
	size_t i;

	if (!host_key(bouncers->supervisor->host, MARK_KEY, &key))
	{
		bouncers->mark_version = 0;
		return;
	}
	bouncers->mark_version = key.version;
	if (key.version == bouncers->known_version)
		return;
	mark = read_mark(&key);
	timeout_ms = json_integer_value(json_object_get(mark, "resume_timeout_ms"));
	bouncers->known_version = key.version;
	bouncers->mark_seen_ms = clock_now_ms();
	bouncers->mark_timeout_ms =
		timeout_ms >= 1000 && timeout_ms <= 600000 ? timeout_ms : bouncers->resume_timeout_ms;
	bouncers->n_strangers = (int) json_array_size(json_object_get(mark, "paused"));
	bouncers->delete_retry_ms = 0;
	bouncers->is_late_said = false;
	for (int t = 0; t < bouncers->n_targets; t++)
	{
		Target *target = &bouncers->targets[t];

		target->is_marked = target->is_resumed = target->is_probed = false;
		target->retry_ms = target->probe_retry_ms = target->n_attempts = 0;
		json_array_foreach(json_object_get(mark, "paused"), i, entry)
		{
			if (!target->is_marked && same_target(target, entry))
			{
				target->is_marked = true;
				bouncers->n_strangers--;
			}
		}
	}
	json_decref(mark);
}

/*
 * The key's new text: what is about to be paused, and what the present one
 * names and nobody has resumed yet.
 */
static char *
mark_text(Bouncers *bouncers)
{
	const Settings *settings = host_settings(bouncers->supervisor->host);
	json_t *mark;
	json_t *list = json_pack("[]");
	char now[40];
	char *text;

	for (int i = 0; i < bouncers->n_targets; i++)
	{
		const Target *target = &bouncers->targets[i];

		if (target->is_chosen ||
			(bouncers->mark_version != 0 && target->is_marked && !target->is_resumed))
			json_array_append_new(list,
								  json_pack("{s:s, s:s, s:i, s:s}", "name", target->where.name,
											"host", target->where.host, "port", target->where.port,
											"database", target->where.database));
	}
	timestamp_to_text(clock_wall_ms(), now);
	mark = json_pack("{s:s, s:s, s:I, s:o}", "paused_by", settings->name, "paused_at", now,
					 "resume_timeout_ms", (json_int_t) bouncers->resume_timeout_ms, "paused", list);
	text = mark == NULL ? NULL : json_dumps(mark, JSON_COMPACT);
	json_decref(mark);
	return text;
}

/* --- pausing --- */

/*
 * Who was frozen may find that the others have resumed everything by now, and
 * deleted the key: then nothing may be paused by it.
 */
static bool
is_overdue(const Bouncers *bouncers)
{
	return clock_now_ms() >= bouncers->marked_ms + bouncers->resume_timeout_ms;
}

/* The stop that was put off begins. */
static void
go_on(Bouncers *bouncers)
{
	Supervisor *supervisor = bouncers->supervisor;

	bouncers->phase = PHASE_NONE;
	bouncers->mark_id = 0;
	if (host_is_driving(supervisor->host))
		act_start_task(supervisor, &bouncers->put_off);
}

static void
pause_answered(Target *target, const PGresult *result, const char *problem)
{
	if (problem == NULL)
		return;
	complain(target, "could not be paused", problem);
	if (result != NULL)
		target->is_chosen = false; /* else it may be paused */
}

static void
begin_pausing(Bouncers *bouncers)
{
	bouncers->phase = PHASE_PAUSING;
	bouncers->deadline_ms = clock_now_ms() + bouncers->pause_timeout_ms;
	for (int i = 0; i < bouncers->n_targets; i++)
	{
		if (bouncers->targets[i].is_chosen)
			(void) ask(&bouncers->targets[i], JOB_PAUSE);
	}
}

static void
end_pausing(Bouncers *bouncers)
{
	char text[256];

	if (is_overdue(bouncers))
	{
		log_write(LOG_LEVEL_WARNING, "PgBouncer was paused too late, resuming it", NULL, NULL);
		for (int i = 0; i < bouncers->n_targets; i++)
		{
			if (bouncers->targets[i].is_chosen)
				(void) ask(&bouncers->targets[i], JOB_RESUME);
		}
		go_on(bouncers);
		return;
	}
	leave_behind(bouncers, JOB_PAUSE, "is paused, but has transactions that go on",
				 "going on without waiting for them any longer");
	snprintf(text, sizeof(text), "paused %d of %d databases of PgBouncer in %lld ms",
			 count_chosen(bouncers), bouncers->n_targets,
			 (long long) (clock_now_ms() - bouncers->started_ms));
	tell(bouncers, "pgbouncer-pause", text);
	go_on(bouncers);
}

/* All have been looked at: write down what will be paused. */
static void
begin_marking(Bouncers *bouncers)
{
	HostPutKey put = {
		.key = MARK_KEY,
		.version = bouncers->mark_version,
		.rule = "pgbouncer-mark",
		.timeout_ms = MARK_TIMEOUT_MS,
	};
	char *text;

	if (count_chosen(bouncers) == 0)
	{
		tell(bouncers, "pgbouncer-pause", "no PgBouncer can be paused, going on without");
		go_on(bouncers);
		return;
	}
	text = mark_text(bouncers);
	put.text = text;
	bouncers->phase = PHASE_MARKING;
	bouncers->deadline_ms = clock_now_ms() + MARK_TIMEOUT_MS;
	bouncers->marked_ms = clock_now_ms();
	bouncers->mark_id = MARK_BIT | ++bouncers->last_id;
	if (text == NULL || !host_put_key(bouncers->supervisor->host, bouncers->mark_id, &put))
	{
		log_write(LOG_LEVEL_WARNING, "no PgBouncer is paused",
				  "The store cannot be told which ones to resume.", NULL);
		go_on(bouncers);
	}
	free(text);
}

/* The store has, or has not, the key. */
bool
bouncers_answer(Bouncers *bouncers, const HaAction *answer)
{
	if ((answer->command_id & CHANNEL_CALL_BIT) != 0 || (answer->command_id & MARK_BIT) == 0)
		return false;
	if (bouncers == NULL || bouncers->phase != PHASE_MARKING ||
		answer->command_id != bouncers->mark_id)
		return true;
	if (answer->ok && clock_now_ms() < bouncers->deadline_ms)
	{
		look_at_mark(bouncers);
		begin_pausing(bouncers);
		return true;
	}
	log_format(LOG_LEVEL_WARNING, "no PgBouncer is paused: %s%s%s",
			   answer->ok ? "the store took too long" : answer->because,
			   !answer->ok && answer->detail[0] != '\0' ? ": " : "",
			   answer->ok ? "" : answer->detail);
	go_on(bouncers);
	return true;
}

/* --- looking --- */

/* Is the database paused, as SHOW DATABASES has it? */
static bool
is_paused(const PGresult *result, const char *database)
{
	int name = PQfnumber(result, "name");
	int paused = PQfnumber(result, "paused");

	for (int row = 0; name >= 0 && paused >= 0 && row < PQntuples(result); row++)
	{
		if (strcmp(PQgetvalue(result, row, name), database) == 0)
			return strcmp(PQgetvalue(result, row, paused), "0") != 0;
	}
	return false; /* one that nobody has used yet */
}

static void
look_answered(Target *target, const PGresult *result, const char *problem)
{
	Bouncers *bouncers = target->all;

	if (problem != NULL)
	{
		complain(target,
				 bouncers->phase == PHASE_CHECKING ? "could not be paused now" : "is not paused",
				 problem);
		return;
	}
	if (bouncers->phase == PHASE_CHECKING)
	{
		target->problem[0] = '\0';
		return;
	}
	if (!is_paused(result, target->where.database))
		target->is_chosen = true;
	else if (bouncers->mark_version != 0 && target->is_marked)
		target->is_chosen = true; /* by us, before */
	else
		complain(target, "is left alone", "it is paused already, and not by a switchover");
	if (target->is_chosen)
		target->problem[0] = '\0';
}

static void
begin_looking(Bouncers *bouncers, Phase phase)
{
	bouncers->phase = phase;
	bouncers->started_ms = clock_now_ms();
	bouncers->deadline_ms =
		bouncers->started_ms + (phase == PHASE_CHECKING ? ANSWER_MS : bouncers->connect_timeout_ms);
	for (int i = 0; i < bouncers->n_targets; i++)
	{
		bouncers->targets[i].is_chosen = false;
		(void) ask(&bouncers->targets[i], JOB_LOOK);
	}
}

/* Those that are silent are left out. */
static void
end_looking(Bouncers *bouncers)
{
	char problem[64];

	snprintf(problem, sizeof(problem), "no answer within %lld ms",
			 (long long) (clock_now_ms() - bouncers->started_ms));
	leave_behind(bouncers, JOB_LOOK,
				 bouncers->phase == PHASE_CHECKING ? "could not be paused now" : "is not paused",
				 problem);
	if (bouncers->phase == PHASE_LOOKING)
		begin_marking(bouncers);
	else
		bouncers->phase = PHASE_NONE;
}

/* See pgbouncer.h. */
bool
bouncers_pause_first(Bouncers *bouncers, const HaAction *action)
{
	if (bouncers == NULL || bouncers->n_targets == 0 || action->task != HA_TASK_STOP ||
		strcmp(ha_goal_name(host_node(bouncers->supervisor->host)), "switchover") != 0 ||
		postmaster_pid(bouncers->supervisor->postmaster) == 0)
		return false;
	look_at_mark(bouncers);
	bouncers->put_off = *action;
	bouncers->put_off.text = NULL;
	begin_looking(bouncers, PHASE_LOOKING);
	return true;
}

/* See pgbouncer.h; what is paused already is resumed as always. */
bool
bouncers_cancel(Bouncers *bouncers)
{
	if (bouncers == NULL || bouncers->phase <= PHASE_CHECKING)
		return false;
	bouncers->phase = PHASE_NONE;
	bouncers->mark_id = 0;
	host_task_done(bouncers->supervisor->host, bouncers->put_off.task, bouncers->put_off.task_id,
				   HA_TASK_CANCELLED, HA_DIVERGENCE_UNKNOWN, 0, NULL);
	return true;
}

static void
phase_turn(Bouncers *bouncers)
{
	bool is_down = postmaster_pid(bouncers->supervisor->postmaster) == 0;
	bool is_over = clock_now_ms() >= bouncers->deadline_ms;

	if (is_down && bouncers->phase > PHASE_CHECKING)
	{
		go_on(bouncers); /* there is nothing to stop any more */
		return;
	}
	switch (bouncers->phase)
	{
		case PHASE_NONE:
			break;
		case PHASE_CHECKING:
		case PHASE_LOOKING:
			if (is_over || count_job(bouncers, JOB_LOOK) == 0)
				end_looking(bouncers);
			break;
		case PHASE_MARKING:
			if (!is_over)
				break;
			log_write(LOG_LEVEL_WARNING, "no PgBouncer is paused", "The store does not answer.",
					  NULL);
			go_on(bouncers);
			break;
		case PHASE_PAUSING:
			if (is_over || count_job(bouncers, JOB_PAUSE) == 0)
				end_pausing(bouncers);
			break;
	}
}

/* --- resuming --- */

static void
resume_answered(Target *target, const PGresult *result, const char *problem)
{
	Bouncers *bouncers = target->all;
	char name[512];
	char text[1024];

	if (problem != NULL && (result == NULL || (strstr(problem, "not paused") == NULL &&
											   strstr(problem, "no such database") == NULL)))
	{
		complain(target, "could not be resumed", problem);
		if (result != NULL)
			target->retry_ms = clock_now_ms() + RETRY_MAX_MS;
		return;
	}
	target->is_resumed = true;
	target->problem[0] = '\0';
	if (problem != NULL)
		return; /* another member was faster */
	snprintf(text, sizeof(text), "resumed %s after %lld ms", describe(target, name),
			 (long long) (clock_now_ms() - bouncers->mark_seen_ms));
	tell(bouncers, "pgbouncer-resume", text);
}

/* Does a connection through PgBouncer lead to the new primary already? */
static void
probe_told(void *context, const PGresult *result, const char *problem)
{
	Target *target = context;

	if (problem == NULL && result == NULL)
	{
		target->is_probe_ready = true; /* the turn asks it when it is time */
		return;
	}
	if (problem == NULL && PQntuples(result) == 1 && strcmp(PQgetvalue(result, 0, 0), "f") == 0)
		target->is_probed = true;
	else
		log_format(LOG_LEVEL_DEBUG, "PgBouncer \"%s\" does not lead to the new primary yet: %s",
				   target->where.name, problem != NULL ? problem : "it leads to a standby");
	end_probe(target);
	target->probe_retry_ms = clock_now_ms() + PROBE_RETRY_MS;
}

static void
open_probe(Target *target)
{
	if (target->probe == NULL && clock_now_ms() >= target->probe_retry_ms)
		target->probe = open_console(target, target->where.probe_database, probe_told);
}

/*
 * The probe's login waits for PgBouncer's login to the server.  If HAProxy has
 * none yet, PgBouncer tries again server_login_retry later, but not before it
 * has something else to do: its own clock ticks three times in a second only,
 * and its clients are silent because they are paused.
 */
static void
wake_up(Target *target)
{
	int64_t now_ms = clock_now_ms();

	if (target->job != JOB_NONE || now_ms < target->retry_ms || now_ms < target->probe_retry_ms)
		return;
	target->probe_retry_ms = now_ms + WAKE_MS;
	(void) ask(target, JOB_WAKE);
}

/*
 * PgBouncer may keep a connection of the probe's from before, to a server that
 * is a standby now, or was the route then: RECONNECT makes it look again.
 */
static void
ask_probe(Target *target)
{
	if (target->is_probe_ready)
	{
		target->is_probe_ready = target->is_probe_fresh = false;
		console_send(target->probe, "SELECT pg_catalog.pg_is_in_recovery()", PROBE_ANSWER_MS);
	}
	else if (target->probe != NULL)
		wake_up(target);
	else if (target->is_probe_fresh)
		open_probe(target);
	else if (target->job == JOB_NONE && clock_now_ms() >= target->retry_ms &&
			 clock_now_ms() >= target->probe_retry_ms)
		(void) ask(target, JOB_RECONNECT);
}

static bool
wants_probe(const Target *target)
{
	return target->is_marked && !target->is_resumed && !target->is_probed &&
		   target->where.probe_database[0] != '\0';
}

/* Is this member the leader, and not about to hand over? */
static bool
is_leader(const Bouncers *bouncers)
{
	const Supervisor *supervisor = bouncers->supervisor;
	const ClusterView *view = host_view(supervisor->host);

	return view != NULL && cluster_is_leader(view, host_settings(supervisor->host)->name) &&
		   task_running(supervisor->tasks) == HA_TASK_NONE &&
		   (!host_is_driving(supervisor->host) ||
			strcmp(ha_goal_name(host_node(supervisor->host)), "") == 0);
}

/* And does its server take writes? */
static bool
takes_writes(const Bouncers *bouncers)
{
	const Supervisor *supervisor = bouncers->supervisor;
	const HaPostgres *postgres = host_last_postgres(supervisor->host);

	return is_leader(bouncers) && postgres != NULL && postgres->server == HA_SERVER_RUNNING &&
		   !postgres->is_in_recovery && lease_page_is_open(supervisor->page) &&
		   atomic_load_explicit(&supervisor->page->is_primary, memory_order_acquire) != 0 &&
		   postmaster_pid(supervisor->postmaster) != 0;
}

/*
 * From when on does the proxy know that the old primary is none?  A probe tells
 * of one server, and the old primary may be back as a standby before the proxy
 * has looked again: then both are primaries to it, and half of the connections
 * end up on the standby, for good.
 */
static int64_t
proxy_knows_ms(const Bouncers *bouncers)
{
	return bouncers->leads_since_ms + bouncers->check_interval_ms + CHECK_LATE_MS;
}

static void
resume(Target *target, bool is_late)
{
	int64_t now_ms = clock_now_ms();

	if (wants_probe(target) && !is_late)
	{
		ask_probe(target);
		return;
	}
	end_probe(target);
	if (target->where.probe_database[0] != '\0' && !is_late && now_ms < proxy_knows_ms(target->all))
		return;
	if (target->job == JOB_NONE && now_ms >= target->retry_ms)
		(void) ask(target, JOB_RESUME);
}

/* All is resumed, or it has been tried for long enough. */
static void
delete_mark(Bouncers *bouncers, int64_t now_ms)
{
	HostPutKey put = {
		.key = MARK_KEY,
		.version = bouncers->mark_version,
		.rule = "pgbouncer-unmark",
	};

	if (now_ms < bouncers->delete_retry_ms)
		return;
	bouncers->delete_retry_ms = now_ms + RETRY_MAX_MS;
	(void) host_put_key(bouncers->supervisor->host, MARK_BIT | ++bouncers->last_id, &put);
}

static void
resume_turn(Bouncers *bouncers)
{
	int64_t now_ms = clock_now_ms();
	int64_t latest_ms = bouncers->mark_seen_ms + bouncers->mark_timeout_ms;
	bool is_late = now_ms >= latest_ms;
	bool is_done = bouncers->n_strangers == 0;

	if (bouncers->mark_version == 0 || (!is_late && !takes_writes(bouncers)))
		return;
	for (int i = 0; i < bouncers->n_targets; i++)
	{
		Target *target = &bouncers->targets[i];

		if (!target->is_marked || target->is_resumed)
			continue;
		is_done = false;
		if (is_late && !bouncers->is_late_said)
		{
			bouncers->is_late_said = true;
			log_format(LOG_LEVEL_WARNING,
					   "resuming PgBouncer %lld ms after the pause, come what may",
					   (long long) (now_ms - bouncers->mark_seen_ms));
		}
		resume(target, is_late);
	}
	if (!is_done && now_ms < latest_ms + GIVE_UP_MS)
		return;
	for (int i = 0; i < bouncers->n_targets && bouncers->delete_retry_ms == 0; i++)
	{
		if (bouncers->targets[i].is_marked && !bouncers->targets[i].is_resumed)
			complain(&bouncers->targets[i], "is not resumed",
					 "this is given up; send RESUME by hand");
	}
	delete_mark(bouncers, now_ms);
}

/* --- the loop's side --- */

/*
 * Consoles are open while a switchover is requested or something is paused:
 * so what has to be sent then does not wait for a login.
 */
static void
prepare(Bouncers *bouncers)
{
	const ClusterView *view = host_view(bouncers->supervisor->host);
	bool is_requested = view != NULL && view->failover.exists &&
						(!view->failover.is_scheduled ||
						 view->failover.scheduled_at_ms < clock_wall_ms() + REQUEST_SOON_MS);

	for (int i = 0; i < bouncers->n_targets; i++)
	{
		Target *target = &bouncers->targets[i];

		if (bouncers->mark_version == 0)
			end_probe(target);
		if (!is_requested && bouncers->mark_version == 0)
		{
			if (target->job == JOB_NONE)
				hang_up(target);
		}
		else if (target->console == NULL && clock_now_ms() >= target->retry_ms)
			(void) ask(target, JOB_NONE);
	}
}

static void
nothing(evutil_socket_t fd, short what, void *arg)
{
	(void) fd; /* the turn after each event does it */
	(void) what;
	(void) arg;
}

/* When is a turn wanted that no other event brings? */
static void
arm_timer(Bouncers *bouncers)
{
	int64_t now_ms = clock_now_ms();
	int64_t wake_ms = INT64_MAX;
	struct timeval wait;

	if (bouncers->phase != PHASE_NONE)
		wake_ms = bouncers->deadline_ms;
	else if (bouncers->mark_version != 0)
	{
		wake_ms = bouncers->mark_seen_ms + bouncers->mark_timeout_ms;
		if (wake_ms <= now_ms)
			wake_ms = bouncers->delete_retry_ms > now_ms ? bouncers->delete_retry_ms
														 : now_ms + RETRY_MAX_MS;
		for (int i = 0; i < bouncers->n_targets; i++)
		{
			const Target *target = &bouncers->targets[i];

			if (target->retry_ms > now_ms && target->retry_ms < wake_ms)
				wake_ms = target->retry_ms;
			if (target->probe_retry_ms > now_ms && target->probe_retry_ms < wake_ms)
				wake_ms = target->probe_retry_ms;
		}
		if (bouncers->leads_since_ms != 0 && proxy_knows_ms(bouncers) > now_ms &&
			proxy_knows_ms(bouncers) < wake_ms)
			wake_ms = proxy_knows_ms(bouncers);
	}
	if (wake_ms == INT64_MAX)
	{
		event_del(bouncers->timer);
		return;
	}
	wake_ms = wake_ms > now_ms ? wake_ms - now_ms : 0;
	wait.tv_sec = wake_ms / 1000;
	wait.tv_usec = (wake_ms % 1000) * 1000;
	event_add(bouncers->timer, &wait);
}

static bool
is_configured_so(const Bouncers *bouncers, const Settings *settings)
{
	if (bouncers->n_targets != settings->n_pgbouncers)
		return false;
	for (int i = 0; i < bouncers->n_targets; i++)
	{
		if (memcmp(&bouncers->targets[i].where, &settings->pgbouncers[i], sizeof(PgBouncer)) != 0)
			return false;
	}
	return true;
}

static void
free_targets(Bouncers *bouncers)
{
	hang_up_all(bouncers);
	if (bouncers->targets != NULL)
		explicit_bzero(bouncers->targets, (size_t) bouncers->n_targets * sizeof(Target));
	free(bouncers->targets);
	bouncers->targets = NULL;
	bouncers->n_targets = 0;
	if (bouncers->names != NULL)
		evdns_base_free(bouncers->names, 1);
	bouncers->names = NULL;
}

/* Take over the settings, and see whether the consoles can be used. */
static void
configure(Bouncers *bouncers, const Settings *settings)
{
	bouncers->is_outdated = false;
	bouncers->connect_timeout_ms = settings->pgbouncer_connect_timeout_ms;
	bouncers->pause_timeout_ms = settings->pgbouncer_pause_timeout_ms;
	bouncers->resume_timeout_ms = settings->pgbouncer_resume_timeout_ms;
	bouncers->check_interval_ms = settings->pgbouncer_check_interval_ms;
	if (is_configured_so(bouncers, settings))
		return;
	free_targets(bouncers);
	bouncers->phase = PHASE_NONE;
	bouncers->mark_version = bouncers->known_version = 0; /* look at it again */
	if (settings->n_pgbouncers == 0)
		return;
	bouncers->targets = calloc((size_t) settings->n_pgbouncers, sizeof(Target));
	if (bouncers->targets == NULL)
		return;
	bouncers->n_targets = settings->n_pgbouncers;
	bouncers->names =
		evdns_base_new(bouncers->supervisor->base,
					   EVDNS_BASE_INITIALIZE_NAMESERVERS | EVDNS_BASE_DISABLE_WHEN_INACTIVE);
	for (int i = 0; i < bouncers->n_targets; i++)
	{
		bouncers->targets[i].all = bouncers;
		bouncers->targets[i].where = settings->pgbouncers[i];
	}
	begin_looking(bouncers, PHASE_CHECKING);
}

void
bouncers_configure(Bouncers *bouncers)
{
	if (bouncers != NULL)
		bouncers->is_outdated = true;
}

/* Since when does this member have the leader key?  Who had it before took no writes any more then. */
static void
look_at_leader(Bouncers *bouncers, const Settings *settings)
{
	const ClusterView *view = host_view(bouncers->supervisor->host);

	if (view == NULL || settings == NULL || !cluster_is_leader(view, settings->name))
		bouncers->leads_since_ms = 0;
	else if (bouncers->leads_since_ms == 0)
		bouncers->leads_since_ms = clock_now_ms();
}

void
bouncers_turn(Bouncers *bouncers)
{
	const Settings *settings = host_settings(bouncers->supervisor->host);

	if (bouncers->is_outdated && bouncers->phase <= PHASE_CHECKING && settings != NULL)
		configure(bouncers, settings);
	if (bouncers->n_targets == 0)
		return;
	look_at_leader(bouncers, settings);
	look_at_mark(bouncers);
	phase_turn(bouncers);
	if (bouncers->phase == PHASE_NONE)
	{
		prepare(bouncers);
		resume_turn(bouncers);
	}
	arm_timer(bouncers);
}

Bouncers *
bouncers_create(Supervisor *supervisor)
{
	Bouncers *bouncers = calloc(1, sizeof(Bouncers));

	if (bouncers == NULL)
		return NULL;
	bouncers->supervisor = supervisor;
	bouncers->timer = evtimer_new(supervisor->base, nothing, bouncers);
	if (bouncers->timer != NULL)
		return bouncers;
	free(bouncers);
	return NULL;
}

void
bouncers_free(Bouncers *bouncers)
{
	if (bouncers == NULL)
		return;
	free_targets(bouncers);
	event_free(bouncers->timer);
	free(bouncers);
}
