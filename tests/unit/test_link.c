/* SPDX-License-Identifier: MIT
 *
 * Two links on one loop, joined by a socket pair whose buffers are as small as the kernel allows; or one link, and a peer in
 * the test's own hands that reads and writes when the case wants it to. */
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include <sys/socket.h>

#include <event2/event.h>

#include <etcp/etcp.h>

#include "check.h"
#include "conns.h"
#include "core/conn.h" /* looks at what a connection owns */
#include "net/link.h"
#include "net/loop.h"

#define BULK_BYTES (8u << 20)
enum { CHUNK_BYTES = 100000, DEADLINE_S = 60 };

struct side;

/* What a case adds to the usual behaviour. */
struct behaviour {
    void (*up)(struct side *side);
    bool (*event)(struct side *side, const struct etcp_event *event); /* returns whether it took the event */
    void (*writable)(struct side *side);
};

struct side {
    struct link *link; /* NULL once `closed` */
    struct loop *loop;
    const struct behaviour *behaviour;
    bool is_server, in_place;
    bool leaves; /* says Goodbye when everything has come back */
    struct side *peer;
    struct etcp_stream *stream;
    uint64_t to_send, sent, received, messages;
    uint8_t *queue; /* what waits to be echoed */
    size_t queued;
    unsigned closed, opened;
    unsigned writables;
    int end_code; /* of ETCP_EVENT_END, -1 before */
    struct link_end end;
};

static struct loop *loop;

static uint8_t pattern(uint64_t at)
{
    return (uint8_t)((at * 2654435761u) >> 13);
}

static void both_gone(struct side *side)
{
    if (side->closed > 0 && (side->peer == NULL || side->peer->closed > 0)) {
        loop_stop(side->loop);
    }
}

/* ---- The application: one side sends `to_send` bytes of the pattern, both echo or count -------------------------------- */

static void pump(struct side *side)
{
    uint8_t chunk[CHUNK_BYTES];

    while (side->queued > 0) {
        size_t n = link_send(side->link, side->stream, side->queue, side->queued);

        if (n == 0) {
            return;
        }
        memmove(side->queue, side->queue + n, side->queued - n);
        side->queued -= n;
        etcp_stream_consume(side->stream, n);
    }
    while (side->sent < side->to_send) {
        size_t len = side->to_send - side->sent < CHUNK_BYTES ? (size_t)(side->to_send - side->sent) : CHUNK_BYTES;
        size_t n;

        for (size_t i = 0; i < len; i++) {
            chunk[i] = pattern(side->sent + i);
        }
        n = link_send(side->link, side->stream, chunk, len);
        side->sent += n;
        if (n < len) {
            return;
        }
    }
}

static void on_data(struct side *side, const struct etcp_event *event)
{
    if (side->in_place) {
        if (side->queued == 0 && link_send_back(side->link, event->stream, event->data, event->len)) {
            etcp_stream_consume(event->stream, event->len);
            return;
        }
        CHECK(side->queued + event->len <= ETCP_WINDOW);
        memcpy(side->queue + side->queued, event->data, event->len);
        side->queued += event->len;
        pump(side);
        return;
    }
    for (size_t i = 0; i < event->len; i++) {
        CHECK_INT(event->data[i], pattern(side->received + i));
    }
    side->received += event->len;
    etcp_stream_consume(event->stream, event->len);
    if (side->leaves && side->received == side->to_send) {
        link_goodbye(side->link, ETCP_CODE_OK, "done");
    }
}

static void on_event(struct link *link, const struct etcp_event *event, void *user)
{
    struct side *side = user;

    CHECK(side->closed == 0 && side->link == link);
    if (event->type == ETCP_EVENT_END) {
        side->end_code = event->code;
    }
    if (side->behaviour->event != NULL && side->behaviour->event(side, event)) {
        return;
    }
    switch (event->type) {
    case ETCP_EVENT_PEER:
        CHECK_INT(etcp_conn_accept(link_conn(link), loop_now_us()), 0);
        break;
    case ETCP_EVENT_UP:
        if (side->behaviour->up != NULL) {
            side->behaviour->up(side);
        }
        break;
    case ETCP_EVENT_OPEN:
        side->opened++;
        side->stream = event->stream;
        pump(side);
        break;
    case ETCP_EVENT_DATA:
        on_data(side, event);
        break;
    case ETCP_EVENT_CREDIT:
        pump(side);
        break;
    case ETCP_EVENT_STREAM_ERROR:
        etcp_stream_free(event->stream);
        break;
    default:
        break;
    }
}

