/*-------------------------------------------------------------------------
 *
 * test_tls.c
 *      The REST API over TLS: certificates that are right, wrong, encrypted,
 *      new, asked of clients; and requests of every length.
 *
 * Certificates are made here, in a directory of their own.
 *-------------------------------------------------------------------------
 */
#include "rest/rest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#define CLIENT_MS 8000

static char directory[] = "/tmp/test_tls.XXXXXX";
static struct event_base *base;
static Rest *rest;
static Settings settings;
static LeasePage page;
static HaPostgres postgres;
static char answer[65536];
static size_t body_length;
static int n_before;
static bool was_ended; /* the server said that the answer is complete */

/* ------------------------------------------------------------------------
 * Certificates
 * ------------------------------------------------------------------------
 */

static const char *
path(const char *name)
{
	static char paths[4][128];
	static int next;
	char *text = paths[next++ % 4];

	snprintf(text, sizeof(paths[0]), "%s/%s", directory, name);
	return text;
}

/* Make name.crt and name.key, signed by "authority" or by itself (NULL). */
static void
make_certificate(const char *name, const char *authority, long serial, const char *password)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	EVP_PKEY *signer = key;
	X509 *certificate = X509_new();
	X509_NAME *subject = X509_get_subject_name(certificate);
	X509_NAME *issuer = subject;
	X509 *authority_certificate = NULL;
	char file[64];
	FILE *out;

	ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial);
	X509_set_version(certificate, 2);
	X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
	X509_set_pubkey(certificate, key);
	X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *) name, -1, -1,
							   0);
	if (authority != NULL)
	{
		FILE *in;

		snprintf(file, sizeof(file), "%s.crt", authority);
		in = fopen(path(file), "r");
		authority_certificate = PEM_read_X509(in, NULL, NULL, NULL);
		fclose(in);
		snprintf(file, sizeof(file), "%s.key", authority);
		in = fopen(path(file), "r");
		signer = PEM_read_PrivateKey(in, NULL, NULL, NULL);
		fclose(in);
		issuer = X509_get_subject_name(authority_certificate);
	}
	else
	{
		X509_EXTENSION *extension =
			X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");

		X509_add_ext(certificate, extension, -1);
		X509_EXTENSION_free(extension);
	}
	X509_set_issuer_name(certificate, issuer);
	assert_true(X509_sign(certificate, signer, EVP_sha256()) > 0);
	snprintf(file, sizeof(file), "%s.crt", name);
	out = fopen(path(file), "w");
	assert_true(PEM_write_X509(out, certificate) == 1);
	fclose(out);
	snprintf(file, sizeof(file), "%s.key", name);
	out = fopen(path(file), "w");
	assert_true(PEM_write_PrivateKey(out, key, password == NULL ? NULL : EVP_aes_256_cbc(), NULL, 0,
									 NULL, (void *) password) == 1);
	fclose(out);
	if (signer != key)
		EVP_PKEY_free(signer);
	X509_free(authority_certificate);
	X509_free(certificate);
	EVP_PKEY_free(key);
}

/* ------------------------------------------------------------------------
 * A node
 * ------------------------------------------------------------------------
 */

static void
give_status(void *context, RestDone done, void *arg)
{
	RestStatus status;

	(void) context;
	memset(&status, 0, sizeof(status));
	status.settings = &settings;
	status.page = &page;
	status.postgres = &postgres;
	status.state = MEMBER_STOPPED;
	done(arg, &status);
}

static const Settings *
give_settings(void *context)
{
	(void) context;
	return &settings;
}

static void
take_call(void *context, RestCall call, const json_t *body, RestCallDone done, void *arg)
{
	RestResult result = { .status = 200, .text = "done" };

	(void) context;
	(void) call;
	body_length = json_string_length(json_object_get(body, "a"));
	done(arg, &result);
}

/* Like a reload, or the start if there was none. */
static bool
configure(const char *certificate, const char *key, json_t *more)
{
	RestOps ops = { .status = give_status, .settings = give_settings, .call = take_call };
	RestListen listen = { .host = "127.0.0.1" };
	json_t *restapi = json_pack("{}");
	Error error;

	if (more != NULL)
		json_object_update(restapi, more);
	json_decref(more);
	if (certificate != NULL)
	{
		json_object_set_new(restapi, "certfile", json_string(path(certificate)));
		json_object_set_new(restapi, "keyfile", json_string(path(key)));
	}
	json_decref(settings.document);
	settings.document = json_pack("{s:o}", "restapi", restapi);
	error_clear(&error);
	if (rest == NULL)
	{
		rest = rest_start(base, &ops, &listen, &error);
		return rest != NULL;
	}
	listen.port = rest_port(rest);
	return rest_reconfigure(rest, &listen, &error);
}

