/* SPDX-License-Identifier: MIT
 *
 * How long to wait before the next attempt to reach a server, and when to give up. No clock, no randomness of its own and
 * no timer: the connector brings those, so that every decision can be tested. */
#ifndef AGENT_BACKOFF_H
#define AGENT_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

enum {
    BACKOFF_RANDOM = 1 << 24, /* a random number for backoff_fail() is below this */
};

struct backoff_rules {
    uint64_t initial_delay_us;
    double multiplier; /* 1.0 or more */
    uint64_t max_delay_us;
    double jitter;           /* fraction, 0.0 to 1.0, by which a delay is made longer or shorter */
    uint64_t reset_after_us; /* a connection that lived this long starts the delays anew */
    unsigned max_attempts;   /* failed attempts in a row after which to give up; 0: never */
};

/* Zeros are the start. */
struct backoff {
    unsigned step;     /* of the next delay: failures in a row that were not Refusals */
    unsigned attempts; /* that failed in a row */
};

/* How one attempt ended. */
struct backoff_outcome {
    uint64_t lived_us; /* how long the connection was up; 0 if it never was */
    bool refused;      /* nothing but Refusals were met: unauthenticated, so they don't lengthen the delays */
};

/* The delay of a step, 0 for the first: initial_delay * multiplier^step, at most max_delay; then made longer or shorter
 * by up to the jitter: `random` 0 gives the shortest, BACKOFF_RANDOM - 1 the longest. */
uint64_t backoff_delay_us(const struct backoff_rules *rules, unsigned step, uint32_t random);

/* Counts an attempt that failed, or a connection that ended. Returns true and stores how long to wait before the next
 * attempt, or false when max_attempts has been reached (*ret_delay_us is untouched). */
bool backoff_fail(struct backoff *backoff, const struct backoff_rules *rules, const struct backoff_outcome *outcome,
                  uint32_t random, uint64_t *ret_delay_us);

#endif
