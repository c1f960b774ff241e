/*-------------------------------------------------------------------------
 *
 * etcd3.c
 *      The driver for etcd 3.3 and later, through its JSON gateway.
 *
 * Three layers.  A *call* is one question to the store: it looks for an
 * endpoint that answers, gets a token if one is needed, and ends as answered,
 * refused, not sent or unknown.  An *operation* is a request of the front,
 * made of one to four calls.  The *follower* learns version, members and
 * keys, and keeps one watch open that goes on at its revision.
 *
 * Invariants:
 *  (1) A write is repeated only when it certainly did not happen.
 *  (2) The leader key is only created, moved to another lease or deleted by a
 *      compare, and created by DCS_ACQUIRE_LEADER only.
 *  (3) sent_at_ms of a reply that says "we hold the key" is taken before the
 *      request that last extended the lease was sent, and the key was read from
 *      etcd itself after that.  The cache may not know yet that it is gone.
 *  (4) The watch goes on at the highest revision whose events were applied,
 *      plus one; nothing is skipped.  Where that is impossible all is read.
 *  (5) A healthy watch was heard of, or compared with a linearizable read by
 *      one of the node's homes, within the last two thirds of ttl.
 *-------------------------------------------------------------------------
 */
#include "dcs/dcs_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "dcs/base64.h"
#include "dcs/etcd3_internal.h"
#include "dcs/http.h"
#include "dcs/stream.h"

#define ENDPOINTS_MAX		32
#define ENDPOINT_URL_MAX	320
#define BACKOFF_MIN_MS		100
#define BACKOFF_MAX_MS		500
#define TRY_MIN_MS			1000
#define REAUTH_MAX			2
#define STALE_CHECK_MS		500

typedef struct Etcd3 Etcd3;
typedef struct Call Call;

typedef enum CallOutcome
{
	CALL_ANSWERED,				/* status 200 and JSON */
	CALL_REFUSED,				/* an error that says: it did not happen */
	CALL_NOT_SENT,
	CALL_UNKNOWN,
} CallOutcome;

typedef struct CallResult
{
	CallOutcome outcome;
	const json_t *answer;		/* CALL_ANSWERED; borrowed */
	Etcd3Error	refusal;		/* CALL_REFUSED */
	bool		repeated;		/* it may have happened before this answer */
	int64_t		sent_at_ms;		/* of the attempt that was answered */
	Error		error;
} CallResult;

typedef enum CallState
{
	CALL_WAITING,				/* for the version, for a token or for a pause to end */
	CALL_RUNNING,
} CallState;

struct Call
{
	Etcd3	   *etcd;
	Call	   *next;
	CallState	state;
	const char *path;			/* "/kv/range" */
	char	   *body;			/* owned; NULL = GET, without the API prefix */
	bool		is_idempotent;	/* may be repeated when its outcome is unknown */
	bool		is_single_pass; /* fail when no endpoint answered once */
	bool		needs_token;
	int64_t		deadline_ms;
	int64_t		pause_until_ms;
	int			backoff_ms;
	uint32_t	tried;			/* endpoints of this pass, a bit each */
	int			endpoint;
	unsigned	generation;		/* of the endpoint list */
	unsigned	token_number;	/* used with this attempt */
	int			n_reauths;
	int64_t		sent_at_ms;
	bool		may_be_done;	/* an earlier attempt was sent */
	HttpRequest *http;
	DcsPending *pending;		/* NULL: the follower's own */
	void		(*done) (Call *call, const CallResult *result);
	Error		last_error;
};

typedef enum WatchState
{
	WATCH_NONE,
	WATCH_STARTING,
	WATCH_HEALTHY,
} WatchState;

/* Where an operation stands; kept in DcsPending.driver_data. */
typedef struct Operation
{
	Etcd3	   *etcd;
	Call	   *call;			/* under way, or NULL */
	bool		granted;		/* a new lease was granted for it */
	bool		waits;			/* for the lease that another operation is granting */
	int64_t		session_sent_at_ms; /* before the lease was extended */
	uint64_t	extended_revision;	/* of the store when it was extended; 0 = not known */
	char		session[CLUSTER_SESSION_MAX];	/* that the key was written under */
	bool		was_refused;	/* the compare failed; the key is being looked at */
	Error		error;			/* why its outcome is not known */
} Operation;

struct Etcd3
{
	Dcs		   *dcs;
	Http	   *http;
	char		prefix_key[400];	/* "/service/batman/" */
	char	   *prefix_end;
	char		leader_key[400];
	char		promotions_key[400];
	char		history_key[400];
	char		failsafe_key[400];

	char		endpoints[ENDPOINTS_MAX][ENDPOINT_URL_MAX];
	int			n_endpoints;
	int			current;
	unsigned	generation;
	bool		members_are_due;
	int64_t		members_at_ms;	/* when they were learned */

	char		api[16];		/* "/v3"; "" = not known yet */
	uint64_t	cluster_id;
	uint64_t	raft_term;

	char		token[2048];
	unsigned	token_number;
	bool		auth_is_disabled;
	Call	   *auth_call;
	int64_t		auth_after_ms;	/* not before this time again */

	int64_t		session_sent_at_ms; /* before the last extension; 0 = not known */
	int64_t		session_ttl_s;		/* that was asked for; 0 = somebody else's */
	DcsPending *granting;		/* the one that is getting a lease for all */

	Call	   *calls;

	/* the follower */
	Call	   *sync_call;
	int64_t		sync_at_ms;		/* -1: nothing to do */
	int			sync_backoff_ms;
	bool		needs_load;
	bool		load_linearizable;
	HttpRequest *watch;
	JsonStream	stream;
	WatchState	watch_state;
	int			watch_endpoint;
	bool		watch_is_ending;	/* told inside the stream's own callback */
	char		watch_error[300];
	uint64_t	watch_revision; /* all events up to here are applied */
	uint64_t	checked_revision;	/* a probe found that there are none up to here */
	uint64_t	extended_revision;	/* of the store when the session was last extended */
	int64_t		extended_ms;
	int64_t		watch_deadline_ms;
	int			n_watch_failures;
	Call	   *probe_call;
	int64_t		probe_at_ms;
	uint64_t	probe_revision;		/* of the watch when the probe was started */
	bool		is_suspect;			/* a probe saw what the watch had not told */
	uint64_t	suspect_revision;	/* of the watch at that time */
	int64_t		suspect_until_ms;	/* by then it must be right again */
};

static void call_try(Call *call, int64_t now_ms);
static void calls_kick(Etcd3 *etcd, int64_t now_ms);
static void watch_failed(Etcd3 *etcd, int64_t now_ms, const char *why);
static char *value_of(const json_t *kv);
static void session_of(const json_t *kv, char session[CLUSTER_SESSION_MAX]);
static void operation_leader_step(DcsPending *pending);
static void operation_write(DcsPending *pending);
static void operation_grant(DcsPending *pending, Etcd3 *etcd);

static inline Etcd3 *
etcd_of(const Dcs *dcs)
{
	return (Etcd3 *) dcs->driver_data;
}

static int64_t
ttl_s(const Etcd3 *etcd)
{
	return (etcd->dcs->config.ttl_ms + 999) / 1000;
}

static int
dead_peer_ms(const Etcd3 *etcd)
{
	int64_t		third = etcd->dcs->config.ttl_ms / 3;

	return third < 1000 ? 1000 : (int) third;
}

/*
 * How long a watch is believed that nobody has checked.  Longer than half of ttl:
 * each renewal of the session checks it, and that long a member at rest waits.
 */
static int
probe_interval_ms(const Etcd3 *etcd)
{
	return dead_peer_ms(etcd) * 7 / 4;
}

/* ---------------------------------------------------------------- endpoints */

static bool
endpoint_add(Etcd3 *etcd, const char *url)
{
	char		clean[ENDPOINT_URL_MAX];
	size_t		n;
	int			i;

	if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
		return false;
	if (snprintf(clean, sizeof(clean), "%s", url) >= (int) sizeof(clean))
		return false;
	for (n = strlen(clean); n > 0 && clean[n - 1] == '/'; n--)
		clean[n - 1] = '\0';
	for (i = 0; i < etcd->n_endpoints; i++)
		if (strcmp(etcd->endpoints[i], clean) == 0)
			return true;
	if (etcd->n_endpoints >= ENDPOINTS_MAX)
		return false;
	snprintf(etcd->endpoints[etcd->n_endpoints++], ENDPOINT_URL_MAX, "%s", clean);
	return true;
}

/* "host", "host:port", "[v6]:port" or a URL; 2379 is the default port. */
static void
endpoint_add_host(Etcd3 *etcd, const char *host)
{
	char		url[ENDPOINT_URL_MAX];
	const char *protocol = etcd->dcs->config.protocol[0] != '\0' ? etcd->dcs->config.protocol : "http";
	const char *bracket = strrchr(host, ']');
	const char *colon = strrchr(host, ':');
	bool		has_port = colon != NULL && (bracket == NULL || colon > bracket);

	if (strstr(host, "://") != NULL)
		(void) endpoint_add(etcd, host);
	else if (snprintf(url, sizeof(url), "%s://%s%s", protocol, host,
					  has_port ? "" : ":2379") < (int) sizeof(url))
		(void) endpoint_add(etcd, url);
}

