/*-------------------------------------------------------------------------
 *
 * settings.c
 *      Effective settings: defaults <- dynamic configuration <- local
 *      configuration (patroni/config.py, _build_effective_configuration()),
 *      and the struct made of them.
 *
 * Invariants:
 *  (1) A wrong value leaves the settings in force as they were.
 *  (2) Timing, controlled parameters and use_slots never come from the local
 *      configuration; addresses, directories and credentials always do.
 *
 * A number or boolean that is wrong in the dynamic configuration gets its
 * default and a warning, as every Patroni node does it, except for ttl,
 * loop_wait and retry_timeout, which make the whole document be rejected.
 *-------------------------------------------------------------------------
 */
#include "config/config_internal.h"
#include "cluster/ascii.h"

#include <stdlib.h>
#include <string.h>

#define TTL_MIN          2
#define TTL_OF_PATRONI   20
#define SECONDS_MAX      2147483
#define PLACEHOLDER_NAME "__patroni_strict_sync_replica_placeholder__"

/* What is under way: both documents and who hears of problems. */
typedef struct Merge
{
	Settings *to;
	const LocalConfig *local;
	const json_t *dynamic; /* an object, maybe empty */
	Reporter reporter;     /* places of the local configuration */
	Reporter dynamic_reporter;
} Merge;

/* Make settings empty. */
void
settings_init(Settings *settings)
{
	memset(settings, 0, sizeof(*settings));
}

/* Free what settings own; they are empty afterwards. */
void
settings_free(Settings *settings)
{
	if (settings == NULL)
		return;
	json_decref(settings->superuser.options);
	json_decref(settings->replication.options);
	json_decref(settings->rewind.options);
	json_decref(settings->document);
	free(settings->tags_json);
	if (settings->pgbouncers != NULL)
		explicit_bzero(settings->pgbouncers, (size_t) settings->n_pgbouncers * sizeof(PgBouncer));
	free(settings->pgbouncers);
	memset(settings, 0, sizeof(*settings));
}

/* --- the effective document --- */

static json_t *
default_document(void)
{
	json_t *parameters = parameters_controlled_defaults();

	if (parameters == NULL)
		return NULL;
	return json_pack("{s:i, s:i, s:i, s:{s:s, s:s, s:s, s:s, s:s, s:s, s:s}, s:{s:b, s:o}}", "ttl",
	                 30, "loop_wait", 10, "retry_timeout", 10, "standby_cluster",
	                 "create_replica_methods", "", "host", "", "port", "", "primary_slot_name", "",
	                 "restore_command", "", "archive_cleanup_command", "",
	                 "recovery_min_apply_delay", "", "postgresql", "use_slots", 1, "parameters",
	                 parameters);
}

/* Set a parameter; names of parameters have no case. */
static void
set_parameter(json_t *parameters, const char *name, json_t *value)
{
	const char *key;
	json_t *old;

	json_object_foreach(parameters, key, old) if (ascii_is_same(key, name))
	{
		json_object_set(parameters, key, value);
		return;
	}
	json_object_set(parameters, name, value);
}

static void
merge_dynamic_parameters(Merge *merge, json_t *parameters, const json_t *given)
{
	const char *name;
	json_t *value;

	json_object_foreach((json_t *) given, name, value)
	{
		const char *allowed;
		char shown[80];
		char path[CONFIG_PATH_MAX];

		if (!parameter_is_controlled(name))
		{
			set_parameter(parameters, name, value);
			continue;
		}
		if (json_is_null(value))
			continue;
		if (parameter_controlled_valid(name, value, &allowed))
		{
			set_parameter(parameters, name, value);
			continue;
		}
		if (allowed == NULL)
			continue;
		value_show(name, value, shown, sizeof(shown));
		snprintf(path, sizeof(path), "postgresql.parameters.%.100s", name);
		report(&merge->dynamic_reporter, false, path, false,
		       "%s is not allowed (it must be %s), the default is used", shown, allowed);
	}
}

static void
merge_dynamic_postgresql(Merge *merge, json_t *postgresql)
{
	static const char *const local_only[] = {
		"connect_address", "proxy_address", "listen",         "config_dir",
		"data_dir",        "pgpass",        "authentication", NULL,
	};
	const char *name;
	json_t *value;

	json_object_foreach(json_object_get(merge->dynamic, "postgresql"), name, value)
	{
		bool is_local_only = false;

		for (int i = 0; local_only[i] != NULL; i++)
			if (strcmp(local_only[i], name) == 0)
				is_local_only = true;
		if (strcmp(name, "parameters") == 0)
			merge_dynamic_parameters(merge, json_object_get(postgresql, "parameters"), value);
		else if (!is_local_only && !json_is_null(value))
			json_object_set_new(postgresql, name, json_deep_copy(value));
	}
}

static void
merge_local_postgresql(const json_t *given, json_t *postgresql)
{
	const char *name;
	json_t *value;

	json_object_foreach((json_t *) given, name, value)
	{
		if (strcmp(name, "parameters") == 0)
		{
			const char *parameter;
			json_t *parameter_value;

			json_object_foreach(value, parameter,
			                    parameter_value) if (!parameter_is_controlled(parameter))
			    set_parameter(json_object_get(postgresql, "parameters"), parameter,
			                  parameter_value);
		}
		else if (strcmp(name, "use_slots") != 0 && !json_is_null(value))
			json_object_set_new(postgresql, name, json_deep_copy(value));
	}
}

/* Only these keywords of libpq may be set in authentication. */
static json_t *
filter_credentials(const json_t *given)
{
	static const char *const allowed[] = {
		"username",        "password",       "sslmode", "sslcert",   "sslkey",
		"sslpassword",     "sslrootcert",    "sslcrl",  "sslcrldir", "gssencmode",
		"channel_binding", "sslnegotiation", NULL,
	};
	json_t *kept = json_pack("{}");

	for (int i = 0; kept != NULL && allowed[i] != NULL; i++)
	{
		json_t *value = json_object_get(given, allowed[i]);

		if (value != NULL)
			json_object_set(kept, allowed[i], value);
	}
	return kept;
}

