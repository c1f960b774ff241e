/*-------------------------------------------------------------------------
 *
 * schema.c
 *      Every key of Patroni's configuration and what its value has to be.
 *
 * One row per key; a row whose kind is KEY_SECTION has rows of its own.  A key
 * without a row is a warning (with the nearest known key, for it is mostly a
 * typing error); a value that does not fit is an error.  Keys of stores and
 * features that this release does not have are known here all the same: one
 * message says that, elsewhere, and not one per key.
 *-------------------------------------------------------------------------
 */
#include "config/config_internal.h"
#include "cluster/ascii.h"

#include <stdlib.h>
#include <string.h>

typedef enum KeyKind
{
	KEY_SECTION, /* a map whose keys have rows */
	KEY_MAP,     /* a map of any keys */
	KEY_LIST,
	KEY_LIST_OR_TEXT,
	KEY_OPTIONS, /* list or map: options of a program */
	KEY_TEXT,    /* any scalar */
	KEY_COMMAND, /* text or null */
	KEY_BOOL,
	KEY_INT,
	KEY_REAL,
	KEY_ENUM,
	KEY_SYNC_MODE,  /* bool or quorum */
	KEY_PARAMETERS, /* map of scalars */
	KEY_SLOTS,      /* map of maps */
	KEY_NAMED,      /* map of maps of one kind, whose keys have rows */
	KEY_ANY,
} KeyKind;

typedef struct Key
{
	const char *section; /* dotted; "" = top, "dcs" = dynamic */
	const char *name;
	KeyKind kind;
	double minimum; /* KEY_INT, KEY_REAL: used when below maximum */
	double maximum;
	const char *extra; /* unit of KEY_INT and KEY_REAL, "a|b" of KEY_ENUM */
} Key;

#define NO_LIMIT 2147483647.0

