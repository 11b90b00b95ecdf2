/* SPDX-License-Identifier: MIT
 *
 * The frame codec: whatever decodes stays within its bounds and encodes to a frame that decodes to the same. */
#include "check.h"
#include "core/frame.h"
#include "fuzz.h"

static void check_fields(const struct frame *frame, const uint8_t *data, size_t size)
{
    if (frame->data != NULL) {
        CHECK(frame->data >= data && frame->len <= size && frame->data + frame->len <= data + size);
    }
    switch (frame->id) {
    case FRAME_STREAM_OPEN:
        CHECK(frame_service_valid(frame->data, frame->len));
        CHECK(frame->origin.family == 0 || frame->origin.family == 4 || frame->origin.family == 6);
        break;
    case FRAME_STREAM_DATA:
        CHECK(frame->len >= 1 && frame->len <= ETCP_DATA_MAX);
        break;
    case FRAME_STREAM_ERROR:
    case FRAME_GOODBYE:
        CHECK(frame->len <= ETCP_REASON_MAX);
        break;
    case FRAME_STREAM_CREDIT:
        CHECK(frame->consumed <= frame->limit && frame->limit <= INT64_MAX);
        break;
    default:
        break;
    }
    if (frame->id < FRAME_EXTENSION) {
        CHECK_INT(frame->stream == 0, frame->id == FRAME_HEARTBEAT || frame->id == FRAME_GOODBYE);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct frame frame, again;
    uint8_t out[FRAME_CONTROL_MAX];
    const char *broken = frame_decode(data, size, &frame);
    size_t len;

    if (broken != NULL) {
        CHECK(*broken != '\0' && strlen(broken) <= ETCP_REASON_MAX);
        return 0;
    }
    CHECK(size >= FRAME_HEAD_BYTES);
    check_fields(&frame, data, size);
    if (frame.id >= FRAME_EXTENSION || frame.id == FRAME_STREAM_DATA) {
        return 0;
    }
    len = frame_encode(&frame, out);
    CHECK(len <= size && len <= sizeof(out)); /* shorter where options were skipped */
    CHECK(frame_decode(out, len, &again) == NULL);
    CHECK_INT(again.id, frame.id);
    CHECK_INT(again.stream, frame.stream);
    CHECK_INT(again.code, frame.code);
    CHECK_INT(again.heartbeat, frame.heartbeat);
    CHECK(again.consumed == frame.consumed && again.limit == frame.limit);
    CHECK_INT(again.len, frame.len);
    CHECK(frame.len == 0 || memcmp(again.data, frame.data, frame.len) == 0);
    CHECK(memcmp(&again.origin, &frame.origin, sizeof(frame.origin)) == 0);
    if (frame.id != FRAME_STREAM_OPEN) {
        CHECK_INT(len, size);
        CHECK_MEM(out, data, size);
    }
    return 0;
}