static void
endpoints_from_config(Etcd3 *etcd)
{
	const DcsConfig *config = &etcd->dcs->config;
	int			i;

	if (config->proxy[0] != '\0')
		endpoint_add_host(etcd, config->proxy);
	else
		for (i = 0; i < config->n_hosts; i++)
			endpoint_add_host(etcd, config->hosts[i]);
}

/* The list was rebuilt: indexes into the old one mean nothing any more. */
static void
endpoints_were_replaced(Etcd3 *etcd, const char *current, const char *watched)
{
	Call	   *call;
	int			i;

	etcd->generation++;
	etcd->current = 0;
	etcd->watch_endpoint = -1;
	for (i = 0; i < etcd->n_endpoints; i++)
	{
		if (strcmp(etcd->endpoints[i], current) == 0)
			etcd->current = i;
		if (strcmp(etcd->endpoints[i], watched) == 0)
			etcd->watch_endpoint = i;
	}
	for (call = etcd->calls; call != NULL; call = call->next)
		call->tried = 0;
}

/*
 * Use the members' client URLs.  The configured hosts stay in the list, at
 * its end: members may advertise addresses that cannot be reached from here.
 */
static void
endpoints_learn(Etcd3 *etcd, const json_t *answer)
{
	const json_t *members = json_object_get(answer, "members");
	char		current[ENDPOINT_URL_MAX];
	char		watched[ENDPOINT_URL_MAX] = "";
	size_t		i;
	size_t		k;
	bool		any = false;

	for (i = 0; i < json_array_size(members); i++)
		if (json_array_size(json_object_get(json_array_get(members, i), "clientURLs")) > 0)
			any = true;
	if (!any)
		return;
	memcpy(current, etcd->endpoints[etcd->current], sizeof(current));
	if (etcd->watch_endpoint >= 0)
		memcpy(watched, etcd->endpoints[etcd->watch_endpoint], sizeof(watched));
	etcd->n_endpoints = 0;
	for (i = 0; i < json_array_size(members); i++)
	{
		const json_t *urls = json_object_get(json_array_get(members, i), "clientURLs");

		for (k = 0; k < json_array_size(urls); k++)
			if (json_is_string(json_array_get(urls, k)))
				(void) endpoint_add(etcd, json_string_value(json_array_get(urls, k)));
	}
	endpoints_from_config(etcd);
	endpoints_were_replaced(etcd, current, watched);
}

/* A request to this endpoint went wrong: prefer another one. */
static void
endpoint_failed(Etcd3 *etcd, int endpoint, int64_t now_ms)
{
	if (etcd->current == endpoint)
		etcd->current = (endpoint + 1) % etcd->n_endpoints;
	if (etcd->watch_endpoint != endpoint || etcd->watch_state != WATCH_HEALTHY)
		return;
	if (etcd->n_endpoints > 1)
		watch_failed(etcd, now_ms, "its endpoint does not answer");
	else if (etcd->probe_call == NULL && etcd->probe_at_ms > now_ms)
		etcd->probe_at_ms = now_ms;
}

/*
 * Look at an answer's header.  False: it comes from a member that was left
 * behind, and what it reads must not be believed (Patroni 4.x,
 * patroni/dcs/etcd.py, _check_cluster_raft_term()).
 */
static bool
header_is_current(Etcd3 *etcd, const json_t *answer)
{
	const json_t *header = json_object_get(answer, "header");
	uint64_t	cluster_id = etcd3_number(json_object_get(header, "cluster_id"));
	uint64_t	raft_term = etcd3_number(json_object_get(header, "raft_term"));

	if (cluster_id != 0 && cluster_id != etcd->cluster_id)
	{
		if (etcd->cluster_id != 0)
		{
			dcs_log(etcd->dcs, 2, "id of the etcd cluster changed from %" PRIu64 " to %" PRIu64,
					etcd->cluster_id, cluster_id);
			etcd->needs_load = etcd->load_linearizable = true;
		}
		etcd->cluster_id = cluster_id;
		etcd->raft_term = 0;
	}
	if (raft_term != 0 && raft_term < etcd->raft_term)
		return false;
	if (raft_term > etcd->raft_term)
		etcd->raft_term = raft_term;
	return true;
}

/* ---------------------------------------------------------------- calls */

static Call *
call_start(Etcd3 *etcd, const char *path, char *body, int64_t deadline_ms,
		   void (*done) (Call *call, const CallResult *result), DcsPending *pending)
{
	Call	   *call = calloc(1, sizeof(*call));

	if (call == NULL)
	{
		free(body);
		return NULL;
	}
	call->etcd = etcd;
	call->path = path;
	call->body = body;
	call->deadline_ms = deadline_ms;
	call->done = done;
	call->pending = pending;
	call->needs_token = true;
	call->backoff_ms = BACKOFF_MIN_MS;
	call->next = etcd->calls;
	etcd->calls = call;
	return call;
}

static void
call_free(Call *call)
{
	Call	  **link;

	for (link = &call->etcd->calls; *link != NULL; link = &(*link)->next)
		if (*link == call)
		{
			*link = call->next;
			break;
		}
	http_cancel(call->http);
	if (call->body != NULL)
		explicit_bzero(call->body, strlen(call->body));
	free(call->body);
	free(call);
}

static void
call_end(Call *call, CallResult *result)
{
	call->http = NULL;
	result->sent_at_ms = call->sent_at_ms;
	result->repeated = result->repeated || call->may_be_done;
	if (result->error.message[0] == '\0' && call->last_error.message[0] != '\0')
		result->error = call->last_error;
	call->done(call, result);
	call_free(call);
}

/* No time, no endpoint, no memory: end without an answer. */
static void
call_give_up(Call *call)
{
	CallResult	result;

	memset(&result, 0, sizeof(result));
	result.outcome = call->may_be_done ? CALL_UNKNOWN : CALL_NOT_SENT;
	if (call->last_error.message[0] == '\0')
		error_set(&result.error, call->etcd->api[0] == '\0' ?
				  "no endpoint of etcd has answered yet" :
				  "etcd did not answer in time");
	call_end(call, &result);
}

static void
call_pause(Call *call, int64_t now_ms)
{
	call->state = CALL_WAITING;
	call->tried = 0;
	call->pause_until_ms = now_ms + call->backoff_ms;
	call->backoff_ms = call->backoff_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : call->backoff_ms * 2;
	if (call->pause_until_ms >= call->deadline_ms)
		call_give_up(call);
}

/* An attempt ended with neither answer nor refusal. */
static void
call_attempt_failed(Call *call, bool was_sent, int64_t now_ms)
{
	if (was_sent)
		call->may_be_done = true;
	else if (!call->may_be_done && call->pending != NULL)
		call->pending->may_be_done = false;
	if (call->generation == call->etcd->generation)
		endpoint_failed(call->etcd, call->endpoint, now_ms);
	if (was_sent && !call->is_idempotent)
	{
		call_give_up(call);
		return;
	}
	call_try(call, now_ms);
}

static void
call_refused(Call *call, int status, const json_t *json, int64_t now_ms)
{
	Etcd3	   *etcd = call->etcd;
	CallResult	result;
	char		message[512];
	Etcd3Error	refusal = etcd3_classify(status, json, message, sizeof(message));

	error_set(&call->last_error, "%s", message);
	switch (refusal)
	{
		case ETCD3_UNAVAILABLE:
			call_attempt_failed(call, true, now_ms);
			return;
		case ETCD3_RETRIABLE:
			call_pause(call, now_ms);
			return;
		case ETCD3_NO_SUCH_PATH:
			/* Another version answers here; ask which. */
			etcd->api[0] = '\0';
			if (etcd->sync_call == NULL && etcd->sync_at_ms < 0)
				etcd->sync_at_ms = now_ms;
			call_pause(call, now_ms);
			return;
		case ETCD3_NOT_AUTHENTICATED:
			if (etcd->dcs->config.username[0] == '\0')
			{
				error_detail(&call->last_error,
							 "Username or password not set, authentication is not possible.");
				break;
			}
			if (!call->needs_token || call->n_reauths++ >= REAUTH_MAX)
				break;
			etcd->auth_is_disabled = false;
			if (call->token_number == etcd->token_number)
				etcd->token[0] = '\0';
			call->tried = 0;
			call_try(call, now_ms);
			return;
		default:
			break;
	}
	memset(&result, 0, sizeof(result));
	result.outcome = CALL_REFUSED;
	result.refusal = refusal;
	call_end(call, &result);
}

static void
call_http_done(void *context, const HttpAnswer *answer)
{
	Call	   *call = context;
	Etcd3	   *etcd = call->etcd;
	int64_t		now_ms = clock_now_ms();
	json_t	   *json = NULL;
	CallResult	result;
	bool		is_read = call->is_idempotent && call->pending == NULL;

	call->http = NULL;
	if (answer->outcome != HTTP_ANSWERED)
	{
		call->last_error = *answer->error;
		if (call->generation == etcd->generation)
			(void) error_wrap(&call->last_error, "could not reach etcd at \"%s\"",
							  etcd->endpoints[call->endpoint]);
		call_attempt_failed(call, answer->outcome == HTTP_UNKNOWN, now_ms);
		return;
	}
	json = json_loadb(answer->body, answer->length, 0, NULL);
	if (answer->repeated)
		call->may_be_done = true;
	if (answer->status != 200 || (json_object_get(json, "error") != NULL))
		call_refused(call, answer->status, json, now_ms);
	else if (!json_is_object(json))
	{
		error_set(&call->last_error, "answer of etcd is no JSON object");
		call_attempt_failed(call, true, now_ms);
	}
	else if (!header_is_current(etcd, json) && is_read)
	{
		error_set(&call->last_error, "member of etcd is behind the others");
		call_attempt_failed(call, true, now_ms);
	}
	else
	{
		memset(&result, 0, sizeof(result));
		result.outcome = CALL_ANSWERED;
		result.answer = json;
		if (call->generation == etcd->generation && etcd->current != call->endpoint)
		{
			etcd->current = call->endpoint;
			etcd->members_are_due = true;
		}
		dcs_was_heard(etcd->dcs);
		call_end(call, &result);
	}
	json_decref(json);
}

