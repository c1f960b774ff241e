/*-------------------------------------------------------------------------
 *
 * server.c
 *      A small HTTP/1.0 server on libevent's buffers.
 *
 * libevent's own evhttp bounds neither the number of connections nor the time
 * that a client may take for its request, and it cannot answer with a status
 * line alone, which Patroni does and checks depend on.  So little of HTTP is
 * needed here that this is shorter than working around it.
 *
 * Invariants:
 *  (1) At most CONNECTIONS_MAX connections.  When another one comes, the oldest
 *      whose head is not complete makes room, so that clients that say nothing
 *      cannot keep out those that do; if there is none, the new one is closed.
 *  (2) A connection lives at most REQUEST_SECONDS until its head is complete,
 *      as long again until its body is, if that is wanted, until the answer
 *      is known (or what connection_allow_seconds() said) and until that is
 *      written.
 *  (3) A request's head has at most HEAD_MAX bytes.  A body is read only when
 *      connection_read_body() wants it, up to SERVER_BODY_MAX; any other is
 *      thrown away, up to the same length.
 *  (4) Nothing a client sent is used before the head is complete, nor the
 *      body before all of it is there.
 *  (5) The TLS handshake counts as part of the head: the same seconds are for
 *      both.  An end of TLS is said, as no length is: without that an answer
 *      could have been cut short.
 *-------------------------------------------------------------------------
 */
#include "rest/server.h"

#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/listener.h>
#include <openssl/err.h>

#define CONNECTIONS_MAX 256
#define HEAD_MAX        (16 * 1024)
#define REQUEST_SECONDS 5
#define LINGER_SECONDS  1

typedef enum ConnectionState
{
	CONNECTION_READING,   /* the head is not complete */
	CONNECTION_BODY,      /* the body is not complete */
	CONNECTION_WAITING,   /* the request is being handled */
	CONNECTION_WRITING,   /* the answer is on its way */
	CONNECTION_LINGERING, /* answered; throws away what the client still sends */
} ConnectionState;

struct Connection
{
	Server *server;
	Connection *next;
	Connection *previous;
	Connection **place; /* who waits for it; set to NULL when it ends */
	struct bufferevent *buffer;
	struct event *timer;
	struct sockaddr_storage from;
	SSL *tls; /* the buffer's; NULL = none */
	ConnectionState state;
	bool has_body; /* the client may still be sending */
	size_t discarded;
	ServerBodyDone body_done; /* CONNECTION_BODY */
	void *body_arg;
	size_t body_length;
};

struct Server
{
	struct event_base *base;
	struct evconnlistener *listener;
	void (*handle)(void *context, Connection *connection, const ServerRequest *request);
	void *context;
	SSL_CTX *tls; /* NULL = none */
	Connection *connections;
	int n_connections;
	int port;
};

/* Say that no more will come; it is a few bytes, and nobody waits for them to go. */
static void
end_tls(Connection *connection)
{
	if (connection->tls == NULL || !SSL_is_init_finished(connection->tls))
		return;
	ERR_clear_error();
	SSL_shutdown(connection->tls);
	ERR_clear_error();
}

static void
connection_close(Connection *connection)
{
	Server *server = connection->server;

	if (connection->place != NULL)
		*connection->place = NULL;
	if (connection->body_done != NULL)
		connection->body_done(connection->body_arg, NULL, 0);
	if (connection->previous != NULL)
		connection->previous->next = connection->next;
	else
		server->connections = connection->next;
	if (connection->next != NULL)
		connection->next->previous = connection->previous;
	server->n_connections--;
	event_free(connection->timer);
	end_tls(connection);
	bufferevent_free(connection->buffer);
	free(connection);
}

static void
connection_set_timer(Connection *connection, int seconds)
{
	struct timeval timeout = { seconds, 0 };

	event_add(connection->timer, &timeout);
}

/* Remember where the connection is kept, to be told when the client goes away. */
void
connection_keep(Connection *connection, Connection **place)
{
	connection->place = place;
}

/* ------------------------------------------------------------------------
 * Answers
 * ------------------------------------------------------------------------
 */

