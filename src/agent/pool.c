/* SPDX-License-Identifier: MIT */
#include "agent/pool.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/queue.h>

#include <event2/event.h>

#include "agent/client.h"
#include "agent/setup.h"
#include "base/log.h"
#include "net/address.h"
#include "net/link.h"
#include "net/loop.h"

enum {
    CONNECTING_MAX = 16, /* at a time, so that a server's limits on handshakes are not met */
    SHARE_FROM = 8,      /* with so many carriers, quiet ones are shared before more are made */
    SHARE_STREAMS = 64,  /* of a quiet one, far below what a server allows */
};

/* A carrier is quiet while it moves less than this in large records, as seen over at least SAMPLE_US. */
#define QUIET_KIB_PER_S 256u
#define SAMPLE_US       100000u

/* After a carrier that could not be made, or that was sent away as soon as it was there. */
#define HOLD_US 1000000u

/* Surplus carriers stay so much longer, or a quarter of idle_close, so that those which fell idle at about the same time go together. */
#define TOGETHER_US 1000000u

/* After a connection that was lost before it was up, though streams were on it already. */
#define WARY_US 60000000u

/* How long the server's word counts that there are too many streams in a connection; with none, it is still at work on what has
 * ended here. */
#define FULL_US       5000000u
#define FULL_EMPTY_US 1000000u

struct carrier {
    struct pool *pool;
    TAILQ_ENTRY(carrier) place; /* in one list */
    struct client *client;      /* NULL: the connector's */
    struct setup *setup;        /* that the client was made with */
    struct link *link;          /* NULL: not up, and carries no streams */
    void *user;
    size_t streams;
    uint64_t up_us, idle_since_us;
    uint64_t sampled_us, sampled_bytes; /* how much it had moved in large records, and when */
    bool is_up;                         /* the server has let us in */
    bool early;                         /* it is not, and carries streams */
    bool listed_idle;                   /* which list it is in */
    bool draining;                      /* takes no more streams */
    bool reserved;                      /* the main one: has other work */
    bool ending;                        /* we have said goodbye */
    bool dismissed;                     /* or the server has */
    bool brief;                         /* and did so as soon as it was there */
    bool busy;                          /* not quiet when it was looked at last */
    bool announced;                     /* the server has said that it shuts down */
    size_t full_at;                     /* more streams were too many, as it seemed then */
    uint64_t full_until_us;
};

TAILQ_HEAD(carrier_list, carrier);

/* Idle carriers, the one that was used last first; and all others. */
struct pool {
    struct loop *loop;
    struct setup *setup;
    const struct pool_handler *handler;
    void *user;
    struct carrier main;
    struct carrier_list idle, others;
    size_t idle_count, count, connecting; /* count: all but the main one; connecting: of these, not up */
    size_t early;                         /* of those that connect, which carry streams already */
    size_t leaving;                       /* of these, draining or ending */
    size_t parting;                       /* and not up */
    size_t serving;                       /* of these, up and not leaving */
    size_t waiting;
    struct event *timer; /* surplus carriers, and the end of the hold */
    uint64_t timer_due_us;
    uint64_t hold_until_us;
    uint64_t full_until_us;           /* until then a carrier may be full */
    char host[ADDRESS_TEXT_BYTES];    /* where the server is that has let us in last; "": none has, with this setup */
    uint8_t host_key[ETCP_KEY_BYTES]; /* its key, which others may have as well */
    struct carrier *fresh;            /* introduced in this moment: takes a stream */
    uint64_t wary_until_us;           /* until then nothing is sent to a server that has not let us in */
    bool stopping;
};

static const struct config_agent *config_of(const struct pool *pool)
{
    return pool->setup->config;
}

bool carrier_is_up(const struct carrier *carrier)
{
    return carrier->is_up;
}

struct link *carrier_link(const struct carrier *carrier)
{
    return carrier->link;
}

void **carrier_user(struct carrier *carrier)
{
    return &carrier->user;
}

static bool is_leaving(const struct carrier *carrier)
{
    return carrier->draining || carrier->ending || carrier->dismissed;
}

/* ---- Lists ----------------------------------------------------------------------------------------------------------- */

static void list_remove(struct carrier *carrier)
{
    struct pool *pool = carrier->pool;

    TAILQ_REMOVE(carrier->listed_idle ? &pool->idle : &pool->others, carrier, place);
    pool->idle_count -= carrier->listed_idle;
}

