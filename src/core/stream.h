/* SPDX-License-Identifier: MIT
 *
 * Streams (section 4): ids, half-close, credit. Knows what is legal, not what is sent: the functions tell the rule that a
 * peer's frame breaks, and conn.c acts. */
#ifndef CORE_STREAM_H
#define CORE_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <etcp/conn.h>

struct etcp_stream {
    struct etcp_conn *conn;
    struct etcp_stream *next; /* in its bucket */
    void *user;
    uint32_t id;
    bool by_peer;
    bool local_closed; /* we send no more data */
    bool peer_closed;  /* the peer sends no more data */
    uint32_t window;   /* how far the peer may be ahead of the consumer */
    bool ended;        /* both have closed, or either has sent Stream Error */
    /* absolute offsets; sending direction */
    uint64_t sent;
    uint64_t send_limit;
    uint64_t peer_consumed;
    /* receiving direction */
    uint64_t received;
    uint64_t consumed;
    uint64_t receive_limit;
};

enum { STREAM_BUCKETS_INLINE = 4 };

struct stream_table {
    struct etcp_stream *first[STREAM_BUCKETS_INLINE]; /* the buckets of a connection with few streams */
    struct etcp_stream **buckets;                     /* first, or allocated */
    uint64_t factor;                                  /* of the hash function, odd */
    uint32_t mask;                                    /* number of buckets - 1 */
    uint32_t count;
    uint32_t peer_count;   /* of them, opened by the peer */
    uint32_t own_last;     /* highest id that this side has opened, 0 for none */
    uint32_t peer_highest; /* highest id that the peer has opened */
    bool own_odd;          /* this side is the agent */
};

/* `factor` is random: the peer, which chooses ids, must not be able to choose those that share a bucket. */
void stream_table_init(struct stream_table *table, bool own_odd, uint64_t factor);

/* Frees all streams. */
void stream_table_done(struct stream_table *table);

/* The stream of an id, NULL if it is not there. */
struct etcp_stream *stream_find(const struct stream_table *table, uint32_t id);

/* A stream with this id, in the table; NULL without memory. */
struct etcp_stream *stream_new(struct stream_table *table, struct etcp_conn *conn, uint32_t id, bool by_peer);

/* Takes it out of the table and frees it. */
void stream_free(struct stream_table *table, struct etcp_stream *stream);

/* The id of this side's next stream, 0 when all are used up. */
uint32_t stream_next_own(const struct stream_table *table);

/* Calls `visit` for each stream; it must not add or free any. */
void stream_each(struct stream_table *table, void (*visit)(struct etcp_stream *stream));

/* The rule that a frame for `id` breaks when no stream of it is there: NULL if the stream has merely ended. */
const char *stream_check_absent(const struct stream_table *table, uint32_t id);

/* The rule that opening `id` breaks for the peer, or NULL. */
const char *stream_check_open(const struct stream_table *table, uint32_t id);

/* What the peer's frame does to a stream that has not ended; each returns the rule that it breaks, or NULL. */
const char *stream_on_data(struct etcp_stream *stream, size_t len);
const char *stream_on_close(struct etcp_stream *stream);
/* Stores whether the stream may send more than before. */
const char *stream_on_credit(struct etcp_stream *stream, uint64_t consumed, uint64_t limit, bool *ret_more);

/* The consumer has taken `len` more. Whether credit is due: then the limit has been raised already. */
bool stream_consume(struct etcp_stream *stream, size_t len);

/* Bytes that may be sent. */
uint64_t stream_credit(const struct etcp_stream *stream);

/* This side has closed. */
void stream_close_local(struct etcp_stream *stream);

#endif
