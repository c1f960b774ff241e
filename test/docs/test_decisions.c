/*-------------------------------------------------------------------------
 *
 * test_decisions.c
 *      docs/decisions.md says what the decision tables say.
 *
 *      test_decisions --print      the text of docs/decisions.md: "make docs"
 *
 * Run in the root of the work tree.
 *-------------------------------------------------------------------------
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <cmocka.h>

#include "ha/rules.h"

#define DOCUMENT	"docs/decisions.md"

static const char introduction[] =
"# Decisions\n"
"\n"
"How a node decides. This page is printed from the tables in `src/ha/rules.c` by `make docs`; a test compares them.\n"
"`SELECT * FROM patroni.rules()` shows the tables of the release that runs.\n"
"\n"
"Each step of the engine gathers facts, takes one table and tries its rules from the top: the first rule of which every fact\n"
"under *when* holds and no fact under *unless* holds decides. The name of the rule and its reason are in the server's log\n"
"(`DETAIL:  Rule \"...\".`), in `patroni.event` and in `patroni.status() -> 'node' -> 'decision'`.\n"
"\n"
"Rules whose work needs a stopped server, or a tool outside of it, are carried out by the supervisor: the worker hands the\n"
"baton over first ([architecture.md](architecture.md)).\n";

static const struct
{
	const char *table;
	const char *heading;
}			headings[] = {
	{"life", "no server runs, or the supervisor has something to do"},
	{"leader", "the server runs and this member holds the leader lease"},
	{"race", "the server runs and nobody holds the leader lease"},
	{"follower", "the server runs and another member holds the leader lease"},
	{"outage", "the server runs and the store does not answer"},
};

static const char *
heading_of(const char *table)
{
	for (size_t i = 0; i < sizeof(headings) / sizeof(headings[0]); i++)
		if (strcmp(headings[i].table, table) == 0)
			return headings[i].heading;
	return NULL;
}

static void
print_decisions(FILE *file)
{
	const char *table = "";
	HaRuleRow	row;

	fputs(introduction, file);
	for (int i = 0; ha_rule_row(i, &row); i++)
	{
		if (strcmp(table, row.table) != 0)
		{
			table = row.table;
			fprintf(file, "\n## %s: %s\n\n", table, heading_of(table) ? heading_of(table) : "?");
			fputs("| rule | when | unless | then | reason |\n|---|---|---|---|---|\n", file);
		}
		fprintf(file, "| `%s` | %s | %s | %s | %s |\n", row.name,
				row.when[0] != '\0' ? row.when : "–", row.unless[0] != '\0' ? row.unless : "–",
				row.then, row.because);
	}
}

static void
test_tables_have_headings(void **state)
{
	HaRuleRow	row;
	int			n_rules = 0;

	(void) state;
	for (; ha_rule_row(n_rules, &row); n_rules++)
	{
		if (heading_of(row.table) == NULL)
			fail_msg("table \"%s\" has no heading", row.table);
		if (strchr(row.when, '|') || strchr(row.unless, '|') || strchr(row.because, '|'))
			fail_msg("rule \"%s\" breaks the table", row.name);
	}
	assert_true(n_rules > 0);
}

static void
test_document_is_current(void **state)
{
	char	   *printed = NULL;
	size_t		printed_size = 0;
	FILE	   *file = open_memstream(&printed, &printed_size);
	char	   *written;
	size_t		written_size;

	(void) state;
	assert_non_null(file);
	print_decisions(file);
	fclose(file);
	file = fopen(DOCUMENT, "r");
	if (file == NULL)
		fail_msg("could not open " DOCUMENT);
	written = malloc(printed_size + 2);
	assert_non_null(written);
	written_size = fread(written, 1, printed_size + 1, file);
	fclose(file);
	written[written_size] = '\0';
	if (strcmp(printed, written) != 0)
		fail_msg(DOCUMENT " is not what the tables say; \"make docs\" writes it");
	free(written);
	free(printed);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tables_have_headings),
		cmocka_unit_test(test_document_is_current),
	};

	if (argc > 1 && strcmp(argv[1], "--print") == 0)
	{
		print_decisions(stdout);
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
