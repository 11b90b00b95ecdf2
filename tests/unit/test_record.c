/* SPDX-License-Identifier: MIT */
#include <etcp/etcp.h>
#include <sodium.h>

#include "check.h"
#include "core/bytes.h"
#include "core/noise.h"
#include "core/record.h"

static struct aead_cache *cache;
static uint8_t key_bytes[2][AEAD_KEY_BYTES];
static struct record_direction sender, receiver;

static void begin(bool classic)
{
    aead_cache_free(cache);
    cache = aead_cache_new();
    CHECK(cache != NULL);
    for (int i = 0; i < 2; i++) {
        struct record_direction *d = i == 0 ? &sender : &receiver;

        memset(key_bytes[i], 7, AEAD_KEY_BYTES);
        *d = (struct record_direction){.key_bytes = key_bytes[i], .is_classic = classic};
        aead_key_init(&d->key, cache, AEAD_CHACHA20POLY1305, key_bytes[i]);
    }
}

/* The next record with `len` bytes in it. */
static size_t make(uint8_t *record, size_t len)
{
    memset(record + RECORD_HEAD_BYTES, 'x', len);
    record_seal(&sender, cache, record, len);
    return len + RECORD_OVERHEAD_BYTES;
}

static enum record_verdict judge(const uint8_t *head, size_t len)
{
    size_t size = 0;

    return record_judge(&receiver, head, len, RECORD_MAX, &size);
}

static void record_rejects_replayed_nonce(void)
{
    uint8_t record[64], copy[64];
    size_t len;

    begin(false);
    len = make(record, 8);
    memcpy(copy, record, len);
    CHECK_INT(judge(record, len), RECORD_OK);
    CHECK(record_open(&receiver, cache, record, len));
    CHECK_INT(judge(copy, len), RECORD_BAD_NONCE);
}

static void record_rejects_skipped_nonce(void)
{
    uint8_t record[64];

    begin(false);
    (void)make(record, 8);
    CHECK_INT(judge(record, make(record, 8)), RECORD_BAD_NONCE);
}

