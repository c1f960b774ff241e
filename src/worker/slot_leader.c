/*-------------------------------------------------------------------------
 *
 * slot_leader.c
 *      The slot copier's connection to the leader, and what its slots are at.
 *
 * Nothing here waits without looking whether the process is to end.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "worker/slot_copy.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "access/transam.h"
#include "lib/stringinfo.h"
#include "storage/latch.h"

#include "base/clock.h"

#define QUERY_TIMEOUT_MS	10000
#define SNAPSHOT_FILE_MAX	(16 * 1024 * 1024)

static struct
{
	char		conninfo[2048];
	char		password[256];
	PGconn	   *conn;			/* NULL: not connected */
	char		said[256];		/* the last problem */
} leader;

/* Connect there from now on. */
void
slot_leader_set(const char *conninfo, const char *password)
{
	slot_leader_disconnect();
	strlcpy(leader.conninfo, conninfo, sizeof(leader.conninfo));
	strlcpy(leader.password, password, sizeof(leader.password));
}

/* For now. */
void
slot_leader_disconnect(void)
{
	if (leader.conn != NULL)
		PQfinish(leader.conn);
	leader.conn = NULL;
}

/* The first line of a message of libpq. */
static void
complain(const char *what, const char *message)
{
	char		text[256];

	snprintf(text, sizeof(text), "%s: %.*s", what, (int) Min(strcspn(message, "\n"), 200), message);
	if (strcmp(text, leader.said) == 0)
		return;
	strlcpy(leader.said, text, sizeof(leader.said));
	ereport(LOG, (errmsg("could not copy replication slots: %s", text)));
}

static bool
wait_for_socket(int events, int64 deadline_ms)
{
	int64		left_ms = deadline_ms - clock_now_ms();

	if (left_ms <= 0)
		return false;
	slot_copier_nap((int) left_ms, PQsocket(leader.conn), events);
	return true;
}

static bool
connect_to_leader(void)
{
	const char *keywords[] = {"dbname", leader.password[0] != '\0' ? "password" : NULL, NULL};
	const char *values[] = {leader.conninfo, leader.password, NULL};
	int64		deadline_ms = clock_now_ms() + QUERY_TIMEOUT_MS;
	PostgresPollingStatusType status = PGRES_POLLING_WRITING;

	if (leader.conn != NULL)
		return true;
	leader.conn = PQconnectStartParams(keywords, values, 1);
	while (leader.conn != NULL && PQstatus(leader.conn) != CONNECTION_BAD &&
		   status != PGRES_POLLING_OK && status != PGRES_POLLING_FAILED)
	{
		if (!wait_for_socket(status == PGRES_POLLING_READING ? WL_SOCKET_READABLE : WL_SOCKET_WRITEABLE,
							 deadline_ms))
			break;
		status = PQconnectPoll(leader.conn);
	}
	if (leader.conn != NULL && status == PGRES_POLLING_OK)
		return true;
	complain("no connection to the leader", leader.conn == NULL ? "out of memory" :
			 PQstatus(leader.conn) == CONNECTION_BAD ? PQerrorMessage(leader.conn) : "timeout");
	slot_leader_disconnect();
	return false;
}

/* NULL, and not connected any more: it failed. */
static PGresult *
ask(const char *query)
{
	int64		deadline_ms = clock_now_ms() + QUERY_TIMEOUT_MS;
	PGresult   *result = NULL;
	PGresult   *next;

	if (!PQsendQuery(leader.conn, query))
		goto failed;
	for (;;)
	{
		while (PQisBusy(leader.conn))
		{
			if (!wait_for_socket(WL_SOCKET_READABLE, deadline_ms) || !PQconsumeInput(leader.conn))
				goto failed;
		}
		next = PQgetResult(leader.conn);
		if (next == NULL)
			break;
		PQclear(result);
		result = next;
	}
	if (PQresultStatus(result) == PGRES_TUPLES_OK)
	{
		leader.said[0] = '\0';
		return result;
	}
failed:
	complain("the leader's slots could not be read",
			 result != NULL ? PQresultErrorMessage(result) : PQerrorMessage(leader.conn));
	PQclear(result);
	slot_leader_disconnect();
	return NULL;
}

