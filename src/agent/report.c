/* SPDX-License-Identifier: MIT
 *
 * docs/status.md and docs/metrics.md describe the documents. Names are stable: members are added, never renamed. */
#include "agent/report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <etcp/etcp.h>

#include "agent/connector.h"
#include "agent/port.h"
#include "base/json.h"
#include "config/agent.h"
#include "net/link.h"
#include "net/listener.h"
#include "net/loop.h"
#include "net/metrics.h"
#include "net/publishers.h"

#define NAME(name)      "etcp_agent_" name
#define ASK_INTERVAL_US 15000000u

struct report {
    struct loop *loop;
    struct connector *connector;
    struct publishers *publishers;
    time_t started; /* the time of day */
    uint64_t started_us;
    uint64_t asked_us; /* when a look had the round trip measured last */
};

/* ---- Status ---------------------------------------------------------------------------------------------------------------- */

static void write_optional(struct json *json, const char *name, uint64_t number, bool known)
{
    json_key(json, name);
    if (known) {
        json_number(json, number);
    } else {
        json_null(json);
    }
}

static void write_failure(const struct history_failure *failure, uint64_t now, struct json *json)
{
    json_key(json, "last_failure");
    if (failure->cause[0] == '\0') {
        json_null(json);
        return;
    }
    json_open_object(json);
    json_member_text(json, "cause", failure->cause);
    json_member_number(json, "ago_us", now - failure->at_us);
    json_close_object(json);
}

static void write_connection(const struct connector_view *view, uint64_t now, struct json *json)
{
    const struct etcp_conn *conn = NULL;
    const uint8_t *peer_key = NULL;
    char key[ETCP_KEY_TEXT_BYTES];
    uint64_t received = 0, sent = 0, heard_us = 0;

    json_key(json, "connection");
    if (view->link == NULL) {
        json_null(json);
        return;
    }
    conn = link_conn(view->link);
    peer_key = etcp_conn_peer_key(conn);
    if (peer_key != NULL) {
        etcp_key_format(ETCP_KEY_PUBLIC, peer_key, key);
    }
    link_traffic(view->link, &received, &sent);
    heard_us = etcp_conn_last_heard_us(conn);
    json_open_object(json);
    json_member_text(json, "server", view->server);
    json_member_text(json, "address", view->address);
    json_member_text(json, "public_key", peer_key != NULL ? key : NULL);
    json_member_text(json, "suite", etcp_suite_name(etcp_conn_suite(conn)));
    json_member_number(json, "connected_us", now - view->up_us);
    json_member_number(json, "silent_us", now > heard_us ? now - heard_us : 0);
    write_optional(json, "round_trip_us", view->round_trip_us, view->round_trip_us > 0);
    json_member_number(json, "streams", etcp_conn_streams(conn));
    json_member_number(json, "received_bytes", received);
    json_member_number(json, "sent_bytes", sent);
    json_close_object(json);
}

static void write_servers(const struct connector_view *view, uint64_t now, struct json *json)
{
    const struct history *history = view->history;

    json_key(json, "servers");
    json_open_array(json);
    for (size_t i = 0; i < history->count; i++) {
        const struct history_server *server = &history->servers[i];
        const bool current = view->server != NULL && strcmp(view->server, server->text) == 0;
        const char *state = server->connections + server->failures == 0 ? "untried" : "idle";

        if (current) {
            state = view->link != NULL ? "connected" : "connecting";
        } else if (server->last.cause[0] != '\0') {
            state = "failed";
        }
        json_open_object(json);
        json_member_text(json, "address", server->text);
        json_member_text(json, "state", state);
        json_member_number(json, "connections_total", server->connections);
        json_member_number(json, "failures_total", server->failures);
        write_failure(&server->last, now, json);
        json_close_object(json);
    }
    json_close_array(json);
}

static void write_forwards(const struct port *port, uint64_t now, struct json *json)
{
    char text[ADDRESS_TEXT_BYTES];

    json_key(json, "forwards");
    json_open_array(json);
    for (; port != NULL; port = port->next) {
        if (port->listener != NULL) {
            address_format(&port->listener->actual, text);
        }
        json_open_object(json);
        json_member_text(json, "name", port->name);
        json_member_text(json, "listening", port->listener != NULL ? text : NULL);
        json_member_text(json, "service", port->service);
        json_member_number(json, "open", port->carried);
        json_member_number(json, "waiting", port->connections - port->carried);
        json_member_number(json, "accepted_total", port->accepted);
        json_member_number(json, "refused_total", port->refused);
        write_failure(&port->last_refusal, now, json);
        json_close_object(json);
    }
    json_close_array(json);
}

