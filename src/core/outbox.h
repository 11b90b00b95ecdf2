/* SPDX-License-Identifier: MIT
 *
 * Control frames that wait to be sealed, in clear and in order. Owns memory only while something waits. */
#ifndef CORE_OUTBOX_H
#define CORE_OUTBOX_H

#include <stddef.h>
#include <stdint.h>

struct outbox {
    uint8_t *memory; /* entries: length (2), bytes */
    uint32_t size;
    uint32_t head, tail; /* the first waiting entry; the end of the last */
    size_t wire_bytes;   /* what all entries are as records */
};

/* Appends a frame. Returns 0, or ETCP_ENOMEM: then nothing was appended. */
int outbox_push(struct outbox *box, const uint8_t *frame, size_t len);

/* The first frame and its length; NULL if nothing waits. Valid until the next call of another function. */
const uint8_t *outbox_first(const struct outbox *box, size_t *ret_len);

/* Drops the first frame. */
void outbox_pop(struct outbox *box);

/* Drops everything. */
void outbox_clear(struct outbox *box);

#endif
