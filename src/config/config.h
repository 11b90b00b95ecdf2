/* SPDX-License-Identifier: MIT
 *
 * What both configuration files share: addresses, and how loading, dumping and the option tables work. libconfuse is seen
 * by this room only. The files themselves are described in server.h and agent.h, and for people in etcp-server.conf(5)
 * and etcp-agent.conf(5).
 *
 * One option table per file is the single source of names, types, ranges and defaults; a test holds sample and
 * man page against it. Errors read "FILE:LINE: what was wrong: what was expected", one line for each mistake; one that makes the rest
 * unreadable is the last. */
#ifndef ETCP_CONFIG_CONFIG_H
#define ETCP_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

#define CONFIG_SERVER_PATH "/etc/etcp/server.conf"
#define CONFIG_AGENT_PATH  "/etc/etcp/agent.conf"

enum {
    CONFIG_FILE_MAX = 1048576, /* bytes of a configuration file */
    CONFIG_LIST_MAX = 1024,    /* entries of a list, and sections of a name */
    CONFIG_HOST_BYTES = 256,
    CONFIG_PATH_BYTES = 108, /* as in struct sockaddr_un */
    CONFIG_ADDRESS_TEXT_BYTES = 272,
    CONFIG_WORKERS_MAX = 256,
};

enum config_address_kind {
    CONFIG_ADDRESS_INET = 1, /* host and port */
    CONFIG_ADDRESS_UNIX = 2, /* path */
};

struct config_address {
    enum config_address_kind kind;
    char host[CONFIG_HOST_BYTES]; /* a name, or an IPv4 or IPv6 address without brackets; resolved by others */
    uint16_t port;                /* 0 only where the caller of the parser allowed it */
    char path[CONFIG_PATH_BYTES]; /* absolute */
};

/* Parses "host:port", "[v6]:port" or "unix:/path". Returns 0, or -EINVAL and an error text without file and line
 * ("port "x" of ...: expected 1 to 65535"). */
int config_address_parse(const char *text, bool port_zero, struct config_address *ret_address,
                         struct error_text *ret_error);

/* Writes an address as the parser takes it. The text is the address's one spelling (names in lower case), fit as a key. */
void config_address_format(const struct config_address *address, char ret_text[static CONFIG_ADDRESS_TEXT_BYTES]);

enum config_network_kind {
    CONFIG_NETWORK_INET = 1,
    CONFIG_NETWORK_INET6 = 2,
    CONFIG_NETWORK_UNIX = 3, /* all Unix sockets */
};

/* Addresses that begin with the same bits. */
struct config_network {
    enum config_network_kind kind;
    uint8_t bits;
    uint8_t address[16]; /* of which IPv4 uses 4; zeros behind the bits */
};

/* Parses "10.0.0.0/8", "192.0.2.1", "2001:db8::/32", "::1" or "unix". Returns 0, or -EINVAL and an error text without file and
 * line. */
int config_network_parse(const char *text, struct config_network *ret_network, struct error_text *ret_error);

struct config_heartbeat {
    uint64_t interval_us;
    uint64_t timeout_us; /* more than interval_us */
};

/* Where the values of a configuration came from, kept for the dump; opaque. */
struct config_values;

/* What to say of an option of the file itself, behind where its value came from, when settings are written; NULL: nothing. */
struct config_note {
    const char *option;
    const char *text;
};

/* The file that the values are from, as it was named; "default": from none. Borrowed from the values. */
const char *config_source(const struct config_values *values);

/* For what is found wrong with an option of the file itself, which is in no section, when it is used: sets "FILE:LINE: text" and returns -EINVAL. */
int config_option_fail(const struct config_values *values, const char *option, const char *text,
                       struct error_text *ret_error);

#endif
