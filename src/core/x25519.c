/* SPDX-License-Identifier: MIT */
#include "core/x25519.h"

#include <sodium.h>

void x25519_public(const uint8_t secret[static X25519_BYTES], uint8_t ret_public[static X25519_BYTES])
{
    /* Fails for no scalar: clamping makes each a multiple of the base point that is not the identity. */
    (void)crypto_scalarmult_base(ret_public, secret);
}
