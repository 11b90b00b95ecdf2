/* SPDX-License-Identifier: MIT
 *
 * One peer: decides whether it may come in, hands its streams to services, and logs its coming and going. */
#ifndef SERVER_SESSION_H
#define SERVER_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "server/snapshot.h"
#include "server/worker.h"

struct json;
struct session;

/* Makes a session of a newcomer, whose socket and place in the census it takes in any case; borrows the newcomer for the
 * call. It adds itself to the worker and frees itself when it ends. Returns 0 or -errno. */
int session_start(struct worker *worker, const struct newcomer *newcomer);

/* The worker works by another snapshot (`old` is still there): ends what is no longer allowed. */
void session_reload(struct session *session, const struct snapshot *old);

/* Begins to shut down: streams and handshakes under way are finished. */
void session_drain(struct session *session);

/* Ends it with a Goodbye, or at once. `why` is static and goes to the log. */
void session_end(struct session *session, enum etcp_code code, const char *why);
void session_abort(struct session *session);

/* Ends it if it has no stream and nothing has happened since `limit_us` before `now_us`. */
void session_end_if_idle(struct session *session, uint64_t now_us, uint64_t limit_us);

/* Brings the worker's tally up to date, and describes an authenticated session (`json` not NULL). Returns whether it is one. */
bool session_report(struct session *session, uint64_t now_us, struct json *json);

/* The worker's next session; valid while nothing returns to the loop. */
struct session *session_next(const struct session *session);

#endif
