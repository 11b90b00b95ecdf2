/* SPDX-License-Identifier: MIT */
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include <etcp/etcp.h>

#include "agent/trust.h"
#include "base/file.h"
#include "check.h"
#include "keys/known_servers.h"

static char folder[] = "/tmp/etcp-trust-XXXXXX";
static char path[sizeof(folder) + sizeof("/known_servers")];

/* Different, and spelled as keys are. */
static void make_key(uint8_t number, uint8_t ret_key[static ETCP_KEY_BYTES])
{
    uint8_t secret[ETCP_KEY_BYTES];

    memset(secret, number, sizeof(secret));
    etcp_key_public(secret, ret_key);
}

static void start(void)
{
    CHECK_INT(etcp_init(), 0);
    memcpy(folder + sizeof(folder) - 7, "XXXXXX", 6);
    CHECK(mkdtemp(folder) != NULL);
    (void)snprintf(path, sizeof(path), "%s/known_servers", folder);
}

static void stop(void)
{
    char lock[sizeof(path) + 16];

    (void)unlink(path);
    (void)snprintf(lock, sizeof(lock), "%s.lock", path);
    (void)unlink(lock);
    CHECK_INT(rmdir(folder), 0);
}

static enum trust_verdict verdict(const struct trust *trust, const char *server, uint8_t number, bool want)
{
    struct trust_decision decision;
    uint8_t key[ETCP_KEY_BYTES];

    make_key(number, key);
    CHECK_INT(trust_decide(trust, server, key, &decision), want);
    return decision.verdict;
}

static void write_known(const char *text, mode_t mode)
{
    CHECK_INT(file_write(path, text, strlen(text), mode, FILE_REPLACE), 0);
}

static void pins_are_the_only_keys_that_count(void)
{
    uint8_t pins[3][ETCP_KEY_BYTES];
    struct trust trust = {.pins = (const uint8_t(*)[ETCP_KEY_BYTES])pins, .pin_count = 3};

    start();
    trust.known_servers = path;
    for (uint8_t i = 0; i < 3; i++) {
        make_key((uint8_t)(i + 1), pins[i]);
    }
    CHECK_INT(verdict(&trust, "a:1", 1, true), TRUST_PINNED);
    CHECK_INT(verdict(&trust, "a:1", 2, true), TRUST_PINNED);
    CHECK_INT(verdict(&trust, "b:2", 3, true), TRUST_PINNED);
    CHECK_INT(verdict(&trust, "a:1", 4, false), TRUST_NOT_PINNED);
    CHECK_INT(access(path, F_OK), -1); /* nothing is remembered */
    stop();
}

static void what_is_remembered_does_not_count_beside_pins(void)
{
    uint8_t pins[1][ETCP_KEY_BYTES];
    const struct trust pinned = {.pins = (const uint8_t(*)[ETCP_KEY_BYTES])pins, .pin_count = 1, .known_servers = path};
    const struct trust first = {.known_servers = path};

    start();
    make_key(1, pins[0]);
    CHECK_INT(verdict(&first, "a:1", 2, true), TRUST_FIRST_USE);
    CHECK_INT(verdict(&pinned, "a:1", 2, false), TRUST_NOT_PINNED);
    CHECK_INT(verdict(&pinned, "a:1", 1, true), TRUST_PINNED);
    stop();
}

static void the_first_key_is_remembered_and_another_refused(void)
{
    const struct trust trust = {.known_servers = path};
    struct trust_decision decision;
    uint8_t first[ETCP_KEY_BYTES], other[ETCP_KEY_BYTES];

    start();
    make_key(1, first);
    make_key(2, other);
    CHECK_INT(verdict(&trust, "example.org:1337", 1, true), TRUST_FIRST_USE);
    CHECK_INT(verdict(&trust, "example.org:1337", 1, true), TRUST_KNOWN);
    CHECK(!trust_decide(&trust, "example.org:1337", other, &decision));
    CHECK_INT(decision.verdict, TRUST_CHANGED);
    CHECK_MEM(decision.known_key, first, sizeof(first));
    CHECK(decision.line > 0);
    CHECK_INT(verdict(&trust, "example.org:1338", 2, true), TRUST_FIRST_USE); /* another port is another server */
    CHECK_INT(verdict(&trust, "example.org:1337", 1, true), TRUST_KNOWN);
    CHECK_INT(verdict(&trust, "example.org:1337", 2, false), TRUST_CHANGED);
    stop();
}

static void what_cannot_be_read_is_not_trusted_over(void)
{
    const struct trust trust = {.known_servers = path};

    start();
    write_known("a:1 etcp-pub-garbage\n", 0600);
    CHECK_INT(verdict(&trust, "a:1", 1, false), TRUST_NOT_RECORDED);
    CHECK_INT(verdict(&trust, "b:1", 1, false), TRUST_NOT_RECORDED); /* who knows what the line was meant to say */
    write_known("", 0666);
    CHECK_INT(verdict(&trust, "a:1", 1, false), TRUST_NOT_RECORDED); /* anybody may have emptied it */
    stop();
}

static void what_cannot_be_written_is_not_trusted(void)
{
    struct trust trust = {.known_servers = "/proc/etcp-has-no-place-here/known_servers"};
    struct trust_decision decision;
    uint8_t key[ETCP_KEY_BYTES];

    CHECK_INT(etcp_init(), 0);
    make_key(1, key);
    CHECK(!trust_decide(&trust, "a:1", key, &decision));
    CHECK_INT(decision.verdict, TRUST_NOT_RECORDED);
    CHECK(strstr(decision.error.text, "/proc/etcp-has-no-place-here") != NULL);
    trust.known_servers = NULL;
    CHECK(!trust_decide(&trust, "a:1", key, &decision));
    CHECK_INT(decision.verdict, TRUST_NOT_RECORDED);
    CHECK(decision.error.text[0] != '\0');
}

static void a_reload_keeps_to_the_pins(void)
{
    uint8_t pins[2][ETCP_KEY_BYTES], key[ETCP_KEY_BYTES];
    const struct trust pinned = {.pins = (const uint8_t(*)[ETCP_KEY_BYTES])pins, .pin_count = 2};
    const struct trust open = {0};

    CHECK_INT(etcp_init(), 0);
    make_key(1, pins[0]);
    make_key(2, pins[1]);
    CHECK(trust_allows(&pinned, pins[0]));
    CHECK(trust_allows(&pinned, pins[1]));
    make_key(3, key);
    CHECK(!trust_allows(&pinned, key));
    CHECK(trust_allows(&open, key)); /* it was judged when it was met */
}

static const struct check_case cases[] = {
    CHECK_CASE(pins_are_the_only_keys_that_count),
    CHECK_CASE(what_is_remembered_does_not_count_beside_pins),
    CHECK_CASE(the_first_key_is_remembered_and_another_refused),
    CHECK_CASE(what_cannot_be_read_is_not_trusted_over),
    CHECK_CASE(what_cannot_be_written_is_not_trusted),
    CHECK_CASE(a_reload_keeps_to_the_pins),
};

CHECK_MAIN(cases)
