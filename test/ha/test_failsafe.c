/*-------------------------------------------------------------------------
 *
 * test_failsafe.c
 *      Who asks whom, who promises what, and until when it counts.
 *
 * The node is node1 of three, with a ttl of 30 s.
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

#include "ha/internal.h"

#define SEEN_MAX	2048
#define KEYS		16
#define ALL_THREE	"{\"node1\":\"http://node1:8008/patroni\",\"node2\":\"http://node2:8008/patroni\",\"node3\":\"http://node3:8008/patroni\"}"

static HaNode *node;
static HaSettings settings;
static HaPostgres postgres;
static int64_t now;
static uint64_t revision;
static struct
{
	char		name[64];
	char		value[512];
	uint64_t	version;
}			keys[KEYS];
static HaAction seen[SEEN_MAX];
static int	n_seen;

static void
forget(void)
{
	for (int i = 0; i < n_seen; i++)
		free(seen[i].text);
	n_seen = 0;
}

static int
teardown(void **state)
{
	(void) state;
	forget();
	ha_node_free(node);
	node = NULL;
	return 0;
}

static void
step(HaInput *input)
{
	HaActions	actions;

	ha_actions_init(&actions);
	input->wall_ms = 1700000000000 + now;
	ha_step(node, now, input, &actions);
	for (int i = 0; i < actions.count; i++)
	{
		assert_true(n_seen < SEEN_MAX);
		seen[n_seen++] = actions.items[i];
		actions.items[i].text = NULL;
	}
	ha_actions_free(&actions);
}

static void
tick(int64_t ms)
{
	HaInput		input = {.kind = HA_INPUT_TICK};

	now += ms;
	step(&input);
}

static void
tell(void)
{
	HaInput		tell_settings = {.kind = HA_INPUT_SETTINGS, .settings = &settings};
	HaInput		tell_postgres = {.kind = HA_INPUT_POSTGRES, .postgres = &postgres};
	HaInput		tell_view = {.kind = HA_INPUT_CLUSTER};
	ClusterView view;

	cluster_view_init(&view);
	view.is_loaded = true;
	for (int i = 0; i < KEYS; i++)
	{
		ClusterKey	key = {keys[i].name, keys[i].value, "1", keys[i].version};

		if (keys[i].name[0] != '\0')
			cluster_view_apply(&view, &key);
	}
	view.revision = view.complete_revision = revision;
	tell_view.view = &view;
	step(&tell_settings);
	step(&tell_view);
	step(&tell_postgres);
	cluster_view_free(&view);
}

static void
tell_reachable(bool is_reachable)
{
	HaInput		input = {.kind = HA_INPUT_REACHABLE};

	input.reachable.is_reachable = is_reachable;
	step(&input);
}

static void
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

static void
set_member(const char *name)
{
	char		key[64];
	char		value[256];

	snprintf(key, sizeof(key), "members/%s", name);
	snprintf(value, sizeof(value), "{\"conn_url\":\"postgres://%s:5432/postgres\",\"api_url\":\"http://%s:8008/patroni\","
			 "\"state\":\"running\",\"role\":\"replica\",\"timeline\":1,\"xlog_location\":83886080}", name, name);
	set_key(key, value);
}

static int
count(HaActionKind kind)
{
	int			n = 0;

	for (int i = 0; i < n_seen; i++)
		n += seen[i].kind == kind;
	return n;
}

static const HaAction *
last_of(HaActionKind kind, const char *key)
{
	for (int i = n_seen - 1; i >= 0; i--)
		if (seen[i].kind == kind && (key == NULL || strcmp(seen[i].key, key) == 0))
			return &seen[i];
	fail_msg("no action of kind %d; the rule is %s", kind, ha_decision(node)->rule);
	return NULL;
}

static void
reply_to(const HaAction *action, HaOutcome outcome, bool session_lost, uint64_t version)
{
	HaInput		input = {.kind = HA_INPUT_REPLY};

	input.reply.id = action->request_id;
	input.reply.outcome = outcome;
	input.reply.session_lost = session_lost;
	input.reply.sent_at_ms = now;
	input.reply.version = version;
	step(&input);
}

static void
vote(const char *name, bool has_accepted, const char *refusal)
{
	HaInput		input = {.kind = HA_INPUT_PEER};
	HaPeer		peer;

	memset(&peer, 0, sizeof(peer));
	snprintf(peer.name, sizeof(peer.name), "%s", name);
	peer.is_vote = true;
	peer.round = last_of(HA_ASK_CONSENT, NULL)->round;
	peer.has_accepted = has_accepted;
	snprintf(peer.refusal, sizeof(peer.refusal), "%s", refusal);
	input.peer = &peer;
	step(&input);
}

static void
expect_rule(const char *rule)
{
	assert_string_equal(ha_decision(node)->rule, rule);
}

static void
create(void)
{
	ha_node_free(node);
	node = ha_node_create(HA_HOME_WORKER);
	forget();
	memset(keys, 0, sizeof(keys));
	memset(&settings, 0, sizeof(settings));
	memset(&postgres, 0, sizeof(postgres));
	now = 1000000;
	revision = 100;
	snprintf(settings.name, sizeof(settings.name), "node1");
	snprintf(settings.conn_url, sizeof(settings.conn_url), "postgres://node1:5432/postgres");
	snprintf(settings.api_url, sizeof(settings.api_url), "http://node1:8008/patroni");
	settings.ttl_ms = 30000;
	settings.loop_wait_ms = 10000;
	settings.retry_timeout_ms = 10000;
	settings.peer_timeout_ms = 300;
	settings.maximum_lag_on_failover = 1048576;
	settings.failsafe_mode = true;
	set_key("initialize", "7277694203142172922");
	set_key("config", "{\"ttl\":30}");
	set_member("node1");
	set_member("node2");
	set_member("node3");
	postgres.data = HA_DATA_PRESENT;
	postgres.system_identifier = UINT64_C(7277694203142172922);
	postgres.timeline = postgres.newest_timeline = postgres.checkpoint_timeline = 1;
	postgres.server = HA_SERVER_RUNNING;
	postgres.is_observed = true;
	postgres.control_state = HA_CONTROL_IN_PRODUCTION;
	postgres.write_lsn = postgres.flush_lsn = 83886080;
}

/* It leads; the key is what an earlier leader wrote, or absent. */
static void
lead(const char *key)
{
	create();
	if (key != NULL)
		set_key("failsafe", key);
	set_key("leader", "node1");
	tell();
	reply_to(last_of(HA_RENEW, NULL), HA_OUTCOME_DONE, false, 0);
	if (last_of(HA_RENEW, NULL)->value[0] == '\0')
		fail();
	assert_true(ha_has_lease(node));
	expect_rule("lead");
}

