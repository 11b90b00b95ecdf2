/* SPDX-License-Identifier: MIT */
#include "tools/remote.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include <etcp/etcp.h>
#include <event2/event.h>

#include "agent/setup.h"
#include "base/log.h"
#include "net/loop.h"

static const struct {
    const char *name;
    enum config_suite suite;
} suites[] = {
    {"auto", CONFIG_SUITE_AUTO},
    {"aes256gcm", CONFIG_SUITE_AES256GCM},
    {"chacha20poly1305", CONFIG_SUITE_CHACHA20POLY1305},
};

static int parse_suite(const struct tool_command *command, const char *value, struct remote_options *options)
{
    for (size_t i = 0; i < sizeof(suites) / sizeof(suites[0]); i++) {
        if (strcmp(value, suites[i].name) == 0) {
            options->suite = suites[i].suite;
            return TOOL_GO_ON;
        }
    }
    return tool_usage(command, "--suite %s: expected auto, aes256gcm or chacha20poly1305", value);
}

static int parse_pin(const struct tool_command *command, const char *value, struct remote_options *options)
{
    const size_t len = strlen(value);
    int result;

    if (options->pin_count == REMOTE_PINS_MAX) {
        return tool_usage(command, "--server-key: at most %d", REMOTE_PINS_MAX);
    }
    result = etcp_key_parse(value, len, ETCP_KEY_PUBLIC, options->pins[options->pin_count]);
    if (result == ETCP_EKEYKIND) {
        /* It may be a secret: it is not repeated. */
        return tool_usage(command, "--server-key: this is a %s key: expected the server's public key, etcp-pub-...",
                          etcp_key_kind_of(value, len) == ETCP_KEY_SECRET ? "secret" : "network");
    }
    if (result < 0) {
        return tool_usage(command, "--server-key: %s", etcp_strerror(result));
    }
    options->pin_count++;
    return TOOL_GO_ON;
}

int remote_option(const struct tool_command *command, int option, const char *value, struct remote_options *options)
{
    switch (option) {
    case 'c':
        options->config = value;
        return TOOL_GO_ON;
    case 'v':
        log_set_level(LOG_LEVEL_INFO);
        return TOOL_GO_ON;
    case REMOTE_OPTION_IDENTITY:
        options->identity = value;
        return TOOL_GO_ON;
    case REMOTE_OPTION_SERVER_KEY:
        return parse_pin(command, value, options);
    case REMOTE_OPTION_NETWORK_KEY:
        options->network_key = value;
        return TOOL_GO_ON;
    case REMOTE_OPTION_SUITE:
        return parse_suite(command, value, options);
    default:
        return tool_usage(command, "option %d is not handled", option);
    }
}

/* An identity for this call only. */
static int make_identity(const char *network_key_file, struct etcp_identity **ret_identity,
                         struct error_text *ret_error)
{
    uint8_t secret[ETCP_KEY_BYTES];
    uint8_t *network_key = NULL;
    int result;

    if (network_key_file[0] != '\0') {
        result = keyfile_load(network_key_file, ETCP_KEY_NETWORK, &network_key, ret_error);
        if (result < 0) {
            return result;
        }
    }
    etcp_key_generate(secret);
    result = etcp_identity_new(secret, network_key, ret_identity);
    etcp_wipe(secret, sizeof(secret));
    keyfile_key_free(network_key);
    return result < 0 ? error_set(ret_error, -ENOMEM, "%s", etcp_strerror(result)) : 0;
}

/* What the command line says comes first, then the configuration, if one was named. */
static int load_keys(struct remote *remote)
{
    const struct remote_options *options = &remote->options;
    const struct keyfile_request request = {
        .role = "agent",
        .identity = options->identity != NULL ? options->identity : remote->config->identity,
        .network_key_file = options->network_key != NULL ? options->network_key : remote->config->network_key_file,
    };
    struct error_text error;
    int result;

    if (options->identity != NULL || options->config != NULL) {
        result = keyfile_identity_borrow(&request, &remote->keys, &error);
    } else {
        result = make_identity(request.network_key_file, &remote->keys.identity, &error);
    }
    if (result < 0) {
        tool_complain(remote->command, "%s", error.text);
        return tool_exit_code(result);
    }
    return TOOL_GO_ON;
}

