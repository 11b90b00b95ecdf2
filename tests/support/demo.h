/* SPDX-License-Identifier: MIT
 *
 * The fixed keys and handshake packets of the project's demo sessions, one for each suite, for tests that need both sides
 * of a handshake to be known, and fuzz targets that must not read files. */
#ifndef SUPPORT_DEMO_H
#define SUPPORT_DEMO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    DEMO_SESSIONS = 5,
};

struct demo {
    const char *name;
    int suite;
    uint8_t agent_secret[32], server_secret[32]; /* zeros in the classic suite */
    uint8_t agent_ephemeral[32], server_ephemeral[32];
    bool has_network_key;
    uint8_t network_key[32];
    uint8_t token[8];
    uint8_t response_nonce[12];            /* classic: the server's first */
    uint8_t agent_nonce[12];               /* classic: the agent's first */
    uint8_t agent_key[32], server_key[32]; /* of the records in each direction */
    uint8_t packet[3][105];
    size_t packet_len[3]; /* 0: the suite has no such packet */
};

extern const struct demo demo_sessions[DEMO_SESSIONS];

/* The session of a suite. */
const struct demo *demo_find(int suite);

#endif
