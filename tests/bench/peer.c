/* SPDX-License-Identifier: MIT */
#include "peer.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum peer_state {
    PEER_CONNECTING,
    PEER_HANDSHAKE,
    PEER_UP,
    PEER_ECHO,
    PEER_IDLE, /* all echoes are in */
    PEER_ENDING,
    PEER_GONE,
};

struct peer {
    struct peer_run *run;
    int fd;
    enum peer_state state;
    struct etcp_conn *conn;
    struct etcp_stream *stream;
    uint64_t sent_bytes, received_bytes; /* of messages */
    uint64_t echoes;
    uint8_t *rest; /* sealed output that the socket did not take; owned */
    size_t rest_len, rest_at;
    bool waits_for_room;
    bool shut; /* the socket takes no more output */
};

uint64_t peer_now_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

bool peer_is_up(const struct peer *peer)
{
    return peer->state == PEER_UP;
}

bool peer_is_idle(const struct peer *peer)
{
    return peer->state == PEER_IDLE;
}

bool peer_has_gone(const struct peer *peer)
{
    return peer->state == PEER_GONE;
}

static void move_to(struct peer *peer, enum peer_state state)
{
    assert(state > peer->state);
    peer->state = state;
    switch (state) {
    case PEER_UP:
        peer->run->up++;
        break;
    case PEER_IDLE:
        peer->run->idle++;
        break;
    case PEER_GONE:
        peer->run->gone++;
        break;
    default:
        break;
    }
}

static int fail(const char *what, const char *why)
{
    (void)fprintf(stderr, "bench-load: %s: %s\n", what, why);
    return -EPROTO;
}

int peer_new(struct peer_run *run, struct peer **ret_peer)
{
    static const int one = 1;
    struct epoll_event event = {.events = EPOLLOUT};
    int rc = 0;
    struct peer *peer = calloc(1, sizeof *peer);

    if (peer == NULL) {
        return -ENOMEM;
    }
    peer->run = run;
    peer->waits_for_room = true;
    peer->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    event.data.ptr = peer;
    if (peer->fd < 0 || setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0 ||
        epoll_ctl(run->epoll, EPOLL_CTL_ADD, peer->fd, &event) != 0) {
        rc = -errno;
        goto out;
    }
    if (connect(peer->fd, (const struct sockaddr *)&run->server, sizeof run->server) != 0 && errno != EINPROGRESS) {
        rc = -errno;
        goto out;
    }
    if (!run->plain) {
        const struct etcp_conn_options options = {.role = ETCP_AGENT, .identity = run->identity, .suite = run->suite};
        int error = etcp_conn_new(run->pool, &options, peer_now_us(), &peer->conn);

        if (error != 0) {
            rc = fail("connection", etcp_strerror(error));
            goto out;
        }
    }
    *ret_peer = peer;
    peer = NULL;
out:
    peer_free(peer);
    return rc;
}

void peer_free(struct peer *peer)
{
    if (peer == NULL) {
        return;
    }
    etcp_conn_free(peer->conn); /* and its stream */
    if (peer->fd >= 0) {
        (void)close(peer->fd);
    }
    free(peer->rest);
    free(peer);
}

/* How many whole messages may be sent now. */
static uint64_t may_send(const struct peer *peer)
{
    const struct peer_run *run = peer->run;
    uint64_t sent;

    if (peer->state != PEER_ECHO || run->stop) {
        return 0;
    }
    sent = peer->sent_bytes / run->message_bytes;
    if (sent >= run->messages || sent - peer->echoes >= run->in_flight) {
        return 0;
    }
    return run->messages - sent < run->in_flight - (sent - peer->echoes) ? run->messages - sent
                                                                         : run->in_flight - (sent - peer->echoes);
}

/* Bytes to be sent: what is left of a message that was begun, then whole ones. */
static uint64_t due_bytes(const struct peer *peer)
{
    uint64_t begun = peer->sent_bytes % peer->run->message_bytes;
    uint64_t whole = may_send(peer);

    if (begun == 0) {
        return whole * peer->run->message_bytes;
    }
    return peer->run->message_bytes - begun + (whole > 0 ? whole - 1 : 0) * peer->run->message_bytes;
}

static const uint8_t *pattern_at(const struct peer_run *run, uint64_t offset)
{
    return run->pattern + offset % PEER_PERIOD;
}