/* The old format, and what authentication may hold. */
static void
adjust_authentication(json_t *postgresql)
{
	static const char *const users[] = { "superuser", "replication", "rewind" };
	json_t *authentication = json_object_get(postgresql, "authentication");
	json_t *result = json_pack("{}");
	json_t *pg_rewind = json_object_get(postgresql, "pg_rewind");
	bool is_old = !json_is_object(authentication);

	if (result == NULL)
		return;
	for (size_t i = 0; i < sizeof(users) / sizeof(users[0]); i++)
	{
		json_t *given;

		/* In the old format "rewind" means options of the program. */
		if (is_old && i == 2)
			continue;
		given = json_object_get(is_old ? postgresql : authentication, users[i]);
		if (i == 0 && !json_is_object(given) && json_is_object(pg_rewind))
			given = pg_rewind;
		if (json_is_object(given) && json_object_size(given) > 0)
			json_object_set_new(result, users[i], filter_credentials(given));
	}
	if (is_old && (json_object_size(result) > 0 || pg_rewind != NULL))
		json_object_set_new(postgresql, "use_pg_rewind", json_boolean(pg_rewind != NULL));
	json_object_set_new(postgresql, "authentication", result);
}

/* Defaults <- dynamic <- local; a new document. */
static json_t *
effective_document(Merge *merge)
{
	static const char *const slot_names[] = {
		"slots",
		"permanent_slots",
		"permanent_replication_slots",
	};
	static const char *const never_local[] = {
		"ttl", "loop_wait", "retry_timeout", "standby_cluster", "slots", "ignore_slots", NULL,
	};
	json_t *document = default_document();
	json_t *postgresql = json_object_get(document, "postgresql");
	const char *name;
	json_t *value;

	if (document == NULL)
		return NULL;
	json_object_foreach(
	    json_object_get(merge->dynamic, "standby_cluster"), name,
	    value) if (json_object_get(json_object_get(document, "standby_cluster"), name) != NULL &&
	               !json_is_null(value))
	    json_object_set_new(json_object_get(document, "standby_cluster"), name,
	                        json_deep_copy(value));
	merge_dynamic_postgresql(merge, postgresql);
	/* Lists and maps of the dynamic configuration that others need. */
	for (size_t i = 0; i < sizeof(slot_names) / sizeof(slot_names[0]); i++)
		if (json_is_object(json_object_get(merge->dynamic, slot_names[i])))
			json_object_set_new(document, "slots",
			                    json_deep_copy(json_object_get(merge->dynamic, slot_names[i])));
	if (json_is_array(json_object_get(merge->dynamic, "ignore_slots")))
		json_object_set_new(document, "ignore_slots",
		                    json_deep_copy(json_object_get(merge->dynamic, "ignore_slots")));

	json_object_foreach(merge->local->document, name, value)
	{
		bool is_dynamic = false;

		for (int i = 0; never_local[i] != NULL; i++)
			if (strcmp(name, never_local[i]) == 0)
				is_dynamic = true;
		if (strcmp(name, "postgresql") == 0)
			merge_local_postgresql(value, postgresql);
		else if (!is_dynamic)
			json_object_set_new(document, name,
			                    json_is_null(value) ? json_pack("{}") : json_deep_copy(value));
	}
	adjust_authentication(postgresql);
	if (json_object_get(document, "name") == NULL && json_object_get(postgresql, "name") != NULL)
		json_object_set(document, "name", json_object_get(postgresql, "name"));
	return document;
}

/* --- reading values out of it --- */

/* A text of the effective document; false after an error has been listed. */
static bool
take_text(const Merge *merge, const json_t *document, const char *dotted, char *to, size_t size,
          const char *otherwise)
{
	const json_t *value = document_get(document, dotted);
	char shown[80];
	const char *leaf = strrchr(dotted, '.');

	if (value == NULL || json_is_null(value) ||
	    (json_is_string(value) && json_string_value(value)[0] == '\0') ||
	    (json_is_object(value) && json_object_size(value) == 0))
	{
		snprintf(to, size, "%s", otherwise);
		return true;
	}
	/* A boolean here was a word like "on" in the file. */
	if (value_to_text(value, to, size) && !json_is_boolean(value))
		return true;
	to[0] = '\0';
	value_show(leaf ? leaf + 1 : dotted, value, shown, sizeof(shown));
	if (json_is_string(value))
		report(&merge->reporter, true, dotted, false, "the text is too long, at most %zu bytes fit",
		       size - 1);
	else
		report(&merge->reporter, true, dotted, false, "%s is not a text%s", shown,
		       json_is_boolean(value) ? " (put it in quotes)" : "");
	return false;
}

/* A path, made absolute. */
static bool
take_path(const Merge *merge, const json_t *document, const char *dotted, char *to,
          const char *otherwise)
{
	char given[SETTINGS_PATH_MAX];
	int n;

	if (!take_text(merge, document, dotted, given, sizeof(given), otherwise))
		return false;
	if (given[0] == '\0' || given[0] == '/')
		n = snprintf(to, SETTINGS_PATH_MAX, "%s", given);
	else
		n = snprintf(to, SETTINGS_PATH_MAX, "%s%s%s", merge->local->directory,
		             strcmp(merge->local->directory, "/") == 0 ? "" : "/", given);
	if (n >= SETTINGS_PATH_MAX)
	{
		to[0] = '\0';
		report(&merge->reporter, true, dotted, false, "the absolute path is longer than %d bytes",
		       SETTINGS_PATH_MAX - 1);
		return false;
	}
	/* "/" alone stays, other directories end without one. */
	while (n > 1 && to[n - 1] == '/')
		to[--n] = '\0';
	return true;
}

