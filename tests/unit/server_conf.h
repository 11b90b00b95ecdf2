/* SPDX-License-Identifier: MIT
 *
 * Configurations of a server as text, and what becomes of them. */
#ifndef ETCP_TESTS_SERVER_CONF_H
#define ETCP_TESTS_SERVER_CONF_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "config/server.h"

/* What the file itself may hold. */
#define SERVER_WORDS                                                                                                \
    "bind proxy_protocol proxy_from log_level identity authorized_agents network_key_file classic classic_service " \
    "workers drain_timeout congestion_control busy_poll status_socket limits heartbeat metrics service"

static inline struct config_server *good(const char *text)
{
    struct config_server *config = NULL;
    struct error_text error = {""};

    if (config_server_parse(text, strlen(text), "server.conf", &config, &error) != 0)
        (void)fprintf(stderr, "%s\n", error.text);
    CHECK(config != NULL);
    return config;
}

static inline void bad(const char *text, const char *message)
{
    struct config_server *config = NULL;
    struct error_text error = {""};

    CHECK_INT(config_server_parse(text, strlen(text), "server.conf", &config, &error), -EINVAL);
    CHECK_STR(error.text, message);
    CHECK(config == NULL);
}

struct bad_input {
    const char *text;
    const char *message;
};

static inline void bad_each(const struct bad_input *inputs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        bad(inputs[i].text, inputs[i].message);
}

static inline char *dump(const struct config_server *config)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    CHECK(out != NULL);
    config_server_dump(config, NULL, 0, out);
    CHECK_INT(fclose(out), 0);
    return text;
}

#endif
