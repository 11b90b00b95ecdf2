/* SPDX-License-Identifier: MIT
 *
 * Towards the stream: link_send_from() reads the socket right into records. What can't be sent now is not read.
 *
 * Towards the socket: the data of several records that came in one read is written with one call, from where it was opened
 * (the loop's gather, which the link has released before its buffer is used again). What the socket does not take is copied to
 * the queue, and credit is given only for what it has taken.
 *
 * A socket that must not be read, or has sent FIN, and for which nothing waits, is watched for becoming writable, edge-triggered: a
 * reset is told with that too, and bytes that arrive wake nobody. */
#include "net/splice.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <etcp/etcp.h>
#include <event2/event.h>
#include <event2/event_struct.h>

#include "net/kept.h"
#include "net/link.h"
#include "net/loop.h"
#include "net/pieces.h"
#include "net/ring.h"

/* A window grows with the path up to this, while the socket keeps up. */
enum { WINDOW_MAX = 8 * 1024 * 1024 };

/* By how much all windows of a loop may have grown together: so much more than the first window of each stream may wait for
 * sockets that have stopped taking it. */
enum { WINDOWS_MAX = 64 * 1024 * 1024 };

/* A window should hold what comes in so many round trips. Two are under way: data, and credit that comes back. While something
 * that was lost is repeated, all that follows it waits, and with it the credit for it: that takes one more, and often two. */
enum { WINDOW_ROUND_TRIPS = 4 };

/* Over a shorter round trip the first window is enough for gigabits. */
#define WINDOW_ROUND_TRIP_US 1000u

/* Where a window is taken in so little time, a few reads of the sender's fill it: up to this size it grows whatever the round trip,
 * so that the sender goes on reading while credit is on its way. */
enum { WINDOW_FAST = 4 * 1024 * 1024 };
#define WINDOW_FAST_US 10000u

/* Fast paths leave so much of WINDOWS_MAX to long ones, which can do less without. */
enum { WINDOWS_FAST_MAX = WINDOWS_MAX / 2 };

/* Sockets that nobody else waits for and what they may hold, in one loop: beyond that the oldest is reset. No limit of a connection's
 * counts them, and whoever asks for a stream may also ask for the next. */
enum { ORPHANS_MAX = 1024, ORPHANS_BYTES_MAX = 64 * 1024 * 1024 };

/* How long such a socket may take nothing. */
static const struct timeval orphan_timeout = {.tv_sec = 60};

struct splice {
    struct loop *loop;
    struct link *link; /* NULL: an orphan, which has only its socket left */
    struct etcp_stream *stream;
    const struct splice_handler *handler;
    void *user;
    struct link_waiter waiter; /* for the stream's next turn */
    TAILQ_ENTRY(splice) place; /* among the orphans */
    struct event io;           /* assigned while there is a socket */
    int fd;                    /* -1: none yet */
    int error;                 /* -errno: to be ended, from the loop or when the current call returns */
    short interest;            /* what `io` is armed for */
    bool blocked : 1;          /* nothing may be sent to the stream now: the socket is not read */
    bool much : 1;             /* the last read has filled a record: the next one offers room for many */
    bool more : 1;             /* it has filled all that it was offered: there is probably more */
    bool socket_closed : 1;    /* FIN has come, and was passed on */
    bool peer_closed : 1;      /* the stream brings no more */
    bool shut : 1;             /* and that was passed on */
    bool forgotten : 1;        /* what is kept is only there to be sent */
    struct kept *kept;         /* what the socket has said so far; NULL: it is not kept */
    struct ring queue;         /* for the socket; at most the stream's window and what went before it */
    size_t own_bytes;          /* of the queue's first ones: ours, no credit is due for them */
    size_t counted;            /* of the queue's memory, in the loop's account */
    uint32_t window;           /* of the stream, towards the socket */
    uint32_t reserved;         /* of the loop's account of windows: what the peer may send beyond the first window */
    uint32_t revoked;          /* what has to be taken before no more is reserved than the window needs */
    uint32_t window_taken;     /* what the socket has taken of it since `window_since_us` */
    uint64_t window_since_us;
    uint64_t *sent; /* counts what goes to the stream */
};

static void on_io(evutil_socket_t fd, short what, void *arg);

void splice_reset_socket(int fd)
{
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};

    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)); /* a Unix socket has no use for it */
    (void)close(fd);
}

