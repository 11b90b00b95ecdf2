/* SPDX-License-Identifier: MIT
 *
 * The load generator of the benchmark: many client connections in one thread, over etcp or in plain TCP.
 *
 *   handshake  opens COUNT connections, CONCURRENCY at a time, each for one round trip; with --message, over etcp for a stream with
 *              one message there and back as well
 *   echo       keeps CONNECTIONS open and sends messages of SIZE bytes, IN-FLIGHT at a time on each, for SECONDS or until
 *              each has sent COUNT
 *   idle       reads numbers from standard input; for each opens connections until there are so many, and prints "ready N"
 *
 * handshake and echo print one line of JSON: what was done in how many seconds, with the processor seconds that the server
 * (--server-pid) and the load generator itself took for it, and with --account what the accounts have used. Exit status 0 only if every connection and every byte was right. */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>

#include "account.h"
#include "peer.h"

enum { EVENTS = 256, TICK_MS = 1000, IDLE_CONCURRENCY = 64 };

struct options {
    const char *mode;
    uint64_t connections, count, concurrency, size, in_flight, seconds, timeout;
    pid_t server_pid;
    bool message;
};

struct load {
    struct peer_run run;
    struct options options;
    struct peer **peers;
    size_t peer_count, peer_max;
    uint64_t opened;
    struct accounts accounts, from;
    uint64_t limit_us; /* the whole run is over by then */
    uint64_t tick_us;
};

static int complain(const char *what, int error)
{
    (void)fprintf(stderr, "bench-load: %s: %s\n", what, strerror(-error));
    return error;
}

/* Processor time of a process, all its threads, in nanoseconds; 0 if it can't be known. */
static uint64_t cpu_ns(pid_t pid)
{
    char path[64];
    uint64_t sum = 0;
    struct dirent *entry;
    DIR *tasks;

    if (pid == getpid()) {
        struct timespec used;

        return clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used) == 0
                   ? (uint64_t)used.tv_sec * 1000000000 + (uint64_t)used.tv_nsec
                   : 0;
    }
    (void)snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    tasks = opendir(path);
    if (tasks == NULL) {
        return 0;
    }
    while ((entry = readdir(tasks)) != NULL) {
        FILE *file = NULL;
        int fd = entry->d_name[0] == '.' ? -1 : openat(dirfd(tasks), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int stat = fd < 0 ? -1 : openat(fd, "schedstat", O_RDONLY | O_CLOEXEC);
        uint64_t used = 0;

        if (stat >= 0 && (file = fdopen(stat, "r")) != NULL) {
            if (fscanf(file, "%" SCNu64, &used) == 1) {
                sum += used;
            }
            (void)fclose(file);
        }
        if (fd >= 0) {
            (void)close(fd);
        }
    }
    (void)closedir(tasks);
    return sum;
}

/* Opens one more connection. */
static int open_peer(struct load *load)
{
    struct peer *peer = NULL;
    int rc;

    if (load->peer_count == load->peer_max) {
        size_t max = load->peer_max == 0 ? 64 : load->peer_max * 2;
        struct peer **peers = realloc(load->peers, max * sizeof *peers);

        if (peers == NULL) {
            return -ENOMEM;
        }
        load->peers = peers;
        load->peer_max = max;
    }
    rc = peer_new(&load->run, &peer);
    if (rc != 0) {
        return complain("connect", rc);
    }
    load->peers[load->peer_count++] = peer;
    load->opened++;
    return 0;
}

/* Frees those that have gone. */
static void sweep(struct load *load)
{
    size_t kept = 0;

    for (size_t i = 0; i < load->peer_count; i++) {
        if (peer_has_gone(load->peers[i])) {
            peer_free(load->peers[i]);
        } else {
            load->peers[kept++] = load->peers[i];
        }
    }
    load->peer_count = kept;
}

