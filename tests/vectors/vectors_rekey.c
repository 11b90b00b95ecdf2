/* SPDX-License-Identifier: MIT
 *
 * Rekey (section 3): Noise Rekey() by itself, and the two records on either side of number 2^20, sealed and opened. */
#include <etcp/etcp.h>

#include "core/noise.h"
#include "core/record.h"
#include "vector.h"

static void check_record(struct record_direction *seal, struct record_direction *open, struct aead_cache *cache,
                         const struct vector_bytes *plaintext, const json_t *record)
{
    struct vector_bytes want = vector_hex(record, "bytes");
    uint8_t got[1024];
    size_t len = 0;

    CHECK_INT(want.len, plaintext->len + RECORD_OVERHEAD_BYTES);
    CHECK(want.len <= sizeof(got));
    CHECK_INT(seal->n, vector_number(record, "number"));
    memcpy(got + RECORD_HEAD_BYTES, plaintext->data, plaintext->len);
    record_seal(seal, cache, got, plaintext->len);
    CHECK_MEM(got, want.data, want.len);

    CHECK_INT(record_judge(open, want.data, want.len, RECORD_MAX, &len), RECORD_OK);
    CHECK_INT(len, want.len);
    CHECK(record_open(open, cache, want.data, want.len));
    CHECK_MEM(want.data + RECORD_HEAD_BYTES, plaintext->data, plaintext->len);
    free(want.data);
}

static void run(const json_t *vector)
{
    int aes = strcmp(vector_text(vector, "aead"), "AES-256-GCM") == 0;
    enum aead_algorithm algorithm = aes ? AEAD_AES256GCM : AEAD_CHACHA20POLY1305;
    struct vector_bytes plaintext = vector_hex(vector, "plaintext");
    struct aead_cache *cache = aead_cache_new();
    struct record_direction direction[2]; /* sealing, opening */
    uint8_t key[2][AEAD_KEY_BYTES], k[AEAD_KEY_BYTES], want[AEAD_KEY_BYTES];

    CHECK(cache != NULL);
    vector_fixed(vector, "key_before", k, sizeof(k));
    noise_rekey(algorithm, k);
    vector_fixed(vector, "key_after", want, sizeof(want));
    CHECK_MEM(k, want, sizeof(k));
    noise_rekey(algorithm, k);
    vector_fixed(vector, "key_after_second_rekey", want, sizeof(want));
    CHECK_MEM(k, want, sizeof(k));

    for (int i = 0; i < 2; i++) {
        vector_fixed(vector, "key_before", key[i], AEAD_KEY_BYTES);
        direction[i] = (struct record_direction){.n = RECORD_REKEY_EVERY - 1, .key_bytes = key[i]};
        aead_key_init(&direction[i].key, cache, algorithm, key[i]);
    }
    check_record(&direction[0], &direction[1], cache, &plaintext, json_object_get(vector, "record_before"));
    check_record(&direction[0], &direction[1], cache, &plaintext, json_object_get(vector, "record_after"));
    vector_fixed(vector, "key_after", want, sizeof(want));
    for (int i = 0; i < 2; i++) {
        CHECK_MEM(key[i], want, sizeof(want));
        /* The second time: what was kept of the first key is of no use any more. */
        direction[i].n = 2 * RECORD_REKEY_EVERY - 1;
    }
    for (int i = 0; i < 2; i++) {
        uint8_t record[64 + RECORD_OVERHEAD_BYTES] = {0};

        record_seal(&direction[0], cache, record, 64);
        CHECK(record_open(&direction[1], cache, record, sizeof(record)));
    }
    vector_fixed(vector, "key_after_second_rekey", want, sizeof(want));
    CHECK_MEM(key[0], want, sizeof(want));
    CHECK_MEM(key[1], want, sizeof(want));
    aead_cache_free(cache);
    free(plaintext.data);
}

int main(void)
{
    json_t *root = vector_load("etcp-sessions.json"), *vector;
    size_t i;

    CHECK_INT(etcp_init(), 0);
    json_array_foreach(vector_array(root, "rekey"), i, vector)
    {
        const char *aead = vector_text(vector, "aead");

        if (strcmp(aead, "AES-256-GCM") == 0 && !aead_available(AEAD_AES256GCM)) {
            (void)printf("skipped: %s, since this processor has no AES\n", aead);
            continue;
        }
        (void)printf("rekey %zu, %s\n", i, aead);
        run(vector);
    }
    json_decref(root);
    return 0;
}