static char *write_status(const struct report *report, const struct connector_view *view, size_t *ret_len)
{
    const uint64_t now = loop_now_us();
    struct json json = {0};
    char key[ETCP_KEY_TEXT_BYTES];

    etcp_key_format(ETCP_KEY_PUBLIC, view->public_key, key);
    json_open_object(&json);
    json_member_number(&json, "format", 1);
    json_member_text(&json, "program", "etcp-agent");
    json_member_text(&json, "version", etcp_version());
    json_member_number(&json, "pid", (uint64_t)getpid());
    json_member_text(&json, "state", view->state);
    json_member_number(&json, "started_unix_seconds", (uint64_t)report->started);
    json_member_number(&json, "uptime_us", now - report->started_us);
    json_member_text(&json, "public_key", key);
    write_connection(view, now, &json);
    write_optional(&json, "next_attempt_us", view->due_us > now ? view->due_us - now : 0, view->due_us > 0);
    json_member_number(&json, "failed_attempts", view->failed_attempts);
    json_member_number(&json, "max_attempts", view->max_attempts);
    write_failure(&view->history->last, now, &json);
    write_servers(view, now, &json);
    json_key(&json, "messages");
    json_open_object(&json);
    json_member_text(&json, "service", view->mode.service);
    json_member_number(&json, "echoed", view->mode.echoed);
    json_member_number(&json, "count", view->mode.count);
    json_close_object(&json);
    json_key(&json, "forwarded");
    json_open_object(&json);
    json_member_number(&json, "open", view->mode.carried);
    json_member_number(&json, "waiting", view->mode.waiting);
    json_member_number(&json, "server_connections", view->mode.connections);
    json_member_number(&json, "idle_server_connections", view->mode.idle_connections);
    json_close_object(&json);
    write_forwards(view->mode.ports, now, &json);
    json_key(&json, "totals");
    json_open_object(&json);
    json_member_number(&json, "attempts_total", view->history->attempts);
    json_member_number(&json, "connections_total", view->history->connections);
    json_member_number(&json, "failures_total", view->history->failures);
    json_member_number(&json, "received_bytes", report->loop->received_bytes);
    json_member_number(&json, "sent_bytes", report->loop->sent_bytes);
    json_member_number(&json, "queued_bytes", report->loop->queued_bytes);
    json_close_object(&json);
    json_close_object(&json);
    return json_take(&json, ret_len);
}

/* ---- Metrics --------------------------------------------------------------------------------------------------------------- */

/* Only those that listen: one that does not may have the name of one that does. */
static void write_forward_metrics(const struct port *ports, struct metrics *m)
{
    metrics_counter(m, NAME("forward_accepted_total"), "Local connections that a forward has accepted.");
    for (const struct port *port = ports; port != NULL; port = port->next) {
        if (port->listener != NULL) {
            metrics_number(m, "forward", port->name, port->accepted);
        }
    }
    metrics_counter(m, NAME("forward_refused_total"),
                    "Of these, reset for want of a connection or of a place, or by the server's word.");
    for (const struct port *port = ports; port != NULL; port = port->next) {
        if (port->listener != NULL) {
            metrics_number(m, "forward", port->name, port->refused);
        }
    }
}

