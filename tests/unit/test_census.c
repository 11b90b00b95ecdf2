/* SPDX-License-Identifier: MIT */
#include <stdint.h>

#include "check.h"
#include "server/census.h"

static const struct census_limits small = {.connections = 20, .connections_per_address = 6, .handshakes = 16};

static struct census *make(void)
{
    struct census *census = NULL;

    CHECK_INT(census_new(&census), 0);
    return census;
}

static struct address_key key(unsigned host)
{
    struct address address = {0};
    struct address_key key = {{0}};

    address.len = sizeof(address.in);
    address.in.sin_family = AF_INET;
    address.in.sin_addr.s_addr = htonl(0xc0000200u + host);
    address_key(&address, &key);
    return key;
}

static enum census_verdict enter(struct census *census, const struct census_limits *limits, unsigned host,
                                 const char **ret_limit)
{
    struct address_key source = key(host);

    return census_enter(census, limits, &source, ret_limit);
}

static void leave(struct census *census, unsigned host, enum census_verdict verdict, bool authenticated)
{
    struct address_key source = key(host);

    census_leave(census, &source, verdict, authenticated);
}

static void authenticated(struct census *census, unsigned host)
{
    struct address_key source = key(host);

    census_authenticated(census, &source);
}

static void check_counts(struct census *census, unsigned connections, unsigned handshakes)
{
    struct census_counts counts = {0};

    census_count(census, &counts);
    CHECK_INT(counts.connections, connections);
    CHECK_INT(counts.handshakes, handshakes);
}

static void one_address_has_a_share_of_the_handshakes(void)
{
    struct census *census = make();
    const char *limit = NULL;

    CHECK_INT(enter(census, &small, 1, &limit), CENSUS_WELCOME);
    CHECK_INT(enter(census, &small, 1, &limit), CENSUS_WELCOME);
    CHECK(limit == NULL);
    CHECK_INT(enter(census, &small, 1, &limit), CENSUS_REFUSE);
    CHECK_STR(limit, "max_handshakes of one address");
    CHECK_INT(enter(census, &small, 2, &limit), CENSUS_WELCOME);
    check_counts(census, 3, 3);
    authenticated(census, 1);
    CHECK_INT(enter(census, &small, 1, &limit), CENSUS_WELCOME);
    check_counts(census, 4, 3);
    census_free(census);
}

static enum census_verdict name(struct census *census, unsigned host, const char **ret_limit)
{
    struct address_key source = key(host);

    return census_name(census, &small, &source, ret_limit);
}

/* Without an address only totals count; with one its share does, and what is refused then has left the totals. */
static void one_without_an_address_is_judged_twice(void)
{
    struct census *census = make();
    struct census_totals totals = {0};
    const char *limit = NULL;

    for (unsigned i = 0; i < small.handshakes; i++) {
        CHECK_INT(census_enter(census, &small, NULL, &limit), CENSUS_WELCOME);
    }
    check_counts(census, small.handshakes, small.handshakes);
    CHECK_INT(census_enter(census, &small, NULL, &limit), CENSUS_REFUSE);
    CHECK_STR(limit, "max_handshakes");
    census_total(census, &totals);
    CHECK_INT(totals.welcome, 0);
    CHECK_INT(name(census, 1, &limit), CENSUS_WELCOME);
    CHECK_INT(name(census, 1, &limit), CENSUS_WELCOME);
    CHECK_INT(name(census, 1, &limit), CENSUS_REFUSE);
    CHECK_STR(limit, "max_handshakes of one address");
    check_counts(census, small.handshakes - 1, small.handshakes - 1);
    census_total(census, &totals);
    CHECK_INT(totals.welcome, 2);
    leave(census, 1, CENSUS_REFUSE, false);
    leave(census, 1, CENSUS_WELCOME, false);
    CHECK_INT(name(census, 1, &limit), CENSUS_WELCOME);
    authenticated(census, 1);
    leave(census, 1, CENSUS_WELCOME, true);
    leave(census, 1, CENSUS_WELCOME, false);
    census_leave(census, NULL, CENSUS_REFUSE, false);
    for (unsigned i = 4; i < small.handshakes; i++) {
        census_leave(census, NULL, CENSUS_WELCOME, false);
    }
    check_counts(census, 0, 0);
    census_free(census);
}

