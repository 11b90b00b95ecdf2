/* SPDX-License-Identifier: MIT
 *
 * The PROXY protocol's header (haproxy's proxy-protocol.txt): written towards a backend, and read from a balancer in front of the
 * server. Bytes only, no sockets. */
#ifndef SERVER_PROXY_H
#define SERVER_PROXY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <etcp/conn.h>

#include "net/address.h"

#define PROXY_V1_PREFIX    "PROXY "
#define PROXY_V2_SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

enum {
    PROXY_HEADER_MAX = 512, /* of those that are written */
    PROXY_ID_MAX = 128,     /* bytes of a unique id */

    PROXY_V1_MAX = 107,    /* a line with its end */
    PROXY_READ_MAX = 1024, /* of those that are read: addresses of Unix sockets take 232, the rest is for TLVs */

    /* Version 2: signature, version and command, family and transport, length of what follows. */
    PROXY_V2_SIGNATURE_BYTES = 12,
    PROXY_V2_HEAD_BYTES = 16,
    PROXY_V2_LOCAL = 0x20,
    PROXY_V2_PROXY = 0x21,
    PROXY_V2_UNSPEC = 0x00,
    PROXY_V2_TCP4 = 0x11,
    PROXY_V2_TCP6 = 0x21,
    PROXY_V2_UNIX = 0x31,
    PROXY_V2_PATH_BYTES = 108, /* of each end */

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

enum proxy_verdict {
    PROXY_MORE, /* as far as it goes it may be a header, and all of it belongs to that */
    PROXY_DONE,
    PROXY_BAD,
};

/* Whom a header speaks for. */
enum proxy_speaker {
    PROXY_CLIENT,  /* for the client at `address` */
    PROXY_UNKNOWN, /* for somebody: the connection's own address counts */
    PROXY_LOCAL,   /* for the balancer itself, that looks whether the server is there */
};

struct proxy_source {
    enum proxy_speaker speaker;
    struct address address; /* of a client; one with a Unix socket may have no path */
};

/* Reads a header of either version from the first `len` bytes of a connection. PROXY_DONE stores its length, which is not above
 * PROXY_READ_MAX, and whom it speaks for; PROXY_BAD, said as soon as it is certain, a static text that tells why. What a
 * TLV says is not looked at. */
enum proxy_verdict proxy_read(const uint8_t *in, size_t len, size_t *ret_len, struct proxy_source *ret_source,
                              const char **ret_why);

#endif
