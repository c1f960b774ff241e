/*-------------------------------------------------------------------------
 *
 * http_fuzzer.c
 *      http_fuzzer HOST PORT REQUESTS SEED: torment a node's REST API with
 *      malformed requests, many connections at a time.
 *
 * Prints how many requests were sent and how many answers came, by code.  Exits
 * with 1 when the server cannot be reached or an answer is no answer of ours.
 *-------------------------------------------------------------------------
 */
#include "../rest/fuzz_request.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS	   24
#define PATIENCE_MS 60 /* for an answer; most requests that get none are incomplete */

typedef struct Client
{
	int fd;		/* -1 = free */
	bool is_kept; /* its last answer has ended, another request may follow */
	size_t sent;
	size_t length;
	size_t got;
	int64_t end_ms;
	char *request;
	char answer[4096];
} Client;

static Fuzz fuzz;
static Client clients[CLIENTS];
static long codes[600];
static struct sockaddr_in address;

static int64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

static void
begin(Client *client)
{
	if (!client->is_kept)
	{
		client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		if (client->fd < 0 ||
			(connect(client->fd, (struct sockaddr *) &address, sizeof(address)) != 0 && errno != EINPROGRESS))
		{
			perror("connect");
			exit(1);
		}
	}
	client->is_kept = false;
	fuzz_next(&fuzz);
	client->request = malloc(fuzz.length + 1);
	memcpy(client->request, fuzz.text, fuzz.length + 1);
	client->length = fuzz.length;
	client->sent = client->got = 0;
	client->end_ms = now_ms() + PATIENCE_MS;
}

static void
end(Client *client)
{
	client->answer[client->got] = '\0';
	if (!fuzz_is_answer(client->answer, client->got))
	{
		printf("no answer of ours: %.200s\nto: %.200s\n", client->answer, client->request);
		exit(1);
	}
	codes[client->got == 0 ? 0 : atoi(client->answer + 9)]++;
	free(client->request);
	client->is_kept = http_answer_goes_on(client->answer, client->got) && fuzz_dice(&fuzz, 3) != 0;
	if (client->is_kept)
		return;
	close(client->fd);
	client->fd = -1;
}

/* False: it is over. */
static bool
go_on(Client *client, short events)
{
	if ((events & POLLOUT) != 0 && client->sent < client->length)
	{
		size_t piece = client->length - client->sent;
		ssize_t n;

		if (fuzz_dice(&fuzz, 4) == 0)
			piece = 1 + fuzz_dice(&fuzz, (unsigned) piece);
		n = send(client->fd, client->request + client->sent, piece, MSG_NOSIGNAL);
		if (n > 0)
			client->sent += (size_t) n;
		else if (errno != EAGAIN)
			client->sent = client->length;
		if (client->sent == client->length && fuzz_dice(&fuzz, 3) == 0)
			shutdown(client->fd, SHUT_WR);
	}
	if ((events & (POLLIN | POLLHUP | POLLERR)) != 0)
	{
		char scrap[4096];
		ssize_t n = recv(client->fd, scrap, sizeof(scrap), 0);

		if (n == 0 || (n < 0 && errno != EAGAIN))
			return false;
		if (n > 0) /* the begin is enough */
		{
			size_t room = sizeof(client->answer) - 1 - client->got;

			memcpy(client->answer + client->got, scrap, (size_t) n < room ? (size_t) n : room);
			client->got += (size_t) n < room ? (size_t) n : room;
			client->answer[client->got] = '\0';
			if (http_answer_goes_on(client->answer, client->got))
				return false;
		}
	}
	return now_ms() < client->end_ms && fuzz_dice(&fuzz, 400) != 0;
}

int
main(int argc, char **argv)
{
	long wanted = argc > 3 ? atol(argv[3]) : 0;
	long begun = 0;
	int n_busy = 0;

	if (argc != 5)
	{
		fprintf(stderr, "usage: http_fuzzer HOST PORT REQUESTS SEED\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	address.sin_family = AF_INET;
	address.sin_port = htons((uint16_t) atoi(argv[2]));
	if (inet_pton(AF_INET, argv[1], &address.sin_addr) != 1)
		return 2;
	fuzz_init(&fuzz, strtoull(argv[4], NULL, 10), NULL);
	for (int i = 0; i < CLIENTS; i++)
		clients[i].fd = -1;
	while (begun < wanted || n_busy > 0)
	{
		struct pollfd fds[CLIENTS];

		for (int i = 0; i < CLIENTS; i++)
		{
			if ((clients[i].fd < 0 || clients[i].is_kept) && begun < wanted)
			{
				begin(&clients[i]);
				begun++;
				n_busy++;
			}
			fds[i].fd = clients[i].is_kept ? -1 : clients[i].fd;
			fds[i].events = (short) (POLLIN | (clients[i].sent < clients[i].length ? POLLOUT : 0));
			fds[i].revents = 0;
		}
		poll(fds, CLIENTS, 10);
		for (int i = 0; i < CLIENTS; i++)
		{
			if (clients[i].fd >= 0 && !clients[i].is_kept && !go_on(&clients[i], fds[i].revents))
			{
				end(&clients[i]);
				n_busy--;
			}
		}
	}
	printf("%ld requests", begun);
	for (int i = 0; i < 600; i++)
		if (codes[i] > 0)
			printf(", %ld %s%d", codes[i], i == 0 ? "without answer: " : "", i);
	printf("\n");
	return 0;
}
