/* SPDX-License-Identifier: MIT
 *
 * Two links on one loop, joined by a socket pair whose buffers are as small as the kernel allows, and an application on each. */
#ifndef ETCP_TESTS_SIDES_H
#define ETCP_TESTS_SIDES_H

#include <unistd.h>

#include <sys/socket.h>

#include <event2/event.h>

#include <etcp/etcp.h>

#include "check.h"
#include "conns.h"
#include "net/link.h"
#include "net/loop.h"

#define BULK_BYTES (8u << 20)
enum { CHUNK_BYTES = 100000, DEADLINE_S = 60 };

struct side;

/* What a case adds to the usual behaviour. */
struct behaviour {
    void (*up)(struct side *side);
    bool (*event)(struct side *side, const struct etcp_event *event); /* returns whether it took the event */
    void (*writable)(struct side *side);
};

struct side {
    struct link *link; /* NULL once `closed` */
    struct loop *loop;
    const struct behaviour *behaviour;
    bool is_server, in_place;
    bool leaves; /* says Goodbye when everything has come back */
    struct side *peer;
    struct etcp_stream *stream;
    uint64_t to_send, sent, received, messages;
    uint8_t *queue; /* what waits to be echoed */
    size_t queued;
    unsigned closed, opened;
    unsigned writables;
    int end_code; /* of ETCP_EVENT_END, -1 before */
    struct link_end end;
};

static struct loop *loop;

static inline uint8_t pattern(uint64_t at)
{
    return (uint8_t)((at * 2654435761u) >> 13);
}

static inline void both_gone(struct side *side)
{
    if (side->closed > 0 && (side->peer == NULL || side->peer->closed > 0)) {
        loop_stop(side->loop);
    }
}

/* ---- The application: one side sends `to_send` bytes of the pattern, both echo or count -------------------------------- */

static inline void pump(struct side *side)
{
    uint8_t chunk[CHUNK_BYTES];

    while (side->queued > 0) {
        size_t n = link_send(side->link, side->stream, side->queue, side->queued);

        if (n == 0) {
            return;
        }
        memmove(side->queue, side->queue + n, side->queued - n);
        side->queued -= n;
        etcp_stream_consume(side->stream, n);
    }
    while (side->sent < side->to_send) {
        size_t len = side->to_send - side->sent < CHUNK_BYTES ? (size_t)(side->to_send - side->sent) : CHUNK_BYTES;
        size_t n;

        for (size_t i = 0; i < len; i++) {
            chunk[i] = pattern(side->sent + i);
        }
        n = link_send(side->link, side->stream, chunk, len);
        side->sent += n;
        if (n < len) {
            return;
        }
    }
}

static inline void on_data(struct side *side, const struct etcp_event *event)
{
    if (side->in_place) {
        if (side->queued == 0 && link_send_back(side->link, event->stream, event->data, event->len)) {
            etcp_stream_consume(event->stream, event->len);
            return;
        }
        CHECK(side->queued + event->len <= ETCP_WINDOW);
        memcpy(side->queue + side->queued, event->data, event->len);
        side->queued += event->len;
        pump(side);
        return;
    }
    for (size_t i = 0; i < event->len; i++) {
        CHECK_INT(event->data[i], pattern(side->received + i));
    }
    side->received += event->len;
    etcp_stream_consume(event->stream, event->len);
    if (side->leaves && side->received == side->to_send) {
        link_goodbye(side->link, ETCP_CODE_OK, "done");
    }
}

static inline void on_event(struct link *link, const struct etcp_event *event, void *user)
{
    struct side *side = user;

    CHECK(side->closed == 0 && side->link == link);
    if (event->type == ETCP_EVENT_END) {
        side->end_code = event->code;
    }
    if (side->behaviour->event != NULL && side->behaviour->event(side, event)) {
        return;
    }
    switch (event->type) {
    case ETCP_EVENT_PEER:
        CHECK_INT(etcp_conn_accept(link_conn(link), loop_now_us()), 0);
        break;
    case ETCP_EVENT_UP:
        if (side->behaviour->up != NULL) {
            side->behaviour->up(side);
        }
        break;
    case ETCP_EVENT_OPEN:
        side->opened++;
        side->stream = event->stream;
        pump(side);
        break;
    case ETCP_EVENT_DATA:
        on_data(side, event);
        break;
    case ETCP_EVENT_CREDIT:
        pump(side);
        break;
    case ETCP_EVENT_STREAM_ERROR:
        etcp_stream_free(event->stream);
        break;
    default:
        break;
    }
}

