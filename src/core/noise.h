/* SPDX-License-Identifier: MIT
 *
 * The Noise Protocol Framework, revision 34, as far as 25519, SHA256 and the two AEADs go: cipher, symmetric and handshake
 * state, driven by patterns that are tables of tokens. Knows no packets and no keys' meaning. */
#ifndef CORE_NOISE_H
#define CORE_NOISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/aead.h"

enum {
    NOISE_DH_BYTES = 32,
    NOISE_HASH_BYTES = 32,
    NOISE_MESSAGES = 3, /* of every pattern here */
    NOISE_TOKENS = 6,   /* of a message, at most, with the end */
};

enum noise_token {
    NOISE_END = 0,
    NOISE_E,
    NOISE_S,
    NOISE_EE,
    NOISE_ES,
    NOISE_SE,
    NOISE_PSK,
};

struct noise_pattern {
    const char *name; /* "XX": the protocol name's second part */
    bool psk;         /* has a psk token, so that e is mixed into the key as well */
    uint8_t messages[NOISE_MESSAGES][NOISE_TOKENS];
};

extern const struct noise_pattern noise_xx, noise_xxpsk0;

/* Everything secret of a handshake; lives in a slot of secret memory. */
struct noise_secrets {
    uint8_t s[NOISE_DH_BYTES];   /* own static key */
    uint8_t e[NOISE_DH_BYTES];   /* own ephemeral key */
    uint8_t psk[NOISE_DH_BYTES]; /* network key */
    uint8_t ck[NOISE_HASH_BYTES];
    uint8_t k[AEAD_KEY_BYTES];
};

struct noise {
    const struct noise_pattern *pattern;
    struct noise_secrets *secrets; /* borrowed */
    uint64_t n;                    /* nonce under k */
    enum aead_algorithm algorithm;
    bool initiator;
    bool has_k;
    bool fixed_e;    /* test: the ephemeral key is there already */
    uint8_t message; /* index of the next message */
    uint8_t h[NOISE_HASH_BYTES];
    uint8_t s_public[NOISE_DH_BYTES];
    uint8_t e_public[NOISE_DH_BYTES];
    uint8_t rs[NOISE_DH_BYTES]; /* the peer's static key, once its message has been read */
    uint8_t re[NOISE_DH_BYTES];
};

/* Begins a handshake. `secrets` holds s (and psk if the pattern has one); it is borrowed until the handshake is over, then
 * wiped by its owner. */
void noise_init(struct noise *noise, const struct noise_pattern *pattern, enum aead_algorithm algorithm, bool initiator,
                const uint8_t *prologue, size_t prologue_len, const uint8_t s_public[static NOISE_DH_BYTES],
                struct noise_secrets *secrets);

/* Bytes of the next message with a payload of `payload_len`. */
size_t noise_message_size(const struct noise *noise, size_t payload_len);

/* Writes the next message, noise_message_size() bytes, to `out`. Returns 0, or -1 if a DH result was all zeros: then the
 * handshake is over and `out` is void. */
int noise_write(struct noise *noise, const uint8_t *payload, size_t payload_len, uint8_t *out);

/* Reads the next message, which must be noise_message_size(payload_len) bytes; stores the payload. Returns 0, or -1 if it
 * does not decrypt, a DH result was all zeros, or a static key is not in its one spelling: the handshake is over. */
int noise_read(struct noise *noise, const uint8_t *in, size_t len, uint8_t *ret_payload, size_t payload_len);

/* Whether all messages are through. */
bool noise_finished(const struct noise *noise);

/* The two cipher keys, initiator's and responder's; only when finished. */
void noise_split(const struct noise *noise, uint8_t ret_initiator[static AEAD_KEY_BYTES],
                 uint8_t ret_responder[static AEAD_KEY_BYTES]);

/* Noise Rekey() of a 32-byte cipher key in place. */
void noise_rekey(enum aead_algorithm algorithm, uint8_t k[static AEAD_KEY_BYTES]);

/* The nonce n as the AEAD's 12 bytes. */
void noise_nonce(enum aead_algorithm algorithm, uint64_t n, uint8_t ret_nonce[static AEAD_NONCE_BYTES]);

#endif
