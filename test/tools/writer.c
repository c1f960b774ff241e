/*-------------------------------------------------------------------------
 *
 * writer.c
 *      A client that writes one row after the other and remembers each
 *      acknowledgement, for tests that look for the rows afterwards.
 *
 *      writer [OPTION...] CONNINFO HOST:PORT[,HOST:PORT...]
 *
 *      -t TABLE     with the columns (id bigint, sent_us bigint); "writes"
 *      -i MS        time between two rows, 0 = as fast as it can; 5
 *      -m MODE      simple, extended, explicit (BEGIN; INSERT; COMMIT); simple
 *      -f ID        first id; 1
 *      -p MS        patience: an answer that is not there after that time is
 *                   given up, with its connection; 0 = never; 1000
 *      -c MS        as long may one attempt to connect take; 400
 *      -r MS        time between two attempts to connect; 2
 *      -a           take any server, not only one that takes writes
 *      -l FILE      the log
 *
 * With several hosts libpq looks for the one that takes writes; each attempt
 * begins at the next host, so that one that hangs costs one attempt.  After
 * any error the connection is closed and made anew at once.
 *
 * The log has one line for each thing that happened, written at once:
 *
 *      C us port                   connected
 *      A id sent_us acked_us port  acknowledged
 *      E us sqlstate id            not acknowledged ("lost", "late", SQLSTATE)
 *
 * An id is used once.  One that is in no A line may be in the table or not;
 * one that is in an A line must be there.  Times are CLOCK_BOOTTIME.
 *
 * On SIGTERM it ends, waits for no answer (the last id is in no line then),
 * and prints one JSON object: acks, errors, connects,
 * longest_gap_ms and where it began (gap_from_us), first_ack_us, last_ack_us,
 * last_id.
 *-------------------------------------------------------------------------
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libpq-fe.h>

#include "base/clock.h"

#define HOSTS_MAX		16

static const char *table = "writes";
static const char *mode = "simple";
static int64_t interval_us = 5000;
static int64_t patience_us = 1000000;
static int64_t connect_us = 400000;
static int64_t retry_us = 2000;
static bool any_server = false;
static FILE *log_file;

static char hosts[HOSTS_MAX][256];
static char ports[HOSTS_MAX][8];
static int	n_hosts;
static int	first_host;

static volatile sig_atomic_t must_end = 0;

static PGconn *connection;
static int64_t n_acks,
			n_errors,
			n_connects;
static int64_t first_ack_us,
			last_ack_us,
			longest_gap_us,
			gap_from_us;

static void
end_soon(int signal_number)
{
	(void) signal_number;
	must_end = 1;
}

/*
 * Wait until the socket is ready, the time has come (0 = never) or the end is
 * asked for; false unless it is ready.
 */
static bool
wait_socket(short events, int64_t until_us)
{
	while (!must_end)
	{
		struct pollfd fd = {.fd = PQsocket(connection),.events = events};
		int64_t		left_us = until_us == 0 ? 100000 : until_us - clock_now_us();
		struct timespec wait;
		sigset_t	none;
		int			n;

		if (left_us < 0)
			return false;
		wait.tv_sec = left_us / 1000000;
		wait.tv_nsec = left_us % 1000000 * 1000;
		sigemptyset(&none);
		n = ppoll(&fd, 1, &wait, &none);	/* SIGTERM comes only here */
		if (n > 0)
			return true;
		if (n < 0 && errno != EINTR)
			return false;
	}
	return false;
}

static void
disconnect(void)
{
	PQfinish(connection);
	connection = NULL;
}

/* The hosts as libpq wants them, beginning with another one each time. */
static void
host_lists(char *host_list, char *port_list, size_t size)
{
	size_t		host_used = 0;
	size_t		port_used = 0;

	for (int i = 0; i < n_hosts; i++)
	{
		int			host = (first_host + i) % n_hosts;

		host_used += (size_t) snprintf(host_list + host_used, size - host_used, "%s%s",
									   i > 0 ? "," : "", hosts[host]);
		port_used += (size_t) snprintf(port_list + port_used, size - port_used, "%s%s",
									   i > 0 ? "," : "", ports[host]);
	}
	first_host = (first_host + 1) % n_hosts;
}

