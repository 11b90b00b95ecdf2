/* SPDX-License-Identifier: MIT */
#include "net/dial.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/socket.h>

#include <event2/event.h>

#include "net/loop.h"
#include "net/resolve.h"

/* A name that is asked for, or has been; gone when nobody waits for it and its answer is old. */
struct name {
    struct dialer *dialer;
    struct name *next;
    struct resolve *resolve; /* NULL: answered */
    struct dial *waiting;    /* they get the answer */
    uint64_t answered_us;
    bool useful; /* there are addresses */
    size_t count;
    struct address *addresses;
    uint16_t port;
    char host[];
};

struct dialer {
    struct loop *loop;
    struct name *names; /* at most one for each name that a configuration has */
};

/* Between two attempts at a Unix socket whose queue is full. */
enum { PAUSE_MIN_US = 1000, PAUSE_MAX_US = 100000 };

enum dial_state {
    DIAL_ASKING = 1, /* the name's answer has not come */
    DIAL_ANSWERED,   /* the addresses are there: try them from the loop */
    DIAL_CONNECTING,
    DIAL_PAUSED, /* a Unix socket's queue is full: it is tried again */
    DIAL_OVER,   /* report from the loop */
};

struct dial {
    struct dialer *dialer;
    void (*done)(const struct dial_result *result, void *user);
    void *user;
    enum dial_state state;
    struct name *name; /* asking: whose answer it waits for */
    struct dial *next; /* of those that wait for it */
    struct event *event;
    int fd;
    int error;    /* of the last address */
    char *reason; /* of a failed lookup */
    uint64_t deadline_us;
    uint64_t pause_us; /* the last one; 0: there was none */
    struct address *addresses;
    size_t tried, count;
    char *host; /* to forget an answer that has led nowhere; NULL: numeric, or a path */
    uint16_t port;
};

static void on_event(evutil_socket_t fd, short what, void *arg);

/* ---- Names ----------------------------------------------------------------------------------------------------------- */

static void name_free(struct name *name)
{
    struct name **at = &name->dialer->names;

    while (*at != name) {
        at = &(*at)->next;
    }
    *at = name->next;
    resolve_cancel(name->resolve);
    free(name->addresses);
    free(name);
}

static struct name *find_name(struct dialer *dialer, const char *host, uint16_t port)
{
    struct name *name = dialer->names;

    while (name != NULL && (name->port != port || strcmp(name->host, host) != 0)) {
        name = name->next;
    }
    return name;
}

static bool is_old(const struct name *name, uint64_t now_us)
{
    return name->resolve == NULL && (!name->useful || now_us - name->answered_us >= DIAL_REMEMBER_US);
}

static void drop_old(struct dialer *dialer)
{
    const uint64_t now = loop_now_us();
    struct name *next = NULL;

    for (struct name *name = dialer->names; name != NULL; name = next) {
        next = name->next;
        if (is_old(name, now)) {
            name_free(name);
        }
    }
}

/* ---- Addresses ------------------------------------------------------------------------------------------------------- */

static void dial_free(struct dial *dial)
{
    if (dial->event != NULL) {
        event_free(dial->event);
    }
    if (dial->fd >= 0) {
        (void)close(dial->fd);
    }
    free(dial->addresses);
    free(dial->reason);
    free(dial->host);
    free(dial);
}

/* Its end. */
static void report(struct dial *dial)
{
    struct dial_result result = {.fd = dial->fd, .timed_out = dial->error == ETIMEDOUT};
    struct name *name = NULL;

    dial->fd = -1;
    if (dial->tried > 0) {
        result.address = dial->addresses[dial->tried - 1];
    }
    if (result.fd < 0) {
        result.reason = dial->reason != NULL ? dial->reason : strerror(dial->error);
        name = dial->host != NULL ? find_name(dial->dialer, dial->host, dial->port) : NULL;
        if (name != NULL && name->resolve == NULL) {
            name_free(name);
        }
    }
    dial->done(&result, dial->user);
    dial_free(dial);
}

static bool wait_for(struct dial *dial, short what, uint64_t timeout_us)
{
    const struct timeval timeout = loop_span(timeout_us);

    if (event_assign(dial->event, dial->dialer->loop->base, dial->fd, what, on_event, dial) == 0 &&
        event_add(dial->event, &timeout) == 0) {
        return true;
    }
    dial->error = ENOMEM;
    return false;
}

static uint64_t time_left(const struct dial *dial)
{
    const uint64_t now = loop_now_us();

    return dial->deadline_us > now ? dial->deadline_us - now : 0;
}

static void close_socket(struct dial *dial)
{
    if (dial->fd >= 0) {
        (void)event_del(dial->event);
        (void)close(dial->fd);
        dial->fd = -1;
    }
}

bool dial_is_connected(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};

    return poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & (POLLOUT | POLLERR | POLLHUP)) == POLLOUT;
}

