/* SPDX-License-Identifier: MIT */
#include "agent/port.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <netinet/in.h>
#include <sys/socket.h>

#include <event2/event.h>

#include "base/log.h"
#include "base/message_id.h"
#include "config/agent.h"
#include "net/address.h"
#include "net/listener.h"
#include "net/loop.h"
#include "net/splice.h"

/* So many at a time, then the loop's other sockets have their turn. */
enum { ACCEPT_BATCH = 64 };

static const struct timeval accept_again_after = {.tv_sec = 1};

/* Systemd's sockets can't be opened again: they are kept. */
static void drop_listener(struct port *port)
{
    struct listener *listener = port->listener;

    port->listener = NULL;
    if (listener == NULL || !listener->inherited) {
        listener_close(listener);
        return;
    }
    listener_unwatch(listener);
    listener->next = port->ports->passed;
    port->ports->passed = listener;
}

static void port_free(struct port *port)
{
    if (port != NULL) {
        drop_listener(port);
        if (port->pause != NULL) {
            event_free(port->pause);
        }
        free(port->name);
        free(port->service);
        free(port);
    }
}

void port_enter(struct port *port)
{
    port->connections++;
    port->accepted++;
}

/* A port that is no longer configured goes with its last connection. */
void port_leave(struct port *port)
{
    struct port **at = &port->ports->first;

    port->connections--;
    if (port->connections > 0 || port->listener != NULL) {
        return;
    }
    while (*at != port) {
        at = &(*at)->next;
    }
    *at = port->next;
    port_free(port);
}

/* ---- Accepting ---------------------------------------------------------------------------------------------------- */

static void on_accept_again(evutil_socket_t fd, short what, void *arg)
{
    struct port *port = arg;

    (void)fd;
    (void)what;
    if (port->listener != NULL) {
        listener_pause(port->listener, false);
    }
}

/* An error of accept4(). Returns whether to go on at once. */
static bool accept_failed(struct port *port, int error)
{
    static struct log_limit limit = LOG_LIMIT(5, 10000000);

    if (error == EAGAIN) {
        return false;
    }
    if (listener_lost_one(error)) {
        return true;
    }
    log_limited(&limit, loop_now_us(), LOG_LEVEL_WARNING, NULL, 0, "forward %s: accept paused: %s", port->name,
                strerror(error));
    listener_pause(port->listener, true);
    if (event_add(port->pause, &accept_again_after) != 0) {
        listener_pause(port->listener, false);
    }
    return false;
}

