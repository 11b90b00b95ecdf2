/* SPDX-License-Identifier: MIT
 *
 * Bounded reader and writer over memory, and big-endian integers. A reader that is asked for more than there is
 * fails and stays failed: read every field, then ask once. */
#ifndef CORE_BYTES_H
#define CORE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t bytes_get_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t bytes_get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

static inline uint64_t bytes_get_u64(const uint8_t *p)
{
    return (uint64_t)bytes_get_u32(p) << 32 | bytes_get_u32(p + 4);
}

static inline void bytes_put_u16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static inline void bytes_put_u32(uint8_t *p, uint32_t v)
{
    bytes_put_u16(p, (uint16_t)(v >> 16));
    bytes_put_u16(p + 2, (uint16_t)v);
}

static inline void bytes_put_u64(uint8_t *p, uint64_t v)
{
    bytes_put_u32(p, (uint32_t)(v >> 32));
    bytes_put_u32(p + 4, (uint32_t)v);
}

static inline void bytes_put_u64_little(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

struct bytes_reader {
    const uint8_t *at;
    size_t left;
    bool failed;
};

static inline struct bytes_reader bytes_reader_of(const uint8_t *data, size_t len)
{
    return (struct bytes_reader){.at = data, .left = len};
}

/* The next `len` bytes, or NULL once there were too few. */
static inline const uint8_t *bytes_read(struct bytes_reader *r, size_t len)
{
    if (r->failed || len > r->left) {
        r->failed = true;
        r->left = 0;
        return NULL;
    }
    const uint8_t *at = r->at;
    r->at += len;
    r->left -= len;
    return at;
}

static inline uint8_t bytes_read_u8(struct bytes_reader *r)
{
    const uint8_t *p = bytes_read(r, 1);
    return p ? p[0] : 0;
}

static inline uint16_t bytes_read_u16(struct bytes_reader *r)
{
    const uint8_t *p = bytes_read(r, 2);
    return p ? bytes_get_u16(p) : 0;
}

static inline uint32_t bytes_read_u32(struct bytes_reader *r)
{
    const uint8_t *p = bytes_read(r, 4);
    return p ? bytes_get_u32(p) : 0;
}

static inline uint64_t bytes_read_u64(struct bytes_reader *r)
{
    const uint8_t *p = bytes_read(r, 8);
    return p ? bytes_get_u64(p) : 0;
}

#endif
