/* SPDX-License-Identifier: MIT
 *
 * A damaged wire: cut off at every byte, every bit of the handshake packets and a sample of those of the records flipped,
 * packets and records repeated, dropped and reordered. The connection ends, and nothing else does: another one on the same
 * pool goes on, nothing is delivered after the damage, and nobody comes up who should not. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "conversation.h"

/* The connection that must not notice. */
static struct sim bystander;
static struct end_stream *bystander_stream;

static void bystander_init(struct etcp_pool *pool, enum etcp_suite suite)
{
    struct sim_options options = {.suite = suite};

    sim_init(&bystander, pool, pool, &options);
    sim_run(&bystander);
    bystander_stream = end_open(&bystander.agent, "echo", NULL);
    CHECK(bystander_stream != NULL);
}

static void bystander_check(void)
{
    uint64_t before = bystander_stream->total;

    end_send(bystander_stream, "still here", 10);
    sim_run(&bystander);
    CHECK_INT(bystander_stream->total, before + 10);
    CHECK(etcp_conn_ready(bystander.agent.conn) && etcp_conn_ready(bystander.server.conn));
}

static void bystander_done(void)
{
    etcp_conn_goodbye(bystander.agent.conn, ETCP_CODE_OK, NULL);
    sim_run(&bystander);
    CHECK(bystander.server.ended);
    sim_done(&bystander);
}

/* A short conversation for damaged wires: whatever of it is possible happens. */
static bool damaged_script(struct sim *sim, unsigned step)
{
    struct end_stream *s;

    switch (step) {
    case 0:
        if (etcp_conn_ready(sim->agent.conn)) {
            s = end_open(&sim->agent, "echo", NULL);
            CHECK(s != NULL);
            end_send(s, "some words that are echoed", 26);
            end_close(s);
        }
        return true;
    case 1:
        etcp_conn_goodbye(sim->agent.conn, ETCP_CODE_OK, NULL);
        return true;
    default:
        return false;
    }
}

static const struct sim_options plain = {.suite = ETCP_SUITE_CHACHA20POLY1305};

struct result {
    size_t moved[2];
    bool did;
};

typedef void (*verdict)(struct sim *sim, enum sim_way way, const struct sim_wire *wire);

static struct result have(struct etcp_pool *pool, const struct sim_options *options, enum sim_way way,
                          const struct sim_wire *wire, verdict check)
{
    struct result result;
    struct sim sim;

    sim_init(&sim, pool, pool, options);
    sim.wire[way].damage = wire->damage;
    sim.wire[way].at = wire->at;
    sim.wire[way].bit = wire->bit;
    sim_talk(&sim, damaged_script);
    /* A wire that stands still, since what is on it can never be completed, ends when somebody pulls the plug. */
    sim_disconnect(&sim);
    CHECK(etcp_conn_closing(sim.agent.conn) && etcp_conn_closing(sim.server.conn));
    result = (struct result){.moved = {sim.wire[0].moved, sim.wire[1].moved}, .did = sim.wire[way].did};
    if (check != NULL) {
        check(&sim, way, wire);
    }
    sim_done(&sim);
    return result;
}

/* How much goes each way when nothing is wrong. */
static struct result undamaged(struct etcp_pool *pool, const struct sim_options *options)
{
    struct sim_wire whole = {.damage = SIM_WHOLE};

    return have(pool, options, SIM_TO_SERVER, &whole, NULL);
}

static void check_truncated(struct sim *sim, enum sim_way way, const struct sim_wire *wire)
{
    struct end *ends[2] = {&sim->agent, &sim->server};

    (void)way;
    (void)wire;
    for (int i = 0; i < 2; i++) {
        struct end *e = ends[i];

        CHECK(e->eof);
        CHECK_INT(e->error, 0);
        if (e->ended) {
            CHECK_INT(e->eof_result, 0);
        } else if (!e->up) {
            CHECK(e->eof_result == ETCP_EHANDSHAKE || e->eof_result == ETCP_ECLOSED);
        } else {
            /* 0: this end had said Goodbye itself. */
            CHECK(e->eof_result == ETCP_ETRUNCATED || e->eof_result == 0);
        }
        CHECK_INT(etcp_conn_pending(e->conn), 0);
    }
    CHECK(!sim->server.ended || sim->agent.eof_result == 0);
}

static void truncated_at_every_byte(void)
{
    struct etcp_pool *pool = NULL;
    struct result all;

    CHECK_INT(etcp_pool_new(&pool), 0);
    bystander_init(pool, plain.suite);
    all = undamaged(pool, &plain);
    for (int way = 0; way < 2; way++) {
        for (size_t at = 0; at < all.moved[way]; at++) {
            struct sim_wire wire = {.damage = SIM_TRUNCATE, .at = at};

            CHECK(have(pool, &plain, (enum sim_way)way, &wire, check_truncated).did);
        }
        bystander_check();
    }
    bystander_done();
    etcp_pool_free(pool);
}

