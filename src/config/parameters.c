/*-------------------------------------------------------------------------
 *
 * parameters.c
 *      The parameters of the server: which ones the cluster controls, what a
 *      version accepts, and our own library in shared_preload_libraries.
 *
 * Controlled parameters (patroni/postgresql/config.py, CMDLINE_OPTIONS) come
 * from the dynamic configuration only and go to the command line of the
 * postmaster, where ALTER SYSTEM cannot override them.  wal_keep_size is the
 * exception: it is controlled, but belongs to the file.
 *-------------------------------------------------------------------------
 */
#include "config/config_internal.h"
#include "cluster/ascii.h"

#include <stdlib.h>
#include <string.h>

#define OWN_LIBRARY        "patroni_bgw"
#define OWN_PRELOAD "shared_preload_libraries"
#define WAL_SEGMENT_MB     16
#define PARAMETER_TEXT_MAX 16384

typedef enum ControlledKind
{
	CONTROLLED_INT,
	CONTROLLED_BOOL,
	CONTROLLED_TRUE,
	CONTROLLED_WAL_LEVEL,
	CONTROLLED_FIXED, /* not settable */
} ControlledKind;

typedef struct Controlled
{
	const char *name;
	ControlledKind kind;
	const char *value; /* default; NULL = none */
	int minimum;
	const char *unit;
	const char *allowed;
	bool on_command_line;
} Controlled;

/* In the order of the command line. */
static const Controlled controlled[] = {
	{ "listen_addresses", CONTROLLED_FIXED, NULL, 0, NULL, NULL, true },
	{ "port", CONTROLLED_FIXED, NULL, 0, NULL, NULL, true },
	{ "cluster_name", CONTROLLED_FIXED, NULL, 0, NULL, NULL, true },
	{ "wal_level", CONTROLLED_WAL_LEVEL, "replica", 0, NULL, "hot_standby, replica or logical",
	  true },
	{ "hot_standby", CONTROLLED_TRUE, "on", 0, NULL, "on", true },
	{ "max_connections", CONTROLLED_INT, "100", 25, NULL, "an integer of at least 25", true },
	{ "max_wal_senders", CONTROLLED_INT, "10", 3, NULL, "an integer of at least 3", true },
	{ "max_prepared_transactions", CONTROLLED_INT, "0", 0, NULL, "an integer of at least 0", true },
	{ "max_locks_per_transaction", CONTROLLED_INT, "64", 32, NULL, "an integer of at least 32",
	  true },
	{ "track_commit_timestamp", CONTROLLED_BOOL, "off", 0, NULL, "a boolean", true },
	{ "max_replication_slots", CONTROLLED_INT, "10", 4, NULL, "an integer of at least 4", true },
	{ "max_worker_processes", CONTROLLED_INT, "8", 2, NULL, "an integer of at least 2", true },
	{ "wal_log_hints", CONTROLLED_BOOL, "on", 0, NULL, "a boolean", true },
	{ "wal_keep_segments", CONTROLLED_INT, NULL, 1, NULL, "an integer of at least 1", false },
	{ "wal_keep_size", CONTROLLED_INT, NULL, 16, "MB", "a size of at least 16MB", false },
};

static const char *const recovery_parameters[] = {
	"archive_cleanup_command",
	"pause_at_recovery_target",
	"primary_conninfo",
	"primary_slot_name",
	"promote_trigger_file",
	"recovery_end_command",
	"recovery_min_apply_delay",
	"recovery_target",
	"recovery_target_action",
	"recovery_target_inclusive",
	"recovery_target_lsn",
	"recovery_target_name",
	"recovery_target_time",
	"recovery_target_timeline",
	"recovery_target_xid",
	"restore_command",
	"standby_mode",
	"trigger_file",
};

#define N_OF(array) (sizeof(array) / sizeof((array)[0]))