static void list_add(struct carrier *carrier, bool idle)
{
    struct pool *pool = carrier->pool;

    carrier->listed_idle = idle;
    TAILQ_INSERT_HEAD(idle ? &pool->idle : &pool->others, carrier, place);
    pool->idle_count += idle;
}

/* Moves it to the list where it belongs. */
static void list_again(struct carrier *carrier)
{
    bool idle = carrier->is_up && carrier->streams == 0 && !is_leaving(carrier) && !carrier->reserved;

    if (idle != carrier->listed_idle) {
        list_remove(carrier);
        list_add(carrier, idle);
        carrier->idle_since_us = loop_now_us();
    }
}

/* ---- Carriers of its own --------------------------------------------------------------------------------------------- */

static void set_early(struct carrier *carrier, bool early)
{
    carrier->pool->early += early;
    carrier->pool->early -= carrier->early;
    carrier->early = early;
}

/* It takes no more streams; one of the flags becomes true. */
static void leave(struct carrier *carrier, bool *flag)
{
    if (carrier->client != NULL && !is_leaving(carrier)) {
        carrier->pool->leaving++;
        carrier->pool->serving -= carrier->is_up;
        carrier->pool->parting += !carrier->is_up;
        set_early(carrier, false);
    }
    *flag = true;
    list_again(carrier);
}

static void hold(struct pool *pool)
{
    pool->hold_until_us = loop_now_us() + HOLD_US;
}

/* Whether it was sent away as soon as it was there: the next one would be, too. */
static bool is_brief(const struct carrier *carrier)
{
    return !carrier->is_up || loop_now_us() - carrier->up_us < HOLD_US;
}

static void end_carrier(struct carrier *carrier, const char *reason)
{
    if (carrier->client != NULL && !carrier->ending && !carrier->dismissed) {
        leave(carrier, &carrier->ending);
        client_goodbye(carrier->client, ETCP_CODE_OK, reason);
    }
}

static void remember_host(struct pool *pool, struct link *link, const char *address)
{
    const uint8_t *key = etcp_conn_peer_key(link_conn(link));

    pool->host[0] = '\0';
    if (key != NULL) {
        memcpy(pool->host_key, key, sizeof(pool->host_key));
        (void)snprintf(pool->host, sizeof(pool->host), "%s", address);
    }
}

static bool is_host(const struct pool *pool, const struct client *client, struct link *link)
{
    return strcmp(pool->host, client_address_text(client)) == 0 &&
           etcp_key_equal(pool->host_key, etcp_conn_peer_key(link_conn(link)));
}

/* What waits need not wait for the answer of a server that has let us in before. For that of others it does: they may send us away,
 * and then the next one is tried. */
static bool on_introduced(struct client *client, struct link *link, void *user)
{
    struct carrier *carrier = user;
    struct pool *pool = carrier->pool;
    bool taken;

    if (is_leaving(carrier) || loop_now_us() < pool->wary_until_us || !is_host(pool, client, link)) {
        return false;
    }
    carrier->link = link;
    carrier->sampled_us = loop_now_us();
    pool->fresh = carrier;
    pool->handler->ready(pool->user);
    taken = pool->fresh == NULL;
    pool->fresh = NULL;
    carrier->link = taken ? link : NULL;
    return taken;
}

static void on_up(struct client *client, struct link *link, void *user)
{
    struct carrier *carrier = user;
    struct pool *pool = carrier->pool;
    const bool was_used = carrier->link != NULL;

    set_early(carrier, false);
    carrier->link = link;
    carrier->is_up = true;
    carrier->up_us = carrier->sampled_us = loop_now_us();
    carrier->sampled_bytes = link_bulk_bytes(link);
    pool->connecting--;
    remember_host(pool, link, client_address_text(client));
    pool->serving += !is_leaving(carrier);
    pool->parting -= is_leaving(carrier);
    list_again(carrier);
    log_message(LOG_LEVEL_DEBUG, "one more connection to %s: %zu", client_server_text(client), pool->count + 1);
    if (was_used) {
        pool->handler->up(carrier, pool->user);
    }
    pool->handler->ready(pool->user);
}