static int
setup_all(void **state)
{
	(void) state;
	signal(SIGPIPE, SIG_IGN);
	if (mkdtemp(directory) == NULL)
		return 1;
	make_certificate("ca", NULL, 1, NULL);
	make_certificate("other_ca", NULL, 1, NULL);
	make_certificate("server", "ca", 10, NULL);
	make_certificate("server2", "ca", 11, NULL);
	make_certificate("secret", "ca", 12, "the password");
	make_certificate("client", "ca", 20, NULL);
	make_certificate("stranger", "other_ca", 21, NULL);
	return 0;
}

static int
teardown_all(void **state)
{
	char command[128];

	(void) state;
	snprintf(command, sizeof(command), "rm -rf %s", directory);
	return system(command);
}

static int
setup(void **state)
{
	(void) state;
	base = event_base_new();
	rest = NULL;
	settings_init(&settings);
	strcpy(settings.name, "node1");
	return 0;
}

static int
teardown(void **state)
{
	(void) state;
	rest_stop(rest);
	event_base_free(base);
	settings_free(&settings);
	return 0;
}

/* ------------------------------------------------------------------------
 * A client
 * ------------------------------------------------------------------------
 */

static int
client_connect(void)
{
	struct sockaddr_in address;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	memset(&address, 0, sizeof(address));
	address.sin_family = AF_INET;
	address.sin_port = htons((uint16_t) rest_port(rest));
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(connect(fd, (struct sockaddr *) &address, sizeof(address)), 0);
	evutil_make_socket_nonblocking(fd);
	return fd;
}

/* True: try again. */
static bool
is_waiting(SSL *ssl, int result, int64_t end_ms)
{
	int reason = SSL_get_error(ssl, result);

	assert_true(clock_now_ms() < end_ms);
	event_base_loop(base, EVLOOP_NONBLOCK);
	usleep(50);
	return reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE;
}

/* Ask on a connection that is to go on. */
static void
ask_before(SSL *ssl, int64_t end_ms)
{
	static const char request[] = "GET /patroni HTTP/1.1\r\nHost: x\r\n\r\n";
	size_t used = 0;
	int n;

	while ((n = SSL_write(ssl, request, (int) strlen(request))) <= 0)
		assert_true(is_waiting(ssl, n, end_ms));
	do
	{
		while ((n = SSL_read(ssl, answer + used, (int) (sizeof(answer) - 1 - used))) <= 0)
			assert_true(is_waiting(ssl, n, end_ms));
		used += (size_t) n;
		answer[used] = '\0';
	} while (strstr(answer, "\r\n\r\n{") == NULL || answer[used - 1] != '}');
	assert_int_equal(strncmp(answer, "HTTP/1.1 200 OK\r\n", 17), 0);
}

/*
 * Send a request, after "n_before" others, in pieces if "piece" is not 0, and read the answer.  Returns
 * its code; 0: there was none.  *serial becomes that of the server's certificate.
 */
static int
ask(const char *request, size_t length, size_t piece, const char *certificate, long *serial)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	SSL *ssl;
	int fd = client_connect();
	int64_t end_ms = clock_now_ms() + CLIENT_MS;
	int code = 0;
	size_t sent = 0;
	size_t used = 0;
	char file[64];
	int n;

	if (certificate != NULL)
	{
		snprintf(file, sizeof(file), "%s.crt", certificate);
		assert_int_equal(SSL_CTX_use_certificate_file(context, path(file), SSL_FILETYPE_PEM), 1);
		snprintf(file, sizeof(file), "%s.key", certificate);
		assert_int_equal(SSL_CTX_use_PrivateKey_file(context, path(file), SSL_FILETYPE_PEM), 1);
	}
	ssl = SSL_new(context);
	SSL_set_fd(ssl, fd);
	answer[0] = '\0';
	was_ended = false;
	while ((n = SSL_connect(ssl)) != 1 && is_waiting(ssl, n, end_ms))
		;
	if (n == 1 && serial != NULL)
	{
		X509 *peer = SSL_get_peer_certificate(ssl);

		*serial = ASN1_INTEGER_get(X509_get_serialNumber(peer));
		X509_free(peer);
	}
	for (int i = 0; n == 1 && i < n_before; i++)
		ask_before(ssl, end_ms);
	while (n == 1 && sent < length)
	{
		size_t part = piece == 0 || length - sent < piece ? length - sent : piece;
		int written = SSL_write(ssl, request + sent, (int) part);

		if (written > 0)
			sent += (size_t) written;
		else if (!is_waiting(ssl, written, end_ms))
			break;
	}
	while (n == 1)
	{
		int got = SSL_read(ssl, answer + used, (int) (sizeof(answer) - 1 - used));

		if (got > 0)
			used += (size_t) got;
		else if (!is_waiting(ssl, got, end_ms))
		{
			was_ended = SSL_get_error(ssl, got) == SSL_ERROR_ZERO_RETURN;
			break;
		}
	}
	answer[used] = '\0';
	sscanf(answer, "HTTP/1.0 %d", &code);
	SSL_free(ssl);
	SSL_CTX_free(context);
	ERR_clear_error();
	close(fd);
	return code;
}