/* Waits for what the sockets say, once. `until_us`: a moment of the caller's at which it wants to be back. */
static int turn(struct load *load, uint64_t until_us)
{
    struct epoll_event events[EVENTS];
    uint64_t now = peer_now_us();
    int wait_ms = TICK_MS;
    int n, rc = 0;

    if (now >= load->limit_us) {
        (void)fprintf(stderr, "bench-load: not done in time: %" PRIu64 " opened, %" PRIu64 " up, %" PRIu64 " gone\n",
                      load->opened, load->run.up, load->run.gone);
        return -ETIMEDOUT;
    }
    if (until_us <= now) {
        wait_ms = 0;
    } else if ((until_us - now) / 1000 < TICK_MS) {
        wait_ms = (int)((until_us - now) / 1000) + 1;
    }
    n = epoll_wait(load->run.epoll, events, EVENTS, wait_ms);
    if (n < 0 && errno != EINTR) {
        return complain("epoll_wait", -errno);
    }
    for (int i = 0; i < n && rc == 0; i++) {
        if (events[i].data.ptr != NULL) { /* NULL: standard input, which is the caller's */
            rc = peer_ready(events[i].data.ptr);
        }
    }
    now = peer_now_us();
    if (rc == 0 && now >= load->tick_us) {
        load->tick_us = now + (uint64_t)TICK_MS * 1000;
        for (size_t i = 0; i < load->peer_count && rc == 0; i++) {
            rc = peer_tick(load->peers[i], now);
        }
    }
    return rc;
}

/* Opens connections until `target` are up. */
static int open_until(struct load *load, uint64_t target, uint64_t concurrency)
{
    int rc = 0;

    while (rc == 0 && load->run.up < target) {
        while (rc == 0 && load->opened < target && load->opened - load->run.up < concurrency) {
            rc = open_peer(load);
        }
        rc = rc == 0 ? turn(load, UINT64_MAX) : rc;
    }
    return rc;
}

/* Ends every connection and waits until the server has closed them too. */
static int end_all(struct load *load)
{
    int rc = 0;

    for (size_t i = 0; i < load->peer_count && rc == 0; i++) {
        rc = peer_end(load->peers[i]);
    }
    while (rc == 0 && load->run.gone < load->opened) {
        rc = turn(load, UINT64_MAX);
    }
    sweep(load);
    return rc;
}

/* What begins now is measured. */
static int note(struct load *load)
{
    int rc = accounts_read(&load->accounts);

    load->from = load->accounts;
    return rc == 0 ? 0 : complain("accounts", rc);
}

static int report(struct load *load, uint64_t done, uint64_t us, uint64_t server_ns, uint64_t load_ns)
{
    int rc = accounts_read(&load->accounts);

    printf("{\"done\": %" PRIu64 ", \"seconds\": %.6f, \"server_cpu\": %.6f, \"load_cpu\": %.6f, \"cpu\": ", done,
           (double)us / 1e6, (double)server_ns / 1e9, (double)load_ns / 1e9);
    accounts_print(&load->from, &load->accounts);
    printf("}\n");
    return rc == 0 ? 0 : complain("accounts", rc);
}

static int handshake(struct load *load)
{
    const struct options *o = &load->options;
    uint64_t begin, server, own;
    int rc = note(load);

    load->run.messages = 1;
    load->run.in_flight = 1;
    begin = peer_now_us();
    server = cpu_ns(o->server_pid);
    own = cpu_ns(getpid());
    while (rc == 0 && load->run.gone < o->count) {
        bool over = false;

        while (rc == 0 && load->opened < o->count && load->peer_count < o->concurrency) {
            rc = open_peer(load);
        }
        rc = rc == 0 ? turn(load, UINT64_MAX) : rc;
        for (size_t i = 0; i < load->peer_count && rc == 0; i++) {
            struct peer *peer = load->peers[i];

            /* Coming up has cost etcp one round trip (a heartbeat); plain TCP does one echo for it. */
            if (peer_is_up(peer)) {
                rc = load->run.plain || o->message ? peer_start(peer) : peer_end(peer);
            } else if (peer_is_idle(peer)) {
                rc = peer_end(peer);
            }
            over = over || peer_has_gone(peer);
        }
        if (over) {
            sweep(load);
        }
    }
    if (rc == 0) {
        rc =
            report(load, load->run.gone, peer_now_us() - begin, cpu_ns(o->server_pid) - server, cpu_ns(getpid()) - own);
    }
    return rc;
}

