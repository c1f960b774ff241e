/*-------------------------------------------------------------------------
 *
 * restart.h
 *      POST /restart and POST /reinitialize: from the body to a command for
 *      the engine, and from its refusal to the answer.
 *
 * Pure, like switchover.h.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_REST_RESTART_H
#define PATRONI_REST_RESTART_H

#include "rest/rest.h"

/* A restart or reinitialization that was asked for. */
typedef struct RestRestart
{
	HaCommand command;
	char text[HA_REASON_MAX + 128]; /* of the result */
} RestRestart;

/* False: it is refused, *result says how. */
extern bool restart_check(RestRestart *restart, const json_t *body, const Settings *settings,
                          int64_t wall_ms, RestResult *result);
extern bool reinitialize_check(RestRestart *restart, const json_t *body, const Settings *settings,
                               const ClusterView *view, RestResult *result);
/* The engine refused it, with this detail in its own words. */
extern void restart_refused(RestRestart *restart, const char *sqlstate, const char *detail,
                            RestResult *result);

#endif /* PATRONI_REST_RESTART_H */
