/* SPDX-License-Identifier: MIT
 *
 * Time and limits, two-sided, under the virtual clock: handshakes that take too long, heartbeats, dead peers, streams past
 * the limit, control frames that nobody reads, rekeying, shutting down. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "core/conn.h"
#include "sim.h"

enum {
    SECOND = 1000000,
};

static const struct sim_options plain = {.suite = ETCP_SUITE_CHACHA20POLY1305};

/* Two ends that are up and quiet. */
static void connect(struct sim *sim, struct etcp_pool **pool, const struct sim_options *options)
{
    CHECK_INT(etcp_pool_new(pool), 0);
    sim_init(sim, *pool, *pool, options);
    sim_run(sim);
    CHECK(sim->agent.up && sim->server.up);
}

static void disconnect(struct sim *sim, struct etcp_pool *pool)
{
    sim_done(sim);
    etcp_pool_free(pool);
}

static void handshake_times_out_at_both_ends(void)
{
    struct etcp_pool *pool = NULL;
    struct sim sim;
    uint64_t deadline;

    CHECK_INT(etcp_pool_new(&pool), 0);
    sim_init(&sim, pool, pool, &plain);
    deadline = sim.now_us + 10 * SECOND;
    CHECK_INT(etcp_conn_deadline(sim.agent.conn), deadline);
    CHECK_INT(etcp_conn_deadline(sim.server.conn), deadline);
    end_tick(&sim.agent, deadline - 1);
    end_tick(&sim.server, deadline - 1);
    CHECK(!etcp_conn_closing(sim.agent.conn) && !etcp_conn_closing(sim.server.conn));
    end_tick(&sim.agent, deadline);
    end_tick(&sim.server, deadline);
    CHECK_INT(sim.agent.error, ETCP_ETIMEDOUT);
    CHECK_INT(sim.server.error, ETCP_ETIMEDOUT);
    CHECK_INT(etcp_conn_deadline(sim.agent.conn), UINT64_MAX);
    CHECK_INT(sim.server.out.len, 0);
    disconnect(&sim, pool);
}

/* The time is for the handshake in all, not for each byte. */
static void a_slow_stranger_gains_no_time(void)
{
    struct etcp_pool *pool = NULL;
    struct sim sim;
    unsigned fed = 0;

    CHECK_INT(etcp_pool_new(&pool), 0);
    sim_init(
        &sim, pool, pool,
        &(struct sim_options){.suite = ETCP_SUITE_CHACHA20POLY1305, .server = {.handshake_timeout_us = 2 * SECOND}});
    end_pump(&sim.agent);
    while (!etcp_conn_closing(sim.server.conn)) {
        CHECK(fed < sim.agent.out.len);
        end_feed(&sim.server, sim.agent.out.data + fed, 1);
        fed++;
        sim.now_us += SECOND / 4;
        end_tick(&sim.server, sim.now_us);
    }
    CHECK_INT(sim.server.error, ETCP_ETIMEDOUT);
    CHECK_INT(fed, 8);
    disconnect(&sim, pool);
}

/* The agent's clock for the handshake stops with the Encryption Response, the server's with the Authentication. */
static void an_authentication_that_never_comes(void)
{
    struct etcp_pool *pool = NULL;
    struct sim sim;

    CHECK_INT(etcp_pool_new(&pool), 0);
    sim_init(&sim, pool, pool, &plain);
    sim.agent.no_decision = true;
    sim_run(&sim);
    CHECK_INT(etcp_conn_deadline(sim.agent.conn), UINT64_MAX);
    sim_pass(&sim, 20 * SECOND);
    CHECK_INT(sim.server.error, ETCP_ETIMEDOUT);
    CHECK(!sim.server.up);
    disconnect(&sim, pool);
}

static void idle_ends_ask_and_are_answered(void)
{
    struct etcp_pool *pool = NULL;
    struct sim sim;

    connect(&sim, &pool, &plain);
    CHECK_INT(sim.agent.pongs, 1);
    sim_pass(&sim, 10 * 60 * SECOND);
    CHECK(etcp_conn_ready(sim.agent.conn) && etcp_conn_ready(sim.server.conn));
    /* Each ask and answer is a valid record for the other side too, so one pair an interval is enough for both. */
    CHECK(sim.agent.pongs + sim.server.pongs >= 35);
    CHECK(sim.agent.pongs + sim.server.pongs <= 90);
    disconnect(&sim, pool);
}

