/*-------------------------------------------------------------------------
 *
 * combine.h
 *      One picture of the server out of the two that a node has of it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_NODE_COMBINE_H
#define PATRONI_NODE_COMBINE_H

#include <stdbool.h>

#include "ha/ha.h"

/*
 * The server as "outside", the supervisor's own look at processes and files,
 * and "seen", what the worker told last of the same postmaster, show it
 * together.  "worker_sees": the worker looks at it at the moment.  "postgres"
 * must be neither of the two.
 */
extern void combine_views(HaPostgres *postgres, const HaPostgres *outside, const HaPostgres *seen,
						  bool worker_sees);

#endif							/* PATRONI_NODE_COMBINE_H */
