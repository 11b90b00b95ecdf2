/* SPDX-License-Identifier: MIT */
#include "server/proxy.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

enum {
    IPV4_BYTES = 4,
    IPV6_BYTES = 16,
    TLV_VALUE_MAX = 128, /* three of them and two addresses are below PROXY_HEADER_MAX */
};

struct end {
    uint8_t address[IPV6_BYTES];
    uint16_t port;
};

/* Both ends in one family. */
struct line {
    size_t address_bytes; /* 0: not known */
    struct end client, backend;
};

static void map_to_ipv6(uint8_t address[static IPV6_BYTES])
{
    memmove(address + 12, address, IPV4_BYTES);
    memset(address, 0, 10);
    address[10] = address[11] = 0xff;
}

static struct line make_line(const struct proxy_facts *facts)
{
    struct line line = {.client = {.port = facts->client.port}};
    const struct address *backend = &facts->backend;
    bool client_ipv4 = facts->client.family == 4;
    bool known = backend->len > 0 && (backend->any.sa_family == AF_INET || backend->any.sa_family == AF_INET6);

    if (facts->client.family == 0) {
        return line;
    }
    line.address_bytes = client_ipv4 && (!known || backend->any.sa_family == AF_INET) ? IPV4_BYTES : IPV6_BYTES;
    memcpy(line.client.address, facts->client.address, client_ipv4 ? IPV4_BYTES : IPV6_BYTES);
    if (client_ipv4 && line.address_bytes == IPV6_BYTES) {
        map_to_ipv6(line.client.address);
    }
    if (known && backend->any.sa_family == AF_INET) {
        memcpy(line.backend.address, &backend->in.sin_addr, IPV4_BYTES);
        line.backend.port = ntohs(backend->in.sin_port);
        if (line.address_bytes == IPV6_BYTES) {
            map_to_ipv6(line.backend.address);
        }
    } else if (known) {
        memcpy(line.backend.address, &backend->in6.sin6_addr, IPV6_BYTES);
        line.backend.port = ntohs(backend->in6.sin6_port);
    }
    return line;
}

size_t proxy_write_v1(const struct proxy_facts *facts, uint8_t ret_header[static PROXY_HEADER_MAX])
{
    const struct line line = make_line(facts);
    const int family = line.address_bytes == IPV4_BYTES ? AF_INET : AF_INET6;
    char client[INET6_ADDRSTRLEN] = "", backend[INET6_ADDRSTRLEN] = "";
    int len = 0;

    if (line.address_bytes == 0 || inet_ntop(family, line.client.address, client, sizeof(client)) == NULL ||
        inet_ntop(family, line.backend.address, backend, sizeof(backend)) == NULL) {
        len = snprintf((char *)ret_header, PROXY_HEADER_MAX, PROXY_V1_PREFIX "UNKNOWN\r\n");
    } else {
        len = snprintf((char *)ret_header, PROXY_HEADER_MAX, PROXY_V1_PREFIX "TCP%c %s %s %u %u\r\n",
                       family == AF_INET ? '4' : '6', client, backend, (unsigned)line.client.port,
                       (unsigned)line.backend.port);
    }
    return (size_t)len;
}

static size_t put_u16(uint8_t *at, size_t number)
{
    at[0] = (uint8_t)(number >> 8);
    at[1] = (uint8_t)number;
    return 2;
}

static size_t put_tlv(uint8_t *at, uint8_t type, const char *value)
{
    size_t len = value != NULL ? strnlen(value, TLV_VALUE_MAX) : 0;

    if (len == 0) {
        return 0;
    }
    at[0] = type;
    (void)put_u16(at + 1, len);
    memcpy(at + 3, value, len);
    return 3 + len;
}

size_t proxy_write_v2(const struct proxy_facts *facts, uint8_t ret_header[static PROXY_HEADER_MAX])
{
    const struct line line = make_line(facts);
    uint8_t *at = ret_header + PROXY_V2_HEAD_BYTES;

    memcpy(ret_header, PROXY_V2_SIGNATURE, PROXY_V2_SIGNATURE_BYTES);
    ret_header[12] = PROXY_V2_PROXY;
    ret_header[13] = line.address_bytes == 0            ? PROXY_V2_UNSPEC
                     : line.address_bytes == IPV4_BYTES ? PROXY_V2_TCP4
                                                        : PROXY_V2_TCP6;
    if (line.address_bytes > 0) {
        memcpy(at, line.client.address, line.address_bytes);
        memcpy(at + line.address_bytes, line.backend.address, line.address_bytes);
        at += 2 * line.address_bytes;
        at += put_u16(at, line.client.port);
        at += put_u16(at, line.backend.port);
    }
    at += put_tlv(at, PROXY_TLV_UNIQUE_ID, facts->id);
    at += put_tlv(at, PROXY_TLV_AGENT_NAME, facts->agent);
    at += put_tlv(at, PROXY_TLV_AGENT_KEY, facts->key);
    (void)put_u16(ret_header + 14, (size_t)(at - ret_header) - PROXY_V2_HEAD_BYTES);
    return (size_t)(at - ret_header);
}
