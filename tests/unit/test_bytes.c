/* SPDX-License-Identifier: MIT */
#include "check.h"
#include "core/bytes.h"

static void bytes_integers_are_big_endian(void)
{
    static const uint8_t want[8] = {1, 2, 3, 4, 5, 6, 7, 0xff};
    static const uint8_t little[8] = {0xff, 7, 6, 5, 4, 3, 2, 1};
    uint8_t out[8];

    bytes_put_u64(out, UINT64_C(0x01020304050607ff));
    CHECK_MEM(out, want, 8);
    CHECK(bytes_get_u64(want) == UINT64_C(0x01020304050607ff));
    bytes_put_u64_little(out, UINT64_C(0x01020304050607ff));
    CHECK_MEM(out, little, 8);
    bytes_put_u32(out, 0xfffefdfc);
    CHECK_INT(bytes_get_u32(out), 0xfffefdfc);
    CHECK_INT(out[0], 0xff);
    bytes_put_u16(out, 0x8001);
    CHECK_INT(bytes_get_u16(out), 0x8001);
    CHECK_INT(out[0], 0x80);
}

static void bytes_reader_stays_failed(void)
{
    static const uint8_t data[4] = {1, 2, 3, 4};
    struct bytes_reader r = bytes_reader_of(data, sizeof(data));

    CHECK_INT(bytes_read_u8(&r), 1);
    CHECK_INT(bytes_read_u32(&r), 0);
    CHECK(r.failed);
    CHECK_INT(r.left, 0);
    /* There would have been enough for these. */
    CHECK_INT(bytes_read_u8(&r), 0);
    CHECK(bytes_read(&r, 0) == NULL);
    CHECK(r.failed);
}

static void bytes_reader_reads_to_the_end_and_not_past_it(void)
{
    static const uint8_t data[15] = {0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 9};
    struct bytes_reader r = bytes_reader_of(data, sizeof(data));

    CHECK_INT(bytes_read_u16(&r), 1);
    CHECK_INT(bytes_read_u32(&r), 2);
    CHECK_INT(bytes_read_u64(&r), 3);
    CHECK(bytes_read(&r, 2) == NULL);
    r = bytes_reader_of(data, sizeof(data));
    CHECK(bytes_read(&r, sizeof(data)) == data);
    CHECK(!r.failed);
    CHECK(bytes_read(&r, 0) == data + sizeof(data));
    CHECK(bytes_read(&r, SIZE_MAX) == NULL);
    CHECK(r.failed);
}

static void bytes_reader_of_nothing(void)
{
    struct bytes_reader r = bytes_reader_of(NULL, 0);

    CHECK_INT(bytes_read_u8(&r), 0);
    CHECK(r.failed);
}

static const struct check_case cases[] = {
    CHECK_CASE(bytes_integers_are_big_endian),
    CHECK_CASE(bytes_reader_stays_failed),
    CHECK_CASE(bytes_reader_reads_to_the_end_and_not_past_it),
    CHECK_CASE(bytes_reader_of_nothing),
};

CHECK_MAIN(cases)
