/* SPDX-License-Identifier: MIT
 *
 * One client connection of the load generator, over etcp or in plain TCP, on an epoll loop of the load generator's own: libetcp
 * embedded without anything of src/net. Connects, authenticates, exchanges messages with an echo service and checks every byte
 * that comes back. */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <netinet/in.h>
#include <sys/types.h>

#include <etcp/etcp.h>

enum { PEER_BUFFER_BYTES = 512 * 1024 };

/* What all peers of a run share. */
struct peer_run {
    int epoll;
    bool plain; /* TCP without etcp; the fields down to `service` are then unused */
    struct etcp_pool *pool;
    struct etcp_identity *identity;
    uint8_t server_key[ETCP_KEY_BYTES];
    enum etcp_suite suite;
    const char *service;

    struct sockaddr_in server;
    size_t message_bytes;
    uint64_t in_flight;      /* messages under way per connection, at most */
    uint64_t messages;       /* per connection */
    bool stop;               /* send no more than is under way */
    uint8_t *in, *out;       /* PEER_BUFFER_BYTES each */
    uint8_t *pattern;        /* PEER_BUFFER_BYTES + PEER_PERIOD bytes that repeat */
    uint64_t up, idle, gone; /* peers that have come up; have all their echoes; have gone */
    uint64_t echoes;         /* messages that came back whole */
};

/* A prime, so that no power of two hides a shifted echo. */
enum { PEER_PERIOD = 251 };

struct peer;

/* Connects. Returns 0 and an owned peer, or -errno. */
int peer_new(struct peer_run *run, struct peer **ret_peer);

/* Closes at once and frees; NULL is fine. */
void peer_free(struct peer *peer);

/* Sends its messages; the peer must be up. */
int peer_start(struct peer *peer);

/* After `stop` was set: a peer with nothing under way has all its echoes. */
void peer_settle(struct peer *peer);

/* Ends the connection well. It has gone when the server has closed too. */
int peer_end(struct peer *peer);

/* What epoll has told. Returns 0, or -errno after a line on stderr. */
int peer_ready(struct peer *peer);

/* Does what the clock demands. Returns 0, or -errno after a line on stderr. */
int peer_tick(struct peer *peer, uint64_t now_us);

bool peer_is_up(const struct peer *peer);
bool peer_is_idle(const struct peer *peer);
bool peer_has_gone(const struct peer *peer);

/* A monotonic clock in microseconds. */
uint64_t peer_now_us(void);

#endif
