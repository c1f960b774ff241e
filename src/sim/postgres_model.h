/*-------------------------------------------------------------------------
 *
 * postgres_model.h
 *      Between the files that model PostgreSQL: wal.c, data.c, server.c,
 *      stream.c, client.c and tasks.c.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_SIM_POSTGRES_MODEL_H
#define PATRONI_SIM_POSTGRES_MODEL_H

#include "sim/sim.h"

#define MODEL_CHECKPOINT_SIZE	120		/* bytes of a checkpoint record */
#define MODEL_END_OF_RECOVERY_SIZE	48

/* wal.c */
extern void sim_wal_written(SimPosition position);
extern bool sim_wal_is_owner(int node, SimPosition position);
extern void sim_wal_checkpoint_written(SimPosition position);
extern SimPosition sim_wal_checkpoint_before(SimPosition end);

/* data.c */
extern const SimHistoryFile *sim_history_find(const SimData *data, uint32_t timeline);
extern void sim_history_remove_placed(SimData *data);
extern void sim_history_remove_unused(SimData *data);
extern void sim_history_bridge(SimData *data);
extern bool sim_history_fork(const SimData *data, uint32_t timeline, uint32_t ancestor, Lsn *fork_lsn);
extern int	sim_history_list(const SimData *data, uint32_t timeline, TimelineHistory *entries, int max);
extern uint32_t sim_newest_after(const SimData *data, uint32_t timeline);
extern void sim_data_make_cluster(int node);
extern void sim_data_crash_recovery(int node);

/* server.c */
extern bool sim_server_answers(int node, int asked);	/* can "node" talk to that server? */
extern void sim_server_insert(int node, int bytes);
extern void sim_server_flush(int node);
extern int64_t sim_disk_us(int node, int64_t us);

/* stream.c */
extern void sim_stream_begin(int node);		/* walreceiver wanted: recovery is through with local WAL */
extern void sim_stream_end(int node);		/* walreceiver ends */
extern void sim_stream_upstream_gone(int node);	/* this server's walsenders end */
extern void sim_stream_flushed(int node);	/* more WAL to send */
extern bool sim_stream_all_have(int node);	/* every connected receiver has all */

/* client.c */
extern void sim_client_progress(int node, int reporter);	/* a standby has reported to its walsender */
extern void sim_client_stopped(int node);	/* a stop ends all sessions */
extern void sim_client_released(int node);	/* commits wait for nobody any more */

/* sync.c */
extern void sim_sync_begin(int node);		/* a server starts */
extern void sim_sync_connected(int upstream, int node);
extern void sim_sync_report(int node, int reporter);
extern bool sim_sync_is_defined(int node);
extern int	sim_sync_missing(int node, const SimSyncNames *names);	/* too few are connected by so many */

/* commits.c */
extern void sim_commits_begin(int node);	/* a server starts; its files are as they were */
extern bool sim_commits_are_exposed(int node, const SimSyncNames *names);
extern bool sim_commits_are_lonely(int node);
extern bool sim_commits_are_held(int node);
extern void sim_commits_cut_off(int node);

/* tasks.c */
extern void sim_task_server_changed(int node);

#endif							/* PATRONI_SIM_POSTGRES_MODEL_H */
