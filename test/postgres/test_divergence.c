/*-------------------------------------------------------------------------
 *
 * test_divergence.c
 *      The cases of divergence_decide(), as a table.
 *
 *-------------------------------------------------------------------------
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "postgres/postgres_files.h"

typedef struct Case
{
	const char *name;
	LocalWal	wal;
	uint32_t	local_timeline;
	Lsn			local_lsn;
	Lsn			checkpoint_end;
	Lsn			local_fork;			/* of timeline 1; 0 = no entry */
	uint32_t	leader_timeline;
	Lsn			leader_lsn;
	Lsn			leader_fork;		/* of timeline 1; 0 = no entry */
	HaDivergence wanted;
	bool		pg_rewind_can_help;
} Case;

static const Case cases[] = {
	{"standby before the fork", LOCAL_WAL_IN_RECOVERY, 1, 100, 0, 0, 2, 900, 200, HA_DIVERGENCE_NONE, true},
	{"standby at the fork", LOCAL_WAL_IN_RECOVERY, 1, 200, 0, 0, 2, 900, 200, HA_DIVERGENCE_NONE, true},
	{"standby beyond the fork", LOCAL_WAL_IN_RECOVERY, 1, 208, 0, 0, 2, 900, 200, HA_DIVERGENCE_REWIND, true},
	{"clean shutdown, fork at its end", LOCAL_WAL_SHUT_DOWN, 1, 100, 200, 0, 2, 900, 200, HA_DIVERGENCE_NONE, true},
	{"clean shutdown, fork before its end", LOCAL_WAL_SHUT_DOWN, 1, 100, 208, 0, 2, 900, 200, HA_DIVERGENCE_REWIND, true},
	{"clean shutdown, end not known", LOCAL_WAL_SHUT_DOWN, 1, 100, 0, 0, 2, 900, 200, HA_DIVERGENCE_UNKNOWN, false},
	{"clean shutdown after the fork", LOCAL_WAL_SHUT_DOWN, 1, 200, 208, 0, 2, 900, 200, HA_DIVERGENCE_REWIND, true},
	{"crashed primary", LOCAL_WAL_CRASHED, 1, 100, 0, 0, 2, 900, 200, HA_DIVERGENCE_REWIND, true},
	{"copy from before the fork", LOCAL_WAL_COPY, 1, 100, 0, 0, 2, 900, 200, HA_DIVERGENCE_NONE, true},
	{"copy from after the fork", LOCAL_WAL_COPY, 1, 200, 0, 0, 2, 900, 200, HA_DIVERGENCE_REWIND, true},
	{"copy of the same timeline", LOCAL_WAL_COPY, 1, 100, 0, 0, 1, 900, 0, HA_DIVERGENCE_NONE, false},
	{"newer timeline here", LOCAL_WAL_IN_RECOVERY, 3, 100, 0, 50, 2, 900, 50, HA_DIVERGENCE_REWIND, true},
	{"timeline not in the leader's past", LOCAL_WAL_IN_RECOVERY, 2, 100, 0, 50, 3, 900, 50, HA_DIVERGENCE_REWIND, true},
	{"same timeline, behind", LOCAL_WAL_IN_RECOVERY, 2, 100, 0, 50, 2, 900, 50, HA_DIVERGENCE_NONE, false},
	{"same timeline, beyond", LOCAL_WAL_IN_RECOVERY, 2, 901, 0, 50, 2, 900, 50, HA_DIVERGENCE_REWIND, false},
	{"same timeline id, other fork", LOCAL_WAL_IN_RECOVERY, 2, 100, 0, 50, 2, 900, 58, HA_DIVERGENCE_REWIND, false},
	{"same timeline, crashed", LOCAL_WAL_CRASHED, 1, 100, 0, 0, 1, 900, 0, HA_DIVERGENCE_UNKNOWN, false},
	{"same timeline, leader's position not known", LOCAL_WAL_IN_RECOVERY, 1, 100, 0, 0, 1, 0, 0, HA_DIVERGENCE_UNKNOWN, false},
	{"nothing known", LOCAL_WAL_UNKNOWN, 1, 100, 0, 0, 1, 900, 0, HA_DIVERGENCE_UNKNOWN, false},
};

static void
facts_of(const Case *c, DivergenceFacts *facts, TimelineHistory *local, TimelineHistory *leader)
{
	*local = (TimelineHistory) {.timeline = 1, .switch_lsn = c->local_fork};
	*leader = (TimelineHistory) {.timeline = 1, .switch_lsn = c->leader_fork};
	*facts = (DivergenceFacts) {
		.local_system_identifier = 7, .leader_system_identifier = 7,
		.local_wal = c->wal, .local_timeline = c->local_timeline, .local_lsn = c->local_lsn,
		.local_checkpoint_end = c->checkpoint_end, .has_local_history = true,
		.local_history = local, .n_local_history = c->local_fork != 0,
		.leader_timeline = c->leader_timeline, .leader_lsn = c->leader_lsn,
		.leader_history = leader, .n_leader_history = c->leader_fork != 0,
	};
}

static void
test_cases(void **state)
{
	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		TimelineHistory local;
		TimelineHistory leader;
		DivergenceFacts facts;
		DivergenceResult result;

		facts_of(&cases[i], &facts, &local, &leader);
		divergence_decide(&facts, &result);
		if (result.divergence != cases[i].wanted ||
			result.pg_rewind_can_help != cases[i].pg_rewind_can_help)
			fail_msg("%s: got %d, %d: %s", cases[i].name, result.divergence,
					 result.pg_rewind_can_help, result.reason);
		assert_true(result.reason[0] != '\0');
	}
}

/* A checkpoint at the fork is beyond it, whatever the minimum recovery point says. */
static void
test_checkpoint_in_recovery(void **state)
{
	TimelineHistory leader = {.timeline = 1, .switch_lsn = 200};
	DivergenceFacts facts = {
		.local_system_identifier = 7, .leader_system_identifier = 7,
		.local_wal = LOCAL_WAL_IN_RECOVERY, .local_timeline = 1, .local_lsn = 200,
		.has_local_history = true,
		.leader_timeline = 2, .leader_lsn = 900, .leader_history = &leader, .n_leader_history = 1,
	};
	DivergenceResult result;

	(void) state;
	facts.local_checkpoint = 192;
	divergence_decide(&facts, &result);
	assert_int_equal(result.divergence, HA_DIVERGENCE_NONE);
	facts.local_checkpoint = 200;	/* the leader left before it was written */
	divergence_decide(&facts, &result);
	assert_int_equal(result.divergence, HA_DIVERGENCE_REWIND);
	assert_true(result.pg_rewind_can_help);
}

/* These come before everything else. */
static void
test_never_follow(void **state)
{
	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		TimelineHistory local;
		TimelineHistory leader;
		DivergenceFacts facts;
		DivergenceResult result;

		facts_of(&cases[i], &facts, &local, &leader);
		facts.leader_system_identifier = 8;
		divergence_decide(&facts, &result);
		assert_int_equal(result.divergence, HA_DIVERGENCE_UNKNOWN);
		assert_true(result.is_other_cluster);

		facts.leader_system_identifier = 7;
		facts.leader_is_in_recovery = true;
		divergence_decide(&facts, &result);
		assert_int_equal(result.divergence, HA_DIVERGENCE_UNKNOWN);
		assert_false(result.is_other_cluster);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_checkpoint_in_recovery),
		cmocka_unit_test(test_never_follow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
