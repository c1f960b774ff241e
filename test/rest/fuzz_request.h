/*-------------------------------------------------------------------------
 *
 * fuzz_request.h
 *      Makes malformed HTTP requests: well-formed ones, broken at random.
 *
 * The same seed gives the same requests.  For test/rest/test_fuzz.c, where the
 * server is in the same process, and test/tools/http_fuzzer.c, which torments a
 * real node; so nothing but libc is used here.
 *-------------------------------------------------------------------------
 */
#ifndef FUZZ_REQUEST_H
#define FUZZ_REQUEST_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "http_answer.h"

#define FUZZ_MAX 60000

typedef struct Fuzz
{
	uint64_t dice;
	const char *authorization; /* a whole header line that opens the door; NULL = none */
	char text[FUZZ_MAX + 1];
	size_t length;
	char good[256]; /* a request that nothing was done to, to see that the server lives */
} Fuzz;

static inline unsigned
fuzz_dice(Fuzz *fuzz, unsigned n)
{
	fuzz->dice ^= fuzz->dice << 13;
	fuzz->dice ^= fuzz->dice >> 7;
	fuzz->dice ^= fuzz->dice << 17;
	return (unsigned) ((fuzz->dice >> 11) % n);
}

static inline void
fuzz_init(Fuzz *fuzz, uint64_t seed, const char *authorization)
{
	memset(fuzz, 0, sizeof(*fuzz));
	fuzz->dice = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	fuzz->authorization = authorization;
	for (int i = 0; i < 8; i++)
		fuzz_dice(fuzz, 2);
}

static inline void
fuzz_add(Fuzz *fuzz, const void *bytes, size_t length)
{
	if (length > FUZZ_MAX - fuzz->length)
		length = FUZZ_MAX - fuzz->length;
	memcpy(fuzz->text + fuzz->length, bytes, length);
	fuzz->length += length;
	fuzz->text[fuzz->length] = '\0';
}

static inline void
fuzz_add_text(Fuzz *fuzz, const char *text)
{
	fuzz_add(fuzz, text, strlen(text));
}

/* The same bytes again and again, or such of all kinds. */
static inline void
fuzz_add_run(Fuzz *fuzz, size_t length)
{
	bool is_mixed = fuzz_dice(fuzz, 3) == 0;
	char c = (char) fuzz_dice(fuzz, 256);

	for (size_t i = 0; i < length; i++)
	{
		if (is_mixed)
			c = (char) fuzz_dice(fuzz, 256);
		fuzz_add(fuzz, &c, 1);
	}
}

#define FUZZ_PICK(fuzz, list) (list)[fuzz_dice(fuzz, (unsigned) (sizeof(list) / sizeof((list)[0])))]

static inline void
fuzz_add_target(Fuzz *fuzz)
{
	static const char *const paths[] = {
		"/", "/primary", "/replica", "/patroni", "/cluster", "/history", "/config", "/metrics",
		"/liveness", "/readiness", "/leader", "/standby-leader", "/read-only-sync", "/async", "/health",
		"/failsafe", "/restart", "/reinitialize", "/switchover", "/failover", "/sigterm", "/mpp", "/citus",
		"//", "/..", "/%00", "/config/../config", "*", "http://x/primary", "http://", "https:///",
		"http:", "", "?", "/?", "/\xff", "/config;x", "/PRIMARY",
	};
	static const char *const queries[] = {
		"lag=1", "lag=99999999999999999999MB", "lag=-1", "lag=1e400", "lag=%", "lag=%0", "lag=%zz",
		"lag=%00", "mode=write", "tag_zone=a", "tag_=", "=", "&&&&", "a=b&a=c", "replication_state=streaming",
		"tag_a=%25%32%35", "+", "lag=16MB", "lag=0x10", "tag_a=true", "%00=%00", "x=\x80\xff",
	};

	fuzz_add_text(fuzz, FUZZ_PICK(fuzz, paths));
	if (fuzz_dice(fuzz, 3) == 0)
	{
		unsigned n = fuzz_dice(fuzz, 20) == 0 ? fuzz_dice(fuzz, 200) : fuzz_dice(fuzz, 4);

		fuzz_add_text(fuzz, "?");
		for (unsigned i = 0; i <= n; i++)
		{
			fuzz_add_text(fuzz, i > 0 ? "&" : "");
			fuzz_add_text(fuzz, FUZZ_PICK(fuzz, queries));
		}
	}
	if (fuzz_dice(fuzz, 40) == 0)
		fuzz_add_run(fuzz, fuzz_dice(fuzz, 7000));
}

