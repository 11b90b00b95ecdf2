/* SPDX-License-Identifier: MIT
 *
 * What failures of a connection and its streams mean, for people, and what to do about them. */
#ifndef ETCP_AGENT_EXPLAIN_H
#define ETCP_AGENT_EXPLAIN_H

#include <etcp/etcp.h>

/* What to look at when connecting to a server ended with an errno: "; is it ...?", or "". */
const char *explain_connect(int error);

/* The name of a Refusal's code (section 2). */
const char *explain_refusal(int code);

/* What a Stream Error says about a service, escaped: without and with what to do about it. */
struct explanation {
    char what[4 * ETCP_REASON_MAX + 64];   /* its code and reason */
    char cause[4 * ETCP_REASON_MAX + 160]; /* the same behind the service's name */
    const char *advice;                    /* "; do this", or "" */
};
void explain_stream_error(const char *service, const struct etcp_event *event, struct explanation *ret_explanation);

#endif
