/* SPDX-License-Identifier: MIT */
#include "check.h"
#include "core/frame.h"

/* Whether these bytes, in a block of exactly their size, are a frame. */
static bool decodes(const uint8_t *bytes, size_t len, struct frame *frame)
{
    uint8_t *exact = malloc(len > 0 ? len : 1);
    struct frame unused;
    const char *broken;

    CHECK(exact != NULL);
    if (len > 0) {
        memcpy(exact, bytes, len);
    }
    broken = frame_decode(exact, len, frame != NULL ? frame : &unused);
    CHECK(broken == NULL || (broken[0] != '\0' && strlen(broken) <= ETCP_REASON_MAX));
    free(exact);
    return broken == NULL;
}

#define BYTES(...) (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})

static void frame_rejects_what_is_shorter_than_a_head(void)
{
    for (size_t len = 0; len < 5; len++) {
        CHECK(!decodes((const uint8_t[]){0x90, 0, 0, 0, 0}, len, NULL));
        CHECK(!decodes((const uint8_t[]){0x04, 0, 0, 0, 1}, len, NULL));
    }
}

static void frame_rejects_unknown_ids_below_0x80(void)
{
    for (unsigned id = 0; id < 0x80; id++) {
        static const uint8_t known[] = {0x03, 0x04, 0x05, 0x06, 0x07, 0x09, 0x0A};
        uint8_t bytes[32] = {(uint8_t)id, 0, 0, 0, 1};

        if (memchr(known, (int)id, sizeof(known)) == NULL) {
            CHECK(!decodes(bytes, 5, NULL));
            CHECK(!decodes(bytes, sizeof(bytes), NULL));
        }
    }
}

static void frame_takes_any_extension(void)
{
    for (unsigned id = 0x80; id < 0x100; id++) {
        uint8_t bytes[32] = {(uint8_t)id, 0xff, 0xff, 0xff, 0xff};
        struct frame frame;

        CHECK(decodes(bytes, 5, &frame));
        CHECK_INT(frame.id, id);
        CHECK(decodes(bytes, sizeof(bytes), NULL));
    }
}

static void frame_rejects_stream_0_where_it_must_not_be(void)
{
    CHECK(!decodes(BYTES(0x03, 0, 0, 0, 0, 4, 'e', 'c', 'h', 'o'), NULL));
    CHECK(!decodes(BYTES(0x04, 0, 0, 0, 0), NULL));
    CHECK(!decodes(BYTES(0x05, 0, 0, 0, 0, 1), NULL));
    CHECK(!decodes(BYTES(0x06, 0, 0, 0, 0, 0, 1), NULL));
    CHECK(!decodes(BYTES(0x09, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0), NULL));
}

static void frame_rejects_a_stream_where_0_must_be(void)
{
    for (int byte = 1; byte <= 4; byte++) {
        uint8_t heartbeat[14] = {0x07}, goodbye[7] = {0x0A};

        heartbeat[byte] = 1;
        goodbye[byte] = 1;
        CHECK(!decodes(heartbeat, sizeof(heartbeat), NULL));
        CHECK(!decodes(goodbye, sizeof(goodbye), NULL));
    }
}

static void frame_rejects_other_sizes(void)
{
    uint8_t bytes[300] = {0};

    bytes[4] = 1;
    for (size_t len = 5; len < 64; len++) {
        bytes[0] = 0x04;
        CHECK_INT(decodes(bytes, len, NULL), len == 5);
        bytes[0] = 0x09;
        bytes[20] = 1;
        CHECK_INT(decodes(bytes, len, NULL), len == 21);
        bytes[20] = 0;
        bytes[0] = 0x07;
        bytes[4] = 0;
        CHECK_INT(decodes(bytes, len, NULL), len == 14);
        bytes[4] = 1;
    }
    for (size_t len = 5; len < sizeof(bytes); len++) {
        bytes[0] = 0x06;
        CHECK_INT(decodes(bytes, len, NULL), len >= 7 && len <= 7 + 255);
        bytes[0] = 0x0A;
        bytes[4] = 0;
        CHECK_INT(decodes(bytes, len, NULL), len >= 7 && len <= 7 + 255);
        bytes[4] = 1;
    }
}

