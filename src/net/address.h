/* SPDX-License-Identifier: MIT
 *
 * Socket addresses: made from parts, printed, and reduced to what limits per source address count by. Never asks a
 * resolver (resolve.h does) and never reads configuration text (config does). */
#ifndef NET_ADDRESS_H
#define NET_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

struct address {
    socklen_t len; /* of the member that is used; 0: none */
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    };
};

enum { ADDRESS_TEXT_BYTES = 160 }; /* the longest text of an address with its NUL */

/* What limits per source address count by: an IPv4 address (mapped into IPv6 or not), the /64 of an IPv6 address, the
 * user of a Unix socket's peer. Two keys are equal when their bytes are. */
struct address_key {
    uint8_t bytes[20];
};

/* A Unix socket's path. Returns 0, -EINVAL (empty) or -ENAMETOOLONG; *ret_address is untouched on failure. */
int address_from_path(const char *path, struct address *ret_address);

/* A numeric IPv4 or IPv6 address, the latter without brackets, with or without "%zone". Returns 0, or -EINVAL when `host` is not
 * numeric (then it is a name for resolve.h); *ret_address is untouched on failure. */
int address_from_numeric(const char *host, uint16_t port, struct address *ret_address);

/* From what accept(2), getsockname(2) or getaddrinfo(3) gave. Returns 0, or -EAFNOSUPPORT for a family that etcp does not
 * speak; *ret_address is untouched on failure. */
int address_from_sockaddr(const struct sockaddr *sockaddr, socklen_t len, struct address *ret_address);

/* Prints "192.0.2.1:4242", "[2001:db8::1]:22" (mapped IPv4 as IPv4), "unix:/path", "unix" for an unnamed socket. A path
 * is printed as it is: it is ours, never a peer's. */
void address_format(const struct address *address, char ret_text[static ADDRESS_TEXT_BYTES]);

/* Prints the peer of a connected socket: as address_format(), but a Unix socket's peer as "unix:pid=12,uid=1000".
 * Fills in its key and the address itself too, unless they are NULL. Returns 0 or -errno (the peer is gone already). */
int address_peer(int fd, char ret_text[static ADDRESS_TEXT_BYTES], struct address_key *ret_key,
                 struct address *ret_address);

/* The key of an IP address; all Unix sockets' addresses have one. */
void address_key(const struct address *address, struct address_key *ret_key);

/* Whether both are the same address and port, or the same path. */
bool address_equal(const struct address *a, const struct address *b);

#endif
