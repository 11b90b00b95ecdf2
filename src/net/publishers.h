/* SPDX-License-Identifier: MIT
 *
 * The two sockets on which a daemon tells about itself, as its configuration wants them: where they are, and how a reload moves
 * them, whole or not at all. */
#ifndef NET_PUBLISHERS_H
#define NET_PUBLISHERS_H

#include "net/publisher.h"

struct publishers;

struct publishers_settings {
    const char *daemon;        /* "server" or "agent": a part of the automatic path */
    const char *status_socket; /* "" automatic, "none", or a path */
    const char *metrics_path;  /* of a Unix socket, or "" */
    const char *metrics_host;  /* numeric, or "": with both empty there are no metrics */
    uint16_t metrics_port;
};

/* Returns 0 and owned publishers without sockets, or -ENOMEM. As publisher_new() otherwise. */
int publishers_new(struct loop *loop, const struct publisher_handler *handler, void *user,
                   struct publishers **ret_publishers);

/* NULL is fine. */
void publishers_free(struct publishers *publishers);

/* Opens what these settings ask for and is not open yet, beside what is there. Returns 0, and publishers_commit() or
 * publishers_rollback() must follow; or -errno with an error text, and nothing has changed. That an automatic status socket can't
 * be had is no error: it is logged. */
int publishers_prepare(struct publishers *publishers, const struct publishers_settings *settings,
                       struct error_text *ret_error);

/* Closes what is not wanted any more, and logs what is new. */
void publishers_commit(struct publishers *publishers);

/* Whether it is one of them; NULL is not. */
bool publishers_has(const struct publishers *publishers, const struct publisher *publisher);

/* Everything is as it was before publishers_prepare(). */
void publishers_rollback(struct publishers *publishers);

#endif
