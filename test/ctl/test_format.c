/*-------------------------------------------------------------------------
 *
 * test_format.c
 *      Tables, separated values, JSON, YAML and diffs, with texts that Python
 *      has written.  test/tools/ctl_format.py compares more of them.
 *
 *-------------------------------------------------------------------------
 */
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ctl/format.h"

static json_t *
read_json(const char *text)
{
	json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);

	assert_non_null(value);
	return value;
}

static void
assert_text(char *got, const char *wanted)
{
	assert_non_null(got);
	assert_string_equal(got, wanted);
	free(got);
}

static void
assert_table(const char *title, const char *columns, const char *align, const char *rows,
			 const char *wanted)
{
	json_t *column_list = read_json(columns);
	json_t *row_list = read_json(rows);

	assert_text(format_table(title, column_list, align, row_list), wanted);
	json_decref(column_list);
	json_decref(row_list);
}

static void
assert_json(const char *text, const char *wanted)
{
	json_t *value = read_json(text);

	assert_text(format_json(value), wanted);
	json_decref(value);
}

static void
assert_yaml(const char *text, bool flow, const char *wanted)
{
	json_t *value = read_json(text);

	assert_text(format_yaml(value, flow), wanted);
	json_decref(value);
}

static void
test_table(void **state)
{
	(void) state;
	assert_table(" Cluster: batman ", "[\"Member\", \"TL\"]", "lr",
				 "[[\"postgresql0\", 3], [\"node1\", 12], [\"x\", \"\"]]",
				 "+ Cluster: batman -+\n"
				 "| Member      | TL |\n"
				 "+-------------+----+\n"
				 "| postgresql0 |  3 |\n"
				 "| node1       | 12 |\n"
				 "| x           |    |\n"
				 "+-------------+----+");
	/* a title that is longer than the frame is cut, no title leaves it as it is */
	assert_table(" Cluster: long name ", "[\"Member\"]", "", "[[\"a\"]]",
				 "+ Cluster+\n| Member |\n+--------+\n| a      |\n+--------+");
	assert_table(NULL, "[\"A\", \"B\"]", "rr", "[]", "+---+---+\n| A | B |\n+---+---+\n+---+---+");
}

static void
test_table_of_high_cells(void **state)
{
	(void) state;
	assert_table(NULL, "[\"Member\", \"Tags\"]", "ll", "[[\"a\", \"x: 1\\nyy: 2\"], [\"b\", null]]",
				 "+--------+-------+\n"
				 "| Member | Tags  |\n"
				 "+--------+-------+\n"
				 "| a      | x: 1  |\n"
				 "|        | yy: 2 |\n"
				 "+--------+-------+\n"
				 "| b      | None  |\n"
				 "+--------+-------+");
}

/* Wide characters take two places each. */
static void
test_table_of_other_scripts(void **state)
{
	(void) state;
	assert_table(NULL, "[\"A\"]", "l", "[[\"\\u4e2d\\u6587\"], [\"h\\u00e4\"]]",
				 "+------+\n| A    |\n+------+\n| \u4e2d\u6587 |\n| h\u00e4   |\n+------+");
}

static void
test_separated_and_objects(void **state)
{
	json_t *columns = read_json("[\"A\", \"B\", \"C\"]");
	json_t *rows = read_json("[[1, \"\", true], [\"x\", null, 0.5]]");
	json_t *objects;

	(void) state;
	assert_text(format_separated(columns, rows, "\t"), "A\tB\tC\n1\t\tTrue\nx\tNone\t0.5\n");
	assert_text(format_separated(NULL, rows, ", "), "1, , True\nx, None, 0.5\n");
	objects = format_objects(columns, rows, true);
	assert_text(format_json(objects),
				"[{\"A\": 1, \"C\": true}, {\"A\": \"x\", \"B\": null, \"C\": 0.5}]");
	json_decref(objects);
	objects = format_objects(columns, rows, false);
	assert_text(format_json(json_array_get(objects, 0)), "{\"A\": 1, \"B\": \"\", \"C\": true}");
	json_decref(objects);
	json_decref(columns);
	json_decref(rows);
}

