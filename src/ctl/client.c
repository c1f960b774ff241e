/*-------------------------------------------------------------------------
 *
 * client.c
 *      Calls of the members' REST API (patroni/ctl.py, request_patroni()), one at a time.
 *
 *-------------------------------------------------------------------------
 */
#include "ctl/ctl.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define CLIENT_CONNECT_MS	10000
#define CLIENT_DEAD_PEER_MS 30000
#define CLIENT_TURN_MS		1000

typedef struct Call
{
	bool is_done;
	bool is_answered;
	RestAnswer *answer;
	Error error;
} Call;

static void
call_done(void *context, const HttpAnswer *answer)
{
	Call *call = context;

	call->is_done = true;
	if (answer->outcome != HTTP_ANSWERED)
	{
		if (answer->error != NULL)
			call->error = *answer->error;
		return;
	}
	call->answer->status = answer->status;
	call->answer->text = malloc(answer->length + 1);
	if (call->answer->text == NULL)
		return;
	memcpy(call->answer->text, answer->body, answer->length);
	call->answer->text[answer->length] = '\0';
	call->is_answered = true;
}

static const char *
setting(const Ctl *ctl, const char *section, const char *key)
{
	return json_string_value(json_object_get(json_object_get(ctl->document, section), key));
}

/* Credentials and certificates; the texts are the document's. */
static void
set_security(const Ctl *ctl, HttpOptions *options)
{
	const json_t *section = json_object_get(ctl->document, "ctl");
	const json_t *authentication = json_object_get(section, "authentication");
	bool insecure = ctl->flags[OPTION_INSECURE];
	const json_t *value = json_object_get(section, "insecure");
	bool is_on;

	if (value != NULL && value_to_bool(value, &is_on) && is_on)
		insecure = true;
	if (!json_is_object(authentication))
		authentication =
			json_object_get(json_object_get(ctl->document, "restapi"), "authentication");
	options->username = json_string_value(json_object_get(authentication, "username"));
	options->password = json_string_value(json_object_get(authentication, "password"));
	options->cacert = setting(ctl, "ctl", "cacert");
	if (options->cacert == NULL)
		options->cacert = setting(ctl, "restapi", "cafile");
	options->cert = setting(ctl, "ctl", "certfile");
	if (options->cert != NULL)
	{
		options->key = setting(ctl, "ctl", "keyfile");
		options->key_password = setting(ctl, "ctl", "keyfile_password");
	}
	options->insecure = insecure && options->cert == NULL;
	options->any_host = insecure && options->cert != NULL;
}

/* Scheme and host of the member's address with another path; the whole without. */
static bool
make_url(const char *api_url, const char *endpoint, char *url, size_t size)
{
	const char *host = strstr(api_url, "://");
	size_t length;

	if (host == NULL)
		return false;
	length = (size_t) (host - api_url) + 3 + strcspn(host + 3, "/?#");
	if (endpoint == NULL)
		return snprintf(url, size, "%s", api_url) < (int) size;
	return snprintf(url, size, "%.*s/%s", (int) length, api_url, endpoint) < (int) size;
}

/*
 * Ask a member and wait for the answer, at most timeout_ms unless that is 0.
 * False: there was none; else the answer is the caller's to free.
 */
bool
client_call(Ctl *ctl, const CtlMember *member, const char *method, const char *endpoint,
			const json_t *body, int timeout_ms, RestAnswer *answer, Error *error)
{
	Call call = { .answer = answer };
	HttpOptions options;
	char url[CLUSTER_URL_MAX + 64];
	char *text = NULL;
	bool is_started;

	memset(answer, 0, sizeof(*answer));
	error_clear(error);
	if (!make_url(member->known.api_url, endpoint, url, sizeof(url)))
		return error_set(error, "member \"%s\" has no usable api_url", member->known.name);
	if (ctl->http == NULL && !http_open(&ctl->http, error))
		return false;
	memset(&options, 0, sizeof(options));
	set_security(ctl, &options);
	if (body != NULL && (text = format_json(body)) == NULL)
		return error_set(error, "out of memory");
	options.method = method;
	options.url = url;
	options.body = text;
	options.connect_timeout_ms = CLIENT_CONNECT_MS;
	options.timeout_ms = timeout_ms;
	options.dead_peer_ms = CLIENT_DEAD_PEER_MS;
	options.done = call_done;
	options.context = &call;
	is_started = http_start(ctl->http, &options) != NULL;
	free(text);
	if (!is_started)
		return error_set(error, "could not start a request to \"%s\"", url);
	while (!call.is_done)
	{
		struct pollfd poll_fd = { .fd = http_fd(ctl->http), .events = POLLIN };
		int wait_ms = http_timeout_ms(ctl->http, clock_now_ms());

		if (wait_ms < 0 || wait_ms > CLIENT_TURN_MS)
			wait_ms = CLIENT_TURN_MS;
		(void) poll(&poll_fd, 1, wait_ms);
		http_process(ctl->http, clock_now_ms());
	}
	if (call.is_answered)
		return true;
	*error = call.error;
	if (error->message[0] == '\0')
		error_set(error, "no answer from \"%s\"", url);
	return false;
}

void
client_answer_free(RestAnswer *answer)
{
	free(answer->text);
	answer->text = NULL;
}
