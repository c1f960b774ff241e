/*-------------------------------------------------------------------------
 *
 * test_text.c
 *      Words, slot names, positions, time stamps, addresses, equality.
 *
 *-------------------------------------------------------------------------
 */
#include <locale.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "cluster/ascii.h"
#include "cluster/cluster.h"

static void
test_words(void **state)
{
	(void) state;
	for (int i = 0; i <= MEMBER_STATE_UNKNOWN; i++)
		assert_int_equal(member_state_from_name(member_state_name((MemberState) i)), i);
	for (int i = 0; i <= ROLE_UNKNOWN; i++)
		assert_int_equal(member_role_from_name(member_role_name((MemberRole) i)), i);
	assert_int_equal(MEMBER_CRASHED, 14);
	assert_string_equal(member_state_name(MEMBER_STARTING_CUSTOM), "starting after custom bootstrap");
	assert_int_equal(member_role_from_name("master"), ROLE_PRIMARY);
	assert_int_equal(member_role_from_name("Primary"), ROLE_UNKNOWN);
	assert_int_equal(member_state_from_name(NULL), MEMBER_STATE_UNKNOWN);
	assert_string_equal(member_state_name((MemberState) 99), "unknown");
}

/* Names are the same or not, in whatever locale; only some of these are installed. */
static void
test_letter_case(void **state)
{
	static const char *const locales[] = {"C", "C.UTF-8", "en_US.UTF-8", "tr_TR.UTF-8", "tr_TR.ISO-8859-9", "de_DE.ISO-8859-1"};
	SyncState	sync = {0};

	(void) state;
	sync_from_text(&sync, "{\"leader\":\"SITE1\",\"sync_standby\":\"site2,Site\303\2043\"}");
	for (size_t i = 0; i < sizeof(locales) / sizeof(locales[0]); i++)
	{
		if (setlocale(LC_ALL, locales[i]) == NULL)
			continue;
		for (int c = 1; c < 256; c++)
		{
			bool		is_upper = c >= 'A' && c <= 'Z';
			bool		is_lower = c >= 'a' && c <= 'z';

			assert_int_equal((unsigned char) ascii_lower((char) c), is_upper ? c + 32 : c);
			assert_int_equal(ascii_is_letter((char) c), is_upper || is_lower);
			assert_int_equal(ascii_is_letter_or_digit((char) c), is_upper || is_lower || (c >= '0' && c <= '9'));
			assert_int_equal(ascii_is_space((char) c), strchr(" \t\n\v\f\r", c) != NULL);
		}
		assert_true(ascii_is_same("NODEI", "nodei"));
		assert_false(ascii_is_same("nodei", "nodei2"));
		assert_false(ascii_is_same("nodei2", "nodei"));
		assert_true(ascii_is_same("", ""));
		assert_true(ascii_is_same_part("NODE1", "node2", 4));
		assert_false(ascii_is_same_part("NODE1", "node2", 5));
		assert_true(ascii_is_same_part("node", "NODE", 9));
		assert_false(ascii_is_same_part("nod", "node", 4));
		assert_true(ascii_is_same_part("x", "y", 0));
		assert_true(sync_names_member(&sync, "site1"));
		assert_true(sync_names_member(&sync, "SITE2"));
		assert_false(sync_names_member(&sync, "SITE"));
		/* more than ASCII: as it is written, as the server does with UTF-8 */
		assert_true(sync_names_member(&sync, "SITE\303\2043"));
		assert_false(sync_names_member(&sync, "SITE\303\2443"));
	}
	setlocale(LC_ALL, "C");
	sync_from_text(&sync, "");
}

static void
test_slot_names(void **state)
{
	static const char *const cases[][2] = {
		{"node1", "node1"},
		{"Node-1.Example_X", "node_1_example_x"},
		{"a b", "au0032b"},
		{"\303\204", "u0228"},			/* A umlaut in lower case */
		{"\320\226", "u1078"},			/* Cyrillic Zhe */
		{"\304\260", "iu0775"},			/* I with a dot */
		{"\360\237\220\230", "u128024"},
		{"\377", "u0255"},				/* not UTF-8 */
	};
	char		slot[64];
	char		longest[101];

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		member_slot_name(cases[i][0], slot);
		assert_string_equal(slot, cases[i][1]);
	}
	memset(longest, '!', 100);
	longest[100] = '\0';
	member_slot_name(longest, slot);
	assert_int_equal(strlen(slot), 63);
	assert_memory_equal(slot, "u0033u0033", 10);
}

static void
test_positions(void **state)
{
	static const char *const bad[] = {"", "0", "0/", "/0", "0/1 ", " 0/1", "0/G", "123456789/0", "0/123456789", "-1/0", "0x1/0"};
	Lsn			lsn;
	char		text[24];

	(void) state;
	assert_true(lsn_from_text("0/4000400", &lsn));
	assert_int_equal(lsn, 67109888);
	lsn_to_text(lsn, text);
	assert_string_equal(text, "0/4000400");
	assert_true(lsn_from_text("ffffFFFF/FFFFFFFF", &lsn));
	assert_true(lsn == UINT64_MAX);
	lsn_to_text(lsn, text);
	assert_string_equal(text, "FFFFFFFF/FFFFFFFF");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(lsn_from_text(bad[i], &lsn));
	assert_false(lsn_from_text(NULL, &lsn));
}

