/* SPDX-License-Identifier: MIT */
#include <sodium.h>
#include <string.h>

#include "check.h"
#include "core/sha256.h"

enum { LENGTHS = 300 };

static uint8_t text[LENGTHS];

static void fill(void)
{
    for (size_t i = 0; i < sizeof(text); i++) {
        text[i] = (uint8_t)(i * 7 + 3);
    }
}

/* FIPS 180-4's own examples, and nothing at all. */
static void sha256_known_answers(void)
{
    static const struct {
        const char *text, *digest;
    } known[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        struct sha256 hash;
        uint8_t digest[SHA256_BYTES];
        char hex[2 * SHA256_BYTES + 1];

        sha256_begin(&hash);
        sha256_add(&hash, (const uint8_t *)known[i].text, strlen(known[i].text));
        sha256_end(&hash, digest);
        CHECK_STR(sodium_bin2hex(hex, sizeof(hex), digest, sizeof(digest)), known[i].digest);
    }
}

/* Whichever library does it, libsodium's is the same: for each length, in two parts that end anywhere. */
static void sha256_in_parts(void)
{
    fill();
    for (size_t len = 0; len < LENGTHS; len++) {
        uint8_t want[SHA256_BYTES], digest[SHA256_BYTES];

        (void)crypto_hash_sha256(want, text, len);
        for (size_t first = 0; first <= len; first += 13) {
            struct sha256 hash;

            sha256_begin(&hash);
            sha256_add(&hash, first > 0 ? text : NULL, first);
            sha256_add(&hash, text + first, len - first);
            sha256_end(&hash, digest);
            CHECK_MEM(digest, want, sizeof(want));
        }
    }
}

/* A copy goes its own way. */
static void sha256_copies(void)
{
    struct sha256 hash, copy;
    uint8_t want[SHA256_BYTES], digest[SHA256_BYTES];

    fill();
    sha256_begin(&hash);
    sha256_add(&hash, text, 70);
    copy = hash;
    sha256_add(&copy, text + 70, 1);
    sha256_end(&copy, digest);
    (void)crypto_hash_sha256(want, text, 71);
    CHECK_MEM(digest, want, sizeof(want));
    sha256_end(&hash, digest);
    (void)crypto_hash_sha256(want, text, 70);
    CHECK_MEM(digest, want, sizeof(want));
}

static void hmac_is_libsodiums(void)
{
    uint8_t key[SHA256_BYTES];

    fill();
    for (size_t len = 0; len < LENGTHS; len += 3) {
        struct hmac hmac;
        uint8_t want[SHA256_BYTES], digest[SHA256_BYTES];

        for (size_t i = 0; i < sizeof(key); i++) {
            key[i] = (uint8_t)(len + 5 * i);
        }
        (void)crypto_auth_hmacsha256(want, text, len, key);
        hmac_begin(&hmac, key);
        for (size_t first = 0; first <= len; first += 31) { /* with one key again and again */
            hmac_of(&hmac, first > 0 ? text : NULL, first, text + first, len - first, digest);
            CHECK_MEM(digest, want, sizeof(want));
        }
    }
}

static void hmac_into_its_text(void)
{
    struct hmac hmac;
    uint8_t key[SHA256_BYTES] = {1}, want[SHA256_BYTES], in_place[SHA256_BYTES] = {2};

    (void)crypto_auth_hmacsha256(want, in_place, sizeof(in_place), key);
    hmac_begin(&hmac, key);
    hmac_of(&hmac, in_place, sizeof(in_place), NULL, 0, in_place);
    CHECK_MEM(in_place, want, sizeof(want));
}

static const struct check_case cases[] = {
    CHECK_CASE(sha256_known_answers), CHECK_CASE(sha256_in_parts),    CHECK_CASE(sha256_copies),
    CHECK_CASE(hmac_is_libsodiums),   CHECK_CASE(hmac_into_its_text),
};

CHECK_MAIN(cases)
