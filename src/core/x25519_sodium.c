/* SPDX-License-Identifier: MIT */
#include "core/x25519.h"

#include <etcp/conn.h>
#include <sodium.h>

const char *etcp_x25519_provider(void)
{
    return "libsodium";
}

void x25519_public(const uint8_t secret[static X25519_BYTES], uint8_t ret_public[static X25519_BYTES])
{
    /* Fails for no scalar: clamping makes each a multiple of the base point that is not the identity. */
    (void)crypto_scalarmult_base(ret_public, secret);
}

bool x25519_shared(const uint8_t secret[static X25519_BYTES], const uint8_t point[static X25519_BYTES],
                   uint8_t ret_shared[static X25519_BYTES])
{
    bool ok = crypto_scalarmult(ret_shared, secret, point) == 0;
    if (!ok)
        sodium_memzero(ret_shared, X25519_BYTES);
    return ok;
}
