/* SPDX-License-Identifier: MIT
 *
 * The lines that are logged here are described in etcp-server(8), DIAGNOSTICS; other programs look for them. */
#include "server/session.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <etcp/etcp.h>

#include "base/json.h"
#include "base/log.h"
#include "base/message_id.h"
#include "base/name.h"
#include "net/link.h"
#include "server/service.h"

/* Lines about coming and going of agents that nobody has listed: whoever reaches the port can make a key, and connect as often as
 * it likes. Those of listed agents are never suppressed. */
static struct log_limit unlisted_limit = LOG_LIMIT(100, 200000);

/* Who is only told that it was refused must be quick about it. */
#define REFUSING_TIMEOUT_US 2000000u

#define NO_ROUND_TRIP UINT64_MAX

enum {
    REASON_TEXT_BYTES = 4 * ETCP_REASON_MAX + 64, /* escaped, with the name of the code */
    NUMBER_BYTES = 24,
};

enum session_state {
    SESSION_HANDSHAKE = 1, /* nobody yet */
    SESSION_REJECTED,      /* not let in, and logged */
    SESSION_UP,            /* authenticated (classic: let in without) */
};

struct session {
    struct worker *worker;
    LIST_ENTRY(session) place; /* in the worker's */
    struct link *link;
    struct service_streams streams;     /* bounded by max_streams */
    const char *agent;                  /* name in the worker's snapshot; NULL: not listed, or classic */
    const char *why;                    /* why we end it; static; NULL: we do not */
    char *farewell;                     /* the peer's Goodbye, escaped; NULL: none */
    char withdrawn[NAME_AGENT_MAX + 1]; /* the name that it had until a reload ended it; "" */
    uint64_t id;
    uint64_t started_us;
    uint64_t active_us;       /* when the sweep found last that a frame of a stream, or a message, had arrived */
    uint64_t round_trip_us;   /* of the last heartbeat; NO_ROUND_TRIP: none was answered */
    uint64_t asked_us;        /* when a report had it measured last */
    uint64_t streams_refused; /* by the library, as far as they are in the tally */
    bool active;              /* something has arrived since the last sweep */
    bool quiet;               /* as the newcomer's */
    enum session_state state;
    enum census_verdict verdict;
    struct address_key key;
    char peer[]; /* its address as text */
};

static atomic_uint_least64_t ids;

struct session *session_next(const struct session *session)
{
    return LIST_NEXT(session, place);
}

static void set_state(struct session *session, enum session_state state)
{
    assert(session->state == SESSION_HANDSHAKE);
    session->state = state;
}

static bool is_classic(const struct session *session)
{
    return etcp_conn_suite(link_conn(session->link)) == ETCP_SUITE_CLASSIC;
}

/* What stands for the agent in a line; neither is a possible name. */
static const char *agent_text(const struct session *session)
{
    if (session->agent != NULL) {
        return session->agent;
    }
    if (session->withdrawn[0] != '\0') {
        return session->withdrawn;
    }
    return is_classic(session) ? "(unauthenticated)" : "(unlisted)";
}

static struct log_limit *limit_of(const struct session *session)
{
    return session->agent != NULL || session->withdrawn[0] != '\0' ? NULL : &unlisted_limit;
}

static void key_text(const struct session *session, char ret_text[static ETCP_KEY_TEXT_BYTES])
{
    const uint8_t *key = etcp_conn_peer_key(link_conn(session->link));

    if (key != NULL) {
        etcp_key_format(ETCP_KEY_PUBLIC, key, ret_text);
    } else {
        (void)snprintf(ret_text, ETCP_KEY_TEXT_BYTES, "-");
    }
}

/* ---- Coming in ------------------------------------------------------------------------------------------------------- */

static void log_connected(const struct session *session)
{
    char key[ETCP_KEY_TEXT_BYTES], id[NUMBER_BYTES];
    const char *suite = etcp_suite_name(etcp_conn_suite(link_conn(session->link)));
    const struct log_field fields[] = {
        {"ETCP_CONNECTION", id}, {"ETCP_PEER", session->peer}, {"ETCP_AGENT", agent_text(session)}};

    if (!log_enabled(LOG_LEVEL_INFO)) {
        return; /* texts are as dear as much of a handshake that is not arithmetic */
    }
    key_text(session, key);
    (void)snprintf(id, sizeof(id), "%" PRIu64, session->id);
    log_limited(limit_of(session), loop_now_us(), LOG_LEVEL_INFO, fields, sizeof(fields) / sizeof(fields[0]),
                "connected: peer=%s agent=%s key=%s suite=%s connection=%s", session->peer, agent_text(session), key,
                suite, id);
}