static inline void on_writable(struct link *link, void *user)
{
    struct side *side = user;

    CHECK(link_has_room(link));
    side->writables++;
    if (side->behaviour->writable != NULL) {
        side->behaviour->writable(side);
    } else if (side->stream != NULL) {
        pump(side);
    }
}

static inline void on_closed(struct link *link, const struct link_end *end, void *user)
{
    struct side *side = user;

    CHECK(side->link == link);
    /* Whatever is called now does no harm. */
    link_goodbye(link, ETCP_CODE_OK, NULL);
    link_abort(link, ETCP_ELOST, "too late");
    link_flush(link);
    CHECK(!link_has_room(link));
    side->closed++;
    CHECK_INT(side->closed, 1);
    side->end = *end;
    side->link = NULL;
    both_gone(side);
}

static const struct link_handler handler = {.event = on_event, .writable = on_writable, .closed = on_closed};

/* ---- Set-up ------------------------------------------------------------------------------------------------------------ */

static inline void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
    CHECK_FAIL("the case ends in time");
}

static inline void run(void)
{
    struct event *deadline = event_new(loop->base, -1, 0, on_deadline, NULL);
    struct timeval after = {.tv_sec = DEADLINE_S};

    CHECK(deadline != NULL && event_add(deadline, &after) == 0);
    CHECK_INT(loop_run(loop), 0);
    event_free(deadline);
}

static inline void make_pair(int ret_pair[2])
{
    int size = 4096;

    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ret_pair), 0);
    for (unsigned i = 0; i < 2; i++) {
        CHECK_INT(setsockopt(ret_pair[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
    }
}

static inline struct etcp_conn *make_conn(enum etcp_role role, int suite, uint64_t handshake_us)
{
    struct etcp_conn_options options = {.role = role,
                                        .suite = role == ETCP_AGENT ? (enum etcp_suite)suite : (enum etcp_suite)0,
                                        .classic = role == ETCP_SERVER && suite == ETCP_SUITE_CLASSIC,
                                        .handshake_timeout_us = handshake_us};

    return conns_new(loop, options);
}

static inline void side_init(struct side *side, int fd, enum etcp_role role, int suite,
                             const struct behaviour *behaviour)
{
    *side = (struct side){.loop = loop, .behaviour = behaviour, .is_server = role == ETCP_SERVER, .end_code = -1};
    side->queue = malloc(ETCP_WINDOW);
    CHECK(side->queue != NULL);
    CHECK_INT(link_new(loop, fd, make_conn(role, suite, 0), &handler, side, &side->link), 0);
}

static inline void side_done(struct side *side)
{
    CHECK_INT(side->closed, 1);
    free(side->queue);
}

static inline void make_sides(struct side *agent, const struct behaviour *agent_behaviour, struct side *server,
                              const struct behaviour *server_behaviour, int suite)
{
    int pair[2];

    CHECK_INT(etcp_init(), 0);
    CHECK_INT(loop_new(&loop), 0);
    make_pair(pair);
    side_init(agent, pair[0], ETCP_AGENT, suite, agent_behaviour);
    side_init(server, pair[1], ETCP_SERVER, suite, server_behaviour);
    agent->peer = server;
    server->peer = agent;
}

static inline void done_sides(struct side *agent, struct side *server)
{
    side_done(agent);
    side_done(server);
    loop_free(loop);
}

static inline void open_stream(struct side *side)
{
    if (!side->is_server) {
        CHECK_INT(etcp_stream_open(link_conn(side->link), "echo", NULL, &side->stream), 0);
        pump(side);
    }
}

static const struct behaviour plain = {0};
static const struct behaviour opening = {.up = open_stream};

#endif
