/* SPDX-License-Identifier: MIT */
#include "core/handshake.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "core/aead_aes.h"
#include "core/aead_bulk.h"
#include "core/classic.h"

/* The slot of a handshake's secrets is as large as they are. */
static_assert(sizeof(struct noise_secrets) <= SECRET_LARGE_BYTES, "a handshake's secrets fit into a slot");

static bool is_network_suite(int suite)
{
    return suite == ETCP_SUITE_AES256GCM_NETWORK || suite == ETCP_SUITE_CHACHA20POLY1305_NETWORK;
}

enum aead_algorithm handshake_algorithm(int suite)
{
    return suite == ETCP_SUITE_CHACHA20POLY1305 || suite == ETCP_SUITE_CHACHA20POLY1305_NETWORK ? AEAD_CHACHA20POLY1305
                                                                                                : AEAD_AES256GCM;
}

bool etcp_suite_available(enum etcp_suite suite)
{
    switch (suite) {
    case ETCP_SUITE_AES256GCM:
    case ETCP_SUITE_CHACHA20POLY1305:
    case ETCP_SUITE_AES256GCM_NETWORK:
    case ETCP_SUITE_CHACHA20POLY1305_NETWORK:
    case ETCP_SUITE_CLASSIC:
        return aead_available(handshake_algorithm((int)suite));
    }
    return false;
}

const char *etcp_bulk_provider(enum etcp_suite suite)
{
    const struct aead_aes *aes = handshake_algorithm((int)suite) == AEAD_AES256GCM ? aead_aes_ipsecmb() : NULL;
    return aes ? aes->name : aead_bulk_name();
}

const char *etcp_suite_name(int suite)
{
    switch ((enum etcp_suite)suite) {
    case ETCP_SUITE_AES256GCM:
    case ETCP_SUITE_AES256GCM_NETWORK:
        return "aes256gcm";
    case ETCP_SUITE_CHACHA20POLY1305:
    case ETCP_SUITE_CHACHA20POLY1305_NETWORK:
        return "chacha20poly1305";
    case ETCP_SUITE_CLASSIC:
        return "classic";
    }
    return "unknown";
}

static int fail(struct handshake *h, int error, const char *rule)
{
    h->error = rule;
    return error;
}

static void fill(uint8_t *out, const uint8_t *fixed, size_t len)
{
    if (fixed)
        memcpy(out, fixed, len);
    else
        randombytes_buf(out, len);
}

/* The suite is known: starts Noise (section 1: prologue is "ETCP", version 1, suite). */
static void start_noise(struct handshake *h, bool initiator)
{
    const uint8_t prologue[] = {'E', 'T', 'C', 'P', 0x01, h->suite};
    uint8_t s_public[NOISE_DH_BYTES];
    memcpy(s_public, h->noise.s_public, sizeof s_public);
    noise_init(&h->noise, is_network_suite(h->suite) ? &noise_xxpsk0 : &noise_xx, handshake_algorithm(h->suite),
               initiator, prologue, sizeof prologue, s_public, h->secrets);
    if (h->fixed) {
        memcpy(h->secrets->e, h->fixed->ephemeral, sizeof h->secrets->e);
        h->noise.fixed_e = true;
    }
}