/* The same, with a key of its own. */
static void
lead_safely(void)
{
	const HaAction *put;

	lead(NULL);
	put = last_of(HA_CREATE_KEY, "failsafe");
	assert_string_equal(put->text, "{\"node1\": \"http://node1:8008/patroni\", \"node2\": \"http://node2:8008/patroni\", \"node3\": \"http://node3:8008/patroni\"}");
	set_key("failsafe", ALL_THREE);
	reply_to(put, HA_OUTCOME_DONE, false, revision);
	tell();
	forget();
}

/* And the store is silent for long enough. */
static void
lead_alone(void)
{
	lead_safely();
	tell_reachable(false);
	tick(10001);
	assert_int_equal(count(HA_ASK_CONSENT), 2);
}

static int64_t
fence(void)
{
	return node->fence_ms;
}

static void
follow(void)
{
	create();
	postgres.is_in_recovery = postgres.is_standby_configured = postgres.is_streaming = true;
	postgres.control_state = HA_CONTROL_IN_ARCHIVE_RECOVERY;
	postgres.received_lsn = postgres.replayed_lsn = 83886080;
	set_key("leader", "node2");
	set_key("failsafe", ALL_THREE);
	tell();
	forget();
}

/* node2, or whoever, asks for a promise; the SQLSTATE of the refusal, or "". */
static const char *
ask(const char *leader, const char *member, int64_t ttl_ms)
{
	HaCommand	command = {.id = 7, .kind = HA_COMMAND_FAILSAFE, .timeout_ms = ttl_ms};
	HaInput		input = {.kind = HA_INPUT_COMMAND, .command = &command};

	forget();
	snprintf(command.leader, sizeof(command.leader), "%s", leader);
	snprintf(command.member, sizeof(command.member), "%s", member);
	step(&input);
	assert_int_equal(last_of(HA_ANSWER, NULL)->command_id, 7);
	assert_true(last_of(HA_ANSWER, NULL)->ok == (count(HA_PROMISE) == 1));
	return last_of(HA_ANSWER, NULL)->ok ? "" : last_of(HA_ANSWER, NULL)->sqlstate;
}

