/*-------------------------------------------------------------------------
 *
 * request.c
 *      Reads the head of an HTTP request: the line, and the headers that matter.
 *
 * Pure: bytes in, ServerRequest or the status of an error page out.  What is
 * read is bounded by the sizes in ServerRequest; the caller bounds the head.
 *-------------------------------------------------------------------------
 */
#include <ctype.h>
#include <string.h>

#include "rest/server_internal.h"
#include "cluster/ascii.h"

/* A word up to a blank; false if it is empty or does not fit. */
static bool
take_word(const char **text, const char *end, char *word, size_t size)
{
	size_t length = 0;

	while (*text + length < end && (*text)[length] != ' ')
		length++;
	if (length == 0 || length >= size)
		return false;
	memcpy(word, *text, length);
	word[length] = '\0';
	*text += length;
	while (*text < end && **text == ' ')
		(*text)++;
	return true;
}

/*
 * Split "METHOD target HTTP/1.x".  The target may be a whole URL, as proxies
 * send it.  Returns 0, or the status of the error page.
 */
static int
parse_request_line(const char *line, const char *end, ServerRequest *request)
{
	char target[SERVER_PATH_MAX + SERVER_QUERY_MAX];
	char version[16];
	char *path = target;
	char *query;

	if (!take_word(&line, end, request->method, sizeof(request->method)))
		return 400;
	for (const char *c = request->method; *c != '\0'; c++)
	{
		if (!ascii_is_letter(*c))
			return 400;
	}
	if (!take_word(&line, end, target, sizeof(target)))
		return line < end ? 414 : 400;
	if (!take_word(&line, end, version, sizeof(version)) ||
	    strncmp(version, "HTTP/1.", 7) != 0 || line < end)
		return 400;
	request->is_repeatable = strcmp(version, "HTTP/1.1") == 0;
	for (const char *c = target; *c != '\0'; c++)
	{
		if ((unsigned char) *c < 0x21 || *c == 0x7f)
			return 400;
	}
	if (ascii_is_same_part(path, "http://", 7) || ascii_is_same_part(path, "https://", 8))
	{
		path = strchr(strchr(path, ':') + 3, '/');
		if (path == NULL)
			path = strcpy(target, "/");
	}
	query = strchr(path, '?');
	if (query != NULL)
		*query++ = '\0';
	if (strlen(path) >= sizeof(request->path) ||
	    (query != NULL && strlen(query) >= sizeof(request->query)))
		return 414;
	strcpy(request->path, path);
	strcpy(request->query, query == NULL ? "" : query);
	return 0;
}

/* If the line is the header "name:", the value without blanks around it. */
static const char *
header_value(const char *line, const char *end, const char *name, size_t *length)
{
	size_t name_length = strlen(name);

	if ((size_t) (end - line) < name_length || !ascii_is_same_part(line, name, name_length))
		return NULL;
	line += name_length;
	while (line < end && (*line == ' ' || *line == '\t'))
		line++;
	while (end > line && ascii_is_space(end[-1]))
		end--;
	*length = (size_t) (end - line);
	return line;
}

/* False: it is no length, or contradicts an earlier one. */
static bool
parse_content_length(const char *value, size_t length, int64_t *result)
{
	int64_t number = 0;

	if (length == 0 || length > 15)
		return false;
	for (size_t i = 0; i < length; i++)
	{
		if (!isdigit((unsigned char) value[i]))
			return false;
		number = number * 10 + (value[i] - '0');
	}
	if (*result >= 0 && *result != number)
		return false;
	*result = number;
	return true;
}

/* Is one of the words of a list with commas, like that of "Connection", this one? */
static bool
names_word(const char *list, size_t length, const char *word)
{
	const char *end = list + length;
	size_t word_length = strlen(word);

	while (list < end)
	{
		const char *comma = memchr(list, ',', (size_t) (end - list));
		const char *stop = comma == NULL ? end : comma;

		while (list < stop && ascii_is_space(*list))
			list++;
		while (stop > list && ascii_is_space(stop[-1]))
			stop--;
		if ((size_t) (stop - list) == word_length && ascii_is_same_part(list, word, word_length))
			return true;
		list = comma == NULL ? end : comma + 1;
	}
	return false;
}

/* The headers that matter.  Returns 0, or the status of the error page. */
static int
parse_headers(const char *head, const char *end, ServerRequest *request)
{
	request->content_length = -1;
	while (head < end)
	{
		const char *newline = memchr(head, '\n', (size_t) (end - head));
		const char *line_end = newline == NULL ? end : newline;
		const char *value;
		size_t length;

		if ((value = header_value(head, line_end, "Content-Length:", &length)) != NULL &&
		    !parse_content_length(value, length, &request->content_length))
			return 400;
		if ((value = header_value(head, line_end, "Connection:", &length)) != NULL &&
		    names_word(value, length, "close"))
			request->is_repeatable = false;
		if ((value = header_value(head, line_end, "Authorization:", &length)) != NULL &&
		    !request->has_authorization)
		{
			request->has_authorization = true;
			if (length < sizeof(request->authorization) && memchr(value, '\0', length) == NULL)
				memcpy(request->authorization, value, length);
		}
		if (newline == NULL)
			break;
		head = newline + 1;
	}
	return 0;
}

/* Does any header announce a body?  Then the client must be let finish. */
bool
request_announces_body(const char *head, const char *end)
{
	static const char *const names[] = { "Content-Length:", "Transfer-Encoding:" };

	while (head < end)
	{
		const char *newline = memchr(head, '\n', (size_t) (end - head));

		for (int i = 0; i < 2; i++)
		{
			size_t length = strlen(names[i]);

			if ((size_t) (end - head) > length && ascii_is_same_part(head, names[i], length))
				return true;
		}
		if (newline == NULL)
			break;
		head = newline + 1;
	}
	return false;
}

/* Length of a complete head with its empty line; 0 = not complete yet. */
size_t
request_head_length(const char *data, size_t length)
{
	for (size_t i = 0; i < length; i++)
	{
		if (data[i] != '\n')
			continue;
		if (i + 1 < length && data[i + 1] == '\n')
			return i + 2;
		if (i + 2 < length && data[i + 1] == '\r' && data[i + 2] == '\n')
			return i + 3;
	}
	return 0;
}

/*
 * Read a complete head.  *request must be zero where nothing is written.
 * Returns 0, or the status of the error page.
 */
int
request_parse(ServerRequest *request, const char *head, size_t length)
{
	const char *end = memchr(head, '\n', length);
	int status;

	if (end == NULL)
		return 400;
	if (end > head && end[-1] == '\r')
		end--;
	status = parse_request_line(head, end, request);
	return status != 0 ? status : parse_headers(end, head + length, request);
}