/* Nothing of a handshake with a wrong bit in it leads anywhere. */
static void check_no_handshake(struct sim *sim, enum sim_way way, const struct sim_wire *wire)
{
    (void)way;
    (void)wire;
    CHECK(!sim->server.up);
    CHECK(!sim->agent.up);
    CHECK(sim->server.streams == NULL);
    CHECK(sim->agent.error != 0 || sim->agent.eof_result == ETCP_EHANDSHAKE);
    CHECK(sim->server.error != 0 || sim->server.eof_result == ETCP_EHANDSHAKE);
    /* Of records there was at most what an agent sends right behind its Authentication. */
    CHECK(sim->wire[SIM_TO_AGENT].moved <= 105);
}

static void flip_handshake(const struct sim_options *options)
{
    bool network = options->agent_network_key;
    const size_t request = network ? 58 : 42, response = 105, authentication = 65;
    struct etcp_pool *pool = NULL;

    if (!sim_can(options->suite)) {
        return;
    }
    CHECK_INT(etcp_pool_new(&pool), 0);
    bystander_init(pool, ETCP_SUITE_CHACHA20POLY1305);
    for (size_t at = 0; at < request + authentication; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            struct sim_wire wire = {.damage = SIM_FLIP, .at = at, .bit = bit};

            CHECK(have(pool, options, SIM_TO_SERVER, &wire, check_no_handshake).did);
        }
        bystander_check();
    }
    for (size_t at = 0; at < response; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            struct sim_wire wire = {.damage = SIM_FLIP, .at = at, .bit = bit};

            CHECK(have(pool, options, SIM_TO_AGENT, &wire, check_no_handshake).did);
        }
        bystander_check();
    }
    bystander_done();
    etcp_pool_free(pool);
}

static void every_bit_of_the_handshake(void)
{
    static const struct sim_options options = {.suite = ETCP_SUITE_CHACHA20POLY1305};

    flip_handshake(&options);
}

static void every_bit_of_the_handshake_in_a_network(void)
{
    static const struct sim_options options = {
        .suite = ETCP_SUITE_AES256GCM_NETWORK, .agent_network_key = true, .server_network_key = true};

    flip_handshake(&options);
}

/* Every bit of the classic handshake: the token proves the response to the agent; the server has to take any request whose
 * key is a key, which an agent then does not accept. */
static void check_classic_handshake(struct sim *sim, enum sim_way way, const struct sim_wire *wire)
{
    (void)way;
    (void)wire;
    CHECK(!sim->agent.up);
    CHECK_INT(sim->server.messages, 0);
    CHECK(sim->agent.error != 0 || sim->agent.eof_result == ETCP_EHANDSHAKE);
}

static bool classic_script(struct sim *sim, unsigned step)
{
    (void)sim;
    return step == 0;
}

static void every_bit_of_the_classic_handshake(void)
{
    static const struct sim_options options = {.suite = ETCP_SUITE_CLASSIC, .server = {.classic = true}};
    static const size_t sizes[2] = {42, 69};
    struct etcp_pool *pool = NULL;

    if (!sim_can(ETCP_SUITE_CLASSIC)) {
        return;
    }
    CHECK_INT(etcp_pool_new(&pool), 0);
    bystander_init(pool, ETCP_SUITE_CHACHA20POLY1305);
    for (int way = 0; way < 2; way++) {
        for (size_t at = 0; at < sizes[way]; at++) {
            for (unsigned bit = 0; bit < 8; bit++) {
                struct sim sim;

                /* RFC 7748: the top bit of a key that is received is of no meaning. */
                if (at == 32 && bit == 7) {
                    continue;
                }
                sim_init(&sim, pool, pool, &options);
                sim.wire[way].damage = SIM_FLIP;
                sim.wire[way].at = at;
                sim.wire[way].bit = bit;
                sim_talk(&sim, classic_script);
                sim_disconnect(&sim);
                CHECK(sim.wire[way].did);
                check_classic_handshake(&sim, (enum sim_way)way, NULL);
                sim_done(&sim);
            }
            bystander_check();
        }
    }
    bystander_done();
    etcp_pool_free(pool);
}

