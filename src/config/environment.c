/*-------------------------------------------------------------------------
 *
 * environment.c
 *      The PATRONI_* variables, laid over the file (Patroni's documentation,
 *      "Environment Configuration Settings").
 *
 * One table says which variable is which key.  The sections of stores follow
 * a pattern instead: PATRONI_<SECTION>_<SUFFIX>.
 *-------------------------------------------------------------------------
 */
#include "config/config_internal.h"
#include "cluster/ascii.h"

#include <stdlib.h>
#include <string.h>

#define PREFIX        "PATRONI_"
#define PREFIX_LENGTH 8

extern char **environ;

typedef enum VariableKind
{
	VARIABLE_TEXT,
	VARIABLE_INT,
	VARIABLE_REAL,
	VARIABLE_BOOL,
	VARIABLE_LIST,
	VARIABLE_MAP,
	VARIABLE_FORMAT, /* a text, or a list without "%(" */
} VariableKind;

typedef struct Variable
{
	const char *name; /* without the prefix */
	const char *path; /* dotted */
	VariableKind kind;
} Variable;

static const Variable variables[] = {
	{ "NAME", "name", VARIABLE_TEXT },
	{ "NAMESPACE", "namespace", VARIABLE_TEXT },
	{ "SCOPE", "scope", VARIABLE_TEXT },
	{ "THREAD_POOL_SIZE", "thread_pool_size", VARIABLE_INT },
	{ "THREAD_STACK_SIZE", "thread_stack_size", VARIABLE_TEXT },
	/* Old names; environment_overlay() lets the new ones win. */
	{ "LOGLEVEL", "log.level", VARIABLE_TEXT },
	{ "LOGFORMAT", "log.format", VARIABLE_FORMAT },
	{ "LOG_DATEFMT", "log.dateformat", VARIABLE_TEXT },
	{ "LOG_TYPE", "log.type", VARIABLE_TEXT },
	{ "LOG_LEVEL", "log.level", VARIABLE_TEXT },
	{ "LOG_TRACEBACK_LEVEL", "log.traceback_level", VARIABLE_TEXT },
	{ "LOG_FORMAT", "log.format", VARIABLE_FORMAT },
	{ "LOG_DATEFORMAT", "log.dateformat", VARIABLE_TEXT },
	{ "LOG_STATIC_FIELDS", "log.static_fields", VARIABLE_MAP },
	{ "LOG_MAX_QUEUE_SIZE", "log.max_queue_size", VARIABLE_INT },
	{ "LOG_DIR", "log.dir", VARIABLE_TEXT },
	{ "LOG_MODE", "log.mode", VARIABLE_INT },
	{ "LOG_FILE_SIZE", "log.file_size", VARIABLE_INT },
	{ "LOG_FILE_NUM", "log.file_num", VARIABLE_INT },
	{ "LOG_LOGGERS", "log.loggers", VARIABLE_MAP },
	{ "LOG_DEDUPLICATE_HEARTBEAT_LOGS", "log.deduplicate_heartbeat_logs", VARIABLE_BOOL },
	{ "CITUS_GROUP", "citus.group", VARIABLE_INT },
	{ "CITUS_DATABASE", "citus.database", VARIABLE_TEXT },
	{ "POSTGRESQL_LISTEN", "postgresql.listen", VARIABLE_TEXT },
	{ "POSTGRESQL_CONNECT_ADDRESS", "postgresql.connect_address", VARIABLE_TEXT },
	{ "POSTGRESQL_PROXY_ADDRESS", "postgresql.proxy_address", VARIABLE_TEXT },
	{ "POSTGRESQL_CONFIG_DIR", "postgresql.config_dir", VARIABLE_TEXT },
	{ "POSTGRESQL_DATA_DIR", "postgresql.data_dir", VARIABLE_TEXT },
	{ "POSTGRESQL_PGPASS", "postgresql.pgpass", VARIABLE_TEXT },
	{ "POSTGRESQL_BIN_DIR", "postgresql.bin_dir", VARIABLE_TEXT },
	{ "POSTGRESQL_BIN_PG_CTL", "postgresql.bin_name.pg_ctl", VARIABLE_TEXT },
	{ "POSTGRESQL_BIN_INITDB", "postgresql.bin_name.initdb", VARIABLE_TEXT },
	{ "POSTGRESQL_BIN_PG_CONTROLDATA", "postgresql.bin_name.pg_controldata", VARIABLE_TEXT },
	{ "POSTGRESQL_BIN_PG_BASEBACKUP", "postgresql.bin_name.pg_basebackup", VARIABLE_TEXT },
	{ "POSTGRESQL_BIN_POSTGRES", "postgresql.bin_name.postgres", VARIABLE_TEXT },
	{ "POSTGRESQL_BIN_PG_ISREADY", "postgresql.bin_name.pg_isready", VARIABLE_TEXT },
	{ "POSTGRESQL_BIN_PG_REWIND", "postgresql.bin_name.pg_rewind", VARIABLE_TEXT },
	{ "RESTAPI_LISTEN", "restapi.listen", VARIABLE_TEXT },
	{ "RESTAPI_CONNECT_ADDRESS", "restapi.connect_address", VARIABLE_TEXT },
	{ "RESTAPI_USERNAME", "restapi.authentication.username", VARIABLE_TEXT },
	{ "RESTAPI_PASSWORD", "restapi.authentication.password", VARIABLE_TEXT },
	{ "RESTAPI_CERTFILE", "restapi.certfile", VARIABLE_TEXT },
	{ "RESTAPI_KEYFILE", "restapi.keyfile", VARIABLE_TEXT },
	{ "RESTAPI_KEYFILE_PASSWORD", "restapi.keyfile_password", VARIABLE_TEXT },
	{ "RESTAPI_CAFILE", "restapi.cafile", VARIABLE_TEXT },
	{ "RESTAPI_CIPHERS", "restapi.ciphers", VARIABLE_TEXT },
	{ "RESTAPI_VERIFY_CLIENT", "restapi.verify_client", VARIABLE_TEXT },
	{ "RESTAPI_HTTP_EXTRA_HEADERS", "restapi.http_extra_headers", VARIABLE_MAP },
	{ "RESTAPI_HTTPS_EXTRA_HEADERS", "restapi.https_extra_headers", VARIABLE_MAP },
	{ "RESTAPI_ALLOWLIST", "restapi.allowlist", VARIABLE_LIST },
	{ "RESTAPI_ALLOWLIST_INCLUDE_MEMBERS", "restapi.allowlist_include_members", VARIABLE_BOOL },
	{ "RESTAPI_REQUEST_QUEUE_SIZE", "restapi.request_queue_size", VARIABLE_INT },
	{ "RESTAPI_SERVER_TOKENS", "restapi.server_tokens", VARIABLE_TEXT },
	{ "CTL_USERNAME", "ctl.authentication.username", VARIABLE_TEXT },
	{ "CTL_PASSWORD", "ctl.authentication.password", VARIABLE_TEXT },
	{ "CTL_INSECURE", "ctl.insecure", VARIABLE_BOOL },
	{ "CTL_CACERT", "ctl.cacert", VARIABLE_TEXT },
	{ "CTL_CERTFILE", "ctl.certfile", VARIABLE_TEXT },
	{ "CTL_KEYFILE", "ctl.keyfile", VARIABLE_TEXT },
	{ "CTL_KEYFILE_PASSWORD", "ctl.keyfile_password", VARIABLE_TEXT },
	{ "RAFT_DATA_DIR", "raft.data_dir", VARIABLE_TEXT },
	{ "RAFT_SELF_ADDR", "raft.self_addr", VARIABLE_TEXT },
	{ "RAFT_PARTNER_ADDRS", "raft.partner_addrs", VARIABLE_LIST },
	{ "RAFT_PASSWORD", "raft.password", VARIABLE_TEXT },
	{ "RAFT_BIND_ADDR", "raft.bind_addr", VARIABLE_TEXT },
	{ "RAFT_MIN_TIMEOUT", "raft.min_timeout", VARIABLE_REAL },
	{ "RAFT_MAX_TIMEOUT", "raft.max_timeout", VARIABLE_REAL },
	{ "RAFT_CONNECTION_TIMEOUT", "raft.connection_timeout", VARIABLE_REAL },
	{ "RAFT_APPEND_ENTRIES_PERIOD", "raft.append_entries_period", VARIABLE_REAL },
	{ "RAFT_CONNECTION_RETRY_TIME", "raft.connection_retry_time", VARIABLE_REAL },
	{ "RAFT_LEADER_FALLBACK_TIMEOUT", "raft.leader_fallback_timeout", VARIABLE_REAL },
	{ "ETCD_USERNAME", "etcd.username", VARIABLE_TEXT },
	{ "ETCD_PASSWORD", "etcd.password", VARIABLE_TEXT },
	{ "ETCD3_USERNAME", "etcd3.username", VARIABLE_TEXT },
	{ "ETCD3_PASSWORD", "etcd3.password", VARIABLE_TEXT },
};

