/* SPDX-License-Identifier: MIT */
#include "server/service.h"

#include <stdlib.h>

static const struct service_type *find_type(enum config_service_type type)
{
    switch (type) {
    case CONFIG_SERVICE_ECHO:
        return &service_echo;
    }
    return NULL;
}

int service_open(struct service_streams *owner, const struct config_service *config, struct tally_service *tally,
                 struct link *link, struct etcp_stream *stream, struct service_stream **ret_stream)
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
    code = type->open(service);
    if (code != 0) {
        free(service);
        return code;
    }
    service->next = owner->first;
    if (service->next != NULL) {
        service->next->previous = service;
    }
    owner->first = service;
    tally->open++;
    tally->opened++;
    if (stream != NULL) {
        etcp_stream_set_user(stream, service);
    }
    *ret_stream = service;
    return 0;
}

void service_close(struct service_stream *stream, enum etcp_code code, const char *reason)
{
    if (stream->previous != NULL) {
        stream->previous->next = stream->next;
    } else {
        stream->owner->first = stream->next;
    }
    if (stream->next != NULL) {
        stream->next->previous = stream->previous;
    }
    stream->tally->open--;
    stream->type->release(stream);
    if (stream->stream != NULL) {
        etcp_stream_fail(stream->stream, code, reason);
    }
    free(stream);
}
