/*-------------------------------------------------------------------------
 *
 * test_settings.c
 *      Sources, precedence, effective settings, the dynamic configuration.
 *-------------------------------------------------------------------------
 */
#include "config_test.h"

static Settings settings;
static ConfigProblems problems;

/* Read and merge; the caller has settings and problems. */
static bool
merge(const char *yaml, char **environment, const char *dynamic)
{
	LocalConfig *config = read_text(yaml, environment, &problems);
	bool ok = config != NULL;

	settings_free(&settings);
	if (ok)
		ok = settings_merge(&settings, config, dynamic, &problems);
	local_config_free(config);
	return ok;
}

static int
forget(void **state)
{
	(void) state;
	settings_free(&settings);
	config_problems_free(&problems);
	return 0;
}

static void
test_minimal(void **state)
{
	char expected[128];

	(void) state;
	assert_true(merge(MINIMAL, NULL, NULL));
	assert_int_equal(problems.count, 0);
	assert_string_equal(settings.base, "/service/batman");
	assert_int_equal(settings.ttl_ms, 30000);
	assert_int_equal(settings.loop_wait_ms, 10000);
	assert_int_equal(settings.retry_timeout_ms, 10000);
	assert_int_equal(settings.maximum_lag_on_failover, 1048576);
	assert_int_equal(settings.maximum_lag_on_syncnode, -1);
	assert_int_equal(settings.primary_start_timeout_ms, 300000);
	assert_int_equal(settings.n_dcs_hosts, 2);
	assert_string_equal(settings.dcs_hosts[0], "10.0.0.1:2379");
	assert_string_equal(settings.dcs_hosts[1], "10.0.0.2:2379");
	assert_string_equal(settings.api_url, "http://10.0.0.1:8008/patroni");
	assert_string_equal(settings.conn_url, "postgres://10.0.0.1:5432/postgres");
	snprintf(expected, sizeof(expected), "%s/data", test_directory);
	assert_string_equal(settings.data_dir, expected);
	assert_string_equal(settings.config_dir, expected);
	assert_true(settings.use_slots);
	assert_true(settings.replication.exists);
	assert_false(settings.superuser.exists);
	assert_false(settings.may_bootstrap);
	assert_null(settings.tags_json);
}

static void
test_places_of_errors(void **state)
{
	(void) state;
	assert_false(merge(MINIMAL "watchdog:\n  safety_margin: abc\n", NULL, NULL));
	assert_non_null(
	    find_problem(&problems, true, "patroni.yml:15:18", "\"abc\" is not an integer"));
	forget(NULL);
	assert_false(merge("scope: a\nname: b\nrestapi:\n  listen: nowhere\n", NULL, NULL));
	assert_non_null(find_problem(&problems, true, "patroni.yml:4:11", "not an address"));
	assert_non_null(find_problem(&problems, true, NULL, "\"postgresql.listen\" is required"));
	assert_non_null(find_problem(&problems, true, NULL, "no section for a consensus store"));
	forget(NULL);
	assert_false(merge(MINIMAL "tags:\n  nofailover: perhaps\n", NULL, NULL));
	assert_non_null(
	    find_problem(&problems, true, "patroni.yml:15:15", "\"perhaps\" is not a boolean"));
	forget(NULL);
	assert_false(merge("", NULL, NULL));
	assert_non_null(find_problem(&problems, true, "patroni.yml", "empty"));
}

static void
test_unknown_keys_warn(void **state)
{
	const ConfigProblem *problem;

	(void) state;
	assert_true(merge(MINIMAL "watchdgo:\n  mode: off\n", NULL, NULL));
	problem = find_problem(&problems, false, "patroni.yml:14:1", "did you mean \"watchdog\"?");
	assert_non_null(problem);
	assert_string_equal(problem->key, "watchdgo");
	forget(NULL);
	assert_true(merge(MINIMAL "ttl: 30\n", NULL, NULL));
	assert_non_null(find_problem(&problems, false, "patroni.yml:14:1", "belongs to the dynamic"));
	forget(NULL);
	assert_true(merge(MINIMAL "  parameters:\n    max_connections: 5\n", NULL, NULL));
	assert_non_null(find_problem(&problems, false, "patroni.yml:15:5", "whole cluster"));
	forget(NULL);
	assert_true(merge(MINIMAL
	                  "  create_replica_methods: [wal_e]\n  wal_e:\n    command: x\n    foo: 1\n",
	                  NULL, NULL));
	assert_int_equal(problems.count, 0);
}

