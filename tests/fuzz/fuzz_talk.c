/* SPDX-License-Identifier: MIT
 *
 * A whole connection behind its handshake: the input is a program that has the peer say frames, well-formed or not, sealed
 * with the right keys, and has the owner open, send, close, consume and shut down in between. All that the connection says
 * must open, be a frame, and keep the rules of section 4. */
#include "check.h"
#include "core/frame.h"
#include "fuzz.h"
#include "scripted.h"

enum {
    IDS = 16,
    STEPS = 400,
};

/* What the connection has said, by id. */
struct said {
    bool open, closed, ended;
    uint64_t sent, limit;
};

struct talk {
    struct scripted s;
    struct said said[2 * IDS];
    bool goodbye;
    uint64_t now_us;
};

static struct said *said_of(struct talk *talk, uint32_t id)
{
    return id < 2 * IDS ? &talk->said[id] : NULL;
}

/* A frame that the connection has sent. */
static void hear(struct talk *talk)
{
    struct frame frame;
    struct said *said;

    CHECK(frame_decode(talk->s.plain, talk->s.plain_len, &frame) == NULL);
    CHECK(!talk->goodbye);
    said = said_of(talk, frame.stream);
    switch (frame.id) {
    case FRAME_STREAM_OPEN:
        CHECK_INT(frame.stream % 2, talk->s.end.role == ETCP_AGENT ? 1 : 0);
        CHECK(said == NULL || !said->open);
        if (said != NULL) {
            said->open = true;
        }
        break;
    case FRAME_STREAM_DATA:
        if (said != NULL) {
            CHECK(!said->closed && !said->ended);
            said->sent += frame.len;
            CHECK(said->sent <= said->limit);
        }
        break;
    case FRAME_STREAM_CLOSE:
        if (said != NULL) {
            CHECK(!said->closed && !said->ended);
            said->closed = true;
        }
        break;
    case FRAME_STREAM_ERROR:
        if (said != NULL) {
            CHECK(!said->ended);
            said->ended = true;
        }
        break;
    case FRAME_GOODBYE:
        talk->goodbye = etcp_conn_closing(talk->s.end.conn) && talk->s.end.out.len == 0;
        break;
    case FRAME_HEARTBEAT:
    case FRAME_STREAM_CREDIT:
        break;
    default:
        CHECK_FAIL("a frame of version 1");
    }
}

static void hear_all(struct talk *talk)
{
    while (scripted_hear(&talk->s)) {
        hear(talk);
    }
}

static struct end_stream *some_stream(struct talk *talk, struct fuzz_input *in)
{
    struct end_stream *s = end_find(&talk->s.end, fuzz_take(in, 1) % IDS);

    return s != NULL && s->stream != NULL ? s : NULL;
}

static void say_any(struct talk *talk, struct fuzz_input *in)
{
    static uint8_t plain[2048];
    size_t len = fuzz_take(in, 2) % sizeof(plain);

    len = len < in->left ? len : in->left;
    memcpy(plain, in->at, len);
    in->at += len;
    in->left -= len;
    while (len < 5) {
        plain[len++] = 0;
    }
    scripted_say(&talk->s, plain, len);
}

static void say_credit(struct talk *talk, struct fuzz_input *in)
{
    uint32_t id = fuzz_take(in, 1) % IDS;
    uint64_t consumed = fuzz_take(in, 3), limit = consumed + fuzz_take(in, 3);
    struct said *said = said_of(talk, id);

    /* It counts when it is taken in, which is before anything else is said. */
    if (limit > said->limit) {
        said->limit = limit;
    }
    scripted_say_credit(&talk->s, id, consumed, limit);
}

static void own_send(struct talk *talk, struct fuzz_input *in)
{
    struct end_stream *s = some_stream(talk, in);
    size_t len = fuzz_take(in, 2);
    uint8_t *data;

    if (s == NULL || s->service == END_ECHO || s->close_when_sent || s->backlog.len > 300000) {
        return;
    }
    data = calloc(1, len + 1);
    CHECK(data != NULL);
    end_send(s, data, len);
    free(data);
}