static const char *const credential_keys[] = {
	"USERNAME",    "PASSWORD", "SSLMODE",   "SSLCERT",    "SSLKEY",          "SSLPASSWORD",
	"SSLROOTCERT", "SSLCRL",   "SSLCRLDIR", "GSSENCMODE", "CHANNEL_BINDING", "SSLNEGOTIATION",
};

static const char *const credential_users[] = { "SUPERUSER", "REPLICATION", "REWIND" };

static const char *const store_sections[] = {
	"ETCD", "ETCD3", "CONSUL", "ZOOKEEPER", "EXHIBITOR", "KUBERNETES",
};

/* Suffixes of the store sections; the path is the suffix in lower case. */
static const Variable store_suffixes[] = {
	{ "HOST", NULL, VARIABLE_TEXT },
	{ "HOSTS", NULL, VARIABLE_LIST },
	{ "PORT", NULL, VARIABLE_INT },
	{ "USE_PROXIES", NULL, VARIABLE_BOOL },
	{ "PROTOCOL", NULL, VARIABLE_TEXT },
	{ "SRV", NULL, VARIABLE_TEXT },
	{ "SRV_SUFFIX", NULL, VARIABLE_TEXT },
	{ "URL", NULL, VARIABLE_TEXT },
	{ "PROXY", NULL, VARIABLE_TEXT },
	{ "CACERT", NULL, VARIABLE_TEXT },
	{ "CERT", NULL, VARIABLE_TEXT },
	{ "KEY", NULL, VARIABLE_TEXT },
	{ "VERIFY", NULL, VARIABLE_BOOL },
	{ "TOKEN", NULL, VARIABLE_TEXT },
	{ "CHECKS", NULL, VARIABLE_LIST },
	{ "DC", NULL, VARIABLE_TEXT },
	{ "CONSISTENCY", NULL, VARIABLE_TEXT },
	{ "REGISTER_SERVICE", NULL, VARIABLE_BOOL },
	{ "SERVICE_CHECK_INTERVAL", NULL, VARIABLE_TEXT },
	{ "SERVICE_CHECK_TLS_SERVER_NAME", NULL, VARIABLE_TEXT },
	{ "SERVICE_TAGS", NULL, VARIABLE_LIST },
	{ "NAMESPACE", NULL, VARIABLE_TEXT },
	{ "CONTEXT", NULL, VARIABLE_TEXT },
	{ "USE_ENDPOINTS", NULL, VARIABLE_BOOL },
	{ "SCOPE_LABEL", NULL, VARIABLE_TEXT },
	{ "ROLE_LABEL", NULL, VARIABLE_TEXT },
	{ "POD_IP", NULL, VARIABLE_TEXT },
	{ "PORTS", NULL, VARIABLE_LIST },
	{ "LABELS", NULL, VARIABLE_MAP },
	{ "BYPASS_API_SERVICE", NULL, VARIABLE_BOOL },
	{ "RETRIABLE_HTTP_CODES", NULL, VARIABLE_LIST },
	{ "KEY_PASSWORD", NULL, VARIABLE_TEXT },
	{ "USE_SSL", NULL, VARIABLE_TEXT },
	{ "SET_ACLS", NULL, VARIABLE_MAP },
	{ "LEADER_LABEL_VALUE", NULL, VARIABLE_TEXT },
	{ "FOLLOWER_LABEL_VALUE", NULL, VARIABLE_TEXT },
	{ "STANDBY_LEADER_LABEL_VALUE", NULL, VARIABLE_TEXT },
	{ "TMP_ROLE_LABEL", NULL, VARIABLE_TEXT },
	{ "AUTH_DATA", NULL, VARIABLE_MAP },
	{ "BOOTSTRAP_LABELS", NULL, VARIABLE_MAP },
};

