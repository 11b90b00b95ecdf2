/* SPDX-License-Identifier: MIT
 *
 * One event loop of one thread: libevent's base, the connections' secret memory, the two large buffers that all
 * connections of the loop share, and a mailbox for other threads. Knows nothing of connections. */
#ifndef NET_LOOP_H
#define NET_LOOP_H

#include <stddef.h>
#include <stdint.h>

struct event_base;
struct etcp_pool;

/* One read and one write take at most this much (product.md, Speed). */
enum { LOOP_BUFFER_BYTES = 256 * 1024 };

struct loop {
    struct event_base *base;
    struct etcp_pool *pool;
    uint8_t *in;  /* LOOP_BUFFER_BYTES; what was read, while it is handled */
    uint8_t *out; /* LOOP_BUFFER_BYTES; what is to be written, until it is written or moved to its connection */
    struct loop_mailbox *mailbox;
};

/* Returns 0 and an owned loop, or -errno. */
int loop_new(struct loop **ret_loop);

/* Frees; NULL is fine. Everything on it must have been freed. Letters that were not read are handed to nobody. */
void loop_free(struct loop *loop);

/* Turns until loop_stop(). Returns 0 or -errno. */
int loop_run(struct loop *loop);

/* Ends loop_run() after the current callbacks. From the loop's own thread only. */
void loop_stop(struct loop *loop);

/* Monotonic time in microseconds, read anew at each call (vDSO, no system call). */
uint64_t loop_now_us(void);

/* Has `fn(arg)` called on the loop's thread. From any thread. Returns 0, or -ENOMEM (nothing will be called). */
int loop_post(struct loop *loop, void (*fn)(void *arg), void *arg);

#endif
