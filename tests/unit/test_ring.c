/* SPDX-License-Identifier: MIT */
#include "net/ring.h"

#include "check.h"

static void check_bytes(const struct ring *ring, const char *want)
{
    struct iovec pieces[2];
    char got[20000];
    size_t len = 0;

    for (int i = 0, count = ring_pieces(ring, pieces); i < count; i++) {
        CHECK(pieces[i].iov_len > 0);
        memcpy(got + len, pieces[i].iov_base, pieces[i].iov_len);
        len += pieces[i].iov_len;
    }
    CHECK_INT(len, strlen(want));
    CHECK_MEM((const void *)got, (const void *)want, len);
}

static void an_empty_ring_owns_nothing(void)
{
    struct ring ring = {0};
    struct iovec pieces[2];

    CHECK(ring_add(&ring, "", 0));
    CHECK(ring.bytes == NULL);
    CHECK_INT(ring_pieces(&ring, pieces), 0);
    CHECK(ring_add(&ring, "ab", 2));
    ring_drop(&ring, 2);
    CHECK(ring.bytes == NULL);
    CHECK_INT(ring.size, 0);
    ring_clear(&ring);
}

static void bytes_come_out_in_order_across_the_seam(void)
{
    static char text[20001];
    struct ring ring = {0};
    size_t first = 0, last = 0;

    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        text[i] = (char)('a' + i % 23);
    }
    /* Always a bit more in than out: it goes round many times, and grows in between. */
    while (last + 300 < sizeof(text) - 1) {
        char shown[20001];

        CHECK(ring_add(&ring, text + last, 300));
        last += 300;
        ring_drop(&ring, 250);
        first += 250;
        memcpy(shown, text + first, last - first);
        shown[last - first] = '\0';
        check_bytes(&ring, shown);
    }
    ring_clear(&ring);
    CHECK_INT(ring.count, 0);
}

static void size_is_told_before_it_is_taken(void)
{
    struct ring ring = {0};

    CHECK_INT(ring_size_with(&ring, 1), 4096);
    CHECK_INT(ring_size_with(&ring, 4097), 8192);
    CHECK(ring_add(&ring, "x", 1));
    CHECK_INT(ring.size, 4096);
    CHECK_INT(ring_size_with(&ring, 4095), 4096);
    CHECK_INT(ring_size_with(&ring, 4096), 8192);
    CHECK(ring_size_with(&ring, RING_MAX) == SIZE_MAX);
    ring_clear(&ring);
}

static void more_than_the_most_is_refused_whole(void)
{
    struct ring ring = {0};

    CHECK(ring_add(&ring, "x", 1));
    CHECK(!ring_add(&ring, "y", RING_MAX)); /* not read: it is too much */
    check_bytes(&ring, "x");
    ring_clear(&ring);
}

static const struct check_case cases[] = {
    CHECK_CASE(an_empty_ring_owns_nothing),
    CHECK_CASE(bytes_come_out_in_order_across_the_seam),
    CHECK_CASE(size_is_told_before_it_is_taken),
    CHECK_CASE(more_than_the_most_is_refused_whole),
};
CHECK_MAIN(cases)
