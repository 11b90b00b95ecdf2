/* SPDX-License-Identifier: MIT
 *
 * The pump itself; outgoing.c has the order of its output, turns.c who may send next.
 *
 * Input goes on while there is a backlog: two ends that both stopped reading until the other reads would wait for each
 * other. Credit bounds what arrives, and ETCP_CONTROL_MAX what has to be answered. Only the classic suite has neither: there
 * input stops once a message could not be sent back.
 *
 * Handlers are called from the loop's own callbacks alone (depth > 0); what calls from elsewhere cause is left to `later`. */
#include "net/link.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <event2/event.h>

#include "net/link_state.h"
#include "net/loop.h"
#include "net/outgoing.h"
#include "net/turns.h"

/* Section 3, Closing. */
#define LINGER_US 1000000u
enum { LINGER_BYTES = 1024 * 1024 };

enum { BULK_RECORD = 4096 }; /* link_bulk_bytes() */

/* How old a measured round trip may be. */
#define MEASURE_US 1000000u

static void on_io(evutil_socket_t fd, short what, void *arg);
static void on_later(evutil_socket_t fd, short what, void *arg);

struct etcp_conn *link_conn(struct link *link)
{
    return link->conn;
}

bool link_has_room(const struct link *link)
{
    return link->state == LINK_OPEN && link->backlog == NULL;
}

static void count_received(struct link *link, ssize_t n)
{
    link->end.received_bytes += (uint64_t)n;
    link->loop->received_bytes += (uint64_t)n;
}

void link_traffic(const struct link *link, uint64_t *ret_received, uint64_t *ret_sent)
{
    *ret_received = link->end.received_bytes;
    *ret_sent = link->end.sent_bytes;
}

uint64_t link_bulk_bytes(const struct link *link)
{
    return link->bulk_bytes;
}

uint64_t link_kernel_round_trip_us(const struct link *link)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof(info);

    return getsockopt(link->fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 ? info.tcpi_rtt : 0;
}

uint64_t link_round_trip_us(struct link *link)
{
    const uint64_t now = loop_now_us();

    if (now - link->measured_us >= MEASURE_US && etcp_conn_ping(link->conn, now) == 0) {
        link->measured_us = now;
        link_settle_outside(link);
    }
    return link->round_trip_us;
}

/* ---- State and timers ------------------------------------------------------------------------------------------------ */

static bool takes_input(const struct link *link)
{
    return !link->eof && !link->held && etcp_conn_wants_input(link->conn);
}

static void call_later(struct link *link)
{
    event_active(&link->later, EV_TIMEOUT, 0);
}

static void set_state(struct link *link, enum link_state state)
{
    assert(state > link->state);
    link->state = (uint8_t)state;
    if (state == LINK_ENDED) {
        outgoing_drop(link);
        call_later(link);
    }
}

static void set_end(struct link *link, int error, bool is_errno, bool by_peer, const char *detail)
{
    if (!link->failed) {
        link->failed = true;
        link->end.error = error;
        link->end.is_errno = is_errno;
        link->end.by_peer = by_peer;
        link->end.detail = detail;
    }
}

/* The socket, or memory for it, is gone: no last words. */
void link_fail(struct link *link, int error)
{
    set_end(link, -error, true, false, NULL);
    if (link->state != LINK_ENDED) {
        set_state(link, LINK_ENDED);
    }
}

static void arm(struct link *link)
{
    uint64_t due = link->deadline_us;
    struct timeval timeout;

    if (link->state == LINK_OPEN) {
        uint64_t conn_due = etcp_conn_deadline(link->conn);

        due = conn_due < due ? conn_due : due;
        due = turns_due(link) ? 0 : due;
    }
    /* A timer that fires early finds out when it is due then: deadlines move with every record, the timer does not. */
    if (link->state == LINK_ENDED || due >= link->armed_us) {
        return;
    }
    timeout = loop_until(due);
    if (event_add(&link->later, &timeout) != 0) {
        link_fail(link, ENOMEM);
        return;
    }
    link->armed_us = due;
}

static void watch(struct link *link)
{
    short interest = 0;

    switch (link->state) {
    case LINK_OPEN:
        interest =
            (short)((takes_input(link) && link->rest == NULL ? EV_READ : 0) | (link->backlog != NULL ? EV_WRITE : 0));
        break;
    case LINK_FLUSHING:
        interest = (short)((link->eof ? 0 : EV_READ) | EV_WRITE);
        break;
    case LINK_LINGERING:
        interest = EV_READ;
        break;
    default:
        break;
    }
    if (interest == link->interest) {
        return;
    }
    (void)event_del(&link->io);
    link->interest = interest;
    if (interest != 0) {
        (void)event_assign(&link->io, link->loop->base, link->fd, (short)(interest | EV_PERSIST), on_io, link);
        if (event_add(&link->io, NULL) != 0) {
            link_fail(link, ENOMEM);
        }
    }
}

