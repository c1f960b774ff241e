/*-------------------------------------------------------------------------
 *
 * format.h
 *      How patroni_ctl writes: tables, tab separated values, JSON and YAML,
 *      byte for byte as Patroni's own patronictl does; a diff as Python's
 *      difflib makes it; times of a schedule.
 *
 * Pure: no I/O, no store.  Texts are malloc'ed; NULL means no memory.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_CTL_FORMAT_H
#define PATRONI_CTL_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/error.h"

/* --- values.c --- */

/* One line of JSON as Python's json.dumps() writes it. */
extern char *format_json(const json_t *value);
/* What Python's str() makes of a value: None, True, 1.5, text as it is. */
extern char *format_plain(const json_t *value);
/* The shortest text that reads back as the same number: 1e-07, 0.1, 100.0. */
extern void format_real(double value, char text[40]);
/* Is this an empty text for a reader: ""? */
extern bool format_is_empty(const json_t *value);

/* --- yaml_text.c --- */

/* Block style with sorted keys, or all in braces on one line. */
extern char *format_yaml(const json_t *value, bool flow);

/* --- table.c --- */

/*
 * A frame of +, - and |.  "title" overwrites the upper frame from its second
 * character; NULL = none.  "columns" is an array of texts, "rows" of arrays;
 * "align" has a letter for each column, l or r; "" = all to the left.
 */
extern char *format_table(const char *title, const json_t *columns, const char *align,
						  const json_t *rows);
extern char *format_separated(const json_t *columns, const json_t *rows, const char *delimiter);
/* Objects with the columns as keys; empty texts are left out if asked. */
extern json_t *format_objects(const json_t *columns, const json_t *rows, bool leave_out_empty);

/* --- diff.c --- */

/* Unified, three lines of context, "--- \n+++ \n" at the top; "" = equal. */
extern char *format_diff(const char *before, const char *after);

/* --- when.c --- */

typedef struct When
{
	int64_t wall_us; /* since 1970 */
	int offset_s;	 /* of its zone, east is positive */
} When;

/*
 * Read a time of day, a date or both; without a zone the local one.  "now_ms"
 * (since 1970) says which day a mere time of day is on.
 */
extern bool when_parse(const char *text, int64_t now_ms, When *when);
/* 2026-03-23T18:00:00+01:00, with .ffffff if there is a fraction. */
extern void when_to_text(const When *when, char text[48]);

/* --- config_change.c --- */

/* "a.b.c=value": the value is YAML, null removes.  Changes *config. */
extern bool config_change_set(json_t *config, const char *pair, Error *error) MUST_CHECK;
/* Merge as PATCH /config does: null removes, objects recurse. */
extern bool config_change_patch(json_t *config, const json_t *patch);
/* Any YAML text as JSON; NULL and *error when it cannot be read. */
extern json_t *config_change_read(const char *text, size_t length, const char *name, Error *error);

#endif /* PATRONI_CTL_FORMAT_H */
