/* SPDX-License-Identifier: MIT
 *
 * Records and frames made by hand, on libsodium alone: a peer that can say anything, and that shares no code with the
 * library. Keys are those of the demo sessions, which are in the tree (demo.h). */
#ifndef SUPPORT_RAW_H
#define SUPPORT_RAW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    RAW_HEAD = 16,     /* length and nonce */
    RAW_OVERHEAD = 32, /* and the tag */
    RAW_MAX = 16 + 65535,
};

/* One direction of a connection. */
struct raw {
    bool aes;
    bool classic; /* n is the last 8 bytes of the nonce, and no rekey */
    uint8_t key[32];
    uint64_t n;
};

/* A direction of a connection of `suite` (section 1) from record number 0. */
struct raw raw_of(int suite, const uint8_t key[static 32]);

/* Seals `plain` as the next record; `out` has len + RAW_OVERHEAD bytes. Returns that size. */
size_t raw_seal(struct raw *raw, const uint8_t *plain, size_t len, uint8_t *out);

/* Opens the next record at the front of `in` (whatever its nonce field says is compared). Returns its size on the wire and
 * stores its plaintext (RAW_MAX bytes are enough) and length; 0 if there is no whole record; aborts if it is not valid. */
size_t raw_open(struct raw *raw, const uint8_t *in, size_t len, uint8_t *ret_plain, size_t *ret_len);

/* A frame: id, stream, body. Returns its size. */
size_t raw_frame(uint8_t *out, uint8_t id, uint32_t stream, const void *body, size_t len);

/* Frames of section 4 with their usual bodies. */
size_t raw_open_frame(uint8_t *out, uint32_t stream, const char *service);
size_t raw_credit_frame(uint8_t *out, uint32_t stream, uint64_t consumed, uint64_t limit);
size_t raw_code_frame(uint8_t *out, uint8_t id, uint32_t stream, uint16_t code, const char *reason);
size_t raw_heartbeat_frame(uint8_t *out, uint8_t kind, uint64_t opaque);

#endif
