/*-------------------------------------------------------------------------
 *
 * trace.c
 *      Writes what the engine is told and what it answers to a file.
 *
 * Invariants:
 *  (1) A line is written with one write() to a file opened for appending, so
 *      that lines of two processes do not mix.
 *  (2) The file can be read by its owner only, is never a link and never one
 *      that holds anything but a trace.
 *  (3) After a line could not be written, no other follows it: a trace may
 *      lack its end, not its middle.
 *
 * Writing to a regular file can take as long as the disk takes; who records
 * accepts that.
 *-------------------------------------------------------------------------
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/version.h"
#include "node/host_internal.h"

/* How every line begins, and so the file. */
#define LINE_START "{\"trace\":"

struct Trace
{
	int fd;
	HaHome home;
	int64_t limit;
	int64_t n_lines;
	bool has_begun;
	bool has_ended;
	char path[1024];
	json_t *settings; /* owned; as last written, NULL never */
	json_t *view;
	json_t *postgres;
};

/* Regular, ours, private, and empty or a trace. */
static bool
check_file(const Trace *trace, Error *error)
{
	struct stat st;
	char start[sizeof(LINE_START) - 1];

	if (fstat(trace->fd, &st) != 0)
		return error_set(error, "could not look at it: %s", strerror(errno));
	if (!S_ISREG(st.st_mode))
		return error_set(error, "it is no regular file");
	if (st.st_uid != geteuid())
		return error_set(error, "it belongs to another user");
	if (st.st_size > 0 && (pread(trace->fd, start, sizeof(start), 0) != (ssize_t) sizeof(start) ||
	                       memcmp(start, LINE_START, sizeof(start)) != 0))
		return error_set(error, "it holds something else than a trace");
	if ((st.st_mode & 077) != 0 && fchmod(trace->fd, 0600) != 0)
		return error_set(error, "could not make it private: %s", strerror(errno));
	return true;
}

/* Open or make the file.  Nothing is written before trace_begin(). */
bool
trace_open(Trace **result, const char *path, HaHome home, int64_t limit, Error *error)
{
	Trace *trace = calloc(1, sizeof(Trace));

	*result = NULL;
	if (trace == NULL)
		return error_set(error, "out of memory");
	trace->home = home;
	trace->limit = limit;
	host_copy_text(trace->path, sizeof(trace->path), path);
	/* O_NONBLOCK: opening a pipe must not wait for its reader */
	trace->fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
	if (trace->fd < 0)
		error_set(error, "%s", strerror(errno));
	else if (check_file(trace, error))
	{
		*result = trace;
		return true;
	}
	trace_close(trace);
	return error_wrap(error, "could not open trace file \"%s\"", path);
}

/* End the record; NULL is fine. */
void
trace_close(Trace *trace)
{
	if (trace == NULL)
		return;
	if (trace->fd >= 0)
		close(trace->fd);
	json_decref(trace->settings);
	json_decref(trace->view);
	json_decref(trace->postgres);
	free(trace);
}

/* The file, as it was given. */
const char *
trace_path(const Trace *trace)
{
	return trace->path;
}

/* Has trace_begin() been called? */
bool
trace_has_begun(const Trace *trace)
{
	return trace->has_begun;
}

/* What all lines have; takes nothing over. */
static json_t *
new_line(const Trace *trace, const char *what, int64_t now_ms, int64_t wall_ms)
{
	return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I}", "trace", what, "home",
	                 trace->home == HA_HOME_WORKER ? "worker" : "supervisor", "pid",
	                 (json_int_t) getpid(), "n", (json_int_t) trace->n_lines, "now",
	                 (json_int_t) now_ms, "wall", (json_int_t) wall_ms);
}

