/*-------------------------------------------------------------------------
 *
 * server.h
 *      A small HTTP server, with or without TLS.  As with Patroni's, which speaks
 *      HTTP/1.0, a connection ends with its answer; but clients that ask by GET
 *      and HTTP/1.1 may ask again on the same one (RFC 9112, section 9.3).
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_REST_SERVER_H
#define PATRONI_REST_SERVER_H

#include <stdint.h>

#include <sys/socket.h>

#include <event2/event.h>
#include <openssl/ssl.h>

#include "base/error.h"

#define SERVER_METHOD_MAX 16
#define SERVER_PATH_MAX   1024
#define SERVER_QUERY_MAX  4096
#define SERVER_AUTH_MAX   1024
#define SERVER_BODY_MAX   (1024 * 1024)

typedef struct Server Server;
typedef struct Connection Connection;

typedef struct ServerRequest
{
	char method[SERVER_METHOD_MAX]; /* letters only */
	char path[SERVER_PATH_MAX];     /* as sent, without the query */
	char query[SERVER_QUERY_MAX];   /* as sent, without the "?"; "" = none */
	bool is_repeatable; /* HTTP/1.1, without "Connection: close": the connection may go on */
	bool has_authorization;
	char authorization[SERVER_AUTH_MAX]; /* the header's value; "" also when it is too long */
	int64_t content_length;              /* -1 = no such header */
	struct sockaddr_storage from;
	bool has_certificate; /* the client has shown one, and it was verified */
} ServerRequest;

typedef struct ServerAnswer
{
	int status;
	const char *reason; /* NULL = the usual one */
	bool is_status_line_only;
	const char *server; /* value of the Server header */
	const char *content_type;
	const char *extra_headers; /* "" or whole lines, each with CRLF; NULL = none */
	const char *body;
} ServerAnswer;

typedef struct ServerConfig
{
	const char *host; /* "" or "*" = all interfaces */
	int port;         /* 0 = any */
	int backlog;
	/*
	 * A complete request.  Must lead to one connection_answer(), now or later;
	 * *connection is set to NULL when the client is gone before that, if
	 * connection_keep() told where it is.
	 */
	void (*handle)(void *context, Connection *connection, const ServerRequest *request);
	void *context;
} ServerConfig;

extern Server *server_start(struct event_base *base, const ServerConfig *config, Error *error);
extern void server_stop(Server *server); /* NULL is fine */
extern int server_port(const Server *server);
/*
 * Speak TLS on connections that come from now on; NULL: none.  The context is
 * shared, the caller may free its reference.
 */
extern void server_set_tls(Server *server, SSL_CTX *tls);
/*
 * How long a connection that goes on waits before its next request is read,
 * below 1000 ms; 0, as at first: not at all.
 */
extern void server_set_pace(Server *server, int ms);
/* The Server header of error pages; "" = none.  Borrowed, must stay. */
extern void server_set_name(Server *server, const char *name);
/*
 * Read the body of "length" bytes, at most SERVER_BODY_MAX, then call done();
 * with "body" NULL when the client went away or took too long: then the
 * connection is gone.  The body is borrowed, and ends with a NUL.
 */
typedef void (*ServerBodyDone)(void *arg, const char *body, size_t length);
extern void connection_read_body(Connection *connection, size_t length, ServerBodyDone done,
                                 void *arg);
/* The answer may take that long; without this it is some seconds. */
extern void connection_allow_seconds(Connection *connection, int seconds);
extern void connection_keep(Connection *connection, Connection **place);
extern void connection_answer(Connection *connection, const ServerAnswer *answer);
/* Python's error page, as Patroni's clients know it. */
extern void connection_error_page(Connection *connection, int status, const char *reason);

#endif /* PATRONI_REST_SERVER_H */
