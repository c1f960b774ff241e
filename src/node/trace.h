/*-------------------------------------------------------------------------
 *
 * trace.h
 *      A record of what the engine was told and what it answered, from which
 *      every step can be taken again elsewhere: docs/trace.md.
 *
 * A file of lines, each a JSON object.  Both homes of a node append to the
 * same file, one write() a line.  What every line has:
 *      "trace"  what it is: "begin" (a new engine), "load" (the baton came)
 *               or "step"
 *      "home" "pid"  whose engine
 *      "n"      counts the lines of that engine from 0
 *      "now" "wall"  the times that the engine was given, in ms
 * A step has "input", its kind.  Server states, settings and views are long
 * and change little: "change" tells what is new against the last one of the
 * same kind, {"set": {...}, "gone": [...]}.  Other inputs are in "data".
 * What came out: "actions", and "node", what the engine thinks afterwards.
 *
 * No secrets: the engine has none, and user names with passwords in URLs,
 * values of "password=" and the cluster's configuration are left out, of the
 * inputs as of the answers.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_NODE_TRACE_H
#define PATRONI_NODE_TRACE_H

#include <jansson.h>

#include "base/error.h"
#include "dcs/dcs.h"
#include "ha/ha.h"

#define TRACE_LIMIT (INT64_C(256) * 1024 * 1024)

/* --- recording, trace.c --- */

typedef struct Trace Trace;

extern bool trace_open(Trace **trace, const char *path, HaHome home, int64_t limit,
                       Error *error) MUST_CHECK;
extern void trace_close(Trace *trace); /* NULL is fine */
extern const char *trace_path(const Trace *trace);
extern bool trace_has_begun(const Trace *trace);
/*
 * These write a line.  False: it could not be written, or the file is full,
 * and nothing more can be recorded: close it.
 */
extern bool trace_begin(Trace *trace, int64_t now_ms, int64_t wall_ms, Error *error) MUST_CHECK;
extern bool trace_load(Trace *trace, int64_t now_ms, int64_t wall_ms, const char *saved,
                       bool is_usable, Error *error) MUST_CHECK;
extern bool trace_step(Trace *trace, int64_t now_ms, const HaInput *input, const Dcs *dcs,
                       const HaNode *node, const HaActions *actions, Error *error) MUST_CHECK;

/* --- the texts, trace_json.c; what returns a json_t returns a new reference --- */

/* An input that was read, and what it points to. */
typedef struct TraceInput
{
	HaInput input;
	ClusterView view; /* owned */
	HaSettings settings;
	HaPostgres postgres;
	HaPeer peer;
	HaCommand command;
	char text[HA_TEXT_MAX];
} TraceInput;

extern const char *trace_input_name(HaInputKind kind);
/* Is it one of those of which only changes are written? */
extern bool trace_input_is_long(HaInputKind kind);
/* A view from its keys. */
extern json_t *trace_view_to_json(const ClusterView *view);
extern void trace_view_add_key(json_t *document, const ClusterKey *key);
/* Any other input. */
extern json_t *trace_input_to_json(const HaInput *input);
/* *result must be zero or have been read into before; false: not an input. */
extern bool trace_input_from_json(TraceInput *result, const char *name, const json_t *document);
extern void trace_input_free(TraceInput *input);
/* What is new, and how to apply it; NULL: nothing. */
extern json_t *trace_change(const json_t *before, const json_t *now);
extern bool trace_apply_change(json_t *document, const json_t *change);

extern json_t *trace_actions_to_json(const HaActions *actions);
extern json_t *trace_node_to_json(const HaNode *node);
/* A text without what looks like a password; malloc'ed, NULL without memory. */
extern char *trace_scrub(const char *text);

#endif /* PATRONI_NODE_TRACE_H */
