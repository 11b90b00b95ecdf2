/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stddef.h>
#include <unistd.h>

#include <sys/socket.h>

#include "check.h"
#include "net/address.h"

static struct address numeric(const char *host, uint16_t port)
{
    struct address address;

    CHECK_INT(address_from_numeric(host, port, &address), 0);
    return address;
}

static void check_text(const struct address *address, const char *want)
{
    char text[ADDRESS_TEXT_BYTES];

    address_format(address, text);
    CHECK_STR(text, want);
}

static bool same_key(const char *a, const char *b)
{
    struct address left = numeric(a, 1), right = numeric(b, 2);
    struct address_key left_key, right_key;

    address_key(&left, &left_key);
    address_key(&right, &right_key);
    return memcmp(left_key.bytes, right_key.bytes, sizeof(left_key.bytes)) == 0;
}

static void addresses_are_printed(void)
{
    struct address address = numeric("192.0.2.1", 4242);

    check_text(&address, "192.0.2.1:4242");
    address = numeric("2001:db8:0:0::1", 22);
    check_text(&address, "[2001:db8::1]:22");
    address = numeric("::ffff:192.0.2.7", 65535);
    check_text(&address, "192.0.2.7:65535");
    CHECK_INT(address_from_path("/run/etcp.sock", &address), 0);
    check_text(&address, "unix:/run/etcp.sock");
    address = (struct address){0};
    check_text(&address, "unknown");
}

static void names_are_not_numeric(void)
{
    struct address address = numeric("192.0.2.1", 1), before = address;

    CHECK_INT(address_from_numeric("localhost", 1, &address), -EINVAL);
    CHECK_INT(address_from_numeric("", 1, &address), -EINVAL);
    CHECK_INT(address_from_numeric("[::1]", 1, &address), -EINVAL);
    CHECK_INT(address_from_numeric("192.0.2.256", 1, &address), -EINVAL);
    CHECK_INT(address_from_numeric("192.0.2.1 ", 1, &address), -EINVAL);
    CHECK_MEM(&address, &before, sizeof(address));
}

static void paths_are_bounded(void)
{
    struct address address = {0};
    char path[sizeof(address.un.sun_path) + 1];

    memset(path, 'a', sizeof(path));
    path[sizeof(path) - 1] = '\0';
    CHECK_INT(address_from_path(path, &address), -ENAMETOOLONG);
    CHECK_INT(address_from_path("", &address), -EINVAL);
    CHECK_INT(address.len, 0);
    path[sizeof(path) - 2] = '\0'; /* the longest that leaves room for its end */
    CHECK_INT(address_from_path(path, &address), 0);
    CHECK_STR(address.un.sun_path, path);
}

static void other_families_are_refused(void)
{
    struct address address = {0};
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr other = {.sa_family = AF_NETLINK};

    CHECK_INT(address_from_sockaddr(&other, sizeof(other), &address), -EAFNOSUPPORT);
    CHECK_INT(address_from_sockaddr((const struct sockaddr *)&in, sizeof(in) - 1, &address), -EAFNOSUPPORT);
    CHECK_INT(address_from_sockaddr((const struct sockaddr *)&in, 1, &address), -EAFNOSUPPORT);
    CHECK_INT(address_from_sockaddr((const struct sockaddr *)&in, sizeof(in), &address), 0);
}

static void keys_are_hosts_and_networks(void)
{
    CHECK(same_key("192.0.2.1", "192.0.2.1"));
    CHECK(same_key("192.0.2.1", "::ffff:192.0.2.1"));
    CHECK(!same_key("192.0.2.1", "192.0.2.2"));
    CHECK(same_key("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"));
    CHECK(!same_key("2001:db8:1:2::1", "2001:db8:1:3::1"));
    CHECK(!same_key("192.0.2.1", "::1"));
    CHECK(!same_key("c000:201::", "192.0.2.1"));
}

static void addresses_compare(void)
{
    struct address a = numeric("192.0.2.1", 1), b = numeric("192.0.2.1", 2), c = numeric("::1", 1);
    struct address d, e, none = {0};

    CHECK_INT(address_from_path("/a", &d), 0);
    CHECK_INT(address_from_path("/b", &e), 0);
    CHECK(address_equal(&a, &a) && address_equal(&c, &c) && address_equal(&d, &d) && address_equal(&none, &none));
    CHECK(!address_equal(&a, &b) && !address_equal(&a, &c) && !address_equal(&d, &e) && !address_equal(&a, &none));
}

static void a_unix_peer_is_its_process_and_user(void)
{
    char text[ADDRESS_TEXT_BYTES], want[ADDRESS_TEXT_BYTES];
    struct address_key key, other;
    struct address address = {0};
    int pair[2];

    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    CHECK_INT(address_peer(pair[0], text, &key, NULL), 0);
    (void)snprintf(want, sizeof(want), "unix:pid=%ld,uid=%lu", (long)getpid(), (unsigned long)geteuid());
    CHECK_STR(text, want);
    CHECK_INT(address_peer(pair[1], text, &other, &address), 0);
    CHECK_INT(address.any.sa_family, AF_UNIX);
    CHECK_MEM(key.bytes, other.bytes, sizeof(key.bytes));
    (void)close(pair[0]);
    (void)close(pair[1]);
    CHECK_INT(address_peer(-1, text, NULL, NULL), -EBADF);
}

static const struct check_case cases[] = {
    CHECK_CASE(addresses_are_printed),
    CHECK_CASE(names_are_not_numeric),
    CHECK_CASE(paths_are_bounded),
    CHECK_CASE(other_families_are_refused),
    CHECK_CASE(keys_are_hosts_and_networks),
    CHECK_CASE(addresses_compare),
    CHECK_CASE(a_unix_peer_is_its_process_and_user),
};

CHECK_MAIN(cases)
