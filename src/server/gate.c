/* SPDX-License-Identifier: MIT */
#include "server/gate.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <sys/socket.h>

#include <event2/event.h>

#include "base/log.h"
#include "base/message_id.h"
#include "net/listener.h"
#include "net/loop.h"

/* So many at a time, then the loop's connections have their turn. */
enum { ACCEPT_BATCH = 64 };

static const struct timeval retry_after = {.tv_sec = 1};

enum gate_state {
    GATE_OPEN,
    GATE_PAUSED,
    GATE_TRYING, /* watched again; it goes on once all that waited have been accepted */
};

struct gate {
    struct loop *loop;
    void (*arrived)(int fd, void *user);
    void *user;
    struct listener *listeners;
    bool inherited;
    char congestion[CONGESTION_NAME_BYTES];
    bool told; /* the log says that it pauses */
    atomic_int state;
    struct event *retry;
};

static void set_state(struct gate *gate, enum gate_state state)
{
    enum gate_state before = (enum gate_state)atomic_exchange(&gate->state, (int)state);

    if ((before == GATE_PAUSED) != (state == GATE_PAUSED)) {
        for (struct listener *listener = gate->listeners; listener != NULL; listener = listener->next) {
            listener_pause(listener, state == GATE_PAUSED);
        }
    }
    if (state == GATE_PAUSED) {
        (void)event_add(gate->retry, &retry_after); /* without memory a connection that goes wakes it */
    }
}

bool gate_is_paused(const struct gate *gate)
{
    return atomic_load(&gate->state) == GATE_PAUSED;
}

void gate_retry(struct gate *gate)
{
    if (gate_is_paused(gate)) {
        set_state(gate, GATE_TRYING);
    }
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    gate_retry(arg);
}

/* A pair of lines for each pause, but not as often as strangers can fill and empty the last places. */
static void log_paused(struct gate *gate, int error)
{
    static struct log_limit limit = LOG_LIMIT(5, 10000000);
    const struct log_field id = {LOG_ID(MESSAGE_ACCEPT_PAUSED)};
    uint64_t suppressed = 0;

    gate->told = log_limit_pass(&limit, loop_now_us(), &suppressed);
    if (gate->told && suppressed > 0) {
        log_message(LOG_LEVEL_WARNING, "accept paused %" PRIu64 " times more", suppressed);
    }
    if (gate->told) {
        log_event(LOG_LEVEL_WARNING, &id, 1, "accept paused: %s", strerror(error));
    }
}

static void log_resumed(struct gate *gate)
{
    if (gate->told) {
        log_message(LOG_LEVEL_NOTICE, "accept resumed");
    }
}

/* An error of accept4(). Returns whether to go on accepting at once. */
static bool accept_failed(struct gate *gate, int error)
{
    if (error == EAGAIN) {
        if (atomic_load(&gate->state) == GATE_TRYING) {
            set_state(gate, GATE_OPEN);
            log_resumed(gate);
        }
        return false;
    }
    if (listener_lost_one(error)) {
        log_message(LOG_LEVEL_DEBUG, "a connection was lost before it was accepted: %s", strerror(error));
        return true;
    }
    if (atomic_load(&gate->state) == GATE_OPEN) {
        log_paused(gate, error);
    }
    set_state(gate, GATE_PAUSED);
    return false;
}

static void on_readable(int fd, short what, void *arg)
{
    struct gate *gate = arg;

    (void)what;
    for (unsigned i = 0; i < ACCEPT_BATCH; i++) {
        int accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (accepted < 0) {
            if (!accept_failed(gate, errno)) {
                return;
            }
            continue;
        }
        gate->arrived(accepted, gate->user);
    }
}

int gate_new(struct loop *loop, void (*arrived)(int fd, void *user), void *user, struct gate **ret_gate)
{
    struct gate *gate = calloc(1, sizeof(*gate));

    if (gate == NULL) {
        return -ENOMEM;
    }
    gate->loop = loop;
    gate->arrived = arrived;
    gate->user = user;
    atomic_init(&gate->state, GATE_OPEN);
    gate->retry = event_new(loop->base, -1, 0, on_retry, gate);
    if (gate->retry == NULL) {
        free(gate);
        return -ENOMEM;
    }
    *ret_gate = gate;
    return 0;
}

