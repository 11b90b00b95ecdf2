/* SPDX-License-Identifier: MIT
 *
 * Project Wycheproof against what the protocol uses: the two AEADs as core/aead calls them, X25519 as core/x25519 and core/noise do.
 * Argument: x25519, aes256gcm or chacha20poly1305. */
#include <etcp/etcp.h>
#include <sodium.h>

#include "core/aead.h"
#include "core/aead_aes.h"
#include "core/aead_bulk.h"
#include "core/noise.h"
#include "core/x25519.h"
#include "vector.h"

typedef void (*run_test)(const json_t *test, enum aead_algorithm algorithm);

/* The same with an expanded key, in place; `aes` and `msg` may be NULL, that is for tags that must not match. */
static void check_aes(const struct aead_aes *aes, const uint8_t *key, const uint8_t *nonce, const uint8_t *sealed,
                      size_t sealed_len, const uint8_t *msg)
{
    union aead_aes_key *expanded = sodium_malloc(sizeof(*expanded)); /* aligned as in a cache */
    uint8_t *out = malloc(sealed_len);
    size_t len = sealed_len - AEAD_TAG_BYTES;

    CHECK(out != NULL && expanded != NULL);
    memcpy(out, sealed, sealed_len);
    if (aes != NULL) {
        aes->expand(expanded, key);
        CHECK_INT(aes->open(expanded, nonce, out, sealed_len, out), msg != NULL);
    }
    if (aes != NULL && msg != NULL) {
        CHECK_MEM(out, msg, len);
        aes->seal(expanded, nonce, out, len, out);
        CHECK_MEM(out, sealed, sealed_len);
    }
    free(out);
    sodium_free(expanded);
}

/* The same by libcrypto, in place, twice; `msg` as above. */
static void check_bulk(enum aead_algorithm algorithm, const uint8_t *key, const uint8_t *nonce, const uint8_t *sealed,
                       size_t sealed_len, const uint8_t *msg)
{
    struct aead_bulk *bulk = aead_bulk_new();
    struct aead_key named = {.bytes = key, .serial = 1, .algorithm = (uint8_t)algorithm};
    uint8_t *out = malloc(sealed_len);
    size_t len = sealed_len - AEAD_TAG_BYTES;

    CHECK(out != NULL);
    for (int i = 0; bulk != NULL && i < 2; i++) {
        memcpy(out, sealed, sealed_len);
        CHECK_INT(aead_bulk_open(bulk, &named, nonce, out, sealed_len, out), msg != NULL);
        if (msg != NULL) {
            CHECK_MEM(out, msg, len);
            aead_bulk_seal(bulk, &named, nonce, out, len, out);
            CHECK_MEM(out, sealed, sealed_len);
        }
        aead_bulk_rest(bulk);
    }
    free(out);
    aead_bulk_free(bulk);
}

static void run_aead(const json_t *test, enum aead_algorithm algorithm)
{
    int valid = strcmp(vector_text(test, "result"), "valid") == 0;
    uint8_t key[AEAD_KEY_BYTES], nonce[AEAD_NONCE_BYTES];
    struct vector_bytes ad = vector_hex(test, "aad"), msg = vector_hex(test, "msg"), ct = vector_hex(test, "ct"),
                        tag = vector_hex(test, "tag");
    uint8_t *sealed = malloc(ct.len + AEAD_TAG_BYTES), *out = malloc(ct.len + AEAD_TAG_BYTES);

    CHECK(sealed != NULL && out != NULL);
    CHECK_INT(tag.len, AEAD_TAG_BYTES);
    vector_fixed(test, "key", key, sizeof(key));
    vector_fixed(test, "iv", nonce, sizeof(nonce));
    memcpy(sealed, ct.data, ct.len);
    memcpy(sealed + ct.len, tag.data, tag.len);
    memset(out, 0x5a, ct.len + AEAD_TAG_BYTES);
    CHECK_INT(aead_open_once(algorithm, key, nonce, ad.data, ad.len, sealed, ct.len + AEAD_TAG_BYTES, out), valid);
    if (valid) {
        CHECK_INT(msg.len, ct.len);
        CHECK_MEM(out, msg.data, msg.len);
        aead_seal_once(algorithm, key, nonce, ad.data, ad.len, msg.data, msg.len, out);
        CHECK_MEM(out, sealed, ct.len + AEAD_TAG_BYTES);
    }
    if (ad.len == 0) {
        /* The same through the cache of expanded keys, in place, twice. */
        struct aead_cache *cache = aead_cache_new();
        struct aead_key cached;

        CHECK(cache != NULL);
        aead_key_init(&cached, cache, algorithm, key);
        for (int i = 0; i < 2; i++) {
            memcpy(out, sealed, ct.len + AEAD_TAG_BYTES);
            CHECK_INT(aead_open(&cached, cache, nonce, out, ct.len + AEAD_TAG_BYTES, out), valid);
            if (valid) {
                CHECK_MEM(out, msg.data, msg.len);
                aead_seal(&cached, cache, nonce, out, msg.len, out);
                CHECK_MEM(out, sealed, ct.len + AEAD_TAG_BYTES);
            } else if (msg.len > 4) {
                CHECK(memcmp(out, msg.data, msg.len) != 0);
            }
        }
        aead_cache_free(cache);
        check_bulk(algorithm, key, nonce, sealed, ct.len + AEAD_TAG_BYTES, valid ? msg.data : NULL);
        if (algorithm == AEAD_AES256GCM) {
            check_aes(&aead_aes_sodium, key, nonce, sealed, ct.len + AEAD_TAG_BYTES, valid ? msg.data : NULL);
            check_aes(aead_aes_ipsecmb(), key, nonce, sealed, ct.len + AEAD_TAG_BYTES, valid ? msg.data : NULL);
        }
    }
    free(ad.data);
    free(msg.data);
    free(ct.data);
    free(tag.data);
    free(sealed);
    free(out);
}