static bool
write_text(Trace *trace, char *text, Error *error)
{
	struct stat st;
	size_t length = strlen(text);
	ssize_t written;

	text[length++] = '\n'; /* in place of the final NUL: it is not a string any more */
	if (fstat(trace->fd, &st) != 0)
		return error_set(error, "%s", strerror(errno));
	if (st.st_size + (int64_t) length > trace->limit)
		return error_set(error, "it has reached its limit of %lld MB",
		                 (long long) (trace->limit / (1024 * 1024)));
	written = write(trace->fd, text, length);
	if (written < 0)
		return error_set(error, "%s", strerror(errno));
	if ((size_t) written != length)
		return error_set(error, "no space is left for a whole line");
	return true;
}

/* Write a line, which is freed.  NULL: there was no memory for it. */
static bool
write_line(Trace *trace, json_t *line, Error *error)
{
	char *text = line == NULL ? NULL : json_dumps(line, JSON_COMPACT);
	bool ok = text != NULL && !trace->has_ended;

	json_decref(line);
	if (!ok)
		error_set(error, "out of memory");
	else
		ok = write_text(trace, text, error);
	free(text);
	trace->n_lines++;
	if (ok)
		return true;
	trace->has_ended = true;
	return error_wrap(error, "could not write trace file \"%s\" any more", trace->path);
}

/* From here on there is an engine that knows nothing. */
bool
trace_begin(Trace *trace, int64_t now_ms, int64_t wall_ms, Error *error)
{
	json_t *line = new_line(trace, "begin", now_ms, wall_ms);

	trace->has_begun = true;
	if (line != NULL)
		json_object_set_new(line, "version", json_string(PATRONI_BGW_VERSION));
	return write_line(trace, line, error);
}

/* The engine was given a saved state, or NULL, and could use it or not. */
bool
trace_load(Trace *trace, int64_t now_ms, int64_t wall_ms, const char *saved, bool is_usable,
           Error *error)
{
	json_t *line = new_line(trace, "load", now_ms, wall_ms);
	char *clean = saved == NULL ? NULL : trace_scrub(saved);

	if (line != NULL)
	{
		json_object_set_new(line, "usable", json_boolean(is_usable));
		json_object_set_new(line, "saved", clean == NULL ? json_null() : host_text_to_json(clean));
	}
	free(clean);
	return write_line(trace, line, error);
}

static json_t *
view_to_json(const ClusterView *view, const Dcs *dcs)
{
	json_t *document = trace_view_to_json(view);
	ClusterKey key;

	for (int i = 0; document != NULL && dcs != NULL && dcs_key(dcs, i, &key); i++)
		trace_view_add_key(document, &key);
	return document;
}

/* The document that is in the file already, of a long kind of input. */
static json_t **
last_written(Trace *trace, HaInputKind kind)
{
	return kind == HA_INPUT_SETTINGS  ? &trace->settings
	       : kind == HA_INPUT_CLUSTER ? &trace->view
	                                  : &trace->postgres;
}

static void
add_input(Trace *trace, json_t *line, const HaInput *input, const Dcs *dcs)
{
	json_t *document = input->kind == HA_INPUT_CLUSTER ? view_to_json(input->view, dcs)
	                                                   : trace_input_to_json(input);
	json_t **last;
	json_t *change;

	json_object_set_new(line, "input", json_string(trace_input_name(input->kind)));
	if (!trace_input_is_long(input->kind))
	{
		if (json_object_size(document) > 0)
			json_object_set(line, "data", document);
		json_decref(document);
		return;
	}
	last = last_written(trace, input->kind);
	change = trace_change(*last, document);
	if (change != NULL)
		json_object_set_new(line, "change", change);
	json_decref(*last);
	*last = document;
}

/*
 * A step that was taken: its time, its input, which has the wall clock, and
 * its outcome.  "dcs" has the keys of a view that is the input.
 */
bool
trace_step(Trace *trace, int64_t now_ms, const HaInput *input, const Dcs *dcs, const HaNode *node,
           const HaActions *actions, Error *error)
{
	json_t *line = new_line(trace, "step", now_ms, input->wall_ms);

	if (line != NULL)
	{
		add_input(trace, line, input, dcs);
		json_object_set_new(line, "actions", trace_actions_to_json(actions));
		json_object_set_new(line, "node", trace_node_to_json(node));
	}
	return write_line(trace, line, error);
}
