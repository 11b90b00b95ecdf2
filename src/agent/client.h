/* SPDX-License-Identifier: MIT
 *
 * One connection to a server, from its name to its end: resolves, connects to one address after the other, one server
 * after the other, does the handshake, decides whether the server is trusted, and then hands the link to its owner: the
 * connector of the agent, or a command of the tool. Knows no delays: whoever wants to try again makes another client.
 *
 * A client logs what happens on the way ("connecting", and why an address or server could not be used) and returns
 * what ends it. */
#ifndef AGENT_CLIENT_H
#define AGENT_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <etcp/etcp.h>

#include "agent/trust.h"
#include "config/agent.h"

struct client;
struct link;
struct loop;

enum {
    CLIENT_HANDSHAKE_TIMEOUT_US = 10 * 1000 * 1000, /* section 2: from connect to the end of the handshake, in all */
    CLIENT_CAUSE_BYTES = 512,
};

struct client_options {
    struct loop *loop;
    const struct config_address *servers; /* tried in order */
    size_t server_count;
    const struct etcp_identity *identity;
    bool is_passing;         /* the identity was made for this client: nobody is asked to authorise it */
    enum config_suite suite; /* auto: choose, and follow a Refusal's hint as section 2 allows */
    const struct trust *trust;
    uint64_t handshake_timeout_us; /* 0: CLIENT_HANDSHAKE_TIMEOUT_US */
    uint64_t heartbeat_interval_us;
    uint64_t dead_peer_timeout_us;
    const char *congestion_control; /* NULL or "": the system's */
    bool is_repeated;               /* the same was tried a moment ago: what comes of it is for the debug log only */
    bool is_further;                /* there is a connection already: that another is made is for the debug log only */
};

/* How an attempt, or the connection that came out of it, ended. */
struct client_end {
    bool was_up;  /* `up` had been called */
    bool well;    /* ended by a Goodbye `ok` or `shutting-down`, ours or the peer's */
    bool settled; /* what the server has said nothing about, it has not taken: it had announced its end, and ended well
                          when it had no stream any more; or it has not let us in */
    bool refused; /* never up, and nothing but Refusals were met */
    bool unauthorized; /* the (last) server does not know our key */
    bool untrusted;    /* its key was refused */
    bool denied;       /* one or the other was so with any server of the attempt */
    const char
        *cause; /* for people, escaped: why; of several servers the last one's. Never NULL; borrowed for the call */
    uint64_t lived_us; /* since `up` */
    uint64_t received_bytes, sent_bytes;
};

struct client_handler {
    /* An address, or a server's name, was of no use; `cause` is borrowed for the call, in which nothing of the client may be called but
     * what tells about it. May be NULL. */
    void (*failed)(struct client *client, const char *cause, void *user);
    /* The server is trusted and hears now who we are, but has not said yet whether it lets us in. Streams may be opened and sent on
     * all the same (section 2), which saves a round trip. Returns whether the owner does: then there is no other try when this one
     * comes to nothing, `closed` follows. Not for the classic suite. May be NULL. */
    bool (*introduced)(struct client *client, struct link *link, void *user);
    /* The connection is up, the server has let us in: streams may be opened. */
    void (*up)(struct client *client, struct link *link, void *user);
    /* An event after `up`, but ETCP_EVENT_END, which `closed` tells. */
    void (*event)(struct client *client, struct link *link, const struct etcp_event *event, void *user);
    /* The server has said Goodbye after `up`, or after `introduced` was of use: nothing can be opened any more, and `closed` follows.
     * May be NULL. */
    void (*dismissed)(struct client *client, void *user);
    /* As in struct link_handler, after `up`. */
    void (*writable)(struct client *client, struct link *link, void *user);
    /* The last call, from the loop, never from inside another call on the client; it is freed on return. The link is gone
     * already. */
    void (*closed)(struct client *client, const struct client_end *end, void *user);
};

/* Starts an attempt. Borrows the loop, the identity, the trust, the servers with their texts, the congestion control, the static `handler` and `user`
 * until `closed`. Returns 0 and a client, which frees itself after `closed`, or -errno. */
int client_new(const struct client_options *options, const struct client_handler *handler, void *user,
               struct client **ret_client);

/* Ends the attempt or the connection, with Goodbye where it is up; `closed` follows from the loop. Safe at any time, also
 * inside an event, and twice. */
void client_goodbye(struct client *client, enum etcp_code code, const char *reason);

/* Ends it at once, without a word, also after client_goodbye(); `closed` follows from the loop, with a copy of `cause`. */
void client_abort(struct client *client, const char *cause);

/* The server in use or tried last, and the same as text ("host:port"); the address of it, "" before there is one. */
const struct config_address *client_server(const struct client *client);
const char *client_server_text(const struct client *client);
const char *client_address_text(const struct client *client);

/* Of the last heartbeat, else what the kernel says; 0 if neither is known. */
uint64_t client_round_trip_us(const struct client *client);

/* Once up: how long connecting and the handshake took, from the first packet to the first record. */
uint64_t client_connect_us(const struct client *client);
uint64_t client_handshake_us(const struct client *client);

#endif
