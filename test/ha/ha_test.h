/*-------------------------------------------------------------------------
 *
 * ha_test.h
 *      One engine for the tests of src/ha: telling it what it needs, looking
 *      at what it wants, and the situations in which most tests begin.
 *
 * The node is node1 of three, with a ttl of 30 s.  The store is what set_key()
 * makes of it; the node knows of a change only after tell_view().
 *-------------------------------------------------------------------------
 */
#ifndef HA_TEST_H
#define HA_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ha/internal.h"

#define SYSID		UINT64_C(7277694203142172922)
#define SYSID_TEXT	"7277694203142172922"
#define END_OF_WAL	UINT64_C(0x5000000)
#define KEYS		32
#define SEEN_MAX	2048

static HaNode *node;
static HaSettings settings;
static HaPostgres postgres;
static int64_t now;
static uint64_t revision;

/* what the store holds */
static struct
{
	char		name[160];
	char		value[1024];
	uint64_t	version;
}			keys[KEYS];

/* every action since forget() */
static HaAction seen[SEEN_MAX];
static int	n_seen;

/* --- telling the node --- */

static inline void
forget(void)
{
	for (int i = 0; i < n_seen; i++)
		free(seen[i].text);
	n_seen = 0;
}

static inline void
step(HaInput *input)
{
	HaActions	actions;

	ha_actions_init(&actions);
	input->wall_ms = 1700000000000 + now;
	ha_step(node, now, input, &actions);
	assert_false(actions.is_incomplete);
	for (int i = 0; i < actions.count; i++)
	{
		assert_true(n_seen < SEEN_MAX);
		seen[n_seen] = actions.items[i];
		actions.items[i].text = NULL;	/* ours now */
		if (getenv("TRACE") != NULL && seen[n_seen].kind != HA_WAKE_AT)
			printf("%8lld kind %d rule %s: %s\n", (long long) now, seen[n_seen].kind,
				   seen[n_seen].rule, seen[n_seen].because);
		n_seen++;
	}
	ha_actions_free(&actions);
}

static inline void
tick(int64_t ms)
{
	HaInput		input = {.kind = HA_INPUT_TICK};

	now += ms;
	step(&input);
}

static inline void
tell_settings(void)
{
	HaInput		input = {.kind = HA_INPUT_SETTINGS};

	input.settings = &settings;
	step(&input);
}

static inline void
tell_postgres(void)
{
	HaInput		input = {.kind = HA_INPUT_POSTGRES};

	input.postgres = &postgres;
	step(&input);
}

static inline void
tell_reachable(bool is_reachable)
{
	HaInput		input = {.kind = HA_INPUT_REACHABLE};

	input.reachable.is_reachable = is_reachable;
	step(&input);
}

static inline void
set_key(const char *name, const char *value)
{
	int			slot = -1;

	for (int i = 0; i < KEYS; i++)
		if (strcmp(keys[i].name, name) == 0 || (slot < 0 && keys[i].name[0] == '\0'))
			slot = i;
	assert_true(slot >= 0);
	keys[slot].name[0] = '\0';
	revision++;
	if (value == NULL)
		return;
	snprintf(keys[slot].name, sizeof(keys[slot].name), "%s", name);
	snprintf(keys[slot].value, sizeof(keys[slot].value), "%s", value);
	keys[slot].version = revision;
}

static inline void
set_member(const char *name, const char *more)
{
	char		key[64];
	char		value[512];
	int			number = atoi(name + 4);

	snprintf(key, sizeof(key), "members/%s", name);
	snprintf(value, sizeof(value), "{\"conn_url\":\"postgres://10.0.0.%d:5432/postgres\","
			 "\"api_url\":\"http://10.0.0.%d:8008/patroni\",\"state\":\"running\","
			 "\"role\":\"replica\",\"timeline\":1,\"xlog_location\":83886080%s}", number, number, more);
	set_key(key, value);
}