void splice_prepare_socket(int fd, uint64_t keepalive_us, uint64_t user_timeout_us)
{
    const int on = 1, probes = 4;
    const unsigned user_timeout_ms = (unsigned)(user_timeout_us / 1000u);
    const int idle = (int)((keepalive_us + 999999u) / 1000000u);
    const int between = (idle + probes - 1) / probes;
    const int keepalive = idle > 0;

    /* The first fails on a Unix socket, which has no need of any. */
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0) {
        return;
    }
    if (keepalive) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
        (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &between, sizeof(between));
        (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &keepalive, sizeof(keepalive));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof(user_timeout_ms));
}

/* Whether the peer has reset the connection: not asked for with SO_ERROR, which would forget it. */
static bool socket_failed(int fd)
{
    struct pollfd poll_fd = {.fd = fd};

    return poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & POLLERR) != 0;
}

/* ---- Ends ------------------------------------------------------------------------------------------------------------ */

static bool hold(struct splice *splice, size_t bytes)
{
    return splice->handler->hold == NULL || splice->link == NULL || splice->handler->hold(bytes, splice->user);
}

static void count_queue(struct splice *splice)
{
    splice->loop->queued_bytes += splice->queue.size - splice->counted;
    if (splice->link == NULL) {
        splice->loop->orphans.bytes += splice->queue.size - splice->counted;
    }
    splice->counted = splice->queue.size;
}

static void fail(struct splice *splice, int error)
{
    if (splice->error == 0) {
        splice->error = error;
        ring_clear(&splice->queue);
        count_queue(splice);
        splice->own_bytes = 0;
        (void)hold(splice, 0);
    }
}

static void leave_gather(struct splice *splice)
{
    struct loop_gather *gather = &splice->loop->gather;

    if (gather->owner == splice) {
        gather->owner = NULL;
        gather->count = 0;
        gather->spare = false;
        splice->loop->release = NULL;
    }
}

/* Its memory is in the loop's account of them until its queue is gone. */
static void leave_orphans(struct splice *splice)
{
    TAILQ_REMOVE(&splice->loop->orphans.list, splice, place);
    splice->loop->orphans.count--;
}

static void destroy(struct splice *splice, bool reset)
{
    leave_gather(splice);
    if (splice->link != NULL) {
        link_leave(splice->link, &splice->waiter);
    } else {
        leave_orphans(splice);
    }
    if (splice->fd >= 0) {
        (void)event_del(&splice->io);
        if (reset) {
            splice_reset_socket(splice->fd);
        } else {
            (void)close(splice->fd);
        }
    }
    ring_clear(&splice->queue);
    count_queue(splice);
    splice->loop->window_bytes -= splice->reserved;
    kept_free(splice->kept);
    free(splice);
}

static void finish(struct splice *splice)
{
    const struct splice_end end = {.error = splice->error};
    struct link *link = splice->link;

    if (link == NULL) {
        destroy(splice, splice->error != 0);
        return;
    }
    splice->handler->closed(splice, &end, splice->user);
    destroy(splice, splice->error != 0);
    link_flush(link);
}

/* ---- To the socket --------------------------------------------------------------------------------------------------- */

static void reserve_window(struct splice *splice, uint32_t bytes)
{
    splice->loop->window_bytes += bytes;
    splice->loop->window_bytes -= splice->reserved;
    splice->reserved = bytes;
}

static void set_window(struct splice *splice, uint32_t window)
{
    splice->window = window;
    etcp_stream_set_window(splice->stream, window);
}

/* Whether more than `len` bytes wait in the socket: it takes them, but whoever reads does not. */
static bool is_behind(int fd, size_t len)
{
    int waiting = 0;

    return ioctl(fd, SIOCOUTQ, &waiting) == 0 && waiting > 0 && (size_t)waiting > len;
}

/* Twice as much, unless all together have grown too far. */
static void widen_window(struct splice *splice)
{
    uint32_t window = 2 * splice->window;

    if (splice->revoked == 0 && splice->loop->window_bytes + splice->window <= WINDOWS_MAX) {
        reserve_window(splice, window - ETCP_WINDOW);
        set_window(splice, window);
    }
}

/* Back to the first. What the peer has been allowed already it may still send: that stays reserved until it was taken. */
static void narrow_window(struct splice *splice)
{
    splice->revoked = splice->window;
    set_window(splice, ETCP_WINDOW);
}

