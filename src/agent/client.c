/* SPDX-License-Identifier: MIT
 *
 * Everything that leads from one address to the next happens in step(), called by the loop: so no call on a client ends in a
 * callback, and nothing frees it under its own feet. */
#include "agent/client.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "agent/explain.h"
#include "agent/suite.h"
#include "base/log.h"
#include "base/message_id.h"
#include "net/address.h"
#include "net/congestion.h"
#include "net/dial.h"
#include "net/link.h"
#include "net/loop.h"
#include "net/resolve.h"

#define NO_ROUND_TRIP UINT64_MAX

enum state {
    STATE_STEP = 1, /* step() is due: the next address, or the end */
    STATE_RESOLVING,
    STATE_CONNECTING,
    STATE_HANDSHAKE,
    STATE_UP,
    STATE_OVER, /* `closed` is being called: nothing is left to end */
};

struct client {
    struct client_options options;
    const struct client_handler *handler;
    void *user;
    enum state state;
    bool ending; /* the owner has had enough */

    size_t servers_tried; /* the one in use is the last of them */
    size_t addresses_tried, address_count;
    struct address *addresses; /* of the server in use, until the connection is up */
    char server_text[CONFIG_ADDRESS_TEXT_BYTES], address_text[ADDRESS_TEXT_BYTES];
    int suite;      /* of the current connection */
    int suite_next; /* after a Refusal: for the next connection to the same address; else 0 */

    struct event step; /* made active, it has step() called */
    struct resolve *resolve;
    struct event *connecting;
    int fd;
    struct link *link;
    bool committed; /* the owner has sent on the link before it was up */
    bool announced; /* the server has said that it shuts down */
    bool up_due;    /* ETCP_EVENT_UP was there, but its record may turn out to be a Goodbye */
    bool in_vain;   /* it was one: the server has let us do nothing */
    uint64_t started_us, connected_us, up_us;
    uint64_t round_trip_us; /* of the last heartbeat; NO_ROUND_TRIP: none was answered */

    unsigned failures, refusals; /* of this attempt */
    bool denied;                 /* by any server, or any by us */
    bool refused;                /* the current connection was */
    int connect_error;           /* with which the current TCP connection did not come about; 0: none */
    bool told_why;               /* `cause` says why the current connection ended */
    char cause[CLIENT_CAUSE_BYTES];
    struct client_end end;
};

