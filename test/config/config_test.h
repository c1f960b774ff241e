/*-------------------------------------------------------------------------
 *
 * config_test.h
 *      What the tests of src/config share: files in a directory of their own
 *      and looking for a problem.
 *-------------------------------------------------------------------------
 */
#ifndef CONFIG_TEST_H
#define CONFIG_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "config/config_internal.h"

#define MINIMAL \
	"scope: batman\n" \
	"name: node1\n" \
	"restapi:\n" \
	"  listen: 10.0.0.1:8008\n" \
	"etcd3:\n" \
	"  hosts: 10.0.0.1:2379,10.0.0.2\n" \
	"postgresql:\n" \
	"  listen: 10.0.0.1:5432\n" \
	"  data_dir: data\n" \
	"  authentication:\n" \
	"    replication:\n" \
	"      username: replicator\n" \
	"      password: secret\n"

static char test_directory[64];

static inline int
make_directory(void **state)
{
	(void) state;
	snprintf(test_directory, sizeof(test_directory), "/tmp/patroni-config-XXXXXX");
	return mkdtemp(test_directory) == NULL || chdir(test_directory) != 0;
}

static inline int
remove_directory(void **state)
{
	(void) state;
	return chdir("/") != 0 || rmdir(test_directory) != 0;
}

static inline void
write_text(const char *name, const char *text)
{
	FILE *file = fopen(name, "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

/* Read "text" as patroni.yml, with an environment. */
static inline LocalConfig *
read_text(const char *text, char **environment, ConfigProblems *problems)
{
	LocalConfig *config;
	char *nothing[] = { NULL };
	bool ok;

	config_problems_free(problems);
	write_text("patroni.yml", text);
	ok = local_config_read(&config, "patroni.yml", environment ? environment : nothing, problems);
	unlink("patroni.yml");
	assert_true(ok == (config != NULL));
	assert_true(ok == (problems->n_errors == 0));
	return config;
}

/* The first problem whose place is "place" and whose message has "part". */
static inline const ConfigProblem *
find_problem(const ConfigProblems *problems, bool is_error, const char *place, const char *part)
{
	for (int i = 0; i < problems->count; i++)
		if (problems->items[i].is_error == is_error &&
		    (place == NULL || strcmp(problems->items[i].place, place) == 0) &&
		    strstr(problems->items[i].message, part) != NULL)
			return &problems->items[i];
	for (int i = 0; i < problems->count; i++)
		print_message("have: %s: %s: %s: %s\n", problems->items[i].is_error ? "error" : "warning",
		              problems->items[i].place, problems->items[i].key, problems->items[i].message);
	return NULL;
}

#endif /* CONFIG_TEST_H */
