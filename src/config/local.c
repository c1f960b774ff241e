/*-------------------------------------------------------------------------
 *
 * local.c
 *      Reading the local configuration: a file, a directory of files, or the
 *      environment; and sending it from the supervisor to the worker.
 *
 *-------------------------------------------------------------------------
 */
#include "config/config_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The whole of a regular file, malloc'ed and NUL-terminated; bounded. */
static char *
read_file(const char *path, size_t *length, ConfigProblems *problems)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat status;
	char *text = NULL;
	size_t used = 0;

	if (fd < 0 || fstat(fd, &status) != 0)
	{
		problem_at(problems, true, path, "", "could not open the file: %s", strerror(errno));
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	if (!S_ISREG(status.st_mode))
		problem_at(problems, true, path, "", "it is not a regular file");
	else if (status.st_size > CONFIG_FILE_SIZE_MAX)
		problem_at(problems, true, path, "", "the file is longer than %d bytes",
		           CONFIG_FILE_SIZE_MAX);
	else
		text = malloc(CONFIG_FILE_SIZE_MAX + 1);
	while (text != NULL)
	{
		ssize_t n = read(fd, text + used, CONFIG_FILE_SIZE_MAX - used);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
		{
			problem_at(problems, true, path, "", "could not read the file: %s", strerror(errno));
			free(text);
			text = NULL;
			break;
		}
		if (n == 0)
			break;
		used += (size_t) n;
	}
	close(fd);
	if (text != NULL)
		text[used] = '\0';
	*length = used;
	return text;
}

/* Read one text and merge it into the document. */
static bool
merge_text(LocalConfig *config, const char *text, size_t length, const char *name,
           bool may_be_empty, int *n_nodes, ConfigProblems *problems)
{
	json_t *value = yaml_parse(text, length, name, &config->places, "", n_nodes, problems);
	bool ok = false;

	if (value == NULL)
		return false;
	if (json_is_null(value) && may_be_empty)
		ok = true;
	else if (!json_is_object(value))
		problem_at(problems, true, name, "", "the file does not contain a map of keys and values");
	else
		ok = document_patch(config->document, value, 0);
	json_decref(value);
	return ok;
}

static bool
merge_file(LocalConfig *config, const char *path, bool may_be_empty, int *n_nodes,
           ConfigProblems *problems)
{
	size_t length;
	char *text = read_file(path, &length, problems);
	bool ok;

	if (text == NULL)
		return false;
	ok = merge_text(config, text, length, path, may_be_empty, n_nodes, problems);
	free(text);
	return ok;
}

static int
is_yaml_name(const struct dirent *entry)
{
	const char *dot = strrchr(entry->d_name, '.');

	return dot != NULL && (strcmp(dot, ".yml") == 0 || strcmp(dot, ".yaml") == 0);
}

static int
by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* All *.yml and *.yaml of a directory, in the order of their names. */
static bool
merge_directory(LocalConfig *config, const char *path, int *n_nodes, ConfigProblems *problems)
{
	struct dirent **entries;
	int n = scandir(path, &entries, is_yaml_name, by_name);
	int n_files = 0;
	bool ok = true;

	if (n < 0)
	{
		problem_at(problems, true, path, "", "could not read the directory: %s", strerror(errno));
		return false;
	}
	for (int i = 0; i < n; i++)
	{
		char file[SETTINGS_PATH_MAX + 300];
		struct stat status;

		snprintf(file, sizeof(file), "%s%s%s", path, path[strlen(path) - 1] == '/' ? "" : "/",
		         entries[i]->d_name);
		if (stat(file, &status) == 0 && S_ISREG(status.st_mode))
		{
			if (++n_files > CONFIG_FILES_MAX)
			{
				problem_at(problems, true, path, "", "the directory has more than %d files",
				           CONFIG_FILES_MAX);
				ok = false;
			}
			else if (!merge_file(config, file, false, n_nodes, problems))
				ok = false;
		}
		free(entries[i]);
		if (n_files > CONFIG_FILES_MAX)
		{
			while (++i < n)
				free(entries[i]);
			break;
		}
	}
	free(entries);
	if (ok && n_files == 0)
	{
		problem_at(problems, true, path, "", "the directory has no *.yml or *.yaml file");
		ok = false;
	}
	return ok;
}