static void log_rejected(const struct session *session)
{
    static struct log_limit limit = LOG_LIMIT(50, 1000000);
    char key[ETCP_KEY_TEXT_BYTES];
    const struct log_field fields[] = {
        {LOG_ID(MESSAGE_AGENT_REFUSED)}, {"ETCP_PEER", session->peer}, {"ETCP_REASON", "unauthorized"}};

    key_text(session, key);
    log_limited(&limit, loop_now_us(), LOG_LEVEL_NOTICE, fields, sizeof(fields) / sizeof(fields[0]),
                "authentication failed: peer=%s key=%s reason=\"unauthorized: the key is not in authorized_agents\"",
                session->peer, key);
}

static void let_in(struct session *session)
{
    if (etcp_conn_accept(link_conn(session->link), loop_now_us()) != 0) {
        return; /* no memory: the connection is closing and says why */
    }
    set_state(session, SESSION_UP);
    session->streams.client.agent = session->agent;
    session->streams.client.key = etcp_conn_peer_key(link_conn(session->link));
    session->worker->tally.authenticated[tally_suite_of(etcp_conn_suite(link_conn(session->link)))]++;
    session->active_us = loop_now_us();
    census_authenticated(session->worker->census, &session->key);
    log_connected(session);
    if (session->worker->phase != WORKER_SERVING) {
        session_drain(session); /* its handshake was under way when that began */
    }
}

/* As service_open(). */
static int start_service(struct session *session, const struct config_service *service, struct etcp_stream *stream,
                         const struct etcp_origin *origin, struct service_stream **ret_stream)
{
    struct tally_service *tally = tally_service(&session->worker->services, service->name);

    if (tally == NULL) {
        return ETCP_CODE_INTERNAL;
    }
    return service_open(&session->streams, service, tally, session->link, stream, origin, ret_stream);
}

/* A classic peer's messages go to one service, as if it had opened a stream to it. */
static void let_in_classic(struct session *session, const struct etcp_event *event)
{
    const struct snapshot *snapshot = session->worker->snapshot;
    const struct config_service *service = NULL;
    struct service_stream *stream = NULL;

    if (snapshot->config->classic) {
        service = snapshot_service(snapshot, snapshot->config->classic_service);
    }
    let_in(session);
    link_keep_alive(session->link);
    if (etcp_conn_ready(link_conn(session->link)) &&
        (service == NULL || start_service(session, service, NULL, event->origin, &stream) != 0)) {
        session_end(session, ETCP_CODE_INTERNAL, "no service for classic peers");
    }
}

/* Where the memory that its streams hold is counted. A classic connection holds one message at most, and is read no further
 * meanwhile: it needs no account. */
static size_t *account_of(const struct session *session)
{
    return session->agent == NULL && !is_classic(session) ? &session->worker->unlisted : NULL;
}

static void on_peer(struct session *session, const struct etcp_event *event)
{
    const struct snapshot *snapshot = session->worker->snapshot;

    if (event->peer_key == NULL) {
        let_in_classic(session, event);
        return;
    }
    session->agent = authorized_find(snapshot->authorized, event->peer_key);
    service_account(&session->streams, account_of(session));
    if (snapshot_welcomes(snapshot, session->agent)) {
        let_in(session);
        return;
    }
    set_state(session, SESSION_REJECTED);
    session->worker->tally.unauthorized++;
    log_rejected(session);
    etcp_conn_reject(link_conn(session->link), "this agent's public key is not in the server's authorized_agents");
}

/* ---- Streams --------------------------------------------------------------------------------------------------------- */

static void refuse_stream(struct session *session, struct etcp_stream *stream, const char *service, enum etcp_code code,
                          const char *reason)
{
    static struct log_limit limit = LOG_LIMIT(20, 1000000);
    const struct log_field fields[] = {{"ETCP_PEER", session->peer},
                                       {"ETCP_AGENT", agent_text(session)},
                                       {"ETCP_SERVICE", service},
                                       {"ETCP_REASON", etcp_code_name((int)code)}};

    log_limited(&limit, loop_now_us(), LOG_LEVEL_NOTICE, fields, sizeof(fields) / sizeof(fields[0]),
                "stream refused: peer=%s agent=%s service=%s reason=\"%s\"", session->peer, agent_text(session),
                service, reason);
    session->worker->tally.streams_refused[code]++;
    etcp_stream_fail(stream, code, reason);
}

