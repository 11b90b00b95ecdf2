/* SPDX-License-Identifier: MIT
 *
 * Which suite an agent asks a server for. */
#ifndef ETCP_AGENT_SUITE_H
#define ETCP_AGENT_SUITE_H

#include <stdbool.h>

#include <etcp/etcp.h>

#include "config/agent.h"

/* The suite to ask for, and never one that does not fit the network key or its absence: automatically it is AES-256-GCM where
 * this processor has it (`aes`). */
enum etcp_suite suite_to_ask_for(enum config_suite configured, bool aes, bool network_key);

/* The suite that may be asked for in the next connection after a Refusal `unsupported-suite` of `refused`, or 0 if there is
 * none (section 2: 0x02 after 0x01, 0x12 after 0x11, nothing else, and only where it was chosen automatically). */
int suite_after_refusal(enum config_suite configured, int refused);

#endif