#define N_OF(array) (sizeof(array) / sizeof((array)[0]))

static void
lower_copy(char *to, size_t size, const char *from)
{
	size_t i;

	for (i = 0; from[i] != '\0' && i + 1 < size; i++)
		to[i] = ascii_lower(from[i]);
	to[i] = '\0';
}

/*
 * What the variable of this name (without prefix) sets.  False when it is
 * none of ours.
 */
static bool
variable_find(const char *name, char *path, size_t size, VariableKind *kind)
{
	char key[64];

	for (size_t i = 0; i < N_OF(variables); i++)
		if (strcmp(variables[i].name, name) == 0)
		{
			snprintf(path, size, "%s", variables[i].path);
			*kind = variables[i].kind;
			return true;
		}
	for (size_t i = 0; i < N_OF(credential_users); i++)
	{
		size_t n = strlen(credential_users[i]);

		if (strncmp(name, credential_users[i], n) != 0 || name[n] != '_')
			continue;
		for (size_t j = 0; j < N_OF(credential_keys); j++)
			if (strcmp(name + n + 1, credential_keys[j]) == 0)
			{
				char user[32];

				lower_copy(user, sizeof(user), credential_users[i]);
				lower_copy(key, sizeof(key), credential_keys[j]);
				snprintf(path, size, "postgresql.authentication.%s.%s", user, key);
				*kind = VARIABLE_TEXT;
				return true;
			}
	}
	for (size_t i = 0; i < N_OF(store_sections); i++)
	{
		size_t n = strlen(store_sections[i]);

		if (strncmp(name, store_sections[i], n) != 0 || name[n] != '_')
			continue;
		for (size_t j = 0; j < N_OF(store_suffixes); j++)
			if (strcmp(name + n + 1, store_suffixes[j].name) == 0)
			{
				char section[32];

				lower_copy(section, sizeof(section), store_sections[i]);
				lower_copy(key, sizeof(key), store_suffixes[j].name);
				snprintf(path, size, "%s.%s", section, key);
				*kind = store_suffixes[j].kind;
				return true;
			}
	}
	return false;
}

