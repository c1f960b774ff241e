/*-------------------------------------------------------------------------
 *
 * cmd_query.c
 *      Commands that ask a server: query, explain, events.
 *
 * Passwords go to libpq in memory only: never into arguments, the environment
 * or a message.
 *-------------------------------------------------------------------------
 */
#include "ctl/ctl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

/* Types whose values are not simply texts for Python; pg_type.dat. */
enum
{
	TYPE_BOOL = 16,
	TYPE_INT8 = 20,
	TYPE_INT2 = 21,
	TYPE_INT4 = 23,
	TYPE_OID = 26,
	TYPE_FLOAT4 = 700,
	TYPE_FLOAT8 = 701,
	TYPE_TIMESTAMP = 1114,
	TYPE_TIMESTAMPTZ = 1184,
};

typedef struct Query
{
	Ctl *ctl;
	const char *role;	/* as after --role */
	const char *member; /* NULL = any of that role */
	const char *sql;
	const char *user;	  /* NULL = as libpq finds it */
	const char *password; /* the same */
	const char *database; /* the same */
	PGconn *connection;
	char error[ERROR_TEXT_MAX]; /* what the server or libpq said last */
} Query;

/* 2026-03-23 18:00:00.5+01 as Python shows it: 2026-03-23 18:00:00.500000+01:00 */
static json_t *
time_value(const char *text)
{
	char result[80];
	size_t n = strcspn(text, ".");
	const char *zone;

	if (strlen(text) > 60 || strlen(text) < 19 || strchr(text, 'B') != NULL)
		return json_string(text);
	zone = text + 19 + strcspn(text + 19, "+-");
	if (text[n] == '.')
	{
		int digits = (int) (zone - text - (long) n - 1);

		snprintf(result, sizeof(result), "%.*s.%.*s%.*s", (int) n, text, digits, text + n + 1,
				 digits < 6 ? 6 - digits : 0, "000000");
	}
	else
		snprintf(result, sizeof(result), "%.*s", (int) (zone - text), text);
	n = strlen(result);
	snprintf(result + n, sizeof(result) - n, "%s%s", zone, strlen(zone) == 3 ? ":00" : "");
	return json_string(result);
}

static json_t *
column_value(const PGresult *result, int row, int column)
{
	const char *text = PQgetvalue(result, row, column);
	json_t *value = NULL;

	if (PQgetisnull(result, row, column))
		return json_null();
	switch (PQftype(result, column))
	{
		case TYPE_BOOL:
			return json_boolean(text[0] == 't');
		case TYPE_INT2:
		case TYPE_INT4:
		case TYPE_INT8:
		case TYPE_OID:
			return json_integer((json_int_t) strtoll(text, NULL, 10));
		case TYPE_FLOAT4:
		case TYPE_FLOAT8:
			/* JSON has no infinity */
			value = json_real(strtod(text, NULL));
			break;
		case TYPE_TIMESTAMP:
		case TYPE_TIMESTAMPTZ:
			value = time_value(text);
			break;
		default:
			break;
	}
	if (value == NULL)
		value = json_string(text);
	return value != NULL ? value : json_string("(not valid UTF-8)");
}

/* A row of the time and a message, in the place of a result. */
static void
take_message(json_t *rows, const char *message)
{
	char now[40];
	char line[1200];

	ctl_timestamp(now, false);
	snprintf(line, sizeof(line), "%s", message);
	for (char *p = line; *p != '\0'; p++)
		if (*p == '\n')
			*p = ' ';
	json_array_append_new(rows, json_pack("[s,s]", now, line));
}

static void
take_error(Query *query, json_t *rows, const PGresult *result)
{
	const char *state = result != NULL ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
	char message[ERROR_TEXT_MAX + 30];

	snprintf(query->error, sizeof(query->error), "%s", PQerrorMessage(query->connection));
	query->error[strcspn(query->error, "\n")] = '\0';

	snprintf(message, sizeof(message), "ERROR, SQLSTATE: %s",
			 state != NULL ? state : PQerrorMessage(query->connection));
	take_message(rows, message);
	PQfinish(query->connection);
	query->connection = NULL;
}