static void a_silent_peer_is_lost(void)
{
    struct etcp_pool *pool = NULL;
    struct sim sim;
    uint64_t start;

    connect(&sim, &pool, &plain);
    start = sim.now_us;
    /* The server's side of the wire is dead; the agent's words go nowhere. */
    while (!etcp_conn_closing(sim.agent.conn)) {
        uint64_t deadline = etcp_conn_deadline(sim.agent.conn);

        CHECK(deadline > sim.now_us);
        sim.now_us = deadline;
        end_tick(&sim.agent, sim.now_us);
    }
    CHECK_INT(sim.agent.error, ETCP_ELOST);
    CHECK_INT(sim.now_us - start, 45 * SECOND);
    CHECK(etcp_conn_error(sim.agent.conn) != NULL);
    CHECK_INT(etcp_conn_pending(sim.agent.conn), 0);
    CHECK_INT(etcp_conn_eof(sim.agent.conn), ETCP_ECLOSED);
    disconnect(&sim, pool);
}

/* Ten bytes that are not a record keep nobody alive. */
static void half_a_record_is_no_sign_of_life(void)
{
    struct etcp_pool *pool = NULL;
    struct sim sim;
    uint64_t before;

    connect(&sim, &pool, &plain);
    before = etcp_conn_deadline(sim.agent.conn);
    CHECK_INT(etcp_conn_ping(sim.server.conn, sim.now_us), 0);
    end_pump(&sim.server);
    sim.agent.now_us = sim.now_us += 5 * SECOND;
    end_feed(&sim.agent, sim.server.out.data, 10);
    CHECK_INT(etcp_conn_deadline(sim.agent.conn), before);
    end_feed(&sim.agent, sim.server.out.data + 10, sim.server.out.len - 10);
    CHECK_INT(etcp_conn_deadline(sim.agent.conn), before + 5 * SECOND);
    disconnect(&sim, pool);
}

static void timeouts_are_options(void)
{
    struct etcp_pool *pool = NULL;
    struct sim sim;
    struct sim_options options = {.suite = ETCP_SUITE_CHACHA20POLY1305,
                                  .agent = {.heartbeat_interval_us = SECOND, .dead_peer_timeout_us = 3 * SECOND}};
    uint64_t start;

    connect(&sim, &pool, &options);
    start = sim.now_us;
    CHECK_INT(etcp_conn_deadline(sim.agent.conn), start + SECOND);
    end_tick(&sim.agent, start + SECOND);
    CHECK(sim.agent.out.len > 0);
    CHECK_INT(etcp_conn_deadline(sim.agent.conn), start + 3 * SECOND);
    end_tick(&sim.agent, start + 3 * SECOND);
    CHECK_INT(sim.agent.error, ETCP_ELOST);
    disconnect(&sim, pool);
}

static void round_trips_are_measured(void)
{
    struct etcp_pool *pool = NULL;
    struct etcp_event event;
    struct sim sim;
    uint8_t *bytes;
    size_t used = 0, len;

    connect(&sim, &pool, &plain);
    CHECK_INT(etcp_conn_ping(sim.agent.conn, sim.now_us), 0);
    end_pump(&sim.agent);
    end_feed(&sim.server, sim.agent.out.data, sim.agent.out.len);
    len = sim.server.out.len;
    bytes = malloc(len);
    CHECK(bytes != NULL);
    memcpy(bytes, sim.server.out.data, len);
    CHECK_INT(etcp_conn_feed(sim.agent.conn, bytes, len, sim.now_us + 1234, &used), 0);
    CHECK_INT(used, len);
    CHECK(etcp_conn_next(sim.agent.conn, &event));
    CHECK_INT(event.type, ETCP_EVENT_PONG);
    CHECK_INT(event.round_trip_us, 1234);
    free(bytes);
    disconnect(&sim, pool);
}