static void set_cause(struct client *client, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void set_cause(struct client *client, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(client->cause, sizeof(client->cause), format, arguments);
    va_end(arguments);
    client->told_why = true;
}

static void call_step(struct client *client)
{
    event_active(&client->step, EV_TIMEOUT, 0);
}

static void step_later(struct client *client)
{
    client->state = STATE_STEP;
    call_step(client);
}

static void set_connect_cause(struct client *client, int error)
{
    set_cause(client, "%s", strerror(error));
    client->connect_error = error;
}

static void tell_failure(struct client *client)
{
    const struct log_field fields[] = {
        {"ETCP_PEER", client->address_text[0] != '\0' ? client->address_text : NULL},
        {"ETCP_REASON", client->cause},
    };

    client->failures++;
    client->refusals += client->refused;
    log_event(client->options.is_repeated ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING, fields, 2,
              "cannot connect to %s%s%s%s: %s%s", client->server_text, client->address_text[0] != '\0' ? " (" : "",
              client->address_text, client->address_text[0] != '\0' ? ")" : "", client->cause,
              explain_connect(client->connect_error));
    if (client->handler->failed != NULL) {
        client->handler->failed(client, client->cause, client->user);
    }
}

/* The address (or, before there is one, the server) is of no use: `cause` says why. */
static void fail(struct client *client)
{
    tell_failure(client);
    step_later(client);
}

static void drop_pending(struct client *client)
{
    resolve_cancel(client->resolve);
    client->resolve = NULL;
    if (client->connecting != NULL) {
        event_free(client->connecting);
        client->connecting = NULL;
    }
    if (client->fd >= 0) {
        (void)close(client->fd);
        client->fd = -1;
    }
}

/* The end: the owner is told, and nothing is left. */
static void finish(struct client *client)
{
    struct client_end *end = &client->end;

    drop_pending(client);
    (void)event_del(&client->step);
    end->was_up = client->state == STATE_UP;
    end->refused = !end->was_up && client->failures > 0 && client->refusals == client->failures;
    end->denied = client->denied;
    end->lived_us = end->was_up ? loop_now_us() - client->up_us : 0;
    end->cause = client->cause;
    client->state = STATE_OVER;
    client->handler->closed(client, end, client->user);
    free(client->addresses);
    free(client);
}

/* ---- Trust ---------------------------------------------------------------------------------------------------------- */

static void refuse_unpinned(struct client *client, const char *shown)
{
    const struct log_field fields[] = {{LOG_ID(MESSAGE_SERVER_KEY_CHANGED)}, {"ETCP_PEER", client->server_text}};
    char pinned[ETCP_KEY_TEXT_BYTES];

    etcp_key_format(ETCP_KEY_PUBLIC, client->options.trust->pins[0], pinned);
    set_cause(client, "its key is none of those in server_key");
    log_event(LOG_LEVEL_ERROR, fields, 2,
              "server %s shows the key %s, which is none of the %zu in server_key (first: %s): refused; "
              "if the server has a new key, add it there",
              client->server_text, shown, client->options.trust->pin_count, pinned);
}

static void refuse_changed(struct client *client, const struct trust_decision *decision, const char *shown)
{
    const struct log_field fields[] = {{LOG_ID(MESSAGE_SERVER_KEY_CHANGED)}, {"ETCP_PEER", client->server_text}};
    char known[ETCP_KEY_TEXT_BYTES];

    etcp_key_format(ETCP_KEY_PUBLIC, decision->known_key, known);
    set_cause(client, "its key has changed");
    log_event(
        LOG_LEVEL_ERROR, fields, 2,
        "THE KEY OF SERVER %s HAS CHANGED: it shows %s, but %s:%u remembers %s: refused; somebody may be in between. "
        "If you know that the server has a new key, delete line %u of %s",
        client->server_text, shown, client->options.trust->known_servers, decision->line, known, decision->line,
        client->options.trust->known_servers);
}

/* ETCP_EVENT_PEER: the server has proved its key (classic: it has none). Nothing has been sent that tells who we are. */
static void judge(struct client *client, const struct etcp_event *event)
{
    struct etcp_conn *conn = link_conn(client->link);
    const struct log_field first_met[] = {{LOG_ID(MESSAGE_SERVER_TRUSTED)}, {"ETCP_PEER", client->server_text}};
    struct trust_decision decision;
    char shown[ETCP_KEY_TEXT_BYTES];
    bool good = true;

    if (event->peer_key == NULL) {
        log_message(LOG_LEVEL_WARNING, "server %s is not authenticated: the classic suite is open to active attackers",
                    client->server_text);
    } else {
        good = trust_decide(client->options.trust, client->server_text, event->peer_key, &decision);
        if (decision.verdict != TRUST_PINNED && decision.verdict != TRUST_KNOWN) {
            etcp_key_format(ETCP_KEY_PUBLIC, event->peer_key, shown);
        }
        switch (decision.verdict) {
        case TRUST_PINNED:
        case TRUST_KNOWN:
            break;
        case TRUST_FIRST_USE:
            log_event(LOG_LEVEL_WARNING, first_met, 2,
                      "server %s is met for the first time: its key %s is trusted from now on and remembered in %s; "
                      "compare it with the one the server logs at its start",
                      client->server_text, shown, client->options.trust->known_servers);
            break;
        case TRUST_NOT_PINNED:
            refuse_unpinned(client, shown);
            break;
        case TRUST_CHANGED:
            refuse_changed(client, &decision, shown);
            break;
        case TRUST_NOT_RECORDED:
            set_cause(client, "its key can't be remembered");
            log_message(
                LOG_LEVEL_ERROR,
                "server %s shows the key %s, which is not trusted because it can't be remembered or looked up: %s; "
                "mend that, or set server_key",
                client->server_text, shown, decision.error.text);
            break;
        }
    }
    if (!good) {
        client->end.untrusted = client->denied = true;
        etcp_conn_reject(conn, NULL);
    } else if (etcp_conn_accept(conn, loop_now_us()) < 0) {
        set_cause(client, "internal error: no decision was due");
        link_abort(client->link, ETCP_EINVAL, NULL);
    } else if (event->peer_key != NULL && client->handler->introduced != NULL && etcp_conn_ready(conn)) {
        client->committed = client->handler->introduced(client, client->link, client->user);
    }
}

/* ---- The link ------------------------------------------------------------------------------------------------------- */

static void forget_addresses(struct client *client)
{
    free(client->addresses);
    client->addresses = NULL;
    client->addresses_tried = client->address_count = 0;
}

static void report_up(struct client *client)
{
    client->up_due = false;
    client->state = STATE_UP;
    client->up_us = loop_now_us();
    forget_addresses(client);
    client->handler->up(client, client->link, client->user);
}

static void log_unauthorized(const struct client *client)
{
    const struct log_field fields[] = {{LOG_ID(MESSAGE_NOT_AUTHORIZED)}, {"ETCP_PEER", client->server_text}};
    char ours[ETCP_KEY_TEXT_BYTES] = "";

    if (client->options.is_passing) {
        return;
    }
    if (client->options.identity != NULL) {
        etcp_key_format(ETCP_KEY_PUBLIC, etcp_identity_public(client->options.identity), ours);
    }
    log_event(
        LOG_LEVEL_ERROR, fields, 2,
        "server %s does not know us: its administrator must add the line \"%s NAME\" to authorized_agents there and "
        "reload etcp-server",
        client->server_text, ours);
}

/* The peer's Goodbye: it is the cause of what follows. */
static void hear_goodbye(struct client *client, const struct etcp_event *event)
{
    char reason[ETCP_REASON_MAX + 1] = "";

    client->up_due = false; /* the first record was the last: it never came up */
    (void)log_escape(event->reason, event->reason_len, reason, sizeof(reason));
    set_cause(client, "the server said goodbye: %s%s%s%s", etcp_code_name(event->code), reason[0] != '\0' ? " (" : "",
              reason, reason[0] != '\0' ? ")" : "");
    client->end.well = event->code == ETCP_CODE_OK || event->code == ETCP_CODE_SHUTTING_DOWN;
    client->end.settled = client->announced && event->code == ETCP_CODE_OK; /* `shutting-down`: its patience was over */
    if (event->code == ETCP_CODE_UNAUTHORIZED) {
        client->end.settled = client->in_vain;
        client->end.unauthorized = client->denied = true;
        log_unauthorized(client);
    }
}

static void hear_refusal(struct client *client, int code)
{
    const struct etcp_identity *identity = client->options.identity;
    bool network = identity != NULL && etcp_identity_has_network_key(identity);

    client->refused = true;
    set_cause(client, "refused: %s (suite %s%s)", explain_refusal(code), etcp_suite_name(client->suite),
              code == ETCP_REFUSAL_UNSUPPORTED_SUITE && network ? " with a network key: does the server have one?"
                                                                : "");
    if (code == ETCP_REFUSAL_UNSUPPORTED_SUITE) {
        client->suite_next = suite_after_refusal(client->options.suite, client->suite);
    }
}

static void on_event(struct link *link, const struct etcp_event *event, void *user)
{
    struct client *client = user;

    if (client->ending) {
        return;
    }
    switch (event->type) {
    case ETCP_EVENT_PEER:
        judge(client, event);
        return;
    case ETCP_EVENT_REFUSED:
        hear_refusal(client, event->code);
        return;
    case ETCP_EVENT_END:
        hear_goodbye(client, event);
        if (client->handler->dismissed != NULL && (client->state == STATE_UP || client->committed)) {
            client->handler->dismissed(client, client->user);
        }
        return;
    case ETCP_EVENT_UP:
        client->up_due = true;
        client->in_vain = etcp_conn_closing(link_conn(link));
        call_step(client);
        return;
    case ETCP_EVENT_PONG:
        client->round_trip_us = event->round_trip_us;
        break;
    case ETCP_EVENT_DRAIN:
        client->announced = true;
        break;
    default:
        break;
    }
    if (client->up_due) {
        report_up(client);
    }
    if (client->state == STATE_UP && !client->ending) {
        client->handler->event(client, link, event, client->user);
    }
}

static void on_writable(struct link *link, void *user)
{
    struct client *client = user;

    if (client->state == STATE_UP && !client->ending && client->handler->writable != NULL) {
        client->handler->writable(client, link, client->user);
    }
}

static void on_closed(struct link *link, const struct link_end *end, void *user)
{
    struct client *client = user;

    (void)link;
    client->link = NULL;
    client->up_due = false;
    client->end.received_bytes = end->received_bytes;
    client->end.sent_bytes = end->sent_bytes;
    if (client->told_why) {
        /* A Goodbye, a Refusal, or ours: it says more than what followed it. */
    } else if (end->is_errno) {
        set_cause(client, "%s", strerror(-end->error));
    } else if (end->error == ETCP_EHANDSHAKE && end->by_peer && !client->committed) {
        set_cause(client,
                  "closed by the server during the handshake, without a word (do both ends have the same network "
                  "key, and is the suite served there?)");
    } else if (end->error != 0) {
        set_cause(client, "%s%s%s%s", etcp_strerror(end->error), end->detail != NULL ? ": " : "",
                  end->detail != NULL ? end->detail : "",
                  end->error == ETCP_ETIMEDOUT ? ": is this the port of an etcp server?" : "");
    } else {
        client->end.well = true;
        set_cause(client, "%s", end->by_peer ? "ended by the server" : "ended here");
    }
    if (client->committed && client->state != STATE_UP && !client->ending) {
        tell_failure(client);
    }
    if (client->state == STATE_UP || client->committed || client->ending) {
        finish(client);
        return;
    }
    if (client->suite_next != 0) {
        log_message(LOG_LEVEL_NOTICE, "server %s does not serve the suite %s: trying %s", client->server_text,
                    etcp_suite_name(client->suite), etcp_suite_name(client->suite_next));
        step_later(client);
        return;
    }
    fail(client);
}

static const struct link_handler link_handler = {
    .event = on_event,
    .writable = on_writable,
    .closed = on_closed,
};

/* ---- From a name to a link ------------------------------------------------------------------------------------------ */

/* The socket is connected: from here on it is the link's. */
static void start_handshake(struct client *client)
{
    const uint64_t now = loop_now_us(), spent = now - client->started_us;
    const struct etcp_conn_options options = {
        .role = ETCP_AGENT,
        .identity = client->options.identity,
        .suite = (enum etcp_suite)client->suite,
        .handshake_timeout_us =
            spent < client->options.handshake_timeout_us ? client->options.handshake_timeout_us - spent : 1,
        .heartbeat_interval_us = client->options.heartbeat_interval_us,
        .dead_peer_timeout_us = client->options.dead_peer_timeout_us,
    };
    struct etcp_conn *conn = NULL;
    int result;

    client->connected_us = now;
    result = etcp_conn_new(client->options.loop->pool, &options, now, &conn);
    if (result < 0) {
        drop_pending(client);
        set_cause(client, "suite %s: %s", etcp_suite_name(client->suite), etcp_strerror(result));
        fail(client);
        return;
    }
    result = link_new(client->options.loop, client->fd, conn, &link_handler, client, &client->link);
    if (result < 0) {
        etcp_conn_free(conn);
        drop_pending(client);
        set_cause(client, "%s", strerror(-result));
        fail(client);
        return;
    }
    client->fd = -1;
    client->state = STATE_HANDSHAKE;
    if (client->suite == ETCP_SUITE_CLASSIC) {
        link_keep_alive(client->link);
    }
}

static void on_connecting(evutil_socket_t fd, short what, void *arg)
{
    struct client *client = arg;
    int error = 0;
    socklen_t len = sizeof(error);

    event_free(client->connecting);
    client->connecting = NULL;
    if ((what & EV_WRITE) == 0) {
        error = ETIMEDOUT;
    } else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0) {
        error = errno;
    }
    if (error != 0) {
        drop_pending(client);
        set_connect_cause(client, error);
        fail(client);
        return;
    }
    start_handshake(client);
}

