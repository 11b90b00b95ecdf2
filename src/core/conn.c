/* SPDX-License-Identifier: MIT
 *
 * Every phase of a connection meets here, and only here: what the handshake, the records, the frames and the streams
 * each know is put together into bytes in, bytes out, and events. */
#include "core/conn.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/frame.h"

static_assert((int)ETCP_DATA_HEAD == (int)RECORD_HEAD_BYTES + (int)FRAME_HEAD_BYTES, "public constant");
static_assert((int)ETCP_MESSAGE_HEAD == (int)RECORD_HEAD_BYTES && (int)ETCP_TAG == (int)AEAD_TAG_BYTES,
              "public constants");
static_assert(ETCP_RECORD_MAX == RECORD_HEAD_BYTES + RECORD_MAX, "public constant");
static_assert(ETCP_DATA_MAX == RECORD_MAX - AEAD_TAG_BYTES - FRAME_HEAD_BYTES, "public constant");
static_assert(ETCP_MESSAGE_MAX == RECORD_MAX - AEAD_TAG_BYTES, "public constant");
static_assert(ETCP_DRAIN_MIN >= FRAME_CONTROL_MAX + RECORD_OVERHEAD_BYTES, "any control frame fits");
static_assert((int)ETCP_DRAIN_MIN >= (int)HANDSHAKE_PACKET_MAX, "any handshake packet fits");

static uint64_t or_default(uint64_t value, uint64_t otherwise)
{
    return value ? value : otherwise;
}

int conn_new_fixed(struct etcp_pool *pool, const struct etcp_conn_options *options, uint64_t now_us,
                   const struct handshake_fixed *fixed, struct etcp_conn **ret_conn)
{
    struct etcp_conn *conn = calloc(1, sizeof *conn);
    if (!conn)
        return ETCP_ENOMEM;
    int rc = handshake_new(pool, options, fixed, &conn->handshake);
    if (rc < 0) {
        free(conn);
        return rc;
    }
    conn->pool = pool;
    conn->state = CONN_HANDSHAKE;
    conn->is_agent = options->role == ETCP_AGENT;
    conn->handshake_deadline_us = now_us + or_default(options->handshake_timeout_us, 10000000);
    conn->heartbeat_interval_us = or_default(options->heartbeat_interval_us, 15000000);
    conn->dead_peer_timeout_us = or_default(options->dead_peer_timeout_us, 45000000);
    conn->max_streams = options->max_streams ? options->max_streams : 256;
    conn->max_record = options->max_record && options->max_record < RECORD_MAX ? options->max_record : RECORD_MAX;
    stream_table_init(&conn->streams, conn->is_agent, pool->stream_factor);
    *ret_conn = conn;
    return 0;
}

int etcp_conn_new(struct etcp_pool *pool, const struct etcp_conn_options *options, uint64_t now_us,
                  struct etcp_conn **ret_conn)
{
    return conn_new_fixed(pool, options, now_us, NULL, ret_conn);
}

static void wipe_keys(struct etcp_conn *conn)
{
    if (!conn->keys)
        return;
    aead_key_forget(&conn->sending.key, conn->pool->cache);
    aead_key_forget(&conn->receiving.key, conn->pool->cache);
    secret_free(&conn->pool->sessions, conn->keys);
    conn->keys = NULL;
}

static void free_partial(struct etcp_conn *conn)
{
    free(conn->partial);
    conn->partial = NULL;
    conn->partial_len = conn->partial_size = 0;
}

void etcp_conn_free(struct etcp_conn *conn)
{
    if (!conn)
        return;
    wipe_keys(conn);
    handshake_free(conn->handshake);
    free_partial(conn);
    outbox_clear(&conn->outbox);
    stream_table_done(&conn->streams);
    free(conn);
}

/* ---- Ends ------------------------------------------------------------------------------------------------------------ */

static void mark_ended(struct etcp_stream *stream)
{
    stream->ended = true;
}

/* The connection is over. What waits in the outbox may still be drained. */
static void close_conn(struct etcp_conn *conn, bool well)
{
    assert(conn->state != CONN_CLOSING);
    conn->state = CONN_CLOSING;
    conn->ended_well = well;
    conn->draining = false;
    stream_each(&conn->streams, mark_ended);
}

