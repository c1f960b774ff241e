/*-------------------------------------------------------------------------
 *
 * cmd_config.c
 *      show-config and edit-config: the dynamic configuration as YAML.
 *
 * A change is written to the store by compare-and-swap with the version that
 * was shown, so nobody confirms what is not there any more.
 *-------------------------------------------------------------------------
 */
#include "ctl/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEXT_SIZE_MAX (1024 * 1024)

int
command_show_config(Ctl *ctl)
{
	CtlCluster *cluster = cluster_load(ctl, ctl->scope);

	if (cluster == NULL)
		return CTL_EXIT_ERROR;
	if (cluster->groups[0].config != NULL)
		ctl_print(format_yaml(cluster->groups[0].config, false));
	cluster_unload(cluster);
	return CTL_EXIT_OK;
}

/* A whole file, or standard input for "-".  malloc'ed. */
static char *
read_whole(const char *path, size_t *length, Error *error)
{
	FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	char *text;

	if (file == NULL)
	{
		error_set(error, "could not open the file \"%s\": %s", path, strerror(errno));
		return NULL;
	}
	text = malloc(TEXT_SIZE_MAX + 2);
	*length = text == NULL ? 0 : fread(text, 1, TEXT_SIZE_MAX + 1, file);
	if (text == NULL || ferror(file) || *length > TEXT_SIZE_MAX)
	{
		error_set(error, "could not read the file \"%s\", or it is longer than %d bytes", path,
				  TEXT_SIZE_MAX);
		free(text);
		text = NULL;
	}
	else
		text[*length] = '\0';
	if (file != stdin)
		fclose(file);
	return text;
}

static json_t *
read_yaml_file(const char *path, Error *error)
{
	size_t length;
	char *text = read_whole(path, &length, error);
	json_t *value = text == NULL ? NULL : config_change_read(text, length, path, error);

	free(text);
	if (value != NULL && !json_is_object(value))
	{
		json_decref(value);
		error_set(error, "the file \"%s\" does not contain a map of keys and values", path);
		return NULL;
	}
	return value;
}

/* What --replace, --apply, --set and --pg ask for; *is_changed: any of them was given. */
static bool
change_by_options(const Ctl *ctl, json_t *config, bool *is_changed, Error *error)
{
	const char *files[] = { ctl->values[OPTION_REPLACE], ctl->values[OPTION_APPLY] };

	for (int i = 0; i < 2; i++)
	{
		json_t *patch;
		bool ok;

		if (files[i] == NULL)
			continue;
		patch = read_yaml_file(files[i], error);
		if (patch == NULL)
			return false;
		if (i == 0)
			json_object_clear(config);
		ok = config_change_patch(config, patch);
		json_decref(patch);
		if (!ok)
			return error_set(error, "could not apply the file \"%s\"", files[i]);
		*is_changed = true;
	}
	/* those of --set come before those of --pg */
	for (int pass = 0; pass < 2; pass++)
		for (int i = 0; i < ctl->n_pairs; i++)
		{
			const char *pair = ctl->pairs[i];
			char whole[4096];

			if (ctl->pair_is_pg[i] != (pass == 1))
				continue;
			if (pass == 1)
			{
				if (snprintf(whole, sizeof(whole), "postgresql.parameters.%s",
							 pair + strspn(pair, " \t")) >= (int) sizeof(whole))
					return error_set(error, "Invalid parameter setting %.200s", pair);
				pair = whole;
			}
			if (!config_change_set(config, pair, error))
				return false;
			*is_changed = true;
		}
	return true;
}

/* Is there such a program in the PATH? */
static bool
is_program(const char *name)
{
	const char *path = getenv("PATH");
	char file[SETTINGS_PATH_MAX];

	if (strchr(name, '/') != NULL)
		return access(name, X_OK) == 0;
	while (path != NULL && *path != '\0')
	{
		size_t length = strcspn(path, ":");

		snprintf(file, sizeof(file), "%.*s/%s", (int) length, path, name);
		if (access(file, X_OK) == 0)
			return true;
		path += length + (path[length] == ':');
	}
	return false;
}