static void
auth_done(Call *call, const CallResult *result)
{
	Etcd3	   *etcd = call->etcd;
	int64_t		now_ms = clock_now_ms();
	const char *token = NULL;
	Call	   *other;

	etcd->auth_call = NULL;
	if (result->outcome == CALL_ANSWERED)
		token = json_string_value(json_object_get(result->answer, "token"));
	if (token != NULL && strlen(token) < sizeof(etcd->token))
	{
		snprintf(etcd->token, sizeof(etcd->token), "%s", token);
		etcd->token_number++;
		etcd->auth_after_ms = 0;
	}
	else if (result->outcome == CALL_REFUSED && result->refusal == ETCD3_AUTH_DISABLED)
		etcd->auth_is_disabled = true;
	else
	{
		etcd->auth_after_ms = now_ms + BACKOFF_MAX_MS;
		for (other = etcd->calls; other != NULL; other = other->next)
			if (other != call && other->state == CALL_WAITING && other->needs_token)
			{
				other->last_error = result->error;
				(void) error_wrap(&other->last_error, "could not authenticate user \"%s\" with etcd",
								  etcd->dcs->config.username);
			}
		return;
	}
	call->state = CALL_RUNNING;	/* so that it is not kicked itself */
	calls_kick(etcd, now_ms);
}

static void
auth_start(Etcd3 *etcd, int64_t now_ms)
{
	if (etcd->auth_call != NULL || now_ms < etcd->auth_after_ms)
		return;
	etcd->auth_call = call_start(etcd, "/auth/authenticate",
								 etcd3_body_authenticate(etcd->dcs->config.username,
														 etcd->dcs->config.password),
								 now_ms + etcd->dcs->config.retry_timeout_ms, auth_done, NULL);
	if (etcd->auth_call == NULL)
		return;
	etcd->auth_call->needs_token = false;
	etcd->auth_call->is_idempotent = true;
	etcd->auth_call->is_single_pass = true;
	if (etcd->auth_call->body == NULL)
		call_give_up(etcd->auth_call);
	else
		call_try(etcd->auth_call, now_ms);
}

/* How long one endpoint may take: patroni/dcs/etcd.py, _calculate_timeouts(). */
static int
try_timeout_ms(const Call *call, int64_t remaining_ms)
{
	int64_t		share = remaining_ms;

	if (call->etcd->n_endpoints > 1)
		share = remaining_ms / call->etcd->n_endpoints;
	else if (call->is_idempotent && !call->is_single_pass)
		share = remaining_ms / 2;
	if (share < TRY_MIN_MS)
		share = TRY_MIN_MS;
	return (int) (share < remaining_ms ? share : remaining_ms);
}

/* Begin the next attempt, or wait for what is missing, or give up. */
static void
call_try(Call *call, int64_t now_ms)
{
	Etcd3	   *etcd = call->etcd;
	const DcsConfig *config = &etcd->dcs->config;
	int64_t		remaining_ms = call->deadline_ms - now_ms;
	HttpOptions options;
	char		url[ENDPOINT_URL_MAX + 64];
	int			i;

	call->state = CALL_WAITING;
	if (remaining_ms <= 0)
	{
		call_give_up(call);
		return;
	}
	if (call->body != NULL && etcd->api[0] == '\0')
		return;
	if (call->needs_token && config->username[0] != '\0' && !etcd->auth_is_disabled &&
		etcd->token[0] == '\0' && call->body != NULL)
	{
		/* May end at once and then kick all calls, but not this one twice. */
		auth_start(etcd, now_ms);
		return;
	}
	if (call->pause_until_ms > now_ms)
		return;

	call->endpoint = -1;
	for (i = 0; i < etcd->n_endpoints && call->endpoint < 0; i++)
	{
		int			endpoint = (etcd->current + i) % etcd->n_endpoints;

		if ((call->tried & (1u << endpoint)) == 0)
			call->endpoint = endpoint;
	}
	if (call->endpoint < 0)
	{
		etcd->members_are_due = true;
		if (call->is_single_pass)
			call_give_up(call);
		else
			call_pause(call, now_ms);
		return;
	}
	call->tried |= 1u << call->endpoint;
	call->generation = etcd->generation;
	call->token_number = etcd->token_number;
	snprintf(url, sizeof(url), "%s%s%s", etcd->endpoints[call->endpoint],
			 call->body != NULL ? etcd->api : "", call->path);

	memset(&options, 0, sizeof(options));
	options.method = call->body != NULL ? "POST" : "GET";
	options.url = url;
	options.body = call->body;
	options.authorization = call->needs_token && !etcd->auth_is_disabled ? etcd->token : NULL;
	options.cacert = config->cacert;
	options.cert = config->cert;
	options.key = config->key;
	options.timeout_ms = try_timeout_ms(call, remaining_ms);
	options.connect_timeout_ms = options.timeout_ms > 2 * TRY_MIN_MS ? options.timeout_ms / 2 : TRY_MIN_MS;
	options.dead_peer_ms = dead_peer_ms(etcd);
	options.done = call_http_done;
	options.context = call;

	call->sent_at_ms = clock_now_ms();
	if (call->pending != NULL)
	{
		call->pending->may_be_done = true;
		if (call->pending->sent_at_ms == 0)
			call->pending->sent_at_ms = call->sent_at_ms;
	}
	call->state = CALL_RUNNING;
	call->http = http_start(etcd->http, &options);
	if (call->http == NULL)
	{
		if (call->pending != NULL)
			call->pending->may_be_done = call->may_be_done;
		error_set(&call->last_error, "could not start a request to etcd");
		call_give_up(call);
	}
}

/* Let waiting calls try; the list may change under us. */
static void
calls_kick(Etcd3 *etcd, int64_t now_ms)
{
	Call	   *waiting[DCS_PENDING_MAX + 8];
	Call	   *call;
	int			n = 0;
	int			i;

	for (call = etcd->calls; call != NULL && n < DCS_PENDING_MAX + 8; call = call->next)
		if (call->state == CALL_WAITING)
			waiting[n++] = call;
	for (i = n - 1; i >= 0; i--)
	{
		/* Ending one call may have ended others. */
		for (call = etcd->calls; call != NULL && call != waiting[i]; call = call->next)
			;
		if (call != NULL && call->state == CALL_WAITING)
			call_try(call, now_ms);
	}
}

/* ---------------------------------------------------------------- operations */

static void
operation_end(DcsPending *pending, DcsOutcome outcome, uint64_t version, const Error *error)
{
	Operation  *operation = pending->driver_data;
	Dcs		   *dcs = operation->etcd->dcs;

	pending->driver_data = NULL;
	free(operation);
	dcs_complete(dcs, pending, outcome, version, error);
}

/* A call without an answer ends the operation. */
static void
operation_fail(DcsPending *pending, const CallResult *result)
{
	operation_end(pending, result->outcome == CALL_UNKNOWN ? DCS_UNKNOWN : DCS_NOT_SENT, 0,
				  &result->error);
}

static void
operation_session_lost(DcsPending *pending)
{
	pending->reply.session_lost = true;
	operation_end(pending, DCS_LOST_RACE, 0, NULL);
}

static void
operation_call(DcsPending *pending, const char *path, char *body, bool is_idempotent,
			   void (*done) (Call *call, const CallResult *result))
{
	Operation  *operation = pending->driver_data;
	Etcd3	   *etcd = operation->etcd;
	Call	   *call;

	call = body != NULL ? call_start(etcd, path, body, pending->deadline_ms, done, pending) : NULL;
	if (call == NULL)
	{
		Error		error;

		error_clear(&error);
		error_set(&error, "could not build the request to etcd");
		operation_end(pending, DCS_NOT_SENT, 0, &error);
		return;
	}
	operation->call = call;
	call->is_idempotent = is_idempotent;
	call_try(call, clock_now_ms());
}

/* The store does not know this session; a newer one may stand already. */
static void
session_forget(Etcd3 *etcd, const char *session)
{
	if (strcmp(etcd->dcs->session, session) != 0)
		return;
	etcd->dcs->session[0] = '\0';
	etcd->session_sent_at_ms = 0;
	etcd->session_ttl_s = 0;
}

/* The session is good: go on with what the operation is for. */
static void
operation_with_session(DcsPending *pending)
{
	if (pending->request.operation == DCS_RENEW)
		operation_leader_step(pending);
	else
		operation_write(pending);
}

/*
 * The granting ended: go on with those who waited for it.  Without a session
 * and without an error the first of them grants one itself.
 */