void gate_close(struct gate *gate)
{
    while (gate->listeners != NULL) {
        struct listener *listener = gate->listeners;

        gate->listeners = listener->next;
        listener_close(listener);
    }
    (void)event_del(gate->retry);
}

void gate_free(struct gate *gate)
{
    if (gate != NULL) {
        gate_close(gate);
        event_free(gate->retry);
        free(gate);
    }
}

const struct address *gate_address(const struct gate *gate, size_t index)
{
    const struct listener *listener = gate->listeners;

    for (; listener != NULL && index > 0; index--) {
        listener = listener->next;
    }
    return listener != NULL ? &listener->actual : NULL;
}

static void log_address(const char *text, const struct address *address)
{
    char name[ADDRESS_TEXT_BYTES];

    address_format(address, name);
    log_message(LOG_LEVEL_INFO, "%s %s", text, name);
}

/* Adds a watched listener. */
static void add(struct gate *gate, struct listener *listener)
{
    listener_pause(listener, gate_is_paused(gate));
    listener->next = gate->listeners;
    gate->listeners = listener;
    log_address("listening on", &listener->actual);
}

static int open_watched(struct gate *gate, const struct address *address, struct listener **ret_listener,
                        struct error_text *ret_error)
{
    struct listener *listener = NULL;
    int r = listener_open(address, 0, &listener, ret_error);

    if (r != 0) {
        return r;
    }
    r = listener_set_congestion(listener, gate->congestion);
    if (r == 0) {
        r = listener_watch(listener, gate->loop->base, on_readable, gate);
    }
    if (r != 0) {
        listener_close(listener);
        return error_set(ret_error, r, "can't listen: %s", strerror(-r));
    }
    *ret_listener = listener;
    return 0;
}

static int set_congestion(struct gate *gate, const char *name)
{
    int r = 0;

    for (struct listener *listener = gate->listeners; listener != NULL; listener = listener->next) {
        int one = listener_set_congestion(listener, name);

        r = r != 0 ? r : one;
    }
    return r;
}

int gate_set_congestion(struct gate *gate, const char *name, struct error_text *ret_error)
{
    int r = set_congestion(gate, name);

    if (r != 0) {
        (void)set_congestion(gate, gate->congestion); /* they had it before */
        return error_set(ret_error, r, "congestion_control \"%s\": %s", name, strerror(-r));
    }
    (void)snprintf(gate->congestion, sizeof(gate->congestion), "%s", name);
    return 0;
}

/* Whether a passed socket is for agents, by its FileDescriptorName: ours, or what systemd calls a socket that has none (the
 * name of its unit; "unknown" when there is no unit). Another name is meant for something that this server does not know. */
static bool is_for_agents(const char *name)
{
    size_t len = strlen(name);

    return strcmp(name, "etcp") == 0 || strcmp(name, "unknown") == 0 ||
           (len > 7 && strcmp(name + len - 7, ".socket") == 0);
}

static int adopt(struct gate *gate, struct listener *listener, struct error_text *ret_error)
{
    char text[LISTENER_TEXT_BYTES];
    int r;

    if (!is_for_agents(listener->name)) {
        listener_format(listener, text);
        return error_set(ret_error, -EINVAL, "a socket from systemd is %s: expected FileDescriptorName=etcp", text);
    }
    r = listener_watch(listener, gate->loop->base, on_readable, gate);
    return r == 0 ? 0 : error_set(ret_error, r, "sockets from systemd: %s", strerror(-r));
}

int gate_adopt(struct gate *gate, size_t *ret_count, struct error_text *ret_error)
{
    struct listener *list = NULL;
    int count = listener_adopt_all(&list, ret_error);
    int r = count < 0 ? count : 0;

    while (list != NULL) {
        struct listener *listener = list;

        list = listener->next;
        if (r == 0) {
            r = adopt(gate, listener, ret_error);
        }
        if (r == 0) {
            add(gate, listener);
        } else {
            listener_close(listener);
        }
    }
    gate->inherited = r == 0 && count > 0;
    *ret_count = count > 0 ? (size_t)count : 0;
    return r;
}

