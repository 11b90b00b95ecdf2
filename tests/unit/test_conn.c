/* SPDX-License-Identifier: MIT
 *
 * The rules of sections 3 and 4 against a peer that says anything, and the contracts of etcp/conn.h. */
#include "check.h"
#include "core/conn.h"
#include "fixed.h"
#include "scripted.h"

enum {
    SUITE = ETCP_SUITE_CHACHA20POLY1305,
    OPEN = 0x03,
    CLOSE = 0x04,
    DATA = 0x05,
    ERROR = 0x06,
    HEARTBEAT = 0x07,
    CREDIT = 0x09,
    GOODBYE = 0x0A,
};

static struct scripted s;

/* A server with the streams 1 (echo) and 3 (hold). */
static void begin(void)
{
    scripted_init(&s, SUITE, ETCP_SERVER, NULL);
    scripted_say_open(&s, 1, "echo");
    scripted_say_open(&s, 3, "hold");
    scripted_expect_nothing(&s);
}

static void end(void)
{
    scripted_done(&s);
}

static void broken(void)
{
    scripted_expect_broken(&s);
    end();
}

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

/* ---- Contracts ------------------------------------------------------------------------------------------------------------ */

static void conn_takes_nothing_while_a_decision_is_due(void)
{
    struct scripted *u = &s;
    uint8_t record[256], plain[32];
    size_t used = 99, len;

    scripted_init_undecided(u, SUITE, ETCP_SERVER);
    CHECK(!etcp_conn_wants_input(u->end.conn));
    CHECK(!etcp_conn_ready(u->end.conn) && !etcp_conn_closing(u->end.conn));
    len = raw_seal(&u->say, plain, raw_heartbeat_frame(plain, 0, 9), record);
    CHECK_INT(etcp_conn_feed(u->end.conn, record, len, 0, &used), 0);
    CHECK_INT(used, 0);
    CHECK_INT(etcp_conn_accept(u->end.conn, 0), 0);
    CHECK_INT(etcp_conn_accept(u->end.conn, 0), ETCP_EINVAL);
    end_feed(&u->end, record, len);
    scripted_expect(u, HEARTBEAT, 0);
    CHECK(u->end.up);
    scripted_done(u);
}

static void conn_rejected_agent_is_told_why(void)
{
    scripted_init_undecided(&s, SUITE, ETCP_SERVER);
    etcp_conn_reject(s.end.conn, "who are you");
    scripted_expect_code(&s, GOODBYE, 0, ETCP_CODE_UNAUTHORIZED);
    CHECK_MEM(s.plain + 7, "who are you", 11);
    scripted_expect_nothing(&s);
    CHECK(!s.end.up);
    CHECK(etcp_conn_closing(s.end.conn));
    CHECK_INT(etcp_conn_accept(s.end.conn, 0), ETCP_EINVAL);
    end();
}

static void conn_rejected_server_is_told_nothing(void)
{
    scripted_init_undecided(&s, SUITE, ETCP_AGENT);
    etcp_conn_reject(s.end.conn, "another key");
    scripted_expect_nothing(&s);
    CHECK_INT(etcp_conn_pending(s.end.conn), 0);
    CHECK(etcp_conn_closing(s.end.conn));
    end();
}

static void conn_is_not_ready_before_its_time(void)
{
    struct etcp_stream *stream = NULL;
    struct etcp_pool *pool = NULL;
    struct etcp_conn *conn;

    CHECK_INT(etcp_pool_new(&pool), 0);
    conn = fixed_conn(pool, demo_find(SUITE), ETCP_AGENT, NULL, 0);
    CHECK_INT(etcp_stream_open(conn, "echo", NULL, &stream), ETCP_ECLOSED);
    CHECK_INT(etcp_conn_ping(conn, 0), ETCP_ECLOSED);
    CHECK_INT(etcp_conn_accept(conn, 0), ETCP_EINVAL);
    CHECK(etcp_conn_peer_key(conn) == NULL);
    CHECK(etcp_conn_error(conn) == NULL);
    etcp_conn_reject(conn, "too early");
    CHECK(!etcp_conn_closing(conn));
    etcp_conn_goodbye(conn, ETCP_CODE_OK, NULL);
    CHECK(etcp_conn_closing(conn));
    CHECK_INT(etcp_conn_pending(conn), 0);
    etcp_conn_free(conn);
    etcp_conn_free(NULL);
    etcp_pool_free(pool);
}