static const char *
usual_reason(int status)
{
	switch (status)
	{
		case 200:
			return "OK";
		case 202:
			return "Accepted";
		case 400:
			return "Bad Request";
		case 401:
			return "Unauthorized";
		case 403:
			return "Forbidden";
		case 404:
			return "Not Found";
		case 408:
			return "Request Timeout";
		case 409:
			return "Conflict";
		case 411:
			return "Length Required";
		case 412:
			return "Precondition Failed";
		case 413:
			return "Request Entity Too Large";
		case 414:
			return "Request-URI Too Long";
		case 422:
			return "Unprocessable Entity";
		case 431:
			return "Request Header Fields Too Large";
		case 501:
			return "Not Implemented";
		case 502:
			return "Bad Gateway";
		case 503:
			return "Service Unavailable";
	}
	return "Unknown";
}

static void
add_date(struct evbuffer *output)
{
	char text[64];
	time_t now = time(NULL);
	struct tm parts;

	gmtime_r(&now, &parts);
	strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &parts);
	evbuffer_add_printf(output, "Date: %s\r\n", text);
}

static void finish(Connection *connection);

/*
 * Send the answer, which is taken over.  Mostly it fits into the socket at once:
 * then the connection may be gone when this returns.
 */
static void
start_writing(Connection *connection, struct evbuffer *answer)
{
	connection->place = NULL;
	connection->state = CONNECTION_WRITING;
	if (connection->tls == NULL)
		(void) evbuffer_write(answer, bufferevent_getfd(connection->buffer));
	if (evbuffer_get_length(answer) == 0)
	{
		evbuffer_free(answer);
		finish(connection);
		return;
	}
	/* what is wrong with the socket shows there */
	bufferevent_write_buffer(connection->buffer, answer);
	evbuffer_free(answer);
	connection_set_timer(connection, REQUEST_SECONDS);
	bufferevent_enable(connection->buffer, EV_WRITE);
}

/* Answer, then the connection ends by itself.  It must not be used after that. */
void
connection_answer(Connection *connection, const ServerAnswer *answer)
{
	struct evbuffer *output = evbuffer_new();
	const char *reason = answer->reason != NULL ? answer->reason : usual_reason(answer->status);

	if (output == NULL)
	{
		connection_close(connection);
		return;
	}
	evbuffer_add_printf(output, "HTTP/1.0 %d %s\r\n", answer->status, reason);
	if (!answer->is_status_line_only)
	{
		evbuffer_add_printf(output, "Server: %s\r\n", answer->server);
		add_date(output);
		evbuffer_add_printf(output, "Content-Type: %s\r\n", answer->content_type);
		if (answer->extra_headers != NULL)
			evbuffer_add(output, answer->extra_headers, strlen(answer->extra_headers));
	}
	evbuffer_add(output, "\r\n", 2);
	if (!answer->is_status_line_only && answer->body != NULL)
		evbuffer_add(output, answer->body, strlen(answer->body));
	start_writing(connection, output);
}

/* An error page.  "reason" is ours, or checked: it is not escaped. */
void
connection_error_page(Connection *connection, int status, const char *reason)
{
	struct evbuffer *output = evbuffer_new();
	char page[1024];

	if (output == NULL)
	{
		connection_close(connection);
		return;
	}
	if (reason == NULL)
		reason = usual_reason(status);
	snprintf(page, sizeof(page),
	         "<!DOCTYPE HTML>\n<html lang=\"en\">\n"
	         "    <head>\n        <meta charset=\"utf-8\">\n"
	         "        <title>Error response</title>\n    </head>\n"
	         "    <body>\n        <h1>Error response</h1>\n"
	         "        <p>Error code: %d</p>\n        <p>Message: %.300s.</p>\n"
	         "    </body>\n</html>\n",
	         status, reason);
	evbuffer_add_printf(output, "HTTP/1.0 %d %s\r\n", status, reason);
	add_date(output);
	evbuffer_add_printf(output,
	                    "Connection: close\r\nContent-Type: text/html;charset=utf-8\r\n"
	                    "Content-Length: %zu\r\n\r\n%s",
	                    strlen(page), page);
	start_writing(connection, output);
}

