/* SPDX-License-Identifier: MIT */
#include "agent/connector.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include <etcp/etcp.h>
#include <event2/event.h>
#include <sodium.h>
#include <systemd/sd-daemon.h>

#include "agent/backoff.h"
#include "agent/client.h"
#include "agent/mode.h"
#include "agent/setup.h"
#include "base/log.h"
#include "net/link.h"
#include "net/loop.h"

enum state {
    STATE_CONNECTING = 1, /* a client is under way */
    STATE_UP,             /* a client is up, the mode has its link */
    STATE_CLOSING,        /* a client is ending, because we said so */
    STATE_WAITING,        /* no client; the timer runs */
    STATE_FINISHED,
};

/* With somebody waiting, the next attempt comes this soon after the last. */
#define HURRY_US 1000000u

struct connector {
    struct loop *loop;
    struct setup *setup;
    struct setup *client_setup; /* an older one that the client was made with; NULL: `setup` */
    const struct connector_handler *handler;
    void *user;
    enum state state;
    struct client *client;
    struct link *link; /* while the client is up */
    struct mode *mode;
    struct event *timer;
    struct backoff backoff;
    struct history history;
    uint64_t up_us, due_us; /* the connection's begin; when the timer ends waiting */
    uint64_t ended_us;      /* when the last client was gone */
    bool hurried;           /* the attempt came before its time, for somebody who waits */
    bool denied;            /* the last one met a server that does not know us, or whose key was refused */
    bool stopping;          /* the mode is finishing what it has */
    bool finishing;         /* exit with `exit_code` when the client is gone */
    int exit_code;
    bool reconnect;                       /* connect anew at once when the client is gone */
    char known_cause[CLIENT_CAUSE_BYTES]; /* of the last attempt's failure, which has been told */
    char cause[512];                      /* why we end a connection that could go on; "" */
};

static const char *const state_names[] = {
    [STATE_CONNECTING] = "connecting", [STATE_UP] = "up", [STATE_CLOSING] = "closing", [STATE_WAITING] = "waiting",
    [STATE_FINISHED] = "finished",
};

