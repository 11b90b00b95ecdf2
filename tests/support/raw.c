/* SPDX-License-Identifier: MIT */
#include "raw.h"

#include <sodium.h>
#include <string.h>

#include "check.h"

static void put(uint8_t *out, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) {
        out[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
    }
}

struct raw raw_of(int suite, const uint8_t key[static 32])
{
    struct raw raw = {.aes = suite == 0x01 || suite == 0x11 || suite == 0xFD, .classic = suite == 0xFD};

    memcpy(raw.key, key, sizeof(raw.key));
    return raw;
}

static void nonce_of(const struct raw *raw, uint64_t n, uint8_t nonce[static 12])
{
    memset(nonce, 0, 12);
    if (raw->aes) {
        put(nonce + 4, n, 8);
    } else {
        for (int i = 0; i < 8; i++) {
            nonce[4 + i] = (uint8_t)(n >> (8 * i));
        }
    }
}

static void encrypt(const struct raw *raw, const uint8_t *plain, size_t len, const uint8_t *nonce, uint8_t *out)
{
    if (raw->aes) {
        CHECK_INT(crypto_aead_aes256gcm_encrypt(out, NULL, plain, len, NULL, 0, NULL, nonce, raw->key), 0);
    } else {
        CHECK_INT(crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, plain, len, NULL, 0, NULL, nonce, raw->key), 0);
    }
}

static void rekey_if_due(struct raw *raw)
{
    static const uint8_t zeros[32];
    uint8_t nonce[12], out[48];

    if (!raw->classic && raw->n > 0 && raw->n % (1u << 20) == 0) {
        nonce_of(raw, UINT64_MAX, nonce);
        encrypt(raw, zeros, sizeof(zeros), nonce, out);
        memcpy(raw->key, out, sizeof(raw->key));
    }
}

size_t raw_seal(struct raw *raw, const uint8_t *plain, size_t len, uint8_t *out)
{
    rekey_if_due(raw);
    put(out, len + 16, 4);
    nonce_of(raw, raw->n, out + 4);
    encrypt(raw, plain, len, out + 4, out + RAW_HEAD);
    raw->n++;
    return len + RAW_OVERHEAD;
}

size_t raw_open(struct raw *raw, const uint8_t *in, size_t len, uint8_t *ret_plain, size_t *ret_len)
{
    uint8_t nonce[12];
    size_t n;
    int rc;

    if (len < RAW_HEAD) {
        return 0;
    }
    n = (size_t)in[0] << 24 | (size_t)in[1] << 16 | (size_t)in[2] << 8 | (size_t)in[3];
    CHECK(n >= (raw->classic ? 16 : 21) && n <= 65535);
    if (len < RAW_HEAD + n) {
        return 0;
    }
    rekey_if_due(raw);
    if (!raw->classic) {
        nonce_of(raw, raw->n, nonce);
        CHECK_MEM(in + 4, nonce, sizeof(nonce));
    }
    rc = raw->aes ? crypto_aead_aes256gcm_decrypt(ret_plain, NULL, NULL, in + RAW_HEAD, n, NULL, 0, in + 4, raw->key)
                  : crypto_aead_chacha20poly1305_ietf_decrypt(ret_plain, NULL, NULL, in + RAW_HEAD, n, NULL, 0, in + 4,
                                                              raw->key);
    CHECK_INT(rc, 0);
    raw->n++;
    *ret_len = n - 16;
    return RAW_HEAD + n;
}

size_t raw_frame(uint8_t *out, uint8_t id, uint32_t stream, const void *body, size_t len)
{
    out[0] = id;
    put(out + 1, stream, 4);
    if (len > 0) {
        memcpy(out + 5, body, len);
    }
    return 5 + len;
}

size_t raw_open_frame(uint8_t *out, uint32_t stream, const char *service)
{
    size_t len = strlen(service);
    uint8_t body[256];

    CHECK(len < sizeof(body));
    body[0] = (uint8_t)len;
    memcpy(body + 1, service, len);
    return raw_frame(out, 0x03, stream, body, len + 1);
}

size_t raw_credit_frame(uint8_t *out, uint32_t stream, uint64_t consumed, uint64_t limit)
{
    uint8_t body[16];

    put(body, consumed, 8);
    put(body + 8, limit, 8);
    return raw_frame(out, 0x09, stream, body, sizeof(body));
}

size_t raw_code_frame(uint8_t *out, uint8_t id, uint32_t stream, uint16_t code, const char *reason)
{
    size_t len = strlen(reason);
    uint8_t body[512];

    CHECK(len + 2 <= sizeof(body));
    put(body, code, 2);
    memcpy(body + 2, reason, len);
    return raw_frame(out, id, stream, body, len + 2);
}

size_t raw_heartbeat_frame(uint8_t *out, uint8_t kind, uint64_t opaque)
{
    uint8_t body[9];

    body[0] = kind;
    put(body + 1, opaque, 8);
    return raw_frame(out, 0x07, 0, body, sizeof(body));
}