/* The limit is on what the peer has opened; a stream counts until it is given back, however ended it is. */
static void the_stream_past_the_limit(void)
{
    struct etcp_pool *pool = NULL;
    struct end_stream *s, *last = NULL;
    struct sim sim;

    connect(&sim, &pool, &plain);
    for (int i = 0; i < 256; i++) {
        last = end_open(&sim.agent, "hold", NULL);
        CHECK(last != NULL);
    }
    sim_run(&sim);
    CHECK_INT(etcp_conn_streams(sim.server.conn), 256);
    s = end_open(&sim.agent, "hold", NULL);
    CHECK(s != NULL);
    end_send(s, "too much", 8);
    sim_run(&sim);
    CHECK(s->stream == NULL);
    CHECK(strstr((char *)s->transcript.data, "error 7 ") != NULL);
    CHECK(etcp_conn_ready(sim.agent.conn) && etcp_conn_ready(sim.server.conn));
    CHECK_INT(etcp_conn_streams(sim.server.conn), 256);

    /* The server may still open its own. */
    CHECK(end_open(&sim.server, "hold", NULL) != NULL);
    /* The agent ends one: the server has not let go of it yet. */
    etcp_stream_fail(last->stream, ETCP_CODE_RESET, NULL);
    last->stream = NULL;
    s = end_open(&sim.agent, "hold", NULL);
    end_pump(&sim.agent);
    CHECK(s != NULL);
    sim_run(&sim);
    CHECK(s->stream != NULL); /* the Stream Error came first, and the application let go at once */
    disconnect(&sim, pool);
}

static void an_ended_stream_counts_until_it_is_free(void)
{
    struct etcp_pool *pool = NULL;
    struct etcp_stream *kept;
    struct end_stream *s;
    struct sim sim;
    struct sim_options options = {.suite = ETCP_SUITE_CHACHA20POLY1305, .server = {.max_streams = 1}};

    connect(&sim, &pool, &options);
    s = end_open(&sim.agent, "hold", NULL);
    sim_run(&sim);
    /* The application keeps it although it ends. */
    kept = end_find(&sim.server, 1)->stream;
    end_find(&sim.server, 1)->stream = NULL;
    end_find(&sim.server, 1)->hold_credit = true;
    etcp_stream_close(kept);
    end_close(s);
    end_pump(&sim.agent);
    {
        struct etcp_event event;
        size_t used = 0, len = sim.agent.out.len;
        uint8_t *bytes = malloc(len);

        CHECK(bytes != NULL);
        memcpy(bytes, sim.agent.out.data, len);
        end_bytes_drop(&sim.agent.out, len);
        CHECK_INT(etcp_conn_feed(sim.server.conn, bytes, len, sim.now_us, &used), 0);
        CHECK(etcp_conn_next(sim.server.conn, &event));
        CHECK_INT(event.type, ETCP_EVENT_CLOSE);
        free(bytes);
    }
    CHECK(etcp_stream_ended(kept));
    sim_run(&sim);
    s = end_open(&sim.agent, "echo", NULL);
    sim_run(&sim);
    CHECK(s->stream == NULL);
    etcp_stream_free(kept);
    s = end_open(&sim.agent, "echo", NULL);
    sim_run(&sim);
    CHECK(s->stream != NULL);
    disconnect(&sim, pool);
}

