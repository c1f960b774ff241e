/*-------------------------------------------------------------------------
 *
 * test_parameters.c
 *      Parameters of the server, shared_preload_libraries, units.
 *-------------------------------------------------------------------------
 */
#include "config_test.h"

static json_t *command_line;
static json_t *config_file;
static ConfigProblems problems;

static bool
parameters(const char *yaml_map, const char *dynamic, int version)
{
	char yaml[4096];
	LocalConfig *config;
	Settings settings;
	bool ok;

	json_decref(command_line);
	json_decref(config_file);
	command_line = config_file = NULL;
	config_problems_free(&problems);
	snprintf(yaml, sizeof(yaml), MINIMAL "  parameters: %s\n", yaml_map);
	config = read_text(yaml, NULL, &problems);
	assert_non_null(config);
	settings_init(&settings);
	assert_true(settings_merge(&settings, config, dynamic, &problems));
	ok = settings_server_parameters(&settings, version, &command_line, &config_file, &problems);
	settings_free(&settings);
	local_config_free(config);
	return ok;
}

#define FILE_IS(name, value) \
	assert_string_equal(json_string_value(json_object_get(config_file, name)), value)
#define OPTION_IS(name, value) \
	assert_string_equal(json_string_value(json_object_get(command_line, name)), value)

static void
test_controlled(void **state)
{
	(void) state;
	assert_true(parameters("{}", NULL, 150020));
	assert_int_equal(json_object_size(command_line), 14);
	OPTION_IS("listen_addresses", "10.0.0.1");
	OPTION_IS("port", "5432");
	OPTION_IS("cluster_name", "batman");
	OPTION_IS("wal_level", "replica");
	OPTION_IS("hot_standby", "on");
	OPTION_IS("max_connections", "100");
	OPTION_IS("wal_log_hints", "on");
	OPTION_IS("track_commit_timestamp", "off");
	FILE_IS("wal_keep_size", "128MB");
	FILE_IS("shared_preload_libraries", "patroni_bgw");
	OPTION_IS("shared_preload_libraries", "patroni_bgw");
	assert_int_equal(json_object_size(config_file), 2);
	assert_true(parameters(
	    "{max_connections: 5}",
	    "{\"postgresql\":{\"parameters\":{\"max_connections\":\"150\",\"wal_level\":\"logical\","
	    "\"hot_standby\":\"off\",\"wal_keep_segments\":4,\"track_commit_timestamp\":true}}}",
	    130000));
	OPTION_IS("max_connections", "150");
	OPTION_IS("wal_level", "logical");
	OPTION_IS("hot_standby", "on");
	OPTION_IS("track_commit_timestamp", "on");
	FILE_IS("wal_keep_size", "64MB");
}

static void
test_rules(void **state)
{
	(void) state;
	assert_true(
	    parameters("{work_mem: 1kB, checkpoint_timeout: 10d, synchronous_commit: on,"
	               " wal_compression: lz4, patroni.fence: on, restore_command: x, nosuch: 1,"
	               " log_connections: maybe, random_page_cost: 1.1, huge_pages: try,"
	               " bgwriter_delay: 5, archive_mode: always, log_temp_files: null,"
	               " vacuum_cost_delay: 200ms, transaction_timeout: 5s}",
	               NULL, 150020));
	FILE_IS("work_mem", "64");
	FILE_IS("checkpoint_timeout", "86400");
	FILE_IS("synchronous_commit", "on");
	FILE_IS("wal_compression", "lz4");
	FILE_IS("patroni.fence", "on");
	FILE_IS("random_page_cost", "1.1");
	FILE_IS("huge_pages", "try");
	FILE_IS("bgwriter_delay", "10");
	FILE_IS("archive_mode", "always");
	FILE_IS("vacuum_cost_delay", "100");
	assert_null(json_object_get(config_file, "restore_command"));
	assert_null(json_object_get(config_file, "nosuch"));
	assert_null(json_object_get(config_file, "log_connections"));
	assert_null(json_object_get(config_file, "log_temp_files"));
	assert_null(json_object_get(config_file, "transaction_timeout"));
	assert_non_null(find_problem(&problems, false, NULL, "\"1kB\" is too small, 64 kB is used"));
	assert_non_null(find_problem(&problems, false, NULL, "\"10d\" is too large, 86400 s is used"));
	assert_non_null(find_problem(&problems, false, NULL, "PostgreSQL 15 has no such parameter"));
	assert_non_null(find_problem(&problems, false, NULL, "\"maybe\" is not a boolean"));
	assert_non_null(find_problem(&problems, false, NULL, "recovery_conf"));
	assert_true(parameters("{wal_compression: lz4, transaction_timeout: 5s}", NULL, 140000));
	assert_null(json_object_get(config_file, "wal_compression"));
	assert_true(parameters("{transaction_timeout: 5s, io_method: WORKER}", NULL, 180000));
	FILE_IS("transaction_timeout", "5s");
	FILE_IS("io_method", "WORKER");
}