static void own_fail(struct talk *talk, struct fuzz_input *in)
{
    struct end_stream *s = some_stream(talk, in);

    if (s != NULL) {
        etcp_stream_fail(s->stream, (enum etcp_code)(fuzz_take(in, 1) % 10), "as the input wants it");
        s->stream = NULL;
    }
}

static void step(struct talk *talk, struct fuzz_input *in)
{
    static const char *const services[] = {"echo", "sink", "hold", "other"};
    struct end *e = &talk->s.end;
    struct end_stream *s;
    uint32_t id;
    int error;

    switch (fuzz_take(in, 1) % 16) {
    case 0:
        say_any(talk, in);
        break;
    case 1:
    case 2:
        id = fuzz_take(in, 1) % IDS;
        scripted_say_data(&talk->s, id, fuzz_take(in, 2) % ETCP_DATA_MAX);
        break;
    case 3:
        say_credit(talk, in);
        break;
    case 4:
        id = fuzz_take(in, 1) % IDS;
        scripted_say_open(&talk->s, id, services[fuzz_take(in, 1) % CHECK_COUNT(services)]);
        break;
    case 5:
        scripted_say_frame(&talk->s, FRAME_STREAM_CLOSE, fuzz_take(in, 1) % IDS, NULL, 0);
        break;
    case 6:
        id = fuzz_take(in, 1) % IDS;
        scripted_say_code(&talk->s, id == 0 ? FRAME_GOODBYE : FRAME_STREAM_ERROR, id, (uint16_t)fuzz_take(in, 1),
                          "because");
        break;
    case 7:
        scripted_say_heartbeat(&talk->s, (uint8_t)(fuzz_take(in, 1) % 3), fuzz_take(in, 1));
        break;
    case 8:
        if (e->streams == NULL || e->streams->next == NULL || etcp_conn_streams(e->conn) < IDS) {
            (void)end_open(e, services[fuzz_take(in, 1) % CHECK_COUNT(services)], NULL);
        }
        break;
    case 9:
        own_send(talk, in);
        break;
    case 10:
        s = some_stream(talk, in);
        if (s != NULL) {
            end_close(s);
        }
        break;
    case 11:
        own_fail(talk, in);
        break;
    case 12:
        s = some_stream(talk, in);
        if (s != NULL && s->service != END_ECHO) {
            etcp_stream_consume(s->stream, fuzz_take(in, 3));
        }
        break;
    case 13:
        talk->now_us += fuzz_take(in, 3);
        end_tick(e, talk->now_us);
        break;
    case 14:
        e->no_drain = !e->no_drain;
        break;
    default:
        id = fuzz_take(in, 1);
        if (id < 8) {
            etcp_conn_shutdown(e->conn, "shutting down");
        } else if (id < 12) {
            etcp_conn_goodbye(e->conn, (enum etcp_code)(id % 10), NULL);
        } else {
            error = etcp_conn_ping(e->conn, talk->now_us);
            CHECK(error == 0 || error == ETCP_EAGAIN || error == ETCP_ECLOSED);
        }
        break;
    }
    hear_all(talk);
    CHECK(e->no_drain || etcp_conn_pending(e->conn) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct talk talk;
    struct fuzz_input in = {.at = data, .left = size};
    struct etcp_conn_options options = {.max_streams = 4};

    CHECK_INT(etcp_init(), 0);
    memset(&talk, 0, sizeof(talk));
    for (int i = 0; i < 2 * IDS; i++) {
        talk.said[i].limit = ETCP_WINDOW;
    }
    scripted_init(&talk.s, ETCP_SUITE_CHACHA20POLY1305, fuzz_take(&in, 1) % 2 == 0 ? ETCP_SERVER : ETCP_AGENT,
                  &options);
    for (int i = 0; i < STEPS && in.left > 0; i++) {
        step(&talk, &in);
    }
    talk.s.end.no_drain = false;
    hear_all(&talk);
    end_eof(&talk.s.end);
    scripted_done(&talk.s);
    return 0;
}
