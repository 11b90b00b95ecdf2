/* SPDX-License-Identifier: MIT
 *
 * How links end; and one link against a peer in the test's own hands, which reads and writes when the case wants it to. */
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include <sys/socket.h>

#include <etcp/etcp.h>

#include "check.h"
#include "core/conn.h" /* looks at what a connection owns */
#include "net/link.h"
#include "net/loop.h"
#include "sides.h"

/* ---- Ends ---------------------------------------------------------------------------------------------------------------- */

static void say_goodbye(struct side *side)
{
    link_goodbye(side->link, ETCP_CODE_LIMIT, "enough");
    link_goodbye(side->link, ETCP_CODE_OK, "twice");
}

static void goodbye_in_an_event_reaches_the_peer(void)
{
    static const struct behaviour leaving = {.up = say_goodbye};
    struct side agent, server;

    make_sides(&agent, &plain, &server, &leaving, ETCP_SUITE_CHACHA20POLY1305);
    run();
    CHECK_INT(agent.end_code, ETCP_CODE_LIMIT);
    CHECK_INT(agent.end.error, 0);
    CHECK(agent.end.by_peer && !server.end.by_peer);
    done_sides(&agent, &server);
}

static void abort_now(struct side *side)
{
    link_abort(side->link, ETCP_ELOST, "because");
    CHECK(side->closed == 0);
}

static void an_abort_is_a_truncation_to_the_peer(void)
{
    static const struct behaviour aborting = {.up = abort_now};
    struct side agent, server;

    make_sides(&agent, &aborting, &server, &plain, ETCP_SUITE_CHACHA20POLY1305);
    run();
    CHECK_INT(agent.end.error, ETCP_ELOST);
    CHECK_STR(agent.end.detail, "because");
    CHECK(server.end.is_errno || server.end.error == ETCP_ETRUNCATED);
    done_sides(&agent, &server);
}

static bool reject(struct side *side, const struct etcp_event *event)
{
    if (event->type == ETCP_EVENT_PEER) {
        etcp_conn_reject(link_conn(side->link), "who are you");
        return true;
    }
    return false;
}

static void a_rejected_agent_is_told_so(void)
{
    static const struct behaviour rejecting = {.event = reject};
    struct side agent, server;

    make_sides(&agent, &plain, &server, &rejecting, ETCP_SUITE_CHACHA20POLY1305);
    run();
    CHECK_INT(agent.end_code, ETCP_CODE_UNAUTHORIZED);
    CHECK_INT(server.end.error, 0);
    done_sides(&agent, &server);
}

static void a_server_that_is_not_trusted_hears_nothing_more(void)
{
    static const struct behaviour rejecting = {.event = reject};
    struct side agent, server;

    make_sides(&agent, &rejecting, &server, &plain, ETCP_SUITE_CHACHA20POLY1305);
    run();
    CHECK_INT(agent.end.error, 0);
    CHECK_INT(agent.end.sent_bytes, 42); /* its request */
    CHECK_INT(server.end.error, ETCP_EHANDSHAKE);
    done_sides(&agent, &server);
}

/* ---- A peer in the test's hands --------------------------------------------------------------------------------------------- */

static int make_lone_server(struct side *server, const struct behaviour *behaviour)
{
    int pair[2];

    CHECK_INT(etcp_init(), 0);
    CHECK_INT(loop_new(&loop), 0);
    make_pair(pair);
    side_init(server, pair[1], ETCP_SERVER, ETCP_SUITE_CHACHA20POLY1305, behaviour);
    return pair[0];
}

