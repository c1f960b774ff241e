/*-------------------------------------------------------------------------
 *
 * restart.c
 *      POST /restart and POST /reinitialize (patroni/api.py).
 *
 * The order of the checks, their codes and their texts are Patroni's.  What
 * depends on the server is checked by the engine, at the moment of the
 * restart; its reason is added to Patroni's text.
 *-------------------------------------------------------------------------
 */
#include "rest/restart.h"
#include "cluster/ascii.h"

#include <stdio.h>
#include <string.h>

static bool
refuse(RestResult *result, int status, const char *text)
{
	memset(result, 0, sizeof(*result));
	result->status = status;
	result->text = text;
	return false;
}

static bool
check_schedule(HaCommand *command, const json_t *value, int64_t wall_ms, RestResult *result)
{
	const char *text = json_string_value(value);
	bool has_zone = false;

	if (text == NULL || !timestamp_from_text(text, &command->scheduled_at_ms, &has_zone))
		return refuse(result, 422,
		              "Unable to parse scheduled timestamp. It should be in an unambiguous "
		              "format, e.g. ISO 8601");
	if (!has_zone)
		return refuse(result, 400, "Timezone information is mandatory for the scheduled restart");
	if (command->scheduled_at_ms < wall_ms)
		return refuse(result, 422, "Cannot schedule restart in the past");
	command->is_scheduled = true;
	return true;
}

static bool
check_role(HaCommand *command, const json_t *value, RestResult *result)
{
	const char *role = json_string_value(value);

	if (role != NULL && strcmp(role, "master") == 0) /* older clients */
		role = "primary";
	if (role == NULL || (strcmp(role, "primary") != 0 && strcmp(role, "standby_leader") != 0 &&
	                     strcmp(role, "replica") != 0))
		return refuse(result, 400,
		              "PostgreSQL role should be either primary, standby_leader, or replica");
	snprintf(command->role, sizeof(command->role), "%s", role);
	return true;
}

/* What a client sent is repeated to it only as far as it is harmless in a page. */
static bool
refuse_version(RestRestart *restart, const char *version, RestResult *result)
{
	bool is_number = version[0] != '\0' && strspn(version, "0123456789.") == strlen(version) &&
	                 strstr(version, "..") == NULL && version[0] != '.' &&
	                 version[strlen(version) - 1] != '.';
	char clean[32];
	size_t used = 0;

	for (const char *c = version; *c != '\0' && used + 1 < sizeof(clean); c++)
		clean[used++] = ascii_is_letter_or_digit(*c) || strchr("._- ", *c) != NULL ? *c : '?';
	clean[used] = '\0';
	snprintf(restart->text, sizeof(restart->text), "Invalid PostgreSQL version%s: %s",
	         is_number ? " format: X.Y or X.Y.Z is accepted" : "", clean);
	return refuse(result, 400, restart->text);
}

static bool
check_version(RestRestart *restart, const json_t *value, RestResult *result)
{
	HaCommand *command = &restart->command;
	const char *version = json_string_value(value);

	if (version == NULL)
		return refuse_version(restart, "?", result);
	command->version_below = ha_version_number(version);
	if (command->version_below == 0 || strlen(version) >= sizeof(command->postgres_version))
		return refuse_version(restart, version, result);
	strcpy(command->postgres_version, version);
	return true;
}

static bool
check_timeout(HaCommand *command, const json_t *value, RestResult *result)
{
	int64_t seconds;

	if (!value_to_int(value, "s", &seconds) || seconds <= 0)
		return refuse(result, 400, "Timeout should be a positive number of seconds");
	command->timeout_ms = seconds > 86400 ? 86400000 : seconds * 1000;
	return true;
}