static void load_trust(struct remote *remote)
{
    remote->known_servers = setup_known_servers();
    if (remote->options.pin_count > 0) {
        remote->trust.pins = (const uint8_t(*)[ETCP_KEY_BYTES])remote->options.pins;
        remote->trust.pin_count = remote->options.pin_count;
    } else {
        remote->trust.pins = (const uint8_t(*)[ETCP_KEY_BYTES])remote->config->server_keys;
        remote->trust.pin_count = remote->config->server_key_count;
    }
    remote->trust.known_servers = remote->known_servers;
}

static void on_signal(evutil_socket_t number, short what, void *arg)
{
    struct remote *remote = arg;

    (void)what;
    if (remote->client == NULL) {
        /* Nothing but output is left. */
        remote->exit_code = 128 + (int)number;
        loop_stop(remote->loop);
    } else if (remote->signal == 0) {
        client_goodbye(remote->client, ETCP_CODE_OK, "interrupted");
    } else {
        client_abort(remote->client, "interrupted");
    }
    remote->signal = (int)number;
}

static bool watch_signals(struct remote *remote)
{
    static const int numbers[REMOTE_SIGNALS] = {SIGINT, SIGTERM, SIGHUP};

    for (int i = 0; i < REMOTE_SIGNALS; i++) {
        remote->signals[i] = evsignal_new(remote->loop->base, numbers[i], on_signal, remote);
        if (remote->signals[i] == NULL || event_add(remote->signals[i], NULL) < 0) {
            return false;
        }
    }
    return true;
}

static int start_client(struct remote *remote, const struct client_handler *handler)
{
    const struct client_options options = {
        .loop = remote->loop,
        .servers = &remote->server,
        .server_count = 1,
        .identity = remote->keys.identity,
        .is_passing = remote->keys.path == NULL,
        .suite = remote->options.suite != 0 ? remote->options.suite : remote->config->suite,
        .trust = &remote->trust,
        .heartbeat_interval_us = remote->config->heartbeat.interval_us,
        .dead_peer_timeout_us = remote->config->heartbeat.timeout_us,
    };

    return client_new(&options, handler, remote, &remote->client);
}

int remote_start(struct remote *remote, const struct tool_command *command, const struct remote_options *options,
                 const char *server, const struct client_handler *handler)
{
    struct error_text error;
    int code, result;

    *remote = (struct remote){.command = command, .options = *options};
    if (config_address_parse(server, false, &remote->server, &error) < 0) {
        return tool_usage(command, "%s", error.text);
    }
    if (config_agent_load(options->config, &remote->config, &error) < 0) {
        tool_complain_lines(command, "", error.text);
        return EX_CONFIG;
    }
    if (options->suite == 0 && remote->config->suite == CONFIG_SUITE_CLASSIC) {
        return tool_usage(command, "%s: suite \"classic\" knows neither streams nor heartbeats: use --suite",
                          options->config);
    }
    code = load_keys(remote);
    if (code != TOOL_GO_ON) {
        return code;
    }
    load_trust(remote);
    result = loop_new(&remote->loop);
    if (result == 0 && !watch_signals(remote)) {
        result = -ENOMEM;
    }
    if (result == 0) {
        result = start_client(remote, handler);
    }
    if (result < 0) {
        tool_complain(command, "%s", strerror(-result));
        return EX_OSERR;
    }
    return TOOL_GO_ON;
}

int remote_explain(const struct remote *remote, const struct client_end *end)
{
    char server[CONFIG_ADDRESS_TEXT_BYTES];

    if (remote->signal != 0) {
        return 128 + remote->signal;
    }
    /* What kept it from coming up is in the log, address by address, unless that is turned off. */
    if (end->was_up || !log_enabled(LOG_LEVEL_WARNING)) {
        config_address_format(&remote->server, server);
        tool_complain(remote->command, "%s: %s", server, end->cause);
    }
    if (end->unauthorized && remote->keys.path == NULL) {
        tool_complain(
            remote->command,
            "the server lets in agents that it knows, and the key was made for this call only: use -c or --identity");
    }
    return end->unauthorized || end->untrusted ? EX_NOPERM : EX_UNAVAILABLE;
}

void remote_done(struct remote *remote)
{
    for (int i = 0; i < REMOTE_SIGNALS; i++) {
        if (remote->signals[i] != NULL) {
            event_free(remote->signals[i]);
        }
    }
    loop_free(remote->loop);
    keyfile_identity_done(&remote->keys);
    config_agent_free(remote->config);
    free(remote->known_servers);
}
