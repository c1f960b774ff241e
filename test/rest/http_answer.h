/*-------------------------------------------------------------------------
 *
 * http_answer.h
 *      What clients of the tests want to know of an answer.  Nothing but libc.
 *-------------------------------------------------------------------------
 */
#ifndef HTTP_ANSWER_H
#define HTTP_ANSWER_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Is it whole, and does its connection go on?  The answer ends with a NUL. */
static inline bool
http_answer_goes_on(const char *answer, size_t length)
{
	const char *body = strstr(answer, "\r\n\r\n");
	const char *said = strstr(answer, "\r\nContent-Length: ");

	return strncmp(answer, "HTTP/1.1 ", 9) == 0 && body != NULL && said != NULL && said < body &&
		   length - (size_t) (body + 4 - answer) == strtoul(said + 18, NULL, 10);
}

#endif /* HTTP_ANSWER_H */
