/* SPDX-License-Identifier: MIT */
#include "agent/history.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void history_done(struct history *history)
{
    free(history->servers);
    *history = (struct history){0};
}

static struct history_server *find(struct history *history, const char *server)
{
    for (size_t i = 0; i < history->count; i++) {
        if (strcmp(history->servers[i].text, server) == 0) {
            return &history->servers[i];
        }
    }
    return NULL; /* an older configuration's */
}

int history_set_servers(struct history *history, const struct config_agent *config)
{
    struct history_server *servers = calloc(config->server_count, sizeof(*servers));

    if (servers == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < config->server_count; i++) {
        const struct history_server *old = NULL;

        config_address_format(&config->servers[i], servers[i].text);
        old = find(history, servers[i].text);
        if (old != NULL) {
            servers[i] = *old;
        }
    }
    free(history->servers);
    history->servers = servers;
    history->count = config->server_count;
    return 0;
}

void history_note(struct history_failure *failure, const char *cause, uint64_t now_us)
{
    (void)snprintf(failure->cause, sizeof(failure->cause), "%s", cause);
    failure->at_us = now_us;
}

void history_failed(struct history *history, const char *server, const char *cause, uint64_t now_us)
{
    struct history_server *known = find(history, server);

    history->failures++;
    history_note(&history->last, cause, now_us);
    if (known != NULL) {
        known->failures++;
        history_note(&known->last, cause, now_us);
    }
}

void history_connected(struct history *history, const char *server)
{
    struct history_server *known = find(history, server);

    history->connections++;
    if (known != NULL) {
        known->connections++;
    }
}
