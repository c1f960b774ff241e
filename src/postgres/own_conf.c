/*-------------------------------------------------------------------------
 *
 * own_conf.c
 *      What the operator's own configuration files say: postgresql.base.conf
 *      (postgresql.conf on a server that was not managed yet) with what it
 *      includes, and postgresql.auto.conf, which wins.
 *
 * Needed where we would otherwise overrule it in silence: libraries to be
 * preloaded are kept, and when a server is taken over what will not be in
 * force any more is said.
 *-------------------------------------------------------------------------
 */
#include "postgres/own_conf.h"

#include <dirent.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cluster/ascii.h"
#include "postgres/postgres_dir.h"

#define OWN_CONF_MAX	(4 * 1024 * 1024)
#define INCLUDE_DEPTH	10		/* the server's own limit */

static bool value_in_file(const char *path, const char *name, char *value, size_t size, int depth);

/*
 * The next "name = value" line of a configuration text; the value is cut at
 * what fits.  False at the end of the text.
 *
 * Source: the server's guc-file.l; a quote or backslash in a quoted value is
 * doubled or escaped, the equals sign may be missing.
 */
bool
conf_line(const char **text, char *name, size_t name_size, char *value, size_t size)
{
	while (**text != '\0')
	{
		const char *at = *text + strspn(*text, " \t");
		const char *end = strchrnul(at, '\n');
		size_t		length = 0;
		size_t		used = 0;

		*text = *end == '\n' ? end + 1 : end;
		while (ascii_is_letter_or_digit(at[length]) || at[length] == '_' || at[length] == '.' ||
			   at[length] == '$')
			length++;
		if (length == 0 || length >= name_size)
			continue;
		memcpy(name, at, length);
		name[length] = '\0';
		at += length;
		at += strspn(at, " \t");
		if (*at == '=')
			at++;
		at += strspn(at, " \t");
		if (*at == '\'')
		{
			for (at++; at < end && (*at != '\'' || at[1] == '\''); at++)
			{
				if ((*at == '\'' || *at == '\\') && at + 1 < end)
					at++;
				if (used + 1 < size)
					value[used++] = *at;
			}
		}
		else
		{
			for (; at < end && *at != ' ' && *at != '\t' && *at != '\r' && *at != '#'; at++)
				if (used + 1 < size)
					value[used++] = *at;
		}
		value[used] = '\0';
		return true;
	}
	return false;
}

/* A path as "include" means it: relative to the file that has the line. */
static bool
beside_file(const char *file, const char *name, char path[PATH_MAX])
{
	char		copy[PATH_MAX];

	if (name[0] == '/')
		return snprintf(path, PATH_MAX, "%s", name) < PATH_MAX;
	snprintf(copy, sizeof(copy), "%s", file);
	return path_join(path, PATH_MAX, dirname(copy), name);
}

static int
is_conf_name(const struct dirent *entry)
{
	size_t		length = strlen(entry->d_name);

	return entry->d_name[0] != '.' && length > 5 && strcmp(entry->d_name + length - 5, ".conf") == 0;
}

static int
compare_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static bool
value_in_directory(const char *directory, const char *name, char *value, size_t size, int depth)
{
	struct dirent **entries = NULL;
	int			count = scandir(directory, &entries, is_conf_name, compare_bytes);
	bool		found = false;

	for (int i = 0; i < count; i++)
	{
		char		path[PATH_MAX];

		if (path_join(path, sizeof(path), directory, entries[i]->d_name) &&
			value_in_file(path, name, value, size, depth))
			found = true;
		free(entries[i]);
	}
	free(entries);
	return found;
}

