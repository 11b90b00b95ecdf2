/* SPDX-License-Identifier: MIT */
#include "core/frame.h"

#include <assert.h>
#include <string.h>

#include "core/bytes.h"

enum {
    OPTION_ORIGIN = 1,
    ORIGIN_FAMILY_4 = 4,
    ORIGIN_FAMILY_6 = 6,
};

bool frame_service_valid(const uint8_t *name, size_t len)
{
    if (len < 1 || len > ETCP_SERVICE_MAX)
        return false;
    for (size_t i = 0; i < len; i++) {
        uint8_t c = name[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!alnum && (i == 0 || (c != '.' && c != '_' && c != '-')))
            return false;
    }
    return true;
}

static const char *decode_origin(const uint8_t *value, size_t len, struct etcp_origin *origin)
{
    if (origin->family != 0)
        return "the original address is given twice";
    struct bytes_reader r = bytes_reader_of(value, len);
    uint8_t family = bytes_read_u8(&r);
    if (family != ORIGIN_FAMILY_4 && family != ORIGIN_FAMILY_6)
        return "the family of the original address is neither 4 nor 6";
    size_t address_len = family == ORIGIN_FAMILY_4 ? 4 : 16;
    const uint8_t *address = bytes_read(&r, address_len);
    uint16_t port = bytes_read_u16(&r);
    if (r.failed || r.left > 0)
        return "the original address has a wrong size";
    origin->family = family;
    memcpy(origin->address, address, address_len);
    origin->port = port;
    return NULL;
}

static const char *decode_open(struct bytes_reader *r, struct frame *frame)
{
    if (frame->stream == 0)
        return "Stream Open on stream 0";
    frame->len = bytes_read_u8(r);
    frame->data = bytes_read(r, frame->len);
    if (r->failed)
        return "Stream Open is cut short";
    if (!frame_service_valid(frame->data, frame->len))
        return "a service name is 1 to 64 characters of a-z 0-9 . _ -, the first a letter or digit";
    while (r->left > 0) {
        uint8_t type = bytes_read_u8(r);
        uint8_t len = bytes_read_u8(r);
        const uint8_t *value = bytes_read(r, len);
        if (r->failed)
            return "an option of Stream Open is cut short";
        const char *broken = type == OPTION_ORIGIN ? decode_origin(value, len, &frame->origin) : NULL;
        if (broken)
            return broken;
    }
    return NULL;
}

static const char *decode_reason(struct bytes_reader *r, struct frame *frame)
{
    frame->code = bytes_read_u16(r);
    if (r->failed)
        return "the code is missing";
    if (r->left > ETCP_REASON_MAX)
        return "the reason is longer than 255 bytes";
    frame->len = r->left;
    frame->data = bytes_read(r, r->left);
    return NULL;
}

static const char *decode_heartbeat(struct bytes_reader *r, struct frame *frame)
{
    if (frame->stream != 0)
        return "Heartbeat on a stream";
    frame->heartbeat = bytes_read_u8(r);
    frame->data = bytes_read(r, FRAME_OPAQUE_BYTES);
    frame->len = FRAME_OPAQUE_BYTES;
    if (r->failed || r->left > 0)
        return "Heartbeat has a wrong size";
    if (frame->heartbeat != FRAME_ASK && frame->heartbeat != FRAME_ANSWER)
        return "Heartbeat is neither ask nor answer";
    return NULL;
}

static const char *decode_credit(struct bytes_reader *r, struct frame *frame)
{
    if (frame->stream == 0)
        return "Stream Credit on stream 0";
    frame->consumed = bytes_read_u64(r);
    frame->limit = bytes_read_u64(r);
    if (r->failed || r->left > 0)
        return "Stream Credit has a wrong size";
    if (frame->limit >> 63 != 0)
        return "the limit of Stream Credit is 2^63 or more";
    if (frame->consumed > frame->limit)
        return "Stream Credit is consumed beyond its limit";
    return NULL;
}

const char *frame_decode(const uint8_t *in, size_t len, struct frame *ret_frame)
{
    struct bytes_reader r = bytes_reader_of(in, len);
    struct frame *frame = ret_frame;
    *frame = (struct frame){.id = bytes_read_u8(&r)};
    frame->stream = bytes_read_u32(&r);
    if (r.failed)
        return "a frame is shorter than 5 bytes";
    if (frame->id >= FRAME_EXTENSION)
        return NULL;
    switch ((enum frame_id)frame->id) {
    case FRAME_STREAM_DATA:
        frame->len = r.left;
        frame->data = bytes_read(&r, r.left);
        if (frame->stream == 0)
            return "Stream Data on stream 0";
        return frame->len == 0 || frame->len > ETCP_DATA_MAX ? "Stream Data has 1 to 65,514 bytes" : NULL;
    case FRAME_STREAM_OPEN:
        return decode_open(&r, frame);
    case FRAME_STREAM_CLOSE:
        if (frame->stream == 0)
            return "Stream Close on stream 0";
        return r.left > 0 ? "Stream Close has a body" : NULL;
    case FRAME_STREAM_ERROR:
        if (frame->stream == 0)
            return "Stream Error on stream 0";
        return decode_reason(&r, frame);
    case FRAME_HEARTBEAT:
        return decode_heartbeat(&r, frame);
    case FRAME_STREAM_CREDIT:
        return decode_credit(&r, frame);
    case FRAME_GOODBYE:
        if (frame->stream != 0)
            return "Goodbye on a stream";
        return decode_reason(&r, frame);
    case FRAME_EXTENSION:
        break;
    }
    return "unknown frame id below 0x80";
}

void frame_encode_head(enum frame_id id, uint32_t stream, uint8_t out[static FRAME_HEAD_BYTES])
{
    out[0] = (uint8_t)id;
    bytes_put_u32(out + 1, stream);
}

static uint8_t *put(uint8_t *at, const void *data, size_t len)
{
    if (len > 0)
        memcpy(at, data, len);
    return at + len;
}

size_t frame_encode(const struct frame *frame, uint8_t out[static FRAME_CONTROL_MAX])
{
    uint8_t *at = out + FRAME_HEAD_BYTES;
    frame_encode_head((enum frame_id)frame->id, frame->stream, out);
    switch ((enum frame_id)frame->id) {
    case FRAME_STREAM_OPEN:
        *at++ = (uint8_t)frame->len;
        at = put(at, frame->data, frame->len);
        if (frame->origin.family != 0) {
            size_t address_len = frame->origin.family == ORIGIN_FAMILY_4 ? 4 : 16;
            *at++ = OPTION_ORIGIN;
            *at++ = (uint8_t)(1 + address_len + 2);
            *at++ = frame->origin.family;
            at = put(at, frame->origin.address, address_len);
            bytes_put_u16(at, frame->origin.port);
            at += 2;
        }
        break;
    case FRAME_STREAM_CLOSE:
        break;
    case FRAME_STREAM_ERROR:
    case FRAME_GOODBYE:
        bytes_put_u16(at, frame->code);
        at = put(at + 2, frame->data, frame->len);
        break;
    case FRAME_HEARTBEAT:
        *at++ = frame->heartbeat;
        at = put(at, frame->data, FRAME_OPAQUE_BYTES);
        break;
    case FRAME_STREAM_CREDIT:
        bytes_put_u64(at, frame->consumed);
        bytes_put_u64(at + 8, frame->limit);
        at += 16;
        break;
    case FRAME_STREAM_DATA:
    case FRAME_EXTENSION:
        assert(false);
    }
    return (size_t)(at - out);
}