static inline void
fuzz_add_headers(Fuzz *fuzz)
{
	static const char *const headers[] = {
		"Host: x\r\n", "Host:\r\n", ": \r\n", "X\r\n", " folded: 1\r\n", "\tfolded\r\n", "Connection: keep-alive\r\n",
		"Transfer-Encoding: chunked\r\n", "Transfer-Encoding: gzip, chunked\r\n", "Expect: 100-continue\r\n",
		"Content-Length: 0\r\n", "Content-Length: 5\r\n", "Content-Length: -1\r\n", "Content-Length: 1048577\r\n",
		"Content-Length: 999999999999999\r\n", "Content-Length: 99999999999999999999\r\n", "Content-Length: 0x5\r\n",
		"Content-Length: 5, 6\r\n", "Content-Length:\r\n", "content-length:7\r\n", "Content-Length: 7 \t \r\n",
		"Authorization: Basic\r\n", "Authorization: Basic !!!\r\n", "Authorization: Basic YTpi\r\n",
		"Authorization: Bearer x\r\n", "Authorization:\r\n", "Upgrade: h2c\r\n", "Range: bytes=0-\r\n", "\r\n", "\n",
		"\r", "X: \xff\xfe\r\n", "X: a\rb\r\n", "Accept: */*\n", "Cookie: a=b; c=d\r\n",
	};
	unsigned n = fuzz_dice(fuzz, 50) == 0 ? fuzz_dice(fuzz, 900) : fuzz_dice(fuzz, 5);

	for (unsigned i = 0; i < n; i++)
		fuzz_add_text(fuzz, FUZZ_PICK(fuzz, headers));
	if (fuzz_dice(fuzz, 40) == 0)
	{
		fuzz_add_text(fuzz, "X-Long: ");
		fuzz_add_run(fuzz, fuzz_dice(fuzz, 20000));
		fuzz_add_text(fuzz, "\r\n");
	}
}

static inline void
fuzz_add_json(Fuzz *fuzz, int depth)
{
	static const char *const keys[] = {
		"leader", "candidate", "member", "scheduled_at", "schedule", "role", "postgres_version", "timeout",
		"restart_pending", "force", "from_leader", "ttl", "loop_wait", "pause", "postgresql", "name", "", "a\\u0000b",
	};
	static const char *const values[] = {
		"null", "true", "false", "0", "-1", "1e999", "99999999999999999999", "\"node1\"", "\"node2\"", "\"\"",
		"\"2030-01-01T00:00:00+00:00\"", "\"2030-01-01T00:00:00\"", "\"9999-99-99T99:99:99Z\"", "\"16.4\"", "\"9.6\"",
		"\"....\"", "\"primary\"", "\"replica\"", "\"\\u0000\"", "\"\\ud800\"", "\"\xff\"", "\"10min\"", "1.5", "[]", "{}",
		"nul", "\"", "'x'", "\"<script>\"", "-", "1.", "\"%s%n\"",
	};
	unsigned kind = fuzz_dice(fuzz, 12);

	if (depth > 0 && kind < 7)
	{
		unsigned n = fuzz_dice(fuzz, 5);

		fuzz_add_text(fuzz, "{");
		for (unsigned i = 0; i < n; i++)
		{
			fuzz_add_text(fuzz, i > 0 ? ",\"" : "\"");
			fuzz_add_text(fuzz, FUZZ_PICK(fuzz, keys));
			fuzz_add_text(fuzz, "\":");
			fuzz_add_json(fuzz, depth - 1);
		}
		fuzz_add_text(fuzz, "}");
	}
	else if (depth > 0 && kind == 7 && fuzz_dice(fuzz, 20) == 0)
	{
		unsigned n = fuzz_dice(fuzz, 5000);

		for (unsigned i = 0; i < n; i++)
			fuzz_add_text(fuzz, kind % 2 == 0 ? "{\"a\":" : "[");
	}
	else
		fuzz_add_text(fuzz, FUZZ_PICK(fuzz, values));
}

static inline void
fuzz_add_body(Fuzz *fuzz)
{
	Fuzz body;
	char line[64];

	body.dice = fuzz->dice;
	body.length = 0;
	fuzz_add_json(&body, 3);
	fuzz->dice = body.dice;
	if (fuzz_dice(fuzz, 10) != 0)
	{
		/* mostly the right length, else the body is not looked at */
		snprintf(line, sizeof(line), "Content-Length: %zu\r\n",
				 fuzz_dice(fuzz, 8) != 0 ? body.length : body.length + fuzz_dice(fuzz, 40) - 20);
		fuzz_add_text(fuzz, line);
	}
	fuzz_add_text(fuzz, "\r\n");
	fuzz_add(fuzz, body.text, body.length);
}

