/*-------------------------------------------------------------------------
 *
 * test_member.c
 *      The member key: round trip, reading rules, tags.
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

static const char full[] =
	"{\"conn_url\":\"postgres://10.0.0.1:5432/postgres\",\"api_url\":\"http://10.0.0.1:8008/patroni\","
	"\"state\":\"running\",\"role\":\"replica\",\"version\":\"4.1.4\",\"proxy_url\":\"postgres://p:6432/postgres\","
	"\"checkpoint_after_promote\":false,\"tags\":{\"nofailover\":true,\"name\":\"\\u00E4\"},\"pending_restart\":true,"
	"\"pending_restart_reason\":{\"max_connections\":{\"old_value\":\"100\",\"new_value\":\"200\"}},"
	"\"xlog_location\":67109888,\"replay_lsn\":67109880,\"receive_lsn\":67109888,"
	"\"replication_state\":\"streaming\",\"timeline\":3,"
	"\"scheduled_restart\":{\"schedule\":\"2026-01-01T00:00:00+00:00\"},\"pause\":true}";

static void
test_round_trip(void **state)
{
	Member		member;
	Member		copy;
	char	   *text;

	(void) state;
	member_init(&member);
	strcpy(member.name, "node1");
	member.version = 7;
	member_from_text(&member, full);
	assert_string_equal(member.name, "node1");
	assert_int_equal(member.version, 7);
	assert_int_equal(member.state, MEMBER_RUNNING);
	assert_int_equal(member.role, ROLE_REPLICA);
	assert_int_equal(member.timeline, 3);
	assert_true(member.has_checkpoint_pending && member.is_paused && member.has_pending_restart);
	assert_true(member.tags.nofailover);
	assert_int_equal(member.tags.failover_priority, 0);
	assert_true(member_copy(&copy, &member));
	member_free(&member);
	text = member_to_text(&copy);
	assert_string_equal(text, full);
	free(text);
	member_free(&copy);
}

static void
test_reading_rules(void **state)
{
	Member		member;

	(void) state;
	member_init(&member);
	member_from_text(&member, "postgres://h:5432/postgres?x=1&application_name=http%3A%2F%2Fh:8008/patroni");
	assert_string_equal(member.conn_url, "postgres://h:5432/postgres");
	assert_string_equal(member.api_url, "http://h:8008/patroni");
	assert_int_equal(member.state, MEMBER_STATE_UNKNOWN);
	member_from_text(&member, "{\"role\":\"master\",\"xlog_location\":\" 12 \",\"receive_lsn\":-1,\"timeline\":\"4\"}");
	assert_int_equal(member.role, ROLE_PRIMARY);
	assert_int_equal(member.xlog_location, 12);
	assert_int_equal(member.receive_lsn, 0);
	assert_int_equal(member.timeline, 4);
	assert_string_equal(member.conn_url, "");
	member_from_text(&member, "{\"state\":\"running\",\"xlog_location\":99999999999999999999,\"timeline\":2}");
	assert_int_equal(member.state, MEMBER_RUNNING);
	assert_int_equal(member.xlog_location, 0);
	assert_int_equal(member.timeline, 2);
	member_from_text(&member, "{");
	assert_int_equal(member.state, MEMBER_STATE_UNKNOWN);
	member_from_text(&member, "[1]");
	assert_int_equal(member.state, MEMBER_STATE_UNKNOWN);
	member_from_text(&member, "{\"tags\":{\"clonefrom\":true}}");
	assert_false(member.tags.clonefrom);
	member_from_text(&member, "{\"conn_url\":\"postgres://a:1/b\",\"tags\":{\"clonefrom\":true}}");
	assert_true(member.tags.clonefrom);
	member_from_text(&member, "{\"conn_url\":\"a\\nb\"}");
	assert_string_equal(member.conn_url, "a?b");
	member_free(&member);
}

static void
test_tags(void **state)
{
	MemberTags	tags;

	(void) state;
	member_tags_from_json(&tags, NULL);
	assert_false(tags.nofailover);
	assert_int_equal(tags.failover_priority, 1);
	assert_int_equal(tags.sync_priority, 1);
	member_tags_from_json(&tags, "{\"failover_priority\":0,\"sync_priority\":\"-3\"}");
	assert_true(tags.nofailover && tags.nosync);
	assert_int_equal(tags.failover_priority, 0);
	member_tags_from_json(&tags, "{\"failover_priority\":0,\"nofailover\":false}");
	assert_false(tags.nofailover);
	assert_int_equal(tags.failover_priority, 0);
	member_tags_from_json(&tags, "{\"failover_priority\":5,\"nofailover\":true}");
	assert_true(tags.nofailover);
	assert_int_equal(tags.failover_priority, 0);
	member_tags_from_json(&tags, "{\"replicatefrom\":\"n2\",\"nostream\":1,\"noloadbalance\":\"\"}");
	assert_string_equal(tags.replicatefrom, "n2");
	assert_true(tags.nostream);
	assert_false(tags.noloadbalance);
	member_tags_from_json(&tags, "nonsense");
	assert_int_equal(tags.failover_priority, 1);
}

static void
test_overlong(void **state)
{
	static char text[4096];
	Member		member;
	char	   *end = text + sprintf(text, "{\"conn_url\":\"x");

	(void) state;
	for (int i = 0; i < 600; i++)
		end = stpcpy(end, "\303\244");
	strcpy(end, "\"}");
	member_init(&member);
	member_from_text(&member, text);
	/* 511 bytes: x and 255 characters of two bytes, none cut in half */
	assert_int_equal(strlen(member.conn_url), 511);
	end = member_to_text(&member);
	assert_non_null(end);
	free(end);
	member_free(&member);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_reading_rules),
		cmocka_unit_test(test_tags),
		cmocka_unit_test(test_overlong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