static void count_revoked(struct splice *splice, size_t len)
{
    if (splice->revoked > 0) {
        splice->revoked -= len < splice->revoked ? (uint32_t)len : splice->revoked;
        if (splice->revoked == 0) {
            reserve_window(splice, 0);
        }
    }
}

/* A window that was taken in a few round trips may be what holds the peer up. */
static void grow_window(struct splice *splice, size_t len)
{
    uint64_t taken_us, round_trip_us;
    bool narrow;

    if (splice->window_taken == 0) {
        splice->window_since_us = loop_now_us();
    }
    splice->window_taken += (uint32_t)len;
    if (splice->window_taken < splice->window) {
        return;
    }
    splice->window_taken = 0;
    taken_us = loop_now_us() - splice->window_since_us;
    round_trip_us = splice->window < WINDOW_MAX ? link_round_trip_us(splice->link) : 0;
    narrow =
        (round_trip_us >= WINDOW_ROUND_TRIP_US && taken_us < WINDOW_ROUND_TRIPS * round_trip_us) ||
        (splice->window < WINDOW_FAST && taken_us < WINDOW_FAST_US && splice->loop->window_bytes < WINDOWS_FAST_MAX);
    if (narrow && !is_behind(splice->fd, splice->window)) {
        widen_window(splice);
    }
}

/* The socket has taken `len` bytes. */
static void count_taken(struct splice *splice, size_t len)
{
    size_t own = len < splice->own_bytes ? len : splice->own_bytes;

    splice->own_bytes -= own;
    if (splice->stream != NULL) {
        count_revoked(splice, len - own);
        grow_window(splice, len - own);
        etcp_stream_consume(splice->stream, len - own);
    }
}

/* Writes what the socket takes; returns how much, or 0 after a failure, which is noted. */
static size_t write_pieces(struct splice *splice, struct iovec *pieces, int count)
{
    ssize_t n = pieces_send(splice->fd, pieces, count, 0);

    if (n < 0) {
        if (errno != EAGAIN && errno != EWOULDBLOCK && errno != ENOBUFS && errno != ENOMEM) {
            fail(splice, -errno);
        }
        return 0;
    }
    count_taken(splice, (size_t)n);
    return (size_t)n;
}

static void keep(struct splice *splice, const void *bytes, size_t len)
{
    size_t size = ring_size_with(&splice->queue, len);

    if (splice->error != 0 || len == 0) {
        return;
    }
    if ((size != splice->queue.size && !hold(splice, size)) || !ring_add(&splice->queue, bytes, len)) {
        fail(splice, -ENOBUFS);
        return;
    }
    count_queue(splice);
    if (splice->window > ETCP_WINDOW &&
        splice->queue.count > (splice->window > LOOP_BUFFER_BYTES ? LOOP_BUFFER_BYTES : ETCP_WINDOW)) {
        narrow_window(splice); /* more than one read's: the socket does not keep up */
    }
}

/* So much of the queue has been written. */
static void drop(struct splice *splice, size_t n)
{
    if (n > 0) {
        ring_drop(&splice->queue, n);
        count_queue(splice);
        if (splice->queue.count == 0) {
            (void)hold(splice, 0);
        }
    }
}

static void write_queue(struct splice *splice)
{
    struct iovec pieces[2];
    int count = ring_pieces(&splice->queue, pieces);

    drop(splice, count > 0 ? write_pieces(splice, pieces, count) : 0);
}

/* What of the pieces the socket does not take goes to the queue. */
static void write_or_keep(struct splice *splice, struct iovec *pieces, int count)
{
    size_t n = write_pieces(splice, pieces, count);

    for (int i = 0; i < count; i++) {
        size_t skip = n < pieces[i].iov_len ? n : pieces[i].iov_len;

        n -= skip;
        keep(splice, (const uint8_t *)pieces[i].iov_base + skip, pieces[i].iov_len - skip);
    }
}

/* ---- To the stream --------------------------------------------------------------------------------------------------- */

static void drop_kept(struct splice *splice)
{
    kept_free(splice->kept);
    splice->kept = NULL;
}

/* As link_send_from(). */
static ssize_t send_from_socket(struct splice *splice, int records)
{
    ssize_t n = -ENOSPC;

    if (splice->kept != NULL) {
        n = kept_send_from(splice->kept, splice->link, splice->stream, splice->fd);
        if (n == -ENOSPC || (splice->forgotten && kept_is_sent(splice->kept))) {
            drop_kept(splice);
        }
    }
    return n == -ENOSPC ? link_send_from(splice->link, splice->stream, splice->fd, records) : n;
}