#define BOUNCERS \
	MINIMAL "pgbouncer:\n  username: patroni\n  password: \"top secret\"\n  instances:\n"

static void
test_pgbouncers(void **state)
{
	(void) state;
	assert_true(merge(MINIMAL, NULL, NULL));
	assert_int_equal(settings.n_pgbouncers, 0);
	assert_true(merge(BOUNCERS "    app1:\n      host: 10.0.0.21\n      database: app\n"
	                           "    app2:\n      host: app2\n      port: 6433\n      database: app\n"
	                           "      probe_database: probe\n      password: other\n",
	                  NULL, NULL));
	assert_int_equal(problems.count, 0);
	assert_int_equal(settings.n_pgbouncers, 2);
	assert_int_equal(settings.pgbouncer_connect_timeout_ms, 250);
	assert_int_equal(settings.pgbouncer_pause_timeout_ms, 2000);
	assert_int_equal(settings.pgbouncer_resume_timeout_ms, 10000);
	assert_int_equal(settings.pgbouncer_check_interval_ms, 100);
	for (int i = 0; i < 2; i++)
	{
		const PgBouncer *one = &settings.pgbouncers[i];
		bool is_first = strcmp(one->name, "app1") == 0;

		assert_string_equal(one->host, is_first ? "10.0.0.21" : "app2");
		assert_int_equal(one->port, is_first ? 6432 : 6433);
		assert_string_equal(one->database, "app");
		assert_string_equal(one->probe_database, is_first ? "" : "probe");
		assert_string_equal(one->username, "patroni");
		assert_string_equal(one->password, is_first ? "top secret" : "other");
	}
	forget(NULL);
	assert_true(merge(MINIMAL "pgbouncer:\n  connect_timeout: 100ms\n  pause_timeout: 1.5\n"
	                          "  resume_timeout: 1 min\n  check_interval: 0\n",
	                  NULL, NULL));
	assert_int_equal(problems.count, 0);
	assert_int_equal(settings.pgbouncer_connect_timeout_ms, 100);
	assert_int_equal(settings.pgbouncer_pause_timeout_ms, 1500);
	assert_int_equal(settings.pgbouncer_resume_timeout_ms, 60000);
	assert_int_equal(settings.pgbouncer_check_interval_ms, 0);
}

static void
test_pgbouncers_wrong(void **state)
{
	(void) state;
	assert_false(merge(BOUNCERS "    app1:\n      host: 10.0.0.21\n      port: 70000\n", NULL, NULL));
	assert_non_null(find_problem(&problems, true, "patroni.yml:20:13", "too large"));
	forget(NULL);
	assert_false(merge(BOUNCERS "    app1:\n      host: 10.0.0.21\n", NULL, NULL));
	assert_non_null(find_problem(&problems, true, "patroni.yml:18:5", "\"database\" is required"));
	forget(NULL);
	assert_false(merge(MINIMAL "pgbouncer:\n  instances:\n    a:\n      host: b\n      database: c\n",
	                   NULL, NULL));
	assert_non_null(find_problem(&problems, true, "patroni.yml:16:5", "\"username\" is required"));
	forget(NULL);
	assert_false(merge(BOUNCERS "    a:\n      host: b\n      database: c\n"
	                            "    d:\n      host: b\n      database: c\n",
	                   NULL, NULL));
	assert_non_null(find_problem(&problems, true, NULL, "the same PgBouncer and database"));
	forget(NULL);
	assert_false(merge(BOUNCERS "    a:\n      host: b\n      database: c\n      probe_database: c\n",
	                   NULL, NULL));
	assert_non_null(find_problem(&problems, true, "patroni.yml:21:23", "a probe needs another name"));
	forget(NULL);
	assert_false(merge(BOUNCERS "    a: [1]\n", NULL, NULL));
	assert_non_null(find_problem(&problems, true, "patroni.yml:18:8", "not a map"));
	forget(NULL);
	assert_true(merge(BOUNCERS "    a:\n      host: b\n      database: c\n      databse: d\n", NULL, NULL));
	assert_non_null(find_problem(&problems, false, "patroni.yml:21:7", "did you mean \"database\"?"));
	forget(NULL);
	assert_false(merge(MINIMAL "pgbouncer:\n  pause_timeout: soon\n", NULL, NULL));
	assert_non_null(find_problem(&problems, true, "patroni.yml:15:18", "is not a time"));
	forget(NULL);
	assert_false(merge(BOUNCERS "    a:\n      host: b\n      database: c\n"
	                            "  pause_timeout: 5\n  resume_timeout: 5.5\n",
	                   NULL, NULL));
	assert_non_null(find_problem(&problems, true, "patroni.yml:22:19", "at least pause_timeout + 1 s"));
	for (int i = 0; i < problems.count; i++)
		assert_null(strstr(problems.items[i].message, "secret"));
}

