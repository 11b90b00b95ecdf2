/* SPDX-License-Identifier: MIT */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

static const uint8_t agent_secret[ETCP_KEY_BYTES] = {1, 2, 3}, server_secret[ETCP_KEY_BYTES] = {4, 5, 6},
                     network_key[ETCP_KEY_BYTES] = {7, 8, 9}, other_network_key[ETCP_KEY_BYTES] = {7, 8, 10};

bool sim_can(enum etcp_suite suite)
{
    if (!etcp_suite_available(suite)) {
        (void)printf("skipped: suite 0x%02x, which this processor can't run\n", (unsigned)suite);
        return false;
    }
    return true;
}

void sim_init(struct sim *sim, struct etcp_pool *agent_pool, struct etcp_pool *server_pool,
              const struct sim_options *options)
{
    struct etcp_conn_options agent = options->agent, server = options->server;
    struct etcp_identity *agent_identity = NULL, *server_identity = NULL;

    memset(sim, 0, sizeof(*sim));
    sim->now_us = 1000000;
    sim->suite = options->suite;
    CHECK_INT(etcp_identity_new(agent_secret, options->agent_network_key ? network_key : NULL, &agent_identity), 0);
    CHECK_INT(etcp_identity_new(
                  server_secret,
                  options->server_network_key ? (options->wrong_network_key ? other_network_key : network_key) : NULL,
                  &server_identity),
              0);
    agent.role = ETCP_AGENT;
    agent.suite = options->suite;
    agent.identity = options->suite == ETCP_SUITE_CLASSIC ? NULL : agent_identity;
    server.role = ETCP_SERVER;
    server.identity = server_identity;
    CHECK_INT(end_init(&sim->agent, agent_pool, &agent, sim->now_us), 0);
    CHECK_INT(end_init(&sim->server, server_pool, &server, sim->now_us), 0);
    /* Borrowed for etcp_conn_new() only. */
    etcp_identity_free(agent_identity);
    etcp_identity_free(server_identity);
    sim->wire[0].random = sim->wire[1].random = 1;
}

void sim_done(struct sim *sim)
{
    end_done(&sim->agent);
    end_done(&sim->server);
    for (int way = 0; way < 2; way++) {
        end_bytes_done(&sim->wire[way].waiting);
    }
}

static uint32_t next_random(struct sim_wire *wire)
{
    wire->random = wire->random * 1664525u + 1013904223u + (uint32_t)wire->at;
    return wire->random >> 8;
}

/* The size of the packet or record at the front, 0 if it is not all there. */
static size_t packet_size(const struct sim *sim, const struct sim_wire *wire, enum sim_way way)
{
    const struct end_bytes *b = &wire->waiting;
    bool classic = sim->suite == ETCP_SUITE_CLASSIC;
    bool network = sim->suite == ETCP_SUITE_AES256GCM_NETWORK || sim->suite == ETCP_SUITE_CHACHA20POLY1305_NETWORK;
    size_t size;

    if (way == SIM_TO_SERVER && wire->packets == 0) {
        size = network ? 58 : 42;
    } else if (way == SIM_TO_SERVER && wire->packets == 1 && !classic) {
        size = 65;
    } else if (way == SIM_TO_AGENT && wire->packets == 0) {
        size = classic ? 69 : 105;
    } else if (b->len < 4) {
        return 0;
    } else {
        size = 16 + ((size_t)b->data[0] << 24 | (size_t)b->data[1] << 16 | (size_t)b->data[2] << 8 | b->data[3]);
    }
    return b->len >= size ? size : 0;
}

static void deliver(struct sim_wire *wire, struct end *to, const uint8_t *bytes, size_t len)
{
    wire->moved += len;
    end_feed(to, bytes, len);
}

/* Whole packets only; this packet repeated, dropped, or behind the next one. */
static bool move_packets(struct sim *sim, enum sim_way way, struct end *from, struct end *to)
{
    struct sim_wire *wire = &sim->wire[way];
    size_t size, second;
    bool moved = false;

    end_bytes_add(&wire->waiting, from->out.data, from->out.len);
    end_bytes_drop(&from->out, from->out.len);
    while ((size = packet_size(sim, wire, way)) > 0) {
        if (wire->packets == wire->at && !wire->did) {
            if (wire->damage == SIM_SWAP) {
                struct end_bytes first = wire->waiting;

                wire->waiting = (struct end_bytes){.data = first.data + size, .len = first.len - size};
                wire->packets++;
                second = packet_size(sim, wire, way);
                wire->packets--;
                wire->waiting = first;
                if (second == 0) {
                    return moved;
                }
                wire->did = true;
                wire->packets += 2;
                deliver(wire, to, wire->waiting.data + size, second);
                deliver(wire, to, wire->waiting.data, size);
                end_bytes_drop(&wire->waiting, size + second);
                return true;
            }
            wire->did = true;
            wire->packets++;
            if (wire->damage == SIM_REPEAT) {
                deliver(wire, to, wire->waiting.data, size);
                deliver(wire, to, wire->waiting.data, size);
            }
        } else {
            wire->packets++;
            deliver(wire, to, wire->waiting.data, size);
        }
        end_bytes_drop(&wire->waiting, size);
        moved = true;
    }
    return moved;
}

