/* SPDX-License-Identifier: MIT
 *
 * Provider: libsodium. Its AES-256-GCM expands a key into 512 bytes, which costs about as much as sealing a short record:
 * those states are cached, direct-mapped by the key's serial number. ChaCha20-Poly1305 has nothing to expand. */
#include "core/aead.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

/* Serial numbers are given in pairs, one for each direction of a connection; 128 connections fit. */
enum { CACHE_ENTRIES = 256 };

struct aead_cache {
    crypto_aead_aes256gcm_state state[CACHE_ENTRIES];
    uint64_t owner[CACHE_ENTRIES]; /* serial of the key, 0 for none */
    uint64_t last_serial;
    uint8_t pad[56]; /* to a multiple of 64: sodium_malloc() aligns the end, not the start */
};

static_assert(sizeof(struct aead_cache) % 64 == 0, "the cipher states must stay aligned");

bool aead_available(enum aead_algorithm algorithm)
{
    return algorithm == AEAD_CHACHA20POLY1305 || crypto_aead_aes256gcm_is_available() != 0;
}

void aead_seal_once(enum aead_algorithm algorithm, const uint8_t key[static AEAD_KEY_BYTES],
                    const uint8_t nonce[static AEAD_NONCE_BYTES], const uint8_t *ad, size_t ad_len, const uint8_t *in,
                    size_t len, uint8_t *out)
{
    int rc = algorithm == AEAD_AES256GCM
                 ? crypto_aead_aes256gcm_encrypt(out, NULL, in, len, ad, ad_len, NULL, nonce, key)
                 : crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, in, len, ad, ad_len, NULL, nonce, key);
    assert(rc == 0); /* fails only for lengths that no record has */
    (void)rc;
}

bool aead_open_once(enum aead_algorithm algorithm, const uint8_t key[static AEAD_KEY_BYTES],
                    const uint8_t nonce[static AEAD_NONCE_BYTES], const uint8_t *ad, size_t ad_len, const uint8_t *in,
                    size_t len, uint8_t *out)
{
    if (len < AEAD_TAG_BYTES)
        return false;
    if (algorithm == AEAD_AES256GCM)
        return crypto_aead_aes256gcm_decrypt(out, NULL, NULL, in, len, ad, ad_len, nonce, key) == 0;
    return crypto_aead_chacha20poly1305_ietf_decrypt(out, NULL, NULL, in, len, ad, ad_len, nonce, key) == 0;
}

struct aead_cache *aead_cache_new(void)
{
    struct aead_cache *cache = sodium_malloc(sizeof *cache);
    if (!cache)
        return NULL;
    memset(cache, 0, sizeof *cache);
    assert((uintptr_t)cache % 16 == 0);
    return cache;
}

void aead_cache_free(struct aead_cache *cache)
{
    sodium_free(cache);
}

void aead_key_init(struct aead_key *key, struct aead_cache *cache, enum aead_algorithm algorithm, const uint8_t *bytes)
{
    *key = (struct aead_key){.bytes = bytes, .serial = ++cache->last_serial, .algorithm = (uint8_t)algorithm};
}

void aead_key_forget(struct aead_key *key, struct aead_cache *cache)
{
    size_t at = key->serial % CACHE_ENTRIES;
    if (key->serial == 0 || cache->owner[at] != key->serial)
        return;
    sodium_memzero(&cache->state[at], sizeof cache->state[at]);
    cache->owner[at] = 0;
}

static const crypto_aead_aes256gcm_state *expanded(const struct aead_key *key, struct aead_cache *cache)
{
    size_t at = key->serial % CACHE_ENTRIES;
    if (cache->owner[at] != key->serial) {
        crypto_aead_aes256gcm_beforenm(&cache->state[at], key->bytes);
        cache->owner[at] = key->serial;
    }
    return (const crypto_aead_aes256gcm_state *)&cache->state[at];
}

void aead_seal(const struct aead_key *key, struct aead_cache *cache, const uint8_t nonce[static AEAD_NONCE_BYTES],
               const uint8_t *in, size_t len, uint8_t *out)
{
    if (key->algorithm == AEAD_AES256GCM)
        crypto_aead_aes256gcm_encrypt_afternm(out, NULL, in, len, NULL, 0, NULL, nonce, expanded(key, cache));
    else
        aead_seal_once(AEAD_CHACHA20POLY1305, key->bytes, nonce, NULL, 0, in, len, out);
}

bool aead_open(const struct aead_key *key, struct aead_cache *cache, const uint8_t nonce[static AEAD_NONCE_BYTES],
               const uint8_t *in, size_t len, uint8_t *out)
{
    if (len < AEAD_TAG_BYTES)
        return false;
    if (key->algorithm == AEAD_AES256GCM)
        return crypto_aead_aes256gcm_decrypt_afternm(out, NULL, NULL, in, len, NULL, 0, nonce, expanded(key, cache)) ==
               0;
    return aead_open_once(AEAD_CHACHA20POLY1305, key->bytes, nonce, NULL, 0, in, len, out);
}
