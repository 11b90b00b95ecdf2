/* SPDX-License-Identifier: MIT */
#include "check.h"
#include "core/stream.h"

/* As good as random: no case was made for it. */
#define FACTOR 0x9e3779b97f4a7c15u

static struct stream_table table;

static struct etcp_stream *begin(void)
{
    struct etcp_stream *stream;

    stream_table_done(&table);
    stream_table_init(&table, false, FACTOR);
    stream = stream_new(&table, NULL, 1, true);
    CHECK(stream != NULL);
    return stream;
}

static unsigned longest_chain(void)
{
    unsigned longest = 0;

    for (uint32_t i = 0; i <= table.mask; i++) {
        unsigned length = 0;

        for (const struct etcp_stream *stream = table.buckets[i]; stream != NULL; stream = stream->next)
            length++;
        longest = length > longest ? length : longest;
    }
    return longest;
}

/* A peer may leave out ids. */
static void nobody_can_choose_ids_that_share_a_bucket(void)
{
    enum { STREAMS = 4096 };

    for (uint32_t stride = 2; stride <= UINT32_MAX / STREAMS; stride *= 2) {
        stream_table_done(&table);
        stream_table_init(&table, false, FACTOR);
        for (uint32_t i = 0; i < STREAMS; i++)
            CHECK(stream_new(&table, NULL, 1 + i * stride, true) != NULL);
        CHECK(longest_chain() < STREAMS / 8);
        for (uint32_t i = 0; i < STREAMS; i++)
            CHECK(stream_find(&table, 1 + i * stride) != NULL);
    }
    stream_table_done(&table);
}

static void stream_rejects_data_past_the_limit(void)
{
    struct etcp_stream *s = begin();

    CHECK(stream_on_data(s, ETCP_WINDOW - 1) == NULL);
    CHECK(stream_on_data(s, 2) != NULL);
    CHECK(stream_on_data(s, 1) == NULL);
    CHECK(stream_on_data(s, 1) != NULL);
    CHECK_INT(s->received, ETCP_WINDOW);
}

static void stream_rejects_data_and_close_after_close(void)
{
    struct etcp_stream *s = begin();

    CHECK(stream_on_close(s) == NULL);
    CHECK(stream_on_data(s, 1) != NULL);
    CHECK(stream_on_close(s) != NULL);
    CHECK(!s->ended);
    stream_close_local(s);
    CHECK(s->ended);
}

/* The frame that closes may be what a connection has no memory for: then the connection's end has ended the stream. */
static void stream_that_has_ended_stays_so(void)
{
    struct etcp_stream *s = begin();

    s->ended = true;
    stream_close_local(s);
    CHECK(s->ended);
    CHECK(stream_credit(s) == 0);
}

static void stream_rejects_credit_that_breaks_a_rule(void)
{
    struct etcp_stream *s = begin();
    bool more = false;

    s->sent = 1000;
    CHECK(stream_on_credit(s, 1001, ETCP_WINDOW + 5000, &more) != NULL);
    CHECK(stream_on_credit(s, 0, ETCP_WINDOW - 1, &more) != NULL);
    CHECK(stream_on_credit(s, 500, ETCP_WINDOW + 500, &more) == NULL);
    CHECK(more);
    CHECK(stream_on_credit(s, 499, ETCP_WINDOW + 600, &more) != NULL);
    CHECK(stream_on_credit(s, 600, ETCP_WINDOW + 499, &more) != NULL);
    CHECK_INT(s->send_limit, ETCP_WINDOW + 500);
    CHECK(stream_on_credit(s, 500, ETCP_WINDOW + 500, &more) == NULL);
    CHECK(!more);
    CHECK(stream_on_credit(s, 1000, INT64_MAX, &more) == NULL);
    CHECK(more);
    CHECK(stream_credit(s) == (uint64_t)INT64_MAX - 1000);
}

static void stream_gives_credit_at_half_a_window(void)
{
    struct etcp_stream *s = begin();

    CHECK(!stream_consume(s, 100));
    CHECK_INT(s->consumed, 0); /* nothing had been received */
    CHECK(stream_on_data(s, ETCP_WINDOW) == NULL);
    CHECK(!stream_consume(s, ETCP_WINDOW / 2 - 1));
    CHECK(stream_consume(s, 1));
    CHECK_INT(s->receive_limit, ETCP_WINDOW + ETCP_WINDOW / 2);
    CHECK(stream_on_data(s, ETCP_WINDOW / 2) == NULL);
    CHECK(stream_on_data(s, 1) != NULL);
    CHECK(stream_consume(s, SIZE_MAX));
    CHECK_INT(s->consumed, s->received);
    CHECK_INT(s->receive_limit, s->received + ETCP_WINDOW);
}

static void stream_window_grows_and_never_takes_back(void)
{
    struct etcp_stream *s = begin();

    s->window = 4 * ETCP_WINDOW;
    CHECK(stream_on_data(s, 1) == NULL);
    CHECK(stream_consume(s, 1));
    CHECK_INT(s->receive_limit, 4 * ETCP_WINDOW + 1);
    CHECK(stream_on_data(s, 3 * ETCP_WINDOW) == NULL);
    s->window = ETCP_WINDOW;
    CHECK(!stream_consume(s, 3 * ETCP_WINDOW)); /* what is allowed is more than the window still */
    CHECK_INT(s->receive_limit, 4 * ETCP_WINDOW + 1);
    CHECK(stream_on_data(s, ETCP_WINDOW) == NULL);
    CHECK(stream_on_data(s, 1) != NULL);
    CHECK(stream_consume(s, ETCP_WINDOW));
    CHECK_INT(s->receive_limit, 5 * ETCP_WINDOW + 1);
}

