/* SPDX-License-Identifier: MIT
 *
 * The choice of a suite; and the ends of a client that never comes up, on real sockets of the loopback. */
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <etcp/etcp.h>

#include "agent/client.h"
#include "agent/suite.h"
#include "base/log.h"
#include "check.h"
#include "net/dial.h"
#include "net/loop.h"

enum { QUEUE_MAX = 8 };

static void suites_are_chosen_by_processor_and_network_key(void)
{
    CHECK_INT(suite_to_ask_for(CONFIG_SUITE_AUTO, true, false), ETCP_SUITE_AES256GCM);
    CHECK_INT(suite_to_ask_for(CONFIG_SUITE_AUTO, false, false), ETCP_SUITE_CHACHA20POLY1305);
    CHECK_INT(suite_to_ask_for(CONFIG_SUITE_AUTO, true, true), ETCP_SUITE_AES256GCM_NETWORK);
    CHECK_INT(suite_to_ask_for(CONFIG_SUITE_AUTO, false, true), ETCP_SUITE_CHACHA20POLY1305_NETWORK);
}

static void a_configured_suite_is_what_was_configured(void)
{
    for (int aes = 0; aes < 2; aes++) {
        CHECK_INT(suite_to_ask_for(CONFIG_SUITE_AES256GCM, aes, false), ETCP_SUITE_AES256GCM);
        CHECK_INT(suite_to_ask_for(CONFIG_SUITE_AES256GCM, aes, true), ETCP_SUITE_AES256GCM_NETWORK);
        CHECK_INT(suite_to_ask_for(CONFIG_SUITE_CHACHA20POLY1305, aes, false), ETCP_SUITE_CHACHA20POLY1305);
        CHECK_INT(suite_to_ask_for(CONFIG_SUITE_CHACHA20POLY1305, aes, true), ETCP_SUITE_CHACHA20POLY1305_NETWORK);
        CHECK_INT(suite_to_ask_for(CONFIG_SUITE_CLASSIC, aes, false), ETCP_SUITE_CLASSIC);
    }
}

static void a_refusal_changes_two_suites_and_no_other(void)
{
    for (int suite = 0; suite < 256; suite++) {
        const int want = suite == ETCP_SUITE_AES256GCM           ? ETCP_SUITE_CHACHA20POLY1305
                         : suite == ETCP_SUITE_AES256GCM_NETWORK ? ETCP_SUITE_CHACHA20POLY1305_NETWORK
                                                                 : 0;

        CHECK_INT(suite_after_refusal(CONFIG_SUITE_AUTO, suite), want);
        CHECK_INT(suite_after_refusal(CONFIG_SUITE_AES256GCM, suite), 0);
        CHECK_INT(suite_after_refusal(CONFIG_SUITE_CHACHA20POLY1305, suite), 0);
        CHECK_INT(suite_after_refusal(CONFIG_SUITE_CLASSIC, suite), 0);
    }
}

/* ---- Ends ------------------------------------------------------------------------------------------------------------ */

struct bench {
    struct loop *loop;
    struct etcp_identity *identity;
    struct config_address servers[3];
    struct trust trust;
    int listener;
    unsigned ups, ends;
    struct client_end end;
    char cause[CLIENT_CAUSE_BYTES];
};

static void on_up(struct client *client, struct link *link, void *user)
{
    struct bench *bench = user;

    (void)client;
    (void)link;
    bench->ups++;
}

static void on_event(struct client *client, struct link *link, const struct etcp_event *event, void *user)
{
    (void)client;
    (void)link;
    (void)event;
    (void)user;
}

static void on_closed(struct client *client, const struct client_end *end, void *user)
{
    struct bench *bench = user;

    (void)client;
    bench->ends++;
    bench->end = *end;
    (void)snprintf(bench->cause, sizeof(bench->cause), "%s", end->cause);
    loop_stop(bench->loop);
}

static const struct client_handler handler = {.up = on_up, .event = on_event, .closed = on_closed};

