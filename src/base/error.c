/*-------------------------------------------------------------------------
 *
 * error.c
 *      How code outside the server reports failure: return false and explain.
 *
 *-------------------------------------------------------------------------
 */
#include "base/error.h"

#include <stdio.h>
#include <string.h>

/* Forget what went wrong.  A NULL error is allowed everywhere in this file. */
void
error_clear(Error *error)
{
	if (error == NULL)
		return;
	error->message[0] = error->detail[0] = error->hint[0] = '\0';
}

/* Say what went wrong, replacing what was said before.  Returns false. */
bool
error_set(Error *error, const char *format,...)
{
	va_list		args;

	if (error == NULL)
		return false;
	error_clear(error);
	va_start(args, format);
	vsnprintf(error->message, sizeof(error->message), format, args);
	va_end(args);
	return false;
}

/* Put "<what the caller was doing>: " before the message.  Returns false. */
bool
error_wrap(Error *error, const char *format,...)
{
	char		inner[ERROR_TEXT_MAX];
	size_t		used;
	va_list		args;

	if (error == NULL)
		return false;
	memcpy(inner, error->message, sizeof(inner));
	va_start(args, format);
	vsnprintf(error->message, sizeof(error->message), format, args);
	va_end(args);
	used = strlen(error->message);
	if (inner[0] != '\0')
		snprintf(error->message + used, sizeof(error->message) - used, ": %s", inner);
	return false;
}

/* Add the sentences that explain the message. */
void
error_detail(Error *error, const char *format,...)
{
	va_list		args;

	if (error == NULL)
		return;
	va_start(args, format);
	vsnprintf(error->detail, sizeof(error->detail), format, args);
	va_end(args);
}

/* Add the sentences that say what to do about it. */
void
error_hint(Error *error, const char *format,...)
{
	va_list		args;

	if (error == NULL)
		return;
	va_start(args, format);
	vsnprintf(error->hint, sizeof(error->hint), format, args);
	va_end(args);
}
