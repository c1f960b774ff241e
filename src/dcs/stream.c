/*-------------------------------------------------------------------------
 *
 * stream.c
 *      Cuts a byte stream into the JSON objects it is made of.
 *
 * The pieces may end anywhere, also inside a string, an escape or a UTF-8
 * character, and one piece may hold several documents.  Blanks between
 * documents are skipped; anything else there is an error.  An incomplete
 * document never grows beyond the limit.
 *-------------------------------------------------------------------------
 */
#include "dcs/stream.h"

#include <stdlib.h>
#include <string.h>

void
json_stream_init(JsonStream *stream)
{
	memset(stream, 0, sizeof(*stream));
	stream->limit = STREAM_DOCUMENT_MAX;
}

void
json_stream_free(JsonStream *stream)
{
	free(stream->buffer);
	json_stream_init(stream);
}

/* Forget an incomplete document: the next byte begins a new stream. */
void
json_stream_reset(JsonStream *stream)
{
	stream->used = 0;
	stream->depth = 0;
	stream->in_string = stream->in_escape = false;
}

static bool
append(JsonStream *stream, const char *data, size_t length, Error *error)
{
	if (length > stream->limit - stream->used)
		return error_set(error, "document in stream is longer than %zu bytes",
						 stream->limit);
	if (stream->used + length > stream->size)
	{
		size_t		size = stream->size > 0 ? stream->size : 4096;
		char	   *buffer;

		while (size < stream->used + length)
			size *= 2;
		buffer = realloc(stream->buffer, size);
		if (buffer == NULL)
			return error_set(error, "out of memory");
		stream->buffer = buffer;
		stream->size = size;
	}
	memcpy(stream->buffer + stream->used, data, length);
	stream->used += length;
	return true;
}

/* Take one byte into account; true when it completes a document. */
static bool
scan(JsonStream *stream, char c)
{
	if (stream->in_string)
	{
		if (stream->in_escape)
			stream->in_escape = false;
		else if (c == '\\')
			stream->in_escape = true;
		else if (c == '"')
			stream->in_string = false;
		return false;
	}
	if (c == '"')
		stream->in_string = true;
	else if (c == '{' || c == '[')
		stream->depth++;
	else if (c == '}' || c == ']')
		return --stream->depth == 0;
	return false;
}

/*
 * Feed a piece; "reader" is called for each document it completes.  Returns
 * false, with the stream reset, when the bytes are not JSON objects or a
 * document is too long, and, with the error untouched, when the reader said so.
 * The reader must not free the stream.
 */
bool
json_stream_feed(JsonStream *stream, const char *data, size_t length,
				 JsonStreamReader reader, void *context, Error *error)
{
	size_t		start = 0;
	size_t		i;

	for (i = 0; i < length; i++)
	{
		json_error_t json_error;
		json_t	   *document;
		bool		go_on;

		if (stream->depth == 0)
		{
			if (strchr(" \t\r\n", data[i]) != NULL && data[i] != '\0')
			{
				start = i + 1;
				continue;
			}
			if (data[i] != '{')
			{
				json_stream_reset(stream);
				return error_set(error, "stream holds something that is no JSON object");
			}
			start = i;
		}
		if (!scan(stream, data[i]))
			continue;

		if (!append(stream, data + start, i + 1 - start, error))
		{
			json_stream_reset(stream);
			return false;
		}
		start = i + 1;
		document = json_loadb(stream->buffer, stream->used, 0, &json_error);
		json_stream_reset(stream);
		if (document == NULL)
			return error_set(error, "stream holds invalid JSON: %s", json_error.text);
		go_on = reader(context, document);
		json_decref(document);
		if (!go_on)
			return false;
	}
	if (start < length && !append(stream, data + start, length - start, error))
	{
		json_stream_reset(stream);
		return false;
	}
	return true;
}
