/* SPDX-License-Identifier: MIT
 *
 * The status document; docs/status.md describes it. Names are stable: members are added, never renamed. */
#include <unistd.h>

#include <etcp/etcp.h>

#include "base/json.h"
#include "config/server.h"
#include "server/gate.h"
#include "server/report.h"
#include "server/snapshot.h"

static void write_listening(const struct gate *gate, struct json *json)
{
    char text[ADDRESS_TEXT_BYTES];
    const struct address *address = NULL;

    json_key(json, "listening");
    json_open_array(json);
    for (size_t i = 0; (address = gate_address(gate, i)) != NULL; i++) {
        address_format(address, text);
        json_text(json, text);
    }
    json_close_array(json);
}

static void write_totals(const struct report_view *view, const struct report_sum *sum, struct json *json)
{
    uint64_t authenticated = 0, opened = 0;

    for (int i = 0; i < TALLY_SUITES; i++) {
        authenticated += sum->tally.authenticated[i];
    }
    for (const struct tally_service *service = sum->services; service != NULL; service = service->next) {
        opened += service->opened;
    }
    json_key(json, "totals");
    json_open_object(json);
    json_member_number(json, "connections", view->counts.connections - view->counts.handshakes);
    json_member_number(json, "handshakes", view->counts.handshakes);
    json_member_number(json, "accepted_total", view->totals.welcome);
    json_member_number(json, "authenticated_total", authenticated);
    json_member_number(json, "disconnected_total", sum->tally.disconnected_well);
    json_member_number(json, "lost_total", sum->tally.disconnected_failed);
    json_member_number(json, "streams", sum->streams);
    json_member_number(json, "streams_total", opened);
    json_member_number(json, "received_bytes", sum->tally.received_bytes);
    json_member_number(json, "sent_bytes", sum->tally.sent_bytes);
    json_member_number(json, "queued_bytes", sum->tally.queued_bytes);
    json_close_object(json);
}

static void write_refusals(const struct report_view *view, const struct tally *tally, struct json *json)
{
    json_key(json, "refusals");
    json_open_object(json);
    json_key(json, "limits");
    json_open_object(json);
    for (int i = 0; i < CENSUS_LIMITS; i++) {
        json_member_number(json, census_limit_name((enum census_limit)i), view->totals.refused[i]);
    }
    json_close_object(json);
    json_key(json, "handshakes");
    json_open_object(json);
    for (int i = 0; i < TALLY_FAILURES; i++) {
        json_member_number(json, tally_failure_name((enum tally_failure)i), tally->failures[i]);
    }
    json_close_object(json);
    json_member_number(json, "unauthorized", tally->unauthorized);
    json_key(json, "streams");
    json_open_object(json);
    for (int i = 1; i < TALLY_CODES; i++) {
        json_member_number(json, etcp_code_name(i), tally->streams_refused[i]);
    }
    json_close_object(json);
    json_close_object(json);
}

static const char *type_name(enum config_service_type type)
{
    switch (type) {
    case CONFIG_SERVICE_ECHO:
        return "echo";
    case CONFIG_SERVICE_FORWARD:
        return "forward";
    }
    return NULL;
}

static void write_service(const struct config_service *service, const struct tally_service *tally, struct json *json)
{
    static const struct tally_service none;

    tally = tally != NULL ? tally : &none;
    json_open_object(json);
    json_member_text(json, "name", service->name);
    json_member_text(json, "type", type_name(service->type));
    json_key(json, "allow");
    json_open_array(json);
    if (service->allow_any) {
        json_text(json, "*");
    }
    for (size_t i = 0; i < service->allow_count; i++) {
        json_text(json, service->allow[i]);
    }
    json_close_array(json);
    json_member_number(json, "streams", tally->open);
    json_member_number(json, "streams_total", tally->opened);
    json_member_number(json, "failed_total", tally->failed);
    json_member_number(json, "received_bytes", tally->received_bytes);
    json_member_number(json, "sent_bytes", tally->sent_bytes);
    json_close_object(json);
}

char *report_json(const struct report_view *view, struct report_sum *sum, struct json *sessions, size_t *ret_len)
{
    const struct config_server *config = view->snapshot->config;
    struct json json = {0};
    char key[ETCP_KEY_TEXT_BYTES];

    etcp_key_format(ETCP_KEY_PUBLIC, etcp_identity_public(view->snapshot->identity.identity), key);
    json_open_object(&json);
    json_member_number(&json, "format", 1);
    json_member_text(&json, "program", "etcp-server");
    json_member_text(&json, "version", etcp_version());
    json_member_number(&json, "pid", (uint64_t)getpid());
    json_member_text(&json, "state", view->state);
    json_member_number(&json, "started_unix_seconds", (uint64_t)view->started);
    json_member_number(&json, "uptime_us", view->lived_us);
    json_member_text(&json, "public_key", key);
    write_listening(view->gate, &json);
    json_member_number(&json, "workers", view->workers);
    write_totals(view, sum, &json);
    write_refusals(view, &sum->tally, &json);
    json_key(&json, "services");
    json_open_array(&json);
    for (size_t i = 0; i < config->service_count; i++) {
        write_service(&config->services[i], tally_service(&sum->services, config->services[i].name), &json);
    }
    json_close_array(&json);
    json_key(&json, "connections");
    json_open_array(&json);
    json_append(&json, sessions);
    json_close_array(&json);
    json_close_object(&json);
    return json_take(&json, ret_len);
}
