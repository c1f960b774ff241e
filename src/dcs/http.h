/*-------------------------------------------------------------------------
 *
 * http.h
 *      HTTP requests that never block, over libcurl's multi interface.
 *
 * Shared by the drivers and by whoever asks peers over REST.  One Http holds
 * an epoll descriptor with all of its sockets.  Signals are blocked around
 * each libcurl call that may start a resolver thread, so that such a thread
 * never takes a signal meant for the server; CURLOPT_NOSIGNAL is on.  Only
 * http and https are spoken and redirects are not followed.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_DCS_HTTP_H
#define PATRONI_DCS_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

typedef struct Http Http;
typedef struct HttpRequest HttpRequest;

typedef enum HttpOutcome
{
	HTTP_ANSWERED,				/* a complete answer; look at status */
	HTTP_NOT_SENT,				/* no connection: the request certainly did not happen */
	HTTP_UNKNOWN,				/* sent, no complete answer */
} HttpOutcome;

typedef struct HttpAnswer
{
	HttpOutcome outcome;
	int			status;			/* HTTP status code */
	bool		repeated;		/* sent again after a kept connection died: it may
								 * have happened once before this answer */
	const char *body;			/* NUL-terminated; valid during the callback */
	size_t		length;
	const Error *error;			/* set when outcome is not HTTP_ANSWERED */
} HttpAnswer;

typedef struct HttpOptions
{
	const char *method;			/* "GET", "POST", ... */
	const char *url;
	const char *body;			/* NULL = none */
	const char *content_type;	/* NULL = application/json when there is a body */
	const char *authorization;	/* value of that header or NULL; never logged */
	const char *username;		/* Basic, or NULL */
	const char *password;
	const char *cacert, *cert, *key, *key_password, *proxy;	/* NULL or "" = none */
	bool		insecure;		/* do not verify the server's certificate */
	bool		any_host;		/* verify it, but not for whom it was made */
	int			connect_timeout_ms;
	int			timeout_ms;		/* of the whole request; 0 = none (streams) */
	int			dead_peer_ms;	/* TCP keepalive and TCP_USER_TIMEOUT; 0 = off */
	size_t		body_max;		/* bound of the answer; 0 = 16 MiB */
	/* Called once at the end, from http_process(). */
	void		(*done) (void *context, const HttpAnswer *answer);
	/*
	 * Streams: called for each piece, from http_process() but outside of
	 * libcurl's frames, so that it may start and cancel requests (its own
	 * too); return false to end the transfer ("done" is then called).
	 */
	bool		(*data) (void *context, const char *data, size_t length);
	void	   *context;
} HttpOptions;

extern bool http_open(Http **http, Error *error) MUST_CHECK;
extern void http_close(Http *http);			/* no callbacks are called; NULL is fine */
extern int	http_fd(const Http *http);
extern int	http_timeout_ms(const Http *http, int64_t now_ms);	/* -1 = none */
extern void http_process(Http *http, int64_t now_ms);
/* Starts a request; NULL if there is no memory.  Texts are copied. */
extern HttpRequest *http_start(Http *http, const HttpOptions *options);
/* Ends it without a callback; not allowed after "done" was called. */
extern void http_cancel(HttpRequest *request);

#endif							/* PATRONI_DCS_HTTP_H */
