/*-------------------------------------------------------------------------
 *
 * test_own_conf.c
 *      Unit tests for own_conf.c, and for what conf_file.c keeps of it.
 *
 *-------------------------------------------------------------------------
 */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "postgres/own_conf.h"
#include "postgres/postgres_dir.h"

static char base[64];
static Settings settings;

static void
put(const char *name, const char *text)
{
	char		path[PATH_MAX];
	Error		error;

	assert_true(path_join(path, sizeof(path), base, name));
	assert_true(file_replace(path, text, strlen(text), 0600, &error));
}

static bool
has(const char *name, const char *text)
{
	char		path[PATH_MAX];
	char	   *content;
	bool		same;

	assert_true(path_join(path, sizeof(path), base, name));
	content = file_read(path, 65536, NULL);
	same = content != NULL && strcmp(content, text) == 0;
	free(content);
	return same;
}

/* A data directory, and a member that sets these parameters and rules. */
static int
begin(void **state)
{
	(void) state;
	snprintf(base, sizeof(base), "/tmp/test_own_conf.XXXXXX");
	if (mkdtemp(base) == NULL)
		return -1;
	settings_init(&settings);
	snprintf(settings.name, sizeof(settings.name), "node1");
	snprintf(settings.scope, sizeof(settings.scope), "batman");
	snprintf(settings.data_dir, sizeof(settings.data_dir), "%s", base);
	snprintf(settings.config_dir, sizeof(settings.config_dir), "%s", base);
	snprintf(settings.pgpass, sizeof(settings.pgpass), "%s/pgpass", base);
	snprintf(settings.listen_addresses, sizeof(settings.listen_addresses), "10.0.0.1");
	settings.port = 5432;
	settings.document = json_pack("{s:{s:{s:s}, s:[s]}}", "postgresql", "parameters", "work_mem", "5MB",
								  "pg_hba", "local all all peer");
	put("PG_VERSION", "15\n");
	return 0;
}

static int
end(void **state)
{
	char		command[128];

	(void) state;
	settings_free(&settings);
	snprintf(command, sizeof(command), "rm -r '%s'", base);
	return system(command) == 0 ? 0 : -1;
}

static void
lines_are_read(void **state)
{
	static const char *const text =
		"# work_mem = 1MB\n"
		"  work_mem=2MB# comment\n"
		"Search_Path 'a''b\\'c'   # it\n"
		"shop.currency = 'EUR'\n"
		"\n= nonsense\n"
		"last = on";
	static const char *const expected[][2] = {
		{"work_mem", "2MB"}, {"Search_Path", "a'b'c"}, {"shop.currency", "EUR"}, {"last", "on"},
	};
	const char *at = text;
	char		name[64];
	char		value[64];

	(void) state;
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
	{
		assert_true(conf_line(&at, name, sizeof(name), value, sizeof(value)));
		assert_string_equal(name, expected[i][0]);
		assert_string_equal(value, expected[i][1]);
	}
	assert_false(conf_line(&at, name, sizeof(name), value, sizeof(value)));
	at = "a = '0123456789'\n";
	assert_true(conf_line(&at, name, sizeof(name), value, 5));
	assert_string_equal(value, "0123");
}

static bool
own_is(const char *name, const char *expected)
{
	char		value[256];

	return own_conf_value(&settings, name, value, sizeof(value)) ? strcmp(value, expected) == 0 : false;
}

static void
included_files_count(void **state)
{
	char		directory[PATH_MAX];
	char		value[64];

	(void) state;
	assert_false(own_conf_value(&settings, "work_mem", value, sizeof(value)));
	/* the server refuses a file that includes itself; here it only has to end */
	put("postgresql.conf", "include 'postgresql.conf'\nwork_mem = 1MB\ninclude_dir 'conf.d'\n"
		"include_if_exists = 'nothing'\nport = 1\n");
	assert_true(path_join(directory, sizeof(directory), base, "conf.d"));
	assert_int_equal(mkdir(directory, 0700), 0);
	put("conf.d/10.conf", "work_mem = 10MB\nport = 10\n");
	put("conf.d/20.conf", "work_mem = 20MB\n");
	put("conf.d/30.conf~", "work_mem = 30MB\n");
	assert_true(own_is("work_mem", "20MB"));
	assert_true(own_is("port", "1"));
	put("postgresql.auto.conf", "work_mem = '40MB'\n");
	assert_true(own_is("WORK_MEM", "40MB"));
}

