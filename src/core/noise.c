/* SPDX-License-Identifier: MIT */
#include "core/noise.h"

#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "core/bytes.h"
#include "core/key.h"
#include "core/sha256.h"
#include "core/x25519.h"

/* clang-format off */
const struct noise_pattern noise_xx = {
    .name = "XX",
    .messages = {{NOISE_E}, {NOISE_E, NOISE_EE, NOISE_S, NOISE_ES}, {NOISE_S, NOISE_SE}},
};

const struct noise_pattern noise_xxpsk0 = {
    .name = "XXpsk0",
    .psk = true,
    .messages = {{NOISE_PSK, NOISE_E}, {NOISE_E, NOISE_EE, NOISE_S, NOISE_ES}, {NOISE_S, NOISE_SE}},
};
/* clang-format on */

void noise_nonce(enum aead_algorithm algorithm, uint64_t n, uint8_t ret_nonce[static AEAD_NONCE_BYTES])
{
    memset(ret_nonce, 0, 4);
    if (algorithm == AEAD_AES256GCM)
        bytes_put_u64(ret_nonce + 4, n);
    else
        bytes_put_u64_little(ret_nonce + 4, n);
}

void noise_rekey(enum aead_algorithm algorithm, uint8_t k[static AEAD_KEY_BYTES])
{
    static const uint8_t zeros[AEAD_KEY_BYTES];
    uint8_t nonce[AEAD_NONCE_BYTES], out[AEAD_KEY_BYTES + AEAD_TAG_BYTES];
    noise_nonce(algorithm, UINT64_MAX, nonce);
    aead_seal_once(algorithm, k, nonce, NULL, 0, zeros, sizeof zeros, out);
    memcpy(k, out, AEAD_KEY_BYTES);
    sodium_memzero(out, sizeof out);
}

static void hash2(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len, uint8_t out[static NOISE_HASH_BYTES])
{
    struct sha256 hash;
    sha256_begin(&hash);
    sha256_add(&hash, a, a_len);
    sha256_add(&hash, b, b_len);
    sha256_end(&hash, out);
    sodium_memzero(&hash, sizeof hash);
}

/* HKDF of Noise (revision 34, section 4.3) with `count` outputs, each 32 bytes, into `out`. The chaining key may be out[0]. */
static void hkdf(const uint8_t ck[static NOISE_HASH_BYTES], const uint8_t *material, size_t len, int count,
                 uint8_t out[][NOISE_HASH_BYTES])
{
    struct hmac hmac;
    uint8_t temp[NOISE_HASH_BYTES];
    hmac_begin(&hmac, ck);
    hmac_of(&hmac, material, len, NULL, 0, temp);
    hmac_begin(&hmac, temp);
    const uint8_t *previous = NULL;
    for (int i = 0; i < count; i++) {
        const uint8_t number = (uint8_t)(i + 1);
        hmac_of(&hmac, previous, previous ? NOISE_HASH_BYTES : 0, &number, 1, out[i]);
        previous = out[i];
    }
    sodium_memzero(&hmac, sizeof hmac);
    sodium_memzero(temp, sizeof temp);
    sodium_stackzero(1024); /* some of libcrypto's code for older processors leaves the words of a block there */
}

static void mix_hash(struct noise *noise, const uint8_t *data, size_t len)
{
    hash2(noise->h, sizeof noise->h, data, len, noise->h);
}

static void set_k(struct noise *noise, const uint8_t k[static AEAD_KEY_BYTES])
{
    memcpy(noise->secrets->k, k, AEAD_KEY_BYTES);
    noise->has_k = true;
    noise->n = 0;
}

static void mix_key(struct noise *noise, const uint8_t *material, size_t len)
{
    uint8_t out[2][NOISE_HASH_BYTES];
    hkdf(noise->secrets->ck, material, len, 2, out);
    memcpy(noise->secrets->ck, out[0], NOISE_HASH_BYTES);
    set_k(noise, out[1]);
    sodium_memzero(out, sizeof out);
}