static const Key keys[] = {
	{ "", "name", KEY_TEXT, 0, 0, NULL },
	{ "", "scope", KEY_TEXT, 0, 0, NULL },
	{ "", "namespace", KEY_TEXT, 0, 0, NULL },
	{ "", "thread_pool_size", KEY_INT, 5, NO_LIMIT, NULL },
	{ "", "thread_stack_size", KEY_INT, 65536, NO_LIMIT, "B" },
	{ "", "log", KEY_SECTION, 0, 0, NULL },
	{ "", "restapi", KEY_SECTION, 0, 0, NULL },
	{ "", "ctl", KEY_SECTION, 0, 0, NULL },
	{ "", "watchdog", KEY_SECTION, 0, 0, NULL },
	{ "", "tags", KEY_MAP, 0, 0, NULL },
	{ "", "citus", KEY_SECTION, 0, 0, NULL },
	{ "", "bootstrap", KEY_SECTION, 0, 0, NULL },
	{ "", "postgresql", KEY_SECTION, 0, 0, NULL },
	{ "", "pgbouncer", KEY_SECTION, 0, 0, NULL },
	{ "", "etcd", KEY_SECTION, 0, 0, NULL },
	{ "", "etcd3", KEY_SECTION, 0, 0, NULL },
	{ "", "consul", KEY_SECTION, 0, 0, NULL },
	{ "", "zookeeper", KEY_SECTION, 0, 0, NULL },
	{ "", "exhibitor", KEY_SECTION, 0, 0, NULL },
	{ "", "kubernetes", KEY_SECTION, 0, 0, NULL },
	{ "", "raft", KEY_SECTION, 0, 0, NULL },

	{ "log", "type", KEY_ENUM, 0, 0, "plain|json" },
	{ "log", "level", KEY_ENUM, 0, 0, "DEBUG|INFO|WARN|WARNING|ERROR|FATAL|CRITICAL" },
	{ "log", "traceback_level", KEY_ENUM, 0, 0, "DEBUG|ERROR" },
	{ "log", "format", KEY_ANY, 0, 0, NULL },
	{ "log", "dateformat", KEY_TEXT, 0, 0, NULL },
	{ "log", "static_fields", KEY_MAP, 0, 0, NULL },
	{ "log", "max_queue_size", KEY_INT, 0, NO_LIMIT, NULL },
	{ "log", "dir", KEY_TEXT, 0, 0, NULL },
	{ "log", "mode", KEY_INT, 0, 511, NULL },
	{ "log", "file_num", KEY_INT, 0, NO_LIMIT, NULL },
	{ "log", "file_size", KEY_INT, 0, 9e18, NULL },
	{ "log", "loggers", KEY_MAP, 0, 0, NULL },
	{ "log", "deduplicate_heartbeat_logs", KEY_BOOL, 0, 0, NULL },

	{ "restapi", "listen", KEY_TEXT, 0, 0, NULL },
	{ "restapi", "connect_address", KEY_TEXT, 0, 0, NULL },
	{ "restapi", "authentication", KEY_SECTION, 0, 0, NULL },
	{ "restapi", "certfile", KEY_TEXT, 0, 0, NULL },
	{ "restapi", "keyfile", KEY_TEXT, 0, 0, NULL },
	{ "restapi", "keyfile_password", KEY_TEXT, 0, 0, NULL },
	{ "restapi", "cafile", KEY_TEXT, 0, 0, NULL },
	{ "restapi", "ciphers", KEY_TEXT, 0, 0, NULL },
	{ "restapi", "verify_client", KEY_ENUM, 0, 0, "none|optional|required" },
	{ "restapi", "allowlist", KEY_LIST, 0, 0, NULL },
	{ "restapi", "allowlist_include_members", KEY_BOOL, 0, 0, NULL },
	{ "restapi", "http_extra_headers", KEY_MAP, 0, 0, NULL },
	{ "restapi", "https_extra_headers", KEY_MAP, 0, 0, NULL },
	{ "restapi", "request_queue_size", KEY_INT, 0, 4096, NULL },
	{ "restapi", "thread_pool_size", KEY_INT, 5, NO_LIMIT, NULL },
	{ "restapi", "server_tokens", KEY_ENUM, 0, 0, "original|minimal|productonly" },
	{ "restapi.authentication", "username", KEY_TEXT, 0, 0, NULL },
	{ "restapi.authentication", "password", KEY_TEXT, 0, 0, NULL },

	{ "ctl", "authentication", KEY_SECTION, 0, 0, NULL },
	{ "ctl", "insecure", KEY_BOOL, 0, 0, NULL },
	{ "ctl", "layout", KEY_TEXT, 0, 0, NULL },
	{ "ctl", "cacert", KEY_TEXT, 0, 0, NULL },
	{ "ctl", "certfile", KEY_TEXT, 0, 0, NULL },
	{ "ctl", "keyfile", KEY_TEXT, 0, 0, NULL },
	{ "ctl", "keyfile_password", KEY_TEXT, 0, 0, NULL },
	{ "ctl.authentication", "username", KEY_TEXT, 0, 0, NULL },
	{ "ctl.authentication", "password", KEY_TEXT, 0, 0, NULL },

	{ "watchdog", "mode", KEY_ANY, 0, 0, NULL },
	{ "watchdog", "device", KEY_TEXT, 0, 0, NULL },
	{ "watchdog", "safety_margin", KEY_INT, -1, NO_LIMIT, NULL },
	{ "watchdog", "driver", KEY_TEXT, 0, 0, NULL },

	{ "tags", "nofailover", KEY_BOOL, 0, 0, NULL },
	{ "tags", "failover_priority", KEY_INT, -NO_LIMIT, NO_LIMIT, NULL },
	{ "tags", "noloadbalance", KEY_BOOL, 0, 0, NULL },
	{ "tags", "clonefrom", KEY_BOOL, 0, 0, NULL },
	{ "tags", "replicatefrom", KEY_TEXT, 0, 0, NULL },
	{ "tags", "nosync", KEY_BOOL, 0, 0, NULL },
	{ "tags", "sync_priority", KEY_INT, -NO_LIMIT, NO_LIMIT, NULL },
	{ "tags", "nostream", KEY_BOOL, 0, 0, NULL },

	{ "citus", "group", KEY_INT, 0, NO_LIMIT, NULL },
	{ "citus", "database", KEY_TEXT, 0, 0, NULL },

	{ "bootstrap", "dcs", KEY_SECTION, 0, 0, NULL },
	{ "bootstrap", "method", KEY_TEXT, 0, 0, NULL },
	{ "bootstrap", "initdb", KEY_OPTIONS, 0, 0, NULL },
	{ "bootstrap", "pg_hba", KEY_LIST, 0, 0, NULL },
	{ "bootstrap", "post_bootstrap", KEY_COMMAND, 0, 0, NULL },
	{ "bootstrap", "post_init", KEY_COMMAND, 0, 0, NULL },
	{ "bootstrap", "users", KEY_ANY, 0, 0, NULL },

	{ "postgresql", "listen", KEY_TEXT, 0, 0, NULL },
	{ "postgresql", "connect_address", KEY_TEXT, 0, 0, NULL },
	{ "postgresql", "proxy_address", KEY_TEXT, 0, 0, NULL },
	{ "postgresql", "data_dir", KEY_TEXT, 0, 0, NULL },
	{ "postgresql", "config_dir", KEY_TEXT, 0, 0, NULL },
	{ "postgresql", "config_base_name", KEY_TEXT, 0, 0, NULL },
	{ "postgresql", "bin_dir", KEY_TEXT, 0, 0, NULL },
	{ "postgresql", "bin_name", KEY_SECTION, 0, 0, NULL },
	{ "postgresql", "database", KEY_TEXT, 0, 0, NULL },
	{ "postgresql", "pgpass", KEY_TEXT, 0, 0, NULL },
	{ "postgresql", "krbsrvname", KEY_TEXT, 0, 0, NULL },
	{ "postgresql", "authentication", KEY_SECTION, 0, 0, NULL },
	{ "postgresql", "use_unix_socket", KEY_BOOL, 0, 0, NULL },
	{ "postgresql", "use_unix_socket_repl", KEY_BOOL, 0, 0, NULL },
	{ "postgresql", "callbacks", KEY_SECTION, 0, 0, NULL },
	{ "postgresql", "create_replica_methods", KEY_LIST_OR_TEXT, 0, 0, NULL },
	{ "postgresql", "create_replica_method", KEY_LIST_OR_TEXT, 0, 0, NULL },
	{ "postgresql", "basebackup", KEY_OPTIONS, 0, 0, NULL },
	{ "postgresql", "rewind", KEY_OPTIONS, 0, 0, NULL },
	{ "postgresql", "use_pg_rewind", KEY_BOOL, 0, 0, NULL },
	{ "postgresql", "remove_data_directory_on_rewind_failure", KEY_BOOL, 0, 0, NULL },
	{ "postgresql", "remove_data_directory_on_diverged_timelines", KEY_BOOL, 0, 0, NULL },
	{ "postgresql", "recovery_conf", KEY_PARAMETERS, 0, 0, NULL },
	{ "postgresql", "custom_conf", KEY_TEXT, 0, 0, NULL },
	{ "postgresql", "parameters", KEY_PARAMETERS, 0, 0, NULL },
	{ "postgresql", "parameters_primary", KEY_PARAMETERS, 0, 0, NULL },
	{ "postgresql", "parameters_replica", KEY_PARAMETERS, 0, 0, NULL },
	{ "postgresql", "parameters_standby_leader", KEY_PARAMETERS, 0, 0, NULL },
	{ "postgresql", "pg_hba", KEY_LIST, 0, 0, NULL },
	{ "postgresql", "pg_hba_primary", KEY_LIST, 0, 0, NULL },
	{ "postgresql", "pg_hba_replica", KEY_LIST, 0, 0, NULL },
	{ "postgresql", "pg_hba_standby_leader", KEY_LIST, 0, 0, NULL },
	{ "postgresql", "pg_ident", KEY_LIST, 0, 0, NULL },
	{ "postgresql", "pg_ident_primary", KEY_LIST, 0, 0, NULL },
	{ "postgresql", "pg_ident_replica", KEY_LIST, 0, 0, NULL },
	{ "postgresql", "pg_ident_standby_leader", KEY_LIST, 0, 0, NULL },
	{ "postgresql", "pg_ctl_timeout", KEY_INT, 0, NO_LIMIT, NULL },
	{ "postgresql", "pre_promote", KEY_COMMAND, 0, 0, NULL },
	{ "postgresql", "before_stop", KEY_COMMAND, 0, 0, NULL },
	{ "postgresql", "use_slots", KEY_BOOL, 0, 0, NULL },
	/* The old format. */
	{ "postgresql", "name", KEY_TEXT, 0, 0, NULL },
	{ "postgresql", "superuser", KEY_MAP, 0, 0, NULL },
	{ "postgresql", "replication", KEY_MAP, 0, 0, NULL },
	{ "postgresql", "pg_rewind", KEY_MAP, 0, 0, NULL },
	{ "postgresql.bin_name", "pg_ctl", KEY_TEXT, 0, 0, NULL },
	{ "postgresql.bin_name", "initdb", KEY_TEXT, 0, 0, NULL },
	{ "postgresql.bin_name", "pg_controldata", KEY_TEXT, 0, 0, NULL },
	{ "postgresql.bin_name", "pg_basebackup", KEY_TEXT, 0, 0, NULL },
	{ "postgresql.bin_name", "postgres", KEY_TEXT, 0, 0, NULL },
	{ "postgresql.bin_name", "pg_isready", KEY_TEXT, 0, 0, NULL },
	{ "postgresql.bin_name", "pg_rewind", KEY_TEXT, 0, 0, NULL },
	{ "postgresql.authentication", "superuser", KEY_SECTION, 0, 0, NULL },
	{ "postgresql.authentication", "replication", KEY_SECTION, 0, 0, NULL },
	{ "postgresql.authentication", "rewind", KEY_SECTION, 0, 0, NULL },
	{ "credentials", "username", KEY_TEXT, 0, 0, NULL },
	{ "credentials", "password", KEY_TEXT, 0, 0, NULL },
	{ "credentials", "sslmode", KEY_TEXT, 0, 0, NULL },
	{ "credentials", "sslcert", KEY_TEXT, 0, 0, NULL },
	{ "credentials", "sslkey", KEY_TEXT, 0, 0, NULL },
	{ "credentials", "sslpassword", KEY_TEXT, 0, 0, NULL },
	{ "credentials", "sslrootcert", KEY_TEXT, 0, 0, NULL },
	{ "credentials", "sslcrl", KEY_TEXT, 0, 0, NULL },
	{ "credentials", "sslcrldir", KEY_TEXT, 0, 0, NULL },
	{ "credentials", "gssencmode", KEY_TEXT, 0, 0, NULL },
	{ "credentials", "channel_binding", KEY_TEXT, 0, 0, NULL },
	{ "credentials", "sslnegotiation", KEY_TEXT, 0, 0, NULL },
	{ "postgresql.callbacks", "on_start", KEY_COMMAND, 0, 0, NULL },
	{ "postgresql.callbacks", "on_stop", KEY_COMMAND, 0, 0, NULL },
	{ "postgresql.callbacks", "on_restart", KEY_COMMAND, 0, 0, NULL },
	{ "postgresql.callbacks", "on_reload", KEY_COMMAND, 0, 0, NULL },
	{ "postgresql.callbacks", "on_role_change", KEY_COMMAND, 0, 0, NULL },

	{ "pgbouncer", "username", KEY_TEXT, 0, 0, NULL },
	{ "pgbouncer", "password", KEY_TEXT, 0, 0, NULL },
	{ "pgbouncer", "connect_timeout", KEY_REAL, 0.01, 5, "s" },
	{ "pgbouncer", "check_interval", KEY_REAL, 0, 5, "s" },
	{ "pgbouncer", "pause_timeout", KEY_REAL, 0.01, 60, "s" },
	{ "pgbouncer", "resume_timeout", KEY_REAL, 1, 600, "s" },
	{ "pgbouncer", "instances", KEY_NAMED, 0, 0, NULL },
	{ "pgbouncer.instances", "host", KEY_TEXT, 0, 0, NULL },
	{ "pgbouncer.instances", "port", KEY_INT, 1, 65535, NULL },
	{ "pgbouncer.instances", "database", KEY_TEXT, 0, 0, NULL },
	{ "pgbouncer.instances", "probe_database", KEY_TEXT, 0, 0, NULL },
	{ "pgbouncer.instances", "username", KEY_TEXT, 0, 0, NULL },
	{ "pgbouncer.instances", "password", KEY_TEXT, 0, 0, NULL },

	{ "dcs", "ttl", KEY_INT, -NO_LIMIT, NO_LIMIT, NULL },
	{ "dcs", "loop_wait", KEY_INT, -NO_LIMIT, NO_LIMIT, NULL },
	{ "dcs", "retry_timeout", KEY_INT, -NO_LIMIT, NO_LIMIT, NULL },
	{ "dcs", "pause", KEY_BOOL, 0, 0, NULL },
	{ "dcs", "maximum_lag_on_failover", KEY_INT, 0, 9e18, NULL },
	{ "dcs", "maximum_lag_on_syncnode", KEY_INT, -1, 9e18, NULL },
	{ "dcs", "max_timelines_history", KEY_INT, 0, NO_LIMIT, NULL },
	{ "dcs", "check_timeline", KEY_BOOL, 0, 0, NULL },
	{ "dcs", "primary_start_timeout", KEY_INT, 0, NO_LIMIT, NULL },
	{ "dcs", "master_start_timeout", KEY_INT, 0, NO_LIMIT, NULL },
	{ "dcs", "primary_stop_timeout", KEY_INT, 0, NO_LIMIT, NULL },
	{ "dcs", "master_stop_timeout", KEY_INT, 0, NO_LIMIT, NULL },
	{ "dcs", "primary_race_backoff", KEY_INT, 0, NO_LIMIT, NULL },
	{ "dcs", "synchronous_mode", KEY_SYNC_MODE, 0, 0, NULL },
	{ "dcs", "synchronous_mode_strict", KEY_BOOL, 0, 0, NULL },
	{ "dcs", "synchronous_node_count", KEY_INT, 1, NO_LIMIT, NULL },
	{ "dcs", "failsafe_mode", KEY_BOOL, 0, 0, NULL },
	{ "dcs", "member_slots_ttl", KEY_INT, 0, NO_LIMIT, "s" },
	{ "dcs", "slots", KEY_SLOTS, 0, 0, NULL },
	{ "dcs", "permanent_replication_slots", KEY_SLOTS, 0, 0, NULL },
	{ "dcs", "permanent_slots", KEY_SLOTS, 0, 0, NULL },
	{ "dcs", "ignore_slots", KEY_LIST, 0, 0, NULL },
	{ "dcs", "health", KEY_SECTION, 0, 0, NULL },
	{ "health", "connect_timeout", KEY_INT, 0, NO_LIMIT, "s" },
	{ "health", "disk_timeout", KEY_INT, 0, NO_LIMIT, "s" },
	{ "dcs", "standby_cluster", KEY_SECTION, 0, 0, NULL },
	{ "dcs", "postgresql", KEY_SECTION, 0, 0, NULL },
	{ "standby_cluster", "host", KEY_TEXT, 0, 0, NULL },
	{ "standby_cluster", "port", KEY_TEXT, 0, 0, NULL },
	{ "standby_cluster", "restore_command", KEY_COMMAND, 0, 0, NULL },
	{ "standby_cluster", "primary_slot_name", KEY_TEXT, 0, 0, NULL },
	{ "standby_cluster", "create_replica_methods", KEY_LIST_OR_TEXT, 0, 0, NULL },
	{ "standby_cluster", "archive_cleanup_command", KEY_COMMAND, 0, 0, NULL },
	{ "standby_cluster", "recovery_min_apply_delay", KEY_TEXT, 0, 0, NULL },

	{ "etcd", "host", KEY_TEXT, 0, 0, NULL },
	{ "etcd", "hosts", KEY_LIST_OR_TEXT, 0, 0, NULL },
	{ "etcd", "url", KEY_TEXT, 0, 0, NULL },
	{ "etcd", "proxy", KEY_TEXT, 0, 0, NULL },
	{ "etcd", "srv", KEY_TEXT, 0, 0, NULL },
	{ "etcd", "discovery_srv", KEY_TEXT, 0, 0, NULL },
	{ "etcd", "srv_domain", KEY_TEXT, 0, 0, NULL },
	{ "etcd", "srv_suffix", KEY_TEXT, 0, 0, NULL },
	{ "etcd", "use_proxies", KEY_BOOL, 0, 0, NULL },
	{ "etcd", "protocol", KEY_ENUM, 0, 0, "http|https" },
	{ "etcd", "port", KEY_INT, 1, 65535, NULL },
	{ "etcd", "username", KEY_TEXT, 0, 0, NULL },
	{ "etcd", "password", KEY_TEXT, 0, 0, NULL },
	{ "etcd", "cacert", KEY_TEXT, 0, 0, NULL },
	{ "etcd", "cert", KEY_TEXT, 0, 0, NULL },
	{ "etcd", "key", KEY_TEXT, 0, 0, NULL },

	{ "consul", "host", KEY_TEXT, 0, 0, NULL },
	{ "consul", "url", KEY_TEXT, 0, 0, NULL },
	{ "consul", "port", KEY_INT, 1, 65535, NULL },
	{ "consul", "scheme", KEY_TEXT, 0, 0, NULL },
	{ "consul", "token", KEY_TEXT, 0, 0, NULL },
	{ "consul", "verify", KEY_BOOL, 0, 0, NULL },
	{ "consul", "cacert", KEY_TEXT, 0, 0, NULL },
	{ "consul", "cert", KEY_TEXT, 0, 0, NULL },
	{ "consul", "key", KEY_TEXT, 0, 0, NULL },
	{ "consul", "dc", KEY_TEXT, 0, 0, NULL },
	{ "consul", "consistency", KEY_ENUM, 0, 0, "default|consistent|stale" },
	{ "consul", "checks", KEY_LIST, 0, 0, NULL },
	{ "consul", "register_service", KEY_BOOL, 0, 0, NULL },
	{ "consul", "service_tags", KEY_LIST, 0, 0, NULL },
	{ "consul", "service_check_interval", KEY_TEXT, 0, 0, NULL },
	{ "consul", "service_check_tls_server_name", KEY_TEXT, 0, 0, NULL },

	{ "zookeeper", "hosts", KEY_LIST_OR_TEXT, 0, 0, NULL },
	{ "zookeeper", "use_ssl", KEY_BOOL, 0, 0, NULL },
	{ "zookeeper", "cacert", KEY_TEXT, 0, 0, NULL },
	{ "zookeeper", "cert", KEY_TEXT, 0, 0, NULL },
	{ "zookeeper", "key", KEY_TEXT, 0, 0, NULL },
	{ "zookeeper", "key_password", KEY_TEXT, 0, 0, NULL },
	{ "zookeeper", "verify", KEY_BOOL, 0, 0, NULL },
	{ "zookeeper", "set_acls", KEY_MAP, 0, 0, NULL },
	{ "zookeeper", "auth_data", KEY_MAP, 0, 0, NULL },
	{ "zookeeper", "exhibitor", KEY_MAP, 0, 0, NULL },

	{ "exhibitor", "hosts", KEY_LIST_OR_TEXT, 0, 0, NULL },
	{ "exhibitor", "port", KEY_INT, 1, 65535, NULL },
	{ "exhibitor", "poll_interval", KEY_INT, 0, NO_LIMIT, NULL },

	{ "kubernetes", "namespace", KEY_TEXT, 0, 0, NULL },
	{ "kubernetes", "labels", KEY_MAP, 0, 0, NULL },
	{ "kubernetes", "scope_label", KEY_TEXT, 0, 0, NULL },
	{ "kubernetes", "role_label", KEY_TEXT, 0, 0, NULL },
	{ "kubernetes", "leader_label_value", KEY_TEXT, 0, 0, NULL },
	{ "kubernetes", "follower_label_value", KEY_TEXT, 0, 0, NULL },
	{ "kubernetes", "standby_leader_label_value", KEY_TEXT, 0, 0, NULL },
	{ "kubernetes", "tmp_role_label", KEY_TEXT, 0, 0, NULL },
	{ "kubernetes", "use_endpoints", KEY_BOOL, 0, 0, NULL },
	{ "kubernetes", "pod_ip", KEY_TEXT, 0, 0, NULL },
	{ "kubernetes", "ports", KEY_LIST, 0, 0, NULL },
	{ "kubernetes", "cacert", KEY_TEXT, 0, 0, NULL },
	{ "kubernetes", "bypass_api_service", KEY_BOOL, 0, 0, NULL },
	{ "kubernetes", "retriable_http_codes", KEY_ANY, 0, 0, NULL },
	{ "kubernetes", "bootstrap_labels", KEY_MAP, 0, 0, NULL },
	{ "kubernetes", "context", KEY_TEXT, 0, 0, NULL },

	{ "raft", "self_addr", KEY_TEXT, 0, 0, NULL },
	{ "raft", "bind_addr", KEY_TEXT, 0, 0, NULL },
	{ "raft", "partner_addrs", KEY_LIST, 0, 0, NULL },
	{ "raft", "data_dir", KEY_TEXT, 0, 0, NULL },
	{ "raft", "password", KEY_TEXT, 0, 0, NULL },
	{ "raft", "min_timeout", KEY_REAL, 0, 1e9, NULL },
	{ "raft", "max_timeout", KEY_REAL, 0, 1e9, NULL },
	{ "raft", "connection_timeout", KEY_REAL, 0, 1e9, NULL },
	{ "raft", "append_entries_period", KEY_REAL, 0, 1e9, NULL },
	{ "raft", "connection_retry_time", KEY_REAL, 0, 1e9, NULL },
	{ "raft", "leader_fallback_timeout", KEY_REAL, 0, 1e9, NULL },
};