/* Read from the path, or PATRONI_CONFIGURATION, or the variables alone. */
static bool
read_sources(LocalConfig *config, const char *path, char **environment, ConfigProblems *problems)
{
	const char *text;
	struct stat status;
	int n_nodes = 0;
	bool exists = path != NULL && path[0] != '\0' && stat(path, &status) == 0;
	bool ok = true;

	if (exists)
	{
		snprintf(config->source, sizeof(config->source), "%s", path);
		if (S_ISDIR(status.st_mode))
			ok = merge_directory(config, path, &n_nodes, problems);
		else
			ok = merge_file(config, path, true, &n_nodes, problems);
	}
	else if ((text = environment_value(environment, "PATRONI_CONFIGURATION")) != NULL &&
	         text[0] != '\0')
	{
		snprintf(config->source, sizeof(config->source), "PATRONI_CONFIGURATION");
		return merge_text(config, text, strlen(text), config->source, true, &n_nodes, problems);
	}
	else
		snprintf(config->source, sizeof(config->source), "environment");
	if (!environment_overlay(config, environment, &n_nodes, problems))
		ok = false;
	if (path != NULL && path[0] != '\0' && !exists)
	{
		bool is_empty = json_object_size(config->document) == 0;

		problem_at(problems, is_empty, path, "", "could not find the file%s",
		           is_empty ? "" : ", the environment alone is used");
		return ok && !is_empty;
	}
	return ok;
}

/*
 * Read, merge and check the local configuration; see settings.h.  The place
 * of relative paths is the current directory.
 */
bool
local_config_read(LocalConfig **config, const char *path, char **environment,
                  ConfigProblems *problems)
{
	LocalConfig *read = local_config_new();
	const char *home = environment_value(environment, "HOME");
	int n_before = problems->n_errors;
	Reporter reporter;

	*config = NULL;
	if (read == NULL)
	{
		problem_at(problems, true, path ? path : "environment", "", "out of memory");
		return false;
	}
	if (getcwd(read->directory, sizeof(read->directory)) == NULL)
		snprintf(read->directory, sizeof(read->directory), "/");
	snprintf(read->home, sizeof(read->home), "%s", home != NULL ? home : "");
	if (!read_sources(read, path, environment, problems))
	{
		if (problems->n_errors == n_before)
			problem_at(problems, true, read->source, "", "could not read the configuration");
	}
	else if (json_object_size(read->document) == 0)
		problem_at(problems, true, read->source, "", "the configuration is empty");
	else
	{
		reporter.problems = problems;
		reporter.places = &read->places;
		reporter.fallback = read->source;
		schema_check_local(read->document, &reporter);
		if (json_is_object(document_get(read->document, "bootstrap.dcs")))
			schema_check_dynamic(document_get(read->document, "bootstrap.dcs"), "bootstrap.dcs",
			                     &reporter);
	}
	if (problems->n_errors > n_before)
	{
		local_config_free(read);
		return false;
	}
	*config = read;
	return true;
}

/*
 * Put another dynamic configuration in the place of bootstrap.dcs.  A member
 * without a bootstrap section may not bootstrap, and shall not begin to.
 */
void
local_config_set_initial(LocalConfig *config, json_t *dynamic)
{
	json_t *bootstrap = json_object_get(config->document, "bootstrap");

	if (json_is_object(bootstrap))
		json_object_set(bootstrap, "dcs", dynamic);
}

/* The configuration as one JSON text for local_config_from_json(); it holds
 * secrets.  malloc'ed. */
char *
local_config_to_json(const LocalConfig *config)
{
	json_t *whole =
	    json_pack("{s:i, s:O, s:s, s:s, s:s}", "local_config", 1, "document", config->document,
	              "source", config->source, "directory", config->directory, "home", config->home);
	char *text;

	if (whole == NULL)
		return NULL;
	text = json_dumps(whole, JSON_COMPACT | JSON_ENSURE_ASCII);
	json_decref(whole);
	return text;
}

static void
copy_text(char *to, size_t size, const json_t *value, const char *otherwise)
{
	const char *text = json_string_value(value);

	snprintf(to, size, "%s", text != NULL ? text : otherwise);
}

/*
 * The configuration out of local_config_to_json(), or out of a bare document.
 * NULL when the text is no JSON object.  Places are not sent: whoever sent it
 * has checked it.
 */
LocalConfig *
local_config_from_json(const char *json_text)
{
	json_t *whole = json_loads(json_text, 0, NULL);
	json_t *document = whole;
	LocalConfig *config;

	if (json_is_integer(json_object_get(whole, "local_config")))
		document = json_object_get(whole, "document");
	config = json_is_object(document) ? local_config_new() : NULL;
	if (config != NULL)
	{
		json_decref(config->document);
		config->document = json_incref(document);
		copy_text(config->source, sizeof(config->source), json_object_get(whole, "source"),
		          "configuration");
		copy_text(config->directory, sizeof(config->directory), json_object_get(whole, "directory"),
		          "/");
		copy_text(config->home, sizeof(config->home), json_object_get(whole, "home"), "");
	}
	json_decref(whole);
	return config;
}
