/*-------------------------------------------------------------------------
 *
 * replay.c
 *      Takes the steps of a recorded trace again and compares: what a real
 *      node decided, and why (docs/trace.md).
 *
 * Each "begin" in the trace is a new engine, told apart by home and process
 * id.  It gets what the trace says it got, at the times it says; what it
 * wants done and what it thinks afterwards have to be the same.  The first
 * difference ends the run.
 *
 * A last line that is cut short is left out.  Where other lines are missing,
 * the engine they belong to cannot be followed any further, and it is said so.
 *-------------------------------------------------------------------------
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "node/trace.h"

#define REPLAY_SAME      0
#define REPLAY_DIFFERENT 1
#define REPLAY_UNUSABLE  2

#define SHORT_VALUE      100

typedef struct Engine
{
	struct Engine *next;
	HaHome home;
	json_int_t pid;
	HaNode *node;
	HaActions actions;
	json_int_t next_n;
	bool is_lost; /* lines are missing: it cannot be followed */
	json_t *documents[3];
} Engine;

typedef struct Replay
{
	FILE *out;
	bool is_quiet;
	const char *only; /* a home, or NULL */
	Engine *engines;
	long line;
	long n_steps;
	long n_skipped;
	long n_damaged;
	TraceInput input;
} Replay;

/* ------------------------------------------------------------------------
 * For people
 * ------------------------------------------------------------------------
 */

static const char *
text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text == NULL ? "" : text;
}

/* " key=value" of all members but some; long values are cut. */
static void
print_members(FILE *out, const json_t *object, const char *const *but)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *) object, key, value)
	{
		bool is_left_out = false;
		bool is_key = strncmp(key, "key ", 4) == 0;
		char *text;

		for (int i = 0; but != NULL && but[i] != NULL; i++)
			is_left_out = is_left_out || strcmp(but[i], key) == 0;
		if (is_left_out)
			continue;
		/* a key of the store is [value, session, version] */
		text = json_dumps(is_key ? json_array_get(value, 0) : value,
		                  JSON_COMPACT | JSON_ENCODE_ANY);
		if (text != NULL)
			fprintf(out, " %s=%.*s%s", is_key ? key + 4 : key, SHORT_VALUE, text,
			        strlen(text) > SHORT_VALUE ? "..." : "");
		free(text);
	}
}

static void
print_start(FILE *out, const json_t *line)
{
	json_int_t wall_ms = json_integer_value(json_object_get(line, "wall"));
	time_t seconds = (time_t) (wall_ms / 1000);
	struct tm parts;
	char text[40];

	gmtime_r(&seconds, &parts);
	strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &parts);
	fprintf(out, "%s.%03d %s[%" JSON_INTEGER_FORMAT "]", text, (int) (wall_ms % 1000),
	        text_of(line, "home"), json_integer_value(json_object_get(line, "pid")));
}

static void
print_action(FILE *out, const json_t *action)
{
	static const char *const but[] = { "do", "rule", "because", NULL };

	if (json_is_string(action))
	{
		fprintf(out, "%s\n", json_string_value(action));
		return;
	}
	fprintf(out, "%s", text_of(action, "do"));
	print_members(out, action, but);
	fprintf(out, "  [%s] %s\n", text_of(action, "rule"), text_of(action, "because"));
}

static void
print_step(FILE *out, const json_t *line)
{
	const json_t *node = json_object_get(line, "node");
	const json_t *gone = json_object_get(json_object_get(line, "change"), "gone");
	size_t index;
	json_t *value;

	print_start(out, line);
	fprintf(out, " %s", text_of(line, "input"));
	print_members(out, json_object_get(line, "data"), NULL);
	print_members(out, json_object_get(json_object_get(line, "change"), "set"), NULL);
	json_array_foreach((json_t *) gone, index, value)
		fprintf(out, " -%s", json_string_value(value));
	fprintf(out, "\n    -> %s: %s\n", text_of(node, "rule"), text_of(node, "because"));
	json_array_foreach(json_object_get(line, "actions"), index, value)
	{
		/* every step ends with this wish */
		if (strcmp(text_of(value, "do"), "wake at") == 0)
			continue;
		fprintf(out, "    ");
		print_action(out, value);
	}
}

