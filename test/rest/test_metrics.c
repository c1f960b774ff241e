/*-------------------------------------------------------------------------
 *
 * test_metrics.c
 *      GET /metrics: every series has its head, and says what is true.
 *-------------------------------------------------------------------------
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "rest/rest_internal.h"

#define LABELS "{scope=\"de\\\\m\\\"o\",name=\"node1\"}"

typedef struct Node
{
	LeasePage page;
	Settings settings;
	ClusterView view;
	HaPostgres postgres;
	RestStatus status;
	Takeovers takeovers;
	char *text;
} Node;

static void
put_key(Node *node, const char *name, const char *value)
{
	static uint64_t version = 1;
	ClusterKey key;

	memset(&key, 0, sizeof(key));
	key.name = name;
	key.value = value;
	key.session = "";
	key.version = version++;
	cluster_view_apply(&node->view, &key);
	node->view.is_loaded = true;
}

static void
set_fence(Node *node, int64_t deadline_us)
{
	atomic_store(&node->page.lease, (UINT64_C(1) << LEASE_DEADLINE_BITS) | (uint64_t) deadline_us);
}

static int
setup(void **state)
{
	Node *node = calloc(1, sizeof(Node));

	settings_init(&node->settings);
	strcpy(node->settings.name, "node1");
	strcpy(node->settings.scope, "de\\m\"o");
	node->settings.ttl_ms = 10000;
	node->settings.tags.failover_priority = 3;
	cluster_view_init(&node->view);
	put_key(node, "leader", "node1");
	put_key(node, "failsafe", "{\"node1\":\"http://10.0.0.1:8008/patroni\"}");
	node->postgres.server = HA_SERVER_RUNNING;
	node->postgres.timeline = 2;
	node->postgres.version_num = 150020;
	node->postgres.start_time_ms = INT64_C(1767225600123);
	node->postgres.flush_lsn = 0x3000000;
	set_fence(node, clock_now_us() + 60 * 1000000);
	atomic_store(&node->page.is_primary, 1);
	atomic_store(&node->page.refused_commits, 7);
	node->status.settings = &node->settings;
	node->status.page = &node->page;
	node->status.view = &node->view;
	node->status.postgres = &node->postgres;
	node->status.takeovers = &node->takeovers;
	node->status.is_fresh = true;
	node->status.store_is_reachable = true;
	node->status.store_last_seen_ms = INT64_C(1767225700999);
	node->status.role = ROLE_PRIMARY;
	node->status.state = MEMBER_RUNNING;
	*state = node;
	return 0;
}

static int
teardown(void **state)
{
	Node *node = *state;

	settings_free(&node->settings);
	cluster_view_free(&node->view);
	free(node->text);
	free(node);
	return 0;
}

static void
scrape(Node *node)
{
	RestFacts facts;

	rest_facts(&facts, &node->status, clock_now_ms(), clock_wall_ms());
	free(node->text);
	node->text = metrics_document(&facts);
	assert_non_null(node->text);
}

/* Is there exactly this line? */
static bool
has_line(const Node *node, const char *line)
{
	size_t length = strlen(line);

	for (const char *at = node->text; (at = strstr(at, line)) != NULL; at++)
		if ((at == node->text || at[-1] == '\n') && at[length] == '\n')
			return true;
	return false;
}

static void
expect(const Node *node, const char *name, const char *value)
{
	char line[256];

	snprintf(line, sizeof(line), "%s" LABELS " %s", name, value);
	if (!has_line(node, line))
		fail_msg("no line \"%s\" in\n%s", line, node->text);
}

static void
test_primary(void **state)
{
	Node *node = *state;
	const char *remaining;

	scrape(node);
	expect(node, "patroni_version", "040104");
	expect(node, "patroni_postgres_running", "1");
	expect(node, "patroni_postmaster_start_time", "1767225600.123");
	expect(node, "patroni_primary", "1");
	expect(node, "patroni_xlog_location", "50331648");
	expect(node, "patroni_replica", "0");
	expect(node, "patroni_xlog_received_location", "0");
	expect(node, "patroni_postgres_server_version", "150020");
	expect(node, "patroni_cluster_unlocked", "0");
	expect(node, "patroni_failsafe_member", "1");
	expect(node, "patroni_postgres_timeline", "2");
	expect(node, "patroni_dcs_last_seen", "1767225700");
	expect(node, "patroni_postgres_state", "5");
	expect(node, "patroni_failover_priority", "3");
	expect(node, "patroni_fence_open", "1");
	expect(node, "patroni_fence_refused_commits_total", "7");
	assert_non_null(strstr(node->text, "# Values: 0=initdb, 1=initdb_failed, "));
	remaining = strstr(node->text, "patroni_lease_remaining_seconds" LABELS " ");
	assert_non_null(remaining);
	assert_in_range(atof(strchr(remaining, '}') + 1) * 1000, 50000, 60001);
	assert_null(strstr(node->text, "patroni_last_"));
}

