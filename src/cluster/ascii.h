/*-------------------------------------------------------------------------
 *
 * ascii.h
 *      Letters and blanks as ASCII has them, whatever the locale says.
 *
 * Inside the server the locale is that of the postmaster or of a database, and
 * in tr_TR strcasecmp() takes "NODEI" and "nodei" for two names.  The server
 * itself compares application names, parameters and keywords in this way:
 * pg_strcasecmp() folds more than ASCII in single-byte encodings only, and
 * names are UTF-8.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_CLUSTER_ASCII_H
#define PATRONI_CLUSTER_ASCII_H

#include <stdbool.h>
#include <stddef.h>

static inline char
ascii_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char) (c - 'A' + 'a') : c;
}

static inline bool
ascii_is_letter(char c)
{
	return ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z';
}

static inline bool
ascii_is_letter_or_digit(char c)
{
	return ascii_is_letter(c) || (c >= '0' && c <= '9');
}

static inline bool
ascii_is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Are the first "length" bytes the same regardless of case, or the texts, if they end before? */
static inline bool
ascii_is_same_part(const char *a, const char *b, size_t length)
{
	for (size_t i = 0; i < length; i++)
	{
		if (ascii_lower(a[i]) != ascii_lower(b[i]))
			return false;
		if (a[i] == '\0')
			break;
	}
	return true;
}

/* Are the texts the same regardless of case? */
static inline bool
ascii_is_same(const char *a, const char *b)
{
	return ascii_is_same_part(a, b, (size_t) -1);
}

#endif							/* PATRONI_CLUSTER_ASCII_H */