static bool wants_congestion(const struct client_options *options, const struct address *address)
{
    return options->congestion_control != NULL && options->congestion_control[0] != '\0' &&
           address->any.sa_family != AF_UNIX;
}

/* Returns 0 when the connection is under way or there, else -errno. */
static int connect_socket(struct client *client, const struct address *address)
{
    const struct timeval timeout = loop_span(client->options.handshake_timeout_us);
    int error = 0;

    client->fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (client->fd < 0) {
        return -errno;
    }
    if (wants_congestion(&client->options, address)) {
        int result = congestion_set(client->fd, client->options.congestion_control);

        if (result < 0) {
            return result;
        }
    }
    if (connect(client->fd, &address->any, address->len) != 0) {
        error = errno;
    }
    if (error == 0 || (error == EINPROGRESS && dial_is_connected(client->fd))) {
        start_handshake(client);
        return 0;
    }
    if (error != EINPROGRESS) {
        return -error;
    }
    client->connecting = event_new(client->options.loop->base, client->fd, EV_WRITE, on_connecting, client);
    if (client->connecting == NULL || event_add(client->connecting, &timeout) < 0) {
        return -ENOMEM;
    }
    client->state = STATE_CONNECTING;
    return 0;
}

static void try_address(struct client *client)
{
    const struct address *address;
    int result;

    if (client->suite_next != 0) {
        client->suite = client->suite_next; /* the same address once more */
        client->suite_next = 0;
    } else {
        client->suite = (int)suite_to_ask_for(client->options.suite, etcp_suite_available(ETCP_SUITE_AES256GCM),
                                              client->options.identity != NULL &&
                                                  etcp_identity_has_network_key(client->options.identity));
        client->addresses_tried++;
    }
    address = &client->addresses[client->addresses_tried - 1];
    address_format(address, client->address_text);
    client->refused = client->told_why = false;
    client->connect_error = 0;
    client->end = (struct client_end){0};
    client->started_us = loop_now_us();
    client->round_trip_us = NO_ROUND_TRIP;
    log_message(client->options.is_further || client->options.is_repeated ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO,
                "connecting to %s (%s), suite %s", client->server_text, client->address_text,
                etcp_suite_name(client->suite));
    result = connect_socket(client, address);
    if (result < 0) {
        drop_pending(client);
        set_connect_cause(client, -result);
        fail(client);
    }
}

