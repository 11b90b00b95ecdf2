/* SPDX-License-Identifier: MIT
 *
 * A header is looked at before it is read (MSG_PEEK): so exactly the header is taken from the socket, and what came behind it is the
 * handshake's. What is certain to be a part of it is taken at once, or the loop would be woken for it again and again.
 *
 * The address that a connection comes from is the balancer's: until the header has told the real one, only limits on totals
 * apply. The line for a connection that never tells names that address, and is another one than those that say what a client
 * has done, which are made for bans. */
#include "server/entrance.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/queue.h>
#include <sys/socket.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "base/log.h"
#include "net/address.h"
#include "net/loop.h"
#include "server/proxy.h"
#include "server/snapshot.h"
#include "server/worker.h"

struct entrance {
    struct census *census;
    struct worker *const *workers;
    size_t count;
    LIST_HEAD(guest_list, guest) guests;
};

/* One whose header has not come yet. There are no more of them than the census lets in. */
struct guest {
    struct entrance *entrance;
    LIST_ENTRY(guest) place; /* in the entrance's */
    struct newcomer *newcomer;
    struct census_limits limits;
    const char *met; /* the limit, if it is to be refused */
    uint64_t deadline_us;
    struct event io;
    size_t len;      /* of what has been taken */
    uint8_t *header; /* PROXY_READ_MAX bytes; NULL until a header comes in pieces */
};

static struct census_limits limits_of(const struct snapshot *snapshot)
{
    const struct config_limits *limits = &snapshot->config->limits;

    return (struct census_limits){.connections = limits->max_connections,
                                  .connections_per_address = limits->max_connections_per_address,
                                  .handshakes = limits->max_handshakes};
}

static struct worker *least_loaded(const struct entrance *entrance)
{
    struct worker *best = entrance->workers[0];

    for (size_t i = 1; i < entrance->count; i++) {
        if (atomic_load(&entrance->workers[i]->load) < atomic_load(&best->load)) {
            best = entrance->workers[i];
        }
    }
    return best;
}

/* ---- In, or not ---------------------------------------------------------------------------------------------------------- */

/* Its address is known: judged, unless it has been, and handed on. Takes the newcomer. */
static void hand_on(struct entrance *entrance, struct newcomer *newcomer, const char *met)
{
    static struct log_limit limit = LOG_LIMIT(5, 10000000);

    if (newcomer->verdict != CENSUS_WELCOME) {
        log_limited(&limit, loop_now_us(), LOG_LEVEL_NOTICE, NULL, 0, "refused: peer=%s limit=\"%s\"", newcomer->peer,
                    met);
    }
    if (newcomer->verdict == CENSUS_CLOSE) {
        (void)close(newcomer->fd);
        free(newcomer);
        return;
    }
    newcomer->worker = least_loaded(entrance);
    atomic_fetch_add(&newcomer->worker->load, 1);
    if (newcomer->worker == entrance->workers[0]) {
        worker_take(newcomer);
    } else if (loop_post(newcomer->worker->loop, worker_take, newcomer) != 0) {
        census_leave(entrance->census, &newcomer->key, newcomer->verdict, false);
        atomic_fetch_sub(&newcomer->worker->load, 1);
        (void)close(newcomer->fd);
        free(newcomer);
    }
}

/* A header that did not come, is none, or is not believed. */
static void log_refused(struct entrance *entrance, const char *peer, const char *why)
{
    static struct log_limit limit = LOG_LIMIT(20, 1000000);
    const struct log_field fields[] = {{"ETCP_PEER", peer}, {"ETCP_REASON", why}};

    entrance->workers[0]->tally.failures[TALLY_PROXY]++; /* whose thread this is */
    log_limited(&limit, loop_now_us(), LOG_LEVEL_NOTICE, fields, sizeof(fields) / sizeof(fields[0]),
                "proxy header refused: peer=%s reason=\"%s\"", peer, why);
}

static void guest_free(struct guest *guest)
{
    struct entrance *entrance = guest->entrance;

    (void)event_del(&guest->io);
    LIST_REMOVE(guest, place);
    if (guest->newcomer != NULL) {
        census_leave(entrance->census, NULL, guest->newcomer->verdict, false);
        (void)close(guest->newcomer->fd);
        free(guest->newcomer);
    }
    free(guest->header);
    free(guest);
}

/* ---- The header ---------------------------------------------------------------------------------------------------------- */