static void
test_environment_wins(void **state)
{
	char *environment[] = {
		"PATRONI_NAME=other",
		"PATRONI_ETCD3_HOSTS=[::1]:2379,h2:1",
		"PATRONI_SCOPE=",
		"PATRONI_RESTAPI_ALLOWLIST=a, b",
		"PATRONI_CTL_INSECURE=on",
		"PATRONI_LOG_LEVEL=DEBUG",
		"PATRONI_LOGLEVEL=ERROR",
		"PATRONI_REPLICATION_PASSWORD=topsecret",
		"PATRONI_SERVICE_HOST=x",
		"PATRONI_LOG_LOGGERS=a: b, c: d",
		"HOME=/home/x",
		NULL,
	};
	char *bad[] = { "PATRONI_LOG_FILE_NUM=many", NULL };

	(void) state;
	assert_true(merge(MINIMAL, environment, NULL));
	assert_int_equal(problems.count, 0);
	assert_string_equal(settings.name, "other");
	assert_string_equal(settings.scope, "batman");
	assert_string_equal(settings.dcs_hosts[0], "[::1]:2379");
	assert_string_equal(settings.dcs_hosts[1], "h2:1");
	assert_string_equal(settings.replication.username, "replicator");
	assert_string_equal(settings.replication.password, "topsecret");
	assert_string_equal(settings.pgpass, "/home/x/pgpass");
	assert_int_equal(json_array_size(document_get(settings.document, "restapi.allowlist")), 2);
	assert_true(json_is_true(document_get(settings.document, "ctl.insecure")));
	assert_string_equal(json_string_value(document_get(settings.document, "log.level")), "DEBUG");
	assert_string_equal(json_string_value(document_get(settings.document, "log.loggers.c")), "d");
	forget(NULL);
	assert_false(merge(MINIMAL, bad, NULL));
	assert_non_null(find_problem(&problems, true, "environment variable PATRONI_LOG_FILE_NUM",
	                             "\"many\" is not an integer"));
}

static void
test_environment_alone(void **state)
{
	char *whole[] = { "PATRONI_CONFIGURATION=" MINIMAL, "PATRONI_NAME=ignored", NULL };
	char *none[] = { "HOME=/", NULL };
	LocalConfig *config;

	(void) state;
	config_problems_free(&problems);
	assert_true(local_config_read(&config, NULL, whole, &problems));
	assert_string_equal(json_string_value(document_get(local_config_document(config), "name")),
	                    "node1");
	local_config_free(config);
	assert_false(local_config_read(&config, NULL, none, &problems));
	assert_null(config);
	assert_false(local_config_read(&config, "missing.yml", none, &problems));
	assert_non_null(find_problem(&problems, true, "missing.yml", "could not find"));
	setenv("PATRONI_ETCD3_PASSWORD", "x", 1);
	setenv("PATRONI_CONFIGURATION", "x", 1);
	setenv("PATRONI_REWIND_SSLKEY", "x", 1);
	setenv("PATRONI_UNRELATED", "x", 1);
	local_config_scrub_environment();
	assert_null(getenv("PATRONI_ETCD3_PASSWORD"));
	assert_null(getenv("PATRONI_CONFIGURATION"));
	assert_null(getenv("PATRONI_REWIND_SSLKEY"));
	assert_non_null(getenv("PATRONI_UNRELATED"));
}

