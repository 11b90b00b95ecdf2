/* SPDX-License-Identifier: MIT */
#include "conversation.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "conversation_expected.h"

enum {
    BULK = 1 << 20,
};

static void send_pattern(struct end_stream *s, size_t len, unsigned seed)
{
    uint8_t *data = malloc(len);

    CHECK(data != NULL);
    for (size_t i = 0; i < len; i++) {
        data[i] = (uint8_t)(i * 7 + (i >> 8) + seed);
    }
    end_send(s, data, len);
    free(data);
}

static void send_message(struct sim *sim, struct end *from, size_t len, unsigned seed)
{
    uint8_t *data = malloc(len), *out = malloc(len + ETCP_MESSAGE_HEAD + ETCP_TAG);
    size_t out_len = 0;

    (void)sim;
    CHECK(data != NULL && out != NULL);
    memset(data, (int)seed, len);
    CHECK_INT(etcp_message_send(from->conn, data, len, out, len + ETCP_MESSAGE_HEAD + ETCP_TAG, &out_len), 0);
    CHECK_INT(out_len, len + ETCP_MESSAGE_HEAD + ETCP_TAG);
    end_bytes_add(&from->out, out, out_len);
    free(data);
    free(out);
}

static bool echo_script(struct sim *sim, unsigned step)
{
    struct end_stream *s = end_find(&sim->agent, 1);

    switch (step) {
    case 0:
        s = end_open(&sim->agent, "echo", NULL);
        CHECK(s != NULL);
        end_send(s, "Hello", 5);
        return true;
    case 1:
        CHECK_INT(s->total, 5);
        send_pattern(s, 300, 1);
        end_close(s);
        return true;
    case 2:
        CHECK_INT(s->total, 305);
        CHECK(s->stream == NULL);
        CHECK_INT(etcp_conn_ping(sim->agent.conn, sim->now_us), 0);
        CHECK_INT(etcp_conn_ping(sim->agent.conn, sim->now_us), ETCP_EAGAIN);
        return true;
    case 3:
        CHECK_INT(sim->agent.pongs, 2);
        CHECK_INT(etcp_conn_streams(sim->agent.conn), 0);
        CHECK_INT(etcp_conn_streams(sim->server.conn), 0);
        etcp_conn_goodbye(sim->agent.conn, ETCP_CODE_OK, "done");
        return true;
    default:
        return false;
    }
}

/* Data, half-close and a stream at once, without waiting for anything; the server opens streams too. */
static bool streams_script(struct sim *sim, unsigned step)
{
    static const struct etcp_origin v4 = {.family = 4, .address = {192, 0, 2, 7}, .port = 4711};
    static const struct etcp_origin v6 = {.family = 6, .address = {0x20, 1, 0xd, 0xb8}, .port = 65535};
    struct end_stream *s;

    switch (step) {
    case 0:
        s = end_open(&sim->agent, "echo", &v4);
        CHECK(s != NULL);
        send_pattern(s, 100, 1);
        end_close(s);
        s = end_open(&sim->agent, "no-such.service_1", NULL);
        CHECK(s != NULL);
        send_pattern(s, 50, 2);
        s = end_open(&sim->agent, "sink", &v6);
        CHECK(s != NULL);
        send_pattern(s, 200, 3);
        s = end_open(&sim->server, "echo", NULL);
        CHECK(s != NULL);
        send_pattern(s, 30, 4);
        s = end_open(&sim->agent, "hold", NULL);
        CHECK(s != NULL);
        send_pattern(s, 20, 5);
        return true;
    case 1:
        s = end_find(&sim->server, 2);
        CHECK_INT(s->total, 30);
        end_close(s);
        end_close(end_find(&sim->agent, 5));
        /* The opener gives up a stream; the peer is told. */
        s = end_find(&sim->agent, 7);
        etcp_stream_fail(s->stream, ETCP_CODE_TIMEOUT, "took too long");
        s->stream = NULL;
        return true;
    case 2:
        CHECK(end_find(&sim->server, 7)->stream == NULL);
        CHECK_INT(etcp_conn_streams(sim->agent.conn), 0);
        CHECK_INT(etcp_conn_streams(sim->server.conn), 0);
        etcp_conn_goodbye(sim->server.conn, ETCP_CODE_OK, NULL);
        return true;
    default:
        return false;
    }
}