static void
test_fence(void **state)
{
	Node *node = *state;

	set_fence(node, clock_now_us() - 1000);
	scrape(node);
	expect(node, "patroni_primary", "0");
	expect(node, "patroni_fence_open", "0");
	expect(node, "patroni_lease_remaining_seconds", "0.000");
	set_fence(node, LEASE_NEVER_US);
	node->status.is_paused = true;
	scrape(node);
	expect(node, "patroni_is_paused", "1");
	expect(node, "patroni_lease_remaining_seconds", "+Inf");
}

static void
test_replica(void **state)
{
	Node *node = *state;

	put_key(node, "leader", "node2");
	set_fence(node, LEASE_CLOSED_US);
	node->postgres.is_in_recovery = node->postgres.is_streaming = true;
	node->postgres.received_lsn = 0x3000100;
	node->postgres.replayed_lsn = 0x3000000;
	node->postgres.has_pending_restart = true;
	node->status.role = ROLE_REPLICA;
	node->status.replayed_at_ms = INT64_C(1767225601500);
	node->settings.tags.nofailover = true;
	scrape(node);
	expect(node, "patroni_primary", "0");
	expect(node, "patroni_xlog_location", "0");
	expect(node, "patroni_replica", "1");
	expect(node, "patroni_xlog_received_location", "50331904");
	expect(node, "patroni_xlog_replayed_location", "50331648");
	expect(node, "patroni_xlog_replayed_timestamp", "1767225601.500");
	expect(node, "patroni_postgres_streaming", "1");
	expect(node, "patroni_pending_restart", "1");
	expect(node, "patroni_failover_priority", "0");
}

static void
test_nothing_known(void **state)
{
	Node *node = *state;

	node->status.view = NULL;
	node->status.postgres = NULL;
	node->status.page = NULL;
	node->status.takeovers = NULL;
	node->status.role = ROLE_UNINITIALIZED;
	node->status.state = MEMBER_STATE_UNKNOWN;
	scrape(node);
	expect(node, "patroni_postgres_running", "0");
	expect(node, "patroni_postmaster_start_time", "0.000");
	expect(node, "patroni_postgres_server_version", "0");
	expect(node, "patroni_cluster_unlocked", "1");
	expect(node, "patroni_postgres_state", "-1");
	expect(node, "patroni_lease_remaining_seconds", "0.000");
}

static void
test_takeovers(void **state)
{
	Node *node = *state;

	node->takeovers.last_switchover =
	    (Takeover){ .exists = true, .handover_ms = 300, .election_ms = 12, .promotion_ms = 88 };
	node->takeovers.last_failover =
	    (Takeover){ .exists = true, .handover_ms = -1, .election_ms = 1000, .promotion_ms = 500 };
	scrape(node);
#define PHASE(phase) "{scope=\"de\\\\m\\\"o\",name=\"node1\",phase=\"" phase "\"}"
	assert_true(has_line(node, "patroni_last_switchover_seconds" PHASE("handover") " 0.300"));
	assert_true(has_line(node, "patroni_last_switchover_seconds" PHASE("total") " 0.400"));
	assert_true(has_line(node, "patroni_last_failover_seconds" PHASE("total") " 1.500"));
	assert_null(strstr(node->text, "patroni_last_failover_seconds" PHASE("handover")));
}

static void
test_synchronous(void **state)
{
	Node *node = *state;

	scrape(node);
	expect(node, "patroni_synchronous_mode", "0");
	expect(node, "patroni_synchronous_named_standbys", "0");
	expect(node, "patroni_synchronous_in_force", "0");

	node->settings.synchronous_mode = SYNC_MODE_QUORUM;
	node->settings.synchronous_mode_strict = true;
	put_key(node, "sync",
	        "{\"leader\":\"node1\",\"sync_standby\":\"node2,node3,node4\",\"quorum\":2}");
	node->postgres.is_sync_settled = true;
	node->postgres.n_senders = 3;
	for (int i = 0; i < 3; i++)
	{
		node->postgres.senders[i].is_streaming = i != 1;
		node->postgres.senders[i].sync_state = i < 2 ? SYNC_WALSENDER_QUORUM : SYNC_WALSENDER_ASYNC;
	}
	scrape(node);
	expect(node, "patroni_synchronous_mode", "2");
	expect(node, "patroni_synchronous_mode_strict", "1");
	expect(node, "patroni_synchronous_named_standbys", "3");
	expect(node, "patroni_synchronous_quorum", "2");
	expect(node, "patroni_synchronous_connected_standbys", "1");
	expect(node, "patroni_synchronous_in_force", "1");

	/* only a primary lets commits wait */
	node->postgres.is_in_recovery = true;
	scrape(node);
	expect(node, "patroni_synchronous_connected_standbys", "0");
	expect(node, "patroni_synchronous_in_force", "0");
}

