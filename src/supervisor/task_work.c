/*-------------------------------------------------------------------------
 *
 * task_work.c
 *      The work of a task, in a process of its own that may block and die.
 *
 * The process is a fork of the supervisor that has closed everything but its
 * report descriptor.  It must not touch the supervisor's event loop, and it
 * leaves by _exit() or exec only.  SIGTERM asks it to clean up and go; when
 * the supervisor dies it gets SIGTERM as well, except on its way to become
 * the postmaster.
 *
 * Secrets for tools are handed over in anonymous memory files of mode 0600,
 * which nobody can find by name.
 *-------------------------------------------------------------------------
 */
#include "supervisor/task_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <libpq-fe.h>

#include "cluster/ascii.h"
#include "postgres/postgres_dir.h"
#include "postgres/own_conf.h"
#include "postgres/postgres_files.h"
#include "postgres/unused_history.h"
#include "supervisor/data_files.h"

#define WORDS_MAX			(4 * OPTION_WORDS_MAX)
#define OUTPUT_KEPT			4096

/* What pg_rewind says with --progress before it changes anything (pg_rewind.c, main()). */
#define REWIND_BEGINS		"need to copy"

typedef struct Work
{
	const TaskRequest *request;
	const Settings *settings;
	char	   *words[WORDS_MAX];	/* of the tool being built */
	int			n_words;
	char		output[OUTPUT_KEPT];	/* the end of the last tool's output */
	char		last_error[512];	/* its last line that speaks of an error */
	bool		has_changed_files;	/* pg_rewind has begun to */
	HaDivergence divergence;
	Lsn			lsn;
} Work;

static volatile sig_atomic_t is_cancelled = 0;
static pid_t tool_pid = 0;

static void
on_sigterm(int signal)
{
	(void) signal;
	is_cancelled = 1;
}

/* --- reports --- */

static void
report(const char *format,...)
{
	char		line[TASK_LINE_MAX - 8];
	va_list		args;
	int			length;

	va_start(args, format);
	length = vsnprintf(line, sizeof(line) - 1, format, args);
	va_end(args);
	if (length < 0)
		return;
	if ((size_t) length >= sizeof(line) - 1)
		length = (int) sizeof(line) - 2;
	for (int i = 0; i < length; i++)
		if (line[i] == '\n' || line[i] == '\r')
			line[i] = ' ';
	line[length++] = '\n';
	for (int done = 0; done < length;)
	{
		ssize_t		put = write(TASK_REPORT_FD, line + done, (size_t) (length - done));

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			break;
		done += (int) put;
	}
}

static void __attribute__((noreturn))
leave(Work *work, HaTaskOutcome outcome, const char *message)
{
	report("R%d %d %llx %s", (int) (is_cancelled && outcome != HA_TASK_OK ? HA_TASK_CANCELLED : outcome),
		   (int) work->divergence, (unsigned long long) work->lsn, message != NULL ? message : "");
	_exit(outcome == HA_TASK_OK ? 0 : 1);
}

/* Hide every password we know, and what looks like one. */
static void
redact(const Settings *settings, char *line)
{
	const char *secrets[] = {settings->superuser.password, settings->replication.password,
	settings->rewind.password};
	char	   *at;

	for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++)
	{
		size_t		length = strlen(secrets[i]);

		if (length < 3)
			continue;
		for (at = line; (at = strstr(at, secrets[i])) != NULL; at += length)
			memset(at, '*', length);
	}
	for (at = line; (at = strcasestr(at, "password=")) != NULL;)
		for (at += 9; *at != '\0' && !ascii_is_space(*at); at++)
			*at = '*';
}

/* --- tools --- */

static bool
word(Work *work, const char *format,...) __attribute__((format(printf, 2, 3)));

static bool
word(Work *work, const char *format,...)
{
	va_list		args;
	char	   *text = NULL;

	if (work->n_words >= WORDS_MAX - 1)
		return false;
	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		text = NULL;
	va_end(args);
	if (text == NULL)
		return false;
	work->words[work->n_words++] = text;
	work->words[work->n_words] = NULL;
	return true;
}

static void
no_words(Work *work)
{
	words_free(work->words, work->n_words);
	work->n_words = 0;
	work->words[0] = NULL;
}

/* First word: the program, from bin_dir and bin_name. */
static void
tool(Work *work, const char *name)
{
	const char *other = settings_text(work->settings, "postgresql", "bin_name", name);

	no_words(work);
	name = other != NULL ? other : name;
	if (work->settings->bin_dir[0] != '\0' && strchr(name, '/') == NULL)
		word(work, "%s/%s", work->settings->bin_dir, name);
	else
		word(work, "%s", name);
}