static void
grant_resume(Etcd3 *etcd, const Error *error)
{
	int			i;

	for (i = 0; i < DCS_PENDING_MAX; i++)
	{
		DcsPending *pending = &etcd->dcs->pending[i];
		Operation  *operation = pending->driver_data;

		if (operation == NULL || !operation->waits)
			continue;
		operation->waits = false;
		if (error != NULL)
			operation_end(pending, DCS_NOT_SENT, 0, error);
		else if (etcd->session_ttl_s == ttl_s(etcd) && etcd->dcs->session[0] != '\0')
		{
			operation->session_sent_at_ms = etcd->session_sent_at_ms;
			pending->sent_at_ms = etcd->session_sent_at_ms;
			operation->granted = true;
			operation_with_session(pending);
		}
		else
			operation_grant(pending, etcd);
	}
}

static void
grant_done(Call *call, const CallResult *result)
{
	DcsPending *pending = call->pending;
	Operation  *operation = pending->driver_data;
	Etcd3	   *etcd = call->etcd;
	const char *id = NULL;

	etcd->granting = NULL;
	operation->call = NULL;
	pending->may_be_done = false;
	if (result->outcome == CALL_ANSWERED)
		id = json_string_value(json_object_get(result->answer, "ID"));
	if (id == NULL || strlen(id) >= sizeof(etcd->dcs->session))
	{
		/* Without a lease nothing was written. */
		operation_end(pending, DCS_NOT_SENT, 0, &result->error);
		grant_resume(etcd, &result->error);
		return;
	}
	snprintf(etcd->dcs->session, sizeof(etcd->dcs->session), "%s", id);
	etcd->session_ttl_s = ttl_s(etcd);
	etcd->session_sent_at_ms = result->sent_at_ms;
	operation->session_sent_at_ms = result->sent_at_ms;
	pending->sent_at_ms = result->sent_at_ms;
	operation->granted = true;
	operation_with_session(pending);
	grant_resume(etcd, NULL);
}

/* Get a lease; one at a time, for all who need it. */
static void
operation_grant(DcsPending *pending, Etcd3 *etcd)
{
	Operation  *operation = pending->driver_data;

	if (etcd->granting != NULL)
	{
		operation->waits = true;
		return;
	}
	etcd->granting = pending;
	/* A lease granted in vain costs nothing and ends by itself. */
	operation_call(pending, "/lease/grant", etcd3_body_grant(ttl_s(etcd)), true,
				   grant_done);
	if (etcd->granting == pending && pending->driver_data == NULL)
		etcd->granting = NULL;
}

static uint64_t
answer_revision(const json_t *answer)
{
	return etcd3_number(json_object_get(json_object_get(answer, "header"), "revision"));
}

/*
 * Is the store at "revision" as the watch has told it?  Then nothing of this
 * cluster was changed since.  A member that is behind, or a store that went
 * back in time, shows an older revision, which tells nothing.
 */
static bool
watch_is_complete(const Etcd3 *etcd, uint64_t revision)
{
	uint64_t	checked = etcd->checked_revision > etcd->watch_revision ?
		etcd->checked_revision : etcd->watch_revision;

	return etcd->watch_state == WATCH_HEALTHY && !etcd->needs_load &&
		!etcd->is_suspect && revision >= etcd->watch_revision && revision <= checked;
}

/* A request sent at "at_ms" has shown that the watch tells of everything. */
static void
watch_was_checked(Etcd3 *etcd, int64_t at_ms)
{
	etcd->dcs->sighting.revision = etcd->watch_revision;
	etcd->dcs->sighting.at_ms = at_ms;
	etcd->probe_at_ms = at_ms + probe_interval_ms(etcd);
}

static void
keepalive_done(Call *call, const CallResult *result)
{
	DcsPending *pending = call->pending;
	Operation  *operation = pending->driver_data;
	Etcd3	   *etcd = call->etcd;
	const json_t *fields;
	const char *id;
	uint64_t	granted_s;

	operation->call = NULL;
	operation->extended_revision = 0;
	if (result->outcome != CALL_ANSWERED &&
		!(result->outcome == CALL_REFUSED && result->refusal == ETCD3_LEASE_NOT_FOUND))
	{
		if (pending->request.operation != DCS_RENEW)
			pending->may_be_done = false;
		if (pending->request.operation != DCS_RENEW)
			operation_end(pending, DCS_NOT_SENT, 0, &result->error);
		else
			operation_fail(pending, result);
		return;
	}
	fields = json_object_get(result->answer, "result");
	granted_s = etcd3_number(json_object_get(fields, "TTL"));
	id = json_string_value(json_object_get(fields, "ID"));
	if (result->outcome == CALL_ANSWERED && !json_is_object(fields))
	{
		Error		error;

		/* Neither yes nor no. */
		error_clear(&error);
		error_set(&error, "answer of etcd to a keepalive has no result");
		operation_end(pending, DCS_UNKNOWN, 0, &error);
		return;
	}
	if (strcmp(operation->session, etcd->dcs->session) != 0 ||
		(id != NULL && strcmp(id, operation->session) != 0))
	{
		Error		error;

		error_clear(&error);
		error_set(&error, "session was changed while it was renewed");
		operation_end(pending, DCS_UNKNOWN, 0, &error);
		return;
	}
	pending->may_be_done = false;
	if (granted_s == 0)
	{
		session_forget(etcd, operation->session);
		if (pending->request.operation == DCS_RENEW && pending->request.key != NULL)
			operation_session_lost(pending);
		else
			operation_grant(pending, etcd);
		return;
	}
	/* A session of another ttl than ours would make deadlines wrong. */
	if (etcd->session_ttl_s != ttl_s(etcd) && granted_s != (uint64_t) ttl_s(etcd))
	{
		operation_grant(pending, etcd);
		return;
	}
	etcd->session_ttl_s = ttl_s(etcd);
	etcd->session_sent_at_ms = result->sent_at_ms;
	operation->session_sent_at_ms = result->sent_at_ms;
	pending->sent_at_ms = result->sent_at_ms;
	/* etcd takes it before it extends the lease (etcdserver/api/v3rpc/lease.go) */
	operation->extended_revision = etcd->extended_revision = answer_revision(fields);
	etcd->extended_ms = result->sent_at_ms;
	if (watch_is_complete(etcd, operation->extended_revision))
		watch_was_checked(etcd, result->sent_at_ms);
	operation_with_session(pending);
}

/* The first key that a read of a transaction found; NULL = none. */
static const json_t *
key_read(const json_t *answer, size_t index)
{
	const json_t *response = json_array_get(json_object_get(answer, "responses"), index);

	return json_array_get(json_object_get(json_object_get(response, "response_range"), "kvs"), 0);
}

static uint64_t
version_read(const json_t *answer, size_t index)
{
	return etcd3_number(json_object_get(key_read(answer, index), "mod_revision"));
}

/*
 * Has the watch told of all that etcd3_body_newest() found?  It must tell of our
 * own writes as well, which the cache has without it: the engine waits for that
 * before a new leader opens.
 */
static bool
watch_has_told(const Etcd3 *etcd, const json_t *answer)
{
	const DcsKey *leader = dcs_cache_find(etcd->dcs, "leader");

	return (version_read(answer, 0) == (leader != NULL ? leader->version : 0) &&
			version_read(answer, 1) <= etcd->watch_revision) ||
		answer_revision(answer) <= etcd->watch_revision;
}

/* It has, as an answer of this revision to a request sent at that time shows. */
static void
watch_is_right(Etcd3 *etcd, uint64_t revision, int64_t sent_at_ms)
{
	etcd->is_suspect = false;
	etcd->checked_revision = revision;
	watch_was_checked(etcd, sent_at_ms);
}

/* Own writes show in the view at once. */
static void
operation_show(Etcd3 *etcd, const char *name, const char *value, const char *session,
			   uint64_t revision)
{
	dcs_cache_apply(etcd->dcs, name, value, session, revision);
}

static bool
answer_succeeded(const json_t *answer)
{
	return json_is_true(json_object_get(answer, "succeeded"));
}

static void
confirm_done(Call *call, const CallResult *result)
{
	DcsPending *pending = call->pending;
	Operation  *operation = pending->driver_data;
	Etcd3	   *etcd = call->etcd;
	uint64_t	revision;

	operation->call = NULL;
	if (result->outcome == CALL_REFUSED && result->refusal == ETCD3_LEASE_NOT_FOUND)
	{
		session_forget(etcd, operation->session);
		operation_session_lost(pending);
		return;
	}
	if (result->outcome != CALL_ANSWERED)
	{
		operation_fail(pending, result);
		return;
	}
	if (!answer_succeeded(result->answer))
	{
		/* it changed; or an earlier try has succeeded, of which we did not hear */
		if (operation->was_refused)
			operation_end(pending, DCS_LOST_RACE, 0, NULL);
		else
		{
			operation->was_refused = true;
			operation_leader_step(pending);
		}
		return;
	}
	pending->sent_at_ms = operation->session_sent_at_ms;
	revision = answer_revision(result->answer);
	operation_show(etcd, "leader", pending->request.value, operation->session, revision);
	operation_end(pending, DCS_DONE, revision, NULL);
}

/*
 * What an answer to a read of the leader key shows, alone or as the first of a
 * transaction: under which session it is if its value is "name", else NULL.  The
 * cache learns it, too, also that it is gone.
 */
