/*-------------------------------------------------------------------------
 *
 * test_failsafe.c
 *      Who asks whom, who promises what, and until when it counts.
 *-------------------------------------------------------------------------
 */
#include "ha_test.h"

#define ALL_THREE	"{\"node1\":\"http://10.0.0.1:8008/patroni\",\"node2\":\"http://10.0.0.2:8008/patroni\",\"node3\":\"http://10.0.0.3:8008/patroni\"}"

/* What was asked for the key "failsafe" last; the test fails without it. */
static const HaAction *
last_write(HaActionKind kind)
{
	const HaAction *action = last_key(kind, "failsafe");

	if (action == NULL)
		fail_msg("the failsafe key is not written; the rule is %s", ha_decision(node)->rule);
	return action;
}

static void
vote(const char *name, bool has_accepted, const char *refusal)
{
	HaInput		input = {.kind = HA_INPUT_PEER};
	HaPeer		peer;

	memset(&peer, 0, sizeof(peer));
	snprintf(peer.name, sizeof(peer.name), "%s", name);
	peer.is_vote = true;
	peer.round = last(HA_ASK_CONSENT)->round;
	peer.has_accepted = has_accepted;
	snprintf(peer.refusal, sizeof(peer.refusal), "%s", refusal);
	input.peer = &peer;
	step(&input);
}

/* It leads; the key is what an earlier leader wrote, or absent. */
static void
lead(const char *key)
{
	create(HA_HOME_WORKER);
	be_primary();
	settings.failsafe_mode = true;
	if (key != NULL)
		set_key("failsafe", key);
	set_key("leader", "node1");
	tell_all();
	confirm_lease();
	assert_true(ha_has_lease(node));
	expect_rule("lead");
}

/* The same, with a key of its own. */
static void
lead_safely(void)
{
	const HaAction *put;

	lead(NULL);
	put = last_write(HA_CREATE_KEY);
	assert_string_equal(put->text, "{\"node1\": \"http://10.0.0.1:8008/patroni\", \"node2\": \"http://10.0.0.2:8008/patroni\", \"node3\": \"http://10.0.0.3:8008/patroni\"}");
	set_key("failsafe", ALL_THREE);
	reply_to(put, HA_OUTCOME_DONE, false, now, revision);
	tell_all();
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
	create(HA_HOME_WORKER);
	be_standby();
	settings.failsafe_mode = true;
	set_key("leader", "node2");
	set_key("failsafe", ALL_THREE);
	tell_all();
	forget();
}

/* node2, or whoever, asks for a promise; the SQLSTATE of the refusal, or "". */
static const char *
ask(const char *leader, const char *member, int64_t ttl_ms)
{
	HaCommand	command = {.id = 7, .kind = HA_COMMAND_FAILSAFE, .timeout_ms = ttl_ms};

	forget();
	snprintf(command.leader, sizeof(command.leader), "%s", leader);
	snprintf(command.member, sizeof(command.member), "%s", member);
	give(command);
	assert_int_equal(last(HA_ANSWER)->command_id, 7);
	assert_true(last(HA_ANSWER)->ok == (count(HA_PROMISE) == 1));
	return last(HA_ANSWER)->ok ? "" : last(HA_ANSWER)->sqlstate;
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
	last_write(HA_PUT_KEY);
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
	set_member("node4", "");
	tell_all();
	assert_non_null(strstr(last_write(HA_PUT_KEY)->text, "node4"));
	reply_to(last_write(HA_PUT_KEY), HA_OUTCOME_UNKNOWN, false, now, 0);
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
	tell_all();
	assert_false(ha_has_lease(node));
	assert_true(fence() > now + 20000);
	expect_rule("retake-lease");
	last(HA_ACQUIRE);
	/* another one has it: that is the end */
	set_key("leader", "node2");
	tell_all();
	assert_true(fence() == 0);
	assert_true(ha_failsafe_until_ms(node) == 0);
}

static void
pause_asks_nobody(void **state)
{
	(void) state;
	lead_safely();
	settings.is_paused = true;
	tell_all();
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
	tell_all();
	assert_true(last_write(HA_DELETE_KEY)->version == node->view.failsafe_seen);
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
	tell_all();
	tick(60000 + 9999);
	reply(HA_RENEW, HA_OUTCOME_DONE);
	for (int i = 0; i < n_seen; i++)
		assert_string_not_equal(seen[i].key, "failsafe");
	tick(1);
	assert_null(strstr(last_write(HA_PUT_KEY)->text, "node3"));
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
	tell_all();
	tell_reachable(false);
	expect_rule("outage-failsafe");
	tick(10001);
	assert_int_equal(count(HA_ASK_CONSENT), 2);
	free(saved);

	/* of a home that died nobody knows what it has written */
	assert_true(ha_node_load(node, NULL, now));
	forget();
	tell_reachable(true);
	tell_all();
	reply(HA_RENEW, HA_OUTCOME_DONE);
	assert_true(ha_has_lease(node));
	last_write(HA_PUT_KEY);
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
	tell_all();
	assert_string_equal(ask("node2", "node1", 0), "0A000");
	settings.failsafe_mode = true;
	set_key("failsafe", "{\"node1\":\"http://10.0.0.1:8008/patroni\"}");
	tell_all();
	assert_string_equal(ask("node2", "node1", 0), "55006");	/* not in the key */
	lead_safely();
	assert_string_equal(ask("node2", "node1", 0), "55000");

	follow();
	set_key("leader", NULL);
	tell_all();
	answer_from("node2", (Answer) {.is_silent = true});
	answer_from("node3", (Answer) {.is_silent = true});
	last(HA_ACQUIRE);
	assert_true(last(HA_ACQUIRE)->failsafe_version == node->view.failsafe_seen);
	assert_string_equal(ask("node2", "node1", 0), "55000");	/* it may lead already */
}

static void
promise_lasts(void **state)
{
	char	   *saved;

	(void) state;
	follow();
	assert_string_equal(ask("node2", "", 0), "");	/* as a Patroni member asks */
	assert_true(last(HA_PROMISE)->deadline_ms == now + 31500);
	assert_string_equal(ask("node2", "node1", 60000), "");	/* who asks has a longer ttl */
	assert_true(last(HA_PROMISE)->deadline_ms == now + 63000);
	assert_string_equal(ask("node2", "node1", 0), "");	/* a shorter one takes nothing back */
	assert_true(ha_failsafe_bound_ms(node) == now + 63000);
	saved = ha_node_save(node);
	ha_node_free(node);
	node = ha_node_create(HA_HOME_SUPERVISOR);
	assert_true(ha_node_load(node, saved, now));
	free(saved);
	set_key("leader", NULL);
	tell_all();
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
	tell_all();
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
	tell_all();
	expect_rule("promised");
	tick(30500);
	expect_rule("ask");

	/* where nobody else is in the key there is nobody to have promised to */
	follow();
	tell_page(0, now - 1000);
	set_key("failsafe", "{\"node1\":\"http://10.0.0.1:8008/patroni\"}");
	set_key("leader", NULL);
	tell_all();
	assert_int_equal(count(HA_ASK_PEER), 2);
}

static void
late_lease_is_given_back(void **state)
{
	(void) state;
	follow();
	assert_string_equal(ask("node2", "node1", 0), "");
	set_key("leader", "node1");
	tell_all();
	expect_rule("promise-binds");
	last(HA_RELEASE);
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
	assert_string_equal(members[1].api_url, "http://10.0.0.2:8008/patroni");
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