/* Break it: bytes changed, taken out, put in, repeated, or the end cut off. */
static inline void
fuzz_break(Fuzz *fuzz)
{
	size_t at;
	size_t length;

	if (fuzz->length == 0)
		return;
	at = fuzz_dice(fuzz, (unsigned) fuzz->length);
	length = fuzz->length - at;
	if (length > 64)
		length = 1 + fuzz_dice(fuzz, 64);
	switch (fuzz_dice(fuzz, 6))
	{
		case 0:
			fuzz->text[at] = (char) fuzz_dice(fuzz, 256);
			break;
		case 1:
			fuzz->text[at] = (char) (fuzz->text[at] ^ (1 << fuzz_dice(fuzz, 8)));
			break;
		case 2:
			memmove(fuzz->text + at, fuzz->text + at + length, fuzz->length - at - length);
			fuzz->length -= length;
			break;
		case 3:
			if (fuzz->length + length <= FUZZ_MAX)
			{
				memmove(fuzz->text + at + length, fuzz->text + at, fuzz->length - at);
				fuzz->length += length;
			}
			break;
		case 4:
			memset(fuzz->text + at, "\0\r\n \xff:"[fuzz_dice(fuzz, 6)], length);
			break;
		default:
			fuzz->length = at;
			break;
	}
}

static inline void
fuzz_add_request(Fuzz *fuzz)
{
	static const char *const methods[] = {
		"GET", "GET", "GET", "HEAD", "OPTIONS", "POST", "POST", "PUT", "PATCH", "DELETE", "BREW", "get", "",
		"G\x01T", "AVERYLONGMETHODINDEED", "CONNECT", "TRACE",
	};
	static const char *const versions[] = {
		" HTTP/1.0\r\n", " HTTP/1.1\r\n", " HTTP/1.1\r\n", " HTTP/1.1\n", "\r\n", " HTTP/2.0\r\n", " HTTP/0.9\r\n",
		" http/1.1\r\n", " HTTP/1.999999999999\r\n", "  HTTP/1.0  \r\n", " \r\n", " HTTP/1.1 x\r\n",
	};

	static const char *const calls[] = {
		"PATCH /config", "PUT /config", "POST /switchover", "POST /failover", "POST /restart", "DELETE /restart",
		"POST /reinitialize", "POST /failsafe", "POST /mpp", "DELETE /switchover", "POST /sigterm",
	};

	if (fuzz_dice(fuzz, 2) == 0)
		fuzz_add_text(fuzz, FUZZ_PICK(fuzz, calls));
	else
	{
		fuzz_add_text(fuzz, FUZZ_PICK(fuzz, methods));
		fuzz_add_text(fuzz, fuzz_dice(fuzz, 30) == 0 ? "\t" : " ");
		fuzz_add_target(fuzz);
	}
	fuzz_add_text(fuzz, fuzz_dice(fuzz, 4) != 0 ? " HTTP/1.1\r\n" : FUZZ_PICK(fuzz, versions));
	if (fuzz_dice(fuzz, 3) == 0)
		fuzz_add_headers(fuzz);
	if (fuzz->authorization != NULL && fuzz_dice(fuzz, 3) != 0)
		fuzz_add_text(fuzz, fuzz->authorization);
	if (fuzz_dice(fuzz, 2) == 0)
		fuzz_add_body(fuzz);
	else
		fuzz_add_text(fuzz, "\r\n");
}

/* The next request, in text and length. */
static inline void
fuzz_next(Fuzz *fuzz)
{
	static const char *const others[] = {
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "SSH-2.0-x\r\n",
		"\x00\x00\x00\x08\x04\xd2\x16\x2f", "\r\n\r\n", "\n\n", "\n", "GET", "",
	};
	unsigned n;

	fuzz->length = 0;
	if (fuzz_dice(fuzz, 40) == 0)
		fuzz_add_text(fuzz, FUZZ_PICK(fuzz, others));
	if (fuzz_dice(fuzz, 60) == 0)
		fuzz_add_run(fuzz, fuzz_dice(fuzz, 40000));
	fuzz_add_request(fuzz);
	if (fuzz_dice(fuzz, 20) == 0)
		fuzz_add_request(fuzz); /* a second one behind it */
	n = fuzz_dice(fuzz, 2) == 0 ? 0 : fuzz_dice(fuzz, 5);
	for (unsigned i = 0; i < n; i++)
		fuzz_break(fuzz);
}

/* Is this how an answer of ours begins?  "" is none. */
static inline bool
fuzz_is_answer(const char *answer, size_t length)
{
	int code = 0;

	if (length == 0)
		return true;
	return length >= 15 && strncmp(answer, "HTTP/1.", 7) == 0 &&
		   (answer[7] == '0' || answer[7] == '1') && answer[8] == ' ' && sscanf(answer + 9, "%3d", &code) == 1 &&
		   code >= 200 && code <= 599 && answer[12] == ' ' && strstr(answer, "\r\n\r\n") != NULL;
}

#endif /* FUZZ_REQUEST_H */
