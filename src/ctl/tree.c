/*-------------------------------------------------------------------------
 *
 * tree.c
 *      All commands and options of patroni_ctl, in one place.
 *
 * Names and texts are Patroni's where Patroni has them.  The names that are
 * not shown are those of older versions, which scripts still use.
 *-------------------------------------------------------------------------
 */
#include "ctl/ctl.h"

#include <string.h>

static const char *const roles[] = { "leader", "primary", "standby-leader", "replica", "standby",
									 "any",	   "",		  "master",			NULL };
static const char *const formats[] = { "pretty", "tsv", "json", "yaml", "yml", NULL };
static const char *const layouts[] = { "3.0", "4.1", NULL };

/* Options that several commands have. */
#define HELP \
	{ \
		OPTION_HELP, "--help", NULL, "Show this message and exit.", NULL, false \
	}
#define END \
	{ \
		OPTION_NONE, NULL, NULL, NULL, NULL, false \
	}
#define GROUP \
	{ \
		OPTION_GROUP, "--group", "INTEGER", "Citus group", NULL, false \
	}
#define FORCE \
	{ \
		OPTION_FORCE, "--force", NULL, "Do not ask for confirmation at any point", NULL, false \
	}
#define FORMAT(otherwise) \
	{ \
		OPTION_FORMAT, "-f, --format", "TEXT", "Output format, " otherwise " by default", formats, \
			false \
	}
#define WATCH \
	{ \
		OPTION_WATCH, "-w, --watch", "FLOAT", "Auto update the screen every X seconds", NULL, false \
	}, \
	{ \
		OPTION_WATCH_2, "-W", NULL, "Auto update the screen every 2 seconds", NULL, false \
	}
#define ROLE(text) \
	{ \
		OPTION_ROLE, "-r, --role", "TEXT", text, roles, false \
	}
#define MEMBER(text) \
	{ \
		OPTION_MEMBER, "-m, --member", "TEXT", text, NULL, false \
	}
#define CONNECTION \
	{ OPTION_USERNAME, "-U, --username", "TEXT", "Database user name", NULL, false }, \
		{ OPTION_PASSWORD, "--password", NULL, "Ask for the password", NULL, false }, \
	{ \
		OPTION_DATABASE, "-d, --dbname", "TEXT", "Database to connect to", NULL, false \
	}
#define LEADER \
	{ \
		OPTION_LEADER, "--leader, --primary | --master", "TEXT", "The name of the current leader", \
			NULL, false \
	}
#define CANDIDATE \
	{ \
		OPTION_CANDIDATE, "--candidate", "TEXT", "The name of the candidate", NULL, false \
	}

const CtlOption ctl_global_options[] = {
	{ OPTION_CONFIG_FILE, "-c, --config-file", "TEXT",
	  "Configuration file, by default ~/.config/patroni/patronictl.yaml; also "
	  "PATRONICTL_CONFIG_FILE. A member's own file will do.",
	  NULL, false },
	{ OPTION_DCS_URL, "-d, --dcs-url, --dcs", "TEXT",
	  "The store, as etcd3://HOST:PORT/NAMESPACE; also DCS_URL", NULL, false },
	{ OPTION_INSECURE, "-k, --insecure", NULL, "Allow connections to SSL sites without certs", NULL,
	  false },
	{ OPTION_LAYOUT, "--layout", "TEXT",
	  "Tables of members as Patroni 3.0 (default) or 4.1 draws them; also PATRONICTL_LAYOUT",
	  layouts, false },
	{ OPTION_VERSION, "--version", NULL, "Show the version and exit.", NULL, false },
	HELP,
	END,
};

