/* SPDX-License-Identifier: MIT
 *
 * A build without libcrypto. */
#include "core/aead_bulk.h"

struct aead_bulk *aead_bulk_new(void)
{
    return NULL;
}

void aead_bulk_free(struct aead_bulk *bulk)
{
    (void)bulk;
}

void aead_bulk_seal(struct aead_bulk *bulk, const struct aead_key *key, const uint8_t nonce[static AEAD_NONCE_BYTES],
                    const uint8_t *in, size_t len, uint8_t *out)
{
    (void)bulk;
    aead_seal_once((enum aead_algorithm)key->algorithm, key->bytes, nonce, NULL, 0, in, len, out);
}

bool aead_bulk_open(struct aead_bulk *bulk, const struct aead_key *key, const uint8_t nonce[static AEAD_NONCE_BYTES],
                    const uint8_t *in, size_t len, uint8_t *out)
{
    (void)bulk;
    return aead_open_once((enum aead_algorithm)key->algorithm, key->bytes, nonce, NULL, 0, in, len, out);
}

void aead_bulk_rest(struct aead_bulk *bulk)
{
    (void)bulk;
}

const char *aead_bulk_name(void)
{
    return "libsodium";
}
