/*-------------------------------------------------------------------------
 *
 * log.h
 *      The supervisor's log: lines of the same shape as the server's.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_SUPERVISOR_LOG_H
#define PATRONI_SUPERVISOR_LOG_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

typedef enum LogLevel
{
	LOG_LEVEL_DEBUG = 0,
	LOG_LEVEL_LOG = 1,
	LOG_LEVEL_WARNING = 2,
	LOG_LEVEL_ERROR = 3,
	LOG_LEVEL_FATAL = 4,
} LogLevel;

#define LOG_LINE_MAX 4096

/* Detail and hint may be NULL or "".  Every text passes through log_redact(). */
extern void log_write(LogLevel level, const char *message, const char *detail, const char *hint);
extern void log_format(LogLevel level, const char *format, ...) PRINTF_LIKE(2, 3);
extern void log_error(LogLevel level, const Error *error);
/* Are debug messages wanted? */
extern void log_set_debug(bool is_wanted);

/* Copy a text without the secrets in it; cuts it at "size". */
extern void log_redact(const char *text, char *clean, size_t size);

#endif /* PATRONI_SUPERVISOR_LOG_H */