/* "a, b" that is no YAML list: IPv6 addresses in brackets, for instance. */
static json_t *
split_list(const char *text)
{
	json_t *list = json_array();

	while (list != NULL && *text != '\0')
	{
		size_t n = strcspn(text, ",");
		size_t end = n;
		size_t start = 0;

		while (start < end && ascii_is_space(text[start]))
			start++;
		while (end > start && ascii_is_space(text[end - 1]))
			end--;
		if (end > start)
			json_array_append_new(list, json_stringn(text + start, end - start));
		text += n;
		if (*text == ',')
			text++;
	}
	return list;
}

/* A list or map written in one variable; NULL when it cannot be read. */
static json_t *
parse_yaml_value(const char *text, VariableKind kind, const char *place, int *n_nodes)
{
	const char *p = text + strspn(text, " \t\r\n");
	bool is_bare = kind == VARIABLE_MAP ? *p != '{' : !(*p == '-' || strchr(text, '[') != NULL);
	Places places = { 0 };
	ConfigProblems problems;
	json_t *value;
	char *wrapped = NULL;

	config_problems_init(&problems);
	if (is_bare && asprintf(&wrapped, kind == VARIABLE_MAP ? "{%s}" : "[%s]", text) < 0)
		return NULL;
	value = yaml_parse(wrapped ? wrapped : text, strlen(wrapped ? wrapped : text), place, &places,
	                   "", n_nodes, &problems);
	free(wrapped);
	config_problems_free(&problems);
	places_free(&places);
	if (kind == VARIABLE_MAP ? json_is_object(value) : json_is_array(value))
		return value;
	json_decref(value);
	return kind == VARIABLE_MAP ? NULL : split_list(text);
}

/* The value of a variable as JSON, or NULL and *wanted says what it should be. */
static json_t *
variable_value(const char *text, VariableKind kind, const char *place, int *n_nodes,
               const char **wanted)
{
	int64_t integer;
	double real;
	bool truth;

	switch (kind)
	{
		case VARIABLE_INT:
			*wanted = "an integer";
			return text_to_int(text, NULL, &integer) ? json_integer(integer) : NULL;
		case VARIABLE_REAL:
			*wanted = "a number";
			return text_to_real(text, NULL, &real) ? json_real(real) : NULL;
		case VARIABLE_BOOL:
			*wanted = "a boolean (on, off, true, false, yes, no, 1, 0)";
			return text_to_bool(text, &truth) ? json_boolean(truth) : NULL;
		case VARIABLE_LIST:
			*wanted = "a list";
			return parse_yaml_value(text, kind, place, n_nodes);
		case VARIABLE_MAP:
			*wanted = "a map (\"key: value, key: value\")";
			return parse_yaml_value(text, kind, place, n_nodes);
		case VARIABLE_FORMAT:
			if (strstr(text, "%(") == NULL)
			{
				*wanted = "a list";
				return parse_yaml_value(text, VARIABLE_LIST, place, n_nodes);
			}
			break;
		case VARIABLE_TEXT:
			break;
	}
	*wanted = "valid UTF-8";
	return json_string(text);
}

