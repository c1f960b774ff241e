/*-------------------------------------------------------------------------
 *
 * test_decisions.c
 *      One engine, told what it needs to decide by each row of the tables;
 *      then the lease, the baton, commands, requests and races one by one.
 *
 * A node is brought into each situation through its public inputs; the few
 * places that reach inside say why.  Every rule of every table has a case
 * here: a rule without one fails the test.
 *
 *-------------------------------------------------------------------------
 */
#include "ha_test.h"

#include "ha/rules.h"

#define FOREIGN_ID	UINT64_C(7000000000000000001)

/* --- looking at what it wants --- */

/* Was the key written? */
static bool
tells_key(const char *key)
{
	for (int i = 0; i < n_seen; i++)
		if (strcmp(seen[i].key, key) == 0)
			return true;
	return false;
}

/* The task that was started last. */
static const HaAction *
expect_task(HaTask task)
{
	const HaAction *action = last(HA_START_TASK);

	if (action->task != task)
		fail_msg("the task is \"%s\", not \"%s\"", ha_task_name(action->task), ha_task_name(task));
	assert_true(action->task_id != 0);
	return action;
}

static void
end_task(HaTaskOutcome outcome, HaDivergence divergence, Lsn lsn)
{
	const HaAction *action = last(HA_START_TASK);
	HaInput		input = {.kind = HA_INPUT_TASK};

	input.task.task = action->task;
	input.task.id = action->task_id;
	input.task.outcome = outcome;
	input.task.divergence = divergence;
	input.task.lsn = lsn;
	input.task.message = outcome == HA_TASK_OK ? NULL : "out of luck";
	step(&input);
}

/* --- situations --- */

static void
be_stopped(HaControlState control_state)
{
	have_data();
	postgres.server = HA_SERVER_STOPPED;
	postgres.is_observed = false;
	postgres.is_streaming = false;
	postgres.control_state = control_state;
	postgres.is_standby_configured = control_state == HA_CONTROL_SHUTDOWNED_IN_RECOVERY;
}

static void
start_leader(HaHome home)
{
	create(home);
	be_primary();
	set_key("leader", "node1");
	tell_all();
	confirm_lease();
	expect_rule("lead");
	assert_true(ha_has_lease(node));
	reply_to(last_key(HA_CREATE_KEY, "status"), HA_OUTCOME_DONE, false, now, 0);
	forget();
}

/* A leader that has just asked to replace the key "status", which is there. */
static void
start_leader_writing_status(void)
{
	start_leader(HA_HOME_WORKER);
	set_key("status", "{\"optime\":83886079}");
	tell_view();
	postgres.flush_lsn++;
	tell_postgres();
	tick(10000);
	assert_non_null(last_key(HA_PUT_KEY, "status"));
}

static void
start_follower(HaHome home)
{
	create(home);
	be_standby();
	set_key("leader", "node2");
	set_member("node2", ",\"role\":\"primary\"");
	tell_all();
	expect_rule("following");
	forget();
}

/* Our server is down, we hold the lease. */
static void
start_stopped_leader(HaControlState control_state)
{
	create(HA_HOME_SUPERVISOR);
	be_stopped(control_state);
	set_key("leader", "node1");
	tell_all();
	confirm_lease();
}

/* Our server is down, node2 leads. */
static void
start_stopped_follower(HaControlState control_state)
{
	create(HA_HOME_SUPERVISOR);
	be_stopped(control_state);
	set_key("leader", "node2");
	set_member("node2", ",\"role\":\"primary\"");
	tell_all();
}

/* A standby, and the leader key is gone. */
static void
start_race(void)
{
	start_follower(HA_HOME_WORKER);
	set_key("leader", NULL);
	tell_view();
}

static void
start_empty(HaHome home)
{
	create(home);
	set_key("initialize", NULL);
	set_key("config", NULL);
	set_member("node1", "");
	postgres.data = HA_DATA_EMPTY;
	postgres.server = HA_SERVER_STOPPED;
}

/* The other home takes the baton. */
static void
swap_home(HaHome home)
{
	char	   *saved = ha_node_save(node);

	assert_non_null(saved);
	ha_node_free(node);
	node = ha_node_create(home);
	assert_true(ha_node_load(node, saved, now));
	free(saved);
	tell_all();
}

static void
pause_cluster(bool is_paused)
{
	settings.is_paused = is_paused;
	tell_settings();
}

static void
request_failover(const char *text)
{
	set_key("failover", text);
	tell_view();
}

/* The cluster is in synchronous mode, the key "sync" says this (NULL: is not there). */
static void
be_synchronous(SyncPlanMode mode, const char *key)
{
	settings.sync_mode = mode;
	settings.sync_node_count = 1;
	postgres.has_sync = postgres.is_sync_settled = true;
	postgres.sync_names_lsn = END_OF_WAL;
	set_key("sync", key);
	tell_all();
}

/* A walsender of this server. */
static void
be_connected(const char *name, SyncWalsender state, Lsn lsn)
{
	int			n = 0;

	while (n < postgres.n_senders && strcmp(postgres.senders[n].application_name, name) != 0)
		n++;
	if (n == postgres.n_senders)
		postgres.n_senders++;
	snprintf(postgres.senders[n].application_name, sizeof(postgres.senders[n].application_name),
			 "%s", name);
	postgres.senders[n].is_streaming = true;
	postgres.senders[n].flush_lsn = postgres.senders[n].sync_lsn = lsn;
	postgres.senders[n].sync_state = state;
	tell_postgres();
}

/* What was written to the key "sync" last comes into being. */
static void
sync_is_written(HaActionKind kind)
{
	const HaAction *action = last_key(kind, "sync");

	assert_non_null(action);
	set_key("sync", action->text);
	reply_to(action, HA_OUTCOME_DONE, false, now, revision);
	tell_view();
}

/* The names that were set last are in force. */
static void
names_are_in_force(void)
{
	const HaAction *action = last(HA_SET_SYNC_NAMES);

	postgres.sync_generation++;
	postgres.is_sync_overridden = action->text != NULL;
	snprintf(postgres.sync_names, sizeof(postgres.sync_names), "%s", action->text ? action->text : "");
	tell_postgres();
}

static void
ask_for_switchover(void)
{
	request_failover("{\"leader\":\"node1\",\"member\":\"node2\"}");
}

/* --- one case a rule: life --- */

static void
look_first(void)
{
	create(HA_HOME_SUPERVISOR);
	tell_settings();
	expect_rule("first-load");
	tell_view();
	expect_rule("look-first");
	assert_int_equal(count(HA_START_TASK), 0);
}

static void
refuse(void)
{
	create(HA_HOME_WORKER);
	be_standby();
	postgres.system_identifier = FOREIGN_ID;
	tell_all();
	expect_rule("foreign-running");
	swap_home(HA_HOME_SUPERVISOR);
	assert_int_equal(last(HA_EXIT)->exit_code, HA_EXIT_FOREIGN);
	assert_int_equal(count(HA_START_TASK), 0);
}

static void
task_running(void)
{
	start_stopped_follower(HA_CONTROL_SHUTDOWNED_IN_RECOVERY);
	expect_task(HA_TASK_START_STANDBY);
	forget();
	tick(1000);
	assert_int_equal(count(HA_START_TASK), 0);
}

static void
stop_for_shutdown(void)
{
	start_follower(HA_HOME_SUPERVISOR);
	give((HaCommand) {.id = 1, .kind = HA_COMMAND_SHUTDOWN});
	assert_int_equal(expect_task(HA_TASK_STOP)->stop_mode, HA_STOP_FAST);
	assert_true(last(HA_ANSWER)->ok);
}

static void
leave_running(void)
{
	start_leader(HA_HOME_SUPERVISOR);
	pause_cluster(true);
	give((HaCommand) {.id = 1, .kind = HA_COMMAND_SHUTDOWN});
	assert_int_equal(last(HA_EXIT)->exit_code, 0);
	assert_int_equal(count(HA_START_TASK), 0);
	assert_int_equal(count(HA_RELEASE), 0);
}

static void
stop_for_switchover(void)
{
	start_leader(HA_HOME_SUPERVISOR);
	ask_for_switchover();
	expect_rule("switchover");
	answer_from("node2", (Answer) {0});
	assert_string_equal(ha_goal_name(node), "switchover");
	assert_int_equal(ha_role(node), ROLE_PRIMARY);
	tick(1);
	assert_int_equal(expect_task(HA_TASK_STOP)->stop_mode, HA_STOP_FAST);
	assert_int_equal(count(HA_RELEASE), 0);
}

static void
stop_for_restart(void)
{
	start_leader(HA_HOME_SUPERVISOR);
	give((HaCommand) {.id = 1, .kind = HA_COMMAND_RESTART});
	assert_int_equal(expect_task(HA_TASK_STOP)->stop_mode, HA_STOP_FAST);
	assert_int_equal(ha_state(node), MEMBER_RESTARTING);
	assert_true(ha_has_lease(node));
}

static void
stop_for_reinit(void)
{
	start_follower(HA_HOME_SUPERVISOR);
	give((HaCommand) {.id = 1, .kind = HA_COMMAND_REINITIALIZE});
	assert_int_equal(expect_task(HA_TASK_STOP)->stop_mode, HA_STOP_IMMEDIATE);
}

static void
stop_for_demotion(void)
{
	create(HA_HOME_SUPERVISOR);
	be_primary();
	set_key("leader", "node2");
	tell_all();
	expect_rule("demote");
	assert_int_equal(last(HA_FENCE)->deadline_ms, 0);
	tick(1);
	assert_int_equal(expect_task(HA_TASK_STOP)->stop_mode, HA_STOP_IMMEDIATE);
}

static void
stop_fenced(void)
{
	start_leader(HA_HOME_SUPERVISOR);
	tell_reachable(false);
	tick(39000);
	expect_rule("demote-offline");
	tick(1);
	assert_int_equal(expect_task(HA_TASK_STOP)->stop_mode, HA_STOP_FAST);
}

static void
lose_stream(void)
{
	start_follower(HA_HOME_SUPERVISOR);
	postgres.is_streaming = false;
	tell_postgres();
	tick(HA_STREAM_LOST_MS);
	expect_rule("repair");
	tick(1);
}

static void
stop_for_rewind(void)
{
	lose_stream();
	end_task(HA_TASK_OK, HA_DIVERGENCE_REWIND, 0);
	assert_int_equal(expect_task(HA_TASK_STOP)->stop_mode, HA_STOP_FAST);
}

/* A person promoted it meanwhile: what is found out holds for what it is now. */
static void
repairs_who_was_promoted_meanwhile(void **state)
{
	(void) state;
	lose_stream();
	expect_task(HA_TASK_CHECK_DIVERGENCE);
	be_primary();
	tell_postgres();
	end_task(HA_TASK_OK, HA_DIVERGENCE_REWIND, 0);
	assert_int_equal(expect_task(HA_TASK_STOP)->stop_mode, HA_STOP_FAST);
}

static void
check_stream(void)
{
	lose_stream();
	assert_string_equal(expect_task(HA_TASK_CHECK_DIVERGENCE)->member, "node2");
	/* pg_control may not show it yet */
	assert_int_equal(last(HA_START_TASK)->timeline, postgres.timeline);
	assert_int_not_equal(postgres.timeline, 0);
}

/* The bootstrap up to the started server. */
static void
bootstrap(bool is_in_recovery)
{
	start_empty(HA_HOME_SUPERVISOR);
	tell_all();
	expect_rule("claim-bootstrap");
	reply(HA_CREATE_KEY, HA_OUTCOME_DONE);
	set_key("initialize", "");
	tell_view();
	expect_task(HA_TASK_INITDB);
	be_stopped(HA_CONTROL_SHUTDOWNED);
	tell_postgres();
	end_task(HA_TASK_OK, 0, 0);
	expect_rule("start-bootstrapped");
	expect_task(HA_TASK_START_PRIMARY);
	be_primary();
	postgres.is_in_recovery = is_in_recovery;
	tell_postgres();
	end_task(HA_TASK_OK, 0, 0);
}

static void
post_bootstrap(void)
{
	bootstrap(false);
	expect_rule("bootstrap-lease");
	set_key("leader", "node1");
	tell_view();
	reply_to(last(HA_ACQUIRE), HA_OUTCOME_DONE, false, now, revision);
	expect_task(HA_TASK_POST_BOOTSTRAP);
	/* the identifier is written only when it is over */
	assert_null(last_key(HA_PUT_KEY, "initialize"));
	end_task(HA_TASK_OK, 0, 0);
	assert_string_equal(last_key(HA_PUT_KEY, "initialize")->text, SYSID_TEXT);
	assert_string_equal(last_key(HA_CREATE_KEY, "config")->text, "{\"ttl\":30}");
}

/* What is no configuration is replaced; a text that came since is not. */
static void
unreadable_configuration(void **state)
{
	(void) state;
	start_leader(HA_HOME_WORKER);
	set_key("config", "{\"ttl\":");
	tell_view();
	assert_string_equal(last_key(HA_PUT_KEY, "config")->text, "{\"ttl\":30}");
	assert_int_equal(last_key(HA_PUT_KEY, "config")->version, node->view.config_seen);
	assert_null(last_key(HA_CREATE_KEY, "config"));
}

static void
bootstrap_lease(void)
{
	bootstrap(false);
	assert_string_equal(last(HA_ACQUIRE)->value, "node1");
	assert_int_equal(last(HA_FENCE)->deadline_ms, 0);
}

static void
bootstrap_wait(void)
{
	bootstrap(true);
	assert_int_equal(count(HA_ACQUIRE), 0);
}

static void
start_too_slow(void)
{
	create(HA_HOME_SUPERVISOR);
	be_stopped(HA_CONTROL_IN_PRODUCTION);
	settings.primary_start_timeout_ms = 20000;
	set_member("node2", ",\"tags\":{\"nofailover\":true}");
	set_member("node3", ",\"tags\":{\"nofailover\":true}");
	set_key("leader", "node1");
	tell_all();
	confirm_lease();
	expect_task(HA_TASK_START_PRIMARY);
	postgres.server = HA_SERVER_STARTING;
	tell_postgres();
	tick(20000);
	expect_rule("starting");	/* nobody else can */
	set_member("node2", "");
	tell_view();
	last(HA_CANCEL_TASK);
	end_task(HA_TASK_CANCELLED, 0, 0);
	assert_int_equal(expect_task(HA_TASK_STOP)->stop_mode, HA_STOP_IMMEDIATE);
}

static void
stop_while_starting(void)
{
	create(HA_HOME_SUPERVISOR);
	be_standby();
	postgres.server = HA_SERVER_STARTING;
	set_key("leader", "node2");
	tell_all();
	give((HaCommand) {.kind = HA_COMMAND_SHUTDOWN});
	assert_int_equal(expect_task(HA_TASK_STOP)->stop_mode, HA_STOP_FAST);
}

static void
demote_while_starting(void)
{
	create(HA_HOME_SUPERVISOR);
	be_primary();
	postgres.server = HA_SERVER_STARTING;
	set_key("leader", "node2");
	tell_all();
	assert_int_equal(expect_task(HA_TASK_STOP)->stop_mode, HA_STOP_IMMEDIATE);
}

static void
starting(void)
{
	create(HA_HOME_SUPERVISOR);
	be_standby();
	postgres.server = HA_SERVER_STARTING;
	set_key("leader", "node2");
	tell_all();
	assert_int_equal(count(HA_START_TASK), 0);
	assert_int_equal(ha_state(node), MEMBER_STARTING);
}

static void
stopping(void)
{
	create(HA_HOME_SUPERVISOR);
	be_standby();
	postgres.server = HA_SERVER_STOPPING;
	set_key("leader", "node2");
	tell_all();
	assert_int_equal(count(HA_START_TASK), 0);
}

/* The leader's supervisor was told to stop, and the server has stopped. */
static void
shut_down_leader(void)
{
	start_leader(HA_HOME_SUPERVISOR);
	give((HaCommand) {.kind = HA_COMMAND_SHUTDOWN});
	be_stopped(HA_CONTROL_SHUTDOWNED);
	tell_postgres();
	end_task(HA_TASK_OK, 0, END_OF_WAL);
}

static void
shutdown_confirm(void)
{
	shut_down_leader();
	assert_int_equal(count(HA_ASK_PEER), 2);
	assert_int_equal(last(HA_FENCE)->deadline_ms, 0);
	assert_int_equal(count(HA_RELEASE) + count(HA_EXIT), 0);
}

static void
shutdown_done(void)
{
	shut_down_leader();
	answers((Answer) {0});
	assert_int_equal(count(HA_EXIT), 0);
	/* the position first, then the key, then the end */
	assert_non_null(strstr(last_key(HA_CREATE_KEY, "status")->text, "83886080"));
	assert_true(last_key(HA_CREATE_KEY, "status") < last(HA_RELEASE));
	reply(HA_RELEASE, HA_OUTCOME_DONE);
	assert_int_equal(last(HA_EXIT)->exit_code, 0);
}

static void
data_unreadable(void)
{
	create(HA_HOME_SUPERVISOR);
	postgres.data = HA_DATA_UNREADABLE;
	postgres.server = HA_SERVER_STOPPED;
	tell_all();
	confirm_lease();
	assert_string_equal(last(HA_RELEASE)->value, "node1");
	assert_int_equal(count(HA_START_TASK), 0);
}

static void
wait_for_data(void)
{
	create(HA_HOME_SUPERVISOR);
	postgres.data = HA_DATA_UNREADABLE;
	postgres.server = HA_SERVER_STOPPED;
	snprintf(postgres.problem, sizeof(postgres.problem), "permission denied");
	set_key("leader", "node2");
	tell_all();
	assert_non_null(strstr(ha_decision(node)->because, "permission denied"));
	assert_int_equal(count(HA_START_TASK), 0);
}

static void
foreign_leader(void)
{
	create(HA_HOME_SUPERVISOR);
	be_stopped(HA_CONTROL_SHUTDOWNED);
	postgres.system_identifier = FOREIGN_ID;
	set_key("leader", "node1");
	tell_all();
	confirm_lease();
	last(HA_RELEASE);
	assert_int_equal(count(HA_START_TASK), 0);
}

static void
foreign_cluster(void)
{
	create(HA_HOME_SUPERVISOR);
	be_stopped(HA_CONTROL_SHUTDOWNED);
	postgres.system_identifier = FOREIGN_ID;
	set_key("leader", "node2");
	tell_all();
	assert_int_equal(last(HA_EXIT)->exit_code, HA_EXIT_FOREIGN);
	assert_int_equal(count(HA_START_TASK), 0);
}

static void
empty_leader(void)
{
	start_empty(HA_HOME_SUPERVISOR);
	set_key("initialize", SYSID_TEXT);
	tell_all();
	confirm_lease();
	last(HA_RELEASE);
	assert_int_equal(count(HA_START_TASK), 0);
}

static void
empty_paused(void)
{
	start_empty(HA_HOME_SUPERVISOR);
	settings.is_paused = true;
	set_key("initialize", SYSID_TEXT);
	set_key("leader", "node2");
	tell_all();
	assert_int_equal(count(HA_START_TASK), 0);
}

static void
empty_outage(void)
{
	start_empty(HA_HOME_SUPERVISOR);
	tell_settings();
	tell_postgres();
	tell_reachable(false);
	expect_rule("first-load");
	tick(10000);
	assert_int_equal(count(HA_START_TASK), 0);
}

static void
task_pause(void)
{
	start_stopped_follower(HA_CONTROL_SHUTDOWNED_IN_RECOVERY);
	end_task(HA_TASK_FAILED, 0, 0);
	assert_non_null(strstr(ha_decision(node)->because, "out of luck"));
	assert_int_equal(last(HA_WAKE_AT)->deadline_ms, now + HA_TASK_RETRY_MIN_MS);
	tick(HA_TASK_RETRY_MIN_MS);
	expect_rule("check-failed-start");
	/* the pause doubles */
	end_task(HA_TASK_FAILED, 0, 0);
	tick(HA_TASK_RETRY_MIN_MS);
}

static void
initdb(void)
{
	start_empty(HA_HOME_SUPERVISOR);
	tell_all();
	reply(HA_CREATE_KEY, HA_OUTCOME_DONE);
	expect_task(HA_TASK_INITDB);
}

static void
clone_leader(void)
{
	start_empty(HA_HOME_SUPERVISOR);
	set_key("initialize", SYSID_TEXT);
	set_key("leader", "node2");
	set_member("node3", ",\"tags\":{\"clonefrom\":true}");
	tell_all();
	assert_string_equal(expect_task(HA_TASK_BASEBACKUP)->member, "node3");
	/* every second try goes to the leader */
	end_task(HA_TASK_FAILED, 0, 0);
	tick(HA_TASK_RETRY_MIN_MS);
	assert_string_equal(expect_task(HA_TASK_BASEBACKUP)->member, "node2");
	assert_string_equal(last(HA_START_TASK)->url, "postgres://10.0.0.2:5432/postgres");
}

static void
claim_bootstrap(void)
{
	start_empty(HA_HOME_SUPERVISOR);
	tell_all();
	assert_string_equal(last(HA_CREATE_KEY)->key, "initialize");
	assert_string_equal(last(HA_CREATE_KEY)->text, "");
	/* another one was first */
	reply(HA_CREATE_KEY, HA_OUTCOME_LOST_RACE);
	assert_int_equal(count(HA_START_TASK), 0);
}

static void
wait_for_leader(void)
{
	start_empty(HA_HOME_SUPERVISOR);
	set_key("initialize", "");
	tell_all();
	assert_int_equal(count(HA_CREATE_KEY) + count(HA_START_TASK), 0);
}

static void
start_bootstrapped(void)
{
	start_empty(HA_HOME_SUPERVISOR);
	tell_all();
	reply(HA_CREATE_KEY, HA_OUTCOME_DONE);
	be_stopped(HA_CONTROL_SHUTDOWNED);
	tell_postgres();
	end_task(HA_TASK_OK, 0, 0);
	expect_task(HA_TASK_START_PRIMARY);
}

/* A switchover to node2; the server has been stopped in this way. */
static void
hand_over_to(HaControlState control_state)
{
	start_leader(HA_HOME_SUPERVISOR);
	ask_for_switchover();
	answer_from("node2", (Answer) {0});
	tick(1);
	expect_task(HA_TASK_STOP);
	be_stopped(control_state);
	tell_postgres();
	forget();
}

static void
end_stop(void)
{
	HaInput		input = {.kind = HA_INPUT_TASK};

	now += 100;
	input.task.task = HA_TASK_STOP;
	input.task.id = node->task_id;	/* the action was forgotten */
	input.task.lsn = END_OF_WAL;
	step(&input);
}

static void
stop_for_handover(HaControlState control_state)
{
	hand_over_to(control_state);
	end_stop();
}

/* A switchover to node2 whose server is being stopped, and has got this far. */
static void
be_stopping_for_handover(HaControlState control_state)
{
	hand_over_to(control_state);
	now += 100;
	postgres.server = HA_SERVER_STOPPING;
	tell_postgres();
}

static void
handover_confirm_early(void)
{
	/* more WAL may come */
	be_stopping_for_handover(HA_CONTROL_SHUTDOWNING);
	assert_int_equal(count(HA_ASK_PEER) + count(HA_RELEASE), 0);
	expect_rule("task-running");

	be_stopping_for_handover(HA_CONTROL_SHUTDOWNED);
	assert_int_equal(count(HA_ASK_PEER), 1);
	assert_string_equal(last(HA_ASK_PEER)->member, "node2");
	/* who has only the beginning of the shutdown checkpoint does not have it */
	answer_from("node2", (Answer) {.position = END_OF_WAL});
	assert_int_equal(count(HA_RELEASE), 0);
	forget();
	tick(5);
	assert_int_equal(count(HA_ASK_PEER), 1);
}

static void
hand_over_early(void)
{
	be_stopping_for_handover(HA_CONTROL_SHUTDOWNED);
	answer_from("node2", (Answer) {.position = END_OF_WAL + 1});
}

/* Who has all of the WAL has it, whoever else may be silent: nobody waits for that one. */
static void
silence_delays_no_handover(void **state)
{
	(void) state;
	start_leader(HA_HOME_SUPERVISOR);
	request_failover("{\"leader\":\"node1\"}");
	answers((Answer) {0});
	tick(1);
	expect_task(HA_TASK_STOP);
	be_stopped(HA_CONTROL_SHUTDOWNED);
	tell_postgres();
	forget();
	now += 100;
	postgres.server = HA_SERVER_STOPPING;
	tell_postgres();
	assert_int_equal(count(HA_ASK_PEER), 2);
	answer_from("node3", (Answer) {.position = END_OF_WAL + 1});
	assert_int_equal(count(HA_RELEASE), 1);
	assert_string_equal(node->successor, "node3");
}

static void
handed_over_early(void)
{
	hand_over_early();
	assert_string_equal(last(HA_RELEASE)->value, "node1");
	assert_int_equal(last(HA_FENCE)->deadline_ms, 0);
	assert_false(ha_has_lease(node));
	/* the stop goes on, and then it follows */
	reply(HA_RELEASE, HA_OUTCOME_DONE);
	set_key("leader", "node2");
	tell_view();
	expect_rule("task-running");
	assert_int_equal(count(HA_CANCEL_TASK), 0);
}

/* There would be nobody to stream from. */
static void
wait_for_taker(void)
{
	handed_over_early();
	be_stopped(HA_CONTROL_SHUTDOWNED);
	tell_postgres();
	forget();
	end_stop();
	assert_int_equal(count(HA_START_TASK), 0);
}

/* It need not be compared with the new leader, which has all of its WAL. */
static void
follow_taker(void)
{
	/* not for ever */
	wait_for_taker();
	tick(HA_TAKER_WAIT_MS);
	expect_task(HA_TASK_START_STANDBY);
	end_task(HA_TASK_FAILED, 0, 0);
	assert_string_equal(ha_goal_name(node), "");

	wait_for_taker();
	set_member("node2", ",\"role\":\"primary\"");
	tell_view();
	assert_string_equal(expect_task(HA_TASK_START_STANDBY)->member, "node2");
	assert_int_equal(count(HA_RELEASE), 0);
}

static void
handover_confirm(void)
{
	stop_for_handover(HA_CONTROL_SHUTDOWNED);
	assert_int_equal(count(HA_ASK_PEER), 1);
	assert_string_equal(last(HA_ASK_PEER)->member, "node2");
	/* one byte short: not yet */
	answer_from("node2", (Answer) {.position = END_OF_WAL - 1});
	assert_int_equal(count(HA_RELEASE), 0);
}

static void
hand_over(void)
{
	stop_for_handover(HA_CONTROL_SHUTDOWNED);
	answer_from("node2", (Answer) {0});
	assert_true(last_key(HA_CREATE_KEY, "status") < last(HA_RELEASE));
	assert_string_equal(last(HA_RELEASE)->value, "node1");
	assert_false(ha_has_lease(node));
}

static void
handover_failed(void)
{
	stop_for_handover(HA_CONTROL_SHUTDOWNED);
	answer_from("node2", (Answer) {.position = END_OF_WAL - 1});
	tick(HA_HANDOVER_WAIT_MS);
	assert_int_equal(count(HA_RELEASE), 0);
	assert_non_null(strstr(last_key(HA_PUT_KEY, "failover")->text, "would lose writes"));
	assert_string_equal(ha_goal_name(node), "");
	/* and it goes on soon, as what it was */
	assert_true(last(HA_WAKE_AT)->deadline_ms <= now + 100);
	/* nobody waits for longer than a failover would take */
	stop_for_handover(HA_CONTROL_SHUTDOWNED);
	settings.ttl_ms = 2000;
	tell_settings();
	answer_from("node2", (Answer) {.position = END_OF_WAL - 1});
	tick(2000);
	assert_string_equal(ha_goal_name(node), "");
}

static void
follow_successor(void)
{
	stop_for_handover(HA_CONTROL_SHUTDOWNED);
	settings.is_paused = true;
	tell_settings();
	answer_from("node2", (Answer) {0});
	reply(HA_RELEASE, HA_OUTCOME_DONE);
	assert_int_equal(last(HA_START_TASK)->task, HA_TASK_START_STANDBY);
}

static void
reinitialize(void)
{
	start_follower(HA_HOME_SUPERVISOR);
	give((HaCommand) {.id = 1, .kind = HA_COMMAND_REINITIALIZE});
	be_stopped(HA_CONTROL_IN_ARCHIVE_RECOVERY);
	tell_postgres();
}

/* A confirmation sent with an outdated view has made the leader key. */
static void
release_for_reinit(void)
{
	reinitialize();
	set_key("leader", NULL);
	tell_view();
	end_task(HA_TASK_OK, 0, 0);
	confirm_lease();
	last(HA_RELEASE);
	assert_int_equal(last(HA_START_TASK)->task, HA_TASK_STOP);
}

static void
remove_for_reinit(void)
{
	reinitialize();
	/* who got the lease may be lost before it is promoted, and this member's WAL be needed */
	set_member("node2", "");
	tell_view();
	end_task(HA_TASK_OK, 0, 0);
	expect_rule("reinit-wait");
	/* and so may the leader of a view that nobody can renew */
	set_member("node2", ",\"role\":\"primary\"");
	tell_reachable(false);
	tell_view();
	expect_rule("reinit-wait");
	tell_reachable(true);
	/* whose key outlives it: it has to answer */
	assert_string_equal(expect_task(HA_TASK_REMOVE_DATA)->member, "node2");
}

static void
reinit_wait(void)
{
	reinitialize();
	set_key("leader", NULL);
	tell_view();
	end_task(HA_TASK_OK, 0, 0);
	assert_int_equal(last(HA_START_TASK)->task, HA_TASK_STOP);
}

