/* SPDX-License-Identifier: MIT
 *
 * Headers of balancers: those of haproxy's proxy-protocol.txt by hand, whole and in pieces, and what is none. */
#include <arpa/inet.h>

#include "check.h"
#include "server/proxy.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

/* A header that must be read as speaking for `client` ("" for UNKNOWN, "local"), at every split, with anything behind it. */
static void good(const char *bytes, size_t size, const char *client)
{
    uint8_t in[PROXY_READ_MAX + 16];
    char text[ADDRESS_TEXT_BYTES] = "";
    struct proxy_source source = {0};
    const char *why = NULL;
    size_t len = 0;

    CHECK(size <= PROXY_READ_MAX);
    memcpy(in, bytes, size);
    memset(in + size, 0x01, 16);
    for (size_t known = 0; known < size; known++) {
        uint8_t *part = malloc(known + 1); /* so that a sanitizer sees the end */

        CHECK(part != NULL);
        memcpy(part, in, known);
        CHECK_INT(proxy_read(part, known, &len, &source, &why), PROXY_MORE);
        CHECK_INT(len, 0);
        free(part);
    }
    for (size_t known = size; known <= size + 16; known++) {
        source = (struct proxy_source){0};
        CHECK_INT(proxy_read(in, known, &len, &source, &why), PROXY_DONE);
        CHECK_INT(len, size);
        switch (source.speaker) {
        case PROXY_CLIENT:
            address_format(&source.address, text);
            CHECK_STR(text, client);
            break;
        case PROXY_UNKNOWN:
            CHECK_STR("", client);
            break;
        case PROXY_LOCAL:
            CHECK_STR("local", client);
            break;
        }
    }
    CHECK(why == NULL);
}

/* What is refused when its `at`-th byte is there and not before, whatever follows. */
static void bad_at(const char *bytes, size_t size, size_t at, const char *want)
{
    struct proxy_source source = {0};
    const char *why = NULL;
    size_t len = 0;

    for (size_t known = 0; known < at; known++) {
        CHECK_INT(proxy_read((const uint8_t *)bytes, known, &len, &source, &why), PROXY_MORE);
    }
    for (size_t known = at; known <= size; known++) {
        why = NULL;
        CHECK_INT(proxy_read((const uint8_t *)bytes, known, &len, &source, &why), PROXY_BAD);
        CHECK_STR(why, want);
    }
    CHECK_INT(len, 0);
}

static void good_line(const char *line, const char *client)
{
    good(line, strlen(line), client);
}

static void bad_line(const char *line, const char *why)
{
    bad_at(line, strlen(line), strlen(line), why);
}