/* Somebody asks and asks, and never reads an answer. */
static void a_flood_of_asks_stops_the_reading(void)
{
    static const uint8_t ask[14] = {0x07, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8};
    enum {
        ASKS = 5000,
        RECORD = 32 + 14,
    };
    struct etcp_pool *pool = NULL;
    struct sim sim;
    uint8_t *flood = malloc(ASKS * RECORD);
    size_t len = 0, used = 0, total, answered = 0;

    CHECK(flood != NULL);
    connect(&sim, &pool, &plain);
    for (int i = 0; i < ASKS; i++) {
        CHECK_INT(conn_send_raw(sim.agent.conn, ask, sizeof(ask)), 0);
    }
    while (etcp_conn_pending(sim.agent.conn) > 0) {
        len += etcp_conn_drain(sim.agent.conn, flood + len, ASKS * RECORD - len);
    }
    CHECK_INT(len, ASKS * RECORD);
    CHECK_INT(etcp_conn_feed(sim.server.conn, flood, len, sim.now_us, &used), 0);
    CHECK(used < len);
    CHECK(!etcp_conn_wants_input(sim.server.conn));
    CHECK(etcp_conn_pending(sim.server.conn) > ETCP_CONTROL_MAX);
    CHECK(etcp_conn_pending(sim.server.conn) <= ETCP_CONTROL_MAX + RECORD);
    total = used;
    CHECK_INT(etcp_conn_feed(sim.server.conn, flood + total, len - total, sim.now_us, &used), 0);
    CHECK_INT(used, 0);
    /* Whenever something is taken away it reads on, and in the end every ask has had its answer. */
    while (total < len || etcp_conn_pending(sim.server.conn) > 0) {
        uint8_t out[ETCP_DRAIN_MIN];
        size_t got = etcp_conn_drain(sim.server.conn, out, sizeof(out));

        CHECK(got > 0 && got % RECORD == 0);
        answered += got / RECORD;
        CHECK_INT(etcp_conn_feed(sim.server.conn, flood + total, len - total, sim.now_us, &used), 0);
        total += used;
        CHECK(etcp_conn_pending(sim.server.conn) <= ETCP_CONTROL_MAX + RECORD);
    }
    CHECK_INT(answered, ASKS);
    CHECK(etcp_conn_wants_input(sim.server.conn));
    free(flood);
    disconnect(&sim, pool);
}

/* Opening streams that are refused makes control frames as well. */
static void a_flood_of_opens_stops_the_reading(void)
{
    struct etcp_pool *pool = NULL;
    struct sim sim;
    struct sim_options options = {.suite = ETCP_SUITE_CHACHA20POLY1305, .server = {.max_streams = 1}};

    connect(&sim, &pool, &options);
    sim.server.no_drain = true;
    for (int i = 0; i < 3000; i++) {
        CHECK(end_open(&sim.agent, "hold", NULL) != NULL);
    }
    end_pump(&sim.agent);
    end_feed(&sim.server, sim.agent.out.data, sim.agent.out.len);
    end_bytes_drop(&sim.agent.out, sim.agent.out.len);
    CHECK(sim.server.in.len > 0);
    CHECK(!etcp_conn_wants_input(sim.server.conn));
    CHECK(etcp_conn_pending(sim.server.conn) <= ETCP_CONTROL_MAX + 400);
    sim.server.no_drain = false;
    sim_run(&sim);
    CHECK_INT(sim.server.in.len, 0);
    CHECK_INT(etcp_conn_streams(sim.server.conn), 1);
    CHECK_INT(etcp_conn_streams(sim.agent.conn), 1);
    disconnect(&sim, pool);
}

static void rekey(enum etcp_suite suite)
{
    struct sim_options options = {.suite = suite};
    struct etcp_pool *pool = NULL;
    struct end_stream *s;
    struct sim sim;
    uint8_t before[2 * AEAD_KEY_BYTES];

    if (!sim_can(suite)) {
        return;
    }
    connect(&sim, &pool, &options);
    memcpy(before, sim.agent.conn->keys, sizeof(before));
    s = end_open(&sim.agent, "echo", NULL);
    for (int i = 0; i < 2; i++) {
        sim.agent.conn->sending.n = sim.server.conn->receiving.n = (uint64_t)(i + 1) * RECORD_REKEY_EVERY - 5;
        sim.server.conn->sending.n = sim.agent.conn->receiving.n = (uint64_t)(i + 1) * RECORD_REKEY_EVERY - 3;
        for (int j = 0; j < 10; j++) {
            end_send(s, "0123456789", 10);
            sim_run(&sim);
        }
        CHECK_INT(s->total, 100 * (i + 1));
        CHECK(sim.agent.conn->sending.n > (uint64_t)(i + 1) * RECORD_REKEY_EVERY);
        CHECK(memcmp(before, sim.agent.conn->keys, AEAD_KEY_BYTES) != 0);
        CHECK(memcmp(before + AEAD_KEY_BYTES, sim.agent.conn->keys + AEAD_KEY_BYTES, AEAD_KEY_BYTES) != 0);
        CHECK_MEM(sim.agent.conn->keys, sim.server.conn->keys + AEAD_KEY_BYTES, AEAD_KEY_BYTES);
        CHECK_MEM(sim.agent.conn->keys + AEAD_KEY_BYTES, sim.server.conn->keys, AEAD_KEY_BYTES);
        memcpy(before, sim.agent.conn->keys, sizeof(before));
    }
    /* A side that would go on with the old key is not understood. */
    sim.agent.conn->sending.n = sim.server.conn->receiving.n = 3 * RECORD_REKEY_EVERY;
    end_send(s, "x", 1);
    end_pump(&sim.agent);
    memcpy(sim.agent.conn->keys, before, AEAD_KEY_BYTES);
    sim.server.conn->receiving.n = 3 * RECORD_REKEY_EVERY + 1;
    end_feed(&sim.server, sim.agent.out.data, sim.agent.out.len);
    CHECK_INT(sim.server.error, ETCP_ERECORD);
    disconnect(&sim, pool);
}

