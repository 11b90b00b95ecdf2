/* SPDX-License-Identifier: MIT
 *
 * AES-256-GCM with a key that was expanded before, by whichever library is the fastest at it on this processor: libsodium
 * on all that have AES instructions; libipsec-mb, where the build has it, on those with VAES, VPCLMULQDQ and AVX-512, which
 * work on four blocks at once. It takes a third of libsodium's time for a short record, and for a long one less than half of
 * that of Debian 12's libcrypto, which has no code for them.
 *
 * Expanded keys lie where the caller puts them, that is in secret memory; nothing of a key or a text is kept anywhere else. */
#ifndef CORE_AEAD_AES_H
#define CORE_AEAD_AES_H

#include <sodium.h>

#include "core/aead.h"

union aead_aes_key {
    crypto_aead_aes256gcm_state sodium;
    uint8_t bytes[1280]; /* of libipsec-mb 2.0, which likes them aligned to 64; 1.3 takes 1,008 */
};

struct aead_aes {
    const char *name; /* "libipsec-mb 1.3.0" */
    bool bulk;        /* also the fastest there is for long records */
    void (*expand)(union aead_aes_key *expanded, const uint8_t key[static AEAD_KEY_BYTES]);
    /* As aead_seal() and aead_open() in aead.h; open() gets at least a tag. */
    void (*seal)(const union aead_aes_key *expanded, const uint8_t nonce[static AEAD_NONCE_BYTES], const uint8_t *in,
                 size_t len, uint8_t *out);
    bool (*open)(const union aead_aes_key *expanded, const uint8_t nonce[static AEAD_NONCE_BYTES], const uint8_t *in,
                 size_t len, uint8_t *out);
};

/* libsodium's; static. */
extern const struct aead_aes aead_aes_sodium;

/* libipsec-mb's, or NULL if the build has none or this processor is not one for it; static. The first call tries the
 * library out, which takes some milliseconds. From any thread. */
const struct aead_aes *aead_aes_ipsecmb(void);

#endif