static void
test_failsafe(void **state)
{
	Node *node = *state;
	const char *remaining;

	scrape(node);
	expect(node, "patroni_failsafe_key_members", "1");
	expect(node, "patroni_failsafe_remaining_seconds", "0.000");
	expect(node, "patroni_failsafe_promise_seconds", "0.000");
	put_key(node, "failsafe", "{\"node1\":\"x\",\"node2\":\"y\"}");
	atomic_store(&node->page.bound_until_ms, clock_now_ms() + 5000);
	/* the key is remembered while the store does not answer */
	node->status.store_is_reachable = false;
	scrape(node);
	expect(node, "patroni_cluster_unlocked", "1");
	expect(node, "patroni_failsafe_key_members", "2");
	remaining = strstr(node->text, "patroni_failsafe_promise_seconds" LABELS " ");
	assert_non_null(remaining);
	assert_in_range(atof(strchr(remaining, '}') + 1) * 1000, 4000, 5001);
}

static void
test_slots(void **state)
{
	Node *node = *state;

	scrape(node);
	expect(node, "patroni_missing_slots", "0");
	assert_null(strstr(node->text, "patroni_slot_"));

	node->postgres.n_slots = 2;
	node->postgres.slots[0] =
	    (HaSlot){ .name = "node2", .is_active = true, .restart_lsn = 0x2ffff00 };
	node->postgres.slots[1] =
	    (HaSlot){ .name = "feed", .is_logical = true, .restart_lsn = 0x2000000, .confirmed_lsn = 0x2fffff0 };
	scrape(node);
#define SLOT(name, type) "{scope=\"de\\\\m\\\"o\",name=\"node1\",slot=\"" name "\",type=\"" type "\"}"
	assert_true(has_line(node, "patroni_slot_active" SLOT("node2", "physical") " 1"));
	assert_true(has_line(node, "patroni_slot_active" SLOT("feed", "logical") " 0"));
	assert_true(has_line(node, "patroni_slot_retained_bytes" SLOT("node2", "physical") " 256"));
	assert_true(has_line(node, "patroni_slot_retained_bytes" SLOT("feed", "logical") " 16777216"));
	assert_true(has_line(node, "patroni_slot_unconfirmed_bytes" SLOT("feed", "logical") " 16"));
	assert_null(strstr(node->text, "patroni_slot_unconfirmed_bytes" SLOT("node2", "physical")));
	assert_true(has_line(node, "patroni_slot_usable" SLOT("feed", "logical") " 1"));

	/* a copy on a standby that is not complete; nobody is behind the end of the WAL */
	node->postgres.is_in_recovery = true;
	node->postgres.received_lsn = 0x2000000;
	node->postgres.slots[1].is_copying = true;
	node->status.missing_slots = 1;
	scrape(node);
	expect(node, "patroni_missing_slots", "1");
	assert_true(has_line(node, "patroni_slot_usable" SLOT("feed", "logical") " 0"));
	assert_true(has_line(node, "patroni_slot_retained_bytes" SLOT("feed", "logical") " 0"));
	assert_true(has_line(node, "patroni_slot_unconfirmed_bytes" SLOT("feed", "logical") " 0"));
}

/* Each series stands under its own HELP and TYPE, and no name comes twice. */
static void
test_shape(void **state)
{
	Node *node = *state;
	char *copy;
	char *rest = NULL;
	char name[128] = "";
	char seen[128][128];
	int n_seen = 0;

	node->takeovers.last_failover.exists = true;
	node->postgres.n_slots = 1;
	node->postgres.slots[0] = (HaSlot){ .name = "feed", .is_logical = true, .restart_lsn = 1, .confirmed_lsn = 1 };
	scrape(node);
	assert_int_equal(node->text[strlen(node->text) - 1], '\n');
	copy = strdup(node->text);
	for (char *line = strtok_r(copy, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest))
	{
		char word[128];
		char type[16];

		if (sscanf(line, "# HELP %127s", word) == 1)
		{
			for (int i = 0; i < n_seen; i++)
				assert_string_not_equal(seen[i], word);
			strcpy(seen[n_seen++], word);
			name[0] = '\0';
		}
		else if (sscanf(line, "# TYPE %127s %15s", word, type) == 2)
		{
			assert_string_equal(word, seen[n_seen - 1]);
			assert_true(strcmp(type, "gauge") == 0 || strcmp(type, "counter") == 0);
			strcpy(name, word);
		}
		else if (line[0] != '#')
		{
			size_t length = strcspn(line, "{");

			assert_int_equal(length, strlen(name));
			assert_memory_equal(line, name, length);
		}
	}
	assert_true(n_seen > 30);
	free(copy);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_primary, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fence, setup, teardown),
		cmocka_unit_test_setup_teardown(test_replica, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nothing_known, setup, teardown),
		cmocka_unit_test_setup_teardown(test_takeovers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_synchronous, setup, teardown),
		cmocka_unit_test_setup_teardown(test_failsafe, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slots, setup, teardown),
		cmocka_unit_test_setup_teardown(test_shape, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