static const char *
leader_was_read(Etcd3 *etcd, const json_t *answer, const char *name,
				char session[CLUSTER_SESSION_MAX], uint64_t *version)
{
	const json_t *kv = json_object_get(answer, "responses") != NULL ? key_read(answer, 0) :
		json_array_get(json_object_get(answer, "kvs"), 0);
	char	   *value;
	bool		is_ours;

	*version = etcd3_number(json_object_get(kv, "mod_revision"));
	session[0] = '\0';
	if (kv == NULL)
	{
		if (dcs_cache_find(etcd->dcs, "leader") != NULL)
			operation_show(etcd, "leader", NULL, "", answer_revision(answer));
		return NULL;
	}
	value = value_of(kv);
	session_of(kv, session);
	is_ours = value != NULL && strcmp(value, name) == 0;
	if (value != NULL)
		operation_show(etcd, "leader", value, session, *version);
	free(value);
	return is_ours ? session : NULL;
}

/*
 * RENEW, after the session was extended: etcd itself says whether the leader
 * key is ours.  The cache may not have heard yet that somebody deleted it.  And
 * it says whether the watch is right, which spares a probe.
 */
static void
leader_read_done(Call *call, const CallResult *result)
{
	DcsPending *pending = call->pending;
	Operation  *operation = pending->driver_data;
	Etcd3	   *etcd = call->etcd;
	const DcsRequest *request = &pending->request;
	const char *session;
	char		buffer[CLUSTER_SESSION_MAX];
	uint64_t	version;

	operation->call = NULL;
	if (result->outcome != CALL_ANSWERED)
	{
		operation_fail(pending, result);
		return;
	}
	/* an older revision than the watch's may be that of a store that went back in time */
	if (etcd->watch_state == WATCH_HEALTHY && !etcd->needs_load &&
		answer_revision(result->answer) >= etcd->watch_revision && watch_has_told(etcd, result->answer))
		watch_is_right(etcd, answer_revision(result->answer), result->sent_at_ms);
	session = leader_was_read(etcd, result->answer, request->value, buffer, &version);
	if (session == NULL)
		operation_end(pending, DCS_LOST_RACE, 0, NULL);
	else if (strcmp(session, operation->session) == 0)
	{
		pending->sent_at_ms = operation->session_sent_at_ms;
		operation_end(pending, DCS_DONE, version, NULL);
	}
	else
		/* Running it twice does no harm: it may be repeated. */
		operation_call(pending, "/kv/txn",
					   etcd3_body_confirm(etcd->leader_key, request->value, version,
										  operation->session),
					   true, confirm_done);
}

static void
operation_leader_step(DcsPending *pending)
{
	Operation  *operation = pending->driver_data;
	Etcd3	   *etcd = operation->etcd;
	const DcsKey *leader = dcs_cache_find(etcd->dcs, "leader");

	if (pending->request.key == NULL)
	{
		operation_end(pending, DCS_DONE, 0, NULL);
		return;
	}
	snprintf(operation->session, sizeof(operation->session), "%s", etcd->dcs->session);
	if (watch_is_complete(etcd, operation->extended_revision) && leader != NULL &&
		leader->value != NULL && strcmp(leader->value, pending->request.value) == 0 &&
		strcmp(leader->session, operation->session) == 0)
	{
		/* Nothing was changed since the watch told that it is ours. */
		operation_end(pending, DCS_DONE, leader->version, NULL);
		return;
	}
	operation_call(pending, "/kv/txn",
				   etcd3_body_newest(etcd->leader_key, etcd->prefix_key, etcd->prefix_end), true,
				   leader_read_done);
}

/* The leader key as a linearizable read shows it: is it ours after all? */
static void
acquire_check_done(Call *call, const CallResult *result)
{
	DcsPending *pending = call->pending;
	Operation  *operation = pending->driver_data;
	Etcd3	   *etcd = call->etcd;
	const char *session;
	char		buffer[CLUSTER_SESSION_MAX];
	uint64_t	version;

	operation->call = NULL;
	pending->may_be_done = true;
	if (result->outcome != CALL_ANSWERED)
	{
		operation_end(pending, DCS_UNKNOWN, 0, &result->error);
		return;
	}
	session = leader_was_read(etcd, result->answer, pending->request.value, buffer, &version);
	if (session != NULL && strcmp(session, operation->session) == 0)
	{
		pending->sent_at_ms = operation->session_sent_at_ms;
		operation_end(pending, DCS_DONE, version, NULL);
	}
	else if (operation->was_refused)
		operation_end(pending, DCS_LOST_RACE, 0, NULL);
	else
		operation_end(pending, DCS_UNKNOWN, 0, &operation->error);
}

static void
operation_check_leader(DcsPending *pending, bool was_refused, const Error *error)
{
	Operation  *operation = pending->driver_data;

	operation->was_refused = was_refused;
	operation->error = *error;
	operation_call(pending, "/kv/range",
				   etcd3_body_range(operation->etcd->leader_key, NULL, false), true,
				   acquire_check_done);
	/* An earlier write is what may be done. */
	pending->may_be_done = true;
}

/* The key an operation is about, relative to the base path. */
static void
operation_key(const DcsRequest *request, char *name, size_t size)
{
	switch (request->operation)
	{
		case DCS_ACQUIRE_LEADER:
		case DCS_RELEASE_LEADER:
		case DCS_RENEW:
			snprintf(name, size, "leader");
			break;
		case DCS_PUT_MEMBER:
		case DCS_DELETE_MEMBER:
			snprintf(name, size, "members/%s", request->key);
			break;
		default:
			snprintf(name, size, "%s", request->key);
			break;
	}
}

static void
write_done(Call *call, const CallResult *result)
{
	DcsPending *pending = call->pending;
	const DcsRequest *request = &pending->request;
	Operation  *operation = pending->driver_data;
	Etcd3	   *etcd = call->etcd;
	bool		has_session = request->operation == DCS_ACQUIRE_LEADER ||
		request->operation == DCS_PUT_MEMBER;
	bool		deletes = request->operation == DCS_RELEASE_LEADER ||
		request->operation == DCS_DELETE_MEMBER || request->operation == DCS_DELETE;
	char		name[640];
	uint64_t	revision;

	operation->call = NULL;
	if (result->outcome == CALL_REFUSED && result->refusal == ETCD3_LEASE_NOT_FOUND && has_session)
	{
		session_forget(etcd, operation->session);
		if (operation->granted)
			operation_session_lost(pending);
		else
		{
			pending->may_be_done = false;
			operation_grant(pending, etcd);
		}
		return;
	}
	if (result->outcome == CALL_UNKNOWN && request->operation == DCS_ACQUIRE_LEADER)
	{
		operation_check_leader(pending, false, &result->error);
		return;
	}
	if (result->outcome != CALL_ANSWERED)
	{
		operation_fail(pending, result);
		return;
	}
	if (strcmp(call->path, "/kv/txn") == 0 && !answer_succeeded(result->answer))
	{
		/* What refused us may be our own earlier write, also of an earlier request. */
		if (request->operation == DCS_ACQUIRE_LEADER)
			operation_check_leader(pending, true, &result->error);
		else if (result->repeated && request->operation != DCS_RELEASE_LEADER)
		{
			Error		error;

			error_clear(&error);
			error_set(&error, "request to etcd was sent twice, the first may have been done");
			operation_end(pending, DCS_UNKNOWN, 0, &error);
		}
		else
			operation_end(pending, DCS_LOST_RACE, 0, NULL);
		return;
	}
	if (request->operation == DCS_ACQUIRE_LEADER)
		pending->sent_at_ms = operation->session_sent_at_ms;
	revision = answer_revision(result->answer);
	operation_key(request, name, sizeof(name));
	operation_show(etcd, name, deletes ? NULL : request->value,
				   has_session ? operation->session : "", revision);
	if (request->operation == DCS_ACQUIRE_LEADER && request->promotions != NULL)
		operation_show(etcd, "promotions", request->promotions, "", revision);
	operation_end(pending, DCS_DONE, revision, NULL);
}

/* The write of any operation but RENEW. */
static void
operation_write(DcsPending *pending)
{
	Operation  *operation = pending->driver_data;
	Etcd3	   *etcd = operation->etcd;
	const DcsRequest *request = &pending->request;
	const char *path = "/kv/txn";
	char	   *body = NULL;
	char		name[640];
	char		key[1100];

	operation_key(request, name, sizeof(name));
	snprintf(key, sizeof(key), "%s%s", etcd->prefix_key, name);
	snprintf(operation->session, sizeof(operation->session), "%s", etcd->dcs->session);
	switch (request->operation)
	{
		case DCS_ACQUIRE_LEADER:
			body = etcd3_body_acquire(key, request->value, operation->session,
									  etcd->promotions_key, request->version, request->promotions,
									  etcd->history_key, request->history_version,
									  etcd->failsafe_key, request->failsafe_version);
			break;
		case DCS_RELEASE_LEADER:
			body = etcd3_body_delete_value(key, request->value, etcd->dcs->revision);
			break;
		case DCS_PUT_MEMBER:
			path = "/kv/put";
			body = etcd3_body_put(key, request->value, operation->session);
			break;
		case DCS_CREATE:
			body = request->leader_version == 0 ? etcd3_body_create(key, request->value, NULL) :
				etcd3_body_put_as_leader(key, request->value, 0, etcd->leader_key,
										 request->leader_version);
			break;
		case DCS_PUT:
			if (request->leader_version != 0)
				body = etcd3_body_put_as_leader(key, request->value, request->version,
												etcd->leader_key, request->leader_version);
			else if (request->version != 0)
				body = etcd3_body_put_version(key, request->value, request->version);
			else
			{
				path = "/kv/put";
				body = etcd3_body_put(key, request->value, NULL);
			}
			break;
		case DCS_DELETE:
		case DCS_DELETE_MEMBER:
			if (request->version != 0)
				body = etcd3_body_delete_version(key, request->version);
			else
			{
				path = "/kv/deleterange";
				body = etcd3_body_delete(key);
			}
			break;
		case DCS_RENEW:
			break;
	}
	operation_call(pending, path, body, false, write_done);
}

