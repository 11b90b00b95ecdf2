/* SPDX-License-Identifier: MIT
 *
 * The connections that carry streams, and which of them takes the next one: an idle one if there is one, else a new one. From some
 * number on, and always above the limit, they are shared: a quiet one first, whose streams move little, so that nobody waits
 * behind another's bulk, and what several say at once is one write. A few spare ones are kept ready, surplus ones closed after
 * a while.
 *
 * The first connection is the connector's, which also knows when to try again: the pool makes others only while one is up, so a
 * server that is away is asked by one client, not by many. They go the same way as they came. When servers announce that they shut
 * down, their connections finish their streams and are replaced at once, by those of another server as long as there is one. */
#ifndef AGENT_POOL_H
#define AGENT_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <etcp/etcp.h>

struct carrier;
struct link;
struct loop;
struct pool;
struct setup;

struct pool_handler {
    /* A carrier may have become free, or a new one possible: waiting streams may ask again. */
    void (*ready)(void *user);
    /* A carrier that has taken streams before it was up is up now. */
    void (*up)(struct carrier *carrier, void *user);
    /* Of a stream, whose user pointer is not NULL. */
    void (*event)(const struct etcp_event *event, void *user);
    /* The carrier is gone, its streams have ended; carrier_is_up() tells whether it was up, `settled` as in struct client_end. Returns
     * how many of them will not be tried again. */
    size_t (*lost)(struct carrier *carrier, bool settled, void *user);
    /* The pool has been stopped, and none of its own carriers is left. */
    void (*emptied)(void *user);
};

/* Holds `setup`; borrows the rest. Returns 0 or -ENOMEM. */
int pool_new(struct loop *loop, struct setup *setup, const struct pool_handler *handler, void *user,
             struct pool **ret_pool);

/* Its own carriers must be gone. NULL is fine. */
void pool_free(struct pool *pool);

/* The connector's connection, to the server at `address`. `reserved`: it has other work, and is not idle. */
void pool_main_up(struct pool *pool, struct link *link, const char *address, bool reserved);
void pool_main_event(struct pool *pool, const struct etcp_event *event);
bool pool_main_is_used(const struct pool *pool); /* it carries streams */
void pool_main_drain(struct pool *pool);         /* it is to take no more of them */
void pool_main_release(struct pool *pool);       /* the other work is done */
void pool_main_down(struct pool *pool, bool settled);

/* The carrier for the next stream; it counts from now on until pool_put(). The server may not have let it in yet. NULL: not now,
 * `ready` follows when it is worth asking again. */
struct carrier *pool_take(struct pool *pool);
void pool_put(struct pool *pool, struct carrier *carrier);

/* A stream can't be opened on it any more. */
void pool_drain(struct carrier *carrier);

/* The server has been sent streams on it and has not let it in for long: it takes no more, and such servers are waited for. */
void pool_doubt(struct carrier *carrier);

/* The server has refused a stream, which still counts, for there are too many in this connection: for a while it gets no more than
 * it has without that one. */
void pool_full(struct carrier *carrier);

/* Whether the server has said on it that it shuts down. */
bool carrier_announced(const struct carrier *carrier);

/* Whether the server has let it in. */
bool carrier_is_up(const struct carrier *carrier);

struct link *carrier_link(const struct carrier *carrier);

/* A place for a pointer of the owner's; NULL at first. */
void **carrier_user(struct carrier *carrier);

/* So many streams wait: carriers are made for them, and to spare. */
void pool_want(struct pool *pool, size_t waiting);

/* Works by another setup; ends carriers that it does not allow. */
void pool_reload(struct pool *pool, struct setup *setup);

/* Makes no more; ends its own carriers, at once or when they have no stream. `emptied` is called from the loop when the last has
 * gone; if there is none, it is not. */
void pool_stop(struct pool *pool, bool at_once);
bool pool_is_empty(const struct pool *pool);

/* Carriers that are up, and of them the idle ones; the main one included. */
void pool_count(const struct pool *pool, size_t *ret_up, size_t *ret_idle);

#endif
