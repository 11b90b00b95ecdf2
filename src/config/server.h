/* SPDX-License-Identifier: MIT
 *
 * server.conf as a plain struct; etcp-server.conf(5) says what the options mean. */
#ifndef ETCP_CONFIG_SERVER_H
#define ETCP_CONFIG_SERVER_H

#include "base/log.h"
#include "config/config.h"

enum config_service_type {
    CONFIG_SERVICE_ECHO = 1,
    CONFIG_SERVICE_FORWARD,
};

/* What a backend is told about the connection, before its first byte. */
enum config_proxy_protocol {
    CONFIG_PROXY_OFF = 1,
    CONFIG_PROXY_V1,
    CONFIG_PROXY_V2,
};

/* What a connection must begin with. */
enum config_proxy_in {
    CONFIG_PROXY_IN_OFF = 1,
    CONFIG_PROXY_IN_REQUIRED,
};

struct config_service {
    const char *name;
    enum config_service_type type;
    const char **allow; /* names of agents; without the "*" */
    size_t allow_count;
    bool allow_any;           /* "*" was in the list: every agent that completes the handshake */
    struct config_address to; /* forward only: the backend, else of kind 0 */
    uint64_t connect_timeout_us;
    enum config_proxy_protocol proxy_protocol;
    uint64_t keepalive_us;    /* 0: none */
    uint64_t user_timeout_us; /* 0: the system's */
};

struct config_limits {
    uint32_t max_connections;
    uint32_t max_connections_per_address;
    uint32_t max_handshakes;
    uint32_t max_streams;
    uint64_t handshake_timeout_us;
    uint64_t idle_timeout_us; /* 0: none */
    uint32_t max_message;     /* largest n of a classic record; 64KiB is 65,535 here */
};

/* All strings and lists belong to the struct. Strings are never NULL, "" where nothing was set. */
struct config_server {
    struct config_address *bind; /* at least one, all different; port 0: any free port */
    size_t bind_count;
    enum config_proxy_in proxy_protocol;
    struct config_network *proxy_from; /* who may say whom it speaks for; at least one if that is required */
    size_t proxy_from_count;
    enum log_level log_level;
    const char *identity; /* "": keyfile_identity_load() finds or makes it */
    const char *authorized_agents;
    const char *network_key_file; /* "": none */
    bool classic;
    const char *classic_service; /* if `classic`: the name of one of `services` that allows everybody */
    uint32_t workers;            /* 0: one per core */
    struct config_limits limits;
    struct config_heartbeat heartbeat;
    const char *status_socket;     /* "": in the runtime directory; "none": there is none; else a path */
    struct config_address metrics; /* numeric or a path; kind 0: none */
    uint64_t drain_timeout_us;
    const char *congestion_control;  /* "": as the system has it */
    uint64_t busy_poll_us;           /* 0: none */
    struct config_service *services; /* at least one: with no section, "echo" for everybody */
    size_t service_count;
    struct config_values *values;
};

/* Reads a file; `path` NULL gives the defaults. Returns 0 and an owned configuration. Else an error text and -ENOENT
 * (there is no such file: the caller knows whether that is an error), -EINVAL (the content), -ENOMEM, or what
 * reading said. */
int config_server_load(const char *path, struct config_server **ret_config, struct error_text *ret_error);

/* The same from text, which need not be terminated; `name` stands for the file in messages. Not to be called by two threads
 * at once, nor beside config_agent_parse(): libconfuse's scanner is one per process. */
int config_server_parse(const char *text, size_t len, const char *name, struct config_server **ret_config,
                        struct error_text *ret_error);

/* Writes every setting with its value and where it came from, as text that config_server_parse() takes; with notes. */
void config_server_dump(const struct config_server *config, const struct config_note *notes, size_t count, FILE *out);

/* NULL is fine. */
void config_server_free(struct config_server *config);

#endif