static void keys_are_replaced_at_two_to_the_twentieth(void)
{
    rekey(ETCP_SUITE_CHACHA20POLY1305);
    rekey(ETCP_SUITE_AES256GCM);
}

/* More connections than the pool keeps expanded keys for, used in turn. */
static void many_connections_share_a_pool(void)
{
    enum {
        PAIRS = 300,
    };
    enum etcp_suite suite =
        etcp_suite_available(ETCP_SUITE_AES256GCM) ? ETCP_SUITE_AES256GCM : ETCP_SUITE_CHACHA20POLY1305;
    struct sim *sims = calloc(PAIRS, sizeof(*sims));
    struct etcp_pool *pool = NULL;

    CHECK(sims != NULL);
    CHECK_INT(etcp_pool_new(&pool), 0);
    for (int i = 0; i < PAIRS; i++) {
        sim_init(&sims[i], pool, pool, &(struct sim_options){.suite = suite});
        sim_run(&sims[i]);
        CHECK(sims[i].agent.up);
        CHECK(end_open(&sims[i].agent, "echo", NULL) != NULL);
    }
    for (int round = 1; round <= 3; round++) {
        for (int i = 0; i < PAIRS; i++) {
            struct end_stream *s = end_find(&sims[i].agent, 1);

            end_send(s, &i, sizeof(i));
            sim_run(&sims[i]);
            CHECK_INT(s->total, (size_t)round * sizeof(i));
        }
        /* Some go while the others stay. */
        sim_done(&sims[round]);
        sim_init(&sims[round], pool, pool, &(struct sim_options){.suite = suite});
        sim_run(&sims[round]);
        for (int again = 0; again < round; again++) {
            end_send(again == 0 ? end_open(&sims[round].agent, "echo", NULL) : end_find(&sims[round].agent, 1), &round,
                     sizeof(round));
        }
        sim_run(&sims[round]);
    }
    for (int i = 0; i < PAIRS; i++) {
        sim_done(&sims[i]);
    }
    free(sims);
    etcp_pool_free(pool);
}

static void shutdown_without_streams_ends_at_once(void)
{
    struct etcp_pool *pool = NULL;
    struct sim sim;

    connect(&sim, &pool, &plain);
    etcp_conn_shutdown(sim.agent.conn, "bye");
    CHECK(etcp_conn_closing(sim.agent.conn));
    sim_run(&sim);
    CHECK(sim.server.ended);
    CHECK_INT(sim.server.eof_result, 0);
    CHECK_INT(sim.agent.eof_result, 0);
    disconnect(&sim, pool);
}

static void both_sides_shut_down_at_once(void)
{
    struct etcp_pool *pool = NULL;
    struct end_stream *s;
    struct sim sim;

    connect(&sim, &pool, &plain);
    s = end_open(&sim.agent, "echo", NULL);
    end_send(s, "before", 6);
    sim_run(&sim);
    etcp_conn_shutdown(sim.agent.conn, NULL);
    etcp_conn_shutdown(sim.server.conn, NULL);
    etcp_conn_shutdown(sim.server.conn, NULL);
    end_send(s, "after", 5);
    end_close(s);
    sim_run(&sim);
    CHECK_INT(s->total, 11);
    CHECK(etcp_conn_closing(sim.agent.conn) && etcp_conn_closing(sim.server.conn));
    CHECK_INT(sim.agent.error, 0);
    CHECK_INT(sim.server.error, 0);
    CHECK_INT(sim.agent.eof_result, 0);
    CHECK_INT(sim.server.eof_result, 0);
    disconnect(&sim, pool);
}

