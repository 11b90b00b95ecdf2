/* SPDX-License-Identifier: MIT
 *
 * Echo. What can't be sent back at once waits in a ring, which the stream's window bounds: credit is given only for what has
 * been sent on. Classic messages have no credit; of them at most one waits, and the link reads no other meanwhile. */
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "net/link.h"
#include "server/service.h"

enum { RING_MIN = 4096, RING_MAX = ETCP_WINDOW };

struct echo {
    struct service_stream base;
    uint8_t *ring; /* NULL while nothing waits */
    size_t size;   /* of the ring: a power of two from RING_MIN to RING_MAX */
    size_t at;     /* where the waiting bytes begin */
    size_t count;  /* how many wait; classic: the length of the message that does */
    bool peer_closed;
    struct link_waiter waiter; /* while something waits for the socket */
};

static struct echo *echo_of(struct service_stream *stream)
{
    return (struct echo *)stream;
}

static void on_turn(struct link_waiter *waiter)
{
    struct echo *echo = (struct echo *)((char *)waiter - offsetof(struct echo, waiter));

    echo->base.type->writable(&echo->base);
}

static int echo_open(struct service_stream *stream, const struct etcp_origin *origin)
{
    (void)origin;
    echo_of(stream)->waiter.turn = on_turn;
    return 0;
}

static void ring_free(struct echo *echo)
{
    free(echo->ring);
    echo->ring = NULL;
    echo->size = echo->at = echo->count = 0;
    (void)service_hold(&echo->base, 0);
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Returns NULL, or why there is no room. */
static const char *ring_grow(struct echo *echo, size_t wanted)
{
    size_t size = echo->size > 0 ? echo->size : RING_MIN;
    size_t first = 0;
    uint8_t *ring = NULL;

    while (size < wanted) {
        size *= 2;
    }
    if (size == echo->size) {
        return NULL;
    }
    if (!service_hold(&echo->base, size)) {
        return "too much waits for agents that the server does not know";
    }
    ring = size <= RING_MAX ? malloc(size) : NULL;
    if (ring == NULL) {
        (void)service_hold(&echo->base, echo->size);
        return "out of memory";
    }
    if (echo->count > 0) {
        first = smaller(echo->count, echo->size - echo->at);
        memcpy(ring, echo->ring + echo->at, first);
        memcpy(ring + first, echo->ring, echo->count - first);
    }
    free(echo->ring);
    echo->ring = ring;
    echo->size = size;
    echo->at = 0;
    return NULL;
}

/* As ring_grow(). */
static const char *ring_add(struct echo *echo, const uint8_t *data, size_t len)
{
    size_t end, first;
    const char *why = ring_grow(echo, echo->count + len);

    if (why != NULL) {
        return why;
    }
    end = (echo->at + echo->count) & (echo->size - 1);
    first = smaller(len, echo->size - end);
    memcpy(echo->ring + end, data, first);
    memcpy(echo->ring, data + first, len - first);
    echo->count += len;
    return NULL;
}

/* Something has not been sent. */
static void wait_for_room(struct echo *echo)
{
    if (!link_has_room(echo->base.link)) { /* else it is credit that is missing */
        link_wait(echo->base.link, &echo->waiter, false);
    }
}

/* Sends what waits, as far as it goes. */
static void ring_send(struct echo *echo)
{
    while (echo->count > 0) {
        size_t piece = smaller(echo->count, echo->size - echo->at);
        size_t sent = link_send(echo->base.link, echo->base.stream, echo->ring + echo->at, piece);

        service_sent(&echo->base, sent);
        etcp_stream_consume(echo->base.stream, sent);
        echo->at = (echo->at + sent) & (echo->size - 1);
        echo->count -= sent;
        if (sent < piece) {
            wait_for_room(echo);
            return;
        }
    }
    ring_free(echo);
}

/* The last statement of whoever calls it: the stream may be gone afterwards. */
static void close_when_done(struct echo *echo)
{
    if (echo->peer_closed && echo->count == 0) {
        etcp_stream_close(echo->base.stream);
    }
    if (etcp_stream_ended(echo->base.stream)) {
        service_close(&echo->base, ETCP_CODE_RESET, NULL);
    }
}

static void echo_data(struct service_stream *stream, uint8_t *data, size_t len)
{
    struct echo *echo = echo_of(stream);
    const char *why = NULL;
    size_t sent = 0;

    if (echo->count == 0) {
        if (link_send_back(stream->link, stream->stream, data, len)) {
            service_sent(stream, len);
            etcp_stream_consume(stream->stream, len);
            return;
        }
        sent = link_send(stream->link, stream->stream, data, len);
        service_sent(stream, sent);
        etcp_stream_consume(stream->stream, sent);
    }
    if (sent < len) {
        why = ring_add(echo, data + sent, len - sent);
        wait_for_room(echo);
    }
    if (why != NULL) {
        service_close(stream, ETCP_CODE_INTERNAL, why); /* not `limit`: that would say that the stream was not taken */
    }
}

static void echo_peer_closed(struct service_stream *stream)
{
    struct echo *echo = echo_of(stream);

    echo->peer_closed = true;
    close_when_done(echo);
}

static void echo_message(struct service_stream *stream, uint8_t *data, size_t len)
{
    struct echo *echo = echo_of(stream);

    if (echo->count == 0 && link_message_back(stream->link, data, len)) {
        service_sent(stream, len);
        return;
    }
    if (echo->count > 0 || ring_add(echo, data, len) != 0) {
        link_abort(stream->link, ETCP_ENOMEM, "no memory for a message");
    }
}

static void echo_writable(struct service_stream *stream)
{
    struct echo *echo = echo_of(stream);

    if (stream->stream != NULL) {
        ring_send(echo);
        close_when_done(echo);
    } else if (echo->count > 0 && link_message(stream->link, echo->ring, echo->count)) {
        service_sent(stream, echo->count);
        ring_free(echo);
    }
}

static void echo_release(struct service_stream *stream)
{
    link_leave(stream->link, &echo_of(stream)->waiter);
    ring_free(echo_of(stream));
}

const struct service_type service_echo = {
    .size = sizeof(struct echo),
    .open = echo_open,
    .data = echo_data,
    .message = echo_message,
    .peer_closed = echo_peer_closed,
    .writable = echo_writable,
    .release = echo_release,
};