static void on_open(struct session *session, const struct etcp_event *event)
{
    const struct config_service *service = snapshot_service(session->worker->snapshot, event->service);
    struct service_stream *stream = NULL;
    int code = 0;

    if (service == NULL) {
        refuse_stream(session, event->stream, event->service, ETCP_CODE_NO_SUCH_SERVICE, "no such service");
    } else if (!snapshot_allows(service, session->agent)) {
        refuse_stream(session, event->stream, event->service, ETCP_CODE_UNAUTHORIZED,
                      "this agent may not use the service");
    } else {
        code = start_service(session, service, event->stream, event->origin, &stream);
        if (code != 0) {
            refuse_stream(session, event->stream, event->service, (enum etcp_code)code, "the service can't be started");
        }
    }
}

static void log_message_received(const struct session *session, const struct service_stream *stream, size_t len)
{
    if (log_enabled(LOG_LEVEL_DEBUG)) {
        log_message(LOG_LEVEL_DEBUG, "message received: peer=%s agent=%s service=%s bytes=%zu", session->peer,
                    agent_text(session), stream->config->name, len);
    }
}

static void on_event(struct link *link, const struct etcp_event *event, void *user)
{
    struct session *session = user;
    struct service_stream *stream =
        event->stream != NULL ? etcp_stream_user(event->stream) : LIST_FIRST(&session->streams.open);

    (void)link;
    switch (event->type) {
    case ETCP_EVENT_PEER:
        on_peer(session, event);
        break;
    case ETCP_EVENT_OPEN:
        session->active = true;
        on_open(session, event);
        break;
    case ETCP_EVENT_DATA:
        session->active = true;
        stream->tally->received_bytes += event->len;
        log_message_received(session, stream, event->len);
        stream->type->data(stream, event->data, event->len);
        break;
    case ETCP_EVENT_MESSAGE:
        session->active = true;
        if (stream != NULL) {
            stream->tally->received_bytes += event->len;
            log_message_received(session, stream, event->len);
            stream->type->message(stream, event->data, event->len);
        }
        break;
    case ETCP_EVENT_CLOSE:
        session->active = true;
        stream->type->peer_closed(stream);
        break;
    case ETCP_EVENT_CREDIT:
        stream->type->writable(stream);
        break;
    case ETCP_EVENT_STREAM_ERROR:
        session->active = true;
        service_close(stream, (enum etcp_code)event->code, NULL);
        break;
    case ETCP_EVENT_END:
        session->farewell = malloc(REASON_TEXT_BYTES);
        if (session->farewell != NULL) {
            int n = snprintf(session->farewell, REASON_TEXT_BYTES, "goodbye %s%s", etcp_code_name(event->code),
                             event->reason_len > 0 ? ": " : "");

            (void)log_escape(event->reason, event->reason_len, session->farewell + n, REASON_TEXT_BYTES - (size_t)n);
        }
        break;
    case ETCP_EVENT_PONG:
        session->round_trip_us = event->round_trip_us;
        break;
    case ETCP_EVENT_UP:      /* we know: we have let it in */
    case ETCP_EVENT_DRAIN:   /* it closes when its streams are done */
    case ETCP_EVENT_REFUSED: /* agents only */
        break;
    }
}

/* Streams wait for their turns themselves. */
static void on_writable(struct link *link, void *user)
{
    struct session *session = user;

    (void)link;
    if (is_classic(session) && LIST_FIRST(&session->streams.open) != NULL) {
        LIST_FIRST(&session->streams.open)->type->writable(LIST_FIRST(&session->streams.open));
    }
}

/* ---- Going ----------------------------------------------------------------------------------------------------------- */

static const char *end_text(const struct session *session, const struct link_end *end)
{
    if (end->is_errno) {
        return strerror(-end->error);
    }
    if (end->error != 0) {
        return end->detail != NULL ? end->detail : etcp_strerror(end->error);
    }
    if (session->why != NULL) {
        return session->why;
    }
    if (session->farewell != NULL) {
        return session->farewell;
    }
    return end->by_peer ? "the peer closed" : "closed";
}