/* Writes; keeps what the socket does not take. */
static int put(struct peer *peer, const uint8_t *data, size_t len)
{
    ssize_t n;

    if (peer->shut) {
        return 0;
    }
    n = send(peer->fd, data, len, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) {
        return fail("send", strerror(errno));
    }
    if (n < 0) {
        n = 0;
    }
    if ((size_t)n < len) {
        peer->rest_len = len - (size_t)n;
        peer->rest_at = 0;
        peer->rest = malloc(peer->rest_len);
        if (peer->rest == NULL) {
            return -ENOMEM;
        }
        memcpy(peer->rest, data + n, peer->rest_len);
    }
    return 0;
}

/* Goes on with what the socket did not take. */
static int put_rest(struct peer *peer)
{
    while (peer->rest != NULL) {
        ssize_t n = send(peer->fd, peer->rest + peer->rest_at, peer->rest_len - peer->rest_at, MSG_NOSIGNAL);

        if (n < 0) {
            return errno == EAGAIN ? 0 : fail("send", strerror(errno));
        }
        peer->rest_at += (size_t)n;
        if (peer->rest_at == peer->rest_len) {
            free(peer->rest);
            peer->rest = NULL;
        }
    }
    return 0;
}

/* One record (or more, when it is larger than a record) for each message, as a program that sends messages would. */
static int seal_messages(struct peer *peer, size_t *at)
{
    struct peer_run *run = peer->run;
    uint64_t due;

    while ((due = due_bytes(peer)) > 0) {
        size_t left = run->message_bytes - peer->sent_bytes % run->message_bytes;
        size_t used = 0, len = 0;
        int error = etcp_stream_send(peer->stream, pattern_at(run, peer->sent_bytes), left, ETCP_DATA_MAX,
                                     run->out + *at, PEER_BUFFER_BYTES - *at, &used, &len);

        if (error != 0) {
            return fail("stream", etcp_strerror(error));
        }
        *at += len;
        peer->sent_bytes += used;
        if (used < left) {
            break; /* no more credit, or no more room: an event or the next write brings it back */
        }
    }
    return 0;
}

/* Input always, output only while something waits for it. */
static int watch(struct peer *peer)
{
    bool wanted = peer->rest != NULL || peer->state == PEER_CONNECTING;
    struct epoll_event event = {.events = EPOLLIN | (wanted ? (uint32_t)EPOLLOUT : 0), .data.ptr = peer};

    if (wanted != peer->waits_for_room && epoll_ctl(peer->run->epoll, EPOLL_CTL_MOD, peer->fd, &event) != 0) {
        return fail("epoll", strerror(errno));
    }
    peer->waits_for_room = wanted;
    return 0;
}

/* Everything that may be written now. */
static int push(struct peer *peer)
{
    struct peer_run *run = peer->run;
    int rc = put_rest(peer);

    while (rc == 0 && peer->rest == NULL && peer->state != PEER_CONNECTING) {
        size_t at = 0;

        if (run->plain) {
            uint64_t due = due_bytes(peer);

            at = due < PEER_BUFFER_BYTES ? (size_t)due : PEER_BUFFER_BYTES;
            if (at == 0) {
                break;
            }
            rc = put(peer, pattern_at(run, peer->sent_bytes), at);
            peer->sent_bytes += at;
            continue;
        }
        at = etcp_conn_drain(peer->conn, run->out, PEER_BUFFER_BYTES);
        if (peer->stream != NULL) {
            rc = seal_messages(peer, &at);
        }
        if (rc != 0 || at == 0) {
            break;
        }
        rc = put(peer, run->out, at);
    }
    if (rc == 0) {
        rc = watch(peer);
    }
    if (rc == 0 && peer->state == PEER_ENDING && peer->rest == NULL && !peer->shut) {
        peer->shut = true;
        if (shutdown(peer->fd, SHUT_WR) != 0 && errno != ENOTCONN) {
            rc = fail("shutdown", strerror(errno));
        }
    }
    return rc;
}

void peer_settle(struct peer *peer)
{
    struct peer_run *run = peer->run;

    if (peer->state == PEER_ECHO && peer->received_bytes == peer->sent_bytes &&
        peer->sent_bytes % run->message_bytes == 0 && (run->stop || peer->echoes == run->messages)) {
        move_to(peer, PEER_IDLE);
    }
}

/* Bytes of the echo. */
static int take(struct peer *peer, const uint8_t *data, size_t len)
{
    struct peer_run *run = peer->run;

    if (len > peer->sent_bytes - peer->received_bytes) {
        return fail("echo", "more than was sent");
    }
    if (memcmp(data, pattern_at(run, peer->received_bytes), len) != 0) {
        return fail("echo", "not what was sent");
    }
    peer->received_bytes += len;
    run->echoes += peer->received_bytes / run->message_bytes - peer->echoes;
    peer->echoes = peer->received_bytes / run->message_bytes;
    peer_settle(peer);
    return 0;
}

