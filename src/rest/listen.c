/*-------------------------------------------------------------------------
 *
 * listen.c
 *      The socket at which the REST API listens.
 *-------------------------------------------------------------------------
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rest/server_internal.h"

/*
 * As Patroni: a client that vanished is noticed after ten seconds.  Set once,
 * for the listening socket: those that it accepts inherit it.
 */
static void
set_keepalive(int fd)
{
	int on = 1;
	int idle = 3;
	int interval = 2;
	int count = 3;

	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static int
listen_address(const struct addrinfo *address, Error *error)
{
	int on = 1;
	int off = 0;
	int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
	{
		error_set(error, "could not create socket: %s", strerror(errno));
		return -1;
	}
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (address->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	set_keepalive(fd);
	if (bind(fd, address->ai_addr, address->ai_addrlen) != 0)
	{
		error_set(error, "could not bind: %s", strerror(errno));
		close(fd);
		return -1;
	}
	return fd;
}

/*
 * A bound socket, not listening yet; -1 and *error when that cannot be.  All
 * interfaces ("" or "*"): both families through one IPv6 socket, if there is
 * IPv6.
 */
int
listen_open(const char *host, int port, Error *error)
{
	bool is_any = host[0] == '\0' || strcmp(host, "*") == 0;
	int families[2] = { AF_INET, AF_INET6 };
	struct addrinfo hints;
	char service[16];
	int fd = -1;

	if (is_any)
	{
		families[0] = AF_INET6;
		families[1] = AF_INET;
	}
	snprintf(service, sizeof(service), "%d", port);
	error_set(error, "cannot resolve the address");
	for (int i = 0; i < 2 && fd < 0; i++)
	{
		struct addrinfo *list = NULL;

		memset(&hints, 0, sizeof(hints));
		hints.ai_family = families[i];
		hints.ai_socktype = SOCK_STREAM;
		hints.ai_flags = AI_PASSIVE;
		if (getaddrinfo(is_any ? NULL : host, service, &hints, &list) != 0)
			continue;
		for (struct addrinfo *item = list; item != NULL && fd < 0; item = item->ai_next)
			fd = listen_address(item, error);
		freeaddrinfo(list);
	}
	if (fd < 0)
		error_wrap(error, "could not listen at \"%s\" port %d", host, port);
	return fd;
}

/* The port of a socket; 0: it has none. */
int
listen_port(int fd)
{
	struct sockaddr_storage address;
	socklen_t length = sizeof(address);

	if (getsockname(fd, (struct sockaddr *) &address, &length) != 0)
		return 0;
	if (address.ss_family == AF_INET6)
		return ntohs(((struct sockaddr_in6 *) &address)->sin6_port);
	return ntohs(((struct sockaddr_in *) &address)->sin_port);
}
