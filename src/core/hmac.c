/* SPDX-License-Identifier: MIT */
#include <sodium.h>
#include <string.h>

#include "core/sha256.h"

void hmac_begin(struct hmac *hmac, const uint8_t key[static SHA256_BYTES])
{
    uint8_t inner[SHA256_BLOCK_BYTES], outer[SHA256_BLOCK_BYTES];
    memset(inner, 0x36, sizeof inner);
    memset(outer, 0x5c, sizeof outer);
    for (int i = 0; i < SHA256_BYTES; i++) {
        inner[i] ^= key[i];
        outer[i] ^= key[i];
    }
    sha256_begin(&hmac->inner);
    sha256_add(&hmac->inner, inner, sizeof inner);
    sha256_begin(&hmac->outer);
    sha256_add(&hmac->outer, outer, sizeof outer);
    sodium_memzero(inner, sizeof inner);
    sodium_memzero(outer, sizeof outer);
}

void hmac_of(const struct hmac *hmac, const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len,
             uint8_t out[static SHA256_BYTES])
{
    struct sha256 hash = hmac->inner;
    uint8_t digest[SHA256_BYTES];
    sha256_add(&hash, a, a_len);
    sha256_add(&hash, b, b_len);
    sha256_end(&hash, digest);
    hash = hmac->outer;
    sha256_add(&hash, digest, sizeof digest);
    sha256_end(&hash, out);
    sodium_memzero(&hash, sizeof hash);
    sodium_memzero(digest, sizeof digest);
}