/* A file that only we and our children can open, by /proc/self/fd/<n>; -1. */
static int
secret_file(const char *text)
{
	int			fd = memfd_create("secret", 0);
	size_t		length = strlen(text);

	if (fd < 0 || fchmod(fd, 0600) != 0 || write(fd, text, length) != (ssize_t) length)
	{
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return fd;
}

/* Bytes read and written so far; does the tool get on? */
static unsigned long long
io_bytes(pid_t pid)
{
	char		path[64];
	char		text[1024];
	char	   *r;
	char	   *w;
	unsigned long long sum = 0;
	int			fd;
	ssize_t		got;

	snprintf(path, sizeof(path), "/proc/%d/io", (int) pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	got = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (got <= 0)
		return 0;
	text[got] = '\0';
	if ((r = strstr(text, "rchar: ")) != NULL)
		sum += strtoull(r + 7, NULL, 10);
	if ((w = strstr(text, "wchar: ")) != NULL)
		sum += strtoull(w + 7, NULL, 10);
	return sum;
}

static void
take_output(Work *work, char *line, int level)
{
	size_t		kept = strlen(work->output);
	size_t		length;

	line[strcspn(line, "\r\n")] = '\0';
	if (line[0] == '\0')
		return;
	redact(work->settings, line);
	length = strlen(line) + 1;
	if (length + 1 < sizeof(work->output))
	{
		if (kept + length + 1 > sizeof(work->output))
		{
			size_t		drop = kept + length + 1 - sizeof(work->output);

			memmove(work->output, work->output + drop, kept - drop + 1);
			kept -= drop;
		}
		snprintf(work->output + kept, sizeof(work->output) - kept, "%s\n", line);
	}
	if (strstr(line, "error:") != NULL || strstr(line, "fatal:") != NULL ||
		strstr(line, "FATAL:") != NULL || strstr(line, "ERROR:") != NULL ||
		strstr(line, "PANIC:") != NULL || strstr(line, "could not") != NULL)
		snprintf(work->last_error, sizeof(work->last_error), "%.511s", line);
	if (strstr(line, REWIND_BEGINS) != NULL)
		work->has_changed_files = true;
	report("L%d %s", level, line);
}

/*
 * Run work->words, its output to the log; true: exit code 0.  *pgpass and
 * *pgoptions go to its environment when not NULL.
 */
static bool
run_with(Work *work, const char *pgpass, const char *pgoptions, bool as_tool, int level, Error *error)
{
	int			fds[2];
	char		buffer[8192];
	size_t		used = 0;
	unsigned long long last_io = 0;
	int			status;
	bool		told = false;
	char		text[100];
	const char *name = work->words[0];

	work->output[0] = work->last_error[0] = '\0';
	work->has_changed_files = false;
	if (is_cancelled)
		return error_set(error, "cancelled");
	if (pipe2(fds, O_CLOEXEC) != 0)
		return error_set(error, "could not create pipe: %s", strerror(errno));
	tool_pid = fork();
	if (tool_pid == 0)
	{
		signal(SIGTERM, SIG_DFL);
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		dup2(fds[1], 1);
		dup2(fds[1], 2);
		if (as_tool)
			setenv("LC_ALL", "C", 1);
		if (as_tool)
			setenv("LANG", "C", 1);
		if (pgpass != NULL)
			setenv("PGPASSFILE", pgpass, 1);
		if (pgoptions != NULL)
			setenv("PGOPTIONS", pgoptions, 1);
		execvp(work->words[0], work->words);
		fprintf(stderr, "could not execute \"%s\": %s\n", work->words[0], strerror(errno));
		_exit(127);
	}
	close(fds[1]);
	if (tool_pid < 0)
	{
		close(fds[0]);
		return error_set(error, "could not fork: %s", strerror(errno));
	}
	for (;;)
	{
		struct pollfd wait_for = {.fd = fds[0], .events = POLLIN};
		int			ready = poll(&wait_for, 1, 1000);
		unsigned long long io = io_bytes(tool_pid);

		if (is_cancelled && !told)
		{
			kill(tool_pid, SIGTERM);
			told = true;
		}
		if (io != last_io)
			report("H");
		last_io = io;
		if (ready > 0)
		{
			ssize_t		got = read(fds[0], buffer + used, sizeof(buffer) - 1 - used);
			char	   *newline;

			if (got < 0 && errno == EINTR)
				continue;
			if (got <= 0)
				break;
			used += (size_t) got;
			buffer[used] = '\0';
			while ((newline = strpbrk(buffer, "\r\n")) != NULL)
			{
				size_t		length = (size_t) (newline - buffer) + 1;

				*newline = '\0';
				take_output(work, buffer, level);
				used -= length;
				memmove(buffer, buffer + length, used + 1);
			}
			if (used >= sizeof(buffer) - 1)
			{
				take_output(work, buffer, level);
				used = 0;
			}
		}
	}
	if (used > 0)
		take_output(work, buffer, level);
	close(fds[0]);
	while (waitpid(tool_pid, &status, 0) < 0 && errno == EINTR)
		;
	tool_pid = 0;
	if (is_cancelled)
		return error_set(error, "cancelled");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return true;
	process_status_text(status, text, sizeof(text));
	name = strrchr(work->words[0], '/') != NULL ? strrchr(work->words[0], '/') + 1 : work->words[0];
	if (work->last_error[0] != '\0')
		return error_set(error, "%s %s: %s", name, text, work->last_error);
	return error_set(error, "%s %s", name, text);
}

/* A server's tool. */
static bool
run_tool(Work *work, const char *pgpass, Error *error)
{
	return run_with(work, pgpass, "-c statement_timeout=0", true, 1, error);
}

/* --- small things --- */

static const Credentials *
rewind_user(const Settings *settings)
{
	return settings->rewind.exists ? &settings->rewind : &settings->superuser;
}

/* The slot to stream from. */
static const char *
wanted_slot(const Work *work, char slot[64])
{
	slot[0] = '\0';
	if (work->request->conn_url[0] == '\0' || !work->settings->use_slots)
		return slot;
	if (work->request->slot[0] != '\0')
		snprintf(slot, 64, "%s", work->request->slot);
	else
		member_slot_name(work->settings->name, slot);
	return slot;
}

static int
version_num(const Settings *settings)
{
	int			major = 0;

	if (!data_directory_version(settings->data_dir, &major, NULL))
		return 0;
	return major * 10000;
}

/* postgresql.conf and all that, with the problems in the log. */
static bool
write_configuration(Work *work, bool is_standby, Error *error)
{
	ConfigProblems problems;
	char		slot[64];
	bool		ok;

	config_problems_init(&problems);
	own_conf_compare(work->settings, &problems);
	ok = conf_write_all(work->settings, version_num(work->settings), work->request->conn_url,
						wanted_slot(work, slot), is_standby, &problems, error);
	for (int i = 0; i < problems.count; i++)
		report("L2 %s: %s: %s", problems.items[i].place, problems.items[i].key, problems.items[i].message);
	config_problems_free(&problems);
	return ok ? true : error_wrap(error, "could not write configuration");
}

/* --- initdb and base backup --- */

/* Begin with an empty directory; what is there may only be our own rubbish. */
static bool
empty_directory(Work *work, Error *error)
{
	const char *dir = work->settings->data_dir;
	HaPostgres *look = calloc(1, sizeof(*look));
	HaDataDirectory data;

	if (look == NULL)
		return error_set(error, "out of memory");
	data_directory_look(dir, look);
	data = look->data;
	free(look);
	if (data != HA_DATA_EMPTY)
		return error_set(error, "data directory \"%s\" is not empty", dir);
	if (data_mark_get(dir) == DATA_MARK_CLONE)
	{
		report("L1 removing the rest of an unfinished clone from \"%s\"", dir);
		if (!data_files_remove(dir, error))
			return false;
	}
	if (mkdir(dir, 0700) != 0 && errno != EEXIST)
		return error_set(error, "could not create data directory \"%s\": %s", dir, strerror(errno));
	data_mark_set(dir, DATA_MARK_CLONE, 0);
	return true;
}

/* It was empty before, so what is there now is ours. */
static void
clean_up(Work *work)
{
	Error		error;

	if (!data_files_remove(work->settings->data_dir, &error))
		report("L2 %s", error.message);
}

/* bootstrap.pg_hba, for those who do not manage the whole file. */
static bool
append_bootstrap_hba(Work *work, Error *error)
{
	const json_t *lines = settings_value(work->settings, "bootstrap", "pg_hba", NULL);
	char		path[PATH_MAX];
	char	   *old;
	char	   *text = NULL;
	size_t		length = 0;
	size_t		index;
	json_t	   *line;
	FILE	   *file;
	bool		ok;

	if (!json_is_array(lines) || settings_value(work->settings, "postgresql", "pg_hba", NULL) != NULL ||
		settings_value(work->settings, "postgresql", "parameters", "hba_file") != NULL)
		return true;
	if (!path_join(path, sizeof(path), work->settings->data_dir, "pg_hba.conf"))
		return error_set(error, "data directory name is too long");
	old = file_read(path, 1024 * 1024, NULL);
	file = open_memstream(&text, &length);
	if (file == NULL)
	{
		free(old);
		return error_set(error, "out of memory");
	}
	fputs(old != NULL ? old : "", file);
	free(old);
	fputc('\n', file);
	json_array_foreach((json_t *) lines, index, line)
		if (json_is_string(line))
			fprintf(file, "%s\n", json_string_value(line));
	ok = fclose(file) == 0 &&
		file_replace(path, text, length, data_directory_file_mode(work->settings->data_dir), error);
	free(text);
	return ok;
}

static void
work_initdb(Work *work)
{
	static const char *const forbidden[] = {"pgdata", "nosync", "pwfile", "sync-only", "version", NULL};
	const Settings *settings = work->settings;
	const char *method = settings_text(settings, "bootstrap", "method", NULL);
	const json_t *options = settings_value(settings, "bootstrap", "initdb", NULL);
	Error		error;
	int			fd = -1;
	bool		ok;

	error_clear(&error);
	if (method != NULL && strcmp(method, "initdb") != 0 &&
		settings_text(settings, "bootstrap", method, "command") != NULL)
	{
		error_set(&error, "bootstrap method \"%s\" is not supported, only \"initdb\" is", method);
		leave(work, HA_TASK_IMPOSSIBLE, error.message);
	}
	tool(work, "initdb");
	word(work, "--pgdata=%s", settings->data_dir);
	if (settings->superuser.username[0] != '\0' && !option_list_has(options, "username"))
		word(work, "--username=%s", settings->superuser.username);
	if (settings->superuser.password[0] != '\0')
	{
		fd = secret_file(settings->superuser.password);
		if (fd < 0)
			leave(work, HA_TASK_FAILED, "could not create password file");
		word(work, "--pwfile=/proc/self/fd/%d", fd);
	}
	if (!option_list_words(options, forbidden, "initdb", work->words, &work->n_words, &error))
		leave(work, HA_TASK_IMPOSSIBLE, error.message);
	if (!empty_directory(work, &error))
		leave(work, HA_TASK_IMPOSSIBLE, error.message);
	ok = run_tool(work, NULL, &error) && append_bootstrap_hba(work, &error) &&
		write_configuration(work, false, &error);
	if (!ok)
	{
		clean_up(work);
		leave(work, HA_TASK_FAILED, error.message);
	}
	data_mark_clear(settings->data_dir);
	leave(work, HA_TASK_OK, NULL);
}

static bool
basebackup_once(Work *work, Error *error)
{
	static const char *const forbidden[] = {"pgdata", "format", "wal-method", "xlog-method", "gzip",
	"version", "dbname", "host", "port", "username", "password", NULL};
	const Settings *settings = work->settings;
	const json_t *options = settings_value(settings, "postgresql", "basebackup", NULL);
	char		conninfo[CONNINFO_MAX];
	char		pgpass[64];
	char	   *lines = pgpass_lines(&settings->replication, work->request->conn_url);
	int			fd = lines != NULL ? secret_file(lines) : -1;
	bool		ok;

	free(lines);
	snprintf(pgpass, sizeof(pgpass), "/proc/self/fd/%d", fd);
	ok = conninfo_for_tool(settings, &settings->replication, work->request->conn_url, NULL,
						   conninfo, sizeof(conninfo), error);
	if (ok)
	{
		tool(work, "pg_basebackup");
		word(work, "--pgdata=%s", settings->data_dir);
		word(work, "--wal-method=stream");
		word(work, "--dbname=%s", conninfo);
		word(work, "--no-password");
		if (!option_list_has(options, "checkpoint"))
			word(work, "--checkpoint=fast");
		ok = option_list_words(options, forbidden, "basebackup", work->words, &work->n_words, error) &&
			empty_directory(work, error) &&
			run_tool(work, fd >= 0 ? pgpass : "/dev/null", error);
	}
	if (fd >= 0)
		close(fd);
	return ok;
}

/* A command of the operator's: patroni/postgresql/bootstrap.py, create_replica(). */
static bool
replica_method(Work *work, const char *method, const json_t *section, bool *keep_data, Error *error)
{
	static const char *const own[] = {"command", "keep_data", "no_params", "no_leader", "no_master", NULL};
	const Settings *settings = work->settings;
	const char *command = json_string_value(json_object_get(section, "command"));
	bool		no_params = false;
	char		conninfo[CONNINFO_MAX] = "";
	const char *key;
	json_t	   *value;

	if (json_object_get(section, "keep_data") != NULL)
		value_to_bool(json_object_get(section, "keep_data"), keep_data);
	if (json_object_get(section, "no_params") != NULL)
		value_to_bool(json_object_get(section, "no_params"), &no_params);
	no_words(work);
	if (!command_words(command != NULL ? command : method, work->words, &work->n_words, error))
		return false;
	if (work->n_words == 0)
		return error_set(error, "replica method \"%s\" has no command", method);
	if (work->request->conn_url[0] != '\0' &&
		(!conninfo_for_tool(settings, &settings->replication, work->request->conn_url, NULL,
							conninfo, sizeof(conninfo), error) ||
		 !pgpass_ensure(settings, work->request->conn_url, error)))
		return false;
	if (!no_params)
	{
		json_object_foreach((json_t *) section, key, value)
		{
			bool		is_own = false;

			for (const char *const *name = own; *name != NULL; name++)
				is_own = is_own || strcmp(*name, key) == 0;
			if (is_own || json_is_null(value))
				continue;
			if (json_is_string(value))
				word(work, "--%s=%s", key, json_string_value(value));
			else if (json_is_integer(value))
				word(work, "--%s=%lld", key, (long long) json_integer_value(value));
			else if (json_is_boolean(value))
				word(work, "--%s=%s", key, json_is_true(value) ? "True" : "False");
		}
		word(work, "--scope=%s", settings->scope);
		word(work, "--role=replica");
		word(work, "--datadir=%s", settings->data_dir);
		word(work, "--connstring=%s", conninfo);
	}
	if (!*keep_data)
	{
		if (!empty_directory(work, error))
			return false;
		rmdir(settings->data_dir);	/* as Patroni: the script may want to make it */
	}
	report("L1 creating replica with method \"%s\"", method);
	return run_with(work, settings->pgpass[0] != '\0' ? settings->pgpass : NULL, NULL, false, 1, error);
}

static void
work_basebackup(Work *work)
{
	const Settings *settings = work->settings;
	const json_t *methods = settings_value(settings, "postgresql", "create_replica_methods", NULL);
	json_t	   *only_basebackup = json_pack("[s]", "basebackup");
	Error		error;
	size_t		index;
	json_t	   *item;
	bool		ok = false;

	if (!json_is_array(methods))
		methods = settings_value(settings, "postgresql", "create_replica_method", NULL);
	if (!json_is_array(methods) || json_array_size(methods) == 0)
		methods = only_basebackup;
	error_set(&error, "no replica method can be used");
	json_array_foreach((json_t *) methods, index, item)
	{
		const char *method = json_string_value(item);
		const json_t *section = method == NULL ? NULL : settings_value(settings, "postgresql", method, NULL);
		bool		keep_data = false;

		if (method == NULL || is_cancelled)
			continue;
		if (strcmp(method, "basebackup") == 0)
		{
			if (work->request->conn_url[0] == '\0')
				continue;
			report("Pcopying from \"%s\"", work->request->member);
			ok = basebackup_once(work, &error);
		}
		else
		{
			bool		no_leader = false;

			if (json_object_get(section, "no_leader") != NULL)
				value_to_bool(json_object_get(section, "no_leader"), &no_leader);
			if (work->request->conn_url[0] == '\0' && !no_leader)
				continue;
			ok = replica_method(work, method, section, &keep_data, &error);
		}
		if (ok)
			break;
		report("L2 could not create replica with method \"%s\": %s", method, error.message);
		/* only what empty_directory() let us begin with, never keep_data's */
		if (!keep_data && data_mark_get(settings->data_dir) == DATA_MARK_CLONE)
			clean_up(work);
	}
	ok = ok && conf_restore_backups(settings, &error) && write_configuration(work, true, &error);
	if (!ok)
		leave(work, HA_TASK_FAILED, error.message);
	data_mark_clear(settings->data_dir);
	leave(work, HA_TASK_OK, NULL);
}

/* --- becoming the postmaster --- */

/*
 * A standby must not take a timeline for its own of which it has no WAL, and
 * must find the way to those of which it has.
 */
static bool
prepare_timelines(const char *data_dir, Error *error)
{
	ControlFile control;

	if (!control_file_load(data_dir, &control, NULL))
		return true;			/* the server will say what is wrong with it */
	history_files_remove_unused(data_dir,
								control.minimum_recovery_timeline > control.checkpoint_timeline ?
								control.minimum_recovery_timeline : control.checkpoint_timeline);
	return history_files_bridge(data_dir, control.checkpoint_timeline, error);
}

static void
work_start(Work *work, bool is_standby, char *const *arguments)
{
	const Settings *settings = work->settings;
	json_t	   *command_line = NULL;
	json_t	   *config_file = NULL;
	ConfigProblems problems;
	PostmasterFile file;
	Error		error;
	char		path[PATH_MAX];
	const char *key;
	json_t	   *value;
	DataMark	mark = data_mark_get(settings->data_dir);

	prctl(PR_SET_PDEATHSIG, 0);
	if (mark == DATA_MARK_REWIND)
		leave(work, HA_TASK_IMPOSSIBLE, "an interrupted pg_rewind left the data directory unusable");
	if (mark == DATA_MARK_CLONE)
		leave(work, HA_TASK_IMPOSSIBLE, "the data directory holds an unfinished clone");
	if (is_standby && work->request->conn_url[0] == '\0' && !own_conf_may_lead(settings, &error))
		leave(work, HA_TASK_FAILED, error.message);
	/* before standby.signal: after that nothing else tells */
	if (!is_standby || !work->request->is_former_primary)
		data_former_primary_clear(settings->data_dir);
	else if (!data_former_primary_set(settings->data_dir, work->request->timeline, &error))
		report("L2 could not mark this member as a former primary: %s", error.message);
	config_problems_init(&problems);
	if ((is_standby && !prepare_timelines(settings->data_dir, &error)) ||
		!write_configuration(work, is_standby, &error) ||
		!server_parameters(settings, version_num(settings), is_standby, &command_line, &config_file,
						   &problems, &error) ||
		!conf_path(settings, path, sizeof(path)))
		leave(work, HA_TASK_FAILED, error.message);
	tool(work, "postgres");
	word(work, "-D");
	word(work, "%s", settings->data_dir);
	word(work, "--config-file=%s", path);
	json_object_foreach(command_line, key, value)
		if (json_is_string(value))
			word(work, "--%s=%s", key, json_string_value(value));
	for (int i = 0; i < TASK_ARGUMENTS_MAX && arguments[i] != NULL; i++)
		word(work, "%s", arguments[i]);
	/* a stale postmaster.pid whose pid is a stranger's now must not stop us */
	if (postmaster_file_read(settings->data_dir, &file) && kill(file.pid, 0) == 0 &&
		!postmaster_is_alive(settings->data_dir, file.pid))
	{
		char		pid[16];

		snprintf(pid, sizeof(pid), "%d", (int) file.pid);
		setenv("PG_GRANDPARENT_PID", pid, 1);
	}
	signal(SIGTERM, SIG_DFL);
	execvp(work->words[0], work->words);
	error_set(&error, "could not execute \"%s\": %s", work->words[0], strerror(errno));
	leave(work, errno == ENOENT ? HA_TASK_IMPOSSIBLE : HA_TASK_FAILED, error.message);
}

/* --- connections of our own --- */

static PGconn *
try_connect(const char *conninfo, const char *password, const char *replication, Error *error)
{
	const char *keys[] = {"dbname", "password", "replication", "client_encoding", NULL};
	const char *values[] = {conninfo, password, replication, "UTF8", NULL};
	PGconn	   *conn;

	if (replication == NULL)
	{
		keys[2] = "client_encoding";
		values[2] = "UTF8";
		keys[3] = values[3] = NULL;
	}
	conn = PQconnectdbParams(keys, values, 1);
	if (PQstatus(conn) == CONNECTION_OK)
		return conn;
	error_set(error, "%.900s", PQerrorMessage(conn));
	error->message[strcspn(error->message, "\n")] = '\0';
	PQfinish(conn);
	return NULL;
}

/* For our own server; no password in it. */
static void
local_conninfo(const Credentials *user, const char *host, int port,
			   const char *database, char *conninfo, size_t size)
{
	const char *sslmode = json_string_value(json_object_get(user->options, "sslmode"));
	char		port_text[16];

	conninfo[0] = '\0';
	snprintf(port_text, sizeof(port_text), "%d", port);
	if (!conninfo_append(conninfo, size, "dbname", database) ||
		!conninfo_append(conninfo, size, "user", user->username) ||
		!conninfo_append(conninfo, size, "host", host) ||
		!conninfo_append(conninfo, size, "port", port_text) ||
		!conninfo_append(conninfo, size, "sslmode", sslmode) ||
		!conninfo_append(conninfo, size, "connect_timeout", "3"))
		conninfo[0] = '\0';
}

/* Where our own server can be reached: the socket it told of in postmaster.pid. */
static void
local_socket(const Settings *settings, char *host, size_t size, int *port)
{
	char		path[PATH_MAX];
	char	   *text;
	char	   *line;
	PostmasterFile file;

	host[0] = '\0';
	*port = settings->port;
	if (postmaster_file_read(settings->data_dir, &file) && file.port > 0)
		*port = file.port;
	if (!path_join(path, sizeof(path), settings->data_dir, "postmaster.pid") ||
		(text = file_read(path, 65536, NULL)) == NULL)
		return;
	line = text;
	for (int i = 1; i < 5 && line != NULL; i++)
		line = strchr(line, '\n') != NULL ? strchr(line, '\n') + 1 : NULL;
	if (line != NULL)
		snprintf(host, size, "%.*s", (int) strcspn(line, "\n"), line);
	free(text);
}

/* TCP or socket first, as configured; then the other. */
static PGconn *
connect_local(const Settings *settings, const Credentials *user, const char *database,
			  char *conninfo, size_t size, Error *error)
{
	char		hosts[2][1024];
	int			port;
	int			first = settings->use_unix_socket ? 1 : 0;
	const char *listen = settings->listen_addresses;
	PGconn	   *conn = NULL;

	local_socket(settings, hosts[1], sizeof(hosts[1]), &port);
	snprintf(hosts[0], sizeof(hosts[0]), "%.*s", (int) strcspn(listen, ", "), listen);
	if (hosts[0][0] == '\0' || strcmp(hosts[0], "*") == 0 || strcmp(hosts[0], "0.0.0.0") == 0 ||
		strcmp(hosts[0], "::") == 0)
		snprintf(hosts[0], sizeof(hosts[0]), "localhost");
	for (int i = 0; conn == NULL && i < 2; i++)
	{
		const char *host = hosts[(first + i) % 2];
		Error		other;

		if (host[0] == '\0')
			continue;
		local_conninfo(user, host, port, database, conninfo, size);
		conn = try_connect(conninfo, user->password[0] != '\0' ? user->password : NULL, NULL,
						   i == 0 ? error : &other);
	}
	return conn;
}

/* First value of a query, copied; false: error or no row. */
static bool
query_value(PGconn *conn, const char *sql, char *value, size_t size, Error *error)
{
	PGresult   *result = PQexec(conn, sql);
	bool		ok = PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) > 0;

	if (ok)
		snprintf(value, size, "%s", PQgetvalue(result, 0, 0));
	else
		error_set(error, "query failed: %.800s", PQresultErrorMessage(result));
	PQclear(result);
	return ok;
}

static bool
command(PGconn *conn, const char *sql, Error *error)
{
	PGresult   *result = PQexec(conn, sql);
	bool		ok = PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK;

	if (!ok)
		error_set(error, "%.900s", PQresultErrorMessage(result));
	if (!ok && error != NULL)
		error->message[strcspn(error->message, "\n")] = '\0';
	PQclear(result);
	return ok;
}

/* --- post bootstrap --- */

static bool
make_role(PGconn *conn, const Credentials *user, const char *options, Error *error)
{
	char	   *name;
	char	   *encrypted = NULL;
	char	   *literal = NULL;
	char	   *sql = NULL;
	const char *values[1] = {user->username};
	PGresult   *result;
	bool		exists;
	bool		ok;

	if (!user->exists || user->username[0] == '\0')
		return true;
	result = PQexecParams(conn, "SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = $1", 1, NULL,
						  values, NULL, NULL, 0);
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
	{
		error_set(error, "%.900s", PQresultErrorMessage(result));
		PQclear(result);
		return false;
	}
	exists = PQntuples(result) > 0;
	PQclear(result);
	name = PQescapeIdentifier(conn, user->username, strlen(user->username));
	if (user->password[0] != '\0')
	{
		encrypted = PQencryptPasswordConn(conn, user->password, user->username, NULL);
		if (encrypted != NULL)
			literal = PQescapeLiteral(conn, encrypted, strlen(encrypted));
	}
	if (name == NULL || (user->password[0] != '\0' && literal == NULL) ||
		asprintf(&sql, "%s ROLE %s WITH %s%s%s", exists ? "ALTER" : "CREATE", name, options,
				 literal != NULL ? " PASSWORD " : "", literal != NULL ? literal : "") < 0)
		ok = error_set(error, "%.900s", PQerrorMessage(conn));
	else
		ok = command(conn, sql, error);
	if (!ok)
		error_wrap(error, "could not set up role \"%s\"", user->username);
	free(sql);
	PQfreemem(literal);
	PQfreemem(encrypted);
	PQfreemem(name);
	return ok;
}

static bool
grant_rewind(PGconn *conn, const Credentials *user, Error *error)
{
	static const char *const functions[] = {
		"pg_ls_dir(text, boolean, boolean)", "pg_stat_file(text, boolean)",
		"pg_read_binary_file(text)", "pg_read_binary_file(text, bigint, bigint, boolean)"
	};
	char	   *name = PQescapeIdentifier(conn, user->username, strlen(user->username));
	bool		ok = name != NULL;

	for (size_t i = 0; ok && i < sizeof(functions) / sizeof(functions[0]); i++)
	{
		char		sql[512];

		snprintf(sql, sizeof(sql), "GRANT EXECUTE ON FUNCTION pg_catalog.%s TO %s", functions[i], name);
		ok = command(conn, sql, error);
	}
	PQfreemem(name);
	return ok;
}

/* The operator's script gets a connection string; the password by a file. */
static bool
run_post_script(Work *work, const char *conninfo, Error *error)
{
	const Settings *settings = work->settings;
	const char *script = settings_text(settings, "bootstrap", "post_bootstrap", NULL);
	char		pgpass[] = "/tmp/patroni-pgpass-XXXXXX";
	FILE	   *file;
	int			fd;
	bool		ok;

	if (script == NULL)
		script = settings_text(settings, "bootstrap", "post_init", NULL);
	if (script == NULL)
		return true;
	no_words(work);
	if (!command_words(script, work->words, &work->n_words, error) || work->n_words == 0)
		return error_wrap(error, "bootstrap.post_bootstrap cannot be used");
	word(work, "%s", conninfo);
	fd = mkostemp(pgpass, O_CLOEXEC);	/* mode 0600 */
	file = fd < 0 ? NULL : fdopen(fd, "w");
	if (file == NULL)
		return error_set(error, "could not create password file: %s", strerror(errno));
	fputs("*:*:*:*:", file);
	for (const char *c = settings->superuser.password; *c != '\0'; c++)
	{
		if (*c == ':' || *c == '\\')
			fputc('\\', file);
		fputc(*c, file);
	}
	fputc('\n', file);
	fclose(file);
	report("L1 running post_bootstrap script \"%s\"", work->words[0]);
	ok = run_with(work, pgpass, "-c synchronous_commit=local -c statement_timeout=0", false, 1, error);
	unlink(pgpass);
	return ok;
}

static void
work_post_bootstrap(Work *work)
{
	static const char *const quiet[] = {
		"SET log_statement TO none", "SET log_min_duration_statement TO -1",
		"SET log_min_error_statement TO log", "SET log_duration TO off",
		"SET synchronous_commit TO local", "SET statement_timeout TO 0",
		"SET search_path TO pg_catalog",
		"SET pg_stat_statements.track_utility TO off", "SET pgaudit.log TO none"
	};
	const Settings *settings = work->settings;
	char		conninfo[CONNINFO_MAX];
	char		value[64];
	Error		error;
	PGconn	   *conn;
	bool		ok = true;

	error_clear(&error);
	conn = connect_local(settings, &settings->superuser, "postgres", conninfo, sizeof(conninfo), &error);
	if (conn == NULL)
	{
		error_wrap(&error, "could not connect to the new server");
		leave(work, HA_TASK_FAILED, error.message);
	}
	for (size_t i = 0; i < sizeof(quiet) / sizeof(quiet[0]); i++)
		command(conn, quiet[i], NULL);	/* the last two may be unknown */
	ok = make_role(conn, &settings->superuser, "SUPERUSER LOGIN", &error) &&
		run_post_script(work, conninfo, &error);
	if (ok && strcmp(settings->replication.username, settings->superuser.username) != 0)
		ok = make_role(conn, &settings->replication, "REPLICATION LOGIN", &error);
	if (ok && settings->rewind.exists && settings->rewind.username[0] != '\0' &&
		strcmp(settings->rewind.username, settings->superuser.username) != 0)
		ok = (strcmp(settings->rewind.username, settings->replication.username) == 0 ||
			  make_role(conn, &settings->rewind, "LOGIN", &error)) &&
			grant_rewind(conn, &settings->rewind, &error);
	if (ok && settings->database[0] != '\0' && strcmp(settings->database, "postgres") != 0)
	{
		PQfinish(conn);
		conn = connect_local(settings, &settings->superuser, settings->database, conninfo,
							 sizeof(conninfo), &error);
		if (conn == NULL)
			ok = error_wrap(&error, "could not connect to database \"%s\"", settings->database);
		else
			command(conn, "SET synchronous_commit TO local", NULL);
	}
	if (ok)
	{
		if (query_value(conn, "SELECT name FROM pg_catalog.pg_available_extensions WHERE name = 'patroni_bgw'",
						value, sizeof(value), &error))
			ok = command(conn, "CREATE EXTENSION IF NOT EXISTS patroni_bgw", &error) ||
				error_wrap(&error, "could not create extension \"patroni_bgw\"");
		else
			report("L2 extension \"patroni_bgw\" is not available on this server: its SQL functions are missing");
	}
	PQfinish(conn);
	if (!ok)
		redact(settings, error.message);
	leave(work, ok ? HA_TASK_OK : HA_TASK_FAILED, ok ? NULL : error.message);
}

/* --- divergence --- */

/* What the leader says of itself; the histories are allocated. */
static bool
ask_leader(Work *work, DivergenceFacts *facts, Error *error)
{
	const Settings *settings = work->settings;
	const Credentials *user = &settings->replication;
	char		conninfo[CONNINFO_MAX];
	char		text[128];
	PGconn	   *conn;
	PGresult   *result;
	TimelineHistory *history;
	bool		ok = false;
	unsigned	high;
	unsigned	low;

	if (!conninfo_for_tool(settings, user, work->request->conn_url, NULL, conninfo,
						   sizeof(conninfo), error))
		return false;
	conn = try_connect(conninfo, user->password[0] != '\0' ? user->password : NULL, "true", error);
	if (conn == NULL)
		return error_wrap(error, "could not connect to leader \"%s\"", work->request->member);
	result = PQexec(conn, "IDENTIFY_SYSTEM");
	if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1 && PQnfields(result) >= 3 &&
		sscanf(PQgetvalue(result, 0, 2), "%X/%X", &high, &low) == 2)
	{
		facts->leader_system_identifier = strtoull(PQgetvalue(result, 0, 0), NULL, 10);
		facts->leader_timeline = (uint32_t) strtoul(PQgetvalue(result, 0, 1), NULL, 10);
		facts->leader_lsn = ((Lsn) high << 32) | low;
		ok = true;
	}
	else
		error_set(error, "leader \"%s\" did not identify itself: %.800s", work->request->member,
				  PQresultErrorMessage(result));
	PQclear(result);
	if (ok && PQparameterStatus(conn, "in_hot_standby") != NULL)
		facts->leader_is_in_recovery = strcmp(PQparameterStatus(conn, "in_hot_standby"), "on") == 0;
	else if (ok)
	{
		/* before PostgreSQL 14 it does not say so by itself */
		const Credentials *sql_user = rewind_user(settings);
		char		sql_conninfo[CONNINFO_MAX];
		PGconn	   *sql = NULL;

		ok = conninfo_for_tool(settings, sql_user, work->request->conn_url, NULL, sql_conninfo,
							   sizeof(sql_conninfo), error) &&
			(sql = try_connect(sql_conninfo, sql_user->password[0] != '\0' ? sql_user->password : NULL,
							   NULL, error)) != NULL &&
			query_value(sql, "SELECT pg_catalog.pg_is_in_recovery()", text, sizeof(text), error);
		if (ok)
			facts->leader_is_in_recovery = text[0] == 't';
		PQfinish(sql);
	}
	if (ok && facts->leader_timeline > 1)
	{
		snprintf(text, sizeof(text), "TIMELINE_HISTORY %u", facts->leader_timeline);
		result = PQexec(conn, text);
		history = calloc(DIVERGENCE_HISTORY_MAX, sizeof(*history));
		if (history == NULL || PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1 ||
			PQnfields(result) < 2 ||
			(facts->n_leader_history = history_parse(PQgetvalue(result, 0, 1), history,
													  DIVERGENCE_HISTORY_MAX)) < 0)
			ok = error_set(error, "leader \"%s\" did not send the history of timeline %u",
						   work->request->member, facts->leader_timeline);
		facts->leader_history = history;
		PQclear(result);
	}
	PQfinish(conn);
	return ok;
}

