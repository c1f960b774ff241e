/*-------------------------------------------------------------------------
 *
 * channel.c
 *      Newline-delimited JSON over the Unix socket between the node's two
 *      homes.
 *
 * Invariants:
 *  (1) Nothing here waits: the descriptors are non-blocking.
 *  (2) What is kept of the peer is bounded: one message of at most
 *      CHANNEL_MESSAGE_MAX bytes, and OUTPUT_MAX bytes that it does not read.
 *      A peer that goes beyond is cut off.
 *  (3) Messages that came complete are delivered before the end of the peer
 *      is reported.
 *
 * What the messages mean is the business of the two homes.
 *-------------------------------------------------------------------------
 */
#include "node/channel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define OUTPUT_MAX  (4 * CHANNEL_MESSAGE_MAX)
#define INPUT_FIRST (16 * 1024)

struct Channel
{
	int fd;
	bool is_broken; /* an error or nonsense: nothing more is sent or read */
	bool is_ended;  /* the peer closed; the buffer may hold messages still */
	char *input;
	size_t input_size;
	size_t input_used;
	size_t input_scanned; /* no newline before this */
	char *output;
	size_t output_size;
	size_t output_used;
	size_t output_sent;
};

static bool
socket_address(const char *path, struct sockaddr_un *address, Error *error)
{
	size_t length = strlen(path);

	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	if (length == 0 || length >= sizeof(address->sun_path))
		return error_set(error, "socket path \"%s\" is too long", path);
	memcpy(address->sun_path, path, length + 1);
	return true;
}

/* Is the peer a process of this user?  Nobody else may drive the node. */
static bool
check_peer(int fd, Error *error)
{
	struct ucred peer;
	socklen_t length = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0)
		return error_set(error, "could not find out who is at the other end of the socket: %s",
		                 strerror(errno));
	if (peer.uid != geteuid())
	{
		error_set(error, "connection from another user is refused");
		error_detail(error, "The peer's process %d runs as user %u, this one as user %u.",
		             (int) peer.pid, (unsigned) peer.uid, (unsigned) geteuid());
		return false;
	}
	return true;
}

static Channel *
channel_create(int fd, Error *error)
{
	Channel *channel = calloc(1, sizeof(Channel));

	if (channel != NULL)
		channel->input = malloc(INPUT_FIRST);
	if (channel == NULL || channel->input == NULL)
	{
		free(channel);
		close(fd);
		error_set(error, "out of memory");
		return NULL;
	}
	channel->fd = fd;
	channel->input_size = INPUT_FIRST;
	return channel;
}

/*
 * Open a listening, non-blocking socket at "path" which only this user can
 * reach.  An old socket there is removed: the caller knows, by the lock of
 * the lease page, that its owner is gone.
 */
bool
channel_listen(const char *path, int *fd, Error *error)
{
	struct sockaddr_un address;
	struct stat st;
	mode_t old_mask;
	int result;

	*fd = -1;
	if (!socket_address(path, &address, error))
		return false;
	if (lstat(path, &st) == 0)
	{
		if (!S_ISSOCK(st.st_mode))
			return error_set(error, "\"%s\" exists and is not a socket", path);
		if (unlink(path) != 0)
			return error_set(error, "could not remove old socket \"%s\": %s", path,
			                 strerror(errno));
	}
	*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (*fd < 0)
		return error_set(error, "could not create socket: %s", strerror(errno));
	old_mask = umask(0177);
	result = bind(*fd, (struct sockaddr *) &address, sizeof(address));
	umask(old_mask);
	if (result != 0 || listen(*fd, 8) != 0)
	{
		error_set(error, "could not listen at socket \"%s\": %s", path, strerror(errno));
		close(*fd);
		*fd = -1;
		return false;
	}
	return true;
}

/*
 * Take one waiting connection.  NULL: nobody waits, or the peer is refused or
 * was lost (*error is set then, else it is empty).
 */
Channel *
channel_accept(int listen_fd, Error *error)
{
	int fd;

	error_clear(error);
	fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0)
	{
		if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR && errno != ECONNABORTED)
			error_set(error, "could not accept a connection: %s", strerror(errno));
		return NULL;
	}
	if (!check_peer(fd, error))
	{
		close(fd);
		return NULL;
	}
	return channel_create(fd, error);
}

/* Connect to the supervisor.  NULL and *error when nobody listens there. */
Channel *
channel_connect(const char *path, Error *error)
{
	struct sockaddr_un address;
	int fd;

	error_clear(error);
	if (!socket_address(path, &address, error))
		return NULL;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
	{
		error_set(error, "could not create socket: %s", strerror(errno));
		return NULL;
	}
	if (connect(fd, (struct sockaddr *) &address, sizeof(address)) != 0)
	{
		error_set(error, "could not connect to socket \"%s\": %s", path, strerror(errno));
		close(fd);
		return NULL;
	}
	if (!check_peer(fd, error))
	{
		close(fd);
		return NULL;
	}
	return channel_create(fd, error);
}