/* The connection has failed; returns the error for the caller to return. */
static int fail(struct etcp_conn *conn, int error, const char *rule)
{
    if (conn->state != CONN_CLOSING) {
        close_conn(conn, false);
        conn->error = rule;
    }
    return error;
}

/* ---- What is sent ---------------------------------------------------------------------------------------------------- */

int conn_send_raw(struct etcp_conn *conn, const uint8_t *plaintext, size_t len)
{
    if (outbox_push(&conn->outbox, plaintext, len) == 0)
        return 0;
    return fail(conn, ETCP_ENOMEM, "out of memory");
}

void conn_send_frame(struct etcp_conn *conn, const struct frame *frame)
{
    uint8_t bytes[FRAME_CONTROL_MAX];
    (void)conn_send_raw(conn, bytes,
                        frame_encode(frame, bytes)); /* a failure closes the connection, which callers see */
}

/* The bytes of a reason that are sent: whole UTF-8 characters, 255 bytes at most. */
static size_t reason_length(const char *reason)
{
    size_t len = reason ? strnlen(reason, ETCP_REASON_MAX + 1) : 0;
    if (len <= ETCP_REASON_MAX)
        return len;
    len = ETCP_REASON_MAX;
    while (len > 0 && ((uint8_t)reason[len] & 0xc0) == 0x80)
        len--;
    return len;
}

void conn_send_code(struct etcp_conn *conn, enum frame_id id, uint32_t stream, enum etcp_code code, const char *reason)
{
    conn_send_frame(conn, &(struct frame){.id = (uint8_t)id,
                                          .stream = stream,
                                          .code = (uint16_t)code,
                                          .data = (const uint8_t *)reason,
                                          .len = reason_length(reason)});
}

static void send_ask(struct etcp_conn *conn, uint64_t now_us)
{
    uint8_t opaque[FRAME_OPAQUE_BYTES];
    bytes_put_u64(opaque, ++conn->asks);
    conn_send_frame(conn, &(struct frame){.id = FRAME_HEARTBEAT, .heartbeat = FRAME_ASK, .data = opaque});
    conn->ask_outstanding = true;
    conn->asked_us = now_us;
}

size_t etcp_conn_pending(const struct etcp_conn *conn)
{
    return (conn->handshake ? conn->handshake->out_len : 0) + conn->outbox.wire_bytes;
}

size_t etcp_conn_drain(struct etcp_conn *conn, uint8_t *out, size_t size)
{
    size_t produced = 0;
    struct handshake *h = conn->handshake;
    if (h && h->out_len > 0) {
        if (h->out_len > size)
            return 0;
        memcpy(out, h->out, h->out_len);
        produced = h->out_len;
        h->out_len = 0;
    }
    if (h && (conn->state == CONN_OPEN || conn->state == CONN_CLOSING)) {
        handshake_free(h);
        conn->handshake = NULL;
    }
    size_t len;
    const uint8_t *frame;
    while ((frame = outbox_first(&conn->outbox, &len)) && len + RECORD_OVERHEAD_BYTES <= size - produced) {
        memcpy(out + produced + RECORD_HEAD_BYTES, frame, len);
        record_seal(&conn->sending, conn->pool->cache, out + produced, len);
        produced += len + RECORD_OVERHEAD_BYTES;
        outbox_pop(&conn->outbox);
    }
    return produced;
}

bool etcp_conn_wants_input(const struct etcp_conn *conn)
{
    return conn->state != CONN_DECIDE && conn->outbox.wire_bytes <= ETCP_CONTROL_MAX;
}

/* ---- Events ---------------------------------------------------------------------------------------------------------- */

static struct etcp_event *push_event(struct etcp_conn *conn, enum etcp_event_type type)
{
    assert(conn->events_count < CONN_EVENTS_MAX);
    struct etcp_event *event = &conn->events[conn->events_count++];
    *event = (struct etcp_event){.type = type, .reason = "", .origin = &conn->origin};
    return event;
}