static void
etcd3_submit(Dcs *dcs, DcsPending *pending)
{
	Etcd3	   *etcd = etcd_of(dcs);
	DcsOperation kind = pending->request.operation;
	Operation  *operation = calloc(1, sizeof(*operation));
	int64_t		age_ms = clock_now_ms() - etcd->session_sent_at_ms;
	bool		is_fresh;

	if (operation == NULL)
	{
		Error		error;

		error_clear(&error);
		error_set(&error, "out of memory");
		dcs_complete(dcs, pending, DCS_NOT_SENT, 0, &error);
		return;
	}
	operation->etcd = etcd;
	operation->session_sent_at_ms = etcd->session_sent_at_ms;
	pending->driver_data = operation;
	if (kind != DCS_RENEW && kind != DCS_ACQUIRE_LEADER && kind != DCS_PUT_MEMBER)
	{
		operation_write(pending);
		return;
	}

	/* The deadline of a new leader counts from the last extension: not too old. */
	is_fresh = etcd->session_sent_at_ms > 0 && age_ms < dcs->config.loop_wait_ms &&
		age_ms < dcs->config.ttl_ms / 3;
	if (dcs->session[0] == '\0' ||
		(etcd->session_ttl_s != 0 && etcd->session_ttl_s != ttl_s(etcd)))
	{
		if (kind == DCS_PUT_MEMBER && dcs->session[0] != '\0')
			operation_write(pending);	/* the next renewal will move it */
		else
			operation_grant(pending, etcd);
	}
	else if (kind == DCS_RENEW || (kind == DCS_ACQUIRE_LEADER && !is_fresh))
	{
		snprintf(operation->session, sizeof(operation->session), "%s", dcs->session);
		operation_call(pending, "/lease/keepalive", etcd3_body_keepalive(dcs->session), true,
					   keepalive_done);
	}
	else
		operation_write(pending);
}

/* The front gave up waiting. */
static void
etcd3_abandon(Dcs *dcs, DcsPending *pending)
{
	Etcd3	   *etcd = etcd_of(dcs);
	Operation  *operation = pending->driver_data;

	if (operation == NULL)
		return;
	if (operation->call != NULL)
		call_free(operation->call);
	pending->driver_data = NULL;
	free(operation);
	if (etcd->granting == pending)
	{
		etcd->granting = NULL;
		grant_resume(etcd, NULL);
	}
}

/* ---------------------------------------------------------------- the follower */

static void
sync_later(Etcd3 *etcd, int64_t now_ms)
{
	etcd->sync_at_ms = now_ms + etcd->sync_backoff_ms;
	etcd->sync_backoff_ms *= 2;
	if (etcd->sync_backoff_ms > BACKOFF_MAX_MS)
		etcd->sync_backoff_ms = BACKOFF_MAX_MS;
}

/* No endpoint could be read: say so and try again later. */
static void
sync_failed(Etcd3 *etcd, int64_t now_ms, const Error *error)
{
	dcs_set_reachable(etcd->dcs, false, error);
	sync_later(etcd, now_ms);
}

static void
watch_stop(Etcd3 *etcd)
{
	http_cancel(etcd->watch);
	etcd->watch = NULL;
	etcd->watch_state = WATCH_NONE;
	etcd->watch_endpoint = -1;
	etcd->is_suspect = false;
	json_stream_reset(&etcd->stream);
	if (etcd->probe_call != NULL)
		call_free(etcd->probe_call);
	etcd->probe_call = NULL;
}

/* The watch is of no more use: open another, first at once, then ever slower. */
static void
watch_failed(Etcd3 *etcd, int64_t now_ms, const char *why)
{
	bool		was_healthy = etcd->watch_state == WATCH_HEALTHY;
	int			endpoint = etcd->watch_endpoint;

	dcs_log(etcd->dcs, was_healthy ? 1 : 0, "watch of the etcd keys under \"%s\" ended: %s",
			etcd->prefix_key, why);
	watch_stop(etcd);
	if (was_healthy)
	{
		etcd->n_watch_failures = 0;
		etcd->sync_at_ms = now_ms;
		return;
	}
	if (endpoint >= 0 && endpoint == etcd->current)
		etcd->current = (etcd->current + 1) % etcd->n_endpoints;
	etcd->n_watch_failures++;
	if (etcd->n_watch_failures >= etcd->n_endpoints)
	{
		Error		error;

		error_clear(&error);
		error_set(&error, "could not watch the etcd keys under \"%s\": %s", etcd->prefix_key, why);
		sync_failed(etcd, now_ms, &error);
	}
	else
		etcd->sync_at_ms = now_ms;
}

/* The name below our base path of an encoded key; malloc'ed, NULL if it is not below. */
static char *
relative_name(const Etcd3 *etcd, const json_t *kv)
{
	const char *encoded = json_string_value(json_object_get(kv, "key"));
	char	   *key = encoded != NULL ? base64_decode(encoded, NULL) : NULL;
	size_t		n = strlen(etcd->prefix_key);

	if (key == NULL || strncmp(key, etcd->prefix_key, n) != 0 || key[n] == '\0')
	{
		free(key);
		return NULL;
	}
	memmove(key, key + n, strlen(key + n) + 1);
	return key;
}

static char *
value_of(const json_t *kv)
{
	const char *encoded = json_string_value(json_object_get(kv, "value"));

	return base64_decode(encoded != NULL ? encoded : "", NULL);
}

static void
session_of(const json_t *kv, char session[CLUSTER_SESSION_MAX])
{
	const char *lease = json_string_value(json_object_get(kv, "lease"));

	snprintf(session, CLUSTER_SESSION_MAX, "%s",
			 lease != NULL && strcmp(lease, "0") != 0 ? lease : "");
}

static bool
watch_event(Etcd3 *etcd, const json_t *event)
{
	const json_t *kv = json_object_get(event, "kv");
	const char *type = json_string_value(json_object_get(event, "type"));
	uint64_t	version = etcd3_number(json_object_get(kv, "mod_revision"));
	bool		is_delete = type != NULL && strcmp(type, "DELETE") == 0;
	char		session[CLUSTER_SESSION_MAX];
	char	   *name = relative_name(etcd, kv);
	char	   *value;

	if (version > etcd->watch_revision)
		etcd->watch_revision = version;
	if (name == NULL)
		return true;
	value = is_delete ? NULL : value_of(kv);
	if (!is_delete && value == NULL)
	{
		free(name);
		return false;
	}
	session_of(kv, session);
	dcs_cache_apply(etcd->dcs, name, value, session, version);
	free(name);
	free(value);
	return true;
}

/* One document of the stream; false ends it, with watch_error set. */
static bool
watch_document(void *context, const json_t *document)
{
	Etcd3	   *etcd = context;
	const json_t *result = json_object_get(document, "result");
	const json_t *events = json_object_get(result, "events");
	int64_t		now_ms = clock_now_ms();
	size_t		i;

	if (!json_is_object(result))
	{
		char		message[256];
		Etcd3Error	refusal = etcd3_classify(200, document, message, sizeof(message));

		snprintf(etcd->watch_error, sizeof(etcd->watch_error), "%s", message);
		if (refusal == ETCD3_NOT_AUTHENTICATED)
			etcd->token[0] = '\0';
		if (refusal == ETCD3_COMPACTED)
			etcd->needs_load = true;
		return false;
	}
	if (!header_is_current(etcd, result))
	{
		snprintf(etcd->watch_error, sizeof(etcd->watch_error), "its member is behind the others");
		return false;
	}
	if (etcd->needs_load)
	{
		snprintf(etcd->watch_error, sizeof(etcd->watch_error), "the keys must be read again");
		return false;
	}
	if (json_is_true(json_object_get(result, "canceled")))
	{
		const char *reason = json_string_value(json_object_get(result, "cancel_reason"));

		if (etcd3_number(json_object_get(result, "compact_revision")) != 0 ||
			(reason != NULL && strstr(reason, "has been compacted") != NULL))
		{
			etcd->needs_load = true;
			reason = "its revision was compacted";
		}
		else
			etcd->token[0] = '\0';
		snprintf(etcd->watch_error, sizeof(etcd->watch_error), "%s",
				 reason != NULL ? reason : "etcd canceled it");
		return false;
	}
	for (i = 0; i < json_array_size(events); i++)
		if (!watch_event(etcd, json_array_get(events, i)))
		{
			snprintf(etcd->watch_error, sizeof(etcd->watch_error), "an event cannot be read");
			etcd->needs_load = true;
			return false;
		}
	if (json_array_size(events) > 0)
		dcs_cache_settle(etcd->dcs, etcd->watch_revision);
	etcd->probe_at_ms = now_ms + probe_interval_ms(etcd);
	/* the extension was answered before the watch told of a change before it */
	if (etcd->extended_ms > etcd->dcs->sighting.at_ms && etcd->extended_revision <= etcd->watch_revision &&
		!etcd->is_suspect)
		watch_was_checked(etcd, etcd->extended_ms);
	dcs_was_heard(etcd->dcs);
	if (etcd->watch_state != WATCH_HEALTHY)
	{
		etcd->watch_state = WATCH_HEALTHY;
		etcd->n_watch_failures = 0;
		etcd->sync_backoff_ms = BACKOFF_MIN_MS;
		dcs_set_reachable(etcd->dcs, true, NULL);
	}
	return true;
}

