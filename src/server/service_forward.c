/* SPDX-License-Identifier: MIT
 *
 * Forward: carries a stream to a backend. It was authorised before it came here. What arrives while the backend is dialled waits
 * in the splice, within the stream's window. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <etcp/key.h>

#include "base/log.h"
#include "net/dial.h"
#include "net/link.h"
#include "net/loop.h"
#include "net/splice.h"
#include "server/descriptors.h"
#include "server/proxy.h"
#include "server/service.h"

struct forward {
    struct service_stream base;
    struct dial *dial;     /* NULL: connected */
    struct splice *splice; /* NULL: over */
    struct etcp_origin origin;
};

static struct forward *forward_of(struct service_stream *stream)
{
    return (struct forward *)stream;
}

static bool on_hold(size_t bytes, void *user)
{
    struct forward *forward = user;

    return service_hold(&forward->base, bytes);
}

static void on_closed(struct splice *splice, const struct splice_end *end, void *user)
{
    struct forward *forward = user;

    (void)splice;
    forward->splice = NULL;
    /* Not `limit`, which says that the stream was not taken: it has been, and the backend may have got a part of it. */
    service_close(&forward->base, end->error == -ENOBUFS ? ETCP_CODE_INTERNAL : ETCP_CODE_RESET,
                  end->error != 0 ? strerror(-end->error) : NULL);
}

static const struct splice_handler splice_handler = {.hold = on_hold, .closed = on_closed};

static size_t write_header(const struct forward *forward, const struct address *backend,
                           uint8_t ret_header[static PROXY_HEADER_MAX])
{
    const struct service_client *client = &forward->base.owner->client;
    char key[ETCP_KEY_TEXT_BYTES], id[PROXY_ID_MAX];
    const struct proxy_facts facts = {
        .client = forward->origin,
        .backend = *backend,
        .id = id,
        .agent = client->agent,
        .key = client->key != NULL ? key : NULL,
    };

    if (forward->base.config->proxy_protocol == CONFIG_PROXY_OFF) {
        return 0;
    }
    if (client->key != NULL) {
        etcp_key_format(ETCP_KEY_PUBLIC, client->key, key);
    }
    (void)snprintf(id, sizeof(id), "%s-%" PRIu64 "-%" PRIu32, client->host->process, client->connection,
                   etcp_stream_id(forward->base.stream));
    return forward->base.config->proxy_protocol == CONFIG_PROXY_V1 ? proxy_write_v1(&facts, ret_header)
                                                                   : proxy_write_v2(&facts, ret_header);
}

static void log_failed(const struct forward *forward, const char *reason)
{
    static struct log_limit limit = LOG_LIMIT(20, 1000000);
    const struct config_service *config = forward->base.config;
    const struct service_client *client = &forward->base.owner->client;
    const struct log_field fields[] = {{"ETCP_PEER", client->peer},
                                       {"ETCP_AGENT", client->agent},
                                       {"ETCP_SERVICE", config->name},
                                       {"ETCP_REASON", reason}};
    char to[CONFIG_ADDRESS_TEXT_BYTES];

    config_address_format(&config->to, to);
    log_limited(&limit, loop_now_us(), LOG_LEVEL_WARNING, fields, sizeof(fields) / sizeof(fields[0]),
                "backend failed: service=%s to=%s peer=%s agent=%s reason=\"%s\"", config->name, to, client->peer,
                client->agent != NULL ? client->agent : "(unlisted)", reason);
}

static void on_dialled(const struct dial_result *result, void *user)
{
    struct forward *forward = user;
    struct link *link = forward->base.link;
    uint8_t header[PROXY_HEADER_MAX];
    char reason[128];

    forward->dial = NULL;
    if (result->fd >= 0) {
        splice_prepare_socket(result->fd, forward->base.config->keepalive_us, forward->base.config->user_timeout_us);
        splice_start(forward->splice, result->fd, header, write_header(forward, &result->address, header), false);
        link_flush(link); /* the credit for what has waited */
        return;
    }
    forward->base.tally->failed++;
    log_failed(forward, result->reason);
    (void)snprintf(reason, sizeof(reason), "the backend: %s", result->reason);
    service_close(&forward->base, result->timed_out ? ETCP_CODE_TIMEOUT : ETCP_CODE_CONNECT_FAILED, reason);
    link_flush(link);
}

static int forward_open(struct service_stream *stream, const struct etcp_origin *origin)
{
    struct forward *forward = forward_of(stream);
    const struct config_service *config = stream->config;
    const struct service_host *host = stream->owner->client.host;
    const struct dial_target target = {
        .path = config->to.kind == CONFIG_ADDRESS_UNIX ? config->to.path : NULL,
        .host = config->to.host,
        .port = config->to.port,
    };
    int r = 0;

    if (stream->stream == NULL) {
        return ETCP_CODE_INTERNAL; /* a classic peer has messages; the configuration does not allow it */
    }
    forward->origin = *origin;
    if (!descriptors_take()) {
        log_failed(forward, "backends have all descriptors that they may have (RLIMIT_NOFILE)");
        return ETCP_CODE_CONNECT_FAILED;
    }
    if (splice_new(host->loop, stream->link, stream->stream, &stream->tally->sent_bytes, &splice_handler, forward,
                   &forward->splice) != 0) {
        descriptors_give();
        return ETCP_CODE_INTERNAL;
    }
    r = dial_start(host->dialer, &target, config->connect_timeout_us, on_dialled, forward, &forward->dial);
    if (r != 0) {
        log_failed(forward, strerror(-r));
        splice_free(forward->splice);
        descriptors_give();
        return ETCP_CODE_CONNECT_FAILED;
    }
    return 0;
}

static void forward_data(struct service_stream *stream, uint8_t *data, size_t len)
{
    splice_data(forward_of(stream)->splice, data, len);
}

static void forward_peer_closed(struct service_stream *stream)
{
    splice_peer_closed(forward_of(stream)->splice);
}

static void forward_writable(struct service_stream *stream)
{
    splice_writable(forward_of(stream)->splice);
}

static void forward_release(struct service_stream *stream)
{
    struct forward *forward = forward_of(stream);

    dial_cancel(forward->dial);
    splice_free(forward->splice);
    descriptors_give();
}

const struct service_type service_forward = {
    .size = sizeof(struct forward),
    .open = forward_open,
    .data = forward_data,
    .peer_closed = forward_peer_closed,
    .writable = forward_writable,
    .release = forward_release,
};