bool etcp_conn_next(struct etcp_conn *conn, struct etcp_event *ret_event)
{
    if (conn->events_at == conn->events_count)
        return false;
    *ret_event = conn->events[conn->events_at++];
    if (conn->events_at == conn->events_count)
        conn->events_at = conn->events_count = 0;
    return true;
}

/* ---- The handshake --------------------------------------------------------------------------------------------------- */

/* The handshake has made its keys: from now on there are records. */
static int start_records(struct etcp_conn *conn)
{
    struct handshake *h = conn->handshake;
    conn->keys = secret_alloc(&conn->pool->sessions);
    if (!conn->keys)
        return ETCP_ENOMEM;
    uint8_t *send = conn->keys, *receive = conn->keys + AEAD_KEY_BYTES;
    handshake_keys(h, send, receive);
    enum aead_algorithm algorithm = handshake_algorithm(h->suite);
    struct aead_cache *cache = conn->pool->cache;
    conn->sending = (struct record_direction){.key_bytes = send, .is_classic = conn->is_classic};
    conn->receiving = (struct record_direction){.key_bytes = receive, .is_classic = conn->is_classic};
    aead_key_init(&conn->sending.key, cache, algorithm, send);
    aead_key_init(&conn->receiving.key, cache, algorithm, receive);
    if (conn->is_classic)
        memcpy(conn->sending.classic, h->nonce, sizeof h->nonce);
    else
        conn->max_record = RECORD_MAX;
    return 0;
}

/* A packet of the handshake was taken: what does it change? */
static int advance_handshake(struct etcp_conn *conn)
{
    struct handshake *h = conn->handshake;
    conn->suite = h->suite;
    conn->is_classic = h->suite == ETCP_SUITE_CLASSIC;
    if (h->step != HANDSHAKE_PEER_KNOWN && h->step != HANDSHAKE_FINISHED)
        return 0;
    /* A server needs its keys for a Goodbye to an agent that it does not accept; an agent's come when it accepts. */
    if (h->step == HANDSHAKE_FINISHED && start_records(conn) < 0)
        return fail(conn, ETCP_ENOMEM, "out of memory");
    conn->state = CONN_DECIDE;
    struct etcp_event *event = push_event(conn, ETCP_EVENT_PEER);
    if (!conn->is_classic) {
        memcpy(conn->peer_key, h->noise.rs, sizeof conn->peer_key);
        event->peer_key = conn->peer_key;
    }
    return 0;
}

static int feed_handshake(struct etcp_conn *conn, const uint8_t *in, size_t len, size_t *ret_used)
{
    struct handshake *h = conn->handshake;
    int rc = handshake_feed(h, in, len, ret_used);
    if (rc == 0)
        return advance_handshake(conn);
    if (rc == ETCP_EREFUSED)
        push_event(conn, ETCP_EVENT_REFUSED)->code = h->refusal;
    conn->suite = h->suite;
    return fail(conn, rc, h->error);
}

int etcp_conn_accept(struct etcp_conn *conn, uint64_t now_us)
{
    if (conn->state != CONN_DECIDE)
        return ETCP_EINVAL;
    struct handshake *h = conn->handshake;
    if (h->step == HANDSHAKE_PEER_KNOWN) {
        int rc = handshake_authenticate(h);
        if (rc < 0)
            return fail(conn, rc, h->error);
        if (start_records(conn) < 0)
            return fail(conn, ETCP_ENOMEM, "out of memory");
    }
    conn->state = CONN_OPEN;
    conn->last_valid_us = now_us;
    if (conn->is_agent && !conn->is_classic) {
        send_ask(conn, now_us); /* section 2: a Heartbeat ask right behind Authentication */
    } else {
        conn->is_up = true;
        push_event(conn, ETCP_EVENT_UP);
    }
    if (h->out_len == 0) {
        handshake_free(h);
        conn->handshake = NULL;
    }
    return 0;
}