static const Controlled *
controlled_find(const char *name)
{
	for (size_t i = 0; i < N_OF(controlled); i++)
		if (ascii_is_same(controlled[i].name, name))
			return &controlled[i];
	return NULL;
}

/* Is this parameter the cluster's (names of parameters have no case)? */
bool
parameter_is_controlled(const char *name)
{
	return controlled_find(name) != NULL;
}

/* Does this parameter belong to the recovery part? */
bool
parameter_is_recovery(const char *name)
{
	for (size_t i = 0; i < N_OF(recovery_parameters); i++)
		if (ascii_is_same(recovery_parameters[i], name))
			return true;
	return false;
}

/* Does any server version have this parameter in its main part? */
bool
parameter_has_rule(const char *name)
{
	for (int i = 0; i < n_guc_rules; i++)
		if (ascii_is_same(guc_rules[i].name, name))
			return true;
	return false;
}

/* The controlled parameters with a default: a new map, name -> text. */
json_t *
parameters_controlled_defaults(void)
{
	json_t *map = json_pack("{}");

	for (size_t i = 0; map != NULL && i < N_OF(controlled); i++)
		if (controlled[i].value != NULL)
			json_object_set_new(map, controlled[i].name, json_string(controlled[i].value));
	return map;
}

/*
 * May the dynamic configuration set this controlled parameter to this value?
 * If not, *allowed says what may be, NULL when nothing may.
 */
bool
parameter_controlled_valid(const char *name, const json_t *value, const char **allowed)
{
	const Controlled *rule = controlled_find(name);
	char text[64];
	int64_t integer;
	bool truth;

	*allowed = rule != NULL ? rule->allowed : NULL;
	if (rule == NULL)
		return true;
	switch (rule->kind)
	{
		case CONTROLLED_INT:
			return value_to_int(value, rule->unit, &integer) && integer >= rule->minimum &&
			       integer <= INT32_MAX;
		case CONTROLLED_BOOL:
			return value_to_bool(value, &truth);
		case CONTROLLED_TRUE:
			return value_to_bool(value, &truth) && truth;
		case CONTROLLED_WAL_LEVEL:
			return value_to_text(value, text, sizeof(text)) &&
			       (ascii_is_same(text, "hot_standby") || ascii_is_same(text, "replica") ||
			        ascii_is_same(text, "logical"));
		case CONTROLLED_FIXED:
			break;
	}
	return false;
}

/* The rule of a parameter for a version, or NULL. */
static const GucRule *
rule_find(const char *name, int version)
{
	for (int i = 0; i < n_guc_rules; i++)
		if (ascii_is_same(guc_rules[i].name, name) && version >= guc_rules[i].since &&
		    (guc_rules[i].until == 0 || version < guc_rules[i].until))
			return &guc_rules[i];
	return NULL;
}

static bool
enum_has(const char *values, const char *text)
{
	for (const char *p = values;; p++)
	{
		size_t length = strcspn(p, "|");

		if (strlen(text) == length && ascii_is_same_part(p, text, length))
			return true;
		p += length;
		if (*p == '\0')
			return false;
	}
}

