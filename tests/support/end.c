/* SPDX-License-Identifier: MIT */
#include "end.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

enum {
    OUT_CHUNK = 64 * 1024,
};

void end_bytes_add(struct end_bytes *b, const void *data, size_t len)
{
    if (b->len + len > b->size) {
        size_t size = (b->len + len) * 2 + 64;
        uint8_t *grown = realloc(b->data, size);

        CHECK(grown != NULL);
        b->data = grown;
        b->size = size;
    }
    if (len > 0) {
        memcpy(b->data + b->len, data, len);
        b->len += len;
    }
}

void end_bytes_drop(struct end_bytes *b, size_t len)
{
    CHECK(len <= b->len);
    if (len > 0) {
        memmove(b->data, b->data + len, b->len - len);
        b->len -= len;
    }
}

void end_bytes_done(struct end_bytes *b)
{
    free(b->data);
    memset(b, 0, sizeof(*b));
}

__attribute__((format(printf, 2, 3))) static void note(struct end_bytes *transcript, const char *format, ...)
{
    char line[1024];
    va_list args;
    int len;

    va_start(args, format);
    len = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    CHECK(len >= 0 && (size_t)len < sizeof(line));
    end_bytes_add(transcript, line, (size_t)len);
}

static uint64_t hash_more(uint64_t hash, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ data[i]) * 0x100000001b3u;
    }
    return hash;
}

int end_init(struct end *e, struct etcp_pool *pool, const struct etcp_conn_options *options, uint64_t now_us)
{
    struct etcp_conn *conn = NULL;
    int error = etcp_conn_new(pool, options, now_us, &conn);

    memset(e, 0, sizeof(*e));
    if (error == 0) {
        end_adopt(e, conn, options->role, now_us);
    }
    return error;
}

void end_adopt(struct end *e, struct etcp_conn *conn, enum etcp_role role, uint64_t now_us)
{
    memset(e, 0, sizeof(*e));
    e->conn = conn;
    e->role = role;
    e->now_us = now_us;
}

void end_done(struct end *e)
{
    struct end_stream *s, *next;

    for (s = e->streams; s != NULL; s = next) {
        next = s->next;
        end_bytes_done(&s->backlog);
        end_bytes_done(&s->transcript);
        free(s);
    }
    etcp_conn_free(e->conn);
    free(e->lent);
    end_bytes_done(&e->out);
    end_bytes_done(&e->in);
    end_bytes_done(&e->transcript);
    end_bytes_done(&e->strict);
    memset(e, 0, sizeof(*e));
}

static struct end_stream *stream_add(struct end *e, struct etcp_stream *stream)
{
    struct end_stream *s = calloc(1, sizeof(*s)), **last = &e->streams;

    CHECK(s != NULL);
    s->stream = stream;
    s->id = etcp_stream_id(stream);
    s->hash = 0xcbf29ce484222325u;
    etcp_stream_set_user(stream, s);
    while (*last != NULL) {
        last = &(*last)->next;
    }
    *last = s;
    return s;
}

struct end_stream *end_find(struct end *e, uint32_t id)
{
    struct end_stream *s = e->streams;

    while (s != NULL && s->id != id) {
        s = s->next;
    }
    return s;
}

struct end_stream *end_open(struct end *e, const char *service, const struct etcp_origin *origin)
{
    struct etcp_stream *stream = NULL;
    int error = etcp_stream_open(e->conn, service, origin, &stream);

    if (error != 0) {
        note(&e->transcript, "open %s refused %d\n", service, error);
        return NULL;
    }
    return stream_add(e, stream);
}

void end_send(struct end_stream *s, const void *data, size_t len)
{
    end_bytes_add(&s->backlog, data, len);
}

void end_close(struct end_stream *s)
{
    s->close_when_sent = true;
}

static void stream_flush_count(struct end_stream *s)
{
    if (s->received > 0) {
        note(&s->transcript, "  data %llu %016llx\n", (unsigned long long)s->received, (unsigned long long)s->hash);
        s->received = 0;
    }
}

static void stream_release(struct end_stream *s)
{
    etcp_stream_free(s->stream);
    s->stream = NULL;
    end_bytes_done(&s->backlog);
}

static void on_open(struct end *e, const struct etcp_event *event)
{
    struct end_stream *s = stream_add(e, event->stream);

    CHECK(event->origin != NULL);
    note(&s->transcript, "  open %s origin %u %u\n", event->service, event->origin->family, event->origin->port);
    if (strcmp(event->service, "echo") == 0) {
        s->service = END_ECHO;
    } else if (strcmp(event->service, "sink") == 0) {
        s->service = END_SINK;
    } else if (strcmp(event->service, "hold") == 0) {
        s->service = END_HOLD;
        s->hold_credit = true;
    } else {
        etcp_stream_fail(event->stream, ETCP_CODE_NO_SUCH_SERVICE, "no such service");
        s->stream = NULL;
        note(&s->transcript, "  refused\n");
    }
}

