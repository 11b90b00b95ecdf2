/* SPDX-License-Identifier: MIT
 *
 * Everything a peer may not send, and some that it may: each input is fed to a connection of the session, in one piece and
 * byte by byte, and what comes back is opened with the session's keys by code that is not the library's. */
#include <etcp/etcp.h>

#include "demo.h"
#include "end.h"
#include "fixed.h"
#include "raw.h"
#include "vector.h"

/* One input against one side. */
struct run {
    const json_t *input;
    const struct demo *demo;
    bool to_server;
    int stage; /* index of the packet that `bytes` takes the place of; 3: records */
    struct end end;
    struct raw answers; /* opens what the side under test sends */
    bool bytewise;
};

static int stage_of(const char *stage)
{
    static const char *const names[] = {"request", "response", "authentication", "records"};
    int i = 0;

    while (strcmp(stage, names[i]) != 0) {
        i++;
        CHECK(i < 4);
    }
    return i;
}

static void feed(struct run *run, const uint8_t *bytes, size_t len)
{
    size_t step = run->bytewise && len < 4096 ? 1 : len;

    for (size_t i = 0; i < len; i += step) {
        end_feed(&run->end, bytes + i, step);
    }
}

/* The session up to the stage; what the side under test answers must be the session's own. */
static void lead_in(struct run *run)
{
    const struct demo *demo = run->demo;
    int last = run->stage < 3 ? run->stage : 3;

    end_pump(&run->end);
    for (int i = 0; i < last && demo->packet_len[i] > 0; i++) {
        bool own = (i % 2 == 0) != run->to_server;

        if (own) {
            CHECK(run->end.out.len >= demo->packet_len[i]);
            CHECK_MEM(run->end.out.data, demo->packet[i], demo->packet_len[i]);
            end_bytes_drop(&run->end.out, demo->packet_len[i]);
        } else {
            feed(run, demo->packet[i], demo->packet_len[i]);
        }
        CHECK_INT(run->end.error, 0);
    }
}

/* The next frame that the side under test has sent: 0 when there is none. */
static size_t next_frame(struct run *run, uint8_t *plain)
{
    size_t len = 0, used = raw_open(&run->answers, run->end.out.data, run->end.out.len, plain, &len);

    if (used == 0) {
        CHECK_INT(run->end.out.len, 0);
        return 0;
    }
    end_bytes_drop(&run->end.out, used);
    return len;
}

static unsigned code_in(const uint8_t *plain)
{
    return (unsigned)plain[5] << 8 | plain[6];
}

/* Nothing that is said to, or done with, an ended connection has an effect. */
static void check_dead(struct run *run)
{
    unsigned events = run->end.events;
    uint8_t more[64] = {0};

    CHECK(etcp_conn_closing(run->end.conn));
    CHECK(!etcp_conn_ready(run->end.conn));
    CHECK_INT(etcp_conn_deadline(run->end.conn), UINT64_MAX);
    end_feed(&run->end, more, sizeof(more));
    CHECK_INT(run->end.events, events);
    CHECK_INT(run->end.out.len, 0);
    CHECK_INT(etcp_conn_pending(run->end.conn), 0);
}

static void check_close(struct run *run)
{
    const char *name = vector_text(run->input, "name");
    bool trusted = strstr(name, "another-static-key") == NULL;
    uint8_t plain[RAW_MAX];
    size_t len, frames = 0;

    CHECK(etcp_conn_closing(run->end.conn));
    if (trusted) {
        CHECK(run->end.error < 0);
        CHECK(etcp_conn_error(run->end.conn) != NULL);
    }
    if (run->stage < 3) {
        CHECK_INT(run->end.out.len, 0);
        CHECK(!run->end.up || !run->to_server);
    } else if (run->demo->suite != ETCP_SUITE_CLASSIC) {
        /* Records before the bad one are processed: their answers may be here, a Goodbye never. */
        CHECK_INT(run->end.error, ETCP_ERECORD);
        while ((len = next_frame(run, plain)) > 0) {
            CHECK(plain[0] != 0x0A);
            frames++;
        }
        CHECK_INT(frames, strstr(name, "replayed") != NULL ? 1 : 0);
    } else {
        CHECK_INT(run->end.error, ETCP_ERECORD);
        CHECK_INT(run->end.out.len, 0);
    }
    check_dead(run);
    CHECK_INT(etcp_conn_eof(run->end.conn), ETCP_ECLOSED);
}

static void check_refusal(struct run *run)
{
    CHECK_INT(run->end.error, ETCP_ESUITE);
    CHECK_INT(run->end.out.len, 2);
    CHECK_INT(run->end.out.data[0], 0x0B);
    CHECK_INT(run->end.out.data[1], vector_number(run->input, "code"));
    end_bytes_drop(&run->end.out, 2);
    check_dead(run);
}

