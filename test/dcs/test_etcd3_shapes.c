/* Tests of src/dcs/etcd3_shapes.c: bodies byte for byte those of patroni/dcs/etcd3.py, errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dcs/etcd3_internal.h"

#define LEADER	"/service/batman/leader"
#define K		"\"L3NlcnZpY2UvYmF0bWFuL2xlYWRlcg==\""
#define LEASE	"7587870000000000001"

static void
body_is(char *body, const char *expected)
{
	assert_non_null(body);
	assert_string_equal(body, expected);
	free(body);
}

static void
bodies(void **state)
{
	(void) state;
	body_is(etcd3_body_create(LEADER, "node1", LEASE),
			"{\"compare\":[{\"target\":\"CREATE\",\"create_revision\":\"0\",\"key\":" K "}],"
			"\"success\":[{\"request_put\":{\"key\":" K ",\"value\":\"bm9kZTE=\",\"lease\":\"" LEASE "\"}}]}");
	body_is(etcd3_body_acquire(LEADER, "node1", LEASE, LEADER, 0, NULL, LEADER, 42, LEADER, 7),
			"{\"compare\":[{\"target\":\"CREATE\",\"create_revision\":\"0\",\"key\":" K "},"
			"{\"target\":\"MOD\",\"mod_revision\":\"0\",\"key\":" K "},"
			"{\"target\":\"MOD\",\"mod_revision\":\"42\",\"key\":" K "},"
			"{\"target\":\"MOD\",\"mod_revision\":\"7\",\"key\":" K "}],"
			"\"success\":[{\"request_put\":{\"key\":" K ",\"value\":\"bm9kZTE=\",\"lease\":\"" LEASE "\"}}]}");
	/* with the claim of a timeline id, which belongs to no lease */
	body_is(etcd3_body_acquire(LEADER, "node1", LEASE, LEADER, 5, "{}", LEADER, 0, LEADER, 0),
			"{\"compare\":[{\"target\":\"CREATE\",\"create_revision\":\"0\",\"key\":" K "},"
			"{\"target\":\"MOD\",\"mod_revision\":\"5\",\"key\":" K "},"
			"{\"target\":\"MOD\",\"mod_revision\":\"0\",\"key\":" K "},"
			"{\"target\":\"MOD\",\"mod_revision\":\"0\",\"key\":" K "}],"
			"\"success\":[{\"request_put\":{\"key\":" K ",\"value\":\"bm9kZTE=\",\"lease\":\"" LEASE "\"}},"
			"{\"request_put\":{\"key\":" K ",\"value\":\"e30=\"}}]}");
	/* an absent key is not made anew: there is no "failure" */
	body_is(etcd3_body_confirm(LEADER, "node1", 42, LEASE),
			"{\"compare\":[{\"key\":" K ",\"target\":\"VALUE\",\"value\":\"bm9kZTE=\"},"
			"{\"target\":\"MOD\",\"mod_revision\":\"42\",\"key\":" K "}],"
			"\"success\":[{\"request_put\":{\"key\":" K ",\"value\":\"bm9kZTE=\",\"lease\":\"" LEASE "\"}}]}");
	body_is(etcd3_body_range("/service/batman/", "/service/batman0", true),
			"{\"key\":\"L3NlcnZpY2UvYmF0bWFuLw==\",\"range_end\":\"L3NlcnZpY2UvYmF0bWFuMA==\",\"serializable\":true}");
	body_is(etcd3_body_range(LEADER, NULL, false), "{\"key\":" K ",\"serializable\":false}");
	body_is(etcd3_body_newest(LEADER, "/service/batman/", "/service/batman0"),
			"{\"success\":[{\"request_range\":{\"key\":" K "}},"
			"{\"request_range\":{\"key\":\"L3NlcnZpY2UvYmF0bWFuLw==\",\"range_end\":\"L3NlcnZpY2UvYmF0bWFuMA==\","
			"\"limit\":\"1\",\"sort_order\":\"DESCEND\",\"sort_target\":\"MOD\",\"keys_only\":true}}]}");
	body_is(etcd3_body_put(LEADER, "node1", LEASE),
			"{\"key\":" K ",\"value\":\"bm9kZTE=\",\"lease\":\"" LEASE "\"}");
	body_is(etcd3_body_put(LEADER, "", NULL), "{\"key\":" K ",\"value\":\"\"}");
	body_is(etcd3_body_delete(LEADER), "{\"key\":" K "}");
	body_is(etcd3_body_put_version(LEADER, "node1", 42),
			"{\"compare\":[{\"target\":\"MOD\",\"mod_revision\":\"42\",\"key\":" K "}],"
			"\"success\":[{\"request_put\":{\"key\":" K ",\"value\":\"bm9kZTE=\"}}]}");
	body_is(etcd3_body_put_as_leader(LEADER, "node1", 0, LEADER, 42),
			"{\"compare\":[{\"target\":\"MOD\",\"mod_revision\":\"0\",\"key\":" K "},"
			"{\"target\":\"MOD\",\"mod_revision\":\"42\",\"key\":" K "}],"
			"\"success\":[{\"request_put\":{\"key\":" K ",\"value\":\"bm9kZTE=\"}}]}");
	body_is(etcd3_body_delete_version(LEADER, 18446744073709551615ULL),
			"{\"compare\":[{\"target\":\"MOD\",\"mod_revision\":\"18446744073709551615\",\"key\":" K "}],"
			"\"success\":[{\"request_delete_range\":{\"key\":" K "}}]}");
	body_is(etcd3_body_delete_value(LEADER, "node1", 41),
			"{\"compare\":[{\"key\":" K ",\"target\":\"VALUE\",\"value\":\"bm9kZTE=\"},"
			"{\"target\":\"CREATE\",\"result\":\"LESS\",\"create_revision\":\"42\",\"key\":" K "}],"
			"\"success\":[{\"request_delete_range\":{\"key\":" K "}}]}");
	body_is(etcd3_body_grant(30), "{\"TTL\":30}");
	body_is(etcd3_body_keepalive(LEASE), "{\"ID\":\"" LEASE "\"}");
	body_is(etcd3_body_watch("/service/batman/", "/service/batman0", 8),
			"{\"create_request\":{\"key\":\"L3NlcnZpY2UvYmF0bWFuLw==\",\"range_end\":\"L3NlcnZpY2UvYmF0bWFuMA==\","
			"\"start_revision\":\"8\",\"filters\":[],\"progress_notify\":true}}");
	body_is(etcd3_body_authenticate("u", "p\""), "{\"name\":\"u\",\"password\":\"p\\\"\"}");
	assert_null(etcd3_body_authenticate("u", "\xff"));
}

