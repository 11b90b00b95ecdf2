/* SPDX-License-Identifier: MIT */
#include "core/x25519.h"

#include <etcp/conn.h>
#include <lib25519.h>
#include <sodium.h>

const char *etcp_x25519_provider(void)
{
    return "lib25519";
}

void x25519_keypair(uint8_t ret_secret[static X25519_BYTES], uint8_t ret_public[static X25519_BYTES])
{
    lib25519_dh_keypair(ret_public, ret_secret);
}

bool x25519_shared(const uint8_t secret[static X25519_BYTES], const uint8_t point[static X25519_BYTES],
                   uint8_t ret_shared[static X25519_BYTES])
{
    lib25519_dh(ret_shared, point, secret);
    return !sodium_is_zero(ret_shared, X25519_BYTES); /* which lib25519 leaves to its callers */
}
