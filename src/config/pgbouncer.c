/*-------------------------------------------------------------------------
 *
 * pgbouncer.c
 *      The section "pgbouncer": which databases of which PgBouncers a
 *      switchover pauses, and how long that may take.
 *
 *-------------------------------------------------------------------------
 */
#include "config/config_internal.h"

#include <stdlib.h>
#include <string.h>

#define CONNECT_TIMEOUT_MS 250
#define PAUSE_TIMEOUT_MS   2000
#define RESUME_TIMEOUT_MS  10000
#define CHECK_INTERVAL_MS  100
#define PORT			   6432

/* A key of the section, or of one instance in it. */
static void
key_path(char path[CONFIG_PATH_MAX], const char *instance, const char *key)
{
	snprintf(path, CONFIG_PATH_MAX, "pgbouncer");
	if (instance != NULL)
	{
		(void) path_append(path, CONFIG_PATH_MAX, "instances");
		(void) path_append(path, CONFIG_PATH_MAX, instance);
	}
	if (key != NULL)
		(void) path_append(path, CONFIG_PATH_MAX, key);
}

static bool
take(const json_t *map, const char *instance, const char *key, char *to, size_t size,
	 const Reporter *reporter)
{
	const json_t *value = json_object_get(map, key);
	char path[CONFIG_PATH_MAX];
	char text[1024];

	if (value == NULL || json_is_null(value))
		return true;
	if (value_to_text(value, text, sizeof(text)) && !json_is_boolean(value) && strlen(text) < size)
	{
		strcpy(to, text);
		explicit_bzero(text, sizeof(text));
		return true;
	}
	explicit_bzero(text, sizeof(text));
	key_path(path, instance, key);
	if (json_is_boolean(value))
		report(reporter, true, path, false, "the value is not a text (put it in quotes)");
	else
		report(reporter, true, path, false, "the value is not a text of at most %zu bytes",
			   size - 1);
	return false;
}

/* The schema has checked it: what cannot be read has been said. */
static bool
take_time(const json_t *section, const char *key, int64_t *to, int64_t otherwise)
{
	const json_t *value = json_object_get(section, key);
	char text[64];
	double seconds;

	*to = otherwise;
	if (value == NULL || json_is_null(value))
		return true;
	if (json_is_number(value))
		seconds = json_number_value(value);
	else if (!value_to_text(value, text, sizeof(text)) || !text_to_real(text, "s", &seconds))
		return false;
	if (seconds < 0 || seconds > 3600)
		return false;
	*to = (int64_t) (seconds * 1000 + 0.5);
	return true;
}

static bool
required(const char *value, const char *instance, const char *key, const Reporter *reporter)
{
	char path[CONFIG_PATH_MAX];

	if (value[0] != '\0')
		return true;
	key_path(path, instance, NULL);
	report(reporter, true, path, true, "\"%s\" is required for each PgBouncer", key);
	return false;
}

static bool
take_instance(PgBouncer *to, const char *name, const json_t *map, const Reporter *reporter)
{
	const json_t *port = json_object_get(map, "port");
	char path[CONFIG_PATH_MAX];
	int64_t number = PORT;
	bool ok = true;

	key_path(path, name, NULL);
	if (strlen(name) >= sizeof(to->name))
	{
		report(reporter, true, path, true, "the name is too long, at most %zu bytes fit",
			   sizeof(to->name) - 1);
		return false;
	}
	strcpy(to->name, name);
	ok = take(map, name, "host", to->host, sizeof(to->host), reporter);
	ok = take(map, name, "database", to->database, sizeof(to->database), reporter) && ok;
	ok = take(map, name, "probe_database", to->probe_database, sizeof(to->probe_database),
			  reporter) &&
		 ok;
	ok = take(map, name, "username", to->username, sizeof(to->username), reporter) && ok;
	ok = take(map, name, "password", to->password, sizeof(to->password), reporter) && ok;
	if (port != NULL && !json_is_null(port) && !value_to_int(port, NULL, &number))
		return false;
	if (!ok || number < 1 || number > 65535)
		return false;
	to->port = (int) number;
	ok = required(to->host, name, "host", reporter);
	ok = required(to->database, name, "database", reporter) && ok;
	ok = required(to->username, name, "username", reporter) && ok;
	if (ok && strcmp(to->database, to->probe_database) == 0)
	{
		key_path(path, name, "probe_database");
		report(reporter, true, path, false,
			   "\"%s\" is the database that is paused; a probe needs another name", to->database);
		return false;
	}
	return ok;
}