static inline void
tell_view_at(uint64_t at_revision)
{
	HaInput		input = {.kind = HA_INPUT_CLUSTER};
	ClusterView view;

	cluster_view_init(&view);
	view.is_loaded = true;
	for (int i = 0; i < KEYS; i++)
	{
		ClusterKey	key = {keys[i].name, keys[i].value, "1", keys[i].version};

		if (keys[i].name[0] != '\0')
			cluster_view_apply(&view, &key);
	}
	view.revision = view.complete_revision = at_revision;
	input.view = &view;
	step(&input);
	cluster_view_free(&view);
}

static inline void
tell_view(void)
{
	tell_view_at(revision);
}

/* --- looking at what it wants --- */

static inline int
count(HaActionKind kind)
{
	int			n = 0;

	for (int i = 0; i < n_seen; i++)
		n += seen[i].kind == kind;
	return n;
}

static inline int
position_of(HaActionKind kind)
{
	for (int i = n_seen - 1; i >= 0; i--)
		if (seen[i].kind == kind)
			return i;
	return -1;
}

/* The newest action of the kind; the test fails without one. */
static inline const HaAction *
last(HaActionKind kind)
{
	int			at = position_of(kind);

	if (at < 0)
		fail_msg("no action of kind %d; the rule is %s", kind, ha_decision(node)->rule);
	return &seen[at];
}

/* The newest one for the key; NULL without one. */
static inline const HaAction *
last_key(HaActionKind kind, const char *key)
{
	for (int i = n_seen - 1; i >= 0; i--)
		if (seen[i].kind == kind && strcmp(seen[i].key, key) == 0)
			return &seen[i];
	return NULL;
}

static inline void
expect_rule(const char *rule)
{
	if (strcmp(ha_decision(node)->rule, rule) != 0)
		fail_msg("the rule is \"%s\", not \"%s\"", ha_decision(node)->rule, rule);
}

/* --- answering it --- */

static inline void
reply_to(const HaAction *action, HaOutcome outcome, bool session_lost, int64_t sent_at_ms, uint64_t version)
{
	HaInput		input = {.kind = HA_INPUT_REPLY};

	input.reply.id = action->request_id;
	input.reply.outcome = outcome;
	input.reply.session_lost = session_lost;
	input.reply.sent_at_ms = sent_at_ms;
	input.reply.version = version;
	step(&input);
}

static inline void
reply(HaActionKind kind, HaOutcome outcome)
{
	reply_to(last(kind), outcome, false, now, 0);
}

typedef struct Answer
{
	bool		is_silent;
	bool		is_primary;
	bool		cannot_lead;
	bool		nofailover;
	bool		watchdog_failed;
	int			priority;		/* 0 = 1 */
	uint32_t	timeline;		/* 0 = 1 */
	Lsn			position;		/* 0 = END_OF_WAL */
	Lsn			checkpoint_redo;
	int			missing_slots;
} Answer;

static inline void
answer_from(const char *name, Answer answer)
{
	HaInput		input = {.kind = HA_INPUT_PEER};
	HaPeer		peer;

	memset(&peer, 0, sizeof(peer));
	snprintf(peer.name, sizeof(peer.name), "%s", name);
	peer.round = last(HA_ASK_PEER)->round;
	peer.is_reachable = !answer.is_silent;
	peer.is_in_recovery = !answer.is_primary;
	peer.can_lead = !answer.cannot_lead;
	peer.nofailover = answer.nofailover;
	peer.watchdog_failed = answer.watchdog_failed;
	peer.failover_priority = answer.priority ? answer.priority : 1;
	peer.missing_slots = answer.missing_slots;
	peer.timeline = answer.timeline ? answer.timeline : 1;
	peer.position = answer.position ? answer.position : END_OF_WAL;
	peer.checkpoint_redo = answer.checkpoint_redo;
	peer.state = MEMBER_RUNNING;
	input.peer = &peer;
	step(&input);
}

