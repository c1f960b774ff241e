/*-------------------------------------------------------------------------
 *
 * postgres_dir.h
 *      What both homes need to know of a data directory and can do to a
 *      server with files and signals alone.
 *
 * Plain C: no server headers, no libpq.  All functions are quick (they read
 * or write a few small files) and safe to call from the worker.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_POSTGRES_POSTGRES_DIR_H
#define PATRONI_POSTGRES_POSTGRES_DIR_H

#include <sys/types.h>

#include "base/error.h"
#include "config/settings.h"
#include "ha/ha.h"

/* pg_control of PostgreSQL 13 to 18, CRC checked.  Fills the pg_control part of HaPostgres. */
extern bool control_file_read(const char *data_directory, HaPostgres *postgres,
							  Error *error) MUST_CHECK;

/* Empty, present, unreadable: fills .data and .problem, and pg_control if present. */
extern void data_directory_look(const char *data_directory, HaPostgres *postgres);

/* PG_VERSION: 15 -> 15. */
extern bool data_directory_version(const char *data_directory, int *major, Error *error) MUST_CHECK;

/* History files in pg_wal. */
extern bool history_file_read(const char *data_directory, uint32_t timeline,
							  TimelineHistory *entries, int max, int *count,
							  Error *error) MUST_CHECK;
extern uint32_t history_newest_timeline(const char *data_directory, uint32_t from);
/* Mark "timeline" as taken: place a history file that forks from "parent" at "lsn",
 * which must be before any position this server may be at; never overwrites one. */
extern bool history_file_place(const char *data_directory, uint32_t timeline, uint32_t parent,
							   Lsn lsn, Error *error) MUST_CHECK;

/* primary_conninfo for following a member (patroni/postgresql/config.py,
 * primary_conninfo_params()), with keepalives and tcp_user_timeout.  conn_url
 * NULL or "" = follow nobody = "". */
extern bool conninfo_for_replication(const Settings *settings, const char *conn_url,
									 char *conninfo, size_t size, Error *error) MUST_CHECK;
/* host and port out of a conninfo text. */
extern void conninfo_host_port(const char *conninfo, char host[256], int *port);

/*
 * The recovery part of postgresql.conf (after the line "# recovery.conf"),
 * replaced atomically; the rest of the file stays.  Also sees to standby.signal
 * when is_standby.  Used for following a new upstream by reload.
 */
extern bool conf_write_recovery(const Settings *settings, const char *conn_url,
								const char *slot, bool is_standby, Error *error) MUST_CHECK;
/* What the recovery part says now; texts may come out as "". */
extern void conf_read_upstream(const Settings *settings, char host[256], int *port, char slot[64]);

/*
 * The file that postgresql.conf includes last, with synchronous_standby_names
 * (NULL: without, the operator's own value holds) and the number of this change.
 */
#define CONF_SYNC_FILE	"patroni.sync.conf"
extern bool conf_write_sync(const Settings *settings, const char *names, uint32_t generation,
							Error *error) MUST_CHECK;
extern uint32_t conf_read_sync_generation(const Settings *settings);	/* 0 = none */

/* The whole of postgresql.conf, pg_hba.conf, pg_ident.conf, pgpass. */
extern bool conf_write_all(const Settings *settings, int server_version_num,
						   const char *conn_url, const char *slot, bool is_standby,
						   ConfigProblems *problems, Error *error) MUST_CHECK;
extern bool pgpass_write(const Settings *settings, const ClusterView *view, Error *error) MUST_CHECK;

/* postmaster.pid */
typedef struct PostmasterFile
{
	pid_t		pid;
	bool		is_single_user;		/* initdb or single user mode, no postmaster */
	char		status[16];			/* "ready", "standby", "starting", "stopping", "" */
	int64_t		start_time_s;
	int			port;
	char		socket_directory[1024];	/* the first one; "" = none */
	char		listen_address[256];	/* the first one, "*" = all; "" = none */
} PostmasterFile;

extern bool postmaster_file_read(const char *data_directory, PostmasterFile *file);	/* false: none */
/* Is that pid really a postmaster of this directory? (/proc: exe/comm and cwd) */
extern bool postmaster_is_alive(const char *data_directory, pid_t pid);
/* Promotion as pg_ctl and pg_promote() do it: the signal file, then SIGUSR1. */
extern bool postmaster_promote(const char *data_directory, pid_t postmaster, Error *error) MUST_CHECK;
extern bool postmaster_reload(pid_t postmaster, Error *error) MUST_CHECK;
/* Server processes of this directory that outlived their postmaster; returns how many
 * there are and sends each the signal (0 = only count). */
extern int	postmaster_orphans(const char *data_directory, int signal);

#endif							/* PATRONI_POSTGRES_POSTGRES_DIR_H */
