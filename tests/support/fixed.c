/* SPDX-License-Identifier: MIT */
#include "fixed.h"

#include <string.h>

#include "check.h"
#include "core/conn.h"

const struct handshake_fixed *fixed_of(const struct demo *demo, enum etcp_role role)
{
    static struct handshake_fixed fixed[DEMO_SESSIONS][2];
    struct handshake_fixed *f = &fixed[demo - demo_sessions][role == ETCP_AGENT ? 0 : 1];

    memcpy(f->ephemeral, role == ETCP_AGENT ? demo->agent_ephemeral : demo->server_ephemeral, sizeof(f->ephemeral));
    memcpy(f->token, demo->token, sizeof(f->token));
    memcpy(f->nonce, role == ETCP_AGENT ? demo->agent_nonce : demo->response_nonce, sizeof(f->nonce));
    return f;
}

struct etcp_identity *fixed_identity(const struct demo *demo, enum etcp_role role)
{
    struct etcp_identity *identity = NULL;

    CHECK_INT(etcp_identity_new(role == ETCP_AGENT ? demo->agent_secret : demo->server_secret,
                                demo->has_network_key ? demo->network_key : NULL, &identity),
              0);
    return identity;
}

struct etcp_conn *fixed_conn(struct etcp_pool *pool, const struct demo *demo, enum etcp_role role,
                             const struct etcp_conn_options *options, uint64_t now_us)
{
    struct etcp_conn_options all = options != NULL ? *options : (struct etcp_conn_options){.role = role};
    struct etcp_identity *identity = fixed_identity(demo, role);
    struct etcp_conn *conn = NULL;

    all.role = role;
    all.identity = identity;
    if (role == ETCP_AGENT) {
        all.suite = (enum etcp_suite)demo->suite;
    } else {
        all.classic = demo->suite == ETCP_SUITE_CLASSIC;
    }
    CHECK_INT(conn_new_fixed(pool, &all, now_us, fixed_of(demo, role), &conn), 0);
    etcp_identity_free(identity);
    return conn;
}