static bool
check_key(RestRestart *restart, const char *key, const json_t *value, int64_t wall_ms,
          RestResult *result)
{
	if (strcmp(key, "schedule") == 0)
		return check_schedule(&restart->command, value, wall_ms, result);
	if (strcmp(key, "role") == 0)
		return check_role(&restart->command, value, result);
	if (strcmp(key, "postgres_version") == 0)
		return check_version(restart, value, result);
	if (strcmp(key, "timeout") == 0)
		return check_timeout(&restart->command, value, result);
	if (strcmp(key, "restart_pending") == 0)
	{
		/* Patroni's rule: that the key is there is enough */
		restart->command.only_pending = true;
		return true;
	}
	snprintf(restart->text, sizeof(restart->text), "Unknown filter for the scheduled restart");
	if (strlen(key) < 64 && strspn(key, "abcdefghijklmnopqrstuvwxyz_") == strlen(key))
		snprintf(restart->text, sizeof(restart->text),
		         "Unknown filter for the scheduled restart: %.64s", key);
	return refuse(result, 400, restart->text);
}

/*
 * Read what is asked for; the keys are checked in the order of the body.
 * Without a timeout it is that of the settings.
 */
bool
restart_check(RestRestart *restart, const json_t *body, const Settings *settings, int64_t wall_ms,
              RestResult *result)
{
	const char *key;
	json_t *value;

	memset(restart, 0, sizeof(*restart));
	restart->command.kind = HA_COMMAND_RESTART;
	if (settings->is_paused && json_object_get(body, "schedule") != NULL)
		return refuse(result, 500, "Can't schedule restart in the paused state");
	json_object_foreach((json_t *) body, key, value)
	{
		if (!check_key(restart, key, value, wall_ms, result))
			return false;
	}
	return true;
}

/* Patroni reads texts as well: "true", "on", "yes", 1. */
static bool
read_flag(const json_t *body, const char *key, bool *flag)
{
	const json_t *value = json_object_get(body, key);

	*flag = false;
	return value == NULL || json_is_null(value) || value_to_bool(value, flag);
}

/* Read what is asked for, and check it against the cluster as it is. */
bool
reinitialize_check(RestRestart *restart, const json_t *body, const Settings *settings,
                   const ClusterView *view, RestResult *result)
{
	HaCommand *command = &restart->command;

	memset(restart, 0, sizeof(*restart));
	command->kind = HA_COMMAND_REINITIALIZE;
	if (!read_flag(body, "force", &command->force) ||
	    !read_flag(body, "from_leader", &command->from_leader))
		return refuse(result, 400, NULL);
	if (!view->has_leader)
		return refuse(result, 503, "Cluster has no leader, can not reinitialize");
	if (cluster_is_leader(view, settings->name))
		return refuse(result, 503, "I am the leader, can not reinitialize");
	return true;
}

/* The engine's details are sentences: "No restart is pending." */
static void
to_words(const char *detail, char *words, size_t size)
{
	size_t length;

	snprintf(words, size, "%s", detail);
	length = strlen(words);
	if (length > 0 && words[length - 1] == '.')
		words[length - 1] = '\0';
	words[0] = ascii_lower(words[0]);
}

/* What to answer when the engine refused. */
void
restart_refused(RestRestart *restart, const char *sqlstate, const char *detail, RestResult *result)
{
	const HaCommand *command = &restart->command;
	char words[HA_REASON_MAX];

	to_words(detail == NULL ? "" : detail, words, sizeof(words));
	if (sqlstate == NULL)
		sqlstate = "";
	if (command->kind == HA_COMMAND_FLUSH_RESTART)
		refuse(result, 404, "no restarts are scheduled");
	else if (strcmp(sqlstate, "55006") == 0 && command->is_scheduled)
		refuse(result, 409, "Another restart is already scheduled");
	else
	{
		if (strcmp(sqlstate, "57P03") == 0 && command->kind == HA_COMMAND_RESTART)
			snprintf(restart->text, sizeof(restart->text), "postgres is still starting");
		else if (strcmp(sqlstate, "55000") == 0 && command->kind == HA_COMMAND_RESTART)
			snprintf(restart->text, sizeof(restart->text),
			         "restart conditions are not satisfied%s%s", words[0] != '\0' ? ": " : "",
			         words);
		else
			snprintf(restart->text, sizeof(restart->text), "%s",
			         words[0] != '\0' ? words
			         : command->kind == HA_COMMAND_REINITIALIZE
			             ? "nothing in this member took the request up in time"
			             : "restart failed");
		refuse(result, 503, restart->text);
	}
}