/* Four windows each way, through an echo that reads no faster than it can write. */
static bool bulk_script(struct sim *sim, unsigned step)
{
    struct end_stream *s = end_find(&sim->agent, 1);

    switch (step) {
    case 0:
        s = end_open(&sim->agent, "echo", NULL);
        CHECK(s != NULL);
        send_pattern(s, BULK, 9);
        end_close(s);
        return true;
    case 1:
        CHECK_INT(s->total, BULK);
        CHECK(s->stream == NULL);
        CHECK(sim->agent.credits > 0 && sim->server.credits > 0);
        etcp_conn_goodbye(sim->agent.conn, ETCP_CODE_OK, NULL);
        return true;
    default:
        return false;
    }
}

/* The server shuts down while a stream is open: it goes on, others are refused, the last one ends the connection. */
static bool drain_script(struct sim *sim, unsigned step)
{
    struct end_stream *s = end_find(&sim->agent, 1);

    switch (step) {
    case 0:
        s = end_open(&sim->agent, "echo", NULL);
        CHECK(s != NULL);
        end_send(s, "one", 3);
        return true;
    case 1:
        etcp_conn_shutdown(sim->server.conn, "back soon");
        CHECK(!etcp_conn_closing(sim->server.conn));
        /* This stream crosses the Goodbye. */
        s = end_open(&sim->agent, "echo", NULL);
        CHECK(s != NULL);
        return true;
    case 2:
        CHECK(end_find(&sim->agent, 3)->stream == NULL);
        CHECK(end_open(&sim->agent, "echo", NULL) == NULL);
        CHECK(end_open(&sim->server, "echo", NULL) == NULL);
        end_send(s, "two", 3);
        end_close(s);
        return true;
    case 3:
        CHECK_INT(s->total, 6);
        CHECK(sim->agent.ended);
        return true;
    default:
        return false;
    }
}

/* A Goodbye in the middle of things. */
static bool cut_off_script(struct sim *sim, unsigned step)
{
    struct end_stream *s;

    switch (step) {
    case 0:
        s = end_open(&sim->agent, "hold", NULL);
        CHECK(s != NULL);
        send_pattern(s, 1000, 1);
        s = end_open(&sim->agent, "echo", NULL);
        CHECK(s != NULL);
        send_pattern(s, 10, 1);
        return true;
    case 1:
        etcp_conn_goodbye(sim->server.conn, ETCP_CODE_SHUTTING_DOWN, "at once");
        CHECK(etcp_conn_closing(sim->server.conn));
        CHECK(!etcp_conn_ready(sim->server.conn));
        return true;
    case 2:
        CHECK(!etcp_conn_ready(sim->agent.conn));
        return true;
    default:
        return false;
    }
}

static void reject_agent(struct sim *sim)
{
    sim->server.reject_reason = "not in the list";
}

static void reject_server(struct sim *sim)
{
    static const uint8_t other[ETCP_KEY_BYTES] = {1};

    sim->agent.pinned = other;
}

static bool unauthorized_script(struct sim *sim, unsigned step)
{
    (void)sim;
    return step == 0;
}

static bool wrong_server_script(struct sim *sim, unsigned step)
{
    if (step == 0) {
        /* Not a byte more than the request was sent to a server that is not the one. */
        CHECK_INT(sim->wire[SIM_TO_SERVER].moved, 42);
        CHECK_INT(sim->agent.out.len, 0);
        CHECK_INT(etcp_conn_pending(sim->agent.conn), 0);
    }
    return step == 0;
}

static bool refused_script(struct sim *sim, unsigned step)
{
    CHECK_INT(sim->wire[SIM_TO_AGENT].moved, 2);
    CHECK_INT(sim->agent.error, ETCP_EREFUSED);
    return step == 0;
}