static void log_disconnected(const struct session *session, const struct link_end *end)
{
    uint64_t lived_us = loop_now_us() - session->started_us;
    char id[NUMBER_BYTES], received[NUMBER_BYTES], sent[NUMBER_BYTES], lived[NUMBER_BYTES];
    const char *reason = end_text(session, end);
    const struct log_field fields[] = {
        {"ETCP_CONNECTION", id},     {"ETCP_PEER", session->peer}, {"ETCP_AGENT", agent_text(session)},
        {"ETCP_REASON", reason},     {"ETCP_BYTES_IN", received},  {"ETCP_BYTES_OUT", sent},
        {"ETCP_DURATION_US", lived},
    };

    (void)snprintf(id, sizeof(id), "%" PRIu64, session->id);
    (void)snprintf(received, sizeof(received), "%" PRIu64, end->received_bytes);
    (void)snprintf(sent, sizeof(sent), "%" PRIu64, end->sent_bytes);
    (void)snprintf(lived, sizeof(lived), "%" PRIu64, lived_us);
    log_limited(limit_of(session), loop_now_us(), end->error == 0 ? LOG_LEVEL_INFO : LOG_LEVEL_NOTICE, fields,
                sizeof(fields) / sizeof(fields[0]),
                "disconnected: peer=%s agent=%s reason=\"%s\" received=%s sent=%s duration=%" PRIu64 ".%03" PRIu64
                "s connection=%s",
                session->peer, agent_text(session), reason, received, sent, lived_us / 1000000u,
                lived_us / 1000u % 1000u, id);
}

static void log_handshake_failed(const struct session *session, const struct link_end *end)
{
    static struct log_limit limit = LOG_LIMIT(20, 1000000);
    const char *reason = end_text(session, end);
    const struct log_field fields[] = {{"ETCP_PEER", session->peer}, {"ETCP_REASON", reason}};

    log_limited(&limit, loop_now_us(), LOG_LEVEL_INFO, fields, sizeof(fields) / sizeof(fields[0]),
                "handshake failed: peer=%s reason=\"%s\"", session->peer, reason);
}

static enum tally_failure failure_of(const struct link_end *end)
{
    if (end->is_errno) {
        return TALLY_SOCKET;
    }
    switch (end->error) {
    case ETCP_ETIMEDOUT:
        return TALLY_TIMEOUT;
    case ETCP_ESUITE:
        return TALLY_SUITE;
    case ETCP_EHANDSHAKE:
    case ETCP_ERECORD:
    case ETCP_EPROTO:
        return end->by_peer ? TALLY_CLOSED : TALLY_PROTOCOL;
    default:
        return TALLY_OTHER;
    }
}

/* Brings the worker's tally up to what the library has counted. */
static void count_refused(struct session *session)
{
    uint64_t refused = etcp_conn_streams_refused(link_conn(session->link));

    session->worker->tally.streams_refused[ETCP_CODE_LIMIT] += refused - session->streams_refused;
    session->streams_refused = refused;
}

static void count_disconnected(struct session *session, const struct link_end *end)
{
    count_refused(session);
    if (end->error == 0) {
        session->worker->tally.disconnected_well++;
    } else {
        session->worker->tally.disconnected_failed++;
    }
}

static void on_closed(struct link *link, const struct link_end *end, void *user)
{
    struct session *session = user;
    struct worker *worker = session->worker;

    (void)link;
    if (session->state == SESSION_UP) {
        count_disconnected(session, end);
        log_disconnected(session, end);
    } else if (session->state == SESSION_HANDSHAKE && session->verdict == CENSUS_WELCOME && !session->quiet &&
               session->why == NULL && end->error != ETCP_EBUSY) { /* that is a Refusal of ours */
        worker->tally.failures[failure_of(end)]++;
        log_handshake_failed(session, end);
    }
    while (!LIST_EMPTY(&session->streams.open)) {
        service_close(LIST_FIRST(&session->streams.open), ETCP_CODE_RESET, NULL);
    }
    census_leave(worker->census, &session->key, session->verdict, session->state == SESSION_UP);
    if (worker->cursor == session) {
        worker->cursor = LIST_NEXT(session, place);
    }
    LIST_REMOVE(session, place);
    free(session->farewell);
    free(session);
    worker_gone(worker);
}

/* ---- For the worker -------------------------------------------------------------------------------------------------- */

static const struct link_handler handler = {.event = on_event, .writable = on_writable, .closed = on_closed};

