/* SPDX-License-Identifier: MIT
 *
 * The yardstick of the benchmark: a TCP echo server on libevent's bufferevents, in one thread, as one would write it without
 * etcp. Prints "listening on 127.0.0.1:PORT" and echoes until it is told to end. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>

/* As much as one stream of etcp may have under way: a client that does not read must not fill our memory either. */
enum { PENDING_BYTES = 256 * 1024 };

static void readable(struct bufferevent *client, void *user)
{
    (void)user;
    struct evbuffer *out = bufferevent_get_output(client);
    if (evbuffer_get_length(out) > PENDING_BYTES) {
        (void)bufferevent_disable(client, EV_READ);
        return;
    }
    (void)evbuffer_add_buffer(out, bufferevent_get_input(client)); /* moves, does not copy */
}

static void written(struct bufferevent *client, void *user)
{
    if ((bufferevent_get_enabled(client) & EV_READ) == 0) {
        (void)bufferevent_enable(client, EV_READ);
        readable(client, user);
    }
}

static void ended(struct bufferevent *client, short what, void *user)
{
    (void)user;
    if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) {
        bufferevent_free(client);
    }
}

static void accepted(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address, int len, void *user)
{
    (void)address;
    (void)len;
    (void)user;
    static const int one = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct bufferevent *client = bufferevent_socket_new(evconnlistener_get_base(listener), fd, BEV_OPT_CLOSE_ON_FREE);
    if (client == NULL) {
        (void)evutil_closesocket(fd);
        return;
    }
    bufferevent_setcb(client, readable, written, ended, NULL);
    (void)bufferevent_enable(client, EV_READ | EV_WRITE);
}

static void stop(evutil_socket_t number, short what, void *user)
{
    (void)number;
    (void)what;
    (void)event_base_loopbreak(user);
}

int main(void)
{
    int rc = EXIT_FAILURE;
    struct event_base *base = event_base_new();
    struct event *term = NULL;
    struct evconnlistener *listener = NULL;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;

    if (base == NULL || signal(SIGPIPE, SIG_IGN) == SIG_ERR) {
        goto out;
    }
    term = evsignal_new(base, SIGTERM, stop, base);
    listener = evconnlistener_new_bind(base, accepted, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, SOMAXCONN,
                                       (const struct sockaddr *)&address, sizeof address);
    if (term == NULL || evsignal_add(term, NULL) != 0 || listener == NULL ||
        getsockname(evconnlistener_get_fd(listener), (struct sockaddr *)&address, &len) != 0) {
        perror("plain-echo");
        goto out;
    }
    printf("listening on 127.0.0.1:%u\n", ntohs(address.sin_port));
    if (fflush(stdout) != 0 || event_base_dispatch(base) != 0) {
        goto out;
    }
    rc = EXIT_SUCCESS;
out:
    if (listener != NULL) {
        evconnlistener_free(listener);
    }
    if (term != NULL) {
        event_free(term);
    }
    if (base != NULL) {
        event_base_free(base);
    }
    return rc;
}
