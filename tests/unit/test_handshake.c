/* SPDX-License-Identifier: MIT */
#include "check.h"
#include "fixed.h"

static struct etcp_pool *pool;
static const struct demo *demo;

static struct handshake *begin(int suite, enum etcp_role role, const struct etcp_conn_options *more)
{
    struct etcp_conn_options options = more != NULL ? *more : (struct etcp_conn_options){.role = role};
    struct etcp_identity *identity;
    struct handshake *h = NULL;

    demo = demo_find(suite);
    identity = fixed_identity(demo, role);
    options.role = role;
    options.identity = identity;
    if (role == ETCP_AGENT) {
        options.suite = (enum etcp_suite)suite;
    }
    CHECK_INT(handshake_new(pool, &options, fixed_of(demo, role), &h), 0);
    etcp_identity_free(identity);
    return h;
}

static int feed(struct handshake *h, const uint8_t *in, size_t len)
{
    size_t used = 0;
    int error = handshake_feed(h, in, len, &used);

    CHECK(used <= len);
    return error;
}

static void handshake_rejects_a_wrong_first_byte_at_once(void)
{
    for (unsigned id = 0; id < 256; id++) {
        uint8_t byte = (uint8_t)id;
        struct handshake *h = begin(ETCP_SUITE_CHACHA20POLY1305, ETCP_SERVER, NULL);

        CHECK_INT(feed(h, &byte, 1), id == 0x01 ? 0 : ETCP_EHANDSHAKE);
        CHECK_INT(h->out_len, 0);
        handshake_free(h);
        h = begin(ETCP_SUITE_CHACHA20POLY1305, ETCP_AGENT, NULL);
        CHECK_INT(feed(h, &byte, 1), id == 0x02 || id == 0x0B ? 0 : ETCP_EHANDSHAKE);
        handshake_free(h);
    }
}

/* The suite is judged as soon as its byte is there: 34 bytes. */
static void handshake_judges_every_suite_at_its_byte(void)
{
    for (unsigned suite = 0; suite < 256; suite++) {
        struct handshake *h = begin(ETCP_SUITE_CHACHA20POLY1305, ETCP_SERVER, NULL);
        uint8_t request[34];
        bool served = suite == ETCP_SUITE_CHACHA20POLY1305 ||
                      (suite == ETCP_SUITE_AES256GCM && etcp_suite_available(ETCP_SUITE_AES256GCM));

        memcpy(request, demo->packet[0], sizeof(request));
        request[33] = (uint8_t)suite;
        CHECK_INT(feed(h, request, 33), 0);
        CHECK_INT(feed(h, request + 33, 1), served ? 0 : ETCP_ESUITE);
        CHECK_INT(h->out_len, served ? 0 : 2);
        if (!served) {
            CHECK_INT(h->out[0], PACKET_REFUSAL);
            CHECK_INT(h->out[1], ETCP_REFUSAL_UNSUPPORTED_SUITE);
            CHECK(h->secrets == NULL);
        }
        handshake_free(h);
    }
}

static void handshake_with_a_network_key_is_silent(void)
{
    for (unsigned suite = 0; suite < 256; suite++) {
        struct etcp_conn_options busy = {.refuse = ETCP_REFUSAL_BUSY};
        struct handshake *h = begin(ETCP_SUITE_CHACHA20POLY1305_NETWORK, ETCP_SERVER, &busy);
        uint8_t request[58];
        int error;

        memcpy(request, demo->packet[0], sizeof(request));
        request[33] = (uint8_t)suite;
        if (suite != ETCP_SUITE_CHACHA20POLY1305_NETWORK) {
            /* The suite is in the prologue, so that the other network suite does not decrypt either. */
            error = feed(h, request, sizeof(request));
            CHECK(error == ETCP_ESUITE || error == ETCP_EHANDSHAKE);
            CHECK_INT(h->out_len, 0);
        } else {
            CHECK_INT(feed(h, request, sizeof(request)), ETCP_EBUSY);
            CHECK_INT(h->out_len, 2);
            CHECK_INT(h->out[1], ETCP_REFUSAL_BUSY);
        }
        handshake_free(h);
    }
}

static void handshake_takes_no_byte_past_its_packet(void)
{
    struct handshake *h = begin(ETCP_SUITE_CHACHA20POLY1305, ETCP_SERVER, NULL);
    uint8_t more[200] = {0};
    size_t used = 0;

    memcpy(more, demo->packet[0], 42);
    more[42] = 0xff;
    CHECK_INT(handshake_feed(h, more, sizeof(more), &used), 0);
    CHECK_INT(used, 42);
    CHECK_INT(h->step, HANDSHAKE_AUTHENTICATION);
    handshake_free(h);
}

static void handshake_refusals_are_two_bytes(void)
{
    for (unsigned code = 0; code < 256; code++) {
        struct handshake *h = begin(ETCP_SUITE_CHACHA20POLY1305, ETCP_AGENT, NULL);
        uint8_t refusal[2] = {0x0B, (uint8_t)code};

        CHECK_INT(feed(h, refusal, 1), 0);
        CHECK_INT(feed(h, refusal + 1, 1), ETCP_EREFUSED);
        CHECK_INT(h->refusal, code);
        CHECK(h->error != NULL && h->secrets == NULL);
        handshake_free(h);
    }
}

