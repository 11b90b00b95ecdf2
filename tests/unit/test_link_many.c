/* SPDX-License-Identifier: MIT
 *
 * Many shared links on one loop, more of them than there are parcels, whose sockets hold next to nothing: streams say a little or
 * much in random order, from the loop, from inside callbacks of the same link and of others; readers stall; links end in every
 * way. Every byte is checked, and all that was taken before a Goodbye arrives before it. */
#include <sys/socket.h>

#include <event2/event.h>

#include <etcp/etcp.h>

#include "check.h"
#include "conns.h"
#include "net/link.h"
#include "net/loop.h"

enum {
    PAIRS = 100,
    STREAMS = 4,
    TURNS = 300,
    ACTS = 40, /* in each turn */
    DEADLINE_S = 60,
};

struct side;

struct lane {
    struct etcp_stream *stream; /* NULL: not there, or gone */
    uint64_t sent, received;
    size_t unread; /* received, not consumed yet */
};

struct side {
    struct side *peer;
    struct link *link; /* NULL once `closed` */
    struct lane lanes[STREAMS];
    unsigned opened;
    bool is_agent, up;
    bool leaves;  /* has said Goodbye */
    bool ended;   /* has heard it */
    bool crashed; /* was aborted */
};

static struct loop *loop;
static struct event *turn;
static struct side sides[PAIRS][2];
static unsigned turns, alive;
static uint32_t state;
static uint64_t nested;

static uint32_t pick(uint32_t below)
{
    state = state * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)(state >> 4) * below) >> 28);
}

static uint8_t pattern(unsigned lane, uint64_t at)
{
    return (uint8_t)(((at + lane * 977u) * 2654435761u) >> 13);
}

static void say(struct side *side, unsigned number, size_t len)
{
    static uint8_t words[70000];
    struct lane *lane = &side->lanes[number];

    if (side->link == NULL || lane->stream == NULL || side->leaves || side->crashed) {
        return;
    }
    for (size_t i = 0; i < len; i++) {
        words[i] = pattern(number, lane->sent + i);
    }
    lane->sent += link_send(side->link, lane->stream, words, len);
}

static size_t some_length(void)
{
    static const uint32_t most[] = {1, 30, 300, 300, 300, 5000, 70000};

    return 1 + pick(most[pick(sizeof(most) / sizeof(most[0]))]);
}

static void read_on(struct side *side, struct lane *lane)
{
    if (side->link != NULL && lane->stream != NULL && lane->unread > 0) {
        etcp_stream_consume(lane->stream, lane->unread);
        lane->unread = 0;
        link_flush(side->link);
    }
}

static struct side *anybody(void)
{
    return &sides[pick(PAIRS)][pick(2)];
}

/* ---- Links --------------------------------------------------------------------------------------------------------------- */

static void on_data(struct side *side, const struct etcp_event *event)
{
    struct lane *lane = etcp_stream_user(event->stream);
    const unsigned number = (unsigned)(lane - side->lanes);

    for (size_t i = 0; i < event->len; i++) {
        CHECK_INT(event->data[i], pattern(number, lane->received + i));
    }
    lane->received += event->len;
    lane->unread += event->len;
    CHECK(lane->received <= side->peer->lanes[number].sent);
    switch (pick(8)) {
    case 0: /* it stalls */
        return;
    case 1:
        nested++;
        say(side, pick(STREAMS), some_length());
        break;
    case 2:
        nested++;
        say(anybody(), pick(STREAMS), some_length());
        break;
    default:
        break;
    }
    read_on(side, lane);
}

static void on_event(struct link *link, const struct etcp_event *event, void *user)
{
    struct side *side = user;

    switch (event->type) {
    case ETCP_EVENT_PEER:
        CHECK_INT(etcp_conn_accept(link_conn(link), loop_now_us()), 0);
        break;
    case ETCP_EVENT_UP:
        side->up = true;
        for (unsigned i = 0; i < STREAMS && side->is_agent; i++) {
            CHECK_INT(etcp_stream_open(link_conn(link), "echo", NULL, &side->lanes[i].stream), 0);
            etcp_stream_set_user(side->lanes[i].stream, &side->lanes[i]);
        }
        break;
    case ETCP_EVENT_OPEN:
        CHECK(side->opened < STREAMS);
        side->lanes[side->opened].stream = event->stream;
        etcp_stream_set_user(event->stream, &side->lanes[side->opened]);
        side->opened++;
        break;
    case ETCP_EVENT_DATA:
        on_data(side, event);
        break;
    case ETCP_EVENT_END:
        side->ended = true;
        for (unsigned i = 0; i < STREAMS; i++) {
            CHECK_INT(side->lanes[i].received, side->peer->lanes[i].sent);
        }
        break;
    default:
        break;
    }
}