/* A running standby knows better than its files.  0: it does not answer. */
static Lsn
ask_self(Work *work, DivergenceFacts *facts)
{
	const Settings *settings = work->settings;
	char		conninfo[CONNINFO_MAX];
	char		text[64];
	unsigned	high;
	unsigned	low;
	Lsn			lsn = 0;
	PGconn	   *conn = connect_local(settings, &settings->superuser, "postgres", conninfo,
									 sizeof(conninfo), NULL);

	if (conn == NULL)
		return 0;
	if (query_value(conn, "SELECT GREATEST(pg_catalog.pg_last_wal_replay_lsn(), pg_catalog.pg_last_wal_receive_lsn())",
					text, sizeof(text), NULL) &&
		sscanf(text, "%X/%X", &high, &low) == 2)
		facts->local_lsn = lsn = ((Lsn) high << 32) | low;
	PQfinish(conn);
	return lsn;
}

/*
 * A base backup that no server was started from?  Then it is no crashed
 * primary, although pg_control says so: it is the copy of one that ran.
 */
static bool
is_fresh_copy(const char *dir)
{
	char		path[PATH_MAX];
	uint32_t	timeline;

	return path_join(path, sizeof(path), dir, "backup_label") && access(path, F_OK) == 0 &&
		path_join(path, sizeof(path), dir, "standby.signal") && access(path, F_OK) == 0 &&
		!data_former_primary_get(dir, &timeline);
}

