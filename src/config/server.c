/* SPDX-License-Identifier: MIT
 *
 * server.conf: its table, and what its options demand of each other. */
#include "config/server.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <etcp/conn.h>

#include "config/table.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define AT(member)   .offset = offsetof(struct config_server, member)
#define OF(member)   .offset = offsetof(struct config_service, member)
#define MS           1e3
#define S            1e6
#define HOUR         3600e6

static_assert(sizeof(enum log_level) == sizeof(int) && sizeof(enum config_service_type) == sizeof(int),
              "words are stored as int");

static const struct config_word levels[] = {
    {"error", LOG_LEVEL_ERROR}, {"warning", LOG_LEVEL_WARNING}, {"notice", LOG_LEVEL_NOTICE},
    {"info", LOG_LEVEL_INFO},   {"debug", LOG_LEVEL_DEBUG},     {NULL, 0},
};

static const struct config_word service_types[] = {
    {"echo", CONFIG_SERVICE_ECHO}, {"forward", CONFIG_SERVICE_FORWARD}, {NULL, 0}};

static const struct config_word proxy_protocols[] = {
    {"off", CONFIG_PROXY_OFF}, {"v1", CONFIG_PROXY_V1}, {"v2", CONFIG_PROXY_V2}, {NULL, 0}};

static const struct config_word proxy_in[] = {
    {"off", CONFIG_PROXY_IN_OFF}, {"required", CONFIG_PROXY_IN_REQUIRED}, {NULL, 0}};

static const struct config_option root_options[] = {
    {"bind", CONFIG_BIND_LIST, "0.0.0.0:1337", AT(bind), offsetof(struct config_server, bind_count), .minimum = 1},
    {"proxy_protocol", CONFIG_WORD, "off", AT(proxy_protocol), .words = proxy_in},
    {"proxy_from", CONFIG_NETWORK_LIST, NULL, AT(proxy_from), offsetof(struct config_server, proxy_from_count)},
    {"log_level", CONFIG_WORD, "info", AT(log_level), .words = levels},
    {"identity", CONFIG_PATH_OR_NONE, "", AT(identity)},
    {"authorized_agents", CONFIG_PATH, "/etc/etcp/authorized_agents", AT(authorized_agents)},
    {"network_key_file", CONFIG_PATH_OR_NONE, "", AT(network_key_file)},
    {"classic", CONFIG_BOOL, "false", AT(classic)},
    {"classic_service", CONFIG_SERVICE, "echo", AT(classic_service)},
    {"workers", CONFIG_NUMBER, "0", AT(workers), .maximum = CONFIG_WORKERS_MAX},
    {"drain_timeout", CONFIG_DURATION, "30s", AT(drain_timeout_us), .maximum = HOUR},
    {"congestion_control", CONFIG_ALGORITHM, "", AT(congestion_control)},
    {"busy_poll", CONFIG_DURATION, "0", AT(busy_poll_us), .maximum = 10 * MS},
    {"status_socket", CONFIG_PATH_OR_WORD, "", AT(status_socket)},
};

static const struct config_option limit_options[] = {
    {"max_connections", CONFIG_NUMBER, "10000", AT(limits.max_connections), .minimum = 1, .maximum = 1e6},
    {"max_connections_per_address", CONFIG_NUMBER, "256", AT(limits.max_connections_per_address), .minimum = 1,
     .maximum = 1e6},
    {"max_handshakes", CONFIG_NUMBER, "1024", AT(limits.max_handshakes), .minimum = 1, .maximum = 1e6},
    {"max_streams", CONFIG_NUMBER, "256", AT(limits.max_streams), .minimum = 1, .maximum = 65535},
    {"handshake_timeout", CONFIG_DURATION, "10s", AT(limits.handshake_timeout_us), .minimum = 100 * MS,
     .maximum = 600 * S},
    {"idle_timeout", CONFIG_DURATION, "0", AT(limits.idle_timeout_us), .maximum = 168 * HOUR},
    {"max_message", CONFIG_SIZE, "64KiB", AT(limits.max_message), .minimum = 17, .maximum = 65536},
};