static void
test_directory_merge(void **state)
{
	char *none[] = { NULL };
	LocalConfig *config;

	(void) state;
	config_problems_free(&problems);
	assert_int_equal(system("mkdir d"), 0);
	write_text("d/10-a.yml", MINIMAL "tags:\n  a: 1\n  b: 2\nlog:\n  level: INFO\n");
	write_text(
	    "d/20-b.yaml",
	    "name: second\ntags:\n  a: null\n  c: [x]\nlog: null\nwatchdog:\n  safety_margin: x\n");
	write_text("d/30-c.txt", "name: third\n");
	assert_false(local_config_read(&config, "d", none, &problems));
	assert_non_null(find_problem(&problems, true, "d/20-b.yaml:7:18", "\"x\" is not an integer"));
	config_problems_free(&problems);
	write_text("d/20-b.yaml", "name: second\ntags:\n  a: null\n  c: [x]\nlog: null\n");
	assert_true(local_config_read(&config, "d/", none, &problems));
	assert_string_equal(json_string_value(document_get(config->document, "name")), "second");
	assert_null(document_get(config->document, "tags.a"));
	assert_non_null(document_get(config->document, "tags.b"));
	assert_non_null(document_get(config->document, "tags.c"));
	assert_null(document_get(config->document, "log"));
	local_config_free(config);
	write_text("d/40-list.yml", "[1]\n");
	assert_false(local_config_read(&config, "d", none, &problems));
	assert_non_null(find_problem(&problems, true, "d/40-list.yml", "does not contain a map"));
	assert_int_equal(system("rm -r d"), 0);
}

static void
test_precedence(void **state)
{
	const json_t *parameters;

	(void) state;
	assert_true(merge(
	    MINIMAL "  use_slots: false\n"
	            "  pg_hba: [local]\n"
	            "  parameters: {Work_Mem: 8MB, max_connections: 77}\n",
	    NULL,
	    "{\"postgresql\": {\"use_slots\": true, \"listen\": \"1.1.1.1:1\", \"data_dir\": \"/x\","
	    " \"use_pg_rewind\": \"on\", \"pg_hba\": [\"a\", \"b\"],"
	    " \"parameters\": {\"work_mem\": \"4MB\", \"max_connections\": 200, \"max_wal_senders\": 1,"
	    "   \"port\": 1}}, \"loop_wait\": \"7\", \"slots\": {\"s\": null},"
	    " \"synchronous_mode\": \"QUORUM\", \"master_start_timeout\": 5,"
	    " \"standby_cluster\": {\"port\": null, \"odd\": 1}, \"maximum_lag_on_failover\": "
	    "\"x\"}"));
	assert_int_equal(settings.port, 5432);
	assert_int_equal(settings.loop_wait_ms, 7000);
	assert_int_equal(settings.synchronous_mode, SYNC_MODE_QUORUM);
	assert_int_equal(settings.primary_start_timeout_ms, 5000);
	assert_int_equal(settings.maximum_lag_on_failover, 1048576);
	assert_non_null(find_problem(&problems, false, "dynamic configuration", "1048576 is used"));
	assert_true(settings.use_slots);
	assert_true(settings.use_pg_rewind);
	parameters = document_get(settings.document, "postgresql.parameters");
	assert_string_equal(json_string_value(json_object_get(parameters, "work_mem")), "8MB");
	assert_null(json_object_get(parameters, "Work_Mem"));
	assert_int_equal(json_integer_value(json_object_get(parameters, "max_connections")), 200);
	assert_string_equal(json_string_value(json_object_get(parameters, "max_wal_senders")), "10");
	assert_int_equal(json_array_size(document_get(settings.document, "postgresql.pg_hba")), 1);
	assert_non_null(document_get(settings.document, "slots"));
	assert_null(document_get(settings.document, "standby_cluster.odd"));
	assert_non_null(find_problem(&problems, false, NULL, "at least 3"));
}