static void conn_an_early_end_of_file_is_no_truncation(void)
{
    struct etcp_pool *pool = NULL;
    struct etcp_conn *conn;

    CHECK_INT(etcp_pool_new(&pool), 0);
    conn = fixed_conn(pool, demo_find(SUITE), ETCP_SERVER, NULL, 0);
    CHECK_INT(etcp_conn_eof(conn), ETCP_EHANDSHAKE);
    CHECK_INT(etcp_conn_eof(conn), ETCP_ECLOSED);
    etcp_conn_free(conn);
    etcp_pool_free(pool);
    /* An agent that has authenticated and has heard nothing is not up. */
    scripted_init(&s, SUITE, ETCP_AGENT, NULL);
    CHECK(!s.end.up);
    CHECK_INT(etcp_conn_eof(s.end.conn), ETCP_EHANDSHAKE);
    end();
    scripted_init(&s, SUITE, ETCP_AGENT, NULL);
    scripted_say_heartbeat(&s, 0, 1);
    CHECK(s.end.up);
    CHECK_INT(etcp_conn_eof(s.end.conn), ETCP_ETRUNCATED);
    end();
}

static void conn_drain_needs_room_for_one(void)
{
    uint8_t out[ETCP_DRAIN_MIN];
    struct etcp_pool *pool = NULL;
    struct etcp_conn *conn;

    CHECK_INT(etcp_pool_new(&pool), 0);
    conn = fixed_conn(pool, demo_find(SUITE), ETCP_AGENT, NULL, 0);
    CHECK_INT(etcp_conn_pending(conn), 42);
    CHECK_INT(etcp_conn_drain(conn, out, 41), 0);
    CHECK_INT(etcp_conn_drain(conn, out, 42), 42);
    CHECK_INT(etcp_conn_drain(conn, out, sizeof(out)), 0);
    CHECK_INT(etcp_conn_pending(conn), 0);
    etcp_conn_free(conn);
    etcp_pool_free(pool);
}

static void conn_drain_gives_whole_records(void)
{
    uint8_t out[ETCP_DRAIN_MIN];
    size_t len;

    begin();
    s.end.no_drain = true;
    for (uint64_t i = 0; i < 100; i++) {
        scripted_say_heartbeat(&s, 0, i);
    }
    CHECK_INT(etcp_conn_pending(s.end.conn), 100 * 46);
    CHECK_INT(etcp_conn_drain(s.end.conn, out, 45), 0);
    for (size_t size = 46; (len = etcp_conn_drain(s.end.conn, out, size)) > 0; size = 46 + size % (sizeof(out) - 46)) {
        CHECK_INT(len % 46, 0);
        end_bytes_add(&s.end.out, out, len);
    }
    for (unsigned i = 0; i < 100; i++) {
        scripted_expect(&s, HEARTBEAT, 0);
        CHECK_INT(s.plain[13], i);
    }
    s.end.no_drain = false;
    scripted_expect_nothing(&s);
    end();
}

static void stream_open_says_what_it_was_told(void)
{
    static const struct etcp_origin origin = {.family = 4, .address = {10, 1, 2, 3}, .port = 0x1234};
    static const struct etcp_origin bad = {.family = 5};
    static const uint8_t want[] = {4, 'e', 'c', 'h', 'o', 1, 7, 4, 10, 1, 2, 3, 0x12, 0x34};
    struct etcp_stream *stream = NULL;

    begin();
    CHECK_INT(etcp_stream_open(s.end.conn, "Echo", NULL, &stream), ETCP_EINVAL);
    CHECK_INT(etcp_stream_open(s.end.conn, "", NULL, &stream), ETCP_EINVAL);
    CHECK_INT(etcp_stream_open(s.end.conn, "echo", &bad, &stream), ETCP_EINVAL);
    CHECK(stream == NULL);
    CHECK_INT(etcp_stream_open(s.end.conn, "echo", &origin, &stream), 0);
    CHECK_INT(etcp_stream_id(stream), 2);
    CHECK(etcp_stream_user(stream) == NULL);
    scripted_expect(&s, OPEN, 2);
    CHECK_INT(s.plain_len, 5 + sizeof(want));
    CHECK_MEM(s.plain + 5, want, sizeof(want));
    CHECK_INT(etcp_stream_open(s.end.conn, "echo", NULL, &stream), 0);
    CHECK_INT(etcp_stream_id(stream), 4);
    CHECK_INT(etcp_conn_streams(s.end.conn), 4);
    end();
}

