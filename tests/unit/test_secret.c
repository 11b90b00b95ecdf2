/* SPDX-License-Identifier: MIT */
#include <sodium.h>

#include "check.h"
#include "core/secret.h"

enum {
    MANY = 1000, /* more than one chunk of either size */
};

static void secret_slots_are_zeroed_and_their_own(void)
{
    struct secret_arena arena;
    uint8_t *slot[MANY], zeros[SECRET_LARGE_BYTES] = {0};

    secret_arena_init(&arena, SECRET_LARGE_BYTES);
    for (int i = 0; i < MANY; i++) {
        slot[i] = secret_alloc(&arena);
        CHECK(slot[i] != NULL);
        CHECK_INT((uintptr_t)slot[i] % 16, 0);
        CHECK_MEM(slot[i], zeros, SECRET_LARGE_BYTES);
        memset(slot[i], i & 0xff, SECRET_LARGE_BYTES);
    }
    CHECK_INT(arena.in_use, MANY);
    for (int i = 0; i < MANY; i++) {
        for (int j = 0; j < SECRET_LARGE_BYTES; j++) {
            CHECK_INT(slot[i][j], i & 0xff);
        }
        secret_free(&arena, slot[i]);
    }
    CHECK_INT(arena.in_use, 0);
    secret_arena_done(&arena);
}

static void secret_free_wipes(void)
{
    struct secret_arena arena;
    uint8_t *slot, zeros[SECRET_SMALL_BYTES] = {0};

    secret_arena_init(&arena, SECRET_SMALL_BYTES);
    slot = secret_alloc(&arena);
    CHECK(slot != NULL);
    memset(slot, 0xaa, SECRET_SMALL_BYTES);
    secret_free(&arena, slot);
    /* The memory is still the arena's; its first bytes link the free slots. */
    CHECK_MEM(slot + sizeof(void *), zeros, SECRET_SMALL_BYTES - sizeof(void *));
    secret_arena_done(&arena);
}

static void secret_slots_are_used_again(void)
{
    struct secret_arena arena;
    uint8_t *first, *second, zeros[SECRET_SMALL_BYTES] = {0};

    secret_arena_init(&arena, SECRET_SMALL_BYTES);
    first = secret_alloc(&arena);
    memset(first, 0xaa, SECRET_SMALL_BYTES);
    secret_free(&arena, first);
    second = secret_alloc(&arena);
    CHECK(first == second);
    CHECK_MEM(second, zeros, SECRET_SMALL_BYTES);
    secret_free(&arena, second);
    secret_arena_done(&arena);
}

static void secret_free_takes_null(void)
{
    struct secret_arena arena;

    secret_arena_init(&arena, SECRET_SMALL_BYTES);
    secret_free(&arena, NULL);
    CHECK_INT(arena.in_use, 0);
    secret_arena_done(&arena);
}

static const struct check_case cases[] = {
    CHECK_CASE(secret_slots_are_zeroed_and_their_own),
    CHECK_CASE(secret_free_wipes),
    CHECK_CASE(secret_slots_are_used_again),
    CHECK_CASE(secret_free_takes_null),
};

int main(int argc, char **argv)
{
    CHECK(sodium_init() >= 0);
    return check_run(cases, CHECK_COUNT(cases), argc, argv);
}
