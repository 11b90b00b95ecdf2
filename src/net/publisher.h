/* SPDX-License-Identifier: MIT
 *
 * A socket on which a daemon tells about itself: whoever connects gets a document, which the daemon writes when it is asked and
 * which is the same for all who wait for it. Read-only, bounded in clients, bytes and time, and idle until somebody connects.
 *
 * Two kinds: the status socket, a Unix socket for root, the daemon's user and members of its group, who get a JSON document
 * without asking; and HTTP for monitoring systems. */
#ifndef NET_PUBLISHER_H
#define NET_PUBLISHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "net/address.h"

struct loop;
struct publisher;

enum {
    PUBLISHER_CLIENTS_MAX = 16,              /* at once; others wait in the kernel's queue */
    PUBLISHER_TIMEOUT_US = 10 * 1000 * 1000, /* of one client, from its connection to the last byte */
};

enum publisher_kind {
    PUBLISHER_STATUS = 1,
    PUBLISHER_METRICS,
};

struct publisher_handler {
    /* Somebody waits for a document: publisher_answer() is to follow, from here or later. Not called again before. */
    void (*wanted)(struct publisher *publisher, enum publisher_kind kind, void *user);
    /* Whether the daemon takes work, for /readyz. */
    bool (*ready)(void *user);
};

/* Listens on an address; a Unix socket's file gets the mode 0660. Borrows the loop, the static handler and `user`. Returns 0 and an
 * owned publisher, or -errno with an error text. */
int publisher_new(struct loop *loop, enum publisher_kind kind, const struct address *address,
                  const struct publisher_handler *handler, void *user, struct publisher **ret_publisher,
                  struct error_text *ret_error);

/* Closes everything; NULL is fine. Not from inside `wanted`. */
void publisher_free(struct publisher *publisher);

/* Hands the document to all who wait. Takes `text` (free()); NULL: there is none, for want of memory. */
void publisher_answer(struct publisher *publisher, char *text, size_t len);

/* Stops listening, so that another may have the address, and listens again: 0, or -errno with an error text. */
void publisher_pause(struct publisher *publisher);
int publisher_resume(struct publisher *publisher, struct error_text *ret_error);

/* The address as it was asked for, and as it is. */
const struct address *publisher_wanted(const struct publisher *publisher);
const struct address *publisher_address(const struct publisher *publisher);

#endif
