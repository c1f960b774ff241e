/*-------------------------------------------------------------------------
 *
 * divergence.c
 *      Has this data directory WAL that the leader does not have?
 *
 * Pure.  As patroni/postgresql/rewind.py, _check_timeline_and_lsn(), with two
 * additions: an equal timeline id proves nothing by itself, because two
 * promotions can have picked the same id, so the fork points of the whole
 * history are compared; and on the same timeline WAL beyond the leader's
 * position is a divergence too.
 *
 * When in doubt the answer is UNKNOWN (ask again) where more can be learned,
 * and REWIND where not: following with divergent WAL loses data silently.
 *-------------------------------------------------------------------------
 */
#include "postgres/postgres_files.h"

#include <stdio.h>
#include <string.h>

#define LSN_ARGS(lsn)	(unsigned) ((lsn) >> 32), (unsigned) (lsn)

static void
answer(DivergenceResult *result, HaDivergence divergence, bool pg_rewind_can_help)
{
	result->divergence = divergence;
	result->pg_rewind_can_help = pg_rewind_can_help;
}

/*
 * Do both histories tell the same up to (not including) "timeline"?  On false
 * result->reason says where not.
 */
static bool
same_past(const DivergenceFacts *facts, uint32_t timeline, DivergenceResult *result)
{
	int			l = 0;
	int			r = 0;

	for (;;)
	{
		const TimelineHistory *local = l < facts->n_local_history &&
			facts->local_history[l].timeline < timeline ? &facts->local_history[l] : NULL;
		const TimelineHistory *leader = r < facts->n_leader_history &&
			facts->leader_history[r].timeline < timeline ? &facts->leader_history[r] : NULL;

		if (local == NULL && leader == NULL)
			return true;
		if (local == NULL || leader == NULL || local->timeline != leader->timeline ||
			local->switch_lsn != leader->switch_lsn)
		{
			uint32_t	at = local == NULL ? leader->timeline : local->timeline;

			snprintf(result->reason, sizeof(result->reason),
					 "the histories of timeline %u differ at timeline %u: here %X/%X, on the leader %X/%X",
					 timeline, at, LSN_ARGS(local == NULL ? 0 : local->switch_lsn),
					 LSN_ARGS(leader == NULL ? 0 : leader->switch_lsn));
			return false;
		}
		l++;
		r++;
	}
}

/* The position after the last WAL that is certainly here. */
static Lsn
known_end(const DivergenceFacts *facts)
{
	if (facts->local_wal == LOCAL_WAL_SHUT_DOWN && facts->local_checkpoint_end != 0)
		return facts->local_checkpoint_end;

	/*
	 * Of a former primary that was started as a standby the minimum recovery
	 * point is where its last checkpoint begins; the record itself is there too.
	 */
	if (facts->local_wal == LOCAL_WAL_IN_RECOVERY && facts->local_checkpoint >= facts->local_lsn)
		return facts->local_checkpoint + 1;
	return facts->local_lsn;
}

static void
decide_same_timeline(const DivergenceFacts *facts, DivergenceResult *result)
{
	Lsn			end = known_end(facts);

	if (!facts->has_local_history)
	{
		snprintf(result->reason, sizeof(result->reason),
				 "the history of timeline %u is missing here, so it cannot be compared with the leader's",
				 facts->local_timeline);
		answer(result, HA_DIVERGENCE_UNKNOWN, false);
	}
	else if (!same_past(facts, facts->local_timeline, result))
		answer(result, HA_DIVERGENCE_REWIND, false);
	else if (facts->leader_lsn == 0)
	{
		snprintf(result->reason, sizeof(result->reason), "the leader's WAL position is not known");
		answer(result, HA_DIVERGENCE_UNKNOWN, false);
	}
	else if (end > facts->leader_lsn)
	{
		snprintf(result->reason, sizeof(result->reason),
				 "WAL of timeline %u reaches %X/%X here, but only %X/%X on the leader",
				 facts->local_timeline, LSN_ARGS(end), LSN_ARGS(facts->leader_lsn));
		answer(result, HA_DIVERGENCE_REWIND, false);
	}
	else if (facts->local_wal == LOCAL_WAL_CRASHED)
	{
		snprintf(result->reason, sizeof(result->reason),
				 "this server crashed as primary of timeline %u; how far its WAL reaches is not known before crash recovery",
				 facts->local_timeline);
		answer(result, HA_DIVERGENCE_UNKNOWN, false);
	}
	else
	{
		snprintf(result->reason, sizeof(result->reason),
				 "same history, and WAL up to %X/%X is on the leader", LSN_ARGS(end));
		answer(result, HA_DIVERGENCE_NONE, false);
	}
}

