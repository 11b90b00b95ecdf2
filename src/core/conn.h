/* SPDX-License-Identifier: MIT
 *
 * The inside of a connection, for conn.c, send.c and tests. */
#ifndef CORE_CONN_H
#define CORE_CONN_H

#include <etcp/conn.h>

#include "core/frame.h"
#include "core/handshake.h"
#include "core/outbox.h"
#include "core/record.h"
#include "core/stream.h"

enum conn_state {
    CONN_HANDSHAKE = 1, /* packets go both ways */
    CONN_DECIDE,        /* the peer is known, the owner's decision is due */
    CONN_OPEN,          /* records go both ways */
    CONN_CLOSING,       /* over: what waits may be drained, what arrives is ignored */
};

enum { CONN_EVENTS_MAX = 2 }; /* one packet or record makes at most so many */

struct etcp_conn {
    struct etcp_pool *pool;
    struct handshake *handshake; /* until it is over and its last packet drained */
    uint8_t *keys;               /* secret slot: the key for sending, then the one for receiving */
    enum conn_state state;
    bool is_agent;
    bool is_classic;
    bool is_up;         /* the first valid record has arrived (server: accepted) */
    bool draining;      /* we have said shutting-down */
    bool peer_draining; /* the peer has */
    bool ended_well;    /* CLOSING after a Goodbye, or classic's end */
    bool ask_outstanding;
    uint8_t suite;
    uint8_t events_count, events_at;
    uint8_t head_len;                /* bytes in `head` */
    uint8_t head[RECORD_HEAD_BYTES]; /* of a partial record */
    uint8_t *partial;                /* the partial record, once its length is known; else NULL */
    size_t partial_len,
        partial_size; /* bytes that are there, and in all; equal: it was delivered, free it at the next feed */
    uint32_t max_streams;
    uint32_t max_record;
    uint64_t handshake_deadline_us;
    uint64_t heartbeat_interval_us;
    uint64_t dead_peer_timeout_us;
    uint64_t streams_refused;
    uint64_t last_valid_us; /* when the last valid record arrived */
    uint64_t asked_us;      /* when the outstanding heartbeat was asked */
    uint64_t asks;          /* its opaque bytes */
    const char *error;      /* static */
    struct record_direction sending, receiving;
    struct outbox outbox;
    struct stream_table streams;
    struct etcp_origin origin; /* of the last OPEN */
    struct etcp_event events[CONN_EVENTS_MAX];
    uint8_t peer_key[ETCP_KEY_BYTES];
};

/* Queues a control frame. Without memory the connection has failed afterwards, and is closing. */
void conn_send_frame(struct etcp_conn *conn, const struct frame *frame);

/* The same for a frame that has a code and a reason: of the reason, at most ETCP_REASON_MAX bytes of whole characters. */
void conn_send_code(struct etcp_conn *conn, enum frame_id id, uint32_t stream, enum etcp_code code, const char *reason);

/* As etcp_conn_new(), with what is random given by `fixed`, which is borrowed until the handshake is over. Tests only. */
int conn_new_fixed(struct etcp_pool *pool, const struct etcp_conn_options *options, uint64_t now_us,
                   const struct handshake_fixed *fixed, struct etcp_conn **ret_conn);

/* Has any bytes sent as a frame, valid or not. Tests only. */
int conn_send_raw(struct etcp_conn *conn, const uint8_t *plaintext, size_t len);

#endif
