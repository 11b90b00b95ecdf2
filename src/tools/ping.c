/* SPDX-License-Identifier: MIT
 *
 * etcp ping: how long connecting, the handshake, and a heartbeat there and back take. */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include <etcp/etcp.h>
#include <event2/event.h>

#include "net/link.h"
#include "net/loop.h"
#include "tools/remote.h"

struct ping {
    struct remote remote; /* first: the client's user */
    struct event *timer;
    struct link *link; /* while the client is up */
    unsigned long count, sent, answered;
    uint64_t interval_us;
    bool met;   /* the server has been up */
    bool asked; /* the heartbeat that is under way is ours, not one of the connection's own */
    uint64_t shortest_us, longest_us, sum_us;
};

static double ms(uint64_t us)
{
    return (double)us / 1000.0;
}

static void end_ping(struct ping *ping, int code)
{
    ping->remote.exit_code = code;
    client_goodbye(ping->remote.client, ETCP_CODE_OK, NULL);
}

/* Asks, or leaves it until the connection's own heartbeat, of which there may be one under way, has been answered. */
static void ask(struct ping *ping)
{
    if (etcp_conn_ping(link_conn(ping->link), loop_now_us()) == 0) {
        ping->asked = true;
        ping->sent++;
    }
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct ping *ping = arg;

    (void)fd;
    (void)what;
    if (ping->link != NULL) {
        ask(ping);
        link_flush(ping->link);
    }
}

static void ask_after(struct ping *ping, uint64_t wait_us)
{
    const struct timeval wait = loop_span(wait_us);

    if (event_add(ping->timer, &wait) < 0) {
        tool_complain(ping->remote.command, "%s", strerror(ENOMEM));
        end_ping(ping, EX_OSERR);
    }
}

static void on_up(struct client *client, struct link *link, void *user)
{
    struct ping *ping = user;
    char key[ETCP_KEY_TEXT_BYTES];

    ping->link = link;
    ping->met = true;
    etcp_key_format(ETCP_KEY_PUBLIC, etcp_conn_peer_key(link_conn(link)), key);
    (void)printf("%s (%s), key %s, suite %s\nconnect %.3f ms, handshake %.3f ms\n", client_server_text(client),
                 client_address_text(client), key, etcp_suite_name(etcp_conn_suite(link_conn(link))),
                 ms(client_connect_us(client)), ms(client_handshake_us(client)));
    (void)fflush(stdout);
    if (ping->count == 0) {
        end_ping(ping, EX_OK);
    } else {
        /* Not before the events that have come along: the answer to the connection's first heartbeat may be one. */
        ask_after(ping, 0);
    }
}

static void hear_answer(struct ping *ping, uint64_t round_trip_us)
{
    ping->asked = false;
    ping->answered++;
    ping->sum_us += round_trip_us;
    ping->longest_us = round_trip_us > ping->longest_us ? round_trip_us : ping->longest_us;
    ping->shortest_us = ping->answered == 1 || round_trip_us < ping->shortest_us ? round_trip_us : ping->shortest_us;
    (void)printf("%lu: %.3f ms\n", ping->answered, ms(round_trip_us));
    (void)fflush(stdout);
    if (ping->answered == ping->count) {
        end_ping(ping, EX_OK);
    } else {
        ask_after(ping, ping->interval_us);
    }
}

static void on_event(struct client *client, struct link *link, const struct etcp_event *event, void *user)
{
    struct ping *ping = user;

    (void)client;
    (void)link;
    if (event->type == ETCP_EVENT_OPEN) {
        etcp_stream_fail(event->stream, ETCP_CODE_NO_SUCH_SERVICE, "ping serves nothing");
    } else if (event->type == ETCP_EVENT_PONG && ping->asked) {
        hear_answer(ping, event->round_trip_us);
    } else if (event->type == ETCP_EVENT_PONG && event_pending(ping->timer, EV_TIMEOUT, NULL) == 0) {
        ask(ping);
    }
}

