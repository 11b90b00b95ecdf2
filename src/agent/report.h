/* SPDX-License-Identifier: MIT
 *
 * What the agent tells about itself, on the status socket and as metrics. Does nothing until somebody asks. */
#ifndef AGENT_REPORT_H
#define AGENT_REPORT_H

#include "base/error.h"

struct config_agent;
struct connector;
struct loop;
struct report;

/* Borrows loop and connector. Returns 0 and an owned report without sockets, or -ENOMEM. */
int report_new(struct loop *loop, struct connector *connector, struct report **ret_report);

/* NULL is fine. */
void report_free(struct report *report);

/* Its sockets, as in net/publishers.h. */
int report_prepare(struct report *report, const struct config_agent *config, struct error_text *ret_error);
void report_commit(struct report *report);
void report_rollback(struct report *report);

#endif