#define N_KEYS (sizeof(keys) / sizeof(keys[0]))

/* Sections that share the rows of another. */
static const char *
section_rows(const char *section)
{
	static const char *const same[][2] = {
		{ "etcd3", "etcd" },
		{ "bootstrap.dcs", "dcs" },
		{ "bootstrap.dcs.postgresql", "postgresql" },
		{ "dcs.postgresql", "postgresql" },
		{ "bootstrap.dcs.health", "health" },
		{ "dcs.health", "health" },
		{ "bootstrap.dcs.standby_cluster", "standby_cluster" },
		{ "dcs.standby_cluster", "standby_cluster" },
		{ "postgresql.authentication.superuser", "credentials" },
		{ "postgresql.authentication.replication", "credentials" },
		{ "postgresql.authentication.rewind", "credentials" },
	};

	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
		if (strcmp(section, same[i][0]) == 0)
			return same[i][1];
	if (strncmp(section, "bootstrap.dcs.postgresql.", 25) == 0)
		return section + 14;
	if (strncmp(section, "dcs.postgresql.", 15) == 0)
		return section + 4;
	return section;
}

static const Key *
key_find(const char *rows, const char *name)
{
	for (size_t i = 0; i < N_KEYS; i++)
		if (strcmp(keys[i].section, rows) == 0 && strcmp(keys[i].name, name) == 0)
			return &keys[i];
	return NULL;
}

