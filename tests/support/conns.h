/* SPDX-License-Identifier: MIT
 *
 * Connections for the tests of links. */
#ifndef SUPPORT_CONNS_H
#define SUPPORT_CONNS_H

#include <etcp/etcp.h>

#include "check.h"
#include "net/loop.h"

/* One with these options and an identity of its own. */
static inline struct etcp_conn *conns_new(const struct loop *loop, struct etcp_conn_options options)
{
    uint8_t secret[ETCP_KEY_BYTES];
    struct etcp_identity *identity = NULL;
    struct etcp_conn *conn = NULL;

    etcp_key_generate(secret);
    CHECK_INT(etcp_identity_new(secret, NULL, &identity), 0);
    options.identity = identity;
    CHECK_INT(etcp_conn_new(loop->pool, &options, loop_now_us(), &conn), 0);
    etcp_identity_free(identity);
    return conn;
}

#endif