/* ------------------------------------------------------------------------
 * Requests
 * ------------------------------------------------------------------------
 */

/* A word up to a blank; false if it is empty or does not fit. */
static bool
take_word(const char **text, const char *end, char *word, size_t size)
{
	size_t length = 0;

	while (*text + length < end && (*text)[length] != ' ')
		length++;
	if (length == 0 || length >= size)
		return false;
	memcpy(word, *text, length);
	word[length] = '\0';
	*text += length;
	while (*text < end && **text == ' ')
		(*text)++;
	return true;
}

/*
 * Split "METHOD target HTTP/1.x".  The target may be a whole URL, as proxies
 * send it.  Returns 0, or the status of the error page.
 */
static int
parse_request_line(const char *line, const char *end, ServerRequest *request)
{
	char target[SERVER_PATH_MAX + SERVER_QUERY_MAX];
	char version[16];
	char *path = target;
	char *query;

	if (!take_word(&line, end, request->method, sizeof(request->method)))
		return 400;
	for (const char *c = request->method; *c != '\0'; c++)
	{
		if (!isalpha((unsigned char) *c))
			return 400;
	}
	if (!take_word(&line, end, target, sizeof(target)))
		return line < end ? 414 : 400;
	if (!take_word(&line, end, version, sizeof(version)) || strncmp(version, "HTTP/1.", 7) != 0)
		return 400;
	for (const char *c = target; *c != '\0'; c++)
	{
		if ((unsigned char) *c < 0x21 || *c == 0x7f)
			return 400;
	}
	if (strncasecmp(path, "http://", 7) == 0 || strncasecmp(path, "https://", 8) == 0)
	{
		path = strchr(strchr(path, ':') + 3, '/');
		if (path == NULL)
			path = strcpy(target, "/");
	}
	query = strchr(path, '?');
	if (query != NULL)
		*query++ = '\0';
	if (strlen(path) >= sizeof(request->path) ||
	    (query != NULL && strlen(query) >= sizeof(request->query)))
		return 414;
	strcpy(request->path, path);
	strcpy(request->query, query == NULL ? "" : query);
	return 0;
}

/* If the line is the header "name:", the value without blanks around it. */
static const char *
header_value(const char *line, const char *end, const char *name, size_t *length)
{
	size_t name_length = strlen(name);

	if ((size_t) (end - line) < name_length || strncasecmp(line, name, name_length) != 0)
		return NULL;
	line += name_length;
	while (line < end && (*line == ' ' || *line == '\t'))
		line++;
	while (end > line && isspace((unsigned char) end[-1]))
		end--;
	*length = (size_t) (end - line);
	return line;
}

/* False: it is no length, or contradicts an earlier one. */
static bool
parse_content_length(const char *value, size_t length, int64_t *result)
{
	int64_t number = 0;

	if (length == 0 || length > 15)
		return false;
	for (size_t i = 0; i < length; i++)
	{
		if (!isdigit((unsigned char) value[i]))
			return false;
		number = number * 10 + (value[i] - '0');
	}
	if (*result >= 0 && *result != number)
		return false;
	*result = number;
	return true;
}

/* The headers that matter.  Returns 0, or the status of the error page. */
static int
parse_headers(const char *head, const char *end, ServerRequest *request)
{
	request->content_length = -1;
	while (head < end)
	{
		const char *newline = memchr(head, '\n', (size_t) (end - head));
		const char *line_end = newline == NULL ? end : newline;
		const char *value;
		size_t length;

		if ((value = header_value(head, line_end, "Content-Length:", &length)) != NULL &&
		    !parse_content_length(value, length, &request->content_length))
			return 400;
		if ((value = header_value(head, line_end, "Authorization:", &length)) != NULL &&
		    !request->has_authorization)
		{
			request->has_authorization = true;
			if (length < sizeof(request->authorization) && memchr(value, '\0', length) == NULL)
				memcpy(request->authorization, value, length);
		}
		if (newline == NULL)
			break;
		head = newline + 1;
	}
	return 0;
}

