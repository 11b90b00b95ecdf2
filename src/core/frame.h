/* SPDX-License-Identifier: MIT
 *
 * Frames (section 4): struct <-> bytes. A pure codec: it knows the form of each frame and nothing of streams. */
#ifndef CORE_FRAME_H
#define CORE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <etcp/conn.h>

enum frame_id {
    FRAME_STREAM_OPEN = 0x03,
    FRAME_STREAM_CLOSE = 0x04,
    FRAME_STREAM_DATA = 0x05,
    FRAME_STREAM_ERROR = 0x06,
    FRAME_HEARTBEAT = 0x07,
    FRAME_STREAM_CREDIT = 0x09,
    FRAME_GOODBYE = 0x0A,
    FRAME_EXTENSION = 0x80, /* this and above: ignored */
};

enum {
    FRAME_HEAD_BYTES = 5,                                       /* id, stream */
    FRAME_OPAQUE_BYTES = 8,                                     /* of a heartbeat */
    FRAME_CONTROL_MAX = FRAME_HEAD_BYTES + 2 + ETCP_REASON_MAX, /* the largest but Data */
};

enum frame_heartbeat {
    FRAME_ASK = 0,
    FRAME_ANSWER = 1,
};

/* Pointers are into the bytes that were decoded, or the caller's to be encoded. */
struct frame {
    uint8_t id;
    uint8_t heartbeat; /* HEARTBEAT */
    uint16_t code;     /* STREAM_ERROR, GOODBYE; as on the wire */
    uint32_t stream;
    const uint8_t *data; /* DATA; service of OPEN; reason of STREAM_ERROR and GOODBYE; opaque bytes of HEARTBEAT */
    size_t len;          /* of data */
    uint64_t consumed;   /* CREDIT */
    uint64_t limit;      /* CREDIT */
    struct etcp_origin origin; /* OPEN; family 0: none */
};

/* Decodes a record's plaintext. Returns NULL, or the rule that was broken (static): then the frame is void. A frame whose id
 * is FRAME_EXTENSION or above has nothing but its id. */
const char *frame_decode(const uint8_t *in, size_t len, struct frame *ret_frame);

/* Encodes a frame other than Data into `out`; returns its size. Its fields must be valid. */
size_t frame_encode(const struct frame *frame, uint8_t out[static FRAME_CONTROL_MAX]);

/* Writes the head of a Data frame in front of its bytes. */
void frame_encode_head(enum frame_id id, uint32_t stream, uint8_t out[static FRAME_HEAD_BYTES]);

/* Whether these bytes are a service name. */
bool frame_service_valid(const uint8_t *name, size_t len);

#endif
