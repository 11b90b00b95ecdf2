/* SPDX-License-Identifier: MIT
 *
 * Seals and opens records under callgrind (see the script record_callgrind): ALGORITHM SIZE COUNT, and what is counted are
 * the instructions within record_seal() and record_open(). */
#include <sodium.h>

#include "check.h"
#include "core/record.h"

int main(int argc, char **argv)
{
    enum aead_algorithm algorithm;
    struct record_direction sender, receiver;
    struct aead_cache *cache;
    uint8_t key[2][AEAD_KEY_BYTES] = {{1}, {1}}, *record;
    size_t size, count;

    if (argc != 4) {
        (void)fprintf(stderr, "usage: record-callgrind aes256gcm|chacha20poly1305 SIZE COUNT\n");
        return 64;
    }
    CHECK(sodium_init() >= 0);
    algorithm = strcmp(argv[1], "aes256gcm") == 0 ? AEAD_AES256GCM : AEAD_CHACHA20POLY1305;
    if (!aead_available(algorithm)) {
        (void)printf("skipped: this processor has no AES\n");
        return CHECK_SKIPPED;
    }
    size = strtoul(argv[2], NULL, 10);
    count = strtoul(argv[3], NULL, 10);
    CHECK(size >= 5 && size <= RECORD_MAX - AEAD_TAG_BYTES);
    record = calloc(1, size + RECORD_OVERHEAD_BYTES);
    cache = aead_cache_new();
    CHECK(record != NULL && cache != NULL);
    sender = (struct record_direction){.key_bytes = key[0]};
    receiver = (struct record_direction){.key_bytes = key[1]};
    aead_key_init(&sender.key, cache, algorithm, key[0]);
    aead_key_init(&receiver.key, cache, algorithm, key[1]);
    for (size_t i = 0; i < count; i++) {
        size_t len = 0;

        record_seal(&sender, cache, record, size);
        CHECK_INT(record_judge(&receiver, record, size + RECORD_OVERHEAD_BYTES, RECORD_MAX, &len), RECORD_OK);
        CHECK(record_open(&receiver, cache, record, len));
    }
    aead_cache_free(cache);
    free(record);
    return 0;
}