static void mix_key_and_hash(struct noise *noise, const uint8_t *material, size_t len)
{
    uint8_t out[3][NOISE_HASH_BYTES];
    hkdf(noise->secrets->ck, material, len, 3, out);
    memcpy(noise->secrets->ck, out[0], NOISE_HASH_BYTES);
    mix_hash(noise, out[1], NOISE_HASH_BYTES);
    set_k(noise, out[2]);
    sodium_memzero(out, sizeof out);
}

/* EncryptAndHash; `out` has len + (has_k ? 16 : 0) bytes. Returns that size. */
static size_t encrypt_and_hash(struct noise *noise, const uint8_t *in, size_t len, uint8_t *out)
{
    size_t out_len = len;
    if (noise->has_k) {
        uint8_t nonce[AEAD_NONCE_BYTES];
        noise_nonce(noise->algorithm, noise->n++, nonce);
        aead_seal_once(noise->algorithm, noise->secrets->k, nonce, noise->h, sizeof noise->h, in, len, out);
        out_len += AEAD_TAG_BYTES;
    } else if (len > 0) {
        memcpy(out, in, len);
    }
    mix_hash(noise, out, out_len);
    return out_len;
}

/* DecryptAndHash of `len` bytes. */
static bool decrypt_and_hash(struct noise *noise, const uint8_t *in, size_t len, uint8_t *out)
{
    uint8_t before[NOISE_HASH_BYTES];
    memcpy(before, noise->h, sizeof before);
    mix_hash(noise, in, len); /* first, since `out` may be `in` */
    if (!noise->has_k) {
        if (len > 0)
            memmove(out, in, len);
        return true;
    }
    uint8_t nonce[AEAD_NONCE_BYTES];
    noise_nonce(noise->algorithm, noise->n++, nonce);
    return aead_open_once(noise->algorithm, noise->secrets->k, nonce, before, sizeof before, in, len, out);
}

/* MixKey(DH(secret, point)). */
static bool mix_dh(struct noise *noise, const uint8_t *secret, const uint8_t *point)
{
    uint8_t shared[NOISE_DH_BYTES];
    bool ok = x25519_shared(secret, point, shared);
    if (ok)
        mix_key(noise, shared, sizeof shared);
    sodium_memzero(shared, sizeof shared);
    return ok;
}

/* The tokens that do not carry bytes, from either side. */
static bool mix_token(struct noise *noise, enum noise_token token)
{
    const struct noise_secrets *secret = noise->secrets;
    switch (token) {
    case NOISE_EE:
        return mix_dh(noise, secret->e, noise->re);
    case NOISE_ES:
        return noise->initiator ? mix_dh(noise, secret->e, noise->rs) : mix_dh(noise, secret->s, noise->re);
    case NOISE_SE:
        return noise->initiator ? mix_dh(noise, secret->s, noise->re) : mix_dh(noise, secret->e, noise->rs);
    case NOISE_PSK:
        mix_key_and_hash(noise, secret->psk, sizeof secret->psk);
        return true;
    case NOISE_END:
    case NOISE_E:
    case NOISE_S:
        break;
    }
    assert(false);
    return false;
}

void noise_init(struct noise *noise, const struct noise_pattern *pattern, enum aead_algorithm algorithm, bool initiator,
                const uint8_t *prologue, size_t prologue_len, const uint8_t s_public[static NOISE_DH_BYTES],
                struct noise_secrets *secrets)
{
    *noise = (struct noise){.pattern = pattern, .algorithm = algorithm, .initiator = initiator, .secrets = secrets};
    memcpy(noise->s_public, s_public, NOISE_DH_BYTES);
    char name[64];
    int len = snprintf(name, sizeof name, "Noise_%s_25519_%s_SHA256", pattern->name,
                       algorithm == AEAD_AES256GCM ? "AESGCM" : "ChaChaPoly");
    assert(len > 0 && (size_t)len < sizeof name);
    /* A name of up to 32 bytes is the first hash itself, padded with zeros; a longer one is hashed. */
    if (len <= NOISE_HASH_BYTES)
        memcpy(noise->h, name, (size_t)len);
    else
        hash2((const uint8_t *)name, (size_t)len, NULL, 0, noise->h);
    memcpy(secrets->ck, noise->h, NOISE_HASH_BYTES);
    mix_hash(noise, prologue, prologue_len);
}