static void
take_bool(const Merge *merge, const Reporter *reporter, const json_t *document, const char *dotted,
          bool *to, bool otherwise)
{
	const json_t *value = document_get(document, dotted);
	char shown[80];

	(void) merge;
	*to = otherwise;
	if (value == NULL || json_is_null(value) || value_to_bool(value, to))
		return;
	*to = otherwise;
	value_show(dotted, value, shown, sizeof(shown));
	report(reporter, false, dotted, false, "%s is not a boolean, %s is used", shown,
	       otherwise ? "on" : "off");
}

/* An integer of the dynamic configuration; wrong ones get the default. */
static int64_t
dynamic_int(const Merge *merge, const char *name, const char *alias, const char *unit,
            int64_t otherwise, int64_t minimum, int64_t maximum)
{
	const json_t *value = json_object_get(merge->dynamic, name);
	int64_t result;
	char shown[80];

	if (value == NULL && alias != NULL)
	{
		name = alias;
		value = json_object_get(merge->dynamic, alias);
	}
	if (value == NULL || json_is_null(value))
		return otherwise;
	value_show(name, value, shown, sizeof(shown));
	if (!value_to_int(value, unit, &result))
	{
		report(&merge->dynamic_reporter, false, name, false, "%s is not an integer, %lld is used",
		       shown, (long long) otherwise);
		return otherwise;
	}
	if (result < minimum || result > maximum)
	{
		result = result < minimum ? minimum : maximum;
		report(&merge->dynamic_reporter, false, name, false, "%s is out of range, %lld is used",
		       shown, (long long) result);
	}
	return result;
}

/* A budget of the dynamic section "health", in ms. */
static int64_t
health_timeout_ms(const Merge *merge, const char *dotted, int64_t otherwise_s)
{
	const json_t *value = document_get(merge->dynamic, dotted);
	int64_t seconds;
	char shown[80];

	if (value == NULL || json_is_null(value))
		return otherwise_s * 1000;
	value_show(dotted, value, shown, sizeof(shown));
	if (!value_to_int(value, "s", &seconds) || seconds < 0 || seconds > SECONDS_MAX)
	{
		report(&merge->dynamic_reporter, false, dotted, false,
		       "%s is not a number of seconds, %lld is used", shown, (long long) otherwise_s);
		seconds = otherwise_s;
	}
	return seconds * 1000;
}

/* --- the parts --- */

/* ttl, loop_wait or retry_timeout: not an integer is an error. */
static bool
timing_int(const Merge *merge, const char *name, int64_t otherwise, int64_t minimum,
           int64_t *result)
{
	const json_t *value = json_object_get(merge->dynamic, name);
	char shown[80];

	*result = otherwise;
	if (value == NULL || json_is_null(value))
		return true;
	value_show(name, value, shown, sizeof(shown));
	if (!value_to_int(value, NULL, result))
	{
		report(&merge->dynamic_reporter, true, name, false, "%s is not an integer", shown);
		return false;
	}
	if (*result > SECONDS_MAX)
	{
		report(&merge->dynamic_reporter, true, name, false, "%s is too large, the maximum is %d",
		       shown, SECONDS_MAX);
		return false;
	}
	if (*result < minimum)
	{
		report(&merge->dynamic_reporter, false, name, false, "%s is too small, %lld is used", shown,
		       (long long) minimum);
		*result = minimum;
	}
	return true;
}

static bool
merge_timing(Merge *merge, json_t *document)
{
	int64_t ttl;
	int64_t loop_wait;
	int64_t retry_timeout;
	int64_t given_loop_wait;
	int64_t given_retry_timeout;
	bool ok;

	ok = timing_int(merge, "ttl", 30, TTL_MIN, &ttl);
	ok = timing_int(merge, "loop_wait", 10, 1, &loop_wait) && ok;
	ok = timing_int(merge, "retry_timeout", 10, 1, &retry_timeout) && ok;
	if (!ok)
		return false;
	given_loop_wait = loop_wait;
	given_retry_timeout = retry_timeout;
	if (ttl < TTL_OF_PATRONI)
	{
		report(&merge->dynamic_reporter, false, "ttl", false,
		       "Patroni members in the same cluster want a ttl of at least 20");
		if (retry_timeout > ttl)
			retry_timeout = ttl;
		if (loop_wait > ttl / 2)
			loop_wait = ttl / 2;
	}
	else if (1 + 2 * retry_timeout > ttl)
	{
		loop_wait = 1;
		retry_timeout = (ttl - 1) / 2;
	}
	else if (loop_wait + 2 * retry_timeout > ttl)
		loop_wait = ttl - 2 * retry_timeout;
	if (loop_wait != given_loop_wait)
		report(&merge->dynamic_reporter, false, "loop_wait", false,
		       "%lld does not fit a ttl of %lld, %lld is used", (long long) given_loop_wait,
		       (long long) ttl, (long long) loop_wait);
	if (retry_timeout != given_retry_timeout)
		report(&merge->dynamic_reporter, false, "retry_timeout", false,
		       "%lld does not fit a ttl of %lld, %lld is used", (long long) given_retry_timeout,
		       (long long) ttl, (long long) retry_timeout);
	merge->to->ttl_ms = ttl * 1000;
	merge->to->loop_wait_ms = loop_wait * 1000;
	merge->to->retry_timeout_ms = retry_timeout * 1000;
	json_object_set_new(document, "ttl", json_integer(ttl));
	json_object_set_new(document, "loop_wait", json_integer(loop_wait));
	json_object_set_new(document, "retry_timeout", json_integer(retry_timeout));
	return true;
}

