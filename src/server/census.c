/* SPDX-License-Identifier: MIT
 *
 * Addresses are kept in a balanced tree: strangers choose them, and no choice makes it slow. */
#include "server/census.h"

#include <errno.h>
#include <pthread.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

struct source {
    struct address_key key; /* first: the tree compares it */
    uint32_t connections, handshakes;
};

struct census {
    pthread_mutex_t lock;
    void *sources; /* of struct source; bounded by max_connections */
    struct census_counts counts;
    uint32_t refusing;
    struct census_totals totals;
};

/* For people; census_limit_name() has the identifiers. */
static const char *const limit_texts[CENSUS_LIMITS] = {
    [CENSUS_CONNECTIONS] = "max_connections",
    [CENSUS_CONNECTIONS_PER_ADDRESS] = "max_connections_per_address",
    [CENSUS_HANDSHAKES] = "max_handshakes",
    [CENSUS_HANDSHAKES_PER_ADDRESS] = "max_handshakes of one address",
    [CENSUS_MEMORY] = "memory",
};

static int compare(const void *a, const void *b)
{
    const struct source *left = a, *right = b;

    return memcmp(left->key.bytes, right->key.bytes, sizeof(left->key.bytes));
}

int census_new(struct census **ret_census)
{
    struct census *census = calloc(1, sizeof(*census));
    int r;

    if (census == NULL) {
        return -ENOMEM;
    }
    r = pthread_mutex_init(&census->lock, NULL);
    if (r != 0) {
        free(census);
        return -r;
    }
    *ret_census = census;
    return 0;
}

void census_free(struct census *census)
{
    if (census != NULL) {
        tdestroy(census->sources, free);
        (void)pthread_mutex_destroy(&census->lock);
        free(census);
    }
}

static struct source *find(struct census *census, const struct address_key *key)
{
    struct source wanted = {.key = *key};
    struct source **node = tfind(&wanted, &census->sources, compare);

    return node != NULL ? *node : NULL;
}

/* The source of an address, new if need be; NULL without memory. */
static struct source *meet(struct census *census, const struct address_key *key)
{
    struct source *source = find(census, key);

    if (source != NULL) {
        return source;
    }
    source = calloc(1, sizeof(*source));
    if (source == NULL) {
        return NULL;
    }
    source->key = *key;
    if (tsearch(source, &census->sources, compare) == NULL) {
        free(source);
        return NULL;
    }
    return source;
}

/* `known`: has been judged by the totals already, of which it is a part. */
static enum census_limit judge(const struct census *census, const struct census_limits *limits,
                               const struct source *source, bool known)
{
    uint32_t share = limits->handshakes / CENSUS_HANDSHAKES_SHARE;

    share = share > 0 ? share : 1;
    if (!known && census->counts.connections >= limits->connections) {
        return CENSUS_CONNECTIONS;
    }
    if (source != NULL && source->connections >= limits->connections_per_address) {
        return CENSUS_CONNECTIONS_PER_ADDRESS;
    }
    if (!known && census->counts.handshakes >= limits->handshakes) {
        return CENSUS_HANDSHAKES;
    }
    if (source != NULL && source->handshakes >= share) {
        return CENSUS_HANDSHAKES_PER_ADDRESS;
    }
    return CENSUS_LIMITS;
}

/* Counts a welcome one under its address. */
static enum census_limit settle(struct census *census, const struct address_key *key)
{
    struct source *source = meet(census, key);

    if (source == NULL) {
        return CENSUS_MEMORY;
    }
    source->connections++;
    source->handshakes++;
    census->totals.welcome++;
    return CENSUS_LIMITS;
}

/* Counts one that has met a limit. */
static enum census_verdict refuse(struct census *census, enum census_limit limit, const char **ret_limit)
{
    census->totals.refused[limit]++;
    *ret_limit = limit_texts[limit];
    if (census->refusing == CENSUS_REFUSING_MAX) {
        return CENSUS_CLOSE;
    }
    census->refusing++;
    return CENSUS_REFUSE;
}

enum census_verdict census_enter(struct census *census, const struct census_limits *limits,
                                 const struct address_key *key, const char **ret_limit)
{
    enum census_verdict verdict = CENSUS_WELCOME;
    enum census_limit limit = CENSUS_LIMITS;

    (void)pthread_mutex_lock(&census->lock);
    limit = judge(census, limits, key != NULL ? find(census, key) : NULL, false);
    if (limit == CENSUS_LIMITS && key != NULL) {
        limit = settle(census, key);
    }
    if (limit == CENSUS_LIMITS) {
        census->counts.connections++;
        census->counts.handshakes++;
    } else {
        verdict = refuse(census, limit, ret_limit);
    }
    (void)pthread_mutex_unlock(&census->lock);
    return verdict;
}

enum census_verdict census_name(struct census *census, const struct census_limits *limits,
                                const struct address_key *key, const char **ret_limit)
{
    enum census_verdict verdict = CENSUS_WELCOME;
    enum census_limit limit = CENSUS_LIMITS;

    (void)pthread_mutex_lock(&census->lock);
    limit = judge(census, limits, find(census, key), true);
    if (limit == CENSUS_LIMITS) {
        limit = settle(census, key);
    }
    if (limit != CENSUS_LIMITS) {
        census->counts.connections--;
        census->counts.handshakes--;
        verdict = refuse(census, limit, ret_limit);
    }
    (void)pthread_mutex_unlock(&census->lock);
    return verdict;
}

void census_authenticated(struct census *census, const struct address_key *key)
{
    (void)pthread_mutex_lock(&census->lock);
    census->counts.handshakes--;
    find(census, key)->handshakes--;
    (void)pthread_mutex_unlock(&census->lock);
}

void census_leave(struct census *census, const struct address_key *key, enum census_verdict verdict, bool authenticated)
{
    struct source *source = NULL;

    (void)pthread_mutex_lock(&census->lock);
    if (verdict == CENSUS_REFUSE) {
        census->refusing--;
    } else if (verdict == CENSUS_WELCOME) {
        census->counts.connections--;
        census->counts.handshakes -= !authenticated;
        if (key != NULL) {
            source = find(census, key);
            source->connections--;
            source->handshakes -= !authenticated;
            if (source->connections == 0) {
                (void)tdelete(source, &census->sources, compare);
                free(source);
            }
        }
    }
    (void)pthread_mutex_unlock(&census->lock);
}

void census_count(struct census *census, struct census_counts *ret_counts)
{
    (void)pthread_mutex_lock(&census->lock);
    *ret_counts = census->counts;
    (void)pthread_mutex_unlock(&census->lock);
}

void census_total(struct census *census, struct census_totals *ret_totals)
{
    (void)pthread_mutex_lock(&census->lock);
    *ret_totals = census->totals;
    (void)pthread_mutex_unlock(&census->lock);
}

const char *census_limit_name(enum census_limit limit)
{
    return limit == CENSUS_HANDSHAKES_PER_ADDRESS ? "max_handshakes_per_address" : limit_texts[limit];
}