/* Encryption Request, agent. */
static int write_request(struct handshake *h)
{
    h->out[0] = PACKET_ENCRYPTION_REQUEST;
    h->out[HANDSHAKE_SUITE_OFFSET] = h->suite;
    fill(h->token, h->fixed ? h->fixed->token : NULL, sizeof h->token);
    if (h->suite == ETCP_SUITE_CLASSIC) {
        fill(h->secrets->e, h->fixed ? h->fixed->ephemeral : NULL, sizeof h->secrets->e);
        etcp_key_public(h->secrets->e, h->out + 1);
        memcpy(h->out + HANDSHAKE_SUITE_OFFSET + 1, h->token, sizeof h->token);
        h->out_len = HANDSHAKE_REQUEST_BYTES;
        return 0;
    }
    start_noise(h, true);
    /* Noise's message is the ephemeral key and the token; the suite stands between the two. */
    uint8_t message[NOISE_DH_BYTES + HANDSHAKE_TOKEN_BYTES + AEAD_TAG_BYTES];
    size_t len = noise_message_size(&h->noise, sizeof h->token);
    assert(len <= sizeof message);
    if (noise_write(&h->noise, h->token, sizeof h->token, message) < 0)
        return fail(h, ETCP_EHANDSHAKE, "Noise message 1 can't be written");
    memcpy(h->out + 1, message, NOISE_DH_BYTES);
    memcpy(h->out + HANDSHAKE_SUITE_OFFSET + 1, message + NOISE_DH_BYTES, len - NOISE_DH_BYTES);
    h->out_len = (uint8_t)(2 + len);
    return 0;
}

static int check_options(const struct etcp_conn_options *options)
{
    const struct etcp_identity *identity = options->identity;
    if (options->role == ETCP_SERVER)
        return !identity || (options->classic && identity->has_network_key) ? ETCP_EINVAL : 0;
    if (options->role != ETCP_AGENT)
        return ETCP_EINVAL;
    switch (options->suite) {
    case ETCP_SUITE_CLASSIC:
        if (identity && identity->has_network_key)
            return ETCP_EINVAL;
        break;
    case ETCP_SUITE_AES256GCM:
    case ETCP_SUITE_CHACHA20POLY1305:
    case ETCP_SUITE_AES256GCM_NETWORK:
    case ETCP_SUITE_CHACHA20POLY1305_NETWORK:
        if (!identity || identity->has_network_key != is_network_suite((int)options->suite))
            return ETCP_EINVAL;
        break;
    default:
        return ETCP_EINVAL;
    }
    return etcp_suite_available(options->suite) ? 0 : ETCP_EUNSUPPORTED;
}

int handshake_new(struct etcp_pool *pool, const struct etcp_conn_options *options, const struct handshake_fixed *fixed,
                  struct handshake **ret_handshake)
{
    int rc = check_options(options);
    if (rc < 0)
        return rc;
    struct handshake *h = calloc(1, sizeof *h);
    if (!h)
        return ETCP_ENOMEM;
    h->pool = pool;
    h->secrets = secret_alloc(&pool->handshakes);
    if (!h->secrets) {
        rc = ETCP_ENOMEM;
        goto out;
    }
    const struct etcp_identity *identity = options->identity;
    if (identity) {
        memcpy(h->secrets->s, identity->secret, sizeof h->secrets->s);
        memcpy(h->secrets->psk, identity->network_key, sizeof h->secrets->psk);
        memcpy(h->noise.s_public, identity->public_key, sizeof h->noise.s_public);
        h->has_network_key = identity->has_network_key;
    }
    h->fixed = fixed;
    h->serve_classic = options->classic;
    h->refuse = (uint8_t)options->refuse;
    if (options->role == ETCP_SERVER) {
        h->step = HANDSHAKE_REQUEST;
    } else {
        h->step = HANDSHAKE_RESPONSE;
        h->suite = (uint8_t)options->suite;
        rc = write_request(h);
    }
out:
    if (rc < 0)
        handshake_free(h);
    else
        *ret_handshake = h;
    return rc;
}

static void wipe_secrets(struct handshake *h)
{
    secret_free(&h->pool->handshakes, h->secrets);
    h->secrets = NULL;
}

void handshake_free(struct handshake *h)
{
    if (!h)
        return;
    wipe_secrets(h);
    free(h);
}

static int refuse(struct handshake *h, enum etcp_refusal code, int error, const char *rule)
{
    h->out[0] = PACKET_REFUSAL;
    h->out[1] = (uint8_t)code;
    h->out_len = HANDSHAKE_REFUSAL_BYTES;
    return fail(h, error, rule);
}

