/*-------------------------------------------------------------------------
 *
 * test_rules.c
 *      The decision tables themselves: every row can decide, and what must
 *      never be decided never is, whatever the facts.
 *
 *-------------------------------------------------------------------------
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ha/facts.h"
#include "ha/rules.h"

#define F(name) HA_FACT(name)

/* Facts under which row "wanted" decides: its own, plus what keeps earlier rows away. */
static bool
find_facts(const HaRule *rules, int wanted, HaFacts facts, int depth)
{
	const HaRule *match = ha_match(rules, facts);

	if (match == &rules[wanted])
		return true;
	if (match > &rules[wanted] || depth == 0)
		return false;
	for (int bit = 0; bit < HA_FACT_COUNT; bit++)
	{
		HaFacts		fact = (HaFacts) 1 << bit;

		if ((match->unless & fact) != 0 && (rules[wanted].unless & fact) == 0 &&
			(facts & fact) == 0 && find_facts(rules, wanted, facts | fact, depth - 1))
			return true;
	}
	return false;
}

static void
every_row_can_decide(void **state)
{
	(void) state;
	for (int t = 0; t < ha_n_rule_tables; t++)
		for (int i = 0; i < ha_rule_tables[t].n_rules; i++)
			if (!find_facts(ha_rule_tables[t].rules, i, ha_rule_tables[t].rules[i].when, 8))
				fail_msg("row \"%s\" of table \"%s\" can never decide",
						 ha_rule_tables[t].rules[i].name, ha_rule_tables[t].name);
}

static void
last_row_matches_always(void **state)
{
	(void) state;
	for (int t = 0; t < ha_n_rule_tables; t++)
	{
		const HaRule *last = &ha_rule_tables[t].rules[ha_rule_tables[t].n_rules - 1];

		assert_true(last->when == 0 && last->unless == 0);
	}
}

static void
names_are_unique(void **state)
{
	HaRuleRow	a,
				b;

	(void) state;
	for (int i = 0; ha_rule_row(i, &a); i++)
	{
		assert_true(strlen(a.because) > 0 && strlen(a.then) > 0);
		assert_true(strlen(a.because) < 256);
		for (int k = i + 1; ha_rule_row(k, &b); k++)
			assert_string_not_equal(a.name, b.name);
	}
}

/* Tries many combinations of facts on one table: pseudo-random, the same each time. */
static void
forbid(const HaRule *rules, HaVerb verb, HaFacts need, HaFacts without, const char *what)
{
	uint64_t	seed = UINT64_C(0x9e3779b97f4a7c15);

	for (int i = 0; i < 2000000; i++)
	{
		HaFacts		facts;

		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		/* half of them sparse, or the first rows decide them all */
		facts = ((HaFacts) (seed * UINT64_C(0xd6e8feb86659fd93)) << 64 | seed) &
			((HaFacts) -1 >> (HA_FACT_BITS - HA_FACT_COUNT));
		if (i & 1)
			facts &= (HaFacts) ((seed * UINT64_C(0x2545f4914f6cdd1d)) & (seed >> 3)) |
				(HaFacts) (seed >> 5) << 64;
		facts = (facts | need) & ~without;
		if (ha_match(rules, facts)->then == verb)
			fail_msg("%s: row \"%s\", facts %llx %llx", what, ha_match(rules, facts)->name,
					 (unsigned long long) (facts >> 64), (unsigned long long) facts);
	}
}

