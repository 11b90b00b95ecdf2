/* SPDX-License-Identifier: MIT
 *
 * Two links on one loop, joined by TCP, of which the agent's meets a socket that takes nothing for a while: the thread that would
 * read it sleeps. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <event2/event.h>

#include <etcp/etcp.h>

#include "check.h"
#include "conns.h"
#include "net/link.h"
#include "net/loop.h"
#include "net/splice.h"

enum { STREAMS = 12, CHUNK_BYTES = 16384, SLEEP_US = 60000, ROUNDS_MAX = 1000, DEADLINE_S = 60 };

struct side {
    struct link *link;
    bool closed;
};

static struct loop *loop;
static struct side agent, server;
static struct etcp_stream *streams[STREAMS];
static unsigned opened, rounds;
static int agent_fd;
static void (*writable)(void);
static int zeros, largest;
static bool hoards; /* the server gives no credit back */

static void on_end_of_patience(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
    CHECK_FAIL("done in time");
    loop_stop(loop);
}

static struct etcp_conn *make_conn(enum etcp_role role)
{
    struct etcp_conn_options options = {.role = role, .suite = role == ETCP_AGENT ? ETCP_SUITE_CHACHA20POLY1305 : 0};

    return conns_new(loop, options);
}

/* With buffers that do not grow, so that they are soon full. */
static void make_pair(int ret_pair[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    const int size = 32 * 1024;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CHECK_INT(setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)), 0);
    CHECK_INT(bind(listener, (const struct sockaddr *)&address, sizeof(address)), 0);
    CHECK_INT(listen(listener, 1), 0);
    CHECK_INT(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    ret_pair[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_INT(setsockopt(ret_pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
    CHECK_INT(connect(ret_pair[0], (const struct sockaddr *)&address, sizeof(address)), 0);
    CHECK_INT(fcntl(ret_pair[0], F_SETFL, O_NONBLOCK), 0);
    ret_pair[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    CHECK(ret_pair[1] >= 0);
    (void)close(listener);
}

static size_t say(unsigned stream, size_t len)
{
    static uint8_t words[CHUNK_BYTES];

    return link_send(agent.link, streams[stream], words, len);
}

/* As much as goes. */
static void fill(void)
{
    for (unsigned i = 0; i < opened && link_has_room(agent.link); i++) {
        while (say(i, CHUNK_BYTES) > 0) {
        }
    }
    CHECK(!link_has_room(agent.link));
}

static void fill_and_sleep(void)
{
    fill();
    (void)usleep(SLEEP_US); /* nobody reads meanwhile */
}

static void (*begin)(void) = fill_and_sleep;

static void on_begin(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
    begin();
}

static unsigned unsent_limit(void)
{
    unsigned bytes = 1;
    socklen_t len = sizeof(bytes);

    CHECK_INT(getsockopt(agent_fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, &len), 0);
    return bytes;
}

static void on_event(struct link *link, const struct etcp_event *event, void *user)
{
    const struct timeval soon = {.tv_usec = 1000};

    switch (event->type) {
    case ETCP_EVENT_PEER:
        CHECK_INT(etcp_conn_accept(link_conn(link), loop_now_us()), 0);
        break;
    case ETCP_EVENT_UP:
        if (user == &agent) {
            for (unsigned i = 0; i < opened; i++) {
                CHECK_INT(etcp_stream_open(link_conn(link), "sink", NULL, &streams[i]), 0);
            }
            CHECK_INT(event_base_once(loop->base, -1, EV_TIMEOUT, on_begin, NULL, &soon), 0);
        }
        break;
    case ETCP_EVENT_DATA:
        if (!hoards) {
            etcp_stream_consume(event->stream, event->len);
        }
        break;
    default:
        break;
    }
}

static void on_writable(struct link *link, void *user)
{
    (void)link;
    if (user == &agent) {
        rounds++;
        writable();
    }
}

static void on_closed(struct link *link, const struct link_end *end, void *user)
{
    (void)link;
    CHECK_INT(end->error, 0);
    ((struct side *)user)->closed = true;
    if (agent.closed && server.closed) {
        loop_stop(loop);
    }
}

static const struct link_handler handler = {.event = on_event, .writable = on_writable, .closed = on_closed};

static void run(unsigned count, void (*what)(void))
{
    const struct timeval patience = {.tv_sec = DEADLINE_S};
    struct event *deadline = NULL;
    int pair[2];

    opened = count;
    writable = what;
    rounds = 0;
    agent.closed = server.closed = false;
    CHECK_INT(etcp_init(), 0);
    CHECK_INT(loop_new(&loop), 0);
    make_pair(pair);
    agent_fd = pair[0];
    zeros = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    CHECK(zeros >= 0);
    deadline = event_new(loop->base, -1, 0, on_end_of_patience, NULL);
    CHECK(deadline != NULL && event_add(deadline, &patience) == 0);
    CHECK_INT(link_new(loop, pair[0], make_conn(ETCP_AGENT), &handler, &agent, &agent.link), 0);
    CHECK_INT(link_new(loop, pair[1], make_conn(ETCP_SERVER), &handler, &server, &server.link), 0);
    CHECK_INT(loop_run(loop), 0);
    event_free(deadline);
    (void)close(zeros);
    loop_free(loop);
}

/* One record in all: no more is known of the socket than that it has taken long. */
static void take_first_round(void)
{
    CHECK_INT(link_turn(agent.link, false), 1);
    CHECK_INT(link_turn(agent.link, true), 1);
    CHECK_INT(link_send_from(agent.link, streams[STREAMS - 1], zeros, 1), LINK_RECORD_DATA);
    CHECK_INT(link_turn(agent.link, true), 0);
    CHECK_INT(link_turn(agent.link, false), 1); /* who says little need not wait */
    link_goodbye(agent.link, ETCP_CODE_OK, NULL);
}

static void the_first_round_is_a_record(void)
{
    run(STREAMS, take_first_round);
    CHECK_INT(rounds, 1);
}

static void look_between_rounds(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
    CHECK_INT(link_turn(agent.link, true), 0);
    CHECK_INT(link_turn(agent.link, false), 1);
    link_goodbye(agent.link, ETCP_CODE_OK, NULL);
}

static void leave_round(void)
{
    const struct timeval soon = {.tv_usec = 1000};

    CHECK_INT(event_base_once(loop->base, -1, EV_TIMEOUT, look_between_rounds, NULL, &soon), 0);
}

/* Who has much to send asks for a round first. */
static void no_turns_between_rounds(void)
{
    run(STREAMS, leave_round);
    CHECK_INT(rounds, 1);
}

static void on_turn(struct link_waiter *waiter)
{
    (void)waiter;
    rounds++;
    writable();
}

/* Sends until something waits, which is soon taken: a reader is there now. So the next round is larger, until a turn is as large as
 * they get, and the round has room for more of them. */
static void take_growing_rounds(void)
{
    static struct link_waiter again = {.turn = on_turn};
    const int turn = link_turn(agent.link, true);
    unsigned i = 0;

    largest = turn > largest ? turn : largest;
    if (largest == 8 || rounds == ROUNDS_MAX) {
        link_goodbye(agent.link, ETCP_CODE_OK, NULL);
        return;
    }
    while (link_has_room(agent.link) && i < STREAMS) {
        i += link_send_from(agent.link, streams[i], zeros, 8) <= 0;
        link_flush(agent.link);
    }
    link_wait(agent.link, &again, true);
}

static void rounds_grow_with_what_the_socket_takes(void)
{
    largest = 0;
    run(STREAMS, take_growing_rounds);
    CHECK_INT(largest, 8);
}

/* Who is alone disturbs nobody. */
static void take_turn_alone(void)
{
    CHECK_INT(link_turn(agent.link, true), LINK_RECORDS_MAX);
    CHECK_INT(unsent_limit(), 0);
    link_goodbye(agent.link, ETCP_CODE_OK, NULL);
}

static void turns_of_one(void)
{
    run(1, take_turn_alone);
    CHECK_INT(rounds, 1);
}

/* Says a little now and then, until the kernel may take as much as it likes again. */
static void on_later(evutil_socket_t fd, short what, void *arg)
{
    const struct timeval again = {.tv_usec = 100000};

    (void)fd;
    (void)what;
    (void)arg;
    (void)say(0, 1); /* as soon as there is credit again */
    link_flush(agent.link);
    if (unsent_limit() == 0) {
        CHECK(link_turn(agent.link, true) > 1);
        link_goodbye(agent.link, ETCP_CODE_OK, NULL);
    } else {
        CHECK_INT(event_base_once(loop->base, -1, EV_TIMEOUT, on_later, NULL, &again), 0);
    }
}

static void look_at_limit(void)
{
    CHECK(unsent_limit() > 0);
    on_later(-1, 0, NULL);
}

static void the_kernel_takes_little_ahead(void)
{
    run(2, look_at_limit);
}

/* ---- Who waits for a turn -------------------------------------------------------------------------------------------- */

enum { WAITERS = 4, TURNS_MAX = 32 };

static struct link_waiter waiters[WAITERS];
static char order[TURNS_MAX + 1]; /* 'a' is the first one's turn, 'A' if it fills the socket */
static unsigned again;            /* how many turns are asked for once more */
static bool fills;

static void note_turn(struct link_waiter *waiter)
{
    const size_t len = strlen(order);
    const unsigned index = (unsigned)(waiter - waiters);

    CHECK(len < TURNS_MAX && !waiter->waits);
    order[len] = (char)((fills ? 'A' : 'a') + (int)index);
    if (again > 0) {
        again--;
        link_wait(agent.link, waiter, waiter->much);
    }
    if (fills) {
        fill();
    }
}

static void say_goodbye_now(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
    link_goodbye(agent.link, ETCP_CODE_OK, NULL);
}

static void wait_all(bool much)
{
    for (unsigned i = 0; i < WAITERS; i++) {
        link_wait(agent.link, &waiters[i], much);
        link_wait(agent.link, &waiters[i], much); /* keeps its place */
    }
}

static void (*ask)(void);

static void ask_once(void)
{
    if (rounds == 1) {
        ask();
    }
}

static void run_waiters(void (*what)(void), unsigned repeats, bool full)
{
    ask = what;
    memset(order, 0, sizeof(order));
    again = repeats;
    fills = full;
    for (unsigned i = 0; i < WAITERS; i++) {
        waiters[i] = (struct link_waiter){.turn = note_turn};
    }
    run(STREAMS, ask_once);
}

static void end_soon(void)
{
    const struct timeval soon = {.tv_usec = 100000};

    CHECK_INT(event_base_once(loop->base, -1, EV_TIMEOUT, say_goodbye_now, NULL, &soon), 0);
}

static void wait_in_order(void)
{
    wait_all(false);
    end_soon();
}

static void turns_come_in_the_order_of_asking(void)
{
    run_waiters(wait_in_order, 0, false);
    CHECK_STR(order, "abcd");
    run_waiters(wait_in_order, 3, false);
    CHECK_STR(order, "abcdabc"); /* those who ask again stand behind the others */
}

static void leave_the_queue(void)
{
    wait_all(false);
    link_leave(agent.link, &waiters[0]);
    link_leave(agent.link, &waiters[2]);
    link_leave(agent.link, &waiters[2]);
    link_leave(agent.link, &waiters[3]);
    link_wait(agent.link, &waiters[0], false);
    end_soon();
}

static void who_leaves_has_no_turn(void)
{
    run_waiters(leave_the_queue, 0, false);
    CHECK_STR(order, "ba");
}

static void take_others_out(struct link_waiter *waiter)
{
    note_turn(waiter);
    for (unsigned i = 1; i < WAITERS; i++) {
        link_leave(agent.link, &waiters[i]);
    }
}

static void wait_for_the_first(void)
{
    waiters[0].turn = take_others_out;
    wait_in_order();
}

static void a_turn_may_end_those_of_others(void)
{
    run_waiters(wait_for_the_first, 0, false);
    CHECK_STR(order, "a");
}

static void wait_of_both_kinds(void)
{
    link_wait(agent.link, &waiters[0], true);
    link_wait(agent.link, &waiters[1], true);
    link_wait(agent.link, &waiters[2], false);
    link_wait(agent.link, &waiters[3], true);
    link_wait(agent.link, &waiters[3], false); /* moves to the end of the other kind */
    end_soon();
}

/* The socket has room for one turn at a time: who has little to say is first, but neither kind keeps the other waiting. */
static void neither_kind_starves(void)
{
    run_waiters(wait_of_both_kinds, 0, true);
    CHECK_STR(order, "CADB");
}

/* Says so many records, and asks again. Returns what link_send_from() said. */
static ssize_t say_records(struct link_waiter *waiter, int records)
{
    const size_t len = strlen(order);
    const unsigned index = (unsigned)(waiter - waiters);
    ssize_t n;

    if (len == TURNS_MAX) {
        link_goodbye(agent.link, ETCP_CODE_OK, NULL);
        return 1;
    }
    order[len] = (char)('a' + (int)index);
    n = link_send_from(agent.link, streams[STREAMS - 1 - index], zeros, records);
    link_wait(agent.link, waiter, waiter->much);
    return n;
}

static void say_record(struct link_waiter *waiter)
{
    (void)say_records(waiter, 1);
}

static void wait_beside_many(void)
{
    for (unsigned i = 0; i < WAITERS; i++) {
        waiters[i].turn = say_record;
        link_wait(agent.link, &waiters[i], i == WAITERS - 1);
    }
}

/* A round has room for a record of theirs, and the others say more than that each time. */
static void those_with_much_have_their_share(void)
{
    unsigned turns = 0;

    run_waiters(wait_beside_many, 0, false);
    CHECK_INT(strlen(order), TURNS_MAX);
    for (const char *at = order; (at = strchr(at, 'd')) != NULL; at++) {
        turns++;
    }
    CHECK(turns >= TURNS_MAX / (2 * WAITERS));
}

/* A quarter of what the loop's output buffer takes, but for the heads: the fourth in a round finds no room for it. */
static void say_quarter(struct link_waiter *waiter)
{
    CHECK(say_records(waiter, 8) > 0);
}

static void wait_to_say_quarters(void)
{
    for (unsigned i = 0; i < WAITERS; i++) {
        waiters[i].turn = say_quarter;
        link_wait(agent.link, &waiters[i], false);
    }
}

/* Nobody gets a turn in vain, which would send him to the end of the queue. */
static void a_turn_has_room(void)
{
    run_waiters(wait_to_say_quarters, 0, false);
    CHECK_STR(order, "abcdabcdabcdabcdabcdabcdabcdabcd");
}

static void wait_and_go(void)
{
    wait_all(true);
    link_goodbye(agent.link, ETCP_CODE_OK, NULL);
}

static void no_turns_after_goodbye(void)
{
    run_waiters(wait_and_go, 0, false);
    CHECK_STR(order, "");
    CHECK(waiters[0].waits); /* it leaves when its owner goes */
}

/* Sends what a turn may be, until it may be more. */
static void note_size(struct link_waiter *waiter)
{
    const int turn = link_turn(agent.link, true);
    const size_t len = strlen(order);

    order[len] = (char)('0' + turn);
    if (turn > 1 || len + 1 == TURNS_MAX) {
        link_goodbye(agent.link, ETCP_CODE_OK, NULL);
        return;
    }
    CHECK_INT(link_send_from(agent.link, streams[STREAMS - 1 - len % WAITERS], zeros, turn), LINK_RECORD_DATA);
    link_wait(agent.link, waiter, true);
}

static void wait_for_rounds(void)
{
    waiters[0].turn = note_size;
    link_wait(agent.link, &waiters[0], true);
}

/* A record a round, each of which the socket takes at once: it is not slow any more. */
static void rounds_grow_while_the_socket_takes_them(void)
{
    run_waiters(wait_for_rounds, 0, false);
    CHECK_STR(order + strspn(order, "1"), "2");
}

/* ---- A splice that waits for a turn ----------------------------------------------------------------------------------- */

static uint64_t spliced;

static void on_splice_closed(struct splice *splice, const struct splice_end *end, void *user)
{
    (void)splice;
    (void)user;
    CHECK_INT(end->error, -ECONNRESET);
    link_goodbye(agent.link, ETCP_CODE_OK, NULL);
}

/* It begins in the queue, where the reset comes. */
static void begin_splice(bool fin)
{
    static const struct splice_handler splice_handler = {.closed = on_splice_closed};
    struct splice *splice = NULL;
    int pair[2];

    make_pair(pair);
    CHECK_INT(splice_new(loop, agent.link, streams[0], &spliced, &splice_handler, NULL, &splice), 0);
    splice_start(splice, pair[1], NULL, 0, true);
    if (fin) {
        CHECK_INT(shutdown(pair[0], SHUT_WR), 0);
    }
    splice_reset_socket(pair[0]);
}

/* The stream has used up its credit, all of which is on its way. */
static void reset_in_the_queue(void)
{
    static uint8_t window[ETCP_WINDOW];

    CHECK_INT(link_send(agent.link, streams[0], window, sizeof(window)), (long)sizeof(window));
    CHECK(!link_has_room(agent.link) && etcp_stream_writable(streams[0]) == 0);
    begin_splice(false);
}

static void no_round(void)
{
}

/* Another stream has filled the socket: this one still has credit. */
static void fin_and_reset_in_the_queue(void)
{
    while (say(1, CHUNK_BYTES) > 0) {
    }
    CHECK(!link_has_room(agent.link) && etcp_stream_writable(streams[0]) > 0);
    begin_splice(true);
}

/* A read finds the end alone: Linux tells no error after it. */
static void a_reset_after_fin_in_the_queue_is_noticed(void)
{
    begin = fin_and_reset_in_the_queue;
    run(2, no_round);
    begin = fill_and_sleep;
}

/* No credit comes back, so nothing is read when its turn comes: the reset is noticed nevertheless. */
static void a_reset_in_the_queue_is_noticed(void)
{
    begin = reset_in_the_queue;
    hoards = true;
    run(1, no_round);
    begin = fill_and_sleep;
    hoards = false;
}

static const struct check_case cases[] = {
    CHECK_CASE(the_first_round_is_a_record),
    CHECK_CASE(no_turns_between_rounds),
    CHECK_CASE(rounds_grow_with_what_the_socket_takes),
    CHECK_CASE(turns_of_one),
    CHECK_CASE(the_kernel_takes_little_ahead),
    CHECK_CASE(turns_come_in_the_order_of_asking),
    CHECK_CASE(who_leaves_has_no_turn),
    CHECK_CASE(a_turn_may_end_those_of_others),
    CHECK_CASE(neither_kind_starves),
    CHECK_CASE(those_with_much_have_their_share),
    CHECK_CASE(a_turn_has_room),
    CHECK_CASE(no_turns_after_goodbye),
    CHECK_CASE(rounds_grow_while_the_socket_takes_them),
    CHECK_CASE(a_reset_in_the_queue_is_noticed),
    CHECK_CASE(a_reset_after_fin_in_the_queue_is_noticed),
};

CHECK_MAIN(cases)