static const CtlOption list_options[] = {
	GROUP,
	{ OPTION_EXTENDED, "-e, --extended", NULL, "Show some extra information", NULL, false },
	{ OPTION_TIMESTAMP, "-t, --timestamp", NULL, "Print timestamp", NULL, false },
	FORMAT("pretty"),
	WATCH,
	HELP,
	END,
};
static const CtlOption topology_options[] = { GROUP, WATCH, HELP, END };
static const CtlOption history_options[] = { GROUP, FORMAT("pretty"), HELP, END };
static const CtlOption dsn_options[] = {
	ROLE("Give a dsn of any member with this role"),
	MEMBER("Generate a dsn for this member"),
	GROUP,
	HELP,
	END,
};
static const CtlOption group_options[] = { GROUP, HELP, END };
static const CtlOption query_options[] = {
	GROUP,
	{ OPTION_FORMAT, "--format", "TEXT", "Output format, tsv by default", formats, false },
	{ OPTION_FILE, "-f, --file", "FILENAME", "Execute the SQL commands from this file", NULL,
	  false },
	CONNECTION,
	WATCH,
	ROLE("The role of the query"),
	MEMBER("Query a specific member"),
	{ OPTION_DELIMITER, "--delimiter", "TEXT", "The column delimiter", NULL, false },
	{ OPTION_COMMAND, "-c, --command", "TEXT", "The SQL commands to execute", NULL, false },
	HELP,
	END,
};
static const CtlOption explain_options[] = {
	GROUP,
	FORMAT("pretty"),
	MEMBER("Ask this member"),
	ROLE("Ask any member with this role"),
	CONNECTION,
	WATCH,
	HELP,
	END,
};
static const CtlOption events_options[] = {
	GROUP,
	FORMAT("pretty"),
	{ OPTION_LIMIT, "-n, --limit", "INTEGER", "How many, the latest; 20 by default", NULL, false },
	MEMBER("Ask this member"),
	ROLE("Ask any member with this role"),
	CONNECTION,
	WATCH,
	HELP,
	END,
};
static const CtlOption edit_config_options[] = {
	GROUP,
	{ OPTION_QUIET, "-q, --quiet", NULL, "Do not show changes", NULL, false },
	{ OPTION_SET, "-s, --set", "TEXT",
	  "Set specific configuration value. Can be specified multiple times", NULL, true },
	{ OPTION_PG, "-p, --pg", "TEXT",
	  "Set specific PostgreSQL parameter value. Shorthand for -s postgresql.parameters. Can be "
	  "specified multiple times",
	  NULL, true },
	{ OPTION_APPLY, "--apply", "TEXT", "Apply configuration from file. Use - for stdin.", NULL,
	  false },
	{ OPTION_REPLACE, "--replace", "TEXT",
	  "Apply configuration from file, replacing existing configuration. Use - for stdin.", NULL,
	  false },
	FORCE,
	HELP,
	END,
};
static const CtlOption switchover_options[] = {
	GROUP,
	LEADER,
	CANDIDATE,
	{ OPTION_SCHEDULED, "--scheduled", "TEXT",
	  "Timestamp of a scheduled switchover in unambiguous format (e.g. ISO 8601)", NULL, false },
	FORCE,
	HELP,
	END,
};
static const CtlOption failover_options[] = {
	GROUP, CANDIDATE, { OPTION_LEADER, "| --leader, --primary, --master", "TEXT", "", NULL, false },
	FORCE, HELP,	  END,
};
static const CtlOption reload_options[] = {
	GROUP, ROLE("Reload only members with this role"), FORCE, HELP, END,
};
static const CtlOption restart_options[] = {
	GROUP,
	ROLE("Restart only members with this role"),
	{ OPTION_ANY, "--any", NULL, "Restart a single member only", NULL, false },
	{ OPTION_SCHEDULED, "--scheduled", "TEXT",
	  "Timestamp of a scheduled restart in unambiguous format (e.g. ISO 8601)", NULL, false },
	{ OPTION_PG_VERSION, "--pg-version", "TEXT",
	  "Restart if the PostgreSQL version is less than provided (e.g. 9.5.2)", NULL, false },
	{ OPTION_PENDING, "--pending", NULL, "Restart if pending", NULL, false },
	{ OPTION_TIMEOUT, "--timeout", "TEXT",
	  "Return error and fail over if necessary when restarting takes longer than this.", NULL,
	  false },
	FORCE,
	HELP,
	END,
};
static const CtlOption reinit_options[] = {
	GROUP,
	FORCE,
	{ OPTION_FROM_LEADER, "--from-leader", NULL, "Get basebackup from leader", NULL, false },
	{ OPTION_WAIT, "--wait", NULL, "Wait until reinitialization completes", NULL, false },
	HELP,
	END,
};
static const CtlOption flush_options[] = {
	GROUP, ROLE("Flush only members with this role"), FORCE, HELP, END,
};
static const CtlOption pause_options[] = {
	GROUP,
	{ OPTION_WAIT, "--wait", NULL, "Wait until pause is applied on all nodes", NULL, false },
	HELP,
	END,
};
static const CtlOption resume_options[] = {
	GROUP,
	{ OPTION_WAIT, "--wait", NULL, "Wait until pause is cleared on all nodes", NULL, false },
	HELP,
	END,
};
static const CtlOption remove_options[] = { GROUP, FORMAT("pretty"), HELP, END };
static const CtlOption demote_options[] = {
	FORCE,
	{ OPTION_HOST, "--host", "TEXT", "Address of the remote node", NULL, false },
	{ OPTION_PORT, "--port", "INTEGER", "Port of the remote node", NULL, false },
	{ OPTION_RESTORE_COMMAND, "--restore-command", "TEXT",
	  "Command to restore WAL records from the remote primary", NULL, false },
	{ OPTION_PRIMARY_SLOT_NAME, "--primary-slot-name", "TEXT",
	  "Name of the slot on the remote node to use for replication", NULL, false },
	HELP,
	END,
};
static const CtlOption promote_options[] = { FORCE, HELP, END };