static void on_writable(struct link *link, void *user)
{
    struct side *side = user;

    CHECK(link_has_room(link));
    side->writables++;
    if (side->behaviour->writable != NULL) {
        side->behaviour->writable(side);
    } else if (side->stream != NULL) {
        pump(side);
    }
}

static void on_closed(struct link *link, const struct link_end *end, void *user)
{
    struct side *side = user;

    CHECK(side->link == link);
    /* Whatever is called now does no harm. */
    link_goodbye(link, ETCP_CODE_OK, NULL);
    link_abort(link, ETCP_ELOST, "too late");
    link_flush(link);
    CHECK(!link_has_room(link));
    side->closed++;
    CHECK_INT(side->closed, 1);
    side->end = *end;
    side->link = NULL;
    both_gone(side);
}

static const struct link_handler handler = {.event = on_event, .writable = on_writable, .closed = on_closed};

/* ---- Set-up ------------------------------------------------------------------------------------------------------------ */

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
    CHECK_FAIL("the case ends in time");
}

static void run(void)
{
    struct event *deadline = event_new(loop->base, -1, 0, on_deadline, NULL);
    struct timeval after = {.tv_sec = DEADLINE_S};

    CHECK(deadline != NULL && event_add(deadline, &after) == 0);
    CHECK_INT(loop_run(loop), 0);
    event_free(deadline);
}