bool link_seal_control(struct link *link)
{
    struct loop *loop = link->loop;

    while (etcp_conn_pending(link->conn) > 0) {
        size_t n;

        if (!outgoing_reserve(link, ETCP_DRAIN_MIN)) {
            return false;
        }
        n = etcp_conn_drain(link->conn, loop->out + loop->batch.out_used, LOOP_BUFFER_BYTES - loop->batch.out_used);
        if (n == 0) {
            break;
        }
        outgoing_append(link, loop->out + loop->batch.out_used, n);
    }
    return outgoing_reserve(link, 0);
}

/* ---- Closing --------------------------------------------------------------------------------------------------------- */

/* Whether the peer's FIN has come right behind its Goodbye. */
static bool has_finished(const struct link *link)
{
    uint8_t byte = 0;

    return link->end.by_peer && recv(link->fd, &byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* Section 3, Closing: the last words, then linger so that no reset overtakes them. */
static void close_on(struct link *link)
{
    (void)link_seal_control(link);
    outgoing_write(link);
    if (link->state == LINK_ENDED) {
        return;
    }
    if (link->state == LINK_OPEN) {
        set_state(link, LINK_FLUSHING);
        link->deadline_us = loop_now_us() + LINK_FLUSH_US;
        free(link->rest);
        link->rest = NULL;
    }
    if (link->backlog != NULL) {
        return;
    }
    if (link->end.sent_bytes == 0 || link->eof || has_finished(link) || shutdown(link->fd, SHUT_WR) != 0) {
        set_state(link, LINK_ENDED);
        return;
    }
    set_state(link, LINK_LINGERING);
    link->deadline_us = loop_now_us() + LINGER_US;
}

static void discard(struct link *link)
{
    ssize_t n = read(link->fd, link->loop->in, LOOP_BUFFER_BYTES);

    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
        return;
    }
    if (n > 0) {
        count_received(link, n);
        link->discarded += link->state == LINK_LINGERING ? (size_t)n : 0; /* while last words wait, time is the bound */
        if (link->discarded <= LINGER_BYTES) {
            return;
        }
    }
    link->eof = true;
    if (link->state == LINK_LINGERING || n != 0) {
        set_state(link, LINK_ENDED);
    }
}

/* Brings everything that a call or callback changed to socket, timers and state. The last thing that each of them does. */
void link_settle(struct link *link)
{
    if (link->state == LINK_OPEN) {
        size_t used = 0;

        (void)link_seal_control(link);
        outgoing_finish(link);
        /* Of no bytes: the connection gives back what the last record was put together in, which the batch may have pointed to. */
        (void)!etcp_conn_feed(link->conn, link->loop->in, 0, 0, &used);
    }
    if (link->state == LINK_FLUSHING || (link->state == LINK_OPEN && etcp_conn_closing(link->conn))) {
        close_on(link);
    }
    if (link->state == LINK_OPEN && link->rest != NULL && takes_input(link)) {
        call_later(link);
    }
    watch(link);
    arm(link);
    etcp_pool_rest(link->loop->pool);
}

void link_settle_outside(struct link *link)
{
    if (link->depth == 0) {
        link_settle(link);
    }
}

/* ---- Input ----------------------------------------------------------------------------------------------------------- */

static void fail_conn(struct link *link, int error, bool by_peer)
{
    set_end(link, error, false, by_peer, etcp_conn_error(link->conn));
}

/* Returns whether there was an event. */
static bool hand_out(struct link *link)
{
    struct etcp_event event;
    bool any = false;

    while (link->state == LINK_OPEN && etcp_conn_next(link->conn, &event)) {
        if (event.type == ETCP_EVENT_END) {
            set_end(link, 0, false, true, NULL);
        } else if (event.type == ETCP_EVENT_REFUSED) {
            set_end(link, ETCP_EREFUSED, false, true, NULL);
        }
        if (event.type == ETCP_EVENT_PONG) {
            link->round_trip_us = event.round_trip_us;
        } else if (event.type == ETCP_EVENT_DATA && event.len >= BULK_RECORD) {
            link->bulk_bytes += event.len;
        }
        any = true;
        link->handler->event(link, &event, link->user);
    }
    return any;
}

static bool keep_rest(struct link *link, const uint8_t *in, size_t len)
{
    if (len == 0) {
        return true;
    }
    link->rest = malloc(sizeof(*link->rest) + len);
    if (link->rest == NULL) {
        link_fail(link, ENOMEM);
        return false;
    }
    link->rest->off = 0;
    link->rest->len = len;
    memcpy(link->rest->data, in, len);
    return true;
}

/* Feeds what lies in the loop's input buffer, and keeps what can't be taken now. */
static void feed(struct link *link, size_t len)
{
    uint8_t *in = link->loop->in;
    uint64_t now = loop_now_us();
    size_t off = 0;

    while (link->state == LINK_OPEN && off < len) {
        size_t used = 0;
        bool progress = false;
        int r = 0;

        if (link->foreign) {
            outgoing_write(link);
        }
        r = etcp_conn_feed(link->conn, in + off, len - off, now, &used);
        off += used;
        if (r != 0) {
            fail_conn(link, r, false);
        }
        progress = hand_out(link) || used > 0;
        if (link->state != LINK_OPEN || etcp_conn_closing(link->conn)) {
            return;
        }
        if (!takes_input(link)) {
            (void)link_seal_control(link);
            outgoing_write(link);
            if (link->state != LINK_OPEN || !takes_input(link)) {
                break;
            }
        } else if (!progress) {
            /* Would turn for ever: a contract of etcp_conn_feed() was broken. */
            link_abort(link, ETCP_EINVAL, "the connection does not take its input");
        }
    }
    if (link->state == LINK_OPEN) {
        (void)keep_rest(link, in + off, len - off);
    }
}

/* Whoever still points into the input buffer: it will be used again. */
static void release_input(struct loop *loop)
{
    void (*release)(struct loop * loop) = loop->release;

    if (release != NULL) {
        loop->release = NULL;
        release(loop);
    }
}

static void feed_rest(struct link *link)
{
    struct bytes *rest = link->rest;
    size_t len = rest->len;

    link->rest = NULL;
    memcpy(link->loop->in, rest->data, len);
    free(rest);
    feed(link, len);
    release_input(link->loop);
}

static void feed_eof(struct link *link)
{
    int r = etcp_conn_eof(link->conn);

    link->eof = true;
    if (r != 0) {
        fail_conn(link, r, true);
    } else {
        set_end(link, 0, false, true, NULL);
    }
    (void)hand_out(link);
}

static void on_readable(struct link *link)
{
    ssize_t n = read(link->fd, link->loop->in, LOOP_BUFFER_BYTES);

    if (n > 0) {
        count_received(link, n);
        feed(link, (size_t)n);
        release_input(link->loop);
    } else if (n == 0) {
        feed_eof(link);
    } else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
        link_fail(link, errno);
    }
}

