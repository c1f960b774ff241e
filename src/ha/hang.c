/*-------------------------------------------------------------------------
 *
 * hang.c
 *      A primary that hangs without being dead: who could take over?
 *
 * That it hangs is found out by others (HaPostgres.hang, src/node); what is
 * done about it is in the tables.  A primary that hangs and holds the lease is
 * still better than none: so the others are asked first, and the lease is
 * given away only when one of them answers that can take over as after a
 * failure.  It asks again and again, as that can change.
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "ha/internal.h"

/* Ask the others, when it is time. */
void
ha_hang_look(HaNode *node)
{
	HaRace	   *race = &node->race;

	if (!node->has_postgres || node->postgres.hang[0] == '\0' || node->settings.is_paused ||
		!node->has_lease || !ha_is_primary(node) || node->goal != HA_GOAL_NONE)
	{
		node->is_successor_asked = false;
		if (race->purpose == RACE_HANG)
			race->purpose = RACE_NONE;
		return;
	}
	if (!ha_has_candidate(node))
	{
		node->is_successor_asked = true;
		return;
	}
	if (ha_race_is_asking(node, RACE_HANG) || ha_race_is_asking(node, RACE_SWITCHOVER) ||
		ha_race_is_asked(node, RACE_SWITCHOVER))
		return;
	if (race->purpose == RACE_HANG)
	{
		node->is_successor_asked = true;
		if (node->now_ms < race->started_ms + HA_HANG_ASK_MS)
		{
			ha_wake(node, race->started_ms + HA_HANG_ASK_MS);
			return;
		}
	}
	ha_ask_peers(node, RACE_HANG, NULL, "this server hangs: who can take over?");
}

HaFacts
ha_hang_facts(HaNode *node)
{
	HaFacts		facts = 0;

	if (!node->has_postgres || node->postgres.hang[0] == '\0')
		return 0;
	facts = HA_FACT(HANGS);
	if (node->is_successor_asked)
		facts |= HA_FACT(SUCCESSOR_ASKED);
	/* the first answer that will do is enough: nobody waits for those that are silent */
	if ((ha_race_is_asking(node, RACE_HANG) || ha_race_is_asked(node, RACE_HANG)) &&
		ha_race_successor(node) != NULL)
		facts |= HA_FACT(SUCCESSOR);
	return facts;
}