static void frame_rejects_empty_and_larger_data(void)
{
    uint8_t *bytes = calloc(1, 5 + ETCP_DATA_MAX + 1);

    CHECK(bytes != NULL);
    bytes[0] = 0x05;
    bytes[4] = 1;
    CHECK(!decodes(bytes, 5, NULL));
    CHECK(decodes(bytes, 6, NULL));
    CHECK(decodes(bytes, 5 + ETCP_DATA_MAX, NULL));
    CHECK(!decodes(bytes, 5 + ETCP_DATA_MAX + 1, NULL));
    free(bytes);
}

static void frame_rejects_heartbeats_of_other_kinds(void)
{
    for (unsigned kind = 0; kind < 256; kind++) {
        uint8_t bytes[14] = {0x07, 0, 0, 0, 0, (uint8_t)kind};

        CHECK_INT(decodes(bytes, sizeof(bytes), NULL), kind < 2);
    }
}

static void frame_rejects_credit_out_of_range(void)
{
    uint8_t bytes[21] = {0x09, 0, 0, 0, 1};

    bytes[13] = 0x7f;
    CHECK(decodes(bytes, sizeof(bytes), NULL));
    bytes[13] = 0x80;
    CHECK(!decodes(bytes, sizeof(bytes), NULL));
    bytes[13] = 0;
    bytes[12] = 2; /* consumed 2 */
    bytes[20] = 1; /* limit 1 */
    CHECK(!decodes(bytes, sizeof(bytes), NULL));
    bytes[20] = 2;
    CHECK(decodes(bytes, sizeof(bytes), NULL));
}

static bool open_decodes(const char *service, size_t len, const uint8_t *options, size_t options_len,
                         struct frame *frame)
{
    uint8_t bytes[512] = {0x03, 0, 0, 0, 1, (uint8_t)len};

    memcpy(bytes + 6, service, len);
    if (options_len > 0) {
        memcpy(bytes + 6 + len, options, options_len);
    }
    return decodes(bytes, 6 + len + options_len, frame);
}

static void frame_rejects_malformed_service_names(void)
{
    static const char *const bad[] = {"", ".a", "_a", "-a", "A", "a/", "a b", "a\n", "\xc3\xa4", "a:", "aA", "a\x7f"};
    char name[ETCP_SERVICE_MAX + 2];

    for (size_t i = 0; i < CHECK_COUNT(bad); i++) {
        CHECK(!open_decodes(bad[i], strlen(bad[i]), NULL, 0, NULL));
        CHECK(!etcp_service_name_valid(bad[i]));
    }
    CHECK(!open_decodes("a\0b", 3, NULL, 0, NULL));
    for (unsigned c = 0; c < 256; c++) {
        const char two[2] = {'a', (char)c};
        bool fine = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';

        CHECK_INT(open_decodes(two, 2, NULL, 0, NULL), fine);
    }
    memset(name, 'z', sizeof(name));
    name[ETCP_SERVICE_MAX + 1] = '\0';
    CHECK(!open_decodes(name, ETCP_SERVICE_MAX + 1, NULL, 0, NULL));
    CHECK(!etcp_service_name_valid(name));
    CHECK(open_decodes(name, ETCP_SERVICE_MAX, NULL, 0, NULL));
    CHECK(!decodes(BYTES(0x03, 0, 0, 0, 1), NULL));
    CHECK(!decodes(BYTES(0x03, 0, 0, 0, 1, 2, 'a'), NULL));
}

static void frame_rejects_malformed_options(void)
{
    struct frame frame;

    CHECK(!open_decodes("a", 1, BYTES(1), NULL));
    CHECK(!open_decodes("a", 1, BYTES(1, 0), NULL));
    CHECK(!open_decodes("a", 1, BYTES(1, 7, 4, 1, 2, 3, 4, 5), NULL));
    CHECK(!open_decodes("a", 1, BYTES(1, 6, 4, 1, 2, 3, 4, 5), NULL));
    CHECK(!open_decodes("a", 1, BYTES(1, 8, 4, 1, 2, 3, 4, 5, 6, 7), NULL));
    CHECK(!open_decodes("a", 1, BYTES(1, 7, 6, 1, 2, 3, 4, 5, 6), NULL));
    CHECK(!open_decodes("a", 1, BYTES(1, 7, 5, 1, 2, 3, 4, 5, 6), NULL));
    CHECK(!open_decodes("a", 1, BYTES(1, 7, 4, 1, 2, 3, 4, 5, 6, 9), NULL));
    CHECK(!open_decodes("a", 1, BYTES(9, 3, 1, 2), NULL));
    /* At most once. */
    CHECK(!open_decodes("a", 1, BYTES(1, 7, 4, 1, 2, 3, 4, 5, 6, 1, 7, 4, 1, 2, 3, 4, 5, 6), NULL));

    CHECK(open_decodes("a", 1, BYTES(9, 0, 200, 2, 1, 1, 1, 7, 4, 1, 2, 3, 4, 5, 6, 0, 0), &frame));
    CHECK_INT(frame.origin.family, 4);
    CHECK_INT(frame.origin.port, 0x0506);
    CHECK_MEM(frame.origin.address, "\1\2\3\4", 4);
    CHECK(open_decodes("a", 1, BYTES(1, 19, 6, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 0xff, 0xfe),
                       &frame));
    CHECK_INT(frame.origin.family, 6);
    CHECK_INT(frame.origin.port, 0xfffe);
}

