/* SPDX-License-Identifier: MIT
 *
 * The table is a hash table with chains. A connection with one or a few streams allocates nothing but them. */
#include "core/stream.h"

#include <stdlib.h>
#include <string.h>

void stream_table_init(struct stream_table *table, bool own_odd, uint64_t factor)
{
    *table = (struct stream_table){.factor = factor | 1, .mask = STREAM_BUCKETS_INLINE - 1, .own_odd = own_odd};
    table->buckets = table->first;
}

/* By multiply-shift hashing. An id's lowest bit is its side: not worth a bucket's distinction. */
static struct etcp_stream **bucket_of(const struct stream_table *table, uint32_t id)
{
    return &table->buckets[(uint32_t)((id >> 1) * table->factor >> 32) & table->mask];
}

static void release_buckets(struct stream_table *table)
{
    if (table->buckets != table->first)
        free(table->buckets);
    memset(table->first, 0, sizeof table->first);
    table->buckets = table->first;
    table->mask = STREAM_BUCKETS_INLINE - 1;
}

void stream_table_done(struct stream_table *table)
{
    for (uint32_t i = 0; i <= table->mask; i++) {
        while (table->buckets[i]) {
            struct etcp_stream *stream = table->buckets[i];
            table->buckets[i] = stream->next;
            free(stream);
        }
    }
    release_buckets(table);
    table->count = table->peer_count = 0;
}

struct etcp_stream *stream_find(const struct stream_table *table, uint32_t id)
{
    struct etcp_stream *stream = *bucket_of(table, id);
    while (stream && stream->id != id)
        stream = stream->next;
    return stream;
}

/* Doubles the buckets. Without memory the chains just get longer. */
static void grow(struct stream_table *table)
{
    uint32_t old_count = table->mask + 1;
    struct etcp_stream **old = table->buckets;
    struct etcp_stream **buckets = calloc((size_t)old_count * 2, sizeof *buckets);
    if (!buckets)
        return;
    table->buckets = buckets;
    table->mask = old_count * 2 - 1;
    for (uint32_t i = 0; i < old_count; i++) {
        while (old[i]) {
            struct etcp_stream *stream = old[i];
            old[i] = stream->next;
            struct etcp_stream **bucket = bucket_of(table, stream->id);
            stream->next = *bucket;
            *bucket = stream;
        }
    }
    if (old != table->first)
        free(old);
}

struct etcp_stream *stream_new(struct stream_table *table, struct etcp_conn *conn, uint32_t id, bool by_peer)
{
    struct etcp_stream *stream = malloc(sizeof *stream);
    if (!stream)
        return NULL;
    if (table->count > table->mask * 2)
        grow(table);
    struct etcp_stream **bucket = bucket_of(table, id);
    *stream = (struct etcp_stream){
        .conn = conn,
        .next = *bucket,
        .id = id,
        .by_peer = by_peer,
        .send_limit = ETCP_WINDOW,
        .receive_limit = ETCP_WINDOW,
        .window = ETCP_WINDOW,
    };
    *bucket = stream;
    table->count++;
    if (by_peer) {
        table->peer_count++;
        table->peer_highest = id;
    } else {
        table->own_last = id;
    }
    return stream;
}

void stream_free(struct stream_table *table, struct etcp_stream *stream)
{
    struct etcp_stream **at = bucket_of(table, stream->id);
    while (*at != stream)
        at = &(*at)->next;
    *at = stream->next;
    table->count--;
    if (stream->by_peer)
        table->peer_count--;
    free(stream);
    if (table->count == 0)
        release_buckets(table);
}

uint32_t stream_next_own(const struct stream_table *table)
{
    if (table->own_last == 0)
        return table->own_odd ? 1 : 2;
    return table->own_last > UINT32_MAX - 2 ? 0 : table->own_last + 2;
}

void stream_each(struct stream_table *table, void (*visit)(struct etcp_stream *stream))
{
    for (uint32_t i = 0; i <= table->mask; i++) {
        for (struct etcp_stream *stream = table->buckets[i]; stream; stream = stream->next)
            visit(stream);
    }
}

static bool is_own(const struct stream_table *table, uint32_t id)
{
    return (id % 2 == 1) == table->own_odd;
}

const char *stream_check_absent(const struct stream_table *table, uint32_t id)
{
    uint32_t highest = is_own(table, id) ? table->own_last : table->peer_highest;
    return id > highest ? "a frame for a stream that was never opened" : NULL;
}

const char *stream_check_open(const struct stream_table *table, uint32_t id)
{
    if (is_own(table, id))
        return "the agent opens odd ids, the server even ones";
    return id <= table->peer_highest ? "ids are opened in ascending order, each once" : NULL;
}

const char *stream_on_data(struct etcp_stream *stream, size_t len)
{
    if (stream->peer_closed)
        return "Stream Data after Stream Close";
    if (len > stream->receive_limit - stream->received)
        return "Stream Data past the limit";
    stream->received += len;
    return NULL;
}

static void close_side(struct etcp_stream *stream, bool *side)
{
    *side = true;
    stream->ended = stream->ended || (stream->local_closed && stream->peer_closed);
}

const char *stream_on_close(struct etcp_stream *stream)
{
    if (stream->peer_closed)
        return "Stream Close twice";
    close_side(stream, &stream->peer_closed);
    return NULL;
}

const char *stream_on_credit(struct etcp_stream *stream, uint64_t consumed, uint64_t limit, bool *ret_more)
{
    if (consumed > stream->sent)
        return "Stream Credit for what was not sent";
    if (consumed < stream->peer_consumed || limit < stream->send_limit)
        return "Stream Credit goes down";
    *ret_more = limit > stream->send_limit;
    stream->peer_consumed = consumed;
    stream->send_limit = limit;
    return NULL;
}

bool stream_consume(struct etcp_stream *stream, size_t len)
{
    uint64_t left = stream->received - stream->consumed;
    stream->consumed += len < left ? len : left;
    if (stream->ended || stream->peer_closed)
        return false;
    uint64_t limit = stream->consumed + stream->window;
    if (limit < stream->receive_limit +
                    stream->window / 2) /* after a larger window it may be below: the limit never goes down */
        return false;
    stream->receive_limit = limit;
    return true;
}

uint64_t stream_credit(const struct etcp_stream *stream)
{
    return stream->ended || stream->local_closed ? 0 : stream->send_limit - stream->sent;
}

void stream_close_local(struct etcp_stream *stream)
{
    close_side(stream, &stream->local_closed);
}