static void
merge_dynamic(Merge *merge, const json_t *document)
{
	Settings *to = merge->to;
	const json_t *mode = json_object_get(merge->dynamic, "synchronous_mode");
	const Reporter *reporter = &merge->dynamic_reporter;
	bool is_on = false;

	take_bool(merge, reporter, merge->dynamic, "pause", &to->is_paused, false);
	take_bool(merge, reporter, merge->dynamic, "check_timeline", &to->check_timeline, false);
	take_bool(merge, reporter, merge->dynamic, "failsafe_mode", &to->failsafe_mode, false);
	take_bool(merge, reporter, merge->dynamic, "synchronous_mode_strict",
	          &to->synchronous_mode_strict, false);
	take_bool(merge, reporter, document, "postgresql.use_slots", &to->use_slots, true);
	if (json_is_string(mode) && ascii_is_same(json_string_value(mode), "quorum"))
		to->synchronous_mode = SYNC_MODE_QUORUM;
	else
	{
		take_bool(merge, reporter, merge->dynamic, "synchronous_mode", &is_on, false);
		to->synchronous_mode = is_on ? SYNC_MODE_ON : SYNC_MODE_OFF;
	}
	to->synchronous_node_count = (int) dynamic_int(merge, "synchronous_node_count", NULL, NULL, 1,
	                                               to->synchronous_mode_strict ? 1 : 0, 1000);
	to->maximum_lag_on_failover =
	    dynamic_int(merge, "maximum_lag_on_failover", NULL, NULL, 1048576, 0, INT64_MAX);
	to->maximum_lag_on_syncnode =
	    dynamic_int(merge, "maximum_lag_on_syncnode", NULL, NULL, -1, -1, INT64_MAX);
	to->max_timelines_history =
	    (int) dynamic_int(merge, "max_timelines_history", NULL, NULL, 0, 0, INT32_MAX);
	to->primary_start_timeout_ms =
	    1000 * dynamic_int(merge, "primary_start_timeout", "master_start_timeout", NULL, 300, 0,
	                       SECONDS_MAX);
	to->primary_stop_timeout_ms =
	    1000 *
	    dynamic_int(merge, "primary_stop_timeout", "master_stop_timeout", NULL, 0, 0, SECONDS_MAX);
	to->member_slots_ttl_ms =
	    1000 * dynamic_int(merge, "member_slots_ttl", NULL, "s", 1800, 0, SECONDS_MAX);
	to->health_connect_timeout_ms = health_timeout_ms(merge, "health.connect_timeout", 15);
	to->health_disk_timeout_ms = health_timeout_ms(merge, "health.disk_timeout", 30);
}

static bool
required_text(const Merge *merge, const json_t *document, const char *dotted, char *to, size_t size)
{
	if (!take_text(merge, document, dotted, to, size, ""))
		return false;
	if (to[0] != '\0')
		return true;
	report(&merge->reporter, true, dotted, true, "\"%s\" is required", dotted);
	return false;
}

static bool
merge_identity(Merge *merge, const json_t *document, bool with_name)
{
	Settings *to = merge->to;
	char raw[512];
	size_t n = 0;
	bool ok = true;

	if (with_name)
	{
		ok = required_text(merge, document, "name", to->name, sizeof(to->name));
		if (strchr(to->name, '/') != NULL || strcmp(to->name, PLACEHOLDER_NAME) == 0)
		{
			report(&merge->reporter, true, "name", false, "\"%s\" cannot be the name of a member",
			       to->name);
			ok = false;
		}
	}
	ok = required_text(merge, document, "scope", to->scope, sizeof(to->scope)) && ok;
	if (strchr(to->scope, '/') != NULL)
	{
		report(&merge->reporter, true, "scope", false, "\"%s\" cannot contain a slash", to->scope);
		ok = false;
	}
	ok = take_text(merge, document, "namespace", to->namespace_, sizeof(to->namespace_),
	               "service") &&
	     ok;
	snprintf(raw, sizeof(raw), "/%s/%s", to->namespace_, to->scope);
	for (const char *p = raw; *p != '\0' && n + 1 < sizeof(to->base); p++)
		if (*p != '/' || n == 0 || to->base[n - 1] != '/')
			to->base[n++] = *p;
	to->base[n] = '\0';
	if (json_is_integer(document_get(document, "citus.group")) &&
	    json_is_string(document_get(document, "citus.database")))
	{
		report(&merge->reporter, true, "citus", true,
		       "Citus clusters are not supported by this release");
		ok = false;
	}
	return ok;
}

/*
 * Split "host:port", "[::1]:5432", "a,b:5432".  Without a port it is
 * "otherwise"; 0 means that a port is required.
 */
static bool
split_address(const char *text, char *host, size_t size, int *port, int otherwise)
{
	const char *colon = strrchr(text, ':');
	const char *bracket = strrchr(text, ']');
	size_t n = strlen(text);
	size_t used = 0;
	int64_t number = otherwise;

	if (colon != NULL && bracket != NULL && colon < bracket)
		colon = NULL; /* inside the brackets */
	/* More than one colon, no brackets, no list: a bare IPv6 address. */
	if (colon != NULL && bracket == NULL && strchr(text, ',') == NULL &&
	    memchr(text, ':', (size_t) (colon - text)) != NULL)
		colon = NULL;
	if (colon != NULL)
	{
		if (strspn(colon + 1, "0123456789") != strlen(colon + 1) ||
		    !text_to_int(colon + 1, NULL, &number) || colon[1] == '0')
			return false;
		n = (size_t) (colon - text);
	}
	if (number < 1 || number > 65535)
		return false;
	for (size_t i = 0; i < n; i++)
		if (text[i] != '[' && text[i] != ']' && text[i] != ' ')
		{
			if (used + 1 >= size)
				return false;
			host[used++] = text[i];
		}
	host[used] = '\0';
	*port = (int) number;
	return used > 0;
}

/* "host:port" with brackets where they are needed. */
static void
join_address(char *to, size_t size, const char *host, int port)
{
	bool is_ipv6 = strchr(host, ':') != NULL;

	snprintf(to, size, "%s%s%s:%d", is_ipv6 ? "[" : "", host, is_ipv6 ? "]" : "", port);
}

