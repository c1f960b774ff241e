/*-------------------------------------------------------------------------
 *
 * access.c
 *      Who may make calls that change something (rest-api.md 2).
 *
 * Closed by default: without restapi.authentication nobody may, where Patroni
 * would let everybody.  The time that a comparison takes does not depend on
 * how much of the password was right.
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "dcs/base64.h"
#include "rest/rest_internal.h"

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

/* Is there a user name and a password to ask for? */
bool
access_is_configured(const Settings *settings)
{
	bool is_configured;
	char *wanted = wanted_credentials(settings, &is_configured);

	if (wanted != NULL)
		explicit_bzero(wanted, strlen(wanted));
	free(wanted);
	return is_configured;
}

/*
 * May a call with this Authorization header ("" unreadable, NULL none) change
 * something?  Returns 0, or the status and the text to refuse it with.
 */
int
access_code(const Settings *settings, const char *authorization, const char **text)
{
	bool is_configured = false;
	char *wanted = settings == NULL ? NULL : wanted_credentials(settings, &is_configured);
	bool is_allowed = false;

	if (!is_configured)
	{
		*text = "access is denied: calls that change something need restapi.authentication "
				"(username and password) in the configuration of this member";
		return 403;
	}
	if (authorization == NULL)
		*text = "no auth header received";
	else
	{
		*text = "not authenticated";
		is_allowed = wanted != NULL && strncasecmp(authorization, SCHEME, strlen(SCHEME)) == 0 &&
					 is_equal(authorization + strlen(SCHEME), wanted);
	}
	if (wanted != NULL)
		explicit_bzero(wanted, strlen(wanted));
	free(wanted);
	return is_allowed ? 0 : 401;
}
