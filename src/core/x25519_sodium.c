/* SPDX-License-Identifier: MIT */
#include "core/x25519.h"

#include <etcp/conn.h>
#include <sodium.h>

const char *etcp_x25519_provider(void)
{
    return "libsodium";
}

void x25519_keypair(uint8_t ret_secret[static X25519_BYTES], uint8_t ret_public[static X25519_BYTES])
{
    randombytes_buf(ret_secret, X25519_BYTES);
    x25519_public(ret_secret, ret_public);
}

bool x25519_shared(const uint8_t secret[static X25519_BYTES], const uint8_t point[static X25519_BYTES],
                   uint8_t ret_shared[static X25519_BYTES])
{
    bool ok = crypto_scalarmult(ret_shared, secret, point) == 0;
    if (!ok)
        sodium_memzero(ret_shared, X25519_BYTES);
    return ok;
}
