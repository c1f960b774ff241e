/*-------------------------------------------------------------------------
 *
 * base64.h
 *      Standard base64, as the JSON gateway of etcd wants keys and values.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_DCS_BASE64_H
#define PATRONI_DCS_BASE64_H

#include <stddef.h>

extern char *base64_encode(const void *data, size_t length);
extern char *base64_decode(const char *text, size_t *length);

#endif							/* PATRONI_DCS_BASE64_H */
