/* SPDX-License-Identifier: MIT
 *
 * Connections whose randomness is fixed to that of the demo sessions, through the core's constructor for tests. */
#ifndef SUPPORT_FIXED_H
#define SUPPORT_FIXED_H

#include <etcp/etcp.h>

#include "core/handshake.h"
#include "demo.h"

/* What takes the place of randomness at one end of a session; static. */
const struct handshake_fixed *fixed_of(const struct demo *demo, enum etcp_role role);

/* The static keys of one end; owned by the caller. */
struct etcp_identity *fixed_identity(const struct demo *demo, enum etcp_role role);

/* The end itself. `options` may be NULL; role, identity, suite and classic are set here. Owned by the caller. */
struct etcp_conn *fixed_conn(struct etcp_pool *pool, const struct demo *demo, enum etcp_role role,
                             const struct etcp_conn_options *options, uint64_t now_us);

#endif
