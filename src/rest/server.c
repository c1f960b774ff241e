/*-------------------------------------------------------------------------
 *
 * server.c
 *      A small HTTP server on libevent's buffers.
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
 *  (5) A connection goes on after its answer only if nothing but a GET was sent:
 *      no body, and no further request ahead of the answer.  So where a request
 *      begins is never a question.  It goes on for REQUEST_SECONDS, and counts
 *      as one whose head is not complete.  With a pace its next request is read
 *      that much later, at the earliest.
 *  (6) The TLS handshake counts as part of the head: the same seconds are for
 *      both.  An end of TLS is said, as no length is: without that an answer
 *      could have been cut short.
 *-------------------------------------------------------------------------
 */
#include "rest/server_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
	CONNECTION_PACED,     /* answered; its next request is not read yet */
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
	bool goes_on;  /* after the answer; it must tell its length */
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
	const char *name;
	Connection *connections;
	int n_connections;
	int pace_ms; /* 0 = none */
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

/* Do headers of the operator's say where the answer ends?  Then we do not. */
static bool
sets_framing(const char *headers)
{
	return headers != NULL &&
	       (strcasestr(headers, "Content-Length:") != NULL || strcasestr(headers, "Connection:") != NULL ||
	        strcasestr(headers, "Transfer-Encoding:") != NULL);
}

/* Answer, then the connection ends by itself, or waits for another request.  It must not be used after that. */
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
	if (answer->is_status_line_only || answer->body == NULL || sets_framing(answer->extra_headers))
		connection->goes_on = false;
	evbuffer_add_printf(output, "HTTP/1.%d %d %s\r\n", connection->goes_on, answer->status, reason);
	if (!answer->is_status_line_only)
	{
		evbuffer_add_printf(output, "Server: %s\r\n", answer->server);
		add_date(output);
		evbuffer_add_printf(output, "Content-Type: %s\r\n", answer->content_type);
		if (answer->extra_headers != NULL)
			evbuffer_add(output, answer->extra_headers, strlen(answer->extra_headers));
		if (connection->goes_on)
			evbuffer_add_printf(output, "Content-Length: %zu\r\n", strlen(answer->body));
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
	connection->goes_on = false;
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
	if (connection->server->name[0] != '\0')
		evbuffer_add_printf(output, "Server: %s\r\n", connection->server->name);
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

static bool
has_certificate(const Connection *connection)
{
	X509 *certificate =
		connection->tls == NULL ? NULL : SSL_get_peer_certificate(connection->tls);

	X509_free(certificate);
	return certificate != NULL && SSL_get_verify_result(connection->tls) == X509_V_OK;
}

/* Does the server still speak as when the connection was made?  A new certificate is for all. */
static bool
speaks_as_now(const Connection *connection)
{
	const SSL_CTX *tls = connection->tls == NULL ? NULL : SSL_get_SSL_CTX(connection->tls);

	return tls == connection->server->tls;
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
	size_t length;
	ServerRequest request;
	int status;

	if (available > HEAD_MAX)
		available = HEAD_MAX;
	data = (const char *) evbuffer_pullup(input, (ev_ssize_t) available);
	length = data == NULL ? 0 : request_head_length(data, available);
	if (length == 0)
	{
		if (available < HEAD_MAX)
			return;
		connection->has_body = true;
		connection_error_page(connection, 431, NULL);
		return;
	}
	memset(&request, 0, sizeof(request));
	request.from = connection->from;
	request.has_certificate = has_certificate(connection);
	status = request_parse(&request, data, length);
	connection->has_body =
	    status != 0 || request_announces_body(data, data + length) || evbuffer_get_length(input) > length;
	connection->goes_on = request.is_repeatable && !connection->has_body &&
	                      strcmp(request.method, "GET") == 0 && speaks_as_now(connection);
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

/*
 * Read the next request, now or after the pace.  Not with TLS, which may hold
 * what was read already.
 */
static void
wait_for_request(Connection *connection)
{
	struct timeval pace = { 0, connection->server->pace_ms * 1000 };

	if (connection->state != CONNECTION_PACED && pace.tv_usec > 0 && connection->tls == NULL)
	{
		connection->state = CONNECTION_PACED;
		bufferevent_disable(connection->buffer, EV_READ);
		event_add(connection->timer, &pace);
		return;
	}
	connection->state = CONNECTION_READING;
	connection_set_timer(connection, REQUEST_SECONDS);
	bufferevent_enable(connection->buffer, EV_READ);
}

/* The answer is written: wait for the next request, or close, but let a client that still sends read it first. */
static void
finish(Connection *connection)
{
	if (connection->goes_on)
	{
		wait_for_request(connection);
		return;
	}
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
	if (connection->state != CONNECTION_LINGERING)
	{
		/* not asked for yet: where it begins and ends does not matter any more */
		connection->goes_on = false;
		connection->has_body = true;
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
		connection->goes_on = false;
		return;
	}
	connection_close(connection);
}

static void
on_timer(evutil_socket_t fd, short what, void *context)
{
	(void) fd;
	(void) what;
	if (((Connection *) context)->state == CONNECTION_PACED)
		wait_for_request(context);
	else
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
	server->name = "";
	fd = listen_open(config->host, config->port, error);
	if (fd < 0)
	{
		free(server);
		return NULL;
	}
	server->port = listen_port(fd);
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

/* How long a connection that goes on waits before its next request is read, below 1000 ms; 0: not at all. */
void
server_set_pace(Server *server, int ms)
{
	server->pace_ms = ms;
}

/* How it calls itself on error pages; other answers say it themselves. */
void
server_set_name(Server *server, const char *name)
{
	server->name = name;
}

/* The port it listens at. */
int
server_port(const Server *server)
{
	return server->port;
}
