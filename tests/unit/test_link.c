/* SPDX-License-Identifier: MIT
 *
 * Data over two links: streams, messages, and what streams say in one turn of the loop. */
#include <etcp/etcp.h>

#include "check.h"
#include "net/link.h"
#include "net/loop.h"
#include "sides.h"

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

static const struct check_case cases[] = {
    CHECK_CASE(echo_in_place_keeps_every_byte_in_order),
    CHECK_CASE(bulk_both_ways_does_not_lock_up),
    CHECK_CASE(classic_messages_keep_their_boundaries),
    CHECK_CASE(what_streams_say_in_one_turn_is_one_write),
    CHECK_CASE(who_asks_has_another_turn),
};

CHECK_MAIN(cases)
