/* SPDX-License-Identifier: MIT
 *
 * A local connection of a forward: whose it is, where it waits or is carried, and what the log says about it. */
#ifndef AGENT_LOCAL_H
#define AGENT_LOCAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sys/queue.h>

#include <etcp/etcp.h>

#include "base/log.h"

struct address;
struct carrier;
struct event;
struct kept;
struct port;
struct splice;

struct local {
    struct port *port;
    TAILQ_ENTRY(local) place;      /* among those that wait, or those that are carried */
    int fd;                        /* -1: the splice's */
    struct event *wait;            /* runs while it waits, or its carrier is not up; NULL: it has just come */
    uint64_t deadline_us;          /* of that; 0: it has never waited */
    struct kept *kept;             /* of an earlier stream, while it waits for another; NULL: nothing */
    const char *why;               /* why that came to nothing; static; NULL: there was none */
    unsigned tries;                /* of those */
    uint64_t carried_us;           /* since when it is carried */
    bool heard;                    /* the server has taken the stream */
    struct carrier *carrier;       /* NULL: it waits */
    struct local *beside, *before; /* those of the same carrier */
    struct etcp_stream *stream;
    struct splice *splice;
    struct etcp_origin origin; /* none: a Unix socket */
    char *peer;                /* who that is, as text; NULL: not known */
};

struct local_list {
    TAILQ_HEAD(local_queue, local) queue;
    size_t count;
};

/* As it must be before its first use. */
void local_list_init(struct local_list *list);

void local_append(struct local_list *list, struct local *local);
void local_prepend(struct local_list *list, struct local *local);
void local_remove(struct local_list *list, struct local *local);

/* Into and out of its carrier's own list, which carrier_user() leads to. */
void local_board(struct local *local, struct carrier *carrier);
void local_alight(struct local *local);

/* Notes who is at the other end of its socket, which came from an address. */
void local_identify(struct local *local, const struct address *from);

/* "forward NAME: connection of PEER to service NAME WHAT: WHY" */
void local_log(const struct local *local, enum log_level level, const char *what, const char *why);

#endif