static void
restart_leader(void)
{
	start_leader(HA_HOME_SUPERVISOR);
	give((HaCommand) {.id = 1, .kind = HA_COMMAND_RESTART});
	be_stopped(HA_CONTROL_SHUTDOWNED);
	tell_postgres();
	end_task(HA_TASK_OK, 0, 0);
	expect_task(HA_TASK_START_PRIMARY);
	assert_int_equal(count(HA_RELEASE), 0);
	assert_true(ha_has_lease(node));
}

/* A restart that takes too long is given up, not begun again. */
static void
slow_restart_gives_the_lease_away(void **state)
{
	(void) state;
	restart_leader();
	postgres.server = HA_SERVER_STARTING;
	tell_postgres();
	settings.primary_start_timeout_ms = 1000;
	tell_settings();
	tick(1000);
	end_task(HA_TASK_CANCELLED, 0, 0);
	expect_task(HA_TASK_STOP);
	be_stopped(HA_CONTROL_IN_PRODUCTION);
	tell_postgres();
	end_task(HA_TASK_OK, 0, 0);
	last(HA_RELEASE);
	assert_int_equal(last(HA_START_TASK)->task, HA_TASK_STOP);
}

static void
restart_paused_primary(void)
{
	create(HA_HOME_SUPERVISOR);
	be_primary();
	settings.is_paused = true;
	set_key("leader", "node2");
	tell_all();
	give((HaCommand) {.id = 1, .kind = HA_COMMAND_RESTART});
	be_stopped(HA_CONTROL_SHUTDOWNED);
	tell_postgres();
	end_task(HA_TASK_OK, 0, 0);
	expect_task(HA_TASK_START_PRIMARY);
}

static void
restart_standby(void)
{
	/* one that was stopped by hand in pause mode is started; one that is starting already is not */
	for (int i = 0; i < 2; i++)
	{
		start_follower(HA_HOME_SUPERVISOR);
		settings.is_paused = true;
		be_stopped(HA_CONTROL_SHUTDOWNED_IN_RECOVERY);
		if (i == 1)
			postgres.server = HA_SERVER_STARTING;
		tell_all();
		give((HaCommand) {.id = 2, .kind = HA_COMMAND_RESTART});
		if (i == 0)
			assert_string_equal(expect_task(HA_TASK_START_STANDBY)->member, "node2");
		else
			assert_false(last(HA_ANSWER)->ok);
	}

	start_follower(HA_HOME_SUPERVISOR);
	give((HaCommand) {.id = 1, .kind = HA_COMMAND_RESTART});
	be_stopped(HA_CONTROL_SHUTDOWNED_IN_RECOVERY);
	tell_postgres();
	end_task(HA_TASK_OK, 0, 0);
	assert_string_equal(expect_task(HA_TASK_START_STANDBY)->member, "node2");
}

/* The time it may take is that of a primary: it is over already when a standby is started instead. */
static void
slow_primary_starts_as_standby(void **state)
{
	(void) state;
	create(HA_HOME_SUPERVISOR);
	be_stopped(HA_CONTROL_IN_PRODUCTION);
	settings.primary_start_timeout_ms = 20000;
	set_member("node2", ",\"tags\":{\"nofailover\":true}");
	set_member("node3", ",\"tags\":{\"nofailover\":true}");
	set_key("leader", "node1");
	tell_all();
	confirm_lease();
	postgres.server = HA_SERVER_STARTING;
	postgres.is_standby_configured = true;
	tell_postgres();
	tick(20000);
	set_member("node2", "");
	tell_view();
	expect_rule("starting");
}

/* In a pause nobody demotes it; but the position it has is not the cluster's. */
static void
outdated_leader_tells_no_position(void **state)
{
	(void) state;
	start_leader(HA_HOME_WORKER);
	pause_cluster(true);
	forget();
	postgres.flush_lsn += 1000;
	tell_postgres();
	tick(settings.loop_wait_ms);
	assert_true(tells_key("status"));
	set_key("history", "[[1,83886080,\"no recovery target specified\"]]");
	tell_view();
	forget();
	postgres.flush_lsn += 1000;
	tell_postgres();
	tick(settings.loop_wait_ms);
	assert_false(tells_key("status"));
}

/* That failed: it is no restart any more, or one that holds the lease would begin it for ever. */
static void
failed_restart_is_over(void **state)
{
	(void) state;
	restart_standby();
	end_task(HA_TASK_FAILED, 0, 0);
	tick(10000);
	expect_rule("check-failed-start");
}

static void
paused_leader_stopped(void)
{
	create(HA_HOME_SUPERVISOR);
	be_stopped(HA_CONTROL_SHUTDOWNED);
	settings.is_paused = true;
	set_key("leader", "node1");
	tell_all();
	confirm_lease();
	last(HA_RELEASE);
	assert_int_equal(count(HA_START_TASK), 0);
}

static void
paused_stopped(void)
{
	create(HA_HOME_SUPERVISOR);
	be_stopped(HA_CONTROL_SHUTDOWNED_IN_RECOVERY);
	settings.is_paused = true;
	set_key("leader", "node2");
	tell_all();
	assert_int_equal(count(HA_START_TASK), 0);
	assert_int_equal(last(HA_FENCE)->deadline_ms, 0);
}

static void
confirm_lease_first(void)
{
	create(HA_HOME_SUPERVISOR);
	be_stopped(HA_CONTROL_IN_PRODUCTION);
	set_key("leader", "node1");
	tell_all();
	assert_string_equal(last(HA_RENEW)->value, "node1");
	assert_int_equal(count(HA_START_TASK), 0);
}

static void
start_outage(void)
{
	create(HA_HOME_SUPERVISOR);
	be_stopped(HA_CONTROL_IN_PRODUCTION);
	tell_settings();
	tell_postgres();
	tell_reachable(false);
	tick(10000);
	assert_string_equal(expect_task(HA_TASK_START_STANDBY)->member, "");
}

/* Our server crashed, and the end of its WAL is known. */
static void
crash(void)
{
	start_stopped_leader(HA_CONTROL_IN_PRODUCTION);
	expect_rule("crashed-find-end");
	expect_task(HA_TASK_WAL_END);
	end_task(HA_TASK_OK, 0, END_OF_WAL + 8);
}

static void
start_failed(void)
{
	start_stopped_leader(HA_CONTROL_SHUTDOWNED);
	expect_task(HA_TASK_START_PRIMARY);
	end_task(HA_TASK_FAILED, 0, 0);
	assert_int_equal(count(HA_RELEASE), 0);
	tick(HA_TASK_RETRY_MIN_MS);
	last(HA_RELEASE);

	/* a start that took too long has failed too: it is not begun again after the stop */
	start_too_slow();
	be_stopped(HA_CONTROL_SHUTDOWNED);
	tell_postgres();
	end_task(HA_TASK_OK, 0, 0);
	last(HA_RELEASE);
}

static void
crashed_lossless(void)
{
	crash();
	/* it does not matter what node3 says, if it is there at all */
	answer_from("node2", (Answer) {.position = END_OF_WAL + 8});
	assert_string_equal(last(HA_RELEASE)->value, "node1");
	assert_true(last_key(HA_CREATE_KEY, "status") < last(HA_RELEASE));
}

static void
crashed_no_restart(void)
{
	create(HA_HOME_SUPERVISOR);
	be_stopped(HA_CONTROL_IN_PRODUCTION);
	settings.primary_start_timeout_ms = 0;
	set_key("leader", "node1");
	tell_all();
	confirm_lease();
	last(HA_RELEASE);
	assert_int_equal(count(HA_START_TASK), 0);
}

static void
crashed_find_end(void)
{
	start_stopped_leader(HA_CONTROL_IN_PRODUCTION);
	expect_task(HA_TASK_WAL_END);
	assert_int_equal(count(HA_RELEASE), 0);
}

static void
crashed_ask(void)
{
	crash();
	assert_int_equal(count(HA_ASK_PEER), 2);
}

/* The key came back to a primary that is on its way down to be a standby. */
static void
outdated_leader_stopped(void)
{
	create(HA_HOME_SUPERVISOR);
	be_stopped(HA_CONTROL_SHUTDOWNED);
	set_key("history", "[[1,83886080,\"no recovery target specified\"]]");
	set_key("leader", "node1");
	tell_all();
	confirm_lease();
	last(HA_RELEASE);
	assert_int_equal(count(HA_START_TASK), 0);
}

static void
restart_in_place(void)
{
	crash();
	answers((Answer) {0});
	assert_int_equal(count(HA_RELEASE), 0);
	expect_task(HA_TASK_START_PRIMARY);
}

static void
start_with_lease(void)
{
	start_stopped_leader(HA_CONTROL_SHUTDOWNED_IN_RECOVERY);
	assert_string_equal(expect_task(HA_TASK_START_STANDBY)->member, "");
}

/* A former primary, shut down, that has diverged from node2. */
static void
diverge(void)
{
	start_stopped_follower(HA_CONTROL_SHUTDOWNED);
	expect_rule("check-former-primary");
	end_task(HA_TASK_OK, HA_DIVERGENCE_REWIND, 0);
}

static void
diverged_outage(void)
{
	diverge();
	end_task(HA_TASK_FAILED, 0, 0);
	forget();
	tell_reachable(false);
	tick(HA_TASK_RETRY_MIN_MS);
	tick(10000);
	assert_int_equal(count(HA_START_TASK), 0);
}

static void
diverged_leaderless(void)
{
	diverge();
	end_task(HA_TASK_FAILED, 0, 0);
	forget();
	set_key("leader", NULL);
	tell_view();
	tick(HA_TASK_RETRY_MIN_MS);
	assert_int_equal(count(HA_START_TASK), 0);
}

static void
rewind_after_checkpoint(void)
{
	create(HA_HOME_SUPERVISOR);
	be_stopped(HA_CONTROL_SHUTDOWNED);
	set_key("leader", "node2");
	set_member("node2", ",\"checkpoint_after_promote\":false");
	tell_all();
	end_task(HA_TASK_OK, HA_DIVERGENCE_REWIND, 0);
	assert_int_equal(last(HA_START_TASK)->task, HA_TASK_CHECK_DIVERGENCE);
}

static void
pg_rewind(void)
{
	diverge();
	assert_string_equal(expect_task(HA_TASK_REWIND)->member, "node2");
	assert_string_equal(last(HA_START_TASK)->url, "postgres://10.0.0.2:5432/postgres");
}

/* The pause after a failure is that leader's. */
static void
next_leader_ends_pause(void **state)
{
	(void) state;
	diverge();
	end_task(HA_TASK_FAILED, 0, 0);
	expect_rule("task-pause");
	forget();
	set_key("leader", "node3");
	set_member("node3", ",\"role\":\"primary\"");
	tell_view();
	assert_string_equal(expect_task(HA_TASK_CHECK_DIVERGENCE)->member, "node3");
}

/* Who else was promoted to this member's timeline is known only after the comparison. */
static void
late_claim_stops_rewind(void **state)
{
	(void) state;
	for (int i = 0; i < 2; i++)
	{
		create(HA_HOME_SUPERVISOR);
		be_stopped(HA_CONTROL_SHUTDOWNED);
		postgres.timeline = postgres.checkpoint_timeline = postgres.newest_timeline = 2;
		postgres.n_history = 1;
		postgres.history[0].timeline = 1;
		postgres.history[0].switch_lsn = 1000;
		set_key("leader", "node2");
		set_member("node2", ",\"timeline\":3,\"role\":\"primary\",\"checkpoint_after_promote\":false");
		set_key("promotions", "{\"2\":{\"name\":\"\",\"from\":1,\"lsn\":1000}}");
		tell_all();
		end_task(HA_TASK_OK, HA_DIVERGENCE_REWIND, 0);
		expect_rule("rewind-after-checkpoint");
		set_key("promotions", i == 0 ? "{\"2\":{\"name\":\"node2\",\"from\":1,\"lsn\":1000}}" :
				"{\"2\":{\"name\":\"node2\",\"from\":1,\"lsn\":2000}}");
		set_member("node2", ",\"timeline\":3,\"role\":\"primary\"");
		tell_view();
		assert_true(node->has_rewind_failed == (i == 0));
		assert_int_equal(last(HA_START_TASK)->task, i == 0 ? HA_TASK_CHECK_DIVERGENCE : HA_TASK_REWIND);
		if (i == 0)
			assert_int_equal(last(HA_WAKE_AT)->deadline_ms, now + 1);	/* there is more to do */
	}
}

static void
remove_diverged(void)
{
	diverge();
	settings.remove_data_directory_on_rewind_failure = true;
	tell_settings();
	end_task(HA_TASK_IMPOSSIBLE, 0, 0);
	tick(HA_TASK_RETRY_MIN_MS);
	expect_task(HA_TASK_REMOVE_DATA);
}

static void
diverged(void)
{
	diverge();
	end_task(HA_TASK_IMPOSSIBLE, 0, 0);
	tick(HA_TASK_RETRY_MIN_MS);
	assert_int_equal(last(HA_START_TASK)->task, HA_TASK_REWIND);
	/* that was about node2: another leader, another try */
	forget();
	set_key("leader", "node3");
	tell_view();
	assert_string_equal(expect_task(HA_TASK_CHECK_DIVERGENCE)->member, "node3");
	diverge();
	end_task(HA_TASK_IMPOSSIBLE, 0, 0);
	tick(HA_TASK_RETRY_MIN_MS);
}

/* The leader may be gone for a while: that is no verdict on pg_rewind. */
static void
rewind_is_tried_until_the_leader_answers(void **state)
{
	(void) state;
	diverge();
	settings.remove_data_directory_on_rewind_failure = true;
	tell_settings();
	for (int i = 0; i < 6; i++)
	{
		expect_task(HA_TASK_REWIND);
		end_task(HA_TASK_FAILED, 0, 0);
		forget();
		tick(HA_TASK_RETRY_MAX_MS);
	}
	expect_task(HA_TASK_REWIND);
	end_task(HA_TASK_OK, 0, 0);
	expect_task(HA_TASK_START_STANDBY);
}

static void
recover_crashed(void)
{
	start_stopped_follower(HA_CONTROL_IN_PRODUCTION);
	expect_task(HA_TASK_CRASH_RECOVERY);
}

static void
check_former_primary(void)
{
	start_stopped_follower(HA_CONTROL_SHUTDOWNED);
	assert_string_equal(expect_task(HA_TASK_CHECK_DIVERGENCE)->member, "node2");
}

/*
 * A server that was a standby of nobody is no former primary by its files; that
 * it does not start is what tells.  Nothing found: the pauses go on growing.
 */
static void
check_failed_start(void)
{
	start_stopped_follower(HA_CONTROL_SHUTDOWNED_IN_RECOVERY);
	expect_rule("start-standby");
	end_task(HA_TASK_FAILED, 0, 0);
	tick(HA_TASK_RETRY_MIN_MS);
	assert_string_equal(expect_task(HA_TASK_CHECK_DIVERGENCE)->member, "node2");
	end_task(HA_TASK_OK, HA_DIVERGENCE_NONE, 0);
	expect_task(HA_TASK_START_STANDBY);
	end_task(HA_TASK_FAILED, 0, 0);
	forget();
	tick(HA_TASK_RETRY_MIN_MS);
	assert_int_equal(count(HA_START_TASK), 0);
	tick(HA_TASK_RETRY_MIN_MS);
	expect_task(HA_TASK_CHECK_DIVERGENCE);
	end_task(HA_TASK_OK, HA_DIVERGENCE_REWIND, 0);
	expect_task(HA_TASK_REWIND);
	/* back to the rule: it does not start, and nothing is known */
	start_stopped_follower(HA_CONTROL_SHUTDOWNED_IN_RECOVERY);
	end_task(HA_TASK_FAILED, 0, 0);
	tick(HA_TASK_RETRY_MIN_MS);
}

static void
start_standby(void)
{
	start_stopped_follower(HA_CONTROL_SHUTDOWNED_IN_RECOVERY);
	assert_string_equal(expect_task(HA_TASK_START_STANDBY)->member, "node2");
}

static void
nothing_to_do(void)
{
	lose_stream();
	/* inside: a goal and a pause after a failure exclude each other from outside */
	node->task = HA_TASK_NONE;
	node->task_retry_ms = now + 1000;
	forget();
	tick(1);
	assert_int_equal(count(HA_START_TASK), 0);
}

/* --- one case a rule: leader --- */

static void
confirming_lease(void)
{
	create(HA_HOME_WORKER);
	be_standby();
	set_key("leader", "node1");
	tell_all();
	assert_string_equal(last(HA_RENEW)->value, "node1");
	assert_int_equal(count(HA_PROMOTE), 0);
}

static void
foreign_leader_running(void)
{
	create(HA_HOME_WORKER);
	be_primary();
	postgres.system_identifier = FOREIGN_ID;
	set_key("leader", "node1");
	tell_all();
	confirm_lease();
	assert_int_equal(last(HA_FENCE)->deadline_ms, 0);
	assert_true(position_of(HA_FENCE) < position_of(HA_RELEASE));
}

static void
outdated_leader(void)
{
	start_leader(HA_HOME_WORKER);
	set_key("history", "[[1,83886080,\"no recovery target specified\"]]");
	tell_view();
	assert_int_equal(last(HA_FENCE)->deadline_ms, 0);
	assert_true(position_of(HA_FENCE) < position_of(HA_RELEASE));
}

static void
switchover(void)
{
	start_leader(HA_HOME_WORKER);
	ask_for_switchover();
	assert_int_equal(count(HA_ASK_PEER), 1);
	assert_string_equal(last(HA_ASK_PEER)->member, "node2");
	answer_from("node2", (Answer) {0});
	/* the checkpoint first, then the supervisor's turn */
	assert_int_equal(count(HA_CHECKPOINT), 1);
}

static void
lead(void)
{
	start_leader(HA_HOME_WORKER);
	set_key("initialize", NULL);
	tell_view();
	assert_string_equal(last_key(HA_PUT_KEY, "initialize")->text, SYSID_TEXT);
}

static void
paused_not_primary(void)
{
	create(HA_HOME_WORKER);
	be_standby();
	settings.is_paused = true;
	set_key("leader", "node1");
	tell_all();
	confirm_lease();
	last(HA_RELEASE);
	assert_int_equal(count(HA_PROMOTE), 0);
}

/* As a primary it got the lease in a pause; its server was restarted since. */
static void
outdated_standby(void)
{
	create(HA_HOME_WORKER);
	be_standby();
	set_key("leader", "node1");
	set_key("history", "[[1,83886080,\"no recovery target specified\"]]");
	tell_all();
	confirm_lease();
	last(HA_RELEASE);
	assert_int_equal(count(HA_PROMOTE), 0);
}

/* It led in spite of its tag, promoted by hand, until an outage made it a standby. */
static void
nofailover_leader(void)
{
	create(HA_HOME_WORKER);
	be_standby();
	settings.tags.nofailover = true;
	set_key("leader", "node1");
	tell_all();
	confirm_lease();
	last(HA_RELEASE);
	assert_int_equal(count(HA_PROMOTE), 0);
	assert_int_equal(count(HA_CREATE_KEY), 0);
	/* a primary goes on */
	start_leader(HA_HOME_WORKER);
	settings.tags.nofailover = true;
	tell_all();
	tick(100);
	expect_rule("lead");
	assert_int_equal(count(HA_RELEASE), 0);
	create(HA_HOME_WORKER);
	be_standby();
	settings.tags.nofailover = true;
	set_key("leader", "node1");
	tell_all();
	confirm_lease();
}

/* The supervisor's guess right after a start must not cost the lease. */
static void
paused_unseen(void)
{
	create(HA_HOME_WORKER);
	be_standby();
	postgres.is_observed = false;
	settings.is_paused = true;
	set_key("leader", "node1");
	tell_all();
	confirm_lease();
	assert_int_equal(count(HA_RELEASE), 0);
}

/* The lease is ours, the server a standby: up to the claimed timeline. */
static void
win_race(void)
{
	start_race();
	answers((Answer) {0});
	expect_rule("race-for-lease");
	set_key("leader", "node1");
	reply_to(last(HA_ACQUIRE), HA_OUTCOME_DONE, false, now, revision);
	tell_view();
}

static void
claim(void)
{
	win_race();
	expect_rule("claim-timeline");
	set_key("promotions", last_key(HA_CREATE_KEY, "promotions")->text);
	reply(HA_CREATE_KEY, HA_OUTCOME_DONE);
}

static void
promoting(void)
{
	claim();
	tell_view();
	last(HA_PROMOTE);
	forget();
	tick(100);
	assert_int_equal(count(HA_PROMOTE), 0);
	assert_int_equal(ha_role(node), ROLE_PROMOTED);
}

static void
claim_timeline(void)
{
	win_race();
	assert_string_equal(last(HA_CREATE_KEY)->key, "promotions");
	assert_non_null(strstr(last(HA_CREATE_KEY)->text, "\"2\""));
	assert_int_equal(count(HA_PROMOTE), 0);
}

static void
mark_timelines(void)
{
	win_race();
	set_key("promotions", "{\"2\":{\"name\":\"node2\",\"from\":1,\"lsn\":100},"
			"\"3\":{\"name\":\"node1\",\"from\":1,\"lsn\":100}}");
	reply(HA_CREATE_KEY, HA_OUTCOME_UNKNOWN);
	tell_view();
	assert_int_equal(count(HA_PROMOTE), 0);
	assert_int_equal(last(HA_PLACE_HISTORY)->timeline, 2);
}

static void
cannot_mark(void)
{
	mark_timelines();
	for (int64_t waited = 0; waited < settings.retry_timeout_ms; waited += 500)
	{
		expect_rule("mark-timelines");
		tick(500);
	}
	assert_int_equal(count(HA_PROMOTE), 0);
	assert_int_equal(count(HA_RELEASE), 1);
}

/* Others may lead then; after a ttl it tries again, as it may be the only one. */
static void
gives_way(void)
{
	cannot_mark();
	expect_rule("cannot-mark");
	reply(HA_RELEASE, HA_OUTCOME_DONE);
	set_key("leader", NULL);
	tell_view();
}

static void
promote(void)
{
	claim();
	assert_int_equal(count(HA_PROMOTE), 0);	/* the reply alone is not enough */
	tell_view();
	assert_int_equal(last(HA_PROMOTE)->timeline, 2);
}

static void
sync_first(void)
{
	win_race();
	be_synchronous(SYNC_PLAN_ON, NULL);
	set_key("promotions", last_key(HA_CREATE_KEY, "promotions")->text);
	reply_to(last_key(HA_CREATE_KEY, "promotions"), HA_OUTCOME_DONE, false, now, 0);
	tell_view();
	assert_int_equal(count(HA_PROMOTE), 0);
}

static void
sync_key_changed(void)
{
	start_follower(HA_HOME_WORKER);
	be_synchronous(SYNC_PLAN_ON, "{\"leader\":\"node2\",\"quorum\":0,\"sync_standby\":\"node1\"}");
	set_key("leader", NULL);
	tell_view();
	answers((Answer) {.is_silent = true});
	tick(400);
	expect_rule("race-for-lease");
	/* node3 led in between, and took node1 off the list */
	set_key("sync", "{\"leader\":\"node3\",\"quorum\":0,\"sync_standby\":\"node1\"}");
	set_key("leader", "node1");
	reply_to(last(HA_ACQUIRE), HA_OUTCOME_DONE, false, now, revision);
	tell_view();
	last(HA_RELEASE);
	assert_int_equal(count(HA_PROMOTE) + count(HA_SET_SYNC_NAMES), 0);
	/* only its decision counts: the lease is given away by now */
	start_follower(HA_HOME_WORKER);
	be_synchronous(SYNC_PLAN_ON, "{\"leader\":\"node2\",\"quorum\":0,\"sync_standby\":\"node1\"}");
	set_key("leader", NULL);
	tell_view();
	answers((Answer) {.is_silent = true});
	tick(400);
	set_key("sync", "{\"leader\":\"node3\",\"quorum\":0,\"sync_standby\":null}");
	set_key("leader", "node1");
	reply_to(last(HA_ACQUIRE), HA_OUTCOME_DONE, false, now, revision);
	tell_view();
}

/* --- one case a rule: race --- */

static void
foreign_running(void)
{
	create(HA_HOME_WORKER);
	be_standby();
	postgres.system_identifier = FOREIGN_ID;
	tell_all();
	last(HA_YIELD);
	assert_int_equal(count(HA_ACQUIRE), 0);
}

static void
demote_outdated(void)
{
	create(HA_HOME_WORKER);
	be_primary();
	set_key("history", "[[1,83886080,\"no recovery target specified\"]]");
	tell_all();
	last(HA_YIELD);
	assert_string_equal(ha_goal_name(node), "demote");
	assert_int_equal(count(HA_ACQUIRE), 0);

	/* ids were skipped: the history says 2, but node3 promoted to 4 since */
	create(HA_HOME_WORKER);
	be_primary();
	postgres.timeline = postgres.newest_timeline = postgres.checkpoint_timeline = 2;
	set_key("history", "[[1,83886080,\"no recovery target specified\"]]");
	set_key("promotions", "{\"2\":{\"name\":\"node1\",\"from\":1,\"lsn\":83886080},"
			"\"4\":{\"name\":\"node3\",\"from\":1,\"lsn\":83886090}}");
	tell_all();
	assert_string_equal(ha_goal_name(node), "demote");
	assert_int_equal(count(HA_ACQUIRE), 0);
}

/* Nobody is demoted in a pause, but a leader that the cluster has left behind would cost others their WAL. */
static void
outdated_paused(void)
{
	create(HA_HOME_WORKER);
	be_primary();
	settings.is_paused = true;
	set_key("history", "[[1,83886080,\"no recovery target specified\"]]");
	tell_all();
	assert_int_equal(count(HA_ACQUIRE), 0);
	assert_int_equal(count(HA_YIELD), 0);
}

static void
retake_lease(void)
{
	create(HA_HOME_WORKER);
	be_primary();
	tell_all();
	assert_string_equal(last(HA_ACQUIRE)->value, "node1");
	assert_int_equal(count(HA_ASK_PEER), 0);
	assert_int_equal(last(HA_FENCE)->deadline_ms, 0);
}

static void
promoting_without_lease(void)
{
	claim();
	tell_view();
	last(HA_PROMOTE);
	set_key("leader", NULL);
	forget();
	tell_view();
	assert_int_equal(last(HA_FENCE)->deadline_ms, 0);
	last(HA_ACQUIRE);
}

static void
unseen(void)
{
	create(HA_HOME_SUPERVISOR);
	be_standby();
	postgres.is_observed = false;
	tell_all();
	assert_int_equal(count(HA_ACQUIRE) + count(HA_ASK_PEER), 0);
}

static void
named(void)
{
	start_follower(HA_HOME_WORKER);
	postgres.received_lsn = postgres.replayed_lsn = 16;	/* lagging does not matter */
	tell_postgres();
	set_key("leader", NULL);
	request_failover("{\"member\":\"node1\"}");
	last(HA_ACQUIRE);
	assert_int_equal(count(HA_ASK_PEER), 0);
}

/* node1 is named, and one vote of two others is needed. */
static void
start_named_quorum(void)
{
	start_follower(HA_HOME_WORKER);
	be_synchronous(SYNC_PLAN_QUORUM, "{\"leader\":\"node2\",\"quorum\":1,\"sync_standby\":\"node1,node3\"}");
	set_key("leader", NULL);
	request_failover("{\"leader\":\"node2\",\"member\":\"node1\"}");
	assert_int_equal(count(HA_ACQUIRE), 0);
}

static void
named_ask(void)
{
	start_named_quorum();
	assert_int_equal(count(HA_ASK_PEER), 2);
}

static void
named_asking(void)
{
	start_named_quorum();
	tick(10);
}

static void
not_synchronous(void)
{
	/* quorum: node1 is a voter, but the other voter has more */
	start_named_quorum();
	answer_from("node2", (Answer) {.is_silent = true});
	answer_from("node3", (Answer) {.position = END_OF_WAL + 1, .nofailover = true});
	expect_rule("not-synchronous");
	assert_int_equal(count(HA_ACQUIRE), 0);
	tick(600);
	answer_from("node2", (Answer) {.is_silent = true});
	answer_from("node3", (Answer) {.position = END_OF_WAL});
	expect_rule("named");
	last(HA_ACQUIRE);

	/* a person promoted node1 while the leader went on: node3 has what it lacks */
	start_named_quorum();
	postgres.timeline = postgres.newest_timeline = 2;
	postgres.n_history = 1;
	postgres.history[0].timeline = 1;
	postgres.history[0].switch_lsn = END_OF_WAL - 100;
	tell_postgres();
	answer_from("node2", (Answer) {.is_silent = true});
	answer_from("node3", (Answer) {.position = END_OF_WAL - 50});
	assert_int_equal(count(HA_ACQUIRE), 0);
	tick(600);
	answer_from("node2", (Answer) {.is_silent = true});
	answer_from("node3", (Answer) {.position = END_OF_WAL - 100});
	last(HA_ACQUIRE);

	/* a leader left the older timeline there: what node3 wrote since counts for nothing */
	start_named_quorum();
	postgres.timeline = postgres.newest_timeline = 2;
	postgres.n_history = 1;
	postgres.history[0].timeline = 1;
	postgres.history[0].switch_lsn = END_OF_WAL - 100;
	set_key("history", "[[1,83885980,\"no recovery target specified\"]]");
	tell_view();
	tell_postgres();
	answer_from("node2", (Answer) {.is_silent = true});
	answer_from("node3", (Answer) {.position = END_OF_WAL - 50});
	last(HA_ACQUIRE);

	/* that leader is node1, which the sync key names: the history need not say so, its claim does */
	for (int i = 0; i < 2; i++)
	{
		start_follower(HA_HOME_WORKER);
		be_synchronous(SYNC_PLAN_QUORUM, "{\"leader\":\"node1\",\"quorum\":1,\"sync_standby\":\"node2,node3\"}");
		postgres.timeline = postgres.newest_timeline = 2;
		postgres.n_history = 1;
		postgres.history[0].timeline = 1;
		postgres.history[0].switch_lsn = END_OF_WAL - 100;
		set_key("promotions", i == 0 ? "{\"2\":{\"name\":\"node2\",\"from\":1,\"lsn\":83885980}}" :
				"{\"2\":{\"name\":\"node1\",\"from\":1,\"lsn\":83885980}}");
		set_key("leader", NULL);
		tell_view();
		tell_postgres();
		answer_from("node2", (Answer) {.position = END_OF_WAL - 50});
		answer_from("node3", (Answer) {.is_silent = true});
		assert_int_equal(count(HA_ACQUIRE), i);
	}

	/* on: the key does not name it */
	start_follower(HA_HOME_WORKER);
	be_synchronous(SYNC_PLAN_ON, "{\"leader\":\"node2\",\"quorum\":0,\"sync_standby\":\"node3\"}");
	set_key("leader", NULL);
	tell_view();
	answers((Answer) {.is_silent = true});
	tick(400);
	assert_int_equal(count(HA_ACQUIRE), 0);
}

