/* SPDX-License-Identifier: MIT */
#include "server/service.h"

#include <stdlib.h>

#include "base/log.h"
#include "net/loop.h"

static const struct service_type *find_type(enum config_service_type type)
{
    switch (type) {
    case CONFIG_SERVICE_ECHO:
        return &service_echo;
    case CONFIG_SERVICE_FORWARD:
        return &service_forward;
    }
    return NULL;
}

int service_open(struct service_streams *owner, const struct config_service *config, struct tally_service *tally,
                 struct link *link, struct etcp_stream *stream, const struct etcp_origin *origin,
                 struct service_stream **ret_stream)
{
    const struct service_type *type = find_type(config->type);
    struct service_stream *service = type != NULL ? calloc(1, type->size) : NULL;
    int code = 0;

    if (service == NULL) {
        return ETCP_CODE_INTERNAL;
    }
    service->type = type;
    service->config = config;
    service->link = link;
    service->stream = stream;
    service->owner = owner;
    service->tally = tally;
    code = type->open(service, origin);
    if (code != 0) {
        free(service);
        return code;
    }
    LIST_INSERT_HEAD(&owner->open, service, place);
    tally->open++;
    tally->opened++;
    if (stream != NULL) {
        etcp_stream_set_user(stream, service);
    }
    *ret_stream = service;
    return 0;
}

bool service_hold(struct service_stream *stream, size_t bytes)
{
    static struct log_limit limit = LOG_LIMIT(1, 10000000);
    size_t *unlisted = stream->owner->unlisted;
    size_t more = bytes > stream->held ? bytes - stream->held : 0;

    if (unlisted != NULL) {
        if (more > 0 && (*unlisted > SERVICE_UNLISTED_MAX || more > SERVICE_UNLISTED_MAX - *unlisted)) {
            log_limited(&limit, loop_now_us(), LOG_LEVEL_NOTICE, NULL, 0,
                        "stream ended: agents that are not in authorized_agents have %d MiB queued, which is the limit",
                        SERVICE_UNLISTED_MAX / (1024 * 1024));
            return false;
        }
        *unlisted = *unlisted - stream->held + bytes;
    }
    stream->held = bytes;
    return true;
}

void service_account(struct service_streams *streams, size_t *unlisted)
{
    const struct service_stream *stream;

    LIST_FOREACH (stream, &streams->open, place) {
        if (streams->unlisted != NULL) {
            *streams->unlisted -= stream->held;
        }
        if (unlisted != NULL) {
            *unlisted += stream->held;
        }
    }
    streams->unlisted = unlisted;
}

void service_close(struct service_stream *stream, enum etcp_code code, const char *reason)
{
    LIST_REMOVE(stream, place);
    stream->tally->open--;
    stream->type->release(stream);
    (void)service_hold(stream, 0);
    if (stream->stream != NULL) {
        etcp_stream_fail(stream->stream, code, reason);
    }
    free(stream);
}
