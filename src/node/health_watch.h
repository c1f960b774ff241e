/*-------------------------------------------------------------------------
 *
 * health_watch.h
 *      Does this server hang without being dead?  Judged by what the probes
 *      of the lease page, and the worker, have measured.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_NODE_HEALTH_WATCH_H
#define PATRONI_NODE_HEALTH_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/lease_page.h"
#include "ha/ha.h"

/* What can be wrong, in the order in which it is said. */
typedef enum HealthSign
{
	HEALTH_CONNECTION,			/* the postmaster is silent */
	HEALTH_DISK_STALL,			/* a probe write does not end */
	HEALTH_DISK_ERROR,			/* each probe write fails */
	HEALTH_WAL_STALL,			/* processes wait for WAL to be written, and it does not go on */
	HEALTH_SIGNS,
} HealthSign;

/* One probe as it is now: a copy of what the page shows. */
typedef struct HealthProbe
{
	bool		is_there;
	bool		is_waiting;		/* its process sleeps: it is not the one that does not go on */
	LeaseProbeStep step;
	int64_t		begun_ms;		/* 0 = no operation is under way */
	int			n_tries;
	int			error;			/* errno */
	int64_t		failing_ms;		/* 0 = the last operation went well */
} HealthProbe;

/* What is so now; times are of CLOCK_BOOTTIME, but for wall_ms. */
typedef struct HealthFacts
{
	int64_t		now_ms;
	int64_t		wall_ms;		/* for people */
	int64_t		connect_timeout_ms;	/* health.connect_timeout; 0 = do not look */
	int64_t		disk_timeout_ms;	/* health.disk_timeout; likewise */
	bool		takes_connections;	/* the server is up: it should */
	bool		has_data;		/* there is a data directory */
	HealthProbe probes[LEASE_PROBE_COUNT];

	/* of the worker: some process is in the middle of writing or flushing WAL */
	bool		is_wal_awaited;
	Lsn			flushed_lsn;
} HealthFacts;

/* What it remembers; private, all zero at first. */
typedef struct HealthWatch
{
	int64_t		looked_at_ms;	/* 0 = not yet */
	struct
	{
		uint64_t	key;		/* of what is waited for; 0 = nothing is wrong */
		int64_t		waited_ms;	/* as we have seen ourselves */
		char		text[HA_HANG_MAX];	/* the verdict; "" = none yet */
	}			signs[HEALTH_SIGNS];
} HealthWatch;

extern void health_probe_read(const LeasePage *page, LeaseProbeKind kind, HealthProbe *probe);
extern void health_watch_look(HealthWatch *watch, const HealthFacts *facts);
extern bool health_watch_is_calm(const HealthWatch *watch);
extern const char *health_watch_verdict(const HealthWatch *watch);

#endif							/* PATRONI_NODE_HEALTH_WATCH_H */