void etcp_conn_reject(struct etcp_conn *conn, const char *reason)
{
    if (conn->state != CONN_DECIDE)
        return;
    if (!conn->is_agent && !conn->is_classic)
        conn_send_code(conn, FRAME_GOODBYE, 0, ETCP_CODE_UNAUTHORIZED, reason);
    else
        conn->handshake->out_len = 0; /* nothing more is sent */
    (void)fail(conn, ETCP_EHANDSHAKE, "the peer was not accepted");
}

/* ---- Frames ---------------------------------------------------------------------------------------------------------- */

/* An authenticated peer broke a rule of section 4. */
static int protocol_error(struct etcp_conn *conn, const char *rule)
{
    conn_send_code(conn, FRAME_GOODBYE, 0, ETCP_CODE_PROTOCOL_ERROR, rule);
    return fail(conn, ETCP_EPROTO, rule);
}

static int known_code(uint16_t code)
{
    return code <= ETCP_CODE_INTERNAL ? code : ETCP_CODE_INTERNAL;
}

/* Streams can't be opened now: answered without storing anything. */
static void refuse_stream(struct etcp_conn *conn, uint32_t id, enum etcp_code code, const char *reason)
{
    conn->streams.peer_highest = id;
    conn_send_code(conn, FRAME_STREAM_ERROR, id, code, reason);
}

/* `body` is the writable place of the service name: the byte before it, its length, has been read and makes room. */
static int on_open(struct etcp_conn *conn, const struct frame *frame, uint8_t *body)
{
    const char *broken = stream_check_open(&conn->streams, frame->stream);
    if (broken)
        return protocol_error(conn, broken);
    if (conn->draining || conn->peer_draining) {
        refuse_stream(conn, frame->stream, ETCP_CODE_SHUTTING_DOWN, "shutting down");
        return 0;
    }
    if (conn->streams.peer_count >= conn->max_streams) {
        conn->streams_refused++;
        refuse_stream(conn, frame->stream, ETCP_CODE_LIMIT, "too many streams in this connection");
        return 0;
    }
    struct etcp_stream *stream = stream_new(&conn->streams, conn, frame->stream, true);
    if (!stream) {
        refuse_stream(conn, frame->stream, ETCP_CODE_INTERNAL, "out of memory");
        return 0;
    }
    char *service = (char *)body;
    memmove(service, frame->data, frame->len);
    service[frame->len] = '\0';
    conn->origin = frame->origin;
    struct etcp_event *event = push_event(conn, ETCP_EVENT_OPEN);
    event->stream = stream;
    event->service = service;
    return 0;
}

/* Frames of a stream that must exist. */
static int on_stream_frame(struct etcp_conn *conn, const struct frame *frame, uint8_t *body)
{
    struct etcp_stream *stream = stream_find(&conn->streams, frame->stream);
    if (!stream) {
        const char *broken = stream_check_absent(&conn->streams, frame->stream);
        return broken ? protocol_error(conn, broken) : 0;
    }
    if (stream->ended)
        return 0;
    const char *broken = NULL;
    struct etcp_event *event;
    bool more = false;
    switch ((enum frame_id)frame->id) {
    case FRAME_STREAM_DATA:
        broken = stream_on_data(stream, frame->len);
        if (broken)
            break;
        event = push_event(conn, ETCP_EVENT_DATA);
        event->stream = stream;
        event->data = body;
        event->len = frame->len;
        break;
    case FRAME_STREAM_CLOSE:
        broken = stream_on_close(stream);
        if (!broken)
            push_event(conn, ETCP_EVENT_CLOSE)->stream = stream;
        break;
    case FRAME_STREAM_CREDIT:
        broken = stream_on_credit(stream, frame->consumed, frame->limit, &more);
        if (!broken && more)
            push_event(conn, ETCP_EVENT_CREDIT)->stream = stream;
        break;
    case FRAME_STREAM_ERROR:
        stream->ended = true;
        event = push_event(conn, ETCP_EVENT_STREAM_ERROR);
        event->stream = stream;
        event->code = known_code(frame->code);
        event->reason = (const char *)body + 2;
        event->reason_len = frame->len;
        break;
    default:
        assert(false);
    }
    return broken ? protocol_error(conn, broken) : 0;
}