/* Once, at most so many records; returns as link_send_from(). */
static ssize_t read_socket(struct splice *splice, int records)
{
    const int offered = splice->much && splice->kept == NULL ? records : 1; /* what is kept goes one by one */
    ssize_t n = send_from_socket(splice, offered);

    splice->blocked = n == -ENOBUFS || (splice->kept != NULL && !kept_is_sent(splice->kept));
    splice->much = n >= LINK_RECORD_DATA || (n < 0 && splice->much);
    splice->more = n == -ENOBUFS ? splice->more : n >= (ssize_t)offered * LINK_RECORD_DATA;
    if (splice->blocked && !link_has_room(splice->link)) { /* else it is credit that it waits for */
        link_wait(splice->link, &splice->waiter, splice->more);
    }
    if (n > 0) {
        *splice->sent += (uint64_t)n;
    } else if (n == 0) {
        splice->socket_closed = true;
        etcp_stream_close(splice->stream);
        link_flush(splice->link);
    } else if (n != -EAGAIN && n != -ENOBUFS) {
        fail(splice, (int)n);
    }
    return n;
}

/* Leaves the socket alone until the link lets it have another turn: the kernel need not be told for each that it is watched again,
 * and is not. */
static void wait_for_turn(struct splice *splice)
{
    splice->blocked = true;
    link_wait(splice->link, &splice->waiter, splice->more);
}

/* The stream's turn. Returns how many records it was. */
static int take_turn(struct splice *splice, ssize_t *ret_n)
{
    int records = link_turn(splice->link, splice->more);

    if (records == 0) {
        wait_for_turn(splice);
    } else {
        *ret_n = read_socket(splice, records);
    }
    return records;
}

/* Whether a failure was the socket's: not for want of memory, or of what may be held. */
static bool socket_has_failed(int error)
{
    return error != -ENOMEM && error != -ENOBUFS;
}

/* What came before the socket has failed is still there, and goes as far as it may. */
static void read_last_bytes(struct splice *splice)
{
    ssize_t n;

    do {
        n = send_from_socket(splice, LINK_RECORDS_MAX);
        *splice->sent += n > 0 ? (uint64_t)n : 0;
    } while (n > 0);
}

/* ---- Both ------------------------------------------------------------------------------------------------------------ */

static void watch(struct splice *splice)
{
    bool orphan = splice->link == NULL;
    bool reads = !orphan && !splice->blocked && !splice->socket_closed;
    short interest = (short)((splice->queue.count > 0 ? EV_WRITE : 0) | (reads ? EV_READ : 0));

    /* Only errors are waited for then. What waits in the queue must not rely on an edge: a write that failed for want of memory
     * has not filled the socket, so that there is none. */
    if (!orphan && interest == 0) {
        interest = EV_WRITE | EV_ET;
    }
    if (interest == splice->interest) {
        return;
    }
    (void)event_del(&splice->io);
    splice->interest = interest;
    (void)event_assign(&splice->io, splice->loop->base, splice->fd, (short)(interest | EV_PERSIST), on_io, splice);
    if (event_add(&splice->io, orphan ? &orphan_timeout : NULL) != 0) {
        splice->interest = 0;
        fail(splice, -ENOMEM);
    }
}

/* Brings everything that was changed to the socket, and ends what is over: the last thing that a call does. */
static void settle(struct splice *splice)
{
    if (splice->error == 0 && splice->peer_closed && !splice->shut && splice->queue.count == 0) {
        splice->shut = true;
        (void)shutdown(splice->fd, SHUT_WR); /* fails after a reset, which reading finds */
    }
    if (splice->error == 0 && !(splice->shut && splice->socket_closed)) {
        watch(splice);
    }
    if (splice->error != 0) {
        if (splice->link != NULL && !splice->socket_closed && socket_has_failed(splice->error)) {
            read_last_bytes(splice);
        }
        finish(splice);
    } else if (splice->shut && splice->socket_closed) {
        finish(splice);
    }
}

