/* Tests of src/dcs/stream.c: every split point, several documents, bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dcs/stream.h"

static const char sample[] =
"{\"result\":{\"created\":true}}\n"
"{\"a\":\"}{][\\\"\\\\\",\"b\":[{\"c\":[]},{}]} {\"u\":\"\xc3\xa4\xe2\x82\xac\\u00e4\"}\r\n\t{}";
static const char expected[] =
"{\"result\":{\"created\":true}}"
"{\"a\":\"}{][\\\"\\\\\",\"b\":[{\"c\":[]},{}]}{\"u\":\"\xc3\xa4\xe2\x82\xac\xc3\xa4\"}{}";

typedef struct Seen
{
	char		text[1000];
	int			n;
	int			stop_after;
} Seen;

static bool
reader(void *context, const json_t *document)
{
	Seen	   *seen = context;
	char	   *text = json_dumps(document, JSON_COMPACT);

	assert_true(strlen(seen->text) + strlen(text) < sizeof(seen->text));
	strcat(seen->text, text);
	free(text);
	return ++seen->n != seen->stop_after;
}

static void
every_split(void **state)
{
	size_t		total = sizeof(sample) - 1;
	size_t		i;
	size_t		k;

	(void) state;
	for (i = 0; i <= total; i++)
		for (k = i; k <= total; k++)
		{
			JsonStream	stream;
			Seen		seen = {.n = 0};
			Error		error;

			json_stream_init(&stream);
			assert_true(json_stream_feed(&stream, sample, i, reader, &seen, &error));
			assert_true(json_stream_feed(&stream, sample + i, k - i, reader, &seen, &error));
			assert_true(json_stream_feed(&stream, sample + k, total - k, reader, &seen, &error));
			assert_int_equal(seen.n, 4);
			assert_string_equal(seen.text, expected);
			json_stream_free(&stream);
		}
}

static void
byte_by_byte(void **state)
{
	JsonStream	stream;
	Seen		seen = {.n = 0};
	Error		error;
	size_t		i;

	(void) state;
	json_stream_init(&stream);
	for (i = 0; i < sizeof(sample) - 1; i++)
		assert_true(json_stream_feed(&stream, sample + i, 1, reader, &seen, &error));
	assert_string_equal(seen.text, expected);
	json_stream_free(&stream);
}

static void
rubbish(void **state)
{
	static const char *const bad[] = {"x", "[1]", "{}x", "{\"a\":}", "{\"a\":[}", "}", "1", "\"a\""};
	size_t		i;

	(void) state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		JsonStream	stream;
		Seen		seen = {.n = 0};
		Error		error;

		json_stream_init(&stream);
		error_clear(&error);
		/* What is open stays open: "{\"a\":[}" is closed by the next brackets, and then refused. */
		assert_false(json_stream_feed(&stream, bad[i], strlen(bad[i]), reader, &seen, &error) &&
					 json_stream_feed(&stream, "]}}", 3, reader, &seen, &error));
		assert_true(error.message[0] != '\0');
		json_stream_reset(&stream);
		assert_true(json_stream_feed(&stream, "{}", 2, reader, &seen, &error));
		json_stream_free(&stream);
	}
}

static void
bounded(void **state)
{
	JsonStream	stream;
	Seen		seen = {.n = 0};
	Error		error;
	char		piece[64];
	int			i;

	(void) state;
	json_stream_init(&stream);
	assert_int_equal(stream.limit, 16 * 1024 * 1024);
	stream.limit = 1000;
	memset(piece, 'x', sizeof(piece));
	assert_true(json_stream_feed(&stream, "{\"", 2, reader, &seen, &error));
	for (i = 0; i < 15; i++)
		assert_true(json_stream_feed(&stream, piece, sizeof(piece), reader, &seen, &error));
	assert_false(json_stream_feed(&stream, piece, sizeof(piece), reader, &seen, &error));
	assert_non_null(strstr(error.message, "longer than 1000 bytes"));
	assert_int_equal(seen.n, 0);
	json_stream_free(&stream);
}

static void
reader_stops(void **state)
{
	JsonStream	stream;
	Seen		seen = {.stop_after = 2};
	Error		error;

	(void) state;
	json_stream_init(&stream);
	error_clear(&error);
	assert_false(json_stream_feed(&stream, sample, sizeof(sample) - 1, reader, &seen, &error));
	assert_int_equal(seen.n, 2);
	assert_string_equal(error.message, "");
	json_stream_free(&stream);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_split),
		cmocka_unit_test(byte_by_byte),
		cmocka_unit_test(rubbish),
		cmocka_unit_test(bounded),
		cmocka_unit_test(reader_stops),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
