/* SPDX-License-Identifier: MIT
 *
 * Records (section 3): length, nonce, ciphertext and tag; the order of nonces; when a direction is rekeyed.
 * Also those of the classic suite (section 6), which differ in their nonces and limits only. */
#ifndef CORE_RECORD_H
#define CORE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/aead.h"

enum {
    RECORD_LENGTH_BYTES = 4,
    RECORD_HEAD_BYTES = RECORD_LENGTH_BYTES + AEAD_NONCE_BYTES,
    RECORD_OVERHEAD_BYTES = RECORD_HEAD_BYTES + AEAD_TAG_BYTES,
    RECORD_MIN = 21, /* n: the smallest frame and its tag */
    RECORD_MAX = 65535,
    RECORD_CLASSIC_MIN = AEAD_TAG_BYTES,
};

#define RECORD_REKEY_EVERY (UINT64_C(1) << 20)

/* One direction of a connection. */
struct record_direction {
    uint64_t n;          /* number of the next record */
    struct aead_key key; /* its bytes lie in the connection's secret slot */
    uint8_t *key_bytes;  /* the same bytes, for rekeying */
    uint8_t classic[12]; /* classic, sending: the next nonce */
    bool is_classic;
};

/* What one look at the head of a record says. */
enum record_verdict {
    RECORD_MORE = 0, /* the head is not complete, and fine so far */
    RECORD_OK,       /* the head is complete: the record is ret_len bytes in all */
    RECORD_END,      /* classic: a bare length of 0 */
    RECORD_BAD_LENGTH,
    RECORD_BAD_NONCE,
};

/* Judges the first `len` bytes of a record: its length as soon as 4 are there, its nonce with 16. `max` is the
 * largest n. Stores the size of the whole record when OK. */
enum record_verdict record_judge(struct record_direction *d, const uint8_t *head, size_t len, uint32_t max,
                                 size_t *ret_len);

/* Opens a whole record (judged OK) in place; its plaintext is then at record + 16, record_len - 32 bytes. False if the tag does
 * not match. */
bool record_open(struct record_direction *d, struct aead_cache *cache, uint8_t *record, size_t record_len);

/* Seals `len` bytes of plaintext that lie at record + 16 in place; the record is then 32 + len bytes. */
void record_seal(struct record_direction *d, struct aead_cache *cache, uint8_t *record, size_t len);

#endif