static void on_closed(struct client *client, const struct client_end *end, void *user)
{
    struct ping *ping = user;

    (void)client;
    ping->remote.client = NULL;
    ping->link = NULL;
    if (ping->remote.exit_code != EX_OK || ping->remote.signal != 0 || !ping->met || ping->answered < ping->count) {
        const int code = remote_explain(&ping->remote, end);

        ping->remote.exit_code = ping->remote.exit_code != EX_OK ? ping->remote.exit_code : code;
    }
    if (ping->answered > 0) {
        (void)printf("%lu sent, %lu answered; min/avg/max %.3f/%.3f/%.3f ms\n", ping->sent, ping->answered,
                     ms(ping->shortest_us), ms(ping->sum_us) / (double)ping->answered, ms(ping->longest_us));
    }
    loop_stop(ping->remote.loop);
}

static const struct client_handler handler = {
    .up = on_up,
    .event = on_event,
    .closed = on_closed,
};

static int ping_server(const struct tool_command *command, const struct remote_options *options, const char *server,
                       unsigned long count, uint64_t interval_us)
{
    struct ping ping;
    int code, result;

    code = remote_start(&ping.remote, command, options, server, &handler);
    ping.timer = NULL;
    ping.link = NULL;
    ping.count = count;
    ping.interval_us = interval_us;
    ping.sent = ping.answered = 0;
    ping.met = ping.asked = false;
    ping.shortest_us = ping.longest_us = ping.sum_us = 0;
    if (code == TOOL_GO_ON) {
        ping.timer = evtimer_new(ping.remote.loop->base, on_timer, &ping);
        result = ping.timer != NULL ? loop_run(ping.remote.loop) : -ENOMEM;
        if (result < 0) {
            tool_complain(command, "%s", strerror(-result));
            return EX_OSERR;
        }
        event_free(ping.timer);
        code = ping.remote.exit_code;
    }
    remote_done(&ping.remote);
    if (code == EX_OK) {
        code = tool_printed(command);
    }
    return code;
}

static int run(const struct tool_command *command, int argc, char **argv)
{
    static const struct option options[] = {
        {"count", required_argument, NULL, 'n'},
        {"interval", required_argument, NULL, 'i'},
        REMOTE_OPTIONS,
    };
    struct remote_options remote_options = {0};
    unsigned long count = 5;
    double interval = 1.0;
    char *end;
    int option, code;

    while ((option = tool_option(command, argc, argv, "n:i:" REMOTE_LETTERS, options, &code)) != -1) {
        if (code != TOOL_GO_ON) {
            return code;
        }
        if (option == 'n') {
            errno = 0;
            count = strtoul(optarg, &end, 10);
            if (errno != 0 || end == optarg || *end != '\0' || *optarg < '0' || *optarg > '9') {
                return tool_usage(command, "-n %s: expected a number", optarg);
            }
        } else if (option == 'i') {
            interval = strtod(optarg, &end);
            if (end == optarg || *end != '\0' || !isfinite(interval) || interval < 0 || interval > 86400) {
                return tool_usage(command, "-i %s: expected seconds, 0 to 86400", optarg);
            }
        } else {
            code = remote_option(command, option, optarg, &remote_options);
            if (code != TOOL_GO_ON) {
                return code;
            }
        }
    }
    if (argc - optind != 1) {
        return tool_usage(command, "expected one server, HOST:PORT, got %d arguments", argc - optind);
    }
    return ping_server(command, &remote_options, argv[optind], count, (uint64_t)(interval * 1e6));
}

const struct tool_command ping_command = {
    .name = "ping",
    .arguments = "[options] HOST:PORT",
    .summary = "Measure the handshake and round trips to a server",
    .options = "  -n, --count COUNT       round trips (default: 5); 0: only the handshake\n"
               "  -i, --interval SECONDS  between them (default: 1)\n" REMOTE_HELP,
    .run = run,
};
