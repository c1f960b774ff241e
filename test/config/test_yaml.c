/*-------------------------------------------------------------------------
 *
 * test_yaml.c
 *      YAML as PyYAML reads it, places, and hostile texts.
 *-------------------------------------------------------------------------
 */
#include "config_test.h"

static json_t *
parse(const char *text, ConfigProblems *problems)
{
	Places places = { 0 };
	int n_nodes = 0;
	json_t *value;

	config_problems_init(problems);
	value = yaml_parse(text, strlen(text), "x.yml", &places, "", &n_nodes, problems);
	places_free(&places);
	assert_true((value == NULL) == (problems->n_errors > 0));
	return value;
}

static void
parses_to(const char *yaml, const char *json)
{
	ConfigProblems problems;
	json_t *value = parse(yaml, &problems);
	json_t *expected = json_loads(json, JSON_DECODE_ANY, NULL);

	assert_non_null(expected);
	if (!json_equal(value, expected))
	{
		char *got = json_dumps(value, JSON_ENCODE_ANY);

		print_message("%s gave %s, not %s\n", yaml, got, json);
		free(got);
		fail();
	}
	json_decref(value);
	json_decref(expected);
	config_problems_free(&problems);
}

static void
fails_at(const char *yaml, const char *place, const char *part)
{
	ConfigProblems problems;

	assert_null(parse(yaml, &problems));
	assert_non_null(find_problem(&problems, true, place, part));
	config_problems_free(&problems);
}

static void
test_scalars(void **state)
{
	(void) state;
	parses_to("[on, Off, yes, NO, true, False, y]",
	          "[true, false, true, false, true, false, \"y\"]");
	parses_to("[0644, 0x1F, 0b101, 1_000, -5, +7, 1:30, 0, 09]",
	          "[420, 31, 5, 1000, -5, 7, 90, 0, \"09\"]");
	parses_to("[1.5, .5, 1.5e+3, 1e3, 1.e-1, -0.25]", "[1.5, 0.5, 1500.0, \"1e3\", 0.1, -0.25]");
	parses_to("[~, null, Null, '']", "[null, null, null, \"\"]");
	parses_to("a:\nb: ''\n", "{\"a\": null, \"b\": \"\"}");
	parses_to("['on', \"0644\", !!str 12, !!int '7', 2020-01-01, .inf]",
	          "[\"on\", \"0644\", \"12\", 7, \"2020-01-01\", \".inf\"]");
	parses_to("[9223372036854775807, 9223372036854775808, 127.0.0.1:8008, 10.0.0.1]",
	          "[9223372036854775807, \"9223372036854775808\", \"127.0.0.1:8008\", \"10.0.0.1\"]");
}

static void
test_aliases_and_merge_keys(void **state)
{
	(void) state;
	parses_to("a: &x {k: 1, l: 2}\nb: *x\n", "{\"a\":{\"k\":1,\"l\":2},\"b\":{\"k\":1,\"l\":2}}");
	parses_to("a: &x {k: 1, l: 2}\nb:\n  l: 3\n  <<: *x\n",
	          "{\"a\":{\"k\":1,\"l\":2},\"b\":{\"l\":3,\"k\":1}}");
	parses_to("a: &x {k: 1}\nb: &y {k: 2, m: 4}\nc:\n  <<: [*x, *y]\n",
	          "{\"a\":{\"k\":1},\"b\":{\"k\":2,\"m\":4},\"c\":{\"k\":1,\"m\":4}}");
	fails_at("a: 1\nb:\n  <<: 5\n", "x.yml:3:7", "merge key");
	fails_at("a: *nobody\n", "x.yml:1:4", "no anchor");
	fails_at("a: &x [1, *x]\n", "x.yml:1:11", "inside its own anchor");
}

static void
test_errors_have_places(void **state)
{
	(void) state;
	fails_at("a: 1\nb: [1, 2\n", "x.yml:3:1", "cannot read the YAML");
	fails_at("a: 1\n\tb: 2\n", "x.yml:2:1", "cannot read the YAML");
	fails_at("a: !!python/object:os.system x\n", "x.yml:1:4", "tag");
	fails_at("a: \"x\\0y\"\n", "x.yml:1:4", "NUL");
	fails_at("? [1]\n: 2\n", "x.yml:1:3", "key must be");
	fails_at("a: 1\n---\nb: 2\n", "x.yml:2:1", "second document");
	fails_at("a: \xff\xfe\n", NULL, "UTF-8");
}

static void
test_duplicate_key_warns(void **state)
{
	ConfigProblems problems;
	json_t *value;

	(void) state;
	value = parse("a: 1\nb: 2\na: 3\n", &problems);
	assert_int_equal(json_integer_value(json_object_get(value, "a")), 3);
	assert_int_equal(problems.count, 1);
	assert_non_null(find_problem(&problems, false, "x.yml:3:1", "occurs twice"));
	json_decref(value);
	config_problems_free(&problems);
}

static void
test_hostile_texts(void **state)
{
	char *deep = calloc(1, 200001);
	char bomb[4096];
	size_t n;

	(void) state;
	memset(deep, '[', 200000);
	fails_at(deep, "x.yml:1:65", "deeper than 64");
	free(deep);

	n = (size_t) snprintf(bomb, sizeof(bomb), "a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
	for (int i = 1; i < 12; i++)
		n += (size_t) snprintf(bomb + n, sizeof(bomb) - n,
		                       "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i, i,
		                       i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
	fails_at(bomb, NULL, "more than 50000 values");

	/* The same with merge keys. */
	n = (size_t) snprintf(bomb, sizeof(bomb), "a0: &a0 {k0: 1}\n");
	for (int i = 1; i < 40; i++)
		n += (size_t) snprintf(bomb + n, sizeof(bomb) - n, "a%d: &a%d {<<: *a%d, x: *a%d}\n", i, i,
		                       i - 1, i - 1);
	fails_at(bomb, NULL, "more than 50000 values");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scalars),
		cmocka_unit_test(test_aliases_and_merge_keys),
		cmocka_unit_test(test_errors_have_places),
		cmocka_unit_test(test_duplicate_key_warns),
		cmocka_unit_test(test_hostile_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
