/* SPDX-License-Identifier: MIT
 *
 * Forwards: local ports and sockets whose connections are carried to services. Local connections wait here until the pool has a
 * carrier for them, within a time that the configuration gives. A message section beside the forwards has its own mode, which
 * gets the connector's connection as well. */
#include "agent/mode.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <event2/event.h>

#include "agent/pool.h"
#include "agent/port.h"
#include "agent/setup.h"
#include "base/log.h"
#include "net/address.h"
#include "net/link.h"
#include "net/loop.h"
#include "net/splice.h"

enum { DESCRIPTORS_BESIDE = 64, REASON_TEXT_BYTES = 4 * ETCP_REASON_MAX + 1 };

/* A local connection. */
struct local {
    struct port *port;
    struct local *next, *previous; /* of those that wait, or of those that are carried */
    int fd;                        /* -1: the splice's */
    struct event *wait;            /* runs while it waits; NULL: it has just come */
    struct carrier *carrier;       /* NULL: it waits */
    struct local *beside, *before; /* those of the same carrier */
    struct etcp_stream *stream;
    struct splice *splice;
    struct etcp_origin origin; /* none: a Unix socket */
    char *peer;                /* who that is, as text; NULL: not known */
};

struct list {
    struct local *first, *last;
    size_t count;
};

struct tunnel {
    struct mode mode;
    struct loop *loop;
    const struct mode_owner *owner;
    void *user;
    struct pool *pool;
    struct ports ports;
    struct mode *message; /* NULL: none */
    bool message_over;
    struct list waiting, carried;
    bool dispatching;
    bool stopping, emptied;
    struct event *drain; /* ends what is left */
    uint64_t drain_timeout_us;
    uint64_t sent_bytes;
    struct link *link; /* the connector's; NULL: none */
};

static struct tunnel *tunnel_of(struct mode *mode)
{
    return (struct tunnel *)mode;
}

static struct tunnel *tunnel_at(const struct port *port)
{
    return port->ports->user;
}

/* ---- Lists ----------------------------------------------------------------------------------------------------------- */

static void list_append(struct list *list, struct local *local)
{
    local->previous = list->last;
    local->next = NULL;
    if (list->last != NULL) {
        list->last->next = local;
    } else {
        list->first = local;
    }
    list->last = local;
    list->count++;
}

static void list_remove(struct list *list, struct local *local)
{
    if (local->previous != NULL) {
        local->previous->next = local->next;
    } else {
        list->first = local->next;
    }
    if (local->next != NULL) {
        local->next->previous = local->previous;
    } else {
        list->last = local->previous;
    }
    list->count--;
}

/* A carrier's own list. */
static void carrier_append(struct carrier *carrier, struct local *local)
{
    void **first = carrier_user(carrier);

    local->beside = *first;
    local->before = NULL;
    if (local->beside != NULL) {
        local->beside->before = local;
    }
    *first = local;
}

static void carrier_remove(struct carrier *carrier, struct local *local)
{
    if (local->before != NULL) {
        local->before->beside = local->beside;
    } else {
        *carrier_user(carrier) = local->beside;
    }
    if (local->beside != NULL) {
        local->beside->before = local->before;
    }
}

/* ---- Local connections ----------------------------------------------------------------------------------------------- */

static void format_peer(const struct local *local, char ret_text[static ADDRESS_TEXT_BYTES])
{
    struct address address = {0};

    if (local->origin.family == 0) {
        (void)snprintf(ret_text, ADDRESS_TEXT_BYTES, "%s", local->peer != NULL ? local->peer : "unix");
        return;
    }
    if (local->origin.family == 4) {
        address.in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(local->origin.port)};
        memcpy(&address.in.sin_addr, local->origin.address, 4);
        address.len = sizeof(address.in);
    } else {
        address.in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(local->origin.port)};
        memcpy(&address.in6.sin6_addr, local->origin.address, 16);
        address.len = sizeof(address.in6);
    }
    address_format(&address, ret_text);
}

static void log_local(const struct local *local, enum log_level level, const char *what, const char *why)
{
    static struct log_limit limit = LOG_LIMIT(50, 200000);
    const struct port *port = local->port;
    char peer[ADDRESS_TEXT_BYTES];
    const struct log_field fields[] = {{"ETCP_PEER", peer}, {"ETCP_SERVICE", port->service}, {"ETCP_REASON", why}};

    format_peer(local, peer);
    log_limited(&limit, loop_now_us(), level, fields, sizeof(fields) / sizeof(fields[0]),
                "forward %s: connection of %s to service %s %s: %s", port->name, peer, port->service, what, why);
}