static void make_pair(int ret_pair[2])
{
    int size = 4096;

    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ret_pair), 0);
    for (unsigned i = 0; i < 2; i++) {
        CHECK_INT(setsockopt(ret_pair[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
    }
}

static struct etcp_conn *make_conn(enum etcp_role role, int suite, uint64_t handshake_us)
{
    struct etcp_conn_options options = {.role = role,
                                        .suite = role == ETCP_AGENT ? (enum etcp_suite)suite : (enum etcp_suite)0,
                                        .classic = role == ETCP_SERVER && suite == ETCP_SUITE_CLASSIC,
                                        .handshake_timeout_us = handshake_us};

    return conns_new(loop, options);
}

static void side_init(struct side *side, int fd, enum etcp_role role, int suite, const struct behaviour *behaviour)
{
    *side = (struct side){.loop = loop, .behaviour = behaviour, .is_server = role == ETCP_SERVER, .end_code = -1};
    side->queue = malloc(ETCP_WINDOW);
    CHECK(side->queue != NULL);
    CHECK_INT(link_new(loop, fd, make_conn(role, suite, 0), &handler, side, &side->link), 0);
}

static void side_done(struct side *side)
{
    CHECK_INT(side->closed, 1);
    free(side->queue);
}

static void make_sides(struct side *agent, const struct behaviour *agent_behaviour, struct side *server,
                       const struct behaviour *server_behaviour, int suite)
{
    int pair[2];

    CHECK_INT(etcp_init(), 0);
    CHECK_INT(loop_new(&loop), 0);
    make_pair(pair);
    side_init(agent, pair[0], ETCP_AGENT, suite, agent_behaviour);
    side_init(server, pair[1], ETCP_SERVER, suite, server_behaviour);
    agent->peer = server;
    server->peer = agent;
}

static void done_sides(struct side *agent, struct side *server)
{
    side_done(agent);
    side_done(server);
    loop_free(loop);
}

static void open_stream(struct side *side)
{
    if (!side->is_server) {
        CHECK_INT(etcp_stream_open(link_conn(side->link), "echo", NULL, &side->stream), 0);
        pump(side);
    }
}

static const struct behaviour plain = {0};
static const struct behaviour opening = {.up = open_stream};

/* ---- Data ---------------------------------------------------------------------------------------------------------------- */

static void echo_in_place_keeps_every_byte_in_order(void)
{
    struct side agent, server;

    make_sides(&agent, &opening, &server, &plain, ETCP_SUITE_CHACHA20POLY1305);
    server.in_place = true;
    agent.to_send = BULK_BYTES;
    agent.leaves = true;
    run();
    CHECK_INT(agent.received, BULK_BYTES);
    CHECK_INT(agent.end.error, 0);
    CHECK(!agent.end.by_peer && !agent.end.is_errno);
    CHECK_INT(server.end.error, 0);
    CHECK(server.end.by_peer);
    CHECK_INT(server.end_code, ETCP_CODE_OK);
    CHECK(server.end.received_bytes > BULK_BYTES && server.end.received_bytes == agent.end.sent_bytes);
    CHECK(agent.writables > 0);
    done_sides(&agent, &server);
}

static bool end_when_both_have_all(struct side *side, const struct etcp_event *event)
{
    if (event->type == ETCP_EVENT_DATA) {
        on_data(side, event);
        if (side->received == BULK_BYTES && side->peer->received == BULK_BYTES && side->link != NULL) {
            link_goodbye(side->link, ETCP_CODE_OK, NULL);
        }
        return true;
    }
    return false;
}

static void start_bulk(struct side *side)
{
    side->to_send = BULK_BYTES;
    open_stream(side);
}

static void bulk_both_ways_does_not_lock_up(void)
{
    static const struct behaviour bulk = {.up = start_bulk, .event = end_when_both_have_all};
    struct side agent, server;

    /* Both sides send far more than the sockets hold, and neither takes it as a reason not to read. */
    make_sides(&agent, &bulk, &server, &bulk, ETCP_SUITE_CHACHA20POLY1305);
    run();
    CHECK_INT(agent.received, BULK_BYTES);
    CHECK_INT(server.received, BULK_BYTES);
    CHECK_INT(agent.end.error, 0);
    CHECK_INT(server.end.error, 0);
    done_sides(&agent, &server);
}

enum { MESSAGES = 500, MESSAGE_BYTES = 9000 };

static void send_messages(struct side *side)
{
    uint8_t message[MESSAGE_BYTES];

    while (!side->is_server && side->sent < MESSAGES) {
        memset(message, (int)side->sent, sizeof(message));
        if (!link_message(side->link, message, sizeof(message) - side->sent)) {
            return;
        }
        side->sent++;
    }
}

static bool on_message(struct side *side, const struct etcp_event *event)
{
    if (event->type != ETCP_EVENT_MESSAGE) {
        return false;
    }
    CHECK_INT(event->len, MESSAGE_BYTES - side->messages);
    CHECK_INT(event->data[0], (uint8_t)side->messages);
    side->messages++;
    if (side->is_server) {
        /* While the socket takes nothing the link reads nothing, so an echo needs no queue of more than one message. */
        if (side->queued == 0 && link_message_back(side->link, event->data, event->len)) {
            return true;
        }
        CHECK_INT(side->queued, 0);
        memcpy(side->queue, event->data, event->len);
        side->queued = event->len;
        return true;
    }
    if (side->messages == MESSAGES) {
        link_goodbye(side->link, ETCP_CODE_OK, NULL);
    }
    return true;
}

static void on_writable_message(struct link *link, void *user)
{
    struct side *side = user;

    if (side->queued > 0) {
        CHECK(link_message(link, side->queue, side->queued));
        side->queued = 0;
    }
    send_messages(side);
}

static void classic_messages_keep_their_boundaries(void)
{
    static const struct link_handler messages = {
        .event = on_event, .writable = on_writable_message, .closed = on_closed};
    static const struct behaviour classic = {.up = send_messages, .event = on_message};
    struct side agent = {.behaviour = &classic, .end_code = -1}, server = {.behaviour = &classic, .end_code = -1};
    int pair[2];

    if (!etcp_suite_available(ETCP_SUITE_CLASSIC)) {
        (void)printf("skipped: this processor has no AES instructions\n");
        return;
    }
    CHECK_INT(etcp_init(), 0);
    CHECK_INT(loop_new(&loop), 0);
    make_pair(pair);
    agent.loop = server.loop = loop;
    agent.peer = &server;
    server.peer = &agent;
    server.is_server = true;
    server.queue = malloc(MESSAGE_BYTES);
    CHECK(server.queue != NULL);
    CHECK_INT(link_new(loop, pair[0], make_conn(ETCP_AGENT, ETCP_SUITE_CLASSIC, 0), &messages, &agent, &agent.link), 0);
    CHECK_INT(link_new(loop, pair[1], make_conn(ETCP_SERVER, ETCP_SUITE_CLASSIC, 0), &messages, &server, &server.link),
              0);
    run();
    CHECK_INT(agent.messages, MESSAGES);
    CHECK_INT(server.messages, MESSAGES);
    CHECK_INT(server.end.error, 0);
    CHECK(server.end.by_peer);
    done_sides(&agent, &server);
}

/* ---- Parcels ------------------------------------------------------------------------------------------------------------- */

/* What a case of the agent's does once its streams are open, from the loop but from no callback of the link's. */
struct talk {
    struct etcp_stream *streams[2];
    void (*say)(struct side *side);
    struct event *turn;
    unsigned count; /* streams that are opened */
    struct side *side;
    struct link_waiter waiter;
    unsigned turns;
};

static struct talk talk;
static struct {
    size_t streams, len;
    uint32_t ids[8]; /* in what order data came */
    bool ended;
} heard;

static uint64_t bytes_sent(const struct side *side)
{
    uint64_t received, sent;

    link_traffic(side->link, &received, &sent);
    return sent;
}

static size_t say(struct side *side, unsigned stream, size_t len)
{
    static uint8_t words[16384];

    return link_send(side->link, talk.streams[stream], words, len);
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    talk.say(arg);
}

static void open_streams(struct side *side)
{
    struct timeval soon = {.tv_usec = 1000};

    for (unsigned i = 0; i < talk.count; i++) {
        CHECK_INT(etcp_stream_open(link_conn(side->link), "echo", NULL, &talk.streams[i]), 0);
    }
    talk.turn = event_new(loop->base, -1, 0, on_turn, side);
    CHECK(talk.turn != NULL && event_add(talk.turn, &soon) == 0);
}

static bool hear(struct side *side, const struct etcp_event *event)
{
    (void)side;
    switch (event->type) {
    case ETCP_EVENT_OPEN:
        heard.streams++;
        return true;
    case ETCP_EVENT_DATA:
        if (heard.len < sizeof(heard.ids) / sizeof(heard.ids[0])) {
            heard.ids[heard.len] = etcp_stream_id(event->stream);
        }
        heard.len++;
        return true;
    case ETCP_EVENT_END:
        heard.ended = true;
        return true;
    default:
        return false;
    }
}

static void ask_again(struct link_waiter *waiter)
{
    const unsigned before = ++talk.turns;

    CHECK(waiter == &talk.waiter);
    if (before < 3) {
        link_wait(talk.side->link, waiter, before == 2);
    } else {
        link_goodbye(talk.side->link, ETCP_CODE_OK, NULL);
    }
    CHECK_INT(talk.turns, before); /* from the loop only */
}

static void run_talk(unsigned count, void (*what)(struct side *side))
{
    static const struct behaviour talker = {.up = open_streams}, listener = {.event = hear};
    struct side agent, server;

    memset(&heard, 0, sizeof(heard));
    talk = (struct talk){.say = what, .count = count};
    make_sides(&agent, &talker, &server, &listener, ETCP_SUITE_CHACHA20POLY1305);
    run();
    CHECK_INT(heard.streams, count);
    event_free(talk.turn);
    done_sides(&agent, &server);
}

static void say_on_two_streams(struct side *side)
{
    uint64_t before = bytes_sent(side);

    CHECK_INT(say(side, 0, 10), 10);
    CHECK_INT(say(side, 1, 20), 20);
    CHECK_INT(say(side, 0, 30), 30);
    link_flush(side->link);
    CHECK_INT(bytes_sent(side), before); /* until the turn ends */
    link_goodbye(side->link, ETCP_CODE_OK, NULL);
    CHECK(bytes_sent(side) > before + 60); /* the last words take all of it along */
}

static void say_much_after_little(struct side *side)
{
    uint64_t before = bytes_sent(side);

    CHECK_INT(say(side, 0, 10), 10);
    CHECK_INT(bytes_sent(side), before);
    CHECK_INT(say(side, 1, 5000), 5000); /* more than a parcel holds */
    CHECK(bytes_sent(side) >= before + 4096 || !link_has_room(side->link));
    link_goodbye(side->link, ETCP_CODE_OK, NULL);
}

static void say_on_one_stream(struct side *side)
{
    uint64_t before = bytes_sent(side);

    CHECK_INT(say(side, 0, 10), 10);
    CHECK(bytes_sent(side) > before); /* nobody else would come along */
    link_goodbye(side->link, ETCP_CODE_OK, NULL);
}

static void leave_at_turn_end(evutil_socket_t fd, short what, void *arg)
{
    struct side *side = arg;

    (void)fd;
    (void)what;
    CHECK(bytes_sent(side) > side->sent);
    link_goodbye(side->link, ETCP_CODE_OK, NULL);
}

static void say_and_wait(struct side *side)
{
    struct timeval soon = {.tv_usec = 1000};

    side->sent = bytes_sent(side);
    CHECK_INT(say(side, 0, 10), 10);
    CHECK_INT(say(side, 1, 10), 10);
    CHECK_INT(bytes_sent(side), side->sent);
    event_free(talk.turn);
    talk.turn = event_new(loop->base, -1, 0, leave_at_turn_end, side);
    CHECK(talk.turn != NULL && event_add(talk.turn, &soon) == 0);
}

static void say_and_abort(struct side *side)
{
    CHECK_INT(say(side, 0, 10), 10);
    CHECK_INT(say(side, 1, 10), 10);
    link_abort(side->link, ETCP_ELOST, "gone");
}

static void ask_for_turns(struct side *side)
{
    CHECK_INT(link_turn(side->link, false), talk.count == 1 ? LINK_RECORDS_MAX : LINK_RECORDS_MAX / 2);
    talk.side = side;
    talk.waiter.turn = ask_again;
    link_wait(side->link, &talk.waiter, false);
    CHECK_INT(talk.turns, 0);
}

/* Nothing waits for the socket, so no event of its will bring the turns. */
static void who_asks_has_another_turn(void)
{
    run_talk(1, ask_for_turns);
    CHECK(heard.ended);
    run_talk(2, ask_for_turns);
    CHECK(heard.ended);
}

static void what_streams_say_in_one_turn_is_one_write(void)
{
    run_talk(2, say_on_two_streams);
    CHECK_INT(heard.len, 3);
    CHECK(heard.ids[0] == heard.ids[2] && heard.ids[0] != heard.ids[1]);
    CHECK(heard.ended);
    run_talk(2, say_much_after_little);
    CHECK_INT(heard.len, 2);
    CHECK(heard.ids[0] != heard.ids[1] && heard.ended);
    run_talk(1, say_on_one_stream);
    CHECK_INT(heard.len, 1);
    run_talk(2, say_and_wait);
    CHECK_INT(heard.len, 2);
    run_talk(2, say_and_abort);
    CHECK_INT(heard.len, 0);
    CHECK(!heard.ended);
}

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
    CHECK_CASE(echo_in_place_keeps_every_byte_in_order),
    CHECK_CASE(bulk_both_ways_does_not_lock_up),
    CHECK_CASE(classic_messages_keep_their_boundaries),
    CHECK_CASE(what_streams_say_in_one_turn_is_one_write),
    CHECK_CASE(who_asks_has_another_turn),
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
