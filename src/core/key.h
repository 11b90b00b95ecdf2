/* SPDX-License-Identifier: MIT
 *
 * What the core knows of keys beyond etcp/key.h: the inside of identities and pools. */
#ifndef CORE_KEY_H
#define CORE_KEY_H

#include <etcp/key.h>

#include "core/aead.h"
#include "core/secret.h"

struct etcp_identity {
    uint8_t secret[ETCP_KEY_BYTES];
    uint8_t network_key[ETCP_KEY_BYTES];
    uint8_t public_key[ETCP_KEY_BYTES];
    bool has_network_key;
};

struct etcp_pool {
    struct secret_arena handshakes; /* SECRET_LARGE_BYTES */
    struct secret_arena sessions;   /* SECRET_SMALL_BYTES */
    struct aead_cache *cache;
    uint64_t stream_factor; /* of the connections' stream tables */
};

/* Whether a static public key is in its one spelling: below 2^255 - 19 (section 1, Keys). */
bool key_is_canonical(const uint8_t key[static ETCP_KEY_BYTES]);

#endif
