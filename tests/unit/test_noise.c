/* SPDX-License-Identifier: MIT */
#include <etcp/etcp.h>

#include "check.h"
#include "core/noise.h"

struct party {
    struct noise noise;
    struct noise_secrets secrets;
};

static struct party agent, server;

static void party_init(struct party *p, const struct noise_pattern *pattern, bool initiator, uint8_t seed)
{
    uint8_t s_public[NOISE_DH_BYTES];

    memset(p, 0, sizeof(*p));
    memset(p->secrets.s, seed, NOISE_DH_BYTES);
    memset(p->secrets.psk, 0x77, NOISE_DH_BYTES);
    etcp_key_public(p->secrets.s, s_public);
    noise_init(&p->noise, pattern, AEAD_CHACHA20POLY1305, initiator, (const uint8_t *)"prologue", 8, s_public,
               &p->secrets);
}

static void begin(const struct noise_pattern *pattern)
{
    party_init(&agent, pattern, true, 1);
    party_init(&server, pattern, false, 2);
}

/* The next message; how many bytes. */
static size_t write(struct party *from, uint8_t *out, size_t payload_len)
{
    static const uint8_t payload[8] = "payload";
    size_t len = noise_message_size(&from->noise, payload_len);

    CHECK_INT(noise_write(&from->noise, payload, payload_len, out), 0);
    return len;
}

static void pass(struct party *from, struct party *to, size_t payload_len)
{
    uint8_t message[256], payload[8];
    size_t len = write(from, message, payload_len);

    CHECK_INT(noise_read(&to->noise, message, len, payload, payload_len), 0);
    CHECK_MEM(payload, "payload", payload_len);
}

static void noise_sizes_are_those_of_the_packets(void)
{
    begin(&noise_xx);
    CHECK_INT(noise_message_size(&agent.noise, 8), 40);
    pass(&agent, &server, 8);
    CHECK_INT(noise_message_size(&server.noise, 8), 104);
    pass(&server, &agent, 8);
    CHECK_INT(noise_message_size(&agent.noise, 0), 64);
    pass(&agent, &server, 0);
    CHECK(noise_finished(&agent.noise) && noise_finished(&server.noise));
    begin(&noise_xxpsk0);
    CHECK_INT(noise_message_size(&agent.noise, 8), 56);
}

static void noise_both_ends_agree(const struct noise_pattern *pattern)
{
    uint8_t a[2][AEAD_KEY_BYTES], s[2][AEAD_KEY_BYTES];

    begin(pattern);
    pass(&agent, &server, 8);
    CHECK(!noise_finished(&agent.noise));
    pass(&server, &agent, 8);
    pass(&agent, &server, 0);
    CHECK_MEM(agent.noise.h, server.noise.h, NOISE_HASH_BYTES);
    CHECK_MEM(agent.noise.rs, server.noise.s_public, NOISE_DH_BYTES);
    CHECK_MEM(server.noise.rs, agent.noise.s_public, NOISE_DH_BYTES);
    noise_split(&agent.noise, a[0], a[1]);
    noise_split(&server.noise, s[0], s[1]);
    CHECK_MEM(a, s, sizeof(a));
    CHECK(memcmp(a[0], a[1], AEAD_KEY_BYTES) != 0);
}

static void noise_both_ends_agree_with_and_without_psk(void)
{
    noise_both_ends_agree(&noise_xx);
    noise_both_ends_agree(&noise_xxpsk0);
}

static void noise_rejects_messages_of_another_size(void)
{
    uint8_t message[256], payload[8];
    size_t len;

    begin(&noise_xx);
    len = write(&agent, message, 8);
    CHECK_INT(noise_read(&server.noise, message, len - 1, payload, 8), -1);
    begin(&noise_xx);
    len = write(&agent, message, 8);
    CHECK_INT(noise_read(&server.noise, message, len + 1, payload, 8), -1);
    CHECK_INT(noise_read(&server.noise, message, 0, payload, 8), -1);
}

