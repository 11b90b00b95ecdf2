/* SPDX-License-Identifier: MIT */
#include "server/server.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>
#include <systemd/sd-daemon.h>

#include <etcp/etcp.h>

#include "base/log.h"
#include "base/message_id.h"
#include "net/address.h"
#include "net/loop.h"
#include "server/census.h"
#include "server/descriptors.h"
#include "server/entrance.h"
#include "server/gate.h"
#include "server/loading.h"
#include "server/report.h"
#include "server/snapshot.h"
#include "server/worker.h"

enum {
    STATUS_INTERVAL_S = 5,
};

/* How long systemd is asked to wait beyond drain_timeout: last words, lingering. */
#define STOP_MARGIN_US 15000000u

enum {
    EVENT_TERM,
    EVENT_INT,
    EVENT_HUP,
    EVENT_DRAINED, /* drain_timeout is over */
    EVENT_STATUS,
    EVENT_WATCHDOG,
    EVENTS,
};

enum server_phase {
    SERVER_STARTING,
    SERVER_SERVING,
    SERVER_DRAINING,
    SERVER_CUTTING, /* no more patience: everything is being ended */
};

/* A worker with the letters that the server writes to it, so that writing can't fail. */
struct post {
    struct server *server;
    struct worker worker;
    struct loop_letter drain, cut, abort, quit, ping;
    struct loop_letter emptied;  /* from the worker */
    struct loop_letter reload;   /* brings `next`; one at a time */
    struct loop_letter reloaded; /* from the worker: it has read it */
    struct snapshot *next;
};

struct server {
    const char *path;
    enum server_phase phase;
    struct snapshot *snapshot;
    struct census *census;
    struct gate *gate;
    struct entrance *entrance;
    struct worker *workers[CONFIG_WORKERS_MAX];
    struct report *report;
    struct post *posts;
    size_t count;   /* of workers */
    size_t emptied; /* of these, without connections while draining */
    struct event *events[EVENTS];
    struct loop_letter freed; /* from any worker: a descriptor is free again */
    struct loading *loading;  /* a reload under way */
    size_t unread;            /* workers that do not yet work by the last one's snapshot */
    bool inherits;            /* its listening sockets are systemd's */
    bool reload_again;        /* another one was asked for meanwhile */
    unsigned ping;
    struct census_counts shown; /* in the last STATUS= */
    time_t started;             /* the time of day */
    uint64_t started_us;
    int exit_code;
};

static struct loop *main_loop(const struct server *server)
{
    return server->posts[0].worker.loop;
}

/* ---- Connections arrive ---------------------------------------------------------------------------------------------- */

static void on_arrived(int fd, void *user)
{
    struct server *server = user;

    entrance_take(server->entrance, server->snapshot, fd);
}

static void on_freed(void *arg)
{
    struct server *server = arg;

    gate_retry(server->gate);
}

/* On the worker's thread. */
static void on_gone(void *user)
{
    struct post *post = user;

    if (gate_is_paused(post->server->gate)) {
        loop_post_letter(main_loop(post->server), &post->server->freed);
    }
}

/* ---- Stopping -------------------------------------------------------------------------------------------------------- */

static void on_quit(void *arg)
{
    struct post *post = arg;

    loop_stop(post->worker.loop);
}

static void on_emptied_letter(void *arg)
{
    struct post *post = arg;
    struct server *server = post->server;

    if (++server->emptied == server->count) {
        for (size_t i = 0; i < server->count; i++) {
            loop_post_letter(server->posts[i].worker.loop, &server->posts[i].quit);
        }
    }
}

/* On the worker's thread. */
static void on_emptied(void *user)
{
    struct post *post = user;

    loop_post_letter(main_loop(post->server), &post->emptied);
}

static void on_drain(void *arg)
{
    struct post *post = arg;

    worker_drain(&post->worker);
}

static void on_cut(void *arg)
{
    struct post *post = arg;

    worker_cut(&post->worker, false);
}

static void on_abort(void *arg)
{
    struct post *post = arg;

    worker_drain(&post->worker);
    worker_cut(&post->worker, true);
}

static void cut(struct server *server, bool at_once)
{
    server->phase = SERVER_CUTTING;
    for (size_t i = 0; i < server->count; i++) {
        struct post *post = &server->posts[i];

        loop_post_letter(post->worker.loop, at_once ? &post->abort : &post->cut);
    }
}

static void on_drained(evutil_socket_t fd, short what, void *arg)
{
    struct server *server = arg;

    (void)fd;
    (void)what;
    if (server->phase == SERVER_DRAINING) {
        log_message(LOG_LEVEL_NOTICE, "drain_timeout is over: ending what is left");
        cut(server, false);
    }
}

