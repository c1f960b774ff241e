/*-------------------------------------------------------------------------
 *
 * floor.c
 *      floor PORT: the least that an HTTP server can do, for bench/rest.sh.
 *
 * libevent; connections go on, as those of our server do; the answer to whatever
 * was sent is always the same, of about the length of ours.  What wrk measures
 * of it is what the machine, the kernel and wrk itself cost.
 *-------------------------------------------------------------------------
 */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/listener.h>

static struct event_base *base;
static char answer[1024];

typedef struct Client
{
	struct event *event;
} Client;

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	Client *client = arg;
	char request[4096];

	(void) what;
	if (recv(fd, request, sizeof(request), 0) > 0 &&
	    send(fd, answer, strlen(answer), MSG_NOSIGNAL) == (ssize_t) strlen(answer))
		return;
	event_free(client->event);
	free(client);
	close(fd);
}

static void
on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *from, int length, void *arg)
{
	Client *client = calloc(1, sizeof(Client));

	(void) listener, (void) from, (void) length, (void) arg;
	if (client == NULL)
		exit(1);
	client->event = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, client);
	event_add(client->event, NULL);
}

int
main(int argc, char **argv)
{
	struct sockaddr_in address = { .sin_family = AF_INET };

	strcpy(answer, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 550\r\n\r\n");
	memset(answer + strlen(answer), 'x', 550);
	base = event_base_new();
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	address.sin_port = htons((unsigned short) atoi(argc > 1 ? argv[1] : "8008"));
	if (base == NULL || evconnlistener_new_bind(base, on_accept, NULL, LEV_OPT_REUSEABLE, 128,
	                                            (struct sockaddr *) &address, sizeof(address)) == NULL)
		return 1;
	return event_base_dispatch(base);
}
