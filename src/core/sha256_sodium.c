/* SPDX-License-Identifier: MIT */
#include "core/sha256.h"

#include <assert.h>
#include <sodium.h>

static_assert(sizeof(crypto_hash_sha256_state) <= sizeof(struct sha256), "its state has room");

static crypto_hash_sha256_state *state_of(struct sha256 *hash)
{
    return (crypto_hash_sha256_state *)hash->state;
}

void sha256_begin(struct sha256 *hash)
{
    (void)crypto_hash_sha256_init(state_of(hash));
}

void sha256_add(struct sha256 *hash, const uint8_t *data, size_t len)
{
    if (len > 0)
        (void)crypto_hash_sha256_update(state_of(hash), data, len);
}

void sha256_end(struct sha256 *hash, uint8_t out[static SHA256_BYTES])
{
    (void)crypto_hash_sha256_final(state_of(hash), out);
}
