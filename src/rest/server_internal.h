/*-------------------------------------------------------------------------
 *
 * server_internal.h
 *      What the files of the HTTP server share: server.c, request.c, listen.c.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_REST_SERVER_INTERNAL_H
#define PATRONI_REST_SERVER_INTERNAL_H

#include "rest/server.h"

/* request.c */
extern size_t request_head_length(const char *data, size_t length);
extern int request_parse(ServerRequest *request, const char *head, size_t length);
extern bool request_announces_body(const char *head, const char *end);

/* listen.c */
extern int listen_open(const char *host, int port, Error *error);
extern int listen_port(int fd);

#endif /* PATRONI_REST_SERVER_INTERNAL_H */
