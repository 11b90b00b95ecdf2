/* SPDX-License-Identifier: MIT */
#include <etcp/etcp.h>

#include "check.h"
#include "core/aead.h"

static const enum aead_algorithm algorithms[] = {AEAD_AES256GCM, AEAD_CHACHA20POLY1305};

/* Runs `test` with each algorithm that is there. */
static void with_each(void (*test)(enum aead_algorithm algorithm))
{
    for (size_t i = 0; i < CHECK_COUNT(algorithms); i++) {
        if (aead_available(algorithms[i])) {
            test(algorithms[i]);
        } else {
            (void)printf("skipped: algorithm %d\n", (int)algorithms[i]);
        }
    }
}

static void any_bit(enum aead_algorithm algorithm)
{
    uint8_t key[AEAD_KEY_BYTES] = {1}, nonce[AEAD_NONCE_BYTES] = {2}, ad[4] = {3};
    uint8_t plain[20] = "twenty bytes of text", sealed[36], copy[36], out[36], zeros[20] = {0};

    aead_seal_once(algorithm, key, nonce, ad, sizeof(ad), plain, sizeof(plain), sealed);
    CHECK(aead_open_once(algorithm, key, nonce, ad, sizeof(ad), sealed, sizeof(sealed), out));
    CHECK_MEM(out, plain, sizeof(plain));
    for (size_t bit = 0; bit < 8 * sizeof(sealed); bit++) {
        memcpy(copy, sealed, sizeof(sealed));
        copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
        memset(out, 0, sizeof(out));
        CHECK(!aead_open_once(algorithm, key, nonce, ad, sizeof(ad), copy, sizeof(copy), out));
        /* Nothing of the plaintext before the tag holds. */
        CHECK_MEM(out, zeros, sizeof(zeros));
    }
    for (size_t bit = 0; bit < 8 * AEAD_KEY_BYTES; bit++) {
        key[bit / 8] ^= (uint8_t)(1u << bit % 8);
        CHECK(!aead_open_once(algorithm, key, nonce, ad, sizeof(ad), sealed, sizeof(sealed), out));
        key[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    nonce[11] ^= 1;
    CHECK(!aead_open_once(algorithm, key, nonce, ad, sizeof(ad), sealed, sizeof(sealed), out));
    nonce[11] ^= 1;
    CHECK(!aead_open_once(algorithm, key, nonce, ad, sizeof(ad) - 1, sealed, sizeof(sealed), out));
    for (size_t len = 0; len < sizeof(sealed); len++) {
        CHECK(!aead_open_once(algorithm, key, nonce, ad, sizeof(ad), sealed, len, out));
    }
}

static void aead_rejects_any_other_bit(void)
{
    with_each(any_bit);
}

static void cached(enum aead_algorithm algorithm)
{
    enum {
        KEYS = 600, /* more than the cache holds */
    };
    static uint8_t bytes[KEYS][AEAD_KEY_BYTES];
    static struct aead_key keys[KEYS];
    struct aead_cache *cache = aead_cache_new();
    uint8_t nonce[AEAD_NONCE_BYTES] = {0}, want[26], got[26];

    CHECK(cache != NULL);
    for (int i = 0; i < KEYS; i++) {
        memset(bytes[i], i % 251, AEAD_KEY_BYTES);
        bytes[i][0] = (uint8_t)(i >> 8);
        aead_key_init(&keys[i], cache, algorithm, bytes[i]);
    }
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < KEYS; i++) {
            aead_seal_once(algorithm, bytes[i], nonce, NULL, 0, (const uint8_t *)"ten bytes!", 10, want);
            aead_seal(&keys[i], cache, nonce, (const uint8_t *)"ten bytes!", 10, got);
            CHECK_MEM(got, want, sizeof(want));
            CHECK(aead_open(&keys[i], cache, nonce, got, sizeof(got), got));
            CHECK_MEM(got, "ten bytes!", 10);
            CHECK(!aead_open(&keys[i], cache, nonce, want, AEAD_TAG_BYTES - 1, got));
        }
    }
    /* Replaced bytes under a new name: what was expanded of the old ones is not used. */
    for (int i = 0; i < KEYS; i++) {
        aead_key_forget(&keys[i], cache);
        bytes[i][31] ^= 0xff;
        aead_key_init(&keys[i], cache, algorithm, bytes[i]);
        aead_seal_once(algorithm, bytes[i], nonce, NULL, 0, (const uint8_t *)"ten bytes!", 10, want);
        aead_seal(&keys[i], cache, nonce, (const uint8_t *)"ten bytes!", 10, got);
        CHECK_MEM(got, want, sizeof(want));
    }
    aead_cache_free(cache);
}

static void aead_cache_gives_what_the_key_gives(void)
{
    with_each(cached);
}

static void aead_cache_free_takes_null(void)
{
    aead_cache_free(NULL);
}

static void empty(enum aead_algorithm algorithm)
{
    uint8_t key[AEAD_KEY_BYTES] = {1}, nonce[AEAD_NONCE_BYTES] = {2}, tag[AEAD_TAG_BYTES], out[AEAD_TAG_BYTES];

    aead_seal_once(algorithm, key, nonce, NULL, 0, NULL, 0, tag);
    CHECK(aead_open_once(algorithm, key, nonce, NULL, 0, tag, sizeof(tag), out));
    tag[0] ^= 1;
    CHECK(!aead_open_once(algorithm, key, nonce, NULL, 0, tag, sizeof(tag), out));
}

static void aead_seals_nothing_at_all(void)
{
    with_each(empty);
}

static void aead_serial_numbers_do_not_come_round(void)
{
    /* Two keys of one number would share what was expanded of one of them, and so key and nonces. A stranger takes two numbers
     * with each handshake: 2^32 are a matter of days. */
    struct aead_key key;

    CHECK(sizeof(key.serial) >= sizeof(uint64_t));
}

static const struct check_case cases[] = {
    CHECK_CASE(aead_rejects_any_other_bit),
    CHECK_CASE(aead_cache_gives_what_the_key_gives),
    CHECK_CASE(aead_cache_free_takes_null),
    CHECK_CASE(aead_seals_nothing_at_all),
    CHECK_CASE(aead_serial_numbers_do_not_come_round),
};

int main(int argc, char **argv)
{
    CHECK_INT(etcp_init(), 0);
    return check_run(cases, CHECK_COUNT(cases), argc, argv);
}