static bool silence_script(struct sim *sim, unsigned step)
{
    CHECK_INT(sim->wire[SIM_TO_AGENT].moved, 0);
    CHECK(etcp_conn_closing(sim->server.conn));
    return step == 0;
}

static bool classic_script(struct sim *sim, unsigned step)
{
    switch (step) {
    case 0:
        send_message(sim, &sim->agent, 18, 'h');
        send_message(sim, &sim->agent, 1, 'x');
        return true;
    case 1:
        CHECK_INT(sim->agent.messages, 2);
        send_message(sim, &sim->agent, 500, 'y');
        return true;
    case 2:
        CHECK_INT(sim->agent.messages, 3);
        etcp_conn_goodbye(sim->agent.conn, ETCP_CODE_OK, NULL);
        return true;
    default:
        return false;
    }
}

static bool classic_large_script(struct sim *sim, unsigned step)
{
    switch (step) {
    case 0:
        send_message(sim, &sim->agent, ETCP_MESSAGE_MAX, 'h');
        send_message(sim, &sim->agent, ETCP_MESSAGE_MAX, 'i');
        return true;
    case 1:
        CHECK_INT(sim->agent.messages, 2);
        /* A server has no last words in this suite: it ends with the transport. */
        etcp_conn_goodbye(sim->server.conn, ETCP_CODE_OK, NULL);
        return true;
    default:
        return false;
    }
}