/* A path is a claim of somebody's: it is shown if it can be taken for nothing else in a line of the log. */
static void show_path(const struct address *address, char ret_text[static ADDRESS_TEXT_BYTES])
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-";
    size_t len = address->len - offsetof(struct sockaddr_un, sun_path);
    char path[sizeof(address->un.sun_path) + 1] = "";

    memcpy(path, address->un.sun_path, len);
    if (len > 0 && strspn(path, plain) == len) {
        (void)snprintf(ret_text, ADDRESS_TEXT_BYTES, "unix:%s", path);
    } else {
        (void)snprintf(ret_text, ADDRESS_TEXT_BYTES, "unix");
    }
}

/* The address that counts from now on. Without one in the header it is that of the connection, which is there already. */
static void set_source(struct newcomer *newcomer, const struct proxy_source *source)
{
    newcomer->quiet = source->speaker == PROXY_LOCAL;
    if (source->speaker != PROXY_CLIENT) {
        return;
    }
    address_key(&source->address, &newcomer->key);
    if (source->address.any.sa_family == AF_UNIX) {
        newcomer->key.bytes[sizeof(newcomer->key.bytes) - 1] =
            1; /* no user of this machine's, whose keys end in zeros */
        show_path(&source->address, newcomer->peer);
    } else {
        address_format(&source->address, newcomer->peer);
    }
}

/* The last thing that is done with the guest. */
static void let_in(struct guest *guest, const struct proxy_source *source)
{
    struct entrance *entrance = guest->entrance;
    struct newcomer *newcomer = guest->newcomer;
    const char *met = guest->met;

    set_source(newcomer, source);
    if (newcomer->verdict == CENSUS_WELCOME) {
        newcomer->verdict = census_name(entrance->census, &guest->limits, &newcomer->key, &met);
    }
    guest->newcomer = NULL;
    guest_free(guest);
    hand_on(entrance, newcomer, met);
}

static void turn_away(struct guest *guest, const char *why)
{
    log_refused(guest->entrance, guest->newcomer->peer, why);
    guest_free(guest);
}

/* Takes `len` bytes that have been seen already. */
static bool take(struct guest *guest, size_t len)
{
    uint8_t bytes[PROXY_READ_MAX];
    ssize_t n;

    if (guest->header == NULL) {
        guest->header = malloc(PROXY_READ_MAX);
    }
    n = len <= sizeof(bytes) ? recv(guest->newcomer->fd, bytes, len, 0) : -1;
    if (guest->header == NULL || n < 0 || (size_t)n != len) {
        return false;
    }
    memcpy(guest->header + guest->len, bytes, len);
    guest->len += len;
    return true;
}

/* The end of the connection. A balancer that looks whether a port is open says nothing, and nothing is said about it. */
static void ended(struct guest *guest)
{
    if (guest->len == 0) {
        guest_free(guest);
    } else {
        turn_away(guest, "it is cut off");
    }
}

/* Waits for more, for what is left of the time: not by a persistent event, which would begin it anew with each byte. */
static void wait_on(struct guest *guest)
{
    const struct timeval timeout = loop_until(guest->deadline_us);

    if (event_add(&guest->io, &timeout) != 0) {
        turn_away(guest, strerror(ENOMEM));
    }
}

/* Looks at what has come, and goes on with it as far as that leads: the guest may be gone afterwards. */
static void look(struct guest *guest)
{
    uint8_t seen[PROXY_READ_MAX];
    struct proxy_source source = {0};
    const char *why = NULL;
    size_t len = 0;
    ssize_t n = 0;

    if (guest->len > 0) {
        memcpy(seen, guest->header, guest->len);
    }
    n = recv(guest->newcomer->fd, seen + guest->len, sizeof(seen) - guest->len, MSG_PEEK);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
        wait_on(guest);
        return;
    }
    if (n <= 0) {
        ended(guest);
        return;
    }
    switch (proxy_read(seen, guest->len + (size_t)n, &len, &source, &why)) {
    case PROXY_MORE:
        if (take(guest, (size_t)n)) {
            wait_on(guest);
        } else {
            turn_away(guest, strerror(ENOMEM));
        }
        break;
    case PROXY_DONE:
        if (recv(guest->newcomer->fd, seen, len - guest->len, 0) == (ssize_t)(len - guest->len)) {
            let_in(guest, &source);
        } else {
            turn_away(guest, strerror(EIO)); /* what was there a moment ago */
        }
        break;
    case PROXY_BAD:
        turn_away(guest, why);
        break;
    }
}

