/* SPDX-License-Identifier: MIT
 *
 * The rules of sections 3 and 4 against a peer that says anything. */
#include "check.h"
#include "core/conn.h"
#include "fixed.h"
#include "scripted.h"
#include "served.h"

/* ---- Rules that a peer breaks ----------------------------------------------------------------------------------------- */

static void conn_rejects_streams_of_the_wrong_side(void)
{
    begin();
    scripted_say_open(&s, 4, "echo");
    broken();
}

static void conn_rejects_streams_opened_twice_or_descending(void)
{
    begin();
    scripted_say_open(&s, 3, "echo");
    broken();
    begin();
    scripted_say_open(&s, 9, "echo");
    scripted_say_open(&s, 7, "echo");
    broken();
}

static void conn_rejects_frames_for_streams_never_opened(void)
{
    begin();
    scripted_say_data(&s, 5, 1);
    broken();
    begin();
    scripted_say_data(&s, 2, 1);
    broken();
    begin();
    scripted_say_frame(&s, CLOSE, 0xffffffff, NULL, 0);
    broken();
    begin();
    scripted_say_credit(&s, 5, 0, ETCP_WINDOW);
    broken();
    begin();
    scripted_say_code(&s, ERROR, 5, 5, "");
    broken();
}

/* Form comes first: also where the frame would have been dropped. */
static void conn_rejects_malformed_frames_for_ended_streams(void)
{
    begin();
    scripted_say_code(&s, ERROR, 1, ETCP_CODE_RESET, "");
    scripted_say_data(&s, 1, 10);
    scripted_say_frame(&s, CLOSE, 1, NULL, 0);
    scripted_say_credit(&s, 1, 0, 0);
    scripted_say_code(&s, ERROR, 1, 5, "again");
    CHECK_INT(s.end.error, 0);
    scripted_say_data(&s, 1, 0);
    broken();
    begin();
    scripted_say_code(&s, ERROR, 1, ETCP_CODE_RESET, "");
    scripted_say_frame(&s, CLOSE, 1, "x", 1);
    broken();
}

static void conn_rejects_data_past_the_limit_also_across_credit(void)
{
    begin();
    for (int i = 0; i < 4; i++) {
        scripted_say_data(&s, 3, 65000);
    }
    scripted_say_data(&s, 3, ETCP_WINDOW - 4 * 65000);
    CHECK_INT(s.end.error, 0);
    CHECK_INT(end_find(&s.end, 3)->total, ETCP_WINDOW);
    scripted_say_data(&s, 3, 1);
    CHECK_INT(end_find(&s.end, 3)->total, ETCP_WINDOW);
    broken();
}

static void conn_rejects_credit_for_what_was_not_sent(void)
{
    begin();
    scripted_say_data(&s, 1, 10);
    scripted_expect(&s, DATA, 1);
    scripted_say_credit(&s, 1, 10, ETCP_WINDOW + 10);
    CHECK_INT(s.end.error, 0);
    scripted_say_credit(&s, 1, 11, ETCP_WINDOW + 11);
    broken();
}

static void conn_rejects_credit_that_goes_down(void)
{
    begin();
    scripted_say_credit(&s, 1, 0, ETCP_WINDOW + 10);
    scripted_say_credit(&s, 1, 0, ETCP_WINDOW + 10);
    CHECK_INT(s.end.error, 0);
    CHECK_INT(s.end.credits, 1);
    scripted_say_credit(&s, 1, 0, ETCP_WINDOW + 9);
    broken();
    begin();
    scripted_say_data(&s, 1, 10);
    scripted_say_credit(&s, 1, 5, ETCP_WINDOW + 10);
    scripted_say_credit(&s, 1, 4, ETCP_WINDOW + 10);
    broken();
}

static void conn_rejects_credit_at_two_to_the_63rd(void)
{
    begin();
    scripted_say_credit(&s, 1, 0, INT64_MAX);
    CHECK_INT(s.end.error, 0);
    CHECK(etcp_stream_writable(end_find(&s.end, 1)->stream) == (size_t)INT64_MAX);
    scripted_say_credit(&s, 1, 0, (uint64_t)INT64_MAX + 1);
    broken();
}