/* How many letters have to change (insert, delete, replace)? */
static int
edit_distance(const char *a, const char *b)
{
	int row[64];
	size_t n = strlen(b);

	if (strlen(a) > 60 || n > 60)
		return 99;
	for (size_t j = 0; j <= n; j++)
		row[j] = (int) j;
	for (size_t i = 1; a[i - 1] != '\0'; i++)
	{
		int diagonal = row[0];

		row[0] = (int) i;
		for (size_t j = 1; j <= n; j++)
		{
			int above = row[j];
			int best = diagonal + (a[i - 1] != b[j - 1]);

			if (above + 1 < best)
				best = above + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			diagonal = above;
			row[j] = best;
		}
	}
	return row[n];
}

static const char *
nearest_key(const char *rows, const char *name)
{
	const char *best = NULL;
	int best_distance = 3;

	for (size_t i = 0; i < N_KEYS; i++)
		if (strcmp(keys[i].section, rows) == 0)
		{
			int distance = edit_distance(name, keys[i].name);

			if (distance < best_distance && distance * 3 <= (int) strlen(name))
			{
				best = keys[i].name;
				best_distance = distance;
			}
		}
	return best;
}

static void
wrong(const Reporter *reporter, const char *path, const char *name, const json_t *value,
      const char *wanted)
{
	char shown[80];
	const char *p = wanted;

	value_show(name, value, shown, sizeof(shown));
	report(reporter, true, path, false, "%s is not %s", shown, p);
}