/* Delivers what one end has to say, as the wire's damage has it. */
static bool move(struct sim *sim, enum sim_way way)
{
    struct sim_wire *wire = &sim->wire[way];
    struct end *from = way == SIM_TO_SERVER ? &sim->agent : &sim->server;
    struct end *to = way == SIM_TO_SERVER ? &sim->server : &sim->agent;
    size_t len = from->out.len;
    uint8_t *bytes;

    if (len == 0 || wire->held || to->eof) {
        return false;
    }
    switch (wire->damage) {
    case SIM_WHOLE:
        break;
    case SIM_CUT:
        if (!wire->did && wire->at >= wire->moved && wire->at < wire->moved + len) {
            len = wire->at - wire->moved;
            wire->did = wire->held = true;
        }
        break;
    case SIM_BYTES:
        len = 1;
        break;
    case SIM_CHUNKS:
        if (len > 1) {
            len = 1 + next_random(wire) % (len < 4096 ? len : 4096);
        }
        break;
    case SIM_TRUNCATE:
        if (wire->moved + len > wire->at) {
            len = wire->at - wire->moved;
            wire->did = true;
        }
        break;
    case SIM_FLIP:
        if (wire->at >= wire->moved && wire->at < wire->moved + len) {
            from->out.data[wire->at - wire->moved] ^= (uint8_t)(1u << wire->bit);
            wire->did = true;
        }
        break;
    case SIM_REPEAT:
    case SIM_DROP:
    case SIM_SWAP:
        return move_packets(sim, way, from, to);
    }
    /* The other end may answer at once, so these bytes leave the queue first. */
    bytes = malloc(len > 0 ? len : 1);
    CHECK(bytes != NULL);
    if (len > 0) {
        memcpy(bytes, from->out.data, len);
        end_bytes_drop(&from->out, len);
        deliver(wire, to, bytes, len);
    }
    free(bytes);
    if (wire->damage == SIM_TRUNCATE && wire->did) {
        sim_disconnect(sim);
    }
    return true;
}

/* An end that has closed, and whose last words have arrived, shuts its side of the transport. */
static bool shut(struct sim *sim, enum sim_way way)
{
    struct end *from = way == SIM_TO_SERVER ? &sim->agent : &sim->server;
    struct end *to = way == SIM_TO_SERVER ? &sim->server : &sim->agent;

    if (to->eof || !etcp_conn_closing(from->conn) || from->out.len > 0 || sim->wire[way].held) {
        return false;
    }
    end_eof(to);
    end_pump(to);
    return true;
}

void sim_run(struct sim *sim)
{
    bool moving = true;

    end_pump(&sim->agent);
    end_pump(&sim->server);
    while (moving) {
        moving = move(sim, SIM_TO_SERVER);
        moving = move(sim, SIM_TO_AGENT) || moving;
        if (!moving) {
            moving = sim->wire[0].held || sim->wire[1].held;
            sim->wire[0].held = sim->wire[1].held = false;
        }
        moving = shut(sim, SIM_TO_SERVER) || moving;
        moving = shut(sim, SIM_TO_AGENT) || moving;
    }
}

void sim_talk(struct sim *sim, sim_script script)
{
    unsigned step = 0;

    sim_run(sim);
    while (script(sim, step++)) {
        CHECK(step < 100000);
        sim_run(sim);
    }
    sim_run(sim);
}

void sim_pass(struct sim *sim, uint64_t us)
{
    uint64_t end_us = sim->now_us + us;

    for (unsigned i = 0; sim->now_us < end_us; i++) {
        uint64_t a = etcp_conn_deadline(sim->agent.conn), s = etcp_conn_deadline(sim->server.conn);
        uint64_t next = a < s ? a : s;

        CHECK(i < 100000);
        if (next > end_us) {
            next = end_us;
        }
        if (next > sim->now_us) {
            sim->now_us = next;
        }
        if (sim->now_us >= a) {
            end_tick(&sim->agent, sim->now_us);
            CHECK(etcp_conn_deadline(sim->agent.conn) > sim->now_us);
        }
        if (sim->now_us >= s) {
            end_tick(&sim->server, sim->now_us);
            CHECK(etcp_conn_deadline(sim->server.conn) > sim->now_us);
        }
        sim->agent.now_us = sim->server.now_us = sim->now_us;
        sim_run(sim);
    }
}

void sim_disconnect(struct sim *sim)
{
    end_bytes_drop(&sim->agent.out, sim->agent.out.len);
    end_bytes_drop(&sim->server.out, sim->server.out.len);
    end_eof(&sim->agent);
    end_eof(&sim->server);
}