/* The drain time is over: the streams that are left end with the connection. */
static void a_drain_can_be_cut_short(void)
{
    struct etcp_pool *pool = NULL;
    struct end_stream *s;
    struct sim sim;

    connect(&sim, &pool, &plain);
    s = end_open(&sim.agent, "hold", NULL);
    end_send(s, "x", 1);
    sim_run(&sim);
    etcp_conn_shutdown(sim.server.conn, NULL);
    sim_run(&sim);
    CHECK(!etcp_conn_closing(sim.server.conn) && !etcp_conn_closing(sim.agent.conn));
    etcp_conn_goodbye(sim.server.conn, ETCP_CODE_SHUTTING_DOWN, "time is over");
    sim_run(&sim);
    CHECK(sim.agent.ended);
    CHECK_INT(sim.agent.end_code, ETCP_CODE_SHUTTING_DOWN);
    CHECK_INT(sim.agent.eof_result, 0);
    CHECK_INT(etcp_conn_streams(sim.agent.conn), 0);
    disconnect(&sim, pool);
}

/* A window may be on its way, and not a byte more, until the other side takes some. */
static void a_sender_stops_at_the_limit(void)
{
    struct etcp_pool *pool = NULL;
    struct end_stream *s, *held;
    struct sim sim;
    uint8_t *data = calloc(1, 2 * ETCP_WINDOW);

    CHECK(data != NULL);
    connect(&sim, &pool, &plain);
    s = end_open(&sim.agent, "hold", NULL);
    CHECK_INT(etcp_stream_writable(s->stream), ETCP_WINDOW);
    end_send(s, data, 2 * ETCP_WINDOW);
    sim_run(&sim);
    held = end_find(&sim.server, 1);
    CHECK_INT(held->total, ETCP_WINDOW);
    CHECK_INT(etcp_stream_writable(s->stream), 0);
    CHECK_INT(s->backlog.len, ETCP_WINDOW);
    etcp_stream_consume(held->stream, ETCP_WINDOW / 2 - 1);
    sim_run(&sim);
    CHECK_INT(sim.agent.credits, 0);
    CHECK_INT(held->total, ETCP_WINDOW);
    etcp_stream_consume(held->stream, 1);
    sim_run(&sim);
    CHECK_INT(sim.agent.credits, 1);
    CHECK_INT(held->total, ETCP_WINDOW + ETCP_WINDOW / 2);
    /* More than was received is cut to what was received. */
    etcp_stream_consume(held->stream, SIZE_MAX);
    sim_run(&sim);
    CHECK_INT(held->total, 2 * ETCP_WINDOW);
    CHECK_INT(s->backlog.len, 0);
    CHECK(etcp_conn_ready(sim.server.conn));
    free(data);
    disconnect(&sim, pool);
}

static const struct check_case cases[] = {
    CHECK_CASE(handshake_times_out_at_both_ends),
    CHECK_CASE(a_slow_stranger_gains_no_time),
    CHECK_CASE(an_authentication_that_never_comes),
    CHECK_CASE(idle_ends_ask_and_are_answered),
    CHECK_CASE(a_silent_peer_is_lost),
    CHECK_CASE(half_a_record_is_no_sign_of_life),
    CHECK_CASE(timeouts_are_options),
    CHECK_CASE(round_trips_are_measured),
    CHECK_CASE(the_stream_past_the_limit),
    CHECK_CASE(an_ended_stream_counts_until_it_is_free),
    CHECK_CASE(a_flood_of_asks_stops_the_reading),
    CHECK_CASE(a_flood_of_opens_stops_the_reading),
    CHECK_CASE(keys_are_replaced_at_two_to_the_twentieth),
    CHECK_CASE(many_connections_share_a_pool),
    CHECK_CASE(shutdown_without_streams_ends_at_once),
    CHECK_CASE(both_sides_shut_down_at_once),
    CHECK_CASE(a_drain_can_be_cut_short),
    CHECK_CASE(a_sender_stops_at_the_limit),
};

int main(int argc, char **argv)
{
    CHECK_INT(etcp_init(), 0);
    return check_run(cases, CHECK_COUNT(cases), argc, argv);
}