/* The server says that it shuts down: the carrier takes no more, and goes if it has nothing to finish. A server that says so to
 * each newcomer is not asked for another one at once. */
static void announce(struct carrier *carrier)
{
    struct pool *pool = carrier->pool;

    carrier->announced = true;
    if (carrier->client != NULL && is_brief(carrier)) {
        hold(pool);
    }
    if (carrier->streams == 0) {
        end_carrier(carrier, NULL);
    }
    pool_drain(carrier);
    pool->handler->ready(pool->user);
}

static void carrier_event(struct carrier *carrier, const struct etcp_event *event)
{
    struct pool *pool = carrier->pool;

    if (event->type == ETCP_EVENT_DRAIN) {
        announce(carrier);
    } else if (event->type == ETCP_EVENT_OPEN) {
        etcp_stream_fail(event->stream, ETCP_CODE_NO_SUCH_SERVICE, "this agent serves nothing");
    } else if (event->stream != NULL && etcp_stream_user(event->stream) != NULL) {
        pool->handler->event(event, pool->user);
    }
}

static void on_event(struct client *client, struct link *link, const struct etcp_event *event, void *user)
{
    (void)client;
    (void)link;
    carrier_event(user, event);
}

static void on_dismissed(struct client *client, void *user)
{
    struct carrier *carrier = user;

    (void)client;
    leave(carrier, &carrier->dismissed);
    carrier->brief = is_brief(carrier);
    if (carrier->brief) {
        hold(carrier->pool);
    }
    carrier->pool->handler->ready(carrier->pool->user);
}

/* Its streams are gone; returns how many will not be tried again. */
static size_t lose(struct carrier *carrier, bool settled)
{
    struct pool *pool = carrier->pool;
    size_t ended = 0;

    if (carrier->link != NULL) {
        carrier->link = NULL;
        ended = pool->handler->lost(carrier, settled, pool->user);
        carrier->is_up = false;
        carrier->streams = 0;
    }
    return ended;
}

static void on_closed(struct client *client, const struct client_end *end, void *user)
{
    struct carrier *carrier = user;
    struct pool *pool = carrier->pool;
    size_t ended = 0;

    if (is_leaving(carrier)) {
        pool->leaving--;
        pool->parting -= !carrier->is_up;
    } else if (carrier->is_up) {
        pool->serving--;
    }
    if (!carrier->is_up) {
        pool->connecting--;
    }
    set_early(carrier, false);
    if (!carrier->is_up && carrier->link != NULL) {
        pool->wary_until_us = carrier->ending ? pool->wary_until_us : loop_now_us() + WARY_US;
    }
    if (!carrier->ending && (carrier->brief || is_brief(carrier) || !end->well)) {
        hold(pool);
    }
    ended = lose(carrier, end->settled);
    log_message(ended == 0 ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING,
                "one connection less to %s: %s; %zu forwarded connections ended with it", client_server_text(client),
                end->cause, ended);
    list_remove(carrier);
    pool->count--;
    setup_free(carrier->setup);
    free(carrier);
    if (pool->stopping && pool->count == 0) {
        pool->handler->emptied(pool->user);
    } else {
        pool->handler->ready(pool->user);
    }
}

static const struct client_handler client_handler = {
    .introduced = on_introduced,
    .up = on_up,
    .event = on_event,
    .dismissed = on_dismissed,
    .closed = on_closed,
};

/* ---- Which one ------------------------------------------------------------------------------------------------------- */

static bool is_busy(struct carrier *carrier, uint64_t now)
{
    const uint64_t bytes = link_bulk_bytes(carrier->link);
    const uint64_t past_us = now - carrier->sampled_us;

    if (past_us >= SAMPLE_US) {
        carrier->busy = (bytes - carrier->sampled_bytes) / 1024u * 1000000u >= QUIET_KIB_PER_S * past_us;
        carrier->sampled_us = now;
        carrier->sampled_bytes = bytes;
    }
    return carrier->busy;
}

static bool is_full(const struct carrier *carrier, uint64_t now)
{
    return carrier->streams >= carrier->full_at && now < carrier->full_until_us;
}

/* Idle ones that take a stream. */
static size_t count_ready(const struct pool *pool)
{
    const uint64_t now = loop_now_us();
    size_t ready = pool->idle_count;

    for (const struct carrier *carrier = TAILQ_FIRST(&pool->idle); carrier != NULL && now < pool->full_until_us;
         carrier = TAILQ_NEXT(carrier, place)) {
        ready -= is_full(carrier, now);
    }
    return ready;
}