static bool
take_address(const Merge *merge, const json_t *document, const char *dotted, char *host,
             size_t size, int *port, int otherwise)
{
	char text[512];

	if (!take_text(merge, document, dotted, text, sizeof(text), ""))
		return false;
	if (text[0] == '\0' || split_address(text, host, size, port, otherwise))
		return true;
	report(&merge->reporter, true, dotted, false, "\"%s\" is not an address like \"%s\"", text,
	       strcmp(dotted, "postgresql.listen") == 0 ? "127.0.0.1,10.0.0.1:5432" : "10.0.0.1:8008");
	return false;
}

/* Addresses that stand for all of a host's: nobody can connect to them. */
static bool
is_any_address(const char *host)
{
	return strcmp(host, "*") == 0 || strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
}

static bool
merge_restapi(Merge *merge, const json_t *document)
{
	Settings *to = merge->to;
	char host[256] = "";
	char certfile[SETTINGS_PATH_MAX];
	int port = 0;

	if (!required_text(merge, document, "restapi.listen", certfile, sizeof(certfile)) ||
	    !take_address(merge, document, "restapi.listen", to->restapi_listen.host,
	                  sizeof(to->restapi_listen.host), &to->restapi_listen.port, 0) ||
	    !take_address(merge, document, "restapi.connect_address", host, sizeof(host), &port, 0) ||
	    !take_path(merge, document, "restapi.certfile", certfile, ""))
		return false;
	if (host[0] == '\0')
	{
		snprintf(host, sizeof(host), "%s", to->restapi_listen.host);
		port = to->restapi_listen.port;
	}
	if (is_any_address(host))
		report(&merge->reporter, false, "restapi.connect_address", false,
		       "other members cannot connect to \"%s\"; set restapi.connect_address", host);
	to->restapi_is_tls = certfile[0] != '\0';
	join_address(to->restapi_connect_address, sizeof(to->restapi_connect_address), host, port);
	snprintf(to->api_url, sizeof(to->api_url), "%s://%s/patroni",
	         to->restapi_is_tls ? "https" : "http", to->restapi_connect_address);
	return true;
}

/* Where this host itself reaches its server. */
static void
local_address(const char *listen_addresses, char *host, size_t size)
{
	char copy[512];
	char *rest = NULL;
	char *first = NULL;

	snprintf(copy, sizeof(copy), "%s", listen_addresses);
	for (char *item = strtok_r(copy, ",", &rest); item != NULL; item = strtok_r(NULL, ",", &rest))
	{
		if (first == NULL)
			first = item;
		if (is_any_address(item) || strcmp(item, "127.0.0.1") == 0 ||
		    ascii_is_same(item, "localhost"))
		{
			snprintf(host, size, "localhost");
			return;
		}
	}
	snprintf(host, size, "%s", first != NULL ? first : "localhost");
}

static bool
merge_addresses(Merge *merge, const json_t *document)
{
	Settings *to = merge->to;
	char text[512];
	char proxy[256] = "";
	int proxy_port = 0;

	if (!required_text(merge, document, "postgresql.listen", text, sizeof(text)) ||
	    !take_text(merge, document, "postgresql.database", to->database, sizeof(to->database),
	               "postgres") ||
	    !take_address(merge, document, "postgresql.listen", to->listen_addresses,
	                  sizeof(to->listen_addresses), &to->port, 5432) ||
	    !take_address(merge, document, "postgresql.connect_address", to->connect_host,
	                  sizeof(to->connect_host), &to->connect_port, to->port) ||
	    !take_address(merge, document, "postgresql.proxy_address", proxy, sizeof(proxy),
	                  &proxy_port, to->port))
		return false;
	if (to->connect_host[0] == '\0')
	{
		local_address(to->listen_addresses, to->connect_host, sizeof(to->connect_host));
		to->connect_port = to->port;
		if (strchr(to->listen_addresses, ',') != NULL || is_any_address(to->listen_addresses))
			report(&merge->reporter, false, "postgresql.listen", false,
			       "other members are told to connect to \"%s\"; set postgresql.connect_address",
			       to->connect_host);
	}
	else if (is_any_address(to->connect_host))
		report(&merge->reporter, false, "postgresql.connect_address", false,
		       "other members cannot connect to \"%s\"", to->connect_host);
	join_address(text, sizeof(text), to->connect_host, to->connect_port);
	snprintf(to->conn_url, sizeof(to->conn_url), "postgres://%.300s/%s", text, to->database);
	if (proxy[0] != '\0')
	{
		join_address(text, sizeof(text), proxy, proxy_port);
		snprintf(to->proxy_url, sizeof(to->proxy_url), "postgres://%.300s/%s", text, to->database);
	}
	return true;
}

static bool
merge_credentials(const Merge *merge, const json_t *document, const char *user, Credentials *to)
{
	char path[128];
	const json_t *given;
	bool ok;

	snprintf(path, sizeof(path), "postgresql.authentication.%s", user);
	given = document_get(document, path);
	to->exists = json_is_object(given) && json_object_size(given) > 0;
	if (!to->exists)
		return true;
	snprintf(path, sizeof(path), "postgresql.authentication.%s.username", user);
	ok = take_text(merge, document, path, to->username, sizeof(to->username), "");
	snprintf(path, sizeof(path), "postgresql.authentication.%s.password", user);
	ok = take_text(merge, document, path, to->password, sizeof(to->password), "") && ok;
	to->options = json_deep_copy(given);
	json_object_del(to->options, "username");
	json_object_del(to->options, "password");
	if (json_object_size(to->options) == 0)
	{
		json_decref(to->options);
		to->options = NULL;
	}
	return ok;
}