/* Frees what a local connection holds itself; its socket is reset if it is still there. */
static void local_free(struct local *local)
{
    struct tunnel *tunnel = tunnel_at(local->port);

    if (local->carrier != NULL) {
        carrier_remove(local->carrier, local);
        list_remove(&tunnel->carried, local);
    } else {
        list_remove(&tunnel->waiting, local);
    }
    if (local->wait != NULL) {
        event_free(local->wait);
    }
    if (local->fd >= 0) {
        splice_reset_socket(local->fd);
    }
    port_leave(local->port);
    free(local->peer);
    free(local);
}

static void check_stopped(struct tunnel *tunnel);

/* The end of one that was carried; gives the stream back. */
static void local_end(struct local *local, enum etcp_code code, const char *reason)
{
    struct tunnel *tunnel = tunnel_at(local->port);
    struct carrier *carrier = local->carrier;

    splice_free(local->splice);
    etcp_stream_fail(local->stream, code, reason);
    local_free(local);
    pool_put(tunnel->pool, carrier);
    check_stopped(tunnel);
}

static void on_splice_closed(struct splice *splice, const struct splice_end *end, void *user)
{
    struct local *local = user;

    (void)splice;
    local->splice = NULL;
    local_end(local, ETCP_CODE_RESET, end->error != 0 ? strerror(-end->error) : NULL);
}

static const struct splice_handler splice_handler = {.closed = on_splice_closed};

/* Gives a local connection to a carrier. Returns 0 when that took it, ETCP_ECLOSED when it takes no more streams, ETCP_ENOMEM. */
static int attach(struct tunnel *tunnel, struct local *local, struct carrier *carrier)
{
    struct link *link = carrier_link(carrier);
    struct etcp_stream *stream = NULL;
    int fd = local->fd;
    int result = etcp_stream_open(link_conn(link), local->port->service, &local->origin, &stream);

    if (result == 0 &&
        splice_new(tunnel->loop, link, stream, &tunnel->sent_bytes, &splice_handler, local, &local->splice) != 0) {
        etcp_stream_fail(stream, ETCP_CODE_INTERNAL, NULL);
        result = ETCP_ENOMEM;
    }
    if (result != 0) {
        if (result == ETCP_ECLOSED) {
            pool_drain(carrier);
        }
        return result;
    }
    list_remove(&tunnel->waiting, local);
    list_append(&tunnel->carried, local);
    if (local->wait != NULL) {
        event_free(local->wait);
        local->wait = NULL;
    }
    carrier_append(carrier, local);
    local->carrier = carrier;
    local->stream = stream;
    local->fd = -1;
    etcp_stream_set_user(stream, local);
    splice_start(local->splice, fd, NULL, 0, true); /* may be its end already */
    link_flush(link);
    return 0;
}

static void on_waited(evutil_socket_t fd, short what, void *arg)
{
    struct local *local = arg;
    struct tunnel *tunnel = tunnel_at(local->port);
    char text[512];
    const char *cause = tunnel->owner->cause(tunnel->user);

    (void)fd;
    (void)what;
    (void)snprintf(text, sizeof(text), "no connection to the server in %.2f s%s%s", (double)local->port->wait_us / 1e6,
                   cause[0] != '\0' ? ": " : "", cause);
    log_local(local, LOG_LEVEL_WARNING, "reset", text);
    local_free(local);
    check_stopped(tunnel);
}

/* Those that wait since now do so for a limited time. */
static void limit_waits(struct tunnel *tunnel)
{
    struct local *previous = NULL;

    for (struct local *local = tunnel->waiting.last; local != NULL && local->wait == NULL; local = previous) {
        const uint64_t wait_us = local->port->wait_us;
        const struct timeval wait = {.tv_sec = (time_t)(wait_us / 1000000u),
                                     .tv_usec = (suseconds_t)(wait_us % 1000000u)};

        previous = local->previous;
        local->wait = evtimer_new(tunnel->loop->base, on_waited, local);
        if (local->wait == NULL || event_add(local->wait, &wait) != 0) {
            log_local(local, LOG_LEVEL_WARNING, "reset", strerror(ENOMEM));
            local_free(local);
        }
    }
}