static void run_x25519(const json_t *test, enum aead_algorithm unused)
{
    static const uint8_t zeros[NOISE_DH_BYTES];
    uint8_t public_key[NOISE_DH_BYTES], private_key[NOISE_DH_BYTES], want[NOISE_DH_BYTES], got[NOISE_DH_BYTES];
    uint8_t s_public[NOISE_DH_BYTES], out[128];
    struct noise_secrets secrets = {0};
    struct noise noise;
    int is_zero;

    (void)unused;
    vector_fixed(test, "public", public_key, sizeof(public_key));
    vector_fixed(test, "private", private_key, sizeof(private_key));
    vector_fixed(test, "shared", want, sizeof(want));
    is_zero = memcmp(want, zeros, sizeof(zeros)) == 0;
    CHECK_INT(x25519_shared(private_key, public_key, got), !is_zero);
    CHECK_MEM(got, want, sizeof(want));

    /* A responder whose ephemeral key is the private one, and a peer that sends the public one: "ee" is this test. */
    memcpy(secrets.s, private_key, sizeof(private_key));
    memcpy(secrets.e, private_key, sizeof(private_key));
    etcp_key_public(private_key, s_public);
    noise_init(&noise, &noise_xx, AEAD_CHACHA20POLY1305, false, (const uint8_t *)"ETCP", 4, s_public, &secrets);
    noise.fixed_e = true;
    CHECK_INT(noise_read(&noise, public_key, sizeof(public_key), out, 0), 0);
    CHECK(noise_message_size(&noise, 0) <= sizeof(out));
    CHECK_INT(noise_write(&noise, NULL, 0, out), is_zero ? -1 : 0);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name, *file;
        run_test run;
        enum aead_algorithm algorithm;
    } groups[] = {
        {"x25519", "wycheproof-x25519.json", run_x25519, AEAD_CHACHA20POLY1305},
        {"aes256gcm", "wycheproof-aes256gcm.json", run_aead, AEAD_AES256GCM},
        {"chacha20poly1305", "wycheproof-chacha20poly1305.json", run_aead, AEAD_CHACHA20POLY1305},
    };
    size_t g = 0, i, j, ran = 0;
    json_t *root, *group, *test;

    while (g < CHECK_COUNT(groups) && (argc != 2 || strcmp(argv[1], groups[g].name) != 0)) {
        g++;
    }
    CHECK(g < CHECK_COUNT(groups));
    CHECK_INT(etcp_init(), 0);
    if (!aead_available(groups[g].algorithm)) {
        (void)printf("skipped: this processor has no AES\n");
        return CHECK_SKIPPED;
    }
    root = vector_load(groups[g].file);
    json_array_foreach(vector_array(root, "testGroups"), i, group)
    {
        json_array_foreach(vector_array(group, "tests"), j, test)
        {
            (void)printf("%lld %s\n", vector_number(test, "tcId"), vector_text(test, "comment"));
            groups[g].run(test, groups[g].algorithm);
            ran++;
        }
    }
    CHECK_INT(ran, vector_number(root, "numberOfTests"));
    json_decref(root);
    return 0;
}
