/*-------------------------------------------------------------------------
 *
 * test_ctl.c
 *      docs/ctl.md knows every command of patroni_ctl, and the tables of
 *      commands are in order.
 *
 *-------------------------------------------------------------------------
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ctl/ctl.h"

static void
test_page_has_all_commands(void **state)
{
	static char page[100000];
	FILE *file = fopen("docs/ctl.md", "r");
	size_t length;

	(void) state;
	assert_non_null(file);
	length = fread(page, 1, sizeof(page) - 1, file);
	fclose(file);
	assert_true(length > 1000);
	for (const CtlCommand *command = ctl_commands; command->name != NULL; command++)
	{
		char word[64];

		snprintf(word, sizeof(word), "`%s`", command->name);
		if (strstr(page, word) == NULL)
			fail_msg("docs/ctl.md does not tell of %s", command->name);
	}
}

/* Sorted, with a text each, no name twice in one command, and no bad name. */
static void
test_tables(void **state)
{
	(void) state;
	for (const CtlCommand *command = ctl_commands; command->name != NULL; command++)
	{
		char seen[1000] = " ";

		assert_true(command == ctl_commands || strcmp(command[-1].name, command->name) < 0);
		assert_ptr_equal(ctl_find_command(command->name), command);
		assert_true(strlen(command->help) > 10);
		for (const CtlOption *option = command->options; option->id != OPTION_NONE; option++)
		{
			char names[200];
			char *rest = NULL;

			snprintf(names, sizeof(names), "%s", option->names);
			for (char *name = strtok_r(names, ", |", &rest); name != NULL;
				 name = strtok_r(NULL, ", |", &rest))
			{
				char word[64];

				assert_true(name[0] == '-' && (strlen(name) == 2 || name[1] == '-'));
				snprintf(word, sizeof(word), " %s ", name);
				if (strstr(seen, word) != NULL)
					fail_msg("%s of %s is there twice", name, command->name);
				strncat(seen, name, sizeof(seen) - strlen(seen) - 2);
				strcat(seen, " ");
			}
		}
	}
	assert_null(ctl_find_command("lst"));
}

static int
parse(Ctl *ctl, const char *line)
{
	static char words[400];
	static char *argv[40];
	char *rest = NULL;
	int argc = 0;

	snprintf(words, sizeof(words), "patroni_ctl %s", line);
	for (char *word = strtok_r(words, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest))
		argv[argc++] = word;
	argv[argc] = NULL;
	free(ctl->words);
	memset(ctl, 0, sizeof(*ctl));
	ctl->program = argv[0];
	return ctl_parse(ctl, argc, argv);
}

static void
test_command_lines(void **state)
{
	Ctl ctl = { 0 };

	(void) state;
	assert_int_equal(parse(&ctl, "-c x.yml list -tW -fjson a --group=3 b"), -1);
	assert_string_equal(ctl.values[OPTION_CONFIG_FILE], "x.yml");
	assert_true(ctl.flags[OPTION_TIMESTAMP] && ctl.flags[OPTION_WATCH_2]);
	assert_string_equal(ctl.values[OPTION_FORMAT], "json");
	assert_string_equal(ctl.values[OPTION_GROUP], "3");
	assert_int_equal(ctl.n_words, 2);
	assert_null(ctl.scope);
	/* -c is another option behind the command */
	assert_int_equal(parse(&ctl, "query demo -c SELECT -d db"), -1);
	assert_string_equal(ctl.values[OPTION_COMMAND], "SELECT");
	assert_null(ctl.values[OPTION_CONFIG_FILE]);
	assert_string_equal(ctl.scope, "demo");
	assert_int_equal(parse(&ctl, "edit-config -p a=1 --set b=2 -pc=3 -- -x"), -1);
	assert_int_equal(ctl.n_pairs, 3);
	assert_true(ctl.pair_is_pg[0] && !ctl.pair_is_pg[1] && ctl.pair_is_pg[2]);
	assert_string_equal(ctl.pairs[2], "c=3");
	assert_string_equal(ctl.scope, "-x");
	/* names of old versions */
	assert_int_equal(parse(&ctl, "switchover --master a"), -1);
	assert_string_equal(ctl.values[OPTION_LEADER], "a");
	assert_int_equal(parse(&ctl, "dsn -r master"), -1);
	free(ctl.words);
}

static void
test_wrong_usage(void **state)
{
	static const char *const lines[] = {
		"lst",
		"list --no",
		"list -x",
		"list -f xml",
		"list -f",
		"list --group x",
		"list -e=1 --extended=1",
		"reload",
		"remove a b",
		"flush a",
		"dsn -r nobody",
		"dsn -r",
		"--layout 5 list",
		"list -w x",
		"--group 1 list",
	};
	Ctl ctl = { 0 };

	(void) state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		if (parse(&ctl, lines[i]) != CTL_EXIT_USAGE)
			fail_msg("\"%s\" was taken", lines[i]);
	free(ctl.words);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_page_has_all_commands),
		cmocka_unit_test(test_tables),
		cmocka_unit_test(test_command_lines),
		cmocka_unit_test(test_wrong_usage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