static void
tell_page(int64_t until_ms, int64_t made_ms)
{
	HaInput		input = {.kind = HA_INPUT_PROMISE};

	input.promise.until_ms = until_ms;
	input.promise.page_made_ms = made_ms;
	step(&input);
}

/* --- the leader --- */

static void
everybody_has_to_accept(void **state)
{
	int64_t		sent_ms;

	(void) state;
	lead_alone();
	sent_ms = now;
	vote("node2", true, "");
	assert_true(fence() == 1000000 + 28500);
	tick(2250);
	tick(250);
	assert_int_equal(count(HA_ASK_CONSENT), 4);	/* node3 was silent: another round */
	vote("node2", true, "");
	vote("node3", false, "HTTP status 500, Running as a leader");
	assert_true(fence() == 1000000 + 28500);
	tick(sent_ms + 18500 - now);
	expect_rule("outage-fenced");
	assert_non_null(strstr(ha_decision(node)->because, "\"node3\" refuses: HTTP status 500, Running as a leader"));
}

/* By the same arithmetic as the lease, from before the first request on. */
static void
deadline_counts_from_the_question(void **state)
{
	int64_t		sent_ms;

	(void) state;
	lead_alone();
	sent_ms = now;
	vote("node2", true, "");
	now += 2000;
	vote("node3", true, "");
	assert_true(fence() == sent_ms + 28500);
	assert_true(ha_failsafe_until_ms(node) == sent_ms + 28500);
	assert_true(ha_failsafe_agreed_ms(node) == sent_ms);
	expect_rule("outage-failsafe");
}

static void
what_has_ended_is_not_begun_anew(void **state)
{
	(void) state;
	lead_alone();
	tick(18300);				/* a last round is under way ... */
	now += 250;					/* ... and is answered when the lease is over */
	vote("node2", true, "");
	vote("node3", true, "");
	assert_true(fence() == 1000000 + 28500);
	assert_true(ha_failsafe_until_ms(node) == 0);
	forget();
	tick(1000);
	tick(1000);
	assert_int_equal(count(HA_ASK_CONSENT), 0);
}

/* A key that an earlier leader wrote may still be replaced by one of its writes. */
static void
only_an_own_key_is_relied_on(void **state)
{
	(void) state;
	lead(ALL_THREE);
	last_of(HA_PUT_KEY, "failsafe");
	tell_reachable(false);
	tick(15001);
	tick(5000);
	assert_int_equal(count(HA_ASK_CONSENT), 0);
}

static void
writes_under_way_are_asked_by(void **state)
{
	bool		is_asked = false;

	(void) state;
	lead_safely();
	set_member("node4");
	tell();
	assert_non_null(strstr(last_of(HA_PUT_KEY, "failsafe")->text, "node4"));
	reply_to(last_of(HA_PUT_KEY, "failsafe"), HA_OUTCOME_UNKNOWN, false, 0);
	tell_reachable(false);
	tick(10001);
	for (int i = 0; i < n_seen; i++)
		is_asked = is_asked || (seen[i].kind == HA_ASK_CONSENT && strcmp(seen[i].member, "node4") == 0);
	assert_true(is_asked);
	vote("node2", true, "");
	vote("node3", true, "");
	assert_true(fence() == 1000000 + 28500);
	vote("node4", true, "");
	assert_true(fence() == now + 28500);
}

static void
lost_key_is_taken_again(void **state)
{
	(void) state;
	lead_alone();
	vote("node2", true, "");
	vote("node3", true, "");
	tick(20000);				/* the lease alone would be over */
	vote("node2", true, "");
	vote("node3", true, "");
	forget();
	tell_reachable(true);
	set_key("leader", NULL);
	tell();
	assert_false(ha_has_lease(node));
	assert_true(fence() > now + 20000);
	expect_rule("retake-lease");
	last_of(HA_ACQUIRE, NULL);
	/* another one has it: that is the end */
	set_key("leader", "node2");
	tell();
	assert_true(fence() == 0);
	assert_true(ha_failsafe_until_ms(node) == 0);
}

