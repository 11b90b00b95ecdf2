/* SPDX-License-Identifier: MIT
 *
 * Writing numbers in Prometheus' text format, version 0.0.4. Names and labels are ours and need no escapes; a label's value may
 * be any that a configuration allows for services and agents. */
#ifndef NET_METRICS_H
#define NET_METRICS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct metrics {
    FILE *out;
    char *text;
    size_t len;
    const char *name; /* of the family under way */
};

/* Returns 0 and an empty text, or -ENOMEM. */
int metrics_init(struct metrics *metrics);

/* The finished text, which the caller frees, and its length; NULL if memory was short. */
char *metrics_take(struct metrics *metrics, size_t *ret_len);

/* Begins a family: HELP and TYPE. Its numbers follow. */
void metrics_counter(struct metrics *metrics, const char *name, const char *help);
void metrics_gauge(struct metrics *metrics, const char *name, const char *help);

/* One number of the family, with one label or (NULL) none. */
void metrics_number(struct metrics *metrics, const char *label, const char *value, uint64_t number);

/* The same for a time in microseconds, shown in seconds. */
void metrics_seconds(struct metrics *metrics, uint64_t us);

/* A family of one number without labels. */
void metrics_counter_number(struct metrics *metrics, const char *name, const char *help, uint64_t number);
void metrics_gauge_number(struct metrics *metrics, const char *name, const char *help, uint64_t number);

#endif