static void
parameter_problem(ConfigProblems *problems, bool is_error, const char *name, const char *format,
                  const char *a, const char *b)
{
	char key[160];
	char message[400];

	snprintf(key, sizeof(key), "postgresql.parameters.%.100s", name);
	/* The formats are literals of this file. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(message, sizeof(message), format, a, b);
#pragma GCC diagnostic pop
	problem_at(problems, is_error, "effective configuration", key, "%s", message);
}

/*
 * Hold a number within its bounds.  "text" is replaced by the bound, a bare
 * number in the base unit, when it is outside.  False: it is no number.
 */
static bool
number_clamp(const GucRule *rule, char *text, size_t size, ConfigProblems *problems)
{
	double number;
	double bound;
	int64_t integer;
	char shown[64];
	char bound_text[64];

	if (rule->kind == GUC_INTEGER)
	{
		if (!text_to_int(text, rule->unit, &integer))
			return false;
		number = (double) integer;
	}
	else if (!text_to_real(text, rule->unit, &number))
		return false;
	if (number >= rule->minimum && number <= rule->maximum)
		return true;
	bound = number < rule->minimum ? rule->minimum : rule->maximum;
	snprintf(shown, sizeof(shown), "%.60s", text);
	snprintf(text, size, "%.15g", bound);
	snprintf(bound_text, sizeof(bound_text), "%s%s%s", text, rule->unit ? " " : "",
	         rule->unit ? rule->unit : "");
	parameter_problem(problems, false, rule->name,
	                  bound == rule->minimum ? "\"%s\" is too small, %s is used"
	                                         : "\"%s\" is too large, %s is used",
	                  shown, bound_text);
	return true;
}

/*
 * Check one parameter for a version.  True when it may be written, with
 * "text" possibly replaced; false when it is dropped, with a warning.
 */
static bool
parameter_accept(const char *name, int version, char *text, size_t size, ConfigProblems *problems)
{
	const GucRule *rule;
	bool truth;
	bool ok = true;
	char shown[64];
	char version_text[16];

	if (strchr(name, '.') != NULL)
		return true;
	snprintf(version_text, sizeof(version_text), "%d", version / 10000);
	if (parameter_is_recovery(name))
	{
		parameter_problem(problems, false, name,
		                  "\"%s\" is left out; it belongs to postgresql.recovery_conf%s", name, "");
		return false;
	}
	rule = rule_find(name, version);
	if (rule == NULL)
	{
		parameter_problem(problems, false, name,
		                  "\"%s\" is left out; PostgreSQL %s has no such parameter", name,
		                  version_text);
		return false;
	}
	snprintf(shown, sizeof(shown), "%.60s", text);
	switch (rule->kind)
	{
		case GUC_BOOL:
			ok = text_to_bool(text, &truth);
			break;
		case GUC_ENUM_BOOL:
			ok = text_to_bool(text, &truth) || enum_has(rule->values, text);
			break;
		case GUC_ENUM:
			ok = enum_has(rule->values, text);
			break;
		case GUC_INTEGER:
		case GUC_REAL:
			ok = number_clamp(rule, text, size, problems);
			break;
		case GUC_STRING:
			break;
	}
	if (!ok)
		parameter_problem(problems, false, name,
		                  rule->kind == GUC_BOOL ? "left out: \"%s\" is not a boolean%s"
		                  : rule->values != NULL ? "left out: \"%s\" is not one of %s"
		                                         : "left out: \"%s\" is not a number%s",
		                  shown, rule->values ? rule->values : "");
	return ok;
}

/* Take one name off a list as shared_preload_libraries has; false at a
 * syntax error.  *list moves on; *item is "" at the end. */
static bool
preload_next(const char **list, char *item, size_t size)
{
	const char *p = *list;
	size_t n = 0;

	while (ascii_is_space(*p))
		p++;
	item[0] = '\0';
	if (*p == '\0')
	{
		*list = p;
		return true;
	}
	if (*p == '"')
	{
		bool is_closed = false;

		for (p++; *p != '\0' && !is_closed; p++)
		{
			if (*p == '"' && p[1] != '"')
				is_closed = true;
			else
			{
				if (*p == '"')
					p++; /* a doubled quote */
				if (n + 1 < size)
					item[n++] = *p;
			}
		}
		if (!is_closed)
			return false;
		while (ascii_is_space(*p))
			p++;
	}
	else
	{
		while (*p != '\0' && *p != ',')
		{
			if (n + 1 < size)
				item[n++] = *p;
			p++;
		}
		while (n > 0 && ascii_is_space(item[n - 1]))
			n--;
	}
	item[n] = '\0';
	if (n == 0 || (*p != ',' && *p != '\0'))
		return false;
	if (*p == ',')
	{
		p++;
		if (p[strspn(p, " \t\r\n")] == '\0')
			return false; /* a comma at the end */
	}
	*list = p;
	return true;
}

/* Do two entries name the same library? */
static bool
same_library(const char *entry, const char *library)
{
	const char *name = strncmp(entry, "$libdir/", 8) == 0 ? entry + 8 : entry;
	size_t n = strlen(library);

	return strncmp(name, library, n) == 0 && (name[n] == '\0' || strcmp(name + n, ".so") == 0);
}

/*
 * Add a library to a list as shared_preload_libraries has, at the end, unless
 * it is there.  The list is otherwise kept letter by letter.  False when the
 * list cannot be read or the result does not fit.
 */
bool
preload_add(const char *list, const char *library, char *result, size_t size)
{
	const char *p = list;
	char item[1024];
	bool is_there = false;
	bool is_empty = true;
	int n;

	for (;;)
	{
		if (!preload_next(&p, item, sizeof(item)))
			return false;
		if (item[0] == '\0')
			break;
		is_empty = false;
		if (same_library(item, library))
			is_there = true;
	}
	if (is_there)
		n = snprintf(result, size, "%s", list);
	else
		n = snprintf(result, size, "%s%s%s", is_empty ? "" : list, is_empty ? "" : ", ", library);
	return n >= 0 && (size_t) n < size;
}

/* A warning: the operator has set it where it does not count. */
void
parameter_overruled(ConfigProblems *problems, const char *name, const char *own,
                    const char *in_force)
{
	const Controlled *parameter = controlled_find(name);
	const char *format =
	    parameter != NULL && parameter->kind == CONTROLLED_FIXED
	        ? "\"%s\" in the server's own files has no effect, postgresql.listen says \"%s\""
	        : "\"%s\" in the server's own files has no effect, the cluster's configuration says \"%s\"";

	parameter_problem(problems, false, name, format, own, in_force);
}

/* The map key under which a parameter is kept, whatever its case. */
static const char *
parameter_key(const json_t *map, const char *name)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *) map, key, value) if (ascii_is_same(key, name)) return key;
	return name;
}

