/*-------------------------------------------------------------------------
 *
 * rest.c
 *      Routes requests: which path is answered how.
 *
 * A question asks the supervisor for the status first, also when another one
 * did so a moment ago: an answer is never older than its question.  A call
 * that changes something is checked for who may make it before its body is
 * read, and then given to the supervisor.
 *
 * Invariants:
 *  (1) A client that goes away while its status is being found out or its
 *      call is being done leaves nothing behind but the Pending that the
 *      callback frees.
 *  (2) rest_stop() may come while statuses and results are awaited; those
 *      that come later are ignored.
 *  (3) No call reaches the supervisor that access_code() did not allow.
 *-------------------------------------------------------------------------
 */
#include "rest/rest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "rest/rest_internal.h"
#include "rest/server.h"
#include "rest/tls.h"

#define BACKLOG_DEFAULT 128
#define PENDING_MAX     512
#define CALL_SECONDS    10 /* beyond what a call may take, to hear of its end */
#define PACE_MS         5

typedef enum BodyKind
{
	BODY_NONE,
	BODY_OPTIONAL, /* absent: an empty object */
	BODY_NEEDED,   /* an object that is not empty */
} BodyKind;

typedef struct Pending
{
	Rest *rest; /* NULL: rest_stop() was called */
	struct Pending *next;
	struct Pending *previous;
	Connection *connection; /* NULL: the client is gone */
	ServerRequest request;
	RestCall call; /* when it changes something */
	BodyKind body;
} Pending;

/* The calls that change something. */
static const struct
{
	const char *method;
	const char *path;
	RestCall call;
	BodyKind body;
} calls[] = {
	{ "PATCH", "/config", REST_PATCH_CONFIG, BODY_NEEDED },
	{ "PUT", "/config", REST_PUT_CONFIG, BODY_NEEDED },
	{ "POST", "/reload", REST_RELOAD, BODY_NONE },
	{ "POST", "/switchover", REST_SWITCHOVER, BODY_NEEDED },
	{ "POST", "/failover", REST_FAILOVER, BODY_NEEDED },
	{ "DELETE", "/switchover", REST_DELETE_SWITCHOVER, BODY_NONE },
	{ "POST", "/restart", REST_RESTART, BODY_OPTIONAL },
	{ "DELETE", "/restart", REST_DELETE_RESTART, BODY_NONE },
	{ "POST", "/reinitialize", REST_REINITIALIZE, BODY_OPTIONAL },
	{ "POST", "/sigterm", REST_SIGTERM, BODY_NONE },
	{ "POST", "/citus", REST_MPP, BODY_NEEDED },
	{ "POST", "/mpp", REST_MPP, BODY_NEEDED },
	{ "POST", "/failsafe", REST_FAILSAFE, BODY_NEEDED },
};

struct Rest
{
	struct event_base *base;
	RestOps ops;
	RestListen listen;
	Server *server;
	SSL_CTX *tls; /* NULL = plain HTTP */
	Allowlist *allowlist;
	struct event *look_timer; /* names of the allowlist */
	int64_t started_ms;
	char *document; /* of the last status, owned; NULL = none */
	RestFacts document_facts; /* only what is no pointer */
	uint64_t document_number;
	Pending *pending;
	int n_pending;
};

/* ------------------------------------------------------------------------
 * Answers
 * ------------------------------------------------------------------------
 */

/* Takes "body" over; NULL makes an error page. */
static void
answer_owned(Connection *connection, const RestStatus *status, int code, const char *content_type,
             char *body)
{
	if (body == NULL)
	{
		connection_error_page(connection, 503, NULL);
		return;
	}
	answer_text(connection, status->settings, code, content_type, "", body);
	free(body);
}

static void
answer_json(Connection *connection, const RestStatus *status, int code, char *body)
{
	answer_owned(connection, status, code, "application/json", body);
}

/* ------------------------------------------------------------------------
 * Routes
 * ------------------------------------------------------------------------
 */

/*
 * The status as JSON.  Many who ask at a time are answered from one look at the
 * server; they get one document.  Borrowed; NULL: no memory.
 */
