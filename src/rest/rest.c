/*-------------------------------------------------------------------------
 *
 * rest.c
 *      Routes requests: which path is answered how.
 *
 * Each request asks the supervisor for the status first, also when another
 * one did so a moment ago: an answer is never older than its question.
 *
 * Invariants:
 *  (1) A client that goes away while its status is being found out leaves
 *      nothing behind but the Pending that the status callback frees.
 *  (2) rest_stop() may come while statuses are awaited; those that come later
 *      are ignored.
 *-------------------------------------------------------------------------
 */
#include "rest/rest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/version.h"
#include "rest/rest_internal.h"
#include "rest/server.h"

#define BACKLOG_DEFAULT 128
#define PENDING_MAX     512
#define HEADERS_MAX     2048

typedef struct Pending
{
	Rest *rest; /* NULL: rest_stop() was called */
	struct Pending *next;
	struct Pending *previous;
	Connection *connection; /* NULL: the client is gone */
	ServerRequest request;
} Pending;

struct Rest
{
	struct event_base *base;
	RestOps ops;
	RestListen listen;
	Server *server;
	int64_t started_ms;
	Pending *pending;
	int n_pending;
};

/* ------------------------------------------------------------------------
 * Answers
 * ------------------------------------------------------------------------
 */

static const json_t *
restapi_setting(const RestStatus *status, const char *key)
{
	return status->settings == NULL
	           ? NULL
	           : json_object_get(json_object_get(status->settings->document, "restapi"), key);
}

static const char *
server_token(const RestStatus *status)
{
	const char *tokens = json_string_value(restapi_setting(status, "server_tokens"));

	if (tokens != NULL && strcasecmp(tokens, "productonly") == 0)
		return "Patroni";
	if (tokens != NULL && strcasecmp(tokens, "minimal") == 0)
		return "Patroni/" PATRONI_PROTOCOL_VERSION;
	return "patroni_bgw/" PATRONI_BGW_VERSION;
}

/* restapi.http_extra_headers; what would break out of its line is left out. */
static void
extra_headers(const RestStatus *status, char *text, size_t size)
{
	const json_t *headers = restapi_setting(status, "http_extra_headers");
	size_t used = 0;
	const char *name;
	json_t *value;

	text[0] = '\0';
	json_object_foreach((json_t *) headers, name, value)
	{
		const char *content = json_string_value(value);

		if (content == NULL || strpbrk(content, "\r\n") != NULL ||
		    strpbrk(name, "\r\n: ") != NULL || used + strlen(name) + strlen(content) + 5 > size)
			continue;
		used += (size_t) snprintf(text + used, size - used, "%s: %s\r\n", name, content);
	}
}

static void
answer_status_line(Connection *connection, int code)
{
	ServerAnswer answer;

	memset(&answer, 0, sizeof(answer));
	answer.status = code;
	answer.is_status_line_only = true;
	connection_answer(connection, &answer);
}

/* Takes "body" over; NULL makes an error page. */
static void
answer_json(Connection *connection, const RestStatus *status, int code, char *body)
{
	char headers[HEADERS_MAX];
	ServerAnswer answer;

	if (body == NULL)
	{
		connection_error_page(connection, 503, NULL);
		return;
	}
	extra_headers(status, headers, sizeof(headers));
	memset(&answer, 0, sizeof(answer));
	answer.status = code;
	answer.server = server_token(status);
	answer.content_type = "application/json";
	answer.extra_headers = headers;
	answer.body = body;
	connection_answer(connection, &answer);
	free(body);
}

/* ------------------------------------------------------------------------
 * Routes
 * ------------------------------------------------------------------------
 */

/* Routing looks at the first element of the path: "/cluster/x" is /cluster. */
static bool
is_route(const char *path, const char *route)
{
	size_t length = strlen(route);

	return strncmp(path, route, length) == 0 && (path[length] == '\0' || path[length] == '/');
}

static void
route_get(const Rest *rest, Connection *connection, const ServerRequest *request,
          const RestFacts *facts, const RestQuery *query)
{
	const RestStatus *status = facts->status;
	const char *path = request->path;

	if (is_route(path, "/patroni"))
		answer_json(connection, status, 200, status_document(facts));
	else if (is_route(path, "/cluster"))
		answer_json(connection, status, 200, cluster_document(facts));
	else if (is_route(path, "/history") && facts->view != NULL)
		answer_json(connection, status, 200,
		            facts->view->n_history == 0
		                ? strdup("[]")
		                : history_to_text(facts->view->history, facts->view->n_history));
	else if (is_route(path, "/config") && facts->view != NULL && facts->view->config_json != NULL)
		answer_json(connection, status, 200, strdup(facts->view->config_json));
	else if (is_route(path, "/config"))
		connection_error_page(connection, 502, NULL);
	else if (is_route(path, "/liveness"))
		answer_status_line(connection, liveness_code(facts, rest->started_ms));
	else if (is_route(path, "/readiness"))
		answer_status_line(connection, readiness_code(facts, query));
	else
		answer_json(connection, status, health_code(facts, path, query), status_document(facts));
}