static void frame_encodes_what_it_decodes(void)
{
    static const struct frame frames[] = {
        {.id = FRAME_STREAM_OPEN, .stream = 1, .data = (const uint8_t *)"echo", .len = 4},
        {.id = FRAME_STREAM_OPEN,
         .stream = 0xffffffff,
         .data = (const uint8_t *)"a",
         .len = 1,
         .origin = {.family = 6, .address = {1, 2, 3}, .port = 99}},
        {.id = FRAME_STREAM_CLOSE, .stream = 7},
        {.id = FRAME_STREAM_ERROR, .stream = 7, .code = 0xfffe, .data = (const uint8_t *)"why", .len = 3},
        {.id = FRAME_HEARTBEAT, .heartbeat = FRAME_ANSWER, .data = (const uint8_t *)"12345678", .len = 8},
        {.id = FRAME_STREAM_CREDIT, .stream = 2, .consumed = 5, .limit = INT64_MAX},
        {.id = FRAME_GOODBYE, .code = 8},
    };

    for (size_t i = 0; i < CHECK_COUNT(frames); i++) {
        uint8_t bytes[FRAME_CONTROL_MAX];
        size_t len = frame_encode(&frames[i], bytes);
        struct frame frame;

        CHECK(frame_decode(bytes, len, &frame) == NULL);
        CHECK_INT(frame.id, frames[i].id);
        CHECK_INT(frame.stream, frames[i].stream);
        CHECK_INT(frame.code, frames[i].code);
        CHECK_INT(frame.heartbeat, frames[i].heartbeat);
        CHECK(frame.consumed == frames[i].consumed && frame.limit == frames[i].limit);
        CHECK_INT(frame.len, frames[i].len);
        CHECK_MEM(frame.data, frames[i].data, frames[i].len);
        CHECK_INT(frame.origin.family, frames[i].origin.family);
        CHECK_INT(frame.origin.port, frames[i].origin.port);
    }
}

static void frame_control_frames_fit(void)
{
    uint8_t bytes[FRAME_CONTROL_MAX], reason[ETCP_REASON_MAX] = {0};
    struct frame frame = {.id = FRAME_GOODBYE, .data = reason, .len = sizeof(reason)};
    char name[ETCP_SERVICE_MAX];
    struct frame open = {.id = FRAME_STREAM_OPEN, .stream = 1, .len = sizeof(name), .origin = {.family = 6}};

    memset(name, 'n', sizeof(name));
    open.data = (const uint8_t *)name;
    CHECK_INT(frame_encode(&frame, bytes), FRAME_CONTROL_MAX);
    CHECK(frame_encode(&open, bytes) <= FRAME_CONTROL_MAX);
}

static const struct check_case cases[] = {
    CHECK_CASE(frame_rejects_what_is_shorter_than_a_head),
    CHECK_CASE(frame_rejects_unknown_ids_below_0x80),
    CHECK_CASE(frame_takes_any_extension),
    CHECK_CASE(frame_rejects_stream_0_where_it_must_not_be),
    CHECK_CASE(frame_rejects_a_stream_where_0_must_be),
    CHECK_CASE(frame_rejects_other_sizes),
    CHECK_CASE(frame_rejects_empty_and_larger_data),
    CHECK_CASE(frame_rejects_heartbeats_of_other_kinds),
    CHECK_CASE(frame_rejects_credit_out_of_range),
    CHECK_CASE(frame_rejects_malformed_service_names),
    CHECK_CASE(frame_rejects_malformed_options),
    CHECK_CASE(frame_encodes_what_it_decodes),
    CHECK_CASE(frame_control_frames_fit),
};

CHECK_MAIN(cases)
