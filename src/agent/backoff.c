/* SPDX-License-Identifier: MIT */
#include "agent/backoff.h"

uint64_t backoff_delay_us(const struct backoff_rules *rules, unsigned step, uint32_t random)
{
    const double max = (double)rules->max_delay_us;
    double delay = (double)rules->initial_delay_us;

    /* Steps are counted without an end, the loop is over at the ceiling or where the multiplier changes nothing. */
    for (unsigned i = 0; i < step && delay < max && rules->multiplier > 1.0 && delay > 0.0; i++) {
        delay *= rules->multiplier;
    }
    if (delay > max) {
        delay = max;
    }
    /* From -1 to 1, both included. */
    delay *= 1.0 + rules->jitter * (2.0 * (double)random / (double)(BACKOFF_RANDOM - 1) - 1.0);
    return delay > 0.0 ? (uint64_t)delay : 0;
}

bool backoff_fail(struct backoff *backoff, const struct backoff_rules *rules, const struct backoff_outcome *outcome,
                  uint32_t random, uint64_t *ret_delay_us)
{
    if (outcome->lived_us > 0 && outcome->lived_us >= rules->reset_after_us) {
        *backoff = (struct backoff){0};
    }
    if (backoff->attempts < UINT32_MAX) {
        backoff->attempts++;
    }
    if (rules->max_attempts > 0 && backoff->attempts >= rules->max_attempts) {
        return false;
    }
    if (outcome->refused) {
        /* As long as the delay before it, which was that of the step before. */
        *ret_delay_us = backoff_delay_us(rules, backoff->step > 0 ? backoff->step - 1 : 0, random);
    } else {
        *ret_delay_us = backoff_delay_us(rules, backoff->step, random);
        backoff->step += backoff->step < UINT32_MAX;
    }
    return true;
}
