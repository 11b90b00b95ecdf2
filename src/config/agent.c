/* SPDX-License-Identifier: MIT
 *
 * agent.conf: its table, and what its options demand of each other. */
#include "config/agent.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <etcp/conn.h>
#include <etcp/key.h>

#include "config/table.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define AT(member)   .offset = offsetof(struct config_agent, member)
#define OF(member)   .offset = offsetof(struct config_forward, member)
#define MS           1e3
#define S            1e6
#define HOUR         3600e6

static_assert(sizeof(enum log_level) == sizeof(int) && sizeof(enum config_suite) == sizeof(int),
              "words are stored as int");
static_assert((int)CONFIG_KEY_BYTES == (int)ETCP_KEY_BYTES, "keys are stored as libetcp takes them");

static const struct config_word levels[] = {
    {"error", LOG_LEVEL_ERROR}, {"warning", LOG_LEVEL_WARNING}, {"notice", LOG_LEVEL_NOTICE},
    {"info", LOG_LEVEL_INFO},   {"debug", LOG_LEVEL_DEBUG},     {NULL, 0},
};

static const struct config_word suites[] = {
    {"auto", CONFIG_SUITE_AUTO},
    {"aes256gcm", CONFIG_SUITE_AES256GCM},
    {"chacha20poly1305", CONFIG_SUITE_CHACHA20POLY1305},
    {"classic", CONFIG_SUITE_CLASSIC},
    {NULL, 0},
};

static const struct config_option root_options[] = {
    {"server", CONFIG_SERVER_LIST, "127.0.0.1:1337", AT(servers), offsetof(struct config_agent, server_count),
     .minimum = 1},
    {"server_key", CONFIG_KEY_LIST, NULL, AT(server_keys), offsetof(struct config_agent, server_key_count)},
    {"identity", CONFIG_PATH_OR_NONE, "", AT(identity)},
    {"network_key_file", CONFIG_PATH_OR_NONE, "", AT(network_key_file)},
    {"suite", CONFIG_WORD, "auto", AT(suite), .words = suites},
    {"connect_timeout", CONFIG_DURATION, "10s", AT(connect_timeout_us), .minimum = 100 * MS, .maximum = 600 * S},
    {"log_level", CONFIG_WORD, "info", AT(log_level), .words = levels},
    {"status_socket", CONFIG_PATH_OR_WORD, "", AT(status_socket)},
    {"spare_connections", CONFIG_NUMBER, "2", AT(spare_connections), .maximum = 1e4},
    {"max_connections", CONFIG_NUMBER, "64", AT(max_connections), .minimum = 1, .maximum = 1e4},
    {"idle_close", CONFIG_DURATION, "60s", AT(idle_close_us), .minimum = 100 * MS, .maximum = 24 * HOUR},
    {"drain_timeout", CONFIG_DURATION, "30s", AT(drain_timeout_us), .maximum = HOUR},
    {"congestion_control", CONFIG_ALGORITHM, "", AT(congestion_control)},
    {"busy_poll", CONFIG_DURATION, "0", AT(busy_poll_us), .maximum = 10 * MS},
};

static const struct config_option reconnect_options[] = {
    {"initial_delay", CONFIG_DURATION, "5s", AT(reconnect.initial_delay_us), .minimum = 10 * MS, .maximum = HOUR},
    {"multiplier", CONFIG_REAL, "2.0", AT(reconnect.multiplier), .minimum = 1, .maximum = 100},
    {"max_delay", CONFIG_DURATION, "5min", AT(reconnect.max_delay_us), .minimum = 10 * MS, .maximum = 24 * HOUR},
    {"jitter", CONFIG_REAL, "0.2", AT(reconnect.jitter), .minimum = 0, .maximum = 1},
    {"reset_after", CONFIG_DURATION, "60s", AT(reconnect.reset_after_us), .maximum = 24 * HOUR},
    {"max_attempts", CONFIG_NUMBER, "0", AT(reconnect.max_attempts), .maximum = 1e9},
};