static const struct config_option heartbeat_options[] = {
    {"interval", CONFIG_DURATION, "15s", AT(heartbeat.interval_us), .minimum = 50 * MS, .maximum = 24 * HOUR},
    {"timeout", CONFIG_DURATION, "45s", AT(heartbeat.timeout_us), .minimum = 100 * MS, .maximum = 72 * HOUR},
};

static const struct config_option service_options[] = {
    {"type", CONFIG_WORD, "echo", OF(type), .words = service_types},
    {"allow", CONFIG_AGENT_LIST, "*", OF(allow), offsetof(struct config_service, allow_count)},
    {"to", CONFIG_TARGET, "", OF(to)},
    {"connect_timeout", CONFIG_DURATION, "10s", OF(connect_timeout_us), .minimum = 100 * MS, .maximum = 600 * S},
    {"proxy_protocol", CONFIG_WORD, "off", OF(proxy_protocol), .words = proxy_protocols},
    {"keepalive", CONFIG_DURATION, "60s", OF(keepalive_us), .maximum = 2 * HOUR},
    {"user_timeout", CONFIG_DURATION, "0", OF(user_timeout_us), .maximum = 24 * HOUR},
};

static const struct config_option metrics_options[] = {
    {"bind", CONFIG_METRICS, "", AT(metrics)},
};

static const struct config_section sections[] = {
    {.options = root_options, .option_count = COUNT(root_options)},
    {"limits", .options = limit_options, .option_count = COUNT(limit_options)},
    {"heartbeat", .options = heartbeat_options, .option_count = COUNT(heartbeat_options)},
    {"metrics", .options = metrics_options, .option_count = COUNT(metrics_options)},
    {"service", "echo", .options = service_options, .option_count = COUNT(service_options)},
};

static const struct config_table table = {sections, COUNT(sections)};

const struct config_table *config_server_table(void)
{
    return &table;
}

/* A section that was given says itself what it is and whom it serves: what nobody wrote must not let anybody in. */
static int check_service_section(const struct config_values *values, const struct config_instance *instance,
                                 struct error_text *ret_error)
{
    static const char *const needed[] = {"type", "allow"};

    if (!etcp_service_name_valid(instance->title))
        return config_values_fail(
            values, instance->line, ret_error,
            "bad title of a service: expected a service name: 1 to 64 of a-z 0-9 . _ -, the first "
            "a letter or digit");
    for (size_t i = 0; i < COUNT(needed); i++) {
        if (instance->line != 0 && config_values_line(instance, needed[i]) == 0)
            return config_values_fail(
                values, instance->line, ret_error, "service \"%s\" has no \"%s\": expected %s", instance->title,
                needed[i], i == 0 ? "type = \"echo\" or \"forward\"" : "allow = {...}, {\"*\"} for everybody");
    }
    return 0;
}

/* What a forward service needs, and what only it can have. */
static int check_service_type(const struct config_values *values, const struct config_instance *instance,
                              const struct config_service *service, struct error_text *ret_error)
{
    const char *wrong = NULL;

    if (service->type == CONFIG_SERVICE_FORWARD) {
        if (service->to.kind != 0)
            return 0;
        return config_values_fail(values, instance->line, ret_error,
                                  "service \"%s\" has no \"to\": expected to = \"host:port\" or \"unix:/path\"",
                                  instance->title);
    }
    if (service->to.kind != 0)
        wrong = "to";
    else if (service->proxy_protocol != CONFIG_PROXY_OFF)
        wrong = "proxy_protocol";
    if (!wrong)
        return 0;
    return config_values_fail(values, config_values_line(instance, wrong), ret_error,
                              "%s in service \"%s\", which goes nowhere: expected type = \"forward\"", wrong,
                              instance->title);
}

static void take_out_any(struct config_service *service)
{
    size_t kept = 0;

    for (size_t i = 0; i < service->allow_count; i++) {
        if (strcmp(service->allow[i], "*") == 0)
            service->allow_any = true;
        else
            service->allow[kept++] = service->allow[i];
    }
    service->allow_count = kept;
}

