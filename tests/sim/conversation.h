/* SPDX-License-Identifier: MIT
 *
 * The conversations that the simulator has on every kind of wire: who says what, and what both ends must have been told in
 * the end, however the bytes travelled. */
#ifndef SIM_CONVERSATION_H
#define SIM_CONVERSATION_H

#include <stdbool.h>
#include <stddef.h>

#include "sim.h"

struct conversation {
    const char *name;
    struct sim_options options;
    void (*prepare)(struct sim *sim); /* what the ends are told before anything is sent; may be NULL */
    sim_script script;
    bool large;           /* too many bytes to cut at each */
    bool failed;          /* nobody says goodbye: an end of the transport is no surprise */
    const char *expected; /* the transcripts of both ends; NULL: a large one, the reference run is the measure */
};

extern const struct conversation conversations[];
extern const size_t conversation_count;

/* Has the conversation on a wire that `setup` (may be NULL) has prepared, and returns both transcripts; owned by the
 * caller. The pools may be one. Stores how many bytes went each way unless `ret_moved` is NULL. */
char *conversation_have(const struct conversation *c, struct etcp_pool *agent_pool, struct etcp_pool *server_pool,
                        void (*setup)(struct sim *sim, const void *with), const void *with, size_t ret_moved[2]);

#endif