/* Run a command of the shell with one argument; its exit code. */
static int
run_and_wait(const char *command, const char *argument)
{
	char line[SETTINGS_PATH_MAX];
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	struct sigaction before;
	pid_t pid;
	int status = 0;

	snprintf(line, sizeof(line), "%s \"$1\"", command);
	fflush(stdout);
	/* Ctrl-C is the editor's */
	sigaction(SIGINT, &ignore, &before);
	pid = fork();
	if (pid == 0)
	{
		sigaction(SIGINT, &before, NULL);
		execl("/bin/sh", "sh", "-c", line, "sh", argument, (char *) NULL);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	sigaction(SIGINT, &before, NULL);
	if (pid < 0)
		return 126;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Let somebody edit a text in a file.  The new one is malloc'ed. */
static char *
edit_text(const char *scope, const char *before, size_t *length, Error *error)
{
	const char *editor = getenv("EDITOR");
	const char *directory = getenv("TMPDIR");
	char path[SETTINGS_PATH_MAX];
	char *text = NULL;
	int fd;
	int status;
	bool is_written;

	if (editor == NULL || editor[0] == '\0')
		editor = is_program("editor") ? "editor" : is_program("vi") ? "vi" : NULL;
	if (editor == NULL)
	{
		error_set(error, "EDITOR environment variable is not set. editor or vi are not available");
		return NULL;
	}
	snprintf(path, sizeof(path), "%s/%s-config-XXXXXX.yaml",
			 directory != NULL && directory[0] != '\0' ? directory : "/tmp", scope);
	fd = mkostemps(path, 5, O_CLOEXEC);
	is_written = fd >= 0 && write(fd, before, strlen(before)) == (ssize_t) strlen(before);
	if (fd >= 0)
		close(fd);
	if (!is_written)
		error_set(error, "could not write the file \"%s\": %s", path, strerror(errno));
	else if ((status = run_and_wait(editor, path)) != 0)
		error_set(error, "Editor exited with return code %d", status);
	else
		text = read_whole(path, length, error);
	if (fd >= 0)
		unlink(path);
	return text;
}

static bool
print_coloured(FILE *out, const char *diff)
{
	while (*diff != '\0')
	{
		size_t length = strcspn(diff, "\n");
		const char *colour = "";

		if (strncmp(diff, "---", 3) == 0 || strncmp(diff, "+++", 3) == 0)
			colour = "\033[33m";
		else if (diff[0] == '@')
			colour = "\033[36m";
		else if (diff[0] == '-')
			colour = "\033[31m";
		else if (diff[0] == '+')
			colour = "\033[32m";
		fprintf(out, "%s%.*s%s\n", colour, (int) length, diff, colour[0] != '\0' ? "\033[0m" : "");
		diff += length + (diff[length] == '\n');
	}
	return fflush(out) == 0;
}

/* On a terminal in colours and through a pager. */
static bool
show_diff(const char *before, const char *after, Error *error)
{
	const char *pager = getenv("PAGER");
	char *diff = format_diff(before, after);
	bool ok = true;
	FILE *out;

	if (diff == NULL)
		return error_set(error, "out of memory");
	if (!isatty(STDOUT_FILENO))
		fputs(diff, stdout);
	else
	{
		if (pager == NULL || !is_program(pager))
			pager = is_program("less") ? "less" : is_program("more") ? "more" : NULL;
		if (pager == NULL)
			ok = error_set(error, "No pager could be found. Either set PAGER environment variable "
								  "with your pager or install either \"less\" or \"more\" in the "
								  "host.");
		else
		{
			fflush(stdout);
			signal(SIGPIPE, SIG_IGN);
			out = popen(strcmp(pager, "less") == 0 ? "less -FRSX" : pager, "w");
			if (out == NULL)
				ok = error_set(error, "could not run the pager \"%s\": %s", pager, strerror(errno));
			else
			{
				print_coloured(out, diff);
				pclose(out);
			}
		}
	}
	free(diff);
	return ok;
}

/* Patroni takes anything; say what no node will take. */
static void
warn_of_mistakes(const char *config_json)
{
	ConfigProblems problems;

	config_problems_init(&problems);
	if (!dynamic_validate(config_json, &problems))
		for (int i = 0; i < problems.count; i++)
			if (problems.items[i].is_error)
				ctl_warn("%s: %s", problems.items[i].key, problems.items[i].message);
	config_problems_free(&problems);
}

/* Show, ask and write. */
static int
apply_change(Ctl *ctl, CtlCluster *cluster, const json_t *config, const char *before,
			 const char *after)
{
	bool is_forced = ctl->flags[OPTION_FORCE];
	bool from_input = false;
	const char *files[] = { ctl->values[OPTION_REPLACE], ctl->values[OPTION_APPLY] };
	DcsOutcome outcome;
	Error error;
	char *text;

	if (!ctl->flags[OPTION_QUIET] && !show_diff(before, after, &error))
		return ctl_fail("%s", error.message);
	for (int i = 0; i < 2; i++)
		from_input |= files[i] != NULL && strcmp(files[i], "-") == 0;
	if (from_input && !is_forced)
	{
		puts("Use --force option to apply changes");
		return CTL_EXIT_OK;
	}
	text = format_json(config);
	if (text == NULL)
		return ctl_fail("out of memory");
	warn_of_mistakes(text);
	if (!is_forced && !ctl_confirm("Apply these changes?"))
	{
		free(text);
		return CTL_EXIT_OK;
	}
	outcome = store_write(cluster->store, DCS_PUT, "config", text,
						  cluster->groups[0].config_version, &error);
	free(text);
	if (outcome == DCS_LOST_RACE)
		return ctl_fail("Config modification aborted due to concurrent changes");
	if (outcome != DCS_DONE)
		return ctl_fail("could not write the configuration: %s", error.message);
	puts("Configuration changed");
	return CTL_EXIT_OK;
}

static int
edit_config(Ctl *ctl, CtlCluster *cluster, json_t *config, const char *before)
{
	bool is_changed = false;
	size_t length = 0;
	char *after = NULL;
	json_t *edited = NULL;
	int status;
	Error error;

	error_clear(&error);
	if (!change_by_options(ctl, config, &is_changed, &error))
		return ctl_fail("%s", error.message);
	if (is_changed)
		after = format_yaml(config, false);
	else
	{
		after = edit_text(cluster->name, before, &length, &error);
		if (after == NULL)
			return ctl_fail("%s", error.message);
		edited = config_change_read(after, length, "configuration", &error);
		if (!json_is_object(edited))
		{
			free(after);
			json_decref(edited);
			return ctl_fail("%s", error.message[0] != '\0'
									  ? error.message
									  : "the configuration is not a map of keys and values");
		}
		config = edited;
	}
	if (after == NULL)
		return ctl_fail("out of memory");
	if (json_equal(config, cluster->groups[0].config))
	{
		if (!ctl->flags[OPTION_QUIET])
			puts("Not changed");
		status = CTL_EXIT_OK;
	}
	else
		status = apply_change(ctl, cluster, config, before, after);
	free(after);
	json_decref(edited);
	return status;
}

int
command_edit_config(Ctl *ctl)
{
	CtlCluster *cluster = cluster_load(ctl, ctl->scope);
	json_t *config;
	char *before;
	int status;

	if (cluster == NULL)
		return CTL_EXIT_ERROR;
	if (cluster->groups[0].config == NULL)
	{
		status = ctl_fail("The config key does not exist in the cluster %s", cluster->name);
		cluster_unload(cluster);
		return status;
	}
	config = json_deep_copy(cluster->groups[0].config);
	before = format_yaml(cluster->groups[0].config, false);
	if (config == NULL || before == NULL)
		status = ctl_fail("out of memory");
	else
		status = edit_config(ctl, cluster, config, before);
	free(before);
	json_decref(config);
	cluster_unload(cluster);
	return status;
}