static void silent_strangers_and_garbage_get_no_byte(void)
{
    struct side server;
    uint8_t garbage[64], byte;
    int fd = make_lone_server(&server, &plain);

    memset(garbage, 0x55, sizeof(garbage));
    CHECK_INT(send(fd, garbage, sizeof(garbage), MSG_NOSIGNAL), sizeof(garbage));
    run();
    CHECK_INT(server.end.error, ETCP_EHANDSHAKE);
    CHECK(server.end.detail != NULL);
    CHECK_INT(server.end.sent_bytes, 0);
    CHECK(recv(fd, &byte, 1, 0) <= 0);
    (void)close(fd);
    side_done(&server);
    loop_free(loop);

    fd = make_lone_server(&server, &plain);
    (void)close(fd);
    run();
    CHECK_INT(server.end.error, ETCP_EHANDSHAKE);
    side_done(&server);
    loop_free(loop);
}

static void a_slow_handshake_times_out(void)
{
    struct side server = {.behaviour = &plain, .end_code = -1};
    int pair[2];

    CHECK_INT(etcp_init(), 0);
    CHECK_INT(loop_new(&loop), 0);
    make_pair(pair);
    server.loop = loop;
    CHECK_INT(link_new(loop, pair[1], make_conn(ETCP_SERVER, 0, 50000), &handler, &server, &server.link), 0);
    CHECK_INT(send(pair[0], "\x01", 1, MSG_NOSIGNAL), 1);
    run();
    CHECK_INT(server.end.error, ETCP_ETIMEDOUT);
    (void)close(pair[0]);
    side_done(&server);
    loop_free(loop);
}

/* A slot of a handshake is held for the time that the protocol gives, and not for a farewell. */
static void a_handshake_that_stops_half_way_is_closed_on_time(void)
{
    struct side server = {.behaviour = &plain, .end_code = -1};
    struct etcp_conn *agent = NULL;
    uint8_t packet[ETCP_DRAIN_MIN];
    ssize_t n = -1;
    size_t len;
    int pair[2];

    CHECK_INT(etcp_init(), 0);
    CHECK_INT(loop_new(&loop), 0);
    make_pair(pair);
    server.loop = loop;
    CHECK_INT(link_new(loop, pair[1], make_conn(ETCP_SERVER, 0, 500000), &handler, &server, &server.link), 0);
    agent = make_conn(ETCP_AGENT, ETCP_SUITE_CHACHA20POLY1305, 0);
    len = etcp_conn_drain(agent, packet, sizeof(packet));
    CHECK_INT(send(pair[0], packet, len, MSG_NOSIGNAL), len);
    /* The response is read, and nothing is said any more. */
    while (n != 0) {
        CHECK(event_base_loop(loop->base, EVLOOP_ONCE) >= 0);
        n = recv(pair[0], packet, sizeof(packet), MSG_DONTWAIT);
        CHECK(n >= 0 || errno == EAGAIN);
    }
    CHECK_INT(server.closed, 1);
    CHECK_INT(server.end.error, ETCP_ETIMEDOUT);
    CHECK(server.end.sent_bytes > 0);
    etcp_conn_free(agent);
    (void)close(pair[0]);
    side_done(&server);
    loop_free(loop);
}

/* An agent without a link, on a non-blocking socket. */
struct raw_agent {
    int fd;
    struct etcp_conn *conn;
    uint8_t out[1 << 16], in[1 << 16];
    size_t out_off, out_len;
    bool up, stop_reading;
    unsigned errors;
    bool ended, eof;
};

static void raw_write(struct raw_agent *agent)
{
    for (;;) {
        ssize_t n;

        if (agent->out_off == agent->out_len) {
            agent->out_off = 0;
            agent->out_len = etcp_conn_drain(agent->conn, agent->out, sizeof(agent->out));
            if (agent->out_len == 0) {
                return;
            }
        }
        n = send(agent->fd, agent->out + agent->out_off, agent->out_len - agent->out_off, MSG_NOSIGNAL);
        if (n <= 0) {
            return;
        }
        agent->out_off += (size_t)n;
    }
}