/* What is different, recorded and replayed one below the other. */
static void
print_difference(const Replay *replay, const json_t *line, const json_t *actions,
                 const json_t *node)
{
	const json_t *recorded = json_object_get(line, "actions");
	size_t count = json_array_size(recorded) > json_array_size(actions) ? json_array_size(recorded)
	                                                                    : json_array_size(actions);
	FILE *out = replay->out;

	fprintf(out, "\nline %ld differs:\n", replay->line);
	print_step(out, line);
	if (!json_equal(json_object_get(line, "node"), node))
	{
		fprintf(out, "  recorded:");
		print_members(out, json_object_get(line, "node"), NULL);
		fprintf(out, "\n  replayed:");
		print_members(out, node, NULL);
		fprintf(out, "\n");
	}
	for (size_t i = 0; i < count; i++)
	{
		const json_t *then = json_array_get(recorded, i);
		const json_t *now = json_array_get(actions, i);

		if (then != NULL && now != NULL && json_equal(then, now))
			continue;
		fprintf(out, "  recorded action %zu: ", i + 1);
		then == NULL ? (void) fprintf(out, "none\n") : print_action(out, then);
		fprintf(out, "  replayed action %zu: ", i + 1);
		now == NULL ? (void) fprintf(out, "none\n") : print_action(out, now);
	}
}

/* ------------------------------------------------------------------------
 * Engines
 * ------------------------------------------------------------------------
 */

static void
engine_clear(Engine *engine)
{
	ha_node_free(engine->node);
	ha_actions_free(&engine->actions);
	for (int i = 0; i < 3; i++)
	{
		json_decref(engine->documents[i]);
		engine->documents[i] = NULL;
	}
}

/* The engine of a line, made when it is the first; NULL: no memory. */
static Engine *
find_engine(Replay *replay, const json_t *line)
{
	HaHome home = strcmp(text_of(line, "home"), "worker") == 0 ? HA_HOME_WORKER
	                                                           : HA_HOME_SUPERVISOR;
	json_int_t pid = json_integer_value(json_object_get(line, "pid"));
	Engine *engine = replay->engines;

	while (engine != NULL && (engine->home != home || engine->pid != pid))
		engine = engine->next;
	if (engine != NULL)
		return engine;
	engine = calloc(1, sizeof(*engine));
	if (engine == NULL)
		return NULL;
	engine->home = home;
	engine->pid = pid;
	engine->next = replay->engines;
	replay->engines = engine;
	return engine;
}

static bool
begin(Engine *engine)
{
	engine_clear(engine);
	engine->node = ha_node_create(engine->home);
	engine->next_n = 0;
	engine->is_lost = false;
	for (int i = 0; i < 3; i++)
		engine->documents[i] = json_pack("{}");
	return engine->node != NULL;
}

/* Follow this engine no further; said once. */
static void
lose(Replay *replay, Engine *engine, const json_t *line, const char *why)
{
	if (!engine->is_lost)
		fprintf(replay->out, "line %ld: %s %" JSON_INTEGER_FORMAT " cannot be followed: %s\n",
		        replay->line, text_of(line, "home"), engine->pid, why);
	engine->is_lost = true;
}

static json_t **
document_of(Engine *engine, const char *name)
{
	return strcmp(name, "settings") == 0   ? &engine->documents[0]
	       : strcmp(name, "cluster") == 0  ? &engine->documents[1]
	       : strcmp(name, "postgres") == 0 ? &engine->documents[2]
	                                       : NULL;
}

