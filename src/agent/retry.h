/* SPDX-License-Identifier: MIT
 *
 * Whether a local connection whose stream came to nothing may be given to another one. A backend must never get a byte twice, so the
 * question is always: is it certain that nobody has taken the stream? (Section 4, Goodbye.) */
#ifndef AGENT_RETRY_H
#define AGENT_RETRY_H

#include <stdbool.h>

enum { RETRY_MAX = 8 }; /* for one local connection, so that nobody is kept busy for ever */

struct retry_facts {
    bool heard;     /* the server has said something on the stream, before its end: it has taken it */
    bool sent;      /* data, or its end, has gone to the stream */
    bool announced; /* the server had said on this connection that it shuts down */
    unsigned tries; /* before this one */
};

/* The server has ended the stream with a code (enum etcp_code). */
bool retry_after_error(const struct retry_facts *facts, int code);

/* The connection has ended; `settled`: as in struct client_end. */
bool retry_after_end(const struct retry_facts *facts, bool settled);

#endif
