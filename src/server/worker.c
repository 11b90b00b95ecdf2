/* SPDX-License-Identifier: MIT */
#include "server/worker.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/random.h>

#include <event2/event.h>

#include "base/log.h"
#include "net/dial.h"
#include "net/splice.h"
#include "server/session.h"

/* How often idle connections are looked for: a part of the timeout, within bounds. */
enum { SWEEP_PART = 4 };
#define SWEEP_MIN_US 50000u
#define SWEEP_MAX_US 5000000u

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
    struct worker *worker = arg;
    uint64_t now = loop_now_us();
    uint64_t limit = worker->snapshot->config->limits.idle_timeout_us;

    (void)fd;
    (void)what;
    for (struct session *session = LIST_FIRST(&worker->sessions); session != NULL; session = session_next(session)) {
        session_end_if_idle(session, now, limit);
    }
}

static int arm_sweep(struct worker *worker)
{
    uint64_t every = worker->snapshot->config->limits.idle_timeout_us / SWEEP_PART;
    struct timeval interval;

    if (worker->sweep != NULL) {
        event_free(worker->sweep);
        worker->sweep = NULL;
    }
    if (worker->snapshot->config->limits.idle_timeout_us == 0) {
        return 0;
    }
    every = every < SWEEP_MIN_US ? SWEEP_MIN_US : every > SWEEP_MAX_US ? SWEEP_MAX_US : every;
    interval = loop_span(every);
    worker->sweep = event_new(worker->loop->base, -1, EV_PERSIST, on_sweep, worker);
    return worker->sweep != NULL && event_add(worker->sweep, &interval) == 0 ? 0 : -ENOMEM;
}

static int init_host(struct service_host *host, struct loop *loop)
{
    uint64_t random = 0;

    if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
        return -EIO;
    }
    (void)snprintf(host->process, sizeof(host->process), "%016" PRIx64, random);
    host->loop = loop;
    return dialer_new(loop, &host->dialer);
}

int worker_init(struct worker *worker, struct loop *loop, struct census *census, struct snapshot *snapshot,
                const struct worker_handler *handler, void *user)
{
    int r = 0;

    *worker = (struct worker){.loop = loop, .census = census, .handler = handler, .user = user};
    worker->snapshot = snapshot_hold(snapshot);
    loop_set_busy_poll(loop, worker->snapshot->config->busy_poll_us);
    r = init_host(&worker->host, loop);
    return r != 0 ? r : arm_sweep(worker);
}

void worker_done(struct worker *worker)
{
    if (worker->sweep != NULL) {
        event_free(worker->sweep);
        worker->sweep = NULL;
    }
    if (worker->loop != NULL) {
        splice_free_orphans(worker->loop);
    }
    dialer_free(worker->host.dialer);
    worker->host.dialer = NULL;
    tally_prune(&worker->services, NULL);
    snapshot_release(worker->snapshot);
    worker->snapshot = NULL;
}

static void *thread_main(void *arg)
{
    struct worker *worker = arg;

    if (loop_run(worker->loop) != 0) {
        log_message(LOG_LEVEL_ERROR, "an event loop has failed");
        abort(); /* its connections would hang for ever; the supervisor starts the server anew */
    }
    return NULL;
}

int worker_start(struct worker *worker)
{
    sigset_t all, before;
    int r = 0;

    /* Signals are for the main thread. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&worker->thread, NULL, thread_main, worker);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    worker->thread_started = r == 0;
    return -r;
}

void worker_take(void *arg)
{
    static struct log_limit limit = LOG_LIMIT(5, 10000000);
    struct newcomer *newcomer = arg;
    struct worker *worker = newcomer->worker;
    int r = 0;

    if (worker->phase != WORKER_SERVING) {
        (void)close(newcomer->fd);
        census_leave(worker->census, &newcomer->key, newcomer->verdict, false);
        atomic_fetch_sub(&worker->load, 1);
    } else {
        r = session_start(worker, newcomer);
        if (r != 0) {
            log_limited(&limit, loop_now_us(), LOG_LEVEL_ERROR, NULL, 0, "connection dropped: peer=%s reason=\"%s\"",
                        newcomer->peer, strerror(-r));
        }
    }
    free(newcomer);
}

void worker_reload(struct worker *worker, struct snapshot *snapshot)
{
    struct snapshot *old = worker->snapshot;

    worker->snapshot = snapshot_hold(snapshot);
    for (struct session *session = LIST_FIRST(&worker->sessions); session != NULL; session = session_next(session)) {
        session_reload(session, old);
    }
    snapshot_release(old);
    loop_set_busy_poll(worker->loop, worker->snapshot->config->busy_poll_us);
    tally_prune(&worker->services, worker->snapshot->config);
    if (arm_sweep(worker) != 0) {
        log_message(LOG_LEVEL_ERROR, "idle_timeout has no effect: %s", strerror(ENOMEM));
    }
}

static void check_empty(struct worker *worker)
{
    if (worker->phase == WORKER_DRAINING && LIST_EMPTY(&worker->sessions)) {
        worker->phase = WORKER_EMPTY;
        worker->handler->emptied(worker->user);
    }
}

void worker_drain(struct worker *worker)
{
    if (worker->phase != WORKER_SERVING) {
        return;
    }
    worker->phase = WORKER_DRAINING;
    for (struct session *session = LIST_FIRST(&worker->sessions); session != NULL; session = session_next(session)) {
        session_drain(session);
    }
    check_empty(worker);
}

void worker_cut(struct worker *worker, bool at_once)
{
    for (struct session *session = LIST_FIRST(&worker->sessions); session != NULL; session = session_next(session)) {
        session_end(session, ETCP_CODE_SHUTTING_DOWN, "shutting down");
        if (at_once) {
            session_abort(session);
        }
    }
}

void worker_gone(struct worker *worker)
{
    atomic_fetch_sub(&worker->load, 1);
    worker->handler->gone(worker->user);
    check_empty(worker);
}