static int store_service(void *made, const struct config_instance *instance, struct error_text *ret_error)
{
    struct config_server *config = made;
    struct config_values *values = config->values;
    struct config_service service = {.name = instance->title};
    int r;

    if (!config->services)
        config->services = config_values_alloc(values, values->instance_count, sizeof *config->services);
    if (!config->services)
        return error_set(ret_error, -ENOMEM, "%s: no memory", values->name);
    r = check_service_section(values, instance, ret_error);
    r = config_worse(r, config_values_store(values, instance, &service, ret_error));
    if (r == 0)
        r = check_service_type(values, instance, &service, ret_error);
    if (r < 0)
        return r;
    take_out_any(&service);
    config->services[config->service_count++] = service;
    return 0;
}

static int check_classic(const struct config_server *config, struct error_text *ret_error)
{
    const struct config_instance *root = config_values_get(config->values, NULL);
    unsigned line = config_values_line(root, "classic_service");
    unsigned classic_line = config_values_line(root, "classic");

    if (!config->classic)
        return 0;
    if (config->network_key_file[0] != '\0')
        return config_values_fail(
            config->values, classic_line, ret_error,
            "classic = true with a network_key_file: expected one or the other: the classic suite "
            "is open to everybody");
    for (size_t i = 0; i < config->service_count; i++) {
        if (strcmp(config->services[i].name, config->classic_service) != 0)
            continue;
        if (config->services[i].type != CONFIG_SERVICE_ECHO)
            return config_values_fail(config->values, line > 0 ? line : classic_line, ret_error,
                                      "classic_service = \"%s\" is no echo service: expected one: a classic peer has "
                                      "messages and no streams",
                                      config->classic_service);
        if (config->services[i].allow_any)
            return 0;
        return config_values_fail(config->values, line > 0 ? line : classic_line, ret_error,
                                  "classic_service = \"%s\" does not serve everybody: expected a service with allow = "
                                  "{\"*\"}: classic peers are anonymous",
                                  config->classic_service);
    }
    return config_values_fail(config->values, line > 0 ? line : classic_line, ret_error,
                              "classic_service = \"%s\" is not there: expected the title of a service section",
                              config->classic_service);
}

/* Whom everybody could claim to speak for, nobody must be. */
static int check_proxy(const struct config_server *config, struct error_text *ret_error)
{
    const struct config_instance *root = config_values_get(config->values, NULL);

    if (config->proxy_protocol == CONFIG_PROXY_IN_OFF || config->proxy_from_count > 0)
        return 0;
    return config_values_fail(
        config->values, config_values_line(root, "proxy_protocol"), ret_error,
        "proxy_protocol = \"required\" without proxy_from: expected the addresses of the balancers, "
        "as proxy_from = {\"192.0.2.1\", \"10.0.0.0/8\"}");
}

static int check(void *made, struct error_text *ret_error)
{
    struct config_server *config = made;

    if (config_heartbeat_check(&config->heartbeat, config->values, ret_error) < 0)
        return -EINVAL;
    if (config->limits.max_message > 65535) /* 64KiB is what people write; the wire says 65,535 */
        config->limits.max_message = 65535;
    if (check_proxy(config, ret_error) < 0)
        return -EINVAL;
    return check_classic(config, ret_error);
}

static const struct config_kind kind = {
    .table = &table,
    .size = sizeof(struct config_server),
    .values_offset = offsetof(struct config_server, values),
    .store_titled = store_service,
    .check = check,
};

int config_server_load(const char *path, struct config_server **ret_config, struct error_text *ret_error)
{
    void *config = NULL;
    int r = config_kind_load(&kind, path, &config, ret_error);

    if (r == 0)
        *ret_config = config;
    return r;
}

int config_server_parse(const char *text, size_t len, const char *name, struct config_server **ret_config,
                        struct error_text *ret_error)
{
    void *config = NULL;
    int r = config_kind_parse(&kind, text, len, name, &config, ret_error);

    if (r == 0)
        *ret_config = config;
    return r;
}

void config_server_dump(const struct config_server *config, const struct config_note *notes, size_t count, FILE *out)
{
    config_values_dump(config->values, notes, count, out);
}

void config_server_free(struct config_server *config)
{
    config_kind_free(&kind, config);
}