/* Does any header announce a body?  Then the client must be let finish. */
static bool
announces_body(const char *head, const char *end)
{
	static const char *const names[] = { "Content-Length:", "Transfer-Encoding:" };

	while (head < end)
	{
		const char *newline = memchr(head, '\n', (size_t) (end - head));

		for (int i = 0; i < 2; i++)
		{
			size_t length = strlen(names[i]);

			if ((size_t) (end - head) > length && strncasecmp(head, names[i], length) == 0)
				return true;
		}
		if (newline == NULL)
			break;
		head = newline + 1;
	}
	return false;
}

/* Length of a complete head with its empty line; 0 = not complete yet. */
static size_t
head_length(const char *data, size_t length)
{
	for (size_t i = 0; i < length; i++)
	{
		if (data[i] != '\n')
			continue;
		if (i + 1 < length && data[i + 1] == '\n')
			return i + 2;
		if (i + 2 < length && data[i + 1] == '\r' && data[i + 2] == '\n')
			return i + 3;
	}
	return 0;
}

static bool
has_certificate(const Connection *connection)
{
	X509 *certificate =
		connection->tls == NULL ? NULL : SSL_get_peer_certificate(connection->tls);

	X509_free(certificate);
	return certificate != NULL && SSL_get_verify_result(connection->tls) == X509_V_OK;
}

/*
 * How much may wait to be read.  With TLS there is no such mark: libevent does
 * not come back to what is decrypted already when reading goes on.  There it
 * reads a record at a time, and each is dealt with before the next.
 */
static void
limit_reading(Connection *connection, size_t high)
{
	if (connection->tls == NULL)
		bufferevent_setwatermark(connection->buffer, EV_READ, 0, high);
}

static void
read_head(Connection *connection)
{
	struct evbuffer *input = bufferevent_get_input(connection->buffer);
	size_t available = evbuffer_get_length(input);
	const char *data;
	const char *line_end;
	size_t length;
	ServerRequest request;
	int status;

	if (available > HEAD_MAX)
		available = HEAD_MAX;
	data = (const char *) evbuffer_pullup(input, (ev_ssize_t) available);
	length = data == NULL ? 0 : head_length(data, available);
	if (length == 0)
	{
		if (available < HEAD_MAX)
			return;
		connection->has_body = true;
		connection_error_page(connection, 431, NULL);
		return;
	}
	line_end = memchr(data, '\n', length);
	if (line_end > data && line_end[-1] == '\r')
		line_end--;
	memset(&request, 0, sizeof(request));
	request.from = connection->from;
	request.has_certificate = has_certificate(connection);
	status = parse_request_line(data, line_end, &request);
	if (status == 0)
		status = parse_headers(line_end, data + length, &request);
	connection->has_body =
	    status != 0 || announces_body(data, data + length) || evbuffer_get_length(input) > length;
	evbuffer_drain(input, length);
	connection->state = CONNECTION_WAITING;
	connection_set_timer(connection, REQUEST_SECONDS);
	if (status != 0)
		connection_error_page(connection, status, NULL);
	else
		connection->server->handle(connection->server->context, connection, &request);
	explicit_bzero(request.authorization, sizeof(request.authorization));
}

/* Hand the body over when all of it is there. */
static void
read_body(Connection *connection)
{
	struct evbuffer *input = bufferevent_get_input(connection->buffer);
	ServerBodyDone done = connection->body_done;
	char *body;

	if (evbuffer_get_length(input) < connection->body_length)
		return;
	connection->body_done = NULL;
	connection->has_body = evbuffer_get_length(input) > connection->body_length;
	connection->state = CONNECTION_WAITING;
	connection_set_timer(connection, REQUEST_SECONDS);
	limit_reading(connection, HEAD_MAX);
	body = malloc(connection->body_length + 1);
	if (body == NULL)
	{
		connection->body_done = done;
		connection_close(connection);
		return;
	}
	evbuffer_remove(input, body, connection->body_length);
	body[connection->body_length] = '\0';
	done(connection->body_arg, body, connection->body_length);
	free(body);
}

