/* SPDX-License-Identifier: MIT
 *
 * The places where the agent listens for local connections, one for each forward. What becomes of a connection is the owner's
 * business. */
#ifndef AGENT_PORT_H
#define AGENT_PORT_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/history.h"
#include "base/error.h"
#include "net/address.h"

struct config_agent;
struct event;
struct address;
struct listener;
struct loop;

/* A forward: where it listens, and for what. */
struct port {
    struct ports *ports;
    struct port *next;
    struct listener *listener; /* NULL: no longer configured, there until its last connection has ended */
    char *name, *service;
    struct address wanted; /* as configured; a socket from systemd may be another */
    uint64_t wait_us;
    uint32_t max_connections;
    uint64_t keepalive_us, user_timeout_us;
    uint32_t connections, carried; /* the latter of the former */
    uint64_t accepted, refused; /* since it listens; refused: reset before they were carried, or by the server's word */
    struct history_failure last_refusal;
    struct event *pause; /* runs while nothing can be accepted */
    struct port *renews; /* a new one: the one that listens already, whose values these are */
    bool stays;          /* is configured still */
};

struct ports {
    struct loop *loop;
    /* A local connection from an address; the socket is the callee's, which counts with port_enter(). */
    void (*arrived)(struct port *port, int fd, const struct address *from, void *user);
    void *user;
    struct port *first;
    struct listener *passed; /* sockets from systemd that no forward uses now */
};

/* Makes the first ports: as ports_make(), with the sockets that systemd passed to this process, each of which takes the place of a
 * forward's `listen`: of the forward that it is named for, else of the one that is to listen on its address. One that fits none is
 * an error. */
int ports_start(struct ports *ports, const struct config_agent *config, struct port **ret_new,
                struct error_text *ret_error);

/* Closes all sockets. No port may have connections. */
void ports_free(struct ports *ports);

/* Makes ports for all forwards of a configuration, every one of them or none: those that are not there already listen. A socket of
 * systemd's goes on in the place of its forward's `listen`. Returns 0, or
 * -errno with an error text. */
int ports_make(struct ports *ports, const struct config_agent *config, struct port **ret_new,
               struct error_text *ret_error);

/* Frees what ports_make() has made. */
void ports_drop(struct port *new_ports);

/* Puts them in the place of those that are there. NULL: there are none any more. One that is gone stays until its last
 * connection has ended; a socket of systemd's is kept for a forward that may come back. */
void ports_take(struct ports *ports, struct port *new_ports);

/* The same after a reload: logs which sockets of systemd's are not used any more. */
void ports_reload(struct ports *ports, struct port *new_ports);

/* A connection counts from the one to the other, in which the port may go. */
void port_enter(struct port *port);
void port_leave(struct port *port);

#endif
