/*-------------------------------------------------------------------------
 *
 * combine.c
 *      One picture of the server out of the two that a node has of it.
 *
 * The worker knows more, but not of what happens while it does not look: files
 * and processes are asked last.
 *-------------------------------------------------------------------------
 */
#include "node/combine.h"

#include <string.h>

/* What files and processes know better than the worker. */
static void
take_from_outside(HaPostgres *postgres, const HaPostgres *outside)
{
	postgres->data = outside->data;
	postgres->server = outside->server;
	memcpy(postgres->problem, outside->problem, sizeof(postgres->problem));
	postgres->system_identifier = outside->system_identifier;
	postgres->control_state = outside->control_state;
	postgres->checkpoint_lsn = outside->checkpoint_lsn;
	postgres->checkpoint_redo = outside->checkpoint_redo;
	postgres->checkpoint_timeline = outside->checkpoint_timeline;
	postgres->minimum_recovery_lsn = outside->minimum_recovery_lsn;
	postgres->minimum_recovery_timeline = outside->minimum_recovery_timeline;
	postgres->can_rewind = outside->can_rewind;
	postgres->is_standby_configured = outside->is_standby_configured;
	postgres->is_former_primary = outside->is_former_primary;
	postgres->former_timeline = outside->former_timeline;
	if (outside->start_time_ms != 0)
		postgres->start_time_ms = outside->start_time_ms;
	if (outside->newest_timeline > postgres->newest_timeline)
		postgres->newest_timeline = outside->newest_timeline;
}

void
combine_views(HaPostgres *postgres, const HaPostgres *outside, const HaPostgres *seen,
			  bool worker_sees)
{
	ha_postgres_copy(postgres, seen);
	take_from_outside(postgres, outside);
	postgres->is_observed = worker_sees && outside->server != HA_SERVER_STOPPED;
	if (!postgres->is_observed)
	{
		/* files are newer than memory */
		memcpy(postgres->upstream_host, outside->upstream_host, sizeof(postgres->upstream_host));
		postgres->upstream_port = outside->upstream_port;
		memcpy(postgres->upstream_slot, outside->upstream_slot, sizeof(postgres->upstream_slot));
		if (outside->server == HA_SERVER_RUNNING)
			postgres->is_in_recovery = outside->is_in_recovery;
	}
	if (outside->server != HA_SERVER_RUNNING)
		return;
	/* positions and timeline are from its recovery, which may have been on another timeline */
	if (postgres->is_observed && outside->is_in_recovery && seen->server == HA_SERVER_STARTING)
		postgres->server = HA_SERVER_STARTING;
	if (!outside->is_in_recovery && seen->is_in_recovery)
	{
		/* a primary that started, or was promoted, since the worker looked */
		postgres->is_observed = false;
		postgres->is_in_recovery = false;
		postgres->timeline = outside->timeline;
		postgres->newest_timeline = outside->newest_timeline;
		memcpy(postgres->history, outside->history, sizeof(postgres->history));
		postgres->n_history = outside->n_history;
	}
}
