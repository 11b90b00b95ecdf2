/* SPDX-License-Identifier: MIT
 *
 * Secret memory: whole pages that are locked where the limit allows, kept out of core dumps, and fenced by guard pages
 * (all by sodium_malloc), handed out in small slots. The only way out of a slot is a wiping free. Not for several threads. */
#ifndef CORE_SECRET_H
#define CORE_SECRET_H

#include <stddef.h>
#include <stdint.h>

/* Sizes of the two kinds of slot. */
enum {
    SECRET_SMALL_BYTES = 64,  /* the two cipher keys of a connection */
    SECRET_LARGE_BYTES = 192, /* what a handshake knows */
};

struct secret_chunk;

struct secret_arena {
    size_t slot_bytes;
    void *free_list; /* first free slot; each holds the pointer to the next */
    struct secret_chunk *chunks;
    size_t in_use;
};

/* An arena of slots of one size. Allocates nothing yet. */
void secret_arena_init(struct secret_arena *arena, size_t slot_bytes);

/* Wipes and frees all pages; no slot may be in use. */
void secret_arena_done(struct secret_arena *arena);

/* A zeroed slot, or NULL without memory. */
void *secret_alloc(struct secret_arena *arena);

/* Wipes the slot and takes it back; NULL is fine. */
void secret_free(struct secret_arena *arena, void *slot);

#endif
