/* SPDX-License-Identifier: MIT
 *
 * First connections over TLS, to set beside bench-load's handshakes over etcp: COUNT connections, CONNECTIONS at a time, each
 * with a full TLS 1.3 handshake (AES-256-GCM, X25519, nothing resumed, no certificate verified against anything), one byte there
 * and back, and a close. Prints one line of JSON like bench-traffic's. Exit status 0 only if every connection was right. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "account.h"

enum { EVENTS = 64, AT_A_TIME_MAX = 1024 };

struct client {
    int fd;
    SSL *ssl;
    bool sent;
};

struct load {
    struct sockaddr_in to;
    uint64_t count, at_a_time, timeout_s;
    struct accounts accounts;
    SSL_CTX *context;
    int epoll;
    uint64_t opened, done;
    struct client clients[AT_A_TIME_MAX];
};

static uint64_t now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int fail(const char *what)
{
    const unsigned long error = ERR_get_error();
    const int saved = errno;

    (void)fprintf(stderr, "bench-tls: %s: %s\n", what, error != 0 ? ERR_reason_error_string(error) : strerror(saved));
    return -EPROTO;
}

static int watch(struct load *load, struct client *client, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = client};

    return epoll_ctl(load->epoll, operation, client->fd, &event) == 0 ? 0 : fail("epoll");
}

static int open_client(struct load *load, struct client *client)
{
    static const int one = 1;

    *client = (struct client){.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    if (client->fd < 0 || setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0) {
        return fail("socket");
    }
    client->ssl = SSL_new(load->context);
    if (client->ssl == NULL || SSL_set_fd(client->ssl, client->fd) != 1) {
        return fail("connection");
    }
    SSL_set_connect_state(client->ssl);
    if (connect(client->fd, (const struct sockaddr *)&load->to, sizeof load->to) != 0 && errno != EINPROGRESS) {
        return fail("connect");
    }
    load->opened++;
    return watch(load, client, EPOLL_CTL_ADD, EPOLLOUT);
}

static void close_client(struct client *client)
{
    SSL_free(client->ssl);
    if (client->fd > 0) {
        (void)close(client->fd);
    }
    *client = (struct client){.fd = -1};
}

/* What a call said: goes on when the socket allows it, or it is an error. */
static int later(struct load *load, struct client *client, int said, const char *what)
{
    switch (SSL_get_error(client->ssl, said)) {
    case SSL_ERROR_WANT_READ:
        return watch(load, client, EPOLL_CTL_MOD, EPOLLIN);
    case SSL_ERROR_WANT_WRITE:
        return watch(load, client, EPOLL_CTL_MOD, EPOLLOUT);
    default:
        return fail(what);
    }
}

static int ready(struct load *load, struct client *client)
{
    char byte = 'e';
    int said;

    if (!client->sent) {
        said = SSL_do_handshake(client->ssl);
        if (said != 1) {
            return later(load, client, said, "handshake");
        }
        if (SSL_session_reused(client->ssl)) {
            return fail("a session was resumed");
        }
        said = SSL_write(client->ssl, &byte, 1);
        if (said != 1) {
            return later(load, client, said, "write");
        }
        client->sent = true;
    }
    said = SSL_read(client->ssl, &byte, 1);
    if (said != 1) {
        return later(load, client, said, "read");
    }
    if (byte != 'e') {
        return fail("not the byte that was sent");
    }
    load->done++;
    (void)SSL_shutdown(client->ssl);
    close_client(client);
    return load->opened < load->count ? open_client(load, client) : 0;
}

static int run(struct load *load)
{
    const uint64_t begin = now_ns();
    struct accounts from, until;
    int rc = accounts_read(&load->accounts);

    from = load->accounts;
    for (uint64_t i = 0; i < load->at_a_time && load->opened < load->count && rc == 0; i++) {
        rc = open_client(load, &load->clients[i]);
    }
    while (rc == 0 && load->done < load->count) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(load->epoll, events, EVENTS, 1000);

        if (now_ns() - begin >= load->timeout_s * 1000000000u) {
            (void)fprintf(stderr, "bench-tls: not done in time: %" PRIu64 " of %" PRIu64 "\n", load->done, load->count);
            return -ETIMEDOUT;
        }
        for (int i = 0; i < n && rc == 0; i++) {
            rc = ready(load, events[i].data.ptr);
        }
    }
    if (rc == 0) {
        const uint64_t ns = now_ns() - begin;

        rc = accounts_read(&load->accounts);
        until = load->accounts;
        printf("{\"done\": %" PRIu64 ", \"seconds\": %.6f, \"cpu\": ", load->done, (double)ns / 1e9);
        accounts_print(&from, &until);
        printf("}\n");
    }
    return rc;
}

static bool parse_address(char *text, struct sockaddr_in *ret_address)
{
    char *colon = strchr(text, ':');
    unsigned long port = colon != NULL ? strtoul(colon + 1, NULL, 10) : 0;

    if (port == 0 || port > UINT16_MAX) {
        return false;
    }
    *colon = '\0';
    *ret_address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    return inet_pton(AF_INET, text, &ret_address->sin_addr) == 1;
}

static int parse_options(struct load *load, int argc, char **argv)
{
    static const struct option known[] = {
        {"to", required_argument, NULL, 't'},      {"connections", required_argument, NULL, 'n'},
        {"count", required_argument, NULL, 'c'},   {"timeout", required_argument, NULL, 'o'},
        {"account", required_argument, NULL, 'a'}, {NULL, 0, NULL, 0},
    };
    int c;

    while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
        uint64_t number = optarg != NULL ? strtoull(optarg, NULL, 10) : 0;

        if ((c == 't' && !parse_address(optarg, &load->to)) ||
            (c == 'a' && accounts_add(&load->accounts, optarg) != 0) || c == '?') {
            return -EINVAL;
        }
        load->at_a_time = c == 'n' ? number : load->at_a_time;
        load->count = c == 'c' ? number : load->count;
        load->timeout_s = c == 'o' ? number : load->timeout_s;
    }
    return load->to.sin_port != 0 && load->count > 0 && load->at_a_time > 0 && load->at_a_time <= AT_A_TIME_MAX
               ? 0
               : -EINVAL;
}

int main(int argc, char **argv)
{
    char groups[] = "X25519"; /* the macro takes no const */
    static struct load load = {.count = 100, .at_a_time = 16, .timeout_s = 60, .epoll = -1};
    int rc = parse_options(&load, argc, argv);

    if (rc != 0) {
        (void)fprintf(stderr, "usage: bench-tls --to ADDRESS:PORT [--connections N] [--count N] [--timeout S] "
                              "[--account NAME=SOURCE]...\n");
        return EXIT_FAILURE;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    load.epoll = epoll_create1(EPOLL_CLOEXEC);
    load.context = SSL_CTX_new(TLS_client_method());
    if (load.epoll < 0 || load.context == NULL || SSL_CTX_set_min_proto_version(load.context, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_ciphersuites(load.context, "TLS_AES_256_GCM_SHA384") != 1 ||
        SSL_CTX_set1_groups_list(load.context, groups) != 1) {
        rc = fail("start");
    }
    if (rc == 0) {
        SSL_CTX_set_verify(load.context, SSL_VERIFY_NONE, NULL);
        rc = run(&load);
    }
    for (size_t i = 0; i < AT_A_TIME_MAX; i++) {
        close_client(&load.clients[i]);
    }
    SSL_CTX_free(load.context);
    if (load.epoll >= 0) {
        (void)close(load.epoll);
    }
    return rc == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