/* The input of a line, complete, with its time. */
static bool
read_input(Replay *replay, Engine *engine, const json_t *line)
{
	const char *name = text_of(line, "input");
	json_t **document = document_of(engine, name);
	json_t *data = json_object_get(line, "data");
	json_t *nothing = json_pack("{}");
	bool ok;

	if (document != NULL)
		ok = trace_apply_change(*document, json_object_get(line, "change")) &&
		     trace_input_from_json(&replay->input, name, *document);
	else
		ok = trace_input_from_json(&replay->input, name, data == NULL ? nothing : data);
	json_decref(nothing);
	replay->input.input.wall_ms = json_integer_value(json_object_get(line, "wall"));
	return ok;
}

/* Take a step again; false: it came out differently. */
static bool
replay_step(Replay *replay, Engine *engine, const json_t *line)
{
	json_t *actions;
	json_t *node;
	bool is_same;

	if (!read_input(replay, engine, line))
	{
		lose(replay, engine, line, "the input cannot be read");
		replay->n_skipped++;
		return true;
	}
	ha_step(engine->node, json_integer_value(json_object_get(line, "now")), &replay->input.input,
	        &engine->actions);
	actions = trace_actions_to_json(&engine->actions);
	node = trace_node_to_json(engine->node);
	is_same = json_equal(actions, json_object_get(line, "actions")) &&
	          json_equal(node, json_object_get(line, "node"));
	if (!is_same)
		print_difference(replay, line, actions, node);
	else
	{
		replay->n_steps++;
		if (!replay->is_quiet && (replay->only == NULL ||
		                          strcmp(replay->only, text_of(line, "home")) == 0))
			print_step(replay->out, line);
	}
	json_decref(actions);
	json_decref(node);
	return is_same;
}

/* A saved state was loaded; false: it was usable then and is not now, or the reverse. */
static bool
replay_load(Replay *replay, Engine *engine, const json_t *line)
{
	const char *saved = json_string_value(json_object_get(line, "saved"));
	bool was_usable = json_is_true(json_object_get(line, "usable"));
	bool is_usable =
	    ha_node_load(engine->node, saved, json_integer_value(json_object_get(line, "now")));

	if (is_usable == was_usable)
	{
		if (!replay->is_quiet)
		{
			print_start(replay->out, line);
			fprintf(replay->out, " drives, going on from %s\n", saved == NULL ? "nothing" : saved);
		}
		return true;
	}
	fprintf(replay->out, "\nline %ld differs: the saved state was %s, replayed it is %s\n",
	        replay->line, was_usable ? "usable" : "not usable",
	        is_usable ? "usable" : "not usable");
	return false;
}

static bool
replay_line(Replay *replay, const json_t *line)
{
	const char *what = text_of(line, "trace");
	json_int_t n = json_integer_value(json_object_get(line, "n"));
	Engine *engine = find_engine(replay, line);

	if (engine == NULL)
	{
		replay->n_damaged++;
		return true;
	}
	if (strcmp(what, "begin") == 0)
	{
		if (!begin(engine))
			lose(replay, engine, line, "out of memory");
		if (!replay->is_quiet)
		{
			print_start(replay->out, line);
			fprintf(replay->out, " begins, version %s\n", text_of(line, "version"));
		}
		engine->next_n = 1;
		return true;
	}
	if (engine->node == NULL)
		lose(replay, engine, line, "its beginning is not in the trace");
	else if (n != engine->next_n)
		lose(replay, engine, line, "lines are missing");
	engine->next_n = n + 1;
	if (engine->is_lost)
	{
		replay->n_skipped++;
		return true;
	}
	if (strcmp(what, "load") == 0)
		return replay_load(replay, engine, line);
	return replay_step(replay, engine, line);
}

/* ------------------------------------------------------------------------
 * The run
 * ------------------------------------------------------------------------
 */

