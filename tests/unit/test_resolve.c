/* SPDX-License-Identifier: MIT
 *
 * Names that need no server: "localhost" comes from /etc/hosts, and a name with an illegal form fails everywhere. */
#include <errno.h>
#include <netdb.h>

#include <etcp/etcp.h>

#include "check.h"
#include "net/loop.h"
#include "net/resolve.h"

/* No resolver asks the network for a label of more than 63 characters. */
#define LABEL_16 "aaaaaaaaaaaaaaaa"
#define BAD_NAME LABEL_16 LABEL_16 LABEL_16 LABEL_16 LABEL_16 ".invalid"

struct answer {
    struct loop *loop;
    unsigned got, want, errors;
    struct address first;
};

static struct loop *make_loop(void)
{
    struct loop *loop = NULL;

    CHECK_INT(etcp_init(), 0);
    CHECK_INT(loop_new(&loop), 0);
    return loop;
}

static void on_done(const struct resolve_result *result, void *user)
{
    struct answer *answer = user;

    CHECK((result->error == NULL) == (result->count > 0));
    if (result->error != NULL) {
        CHECK(result->error[0] != '\0');
        answer->errors++;
    } else {
        answer->first = result->addresses[0];
    }
    if (++answer->got == answer->want) {
        loop_stop(answer->loop);
    }
}

static void numeric_addresses_take_no_thread(void)
{
    struct answer answer = {.loop = make_loop(), .want = 2 * RESOLVE_THREADS_MAX};
    char text[ADDRESS_TEXT_BYTES];

    for (unsigned i = 0; i < answer.want; i++) {
        struct resolve *resolve = NULL;

        CHECK_INT(resolve_start(answer.loop, "::1", 4242, on_done, &answer, &resolve), 0);
        CHECK(resolve != NULL);
        CHECK_INT(answer.got, 0);
    }
    CHECK_INT(loop_run(answer.loop), 0);
    address_format(&answer.first, text);
    CHECK_STR(text, "[::1]:4242");
    CHECK_INT(answer.errors, 0);
    loop_free(answer.loop);
}

static void names_are_looked_up(void)
{
    struct answer answer = {.loop = make_loop(), .want = 1};
    struct resolve *resolve = NULL;

    CHECK_INT(resolve_start(answer.loop, "localhost", 22, on_done, &answer, &resolve), 0);
    CHECK_INT(loop_run(answer.loop), 0);
    CHECK_INT(answer.errors, 0);
    CHECK(answer.first.len > 0);
    loop_free(answer.loop);
}

static void a_failure_says_why(void)
{
    struct answer answer = {.loop = make_loop(), .want = 2};
    struct resolve *resolve = NULL;

    CHECK_INT(resolve_start(answer.loop, BAD_NAME, 22, on_done, &answer, &resolve), 0);
    CHECK_INT(resolve_start(answer.loop, "", 22, on_done, &answer, &resolve), 0);
    CHECK_INT(loop_run(answer.loop), 0);
    CHECK_INT(answer.errors, 2);
    loop_free(answer.loop);
}

static void an_abandoned_request_is_silent(void)
{
    struct answer answer = {.loop = make_loop(), .want = 1};
    struct resolve *resolve = NULL;

    /* One whose answer waits already, one whose thread is under way, one that is answered. */
    CHECK_INT(resolve_start(answer.loop, "127.0.0.1", 22, on_done, &answer, &resolve), 0);
    resolve_cancel(resolve);
    CHECK_INT(resolve_start(answer.loop, "localhost", 22, on_done, &answer, &resolve), 0);
    resolve_cancel(resolve);
    CHECK_INT(resolve_start(answer.loop, "127.0.0.1", 22, on_done, &answer, &resolve), 0);
    resolve_cancel(NULL);
    CHECK_INT(loop_run(answer.loop), 0);
    CHECK_INT(answer.got, 1);
    loop_free(answer.loop);
}

static void a_loop_may_go_before_the_thread(void)
{
    for (unsigned i = 0; i < RESOLVE_THREADS_MAX; i++) {
        struct answer answer = {.loop = make_loop(), .want = 1};
        struct resolve *resolve = NULL;
        int r = resolve_start(answer.loop, "localhost", 22, on_done, &answer, &resolve);

        CHECK(r == 0 || r == -EAGAIN);
        if (r == 0) {
            resolve_cancel(resolve);
        }
        loop_free(answer.loop);
        CHECK_INT(answer.got, 0);
    }
}

static void requests_are_bounded(void)
{
    struct answer answer = {.loop = make_loop()};
    unsigned refused = 0;

    /* Threads may end while others are started, so how many are refused is open, but none of them may be lost. */
    for (unsigned i = 0; i < 4 * RESOLVE_THREADS_MAX; i++) {
        struct resolve *resolve = NULL;
        int r = resolve_start(answer.loop, "localhost", 22, on_done, &answer, &resolve);

        CHECK(r == 0 || r == -EAGAIN);
        CHECK((r == 0) == (resolve != NULL));
        refused += r != 0;
    }
    answer.want = 4 * RESOLVE_THREADS_MAX - refused;
    if (answer.want > 0) {
        CHECK_INT(loop_run(answer.loop), 0);
    }
    CHECK_INT(answer.got, answer.want);
    loop_free(answer.loop);
}

static void blocking_lookup_is_bounded(void)
{
    struct address addresses[1];
    size_t count = 7;

    CHECK_INT(resolve_now("localhost", 22, addresses, 1, &count), 0);
    CHECK_INT(count, 1);
    count = 7;
    CHECK(resolve_now(BAD_NAME, 22, addresses, 1, &count) != 0);
    CHECK(resolve_now("", 22, addresses, 1, &count) != 0);
    CHECK_INT(count, 7);
}

static const struct check_case cases[] = {
    CHECK_CASE(numeric_addresses_take_no_thread),
    CHECK_CASE(names_are_looked_up),
    CHECK_CASE(a_failure_says_why),
    CHECK_CASE(an_abandoned_request_is_silent),
    CHECK_CASE(a_loop_may_go_before_the_thread),
    CHECK_CASE(requests_are_bounded),
    CHECK_CASE(blocking_lookup_is_bounded),
};

CHECK_MAIN(cases)
