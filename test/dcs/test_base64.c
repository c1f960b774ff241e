/* Tests of src/dcs/base64.c: the vectors of RFC 4648 and every short length. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dcs/base64.h"

static void
known_vectors(void **state)
{
	static const char *const vectors[][2] = {
		{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"},
		{"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"},
		{"/service/batman/leader", "L3NlcnZpY2UvYmF0bWFuL2xlYWRlcg=="},
		{"\xff\xfe\xfb", "//77"},
	};
	size_t		i;

	(void) state;
	for (i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++)
	{
		size_t		length = 99;
		char	   *text = base64_encode(vectors[i][0], strlen(vectors[i][0]));
		char	   *data = base64_decode(vectors[i][1], &length);

		assert_string_equal(text, vectors[i][1]);
		assert_int_equal(length, strlen(vectors[i][0]));
		assert_string_equal(data, vectors[i][0]);
		free(text);
		free(data);
	}
}

static void
round_trip(void **state)
{
	unsigned char bytes[300];
	size_t		n;

	(void) state;
	for (n = 0; n < sizeof(bytes); n++)
	{
		size_t		length;
		char	   *text;
		char	   *data;

		bytes[n] = (unsigned char) (n * 37);
		text = base64_encode(bytes, n);
		data = base64_decode(text, &length);
		assert_int_equal(length, n);
		assert_memory_equal(data, bytes, n);
		assert_int_equal(data[n], '\0');
		free(text);
		free(data);
	}
}

static void
bad_texts(void **state)
{
	static const char *const bad[] = {"Z", "Zg", "Zg=", "Zg==Zg==", "Z===", "====", "Zm9\n", "Zm 9", "Zm9-"};
	size_t		i;

	(void) state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_null(base64_decode(bad[i], NULL));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_vectors),
		cmocka_unit_test(round_trip),
		cmocka_unit_test(bad_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
