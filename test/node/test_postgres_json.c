/*-------------------------------------------------------------------------
 *
 * test_postgres_json.c
 *      HaPostgres survives the way through JSON, byte by byte; nonsense is
 *      refused or cut, never believed.
 *-------------------------------------------------------------------------
 */
#include "node/host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Every field gets a value of its own, so that a forgotten or swapped one shows. */
static void
fill(HaPostgres *postgres)
{
	memset(postgres, 0, sizeof(*postgres));
	postgres->data = HA_DATA_PRESENT;
	postgres->server = HA_SERVER_RUNNING;
	strcpy(postgres->problem, "a \"problem\" with \\ and \xc3\xa4");
	postgres->system_identifier = UINT64_C(17446744073709551615);
	postgres->control_state = HA_CONTROL_IN_ARCHIVE_RECOVERY;
	postgres->checkpoint_lsn = 0x100000028;
	postgres->checkpoint_redo = 0x100000001;
	postgres->checkpoint_timeline = 3;
	postgres->minimum_recovery_lsn = 0x7f00000000000000;
	postgres->minimum_recovery_timeline = 4;
	postgres->can_rewind = true;
	postgres->is_standby_configured = true;
	postgres->is_observed = true;
	postgres->is_in_recovery = true;
	postgres->timeline = UINT32_MAX;
	postgres->newest_timeline = 6;
	postgres->write_lsn = 7;
	postgres->flush_lsn = 8;
	postgres->received_lsn = 9;
	postgres->replayed_lsn = 10;
	postgres->is_streaming = true;
	postgres->has_restore_command = true;
	postgres->is_replay_paused = true;
	strcpy(postgres->upstream_host, "fe80::1");
	postgres->upstream_port = 5433;
	strcpy(postgres->upstream_slot, "node_2");
	postgres->start_time_ms = INT64_C(1780000000123);
	postgres->version_num = 150020;
	postgres->has_pending_restart = true;
	strcpy(postgres->pending_restart_reason, "{\"max_connections\": {\"old_value\": \"1\"}}");
	postgres->n_slots = CLUSTER_MEMBERS_MAX;
	for (int i = 0; i < CLUSTER_MEMBERS_MAX; i++)
	{
		snprintf(postgres->slots[i].name, 64, "slot_%d", i);
		postgres->slots[i].is_active = i % 2 == 0;
		postgres->slots[i].is_logical = i % 3 == 0;
		postgres->slots[i].is_native = i % 5 == 0;
		postgres->slots[i].is_lost = i % 7 == 0;
		postgres->slots[i].is_copying = i % 11 == 0;
		postgres->slots[i].has_xmin = i % 13 == 0;
		if (postgres->slots[i].is_logical)
		{
			postgres->slots[i].confirmed_lsn = (Lsn) i * 2000;
			strcpy(postgres->slots[i].database, "app");
			strcpy(postgres->slots[i].plugin, "pgoutput");
			strcpy(postgres->slots[i].problem, "not yet");
		}
		postgres->slots[i].restart_lsn = (Lsn) i * 1000;
	}
	postgres->n_senders = 2;
	strcpy(postgres->senders[0].application_name, "node2");
	postgres->senders[0].flush_lsn = 77;
	postgres->senders[1].is_streaming = true;
	postgres->n_history = 64;
	for (int i = 0; i < 64; i++)
	{
		postgres->history[i].timeline = (uint32_t) i + 1;
		postgres->history[i].switch_lsn = (Lsn) i << 24;
		snprintf(postgres->history[i].reason, CLUSTER_REASON_MAX, "reason %d", i);
		strcpy(postgres->history[i].timestamp, "2026-01-01T12:00:00+00:00");
		strcpy(postgres->history[i].new_leader, "node3");
	}
}

/* Through text, as over the channel. */
static bool
through_text(const HaPostgres *from, HaPostgres *to)
{
	json_t *json = postgres_to_json(from);
	char *text;
	bool ok;

	assert_non_null(json);
	text = json_dumps(json, JSON_COMPACT);
	json_decref(json);
	json = json_loads(text, 0, NULL);
	free(text);
	ok = postgres_from_json(to, json);
	json_decref(json);
	return ok;
}

static void
test_full(void **state)
{
	HaPostgres *from = malloc(sizeof(HaPostgres));
	HaPostgres *to = malloc(sizeof(HaPostgres));

	(void) state;
	fill(from);
	memset(to, 0xff, sizeof(*to));
	assert_true(through_text(from, to));
	assert_memory_equal(from, to, sizeof(HaPostgres));
	free(from);
	free(to);
}