/* The value of the last line that sets it, included files in their place. */
static bool
value_in_file(const char *path, const char *name, char *value, size_t size, int depth)
{
	char	   *text = depth < INCLUDE_DEPTH ? file_read(path, OWN_CONF_MAX, NULL) : NULL;
	const char *at = text;
	char		word[64];
	char		other[PATH_MAX];
	char	   *line = malloc(size > PATH_MAX ? size : PATH_MAX);
	bool		found = false;

	while (text != NULL && line != NULL &&
		   conf_line(&at, word, sizeof(word), line, size > PATH_MAX ? size : PATH_MAX))
	{
		if (ascii_is_same(word, name))
		{
			snprintf(value, size, "%s", line);
			found = true;
		}
		else if (ascii_is_same(word, "include") || ascii_is_same(word, "include_if_exists"))
			found = (beside_file(path, line, other) &&
					 value_in_file(other, name, value, size, depth + 1)) || found;
		else if (ascii_is_same(word, "include_dir"))
			found = (beside_file(path, line, other) &&
					 value_in_directory(other, name, value, size, depth + 1)) || found;
	}
	free(line);
	free(text);
	return found;
}

/* What the operator's files say of a parameter; false: nothing. */
bool
own_conf_value(const Settings *settings, const char *name, char *value, size_t size)
{
	char		path[PATH_MAX];
	bool		found;

	found = conf_own_path(settings, path, sizeof(path)) &&
		value_in_file(path, name, value, size, 0);
	return (path_join(path, sizeof(path), settings->data_dir, "postgresql.auto.conf") &&
			value_in_file(path, name, value, size, 0)) || found;
}

/* The same number (in that unit, if it has one), the same truth, or the same text. */
static bool
same_value(const char *a, const char *b, const char *unit)
{
	json_t	   *values[] = {json_string(a), json_string(b)};
	int64_t		number[2];
	bool		truth[2];
	bool		same = ascii_is_same(a, b) ||
		(value_to_int(values[0], unit, &number[0]) && value_to_int(values[1], unit, &number[1]) &&
		 number[0] == number[1]) ||
		(value_to_bool(values[0], &truth[0]) && value_to_bool(values[1], &truth[1]) &&
		 truth[0] == truth[1]);

	json_decref(values[0]);
	json_decref(values[1]);
	return same;
}

static void
compare_one(const Settings *settings, const char *name, const char *in_force, const char *unit,
			ConfigProblems *problems)
{
	char		own[256];

	if (in_force != NULL && own_conf_value(settings, name, own, sizeof(own)) &&
		!same_value(own, in_force, unit))
		parameter_overruled(problems, name, own, in_force);
}

/*
 * Say which of the operator's values will not be in force because the
 * parameter is the cluster's: before a server is taken over, and when it is.
 */
void
own_conf_compare(const Settings *settings, ConfigProblems *problems)
{
	json_t	   *command_line = NULL;
	json_t	   *config_file = NULL;
	ConfigProblems ignored;
	const char *name;
	json_t	   *in_force;
	int			major;

	if (conf_is_managed(settings) || !data_directory_version(settings->data_dir, &major, NULL))
		return;
	config_problems_init(&ignored);
	if (settings_server_parameters(settings, major * 10000, &command_line, &config_file, &ignored))
	{
		json_object_foreach(command_line, name, in_force)
		{
			/* libraries are kept, and nobody misses a name */
			if (strcmp(name, "shared_preload_libraries") != 0 && strcmp(name, "cluster_name") != 0)
				compare_one(settings, name, json_string_value(in_force), NULL, problems);
		}
		name = "wal_keep_size";
		compare_one(settings, name, json_string_value(json_object_get(config_file, name)), "MB", problems);
	}
	config_problems_free(&ignored);
	json_decref(command_line);
	json_decref(config_file);
}

/*
 * May a server that was not managed yet be started as a standby of nobody?
 * Its primary may run and take writes without us: to become the leader it must
 * not be a standby.
 */
bool
own_conf_may_lead(const Settings *settings, Error *error)
{
	static const char *const signals[] = {"standby.signal", "recovery.signal"};
	char		path[PATH_MAX];

	if (conf_is_managed(settings))
		return true;
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if (path_join(path, sizeof(path), settings->data_dir, signals[i]) && access(path, F_OK) == 0)
			return error_set(error, "\"%s\" is there, this server was not managed before, and no member "
							 "leads: start the member on its primary first, or promote this server by "
							 "hand to make it the primary", signals[i]);
	return true;
}