static bool
look_at_self(Work *work, DivergenceFacts *facts, Error *error)
{
	const char *dir = work->settings->data_dir;
	ControlFile control;
	PostmasterFile file;
	TimelineHistory *history;
	bool		runs;

	if (!control_file_load(dir, &control, error))
		return false;
	runs = postmaster_file_read(dir, &file) && postmaster_is_alive(dir, file.pid);
	facts->local_system_identifier = control.system_identifier;
	facts->local_timeline = control.checkpoint_timeline;
	facts->local_lsn = control.checkpoint_lsn;
	switch (control.state)
	{
		case HA_CONTROL_SHUTDOWNED:
			facts->local_wal = LOCAL_WAL_SHUT_DOWN;
			break;
		case HA_CONTROL_SHUTDOWNED_IN_RECOVERY:
		case HA_CONTROL_IN_ARCHIVE_RECOVERY:
			facts->local_wal = control.minimum_recovery_lsn != 0 ? LOCAL_WAL_IN_RECOVERY :
				control.state == HA_CONTROL_SHUTDOWNED_IN_RECOVERY ? LOCAL_WAL_SHUT_DOWN :
				LOCAL_WAL_CRASHED;
			break;
		case HA_CONTROL_IN_PRODUCTION:
			facts->local_wal = is_fresh_copy(dir) ? LOCAL_WAL_COPY : LOCAL_WAL_CRASHED;
			break;
		case HA_CONTROL_SHUTDOWNING:
		case HA_CONTROL_IN_CRASH_RECOVERY:
			facts->local_wal = LOCAL_WAL_CRASHED;
			break;
		default:
			facts->local_wal = LOCAL_WAL_UNKNOWN;
	}
	if (facts->local_wal == LOCAL_WAL_IN_RECOVERY)
	{
		facts->local_lsn = control.minimum_recovery_lsn;
		facts->local_timeline = control.minimum_recovery_timeline;
		if (runs)
		{
			/* pg_control lags behind: the timeline there may be one that was left */
			if (work->request->timeline > facts->local_timeline)
				facts->local_timeline = work->request->timeline;
			work->lsn = ask_self(work, facts);
		}
		if (control.checkpoint_timeline == facts->local_timeline)
			facts->local_checkpoint = control.checkpoint_lsn;
	}
	else if (facts->local_wal == LOCAL_WAL_SHUT_DOWN &&
			 !wal_record_end(dir, control.checkpoint_timeline, control.checkpoint_lsn, &control,
							 &facts->local_checkpoint_end, error))
	{
		report("L2 %s", error->message);
		facts->local_checkpoint_end = 0;
	}
	/* nothing came after it: there is no more of what a former primary wrote */
	if (facts->local_wal == LOCAL_WAL_SHUT_DOWN)
		work->lsn = facts->local_checkpoint_end;
	/* promoted, then crashed before the first checkpoint: pg_control is behind */
	if (facts->local_wal == LOCAL_WAL_CRASHED)
		facts->local_timeline = history_newest_timeline(dir, facts->local_timeline);
	history = calloc(DIVERGENCE_HISTORY_MAX, sizeof(*history));
	if (history == NULL)
		return error_set(error, "out of memory");
	facts->local_history = history;
	facts->has_local_history = history_file_read(dir, facts->local_timeline, history,
												 DIVERGENCE_HISTORY_MAX, &facts->n_local_history, NULL);
	return true;
}