/* Connect to a member; NULL and a message otherwise. */
static PGconn *
connect_to(const Query *query, const CtlMember *member)
{
	const char *keywords[10];
	const char *values[10];
	char port[16];
	int n = 0;

#define ADD(keyword, value) \
	do \
	{ \
		if ((value) != NULL) \
		{ \
			keywords[n] = (keyword); \
			values[n++] = (value); \
		} \
	} while (0)
	snprintf(port, sizeof(port), "%d", member->port);
	ADD("host", member->host);
	ADD("port", port);
	ADD("fallback_application_name", "Patroni ctl");
	ADD("connect_timeout", "5");
	ADD("client_encoding", "UTF8");
	ADD("user", query->user);
	ADD("password", query->password);
	ADD("dbname", query->database);
#undef ADD
	keywords[n] = values[n] = NULL;
	return PQconnectdbParams(keywords, values, 0);
}

/* Is the server what the role asks for?  The store may be behind. */
static bool
role_holds(PGconn *connection, const char *role)
{
	bool wants_recovery;
	bool holds;
	PGresult *result;

	if (strcmp(role, "any") == 0 || strcmp(role, "leader") == 0)
		return true;
	wants_recovery = strcmp(role, "primary") != 0 && strcmp(role, "master") != 0;
	result = PQexec(connection, "SELECT pg_catalog.pg_is_in_recovery()");
	holds = PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1 &&
			(PQgetvalue(result, 0, 0)[0] == 't') == wants_recovery;
	PQclear(result);
	return holds;
}

/* Connect to the first fitting member; a message goes into rows. */
static void
open_connection(Query *query, json_t *rows)
{
	CtlCluster *cluster = cluster_load(query->ctl, query->ctl->scope);
	const CtlMember *member = NULL;
	CtlMembers members;
	char message[CLUSTER_NAME_MAX + 60];

	if (cluster == NULL)
		exit(CTL_EXIT_ERROR);
	members_of_role(cluster, query->role, &members);
	for (int i = 0; i < members.count && member == NULL; i++)
		if (members.items[i]->has_host &&
			(query->member == NULL || strcmp(members.items[i]->known.name, query->member) == 0))
			member = members.items[i];
	if (member != NULL)
	{
		query->connection = connect_to(query, member);
		if (PQstatus(query->connection) != CONNECTION_OK)
		{
			take_error(query, rows, NULL);
			goto done;
		}
		if (!role_holds(query->connection, query->role))
		{
			PQfinish(query->connection);
			query->connection = NULL;
		}
	}
	if (query->connection == NULL)
	{
		if (query->member != NULL)
			snprintf(message, sizeof(message), "No connection to member %s is available",
					 query->member);
		else
			snprintf(message, sizeof(message), "No connection to role '%s' is available",
					 query->role);
		take_message(rows, message);
	}
done:
	members_free(&members);
	cluster_unload(cluster);
}

/* Run the SQL; *columns stays NULL when there are none. */
static void
run_query(Query *query, json_t **columns, json_t *rows)
{
	PGresult *result;

	*columns = NULL;
	query->error[0] = '\0';
	if (query->connection == NULL)
		open_connection(query, rows);
	if (query->connection == NULL)
		return;
	result = PQexec(query->connection, query->sql);
	switch (PQresultStatus(result))
	{
		case PGRES_TUPLES_OK:
			*columns = json_array();
			for (int column = 0; column < PQnfields(result); column++)
				json_array_append_new(*columns, json_string(PQfname(result, column)));
			for (int row = 0; row < PQntuples(result); row++)
			{
				json_t *values = json_array();

				for (int column = 0; column < PQnfields(result); column++)
					json_array_append_new(values, column_value(result, row, column));
				json_array_append_new(rows, values);
			}
			break;
		case PGRES_COMMAND_OK:
		case PGRES_EMPTY_QUERY:
			take_message(rows, PQcmdStatus(result));
			break;
		case PGRES_COPY_IN:
		case PGRES_COPY_OUT:
		case PGRES_COPY_BOTH:
			take_message(rows, "ERROR, SQLSTATE: COPY from or to the client is not supported");
			PQfinish(query->connection);
			query->connection = NULL;
			break;
		default:
			take_error(query, rows, result);
			break;
	}
	PQclear(result);
}