/* Server: the suite byte has arrived. With a network key a stranger learns nothing, not even that (section 2). */
static int judge_suite(struct handshake *h, uint8_t suite)
{
    bool served = etcp_suite_available((enum etcp_suite)suite);
    if (suite == ETCP_SUITE_CLASSIC)
        served = served && h->serve_classic;
    else
        served = served && is_network_suite(suite) == h->has_network_key;
    if (served) {
        h->suite = suite;
        return 0;
    }
    if (h->has_network_key)
        return fail(h, ETCP_ESUITE, "the agent does not use the network key");
    if (suite == ETCP_SUITE_CLASSIC)
        return refuse(h, ETCP_REFUSAL_UNSUPPORTED_SUITE, ETCP_ESUITE, "the classic suite is off");
    if (is_network_suite(suite))
        return refuse(h, ETCP_REFUSAL_UNSUPPORTED_SUITE, ETCP_ESUITE,
                      "the agent uses a network key, this server has none");
    return refuse(h, ETCP_REFUSAL_UNSUPPORTED_SUITE, ETCP_ESUITE, "unknown or unsupported suite");
}

/* Server: the whole request of the classic suite is there. The key takes the place of ck. */
static int respond_classic(struct handshake *h)
{
    struct noise_secrets *secret = h->secrets;
    uint8_t *out = h->out;
    fill(secret->e, h->fixed ? h->fixed->ephemeral : NULL, sizeof secret->e);
    if (!classic_agree(secret->e, h->in + 1, secret->ck))
        return fail(h, ETCP_EHANDSHAKE, "the X25519 result is all zeros");
    out[0] = PACKET_ENCRYPTION_RESPONSE;
    etcp_key_public(secret->e, out + 1);
    sodium_memzero(secret->e, sizeof secret->e);
    fill(h->nonce, h->fixed ? h->fixed->nonce : NULL, sizeof h->nonce);
    memcpy(out + 33, h->nonce, sizeof h->nonce);
    uint8_t token[CLASSIC_TOKEN_BYTES];
    classic_turn_token(h->in + HANDSHAKE_SUITE_OFFSET + 1, token);
    aead_seal_once(AEAD_AES256GCM, secret->ck, h->nonce, NULL, 0, token, sizeof token, out + 45);
    classic_count_up(h->nonce);
    h->out_len = HANDSHAKE_RESPONSE_CLASSIC_BYTES;
    h->step = HANDSHAKE_FINISHED;
    return 0;
}

/* Server: the whole request is there. */
static int read_request(struct handshake *h)
{
    if (!h->has_network_key && h->refuse)
        return refuse(h, (enum etcp_refusal)h->refuse, ETCP_EBUSY, "refused");
    if (h->suite == ETCP_SUITE_CLASSIC)
        return respond_classic(h);
    start_noise(h, false);
    uint8_t message[NOISE_DH_BYTES + HANDSHAKE_TOKEN_BYTES + AEAD_TAG_BYTES];
    size_t len = noise_message_size(&h->noise, sizeof h->token);
    assert(len <= sizeof message && len + 2 == h->in_len);
    memcpy(message, h->in + 1, NOISE_DH_BYTES);
    memcpy(message + NOISE_DH_BYTES, h->in + HANDSHAKE_SUITE_OFFSET + 1, len - NOISE_DH_BYTES);
    if (noise_read(&h->noise, message, len, h->token, sizeof h->token) < 0)
        return fail(h, ETCP_EHANDSHAKE, "the agent does not hold the network key");
    sodium_memzero(h->secrets->psk, sizeof h->secrets->psk);
    if (h->refuse)
        return refuse(h, (enum etcp_refusal)h->refuse, ETCP_EBUSY, "refused");
    h->out[0] = PACKET_ENCRYPTION_RESPONSE;
    if (noise_write(&h->noise, h->token, sizeof h->token, h->out + 1) < 0)
        return fail(h, ETCP_EHANDSHAKE, "the X25519 result is all zeros");
    sodium_memzero(h->secrets->s, sizeof h->secrets->s); /* es was its last use */
    h->out_len = HANDSHAKE_RESPONSE_BYTES;
    h->step = HANDSHAKE_AUTHENTICATION;
    return 0;
}

