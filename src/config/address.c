/* SPDX-License-Identifier: MIT
 *
 * Addresses as text. Nothing is resolved here. */
#include "config/config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>

#include "config/value.h"

static int fail(struct error_text *ret_error, const char *text, const char *expected)
{
    char shown[128];

    value_show(text, strlen(text), shown, sizeof shown);
    return error_set(ret_error, -EINVAL, "bad address \"%s\": expected %s", shown, expected);
}

static int parse_unix(const char *text, const char *path, struct config_address *ret_address,
                      struct error_text *ret_error)
{
    struct config_address address = {.kind = CONFIG_ADDRESS_UNIX};

    if (path[0] != '/' || path[1] == '\0')
        return fail(ret_error, text, "an absolute path after unix:");
    if (strlen(path) >= sizeof address.path)
        return fail(ret_error, text, "a path of at most 107 bytes after unix:");
    memcpy(address.path, path, strlen(path));
    *ret_address = address;
    return 0;
}

/* A host name as resolvers take it, or an IPv4 address: letters, digits, '-', '_', and dots that do not come first or twice.
 * What has digits and dots only must be an IPv4 address: resolvers would make one of "10.1" or "300" too. */
static bool host_valid(const char *host, size_t len)
{
    char text[INET_ADDRSTRLEN];
    struct in_addr ignored;

    if (strspn(host, "0123456789.") >= len) {
        if (len == 0 || len >= sizeof text)
            return false;
        memcpy(text, host, len);
        text[len] = '\0';
        return inet_pton(AF_INET, text, &ignored) == 1;
    }
    if (len == 0 || len >= CONFIG_HOST_BYTES - 1 || host[0] == '.' || host[0] == '-')
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = host[i];

        if (c == '.' && i + 1 < len && host[i + 1] == '.')
            return false;
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
              c == '_'))
            return false;
    }
    return true;
}

/* An IPv6 address, with or without "%zone". */
static bool ipv6_valid(const char *host, size_t len)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr ignored;
    const char *zone = memchr(host, '%', len);
    size_t address_len = zone ? (size_t)(zone - host) : len;

    if (address_len == 0 || address_len >= sizeof text || len >= 64)
        return false;
    if (zone && (len - address_len - 1 == 0 || strcspn(zone + 1, "/% \t") < len - address_len - 1))
        return false;
    memcpy(text, host, address_len);
    text[address_len] = '\0';
    return inet_pton(AF_INET6, text, &ignored) == 1;
}

/* The spelling that addresses are compared by: names in lower case, IPv6 as the system prints it. */
static void normalise(char *host, bool ipv6)
{
    char text[INET6_ADDRSTRLEN];
    char zone[64] = "";
    struct in6_addr address;
    char *percent = strchr(host, '%');

    if (!ipv6) {
        for (char *p = host; *p != '\0'; p++) {
            if (*p >= 'A' && *p <= 'Z')
                *p = (char)(*p - 'A' + 'a');
        }
        return;
    }
    if (percent) {
        memcpy(zone, percent, strlen(percent) + 1); /* shorter than 64: ipv6_valid() */
        *percent = '\0';
    }
    if (inet_pton(AF_INET6, host, &address) == 1 && inet_ntop(AF_INET6, &address, text, sizeof text))
        memcpy(host, text, strlen(text) + 1);
    memcpy(host + strlen(host), zone, strlen(zone) + 1);
}

/* The bits of a network that are not in its mask must be zeros: whoever writes 10.1.2.3/8 has meant something else. */
static bool has_host_bits(const struct config_network *network, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        unsigned covered = network->bits > 8 * i ? network->bits - 8 * (unsigned)i : 0;
        unsigned host = covered >= 8 ? 0 : 0xffu >> covered;

        if ((network->address[i] & host) != 0)
            return true;
    }
    return false;
}