/* Nothing tells apart two entries for one database: the second would wait for the first. */
static bool
is_new(const Settings *settings, const PgBouncer *one, const Reporter *reporter)
{
	for (int i = 0; i < settings->n_pgbouncers; i++)
	{
		const PgBouncer *other = &settings->pgbouncers[i];
		char path[CONFIG_PATH_MAX];

		if (strcmp(one->host, other->host) != 0 || one->port != other->port ||
			strcmp(one->database, other->database) != 0)
			continue;
		key_path(path, one->name, NULL);
		report(reporter, true, path, true, "this is the same PgBouncer and database as \"%s\"",
			   other->name);
		return false;
	}
	return true;
}

/* Fill in what the section says.  False: an error has been listed. */
bool
pgbouncer_settings(Settings *settings, const json_t *document, const Reporter *reporter)
{
	const json_t *section = json_object_get(document, "pgbouncer");
	const json_t *instances = json_object_get(section, "instances");
	PgBouncer common;
	const char *name;
	json_t *map;
	bool ok = true;

	memset(&common, 0, sizeof(common));
	ok = take(section, NULL, "username", common.username, sizeof(common.username), reporter);
	ok = take(section, NULL, "password", common.password, sizeof(common.password), reporter) && ok;
	ok = take_time(section, "connect_timeout", &settings->pgbouncer_connect_timeout_ms,
				   CONNECT_TIMEOUT_MS) &&
		 ok;
	ok = take_time(section, "check_interval", &settings->pgbouncer_check_interval_ms,
				   CHECK_INTERVAL_MS) &&
		 ok;
	ok = take_time(section, "pause_timeout", &settings->pgbouncer_pause_timeout_ms,
				   PAUSE_TIMEOUT_MS) &&
		 ok;
	ok = take_time(section, "resume_timeout", &settings->pgbouncer_resume_timeout_ms,
				   RESUME_TIMEOUT_MS) &&
		 ok;
	if (!json_is_object(instances) || json_object_size(instances) == 0 || !ok)
		return ok;
	if (settings->pgbouncer_resume_timeout_ms < settings->pgbouncer_pause_timeout_ms + 1000)
	{
		report(reporter, true, "pgbouncer.resume_timeout", false,
			   "the value must be at least pause_timeout + 1 s, which is %.15g s",
			   (double) (settings->pgbouncer_pause_timeout_ms + 1000) / 1000);
		ok = false;
	}
	if (json_object_size(instances) > SETTINGS_PGBOUNCERS_MAX)
	{
		report(reporter, true, "pgbouncer.instances", true, "there are more than %d PgBouncers",
			   SETTINGS_PGBOUNCERS_MAX);
		return false;
	}
	settings->pgbouncers = calloc(json_object_size(instances), sizeof(PgBouncer));
	if (settings->pgbouncers == NULL)
	{
		report(reporter, true, "pgbouncer.instances", true, "out of memory");
		return false;
	}
	json_object_foreach((json_t *) instances, name, map)
	{
		PgBouncer *to = &settings->pgbouncers[settings->n_pgbouncers];

		if (json_is_null(map))
			continue;
		*to = common;
		if (json_is_object(map) && take_instance(to, name, map, reporter) &&
			is_new(settings, to, reporter))
			settings->n_pgbouncers++;
		else
			ok = false;
	}
	explicit_bzero(&common, sizeof(common));
	return ok;
}