/* Carries what waits, as far as there are carriers. What is called may end others, and come back here. */
static void dispatch(struct tunnel *tunnel)
{
    if (tunnel->dispatching) {
        return;
    }
    tunnel->dispatching = true;
    pool_want(tunnel->pool, tunnel->waiting.count);
    while (tunnel->waiting.first != NULL) {
        struct carrier *carrier = pool_take(tunnel->pool);
        int result = carrier != NULL ? attach(tunnel, tunnel->waiting.first, carrier) : ETCP_EAGAIN;

        if (carrier != NULL && result != 0) {
            pool_put(tunnel->pool, carrier);
        }
        if (result != 0 && result != ETCP_ECLOSED) {
            break;
        }
    }
    pool_want(tunnel->pool, tunnel->waiting.count);
    limit_waits(tunnel);
    tunnel->dispatching = false;
    if (tunnel->waiting.first != NULL && tunnel->link == NULL) {
        tunnel->owner->hurry(tunnel->user);
    }
}

/* ---- Accepting ------------------------------------------------------------------------------------------------------- */

static void find_origin(struct local *local, const struct address *from)
{
    char text[ADDRESS_TEXT_BYTES];

    switch (from->any.sa_family) {
    case AF_INET:
        local->origin.family = 4;
        local->origin.port = ntohs(from->in.sin_port);
        memcpy(local->origin.address, &from->in.sin_addr, 4);
        break;
    case AF_INET6:
        local->origin.family = 6;
        local->origin.port = ntohs(from->in6.sin6_port);
        memcpy(local->origin.address, &from->in6.sin6_addr, 16);
        break;
    default:
        local->peer =
            address_peer(local->fd, text, NULL) == 0 ? strdup(text) : NULL; /* gone already, as its first read tells */
        break;
    }
}

static void on_arrived(struct port *port, int fd, const struct address *from, void *user)
{
    struct tunnel *tunnel = user;
    struct local *local = calloc(1, sizeof(*local));

    if (local == NULL) {
        splice_reset_socket(fd);
        return;
    }
    local->port = port;
    local->fd = fd;
    find_origin(local, from);
    port_enter(port);
    list_append(&tunnel->waiting, local);
    if (port->connections > port->max_connections) {
        log_local(local, LOG_LEVEL_WARNING, "reset", "forward.max_connections are open");
        local_free(local);
        return;
    }
    dispatch(tunnel);
}

/* Each local connection needs a descriptor, and there should be enough of them. */
static void raise_descriptors(const struct config_agent *config)
{
    struct rlimit limit;
    rlim_t wanted = DESCRIPTORS_BESIDE + config->max_connections;

    for (size_t i = 0; i < config->forward_count; i++) {
        wanted += config->forwards[i].max_connections;
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < wanted) {
        limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
        (void)setrlimit(RLIMIT_NOFILE, &limit); /* accepting pauses when there are too few */
    }
}

/* ---- Streams --------------------------------------------------------------------------------------------------------- */

static void refused(struct local *local, const struct etcp_event *event)
{
    char reason[REASON_TEXT_BYTES], text[REASON_TEXT_BYTES + 64];

    (void)log_escape(event->reason, event->reason_len, reason, sizeof(reason));
    (void)snprintf(text, sizeof(text), "%s%s%s%s", etcp_code_name(event->code), reason[0] != '\0' ? " (" : "", reason,
                   reason[0] != '\0' ? ")" : "");
    /* A reset is what TCP connections end with now and then. */
    log_local(local, event->code == ETCP_CODE_RESET ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING,
              event->code == ETCP_CODE_RESET ? "reset by the server's side" : "refused by the server", text);
    local_end(local, ETCP_CODE_OK, NULL);
}

static void on_stream_event(const struct etcp_event *event, void *user)
{
    struct local *local = etcp_stream_user(event->stream);

    (void)user;
    switch (event->type) {
    case ETCP_EVENT_DATA:
        splice_data(local->splice, event->data, event->len);
        break;
    case ETCP_EVENT_CLOSE:
        splice_peer_closed(local->splice);
        break;
    case ETCP_EVENT_CREDIT:
        splice_writable(local->splice);
        break;
    case ETCP_EVENT_STREAM_ERROR:
        refused(local, event);
        break;
    default:
        break;
    }
}

static void on_carrier_writable(struct carrier *carrier, void *user)
{
    struct local *next = NULL;

    (void)user;
    for (struct local *local = *carrier_user(carrier); local != NULL; local = next) {
        next = local->beside;
        splice_writable(local->splice);
    }
}

static void on_lost(struct carrier *carrier, void *user)
{
    struct tunnel *tunnel = user;
    struct local *next = NULL;

    for (struct local *local = *carrier_user(carrier); local != NULL; local = next) {
        next = local->beside;
        splice_free(local->splice);
        local_free(local);
    }
    check_stopped(tunnel);
}

static void on_ready(void *user)
{
    dispatch(user);
}

static void on_emptied(void *user)
{
    check_stopped(user);
}