/* Takes a copy. Returns 0 or -ENOMEM. */
static int take_addresses(struct client *client, const struct address *addresses, size_t count)
{
    forget_addresses(client);
    client->addresses = calloc(count, sizeof(*addresses));
    if (client->addresses == NULL) {
        return -ENOMEM;
    }
    memcpy(client->addresses, addresses, count * sizeof(*addresses));
    client->address_count = count;
    return 0;
}

static void on_resolved(const struct resolve_result *result, void *user)
{
    struct client *client = user;

    client->resolve = NULL;
    if (result->error != NULL) {
        set_cause(client, "%s", result->error);
        fail(client);
        return;
    }
    if (take_addresses(client, result->addresses, result->count) != 0) {
        set_cause(client, "%s", strerror(ENOMEM));
        fail(client);
        return;
    }
    try_address(client);
}

static void try_server(struct client *client)
{
    const struct config_address *server = &client->options.servers[client->servers_tried++];
    struct address address;
    int result;

    config_address_format(server, client->server_text);
    client->address_text[0] = '\0';
    forget_addresses(client);
    client->connect_error = 0;
    client->refused = client->told_why = false;
    result = server->kind == CONFIG_ADDRESS_UNIX ? address_from_path(server->path, &address)
                                                 : address_from_numeric(server->host, server->port, &address);
    if (result == 0) {
        result = take_addresses(client, &address, 1);
        if (result == 0) {
            try_address(client);
            return;
        }
    } else if (server->kind != CONFIG_ADDRESS_UNIX) {
        client->state = STATE_RESOLVING;
        result = resolve_start(client->options.loop, server->host, server->port, on_resolved, client, &client->resolve);
    }
    if (result < 0) {
        set_cause(client, "%s", strerror(-result));
        fail(client);
    }
}