static bool
try_connect(const char *conninfo)
{
	char		host_list[HOSTS_MAX * 256 + HOSTS_MAX];
	char		port_list[HOSTS_MAX * 8 + HOSTS_MAX];
	const char *keywords[] = {"dbname", "host", "port", "target_session_attrs",
		"application_name", NULL};
	const char *values[] = {conninfo, host_list, port_list,
		any_server ? "any" : "read-write", "writer", NULL};
	int64_t		until_us = clock_now_us() + connect_us;
	PostgresPollingStatusType status = PGRES_POLLING_WRITING;

	host_lists(host_list, port_list, sizeof(host_list));
	connection = PQconnectStartParams(keywords, values, 1);
	if (connection == NULL || PQstatus(connection) == CONNECTION_BAD)
	{
		disconnect();
		return false;
	}
	while (status != PGRES_POLLING_OK && status != PGRES_POLLING_FAILED)
	{
		if (!wait_socket(status == PGRES_POLLING_READING ? POLLIN : POLLOUT, until_us))
			break;
		status = PQconnectPoll(connection);
	}
	if (status != PGRES_POLLING_OK)
	{
		disconnect();
		return false;
	}
	n_connects++;
	fprintf(log_file, "C %" PRId64 " %s\n", clock_now_us(), PQport(connection));
	return true;
}

/*
 * Run one statement.  False: it was not acknowledged, and "why" is the
 * SQLSTATE, "lost" or "late".
 */
static bool
run(const char *sql, bool is_extended, char why[8])
{
	int64_t		until_us = patience_us == 0 ? 0 : clock_now_us() + patience_us;
	PGresult   *result;
	bool		ok = true;
	int			sent;

	strcpy(why, "lost");
	sent = is_extended ?
		PQsendQueryParams(connection, sql, 0, NULL, NULL, NULL, NULL, 0) :
		PQsendQuery(connection, sql);
	if (!sent)
		return false;
	for (;;)
	{
		while (PQisBusy(connection))
		{
			if (!wait_socket(POLLIN, until_us))
			{
				strcpy(why, "late");
				return false;
			}
			if (!PQconsumeInput(connection))
				return false;
		}
		result = PQgetResult(connection);
		if (result == NULL)
			return ok && PQstatus(connection) == CONNECTION_OK;
		if (PQresultStatus(result) != PGRES_COMMAND_OK)
		{
			const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);

			ok = false;
			if (sqlstate != NULL)
				snprintf(why, 8, "%.5s", sqlstate);
		}
		PQclear(result);
	}
}

static bool
insert(int64_t id, int64_t sent_us, char why[8])
{
	char		sql[256];

	snprintf(sql, sizeof(sql), "INSERT INTO %s VALUES (%" PRId64 ", %" PRId64 ")",
			 table, id, sent_us);
	if (strcmp(mode, "explicit") == 0)
		return run("BEGIN", false, why) && run(sql, false, why) && run("COMMIT", false, why);
	return run(sql, strcmp(mode, "extended") == 0, why);
}

static void
acknowledged(int64_t id, int64_t sent_us)
{
	int64_t		now_us = clock_now_us();

	fprintf(log_file, "A %" PRId64 " %" PRId64 " %" PRId64 " %s\n",
			id, sent_us, now_us, PQport(connection));
	n_acks++;
	if (first_ack_us == 0)
		first_ack_us = now_us;
	else if (now_us - last_ack_us > longest_gap_us)
	{
		longest_gap_us = now_us - last_ack_us;
		gap_from_us = last_ack_us;
	}
	last_ack_us = now_us;
}

static void
wait_until(int64_t time_us)
{
	int64_t		left_us = time_us - clock_now_us();
	struct timespec wait = {.tv_sec = left_us / 1000000,.tv_nsec = left_us % 1000000 * 1000};
	sigset_t	none;

	sigemptyset(&none);
	if (left_us > 0 && !must_end)
		ppoll(NULL, 0, &wait, &none);
}

