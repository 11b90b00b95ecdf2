/* SPDX-License-Identifier: MIT
 *
 * Whatever does X25519 does it as libsodium does, for the keys that peers may send as well. */
#include <etcp/conn.h>
#include <sodium.h>
#include <string.h>

#include "check.h"
#include "core/x25519.h"

enum { KEYS = 200 };

static void from_hex(const char *hex, uint8_t ret_bytes[static X25519_BYTES])
{
    size_t len = 0;

    CHECK_INT(sodium_hex2bin(ret_bytes, X25519_BYTES, hex, strlen(hex), NULL, &len, NULL), 0);
    CHECK_INT(len, X25519_BYTES);
}

static void check_same(const uint8_t *secret, const uint8_t *point)
{
    uint8_t want[X25519_BYTES] = {0}, got[X25519_BYTES];
    bool ok = crypto_scalarmult(want, secret, point) == 0;

    CHECK_INT(x25519_shared(secret, point, got), ok);
    if (ok) {
        CHECK_MEM(got, want, sizeof(want));
    }
    CHECK_INT(crypto_scalarmult_base(want, secret), 0);
    x25519_public(secret, got);
    CHECK_MEM(got, want, sizeof(want));
}

/* RFC 7748, section 5.2. */
static void x25519_known_answers(void)
{
    static const struct {
        const char *secret, *point, *shared;
    } known[] = {
        {"a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
         "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
         "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"},
        {"4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d", /* with a bit that does not count */
         "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
         "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957"},
    };
    uint8_t secret[X25519_BYTES], point[X25519_BYTES], want[X25519_BYTES], got[X25519_BYTES];

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        from_hex(known[i].secret, secret);
        from_hex(known[i].point, point);
        from_hex(known[i].shared, want);
        CHECK(x25519_shared(secret, point, got));
        CHECK_MEM(got, want, sizeof(want));
    }
}

static void x25519_random_keys(void)
{
    uint8_t secret[X25519_BYTES], point[X25519_BYTES];

    for (int i = 0; i < KEYS; i++) {
        randombytes_buf(secret, sizeof(secret));
        randombytes_buf(point,
                        sizeof(point)); /* half of them on the curve's twist, half with the bit that does not count */
        check_same(secret, point);
    }
}

/* Scalars and coordinates at the ends of their ranges: no public key is wrong, many are not in their one spelling. */
static void x25519_extreme_keys(void)
{
    uint8_t secret[X25519_BYTES], point[X25519_BYTES];

    for (int fill = 0; fill < 256; fill += 51) { /* 0 to 255 */
        memset(secret, fill, sizeof(secret));
        for (int last = 0; last < 256; last++) {
            memset(point, 0xff, sizeof(point));
            point[0] = (uint8_t)last;
            check_same(secret, point);
            point[sizeof(point) - 1] = 0x7f; /* from 2^255 - 256 to 2^255 - 1, with the field's order among them */
            check_same(secret, point);
        }
        memset(point, 0, sizeof(point));
        point[0] = 9;
        check_same(secret, point);
    }
}

/* The points of small order, in every spelling: what is shared is zero, and that is told. */
static void x25519_small_order(void)
{
    static const char *const points[] = {
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    };
    static const uint8_t zeros[X25519_BYTES];
    uint8_t secret[X25519_BYTES], point[X25519_BYTES], shared[X25519_BYTES];

    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        randombytes_buf(secret, sizeof(secret));
        from_hex(points[i], point);
        for (int bit = 0; bit < 2; bit++) {
            memset(shared, 0xff, sizeof(shared));
            point[sizeof(point) - 1] ^= (uint8_t)(bit << 7);
            CHECK(!x25519_shared(secret, point, shared));
            CHECK_MEM(shared, zeros, sizeof(zeros));
        }
    }
}

static void x25519_new_keys(void)
{
    uint8_t secrets[2][X25519_BYTES], public_key[X25519_BYTES], want[X25519_BYTES];

    for (int i = 0; i < 2; i++) {
        x25519_keypair(secrets[i], public_key);
        CHECK_INT(crypto_scalarmult_base(want, secrets[i]), 0);
        CHECK_MEM(public_key, want, sizeof(want));
    }
    CHECK(memcmp(secrets[0], secrets[1], X25519_BYTES) != 0);
}

static void x25519_provider(void)
{
    CHECK_STR(etcp_x25519_provider(), ETCP_TEST_LIB25519 ? "lib25519" : "libsodium");
}

static const struct check_case cases[] = {
    CHECK_CASE(x25519_known_answers), CHECK_CASE(x25519_random_keys), CHECK_CASE(x25519_extreme_keys),
    CHECK_CASE(x25519_small_order),   CHECK_CASE(x25519_new_keys),    CHECK_CASE(x25519_provider),
};

CHECK_MAIN(cases)