static void conn_rejects_what_follows_a_close(void)
{
    begin();
    scripted_say_frame(&s, CLOSE, 3, NULL, 0);
    scripted_say_credit(&s, 3, 0, ETCP_WINDOW + 1);
    CHECK_INT(s.end.error, 0);
    scripted_say_data(&s, 3, 1);
    broken();
    begin();
    scripted_say_frame(&s, CLOSE, 3, NULL, 0);
    scripted_say_frame(&s, CLOSE, 3, NULL, 0);
    broken();
    /* An error may still come, and is no answer to anything. */
    begin();
    scripted_say_frame(&s, CLOSE, 3, NULL, 0);
    scripted_say_code(&s, ERROR, 3, ETCP_CODE_CONNECT_FAILED, "gone");
    CHECK_INT(s.end.error, 0);
    scripted_expect_nothing(&s);
    end();
}

static void conn_rejects_the_same_from_a_server(void)
{
    scripted_init(&s, SUITE, ETCP_AGENT, NULL);
    scripted_say_open(&s, 2, "echo");
    CHECK_INT(s.end.error, 0);
    scripted_say_open(&s, 3, "echo");
    broken();
    scripted_init(&s, SUITE, ETCP_AGENT, NULL);
    scripted_say_data(&s, 1, 1);
    broken();
}

/* Every byte of a record is the peer's choice; the plaintext may be anything of 5 bytes and more. */
static void conn_reasons_name_each_rule(void)
{
    static const uint8_t frames[][6] = {{0x00},  {0x7f},      {OPEN},   {CLOSE},  {DATA},
                                        {ERROR}, {HEARTBEAT}, {CREDIT}, {GOODBYE}};

    for (size_t i = 0; i < CHECK_COUNT(frames); i++) {
        begin();
        scripted_say(&s, frames[i], 5);
        broken();
    }
}

/* ---- What a peer may do ------------------------------------------------------------------------------------------------- */

static void conn_answers_asks_ahead_of_data(void)
{
    struct etcp_stream *stream;
    uint8_t out[256];
    size_t used = 0, len = 0;

    begin();
    stream = end_find(&s.end, 3)->stream;
    s.end.no_drain = true;
    scripted_say_heartbeat(&s, 0, 77);
    CHECK_INT(etcp_stream_seal(stream, out, 10), ETCP_EAGAIN);
    CHECK_INT(etcp_stream_send(stream, (const uint8_t *)"data", 4, 0, out, sizeof(out), &used, &len), 0);
    CHECK_INT(used, 4);
    end_bytes_add(&s.end.out, out, len);
    s.end.no_drain = false;
    scripted_expect(&s, HEARTBEAT, 0);
    CHECK_INT(s.plain[5], 1);
    CHECK_INT(s.plain[13], 77);
    scripted_expect(&s, DATA, 3);
    end();
}

static void conn_ignores_answers_that_nobody_asked_for(void)
{
    begin();
    scripted_say_heartbeat(&s, 1, 0);
    CHECK_INT(etcp_conn_ping(s.end.conn, 0), 0);
    scripted_expect(&s, HEARTBEAT, 0);
    scripted_say_heartbeat(&s, 1, 0xdeadbeef);
    CHECK_INT(s.end.pongs, 0);
    CHECK_INT(etcp_conn_ping(s.end.conn, 0), ETCP_EAGAIN);
    s.plain[5] = 1;
    scripted_say(&s, s.plain, s.plain_len);
    CHECK_INT(s.end.pongs, 1);
    scripted_say(&s, s.plain, s.plain_len);
    CHECK_INT(s.end.pongs, 1);
    CHECK_INT(s.end.error, 0);
    end();
}

static void conn_treats_unknown_codes_as_internal(void)
{
    begin();
    scripted_say_code(&s, ERROR, 1, 999, "\xff\xfe not UTF-8");
    CHECK(strstr((char *)end_find(&s.end, 1)->transcript.data, "error 9 ") != NULL);
    scripted_say_code(&s, GOODBYE, 0, 10, "");
    CHECK(s.end.ended);
    CHECK_INT(s.end.end_code, ETCP_CODE_INTERNAL);
    scripted_expect_nothing(&s); /* Goodbye is not answered */
    end();
}

static void conn_gives_reasons_as_they_came(void)
{
    char reason[256];

    memset(reason, 'r', 255);
    reason[255] = '\0';
    begin();
    scripted_say_code(&s, ERROR, 1, 5, reason);
    CHECK_INT(s.end.error, 0);
    CHECK(strstr((char *)end_find(&s.end, 1)->transcript.data, reason) != NULL);
    end();
}

