/* SPDX-License-Identifier: MIT
 *
 * Two connections on a wire in memory, under a virtual clock. The wire can cut, hold back, truncate, flip, repeat, drop
 * and reorder; a conversation is a script that acts whenever both ends have gone quiet. */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "end.h"

enum sim_way {
    SIM_TO_SERVER = 0,
    SIM_TO_AGENT = 1,
};

enum sim_damage {
    SIM_WHOLE = 0, /* everything at once */
    SIM_CUT,       /* up to byte `at`, and the rest when all is quiet */
    SIM_BYTES,     /* byte by byte */
    SIM_CHUNKS,    /* in pieces of pseudo-random size, from `at` as the seed */
    SIM_TRUNCATE,  /* up to byte `at`, then the end of file in both directions */
    SIM_FLIP,      /* bit `bit` of byte `at` */
    SIM_REPEAT,    /* packet or record number `at` twice */
    SIM_DROP,      /* without packet or record number `at` */
    SIM_SWAP,      /* packets or records number `at` and `at` + 1 in the other order */
};

struct sim_wire {
    enum sim_damage damage;
    size_t at;
    unsigned bit;
    size_t moved;             /* bytes delivered so far */
    size_t packets;           /* packets and records so far (repeat, drop, swap) */
    struct end_bytes waiting; /* bytes of a packet that is not complete, or that is held back */
    bool held;                /* cut: until all is quiet */
    bool did;                 /* the damage was done */
    uint32_t random;
};

struct sim {
    struct end agent, server;
    struct sim_wire wire[2];
    enum etcp_suite suite;
    uint64_t now_us;
};

struct sim_options {
    enum etcp_suite suite;
    bool server_network_key, agent_network_key; /* 0x11 and 0x12 need the agent's */
    bool wrong_network_key;                     /* the server's is another */
    struct etcp_conn_options agent, server;     /* what else to set: timeouts, limits, refuse */
};

/* What the script does when all is quiet for the `step`th time (from 0); false: nothing, the conversation is over. */
typedef bool (*sim_script)(struct sim *sim, unsigned step);

/* Whether this machine can run the suite. */
bool sim_can(enum etcp_suite suite);

/* Two ends, nothing sent yet. The pools may be one. */
void sim_init(struct sim *sim, struct etcp_pool *agent_pool, struct etcp_pool *server_pool,
              const struct sim_options *options);
void sim_done(struct sim *sim);

/* Moves bytes until nothing moves any more. Closes the transport when an end has closed and said its last words. */
void sim_run(struct sim *sim);

/* Runs the script to its end, and the wire after each step. Bounded. */
void sim_talk(struct sim *sim, sim_script script);

/* Lets time pass in both ends: to each deadline on the way, running the wire in between. */
void sim_pass(struct sim *sim, uint64_t us);

/* The end of file in both directions. */
void sim_disconnect(struct sim *sim);

#endif
