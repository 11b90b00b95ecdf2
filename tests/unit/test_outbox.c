/* SPDX-License-Identifier: MIT */
#include "check.h"
#include "core/outbox.h"
#include "core/record.h"

static void outbox_keeps_the_order_and_counts(void)
{
    struct outbox box = {0};
    size_t first = 0, last = 0, wire = 0, len;
    uint8_t frame[300];

    /* Pushed and popped at changing speeds, so that it moves, grows and empties. */
    for (int round = 0; round < 200; round++) {
        for (int i = 0; i < round % 7 + round % 11; i++) {
            size_t size = (last * 37) % sizeof(frame);

            memset(frame, (int)(last & 0xff), sizeof(frame));
            CHECK_INT(outbox_push(&box, frame, size), 0);
            wire += size + RECORD_OVERHEAD_BYTES;
            last++;
        }
        for (int i = 0; i < 8 && first < last; i++) {
            const uint8_t *got = outbox_first(&box, &len);

            CHECK(got != NULL);
            CHECK_INT(len, (first * 37) % sizeof(frame));
            for (size_t b = 0; b < len; b++) {
                CHECK_INT(got[b], first & 0xff);
            }
            outbox_pop(&box);
            wire -= len + RECORD_OVERHEAD_BYTES;
            first++;
        }
        CHECK_INT(box.wire_bytes, wire);
    }
    outbox_clear(&box);
    CHECK(outbox_first(&box, &len) == NULL);
    CHECK_INT(box.wire_bytes, 0);
    CHECK(box.memory == NULL);
}

static void outbox_that_is_empty_owns_nothing(void)
{
    struct outbox box = {0};
    size_t len;

    CHECK(outbox_first(&box, &len) == NULL);
    CHECK_INT(outbox_push(&box, (const uint8_t *)"x", 1), 0);
    outbox_pop(&box);
    CHECK(box.memory == NULL);
    CHECK_INT(outbox_push(&box, NULL, 0), 0);
    CHECK(outbox_first(&box, &len) != NULL);
    CHECK_INT(len, 0);
    outbox_pop(&box);
    CHECK(box.memory == NULL);
}

static const struct check_case cases[] = {
    CHECK_CASE(outbox_keeps_the_order_and_counts),
    CHECK_CASE(outbox_that_is_empty_owns_nothing),
};

CHECK_MAIN(cases)
