/* SPDX-License-Identifier: MIT
 *
 * Split anywhere: every conversation has the same transcript when the wire is cut at each byte, when every byte comes by
 * itself, when it comes in pieces of any size, and when it arrives in one piece.
 *
 * Arguments: the name of one conversation, or "all"; and, for slow checkers, a stride: then only every so many bytes are
 * cut at. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "conversation.h"
#include "fixed.h"
#include "raw.h"

enum {
    SAMPLES = 60, /* cuts of a large conversation */
};

static void damage_both(struct sim *sim, const void *with)
{
    const struct sim_wire *wire = with;

    for (int way = 0; way < 2; way++) {
        sim->wire[way].damage = wire[way].damage;
        sim->wire[way].at = wire[way].at;
        sim->wire[way].bit = wire[way].bit;
    }
}

static void compare(const struct conversation *c, struct etcp_pool *pool, const struct sim_wire wire[2],
                    const char *reference)
{
    char *transcript = conversation_have(c, pool, pool, damage_both, wire, NULL);

    if (strcmp(transcript, reference) != 0) {
        (void)fprintf(stderr, "%s, cut (%d at %zu, %d at %zu):\n%s\nin one piece:\n%s\n", c->name, wire[0].damage,
                      wire[0].at, wire[1].damage, wire[1].at, transcript, reference);
        abort();
    }
    free(transcript);
}

static void split(const struct conversation *c, size_t stride)
{
    struct etcp_pool *pool = NULL;
    struct sim_wire wire[2] = {{.damage = SIM_WHOLE}, {.damage = SIM_WHOLE}};
    size_t moved[2];
    char *reference;

    CHECK_INT(etcp_pool_new(&pool), 0);
    reference = conversation_have(c, pool, pool, NULL, NULL, moved);
    if (c->expected != NULL) {
        if (strcmp(reference, c->expected) != 0) {
            (void)fprintf(stderr, "%s is\n%s\nand should be\n%s\n", c->name, reference, c->expected);
            abort();
        }
    }
    for (int way = 0; way < 2; way++) {
        size_t step = stride * (c->large ? moved[way] / SAMPLES + 1 : 1);

        for (size_t at = 0; at < moved[way]; at += step) {
            wire[way] = (struct sim_wire){.damage = SIM_CUT, .at = at};
            compare(c, pool, wire, reference);
        }
        wire[way] = (struct sim_wire){.damage = SIM_WHOLE};
    }
    for (size_t seed = 0; seed < (c->large || stride > 1 ? 3 : 20); seed++) {
        wire[0] = (struct sim_wire){.damage = SIM_CHUNKS, .at = seed};
        wire[1] = (struct sim_wire){.damage = SIM_CHUNKS, .at = seed + 1000};
        compare(c, pool, wire, reference);
    }
    if (!c->large && stride == 1) {
        wire[0] = wire[1] = (struct sim_wire){.damage = SIM_BYTES};
        compare(c, pool, wire, reference);
    }
    (void)printf("%s: %zu and %zu bytes\n", c->name, moved[0], moved[1]);
    free(reference);
    etcp_pool_free(pool);
}

/* All that an agent may say in a session whose randomness is fixed. */
static size_t monologue(const struct demo *demo, uint8_t *wire)
{
    struct raw say = raw_of(demo->suite, demo->agent_key);
    uint8_t plain[512];
    size_t len = 0;

    for (int i = 0; i < 3; i += 2) {
        memcpy(wire + len, demo->packet[i], demo->packet_len[i]);
        len += demo->packet_len[i];
    }
    len += raw_seal(&say, plain, raw_heartbeat_frame(plain, 0, 1), wire + len);
    len += raw_seal(&say, plain, raw_open_frame(plain, 1, "echo"), wire + len);
    len += raw_seal(&say, plain, raw_frame(plain, 0x05, 1, "some words", 10), wire + len);
    len += raw_seal(&say, plain, raw_frame(plain, 0x90, 7, "unknown", 7), wire + len);
    len += raw_seal(&say, plain, raw_open_frame(plain, 3, "hold"), wire + len);
    len += raw_seal(&say, plain, raw_credit_frame(plain, 3, 0, ETCP_WINDOW + 1), wire + len);
    len += raw_seal(&say, plain, raw_frame(plain, 0x05, 3, "held back", 9), wire + len);
    len += raw_seal(&say, plain, raw_open_frame(plain, 5, "nothing"), wire + len);
    len += raw_seal(&say, plain, raw_frame(plain, 0x04, 1, NULL, 0), wire + len);
    len += raw_seal(&say, plain, raw_code_frame(plain, 0x06, 3, 6, "late"), wire + len);
    len += raw_seal(&say, plain, raw_code_frame(plain, 0x0A, 0, 8, "soon"), wire + len);
    len += raw_seal(&say, plain, raw_code_frame(plain, 0x0A, 0, 0, "now"), wire + len);
    return len;
}

/* The same bytes cut in two places (or not) give the same events, each with the same content, and the same answers. */
static void replay(const struct demo *demo, size_t stride)
{
    uint8_t wire[2048];
    size_t len = monologue(demo, wire);
    struct etcp_pool *pool = NULL;
    struct end reference, e;

    CHECK(len <= sizeof(wire));
    CHECK_INT(etcp_pool_new(&pool), 0);
    end_adopt(&reference, fixed_conn(pool, demo, ETCP_SERVER, NULL, 0), ETCP_SERVER, 0);
    end_feed(&reference, wire, len);
    CHECK(reference.ended && reference.error == 0);
    for (size_t at = 0; at <= len; at += stride) {
        size_t second = at + (at * 13) % 97 < len ? at + (at * 13) % 97 : len;

        end_adopt(&e, fixed_conn(pool, demo, ETCP_SERVER, NULL, 0), ETCP_SERVER, 0);
        end_feed(&e, wire, at);
        end_feed(&e, wire + at, second - at);
        end_feed(&e, wire + second, len - second);
        CHECK_INT(e.strict.len, reference.strict.len);
        CHECK_MEM(e.strict.data, reference.strict.data, e.strict.len);
        /* After the peer's last word, what was not yet sent is not sent any more. */
        CHECK(e.out.len >= reference.out.len);
        CHECK_MEM(e.out.data, reference.out.data, demo->packet_len[1]);
        end_done(&e);
    }
    (void)printf("%s, replayed: %zu bytes\n", demo->name, len);
    end_done(&reference);
    etcp_pool_free(pool);
}

int main(int argc, char **argv)
{
    size_t ran = 0, stride = argc > 2 ? strtoul(argv[2], NULL, 10) : 1;
    bool all = argc < 2 || strcmp(argv[1], "all") == 0;

    CHECK(stride > 0);
    CHECK_INT(etcp_init(), 0);
    for (size_t i = 0; i < conversation_count; i++) {
        if ((all || strcmp(argv[1], conversations[i].name) == 0) && sim_can(conversations[i].options.suite)) {
            split(&conversations[i], stride);
            ran++;
        }
    }
    for (size_t i = 0; all && i < DEMO_SESSIONS; i++) {
        const struct demo *demo = &demo_sessions[i];

        if (demo->suite != ETCP_SUITE_CLASSIC && sim_can((enum etcp_suite)demo->suite)) {
            replay(demo, stride);
        }
    }
    CHECK(ran > 0);
    return 0;
}