static const struct config_option heartbeat_options[] = {
    {"interval", CONFIG_DURATION, "15s", AT(heartbeat.interval_us), .minimum = 50 * MS, .maximum = 24 * HOUR},
    {"timeout", CONFIG_DURATION, "45s", AT(heartbeat.timeout_us), .minimum = 100 * MS, .maximum = 72 * HOUR},
};

static const struct config_option message_options[] = {
    {"service", CONFIG_SERVICE, "echo", AT(message.service)},
    {"text", CONFIG_TEXT, "Hello from client!", AT(message.text)},
    {"count", CONFIG_NUMBER, "5", AT(message.count), .minimum = 1, .maximum = 1e9},
    {"interval", CONFIG_DURATION, "1s", AT(message.interval_us), .maximum = 24 * HOUR},
    {"timeout", CONFIG_DURATION, "30s", AT(message.timeout_us), .maximum = 24 * HOUR},
};

static const struct config_option metrics_options[] = {
    {"bind", CONFIG_METRICS, "", AT(metrics)},
};

static const struct config_option forward_options[] = {
    {"listen", CONFIG_METRICS, "127.0.0.1:5432", OF(listen)},
    {"service", CONFIG_SERVICE, "postgres", OF(service)},
    {"wait", CONFIG_DURATION, "10s", OF(wait_us), .maximum = HOUR},
    {"max_connections", CONFIG_NUMBER, "10000", OF(max_connections), .minimum = 1, .maximum = 1e6},
    {"keepalive", CONFIG_DURATION, "60s", OF(keepalive_us), .maximum = 2 * HOUR},
    {"user_timeout", CONFIG_DURATION, "0", OF(user_timeout_us), .maximum = 24 * HOUR},
};

static const struct config_section sections[] = {
    {.options = root_options, .option_count = COUNT(root_options)},
    {"reconnect", .options = reconnect_options, .option_count = COUNT(reconnect_options)},
    {"heartbeat", .options = heartbeat_options, .option_count = COUNT(heartbeat_options)},
    {"metrics", .options = metrics_options, .option_count = COUNT(metrics_options)},
    {"message", .options = message_options, .option_count = COUNT(message_options)},
    {"forward", "postgres", .optional = true, .options = forward_options, .option_count = COUNT(forward_options)},
};

static const struct config_table table = {sections, COUNT(sections)};

const struct config_table *config_agent_table(void)
{
    return &table;
}

static int check_classic(const struct config_agent *config, struct error_text *ret_error)
{
    unsigned line = config_values_line(config_values_get(config->values, NULL), "suite");

    if (config->suite != CONFIG_SUITE_CLASSIC)
        return 0;
    if (config->forward_count > 0)
        return config_values_fail(
            config->values, line, ret_error,
            "suite = \"classic\" with a forward: expected one or the other: the classic suite has "
            "no streams");
    if (config->network_key_file[0] != '\0')
        return config_values_fail(config->values, line, ret_error,
                                  "suite = \"classic\" with a network_key_file: expected one or the other: the classic "
                                  "suite can't use it");
    if (config->server_key_count > 0)
        return config_values_fail(config->values, line, ret_error,
                                  "suite = \"classic\" with a server_key: expected one or the other: in the classic "
                                  "suite nobody is authenticated");
    return 0;
}

/* A section says itself where it listens and for what. */
static int check_forward(const struct config_agent *config, const struct config_instance *instance,
                         struct error_text *ret_error)
{
    static const char *const needed[] = {"listen", "service"};

    if (!etcp_service_name_valid(instance->title))
        return config_values_fail(
            config->values, instance->line, ret_error,
            "bad title of a forward: expected a name: 1 to 64 of a-z 0-9 . _ -, the first a letter or "
            "digit");
    for (size_t i = 0; i < COUNT(needed); i++) {
        if (config_values_line(instance, needed[i]) == 0)
            return config_values_fail(config->values, instance->line, ret_error,
                                      "forward \"%s\" has no \"%s\": expected %s", instance->title, needed[i],
                                      i == 0 ? "listen = \"127.0.0.1:PORT\" or \"unix:/path\"" : "service = \"NAME\"");
    }
    return 0;
}

