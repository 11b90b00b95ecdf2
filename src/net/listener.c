/* SPDX-License-Identifier: MIT */
#include "net/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <event2/event.h>
#include <systemd/sd-daemon.h>

#include "base/log.h"

enum {
    BACKLOG = 4096, /* the kernel cuts it to net.core.somaxconn */
    LOCK_PATH_BYTES = sizeof(((struct sockaddr_un *)0)->sun_path) + sizeof(".lock"),
};

/* Whether a Unix socket's file is a leftover: a socket that refuses connections because nobody listens. */
static bool is_stale(const struct address *address)
{
    struct stat stat;
    bool stale = false;
    int fd = -1;

    if (lstat(address->un.sun_path, &stat) != 0 || !S_ISSOCK(stat.st_mode)) {
        return false;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0) {
        stale = connect(fd, &address->any, address->len) != 0 && errno == ECONNREFUSED;
        (void)close(fd);
    }
    return stale;
}

/* Holds a place for a Unix socket, from before it is looked at until somebody listens there: another program that starts at
 * the same time would take a socket that is bound and does not listen yet for a leftover, and remove it. The lock is a
 * file that lies there as long as it is held. Returns a descriptor, or -EADDRINUSE if somebody else holds it, or -errno. */
static int lock_place(const struct address *address, char ret_path[static LOCK_PATH_BYTES])
{
    struct stat stat;
    int fd = -1;

    (void)snprintf(ret_path, LOCK_PATH_BYTES, "%s.lock", address->un.sun_path);
    for (;;) {
        fd = open(ret_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0) {
            return -errno;
        }
        if (flock(fd, LOCK_EX | LOCK_NB) != 0 || fstat(fd, &stat) != 0) {
            int r = errno == EWOULDBLOCK ? -EADDRINUSE : -errno;

            (void)close(fd);
            return r;
        }
        if (stat.st_nlink > 0) {
            return fd;
        }
        (void)close(fd); /* who held it has removed it: this is no lock any more */
    }
}

static void unlock_place(int fd, const char *path)
{
    if (fd >= 0) {
        (void)unlink(path); /* before the lock goes, so that it is never another's */
        (void)close(fd);
    }
}

static int bind_socket(int fd, const struct address *address)
{
    int on = 1;

    switch (address->any.sa_family) {
    case AF_UNIX:
        if (bind(fd, &address->any, address->len) == 0) {
            return 0;
        }
        if (errno != EADDRINUSE) {
            return -errno;
        }
        if (!is_stale(address)) {
            return -EADDRINUSE;
        }
        if (unlink(address->un.sun_path) != 0) {
            return -errno;
        }
        break;
    case AF_INET6:
        if (setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) != 0) {
            return -errno;
        }
        __attribute__((fallthrough));
    default:
        if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0) {
            return -errno;
        }
        break;
    }
    return bind(fd, &address->any, address->len) == 0 ? 0 : -errno;
}

static int read_actual(struct listener *listener)
{
    struct sockaddr_storage storage = {0};
    socklen_t len = sizeof(storage);

    if (getsockname(listener->fd, (struct sockaddr *)&storage, &len) != 0) {
        return -errno;
    }
    congestion_get(listener->fd, listener->congestion);
    return address_from_sockaddr((const struct sockaddr *)&storage, len, &listener->actual);
}

static void remember_file(struct listener *listener)
{
    struct stat stat;

    if (listener->wanted.any.sa_family == AF_UNIX && lstat(listener->wanted.un.sun_path, &stat) == 0) {
        listener->device = stat.st_dev;
        listener->inode = stat.st_ino;
    }
}

/* What to do about it. */
static const char *no_access(const struct address *address)
{
    if (address->any.sa_family == AF_UNIX) {
        return ": this user may not make files in its folder; choose another, as that in $RUNTIME_DIRECTORY "
               "(/run/etcp)";
    }
    return ": ports below 1024 are root's; choose another, or let systemd listen there (a socket unit), or give the "
           "daemon CAP_NET_BIND_SERVICE";
}

static int fail(struct error_text *ret_error, const struct address *address, int r)
{
    char text[ADDRESS_TEXT_BYTES];

    address_format(address, text);
    if (r == -EADDRINUSE) {
        return error_set(ret_error, r,
                         "can't listen on %s: the address is in use (\"ss -l%sp\" tells by whom); choose another", text,
                         address->any.sa_family == AF_UNIX ? "x" : "nt");
    }
    return error_set(ret_error, r, "can't listen on %s: %s%s", text, strerror(-r),
                     r == -EACCES ? no_access(address) : "");
}

/* Gives a Unix socket's file exactly these permissions. */
static int set_mode(const struct address *address, mode_t mode)
{
    if (address->any.sa_family != AF_UNIX || mode == 0) {
        return 0;
    }
    return chmod(address->un.sun_path, mode) == 0 ? 0 : -errno;
}

int listener_open(const struct address *address, mode_t mode, struct listener **ret_listener,
                  struct error_text *ret_error)
{
    struct listener *listener = calloc(1, sizeof(*listener));
    char lock_path[LOCK_PATH_BYTES];
    int lock = -1;
    int r = -ENOMEM;

