/*-------------------------------------------------------------------------
 *
 * ctl.h
 *      What the files of patroni_ctl share: the command line as it was given,
 *      the cluster as the store holds it, calls of the members' REST API,
 *      questions to the person at the terminal.
 *
 * One thread, and everything blocks: a command line has nothing else to do.
 * Functions that fail say so on standard error ("Error: ...") and return
 * false or an exit code; their callers return it.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_CTL_CTL_H
#define PATRONI_CTL_CTL_H

#include <stdio.h>

#include <jansson.h>

#include "cluster/cluster.h"
#include "config/settings.h"
#include "ctl/format.h"
#include "dcs/dcs.h"
#include "dcs/http.h"

#define CTL_EXIT_OK	   0
#define CTL_EXIT_ERROR 1
#define CTL_EXIT_USAGE 2

/* --- the command line: options.c, tree.c --- */

typedef enum OptionId
{
	OPTION_NONE,
	OPTION_HELP,
	OPTION_VERSION,
	OPTION_CONFIG_FILE,
	OPTION_DCS_URL,
	OPTION_INSECURE,
	OPTION_LAYOUT,
	OPTION_GROUP,
	OPTION_ROLE,
	OPTION_MEMBER,
	OPTION_FORMAT,
	OPTION_WATCH,
	OPTION_WATCH_2,
	OPTION_FORCE,
	OPTION_EXTENDED,
	OPTION_TIMESTAMP,
	OPTION_FILE,
	OPTION_COMMAND,
	OPTION_PASSWORD,
	OPTION_USERNAME,
	OPTION_DATABASE,
	OPTION_DELIMITER,
	OPTION_LIMIT,
	OPTION_ANY,
	OPTION_SCHEDULED,
	OPTION_PG_VERSION,
	OPTION_PENDING,
	OPTION_TIMEOUT,
	OPTION_WAIT,
	OPTION_FROM_LEADER,
	OPTION_LEADER,
	OPTION_CANDIDATE,
	OPTION_QUIET,
	OPTION_SET,
	OPTION_PG,
	OPTION_APPLY,
	OPTION_REPLACE,
	OPTION_HOST,
	OPTION_PORT,
	OPTION_RESTORE_COMMAND,
	OPTION_PRIMARY_SLOT_NAME,
	OPTION_COUNT
} OptionId;

typedef struct CtlOption
{
	OptionId id;
	const char *names;	 /* "-f, --format"; those behind a "|" are not shown */
	const char *metavar; /* NULL: a flag.  "INTEGER" and "FLOAT" are checked */
	const char *help;
	const char *const *choices; /* NULL = any; ends with NULL; those behind "" are not shown */
	bool is_repeatable;
} CtlOption;

typedef struct Ctl Ctl;

typedef struct CtlCommand
{
	const char *name;
	const char *help;
	const char *arguments; /* as the usage shows them */
	int least;			   /* how many there must be */
	int most;			   /* -1: any number */
	bool has_scope;		   /* the first one is the cluster, by default that of the configuration */
	bool has_default_group;
	const CtlOption *options; /* ends with OPTION_NONE */
	int (*run)(Ctl *ctl);
} CtlCommand;

#define CTL_PAIRS_MAX 256

struct Ctl
{
	const char *program; /* as it was called */
	const CtlCommand *command;
	const char *values[OPTION_COUNT]; /* NULL = not given */
	bool flags[OPTION_COUNT];
	const char *pairs[CTL_PAIRS_MAX]; /* of --set, then of --pg */
	bool pair_is_pg[CTL_PAIRS_MAX];
	int n_pairs;
	char **words; /* the arguments, in order */
	int n_words;

	json_t *document;  /* owned; the local configuration */
	const char *scope; /* which cluster; NULL = none */
	bool is_citus;
	bool has_group;
	int group;
	bool has_lsn_columns; /* tables as Patroni 4.1 has them, not 3.0 */

	Http *http; /* opened with the first call */
};

extern const CtlCommand ctl_commands[];
extern const CtlOption ctl_global_options[];
extern const CtlCommand *ctl_find_command(const char *name);

/* -1: go on; else the exit code: help was asked for, or the usage is wrong. */
extern int ctl_parse(Ctl *ctl, int argc, char **argv);
extern int ctl_usage_error(const Ctl *ctl, const char *format, ...) PRINTF_LIKE(2, 3);
extern int ctl_complete(Ctl *ctl, int argc, char **argv);

/* --- what is said: say.c --- */

/* "Error: ...", returns CTL_EXIT_ERROR. */
extern int ctl_fail(const char *format, ...) PRINTF_LIKE(1, 2);
/* "<time> - WARNING - ..." on standard error. */
extern void ctl_warn(const char *format, ...) PRINTF_LIKE(1, 2);
extern void ctl_timestamp(char text[40], bool with_fraction);
/* "<text> [y/N]: " until it is answered; no answer at all ends the program. */
extern bool ctl_confirm(const char *format, ...) PRINTF_LIKE(1, 2);
/* "<text> [default]: "; malloc'ed.  without a default it asks until it gets one. */
extern char *ctl_prompt(const char *text, const char *otherwise);
extern char *ctl_prompt_password(void);
extern void ctl_show_typing(void); /* before the program is cut off */
/* "2026-03-23T18:00", an hour from now: an example. */
extern void ctl_next_hour(char text[24]);
/* Print a text and a line feed, and free it. */
extern void ctl_print(char *text);
/* Rows in the format that was asked for; "title" as in format_table(). */
extern void ctl_print_rows(const char *format, const char *title, const json_t *columns,
						   const char *align, const json_t *rows, const char *delimiter);