static bool
merge_postgresql(Merge *merge, const json_t *document)
{
	Settings *to = merge->to;
	char pgpass[SETTINGS_PATH_MAX];
	const json_t *timeout = document_get(document, "postgresql.pg_ctl_timeout");
	const Reporter *reporter = &merge->reporter;
	int64_t seconds = 60;
	bool ok = merge_addresses(merge, document);

	snprintf(pgpass, sizeof(pgpass), "%.900s/pgpass", merge->local->home);
	if (required_text(merge, document, "postgresql.data_dir", to->data_dir, sizeof(to->data_dir)))
		ok = take_path(merge, document, "postgresql.data_dir", to->data_dir, "") && ok;
	else
		ok = false;
	ok = take_path(merge, document, "postgresql.config_dir", to->config_dir, to->data_dir) && ok;
	ok = take_text(merge, document, "postgresql.config_base_name", to->config_base_name,
	               sizeof(to->config_base_name), "postgresql") &&
	     ok;
	ok = take_path(merge, document, "postgresql.bin_dir", to->bin_dir, "") && ok;
	ok = take_path(merge, document, "postgresql.pgpass", to->pgpass, pgpass) && ok;
	ok = take_text(merge, document, "postgresql.pre_promote", to->pre_promote,
	               sizeof(to->pre_promote), "") &&
	     ok;
	ok = take_text(merge, document, "postgresql.before_stop", to->before_stop,
	               sizeof(to->before_stop), "") &&
	     ok;
	ok = merge_credentials(merge, document, "superuser", &to->superuser) && ok;
	ok = merge_credentials(merge, document, "replication", &to->replication) && ok;
	ok = merge_credentials(merge, document, "rewind", &to->rewind) && ok;
	if (!to->replication.exists)
	{
		report(reporter, true, "postgresql.authentication.replication", true,
		       "\"postgresql.authentication.replication\" is required: members replicate with it");
		ok = false;
	}
	take_bool(merge, reporter, document, "postgresql.use_unix_socket", &to->use_unix_socket, false);
	take_bool(merge, reporter, document, "postgresql.use_unix_socket_repl",
	          &to->use_unix_socket_repl, false);
	take_bool(merge, reporter, document, "postgresql.use_pg_rewind", &to->use_pg_rewind, false);
	take_bool(merge, reporter, document, "postgresql.remove_data_directory_on_rewind_failure",
	          &to->remove_data_directory_on_rewind_failure, false);
	take_bool(merge, reporter, document, "postgresql.remove_data_directory_on_diverged_timelines",
	          &to->remove_data_directory_on_diverged_timelines, false);
	if (timeout != NULL && !json_is_null(timeout) &&
	    (!value_to_int(timeout, NULL, &seconds) || seconds < 0 || seconds > SECONDS_MAX))
	{
		report(reporter, false, "postgresql.pg_ctl_timeout", false,
		       "the value is not a number of seconds, 60 is used");
		seconds = 60;
	}
	to->pg_ctl_timeout_ms = seconds * 1000;
	to->may_bootstrap = json_object_get(merge->local->document, "bootstrap") != NULL;
	return ok;
}

/* --- the store --- */

static bool
add_host(const Merge *merge, const char *dotted, const char *text, size_t length, int default_port)
{
	Settings *to = merge->to;
	char copy[300];
	char host[256];
	int port;

	while (length > 0 && (*text == ' ' || *text == '\t'))
		text++, length--;
	while (length > 0 && (text[length - 1] == ' ' || text[length - 1] == '\t'))
		length--;
	if (length == 0)
		return true;
	if (to->n_dcs_hosts == SETTINGS_HOSTS_MAX)
	{
		report(&merge->reporter, true, dotted, false, "more than %d hosts", SETTINGS_HOSTS_MAX);
		return false;
	}
	snprintf(copy, sizeof(copy), "%.*s", (int) (length < sizeof(copy) ? length : sizeof(copy) - 1),
	         text);
	if (length >= sizeof(copy) || strpbrk(copy, "/@, ") != NULL ||
	    !split_address(copy, host, sizeof(host), &port, default_port))
	{
		report(&merge->reporter, true, dotted, false, "%s is not an address like \"10.0.0.1:2379\"",
		       strchr(copy, '@') != NULL ? "(hidden)" : copy);
		return false;
	}
	join_address(to->dcs_hosts[to->n_dcs_hosts++], sizeof(to->dcs_hosts[0]), host, port);
	return true;
}

/* A list, or a text with commas. */
static bool
add_hosts(const Merge *merge, const char *dotted, const json_t *value, int default_port)
{
	size_t item_index;
	json_t *item;
	const char *text;

	if (json_is_array(value))
	{
		json_array_foreach((json_t *) value, item_index, item)
		{
			text = json_string_value(item);
			if (text == NULL)
			{
				report(&merge->reporter, true, dotted, false,
				       "item %zu of the list is not a text like \"10.0.0.1:2379\"", item_index + 1);
				return false;
			}
			if (!add_host(merge, dotted, text, strlen(text), default_port))
				return false;
		}
		return true;
	}
	text = json_string_value(value);
	if (text == NULL)
	{
		report(&merge->reporter, true, dotted, false, "the value is not a list of hosts");
		return false;
	}
	while (*text != '\0')
	{
		size_t n = strcspn(text, ",");

		if (!add_host(merge, dotted, text, n, default_port))
			return false;
		text += n + (text[n] == ',');
	}
	return true;
}

/* Decode %xx of the user part of a URL. */
static void
percent_decode(const char *from, size_t length, char *to, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < length && n + 1 < size; i++)
	{
		unsigned byte;

		if (from[i] == '%' && i + 2 < length && sscanf(from + i + 1, "%2x", &byte) == 1 &&
		    byte != 0)
		{
			to[n++] = (char) byte;
			i += 2;
		}
		else
			to[n++] = from[i];
	}
	to[n] = '\0';
}