static bool
is_scalar(const json_t *value)
{
	return !json_is_object(value) && !json_is_array(value);
}

static void
check_parameters(const char *path, const json_t *value, const Reporter *reporter)
{
	const char *name;
	json_t *parameter;

	json_object_foreach((json_t *) value, name, parameter)
	{
		char below[CONFIG_PATH_MAX];

		snprintf(below, sizeof(below), "%s", path);
		if (!is_scalar(parameter) && path_append(below, sizeof(below), name))
			wrong(reporter, below, name, parameter, "the value of a parameter");
	}
}

static void
check_slots(const char *path, const json_t *value, const Reporter *reporter)
{
	const char *name;
	json_t *slot;

	json_object_foreach((json_t *) value, name, slot)
	{
		char below[CONFIG_PATH_MAX];

		snprintf(below, sizeof(below), "%s", path);
		if (!json_is_object(slot) && !json_is_null(slot) && path_append(below, sizeof(below), name))
			wrong(reporter, below, name, slot, "a map that describes a slot");
	}
}

static void
check_number(const Key *key, const char *path, const json_t *value, const Reporter *reporter)
{
	char shown[80];
	char text[128];
	int64_t integer;
	double number;

	if (key->kind == KEY_INT)
	{
		if (!value_to_int(value, key->extra, &integer))
		{
			wrong(reporter, path, key->name, value,
			      key->extra == NULL             ? "an integer"
			      : strcmp(key->extra, "s") == 0 ? "a time (\"1800\", \"30min\")"
			                                     : "a size (\"65536\", \"64kB\")");
			return;
		}
		number = (double) integer;
	}
	else if (json_is_number(value))
		number = json_number_value(value);
	else if (!value_to_text(value, text, sizeof(text)) || !text_to_real(text, key->extra, &number))
	{
		wrong(reporter, path, key->name, value,
		      key->extra == NULL ? "a number" : "a time (\"0.5\", \"500ms\")");
		return;
	}
	value_show(key->name, value, shown, sizeof(shown));
	if (number < key->minimum)
		report(reporter, true, path, false, "%s is too small, the minimum is %.15g", shown,
		       key->minimum);
	else if (number > key->maximum)
		report(reporter, true, path, false, "%s is too large, the maximum is %.15g", shown,
		       key->maximum);
}