int config_network_parse(const char *text, struct config_network *ret_network, struct error_text *ret_error)
{
    static const char form[] = "a network as 10.0.0.0/8, 192.0.2.1, 2001:db8::/32 or ::1, or \"unix\"";
    struct config_network network = {.kind = CONFIG_NETWORK_INET};
    struct in6_addr address;
    char host[INET6_ADDRSTRLEN];
    size_t len = strcspn(text, "/");
    size_t bytes = 4;
    uint64_t bits;

    if (strcmp(text, "unix") == 0) {
        *ret_network = (struct config_network){.kind = CONFIG_NETWORK_UNIX};
        return 0;
    }
    if (len >= sizeof host)
        return fail(ret_error, text, form);
    memcpy(host, text, len);
    host[len] = '\0';
    if (inet_pton(AF_INET, host, network.address) != 1) {
        if (inet_pton(AF_INET6, host, network.address) != 1)
            return fail(ret_error, text, form);
        network.kind = CONFIG_NETWORK_INET6;
        bytes = 16;
        memcpy(&address, network.address, sizeof address);
        if (IN6_IS_ADDR_V4MAPPED(&address))
            return fail(ret_error, text, "an IPv4 network without ::ffff: before it");
    }
    bits = 8 * bytes;
    if (text[len] == '/' && (strlen(text + len + 1) > 3 || value_parse_number(text + len + 1, &bits) < 0))
        return fail(ret_error, text, form);
    if (bits > 8 * bytes)
        return fail(ret_error, text, bytes == 4 ? "at most 32 bits behind the /" : "at most 128 bits behind the /");
    network.bits = (uint8_t)bits;
    if (has_host_bits(&network, bytes))
        return fail(ret_error, text, "a network whose address ends where its bits do, as 10.0.0.0/8");
    *ret_network = network;
    return 0;
}

int config_address_parse(const char *text, bool port_zero, struct config_address *ret_address,
                         struct error_text *ret_error)
{
    static const char form[] = "host:port, [v6]:port or unix:/path";
    struct config_address address = {.kind = CONFIG_ADDRESS_INET};
    const char *host = text;
    const char *port;
    size_t len;
    uint64_t number;
    bool ipv6 = text[0] == '[';

    if (strncasecmp(text, "unix:", 5) == 0)
        return parse_unix(text, text + 5, ret_address, ret_error);
    if (strstr(text, "://"))
        return fail(ret_error, text, "no URL, but host:port, [v6]:port or unix:/path");
    if (ipv6) {
        const char *end = strchr(text, ']');

        if (!end || end[1] != ':')
            return fail(ret_error, text, form);
        host = text + 1;
        len = (size_t)(end - host);
        port = end + 2;
    } else {
        const char *colon = strchr(text, ':');

        if (!colon)
            return fail(ret_error, text, form);
        if (strchr(colon + 1, ':'))
            return fail(ret_error, text, "an IPv6 address in brackets, as [::1]:1337");
        len = (size_t)(colon - host);
        port = colon + 1;
    }
    if (ipv6 ? !ipv6_valid(host, len) : !host_valid(host, len))
        return fail(ret_error, text, form);
    if (strlen(port) > 5 || value_parse_number(port, &number) < 0 || number > 65535 || (number == 0 && !port_zero))
        return fail(ret_error, text, port_zero ? "a port from 0 to 65535" : "a port from 1 to 65535");
    memcpy(address.host, host, len);
    normalise(address.host, ipv6);
    address.port = (uint16_t)number;
    *ret_address = address;
    return 0;
}

void config_address_format(const struct config_address *address, char ret_text[static CONFIG_ADDRESS_TEXT_BYTES])
{
    if (address->kind == CONFIG_ADDRESS_UNIX)
        (void)snprintf(ret_text, CONFIG_ADDRESS_TEXT_BYTES, "unix:%s", address->path);
    else if (strchr(address->host, ':'))
        (void)snprintf(ret_text, CONFIG_ADDRESS_TEXT_BYTES, "[%s]:%u", address->host, (unsigned)address->port);
    else
        (void)snprintf(ret_text, CONFIG_ADDRESS_TEXT_BYTES, "%s:%u", address->host, (unsigned)address->port);
}
