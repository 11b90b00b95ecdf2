/* SPDX-License-Identifier: MIT
 *
 * The server's numbers for Prometheus; docs/metrics.md lists them. Labels have few values: nothing that strangers choose. */
#include <inttypes.h>
#include <string.h>

#include <etcp/etcp.h>

#include "config/server.h"
#include "net/metrics.h"
#include "server/report.h"
#include "server/snapshot.h"

#define NAME(name) "etcp_server_" name

static void write_connections(const struct report_view *view, const struct tally *tally, struct metrics *m)
{
    metrics_gauge_number(m, NAME("connections"), "Authenticated connections.",
                         view->counts.connections - view->counts.handshakes);
    metrics_gauge_number(m, NAME("handshakes"), "Connections that have not authenticated yet.",
                         view->counts.handshakes);
    metrics_gauge_number(m, NAME("connections_max"), "Configured limit of connections, handshakes included.",
                         view->snapshot->config->limits.max_connections);
    metrics_counter_number(m, NAME("connections_accepted_total"), "Connections that were let begin a handshake.",
                           view->totals.welcome);
    metrics_counter(m, NAME("connections_authenticated_total"), "Connections that have authenticated, by suite.");
    for (int i = 0; i < TALLY_SUITES; i++) {
        metrics_number(m, "suite", tally_suite_name((enum tally_suite)i), tally->authenticated[i]);
    }
    metrics_counter(m, NAME("connections_ended_total"),
                    "Authenticated connections that have ended: with a goodbye, or in an error.");
    metrics_number(m, "how", "goodbye", tally->disconnected_well);
    metrics_number(m, "how", "error", tally->disconnected_failed);
}

static void write_refusals(const struct report_view *view, const struct tally *tally, struct metrics *m)
{
    metrics_counter(m, NAME("connections_refused_total"), "Connections that were refused, by the limit that was met.");
    for (int i = 0; i < CENSUS_LIMITS; i++) {
        metrics_number(m, "cause", census_limit_name((enum census_limit)i), view->totals.refused[i]);
    }
    metrics_counter(m, NAME("handshakes_failed_total"),
                    "Handshakes that came to nothing, by cause; unauthorized: the key is not known.");
    for (int i = 0; i < TALLY_FAILURES; i++) {
        metrics_number(m, "cause", tally_failure_name((enum tally_failure)i), tally->failures[i]);
    }
    metrics_number(m, "cause", "unauthorized", tally->unauthorized);
    metrics_counter(m, NAME("streams_refused_total"),
                    "Streams that were refused, by the code that the agent was told.");
    for (int i = 1; i < TALLY_CODES; i++) {
        metrics_number(m, "cause", etcp_code_name(i), tally->streams_refused[i]);
    }
}

/* The services that are configured, those without a stream yet included. */
static void write_services(const struct config_server *config, struct report_sum *sum, struct metrics *m)
{
    static const struct {
        const char *name, *help;
        size_t at;
        bool gauge;
    } families[] = {
        {NAME("streams"), "Open streams, by service.", offsetof(struct tally_service, open), true},
        {NAME("streams_opened_total"), "Streams that were opened, by service.", offsetof(struct tally_service, opened),
         false},
        {NAME("streams_failed_total"), "Streams whose backend could not be reached, by service.",
         offsetof(struct tally_service, failed), false},
        {NAME("stream_received_bytes_total"), "Data received on streams, by service.",
         offsetof(struct tally_service, received_bytes), false},
        {NAME("stream_sent_bytes_total"), "Data sent on streams, by service.",
         offsetof(struct tally_service, sent_bytes), false},
    };

    for (size_t f = 0; f < sizeof(families) / sizeof(families[0]); f++) {
        if (families[f].gauge) {
            metrics_gauge(m, families[f].name, families[f].help);
        } else {
            metrics_counter(m, families[f].name, families[f].help);
        }
        for (size_t i = 0; i < config->service_count; i++) {
            const struct tally_service *service = tally_service(&sum->services, config->services[i].name);
            uint64_t number = 0;

            if (service != NULL) {
                memcpy(&number, (const char *)service + families[f].at, sizeof(number));
            }
            metrics_number(m, "service", config->services[i].name, number);
        }
    }
}

char *report_metrics(const struct report_view *view, struct report_sum *sum, size_t *ret_len)
{
    struct metrics metrics;

    if (metrics_init(&metrics) != 0) {
        return NULL;
    }
    metrics_gauge(&metrics, NAME("build_info"), "The version that runs; the number is always 1.");
    metrics_number(&metrics, "version", etcp_version(), 1);
    metrics_gauge_number(&metrics, NAME("start_time_seconds"), "When the server was started, in seconds since 1970.",
                         (uint64_t)view->started);
    metrics_gauge(&metrics, NAME("uptime_seconds"), "For how long the server has run.");
    metrics_seconds(&metrics, view->lived_us);
    metrics_gauge_number(&metrics, NAME("ready"), "Whether new connections are taken: not while draining.",
                         view->ready);
    metrics_gauge_number(&metrics, NAME("workers"), "Event loops.", view->workers);
    write_connections(view, &sum->tally, &metrics);
    metrics_counter(&metrics, NAME("bytes_total"), "Bytes on the wire, by direction.");
    metrics_number(&metrics, "direction", "received", sum->tally.received_bytes);
    metrics_number(&metrics, "direction", "sent", sum->tally.sent_bytes);
    metrics_gauge_number(&metrics, NAME("queued_bytes"), "Memory of data that backends have not taken yet.",
                         sum->tally.queued_bytes);
    write_refusals(view, &sum->tally, &metrics);
    write_services(view->snapshot->config, sum, &metrics);
    return metrics_take(&metrics, ret_len);
}