static int echo(struct load *load)
{
    const struct options *o = &load->options;
    uint64_t begin, end, server, own;
    int rc = open_until(load, o->connections, o->concurrency);

    rc = rc == 0 ? note(load) : rc;
    begin = peer_now_us();
    end = o->seconds > 0 ? begin + o->seconds * 1000000 : UINT64_MAX;
    server = cpu_ns(o->server_pid);
    own = cpu_ns(getpid());
    for (size_t i = 0; i < load->peer_count && rc == 0; i++) {
        rc = peer_start(load->peers[i]);
    }
    while (rc == 0 && load->run.idle < o->connections) {
        rc = turn(load, end);
        if (rc == 0 && !load->run.stop && peer_now_us() >= end) {
            load->run.stop = true;
            end = UINT64_MAX;
            for (size_t i = 0; i < load->peer_count; i++) {
                peer_settle(load->peers[i]);
            }
        }
    }
    if (rc == 0) {
        rc = report(load, load->run.echoes, peer_now_us() - begin, cpu_ns(o->server_pid) - server,
                    cpu_ns(getpid()) - own);
    }
    if (rc == 0) {
        rc = end_all(load);
    }
    return rc;
}

static int idle(struct load *load)
{
    char line[32];
    size_t len = 0;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    int rc = 0;

    if (epoll_ctl(load->run.epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event) != 0 ||
        fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK) != 0) {
        return complain("standard input", -errno);
    }
    while (rc == 0) {
        ssize_t n = read(STDIN_FILENO, line + len, sizeof line - 1 - len);

        if (n == 0) {
            break;
        }
        if (n < 0 && errno != EAGAIN) {
            return complain("standard input", -errno);
        }
        if (n < 0) {
            rc = turn(load, UINT64_MAX);
            continue;
        }
        len += (size_t)n;
        line[len] = '\0';
        if (strchr(line, '\n') != NULL) {
            rc = open_until(load, strtoull(line, NULL, 10), IDLE_CONCURRENCY);
            len = 0;
            printf("ready %" PRIu64 "\n", load->run.up);
            (void)fflush(stdout);
        }
    }
    (void)epoll_ctl(load->run.epoll, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
    return rc == 0 ? end_all(load) : rc;
}

/* "127.0.0.1:1337" */
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

static int parse_options(struct load *load, int argc, char **argv)
{
    static const struct option known[] = {
        {"to", required_argument, NULL, 't'},
        {"server-key", required_argument, NULL, 'k'},
        {"plain", no_argument, NULL, 'p'},
        {"suite", required_argument, NULL, 'u'},
        {"service", required_argument, NULL, 'v'},
        {"connections", required_argument, NULL, 'n'},
        {"count", required_argument, NULL, 'c'},
        {"concurrency", required_argument, NULL, 'y'},
        {"size", required_argument, NULL, 's'},
        {"in-flight", required_argument, NULL, 'f'},
        {"seconds", required_argument, NULL, 'd'},
        {"timeout", required_argument, NULL, 'o'},
        {"server-pid", required_argument, NULL, 'i'},
        {"message", no_argument, NULL, 'm'},
        {"account", required_argument, NULL, 'a'},
        {NULL, 0, NULL, 0},
    };
    struct options *o = &load->options;
    bool have_key = false, have_server = false;
    int c;

    *o = (struct options){
        .connections = 1, .count = UINT64_MAX, .concurrency = 32, .size = 64, .in_flight = 1, .timeout = 120};
    load->run.suite = etcp_suite_available(ETCP_SUITE_AES256GCM) ? ETCP_SUITE_AES256GCM : ETCP_SUITE_CHACHA20POLY1305;
    load->run.service = "echo";
    while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
        uint64_t number = optarg != NULL ? strtoull(optarg, NULL, 10) : 0;

        switch (c) {
        case 't':
            have_server = parse_address(optarg, &load->run.server);
            break;
        case 'k':
            have_key = etcp_key_parse(optarg, strlen(optarg), ETCP_KEY_PUBLIC, load->run.server_key) == 0;
            break;
        case 'p':
            load->run.plain = true;
            break;
        case 'u':
            load->run.suite =
                strcmp(optarg, "chacha20poly1305") == 0 ? ETCP_SUITE_CHACHA20POLY1305 : ETCP_SUITE_AES256GCM;
            break;
        case 'v':
            load->run.service = optarg;
            break;
        case 'n':
            o->connections = number;
            break;
        case 'c':
            o->count = number;
            break;
        case 'y':
            o->concurrency = number;
            break;
        case 's':
            o->size = number;
            break;
        case 'f':
            o->in_flight = number;
            break;
        case 'd':
            o->seconds = number;
            break;
        case 'o':
            o->timeout = number;
            break;
        case 'm':
            o->message = true;
            break;
        case 'a':
            if (accounts_add(&load->accounts, optarg) != 0) {
                return -EINVAL;
            }
            break;
        case 'i':
            o->server_pid = (pid_t)number;
            break;
        default:
            return -EINVAL;
        }
    }
    o->mode = optind == argc - 1 ? argv[optind] : "";
    if (!have_server || (!have_key && !load->run.plain) || o->size == 0 || o->size > PEER_BUFFER_BYTES ||
        o->connections == 0 || o->concurrency == 0 || o->in_flight == 0) {
        return -EINVAL;
    }
    load->run.message_bytes = (size_t)o->size;
    load->run.in_flight = o->in_flight;
    load->run.messages = o->count;
    return 0;
}