static void
forbidden_decisions(void **state)
{
	(void) state;
	forbid(ha_race_rules, HA_DO_PROMOTE, 0, 0, "promotion without the lease");
	forbid(ha_follower_rules, HA_DO_PROMOTE, 0, 0, "promotion under another leader");
	forbid(ha_follower_rules, HA_DO_ACQUIRE, 0, 0, "race against a live leader");
	forbid(ha_outage_rules, HA_DO_PROMOTE, 0, 0, "promotion in an outage");
	forbid(ha_outage_rules, HA_DO_ACQUIRE, 0, 0, "acquisition in an outage");
	forbid(ha_leader_rules, HA_DO_PROMOTE, 0, F(TIMELINE_CLAIMED), "promotion without a timeline of its own");
	forbid(ha_leader_rules, HA_DO_PROMOTE, F(TIMELINES_UNMARKED), 0, "promotion to the timeline id of another");
	forbid(ha_leader_rules, HA_DO_PROMOTE, F(NO_FAILOVER), 0, "promotion of a nofailover member");
	forbid(ha_leader_rules, HA_DO_PROMOTE, F(LEASE_UNSURE), 0, "promotion under an unconfirmed lease");
	forbid(ha_race_rules, HA_DO_ACQUIRE, F(NO_FAILOVER), F(PRIMARY) | F(PROMOTING), "a nofailover member races");
	forbid(ha_race_rules, HA_DO_ACQUIRE, F(PAUSED), F(PRIMARY) | F(PROMOTING) | F(REQUEST_FOR_ME), "a race in pause");
	forbid(ha_race_rules, HA_DO_ACQUIRE, F(PRIMARY) | F(TIMELINE_OLD), 0, "a primary on an older timeline takes the lease");
	forbid(ha_race_rules, HA_DO_ACQUIRE, F(SYNC_DENIES), F(PRIMARY) | F(PROMOTING),
		   "a member that may lack acknowledged writes races");
	forbid(ha_leader_rules, HA_DO_PROMOTE, F(SYNC_DENIES), 0,
		   "promotion against the sync key");
	forbid(ha_leader_rules, HA_DO_PROMOTE, F(SYNC_UNREADY), 0,
		   "promotion before synchronous replication is prepared");
	forbid(ha_race_rules, HA_DO_ACQUIRE, F(FOREIGN), 0, "a member of another cluster races");
	forbid(ha_race_rules, HA_DO_ACQUIRE, F(LAGS), F(PRIMARY) | F(PROMOTING) | F(REQUEST_DUE) | F(REQUEST_FOR_ME), "a lagging member races");
	forbid(ha_race_rules, HA_DO_ACQUIRE, 0, F(MOST_WAL) | F(PRIMARY) | F(PROMOTING) | F(REQUEST_FOR_ME),
		   "a race without having the most WAL");
	forbid(ha_life_rules, HA_DO_FINISH_HANDOVER, 0, F(HANDED_OVER), "a release that would lose writes");
	forbid(ha_life_rules, HA_DO_FINISH_HANDOVER, 0, F(CLEAN), "a release before the shutdown checkpoint");
	forbid(ha_life_rules, HA_DO_FINISH_HANDOVER, F(RUNNING), F(STOPPED) | F(STOPPING), "a release while the server runs");
	forbid(ha_life_rules, HA_DO_REMOVE_DATA, 0, F(MAY_REMOVE) | F(GOAL_REINIT), "removal of data nobody allowed");
	forbid(ha_life_rules, HA_DO_REMOVE_DATA, 0, F(LEASE_OTHER), "removal of data without a leader");
	forbid(ha_life_rules, HA_DO_REMOVE_DATA, F(STORE_SILENT), 0, "removal of data for a leader that may be gone");
	forbid(ha_life_rules, HA_DO_START_PRIMARY, F(LEASE_OTHER), F(LEASE_MINE) | F(BOOTSTRAPPING) | F(GOAL_RESTART) | F(PAUSED),
		   "a start as primary under another leader");
	forbid(ha_life_rules, HA_DO_INITDB, 0, F(BOOTSTRAPPING), "initdb without having won the bootstrap");
	forbid(ha_life_rules, HA_DO_CLAIM_INITIALIZE, F(INITIALIZED), 0, "bootstrap of an existing cluster");
	forbid(ha_life_rules, HA_DO_START_STANDBY, F(DIVERGED) | F(LEASE_OTHER), F(GOAL_RESTART) | F(LEASE_MINE),
		   "start of a diverged directory");
	forbid(ha_follower_rules, HA_DO_FOLLOW, F(WAS_PRIMARY), 0, "a former primary follows without a comparison");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_row_can_decide),
		cmocka_unit_test(last_row_matches_always),
		cmocka_unit_test(names_are_unique),
		cmocka_unit_test(forbidden_decisions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