    if (listener == NULL) {
        goto out;
    }
    listener->fd = -1;
    listener->wanted = *address;
    if (address->any.sa_family == AF_UNIX) {
        lock = lock_place(address, lock_path);
        if (lock < 0) {
            r = lock;
            goto out;
        }
    }
    listener->fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener->fd < 0) {
        r = -errno;
        goto out;
    }
    if (address->any.sa_family == AF_UNIX && mode != 0 && fchmod(listener->fd, mode) != 0) {
        r = -errno; /* the file is made with what the umask leaves of this, so it is never more open than it is to be */
        goto out;
    }
    r = bind_socket(listener->fd, address);
    if (r != 0) {
        goto out;
    }
    remember_file(listener);
    r = set_mode(address, mode);
    if (r != 0) {
        goto out;
    }
    if (listen(listener->fd, BACKLOG) != 0) {
        r = -errno;
        goto out;
    }
    r = read_actual(listener);
    if (r == 0) {
        *ret_listener = listener;
        listener = NULL;
    }
out:
    if (r != 0) {
        (void)fail(ret_error, address, r);
    }
    listener_close(listener);
    unlock_place(lock, lock_path);
    return r;
}

static int adopt(int fd, const char *name, struct listener **ret_listener, struct error_text *ret_error)
{
    struct listener *listener = calloc(1, sizeof(*listener));
    int flags = 0;
    int r = -ENOMEM;

    if (listener == NULL) {
        return error_set(ret_error, r, "socket %d from systemd: %s", fd, strerror(-r));
    }
    listener->fd = -1;
    listener->inherited = true;
    listener->name = strdup(name);
    if (listener->name == NULL) {
        (void)error_set(ret_error, r, "socket %d from systemd: %s", fd, strerror(-r));
        goto out;
    }
    r = sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, 1);
    if (r <= 0) {
        r = r < 0 ? r : -EINVAL;
        (void)error_set(ret_error, r, "socket %d from systemd is not a listening stream socket", fd);
        goto out;
    }
    flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
        r = -errno;
        (void)error_set(ret_error, r, "socket %d from systemd: %s", fd, strerror(-r));
        goto out;
    }
    listener->fd = fd;
    r = read_actual(listener);
    if (r != 0) {
        listener->fd = -1;
        (void)error_set(ret_error, r, "socket %d from systemd: %s", fd, strerror(-r));
        goto out;
    }
    listener->wanted = listener->actual;
    *ret_listener = listener;
    listener = NULL;
out:
    listener_close(listener);
    return r;
}

int listener_adopt_all(struct listener **ret_list, struct error_text *ret_error)
{
    struct listener *list = NULL;
    struct listener **end = &list;
    char **names = NULL;
    int count = sd_listen_fds_with_names(1, &names);
    int r = 0;

    if (count < 0) {
        return error_set(ret_error, count, "sockets from systemd: %s", strerror(-count));
    }
    for (int i = 0; i < count; i++) {
        if (r == 0) {
            r = adopt(SD_LISTEN_FDS_START + i, names[i], end, ret_error);
        }
        if (r == 0) {
            end = &(*end)->next;
        }
        free(names[i]);
    }
    free(names);
    if (r == 0) {
        *ret_list = list;
        return count;
    }
    while (list != NULL) {
        struct listener *next = list->next;

        listener_close(list);
        list = next;
    }
    return r;
}

void listener_format(const struct listener *listener, char ret_text[static LISTENER_TEXT_BYTES])
{
    char address[ADDRESS_TEXT_BYTES];
    char name[128] = "";

    address_format(&listener->actual, address);
    if (listener->name != NULL) {
        (void)log_escape(listener->name, strlen(listener->name), name, sizeof(name));
    }
    (void)snprintf(ret_text, LISTENER_TEXT_BYTES, "%s%s%s%s", address, name[0] != '\0' ? " (named \"" : "", name,
                   name[0] != '\0' ? "\")" : "");
}

bool listener_is_for(const struct listener *listener, const struct address *address)
{
    return address_equal(&listener->wanted, address) || address_equal(&listener->actual, address);
}

bool listener_lost_one(int error)
{
    switch (error) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case EPERM: /* a firewall's doing, as the next ones are the network's */
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
        return true;
    default:
        return false;
    }
}

int listener_watch(struct listener *listener, struct event_base *base, void (*readable)(int fd, short what, void *arg),
                   void *arg)
{
    listener->event = event_new(base, listener->fd, EV_READ | EV_PERSIST, readable, arg);
    return listener->event != NULL && event_add(listener->event, NULL) == 0 ? 0 : -ENOMEM;
}

int listener_set_congestion(struct listener *listener, const char *name)
{
    char now[CONGESTION_NAME_BYTES];

    if (listener->congestion[0] == '\0') {
        return 0;
    }
    if (name[0] == '\0') {
        name = listener->congestion;
    }
    congestion_get(listener->fd, now);
    return strcmp(name, now) == 0 ? 0 : congestion_set(listener->fd, name);
}

void listener_unwatch(struct listener *listener)
{
    if (listener->event != NULL) {
        event_free(listener->event);
        listener->event = NULL;
    }
}

void listener_pause(struct listener *listener, bool pause)
{
    if (listener->event != NULL) {
        /* Adding fails only without memory; the next retry tries again. */
        (void)(pause ? event_del(listener->event) : event_add(listener->event, NULL));
    }
}

void listener_stop(struct listener *listener)
{
    struct stat stat;

    listener_unwatch(listener);
    if (listener->inode != 0 && lstat(listener->wanted.un.sun_path, &stat) == 0 && stat.st_dev == listener->device &&
        stat.st_ino == listener->inode) {
        (void)unlink(listener->wanted.un.sun_path); /* a leftover is replaced at the next start */
    }
    if (listener->fd >= 0) {
        (void)close(listener->fd);
        listener->fd = -1;
    }
}

void listener_close(struct listener *listener)
{
    if (listener != NULL) {
        listener_stop(listener);
        free(listener->name);
        free(listener);
    }
}
