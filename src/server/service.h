/* SPDX-License-Identifier: MIT
 *
 * What a stream is handed to. A service type is a table of functions in a file of its own (service_echo.c); a session asks here
 * for the type of a configured service and passes on what happens. Who may use which service is the session's business. */
#ifndef SERVER_SERVICE_H
#define SERVER_SERVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sys/queue.h>

#include <etcp/etcp.h>

#include "config/server.h"

#include "server/tally.h"

struct dialer;
struct link;
struct loop;
struct service_stream;

/* All functions are called from the link's handlers; each but `open` may end with service_close(). */
struct service_type {
    size_t size; /* of the type's own struct, which begins with a struct service_stream; it starts as zeros */
    /* A stream (classic: a connection) was given to it. Returns 0, or why not: an enum etcp_code, and nothing is held. */
    int (*open)(struct service_stream *stream, const struct etcp_origin *origin);
    /* The event's data, as it lies there. The type tells etcp_stream_consume() what it has taken on. */
    void (*data)(struct service_stream *stream, uint8_t *data, size_t len);
    /* A classic message, as it lies there. NULL: the type is not for classic peers. */
    void (*message)(struct service_stream *stream, uint8_t *data, size_t len);
    /* The peer sends no more. */
    void (*peer_closed)(struct service_stream *stream);
    /* Credit has come; or for a classic connection, the socket takes output again. */
    void (*writable)(struct service_stream *stream);
    /* Frees what the type holds, not the struct. */
    void (*release)(struct service_stream *stream);
};

/* How many bytes may be queued for the streams of agents that nobody has listed, in one worker: whoever reaches the port can make
 * a key and connect from many addresses, and each stream may queue a window. Listed agents have max_streams alone. */
enum { SERVICE_UNLISTED_MAX = 64 * 1024 * 1024 };

/* Where services run: a worker's. */
struct service_host {
    struct loop *loop;
    struct dialer *dialer;
    char process[17]; /* tells this server's connections from those of others and of earlier ones */
};

/* Whose streams they are: the session's, which keeps it up to date. */
struct service_client {
    const struct service_host *host;
    uint64_t connection;
    const char *peer;   /* its address as text */
    const char *agent;  /* its name; NULL: not listed, or classic */
    const uint8_t *key; /* NULL: classic */
};

/* The streams of one connection. Without `client`, zeros are none. */
struct service_streams {
    LIST_HEAD(service_stream_list, service_stream) open;
    struct service_client client;
    size_t *unlisted; /* what all agents that are not listed have queued; NULL: this is none of them */
};

struct service_stream {
    const struct service_type *type;
    const struct config_service *config; /* of the snapshot that its worker works by */
    struct link *link;
    struct etcp_stream *stream; /* NULL: the classic connection itself */
    struct service_streams *owner;
    struct tally_service *tally;
    size_t held;                      /* see service_hold() */
    LIST_ENTRY(service_stream) place; /* in the owner's */
};

/* What a type has sent to the peer. */
static inline void service_sent(struct service_stream *stream, size_t len)
{
    stream->tally->sent_bytes += len;
}

/* Opens a service on a stream, which it takes (classic: NULL); the stream's user pointer leads to the result. Counts in `tally`.
 * `origin` is borrowed for the call. Returns 0 and in *ret_stream what belongs to the owner, or an enum etcp_code, and nothing was taken. */
int service_open(struct service_streams *owner, const struct config_service *config, struct tally_service *tally,
                 struct link *link, struct etcp_stream *stream, const struct etcp_origin *origin,
                 struct service_stream **ret_stream);

/* The type asks for `bytes` of memory in all, more or less than before, for what the stream has queued. False: these agents have
 * queued too much already (SERVICE_UNLISTED_MAX), and the stream has what it had; asking for less is always granted. */
bool service_hold(struct service_stream *stream, size_t bytes);

/* Enters what the streams hold in another account from now on, or in none. */
void service_account(struct service_streams *streams, size_t *unlisted);

/* Gives the stream back, with `code` and `reason` as in etcp_stream_fail() if it has not ended. */
void service_close(struct service_stream *stream, enum etcp_code code, const char *reason);

/* Echo: sends back what comes, in place where that is possible. */
extern const struct service_type service_echo;

/* Forward: carries it to a backend. */
extern const struct service_type service_forward;

#endif
