/*-------------------------------------------------------------------------
 *
 * error.h
 *      How code outside the server reports failure: return false and explain.
 *
 * A function that can fail takes an Error, fills it and returns false.  The
 * caller adds what it was doing with error_wrap() and returns false as well;
 * only the top decides and logs, once.  Nothing here allocates memory.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_BASE_ERROR_H
#define PATRONI_BASE_ERROR_H

#include <stdbool.h>
#include <stdarg.h>
#include <stddef.h>

#define MUST_CHECK			__attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a)	__attribute__((format(printf, f, a)))

#define ERROR_TEXT_MAX	1024

typedef struct Error
{
	char		message[ERROR_TEXT_MAX];	/* lower case, one line, no period */
	char		detail[ERROR_TEXT_MAX];		/* whole sentences, or "" */
	char		hint[ERROR_TEXT_MAX];		/* whole sentences, or "" */
} Error;

extern void error_clear(Error *error);
extern bool error_set(Error *error, const char *format,...) PRINTF_LIKE(2, 3);
extern bool error_wrap(Error *error, const char *format,...) PRINTF_LIKE(2, 3);
extern void error_detail(Error *error, const char *format,...) PRINTF_LIKE(2, 3);
extern void error_hint(Error *error, const char *format,...) PRINTF_LIKE(2, 3);

#endif							/* PATRONI_BASE_ERROR_H */