static void
decide_older_timeline(const DivergenceFacts *facts, DivergenceResult *result)
{
	const TimelineHistory *fork = NULL;
	Lsn			end = known_end(facts);

	for (int i = 0; i < facts->n_leader_history; i++)
		if (facts->leader_history[i].timeline == facts->local_timeline)
			fork = &facts->leader_history[i];
	if (fork == NULL)
	{
		snprintf(result->reason, sizeof(result->reason),
				 "timeline %u is not in the history of the leader's timeline %u",
				 facts->local_timeline, facts->leader_timeline);
		answer(result, HA_DIVERGENCE_REWIND, true);
		return;
	}
	if (facts->has_local_history && !same_past(facts, facts->local_timeline, result))
	{
		answer(result, HA_DIVERGENCE_REWIND, true);
		return;
	}
	snprintf(result->reason, sizeof(result->reason),
			 "WAL of timeline %u reaches %X/%X here, the leader left that timeline at %X/%X",
			 facts->local_timeline, LSN_ARGS(end), LSN_ARGS(fork->switch_lsn));
	/*
	 * Crash recovery, which pg_rewind asks for, would write a checkpoint of its
	 * own at the end of a copy, and pg_rewind leaves that alone when it is
	 * before the fork.  Started as a standby the copy finds its way, or is
	 * compared again.
	 */
	if (facts->local_wal == LOCAL_WAL_COPY)
		answer(result, facts->local_lsn >= fork->switch_lsn ? HA_DIVERGENCE_REWIND : HA_DIVERGENCE_NONE, true);
	else if (facts->local_wal == LOCAL_WAL_IN_RECOVERY)
		answer(result, end > fork->switch_lsn ? HA_DIVERGENCE_REWIND : HA_DIVERGENCE_NONE, true);
	else if (facts->local_wal == LOCAL_WAL_SHUT_DOWN && facts->local_lsn < fork->switch_lsn)
	{
		if (facts->local_checkpoint_end == 0)
		{
			snprintf(result->reason, sizeof(result->reason),
					 "the end of the shutdown checkpoint at %X/%X is not known",
					 LSN_ARGS(facts->local_lsn));
			answer(result, HA_DIVERGENCE_UNKNOWN, false);
		}
		else
			answer(result, facts->local_checkpoint_end == fork->switch_lsn ?
				   HA_DIVERGENCE_NONE : HA_DIVERGENCE_REWIND, true);
	}
	else
		answer(result, HA_DIVERGENCE_REWIND, true);
}

/* Decide from what was gathered; never fails. */
void
divergence_decide(const DivergenceFacts *facts, DivergenceResult *result)
{
	memset(result, 0, sizeof(*result));
	if (facts->leader_system_identifier != 0 && facts->local_system_identifier != 0 &&
		facts->leader_system_identifier != facts->local_system_identifier)
	{
		snprintf(result->reason, sizeof(result->reason),
				 "the leader is of another cluster: its system identifier is %llu, ours %llu",
				 (unsigned long long) facts->leader_system_identifier,
				 (unsigned long long) facts->local_system_identifier);
		result->is_other_cluster = true;
		answer(result, HA_DIVERGENCE_UNKNOWN, false);
	}
	else if (facts->leader_is_in_recovery)
	{
		snprintf(result->reason, sizeof(result->reason), "the leader is still in recovery");
		answer(result, HA_DIVERGENCE_UNKNOWN, false);
	}
	else if (facts->local_wal == LOCAL_WAL_UNKNOWN || facts->local_timeline == 0 ||
			 facts->local_lsn == 0 || facts->leader_timeline == 0)
	{
		snprintf(result->reason, sizeof(result->reason), "timeline or WAL position is not known");
		answer(result, HA_DIVERGENCE_UNKNOWN, false);
	}
	else if (facts->local_timeline > facts->leader_timeline)
	{
		snprintf(result->reason, sizeof(result->reason),
				 "timeline %u here is newer than the leader's %u",
				 facts->local_timeline, facts->leader_timeline);
		answer(result, HA_DIVERGENCE_REWIND, true);
	}
	else if (facts->local_timeline == facts->leader_timeline)
		decide_same_timeline(facts, result);
	else
		decide_older_timeline(facts, result);
}
