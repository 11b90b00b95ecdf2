/* SPDX-License-Identifier: MIT */
#include "agent/explain.h"

#include <errno.h>
#include <stdio.h>

#include "base/log.h"

const char *explain_connect(int error)
{
    switch (error) {
    case ECONNREFUSED:
        return "; is etcp-server running there, and bound to this address?";
    case ETIMEDOUT:
        return "; is the address right, and does a firewall let this port through?";
    default:
        return "";
    }
}

const char *explain_refusal(int code)
{
    switch (code) {
    case ETCP_REFUSAL_UNSUPPORTED_SUITE:
        return "unsupported-suite";
    case ETCP_REFUSAL_BUSY:
        return "busy";
    case ETCP_REFUSAL_SHUTTING_DOWN:
        return "shutting-down";
    default:
        return "unknown code";
    }
}

void explain_stream_error(const char *service, const struct etcp_event *event, struct explanation *ret_explanation)
{
    char reason[4 * ETCP_REASON_MAX + 1] = "";

    (void)log_escape(event->reason, event->reason_len, reason, sizeof(reason));
    (void)snprintf(ret_explanation->what, sizeof(ret_explanation->what), "%s%s%s%s", etcp_code_name(event->code),
                   reason[0] != '\0' ? " (" : "", reason, reason[0] != '\0' ? ")" : "");
    (void)snprintf(ret_explanation->cause, sizeof(ret_explanation->cause), "service \"%s\": %s", service,
                   ret_explanation->what);
    ret_explanation->advice = "";
    if (event->code == ETCP_CODE_NO_SUCH_SERVICE) {
        ret_explanation->advice = "; name a service that the server's configuration has";
    } else if (event->code == ETCP_CODE_CONNECT_FAILED) {
        ret_explanation->advice = "; look at what the service leads to, behind the server";
    } else if (event->code == ETCP_CODE_UNAUTHORIZED) {
        ret_explanation->advice =
            "; the server's administrator must put this agent's name into the service's allow list";
    }
}