static void stream_seal_is_all_or_nothing(void)
{
    struct etcp_stream *stream;
    uint8_t *record = calloc(1, ETCP_DATA_HEAD + ETCP_DATA_MAX + 1 + ETCP_TAG), untouched[64];

    CHECK(record != NULL);
    begin();
    stream = end_find(&s.end, 3)->stream;
    memset(record, 0x5a, 64);
    memset(untouched, 0x5a, 64);
    CHECK_INT(etcp_stream_seal(stream, record, 0), ETCP_EINVAL);
    CHECK_INT(etcp_stream_seal(stream, record, ETCP_DATA_MAX + 1), ETCP_EINVAL);
    for (int i = 0; i < 4; i++) {
        CHECK_INT(etcp_stream_seal(stream, record, ETCP_DATA_MAX), 0);
        end_bytes_add(&s.end.out, record, ETCP_DATA_HEAD + ETCP_DATA_MAX + ETCP_TAG);
        scripted_expect(&s, DATA, 3);
        CHECK_INT(s.plain_len, 5 + ETCP_DATA_MAX);
    }
    memset(record, 0x5a, 64);
    CHECK_INT(etcp_stream_writable(stream), ETCP_WINDOW - 4 * ETCP_DATA_MAX);
    CHECK_INT(etcp_stream_seal(stream, record, ETCP_WINDOW - 4 * ETCP_DATA_MAX + 1), ETCP_EAGAIN);
    CHECK_MEM(record, untouched, 64);
    etcp_stream_close(stream);
    CHECK_INT(etcp_stream_seal(stream, record, 1), ETCP_ECLOSED);
    CHECK_INT(etcp_stream_writable(stream), 0);
    CHECK_MEM(record, untouched, 64);
    scripted_expect(&s, CLOSE, 3);
    etcp_stream_close(stream);
    scripted_expect_nothing(&s);
    free(record);
    end();
}

static void stream_send_fits_into_what_there_is(void)
{
    uint8_t data[1000], *out = malloc(1200);
    struct etcp_stream *stream;
    size_t used, len;

    CHECK(out != NULL);
    memset(data, 'd', sizeof(data));
    begin();
    stream = end_find(&s.end, 3)->stream;
    for (size_t size = 0; size < 1200; size += 7) {
        uint8_t *exact = malloc(size > 0 ? size : 1);

        CHECK(exact != NULL);
        CHECK_INT(etcp_stream_send(stream, data, sizeof(data), 100, exact, size, &used, &len), 0);
        CHECK(len <= size);
        CHECK_INT(len, used + (used + 99) / 100 * (ETCP_DATA_HEAD + ETCP_TAG));
        CHECK_INT(used > 0, size > ETCP_DATA_HEAD + ETCP_TAG);
        end_bytes_add(&s.end.out, exact, len);
        free(exact);
        while (used > 0) {
            scripted_expect(&s, DATA, 3);
            CHECK(s.plain_len <= 5 + 100);
            used -= s.plain_len - 5;
        }
        scripted_expect_nothing(&s);
    }
    free(out);
    end();
}

static void stream_fail_tells_and_frees(void)
{
    begin();
    etcp_stream_fail(end_find(&s.end, 1)->stream, ETCP_CODE_CONNECT_FAILED, "nobody there");
    end_find(&s.end, 1)->stream = NULL;
    scripted_expect_code(&s, ERROR, 1, ETCP_CODE_CONNECT_FAILED);
    etcp_stream_free(end_find(&s.end, 3)->stream);
    end_find(&s.end, 3)->stream = NULL;
    scripted_expect_code(&s, ERROR, 3, ETCP_CODE_RESET);
    CHECK_INT(etcp_conn_streams(s.end.conn), 0);
    /* What was on its way when it ended is dropped. */
    scripted_say_data(&s, 1, 100);
    scripted_say_credit(&s, 3, 0, ETCP_WINDOW);
    scripted_expect_nothing(&s);
    CHECK_INT(s.end.error, 0);
    etcp_stream_free(NULL);
    end();
}

static void stream_error_is_not_answered(void)
{
    begin();
    scripted_say_code(&s, ERROR, 1, ETCP_CODE_RESET, "");
    CHECK(end_find(&s.end, 1)->stream == NULL);
    scripted_expect_nothing(&s);
    end();
}

