/* SPDX-License-Identifier: MIT
 *
 * One event loop of one thread: libevent's base, the connections' secret memory, the two large buffers that all
 * connections of the loop share, and a mailbox for other threads. Knows nothing of connections. */
#ifndef NET_LOOP_H
#define NET_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sys/queue.h>
#include <sys/time.h>
#include <sys/uio.h>

struct event_base;
struct etcp_pool;

/* One read and one write take at most this much. Each costs a wake-up of somebody besides the copy, which is what makes the size
 * count: bulk takes a tenth less processor time than with half of it. */
enum { LOOP_BUFFER_BYTES = 512 * 1024 };

/* The most pieces that one write is gathered from. */
enum { LOOP_PIECES_MAX = 64 };

/* Room behind `in` for what belongs in front of it: a record of the usual size that came in two reads. */
enum { LOOP_SPARE_BYTES = 16 * 1024 };

/* So many spins in a row without an event, and the loop leaves them out until one would have paid. */
enum { LOOP_UNPAID_SPINS_MAX = 8 };

/* What link.c has sealed and not yet written, of one link at a time; empty whenever the loop turns. */
struct loop_batch {
    struct link *owner;
    size_t out_used; /* bytes of `out` that pieces point to */
    int count;
    struct iovec pieces[LOOP_PIECES_MAX];
};

/* A letter to a loop. Its owner keeps it until it is read, or takes it back with loop_unpost(). */
struct loop_letter {
    void (*fn)(void *arg);
    void *arg;
    struct loop_letter *next; /* the mailbox's */
    bool posted, allocated;   /* the mailbox's */
};

/* What has arrived for one socket and still lies in `in` or behind it, of one splice at a time (splice.c). */
struct loop_gather {
    struct splice *owner;
    bool spare; /* a piece lies in the spare room */
    int count;
    struct iovec pieces[LOOP_PIECES_MAX];
};

struct loop_orphans {
    TAILQ_HEAD(splice_list, splice) list; /* the oldest first */
    size_t count, bytes;                  /* bytes: of their memory */
};

struct loop {
    struct event_base *base;
    struct etcp_pool *pool;
    uint8_t *in;  /* LOOP_BUFFER_BYTES, and LOOP_SPARE_BYTES behind them; what was read, while it is handled */
    uint8_t *out; /* LOOP_BUFFER_BYTES; what is to be written, until it is written or moved to its connection */
    struct loop_batch batch;
    struct loop_gather gather;
    void (*release)(struct loop *loop); /* set by whoever points into `in`: called before it is used again */
    struct parcels *parcels;            /* what links gather until the end of a turn (outgoing.c) */
    struct loop_orphans orphans;        /* splices that have only their socket left (splice.c) */
    struct loop_mailbox *mailbox;
    uint64_t received_bytes, sent_bytes; /* on the wire, by all connections that the loop has had */
    size_t queued_bytes;                 /* memory of data that sockets have not taken (splice.c) */
    size_t window_bytes;                 /* by which windows have grown, all together (splice.c) */
    uint64_t busy_poll_us;
    unsigned unpaid_spins;          /* in a row */
    uint64_t spins, yields, sleeps; /* with busy_poll; for tests */
    bool stopping;
};

/* Returns 0 and an owned loop, or -errno. */
int loop_new(struct loop **ret_loop);

/* Frees; NULL is fine. Everything on it must have been freed. Letters that were not read are handed to nobody. */
void loop_free(struct loop *loop);

/* Turns until loop_stop(). Returns 0 or -errno. */
int loop_run(struct loop *loop);

/* Ends loop_run() after the current callbacks. From the loop's own thread only. */
void loop_stop(struct loop *loop);

/* How long the loop polls for the next event before it sleeps (`busy_poll`); 0, as it is at first: not at all. It does so only
 * while that pays. From the loop's own thread, or before it runs. */
void loop_set_busy_poll(struct loop *loop, uint64_t us);

/* Monotonic time in microseconds, read anew at each call (vDSO, no system call). */
uint64_t loop_now_us(void);

/* So long, and until then (at once if that has passed), as libevent takes it. */
struct timeval loop_span(uint64_t us);
struct timeval loop_until(uint64_t due_us);

/* Has `fn(arg)` called on the loop's thread. From any thread. Returns 0, or -ENOMEM (nothing will be called). */
int loop_post(struct loop *loop, void (*fn)(void *arg), void *arg);

/* The same with a letter of the caller's, `fn` and `arg` filled in, which can't fail. A letter that waits already is not posted a
 * second time. From any thread; when several post or fill in one letter, they lock among themselves. The letter is free again
 * when `fn` is called. */
void loop_post_letter(struct loop *loop, struct loop_letter *letter);

/* Takes a letter back: its `fn` will not be called. On the loop's thread only. Returns whether it was waiting. */
bool loop_unpost(struct loop *loop, struct loop_letter *letter);

#endif