static void
check_enum(const Key *key, const char *path, const json_t *value, const Reporter *reporter)
{
	const char *p = key->extra;
	size_t length;
	char text[64] = "";
	char wanted[160];

	value_to_text(value, text, sizeof(text));
	for (; *p != '\0'; p += length + (p[length] == '|'))
	{
		length = strcspn(p, "|");
		if (strlen(text) == length && ascii_is_same_part(text, p, length))
			return;
	}
	snprintf(wanted, sizeof(wanted), "one of %s", key->extra);
	wrong(reporter, path, key->name, value, wanted);
}

/* Check the value of a known key; null always means "not set". */
static void
check_value(const Key *key, const char *path, const json_t *value, const Reporter *reporter)
{
	bool truth;

	if (json_is_null(value) || key->kind == KEY_ANY)
		return;
	switch (key->kind)
	{
		case KEY_SECTION:
		case KEY_MAP:
		case KEY_NAMED:
			if (!json_is_object(value))
				wrong(reporter, path, key->name, value, "a map");
			break;
		case KEY_LIST:
			if (!json_is_array(value))
				wrong(reporter, path, key->name, value, "a list");
			break;
		case KEY_LIST_OR_TEXT:
			if (json_is_object(value))
				wrong(reporter, path, key->name, value, "a list or a text");
			break;
		case KEY_OPTIONS:
			if (is_scalar(value))
				wrong(reporter, path, key->name, value, "a list or a map of options");
			break;
		case KEY_TEXT:
			if (!is_scalar(value))
				wrong(reporter, path, key->name, value, "a text");
			break;
		case KEY_COMMAND:
			if (!json_is_string(value))
				wrong(reporter, path, key->name, value, "a command");
			break;
		case KEY_SYNC_MODE:
			if (json_is_string(value) && ascii_is_same(json_string_value(value), "quorum"))
				break;
			if (!value_to_bool(value, &truth))
				wrong(reporter, path, key->name, value, "on, off or quorum");
			break;
		case KEY_BOOL:
			if (!value_to_bool(value, &truth))
				wrong(reporter, path, key->name, value,
				      "a boolean (on, off, true, false, yes, no, 1, 0)");
			break;
		case KEY_INT:
		case KEY_REAL:
			check_number(key, path, value, reporter);
			break;
		case KEY_ENUM:
			check_enum(key, path, value, reporter);
			break;
		case KEY_PARAMETERS:
			if (!json_is_object(value))
				wrong(reporter, path, key->name, value, "a map of parameters");
			else
				check_parameters(path, value, reporter);
			break;
		case KEY_SLOTS:
			if (!json_is_object(value))
				wrong(reporter, path, key->name, value, "a map of slots");
			else
				check_slots(path, value, reporter);
			break;
		case KEY_ANY:
			break;
	}
}