static bool
set_preload(json_t *file, ConfigProblems *problems)
{
	const char *key = parameter_key(file, OWN_PRELOAD);
	const char *list = json_string_value(json_object_get(file, key));
	char result[PARAMETER_TEXT_MAX];

	if (!preload_add(list != NULL ? list : "", OWN_LIBRARY, result, sizeof(result)))
	{
		parameter_problem(problems, true, key,
		                  "\"%s\" is not a list of libraries, so \"%s\" cannot be added to it",
		                  list, OWN_LIBRARY);
		return false;
	}
	return json_object_set_new(file, key, json_string(result)) == 0;
}

/* wal_keep_size, perhaps out of the older wal_keep_segments. */
static void
set_wal_keep(const json_t *parameters, json_t *file)
{
	const json_t *size = json_object_get(parameters, parameter_key(parameters, "wal_keep_size"));
	const json_t *segments =
	    json_object_get(parameters, parameter_key(parameters, "wal_keep_segments"));
	char text[64] = "128MB";
	const char *allowed;
	int64_t n;

	if (size != NULL && parameter_controlled_valid("wal_keep_size", size, &allowed))
		value_to_text(size, text, sizeof(text));
	else if (segments != NULL &&
	         parameter_controlled_valid("wal_keep_segments", segments, &allowed) &&
	         value_to_int(segments, NULL, &n))
		snprintf(text, sizeof(text), "%lldMB", (long long) n * WAL_SEGMENT_MB);
	json_object_set_new(file, "wal_keep_size", json_string(text));
}