static char *write_metrics(const struct report *report, const struct connector_view *view, size_t *ret_len)
{
    struct metrics m;

    if (metrics_init(&m) != 0) {
        return NULL;
    }
    metrics_gauge(&m, NAME("build_info"), "The version that runs; the number is always 1.");
    metrics_number(&m, "version", etcp_version(), 1);
    metrics_gauge_number(&m, NAME("start_time_seconds"), "When the agent was started, in seconds since 1970.",
                         (uint64_t)report->started);
    metrics_gauge(&m, NAME("uptime_seconds"), "For how long the agent has run.");
    metrics_seconds(&m, loop_now_us() - report->started_us);
    metrics_gauge_number(&m, NAME("connected"), "Whether there is a connection to a server.", view->link != NULL);
    metrics_counter_number(&m, NAME("connect_attempts_total"), "Attempts to connect, each over all servers.",
                           view->history->attempts);
    metrics_counter_number(&m, NAME("connections_total"), "Connections that came up.", view->history->connections);
    metrics_counter_number(&m, NAME("failures_total"), "Addresses that were of no use, and connections that were lost.",
                           view->history->failures);
    metrics_gauge_number(&m, NAME("failed_attempts"), "Attempts that have failed in a row.", view->failed_attempts);
    if (view->round_trip_us > 0) {
        metrics_gauge(&m, NAME("round_trip_seconds"), "Round trip to the server, as measured last.");
        metrics_seconds(&m, view->round_trip_us);
    }
    metrics_counter(&m, NAME("bytes_total"), "Bytes on the wire, by direction.");
    metrics_number(&m, "direction", "received", report->loop->received_bytes);
    metrics_number(&m, "direction", "sent", report->loop->sent_bytes);
    metrics_gauge_number(&m, NAME("queued_bytes"), "Memory of data that local connections have not taken yet.",
                         report->loop->queued_bytes);
    metrics_counter_number(&m, NAME("messages_echoed_total"), "Messages whose echo has come back.", view->mode.echoed);
    metrics_gauge_number(&m, NAME("messages"), "Messages that are to be sent in all.", view->mode.count);
    metrics_gauge_number(&m, NAME("forwarded_connections"), "Local connections that are carried.", view->mode.carried);
    metrics_gauge_number(&m, NAME("forwarded_waiting"), "Local connections that wait for one to the server.",
                         view->mode.waiting);
    write_forward_metrics(view->mode.ports, &m);
    metrics_gauge_number(&m, NAME("server_connections"), "Connections to the server that are there for forwards.",
                         view->mode.connections);
    metrics_gauge_number(&m, NAME("idle_server_connections"), "Of these, idle ones.", view->mode.idle_connections);
    return metrics_take(&m, ret_len);
}

/* ---- Sockets --------------------------------------------------------------------------------------------------------------- */

/* A server that talks is never asked for a heartbeat, so looking has it asked: the next look knows. */
static void measure(struct report *report, const struct connector_view *view)
{
    const uint64_t now = loop_now_us();

    if (view->link != NULL && now - report->asked_us >= ASK_INTERVAL_US &&
        etcp_conn_ping(link_conn(view->link), now) == 0) {
        report->asked_us = now;
        link_flush(view->link);
    }
}

static void on_wanted(struct publisher *publisher, enum publisher_kind kind, void *user)
{
    struct report *report = user;
    struct connector_view view;
    size_t len = 0;
    char *text = NULL;

    connector_view(report->connector, &view);
    measure(report, &view);
    text = kind == PUBLISHER_STATUS ? write_status(report, &view, &len) : write_metrics(report, &view, &len);
    publisher_answer(publisher, text, len);
}

static bool on_ready(void *user)
{
    const struct report *report = user;
    struct connector_view view;

    connector_view(report->connector, &view);
    return view.link != NULL;
}

static const struct publisher_handler handler = {.wanted = on_wanted, .ready = on_ready};

int report_new(struct loop *loop, struct connector *connector, struct report **ret_report)
{
    struct report *report = calloc(1, sizeof(*report));
    int result;

    if (report == NULL) {
        return -ENOMEM;
    }
    report->loop = loop;
    report->connector = connector;
    report->started = time(NULL);
    report->started_us = loop_now_us();
    result = publishers_new(loop, &handler, report, &report->publishers);
    if (result < 0) {
        free(report);
        return result;
    }
    *ret_report = report;
    return 0;
}

void report_free(struct report *report)
{
    if (report != NULL) {
        publishers_free(report->publishers);
        free(report);
    }
}

int report_prepare(struct report *report, const struct config_agent *config, struct error_text *ret_error)
{
    const struct publishers_settings settings = {
        .daemon = "agent",
        .status_socket = config->status_socket,
        .metrics_path = config->metrics.path,
        .metrics_host = config->metrics.host,
        .metrics_port = config->metrics.port,
    };

    return publishers_prepare(report->publishers, &settings, ret_error);
}

void report_commit(struct report *report)
{
    publishers_commit(report->publishers);
}

void report_rollback(struct report *report)
{
    publishers_rollback(report->publishers);
}
