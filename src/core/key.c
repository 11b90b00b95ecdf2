/* SPDX-License-Identifier: MIT
 *
 * Keys as text (section 7), identities, pools. */
#include "core/key.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "core/x25519.h"

enum {
    PREFIX_LENGTH = 9,
    CHECKSUM_BYTES = 4,
    CODED_BYTES = ETCP_KEY_BYTES + CHECKSUM_BYTES, /* a multiple of 3: base64 without padding */
    CODED_LENGTH = ETCP_KEY_TEXT_LENGTH - PREFIX_LENGTH,
};

static const char *prefix_of(enum etcp_key_kind kind)
{
    switch (kind) {
    case ETCP_KEY_PUBLIC:
        return "etcp-pub-";
    case ETCP_KEY_SECRET:
        return "etcp-sec-";
    case ETCP_KEY_NETWORK:
        return "etcp-net-";
    }
    return "";
}

void etcp_key_generate(uint8_t ret_key[static ETCP_KEY_BYTES])
{
    randombytes_buf(ret_key, ETCP_KEY_BYTES);
}

void etcp_key_public(const uint8_t secret[static ETCP_KEY_BYTES], uint8_t ret_public[static ETCP_KEY_BYTES])
{
    x25519_public(secret, ret_public);
}

bool etcp_key_equal(const uint8_t a[static ETCP_KEY_BYTES], const uint8_t b[static ETCP_KEY_BYTES])
{
    return sodium_memcmp(a, b, ETCP_KEY_BYTES) == 0;
}

void etcp_wipe(void *memory, size_t len)
{
    sodium_memzero(memory, len);
}

bool key_is_canonical(const uint8_t key[static ETCP_KEY_BYTES])
{
    /* 2^255 - 19 is ed ff .. ff 7f, little-endian. Not secret: may stop early. */
    if (key[31] != 0x7f)
        return key[31] < 0x7f;
    for (int i = 30; i > 0; i--) {
        if (key[i] != 0xff)
            return true;
    }
    return key[0] < 0xed;
}

static void checksum(enum etcp_key_kind kind, const uint8_t *key, uint8_t ret_sum[static CHECKSUM_BYTES])
{
    crypto_generichash_state state;
    uint8_t hash[32];
    (void)crypto_generichash_init(&state, NULL, 0, sizeof hash);
    (void)crypto_generichash_update(&state, (const uint8_t *)prefix_of(kind), PREFIX_LENGTH);
    (void)crypto_generichash_update(&state, key, ETCP_KEY_BYTES);
    (void)crypto_generichash_final(&state, hash, sizeof hash);
    memcpy(ret_sum, hash, CHECKSUM_BYTES);
    sodium_memzero(&state, sizeof state);
    sodium_memzero(hash, sizeof hash);
}

int etcp_key_kind_of(const char *text, size_t len)
{
    for (int kind = ETCP_KEY_PUBLIC; kind <= ETCP_KEY_NETWORK; kind++) {
        if (len >= PREFIX_LENGTH && memcmp(text, prefix_of((enum etcp_key_kind)kind), PREFIX_LENGTH) == 0)
            return kind;
    }
    return 0;
}

/* Whether all characters are ASCII, in constant time: sodium_base642bin() takes those from 0x80 for '_'. */
static bool is_ascii(const char *text, size_t len)
{
    uint8_t all = 0;
    for (size_t i = 0; i < len; i++)
        all |= (uint8_t)text[i];
    return all < 0x80;
}

int etcp_key_parse(const char *text, size_t len, enum etcp_key_kind kind, uint8_t ret_key[static ETCP_KEY_BYTES])
{
    uint8_t coded[CODED_BYTES], sum[CHECKSUM_BYTES];
    int rc = 0;
    size_t coded_len = 0;
    const char *end = NULL;
    int found = etcp_key_kind_of(text, len);
    if (found == 0)
        rc = ETCP_EKEYPREFIX;
    else if (found != (int)kind)
        rc = ETCP_EKEYKIND;
    else if (len != ETCP_KEY_TEXT_LENGTH)
        rc = ETCP_EKEYLENGTH;
    else if (!is_ascii(text, len) ||
             sodium_base642bin(coded, sizeof coded, text + PREFIX_LENGTH, CODED_LENGTH, NULL, &coded_len, &end,
                               sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
             end != text + len || coded_len != sizeof coded)
        rc = ETCP_EKEYALPHABET;
    if (rc == 0) {
        checksum(kind, coded, sum);
        if (sodium_memcmp(sum, coded + ETCP_KEY_BYTES, CHECKSUM_BYTES) != 0)
            rc = ETCP_EKEYCHECKSUM;
        else if (kind == ETCP_KEY_PUBLIC && !key_is_canonical(coded))
            rc = ETCP_EKEYVALUE;
    }
    if (rc == 0)
        memcpy(ret_key, coded, ETCP_KEY_BYTES);
    else
        sodium_memzero(ret_key, ETCP_KEY_BYTES);
    sodium_memzero(coded, sizeof coded);
    return rc;
}

void etcp_key_format(enum etcp_key_kind kind, const uint8_t key[static ETCP_KEY_BYTES],
                     char ret_text[static ETCP_KEY_TEXT_BYTES])
{
    uint8_t coded[CODED_BYTES];
    memcpy(coded, key, ETCP_KEY_BYTES);
    checksum(kind, key, coded + ETCP_KEY_BYTES);
    memcpy(ret_text, prefix_of(kind), PREFIX_LENGTH);
    (void)sodium_bin2base64(ret_text + PREFIX_LENGTH, CODED_LENGTH + 1, coded, sizeof coded,
                            sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    sodium_memzero(coded, sizeof coded);
}

int etcp_identity_new(const uint8_t secret[static ETCP_KEY_BYTES], const uint8_t *network_key,
                      struct etcp_identity **ret_identity)
{
    struct etcp_identity *identity = sodium_malloc(sizeof *identity);
    if (!identity)
        return ETCP_ENOMEM;
    memset(identity, 0, sizeof *identity);
    memcpy(identity->secret, secret, ETCP_KEY_BYTES);
    etcp_key_public(secret, identity->public_key);
    if (network_key) {
        memcpy(identity->network_key, network_key, ETCP_KEY_BYTES);
        identity->has_network_key = true;
    }
    (void)sodium_mprotect_readonly(identity); /* hardening only: works without */
    *ret_identity = identity;
    return 0;
}

void etcp_identity_free(struct etcp_identity *identity)
{
    sodium_free(identity); /* wipes */
}

const uint8_t *etcp_identity_public(const struct etcp_identity *identity)
{
    return identity->public_key;
}

bool etcp_identity_has_network_key(const struct etcp_identity *identity)
{
    return identity->has_network_key;
}

int etcp_pool_new(struct etcp_pool **ret_pool)
{
    struct etcp_pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return ETCP_ENOMEM;
    pool->cache = aead_cache_new();
    if (!pool->cache) {
        free(pool);
        return ETCP_ENOMEM;
    }
    secret_arena_init(&pool->handshakes, SECRET_LARGE_BYTES);
    secret_arena_init(&pool->sessions, SECRET_SMALL_BYTES);
    randombytes_buf(&pool->stream_factor, sizeof pool->stream_factor);
    *ret_pool = pool;
    return 0;
}

void etcp_pool_rest(struct etcp_pool *pool)
{
    aead_cache_rest(pool->cache);
}

void etcp_pool_free(struct etcp_pool *pool)
{
    if (!pool)
        return;
    secret_arena_done(&pool->handshakes);
    secret_arena_done(&pool->sessions);
    aead_cache_free(pool->cache);
    free(pool);
}
