/* SPDX-License-Identifier: MIT
 *
 * What the server tells about itself, on the status socket and as metrics: asks every worker by letter for its part, a batch of
 * connections at a time so that none is held up, puts the parts together on the main loop, and answers. Does nothing until
 * somebody asks. */
#ifndef SERVER_REPORT_H
#define SERVER_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "server/census.h"
#include "server/tally.h"

struct config_server;
struct gate;
struct loop;
struct report;
struct snapshot;
struct worker;

/* What the main loop knows. */
struct report_view {
    const char *state; /* "serving", "draining", "stopping"; static */
    bool ready;        /* new connections are taken */
    size_t workers;
    const struct snapshot *snapshot;
    const struct gate *gate;
    struct census_counts counts;
    struct census_totals totals;
    time_t started; /* the time of day */
    uint64_t lived_us;
};

/* All workers' parts. */
struct report_sum {
    struct tally tally;
    uint64_t streams; /* open */
    struct tally_service *services;
};

/* Makes a report on the workers, whose first has the main loop; borrows them, and `user`. `view` is asked on the main loop. Returns 0
 * and an owned report without sockets, or -errno. */
int report_new(struct worker *const *workers, size_t count, void (*view)(void *user, struct report_view *ret_view),
               void *user, struct report **ret_report);

/* The workers' loops must have stopped. NULL is fine. */
void report_free(struct report *report);

/* Its sockets, as in net/publishers.h. */
int report_prepare(struct report *report, const struct config_server *config, struct error_text *ret_error);
void report_commit(struct report *report);
void report_rollback(struct report *report);

/* The documents: owned text, NULL without memory. `sessions` is emptied. */
struct json;
char *report_json(const struct report_view *view, struct report_sum *sum, struct json *sessions, size_t *ret_len);
char *report_metrics(const struct report_view *view, struct report_sum *sum, size_t *ret_len);

#endif
