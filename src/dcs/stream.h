/*-------------------------------------------------------------------------
 *
 * stream.h
 *      Cuts a byte stream into the JSON objects it is made of.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_DCS_STREAM_H
#define PATRONI_DCS_STREAM_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "base/error.h"

#define STREAM_DOCUMENT_MAX		((size_t) 16 * 1024 * 1024)

typedef struct JsonStream
{
	char	   *buffer;				/* owned; the document that is incomplete */
	size_t		used;
	size_t		size;
	size_t		limit;
	int			depth;				/* of braces and brackets */
	bool		in_string;
	bool		in_escape;
} JsonStream;

/* Gets a borrowed document; false ends the feeding. */
typedef bool (*JsonStreamReader) (void *context, const json_t *document);

extern void json_stream_init(JsonStream *stream);
extern void json_stream_free(JsonStream *stream);
extern void json_stream_reset(JsonStream *stream);
extern bool json_stream_feed(JsonStream *stream, const char *data, size_t length,
							 JsonStreamReader reader, void *context,
							 Error *error) MUST_CHECK;

#endif							/* PATRONI_DCS_STREAM_H */
