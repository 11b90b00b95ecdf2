/* SPDX-License-Identifier: MIT
 *
 * What was read from a socket and sent on a young stream, kept while the other side may yet say that it has not taken the stream: then
 * another stream can begin with the same bytes. Until the other side's first word on a stream no more than its window is sent, so
 * that is the bound for each; all of them together have another one. */
#ifndef NET_KEPT_H
#define NET_KEPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sys/types.h>

struct etcp_stream;
struct kept;
struct link;

enum {
    KEPT_MAX = 256 * 1024,             /* of one stream: its first window */
    KEPT_TOTAL_MAX = 64 * 1024 * 1024, /* of all that count in the same place */
};

/* Keeps nothing yet. Counts in *total, which it borrows. NULL without memory. */
struct kept *kept_new(size_t *total);

/* NULL is fine. */
void kept_free(struct kept *kept);

/* As link_send_from() for a socket, but keeps what was read; sends first what it has that the stream has not got. -ENOSPC: nothing
 * was read, for it could not be kept; all that is kept was sent. -ENOMEM: bytes are lost. */
ssize_t kept_send_from(struct kept *kept, struct link *link, struct etcp_stream *stream, int fd);

/* Another stream begins with it. */
void kept_rewind(struct kept *kept);

/* Whether the stream has got anything. */
bool kept_has_sent(const struct kept *kept);

/* Whether the stream has got everything. */
bool kept_is_sent(const struct kept *kept);

#endif