static void stream_gives_no_credit_to_a_side_that_has_closed(void)
{
    struct etcp_stream *s = begin();

    CHECK(stream_on_data(s, ETCP_WINDOW) == NULL);
    CHECK(stream_on_close(s) == NULL);
    CHECK(!stream_consume(s, ETCP_WINDOW));
}

static void stream_that_closed_has_no_credit(void)
{
    struct etcp_stream *s = begin();

    CHECK_INT(stream_credit(s), ETCP_WINDOW);
    s->sent = 10;
    CHECK_INT(stream_credit(s), ETCP_WINDOW - 10);
    stream_close_local(s);
    CHECK_INT(stream_credit(s), 0);
}

static void stream_ids_of_the_wrong_side_or_order(void)
{
    (void)begin();
    CHECK(stream_check_open(&table, 2) != NULL);
    CHECK(stream_check_open(&table, 1) != NULL);
    CHECK(stream_check_open(&table, 3) == NULL);
    CHECK(stream_new(&table, NULL, 9, true) != NULL);
    CHECK(stream_check_open(&table, 3) != NULL);
    CHECK(stream_check_open(&table, 11) == NULL);
    CHECK(stream_check_open(&table, UINT32_MAX) == NULL);
}

static void stream_ids_that_are_absent(void)
{
    (void)begin();
    CHECK(stream_check_absent(&table, 3) != NULL);
    CHECK(stream_check_absent(&table, 2) != NULL);
    CHECK(stream_new(&table, NULL, 7, true) != NULL);
    CHECK(stream_check_absent(&table, 3) == NULL); /* a gap: ended */
    CHECK(stream_check_absent(&table, 9) != NULL);
    CHECK(stream_new(&table, NULL, 2, false) != NULL);
    CHECK(stream_check_absent(&table, 2) == NULL);
    CHECK(stream_check_absent(&table, 4) != NULL);
}

static void stream_ids_run_out(void)
{
    struct stream_table own;

    for (int odd = 0; odd < 2; odd++) {
        stream_table_init(&own, odd == 1, FACTOR);
        CHECK_INT(stream_next_own(&own), odd == 1 ? 1 : 2);
        own.own_last = odd == 1 ? UINT32_MAX - 2 : UINT32_MAX - 3;
        CHECK_INT(stream_next_own(&own), odd == 1 ? UINT32_MAX : UINT32_MAX - 1);
        own.own_last = odd == 1 ? UINT32_MAX : UINT32_MAX - 1;
        CHECK_INT(stream_next_own(&own), 0);
        stream_table_done(&own);
    }
}

static unsigned visited;

static void visit(struct etcp_stream *stream)
{
    visited += stream->id;
}

static void stream_table_finds_all_and_only_what_is_there(void)
{
    unsigned sum = 0;

    stream_table_done(&table);
    stream_table_init(&table, true, FACTOR);
    for (uint32_t id = 2; id <= 2000; id += 2) {
        CHECK(stream_new(&table, NULL, id, true) != NULL);
    }
    CHECK(stream_new(&table, NULL, 1, false) != NULL);
    CHECK_INT(table.count, 1001);
    CHECK_INT(table.peer_count, 1000);
    for (uint32_t id = 0; id < 2100; id++) {
        struct etcp_stream *s = stream_find(&table, id);

        CHECK_INT(s != NULL, id == 1 || (id >= 2 && id <= 2000 && id % 2 == 0));
        CHECK(s == NULL || s->id == id);
    }
    for (uint32_t id = 4; id <= 2000; id += 4) {
        stream_free(&table, stream_find(&table, id));
        CHECK(stream_find(&table, id) == NULL);
        CHECK(stream_find(&table, id - 2) != NULL);
    }
    CHECK_INT(table.peer_count, 500);
    for (uint32_t id = 2; id <= 2000; id += 4) {
        sum += id;
    }
    visited = 0;
    stream_each(&table, visit);
    CHECK_INT(visited, sum + 1);
    for (uint32_t id = 2; id <= 2000; id += 4) {
        stream_free(&table, stream_find(&table, id));
    }
    stream_free(&table, stream_find(&table, 1));
    CHECK_INT(table.count, 0);
    CHECK(stream_new(&table, NULL, 2002, true) != NULL);
    CHECK(stream_find(&table, 2002) != NULL);
}

static const struct check_case cases[] = {
    CHECK_CASE(nobody_can_choose_ids_that_share_a_bucket),
    CHECK_CASE(stream_that_has_ended_stays_so),
    CHECK_CASE(stream_rejects_data_past_the_limit),
    CHECK_CASE(stream_rejects_data_and_close_after_close),
    CHECK_CASE(stream_rejects_credit_that_breaks_a_rule),
    CHECK_CASE(stream_gives_credit_at_half_a_window),
    CHECK_CASE(stream_window_grows_and_never_takes_back),
    CHECK_CASE(stream_gives_no_credit_to_a_side_that_has_closed),
    CHECK_CASE(stream_that_closed_has_no_credit),
    CHECK_CASE(stream_ids_of_the_wrong_side_or_order),
    CHECK_CASE(stream_ids_that_are_absent),
    CHECK_CASE(stream_ids_run_out),
    CHECK_CASE(stream_table_finds_all_and_only_what_is_there),
};

int main(int argc, char **argv)
{
    int result;

    stream_table_init(&table, false, FACTOR);
    result = check_run(cases, CHECK_COUNT(cases), argc, argv);
    stream_table_done(&table);
    return result;
}
