/* SPDX-License-Identifier: MIT
 *
 * The second provider of the AEADs: libcrypto 3, for long records, which it does more than twice as fast as libsodium.
 * Short ones are libsodium's: there the call costs more than the cipher. A build without libcrypto has no bulk provider,
 * and lacks nothing but speed.
 *
 * libcrypto keeps the key that it works with on the heap, where it can be neither locked nor kept out of a core dump. So
 * there is one working context per cipher and direction in each pool, no matter how many connections, and it holds a key
 * only while its thread is at work: aead_bulk_rest() before the thread waits. */
#ifndef CORE_AEAD_BULK_H
#define CORE_AEAD_BULK_H

#include "core/aead.h"

struct aead_bulk;

/* Owned, or NULL if the build or libcrypto has none. */
struct aead_bulk *aead_bulk_new(void);

/* Wipes and frees; NULL is fine. */
void aead_bulk_free(struct aead_bulk *bulk);

/* As aead_seal() and aead_open() in aead.h. */
void aead_bulk_seal(struct aead_bulk *bulk, const struct aead_key *key, const uint8_t nonce[static AEAD_NONCE_BYTES],
                    const uint8_t *in, size_t len, uint8_t *out);
bool aead_bulk_open(struct aead_bulk *bulk, const struct aead_key *key, const uint8_t nonce[static AEAD_NONCE_BYTES],
                    const uint8_t *in, size_t len, uint8_t *out);

/* Overwrites the keys that the contexts hold; costs nothing if they hold none. */
void aead_bulk_rest(struct aead_bulk *bulk);

/* "libcrypto 3.0.19", or "libsodium"; static. */
const char *aead_bulk_name(void);

#endif