/* What would be missed is said, what is not asked for is not; a standby cluster's leader must not take writes. */
static void
test_not_applied(void **state)
{
	(void) state;
	assert_true(merge(MINIMAL, NULL, "{\"standby_cluster\": null}"));
	assert_int_equal(problems.count, 0);
	assert_false(merge(MINIMAL, NULL, "{\"standby_cluster\": {\"restore_command\": \"cp a b\"}}"));
	assert_non_null(find_problem(&problems, true, "dynamic configuration", "not supported"));
	assert_true(merge(MINIMAL "  pre_promote: /bin/true\n", NULL, NULL));
	assert_non_null(find_problem(&problems, false, NULL, "is not run"));
}

static void
test_health(void **state)
{
	(void) state;
	assert_true(merge(MINIMAL, NULL, NULL));
	assert_int_equal(settings.health_connect_timeout_ms, 15000);
	assert_int_equal(settings.health_disk_timeout_ms, 30000);
	assert_true(merge(MINIMAL, NULL, "{\"health\": {\"connect_timeout\": 5, \"disk_timeout\": \"1min\"}}"));
	assert_int_equal(problems.count, 0);
	assert_int_equal(settings.health_connect_timeout_ms, 5000);
	assert_int_equal(settings.health_disk_timeout_ms, 60000);
	assert_true(merge(MINIMAL, NULL, "{\"health\": {\"connect_timeout\": 0, \"disk_timeout\": \"soon\"}}"));
	assert_int_equal(settings.health_connect_timeout_ms, 0);
	assert_int_equal(settings.health_disk_timeout_ms, 30000);
	assert_non_null(find_problem(&problems, false, NULL, "is not a number of seconds, 30 is used"));
	/* a misspelt one is said so; a new cluster can begin with them */
	assert_true(dynamic_validate("{\"health\": {\"disk_timeout\": 10, \"dsk_timeout\": 10}}", &problems));
	assert_non_null(find_problem(&problems, false, NULL, "did you mean"));
	assert_true(merge(MINIMAL "bootstrap:\n  dcs: {health: {connect_timeout: 7}}\n", NULL, NULL));
}

static void
times(const char *dynamic, int ttl, int loop_wait, int retry_timeout)
{
	assert_true(merge(MINIMAL, NULL, dynamic));
	assert_int_equal(settings.ttl_ms, ttl * 1000);
	assert_int_equal(settings.loop_wait_ms, loop_wait * 1000);
	assert_int_equal(settings.retry_timeout_ms, retry_timeout * 1000);
	config_problems_free(&problems);
}

static void
test_timing(void **state)
{
	(void) state;
	times("{}", 30, 10, 10);
	times("{\"ttl\": 20}", 20, 1, 9);
	times("{\"ttl\": 20, \"retry_timeout\": 9}", 20, 2, 9);
	times("{\"ttl\": 25, \"retry_timeout\": 5}", 25, 10, 5);
	times("{\"ttl\": 10, \"loop_wait\": 5, \"retry_timeout\": 3}", 10, 5, 3);
	times("{\"ttl\": 10}", 10, 5, 10);
	times("{\"ttl\": 3}", 3, 1, 3);
	times("{\"ttl\": 0, \"loop_wait\": 0, \"retry_timeout\": -4}", 2, 1, 1);
	assert_true(merge(MINIMAL, NULL, "{\"ttl\": 19}"));
	assert_non_null(find_problem(&problems, false, "dynamic configuration",
	                             "Patroni members in the same cluster want a ttl of at least 20"));
}