/* Read the body, then call done().  To be called while the request is handled. */
void
connection_read_body(Connection *connection, size_t length, ServerBodyDone done, void *arg)
{
	connection->body_done = done;
	connection->body_arg = arg;
	connection->body_length = length;
	connection->state = CONNECTION_BODY;
	limit_reading(connection, length < HEAD_MAX ? HEAD_MAX : length);
	read_body(connection);
}

/* Let the answer take longer than usual. */
void
connection_allow_seconds(Connection *connection, int seconds)
{
	connection_set_timer(connection, seconds);
}

/* The answer is written: close, but let a client that still sends read it first. */
static void
finish(Connection *connection)
{
	if (!connection->has_body)
	{
		connection_close(connection);
		return;
	}
	connection->state = CONNECTION_LINGERING;
	end_tls(connection);
	shutdown(bufferevent_getfd(connection->buffer), SHUT_WR);
	connection_set_timer(connection, LINGER_SECONDS);
}

static void
on_read(struct bufferevent *buffer, void *context)
{
	Connection *connection = context;
	struct evbuffer *input = bufferevent_get_input(buffer);

	if (connection->state == CONNECTION_READING)
	{
		read_head(connection);
		return;
	}
	if (connection->state == CONNECTION_BODY)
	{
		read_body(connection);
		return;
	}
	connection->discarded += evbuffer_get_length(input);
	evbuffer_drain(input, evbuffer_get_length(input));
	if (connection->discarded > SERVER_BODY_MAX)
		connection_close(connection);
}

static void
on_written(struct bufferevent *buffer, void *context)
{
	Connection *connection = context;

	if (connection->state == CONNECTION_WRITING &&
	    evbuffer_get_length(bufferevent_get_output(buffer)) == 0)
		finish(connection);
}

/*
 * A client that shut down its sending side may still wait for the answer;
 * anything else that happens ends the connection.
 */
static void
on_event(struct bufferevent *buffer, short what, void *context)
{
	Connection *connection = context;

	if ((what & BEV_EVENT_CONNECTED) != 0)
		return; /* the handshake is done */
	if ((what & BEV_EVENT_EOF) != 0 && (what & BEV_EVENT_ERROR) == 0 &&
	    (connection->state == CONNECTION_WAITING || connection->state == CONNECTION_WRITING))
	{
		bufferevent_disable(buffer, EV_READ);
		connection->has_body = false;
		return;
	}
	connection_close(connection);
}

static void
on_timer(evutil_socket_t fd, short what, void *context)
{
	(void) fd;
	(void) what;
	connection_close(context);
}

/* Takes the descriptor over if it returns one. */
static struct bufferevent *
make_buffer(const Server *server, evutil_socket_t fd, SSL **tls)
{
	struct bufferevent *buffer;

	*tls = NULL;
	if (server->tls == NULL)
		return bufferevent_socket_new(server->base, fd, BEV_OPT_CLOSE_ON_FREE);
	*tls = SSL_new(server->tls);
	if (*tls == NULL)
		return NULL;
	buffer = bufferevent_openssl_socket_new(server->base, fd, *tls, BUFFEREVENT_SSL_ACCEPTING,
	                                        BEV_OPT_CLOSE_ON_FREE);
	if (buffer == NULL)
		SSL_free(*tls);
	else /* a client that just hangs up is no news */
		bufferevent_openssl_set_allow_dirty_shutdown(buffer, 1);
	return buffer;
}

/* The list is in the order of age, the newest first. */
static void
make_room(Server *server)
{
	Connection *oldest = NULL;

	if (server->n_connections < CONNECTIONS_MAX)
		return;
	for (Connection *item = server->connections; item != NULL; item = item->next)
	{
		if (item->state == CONNECTION_READING)
			oldest = item;
	}
	if (oldest != NULL)
		connection_close(oldest);
}