static void on_readable(int fd, short what, void *arg)
{
    struct port *port = arg;

    (void)what;
    for (unsigned i = 0; i < ACCEPT_BATCH && port->listener != NULL; i++) {
        struct sockaddr_storage from = {0};
        socklen_t len = sizeof(from);
        struct address address = {0};
        int accepted = accept4(fd, (struct sockaddr *)&from, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (accepted >= 0) {
            (void)address_from_sockaddr((const struct sockaddr *)&from, len, &address); /* of the listener's family */
            port->ports->arrived(port, accepted, &address, port->ports->user);
        } else if (!accept_failed(port, errno)) {
            return;
        }
    }
}

/* ---- Ports ----------------------------------------------------------------------------------------------------------- */

static int find_address(const struct config_address *config, struct address *ret_address)
{
    return config->kind == CONFIG_ADDRESS_UNIX ? address_from_path(config->path, ret_address)
                                               : address_from_numeric(config->host, config->port, ret_address);
}

static bool is_any_port(const struct address *address)
{
    return (address->any.sa_family == AF_INET && address->in.sin_port == 0) ||
           (address->any.sa_family == AF_INET6 && address->in6.sin6_port == 0);
}

static bool is_forward(const struct config_agent *config, const char *name)
{
    for (size_t i = 0; i < config->forward_count; i++) {
        if (strcmp(config->forwards[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* A forward that looks for its socket: by its name among systemd's, then by its address among all. */
struct search {
    const struct config_agent *config;
    const char *name;
    const struct address *address;
    const struct port *made; /* for forwards before it, which may have taken ports that are there */
    bool by_name;
};

static bool fits(const struct search *search, const struct listener *listener)
{
    const bool named = listener->inherited && is_forward(search->config, listener->name);

    if (search->by_name) {
        return named && strcmp(listener->name, search->name) == 0;
    }
    return !named && listener_is_for(listener, search->address);
}

static bool is_renewed(const struct port *port, const struct port *made)
{
    while (made != NULL && made->renews != port) {
        made = made->next;
    }
    return made != NULL;
}

/* The port that listens for a forward, NULL if none does. */
static struct port *find_port(struct port *ports, const struct search *search)
{
    for (; ports != NULL; ports = ports->next) {
        if (ports->listener != NULL && fits(search, ports->listener) && !is_renewed(ports, search->made) &&
            (search->by_name || !is_any_port(search->address) || strcmp(ports->name, search->name) == 0)) {
            return ports;
        }
    }
    return NULL;
}

/* Takes a socket of systemd's out of those that no forward uses, NULL if none fits. */
static struct listener *take_passed(struct ports *ports, const struct search *search)
{
    struct listener **at = &ports->passed;
    struct listener *listener;

    while (*at != NULL && !fits(search, *at)) {
        at = &(*at)->next;
    }
    listener = *at;
    if (listener != NULL) {
        *at = listener->next;
        listener->next = NULL;
    }
    return listener;
}

/* Finds what listens for a port, or opens it. */
static int port_open(struct port *port, struct search *search, struct error_text *ret_error)
{
    struct ports *ports = port->ports;
    struct error_text error;
    int result;

    for (int i = 0; i < 2 && port->renews == NULL && port->listener == NULL; i++) {
        search->by_name = i == 0;
        port->renews = find_port(ports->first, search);
        if (port->renews == NULL) {
            port->listener = take_passed(ports, search);
        }
    }
    if (port->renews != NULL || port->listener != NULL) {
        return 0;
    }
    result = listener_open(search->address, 0, &port->listener, &error);
    return result == 0 ? 0 : error_set(ret_error, result, "forward %s: %s", search->name, error.text);
}

/* A port with its values; it listens unless there is one that does already, and that none of `made` renews. */
static int port_new(struct ports *ports, const struct config_agent *all, const struct config_forward *config,
                    const struct port *made, struct port **ret_port, struct error_text *ret_error)
{
    struct port *port = calloc(1, sizeof(*port));
    struct address address;
    struct search search = {.config = all, .name = config->name, .address = &address, .made = made};
    int result = port != NULL ? find_address(&config->listen, &address) : -ENOMEM;

    if (result == 0) {
        port->ports = ports;
        port->wanted = address;
        port->pause = evtimer_new(ports->loop->base, on_accept_again, port);
        port->name = strdup(config->name);
        port->service = strdup(config->service);
        port->wait_us = config->wait_us;
        port->max_connections = config->max_connections;
        port->keepalive_us = config->keepalive_us;
        port->user_timeout_us = config->user_timeout_us;
        result = port->pause != NULL && port->name != NULL && port->service != NULL ? 0 : -ENOMEM;
    }
    if (result < 0) {
        (void)error_set(ret_error, result, "forward %s: %s", config->name, strerror(-result));
    } else {
        result = port_open(port, &search, ret_error);
    }
    if (result == 0 && port->renews == NULL) {
        splice_prepare_socket(port->listener->fd, port->keepalive_us, port->user_timeout_us);
        result = listener_watch(port->listener, ports->loop->base, on_readable, port);
        if (result < 0) {
            (void)error_set(ret_error, result, "forward %s: %s", config->name, strerror(-result));
        }
    }
    if (result < 0) {
        port_free(port);
        return result;
    }
    *ret_port = port;
    return 0;
}

/* Stops listening. It goes when its last connection has ended, at once if there is none. */
static void port_retire(struct port *port)
{
    drop_listener(port);
    port->connections++;
    port_leave(port);
}

void ports_drop(struct port *new_ports)
{
    while (new_ports != NULL) {
        struct port *port = new_ports;

        new_ports = port->next;
        port_free(port);
    }
}

int ports_make(struct ports *ports, const struct config_agent *config, struct port **ret_new,
               struct error_text *ret_error)
{
    struct port *made = NULL;
    int result = 0;

    for (size_t i = 0; i < config->forward_count && result == 0; i++) {
        struct port *port = NULL;

        result = port_new(ports, config, &config->forwards[i], made, &port, ret_error);
        if (result == 0) {
            port->next = made;
            made = port;
        }
    }
    if (result < 0) {
        ports_drop(made);
        return result;
    }
    *ret_new = made;
    return 0;
}

/* The new values for a port that goes on listening. */
static void port_renew(struct port *port, struct port *values)
{
    char *name = port->name, *service = port->service;

    port->name = values->name;
    port->service = values->service;
    port->wanted = values->wanted;
    port->wait_us = values->wait_us;
    port->max_connections = values->max_connections;
    port->keepalive_us = values->keepalive_us;
    port->user_timeout_us = values->user_timeout_us;
    port->stays = true;
    splice_prepare_socket(port->listener->fd, port->keepalive_us, port->user_timeout_us);
    values->name = name;
    values->service = service;
    port_free(values);
}

/* A socket from systemd takes the place of `listen`: said aloud where that makes a difference. */
static void log_difference(const struct port *port)
{
    const struct log_field id = {LOG_ID(MESSAGE_SOCKETS_DIFFER)};
    char text[ADDRESS_TEXT_BYTES], wanted[ADDRESS_TEXT_BYTES];

    if (port->listener->inherited && !address_equal(&port->listener->actual, &port->wanted)) {
        address_format(&port->listener->actual, text);
        address_format(&port->wanted, wanted);
        log_event(LOG_LEVEL_WARNING, &id, 1,
                  "forward %s: a socket was passed in by systemd: %s; listen is not used: %s", port->name, text,
                  wanted);
    }
}

static void log_listening(const struct port *port)
{
    char text[ADDRESS_TEXT_BYTES];

    address_format(&port->listener->actual, text);
    log_message(LOG_LEVEL_INFO, "listening on %s: forward %s to service %s", text, port->name, port->service);
    log_difference(port);
}

/* Whoever connects to it now waits: systemd keeps it open. */
static void log_unused(const struct ports *ports)
{
    const struct log_field id = {LOG_ID(MESSAGE_SOCKETS_DIFFER)};
    char text[LISTENER_TEXT_BYTES];

    for (const struct listener *listener = ports->passed; listener != NULL; listener = listener->next) {
        listener_format(listener, text);
        log_event(LOG_LEVEL_WARNING, &id, 1,
                  "no forward uses the socket that systemd passed in: %s; connections to it wait", text);
    }
}

int ports_start(struct ports *ports, const struct config_agent *config, struct port **ret_new,
                struct error_text *ret_error)
{
    char text[LISTENER_TEXT_BYTES];
    int result = listener_adopt_all(&ports->passed, ret_error);

    result = result < 0 ? result : ports_make(ports, config, ret_new, ret_error);
    if (result < 0 || ports->passed == NULL) {
        return result;
    }
    listener_format(ports->passed, text);
    ports_drop(*ret_new);
    *ret_new = NULL;
    return error_set(ret_error, -EINVAL,
                     "a socket from systemd is %s: expected FileDescriptorName= the name of a forward, or the address "
                     "that a forward listens on",
                     text);
}

void ports_free(struct ports *ports)
{
    ports_take(ports, NULL);
    while (ports->passed != NULL) {
        struct listener *listener = ports->passed;

        ports->passed = listener->next;
        listener_close(listener);
    }
}

void ports_take(struct ports *ports, struct port *new_ports)
{
    struct port *next = NULL;

    for (struct port *port = ports->first; port != NULL; port = port->next) {
        port->stays = port->listener == NULL;
    }
    for (; new_ports != NULL; new_ports = next) {
        next = new_ports->next;
        if (new_ports->renews != NULL) {
            struct port *port = new_ports->renews;

            port_renew(port, new_ports);
            log_difference(port);
        } else {
            new_ports->next = ports->first;
            ports->first = new_ports;
            new_ports->stays = true;
            log_listening(new_ports);
        }
    }
    for (struct port *port = ports->first; port != NULL; port = next) {
        next = port->next;
        if (!port->stays) {
            port_retire(port);
        }
    }
}

void ports_reload(struct ports *ports, struct port *new_ports)
{
    ports_take(ports, new_ports);
    log_unused(ports);
}