/* Agent: the whole response of the classic suite is there. */
static int read_response_classic(struct handshake *h)
{
    struct noise_secrets *secret = h->secrets;
    uint8_t expected[CLASSIC_TOKEN_BYTES], token[CLASSIC_TOKEN_BYTES];
    if (!classic_agree(secret->e, h->in + 1, secret->ck))
        return fail(h, ETCP_EHANDSHAKE, "the X25519 result is all zeros");
    sodium_memzero(secret->e, sizeof secret->e);
    if (!aead_open_once(AEAD_AES256GCM, secret->ck, h->in + 33, NULL, 0, h->in + 45, sizeof token + AEAD_TAG_BYTES,
                        token))
        return fail(h, ETCP_EHANDSHAKE, "the response does not decrypt");
    classic_turn_token(h->token, expected);
    if (sodium_memcmp(token, expected, sizeof token) != 0)
        return fail(h, ETCP_EHANDSHAKE, "the verify token differs");
    fill(h->nonce, h->fixed ? h->fixed->nonce : NULL, sizeof h->nonce);
    h->step = HANDSHAKE_FINISHED;
    return 0;
}

/* Agent: the whole response or refusal is there. */
static int read_response(struct handshake *h)
{
    if (h->in[0] == PACKET_REFUSAL) {
        h->refusal = h->in[1];
        switch (h->refusal) {
        case ETCP_REFUSAL_UNSUPPORTED_SUITE:
            return fail(h, ETCP_EREFUSED, "unsupported-suite");
        case ETCP_REFUSAL_BUSY:
            return fail(h, ETCP_EREFUSED, "busy");
        case ETCP_REFUSAL_SHUTTING_DOWN:
            return fail(h, ETCP_EREFUSED, "shutting-down");
        default:
            return fail(h, ETCP_EREFUSED, "an unknown code");
        }
    }
    if (h->suite == ETCP_SUITE_CLASSIC)
        return read_response_classic(h);
    uint8_t token[HANDSHAKE_TOKEN_BYTES];
    if (noise_read(&h->noise, h->in + 1, h->in_len - 1u, token, sizeof token) < 0)
        return fail(h, ETCP_EHANDSHAKE, "the response does not decrypt");
    sodium_memzero(h->secrets->e, sizeof h->secrets->e); /* es was its last use */
    if (sodium_memcmp(token, h->token, sizeof token) != 0)
        return fail(h, ETCP_EHANDSHAKE, "the verify token differs");
    h->step = HANDSHAKE_PEER_KNOWN;
    return 0;
}

/* Server: the whole Authentication is there. */
static int read_authentication(struct handshake *h)
{
    uint8_t nothing[1];
    if (noise_read(&h->noise, h->in + 1, h->in_len - 1u, nothing, 0) < 0)
        return fail(h, ETCP_EHANDSHAKE, "the authentication does not decrypt");
    h->step = HANDSHAKE_FINISHED;
    return 0;
}

int handshake_authenticate(struct handshake *h)
{
    if (h->step == HANDSHAKE_FINISHED)
        return 0;
    assert(h->step == HANDSHAKE_PEER_KNOWN);
    h->out[0] = PACKET_AUTHENTICATION;
    if (noise_write(&h->noise, NULL, 0, h->out + 1) < 0)
        return fail(h, ETCP_EHANDSHAKE, "the X25519 result is all zeros");
    h->out_len = HANDSHAKE_AUTHENTICATION_BYTES;
    h->step = HANDSHAKE_FINISHED;
    return 0;
}