static void check_goodbye(struct run *run)
{
    uint8_t plain[RAW_MAX];
    size_t len, reason_len;
    bool said = false;

    CHECK_INT(run->end.error, ETCP_EPROTO);
    while ((len = next_frame(run, plain)) > 0) {
        CHECK(!said); /* it is the last frame */
        if (plain[0] == 0x0A) {
            said = true;
            CHECK_INT(code_in(plain), vector_number(run->input, "code"));
            /* The reason names the rule. */
            reason_len = len - 7;
            CHECK_INT(reason_len, strlen(etcp_conn_error(run->end.conn)));
            CHECK_MEM(plain + 7, etcp_conn_error(run->end.conn), reason_len);
        }
    }
    CHECK(said);
    check_dead(run);
}

static void check_stream_error(struct run *run)
{
    uint8_t plain[RAW_MAX];
    size_t len;
    bool said = false;

    CHECK_INT(run->end.error, 0);
    CHECK(etcp_conn_ready(run->end.conn));
    while ((len = next_frame(run, plain)) > 0) {
        CHECK(plain[0] != 0x0A);
        if (plain[0] == 0x06) {
            CHECK(len >= 7 && !said);
            said = true;
            CHECK_INT(code_in(plain), vector_number(run->input, "code"));
        }
    }
    CHECK(said);
}

static void check_heartbeat_answer(struct run *run)
{
    uint8_t plain[RAW_MAX];
    size_t len;
    bool said = false;

    CHECK_INT(run->end.error, 0);
    CHECK(etcp_conn_ready(run->end.conn));
    while ((len = next_frame(run, plain)) > 0) {
        CHECK(plain[0] != 0x0A);
        said = plain[0] == 0x07 && plain[5] == 1;
    }
    CHECK(said);
}

static void check_ends_well(struct run *run)
{
    CHECK_INT(run->end.error, 0);
    CHECK(run->end.ended);
    if (strstr(vector_text(run->input, "name"), "unknown-code") != NULL) {
        CHECK_INT(run->end.end_code, ETCP_CODE_INTERNAL);
    }
    if (strstr(vector_text(run->input, "name"), "nonce-twice") != NULL) {
        CHECK_INT(run->end.messages, 2);
    }
    end_bytes_drop(&run->end.out, run->end.out.len);
    check_dead(run);
    CHECK_INT(etcp_conn_eof(run->end.conn), 0);
}

static void run_input(const json_t *input, struct etcp_pool *pool, bool bytewise)
{
    static const struct {
        const char *outcome;
        void (*check)(struct run *run);
    } outcomes[] = {
        {"close", check_close},
        {"refusal", check_refusal},
        {"goodbye", check_goodbye},
        {"stream-error", check_stream_error},
        {"heartbeat-answer", check_heartbeat_answer},
        {"ends-well", check_ends_well},
    };
    struct vector_bytes bytes = vector_hex(input, "bytes");
    struct run run = {.input = input, .bytewise = bytewise};
    uint8_t server_public[ETCP_KEY_BYTES];
    enum etcp_role role;
    size_t i;

    for (i = 0; strncmp(demo_sessions[i].name, vector_text(input, "session"), 64) != 0; i++) {
        CHECK(i + 1 < DEMO_SESSIONS);
    }
    run.demo = &demo_sessions[i];
    run.to_server = strcmp(vector_text(input, "to"), "server") == 0;
    run.stage = stage_of(vector_text(input, "stage"));
    CHECK_INT(run.to_server, run.stage != 1);
    role = run.to_server ? ETCP_SERVER : ETCP_AGENT;
    run.answers = raw_of(run.demo->suite, run.to_server ? run.demo->server_key : run.demo->agent_key);
    end_adopt(&run.end, fixed_conn(pool, run.demo, role, NULL, 0), role, 0);
    if (!run.to_server && run.demo->suite != ETCP_SUITE_CLASSIC) {
        etcp_key_public(run.demo->server_secret, server_public);
        run.end.pinned = server_public;
    }
    lead_in(&run);
    feed(&run, bytes.data, bytes.len);
    for (i = 0; strcmp(outcomes[i].outcome, vector_text(input, "outcome")) != 0; i++) {
        CHECK(i + 1 < CHECK_COUNT(outcomes));
    }
    outcomes[i].check(&run);
    end_done(&run.end);
    free(bytes.data);
}

int main(int argc, char **argv)
{
    json_t *root = vector_load("etcp-sessions.json"), *input;
    struct etcp_pool *pool = NULL;
    size_t i, skipped = 0;

    CHECK_INT(etcp_init(), 0);
    CHECK_INT(etcp_pool_new(&pool), 0);
    json_array_foreach(vector_array(root, "inputs"), i, input)
    {
        const char *name = vector_text(input, "name");

        if (argc > 1 && strcmp(argv[1], name) != 0) {
            continue;
        }
        if (strstr(vector_text(input, "session"), "chacha") == NULL && !etcp_suite_available(ETCP_SUITE_AES256GCM)) {
            skipped++;
            continue;
        }
        (void)printf("%s: %s (%s)\n", name, vector_text(input, "outcome"), vector_text(input, "rule"));
        (void)fflush(stdout);
        run_input(input, pool, false);
        run_input(input, pool, true);
    }
    if (skipped > 0) {
        (void)printf("skipped: %zu inputs in suites that this processor can't run\n", skipped);
    }
    etcp_pool_free(pool);
    json_decref(root);
    return 0;
}