/* Of those that carry streams, the one that has the fewest, NULL if there is none. */
static struct carrier *least_loaded(struct pool *pool, bool only_quiet)
{
    const uint64_t now = loop_now_us();
    struct carrier *best = NULL;

    for (struct carrier *carrier = TAILQ_FIRST(&pool->others); carrier != NULL; carrier = TAILQ_NEXT(carrier, place)) {
        if (carrier->is_up && !is_leaving(carrier) && !is_full(carrier, now) &&
            (best == NULL || carrier->streams < best->streams) &&
            !(only_quiet && (carrier->streams >= SHARE_STREAMS || is_busy(carrier, now)))) {
            best = carrier;
        }
    }
    return best;
}

/* Whether the next stream shares a carrier though another could be made. */
static bool shares_quiet(struct pool *pool)
{
    return pool->serving + pool->early + (pool->main.link != NULL) >= SHARE_FROM && least_loaded(pool, true) != NULL;
}

static int make_carrier(struct pool *pool)
{
    const struct config_agent *config = config_of(pool);
    const struct client_options options = {
        .loop = pool->loop,
        .servers = config->servers,
        .server_count = config->server_count,
        .identity = pool->setup->keys.identity,
        .suite = config->suite,
        .trust = &pool->setup->trust,
        .handshake_timeout_us = config->connect_timeout_us,
        .heartbeat_interval_us = config->heartbeat.interval_us,
        .dead_peer_timeout_us = config->heartbeat.timeout_us,
        .congestion_control = config->congestion_control,
        .is_further = true,
    };
    struct carrier *carrier = calloc(1, sizeof(*carrier));
    int result = -ENOMEM;

    if (carrier != NULL) {
        carrier->pool = pool;
        result = client_new(&options, &client_handler, carrier, &carrier->client);
    }
    if (result < 0) {
        free(carrier);
        return result;
    }
    carrier->setup = setup_hold(pool->setup);
    list_add(carrier, false);
    pool->count++;
    pool->connecting++;
    return 0;
}

/* Whether a server is there, as far as is known. While the only known one shuts down, one carrier finds out about others. */
static bool may_reach(const struct pool *pool)
{
    return (pool->main.link != NULL && !pool->main.draining) || pool->serving > 0 ||
           (pool->main.link != NULL && pool->connecting == 0);
}

/* Whether a carrier more may be made now. Those that are leaving don't count; the main one has its place when it is away, too. */
static bool may_make(const struct pool *pool)
{
    const size_t main = pool->main.link != NULL && pool->main.draining ? 0 : 1;

    return !pool->stopping && may_reach(pool) &&
           pool->count - pool->leaving + main < config_of(pool)->max_connections &&
           loop_now_us() >= pool->hold_until_us;
}

/* The one that has been idle for longest; NULL: none that could be ended. */
static struct carrier *longest_idle(struct pool *pool)
{
    struct carrier *carrier = TAILQ_LAST(&pool->idle, carrier_list);

    return carrier == &pool->main ? TAILQ_PREV(carrier, carrier_list, place) : carrier;
}

/* When the timer has something to do. */
static uint64_t next_due(struct pool *pool, uint64_t now)
{
    const uint64_t idle_close_us = config_of(pool)->idle_close_us;
    const struct carrier *idle = longest_idle(pool);
    uint64_t due = pool->waiting > 0 ? now + HOLD_US : UINT64_MAX;

    if (pool->hold_until_us > now && pool->hold_until_us < due) {
        due = pool->hold_until_us;
    }
    if (idle != NULL && pool->idle_count > config_of(pool)->spare_connections) {
        const uint64_t more_us = idle_close_us / 4 < TOGETHER_US ? idle_close_us / 4 : TOGETHER_US;
        const uint64_t close_us = idle->idle_since_us + idle_close_us + more_us;

        due = close_us < due ? close_us : due;
    }
    return due;
}

static void arm_timer(struct pool *pool)
{
    const uint64_t due = next_due(pool, loop_now_us());
    const struct timeval timeout = loop_until(due);

    if (due < pool->timer_due_us && event_add(pool->timer, &timeout) == 0) {
        pool->timer_due_us = due; /* without memory the next stream tries again */
    }
}

