/*-------------------------------------------------------------------------
 *
 * unused_history.h
 *      History files of timelines of which there is no WAL.
 *
 * Apart from the other functions for pg_wal, because the postmaster itself
 * calls it, and loads nothing else of this folder.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_POSTGRES_UNUSED_HISTORY_H
#define PATRONI_POSTGRES_UNUSED_HISTORY_H

#include <dirent.h>
#include <limits.h>
#include <stdint.h>

/* Before a standby recovers: remove those of timelines above "from"; how many. */
extern int	history_files_remove_unused(const char *data_directory, uint32_t from);

/* The newest timeline that there is a WAL segment of, "from" if that is newer. */
extern uint32_t history_newest_segment(DIR *dir, uint32_t from);
/* The timeline of a history file, and its path; 0: it is none. */
extern uint32_t history_timeline_of(const char *directory, const char *name, char path[PATH_MAX]);

#endif							/* PATRONI_POSTGRES_UNUSED_HISTORY_H */