static void
parse_hosts(char *list)
{
	for (char *item = strtok(list, ","); item != NULL && n_hosts < HOSTS_MAX; item = strtok(NULL, ","))
	{
		char	   *colon = strrchr(item, ':');

		if (colon == NULL)
			continue;
		snprintf(hosts[n_hosts], sizeof(hosts[0]), "%.*s", (int) (colon - item), item);
		snprintf(ports[n_hosts], sizeof(ports[0]), "%s", colon + 1);
		n_hosts++;
	}
}

static int
usage(void)
{
	fprintf(stderr, "usage: writer [-t TABLE] [-i MS] [-m simple|extended|explicit] [-f ID] [-p MS]\n"
			"              [-c MS] [-r MS] [-a] [-l FILE] CONNINFO HOST:PORT[,HOST:PORT...]\n");
	return 1;
}

int
main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = end_soon};
	sigset_t	blocked;
	int64_t		id = 1;
	int64_t		due_us;
	int			option;

	log_file = stderr;
	while ((option = getopt(argc, argv, "t:i:m:f:p:c:r:al:")) != -1)
	{
		switch (option)
		{
			case 't':
				table = optarg;
				break;
			case 'i':
				interval_us = strtoll(optarg, NULL, 10) * 1000;
				break;
			case 'm':
				mode = optarg;
				break;
			case 'f':
				id = strtoll(optarg, NULL, 10);
				break;
			case 'p':
				patience_us = strtoll(optarg, NULL, 10) * 1000;
				break;
			case 'c':
				connect_us = strtoll(optarg, NULL, 10) * 1000;
				break;
			case 'r':
				retry_us = strtoll(optarg, NULL, 10) * 1000;
				break;
			case 'a':
				any_server = true;
				break;
			case 'l':
				log_file = fopen(optarg, "w");
				if (log_file == NULL)
				{
					fprintf(stderr, "writer: could not open \"%s\": %s\n", optarg, strerror(errno));
					return 1;
				}
				break;
			default:
				return usage();
		}
	}
	if (argc - optind != 2)
		return usage();
	parse_hosts(argv[optind + 1]);
	if (n_hosts == 0)
		return usage();
	setvbuf(log_file, NULL, _IOLBF, 0);

	/* blocked but where we wait, so that the end is never missed */
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigaddset(&blocked, SIGINT);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	signal(SIGPIPE, SIG_IGN);

	due_us = clock_now_us();
	while (!must_end)
	{
		int64_t		sent_us;
		char		why[8];

		if (connection == NULL && !try_connect(argv[optind]))
		{
			wait_until(clock_now_us() + retry_us);
			continue;
		}
		wait_until(due_us);
		if (must_end)
			break;
		sent_us = clock_now_us();
		due_us = due_us + interval_us > sent_us ? due_us + interval_us : sent_us + interval_us;
		if (insert(id, sent_us, why))
			acknowledged(id, sent_us);
		else if (!must_end)		/* an answer that nobody waited for is no error */
		{
			n_errors++;
			fprintf(log_file, "E %" PRId64 " %s %" PRId64 "\n", clock_now_us(), why, id);
			disconnect();
		}
		id++;
		if (interval_us == 0)
		{
			sigset_t	pending;

			sigpending(&pending);	/* it may never wait otherwise */
			if (sigismember(&pending, SIGTERM) || sigismember(&pending, SIGINT))
				break;
		}
	}
	disconnect();
	fclose(log_file);
	printf("{\"acks\": %" PRId64 ", \"errors\": %" PRId64 ", \"connects\": %" PRId64
		   ", \"longest_gap_ms\": %.1f, \"gap_from_us\": %" PRId64
		   ", \"first_ack_us\": %" PRId64 ", \"last_ack_us\": %" PRId64 ", \"last_id\": %" PRId64 "}\n",
		   n_acks, n_errors, n_connects, (double) longest_gap_us / 1000.0, gap_from_us,
		   first_ack_us, last_ack_us, id - 1);
	return 0;
}