static int
get(const char *certificate, long *serial)
{
	static const char request[] = "GET /patroni HTTP/1.1\r\nConnection: close\r\nHost: x\r\n\r\n";

	return ask(request, strlen(request), 0, certificate, serial);
}

static int
post(const char *certificate)
{
	static const char request[] = "POST /reload HTTP/1.1\r\nHost: x\r\n\r\n";

	return ask(request, strlen(request), 0, certificate, NULL);
}

/* ------------------------------------------------------------------------
 * Tests
 * ------------------------------------------------------------------------
 */

static void
test_answers(void **state)
{
	json_t *more = json_pack("{s:{s:s, s:s}, s:{s:s}}", "http_extra_headers", "X-One", "http",
							 "X-Two", "http", "https_extra_headers", "X-One", "https");
	static const char probe[] = "OPTIONS / HTTP/1.0\r\n\r\n";

	(void) state;
	assert_true(configure("server.crt", "server.key", more));
	assert_int_equal(get(NULL, NULL), 200);
	assert_true(was_ended);
	assert_non_null(strstr(answer, "\"name\": \"node1\""));
	assert_non_null(strstr(answer, "\r\nX-One: https\r\n"));
	assert_null(strstr(answer, "X-One: http\r\n"));
	assert_non_null(strstr(answer, "\r\nX-Two: http\r\n"));
	n_before = 5;
	assert_int_equal(get(NULL, NULL), 200);
	assert_true(was_ended);
	n_before = 0;
	assert_int_equal(ask(probe, strlen(probe), 0, NULL, NULL), 503);
	assert_string_equal(answer, "HTTP/1.0 503 Service Unavailable\r\n\r\n");
	assert_true(was_ended);
}

/* A certificate file that was replaced, and one that cannot be used. */
static void
test_reload(void **state)
{
	long serial = 0;

	(void) state;
	assert_true(configure("server.crt", "server.key", NULL));
	assert_int_equal(get(NULL, &serial), 200);
	assert_int_equal(serial, 10);
	assert_true(configure("server2.crt", "server2.key", NULL));
	assert_int_equal(get(NULL, &serial), 200);
	assert_int_equal(serial, 11);
	assert_false(configure("server.crt", "client.key", NULL));
	assert_false(configure("none.crt", "none.key", NULL));
	assert_int_equal(get(NULL, &serial), 200);
	assert_int_equal(serial, 11);
	/* off, and on again */
	assert_true(configure(NULL, NULL, NULL));
	assert_int_equal(get(NULL, NULL), 0);
	assert_true(configure("server.crt", "server.key", NULL));
	assert_int_equal(get(NULL, &serial), 200);
}

static void
test_wrong_start(void **state)
{
	(void) state;
	assert_false(configure("none.crt", "none.key", NULL));
	assert_null(rest);
	assert_false(configure("server.crt", "server.key",
						   json_pack("{s:s}", "ciphers", "no such cipher")));
	assert_false(configure("server.crt", "server.key",
						   json_pack("{s:s, s:s}", "verify_client", "required", "cafile",
									 "/nonexistent")));
	assert_true(configure("server.crt", "server.key",
						  json_pack("{s:s}", "ciphers", "ECDHE+AESGCM")));
}

static void
test_encrypted_key(void **state)
{
	(void) state;
	assert_false(configure("secret.crt", "secret.key", NULL));
	assert_false(configure("secret.crt", "secret.key",
						   json_pack("{s:s}", "keyfile_password", "wrong")));
	assert_true(configure("secret.crt", "secret.key",
						  json_pack("{s:s}", "keyfile_password", "the password")));
	assert_int_equal(get(NULL, NULL), 200);
}