/* At each event of a conversation the owner may free everything. */
static void conn_can_be_freed_at_every_event(void)
{
    const struct demo *demo = demo_find(SUITE);
    uint8_t wire[4096], plain[256];
    size_t len = 0;
    struct raw say = raw_of(SUITE, demo->agent_key);

    memcpy(wire, demo->packet[0], demo->packet_len[0]);
    len = demo->packet_len[0];
    memcpy(wire + len, demo->packet[2], demo->packet_len[2]);
    len += demo->packet_len[2];
    len += raw_seal(&say, plain, raw_heartbeat_frame(plain, 0, 1), wire + len);
    len += raw_seal(&say, plain, raw_open_frame(plain, 1, "echo"), wire + len);
    len += raw_seal(&say, plain, raw_frame(plain, DATA, 1, "hello", 5), wire + len);
    len += raw_seal(&say, plain, raw_open_frame(plain, 3, "hold"), wire + len);
    len += raw_seal(&say, plain, raw_credit_frame(plain, 3, 0, ETCP_WINDOW + 1), wire + len);
    len += raw_seal(&say, plain, raw_frame(plain, CLOSE, 1, NULL, 0), wire + len);
    len += raw_seal(&say, plain, raw_code_frame(plain, ERROR, 3, 5, "x"), wire + len);
    len += raw_seal(&say, plain, raw_code_frame(plain, GOODBYE, 0, 8, "drain"), wire + len);
    len += raw_seal(&say, plain, raw_code_frame(plain, GOODBYE, 0, 0, "end"), wire + len);
    for (unsigned stop = 0; stop < 12; stop++) {
        struct etcp_pool *pool = NULL;
        struct etcp_conn *conn;
        struct etcp_event event;
        uint8_t *copy = malloc(len);
        size_t at = 0, used;
        unsigned seen = 0;

        CHECK(copy != NULL);
        memcpy(copy, wire, len);
        CHECK_INT(etcp_pool_new(&pool), 0);
        conn = fixed_conn(pool, demo, ETCP_SERVER, NULL, 0);
        while (conn != NULL && at < len) {
            CHECK_INT(etcp_conn_feed(conn, copy + at, len - at, 0, &used), 0);
            at += used;
            while (conn != NULL && etcp_conn_next(conn, &event)) {
                if (seen++ == stop) {
                    etcp_conn_free(conn);
                    conn = NULL;
                } else if (event.type == ETCP_EVENT_PEER) {
                    CHECK_INT(etcp_conn_accept(conn, 0), 0);
                }
            }
        }
        CHECK_INT(conn == NULL, stop < 10);
        etcp_conn_free(conn);
        CHECK_INT(pool->handshakes.in_use, 0);
        CHECK_INT(pool->sessions.in_use, 0);
        etcp_pool_free(pool);
        free(copy);
    }
}

/* The keys of a connection are gone with it. */
static void conn_free_wipes_its_keys(void)
{
    static const uint8_t zeros[SECRET_SMALL_BYTES];
    const uint8_t *keys;

    begin();
    keys = s.end.conn->keys;
    CHECK(memcmp(keys + 8, zeros, 24) != 0);
    end_done(&s.end);
    CHECK_MEM(keys + sizeof(void *), zeros, SECRET_SMALL_BYTES - sizeof(void *));
    etcp_pool_free(s.pool);
}

/* Nothing of one direction opens with the keys of the other. */
static void conn_does_not_understand_its_own_direction(void)
{
    uint8_t record[64], plain[32];

    begin();
    s.say = raw_of(SUITE, s.demo->server_key);
    s.say.n = 2;
    end_feed(&s.end, record, raw_seal(&s.say, plain, raw_heartbeat_frame(plain, 0, 1), record));
    CHECK_INT(s.end.error, ETCP_ERECORD);
    scripted_expect_nothing(&s);
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
    CHECK_CASE(conn_takes_nothing_while_a_decision_is_due),
    CHECK_CASE(conn_rejected_agent_is_told_why),
    CHECK_CASE(conn_rejected_server_is_told_nothing),
    CHECK_CASE(conn_is_not_ready_before_its_time),
    CHECK_CASE(conn_an_early_end_of_file_is_no_truncation),
    CHECK_CASE(conn_drain_needs_room_for_one),
    CHECK_CASE(conn_drain_gives_whole_records),
    CHECK_CASE(stream_open_says_what_it_was_told),
    CHECK_CASE(stream_seal_is_all_or_nothing),
    CHECK_CASE(stream_send_fits_into_what_there_is),
    CHECK_CASE(stream_fail_tells_and_frees),
    CHECK_CASE(stream_error_is_not_answered),
    CHECK_CASE(conn_can_be_freed_at_every_event),
    CHECK_CASE(conn_free_wipes_its_keys),
    CHECK_CASE(conn_does_not_understand_its_own_direction),
};

int main(int argc, char **argv)
{
    CHECK_INT(etcp_init(), 0);
    return check_run(cases, CHECK_COUNT(cases), argc, argv);
}