size_t noise_message_size(const struct noise *noise, size_t payload_len)
{
    size_t size = payload_len;
    bool has_k = noise->has_k;
    for (const uint8_t *token = noise->pattern->messages[noise->message]; *token != NOISE_END; token++) {
        if (*token == NOISE_E) {
            size += NOISE_DH_BYTES;
            has_k = has_k || noise->pattern->psk;
        } else if (*token == NOISE_S) {
            size += NOISE_DH_BYTES + (has_k ? (size_t)AEAD_TAG_BYTES : 0);
        } else {
            has_k = true;
        }
    }
    return size + (has_k ? (size_t)AEAD_TAG_BYTES : 0);
}

int noise_write(struct noise *noise, const uint8_t *payload, size_t payload_len, uint8_t *out)
{
    assert(!noise_finished(noise) && (noise->message % 2 == 0) == noise->initiator);
    for (const uint8_t *token = noise->pattern->messages[noise->message]; *token != NOISE_END; token++) {
        switch ((enum noise_token) * token) {
        case NOISE_E:
            if (noise->fixed_e)
                x25519_public(noise->secrets->e, noise->e_public);
            else
                x25519_keypair(noise->secrets->e, noise->e_public);
            memcpy(out, noise->e_public, NOISE_DH_BYTES);
            out += NOISE_DH_BYTES;
            mix_hash(noise, noise->e_public, NOISE_DH_BYTES);
            if (noise->pattern->psk)
                mix_key(noise, noise->e_public, NOISE_DH_BYTES);
            break;
        case NOISE_S:
            out += encrypt_and_hash(noise, noise->s_public, NOISE_DH_BYTES, out);
            break;
        default:
            if (!mix_token(noise, (enum noise_token) * token))
                return -1;
        }
    }
    (void)encrypt_and_hash(noise, payload, payload_len, out);
    noise->message++;
    return 0;
}

int noise_read(struct noise *noise, const uint8_t *in, size_t len, uint8_t *ret_payload, size_t payload_len)
{
    assert(!noise_finished(noise) && (noise->message % 2 == 1) == noise->initiator);
    if (len != noise_message_size(noise, payload_len))
        return -1;
    const uint8_t *end = in + len;
    for (const uint8_t *token = noise->pattern->messages[noise->message]; *token != NOISE_END; token++) {
        switch ((enum noise_token) * token) {
        case NOISE_E:
            memcpy(noise->re, in, NOISE_DH_BYTES);
            in += NOISE_DH_BYTES;
            mix_hash(noise, noise->re, NOISE_DH_BYTES);
            if (noise->pattern->psk)
                mix_key(noise, noise->re, NOISE_DH_BYTES);
            break;
        case NOISE_S: {
            size_t size = NOISE_DH_BYTES + (noise->has_k ? (size_t)AEAD_TAG_BYTES : 0);
            if (!decrypt_and_hash(noise, in, size, noise->rs) || !key_is_canonical(noise->rs))
                return -1;
            in += size;
            break;
        }
        default:
            if (!mix_token(noise, (enum noise_token) * token))
                return -1;
        }
    }
    if (!decrypt_and_hash(noise, in, (size_t)(end - in), ret_payload))
        return -1;
    noise->message++;
    return 0;
}

bool noise_finished(const struct noise *noise)
{
    return noise->message == NOISE_MESSAGES;
}

void noise_split(const struct noise *noise, uint8_t ret_initiator[static AEAD_KEY_BYTES],
                 uint8_t ret_responder[static AEAD_KEY_BYTES])
{
    assert(noise_finished(noise));
    uint8_t out[2][NOISE_HASH_BYTES];
    hkdf(noise->secrets->ck, NULL, 0, 2, out);
    memcpy(ret_initiator, out[0], AEAD_KEY_BYTES);
    memcpy(ret_responder, out[1], AEAD_KEY_BYTES);
    sodium_memzero(out, sizeof out);
}