static void
test_json(void **state)
{
	(void) state;
	assert_json("{\"b\":[1,-2,true,null],\"a\":{}}", "{\"b\": [1, -2, true, null], \"a\": {}}");
	assert_json("\"a\\u00e9\\u007f\\ud83d\\ude00\\n\\u0001\\\"\\\\/\"",
				"\"a\\u00e9\\u007f\\ud83d\\ude00\\n\\u0001\\\"\\\\/\"");
	assert_json(
		"[0.1, 1e-7, 1e16, 100.0, 1e15, 123456789.123, 5e-324, 0.0001, 0.00001]",
		"[0.1, 1e-07, 1e+16, 100.0, 1000000000000000.0, 123456789.123, 5e-324, 0.0001, 1e-05]");
}

static void
test_yaml(void **state)
{
	(void) state;
	assert_yaml("{\"ttl\": 30, \"postgresql\": {\"pg_hba\": [\"local all all trust\", \"a: b\"],"
				" \"parameters\": {}}, \"empty\": [], \"none\": null, \"real\": 1e-7}",
				false,
				"empty: []\nnone: null\npostgresql:\n  parameters: {}\n  pg_hba:\n"
				"  - local all all trust\n  - 'a: b'\nreal: 1.0e-07\nttl: 30\n");
	assert_yaml("{\"nofailover\": true, \"zone\": \"a\"}", true, "{nofailover: true, zone: a}\n");
}

/* A text that would be read as something else is quoted, and no other. */
static void
test_yaml_quotes(void **state)
{
	static const char *const quoted[] = {
		"on", "No",	  "null", "~",	"",	  "1",			"-5",  "0x1f", "1_000", "1.5",
		".5", "1:30", "010",  "<<", "=",  "2026-01-02", "- a", "a: b", "#a",	"@a",
		"*",  "%a",	  " a",	  "a ", "1.", "+.inf",		"!",   "{a}",  "[a]",	"0b1",
	};
	static const char *const plain[] = {
		"one", "y",	   "1e3", "08",	 "5432a",	"16MB", "a#b",	 "a:b",
		"a b", "None", "-",	  "0o7", "1.2.3.4", "a,b",	"/x/%f", "..",
	};
	char wanted[64];
	json_t *list;

	(void) state;
	for (size_t i = 0; i < sizeof(quoted) / sizeof(quoted[0]); i++)
	{
		list = json_pack("[s]", quoted[i]);
		snprintf(wanted, sizeof(wanted), "- '%s'\n", quoted[i]);
		assert_text(format_yaml(list, false), wanted);
		json_decref(list);
	}
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
	{
		list = json_pack("[s]", plain[i]);
		snprintf(wanted, sizeof(wanted), strcmp(plain[i], "-") == 0 ? "- '%s'\n" : "- %s\n",
				 plain[i]);
		assert_text(format_yaml(list, false), wanted);
		json_decref(list);
	}
}

static void
test_diff(void **state)
{
	(void) state;
	assert_text(format_diff("a\nb\n", "a\nb\n\n"), "");
	assert_text(format_diff("", "a\n"), "--- \n+++ \n@@ -1 +1 @@\n-\n+a\n");
	assert_text(format_diff("a\nb\nc\nd\ne\nf\ng\nh\n", "a\nb\nc\nd\nE\nf\ng\nh\n"),
				"--- \n+++ \n@@ -2,7 +2,7 @@\n b\n c\n d\n-e\n+E\n f\n g\n h\n");
	/* two hunks, the equal lines between them left out */
	assert_text(format_diff("1\na\nb\nc\nd\ne\nf\ng\n2\n", "a\nb\nc\nd\ne\nf\ng\n2\n3\n"),
				"--- \n+++ \n@@ -1,4 +1,3 @@\n-1\n a\n b\n c\n@@ -7,3 +6,4 @@\n f\n g\n 2\n+3\n");
	/* Python prefers the longest block over the shortest edit */
	assert_text(format_diff("x\na\nb\nc\nx\n", "a\nx\nb\nc\n"),
				"--- \n+++ \n@@ -1,5 +1,4 @@\n+a\n x\n-a\n b\n c\n-x\n");
}

static int
use_utf8(void **state)
{
	(void) state;
	return setlocale(LC_CTYPE, "C.UTF-8") == NULL;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_table_of_high_cells),
		cmocka_unit_test(test_table_of_other_scripts),
		cmocka_unit_test(test_separated_and_objects),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_yaml),
		cmocka_unit_test(test_yaml_quotes),
		cmocka_unit_test(test_diff),
	};

	return cmocka_run_group_tests(tests, use_utf8, NULL);
}
