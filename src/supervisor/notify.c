/*-------------------------------------------------------------------------
 *
 * notify.c
 *      Tells systemd how we are, without libsystemd: sd_notify(3) is one
 *      datagram to the socket that NOTIFY_SOCKET names.
 *
 * Nothing happens without that variable.  A lost message is not worth a word:
 * the service manager has timeouts of its own.
 *-------------------------------------------------------------------------
 */
#include "supervisor/notify.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static struct sockaddr_un notify_address;
static socklen_t notify_length = 0;

/*
 * Remember NOTIFY_SOCKET and take it out of the environment: the server must
 * not speak for us.
 */
void
notify_init(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	size_t length = path == NULL ? 0 : strlen(path);

	if (length > 1 && length < sizeof(notify_address.sun_path) &&
		(path[0] == '/' || path[0] == '@'))
	{
		memset(&notify_address, 0, sizeof(notify_address));
		notify_address.sun_family = AF_UNIX;
		memcpy(notify_address.sun_path, path, length);
		if (path[0] == '@')
			notify_address.sun_path[0] = '\0'; /* abstract */
		notify_length = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + length);
	}
	unsetenv("NOTIFY_SOCKET");
}

static void
notify_send(const char *text)
{
	int fd;
	ssize_t sent;

	if (notify_length == 0)
		return;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return;
	sent = sendto(fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *) &notify_address,
				  notify_length);
	(void) sent;
	close(fd);
}

/* The loop runs; also the end of a reload. */
void
notify_ready(void)
{
	notify_send("READY=1");
}

/* The configuration is being read again. */
void
notify_reloading(void)
{
	char text[96];
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%lld",
			 (long long) ts.tv_sec * 1000000 + ts.tv_nsec / 1000);
	notify_send(text);
}

/* The end has begun. */
void
notify_stopping(void)
{
	notify_send("STOPPING=1");
}

/* One line for "systemctl status". */
void
notify_status(const char *text)
{
	char line[300];

	snprintf(line, sizeof(line), "STATUS=%.280s", text);
	notify_send(line);
}
