/* SPDX-License-Identifier: MIT */
#include "net/metrics.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

int metrics_init(struct metrics *metrics)
{
    *metrics = (struct metrics){0};
    metrics->out = open_memstream(&metrics->text, &metrics->len);
    return metrics->out != NULL ? 0 : -ENOMEM;
}

char *metrics_take(struct metrics *metrics, size_t *ret_len)
{
    const int failed = ferror(metrics->out);

    if (fclose(metrics->out) != 0 || failed != 0) {
        free(metrics->text);
        return NULL;
    }
    *ret_len = metrics->len;
    return metrics->text;
}

/* Results of printing are judged once, in metrics_take(). */
static void begin(struct metrics *metrics, const char *name, const char *type, const char *help)
{
    metrics->name = name;
    (void)fprintf(metrics->out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void metrics_counter(struct metrics *metrics, const char *name, const char *help)
{
    begin(metrics, name, "counter", help);
}

void metrics_gauge(struct metrics *metrics, const char *name, const char *help)
{
    begin(metrics, name, "gauge", help);
}

void metrics_number(struct metrics *metrics, const char *label, const char *value, uint64_t number)
{
    if (label != NULL) {
        (void)fprintf(metrics->out, "%s{%s=\"%s\"} %" PRIu64 "\n", metrics->name, label, value, number);
    } else {
        (void)fprintf(metrics->out, "%s %" PRIu64 "\n", metrics->name, number);
    }
}

void metrics_seconds(struct metrics *metrics, uint64_t us)
{
    (void)fprintf(metrics->out, "%s %" PRIu64 ".%06" PRIu64 "\n", metrics->name, us / 1000000, us % 1000000);
}

void metrics_counter_number(struct metrics *metrics, const char *name, const char *help, uint64_t number)
{
    metrics_counter(metrics, name, help);
    metrics_number(metrics, NULL, NULL, number);
}

void metrics_gauge_number(struct metrics *metrics, const char *name, const char *help, uint64_t number)
{
    metrics_gauge(metrics, name, help);
    metrics_number(metrics, NULL, NULL, number);
}