static const char *
shared_document(Rest *rest, const RestFacts *facts)
{
	const RestFacts *then = &rest->document_facts;

	if (rest->document != NULL && facts->status->number != 0 &&
	    rest->document_number == facts->status->number && then->now_ms == facts->now_ms &&
	    then->is_fence_open == facts->is_fence_open && then->is_leader == facts->is_leader)
		return rest->document;
	free(rest->document);
	rest->document = status_document(facts);
	rest->document_facts = *facts;
	rest->document_number = facts->status->number;
	return rest->document;
}

static void
answer_status(Rest *rest, Connection *connection, const RestFacts *facts, int code)
{
	const char *document = shared_document(rest, facts);

	if (document == NULL)
		connection_error_page(connection, 503, NULL);
	else
		answer_text(connection, facts->status->settings, code, "application/json", "", document);
}

/* Routing looks at the first element of the path: "/cluster/x" is /cluster. */
static bool
is_route(const char *path, const char *route)
{
	size_t length = strlen(route);

	return strncmp(path, route, length) == 0 && (path[length] == '\0' || path[length] == '/');
}

static void
route_get(Rest *rest, Connection *connection, const ServerRequest *request,
          const RestFacts *facts, const RestQuery *query)
{
	const RestStatus *status = facts->status;
	const char *path = request->path;
	char *document;
	int code;

	if (is_route(path, "/patroni"))
		answer_status(rest, connection, facts, 200);
	else if (is_route(path, LEADER_KEY_ROUTE))
	{
		document = leader_key_document(facts, path, &code);
		answer_json(connection, status, code, document);
	}
	else if (is_route(path, "/cluster"))
		answer_json(connection, status, 200, cluster_document(facts));
	else if (is_route(path, "/history") && facts->view != NULL)
		answer_json(connection, status, 200,
		            facts->view->n_history == 0
		                ? strdup("[]")
		                : history_to_text(facts->view->history, facts->view->n_history));
	else if (is_route(path, "/config") && facts->view != NULL && facts->view->config_json != NULL)
		answer_json(connection, status, 200, strdup(facts->view->config_json));
	else if (is_route(path, "/failsafe") && status->view != NULL && status->view->failsafe_json != NULL)
		/* the last one known: it is asked for when the store does not answer */
		answer_json(connection, status, 200, strdup(status->view->failsafe_json));
	else if (is_route(path, "/config") || is_route(path, "/failsafe"))
		connection_error_page(connection, 502, NULL);
	else if (is_route(path, "/history"))
		connection_error_page(connection, 503, NULL);
	else if (is_route(path, "/metrics"))
		answer_owned(connection, status, 200, "text/plain", metrics_document(facts));
	else if (is_route(path, "/liveness"))
		answer_status_line(connection, liveness_code(facts, rest->started_ms));
	else if (is_route(path, "/readiness"))
		answer_status_line(connection, readiness_code(facts, query));
	else
		answer_status(rest, connection, facts, health_code(facts, path, query));
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

	/* who drives stops and starts the server, and that is what all wait for */
	if (pending->rest != NULL)
		server_set_pace(pending->rest->server, status->is_remembered ? PACE_MS : 0);
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

/* What is remembered of a request until it can be answered; NULL: it is answered. */
static Pending *
pending_create(Rest *rest, Connection *connection, const ServerRequest *request)
{
	Pending *pending = rest->n_pending < PENDING_MAX ? calloc(1, sizeof(Pending)) : NULL;

	if (pending == NULL)
	{
		connection_error_page(connection, 503, NULL);
		return NULL;
	}
	pending->rest = rest;
	pending->request = *request;
	explicit_bzero(pending->request.authorization, sizeof(pending->request.authorization));
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
	return pending;
}

/*
 * How long a call may take until its answer is "unknown" (patroni/api.py,
 * poll_failover_result(); a restart: do_POST_restart()).
 */
int
rest_call_seconds(const Settings *settings, RestCall call, const json_t *body)
{
	int64_t seconds = settings == NULL ? 0 : settings->loop_wait_ms / 1000;

	if (seconds > 3600)
		seconds = 3600;
	seconds = 2 * (seconds > 10 ? seconds : 10);
	if (call == REST_RESTART && settings != NULL)
	{
		int64_t wanted;

		if (!value_to_int(json_object_get(body, "timeout"), "s", &wanted) || wanted <= 0)
			wanted = settings->primary_start_timeout_ms / 1000;
		seconds = wanted > 86400 ? 86400 : wanted > seconds ? wanted : seconds;
	}
	return (int) seconds;
}

/* The supervisor did what was asked for, or did not. */
static void
call_done(void *arg, const RestResult *result)
{
	Pending *pending = arg;
	Rest *rest = pending->rest;

	if (rest != NULL && pending->connection != NULL)
	{
		char header[64] = "";

		if (result->lsn != 0)
			snprintf(header, sizeof(header), "lsn: %llu\r\n", (unsigned long long) result->lsn);
		if (result->text == NULL)
			connection_error_page(pending->connection, result->status, NULL);
		else
			answer_text(pending->connection, rest->ops.settings(rest->ops.context), result->status,
			            result->is_json ? "application/json" : "text/html", header, result->text);
	}
	pending_free(pending);
}

static void
make_call(Pending *pending, const json_t *body)
{
	const Rest *rest = pending->rest;

	connection_allow_seconds(pending->connection,
	                         rest_call_seconds(rest->ops.settings(rest->ops.context),
	                                           pending->call, body) +
	                             CALL_SECONDS);
	rest->ops.call(rest->ops.context, pending->call, body, call_done, pending);
}

/* The body is there; NULL: the client is gone. */
static void
body_read(void *arg, const char *text, size_t length)
{
	Pending *pending = arg;
	json_t *body = text == NULL ? NULL : json_loadb(text, length, 0, NULL);

	if (text == NULL)
		pending_free(pending);
	else if (!json_is_object(body) ||
	         (json_object_size(body) == 0 && pending->body == BODY_NEEDED))
	{
		connection_error_page(pending->connection, 400, NULL);
		pending_free(pending);
	}
	else
		make_call(pending, body);
	json_decref(body);
}

/* 0, or the error page for a body that cannot be read. */
static int
body_code(BodyKind kind, int64_t length)
{
	if (kind == BODY_NEEDED && length <= 0)
		return length < 0 ? 411 : 400;
	return kind != BODY_NONE && length > SERVER_BODY_MAX ? 413 : 0;
}

static const ClusterView *
rest_view(const Rest *rest)
{
	return rest->ops.view == NULL ? NULL : rest->ops.view(rest->ops.context);
}

static void
handle_call(Rest *rest, Connection *connection, const ServerRequest *request, size_t index)
{
	const Settings *settings = rest->ops.settings(rest->ops.context);
	const char *text;
	Pending *pending;
	int code;

	code = access_code(settings, rest->allowlist, rest_view(rest), request,
	                   calls[index].call == REST_FAILSAFE, &text);
	if (code != 0)
	{
		answer_text(connection, settings, code, "text/html",
		            code == 401 ? "WWW-Authenticate: Basic realm=\"Patroni\"\r\n" : "", text);
		return;
	}
	code = body_code(calls[index].body, request->content_length);
	if (code != 0)
	{
		connection_error_page(connection, code, NULL);
		return;
	}
	pending = pending_create(rest, connection, request);
	if (pending == NULL)
		return;
	pending->call = calls[index].call;
	pending->body = calls[index].body;
	if (pending->body == BODY_NONE)
		make_call(pending, NULL);
	else if (request->content_length > 0)
		connection_read_body(connection, (size_t) request->content_length, body_read, pending);
	else
	{
		json_t *empty = json_pack("{}");

		make_call(pending, empty);
		json_decref(empty);
	}
}

static void
handle_request(void *context, Connection *connection, const ServerRequest *request)
{
	Rest *rest = context;
	Pending *pending;
	char reason[64];

	for (size_t i = 0; rest->ops.call != NULL && i < sizeof(calls) / sizeof(calls[0]); i++)
	{
		if (strcmp(request->method, calls[i].method) == 0 && is_route(request->path, calls[i].path))
		{
			handle_call(rest, connection, request, i);
			return;
		}
	}
	if (!is_allowed(request->method))
	{
		snprintf(reason, sizeof(reason), "Unsupported method ('%s')", request->method);
		connection_error_page(connection, 501, reason);
		return;
	}
	pending = pending_create(rest, connection, request);
	if (pending != NULL)
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
	Server *server;

	memset(&config, 0, sizeof(config));
	config.host = listen->host;
	config.port = listen->port;
	config.backlog = listen->backlog > 0 ? listen->backlog : BACKLOG_DEFAULT;
	config.handle = handle_request;
	config.context = rest;
	server = server_start(rest->base, &config, error);
	if (server != NULL)
	{
		server_set_tls(server, rest->tls);
		server_set_name(server, server_token(rest->ops.settings(rest->ops.context)));
	}
	return server;
}

/* Names of the allowlist are looked up in the background; this looks for the answers. */
static void
look_due(evutil_socket_t fd, short what, void *arg)
{
	Rest *rest = arg;
	struct timeval busy = { 0, 100000 };
	struct timeval idle = { 1, 0 };
	bool is_busy;

	(void) fd;
	(void) what;
	if (!allowlist_is_used(rest->allowlist))
		return;
	is_busy = allowlist_look(rest->allowlist, rest_view(rest), clock_now_ms());
	event_add(rest->look_timer, is_busy ? &busy : &idle);
}

/* The certificate's files as they are now, and the allowlist. */
static bool
take_settings(Rest *rest, Error *error)
{
	const Settings *settings = rest->ops.settings(rest->ops.context);
	SSL_CTX *tls;

	allowlist_configure(rest->allowlist, settings);
	look_due(-1, 0, rest);
	if (!tls_context(&tls, settings, error))
		return error_wrap(error, "could not set up HTTPS");
	SSL_CTX_free(rest->tls);
	rest->tls = tls;
	if (rest->server != NULL)
	{
		server_set_tls(rest->server, tls);
		server_set_name(rest->server, server_token(settings));
	}
	return true;
}

/* restapi.listen and restapi.request_queue_size. */
void
rest_listen_from_settings(RestListen *listen, const Settings *settings)
{
	int64_t backlog;

	memset(listen, 0, sizeof(*listen));
	snprintf(listen->host, sizeof(listen->host), "%s", settings->restapi_listen.host);
	listen->port = settings->restapi_listen.port;
	if (value_to_int(restapi_setting(settings, "request_queue_size"), NULL, &backlog) &&
	    backlog > 0 && backlog <= 4096)
		listen->backlog = (int) backlog;
}

static void
rest_free(Rest *rest)
{
	allowlist_free(rest->allowlist);
	if (rest->look_timer != NULL)
		event_free(rest->look_timer);
	SSL_CTX_free(rest->tls);
	free(rest->document);
	free(rest);
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
	rest->allowlist = allowlist_create();
	rest->look_timer = evtimer_new(base, look_due, rest);
	if (rest->allowlist == NULL || rest->look_timer == NULL)
		error_set(error, "out of memory");
	else if (take_settings(rest, error))
		rest->server = listen_at(rest, listen, error);
	if (rest->server == NULL)
	{
		error_wrap(error, "could not start the REST API");
		rest_free(rest);
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
	rest_free(rest);
}

/*
 * Where both addresses would collide (same port, other interface) the old socket
 * is closed first, and opened again when the new one fails.
 */
static bool
move(Rest *rest, const RestListen *listen, Error *error)
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

/* Take over changed settings.  On false what could not be changed stays as it was. */
bool
rest_reconfigure(Rest *rest, const RestListen *listen, Error *error)
{
	bool is_taken = take_settings(rest, error);

	return move(rest, listen, error) && is_taken;
}

/* The port it listens at; 0 when it does not. */
int
rest_port(const Rest *rest)
{
	return rest->server == NULL ? 0 : server_port(rest->server);
}
