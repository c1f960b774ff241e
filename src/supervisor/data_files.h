/*-------------------------------------------------------------------------
 *
 * data_files.h
 *      Removing a data directory's content, or some of it, or moving it aside.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_SUPERVISOR_DATA_FILES_H
#define PATRONI_SUPERVISOR_DATA_FILES_H

#include "base/error.h"

/* All refuse while a server runs there.  They block: for task processes. */
extern bool data_files_remove(const char *data_directory, Error *error) MUST_CHECK;
extern bool data_files_remove_logical_slots(const char *data_directory, Error *error) MUST_CHECK;
extern bool data_files_move_aside(const char *data_directory, Error *error) MUST_CHECK;

#endif							/* PATRONI_SUPERVISOR_DATA_FILES_H */
