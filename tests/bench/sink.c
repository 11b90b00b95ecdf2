/* SPDX-License-Identifier: MIT
 *
 * What stands behind a tunnel in the comparison: accepts connections on a port of the kernel's choice, prints
 * "listening on 127.0.0.1:PORT", and serves until it is told to end. The first byte of a connection says what is wanted:
 *
 *   e   everything, this byte included, comes back; 0 as well
 *   u   the byte comes back; all that follows is taken and thrown away
 *   d   the byte comes back; once another has come, bytes for ever
 *
 * It costs as little as it can: it throws bytes away inside the kernel, and sends pages that are there already. With --send-buffer
 * BYTES, so much waits for the network on each connection, and not what the kernel likes. */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

enum { EVENTS = 256, PAGES_BYTES = 256 * 1024, DISCARD_BYTES = 4 * 1024 * 1024, ECHO_BYTES = 64 * 1024, TURNS = 4 };

struct client {
    int fd;
    bool known, supplied; /* the first byte is there; another has come, which asks for bytes */
    char what;
    size_t begin, end; /* of what has to come back, in `rest` */
    char *rest;        /* ECHO_BYTES; only while the client does not read */
};

struct sink {
    int epoll, listener, pages;
    char *buffer; /* ECHO_BYTES */
};

static void client_free(struct client *client)
{
    (void)close(client->fd);
    free(client->rest);
    free(client);
}

static int watch(const struct sink *sink, struct client *client, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = client};

    return epoll_ctl(sink->epoll, operation, client->fd, &event) == 0 ? 0 : -errno;
}