/* Is "name" a method in the list (or text) at "list"? */
static bool
list_names(const json_t *list, const char *name)
{
	size_t item_index;
	json_t *item;

	if (json_is_string(list))
		return strstr(json_string_value(list), name) != NULL;
	json_array_foreach((json_t *) list, item_index,
	                   item) if (json_is_string(item) &&
	                             strcmp(json_string_value(item), name) == 0) return true;
	return false;
}

/*
 * Sections named by the operator: methods to create a replica or a cluster.
 * A map with a "command" is one too, whether it is used now or not.
 */
static bool
is_method(const char *rows, const json_t *map, const char *name, const json_t *value,
          const json_t *document)
{
	const char *method;

	if (!json_is_object(value) && !json_is_null(value))
		return false;
	if (json_object_get(value, "command") != NULL &&
	    (strcmp(rows, "postgresql") == 0 || strcmp(rows, "bootstrap") == 0))
		return true;
	if (strcmp(rows, "postgresql") == 0)
		return list_names(json_object_get(map, "create_replica_methods"), name) ||
		       list_names(json_object_get(map, "create_replica_method"), name) ||
		       list_names(
		           document_get(document, "bootstrap.dcs.standby_cluster.create_replica_methods"),
		           name);
	if (strcmp(rows, "bootstrap") == 0)
	{
		method = json_string_value(json_object_get(map, "method"));
		return method != NULL && strcmp(method, name) == 0;
	}
	return false;
}

static void check_named(const Key *key, const char *path, const json_t *map,
                        const char *section, const json_t *document, const Reporter *reporter,
                        int depth);

static void
check_section(const json_t *map, const char *section, const char *path, const json_t *document,
              const Reporter *reporter, int depth)
{
	const char *rows = section_rows(section);
	const char *name;
	json_t *value;

	if (depth > 8)
		return;
	json_object_foreach((json_t *) map, name, value)
	{
		char below[CONFIG_PATH_MAX];
		char below_section[CONFIG_PATH_MAX];
		const Key *key = key_find(rows, name);
		bool is_open = strcmp(rows, "tags") == 0;

		snprintf(below, sizeof(below), "%s", path);
		if (!path_append(below, sizeof(below), name))
			continue;
		if (key == NULL)
		{
			const char *near = nearest_key(rows, name);

			if (is_open || is_method(rows, map, name, value, document))
				continue;
			if (near != NULL)
				report(reporter, false, below, true,
				       "unknown key \"%.100s\" has no effect; did you mean \"%s\"?", name, near);
			else
				report(reporter, false, below, true, "unknown key \"%.100s\" has no effect", name);
			continue;
		}
		check_value(key, below, value, reporter);
		snprintf(below_section, sizeof(below_section), "%s%s%s", section,
		         section[0] != '\0' ? "." : "", name);
		if (json_is_object(value) &&
		    (key->kind == KEY_SECTION || strcmp(below_section, "tags") == 0))
			check_section(value, below_section, below, document, reporter, depth + 1);
		else if (json_is_object(value) && key->kind == KEY_NAMED)
			check_named(key, below, value, below_section, document, reporter, depth + 1);
	}
}

/* What the operator has given names, each with the same keys. */
static void
check_named(const Key *key, const char *path, const json_t *map, const char *section,
            const json_t *document, const Reporter *reporter, int depth)
{
	const char *name;
	json_t *value;

	json_object_foreach((json_t *) map, name, value)
	{
		char below[CONFIG_PATH_MAX];

		snprintf(below, sizeof(below), "%s", path);
		if (!path_append(below, sizeof(below), name))
			continue;
		if (json_is_object(value))
			check_section(value, section, below, document, reporter, depth + 1);
		else if (!json_is_null(value))
			wrong(reporter, below, key->name, value, "a map");
	}
}