static void
test_rejected_changes_nothing(void **state)
{
	LocalConfig *config;

	(void) state;
	config = read_text(MINIMAL, NULL, &problems);
	assert_true(settings_merge(&settings, config, "{\"ttl\": 40}", &problems));
	assert_false(settings_merge(&settings, config, "{\"ttl\": \"30s\"}", &problems));
	assert_false(settings_merge(&settings, config, "[]", &problems));
	assert_false(settings_merge(&settings, config, "{", &problems));
	assert_int_equal(settings.ttl_ms, 40000);
	assert_string_equal(settings.name, "node1");
	local_config_free(config);
}

static void
store_refused(const char *section, const char *message)
{
	char yaml[2048];
	const char *minimal = MINIMAL;
	const char *etcd = strstr(minimal, "etcd3:");
	const char *after = strstr(minimal, "postgresql:");

	snprintf(yaml, sizeof(yaml), "%.*s%s%s", (int) (etcd - minimal), minimal, section, after);
	assert_false(merge(yaml, NULL, NULL));
	assert_non_null(find_problem(&problems, true, NULL, message));
	forget(NULL);
}

static void
test_stores(void **state)
{
	(void) state;
	store_refused("consul:\n  host: x\n", "the store \"consul\" is not supported");
	store_refused("etcd:\n  host: x\n", "rename the section to \"etcd3\"");
	store_refused("etcd3:\n  srv: x\n", "DNS SRV");
	store_refused("etcd3: {}\n", "is required in \"etcd3\"");
	store_refused("etcd3:\n  url: 10.0.0.1\n", "not a URL");
	store_refused("", "no section for a consensus store");
	assert_true(
	    merge(MINIMAL "etcd3: {url: 'https://u:p%40@[::1]:77/x', cacert: ca.pem}\n", NULL, NULL));
	assert_string_equal(settings.dcs_hosts[0], "[::1]:77");
	assert_string_equal(settings.dcs_protocol, "https");
	assert_string_equal(settings.dcs_username, "u");
	assert_string_equal(settings.dcs_password, "p@");
	assert_int_equal(settings.dcs_cacert[0], '/');
}

static void
test_tags(void **state)
{
	(void) state;
	assert_true(merge(
	    MINIMAL
	    "tags: {nofailover: false, nosync: false, clonefrom: true, dc: a, sync_priority: 2}\n",
	    NULL, NULL));
	assert_string_equal(settings.tags_json,
	                    "{\"nosync\":false,\"clonefrom\":true,\"dc\":\"a\",\"sync_priority\":2}");
	assert_true(settings.tags.clonefrom);
	assert_int_equal(settings.tags.sync_priority, 2);
	assert_int_equal(problems.count, 0);
	assert_true(merge(MINIMAL "tags: {nofailover: true, failover_priority: 3}\n", NULL, NULL));
	assert_true(settings.tags.nofailover);
	assert_non_null(find_problem(&problems, false, NULL, "contradicts"));
}

static void
test_initial_dynamic(void **state)
{
	LocalConfig *config;
	char *text;

	(void) state;
	config = read_text(MINIMAL, NULL, &problems);
	text = settings_initial_dynamic(config);
	assert_string_equal(text,
	                    "{\"ttl\":10,\"loop_wait\":5,\"retry_timeout\":3,\"failsafe_mode\":false}");
	free(text);
	local_config_free(config);
	config = read_text(
	    MINIMAL
	    "bootstrap: {dcs: {ttl: 30, failsafe_mode: true, postgresql: {use_pg_rewind: true}}}\n",
	    NULL, &problems);
	text = settings_initial_dynamic(config);
	assert_string_equal(
	    text, "{\"ttl\":30,\"failsafe_mode\":true,\"postgresql\":{\"use_pg_rewind\":true},"
	          "\"loop_wait\":5,\"retry_timeout\":3}");
	free(text);
	local_config_free(config);
}