static int new_conn(const struct worker *worker, const struct newcomer *newcomer, struct etcp_conn **ret_conn)
{
    const struct config_server *config = worker->snapshot->config;
    const bool refuse = newcomer->verdict == CENSUS_REFUSE;
    const uint64_t now = loop_now_us();
    const uint64_t waited = now - newcomer->accepted_us;
    const uint64_t timeout =
        config->limits.handshake_timeout_us > waited ? config->limits.handshake_timeout_us - waited : 1;
    const struct etcp_conn_options options = {
        .role = ETCP_SERVER,
        .identity = worker->snapshot->identity.identity,
        .classic = config->classic,
        .refuse = refuse ? ETCP_REFUSAL_BUSY : ETCP_REFUSAL_NONE,
        .handshake_timeout_us = refuse && timeout > REFUSING_TIMEOUT_US ? REFUSING_TIMEOUT_US : timeout,
        .heartbeat_interval_us = config->heartbeat.interval_us,
        .dead_peer_timeout_us = config->heartbeat.timeout_us,
        .max_streams = config->limits.max_streams,
        .max_record = config->limits.max_message,
    };

    switch (etcp_conn_new(worker->loop->pool, &options, now, ret_conn)) {
    case 0:
        return 0;
    case ETCP_ENOMEM:
        return -ENOMEM;
    default:
        return -EINVAL;
    }
}

int session_start(struct worker *worker, const struct newcomer *newcomer)
{
    size_t peer_bytes = strlen(newcomer->peer) + 1;
    struct session *session = calloc(1, sizeof(*session) + peer_bytes);
    struct etcp_conn *conn = NULL;
    int r = -ENOMEM;

    if (session == NULL) {
        goto out;
    }
    session->worker = worker;
    session->state = SESSION_HANDSHAKE;
    session->started_us = loop_now_us();
    session->round_trip_us = NO_ROUND_TRIP;
    session->id = atomic_fetch_add(&ids, 1) + 1;
    session->verdict = newcomer->verdict;
    session->quiet = newcomer->quiet;
    session->key = newcomer->key;
    memcpy(session->peer, newcomer->peer, peer_bytes);
    session->streams.client.host = &worker->host;
    session->streams.client.connection = session->id;
    session->streams.client.peer = session->peer;
    r = new_conn(worker, newcomer, &conn);
    if (r == 0) {
        r = link_new(worker->loop, newcomer->fd, conn, &handler, session, &session->link);
    }
    if (r == 0) {
        LIST_INSERT_HEAD(&worker->sessions, session, place);
        log_message(LOG_LEVEL_DEBUG, "accepted: peer=%s connection=%" PRIu64, session->peer, session->id);
        session = NULL;
        conn = NULL;
    }
out:
    if (r != 0) {
        etcp_conn_free(conn);
        free(session);
        (void)close(newcomer->fd);
        census_leave(worker->census, &newcomer->key, newcomer->verdict, false);
        worker_gone(worker);
    }
    return r;
}

/* Whether a stream's service is still there and allowed; moves it to the new snapshot's. */
static bool still_allowed(const struct session *session, struct service_stream *stream)
{
    const struct config_service *service = snapshot_service(session->worker->snapshot, stream->config->name);

    if (service == NULL || service->type != stream->config->type || !snapshot_allows(service, session->agent)) {
        return false;
    }
    stream->config = service;
    return true;
}

static void withdraw(struct session *session)
{
    const struct log_field fields[] = {{"ETCP_PEER", session->peer}, {"ETCP_AGENT", agent_text(session)}};

    log_event(LOG_LEVEL_NOTICE, fields, sizeof(fields) / sizeof(fields[0]), "authorization withdrawn: peer=%s agent=%s",
              session->peer, agent_text(session));
    session_end(session, ETCP_CODE_UNAUTHORIZED, "no longer authorised");
}

