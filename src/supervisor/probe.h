/*-------------------------------------------------------------------------
 *
 * probe.h
 *      Processes that try whether the disk takes writes and the postmaster
 *      takes connections, and may hang in it in our place.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_SUPERVISOR_PROBE_H
#define PATRONI_SUPERVISOR_PROBE_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/lease_page.h"
#include "config/settings.h"
#include "supervisor/process.h"

typedef struct Probes Probes;

/* NULL: no memory. */
extern Probes *probes_create(ProcessTable *processes, LeasePage *page);
extern void probes_free(Probes *probes);	/* ends them; NULL is fine */

/*
 * Start and end them as it should be now.  has_data: there is a data directory;
 * postmaster: one that accepts connections, 0 = none.
 */
extern void probes_turn(Probes *probes, const Settings *settings, bool has_data, pid_t postmaster);

#endif							/* PATRONI_SUPERVISOR_PROBE_H */