static void raw_read(struct raw_agent *agent)
{
    ssize_t n = agent->stop_reading ? -1 : recv(agent->fd, agent->in, sizeof(agent->in), 0);
    size_t off = 0;

    agent->eof = agent->eof || n == 0;
    while (n > 0 && off < (size_t)n) {
        struct etcp_event event;
        size_t used = 0;

        CHECK_INT(etcp_conn_feed(agent->conn, agent->in + off, (size_t)n - off, loop_now_us(), &used), 0);
        off += used;
        while (etcp_conn_next(agent->conn, &event)) {
            if (event.type == ETCP_EVENT_PEER) {
                CHECK_INT(etcp_conn_accept(agent->conn, loop_now_us()), 0);
            } else if (event.type == ETCP_EVENT_UP) {
                agent->up = true;
            } else if (event.type == ETCP_EVENT_STREAM_ERROR) {
                agent->errors++;
                etcp_stream_free(event.stream);
            } else if (event.type == ETCP_EVENT_END) {
                agent->ended = true;
            }
        }
    }
}

static void turn(struct raw_agent *agent)
{
    CHECK(event_base_loop(loop->base, EVLOOP_NONBLOCK) >= 0);
    raw_read(agent);
    raw_write(agent);
}

static struct raw_agent *make_raw_agent(struct side *server, const struct behaviour *behaviour)
{
    struct raw_agent *agent = calloc(1, sizeof(*agent));

    CHECK(agent != NULL);
    agent->fd = make_lone_server(server, behaviour);
    agent->conn = make_conn(ETCP_AGENT, ETCP_SUITE_CHACHA20POLY1305, 0);
    while (!agent->up) {
        turn(agent);
    }
    return agent;
}

static void free_raw_agent(struct raw_agent *agent)
{
    (void)close(agent->fd);
    etcp_conn_free(agent->conn);
    free(agent);
}

/* In two reads: what it was put together in does not outlive the moment, or every idle connection would own 64 KiB. */
static void a_record_in_two_pieces_leaves_no_memory_behind(void)
{
    struct side server;
    struct raw_agent *agent = make_raw_agent(&server, &plain);
    struct etcp_stream *stream = NULL;
    static uint8_t data[3000];
    size_t used = 0, half;

    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = pattern(i);
    }
    CHECK_INT(etcp_stream_open(agent->conn, "sink", NULL, &stream), 0);
    turn(agent);
    CHECK_INT(etcp_stream_send(stream, data, sizeof(data), sizeof(data), agent->out, sizeof(agent->out), &used,
                               &agent->out_len),
              0);
    CHECK_INT(used, sizeof(data));
    half = agent->out_len / 2;
    CHECK_INT(send(agent->fd, agent->out, half, MSG_NOSIGNAL), half);
    for (unsigned i = 0; i < 10; i++) {
        CHECK(event_base_loop(loop->base, EVLOOP_NONBLOCK) >= 0);
    }
    CHECK(link_conn(server.link)->partial != NULL);
    CHECK_INT(send(agent->fd, agent->out + half, agent->out_len - half, MSG_NOSIGNAL), agent->out_len - half);
    while (server.received < sizeof(data)) {
        CHECK(event_base_loop(loop->base, EVLOOP_ONCE) >= 0);
    }
    CHECK(link_conn(server.link)->partial == NULL);
    free_raw_agent(agent);
    run();
    side_done(&server);
    loop_free(loop);
}

enum { REFUSED_STREAMS = 2000 };

static bool refuse_streams(struct side *side, const struct etcp_event *event)
{
    if (event->type == ETCP_EVENT_OPEN) {
        char reason[ETCP_REASON_MAX + 1];

        memset(reason, 'r', sizeof(reason) - 1);
        reason[sizeof(reason) - 1] = '\0';
        side->opened++;
        etcp_stream_fail(event->stream, ETCP_CODE_NO_SUCH_SERVICE, reason);
        return true;
    }
    return false;
}

