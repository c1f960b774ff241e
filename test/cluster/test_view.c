/*-------------------------------------------------------------------------
 *
 * test_view.c
 *      The other keys, and the view built from all of them.
 *
 *-------------------------------------------------------------------------
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "cluster/cluster.h"

static void
apply(ClusterView *view, const char *name, const char *value, uint64_t version)
{
	ClusterKey	key = {.name = name, .value = value, .session = "lease", .version = version};

	cluster_view_apply(view, &key);
}

static void
test_failover(void **state)
{
	static const char full[] = "{\"leader\":\"a\",\"member\":\"b\",\"scheduled_at\":\"2026-01-14T10:09:57.139400+00:00\"}";
	FailoverRequest request = {.version = 9};
	char		name[300];
	char	   *text;

	(void) state;
	failover_from_text(&request, full);
	assert_true(request.exists && request.is_scheduled && !request.schedule_is_bad);
	assert_true(request.scheduled_at_ms == INT64_C(1768385397139));
	assert_int_equal(request.version, 9);
	text = failover_to_text(&request);
	assert_string_equal(text, full);
	free(text);
	failover_from_text(&request, " old : new ");
	assert_string_equal(request.leader, "old");
	assert_string_equal(request.candidate, "new");
	failover_from_text(&request, "{}");
	assert_false(request.exists);
	text = failover_to_text(&request);
	assert_string_equal(text, "{}");
	free(text);
	failover_from_text(&request, "{\"refused\":\"no\"}");
	assert_false(request.exists);
	text = failover_to_text(&request);
	assert_string_equal(text, "{\"refused\":\"no\"}");
	free(text);
	failover_from_text(&request, "{\"leader\":\"a\",\"scheduled_at\":\"2026-01-14T10:09:57\"}");
	assert_true(request.is_scheduled && request.schedule_is_bad);
	failover_from_text(&request, "{\"leader\":\"a\",\"scheduled_at\":5}");
	assert_true(request.is_scheduled && request.schedule_is_bad);
	failover_from_text(&request, "{broken");
	assert_false(request.exists);
	failover_from_text(&request, "[]");
	assert_false(request.exists);
	memset(name, 'n', 299);
	name[299] = '\0';
	failover_from_text(&request, name);
	assert_int_equal(strlen(request.leader), CLUSTER_NAME_MAX - 1);
	assert_string_equal(request.leader + CLUSTER_NAME_MAX - 4, "...");
}

static void
test_sync(void **state)
{
	SyncState	sync = {0};
	char	   *text;

	(void) state;
	sync_from_text(&sync, "{\"leader\":\"n1\",\"quorum\":\"1\",\"sync_standby\":\" n3 ,, n2\"}");
	assert_true(sync.exists);
	assert_int_equal(sync.quorum, 1);
	assert_string_equal(sync.sync_standby, "n3,n2");
	text = sync_to_text(&sync);
	assert_string_equal(text, "{\"leader\":\"n1\",\"quorum\":1,\"sync_standby\":\"n2,n3\"}");
	free(text);
	sync_from_text(&sync, "{\"leader\":\"\",\"quorum\":3,\"sync_standby\":\"x\"}");
	assert_false(sync.exists);
	assert_int_equal(sync.quorum, 0);
	assert_null(sync.sync_standby);
	text = sync_to_text(&sync);
	assert_string_equal(text, "{\"leader\":null,\"quorum\":0,\"sync_standby\":null}");
	free(text);
}

/* Whole names only, without case; the leader is no standby. */
static void
test_sync_names(void **state)
{
	SyncState	sync = {0};
	const char *list = " , Node 1,,\tn2 ";
	const char *name;
	size_t		length;

	(void) state;
	assert_true(sync_next_standby(&list, &name, &length));
	assert_int_equal(length, 6);
	assert_memory_equal(name, "Node 1", length);
	assert_true(sync_next_standby(&list, &name, &length));
	assert_int_equal(length, 2);
	assert_memory_equal(name, "n2", length);
	assert_false(sync_next_standby(&list, &name, &length));
	list = NULL;
	assert_false(sync_next_standby(&list, &name, &length));

	assert_false(sync_names_standby(&sync, "n1"));
	sync_from_text(&sync, "{\"leader\":\"n1\",\"sync_standby\":\"N22,n3\"}");
	assert_true(sync_names_standby(&sync, "n22"));
	assert_true(sync_names_standby(&sync, "N3"));
	assert_false(sync_names_standby(&sync, "n2"));
	assert_false(sync_names_standby(&sync, "n33"));
	assert_false(sync_names_standby(&sync, ""));
	assert_false(sync_names_standby(&sync, "n1"));
	assert_true(sync_names_member(&sync, "N1"));
	assert_true(sync_names_member(&sync, "n3"));
	assert_false(sync_names_member(&sync, "n2"));
	free(sync.sync_standby);
}

