/*-------------------------------------------------------------------------
 *
 * tls.h
 *      The certificate of the REST API and whom it asks for one, as an SSL_CTX.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_REST_TLS_H
#define PATRONI_REST_TLS_H

#include <openssl/ssl.h>

#include "base/error.h"
#include "config/settings.h"

/*
 * Make a context of what restapi.certfile etc. name, reading the files anew.
 * *context is NULL when TLS is off.  The caller owns it: SSL_CTX_free().
 */
extern bool tls_context(SSL_CTX **context, const Settings *settings, Error *error) MUST_CHECK;
/* restapi.verify_client is "optional" or "required". */
extern bool tls_asks_for_certificate(const Settings *settings);

#endif /* PATRONI_REST_TLS_H */
