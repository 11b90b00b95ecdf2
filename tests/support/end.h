/* SPDX-License-Identifier: MIT
 *
 * One end of a connection in a test: an etcp_conn with a small application on it, the bytes it wants to send, and a
 * transcript of what it was told. No sockets; the owner moves the bytes and the clock.
 *
 * The application of a server knows three services: "echo" sends back what comes and closes when the peer has, "sink"
 * takes everything and answers nothing until the peer closes, "hold" takes the stream and never reads, writes or closes.
 * Other services are answered with no-such-service. Either end may open streams and send on them. Classic messages are
 * echoed by a server. */
#ifndef SUPPORT_END_H
#define SUPPORT_END_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <etcp/etcp.h>

/* Bytes that grow; `data` is owned. Wholly zero is empty. */
struct end_bytes {
    uint8_t *data;
    size_t len, size;
};

void end_bytes_add(struct end_bytes *b, const void *data, size_t len);
void end_bytes_drop(struct end_bytes *b, size_t len); /* from the front */
void end_bytes_done(struct end_bytes *b);

enum end_service {
    END_NONE, /* a stream that this end opened: what arrives is taken and counted */
    END_ECHO,
    END_SINK,
    END_HOLD,
};

struct end_stream {
    struct end_stream *next;    /* in the order in which they were opened */
    struct etcp_stream *stream; /* NULL once given back */
    uint32_t id;
    enum end_service service;
    struct end_bytes backlog; /* waits to be sent; at most a window for an echo */
    bool close_when_sent;
    bool hold_credit;  /* does not consume what arrives */
    uint64_t received; /* bytes since the last line of the transcript */
    uint64_t total;    /* bytes in all */
    uint64_t hash;
    struct end_bytes transcript;
};

struct end {
    struct etcp_conn *conn;
    enum etcp_role role;
    uint64_t now_us;
    struct end_bytes out;        /* to be moved to the peer */
    struct end_bytes in;         /* arrived, not yet taken by the connection */
    uint8_t *lent;               /* what etcp_conn_feed() borrowed last */
    struct end_stream *streams;  /* all there ever were */
    struct end_bytes transcript; /* of the connection, without its streams */
    struct end_bytes strict;     /* every event, in order, exactly as it came */
    const uint8_t *pinned;       /* the only peer key that is accepted; NULL: any */
    const char *reject_reason;
    bool no_decision; /* leaves ETCP_EVENT_PEER unanswered */
    bool no_echo;     /* of classic messages */
    bool no_drain;    /* collects nothing from the connection */
    bool up;          /* had ETCP_EVENT_UP */
    bool ended;       /* had ETCP_EVENT_END */
    int end_code;     /* of that */
    int error;        /* the first that a call returned */
    bool eof;         /* the peer's end of file was told */
    int eof_result;   /* and this was the answer */
    unsigned events;  /* how many there were */
    unsigned pongs, credits, messages, refused_code;
};

/* Makes an end with a new connection. Returns what etcp_conn_new() returns. */
int end_init(struct end *e, struct etcp_pool *pool, const struct etcp_conn_options *options, uint64_t now_us);

/* Makes an end around a connection, which it takes. */
void end_adopt(struct end *e, struct etcp_conn *conn, enum etcp_role role, uint64_t now_us);
void end_done(struct end *e);

/* Bytes from the peer. Feeds them, handles every event, and collects what the connection then wants to send. */
void end_feed(struct end *e, const uint8_t *bytes, size_t len);

/* Goes on with what could not be taken or sent before; collects what waits. */
void end_pump(struct end *e);

/* The peer's end of file. */
void end_eof(struct end *e);

/* Moves the clock and lets the connection do what is due. */
void end_tick(struct end *e, uint64_t now_us);

/* Opens a stream; NULL if the connection does not let it. */
struct end_stream *end_open(struct end *e, const char *service, const struct etcp_origin *origin);

/* Queues data, or the half-close behind it; end_pump() sends. */
void end_send(struct end_stream *s, const void *data, size_t len);
void end_close(struct end_stream *s);

struct end_stream *end_find(struct end *e, uint32_t id);

/* The transcript in a form that does not depend on how records and credits were batched: events of the connection in
 * their order, then each stream by itself, data as totals. Owned by the caller. */
char *end_transcript(const struct end *e);

#endif
