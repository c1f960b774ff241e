/*-------------------------------------------------------------------------
 *
 * test_access.c
 *      Who may change something: addresses, certificates and passwords, alone
 *      and together.
 *-------------------------------------------------------------------------
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "rest/rest_internal.h"

static Settings settings;
static ClusterView view;
static Allowlist *list;
static const char *text;

static int
setup(void **state)
{
	(void) state;
	settings_init(&settings);
	cluster_view_init(&view);
	view.is_loaded = true;
	list = allowlist_create();
	return list == NULL;
}

static int
teardown(void **state)
{
	(void) state;
	allowlist_free(list);
	settings_free(&settings);
	cluster_view_free(&view);
	return 0;
}

static void
put_member(const char *name, const char *api_url)
{
	static uint64_t version = 1;
	char key[64];
	char value[256];
	ClusterKey item = { .name = key, .value = value, .session = "", .version = version++ };

	snprintf(key, sizeof(key), "members/%s", name);
	snprintf(value, sizeof(value), "{\"api_url\":\"%s\"}", api_url);
	cluster_view_apply(&view, &item);
}

/* Takes "restapi" over; waits until all names are looked up. */
static void
configure(json_t *restapi)
{
	json_decref(settings.document);
	settings.document = json_pack("{s:o}", "restapi", restapi);
	allowlist_configure(list, &settings);
	for (int i = 0; i < 500; i++)
	{
		if (!allowlist_look(list, &view, clock_now_ms()))
			break;
		usleep(10000);
	}
}

static void
set_from(ServerRequest *request, const char *from)
{
	struct sockaddr_in *four = (struct sockaddr_in *) &request->from;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *) &request->from;

	memset(request, 0, sizeof(*request));
	if (inet_pton(AF_INET, from, &four->sin_addr) == 1)
		four->sin_family = AF_INET;
	else
	{
		assert_int_equal(inet_pton(AF_INET6, from, &six->sin6_addr), 1);
		six->sin6_family = AF_INET6;
	}
}

static int
code_from(const char *from)
{
	ServerRequest request;

	set_from(&request, from);
	return access_code(&settings, list, &view, &request, false, &text);
}

static void
test_networks(void **state)
{
	static const struct
	{
		const char *entry;
		const char *inside;
		const char *outside;
	} rows[] = {
		{ "10.0.0.0/8", "10.255.0.1", "11.0.0.1" },
		{ "10.1.2.3", "10.1.2.3", "10.1.2.4" },
		{ "10.1.2.128/25", "10.1.2.129", "10.1.2.127" },
		{ "10.1.2.3/32", "::ffff:10.1.2.3", "::ffff:10.1.2.2" },
		{ "0.0.0.0/0", "192.0.2.1", "2001:db8::1" },
		{ "2001:db8::/32", "2001:db8:1::1", "2001:db9::1" },
		{ "2001:db8::1", "2001:db8::1", "2001:db8::2" },
		{ "2001:db8:8000::/33", "2001:db8:8001::", "2001:db8:7fff::" },
	};

	(void) state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
	{
		configure(json_pack("{s:[s]}", "allowlist", rows[i].entry));
		if (code_from(rows[i].inside) != 0 || code_from(rows[i].outside) != 403)
			fail_msg("%s", rows[i].entry);
		assert_string_equal(text, "Access is denied");
	}
}

/* What cannot be read allows nobody, rather than everybody. */
static void
test_nonsense(void **state)
{
	static const char *const entries[] = { "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8x",
										   "2001:db8::/129", "/8", "no.such.name.invalid", "" };

	(void) state;
	for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++)
	{
		configure(json_pack("{s:[s]}", "allowlist", entries[i]));
		if (code_from("10.0.0.1") != 403)
			fail_msg("\"%s\" allows it", entries[i]);
	}
}

static void
test_names(void **state)
{
	(void) state;
	configure(json_pack("{s:[s, s]}", "allowlist", "10.0.0.0/8", "localhost"));
	assert_int_equal(code_from("127.0.0.1"), 0);
	assert_int_equal(code_from("10.0.0.1"), 0);
	assert_int_equal(code_from("192.0.2.1"), 403);
	/* what is not in the list any more does not count any more */
	configure(json_pack("{s:[s]}", "allowlist", "10.0.0.0/8"));
	assert_int_equal(code_from("127.0.0.1"), 403);
}