static void
promotion_denied(void)
{
	promoting();
	set_key("sync", "{\"leader\":\"node3\",\"quorum\":0,\"sync_standby\":\"node2\"}");
	settings.sync_mode = SYNC_PLAN_ON;
	tell_settings();
	set_key("leader", NULL);
	tell_view();
	assert_string_equal(ha_goal_name(node), "demote");
	/* so that the rule itself is the last one: the worker yields after it */
	promoting();
	settings.sync_mode = SYNC_PLAN_ON;
	tell_settings();
	set_key("sync", "{\"leader\":\"node3\",\"quorum\":0,\"sync_standby\":\"node2\"}");
	set_key("leader", NULL);
	tell_view();
}

static void
paused_race(void)
{
	start_follower(HA_HOME_WORKER);
	pause_cluster(true);
	set_key("leader", NULL);
	tell_view();
	assert_int_equal(count(HA_ACQUIRE) + count(HA_ASK_PEER), 0);
}

static void
nofailover(void)
{
	start_follower(HA_HOME_WORKER);
	settings.tags.nofailover = true;
	tell_settings();
	set_key("leader", NULL);
	request_failover("{\"member\":\"node1\"}");	/* also when named */
	assert_int_equal(count(HA_ACQUIRE) + count(HA_ASK_PEER), 0);
}

static void
lagging(void)
{
	start_follower(HA_HOME_WORKER);
	set_key("status", "{\"optime\":84934657}");	/* END_OF_WAL + 1 MB + 1 */
	set_key("leader", NULL);
	tell_view();
	assert_int_equal(count(HA_ACQUIRE) + count(HA_ASK_PEER), 0);
	/* a switchover that is scheduled for tomorrow changes nothing */
	set_key("failover", "{\"leader\":\"node2\",\"scheduled_at\":\"2099-01-01T00:00:00+00:00\"}");
	tell_view();
	assert_int_equal(count(HA_ACQUIRE) + count(HA_ASK_PEER), 0);
	/* nor does a request for another member; one for whoever can lead does */
	set_key("failover", "{\"member\":\"node3\"}");
	tell_view();
	expect_rule("lagging");
	set_key("failover", "{\"leader\":\"node2\"}");
	tell_view();
	assert_true(count(HA_ASK_PEER) > 0);
	set_key("failover", NULL);
	tell_view();
	expect_rule("lagging");
}

static HaSlot *
add_slot(const char *name)
{
	HaSlot	   *slot = &postgres.slots[postgres.n_slots++];

	memset(slot, 0, sizeof(*slot));
	snprintf(slot->name, sizeof(slot->name), "%s", name);
	slot->restart_lsn = 1000;
	return slot;
}

/* The key "status" as written last. */
static const char *
status_written(void)
{
	const HaAction *put = last_key(HA_PUT_KEY, "status");

	if (put == NULL)
		put = last_key(HA_CREATE_KEY, "status");
	assert_non_null(put);
	return put->text;
}

static void
use_slots(const char *permanent, const char *ignored)
{
	settings.use_slots = true;
	settings.member_slots_ttl_ms = 60000;
	snprintf(settings.permanent_slots, sizeof(settings.permanent_slots), "%s", permanent);
	snprintf(settings.ignore_slots, sizeof(settings.ignore_slots), "%s", ignored);
	tell_settings();
}

/* The slot of a member that is gone is dropped after member_slots_ttl, an unknown one sooner. */
static void
drops_slots_of_members_gone(void **state)
{
	(void) state;
	start_leader(HA_HOME_WORKER);
	use_slots("", "[{\"name\":\"mine\"}]");
	add_slot("node2");
	add_slot("node3");
	add_slot("mine");
	add_slot("in_use")->is_active = true;
	add_slot("copied")->is_native = true;
	tell_postgres();
	set_key("members/node3", NULL);
	tell_view();
	tick(30000);
	assert_int_equal(count(HA_DROP_SLOT), 0);
	tick(31000);
	assert_int_equal(count(HA_DROP_SLOT), 1);
	assert_string_equal(last(HA_DROP_SLOT)->slot, "node3");
	forget();
	/* in pause nothing is */
	add_slot("somebody_else");
	settings.is_paused = true;
	tell_settings();
	tell_postgres();
	tick(settings.loop_wait_ms * 2);
	assert_int_equal(count(HA_DROP_SLOT), 0);
	settings.is_paused = false;
	tell_settings();
	tick(1000);
	forget();
	tick(settings.loop_wait_ms + 1000);
	assert_string_equal(last(HA_DROP_SLOT)->slot, "somebody_else");
}

/* On a standby nobody moves a slot but we: to where the leader's stands. */
static void
moves_slots_on_a_standby(void **state)
{
	HaSlot	   *slot;

	(void) state;
	start_follower(HA_HOME_WORKER);
	use_slots("{\"archive\":null}", "");
	assert_int_equal(count(HA_COPY_SLOTS), 0);
	set_key("status", "{\"optime\":83886080,\"slots\":{\"node3\":5000,\"archive\":6000,\"node2\":90000000}}");
	tell_view();
	forget();
	add_slot("node2");
	slot = add_slot("node3");
	add_slot("archive")->is_active = true;
	tell_postgres();
	tick(1000);
	assert_int_equal(count(HA_ADVANCE_SLOT), 2);
	assert_string_equal(last(HA_ADVANCE_SLOT)->slot, "node3");
	assert_int_equal(last(HA_ADVANCE_SLOT)->lsn, 5000);
	/* not further than what is replayed */
	for (int i = 0; i < n_seen; i++)
	{
		if (seen[i].kind == HA_ADVANCE_SLOT && strcmp(seen[i].slot, "node2") == 0)
			assert_int_equal(seen[i].lsn, postgres.replayed_lsn);
	}
	forget();
	slot->restart_lsn = 7000;
	postgres.slots[0].restart_lsn = postgres.replayed_lsn;
	tell_postgres();
	tick(1000);
	assert_int_equal(count(HA_ADVANCE_SLOT), 0);
	/* one that holds back vacuum for nobody, and one that lost its WAL, are made anew */
	slot->has_xmin = true;
	tell_postgres();
	tick(1000);
	assert_string_equal(last(HA_DROP_SLOT)->slot, "node3");
	forget();
	slot->has_xmin = false;
	slot->is_lost = true;
	tell_postgres();
	tick(1000);
	assert_string_equal(last(HA_DROP_SLOT)->slot, "node3");
}

/* Nor does anybody move one on the leader whose member streams from another one. */
static void
moves_slots_of_cascades(void **state)
{
	(void) state;
	start_leader(HA_HOME_WORKER);
	use_slots("", "");
	set_member("node3", ",\"tags\":{\"replicatefrom\":\"node2\"}");
	tell_view();
	add_slot("node2");
	add_slot("node3");
	forget();
	tell_postgres();
	tick(1000);
	assert_int_equal(count(HA_ADVANCE_SLOT), 1);
	assert_string_equal(last(HA_ADVANCE_SLOT)->slot, "node3");
	assert_true(last(HA_ADVANCE_SLOT)->lsn > 1000 && last(HA_ADVANCE_SLOT)->lsn <= postgres.flush_lsn);
}

#define FEED "{\"feed\":{\"type\":\"logical\",\"database\":\"app\",\"plugin\":\"pgoutput\"}}"

/* A slot that does not come is asked for less and less often. */
static void
asks_less_often_for_a_slot(void **state)
{
	int			n;

	(void) state;
	start_leader(HA_HOME_WORKER);
	use_slots("", "");
	forget();
	for (int i = 0; i < 40; i++)
		tick(500);
	n = count(HA_CREATE_SLOT);
	assert_in_range(n, 8, 12);	/* two members */
	add_slot("node2");
	add_slot("node3");
	tell_postgres();
	tick(1000);
	postgres.n_slots = 1;
	memset(&postgres.slots[1], 0, sizeof(HaSlot));
	tell_postgres();
	forget();
	tick(1000);
	assert_int_equal(count(HA_CREATE_SLOT), 1);
}

/* A logical slot is made on the leader, and copied elsewhere. */
static void
makes_and_copies_logical_slots(void **state)
{
	(void) state;
	start_leader(HA_HOME_WORKER);
	use_slots(FEED, "");
	tick(1000);
	forget();
	tick(20000);
	assert_string_equal(last(HA_CREATE_SLOT)->slot, "feed");
	assert_string_equal(last(HA_CREATE_SLOT)->database, "app");
	assert_string_equal(last(HA_CREATE_SLOT)->plugin, "pgoutput");
	assert_int_equal(count(HA_COPY_SLOTS), 0);
	/* one of another kind has to go, also in pause */
	settings.is_paused = true;
	tell_settings();
	strcpy(add_slot("feed")->plugin, "test_decoding");
	postgres.slots[postgres.n_slots - 1].is_logical = true;
	tell_postgres();
	tick(1000);
	assert_string_equal(last(HA_DROP_SLOT)->slot, "feed");

	start_follower(HA_HOME_WORKER);
	settings.is_paused = false;
	use_slots(FEED, "");
	tick(1000);
	assert_string_equal(last(HA_COPY_SLOTS)->member, "node2");
	assert_string_equal(last(HA_COPY_SLOTS)->slot, "node1");
	assert_string_equal(last(HA_COPY_SLOTS)->url, "postgres://10.0.0.2:5432/postgres");
	forget();
	tick(settings.loop_wait_ms - 2000);
	assert_int_equal(count(HA_COPY_SLOTS), 0);
	tick(2000);
	assert_int_equal(count(HA_COPY_SLOTS), 1);
	for (int i = 0; i < n_seen; i++)
		assert_false(seen[i].kind == HA_CREATE_SLOT && strcmp(seen[i].slot, "feed") == 0);
	forget();
	settings.permanent_slots[0] = '\0';
	tell_settings();
	tick(1000);
	assert_int_equal(count(HA_COPY_SLOTS), 1);
	assert_string_equal(last(HA_COPY_SLOTS)->url, "");
	forget();
	tick(settings.loop_wait_ms * 3);
	assert_int_equal(count(HA_COPY_SLOTS), 0);
}

/* A logical slot that was not copied in time is not made anew: nobody would see the gap. */
static void
makes_no_logical_slot_with_a_gap(void **state)
{
	(void) state;
	start_leader(HA_HOME_WORKER);
	set_key("status", "{\"optime\":83886080,\"slots\":{\"feed\":5000}}");
	tell_view();
	use_slots(FEED, "");
	tick(12000);
	for (int i = 0; i < n_seen; i++)
		assert_false(seen[i].kind == HA_CREATE_SLOT && strcmp(seen[i].slot, "feed") == 0);
	assert_non_null(strstr(status_written(), "\"feed\":5000"));
	reply_to(last_key(HA_PUT_KEY, "status"), HA_OUTCOME_DONE, false, now, 0);
	forget();
	/* the next leader shall know it, too; also while a copy that cannot be used is not yet gone */
	strcpy(add_slot("feed")->plugin, "pgoutput");
	postgres.slots[0].is_logical = postgres.slots[0].is_copying = true;
	postgres.flush_lsn += 1000;
	tell_postgres();
	tick(11000);
	assert_non_null(strstr(status_written(), "\"feed\":5000"));
	memset(&postgres.slots[--postgres.n_slots], 0, sizeof(HaSlot));
	tell_postgres();
	forget();

	/* people make it, and drop it: then it is made anew */
	strcpy(add_slot("feed")->plugin, "pgoutput");
	postgres.slots[postgres.n_slots - 1].is_logical = true;
	tell_postgres();
	tick(1000);
	postgres.n_slots--;
	memset(&postgres.slots[postgres.n_slots], 0, sizeof(HaSlot));
	tell_postgres();
	tick(20000);
	assert_string_equal(last(HA_CREATE_SLOT)->slot, "feed");

	/* one that is lost stays on the leader: its consumer has to be told */
	forget();
	strcpy(add_slot("feed")->plugin, "pgoutput");
	postgres.slots[postgres.n_slots - 1].is_logical = true;
	postgres.slots[postgres.n_slots - 1].is_lost = true;
	tell_postgres();
	tick(20000);
	assert_int_equal(count(HA_DROP_SLOT), 0);
}

/* What this member is doing is in the store. */
static void
publish(void)
{
	set_key("members/node1", last(HA_PUT_MEMBER)->text);
	reply(HA_PUT_MEMBER, HA_OUTCOME_DONE);
	forget();
	tell_view();
}

static void
start_published_follower(void)
{
	create(HA_HOME_WORKER);
	be_standby();
	set_key("leader", "node2");
	set_member("node2", ",\"role\":\"primary\"");
	tell_all();
	publish();					/* that it has no settings yet */
	publish();
	forget();
}

/*
 * While clients wait for a switchover nothing is written but what the switchover
 * needs: what a member is doing may wait a moment.
 */
static void
publishes_when_it_is_over(void **state)
{
	(void) state;
	/* a stream that ends, and one that comes back at once */
	start_published_follower();
	postgres.is_streaming = false;
	tell_postgres();
	tick(HA_PUBLISH_PAUSE_MS - 1);
	assert_int_equal(count(HA_PUT_MEMBER), 0);
	tick(1);
	assert_null(strstr(last(HA_PUT_MEMBER)->text, "streaming"));
	start_published_follower();
	postgres.is_streaming = false;
	tell_postgres();
	tick(100);
	postgres.is_streaming = true;
	tell_postgres();
	tick(HA_PUBLISH_PAUSE_MS);
	assert_int_equal(count(HA_PUT_MEMBER), 0);

	/* but what others decide by does not wait */
	start_published_follower();
	postgres.timeline = 2;
	tell_postgres();
	assert_int_equal(count(HA_PUT_MEMBER), 1);

	/* a promotion is told of when it is over, or takes long */
	start_published_follower();
	set_key("leader", NULL);
	tell_view();
	answers((Answer) {0});
	set_key("promotions", last(HA_ACQUIRE)->text);
	set_key("leader", "node1");
	reply_to(last(HA_ACQUIRE), HA_OUTCOME_DONE, false, now, revision);
	tell_view();
	last(HA_PROMOTE);
	postgres.is_streaming = false;
	tell_postgres();
	tick(HA_PUBLISH_PAUSE_MS - 1);
	assert_int_equal(count(HA_PUT_MEMBER), 0);
	postgres.is_in_recovery = postgres.is_standby_configured = false;
	postgres.timeline = 2;
	tell_postgres();
	assert_non_null(strstr(last(HA_PUT_MEMBER)->text, "\"role\":\"primary\""));
}

static int
n_status_puts(void)
{
	int			n = 0;

	for (int i = 0; i < n_seen; i++)
		n += seen[i].kind == HA_PUT_KEY && strcmp(seen[i].key, "status") == 0;
	return n;
}

/* One key for what moves within a second, not one for each place where it is seen. */
static void
publishes_positions_when_they_have_settled(void **state)
{
	(void) state;
	start_published_follower();
	tick(20000);
	tick(settings.loop_wait_ms - HA_SETTLE_MS / 2);
	forget();
	postgres.received_lsn += 8;
	tell_postgres();
	tick(HA_SETTLE_MS / 2);		/* it could be written now */
	assert_int_equal(count(HA_PUT_MEMBER), 0);
	postgres.replayed_lsn += 8;
	tell_postgres();
	tick(HA_SETTLE_MS / 2);
	assert_int_equal(count(HA_PUT_MEMBER), 1);
	assert_non_null(strstr(last(HA_PUT_MEMBER)->text, "\"replay_lsn\":83886088"));

	start_leader_writing_status();
	reply_to(last_key(HA_PUT_KEY, "status"), HA_OUTCOME_DONE, false, now, revision);
	tick(11000);
	forget();
	postgres.flush_lsn++;
	tell_postgres();
	tick(HA_SETTLE_MS - 1);
	assert_int_equal(n_status_puts(), 0);
	tick(1);
	assert_int_equal(n_status_puts(), 1);
}

/* The leader's position goes after the answer to a renewal, which it would make one of the past. */
static void
publishes_positions_after_a_renewal(void **state)
{
	(void) state;
	start_leader(HA_HOME_WORKER);
	reply_to(&(HaAction) {.request_id = node->pending[FOR_MEMBER].id}, HA_OUTCOME_DONE, false, now, 0);
	publish();
	postgres.write_lsn += 8;
	tell_postgres();
	tick(9999);
	assert_int_equal(count(HA_RENEW) + count(HA_PUT_MEMBER), 0);
	tick(1);					/* both are due */
	assert_int_equal(count(HA_RENEW), 1);
	assert_int_equal(count(HA_PUT_MEMBER), 0);
	tick(100);
	assert_int_equal(count(HA_PUT_MEMBER), 0);
	reply(HA_RENEW, HA_OUTCOME_DONE);
	assert_int_equal(count(HA_PUT_MEMBER), 1);
}

/* pg_rewind of another member needs it; but first clients come back. */
static void
new_primary_asks_for_a_checkpoint(void **state)
{
	(void) state;
	promote();
	forget();
	postgres.is_in_recovery = postgres.is_standby_configured = postgres.is_streaming = false;
	postgres.timeline = 2;
	postgres.checkpoint_timeline = 1;
	tell_postgres();
	expect_rule("lead");
	tick(HA_CHECKPOINT_PAUSE_MS - 1);
	assert_int_equal(count(HA_CHECKPOINT), 0);
	tick(1);
	assert_int_equal(count(HA_CHECKPOINT), 1);
	tick(HA_CHECKPOINT_PAUSE_MS);
	assert_int_equal(count(HA_CHECKPOINT), 1);
}

/* The leader tells where its slots stand, and of members that were there lately. */
static void
publishes_positions_of_slots(void **state)
{
	int			n_said = 0;

	(void) state;
	start_leader(HA_HOME_WORKER);
	use_slots(FEED, "");
	set_key("members/node3", NULL);
	tell_view();
	add_slot("node2");
	add_slot("node3")->restart_lsn = 500;
	add_slot("unknown");
	strcpy(add_slot("feed")->plugin, "pgoutput");
	postgres.slots[3].is_logical = true;
	postgres.slots[3].confirmed_lsn = 1200;
	tell_postgres();
	set_member("node3", "");
	tell_view();
	tick(1000);
	set_key("members/node3", NULL);
	tell_view();
	postgres.flush_lsn = 99000000;
	tell_postgres();
	tick(20000);
	assert_string_equal(status_written(),
						"{\"optime\":99000000,\"slots\":{\"feed\":1200,\"node1\":99000000,\"node2\":1000,"
						"\"node3\":500},\"retain_slots\":[\"node2\",\"node3\"]}");

	/* a consumer that is ahead is said, once */
	strcpy(postgres.slots[3].problem, "ahead");
	forget();
	for (int i = 0; i < 3; i++)
	{
		tell_postgres();
		tick(1000);
	}
	for (int i = 0; i < n_seen; i++)
		n_said += seen[i].kind == HA_LOG && strstr(seen[i].because, "\"feed\": ahead") != NULL;
	assert_int_equal(n_said, 1);
}

/* What an old request, or a home that was frozen, put in the place of the member's key does not stay. */
static void
member_key_is_written_again(void **state)
{
	const HaAction *put;
	char	   *text;

	(void) state;
	create(HA_HOME_WORKER);
	be_primary();
	set_key("leader", "node1");
	tell_all();
	confirm_lease();
	reply(HA_PUT_MEMBER, HA_OUTCOME_DONE);
	tick(11000);
	reply(HA_RENEW, HA_OUTCOME_DONE);
	put = last(HA_PUT_MEMBER);
	text = strdup(put->text);
	set_key("members/node1", text);
	reply_to(put, HA_OUTCOME_DONE, false, now, revision);
	tell_view();
	forget();
	tick(11000);
	reply(HA_RENEW, HA_OUTCOME_DONE);
	assert_int_equal(count(HA_PUT_MEMBER), 0);
	set_member("node1", ",\"role\":\"replica\"");
	tell_view();
	tick(11000);
	assert_string_equal(last(HA_PUT_MEMBER)->text, text);
	free(text);
}

/* The store does what was asked for last, and tells. */
static void
write_member_key(void)
{
	const HaAction *put = last(HA_PUT_MEMBER);

	set_key("members/node1", put->text);
	reply_to(put, HA_OUTCOME_DONE, false, now, revision);
	tell_view();
}

/* The member's key has a time of its own only while the store shows less WAL than there is. */
static void
wakes_for_the_member_key_when_wal_moves(void **state)
{
	(void) state;
	create(HA_HOME_WORKER);
	be_standby();
	set_key("leader", "node2");
	set_member("node2", ",\"role\":\"primary\"");
	tell_all();
	reply(HA_PUT_MEMBER, HA_OUTCOME_DONE);	/* that it starts */
	tick(6000);
	reply(HA_RENEW, HA_OUTCOME_DONE);
	tick(5000);
	write_member_key();
	tick(3000);
	postgres.has_pending_restart = true;
	tell_postgres();
	write_member_key();
	forget();
	tick(settings.loop_wait_ms - 3000);
	reply(HA_RENEW, HA_OUTCOME_DONE);
	assert_int_equal(last(HA_WAKE_AT)->deadline_ms, now + settings.loop_wait_ms);
	postgres.received_lsn += 1000;
	tell_postgres();
	assert_int_equal(last(HA_WAKE_AT)->deadline_ms, now + 3000);
	assert_int_equal(count(HA_PUT_MEMBER), 0);
	tick(3000);
	assert_int_equal(count(HA_PUT_MEMBER), 1);
}