static void a_flood_of_answers_stops_reading_and_goes_on(void)
{
    static const struct behaviour refusing = {.event = refuse_streams};
    struct side server;
    struct raw_agent *agent = make_raw_agent(&server, &refusing);
    unsigned opened = 0, turns = 0;

    agent->stop_reading = true;
    for (unsigned i = 0; i < REFUSED_STREAMS; i++) {
        struct etcp_stream *stream = NULL;

        CHECK_INT(etcp_stream_open(agent->conn, "nothing", NULL, &stream), 0);
    }
    /* The server answers until its answers fill socket, backlog, and 64 KiB; then it takes no more. */
    while (turns < 50) {
        turn(agent);
        turns = server.opened == opened ? turns + 1 : 0;
        opened = server.opened;
    }
    CHECK(opened > ETCP_CONTROL_MAX / 300);
    CHECK(opened < REFUSED_STREAMS);
    agent->stop_reading = false;
    while (agent->errors < REFUSED_STREAMS) {
        turn(agent);
    }
    CHECK_INT(server.opened, REFUSED_STREAMS);
    CHECK_INT(server.closed, 0);
    free_raw_agent(agent);
    run();
    CHECK(server.end.is_errno || server.end.error == ETCP_ETRUNCATED);
    side_done(&server);
    loop_free(loop);
}

static void last_words_are_not_overtaken_by_a_reset(void)
{
    static const struct behaviour leaving = {.up = say_goodbye};
    struct side server;
    struct raw_agent *agent = calloc(1, sizeof(*agent));
    uint8_t noise[4096] = {0};

    CHECK(agent != NULL);
    agent->fd = make_lone_server(&server, &leaving);
    agent->conn = make_conn(ETCP_AGENT, ETCP_SUITE_CHACHA20POLY1305, 0);
    /* The agent goes on sending after the server's Goodbye is on its way: it is discarded, and the Goodbye is read. */
    while (!agent->ended) {
        turn(agent);
    }
    for (unsigned i = 0; i < 8; i++) {
        CHECK(send(agent->fd, noise, sizeof(noise), MSG_NOSIGNAL) > 0 || errno == EAGAIN);
        CHECK(event_base_loop(loop->base, EVLOOP_NONBLOCK) >= 0);
    }
    while (!agent->eof) {
        turn(agent);
    }
    CHECK_INT(server.closed, 0); /* it lingers until we close */
    free_raw_agent(agent);
    run();
    CHECK_INT(server.end.error, 0);
    CHECK(!server.end.by_peer);
    side_done(&server);
    loop_free(loop);
}

static void send_bulk_when_opened(struct side *side)
{
    side->to_send = BULK_BYTES;
}

static void a_peer_that_never_reads_is_left(void)
{
    static const struct behaviour bulk = {.up = send_bulk_when_opened};
    struct side server;
    struct raw_agent *agent = make_raw_agent(&server, &bulk);
    struct etcp_stream *stream = NULL;
    unsigned turns = 0;

    agent->stop_reading = true;
    CHECK_INT(etcp_stream_open(agent->conn, "bulk", NULL, &stream), 0);
    while (turns++ < 50 || server.opened == 0) {
        turn(agent);
    }
    CHECK(server.sent > 0 && server.sent <= ETCP_WINDOW);
    CHECK(!link_has_room(server.link));
    CHECK(!link_send_back(server.link, server.stream, server.queue + ETCP_DATA_HEAD, 1));
    CHECK_INT(link_send(server.link, server.stream, server.queue, 1), 0);
    /* It still answers what it reads, and its last words do not wait for ever. */
    link_goodbye(server.link, ETCP_CODE_SHUTTING_DOWN, "bye");
    run();
    CHECK_INT(server.closed, 1);
    CHECK_INT(server.end.error, 0);
    free_raw_agent(agent);
    side_done(&server);
    loop_free(loop);
}

