/*-------------------------------------------------------------------------
 *
 * settings.h
 *      What the operator wants: Patroni's YAML, the PATRONI_* environment and
 *      the dynamic configuration of the store, merged into one struct.
 *
 * Sources and precedence as in Patroni: defaults <- dynamic configuration
 * (filtered) <- local configuration.  Local configuration is kept as a JSON
 * document (a YAML map loses nothing that way) with the place of every value,
 * so that each error names file:line:column.  See docs/configuration.md.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_CONFIG_SETTINGS_H
#define PATRONI_CONFIG_SETTINGS_H

#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include "base/error.h"
#include "cluster/cluster.h"

/* --- the local configuration: file or directory, and environment --- */

typedef struct LocalConfig LocalConfig;

/* One problem found.  Warnings do not stop anything. */
typedef struct ConfigProblem
{
	bool		is_error;
	char		place[300];			/* "patroni.yml:12:3" or "environment variable X" */
	char		key[160];			/* "restapi.listen" */
	char		message[400];		/* full sentence in lower case, says the value */
} ConfigProblem;

typedef struct ConfigProblems
{
	ConfigProblem *items;			/* owned */
	int			count;
	int			n_errors;
} ConfigProblems;

extern void config_problems_init(ConfigProblems *problems);
extern void config_problems_free(ConfigProblems *problems);

/*
 * Read "path" (a file, or a directory of *.yml / *.yaml merged in sorted
 * order) and overlay the PATRONI_* variables of "environ".  path NULL:
 * PATRONI_CONFIGURATION or the variables alone.  Returns false when the
 * configuration cannot be used; all problems are listed either way.
 */
extern bool local_config_read(LocalConfig **config, const char *path, char **environment,
							  ConfigProblems *problems) MUST_CHECK;
extern void local_config_free(LocalConfig *config);
/* Borrowed: the merged document (environment included). */
extern const json_t *local_config_document(const LocalConfig *config);
/* Put another dynamic configuration in the place of bootstrap.dcs; nothing
 * happens when there is no bootstrap section. */
extern void local_config_set_initial(LocalConfig *config, json_t *dynamic);
/* Any YAML text as a new reference; NULL after an error was listed. */
extern json_t *config_read_yaml(const char *text, size_t length, const char *name,
								ConfigProblems *problems);
/* The names of the recognised PATRONI_* variables are removed by this. */
extern void local_config_scrub_environment(void);

/* --- effective settings --- */

#define SETTINGS_PATH_MAX	1024
#define SETTINGS_HOSTS_MAX	16
#define SETTINGS_PGBOUNCERS_MAX 256

typedef enum SyncMode
{
	SYNC_MODE_OFF,
	SYNC_MODE_ON,
	SYNC_MODE_QUORUM,
} SyncMode;

/* postgresql.authentication.{superuser,replication,rewind} */
typedef struct Credentials
{
	bool		exists;
	char		username[128];
	char		password[256];
	json_t	   *options;			/* owned; other libpq keywords (sslmode, ...) or NULL */
} Credentials;

/* pgbouncer.instances.<name>: a database of a PgBouncer that a switchover pauses. */
typedef struct PgBouncer
{
	char		name[64];
	char		host[256];			/* of the admin console; a path = the directory of its socket */
	int			port;
	char		database[64];		/* to pause */
	char		probe_database[64]; /* another name of it that is never paused; "" = none */
	char		username[128];		/* one of admin_users */
	char		password[256];		/* "" = none */
} PgBouncer;

typedef struct Address
{
	char		host[256];			/* "" or "*" = all */
	int			port;
} Address;