/* ---- Callbacks of the loop --------------------------------------------------------------------------------------------- */

/* The one place where a link ends. */
static void finish(struct link *link)
{
    (void)event_del(&link->io);
    (void)event_del(&link->later);
    (void)close(link->fd);
    link->depth++; /* calls on the link from inside `closed` are harmless */
    link->handler->closed(link, &link->end, link->user);
    etcp_conn_free(link->conn);
    free(link->rest);
    free(link);
}

static void on_io(evutil_socket_t fd, short what, void *arg)
{
    struct link *link = arg;

    (void)fd;
    if (link->state == LINK_ENDED) {
        return; /* `later` is active already */
    }
    link->depth++;
    if ((what & EV_WRITE) != 0 && link->backlog != NULL) {
        outgoing_write_backlog(link);
    }
    turns_give(link);
    if ((what & EV_READ) != 0) {
        if (link->state == LINK_OPEN && link->rest == NULL && takes_input(link) && !etcp_conn_closing(link->conn)) {
            on_readable(link);
        } else if (link->state == LINK_FLUSHING || link->state == LINK_LINGERING) {
            discard(link);
        }
    }
    link->depth--;
    link_settle(link);
}

static void on_later(evutil_socket_t fd, short what, void *arg)
{
    struct link *link = arg;
    uint64_t now = loop_now_us();

    (void)fd;
    (void)what;
    if (link->state == LINK_ENDED) {
        finish(link);
        return;
    }
    link->armed_us = UINT64_MAX;
    link->depth++;
    if (link->state == LINK_OPEN) {
        if (now >= etcp_conn_deadline(link->conn)) {
            int r = etcp_conn_tick(link->conn, now);

            if (r != 0) {
                fail_conn(link, r, false);
                set_state(link, LINK_ENDED); /* its time is over, and there are no last words to linger for */
            }
        }
        if (link->state == LINK_OPEN && now >= link->deadline_us) {
            set_end(link, ETCP_ELOST, false, false, "the peer takes nothing");
            set_state(link, LINK_ENDED);
        } else if (link->state == LINK_OPEN && link->rest != NULL && takes_input(link) &&
                   !etcp_conn_closing(link->conn)) {
            feed_rest(link);
        }
        turns_give(link);
    } else if (now >= link->deadline_us) {
        set_state(link, LINK_ENDED);
    }
    link->depth--;
    link_settle(link);
}