static void
pause_asks_nobody(void **state)
{
	(void) state;
	lead_safely();
	settings.is_paused = true;
	tell();
	tell_reachable(false);
	tick(20000);
	assert_int_equal(count(HA_ASK_CONSENT), 0);
}

static void
key_goes_with_the_mode(void **state)
{
	(void) state;
	lead_safely();
	settings.failsafe_mode = false;
	tell();
	assert_true(last_of(HA_DELETE_KEY, "failsafe")->version == node->view.failsafe_seen);
	tell_reachable(false);
	tick(15000);
	assert_int_equal(count(HA_ASK_CONSENT), 0);
}

static void
members_gone_are_kept_for_a_while(void **state)
{
	(void) state;
	lead_safely();
	set_key("members/node3", NULL);
	tell();
	tick(60000 + 9999);
	reply_to(last_of(HA_RENEW, NULL), HA_OUTCOME_DONE, false, 0);
	for (int i = 0; i < n_seen; i++)
		assert_string_not_equal(seen[i].key, "failsafe");
	tick(1);
	assert_null(strstr(last_of(HA_PUT_KEY, "failsafe")->text, "node3"));
}

static void
handed_over(void **state)
{
	char	   *saved;

	(void) state;
	lead_alone();
	vote("node2", true, "");
	vote("node3", true, "");
	saved = ha_node_save(node);
	assert_true(ha_node_load(node, saved, now));
	forget();
	tell();
	tell_reachable(false);
	expect_rule("outage-failsafe");
	tick(10001);
	assert_int_equal(count(HA_ASK_CONSENT), 2);
	free(saved);

	/* of a home that died nobody knows what it has written */
	assert_true(ha_node_load(node, NULL, now));
	forget();
	tell_reachable(true);
	tell();
	reply_to(last_of(HA_RENEW, NULL), HA_OUTCOME_DONE, false, 0);
	assert_true(ha_has_lease(node));
	last_of(HA_PUT_KEY, "failsafe");
	tell_reachable(false);
	tick(15001);
	assert_int_equal(count(HA_ASK_CONSENT), 0);
}

static void
asked_for_at_once(void **state)
{
	HaInput		input = {.kind = HA_INPUT_ASK_MEMBERS};

	(void) state;
	lead_safely();
	tick(1000);
	step(&input);
	assert_int_equal(count(HA_ASK_CONSENT), 2);
	vote("node2", true, "");
	vote("node3", true, "");
	assert_true(ha_failsafe_agreed_ms(node) == now);
}

/* --- the others --- */

static void
who_promises_nothing(void **state)
{
	(void) state;
	follow();
	assert_string_equal(ask("node3", "node1", 0), "55006");	/* node2 leads */
	assert_string_equal(ask("node2", "node3", 0), "55006");	/* not for us */
	assert_string_equal(ask("node2", "node1", INT64_C(90000000)), "22023");
	settings.failsafe_mode = false;
	tell();
	assert_string_equal(ask("node2", "node1", 0), "0A000");
	settings.failsafe_mode = true;
	set_key("failsafe", "{\"node1\":\"http://node1:8008/patroni\"}");
	tell();
	assert_string_equal(ask("node2", "node1", 0), "55006");	/* not in the key */
	lead_safely();
	assert_string_equal(ask("node2", "node1", 0), "55000");

	follow();
	set_key("leader", NULL);
	tell();
	for (int i = 0; i < 2; i++)
	{
		HaPeer		peer = {.round = last_of(HA_ASK_PEER, NULL)->round, .is_in_recovery = true};
		HaInput		input = {.kind = HA_INPUT_PEER, .peer = &peer};

		snprintf(peer.name, sizeof(peer.name), "node%d", i + 2);
		step(&input);
	}
	last_of(HA_ACQUIRE, NULL);
	assert_true(last_of(HA_ACQUIRE, NULL)->failsafe_version == node->view.failsafe_seen);
	assert_string_equal(ask("node2", "node1", 0), "55000");	/* it may lead already */
}