/* The end that got the bad record has failed and says nothing about it; what came before is untouched. */
static void check_bad_record(struct sim *sim, enum sim_way way, const struct sim_wire *wire)
{
    struct end *to = way == SIM_TO_SERVER ? &sim->server : &sim->agent;
    const struct end_stream *s;

    (void)wire;
    CHECK(!to->ended);
    /* A length that has become larger is waited for: then it is the end of file that is told. */
    CHECK(to->error == ETCP_ERECORD ||
          (to->error == 0 && (to->eof_result == ETCP_ETRUNCATED || to->eof_result == ETCP_EHANDSHAKE ||
                              (to == &sim->agent && to->eof_result == 0))));
    CHECK_INT(etcp_conn_pending(to->conn), 0);
    /* Only whole truth: an echo is what was sent, or not there. */
    for (s = sim->agent.streams; s != NULL; s = s->next) {
        CHECK(s->total == 0 || s->total == 26);
    }
}

static void flip_records(enum etcp_suite suite)
{
    struct sim_options options = {.suite = suite};
    struct etcp_pool *pool = NULL;
    struct result all;

    if (!sim_can(suite)) {
        return;
    }
    CHECK_INT(etcp_pool_new(&pool), 0);
    bystander_init(pool, ETCP_SUITE_CHACHA20POLY1305);
    all = undamaged(pool, &options);
    for (int way = 0; way < 2; way++) {
        for (size_t at = way == SIM_TO_SERVER ? 42 + 65 : 105; at < all.moved[way]; at++) {
            struct sim_wire wire = {.damage = SIM_FLIP, .at = at, .bit = (unsigned)at * 5 % 8};

            CHECK(have(pool, &options, (enum sim_way)way, &wire, check_bad_record).did);
        }
        bystander_check();
    }
    bystander_done();
    etcp_pool_free(pool);
}

static void a_bit_of_each_byte_of_records(void)
{
    flip_records(ETCP_SUITE_CHACHA20POLY1305);
    flip_records(ETCP_SUITE_AES256GCM);
}

static void check_order(struct sim *sim, enum sim_way way, const struct sim_wire *wire)
{
    struct end *to = way == SIM_TO_SERVER ? &sim->server : &sim->agent;

    if (!sim->wire[way].did) {
        return; /* there were not so many */
    }
    if (wire->damage == SIM_DROP) {
        /* Where nothing comes behind what is missing, the end of file is what tells; the agent may have gone by then. */
        CHECK(to->error != 0 || to->eof_result == ETCP_ETRUNCATED || to->eof_result == ETCP_EHANDSHAKE ||
              to == &sim->agent);
        CHECK(!to->ended);
    } else if (to->ended || (to == &sim->agent && sim->server.ended)) {
        /* The last word twice: what comes after a Goodbye is ignored. */
        CHECK(wire->damage == SIM_REPEAT);
        CHECK_INT(to->error, 0);
    } else {
        CHECK(to->error == ETCP_ERECORD || to->error == ETCP_EHANDSHAKE);
    }
    for (const struct end_stream *s = sim->agent.streams; s != NULL; s = s->next) {
        CHECK(s->total == 0 || s->total == 26);
    }
}

static void repeated_dropped_and_reordered(void)
{
    static const enum sim_damage damages[] = {SIM_REPEAT, SIM_DROP, SIM_SWAP};
    static const enum etcp_suite suites[] = {ETCP_SUITE_AES256GCM, ETCP_SUITE_CHACHA20POLY1305};
    struct etcp_pool *pool = NULL;

    CHECK_INT(etcp_pool_new(&pool), 0);
    bystander_init(pool, ETCP_SUITE_CHACHA20POLY1305);
    for (size_t i = 0; i < CHECK_COUNT(suites); i++) {
        struct sim_options options = {.suite = suites[i]};

        if (!sim_can(suites[i])) {
            continue;
        }
        for (size_t d = 0; d < CHECK_COUNT(damages); d++) {
            for (int way = 0; way < 2; way++) {
                unsigned done = 0;

                for (size_t at = 0; at < 12; at++) {
                    struct sim_wire wire = {.damage = damages[d], .at = at};

                    done += have(pool, &options, (enum sim_way)way, &wire, check_order).did ? 1 : 0;
                }
                CHECK(done >= 2);
            }
        }
        bystander_check();
    }
    bystander_done();
    etcp_pool_free(pool);
}

static const struct check_case cases[] = {
    CHECK_CASE(truncated_at_every_byte),
    CHECK_CASE(every_bit_of_the_handshake),
    CHECK_CASE(every_bit_of_the_handshake_in_a_network),
    CHECK_CASE(every_bit_of_the_classic_handshake),
    CHECK_CASE(a_bit_of_each_byte_of_records),
    CHECK_CASE(repeated_dropped_and_reordered),
};

int main(int argc, char **argv)
{
    CHECK_INT(etcp_init(), 0);
    return check_run(cases, CHECK_COUNT(cases), argc, argv);
}