/* ---- Calls ------------------------------------------------------------------------------------------------------------- */

int link_new(struct loop *loop, int fd, struct etcp_conn *conn, const struct link_handler *handler, void *user,
             struct link **ret_link)
{
    struct link *link = calloc(1, sizeof(*link));
    int on = 1;

    if (link == NULL) {
        return -ENOMEM;
    }
    link->loop = loop;
    link->fd = fd;
    link->conn = conn;
    link->handler = handler;
    link->user = user;
    link->armed_us = UINT64_MAX;
    link->deadline_us = UINT64_MAX;
    link->interest = EV_READ;
    link->pace = 1;
    TAILQ_INIT(&link->little.waiters);
    TAILQ_INIT(&link->much.waiters);
    (void)event_assign(&link->io, loop->base, fd, EV_READ | EV_PERSIST, on_io, link);
    (void)event_assign(&link->later, loop->base, -1, 0, on_later, link);
    if (event_add(&link->io, NULL) != 0) {
        free(link);
        return -ENOMEM;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* fails on a Unix socket, which has no delay */
    call_later(link);
    *ret_link = link;
    return 0;
}

void link_keep_alive(struct link *link)
{
    const int on = 1, idle_s = 60, interval_s = 15, count = 4;

    /* Best effort: without it, a connection is as it would have been. */
    (void)setsockopt(link->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    (void)setsockopt(link->fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
    (void)setsockopt(link->fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
    (void)setsockopt(link->fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
}

size_t link_send(struct link *link, struct etcp_stream *stream, const uint8_t *data, size_t len)
{
    struct loop *loop = link->loop;
    size_t taken = 0;

    if (link->state != LINK_OPEN || etcp_conn_closing(link->conn)) {
        return 0;
    }
    while (taken < len && etcp_stream_writable(stream) > 0) {
        size_t used = 0, put = 0;

        /* Room for one whole record of the library's choice, or the tail of the buffer would be cut into small ones. */
        if (!outgoing_reserve(link, LINK_TURN_ROOM)) {
            break;
        }
        if (etcp_stream_send(stream, data + taken, len - taken, 0, loop->out + loop->batch.out_used,
                             LOOP_BUFFER_BYTES - loop->batch.out_used, &used, &put) != 0) {
            break;
        }
        outgoing_append(link, loop->out + loop->batch.out_used, put);
        taken += used;
        link->bulk_bytes += used >= BULK_RECORD ? used : 0;
        if (used == 0 && put == 0) {
            break;
        }
    }
    link->wanted = link->wanted || (taken < len && link->backlog != NULL);
    link_settle_outside(link);
    return taken;
}

/* Lays at most `max` records out behind what the output buffer holds; returns their number and where the data of each goes. */
static int lay_out(const struct loop *loop, size_t credit, int max, struct iovec ret_bodies[static LINK_RECORDS_MAX])
{
    size_t at = loop->batch.out_used;
    int count = 0;

    while (count < max && credit > 0 && LOOP_BUFFER_BYTES - at > ETCP_DATA_HEAD + ETCP_TAG) {
        size_t len = LOOP_BUFFER_BYTES - at - ETCP_DATA_HEAD - ETCP_TAG;

        len = len < LINK_RECORD_DATA ? len : LINK_RECORD_DATA;
        len = len < credit ? len : credit;
        ret_bodies[count++] = (struct iovec){.iov_base = loop->out + at + ETCP_DATA_HEAD, .iov_len = len};
        at += ETCP_DATA_HEAD + len + ETCP_TAG;
        credit -= len;
    }
    return count;
}

/* Seals the first `len` bytes of the bodies. */
static int seal_bodies(struct link *link, struct etcp_stream *stream, const struct iovec *bodies, size_t len)
{
    for (; len > 0; bodies++) {
        uint8_t *record = (uint8_t *)bodies->iov_base - ETCP_DATA_HEAD;
        size_t piece = bodies->iov_len < len ? bodies->iov_len : len;
        int r = etcp_stream_seal(stream, record, piece);

        if (r != 0) {
            return r;
        }
        outgoing_append(link, record, ETCP_DATA_HEAD + piece + ETCP_TAG);
        link->bulk_bytes += piece >= BULK_RECORD ? piece : 0;
        if (link->round > 0) {
            link->round--;
        }
        len -= piece;
    }
    return 0;
}

ssize_t link_send_from(struct link *link, struct etcp_stream *stream, int fd, int records)
{
    struct iovec bodies[LINK_RECORDS_MAX];
    ssize_t n = -ENOBUFS;

    if (link->state != LINK_OPEN || etcp_conn_closing(link->conn) || etcp_stream_writable(stream) == 0) {
        return n;
    }
    if (link_seal_control(link) && outgoing_reserve(link, LINK_TURN_ROOM)) {
        int count = lay_out(link->loop, etcp_stream_writable(stream), records, bodies);

        do {
            n = count == 1 ? read(fd, bodies->iov_base, bodies->iov_len) : readv(fd, bodies, count);
        } while (n < 0 && errno == EINTR);
        if (n < 0) {
            n = errno == EWOULDBLOCK ? -EAGAIN : -errno;
        } else if (seal_bodies(link, stream, bodies, (size_t)n) != 0) {
            /* A contract of etcp_stream_seal() was broken, and bytes are lost. */
            link_abort(link, ETCP_EINVAL, "the connection does not take its output");
        }
    } else {
        link->wanted = link->wanted || link->backlog != NULL;
    }
    link_settle_outside(link);
    return n;
}

bool link_send_back(struct link *link, struct etcp_stream *stream, uint8_t *data, size_t len)
{
    bool taken = false;

    if (link->state == LINK_OPEN && !etcp_conn_closing(link->conn)) {
        taken = link_seal_control(link) && etcp_stream_seal(stream, data - ETCP_DATA_HEAD, len) == 0;
        if (taken) {
            outgoing_append_in_place(link, data - ETCP_DATA_HEAD, ETCP_DATA_HEAD + len + ETCP_TAG);
        }
        link->wanted = link->wanted || (!taken && link->backlog != NULL);
    }
    link_settle_outside(link);
    return taken;
}

bool link_message(struct link *link, const uint8_t *data, size_t len)
{
    struct loop *loop = link->loop;
    bool taken = false;

    if (link->state == LINK_OPEN && !etcp_conn_closing(link->conn)) {
        size_t put = 0;

        taken = link_seal_control(link) && outgoing_reserve(link, ETCP_RECORD_MAX) &&
                etcp_message_send(link->conn, data, len, loop->out + loop->batch.out_used,
                                  LOOP_BUFFER_BYTES - loop->batch.out_used, &put) == 0;
        outgoing_append(link, loop->out + loop->batch.out_used, put);
        link->wanted = link->wanted || (!taken && link->backlog != NULL);
    }
    link_settle_outside(link);
    return taken;
}

bool link_message_back(struct link *link, uint8_t *data, size_t len)
{
    bool taken = false;

    if (link->state == LINK_OPEN && !etcp_conn_closing(link->conn)) {
        taken = link_seal_control(link) && etcp_message_seal(link->conn, data - ETCP_MESSAGE_HEAD, len) == 0;
        if (taken) {
            outgoing_append_in_place(link, data - ETCP_MESSAGE_HEAD, ETCP_MESSAGE_HEAD + len + ETCP_TAG);
        }
        link->held = link->held || (!taken && link->backlog != NULL);
        link->wanted = link->wanted || link->held;
    }
    link_settle_outside(link);
    return taken;
}

void link_flush(struct link *link)
{
    link_settle_outside(link);
}

void link_goodbye(struct link *link, enum etcp_code code, const char *reason)
{
    if (link->state == LINK_OPEN && !etcp_conn_closing(link->conn)) {
        set_end(link, 0, false, false, NULL);
        etcp_conn_goodbye(link->conn, code, reason);
    }
    link_settle_outside(link);
}

void link_abort(struct link *link, int error, const char *detail)
{
    if (link->state != LINK_ENDED) {
        set_end(link, error, false, false, detail);
        set_state(link, LINK_ENDED);
    }
    link_settle_outside(link);
}
