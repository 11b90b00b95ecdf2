/* SPDX-License-Identifier: MIT
 *
 * The least that a relay can do for a message: epoll_wait(), recv(), send(). No encryption, no limits, no care for a receiver that
 * is slow. What it takes for a message one at a time is what the system takes, and a mark for tunnels.
 *
 *   bare-relay PORT TO    on 127.0.0.1; ends when it is told to */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { DESCRIPTORS_MAX = 4096, EVENTS_MAX = 64 };

static int partner[DESCRIPTORS_MAX]; /* the other socket of a connection; 0: closed */
static char buffer[64 * 1024];

static struct sockaddr_in loopback(const char *port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int dial(const struct sockaddr_in *to)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 && connect(fd, (const struct sockaddr *)to, sizeof(*to)) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

static int listen_on(const struct sockaddr_in *at)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(fd, (const struct sockaddr *)at, sizeof(*at)) != 0 || listen(fd, SOMAXCONN) != 0) {
        return -1;
    }
    return fd;
}

static int watch(int epoll, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static void part(int fd)
{
    if (partner[fd] != 0) {
        (void)close(partner[fd]);
        (void)close(fd);
        partner[partner[fd]] = 0;
        partner[fd] = 0;
    }
}

static void join(int epoll, int client, const struct sockaddr_in *to)
{
    const int server = client >= 0 ? dial(to) : -1, on = 1;

    if (client < 0 || server < 0 || client >= DESCRIPTORS_MAX || server >= DESCRIPTORS_MAX) {
        (void)(client >= 0 && close(client));
        (void)(server >= 0 && close(server));
        return;
    }
    partner[client] = server;
    partner[server] = client;
    if (setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0 ||
        setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0 || watch(epoll, client) != 0 ||
        watch(epoll, server) != 0) {
        part(client);
    }
}

static void pass_on(int fd)
{
    const ssize_t n = partner[fd] != 0 ? recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT) : 0;

    if (n < 0 && errno == EAGAIN) {
        return; /* the event was its predecessor's of this number */
    }
    if (n <= 0 || send(partner[fd], buffer, (size_t)n, MSG_NOSIGNAL) != n) {
        part(fd);
    }
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS_MAX];
    struct sockaddr_in at, to;
    int listener, epoll;

    if (argc != 3) {
        (void)fputs("usage: bare-relay PORT TO\n", stderr);
        return 2;
    }
    at = loopback(argv[1]);
    to = loopback(argv[2]);
    listener = listen_on(&at);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (listener < 0 || epoll < 0 || watch(epoll, listener) != 0) {
        perror("bare-relay");
        return 1;
    }
    for (;;) {
        const int count = epoll_wait(epoll, events, EVENTS_MAX, -1);

        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == listener) {
                join(epoll, accept(listener, NULL, NULL), &to);
            } else {
                pass_on(events[i].data.fd);
            }
        }
    }
}
