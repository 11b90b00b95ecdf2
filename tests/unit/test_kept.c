/* SPDX-License-Identifier: MIT
 *
 * What is kept of a young stream, against a link that takes as much as the test says. */
#include <errno.h>
#include <unistd.h>

#include <sys/socket.h>

#include <etcp/etcp.h>

#include "check.h"
#include "net/kept.h"
#include "net/link.h"

/* The link and the stream, in place of the real ones. */
static struct {
    uint8_t got[2 * KEPT_MAX];
    size_t len;
    size_t room;   /* that the link has */
    size_t credit; /* that the stream has */
} far;

size_t etcp_stream_writable(const struct etcp_stream *stream)
{
    (void)stream;
    return far.credit;
}

size_t link_send(struct link *link, struct etcp_stream *stream, const uint8_t *data, size_t len)
{
    (void)link;
    (void)stream;
    len = len < far.room ? len : far.room;
    len = len < far.credit ? len : far.credit;
    memcpy(far.got + far.len, data, len);
    far.len += len;
    far.room -= len;
    far.credit -= len;
    return len;
}

struct test {
    int near, socket; /* what the client has, and what is read */
    size_t total;
    struct kept *kept;
};

static uint8_t said[2 * KEPT_MAX];

static void set_up(struct test *test)
{
    int pair[2];

    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    *test = (struct test){.near = pair[0], .socket = pair[1]};
    test->kept = kept_new(&test->total);
    CHECK(test->kept != NULL);
    far.len = 0;
    far.room = SIZE_MAX;
    far.credit = KEPT_MAX;
    for (size_t i = 0; i < sizeof(said); i++) {
        said[i] = (uint8_t)(i * 7 + i / 256);
    }
}

static void tear_down(struct test *test)
{
    kept_free(test->kept);
    CHECK_INT(test->total, 0);
    (void)close(test->near);
    (void)close(test->socket);
}

static ssize_t go(struct test *test)
{
    return kept_send_from(test->kept, NULL, NULL, test->socket);
}

/* The client says bytes `from` to `to`, and all of it is read. */
static void say(struct test *test, size_t from, size_t to)
{
    while (from < to) {
        size_t piece = to - from < 10000 ? to - from : 10000;

        CHECK_INT(write(test->near, said + from, piece), piece);
        CHECK_INT(go(test), piece);
        from += piece;
    }
}

static void check_got(size_t len)
{
    CHECK_INT(far.len, len);
    CHECK_MEM((const void *)far.got, (const void *)said, len);
}

static void everything_is_sent_and_can_be_sent_again(void)
{
    struct test test;

    set_up(&test);
    CHECK(!kept_has_sent(test.kept) && kept_is_sent(test.kept));
    CHECK_INT(go(&test), -EAGAIN);
    say(&test, 0, 100000);
    check_got(100000);
    CHECK(kept_has_sent(test.kept) && kept_is_sent(test.kept));
    kept_rewind(test.kept);
    CHECK(!kept_is_sent(test.kept));
    far.len = 0;
    far.credit = KEPT_MAX;
    CHECK_INT(go(&test), -EAGAIN);
    check_got(100000);
    CHECK(kept_is_sent(test.kept));
    say(&test, 100000, 150000);
    check_got(150000);
    tear_down(&test);
}

static void what_was_read_is_not_sent_yet(void)
{
    struct test test;

    set_up(&test);
    far.room = 0;
    CHECK_INT(write(test.near, said, 100), 100);
    CHECK_INT(go(&test), 100);
    CHECK(!kept_is_sent(test.kept) && !kept_has_sent(test.kept));
    far.room = 10;
    CHECK_INT(go(&test), -ENOBUFS);
    CHECK(kept_has_sent(test.kept));
    kept_rewind(test.kept);
    CHECK(!kept_has_sent(test.kept));
    tear_down(&test);
}

static void what_the_link_does_not_take_comes_before_the_next(void)
{
    struct test test;

    set_up(&test);
    far.room = 10;
    CHECK_INT(write(test.near, said, 100), 100);
    CHECK_INT(go(&test), 100);
    check_got(10);
    CHECK(!kept_is_sent(test.kept));
    CHECK_INT(write(test.near, said + 100, 100), 100);
    CHECK_INT(shutdown(test.near, SHUT_WR), 0);
    CHECK_INT(go(&test), -ENOBUFS);
    far.room = 50;
    CHECK_INT(go(&test), -ENOBUFS);
    check_got(60);
    far.room = 60;
    CHECK_INT(go(&test), 100);
    check_got(120);
    CHECK_INT(go(&test), -ENOBUFS); /* and no end of the file before that */
    far.room = 1000;
    CHECK_INT(go(&test), 0);
    check_got(200);
    tear_down(&test);
}

static void the_window_is_the_bound(void)
{
    struct test test;

    set_up(&test);
    say(&test, 0, KEPT_MAX);
    CHECK_INT(test.total, KEPT_MAX);
    CHECK_INT(write(test.near, "x", 1), 1);
    CHECK_INT(go(&test), -ENOBUFS);
    kept_rewind(test.kept);
    far.len = 0;
    far.credit = KEPT_MAX;
    CHECK_INT(go(&test), -ENOBUFS);
    check_got(KEPT_MAX);
    far.credit = 1; /* the other side has taken some: it need not be kept any more, nor can it */
    CHECK_INT(go(&test), -ENOSPC);
    CHECK(kept_is_sent(test.kept));
    tear_down(&test);
}

static void all_together_have_a_bound(void)
{
    struct test test;

    set_up(&test);
    test.total = KEPT_TOTAL_MAX - 10000; /* that others have */
    CHECK_INT(write(test.near, said, 100), 100);
    CHECK_INT(go(&test), -ENOSPC);
    CHECK_INT(recv(test.socket, said, 100, MSG_PEEK), 100); /* still there */
    CHECK(!kept_has_sent(test.kept));
    test.total = 0;
    tear_down(&test);
}

static void a_socket_that_fails_is_told(void)
{
    struct test test;

    set_up(&test);
    (void)close(test.near);
    CHECK_INT(go(&test), 0);
    test.near = -1;
    (void)close(test.socket);
    CHECK_INT(go(&test), -EBADF);
    tear_down(&test);
}

static const struct check_case cases[] = {
    CHECK_CASE(everything_is_sent_and_can_be_sent_again),
    CHECK_CASE(what_was_read_is_not_sent_yet),
    CHECK_CASE(what_the_link_does_not_take_comes_before_the_next),
    CHECK_CASE(the_window_is_the_bound),
    CHECK_CASE(all_together_have_a_bound),
    CHECK_CASE(a_socket_that_fails_is_told),
};
CHECK_MAIN(cases)