static void
print_result(const json_t *columns, const json_t *rows, const char *format, const char *delimiter)
{
	static const char *const unnamed[] = { "Field 1", "Field 2" };
	json_t *names = columns != NULL ? json_incref((json_t *) columns) : json_array();

	for (int i = 0; columns == NULL && i < 2; i++)
		json_array_append_new(names, json_string(unnamed[i]));
	if (strcmp(format, "tsv") == 0)
	{
		char *text = format_separated(columns, rows, delimiter);

		fputs(text != NULL ? text : "out of memory\n", stdout);
		free(text);
	}
	else
		ctl_print_rows(format, NULL, names, "", rows, delimiter);
	json_decref(names);
}

/* What -r and -m say; false: they contradict each other. */
static bool
choose_server(Query *query, Ctl *ctl)
{
	query->ctl = ctl;
	query->role = ctl->values[OPTION_ROLE];
	query->member = ctl->values[OPTION_MEMBER];
	query->user = ctl->values[OPTION_USERNAME];
	query->database = ctl->values[OPTION_DATABASE];
	if (query->member != NULL && query->role != NULL)
	{
		ctl_fail("--role and --member are mutually exclusive options");
		return false;
	}
	if (query->role == NULL)
		query->role = query->member != NULL ? "any" : "leader";
	return true;
}

static void
forget_password(char *password)
{
	if (password != NULL)
		explicit_bzero(password, strlen(password));
	free(password);
}

/* The text of a file, "-" is standard input.  malloc'ed. */
static char *
read_sql(const char *path)
{
	FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	char *text = NULL;
	size_t size = 0;
	ssize_t length;

	if (file == NULL)
	{
		ctl_fail("Invalid value for '--file' / '-f': '%s': %s", path, strerror(errno));
		return NULL;
	}
	/* no text has a NUL byte, so this is all of it */
	length = getdelim(&text, &size, '\0', file);
	if (length < 0)
	{
		free(text);
		text = strdup("");
	}
	if (file != stdin)
		fclose(file);
	return text;
}

int
command_query(Ctl *ctl)
{
	const char *format = ctl->values[OPTION_FORMAT] != NULL ? ctl->values[OPTION_FORMAT] : "tsv";
	const char *delimiter =
		ctl->values[OPTION_DELIMITER] != NULL ? ctl->values[OPTION_DELIMITER] : "\t";
	const char *file = ctl->values[OPTION_FILE];
	Query query = { .sql = ctl->values[OPTION_COMMAND] };
	char *text = NULL;
	char *password = NULL;

	if (!choose_server(&query, ctl))
		return CTL_EXIT_ERROR;
	if (file != NULL && query.sql != NULL)
		return ctl_fail("--file and --command are mutually exclusive options");
	if (file == NULL && query.sql == NULL)
		return ctl_fail("You need to specify either --command or --file");
	if (ctl->flags[OPTION_PASSWORD])
		query.password = password = ctl_prompt_password();
	if (file != NULL)
	{
		query.sql = text = read_sql(file);
		if (text == NULL)
			return CTL_EXIT_USAGE;
	}
	for (bool is_first = true; ctl_watch(ctl, is_first, false); is_first = false)
	{
		json_t *rows = json_array();
		json_t *columns;

		run_query(&query, &columns, rows);
		print_result(columns, rows, format, delimiter);
		json_decref(columns);
		json_decref(rows);
	}
	PQfinish(query.connection);
	forget_password(password);
	free(text);
	return CTL_EXIT_OK;
}

/*
 * For our own views: the superuser of the configuration file unless somebody
 * else is named, and the database that has the extension in a new cluster.
 */
