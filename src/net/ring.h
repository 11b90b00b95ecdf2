/* SPDX-License-Identifier: MIT
 *
 * Bytes that wait for a reader that is slower than what they came from. Owns memory only while some do. */
#ifndef NET_RING_H
#define NET_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sys/uio.h>

/* Zeros are empty. */
struct ring {
    uint8_t *bytes;
    size_t size;  /* a power of two, 0 while empty */
    size_t at;    /* where the waiting bytes begin */
    size_t count; /* how many wait */
};

/* No caller has more to store: a stream's window, and what goes before it. */
enum { RING_MAX = 16 * 1024 * 1024 };

/* The ring's size when `len` more bytes will have been added; SIZE_MAX if that can't be. */
size_t ring_size_with(const struct ring *ring, size_t len);

/* Adds a copy behind what waits. Returns false, and nothing was added, without memory or beyond RING_MAX. */
bool ring_add(struct ring *ring, const void *bytes, size_t len);

/* The waiting bytes in at most two pieces; returns their number. Valid until the next change. */
int ring_pieces(const struct ring *ring, struct iovec ret_pieces[static 2]);

/* Drops the first `len` of the waiting bytes. */
void ring_drop(struct ring *ring, size_t len);

/* Drops all. */
void ring_clear(struct ring *ring);

#endif