/* Gather and decide; true: *result is meaningful. */
static bool
find_divergence(Work *work, DivergenceResult *result, DivergenceFacts *facts, Error *error)
{
	memset(result, 0, sizeof(*result));
	memset(facts, 0, sizeof(*facts));
	if (work->request->conn_url[0] == '\0')
		return error_set(error, "there is no leader to compare with");
	if (!look_at_self(work, facts, error) || !ask_leader(work, facts, error))
		return false;
	divergence_decide(facts, result);
	return true;
}

/*
 * Can an interrupted pg_rewind be repeated?  What it has copied from a leader
 * stays.  It looks only at the WAL from here for what to copy, so where the
 * leader is on another timeline by now, which may lack some of the WAL of the
 * one before, blocks from there would remain and be taken for good ones.
 */
static bool
rewind_can_be_repeated(const Work *work, const DivergenceFacts *facts, Error *error)
{
	uint32_t	timeline = data_mark_timeline(work->settings->data_dir);

	return timeline == facts->leader_timeline ||
		error_set(error, "pg_rewind was interrupted when the leader was on timeline %u, it is on %u now",
				  timeline, facts->leader_timeline);
}

static void
work_check_divergence(Work *work)
{
	DivergenceResult result;
	DivergenceFacts facts;
	Error		error;
	bool		is_repeat;

	error_clear(&error);
	is_repeat = data_mark_get(work->settings->data_dir) == DATA_MARK_REWIND;
	memset(&facts, 0, sizeof(facts));
	if (is_repeat ? !ask_leader(work, &facts, &error) : !find_divergence(work, &result, &facts, &error))
	{
		redact(work->settings, error.message);
		leave(work, HA_TASK_FAILED, error.message);
	}
	if (is_repeat)
	{
		bool		can_repeat = rewind_can_be_repeated(work, &facts, &error);

		work->divergence = can_repeat ? HA_DIVERGENCE_REWIND : HA_DIVERGENCE_CLONE;
		leave(work, HA_TASK_OK, can_repeat ? "an interrupted pg_rewind has to be repeated" : error.message);
	}
	work->divergence = result.divergence == HA_DIVERGENCE_REWIND && !result.pg_rewind_can_help ?
		HA_DIVERGENCE_CLONE : result.divergence;
	leave(work, result.is_other_cluster ? HA_TASK_IMPOSSIBLE : HA_TASK_OK, result.reason);
}

