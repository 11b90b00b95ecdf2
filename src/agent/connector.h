/* SPDX-License-Identifier: MIT
 *
 * Keeps the agent connected: one attempt over all servers, the back-off when it fails, the mode while it lasts, and the
 * lines that the log has about that. */
#ifndef AGENT_CONNECTOR_H
#define AGENT_CONNECTOR_H

#include <stdint.h>

#include "agent/history.h"
#include "agent/mode.h"

struct connector;
struct link;
struct loop;
struct setup;

struct connector_handler {
    /* What the agent is doing, for people ("connected to ..."); borrowed for the call. */
    void (*status)(const char *text, void *user);
    /* The last call, from the loop or inside connector_stop(): the work is done, or it was stopped, or it gave up. The
     * code is the program's to exit with. */
    void (*finished)(int exit_code, void *user);
};

/* What it is at. Everything is borrowed until the next turn of the loop. */
struct connector_view {
    const char *state;  /* "connecting", "connected", "closing", "waiting", "finished" */
    const char *server; /* in use or tried; NULL: none is */
    const char *address;
    struct link *link;      /* NULL without a connection */
    uint64_t up_us;         /* since when there is one */
    uint64_t round_trip_us; /* 0: not known */
    uint64_t due_us;        /* of the next attempt; 0: none is waited for */
    uint32_t failed_attempts, max_attempts;
    const uint8_t *public_key; /* ours */
    const struct history *history;
    struct mode_view mode;
};

void connector_view(const struct connector *connector, struct connector_view *ret_view);

/* Makes a connector, which starts with the first turn of the loop. Takes `setup` on success; borrows the loop, the static
 * `handler` and `user`. Returns 0, or -errno with an error text. */
int connector_new(struct loop *loop, struct setup *setup, const struct connector_handler *handler, void *user,
                  struct connector **ret_connector, struct error_text *ret_error);

/* Takes new settings (on success): a connection that they allow stays, another is replaced at once; a wait for the next attempt ends.
 * Returns 0, or -errno with an error text, and nothing has changed. */
int connector_reload(struct connector *connector, struct setup *setup, struct error_text *ret_error);

/* Lets the mode finish, ends the connection well, and then calls `finished` with 0. A second call waits for nobody. */
void connector_stop(struct connector *connector);

/* Frees a connector that has finished; NULL is fine. Not from inside `finished`. */
void connector_free(struct connector *connector);

#endif
