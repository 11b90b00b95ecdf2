/* SPDX-License-Identifier: MIT */
#include "net/ring.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { RING_MIN = 4096 };

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t ring_size_with(const struct ring *ring, size_t len)
{
    size_t size = ring->size > 0 ? ring->size : RING_MIN;

    if (len > RING_MAX - ring->count) {
        return SIZE_MAX;
    }
    while (size < ring->count + len) {
        size *= 2;
    }
    return size;
}

static bool grow(struct ring *ring, size_t size)
{
    struct iovec pieces[2];
    size_t len = 0;
    uint8_t *bytes = NULL;

    if (size == ring->size) {
        return true;
    }
    bytes = size <= RING_MAX ? malloc(size) : NULL;
    if (bytes == NULL) {
        return false;
    }
    for (int i = 0, count = ring_pieces(ring, pieces); i < count; i++) {
        memcpy(bytes + len, pieces[i].iov_base, pieces[i].iov_len);
        len += pieces[i].iov_len;
    }
    free(ring->bytes);
    ring->bytes = bytes;
    ring->size = size;
    ring->at = 0;
    return true;
}

bool ring_add(struct ring *ring, const void *bytes, size_t len)
{
    size_t end, first;

    if (len == 0) {
        return true;
    }
    if (!grow(ring, ring_size_with(ring, len))) {
        return false;
    }
    end = (ring->at + ring->count) & (ring->size - 1);
    first = smaller(len, ring->size - end);
    memcpy(ring->bytes + end, bytes, first);
    memcpy(ring->bytes, (const uint8_t *)bytes + first, len - first);
    ring->count += len;
    return true;
}

int ring_pieces(const struct ring *ring, struct iovec ret_pieces[static 2])
{
    size_t first = smaller(ring->count, ring->size - ring->at);

    if (ring->count == 0) {
        return 0;
    }
    ret_pieces[0] = (struct iovec){.iov_base = ring->bytes + ring->at, .iov_len = first};
    ret_pieces[1] = (struct iovec){.iov_base = ring->bytes, .iov_len = ring->count - first};
    return ring->count > first ? 2 : 1;
}

void ring_drop(struct ring *ring, size_t len)
{
    assert(len <= ring->count);
    ring->count -= len;
    if (ring->count == 0) {
        ring_clear(ring);
    } else {
        ring->at = (ring->at + len) & (ring->size - 1);
    }
}

void ring_clear(struct ring *ring)
{
    free(ring->bytes);
    *ring = (struct ring){0};
}
