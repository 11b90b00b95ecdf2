/* SPDX-License-Identifier: MIT
 *
 * The load of the comparison: plain TCP connections to a bench-sink, through a tunnel or without one, in one thread.
 *
 *   check    one connection, BYTES there and back, compared
 *   up       CONNECTIONS that send as fast as they can
 *   down     CONNECTIONS that receive as fast as they can
 *   echo     CONNECTIONS that send SIZE bytes and wait until they are back, over and over
 *   connect  CONNECTIONS at a time that connect, send a byte, wait until it is back, close, over and over
 *   batch    COUNT times CONNECTIONS at once, each with a byte there and back, which is what counts; then they are closed, and for
 *            PAUSE milliseconds there is one other
 *   idle     reads numbers from standard input; for each opens connections until there are so many, and prints "ready N"
 *
 * up, down, echo and connect run for WARM-UP milliseconds and then MILLISECONDS, and only the latter count; those that keep their
 * connections open all of them first, each with a byte there and back. All but idle print
 * one line of JSON: what was done in how many seconds, how long the middle one and the 99th of a hundred took, and what the
 * accounts have used in the same time. Exit status 0 only if nothing failed. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#include "account.h"

enum {
    EVENTS = 256,
    PAGES_BYTES = 256 * 1024,
    TAKE_BYTES = 4 * 1024 * 1024,
    SIZE_MAX_BYTES = 64 * 1024,
    PERIOD = 251, /* a prime, so that no power of two hides a shifted byte */
    STEPS = 64,   /* of the histogram, for each power of two of microseconds */
    POWERS = 32,
    IDLE_AT_A_TIME = 16,
    SETTLE_MS = 5,
};

enum mode { CHECK, UP, DOWN, ECHO, CONNECT, BATCH, IDLE, MODES };

static const char *const mode_names[MODES] = {"check", "up", "down", "echo", "connect", "batch", "idle"};

struct flow {
    int fd;
    bool connected, up; /* up: its first byte has been sent, and has come back if it should */
    size_t back;        /* bytes of the message that are back */
    uint64_t began_ns;
};

struct traffic {
    enum mode mode;
    struct sockaddr_in to;
    uint64_t connections, size, run_ms, warm_up_ms, pause_ms, count, bytes, timeout_s;
    struct accounts accounts, from, until;

    int epoll, pages;
    uint8_t *buffer; /* SIZE_MAX_BYTES */
    struct flow *flows;
    size_t opened, up;
    uint64_t done; /* bytes, messages or connections */
    uint64_t deadline_ns;
    bool counts;
    uint32_t took[POWERS * STEPS];
};

static uint64_t now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int fail(const char *what, int error)
{
    (void)fprintf(stderr, "bench-traffic: %s: %s\n", what, error < 0 ? strerror(-error) : "the connection was closed");
    return error < 0 ? error : -ECONNRESET;
}

/* ---- How long things took -------------------------------------------------------------------------------------------- */

static void note_time(struct traffic *traffic, uint64_t began_ns)
{
    double power = log2((double)(now_ns() - began_ns) / 1000.0 + 1.0);
    size_t step = (size_t)(power * (double)STEPS);

    traffic->took[step < POWERS * STEPS ? step : POWERS * STEPS - 1] += traffic->counts;
}

/* In microseconds; `share` of all were faster. */
static double time_at(const struct traffic *traffic, double share)
{
    uint64_t all = 0, below = 0;
    size_t step = 0;

    for (size_t i = 0; i < POWERS * STEPS; i++) {
        all += traffic->took[i];
    }
    while (step < POWERS * STEPS && (double)(below += traffic->took[step]) < share * (double)all) {
        step++;
    }
    return all == 0 ? 0 : exp2(((double)step + 0.5) / (double)STEPS) - 1.0;
}

/* ---- A connection ---------------------------------------------------------------------------------------------------- */

static int watch(const struct traffic *traffic, struct flow *flow, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = flow};

    return epoll_ctl(traffic->epoll, operation, flow->fd, &event) == 0 ? 0 : fail("epoll", -errno);
}

static int send_all(const struct flow *flow, const uint8_t *data, size_t len)
{
    ssize_t n = send(flow->fd, data, len, MSG_NOSIGNAL);

    /* An empty socket takes as much at once. */
    return n == (ssize_t)len ? 0 : fail("send", n < 0 ? -errno : -EMSGSIZE);
}

/* What a flow begins with: it says what the sink is to do, and comes back. */
static uint8_t greeting(const struct traffic *traffic)
{
    return traffic->mode == UP ? 'u' : traffic->mode == DOWN ? 'd' : 'e';
}