static void handshake_rejects_options_that_do_not_fit(void)
{
    static const uint8_t secret[32] = {1}, network[32] = {2};
    struct etcp_identity *plain = NULL, *member = NULL;
    struct handshake *h = NULL;

    CHECK_INT(etcp_identity_new(secret, NULL, &plain), 0);
    CHECK_INT(etcp_identity_new(secret, network, &member), 0);
    {
        const struct etcp_conn_options bad[] = {
            {.role = 0, .identity = plain},
            {.role = 3, .identity = plain},
            {.role = ETCP_SERVER},
            {.role = ETCP_SERVER, .identity = member, .classic = true},
            {.role = ETCP_AGENT, .identity = plain},
            {.role = ETCP_AGENT, .identity = plain, .suite = 0x03},
            {.role = ETCP_AGENT, .identity = plain, .suite = 0x21},
            {.role = ETCP_AGENT, .suite = ETCP_SUITE_CHACHA20POLY1305},
            {.role = ETCP_AGENT, .identity = member, .suite = ETCP_SUITE_CHACHA20POLY1305},
            {.role = ETCP_AGENT, .identity = plain, .suite = ETCP_SUITE_CHACHA20POLY1305_NETWORK},
            {.role = ETCP_AGENT, .identity = member, .suite = ETCP_SUITE_CLASSIC},
        };
        for (size_t i = 0; i < CHECK_COUNT(bad); i++) {
            CHECK_INT(handshake_new(pool, &bad[i], NULL, &h), ETCP_EINVAL);
            CHECK(h == NULL);
        }
    }
    etcp_identity_free(plain);
    etcp_identity_free(member);
    CHECK_INT(pool->handshakes.in_use, 0);
}

/* What a handshake knew is gone from memory when it is over, well or not. */
static void handshake_wipes_its_secrets(void)
{
    static const uint8_t zeros[SECRET_LARGE_BYTES];
    struct handshake *h = begin(ETCP_SUITE_CHACHA20POLY1305, ETCP_SERVER, NULL);
    const uint8_t *slot = (const uint8_t *)h->secrets;

    CHECK(memcmp(slot, zeros, 32) != 0);
    CHECK_INT(feed(h, (const uint8_t *)"x", 1), ETCP_EHANDSHAKE);
    CHECK(h->secrets == NULL);
    CHECK_MEM(slot + sizeof(void *), zeros, SECRET_LARGE_BYTES - sizeof(void *));
    CHECK_INT(pool->handshakes.in_use, 0);
    handshake_free(h);
}

static void handshake_wipes_what_is_used_up(void)
{
    static const uint8_t zeros[NOISE_DH_BYTES];
    struct handshake *h = begin(ETCP_SUITE_CHACHA20POLY1305, ETCP_SERVER, NULL);

    CHECK_INT(feed(h, demo->packet[0], demo->packet_len[0]), 0);
    CHECK_MEM(h->secrets->s, zeros, sizeof(zeros));
    CHECK_MEM(h->secrets->psk, zeros, sizeof(zeros));
    CHECK_INT(feed(h, demo->packet[2], demo->packet_len[2]), 0);
    CHECK_INT(h->step, HANDSHAKE_FINISHED);
    handshake_free(h);
    h = begin(ETCP_SUITE_CHACHA20POLY1305, ETCP_AGENT, NULL);
    CHECK_INT(feed(h, demo->packet[1], demo->packet_len[1]), 0);
    CHECK_MEM(h->secrets->e, zeros, sizeof(zeros));
    handshake_free(h);
}

static void handshake_randomness_differs(void)
{
    struct etcp_identity *identity = fixed_identity(demo_find(ETCP_SUITE_CHACHA20POLY1305), ETCP_AGENT);
    struct etcp_conn_options options = {.role = ETCP_AGENT, .identity = identity, .suite = ETCP_SUITE_CHACHA20POLY1305};
    struct handshake *a = NULL, *b = NULL;

    CHECK_INT(handshake_new(pool, &options, NULL, &a), 0);
    CHECK_INT(handshake_new(pool, &options, NULL, &b), 0);
    CHECK(memcmp(a->out + 1, b->out + 1, 32) != 0);
    CHECK(memcmp(a->out + 34, b->out + 34, 8) != 0);
    handshake_free(a);
    handshake_free(b);
    etcp_identity_free(identity);
}

static const struct check_case cases[] = {
    CHECK_CASE(handshake_rejects_a_wrong_first_byte_at_once),
    CHECK_CASE(handshake_judges_every_suite_at_its_byte),
    CHECK_CASE(handshake_with_a_network_key_is_silent),
    CHECK_CASE(handshake_takes_no_byte_past_its_packet),
    CHECK_CASE(handshake_refusals_are_two_bytes),
    CHECK_CASE(handshake_rejects_options_that_do_not_fit),
    CHECK_CASE(handshake_wipes_its_secrets),
    CHECK_CASE(handshake_wipes_what_is_used_up),
    CHECK_CASE(handshake_randomness_differs),
};

int main(int argc, char **argv)
{
    int result;

    CHECK_INT(etcp_init(), 0);
    CHECK_INT(etcp_pool_new(&pool), 0);
    result = check_run(cases, CHECK_COUNT(cases), argc, argv);
    etcp_pool_free(pool);
    return result;
}
