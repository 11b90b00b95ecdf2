/* SPDX-License-Identifier: MIT */
#include "net/publishers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "net/loop.h"

enum { DIRECTORY_MODE = 0750 };

/* One of the two. */
struct place {
    enum publisher_kind kind;
    struct publisher *publisher; /* NULL: none */
    struct publisher *next;      /* between prepare and commit: what takes its place, unless it stays */
    bool stays, made_way;        /* its address was wanted by the next one: it is paused */
};

struct publishers {
    struct loop *loop;
    const struct publisher_handler *handler;
    void *user;
    struct place status, metrics;
};

int publishers_new(struct loop *loop, const struct publisher_handler *handler, void *user,
                   struct publishers **ret_publishers)
{
    struct publishers *publishers = calloc(1, sizeof(*publishers));

    if (publishers == NULL) {
        return -ENOMEM;
    }
    publishers->loop = loop;
    publishers->handler = handler;
    publishers->user = user;
    publishers->status.kind = PUBLISHER_STATUS;
    publishers->metrics.kind = PUBLISHER_METRICS;
    *ret_publishers = publishers;
    return 0;
}

void publishers_free(struct publishers *publishers)
{
    if (publishers != NULL) {
        publisher_free(publishers->status.publisher);
        publisher_free(publishers->metrics.publisher);
        free(publishers);
    }
}

/* ---- Where the status socket is ------------------------------------------------------------------------------------- */

/* The directory of the automatic socket, which is made; NULL: there is none. */
static char *automatic_directory(const char *daemon)
{
    const char *runtime = getenv("RUNTIME_DIRECTORY"), *user = getenv("XDG_RUNTIME_DIR");
    char *directory = NULL;
    int n = -1;

    if (runtime != NULL && runtime[0] == '/') {
        n = asprintf(&directory, "%.*s", (int)strcspn(runtime, ":"),
                     runtime); /* systemd names several so; the first is ours */
    } else if (geteuid() == 0) {
        n = asprintf(&directory, "/run/etcp/%s", daemon);
    } else if (user != NULL && user[0] == '/') {
        n = asprintf(&directory, "%s/etcp/%s", user, daemon);
    }
    if (n < 0 || file_make_directory(directory, DIRECTORY_MODE) != 0) {
        if (n >= 0) {
            free(directory);
        }
        return NULL;
    }
    return directory;
}

/* Returns whether there is an address at all. */
static bool automatic_address(const char *daemon, struct address *ret_address)
{
    char *directory = automatic_directory(daemon);
    char *path = NULL;
    bool good = false;

    if (directory != NULL && asprintf(&path, "%s/status.sock", directory) >= 0) {
        good = address_from_path(path, ret_address) == 0;
        free(path);
    }
    free(directory);
    return good;
}

/* ---- Moving ----------------------------------------------------------------------------------------------------------------- */

static bool same_port(const struct address *a, const struct address *b)
{
    const bool inet_a = a->any.sa_family == AF_INET || a->any.sa_family == AF_INET6;
    const bool inet_b = b->any.sa_family == AF_INET || b->any.sa_family == AF_INET6;

    return inet_a && inet_b && a->in.sin_port == b->in.sin_port; /* the port is at the same place in both */
}

static void rollback(struct place *place)
{
    struct error_text error;

    publisher_free(place->next);
    place->next = NULL;
    if (place->made_way && publisher_resume(place->publisher, &error) != 0) {
        log_message(LOG_LEVEL_ERROR, "after a failed reload: %s", error.text);
    }
    place->made_way = place->stays = false;
}

/* `address` NULL: it is to be closed. */
static int prepare(struct publishers *publishers, struct place *place, const struct address *address,
                   struct error_text *ret_error)
{
    int r = 0;

    place->stays =
        address != NULL && place->publisher != NULL && address_equal(publisher_wanted(place->publisher), address);
    if (address == NULL || place->stays) {
        return 0;
    }
    r = publisher_new(publishers->loop, place->kind, address, publishers->handler, publishers->user, &place->next,
                      ret_error);
    if (r == -EADDRINUSE && place->publisher != NULL && same_port(publisher_wanted(place->publisher), address)) {
        publisher_pause(place->publisher);
        place->made_way = true;
        r = publisher_new(publishers->loop, place->kind, address, publishers->handler, publishers->user, &place->next,
                          ret_error);
    }
    if (r != 0) {
        rollback(place);
    }
    return r;
}

