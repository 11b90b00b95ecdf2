/* SPDX-License-Identifier: MIT
 *
 * Who is here: counts connections and handshakes, in total and per source address, and decides who may come in. The one thing
 * that the loops of the server share; it is asked when a connection comes, has authenticated, and goes. */
#ifndef SERVER_CENSUS_H
#define SERVER_CENSUS_H

#include <stdbool.h>
#include <stdint.h>

#include "net/address.h"

struct census;

struct census_limits {
    uint32_t connections, connections_per_address;
    uint32_t handshakes; /* connections that have not authenticated; of one address an eighth of it, at least one */
};

enum {
    CENSUS_REFUSING_MAX = 64,    /* connections that are only waited for to tell them that they were refused */
    CENSUS_HANDSHAKES_SHARE = 8, /* one address may have one of so many parts of the handshakes */
};

enum census_verdict {
    CENSUS_WELCOME = 0,
    CENSUS_REFUSE, /* counted as being refused: a handshake may be begun to say so */
    CENSUS_CLOSE,  /* not counted: close the socket */
};

/* The limit that a connection met. */
enum census_limit {
    CENSUS_CONNECTIONS,
    CENSUS_CONNECTIONS_PER_ADDRESS,
    CENSUS_HANDSHAKES,
    CENSUS_HANDSHAKES_PER_ADDRESS,
    CENSUS_MEMORY,
    CENSUS_LIMITS, /* none */
};

/* All that came, since the start. */
struct census_totals {
    uint64_t welcome; /* and with a key */
    uint64_t refused[CENSUS_LIMITS];
};

/* Counts of the moment. */
struct census_counts {
    uint32_t connections; /* all but those being refused */
    uint32_t handshakes;  /* of these, not authenticated yet */
};

/* Returns 0 and an owned census, or -errno. */
int census_new(struct census **ret_census);

/* NULL is fine. */
void census_free(struct census *census);

/* Judges a newcomer and counts it. Names the limit that was met in *ret_limit (static), unless it is welcome. `key` NULL: where it
 * comes from is not known yet, so only totals are judged, until census_name(). */
enum census_verdict census_enter(struct census *census, const struct census_limits *limits,
                                 const struct address_key *key, const char **ret_limit);

/* A welcome one that came without a key has one. Judges it by what it does not share with all others, and counts it anew. As
 * census_enter(); when it is to be closed, it is not counted any more. */
enum census_verdict census_name(struct census *census, const struct census_limits *limits,
                                const struct address_key *key, const char **ret_limit);

/* A welcome one has authenticated. */
void census_authenticated(struct census *census, const struct address_key *key);

/* One that was counted has gone; `key` NULL: it never had one. */
void census_leave(struct census *census, const struct address_key *key, enum census_verdict verdict,
                  bool authenticated);

void census_count(struct census *census, struct census_counts *ret_counts);
void census_total(struct census *census, struct census_totals *ret_totals);

/* "max_connections", as an identifier; static. */
const char *census_limit_name(enum census_limit limit);

#endif