static void on_io(evutil_socket_t fd, short what, void *arg)
{
    struct splice *splice = arg;

    if ((what & EV_TIMEOUT) != 0) {
        fail(splice, -ETIMEDOUT);
    }
    if (splice->error == 0 && (what & EV_WRITE) != 0 && splice->queue.count > 0) {
        struct link *link = splice->link;

        write_queue(splice);
        if (link != NULL) {
            link_flush(link); /* the credit */
        }
    } else if (splice->error == 0 && (what & EV_WRITE) != 0 && socket_failed(fd)) {
        fail(splice, -ECONNRESET);
    }
    if (splice->error == 0 && (what & EV_READ) != 0 && !splice->blocked && !splice->socket_closed) {
        ssize_t n = 0;

        (void)take_turn(splice, &n);
    }
    settle(splice);
}

/* Only notes failures: it may be called while an event of another stream is handled. */
static void release(struct loop *loop)
{
    struct loop_gather *gather = &loop->gather;
    struct splice *splice = gather->owner;

    gather->owner = NULL;
    write_or_keep(splice, gather->pieces, gather->count);
    gather->count = 0;
    gather->spare = false;
    if (splice->error == 0) {
        watch(splice);
    }
    if (splice->error != 0) {
        event_active(&splice->io, EV_WRITE, 0);
    }
}

static void release_now(struct loop *loop)
{
    if (loop->gather.owner != NULL) {
        loop->release = NULL;
        release(loop);
    }
}

static bool is_in_loop(const struct loop *loop, const uint8_t *data)
{
    return data >= loop->in && data < loop->in + LOOP_BUFFER_BYTES;
}

/* Where the data stays until the gathered pieces are written, or NULL. A record that came in two reads lies in the connection,
 * which will reuse the place: copying it costs less than a write of its own. */
static uint8_t *lasting(struct loop *loop, uint8_t *data, size_t len)
{
    if (is_in_loop(loop, data)) {
        return data;
    }
    if (loop->gather.spare || len > LOOP_SPARE_BYTES) {
        return NULL;
    }
    loop->gather.spare = true;
    return memcpy(loop->in + LOOP_BUFFER_BYTES, data, len);
}

void splice_data(struct splice *splice, uint8_t *data, size_t len)
{
    struct loop *loop = splice->loop;
    struct loop_gather *gather = &loop->gather;
    struct iovec piece = {.iov_base = data, .iov_len = len};

    if (splice->error != 0) {
        return;
    }
    if (gather->owner != NULL && (gather->owner != splice || gather->count == LOOP_PIECES_MAX)) {
        release_now(loop);
    }
    if (splice->fd < 0 || splice->queue.count > 0 || splice->error != 0) {
        keep(splice, data, len);
    } else if ((piece.iov_base = lasting(loop, data, len)) != NULL) {
        gather->owner = splice;
        gather->pieces[gather->count++] = piece;
        loop->release = release;
    } else {
        release_now(loop);
        piece.iov_base = data;
        if (splice->queue.count > 0) {
            keep(splice, data, len);
        } else if (splice->error == 0) {
            write_or_keep(splice, &piece, 1);
            if (splice->error == 0) {
                watch(splice);
            }
        }
    }
    if (splice->error != 0 && splice->fd >= 0) {
        event_active(&splice->io, EV_WRITE, 0);
    }
}

void splice_peer_closed(struct splice *splice)
{
    if (splice->loop->gather.owner == splice) {
        release_now(splice->loop);
    }
    splice->peer_closed = true;
    if (splice->fd >= 0) {
        settle(splice);
    }
}

void splice_writable(struct splice *splice)
{
    ssize_t n = 0;
    int records;

    if (splice->fd < 0 || splice->error != 0 || !splice->blocked || splice->socket_closed) {
        return;
    }
    records = take_turn(splice, &n);
    if (n >= LINK_RECORD_DATA && records < LINK_RECORDS_MAX && !splice->blocked) {
        wait_for_turn(splice); /* it has more */
    } else if (!splice->blocked) {
        link_leave(splice->link, &splice->waiter);
    }
    settle(splice);
}

static void on_turn(struct link_waiter *waiter)
{
    splice_writable((struct splice *)((char *)waiter - offsetof(struct splice, waiter)));
}

/* ---- Begin and end --------------------------------------------------------------------------------------------------- */

