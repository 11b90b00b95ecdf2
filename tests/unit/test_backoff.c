/* SPDX-License-Identifier: MIT */
#include <stdint.h>

#include "agent/backoff.h"
#include "check.h"

#define SECOND UINT64_C(1000000)

static const struct backoff_rules plain = {
    .initial_delay_us = 5 * SECOND,
    .multiplier = 2.0,
    .max_delay_us = 300 * SECOND,
    .jitter = 0.0,
    .reset_after_us = 60 * SECOND,
};

static const struct backoff_outcome failed = {0};
static const struct backoff_outcome refused = {.refused = true};

/* The delay after one more failure, which must not be the last. */
static uint64_t next(struct backoff *backoff, const struct backoff_rules *rules, const struct backoff_outcome *outcome)
{
    uint64_t delay = UINT64_MAX;

    CHECK(backoff_fail(backoff, rules, outcome, 0, &delay));
    return delay;
}

static void delays_grow_to_their_ceiling(void)
{
    static const uint64_t want[] = {5, 10, 20, 40, 80, 160, 300, 300, 300};
    struct backoff backoff = {0};

    for (size_t i = 0; i < CHECK_COUNT(want); i++) {
        CHECK_INT(next(&backoff, &plain, &failed), want[i] * SECOND);
    }
}

static void a_multiplier_of_one_changes_nothing(void)
{
    struct backoff_rules rules = plain;

    rules.multiplier = 1.0;
    CHECK_INT(backoff_delay_us(&rules, 0, 0), 5 * SECOND);
    CHECK_INT(backoff_delay_us(&rules, UINT32_MAX, 0), 5 * SECOND);
}

static void any_step_is_bounded(void)
{
    struct backoff_rules rules = plain;

    CHECK_INT(backoff_delay_us(&plain, UINT32_MAX, 0), 300 * SECOND);
    rules.multiplier = 1e300;
    CHECK_INT(backoff_delay_us(&rules, 1000, 0), 300 * SECOND);
    rules.initial_delay_us = 400 * SECOND;
    CHECK_INT(backoff_delay_us(&rules, 0, 0), 300 * SECOND);
    rules.initial_delay_us = 0;
    CHECK_INT(backoff_delay_us(&rules, UINT32_MAX, 0), 0);
}

static void jitter_goes_both_ways_and_no_further(void)
{
    struct backoff_rules rules = plain;

    rules.jitter = 0.2;
    CHECK_INT(backoff_delay_us(&rules, 0, 0), 4 * SECOND);
    CHECK_INT(backoff_delay_us(&rules, 0, BACKOFF_RANDOM - 1), 6 * SECOND);
    CHECK(backoff_delay_us(&rules, 0, BACKOFF_RANDOM / 2) > 4999990);
    CHECK(backoff_delay_us(&rules, 0, BACKOFF_RANDOM / 2) < 5000010);
    rules.jitter = 1.0;
    CHECK_INT(backoff_delay_us(&rules, 0, 0), 0);
    CHECK_INT(backoff_delay_us(&rules, 0, BACKOFF_RANDOM - 1), 10 * SECOND);
    for (uint32_t random = 1; random < BACKOFF_RANDOM; random += BACKOFF_RANDOM / 97) {
        CHECK(backoff_delay_us(&rules, 0, random) >= backoff_delay_us(&rules, 0, random - 1));
    }
}

static void a_long_connection_starts_the_delays_anew(void)
{
    const struct backoff_outcome just = {.lived_us = 60 * SECOND}, not_quite = {.lived_us = 60 * SECOND - 1};
    struct backoff backoff = {0};

    (void)next(&backoff, &plain, &failed);
    (void)next(&backoff, &plain, &failed);
    CHECK_INT(next(&backoff, &plain, &not_quite), 20 * SECOND);
    CHECK_INT(next(&backoff, &plain, &just), 5 * SECOND);
    CHECK_INT(next(&backoff, &plain, &failed), 10 * SECOND);
}

static void with_reset_after_zero_any_connection_does(void)
{
    const struct backoff_outcome moment = {.lived_us = 1};
    struct backoff_rules rules = plain;
    struct backoff backoff = {0};

    rules.reset_after_us = 0;
    (void)next(&backoff, &rules, &failed);
    CHECK_INT(next(&backoff, &rules, &failed), 10 * SECOND);
    CHECK_INT(next(&backoff, &rules, &moment), 5 * SECOND);
}

static void a_refusal_never_lengthens_the_delay(void)
{
    struct backoff backoff = {0};

    for (int i = 0; i < 50; i++) {
        CHECK_INT(next(&backoff, &plain, &refused), 5 * SECOND);
    }
    CHECK_INT(next(&backoff, &plain, &failed), 5 * SECOND);
    CHECK_INT(next(&backoff, &plain, &refused), 5 * SECOND);
    CHECK_INT(next(&backoff, &plain, &failed), 10 * SECOND);
    CHECK_INT(next(&backoff, &plain, &refused), 10 * SECOND);
    CHECK_INT(next(&backoff, &plain, &refused), 10 * SECOND);
    CHECK_INT(next(&backoff, &plain, &failed), 20 * SECOND);
}

static void attempts_end_at_their_number(void)
{
    struct backoff_rules rules = plain;
    struct backoff backoff = {0};
    uint64_t delay = 42;

    rules.max_attempts = 3;
    (void)next(&backoff, &rules, &failed);
    (void)next(&backoff, &rules, &refused);
    CHECK(!backoff_fail(&backoff, &rules, &failed, 0, &delay));
    CHECK_INT(delay, 42);
    CHECK_INT(backoff.attempts, 3);

    rules.max_attempts = 1;
    backoff = (struct backoff){0};
    CHECK(!backoff_fail(&backoff, &rules, &failed, 0, &delay));
}

static void a_long_connection_starts_the_attempts_anew(void)
{
    const struct backoff_outcome lived = {.lived_us = 61 * SECOND}, short_lived = {.lived_us = SECOND};
    struct backoff_rules rules = plain;
    struct backoff backoff = {0};
    uint64_t delay;

    rules.max_attempts = 3;
    for (int i = 0; i < 10; i++) {
        (void)next(&backoff, &rules, &lived);
        (void)next(&backoff, &rules, &failed);
    }
    CHECK(!backoff_fail(&backoff, &rules, &short_lived, 0, &delay));
}

static void without_a_number_they_never_end(void)
{
    struct backoff backoff = {.step = UINT32_MAX - 2, .attempts = UINT32_MAX - 2};

    for (int i = 0; i < 10; i++) {
        CHECK_INT(next(&backoff, &plain, &failed), 300 * SECOND);
    }
}

static const struct check_case cases[] = {
    CHECK_CASE(delays_grow_to_their_ceiling),
    CHECK_CASE(a_multiplier_of_one_changes_nothing),
    CHECK_CASE(any_step_is_bounded),
    CHECK_CASE(jitter_goes_both_ways_and_no_further),
    CHECK_CASE(a_long_connection_starts_the_delays_anew),
    CHECK_CASE(with_reset_after_zero_any_connection_does),
    CHECK_CASE(a_refusal_never_lengthens_the_delay),
    CHECK_CASE(attempts_end_at_their_number),
    CHECK_CASE(a_long_connection_starts_the_attempts_anew),
    CHECK_CASE(without_a_number_they_never_end),
};

CHECK_MAIN(cases)