static json_t *
verify(const char *how)
{
	return json_pack("{s:s, s:s}", "verify_client", how, "cafile", path("ca.crt"));
}

static void
test_client_certificates(void **state)
{
	(void) state;
	assert_true(configure("server.crt", "server.key", verify("required")));
	assert_int_equal(get(NULL, NULL), 0);
	assert_int_equal(get("stranger", NULL), 0);
	assert_int_equal(get("client", NULL), 200);
	assert_int_equal(post("client"), 200);

	assert_true(configure("server.crt", "server.key", verify("Optional")));
	assert_int_equal(get(NULL, NULL), 200);
	assert_int_equal(get("stranger", NULL), 0);
	assert_int_equal(post(NULL), 403);
	assert_non_null(strstr(answer, "\r\n\r\nclient certificate required"));
	assert_int_equal(post("client"), 200);

	/* shown, but not asked for: it opens nothing */
	assert_true(configure("server.crt", "server.key", verify("none")));
	assert_int_equal(get("client", NULL), 200);
	assert_int_equal(post("client"), 403);
	assert_non_null(strstr(answer, "\r\n\r\naccess is denied: "));
}

/* Both locks: certificate and password. */
static void
test_certificate_and_password(void **state)
{
	static const char request[] =
		"POST /reload HTTP/1.1\r\nAuthorization: Basic YWRtaW46YWRtMW4=\r\n\r\n";
	json_t *more = verify("optional");

	(void) state;
	json_object_set_new(more, "authentication",
						json_pack("{s:s, s:s}", "username", "admin", "password", "adm1n"));
	assert_true(configure("server.crt", "server.key", more));
	assert_int_equal(post("client"), 401);
	assert_int_equal(ask(request, strlen(request), 0, NULL, NULL), 403);
	assert_int_equal(ask(request, strlen(request), 0, "client", NULL), 200);
}

/* Lengths around those of TLS records and of our limits, in one piece and in many. */
static void
test_bodies(void **state)
{
	static const size_t lengths[] = { 1, 100, 4000, 8100, 16000, 16200, 16250, 16300, 16383, 16384, 16385,
									  16500, 32700, 40000, 300000, 1048000 };
	static const size_t pieces[] = { 0, 1000, 16384 };
	char *request = malloc(1100000);

	(void) state;
	assert_true(configure("server.crt", "server.key", verify("required")));
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
	{
		for (size_t k = 0; k < 3; k++)
		{
			size_t length = (size_t) sprintf(request,
											 "PUT /config HTTP/1.1\r\nContent-Length: %zu\r\n\r\n"
											 "{\"a\":\"",
											 lengths[i] + 8);

			memset(request + length, 'x', lengths[i]);
			length += lengths[i];
			memcpy(request + length, "\"}", 2);
			body_length = 0;
			if (ask(request, length + 2, pieces[k], "client", NULL) != 200)
				fail_msg("%zu bytes in pieces of %zu: %.100s", lengths[i], pieces[k], answer);
			assert_int_equal(body_length, lengths[i]);
			assert_true(was_ended);
		}
	}
	free(request);
}

/* What is no TLS is hung up on; what never begins does not stay. */
static void
test_nonsense(void **state)
{
	static const char plain[] = "GET /patroni HTTP/1.0\r\n\r\n";
	char text[1024];
	int fd;
	int64_t end_ms;
	ssize_t n;

	(void) state;
	assert_true(configure("server.crt", "server.key", NULL));
	for (int i = 0; i < 2; i++)
	{
		fd = client_connect();
		end_ms = clock_now_ms() + CLIENT_MS;
		if (i == 0)
			assert_true(send(fd, plain, strlen(plain), MSG_NOSIGNAL) > 0);
		for (;;)
		{
			event_base_loop(base, EVLOOP_NONBLOCK);
			n = recv(fd, text, sizeof(text), MSG_DONTWAIT);
			if (n == 0 || (n < 0 && errno == ECONNRESET))
				break;
			assert_true(n < 0 || strncmp(text, "HTTP", 4) != 0);
			assert_true(clock_now_ms() < end_ms);
			usleep(1000);
		}
		close(fd);
	}
	assert_int_equal(get(NULL, NULL), 200);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_answers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reload, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wrong_start, setup, teardown),
		cmocka_unit_test_setup_teardown(test_encrypted_key, setup, teardown),
		cmocka_unit_test_setup_teardown(test_client_certificates, setup, teardown),
		cmocka_unit_test_setup_teardown(test_certificate_and_password, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bodies, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nonsense, setup, teardown),
	};

	return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