static void
test_each_enum(void **state)
{
	HaPostgres *from = calloc(1, sizeof(HaPostgres));
	HaPostgres *to = calloc(1, sizeof(HaPostgres));

	(void) state;
	for (int data = HA_DATA_UNKNOWN; data <= HA_DATA_UNREADABLE; data++)
	{
		for (int server = HA_SERVER_UNKNOWN; server <= HA_SERVER_STOPPING; server++)
		{
			for (int control = HA_CONTROL_STARTUP; control <= HA_CONTROL_UNKNOWN; control++)
			{
				from->data = (HaDataDirectory) data;
				from->server = (HaServer) server;
				from->control_state = (HaControlState) control;
				assert_true(through_text(from, to));
				assert_memory_equal(from, to, sizeof(HaPostgres));
			}
		}
	}
	free(from);
	free(to);
}

/* A text that is no UTF-8 must not make the whole state unsendable. */
static void
test_bad_text(void **state)
{
	HaPostgres *from = calloc(1, sizeof(HaPostgres));
	HaPostgres *to = calloc(1, sizeof(HaPostgres));

	(void) state;
	strcpy(from->problem, "\377\376");
	strcpy(from->slots[0].name, "\377");
	from->n_slots = 1;
	from->flush_lsn = 5;
	assert_true(through_text(from, to));
	assert_int_equal(to->flush_lsn, 5);
	assert_int_equal(to->n_slots, 1);
	free(from);
	free(to);
}

static void
test_refused(void **state)
{
	static const char *const texts[] = {
		"[]",
		"{}",
		"{\"data\":\"present\"}",
		"{\"data\":2,\"server\":3}",
		"{\"data\":\"present\",\"server\":\"flying\"}",
	};
	HaPostgres *postgres = malloc(sizeof(HaPostgres));
	HaPostgres *before = malloc(sizeof(HaPostgres));

	(void) state;
	fill(postgres);
	fill(before);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
	{
		json_t *json = json_loads(texts[i], 0, NULL);

		assert_false(postgres_from_json(postgres, json));
		assert_memory_equal(postgres, before, sizeof(HaPostgres));
		json_decref(json);
	}
	assert_false(postgres_from_json(postgres, NULL));
	free(postgres);
	free(before);
}

/* Lists and texts that are too long are cut; wrong types are zero. */
static void
test_bounds(void **state)
{
	HaPostgres *postgres = malloc(sizeof(HaPostgres));
	json_t *json =
	    json_pack("{s:s, s:s, s:s, s:s, s:I, s:I}", "data", "empty", "server", "stopped",
	              "control_state", "from the future", "timeline", "seven", "upstream_port",
	              (json_int_t) 1 << 40, "checkpoint_timeline", (json_int_t) -1);
	json_t *slots = json_array();
	json_t *history = json_array();
	char long_text[2000];

	(void) state;
	memset(long_text, 'y', sizeof(long_text));
	long_text[sizeof(long_text) - 1] = '\0';
	for (int i = 0; i < 500; i++)
	{
		json_array_append_new(slots, json_pack("{s:s}", "name", long_text));
		json_array_append_new(history, json_pack("[i, i, s]", i, i, long_text));
	}
	json_array_append_new(slots, json_integer(1));
	json_object_set_new(json, "slots", slots);
	json_object_set_new(json, "history", history);
	json_object_set_new(json, "senders", json_string("none"));
	json_object_set_new(json, "problem", json_string(long_text));

	assert_true(postgres_from_json(postgres, json));
	assert_int_equal(postgres->n_slots, CLUSTER_MEMBERS_MAX);
	assert_int_equal(strlen(postgres->slots[0].name), 63);
	assert_int_equal(postgres->n_senders, 0);
	assert_int_equal(postgres->n_history, 64);
	assert_int_equal(strlen(postgres->history[63].reason), CLUSTER_REASON_MAX - 1);
	assert_int_equal(strlen(postgres->problem), HA_REASON_MAX - 1);
	assert_int_equal(postgres->control_state, HA_CONTROL_UNKNOWN);
	assert_int_equal(postgres->timeline, 0);
	assert_int_equal(postgres->upstream_port, 0);
	assert_int_equal(postgres->checkpoint_timeline, 0);
	json_decref(json);
	free(postgres);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_full),     cmocka_unit_test(test_each_enum),
		cmocka_unit_test(test_bad_text), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
