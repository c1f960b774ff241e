/*-------------------------------------------------------------------------
 *
 * peers.c
 *      Ask the other members over REST how they are.
 *
 * Every question ends in exactly one answer or in peers_forget_all(): silence
 * is an answer too, with is_reachable false.  As Patroni does, the HTTP status
 * is not looked at, only the JSON.  Nor is the peer's certificate verified,
 * unless there is one of our own (ctl.certfile): then its chain is, not its
 * name.  An answer is no proof of anything, it only makes a race more orderly;
 * the store decides who leads.  But for POST /failsafe (src/ha/failsafe.c):
 * there the answer is a promise, and status and text both have to be right.
 *-------------------------------------------------------------------------
 */
#include "node/peers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dcs/http.h"

#define ACCEPTED          "Accepted"
#define PEER_BODY_MAX     (256 * 1024)
#define PEER_REQUESTS_MAX (2 * CLUSTER_MEMBERS_MAX)

typedef struct PeerRequest
{
	Peers *peers;
	HttpRequest *http; /* NULL: this slot is free */
	char name[CLUSTER_NAME_MAX];
	uint64_t round;
	bool is_consent; /* POST /failsafe */
} PeerRequest;

struct Peers
{
	Http *http;
	void (*answer)(void *context, const HaPeer *peer);
	void *context;
	/* Of ctl, else restapi; "" = none.  Never logged. */
	char username[256];
	char password[256];
	char cacert[SETTINGS_PATH_MAX];
	char cert[SETTINGS_PATH_MAX];
	char key[SETTINGS_PATH_MAX];
	char key_password[256];
	PeerRequest requests[PEER_REQUESTS_MAX];
};

/* Make ready to ask.  "answer" is called from peers_process() only. */
bool
peers_open(Peers **peers, void (*answer)(void *context, const HaPeer *peer), void *context,
           Error *error)
{
	*peers = calloc(1, sizeof(Peers));
	if (*peers == NULL)
		return error_set(error, "out of memory");
	(*peers)->answer = answer;
	(*peers)->context = context;
	if (!http_open(&(*peers)->http, error))
	{
		free(*peers);
		*peers = NULL;
		return false;
	}
	return true;
}

/* End all requests without answers.  NULL is fine. */
void
peers_close(Peers *peers)
{
	if (peers == NULL)
		return;
	peers_forget_all(peers);
	http_close(peers->http);
	explicit_bzero(peers->password, sizeof(peers->password));
	explicit_bzero(peers->key_password, sizeof(peers->key_password));
	free(peers);
}

static void
copy_setting(char *to, size_t size, const json_t *section, const char *key)
{
	const char *text = json_string_value(json_object_get(section, key));

	snprintf(to, size, "%s", text == NULL ? "" : text);
}

/* Take credentials and client certificate from the effective settings. */
void
peers_configure(Peers *peers, const Settings *settings)
{
	const json_t *ctl = json_object_get(settings->document, "ctl");
	const json_t *restapi = json_object_get(settings->document, "restapi");
	const json_t *authentication = json_object_get(ctl, "authentication");

	if (!json_is_object(authentication))
		authentication = json_object_get(restapi, "authentication");
	copy_setting(peers->username, sizeof(peers->username), authentication, "username");
	copy_setting(peers->password, sizeof(peers->password), authentication, "password");
	copy_setting(peers->cacert, sizeof(peers->cacert), ctl, "cacert");
	if (peers->cacert[0] == '\0')
		copy_setting(peers->cacert, sizeof(peers->cacert), restapi, "cafile");
	copy_setting(peers->cert, sizeof(peers->cert), ctl, "certfile");
	copy_setting(peers->key, sizeof(peers->key), ctl, "keyfile");
	copy_setting(peers->key_password, sizeof(peers->key_password), ctl, "keyfile_password");
}

/* A descriptor that is readable when peers_process() has something to do. */
int
peers_fd(const Peers *peers)
{
	return http_fd(peers->http);
}

/* When peers_process() wants to be called at the latest; -1 = never. */
int
peers_timeout_ms(const Peers *peers, int64_t now_ms)
{
	return http_timeout_ms(peers->http, now_ms);
}