typedef struct Settings
{
	/* who */
	char		name[CLUSTER_NAME_MAX];
	char		scope[CLUSTER_NAME_MAX];
	char		namespace_[CLUSTER_NAME_MAX];
	char		base[384];			/* "/service/batman" */

	/* timing, adjusted as by Patroni 4.x, patroni/config.py, _validate_and_adjust_timeouts()
	 * (but ttl >= 2 s is ours) */
	int64_t		ttl_ms;
	int64_t		loop_wait_ms;
	int64_t		retry_timeout_ms;

	/* dynamic only */
	bool		is_paused;
	int64_t		maximum_lag_on_failover;	/* bytes */
	int64_t		maximum_lag_on_syncnode;	/* bytes, -1 off */
	bool		check_timeline;		/* checked only: the engine never does without */
	int64_t		primary_start_timeout_ms;
	int64_t		primary_stop_timeout_ms;
	int			max_timelines_history;
	SyncMode	synchronous_mode;
	bool		synchronous_mode_strict;
	int			synchronous_node_count;
	bool		failsafe_mode;
	int64_t		member_slots_ttl_ms;
	bool		use_slots;
	int64_t		health_connect_timeout_ms;	/* 0 = not looked for */
	int64_t		health_disk_timeout_ms;		/* likewise */

	/* DCS: the one section that is configured */
	char		dcs_driver[16];		/* "etcd3" */
	char		dcs_hosts[SETTINGS_HOSTS_MAX][300];
	int			n_dcs_hosts;
	char		dcs_protocol[8];
	char		dcs_username[128];
	char		dcs_password[256];
	char		dcs_cacert[SETTINGS_PATH_MAX];
	char		dcs_cert[SETTINGS_PATH_MAX];
	char		dcs_key[SETTINGS_PATH_MAX];
	char		dcs_proxy[256];
	bool		dcs_use_proxies;

	/* tags */
	MemberTags	tags;
	char	   *tags_json;			/* owned; effective tags, NULL none */

	/* restapi */
	Address		restapi_listen;
	char		restapi_connect_address[300];	/* host:port as published */
	bool		restapi_is_tls;		/* certfile is set */
	char		api_url[CLUSTER_URL_MAX];

	/* postgresql */
	char		listen_addresses[512];
	int			port;
	char		connect_host[256];
	int			connect_port;
	char		conn_url[CLUSTER_URL_MAX];
	char		proxy_url[CLUSTER_URL_MAX];		/* "" = none */
	char		data_dir[SETTINGS_PATH_MAX];
	char		config_dir[SETTINGS_PATH_MAX];	/* = data_dir unless set */
	char		config_base_name[128];
	char		bin_dir[SETTINGS_PATH_MAX];		/* "" = PATH */
	char		database[128];
	char		pgpass[SETTINGS_PATH_MAX];
	Credentials superuser, replication, rewind;
	bool		use_unix_socket;
	bool		use_unix_socket_repl;
	bool		use_pg_rewind;
	bool		remove_data_directory_on_rewind_failure;
	bool		remove_data_directory_on_diverged_timelines;
	int64_t		pg_ctl_timeout_ms;
	char		pre_promote[SETTINGS_PATH_MAX];
	char		before_stop[SETTINGS_PATH_MAX];
	bool		may_bootstrap;		/* there is a bootstrap section */

	/* pgbouncer */
	PgBouncer  *pgbouncers;			/* owned */
	int			n_pgbouncers;
	int64_t		pgbouncer_connect_timeout_ms;	/* a console that is silent as long is left out */
	int64_t		pgbouncer_pause_timeout_ms; /* for transactions under way */
	int64_t		pgbouncer_check_interval_ms;	/* so often the proxy behind it looks who leads */
	int64_t		pgbouncer_resume_timeout_ms;	/* from the pause on, whatever happens */

	/*
	 * The effective document as JSON (owned): for what is a list or a map
	 * (postgresql.parameters, pg_hba, callbacks, bootstrap.initdb, ...).
	 */
	json_t	   *document;
} Settings;

extern void settings_init(Settings *settings);
extern void settings_free(Settings *settings);
/*
 * Merge defaults, dynamic configuration (JSON text or NULL) and local
 * configuration.  Wrong values are listed and make it return false; *settings
 * is then untouched.
 */
extern bool settings_merge(Settings *settings, const LocalConfig *local,
						   const char *dynamic_json, ConfigProblems *problems) MUST_CHECK;

/* Scope, namespace and store only, for the command line. */
extern bool settings_for_client(Settings *settings, const LocalConfig *local,
								ConfigProblems *problems) MUST_CHECK;

/* The same from a local document sent by the supervisor: the worker's way. */
extern LocalConfig *local_config_from_json(const char *json_text);
extern char *local_config_to_json(const LocalConfig *config);	/* malloc'ed; holds secrets */

/* bootstrap.dcs with our defaults for a new cluster (ttl 10, loop_wait 5,
 * retry_timeout 3, failsafe_mode off where unset): the first "config" key.  malloc'ed. */
extern char *settings_initial_dynamic(const LocalConfig *local);

/* Merge a patch as PATCH /config does: null removes, objects recurse.
 * malloc'ed; NULL and *error when either text is no JSON object. */
extern char *dynamic_patch(const char *config_json, const char *patch_json, Error *error);
/* Check a dynamic configuration before it is written.  Unknown keys warn. */
extern bool dynamic_validate(const char *config_json, ConfigProblems *problems) MUST_CHECK;

/* Values: patroni/utils.py, parse_bool() and parse_int(). */
extern bool value_is_true(const json_t *value);
extern bool value_to_bool(const json_t *value, bool *result);
extern bool value_to_int(const json_t *value, const char *base_unit, int64_t *result);	/* base_unit NULL, "s", "ms", "B", "kB", ... */

/* The GUC parameters of the server: controlled ones for the command line, the
 * rest for postgresql.conf, checked against the table of guc_rules.c (as in
 * patroni/postgresql/validator.py).  Both are new references: name -> text value. */
extern bool settings_server_parameters(const Settings *settings, int server_version_num,
									   json_t **command_line, json_t **config_file,
									   ConfigProblems *problems) MUST_CHECK;
/* Add a library at the end of a list as shared_preload_libraries has. */
extern bool preload_add(const char *list, const char *library, char *result,
						size_t size) MUST_CHECK;
/* Say that a value in the server's own files is not the one in force. */
extern void parameter_overruled(ConfigProblems *problems, const char *name, const char *own,
								const char *in_force);

#endif							/* PATRONI_CONFIG_SETTINGS_H */
