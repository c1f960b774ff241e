/*-------------------------------------------------------------------------
 *
 * supervisor.h
 *      The program outside the server: its life from start to end.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_SUPERVISOR_SUPERVISOR_H
#define PATRONI_SUPERVISOR_SUPERVISOR_H

#include "ha/ha.h"

/* How the program ends.  X(name, code, may trying again help?, explanation) */
#define SUPERVISOR_EXITS(X) \
	X(OK, 0, false, "the supervisor was told to stop, and did") \
	X(TROUBLE, 1, true, "something failed; the log says what") \
	X(USAGE, 2, false, "the command line is wrong") \
	X(CONFIGURATION, 3, false, "the configuration cannot be used") \
	X(WRONG_USER, 4, false, "started as root, or as a user who does not own the data") \
	X(ANOTHER_RUNS, 5, true, "another supervisor runs this data directory") \
	X(FOREIGN, HA_EXIT_FOREIGN, false, "the data directory belongs to another cluster")

typedef enum SupervisorExit
{
#define X(name, code, again, explanation) SUPERVISOR_EXIT_##name = code,
	SUPERVISOR_EXITS(X)
#undef X
} SupervisorExit;

/*
 * Run until told to stop.  "trace_path": where to record the engine's inputs,
 * or NULL.  Returns an exit code: one of the above, or that of the engine.
 */
extern int supervisor_run(const char *config_path, const char *trace_path);
/* Print the problems of a configuration, one a line.  Returns an exit code. */
extern int supervisor_validate(const char *config_path);

#endif /* PATRONI_SUPERVISOR_SUPERVISOR_H */