static const struct pool_handler pool_handler = {
    .ready = on_ready,
    .event = on_stream_event,
    .writable = on_carrier_writable,
    .lost = on_lost,
    .emptied = on_emptied,
};

/* ---- Beside it: messages --------------------------------------------------------------------------------------------- */

static void on_messages_finished(void *user, int exit_code)
{
    struct tunnel *tunnel = user;

    tunnel->message_over = true;
    if (exit_code != EX_OK) {
        tunnel->owner->finished(tunnel->user, exit_code);
        return;
    }
    log_message(LOG_LEVEL_INFO, "all messages have been echoed");
    pool_main_release(tunnel->pool);
}

static void on_messages_give_up(void *user, const char *cause)
{
    struct tunnel *tunnel = user;

    tunnel->owner->give_up(tunnel->user, cause);
}

static const char *on_messages_cause(void *user)
{
    struct tunnel *tunnel = user;

    return tunnel->owner->cause(tunnel->user);
}

static void on_messages_hurry(void *user)
{
    (void)user; /* they can wait */
}

static const struct mode_owner message_owner = {
    .finished = on_messages_finished,
    .give_up = on_messages_give_up,
    .cause = on_messages_cause,
    .hurry = on_messages_hurry,
};

static bool has_messages(const struct tunnel *tunnel)
{
    return tunnel->message != NULL && !tunnel->message_over;
}

/* ---- Of the connector's connection ----------------------------------------------------------------------------------- */

static void up(struct mode *mode, struct link *link)
{
    struct tunnel *tunnel = tunnel_of(mode);

    tunnel->link = link;
    if (has_messages(tunnel)) {
        tunnel->message->type->up(tunnel->message, link);
    }
    pool_main_up(tunnel->pool, link, has_messages(tunnel));
}

static void on_event(struct mode *mode, const struct etcp_event *event)
{
    struct tunnel *tunnel = tunnel_of(mode);
    bool ours = event->stream != NULL && etcp_stream_user(event->stream) != NULL;

    if (ours || event->type == ETCP_EVENT_DRAIN || event->type == ETCP_EVENT_OPEN) {
        pool_main_event(tunnel->pool, event);
    }
    if (!ours && event->type != ETCP_EVENT_OPEN && has_messages(tunnel)) {
        tunnel->message->type->event(tunnel->message, event);
    }
}

static void writable(struct mode *mode)
{
    struct tunnel *tunnel = tunnel_of(mode);

    if (has_messages(tunnel)) {
        tunnel->message->type->writable(tunnel->message);
    }
    pool_main_writable(tunnel->pool);
}

static void down(struct mode *mode)
{
    struct tunnel *tunnel = tunnel_of(mode);

    tunnel->link = NULL;
    if (tunnel->message != NULL) {
        tunnel->message->type->down(tunnel->message);
    }
    pool_main_down(tunnel->pool);
    dispatch(tunnel);
}

/* ---- Reload and end -------------------------------------------------------------------------------------------------- */

static void drop_messages(struct tunnel *tunnel)
{
    if (tunnel->message != NULL) {
        tunnel->message->type->free(tunnel->message);
        tunnel->message = NULL;
    }
}

static int reload(struct mode *mode, struct setup *setup, bool *ret_reconnect, struct error_text *ret_error)
{
    struct tunnel *tunnel = tunnel_of(mode);
    const struct config_agent *config = setup->config;
    struct port *ports = NULL;
    bool reconnect = false;
    int result = ports_make(&tunnel->ports, config, &ports, ret_error);

    if (result < 0) {
        return result;
    }
    if (config->sends_messages && has_messages(tunnel)) {
        result = tunnel->message->type->reload(tunnel->message, setup, &reconnect, ret_error);
    } else if (config->sends_messages && tunnel->message == NULL) {
        result = mode_message_new(tunnel->loop, config, &message_owner, tunnel, &tunnel->message);
        tunnel->message_over = false;
        reconnect = true;
    }
    if (result < 0) {
        ports_drop(ports);
        return error_set(ret_error, result, "%s", strerror(-result));
    }
    if (!config->sends_messages && tunnel->message != NULL) {
        reconnect = has_messages(tunnel);
        drop_messages(tunnel);
    }
    ports_reload(&tunnel->ports, ports);
    raise_descriptors(config);
    tunnel->drain_timeout_us = config->drain_timeout_us;
    pool_reload(tunnel->pool, setup);
    *ret_reconnect = reconnect;
    return 0;
}

static void view(struct mode *mode, struct mode_view *ret_view)
{
    struct tunnel *tunnel = tunnel_of(mode);

    *ret_view = (struct mode_view){0};
    if (tunnel->message != NULL) {
        tunnel->message->type->view(tunnel->message, ret_view);
    }
    ret_view->waiting = tunnel->waiting.count;
    ret_view->carried = tunnel->carried.count;
    pool_count(tunnel->pool, &ret_view->connections, &ret_view->idle_connections);
}

