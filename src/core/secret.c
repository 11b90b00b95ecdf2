/* SPDX-License-Identifier: MIT
 *
 * sodium_malloc() puts two guard pages and a header page around each region, so a region holds many slots. Regions are
 * kept until the arena goes: a loop that has once had many connections will have them again. */
#include "core/secret.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

/* A multiple of the page size, so that slots are as aligned as pages are. */
enum { CHUNK_BYTES = 16 * 1024 };

struct secret_chunk {
    struct secret_chunk *next;
};

void secret_arena_init(struct secret_arena *arena, size_t slot_bytes)
{
    assert(slot_bytes >= sizeof(struct secret_chunk) && slot_bytes % 16 == 0 && slot_bytes <= CHUNK_BYTES / 2);
    *arena = (struct secret_arena){.slot_bytes = slot_bytes};
}

void secret_arena_done(struct secret_arena *arena)
{
    assert(arena->in_use == 0);
    while (arena->chunks) {
        struct secret_chunk *chunk = arena->chunks;
        arena->chunks = chunk->next;
        sodium_free(chunk); /* wipes */
    }
    arena->free_list = NULL;
}

static void push(struct secret_arena *arena, uint8_t *slot)
{
    memcpy(slot, &arena->free_list, sizeof arena->free_list);
    arena->free_list = slot;
}

static int grow(struct secret_arena *arena)
{
    uint8_t *region = sodium_malloc(CHUNK_BYTES);
    if (!region)
        return -1;
    struct secret_chunk *chunk = (struct secret_chunk *)(void *)region;
    chunk->next = arena->chunks;
    arena->chunks = chunk;
    /* the first slot's place holds the chunk's own link; slots are pushed from the end so that the first is used first */
    size_t count = CHUNK_BYTES / arena->slot_bytes;
    for (size_t i = count - 1; i > 0; i--)
        push(arena, region + i * arena->slot_bytes);
    return 0;
}

void *secret_alloc(struct secret_arena *arena)
{
    if (!arena->free_list && grow(arena) < 0)
        return NULL;
    uint8_t *slot = arena->free_list;
    memcpy(&arena->free_list, slot, sizeof arena->free_list);
    memset(slot, 0, arena->slot_bytes);
    arena->in_use++;
    return slot;
}

void secret_free(struct secret_arena *arena, void *slot)
{
    if (!slot)
        return;
    sodium_memzero(slot, arena->slot_bytes);
    push(arena, slot);
    arena->in_use--;
}
