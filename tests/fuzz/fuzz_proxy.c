/* SPDX-License-Identifier: MIT
 *
 * The PROXY header of a balancer. Read in one piece and byte by byte it must come to the same; what is read before its end must
 * not depend on what lies behind it; and what was understood is written and read again. */
#include <arpa/inet.h>

#include "check.h"
#include "fuzz.h"
#include "server/proxy.h"

/* The verdict on the first `len` bytes, which lie alone, so that a sanitizer sees their end. */
static enum proxy_verdict read_first(const uint8_t *data, size_t len, size_t *ret_len, struct proxy_source *ret_source)
{
    uint8_t *copy = malloc(len + 1);
    const char *why = NULL;
    enum proxy_verdict verdict;

    CHECK(copy != NULL);
    if (len > 0) {
        memcpy(copy, data, len);
    }
    *ret_len = 0;
    *ret_source = (struct proxy_source){0};
    verdict = proxy_read(copy, len, ret_len, ret_source, &why);
    CHECK((verdict == PROXY_BAD) == (why != NULL));
    CHECK((verdict == PROXY_DONE) == (*ret_len > 0));
    CHECK(*ret_len <= len && *ret_len <= PROXY_READ_MAX);
    free(copy);
    return verdict;
}

/* An IPv4 or IPv6 client, through the half that writes. */
static void run_again(const struct proxy_source *source)
{
    const struct address *client = &source->address;
    struct proxy_facts facts = {0};
    struct proxy_source again;
    uint8_t header[PROXY_HEADER_MAX];
    size_t len = 0;

    if (client->any.sa_family == AF_UNIX) {
        return;
    }
    facts.client.family = client->any.sa_family == AF_INET ? 4 : 6;
    if (facts.client.family == 4) {
        facts.client.port = ntohs(client->in.sin_port);
        memcpy(facts.client.address, &client->in.sin_addr, 4);
    } else {
        facts.client.port = ntohs(client->in6.sin6_port);
        memcpy(facts.client.address, &client->in6.sin6_addr, 16);
    }
    CHECK_INT(read_first(header, proxy_write_v1(&facts, header), &len, &again), PROXY_DONE);
    CHECK(address_equal(client, &again.address));
    CHECK_INT(read_first(header, proxy_write_v2(&facts, header), &len, &again), PROXY_DONE);
    CHECK(address_equal(client, &again.address));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_source whole, source;
    size_t whole_len = 0, len = 0, known = 0;
    enum proxy_verdict verdict, last = PROXY_MORE;

    size = size < PROXY_READ_MAX + 64 ? size : PROXY_READ_MAX + 64;
    verdict = read_first(data, size, &whole_len, &whole);
    CHECK(verdict != PROXY_MORE || size < PROXY_READ_MAX); /* it comes to an end */
    for (; known <= size && last == PROXY_MORE; known++) {
        last = read_first(data, known, &len, &source);
    }
    CHECK_INT(last, verdict);
    if (verdict == PROXY_DONE) {
        CHECK_INT(len, whole_len);
        CHECK_INT(known - 1, len);
        CHECK_INT(source.speaker, whole.speaker);
        CHECK(address_equal(&source.address, &whole.address));
        if (whole.speaker == PROXY_CLIENT) {
            run_again(&whole);
        }
    }
    return 0;
}