/* With as much WAL, the standby leads whose logical slots can be used. */
static void
prefers_who_has_logical_slots(void **state)
{
	static const struct
	{
		const char *what;
		int			missing;
		bool		is_here;
		const char *problem;
		int			priority;
		bool		wins;
	}			table[] = {
		{"missing here and there", 1, false, "", 1, true},
		{"missing here", 0, false, "", 1, false},
		{"missing here, with a higher priority", 0, false, "", 2, true},
		{"not safe here", 0, true, "not yet", 1, false},
		{"missing there", 1, true, "", 1, true},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
	{
		start_follower(HA_HOME_WORKER);
		settings.tags.failover_priority = table[i].priority;
		use_slots(FEED, "");
		if (table[i].is_here)
		{
			HaSlot	   *slot = add_slot("feed");

			slot->is_logical = true;
			strcpy(slot->plugin, "pgoutput");
			strcpy(slot->problem, table[i].problem);
		}
		tell_postgres();
		set_key("leader", NULL);
		tell_view();
		answer_from("node2", (Answer) {.missing_slots = table[i].missing});
		answer_from("node3", (Answer) {.position = 16});
		if ((count(HA_ACQUIRE) == 1) != table[i].wins)
			fail_msg("%s: the rule is \"%s\"", table[i].what, ha_decision(node)->rule);
	}
}

/* Who streams from a member tagged nofailover needs a slot there, too. */
static void
makes_slots_in_spite_of_nofailover(void **state)
{
	(void) state;
	start_follower(HA_HOME_WORKER);
	settings.use_slots = true;
	settings.tags.nofailover = true;
	tell_settings();
	assert_int_equal(count(HA_CREATE_SLOT), 0);
	set_member("node3", ",\"tags\":{\"replicatefrom\":\"node1\"}");
	tell_view();
	assert_int_equal(count(HA_CREATE_SLOT), 1);
	assert_string_equal(last(HA_CREATE_SLOT)->slot, "node3");
	/* promoted by hand */
	start_leader(HA_HOME_WORKER);
	settings.use_slots = true;
	settings.tags.nofailover = true;
	tell_settings();
	assert_int_equal(count(HA_CREATE_SLOT), 2);
}

/* A former primary whose leader cannot be reached: the homes do not take turns for ever. */
static void
compares_again_after_a_pause(void **state)
{
	int			n_yields;

	(void) state;
	create(HA_HOME_WORKER);
	be_standby();
	postgres.is_former_primary = true;
	postgres.former_timeline = 2;
	set_key("leader", "node2");
	tell_all();
	n_yields = count(HA_YIELD);
	assert_true(n_yields > 0);
	/* the supervisor gave up at once; its view may be older */
	ha_clear_goal(node);
	tell_all();
	expect_rule("compare-later");
	assert_int_equal(count(HA_YIELD), n_yields);
	tick(1000);
	assert_true(count(HA_YIELD) > n_yields);
}

static int
count_said(void)
{
	int			n = 0;

	for (int i = 0; i < n_seen; i++)
		n += seen[i].kind == HA_LOG && seen[i].level > 0;
	return n;
}

static int
count_warnings(void)
{
	int			n = 0;

	for (int i = 0; i < n_seen; i++)
		n += seen[i].kind == HA_LOG && seen[i].level == 2;
	return n;
}

/* The same comparison each second. */
static void
compare_in_vain(int times)
{
	for (int i = 0; i < times; i++)
	{
		assert_int_equal(node->task, HA_TASK_CHECK_DIVERGENCE);
		end_task(HA_TASK_OK, HA_DIVERGENCE_UNKNOWN, 0);
		assert_int_equal(node->task_retry_ms, now + HA_TASK_RETRY_MIN_MS);
		tick(HA_TASK_RETRY_MIN_MS);
	}
}

/* As long as a comparison tells nothing, for the same reason, it is said once. */
static void
comparison_in_vain_is_said_once(void **state)
{
	int			n_said;

	(void) state;
	start_stopped_follower(HA_CONTROL_SHUTDOWNED);
	expect_rule("check-former-primary");
	compare_in_vain(3);
	assert_int_equal(count_warnings(), 1);
	n_said = count_said();
	compare_in_vain(20);
	assert_int_equal(count_warnings(), 1);
	assert_int_equal(count_said(), n_said);
	assert_int_equal(node->task_failures, 1);

	/* another reason */
	postgres.timeline = postgres.checkpoint_timeline = postgres.newest_timeline = 2;
	tell_postgres();
	end_task(HA_TASK_OK, HA_DIVERGENCE_REWIND, 0);
	assert_non_null(strstr(node->task_error, "not in the store yet"));
	assert_int_equal(count_warnings(), 2);
	tick(HA_TASK_RETRY_MIN_MS);

	/* another kind of failure, each time */
	end_task(HA_TASK_FAILED, 0, 0);
	assert_int_equal(count_warnings(), 3);
	tick(HA_TASK_RETRY_MAX_MS);
	end_task(HA_TASK_FAILED, 0, 0);
	assert_int_equal(count_warnings(), 4);
	tick(HA_TASK_RETRY_MAX_MS);
	compare_in_vain(2);
	assert_int_equal(count_warnings(), 5);

	/* and the end of it */
	n_said = count_said();
	end_task(HA_TASK_OK, HA_DIVERGENCE_CLONE, 0);
	assert_true(node->is_diverged);
	assert_true(count_said() > n_said);
	assert_int_equal(node->n_unclear, 0);
}

static void
outdated(void)
{
	start_follower(HA_HOME_WORKER);
	set_key("history", "[[1,83886080,\"no recovery target specified\"]]");
	set_key("leader", NULL);
	tell_view();
	assert_int_equal(count(HA_ACQUIRE) + count(HA_ASK_PEER), 0);
}

static void
asking(void)
{
	start_race();
	forget();
	tick(10);
	assert_int_equal(count(HA_ASK_PEER) + count(HA_ACQUIRE), 0);
	assert_int_equal(last(HA_WAKE_AT)->deadline_ms, now + 290);
}

static void
ask(void)
{
	start_race();
	assert_int_equal(count(HA_ASK_PEER), 2);
	assert_string_equal(last(HA_ASK_PEER)->url, "http://10.0.0.3:8008/patroni");
	assert_int_equal(last(HA_ASK_PEER)->timeout_ms, 300);
	assert_int_equal(count(HA_ACQUIRE), 0);
}

static void
primary_alive(void)
{
	start_race();
	answers((Answer) {.is_primary = true});
	assert_int_equal(count(HA_ACQUIRE), 0);
}

static void
candidate_first(void)
{
	start_follower(HA_HOME_WORKER);
	set_key("leader", NULL);
	request_failover("{\"leader\":\"node2\",\"member\":\"node3\"}");
	answer_from("node2", (Answer) {.is_silent = true});
	answer_from("node3", (Answer) {.position = END_OF_WAL - 100});
	assert_int_equal(count(HA_ACQUIRE), 0);
}

/* Nobody waits for a candidate that the key "sync" does not let lead. */
static void
nobody_waits_for_an_asynchronous_candidate(void **state)
{
	(void) state;
	candidate_first();
	be_synchronous(SYNC_PLAN_ON, "{\"leader\":\"node1\",\"quorum\":0,\"sync_standby\":\"node2\"}");
	tick(settings.loop_wait_ms);
	answer_from("node2", (Answer) {.is_silent = true});
	answer_from("node3", (Answer) {.position = END_OF_WAL - 100});
	assert_int_equal(count(HA_ACQUIRE), 1);
}

/* Nor for one that cannot get the votes: who is silent may still give its own. */
static void
nobody_waits_for_a_candidate_without_votes(void **state)
{
	(void) state;
	candidate_first();
	be_synchronous(SYNC_PLAN_QUORUM, "{\"leader\":\"node2\",\"quorum\":1,\"sync_standby\":\"node1,node3\"}");
	tick(settings.loop_wait_ms);
	answer_from("node2", (Answer) {.is_silent = true});
	answer_from("node3", (Answer) {.position = END_OF_WAL - 100});
	expect_rule("candidate-first");
	tick(settings.loop_wait_ms);
	answer_from("node2", (Answer) {.position = END_OF_WAL - 100});
	answer_from("node3", (Answer) {.position = END_OF_WAL - 100});
	expect_rule("candidate-first");
	tick(settings.loop_wait_ms);
	answer_from("node2", (Answer) {.position = END_OF_WAL - 99});
	answer_from("node3", (Answer) {.position = END_OF_WAL - 100});
	expect_rule("race-for-lease");
	/* an operator who asked for a failover gets it, votes or not */
	request_failover("{\"member\":\"node3\"}");
	expect_rule("candidate-first");
}

static void
race_for_lease(void)
{
	start_race();
	answers((Answer) {0});
	assert_string_equal(last(HA_ACQUIRE)->value, "node1");
}

static void
missed_writes(void)
{
	/* the first one up after a stop of the whole cluster has not all of it */
	start_follower(HA_HOME_WORKER);
	set_key("status", "{\"optime\":83886180}");	/* END_OF_WAL + 100 */
	set_key("leader", NULL);
	tell_view();
	answers((Answer) {.is_silent = true});
	tick(400);
	assert_int_equal(count(HA_ACQUIRE), 0);
	/* its key runs out: then it is gone, and this member is the best there is */
	set_key("members/node2", NULL);
	tell_view();
	tick(1000);
	answers((Answer) {.is_silent = true});
	tick(400);
	assert_int_equal(count(HA_ACQUIRE), 1);
	/* on an older timeline there is nothing to wait for */
	start_follower(HA_HOME_WORKER);
	postgres.timeline = postgres.newest_timeline = 2;
	tell_postgres();
	set_key("status", "{\"optime\":83886180}");
	set_key("leader", NULL);
	tell_view();
	answers((Answer) {.is_silent = true});
	tick(400);
	assert_int_equal(count(HA_ACQUIRE), 1);
	/* so that its case is the last decision */
	start_follower(HA_HOME_WORKER);
	set_key("status", "{\"optime\":83886180}");
	set_key("leader", NULL);
	tell_view();
	answers((Answer) {.is_silent = true});
	tick(400);
}

static void
better_placed(void)
{
	start_race();
	answers((Answer) {.position = END_OF_WAL + 1});
	assert_int_equal(count(HA_ACQUIRE), 0);
	assert_non_null(strstr(ha_decision(node)->because, "node2"));
}

/* --- one case a rule: follower --- */

static void
foreign_follower(void)
{
	create(HA_HOME_WORKER);
	be_standby();
	postgres.system_identifier = FOREIGN_ID;
	set_key("leader", "node2");
	tell_all();
	assert_string_equal(ha_goal_name(node), "refuse");
	last(HA_YIELD);
}

static void
primary_without_lease_paused(void)
{
	create(HA_HOME_WORKER);
	be_primary();
	settings.is_paused = true;
	set_key("leader", "node2");
	tell_all();
	assert_int_equal(count(HA_YIELD) + count(HA_START_TASK), 0);
}

static void
demote(void)
{
	create(HA_HOME_WORKER);
	be_primary();
	set_key("leader", "node2");
	tell_all();
	assert_int_equal(last(HA_FENCE)->deadline_ms, 0);
	last(HA_YIELD);
	assert_string_equal(ha_goal_name(node), "demote");
}

static void
promotion_lost(void)
{
	claim();
	tell_view();
	last(HA_PROMOTE);
	set_key("leader", "node3");
	forget();
	tell_view();
	assert_int_equal(last(HA_FENCE)->deadline_ms, 0);
	last(HA_YIELD);
}

/* A former primary that was started as a standby while the store was silent. */
static void
come_back_uncompared(const char *promotions, const char *leader)
{
	create(HA_HOME_SUPERVISOR);
	be_stopped(HA_CONTROL_SHUTDOWNED);
	postgres.timeline = postgres.checkpoint_timeline = postgres.newest_timeline = 2;
	tell_settings();
	tell_postgres();
	tell_reachable(false);
	tick(10000);
	assert_string_equal(expect_task(HA_TASK_START_STANDBY)->member, "");
	assert_true(last(HA_START_TASK)->is_former_primary);
	assert_int_equal(last(HA_START_TASK)->timeline, 2);
	be_standby();
	postgres.upstream_host[0] = '\0';
	postgres.timeline = postgres.checkpoint_timeline = postgres.newest_timeline = 2;
	tell_postgres();
	end_task(HA_TASK_OK, 0, 0);
	forget();
	set_key("leader", "node2");
	set_key("promotions", promotions);
	set_key("history", "[[1,1000,\"\"],[2,83886080,\"\"]]");
	set_member("node2", leader);
	tell_view();
	tell_reachable(true);
	assert_int_equal(count(HA_FOLLOW), 0);
	tick(1);
}

static void
compare_first(void)
{
	come_back_uncompared(NULL, ",\"timeline\":3");
	assert_int_equal(count(HA_FOLLOW), 0);
	/* back to the rule: the check is made, and is over */
	assert_string_equal(expect_task(HA_TASK_CHECK_DIVERGENCE)->member, "node2");
	end_task(HA_TASK_OK, HA_DIVERGENCE_NONE, 0);
	tick(200);
	assert_string_equal(last(HA_FOLLOW)->member, "node2");
	create(HA_HOME_WORKER);
	be_standby();
	postgres.is_former_primary = true;	/* by the mark: nobody handed on what it was */
	postgres.former_timeline = 2;
	set_key("leader", "node2");
	set_member("node2", "");
	tell_all();
	assert_int_equal(node->primary_timeline, 2);
}

static void
compare_later(void)
{
	come_back_uncompared(NULL, ",\"timeline\":3");
	end_task(HA_TASK_FAILED, 0, 0);
	assert_int_equal(count(HA_FOLLOW), 0);
	/* also when the worker drove meanwhile and died without a word: the mark tells */
	forget();
	assert_true(ha_node_load(node, NULL, now));
	postgres.is_former_primary = true;
	postgres.former_timeline = 2;
	tell_all();
	tick(1000);
	tell_view();
	assert_int_equal(count(HA_FOLLOW), 0);
	expect_task(HA_TASK_CHECK_DIVERGENCE);
	/* the worker's own memory of an earlier drive may be old */
	create(HA_HOME_WORKER);
	node->is_uncompared = true;
	assert_true(ha_node_load(node, NULL, now));
	assert_false(node->is_uncompared);
	postgres.is_former_primary = false;
	come_back_uncompared(NULL, ",\"timeline\":3");
	end_task(HA_TASK_FAILED, 0, 0);
	assert_int_equal(count(HA_FOLLOW), 0);
}

/*
 * Ids and positions fit, but both were promoted to the same timeline: by the
 * key "promotions", or because the leader is on it.
 */
static void
two_primaries_on_one_timeline_have_diverged(void **state)
{
	(void) state;
	come_back_uncompared("{\"2\":{\"name\":\"node3\",\"from\":1,\"lsn\":83886080}}", ",\"timeline\":3");
	expect_task(HA_TASK_CHECK_DIVERGENCE);
	end_task(HA_TASK_OK, HA_DIVERGENCE_NONE, 0);
	assert_int_equal(expect_task(HA_TASK_STOP)->stop_mode, HA_STOP_FAST);
	assert_true(node->has_rewind_failed);
	assert_int_equal(count(HA_FOLLOW), 0);

	come_back_uncompared(NULL, ",\"role\":\"primary\",\"timeline\":2");
	expect_task(HA_TASK_CHECK_DIVERGENCE);
	end_task(HA_TASK_OK, HA_DIVERGENCE_NONE, 0);
	expect_task(HA_TASK_STOP);

	/* so its key says, but it was written before the promotion was seen */
	come_back_uncompared("{\"3\":{\"name\":\"node2\",\"from\":2,\"lsn\":83886080}}",
						 ",\"role\":\"primary\",\"timeline\":2");
	expect_task(HA_TASK_CHECK_DIVERGENCE);
	end_task(HA_TASK_OK, HA_DIVERGENCE_NONE, END_OF_WAL);
	expect_rule("compare-later");

	/* the leader left that timeline further on than its primary here wrote */
	come_back_uncompared(NULL, ",\"timeline\":3");
	set_key("history", "[[1,1000,\"\"],[2,83886088,\"\"]]");
	tell_view();
	expect_task(HA_TASK_CHECK_DIVERGENCE);
	end_task(HA_TASK_OK, HA_DIVERGENCE_NONE, END_OF_WAL);
	expect_task(HA_TASK_STOP);
	assert_true(node->has_rewind_failed);

	/* where it left it is not known yet: ask again */
	come_back_uncompared(NULL, ",\"timeline\":3");
	set_key("history", "[[1,1000,\"\"]]");
	tell_view();
	expect_task(HA_TASK_CHECK_DIVERGENCE);
	end_task(HA_TASK_OK, HA_DIVERGENCE_NONE, END_OF_WAL);
	expect_rule("compare-later");

	/* the leader's key is older than its promotion: ask again */
	come_back_uncompared(NULL, ",\"timeline\":2");
	expect_task(HA_TASK_CHECK_DIVERGENCE);
	end_task(HA_TASK_OK, HA_DIVERGENCE_NONE, 0);
	expect_rule("compare-later");

	/* its own promotion */
	come_back_uncompared("{\"2\":{\"name\":\"node1\",\"from\":1,\"lsn\":83886080}}", ",\"timeline\":3");
	expect_task(HA_TASK_CHECK_DIVERGENCE);
	end_task(HA_TASK_OK, HA_DIVERGENCE_NONE, 0);
	tick(200);
	assert_string_equal(last(HA_FOLLOW)->member, "node2");
}

/* As much on that timeline as was written here, where nobody was to follow it. */
static void
as_much_as_its_primary_wrote(void **state)
{
	(void) state;
	for (int i = 0; i < 2; i++)
	{
		come_back_uncompared(NULL, ",\"timeline\":3");
		/* i == 1: this member led on it, and handed over */
		set_key("history", i == 0 ? "[[1,1000,\"\"],[2,83886080,\"\",\"\",\"node2\"]]" :
				"[[1,1000,\"\",\"\",\"node1\"],[2,83886080,\"\",\"\",\"node2\"]]");
		tell_view();
		expect_task(HA_TASK_CHECK_DIVERGENCE);
		end_task(HA_TASK_OK, HA_DIVERGENCE_NONE, END_OF_WAL);
		tick(200);
		if (i == 0)
			expect_task(HA_TASK_STOP);
		else
			assert_string_equal(last(HA_FOLLOW)->member, "node2");
		assert_int_equal(node->has_rewind_failed, i == 0);
	}
}

/* pg_rewind compares ids and positions, and takes one timeline id for one timeline. */
static void
rewind_that_would_be_fooled(void **state)
{
	(void) state;
	for (int i = 0; i < 4; i++)
	{
		come_back_uncompared("{\"2\":{\"name\":\"node3\",\"from\":1,\"lsn\":1000}}", ",\"timeline\":3");
		postgres.n_history = 1;
		postgres.history[0].timeline = 1;
		/* i == 1: they began at different positions, which pg_rewind sees */
		postgres.history[0].switch_lsn = i == 1 ? 900 : 1000;
		if (i == 2)
			set_key("promotions", "{\"2\":{\"name\":\"node1\",\"from\":1,\"lsn\":1000}}");
		tell_all();
		expect_task(HA_TASK_CHECK_DIVERGENCE);
		end_task(HA_TASK_OK, i == 3 ? HA_DIVERGENCE_CLONE : HA_DIVERGENCE_REWIND, END_OF_WAL);
		assert_true(node->is_diverged);
		assert_int_equal(node->has_rewind_failed, i == 0 || i == 3);
	}
}

/*
 * Who claimed the id, and led on it, meets a leader that may have it from a
 * member that a person had promoted to the same one, from the same position.
 */
static void
claimant_meets_a_successor_of_the_other(void **state)
{
	(void) state;
	for (int i = 0; i < 6; i++)
	{
		bool		is_rewind = i < 3;

		/* i % 3 == 1: that one began elsewhere, which is seen; 2: there was none */
		come_back_uncompared(i % 3 == 2 ? "{\"2\":{\"name\":\"node1\",\"from\":1,\"lsn\":1000}}" :
							 i % 3 == 1 ? "{\"2\":{\"name\":\"node1\",\"from\":1,\"lsn\":1000,\"also\":\"node3\",\"also_lsn\":900}}" :
							 "{\"2\":{\"name\":\"node1\",\"from\":1,\"lsn\":1000,\"also\":\"node3\",\"also_lsn\":1000}}",
							 ",\"role\":\"primary\",\"timeline\":3");
		postgres.n_history = 1;
		postgres.history[0].timeline = 1;
		postgres.history[0].switch_lsn = 1000;
		set_key("history", "[[1,1000,\"\",\"\",\"node1\"],[2,83886080,\"\",\"\",\"node2\"]]");
		tell_all();
		expect_task(HA_TASK_CHECK_DIVERGENCE);
		end_task(HA_TASK_OK, is_rewind ? HA_DIVERGENCE_REWIND : HA_DIVERGENCE_NONE, END_OF_WAL);
		assert_true(node->is_diverged == (is_rewind || i % 3 == 0));
		assert_int_equal(node->has_rewind_failed, i % 3 == 0);
	}
}

/*
 * Who was promoted by hand out of the store's sight does not know yet who else
 * has taken that id: its own record of it is the sign that it does.
 */
static void
rewind_waits_until_the_id_is_recorded(void **state)
{
	(void) state;
	come_back_uncompared(NULL, ",\"timeline\":1");
	set_key("history", NULL);
	postgres.n_history = 1;
	postgres.history[0].timeline = 1;
	postgres.history[0].switch_lsn = 1000;
	tell_all();
	expect_task(HA_TASK_CHECK_DIVERGENCE);
	end_task(HA_TASK_OK, HA_DIVERGENCE_REWIND, END_OF_WAL);
	assert_false(node->is_checked);
	set_key("promotions", last_key(HA_CREATE_KEY, "promotions")->text);
	tell_view();
	tick(HA_TASK_RETRY_MIN_MS);
	tick(HA_STREAM_LOST_MS);
	expect_task(HA_TASK_CHECK_DIVERGENCE);
	end_task(HA_TASK_OK, HA_DIVERGENCE_REWIND, END_OF_WAL);
	assert_true(node->is_checked && node->is_diverged && !node->has_rewind_failed);
}

/* A person promotes a member twice before it meets a leader: both of its timelines are its own. */
static void
rewind_after_two_promotions_by_hand(void **state)
{
	(void) state;
	for (int i = 0; i < 5; i++)
	{
		create(HA_HOME_SUPERVISOR);
		tell_settings();
		tell_reachable(false);
		for (uint32_t timeline = 2; timeline <= 3; timeline++)
		{
			be_standby();
			postgres.is_in_recovery = false;
			postgres.timeline = postgres.checkpoint_timeline = postgres.newest_timeline = timeline;
			postgres.n_history = (int) timeline - 1;
			postgres.history[timeline - 2].timeline = timeline - 1;
			postgres.history[timeline - 2].switch_lsn = 1000 * (timeline - 1);
			tell_postgres();
			be_stopped(HA_CONTROL_SHUTDOWNED);
			postgres.timeline = postgres.checkpoint_timeline = postgres.newest_timeline = timeline;
			tell_postgres();
			tick(10000);
			assert_true(expect_task(HA_TASK_START_STANDBY)->is_former_primary);
			assert_int_equal(last(HA_START_TASK)->timeline, 2);
			be_standby();
			postgres.timeline = postgres.checkpoint_timeline = postgres.newest_timeline = timeline;
			postgres.upstream_host[0] = '\0';
			tell_postgres();
			end_task(HA_TASK_OK, 0, 0);
			forget();
		}
		set_key("leader", "node2");
		set_key("history", i == 3 ? "[[1,900,\"\"],[4,5000,\"\"]]" : "[[1,1000,\"\"],[2,1500,\"\"],[4,5000,\"\"]]");
		/* i == 1: it was this member's own; 2: nobody's, but the leader was on it; 3: and was not; 4: imprecise */
		set_key("promotions", i == 0 ? "{\"2\":{\"name\":\"node3\",\"from\":1,\"lsn\":1000}}" :
				i == 1 ? "{\"2\":{\"name\":\"node1\",\"from\":1,\"lsn\":1000}}" :
				i == 4 ? "{\"2\":{\"name\":\"node3\",\"from\":1,\"lsn\":1016}}" :
				"{\"2\":{\"name\":\"\",\"from\":1,\"lsn\":1000}}");
		set_member("node2", ",\"timeline\":5,\"role\":\"primary\"");
		tell_view();
		tell_reachable(true);
		tick(1);
		expect_task(HA_TASK_CHECK_DIVERGENCE);
		end_task(HA_TASK_OK, HA_DIVERGENCE_REWIND, END_OF_WAL);
		assert_true(node->is_diverged);
		assert_int_equal(node->has_rewind_failed, i != 1 && i != 3);
	}
}

/* The leader was promoted by hand to the timeline that this standby has from its claimant. */
static void
standby_of_the_claimant_is_compared(void **state)
{
	(void) state;
	for (int i = 0; i < 3; i++)
	{
		create(HA_HOME_WORKER);
		be_standby();			/* it is set to follow node2 */
		postgres.timeline = postgres.newest_timeline = 2;
		set_key("leader", "node3");
		set_member("node3", ",\"role\":\"primary\",\"timeline\":2");
		set_key("promotions", i == 0 ? "{\"2\":{\"name\":\"node2\",\"from\":1,\"lsn\":1000}}" :
				"{\"2\":{\"name\":\"node3\",\"from\":1,\"lsn\":1000}}");
		if (i == 2)
		{
			set_key("leader", "node2");
			set_member("node2", ",\"role\":\"primary\",\"timeline\":2");
		}
		tell_all();
		if (i == 1)
		{
			assert_string_equal(last(HA_FOLLOW)->member, "node3");
			continue;
		}
		if (i == 2)
		{
			expect_rule("following");	/* it has it from this leader */
			continue;
		}
		expect_rule("compare-first");
		assert_int_equal(count(HA_FOLLOW), 0);
		/* the leader goes on to a timeline of its own: still not */
		set_member("node3", ",\"role\":\"primary\",\"timeline\":3");
		tell_view();
		assert_true(node->is_uncompared);
		assert_int_equal(node->primary_timeline, 2);
	}
}

/* The id of a member that is gone from the store, and one that a Patroni member may have got. */
static void
claims_no_id_that_was_seen(void **state)
{
	(void) state;
	for (int i = 0; i < 3; i++)
	{
		char	   *saved;

		start_follower(HA_HOME_WORKER);
		if (i == 0)
			set_member("node3", ",\"timeline\":4");
		else
			set_member("node2", "");	/* it got the key as a standby */
		tell_view();
		if (i == 2)
			set_member("node2", ",\"role\":\"primary\",\"timeline\":2");
		tell_view();
		assert_int_equal(node->seen_timeline, i == 0 ? 4 : 2);
		saved = ha_node_save(node);
		node->seen_timeline = 0;
		assert_true(ha_node_load(node, saved, now));
		free(saved);
		tell_all();
		forget();
		set_key("members/node3", NULL);
		set_key("members/node2", NULL);
		set_key("leader", NULL);
		tell_view();
		answers((Answer) {0});
		expect_rule("race-for-lease");
		set_key("leader", "node1");
		reply_to(last(HA_ACQUIRE), HA_OUTCOME_DONE, false, now, revision);
		tell_view();
		assert_non_null(strstr(last(HA_CREATE_KEY)->text, i == 0 ? "\"5\"" : "\"3\""));
	}
}

/* Nobody is left who knew: the mark on the data directory tells, also when it is stopped. */
static void
mark_tells_of_former_primary(void **state)
{
	const HaAction *action;

	(void) state;
	create(HA_HOME_SUPERVISOR);
	be_stopped(HA_CONTROL_IN_ARCHIVE_RECOVERY);
	postgres.is_standby_configured = true;
	postgres.is_former_primary = true;
	postgres.former_timeline = 2;
	set_key("leader", "node2");
	set_member("node2", ",\"timeline\":3");
	tell_all();
	action = expect_task(HA_TASK_START_STANDBY);
	assert_string_equal(action->member, "");
	assert_true(action->is_former_primary);
	assert_int_equal(action->timeline, 2);

	/* without it */
	create(HA_HOME_SUPERVISOR);
	be_stopped(HA_CONTROL_IN_ARCHIVE_RECOVERY);
	postgres.is_standby_configured = true;
	set_key("leader", "node2");
	set_member("node2", ",\"timeline\":3");
	tell_all();
	action = expect_task(HA_TASK_START_STANDBY);
	assert_string_equal(action->member, "node2");
	assert_false(action->is_former_primary);
}

/* A standby of a server that was promoted by hand, on an id that the leader got as well. */
static void
standby_of_another_history_is_compared(void **state)
{
	(void) state;
	for (int i = 0; i < 3; i++)
	{
		create(i == 2 ? HA_HOME_SUPERVISOR : HA_HOME_WORKER);
		be_standby();
		if (i == 2)
		{
			be_stopped(HA_CONTROL_SHUTDOWNED_IN_RECOVERY);
			postgres.is_standby_configured = true;
		}
		postgres.timeline = postgres.newest_timeline = 2;
		postgres.n_history = 1;
		postgres.history[0].timeline = 1;
		postgres.history[0].switch_lsn = 1000;
		set_key("leader", "node3");
		set_member("node3", ",\"timeline\":2");
		set_key("history", i == 1 ? "[[1,1000,\"\"]]" : "[[1,900,\"\"]]");
		tell_all();
		if (i == 0)
		{
			expect_rule("compare-first");
			assert_int_equal(count(HA_FOLLOW), 0);
			last(HA_YIELD);
		}
		else if (i == 1)
			assert_string_equal(last(HA_FOLLOW)->member, "node3");
		else
			assert_string_equal(expect_task(HA_TASK_START_STANDBY)->member, "");
	}

	/* it is asked once: the servers know better than the key in the store */
	be_standby();
	postgres.upstream_host[0] = '\0';
	tell_postgres();
	end_task(HA_TASK_OK, 0, 0);
	tick(1);
	expect_task(HA_TASK_CHECK_DIVERGENCE);
	end_task(HA_TASK_OK, HA_DIVERGENCE_NONE, 0);
	tick(200);
	assert_string_equal(last(HA_FOLLOW)->member, "node3");
}

/*
 * Promoted by hand to an id that another member had claimed, and stopped again:
 * whoever got to lead with that WAL would look to the other one as its successor.
 */
static void
twin_does_not_lead(void **state)
{
	HaPostgres	copy;

	(void) state;
	for (int i = 0; i < 2; i++)
	{
		create(HA_HOME_SUPERVISOR);
		be_standby();
		postgres.timeline = 2;
		postgres.is_former_primary = true;
		postgres.former_timeline = 2;
		set_key("leader", NULL);
		set_key("history", "[[1,1000,\"\"]]");
		set_key("promotions", i == 0 ? "{\"2\":{\"name\":\"node3\",\"from\":1,\"lsn\":1000}}" :
				"{\"2\":{\"name\":\"node1\",\"from\":1,\"lsn\":1000}}");
		tell_all();
		expect_rule(i == 0 ? "outdated" : "ask");
		copy = postgres;
		assert_true(ha_is_outranked(&node->view, "node1", &copy, 1000) == (i == 0));
		copy.is_former_primary = false;
		assert_false(ha_is_outranked(&node->view, "node1", &copy, 1000));
	}
}

/* One that was shut down as a primary: no more came after its checkpoint, and nobody was to follow it. */
static void
shut_down_twin_has_diverged(void **state)
{
	(void) state;
	for (int i = 0; i < 2; i++)
	{
		create(HA_HOME_SUPERVISOR);
		be_stopped(HA_CONTROL_SHUTDOWNED);
		postgres.timeline = postgres.checkpoint_timeline = postgres.newest_timeline = 2;
		set_key("leader", "node2");
		set_member("node2", ",\"role\":\"primary\",\"timeline\":3");
		set_key("history", "[[1,1000,\"\"],[2,2000,\"\",\"\",\"node2\"]]");
		tell_all();
		expect_task(HA_TASK_CHECK_DIVERGENCE);
		end_task(HA_TASK_OK, HA_DIVERGENCE_NONE, i == 0 ? 2000 : 2100);
		assert_true(node->is_diverged == (i == 0));
	}
}

/* What was compared as a standby says nothing of what it wrote as a primary since. */
static void
comparison_ends_with_promotion(void **state)
{
	(void) state;
	for (int i = 0; i < 2; i++)
	{
		come_back_uncompared(NULL, ",\"timeline\":3");
		expect_task(HA_TASK_CHECK_DIVERGENCE);
		end_task(HA_TASK_OK, HA_DIVERGENCE_NONE, 0);
		assert_true(node->is_checked);
		forget();
		if (i == 0)
		{
			be_primary();
			tell_postgres();
			assert_false(node->is_checked);
			continue;
		}
		/* promoted and shut down before anybody saw it */
		be_stopped(HA_CONTROL_SHUTDOWNED);
		postgres.is_standby_configured = false;
		tell_postgres();
		tick(1);
		expect_task(HA_TASK_CHECK_DIVERGENCE);
	}
}

/* The other home must know, too. */
static void
uncompared_is_handed_on(void **state)
{
	char	   *saved;

	(void) state;
	come_back_uncompared(NULL, ",\"timeline\":3");
	saved = ha_node_save(node);
	create(HA_HOME_WORKER);
	assert_true(ha_node_load(node, saved, now));
	free(saved);
	assert_true(node->is_uncompared);
	assert_int_equal(node->primary_timeline, 2);
}

/* Whoever is about to be promoted is followed when it is a primary, or soon. */
static void
follow_promoted(void)
{
	/* a leader that was there when this member came may be a standby for long */
	create(HA_HOME_WORKER);
	be_standby();
	set_key("leader", "node3");
	tell_all();
	assert_string_equal(last(HA_FOLLOW)->member, "node3");

	/* a cascading standby goes on with its own upstream */
	start_follower(HA_HOME_WORKER);
	snprintf(settings.tags.replicatefrom, sizeof(settings.tags.replicatefrom), "node2");
	tell_settings();
	set_key("leader", "node3");
	tell_view();
	expect_rule("following");

	/* not for ever */
	start_follower(HA_HOME_WORKER);
	set_key("leader", "node3");
	tell_view();
	tick(HA_TAKER_WAIT_MS - 1);
	assert_int_equal(count(HA_FOLLOW), 0);
	tick(1);
	assert_string_equal(last(HA_FOLLOW)->member, "node3");

	start_follower(HA_HOME_WORKER);
	set_key("leader", "node3");
	tell_view();
	expect_rule("follow-promoted");
	set_member("node3", ",\"role\":\"primary\"");
	tell_view();
	assert_string_equal(last(HA_FOLLOW)->member, "node3");

	start_follower(HA_HOME_WORKER);
	set_key("leader", "node3");
	tell_view();
	assert_int_equal(count(HA_FOLLOW), 0);
}

static void
follow(void)
{
	start_follower(HA_HOME_WORKER);
	node->repair_next_ms = now + HA_REPAIR_MAX_MS;
	set_member("node3", ",\"role\":\"primary\"");
	set_key("leader", "node3");
	tell_view();
	/* the pause between repairs was about the old leader */
	assert_int_equal(node->repair_next_ms, now);
	assert_string_equal(last(HA_FOLLOW)->member, "node3");
	assert_string_equal(last(HA_FOLLOW)->url, "postgres://10.0.0.3:5432/postgres");
}

static void
resume_replay(void)
{
	start_follower(HA_HOME_WORKER);
	postgres.is_replay_paused = true;
	tell_postgres();
	last(HA_RESUME_REPLAY);
}

static void
repair(void)
{
	start_follower(HA_HOME_WORKER);
	postgres.is_streaming = false;
	tell_postgres();
	expect_rule("following");
	assert_int_equal(last(HA_WAKE_AT)->deadline_ms, now + HA_STREAM_LOST_MS);
	tick(HA_STREAM_LOST_MS);
	assert_string_equal(ha_goal_name(node), "repair");
	last(HA_YIELD);
	/* at once, and before it follows, where the leader left the timeline before its WAL ends */
	start_follower(HA_HOME_WORKER);
	postgres.is_streaming = false;
	postgres.received_lsn = postgres.replayed_lsn = 2000;
	tell_postgres();
	set_member("node3", ",\"role\":\"primary\"");
	set_key("leader", "node3");
	set_key("history", "[[1,2000,\"no recovery target specified\",\"\",\"node3\"]]");
	tell_view();
	assert_string_equal(last(HA_FOLLOW)->member, "node3");
	postgres.received_lsn = 2001;
	forget();
	tell_postgres();
	assert_int_equal(count(HA_FOLLOW), 0);
	assert_string_equal(ha_goal_name(node), "repair");
	/* but not again and again: what the store says may be old */
	ha_clear_goal(node);
	tick(200);
	expect_rule("follow");
	tick(HA_STREAM_LOST_MS);
	expect_rule("repair");
}

/* The timeline that the server is after was given up: it looks for another when it starts. */
static void
restarts_a_standby_that_is_off_course(void **state)
{
	(void) state;
	/* the same timeline: something else is wrong; a newer one; the leader is silent at first */
	for (int story = 0; story < 3; story++)
	{
		int			n_silent = story == 2 ? HA_OFF_COURSE_REPAIRS + 1 : 0;

		start_follower(HA_HOME_SUPERVISOR);
		set_member("node2", story == 0 ? ",\"role\":\"primary\"" :
				   ",\"role\":\"primary\",\"timeline\":2");
		tell_view();
		postgres.is_streaming = false;
		tell_postgres();
		for (int i = 1; i <= n_silent + (story == 2 ? 1 : HA_OFF_COURSE_REPAIRS); i++)
		{
			assert_string_equal(ha_goal_name(node), "");
			tick(HA_STREAM_LOST_MS << (i - 1));
			tick(1);
			expect_task(HA_TASK_CHECK_DIVERGENCE);
			end_task(i <= n_silent ? HA_TASK_FAILED : HA_TASK_OK, HA_DIVERGENCE_NONE, 0);
		}
		assert_string_equal(ha_goal_name(node), story == 0 ? "" : "restart");
	}
	tick(1);
	expect_task(HA_TASK_STOP);
	be_stopped(HA_CONTROL_SHUTDOWNED_IN_RECOVERY);
	tell_postgres();
	end_task(HA_TASK_OK, 0, 0);
	assert_string_equal(expect_task(HA_TASK_START_STANDBY)->member, "node2");
	be_standby();
	tell_postgres();
	end_task(HA_TASK_OK, 0, 0);
	assert_string_equal(ha_goal_name(node), "");
}

static void
following(void)
{
	start_follower(HA_HOME_WORKER);
	tick(1);
	assert_non_null(strstr(ha_decision(node)->because, "node2"));
}

/* --- one case a rule: failsafe mode --- */

/* All of the three, as the leader writes it. */
static void
set_failsafe_key(void)
{
	set_key("failsafe", "{\"node1\":\"http://10.0.0.1:8008/patroni\","
			"\"node2\":\"http://10.0.0.2:8008/patroni\",\"node3\":\"http://10.0.0.3:8008/patroni\"}");
}

/* node2 asks for our promise. */
static void
give_promise(void)
{
	settings.failsafe_mode = true;
	tell_settings();
	give((HaCommand) {.id = 9, .kind = HA_COMMAND_FAILSAFE, .leader = "node2", .member = "node1",
		.timeout_ms = settings.ttl_ms});
	assert_true(last(HA_ANSWER)->ok);
	assert_string_equal(last(HA_ANSWER)->text, "Accepted");
	assert_true(last(HA_PROMISE)->deadline_ms == now + 31500);
	assert_true(position_of(HA_PROMISE) < position_of(HA_ANSWER));
}

static void
promised(void)
{
	start_follower(HA_HOME_WORKER);
	give_promise();
	set_key("leader", NULL);
	request_failover("{\"member\":\"node1\"}");	/* not even then */
	expect_rule("promised");
	assert_int_equal(count(HA_ACQUIRE), 0);
	tick(31499);
	assert_int_equal(count(HA_ACQUIRE), 0);
	tick(1);
	expect_rule("named");
	set_key("failover", NULL);
	create(HA_HOME_WORKER);
	start_follower(HA_HOME_WORKER);
	give_promise();
	set_key("leader", NULL);
	tell_view();
}

static void
not_listed(void)
{
	start_follower(HA_HOME_WORKER);
	set_key("failsafe", "{\"node2\":\"http://10.0.0.2:8008/patroni\"}");
	set_key("leader", NULL);
	tell_view();			/* failsafe_mode is off, as far as this member knows */
	assert_int_equal(count(HA_ASK_PEER) + count(HA_ACQUIRE), 0);
}

/* A request for the lease was carried out after the promise. */
static void
promise_binds(void)
{
	start_follower(HA_HOME_WORKER);
	give_promise();
	set_key("leader", "node1");
	tell_view();
	assert_string_equal(last(HA_RELEASE)->value, "node1");
	assert_int_equal(count(HA_PROMOTE), 0);
}

static void
promise_binds_stopped(void)
{
	create(HA_HOME_SUPERVISOR);
	be_stopped(HA_CONTROL_SHUTDOWNED);
	settings.failsafe_mode = true;
	set_key("leader", "node2");
	tell_all();
	give_promise();
	set_key("leader", "node1");
	node->task = HA_TASK_NONE;
	tell_view();
	confirm_lease();
	assert_string_equal(last(HA_RELEASE)->value, "node1");
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

/* A leader whose key names all three, written under its lease. */
static void
start_failsafe_leader(void)
{
	start_leader(HA_HOME_WORKER);
	settings.failsafe_mode = true;
	tell_settings();
	set_failsafe_key();
	reply_to(last_key(HA_CREATE_KEY, "failsafe"), HA_OUTCOME_DONE, false, now, revision);
	tell_view();
	tell_reachable(false);
	tick(10001);
	assert_int_equal(count(HA_ASK_CONSENT), 2);
}

static void
outage_failsafe(void)
{
	start_failsafe_leader();
	vote("node2", true, "");
	expect_rule("outage-lease-runs");
	vote("node3", true, "");
	assert_true(last(HA_FENCE)->deadline_ms == now + 28500);
	tick(10000);
	assert_int_equal(count(HA_ASK_CONSENT), 4);
}

/* --- a server that hangs --- */

static void
hang(const char *what)
{
	memset(postgres.hang, 0, sizeof(postgres.hang));
	snprintf(postgres.hang, sizeof(postgres.hang), "%s", what);
	tell_postgres();
}

static void
hangs_asking(void)
{
	start_leader(HA_HOME_WORKER);
	reply_to(&(HaAction) {.request_id = node->pending[FOR_MEMBER].id}, HA_OUTCOME_DONE, false, now, 0);
	hang("it was measured");
	assert_int_equal(count(HA_ASK_PEER), 2);
	assert_int_equal(count(HA_RELEASE), 0);
	assert_true(strstr(ha_decision(node)->because, "it was measured") != NULL);
	/* the member key says so, too */
	if (strstr(last(HA_PUT_MEMBER)->text, "measured") == NULL)
		reply(HA_PUT_MEMBER, HA_OUTCOME_DONE);
	assert_non_null(strstr(last(HA_PUT_MEMBER)->text, "\"hang\":\"it was measured\""));
}

static void
hangs_alone(void)
{
	/* nobody can: it leads on, keeps the lease, and asks again */
	hangs_asking();
	answer_from("node2", (Answer) {.cannot_lead = true});
	answer_from("node3", (Answer) {.position = END_OF_WAL - 2000000});
	expect_rule("hangs-alone");
	assert_int_equal(count(HA_RELEASE), 0);
	forget();
	tick(HA_HANG_ASK_MS - 1);
	assert_int_equal(count(HA_ASK_PEER), 0);
	tick(1);
	assert_int_equal(count(HA_ASK_PEER), 2);
	expect_rule("hangs-alone");
	/* answers of another timeline, of a primary and of silence are of no use either */
	answer_from("node2", (Answer) {.timeline = 2});
	answer_from("node3", (Answer) {.is_silent = true});
	expect_rule("hangs-alone");
	/* it is well again */
	hang("");
	expect_rule("lead");
	assert_int_equal(count(HA_RELEASE), 0);

	/* others that may not lead are not even asked */
	start_leader(HA_HOME_WORKER);
	set_member("node2", ",\"tags\":{\"nofailover\":true}");
	set_member("node3", ",\"hang\":\"so does this one\"");
	tell_view();
	hang("it was measured");
	assert_int_equal(count(HA_ASK_PEER), 0);

	/* in synchronous mode it has to be one of the key */
	start_leader(HA_HOME_WORKER);
	be_synchronous(SYNC_PLAN_ON, "{\"leader\":\"node1\",\"sync_standby\":\"node3\"}");
	hang("it was measured");
	answer_from("node2", (Answer) {0});
	answer_from("node3", (Answer) {.cannot_lead = true});
	expect_rule("hangs-alone");
}

static void
hangs_replaced(void)
{
	int			fence;

	hangs_asking();
	answer_from("node2", (Answer) {.cannot_lead = true});
	answer_from("node3", (Answer) {.position = END_OF_WAL - 1000});
	assert_string_equal(last(HA_RELEASE)->value, "node1");
	assert_true(strstr(last(HA_RELEASE)->because, "it was measured") != NULL);
	fence = position_of(HA_FENCE);
	assert_int_equal(seen[fence].deadline_ms, 0);
	assert_true(fence < position_of(HA_RELEASE));
	assert_int_equal(count(HA_ACQUIRE), 0);
}

static void
hangs_demoted(void)
{
	/* not taken back, however long nobody takes it */
	hangs_replaced();
	set_key("leader", NULL);
	reply(HA_RELEASE, HA_OUTCOME_DONE);
	assert_int_equal(count(HA_ACQUIRE), 0);
	assert_string_equal(ha_goal_name(node), "demote");
	last(HA_YIELD);
	expect_rule("hangs-demoted");
}

static void
stop_hanging(void)
{
	hangs_demoted();
	swap_home(HA_HOME_SUPERVISOR);
	forget();
	tick(100);
	assert_int_equal(count(HA_ACQUIRE), 0);
	expect_rule("task-running");

	/* another one was faster */
	hangs_demoted();
	set_key("leader", "node3");
	forget();
	swap_home(HA_HOME_SUPERVISOR);
	assert_int_equal(expect_task(HA_TASK_STOP)->stop_mode, HA_STOP_IMMEDIATE);

	hangs_demoted();
	forget();
	swap_home(HA_HOME_SUPERVISOR);
	assert_int_equal(expect_task(HA_TASK_STOP)->stop_mode, HA_STOP_IMMEDIATE);
	forget();
	node->task = HA_TASK_NONE;
	tick(1);
	expect_rule("stop-hanging");
}

static void
hangs_paused(void **state)
{
	(void) state;
	start_leader(HA_HOME_WORKER);
	pause_cluster(true);
	hang("it was measured");
	expect_rule("lead");
	assert_int_equal(count(HA_ASK_PEER), 0);
	assert_int_equal(count(HA_RELEASE), 0);
}

static void
hangs_unpromoted(void)
{
	start_race();
	answers((Answer) {0});
	reply_to(last(HA_ACQUIRE), HA_OUTCOME_DONE, false, now, ++revision);
	hang("it was measured");
	assert_string_equal(last(HA_RELEASE)->value, "node1");
	assert_int_equal(count(HA_PROMOTE), 0);
}

static void
hangs_in_race(void)
{
	start_follower(HA_HOME_WORKER);
	hang("it was measured");
	expect_rule("following");
	set_key("leader", NULL);
	tell_view();
	expect_rule("hangs");
	tick(60000);
	assert_int_equal(count(HA_ACQUIRE), 0);
	/* nobody else is there: it tries */
	set_member("node2", ",\"state\":\"stopped\"");
	set_member("node3", ",\"hang\":\"so does this one\"");
	tell_view();
	expect_rule("ask");
	set_member("node3", "");
	tell_view();
	expect_rule("hangs");
}

static void
hangs_down(void)
{
	create(HA_HOME_SUPERVISOR);
	be_stopped(HA_CONTROL_IN_PRODUCTION);
	snprintf(postgres.hang, sizeof(postgres.hang), "it was measured");
	set_key("leader", "node1");
	tell_all();
	confirm_lease();
	last(HA_RELEASE);
	assert_int_equal(count(HA_START_TASK), 0);

	/* found out while a start hangs in it */
	start_stopped_leader(HA_CONTROL_SHUTDOWNED);
	expect_task(HA_TASK_START_PRIMARY);
	hang("it was measured");
	last(HA_RELEASE);
}

static void
hangs_stopped(void)
{
	create(HA_HOME_SUPERVISOR);
	be_stopped(HA_CONTROL_IN_PRODUCTION);
	snprintf(postgres.hang, sizeof(postgres.hang), "it was measured");
	set_key("leader", "node2");
	set_member("node2", ",\"role\":\"primary\"");
	tell_all();
	tick(60000);
	assert_int_equal(count(HA_START_TASK), 0);
	expect_rule("hangs-stopped");
	hang("");
	assert_int_equal(count(HA_START_TASK), 1);
	hang("it was measured");
	end_task(HA_TASK_FAILED, 0, 0);
	tick(60000);
	assert_int_equal(count(HA_START_TASK), 1);
}

static void
hangs_starting(void)
{
	start_stopped_leader(HA_CONTROL_SHUTDOWNED);
	expect_task(HA_TASK_START_PRIMARY);
	postgres.server = HA_SERVER_STARTING;
	hang("it was measured");
	last(HA_CANCEL_TASK);
	end_task(HA_TASK_CANCELLED, 0, 0);
	assert_int_equal(expect_task(HA_TASK_STOP)->stop_mode, HA_STOP_IMMEDIATE);
	forget();
	node->task = HA_TASK_NONE;
	tick(1);
}

static void
hangs_stopping(void)
{
	start_leader(HA_HOME_SUPERVISOR);
	give((HaCommand) {.kind = HA_COMMAND_RESTART});
	expect_task(HA_TASK_STOP);
	postgres.server = HA_SERVER_STOPPING;
	tell_postgres();
	assert_int_equal(count(HA_RELEASE), 0);
	hang("it was measured");
	last(HA_RELEASE);
	assert_int_equal(seen[position_of(HA_FENCE)].deadline_ms, 0);
}

/* --- one case a rule: outage --- */

static void
outage_paused(void)
{
	start_leader(HA_HOME_WORKER);
	pause_cluster(true);
	tell_reachable(false);
	tick(100000);
	assert_int_equal(last(HA_FENCE)->deadline_ms, HA_DEADLINE_NEVER);
	assert_int_equal(count(HA_YIELD), 0);
}

static void
outage_standby(void)
{
	start_follower(HA_HOME_WORKER);
	tell_reachable(false);
	tick(100000);
	assert_int_equal(count(HA_YIELD) + count(HA_ACQUIRE), 0);
}

static void
outage_lease_runs(void)
{
	start_leader(HA_HOME_WORKER);
	tell_reachable(false);
	tick(28499);
	assert_int_equal(count(HA_YIELD), 0);
}

static void
outage_fenced(void)
{
	start_leader(HA_HOME_WORKER);
	tell_reachable(false);
	tick(28500);
	assert_int_equal(count(HA_YIELD), 0);
	assert_int_equal(last(HA_WAKE_AT)->deadline_ms, now + settings.retry_timeout_ms);
}

static void
demote_offline(void)
{
	start_leader(HA_HOME_WORKER);
	tell_reachable(false);
	tick(38500);
	last(HA_YIELD);
	assert_string_equal(ha_goal_name(node), "demote");
}

static const struct
{
	const char *rule;
	void		(*play) (void);
}			cases[] = {
	{"look-first", look_first},
	{"refuse", refuse},
	{"task-running", task_running},
	{"stop-for-shutdown", stop_for_shutdown},
	{"leave-running", leave_running},
	{"stop-for-switchover", stop_for_switchover},
	{"stop-for-restart", stop_for_restart},
	{"stop-for-reinit", stop_for_reinit},
	{"stop-for-demotion", stop_for_demotion},
	{"stop-fenced", stop_fenced},
	{"stop-for-rewind", stop_for_rewind},
	{"check-stream", check_stream},
	{"post-bootstrap", post_bootstrap},
	{"bootstrap-lease", bootstrap_lease},
	{"bootstrap-wait", bootstrap_wait},
	{"start-too-slow", start_too_slow},
	{"hangs-stopping", hangs_stopping},
	{"hangs-down", hangs_down},
	{"stop-hanging", stop_hanging},
	{"hangs-starting", hangs_starting},
	{"hangs-stopped", hangs_stopped},
	{"hangs-replaced", hangs_replaced},
	{"hangs-asking", hangs_asking},
	{"hangs-alone", hangs_alone},
	{"hangs-unpromoted", hangs_unpromoted},
	{"hangs-demoted", hangs_demoted},
	{"hangs", hangs_in_race},
	{"stop-while-starting", stop_while_starting},
	{"demote-while-starting", demote_while_starting},
	{"starting", starting},
	{"stopping", stopping},
	{"shutdown-confirm", shutdown_confirm},
	{"shutdown-done", shutdown_done},
	{"data-unreadable", data_unreadable},
	{"wait-for-data", wait_for_data},
	{"foreign-leader", foreign_leader},
	{"foreign-cluster", foreign_cluster},
	{"empty-leader", empty_leader},
	{"empty-paused", empty_paused},
	{"empty-outage", empty_outage},
	{"task-pause", task_pause},
	{"initdb", initdb},
	{"clone", clone_leader},
	{"claim-bootstrap", claim_bootstrap},
	{"wait-for-leader", wait_for_leader},
	{"start-bootstrapped", start_bootstrapped},
	{"promise-binds-stopped", promise_binds_stopped},
	{"handover-confirm-early", handover_confirm_early},
	{"hand-over-early", hand_over_early},
	{"handover-confirm", handover_confirm},
	{"hand-over", hand_over},
	{"handover-failed", handover_failed},
	{"follow-successor", follow_successor},
	{"wait-for-taker", wait_for_taker},
	{"follow-taker", follow_taker},
	{"release-for-reinit", release_for_reinit},
	{"remove-for-reinit", remove_for_reinit},
	{"reinit-wait", reinit_wait},
	{"restart-leader", restart_leader},
	{"restart-paused-primary", restart_paused_primary},
	{"restart-standby", restart_standby},
	{"paused-leader-stopped", paused_leader_stopped},
	{"paused-stopped", paused_stopped},
	{"confirm-lease", confirm_lease_first},
	{"outdated-leader-stopped", outdated_leader_stopped},
	{"diverged-outage", diverged_outage},
	{"start-outage", start_outage},
	{"start-failed", start_failed},
	{"crashed-lossless", crashed_lossless},
	{"crashed-no-restart", crashed_no_restart},
	{"crashed-find-end", crashed_find_end},
	{"crashed-ask", crashed_ask},
	{"restart-in-place", restart_in_place},
	{"start-with-lease", start_with_lease},
	{"rewind-after-checkpoint", rewind_after_checkpoint},
	{"rewind", pg_rewind},
	{"remove-diverged", remove_diverged},
	{"diverged", diverged},
	{"recover-crashed", recover_crashed},
	{"check-former-primary", check_former_primary},
	{"check-failed-start", check_failed_start},
	{"diverged-leaderless", diverged_leaderless},
	{"start-standby", start_standby},
	{"nothing-to-do", nothing_to_do},
	{"promise-binds", promise_binds},
	{"confirming-lease", confirming_lease},
	{"foreign-leader-running", foreign_leader_running},
	{"outdated-leader", outdated_leader},
	{"switchover", switchover},
	{"lead", lead},
	{"paused-unseen", paused_unseen},
	{"paused-not-primary", paused_not_primary},
	{"promoting", promoting},
	{"outdated-standby", outdated_standby},
	{"nofailover-leader", nofailover_leader},
	{"claim-timeline", claim_timeline},
	{"sync-key-changed", sync_key_changed},
	{"sync-first", sync_first},
	{"cannot-mark", cannot_mark},
	{"gives-way", gives_way},
	{"mark-timelines", mark_timelines},
	{"promote", promote},
	{"foreign-running", foreign_running},
	{"demote-outdated", demote_outdated},
	{"outdated-paused", outdated_paused},
	{"promised", promised},
	{"not-listed", not_listed},
	{"retake-lease", retake_lease},
	{"promoting-without-lease", promoting_without_lease},
	{"unseen", unseen},
	{"promotion-denied", promotion_denied},
	{"named", named},
	{"named-asking", named_asking},
	{"named-ask", named_ask},
	{"not-synchronous", not_synchronous},
	{"paused", paused_race},
	{"nofailover", nofailover},
	{"lagging", lagging},
	{"outdated", outdated},
	{"asking", asking},
	{"ask", ask},
	{"primary-alive", primary_alive},
	{"candidate-first", candidate_first},
	{"missed-writes", missed_writes},
	{"race-for-lease", race_for_lease},
	{"better-placed", better_placed},
	{"foreign-follower", foreign_follower},
	{"primary-without-lease-paused", primary_without_lease_paused},
	{"demote", demote},
	{"promotion-lost", promotion_lost},
	{"compare-first", compare_first},
	{"compare-later", compare_later},
	{"follow-promoted", follow_promoted},
	{"follow", follow},
	{"resume-replay", resume_replay},
	{"repair", repair},
	{"following", following},
	{"outage-paused", outage_paused},
	{"outage-failsafe", outage_failsafe},
	{"outage-standby", outage_standby},
	{"outage-lease-runs", outage_lease_runs},
	{"outage-fenced", outage_fenced},
	{"demote-offline", demote_offline},
};

static void
every_rule_decides(void **state)
{
	HaRuleRow	row;

	(void) state;
	for (int i = 0; ha_rule_row(i, &row); i++)
	{
		size_t		k = 0;

		while (k < sizeof(cases) / sizeof(cases[0]) && strcmp(cases[k].rule, row.name) != 0)
			k++;
		if (k == sizeof(cases) / sizeof(cases[0]))
			fail_msg("rule \"%s\" of table \"%s\" has no case", row.name, row.table);
		print_message("  %s\n", row.name);
		cases[k].play();
		expect_rule(row.name);
	}
}

/* --- the lease --- */

static void
deadline_counts_from_before_the_request(void **state)
{
	int64_t		sent;

	(void) state;
	start_leader(HA_HOME_WORKER);
	sent = now;
	assert_int_equal(ha_lease_deadline_ms(node), sent + 30000 - 1500);
	tick(10000);
	assert_string_equal(last(HA_RENEW)->value, "node1");
	assert_true(last(HA_RENEW)->timeout_ms <= 5000);
	now += 4000;
	reply_to(last(HA_RENEW), HA_OUTCOME_DONE, false, now - 3990, 0);
	assert_int_equal(last(HA_FENCE)->deadline_ms, sent + 10010 + 30000 - 1500);
	/* an older answer does not move it back */
	forget();
	tick(10000);
	reply_to(last(HA_RENEW), HA_OUTCOME_DONE, false, sent + 5, 0);
	assert_int_equal(count(HA_FENCE), 0);
	/* the margin of a short lease */
	create(HA_HOME_WORKER);
	settings.ttl_ms = 1000;
	be_primary();
	set_key("leader", "node1");
	tell_all();
	confirm_lease();
	assert_int_equal(last(HA_FENCE)->deadline_ms, now + 900);
}

static void
ttl_changes(void **state)
{
	int64_t		start;

	(void) state;
	start_leader(HA_HOME_WORKER);
	start = now;
	/* up: the lease in the store has the old ttl until a new renewal is done */
	tick(10000);
	settings.ttl_ms = 60000;
	tell_settings();
	reply_to(last(HA_RENEW), HA_OUTCOME_DONE, false, start + 10000, 0);
	assert_int_equal(last(HA_FENCE)->deadline_ms, start + 10000 + 28500);
	tick(10000);
	reply_to(last(HA_RENEW), HA_OUTCOME_DONE, false, start + 20000, 0);
	assert_int_equal(last(HA_FENCE)->deadline_ms, start + 20000 + 57000);
	/* down: the store may have shortened it, even if we never hear of it */
	settings.ttl_ms = 9000;
	tell_settings();
	assert_int_equal(ha_lease_deadline_ms(node), start + 20000 + 9000 - 450);
	assert_int_equal(last(HA_FENCE)->deadline_ms, start + 20000 + 9000 - 450);
	forget();
	tick(4000);
	last(HA_RENEW);
	reply(HA_RENEW, HA_OUTCOME_UNKNOWN);
	assert_int_equal(ha_lease_deadline_ms(node), start + 20000 + 9000 - 450);
	tick(100);
	reply_to(last(HA_RENEW), HA_OUTCOME_DONE, false, now, 0);
	assert_int_equal(last(HA_FENCE)->deadline_ms, now + 9000 - 450);
}

static void
renewal_is_done(void)
{
	reply_to(&(HaAction) {.request_id = node->pending[FOR_RENEW].id}, HA_OUTCOME_DONE, false, now, 0);
	forget();
}

/* Where another leads and nothing goes on, every third renewal is spared. */
static void
renews_less_often_at_rest(void **state)
{
	(void) state;
	start_follower(HA_HOME_WORKER);
	renewal_is_done();
	tick(14999);
	assert_int_equal(count(HA_RENEW), 0);
	tick(1);
	assert_int_equal(count(HA_RENEW), 1);
	/* without an answer it is repeated, twice before the lease is over */
	assert_true(last(HA_RENEW)->timeout_ms <= 5000);
	tick(5000);
	reply(HA_RENEW, HA_OUTCOME_UNKNOWN);
	tick(100);
	assert_int_equal(count(HA_RENEW), 2);
	tick(5000);
	reply(HA_RENEW, HA_OUTCOME_UNKNOWN);
	tick(200);
	assert_int_equal(count(HA_RENEW), 3);
	renewal_is_done();

	/* who may have to lead soon makes up for it, before it asks for the leader key */
	tick(11000);
	assert_int_equal(count(HA_RENEW), 0);
	set_key("leader", NULL);
	tell_view();
	assert_int_equal(count(HA_RENEW), 1);
	assert_true(position_of(HA_RENEW) < position_of(HA_ASK_PEER));
	assert_int_equal(count(HA_ACQUIRE), 0);

	start_follower(HA_HOME_WORKER);
	renewal_is_done();
	tick(11000);
	set_key("failover", "{\"leader\":\"node2\",\"candidate\":\"node1\"}");
	tell_view();
	assert_int_equal(count(HA_RENEW), 1);

	/* nor is a store at rest that does not answer */
	start_follower(HA_HOME_WORKER);
	renewal_is_done();
	tick(11000);
	tell_reachable(false);
	assert_int_equal(count(HA_RENEW), 1);

	/* a short lease leaves no time to be late */
	start_follower(HA_HOME_WORKER);
	settings.ttl_ms = 9000;
	settings.loop_wait_ms = 4000;
	tell_settings();
	renewal_is_done();
	tick(2999);
	assert_int_equal(count(HA_RENEW), 0);
	tick(1);
	assert_int_equal(count(HA_RENEW), 1);

	/* the leader never is */
	start_leader(HA_HOME_WORKER);
	tick(9999);
	assert_int_equal(count(HA_RENEW), 0);
	tick(1);
	assert_int_equal(count(HA_RENEW), 1);
}

static void
old_views_say_nothing(void **state)
{
	uint64_t	version;

	(void) state;
	create(HA_HOME_WORKER);
	be_primary();
	tell_all();
	expect_rule("retake-lease");
	version = revision + 5;
	reply_to(last(HA_ACQUIRE), HA_OUTCOME_DONE, false, now, version);
	assert_true(ha_has_lease(node));
	tell_view_at(version - 1);
	assert_true(ha_has_lease(node));
	tell_view_at(version);
	assert_false(ha_has_lease(node));
	assert_int_equal(last(HA_FENCE)->deadline_ms, 0);
}

static void
answers_of_the_store_end_the_lease(void **state)
{
	(void) state;
	/* somebody else has it */
	start_leader(HA_HOME_WORKER);
	tick(10000);
	reply(HA_RENEW, HA_OUTCOME_LOST_RACE);
	assert_int_equal(last(HA_FENCE)->deadline_ms, 0);
	assert_false(ha_has_lease(node));
	/* the session is gone, and with it the key, whatever the view says */
	start_leader(HA_HOME_WORKER);
	tick(10000);
	reply_to(last(HA_RENEW), HA_OUTCOME_LOST_RACE, true, now, 0);
	assert_int_equal(last(HA_FENCE)->deadline_ms, 0);
	expect_rule("retake-lease");
	last(HA_ACQUIRE);
}

static void
silence_is_no_answer(void **state)
{
	int64_t		deadline;

	(void) state;
	start_leader(HA_HOME_WORKER);
	deadline = ha_lease_deadline_ms(node);
	tick(10000);
	reply(HA_RENEW, HA_OUTCOME_UNKNOWN);
	assert_true(ha_has_lease(node));
	tick(100);
	reply(HA_RENEW, HA_OUTCOME_NOT_SENT);
	assert_true(ha_has_lease(node));
	assert_int_equal(ha_lease_deadline_ms(node), deadline);
	assert_int_equal(count(HA_FENCE), 0);
	/* an acquisition without an answer is none */
	create(HA_HOME_WORKER);
	be_primary();
	tell_all();
	reply(HA_ACQUIRE, HA_OUTCOME_UNKNOWN);
	assert_false(ha_has_lease(node));
	assert_int_equal(last(HA_FENCE)->deadline_ms, 0);
	/* until the view shows the key and the store confirms it */
	confirm_lease();
	assert_true(ha_has_lease(node));
}

/* The request may be carried out when the cache knows more: it tells what it was decided by. */
static void
acquisition_tells_what_it_knows(void **state)
{
	(void) state;
	start_follower(HA_HOME_WORKER);
	set_key("leader", NULL);
	tell_view();
	answers((Answer) {0});
	assert_int_equal(last(HA_ACQUIRE)->version, 0);
	assert_int_equal(last(HA_ACQUIRE)->history_version, 0);
	start_follower(HA_HOME_WORKER);
	set_key("promotions", "{\"1\":{\"name\":\"node2\",\"from\":0,\"lsn\":1}}");
	tell_view();
	/* also what cannot be read: another text may be a promotion */
	set_key("history", "nonsense");
	set_key("leader", NULL);
	tell_view();
	answers((Answer) {0});
	assert_int_equal(last(HA_ACQUIRE)->version, revision - 2);
	assert_int_equal(last(HA_ACQUIRE)->history_version, revision - 1);
}

/* The id of the next timeline is claimed with the leader key: one write less to wait for. */
static void
acquisition_claims_the_timeline(void **state)
{
	(void) state;
	start_follower(HA_HOME_WORKER);
	set_key("promotions", "{\"4\":{\"name\":\"node2\",\"from\":1,\"lsn\":1}}");
	tell_view();
	set_key("leader", NULL);
	tell_view();
	answers((Answer) {0});
	assert_string_equal(last(HA_ACQUIRE)->text,
						"{\"4\":{\"name\":\"node2\",\"from\":1,\"lsn\":1},"
						"\"5\":{\"name\":\"node1\",\"from\":1,\"lsn\":83886080}}");
	postgres.newest_timeline = 4;
	tell_postgres();
	set_key("promotions", last(HA_ACQUIRE)->text);
	set_key("leader", "node1");
	reply_to(last(HA_ACQUIRE), HA_OUTCOME_DONE, false, now, revision);
	forget();
	tell_view();
	assert_int_equal(last(HA_PROMOTE)->timeline, 5);
	assert_int_equal(count(HA_PUT_KEY), 0);

	/* a primary that takes the lease anew begins no timeline */
	create(HA_HOME_WORKER);
	be_primary();
	tell_all();
	assert_null(last(HA_ACQUIRE)->text);
}

/* A write that is carried out seconds late takes the place of nothing newer. */
static void
writes_of_the_leader_compare(void **state)
{
	(void) state;
	start_leader_writing_status();
	assert_int_equal(last_key(HA_PUT_KEY, "status")->version, revision);
	/* refused: tried again with what the store has by then */
	reply_to(last_key(HA_PUT_KEY, "status"), HA_OUTCOME_LOST_RACE, false, now, 0);
	forget();
	set_key("status", "{\"optime\":83886078}");
	tell_view();
	tick(10000);
	assert_int_equal(last_key(HA_PUT_KEY, "status")->version, revision);
	/* and the history, which another leader may have gone on with since */
	start_leader(HA_HOME_WORKER);
	postgres.timeline = postgres.newest_timeline = 2;
	postgres.n_history = 1;
	postgres.history[0].timeline = 1;
	postgres.history[0].switch_lsn = 1000;
	tell_postgres();
	set_key("history", last_key(HA_CREATE_KEY, "history")->text);
	tell_view();
	reply_to(last_key(HA_CREATE_KEY, "history"), HA_OUTCOME_DONE, false, now, 0);
	postgres.timeline = postgres.newest_timeline = 3;
	postgres.n_history = 2;
	postgres.history[1].timeline = 2;
	postgres.history[1].switch_lsn = 2000;
	tell_postgres();
	assert_int_equal(last_key(HA_PUT_KEY, "history")->version, revision);
	/* and only while we lead: others must not wait for a timeline that only we know */
	assert_true(node->view.leader_version != 0);
	assert_int_equal(last_key(HA_PUT_KEY, "history")->leader_version, node->view.leader_version);
}

/* A view arrives a moment before it is known that the store can be reached again. */
static void
outdated_primary_opens_no_fence(void **state)
{
	(void) state;
	create(HA_HOME_WORKER);
	be_primary();
	tell_all();
	tell_reachable(false);
	reply_to(last(HA_ACQUIRE), HA_OUTCOME_DONE, false, now, revision + 1);
	assert_true(ha_has_lease(node));
	set_key("leader", "node1");
	set_key("history", "[[1,83886080,\"no recovery target specified\"]]");
	forget();
	tell_view();
	expect_rule("outage-lease-runs");
	assert_int_equal(count(HA_FENCE), 0);
	tell_reachable(true);
	last(HA_RELEASE);
	for (int i = 0; i < n_seen; i++)
		assert_true(seen[i].kind != HA_FENCE || seen[i].deadline_ms == 0);
}

static void
release_closes_the_fence_first(void **state)
{
	uint64_t	renewal;

	(void) state;
	start_leader(HA_HOME_WORKER);
	tick(10000);
	renewal = last(HA_RENEW)->request_id;
	set_key("history", "[[1,83886080,\"no recovery target specified\"]]");
	tell_view();
	expect_rule("outdated-leader");
	assert_int_equal(last(HA_FENCE)->deadline_ms, 0);
	assert_true(position_of(HA_FENCE) < position_of(HA_RELEASE));
	assert_false(ha_has_lease(node));
	/* a renewal that was under way says nothing of the time after */
	reply_to(&(HaAction) {.request_id = renewal}, HA_OUTCOME_DONE, false, now, 0);
	assert_false(ha_has_lease(node));
	assert_int_equal(last(HA_FENCE)->deadline_ms, 0);
	reply(HA_RELEASE, HA_OUTCOME_DONE);
	assert_false(ha_has_lease(node));
	assert_int_equal(last(HA_FENCE)->deadline_ms, 0);
}

static void
release_without_an_answer_is_repeated(void **state)
{
	(void) state;
	start_leader(HA_HOME_WORKER);
	set_key("history", "[[1,83886080,\"no recovery target specified\"]]");
	tell_view();
	reply(HA_RELEASE, HA_OUTCOME_UNKNOWN);
	assert_false(ha_has_lease(node));
	forget();
	/* the key still names us: it may vanish at any moment, so it is not confirmed */
	tick(100);
	assert_int_equal(count(HA_RELEASE), 1);
	assert_int_equal(count(HA_FENCE), 0);
	reply(HA_RELEASE, HA_OUTCOME_UNKNOWN);
	/* the other home knows */
	swap_home(HA_HOME_SUPERVISOR);
	forget();
	tick(1000);
	assert_int_equal(count(HA_RELEASE), 0);	/* under way */
	assert_false(ha_has_lease(node));
	for (int i = 0; i < n_seen; i++)
		assert_true(seen[i].kind != HA_RENEW || seen[i].value[0] == '\0');
	set_key("leader", NULL);
	tell_view();
	assert_false(node->is_giving_away && !ha_is_pending(node, FOR_RELEASE));
}

static void
late_answers_do_not_bring_the_lease_back(void **state)
{
	(void) state;
	/* a renewal that was done before another one took the key */
	start_leader(HA_HOME_WORKER);
	tick(10000);
	set_key("leader", "node2");
	tell_view();
	assert_false(ha_has_lease(node));
	reply(HA_RENEW, HA_OUTCOME_DONE);
	assert_false(ha_has_lease(node));
	assert_int_equal(last(HA_FENCE)->deadline_ms, 0);
	/* one that the store has answered before the release, and that comes after it */
	start_leader(HA_HOME_WORKER);
	tick(10000);
	{
		HaAction	renewal = *last(HA_RENEW);

		node->is_giving_away = true;	/* as ha_release() does */
		node->has_lease = false;
		node->pending[FOR_RELEASE].id = ++node->next_id;
		reply_to(&(HaAction) {.request_id = node->pending[FOR_RELEASE].id}, HA_OUTCOME_DONE, false, now, 0);
		assert_false(node->is_giving_away);
		tell_view();			/* it is older, too */
		reply_to(&renewal, HA_OUTCOME_DONE, false, now - 10, 0);
		assert_false(ha_has_lease(node));
	}
	/* nor does one that was refused before the acquisition end the lease */
	start_leader(HA_HOME_WORKER);
	tick(10000);
	{
		HaAction	renewal = *last(HA_RENEW);

		set_key("leader", NULL);
		tell_view();
		assert_false(ha_has_lease(node));
		set_key("leader", "node1");
		reply_to(last(HA_ACQUIRE), HA_OUTCOME_DONE, false, now, revision);
		tell_view();
		assert_true(ha_has_lease(node));
		reply_to(&renewal, HA_OUTCOME_LOST_RACE, false, now, 0);
		assert_true(ha_has_lease(node));
	}
	/* an acquisition whose key is gone again */
	create(HA_HOME_WORKER);
	be_primary();
	tell_all();
	last(HA_ACQUIRE);
	set_key("leader", "node2");
	tell_view();
	reply_to(last(HA_ACQUIRE), HA_OUTCOME_DONE, false, now, revision - 1);
	assert_false(ha_has_lease(node));
	assert_int_equal(last(HA_FENCE)->deadline_ms, 0);
}

static void
pause_opens_no_closed_fence(void **state)
{
	char	   *saved;

	(void) state;
	/* another member has led since before the pause: this one was about to be demoted */
	create(HA_HOME_WORKER);
	be_primary();
	settings.is_paused = true;
	set_key("leader", "node2");
	tell_all();
	expect_rule("primary-without-lease-paused");
	assert_int_equal(last(HA_FENCE)->deadline_ms, 0);
	/* that leader goes: it may write on where nobody sees it */
	forget();
	set_key("leader", NULL);
	tell_view();
	assert_int_equal(count(HA_FENCE), 0);
	/* the other home knows it, too */
	saved = ha_node_save(node);
	create(HA_HOME_SUPERVISOR);
	be_primary();
	settings.is_paused = true;
	assert_true(ha_node_load(node, saved, now));
	free(saved);
	tell_all();
	assert_int_equal(last(HA_FENCE)->deadline_ms, 0);
	/* the lease opens it */
	expect_rule("retake-lease");
	set_key("leader", "node1");
	reply_to(last(HA_ACQUIRE), HA_OUTCOME_DONE, false, now, revision);
	tell_view();
	assert_int_equal(last(HA_FENCE)->deadline_ms, HA_DEADLINE_NEVER);
	/* who lost the lease in the pause goes on, whoever leads */
	forget();
	set_key("leader", "node2");
	tell_view();
	assert_false(ha_has_lease(node));
	assert_int_equal(count(HA_FENCE), 0);
	/* a standby may be promoted by hand */
	start_follower(HA_HOME_WORKER);
	pause_cluster(true);
	assert_int_equal(last(HA_FENCE)->deadline_ms, HA_DEADLINE_NEVER);
	forget();
	be_primary();
	tell_postgres();
	assert_int_equal(count(HA_FENCE), 0);
	/* and what was down in the pause was started by a person */
	create(HA_HOME_SUPERVISOR);
	be_stopped(HA_CONTROL_SHUTDOWNED);
	settings.is_paused = true;
	set_key("leader", "node2");
	tell_all();
	assert_int_equal(last(HA_FENCE)->deadline_ms, 0);
	be_primary();
	tell_postgres();
	assert_int_equal(last(HA_FENCE)->deadline_ms, HA_DEADLINE_NEVER);
	/* the next pause knows nothing of that */
	pause_cluster(false);
	assert_int_equal(last(HA_FENCE)->deadline_ms, 0);
	forget();
	pause_cluster(true);
	assert_int_equal(count(HA_FENCE), 0);
}

static void
fence_is_closed_without_a_view(void **state)
{
	char		left[64];

	(void) state;
	/* paused, then not any more, and the store is silent: nobody knows who leads */
	create(HA_HOME_WORKER);
	be_primary();
	settings.is_paused = true;
	tell_settings();
	tell_postgres();
	assert_int_equal(count(HA_FENCE), 0);	/* may be one that another member has replaced */
	tell_reachable(false);
	assert_int_equal(last(HA_FENCE)->deadline_ms, HA_DEADLINE_NEVER);
	pause_cluster(false);
	assert_int_equal(last(HA_FENCE)->deadline_ms, 0);
	/* taken over in an outage from a home that died: what it left ends by itself ... */
	create(HA_HOME_WORKER);
	be_primary();
	tell_settings();
	tell_postgres();
	tell_reachable(false);
	assert_int_equal(count(HA_FENCE), 0);
	/* ... and is not given up before */
	create(HA_HOME_WORKER);
	be_primary();
	snprintf(left, sizeof(left), "{\"protocol\":1,\"left_fence_ms\":%lld}", (long long) now + 20000);
	assert_true(ha_node_load(node, left, now));
	tell_settings();
	tell_postgres();
	tell_reachable(false);
	tick(19999);
	expect_rule("outage-lease-runs");
	tick(1);
	expect_rule("outage-fenced");
	tick(settings.retry_timeout_ms);
	assert_int_equal(count(HA_FENCE), 0);
	assert_string_equal(ha_goal_name(node), "demote");
	/* ... but for ever */
	create(HA_HOME_WORKER);
	be_primary();
	assert_true(ha_node_load(node, "{\"protocol\":1,\"fence_is_never\":true}", now));
	tell_reachable(false);
	tell_settings();
	assert_int_equal(last(HA_FENCE)->deadline_ms, 0);
}

/* --- the baton --- */

static void
saves_and_loads(void **state)
{
	int64_t		deadline;
	char	   *saved;

	(void) state;
	start_leader(HA_HOME_WORKER);
	deadline = ha_lease_deadline_ms(node);
	ask_for_switchover();
	answer_from("node2", (Answer) {0});
	postgres.checkpoint_redo = END_OF_WAL;
	tell_postgres();
	assert_string_equal(ha_goal_name(node), "switchover");
	saved = ha_node_save(node);
	ha_node_free(node);
	node = ha_node_create(HA_HOME_SUPERVISOR);
	assert_true(ha_node_load(node, saved, now + 5));
	free(saved);
	assert_true(ha_has_lease(node));
	assert_int_equal(node->lease_sent_ms + 28500, deadline);
	assert_string_equal(ha_goal_name(node), "switchover");
	assert_string_equal(node->goal_candidate, "node2");
	forget();
	now += 5;
	tell_all();
	/* the fence stands where it stood, before anything is renewed */
	assert_int_equal(last(HA_FENCE)->deadline_ms, deadline);
	expect_task(HA_TASK_STOP);
	/* and it does not say what it said already */
	assert_int_equal(count(HA_CALLBACK), 0);
}

static void
settings_may_come_last(void **state)
{
	char	   *saved;

	(void) state;
	start_leader(HA_HOME_WORKER);
	saved = ha_node_save(node);
	ha_node_free(node);
	node = ha_node_create(HA_HOME_SUPERVISOR);
	assert_true(ha_node_load(node, saved, now));
	free(saved);
	tell_view();
	tell_postgres();
	assert_true(ha_has_lease(node));
	tell_settings();
	assert_true(ha_has_lease(node));
	expect_rule("lead");
}

/*
 * Whoever paused the cluster was told that all members know.  The home that
 * takes over right then has seen the store as it was "behind" changes before.
 */
static void
shut_down_in_new_pause(int behind)
{
	char	   *saved;

	start_leader(HA_HOME_WORKER);
	set_key("config", "{\"ttl\":30}");
	tell_view();
	pause_cluster(true);
	give((HaCommand) {.id = 1, .kind = HA_COMMAND_SHUTDOWN});
	saved = ha_node_save(node);
	ha_node_free(node);
	forget();
	node = ha_node_create(HA_HOME_SUPERVISOR);
	assert_true(ha_node_load(node, saved, now));
	free(saved);
	for (int i = 0; i < KEYS; i++)
		if (strcmp(keys[i].name, "config") == 0)
			keys[i].version -= (uint64_t) behind;
	settings.is_paused = false;
	tell_settings();
	tell_postgres();
	tell_view();
}

static void
new_pause_is_known(void **state)
{
	(void) state;
	shut_down_in_new_pause(1);
	assert_int_equal(count(HA_START_TASK), 0);
	assert_int_equal(last(HA_EXIT)->exit_code, 0);
	assert_true(ha_is_paused(node));
	/* what the store itself says later counts */
	set_key("config", "{\"ttl\":31}");
	tell_view();
	assert_false(ha_is_paused(node));
}

static void
old_pause_is_not_believed(void **state)
{
	(void) state;
	shut_down_in_new_pause(0);
	assert_int_equal(expect_task(HA_TASK_STOP)->stop_mode, HA_STOP_FAST);
	shut_down_in_new_pause(1);
	assert_true(ha_is_paused(node));
	tick(10000);
	assert_false(ha_is_paused(node));
}

static void
hostile_batons(void **state)
{
	static const char *const texts[] = {
		"", "null", "[]", "{", "\"\"", "{}", "7",
		"{\"has_lease\":true}",
		"{\"has_lease\":true,\"lease_sent_ms\":900000,\"lease_ttl_ms\":-5}",
		"{\"has_lease\":true,\"lease_sent_ms\":900000,\"lease_ttl_ms\":9223372036854775807}",
		"{\"has_lease\":true,\"lease_sent_ms\":9223372036854775807,\"lease_ttl_ms\":30000}",
		"{\"has_lease\":true,\"lease_sent_ms\":-9223372036854775807,\"lease_ttl_ms\":30000}",
		"{\"has_lease\":\"yes\",\"lease_sent_ms\":900000,\"lease_ttl_ms\":30000}",
		"{\"goal\":99}", "{\"goal\":-1}", "{\"goal\":\"restart\"}", "{\"goal\":1e300}",
		"{\"goal_candidate\":7,\"goal_because\":null,\"successor\":[],\"member_text\":{}}",
		("{\"goal_candidate\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}"),
		"{\"is_promoting\":true,\"promote_ms\":9223372036854775807}",
		"{\"repair_next_ms\":9223372036854775807,\"repair_failures\":-2147483648}",
		"{\"announced_role\":77,\"next_id\":-1,\"renewed_ms\":9223372036854775807}",
		"{\"goal\":6,\"goal_since_ms\":9223372036854775807}",
		"{\"handover_lsn\":-1,\"lease_version\":-1,\"is_giving_away\":true,\"has_lease\":true}",
	};

	(void) state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
	{
		create(HA_HOME_SUPERVISOR);
		be_primary();
		set_key("leader", "node2");
		(void) ha_node_load(node, texts[i], now);
		assert_false(ha_has_lease(node));
		tell_all();
		tick(1);
		tick(HA_PROMOTE_TIMEOUT_MS);
		assert_false(ha_has_lease(node));
		assert_int_equal(last(HA_FENCE)->deadline_ms, 0);
		assert_true(last(HA_WAKE_AT)->deadline_ms > now);
		assert_true(last(HA_WAKE_AT)->deadline_ms <= now + settings.loop_wait_ms);
		free(ha_node_save(node));
	}
	/* nothing at all is fine, nonsense is said so */
	assert_true(ha_node_load(node, NULL, now));
	assert_false(ha_node_load(node, "{", now));
}

static void
never_spins(void **state)
{
	(void) state;
	create(HA_HOME_WORKER);
	be_standby();
	tell_settings();
	tell_postgres();
	assert_true(last(HA_WAKE_AT)->deadline_ms > now + 1000);
	tick(20000);
	assert_true(last(HA_WAKE_AT)->deadline_ms > now + 1000);
	start_follower(HA_HOME_WORKER);
	postgres.is_streaming = false;
	tell_postgres();
	assert_int_equal(last(HA_WAKE_AT)->deadline_ms, now + HA_STREAM_LOST_MS);
}

/* --- commands --- */

static void
seventeenth_command_is_refused(void **state)
{
	(void) state;
	start_follower(HA_HOME_WORKER);
	for (int i = 0; i < HA_COMMANDS_MAX; i++)
	{
		give((HaCommand) {.id = (uint64_t) i + 1, .kind = HA_COMMAND_RESTART, .member = "node2", .wait = true});
		set_key("requests/node2", last(HA_CREATE_KEY)->text);
		reply(HA_CREATE_KEY, HA_OUTCOME_DONE);
		assert_int_equal(count(HA_ANSWER), 0);
	}
	give((HaCommand) {.id = 17, .kind = HA_COMMAND_RESTART, .member = "node2", .wait = true});
	assert_false(last(HA_ANSWER)->ok);
	assert_int_equal(last(HA_ANSWER)->command_id, 17);
	assert_string_equal(last(HA_ANSWER)->sqlstate, "53400");
	/* each of them ends, by time alone */
	tick(HA_COMMAND_TIMEOUT_MS);
	assert_int_equal(count(HA_ANSWER), HA_COMMANDS_MAX + 1);
	assert_string_equal(last(HA_ANSWER)->sqlstate, "57014");
}

static void
refused_commands(void **state)
{
	static const struct
	{
		HaCommand	command;
		const char *detail;
	}			bad[] = {
		{{.kind = HA_COMMAND_SWITCHOVER, .candidate = "node9"}, "no member \"node9\""},
		{{.kind = HA_COMMAND_SWITCHOVER, .candidate = "node2"}, "is the leader already"},
		{{.kind = HA_COMMAND_SWITCHOVER, .leader = "node3"}, "does not lead"},
		{{.kind = HA_COMMAND_SWITCHOVER, .candidate = "node3"}, "nofailover"},
		{{.kind = HA_COMMAND_SWITCHOVER, .is_scheduled = true, .scheduled_at_ms = 1}, "in the past"},
		{{.kind = HA_COMMAND_FAILOVER}, "needs a candidate"},
		{{.kind = HA_COMMAND_RESTART, .role = "primary"}, "role is another one"},
		{{.kind = HA_COMMAND_RESTART, .only_pending = true}, "No restart is pending"},
		{{.kind = HA_COMMAND_RESTART, .member = "node9"}, "no member \"node9\""},
		{{.kind = HA_COMMAND_FLUSH_SWITCHOVER}, NULL},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		HaCommand	command = bad[i].command;

		start_follower(HA_HOME_WORKER);
		set_member("node3", ",\"tags\":{\"nofailover\":true}");
		tell_view();
		command.id = 5;
		forget();
		give(command);
		assert_int_equal(count(HA_ANSWER), 1);
		assert_false(last(HA_ANSWER)->ok);
		assert_non_null(last(HA_ANSWER)->sqlstate);
		if (bad[i].detail != NULL && strstr(last(HA_ANSWER)->detail, bad[i].detail) == NULL)
			fail_msg("\"%s\" does not say \"%s\"", last(HA_ANSWER)->detail, bad[i].detail);
		assert_int_equal(count(HA_CREATE_KEY) + count(HA_PUT_KEY), 0);
	}
	/* the leader is not cloned from anyone */
	start_leader(HA_HOME_WORKER);
	give((HaCommand) {.id = 6, .kind = HA_COMMAND_REINITIALIZE});
	assert_non_null(strstr(last(HA_ANSWER)->detail, "is the leader"));
	/* without the store */
	tell_reachable(false);
	give((HaCommand) {.id = 7, .kind = HA_COMMAND_SWITCHOVER});
	assert_non_null(strstr(last(HA_ANSWER)->detail, "does not answer"));
}

static void
answer_waits_for_the_view(void **state)
{
	(void) state;
	start_follower(HA_HOME_WORKER);
	give((HaCommand) {.id = 3, .kind = HA_COMMAND_SWITCHOVER, .candidate = "node3", .wait = true});
	/* the store's answer overtakes its own news */
	reply_to(last(HA_CREATE_KEY), HA_OUTCOME_DONE, false, now, revision + 1);
	assert_int_equal(count(HA_ANSWER), 0);
	set_key("failover", last(HA_CREATE_KEY)->text);
	tell_view();
	assert_int_equal(count(HA_ANSWER), 0);
	set_key("failover", "{\"refused\":\"node3 lags\"}");
	tell_view();
	assert_non_null(strstr(last(HA_ANSWER)->detail, "node3 lags"));
}

static void
flush_needs_the_store(void **state)
{
	(void) state;
	start_leader(HA_HOME_WORKER);
	request_failover("{\"leader\":\"node1\",\"scheduled_at\":\"2033-01-01T00:00:00+00:00\"}");
	tell_reachable(false);
	give((HaCommand) {.id = 3, .kind = HA_COMMAND_FLUSH_SWITCHOVER});
	assert_false(last(HA_ANSWER)->ok);
	tell_reachable(true);
	give((HaCommand) {.id = 4, .kind = HA_COMMAND_FLUSH_SWITCHOVER});
	assert_true(last(HA_ANSWER)->ok);
	assert_string_equal(last_key(HA_PUT_KEY, "failover")->text, "{}");
	give((HaCommand) {.id = 5, .kind = HA_COMMAND_FLUSH_SWITCHOVER});
	assert_false(last(HA_ANSWER)->ok);	/* one is under way */
}

/* --- requests to the store --- */

static void
requests_are_tried_again(void **state)
{
	static const int pauses[] = {100, 200, 400, 800, 1000, 1000, 1000};
	int			sent;

	(void) state;
	start_leader(HA_HOME_WORKER);
	tick(10000);
	for (size_t i = 0; i < sizeof(pauses) / sizeof(pauses[0]); i++)
	{
		forget();
		node->pending[FOR_RENEW].id = 77;	/* inside: the action has just been forgotten */
		reply_to(&(HaAction) {.request_id = 77}, i % 2 ? HA_OUTCOME_UNKNOWN : HA_OUTCOME_NOT_SENT, false, now, 0);
		assert_int_equal(count(HA_RENEW), 0);
		assert_int_equal(last(HA_WAKE_AT)->deadline_ms, now + pauses[i]);
		tick(pauses[i] - 1);
		assert_int_equal(count(HA_RENEW), 0);
		tick(1);
		assert_int_equal(count(HA_RENEW), 1);
	}
	reply(HA_RENEW, HA_OUTCOME_DONE);
	/* a reply that never comes */
	tick(10000);
	sent = count(HA_RENEW);
	tick(21000);
	assert_int_equal(count(HA_RENEW), sent);
	tick(1);
	assert_int_equal(count(HA_RENEW), sent + 1);
}

/* --- races --- */

static void
races(void **state)
{
	static const struct
	{
		const char *what;
		Answer		answer;
		uint32_t	own_timeline;
		int			own_priority;
		bool		wins;
		const char *status;
	}			table[] = {
		{"equal: the store decides", {0}, 1, 1, true, NULL},
		{"one byte more there", {.position = END_OF_WAL + 1}, 1, 1, false, NULL},
		{"one byte more here", {.position = END_OF_WAL - 1}, 1, 1, true, NULL},
		{"more WAL of an older timeline", {.position = END_OF_WAL + 100}, 2, 1, true, NULL},
		{"less WAL of a newer timeline", {.position = 16, .timeline = 2}, 1, 1, false, NULL},
		{"higher priority there", {.priority = 2}, 1, 1, false, NULL},
		{"higher priority here", {.priority = 1}, 1, 2, true, NULL},
		{"priority does not beat WAL", {.priority = 9, .position = END_OF_WAL - 1}, 1, 1, true, NULL},
		{"nofailover there", {.position = END_OF_WAL + 1, .nofailover = true}, 1, 1, true, NULL},
		{"a broken watchdog there", {.position = END_OF_WAL + 1, .watchdog_failed = true}, 1, 1, true, NULL},
		{"it cannot reach the store", {.position = END_OF_WAL + 1, .cannot_lead = true}, 1, 1, true, NULL},
		{"a primary", {.is_primary = true, .position = 16}, 1, 1, false, NULL},
		{"a primary without the store", {.is_primary = true, .cannot_lead = true}, 1, 1, true, NULL},
		{"silence", {.is_silent = true, .position = END_OF_WAL + 1}, 1, 1, true, NULL},
		{"a newer timeline that lags too much", {.position = END_OF_WAL - 1048577, .timeline = 2}, 1, 1, true,
		"{\"optime\":83886080}"},
		{"a newer timeline that lags", {.position = END_OF_WAL - 1048576, .timeline = 2}, 1, 1, false,
		"{\"optime\":83886080}"},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
	{
		start_follower(HA_HOME_WORKER);
		postgres.timeline = postgres.newest_timeline = table[i].own_timeline;
		settings.tags.failover_priority = table[i].own_priority;
		tell_settings();
		tell_postgres();
		set_key("leader", NULL);
		set_key("status", table[i].status);
		tell_view();
		answer_from("node2", table[i].answer);
		assert_int_equal(count(HA_ACQUIRE), 0);	/* node3 has not answered */
		answer_from("node3", (Answer) {.position = 16});
		if ((count(HA_ACQUIRE) == 1) != table[i].wins)
			fail_msg("%s: the rule is \"%s\"", table[i].what, ha_decision(node)->rule);
	}
}

static void
silent_peer_costs_little(void **state)
{
	(void) state;
	start_race();
	answer_from("node2", (Answer) {0});
	tick(299);
	assert_int_equal(count(HA_ACQUIRE), 0);
	assert_int_equal(last(HA_WAKE_AT)->deadline_ms, now + 1);
	tick(1);
	assert_int_equal(count(HA_ACQUIRE), 1);
	/* answers of an earlier round and of strangers count for nothing */
	start_race();
	{
		HaInput		input = {.kind = HA_INPUT_PEER};
		HaPeer		peer = {.name = "node2", .is_reachable = true, .is_in_recovery = true, .can_lead = true};

		peer.round = last(HA_ASK_PEER)->round - 1;
		input.peer = &peer;
		step(&input);
		snprintf(peer.name, sizeof(peer.name), "node9");
		peer.round++;
		step(&input);
	}
	expect_rule("asking");
	/* old answers are not used for long */
	answers((Answer) {.position = END_OF_WAL + 1});
	expect_rule("better-placed");
	forget();
	tick(HA_RACE_VALID_MS + 1);
	assert_int_equal(count(HA_ASK_PEER), 2);
}

static void
candidate_is_not_waited_for_for_ever(void **state)
{
	(void) state;
	candidate_first();
	expect_rule("candidate-first");
	tick(settings.ttl_ms + settings.loop_wait_ms);
	answer_from("node2", (Answer) {.is_silent = true});
	answer_from("node3", (Answer) {.position = END_OF_WAL - 100});
	expect_rule("race-for-lease");
}

/*
 * The patience with a candidate counts for the request: one that gets the key
 * again and again and gives it back unpromoted does not begin it anew.
 */
static void
candidate_is_waited_for_once(void **state)
{
	int64_t		began_ms;

	(void) state;
	candidate_first();
	began_ms = now;
	while (now < began_ms + settings.ttl_ms + settings.loop_wait_ms)
	{
		expect_rule("candidate-first");
		tick(1000);
		set_key("leader", "node3");
		tell_view();
		expect_rule("follow-promoted");
		tick(1000);
		set_key("leader", NULL);
		tell_view();
		answer_from("node2", (Answer) {.is_silent = true});
		answer_from("node3", (Answer) {.position = END_OF_WAL - 100});
	}
	expect_rule("race-for-lease");
	/* a new request begins it anew, and so does a leader that was promoted */
	request_failover("{\"leader\":\"node2\",\"member\":\"node3\",\"x\":1}");
	expect_rule("candidate-first");
	tick(settings.ttl_ms + settings.loop_wait_ms);
	set_key("leader", "node2");
	tell_view();
	set_key("leader", NULL);
	tell_view();
	answer_from("node2", (Answer) {.is_silent = true});
	answer_from("node3", (Answer) {.position = END_OF_WAL - 100});
	expect_rule("candidate-first");
}

/* Nobody waits for a member that says itself that others go first. */
static void
nobody_waits_for_who_gives_way(void **state)
{
	HaExplanation rows[32];
	int			n_rows;
	bool		is_explained = false;

	(void) state;
	candidate_first();
	expect_rule("candidate-first");
	set_member("node3", ",\"gives_way\":true");
	tell_view();
	expect_rule("race-for-lease");
	assert_non_null(strstr(ha_decision(node)->because, "\"node3\" gives way"));
	n_rows = ha_explain(node, now, rows, 32);
	for (int i = 0; i < n_rows; i++)
		is_explained |= strcmp(rows[i].member, "node3") == 0 && strstr(rows[i].reason, "gives way") != NULL;
	assert_true(is_explained);
	/* the one with most WAL */
	start_race();
	set_member("node2", ",\"gives_way\":true");
	tell_view();
	answers((Answer) {.position = END_OF_WAL + 1});
	expect_rule("race-for-lease");
	/* what it says it has is not waited for either, but who is better placed besides is */
	start_race();
	set_member("node2", ",\"gives_way\":true");
	tell_view();
	answer_from("node2", (Answer) {.position = END_OF_WAL + 2});
	answer_from("node3", (Answer) {.position = END_OF_WAL + 1});
	expect_rule("better-placed");
	/* nothing is handed over to it */
	start_leader(HA_HOME_WORKER);
	set_member("node2", ",\"gives_way\":true");
	request_failover("{\"leader\":\"node1\",\"member\":\"node2\"}");
	answer_from("node2", (Answer) {0});
	assert_non_null(strstr(last_key(HA_PUT_KEY, "failover")->text, "could not mark timeline ids"));
}

/* --- switchover --- */

/* The leader has made its checkpoint, node2 answers that its last restartpoint is from before it. */
static void
start_switchover_of_unready(void)
{
	start_leader(HA_HOME_WORKER);
	ask_for_switchover();
	answer_from("node2", (Answer) {.checkpoint_redo = END_OF_WAL - 100});
	assert_int_equal(count(HA_CHECKPOINT), 1);
	forget();
	postgres.checkpoint_redo = END_OF_WAL;
	tell_postgres();
	assert_string_equal(ha_goal_name(node), "");
}

/* The candidate's restartpoint is waited for, but not for ever. */
static void
switchover_waits_for_the_restartpoint(void **state)
{
	int64_t		waited_ms = 0;

	(void) state;
	start_switchover_of_unready();
	tick(HA_RESTARTPOINT_ASK_MS);
	assert_int_equal(count(HA_ASK_PEER), 1);
	answer_from("node2", (Answer) {.checkpoint_redo = END_OF_WAL - 1});
	assert_string_equal(ha_goal_name(node), "");
	tick(HA_RESTARTPOINT_ASK_MS);
	answer_from("node2", (Answer) {.checkpoint_redo = END_OF_WAL});
	assert_string_equal(ha_goal_name(node), "switchover");

	start_switchover_of_unready();
	while (strcmp(ha_goal_name(node), "") == 0 && waited_ms < 2 * HA_RESTARTPOINT_WAIT_MS)
	{
		forget();
		tick(HA_RESTARTPOINT_ASK_MS);
		waited_ms += HA_RESTARTPOINT_ASK_MS;
		if (count(HA_ASK_PEER) > 0)
			answer_from("node2", (Answer) {.checkpoint_redo = END_OF_WAL - 100});
	}
	assert_string_equal(ha_goal_name(node), "switchover");
	assert_int_equal(waited_ms, HA_RESTARTPOINT_WAIT_MS);

	/* it is refused for what it would have been refused before */
	start_switchover_of_unready();
	tick(HA_RESTARTPOINT_ASK_MS);
	answer_from("node2", (Answer) {.is_silent = true});
	assert_non_null(strstr(last_key(HA_PUT_KEY, "failover")->text, "did not answer"));
}

/* node2 leads, and this member follows it; all of the WAL that is known is replayed. */
static void
start_candidate(void)
{
	start_follower(HA_HOME_WORKER);
	postgres.checkpoint_redo = END_OF_WAL - 100;
	tell_postgres();
	forget();
}

/* Who may win a switchover makes a restartpoint at the leader's checkpoint. */
static void
candidate_makes_a_restartpoint(void **state)
{
	static const struct
	{
		const char *request;
		bool		is_made;
	}			table[] = {
		{"{\"leader\":\"node2\",\"member\":\"node1\"}", true},
		{"{\"member\":\"node1\"}", true},
		{"{\"leader\":\"node2\"}", true},
		{"{\"leader\":\"node2\",\"member\":\"node3\"}", false},
		{"{\"leader\":\"node3\",\"member\":\"node1\"}", false},
		{"{\"leader\":\"node2\",\"member\":\"node1\",\"scheduled_at\":\"2099-01-01T00:00:00+00:00\"}", false},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
	{
		start_candidate();
		request_failover(table[i].request);
		if (count(HA_CHECKPOINT) != (table[i].is_made ? 1 : 0))
			fail_msg("%s: %d restartpoints", table[i].request, count(HA_CHECKPOINT));
		if (!table[i].is_made)
			continue;
		/* the leader's record may not be here yet: again, but not at each step */
		tick(HA_RESTARTPOINT_RETRY_MS - 1);
		postgres.replayed_lsn++;
		tell_postgres();
		assert_int_equal(count(HA_CHECKPOINT), 1);
		tick(1);
		assert_int_equal(count(HA_CHECKPOINT), 2);
		/* without more WAL there is none */
		tick(2 * HA_RESTARTPOINT_RETRY_MS);
		assert_int_equal(count(HA_CHECKPOINT), 2);
		/* it may have been at an earlier checkpoint of the leader: who lags cannot tell */
		postgres.checkpoint_redo = END_OF_WAL;
		postgres.replayed_lsn++;
		tell_postgres();
		tick(2 * HA_RESTARTPOINT_RETRY_MS);
		assert_int_equal(count(HA_CHECKPOINT), 3);
		/* when the request is done there is none */
		set_key("failover", NULL);
		tell_view();
		postgres.replayed_lsn++;
		tell_postgres();
		tick(2 * HA_RESTARTPOINT_RETRY_MS);
		assert_int_equal(count(HA_CHECKPOINT), 3);
	}
	/* one that may not lead does not */
	start_candidate();
	settings.tags.nofailover = true;
	tell_settings();
	request_failover("{\"leader\":\"node2\"}");
	assert_int_equal(count(HA_CHECKPOINT), 0);
	/* nor one that is not synchronous, unless it is named for a failover */
	for (int i = 0; i < 2; i++)
	{
		start_candidate();
		settings.sync_mode = SYNC_PLAN_ON;
		tell_settings();
		set_key("sync", "{\"leader\":\"node2\",\"sync_standby\":\"node3\"}");
		tell_view();
		request_failover(i == 0 ? "{\"leader\":\"node2\",\"member\":\"node1\"}" : "{\"member\":\"node1\"}");
		assert_int_equal(count(HA_CHECKPOINT), i);
	}
}

static void
refused_switchovers(void **state)
{
	static const struct
	{
		const char *request;
		Answer		answer;
		bool		is_paused;
		const char *refused;
	}			table[] = {
		{"{\"leader\":\"node1\",\"member\":\"node2\"}", {.is_silent = true}, false, "did not answer"},
		{"{\"leader\":\"node1\",\"member\":\"node2\"}", {.nofailover = true}, false, "nofailover"},
		{"{\"leader\":\"node1\",\"member\":\"node2\"}", {.watchdog_failed = true}, false, "watchdog"},
		{"{\"leader\":\"node1\",\"member\":\"node2\"}", {.cannot_lead = true}, false, "cannot reach the store"},
		{"{\"leader\":\"node1\",\"member\":\"node2\"}", {.is_primary = true}, false, "not a standby"},
		{"{\"leader\":\"node1\",\"member\":\"node2\"}", {.position = END_OF_WAL - 1048577}, false, "lags"},
		{"{\"leader\":\"node1\",\"member\":\"node9\"}", {0}, false, "no member"},
		{"{\"member\":\"node2\"}", {.is_silent = true}, false, "did not answer"},
		{"{\"leader\":\"node3\",\"member\":\"node2\"}", {0}, false, "as the leader"},
		{"{\"leader\":\"node1\",\"member\":\"node1\"}", {0}, false, "leader already"},
		{"{\"leader\":\"node1\"}", {0}, true, "candidate must be named"},
		{"{\"leader\":\"node1\",\"scheduled_at\":\"2026-01-01T00:00:00\"}", {0}, false, "time zone"},
		{"{\"leader\":\"node1\",\"scheduled_at\":\"2001-01-01T00:00:00+00:00\"}", {0}, false, "long passed"},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
	{
		const HaAction *clear;

		start_leader(HA_HOME_WORKER);
		pause_cluster(table[i].is_paused);
		request_failover(table[i].request);
		if (count(HA_ASK_PEER) > 0)
			answer_from("node2", table[i].answer);
		tick(1);
		clear = last_key(HA_PUT_KEY, "failover");
		if (clear == NULL || strstr(clear->text, table[i].refused) == NULL)
			fail_msg("%s: not refused because of \"%s\", but %s", table[i].request, table[i].refused,
					 clear ? clear->text : "not at all");
		assert_true(clear->version != 0);
		assert_string_equal(ha_goal_name(node), "");
	}
	/* an older timeline */
	start_leader(HA_HOME_WORKER);
	postgres.timeline = postgres.newest_timeline = postgres.checkpoint_timeline = 2;
	tell_postgres();
	ask_for_switchover();
	answer_from("node2", (Answer) {0});
	assert_non_null(strstr(last_key(HA_PUT_KEY, "failover")->text, "still on timeline 1"));
	/* a schedule that has not come is left alone, and due in time */
	start_leader(HA_HOME_WORKER);
	request_failover("{\"leader\":\"node1\",\"member\":\"node2\",\"scheduled_at\":\"2033-01-01T00:00:00+00:00\"}");
	assert_null(last_key(HA_PUT_KEY, "failover"));
	expect_rule("lead");
}

static void
done_switchovers_are_forgotten(void **state)
{
	(void) state;
	/* we are the one that was switched over to */
	start_leader(HA_HOME_WORKER);
	request_failover("{\"leader\":\"node2\",\"member\":\"node1\"}");
	assert_string_equal(last_key(HA_PUT_KEY, "failover")->text, "{}");
	assert_string_equal(ha_goal_name(node), "");
}

static void
each_request_is_checked_anew(void **state)
{
	(void) state;
	/* the first waits for its checkpoint and is taken back */
	start_leader(HA_HOME_WORKER);
	postgres.flush_lsn = postgres.write_lsn = END_OF_WAL + 4096;
	tell_postgres();
	ask_for_switchover();
	answer_from("node2", (Answer) {0});
	assert_int_equal(count(HA_CHECKPOINT), 1);
	assert_string_equal(ha_goal_name(node), "");
	request_failover("{}");
	tick(10000);
	/* the second one's candidate does not answer */
	forget();
	ask_for_switchover();
	answer_from("node2", (Answer) {.is_silent = true});
	assert_string_equal(ha_goal_name(node), "");
	assert_non_null(strstr(last_key(HA_PUT_KEY, "failover")->text, "did not answer"));
}

static void
handover_needs_our_timeline(void **state)
{
	(void) state;
	stop_for_handover(HA_CONTROL_SHUTDOWNED);
	postgres.timeline = postgres.checkpoint_timeline = 3;
	tell_postgres();
	tick(30);
	answer_from("node2", (Answer) {.position = END_OF_WAL + 4096, .timeline = 2});
	assert_int_equal(count(HA_RELEASE), 0);
	tick(30);
	answer_from("node2", (Answer) {.timeline = 3});
	assert_int_equal(count(HA_RELEASE), 1);
}

/* --- timelines --- */

static void
claims_skip_taken_ids(void **state)
{
	const HaAction *claimed;

	(void) state;
	start_follower(HA_HOME_WORKER);
	set_key("promotions", "{\"2\":{\"name\":\"node2\",\"from\":1,\"lsn\":100},"
			"\"3\":{\"name\":\"node3\",\"from\":1,\"lsn\":100}}");
	set_key("leader", NULL);
	tell_view();
	answers((Answer) {0});
	set_key("leader", "node1");
	reply_to(last(HA_ACQUIRE), HA_OUTCOME_DONE, false, now, revision);
	tell_view();
	claimed = last_key(HA_PUT_KEY, "promotions");
	assert_non_null(strstr(claimed->text, "\"4\""));
	assert_non_null(strstr(claimed->text, "\"2\""));
	assert_true(claimed->version != 0);
	/* somebody else was faster: not ours, so no promotion */
	reply_to(claimed, HA_OUTCOME_LOST_RACE, false, now, 0);
	set_key("promotions", "{\"4\":{\"name\":\"node3\",\"from\":1,\"lsn\":100}}");
	tell_view();
	tick(100);
	assert_int_equal(count(HA_PROMOTE), 0);
	claimed = last_key(HA_PUT_KEY, "promotions");
	assert_non_null(strstr(claimed->text, "\"5\""));
	/* ours, but not the newest */
	set_key("promotions", "{\"5\":{\"name\":\"node1\",\"from\":1,\"lsn\":100},"
			"\"6\":{\"name\":\"node2\",\"from\":1,\"lsn\":100}}");
	reply_to(claimed, HA_OUTCOME_UNKNOWN, false, now, 0);
	tell_view();
	tick(200);
	assert_int_equal(count(HA_PROMOTE), 0);
	claimed = last_key(HA_PUT_KEY, "promotions");
	assert_non_null(strstr(claimed->text, "\"7\""));
	set_key("promotions", claimed->text);
	reply_to(claimed, HA_OUTCOME_DONE, false, now, 0);
	tell_view();
	/* each id that is taken gets its history file first, and those have to be seen */
	expect_rule("mark-timelines");
	assert_int_equal(count(HA_PLACE_HISTORY), 5);
	assert_int_equal(last(HA_PLACE_HISTORY)->timeline, 6);
	assert_int_equal(count(HA_PROMOTE), 0);
	/* some could not be written: again, but not all the time */
	postgres.newest_timeline = 4;
	forget();
	tell_postgres();
	assert_int_equal(count(HA_PLACE_HISTORY), 2);
	forget();
	tick(500);
	assert_int_equal(count(HA_PLACE_HISTORY), 0);
	tick(500);
	assert_int_equal(count(HA_PLACE_HISTORY), 2);
	assert_int_equal(count(HA_PROMOTE), 0);
	postgres.newest_timeline = 6;
	tell_postgres();
	assert_int_equal(last(HA_PROMOTE)->timeline, 7);
}

/* Who gave way, because it could not write the files, is not out for good. */
static void
gives_way_for_a_ttl(void **state)
{
	(void) state;
	gives_way();
	expect_rule("gives-way");
	assert_int_equal(count(HA_ACQUIRE), 1);
	/* and says so */
	reply_to(&(HaAction) {.request_id = node->pending[FOR_MEMBER].id}, HA_OUTCOME_DONE, false, now, 0);
	assert_non_null(strstr(last(HA_PUT_MEMBER)->text, "\"gives_way\":true"));
	tick(settings.ttl_ms);
	answers((Answer) {0});
	assert_int_equal(count(HA_ACQUIRE), 2);
}

/*
 * A former primary that leads again, after another one had the key "sync" and was
 * never promoted, shows what it wrote itself: nobody else may have that.
 */
static void
former_primary_relies_on_nobody(void **state)
{
	(void) state;
	for (int i = 0; i < 2; i++)
	{
		create(HA_HOME_WORKER);
		be_standby();
		/* i == 0: it was none */
		postgres.is_former_primary = i == 1;
		postgres.former_timeline = i;
		set_key("leader", NULL);
		be_synchronous(SYNC_PLAN_QUORUM, "{\"leader\":\"node2\",\"quorum\":1,\"sync_standby\":\"node1,node3\"}");
		answers((Answer) {0});
		expect_rule("race-for-lease");
		set_key("leader", "node1");
		reply_to(last(HA_ACQUIRE), HA_OUTCOME_DONE, false, now, revision);
		tell_view();
		assert_int_equal(count(HA_SET_SYNC_NAMES), i == 0);
		if (i == 0)
			continue;
		assert_string_equal(last_key(HA_PUT_KEY, "sync")->text,
							"{\"leader\":\"node1\",\"quorum\":0,\"sync_standby\":null}");
		set_key("promotions", last_key(HA_CREATE_KEY, "promotions")->text);
		reply_to(last_key(HA_CREATE_KEY, "promotions"), HA_OUTCOME_DONE, false, now, 0);
		assert_int_equal(count(HA_PROMOTE), 0);
		set_key("sync", last_key(HA_PUT_KEY, "sync")->text);
		reply_to(last_key(HA_PUT_KEY, "sync"), HA_OUTCOME_DONE, false, now, 0);
		tell_view();
		expect_rule("promote");
		last(HA_PROMOTE);
	}
}

/* A promotion by hand takes an id too, and disturbs nobody who leads. */
static void
promotions_by_hand_are_recorded(void **state)
{
	const HaAction *action;

	(void) state;
	start_follower(HA_HOME_WORKER);
	postgres.is_in_recovery = false;
	postgres.timeline = postgres.newest_timeline = 2;
	tell_postgres();
	action = last_key(HA_CREATE_KEY, "promotions");
	assert_non_null(action);
	assert_string_equal(action->text, "{\"2\":{\"name\":\"\",\"from\":1,\"lsn\":0}}");
	/* once recorded, by whomever, it is enough */
	set_key("promotions", action->text);
	reply_to(action, HA_OUTCOME_DONE, false, now, 0);
	tell_view();
	forget();
	tick(1000);
	assert_int_equal(count(HA_CREATE_KEY) + count(HA_PUT_KEY), 0);
	/* a leader on the older timeline goes on */
	start_leader(HA_HOME_WORKER);
	set_key("promotions", action->text);
	tell_view();
	expect_rule("lead");
	assert_int_equal(count(HA_RELEASE), 0);
	/* what another cluster's server is on is no matter of this cluster */
	start_follower(HA_HOME_WORKER);
	postgres.system_identifier++;
	postgres.is_in_recovery = false;
	postgres.timeline = postgres.newest_timeline = 2;
	tell_postgres();
	assert_null(last_key(HA_CREATE_KEY, "promotions"));
}

/* So is one to an id that another member has claimed: the claim stays, and says who else has it. */
static void
doubled_timelines_are_recorded(void **state)
{
	static const char claim[] = "{\"2\":{\"name\":\"node2\",\"from\":1,\"lsn\":1000}}";
	const HaAction *action;

	(void) state;
	for (int i = 0; i < 6; i++)
	{
		/* i == 0: as a primary; 1: as what it is afterwards */
		if (i == 1)
			come_back_uncompared(claim, ",\"timeline\":2");
		else
		{
			start_follower(HA_HOME_WORKER);
			/* i == 2: it was this member's own promotion; 3: it is recorded; 4: a standby; 5: that was left out */
			set_key("promotions", i == 2 ? "{\"2\":{\"name\":\"node1\",\"from\":1,\"lsn\":1000}}" :
					i == 3 ? "{\"2\":{\"name\":\"node2\",\"from\":1,\"lsn\":1000,\"also\":\"node1\",\"also_lsn\":990}}" : claim);
			tell_view();
		}
		postgres.is_in_recovery = i == 1 || i == 4;
		if (i == 5)
			tell_postgres();
		postgres.timeline = postgres.newest_timeline = i == 5 ? 3 : 2;
		postgres.n_history = 1;
		postgres.history[0].timeline = 1;
		postgres.history[0].switch_lsn = 990;
		tell_postgres();
		if (i == 5)
		{
			assert_null(strstr(last_key(HA_PUT_KEY, "promotions")->text, "also"));
			continue;
		}
		action = last_key(HA_PUT_KEY, "promotions");
		if (i >= 2)
		{
			assert_null(action);
			continue;
		}
		assert_non_null(action);
		assert_string_equal(action->text, "{\"2\":{\"name\":\"node2\",\"from\":1,\"lsn\":1000,\"also\":\"node1\",\"also_lsn\":990}}");
		assert_true(action->version != 0);
	}
}

/* An id that a member is on is taken before anybody recorded it. */
static void
claims_skip_timelines_of_members(void **state)
{
	(void) state;
	start_follower(HA_HOME_WORKER);
	set_key("members/node3", "{\"conn_url\":\"postgres://10.0.0.3:5432/postgres\","
			"\"api_url\":\"http://10.0.0.3:8008/patroni\",\"state\":\"running\","
			"\"role\":\"primary\",\"timeline\":2,\"xlog_location\":83886080}");
	set_key("leader", NULL);
	tell_view();
	answer_from("node2", (Answer) {.timeline = 3, .nofailover = true});
	answer_from("node3", (Answer) {0});
	set_key("leader", "node1");
	reply_to(last(HA_ACQUIRE), HA_OUTCOME_DONE, false, now, revision);
	tell_view();
	assert_non_null(strstr(last_key(HA_CREATE_KEY, "promotions")->text, "\"4\""));
}

static void
old_claims_do_not_count(void **state)
{
	(void) state;
	/* of another parent, of ours from long ago: a new one is made */
	start_follower(HA_HOME_WORKER);
	set_key("history", "[[1,100,\"no\"],[2,200,\"no\"]]");
	tell_view();
	postgres.timeline = postgres.newest_timeline = 3;
	tell_postgres();
	set_key("promotions", "{\"4\":{\"name\":\"node1\",\"from\":2,\"lsn\":100}}");
	set_key("leader", NULL);
	tell_view();
	answers((Answer) {.timeline = 3});
	answer_from("node3", (Answer) {.timeline = 3});
	set_key("leader", "node1");
	reply_to(last(HA_ACQUIRE), HA_OUTCOME_DONE, false, now, revision);
	tell_view();
	assert_int_equal(count(HA_PROMOTE), 0);
	assert_non_null(strstr(last_key(HA_PUT_KEY, "promotions")->text, "\"5\""));
	/* a promotion that does not come is asked for again */
	set_key("promotions", last_key(HA_PUT_KEY, "promotions")->text);
	tell_view();
	postgres.newest_timeline = 4;
	tell_postgres();
	assert_int_equal(count(HA_PROMOTE), 1);
	tick(HA_PROMOTE_TIMEOUT_MS);
	reply(HA_RENEW, HA_OUTCOME_DONE);
	tell_postgres();
	tick(1);
	assert_int_equal(count(HA_PROMOTE), 2);
}

static void
gaps_of_timelines_are_bounded(void **state)
{
	(void) state;
	start_follower(HA_HOME_WORKER);
	set_key("promotions", "{\"4294967294\":{\"name\":\"node2\",\"from\":1,\"lsn\":100}}");
	set_key("leader", NULL);
	tell_view();
	answers((Answer) {0});
	set_key("leader", "node1");
	reply_to(last(HA_ACQUIRE), HA_OUTCOME_DONE, false, now, revision);
	tell_view();
	tick(1000);
	assert_int_equal(count(HA_PROMOTE), 0);
	/* a gap larger than a list of actions */
	start_follower(HA_HOME_WORKER);
	set_key("promotions", "{\"1000\":{\"name\":\"node1\",\"from\":1,\"lsn\":100}}");
	set_key("leader", "node1");
	tell_view();
	confirm_lease();
	assert_int_equal(count(HA_PROMOTE), 0);
	assert_int_equal(count(HA_PLACE_HISTORY), 256);
	postgres.newest_timeline = 257;
	tell_postgres();
	assert_int_equal(count(HA_PLACE_HISTORY), 512);
	assert_int_equal(count(HA_PROMOTE), 0);
	postgres.newest_timeline = 999;
	forget();
	tell_postgres();
	assert_int_equal(last(HA_PROMOTE)->timeline, 1000);
}

/* --- pause --- */

static void
pause_rules(void **state)
{
	(void) state;
	/* a running primary keeps and renews the lease, its fence is open */
	start_leader(HA_HOME_WORKER);
	pause_cluster(true);
	assert_int_equal(last(HA_FENCE)->deadline_ms, HA_DEADLINE_NEVER);
	assert_int_equal(ha_lease_deadline_ms(node), HA_DEADLINE_NEVER);
	tick(10000);
	assert_string_equal(last(HA_RENEW)->value, "node1");
	/* it goes on without it */
	reply(HA_RENEW, HA_OUTCOME_LOST_RACE);
	set_key("leader", "node2");
	tell_view();
	expect_rule("primary-without-lease-paused");
	assert_int_equal(last(HA_FENCE)->deadline_ms, HA_DEADLINE_NEVER);
	/* at the end of the pause it must not */
	pause_cluster(false);
	assert_int_equal(last(HA_FENCE)->deadline_ms, 0);
	expect_rule("demote");

	/* a free lease is taken by a primary only */
	start_leader(HA_HOME_WORKER);
	pause_cluster(true);
	set_key("leader", NULL);
	tell_view();
	expect_rule("retake-lease");

	/* of two primaries only the one whose identifier is the cluster's */
	create(HA_HOME_WORKER);
	be_primary();
	settings.is_paused = true;
	postgres.system_identifier = FOREIGN_ID;
	tell_all();
	assert_int_equal(count(HA_ACQUIRE), 0);

	/* a failover to a named candidate works: claim, promotion, lead */
	start_follower(HA_HOME_WORKER);
	pause_cluster(true);
	set_key("leader", NULL);
	request_failover("{\"member\":\"node1\"}");
	expect_rule("named");
	set_key("leader", "node1");
	reply_to(last(HA_ACQUIRE), HA_OUTCOME_DONE, false, now, revision);
	tell_view();
	expect_rule("claim-timeline");
	set_key("promotions", last_key(HA_CREATE_KEY, "promotions")->text);
	tell_view();
	last(HA_PROMOTE);

	/* schedules rest */
	start_leader(HA_HOME_WORKER);
	pause_cluster(true);
	request_failover("{\"leader\":\"node1\",\"member\":\"node2\",\"scheduled_at\":\"2023-11-14T22:30:00+00:00\"}");
	expect_rule("lead");
	assert_int_equal(count(HA_ASK_PEER), 0);

	/* a standby still follows a new leader, but repairs nothing */
	start_follower(HA_HOME_WORKER);
	pause_cluster(true);
	set_member("node3", ",\"role\":\"primary\"");
	set_key("leader", "node3");
	tell_view();
	assert_string_equal(last(HA_FOLLOW)->member, "node3");
	start_follower(HA_HOME_WORKER);
	pause_cluster(true);
	postgres.is_streaming = false;
	tell_postgres();
	tick(HA_STREAM_LOST_MS);
	assert_int_equal(count(HA_YIELD), 0);

	/* a stopped server is not started; an immediate restart works */
	start_stopped_follower(HA_CONTROL_SHUTDOWNED_IN_RECOVERY);
	create(HA_HOME_SUPERVISOR);
	be_stopped(HA_CONTROL_IN_PRODUCTION);
	settings.is_paused = true;
	tell_all();
	assert_int_equal(count(HA_START_TASK), 0);
	start_leader(HA_HOME_SUPERVISOR);
	pause_cluster(true);
	give((HaCommand) {.id = 1, .kind = HA_COMMAND_RESTART});
	expect_task(HA_TASK_STOP);
}

/* A text that nobody can read is replaced, not taken for a free key. */
static void
unreadable_request_is_replaced(void **state)
{
	const HaAction *put;

	(void) state;
	start_follower(HA_HOME_WORKER);
	set_key("requests/node2", "{broken");
	tell_view();
	give((HaCommand) {.id = 1, .kind = HA_COMMAND_RESTART, .member = "node2"});
	assert_int_equal(count(HA_CREATE_KEY), 0);
	put = last_key(HA_PUT_KEY, "requests/node2");
	assert_non_null(put);
	assert_int_equal(put->version, cluster_find_request(&node->view, "node2")->version);
	assert_true(put->version != 0);
	/* whom it is for does not answer it */
	start_follower(HA_HOME_SUPERVISOR);
	set_key("requests/node1", "{\"command\":\"restart\"}");
	tell_view();
	assert_string_equal(ha_goal_name(node), "");
	ha_finish_member_request(node, true, "restarted");
	assert_null(last_key(HA_PUT_KEY, "requests/node1"));
}

/* --- requests of other members --- */

static void
member_requests(void **state)
{
	(void) state;
	/* a restart, answered when it is over */
	start_follower(HA_HOME_SUPERVISOR);
	set_key("requests/node1", "{\"id\":\"a-1\",\"command\":\"restart\",\"arguments\":{\"role\":\"replica\"}}");
	tell_view();
	expect_rule("stop-for-restart");
	assert_null(last_key(HA_PUT_KEY, "requests/node1"));
	be_stopped(HA_CONTROL_SHUTDOWNED_IN_RECOVERY);
	tell_postgres();
	end_task(HA_TASK_OK, 0, 0);
	be_standby();
	tell_postgres();
	end_task(HA_TASK_OK, 0, 0);
	assert_non_null(strstr(last_key(HA_PUT_KEY, "requests/node1")->text, "\"done\":true"));
	assert_null(strstr(last_key(HA_PUT_KEY, "requests/node1")->text, "\"refused\""));
	assert_true(last_key(HA_PUT_KEY, "requests/node1")->version != 0);
	/* not twice, also not while the view lags */
	tell_view();
	assert_string_equal(ha_goal_name(node), "");

	/* a reload */
	start_follower(HA_HOME_WORKER);
	set_key("requests/node1", "{\"id\":\"a-2\",\"command\":\"reload\"}");
	tell_view();
	assert_int_equal(count(HA_RELOAD), 1);
	assert_non_null(strstr(last_key(HA_PUT_KEY, "requests/node1")->text, "reloaded"));

	/* a refusal stays one, even if it has to be written again */
	start_leader(HA_HOME_WORKER);
	set_key("requests/node1", "{\"id\":\"a-3\",\"command\":\"reinitialize\",\"arguments\":{}}");
	tell_view();
	assert_non_null(strstr(last_key(HA_PUT_KEY, "requests/node1")->text, "\"refused\":true"));
	reply_to(last_key(HA_PUT_KEY, "requests/node1"), HA_OUTCOME_NOT_SENT, false, now, 0);
	forget();
	tick(100);
	assert_non_null(strstr(last_key(HA_PUT_KEY, "requests/node1")->text, "\"refused\":true"));
	assert_non_null(strstr(last_key(HA_PUT_KEY, "requests/node1")->text, "is the leader"));

	/* what nobody knows */
	start_follower(HA_HOME_WORKER);
	set_key("requests/node1", "{\"id\":\"a-4\",\"command\":\"format\",\"arguments\":[1,2]}");
	tell_view();
	assert_non_null(strstr(last_key(HA_PUT_KEY, "requests/node1")->text, "does not know"));
	/* and what is for others, or done */
	forget();
	set_key("requests/node2", "{\"id\":\"a-5\",\"command\":\"restart\"}");
	set_key("requests/node1", "{\"id\":\"a-6\",\"command\":\"restart\",\"done\":true}");
	tell_view();
	assert_string_equal(ha_goal_name(node), "");
}

static void
failed_restart_is_said(void **state)
{
	(void) state;
	start_follower(HA_HOME_SUPERVISOR);
	set_key("requests/node1", "{\"id\":\"b-1\",\"command\":\"restart\"}");
	tell_view();
	be_stopped(HA_CONTROL_SHUTDOWNED_IN_RECOVERY);
	tell_postgres();
	end_task(HA_TASK_OK, 0, 0);
	expect_task(HA_TASK_START_STANDBY);
	end_task(HA_TASK_FAILED, 0, 0);
	assert_non_null(strstr(last_key(HA_PUT_KEY, "requests/node1")->text, "\"refused\":true"));
	assert_non_null(strstr(last_key(HA_PUT_KEY, "requests/node1")->text, "out of luck"));
	/* the member is started all the same */
	tick(HA_TASK_RETRY_MIN_MS);
	expect_task(HA_TASK_CHECK_DIVERGENCE);
	end_task(HA_TASK_OK, HA_DIVERGENCE_NONE, 0);
	expect_task(HA_TASK_START_STANDBY);
}

static void
names_of_other_scripts(void **state)
{
	(void) state;
	create(HA_HOME_WORKER);
	be_standby();
	set_key("leader", "node2");
	snprintf(settings.name, sizeof(settings.name), "x\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9");
	tell_all();
	give((HaCommand) {.id = 1, .kind = HA_COMMAND_RESTART, .member = "node2"});
	assert_non_null(last_key(HA_CREATE_KEY, "requests/node2")->text);
}

/* The request, and its answer, are in the key of the whole name. */
static void
long_name(void **state)
{
	HaCommand	command = {.id = 1, .kind = HA_COMMAND_RELOAD, .wait = true};
	char		name[CLUSTER_NAME_MAX];
	char		key[160];

	(void) state;
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	start_follower(HA_HOME_WORKER);
	snprintf(key, sizeof(key), "members/%s", name);
	set_key(key, "{\"state\":\"running\",\"role\":\"replica\"}");
	tell_view();
	snprintf(key, sizeof(key), "requests/%s", name);
	snprintf(command.member, sizeof(command.member), "%s", name);
	give(command);
	assert_non_null(last_key(HA_CREATE_KEY, key));

	create(HA_HOME_WORKER);
	be_standby();
	set_key("leader", "node2");
	snprintf(settings.name, sizeof(settings.name), "%s", name);
	set_key(key, "{\"id\":\"a-1\",\"command\":\"reload\"}");
	tell_all();
	assert_non_null(last_key(HA_PUT_KEY, key));
}

/* "force" does without what is under way, but for the end of the supervisor. */
static void
force_spares_shutdown(void **state)
{
	HaCommand	reinitialize = {.id = 2, .kind = HA_COMMAND_REINITIALIZE, .force = true};

	(void) state;
	start_follower(HA_HOME_SUPERVISOR);
	give((HaCommand) {.id = 1, .kind = HA_COMMAND_SHUTDOWN});
	give(reinitialize);
	assert_false(last(HA_ANSWER)->ok);
	assert_non_null(strstr(last(HA_ANSWER)->detail, "Shutdown already in progress"));
	assert_string_equal(ha_goal_name(node), "shutdown");

	start_follower(HA_HOME_SUPERVISOR);
	give((HaCommand) {.id = 1, .kind = HA_COMMAND_RESTART});
	give(reinitialize);
	assert_true(last(HA_ANSWER)->ok);
	assert_string_equal(ha_goal_name(node), "reinitialize");
}

/* --- no state without a way out --- */

static void
repair_ends_without_a_leader(void **state)
{
	(void) state;
	start_follower(HA_HOME_WORKER);
	postgres.is_streaming = false;
	tell_postgres();
	tick(HA_STREAM_LOST_MS);
	last(HA_YIELD);
	/* the leader key expires while the baton moves */
	set_key("leader", NULL);
	set_key("members/node2", NULL);
	swap_home(HA_HOME_SUPERVISOR);
	tick(1);
	assert_string_equal(ha_goal_name(node), "");
	assert_false(ha_wants_supervisor(node));
	/* in pause nothing is repaired */
	lose_stream();
	pause_cluster(true);
	end_task(HA_TASK_OK, HA_DIVERGENCE_REWIND, 0);
	tick(1);
	assert_string_equal(ha_goal_name(node), "");
}

static void
reinit_ends_without_a_leader(void **state)
{
	(void) state;
	reinit_wait();
	expect_rule("reinit-wait");
	tick(settings.ttl_ms + settings.loop_wait_ms);
	tick(1);
	assert_string_equal(ha_goal_name(node), "");
	expect_task(HA_TASK_START_STANDBY);
}

static void
switchover_ends_when_the_lease_ran_out(void **state)
{
	HaInput		input = {.kind = HA_INPUT_TASK};

	(void) state;
	hand_over_to(HA_CONTROL_SHUTDOWNED);
	now += 100;
	reply_to(&(HaAction) {.request_id = node->pending[FOR_RENEW].id}, HA_OUTCOME_LOST_RACE, true, now, 0);
	set_key("leader", NULL);
	tell_view();
	input.task.task = HA_TASK_STOP;
	input.task.id = node->task_id;
	input.task.lsn = END_OF_WAL;
	step(&input);
	expect_task(HA_TASK_START_STANDBY);
	be_standby();
	tell_postgres();
	end_task(HA_TASK_OK, 0, 0);
	tick(1);
	assert_int_equal(last(HA_START_TASK)->task, HA_TASK_START_STANDBY);
	assert_string_equal(ha_goal_name(node), "");
}

static void
failing_start_gives_the_lease_away(void **state)
{
	(void) state;
	/* a restart of the leader, and the new configuration does not work */
	restart_leader();
	end_task(HA_TASK_FAILED, 0, 0);
	forget();
	tick(HA_TASK_RETRY_MIN_MS);
	assert_int_equal(count(HA_RELEASE), 1);
	assert_int_equal(count(HA_START_TASK), 0);
	/* nobody else can: it goes on trying */
	start_stopped_leader(HA_CONTROL_SHUTDOWNED);
	set_key("members/node2", NULL);
	set_key("members/node3", NULL);
	tell_view();
	end_task(HA_TASK_FAILED, 0, 0);
	forget();
	tick(HA_TASK_RETRY_MIN_MS);
	assert_int_equal(count(HA_RELEASE), 0);
	expect_task(HA_TASK_START_PRIMARY);
}

static void
failed_bootstrap_lets_others_try(void **state)
{
	(void) state;
	initdb();
	set_key("initialize", "");
	tell_view();
	forget();
	node->pending[FOR_INITIALIZE].failures = 0;
	{
		HaInput		input = {.kind = HA_INPUT_TASK};

		input.task.task = HA_TASK_INITDB;
		input.task.id = node->task_id;
		input.task.outcome = HA_TASK_FAILED;
		step(&input);
	}
	assert_string_equal(last(HA_DELETE_KEY)->key, "initialize");
	/* until it is gone */
	reply(HA_DELETE_KEY, HA_OUTCOME_UNKNOWN);
	forget();
	tick(100);
	assert_string_equal(last(HA_DELETE_KEY)->key, "initialize");
	reply(HA_DELETE_KEY, HA_OUTCOME_DONE);
	set_key("initialize", NULL);
	forget();
	tell_view();
	assert_int_equal(count(HA_DELETE_KEY), 0);
}

static void
old_positions_are_not_trusted(void **state)
{
	(void) state;
	/* a second crash within the life of the first one's answers */
	crash();
	answers((Answer) {0});
	expect_task(HA_TASK_START_PRIMARY);
	be_primary();
	tell_postgres();
	end_task(HA_TASK_OK, 0, 0);
	node->handover_lsn = END_OF_WAL - 100;	/* inside: as left by an earlier crash */
	be_stopped(HA_CONTROL_IN_PRODUCTION);
	tell_postgres();
	assert_int_equal(count(HA_RELEASE), 0);
	expect_task(HA_TASK_WAL_END);
}




/* --- synchronous replication --- */

static const char *
sync_text(const char *leader, int quorum, const char *standbys)
{
	static char text[256];

	snprintf(text, sizeof(text), "{\"leader\":\"%s\",\"quorum\":%d,\"sync_standby\":%s%s%s}", leader,
			 quorum, standbys ? "\"" : "", standbys ? standbys : "null", standbys ? "\"" : "");
	return text;
}

static void
expect_sync(HaActionKind kind, const char *leader, int quorum, const char *standbys)
{
	const HaAction *action = last_key(kind, "sync");

	if (action == NULL)
		fail_msg("the sync key is not written");
	assert_string_equal(action->text, sync_text(leader, quorum, standbys));
	assert_true((action->version != 0) == (kind == HA_PUT_KEY));
}

/* A primary with one synchronous standby, node2, all settled. */
static void
start_synchronous_leader(void)
{
	start_leader(HA_HOME_WORKER);
	be_synchronous(SYNC_PLAN_ON, NULL);
	expect_sync(HA_CREATE_KEY, "node1", 0, NULL);
	sync_is_written(HA_CREATE_KEY);
	assert_int_equal(count(HA_SET_SYNC_NAMES), 0);
	be_connected("node2", SYNC_WALSENDER_ASYNC, END_OF_WAL);
	assert_string_equal(last(HA_SET_SYNC_NAMES)->text, "node2");
	/* it becomes synchronous in the key only when commits wait for it */
	tick(10);
	assert_null(last_key(HA_PUT_KEY, "sync"));
	postgres.senders[0].sync_state = SYNC_WALSENDER_SYNC;
	names_are_in_force();
	expect_sync(HA_PUT_KEY, "node1", 0, "node2");
	sync_is_written(HA_PUT_KEY);
	forget();
	tick(10);
	assert_int_equal(count(HA_SET_SYNC_NAMES) + count(HA_PUT_KEY), 0);
}

static void
synchronous_standby_comes_and_goes(void **state)
{
	(void) state;
	start_synchronous_leader();

	/* its walsender ends: first the key, then the names, in the same moment */
	memset(postgres.senders, 0, sizeof(postgres.senders));
	postgres.n_senders = 0;
	tell_postgres();
	expect_sync(HA_PUT_KEY, "node1", 0, NULL);
	assert_int_equal(count(HA_SET_SYNC_NAMES), 0);
	sync_is_written(HA_PUT_KEY);
	assert_string_equal(last(HA_SET_SYNC_NAMES)->text, "");
	names_are_in_force();
	forget();
	tick(10);
	assert_int_equal(count(HA_SET_SYNC_NAMES) + count(HA_PUT_KEY), 0);

	/* the mode is switched off: the key goes, then our value of the names */
	settings.sync_mode = SYNC_PLAN_OFF;
	tell_settings();
	assert_non_null(last_key(HA_DELETE_KEY, "sync"));
	assert_int_equal(count(HA_SET_SYNC_NAMES), 0);
	set_key("sync", NULL);
	reply(HA_DELETE_KEY, HA_OUTCOME_DONE);
	tell_view();
	assert_null(last(HA_SET_SYNC_NAMES)->text);
	assert_true(node->fence_ms > now);
	names_are_in_force();
	forget();
	tick(10);
	assert_int_equal(count(HA_SET_SYNC_NAMES), 0);
}

static void
strict_mode_waits_for_anybody(void **state)
{
	HaSyncReport report;

	(void) state;
	start_synchronous_leader();
	settings.sync_is_strict = true;
	tell_settings();
	memset(postgres.senders, 0, sizeof(postgres.senders));
	postgres.n_senders = 0;
	tell_postgres();
	tick(1000);
	/* commits wait, the key stays: node2 has all that was acknowledged */
	assert_null(last_key(HA_PUT_KEY, "sync"));
	assert_int_equal(count(HA_SET_SYNC_NAMES), 0);
	/* pg_receivewal comes: commits may wait for that */
	be_connected("receiver", SYNC_WALSENDER_ASYNC, END_OF_WAL);
	sync_is_written(HA_PUT_KEY);
	assert_string_equal(last(HA_SET_SYNC_NAMES)->text, "*");
	/* it goes: that clients wait is said as long as they do */
	memset(postgres.senders, 0, sizeof(postgres.senders));
	postgres.n_senders = 0;
	snprintf(postgres.sync_names, sizeof(postgres.sync_names), "*");
	names_are_in_force();
	ha_sync_report(node, &report);
	assert_string_equal(report.rule, "strict");
	assert_non_null(strstr(report.because, "commits wait for any receiver"));
}

static void
two_connections_of_one_name_are_not_relied_on(void **state)
{
	(void) state;
	start_synchronous_leader();
	postgres.senders[1] = postgres.senders[0];
	postgres.n_senders = 2;
	tell_postgres();
	expect_sync(HA_PUT_KEY, "node1", 0, NULL);
}

static void
unknown_write_of_the_sync_key_is_repeated(void **state)
{
	const HaAction *first;
	uint64_t	version;

	(void) state;
	start_synchronous_leader();
	memset(postgres.senders, 0, sizeof(postgres.senders));
	postgres.n_senders = 0;
	tell_postgres();
	first = last_key(HA_PUT_KEY, "sync");
	version = first->version;
	reply_to(first, HA_OUTCOME_UNKNOWN, false, now, 0);
	forget();
	/* node2 is back, but the write may still happen: nothing else before that is known */
	be_connected("node2", SYNC_WALSENDER_SYNC, END_OF_WAL);
	tick(2000);
	expect_sync(HA_PUT_KEY, "node1", 0, NULL);
	assert_int_equal(last_key(HA_PUT_KEY, "sync")->version, version);
	assert_int_equal(count(HA_SET_SYNC_NAMES), 0);
	/* the first one did it, the second one lost against it */
	reply_to(last_key(HA_PUT_KEY, "sync"), HA_OUTCOME_LOST_RACE, false, now, 0);
	forget();
	tick(100);
	assert_null(last_key(HA_PUT_KEY, "sync"));
	set_key("sync", sync_text("node1", 0, NULL));
	tell_view();
	tick(2000);
	expect_sync(HA_PUT_KEY, "node1", 0, "node2");

	/* handed to the other home and back while its end is not known */
	reply_to(last_key(HA_PUT_KEY, "sync"), HA_OUTCOME_UNKNOWN, false, now, 0);
	swap_home(HA_HOME_SUPERVISOR);
	forget();
	memset(postgres.senders, 0, sizeof(postgres.senders));
	postgres.n_senders = 0;
	swap_home(HA_HOME_WORKER);
	tick(2000);
	expect_sync(HA_PUT_KEY, "node1", 0, "node2");
}

/* Nothing is known of what the process before has sent. */
static void
new_process_makes_old_writes_void(void **state)
{
	(void) state;
	start_synchronous_leader();
	ha_node_free(node);
	node = ha_node_create(HA_HOME_WORKER);
	assert_true(ha_node_load(node, NULL, now));
	tell_all();
	assert_int_equal(node->fence_ms, 0);
	confirm_lease();
	expect_sync(HA_PUT_KEY, "node1", 0, "node2");
	assert_int_equal(node->fence_ms, 0);
	sync_is_written(HA_PUT_KEY);
	assert_true(node->fence_ms > now);
	forget();
	tick(10);
	assert_null(last_key(HA_PUT_KEY, "sync"));
}

/* No acknowledgement before the names in force suit the key. */
static void
fence_waits_for_the_sync_key(void **state)
{
	(void) state;
	start_follower(HA_HOME_WORKER);
	snprintf(postgres.sync_names, sizeof(postgres.sync_names), "node9");	/* from long ago */
	be_synchronous(SYNC_PLAN_ON, "{\"leader\":\"node2\",\"quorum\":0,\"sync_standby\":\"node1\"}");
	set_key("leader", NULL);
	tell_view();
	answers((Answer) {.is_silent = true});
	tick(400);
	set_key("leader", "node1");
	reply_to(last(HA_ACQUIRE), HA_OUTCOME_DONE, false, now, revision);
	tell_view();
	expect_rule("claim-timeline");
	assert_string_equal(last(HA_SET_SYNC_NAMES)->text, "");
	names_are_in_force();
	expect_sync(HA_PUT_KEY, "node1", 0, NULL);
	assert_int_equal(node->fence_ms, 0);
	set_key("promotions", last_key(HA_CREATE_KEY, "promotions")->text);
	reply_to(last_key(HA_CREATE_KEY, "promotions"), HA_OUTCOME_DONE, false, now, 0);
	tell_view();
	expect_rule("sync-first");
	assert_int_equal(count(HA_PROMOTE), 0);
	sync_is_written(HA_PUT_KEY);
	assert_int_equal(last(HA_PROMOTE)->timeline, 2);
	assert_true(node->fence_ms > now);
	/* it is what it was when the server is up; after a restart it is looked at anew */
	be_primary();
	postgres.timeline = 2;
	tell_postgres();
	assert_true(node->fence_ms > now);
	be_stopped(HA_CONTROL_IN_PRODUCTION);
	tell_postgres();
	assert_int_equal(node->fence_ms, 0);
}

/* One round of questions about a lease that is free. */
static void
ask_in_vain(void)
{
	tick(1000);
	answer_from("node2", (Answer) {.is_silent = true});
	answer_from("node3", (Answer) {.position = END_OF_WAL});
	expect_rule("not-synchronous");
}

static void
who_may_not_lead_says_so_once(void **state)
{
	HaExplanation rows[32];
	bool		is_missing_named = false;
	int			n_rows;

	(void) state;
	start_follower(HA_HOME_WORKER);
	be_synchronous(SYNC_PLAN_ON, "{\"leader\":\"node9\",\"quorum\":0,\"sync_standby\":null}");
	set_key("leader", NULL);
	tell_view();
	ask_in_vain();
	assert_non_null(strstr(ha_decision(node)->because, "it names node9"));
	forget();
	for (int i = 0; i < 5; i++)
	{
		ask_in_vain();
		assert_int_equal(count_said(), 0);
		forget();
	}
	n_rows = ha_explain(node, now, rows, 32);
	for (int i = 0; i < n_rows; i++)
		is_missing_named |= strcmp(rows[i].member, "node9") == 0 && !rows[i].is_eligible;
	assert_true(is_missing_named);
	/* another reason, and the next time, are news */
	set_key("sync", "{\"leader\":\"node9\",\"quorum\":0,\"sync_standby\":\"node8\"}");
	tell_view();
	assert_true(count_said() > 0);
	set_key("leader", "node2");
	tell_view();
	set_key("leader", NULL);
	forget();
	tell_view();
	ask_in_vain();
	assert_true(count_said() > 0);
}

static void
failover_to_an_asynchronous_member_is_warned_of(void **state)
{
	bool		is_warned = false;

	(void) state;
	start_follower(HA_HOME_WORKER);
	be_synchronous(SYNC_PLAN_ON, "{\"leader\":\"node2\",\"quorum\":0,\"sync_standby\":\"node3\"}");
	set_key("status", "{\"optime\":83886180}");	/* END_OF_WAL + 100 */
	set_key("leader", NULL);
	request_failover("{\"member\":\"node1\"}");
	expect_rule("named");
	last(HA_ACQUIRE);
	for (int i = 0; i < n_seen; i++)
		is_warned |= seen[i].kind == HA_LOG && seen[i].level == 2 &&
			strstr(seen[i].because, "100 bytes of WAL may be lost") != NULL;
	assert_true(is_warned);
	set_key("leader", "node1");
	reply_to(last(HA_ACQUIRE), HA_OUTCOME_DONE, false, now, revision);
	tell_view();
	expect_rule("claim-timeline");

	/* who orders it is told as well */
	start_leader(HA_HOME_WORKER);
	be_synchronous(SYNC_PLAN_ON, sync_text("node1", 0, "node3"));
	postgres.flush_lsn = END_OF_WAL + 100;
	tell_postgres();
	give((HaCommand) {.id = 7, .kind = HA_COMMAND_FAILOVER, .candidate = "node2"});
	reply_to(last_key(HA_CREATE_KEY, "failover"), HA_OUTCOME_DONE, false, now, 0);
	assert_true(last(HA_ANSWER)->ok);
	assert_non_null(strstr(last(HA_ANSWER)->text, "100 bytes of WAL or more may be lost"));

	/* a switchover is another matter */
	start_leader(HA_HOME_WORKER);
	be_synchronous(SYNC_PLAN_ON, sync_text("node1", 0, "node3"));
	request_failover("{\"leader\":\"node1\",\"member\":\"node2\"}");
	answer_from("node2", (Answer) {0});
	assert_non_null(strstr(last_key(HA_PUT_KEY, "failover")->text, "is not a synchronous standby"));
}

/* In a pause it may have the lease; who has what was acknowledged since, the key tells. */
static void
outdated_leader_leaves_the_sync_key_alone(void **state)
{
	(void) state;
	start_leader(HA_HOME_WORKER);
	pause_cluster(true);
	set_key("history", "[[1,83886080,\"no recovery target specified\"]]");
	tell_view();
	forget();
	be_synchronous(SYNC_PLAN_ON, sync_text("node2", 0, "node3"));
	tick(settings.loop_wait_ms);
	assert_null(last_key(HA_PUT_KEY, "sync"));
	assert_int_equal(count(HA_SET_SYNC_NAMES), 0);

	/* on the newest timeline it is another matter */
	set_key("history", NULL);
	tell_view();
	tick(10);
	expect_sync(HA_PUT_KEY, "node1", 0, NULL);
}

/* A member that nobody may vote for is nobody to wait for. */
static void
asynchronous_members_are_not_waited_for(void **state)
{
	(void) state;
	start_follower(HA_HOME_WORKER);
	be_synchronous(SYNC_PLAN_ON, "{\"leader\":\"node2\",\"quorum\":0,\"sync_standby\":\"node1\"}");
	set_key("leader", NULL);
	tell_view();
	answer_from("node2", (Answer) {.is_silent = true});
	answer_from("node3", (Answer) {.position = END_OF_WAL + 1000});
	expect_rule("race-for-lease");
}

#define TEST(f) cmocka_unit_test_teardown(f, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(drops_slots_of_members_gone),
		TEST(moves_slots_on_a_standby),
		TEST(moves_slots_of_cascades),
		TEST(asks_less_often_for_a_slot),
		TEST(makes_and_copies_logical_slots),
		TEST(makes_no_logical_slot_with_a_gap),
		TEST(publishes_when_it_is_over),
		TEST(publishes_positions_when_they_have_settled),
		TEST(publishes_positions_after_a_renewal),
		TEST(new_primary_asks_for_a_checkpoint),
		TEST(publishes_positions_of_slots),
		TEST(member_key_is_written_again),
		TEST(wakes_for_the_member_key_when_wal_moves),
		TEST(prefers_who_has_logical_slots),
		TEST(makes_slots_in_spite_of_nofailover),
		TEST(compares_again_after_a_pause),
		TEST(comparison_in_vain_is_said_once),
		TEST(restarts_a_standby_that_is_off_course),
		TEST(every_rule_decides),
		TEST(hangs_paused),
		TEST(synchronous_standby_comes_and_goes),
		TEST(strict_mode_waits_for_anybody),
		TEST(two_connections_of_one_name_are_not_relied_on),
		TEST(unknown_write_of_the_sync_key_is_repeated),
		TEST(new_process_makes_old_writes_void),
		TEST(fence_waits_for_the_sync_key),
		TEST(who_may_not_lead_says_so_once),
		TEST(failover_to_an_asynchronous_member_is_warned_of),
		TEST(outdated_leader_leaves_the_sync_key_alone),
		TEST(asynchronous_members_are_not_waited_for),
		TEST(deadline_counts_from_before_the_request),
		TEST(ttl_changes),
		TEST(renews_less_often_at_rest),
		TEST(old_views_say_nothing),
		TEST(acquisition_tells_what_it_knows),
		TEST(acquisition_claims_the_timeline),
		TEST(writes_of_the_leader_compare),
		TEST(answers_of_the_store_end_the_lease),
		TEST(silence_is_no_answer),
		TEST(outdated_primary_opens_no_fence),
		TEST(release_closes_the_fence_first),
		TEST(release_without_an_answer_is_repeated),
		TEST(late_answers_do_not_bring_the_lease_back),
		TEST(pause_opens_no_closed_fence),
		TEST(fence_is_closed_without_a_view),
		TEST(saves_and_loads),
		TEST(settings_may_come_last),
		TEST(new_pause_is_known),
		TEST(old_pause_is_not_believed),
		TEST(hostile_batons),
		TEST(never_spins),
		TEST(seventeenth_command_is_refused),
		TEST(unreadable_request_is_replaced),
		TEST(refused_commands),
		TEST(answer_waits_for_the_view),
		TEST(flush_needs_the_store),
		TEST(requests_are_tried_again),
		TEST(races),
		TEST(silent_peer_costs_little),
		TEST(candidate_is_not_waited_for_for_ever),
		TEST(candidate_is_waited_for_once),
		TEST(nobody_waits_for_who_gives_way),
		TEST(unreadable_configuration),
		TEST(silence_delays_no_handover),
		TEST(refused_switchovers),
		TEST(switchover_waits_for_the_restartpoint),
		TEST(candidate_makes_a_restartpoint),
		TEST(done_switchovers_are_forgotten),
		TEST(each_request_is_checked_anew),
		TEST(handover_needs_our_timeline),
		TEST(claims_skip_taken_ids),
		TEST(gives_way_for_a_ttl),
		TEST(nobody_waits_for_an_asynchronous_candidate),
		TEST(nobody_waits_for_a_candidate_without_votes),
		TEST(former_primary_relies_on_nobody),
		TEST(promotions_by_hand_are_recorded),
		TEST(doubled_timelines_are_recorded),
		TEST(twin_does_not_lead),
		TEST(shut_down_twin_has_diverged),
		TEST(claims_skip_timelines_of_members),
		TEST(old_claims_do_not_count),
		TEST(gaps_of_timelines_are_bounded),
		TEST(pause_rules),
		TEST(member_requests),
		TEST(failed_restart_is_said),
		TEST(slow_restart_gives_the_lease_away),
		TEST(rewind_is_tried_until_the_leader_answers),
		TEST(two_primaries_on_one_timeline_have_diverged),
		TEST(as_much_as_its_primary_wrote),
		TEST(rewind_that_would_be_fooled),
		TEST(rewind_after_two_promotions_by_hand),
		TEST(claimant_meets_a_successor_of_the_other),
		TEST(rewind_waits_until_the_id_is_recorded),
		TEST(standby_of_the_claimant_is_compared),
		TEST(claims_no_id_that_was_seen),
		TEST(uncompared_is_handed_on),
		TEST(mark_tells_of_former_primary),
		TEST(comparison_ends_with_promotion),
		TEST(standby_of_another_history_is_compared),
		TEST(repairs_who_was_promoted_meanwhile),
		TEST(failed_restart_is_over),
		TEST(late_claim_stops_rewind),
		TEST(next_leader_ends_pause),
		TEST(slow_primary_starts_as_standby),
		TEST(outdated_leader_tells_no_position),
		TEST(names_of_other_scripts),
		TEST(long_name),
		TEST(force_spares_shutdown),
		TEST(repair_ends_without_a_leader),
		TEST(reinit_ends_without_a_leader),
		TEST(switchover_ends_when_the_lease_ran_out),
		TEST(failing_start_gives_the_lease_away),
		TEST(failed_bootstrap_lets_others_try),
		TEST(old_positions_are_not_trusted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
