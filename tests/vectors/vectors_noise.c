/* SPDX-License-Identifier: MIT
 *
 * Noise XX and XXpsk3 as another project made them: both roles, every message, the handshake hash, the transport. The
 * protocol uses XXpsk0; XXpsk3 differs by where one token stands and proves the same machinery. */
#include <etcp/etcp.h>

#include "core/aead.h"
#include "core/noise.h"
#include "vector.h"

static const struct noise_pattern xxpsk3 = {
    .name = "XXpsk3",
    .psk = true,
    .messages = {{NOISE_E}, {NOISE_E, NOISE_EE, NOISE_S, NOISE_ES}, {NOISE_S, NOISE_SE, NOISE_PSK}},
};

struct party {
    struct noise noise;
    struct noise_secrets secrets;
    uint8_t key[2][AEAD_KEY_BYTES];
};

static const struct noise_pattern *pattern_of(const char *protocol)
{
    return strstr(protocol, "XXpsk3") != NULL ? &xxpsk3 : &noise_xx;
}

static void party_init(struct party *p, const json_t *vector, int initiator)
{
    const char *protocol = vector_text(vector, "protocol_name");
    const struct noise_pattern *pattern = pattern_of(protocol);
    struct vector_bytes prologue = vector_hex(vector, initiator ? "init_prologue" : "resp_prologue");
    enum aead_algorithm algorithm = strstr(protocol, "AESGCM") != NULL ? AEAD_AES256GCM : AEAD_CHACHA20POLY1305;
    uint8_t s_public[NOISE_DH_BYTES];

    memset(p, 0, sizeof(*p));
    vector_fixed(vector, initiator ? "init_static" : "resp_static", p->secrets.s, NOISE_DH_BYTES);
    vector_fixed(vector, initiator ? "init_ephemeral" : "resp_ephemeral", p->secrets.e, NOISE_DH_BYTES);
    if (pattern->psk) {
        json_t *psks = vector_array(vector, initiator ? "init_psks" : "resp_psks");
        json_t *holder = json_pack("{s:O}", "psk", json_array_get(psks, 0));

        CHECK_INT(json_array_size(psks), 1);
        vector_fixed(holder, "psk", p->secrets.psk, NOISE_DH_BYTES);
        json_decref(holder);
    }
    etcp_key_public(p->secrets.s, s_public);
    noise_init(&p->noise, pattern, algorithm, initiator, prologue.data, prologue.len, s_public, &p->secrets);
    p->noise.fixed_e = true;
    free(prologue.data);
}

static void handshake_message(struct party *from, struct party *to, const json_t *message)
{
    struct vector_bytes payload = vector_hex(message, "payload"), want = vector_hex(message, "ciphertext");
    uint8_t out[1024], got[1024];

    CHECK(want.len <= sizeof(out));
    CHECK_INT(noise_message_size(&from->noise, payload.len), want.len);
    CHECK_INT(noise_write(&from->noise, payload.data, payload.len, out), 0);
    CHECK_MEM(out, want.data, want.len);
    CHECK_INT(noise_read(&to->noise, want.data, want.len, got, payload.len), 0);
    CHECK_MEM(got, payload.data, payload.len);
    free(payload.data);
    free(want.data);
}

static void transport_message(struct party *from, struct party *to, uint64_t n, const json_t *message)
{
    struct vector_bytes payload = vector_hex(message, "payload"), want = vector_hex(message, "ciphertext");
    enum aead_algorithm algorithm = from->noise.algorithm;
    int which = from->noise.initiator ? 0 : 1;
    uint8_t nonce[AEAD_NONCE_BYTES], out[1024], got[1024];

    CHECK_INT(want.len, payload.len + AEAD_TAG_BYTES);
    noise_nonce(algorithm, n, nonce);
    aead_seal_once(algorithm, from->key[which], nonce, NULL, 0, payload.data, payload.len, out);
    CHECK_MEM(out, want.data, want.len);
    CHECK(aead_open_once(algorithm, to->key[which], nonce, NULL, 0, want.data, want.len, got));
    CHECK_MEM(got, payload.data, payload.len);
    free(payload.data);
    free(want.data);
}

static void run(const json_t *vector)
{
    struct party party[2]; /* initiator, responder */
    json_t *messages = vector_array(vector, "messages");
    uint8_t hash[NOISE_HASH_BYTES];
    size_t i;

    (void)printf("%s\n", vector_text(vector, "protocol_name"));
    party_init(&party[0], vector, 1);
    party_init(&party[1], vector, 0);
    CHECK(json_array_size(messages) > NOISE_MESSAGES);
    for (i = 0; i < NOISE_MESSAGES; i++) {
        handshake_message(&party[i % 2], &party[(i + 1) % 2], json_array_get(messages, i));
    }
    vector_fixed(vector, "handshake_hash", hash, sizeof(hash));
    for (i = 0; i < 2; i++) {
        CHECK(noise_finished(&party[i].noise));
        CHECK_MEM(party[i].noise.h, hash, sizeof(hash));
        noise_split(&party[i].noise, party[i].key[0], party[i].key[1]);
    }
    CHECK_MEM(party[0].noise.rs, party[1].noise.s_public, NOISE_DH_BYTES);
    CHECK_MEM(party[1].noise.rs, party[0].noise.s_public, NOISE_DH_BYTES);
    for (i = NOISE_MESSAGES; i < json_array_size(messages); i++) {
        /* Messages alternate, so each direction's number goes up with every second one. */
        transport_message(&party[i % 2], &party[(i + 1) % 2], (i - NOISE_MESSAGES) / 2, json_array_get(messages, i));
    }
}

int main(void)
{
    json_t *root = vector_load("noise-xx.json"), *vector;
    size_t i, ran = 0;

    CHECK_INT(etcp_init(), 0);
    json_array_foreach(vector_array(root, "vectors"), i, vector)
    {
        if (strstr(vector_text(vector, "protocol_name"), "AESGCM") != NULL && !aead_available(AEAD_AES256GCM)) {
            (void)printf("skipped: %s, since this processor has no AES\n", vector_text(vector, "protocol_name"));
            continue;
        }
        run(vector);
        ran++;
    }
    CHECK(ran >= 2);
    json_decref(root);
    return 0;
}
