/* SPDX-License-Identifier: MIT
 *
 * How the agent has fared with each of its servers, for status and metrics. Notes only: it decides nothing. */
#ifndef AGENT_HISTORY_H
#define AGENT_HISTORY_H

#include <stddef.h>
#include <stdint.h>

#include "agent/client.h"
#include "config/agent.h"

struct history_failure {
    char cause[CLIENT_CAUSE_BYTES]; /* escaped; "": none yet */
    uint64_t at_us;
};

struct history_server {
    char text[CONFIG_ADDRESS_TEXT_BYTES];
    uint64_t connections, failures;
    struct history_failure last;
};

/* Zeros are an empty one. */
struct history {
    struct history_server *servers; /* in the order of trying */
    size_t count;
    uint64_t attempts, connections,
        failures; /* a failure: an address that was of no use, or a connection that was lost */
    struct history_failure last;
};

/* Takes a copy of `cause`, cut to fit. */
void history_note(struct history_failure *failure, const char *cause, uint64_t now_us);

/* Frees what it holds. */
void history_done(struct history *history);

/* Notes for these servers, old ones kept where a server stays. Returns 0, or -ENOMEM and nothing has changed. */
int history_set_servers(struct history *history, const struct config_agent *config);

/* A server, by its text, was of no use or is lost; or there is a connection to it. */
void history_failed(struct history *history, const char *server, const char *cause, uint64_t now_us);
void history_connected(struct history *history, const char *server);

#endif