static void record_rejects_any_other_nonce(void)
{
    uint8_t record[64];
    size_t len;

    begin(false);
    len = make(record, 8);
    for (size_t bit = 0; bit < 96; bit++) {
        record[4 + bit / 8] ^= (uint8_t)(1u << bit % 8);
        CHECK_INT(judge(record, len), RECORD_BAD_NONCE);
        CHECK_INT(judge(record, RECORD_HEAD_BYTES), RECORD_BAD_NONCE);
        record[4 + bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    CHECK_INT(judge(record, len), RECORD_OK);
}

static void record_judges_the_length_with_four_bytes(void)
{
    static const uint32_t bad[] = {0, 1, 16, 20, 65536, 0x7fffffff, 0x80000000, 0xffffffff};
    uint8_t head[RECORD_HEAD_BYTES] = {0};

    begin(false);
    for (size_t i = 0; i < CHECK_COUNT(bad); i++) {
        bytes_put_u32(head, bad[i]);
        for (size_t len = 0; len < 4; len++) {
            CHECK_INT(judge(head, len), RECORD_MORE);
        }
        CHECK_INT(judge(head, 4), RECORD_BAD_LENGTH);
    }
    bytes_put_u32(head, 21);
    CHECK_INT(judge(head, 4), RECORD_MORE);
    CHECK_INT(judge(head, 15), RECORD_MORE);
    CHECK_INT(judge(head, 16), RECORD_OK);
    bytes_put_u32(head, 65535);
    CHECK_INT(judge(head, 16), RECORD_OK);
}

static void record_rejects_any_other_bit_of_its_body(void)
{
    uint8_t record[64], copy[64];
    size_t len;

    begin(false);
    len = make(record, 8);
    for (size_t bit = 8 * RECORD_HEAD_BYTES; bit < 8 * len; bit++) {
        memcpy(copy, record, len);
        copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
        CHECK(!record_open(&receiver, cache, copy, len));
        CHECK_INT(receiver.n, 0);
    }
    CHECK(record_open(&receiver, cache, record, len));
}

static void record_rejects_a_cut_body(void)
{
    uint8_t record[64], copy[64];
    size_t len;

    begin(false);
    len = make(record, 8);
    for (size_t cut = RECORD_HEAD_BYTES; cut < len; cut++) {
        memcpy(copy, record, len);
        CHECK(!record_open(&receiver, cache, copy, cut));
    }
}

static void record_rekeys_once_at_each_multiple(void)
{
    uint8_t record[64], before[AEAD_KEY_BYTES], want[AEAD_KEY_BYTES];

    begin(false);
    sender.n = receiver.n = RECORD_REKEY_EVERY - 1;
    memcpy(before, key_bytes[0], sizeof(before));
    CHECK(record_open(&receiver, cache, record, make(record, 8)));
    CHECK_MEM(key_bytes[0], before, sizeof(before));
    memcpy(want, before, sizeof(before));
    noise_rekey(AEAD_CHACHA20POLY1305, want);
    CHECK(record_open(&receiver, cache, record, make(record, 8)));
    CHECK_MEM(key_bytes[0], want, sizeof(want));
    CHECK_MEM(key_bytes[1], want, sizeof(want));
    CHECK(record_open(&receiver, cache, record, make(record, 8)));
    CHECK_MEM(key_bytes[0], want, sizeof(want));
    CHECK_INT(sender.n, RECORD_REKEY_EVERY + 2);
}

/* What was expanded of a key is replaced with it (section 5). */
static void record_rekey_wipes_what_was_expanded(void)
{
    crypto_aead_aes256gcm_state expanded;
    uint8_t record[64];

    if (!aead_available(AEAD_AES256GCM)) {
        (void)printf("skipped: this processor has no AES\n");
        return;
    }
    begin(false);
    aead_key_init(&sender.key, cache, AEAD_AES256GCM, key_bytes[0]);
    CHECK_INT(crypto_aead_aes256gcm_beforenm(&expanded, key_bytes[0]), 0);
    sender.n = RECORD_REKEY_EVERY - 1;
    (void)make(record, 8);
    CHECK(memmem(cache, AEAD_CACHE_BYTES, &expanded, 240) != NULL); /* its round keys */
    (void)make(record, 8);
    CHECK(memmem(cache, AEAD_CACHE_BYTES, &expanded, 240) == NULL);
    sodium_memzero(&expanded, sizeof(expanded));
}

static void record_number_zero_is_not_rekeyed(void)
{
    uint8_t record[64], before[AEAD_KEY_BYTES];

    begin(false);
    memcpy(before, key_bytes[0], sizeof(before));
    (void)make(record, 8);
    CHECK_MEM(key_bytes[0], before, sizeof(before));
}

static void record_largest_and_smallest(void)
{
    static const size_t sizes[] = {5, RECORD_MAX - AEAD_TAG_BYTES};
    uint8_t *record = malloc(RECORD_HEAD_BYTES + RECORD_MAX);

    CHECK(record != NULL);
    begin(false);
    for (size_t i = 0; i < CHECK_COUNT(sizes); i++) {
        size_t len = make(record, sizes[i]), size = 0;

        CHECK_INT(record_judge(&receiver, record, len, RECORD_MAX, &size), RECORD_OK);
        CHECK_INT(size, len);
        CHECK(record_open(&receiver, cache, record, len));
        CHECK_INT(record[RECORD_HEAD_BYTES + sizes[i] - 1], 'x');
    }
    free(record);
}

static void record_classic_takes_any_nonce_and_counts_up_modulo(void)
{
    static const uint8_t zeros[AEAD_NONCE_BYTES];
    uint8_t record[64];
    size_t len;

    begin(true);
    memset(sender.classic, 0xff, AEAD_NONCE_BYTES);
    len = make(record, 8);
    CHECK_INT(record[4], 0xff);
    CHECK_INT(record[15], 0xff);
    CHECK_MEM(sender.classic, zeros, AEAD_NONCE_BYTES);
    CHECK_INT(judge(record, len), RECORD_OK);
    CHECK(record_open(&receiver, cache, record, len));
    sender.classic[11] = 0xff;
    sender.classic[10] = 0xff;
    (void)make(record, 8);
    CHECK_INT(sender.classic[9], 1);
    CHECK_INT(sender.classic[10], 0);
    CHECK_INT(sender.classic[11], 0);
}

static void record_classic_lengths(void)
{
    uint8_t head[RECORD_HEAD_BYTES] = {0};
    size_t size = 0;

    begin(true);
    CHECK_INT(judge(head, 3), RECORD_MORE);
    CHECK_INT(judge(head, 4), RECORD_END);
    bytes_put_u32(head, 15);
    CHECK_INT(judge(head, 4), RECORD_BAD_LENGTH);
    bytes_put_u32(head, 16);
    CHECK_INT(judge(head, 16), RECORD_OK);
    bytes_put_u32(head, 101);
    CHECK_INT(record_judge(&receiver, head, 4, 100, &size), RECORD_BAD_LENGTH);
    bytes_put_u32(head, 100);
    CHECK_INT(record_judge(&receiver, head, 16, 100, &size), RECORD_OK);
}

static const struct check_case cases[] = {
    CHECK_CASE(record_rejects_replayed_nonce),
    CHECK_CASE(record_rejects_skipped_nonce),
    CHECK_CASE(record_rejects_any_other_nonce),
    CHECK_CASE(record_judges_the_length_with_four_bytes),
    CHECK_CASE(record_rejects_any_other_bit_of_its_body),
    CHECK_CASE(record_rejects_a_cut_body),
    CHECK_CASE(record_rekeys_once_at_each_multiple),
    CHECK_CASE(record_rekey_wipes_what_was_expanded),
    CHECK_CASE(record_number_zero_is_not_rekeyed),
    CHECK_CASE(record_largest_and_smallest),
    CHECK_CASE(record_classic_takes_any_nonce_and_counts_up_modulo),
    CHECK_CASE(record_classic_lengths),
};

int main(int argc, char **argv)
{
    int result;

    CHECK_INT(etcp_init(), 0);
    result = check_run(cases, CHECK_COUNT(cases), argc, argv);
    aead_cache_free(cache);
    return result;
}