/* A listening socket that nobody accepts from (its queue completes connections), or a port that refuses. */
static uint16_t take_port(struct bench *bench, bool listening)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0);
    CHECK_INT(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    CHECK_INT(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    if (listening) {
        CHECK_INT(listen(fd, 8), 0);
        bench->listener = fd;
    } else {
        (void)close(fd);
    }
    return ntohs(address.sin_port);
}

static void bench_init(struct bench *bench)
{
    uint8_t secret[ETCP_KEY_BYTES];

    *bench = (struct bench){.listener = -1};
    CHECK_INT(etcp_init(), 0);
    log_force_level(LOG_LEVEL_ERROR);
    etcp_key_generate(secret);
    CHECK_INT(etcp_identity_new(secret, NULL, &bench->identity), 0);
    CHECK_INT(loop_new(&bench->loop), 0);
}

static void bench_done(struct bench *bench)
{
    if (bench->listener >= 0) {
        (void)close(bench->listener);
    }
    loop_free(bench->loop);
    etcp_identity_free(bench->identity);
}

static void set_server(struct bench *bench, size_t index, const char *host, uint16_t port)
{
    bench->servers[index] = (struct config_address){.kind = CONFIG_ADDRESS_INET, .port = port};
    (void)snprintf(bench->servers[index].host, sizeof(bench->servers[index].host), "%s", host);
}

static struct client *start(struct bench *bench, size_t servers, uint64_t timeout_us)
{
    const struct client_options options = {
        .loop = bench->loop,
        .servers = bench->servers,
        .server_count = servers,
        .identity = bench->identity,
        .suite = CONFIG_SUITE_CHACHA20POLY1305,
        .trust = &bench->trust,
        .handshake_timeout_us = timeout_us,
    };
    struct client *client = NULL;

    CHECK_INT(client_new(&options, &handler, bench, &client), 0);
    return client;
}

static void check_end(struct bench *bench, const char *cause)
{
    CHECK_INT(loop_run(bench->loop), 0);
    CHECK_INT(bench->ends, 1);
    CHECK_INT(bench->ups, 0);
    CHECK(!bench->end.was_up);
    CHECK(!bench->end.refused);
    CHECK_INT(bench->end.lived_us, 0);
    CHECK(strstr(bench->cause, cause) != NULL);
    bench_done(bench);
}

static void every_server_is_tried_before_it_ends(void)
{
    struct bench bench;

    bench_init(&bench);
    set_server(&bench, 0, "127.0.0.1", take_port(&bench, false));
    set_server(&bench, 1, "127.0.0.1", take_port(&bench, false));
    set_server(&bench, 2, "127.0.0.1", take_port(&bench, false));
    (void)start(&bench, 3, 0);
    check_end(&bench, "Connection refused");
}

static void a_server_that_says_nothing_takes_the_handshake_timeout(void)
{
    struct bench bench;

    bench_init(&bench);
    set_server(&bench, 0, "127.0.0.1", take_port(&bench, true));
    (void)start(&bench, 1, 50000);
    check_end(&bench, "timed out");
}

static void goodbye_before_the_first_turn_is_an_end(void)
{
    struct bench bench;
    struct client *client;

    bench_init(&bench);
    set_server(&bench, 0, "127.0.0.1", take_port(&bench, true));
    client = start(&bench, 1, 0);
    client_goodbye(client, ETCP_CODE_OK, NULL);
    client_goodbye(client, ETCP_CODE_OK, NULL);
    check_end(&bench, "ended here");
}

/* Read when the client's first step is over, which comes first: what that has begun is under way. */
static void say_goodbye(void *arg)
{
    client_goodbye(arg, ETCP_CODE_OK, NULL);
}

static void cut(void *arg)
{
    client_goodbye(arg, ETCP_CODE_OK, NULL);
    client_abort(arg, "cut");
}

/* A port whose queue is full: connections to it stay under way. Returns how many sockets that took. */
static unsigned take_full_port(struct bench *bench, uint16_t *ret_port, int ret_sockets[static QUEUE_MAX])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    unsigned count = 0;
    bool full = false;

    *ret_port = take_port(bench, true);
    CHECK_INT(listen(bench->listener, 0), 0);
    address.sin_port = htons(*ret_port);
    while (!full && count < QUEUE_MAX) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        ret_sockets[count++] = fd;
        full = connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0 && !dial_is_connected(fd);
    }
    CHECK(full);
    return count;
}

static void end_while_connecting(void (*how)(void *arg))
{
    struct bench bench;
    int sockets[QUEUE_MAX];
    uint16_t port;
    unsigned count;

    bench_init(&bench);
    count = take_full_port(&bench, &port, sockets);
    set_server(&bench, 0, "127.0.0.1", port);
    CHECK_INT(loop_post(bench.loop, how, start(&bench, 1, 0)), 0);
    check_end(&bench, "ended here");
    while (count > 0) {
        (void)close(sockets[--count]);
    }
}

/* A name is asked for, or there is a handshake. */
static void end_with(const char *host, void (*how)(void *arg))
{
    struct bench bench;

    bench_init(&bench);
    set_server(&bench, 0, host, take_port(&bench, true));
    CHECK_INT(loop_post(bench.loop, how, start(&bench, 1, 0)), 0);
    check_end(&bench, "ended here");
}

static void goodbye_under_way_is_an_end(void)
{
    end_with("localhost", say_goodbye);
    end_with("localhost", cut);
    end_while_connecting(say_goodbye);
    end_while_connecting(cut);
    end_with("127.0.0.1", say_goodbye);
    end_with("127.0.0.1", cut);
}

static void nothing_to_connect_to_is_an_error(void)
{
    const struct client_options options = {0};
    struct client *client = NULL;

    CHECK(client_new(&options, &handler, NULL, &client) < 0);
    CHECK(client == NULL);
}

static const struct check_case cases[] = {
    CHECK_CASE(suites_are_chosen_by_processor_and_network_key),
    CHECK_CASE(a_configured_suite_is_what_was_configured),
    CHECK_CASE(a_refusal_changes_two_suites_and_no_other),
    CHECK_CASE(every_server_is_tried_before_it_ends),
    CHECK_CASE(a_server_that_says_nothing_takes_the_handshake_timeout),
    CHECK_CASE(goodbye_before_the_first_turn_is_an_end),
    CHECK_CASE(goodbye_under_way_is_an_end),
    CHECK_CASE(nothing_to_connect_to_is_an_error),
};

CHECK_MAIN(cases)
