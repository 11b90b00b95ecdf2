/* SPDX-License-Identifier: MIT
 *
 * Sections 2.1 and 2.2 of proxy-protocol.txt, in their strict reading: a header is what is written there, or there is none. */
#include "server/proxy.h"

#include <arpa/inet.h>
#include <assert.h>
#include <string.h>

enum {
    IPV4_BYTES = 4,
    IPV6_BYTES = 16,
    PORT_DIGITS_MAX = 5,
};

static_assert(sizeof(PROXY_V2_SIGNATURE) - 1 == PROXY_V2_SIGNATURE_BYTES, "the text has a NUL inside");

static enum proxy_verdict bad(const char **ret_why, const char *why)
{
    *ret_why = why;
    return PROXY_BAD;
}

static void set_inet(struct address *address, const uint8_t bytes[static IPV4_BYTES], uint16_t port)
{
    *address = (struct address){.len = sizeof(address->in)};
    address->in.sin_family = AF_INET;
    address->in.sin_port = htons(port);
    memcpy(&address->in.sin_addr, bytes, IPV4_BYTES);
}

static void set_inet6(struct address *address, const uint8_t bytes[static IPV6_BYTES], uint16_t port)
{
    *address = (struct address){.len = sizeof(address->in6)};
    address->in6.sin6_family = AF_INET6;
    address->in6.sin6_port = htons(port);
    memcpy(&address->in6.sin6_addr, bytes, IPV6_BYTES);
}

/* ---- Version 1: a line of text ------------------------------------------------------------------------------------------ */

/* Takes the next word, which one blank or the end of the line ends. It is terminated in place. */
static char *next_word(char **at)
{
    char *word = *at;
    char *blank = word != NULL ? strchr(word, ' ') : NULL;

    if (blank != NULL) {
        *blank = '\0';
    }
    *at = blank != NULL ? blank + 1 : NULL;
    return word;
}

/* 0 to 65535 in digits, without a zero in front. */
static bool parse_port(const char *word, uint16_t *ret_port)
{
    size_t len = strspn(word, "0123456789");
    uint32_t port = 0;

    if (len == 0 || len > PORT_DIGITS_MAX || word[len] != '\0' || (word[0] == '0' && len > 1)) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        port = port * 10 + (uint32_t)(word[i] - '0');
    }
    *ret_port = (uint16_t)port;
    return port <= UINT16_MAX;
}

/* Everything behind "PROXY ", without the end of the line. */
static enum proxy_verdict read_line(char *line, struct proxy_source *ret_source, const char **ret_why)
{
    struct proxy_source source = {.speaker = PROXY_CLIENT};
    uint8_t client[IPV6_BYTES], server[IPV6_BYTES];
    uint16_t client_port = 0, server_port = 0;
    char *rest = line;
    const char *protocol = next_word(&rest);
    const char *words[4] = {NULL};
    int family = 0;

    if (strcmp(protocol, "UNKNOWN") == 0) { /* and whatever follows */
        ret_source->speaker = PROXY_UNKNOWN;
        return PROXY_DONE;
    }
    if (strcmp(protocol, "TCP4") == 0) {
        family = AF_INET;
    } else if (strcmp(protocol, "TCP6") == 0) {
        family = AF_INET6;
    } else {
        return bad(ret_why, "the protocol is none of TCP4, TCP6 and UNKNOWN");
    }
    for (size_t i = 0; i < 4; i++) {
        words[i] = next_word(&rest);
        if (words[i] == NULL) {
            return bad(ret_why, "the line is too short");
        }
    }
    if (rest != NULL) {
        return bad(ret_why, "the line goes on behind the ports");
    }
    if (inet_pton(family, words[0], client) != 1 || inet_pton(family, words[1], server) != 1) {
        return bad(ret_why, "an address is malformed");
    }
    if (!parse_port(words[2], &client_port) || !parse_port(words[3], &server_port)) {
        return bad(ret_why, "a port is malformed");
    }
    if (family == AF_INET) {
        set_inet(&source.address, client, client_port);
    } else {
        set_inet6(&source.address, client, client_port);
    }
    *ret_source = source;
    return PROXY_DONE;
}

static enum proxy_verdict read_v1(const uint8_t *in, size_t len, size_t *ret_len, struct proxy_source *ret_source,
                                  const char **ret_why)
{
    const size_t prefix = sizeof(PROXY_V1_PREFIX) - 1;
    const size_t known = len < PROXY_V1_MAX ? len : PROXY_V1_MAX;
    char line[PROXY_V1_MAX + 1];
    size_t end = prefix;
    enum proxy_verdict verdict;

    while (end < known && in[end] >= 0x20 && in[end] < 0x7f) {
        end++;
    }
    if (end == PROXY_V1_MAX) {
        return bad(ret_why, "the line is too long");
    }
    if (end == known) {
        return PROXY_MORE;
    }
    if (in[end] != '\r') {
        return bad(ret_why, "the line is no line of text");
    }
    if (end + 1 == known) {
        return known < PROXY_V1_MAX ? PROXY_MORE : bad(ret_why, "the line is too long");
    }
    if (in[end + 1] != '\n') {
        return bad(ret_why, "the line does not end in CR LF");
    }
    memcpy(line, in + prefix, end - prefix);
    line[end - prefix] = '\0';
    verdict = read_line(line, ret_source, ret_why);
    if (verdict == PROXY_DONE) {
        *ret_len = end + 2;
    }
    return verdict;
}

