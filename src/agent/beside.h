/* SPDX-License-Identifier: MIT
 *
 * Messages beside forwards: the message mode as a lodger of the tunnel, on the connector's connection, which the pool may use as
 * well. When the messages want another connection, they get it once this one carries nothing. */
#ifndef ETCP_AGENT_BESIDE_H
#define ETCP_AGENT_BESIDE_H

#include <stdbool.h>

#include <etcp/etcp.h>

#include "agent/mode.h"
#include "base/error.h"

struct config_agent;
struct link;
struct loop;
struct pool;
struct setup;

struct beside {
    struct loop *loop; /* borrowed, all of these */
    struct pool *pool;
    const struct mode_owner *owner; /* of both */
    void *owner_user;
    void (*failed)(void *user, int exit_code); /* messages can't be sent: the agent is to end */
    void *user;

    struct mode *mode; /* NULL: there are no messages */
    bool over;         /* all have been echoed */
    bool connected;    /* it has the connection that is there */
    bool renews;       /* they want another one for a reload */
    char cause[128];   /* why they want another connection; "": they don't */
};

/* Begins to send them, if the configuration has any. Returns 0 or -ENOMEM. */
int beside_start(struct beside *beside, const struct config_agent *config);
void beside_stop(struct beside *beside);

/* As mode_tunnel_adopt(). */
int beside_adopt(struct beside *beside, struct mode *message, struct setup *setup, struct error_text *ret_error);

/* Whether there is something left to send. */
bool beside_is_at_work(const struct beside *beside);

/* As in struct mode_type; `event` is for events that are not the tunnel's. */
void beside_up(struct beside *beside, struct link *link, const char *address);
void beside_event(struct beside *beside, const struct etcp_event *event);
void beside_writable(struct beside *beside);
void beside_down(struct beside *beside, bool settled);
void beside_view(const struct beside *beside, struct mode_view *ret_view);
int beside_reload(struct beside *beside, struct setup *setup, bool *ret_reconnect, struct error_text *ret_error);

/* After a reload that wants another connection: whether it may be had at once. If not, the messages get it when nobody is carried on
 * the one that is there. */
bool beside_reconnects(struct beside *beside);

/* The connector's connection may carry nothing any more. */
void beside_ready(struct beside *beside);

#endif