/* --- crash recovery, rewind --- */

static bool
crash_recovery(Work *work, Error *error)
{
	const Settings *settings = work->settings;
	ControlFile control;
	char		path[PATH_MAX];

	for (int i = 0; i < 2; i++)
		if (path_join(path, sizeof(path), settings->data_dir, i == 0 ? "standby.signal" : "recovery.signal") &&
			unlink(path) != 0 && errno != ENOENT)
			return error_set(error, "could not remove file \"%s\": %s", path, strerror(errno));
	if (!conf_path(settings, path, sizeof(path)))
		return error_set(error, "configuration directory name is too long");
	tool(work, "postgres");
	word(work, "--single");
	word(work, "-D");
	word(work, "%s", settings->data_dir);
	word(work, "--config-file=%s", path);
	word(work, "-c");
	word(work, "archive_mode=on");
	word(work, "-c");
	word(work, "archive_command=false");
	word(work, "template1");
	report("Pdoing crash recovery in single user mode");
	if (!run_with(work, NULL, NULL, true, 1, error))
		return error_wrap(error, "crash recovery in single user mode failed");
	if (!control_file_load(settings->data_dir, &control, error))
		return false;
	if (control.state != HA_CONTROL_SHUTDOWNED)
		return error_set(error, "crash recovery in single user mode did not end in a clean shutdown");
	return true;
}