static void status(struct connector *connector, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void status(struct connector *connector, const char *format, ...)
{
    char text[CONFIG_ADDRESS_TEXT_BYTES + CLIENT_CAUSE_BYTES + 128];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    connector->handler->status(text, connector->user);
}

static void enter(struct connector *connector, enum state state)
{
    log_message(LOG_LEVEL_DEBUG, "connector: %s -> %s", connector->state != 0 ? state_names[connector->state] : "new",
                state_names[state]);
    connector->state = state;
}

/* The last thing that any function here does. */
static void finish(struct connector *connector)
{
    (void)event_del(connector->timer);
    enter(connector, STATE_FINISHED);
    connector->handler->finished(connector->exit_code, connector->user);
}

/* There is no client, and the work is over. From the loop, as the mode may be at work. */
static void finish_later(struct connector *connector)
{
    const struct timeval now = {0};

    connector->finishing = true;
    (void)event_add(connector->timer, &now);
}

/* ---- Attempts -------------------------------------------------------------------------------------------------------- */

/* Ends without a client; what the mode still has is cut. */
static void give_up_for_good(struct connector *connector, int exit_code)
{
    const struct mode_type *type = connector->mode->type;

    connector->exit_code = exit_code;
    connector->stopping = true;
    if (connector->state != STATE_WAITING) {
        enter(connector, STATE_WAITING);
    }
    if (type->stop == NULL || type->stop(connector->mode, true)) {
        finish(connector);
    }
}

static void wait(struct connector *connector, const struct backoff_outcome *outcome, const char *cause)
{
    const struct config_reconnect *reconnect = &connector->setup->config->reconnect;
    const struct backoff_rules rules = {
        .initial_delay_us = reconnect->initial_delay_us,
        .multiplier = reconnect->multiplier,
        .max_delay_us = reconnect->max_delay_us,
        .jitter = reconnect->jitter,
        .reset_after_us = reconnect->reset_after_us,
        .max_attempts = reconnect->max_attempts,
    };
    const unsigned step = connector->backoff.step;
    struct timeval timeout;
    uint64_t delay_us;

    if (!backoff_fail(&connector->backoff, &rules, outcome, randombytes_uniform(BACKOFF_RANDOM), &delay_us)) {
        log_message(LOG_LEVEL_ERROR, "giving up after %u attempts (max_attempts): %s", connector->backoff.attempts,
                    cause);
        give_up_for_good(connector, EX_UNAVAILABLE);
        return;
    }
    if (connector->hurried && connector->backoff.step > step) {
        connector->backoff.step = step; /* or local connections would use up the steps to the longest delay */
    }
    log_message(connector->hurried && strcmp(cause, connector->known_cause) == 0 ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO,
                "retrying in %.2f s: %s", (double)delay_us / 1e6, cause);
    connector->hurried = false;
    (void)snprintf(connector->known_cause, sizeof(connector->known_cause), "%s", cause);
    enter(connector, STATE_WAITING);
    status(connector, "Waiting %.2f s before the next attempt: %s", (double)delay_us / 1e6, cause);
    connector->due_us = loop_now_us() + delay_us;
    timeout = loop_span(delay_us);
    if (event_add(connector->timer, &timeout) < 0) {
        log_message(LOG_LEVEL_ERROR, "cannot set a timer: %s", strerror(ENOMEM));
        give_up_for_good(connector, EX_OSERR);
    }
}

static void on_up(struct client *client, struct link *link, void *user)
{
    struct connector *connector = user;
    const uint8_t *key = etcp_conn_peer_key(link_conn(link));
    const char *suite = etcp_suite_name(etcp_conn_suite(link_conn(link)));
    const struct log_field fields[] = {{"ETCP_PEER", client_address_text(client)}};
    char text[ETCP_KEY_TEXT_BYTES];

    connector->link = link;
    connector->hurried = false;
    connector->up_us = loop_now_us();
    history_connected(&connector->history, client_server_text(client));
    enter(connector, STATE_UP);
    if (key != NULL) {
        etcp_key_format(ETCP_KEY_PUBLIC, key, text);
        log_event(LOG_LEVEL_INFO, fields, 1, "connected to %s (%s), key %s, suite %s", client_server_text(client),
                  client_address_text(client), text, suite);
    } else {
        log_event(LOG_LEVEL_INFO, fields, 1, "connected to %s (%s), not authenticated, suite %s",
                  client_server_text(client), client_address_text(client), suite);
    }
    status(connector, "Connected to %s (%s)", client_server_text(client), client_address_text(client));
    connector->mode->type->up(connector->mode, link, client_address_text(client));
}

static void on_failed(struct client *client, const char *cause, void *user)
{
    struct connector *connector = user;

    history_failed(&connector->history, client_server_text(client), cause, loop_now_us());
}

static void on_event(struct client *client, struct link *link, const struct etcp_event *event, void *user)
{
    struct connector *connector = user;

    (void)client;
    (void)link;
    connector->mode->type->event(connector->mode, event);
}

static void on_writable(struct client *client, struct link *link, void *user)
{
    struct connector *connector = user;

    (void)client;
    (void)link;
    connector->mode->type->writable(connector->mode);
}

static void log_disconnected(const struct client *client, const struct client_end *end, const char *cause)
{
    char received[24], sent[24], lived[24];
    const struct log_field fields[] = {
        {"ETCP_PEER", client_address_text(client)},
        {"ETCP_REASON", cause},
        {"ETCP_BYTES_IN", received},
        {"ETCP_BYTES_OUT", sent},
        {"ETCP_DURATION_US", lived},
    };

    (void)snprintf(received, sizeof(received), "%" PRIu64, end->received_bytes);
    (void)snprintf(sent, sizeof(sent), "%" PRIu64, end->sent_bytes);
    (void)snprintf(lived, sizeof(lived), "%" PRIu64, end->lived_us);
    log_event(end->well ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING, fields, sizeof(fields) / sizeof(fields[0]),
              "disconnected from %s (%s): %s; %s bytes received, %s sent, %.2f s", client_server_text(client),
              client_address_text(client), cause, received, sent, (double)end->lived_us / 1e6);
}

static void connect_now(struct connector *connector);

static void on_closed(struct client *client, const struct client_end *end, void *user)
{
    struct connector *connector = user;
    const struct backoff_outcome outcome = {.lived_us = end->lived_us, .refused = end->refused};
    const char *cause = connector->cause[0] != '\0' ? connector->cause : end->cause;

    if (end->was_up) {
        connector->mode->type->down(connector->mode, end->settled);
        log_disconnected(client, end, cause);
        if (!connector->finishing && !connector->reconnect) {
            history_failed(&connector->history, client_server_text(client), cause, loop_now_us());
        }
    }
    connector->client = NULL;
    connector->link = NULL;
    connector->ended_us = loop_now_us();
    connector->denied = end->denied;
    setup_free(connector->client_setup);
    connector->client_setup = NULL;
    if (connector->finishing) {
        finish(connector);
    } else if (connector->stopping) {
        enter(connector, STATE_WAITING); /* for the mode */
    } else if (connector->reconnect) {
        connect_now(connector);
    } else {
        wait(connector, &outcome, cause);
    }
}

static const struct client_handler client_handler = {
    .failed = on_failed,
    .up = on_up,
    .event = on_event,
    .writable = on_writable,
    .closed = on_closed,
};

static void connect_now(struct connector *connector)
{
    const struct config_agent *config = connector->setup->config;
    const struct client_options options = {
        .loop = connector->loop,
        .servers = config->servers,
        .server_count = config->server_count,
        .identity = connector->setup->keys.identity,
        .suite = config->suite,
        .trust = &connector->setup->trust,
        .handshake_timeout_us = config->connect_timeout_us,
        .heartbeat_interval_us = config->heartbeat.interval_us,
        .dead_peer_timeout_us = config->heartbeat.timeout_us,
        .congestion_control = config->congestion_control,
        .is_repeated = connector->hurried,
    };
    int result;

    connector->reconnect = false;
    connector->cause[0] = '\0';
    connector->history.attempts++;
    enter(connector, STATE_CONNECTING);
    status(connector, "Connecting");
    result = client_new(&options, &client_handler, connector, &connector->client);
    if (result < 0) {
        log_message(LOG_LEVEL_ERROR, "cannot start to connect: %s", strerror(-result));
        wait(connector, &(struct backoff_outcome){0}, strerror(-result));
    }
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct connector *connector = arg;

    (void)fd;
    (void)what;
    if (connector->finishing) {
        finish(connector);
    } else {
        connect_now(connector);
    }
}

/* ---- What the mode asks for ------------------------------------------------------------------------------------------- */

/* Ends the client, if there is one, for a reason of ours. Its end goes on from there. */
static void close_client(struct connector *connector, const char *reason)
{
    if (connector->state == STATE_CONNECTING || connector->state == STATE_UP) {
        enter(connector, STATE_CLOSING);
        client_goodbye(connector->client, ETCP_CODE_OK, reason);
    }
}

static void on_finished(void *user, int exit_code)
{
    struct connector *connector = user;

    if (connector->finishing) {
        return;
    }
    if (!connector->stopping) {
        connector->exit_code = exit_code;
        (void)snprintf(connector->cause, sizeof(connector->cause), "%s",
                       exit_code == EX_OK ? "all messages have been echoed" : "the echoes can't be reported");
    }
    if (connector->client == NULL) {
        finish_later(connector);
        return;
    }
    connector->finishing = true;
    close_client(connector, NULL);
}

static void on_give_up(void *user, const char *cause)
{
    struct connector *connector = user;

    (void)snprintf(connector->cause, sizeof(connector->cause), "%s", cause);
    close_client(connector, NULL);
}

static void on_renew(void *user, const char *cause)
{
    struct connector *connector = user;

    connector->reconnect = true;
    on_give_up(connector, cause);
}

static void on_hurry(void *user)
{
    struct connector *connector = user;
    const uint64_t delay_us = connector->setup->config->reconnect.initial_delay_us;
    const uint64_t due_us = connector->ended_us + (delay_us < HURRY_US ? delay_us : HURRY_US);
    struct timeval timeout;

    /* A server that has said no would say it again, and take us for an attacker before long. */
    if (connector->state != STATE_WAITING || connector->stopping || connector->finishing || connector->denied ||
        due_us >= connector->due_us) {
        return;
    }
    connector->due_us = due_us;
    connector->hurried = true;
    timeout = loop_until(due_us);
    log_message(LOG_LEVEL_DEBUG, "a local connection waits: the next attempt comes early");
    status(connector, "Connecting again for a local connection that waits: %s", connector->known_cause);
    (void)event_add(connector->timer, &timeout); /* without memory the longer wait goes on */
}

static const char *on_cause(void *user)
{
    const struct connector *connector = user;

    return connector->history.last.cause;
}

static const struct mode_owner mode_owner = {
    .finished = on_finished,
    .give_up = on_give_up,
    .renew = on_renew,
    .hurry = on_hurry,
    .cause = on_cause,
};

/* The mode that a configuration asks for. */
static int new_mode(struct connector *connector, struct setup *setup, struct mode **ret_mode,
                    struct error_text *ret_error)
{
    int result;

    if (setup->config->forward_count > 0) {
        return mode_tunnel_new(connector->loop, setup, &mode_owner, connector, ret_mode, ret_error);
    }
    if (sd_listen_fds(0) > 0) {
        return error_set(ret_error, -EINVAL, "sockets were passed in by systemd, but there is no forward for them");
    }
    result = mode_message_new(connector->loop, setup->config, &mode_owner, connector, ret_mode);
    return result == 0 ? 0 : error_set(ret_error, result, "%s", strerror(-result));
}

/* ---- For the main ----------------------------------------------------------------------------------------------------- */

int connector_new(struct loop *loop, struct setup *setup, const struct connector_handler *handler, void *user,
                  struct connector **ret_connector, struct error_text *ret_error)
{
    struct connector *connector = calloc(1, sizeof(*connector));
    const struct timeval now = {0};
    int result;

    if (connector == NULL) {
        return error_set(ret_error, -ENOMEM, "%s", strerror(ENOMEM));
    }
    connector->loop = loop;
    connector->handler = handler;
    connector->user = user;
    connector->timer = evtimer_new(loop->base, on_timer, connector);
    result = connector->timer != NULL ? 0 : -ENOMEM;
    if (result == 0) {
        result = history_set_servers(&connector->history, setup->config);
    }
    if (result == 0 && event_add(connector->timer, &now) < 0) {
        result = -ENOMEM;
    }
    if (result < 0) {
        (void)error_set(ret_error, result, "%s", strerror(-result));
    } else {
        result = new_mode(connector, setup, &connector->mode, ret_error);
    }
    if (result < 0) {
        connector_free(connector);
        return result;
    }
    enter(connector, STATE_WAITING);
    connector->setup = setup;
    *ret_connector = connector;
    return 0;
}

/* The mode's part of a reload. It is another mode when forwards have come or gone: then that needs a new connection. */
static int reload_mode(struct connector *connector, struct setup *setup, bool *ret_reconnect,
                       struct error_text *ret_error)
{
    const bool tunnel = setup->config->forward_count > 0, goes_on = setup->config->sends_messages;
    struct mode *mode = NULL;
    int result;

    if (tunnel == (connector->setup->config->forward_count > 0)) {
        return connector->mode->type->reload(connector->mode, setup, ret_reconnect, ret_error);
    }
    if (!tunnel) {
        return error_set(ret_error, -EBUSY,
                         "the last forward is gone from the configuration, and an agent without one only sends "
                         "messages: restart it for that (systemctl restart), or leave a forward");
    }
    result = new_mode(connector, setup, &mode, ret_error);
    if (result < 0) {
        return result;
    }
    if (goes_on) {
        result = mode_tunnel_adopt(mode, connector->mode, setup, ret_error);
    }
    if (result < 0) {
        mode_message_own(connector->mode, &mode_owner, connector);
        mode->type->free(mode);
        return result;
    }
    if (connector->state == STATE_UP) {
        connector->mode->type->down(connector->mode, false);
    }
    if (!goes_on) {
        connector->mode->type->free(connector->mode);
    }
    connector->mode = mode;
    *ret_reconnect = true;
    return 0;
}

int connector_reload(struct connector *connector, struct setup *setup, struct error_text *ret_error)
{
    const struct timeval now = {0};
    bool reconnect = false;
    int result;

    if (connector->stopping) {
        return error_set(ret_error, -EBUSY, "the agent is stopping");
    }
    result = history_set_servers(&connector->history, setup->config);
    if (result < 0) {
        return error_set(ret_error, result, "%s", strerror(-result));
    }
    result = reload_mode(connector, setup, &reconnect, ret_error);
    if (result < 0) {
        return result;
    }
    if (connector->state == STATE_UP) {
        const struct etcp_conn *conn = link_conn(connector->link);

        reconnect = reconnect ||
                    !setup_allows(setup, connector->client_setup != NULL ? connector->client_setup : connector->setup,
                                  client_server(connector->client), etcp_conn_peer_key(conn), etcp_conn_suite(conn));
    }
    if (connector->client != NULL && connector->client_setup == NULL) {
        connector->client_setup = connector->setup;
    } else {
        setup_free(connector->setup);
    }
    connector->setup = setup;
    connector->backoff = (struct backoff){0};
    connector->hurried = connector->denied = false;
    if (connector->state == STATE_WAITING) {
        (void)event_add(connector->timer, &now); /* without memory the old wait goes on */
        return 0;
    }
    if (reconnect || connector->state == STATE_CONNECTING) {
        (void)snprintf(connector->cause, sizeof(connector->cause), "the configuration has changed");
        connector->reconnect = true;
        close_client(connector, connector->cause);
    }
    return 0;
}

void connector_view(const struct connector *connector, struct connector_view *ret_view)
{
    const char *state = state_names[connector->state];

    *ret_view = (struct connector_view){
        .state = connector->state == STATE_UP ? "connected" : state,
        .link = connector->state == STATE_UP ? connector->link : NULL,
        .up_us = connector->up_us,
        .due_us = connector->state == STATE_WAITING ? connector->due_us : 0,
        .failed_attempts = connector->backoff.attempts,
        .max_attempts = connector->setup->config->reconnect.max_attempts,
        .public_key = etcp_identity_public(connector->setup->keys.identity),
        .history = &connector->history,
    };
    if (connector->client != NULL) {
        ret_view->server = client_server_text(connector->client);
        ret_view->address = client_address_text(connector->client);
        ret_view->round_trip_us = client_round_trip_us(connector->client);
    }
    connector->mode->type->view(connector->mode, &ret_view->mode);
}

void connector_stop(struct connector *connector)
{
    const bool again = connector->stopping || connector->finishing;
    const struct mode_type *type = connector->mode->type;

    if (connector->state == STATE_FINISHED) {
        return;
    }
    if (!again) {
        connector->stopping = true;
        connector->exit_code = EX_OK;
        (void)snprintf(connector->cause, sizeof(connector->cause), "the agent was stopped");
        (void)event_del(connector->timer);
    }
    if (!connector->finishing && (type->stop == NULL || type->stop(connector->mode, again))) {
        on_finished(connector, EX_OK);
    }
    if (again && connector->finishing && connector->client != NULL) {
        client_abort(connector->client, connector->cause);
    }
}

void connector_free(struct connector *connector)
{
    if (connector == NULL) {
        return;
    }
    assert(connector->client == NULL);
    if (connector->mode != NULL) {
        connector->mode->type->free(connector->mode);
    }
    if (connector->timer != NULL) {
        event_free(connector->timer);
    }
    history_done(&connector->history);
    setup_free(connector->setup);
    free(connector);
}