static bool
watch_data(void *context, const char *data, size_t length)
{
	Etcd3	   *etcd = context;
	Error		error;

	error_clear(&error);
	etcd->watch_error[0] = '\0';
	if (json_stream_feed(&etcd->stream, data, length, watch_document, etcd, &error))
		return true;
	if (etcd->watch_error[0] == '\0')
		snprintf(etcd->watch_error, sizeof(etcd->watch_error), "%.250s", error.message);
	return false;
}

static void
watch_done(void *context, const HttpAnswer *answer)
{
	Etcd3	   *etcd = context;
	char		why[300];

	etcd->watch = NULL;
	if (etcd->watch_error[0] != '\0')
		snprintf(why, sizeof(why), "%s", etcd->watch_error);
	else if (answer->outcome != HTTP_ANSWERED)
		snprintf(why, sizeof(why), "%.280s", answer->error->message);
	else
		snprintf(why, sizeof(why), "the connection was closed");
	etcd->watch_error[0] = '\0';
	watch_failed(etcd, clock_now_ms(), why);
}

static void
watch_start(Etcd3 *etcd, int64_t now_ms)
{
	const DcsConfig *config = &etcd->dcs->config;
	HttpOptions options;
	char		url[ENDPOINT_URL_MAX + 64];
	char	   *body = etcd3_body_watch(etcd->prefix_key, etcd->prefix_end,
										etcd->watch_revision + 1);

	snprintf(url, sizeof(url), "%s%s/watch", etcd->endpoints[etcd->current], etcd->api);
	memset(&options, 0, sizeof(options));
	options.method = "POST";
	options.url = url;
	options.body = body;
	options.authorization = etcd->auth_is_disabled ? NULL : etcd->token;
	options.cacert = config->cacert;
	options.cert = config->cert;
	options.key = config->key;
	options.connect_timeout_ms = TRY_MIN_MS;
	options.dead_peer_ms = dead_peer_ms(etcd);
	options.done = watch_done;
	options.data = watch_data;
	options.context = etcd;
	json_stream_reset(&etcd->stream);
	etcd->watch_error[0] = '\0';
	etcd->watch_endpoint = etcd->current;
	etcd->watch_state = WATCH_STARTING;
	etcd->watch_deadline_ms = now_ms + 2 * TRY_MIN_MS;
	etcd->watch = body != NULL ? http_start(etcd->http, &options) : NULL;
	free(body);
	if (etcd->watch == NULL)
		watch_failed(etcd, now_ms, "could not start it");
}

static void
load_done(Call *call, const CallResult *result)
{
	Etcd3	   *etcd = call->etcd;
	int64_t		now_ms = clock_now_ms();
	const json_t *kvs = json_object_get(result->answer, "kvs");
	uint64_t	revision = answer_revision(result->answer);
	DcsKey	   *keys;
	Error		error;
	int			n_keys = 0;
	size_t		i;

	etcd->sync_call = NULL;
	error_clear(&error);
	if (result->outcome != CALL_ANSWERED)
	{
		etcd->load_linearizable = false;
		sync_failed(etcd, now_ms, &result->error);
		return;
	}
	if (!etcd->load_linearizable && revision < etcd->dcs->revision)
	{
		/* A member that is behind, or a restored store: ask for the truth. */
		etcd->load_linearizable = true;
		etcd->sync_at_ms = now_ms;
		return;
	}
	keys = calloc(json_array_size(kvs) + 1, sizeof(DcsKey));
	for (i = 0; keys != NULL && i < json_array_size(kvs) && n_keys < DCS_KEYS_MAX; i++)
	{
		const json_t *kv = json_array_get(kvs, i);
		DcsKey	   *key = &keys[n_keys];

		key->name = relative_name(etcd, kv);
		if (key->name == NULL)
			continue;
		key->value = value_of(kv);
		key->version = etcd3_number(json_object_get(kv, "mod_revision"));
		session_of(kv, key->session);
		n_keys++;
		if (key->value == NULL)
			dcs_log(etcd->dcs, 2, "value of key \"%s\" of etcd cannot be read", key->name);
	}
	if (keys == NULL)
	{
		error_set(&error, "out of memory");
		sync_failed(etcd, now_ms, &error);
		return;
	}
	/* After a restore the old revisions mean nothing. */
	if (etcd->load_linearizable && revision < etcd->dcs->revision)
		dcs_cache_forget(etcd->dcs);
	if (!dcs_load(etcd->dcs, keys, n_keys, revision, &error))
	{
		sync_failed(etcd, now_ms, &error);
		return;
	}
	etcd->watch_revision = etcd->checked_revision = revision;
	etcd->needs_load = etcd->load_linearizable = false;
	etcd->sync_at_ms = now_ms;
}

static void
members_done(Call *call, const CallResult *result)
{
	Etcd3	   *etcd = call->etcd;
	int64_t		now_ms = clock_now_ms();

	etcd->sync_call = NULL;
	etcd->members_are_due = false;
	etcd->members_at_ms = now_ms;
	/* Without an answer the old list stays. */
	if (result->outcome == CALL_ANSWERED)
		endpoints_learn(etcd, result->answer);
	etcd->sync_at_ms = now_ms;
}

static void
version_done(Call *call, const CallResult *result)
{
	Etcd3	   *etcd = call->etcd;
	int64_t		now_ms = clock_now_ms();
	const char *version = json_string_value(json_object_get(result->answer, "etcdcluster"));
	const char *server = json_string_value(json_object_get(result->answer, "etcdserver"));
	Error		error;

	etcd->sync_call = NULL;
	error_clear(&error);
	/* A cluster that has not agreed yet says "not_decided". */
	if (version == NULL || strchr(version, '.') == NULL)
		version = server;
	if (result->outcome != CALL_ANSWERED)
		sync_failed(etcd, now_ms, &result->error);
	else if (version == NULL)
	{
		error_set(&error, "etcd does not tell its version");
		sync_failed(etcd, now_ms, &error);
	}
	else if (!etcd3_prefix_of_version(version, etcd->api))
	{
		etcd->api[0] = '\0';
		error_set(&error, "etcd version \"%.40s\" is not supported", version);
		error_hint(&error, "Version 3.3 or later is needed.");
		sync_failed(etcd, now_ms, &error);
	}
	else
	{
		etcd->sync_at_ms = now_ms;
		calls_kick(etcd, now_ms);
	}
}

/* Take the next step towards a healthy watch. */
static void
sync_step(Etcd3 *etcd, int64_t now_ms)
{
	int64_t		deadline_ms = now_ms + etcd->dcs->config.retry_timeout_ms;
	bool		wants_members = !etcd->dcs->config.use_proxies &&
		etcd->dcs->config.proxy[0] == '\0' && etcd->members_are_due;
	Call	   *call;

	etcd->sync_at_ms = -1;
	if (etcd->sync_call != NULL)
		return;
	if (etcd->api[0] == '\0')
	{
		call = call_start(etcd, "/version", NULL, deadline_ms, version_done, NULL);
		if (call != NULL)
			call->needs_token = false;
	}
	else if (wants_members)
	{
		char	   *body = strdup("{}");

		call = body != NULL ? call_start(etcd, "/cluster/member/list", body, deadline_ms,
										 members_done, NULL) : NULL;
	}
	else if (!etcd->dcs->is_loaded || etcd->needs_load || etcd->load_linearizable)
	{
		char	   *body = etcd3_body_range(etcd->prefix_key, etcd->prefix_end,
											!etcd->load_linearizable);

		watch_stop(etcd);
		call = body != NULL ? call_start(etcd, "/kv/range", body, deadline_ms, load_done, NULL) : NULL;
	}
	else
	{
		if (etcd->watch_state == WATCH_NONE)
			watch_start(etcd, now_ms);
		return;
	}
	if (call == NULL)
	{
		sync_later(etcd, now_ms);
		return;
	}
	call->is_idempotent = true;
	call->is_single_pass = true;
	etcd->sync_call = call;
	call_try(call, now_ms);
}

/*
 * A linearizable look at the leader key, also that it is gone, and at the last
 * write of the cluster: is the silent watch right?
 */
static void
probe_done(Call *call, const CallResult *result)
{
	Etcd3	   *etcd = call->etcd;
	int64_t		now_ms = clock_now_ms();
	uint64_t	revision = answer_revision(result->answer);

	etcd->probe_call = NULL;
	etcd->probe_at_ms = now_ms + probe_interval_ms(etcd);
	if (etcd->watch_state != WATCH_HEALTHY)
		return;
	if (result->outcome != CALL_ANSWERED)
	{
		watch_failed(etcd, now_ms, result->error.message);
		dcs_set_reachable(etcd->dcs, false, &result->error);
		return;
	}
	if (revision < etcd->probe_revision)
	{
		/*
		 * The store went back, restored from a backup.  Only what the watch had
		 * told before tells: an answer may come later than newer events.
		 */
		etcd->needs_load = etcd->load_linearizable = true;
		watch_failed(etcd, now_ms, "the store went back in time");
		return;
	}
	if (!watch_has_told(etcd, result->answer))
	{
		/* One that moves on is late, as in a store that has much to do. */
		if (etcd->is_suspect && (etcd->watch_revision == etcd->suspect_revision ||
								 etcd->suspect_until_ms <= now_ms))
		{
			watch_failed(etcd, now_ms, "it does not tell of changes");
			return;
		}
		if (!etcd->is_suspect)
			etcd->suspect_until_ms = now_ms + dead_peer_ms(etcd) + STALE_CHECK_MS;
		/* The event may be on its way: look again soon. */
		etcd->is_suspect = true;
		etcd->suspect_revision = etcd->watch_revision;
		etcd->probe_at_ms = now_ms + STALE_CHECK_MS;
		return;
	}
	watch_is_right(etcd, revision, result->sent_at_ms);
}