static void
work_crash_recovery(Work *work)
{
	Error		error;

	error_clear(&error);
	if (!crash_recovery(work, &error))
		leave(work, HA_TASK_FAILED, error.message);
	leave(work, HA_TASK_OK, NULL);
}

/*
 * pg_rewind looks at the leader's pg_control, which shows the new timeline
 * only after the first checkpoint; before that it would say "no rewind
 * required" and keep divergent data.
 */
static bool
leader_has_checkpoint(Work *work, uint32_t timeline, Error *error)
{
	const Settings *settings = work->settings;
	const Credentials *user = rewind_user(settings);
	char		conninfo[CONNINFO_MAX];
	PGconn	   *conn = NULL;
	PGresult   *result;
	ControlFile control;
	bool		ok;

	if (!conninfo_for_tool(settings, user, work->request->conn_url, NULL, conninfo, sizeof(conninfo), error) ||
		(conn = try_connect(conninfo, user->password[0] != '\0' ? user->password : NULL, NULL, error)) == NULL)
		return error_wrap(error, "could not connect to leader \"%s\" as \"%s\"",
						  work->request->member, user->username);
	result = PQexecParams(conn, "SELECT pg_catalog.pg_read_binary_file('global/pg_control')",
						  0, NULL, NULL, NULL, NULL, 1);
	ok = PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1;
	if (!ok)
		error_set(error, "could not read the leader's control file: %.700s", PQresultErrorMessage(result));
	else
		ok = control_file_parse((const unsigned char *) PQgetvalue(result, 0, 0),
								(size_t) PQgetlength(result, 0, 0), &control, error);
	PQclear(result);
	PQfinish(conn);
	if (ok && control.checkpoint_timeline != timeline)
		ok = error_set(error, "leader \"%s\" has not yet done its checkpoint after promotion",
					   work->request->member);
	return ok;
}

static bool
run_pg_rewind(Work *work, Error *error)
{
	static const char *const forbidden[] = {"target-pgdata", "source-pgdata", "source-server",
		"write-recovery-conf", "dry-run", "restore-target-wal", "config-file", "no-ensure-shutdown",
	"version", "help", NULL};
	const Settings *settings = work->settings;
	const Credentials *user = rewind_user(settings);
	bool		own_config_dir = settings->config_dir[0] != '\0' &&
		strcmp(settings->config_dir, settings->data_dir) != 0;
	bool		has_restore = settings_text(settings, "postgresql", "recovery_conf", "restore_command") != NULL;
	int			major = version_num(settings) / 10000;
	char		conninfo[CONNINFO_MAX];
	char		path[PATH_MAX];
	char		pgpass[64];
	char	   *lines = pgpass_lines(user, work->request->conn_url);
	int			fd = lines != NULL ? secret_file(lines) : -1;

	free(lines);
	snprintf(pgpass, sizeof(pgpass), "/proc/self/fd/%d", fd);
	if (!conninfo_for_tool(settings, user, work->request->conn_url, NULL, conninfo, sizeof(conninfo), error))
		return false;
	tool(work, "pg_rewind");
	if (has_restore && (major >= 15 || (major >= 13 && !own_config_dir)))
		word(work, "--restore-target-wal");
	if (major >= 15 && own_config_dir && conf_path(settings, path, sizeof(path)))
		word(work, "--config-file=%s", path);
	word(work, "-D");
	word(work, "%s", settings->data_dir);
	word(work, "--source-server=%s", conninfo);
	word(work, "--progress");
	if (!option_list_words(settings_value(settings, "postgresql", "rewind", NULL), forbidden, "rewind",
						   work->words, &work->n_words, error))
		return false;
	return run_tool(work, fd >= 0 ? pgpass : "/dev/null", error);
}

static void
work_rewind(Work *work)
{
	const Settings *settings = work->settings;
	bool		is_repeat = data_mark_get(settings->data_dir) == DATA_MARK_REWIND;
	ControlFile control;
	DivergenceResult result;
	DivergenceFacts facts;
	Error		error;
	Error		again;

	error_clear(&error);
	if (!control_file_load(settings->data_dir, &control, &error))
		leave(work, HA_TASK_IMPOSSIBLE, error.message);
	memset(&facts, 0, sizeof(facts));
	if (!ask_leader(work, &facts, &error))	/* before anything here is changed */
		goto failed;
	if (facts.leader_is_in_recovery)
	{
		error_set(&error, "leader \"%s\" is still in recovery", work->request->member);
		goto failed;
	}
	if (!leader_has_checkpoint(work, facts.leader_timeline, &error))
		goto failed;
	if (is_repeat && !rewind_can_be_repeated(work, &facts, &error))
		leave(work, HA_TASK_IMPOSSIBLE, error.message);
	if (!is_repeat && control.state != HA_CONTROL_SHUTDOWNED &&
		control.state != HA_CONTROL_SHUTDOWNED_IN_RECOVERY && !crash_recovery(work, &error))
		leave(work, HA_TASK_IMPOSSIBLE, error.message);
	if (!find_divergence(work, &result, &facts, &error))
		goto failed;
	if (result.is_other_cluster)
		leave(work, HA_TASK_IMPOSSIBLE, result.reason);
	if (!is_repeat && result.divergence == HA_DIVERGENCE_REWIND && !result.pg_rewind_can_help)
	{
		error_set(&error, "pg_rewind cannot help on the same timeline: %s", result.reason);
		leave(work, HA_TASK_IMPOSSIBLE, error.message);
	}
	if (!is_repeat && result.divergence == HA_DIVERGENCE_UNKNOWN)
	{
		error_set(&error, "%s", result.reason);
		goto failed;
	}
	if (is_repeat || result.divergence == HA_DIVERGENCE_REWIND)
	{
		report("L1 running pg_rewind from \"%s\": %s", work->request->member, result.reason);
		report("Prewinding from \"%s\"", work->request->member);
		data_mark_set(settings->data_dir, DATA_MARK_REWIND, facts.leader_timeline);
		if (!run_pg_rewind(work, &error))
		{
			if (!is_repeat && !work->has_changed_files)
				data_mark_clear(settings->data_dir);
			/* the leader is well and it failed: it will fail again */
			if (!is_cancelled && ask_leader(work, &facts, &again) && !facts.leader_is_in_recovery)
				leave(work, HA_TASK_IMPOSSIBLE, error.message);
			goto failed;
		}
		if (strstr(work->output, "no rewind required") != NULL && !is_repeat)
		{
			data_mark_clear(settings->data_dir);
			error_set(&error, "pg_rewind found nothing to do although %s", result.reason);
			leave(work, HA_TASK_IMPOSSIBLE, error.message);
		}
	}
	if (!data_files_remove_logical_slots(settings->data_dir, &error) ||
		!conf_restore_backups(settings, &error) || !write_configuration(work, true, &error))
		leave(work, HA_TASK_FAILED, error.message);
	data_mark_clear(settings->data_dir);
	leave(work, HA_TASK_OK, NULL);

failed:
	redact(settings, error.message);
	leave(work, HA_TASK_FAILED, error.message);
}

