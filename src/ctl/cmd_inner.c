/*-------------------------------------------------------------------------
 *
 * cmd_inner.c
 *      One step alone, for tests: how a value is written.
 *
 * "patroni_ctl __format" reads a JSON object from each line and answers with
 * the text as a line of JSON:
 *
 *      {"json": value} {"yaml": value, "flow": bool} {"diff": [before, after]}
 *      {"table": rows, "title": text, "columns": [...], "align": "lr"}
 *      {"when": text}
 *-------------------------------------------------------------------------
 */
#include "ctl/ctl.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

static char *
format_step(const json_t *step)
{
	const json_t *value;
	const char *text;

	if ((value = json_object_get(step, "json")) != NULL)
		return format_json(value);
	if ((value = json_object_get(step, "yaml")) != NULL)
		return format_yaml(value, json_is_true(json_object_get(step, "flow")));
	if ((value = json_object_get(step, "diff")) != NULL)
		return format_diff(json_string_value(json_array_get(value, 0)),
						   json_string_value(json_array_get(value, 1)));
	if ((value = json_object_get(step, "table")) != NULL)
		return format_table(json_string_value(json_object_get(step, "title")),
							json_object_get(step, "columns"),
							json_string_value(json_object_get(step, "align")), value);
	if ((text = json_string_value(json_object_get(step, "when"))) != NULL)
	{
		char at[48] = "";
		When when;

		if (when_parse(text, clock_wall_ms(), &when))
			when_to_text(&when, at);
		return strdup(at);
	}
	return NULL;
}

/* Until standard input ends. */
int
command_format_steps(void)
{
	char *line = NULL;
	size_t size = 0;

	while (getline(&line, &size, stdin) > 0)
	{
		json_t *step = json_loads(line, 0, NULL);
		char *text = step != NULL ? format_step(step) : NULL;
		json_t *answer = text != NULL ? json_string(text) : json_null();

		ctl_print(format_json(answer));
		json_decref(answer);
		json_decref(step);
		free(text);
	}
	free(line);
	return CTL_EXIT_OK;
}