/* Go on with what is under way, and deliver answers. */
void
peers_process(Peers *peers, int64_t now_ms)
{
	http_process(peers->http, now_ms);
}

static Lsn
json_lsn(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	if (json_is_integer(value) && json_integer_value(value) > 0)
		return (Lsn) json_integer_value(value);
	if (json_is_string(value))
		return (Lsn) strtoull(json_string_value(value), NULL, 10);
	return 0;
}

/*
 * Read a peer's status document into *peer, whose name and round are kept.
 * Without WAL positions the peer counts as unreachable (patroni/ha.py,
 * _MemberStatus.from_api_response()): it is there, but there is nothing to
 * compare.  Its state is kept for people.
 */
void
peer_from_status(HaPeer *peer, const char *body, size_t length)
{
	json_t *status = json_loadb(body, length, 0, NULL);
	const json_t *xlog = json_object_get(status, "xlog");
	const json_t *tags = json_object_get(status, "tags");
	const char *state = json_string_value(json_object_get(status, "state"));
	const char *role = json_string_value(json_object_get(status, "role"));
	MemberTags effective;
	char *tags_text = json_is_object(tags) ? json_dumps(tags, JSON_COMPACT) : NULL;

	if (!json_is_object(xlog))
		xlog = json_object_get(status, "wal");
	member_tags_from_json(&effective, tags_text);
	free(tags_text);

	peer->is_reachable = json_is_object(xlog);
	peer->state = state == NULL ? MEMBER_STATE_UNKNOWN : member_state_from_name(state);
	peer->can_lead = !json_is_false(json_object_get(status, "can_lead"));
	peer->is_hanging = json_string_length(json_object_get(status, "hang")) > 0;
	peer->watchdog_failed = json_is_true(json_object_get(status, "watchdog_failed"));
	peer->nofailover = effective.nofailover;
	peer->failover_priority = effective.failover_priority;
	peer->missing_slots = (int) json_integer_value(json_object_get(status, "missing_slots"));
	peer->timeline = (uint32_t) json_lsn(status, "timeline");
	peer->is_in_recovery = !json_object_get(xlog, "location") &&
	                       (role == NULL || member_role_from_name(role) != ROLE_PRIMARY);
	if (peer->is_in_recovery)
	{
		Lsn received = json_lsn(xlog, "received_location");
		Lsn replayed = json_lsn(xlog, "replayed_location");

		peer->checkpoint_redo = json_lsn(json_object_get(status, "patroni_bgw"), "checkpoint_redo");
		peer->position = received > replayed ? received : replayed;
	}
	else
		peer->position = json_lsn(xlog, "location");
	json_decref(status);
}

static void
peer_answered(void *context, const HttpAnswer *answer)
{
	PeerRequest *request = context;
	HaPeer peer;

	memset(&peer, 0, sizeof(peer));
	snprintf(peer.name, sizeof(peer.name), "%s", request->name);
	peer.round = request->round;
	peer.can_lead = true;
	peer.state = MEMBER_STATE_UNKNOWN;
	if (answer->outcome == HTTP_ANSWERED && answer->body != NULL)
		peer_from_status(&peer, answer->body, answer->length);
	request->http = NULL;
	request->peers->answer(request->peers->context, &peer);
}

/* Accepted is only what says so in exactly this word (patroni/ha.py, call_failsafe_member()). */
static void
consent_answered(void *context, const HttpAnswer *answer)
{
	PeerRequest *request = context;
	HaPeer peer;

	memset(&peer, 0, sizeof(peer));
	snprintf(peer.name, sizeof(peer.name), "%s", request->name);
	peer.round = request->round;
	peer.is_vote = true;
	if (answer->outcome == HTTP_ANSWERED)
	{
		const char *body = answer->body == NULL ? "" : answer->body;

		peer.has_accepted = answer->status == 200 && answer->length == strlen(ACCEPTED) &&
		                    memcmp(body, ACCEPTED, strlen(ACCEPTED)) == 0;
		if (!peer.has_accepted)
			snprintf(peer.refusal, sizeof(peer.refusal), "HTTP status %d%s%.*s", (int) answer->status,
			         body[0] == '\0' || body[0] == '<' ? "" : ", ",
			         body[0] == '<' ? 0 : (int) strcspn(body, "\r\n"), body);
	}
	request->http = NULL;
	request->peers->answer(request->peers->context, &peer);
}