static void
test_status(void **state)
{
	static const char full[] = "{\"optime\":123456789,\"slots\":{\"a\":5,\"b\":6},\"retain_slots\":[\"a\",\"b\"]}";
	ClusterStatus status = {0};
	char	   *text;

	(void) state;
	status_from_text(&status, full);
	text = status_to_text(&status);
	assert_string_equal(text, full);
	free(text);
	status_from_text(&status, "{\"optime\":\"7\",\"slots\":\"{\\\"a\\\":5}\",\"retain_slots\":\"[\\\"x\\\",3]\"}");
	text = status_to_text(&status);
	assert_string_equal(text, "{\"optime\":7,\"slots\":{\"a\":5},\"retain_slots\":[\"x\"]}");
	free(text);
	status_from_text(&status, "42");
	assert_int_equal(status.optime, 42);
	status_from_text(&status, "{\"optime\":[],\"slots\":[1]}");
	assert_int_equal(status.optime, 0);
	assert_null(status.slots);
	free(status.slots);
	free(status.retain_slots_json);
}

static void
test_history(void **state)
{
	static const char full[] = "[[1,67109024,\"no recovery target specified\",\"2026-01-01T12:00:00.123456+00:00\",\"node2\"],[2,5,\"x\"]]";
	ClusterView view;
	char	   *text;

	(void) state;
	cluster_view_init(&view);
	assert_int_equal(cluster_timeline(&view), 0);
	apply(&view, "history", full, 1);
	assert_int_equal(cluster_timeline(&view), 3);
	text = history_to_text(view.history, view.n_history);
	assert_string_equal(text, full);
	free(text);
	apply(&view, "history", "[]", 1);
	assert_int_equal(cluster_timeline(&view), 1);
	apply(&view, "history", "[[\"a\"]]", 1);
	assert_int_equal(cluster_timeline(&view), 0);
	apply(&view, "history", NULL, 0);
	assert_int_equal(cluster_timeline(&view), 0);
	apply(&view, "promotions", "{\"10\":{\"name\":\"n\",\"from\":2,\"lsn\":3},\"2\":{},\"x\":1,\"99999999999\":{}}", 4);
	assert_int_equal(view.n_taken, 2);
	assert_int_equal(view.taken[0].timeline, 2);
	assert_int_equal(view.taken_version, 4);
	text = taken_to_text(view.taken + 1, 1);
	assert_string_equal(text, "{\"10\":{\"name\":\"n\",\"from\":2,\"lsn\":3}}");
	free(text);
	apply(&view, "promotions", "{\"2\":{\"name\":\"n\",\"from\":1,\"lsn\":3,\"also\":\"m\",\"also_lsn\":4}}", 5);
	text = taken_to_text(view.taken, 1);
	assert_string_equal(text, "{\"2\":{\"name\":\"n\",\"from\":1,\"lsn\":3,\"also\":\"m\",\"also_lsn\":4}}");
	free(text);
	cluster_view_free(&view);
}

