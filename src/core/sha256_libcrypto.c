/* SPDX-License-Identifier: MIT
 *
 * These functions are deprecated in favour of EVP, whose states lie on the heap, where there may be no room for them, and whose calls
 * cost more than the one or two blocks that are hashed here at a time. Where they are gone, CMake takes sha256_sodium.c. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "core/sha256.h"

#include <assert.h>
#include <openssl/sha.h>

static_assert(sizeof(SHA256_CTX) <= sizeof(struct sha256), "its state has room");

static SHA256_CTX *state_of(struct sha256 *hash)
{
    return (SHA256_CTX *)hash->state;
}

/* None of them can fail. */
void sha256_begin(struct sha256 *hash)
{
    (void)SHA256_Init(state_of(hash));
}

void sha256_add(struct sha256 *hash, const uint8_t *data, size_t len)
{
    if (len > 0)
        (void)SHA256_Update(state_of(hash), data, len);
}

void sha256_end(struct sha256 *hash, uint8_t out[static SHA256_BYTES])
{
    (void)SHA256_Final(out, state_of(hash));
}
