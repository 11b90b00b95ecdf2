/* SPDX-License-Identifier: MIT
 *
 * The PROXY protocol's header (haproxy's proxy-protocol.txt), written towards a backend. Bytes only, no sockets. */
#ifndef SERVER_PROXY_H
#define SERVER_PROXY_H

#include <stddef.h>
#include <stdint.h>

#include <etcp/conn.h>

#include "net/address.h"

enum {
    PROXY_HEADER_MAX = 512,
    PROXY_ID_MAX = 128, /* bytes of a unique id */

    /* TLVs of version 2; those from 0xE0 are for applications. */
    PROXY_TLV_UNIQUE_ID = 0x05,
    PROXY_TLV_AGENT_NAME = 0xE0, /* as in authorized_agents; missing for an agent that is not listed */
    PROXY_TLV_AGENT_KEY = 0xE1,  /* the 57 characters of its public key */
};

struct proxy_facts {
    struct etcp_origin client; /* family 0: not known */
    struct address backend;    /* the other end of the line; of length 0 or a path: not known */
    const char *id;            /* unique; version 2 only, as all that follows */
    const char *agent;         /* NULL: has no name */
    const char *key;           /* NULL: has none */
};

/* Both write a header and return its length. An address of IPv4 beside one of IPv6 is written as an IPv6 one (::ffff:192.0.2.1); a
 * backend that is not known is written as zeros; a client that is not known makes the whole line unknown. */
size_t proxy_write_v1(const struct proxy_facts *facts, uint8_t ret_header[static PROXY_HEADER_MAX]);
size_t proxy_write_v2(const struct proxy_facts *facts, uint8_t ret_header[static PROXY_HEADER_MAX]);

#endif
