/* SPDX-License-Identifier: MIT */
#include "core/aead.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#include "core/aead_aes.h"
#include "core/aead_bulk.h"

/* Bytes of plaintext from which on libcrypto is faster than libsodium: measured with AES-256-GCM, where 64 bytes take it
 * 260 ns against libsodium's 160, 1,024 bytes 470 against 710. (libipsec-mb: 50 and 130.) */
enum { BULK_MIN = 512 };

/* An expanded AES-256-GCM key. ChaCha20-Poly1305 has nothing to expand. */
struct expanded {
    union aead_aes_key key;
    uint64_t owner; /* serial of the key, 0 for none */
    uint8_t pad[56];
};

struct aead_cache {
    struct expanded seal, open; /* a connection that answers what it reads uses both in turn */
    const struct aead_aes *aes;
    struct aead_bulk *bulk; /* for long records, or NULL: libsodium does them too */
    uint64_t last_serial;
    uint8_t pad[40]; /* to a multiple of 64: sodium_malloc() aligns the end, not the start */
};

static_assert(sizeof(struct expanded) % 64 == 0 && sizeof(struct aead_cache) % 64 == 0,
              "the cipher states must stay aligned");
static_assert(sizeof(struct aead_cache) == AEAD_CACHE_BYTES, "as the header says");

static void sodium_expand(union aead_aes_key *expanded, const uint8_t key[static AEAD_KEY_BYTES])
{
    crypto_aead_aes256gcm_beforenm(&expanded->sodium, key);
}

static void sodium_seal(const union aead_aes_key *expanded, const uint8_t nonce[static AEAD_NONCE_BYTES],
                        const uint8_t *in, size_t len, uint8_t *out)
{
    crypto_aead_aes256gcm_encrypt_afternm(out, NULL, in, len, NULL, 0, NULL, nonce,
                                          (const crypto_aead_aes256gcm_state *)&expanded->sodium);
}

static bool sodium_open(const union aead_aes_key *expanded, const uint8_t nonce[static AEAD_NONCE_BYTES],
                        const uint8_t *in, size_t len, uint8_t *out)
{
    return crypto_aead_aes256gcm_decrypt_afternm(out, NULL, NULL, in, len, NULL, 0, nonce,
                                                 (const crypto_aead_aes256gcm_state *)&expanded->sodium) == 0;
}

const struct aead_aes aead_aes_sodium = {
    .name = "libsodium",
    .expand = sodium_expand,
    .seal = sodium_seal,
    .open = sodium_open,
};

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
    assert((uintptr_t)cache % 64 == 0);
    cache->aes = aead_aes_ipsecmb() ? aead_aes_ipsecmb() : &aead_aes_sodium;
    cache->bulk = aead_bulk_new();
    return cache;
}

void aead_cache_free(struct aead_cache *cache)
{
    if (cache)
        aead_bulk_free(cache->bulk);
    sodium_free(cache);
}

void aead_cache_rest(struct aead_cache *cache)
{
    aead_bulk_rest(cache->bulk);
}

void aead_key_init(struct aead_key *key, struct aead_cache *cache, enum aead_algorithm algorithm, const uint8_t *bytes)
{
    *key = (struct aead_key){.bytes = bytes, .serial = ++cache->last_serial, .algorithm = (uint8_t)algorithm};
}

static void forget(struct expanded *expanded, uint64_t serial)
{
    if (expanded->owner != serial)
        return;
    sodium_memzero(&expanded->key, sizeof expanded->key);
    expanded->owner = 0;
}

void aead_key_forget(struct aead_key *key, struct aead_cache *cache)
{
    if (key->serial == 0)
        return;
    forget(&cache->seal, key->serial);
    forget(&cache->open, key->serial);
    aead_bulk_rest(cache->bulk);
}

static const union aead_aes_key *expand(struct expanded *expanded, const struct aead_cache *cache,
                                        const struct aead_key *key)
{
    if (expanded->owner != key->serial) {
        cache->aes->expand(&expanded->key, key->bytes);
        expanded->owner = key->serial;
    }
    return &expanded->key;
}

/* Whether a record with `len` bytes of plaintext is libcrypto's. */
static bool is_bulk(const struct aead_cache *cache, const struct aead_key *key, size_t len)
{
    return len >= BULK_MIN && cache->bulk && !(key->algorithm == AEAD_AES256GCM && cache->aes->bulk);
}

void aead_seal(const struct aead_key *key, struct aead_cache *cache, const uint8_t nonce[static AEAD_NONCE_BYTES],
               const uint8_t *in, size_t len, uint8_t *out)
{
    if (is_bulk(cache, key, len))
        aead_bulk_seal(cache->bulk, key, nonce, in, len, out);
    else if (key->algorithm == AEAD_AES256GCM)
        cache->aes->seal(expand(&cache->seal, cache, key), nonce, in, len, out);
    else
        aead_seal_once(AEAD_CHACHA20POLY1305, key->bytes, nonce, NULL, 0, in, len, out);
}

bool aead_open(const struct aead_key *key, struct aead_cache *cache, const uint8_t nonce[static AEAD_NONCE_BYTES],
               const uint8_t *in, size_t len, uint8_t *out)
{
    if (len < AEAD_TAG_BYTES)
        return false;
    if (is_bulk(cache, key, len - AEAD_TAG_BYTES))
        return aead_bulk_open(cache->bulk, key, nonce, in, len, out);
    if (key->algorithm == AEAD_AES256GCM)
        return cache->aes->open(expand(&cache->open, cache, key), nonce, in, len, out);
    return aead_open_once(AEAD_CHACHA20POLY1305, key->bytes, nonce, NULL, 0, in, len, out);
}