static void noise_rejects_any_other_bit_of_message_2_and_3(void)
{
    uint8_t message[256], copy[256], payload[8];
    size_t len;

    begin(&noise_xx);
    pass(&agent, &server, 8);
    len = write(&server, message, 8);
    for (size_t bit = 0; bit < 8 * len; bit++) {
        struct party victim = agent;

        victim.noise.secrets = &victim.secrets;
        memcpy(copy, message, len);
        copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
        CHECK_INT(noise_read(&victim.noise, copy, len, payload, 8), -1);
    }
    CHECK_INT(noise_read(&agent.noise, message, len, payload, 8), 0);
    len = write(&agent, message, 0);
    for (size_t bit = 0; bit < 8 * len; bit++) {
        struct party victim = server;

        victim.noise.secrets = &victim.secrets;
        memcpy(copy, message, len);
        copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
        CHECK_INT(noise_read(&victim.noise, copy, len, payload, 0), -1);
    }
}

static void noise_psk0_rejects_any_other_bit_of_message_1(void)
{
    uint8_t message[256], copy[256], payload[8];
    size_t len;

    begin(&noise_xxpsk0);
    len = write(&agent, message, 8);
    for (size_t bit = 0; bit < 8 * len; bit++) {
        struct party victim = server;

        victim.noise.secrets = &victim.secrets;
        memcpy(copy, message, len);
        copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
        CHECK_INT(noise_read(&victim.noise, copy, len, payload, 8), -1);
    }
    server.secrets.psk[31] ^= 1;
    CHECK_INT(noise_read(&server.noise, message, len, payload, 8), -1);
}

static void noise_rejects_another_prologue(void)
{
    uint8_t message[256], payload[8], s_public[NOISE_DH_BYTES];
    size_t len;

    begin(&noise_xx);
    memcpy(s_public, server.noise.s_public, sizeof(s_public));
    noise_init(&server.noise, &noise_xx, AEAD_CHACHA20POLY1305, false, (const uint8_t *)"prologuf", 8, s_public,
               &server.secrets);
    pass(&agent, &server, 8);
    len = write(&server, message, 8);
    CHECK_INT(noise_read(&agent.noise, message, len, payload, 8), -1);
}

static void noise_rejects_low_order_keys(void)
{
    static const uint8_t points[][NOISE_DH_BYTES] = {
        {0},
        {1},
        {0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
         0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
        {0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
         0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
    };

    for (size_t i = 0; i < CHECK_COUNT(points); i++) {
        uint8_t message[256] = {0}, payload[8];

        begin(&noise_xx);
        memcpy(message, points[i], NOISE_DH_BYTES);
        CHECK_INT(noise_read(&server.noise, message, 40, payload, 8), 0);
        CHECK_INT(noise_write(&server.noise, payload, 8, message), -1);
    }
}

/* A static key in another spelling decrypts and is of the same point: it must not pass. */
static void noise_rejects_a_static_key_in_another_spelling(void)
{
    uint8_t message[256], payload[8];
    size_t len;

    begin(&noise_xx);
    pass(&agent, &server, 8);
    server.noise.s_public[31] |= 0x80;
    len = write(&server, message, 8);
    CHECK_INT(noise_read(&agent.noise, message, len, payload, 8), -1);
}

static void noise_nonces_as_the_ciphers_want_them(void)
{
    static const uint8_t aes[12] = {0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8},
                         chacha[12] = {0, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1};
    uint8_t nonce[12];

    noise_nonce(AEAD_AES256GCM, UINT64_C(0x0102030405060708), nonce);
    CHECK_MEM(nonce, aes, 12);
    noise_nonce(AEAD_CHACHA20POLY1305, UINT64_C(0x0102030405060708), nonce);
    CHECK_MEM(nonce, chacha, 12);
}

static const struct check_case cases[] = {
    CHECK_CASE(noise_sizes_are_those_of_the_packets),
    CHECK_CASE(noise_both_ends_agree_with_and_without_psk),
    CHECK_CASE(noise_rejects_messages_of_another_size),
    CHECK_CASE(noise_rejects_any_other_bit_of_message_2_and_3),
    CHECK_CASE(noise_psk0_rejects_any_other_bit_of_message_1),
    CHECK_CASE(noise_rejects_another_prologue),
    CHECK_CASE(noise_rejects_low_order_keys),
    CHECK_CASE(noise_rejects_a_static_key_in_another_spelling),
    CHECK_CASE(noise_nonces_as_the_ciphers_want_them),
};

int main(int argc, char **argv)
{
    CHECK_INT(etcp_init(), 0);
    return check_run(cases, CHECK_COUNT(cases), argc, argv);
}
