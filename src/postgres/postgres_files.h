/*-------------------------------------------------------------------------
 *
 * postgres_files.h
 *      Parts of src/postgres that the supervisor's tasks need beyond
 *      postgres_dir.h: details of pg_control, conninfo pieces, option lists,
 *      whole-file reading and replacing, the end of a WAL record.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_POSTGRES_POSTGRES_FILES_H
#define PATRONI_POSTGRES_POSTGRES_FILES_H

#include <stdint.h>
#include <sys/types.h>

#include <jansson.h>

#include "base/error.h"
#include "config/settings.h"
#include "ha/ha.h"

#define CONNINFO_MAX		4096
#define CONNINFO_HOSTS_MAX	16
#define OPTION_WORDS_MAX	64

/* --- pg_control in full --- */

typedef struct ControlFile
{
	uint64_t	system_identifier;
	uint32_t	control_version;
	HaControlState state;
	Lsn			checkpoint_lsn;
	Lsn			checkpoint_redo;
	uint32_t	checkpoint_timeline;
	Lsn			minimum_recovery_lsn;
	uint32_t	minimum_recovery_timeline;
	bool		wal_log_hints;
	uint32_t	data_checksum_version;
	int			max_connections;
	int			max_worker_processes;
	int			max_wal_senders;
	int			max_prepared_transactions;
	int			max_locks_per_transaction;
	uint32_t	wal_block_size;
	uint32_t	wal_segment_size;
} ControlFile;

extern bool control_file_parse(const unsigned char *data, size_t size, ControlFile *control,
							   Error *error) MUST_CHECK;
extern bool control_file_load(const char *data_directory, ControlFile *control,
							  Error *error) MUST_CHECK;
/* Where the WAL record that starts at "lsn" ends (aligned), read from pg_wal. */
extern bool wal_record_end(const char *data_directory, uint32_t timeline, Lsn lsn,
						   const ControlFile *control, Lsn *end, Error *error) MUST_CHECK;
/* Where the segment files from "lsn" on end; where the last whole record before that does. */
extern bool wal_files_end(const char *data_directory, uint32_t timeline, Lsn lsn,
						  const ControlFile *control, Lsn *end, Error *error) MUST_CHECK;
extern bool wal_last_end(const char *data_directory, uint32_t timeline, Lsn start, Lsn limit,
						 const ControlFile *control, Lsn *end, Error *error) MUST_CHECK;

/* --- files --- */

/* Whole text file, at most "max" bytes; malloc'ed, NUL-terminated.  NULL and errno. */
extern char *file_read(const char *path, size_t max, size_t *length);
/* Replace durably and atomically; nothing is written when the content is the same. */
extern bool file_replace(const char *path, const char *content, size_t length, mode_t mode,
						 Error *error) MUST_CHECK;
extern bool directory_sync(const char *path, Error *error) MUST_CHECK;
/* "<directory>/<name>"; false: too long. */
extern bool path_join(char *path, size_t size, const char *directory, const char *name) MUST_CHECK;
/* 0600, or 0640 when the data directory lets the group in. */
extern mode_t data_directory_file_mode(const char *data_directory);

/*
 * A clone or a rewind that is not over yet is marked beside the data
 * directory, so that a crash in the middle is seen.  The mark names the
 * directory's inode, and for a rewind the timeline of the leader (0 = not known).
 */
typedef enum DataMark
{
	DATA_MARK_NONE,
	DATA_MARK_CLONE,			/* and no server was ever started there since */
	DATA_MARK_REWIND,
} DataMark;

extern void data_mark_set(const char *data_directory, DataMark mark, uint32_t timeline);
extern DataMark data_mark_get(const char *data_directory);
extern uint32_t data_mark_timeline(const char *data_directory);
extern void data_mark_clear(const char *data_directory);

/*
 * A primary that is started as a standby before it could be compared with a
 * leader is marked, beside the data directory as well, until it has been: that
 * must not be forgotten with the processes that know it.
 */
extern bool data_former_primary_set(const char *data_directory, uint32_t timeline,
									Error *error) MUST_CHECK;
extern bool data_former_primary_get(const char *data_directory, uint32_t *timeline);
extern void data_former_primary_clear(const char *data_directory);

/* History files we placed ourselves to mark an id as taken; before following
 * an upstream they must go, or they would hide the real ones; not those older
 * than the newest WAL or real history file here. */
extern void history_files_remove_placed(const char *data_directory);
/* Those without WAL go before a standby is started: unused_history.h */
/* Have one of each timeline up to the newest; "from" is that of the checkpoint. */
extern bool history_files_bridge(const char *data_directory, uint32_t from, Error *error) MUST_CHECK;
extern int	history_parse(const char *text, TimelineHistory *entries, int max);	/* -1: bad */

/* --- connection strings --- */

typedef struct ConnTarget
{
	char		host[256];			/* percent decoding done, no brackets */
	int			port;				/* 0 = not given */
} ConnTarget;