static void conn_says_goodbye_once_and_cuts_its_reason(void)
{
    char reason[400];

    memset(reason, 'x', sizeof(reason));
    memcpy(reason + 254, "\xc3\xa4", 2); /* a character across the limit */
    reason[399] = '\0';
    begin();
    etcp_conn_goodbye(s.end.conn, ETCP_CODE_LIMIT, reason);
    etcp_conn_goodbye(s.end.conn, ETCP_CODE_OK, NULL);
    scripted_expect_code(&s, GOODBYE, 0, ETCP_CODE_LIMIT);
    CHECK_INT(s.plain_len, 7 + 254);
    scripted_expect_nothing(&s);
    CHECK_INT(etcp_conn_eof(s.end.conn), 0);
    end();
}

static void conn_refuses_streams_while_it_shuts_down(void)
{
    begin();
    etcp_conn_shutdown(s.end.conn, "later");
    scripted_expect_code(&s, GOODBYE, 0, ETCP_CODE_SHUTTING_DOWN);
    scripted_say_open(&s, 5, "echo");
    scripted_expect_code(&s, ERROR, 5, ETCP_CODE_SHUTTING_DOWN);
    scripted_say_data(&s, 5, 10);
    scripted_say_data(&s, 1, 10);
    scripted_expect(&s, DATA, 1);
    CHECK_INT(s.end.error, 0);
    scripted_say_code(&s, ERROR, 1, 5, "");
    scripted_expect_nothing(&s);
    scripted_say_code(&s, ERROR, 3, 5, "");
    scripted_expect_code(&s, GOODBYE, 0, ETCP_CODE_OK);
    CHECK(etcp_conn_closing(s.end.conn));
    end();
}

/* Both sides finish what is open; that holds for the one that has announced the end as well. */
static void conn_refuses_streams_of_a_peer_that_shuts_down(void)
{
    struct etcp_stream *stream = NULL;

    begin();
    scripted_say_code(&s, GOODBYE, 0, ETCP_CODE_SHUTTING_DOWN, "soon");
    CHECK(!s.end.ended);
    scripted_say_open(&s, 5, "echo");
    scripted_expect_code(&s, ERROR, 5, ETCP_CODE_SHUTTING_DOWN);
    CHECK_INT(etcp_stream_open(s.end.conn, "echo", NULL, &stream), ETCP_ECLOSED);
    scripted_say_data(&s, 1, 10);
    scripted_expect(&s, DATA, 1);
    scripted_say_code(&s, GOODBYE, 0, ETCP_CODE_SHUTTING_DOWN, "now");
    CHECK(s.end.ended);
    CHECK_INT(s.end.end_code, ETCP_CODE_SHUTTING_DOWN);
    end();
}

static void conn_says_nothing_after_the_peers_goodbye(void)
{
    begin();
    s.end.no_drain = true;
    scripted_say_heartbeat(&s, 0, 1);
    CHECK(etcp_conn_pending(s.end.conn) > 0);
    scripted_say_code(&s, GOODBYE, 0, ETCP_CODE_OK, "");
    CHECK(s.end.ended);
    CHECK_INT(etcp_conn_pending(s.end.conn), 0);
    end();
}

/* ---- Shutting down before the handshake is over ------------------------------------------------------------------------ */

static const int shutdown_suites[] = {ETCP_SUITE_CHACHA20POLY1305, ETCP_SUITE_CHACHA20POLY1305_NETWORK};

static struct etcp_conn *shutting_down_server(struct etcp_pool *pool, int suite)
{
    struct etcp_conn *conn = fixed_conn(pool, demo_find(suite), ETCP_SERVER, NULL, 0);

    etcp_conn_shutdown(conn, "bye");
    CHECK(!etcp_conn_closing(conn));
    CHECK_INT(etcp_conn_pending(conn), 0);
    return conn;
}

/* Feeds a packet of a handshake; returns what feed says. */
static int feed_packet(struct etcp_conn *conn, const uint8_t *packet, size_t len)
{
    uint8_t in[105];
    size_t used = 0;

    memcpy(in, packet, len);
    return etcp_conn_feed(conn, in, len, 0, &used);
}