static void
range_ends(void **state)
{
	char	   *end = etcd3_range_end("/service/batman/");

	(void) state;
	assert_string_equal(end, "/service/batman0");
	free(end);
	end = etcd3_range_end("a\xff\xff");
	assert_string_equal(end, "b");
	free(end);
	assert_null(etcd3_range_end("\xff"));
	assert_null(etcd3_range_end(""));
}

static void
prefixes(void **state)
{
	char		prefix[16];

	(void) state;
	assert_true(etcd3_prefix_of_version("3.3.0", prefix));
	assert_string_equal(prefix, "/v3beta");
	assert_true(etcd3_prefix_of_version("3.4.23", prefix));
	assert_string_equal(prefix, "/v3");
	assert_true(etcd3_prefix_of_version("3.6.1", prefix));
	assert_string_equal(prefix, "/v3");
	assert_false(etcd3_prefix_of_version("3.2.9", prefix));
	assert_false(etcd3_prefix_of_version("2.3", prefix));
	assert_false(etcd3_prefix_of_version("not_decided", prefix));
}

static void
errors(void **state)
{
	static const struct
	{
		int			status;
		const char *body;
		Etcd3Error	error;
	}			cases[] =
	{
		{404, "{\"error\":\"etcdserver: requested lease not found\",\"code\":5}", ETCD3_LEASE_NOT_FOUND},
		{400, "{\"error\":\"etcdserver: user name is empty\",\"code\":3}", ETCD3_NOT_AUTHENTICATED},
		{400, "{\"error\":\"etcdserver: authentication failed, invalid user ID or password\",\"code\":3}", ETCD3_AUTH_FAILED},
		{400, "{\"error\":\"etcdserver: revision of auth store is old\",\"code\":3}", ETCD3_NOT_AUTHENTICATED},
		{403, "{\"error\":\"etcdserver: permission denied\",\"code\":7}", ETCD3_NOT_AUTHENTICATED},
		{412, "{\"error\":\"etcdserver: authentication is not enabled\",\"code\":9}", ETCD3_AUTH_DISABLED},
		{401, "{\"Error\":\"etcdserver: invalid auth token\",\"Code\":16}", ETCD3_NOT_AUTHENTICATED},
		{200, "{\"error\":{\"grpc_code\":11,\"http_code\":400,\"message\":\"etcdserver: mvcc: required revision has been compacted\"}}", ETCD3_COMPACTED},
		{504, "{\"error\":\"context deadline exceeded\",\"code\":4}", ETCD3_UNAVAILABLE},
		{503, "{\"error\":\"etcdserver: request timed out\",\"code\":14}", ETCD3_UNAVAILABLE},
		{500, "{\"error\":\"etcdserver: not a primary lessor\",\"code\":2}", ETCD3_UNAVAILABLE},
		{500, "{\"error\":\"something new\",\"code\":2}", ETCD3_UNAVAILABLE},
		{412, "{\"error\":\"something new\",\"code\":9}", ETCD3_RETRIABLE},
		{429, "{\"error\":\"etcdserver: mvcc: database space exceeded\",\"code\":8}", ETCD3_REFUSED},
		{400, "{\"error\":\"etcdserver: key is not provided\",\"code\":3}", ETCD3_REFUSED},
		{404, NULL, ETCD3_NO_SUCH_PATH},
		{502, NULL, ETCD3_UNAVAILABLE},
	};
	size_t		i;

	(void) state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		json_t	   *json = cases[i].body != NULL ? json_loads(cases[i].body, 0, NULL) : NULL;
		char		message[64];

		assert_int_equal(etcd3_classify(cases[i].status, json, message, sizeof(message)), cases[i].error);
		assert_true(message[0] != '\0');
		json_decref(json);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bodies),
		cmocka_unit_test(range_ends),
		cmocka_unit_test(prefixes),
		cmocka_unit_test(errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