static void
pending_free(Pending *pending)
{
	Rest *rest = pending->rest;

	if (rest != NULL)
	{
		if (pending->previous != NULL)
			pending->previous->next = pending->next;
		else
			rest->pending = pending->next;
		if (pending->next != NULL)
			pending->next->previous = pending->previous;
		rest->n_pending--;
	}
	free(pending);
}

/* The supervisor found out how things are. */
static void
status_found(void *arg, const RestStatus *status)
{
	Pending *pending = arg;
	RestFacts facts;
	RestQuery query;

	if (pending->rest != NULL && pending->connection != NULL)
	{
		query_parse(&query, pending->request.query);
		rest_facts(&facts, status, clock_now_ms(), clock_wall_ms());
		if (strcmp(pending->request.method, "GET") == 0)
			route_get(pending->rest, pending->connection, &pending->request, &facts, &query);
		else
			answer_status_line(pending->connection,
			                   health_code(&facts, pending->request.path, &query));
	}
	pending_free(pending);
}

static bool
is_allowed(const char *method)
{
	return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0 ||
	       strcmp(method, "OPTIONS") == 0;
}

static void
handle_request(void *context, Connection *connection, const ServerRequest *request)
{
	Rest *rest = context;
	Pending *pending;
	char reason[64];

	if (!is_allowed(request->method))
	{
		snprintf(reason, sizeof(reason), "Unsupported method ('%s')", request->method);
		connection_error_page(connection, 501, reason);
		return;
	}
	pending = rest->n_pending < PENDING_MAX ? calloc(1, sizeof(Pending)) : NULL;
	if (pending == NULL)
	{
		connection_error_page(connection, 503, NULL);
		return;
	}
	pending->rest = rest;
	pending->request = *request;
	pending->connection = connection;
	pending->next = rest->pending;
	if (pending->next != NULL)
		pending->next->previous = pending;
	rest->pending = pending;
	rest->n_pending++;
	connection_keep(connection, &pending->connection);
	if (rest->ops.log != NULL)
	{
		char line[SERVER_METHOD_MAX + SERVER_PATH_MAX + 32];

		snprintf(line, sizeof(line), "REST request %s %s", request->method, request->path);
		rest->ops.log(rest->ops.context, 0, line);
	}
	rest->ops.status(rest->ops.context, status_found, pending);
}

/* ------------------------------------------------------------------------
 * Life
 * ------------------------------------------------------------------------
 */

static Server *
listen_at(Rest *rest, const RestListen *listen, Error *error)
{
	ServerConfig config;

	memset(&config, 0, sizeof(config));
	config.host = listen->host;
	config.port = listen->port;
	config.backlog = listen->backlog > 0 ? listen->backlog : BACKLOG_DEFAULT;
	config.handle = handle_request;
	config.context = rest;
	return server_start(rest->base, &config, error);
}

/* Start to serve; NULL and *error when it cannot listen there. */
Rest *
rest_start(struct event_base *base, const RestOps *ops, const RestListen *listen, Error *error)
{
	Rest *rest = calloc(1, sizeof(Rest));

	if (rest == NULL)
	{
		error_set(error, "out of memory");
		return NULL;
	}
	rest->base = base;
	rest->ops = *ops;
	rest->listen = *listen;
	rest->started_ms = clock_now_ms();
	rest->server = listen_at(rest, listen, error);
	if (rest->server == NULL)
	{
		error_wrap(error, "could not start the REST API");
		free(rest);
		return NULL;
	}
	rest->listen.port = server_port(rest->server);
	return rest;
}

/*
 * Stop serving; open connections are closed.  A status that is still awaited
 * may come later.  NULL is fine.
 */
void
rest_stop(Rest *rest)
{
	if (rest == NULL)
		return;
	server_stop(rest->server);
	for (Pending *pending = rest->pending; pending != NULL; pending = pending->next)
		pending->rest = NULL;
	free(rest);
}

/*
 * Listen at another address; does nothing when it is the same.  On false the
 * old one stays.  Where both would collide (same port, other interface) the
 * old socket is closed first, and opened again when the new one fails.
 */
bool
rest_reconfigure(Rest *rest, const RestListen *listen, Error *error)
{
	Server *server;
	Error ignored;

	if (strcmp(rest->listen.host, listen->host) == 0 && rest->listen.port == listen->port &&
	    rest->listen.backlog == listen->backlog)
		return true;
	if (listen->port == rest->listen.port)
	{
		server_stop(rest->server);
		rest->server = listen_at(rest, listen, error);
		if (rest->server == NULL)
		{
			rest->server = listen_at(rest, &rest->listen, &ignored);
			return error_wrap(error, "could not move the REST API");
		}
	}
	else
	{
		server = listen_at(rest, listen, error);
		if (server == NULL)
			return error_wrap(error, "could not move the REST API");
		server_stop(rest->server);
		rest->server = server;
	}
	rest->listen = *listen;
	rest->listen.port = server_port(rest->server);
	return true;
}

/* The port it listens at; 0 when it does not. */
int
rest_port(const Rest *rest)
{
	return rest->server == NULL ? 0 : server_port(rest->server);
}