/* Clear the terminal and wait; false: once is enough. */
extern bool ctl_watch(const Ctl *ctl, bool is_first, bool clear);

/* --- the configuration: config.c --- */

extern int ctl_configure(Ctl *ctl);
extern bool ctl_settings(const Ctl *ctl, const char *scope, Settings *settings);

/* --- the cluster: cluster.c --- */

typedef struct CtlMember
{
	Member known;
	json_t *data; /* owned; its key as it is, an object */
	char host[256];
	int port;
	bool has_host;
	bool has_key; /* false: only the leader key names it */
} CtlMember;

/* A cluster; of a Citus cluster one group. */
typedef struct CtlGroup
{
	int number;
	bool has_initialize;
	char *initialize; /* owned */
	json_t *config;	  /* owned; NULL = no such key, or it is broken */
	uint64_t config_version;
	char leader[CLUSTER_NAME_MAX]; /* "" = none */
	CtlMember *leader_member;	   /* NULL = none; maybe without a key */
	json_t *history;			   /* owned; an array */
	FailoverRequest failover;
	json_t *sync; /* owned; NULL = none */
	Lsn optime;
	Lsn legacy_optime;
	CtlMember *members; /* owned; sorted by name */
	int n_members;
	CtlMember bare_leader; /* for leader_member */
} CtlGroup;

typedef struct CtlCluster
{
	char name[CLUSTER_NAME_MAX];
	CtlGroup *groups; /* owned; by number; there is always one */
	int n_groups;
	struct Store *store;
} CtlCluster;

/* Read it from the store.  NULL: it has been said why not. */
extern CtlCluster *cluster_load(Ctl *ctl, const char *scope);
extern void cluster_unload(CtlCluster *cluster); /* NULL is fine */
extern bool group_is_paused(const CtlGroup *group);
extern bool group_is_standby_cluster(const CtlGroup *group);
extern bool group_sync_names(const CtlGroup *group, const char *name);
extern CtlMember *group_find_member(const CtlGroup *group, const char *name);

typedef struct CtlMembers
{
	CtlMember **items; /* owned; what they point at is the cluster's */
	int count;
} CtlMembers;

extern void members_of_role(const CtlCluster *cluster, const char *role, CtlMembers *members);
/* Those with a REST API, the leader before the others. */
extern void members_leader_first(const CtlCluster *cluster, CtlMembers *members);
extern void members_free(CtlMembers *members);
/* "a, b"; malloc'ed. */
extern char *members_names(const CtlMembers *members);

/* --- the store: store.c --- */

typedef struct Store Store;

extern bool store_open(Store **store, const Settings *settings, int group, Error *error) MUST_CHECK;
extern void store_close(Store *store);
extern bool store_key(const Store *store, int key_index, ClusterKey *key);
extern DcsOutcome store_write(Store *store, DcsOperation operation, const char *key,
							  const char *value, uint64_t version, Error *error);

/* --- the members' REST API: client.c --- */

typedef struct RestAnswer
{
	int status;
	char *text; /* owned */
} RestAnswer;

/* False: nobody answered, *error says why.  endpoint NULL: the status of the member. */
extern bool client_call(Ctl *ctl, const CtlMember *member, const char *method, const char *endpoint,
						const json_t *body, int timeout_ms, RestAnswer *answer,
						Error *error) MUST_CHECK;
extern void client_answer_free(RestAnswer *answer);

/* --- the table of members: members.c --- */

extern void members_print(const Ctl *ctl, const CtlCluster *cluster, const char *format,
						  bool extended);
/*
 * Which members are meant (patroni/ctl.py, get_members()), in "members".  false:
 * it has been said why none.
 */
extern bool members_select(const Ctl *ctl, const CtlCluster *cluster, const char *role,
						   char **names, int n_names, const char *action, CtlMembers *members);
extern bool members_confirm(const Ctl *ctl, const CtlMembers *members, const char *action,
							const char *scheduled_at);

/* --- the commands --- */

extern int command_list(Ctl *ctl);
extern int command_topology(Ctl *ctl);
extern int command_history(Ctl *ctl);
extern int command_dsn(Ctl *ctl);
extern int command_version(Ctl *ctl);
extern int command_show_config(Ctl *ctl);
extern int command_edit_config(Ctl *ctl);
extern int command_switchover(Ctl *ctl);
extern int command_failover(Ctl *ctl);
extern int command_reload(Ctl *ctl);
extern int command_restart(Ctl *ctl);
extern int command_reinit(Ctl *ctl);
extern int command_flush(Ctl *ctl);
extern int command_pause(Ctl *ctl);
extern int command_resume(Ctl *ctl);
extern int command_remove(Ctl *ctl);
extern int command_query(Ctl *ctl);
extern int command_explain(Ctl *ctl);
extern int command_events(Ctl *ctl);
extern int command_format_steps(void);
extern int command_demote_cluster(Ctl *ctl);
extern int command_promote_cluster(Ctl *ctl);

#endif /* PATRONI_CTL_CTL_H */