/* Put a value at a dotted path, making maps on the way. */
static bool
document_put(json_t *document, const char *dotted, json_t *value)
{
	char copy[CONFIG_PATH_MAX];
	char *step = copy;
	char *dot;

	snprintf(copy, sizeof(copy), "%s", dotted);
	while ((dot = strchr(step, '.')) != NULL)
	{
		json_t *next;

		*dot = '\0';
		next = json_object_get(document, step);
		if (!json_is_object(next))
		{
			next = json_pack("{}");
			if (next == NULL || json_object_set_new(document, step, next) != 0)
			{
				json_decref(value);
				return false;
			}
		}
		document = next;
		step = dot + 1;
	}
	return json_object_set_new(document, step, value) == 0;
}

/* The value of a variable in an environment, or NULL. */
const char *
environment_value(char **environment, const char *name)
{
	size_t n = strlen(name);

	for (; environment != NULL && *environment != NULL; environment++)
		if (strncmp(*environment, name, n) == 0 && (*environment)[n] == '=')
			return *environment + n + 1;
	return NULL;
}

static bool
overlay_one(LocalConfig *config, const char *name, const char *text, const char *path,
            VariableKind kind, int *n_nodes, ConfigProblems *problems)
{
	char place[160];
	char internal[CONFIG_PATH_MAX];
	const char *wanted;
	const char *leaf = strrchr(path, '.');
	json_t *value;
	int source;

	snprintf(place, sizeof(place), "environment variable %s%.100s", PREFIX, name);
	value = variable_value(text, kind, place, n_nodes, &wanted);
	if (value == NULL)
	{
		problem_at(problems, true, place, path, "\"%.100s\" is not %s",
		           text_is_secret(leaf ? leaf + 1 : path) ? "(hidden)" : text, wanted);
		return false;
	}
	source = places_add_source(&config->places, place);
	snprintf(internal, sizeof(internal), "%s", path);
	for (char *p = internal; *p != '\0'; p++)
		if (*p == '.')
			*p = CONFIG_SEP;
	if (source < 0 || !places_add(&config->places, internal, source, 0, 0, 0, 0, true))
	{
		json_decref(value);
		return false;
	}
	return document_put(config->document, path, value);
}

/*
 * Lay the recognised variables over the document.  Empty ones are ignored,
 * as are PATRONI_* variables that mean nothing (Kubernetes makes such ones).
 */
bool
environment_overlay(LocalConfig *config, char **environment, int *n_nodes, ConfigProblems *problems)
{
	bool ok = true;

	/* Twice, so that an old name never wins over a new one. */
	for (int pass = 0; pass < 2; pass++)
		for (char **entry = environment; entry != NULL && *entry != NULL; entry++)
		{
			const char *equals = strchr(*entry, '=');
			char name[128];
			char path[CONFIG_PATH_MAX];
			VariableKind kind;
			size_t n;

			if (strncmp(*entry, PREFIX, PREFIX_LENGTH) != 0 || equals == NULL || equals[1] == '\0')
				continue;
			n = (size_t) (equals - *entry) - PREFIX_LENGTH;
			if (n >= sizeof(name))
				continue;
			memcpy(name, *entry + PREFIX_LENGTH, n);
			name[n] = '\0';
			if (!variable_find(name, path, sizeof(path), &kind))
				continue;
			/* The old names are LOGLEVEL, LOGFORMAT and LOG_DATEFMT. */
			if ((strncmp(name, "LOGLEVEL", 8) == 0 || strncmp(name, "LOGFORMAT", 9) == 0 ||
			     strcmp(name, "LOG_DATEFMT") == 0) != (pass == 0))
				continue;
			if (!overlay_one(config, name, equals + 1, path, kind, n_nodes, problems))
				ok = false;
		}
	return ok;
}

/* Take the recognised variables out of this process, so that no child has them. */
void
local_config_scrub_environment(void)
{
	char **entry = environ;

	unsetenv(PREFIX "CONFIGURATION");
	while (entry != NULL && *entry != NULL)
	{
		const char *equals = strchr(*entry, '=');
		char name[160];
		char path[CONFIG_PATH_MAX];
		VariableKind kind;
		size_t n = equals != NULL ? (size_t) (equals - *entry) : 0;

		if (n > PREFIX_LENGTH && n < sizeof(name) && strncmp(*entry, PREFIX, PREFIX_LENGTH) == 0)
		{
			memcpy(name, *entry, n);
			name[n] = '\0';
			if (variable_find(name + PREFIX_LENGTH, path, sizeof(path), &kind))
			{
				unsetenv(name);
				entry = environ; /* unsetenv moves the rest */
				continue;
			}
		}
		entry++;
	}
}
