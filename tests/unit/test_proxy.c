/* SPDX-License-Identifier: MIT
 *
 * Headers against bytes written by hand from haproxy's proxy-protocol.txt. */
#include "server/proxy.h"

#include <arpa/inet.h>

#include "check.h"

static const char key[] = "etcp-pub-0ur6xuUgdsPbMpranN324KhTICp7PcCC7N5WuZrbkS-yMDR7";

static struct etcp_origin client_ipv4(void)
{
    return (struct etcp_origin){.family = 4, .address = {192, 0, 2, 1}, .port = 0x1234};
}

static struct etcp_origin client_ipv6(void)
{
    return (struct etcp_origin){.family = 6, .address = {0x20, 0x01, 0x0d, 0xb8, [15] = 1}, .port = 4660};
}

static struct address backend(const char *host)
{
    struct address address = {0};

    CHECK_INT(address_from_numeric(host, 5432, &address), 0);
    return address;
}

static void check_v1(const struct proxy_facts *facts, const char *want)
{
    uint8_t header[PROXY_HEADER_MAX];
    size_t len = proxy_write_v1(facts, header);

    CHECK_INT(len, strlen(want));
    CHECK_MEM((const void *)header, (const void *)want, len);
}

static void v1_names_both_ends(void)
{
    check_v1(&(struct proxy_facts){.client = client_ipv4(), .backend = backend("198.51.100.7")},
             "PROXY TCP4 192.0.2.1 198.51.100.7 4660 5432\r\n");
    check_v1(&(struct proxy_facts){.client = client_ipv6(), .backend = backend("2001:db8::7")},
             "PROXY TCP6 2001:db8::1 2001:db8::7 4660 5432\r\n");
}

static void v1_writes_mixed_families_as_ipv6(void)
{
    check_v1(&(struct proxy_facts){.client = client_ipv4(), .backend = backend("2001:db8::7")},
             "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::7 4660 5432\r\n");
    check_v1(&(struct proxy_facts){.client = client_ipv6(), .backend = backend("198.51.100.7")},
             "PROXY TCP6 2001:db8::1 ::ffff:198.51.100.7 4660 5432\r\n");
}

static void v1_of_what_is_not_known(void)
{
    struct proxy_facts facts = {.backend = backend("198.51.100.7")};

    check_v1(&facts, "PROXY UNKNOWN\r\n");
    CHECK_INT(address_from_path("/run/backend.sock", &facts.backend), 0);
    check_v1(&facts, "PROXY UNKNOWN\r\n");
    facts.client = client_ipv4();
    check_v1(&facts, "PROXY TCP4 192.0.2.1 0.0.0.0 4660 0\r\n");
    facts.client = client_ipv6();
    check_v1(&facts, "PROXY TCP6 2001:db8::1 :: 4660 0\r\n");
}

static void check_v2(const struct proxy_facts *facts, const uint8_t *want, size_t want_len)
{
    uint8_t header[PROXY_HEADER_MAX];
    size_t len = proxy_write_v2(facts, header);

    CHECK_INT(len, want_len);
    CHECK_MEM((const void *)header, (const void *)want, len);
}

#define SIGNATURE 0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a

static void v2_names_both_ends(void)
{
    static const uint8_t ipv4[] = {SIGNATURE, 0x21, 0x11, 0, 12, 192, 0, 2, 1, 198, 51, 100, 7, 0x12, 0x34, 0x15, 0x38};
    static const uint8_t ipv6[] = {SIGNATURE, 0x21, 0x21, 0,    36,   0x20, 0x01, 0x0d, 0xb8, 0,    0,    0,    0,   0,
                                   0,         0,    0,    0,    0,    0,    1,    0,    0,    0,    0,    0,    0,   0,
                                   0,         0,    0,    0xff, 0xff, 198,  51,   100,  7,    0x12, 0x34, 0x15, 0x38};

    check_v2(&(struct proxy_facts){.client = client_ipv4(), .backend = backend("198.51.100.7")}, ipv4, sizeof(ipv4));
    check_v2(&(struct proxy_facts){.client = client_ipv6(), .backend = backend("198.51.100.7")}, ipv6, sizeof(ipv6));
}

static void v2_of_a_client_that_is_not_known_has_tlvs_all_the_same(void)
{
    static const uint8_t want[] = {SIGNATURE, 0x21, 0x00, 0, 12, 0x05, 0, 3, 'i', 'd', '1', 0xe0, 0, 3, 'w', 'e', 'b'};

    check_v2(&(struct proxy_facts){.backend = backend("198.51.100.7"), .id = "id1", .agent = "web"}, want,
             sizeof(want));
}

static void v2_carries_the_key_last(void)
{
    uint8_t header[PROXY_HEADER_MAX];
    const struct proxy_facts facts = {
        .client = client_ipv4(), .backend = backend("198.51.100.7"), .id = "x", .key = key};
    size_t len = proxy_write_v2(&facts, header);

    CHECK_INT(len, 16 + 12 + 4 + 3 + 57);
    CHECK_INT(header[15], len - 16);
    CHECK_INT(header[32], PROXY_TLV_AGENT_KEY);
    CHECK_INT(header[34], 57);
    CHECK_MEM((const void *)(header + 35), (const void *)key, 57);
}

/* The longest values together still fit, and longer ones are cut. */
static void v2_is_bounded(void)
{
    uint8_t header[PROXY_HEADER_MAX];
    char text[1000];
    struct proxy_facts facts = {
        .client = client_ipv6(), .backend = backend("2001:db8::7"), .id = text, .agent = text, .key = text};

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    CHECK_INT(proxy_write_v2(&facts, header), 16 + 36 + 3 * (3 + 128));
}

static const struct check_case cases[] = {
    CHECK_CASE(v1_names_both_ends),
    CHECK_CASE(v1_writes_mixed_families_as_ipv6),
    CHECK_CASE(v1_of_what_is_not_known),
    CHECK_CASE(v2_names_both_ends),
    CHECK_CASE(v2_of_a_client_that_is_not_known_has_tlvs_all_the_same),
    CHECK_CASE(v2_carries_the_key_last),
    CHECK_CASE(v2_is_bounded),
};
CHECK_MAIN(cases)
