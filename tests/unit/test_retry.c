/* SPDX-License-Identifier: MIT
 *
 * When a stream may be tried again: every combination of what is known, against the rules in words. */
#include <etcp/etcp.h>

#include "agent/retry.h"
#include "check.h"

static void each(void (*visit)(const struct retry_facts *facts))
{
    for (unsigned bits = 0; bits < 8; bits++) {
        for (unsigned tries = 0; tries <= RETRY_MAX + 1; tries++) {
            visit(&(struct retry_facts){
                .heard = (bits & 1) != 0, .sent = (bits & 2) != 0, .announced = (bits & 4) != 0, .tries = tries});
        }
    }
}

static void check_errors(const struct retry_facts *facts)
{
    const bool open = !facts->heard && facts->tries < RETRY_MAX;

    for (int code = 0; code < 12; code++) {
        bool want = (code == ETCP_CODE_SHUTTING_DOWN && facts->announced && open) || (code == ETCP_CODE_LIMIT && open);

        CHECK_INT(retry_after_error(facts, code), want);
    }
}

static void after_an_error_only_where_nobody_has_taken_the_stream(void)
{
    each(check_errors);
}

static void check_ends(const struct retry_facts *facts)
{
    const bool open = !facts->heard && facts->tries < RETRY_MAX;

    CHECK_INT(retry_after_end(facts, true), open);
    CHECK_INT(retry_after_end(facts, false), open && !facts->sent);
}

static void after_the_end_only_when_it_was_settled_or_nothing_was_sent(void)
{
    each(check_ends);
}

static const struct check_case cases[] = {
    CHECK_CASE(after_an_error_only_where_nobody_has_taken_the_stream),
    CHECK_CASE(after_the_end_only_when_it_was_settled_or_nothing_was_sent),
};
CHECK_MAIN(cases)
