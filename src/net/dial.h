/* SPDX-License-Identifier: MIT
 *
 * A connection to somebody else's socket, without blocking: the name is looked up, its addresses are tried in order, and all of
 * that together takes at most a given time. A dialer belongs to one loop; those who look up one name at a time share the
 * answer, and for a moment it is remembered: a lookup costs a thread. */
#ifndef NET_DIAL_H
#define NET_DIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "net/address.h"

struct dial;
struct dialer;
struct loop;

enum {
    DIAL_REMEMBER_US = 2000000
}; /* how long an answer is used; no longer than until a connection to it has failed */

/* Returns 0 and an owned dialer, or -ENOMEM. Borrows the loop. */
int dialer_new(struct loop *loop, struct dialer **ret_dialer);

/* All its dials must be over or cancelled. NULL is fine. */
void dialer_free(struct dialer *dialer);

/* Where to: `path` of a Unix socket, or else host and port. */
struct dial_target {
    const char *path;
    const char *host; /* a name, or a numeric address without brackets */
    uint16_t port;
};

struct dial_result {
    int fd;                 /* connected and non-blocking; the callee's. -1: none */
    bool timed_out;         /* why there is none */
    const char *reason;     /* the same for people: of the last address that was tried; borrowed for the call */
    struct address address; /* that was connected to, or tried last; of length 0: none was tried */
};

/* Starts. Borrows the target for the call. `done` is called once, from the loop, never from inside this call; the dial is gone
 * then. Each address gets an equal share of the time that is left, so that one that swallows everything does not keep the
 * next from being tried. Returns 0 and a dial, or -errno. */
int dial_start(struct dialer *dialer, const struct dial_target *target, uint64_t timeout_us,
               void (*done)(const struct dial_result *result, void *user), void *user, struct dial **ret_dial);

/* Whether a connect() that is under way has succeeded already, as to an address of the own host: then there is no need to watch the
 * socket. A system call, no waiting. */
bool dial_is_connected(int fd);

/* Gives up; `done` will not be called. NULL is fine. */
void dial_cancel(struct dial *dial);

#endif
