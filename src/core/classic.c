/* SPDX-License-Identifier: MIT */
#include "core/classic.h"

#include "core/x25519.h"

bool classic_agree(const uint8_t secret[static NOISE_DH_BYTES], const uint8_t peer[static NOISE_DH_BYTES],
                   uint8_t ret_key[static AEAD_KEY_BYTES])
{
    return x25519_shared(secret, peer, ret_key);
}

void classic_turn_token(const uint8_t in[static CLASSIC_TOKEN_BYTES], uint8_t out[static CLASSIC_TOKEN_BYTES])
{
    for (int i = 0; i < CLASSIC_TOKEN_BYTES; i++)
        out[i] = in[CLASSIC_TOKEN_BYTES - 1 - i];
}

void classic_count_up(uint8_t nonce[static AEAD_NONCE_BYTES])
{
    for (int i = AEAD_NONCE_BYTES - 1; i >= 0 && ++nonce[i] == 0; i--)
        ;
}