/* ---- Version 2 ---------------------------------------------------------------------------------------------------------- */

static uint16_t get_u16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

/* How long the addresses are that a family brings, or -1: it is none for a stream. */
static int family_bytes(uint8_t family)
{
    switch (family) {
    case PROXY_V2_UNSPEC:
        return 0;
    case PROXY_V2_TCP4:
        return 2 * (IPV4_BYTES + 2);
    case PROXY_V2_TCP6:
        return 2 * (IPV6_BYTES + 2);
    case PROXY_V2_UNIX:
        return 2 * PROXY_V2_PATH_BYTES;
    default:
        return -1;
    }
}

static void set_unix(struct address *address, const uint8_t path[static PROXY_V2_PATH_BYTES])
{
    size_t len = strnlen((const char *)path, PROXY_V2_PATH_BYTES);

    *address = (struct address){.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)};
    address->un.sun_family = AF_UNIX;
    memcpy(address->un.sun_path, path, len);
}

static void read_addresses(const uint8_t *at, uint8_t family, struct proxy_source *ret_source)
{
    ret_source->speaker = PROXY_CLIENT;
    switch (family) {
    case PROXY_V2_TCP4:
        set_inet(&ret_source->address, at, get_u16(at + 2 * IPV4_BYTES));
        break;
    case PROXY_V2_TCP6:
        set_inet6(&ret_source->address, at, get_u16(at + 2 * IPV6_BYTES));
        break;
    case PROXY_V2_UNIX:
        set_unix(&ret_source->address, at);
        break;
    default:
        ret_source->speaker = PROXY_UNKNOWN;
        break;
    }
}

static enum proxy_verdict read_v2(const uint8_t *in, size_t len, size_t *ret_len, struct proxy_source *ret_source,
                                  const char **ret_why)
{
    size_t rest = 0;
    int needed = 0;

    if (len > 12 && in[12] != PROXY_V2_LOCAL && in[12] != PROXY_V2_PROXY) {
        return bad(ret_why, (in[12] & 0xf0) == 0x20 ? "the command is not known" : "the version is not 2");
    }
    if (len > 13) {
        needed = in[12] == PROXY_V2_LOCAL ? 0 : family_bytes(in[13]); /* the family of LOCAL says nothing */
        if (needed < 0) {
            return bad(ret_why, "the family is none of TCP4, TCP6, UNIX and UNSPEC for streams");
        }
    }
    if (len < PROXY_V2_HEAD_BYTES) {
        return PROXY_MORE;
    }
    rest = get_u16(in + 14);
    if (rest < (size_t)needed) {
        return bad(ret_why, "it is too short for its addresses");
    }
    if (rest > PROXY_READ_MAX - PROXY_V2_HEAD_BYTES) {
        return bad(ret_why, "it is too long");
    }
    if (len < PROXY_V2_HEAD_BYTES + rest) {
        return PROXY_MORE;
    }
    if (in[12] == PROXY_V2_LOCAL) {
        ret_source->speaker = PROXY_LOCAL;
    } else {
        read_addresses(in + PROXY_V2_HEAD_BYTES, in[13], ret_source);
    }
    *ret_len = PROXY_V2_HEAD_BYTES + rest;
    return PROXY_DONE;
}

/* Whether the bytes begin as `prefix` does, as far as both go. */
static bool begins(const uint8_t *in, size_t len, const char *prefix, size_t prefix_len)
{
    return memcmp(in, prefix, len < prefix_len ? len : prefix_len) == 0;
}

enum proxy_verdict proxy_read(const uint8_t *in, size_t len, size_t *ret_len, struct proxy_source *ret_source,
                              const char **ret_why)
{
    const size_t prefix = sizeof(PROXY_V1_PREFIX) - 1;

    if (len == 0) {
        return PROXY_MORE;
    }
    if (begins(in, len, PROXY_V2_SIGNATURE, PROXY_V2_SIGNATURE_BYTES)) {
        return len <= PROXY_V2_SIGNATURE_BYTES ? PROXY_MORE : read_v2(in, len, ret_len, ret_source, ret_why);
    }
    if (begins(in, len, PROXY_V1_PREFIX, prefix)) {
        return len <= prefix ? PROXY_MORE : read_v1(in, len, ret_len, ret_source, ret_why);
    }
    return bad(ret_why, "there is no PROXY header");
}