/*
 * Has the node's other home looked lately, and seen what the watch has told
 * here?  It gets some time more to look again: both count from its last look,
 * and would be due at the same moment.
 */
static bool
probe_is_spared(Etcd3 *etcd, int64_t now_ms)
{
	const DcsSighting *others = &etcd->dcs->others_sighting;
	int64_t		until_ms = others->at_ms + dead_peer_ms(etcd) * 2;

	if (others->at_ms == 0 || until_ms <= now_ms || others->revision > etcd->watch_revision ||
		etcd->is_suspect)
		return false;
	etcd->probe_at_ms = until_ms;
	return true;
}

static void
probe_start(Etcd3 *etcd, int64_t now_ms)
{
	int64_t		wait_ms = dead_peer_ms(etcd) / 2;
	char	   *body;

	if (wait_ms < TRY_MIN_MS)
		wait_ms = TRY_MIN_MS;
	etcd->probe_at_ms = now_ms + wait_ms + probe_interval_ms(etcd);
	if (etcd->probe_call != NULL)
		return;
	body = etcd3_body_newest(etcd->leader_key, etcd->prefix_key, etcd->prefix_end);
	if (body == NULL)
		return;
	etcd->probe_call = call_start(etcd, "/kv/txn", body,
								  now_ms + wait_ms * etcd->n_endpoints, probe_done, NULL);
	if (etcd->probe_call == NULL)
		return;
	etcd->probe_revision = etcd->watch_revision;
	etcd->probe_call->is_idempotent = true;
	etcd->probe_call->is_single_pass = true;
	call_try(etcd->probe_call, now_ms);
}

/* ---------------------------------------------------------------- the driver */

static int
etcd3_fd(const Dcs *dcs)
{
	return http_fd(etcd_of(dcs)->http);
}

static void
etcd3_socket_ready(Dcs *dcs, int64_t now_ms)
{
	http_process(etcd_of(dcs)->http, now_ms);
}

static void
earlier(int64_t *at_ms, int64_t candidate_ms)
{
	if (candidate_ms >= 0 && (*at_ms < 0 || candidate_ms < *at_ms))
		*at_ms = candidate_ms;
}

static int64_t
etcd3_timer_at_ms(const Dcs *dcs, int64_t now_ms)
{
	const Etcd3 *etcd = etcd_of(dcs);
	const Call *call;
	int64_t		at_ms = -1;
	int			http_ms = http_timeout_ms(etcd->http, now_ms);

	if (http_ms >= 0)
		earlier(&at_ms, now_ms + http_ms);
	earlier(&at_ms, etcd->sync_at_ms);
	if (etcd->watch_state == WATCH_STARTING)
		earlier(&at_ms, etcd->watch_deadline_ms);
	if (etcd->watch_state == WATCH_HEALTHY)
		earlier(&at_ms, etcd->probe_at_ms);
	for (call = etcd->calls; call != NULL; call = call->next)
	{
		if (call->state != CALL_WAITING)
			continue;
		earlier(&at_ms, call->deadline_ms);
		if (call->pause_until_ms > now_ms)
			earlier(&at_ms, call->pause_until_ms);
		else if (etcd->auth_call == NULL && etcd->auth_after_ms > now_ms)
			earlier(&at_ms, etcd->auth_after_ms);
		else if (call->body == NULL || etcd->api[0] != '\0')
			earlier(&at_ms, etcd->auth_call == NULL ? now_ms : now_ms + BACKOFF_MIN_MS);
	}
	return at_ms;
}

static void
etcd3_timer_due(Dcs *dcs, int64_t now_ms)
{
	Etcd3	   *etcd = etcd_of(dcs);

	calls_kick(etcd, now_ms);
	if (now_ms - etcd->members_at_ms > 10 * dcs->config.ttl_ms)
		etcd->members_are_due = true;
	if (etcd->watch_state == WATCH_STARTING && etcd->watch_deadline_ms <= now_ms)
		watch_failed(etcd, now_ms, "etcd did not answer in time");
	if (etcd->watch_state == WATCH_HEALTHY && etcd->probe_at_ms <= now_ms)
	{
		if (!probe_is_spared(etcd, now_ms))
			probe_start(etcd, now_ms);
		if (etcd->members_are_due && etcd->sync_at_ms < 0)
			etcd->sync_at_ms = now_ms;
	}
	if (etcd->sync_at_ms >= 0 && etcd->sync_at_ms <= now_ms)
		sync_step(etcd, now_ms);
}

/* A session from elsewhere: nobody here knows when it was extended. */
static void
etcd3_session_was_set(Dcs *dcs)
{
	Etcd3	   *etcd = etcd_of(dcs);

	etcd->session_sent_at_ms = 0;
	etcd->session_ttl_s = 0;
}

static bool
etcd3_reconfigure(Dcs *dcs, Error *error)
{
	Etcd3	   *etcd = etcd_of(dcs);
	char		current[ENDPOINT_URL_MAX];
	char		watched[ENDPOINT_URL_MAX] = "";
	int			n_before = etcd->n_endpoints;

	memcpy(current, etcd->endpoints[etcd->current], sizeof(current));
	if (etcd->watch_endpoint >= 0)
		memcpy(watched, etcd->endpoints[etcd->watch_endpoint], sizeof(watched));
	etcd->n_endpoints = 0;
	endpoints_from_config(etcd);
	if (etcd->n_endpoints == 0)
	{
		/* Only the count was changed: the first entry is overwritten by none. */
		etcd->n_endpoints = n_before;
		return error_set(error, "no usable host of etcd is given");
	}
	endpoints_were_replaced(etcd, current, watched);
	etcd->members_are_due = true;
	explicit_bzero(etcd->token, sizeof(etcd->token));
	etcd->auth_is_disabled = false;
	etcd->auth_after_ms = 0;
	if (etcd->sync_call == NULL)
		etcd->sync_at_ms = clock_now_ms();
	return true;
}

static void
etcd3_close(Dcs *dcs)
{
	Etcd3	   *etcd = etcd_of(dcs);

	if (etcd == NULL)
		return;
	watch_stop(etcd);
	while (etcd->calls != NULL)
		call_free(etcd->calls);
	http_close(etcd->http);
	json_stream_free(&etcd->stream);
	free(etcd->prefix_end);
	explicit_bzero(etcd->token, sizeof(etcd->token));
	free(etcd);
	dcs->driver_data = NULL;
}

static bool
etcd3_open(Dcs *dcs, Error *error)
{
	Etcd3	   *etcd = calloc(1, sizeof(*etcd));

	if (etcd == NULL)
		return error_set(error, "out of memory");
	etcd->dcs = dcs;
	dcs->driver_data = etcd;
	json_stream_init(&etcd->stream);
	snprintf(etcd->prefix_key, sizeof(etcd->prefix_key), "%s/", dcs->config.base);
	snprintf(etcd->leader_key, sizeof(etcd->leader_key), "%s/leader", dcs->config.base);
	snprintf(etcd->promotions_key, sizeof(etcd->promotions_key), "%s/promotions", dcs->config.base);
	snprintf(etcd->history_key, sizeof(etcd->history_key), "%s/history", dcs->config.base);
	snprintf(etcd->failsafe_key, sizeof(etcd->failsafe_key), "%s/failsafe", dcs->config.base);
	etcd->prefix_end = etcd3_range_end(etcd->prefix_key);
	etcd->watch_endpoint = -1;
	etcd->sync_backoff_ms = BACKOFF_MIN_MS;
	etcd->members_are_due = true;
	endpoints_from_config(etcd);
	if (etcd->prefix_end == NULL || etcd->n_endpoints == 0)
	{
		error_set(error, etcd->n_endpoints == 0 ? "no usable host of etcd is given" : "out of memory");
		free(etcd->prefix_end);
		free(etcd);
		return false;
	}
	if (!http_open(&etcd->http, error))
	{
		free(etcd->prefix_end);
		free(etcd);
		return false;
	}
	etcd->sync_at_ms = clock_now_ms();
	etcd->members_at_ms = etcd->sync_at_ms;
	return true;
}

const DcsDriver etcd3_driver = {
	.name = "etcd3",
	.features = DCS_FEATURE_WATCH,
	.open = etcd3_open,
	.reconfigure = etcd3_reconfigure,
	.fd = etcd3_fd,
	.submit = etcd3_submit,
	.abandon = etcd3_abandon,
	.socket_ready = etcd3_socket_ready,
	.timer_at_ms = etcd3_timer_at_ms,
	.timer_due = etcd3_timer_due,
	.session_was_set = etcd3_session_was_set,
	.close = etcd3_close,
};
