/* SPDX-License-Identifier: MIT
 *
 * X25519 (RFC 7748), four times at each end of a handshake and more than half of its time. By lib25519 where it is there, whose code
 * for amd64 makes a key in a third of libsodium's time and a shared secret in three quarters (x25519_lib25519.c, x25519_sodium.c).
 * All of it takes the same time for all secrets. */
#ifndef CORE_X25519_H
#define CORE_X25519_H

#include <stdbool.h>
#include <stdint.h>

enum { X25519_BYTES = 32 };

/* A new secret key and its public key. */
void x25519_keypair(uint8_t ret_secret[static X25519_BYTES], uint8_t ret_public[static X25519_BYTES]);

/* The public key of any 32 bytes; by libsodium in all builds. */
void x25519_public(const uint8_t secret[static X25519_BYTES], uint8_t ret_public[static X25519_BYTES]);

/* The secret shared with a public key. False, and nothing but zeros, if that is a point of small order. */
bool x25519_shared(const uint8_t secret[static X25519_BYTES], const uint8_t point[static X25519_BYTES],
                   uint8_t ret_shared[static X25519_BYTES]);

#endif