static void a_tiny_limit_lets_one_in(void)
{
    const struct census_limits tiny = {.connections = 1, .connections_per_address = 1, .handshakes = 1};
    struct census *census = make();
    const char *limit = NULL;

    CHECK_INT(enter(census, &tiny, 1, &limit), CENSUS_WELCOME);
    CHECK_INT(enter(census, &tiny, 1, &limit), CENSUS_REFUSE);
    leave(census, 1, CENSUS_REFUSE, false);
    leave(census, 1, CENSUS_WELCOME, false);
    check_counts(census, 0, 0);
    CHECK_INT(enter(census, &tiny, 1, &limit), CENSUS_WELCOME);
    census_free(census);
}

static void connections_of_an_address_are_bounded(void)
{
    struct census *census = make();
    const char *limit = NULL;

    for (unsigned i = 0; i < small.connections_per_address; i++) {
        CHECK_INT(enter(census, &small, 1, &limit), CENSUS_WELCOME);
        authenticated(census, 1);
    }
    CHECK_INT(enter(census, &small, 1, &limit), CENSUS_REFUSE);
    CHECK_STR(limit, "max_connections_per_address");
    leave(census, 1, CENSUS_WELCOME, true);
    CHECK_INT(enter(census, &small, 1, &limit), CENSUS_WELCOME);
    census_free(census);
}

static void connections_and_handshakes_are_bounded_in_total(void)
{
    struct census *census = make();
    const char *limit = NULL;

    for (unsigned i = 0; i < small.handshakes; i++) {
        CHECK_INT(enter(census, &small, i, &limit), CENSUS_WELCOME);
    }
    CHECK_INT(enter(census, &small, 100, &limit), CENSUS_REFUSE);
    CHECK_STR(limit, "max_handshakes");
    for (unsigned i = 0; i < small.handshakes; i++) {
        authenticated(census, i);
    }
    for (unsigned i = 0; i < small.connections - small.handshakes; i++) {
        CHECK_INT(enter(census, &small, 200 + i, &limit), CENSUS_WELCOME);
    }
    CHECK_INT(enter(census, &small, 300, &limit), CENSUS_REFUSE);
    CHECK_STR(limit, "max_connections");
    check_counts(census, small.connections, small.connections - small.handshakes);
    census_free(census);
}

static void so_many_are_refused_at_once_and_no_more(void)
{
    const struct census_limits closed = {.connections = 1, .connections_per_address = 1, .handshakes = 1};
    struct census *census = make();
    const char *limit = NULL;

    CHECK_INT(enter(census, &closed, 0, &limit), CENSUS_WELCOME);
    for (unsigned i = 0; i < CENSUS_REFUSING_MAX; i++) {
        CHECK_INT(enter(census, &closed, i, &limit), CENSUS_REFUSE);
    }
    CHECK_INT(enter(census, &closed, 1, &limit), CENSUS_CLOSE);
    leave(census, 1, CENSUS_CLOSE, false); /* was not counted */
    CHECK_INT(enter(census, &closed, 1, &limit), CENSUS_CLOSE);
    leave(census, 1, CENSUS_REFUSE, false);
    CHECK_INT(enter(census, &closed, 1, &limit), CENSUS_REFUSE);
    check_counts(census, 1, 1);
    census_free(census);
}

static const struct check_case cases[] = {
    CHECK_CASE(one_address_has_a_share_of_the_handshakes),
    CHECK_CASE(one_without_an_address_is_judged_twice),
    CHECK_CASE(a_tiny_limit_lets_one_in),
    CHECK_CASE(connections_of_an_address_are_bounded),
    CHECK_CASE(connections_and_handshakes_are_bounded_in_total),
    CHECK_CASE(so_many_are_refused_at_once_and_no_more),
};

CHECK_MAIN(cases)