static void
set_command_line(const Settings *settings, const json_t *parameters, json_t *command_line)
{
	char text[64];

	json_object_set_new(command_line, "listen_addresses", json_string(settings->listen_addresses));
	json_object_set_new(command_line, "port", json_sprintf("%d", settings->port));
	json_object_set_new(command_line, "cluster_name", json_string(settings->scope));
	for (size_t i = 0; i < N_OF(controlled); i++)
	{
		const json_t *value;
		const char *allowed;
		int64_t number;
		bool truth;

		if (!controlled[i].on_command_line || controlled[i].kind == CONTROLLED_FIXED)
			continue;
		value = json_object_get(parameters, parameter_key(parameters, controlled[i].name));
		if (value == NULL || !parameter_controlled_valid(controlled[i].name, value, &allowed) ||
		    !value_to_text(value, text, sizeof(text)))
			snprintf(text, sizeof(text), "%s", controlled[i].value);
		if (controlled[i].kind == CONTROLLED_INT && text_to_int(text, NULL, &number))
			snprintf(text, sizeof(text), "%lld", (long long) number);
		if (controlled[i].kind == CONTROLLED_BOOL && text_to_bool(text, &truth))
			snprintf(text, sizeof(text), truth ? "on" : "off");
		if (controlled[i].kind == CONTROLLED_TRUE)
			snprintf(text, sizeof(text), "on");
		if (controlled[i].kind == CONTROLLED_WAL_LEVEL && ascii_is_same(text, "hot_standby"))
			snprintf(text, sizeof(text), "replica");
		json_object_set_new(command_line, controlled[i].name, json_string(text));
	}
}

/* Copies of logical slots need that the primary keeps rows for them. */
static bool
has_logical_slots(const Settings *settings)
{
	const char *name;
	json_t *slot;

	json_object_foreach(json_object_get(settings->document, "slots"), name, slot)
	{
		const char *type = json_string_value(json_object_get(slot, "type"));

		if (type != NULL && strcmp(type, "logical") == 0)
			return true;
	}
	return false;
}

/*
 * The parameters of the server, name -> text: the controlled ones for the
 * command line, the others, checked for this version, for postgresql.conf.
 * Dropped and bounded parameters are warnings.  False, and nothing returned,
 * when patroni_bgw could not be added to shared_preload_libraries: a server
 * without it would not be managed.
 */
bool
settings_server_parameters(const Settings *settings, int server_version_num, json_t **command_line,
                           json_t **config_file, ConfigProblems *problems)
{
	const json_t *parameters = document_get(settings->document, "postgresql.parameters");
	char *text = malloc(PARAMETER_TEXT_MAX);
	json_t *options = json_pack("{}");
	json_t *file = json_pack("{}");
	const char *name;
	json_t *value;

	*command_line = *config_file = NULL;
	if (text == NULL || options == NULL || file == NULL)
		goto failed;
	set_command_line(settings, parameters, options);
	json_object_foreach((json_t *) parameters, name, value)
	{
		if (parameter_is_controlled(name) || json_is_null(value))
			continue;
		if (!value_to_text(value, text, PARAMETER_TEXT_MAX))
		{
			parameter_problem(problems, false, name,
			                  "left out: the value is a list, a map, or too long%s%s", "", "");
			continue;
		}
		if (parameter_accept(name, server_version_num, text, PARAMETER_TEXT_MAX, problems))
			json_object_set_new(file, name, json_string(text));
	}
	set_wal_keep(parameters, file);
	if (has_logical_slots(settings))
	{
		json_object_del(file, parameter_key(file, "hot_standby_feedback"));
		json_object_set_new(file, "hot_standby_feedback", json_string("on"));
	}
	if (!set_preload(file, problems))
		goto failed;
	/* on the command line as well: ALTER SYSTEM must not take the fence away */
	json_object_set(options, OWN_PRELOAD, json_object_get(file, parameter_key(file, OWN_PRELOAD)));
	free(text);
	*command_line = options;
	*config_file = file;
	return true;

failed:
	free(text);
	json_decref(options);
	json_decref(file);
	return false;
}
