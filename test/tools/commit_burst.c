/*-------------------------------------------------------------------------
 *
 * commit_burst.c
 *      Commits as fast as it can until it is refused, and tells when it was
 *      told of the last commit, for tests of the fence.
 *
 *      commit_burst CONNINFO TABLE CLIENT MODE SECONDS
 *
 * TABLE has the columns (client int, number int).  MODE is simple, extended
 * or explicit (BEGIN; INSERT; COMMIT).  Prints one line:
 *
 *      acked=N last_ack_us=CLOCK_BOOTTIME end=refused|lost|time sqlstate=S
 *
 * "acked" are the numbers 1 .. N that the server acknowledged.
 *-------------------------------------------------------------------------
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#include "base/clock.h"

static char end_sqlstate[6];

static bool
run(PGconn *connection, const char *sql, bool is_extended)
{
	PGresult   *result;
	const char *sqlstate;
	bool		ok;

	result = is_extended ?
		PQexecParams(connection, sql, 0, NULL, NULL, NULL, NULL, 0) :
		PQexec(connection, sql);
	ok = PQresultStatus(result) == PGRES_COMMAND_OK;
	sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	if (!ok && sqlstate != NULL)
		snprintf(end_sqlstate, sizeof(end_sqlstate), "%s", sqlstate);
	PQclear(result);
	return ok;
}

static bool
commit_one(PGconn *connection, const char *mode, const char *insert)
{
	if (strcmp(mode, "explicit") == 0)
		return run(connection, "BEGIN", false) && run(connection, insert, false) &&
			run(connection, "COMMIT", false);
	return run(connection, insert, strcmp(mode, "extended") == 0);
}

int
main(int argc, char **argv)
{
	PGconn	   *connection;
	int64_t		end_us;
	int64_t		last_ack_us = 0;
	int			n_acked = 0;
	bool		ok = true;

	if (argc != 6)
	{
		fprintf(stderr, "usage: commit_burst CONNINFO TABLE CLIENT MODE SECONDS\n");
		return 1;
	}
	connection = PQconnectdb(argv[1]);
	if (PQstatus(connection) != CONNECTION_OK)
	{
		fprintf(stderr, "commit_burst: %s", PQerrorMessage(connection));
		return 1;
	}
	end_us = clock_now_us() + strtoll(argv[5], NULL, 10) * 1000000;
	while (ok && clock_now_us() < end_us)
	{
		char		insert[256];

		snprintf(insert, sizeof(insert), "INSERT INTO %s VALUES (%s, %d)",
				 argv[2], argv[3], n_acked + 1);
		ok = commit_one(connection, argv[4], insert);
		if (ok)
		{
			last_ack_us = clock_now_us();
			n_acked++;
		}
	}
	printf("acked=%d last_ack_us=%" PRId64 " end=%s sqlstate=%s\n", n_acked, last_ack_us,
		   ok ? "time" : PQstatus(connection) == CONNECTION_OK ? "refused" : "lost",
		   end_sqlstate);
	PQfinish(connection);
	return 0;
}
