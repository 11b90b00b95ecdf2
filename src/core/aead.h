/* SPDX-License-Identifier: MIT
 *
 * The two AEADs behind one interface. A key is 32 bytes somewhere in secret memory. What a cipher computes from a key
 * before its first block (AES round keys, GHASH tables) belongs to the thread that works, not to the connection: it is kept
 * for the key that was used last, and computing it anew takes less time than finding it in a colder cache.
 *
 * Up to three providers: libsodium for everything; libcrypto, where the build has it, for long records (aead_bulk.h);
 * libipsec-mb, where build and processor are for it, for AES-256-GCM (aead_aes.h).
 * Tags are always 16 bytes and directly behind the ciphertext; nonces always 12 bytes. */
#ifndef CORE_AEAD_H
#define CORE_AEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum aead_algorithm {
    AEAD_AES256GCM = 1,
    AEAD_CHACHA20POLY1305 = 2,
};

enum {
    AEAD_KEY_BYTES = 32,
    AEAD_NONCE_BYTES = 12,
    AEAD_TAG_BYTES = 16,
};

/* Whether this processor and build can run it. */
bool aead_available(enum aead_algorithm algorithm);

/* Once, with associated data, nothing cached: for handshakes. `out` has len + 16 bytes and may be `in`. */
void aead_seal_once(enum aead_algorithm algorithm, const uint8_t key[static AEAD_KEY_BYTES],
                    const uint8_t nonce[static AEAD_NONCE_BYTES], const uint8_t *ad, size_t ad_len, const uint8_t *in,
                    size_t len, uint8_t *out);

/* `in` is `len` bytes of ciphertext and tag, len >= 16; `out` gets len - 16 bytes and may be `in`. False if the tag does
 * not match: then `out` holds nothing of the plaintext. */
bool aead_open_once(enum aead_algorithm algorithm, const uint8_t key[static AEAD_KEY_BYTES],
                    const uint8_t nonce[static AEAD_NONCE_BYTES], const uint8_t *ad, size_t ad_len, const uint8_t *in,
                    size_t len, uint8_t *out);

enum { AEAD_CACHE_BYTES = 2752 }; /* of secret memory */

struct aead_cache; /* what was computed from the keys that were used last */

/* Owned, or NULL without memory. */
struct aead_cache *aead_cache_new(void);

/* Wipes and frees; NULL is fine. */
void aead_cache_free(struct aead_cache *cache);

/* The thread is about to wait: wipes what does not lie in secret memory. */
void aead_cache_rest(struct aead_cache *cache);

/* A key that many records are sealed or opened with, without associated data. */
struct aead_key {
    const uint8_t *bytes; /* borrowed: 32 bytes in secret memory that outlive the use */
    uint64_t serial;      /* its name in the cache, never given twice in a cache's life */
    uint8_t algorithm;
};

/* Names a key. Also after its bytes were replaced: call aead_key_forget() first. */
void aead_key_init(struct aead_key *key, struct aead_cache *cache, enum aead_algorithm algorithm, const uint8_t *bytes);

/* Wipes what the cache holds of it. */
void aead_key_forget(struct aead_key *key, struct aead_cache *cache);

/* As the functions above; in == out, or not overlapping. */
void aead_seal(const struct aead_key *key, struct aead_cache *cache, const uint8_t nonce[static AEAD_NONCE_BYTES],
               const uint8_t *in, size_t len, uint8_t *out);
bool aead_open(const struct aead_key *key, struct aead_cache *cache, const uint8_t nonce[static AEAD_NONCE_BYTES],
               const uint8_t *in, size_t len, uint8_t *out);

#endif