static int handle(struct peer *peer, const struct etcp_event *event)
{
    int error;

    switch (event->type) {
    case ETCP_EVENT_PEER:
        if (!etcp_key_equal(event->peer_key, peer->run->server_key)) {
            etcp_conn_reject(peer->conn, "not the server's key");
            return fail("handshake", "not the server's key");
        }
        error = etcp_conn_accept(peer->conn, peer_now_us());
        return error == 0 ? 0 : fail("handshake", etcp_strerror(error));
    case ETCP_EVENT_UP:
        move_to(peer, PEER_UP);
        return 0;
    case ETCP_EVENT_DATA:
        etcp_stream_consume(event->stream, event->len);
        return take(peer, event->data, event->len);
    case ETCP_EVENT_CREDIT:
    case ETCP_EVENT_PONG:
        return 0;
    case ETCP_EVENT_REFUSED:
        return fail("refused", event->code == ETCP_REFUSAL_BUSY ? "busy" : "not busy");
    default:
        if (peer->state == PEER_ENDING) {
            return 0;
        }
        (void)fprintf(stderr, "bench-load: event %d, %s, \"%.*s\"\n", (int)event->type, etcp_code_name(event->code),
                      (int)event->reason_len, event->reason != NULL ? event->reason : "");
        return -EPROTO;
    }
}

static int feed(struct peer *peer, uint8_t *in, size_t len)
{
    size_t at = 0;
    int rc = 0;

    while (rc == 0 && at < len) {
        struct etcp_event event;
        size_t used = 0;
        bool moved;
        int error = etcp_conn_feed(peer->conn, in + at, len - at, peer_now_us(), &used);

        at += used;
        moved = used > 0;
        while (rc == 0 && etcp_conn_next(peer->conn, &event)) {
            rc = handle(peer, &event);
            moved = true;
        }
        if (rc == 0 && error != 0) {
            const char *why = etcp_conn_error(peer->conn);

            return fail(etcp_strerror(error), why != NULL ? why : "no detail");
        }
        if (rc == 0 && !moved) {
            rc = push(peer); /* it takes no more until its control frames are on their way */
            if (rc == 0 && !etcp_conn_wants_input(peer->conn)) {
                return fail("input", "the server does not read its control frames");
            }
        }
    }
    return rc;
}

static int end_of_file(struct peer *peer)
{
    if (peer->state != PEER_ENDING) {
        return fail("server", "closed the connection");
    }
    move_to(peer, PEER_GONE);
    /* Now, and not when it is freed: epoll would tell of the end again and again. */
    (void)close(peer->fd);
    peer->fd = -1;
    return 0;
}

int peer_ready(struct peer *peer)
{
    struct peer_run *run = peer->run;
    ssize_t n;
    int rc;

    if (peer->state == PEER_CONNECTING) {
        int error = 0;
        socklen_t len = sizeof error;

        if (getsockopt(peer->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != 0) {
            return fail("connect", strerror(error));
        }
        move_to(peer, PEER_HANDSHAKE);
        if (run->plain) {
            move_to(peer, PEER_UP);
        }
    }
    rc = push(peer);
    if (rc != 0) {
        return rc;
    }
    n = recv(peer->fd, run->in, PEER_BUFFER_BYTES, 0);
    if (n < 0) {
        return errno == EAGAIN ? 0 : fail("receive", strerror(errno));
    }
    if (n == 0) {
        return end_of_file(peer);
    }
    rc = run->plain ? take(peer, run->in, (size_t)n) : feed(peer, run->in, (size_t)n);
    return rc == 0 ? push(peer) : rc;
}

int peer_start(struct peer *peer)
{
    assert(peer->state == PEER_UP);
    if (!peer->run->plain) {
        int error = etcp_stream_open(peer->conn, peer->run->service, NULL, &peer->stream);

        if (error != 0) {
            return fail("stream", etcp_strerror(error));
        }
    }
    move_to(peer, PEER_ECHO);
    return push(peer);
}

int peer_end(struct peer *peer)
{
    if (peer->state >= PEER_ENDING) {
        return 0;
    }
    move_to(peer, PEER_ENDING);
    if (!peer->run->plain) {
        peer->stream = NULL; /* it goes with its connection */
        etcp_conn_goodbye(peer->conn, ETCP_CODE_OK, NULL);
    }
    return push(peer);
}

int peer_tick(struct peer *peer, uint64_t now_us)
{
    int error;

    if (peer->conn == NULL || etcp_conn_deadline(peer->conn) > now_us) {
        return 0;
    }
    error = etcp_conn_tick(peer->conn, now_us);
    return error == 0 ? push(peer) : fail("clock", etcp_strerror(error));
}