static void on_stop(evutil_socket_t number, short what, void *arg)
{
    struct server *server = arg;
    const char *name = number == SIGTERM ? "SIGTERM" : "SIGINT";
    uint64_t patience = server->snapshot->config->drain_timeout_us;
    const struct timeval wait = loop_span(patience);
    struct census_counts counts;

    (void)what;
    if (server->phase != SERVER_SERVING) {
        log_message(LOG_LEVEL_NOTICE, "%s again: stopping at once", name);
        cut(server, true);
        return;
    }
    server->phase = SERVER_DRAINING;
    gate_close(server->gate);
    entrance_clear(server->entrance);
    census_count(server->census, &counts);
    log_message(LOG_LEVEL_NOTICE, "%s: stopping, %" PRIu32 " connections to drain", name, counts.connections);
    (void)sd_notifyf(0, "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRIu64, patience + STOP_MARGIN_US);
    for (size_t i = 0; i < server->count; i++) {
        loop_post_letter(server->posts[i].worker.loop, &server->posts[i].drain);
    }
    if (event_add(server->events[EVENT_DRAINED], &wait) != 0) {
        cut(server, false);
    }
}

/* ---- Where it listens --------------------------------------------------------------------------------------------- */

enum { ADDRESSES_TEXT_BYTES = 512 }; /* of a list for the log, which is cut */

/* Appends ", text" to a list of `size` bytes. */
static void add_text(char *list, size_t size, const char *text)
{
    size_t used = strlen(list);

    (void)snprintf(list + used, size - used, "%s%s", used > 0 ? ", " : "", text);
}

static bool is_bound(const struct config_server *config, const char *wanted)
{
    char text[CONFIG_ADDRESS_TEXT_BYTES];

    for (size_t i = 0; i < config->bind_count; i++) {
        config_address_format(&config->bind[i], text);
        if (strcmp(text, wanted) == 0) {
            return true;
        }
    }
    return false;
}

/* Sockets from systemd take the place of `bind`: said aloud where that makes a difference. */
static void log_inherited(const struct server *server)
{
    const struct config_server *config = server->snapshot->config;
    const struct log_field id = {LOG_ID(MESSAGE_SOCKETS_DIFFER)};
    char passed[ADDRESSES_TEXT_BYTES] = "", bound[ADDRESSES_TEXT_BYTES] = "";
    char text[CONFIG_ADDRESS_TEXT_BYTES];
    const struct address *address = NULL;
    bool same = true;
    size_t count = 0;

    for (; (address = gate_address(server->gate, count)) != NULL; count++) {
        address_format(address, text);
        add_text(passed, sizeof(passed), text);
        same = same && is_bound(config, text);
    }
    for (size_t i = 0; i < config->bind_count; i++) {
        config_address_format(&config->bind[i], text);
        add_text(bound, sizeof(bound), text);
    }
    if (same && count == config->bind_count) {
        log_message(LOG_LEVEL_INFO, "%zu sockets were passed in by systemd, as bind has them", count);
    } else {
        log_event(LOG_LEVEL_WARNING, &id, 1, "%zu sockets were passed in by systemd: %s; bind is not used: %s", count,
                  passed, bound);
    }
}

/* Whether both have the same addresses. */
static bool binds_equal(const struct config_server *one, const struct config_server *other)
{
    char text[CONFIG_ADDRESS_TEXT_BYTES];
    bool equal = one->bind_count == other->bind_count;

    for (size_t i = 0; equal && i < one->bind_count; i++) {
        config_address_format(&one->bind[i], text);
        equal = is_bound(other, text);
    }
    return equal;
}

/* ---- Reload ---------------------------------------------------------------------------------------------------------- */

static void start_loading(struct server *server);

static void on_reload_letter(void *arg)
{
    struct post *post = arg;

    worker_reload(&post->worker, post->next);
    snapshot_release(post->next);
    post->next = NULL;
    loop_post_letter(main_loop(post->server), &post->reloaded);
}

static void log_reload_failed(const char *why)
{
    const struct log_field id = {LOG_ID(MESSAGE_RELOAD_REFUSED)};

    log_lines(LOG_LEVEL_ERROR, &id, 1, "reload failed, everything stays as it was: ", why);
}

/* A reload is over, done or failed; another one may begin. */
static void finish_reload(struct server *server)
{
    (void)sd_notify(0, "READY=1");
    if (server->reload_again && server->phase == SERVER_SERVING) {
        server->reload_again = false;
        start_loading(server);
    }
}

static void on_reloaded(void *arg)
{
    struct post *post = arg;
    struct server *server = post->server;

    if (--server->unread == 0) {
        log_message(LOG_LEVEL_NOTICE, "configuration reloaded");
        finish_reload(server);
    }
}

/* Holds the snapshot on success. */
static int apply(struct server *server, struct snapshot *snapshot, struct error_text *ret_error)
{
    int r = report_prepare(server->report, snapshot->config, ret_error);
    bool moved;

    if (r != 0) {
        return r;
    }
    r = gate_set_congestion(server->gate, snapshot->config->congestion_control, ret_error);
    if (r == 0) {
        r = gate_set(server->gate, snapshot->binds, snapshot->bind_count, ret_error);
    }
    if (r != 0) {
        /* What they had before can't fail. */
        (void)gate_set_congestion(server->gate, server->snapshot->config->congestion_control, NULL);
        report_rollback(server->report);
        return r;
    }
    report_commit(server->report);
    for (size_t i = 0; i < server->count; i++) {
        struct post *post = &server->posts[i];

        post->next = snapshot_hold(snapshot);
        loop_post_letter(post->worker.loop, &post->reload);
    }
    server->unread = server->count;
    if (snapshot->config->workers != server->snapshot->config->workers) {
        log_message(LOG_LEVEL_NOTICE, "another number of workers takes effect at the next start");
    }
    log_set_level(snapshot->config->log_level);
    descriptors_share(snapshot->config, server->count);
    moved = !binds_equal(snapshot->config, server->snapshot->config);
    snapshot_release(server->snapshot);
    server->snapshot = snapshot_hold(snapshot);
    if (server->inherits && moved) {
        log_inherited(server);
    }
    return 0;
}

static void on_loaded(int result, struct snapshot *snapshot, struct error_text *error, void *user)
{
    struct server *server = user;

    server->loading = NULL;
    if (server->phase != SERVER_SERVING) {
        return;
    }
    if (result == 0) {
        snapshot_announce(snapshot);
        result = apply(server, snapshot, error);
    }
    if (result != 0) {
        log_reload_failed(error->text);
        finish_reload(server);
    }
}

static void start_loading(struct server *server)
{
    int r = 0;

    (void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, loop_now_us());
    r = loading_start(main_loop(server), server->path, on_loaded, server, &server->loading);
    if (r != 0) {
        log_reload_failed(strerror(-r));
        finish_reload(server);
    }
}

static void on_hup(evutil_socket_t number, short what, void *arg)
{
    struct server *server = arg;

    (void)number;
    (void)what;
    if (server->phase != SERVER_SERVING) {
        return;
    }
    if (server->loading != NULL || server->unread > 0) {
        server->reload_again = true;
    } else {
        start_loading(server);
    }
}

/* ---- systemd --------------------------------------------------------------------------------------------------------- */

static void show_status(struct server *server)
{
    struct census_counts counts;

    census_count(server->census, &counts);
    if (memcmp(&counts, &server->shown, sizeof(counts)) != 0) {
        server->shown = counts;
        (void)sd_notifyf(0, "STATUS=%" PRIu32 " connections, %" PRIu32 " handshakes under way",
                         counts.connections - counts.handshakes, counts.handshakes);
    }
}

static void on_status(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    show_status(arg);
}

static void on_ping(void *arg)
{
    struct post *post = arg;

    atomic_fetch_add(&post->worker.heartbeat, 1);
}

/* The watchdog is fed only when every loop has answered since it was fed last. */
static void on_watchdog(evutil_socket_t fd, short what, void *arg)
{
    struct server *server = arg;

    (void)fd;
    (void)what;
    for (size_t i = 0; i < server->count; i++) {
        if (atomic_load(&server->posts[i].worker.heartbeat) != server->ping) {
            return;
        }
    }
    (void)sd_notify(0, "WATCHDOG=1");
    server->ping++;
    for (size_t i = 0; i < server->count; i++) {
        loop_post_letter(server->posts[i].worker.loop, &server->posts[i].ping);
    }
}

static int fail(const char *what, int r)
{
    log_message(LOG_LEVEL_ERROR, "%s: %s", what, strerror(-r));
    return snapshot_exit_code(r, EX_UNAVAILABLE);
}

/* ---- Status and metrics ------------------------------------------------------------------------------------------------ */

static void on_view(void *user, struct report_view *ret_view)
{
    static const char *const states[] = {
        [SERVER_STARTING] = "starting",
        [SERVER_SERVING] = "serving",
        [SERVER_DRAINING] = "draining",
        [SERVER_CUTTING] = "stopping",
    };
    const struct server *server = user;

    *ret_view = (struct report_view){
        .state = states[server->phase],
        .ready = server->phase == SERVER_SERVING && !gate_is_paused(server->gate),
        .snapshot = server->snapshot,
        .gate = server->gate,
        .started = server->started,
        .lived_us = loop_now_us() - server->started_us,
    };
    census_count(server->census, &ret_view->counts);
    census_total(server->census, &ret_view->totals);
}

static int start_report(struct server *server)
{
    struct error_text error;
    int r = 0;

    server->started = time(NULL);
    server->started_us = loop_now_us();
    r = report_new(server->workers, server->count, on_view, server, &server->report);
    if (r != 0) {
        return fail("can't start", r);
    }
    r = report_prepare(server->report, server->snapshot->config, &error);
    if (r != 0) {
        log_lines(LOG_LEVEL_ERROR, NULL, 0, "", error.text);
        return snapshot_exit_code(r, EX_UNAVAILABLE);
    }
    report_commit(server->report);
    return EX_OK;
}

/* ---- Start and end --------------------------------------------------------------------------------------------------- */

static int add_event(struct server *server, int which, int number, short what, event_callback_fn callback)
{
    server->events[which] = event_new(main_loop(server)->base, number, what, callback, server);
    return server->events[which] != NULL ? 0 : -ENOMEM;
}

static int add_events(struct server *server)
{
    const struct timeval status = {.tv_sec = STATUS_INTERVAL_S};
    uint64_t watchdog_us = 0;
    struct timeval watchdog;

    if (add_event(server, EVENT_TERM, SIGTERM, EV_SIGNAL | EV_PERSIST, on_stop) != 0 ||
        add_event(server, EVENT_INT, SIGINT, EV_SIGNAL | EV_PERSIST, on_stop) != 0 ||
        add_event(server, EVENT_HUP, SIGHUP, EV_SIGNAL | EV_PERSIST, on_hup) != 0 ||
        add_event(server, EVENT_DRAINED, -1, 0, on_drained) != 0 ||
        add_event(server, EVENT_STATUS, -1, EV_PERSIST, on_status) != 0 ||
        add_event(server, EVENT_WATCHDOG, -1, EV_PERSIST, on_watchdog) != 0) {
        return -ENOMEM;
    }
    if (event_add(server->events[EVENT_TERM], NULL) != 0 || event_add(server->events[EVENT_INT], NULL) != 0 ||
        event_add(server->events[EVENT_HUP], NULL) != 0) {
        return -ENOMEM;
    }
    if (getenv("NOTIFY_SOCKET") != NULL && event_add(server->events[EVENT_STATUS], &status) != 0) {
        return -ENOMEM;
    }
    if (sd_watchdog_enabled(0, &watchdog_us) > 0) {
        /* A feeding may be missed for one round of pings, so there are several in the time. */
        watchdog = loop_span(watchdog_us / 4);
        return event_add(server->events[EVENT_WATCHDOG], &watchdog) == 0 ? 0 : -ENOMEM;
    }
    return 0;
}

static size_t worker_count(const struct config_server *config)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    if (config->workers > 0) {
        return config->workers;
    }
    return cores < 1 ? 1 : cores > CONFIG_WORKERS_MAX ? CONFIG_WORKERS_MAX : (size_t)cores;
}

