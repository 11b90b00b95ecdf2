/* SPDX-License-Identifier: MIT
 *
 * What the agent does with a connection that is up: one file per mode, behind this table. A mode outlives the connector's
 * connections, of which it has at most one at a time, and knows nothing of reaching a server: the connector does. */
#ifndef AGENT_MODE_H
#define AGENT_MODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <etcp/etcp.h>

#include "base/error.h"

struct config_agent;
struct link;
struct loop;
struct mode;
struct port;
struct setup;

/* What a mode asks of its owner. All may be called inside the functions of struct mode_type; the mode's connection then
 * ends from the loop, and until `down` the mode has nothing more to do with it. */
struct mode_owner {
    /* The work is done (EX_OK), or can't be done (another code of sysexits(3)): end well and exit. */
    void (*finished)(void *user, int exit_code);
    /* This connection is of no more use: end it, and try another after the usual delay. `cause` is borrowed for the call,
     * for the log, escaped. */
    void (*give_up)(void *user, const char *cause);
    /* The same for a reload: it is no failure, and another one is made at once. */
    void (*renew)(void *user, const char *cause);
    /* A connection is wanted: the wait for the next attempt should be short. */
    void (*hurry)(void *user);
    /* Why there was no connection last; "" if there is no reason. Borrowed for the moment. */
    const char *(*cause)(void *user);
};

/* What a mode is at, for status; text and ports are borrowed until the mode changes. */
struct mode_view {
    const char *service;
    uint32_t echoed, count;               /* messages */
    size_t waiting, carried;              /* local connections */
    size_t connections, idle_connections; /* for them, the connector's included */
    const struct port *ports;             /* where they come from; NULL: none */
};

struct mode_type {
    /* A connection is up; borrowed until `down`. `address` is where it leads, as text, borrowed for the call. */
    void (*up)(struct mode *mode, struct link *link, const char *address);
    /* Of the connection, as in struct link_handler. ETCP_EVENT_END does not come. */
    void (*event)(struct mode *mode, const struct etcp_event *event);
    void (*writable)(struct mode *mode);
    /* The connection is gone, and its streams with it; `settled` as in struct client_end. */
    void (*down)(struct mode *mode, bool settled);
    /* Takes new values; may hold `setup`. Returns 0, storing whether they need a new connection, or -errno with an error text,
     * and nothing has changed. */
    int (*reload)(struct mode *mode, struct setup *setup, bool *ret_reconnect, struct error_text *ret_error);
    void (*view)(struct mode *mode, struct mode_view *ret_view);
    /* Begins to end: takes on nothing new and finishes what is under way, or (when called again, `at_once`) cuts it. Returns
     * whether nothing is left; else the owner's `finished` follows. NULL: there is never anything. */
    bool (*stop)(struct mode *mode, bool at_once);
    void (*free)(struct mode *mode);
};

/* The first member of each mode's own struct. */
struct mode {
    const struct mode_type *type;
};

/* Message mode: sends a text some times to an echo service, and prints what comes back. Copies what it needs of `config`;
 * borrows loop, owner and user. Returns 0 and a mode (mode->type->free), or -ENOMEM. */
int mode_message_new(struct loop *loop, const struct config_agent *config, const struct mode_owner *owner, void *user,
                     struct mode **ret_mode);

/* Gives a message mode another owner; borrows it. */
void mode_message_own(struct mode *message, const struct mode_owner *owner, void *user);

/* Tunnel: listens where the forwards of the configuration say, and carries what comes to their services; sends messages beside it
 * if there is a message section too. Holds `setup`; borrows the rest. Returns 0 and a mode, or -errno with an error text. */
int mode_tunnel_new(struct loop *loop, struct setup *setup, const struct mode_owner *owner, void *user,
                    struct mode **ret_mode, struct error_text *ret_error);

/* Has a new tunnel go on with the messages of a message mode, in place of its own, by the values of `setup`. Takes the mode over,
 * connection and all. Returns 0, or -errno with an error text, and the mode is the caller's as before, but for its owner. */
int mode_tunnel_adopt(struct mode *tunnel, struct mode *message, struct setup *setup, struct error_text *ret_error);

#endif