/* It is connected. */
static int greet(const struct traffic *traffic, struct flow *flow)
{
    const uint8_t byte = greeting(traffic);

    flow->connected = true;
    return send_all(flow, &byte, 1);
}

static int open_flow(struct traffic *traffic, struct flow *flow)
{
    static const int one = 1;
    int rc;

    *flow = (struct flow){.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    if (flow->fd < 0) {
        return fail("socket", -errno);
    }
    flow->began_ns = now_ns();
    traffic->opened++;
    (void)setsockopt(flow->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(flow->fd, (const struct sockaddr *)&traffic->to, sizeof traffic->to) == 0) {
        rc = greet(traffic, flow);
        return rc == 0 ? watch(traffic, flow, EPOLL_CTL_ADD, EPOLLIN) : rc;
    }
    return errno == EINPROGRESS ? watch(traffic, flow, EPOLL_CTL_ADD, EPOLLOUT) : fail("connect", -errno);
}

static int begin_message(struct traffic *traffic, struct flow *flow)
{
    flow->back = 0;
    flow->began_ns = now_ns();
    return send_all(flow, traffic->buffer, traffic->size);
}

/* The byte it began with is back. */
static int begin(struct traffic *traffic, struct flow *flow)
{
    ssize_t n = recv(flow->fd, traffic->buffer, 1, 0);

    if (n < 1) {
        return n < 0 && errno == EAGAIN ? 0 : fail("first byte", n < 0 ? -errno : 0);
    }
    if (traffic->buffer[0] != greeting(traffic)) {
        return fail("first byte", -EPROTO);
    }
    note_time(traffic, flow->began_ns);
    if (traffic->mode == CONNECT) {
        traffic->done++;
        (void)close(flow->fd);
        return open_flow(traffic, flow);
    }
    flow->up = true;
    traffic->up++;
    return 0;
}

/* Every flow is up: now each does what it is for. */
static int begin_all(struct traffic *traffic)
{
    int rc = 0;

    for (size_t i = 0; i < traffic->connections && rc == 0; i++) {
        struct flow *flow = &traffic->flows[i];

        switch (traffic->mode) {
        case UP:
            rc = watch(traffic, flow, EPOLL_CTL_MOD, EPOLLOUT);
            break;
        case DOWN:
            rc = greet(traffic, flow);
            break;
        default:
            rc = begin_message(traffic, flow);
        }
    }
    return rc;
}

static int push(struct traffic *traffic, struct flow *flow)
{
    off_t at = 0;
    ssize_t n = sendfile(flow->fd, traffic->pages, &at, PAGES_BYTES);

    if (n < 0 && errno != EAGAIN) {
        return fail("send", -errno);
    }
    traffic->done += n > 0 ? (uint64_t)n : 0;
    return 0;
}

static int take(struct traffic *traffic, struct flow *flow)
{
    ssize_t n = recv(flow->fd, NULL, TAKE_BYTES, MSG_TRUNC); /* the kernel forgets them without a copy */

    if (n <= 0) {
        return n < 0 && errno == EAGAIN ? 0 : fail("receive", n < 0 ? -errno : 0);
    }
    traffic->done += (uint64_t)n;
    return 0;
}

static int take_echo(struct traffic *traffic, struct flow *flow)
{
    ssize_t n = recv(flow->fd, traffic->buffer, traffic->size - flow->back, 0);

    if (n <= 0) {
        return n < 0 && errno == EAGAIN ? 0 : fail("echo", n < 0 ? -errno : 0);
    }
    flow->back += (size_t)n;
    if (flow->back < traffic->size) {
        return 0;
    }
    traffic->done++;
    note_time(traffic, flow->began_ns);
    return begin_message(traffic, flow);
}

static int ready(struct traffic *traffic, struct flow *flow)
{
    if (!flow->connected) {
        int error = 0;
        socklen_t len = sizeof error;
        int rc;

        if (getsockopt(flow->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != 0) {
            return fail("connect", error != 0 ? -error : -errno);
        }
        rc = greet(traffic, flow);
        return rc == 0 ? watch(traffic, flow, EPOLL_CTL_MOD, EPOLLIN) : rc;
    }
    if (!flow->up) {
        return begin(traffic, flow);
    }
    switch (traffic->mode) {
    case UP:
        return push(traffic, flow);
    case DOWN:
        return take(traffic, flow);
    case ECHO:
        return take_echo(traffic, flow);
    default: {
        /* An idle one has nothing to say. */
        ssize_t n = recv(flow->fd, traffic->buffer, 1, 0);

        return n < 0 && errno == EAGAIN ? 0 : fail("idle connection", n == 0 ? 0 : n < 0 ? -errno : -EPROTO);
    }
    }
}

/* ---- Runs ------------------------------------------------------------------------------------------------------------ */

/* Waits for what the sockets say, once, but not beyond a moment of the caller's. */
static int turn(struct traffic *traffic, uint64_t until_ns)
{
    struct epoll_event events[EVENTS];
    uint64_t now = now_ns();
    int wait_ms = 1000;
    int n, rc = 0;

    if (now >= traffic->deadline_ns) {
        (void)fprintf(stderr, "bench-traffic: not done in time: %zu opened, %zu of them up, %" PRIu64 " done\n",
                      traffic->opened, traffic->up, traffic->done);
        return -ETIMEDOUT;
    }
    if (until_ns < now + 1000000000u) {
        wait_ms = until_ns <= now ? 0 : (int)((until_ns - now) / 1000000u) + 1;
    }
    n = epoll_wait(traffic->epoll, events, EVENTS, wait_ms);
    if (n < 0 && errno != EINTR) {
        return fail("epoll_wait", -errno);
    }
    for (int i = 0; i < n && rc == 0; i++) {
        if (events[i].data.ptr != NULL) { /* NULL: standard input */
            rc = ready(traffic, events[i].data.ptr);
        }
    }
    return rc;
}

static int open_until(struct traffic *traffic, size_t target, size_t at_a_time)
{
    int rc = 0;

    while (rc == 0 && traffic->up < target) {
        while (rc == 0 && traffic->opened < target && traffic->opened - traffic->up < at_a_time) {
            rc = open_flow(traffic, &traffic->flows[traffic->opened]);
        }
        rc = rc == 0 ? turn(traffic, UINT64_MAX) : rc;
    }
    return rc;
}

/* Not before something more than `done` has been done. */
static int run_until(struct traffic *traffic, uint64_t until_ns, uint64_t done)
{
    int rc = 0;

    while (rc == 0 && (now_ns() < until_ns || traffic->done == done)) {
        rc = turn(traffic, now_ns() < until_ns ? until_ns : UINT64_MAX);
    }
    return rc;
}

static void report(const struct traffic *traffic, uint64_t done, uint64_t ns)
{
    printf("{\"done\": %" PRIu64 ", \"seconds\": %.6f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"cpu\": ", done,
           (double)ns / 1e9, time_at(traffic, 0.5), time_at(traffic, 0.99));
    accounts_print(&traffic->from, &traffic->until);
    printf("}\n");
}

/* Reads the accounts into one of the two notes. */
static int note(struct traffic *traffic, struct accounts *ret_note)
{
    int rc = accounts_read(&traffic->accounts);

    *ret_note = traffic->accounts;
    return rc == 0 ? 0 : fail("accounts", rc);
}

static int measure(struct traffic *traffic)
{
    uint64_t begin, done;
    int rc = 0;

    if (traffic->mode == CONNECT) {
        for (size_t i = 0; i < traffic->connections && rc == 0; i++) {
            rc = open_flow(traffic, &traffic->flows[i]);
        }
    } else {
        rc = open_until(traffic, traffic->connections, IDLE_AT_A_TIME);
        rc = rc == 0 ? begin_all(traffic) : rc;
    }
    if (rc == 0) {
        rc = run_until(traffic, now_ns() + traffic->warm_up_ms * 1000000u, 0);
    }
    if (rc == 0) {
        rc = note(traffic, &traffic->from);
    }
    traffic->counts = true;
    begin = now_ns();
    done = traffic->done;
    if (rc == 0) {
        rc = run_until(traffic, begin + traffic->run_ms * 1000000u, done);
    }
    if (rc == 0) {
        uint64_t ns = now_ns() - begin;

        rc = note(traffic, &traffic->until);
        if (rc == 0) {
            report(traffic, traffic->done - done, ns);
        }
    }
    return rc;
}

static int measure_batches(struct traffic *traffic)
{
    const size_t all = traffic->connections + 1;
    uint64_t ns = 0;
    int rc = open_until(traffic, 1, 1);

    traffic->counts = true;
    for (uint64_t batch = 0; batch < traffic->count && rc == 0; batch++) {
        struct accounts now;
        uint64_t begin;

        rc = note(traffic, &now);
        if (batch == 0) {
            traffic->from = now;
        } else {
            accounts_skip(&traffic->from, &traffic->until, &now);
        }
        begin = now_ns();
        rc = rc == 0 ? open_until(traffic, all, all) : rc;
        ns += now_ns() - begin;
        /* Time is noted for good when a process sleeps. */
        rc = rc == 0 ? run_until(traffic, now_ns() + SETTLE_MS * 1000000u, UINT64_MAX) : rc;
        rc = rc == 0 ? note(traffic, &traffic->until) : rc;
        while (traffic->opened > 1) {
            (void)close(traffic->flows[--traffic->opened].fd);
        }
        traffic->up = 1;
        traffic->done += traffic->connections;
        rc = rc == 0 ? run_until(traffic, now_ns() + traffic->pause_ms * 1000000u, UINT64_MAX) : rc;
    }
    if (rc == 0) {
        report(traffic, traffic->done, ns);
    }
    return rc;
}

static int idle(struct traffic *traffic)
{
    char line[32];
    size_t len = 0;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    int rc = 0;

    if (epoll_ctl(traffic->epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event) != 0 ||
        fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK) != 0) {
        return fail("standard input", -errno);
    }
    while (rc == 0) {
        ssize_t n = read(STDIN_FILENO, line + len, sizeof line - 1 - len);

        if (n == 0) {
            return 0;
        }
        if (n < 0) {
            rc = errno == EAGAIN ? turn(traffic, UINT64_MAX) : fail("standard input", -errno);
            continue;
        }
        len += (size_t)n;
        line[len] = '\0';
        if (strchr(line, '\n') != NULL) {
            uint64_t target = strtoull(line, NULL, 10);

            len = 0;
            rc = target <= traffic->count ? open_until(traffic, target, IDLE_AT_A_TIME) : fail("count", -ERANGE);
            if (rc == 0) {
                printf("ready %zu\n", traffic->up);
                (void)fflush(stdout);
            }
        }
    }
    return rc;
}

static int check(struct traffic *traffic)
{
    uint64_t sent = 0, back = 0;
    int rc;

    rc = open_until(traffic, 1, 1);
    while (rc == 0 && back < traffic->bytes) {
        uint8_t out[4096], in[4096];
        size_t len = traffic->bytes - sent < sizeof out ? (size_t)(traffic->bytes - sent) : sizeof out;
        struct pollfd socket = {.fd = traffic->flows[0].fd, .events = POLLIN | (len > 0 ? POLLOUT : 0)};
        ssize_t n;

        if (poll(&socket, 1, 1000) < 0) {
            return fail("poll", -errno);
        }
        for (size_t i = 0; i < len; i++) {
            out[i] = (uint8_t)((sent + i) % PERIOD);
        }
        n = len > 0 ? send(traffic->flows[0].fd, out, len, MSG_NOSIGNAL) : 0;
        if (n < 0 && errno != EAGAIN) {
            return fail("send", -errno);
        }
        sent += n > 0 ? (uint64_t)n : 0;
        n = recv(traffic->flows[0].fd, in, sizeof in, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            return fail("echo", n < 0 ? -errno : 0);
        }
        for (ssize_t i = 0; i < n; i++) {
            if (in[i] != (uint8_t)((back + (uint64_t)i) % PERIOD)) {
                return fail("echo", -EBADMSG);
            }
        }
        back += n > 0 ? (uint64_t)n : 0;
        if (now_ns() >= traffic->deadline_ns) {
            return fail("check", -ETIMEDOUT);
        }
    }
    if (rc == 0) {
        printf("{\"done\": %" PRIu64 "}\n", back);
    }
    return rc;
}

/* ---- Begin and end --------------------------------------------------------------------------------------------------- */

static bool parse_address(const char *text, struct sockaddr_in *ret_address)
{
    char host[INET_ADDRSTRLEN];
    const char *colon = strchr(text, ':');
    size_t len = colon != NULL ? (size_t)(colon - text) : 0;
    unsigned long port = colon != NULL ? strtoul(colon + 1, NULL, 10) : 0;

    if (len == 0 || len >= sizeof host || port == 0 || port > UINT16_MAX) {
        return false;
    }
    memcpy(host, text, len);
    host[len] = '\0';
    *ret_address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    return inet_pton(AF_INET, host, &ret_address->sin_addr) == 1;
}

static int parse_options(struct traffic *traffic, int argc, char **argv)
{
    static const struct option known[] = {
        {"to", required_argument, NULL, 't'},
        {"connections", required_argument, NULL, 'n'},
        {"size", required_argument, NULL, 's'},
        {"milliseconds", required_argument, NULL, 'd'},
        {"warm-up", required_argument, NULL, 'w'},
        {"count", required_argument, NULL, 'c'},
        {"pause", required_argument, NULL, 'p'},
        {"bytes", required_argument, NULL, 'b'},
        {"timeout", required_argument, NULL, 'o'},
        {"account", required_argument, NULL, 'a'},
        {NULL, 0, NULL, 0},
    };
    int c;

    *traffic = (struct traffic){.mode = MODES,
                                .connections = 1,
                                .size = 64,
                                .run_ms = 1000,
                                .warm_up_ms = 200,
                                .count = 100,
                                .bytes = 1024 * 1024,
                                .timeout_s = 60,
                                .epoll = -1,
                                .pages = -1};
    while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
        uint64_t number = optarg != NULL ? strtoull(optarg, NULL, 10) : 0;

        switch (c) {
        case 't':
            if (!parse_address(optarg, &traffic->to)) {
                return -EINVAL;
            }
            break;
        case 'n':
            traffic->connections = number;
            break;
        case 's':
            traffic->size = number;
            break;
        case 'd':
            traffic->run_ms = number;
            break;
        case 'w':
            traffic->warm_up_ms = number;
            break;
        case 'p':
            traffic->pause_ms = number;
            break;
        case 'c':
            traffic->count = number;
            break;
        case 'b':
            traffic->bytes = number;
            break;
        case 'o':
            traffic->timeout_s = number;
            break;
        case 'a':
            if (accounts_add(&traffic->accounts, optarg) != 0) {
                return -EINVAL;
            }
            break;
        default:
            return -EINVAL;
        }
    }
    for (int mode = 0; mode < MODES && optind == argc - 1; mode++) {
        if (strcmp(argv[optind], mode_names[mode]) == 0) {
            traffic->mode = (enum mode)mode;
        }
    }
    return traffic->mode != MODES && traffic->to.sin_port != 0 && traffic->connections > 0 &&
                   traffic->connections <= 100000 && traffic->count <= 100000 && traffic->size > 0 &&
                   traffic->size <= SIZE_MAX_BYTES
               ? 0
               : -EINVAL;
}