/* ---- Another set of addresses ------------------------------------------------------------------------------------------ */

static bool is_among(const struct listener *listener, const struct address *addresses, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (listener_is_for(listener, &addresses[i])) {
            return true;
        }
    }
    return false;
}

static bool is_open(const struct gate *gate, const struct address *address)
{
    for (const struct listener *listener = gate->listeners; listener != NULL; listener = listener->next) {
        if (listener_is_for(listener, address)) {
            return true;
        }
    }
    return false;
}

static uint16_t port_of(const struct address *address)
{
    switch (address->any.sa_family) {
    case AF_INET:
        return address->in.sin_port;
    case AF_INET6:
        return address->in6.sin6_port;
    default:
        return 0;
    }
}

/* Moves listeners that are not wanted any more to *ret_removed: all, or those with this port. Returns whether there were any. */
static bool remove_unwanted(struct gate *gate, const struct address *addresses, size_t count, const uint16_t *port,
                            struct listener **ret_removed)
{
    struct listener **link = &gate->listeners;
    bool any = false;

    while (*link != NULL) {
        struct listener *listener = *link;

        if (is_among(listener, addresses, count) || (port != NULL && port_of(&listener->wanted) != *port)) {
            link = &listener->next;
            continue;
        }
        *link = listener->next;
        listener->next = *ret_removed;
        *ret_removed = listener;
        any = true;
    }
    return any;
}

/* Opens an address. 0.0.0.0:1 and 127.0.0.1:1 can't be listened on at once, so listeners of the same port that are to go make way
 * first: they stop listening, and `removed` keeps what they were. */
static int open_missing(struct gate *gate, const struct address *address, const struct address *addresses, size_t count,
                        struct listener **removed, struct listener **ret_listener, struct error_text *ret_error)
{
    uint16_t port = port_of(address);
    struct listener *before = *removed;
    int r = open_watched(gate, address, ret_listener, ret_error);

    if (r != -EADDRINUSE || port == 0 || !remove_unwanted(gate, addresses, count, &port, removed)) {
        return r;
    }
    for (struct listener *listener = *removed; listener != before; listener = listener->next) {
        listener_stop(listener);
    }
    return open_watched(gate, address, ret_listener, ret_error);
}

/* Nothing is to change after all: those that made way listen again. */
static void put_back(struct gate *gate, struct listener *removed)
{
    while (removed != NULL) {
        struct listener *listener = removed;
        struct listener *again = NULL;
        struct error_text error;

        removed = listener->next;
        if (listener->fd >= 0) {
            listener->next = gate->listeners;
            gate->listeners = listener;
            continue;
        }
        if (open_watched(gate, &listener->wanted, &again, &error) == 0) {
            add(gate, again);
        } else {
            log_message(LOG_LEVEL_ERROR, "after a failed reload: %s", error.text);
        }
        listener_close(listener);
    }
}

int gate_set(struct gate *gate, const struct address *addresses, size_t count, struct error_text *ret_error)
{
    struct listener *fresh = NULL, *removed = NULL;
    struct listener **end = &fresh;
    int r = 0;

    if (gate->inherited) {
        return 0;
    }
    for (size_t i = 0; r == 0 && i < count; i++) {
        struct listener *listener = NULL;

        if (is_open(gate, &addresses[i])) {
            continue;
        }
        r = open_missing(gate, &addresses[i], addresses, count, &removed, &listener, ret_error);
        if (r == 0) {
            *end = listener;
            end = &listener->next;
        }
    }
    if (r == 0) {
        (void)remove_unwanted(gate, addresses, count, NULL, &removed);
    }
    while (fresh != NULL) {
        struct listener *listener = fresh;

        fresh = listener->next;
        if (r == 0) {
            add(gate, listener);
        } else {
            listener_close(listener);
        }
    }
    if (r != 0) {
        put_back(gate, removed);
        return r;
    }
    while (removed != NULL) {
        struct listener *listener = removed;

        removed = listener->next;
        log_address("no longer listening on", &listener->actual);
        listener_close(listener);
    }
    return 0;
}