void pool_want(struct pool *pool, size_t waiting)
{
    const size_t wanted = shares_quiet(pool) ? 0 : waiting + config_of(pool)->spare_connections;

    pool->waiting = waiting;
    while (may_make(pool) && pool->connecting < CONNECTING_MAX &&
           pool->connecting - pool->early - pool->parting + count_ready(pool) < wanted) {
        if (make_carrier(pool) != 0) {
            hold(pool);
        }
    }
    arm_timer(pool);
}

/* ---- Streams --------------------------------------------------------------------------------------------------------- */

struct carrier *pool_take(struct pool *pool)
{
    const uint64_t now = loop_now_us();
    struct carrier *carrier = TAILQ_FIRST(&pool->idle);

    while (carrier != NULL && is_full(carrier, now)) {
        carrier = TAILQ_NEXT(carrier, place);
    }
    if (carrier == NULL && pool->fresh != NULL) {
        carrier = pool->fresh;
        pool->fresh = NULL;
        set_early(carrier, true);
    } else if (carrier == NULL && shares_quiet(pool)) {
        carrier = least_loaded(pool, true);
    } else if (carrier == NULL && !may_make(pool)) {
        carrier = least_loaded(pool, false);
    }
    if (carrier != NULL) {
        carrier->streams++;
        list_again(carrier);
    }
    return carrier;
}

void pool_put(struct pool *pool, struct carrier *carrier)
{
    assert(carrier->streams > 0);
    carrier->streams--;
    list_again(carrier);
    set_early(carrier, carrier->early && carrier->streams > 0);
    if (carrier->streams == 0 && carrier->client != NULL && carrier->link != NULL &&
        (carrier->draining || pool->stopping)) {
        end_carrier(carrier, NULL);
    }
    pool->handler->ready(pool->user);
}

void pool_drain(struct carrier *carrier)
{
    leave(carrier, &carrier->draining);
}

void pool_doubt(struct carrier *carrier)
{
    carrier->pool->wary_until_us = loop_now_us() + WARY_US;
    pool_drain(carrier);
}

void pool_full(struct carrier *carrier)
{
    carrier->full_at = carrier->streams - 1;
    carrier->full_until_us = loop_now_us() + (carrier->full_at > 0 ? FULL_US : FULL_EMPTY_US);
    if (carrier->full_until_us > carrier->pool->full_until_us) {
        carrier->pool->full_until_us = carrier->full_until_us;
    }
}

bool carrier_announced(const struct carrier *carrier)
{
    return carrier->announced;
}

/* ---- The main one ---------------------------------------------------------------------------------------------------- */

/* The main one is back, and there may be one in its place. Returns how many of the list are too many still. */
static size_t end_surplus(const struct carrier_list *list, size_t surplus)
{
    for (struct carrier *next = NULL, *carrier = TAILQ_FIRST(list); carrier != NULL && surplus > 0; carrier = next) {
        next = TAILQ_NEXT(carrier, place);
        if (carrier->client == NULL || is_leaving(carrier)) {
            continue;
        }
        if (carrier->streams == 0) {
            end_carrier(carrier, "not needed any more");
        } else {
            pool_drain(carrier);
        }
        surplus--;
    }
    return surplus;
}

void pool_main_up(struct pool *pool, struct link *link, const char *address, bool reserved)
{
    const size_t places = config_of(pool)->max_connections - 1;
    const size_t others = pool->count - pool->leaving;

    pool->main.link = link;
    pool->main.is_up = true;
    remember_host(pool, link, address);
    pool->main.busy = false;
    pool->main.sampled_us = loop_now_us();
    pool->main.sampled_bytes = 0;
    pool->main.reserved = reserved;
    pool->main.draining = false;
    pool->main.announced = false;
    pool->main.full_until_us = 0;
    list_again(&pool->main);
    if (others > places) {
        (void)end_surplus(&pool->others, end_surplus(&pool->idle, others - places));
    }
    pool->handler->ready(pool->user);
}

bool pool_main_is_used(const struct pool *pool)
{
    return pool->main.streams > 0;
}

void pool_main_event(struct pool *pool, const struct etcp_event *event)
{
    carrier_event(&pool->main, event);
}

