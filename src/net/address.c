/* SPDX-License-Identifier: MIT */
#include "net/address.h"

#include <errno.h>
#include <netdb.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <arpa/inet.h>

/* First byte of a key: what the rest is. */
enum { KEY_INET = 4, KEY_INET6 = 6, KEY_UNIX = 1 };

int address_from_path(const char *path, struct address *ret_address)
{
    struct address address = {0};
    size_t len = strlen(path);

    if (len == 0) {
        return -EINVAL;
    }
    if (len >= sizeof(address.un.sun_path)) {
        return -ENAMETOOLONG;
    }
    address.un.sun_family = AF_UNIX;
    memcpy(address.un.sun_path, path, len + 1);
    address.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
    *ret_address = address;
    return 0;
}

int address_from_sockaddr(const struct sockaddr *sockaddr, socklen_t len, struct address *ret_address)
{
    struct address address = {0};
    socklen_t least = 0;

    if (len < sizeof(sockaddr->sa_family)) {
        return -EAFNOSUPPORT;
    }
    switch (sockaddr->sa_family) {
    case AF_INET:
        least = sizeof(address.in);
        break;
    case AF_INET6:
        least = sizeof(address.in6);
        break;
    case AF_UNIX:
        least = offsetof(struct sockaddr_un, sun_path);
        break;
    default:
        return -EAFNOSUPPORT;
    }
    if (len < least || len > sizeof(address.un)) {
        return -EAFNOSUPPORT;
    }
    memcpy(&address.un, sockaddr, len);
    address.len = len;
    *ret_address = address;
    return 0;
}

int address_from_numeric(const char *host, uint16_t port, struct address *ret_address)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    char service[8];
    int r = -EINVAL;

    (void)snprintf(service, sizeof(service), "%u", (unsigned)port);
    if (host[0] == '\0' || getaddrinfo(host, service, &hints, &list) != 0) {
        return -EINVAL;
    }
    if (address_from_sockaddr(list->ai_addr, list->ai_addrlen, ret_address) == 0) {
        r = 0;
    }
    freeaddrinfo(list);
    return r;
}

static bool is_mapped(const struct address *address)
{
    return address->any.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&address->in6.sin6_addr);
}

void address_format(const struct address *address, char ret_text[static ADDRESS_TEXT_BYTES])
{
    char host[INET6_ADDRSTRLEN] = "?";
    size_t path_max = 0;

    (void)snprintf(ret_text, ADDRESS_TEXT_BYTES, "unknown");
    if (address->len == 0) {
        return;
    }
    switch (address->any.sa_family) {
    case AF_INET:
        (void)inet_ntop(AF_INET, &address->in.sin_addr, host, sizeof(host));
        (void)snprintf(ret_text, ADDRESS_TEXT_BYTES, "%s:%u", host, (unsigned)ntohs(address->in.sin_port));
        break;
    case AF_INET6:
        if (is_mapped(address)) {
            (void)inet_ntop(AF_INET, &address->in6.sin6_addr.s6_addr[12], host, sizeof(host));
            (void)snprintf(ret_text, ADDRESS_TEXT_BYTES, "%s:%u", host, (unsigned)ntohs(address->in6.sin6_port));
            break;
        }
        (void)inet_ntop(AF_INET6, &address->in6.sin6_addr, host, sizeof(host));
        if (address->in6.sin6_scope_id != 0) {
            (void)snprintf(ret_text, ADDRESS_TEXT_BYTES, "[%s%%%u]:%u", host, (unsigned)address->in6.sin6_scope_id,
                           (unsigned)ntohs(address->in6.sin6_port));
        } else {
            (void)snprintf(ret_text, ADDRESS_TEXT_BYTES, "[%s]:%u", host, (unsigned)ntohs(address->in6.sin6_port));
        }
        break;
    case AF_UNIX:
        path_max = address->len - offsetof(struct sockaddr_un, sun_path);
        if (path_max == 0) {
            (void)snprintf(ret_text, ADDRESS_TEXT_BYTES, "unix");
        } else if (address->un.sun_path[0] == '\0') {
            (void)snprintf(ret_text, ADDRESS_TEXT_BYTES, "unix:@%.*s", (int)(path_max - 1), address->un.sun_path + 1);
        } else {
            (void)snprintf(ret_text, ADDRESS_TEXT_BYTES, "unix:%.*s", (int)path_max, address->un.sun_path);
        }
        break;
    default:
        break;
    }
}

void address_key(const struct address *address, struct address_key *ret_key)
{
    struct address_key key = {{0}};

    switch (address->any.sa_family) {
    case AF_INET:
        key.bytes[0] = KEY_INET;
        memcpy(key.bytes + 1, &address->in.sin_addr, 4);
        break;
    case AF_INET6:
        if (is_mapped(address)) {
            key.bytes[0] = KEY_INET;
            memcpy(key.bytes + 1, &address->in6.sin6_addr.s6_addr[12], 4);
        } else {
            /* A host owns its whole /64. Link-local ones differ by their interface. */
            key.bytes[0] = KEY_INET6;
            memcpy(key.bytes + 1, &address->in6.sin6_addr, 8);
            memcpy(key.bytes + 9, &address->in6.sin6_scope_id, sizeof(address->in6.sin6_scope_id));
        }
        break;
    default:
        key.bytes[0] = KEY_UNIX;
        break;
    }
    *ret_key = key;
}

int address_peer(int fd, char ret_text[static ADDRESS_TEXT_BYTES], struct address_key *ret_key,
                 struct address *ret_address)
{
    struct sockaddr_storage storage = {0};
    struct address address = {0};
    struct ucred credentials = {0};
    socklen_t len = sizeof(storage);
    struct address_key key = {{0}};
    int r = 0;

    if (getpeername(fd, (struct sockaddr *)&storage, &len) != 0) {
        return -errno;
    }
    r = address_from_sockaddr((const struct sockaddr *)&storage, len, &address);
    if (r != 0) {
        return r;
    }
    address_key(&address, &key);
    if (address.any.sa_family == AF_UNIX) {
        len = sizeof(credentials);
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &len) != 0) {
            return -errno;
        }
        (void)snprintf(ret_text, ADDRESS_TEXT_BYTES, "unix:pid=%ld,uid=%lu", (long)credentials.pid,
                       (unsigned long)credentials.uid);
        memcpy(key.bytes + 1, &credentials.uid, sizeof(credentials.uid));
    } else {
        address_format(&address, ret_text);
    }
    if (ret_key != NULL) {
        *ret_key = key;
    }
    if (ret_address != NULL) {
        *ret_address = address;
    }
    return 0;
}

bool address_equal(const struct address *a, const struct address *b)
{
    if (a->len == 0 || b->len == 0) {
        return a->len == b->len;
    }
    if (a->any.sa_family != b->any.sa_family) {
        return false;
    }
    switch (a->any.sa_family) {
    case AF_INET:
        return a->in.sin_port == b->in.sin_port && a->in.sin_addr.s_addr == b->in.sin_addr.s_addr;
    case AF_INET6:
        return a->in6.sin6_port == b->in6.sin6_port && a->in6.sin6_scope_id == b->in6.sin6_scope_id &&
               memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, sizeof(a->in6.sin6_addr)) == 0;
    default:
        return a->len == b->len && memcmp(&a->un, &b->un, a->len) == 0;
    }
}
