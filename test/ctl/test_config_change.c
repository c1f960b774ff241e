/*-------------------------------------------------------------------------
 *
 * test_config_change.c
 *      What edit-config makes of -s, -p, --apply and --replace.
 *
 *-------------------------------------------------------------------------
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ctl/format.h"

static void
assert_set(const char *before, const char *pair, const char *wanted)
{
	json_t *config = json_loads(before, 0, NULL);
	Error error;
	char *got;

	assert_non_null(config);
	error_clear(&error);
	if (!config_change_set(config, pair, &error))
		got = strdup(error.message);
	else
		got = format_json(config);
	assert_string_equal(got, wanted);
	free(got);
	json_decref(config);
}

static void
test_set(void **state)
{
	(void) state;
	assert_set("{\"ttl\": 30}", "ttl=20", "{\"ttl\": 20}");
	assert_set("{\"ttl\": 30}", " ttl = off", "{\"ttl\": false}");
	assert_set("{}", "a.b.c=[1, {d: ~}]", "{\"a\": {\"b\": {\"c\": [1, {\"d\": null}]}}}");
	assert_set("{}", "x='1'", "{\"x\": \"1\"}");
	assert_set("{\"a\": 1}", "a.b=2=3", "{\"a\": {\"b\": \"2=3\"}}");
	assert_set("{}", "postgresql.parameters.a.b.c=5MB",
			   "{\"postgresql\": {\"parameters\": {\"a.b.c\": \"5MB\"}}}");
}

static void
test_remove(void **state)
{
	(void) state;
	assert_set("{\"ttl\": 30, \"a\": 1}", "ttl=null", "{\"a\": 1}");
	assert_set("{\"ttl\": 30}", "ttl=", "{}");
	/* what is empty then goes as well, up to the top */
	assert_set("{\"a\": {\"b\": {\"c\": 1}}, \"d\": 2}", "a.b.c=~", "{\"d\": 2}");
	assert_set("{\"d\": 2}", "a.b.c=null", "{\"d\": 2}");
}

static void
test_wrong(void **state)
{
	(void) state;
	assert_set("{}", "ttl", "Invalid parameter setting ttl");
	assert_set("{}", "=5", "Invalid parameter setting =5");
	assert_set("{}", "", "Invalid parameter setting ");
}

static void
test_broken_yaml(void **state)
{
	json_t *config = json_pack("{}");
	Error error;

	(void) state;
	assert_false(config_change_set(config, "a=[1", &error));
	assert_non_null(strstr(error.message, "a:"));
	assert_int_equal(json_object_size(config), 0);
	json_decref(config);
}

static void
test_patch(void **state)
{
	json_t *config = json_loads("{\"ttl\": 30, \"p\": {\"a\": 1, \"b\": 2}}", 0, NULL);
	Error error;
	json_t *patch = config_change_read("ttl: null\np:\n  b: on\n  c: x\n", 27, "file", &error);
	char *got;

	(void) state;
	assert_non_null(patch);
	assert_true(config_change_patch(config, patch));
	got = format_json(config);
	assert_string_equal(got, "{\"p\": {\"a\": 1, \"b\": true, \"c\": \"x\"}}");
	free(got);
	json_decref(patch);
	json_decref(config);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set),	  cmocka_unit_test(test_remove),
		cmocka_unit_test(test_wrong), cmocka_unit_test(test_broken_yaml),
		cmocka_unit_test(test_patch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