static in_port_t port_of(const struct address *address)
{
    return address->any.sa_family == AF_INET6 ? address->in6.sin6_port : address->in.sin_port;
}

/* Where nobody listens on a port that the kernel gives out itself, a socket can be connected to itself. That one leaves nothing behind
 * when it is closed, or the port would be taken for a minute. */
static bool meets_itself(const struct dial *dial, const struct address *to)
{
    static const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    struct address own = {.len = sizeof(own.un)}, peer = {.len = sizeof(peer.un)};

    /* The address is not compared with `to`: all addresses of this machine may be meant by it. */
    if (to->any.sa_family == AF_UNIX || getsockname(dial->fd, &own.any, &own.len) != 0 ||
        port_of(&own) != port_of(to) || getpeername(dial->fd, &peer.any, &peer.len) != 0 ||
        !address_equal(&own, &peer)) {
        return false;
    }
    (void)setsockopt(dial->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    return true;
}

/* Tries the address of a Unix socket once more in a moment: others have filled its queue, which no event tells the end of. */
static bool pause_dial(struct dial *dial, uint64_t left)
{
    const uint64_t pause_us = dial->pause_us == 0 ? PAUSE_MIN_US : 2 * dial->pause_us;

    dial->pause_us = pause_us < PAUSE_MAX_US ? pause_us : PAUSE_MAX_US;
    dial->tried--;
    close_socket(dial);
    dial->state = DIAL_PAUSED;
    return wait_for(dial, 0, dial->pause_us < left ? dial->pause_us : left);
}

/* Begins with the next addresses until one is under way, or connected, or there is none left: then it is over. */
static void try_addresses(struct dial *dial)
{
    dial->state = DIAL_OVER;
    while (dial->tried < dial->count) {
        const uint64_t left = time_left(dial);
        const struct address *address = &dial->addresses[dial->tried];
        const size_t shares = dial->count - dial->tried;

        if (left == 0) {
            dial->error = ETIMEDOUT;
            dial->reason = dial->pause_us > 0 ? strdup("its queue of connections is full") : NULL;
            return;
        }
        dial->tried++;
        dial->fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (dial->fd < 0) {
            dial->error = errno;
            continue;
        }
        dial->error = connect(dial->fd, &address->any, address->len) == 0 ? 0 : errno;
        if (dial->error == 0 || (dial->error == EINPROGRESS && dial_is_connected(dial->fd))) {
            if (!meets_itself(dial, address)) {
                return;
            }
            dial->error = ECONNREFUSED;
        }
        if (dial->error == EAGAIN && address->any.sa_family == AF_UNIX) {
            if (pause_dial(dial, left)) {
                return;
            }
            dial->state = DIAL_OVER;
            return;
        }
        if (dial->error == EINPROGRESS && wait_for(dial, EV_WRITE, left / shares + 1)) {
            dial->state = DIAL_CONNECTING;
            return;
        }
        close_socket(dial);
    }
}

static void on_connecting(struct dial *dial, short what)
{
    int error = 0;
    socklen_t len = sizeof(error);

    if ((what & EV_WRITE) == 0) {
        error = ETIMEDOUT;
    } else if (getsockopt(dial->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0) {
        error = errno;
    } else if (error == 0 && meets_itself(dial, &dial->addresses[dial->tried - 1])) {
        error = ECONNREFUSED;
    }
    if (error == 0) {
        (void)event_del(dial->event);
        dial->state = DIAL_OVER;
        return;
    }
    dial->error = error;
    close_socket(dial);
    try_addresses(dial);
}

static void stop_asking(struct dial *dial)
{
    struct dial **at = &dial->name->waiting;

    while (*at != dial) {
        at = &(*at)->next;
    }
    *at = dial->next;
    dial->name = NULL;
}

static void on_event(evutil_socket_t fd, short what, void *arg)
{
    struct dial *dial = arg;

    (void)fd;
    switch (dial->state) {
    case DIAL_ASKING:
        stop_asking(dial);
        dial->error = ETIMEDOUT;
        dial->reason = strdup("looking up the name took too long"); /* without memory the error says enough */
        dial->state = DIAL_OVER;
        break;
    case DIAL_ANSWERED:
    case DIAL_PAUSED:
        try_addresses(dial);
        break;
    case DIAL_CONNECTING:
        on_connecting(dial, what);
        break;
    case DIAL_OVER:
        break;
    }
    if (dial->state == DIAL_OVER) {
        report(dial);
    }
}

/* Has on_event() called from the loop. */
static void call_later(struct dial *dial, enum dial_state state)
{
    dial->state = state;
    event_active(dial->event, EV_TIMEOUT, 0);
}

/* Takes a copy of the addresses. */
static bool take_addresses(struct dial *dial, const struct address *addresses, size_t count)
{
    dial->addresses = calloc(count, sizeof(*addresses));
    if (dial->addresses == NULL) {
        dial->error = ENOMEM;
        return false;
    }
    memcpy(dial->addresses, addresses, count * sizeof(*addresses));
    dial->count = count;
    return true;
}

static void on_resolved(const struct resolve_result *result, void *user)
{
    struct name *name = user;

    name->resolve = NULL;
    name->answered_us = loop_now_us();
    name->useful = result->error == NULL && (name->addresses = calloc(result->count, sizeof(*name->addresses))) != NULL;
    if (name->useful) {
        memcpy(name->addresses, result->addresses, result->count * sizeof(*name->addresses));
        name->count = result->count;
    }
    while (name->waiting != NULL) {
        struct dial *dial = name->waiting;

        name->waiting = dial->next;
        dial->name = NULL;
        (void)event_del(dial->event);
        if (result->error != NULL) {
            dial->error = EHOSTUNREACH;
            dial->reason = strdup(result->error); /* without memory the error says enough */
            call_later(dial, DIAL_OVER);
        } else if (take_addresses(dial, result->addresses, result->count)) {
            call_later(dial, DIAL_ANSWERED);
        } else {
            call_later(dial, DIAL_OVER);
        }
    }
}

/* ---- Begin and end --------------------------------------------------------------------------------------------------- */

int dialer_new(struct loop *loop, struct dialer **ret_dialer)
{
    struct dialer *dialer = calloc(1, sizeof(*dialer));

    if (dialer == NULL) {
        return -ENOMEM;
    }
    dialer->loop = loop;
    *ret_dialer = dialer;
    return 0;
}

void dialer_free(struct dialer *dialer)
{
    if (dialer != NULL) {
        while (dialer->names != NULL) {
            name_free(dialer->names);
        }
        free(dialer);
    }
}

/* The name, asked for if it is not known. */
static int ask(struct dialer *dialer, const char *host, uint16_t port, struct name **ret_name)
{
    size_t host_bytes = strlen(host) + 1;
    struct name *name = NULL;
    int r = 0;

    drop_old(dialer);
    name = find_name(dialer, host, port);
    if (name == NULL) {
        name = calloc(1, sizeof(*name) + host_bytes);
        if (name == NULL) {
            return -ENOMEM;
        }
        name->dialer = dialer;
        name->port = port;
        memcpy(name->host, host, host_bytes);
        r = resolve_start(dialer->loop, host, port, on_resolved, name, &name->resolve);
        if (r != 0) {
            free(name);
            return r;
        }
        name->next = dialer->names;
        dialer->names = name;
    }
    *ret_name = name;
    return 0;
}

static int start_with_name(struct dial *dial, const char *host, uint16_t port)
{
    struct name *name = NULL;
    int r = 0;

    dial->host = strdup(host);
    dial->port = port;
    r = dial->host != NULL ? ask(dial->dialer, host, port, &name) : -ENOMEM;
    if (r != 0) {
        return r;
    }
    if (name->resolve == NULL) {
        if (!take_addresses(dial, name->addresses, name->count)) {
            return -ENOMEM;
        }
        try_addresses(dial);
        return 0;
    }
    if (!wait_for(dial, 0, time_left(dial))) {
        return -ENOMEM;
    }
    dial->state = DIAL_ASKING;
    dial->name = name;
    dial->next = name->waiting;
    name->waiting = dial;
    return 0;
}

static int start(struct dial *dial, const struct dial_target *target)
{
    struct address address;
    int r = 0;

    if (target->path != NULL) {
        r = address_from_path(target->path, &address);
        if (r != 0) {
            return r;
        }
    } else if (address_from_numeric(target->host, target->port, &address) != 0) {
        return start_with_name(dial, target->host, target->port);
    }
    if (!take_addresses(dial, &address, 1)) {
        return -ENOMEM;
    }
    try_addresses(dial);
    return 0;
}

int dial_start(struct dialer *dialer, const struct dial_target *target, uint64_t timeout_us,
               void (*done)(const struct dial_result *result, void *user), void *user, struct dial **ret_dial)
{
    struct dial *dial = calloc(1, sizeof(*dial));
    int r = -ENOMEM;

    if (dial == NULL) {
        return r;
    }
    dial->dialer = dialer;
    dial->done = done;
    dial->user = user;
    dial->fd = -1;
    dial->deadline_us = loop_now_us() + timeout_us;
    dial->event = event_new(dialer->loop->base, -1, 0, on_event, dial);
    r = dial->event != NULL ? start(dial, target) : -ENOMEM;
    if (r != 0) {
        dial_free(dial);
        return r;
    }
    if (dial->state == DIAL_OVER) {
        call_later(dial, DIAL_OVER);
    }
    *ret_dial = dial;
    return 0;
}

void dial_cancel(struct dial *dial)
{
    if (dial != NULL) {
        if (dial->name != NULL) {
            stop_asking(dial);
        }
        dial_free(dial);
    }
}