static void
choose_monitor(Query *query, const Ctl *ctl)
{
	const json_t *postgresql = json_object_get(ctl->document, "postgresql");
	const json_t *superuser =
		json_object_get(json_object_get(postgresql, "authentication"), "superuser");
	const char *database = json_string_value(json_object_get(postgresql, "database"));

	if (query->user == NULL && getenv("PGUSER") == NULL)
	{
		query->user = json_string_value(json_object_get(superuser, "username"));
		if (query->password == NULL)
			query->password = json_string_value(json_object_get(superuser, "password"));
	}
	if (query->database == NULL)
		query->database = getenv("PGDATABASE");
	if (query->database == NULL)
		query->database = database != NULL ? database : "postgres";
}

/* Nulls of ours are nothing to read. */
static void
blank_nulls(json_t *rows)
{
	json_t *row;
	size_t row_index;

	json_array_foreach(rows, row_index, row) for (size_t i = 0; i < json_array_size(row);
												  i++) if (json_is_null(json_array_get(row, i)))
		json_array_set_new(row, i, json_string(""));
}

static int
show_view(Ctl *ctl, const char *sql)
{
	const char *format = ctl->values[OPTION_FORMAT] != NULL ? ctl->values[OPTION_FORMAT] : "pretty";
	bool is_data = strcmp(format, "json") == 0 || format[0] == 'y';
	Query query = { .sql = sql };
	char *password = NULL;
	int status = CTL_EXIT_OK;

	if (!choose_server(&query, ctl))
		return CTL_EXIT_ERROR;
	if (ctl->flags[OPTION_PASSWORD])
		query.password = password = ctl_prompt_password();
	choose_monitor(&query, ctl);
	for (bool is_first = true; ctl_watch(ctl, is_first, true); is_first = false)
	{
		json_t *rows = json_array();
		json_t *columns;

		run_query(&query, &columns, rows);
		/* without a leader anybody knows */
		if (columns == NULL && query.connection == NULL && query.member == NULL &&
			ctl->values[OPTION_ROLE] == NULL && strcmp(query.role, "leader") == 0)
		{
			query.role = "any";
			json_array_clear(rows);
			run_query(&query, &columns, rows);
			query.role = "leader";
		}
		if (columns != NULL)
		{
			if (!is_data)
				blank_nulls(rows);
			print_result(columns, rows, format, "\t");
			status = CTL_EXIT_OK;
		}
		else
			status =
				ctl_fail("%s", query.error[0] != '\0'
								   ? query.error
								   : json_string_value(json_array_get(json_array_get(rows, 0), 1)));
		json_decref(columns);
		json_decref(rows);
	}
	PQfinish(query.connection);
	forget_password(password);
	return status;
}

int
command_explain(Ctl *ctl)
{
	const char *format = ctl->values[OPTION_FORMAT];
	bool is_data = format != NULL && (format[0] == 'j' || format[0] == 'y');

	return show_view(ctl, is_data
							  ? "SELECT member, is_eligible, verdict, reason FROM patroni.explain()"
							  : "SELECT member AS \"Member\", "
								"CASE WHEN is_eligible THEN 'yes' ELSE 'no' END AS \"Could lead\", "
								"verdict AS \"Verdict\", reason AS \"Reason\" "
								"FROM patroni.explain()");
}

int
command_events(Ctl *ctl)
{
	const char *format = ctl->values[OPTION_FORMAT];
	bool is_data = format != NULL && (format[0] == 'j' || format[0] == 'y');
	long limit =
		ctl->values[OPTION_LIMIT] != NULL ? strtol(ctl->values[OPTION_LIMIT], NULL, 10) : 20;
	char sql[700];

	if (limit < 1)
		return ctl_fail("Invalid value for '--limit' / '-n': at least 1 event");
	snprintf(
		sql, sizeof(sql),
		"SELECT \"time\"::text AS %s, kind AS %s, rule AS %s, reason AS %s, duration::text AS %s "
		"FROM (SELECT *, pg_catalog.row_number() OVER () AS number, "
		"pg_catalog.count(*) OVER () AS total FROM patroni.event) AS e "
		"WHERE number > total - %ld ORDER BY number",
		is_data ? "\"time\"" : "\"Time\"", is_data ? "kind" : "\"Kind\"",
		is_data ? "rule" : "\"Rule\"", is_data ? "reason" : "\"Reason\"",
		is_data ? "duration" : "\"Duration\"", limit);
	return show_view(ctl, sql);
}
