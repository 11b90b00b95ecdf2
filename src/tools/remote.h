/* SPDX-License-Identifier: MIT
 *
 * What `ping` and `connect` share: the options that say who we are and whom we trust, and one connection made of them. */
#ifndef TOOLS_REMOTE_H
#define TOOLS_REMOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <etcp/key.h>

#include "agent/client.h"
#include "agent/trust.h"
#include "config/agent.h"
#include "keys/keyfile.h"
#include "tools/tool.h"

enum {
    REMOTE_PINS_MAX = 16,
    REMOTE_SIGNALS = 3,

    REMOTE_OPTION_IDENTITY = TOOL_OPTION,
    REMOTE_OPTION_SERVER_KEY,
    REMOTE_OPTION_NETWORK_KEY,
    REMOTE_OPTION_SUITE,
};

/* Rows of a struct option table, and their help. 'c' and 'v' are letters too. */
#define REMOTE_LETTERS "c:v"
#define REMOTE_OPTIONS                                                                                       \
    {"config", required_argument, NULL, 'c'}, {"identity", required_argument, NULL, REMOTE_OPTION_IDENTITY}, \
        {"server-key", required_argument, NULL, REMOTE_OPTION_SERVER_KEY},                                   \
        {"network-key", required_argument, NULL, REMOTE_OPTION_NETWORK_KEY},                                 \
        {"suite", required_argument, NULL, REMOTE_OPTION_SUITE}, {"verbose", no_argument, NULL, 'v'},        \
        {"help", no_argument, NULL, TOOL_HELP},                                                              \
    {                                                                                                        \
        NULL, 0, NULL, 0                                                                                     \
    }
#define REMOTE_HELP                                                                                               \
    "  -c, --config FILE       take keys, suite and heartbeat from an agent's configuration, not the server\n"    \
    "      --identity FILE     our secret key (default: a new one for this call)\n"                               \
    "      --server-key KEY    accept only this key of the server; may be repeated\n"                             \
    "      --network-key FILE  the network key\n"                                                                 \
    "      --suite NAME        auto, aes256gcm or chacha20poly1305\n"                                             \
    "  -v, --verbose           say what is going on\n"                                                            \
    "      --help              print this and exit\n"                                                             \
    "\n"                                                                                                          \
    "Without --server-key, the first key that a server shows is trusted and remembered in known_servers, as by\n" \
    "etcp-agent; another key is refused from then on.\n"

struct remote_options {
    const char *config, *identity, *network_key;
    enum config_suite suite; /* 0: not given */
    uint8_t pins[REMOTE_PINS_MAX][ETCP_KEY_BYTES];
    size_t pin_count;
};

struct remote {
    const struct tool_command *command;
    struct loop *loop;
    struct client *client; /* NULL before and after */
    struct config_address server;
    struct remote_options options;
    struct config_agent *config;
    struct keyfile_identity keys;
    struct trust trust;
    char *known_servers;
    struct event *signals[REMOTE_SIGNALS];
    int signal; /* that ended it, or 0 */
    int exit_code;
};

/* Takes one option as tool_option() returned it. Returns TOOL_GO_ON, or the code to exit with after complaining; also if
 * it is none of REMOTE_OPTIONS (an error of ours). */
int remote_option(const struct tool_command *command, int option, const char *value, struct remote_options *options);

/* Makes everything ready to connect to `server` ("host:port") and starts; `handler` gets the remote as its user. Takes a copy of
 * the options. Returns TOOL_GO_ON, or the code to exit with after complaining; remote_done() in either case. */
int remote_start(struct remote *remote, const struct tool_command *command, const struct remote_options *options,
                 const char *server, const struct client_handler *handler);

/* For `closed`: complains about an end that was not asked for, and returns the code to exit with. */
int remote_explain(const struct remote *remote, const struct client_end *end);

/* Frees what is there. */
void remote_done(struct remote *remote);

#endif
