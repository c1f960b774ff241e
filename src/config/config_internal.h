/*-------------------------------------------------------------------------
 *
 * config_internal.h
 *      What the files of src/config share: documents with the place of each
 *      key and value, lists of problems, the schema, the GUC rules.
 *
 * A path names a value inside a document: its keys joined by CONFIG_SEP, so
 * that keys which contain dots ("patroni.fence") stay one step.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_CONFIG_INTERNAL_H
#define PATRONI_CONFIG_INTERNAL_H

#include "config/settings.h"

#define CONFIG_SEP				'\x1f'
#define CONFIG_SEP_TEXT			"\x1f"
#define CONFIG_PATH_MAX			512
#define CONFIG_FILE_SIZE_MAX	(1024 * 1024)
#define CONFIG_FILES_MAX		256
#define CONFIG_DEPTH_MAX		64
#define CONFIG_NODES_MAX		50000
#define CONFIG_PROBLEMS_MAX		200

/* Where a key and its value stand. */
typedef struct Place
{
	char	   *path;				/* owned */
	int			source;				/* index into Places.sources */
	int			key_line;			/* from 1; 0 = the source has no lines */
	int			key_column;
	int			line;				/* of the value */
	int			column;
	bool		is_whole;			/* replaces everything below an older one */
} Place;

typedef struct Places
{
	Place	   *items;				/* owned; in the order they were read */
	int			count;
	int			capacity;
	char	  **sources;			/* owned; file names, "environment variable X" */
	int			n_sources;
} Places;

struct LocalConfig
{
	json_t	   *document;
	Places		places;
	char		source[SETTINGS_PATH_MAX];		/* what was read, for messages */
	char		directory[SETTINGS_PATH_MAX];	/* relative paths start here */
	char		home[SETTINGS_PATH_MAX];		/* for the default of pgpass */
};

/* --- document.c --- */
extern int	places_add_source(Places *places, const char *name);
extern bool places_add(Places *places, const char *path, int source,
					   int key_line, int key_column, int line, int column,
					   bool is_whole);
extern void places_free(Places *places);
extern void places_describe(const Places *places, const char *path, bool of_key,
							char *place, size_t size);
extern bool path_append(char *path, size_t size, const char *key);
extern void path_show(const char *path, char *shown, size_t size);
extern const json_t *document_get(const json_t *document, const char *dotted);
extern bool document_patch(json_t *document, const json_t *patch, int depth);
extern bool text_is_secret(const char *key);
extern void value_show(const char *key, const json_t *value, char *shown, size_t size);
extern bool value_to_text(const json_t *value, char *text, size_t size);
extern LocalConfig *local_config_new(void);

/* Who reports: a list of problems and where the values stand (or NULL). */
typedef struct Reporter
{
	ConfigProblems *problems;
	const Places *places;
	const char *fallback;			/* the place when there are no places */
} Reporter;

extern void problem_at(ConfigProblems *problems, bool is_error, const char *place,
					   const char *key, const char *format,...) PRINTF_LIKE(5, 6);
/* "dotted" is a path with '.' or CONFIG_SEP between its keys. */
extern void report(const Reporter *reporter, bool is_error, const char *dotted,
				   bool of_key, const char *format,...) PRINTF_LIKE(5, 6);

/* --- yaml.c --- */
extern json_t *yaml_parse(const char *text, size_t length, const char *name,
						  Places *places, const char *root_path, int *n_nodes,
						  ConfigProblems *problems);

/* --- environment.c --- */
extern bool environment_overlay(LocalConfig *config, char **environment,
								int *n_nodes, ConfigProblems *problems);
extern const char *environment_value(char **environment, const char *name);

/* --- schema.c --- */
extern void schema_check_local(const json_t *document, const Reporter *reporter);
extern void schema_check_dynamic(const json_t *document, const char *root,
								 const Reporter *reporter);

/* --- pgbouncer.c --- */
extern bool pgbouncer_settings(Settings *settings, const json_t *document,
							   const Reporter *reporter);

/* --- values.c --- */
extern bool text_to_int(const char *text, const char *base_unit, int64_t *result);
extern bool text_to_real(const char *text, const char *base_unit, double *result);
extern bool text_to_bool(const char *text, bool *result);

/* --- guc_rules.c --- */
typedef enum GucKind
{
	GUC_BOOL,
	GUC_INTEGER,
	GUC_REAL,
	GUC_ENUM,
	GUC_ENUM_BOOL,
	GUC_STRING,
} GucKind;

typedef struct GucRule
{
	const char *name;
	GucKind		kind;
	int			since;				/* server_version_num */
	int			until;				/* exclusive; 0 = open */
	double		minimum;
	double		maximum;
	const char *unit;				/* base unit or NULL */
	const char *values;				/* "a|b", enums only */
} GucRule;

extern const GucRule guc_rules[];
extern const int n_guc_rules;

/* --- parameters.c --- */
extern bool parameter_is_controlled(const char *name);
extern bool parameter_is_recovery(const char *name);
extern bool parameter_has_rule(const char *name);
extern json_t *parameters_controlled_defaults(void);
extern bool parameter_controlled_valid(const char *name, const json_t *value,
									   const char **allowed);

#endif							/* PATRONI_CONFIG_INTERNAL_H */
