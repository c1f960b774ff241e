/*-------------------------------------------------------------------------
 *
 * peers.h
 *      Ask the other members over REST how they are, without waiting.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_NODE_PEERS_H
#define PATRONI_NODE_PEERS_H

#include <jansson.h>

#include "base/error.h"
#include "config/settings.h"
#include "ha/ha.h"

typedef struct Peers Peers;

/* "answer" is called from peers_process() only, once for each peers_ask(). */
extern bool peers_open(Peers **peers, void (*answer)(void *context, const HaPeer *peer),
                       void *context, Error *error) MUST_CHECK;
extern void peers_close(Peers *peers); /* NULL is fine; no more answers */
/* Credentials and client certificate, from the effective settings. */
extern void peers_configure(Peers *peers, const Settings *settings);
extern int peers_fd(const Peers *peers);
extern int peers_timeout_ms(const Peers *peers, int64_t now_ms);
extern void peers_process(Peers *peers, int64_t now_ms);
/* False: could not be asked, there will be no answer. */
extern bool peers_ask(Peers *peers, const char *name, const char *url, uint64_t round,
                      int timeout_ms) MUST_CHECK;
/*
 * POST /failsafe: may this node go on leading without the store?  The answer
 * comes as a vote.  Kept apart from questions of peers_ask() to the same member.
 */
extern bool peers_ask_consent(Peers *peers, const char *name, const char *url, const char *body,
                              uint64_t round, int timeout_ms) MUST_CHECK;
extern void peers_forget_all(Peers *peers);

/* The body of POST /failsafe as a command for the engine, without id. */
extern void peer_failsafe_command(HaCommand *command, const json_t *body);

/* Read a status document (GET /patroni); name and round are kept. */
extern void peer_from_status(HaPeer *peer, const char *body, size_t length);

#endif /* PATRONI_NODE_PEERS_H */