static void step(evutil_socket_t fd, short what, void *arg)
{
    struct client *client = arg;

    (void)fd;
    (void)what;
    if (client->up_due && !client->ending) {
        if (etcp_conn_closing(link_conn(client->link))) {
            return; /* the first record has ended it as well: `closed` says how */
        }
        report_up(client);
        link_flush(client->link);
    } else if (client->state != STATE_STEP) {
        return; /* overtaken by an event of the link's */
    } else if (client->ending) {
        finish(client);
    } else if (client->suite_next != 0 || client->addresses_tried < client->address_count) {
        try_address(client);
    } else if (client->servers_tried < client->options.server_count) {
        try_server(client);
    } else {
        finish(client);
    }
}

/* ---- For the owner -------------------------------------------------------------------------------------------------- */

int client_new(const struct client_options *options, const struct client_handler *handler, void *user,
               struct client **ret_client)
{
    struct client *client;

    if (options->server_count == 0) {
        return -EINVAL;
    }
    client = calloc(1, sizeof(*client));
    if (client == NULL) {
        return -ENOMEM;
    }
    client->options = *options;
    if (client->options.handshake_timeout_us == 0) {
        client->options.handshake_timeout_us = CLIENT_HANDSHAKE_TIMEOUT_US;
    }
    client->handler = handler;
    client->user = user;
    client->fd = -1;
    (void)event_assign(&client->step, client->options.loop->base, -1, 0, step, client);
    step_later(client);
    *ret_client = client;
    return 0;
}