static int prepare_status(struct publishers *publishers, const struct publishers_settings *settings,
                          struct error_text *ret_error)
{
    const bool automatic = settings->status_socket[0] == '\0';
    struct address address;
    int r = 0;

    if (strcmp(settings->status_socket, "none") == 0) {
        return prepare(publishers, &publishers->status, NULL, ret_error);
    }
    if (automatic && !automatic_address(settings->daemon, &address)) {
        log_message(LOG_LEVEL_INFO, "no status socket: there is no runtime directory");
        return prepare(publishers, &publishers->status, NULL, ret_error);
    }
    if (!automatic) {
        r = address_from_path(settings->status_socket, &address);
        if (r != 0) {
            return error_set(ret_error, r, "status_socket: %s: %s", settings->status_socket, strerror(-r));
        }
    }
    r = prepare(publishers, &publishers->status, &address, ret_error);
    if (r != 0 && automatic) {
        log_message(LOG_LEVEL_NOTICE, "no status socket: %s", ret_error->text);
        return prepare(publishers, &publishers->status, NULL, ret_error);
    }
    return r;
}

static int prepare_metrics(struct publishers *publishers, const struct publishers_settings *settings,
                           struct error_text *ret_error)
{
    const bool is_unix = settings->metrics_path[0] != '\0';
    struct address address;
    int r = 0;

    if (!is_unix && settings->metrics_host[0] == '\0') {
        return prepare(publishers, &publishers->metrics, NULL, ret_error);
    }
    r = is_unix ? address_from_path(settings->metrics_path, &address)
                : address_from_numeric(settings->metrics_host, settings->metrics_port, &address);
    if (r != 0) {
        return error_set(ret_error, r, "metrics.bind: %s: %s",
                         is_unix ? settings->metrics_path : settings->metrics_host, strerror(-r));
    }
    return prepare(publishers, &publishers->metrics, &address, ret_error);
}

int publishers_prepare(struct publishers *publishers, const struct publishers_settings *settings,
                       struct error_text *ret_error)
{
    int r = prepare_status(publishers, settings, ret_error);

    if (r == 0) {
        r = prepare_metrics(publishers, settings, ret_error);
        if (r != 0) {
            rollback(&publishers->status);
        }
    }
    return r;
}

bool publishers_has(const struct publishers *publishers, const struct publisher *publisher)
{
    return publisher != NULL &&
           (publisher == publishers->status.publisher || publisher == publishers->metrics.publisher);
}

void publishers_rollback(struct publishers *publishers)
{
    rollback(&publishers->status);
    rollback(&publishers->metrics);
}

/* HTTP has no passwords: whoever reaches it reads it. */
static bool is_local(const struct address *address)
{
    switch (address->any.sa_family) {
    case AF_INET:
        return ntohl(address->in.sin_addr.s_addr) >> 24 == 127;
    case AF_INET6:
        return IN6_IS_ADDR_LOOPBACK(&address->in6.sin6_addr);
    default:
        return true;
    }
}

static void commit(struct place *place)
{
    char text[ADDRESS_TEXT_BYTES];

    if (place->stays) {
        place->stays = false;
        return;
    }
    publisher_free(place->publisher);
    place->publisher = place->next;
    place->next = NULL;
    place->made_way = false;
    if (place->publisher == NULL) {
        return;
    }
    address_format(publisher_address(place->publisher), text);
    if (place->kind == PUBLISHER_STATUS) {
        log_message(LOG_LEVEL_DEBUG, "status on %s", text);
        return;
    }
    log_message(LOG_LEVEL_INFO, "metrics on %s", text);
    if (!is_local(publisher_address(place->publisher))) {
        log_message(LOG_LEVEL_WARNING, "metrics on %s can be read by everybody who reaches it", text);
    }
}

void publishers_commit(struct publishers *publishers)
{
    commit(&publishers->status);
    commit(&publishers->metrics);
}