static int prepare(struct load *load)
{
    uint8_t secret[ETCP_KEY_BYTES];
    struct rlimit files;
    int error;

    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files); /* if it is too low nevertheless, a connection says so */
    }
    load->run.epoll = epoll_create1(EPOLL_CLOEXEC);
    load->run.in = malloc(PEER_BUFFER_BYTES);
    load->run.out = malloc(PEER_BUFFER_BYTES);
    load->run.pattern = malloc(PEER_BUFFER_BYTES + PEER_PERIOD);
    if (load->run.epoll < 0 || load->run.in == NULL || load->run.out == NULL || load->run.pattern == NULL) {
        return complain("start", -ENOMEM);
    }
    for (size_t i = 0; i < PEER_BUFFER_BYTES + PEER_PERIOD; i++) {
        load->run.pattern[i] = (uint8_t)(i % PEER_PERIOD);
    }
    load->limit_us = peer_now_us() + load->options.timeout * 1000000;
    if (load->run.plain) {
        return 0;
    }
    etcp_key_generate(secret);
    error = etcp_identity_new(secret, NULL, &load->run.identity);
    etcp_wipe(secret, sizeof secret);
    if (error == 0) {
        error = etcp_pool_new(&load->run.pool);
    }
    if (error != 0) {
        (void)fprintf(stderr, "bench-load: %s\n", etcp_strerror(error));
        return -ENOMEM;
    }
    return 0;
}

static void done(struct load *load)
{
    for (size_t i = 0; i < load->peer_count; i++) {
        peer_free(load->peers[i]);
    }
    free(load->peers);
    etcp_pool_free(load->run.pool);
    etcp_identity_free(load->run.identity);
    if (load->run.epoll >= 0) {
        (void)close(load->run.epoll);
    }
    free(load->run.in);
    free(load->run.out);
    free(load->run.pattern);
}

int main(int argc, char **argv)
{
    struct load load = {.run.epoll = -1};
    int rc;

    if (etcp_init() != 0) {
        (void)fprintf(stderr, "bench-load: no random source\n");
        return EXIT_FAILURE;
    }
    if (parse_options(&load, argc, argv) != 0) {
        (void)fprintf(stderr, "bench-load: see the top of tests/bench/load.c for its modes and options\n");
        return 64;
    }
    rc = prepare(&load);
    if (rc == 0 && strcmp(load.options.mode, "handshake") == 0) {
        rc = handshake(&load);
    } else if (rc == 0 && strcmp(load.options.mode, "echo") == 0) {
        rc = echo(&load);
    } else if (rc == 0 && strcmp(load.options.mode, "idle") == 0) {
        rc = idle(&load);
    } else if (rc == 0) {
        (void)fprintf(stderr, "bench-load: no such mode: \"%s\"\n", load.options.mode);
        rc = -EINVAL;
    }
    done(&load);
    return rc == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