static XLogRecPtr
lsn_value(const PGresult *result, int row, int column)
{
	unsigned	high;
	unsigned	low;

	if (PQgetisnull(result, row, column) || sscanf(PQgetvalue(result, row, column), "%X/%X", &high, &low) != 2)
		return InvalidXLogRecPtr;
	return ((XLogRecPtr) high << 32) | low;
}

static TransactionId
xid_value(const PGresult *result, int row, int column)
{
	return PQgetisnull(result, row, column) ? InvalidTransactionId :
		(TransactionId) strtoul(PQgetvalue(result, row, column), NULL, 10);
}

/*
 * Ask for all slots at once; names are of characters that need no quoting.
 * NULL: it did not work, which has been said.
 */
LeaderSlots *
slot_leader_read(const Copy *copies, int n_copies, const char *held_by)
{
	StringInfoData query;
	int			version;

	if (!connect_to_leader())
		return NULL;
	version = PQserverVersion(leader.conn);

	initStringInfo(&query);
	appendStringInfo(&query,
					 "SELECT s.slot_name, s.database, s.plugin, s.datoid, s.catalog_xmin, h.catalog_xmin,"
					 " s.restart_lsn, s.confirmed_flush_lsn, %s, %s,"
					 " CASE WHEN s.restart_lsn <> k.lsn THEN pg_catalog.encode(pg_catalog.pg_read_binary_file("
					 "'pg_logical/snapshots/' || pg_catalog.replace(s.restart_lsn::pg_catalog.text, '/', '-') || '.snap',"
					 " 0, %d, true), 'hex') END,"
					 " pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 8)"
					 " FROM pg_catalog.pg_replication_slots s JOIN (VALUES ",
					 version >= 160000 ? "s.wal_status = 'lost' OR s.conflicting" : "s.wal_status = 'lost'",
					 version >= 140000 ? "s.two_phase" : "false", SNAPSHOT_FILE_MAX);
	for (int i = 0; i < n_copies; i++)
	{
		XLogRecPtr	known = slot_copy_restart_lsn(copies[i].wish.name);

		appendStringInfo(&query, "%s('%s', '%X/%X'::pg_catalog.pg_lsn)", i > 0 ? ", " : "",
						 copies[i].wish.name, (uint32) (known >> 32), (uint32) known);
	}
	appendStringInfo(&query,
					 ") AS k (name, lsn) ON k.name = s.slot_name LEFT JOIN pg_catalog.pg_replication_slots h"
					 " ON h.slot_name = '%s' WHERE s.slot_type = 'logical'%s",
					 held_by, version >= 170000 ? " AND NOT s.failover" : "");
	return ask(query.data);
}

/* What it says of one of them. */
void
slot_leader_find(const LeaderSlots *result, const char *name, Remote *remote)
{
	memset(remote, 0, sizeof(*remote));
	for (int row = 0; row < PQntuples(result); row++)
	{
		if (strcmp(PQgetvalue(result, row, 0), name) != 0)
			continue;
		remote->exists = true;
		strlcpy(remote->database, PQgetvalue(result, row, 1), sizeof(remote->database));
		strlcpy(remote->plugin, PQgetvalue(result, row, 2), sizeof(remote->plugin));
		remote->database_id = (Oid) strtoul(PQgetvalue(result, row, 3), NULL, 10);
		remote->catalog_xmin = xid_value(result, row, 4);
		remote->held_xmin = xid_value(result, row, 5);
		remote->restart_lsn = lsn_value(result, row, 6);
		remote->confirmed_lsn = lsn_value(result, row, 7);
		remote->is_lost = strcmp(PQgetvalue(result, row, 8), "t") == 0 ||
			remote->restart_lsn == InvalidXLogRecPtr || remote->confirmed_lsn == InvalidXLogRecPtr ||
			remote->database_id == InvalidOid || !TransactionIdIsValid(remote->catalog_xmin);
		remote->is_two_phase = strcmp(PQgetvalue(result, row, 9), "t") == 0;
		if (!PQgetisnull(result, row, 10))
			remote->snapshot = PQgetvalue(result, row, 10);
		remote->timeline = (TimeLineID) strtoul(PQgetvalue(result, row, 11), NULL, 16);
	}
}

void
slot_leader_free(LeaderSlots *slots)
{
	PQclear(slots);
}
