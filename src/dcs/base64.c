/*-------------------------------------------------------------------------
 *
 * base64.c
 *      Standard base64, as the JSON gateway of etcd wants keys and values.
 *
 *-------------------------------------------------------------------------
 */
#include "dcs/base64.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const char alphabet[] =
"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Encode with padding.  The text is malloc'ed; NULL means no memory. */
char *
base64_encode(const void *data, size_t length)
{
	const uint8_t *in = data;
	char	   *text;
	char	   *out;
	size_t		i;

	if (length > SIZE_MAX / 4 * 3 - 8)
		return NULL;
	text = out = malloc((length + 2) / 3 * 4 + 1);
	if (text == NULL)
		return NULL;
	for (i = 0; i < length; i += 3)
	{
		uint32_t	bits = (uint32_t) in[i] << 16;

		if (i + 1 < length)
			bits |= (uint32_t) in[i + 1] << 8;
		if (i + 2 < length)
			bits |= in[i + 2];
		*out++ = alphabet[bits >> 18];
		*out++ = alphabet[(bits >> 12) & 63];
		*out++ = i + 1 < length ? alphabet[(bits >> 6) & 63] : '=';
		*out++ = i + 2 < length ? alphabet[bits & 63] : '=';
	}
	*out = '\0';
	return text;
}

static int
digit_value(char c)
{
	const char *found = c != '\0' ? strchr(alphabet, c) : NULL;

	return found != NULL ? (int) (found - alphabet) : -1;
}

/*
 * Decode padded base64.  The bytes are malloc'ed and followed by a NUL that
 * *length does not count.  NULL means no memory or not base64.
 */
char *
base64_decode(const char *text, size_t *length)
{
	size_t		n = strlen(text);
	size_t		used = 0;
	size_t		i;
	char	   *data;

	if (n % 4 != 0)
		return NULL;
	data = malloc(n / 4 * 3 + 1);
	if (data == NULL)
		return NULL;
	for (i = 0; i < n; i += 4)
	{
		int			pad = 0;
		int			d[4];
		int			k;
		uint32_t	bits = 0;

		if (i + 4 == n)
			pad = text[i + 3] != '=' ? 0 : text[i + 2] != '=' ? 1 : 2;
		for (k = 0; k < 4; k++)
		{
			d[k] = k >= 4 - pad ? 0 : digit_value(text[i + k]);
			if (d[k] < 0)
			{
				free(data);
				return NULL;
			}
			bits = bits << 6 | (uint32_t) d[k];
		}
		data[used++] = (char) (bits >> 16);
		if (pad < 2)
			data[used++] = (char) (bits >> 8);
		if (pad < 1)
			data[used++] = (char) bits;
	}
	data[used] = '\0';
	if (length != NULL)
		*length = used;
	return data;
}