static PeerRequest *
find_slot(Peers *peers, const char *name, bool is_consent)
{
	PeerRequest *request = NULL;

	for (int i = 0; i < PEER_REQUESTS_MAX; i++)
	{
		PeerRequest *candidate = &peers->requests[i];

		if (candidate->http != NULL && candidate->is_consent == is_consent &&
		    strcmp(candidate->name, name) == 0)
		{
			http_cancel(candidate->http);
			candidate->http = NULL;
		}
		if (candidate->http == NULL && request == NULL)
			request = candidate;
	}
	return request;
}

static bool
start(Peers *peers, PeerRequest *request, HttpOptions *options, const char *name, uint64_t round,
      int timeout_ms)
{
	options->username = peers->username[0] != '\0' ? peers->username : NULL;
	options->password = peers->username[0] != '\0' ? peers->password : NULL;
	options->cacert = peers->cert[0] != '\0' ? peers->cacert : NULL;
	options->cert = peers->cert;
	options->key = peers->key;
	options->key_password = peers->key_password;
	options->insecure = peers->cert[0] == '\0';
	options->any_host = true;
	options->connect_timeout_ms = timeout_ms;
	options->timeout_ms = timeout_ms;
	options->body_max = PEER_BODY_MAX;
	options->context = request;

	request->peers = peers;
	request->round = round;
	snprintf(request->name, sizeof(request->name), "%s", name);
	request->http = http_start(peers->http, options);
	return request->http != NULL;
}

/*
 * Ask one member.  An older question to the same member, which nobody waits
 * for any more, is given up.  False: there will be no answer.
 */
bool
peers_ask(Peers *peers, const char *name, const char *url, uint64_t round, int timeout_ms)
{
	PeerRequest *request = find_slot(peers, name, false);
	HttpOptions options;

	if (request == NULL || url[0] == '\0')
		return false;
	memset(&options, 0, sizeof(options));
	options.method = "GET";
	options.url = url;
	options.done = peer_answered;
	request->is_consent = false;
	return start(peers, request, &options, name, round, timeout_ms);
}

/* POST /failsafe; of the member's api_url only scheme, host and port count (patroni/request.py). */
bool
peers_ask_consent(Peers *peers, const char *name, const char *url, const char *body,
                  uint64_t round, int timeout_ms)
{
	PeerRequest *request = find_slot(peers, name, true);
	const char *host = strstr(url, "://");
	char address[CLUSTER_URL_MAX + 16];
	HttpOptions options;

	if (request == NULL || host == NULL || body == NULL)
		return false;
	host += 3;
	snprintf(address, sizeof(address), "%.*s/failsafe", (int) (host - url + (int) strcspn(host, "/?#")), url);
	memset(&options, 0, sizeof(options));
	options.method = "POST";
	options.url = address;
	options.body = body;
	options.done = consent_answered;
	request->is_consent = true;
	return start(peers, request, &options, name, round, timeout_ms);
}

/* The body of POST /failsafe as a command; Patroni's has neither "member" nor "ttl_ms". */
void
peer_failsafe_command(HaCommand *command, const json_t *body)
{
	memset(command, 0, sizeof(*command));
	command->kind = HA_COMMAND_FAILSAFE;
	copy_setting(command->leader, sizeof(command->leader), body, "name");
	copy_setting(command->member, sizeof(command->member), body, "member");
	if (json_integer_value(json_object_get(body, "ttl_ms")) > 0)
		command->timeout_ms = json_integer_value(json_object_get(body, "ttl_ms"));
}

/* Give up all questions; no answers will come. */
void
peers_forget_all(Peers *peers)
{
	for (int i = 0; i < PEER_REQUESTS_MAX; i++)
	{
		if (peers->requests[i].http != NULL)
			http_cancel(peers->requests[i].http);
		peers->requests[i].http = NULL;
	}
}
