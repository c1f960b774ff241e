/*-------------------------------------------------------------------------
 *
 * test_conninfo.c
 *      Connection strings: what goes in comes out, whatever it contains.
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

#include "postgres/postgres_dir.h"
#include "postgres/postgres_files.h"

static void
test_round_trip(void **state)
{
	static const char *const values[] = {"plain", "with blank", "it's", "back\\slash", "a'b\\c d=e", "/tmp/x y's"};

	(void) state;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
	{
		char		conninfo[256] = "";
		char		value[64];

		assert_true(conninfo_append(conninfo, sizeof(conninfo), "user", "first"));
		assert_true(conninfo_append(conninfo, sizeof(conninfo), "passfile", values[i]));
		assert_true(conninfo_append(conninfo, sizeof(conninfo), "port", "5433"));
		assert_true(conninfo_value(conninfo, "passfile", value, sizeof(value)));
		assert_string_equal(value, values[i]);
		assert_true(conninfo_value(conninfo, "port", value, sizeof(value)));
		assert_string_equal(value, "5433");
	}
}

static void
test_bounded(void **state)
{
	char		conninfo[16] = "";

	(void) state;
	assert_false(conninfo_append(conninfo, sizeof(conninfo), "application_name", "x"));
	conninfo[0] = '\0';
	assert_false(conninfo_append(conninfo, sizeof(conninfo), "host", "0123456789abcdef"));
}

static void
test_url(void **state)
{
	ConnUrl		url;

	(void) state;
	assert_true(conn_url_parse("postgres://u:p@[::1]:5433,h2/my%20db?x=y", &url, NULL));
	assert_int_equal(url.n_hosts, 2);
	assert_string_equal(url.hosts[0].host, "::1");
	assert_int_equal(url.hosts[0].port, 5433);
	assert_string_equal(url.hosts[1].host, "h2");
	assert_int_equal(url.hosts[1].port, 0);
	assert_string_equal(url.database, "my db");
	assert_false(conn_url_parse("http://h:1/", &url, NULL));
	assert_false(conn_url_parse("postgres://h:70000/", &url, NULL));
}

static void
test_pgpass(void **state)
{
	Credentials user = {.exists = true, .username = "re:pl", .password = "a:b\\c"};
	char	   *lines = pgpass_lines(&user, "postgres://h:1/db");

	(void) state;
	assert_non_null(lines);
	assert_string_equal(lines, "h:1:*:re\\:pl:a\\:b\\\\c\n");
	free(lines);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_bounded),
		cmocka_unit_test(test_url),
		cmocka_unit_test(test_pgpass),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