static int
conclude(const Replay *replay, bool is_same)
{
	if (!is_same)
	{
		fprintf(replay->out, "%ld steps with the same decisions before that\n", replay->n_steps);
		return REPLAY_DIFFERENT;
	}
	if (replay->n_damaged > 0 || replay->n_skipped > 0)
	{
		fprintf(replay->out,
		        "%ld steps, all decisions the same; %ld lines cannot be read, %ld cannot be "
		        "replayed\n",
		        replay->n_steps, replay->n_damaged, replay->n_skipped);
		return REPLAY_UNUSABLE;
	}
	if (replay->n_steps == 0)
	{
		fprintf(replay->out, "there is no step in the trace\n");
		return REPLAY_UNUSABLE;
	}
	fprintf(replay->out, "%ld steps, all decisions the same\n", replay->n_steps);
	return REPLAY_SAME;
}

/* Replay a whole trace.  Returns an exit code; "only" is the home to print, or NULL. */
static int
replay_trace(FILE *in, FILE *out, bool is_quiet, const char *only)
{
	Replay *replay = calloc(1, sizeof(*replay));
	char *text = NULL;
	size_t size = 0;
	ssize_t length;
	bool is_same = true;
	int exit_code;

	if (replay == NULL)
		return REPLAY_UNUSABLE;
	replay->out = out;
	replay->is_quiet = is_quiet;
	replay->only = only;
	while (is_same && (length = getline(&text, &size, in)) > 0)
	{
		json_t *line;

		replay->line++;
		if (text[length - 1] != '\n')
		{
			fprintf(out, "line %ld, the last, is cut short and left out\n", replay->line);
			break;
		}
		line = json_loadb(text, (size_t) length, 0, NULL);
		if (json_is_object(line))
			is_same = replay_line(replay, line);
		else
		{
			fprintf(out, "line %ld cannot be read\n", replay->line);
			replay->n_damaged++;
		}
		json_decref(line);
	}
	exit_code = conclude(replay, is_same);
	while (replay->engines != NULL)
	{
		Engine *engine = replay->engines;

		replay->engines = engine->next;
		engine_clear(engine);
		free(engine);
	}
	trace_input_free(&replay->input);
	free(replay);
	free(text);
	return exit_code;
}

static void
print_help(FILE *out)
{
	fprintf(out, "patroni_replay takes the decisions of a recorded node again.\n"
	             "\n"
	             "Usage:\n"
	             "  patroni_replay [--quiet] [--home worker|supervisor] TRACE\n"
	             "\n"
	             "Prints every step, with --home those of one home only, with --quiet none.\n"
	             "\n"
	             "Exit codes:\n"
	             "  0  all decisions are the same\n"
	             "  1  a step came out differently; it is shown\n"
	             "  2  the trace, or a part of it, cannot be replayed\n");
}

int
main(int argc, char **argv)
{
	const char *path = NULL;
	const char *only = NULL;
	bool is_quiet = false;
	FILE *in;
	int exit_code;

	for (int i = 1; i < argc; i++)
	{
		if (strcmp(argv[i], "--help") == 0)
		{
			print_help(stdout);
			return REPLAY_SAME;
		}
		if (strcmp(argv[i], "--quiet") == 0)
			is_quiet = true;
		else if (strcmp(argv[i], "--home") == 0 && i + 1 < argc)
			only = argv[++i];
		else if (argv[i][0] != '-' && path == NULL)
			path = argv[i];
		else
			break;
	}
	if (path == NULL || path[0] == '\0')
	{
		print_help(stderr);
		return REPLAY_UNUSABLE;
	}
	in = fopen(path, "r");
	if (in == NULL)
	{
		fprintf(stderr, "could not open trace \"%s\": %s\n", path, strerror(errno));
		return REPLAY_UNUSABLE;
	}
	exit_code = replay_trace(in, stdout, is_quiet, only);
	fclose(in);
	return exit_code;
}
