/*-------------------------------------------------------------------------
 *
 * tls.c
 *      HTTPS for the REST API (patroni/api.py, RestApiServer).
 *
 * TLS 1.2 or newer, no renegotiation, no session resumption: connections carry
 * one request, and a resumed session would skip the look at the client's
 * certificate.  restapi.ciphers is for TLS 1.2, as in Patroni.
 *-------------------------------------------------------------------------
 */
#include "rest/tls.h"
#include "cluster/ascii.h"

#include <stdio.h>
#include <string.h>

#include <openssl/err.h>

static const char *
setting(const Settings *settings, const char *key)
{
	const char *text = settings == NULL ? NULL
										: json_string_value(json_object_get(
											  json_object_get(settings->document, "restapi"), key));

	return text == NULL || text[0] == '\0' ? NULL : text;
}

/* restapi.verify_client is "optional" or "required". */
bool
tls_asks_for_certificate(const Settings *settings)
{
	const char *verify = setting(settings, "verify_client");

	return setting(settings, "certfile") != NULL && verify != NULL &&
		   (ascii_is_same(verify, "optional") || ascii_is_same(verify, "required"));
}

/* What OpenSSL has to say about it; the newest of its messages says most. */
static bool
fail(Error *error, const char *what, const char *name)
{
	char reason[160] = "no reason given";

	if (ERR_peek_last_error() != 0)
		ERR_error_string_n(ERR_peek_last_error(), reason, sizeof(reason));
	ERR_clear_error();
	return error_set(error, "could not %s \"%s\": %s", what, name, reason);
}

/* Never asks at the terminal: without a password it is the empty one. */
static int
give_password(char *buffer, int size, int is_for_writing, void *password)
{
	int length = snprintf(buffer, (size_t) size, "%s", password == NULL ? "" : (char *) password);

	(void) is_for_writing;
	return length >= size ? 0 : length;
}

static bool
load_certificate(SSL_CTX *context, const Settings *settings, Error *error)
{
	const char *certificate = setting(settings, "certfile");
	const char *key = setting(settings, "keyfile");
	const char *password = setting(settings, "keyfile_password");

	SSL_CTX_set_default_passwd_cb(context, give_password);
	SSL_CTX_set_default_passwd_cb_userdata(context, (void *) password);
	if (SSL_CTX_use_certificate_chain_file(context, certificate) != 1)
		return fail(error, "use restapi.certfile", certificate);
	if (key == NULL) /* it may be in the same file */
		key = certificate;
	if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1)
		return fail(error, "use restapi.keyfile", key);
	/* the settings may go; the key is loaded */
	SSL_CTX_set_default_passwd_cb_userdata(context, NULL);
	if (SSL_CTX_check_private_key(context) != 1)
		return fail(error, "use the certificate with restapi.keyfile", key);
	return true;
}

static bool
load_authorities(SSL_CTX *context, const Settings *settings, Error *error)
{
	const char *authorities = setting(settings, "cafile");
	const char *verify = setting(settings, "verify_client");
	int mode = SSL_VERIFY_PEER;

	if (!tls_asks_for_certificate(settings))
		return true;
	if (ascii_is_same(verify, "required"))
		mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
	if (authorities == NULL)
	{
		if (SSL_CTX_set_default_verify_paths(context) != 1)
			return fail(error, "use the system's certificate authorities for", "verify_client");
	}
	else
	{
		STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(authorities);

		if (names == NULL || SSL_CTX_load_verify_locations(context, authorities, NULL) != 1)
		{
			sk_X509_NAME_pop_free(names, X509_NAME_free);
			return fail(error, "use restapi.cafile", authorities);
		}
		SSL_CTX_set_client_CA_list(context, names);
	}
	SSL_CTX_set_verify(context, mode, NULL);
	return true;
}

static bool
set_up(SSL_CTX *context, const Settings *settings, Error *error)
{
	const char *ciphers = setting(settings, "ciphers");

	SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
	SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET |
									 SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(context, 0);
	SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
	if (ciphers != NULL && SSL_CTX_set_cipher_list(context, ciphers) != 1)
		return fail(error, "use restapi.ciphers", ciphers);
	return load_certificate(context, settings, error) && load_authorities(context, settings, error);
}

/* Make a context; *context is NULL when TLS is off.  False: it cannot be. */
bool
tls_context(SSL_CTX **context, const Settings *settings, Error *error)
{
	*context = NULL;
	if (setting(settings, "certfile") == NULL)
		return true;
	ERR_clear_error();
	*context = SSL_CTX_new(TLS_server_method());
	if (*context == NULL)
		return fail(error, "set up TLS for", "restapi");
	if (set_up(*context, settings, error))
		return true;
	SSL_CTX_free(*context);
	*context = NULL;
	return false;
}