/* --- the end of the WAL --- */

/* What pg_waldump said where it stopped. */
static bool
parse_wal_end(Work *work, uint32_t timeline, const ControlFile *control, Lsn *end, Error *error)
{
	unsigned	high;
	unsigned	low;
	char	   *at;

	if ((at = strstr(work->output, "invalid record length at ")) != NULL &&
		sscanf(at + 25, "%X/%X", &high, &low) == 2)
	{
		*end = ((Lsn) high << 32) | low;
		return true;
	}
	if ((at = strstr(work->output, "error in WAL record at ")) != NULL &&
		sscanf(at + 23, "%X/%X", &high, &low) == 2)
		return wal_record_end(work->settings->data_dir, timeline, ((Lsn) high << 32) | low, control,
							  end, error);
	return error_set(error, "pg_waldump did not say where the WAL ends: %s", work->last_error);
}

static void
work_wal_end(Work *work)
{
	const char *dir = work->settings->data_dir;
	ControlFile control;
	Error		error;
	uint32_t	timeline;
	Lsn			starts[3];
	int			n_starts = 0;

	error_clear(&error);
	if (!control_file_load(dir, &control, &error))
		leave(work, HA_TASK_IMPOSSIBLE, error.message);
	timeline = history_newest_timeline(dir, control.checkpoint_timeline);
	if (work->request->start_lsn > control.checkpoint_lsn)
		starts[n_starts++] = work->request->start_lsn;
	starts[n_starts++] = control.checkpoint_lsn;
	if (timeline != control.checkpoint_timeline)
	{
		TimelineHistory *history = calloc(DIVERGENCE_HISTORY_MAX, sizeof(*history));
		int			count = 0;

		if (history != NULL && history_file_read(dir, timeline, history, DIVERGENCE_HISTORY_MAX,
												 &count, NULL) && count > 0 &&
			history[count - 1].switch_lsn > control.checkpoint_lsn)
			starts[n_starts - 1] = history[count - 1].switch_lsn;
		free(history);
	}
	for (int i = 0; i < n_starts; i++)
	{
		Lsn			limit;
		bool		is_all_valid;

		/* told to go on beyond the last file, pg_waldump waits five seconds for the next */
		if (!wal_files_end(dir, timeline, starts[i], &control, &limit, &error))
			continue;
		tool(work, "pg_waldump");
		word(work, "--path=%s/pg_wal", dir);
		word(work, "--timeline=%u", timeline);
		word(work, "--start=%X/%X", (unsigned) (starts[i] >> 32), (unsigned) starts[i]);
		word(work, "--end=%X/%X", (unsigned) (limit >> 32), (unsigned) limit);
		word(work, "--stats");
		report("H");
		is_all_valid = run_with(work, NULL, NULL, true, 0, &error);
		if (is_cancelled)
			break;
		if (is_all_valid ?
			wal_last_end(dir, timeline, starts[i], limit, &control, &work->lsn, &error) :
			parse_wal_end(work, timeline, &control, &work->lsn, &error))
			leave(work, HA_TASK_OK, NULL);
	}
	leave(work, HA_TASK_FAILED, error.message);
}

/* --- files, scripts --- */

static void
work_before_stop(Work *work)
{
	Error		error;

	error_clear(&error);
	no_words(work);
	if (!command_words(work->settings->before_stop, work->words, &work->n_words, &error) ||
		work->n_words == 0 || !run_with(work, NULL, NULL, false, 1, &error))
		report("L2 before_stop script failed: %s", error.message);
	leave(work, HA_TASK_OK, NULL);
}

static void
work_files(Work *work, bool remove)
{
	DivergenceFacts facts;
	Error		error;
	bool		ok;

	error_clear(&error);
	memset(&facts, 0, sizeof(facts));
	/* the leader key outlives a leader: what is here may be all that is left */
	if (remove && work->request->conn_url[0] != '\0')
	{
		if (!ask_leader(work, &facts, &error))
		{
			redact(work->settings, error.message);
			leave(work, HA_TASK_FAILED, error.message);
		}
		if (facts.leader_is_in_recovery)
			leave(work, HA_TASK_FAILED, "leader is still in recovery");
	}
	ok = remove ? data_files_remove(work->settings->data_dir, &error) :
		data_files_move_aside(work->settings->data_dir, &error);
	leave(work, ok ? HA_TASK_OK : HA_TASK_FAILED, ok ? NULL : error.message);
}

/* The whole life of the task's process. */
void
task_work(const TaskRequest *request, const Settings *settings, char *const *postmaster_arguments)
{
	static Work work;
	struct sigaction action = {.sa_handler = on_sigterm};

	work.request = request;
	work.settings = settings;
	fcntl(TASK_REPORT_FD, F_SETFD, FD_CLOEXEC);
	sigaction(SIGTERM, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	process_scrub_environment();
	umask(077);
	if (chdir("/") != 0)
		report("L2 could not change to the root directory");
	switch (request->task)
	{
		case HA_TASK_INITDB:
			work_initdb(&work);
			break;
		case HA_TASK_BASEBACKUP:
			work_basebackup(&work);
			break;
		case HA_TASK_START_PRIMARY:
			work_start(&work, false, postmaster_arguments);
			break;
		case HA_TASK_START_STANDBY:
			work_start(&work, true, postmaster_arguments);
			break;
		case HA_TASK_STOP:
			work_before_stop(&work);
			break;
		case HA_TASK_POST_BOOTSTRAP:
			work_post_bootstrap(&work);
			break;
		case HA_TASK_CHECK_DIVERGENCE:
			work_check_divergence(&work);
			break;
		case HA_TASK_REWIND:
			work_rewind(&work);
			break;
		case HA_TASK_CRASH_RECOVERY:
			work_crash_recovery(&work);
			break;
		case HA_TASK_WAL_END:
			work_wal_end(&work);
			break;
		case HA_TASK_REMOVE_DATA:
			work_files(&work, true);
			break;
		case HA_TASK_MOVE_DATA_ASIDE:
			work_files(&work, false);
			break;
		case HA_TASK_NONE:
			break;
	}
	leave(&work, HA_TASK_IMPOSSIBLE, "there is no such task");
}
