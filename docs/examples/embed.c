/* SPDX-License-Identifier: MIT
 *
 * A program with libetcp in it: an agent and a server, each on one end of a socket pair, as two processes would be on a TCP
 * connection. The agent opens a stream to the service "echo", says something, and reads it back.
 *
 *     cc embed.c $(pkg-config --cflags --libs etcp) && ./a.out
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <etcp/etcp.h>

struct peer {
    const char *name;
    struct etcp_conn *conn;
    struct etcp_stream *stream; /* the agent's */
    int fd;
    const uint8_t *trusted; /* the only key that the other end may have */
};

static uint64_t now_us(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* A few bytes into an empty socket: a program that sends more keeps what the socket did not take. */
static int write_all(struct peer *p, const uint8_t *bytes, size_t len)
{
    return len == 0 || write(p->fd, bytes, len) == (ssize_t)len ? 0 : -1;
}

static int send_text(struct peer *p, struct etcp_stream *stream, const void *text, size_t len)
{
    uint8_t out[4096];
    size_t used, out_len;

    if (etcp_stream_send(stream, text, len, 0, out, sizeof(out), &used, &out_len) < 0 || used < len) {
        return -1;
    }
    return write_all(p, out, out_len);
}

static int on_event(struct peer *p, const struct etcp_event *event)
{
    switch (event->type) {
    case ETCP_EVENT_PEER: /* before anything else: is this the one? */
        if (!etcp_key_equal(event->peer_key, p->trusted)) {
            etcp_conn_reject(p->conn, "an unknown key");
            return 0;
        }
        return etcp_conn_accept(p->conn, now_us());
    case ETCP_EVENT_UP:
        printf("%s: connected, %s\n", p->name, etcp_suite_name(etcp_conn_suite(p->conn)));
        if (p->stream == NULL && strcmp(p->name, "agent") == 0) {
            if (etcp_stream_open(p->conn, "echo", NULL, &p->stream) < 0) {
                return -1;
            }
            return send_text(p, p->stream, "Hello from an embedded agent!", 29);
        }
        return 0;
    case ETCP_EVENT_OPEN:
        printf("%s: a stream for %s\n", p->name, event->service);
        return 0;
    case ETCP_EVENT_DATA:
        printf("%s: %zu bytes\n", p->name, event->len);
        etcp_stream_consume(event->stream, event->len);
        if (event->stream != p->stream) {
            return send_text(p, event->stream, event->data, event->len);
        }
        printf("%s: \"%.*s\"\n", p->name, (int)event->len, (const char *)event->data);
        etcp_conn_goodbye(p->conn, ETCP_CODE_OK, "done");
        return 0;
    case ETCP_EVENT_END:
        printf("%s: the other end has said goodbye: %s\n", p->name, etcp_code_name(event->code));
        return 0;
    default:
        return 0;
    }
}

/* Reads what there is, lets the connection make events of it, and writes what it wants to say. */
static int pump(struct peer *p)
{
    static uint8_t in[65536];
    uint8_t out[4096];
    struct etcp_event event;
    ssize_t got = recv(p->fd, in, sizeof(in), MSG_DONTWAIT);
    size_t len = got > 0 ? (size_t)got : 0, at = 0, used;

    do {
        int error = etcp_conn_feed(p->conn, in + at, len - at, now_us(), &used);

        if (error < 0) {
            fprintf(stderr, "%s: %s: %s\n", p->name, etcp_strerror(error), etcp_conn_error(p->conn));
        }
        at += used;
        while (etcp_conn_next(p->conn, &event)) {
            if (on_event(p, &event) < 0) {
                return -1;
            }
        }
    } while (at < len);
    while (etcp_conn_pending(p->conn) > 0) {
        if (write_all(p, out, etcp_conn_drain(p->conn, out, sizeof(out))) < 0) {
            return -1;
        }
    }
    return etcp_conn_tick(p->conn, now_us());
}

static int talk(struct peer *agent, struct peer *server)
{
    struct pollfd fds[2] = {{.fd = agent->fd, .events = POLLIN}, {.fd = server->fd, .events = POLLIN}};

    while (!etcp_conn_closing(agent->conn) || !etcp_conn_closing(server->conn)) {
        if (pump(agent) < 0 || pump(server) < 0) {
            return -1;
        }
        /* A real loop waits until etcp_conn_deadline() of its connections at most. */
        if (!etcp_conn_closing(agent->conn) && poll(fds, 2, 1000) <= 0) {
            return -1;
        }
    }
    return 0;
}

int main(void)
{
    uint8_t agent_secret[ETCP_KEY_BYTES], server_secret[ETCP_KEY_BYTES];
    struct etcp_identity *agent_identity = NULL, *server_identity = NULL;
    struct etcp_conn_options options = {.role = ETCP_AGENT, .suite = ETCP_SUITE_CHACHA20POLY1305};
    struct peer agent = {.name = "agent"}, server = {.name = "server"};
    struct etcp_pool *pool = NULL;
    int fds[2] = {-1, -1}, result = 1;

    if (etcp_init() < 0 || etcp_pool_new(&pool) < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0) {
        goto out;
    }
    /* Both ends make their keys here; elsewhere each has its own, and knows the other's public key. */
    etcp_key_generate(agent_secret);
    etcp_key_generate(server_secret);
    if (etcp_identity_new(agent_secret, NULL, &agent_identity) < 0 ||
        etcp_identity_new(server_secret, NULL, &server_identity) < 0) {
        goto out;
    }
    etcp_wipe(agent_secret, sizeof(agent_secret));
    etcp_wipe(server_secret, sizeof(server_secret));

    if (etcp_suite_available(ETCP_SUITE_AES256GCM)) {
        options.suite = ETCP_SUITE_AES256GCM;
    }
    options.identity = agent_identity;
    if (etcp_conn_new(pool, &options, now_us(), &agent.conn) < 0) {
        goto out;
    }
    options = (struct etcp_conn_options){.role = ETCP_SERVER, .identity = server_identity};
    if (etcp_conn_new(pool, &options, now_us(), &server.conn) < 0) {
        goto out;
    }
    agent.fd = fds[0];
    agent.trusted = etcp_identity_public(server_identity);
    server.fd = fds[1];
    server.trusted = etcp_identity_public(agent_identity);
    if (talk(&agent, &server) == 0 && etcp_conn_eof(agent.conn) == 0 && etcp_conn_eof(server.conn) == 0) {
        result = 0;
    }
out:
    etcp_conn_free(agent.conn);
    etcp_conn_free(server.conn);
    etcp_identity_free(agent_identity);
    etcp_identity_free(server_identity);
    etcp_pool_free(pool);
    if (fds[0] >= 0) {
        (void)close(fds[0]);
        (void)close(fds[1]);
    }
    return result;
}