static void
test_timestamps(void **state)
{
	static const struct
	{
		const char *text;
		int64_t		ms;
		bool		zone;
	}			good[] = {
		{"1970-01-01T00:00:00Z", 0, true},
		{"1969-12-31T23:59:59.999+00:00", -1, true},
		{"2000-02-29T12:00:00+00:00", INT64_C(951825600000), true},
		{"2024-02-29 23:59:59.123456789+02:00", INT64_C(1709243999123), true},
		{"2024-02-29T23:59:59.5+0200", INT64_C(1709243999500), true},
		{"2026-01-14T10:09:57.139400+00:00", INT64_C(1768385397139), true},
		{"2026-01-14T10:09-05:30", INT64_C(1768405140000), true},
		{"2026-01-14T10:09:57 +01", INT64_C(1768381797000), true},
		{"2026-01-14T10:09:57", INT64_C(1768385397000), false},
	};
	static const char *const bad[] = {
		"", "now", "2023-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z",
		"2026-01-32T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z", "2026-01-01T00:00:60Z",
		"2026-01-01T00:00:00.Z", "2026-01-01T00:00:00+", "2026-01-01T00:00:00+2", "2026-01-01T00:00:00+02:",
		"2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00+02:60", "2026-01-01T00:00:00Zx", "0000-01-01T00:00:00Z",
		"2026-1-1T0:0:0Z", "2026-01-01", "2026-01-01T", "2026-01-01T00", "99999-01-01T00:00:00Z"
	};
	static const int64_t round_trip[] = {
		0, -1, 1, INT64_C(951782399999), INT64_C(951782400000), INT64_C(951868799999), INT64_C(951868800000),
		INT64_C(1735689599999), INT64_C(1735689600000), INT64_C(-62135596800000), INT64_C(253402300799999),
		INT64_C(-2203891200001), INT64_C(4107542400000)
	};
	int64_t		ms;
	bool		zone;
	char		text[40];

	(void) state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
	{
		assert_true(timestamp_from_text(good[i].text, &ms, &zone));
		assert_true(ms == good[i].ms);
		assert_int_equal(zone, good[i].zone);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(timestamp_from_text(bad[i], &ms, &zone));
	for (size_t i = 0; i < sizeof(round_trip) / sizeof(round_trip[0]); i++)
	{
		timestamp_to_text(round_trip[i], text);
		assert_true(timestamp_from_text(text, &ms, &zone) && zone);
		assert_true(ms == round_trip[i]);
	}
	timestamp_to_text(INT64_C(1768385397139), text);
	assert_string_equal(text, "2026-01-14T10:09:57.139000+00:00");
	timestamp_to_text(INT64_MIN, text);
	assert_string_equal(text, "0001-01-01T00:00:00.000000+00:00");
	timestamp_to_text(INT64_MAX, text);
	assert_string_equal(text, "9999-12-31T23:59:59.999000+00:00");
}

static void
test_host_port(void **state)
{
	static const struct
	{
		const char *url;
		const char *host;
		int			port;		/* 0 = refused */
	}			cases[] = {
		{"postgres://10.0.0.1:5433/postgres", "10.0.0.1", 5433},
		{"postgres://Node1/postgres", "node1", 5432},
		{"postgres://u:p@[::1]:5434/x?a=b:9", "::1", 5434},
		{"postgres://[fe80::1]", "fe80::1", 5432},
		{"postgres://h:/x", "h", 5432},
		{"postgres://h:99999/x", "", 0},
		{"postgres://h:12a/x", "", 0},
		{"postgres://[::1/x", "", 0},
		{"postgres://[::1]x/x", "", 0},
		{"postgres:///x", "", 0},
		{"host=a", "", 0},
		{"", "", 0},
	};
	Member		member;
	char		host[256];
	int			port;

	(void) state;
	member_init(&member);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		strcpy(member.conn_url, cases[i].url);
		assert_int_equal(member_host_port(&member, host, &port), cases[i].port != 0);
		assert_string_equal(host, cases[i].host);
		assert_int_equal(port, cases[i].port);
	}
}

static void
test_equality(void **state)
{
	(void) state;
	assert_true(json_text_equal("{\"a\":1,\"b\":{\"c\":2}}", "{ \"b\": {\"c\": \"2\"}, \"a\": \"1\" }"));
	assert_true(json_text_equal("{\"a\":true}", "{\"a\":\"True\"}"));
	assert_true(json_text_equal("{\"a\":0.5}", "{\"a\":\"0.5\"}"));
	assert_true(json_text_equal("{\"a\":[1,2]}", "{\"a\":[1,2]}"));
	assert_false(json_text_equal("{\"a\":[1,2]}", "{\"a\":[1,\"2\"]}"));
	assert_false(json_text_equal("{\"a\":null}", "{}"));
	assert_false(json_text_equal("{\"a\":{}}", "{\"a\":null}"));
	assert_false(json_text_equal("{\"a\":1}", "{\"a\":2}"));
	assert_false(json_text_equal("{\"a\":1}", "{\"b\":1}"));
	assert_false(json_text_equal("{\"a\":1}", "{"));
	assert_false(json_text_equal(NULL, "{}"));
	assert_true(json_text_equal(NULL, NULL));
	assert_true(json_text_equal("{", "{"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_slot_names),
		cmocka_unit_test(test_positions),
		cmocka_unit_test(test_timestamps),
		cmocka_unit_test(test_host_port),
		cmocka_unit_test(test_equality),
		cmocka_unit_test(test_letter_case),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