static void on_heartbeat(struct etcp_conn *conn, const struct frame *frame, uint64_t now_us)
{
    if (frame->heartbeat == FRAME_ASK) {
        conn_send_frame(conn, &(struct frame){.id = FRAME_HEARTBEAT, .heartbeat = FRAME_ANSWER, .data = frame->data});
        return;
    }
    if (!conn->ask_outstanding || bytes_get_u64(frame->data) != conn->asks)
        return; /* nobody asked for it */
    conn->ask_outstanding = false;
    push_event(conn, ETCP_EVENT_PONG)->round_trip_us = now_us > conn->asked_us ? now_us - conn->asked_us : 0;
}

static void on_goodbye(struct etcp_conn *conn, const struct frame *frame, const uint8_t *body)
{
    struct etcp_event *event;
    if (frame->code == ETCP_CODE_SHUTTING_DOWN && !conn->peer_draining) {
        conn->peer_draining = true;
        event = push_event(conn, ETCP_EVENT_DRAIN);
    } else {
        event = push_event(conn, ETCP_EVENT_END);
        close_conn(conn, true);
        outbox_clear(&conn->outbox); /* Goodbye is not answered, and the peer ignores everything else by now */
    }
    event->code = known_code(frame->code);
    event->reason = (const char *)body + 2;
    event->reason_len = frame->len;
}

static int on_frame(struct etcp_conn *conn, uint8_t *plaintext, size_t len, uint64_t now_us)
{
    struct frame frame;
    const char *broken = frame_decode(plaintext, len, &frame);
    if (broken)
        return protocol_error(conn, broken);
    uint8_t *body = plaintext + FRAME_HEAD_BYTES;
    switch ((enum frame_id)frame.id) {
    case FRAME_STREAM_OPEN:
        return on_open(conn, &frame, body);
    case FRAME_STREAM_CLOSE:
    case FRAME_STREAM_DATA:
    case FRAME_STREAM_ERROR:
    case FRAME_STREAM_CREDIT:
        return on_stream_frame(conn, &frame, body);
    case FRAME_HEARTBEAT:
        on_heartbeat(conn, &frame, now_us);
        break;
    case FRAME_GOODBYE:
        on_goodbye(conn, &frame, body);
        break;
    case FRAME_EXTENSION:
        break;
    }
    return 0;
}

/* ---- Records --------------------------------------------------------------------------------------------------------- */

/* Classic: the peer has ended the connection. */
static void on_classic_end(struct etcp_conn *conn)
{
    push_event(conn, ETCP_EVENT_END);
    close_conn(conn, true);
}

static int on_record(struct etcp_conn *conn, uint8_t *record, size_t record_len, uint64_t now_us)
{
    if (!record_open(&conn->receiving, conn->pool->cache, record, record_len))
        return fail(conn, ETCP_ERECORD, "the tag of a record does not match");
    conn->last_valid_us = now_us;
    uint8_t *plaintext = record + RECORD_HEAD_BYTES;
    size_t len = record_len - RECORD_OVERHEAD_BYTES;
    if (!conn->is_up) {
        conn->is_up = true;
        push_event(conn, ETCP_EVENT_UP);
    }
    if (!conn->is_classic)
        return on_frame(conn, plaintext, len, now_us);
    if (len == 0) {
        on_classic_end(conn);
        return 0;
    }
    struct etcp_event *event = push_event(conn, ETCP_EVENT_MESSAGE);
    event->data = plaintext;
    event->len = len;
    return 0;
}