static void on_data(struct end_stream *s, const struct etcp_event *event)
{
    CHECK(event->len >= 1 && event->len <= ETCP_DATA_MAX);
    s->received += event->len;
    s->total += event->len;
    s->hash = hash_more(s->hash, event->data, event->len);
    if (s->service == END_ECHO) {
        end_bytes_add(&s->backlog, event->data, event->len);
        /* What a peer can make an end store is bounded by the window. */
        CHECK(s->backlog.len <= ETCP_WINDOW);
    } else if (!s->hold_credit) {
        etcp_stream_consume(s->stream, event->len);
    }
    /* The contract: the event's bytes, and those around them, are the caller's to write to. */
    memset(event->data - ETCP_DATA_HEAD, 0xa5, ETCP_DATA_HEAD + event->len + ETCP_TAG);
}

static void collect(struct end *e)
{
    uint8_t out[OUT_CHUNK];
    size_t len;

    while (etcp_conn_pending(e->conn) > 0 && (len = etcp_conn_drain(e->conn, out, sizeof(out))) > 0) {
        end_bytes_add(&e->out, out, len);
    }
}

static void on_message(struct end *e, const struct etcp_event *event)
{
    uint64_t hash = hash_more(0xcbf29ce484222325u, event->data, event->len);

    CHECK(event->len >= 1 && event->len <= ETCP_MESSAGE_MAX);
    e->messages++;
    note(&e->transcript, "message %zu %016llx\n", event->len, (unsigned long long)hash);
    if (e->role == ETCP_SERVER && !e->no_echo) {
        /* Sealed where it lies. */
        uint8_t *record = event->data - ETCP_MESSAGE_HEAD;
        size_t len = event->len;

        collect(e);
        CHECK_INT(etcp_message_seal(e->conn, record, len), 0);
        end_bytes_add(&e->out, record, ETCP_MESSAGE_HEAD + len + ETCP_TAG);
    }
}

static void on_peer(struct end *e, const struct etcp_event *event)
{
    bool classic = etcp_conn_suite(e->conn) == ETCP_SUITE_CLASSIC;

    CHECK(classic == (event->peer_key == NULL));
    note(&e->transcript, "peer %s\n", classic ? "unproved" : "proved");
    CHECK(!etcp_conn_wants_input(e->conn));
    if (e->no_decision) {
        return;
    }
    if (e->reject_reason != NULL) {
        etcp_conn_reject(e->conn, e->reject_reason);
    } else if (e->pinned != NULL && (classic || !etcp_key_equal(e->pinned, event->peer_key))) {
        etcp_conn_reject(e->conn, "another key");
    } else {
        CHECK_INT(etcp_conn_accept(e->conn, e->now_us), 0);
    }
}

static void strict_note(struct end *e, const struct etcp_event *event)
{
    note(&e->strict, "%d code %d stream %u len %zu %016llx reason %.*s\n", (int)event->type, event->code,
         event->stream != NULL ? (unsigned)etcp_stream_id(event->stream) : 0, event->len,
         (unsigned long long)hash_more(0xcbf29ce484222325u, event->data, event->data != NULL ? event->len : 0),
         (int)event->reason_len, event->reason != NULL ? event->reason : "");
}

static void on_event(struct end *e, const struct etcp_event *event)
{
    struct end_stream *s = event->stream != NULL ? etcp_stream_user(event->stream) : NULL;

    strict_note(e, event);
    e->events++;
    CHECK(!e->ended);
    switch (event->type) {
    case ETCP_EVENT_PEER:
        on_peer(e, event);
        break;
    case ETCP_EVENT_UP:
        CHECK(!e->up);
        e->up = true;
        note(&e->transcript, "up\n");
        break;
    case ETCP_EVENT_OPEN:
        CHECK(s == NULL);
        on_open(e, event);
        break;
    case ETCP_EVENT_DATA:
        CHECK(s != NULL && s->stream == event->stream);
        on_data(s, event);
        break;
    case ETCP_EVENT_CLOSE:
        CHECK(s != NULL);
        stream_flush_count(s);
        note(&s->transcript, "  close\n");
        if (s->service == END_ECHO || s->service == END_SINK) {
            s->close_when_sent = true;
        }
        break;
    case ETCP_EVENT_STREAM_ERROR:
        CHECK(s != NULL && event->reason != NULL);
        stream_flush_count(s);
        note(&s->transcript, "  error %d %.*s\n", event->code, (int)event->reason_len, event->reason);
        CHECK(etcp_stream_ended(s->stream));
        stream_release(s);
        break;
    case ETCP_EVENT_CREDIT:
        CHECK(s != NULL);
        e->credits++;
        break;
    case ETCP_EVENT_PONG:
        e->pongs++;
        note(&e->transcript, "pong\n");
        break;
    case ETCP_EVENT_DRAIN:
        CHECK(event->reason != NULL);
        note(&e->transcript, "drain %.*s\n", (int)event->reason_len, event->reason);
        break;
    case ETCP_EVENT_MESSAGE:
        on_message(e, event);
        break;
    case ETCP_EVENT_END:
        CHECK(event->reason != NULL);
        e->ended = true;
        e->end_code = event->code;
        CHECK(etcp_conn_closing(e->conn));
        note(&e->transcript, "end %d %.*s\n", event->code, (int)event->reason_len, event->reason);
        break;
    case ETCP_EVENT_REFUSED:
        e->refused_code = (unsigned)event->code;
        note(&e->transcript, "refused %d\n", event->code);
        break;
    default:
        CHECK_FAIL("an event of enum etcp_event_type");
    }
}

