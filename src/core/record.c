/* SPDX-License-Identifier: MIT */
#include "core/record.h"

#include <assert.h>
#include <string.h>

#include "core/bytes.h"
#include "core/classic.h"
#include "core/noise.h"

/* Replaces the key before record n, n > 0, n mod 2^20 = 0 (section 3, Rekey). Called once for each n: where it is used. */
static void rekey_if_due(struct record_direction *d, struct aead_cache *cache)
{
    if (d->n == 0 || d->n % RECORD_REKEY_EVERY != 0)
        return;
    enum aead_algorithm algorithm = (enum aead_algorithm)d->key.algorithm;
    aead_key_forget(&d->key, cache);
    noise_rekey(algorithm, d->key_bytes);
    aead_key_init(&d->key, cache, algorithm, d->key_bytes);
}

enum record_verdict record_judge(struct record_direction *d, const uint8_t *head, size_t len, uint32_t max,
                                 size_t *ret_len)
{
    if (len < RECORD_LENGTH_BYTES)
        return RECORD_MORE;
    uint32_t n = bytes_get_u32(head);
    if (d->is_classic && n == 0)
        return RECORD_END;
    if (n < (d->is_classic ? (uint32_t)RECORD_CLASSIC_MIN : (uint32_t)RECORD_MIN) || n > max)
        return RECORD_BAD_LENGTH;
    if (len < RECORD_HEAD_BYTES)
        return RECORD_MORE;
    if (!d->is_classic) {
        uint8_t expected[AEAD_NONCE_BYTES];
        noise_nonce((enum aead_algorithm)d->key.algorithm, d->n, expected);
        if (memcmp(head + RECORD_LENGTH_BYTES, expected, sizeof expected) != 0)
            return RECORD_BAD_NONCE;
    }
    *ret_len = RECORD_HEAD_BYTES + (size_t)n;
    return RECORD_OK;
}

bool record_open(struct record_direction *d, struct aead_cache *cache, uint8_t *record, size_t record_len)
{
    if (!d->is_classic)
        rekey_if_due(d, cache);
    uint8_t *body = record + RECORD_HEAD_BYTES;
    if (!aead_open(&d->key, cache, record + RECORD_LENGTH_BYTES, body, record_len - RECORD_HEAD_BYTES, body))
        return false;
    d->n++;
    return true;
}

void record_seal(struct record_direction *d, struct aead_cache *cache, uint8_t *record, size_t len)
{
    assert(len + AEAD_TAG_BYTES <= RECORD_MAX);
    uint8_t *nonce = record + RECORD_LENGTH_BYTES, *body = record + RECORD_HEAD_BYTES;
    bytes_put_u32(record, (uint32_t)(len + AEAD_TAG_BYTES));
    if (d->is_classic) {
        memcpy(nonce, d->classic, AEAD_NONCE_BYTES);
        classic_count_up(d->classic);
    } else {
        rekey_if_due(d, cache);
        noise_nonce((enum aead_algorithm)d->key.algorithm, d->n, nonce);
    }
    aead_seal(&d->key, cache, nonce, body, len, body);
    d->n++;
}
