/* SPDX-License-Identifier: MIT */
#include "agent/retry.h"

#include <etcp/etcp.h>

static bool is_open(const struct retry_facts *facts)
{
    return !facts->heard && facts->tries < RETRY_MAX;
}

bool retry_after_error(const struct retry_facts *facts, int code)
{
    switch (code) {
    case ETCP_CODE_SHUTTING_DOWN:
        /* After its Goodbye a server finishes what it has taken, and answers so what it has not: the two have crossed. Before
         * that it is somebody's reason to end a stream that may have been at work. */
        return facts->announced && is_open(facts);
    case ETCP_CODE_LIMIT:
        /* One stream too many in this connection: another one may have room. */
        return is_open(facts);
    default:
        return false;
    }
}

bool retry_after_end(const struct retry_facts *facts, bool settled)
{
    /* What was sent on a connection that broke may have been delivered: only where nothing was, nothing can be delivered twice. */
    return (settled || !facts->sent) && is_open(facts);
}