/* "https://user:password@host:2379" */
static bool
take_url(const Merge *merge, const char *dotted, const char *url)
{
	Settings *to = merge->to;
	const char *p = strstr(url, "://");
	const char *at;
	const char *colon;
	size_t n;

	n = p != NULL ? (size_t) (p - url) : 0;
	if (p == NULL || !((n == 4 && ascii_is_same_part(url, "http", 4)) ||
	                   (n == 5 && ascii_is_same_part(url, "https", 5))))
	{
		report(&merge->reporter, true, dotted, false,
		       "the value is not a URL like \"https://10.0.0.1:2379\"");
		return false;
	}
	snprintf(to->dcs_protocol, sizeof(to->dcs_protocol), "%s", n == 4 ? "http" : "https");
	p += 3;
	n = strcspn(p, "/?#");
	at = memrchr(p, '@', n);
	to->dcs_username[0] = to->dcs_password[0] = '\0';
	if (at != NULL)
	{
		colon = memchr(p, ':', (size_t) (at - p));
		percent_decode(p, (size_t) ((colon != NULL ? colon : at) - p), to->dcs_username,
		               sizeof(to->dcs_username));
		if (colon != NULL)
			percent_decode(colon + 1, (size_t) (at - colon - 1), to->dcs_password,
			               sizeof(to->dcs_password));
		n -= (size_t) (at + 1 - p);
		p = at + 1;
	}
	return add_host(merge, dotted, p, n, 2379);
}

static bool
merge_etcd3(Merge *merge, const json_t *document)
{
	Settings *to = merge->to;
	const json_t *section = json_object_get(document, "etcd3");
	const json_t *proxy = json_object_get(section, "proxy");
	const json_t *url = json_object_get(section, "url");
	const json_t *port_value = json_object_get(section, "port");
	int64_t port = 2379;
	bool ok = true;

	snprintf(to->dcs_driver, sizeof(to->dcs_driver), "etcd3");
	ok = take_text(merge, document, "etcd3.protocol", to->dcs_protocol, sizeof(to->dcs_protocol),
	               "http");
	ok = take_text(merge, document, "etcd3.username", to->dcs_username, sizeof(to->dcs_username),
	               "") &&
	     ok;
	ok = take_text(merge, document, "etcd3.password", to->dcs_password, sizeof(to->dcs_password),
	               "") &&
	     ok;
	ok = take_path(merge, document, "etcd3.cacert", to->dcs_cacert, "") && ok;
	ok = take_path(merge, document, "etcd3.cert", to->dcs_cert, "") && ok;
	ok = take_path(merge, document, "etcd3.key", to->dcs_key, "") && ok;
	take_bool(merge, &merge->reporter, document, "etcd3.use_proxies", &to->dcs_use_proxies, false);
	if (!ok)
		return false;
	if (port_value != NULL && !json_is_null(port_value) &&
	    (!value_to_int(port_value, NULL, &port) || port < 1 || port > 65535))
	{
		report(&merge->reporter, true, "etcd3.port", false, "the value is not a port (1 to 65535)");
		return false;
	}
	for (char *p = to->dcs_protocol; *p != '\0'; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char) (*p + 'a' - 'A');
	if (json_is_string(proxy) && json_string_value(proxy)[0] != '\0')
	{
		/* A proxy that speaks etcd: the only endpoint, taken as it is. */
		to->dcs_use_proxies = true;
		ok = take_url(merge, "etcd3.proxy", json_string_value(proxy));
	}
	else if (json_is_string(url) && json_string_value(url)[0] != '\0')
		ok = take_url(merge, "etcd3.url", json_string_value(url));
	else if (json_is_string(json_object_get(section, "srv")) ||
	         json_is_string(json_object_get(section, "discovery_srv")) ||
	         json_is_string(json_object_get(section, "srv_domain")))
	{
		report(
		    &merge->reporter, true, "etcd3", true,
		    "finding etcd through DNS SRV records is not supported by this release; use \"hosts\"");
		return false;
	}
	else if (json_object_get(section, "hosts") != NULL &&
	         !json_is_null(json_object_get(section, "hosts")))
		ok = add_hosts(merge, "etcd3.hosts", json_object_get(section, "hosts"), (int) port);
	else if (json_object_get(section, "host") != NULL)
		ok = add_hosts(merge, "etcd3.host", json_object_get(section, "host"), (int) port);
	if (ok && to->n_dcs_hosts == 0)
	{
		report(&merge->reporter, true, "etcd3", true,
		       "one of \"hosts\", \"host\", \"url\" and \"proxy\" is required in \"etcd3\"");
		ok = false;
	}
	return ok;
}

/* The first configured store in Patroni's order; so far one is supported. */
static bool
merge_store(Merge *merge, const json_t *document)
{
	static const char *const stores[] = {
		"consul", "etcd", "etcd3", "exhibitor", "kubernetes", "raft", "zookeeper", NULL,
	};

	for (int i = 0; stores[i] != NULL; i++)
	{
		if (json_object_get(merge->local->document, stores[i]) == NULL)
			continue;
		if (strcmp(stores[i], "etcd3") == 0)
			return merge_etcd3(merge, document);
		if (strcmp(stores[i], "etcd") == 0)
			report(&merge->reporter, true, stores[i], true,
			       "the store \"etcd\" (API version 2) is not supported by this release; "
			       "rename the section to \"etcd3\" if the servers are etcd 3.4 or newer");
		else
			report(&merge->reporter, true, stores[i], true,
			       "the store \"%s\" is not supported by this release; use \"etcd3\"", stores[i]);
		return false;
	}
	report(&merge->reporter, true, "etcd3", true,
	       "there is no section for a consensus store; this release supports \"etcd3\"");
	return false;
}

/* --- tags --- */

static void
warn_contradiction(const Merge *merge, const json_t *tags, const char *flag, const char *priority)
{
	const json_t *flag_value = json_object_get(tags, flag);
	const json_t *priority_value = json_object_get(tags, priority);
	bool truth;
	int64_t number;
	char path[64];

	if (flag_value == NULL || priority_value == NULL || !value_to_bool(flag_value, &truth) ||
	    !value_to_int(priority_value, NULL, &number) || truth == (number <= 0))
		return;
	snprintf(path, sizeof(path), "tags.%s", flag);
	report(&merge->reporter, false, path, false, "\"%s: %s\" contradicts \"%s: %lld\", \"%s\" wins",
	       flag, truth ? "true" : "false", priority, (long long) number, flag);
}