#define CLUSTER			"[CLUSTER_NAME]"
#define CLUSTER_MEMBERS "CLUSTER_NAME [MEMBER_NAMES]..."

const CtlCommand ctl_commands[] = {
	{ "demote-cluster", "Demote cluster to a standby cluster", CLUSTER, 0, 1, true, false,
	  demote_options, command_demote_cluster },
	{ "dsn", "Generate a dsn for the provided member, defaults to a dsn of the leader", CLUSTER, 0,
	  1, true, false, dsn_options, command_dsn },
	{ "edit-config",
	  "Edit cluster configuration.\nWithout -s, -p, --apply and --replace $EDITOR is started. The "
	  "changes are shown before they are applied.",
	  CLUSTER, 0, 1, true, true, edit_config_options, command_edit_config },
	{ "events",
	  "Show what a member decided and did lately, and why.\nReads patroni.event of the member "
	  "(the leader by default); the role needs pg_monitor. The user is that of -U, else "
	  "postgresql.authentication.superuser of the configuration file, else as for psql.",
	  CLUSTER, 0, 1, true, false, events_options, command_events },
	{ "explain",
	  "Show who could lead, and what speaks against the others.\nReads patroni.explain() of a "
	  "member (the leader, if there is none any other that answers); the role needs pg_monitor. "
	  "The user is that of -U, else postgresql.authentication.superuser of the configuration "
	  "file, else as for psql.",
	  CLUSTER, 0, 1, true, false, explain_options, command_explain },
	{ "failover", "Failover to a replica.\nWhat the replica has not received is lost.", CLUSTER, 0,
	  1, true, false, failover_options, command_failover },
	{ "flush", "Discard scheduled events", "CLUSTER_NAME [MEMBER_NAMES]... {restart|switchover}", 2,
	  -1, true, false, flush_options, command_flush },
	{ "history", "Show the history of failovers/switchovers", CLUSTER, 0, 1, true, true,
	  history_options, command_history },
	{ "list", "List the Patroni members for a given Patroni", "[CLUSTER_NAMES]...", 0, -1, false,
	  false, list_options, command_list },
	{ "pause", "Disable auto failover", CLUSTER, 0, 1, true, true, pause_options, command_pause },
	{ "promote-cluster", "Promote cluster, make it run standalone", CLUSTER, 0, 1, true, false,
	  promote_options, command_promote_cluster },
	{ "query", "Query a Patroni PostgreSQL member", CLUSTER, 0, 1, true, false, query_options,
	  command_query },
	{ "reinit", "Reinitialize cluster member.\nIts data directory is thrown away and copied anew.",
	  CLUSTER_MEMBERS, 1, -1, true, false, reinit_options, command_reinit },
	{ "reload", "Reload cluster member configuration", CLUSTER_MEMBERS, 1, -1, true, false,
	  reload_options, command_reload },
	{ "remove", "Remove cluster from DCS", "CLUSTER_NAME", 1, 1, true, false, remove_options,
	  command_remove },
	{ "restart", "Restart cluster member", CLUSTER_MEMBERS, 1, -1, true, false, restart_options,
	  command_restart },
	{ "resume", "Resume auto failover", CLUSTER, 0, 1, true, true, resume_options, command_resume },
	{ "show-config", "Show cluster configuration", CLUSTER, 0, 1, true, true, group_options,
	  command_show_config },
	{ "switchover", "Switchover to a replica", CLUSTER, 0, 1, true, false, switchover_options,
	  command_switchover },
	{ "topology", "Prints ASCII topology for given cluster", "[CLUSTER_NAMES]...", 0, -1, false,
	  false, topology_options, command_topology },
	{ "version", "Output version of this program or of running members",
	  "[CLUSTER_NAME] [MEMBER_NAMES]...", 0, -1, false, false, group_options, command_version },
	{ NULL, NULL, NULL, 0, 0, false, false, NULL, NULL },
};

const CtlCommand *
ctl_find_command(const char *name)
{
	for (const CtlCommand *command = ctl_commands; command->name != NULL; command++)
		if (strcmp(command->name, name) == 0)
			return command;
	return NULL;
}