static void
promise_lasts(void **state)
{
	char	   *saved;

	(void) state;
	follow();
	assert_string_equal(ask("node2", "", 0), "");	/* as a Patroni member asks */
	assert_true(last_of(HA_PROMISE, NULL)->deadline_ms == now + 31500);
	assert_string_equal(ask("node2", "node1", 60000), "");	/* who asks has a longer ttl */
	assert_true(last_of(HA_PROMISE, NULL)->deadline_ms == now + 63000);
	assert_string_equal(ask("node2", "node1", 0), "");	/* a shorter one takes nothing back */
	assert_true(ha_failsafe_bound_ms(node) == now + 63000);
	saved = ha_node_save(node);
	ha_node_free(node);
	node = ha_node_create(HA_HOME_SUPERVISOR);
	assert_true(ha_node_load(node, saved, now));
	free(saved);
	set_key("leader", NULL);
	tell();
	expect_rule("promised");
	assert_non_null(strstr(ha_decision(node)->because, "\"node2\""));
}

/* A home that takes over from one that died has it from the page. */
static void
page_keeps_the_promise(void **state)
{
	(void) state;
	follow();
	tell_page(now + 5000, 0);
	set_key("leader", NULL);
	tell();
	expect_rule("promised");
	tick(5000);
	expect_rule("ask");
}

/* A new page knows of nothing: there may have been a promise. */
static void
new_page_binds(void **state)
{
	(void) state;
	follow();
	tell_page(0, now - 1000);
	set_key("leader", NULL);
	tell();
	expect_rule("promised");
	tick(30500);
	expect_rule("ask");

	/* where nobody else is in the key there is nobody to have promised to */
	follow();
	tell_page(0, now - 1000);
	set_key("failsafe", "{\"node1\":\"http://node1:8008/patroni\"}");
	set_key("leader", NULL);
	tell();
	assert_int_equal(count(HA_ASK_PEER), 2);
}

static void
late_lease_is_given_back(void **state)
{
	(void) state;
	follow();
	assert_string_equal(ask("node2", "node1", 0), "");
	set_key("leader", "node1");
	tell();
	expect_rule("promise-binds");
	last_of(HA_RELEASE, NULL);
	assert_int_equal(count(HA_PROMOTE), 0);
	for (int i = 0; i < n_seen; i++)
		assert_true(seen[i].kind != HA_FENCE || seen[i].deadline_ms == 0);
}

static void
texts_of_the_key(void **state)
{
	FailsafeMember members[CLUSTER_MEMBERS_MAX];
	char		long_name[300];
	char		text[400];

	(void) state;
	assert_int_equal(failsafe_from_text(members, NULL), 0);
	assert_int_equal(failsafe_from_text(members, "{}"), 0);
	assert_int_equal(failsafe_from_text(members, ALL_THREE), 3);
	assert_string_equal(members[1].name, "node2");
	assert_string_equal(members[1].api_url, "http://node2:8008/patroni");
	assert_int_equal(failsafe_from_text(members, "[]"), -1);
	assert_int_equal(failsafe_from_text(members, "{\"a\":1}"), -1);
	assert_int_equal(failsafe_from_text(members, "{\"\":\"http://a\"}"), -1);
	memset(long_name, 'x', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = '\0';
	snprintf(text, sizeof(text), "{\"%s\":\"http://a\"}", long_name);
	assert_int_equal(failsafe_from_text(members, text), -1);
}

#define TEST(f) cmocka_unit_test_teardown(f, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(everybody_has_to_accept),
		TEST(deadline_counts_from_the_question),
		TEST(what_has_ended_is_not_begun_anew),
		TEST(only_an_own_key_is_relied_on),
		TEST(writes_under_way_are_asked_by),
		TEST(lost_key_is_taken_again),
		TEST(pause_asks_nobody),
		TEST(key_goes_with_the_mode),
		TEST(members_gone_are_kept_for_a_while),
		TEST(handed_over),
		TEST(asked_for_at_once),
		TEST(who_promises_nothing),
		TEST(promise_lasts),
		TEST(page_keeps_the_promise),
		TEST(new_page_binds),
		TEST(late_lease_is_given_back),
		TEST(texts_of_the_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