const struct conversation conversations[] = {
    {
        .name = "echo-aes256gcm",
        .options = {.suite = ETCP_SUITE_AES256GCM},
        .script = echo_script,
        .expected = ECHO_EXPECTED,
    },
    {
        .name = "echo-chacha20poly1305",
        .options = {.suite = ETCP_SUITE_CHACHA20POLY1305},
        .script = echo_script,
        .expected = ECHO_EXPECTED,
    },
    {
        .name = "echo-aes256gcm-network",
        .options = {.suite = ETCP_SUITE_AES256GCM_NETWORK, .agent_network_key = true, .server_network_key = true},
        .script = echo_script,
        .expected = ECHO_EXPECTED,
    },
    {
        .name = "echo-chacha20poly1305-network",
        .options = {.suite = ETCP_SUITE_CHACHA20POLY1305_NETWORK,
                    .agent_network_key = true,
                    .server_network_key = true},
        .script = echo_script,
        .expected = ECHO_EXPECTED,
    },
    {
        .name = "streams",
        .options = {.suite = ETCP_SUITE_CHACHA20POLY1305},
        .script = streams_script,
        .expected = STREAMS_EXPECTED,
    },
    {
        .name = "bulk",
        .options = {.suite = ETCP_SUITE_AES256GCM},
        .script = bulk_script,
        .large = true,
    },
    {
        .name = "drain",
        .options = {.suite = ETCP_SUITE_CHACHA20POLY1305},
        .script = drain_script,
        .expected = DRAIN_EXPECTED,
    },
    {
        .name = "cut-off",
        .options = {.suite = ETCP_SUITE_CHACHA20POLY1305},
        .script = cut_off_script,
        .expected = CUT_OFF_EXPECTED,
    },
    {
        .name = "unauthorized",
        .options = {.suite = ETCP_SUITE_CHACHA20POLY1305},
        .prepare = reject_agent,
        .script = unauthorized_script,
        .expected = UNAUTHORIZED_EXPECTED,
    },
    {
        .name = "wrong-server",
        .options = {.suite = ETCP_SUITE_CHACHA20POLY1305},
        .prepare = reject_server,
        .script = wrong_server_script,
        .failed = true,
        .expected = WRONG_SERVER_EXPECTED,
    },
    {
        .name = "busy",
        .options = {.suite = ETCP_SUITE_AES256GCM, .server = {.refuse = ETCP_REFUSAL_BUSY}},
        .script = refused_script,
        .failed = true,
        .expected = BUSY_EXPECTED,
    },
    {
        .name = "shutting-down",
        .options = {.suite = ETCP_SUITE_AES256GCM, .server = {.refuse = ETCP_REFUSAL_SHUTTING_DOWN}},
        .script = refused_script,
        .failed = true,
        .expected = SHUTTING_DOWN_EXPECTED,
    },
    {
        .name = "classic-not-served",
        .options = {.suite = ETCP_SUITE_CLASSIC},
        .script = refused_script,
        .failed = true,
        .expected = CLASSIC_NOT_SERVED_EXPECTED,
    },
    {
        .name = "network-not-served",
        .options = {.suite = ETCP_SUITE_CHACHA20POLY1305_NETWORK, .agent_network_key = true},
        .script = refused_script,
        .failed = true,
        .expected = NETWORK_NOT_SERVED_EXPECTED,
    },
    {
        .name = "network-stranger",
        .options = {.suite = ETCP_SUITE_CHACHA20POLY1305, .server_network_key = true},
        .script = silence_script,
        .failed = true,
        .expected = STRANGER_EXPECTED,
    },
    {
        .name = "network-stranger-while-busy",
        .options = {.suite = ETCP_SUITE_CHACHA20POLY1305,
                    .server_network_key = true,
                    .server = {.refuse = ETCP_REFUSAL_BUSY}},
        .script = silence_script,
        .failed = true,
        .expected = STRANGER_EXPECTED,
    },
    {
        .name = "network-wrong-key",
        .options = {.suite = ETCP_SUITE_AES256GCM_NETWORK,
                    .agent_network_key = true,
                    .server_network_key = true,
                    .wrong_network_key = true},
        .script = silence_script,
        .failed = true,
        .expected = WRONG_NETWORK_KEY_EXPECTED,
    },
    {
        .name = "network-wrong-key-while-busy",
        .options = {.suite = ETCP_SUITE_AES256GCM_NETWORK,
                    .agent_network_key = true,
                    .server_network_key = true,
                    .wrong_network_key = true,
                    .server = {.refuse = ETCP_REFUSAL_BUSY}},
        .script = silence_script,
        .failed = true,
        .expected = WRONG_NETWORK_KEY_EXPECTED,
    },
    {
        .name = "network-busy",
        .options = {.suite = ETCP_SUITE_AES256GCM_NETWORK,
                    .agent_network_key = true,
                    .server_network_key = true,
                    .server = {.refuse = ETCP_REFUSAL_BUSY}},
        .script = refused_script,
        .failed = true,
        .expected = BUSY_EXPECTED,
    },
    {
        .name = "classic",
        .options = {.suite = ETCP_SUITE_CLASSIC, .server = {.classic = true}},
        .script = classic_script,
        .expected = CLASSIC_EXPECTED,
    },
    {
        .name = "classic-large",
        .options = {.suite = ETCP_SUITE_CLASSIC, .server = {.classic = true}},
        .script = classic_large_script,
        .large = true,
    },
};

const size_t conversation_count = CHECK_COUNT(conversations);

char *conversation_have(const struct conversation *c, struct etcp_pool *agent_pool, struct etcp_pool *server_pool,
                        void (*setup)(struct sim *sim, const void *with), const void *with, size_t ret_moved[2])
{
    char *agent, *server, *both = NULL;
    struct sim sim;

    sim_init(&sim, agent_pool, server_pool, &c->options);
    if (c->prepare != NULL) {
        c->prepare(&sim);
    }
    if (setup != NULL) {
        setup(&sim, with);
    }
    sim_talk(&sim, c->script);
    agent = end_transcript(&sim.agent);
    server = end_transcript(&sim.server);
    CHECK(asprintf(&both, "agent\n%sserver\n%s", agent, server) > 0);
    free(agent);
    free(server);
    if (ret_moved != NULL) {
        ret_moved[SIM_TO_SERVER] = sim.wire[SIM_TO_SERVER].moved;
        ret_moved[SIM_TO_AGENT] = sim.wire[SIM_TO_AGENT].moved;
    }
    sim_done(&sim);
    return both;
}