static void accept_all(const struct sink *sink)
{
    static const int one = 1;

    for (;;) {
        int fd = accept4(sink->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        struct client *client = fd >= 0 ? calloc(1, sizeof *client) : NULL;

        if (client == NULL) {
            if (fd >= 0) {
                (void)close(fd);
            }
            return; /* none, or no room: its peer will say so */
        }
        client->fd = fd;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (watch(sink, client, EPOLL_CTL_ADD, EPOLLIN) != 0) {
            client_free(client);
        }
    }
}

/* Sends what is left of an echo; once it is gone, reads again. Returns whether the client goes on. */
static bool echo_rest(const struct sink *sink, struct client *client)
{
    ssize_t n = send(client->fd, client->rest + client->begin, client->end - client->begin, MSG_NOSIGNAL);

    if (n < 0) {
        return errno == EAGAIN;
    }
    client->begin += (size_t)n;
    if (client->begin < client->end) {
        return true;
    }
    free(client->rest);
    client->rest = NULL;
    return watch(sink, client, EPOLL_CTL_MOD, EPOLLIN) == 0;
}

static bool echo(const struct sink *sink, struct client *client)
{
    ssize_t n, sent;

    if (client->rest != NULL) {
        return echo_rest(sink, client);
    }
    n = recv(client->fd, sink->buffer, ECHO_BYTES, 0);
    if (n <= 0) {
        return n < 0 && errno == EAGAIN;
    }
    sent = send(client->fd, sink->buffer, (size_t)n, MSG_NOSIGNAL);
    if (sent == n) {
        return true;
    }
    if (sent < 0 && errno != EAGAIN) {
        return false;
    }
    client->begin = 0;
    client->end = (size_t)(n - (sent > 0 ? sent : 0));
    client->rest = malloc(client->end);
    if (client->rest == NULL) {
        return false;
    }
    memcpy(client->rest, sink->buffer + (n - (ssize_t)client->end), client->end);
    return watch(sink, client, EPOLL_CTL_MOD, EPOLLOUT) == 0;
}

static bool discard(const struct client *client)
{
    /* MSG_TRUNC: TCP forgets the bytes without copying them. */
    ssize_t n = recv(client->fd, NULL, DISCARD_BYTES, MSG_TRUNC);

    return n > 0 || (n < 0 && errno == EAGAIN);
}

static bool supply(const struct sink *sink, const struct client *client)
{
    for (int turn = 0; turn < TURNS; turn++) {
        off_t at = 0;
        ssize_t n = sendfile(client->fd, sink->pages, &at, PAGES_BYTES);

        if (n < PAGES_BYTES) {
            return n >= 0 || errno == EAGAIN;
        }
    }
    return true;
}

/* The byte that asks for bytes. */
static bool begin_supply(const struct sink *sink, struct client *client)
{
    char byte;
    ssize_t n = recv(client->fd, &byte, 1, 0);

    if (n != 1) {
        return n < 0 && errno == EAGAIN;
    }
    client->supplied = true;
    return watch(sink, client, EPOLL_CTL_MOD, EPOLLOUT) == 0;
}

/* The first byte, of which an echo is the answer to all others too. */
static bool begin(struct client *client)
{
    ssize_t n = recv(client->fd, &client->what, 1, MSG_PEEK);

    if (n <= 0) {
        return n < 0 && errno == EAGAIN;
    }
    client->known = true;
    if (client->what == 'u' || client->what == 'd') {
        return recv(client->fd, &client->what, 1, 0) == 1 && send(client->fd, &client->what, 1, MSG_NOSIGNAL) == 1;
    }
    return true;
}

/* Returns whether the client goes on. */
static bool serve(const struct sink *sink, struct client *client)
{
    if (!client->known) {
        if (!begin(client)) {
            return false;
        }
        if (!client->known) {
            return true; /* not there yet */
        }
    }
    switch (client->what) {
    case 'e':
    case '\0':
        return echo(sink, client);
    case 'u':
        return discard(client);
    case 'd':
        return client->supplied ? supply(sink, client) : begin_supply(sink, client);
    default:
        return false;
    }
}

static int start(struct sink *sink, int send_buffer)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    struct epoll_event event = {.events = EPOLLIN};
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    sink->buffer = malloc(ECHO_BYTES);
    sink->pages = memfd_create("pages", MFD_CLOEXEC);
    sink->epoll = epoll_create1(EPOLL_CLOEXEC);
    sink->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (sink->buffer == NULL || sink->pages < 0 || sink->epoll < 0 || sink->listener < 0 ||
        ftruncate(sink->pages, PAGES_BYTES) != 0) {
        return -errno;
    }
    memset(sink->buffer, 'x', ECHO_BYTES);
    for (off_t at = 0; at < PAGES_BYTES; at += ECHO_BYTES) {
        if (pwrite(sink->pages, sink->buffer, ECHO_BYTES, at) != ECHO_BYTES) {
            return -EIO;
        }
    }
    if (send_buffer > 0 && setsockopt(sink->listener, SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof send_buffer) != 0) {
        return -errno;
    }
    if (bind(sink->listener, (const struct sockaddr *)&address, sizeof address) != 0 ||
        listen(sink->listener, SOMAXCONN) != 0 || getsockname(sink->listener, (struct sockaddr *)&address, &len) != 0 ||
        epoll_ctl(sink->epoll, EPOLL_CTL_ADD, sink->listener, &event) != 0) {
        return -errno;
    }
    printf("listening on 127.0.0.1:%u\n", ntohs(address.sin_port));
    return fflush(stdout) == 0 ? 0 : -EIO;
}

int main(int argc, char **argv)
{
    struct sink sink = {0};
    int rc;

    (void)signal(SIGPIPE, SIG_IGN);
    if (argc != 1 && (argc != 3 || strcmp(argv[1], "--send-buffer") != 0 || atoi(argv[2]) <= 0)) {
        (void)fprintf(stderr, "usage: %s [--send-buffer BYTES]\n", argv[0]);
        return 2;
    }
    rc = start(&sink, argc == 3 ? atoi(argv[2]) : 0);
    while (rc == 0) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(sink.epoll, events, EVENTS, -1);

        if (n < 0 && errno != EINTR) {
            rc = -errno;
        }
        for (int i = 0; i < n; i++) {
            struct client *client = events[i].data.ptr;

            if (client == NULL) {
                accept_all(&sink);
            } else if (!serve(&sink, client)) {
                client_free(client);
            }
        }
    }
    (void)fprintf(stderr, "bench-sink: %s\n", strerror(-rc));
    return EXIT_FAILURE;
}