/* Keys that are right where they stand but do nothing there. */
static void
warn_without_effect(const json_t *document, const Reporter *reporter)
{
	const char *name;
	json_t *value;

	json_object_foreach((json_t *) document_get(document, "postgresql.parameters"), name, value)
	{
		char path[CONFIG_PATH_MAX] = "postgresql" CONFIG_SEP_TEXT "parameters";

		if (!parameter_is_controlled(name) || !path_append(path, sizeof(path), name))
			continue;
		if (ascii_is_same(name, "listen_addresses") || ascii_is_same(name, "port"))
			report(reporter, false, path, true,
			       "\"%s\" has no effect here; it comes from postgresql.listen", name);
		else if (ascii_is_same(name, "cluster_name"))
			report(reporter, false, path, true,
			       "\"cluster_name\" has no effect here; it is the scope");
		else
			report(reporter, false, path, true,
			       "\"%s\" has no effect here; it is set for the whole cluster in the dynamic "
			       "configuration",
			       name);
	}
	if (document_get(document, "postgresql.use_slots") != NULL)
		report(reporter, false, "postgresql.use_slots", true,
		       "\"use_slots\" has no effect here; it is set for the whole cluster in the dynamic "
		       "configuration");
	if (document_get(document, "bootstrap.users") != NULL)
		report(reporter, false, "bootstrap.users", true,
		       "\"bootstrap.users\" has no effect; create roles with \"bootstrap.post_bootstrap\"");
}

/* Dynamic keys at the top of the file: a frequent mistake. */
static void
warn_dynamic_at_top(const json_t *document, const Reporter *reporter)
{
	const char *name;
	json_t *value;

	json_object_foreach((json_t *) document, name,
	                    value) if (key_find("", name) == NULL && key_find("dcs", name) != NULL)
	    report(reporter, false, name, true,
	           "\"%s\" has no effect here; it belongs to the dynamic configuration (bootstrap.dcs "
	           "for a new cluster)",
	           name);
}

/* Check the local configuration: unknown keys warn, wrong values are errors. */
void
schema_check_local(const json_t *document, const Reporter *reporter)
{
	json_t *checked = json_copy((json_t *) document);
	const char *name;
	json_t *value;

	if (checked == NULL)
		return;
	/* What has a better message than "unknown". */
	json_object_foreach((json_t *) document, name,
	                    value) if (key_find("", name) == NULL && key_find("dcs", name) != NULL)
	    json_object_del(checked, name);
	check_section(checked, "", "", document, reporter, 0);
	json_decref(checked);
	warn_dynamic_at_top(document, reporter);
	warn_without_effect(document, reporter);
}

/* Local keys of "postgresql" that the dynamic configuration cannot set. */
static void
warn_local_only(const json_t *postgresql, const char *root, const Reporter *reporter)
{
	static const char *const local_only[] = {
		"connect_address", "proxy_address", "listen",         "config_dir",
		"data_dir",        "pgpass",        "authentication",
	};

	for (size_t i = 0; i < sizeof(local_only) / sizeof(local_only[0]); i++)
		if (json_object_get(postgresql, local_only[i]) != NULL)
		{
			char path[CONFIG_PATH_MAX];

			snprintf(path, sizeof(path), "%s%spostgresql.%s", root, root[0] != '\0' ? "." : "",
			         local_only[i]);
			report(reporter, false, path, true,
			       "\"%s\" has no effect here; it belongs to the file of each node", local_only[i]);
		}
}

/*
 * Check what dynamic configuration has beyond the rows: the controlled
 * parameters, keys without effect, and (when it stands alone, root "") the
 * rows too.  bootstrap.dcs has its rows checked with the file.
 */
void
schema_check_dynamic(const json_t *document, const char *root, const Reporter *reporter)
{
	const json_t *postgresql = json_object_get(document, "postgresql");
	const char *name;
	json_t *value;

	if (root[0] == '\0')
		check_section(document, "dcs", "", document, reporter, 0);
	warn_local_only(postgresql, root, reporter);
	json_object_foreach(json_object_get(postgresql, "parameters"), name, value)
	{
		char path[CONFIG_PATH_MAX];
		const char *allowed;
		char shown[80];

		snprintf(path, sizeof(path), "%s", root);
		for (char *p = path; *p != '\0'; p++)
			if (*p == '.')
				*p = CONFIG_SEP;
		if (!path_append(path, sizeof(path), "postgresql") ||
		    !path_append(path, sizeof(path), "parameters") ||
		    !path_append(path, sizeof(path), name) || json_is_null(value))
			continue;
		if (strchr(name, '.') == NULL && !parameter_has_rule(name))
		{
			report(reporter, false, path, true,
			       parameter_is_recovery(name)
			           ? "\"%.100s\" is left out; it belongs to postgresql.recovery_conf"
			           : "\"%.100s\" is no known parameter of any server version",
			       name);
			continue;
		}
		if (!parameter_is_controlled(name) || parameter_controlled_valid(name, value, &allowed))
			continue;
		value_show(name, value, shown, sizeof(shown));
		if (allowed == NULL)
			report(reporter, false, path, true,
			       "\"%s\" cannot be set here; it is taken from the file of each node", name);
		else
			report(reporter, true, path, false, "%s is not allowed for \"%s\": it must be %s",
			       shown, name, allowed);
	}
}
