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
#include "../rest/fuzz_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>

#define PATIENCE_MS 60 /* for an answer; most requests that get none are incomplete */

static Fuzz fuzz;
static FuzzClient clients[FUZZ_CLIENTS];
static long codes[FUZZ_CODES];
static struct sockaddr_in address;

static void
begin(FuzzClient *client)
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
	fuzz_next(&fuzz);
	fuzz_client_begin(client, fuzz.text, fuzz.length, PATIENCE_MS);
}

static void
end(FuzzClient *client)
{
	if (fuzz_client_end(client, &fuzz, codes))
		return;
	printf("no answer of ours: %.200s\nto: %.200s\n", client->answer, client->request);
	exit(1);
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
	for (int i = 0; i < FUZZ_CLIENTS; i++)
		clients[i].fd = -1;
	while (begun < wanted || n_busy > 0)
	{
		struct pollfd fds[FUZZ_CLIENTS];

		for (int i = 0; i < FUZZ_CLIENTS; i++)
		{
			if ((clients[i].fd < 0 || clients[i].is_kept) && begun < wanted)
			{
				begin(&clients[i]);
				begun++;
				n_busy++;
			}
			fds[i].fd = clients[i].is_kept ? -1 : clients[i].fd;
			fds[i].events = (short) (POLLIN | (clients[i].sent < clients[i].length ? POLLOUT : 0));
		}
		poll(fds, FUZZ_CLIENTS, 10);
		for (int i = 0; i < FUZZ_CLIENTS; i++)
		{
			if (clients[i].fd >= 0 && !clients[i].is_kept &&
				!fuzz_client_go_on(&clients[i], &fuzz, 400))
			{
				end(&clients[i]);
				n_busy--;
			}
		}
	}
	printf("%ld requests", begun);
	for (int i = 0; i < FUZZ_CODES; i++)
		if (codes[i] > 0)
			printf(", %ld %s%d", codes[i], i == 0 ? "without answer: " : "", i);
	printf("\n");
	return 0;
}
