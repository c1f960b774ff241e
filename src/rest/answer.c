/*-------------------------------------------------------------------------
 *
 * answer.c
 *      Answers with the headers that the settings want.
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <string.h>

#include "base/version.h"
#include "cluster/ascii.h"
#include "rest/rest_internal.h"

#define HEADERS_MAX 2048

/* One setting of restapi, borrowed; NULL: it is not set. */
const json_t *
restapi_setting(const Settings *settings, const char *key)
{
	return settings == NULL ? NULL
	                        : json_object_get(json_object_get(settings->document, "restapi"), key);
}

/* restapi.server_tokens: how we call ourselves; a constant. */
const char *
server_token(const Settings *settings)
{
	const char *tokens = json_string_value(restapi_setting(settings, "server_tokens"));

	if (tokens != NULL && ascii_is_same(tokens, "productonly"))
		return "Patroni";
	if (tokens != NULL && ascii_is_same(tokens, "minimal"))
		return "Patroni/" PATRONI_PROTOCOL_VERSION;
	return "patroni_bgw/" PATRONI_BGW_VERSION;
}

/* Append the headers of a map; what would break out of its line is left out. */
static size_t
add_headers(const json_t *headers, const json_t *winners, char *text, size_t size, size_t used)
{
	const char *name;
	json_t *value;

	json_object_foreach((json_t *) headers, name, value)
	{
		const char *content = json_string_value(value);

		if (content == NULL || strpbrk(content, "\r\n") != NULL ||
		    strpbrk(name, "\r\n: ") != NULL ||
		    used + strlen(name) + strlen(content) + 5 > size ||
		    json_object_get(winners, name) != NULL)
			continue;
		used += (size_t) snprintf(text + used, size - used, "%s: %s\r\n", name, content);
	}
	return used;
}

/* restapi.http_extra_headers; with TLS those of https_extra_headers come before them. */
static void
extra_headers(const Settings *settings, char *text, size_t size)
{
	bool is_tls = restapi_setting(settings, "certfile") != NULL;
	const json_t *winners = is_tls ? restapi_setting(settings, "https_extra_headers") : NULL;
	size_t used;

	text[0] = '\0';
	used = add_headers(winners, NULL, text, size, 0);
	add_headers(restapi_setting(settings, "http_extra_headers"), winners, text, size, used);
}

/* The status line alone, as checks want it. */
void
answer_status_line(Connection *connection, int code)
{
	ServerAnswer answer;

	memset(&answer, 0, sizeof(answer));
	answer.status = code;
	answer.is_status_line_only = true;
	connection_answer(connection, &answer);
}

/* A whole answer; "header" is "" or lines of its own. */
void
answer_text(Connection *connection, const Settings *settings, int code, const char *content_type,
            const char *header, const char *body)
{
	char headers[HEADERS_MAX];
	ServerAnswer answer;
	size_t used = (size_t) snprintf(headers, sizeof(headers), "%s", header);

	extra_headers(settings, headers + used, sizeof(headers) - used);
	memset(&answer, 0, sizeof(answer));
	answer.status = code;
	answer.server = server_token(settings);
	answer.content_type = content_type;
	answer.extra_headers = headers;
	answer.body = body;
	connection_answer(connection, &answer);
}