void session_reload(struct session *session, const struct snapshot *old)
{
    const struct snapshot *snapshot = session->worker->snapshot;
    const uint8_t *key = etcp_conn_peer_key(link_conn(session->link));
    const char *before = session->agent;
    bool ends = etcp_conn_closing(link_conn(session->link)); /* already, and was logged if we ended it */
    struct service_stream *next = NULL;
    bool stays = false;

    (void)old; /* `before` and the names of services lie there until we return */
    session->agent = key != NULL ? authorized_find(snapshot->authorized, key) : NULL;
    session->streams.client.agent = session->agent;
    if (session->state != SESSION_UP) {
        return;
    }
    service_account(&session->streams, account_of(session));
    if (key != NULL) {
        stays = !ends && snapshot_welcomes(snapshot, session->agent);
    } else {
        stays = !ends && snapshot->config->classic && LIST_FIRST(&session->streams.open) != NULL &&
                still_allowed(session, LIST_FIRST(&session->streams.open));
    }
    if (!stays && before != NULL) {
        (void)snprintf(session->withdrawn, sizeof(session->withdrawn), "%s", before);
    }
    if (!stays && !ends) {
        withdraw(session); /* first, so that the streams below have ended and are not answered one by one */
    }
    for (struct service_stream *stream = LIST_FIRST(&session->streams.open); stream != NULL; stream = next) {
        next = LIST_NEXT(stream, place);
        if (!stays || !still_allowed(session, stream)) {
            service_close(stream, ETCP_CODE_UNAUTHORIZED, "this agent may no longer use the service");
        }
    }
    link_flush(session->link);
}

void session_drain(struct session *session)
{
    if (session->state == SESSION_UP) {
        session->why = "shutting down"; /* otherwise it goes on: the handshake's end is what is worth a line */
    }
    etcp_conn_shutdown(link_conn(session->link), "the server is shutting down");
    link_flush(session->link);
}

void session_end(struct session *session, enum etcp_code code, const char *why)
{
    session->why = why;
    link_goodbye(session->link, code, why);
}

void session_abort(struct session *session)
{
    link_abort(session->link, 0, NULL);
}

void session_end_if_idle(struct session *session, uint64_t now_us, uint64_t limit_us)
{
    bool streams = etcp_conn_streams(link_conn(session->link)) > 0;

    if (session->active) {
        session->active = false;
        session->active_us = now_us;
    }
    if (session->state == SESSION_UP && !streams && now_us - session->active_us >= limit_us) {
        session_end(session, ETCP_CODE_TIMEOUT, "idle");
    }
}

/* ---- Reports ----------------------------------------------------------------------------------------------------------- */

/* The last heartbeat's round trip, else what the kernel says. A peer that talks is never asked for a heartbeat, so looking has it
 * asked: the next report knows. */
static uint64_t measure(struct session *session, uint64_t now_us)
{
    if (now_us - session->asked_us >= session->worker->snapshot->config->heartbeat.interval_us &&
        etcp_conn_ping(link_conn(session->link), now_us) == 0) {
        session->asked_us = now_us;
        link_flush(session->link);
    }
    if (session->round_trip_us != NO_ROUND_TRIP) {
        return session->round_trip_us;
    }
    return link_kernel_round_trip_us(session->link);
}

static void describe_services(const struct session *session, struct json *json)
{
    const struct service_stream *stream;

    json_key(json, "services");
    json_open_array(json);
    LIST_FOREACH (stream, &session->streams.open, place) {
        if (stream->tally->seen != session->id) {
            stream->tally->seen = session->id;
            json_text(json, stream->tally->name);
        }
    }
    json_close_array(json);
}

bool session_report(struct session *session, uint64_t now_us, struct json *json)
{
    const struct etcp_conn *conn = link_conn(session->link);
    const uint8_t *peer_key = etcp_conn_peer_key(conn);
    char key[ETCP_KEY_TEXT_BYTES];
    uint64_t heard_us = 0, received = 0, sent = 0, round_trip_us = 0;

    if (session->state != SESSION_UP) {
        return false;
    }
    count_refused(session);
    if (json == NULL) {
        return true;
    }
    round_trip_us = measure(session, now_us);
    heard_us = etcp_conn_last_heard_us(conn);
    link_traffic(session->link, &received, &sent);
    key_text(session, key);
    json_open_object(json);
    json_member_number(json, "id", session->id);
    json_member_text(json, "agent", session->agent);
    json_member_text(json, "public_key", peer_key != NULL ? key : NULL);
    json_member_text(json, "address", session->peer);
    json_member_text(json, "suite", etcp_suite_name(etcp_conn_suite(conn)));
    json_member_number(json, "connected_us", now_us - session->started_us);
    json_member_number(json, "silent_us", now_us > heard_us ? now_us - heard_us : 0);
    json_key(json, "round_trip_us");
    if (round_trip_us > 0) {
        json_number(json, round_trip_us);
    } else {
        json_null(json);
    }
    json_member_number(json, "streams", etcp_conn_streams(conn));
    json_member_number(json, "received_bytes", received);
    json_member_number(json, "sent_bytes", sent);
    describe_services(session, json);
    json_close_object(json);
    return true;
}