static void conn_that_shuts_down_refuses_a_request(void)
{
    for (size_t i = 0; i < 2; i++) {
        const struct demo *demo = demo_find(shutdown_suites[i]);
        struct etcp_pool *pool = NULL;
        struct etcp_conn *conn;
        uint8_t out[ETCP_DRAIN_MIN];

        CHECK_INT(etcp_pool_new(&pool), 0);
        conn = shutting_down_server(pool, demo->suite);
        CHECK_INT(feed_packet(conn, demo->packet[0], 34), 0);
        CHECK_INT(etcp_conn_pending(conn), 0);
        CHECK_INT(feed_packet(conn, demo->packet[0] + 34, demo->packet_len[0] - 34), ETCP_EBUSY);
        CHECK(etcp_conn_closing(conn));
        CHECK_INT(etcp_conn_drain(conn, out, sizeof(out)), 2);
        CHECK_INT(out[0], PACKET_REFUSAL);
        CHECK_INT(out[1], ETCP_REFUSAL_SHUTTING_DOWN);
        etcp_conn_free(conn);
        etcp_pool_free(pool);
    }
}

/* Whoever does not hold the network key does not learn either that the server is about to go. */
static void conn_that_shuts_down_stays_silent_towards_strangers(void)
{
    const struct demo *demo = demo_find(ETCP_SUITE_CHACHA20POLY1305_NETWORK);
    struct etcp_pool *pool = NULL;
    struct etcp_conn *conn;
    uint8_t request[105];

    CHECK_INT(etcp_pool_new(&pool), 0);
    conn = shutting_down_server(pool, demo->suite);
    memcpy(request, demo->packet[0], sizeof(request));
    request[57] ^= 1;
    CHECK_INT(feed_packet(conn, request, demo->packet_len[0]), ETCP_EHANDSHAKE);
    CHECK_INT(etcp_conn_pending(conn), 0);
    etcp_conn_free(conn);
    conn = shutting_down_server(pool, demo->suite);
    CHECK_INT(feed_packet(conn, demo_find(ETCP_SUITE_CHACHA20POLY1305)->packet[0], 42), ETCP_ESUITE);
    CHECK_INT(etcp_conn_pending(conn), 0);
    etcp_conn_free(conn);
    etcp_pool_free(pool);
}

/* An agent that has its answer is told in an orderly way, when it has come in. */
static void conn_that_shuts_down_finishes_a_handshake(void)
{
    const struct demo *demo = demo_find(SUITE);
    struct etcp_pool *pool = NULL;
    struct etcp_event event;
    struct etcp_conn *conn;
    uint8_t out[ETCP_DRAIN_MIN];

    CHECK_INT(etcp_pool_new(&pool), 0);
    conn = fixed_conn(pool, demo, ETCP_SERVER, NULL, 0);
    CHECK_INT(feed_packet(conn, demo->packet[0], demo->packet_len[0]), 0);
    CHECK_INT(etcp_conn_drain(conn, out, sizeof(out)), demo->packet_len[1]);
    etcp_conn_shutdown(conn, "bye");
    CHECK(!etcp_conn_closing(conn));
    CHECK_INT(feed_packet(conn, demo->packet[2], demo->packet_len[2]), 0);
    CHECK(etcp_conn_next(conn, &event) && event.type == ETCP_EVENT_PEER);
    etcp_conn_shutdown(conn, "bye"); /* also while the decision is due */
    CHECK(!etcp_conn_closing(conn));
    CHECK_INT(etcp_conn_accept(conn, 0), 0);
    CHECK(etcp_conn_ready(conn));
    etcp_conn_shutdown(conn, "bye");
    CHECK(etcp_conn_closing(conn));
    CHECK(etcp_conn_pending(conn) > 0);
    CHECK_INT(etcp_conn_eof(conn), 0);
    etcp_conn_free(conn);
    etcp_pool_free(pool);
}

/* It still has its deadline. */
static void conn_that_shuts_down_does_not_wait_for_ever(void)
{
    struct etcp_pool *pool = NULL;
    struct etcp_conn *conn;

    CHECK_INT(etcp_pool_new(&pool), 0);
    conn = shutting_down_server(pool, SUITE);
    CHECK_INT(etcp_conn_tick(conn, etcp_conn_deadline(conn)), ETCP_ETIMEDOUT);
    etcp_conn_free(conn);
    etcp_pool_free(pool);
}

