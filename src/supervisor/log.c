/*-------------------------------------------------------------------------
 *
 * log.c
 *      The supervisor's log: lines of the same shape as the server's.
 *
 *      2026-11-21 10:00:00.123 UTC [4711] LOG:  message
 *
 * Goes to stderr, one write() a record, so that records of several processes
 * do not mix.  Everything passes through log_redact() first: no message of
 * any part of the program shows a password or a token, also if that part
 * forgot that its text holds one.
 *-------------------------------------------------------------------------
 */
#include "supervisor/log.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "cluster/ascii.h"

#define HIDDEN "***"

static bool debug_is_wanted = false;

static const char *const level_names[] = { "DEBUG", "LOG", "WARNING", "ERROR", "FATAL" };

/* Are debug messages wanted? */
void
log_set_debug(bool is_wanted)
{
	debug_is_wanted = is_wanted;
}

/*
 * Is there a word at "text" whose value is a secret?  Returns the length of
 * the word, else 0.  "password" also stands for sslpassword, PGPASSWORD, ...:
 * the scan comes by at every character.
 */
static size_t
secret_word(const char *text)
{
	static const char *const words[] = {
		"password", "passwd", "token", "authorization", "secret", "auth_data",
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
	{
		size_t length = strlen(words[i]);

		if (ascii_is_same_part(text, words[i], length))
			return length;
	}
	return 0;
}

/*
 * The value that follows a secret word: "=", ":" or both with blanks and
 * quotes around.  Sets *start to where it begins and returns its length; 0
 * when the word is just a word of a sentence.
 */
static size_t
secret_value(const char *text, size_t *start)
{
	size_t at = 0;
	size_t end;
	char quote = '\0';

	if (text[at] == '"' || text[at] == '\'')
		at++;
	while (text[at] == ' ')
		at++;
	if (text[at] != '=' && text[at] != ':')
		return 0;
	at++;
	while (text[at] == ' ')
		at++;
	if (text[at] == '"' || text[at] == '\'')
		quote = text[at++];
	end = at;
	if (ascii_is_same_part(text + at, "Bearer ", 7) || ascii_is_same_part(text + at, "Basic ", 6))
		end = at + strcspn(text + at, " ") + 1;
	while (text[end] != '\0')
	{
		if (text[end] == '\\' && text[end + 1] != '\0')
			end++;
		else if (quote != '\0' ? text[end] == quote : strchr(" ,;&})\n", text[end]) != NULL)
			break;
		end++;
	}
	*start = at;
	return end - at;
}

/* In "//user:secret@host": where the secret begins, and its length; else 0. */
static size_t
url_secret(const char *text, size_t *start)
{
	size_t colon = 0;
	size_t last_at = 0;

	if (strncmp(text, "//", 2) != 0)
		return 0;
	for (size_t i = 2; text[i] != '\0' && strchr(" /?#\"'\n", text[i]) == NULL; i++)
	{
		if (text[i] == ':' && colon == 0)
			colon = i;
		if (text[i] == '@')
			last_at = i;
	}
	if (colon == 0 || last_at <= colon + 1)
		return 0;
	*start = colon + 1;
	return last_at - colon - 1;
}

static void
append(char *clean, size_t size, size_t *used, const char *text, size_t length)
{
	if (*used + length >= size)
		length = size - 1 - *used;
	memcpy(clean + *used, text, length);
	*used += length;
	clean[*used] = '\0';
}

/*
 * Copy a text without the secrets in it: values of password, token and the
 * like, in conninfo, JSON, YAML or HTTP spelling, and the password of a URL.
 */
void
log_redact(const char *text, char *clean, size_t size)
{
	size_t used = 0;

	clean[0] = '\0';
	while (*text != '\0' && used + 1 < size)
	{
		size_t word = secret_word(text);
		size_t start = 0;
		size_t length = word > 0 ? secret_value(text + word, &start) : url_secret(text, &start);

		if (length > 0)
		{
			append(clean, size, &used, text, word + start);
			append(clean, size, &used, HIDDEN, sizeof(HIDDEN) - 1);
			text += word + start + length;
			continue;
		}
		append(clean, size, &used, text, 1);
		text++;
	}
}

/* Make a text fit for one line of the log. */
static void
flatten(char *text)
{
	for (; *text != '\0'; text++)
	{
		if (iscntrl((unsigned char) *text))
			*text = ' ';
	}
}

static size_t
add_line(char *record, size_t size, size_t used, const char *prefix, const char *label,
		 const char *text)
{
	char clean[LOG_LINE_MAX / 4];
	int n;

	if (text == NULL || text[0] == '\0' || used >= size)
		return used;
	log_redact(text, clean, sizeof(clean));
	flatten(clean);
	n = snprintf(record + used, size - used, "%s%s:  %s\n", prefix, label, clean);
	return n < 0 || (size_t) n >= size - used ? size - 1 : used + (size_t) n;
}

/* Write one record. */
void
log_write(LogLevel level, const char *message, const char *detail, const char *hint)
{
	char record[LOG_LINE_MAX];
	char prefix[64];
	char day[32];
	int64_t wall_ms = clock_wall_ms();
	time_t seconds = (time_t) (wall_ms / 1000);
	struct tm tm;
	size_t used = 0;
	ssize_t written;

	if (level == LOG_LEVEL_DEBUG && !debug_is_wanted)
		return;
	gmtime_r(&seconds, &tm);
	strftime(day, sizeof(day), "%Y-%m-%d %H:%M:%S", &tm);
	snprintf(prefix, sizeof(prefix), "%s.%03d UTC [%d] ", day, (int) (wall_ms % 1000),
			 (int) getpid());
	used = add_line(record, sizeof(record), used, prefix, level_names[level], message);
	used = add_line(record, sizeof(record), used, prefix, "DETAIL", detail);
	used = add_line(record, sizeof(record), used, prefix, "HINT", hint);
	written = write(STDERR_FILENO, record, used);
	(void) written; /* there is nobody left to tell */
}

/* Write one record without detail and hint. */
void
log_format(LogLevel level, const char *format, ...)
{
	char message[LOG_LINE_MAX / 4];
	va_list args;

	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	log_write(level, message, NULL, NULL);
}

/* Write what went wrong. */
void
log_error(LogLevel level, const Error *error)
{
	log_write(level, error->message, error->detail, error->hint);
}