/* What is discarded before the last words are out does not count as lingering: section 3 has that begin afterwards. */
static void last_words_wait_for_a_peer_that_sends_a_lot_and_reads_late(void)
{
    static const struct behaviour bulk = {.up = send_bulk_when_opened};
    struct side server;
    struct raw_agent *agent = make_raw_agent(&server, &bulk);
    struct etcp_stream *stream = NULL;
    uint8_t noise[4096] = {0};
    size_t sent = 0;

    agent->stop_reading = true;
    CHECK_INT(etcp_stream_open(agent->conn, "bulk", NULL, &stream), 0);
    while (server.opened == 0 || link_has_room(server.link)) {
        turn(agent);
    }
    link_goodbye(server.link, ETCP_CODE_UNAUTHORIZED, "bye");
    while (server.closed == 0 && sent < (2u << 20)) {
        ssize_t n = send(agent->fd, noise, sizeof(noise), MSG_NOSIGNAL);

        CHECK(n > 0 || errno == EAGAIN);
        sent += n > 0 ? (size_t)n : 0;
        CHECK(event_base_loop(loop->base, EVLOOP_NONBLOCK) >= 0);
    }
    agent->stop_reading = false;
    while (!agent->eof) {
        turn(agent);
    }
    CHECK(agent->ended);
    free_raw_agent(agent);
    if (server.closed == 0) {
        run();
    }
    CHECK_INT(server.end.error, 0);
    side_done(&server);
    loop_free(loop);
}

static void a_bad_record_ends_the_link(void)
{
    struct side server;
    struct raw_agent *agent = make_raw_agent(&server, &plain);
    uint8_t record[64] = {0, 0, 0, 21};

    CHECK_INT(send(agent->fd, record, sizeof(record), MSG_NOSIGNAL), sizeof(record));
    (void)shutdown(agent->fd, SHUT_WR);
    run();
    CHECK_INT(server.end.error, ETCP_ERECORD);
    CHECK(server.end.detail != NULL);
    free_raw_agent(agent);
    side_done(&server);
    loop_free(loop);
}

static void a_new_link_can_be_ended_at_once(void)
{
    struct side server;
    int fd = make_lone_server(&server, &plain);

    link_goodbye(server.link, ETCP_CODE_OK, NULL);
    CHECK_INT(server.closed, 0); /* never from inside a call */
    run();
    CHECK_INT(server.end.sent_bytes, 0);
    side_done(&server);
    loop_free(loop);
    (void)close(fd);

    fd = make_lone_server(&server, &plain);
    link_abort(server.link, ETCP_ELOST, "gone");
    link_abort(server.link, ETCP_EPROTO, "twice");
    run();
    CHECK_INT(server.end.error, ETCP_ELOST);
    side_done(&server);
    loop_free(loop);
    (void)close(fd);
}

static const struct check_case cases[] = {
    CHECK_CASE(goodbye_in_an_event_reaches_the_peer),
    CHECK_CASE(an_abort_is_a_truncation_to_the_peer),
    CHECK_CASE(a_rejected_agent_is_told_so),
    CHECK_CASE(a_server_that_is_not_trusted_hears_nothing_more),
    CHECK_CASE(silent_strangers_and_garbage_get_no_byte),
    CHECK_CASE(a_slow_handshake_times_out),
    CHECK_CASE(a_handshake_that_stops_half_way_is_closed_on_time),
    CHECK_CASE(a_record_in_two_pieces_leaves_no_memory_behind),
    CHECK_CASE(a_flood_of_answers_stops_reading_and_goes_on),
    CHECK_CASE(last_words_are_not_overtaken_by_a_reset),
    CHECK_CASE(a_peer_that_never_reads_is_left),
    CHECK_CASE(last_words_wait_for_a_peer_that_sends_a_lot_and_reads_late),
    CHECK_CASE(a_bad_record_ends_the_link),
    CHECK_CASE(a_new_link_can_be_ended_at_once),
};

CHECK_MAIN(cases)
