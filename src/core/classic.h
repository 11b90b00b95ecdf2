/* SPDX-License-Identifier: MIT
 *
 * The classic suite's key agreement (section 6): anonymous X25519 whose raw result is the key. It authenticates nobody. */
#ifndef CORE_CLASSIC_H
#define CORE_CLASSIC_H

#include <stdbool.h>
#include <stdint.h>

#include "core/aead.h"
#include "core/noise.h"

enum { CLASSIC_TOKEN_BYTES = 8 };

/* The shared key of an ephemeral secret and the peer's ephemeral public key. False if the result is all zeros. */
bool classic_agree(const uint8_t secret[static NOISE_DH_BYTES], const uint8_t peer[static NOISE_DH_BYTES],
                   uint8_t ret_key[static AEAD_KEY_BYTES]);

/* The token's bytes as sent in the request (little-endian) turned into those of the response (big-endian). */
void classic_turn_token(const uint8_t in[static CLASSIC_TOKEN_BYTES], uint8_t out[static CLASSIC_TOKEN_BYTES]);

/* Counts a nonce up as a 96-bit big-endian integer, modulo 2^96. */
void classic_count_up(uint8_t nonce[static AEAD_NONCE_BYTES]);

#endif
