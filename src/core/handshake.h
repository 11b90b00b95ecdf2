/* SPDX-License-Identifier: MIT
 *
 * Handshake packets <-> Noise messages, both roles (sections 1 and 2), and the classic suite's own handshake (section 6).
 * It is fed bytes until it fails or knows the peer; what is to be sent lies in `out`. It lives for the handshake only. */
#ifndef CORE_HANDSHAKE_H
#define CORE_HANDSHAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <etcp/conn.h>

#include "core/key.h"
#include "core/noise.h"

enum handshake_packet {
    PACKET_ENCRYPTION_REQUEST = 0x01,
    PACKET_ENCRYPTION_RESPONSE = 0x02,
    PACKET_AUTHENTICATION = 0x08,
    PACKET_REFUSAL = 0x0B,
};

enum {
    HANDSHAKE_TOKEN_BYTES = 8,
    HANDSHAKE_REQUEST_BYTES = 42,
    HANDSHAKE_REQUEST_NETWORK_BYTES = 58,
    HANDSHAKE_RESPONSE_BYTES = 105,
    HANDSHAKE_RESPONSE_CLASSIC_BYTES = 69,
    HANDSHAKE_AUTHENTICATION_BYTES = 65,
    HANDSHAKE_REFUSAL_BYTES = 2,
    HANDSHAKE_PACKET_MAX = HANDSHAKE_RESPONSE_BYTES,
    HANDSHAKE_SUITE_OFFSET = 33,
};

/* What the handshake waits for. */
enum handshake_step {
    HANDSHAKE_REQUEST = 1,    /* server */
    HANDSHAKE_RESPONSE,       /* agent */
    HANDSHAKE_AUTHENTICATION, /* server */
    HANDSHAKE_PEER_KNOWN,     /* nothing: the owner's decision (agent: handshake_authenticate() is left) */
    HANDSHAKE_FINISHED,       /* nothing: the keys are there */
};

/* What a test sets in place of randomness. */
struct handshake_fixed {
    uint8_t ephemeral[NOISE_DH_BYTES];
    uint8_t token[HANDSHAKE_TOKEN_BYTES]; /* agent's */
    uint8_t nonce[AEAD_NONCE_BYTES];      /* classic: the first of this side */
};

struct handshake {
    const struct handshake_fixed *fixed; /* NULL but in tests */
    struct etcp_pool *pool;
    struct noise_secrets *secrets; /* in the pool; NULL once wiped */
    enum handshake_step step;
    bool serve_classic;
    bool has_network_key;
    uint8_t refuse;
    uint8_t suite;   /* 0 while not known */
    uint8_t refusal; /* agent: the code that was received */
    uint8_t in_len, out_len;
    uint8_t token[HANDSHAKE_TOKEN_BYTES];
    uint8_t nonce[AEAD_NONCE_BYTES]; /* classic: the first of this side's records */
    uint8_t in[HANDSHAKE_PACKET_MAX];
    uint8_t out[HANDSHAKE_PACKET_MAX]; /* to be sent; the owner resets out_len */
    const char *error;                 /* the rule that was broken; static */
    struct noise noise;
};

/* Begins a handshake as etcp_conn_new() says; an agent's request is then in `out`. `fixed` is NULL but in
 * tests, and borrowed for the handshake. Returns 0 and an owned handshake, or ETCP_ENOMEM, ETCP_EINVAL, ETCP_EUNSUPPORTED. */
int handshake_new(struct etcp_pool *pool, const struct etcp_conn_options *options, const struct handshake_fixed *fixed,
                  struct handshake **ret_handshake);

/* Wipes and frees; NULL is fine. */
void handshake_free(struct handshake *h);

/* Takes bytes until a packet is whole; stores how many. Returns 0, or ETCP_EHANDSHAKE, ETCP_ESUITE, ETCP_EBUSY,
 * ETCP_EREFUSED with h->error set: then it is over, and what lies in `out` is the last word. */
int handshake_feed(struct handshake *h, const uint8_t *in, size_t len, size_t *ret_used);

/* Agent, when the peer is known and trusted: puts Authentication into `out` (nothing in the classic suite).
 * Returns 0 or ETCP_EHANDSHAKE. */
int handshake_authenticate(struct handshake *h);

/* The keys for sending and receiving, when finished; wipes the handshake's secrets. */
void handshake_keys(struct handshake *h, uint8_t ret_send[static AEAD_KEY_BYTES],
                    uint8_t ret_receive[static AEAD_KEY_BYTES]);

/* The cipher of a suite. */
enum aead_algorithm handshake_algorithm(int suite);

#endif