typedef struct ConnUrl
{
	ConnTarget	hosts[CONNINFO_HOSTS_MAX];
	int			n_hosts;
	char		database[128];		/* "" = none */
} ConnUrl;

extern bool conn_url_parse(const char *conn_url, ConnUrl *url, Error *error) MUST_CHECK;

/* Append " key='value'" with the escapes libpq wants. */
extern bool conninfo_append(char *conninfo, size_t size, const char *key, const char *value) MUST_CHECK;
/* host, port, user, ssl options, keepalives, timeouts for tools that
 * connect to a member; no password. */
extern bool conninfo_for_tool(const Settings *settings, const Credentials *credentials,
							  const char *conn_url, const char *database,
							  char *conninfo, size_t size, Error *error) MUST_CHECK;
/* One value of a conninfo text; false: not there. */
extern bool conninfo_value(const char *conninfo, const char *key, char *value, size_t size);
/* Lines of a password file for a conn_url; malloc'ed, NULL: no password. */
extern char *pgpass_lines(const Credentials *credentials, const char *conn_url);
/* See to it that settings->pgpass has the replication password for this url (NULL: own lines). */
extern bool pgpass_ensure(const Settings *settings, const char *conn_url, Error *error) MUST_CHECK;

/* --- option lists of initdb, pg_basebackup and pg_rewind --- */

/*
 * A map or a list -> "--x" and "--k=v" words, malloc'ed, appended to
 * words[*n_words].  Options in "forbidden" (NULL-terminated) fail.
 */
extern bool option_list_words(const json_t *options, const char *const *forbidden,
							  const char *what, char **words, int *n_words, Error *error) MUST_CHECK;
extern bool option_list_has(const json_t *options, const char *name);
/* Split a command as a shell would, quotes and backslashes only. */
extern bool command_words(const char *command, char **words, int *n_words, Error *error) MUST_CHECK;
extern void words_free(char **words, int n_words);

/* Borrowed value at a path of the document, e.g. "postgresql", "callbacks"; NULL: none. */
extern const json_t *settings_value(const Settings *settings, const char *first,
								  const char *second, const char *third);
extern const char *settings_text(const Settings *settings, const char *first,
								 const char *second, const char *third);	/* NULL: none */

/* Server parameters as they must be for this data directory: the command
 * line's (standbys: raised to what pg_control says) and the file's. */
extern bool server_parameters(const Settings *settings, int server_version_num, bool is_standby,
							  json_t **command_line, json_t **config_file,
							  ConfigProblems *problems, Error *error) MUST_CHECK;

/* Where postgresql.conf is. */
extern bool conf_path(const Settings *settings, char *path, size_t size) MUST_CHECK;
/* Where the operator's own settings are; false: nowhere. */
extern bool conf_own_path(const Settings *settings, char *path, size_t size) MUST_CHECK;
/* Did we, or Patroni, write the server's configuration? */
extern bool conf_is_managed(const Settings *settings);
/* Copies in the data directory, put back where the originals are missing. */
extern bool conf_restore_backups(const Settings *settings, Error *error) MUST_CHECK;

/* --- has this directory WAL that the leader does not have? pure --- */

#define DIVERGENCE_HISTORY_MAX	1024

typedef enum LocalWal
{
	LOCAL_WAL_UNKNOWN,
	LOCAL_WAL_IN_RECOVERY,		/* lsn: replayed or minimum recovery point */
	LOCAL_WAL_SHUT_DOWN,		/* lsn: start of the shutdown checkpoint */
	LOCAL_WAL_CRASHED,			/* lsn: last checkpoint, there may be more WAL */
	LOCAL_WAL_COPY,				/* lsn: last checkpoint; a base backup that never ran, nothing is its own */
} LocalWal;

typedef struct DivergenceFacts
{
	uint64_t	local_system_identifier;
	LocalWal	local_wal;
	uint32_t	local_timeline;
	Lsn			local_lsn;
	Lsn			local_checkpoint_end;	/* SHUT_DOWN: end of its record; 0 = not known */
	Lsn			local_checkpoint;		/* IN_RECOVERY: start of its record if it is on local_timeline */
	bool		has_local_history;		/* true on timeline 1 as well */
	const TimelineHistory *local_history;
	int			n_local_history;

	uint64_t	leader_system_identifier;
	bool		leader_is_in_recovery;
	uint32_t	leader_timeline;
	Lsn			leader_lsn;				/* its current WAL flush position */
	const TimelineHistory *leader_history;
	int			n_leader_history;
} DivergenceFacts;

typedef struct DivergenceResult
{
	HaDivergence divergence;
	bool		is_other_cluster;		/* never, however often it is asked */
	bool		pg_rewind_can_help;		/* pg_rewind does nothing on equal timeline ids */
	char		reason[256];
} DivergenceResult;

extern void divergence_decide(const DivergenceFacts *facts, DivergenceResult *result);

#endif							/* PATRONI_POSTGRES_POSTGRES_FILES_H */