static int store_forward(void *made, const struct config_instance *instance, struct error_text *ret_error)
{
    struct config_agent *config = made;
    struct config_values *values = config->values;
    struct config_forward forward = {.name = instance->title};
    char text[CONFIG_ADDRESS_TEXT_BYTES], other[CONFIG_ADDRESS_TEXT_BYTES];
    unsigned line = config_values_line(instance, "listen");
    int r;

    if (!config->forwards)
        config->forwards = config_values_alloc(values, values->instance_count, sizeof *config->forwards);
    if (!config->forwards)
        return error_set(ret_error, -ENOMEM, "%s: no memory", values->name);
    r = check_forward(config, instance, ret_error);
    r = config_worse(r, config_values_store(values, instance, &forward, ret_error));
    if (r < 0)
        return r;
    if (forward.listen.kind == 0)
        return config_values_fail(values, line, ret_error, "forward.listen is empty: expected an address");
    config_address_format(&forward.listen, text);
    for (size_t i = 0; i < config->forward_count; i++) {
        config_address_format(&config->forwards[i].listen, other);
        if (strcmp(text, other) == 0 && !(forward.listen.kind == CONFIG_ADDRESS_INET && forward.listen.port == 0))
            return config_values_fail(values, line, ret_error,
                                      "forward.listen = \"%s\" is there already: expected every address once", text);
    }
    config->forwards[config->forward_count++] = forward;
    return 0;
}

static int check(void *made, struct error_text *ret_error)
{
    struct config_agent *config = made;
    const struct config_values *values = config->values;
    const struct config_instance *reconnect = config_values_get(values, "reconnect");
    size_t longest = config->suite == CONFIG_SUITE_CLASSIC ? ETCP_MESSAGE_MAX : ETCP_DATA_MAX;

    config->sends_messages = config->forward_count == 0 || config_values_get(values, "message")->line != 0;
    config->message.text_length = strlen(config->message.text);
    if (config_heartbeat_check(&config->heartbeat, values, ret_error) < 0)
        return -EINVAL;
    if (config->reconnect.max_delay_us < config->reconnect.initial_delay_us)
        return config_values_fail(values, config_values_either_line(reconnect, "max_delay", "initial_delay"), ret_error,
                                  "reconnect.max_delay is below reconnect.initial_delay: expected max_delay >= "
                                  "initial_delay");
    if (config->message.text_length > longest)
        return config_values_fail(values, config_values_line(config_values_get(values, "message"), "text"), ret_error,
                                  "message.text has %zu bytes: expected at most %zu", config->message.text_length,
                                  longest);
    return check_classic(config, ret_error);
}

static const struct config_kind kind = {
    .table = &table,
    .size = sizeof(struct config_agent),
    .values_offset = offsetof(struct config_agent, values),
    .store_titled = store_forward,
    .check = check,
};

int config_agent_load(const char *path, struct config_agent **ret_config, struct error_text *ret_error)
{
    void *config = NULL;
    int r = config_kind_load(&kind, path, &config, ret_error);

    if (r == 0)
        *ret_config = config;
    return r;
}

int config_agent_parse(const char *text, size_t len, const char *name, struct config_agent **ret_config,
                       struct error_text *ret_error)
{
    void *config = NULL;
    int r = config_kind_parse(&kind, text, len, name, &config, ret_error);

    if (r == 0)
        *ret_config = config;
    return r;
}

void config_agent_dump(const struct config_agent *config, const struct config_note *notes, size_t count, FILE *out)
{
    config_values_dump(config->values, notes, count, out);
}

void config_agent_free(struct config_agent *config)
{
    config_kind_free(&kind, config);
}