static void on_writable(struct link *link, void *user)
{
    CHECK(link_has_room(link));
    say(user, pick(STREAMS), some_length());
}

static void on_closed(struct link *link, const struct link_end *end, void *user)
{
    struct side *side = user;

    CHECK(side->link == link);
    if (!side->crashed && !side->peer->crashed) {
        CHECK_INT(end->error, 0);
        CHECK(side->ended || side->leaves);
    }
    side->link = NULL;
    alive--;
    if (alive == 0) {
        loop_stop(loop);
    }
}

static const struct link_handler handler = {.event = on_event, .writable = on_writable, .closed = on_closed};

/* ---- What happens -------------------------------------------------------------------------------------------------------- */

static void leave(struct side *side)
{
    if (side->link != NULL && side->up && !side->crashed) {
        side->leaves = true;
        link_goodbye(side->link, ETCP_CODE_OK, NULL);
    }
}

static void crash(struct side *side)
{
    if (side->link != NULL) {
        side->crashed = true;
        link_abort(side->link, ETCP_ELOST, "crashed");
    }
}

static void act(void)
{
    struct side *side = anybody();

    switch (pick(2000)) {
    case 0:
        crash(side);
        break;
    case 1:
        leave(side);
        break;
    default:
        if (pick(10) == 0) {
            read_on(side, &side->lanes[pick(STREAMS)]);
        }
        for (uint32_t i = pick(4); i > 0; i--) {
            say(side, pick(STREAMS), some_length());
        }
        break;
    }
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
    const struct timeval soon = {.tv_usec = 500};

    (void)fd;
    (void)what;
    (void)arg;
    if (turns++ < TURNS) {
        for (unsigned i = 0; i < ACTS; i++) {
            act();
        }
        CHECK_INT(event_add(turn, pick(2) == 0 ? &soon : &(struct timeval){0}), 0);
        return;
    }
    for (unsigned i = 0; i < PAIRS; i++) {
        for (unsigned j = 0; j < STREAMS; j++) {
            read_on(&sides[i][0], &sides[i][0].lanes[j]);
            read_on(&sides[i][1], &sides[i][1].lanes[j]);
        }
        leave(&sides[i][pick(2)]);
    }
}

static void side_init(struct side *side, int fd, bool is_agent)
{
    struct etcp_conn_options options = {.role = is_agent ? ETCP_AGENT : ETCP_SERVER,
                                        .suite = is_agent ? ETCP_SUITE_CHACHA20POLY1305 : (enum etcp_suite)0};

    side->is_agent = is_agent;
    CHECK_INT(link_new(loop, fd, conns_new(loop, options), &handler, side, &side->link), 0);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
    CHECK_FAIL("the case ends in time");
}

static void run(uint32_t seed)
{
    const struct timeval soon = {.tv_usec = 500}, after = {.tv_sec = DEADLINE_S};
    struct event *deadline = NULL;
    int pair[2], size = 4096;

    state = seed;
    turns = 0;
    alive = 2 * PAIRS;
    memset(sides, 0, sizeof(sides));
    CHECK_INT(etcp_init(), 0);
    CHECK_INT(loop_new(&loop), 0);
    for (unsigned i = 0; i < PAIRS; i++) {
        CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
        for (unsigned j = 0; j < 2; j++) {
            CHECK_INT(setsockopt(pair[j], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
            sides[i][j].peer = &sides[i][1 - j];
            side_init(&sides[i][j], pair[j], j == 0);
        }
    }
    turn = event_new(loop->base, -1, 0, on_turn, NULL);
    deadline = event_new(loop->base, -1, 0, on_deadline, NULL);
    CHECK(turn != NULL && event_add(turn, &soon) == 0);
    CHECK(deadline != NULL && event_add(deadline, &after) == 0);
    CHECK_INT(loop_run(loop), 0);
    CHECK(nested > 0);
    event_free(turn);
    event_free(deadline);
    loop_free(loop);
}

static void many_links_keep_every_byte_in_order(void)
{
    for (uint32_t seed = 1; seed <= 2; seed++) {
        run(seed);
    }
}

static const struct check_case cases[] = {
    CHECK_CASE(many_links_keep_every_byte_in_order),
};
CHECK_MAIN(cases)