static void
test_members(void **state)
{
	(void) state;
	put_member("a", "http://10.0.0.1:8008/patroni");
	put_member("b", "https://[2001:db8::5]:8008/patroni");
	configure(json_pack("{s:b}", "allowlist_include_members", 1));
	assert_int_equal(code_from("10.0.0.1"), 0);
	assert_int_equal(code_from("::ffff:10.0.0.1"), 0);
	assert_int_equal(code_from("2001:db8::5"), 0);
	assert_int_equal(code_from("127.0.0.1"), 403);
	put_member("c", "http://localhost:8008/patroni");
	configure(json_pack("{s:b, s:[s]}", "allowlist_include_members", 1, "allowlist", "192.0.2.1"));
	assert_int_equal(code_from("127.0.0.1"), 0);
	assert_int_equal(code_from("192.0.2.1"), 0);
	assert_int_equal(code_from("192.0.2.2"), 403);
}

/* The locks that are configured must all be opened; one is enough to be open at all. */
static void
test_locks(void **state)
{
	ServerRequest request;

	(void) state;
	configure(json_pack("{}"));
	assert_int_equal(code_from("10.0.0.1"), 403);
	assert_non_null(strstr(text, "restapi.authentication"));
	configure(json_pack("{s:[], s:b}", "allowlist", "allowlist_include_members", 0));
	assert_int_equal(code_from("10.0.0.1"), 403);
	configure(json_pack("{s:[s], s:{s:s, s:s}}", "allowlist", "10.0.0.0/8", "authentication",
						"username", "admin", "password", "adm1n"));
	assert_int_equal(code_from("11.0.0.1"), 403);
	assert_int_equal(code_from("10.0.0.1"), 401);
	set_from(&request, "10.0.0.1");
	request.has_authorization = true;
	strcpy(request.authorization, "Basic YWRtaW46YWRtMW4=");
	assert_int_equal(access_code(&settings, list, &view, &request, false, &text), 0);
	set_from(&request, "10.0.0.1");
	request.has_certificate = true;
	configure(json_pack("{s:s, s:s}", "certfile", "x", "verify_client", "optional"));
	assert_int_equal(access_code(&settings, list, &view, &request, false, &text), 0);
	assert_int_equal(code_from("10.0.0.1"), 403);
	assert_string_equal(text, "client certificate required");
	/* without TLS nobody can have one */
	configure(json_pack("{s:s}", "verify_client", "required"));
	assert_int_equal(access_code(&settings, list, &view, &request, false, &text), 403);
	assert_int_equal(access_code(NULL, list, &view, &request, false, &text), 403);
}

/* POST /failsafe: what is configured counts, but for the members; nothing has to be. */
static void
test_members_calls(void **state)
{
	ServerRequest request;

	(void) state;
	set_from(&request, "10.0.0.1");
	configure(json_pack("{}"));
	assert_int_equal(access_code(&settings, list, &view, &request, true, &text), 0);
	configure(json_pack("{s:b}", "allowlist_include_members", 1));
	assert_int_equal(code_from("10.0.0.1"), 403);
	assert_int_equal(access_code(&settings, list, &view, &request, true, &text), 0);
	configure(json_pack("{s:b, s:[s]}", "allowlist_include_members", 1, "allowlist", "11.0.0.0/8"));
	assert_int_equal(access_code(&settings, list, &view, &request, true, &text), 403);
	put_member("a", "http://10.0.0.1:8008/patroni");
	assert_int_equal(access_code(&settings, list, &view, &request, true, &text), 0);
	configure(json_pack("{s:{s:s, s:s}}", "authentication", "username", "admin", "password", "adm1n"));
	assert_int_equal(access_code(&settings, list, &view, &request, true, &text), 401);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_networks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nonsense, setup, teardown),
		cmocka_unit_test_setup_teardown(test_names, setup, teardown),
		cmocka_unit_test_setup_teardown(test_members, setup, teardown),
		cmocka_unit_test_setup_teardown(test_locks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_members_calls, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
