/*-------------------------------------------------------------------------
 *
 * access.c
 *      Who may make calls that change something (patroni/api.py, check_access()).
 *
 * Three locks, each of which may be configured: the address from where a call
 * comes, a client certificate, a password.  Those that are must all be opened.
 * Closed by default: where none is configured nobody may, and Patroni would let
 * everybody.  The time that a comparison takes does not depend on how much of
 * the password was right.
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/ascii.h"
#include "dcs/base64.h"
#include "rest/rest_internal.h"
#include "rest/tls.h"

#define SCHEME "Basic "

/* The base64 text of "username:password", malloc'ed; NULL: not configured, or no memory. */
static char *
wanted_credentials(const Settings *settings, bool *is_configured)
{
	const json_t *authentication =
		json_object_get(json_object_get(settings->document, "restapi"), "authentication");
	const char *username = json_string_value(json_object_get(authentication, "username"));
	const char *password = json_string_value(json_object_get(authentication, "password"));
	size_t size;
	char *plain;
	char *text;

	*is_configured =
		username != NULL && password != NULL && username[0] != '\0' && password[0] != '\0';
	if (!*is_configured)
		return NULL;
	size = strlen(username) + strlen(password) + 2;
	plain = malloc(size);
	if (plain == NULL)
		return NULL;
	snprintf(plain, size, "%s:%s", username, password);
	text = base64_encode(plain, size - 1);
	explicit_bzero(plain, size);
	free(plain);
	return text;
}

/* Looks at all of "given", however early the difference is. */
static bool
is_equal(const char *given, const char *wanted)
{
	size_t given_length = strlen(given);
	size_t wanted_length = strlen(wanted);
	volatile unsigned char difference = given_length != wanted_length;

	for (size_t i = 0; i < given_length; i++)
		difference |=
			(unsigned char) (given[i] ^ wanted[wanted_length == 0 ? 0 : i % wanted_length]);
	return difference == 0;
}

/* 0, or the status: is the password right, if there is one? */
static int
password_code(const Settings *settings, const ServerRequest *request, bool *is_configured,
			  const char **text)
{
	char *wanted = wanted_credentials(settings, is_configured);
	bool is_allowed = false;

	*text = "no auth header received";
	if (*is_configured && request->has_authorization)
	{
		*text = "not authenticated";
		is_allowed = wanted != NULL &&
					 ascii_is_same_part(request->authorization, SCHEME, strlen(SCHEME)) &&
					 is_equal(request->authorization + strlen(SCHEME), wanted);
	}
	if (wanted != NULL)
		explicit_bzero(wanted, strlen(wanted));
	free(wanted);
	return is_allowed || !*is_configured ? 0 : 401;
}

/*
 * May this request change something?  Returns 0, or the status and the text to
 * refuse it with, in Patroni's order.  What members ask each other (POST
 * /failsafe) needs no lock, as they may have no password, and need not be among
 * the members that the store showed last.
 */
int
access_code(const Settings *settings, const Allowlist *list, const ClusterView *view,
			const ServerRequest *request, bool is_of_members, const char **text)
{
	bool has_password = false;
	bool asks_certificate = tls_asks_for_certificate(settings);
	int code;

	if (settings == NULL)
	{
		*text = "there is no configuration yet";
		return 403;
	}
	*text = "Access is denied";
	if ((!is_of_members || allowlist_has_entries(list)) &&
		!allowlist_allows(list, view, (const struct sockaddr *) &request->from))
		return 403;
	*text = "client certificate required";
	if (asks_certificate && !request->has_certificate)
		return 403;
	code = password_code(settings, request, &has_password, text);
	if (code == 0 && !is_of_members && !has_password && !asks_certificate && !allowlist_is_used(list))
	{
		*text = "access is denied: calls that change something need restapi.authentication "
				"(username and password), restapi.allowlist or restapi.verify_client in the "
				"configuration of this member";
		return 403;
	}
	return code;
}