/* What is in force is said once, before the server is taken over. */
static void
overruled_values_are_said(void **state)
{
	ConfigProblems problems;

	(void) state;
	put("postgresql.conf", "max_connections = 300\nwal_log_hints = true\nport = 5433\nmax_wal_senders = 10\n"
		"work_mem = 1MB\nwal_keep_size = '0.125GB'\nshared_preload_libraries = 'a'\n");
	config_problems_init(&problems);
	own_conf_compare(&settings, &problems);
	assert_int_equal(problems.count, 2);
	assert_int_equal(problems.n_errors, 0);
	assert_string_equal(problems.items[0].key, "postgresql.parameters.port");
	assert_string_equal(problems.items[0].message,
						"\"5433\" in the server's own files has no effect, postgresql.listen says \"5432\"");
	assert_string_equal(problems.items[1].message, "\"300\" in the server's own files has no effect, "
						"the cluster's configuration says \"100\"");
	config_problems_free(&problems);
	config_problems_init(&problems);
	put("postgresql.conf", "wal_keep_size = 1GB\n");
	own_conf_compare(&settings, &problems);
	assert_int_equal(problems.count, 1);
	assert_string_equal(problems.items[0].key, "postgresql.parameters.wal_keep_size");
	config_problems_free(&problems);
	config_problems_init(&problems);
	put("postgresql.conf", "# Do not edit this file manually!\n# It will be overwritten by Patroni!\n"
		"max_connections = 300\n");
	own_conf_compare(&settings, &problems);
	assert_int_equal(problems.count, 0);
	config_problems_free(&problems);
}

static void
own_libraries_stay(void **state)
{
	ConfigProblems problems;
	json_t	   *command_line;
	json_t	   *config_file;
	Error		error;
	const char *name = "shared_preload_libraries";

	(void) state;
	config_problems_init(&problems);
	put("postgresql.conf", "shared_preload_libraries = 'pg_stat_statements'\n");
	assert_true(server_parameters(&settings, 150000, false, &command_line, &config_file, &problems, &error));
	assert_string_equal(json_string_value(json_object_get(command_line, name)),
						"pg_stat_statements, patroni_bgw");
	assert_string_equal(json_string_value(json_object_get(config_file, name)),
						"pg_stat_statements, patroni_bgw");
	json_decref(command_line);
	json_decref(config_file);

	/* also when the file has its other name, and not when the cluster has a list */
	assert_true(conf_write_all(&settings, 150000, NULL, NULL, false, &problems, &error));
	assert_true(own_is(name, "pg_stat_statements"));
	json_object_set_new(json_object_get(json_object_get(settings.document, "postgresql"), "parameters"), name,
						json_string("auto_explain"));
	assert_true(server_parameters(&settings, 150000, false, &command_line, &config_file, &problems, &error));
	assert_string_equal(json_string_value(json_object_get(command_line, name)),
						"auto_explain, patroni_bgw");
	json_decref(command_line);
	json_decref(config_file);
	config_problems_free(&problems);
}

static void
own_files_are_kept(void **state)
{
	ConfigProblems problems;
	Error		error;

	(void) state;
	config_problems_init(&problems);
	put("postgresql.conf", "work_mem = 1MB\n");
	put("pg_hba.conf", "local all all trust\n");
	for (int i = 0; i < 2; i++)
	{
		assert_false(i == 0 ? conf_is_managed(&settings) : !conf_is_managed(&settings));
		assert_true(conf_write_all(&settings, 150000, NULL, NULL, false, &problems, &error));
		assert_true(has("postgresql.base.conf", "work_mem = 1MB\n"));
		assert_true(has("pg_hba.conf.before_patroni", "local all all trust\n"));
		assert_false(has("pg_hba.conf", "local all all trust\n"));
	}
	config_problems_free(&problems);
}

/* They would stay as they are when the role changes. */
static void
lines_for_one_role_are_not_written(void **state)
{
	ConfigProblems problems;
	Error		error;
	char		path[PATH_MAX];
	char	   *rules;

	(void) state;
	config_problems_init(&problems);
	put("postgresql.conf", "work_mem = 1MB\n");
	json_object_set_new(json_object_get(settings.document, "postgresql"), "pg_hba_primary",
						json_pack("[s]", "host all all all reject"));
	assert_true(conf_write_all(&settings, 150000, NULL, NULL, false, &problems, &error));
	assert_true(path_join(path, sizeof(path), base, "pg_hba.conf"));
	rules = file_read(path, 65536, NULL);
	assert_non_null(strstr(rules, "local all all peer\n"));
	assert_null(strstr(rules, "reject"));
	free(rules);
	config_problems_free(&problems);
}

static void
strange_standby_does_not_lead(void **state)
{
	Error		error;

	(void) state;
	put("postgresql.conf", "work_mem = 1MB\n");
	assert_true(own_conf_may_lead(&settings, &error));
	put("standby.signal", "");
	assert_false(own_conf_may_lead(&settings, &error));
	assert_non_null(strstr(error.message, "standby.signal"));
	put("postgresql.conf", "# Do not edit this file manually!\n# It will be overwritten by Patroni!\n");
	assert_true(own_conf_may_lead(&settings, &error));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_are_read),
		cmocka_unit_test_setup_teardown(included_files_count, begin, end),
		cmocka_unit_test_setup_teardown(overruled_values_are_said, begin, end),
		cmocka_unit_test_setup_teardown(own_libraries_stay, begin, end),
		cmocka_unit_test_setup_teardown(own_files_are_kept, begin, end),
		cmocka_unit_test_setup_teardown(lines_for_one_role_are_not_written, begin, end),
		cmocka_unit_test_setup_teardown(strange_standby_does_not_lead, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