static void
on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address, int length,
          void *context)
{
	Server *server = context;
	Connection *connection;

	(void) listener;
	make_room(server);
	connection = server->n_connections < CONNECTIONS_MAX ? calloc(1, sizeof(Connection)) : NULL;
	if (connection == NULL)
	{
		close(fd);
		return;
	}
	connection->buffer = make_buffer(server, fd, &connection->tls);
	connection->timer = evtimer_new(server->base, on_timer, connection);
	if (connection->buffer == NULL || connection->timer == NULL)
	{
		if (connection->buffer != NULL)
			bufferevent_free(connection->buffer);
		else
			close(fd);
		if (connection->timer != NULL)
			event_free(connection->timer);
		free(connection);
		return;
	}
	if (length > 0 && (size_t) length <= sizeof(connection->from))
		memcpy(&connection->from, address, (size_t) length);
	connection->server = server;
	connection->next = server->connections;
	if (connection->next != NULL)
		connection->next->previous = connection;
	server->connections = connection;
	server->n_connections++;
	bufferevent_setcb(connection->buffer, on_read, on_written, on_event, connection);
	limit_reading(connection, HEAD_MAX);
	connection_set_timer(connection, REQUEST_SECONDS);
	bufferevent_enable(connection->buffer, EV_READ);
}

/* ------------------------------------------------------------------------
 * Listening
 * ------------------------------------------------------------------------
 */

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

/* All interfaces: both families through one IPv6 socket, if there is IPv6. */
static int
open_socket(const ServerConfig *config, Error *error)
{
	bool is_any = config->host[0] == '\0' || strcmp(config->host, "*") == 0;
	int families[2] = { AF_INET, AF_INET6 };
	struct addrinfo hints;
	char port[16];
	int fd = -1;

	if (is_any)
	{
		families[0] = AF_INET6;
		families[1] = AF_INET;
	}
	snprintf(port, sizeof(port), "%d", config->port);
	error_set(error, "cannot resolve the address");
	for (int i = 0; i < 2 && fd < 0; i++)
	{
		struct addrinfo *list = NULL;

		memset(&hints, 0, sizeof(hints));
		hints.ai_family = families[i];
		hints.ai_socktype = SOCK_STREAM;
		hints.ai_flags = AI_PASSIVE;
		if (getaddrinfo(is_any ? NULL : config->host, port, &hints, &list) != 0)
			continue;
		for (struct addrinfo *item = list; item != NULL && fd < 0; item = item->ai_next)
			fd = listen_address(item, error);
		freeaddrinfo(list);
	}
	if (fd < 0)
		error_wrap(error, "could not listen at \"%s\" port %d", config->host, config->port);
	return fd;
}

static int
bound_port(int fd)
{
	struct sockaddr_storage address;
	socklen_t length = sizeof(address);

	if (getsockname(fd, (struct sockaddr *) &address, &length) != 0)
		return 0;
	if (address.ss_family == AF_INET6)
		return ntohs(((struct sockaddr_in6 *) &address)->sin6_port);
	return ntohs(((struct sockaddr_in *) &address)->sin_port);
}

/* Start to listen; NULL and *error when that cannot be. */
Server *
server_start(struct event_base *base, const ServerConfig *config, Error *error)
{
	Server *server = calloc(1, sizeof(Server));
	int fd;

	if (server == NULL)
	{
		error_set(error, "out of memory");
		return NULL;
	}
	server->base = base;
	server->handle = config->handle;
	server->context = config->context;
	fd = open_socket(config, error);
	if (fd < 0)
	{
		free(server);
		return NULL;
	}
	server->port = bound_port(fd);
	server->listener =
	    evconnlistener_new(base, on_accept, server, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC,
	                       config->backlog, fd);
	if (server->listener == NULL)
	{
		error_set(error, "could not listen at \"%s\" port %d: %s", config->host, config->port,
		          strerror(errno));
		close(fd);
		free(server);
		return NULL;
	}
	return server;
}

/* Stop listening and close all connections, answered or not.  NULL is fine. */
void
server_stop(Server *server)
{
	if (server == NULL)
		return;
	evconnlistener_free(server->listener);
	while (server->connections != NULL)
		connection_close(server->connections);
	SSL_CTX_free(server->tls);
	free(server);
}

/* Speak TLS from now on, or not any more (NULL). */
void
server_set_tls(Server *server, SSL_CTX *tls)
{
	if (tls != NULL)
		SSL_CTX_up_ref(tls);
	SSL_CTX_free(server->tls);
	server->tls = tls;
}

/* The port it listens at. */
int
server_port(const Server *server)
{
	return server->port;
}