/* When everything has gone that was waited for, the owner is told once. */
static void check_stopped(struct tunnel *tunnel)
{
    if (tunnel->stopping && !tunnel->emptied && tunnel->carried.count == 0 && tunnel->waiting.count == 0 &&
        pool_is_empty(tunnel->pool)) {
        tunnel->emptied = true;
        (void)event_del(tunnel->drain);
        tunnel->owner->finished(tunnel->user, EX_OK);
    }
}

static void end_locals(struct tunnel *tunnel)
{
    while (tunnel->carried.first != NULL) {
        struct link *link = carrier_link(tunnel->carried.first->carrier);

        local_end(tunnel->carried.first, ETCP_CODE_SHUTTING_DOWN, "the agent is shutting down");
        link_flush(link);
    }
}

static void on_drained(evutil_socket_t fd, short what, void *arg)
{
    struct tunnel *tunnel = arg;

    (void)fd;
    (void)what;
    log_message(LOG_LEVEL_NOTICE, "%zu connections are still forwarded after drain_timeout: reset",
                tunnel->carried.count);
    end_locals(tunnel);
    pool_stop(tunnel->pool, false);
}

static bool stop(struct mode *mode, bool at_once)
{
    struct tunnel *tunnel = tunnel_of(mode);
    const struct timeval timeout = {.tv_sec = (time_t)(tunnel->drain_timeout_us / 1000000u),
                                    .tv_usec = (suseconds_t)(tunnel->drain_timeout_us % 1000000u)};

    tunnel->stopping = true;
    ports_take(&tunnel->ports, NULL);
    while (tunnel->waiting.first != NULL) {
        log_local(tunnel->waiting.first, LOG_LEVEL_WARNING, "reset", "the agent is stopped");
        local_free(tunnel->waiting.first);
    }
    if (at_once || event_add(tunnel->drain, &timeout) != 0) {
        end_locals(tunnel);
    }
    pool_stop(tunnel->pool, at_once);
    if (!tunnel->emptied && tunnel->carried.count == 0 && pool_is_empty(tunnel->pool)) {
        tunnel->emptied = true;
        (void)event_del(tunnel->drain);
        return true;
    }
    return tunnel->emptied;
}

static void tunnel_free(struct mode *mode)
{
    struct tunnel *tunnel = tunnel_of(mode);

    ports_free(&tunnel->ports);
    splice_free_orphans(tunnel->loop);
    pool_free(tunnel->pool);
    drop_messages(tunnel);
    if (tunnel->drain != NULL) {
        event_free(tunnel->drain);
    }
    free(tunnel);
}

static const struct mode_type tunnel_type = {
    .up = up,
    .event = on_event,
    .writable = writable,
    .down = down,
    .reload = reload,
    .view = view,
    .stop = stop,
    .free = tunnel_free,
};

int mode_tunnel_new(struct loop *loop, struct setup *setup, const struct mode_owner *owner, void *user,
                    struct mode **ret_mode, struct error_text *ret_error)
{
    struct tunnel *tunnel = calloc(1, sizeof(*tunnel));
    const struct config_agent *config = setup->config;
    struct port *ports = NULL;
    int result = -ENOMEM;

    if (tunnel == NULL) {
        return error_set(ret_error, result, "%s", strerror(ENOMEM));
    }
    tunnel->mode.type = &tunnel_type;
    tunnel->loop = loop;
    tunnel->ports = (struct ports){.loop = loop, .arrived = on_arrived, .user = tunnel};
    tunnel->owner = owner;
    tunnel->user = user;
    tunnel->drain_timeout_us = config->drain_timeout_us;
    tunnel->drain = evtimer_new(loop->base, on_drained, tunnel);
    if (tunnel->drain != NULL) {
        result = pool_new(loop, setup, &pool_handler, tunnel, &tunnel->pool);
    }
    if (result == 0 && config->sends_messages) {
        result = mode_message_new(loop, config, &message_owner, tunnel, &tunnel->message);
    }
    if (result < 0) {
        (void)error_set(ret_error, result, "%s", strerror(-result));
    } else {
        result = ports_start(&tunnel->ports, config, &ports, ret_error);
    }
    if (result < 0) {
        tunnel_free(&tunnel->mode);
        return result;
    }
    ports_take(&tunnel->ports, ports);
    raise_descriptors(config);
    *ret_mode = &tunnel->mode;
    return 0;
}