static void
preload(const char *list, const char *expected)
{
	char result[256];

	if (expected == NULL)
	{
		assert_false(preload_add(list, "patroni_bgw", result, sizeof(result)));
		return;
	}
	assert_true(preload_add(list, "patroni_bgw", result, sizeof(result)));
	assert_string_equal(result, expected);
}

static void
test_preload(void **state)
{
	char small[16];

	(void) state;
	preload("", "patroni_bgw");
	preload("  ", "patroni_bgw");
	preload("pg_stat_statements", "pg_stat_statements, patroni_bgw");
	preload("citus,pg_cron", "citus,pg_cron, patroni_bgw");
	preload("a, patroni_bgw ,b", "a, patroni_bgw ,b");
	preload("\"patroni_bgw\"", "\"patroni_bgw\"");
	preload("$libdir/patroni_bgw.so", "$libdir/patroni_bgw.so");
	preload("patroni_bgw2", "patroni_bgw2, patroni_bgw");
	preload("\"a, patroni_bgw\"", "\"a, patroni_bgw\", patroni_bgw");
	preload("\"a\"\"b\"", "\"a\"\"b\", patroni_bgw");
	preload("\"open", NULL);
	preload("\"open\"\"", NULL);
	preload("a,,b", NULL);
	preload("a,", NULL);
	assert_false(preload_add("longlonglong", "patroni_bgw", small, sizeof(small)));
	assert_true(parameters("{Shared_Preload_Libraries: pg_cron}", NULL, 150000));
	FILE_IS("Shared_Preload_Libraries", "pg_cron, patroni_bgw");
	assert_null(json_object_get(config_file, "shared_preload_libraries"));
	assert_false(parameters("{shared_preload_libraries: 'a,,b'}", NULL, 150000));
	assert_null(config_file);
}

static void
int_is(const char *text, const char *unit, long long expected)
{
	int64_t result = -99;

	assert_true(text_to_int(text, unit, &result));
	assert_int_equal(result, expected);
}

static void
test_values(void **state)
{
	int64_t integer;
	bool truth;
	json_t *value;

	(void) state;
	int_is("10", NULL, 10);
	int_is(" 0x400 MB ", "16384kB", 64);
	int_is("010", NULL, 8);
	int_is("1MB", "kB", 1024);
	int_is("1000 ms", "s", 1);
	int_is("6GB", "16MB", 384);
	int_is("4097.5kB", "kB", 4098);
	int_is("30min", "s", 1800);
	int_is("1.5e2", NULL, 150);
	int_is("-1", "kB", -1);
	assert_false(text_to_int("", NULL, &integer));
	assert_false(text_to_int("abc", NULL, &integer));
	assert_false(text_to_int("5s", NULL, &integer));
	assert_false(text_to_int("5s", "kB", &integer));
	assert_false(text_to_int("1mb", "kB", &integer));
	assert_false(text_to_int("99999999999999999999", NULL, &integer));
	assert_false(text_to_int("9e30", NULL, &integer));
	value = json_real(2.5);
	assert_true(value_to_int(value, NULL, &integer));
	assert_int_equal(integer, 2);
	json_decref(value);
	assert_false(value_to_int(json_true(), NULL, &integer));
	assert_true(text_to_bool("YES", &truth) && truth);
	assert_true(text_to_bool("Off", &truth) && !truth);
	assert_false(text_to_bool("t", &truth));
	value = json_integer(2);
	assert_false(value_to_bool(value, &truth));
	json_decref(value);
	assert_false(value_to_bool(NULL, &truth));
}

static int
clean_up(void **state)
{
	json_decref(command_line);
	json_decref(config_file);
	config_problems_free(&problems);
	return remove_directory(state);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_controlled),
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_preload),
		cmocka_unit_test(test_values),
	};

	return cmocka_run_group_tests(tests, make_directory, clean_up);
}