void handshake_keys(struct handshake *h, uint8_t ret_send[static AEAD_KEY_BYTES],
                    uint8_t ret_receive[static AEAD_KEY_BYTES])
{
    assert(h->step == HANDSHAKE_FINISHED);
    if (h->suite == ETCP_SUITE_CLASSIC) {
        memcpy(ret_send, h->secrets->ck, AEAD_KEY_BYTES);
        memcpy(ret_receive, h->secrets->ck, AEAD_KEY_BYTES);
    } else if (h->noise.initiator) {
        noise_split(&h->noise, ret_send, ret_receive);
    } else {
        noise_split(&h->noise, ret_receive, ret_send);
    }
    wipe_secrets(h);
}

/* How many bytes must be there before the packet that begins with what is there can be judged further. Negative: it can't be
 * accepted. A wrong id is refused at its first byte, a suite at its own (section 1). */
static int wanted(struct handshake *h, size_t *ret_size)
{
    uint8_t id = h->in[0];
    *ret_size = 1;
    if (h->in_len == 0)
        return 0;
    switch (h->step) {
    case HANDSHAKE_REQUEST:
        if (id != PACKET_ENCRYPTION_REQUEST)
            return fail(h, ETCP_EHANDSHAKE, "the first packet is no Encryption Request");
        *ret_size = HANDSHAKE_SUITE_OFFSET + 1;
        if (h->in_len < *ret_size)
            return 0;
        if (h->suite == 0) {
            int rc = judge_suite(h, h->in[HANDSHAKE_SUITE_OFFSET]);
            if (rc < 0)
                return rc;
        }
        *ret_size = is_network_suite(h->suite) ? HANDSHAKE_REQUEST_NETWORK_BYTES : HANDSHAKE_REQUEST_BYTES;
        return 0;
    case HANDSHAKE_RESPONSE:
        if (id == PACKET_REFUSAL)
            *ret_size = HANDSHAKE_REFUSAL_BYTES;
        else if (id == PACKET_ENCRYPTION_RESPONSE)
            *ret_size = h->suite == ETCP_SUITE_CLASSIC ? HANDSHAKE_RESPONSE_CLASSIC_BYTES : HANDSHAKE_RESPONSE_BYTES;
        else
            return fail(
                h, ETCP_EHANDSHAKE,
                "the answer is neither an Encryption Response nor a Refusal: is this the port of an etcp server?");
        return 0;
    case HANDSHAKE_AUTHENTICATION:
        if (id != PACKET_AUTHENTICATION)
            return fail(h, ETCP_EHANDSHAKE, "the second packet is no Authentication");
        *ret_size = HANDSHAKE_AUTHENTICATION_BYTES;
        return 0;
    case HANDSHAKE_PEER_KNOWN:
    case HANDSHAKE_FINISHED:
        break;
    }
    assert(false);
    return ETCP_EINVAL;
}

int handshake_feed(struct handshake *h, const uint8_t *in, size_t len, size_t *ret_used)
{
    size_t used = 0, want;
    int rc;
    for (;;) {
        rc = wanted(h, &want);
        if (rc < 0 || h->in_len == want)
            break;
        size_t take = want - h->in_len;
        if (take > len - used)
            take = len - used;
        if (take == 0)
            break;
        memcpy(h->in + h->in_len, in + used, take);
        h->in_len = (uint8_t)(h->in_len + take);
        used += take;
    }
    *ret_used = used;
    if (rc == 0 && h->in_len == want && want > 1) {
        if (h->step == HANDSHAKE_REQUEST)
            rc = read_request(h);
        else if (h->step == HANDSHAKE_RESPONSE)
            rc = read_response(h);
        else
            rc = read_authentication(h);
        h->in_len = 0;
    }
    if (rc < 0)
        wipe_secrets(h);
    return rc;
}
