/* SPDX-License-Identifier: MIT
 *
 * The contracts of etcp/conn.h. */
#include "check.h"
#include "core/conn.h"
#include "fixed.h"
#include "scripted.h"
#include "served.h"

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
