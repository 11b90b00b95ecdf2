/* SPDX-License-Identifier: MIT
 *
 * SHA-256 and HMAC-SHA-256 of the handshake, which hashes some sixty blocks at each end. By libcrypto where it is there: it uses the
 * processor's instructions for it, and takes a fifth of libsodium's time then (sha256_libcrypto.c, sha256_sodium.c). */
#ifndef CORE_SHA256_H
#define CORE_SHA256_H

#include <stddef.h>
#include <stdint.h>

enum { SHA256_BYTES = 32, SHA256_BLOCK_BYTES = 64 };

/* A hash under way; may be copied. It is wiped by its owner if what it has taken is secret. */
struct sha256 {
    _Alignas(16) uint8_t state[128];
};

void sha256_begin(struct sha256 *hash);

/* `data` may be NULL if `len` is 0. */
void sha256_add(struct sha256 *hash, const uint8_t *data, size_t len);
void sha256_end(struct sha256 *hash, uint8_t out[static SHA256_BYTES]);

/* HMAC (RFC 2104) under one key, which may be used for several texts; as secret as the key. */
struct hmac {
    struct sha256 inner, outer; /* with the key's block in them */
};

void hmac_begin(struct hmac *hmac, const uint8_t key[static SHA256_BYTES]);

/* Of a || b, either NULL if its length is 0. `out` may be either. */
void hmac_of(const struct hmac *hmac, const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len,
             uint8_t out[static SHA256_BYTES]);

#endif