static int make_workers(struct server *server)
{
    static const struct worker_handler handler = {.gone = on_gone, .emptied = on_emptied};
    size_t count = worker_count(server->snapshot->config);
    int r = 0;

    server->posts = calloc(count, sizeof(*server->posts));
    if (server->posts == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; r == 0 && i < count; i++) {
        struct post *post = &server->posts[i];
        struct loop *loop = NULL;

        post->server = server;
        post->drain = (struct loop_letter){.fn = on_drain, .arg = post};
        post->cut = (struct loop_letter){.fn = on_cut, .arg = post};
        post->abort = (struct loop_letter){.fn = on_abort, .arg = post};
        post->quit = (struct loop_letter){.fn = on_quit, .arg = post};
        post->ping = (struct loop_letter){.fn = on_ping, .arg = post};
        post->emptied = (struct loop_letter){.fn = on_emptied_letter, .arg = post};
        post->reload = (struct loop_letter){.fn = on_reload_letter, .arg = post};
        post->reloaded = (struct loop_letter){.fn = on_reloaded, .arg = post};
        r = loop_new(&loop);
        if (r != 0) {
            break;
        }
        server->workers[server->count++] = &post->worker;
        r = worker_init(&post->worker, loop, server->census, server->snapshot, &handler, post);
    }
    return r;
}

