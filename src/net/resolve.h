/* SPDX-License-Identifier: MIT
 *
 * Names to addresses without blocking a loop: getaddrinfo(3) on a thread of its own per request, the answer as a letter to
 * the loop. (A thread, because getaddrinfo has no other way to keep what nsswitch.conf and the administrator configured.) */
#ifndef NET_RESOLVE_H
#define NET_RESOLVE_H

#include <stddef.h>
#include <stdint.h>

#include "net/address.h"

struct loop;
struct resolve;

enum {
    RESOLVE_ADDRESSES_MAX = 32, /* of one name; the rest is left out */
    RESOLVE_THREADS_MAX = 16,   /* of the process, those of abandoned requests included */
};

struct resolve_result {
    const char *error; /* why there is no address, for a log: "Name or service not known"; NULL if there are */
    const struct address *addresses; /* in the order in which they should be tried; borrowed for the call */
    size_t count;                    /* 0 if and only if there is an error */
};

/* Looks up the stream-socket addresses of `host` (name or numeric, IPv6 without brackets) with `port`; borrows `host` for the
 * call. `done` is called once, from the loop, never from inside this call; the request is gone when it is called. A numeric
 * address takes no thread. Returns 0 and a request, or -errno (-EAGAIN: RESOLVE_THREADS_MAX are under way; try later). */
int resolve_start(struct loop *loop, const char *host, uint16_t port,
                  void (*done)(const struct resolve_result *result, void *user), void *user,
                  struct resolve **ret_resolve);

/* Abandons a request whose `done` has not been called: it never will be. NULL is fine. On the loop's thread only. The thread
 * ends by itself when getaddrinfo returns, and may outlive the loop. */
void resolve_cancel(struct resolve *resolve);

/* The same at once, blocking: for start-up and helper threads, never for a loop's thread. Stores up to `max` addresses and their
 * number. Returns 0 or an EAI_ code for gai_strerror(3). */
int resolve_now(const char *host, uint16_t port, struct address *ret_addresses, size_t max, size_t *ret_count);

#endif
