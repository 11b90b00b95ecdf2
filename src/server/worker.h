/* SPDX-License-Identifier: MIT
 *
 * One event loop with its connections. The first worker's loop is the main one; each other has a thread of its own. Everything
 * here is for the worker's own thread, unless it says otherwise. */
#ifndef SERVER_WORKER_H
#define SERVER_WORKER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <sys/queue.h>

#include "net/address.h"
#include "net/loop.h"
#include "server/census.h"
#include "server/service.h"
#include "server/snapshot.h"
#include "server/tally.h"

struct event;
struct session;

enum worker_phase {
    WORKER_SERVING,
    WORKER_DRAINING, /* no new connections; open streams are finished */
    WORKER_EMPTY,    /* and none is left: `emptied` has been called */
};

/* What the server wants to be told; called on the worker's thread. */
struct worker_handler {
    void (*gone)(void *user);    /* a connection has gone, its descriptor is closed */
    void (*emptied)(void *user); /* the last one has gone while draining */
};

struct worker {
    struct loop *loop;
    struct census *census;
    struct snapshot *snapshot; /* a reference */
    const struct worker_handler *handler;
    void *user;
    LIST_HEAD(session_list, session) sessions;
    struct session *cursor; /* of a report under way: the session that it visits next */
    struct service_host host;
    struct tally tally;
    struct tally_service *services;
    size_t unlisted; /* bytes queued for agents that nobody has listed; at most SERVICE_UNLISTED_MAX */
    enum worker_phase phase;
    struct event *sweep;   /* looks for idle connections; NULL without idle_timeout */
    atomic_uint load;      /* connections, those on their way to it included; read by the main thread */
    atomic_uint heartbeat; /* the last ping that was answered; read by the main thread */
    pthread_t thread;
    bool thread_started;
};

/* A connection that was accepted and has not reached its worker. */
struct newcomer {
    struct worker *worker;
    int fd;
    bool quiet;                  /* a balancer that looks whether we are there: no line when that is all */
    uint64_t accepted_us;        /* since when its handshake's time runs */
    enum census_verdict verdict; /* counted already: CENSUS_WELCOME or CENSUS_REFUSE */
    struct address_key key;
    char peer[ADDRESS_TEXT_BYTES];
};

/* Fills in a worker on a loop, which it borrows; takes a reference to the snapshot, and borrows the rest. Returns 0 or -errno. */
int worker_init(struct worker *worker, struct loop *loop, struct census *census, struct snapshot *snapshot,
                const struct worker_handler *handler, void *user);

/* Its connections must be gone and its thread joined. */
void worker_done(struct worker *worker);

/* Starts the thread that turns the worker's loop; from the main thread. Returns 0 or -errno. */
int worker_start(struct worker *worker);

/* Takes the newcomer (heap) in: its socket and its place in the census. From any thread when posted as a letter. */
void worker_take(void *newcomer);

/* Works by another snapshot from now on, a reference to which it takes: connections that are no longer allowed are ended. */
void worker_reload(struct worker *worker, struct snapshot *snapshot);

/* Begins to shut down: no new connections, the open ones finish their streams. */
void worker_drain(struct worker *worker);

/* Ends all connections: with Goodbye, or at once. */
void worker_cut(struct worker *worker, bool at_once);

/* For sessions: one has gone. */
void worker_gone(struct worker *worker);

#endif