void pool_main_drain(struct pool *pool)
{
    pool_drain(&pool->main);
}

void pool_main_release(struct pool *pool)
{
    pool->main.reserved = false;
    list_again(&pool->main);
    pool->handler->ready(pool->user);
}

void pool_main_down(struct pool *pool, bool settled)
{
    (void)lose(&pool->main, settled);
    list_again(&pool->main);
}

/* ---- Time ------------------------------------------------------------------------------------------------------------ */

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct pool *pool = arg;
    const uint64_t now = loop_now_us();
    struct carrier *carrier = longest_idle(pool);

    (void)fd;
    (void)what;
    pool->timer_due_us = UINT64_MAX;
    while (carrier != NULL && pool->idle_count > config_of(pool)->spare_connections &&
           now - carrier->idle_since_us >= config_of(pool)->idle_close_us) {
        end_carrier(carrier, "not needed any more"); /* which takes it out of the list */
        carrier = longest_idle(pool);
    }
    pool->handler->ready(pool->user);
}

/* ---- Begin and end --------------------------------------------------------------------------------------------------- */

int pool_new(struct loop *loop, struct setup *setup, const struct pool_handler *handler, void *user,
             struct pool **ret_pool)
{
    struct pool *pool = calloc(1, sizeof(*pool));

    if (pool == NULL) {
        return -ENOMEM;
    }
    pool->loop = loop;
    pool->setup = setup_hold(setup);
    pool->handler = handler;
    pool->user = user;
    pool->timer_due_us = UINT64_MAX;
    pool->main.pool = pool;
    TAILQ_INIT(&pool->idle);
    TAILQ_INIT(&pool->others);
    list_add(&pool->main, false);
    pool->timer = evtimer_new(loop->base, on_timer, pool);
    if (pool->timer == NULL) {
        pool_free(pool);
        return -ENOMEM;
    }
    *ret_pool = pool;
    return 0;
}

void pool_free(struct pool *pool)
{
    if (pool == NULL) {
        return;
    }
    assert(pool->count == 0);
    if (pool->timer != NULL) {
        event_free(pool->timer);
    }
    setup_free(pool->setup);
    free(pool);
}

static void end_if_not_allowed(const struct carrier_list *list, const struct setup *setup)
{
    for (struct carrier *next = NULL, *carrier = TAILQ_FIRST(list); carrier != NULL; carrier = next) {
        next = TAILQ_NEXT(carrier, place);
        if (carrier->client == NULL) {
            continue;
        }
        if (carrier->link == NULL ||
            !setup_allows(setup, carrier->setup, client_server(carrier->client),
                          etcp_conn_peer_key(link_conn(carrier->link)), etcp_conn_suite(link_conn(carrier->link)))) {
            end_carrier(carrier, "the configuration has changed");
        }
    }
}

void pool_reload(struct pool *pool, struct setup *setup)
{
    end_if_not_allowed(&pool->idle, setup);
    end_if_not_allowed(&pool->others, setup);
    (void)setup_hold(setup);
    setup_free(pool->setup);
    pool->setup = setup;
    pool->hold_until_us = 0;
    pool->host[0] = '\0'; /* it may not know our new key */
    pool->handler->ready(pool->user);
}

static void stop_list(const struct carrier_list *list, bool at_once)
{
    for (struct carrier *next = NULL, *carrier = TAILQ_FIRST(list); carrier != NULL; carrier = next) {
        next = TAILQ_NEXT(carrier, place);
        if (carrier->client == NULL) {
            continue;
        }
        if (at_once) {
            leave(carrier, &carrier->ending);
            client_abort(carrier->client, "the agent was stopped");
        } else if (carrier->streams == 0) {
            end_carrier(carrier, "the agent was stopped");
        }
    }
}

void pool_stop(struct pool *pool, bool at_once)
{
    pool->stopping = true;
    stop_list(&pool->others, at_once); /* first, for those of the other list move here */
    stop_list(&pool->idle, at_once);
}

bool pool_is_empty(const struct pool *pool)
{
    return pool->count == 0;
}

void pool_count(const struct pool *pool, size_t *ret_up, size_t *ret_idle)
{
    *ret_up = pool->count - pool->connecting + (pool->main.link != NULL);
    *ret_idle = pool->idle_count;
}