/* The head of the next record: judged as soon as there is enough of it (section 3). */
static int judge(struct etcp_conn *conn, const uint8_t *head, size_t len, size_t *ret_record_len)
{
    *ret_record_len = 0;
    switch (record_judge(&conn->receiving, head, len, conn->max_record, ret_record_len)) {
    case RECORD_MORE:
    case RECORD_OK:
        break;
    case RECORD_END:
        on_classic_end(conn);
        break;
    case RECORD_BAD_LENGTH:
        return fail(conn, ETCP_ERECORD, "the length of a record is out of range");
    case RECORD_BAD_NONCE:
        return fail(conn, ETCP_ERECORD, "the nonce of a record is not the next one");
    }
    return 0;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* A record that did not arrive in one piece. */
static int feed_partial(struct etcp_conn *conn, const uint8_t *in, size_t len, uint64_t now_us, size_t *ret_used)
{
    size_t used = 0, record_len;
    if (!conn->partial) {
        used = smaller(len, RECORD_HEAD_BYTES - (size_t)conn->head_len);
        memcpy(conn->head + conn->head_len, in, used);
        conn->head_len = (uint8_t)(conn->head_len + used);
        *ret_used = used;
        int rc = judge(conn, conn->head, conn->head_len, &record_len);
        if (rc < 0 || record_len == 0)
            return rc;
        conn->partial = malloc(record_len);
        if (!conn->partial)
            return fail(conn, ETCP_ENOMEM, "out of memory");
        memcpy(conn->partial, conn->head, RECORD_HEAD_BYTES);
        conn->partial_len = RECORD_HEAD_BYTES;
        conn->partial_size = record_len;
    }
    size_t take = smaller(len - used, conn->partial_size - conn->partial_len);
    memcpy(conn->partial + conn->partial_len, in + used, take);
    conn->partial_len += take;
    *ret_used = used + take;
    if (conn->partial_len < conn->partial_size)
        return 0;
    conn->head_len = 0;
    return on_record(conn, conn->partial, conn->partial_size, now_us);
}

static int feed_record(struct etcp_conn *conn, uint8_t *in, size_t len, uint64_t now_us, size_t *ret_used)
{
    size_t record_len;
    if (conn->head_len == 0 && len >= RECORD_HEAD_BYTES) {
        int rc = judge(conn, in, len, &record_len);
        if (rc < 0 || conn->state == CONN_CLOSING) {
            *ret_used = len;
            return rc;
        }
        if (record_len <= len) {
            *ret_used = record_len;
            return on_record(conn, in, record_len, now_us);
        }
    }
    return feed_partial(conn, in, len, now_us, ret_used);
}

int etcp_conn_feed(struct etcp_conn *conn, uint8_t *in, size_t len, uint64_t now_us, size_t *ret_used)
{
    size_t used = 0;
    int rc = 0;
    if (conn->partial && conn->partial_len == conn->partial_size && conn->events_count == 0)
        free_partial(conn);
    while (rc == 0 && used < len && conn->events_count == 0 &&
           (etcp_conn_wants_input(conn) || conn->state == CONN_CLOSING)) {
        size_t taken = 0;
        if (conn->state == CONN_HANDSHAKE)
            rc = feed_handshake(conn, in + used, len - used, &taken);
        else if (conn->state == CONN_OPEN)
            rc = feed_record(conn, in + used, len - used, now_us, &taken);
        else
            taken = len - used;
        if (conn->partial && conn->partial_len == conn->partial_size && conn->events_count == 0)
            free_partial(conn);
        used += taken;
    }
    *ret_used = used;
    return rc;
}

int etcp_conn_eof(struct etcp_conn *conn)
{
    if (conn->state == CONN_CLOSING)
        return conn->ended_well ? 0 : ETCP_ECLOSED;
    if (conn->is_classic && conn->state == CONN_OPEN && conn->head_len == 0) {
        close_conn(conn, true);
        return 0;
    }
    if (conn->state == CONN_OPEN && conn->is_up)
        return fail(conn, ETCP_ETRUNCATED, "the connection ended without a Goodbye");
    return fail(conn, ETCP_EHANDSHAKE, "the connection ended during the handshake");
}

/* ---- Its life -------------------------------------------------------------------------------------------------------- */

bool etcp_conn_ready(const struct etcp_conn *conn)
{
    return conn->state == CONN_OPEN;
}

bool etcp_conn_closing(const struct etcp_conn *conn)
{
    return conn->state == CONN_CLOSING;
}

const char *etcp_conn_error(const struct etcp_conn *conn)
{
    return conn->error;
}

int etcp_conn_suite(const struct etcp_conn *conn)
{
    return conn->handshake && conn->is_agent ? conn->handshake->suite : conn->suite;
}

const uint8_t *etcp_conn_peer_key(const struct etcp_conn *conn)
{
    bool known = conn->state == CONN_DECIDE || conn->state == CONN_OPEN || conn->keys;
    return known && !conn->is_classic ? conn->peer_key : NULL;
}

size_t etcp_conn_streams(const struct etcp_conn *conn)
{
    return conn->streams.count;
}

uint64_t etcp_conn_streams_refused(const struct etcp_conn *conn)
{
    return conn->streams_refused;
}

void etcp_conn_goodbye(struct etcp_conn *conn, enum etcp_code code, const char *reason)
{
    if (conn->state == CONN_CLOSING)
        return;
    if (conn->state != CONN_OPEN) {
        if (conn->handshake)
            conn->handshake->out_len = 0;
        (void)fail(conn, ETCP_ECLOSED, "ended during the handshake");
        return;
    }
    if (!conn->is_classic) {
        /* The first Goodbye with this code announces only (section 4): the end needs a second one. */
        if (code == ETCP_CODE_SHUTTING_DOWN && !conn->draining)
            conn_send_code(conn, FRAME_GOODBYE, 0, code, reason);
        conn_send_code(conn, FRAME_GOODBYE, 0, code, reason);
    } else if (conn->is_agent) {
        (void)conn_send_raw(conn, NULL,
                            0); /* an empty record; a failure closes the connection, which is what is wanted */
    }
    if (conn->state != CONN_CLOSING)
        close_conn(conn, true);
}

void etcp_conn_shutdown(struct etcp_conn *conn, const char *reason)
{
    /* A server has nothing to say yet. Whom it has not answered is refused when its request is there, the others are
     * told once they have been accepted: with a network key, a stranger learns nothing either way. */
    if (!conn->is_agent && (conn->state == CONN_HANDSHAKE || conn->state == CONN_DECIDE)) {
        if (conn->handshake->refuse == ETCP_REFUSAL_NONE)
            conn->handshake->refuse = ETCP_REFUSAL_SHUTTING_DOWN;
        return;
    }
    if (conn->state != CONN_OPEN || conn->is_classic) {
        etcp_conn_goodbye(conn, ETCP_CODE_SHUTTING_DOWN, reason);
        return;
    }
    if (conn->draining)
        return;
    conn_send_code(conn, FRAME_GOODBYE, 0, ETCP_CODE_SHUTTING_DOWN, reason);
    conn->draining = true;
    if (conn->streams.count == 0)
        etcp_conn_goodbye(conn, ETCP_CODE_OK, NULL);
}

int etcp_conn_ping(struct etcp_conn *conn, uint64_t now_us)
{
    if (conn->state != CONN_OPEN || conn->is_classic)
        return ETCP_ECLOSED;
    if (conn->ask_outstanding)
        return ETCP_EAGAIN;
    send_ask(conn, now_us);
    return 0;
}

uint64_t etcp_conn_deadline(const struct etcp_conn *conn)
{
    if (conn->state == CONN_HANDSHAKE)
        return conn->handshake_deadline_us;
    if (conn->state != CONN_OPEN || conn->is_classic)
        return UINT64_MAX;
    uint64_t dead = conn->last_valid_us + conn->dead_peer_timeout_us;
    uint64_t ask = conn->last_valid_us + conn->heartbeat_interval_us;
    return conn->ask_outstanding || dead < ask ? dead : ask;
}

uint64_t etcp_conn_last_heard_us(const struct etcp_conn *conn)
{
    return conn->last_valid_us;
}

int etcp_conn_tick(struct etcp_conn *conn, uint64_t now_us)
{
    if (now_us < etcp_conn_deadline(conn))
        return 0;
    if (conn->state == CONN_HANDSHAKE)
        return fail(conn, ETCP_ETIMEDOUT, "the handshake took too long");
    if (now_us >= conn->last_valid_us + conn->dead_peer_timeout_us) {
        outbox_clear(&conn->outbox);
        return fail(conn, ETCP_ELOST, "nothing valid was received for the dead-peer timeout");
    }
    send_ask(conn, now_us);
    return 0;
}