static void on_io(evutil_socket_t fd, short what, void *arg)
{
    struct guest *guest = arg;

    (void)fd;
    if ((what & EV_TIMEOUT) != 0) {
        turn_away(guest, "it has not come in time");
    } else {
        look(guest);
    }
}

/* Who may send a header. */
static bool is_in(const struct config_network *network, const struct address *address)
{
    const uint8_t *bytes = (const uint8_t *)&address->in6.sin6_addr;
    enum config_network_kind kind = CONFIG_NETWORK_INET6;
    unsigned whole = network->bits / 8, rest = network->bits % 8;

    switch (address->any.sa_family) {
    case AF_UNIX:
        return network->kind == CONFIG_NETWORK_UNIX;
    case AF_INET:
        bytes = (const uint8_t *)&address->in.sin_addr;
        kind = CONFIG_NETWORK_INET;
        break;
    default:
        if (IN6_IS_ADDR_V4MAPPED(&address->in6.sin6_addr)) {
            bytes += 12;
            kind = CONFIG_NETWORK_INET;
        }
        break;
    }
    return network->kind == kind && memcmp(bytes, network->address, whole) == 0 &&
           (rest == 0 || ((bytes[whole] ^ network->address[whole]) >> (8 - rest)) == 0);
}

static bool is_believed(const struct config_server *config, const struct address *from)
{
    for (size_t i = 0; i < config->proxy_from_count; i++) {
        if (is_in(&config->proxy_from[i], from)) {
            return true;
        }
    }
    return false;
}

/* Has a newcomer, which it takes on success, wait for its header. */
static bool wait_for_header(struct entrance *entrance, struct newcomer *newcomer, const struct snapshot *snapshot,
                            const char *met)
{
    struct guest *guest = calloc(1, sizeof(*guest));

    if (guest == NULL) {
        return false;
    }
    guest->entrance = entrance;
    guest->limits = limits_of(snapshot);
    guest->met = met;
    guest->deadline_us = newcomer->accepted_us + snapshot->config->limits.handshake_timeout_us;
    (void)event_assign(&guest->io, entrance->workers[0]->loop->base, newcomer->fd, EV_READ, on_io, guest);
    guest->newcomer = newcomer;
    LIST_INSERT_HEAD(&entrance->guests, guest, place);
    look(guest);
    return true;
}

/* ---- Begin and end ------------------------------------------------------------------------------------------------------- */

void entrance_take(struct entrance *entrance, struct snapshot *snapshot, int fd)
{
    const bool proxied = snapshot->config->proxy_protocol == CONFIG_PROXY_IN_REQUIRED;
    const struct census_limits limits = limits_of(snapshot);
    struct newcomer *newcomer = calloc(1, sizeof(*newcomer));
    const char *met = NULL;
    struct address from = {0};

    if (newcomer == NULL || address_peer(fd, newcomer->peer, &newcomer->key, &from) != 0) {
        goto out; /* the peer is gone already, or there is no memory to talk to it */
    }
    newcomer->fd = fd;
    newcomer->accepted_us = loop_now_us();
    if (proxied && !is_believed(snapshot->config, &from)) {
        log_refused(entrance, newcomer->peer, "the address is not in proxy_from");
        goto out;
    }
    newcomer->verdict = census_enter(entrance->census, &limits, proxied ? NULL : &newcomer->key, &met);
    if (!proxied || newcomer->verdict == CENSUS_CLOSE) {
        hand_on(entrance, newcomer, met);
        return;
    }
    if (wait_for_header(entrance, newcomer, snapshot, met)) {
        return;
    }
    census_leave(entrance->census, NULL, newcomer->verdict, false);
out:
    free(newcomer);
    (void)close(fd);
}

int entrance_new(struct census *census, struct worker *const *workers, size_t count, struct entrance **ret_entrance)
{
    struct entrance *entrance = calloc(1, sizeof(*entrance));

    assert(count > 0);
    if (entrance == NULL) {
        return -ENOMEM;
    }
    entrance->census = census;
    entrance->workers = workers;
    entrance->count = count;
    *ret_entrance = entrance;
    return 0;
}

void entrance_clear(struct entrance *entrance)
{
    while (!LIST_EMPTY(&entrance->guests)) {
        guest_free(LIST_FIRST(&entrance->guests));
    }
}

void entrance_free(struct entrance *entrance)
{
    if (entrance != NULL) {
        entrance_clear(entrance);
        free(entrance);
    }
}