static void agent_that_shuts_down_ends_its_handshake(void)
{
    struct etcp_pool *pool = NULL;
    struct etcp_conn *conn;

    CHECK_INT(etcp_pool_new(&pool), 0);
    conn = fixed_conn(pool, demo_find(SUITE), ETCP_AGENT, NULL, 0);
    etcp_conn_shutdown(conn, "bye");
    CHECK(etcp_conn_closing(conn));
    CHECK_INT(etcp_conn_pending(conn), 0);
    etcp_conn_free(conn);
    etcp_pool_free(pool);
}

/* ---- Records ------------------------------------------------------------------------------------------------------------- */

/* A record that fails ends everything, with nothing said; what came before in the same piece is processed. */
static void conn_closes_silently_on_a_bad_record(void)
{
    uint8_t wire[256], plain[32];
    size_t good, len;

    begin();
    good = raw_seal(&s.say, plain, raw_heartbeat_frame(plain, 0, 5), wire);
    len = good + raw_seal(&s.say, plain, raw_heartbeat_frame(plain, 0, 6), wire + good);
    wire[len - 1] ^= 1;
    end_feed(&s.end, wire, len);
    CHECK_INT(s.end.error, ETCP_ERECORD);
    scripted_expect(&s, HEARTBEAT, 0);
    scripted_expect_nothing(&s);
    CHECK_INT(etcp_conn_eof(s.end.conn), ETCP_ECLOSED);
    end();
}

static void conn_judges_a_head_without_waiting(void)
{
    static const uint8_t lengths[][4] = {{0, 0, 0, 20}, {0, 1, 0, 0}, {0xff, 0xff, 0xff, 0xff}, {0, 0, 0, 0}};
    uint8_t head[16] = {0, 0, 0xff, 0xff};

    for (size_t i = 0; i < CHECK_COUNT(lengths); i++) {
        begin();
        end_feed(&s.end, lengths[i], 4);
        CHECK_INT(s.end.error, ETCP_ERECORD);
        end();
    }
    begin();
    end_feed(&s.end, head, 15);
    CHECK_INT(s.end.error, 0);
    end_feed(&s.end, head + 15, 1);
    CHECK_INT(s.end.error, ETCP_ERECORD); /* the nonce is 0, and 2 were used */
    end();
}

static const struct check_case cases[] = {
    CHECK_CASE(conn_rejects_streams_of_the_wrong_side),
    CHECK_CASE(conn_rejects_streams_opened_twice_or_descending),
    CHECK_CASE(conn_rejects_frames_for_streams_never_opened),
    CHECK_CASE(conn_rejects_malformed_frames_for_ended_streams),
    CHECK_CASE(conn_rejects_data_past_the_limit_also_across_credit),
    CHECK_CASE(conn_rejects_credit_for_what_was_not_sent),
    CHECK_CASE(conn_rejects_credit_that_goes_down),
    CHECK_CASE(conn_rejects_credit_at_two_to_the_63rd),
    CHECK_CASE(conn_rejects_what_follows_a_close),
    CHECK_CASE(conn_rejects_the_same_from_a_server),
    CHECK_CASE(conn_reasons_name_each_rule),
    CHECK_CASE(conn_answers_asks_ahead_of_data),
    CHECK_CASE(conn_ignores_answers_that_nobody_asked_for),
    CHECK_CASE(conn_treats_unknown_codes_as_internal),
    CHECK_CASE(conn_gives_reasons_as_they_came),
    CHECK_CASE(conn_says_goodbye_once_and_cuts_its_reason),
    CHECK_CASE(conn_refuses_streams_while_it_shuts_down),
    CHECK_CASE(conn_refuses_streams_of_a_peer_that_shuts_down),
    CHECK_CASE(conn_that_shuts_down_refuses_a_request),
    CHECK_CASE(conn_that_shuts_down_stays_silent_towards_strangers),
    CHECK_CASE(conn_that_shuts_down_finishes_a_handshake),
    CHECK_CASE(conn_that_shuts_down_does_not_wait_for_ever),
    CHECK_CASE(agent_that_shuts_down_ends_its_handshake),
    CHECK_CASE(conn_says_nothing_after_the_peers_goodbye),
    CHECK_CASE(conn_closes_silently_on_a_bad_record),
    CHECK_CASE(conn_judges_a_head_without_waiting),
};

int main(int argc, char **argv)
{
    CHECK_INT(etcp_init(), 0);
    return check_run(cases, CHECK_COUNT(cases), argc, argv);
}
