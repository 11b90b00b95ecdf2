/* SPDX-License-Identifier: MIT
 *
 * What link.c, outgoing.c and turns.c share: a link's state, and the calls between them. Nobody else looks in here. */
#ifndef NET_LINK_STATE_H
#define NET_LINK_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sys/queue.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "net/link.h"
#include "net/loop.h"

/* How long last words may wait for a peer that does not read. */
#define LINK_FLUSH_US 5000000u

/* Of the loop's output buffer, for a turn: one whole read of a stream, or the tail of the buffer would be cut into small records. */
enum { LINK_TURN_ROOM = LOOP_BUFFER_BYTES / 4 };

enum link_state {
    LINK_OPEN,
    LINK_FLUSHING,  /* the last words are on their way */
    LINK_LINGERING, /* they are out and writing is shut down: read and discard */
    LINK_ENDED,     /* `closed` is due */
};

struct link_queue {
    TAILQ_HEAD(link_waiter_list, link_waiter) waiters;
    size_t count;
};

struct bytes {
    size_t off, len; /* what is left: from off to len */
    uint8_t data[];
};

struct link {
    struct loop *loop;
    struct etcp_conn *conn;
    const struct link_handler *handler;
    void *user;
    int fd;
    uint8_t state;            /* enum link_state */
    uint8_t depth;            /* of callbacks of the loop */
    bool wanted : 1;          /* the handler waits for `writable` */
    bool much_first : 1;      /* in the next round of turns */
    bool held : 1;            /* a classic message could not be sent back: hand out no other before `writable` */
    bool eof : 1;             /* the peer sends no more */
    bool failed : 1;          /* `end` is set: close when last words are out */
    bool foreign : 1;         /* the batch points into the connection's own buffer */
    unsigned unsent_limit;    /* how much the kernel takes ahead while the path is slow; 0: not limited */
    uint8_t pace;             /* records that the socket takes in SLOW_US (outgoing.c), as far as is known */
    uint8_t round;            /* of these, how many those with much to send may still send in this round of turns */
    short interest;           /* what `io` is armed for */
    struct event io;          /* one event for both directions: another would cost 128 bytes */
    struct event later;       /* the deadline, and what has to be done from the loop */
    uint64_t armed_us;        /* when `later` fires; UINT64_MAX: not armed */
    uint64_t slow_until_us;   /* the socket has taken long to take more, so long ago that it is forgotten then */
    uint64_t slow_memory_us;  /* how long it was remembered the last time */
    uint64_t taking_since_us; /* at most SLOW_US ago; `taken` began to count then */
    size_t taken;             /* bytes, by a socket that has been slow */
    uint64_t deadline_us;     /* of closing, or of the backlog's next progress; UINT64_MAX: none */
    struct link_queue little, much; /* who waits for a turn */
    struct bytes *backlog;          /* sealed, not taken by the socket; at most one batch */
    struct parcel *parcel;          /* sealed in this turn of the loop, to be written at its end */
    struct bytes *rest;             /* read, not taken by the connection; at most one read */
    size_t discarded;
    uint64_t bulk_bytes;
    uint64_t round_trip_us; /* 0: not known */
    uint64_t measured_us;   /* when it was asked for last */
    struct link_end end;
};

/* The socket, or memory for it, is gone: the link ends without last words. */
void link_fail(struct link *link, int error);

/* Brings everything that a call or callback changed to socket, timers and state: the last thing that each of them does. */
void link_settle(struct link *link);

/* The same for calls, which may come from inside a callback that will do it. */
void link_settle_outside(struct link *link);

/* Seals the control frames and packets that wait. Returns whether none is left and more can be sealed. */
bool link_seal_control(struct link *link);

#endif