static int start_workers(struct server *server)
{
    int r = 0;

    for (size_t i = 1; r == 0 && i < server->count; i++) {
        r = worker_start(&server->posts[i].worker);
    }
    return r;
}

/* Ends the threads of a server that did not come to serve; one that did has posted `quit` already. */
static void join_workers(struct server *server)
{
    for (size_t i = 1; i < server->count; i++) {
        struct post *post = &server->posts[i];

        if (post->worker.thread_started) {
            if (server->phase == SERVER_STARTING) {
                loop_post_letter(post->worker.loop, &post->quit);
            }
            (void)pthread_join(post->worker.thread, NULL);
        }
    }
}

static void clean_up(struct server *server)
{
    loading_abandon(server->loading);
    report_free(server->report);
    gate_free(server->gate);
    entrance_free(server->entrance);
    for (int i = 0; i < EVENTS; i++) {
        if (server->events[i] != NULL) {
            event_free(server->events[i]);
        }
    }
    for (size_t i = 0; i < server->count; i++) {
        struct loop *loop = server->posts[i].worker.loop;

        snapshot_release(server->posts[i].next);
        worker_done(&server->posts[i].worker);
        loop_free(loop);
    }
    free(server->posts);
    census_free(server->census);
    snapshot_release(server->snapshot);
}