/* Close at once; what is still queued is lost.  NULL is fine. */
void
channel_close(Channel *channel)
{
	if (channel == NULL)
		return;
	close(channel->fd);
	free(channel->input);
	free(channel->output);
	free(channel);
}

/* The descriptor, to wait for. */
int
channel_fd(const Channel *channel)
{
	return channel->fd;
}

/* Is there something queued that the socket did not take yet? */
bool
channel_wants_write(const Channel *channel)
{
	return !channel->is_broken && channel->output_sent < channel->output_used;
}

static bool
output_append(Channel *channel, const char *text, size_t length)
{
	size_t pending = channel->output_used - channel->output_sent;

	if (pending + length + 1 > OUTPUT_MAX)
		return false;
	if (channel->output_sent > 0)
	{
		memmove(channel->output, channel->output + channel->output_sent, pending);
		channel->output_sent = 0;
		channel->output_used = pending;
	}
	if (pending + length + 1 > channel->output_size)
	{
		size_t size = (pending + length + 1) * 2;
		char *larger = realloc(channel->output, size);

		if (larger == NULL)
			return false;
		channel->output = larger;
		channel->output_size = size;
	}
	memcpy(channel->output + channel->output_used, text, length);
	channel->output[channel->output_used + length] = '\n';
	channel->output_used += length + 1;
	return true;
}

/*
 * Queue one object and try to write it; the reference is stolen.  False: the
 * channel is broken (also when the peer reads nothing for too long, or the
 * message is larger than allowed), close it.
 */
bool
channel_send(Channel *channel, json_t *message)
{
	char *text;
	size_t length;

	if (channel->is_broken)
	{
		json_decref(message);
		return false;
	}
	text = message == NULL ? NULL : json_dumps(message, JSON_COMPACT);
	json_decref(message);
	if (text == NULL)
	{
		channel->is_broken = true;
		return false;
	}
	length = strlen(text);
	if (length >= CHANNEL_MESSAGE_MAX || !output_append(channel, text, length))
		channel->is_broken = true;
	free(text);
	return channel_flush(channel);
}

/* Write what is queued as far as the socket takes it.  False: broken. */
bool
channel_flush(Channel *channel)
{
	while (channel_wants_write(channel))
	{
		ssize_t n = send(channel->fd, channel->output + channel->output_sent,
		                 channel->output_used - channel->output_sent, MSG_NOSIGNAL);

		if (n > 0)
			channel->output_sent += (size_t) n;
		else if (n < 0 && errno == EINTR)
			continue;
		else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			break;
		else
			channel->is_broken = true;
	}
	if (channel->output_sent == channel->output_used)
		channel->output_sent = channel->output_used = 0;
	return !channel->is_broken;
}

/* Read once more; false when there is nothing to be had now. */
static bool
input_fill(Channel *channel)
{
	ssize_t n;

	if (channel->input_used == channel->input_size)
	{
		size_t size = channel->input_size * 2;
		char *larger;

		if (size > CHANNEL_MESSAGE_MAX)
			size = CHANNEL_MESSAGE_MAX;
		larger = size > channel->input_used ? realloc(channel->input, size) : NULL;
		if (larger == NULL)
		{
			channel->is_broken = true;
			return false;
		}
		channel->input = larger;
		channel->input_size = size;
	}
	do
		n = recv(channel->fd, channel->input + channel->input_used,
		         channel->input_size - channel->input_used, 0);
	while (n < 0 && errno == EINTR);

	if (n > 0)
	{
		channel->input_used += (size_t) n;
		return true;
	}
	if (n == 0)
		channel->is_ended = true;
	else if (errno == ECONNRESET)
		channel->is_ended = true;
	else if (errno != EAGAIN && errno != EWOULDBLOCK)
		channel->is_broken = true;
	return false;
}

/* Cut the first complete line out of the buffer and parse it. */
static json_t *
input_take(Channel *channel, size_t length)
{
	json_t *message = json_loadb(channel->input, length, JSON_REJECT_DUPLICATES, NULL);

	if (!json_is_string(json_object_get(message, "type")))
	{
		json_decref(message);
		message = NULL;
		channel->is_broken = true;
	}
	channel->input_used -= length + 1;
	memmove(channel->input, channel->input + length + 1, channel->input_used);
	channel->input_scanned = 0;
	return message;
}

/*
 * Next complete message as a new reference, or NULL when there is none yet.
 * *is_closed is set when the peer is gone or talks nonsense: then there never
 * will be another.
 */
json_t *
channel_receive(Channel *channel, bool *is_closed)
{
	json_t *message = NULL;

	*is_closed = false;
	while (!channel->is_broken)
	{
		char *newline = memchr(channel->input + channel->input_scanned, '\n',
		                       channel->input_used - channel->input_scanned);

		if (newline != NULL)
		{
			message = input_take(channel, (size_t) (newline - channel->input));
			break;
		}
		channel->input_scanned = channel->input_used;
		if (channel->is_ended || !input_fill(channel))
			break;
	}
	if (message == NULL)
		*is_closed = channel->is_broken || channel->is_ended;
	return message;
}
