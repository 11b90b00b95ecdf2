/* SPDX-License-Identifier: MIT */
#include <etcp/etcp.h>
#include <sodium.h>

#include "check.h"
#include "core/aead.h"
#include "core/aead_aes.h"

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
        KEYS = 600,
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

/* Records of any length, whichever provider they are for, from one key and from two in turn. */
static void lengths(enum aead_algorithm algorithm)
{
    static const size_t sizes[] = {0, 1, 15, 16, 17, 511, 512, 513, 1024, 4096, 16379, 65519};
    static uint8_t text[65519], want[sizeof(text) + AEAD_TAG_BYTES], got[sizeof(want)], zeros[sizeof(text)];
    uint8_t bytes[2][AEAD_KEY_BYTES] = {{1}, {2}}, nonce[AEAD_NONCE_BYTES] = {0};
    struct aead_cache *cache = aead_cache_new();
    struct aead_key keys[2];

    CHECK(cache != NULL);
    memset(text, 'x', sizeof(text));
    for (int k = 0; k < 2; k++) {
        aead_key_init(&keys[k], cache, algorithm, bytes[k]);
    }
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]) * 4; i++) {
        size_t len = sizes[i / 4], sealed_len = len + AEAD_TAG_BYTES;
        int k = i % 4 < 2 ? 0 : (int)(i % 2);

        nonce[11]++;
        aead_seal_once(algorithm, bytes[k], nonce, NULL, 0, text, len, want);
        memcpy(got, text, len);
        aead_seal(&keys[k], cache, nonce, got, len, got);
        CHECK_MEM(got, want, sealed_len);
        CHECK(aead_open(&keys[k], cache, nonce, got, sealed_len, got));
        CHECK_MEM(got, text, len);
        aead_cache_rest(cache);
        for (int flip = 0; flip < 3; flip++) {
            size_t at = flip == 0 ? 0 : flip == 1 ? sealed_len - 1 : sealed_len / 2;

            memcpy(got, want, sealed_len);
            got[at] ^= 0x80;
            CHECK(!aead_open(&keys[k], cache, nonce, got, sealed_len, got));
            CHECK(len < 32 || memcmp(got, text, 16) != 0);
            CHECK(len < 512 || memcmp(got, zeros, len) == 0); /* nothing of the plaintext before the tag holds */
        }
        CHECK(!aead_open(&keys[1 - k], cache, nonce, want, sealed_len, got));
    }
    aead_cache_free(cache);
}

