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
    CHECK(ran > 0);
    return 0;
}
