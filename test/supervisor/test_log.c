/*-------------------------------------------------------------------------
 *
 * test_log.c
 *      No secret gets into the log, and nothing else is taken out.
 *
 *-------------------------------------------------------------------------
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "supervisor/log.h"

static void
check(const char *text, const char *expected)
{
	char		clean[200];

	log_redact(text, clean, sizeof(clean));
	assert_string_equal(clean, expected);
}

static void
secrets_are_hidden(void **state)
{
	(void) state;
	check("host=a password=se\\ cret port=1", "host=a password=*** port=1");
	check("password='a b' user=x", "password='***' user=x");
	check("{\"password\": \"x\\\"y\", \"a\": 1}", "{\"password\": \"***\", \"a\": 1}");
	check("sslpassword=x PGPASSWORD=y", "sslpassword=*** PGPASSWORD=***");
	check("postgres://u:p@ss@h/db", "postgres://u:***@h/db");
	check("Authorization: Bearer abc", "Authorization: ***");
	check("token: abc", "token: ***");
}

static void
other_text_stays(void **state)
{
	(void) state;
	check("the password of \"x\" is wrong", "the password of \"x\" is wrong");
	check("http://h:8008/a@b", "http://h:8008/a@b");
	check("", "");
}

static void
long_text_is_cut(void **state)
{
	char		clean[8];

	(void) state;
	log_redact("0123456789", clean, sizeof(clean));
	assert_string_equal(clean, "0123456");
	log_redact("password=abcdef", clean, sizeof(clean));
	assert_string_equal(clean, "passwor");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(secrets_are_hidden),
		cmocka_unit_test(other_text_stays),
		cmocka_unit_test(long_text_is_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