static void
test_patch_and_validate(void **state)
{
	Error error;
	char *text;

	(void) state;
	text = dynamic_patch("{\"ttl\":30,\"a\":{\"b\":1,\"c\":2},\"l\":[1]}",
	                     "{\"ttl\":null,\"a\":{\"b\":null,\"d\":3},\"l\":[2]}", &error);
	assert_string_equal(text, "{\"a\":{\"c\":2,\"d\":3},\"l\":[2]}");
	free(text);
	assert_null(dynamic_patch("{}", "[1]", &error));
	assert_non_null(strstr(error.message, "not a JSON object"));
	assert_null(dynamic_patch("{", "{}", &error));
	config_problems_free(&problems);
	assert_true(
	    dynamic_validate("{\"ttl\":30,\"slots\":{\"a\":null},\"postgresql\":{\"parameters\":{\"max_"
	                     "connections\":100,\"patroni.fence\":\"on\"}}}",
	                     &problems));
	assert_int_equal(problems.count, 0);
	assert_true(dynamic_validate("{\"tttl\":30}", &problems));
	assert_non_null(
	    find_problem(&problems, false, "dynamic configuration", "did you mean \"ttl\"?"));
	assert_false(dynamic_validate("{\"ttl\":\"x\",\"pause\":\"maybe\",\"postgresql\":{"
	                              "\"parameters\":{\"max_connections\":10}}}",
	                              &problems));
	assert_int_equal(problems.n_errors, 3);
	assert_false(dynamic_validate("7", &problems));
}

static void
test_round_trip(void **state)
{
	LocalConfig *config;
	LocalConfig *again;
	Settings second;
	char *text;

	(void) state;
	config = read_text(MINIMAL, NULL, &problems);
	assert_true(settings_merge(&settings, config, NULL, &problems));
	text = local_config_to_json(config);
	assert_int_equal(chdir("/"), 0);
	again = local_config_from_json(text);
	settings_init(&second);
	assert_true(settings_merge(&second, again, NULL, &problems));
	assert_string_equal(second.data_dir, settings.data_dir);
	assert_true(json_equal(second.document, settings.document));
	assert_int_equal(chdir(test_directory), 0);
	assert_null(local_config_from_json("[1]"));
	assert_null(local_config_from_json("{"));
	settings_free(&second);
	free(text);
	local_config_free(again);
	local_config_free(config);
}

static void
test_secrets_are_hidden(void **state)
{
	(void) state;
	assert_false(merge(
	    MINIMAL "ctl:\n  authentication:\n    password: [hush]\n  keyfile_password: {a: hush}\n",
	    NULL, NULL));
	store_refused("etcd3:\n  url: ftp://u:hush@h\n", "not a URL");
	assert_false(merge(MINIMAL "etcd3:\n  hosts: 'u:hush@h:1'\n", NULL, NULL));
	for (int i = 0; i < problems.count; i++)
		assert_null(strstr(problems.items[i].message, "hush"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_minimal, NULL, forget),
		cmocka_unit_test_setup_teardown(test_not_applied, NULL, forget),
		cmocka_unit_test_setup_teardown(test_health, NULL, forget),
		cmocka_unit_test_setup_teardown(test_places_of_errors, NULL, forget),
		cmocka_unit_test_setup_teardown(test_unknown_keys_warn, NULL, forget),
		cmocka_unit_test_setup_teardown(test_pgbouncers, NULL, forget),
		cmocka_unit_test_setup_teardown(test_pgbouncers_wrong, NULL, forget),
		cmocka_unit_test_setup_teardown(test_environment_wins, NULL, forget),
		cmocka_unit_test_setup_teardown(test_environment_alone, NULL, forget),
		cmocka_unit_test_setup_teardown(test_directory_merge, NULL, forget),
		cmocka_unit_test_setup_teardown(test_precedence, NULL, forget),
		cmocka_unit_test_setup_teardown(test_timing, NULL, forget),
		cmocka_unit_test_setup_teardown(test_rejected_changes_nothing, NULL, forget),
		cmocka_unit_test_setup_teardown(test_stores, NULL, forget),
		cmocka_unit_test_setup_teardown(test_tags, NULL, forget),
		cmocka_unit_test_setup_teardown(test_initial_dynamic, NULL, forget),
		cmocka_unit_test_setup_teardown(test_patch_and_validate, NULL, forget),
		cmocka_unit_test_setup_teardown(test_round_trip, NULL, forget),
		cmocka_unit_test_setup_teardown(test_secrets_are_hidden, NULL, forget),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