static int listen_somewhere(struct server *server)
{
    const struct snapshot *snapshot = server->snapshot;
    struct error_text error;
    size_t inherited = 0;
    int r = gate_new(main_loop(server), on_arrived, server, &server->gate);

    if (r != 0) {
        return fail("can't listen", r);
    }
    r = gate_adopt(server->gate, &inherited, &error);
    server->inherits = r == 0 && inherited > 0;
    if (server->inherits) {
        log_inherited(server);
    } else if (r == 0) {
        r = gate_set(server->gate, snapshot->binds, snapshot->bind_count, &error);
    }
    if (r == 0) {
        r = gate_set_congestion(server->gate, snapshot->config->congestion_control, &error);
    }
    if (r != 0) {
        log_lines(LOG_LEVEL_ERROR, NULL, 0, "", error.text);
        return snapshot_exit_code(r, EX_UNAVAILABLE);
    }
    return EX_OK;
}

static int start(struct server *server)
{
    struct error_text error;
    bool inherits = sd_listen_fds(0) > 0;
    int exit_code = EX_OK;
    int r = snapshot_load(server->path, !inherits, &server->snapshot, &exit_code, &error);

    if (r != 0) {
        log_last_words();
        log_lines(LOG_LEVEL_ERROR, NULL, 0, "", error.text);
        return exit_code;
    }
    log_set_level(server->snapshot->config->log_level);
    log_message(LOG_LEVEL_INFO, "etcp-server %s, configuration %s", etcp_version(),
                config_source(server->snapshot->config->values));
    snapshot_announce(server->snapshot);
    r = census_new(&server->census);
    if (r == 0) {
        r = make_workers(server);
    }
    if (r == 0) {
        r = entrance_new(server->census, server->workers, server->count, &server->entrance);
    }
    if (r == 0) {
        descriptors_share(server->snapshot->config, server->count);
        r = add_events(server);
    }
    if (r != 0) {
        return fail("can't start", r);
    }
    /* Last: who reads that it listens finds everything else in place. */
    exit_code = start_report(server);
    if (exit_code == EX_OK) {
        exit_code = listen_somewhere(server);
    }
    if (exit_code != EX_OK) {
        return exit_code;
    }
    r = start_workers(server);
    return r == 0 ? EX_OK : fail("can't start", r);
}

int server_run(const char *path)
{
    struct server server = {.path = path};
    sigset_t signals;
    int exit_code = EX_OK;

    server.freed = (struct loop_letter){.fn = on_freed, .arg = &server};
    exit_code = start(&server);
    if (exit_code == EX_OK) {
        int r = 0;

        server.phase = SERVER_SERVING;
        (void)sd_notify(0, "READY=1\nSTATUS=0 connections, 0 handshakes under way");
        r = loop_run(main_loop(&server));
        if (r != 0) {
            /* Connections can't be ended without the loop. */
            exit(fail("event loop", r));
        }
    }
    /* One more signal would now meet no handler and kill what is ending well. */
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGINT);
    (void)sigaddset(&signals, SIGHUP);
    (void)pthread_sigmask(SIG_BLOCK, &signals, NULL);
    join_workers(&server);
    if (exit_code == EX_OK) {
        log_message(LOG_LEVEL_NOTICE, "stopped");
    }
    clean_up(&server);
    return exit_code;
}
