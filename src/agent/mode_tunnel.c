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

#include "agent/beside.h"
#include "agent/explain.h"
#include "agent/local.h"
#include "agent/pool.h"
#include "agent/port.h"
#include "agent/retry.h"
#include "agent/setup.h"
#include "base/log.h"
#include "net/address.h"
#include "net/kept.h"
#include "net/link.h"
#include "net/loop.h"
#include "net/splice.h"

enum { DESCRIPTORS_BESIDE = 64 };

/* A server that has not taken a stream says so within a round trip. After so long nothing is kept for another one. */
#define FORGET_US 5000000u

struct tunnel {
    struct mode mode;
    struct loop *loop;
    const struct mode_owner *owner;
    void *user;
    struct pool *pool;
    struct ports ports;
    struct beside beside;
    int exit_code;                      /* when it has stopped */
    struct local_list waiting, carried; /* the latter by carried_us */
    size_t kept;                        /* bytes, of all */
    struct event *forget;               /* runs while something may be kept */
    uint64_t forgotten_us;              /* nothing is kept of those that are carried since then or longer */
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

/* ---- Local connections ----------------------------------------------------------------------------------------------- */

static void stop_waiting(struct local *local)
{
    if (local->wait != NULL) {
        event_free(local->wait);
        local->wait = NULL;
    }
}

/* Frees what a local connection holds itself; its socket is reset if it is still there. */
static void local_free(struct local *local)
{
    struct tunnel *tunnel = tunnel_at(local->port);

    if (local->carrier != NULL) {
        local_alight(local);
        local_remove(&tunnel->carried, local);
        local->port->carried--;
    } else {
        local_remove(&tunnel->waiting, local);
    }
    stop_waiting(local);
    if (local->fd >= 0) {
        splice_reset_socket(local->fd);
    }
    kept_free(local->kept);
    port_leave(local->port);
    free(local->peer);
    free(local);
}

/* It will not be carried, or not any longer: for want of a connection, of a place, or of the server's consent. */
static void refuse(const struct local *local, const char *what, const char *why)
{
    local->port->refused++;
    history_note(&local->port->last_refusal, why, loop_now_us());
    local_log(local, LOG_LEVEL_WARNING, what, why);
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

/* Runs until what is kept of young streams may be forgotten. */
static void arm_forget(struct tunnel *tunnel)
{
    const struct timeval after = loop_span(FORGET_US);

    if (!event_pending(tunnel->forget, EV_TIMEOUT, NULL)) {
        (void)event_add(tunnel->forget, &after); /* without memory it is kept until the server's first word */
    }
}

static void heard(struct local *local)
{
    local->heard = true;
    splice_forget(local->splice);
}

static void on_forget(evutil_socket_t fd, short what, void *arg)
{
    struct tunnel *tunnel = arg;
    const uint64_t now = loop_now_us();
    bool more = false;

    (void)fd;
    (void)what;
    for (struct local *local = TAILQ_LAST(&tunnel->carried.queue, local_queue);
         local != NULL && local->carried_us > tunnel->forgotten_us; local = TAILQ_PREV(local, local_queue, place)) {
        if (!carrier_is_up(local->carrier)) {
            continue; /* nobody has been asked */
        }
        if (now - local->carried_us < FORGET_US) {
            more = true;
        } else {
            heard(local); /* or it would have been told otherwise */
        }
    }
    tunnel->forgotten_us = now - FORGET_US;
    if (more) {
        arm_forget(tunnel);
    }
}

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
    if (local->kept == NULL) {
        local->kept = kept_new(&tunnel->kept);
    }
    if (local->kept != NULL) { /* without memory there is just no second try */
        splice_keep(local->splice, local->kept);
        local->kept = NULL;
    }
    local_remove(&tunnel->waiting, local);
    local_append(&tunnel->carried, local);
    local->port->carried++;
    local->carried_us = loop_now_us();
    local->heard = false;
    if (carrier_is_up(carrier)) {
        stop_waiting(local);
    }
    local_board(local, carrier);
    local->stream = stream;
    local->fd = -1;
    arm_forget(tunnel);
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
    (void)snprintf(text, sizeof(text), "%s%sno %sconnection to the server in %.2f s%s%s",
                   local->why != NULL ? local->why : "", local->why != NULL ? ", and " : "",
                   local->why != NULL ? "other " : "", (double)local->port->wait_us / 1e6, cause[0] != '\0' ? ": " : "",
                   cause);
    refuse(local, "reset", text);
    if (local->carrier != NULL) { /* the server has been sent its stream, but does not answer */
        struct link *link = carrier_link(local->carrier);

        pool_doubt(local->carrier);
        local_end(local, ETCP_CODE_TIMEOUT, "the agent waited too long for an answer");
        link_flush(link);
        return;
    }
    local_free(local);
    check_stopped(tunnel);
}

/* Has it wait until its deadline. Returns whether there was memory for that. */
static bool start_waiting(struct local *local)
{
    struct tunnel *tunnel = tunnel_at(local->port);
    const struct timeval timeout = loop_until(local->deadline_us);

    stop_waiting(local);
    local->wait = evtimer_new(tunnel->loop->base, on_waited, local);
    return local->wait != NULL && event_add(local->wait, &timeout) == 0;
}

/* Those that wait since now do so for a limited time. */
static void limit_waits(struct tunnel *tunnel)
{
    struct local *previous = NULL;

    for (struct local *local = TAILQ_LAST(&tunnel->waiting.queue, local_queue); local != NULL && local->wait == NULL;
         local = previous) {
        previous = TAILQ_PREV(local, local_queue, place);
        local->deadline_us = loop_now_us() + local->port->wait_us;
        if (!start_waiting(local)) {
            refuse(local, "reset", strerror(ENOMEM));
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
    while (!TAILQ_EMPTY(&tunnel->waiting.queue)) {
        struct carrier *carrier = pool_take(tunnel->pool);
        int result = carrier != NULL ? attach(tunnel, TAILQ_FIRST(&tunnel->waiting.queue), carrier) : ETCP_EAGAIN;

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
    if (!TAILQ_EMPTY(&tunnel->waiting.queue) && tunnel->link == NULL) {
        tunnel->owner->hurry(tunnel->user);
    }
}

/* ---- Accepting ------------------------------------------------------------------------------------------------------- */

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
    local_identify(local, from);
    port_enter(port);
    local_append(&tunnel->waiting, local);
    if (port->connections > port->max_connections) {
        refuse(local, "reset", "forward.max_connections are open");
        local_free(local);
        return;
    }
    dispatch(tunnel);
}

/* Each local connection needs a descriptor, and there should be enough of them. */
static void raise_descriptors(const struct config_agent *config)
{
    struct rlimit limit;
    rlim_t wanted = DESCRIPTORS_BESIDE + 2 * (rlim_t)config->max_connections; /* some drain while others come */

    for (size_t i = 0; i < config->forward_count; i++) {
        wanted += config->forwards[i].max_connections;
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < wanted) {
        limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
        (void)setrlimit(RLIMIT_NOFILE, &limit); /* accepting pauses when there are too few */
    }
}

/* ---- Streams --------------------------------------------------------------------------------------------------------- */

static struct retry_facts facts_of(const struct local *local)
{
    return (struct retry_facts){
        .heard = local->heard,
        .sent = splice_has_sent(local->splice),
        .announced = carrier_announced(local->carrier),
        .tries = local->tries,
    };
}

/* Takes it back from a stream that nobody has taken, to wait for another one, `anew` or for what is left of its time. The stream is
 * the caller's. Returns false, and nothing has changed, if that can't be. */
static bool take_back(struct local *local, const char *why, bool anew)
{
    struct tunnel *tunnel = tunnel_at(local->port);
    struct kept *kept = NULL;

    if (anew || local->deadline_us == 0) {
        local->deadline_us = loop_now_us() + local->port->wait_us;
    } else if (loop_now_us() >= local->deadline_us) {
        return false; /* or servers that refuse late would keep it for ever */
    }
    if (!tunnel->stopping && start_waiting(local)) {
        kept = splice_take_apart(local->splice, &local->fd);
    }
    if (kept == NULL) {
        stop_waiting(local);
        return false;
    }
    local->splice = NULL;
    local->stream = NULL;
    local->kept = kept;
    local->why = why;
    local->tries += anew;
    local_remove(&tunnel->carried, local);
    local->port->carried--;
    local_alight(local);
    local_prepend(&tunnel->waiting, local);
    local_log(local, LOG_LEVEL_DEBUG, "waits for another stream", why);
    return true;
}

/* A stream that the server has not taken; returns whether another one will be tried. */
static bool retried(struct local *local, const struct etcp_event *event)
{
    const struct retry_facts facts = facts_of(local);
    const bool full = event->code == ETCP_CODE_LIMIT;
    struct tunnel *tunnel = tunnel_at(local->port);
    struct carrier *carrier = local->carrier;

    if (!retry_after_error(&facts, event->code) ||
        !take_back(local, full ? "the server takes no more streams in a connection" : "the server is shutting down",
                   !full)) {
        return false;
    }
    etcp_stream_fail(event->stream, ETCP_CODE_OK, NULL);
    if (full) {
        pool_full(carrier);
    }
    pool_put(tunnel->pool, carrier);
    return true;
}

static void refused(struct local *local, const struct etcp_event *event)
{
    struct explanation explained;
    char text[sizeof(explained.what) + 128];

    explain_stream_error(local->port->service, event, &explained);
    (void)snprintf(text, sizeof(text), "%s%s", explained.what, explained.advice);
    if (event->code == ETCP_CODE_RESET) { /* what TCP connections end with now and then */
        local_log(local, LOG_LEVEL_DEBUG, "reset by the server's side", text);
    } else {
        refuse(local, "refused by the server", text);
    }
    local_end(local, ETCP_CODE_OK, NULL);
}

static void on_stream_event(const struct etcp_event *event, void *user)
{
    struct local *local = etcp_stream_user(event->stream);

    (void)user;
    if (!local->heard && event->type != ETCP_EVENT_STREAM_ERROR) {
        heard(local);
    }
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
        if (!retried(local, event)) {
            refused(local, event);
        }
        break;
    default:
        break;
    }
}

/* What waits on it need not fear any more that it waits in vain; now the server has to say whether it takes the streams. */
static void on_let_in(struct carrier *carrier, void *user)
{
    struct tunnel *tunnel = user;

    for (struct local *local = *carrier_user(carrier); local != NULL; local = local->beside) {
        stop_waiting(local);
        local_remove(&tunnel->carried, local);
        local_append(&tunnel->carried, local);
        local->carried_us = loop_now_us();
        arm_forget(tunnel);
    }
}

static size_t on_lost(struct carrier *carrier, bool settled, void *user)
{
    struct tunnel *tunnel = user;
    struct local *next = NULL;
    size_t ended = 0;

    for (struct local *local = *carrier_user(carrier); local != NULL; local = next) {
        const struct retry_facts facts = facts_of(local);

        next = local->beside;
        if (!retry_after_end(&facts, settled) ||
            !take_back(local, "the connection to the server has ended", carrier_is_up(carrier))) {
            splice_free(local->splice);
            local_free(local);
            ended++;
        }
    }
    check_stopped(tunnel);
    return ended;
}

static void on_ready(void *user)
{
    struct tunnel *tunnel = user;

    beside_ready(&tunnel->beside);
    dispatch(tunnel);
}

static void on_emptied(void *user)
{
    check_stopped(user);
}

static const struct pool_handler pool_handler = {
    .ready = on_ready,
    .up = on_let_in,
    .event = on_stream_event,
    .lost = on_lost,
    .emptied = on_emptied,
};

/* ---- Of the connector's connection ----------------------------------------------------------------------------------- */

static void up(struct mode *mode, struct link *link, const char *address)
{
    struct tunnel *tunnel = tunnel_of(mode);

    tunnel->link = link;
    beside_up(&tunnel->beside, link, address);
    pool_main_up(tunnel->pool, link, address, beside_is_at_work(&tunnel->beside));
}

static void on_event(struct mode *mode, const struct etcp_event *event)
{
    struct tunnel *tunnel = tunnel_of(mode);
    bool ours = event->stream != NULL && etcp_stream_user(event->stream) != NULL;

    if (ours || event->type == ETCP_EVENT_DRAIN || event->type == ETCP_EVENT_OPEN) {
        pool_main_event(tunnel->pool, event);
    }
    if (!ours && event->type != ETCP_EVENT_OPEN) {
        beside_event(&tunnel->beside, event);
    }
}

static void writable(struct mode *mode)
{
    beside_writable(&tunnel_of(mode)->beside);
}

static void down(struct mode *mode, bool settled)
{
    struct tunnel *tunnel = tunnel_of(mode);

    tunnel->link = NULL;
    beside_down(&tunnel->beside, settled);
    pool_main_down(tunnel->pool, settled);
    dispatch(tunnel);
}

/* ---- Reload and end -------------------------------------------------------------------------------------------------- */

static int reload(struct mode *mode, struct setup *setup, bool *ret_reconnect, struct error_text *ret_error)
{
    struct tunnel *tunnel = tunnel_of(mode);
    const struct config_agent *config = setup->config;
    struct port *ports = NULL;
    int result = ports_make(&tunnel->ports, config, &ports, ret_error);

    if (result < 0) {
        return result;
    }
    result = beside_reload(&tunnel->beside, setup, ret_reconnect, ret_error);
    if (result < 0) {
        ports_drop(ports);
        return result;
    }
    ports_reload(&tunnel->ports, ports);
    raise_descriptors(config);
    tunnel->drain_timeout_us = config->drain_timeout_us;
    pool_reload(tunnel->pool, setup);
    *ret_reconnect = *ret_reconnect && beside_reconnects(&tunnel->beside);
    return 0;
}

static void view(struct mode *mode, struct mode_view *ret_view)
{
    struct tunnel *tunnel = tunnel_of(mode);

    *ret_view = (struct mode_view){0};
    beside_view(&tunnel->beside, ret_view);
    ret_view->waiting = tunnel->waiting.count;
    ret_view->carried = tunnel->carried.count;
    ret_view->ports = tunnel->ports.first;
    pool_count(tunnel->pool, &ret_view->connections, &ret_view->idle_connections);
}

/* When everything has gone that was waited for, the owner is told once. */
static void check_stopped(struct tunnel *tunnel)
{
    if (tunnel->stopping && !tunnel->emptied && tunnel->carried.count == 0 && tunnel->waiting.count == 0 &&
        pool_is_empty(tunnel->pool)) {
        tunnel->emptied = true;
        (void)event_del(tunnel->drain);
        tunnel->owner->finished(tunnel->user, tunnel->exit_code);
    }
}

static void end_locals(struct tunnel *tunnel)
{
    while (!TAILQ_EMPTY(&tunnel->carried.queue)) {
        struct link *link = carrier_link(TAILQ_FIRST(&tunnel->carried.queue)->carrier);

        local_end(TAILQ_FIRST(&tunnel->carried.queue), ETCP_CODE_SHUTTING_DOWN, "the agent is shutting down");
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
    const struct timeval timeout = loop_span(tunnel->drain_timeout_us);

    tunnel->stopping = true;
    ports_take(&tunnel->ports, NULL);
    while (!TAILQ_EMPTY(&tunnel->waiting.queue)) {
        refuse(TAILQ_FIRST(&tunnel->waiting.queue), "reset", "the agent is stopped");
        local_free(TAILQ_FIRST(&tunnel->waiting.queue));
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

/* Without its output the agent does not go on, and what it carries is cut. */
static void on_messages_failed(void *user, int exit_code)
{
    struct tunnel *tunnel = user;

    if (tunnel->stopping) {
        return; /* what is carried is being finished */
    }
    tunnel->exit_code = exit_code;
    if (stop(&tunnel->mode, true)) {
        tunnel->owner->finished(tunnel->user, exit_code);
    }
}

static void tunnel_free(struct mode *mode)
{
    struct tunnel *tunnel = tunnel_of(mode);

    ports_free(&tunnel->ports);
    splice_free_orphans(tunnel->loop);
    pool_free(tunnel->pool);
    beside_stop(&tunnel->beside);
    if (tunnel->drain != NULL) {
        event_free(tunnel->drain);
    }
    if (tunnel->forget != NULL) {
        event_free(tunnel->forget);
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
    local_list_init(&tunnel->waiting);
    local_list_init(&tunnel->carried);
    tunnel->mode.type = &tunnel_type;
    tunnel->loop = loop;
    tunnel->ports = (struct ports){.loop = loop, .arrived = on_arrived, .user = tunnel};
    tunnel->owner = owner;
    tunnel->user = user;
    tunnel->drain_timeout_us = config->drain_timeout_us;
    tunnel->drain = evtimer_new(loop->base, on_drained, tunnel);
    tunnel->forget = evtimer_new(loop->base, on_forget, tunnel);
    if (tunnel->drain != NULL && tunnel->forget != NULL) {
        result = pool_new(loop, setup, &pool_handler, tunnel, &tunnel->pool);
    }
    tunnel->beside = (struct beside){.loop = loop,
                                     .pool = tunnel->pool,
                                     .owner = owner,
                                     .owner_user = user,
                                     .failed = on_messages_failed,
                                     .user = tunnel};
    if (result == 0) {
        result = beside_start(&tunnel->beside, config);
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

int mode_tunnel_adopt(struct mode *mode, struct mode *message, struct setup *setup, struct error_text *ret_error)
{
    return beside_adopt(&tunnel_of(mode)->beside, message, setup, ret_error);
}
