/*-------------------------------------------------------------------------
 *
 * channel.h
 *      The Unix stream socket between supervisor and worker: newline-delimited
 *      JSON objects, each with "type".
 *
 *  worker -> supervisor
 *    hello   {protocol, version, pid, generation, has_baton}   first message
 *    state   {postgres: {...}}       what the worker sees; on change, at most every 10 ms
 *    answer  {id, postgres: {...}, replayed_at_ms, senders: [{client_addr, sync_priority}]}
 *                                    reply to ask; commit time of the last transaction
 *                                    replayed, 0 = none; senders in the order of those of
 *                                    postgres
 *    baton   {generation, saved}     gives the baton back (the page says SUPERVISOR already)
 *    callback {name, role}           please run a callback script
 *    command {id, kind, arguments}   a SQL command that the supervisor must do: "reload"
 *    result  {id, ok, text, detail, sqlstate, lsn}   the engine's answer to "command" or
 *                                    "failsafe"
 *
 *  supervisor -> worker
 *    config  {local: {...}}          local configuration, after hello and on each reload
 *    baton   {generation, saved}     the worker drives from now on (the page says WORKER already)
 *    give    {reason, goal_command}  please give the baton back; goal_command: HaCommand to
 *                                    apply first, e.g. shutdown
 *    ask     {id}                    what does the server look like right now?
 *    failsafe {id, name, member, ttl_ms}   POST /failsafe: HA_COMMAND_FAILSAFE
 *    command {id, kind, arguments}   a command for the engine, as SQL has them; the id has
 *                                    CHANNEL_CALL_BIT, so that nobody else answers it
 *
 * Unknown types and fields are ignored, so that neighbouring releases can talk.
 * The socket's file is 0600 and the peer's uid is checked with SO_PEERCRED.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_NODE_CHANNEL_H
#define PATRONI_NODE_CHANNEL_H

#include <stdint.h>

#include <jansson.h>

#include "base/error.h"

#define CHANNEL_PROTOCOL    1
#define CHANNEL_MESSAGE_MAX (1024 * 1024)

/* In the id of a command of the supervisor's: the answer goes back there. */
#define CHANNEL_CALL_BIT (UINT64_C(1) << 62)

typedef struct Channel Channel;

/* Supervisor: a listening, non-blocking socket at "path" (an old one is removed). */
extern bool channel_listen(const char *path, int *fd, Error *error) MUST_CHECK;
/* NULL: nobody waits, or the peer is another user (*error is set then). */
extern Channel *channel_accept(int listen_fd, Error *error);
/* Worker: NULL when nobody listens. */
extern Channel *channel_connect(const char *path, Error *error);
extern void channel_close(Channel *channel); /* NULL is fine */
extern int channel_fd(const Channel *channel);
extern bool channel_wants_write(const Channel *channel);
/* Queue one object; the reference is stolen.  False: broken, close it. */
extern bool channel_send(Channel *channel, json_t *message);
/* Write what is queued, without waiting.  False: broken. */
extern bool channel_flush(Channel *channel);
/*
 * Next complete message as a new reference, or NULL when there is none yet.
 * *is_closed is set when the peer is gone or talks nonsense.
 */
extern json_t *channel_receive(Channel *channel, bool *is_closed);

#endif /* PATRONI_NODE_CHANNEL_H */