int splice_new(struct loop *loop, struct link *link, struct etcp_stream *stream, uint64_t *sent,
               const struct splice_handler *handler, void *user, struct splice **ret_splice)
{
    struct splice *splice = calloc(1, sizeof(*splice));

    if (splice == NULL) {
        return -ENOMEM;
    }
    splice->loop = loop;
    splice->link = link;
    splice->stream = stream;
    splice->sent = sent;
    splice->window = ETCP_WINDOW;
    splice->waiter.turn = on_turn;
    splice->handler = handler;
    splice->user = user;
    splice->fd = -1;
    *ret_splice = splice;
    return 0;
}

/* Puts bytes of ours before those that wait. */
static void put_first(struct splice *splice, const void *first, size_t len)
{
    struct ring rest = splice->queue;
    struct iovec pieces[2];

    splice->queue = (struct ring){0};
    keep(splice, first, len);
    for (int i = 0, count = ring_pieces(&rest, pieces); i < count; i++) {
        keep(splice, pieces[i].iov_base, pieces[i].iov_len);
    }
    ring_clear(&rest);
    splice->own_bytes = splice->error == 0 ? len : 0;
}

/* Writes bytes of ours, and what waits behind them. A new socket takes them: only if it does not, they go to the queue, which may
 * double its memory. */
static void write_first(struct splice *splice, const void *first, size_t len)
{
    struct iovec pieces[3] = {{.iov_base = (void *)(uintptr_t)first, .iov_len = len}};
    const int count = 1 + ring_pieces(&splice->queue, pieces + 1);
    size_t n;

    splice->own_bytes = len;
    n = write_pieces(splice, pieces, count);
    if (n >= len) {
        drop(splice, n - len);
    } else if (splice->error == 0) {
        put_first(splice, (const uint8_t *)first + n, len - n);
    }
}

void splice_start(struct splice *splice, int fd, const void *first, size_t len, bool readable)
{
    assert(splice->fd < 0);
    splice->fd = fd;
    (void)event_assign(&splice->io, splice->loop->base, fd, EV_READ | EV_PERSIST, on_io, splice);
    if (splice->error == 0 && len > 0) {
        write_first(splice, first, len);
    } else if (splice->error == 0) {
        write_queue(splice);
    }
    if (splice->error == 0 && readable) {
        (void)read_socket(splice, LINK_RECORDS_MAX);
    }
    settle(splice);
}

void splice_keep(struct splice *splice, struct kept *kept)
{
    assert(splice->fd < 0 && splice->kept == NULL);
    splice->kept = kept;
}

void splice_forget(struct splice *splice)
{
    splice->forgotten = true;
    if (splice->kept != NULL && kept_is_sent(splice->kept)) {
        drop_kept(splice);
    }
}

bool splice_has_sent(const struct splice *splice)
{
    return splice->socket_closed || splice->kept == NULL || kept_has_sent(splice->kept);
}

struct kept *splice_take_apart(struct splice *splice, int *ret_fd)
{
    struct kept *kept = splice->kept;

    if (kept == NULL || splice->forgotten || splice->error != 0 || splice->peer_closed || splice->queue.count > 0 ||
        splice->loop->gather.owner == splice) {
        return NULL;
    }
    (void)event_del(&splice->io);
    *ret_fd = splice->fd;
    splice->fd = -1;
    splice->kept = NULL;
    destroy(splice, false);
    kept_rewind(kept);
    return kept;
}

void splice_free(struct splice *splice)
{
    struct loop_orphans *orphans;

    if (splice == NULL) {
        return;
    }
    orphans = &splice->loop->orphans;
    if (splice->loop->gather.owner == splice) {
        release_now(splice->loop);
    }
    if (splice->error != 0 || !splice->peer_closed || !splice->socket_closed || splice->queue.count == 0) {
        destroy(splice, splice->error != 0 || !splice->peer_closed || !splice->socket_closed);
        return;
    }
    link_leave(splice->link, &splice->waiter);
    splice->link = NULL;
    splice->stream = NULL;
    TAILQ_INSERT_TAIL(&orphans->list, splice, place);
    orphans->count++;
    orphans->bytes += splice->counted;
    reserve_window(splice, 0); /* no more will come */
    watch(splice);
    if (splice->error != 0) {
        destroy(splice, true);
    }
    while (orphans->count > ORPHANS_MAX || orphans->bytes > ORPHANS_BYTES_MAX) {
        destroy(TAILQ_FIRST(&orphans->list), true);
    }
}

void splice_free_orphans(struct loop *loop)
{
    while (!TAILQ_EMPTY(&loop->orphans.list)) {
        destroy(TAILQ_FIRST(&loop->orphans.list), true);
    }
}
