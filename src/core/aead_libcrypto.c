/* SPDX-License-Identifier: MIT */
#include "core/aead_bulk.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <stdlib.h>

enum { CIPHERS = 2, SEAL = 0, OPEN = 1, DIRECTIONS = 2 };

struct working {
    EVP_CIPHER_CTX *context;
    uint64_t owner; /* serial of the key that it holds, 0 for none */
};

struct aead_bulk {
    struct working working[CIPHERS][DIRECTIONS];
    bool awake; /* some context may hold a key */
};

static const uint8_t zeros[AEAD_KEY_BYTES];

static EVP_CIPHER_CTX *new_context(const EVP_CIPHER *cipher, int direction)
{
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    if (context && EVP_CipherInit_ex2(context, cipher, zeros, NULL, direction == SEAL, NULL) == 1)
        return context;
    EVP_CIPHER_CTX_free(context);
    return NULL;
}

struct aead_bulk *aead_bulk_new(void)
{
    static const char *const names[CIPHERS] = {"AES-256-GCM", "ChaCha20-Poly1305"};
    struct aead_bulk *bulk = calloc(1, sizeof *bulk);
    bool ok = bulk != NULL;
    for (int i = 0; ok && i < CIPHERS; i++) {
        EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, names[i], NULL);
        for (int d = 0; ok && d < DIRECTIONS; d++) {
            bulk->working[i][d].context = cipher ? new_context(cipher, d) : NULL;
            ok = bulk->working[i][d].context != NULL;
        }
        EVP_CIPHER_free(cipher); /* the contexts hold it */
    }
    if (ok)
        return bulk;
    aead_bulk_free(bulk); /* a libcrypto without these ciphers: libsodium does it all */
    return NULL;
}

void aead_bulk_free(struct aead_bulk *bulk)
{
    if (!bulk)
        return;
    for (int i = 0; i < CIPHERS; i++) {
        for (int d = 0; d < DIRECTIONS; d++)
            EVP_CIPHER_CTX_free(bulk->working[i][d].context); /* wipes */
    }
    free(bulk);
}

void aead_bulk_rest(struct aead_bulk *bulk)
{
    if (!bulk || !bulk->awake)
        return;
    bulk->awake = false;
    for (int i = 0; i < CIPHERS; i++) {
        for (int d = 0; d < DIRECTIONS; d++) {
            struct working *working = &bulk->working[i][d];
            if (working->owner != 0)
                (void)EVP_CipherInit_ex2(working->context, NULL, zeros, NULL, -1, NULL); /* sets a key: can't fail */
            working->owner = 0;
        }
    }
}

/* The context for a key, with its key and the nonce set; NULL if libcrypto fails. */
static EVP_CIPHER_CTX *prepare(struct aead_bulk *bulk, const struct aead_key *key, int direction, const uint8_t *nonce)
{
    struct working *working = &bulk->working[key->algorithm == AEAD_AES256GCM ? 0 : 1][direction];
    const uint8_t *bytes = working->owner == key->serial ? NULL : key->bytes;
    bulk->awake = true;
    working->owner = key->serial;
    return EVP_CipherInit_ex2(working->context, NULL, bytes, nonce, -1, NULL) == 1 ? working->context : NULL;
}

void aead_bulk_seal(struct aead_bulk *bulk, const struct aead_key *key, const uint8_t nonce[static AEAD_NONCE_BYTES],
                    const uint8_t *in, size_t len, uint8_t *out)
{
    EVP_CIPHER_CTX *context = prepare(bulk, key, SEAL, nonce);
    int put = 0, rest = 0;
    if (context && len <= INT_MAX && EVP_EncryptUpdate(context, out, &put, in, (int)len) == 1 && (size_t)put == len &&
        EVP_EncryptFinal_ex(context, out + len, &rest) == 1 && rest == 0 &&
        EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_BYTES, out + len) == 1)
        return;
    /* Not for these ciphers and lengths; but if: nothing of the plaintext leaves, and the peer refuses the record. */
    sodium_memzero(out, len + AEAD_TAG_BYTES);
}

bool aead_bulk_open(struct aead_bulk *bulk, const struct aead_key *key, const uint8_t nonce[static AEAD_NONCE_BYTES],
                    const uint8_t *in, size_t len, uint8_t *out)
{
    if (len < AEAD_TAG_BYTES || len > INT_MAX)
        return false;
    EVP_CIPHER_CTX *context = prepare(bulk, key, OPEN, nonce);
    uint8_t tag[AEAD_TAG_BYTES];
    int put = 0, rest = 0;
    size_t text_len = len - AEAD_TAG_BYTES;
    for (size_t i = 0; i < sizeof tag; i++)
        tag[i] = in[text_len + i];
    if (context && EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, sizeof tag, tag) == 1 &&
        EVP_DecryptUpdate(context, out, &put, in, (int)text_len) == 1 && (size_t)put == text_len &&
        EVP_DecryptFinal_ex(context, out + text_len, &rest) == 1)
        return true;
    sodium_memzero(out, text_len); /* libcrypto deciphers before it knows the tag */
    return false;
}

const char *aead_bulk_name(void)
{
    return "libcrypto " OPENSSL_VERSION_STR;
}