static void on_error(struct end *e, int error)
{
    if (error == 0) {
        return;
    }
    if (e->error == 0) {
        e->error = error;
        note(&e->transcript, "error %d %s\n", error, etcp_conn_error(e->conn) != NULL ? etcp_conn_error(e->conn) : "-");
    }
    CHECK(etcp_conn_closing(e->conn));
}

/* Echoes what is in the backlog as far as credit goes; half-closes; gives finished streams back. */
static void stream_pump(struct end *e, struct end_stream *s)
{
    uint8_t out[OUT_CHUNK];
    size_t used = 1, len;

    while (s->stream != NULL && s->backlog.len > 0 && used > 0) {
        int error = etcp_stream_send(s->stream, s->backlog.data, s->backlog.len, 0, out, sizeof(out), &used, &len);

        if (error != 0) {
            CHECK_INT(error, ETCP_ECLOSED);
            break;
        }
        end_bytes_add(&e->out, out, len);
        end_bytes_drop(&s->backlog, used);
        if (s->service == END_ECHO) {
            etcp_stream_consume(s->stream, used);
        }
        used += len;
    }
    if (s->stream != NULL && s->close_when_sent && s->backlog.len == 0) {
        etcp_stream_close(s->stream);
    }
    if (s->stream != NULL && etcp_stream_ended(s->stream)) {
        stream_flush_count(s);
        stream_release(s);
    }
}

static void events(struct end *e)
{
    struct etcp_event event;

    while (etcp_conn_next(e->conn, &event)) {
        on_event(e, &event);
    }
}

void end_pump(struct end *e)
{
    bool again = true;

    while (again) {
        size_t used = 0, offered = e->in.len;

        events(e);
        if (offered > 0 && (etcp_conn_wants_input(e->conn) || etcp_conn_closing(e->conn))) {
            /* A block of exactly this size, so that a sanitizer sees a read behind it; the one before is gone. */
            uint8_t *lent = malloc(offered);
            size_t off = 0;

            CHECK(lent != NULL);
            memcpy(lent, e->in.data, offered);
            do {
                on_error(e, etcp_conn_feed(e->conn, lent + off, offered - off, e->now_us, &used));
                CHECK(used <= offered - off);
                off += used;
                if (e->lent != lent) {
                    free(e->lent);
                    e->lent = lent;
                }
                events(e);
            } while (used > 0 && off < offered && (etcp_conn_wants_input(e->conn) || etcp_conn_closing(e->conn)));
            CHECK(off == offered || !etcp_conn_wants_input(e->conn));
            end_bytes_drop(&e->in, off);
        }
        events(e);
        if (!e->no_drain) {
            struct end_stream *s;

            collect(e);
            for (s = e->streams; s != NULL; s = s->next) {
                stream_pump(e, s);
            }
            collect(e);
        }
        again = e->in.len > 0 && (etcp_conn_wants_input(e->conn) || etcp_conn_closing(e->conn));
    }
}

void end_feed(struct end *e, const uint8_t *bytes, size_t len)
{
    end_bytes_add(&e->in, bytes, len);
    end_pump(e);
}

void end_eof(struct end *e)
{
    if (!e->eof) {
        e->eof = true;
        e->eof_result = etcp_conn_eof(e->conn);
        note(&e->transcript, "eof %d\n", e->eof_result);
        events(e);
        CHECK(etcp_conn_closing(e->conn));
    }
}

void end_tick(struct end *e, uint64_t now_us)
{
    CHECK(now_us >= e->now_us);
    e->now_us = now_us;
    on_error(e, etcp_conn_tick(e->conn, now_us));
    end_pump(e);
}

char *end_transcript(const struct end *e)
{
    struct end_bytes all = {0};
    const struct end_stream *s;

    end_bytes_add(&all, e->transcript.data, e->transcript.len);
    for (s = e->streams; s != NULL; s = s->next) {
        note(&all, "stream %u\n", (unsigned)s->id);
        end_bytes_add(&all, s->transcript.data, s->transcript.len);
        if (s->received > 0) {
            note(&all, "  data %llu %016llx\n", (unsigned long long)s->received, (unsigned long long)s->hash);
        }
    }
    end_bytes_add(&all, "", 1);
    return (char *)all.data;
}