static void end_without_link(struct client *client)
{
    drop_pending(client);
    client->end.well = true;
    step_later(client);
}

void client_goodbye(struct client *client, enum etcp_code code, const char *reason)
{
    if (client->ending || client->state == STATE_OVER) {
        return;
    }
    client->ending = true;
    if (client->link != NULL) {
        link_goodbye(client->link, code, reason);
    } else {
        set_cause(client, "ended here");
        end_without_link(client);
    }
}

void client_abort(struct client *client, const char *cause)
{
    if (client->state == STATE_OVER) {
        return;
    }
    if (!client->ending) {
        client->ending = true;
        set_cause(client, "%s", cause);
    }
    if (client->link != NULL) {
        link_abort(client->link, ETCP_ECLOSED, NULL);
    } else {
        end_without_link(client);
    }
}

const struct config_address *client_server(const struct client *client)
{
    return &client->options.servers[client->servers_tried > 0 ? client->servers_tried - 1 : 0];
}

const char *client_server_text(const struct client *client)
{
    return client->server_text;
}

const char *client_address_text(const struct client *client)
{
    return client->address_text;
}

uint64_t client_round_trip_us(const struct client *client)
{
    if (client->round_trip_us != NO_ROUND_TRIP) {
        return client->round_trip_us;
    }
    return client->link != NULL ? link_kernel_round_trip_us(client->link) : 0;
}

uint64_t client_connect_us(const struct client *client)
{
    return client->connected_us - client->started_us;
}

uint64_t client_handshake_us(const struct client *client)
{
    return client->up_us - client->connected_us;
}
