/*-------------------------------------------------------------------------
 *
 * fuzz_client.h
 *      A connection that sends requests of fuzz_request.h: in pieces, without
 *      reading all of the answer, or not to the end.
 *
 * Nothing here waits.  The caller connects, and decides what to do with an
 * answer that is none.
 *-------------------------------------------------------------------------
 */
#ifndef FUZZ_CLIENT_H
#define FUZZ_CLIENT_H

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../src/base/clock.h"
#include "fuzz_request.h"

#define FUZZ_CLIENTS 24
#define FUZZ_CODES	 600

typedef struct FuzzClient
{
	int fd;		/* -1 = free */
	bool is_kept; /* its last answer has ended, another request may follow */
	size_t sent;
	size_t length;
	size_t got;
	int64_t end_ms;
	char *request;
	char answer[4096];
} FuzzClient;

/* A request on the client's connection, which is there; for so long it waits for the answer. */
static inline void
fuzz_client_begin(FuzzClient *client, const char *text, size_t length, int patience_ms)
{
	client->is_kept = false;
	client->request = malloc(length + 1);
	memcpy(client->request, text, length);
	client->request[length] = '\0';
	client->length = length;
	client->sent = client->got = 0;
	client->end_ms = clock_now_ms() + patience_ms;
}

/* Send and read what is possible now.  False: it is over, also once in so many calls by chance. */
static inline bool
fuzz_client_go_on(FuzzClient *client, Fuzz *fuzz, unsigned once_in)
{
	char scrap[4096];
	ssize_t n;

	if (client->sent < client->length)
	{
		size_t piece = client->length - client->sent;

		if (fuzz_dice(fuzz, 4) == 0)
			piece = 1 + fuzz_dice(fuzz, (unsigned) piece);
		n = send(client->fd, client->request + client->sent, piece, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0)
			client->sent += (size_t) n;
		else if (n < 0 && errno != EAGAIN)
			client->sent = client->length;
		if (client->sent == client->length && fuzz_dice(fuzz, 3) == 0)
			shutdown(client->fd, SHUT_WR);
	}
	n = recv(client->fd, scrap, sizeof(scrap), MSG_DONTWAIT);
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
	return clock_now_ms() < client->end_ms && fuzz_dice(fuzz, once_in) != 0;
}

/*
 * It is over: count its code (0 = no answer), and keep the connection if the
 * server does, or close it.  False: what came is no answer of ours; it and the
 * request are there to be shown.
 */
static inline bool
fuzz_client_end(FuzzClient *client, Fuzz *fuzz, long codes[FUZZ_CODES])
{
	client->answer[client->got] = '\0';
	if (!fuzz_is_answer(client->answer, client->got))
		return false;
	codes[client->got == 0 ? 0 : atoi(client->answer + 9)]++;
	free(client->request);
	client->is_kept = http_answer_goes_on(client->answer, client->got) && fuzz_dice(fuzz, 3) != 0;
	if (client->is_kept)
		return true;
	close(client->fd);
	client->fd = -1;
	return true;
}

#endif /* FUZZ_CLIENT_H */