/* Effective tags: Patroni 4.x, patroni/tags.py, _filter_tags(). */
static bool
merge_tags(Merge *merge, const json_t *document)
{
	static const char *const flags[] = {
		"clonefrom", "nofailover", "noloadbalance", "nosync", "nostream", NULL,
	};
	json_t *tags = json_object_get(document, "tags");
	json_t *kept = json_pack("{}");
	const char *name;
	json_t *value;

	json_object_foreach(tags, name, value)
	{
		bool is_flag = false;

		for (int i = 0; flags[i] != NULL; i++)
			if (strcmp(flags[i], name) == 0)
				is_flag = true;
		if (!is_flag || value_is_true(value) ||
		    (strcmp(name, "nofailover") == 0 &&
		     json_object_get(tags, "failover_priority") != NULL) ||
		    (strcmp(name, "nosync") == 0 && json_object_get(tags, "sync_priority") != NULL))
			json_object_set(kept, name, value);
	}
	warn_contradiction(merge, tags, "nofailover", "failover_priority");
	warn_contradiction(merge, tags, "nosync", "sync_priority");
	if (json_object_size(kept) > 0)
		merge->to->tags_json = json_dumps(kept, JSON_COMPACT | JSON_ENSURE_ASCII);
	json_decref(kept);
	member_tags_from_json(&merge->to->tags, merge->to->tags_json);
	return true;
}

/* --- all of it --- */

/*
 * Features whose keys we know and do not act upon.  Where it would be dangerous
 * not to, the configuration is refused: the leader of a standby cluster is no
 * primary.
 */
static bool
check_not_applied(const Merge *merge, const json_t *document)
{
	static const char *const not_applied[] = {
		"postgresql.parameters_primary",
		"postgresql.parameters_replica",
		"postgresql.parameters_standby_leader",
		"postgresql.pg_hba_primary",
		"postgresql.pg_hba_replica",
		"postgresql.pg_hba_standby_leader",
		"postgresql.pg_ident_primary",
		"postgresql.pg_ident_replica",
		"postgresql.pg_ident_standby_leader",
		NULL,
	};

	for (int i = 0; not_applied[i] != NULL; i++)
		if (value_is_true(document_get(document, not_applied[i])))
			report(&merge->reporter, false, not_applied[i], true,
			       "settings for one role are not applied by this release");
	if (value_is_true(document_get(document, "postgresql.pre_promote")))
		report(&merge->reporter, false, "postgresql.pre_promote", true,
		       "the command is not run by this release");
	if (value_is_true(document_get(document, "standby_cluster.host")) ||
	    value_is_true(document_get(document, "standby_cluster.port")) ||
	    value_is_true(document_get(document, "standby_cluster.restore_command")))
	{
		report(&merge->dynamic_reporter, true, "standby_cluster", true,
		       "standby clusters are not supported by this release");
		return false;
	}
	return true;
}

static const json_t *
load_dynamic(const char *dynamic_json, ConfigProblems *problems)
{
	json_error_t where;
	json_t *dynamic;

	if (dynamic_json == NULL || dynamic_json[0] == '\0')
		return json_pack("{}");
	dynamic = json_loads(dynamic_json, 0, &where);
	if (json_is_object(dynamic))
		return dynamic;
	problem_at(problems, true, "dynamic configuration", "", "it is not a JSON object%s%s",
	           dynamic == NULL ? ": " : "", dynamic == NULL ? where.text : "");
	json_decref(dynamic);
	return NULL;
}

static void
merge_begin(Merge *merge, Settings *to, const LocalConfig *local, ConfigProblems *problems)
{
	memset(merge, 0, sizeof(*merge));
	settings_init(to);
	merge->to = to;
	merge->local = local;
	merge->reporter.problems = problems;
	merge->reporter.places = &local->places;
	merge->reporter.fallback = local->source;
	merge->dynamic_reporter.problems = problems;
	merge->dynamic_reporter.fallback = "dynamic configuration";
}

/* Merge everything into *settings; see settings.h. */
bool
settings_merge(Settings *settings, const LocalConfig *local, const char *dynamic_json,
               ConfigProblems *problems)
{
	Settings next;
	Merge merge;
	json_t *document;
	bool ok;

	merge_begin(&merge, &next, local, problems);
	merge.dynamic = load_dynamic(dynamic_json, problems);
	if (merge.dynamic == NULL)
		return false;
	document = effective_document(&merge);
	if (document == NULL)
	{
		problem_at(problems, true, local->source, "", "out of memory");
		json_decref((json_t *) merge.dynamic);
		return false;
	}
	next.document = document;
	ok = merge_timing(&merge, document);
	merge_dynamic(&merge, document);
	ok = merge_identity(&merge, document, true) && ok;
	ok = merge_store(&merge, document) && ok;
	ok = merge_restapi(&merge, document) && ok;
	ok = merge_postgresql(&merge, document) && ok;
	ok = merge_tags(&merge, document) && ok;
	ok = pgbouncer_settings(&next, document, &merge.reporter) && ok;
	ok = check_not_applied(&merge, document) && ok;
	json_decref((json_t *) merge.dynamic);
	if (!ok)
	{
		settings_free(&next);
		return false;
	}
	settings_free(settings);
	*settings = next;
	return true;
}

/*
 * Only what a program needs that talks to the store and to members: scope,
 * namespace and store.  For the command line, whose file may have no more.
 */
bool
settings_for_client(Settings *settings, const LocalConfig *local, ConfigProblems *problems)
{
	Settings next;
	Merge merge;
	bool ok;

	merge_begin(&merge, &next, local, problems);
	next.ttl_ms = 30000;
	next.loop_wait_ms = next.retry_timeout_ms = 10000;
	next.document = json_deep_copy(local->document);
	ok = next.document != NULL && merge_identity(&merge, next.document, false);
	ok = merge_store(&merge, next.document) && ok;
	if (!ok)
	{
		settings_free(&next);
		return false;
	}
	settings_free(settings);
	*settings = next;
	return true;
}
