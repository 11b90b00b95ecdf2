/* SPDX-License-Identifier: MIT
 *
 * agent.conf as a plain struct; etcp-agent.conf(5) says what the options mean. */
#ifndef ETCP_CONFIG_AGENT_H
#define ETCP_CONFIG_AGENT_H

#include "base/log.h"
#include "config/config.h"

enum {
    CONFIG_KEY_BYTES = 32,
};

enum config_suite {
    CONFIG_SUITE_AUTO = 1,
    CONFIG_SUITE_AES256GCM,
    CONFIG_SUITE_CHACHA20POLY1305,
    CONFIG_SUITE_CLASSIC, /* nobody is authenticated */
};

struct config_reconnect {
    uint64_t initial_delay_us;
    double multiplier; /* >= 1 */
    uint64_t max_delay_us;
    double jitter; /* 0 to 1: the share of a delay that is random */
    uint64_t reset_after_us;
    uint32_t max_attempts; /* 0: never give up */
};

struct config_message {
    const char *service;
    const char *text; /* 1 to ETCP_DATA_MAX bytes (classic: ETCP_MESSAGE_MAX), terminated, no NUL inside */
    size_t text_length;
    uint32_t count; /* >= 1 */
    uint64_t interval_us;
    uint64_t timeout_us; /* for the echo; 0: as long as it takes */
};

/* A local port or Unix socket whose connections are carried to a service. */
struct config_forward {
    const char *name;
    struct config_address listen; /* numeric, or a path; port 0: any free port */
    const char *service;
    uint64_t wait_us;         /* how long a local connection waits for one to the server */
    uint32_t max_connections; /* local ones at once */
    uint64_t keepalive_us;    /* 0: none */
    uint64_t user_timeout_us; /* 0: the system's */
};

/* All strings and lists belong to the struct. Strings are never NULL, "" where nothing was set. */
struct config_agent {
    struct config_address *servers; /* at least one, all different, in the order of trying */
    size_t server_count;
    uint8_t (*server_keys)[CONFIG_KEY_BYTES]; /* pinned keys; none: trust on first use */
    size_t server_key_count;
    const char *identity;         /* "": keyfile_identity_load() finds or makes it */
    const char *network_key_file; /* "": none */
    enum config_suite suite;
    uint64_t connect_timeout_us; /* from the first packet to the end of the handshake */
    enum log_level log_level;
    struct config_reconnect reconnect;
    struct config_heartbeat heartbeat;
    const char *status_socket;     /* "": in the runtime directory; "none": there is none; else a path */
    struct config_address metrics; /* numeric or a path; kind 0: none */
    struct config_message message;
    bool sends_messages; /* there is a message section, or no forward */
    struct config_forward *forwards;
    size_t forward_count;
    /* Connections to the server that carry forwarded ones. */
    uint32_t spare_connections;     /* idle ones kept ready */
    uint32_t max_connections;       /* beyond, several forwarded ones share one */
    uint64_t idle_close_us;         /* when more than the spare ones are idle */
    uint64_t drain_timeout_us;      /* how long forwarded ones may go on when the agent ends */
    const char *congestion_control; /* "": as the system has it */
    uint64_t busy_poll_us;          /* 0: none */
    struct config_values *values;
};

/* As their kin in server.h. */
int config_agent_load(const char *path, struct config_agent **ret_config, struct error_text *ret_error);
int config_agent_parse(const char *text, size_t len, const char *name, struct config_agent **ret_config,
                       struct error_text *ret_error);
void config_agent_dump(const struct config_agent *config, const struct config_note *notes, size_t count, FILE *out);
void config_agent_free(struct config_agent *config);

#endif