static void v1_names_the_client(void)
{
    good_line("PROXY TCP4 192.0.2.1 198.51.100.7 4660 5432\r\n", "192.0.2.1:4660");
    good_line("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255:65535");
    good_line("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", "0.0.0.0:0");
    good_line("PROXY TCP6 2001:db8::1 2001:DB8:0:0:0:0:0:7 4660 5432\r\n", "[2001:db8::1]:4660");
    good_line("PROXY TCP6 ::ffff:192.0.2.1 :: 1 2\r\n", "192.0.2.1:1");
    good_line(
        "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
        "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
}

static void v1_may_not_know(void)
{
    good_line("PROXY UNKNOWN\r\n", "");
    good_line("PROXY UNKNOWN \r\n", "");
    good_line("PROXY UNKNOWN whatever 1 2 3 4 5\r\n", "");
    good_line(
        "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
        ""); /* the longest: 107 bytes */
}

static void v1_is_one_spelling(void)
{
    bad_line("PROXY \r\n", "the protocol is none of TCP4, TCP6 and UNKNOWN");
    bad_line("PROXY UDP4 192.0.2.1 198.51.100.7 1 2\r\n", "the protocol is none of TCP4, TCP6 and UNKNOWN");
    bad_line("PROXY tcp4 192.0.2.1 198.51.100.7 1 2\r\n", "the protocol is none of TCP4, TCP6 and UNKNOWN");
    bad_line("PROXY UNKNOWNS\r\n", "the protocol is none of TCP4, TCP6 and UNKNOWN");
    bad_line("PROXY  TCP4 192.0.2.1 198.51.100.7 1 2\r\n", "the protocol is none of TCP4, TCP6 and UNKNOWN");
    bad_line("PROXY TCP4\r\n", "the line is too short");
    bad_line("PROXY TCP4 192.0.2.1 198.51.100.7 1\r\n", "the line is too short");
    bad_line("PROXY TCP4 192.0.2.1 198.51.100.7 1 2 \r\n", "the line goes on behind the ports");
    bad_line("PROXY TCP4 192.0.2.1 198.51.100.7 1 2 3\r\n", "the line goes on behind the ports");
    bad_line("PROXY TCP4 192.0.2.1  198.51.100.7 1 2\r\n", "the line goes on behind the ports");
    bad_line("PROXY TCP4  192.0.2.1 198.51.100.7 1\r\n", "an address is malformed");
    bad_line("PROXY TCP4 192.0.2 198.51.100.7 1 2\r\n", "an address is malformed");
    bad_line("PROXY TCP4 192.0.2.01 198.51.100.7 1 2\r\n", "an address is malformed");
    bad_line("PROXY TCP4 192.0.2.256 198.51.100.7 1 2\r\n", "an address is malformed");
    bad_line("PROXY TCP4 192.0.2.1 localhost 1 2\r\n", "an address is malformed");
    bad_line("PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n", "an address is malformed");
    bad_line("PROXY TCP6 192.0.2.1 198.51.100.7 1 2\r\n", "an address is malformed");
    bad_line("PROXY TCP6 fe80::1%lo fe80::2 1 2\r\n", "an address is malformed");
    bad_line("PROXY TCP6 1:2:3:4:5:6:7:8:9 :: 1 2\r\n", "an address is malformed");
    bad_line("PROXY TCP4 192.0.2.1 198.51.100.7 65536 2\r\n", "a port is malformed");
    bad_line("PROXY TCP4 192.0.2.1 198.51.100.7 1 4294967297\r\n", "a port is malformed");
    bad_line("PROXY TCP4 192.0.2.1 198.51.100.7 01 2\r\n", "a port is malformed");
    bad_line("PROXY TCP4 192.0.2.1 198.51.100.7 +1 2\r\n", "a port is malformed");
    bad_line("PROXY TCP4 192.0.2.1 198.51.100.7 -1 2\r\n", "a port is malformed");
    bad_line("PROXY TCP4 192.0.2.1 198.51.100.7 1x 2\r\n", "a port is malformed");
    bad_line("PROXY TCP4 192.0.2.1 198.51.100.7  2\r\n", "a port is malformed");
}

static void v1_ends_in_cr_lf_alone(void)
{
    bad_line("PROXY UNKNOWN\n", "the line is no line of text");
    bad_line("PROXY UNKNOWN\r\r", "the line does not end in CR LF");
    bad_line("PROXY UNKNOWN\rx", "the line does not end in CR LF");
    bad_line("PROXY UNKNOWN\t", "the line is no line of text");
    bad_line("PROXY UNKNOWN\x80", "the line is no line of text");
    bad_at("PROXY UNKNOWN\0\r\n", 16, 14, "the line is no line of text");
}

static void v1_is_bounded(void)
{
    char line[300];

    memset(line, 'x', sizeof(line));
    memcpy(line, "PROXY UNKNOWN ", 14);
    bad_at(line, sizeof(line), PROXY_V1_MAX, "the line is too long");
    line[PROXY_V1_MAX - 1] = '\r'; /* one byte too late */
    line[PROXY_V1_MAX] = '\n';
    bad_at(line, sizeof(line), PROXY_V1_MAX, "the line is too long");
    line[PROXY_V1_MAX - 2] = '\r';
    line[PROXY_V1_MAX - 1] = '\n';
    good(line, PROXY_V1_MAX, "");
}

static void others_are_none(void)
{
    static const char *const others[] = {"GET / HTTP/1.1\r\n", "\x16\x03\x01", "\x01", "SSH-2.0-x\r\n", "proxy TCP4"};

    for (size_t i = 0; i < CHECK_COUNT(others); i++) {
        bad_at(others[i], strlen(others[i]), 1, "there is no PROXY header");
    }
    bad_at("PRQ", 3, 3, "there is no PROXY header");
    bad_at("PROXY\r\n", 7, 6, "there is no PROXY header");
    bad_at("\r\n\r\n\0\r\nQUIT\r", 12, 12, "there is no PROXY header");
    bad_at("\r\n\r\nQUIT", 8, 5, "there is no PROXY header");
}

/* A version 2 header; `rest` bytes of the body are announced and `size` of them given. Returns the length. */
static size_t v2(uint8_t command, uint8_t family, size_t rest, const void *body, size_t size,
                 char ret_header[static PROXY_READ_MAX + 64])
{
    memcpy(ret_header, SIGNATURE, PROXY_V2_SIGNATURE_BYTES);
    ret_header[12] = (char)command;
    ret_header[13] = (char)family;
    ret_header[14] = (char)(rest >> 8);
    ret_header[15] = (char)rest;
    memset(ret_header + 16, 0xee, PROXY_READ_MAX + 48);
    if (size > 0) {
        memcpy(ret_header + 16, body, size);
    }
    return 16 + rest;
}

static const uint8_t body4[12] = {192, 0, 2, 1, 198, 51, 100, 7, 0x12, 0x34, 0x15, 0x38};
static const uint8_t body6[36] = {
    0x20, 0x01, 0x0d, 0xb8, [15] = 1, [16] = 0x20, [31] = 7, [32] = 0x12, 0x34, 0x15, 0x38};

static void v2_names_the_client(void)
{
    char header[PROXY_READ_MAX + 64];
    uint8_t paths[2 * PROXY_V2_PATH_BYTES] = "/run/client";

    good(header, v2(0x21, 0x11, 12, body4, 12, header), "192.0.2.1:4660");
    good(header, v2(0x21, 0x21, 36, body6, 36, header), "[2001:db8::1]:4660");
    good(header, v2(0x21, 0x31, 216, paths, 216, header), "unix:/run/client");
    memset(paths, 'x', PROXY_V2_PATH_BYTES); /* no NUL behind it */
    (void)v2(0x21, 0x31, 216, paths, 216, header);
    good(header, 232,
         "unix:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
         "xxxxxxxxxxxxxxxx");
    memset(paths, 0, sizeof(paths));
    good(header, v2(0x21, 0x31, 216, paths, 216, header), "unix");
}

static void v2_skips_what_follows_the_addresses(void)
{
    char header[PROXY_READ_MAX + 64];

    good(header, v2(0x21, 0x11, 12 + 1, body4, 12, header), "192.0.2.1:4660"); /* no TLV is that short */
    good(header, v2(0x21, 0x11, PROXY_READ_MAX - 16, body4, 12, header), "192.0.2.1:4660");
    good(header, v2(0x21, 0x00, 200, NULL, 0, header), "");
    good(header, v2(0x20, 0x11, 12, body4, 12, header), "local");
}

static void v2_may_not_know_or_be_local(void)
{
    char header[PROXY_READ_MAX + 64];

    good(header, v2(0x21, 0x00, 0, NULL, 0, header), "");
    good(header, v2(0x20, 0x00, 0, NULL, 0, header), "local");
    good(header, v2(0x20, 0xff, 3, NULL, 0, header), "local"); /* its family says nothing */
}

static void v2_refuses_other_versions_and_commands(void)
{
    char header[PROXY_READ_MAX + 64];

    for (unsigned command = 0; command < 256; command++) {
        if (command != 0x20 && command != 0x21) {
            size_t len = v2((uint8_t)command, 0x11, 12, body4, 12, header);

            bad_at(header, len, 13, command >> 4 == 2 ? "the command is not known" : "the version is not 2");
        }
    }
}

static void v2_refuses_other_families(void)
{
    char header[PROXY_READ_MAX + 64];

    for (unsigned family = 0; family < 256; family++) {
        if (family != 0x00 && family != 0x11 && family != 0x21 && family != 0x31) {
            size_t len = v2(0x21, (uint8_t)family, 216, body6, 36, header);

            bad_at(header, len, 14, "the family is none of TCP4, TCP6, UNIX and UNSPEC for streams");
        }
    }
}

static void v2_refuses_lengths(void)
{
    static const struct {
        uint8_t family;
        size_t needed;
    } families[] = {{0x11, 12}, {0x21, 36}, {0x31, 216}};
    char header[PROXY_READ_MAX + 64];

    for (size_t i = 0; i < CHECK_COUNT(families); i++) {
        for (size_t rest = 0; rest < families[i].needed; rest++) {
            (void)v2(0x21, families[i].family, rest, NULL, 0, header);
            bad_at(header, 16 + families[i].needed, 16, "it is too short for its addresses");
        }
    }
    (void)v2(0x21, 0x11, PROXY_READ_MAX - 15, body4, 12, header);
    bad_at(header, PROXY_READ_MAX, 16, "it is too long");
    (void)v2(0x20, 0x00, 65535, NULL, 0, header);
    bad_at(header, PROXY_READ_MAX, 16, "it is too long");
}

/* What this program writes, it reads. */
static void both_halves_agree(void)
{
    const struct proxy_facts facts = {
        .client = {.family = 4, .address = {192, 0, 2, 1}, .port = 4660}, .id = "id", .agent = "web", .key = "key"};
    uint8_t header[PROXY_HEADER_MAX];

    good((const char *)header, proxy_write_v1(&facts, header), "192.0.2.1:4660");
    good((const char *)header, proxy_write_v2(&facts, header), "192.0.2.1:4660");
    good((const char *)header, proxy_write_v1(&(struct proxy_facts){0}, header), "");
    good((const char *)header, proxy_write_v2(&(struct proxy_facts){0}, header), "");
}

static const struct check_case cases[] = {
    CHECK_CASE(v1_names_the_client),
    CHECK_CASE(v1_may_not_know),
    CHECK_CASE(v1_is_one_spelling),
    CHECK_CASE(v1_ends_in_cr_lf_alone),
    CHECK_CASE(v1_is_bounded),
    CHECK_CASE(others_are_none),
    CHECK_CASE(v2_names_the_client),
    CHECK_CASE(v2_skips_what_follows_the_addresses),
    CHECK_CASE(v2_may_not_know_or_be_local),
    CHECK_CASE(v2_refuses_other_versions_and_commands),
    CHECK_CASE(v2_refuses_other_families),
    CHECK_CASE(v2_refuses_lengths),
    CHECK_CASE(both_halves_agree),
};
CHECK_MAIN(cases)
