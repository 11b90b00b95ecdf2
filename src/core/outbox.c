/* SPDX-License-Identifier: MIT */
#include "core/outbox.h"

#include <etcp/base.h>

#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/record.h"

enum {
    LENGTH_BYTES = 2,
    SIZE_FIRST = 256,
    SIZE_MAX_BYTES = 64 * 1024 * 1024, /* far above what a connection's streams can make wait at once */
};

/* Makes room for `need` bytes behind the tail. */
static int reserve(struct outbox *box, uint32_t need)
{
    uint32_t used = box->tail - box->head;
    if (box->head > 0 && box->head >= used && used + need <= box->size) {
        memcpy(box->memory, box->memory + box->head, used); /* at least half is free in front: amortised */
    } else {
        uint32_t size = box->size ? box->size : SIZE_FIRST;
        while (size < box->tail + need) {
            if (size > SIZE_MAX_BYTES / 2)
                return ETCP_ENOMEM;
            size *= 2;
        }
        uint8_t *memory = realloc(box->memory, size);
        if (!memory)
            return ETCP_ENOMEM;
        box->memory = memory;
        box->size = size;
        return 0;
    }
    box->head = 0;
    box->tail = used;
    return 0;
}

int outbox_push(struct outbox *box, const uint8_t *frame, size_t len)
{
    uint32_t need = (uint32_t)(LENGTH_BYTES + len);
    if (box->size - box->tail < need) {
        int rc = reserve(box, need);
        if (rc < 0)
            return rc;
    }
    bytes_put_u16(box->memory + box->tail, (uint16_t)len);
    if (len > 0)
        memcpy(box->memory + box->tail + LENGTH_BYTES, frame, len);
    box->tail += need;
    box->wire_bytes += RECORD_OVERHEAD_BYTES + len;
    return 0;
}

const uint8_t *outbox_first(const struct outbox *box, size_t *ret_len)
{
    if (box->head == box->tail)
        return NULL;
    *ret_len = bytes_get_u16(box->memory + box->head);
    return box->memory + box->head + LENGTH_BYTES;
}

void outbox_pop(struct outbox *box)
{
    size_t len = bytes_get_u16(box->memory + box->head);
    box->head += (uint32_t)(LENGTH_BYTES + len);
    box->wire_bytes -= RECORD_OVERHEAD_BYTES + len;
    if (box->head == box->tail)
        outbox_clear(box);
}

void outbox_clear(struct outbox *box)
{
    free(box->memory);
    *box = (struct outbox){.memory = NULL};
}