static void
test_view(void **state)
{
	ClusterView view;
	ClusterView copy;
	char		name[300];
	char	   *text;

	(void) state;
	cluster_view_init(&view);
	apply(&view, "members/b", "{\"conn_url\":\"postgres://b:5433/p\",\"role\":\"replica\",\"state\":\"running\",\"xlog_location\":90,\"replication_state\":\"streaming\"}", 2);
	apply(&view, "members/a", "{\"conn_url\":\"postgres://a:1/p\",\"role\":\"primary\",\"state\":\"running\"}", 3);
	apply(&view, "members/x/y", "{}", 3);
	apply(&view, "members/", "{}", 3);
	apply(&view, "members/bad\xff", "{}", 3);
	apply(&view, "nonsense", "{}", 3);
	apply(&view, "leader", "a", 5);
	apply(&view, "initialize", "7123456789012345678", 1);
	apply(&view, "config", "{ \"synchronous_mode\": true }", 6);
	apply(&view, "sync", "{\"leader\":\"a\",\"sync_standby\":\"B\"}", 7);
	apply(&view, "optime/leader", "50", 1);
	assert_int_equal(view.status.optime, 50);
	apply(&view, "status", "{\"optime\":100}", 1);
	apply(&view, "optime/leader", "60", 1);
	assert_int_equal(view.status.optime, 100);
	apply(&view, "requests/b", "{\"id\":\"1\",\"command\":\"restart\",\"arguments\":{\"x\":1}}", 8);
	assert_int_equal(view.n_members, 2);
	assert_string_equal(view.members[0].name, "a");
	assert_true(cluster_is_leader(&view, "a"));
	assert_string_equal(view.leader_session, "lease");
	assert_true(cluster_view_copy(&copy, &view));
	apply(&view, "members/a", NULL, 0);
	apply(&view, "leader", NULL, 0);
	apply(&view, "config", "[]", 9);
	apply(&view, "status", NULL, 0);
	/* what cannot be read is there all the same, to be replaced */
	apply(&view, "requests/b", "{broken", 9);
	assert_int_equal(cluster_find_request(&view, "b")->version, 9);
	assert_string_equal(cluster_find_request(&view, "b")->id, "");
	assert_null(cluster_find_request(&view, "b")->arguments_json);
	apply(&view, "requests/b", NULL, 0);
	assert_null(cluster_find_member(&view, "a"));
	assert_non_null(cluster_find_member(&view, "b"));
	assert_false(view.has_leader);
	assert_int_equal(view.leader_version, 0);
	assert_int_equal(view.config_version, 0);
	assert_null(view.config_json);
	assert_int_equal(view.status.optime, 60);
	assert_null(cluster_find_request(&view, "b"));
	text = request_to_text(cluster_find_request(&copy, "b"));
	assert_string_equal(text, "{\"id\":\"1\",\"command\":\"restart\",\"arguments\":{\"x\":1}}");
	free(text);
	text = cluster_view_to_json(&copy);
	assert_non_null(strstr(text, "{\"name\":\"b\",\"role\":\"sync_standby\",\"state\":\"streaming\",\"api_url\":null,\"host\":\"b\",\"port\":5433,"
						   "\"receive_lag\":\"unknown\",\"receive_lsn\":\"unknown\",\"replay_lag\":\"unknown\",\"replay_lsn\":\"unknown\","
						   "\"lag\":10,\"lsn\":\"0/5A\",\"conn_url\":\"postgres://b:5433/p\",\"version\":null,\"xlog_location\":90,"
						   "\"member_role\":\"replica\",\"member_state\":\"running\"}"));
	assert_non_null(strstr(text, "\"role\":\"leader\""));
	assert_non_null(strstr(text, "\"system_identifier\":\"7123456789012345678\""));
	free(text);
	cluster_view_free(&copy);
	assert_false(view.is_incomplete);
	for (int i = 0; i < 100; i++)
	{
		sprintf(name, "members/m%03d", i);
		apply(&view, name, "{}", 1);
	}
	assert_int_equal(view.n_members, CLUSTER_MEMBERS_MAX);
	assert_true(view.is_incomplete);
	cluster_view_free(&view);
}

/* Anything at any key: no crash, and the view can still be printed and copied. */
static void
test_hostile(void **state)
{
	static const char *const keys[] = {"leader", "initialize", "config", "failover", "sync", "status", "optime/leader",
	"history", "failsafe", "promotions", "members/a", "requests/a"};
	static const char *const fragments[] = {"{", "}", "[", "]", "\"", ":", ",", "1e999", "-", "99999999999999999999", "null",
		"\"tags\"", "\"slots\"", "\"leader\"", "\"\\u0000\"", "\xff\xfe", "\"\\ud800\"", "\"id\":\"x\"", "\"command\":\"y\"", "[[1]]",
	"\"history\"", "true", "-1", "0.1", "postgres://", "?application_name=%", "\"conn_url\":\"\xc3\xa4\"", "\n", "\"quorum\":1e18"};
	static char deep[200001];
	uint32_t	seed = 12345;
	ClusterView view;

	(void) state;
	cluster_view_init(&view);
	memset(deep, '[', sizeof(deep) - 1);
	for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++)
	{
		apply(&view, keys[k], deep, 1);
		for (int i = 0; i < 3000; i++)
		{
			char		value[1024] = "";
			ClusterView copy;
			char	   *text;

			if (i % 3 == 0)
				strcpy(value, "{");
			for (int j = 0; j < 12; j++)
			{
				seed = seed * 1103515245 + 12345;
				strcat(value, fragments[(seed >> 16) % (sizeof(fragments) / sizeof(fragments[0]))]);
			}
			apply(&view, keys[k], value, (uint64_t) i);
			apply(&view, keys[k], value + i % 7, (uint64_t) i);
			if (i % 50 != 0)
				continue;
			assert_true(cluster_view_copy(&copy, &view));
			text = cluster_view_to_json(&copy);
			assert_non_null(text);
			free(text);
			cluster_view_free(&copy);
		}
	}
	assert_false(view.is_incomplete);
	cluster_view_free(&view);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_failover),
		cmocka_unit_test(test_sync),
		cmocka_unit_test(test_sync_names),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_history),
		cmocka_unit_test(test_view),
		cmocka_unit_test(test_hostile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