static int prepare(struct traffic *traffic)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files); /* if it is too low nevertheless, a connection says so */
    }
    traffic->deadline_ns = now_ns() + traffic->timeout_s * 1000000000u;
    traffic->epoll = epoll_create1(EPOLL_CLOEXEC);
    traffic->pages = memfd_create("pages", MFD_CLOEXEC);
    traffic->buffer = calloc(1, SIZE_MAX_BYTES);
    traffic->flows = calloc(traffic->connections + traffic->count, sizeof *traffic->flows);
    if (traffic->epoll < 0 || traffic->pages < 0 || traffic->buffer == NULL || traffic->flows == NULL) {
        return fail("start", -errno);
    }
    for (off_t at = 0; at < PAGES_BYTES; at += SIZE_MAX_BYTES) {
        if (pwrite(traffic->pages, traffic->buffer, SIZE_MAX_BYTES, at) != SIZE_MAX_BYTES) {
            return fail("start", -EIO);
        }
    }
    return 0;
}

/* With what is under way thrown away, so that a tunnel has nothing of it left to carry in the next run. */
static void done(struct traffic *traffic)
{
    static const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    const bool reset = traffic->mode == UP || traffic->mode == DOWN;

    for (size_t i = 0; i < traffic->opened && i < traffic->connections + traffic->count; i++) {
        if (traffic->flows[i].fd > 0) {
            if (reset) {
                (void)setsockopt(traffic->flows[i].fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
            }
            (void)close(traffic->flows[i].fd);
        }
    }
    free(traffic->flows);
    free(traffic->buffer);
    if (traffic->pages >= 0) {
        (void)close(traffic->pages);
    }
    if (traffic->epoll >= 0) {
        (void)close(traffic->epoll);
    }
}

int main(int argc, char **argv)
{
    static struct traffic traffic;
    int rc = parse_options(&traffic, argc, argv);

    if (rc != 0) {
        (void)fprintf(stderr,
                      "usage: bench-traffic MODE --to ADDRESS:PORT [--connections N] [--size BYTES] [--milliseconds N] "
                      "[--warm-up MS] [--count N] [--pause MS] [--bytes N] [--timeout S] [--account NAME=SOURCE]...\n");
        return EXIT_FAILURE;
    }
    rc = prepare(&traffic);
    if (rc == 0) {
        switch (traffic.mode) {
        case CHECK:
            rc = check(&traffic);
            break;
        case BATCH:
            rc = measure_batches(&traffic);
            break;
        case IDLE:
            rc = idle(&traffic);
            break;
        default:
            rc = measure(&traffic);
            break;
        }
    }
    done(&traffic);
    return rc == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
