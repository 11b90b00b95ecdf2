/* SPDX-License-Identifier: MIT */
#include "server/tally.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <etcp/etcp.h>

#include "config/server.h"

const char *tally_failure_name(enum tally_failure failure)
{
    static const char *const names[TALLY_FAILURES] = {
        [TALLY_TIMEOUT] = "timeout", [TALLY_PROTOCOL] = "protocol", [TALLY_SUITE] = "suite", [TALLY_CLOSED] = "closed",
        [TALLY_SOCKET] = "socket",   [TALLY_PROXY] = "proxy",       [TALLY_OTHER] = "other",
    };

    return names[failure];
}

const char *tally_suite_name(enum tally_suite suite)
{
    static const char *const names[TALLY_SUITES] = {
        [TALLY_AES256GCM] = "aes256gcm",
        [TALLY_CHACHA20POLY1305] = "chacha20poly1305",
        [TALLY_CLASSIC] = "classic",
    };

    return names[suite];
}

enum tally_suite tally_suite_of(int suite)
{
    switch (suite) {
    case ETCP_SUITE_AES256GCM:
    case ETCP_SUITE_AES256GCM_NETWORK:
        return TALLY_AES256GCM;
    case ETCP_SUITE_CLASSIC:
        return TALLY_CLASSIC;
    default:
        return TALLY_CHACHA20POLY1305;
    }
}

static void add_all(uint64_t *numbers, const uint64_t *others, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        numbers[i] += others[i];
    }
}

void tally_add(struct tally *tally, const struct tally *other)
{
    add_all(tally->authenticated, other->authenticated, TALLY_SUITES);
    add_all(tally->failures, other->failures, TALLY_FAILURES);
    add_all(tally->streams_refused, other->streams_refused, TALLY_CODES);
    tally->disconnected_well += other->disconnected_well;
    tally->disconnected_failed += other->disconnected_failed;
    tally->unauthorized += other->unauthorized;
    tally->queued_bytes += other->queued_bytes;
    tally->received_bytes += other->received_bytes;
    tally->sent_bytes += other->sent_bytes;
}

struct tally_service *tally_service(struct tally_service **services, const char *name)
{
    struct tally_service *service = NULL;
    size_t bytes = strlen(name) + 1;

    for (service = *services; service != NULL; service = service->next) {
        if (strcmp(service->name, name) == 0) {
            return service;
        }
    }
    service = calloc(1, sizeof(*service) + bytes);
    if (service == NULL) {
        return NULL;
    }
    service->name = memcpy(service + 1, name, bytes);
    service->next = *services;
    *services = service;
    return service;
}

static bool is_configured(const struct config_server *config, const char *name)
{
    for (size_t i = 0; config != NULL && i < config->service_count; i++) {
        if (strcmp(config->services[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

void tally_prune(struct tally_service **services, const struct config_server *config)
{
    struct tally_service **link = services;

    while (*link != NULL) {
        struct tally_service *service = *link;

        if ((service->open > 0 && config != NULL) || is_configured(config, service->name)) {
            link = &service->next;
        } else {
            *link = service->next;
            free(service);
        }
    }
}