/* node2 says this, node3 is as good as we are. */
static inline void
answers(Answer answer)
{
	answer_from("node2", answer);
	answer_from("node3", (Answer) {.position = END_OF_WAL});
}

static inline void
give(HaCommand command)
{
	HaInput		input = {.kind = HA_INPUT_COMMAND};

	input.command = &command;
	step(&input);
}

/* --- situations --- */

/* A node of three, configured, before it knows anything. */
static inline void
create(HaHome home)
{
	ha_node_free(node);
	node = ha_node_create(home);
	forget();
	memset(keys, 0, sizeof(keys));
	memset(&settings, 0, sizeof(settings));
	memset(&postgres, 0, sizeof(postgres));
	now = 1000000;
	revision = 100;
	snprintf(settings.name, sizeof(settings.name), "node1");
	snprintf(settings.conn_url, sizeof(settings.conn_url), "postgres://10.0.0.1:5432/postgres");
	snprintf(settings.api_url, sizeof(settings.api_url), "http://10.0.0.1:8008/patroni");
	snprintf(settings.initial_config, sizeof(settings.initial_config), "{\"ttl\":30}");
	settings.ttl_ms = 30000;
	settings.loop_wait_ms = 10000;
	settings.retry_timeout_ms = 10000;
	settings.peer_timeout_ms = 300;
	settings.maximum_lag_on_failover = 1048576;
	settings.primary_start_timeout_ms = 300000;
	settings.may_bootstrap = true;
	settings.use_pg_rewind = true;
	settings.tags.failover_priority = 1;
	set_key("initialize", SYSID_TEXT);
	set_key("config", "{\"ttl\":30}");
	set_member("node1", "");
	set_member("node2", "");
	set_member("node3", "");
}

static inline void
have_data(void)
{
	postgres.data = HA_DATA_PRESENT;
	postgres.system_identifier = SYSID;
	postgres.can_rewind = true;
	postgres.timeline = postgres.newest_timeline = postgres.checkpoint_timeline = 1;
	postgres.checkpoint_lsn = postgres.checkpoint_redo = END_OF_WAL;
}

static inline void
be_primary(void)
{
	have_data();
	postgres.server = HA_SERVER_RUNNING;
	postgres.is_observed = true;
	postgres.is_in_recovery = false;
	postgres.is_standby_configured = false;
	postgres.control_state = HA_CONTROL_IN_PRODUCTION;
	postgres.write_lsn = postgres.flush_lsn = END_OF_WAL;
}

/* A standby that streams from node2. */
static inline void
be_standby(void)
{
	have_data();
	postgres.server = HA_SERVER_RUNNING;
	postgres.is_observed = true;
	postgres.is_in_recovery = true;
	postgres.is_standby_configured = true;
	postgres.is_streaming = true;
	postgres.control_state = HA_CONTROL_IN_ARCHIVE_RECOVERY;
	postgres.received_lsn = postgres.replayed_lsn = END_OF_WAL;
	snprintf(postgres.upstream_host, sizeof(postgres.upstream_host), "10.0.0.2");
	postgres.upstream_port = 5432;
}

static inline void
tell_all(void)
{
	tell_settings();
	tell_view();
	tell_postgres();
}

/* The leader key names us and the store has confirmed it. */
static inline void
confirm_lease(void)
{
	set_key("leader", "node1");
	tell_view();
	if (position_of(HA_RENEW) < 0 || last(HA_RENEW)->value[0] == '\0')	/* of the session alone */
		reply_to(&(HaAction) {.request_id = node->pending[FOR_RENEW].id}, HA_OUTCOME_DONE, false, now, 0);
	assert_string_equal(last(HA_RENEW)->value, "node1");
	reply(HA_RENEW, HA_OUTCOME_DONE);
}

static inline int
teardown(void **state)
{
	(void) state;
	ha_node_free(node);
	node = NULL;
	forget();
	return 0;
}

#endif							/* HA_TEST_H */