static void aead_providers_agree_at_every_length(void)
{
    with_each(lengths);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define OTHER_HEAP true
#elif defined(__has_feature)
#define OTHER_HEAP (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define OTHER_HEAP false
#endif

/* Whether 32 bytes are somewhere in the heap. */
static bool in_heap(const uint8_t bytes[static AEAD_KEY_BYTES])
{
    char line[256];
    bool heap = false, found = false;
    FILE *maps = fopen("/proc/self/maps", "r");

    CHECK(maps != NULL);
    while (fgets(line, sizeof(line), maps) != NULL) {
        unsigned long from = 0, to = 0;

        if (strstr(line, "[heap]") != NULL && sscanf(line, "%lx-%lx rw", &from, &to) == 2) {
            heap = true;
            found = found || memmem((const void *)from, to - from, bytes, AEAD_KEY_BYTES) != NULL;
        }
    }
    (void)fclose(maps);
    CHECK(heap || OTHER_HEAP);
    return found;
}

/* libcrypto works on the heap: nothing of a key may stay there. (A sanitizer has a heap of its own, by another name.) */
static void rest_wipes(enum aead_algorithm algorithm)
{
    enum etcp_suite suite = algorithm == AEAD_AES256GCM ? ETCP_SUITE_AES256GCM : ETCP_SUITE_CHACHA20POLY1305;
    bool libcrypto = strncmp(etcp_bulk_provider(suite), "libcrypto ", 10) == 0;
    static uint8_t text[4096 + AEAD_TAG_BYTES];
    uint8_t bytes[AEAD_KEY_BYTES], nonce[AEAD_NONCE_BYTES] = {0};
    struct aead_cache *cache = aead_cache_new();
    struct aead_key key;

    CHECK(cache != NULL);
    randombytes_buf(bytes, sizeof(bytes));
    aead_key_init(&key, cache, algorithm, bytes);
    aead_seal(&key, cache, nonce, text, sizeof(text) - AEAD_TAG_BYTES, text);
    CHECK(in_heap(bytes) == libcrypto || OTHER_HEAP);
    CHECK(aead_open(&key, cache, nonce, text, sizeof(text), text));
    aead_cache_rest(cache);
    CHECK(!in_heap(bytes));
    aead_cache_free(cache);
}

static void aead_rest_wipes_the_key(void)
{
    with_each(rest_wipes);
}

/* Each byte of `size` bytes at `data` is `value`. */
static bool all(const uint8_t *data, size_t size, uint8_t value)
{
    size_t same = 0;

    while (same < size && data[same] == value) {
        same++;
    }
    return same == size;
}

/* All that a provider reads and writes ends where a page ends that nobody may touch: its assembler is nothing that a
 * sanitizer sees. */
static void check_edges(const struct aead_aes *aes, size_t len)
{
    enum {
        BEFORE = 64,
    };
    uint8_t key[AEAD_KEY_BYTES], nonce[AEAD_NONCE_BYTES], *want = malloc(len + AEAD_TAG_BYTES);
    union aead_aes_key *expanded = sodium_malloc(sizeof(*expanded));
    uint8_t *in = sodium_malloc(BEFORE + len), *out = sodium_malloc(BEFORE + len + AEAD_TAG_BYTES),
            *edge_nonce = sodium_malloc(sizeof(nonce)), *edge_key = sodium_malloc(sizeof(key));

    CHECK(want != NULL && expanded != NULL && in != NULL && out != NULL && edge_nonce != NULL && edge_key != NULL);
    randombytes_buf(key, sizeof(key));
    randombytes_buf(nonce, sizeof(nonce));
    randombytes_buf(in + BEFORE, len);
    memset(in, 0xa5, BEFORE);
    memset(out, 0xa5, BEFORE);
    memcpy(edge_key, key, sizeof(key));
    memcpy(edge_nonce, nonce, sizeof(nonce));
    CHECK_INT(sodium_mprotect_readonly(edge_key), 0);
    CHECK_INT(sodium_mprotect_readonly(edge_nonce), 0);
    CHECK_INT(sodium_mprotect_readonly(in), 0);
    aead_seal_once(AEAD_AES256GCM, key, nonce, NULL, 0, in + BEFORE, len, want);

    aes->expand(expanded, edge_key);
    CHECK_INT(sodium_mprotect_readonly(expanded), 0);
    aes->seal(expanded, edge_nonce, in + BEFORE, len, out + BEFORE);
    CHECK_MEM(out + BEFORE, want, len + AEAD_TAG_BYTES);
    CHECK(all(out, BEFORE, 0xa5));
    CHECK(aes->open(expanded, edge_nonce, out + BEFORE, len + AEAD_TAG_BYTES, out + BEFORE));
    CHECK_MEM(out + BEFORE, in + BEFORE, len);
    CHECK(all(out, BEFORE, 0xa5));

    /* Any other byte: refused, and nothing of the plaintext stays. */
    for (size_t at = 0; at < len + AEAD_TAG_BYTES; at += 1 + len / 8) {
        memcpy(out + BEFORE, want, len + AEAD_TAG_BYTES);
        out[BEFORE + at] ^= 0x10;
        CHECK(!aes->open(expanded, edge_nonce, out + BEFORE, len + AEAD_TAG_BYTES, out + BEFORE));
        CHECK(all(out + BEFORE, len, 0));
    }
    free(want);
    sodium_free(expanded);
    sodium_free(in);
    sodium_free(out);
    sodium_free(edge_nonce);
    sodium_free(edge_key);
}

static void each_aes_stays_within_its_buffers(void)
{
    static const size_t sizes[] = {511, 512, 513, 1023, 1024, 4095, 4096, 16367, 16384, 65519};
    const struct aead_aes *const providers[] = {&aead_aes_sodium, aead_aes_ipsecmb()};

    if (!aead_available(AEAD_AES256GCM)) {
        (void)printf("skipped: this processor has no AES\n");
        return;
    }
    for (size_t i = 0; i < CHECK_COUNT(providers) && providers[i] != NULL; i++) {
        for (size_t len = 0; len <= 290; len++) {
            check_edges(providers[i], len);
        }
        for (size_t j = 0; j < CHECK_COUNT(sizes); j++) {
            check_edges(providers[i], sizes[j]);
        }
    }
}

/* libipsec-mb does AES wherever it is said to, and not silently somebody slower; and only where the system says that the
 * processor's registers may be used. */
static void aes_is_the_fastest_that_build_and_processor_have(void)
{
    static const char *const needed[] = {" avx512f",  " avx512dq", " avx512cd",  " avx512bw",
                                         " avx512vl", " vaes",     " vpclmulqdq"};
    bool wanted = ETCP_TEST_IPSEC_MB;
    char *line = NULL;
    size_t size = 0;
    FILE *cpuinfo = fopen("/proc/cpuinfo", "r");

    CHECK(cpuinfo != NULL);
    while (getline(&line, &size, cpuinfo) > 0 && strncmp(line, "flags", 5) != 0) {
    }
    (void)fclose(cpuinfo);
    for (size_t i = 0; i < CHECK_COUNT(needed); i++) {
        wanted = wanted && strstr(line, needed[i]) != NULL;
    }
    free(line);
    CHECK_INT(aead_aes_ipsecmb() != NULL, wanted);
    CHECK_INT(strncmp(etcp_bulk_provider(ETCP_SUITE_AES256GCM), "libipsec-mb ", 12) == 0, wanted);
    CHECK_INT(strncmp(etcp_bulk_provider(ETCP_SUITE_CHACHA20POLY1305), "libipsec-mb ", 12) == 0, false);
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
    CHECK_CASE(aead_providers_agree_at_every_length),
    CHECK_CASE(aead_rest_wipes_the_key),
    CHECK_CASE(each_aes_stays_within_its_buffers),
    CHECK_CASE(aes_is_the_fastest_that_build_and_processor_have),
    CHECK_CASE(aead_cache_free_takes_null),
    CHECK_CASE(aead_seals_nothing_at_all),
    CHECK_CASE(aead_serial_numbers_do_not_come_round),
};

int main(int argc, char **argv)
{
    CHECK_INT(etcp_init(), 0);
    return check_run(cases, CHECK_COUNT(cases), argc, argv);
}
