/* SPDX-License-Identifier: MIT */
#include "net/parcels.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include <event2/event.h>

struct parcels {
    struct event *turn_end; /* made active by the first that is taken: it comes behind whatever is active by then */
    struct parcel *used, *unused;
    unsigned made;
};

static void on_turn_end(evutil_socket_t fd, short what, void *arg)
{
    struct parcels *parcels = arg;

    (void)fd;
    (void)what;
    for (unsigned i = 0; parcels->used != NULL && i < PARCELS_MAX; i++) {
        struct parcel *parcel = parcels->used;

        parcel->deliver(parcel->owner);
    }
    if (parcels->used != NULL) {
        event_active(parcels->turn_end, EV_TIMEOUT, 0);
    }
}

int parcels_new(struct event_base *base, struct parcels **ret_parcels)
{
    struct parcels *parcels = calloc(1, sizeof(*parcels));

    if (parcels == NULL) {
        return -ENOMEM;
    }
    parcels->turn_end = evtimer_new(base, on_turn_end, parcels);
    if (parcels->turn_end == NULL) {
        free(parcels);
        return -ENOMEM;
    }
    *ret_parcels = parcels;
    return 0;
}

void parcels_free(struct parcels *parcels)
{
    if (parcels == NULL) {
        return;
    }
    assert(parcels->used == NULL);
    while (parcels->unused != NULL) {
        struct parcel *parcel = parcels->unused;

        parcels->unused = parcel->next;
        free(parcel);
    }
    event_free(parcels->turn_end);
    free(parcels);
}

struct parcel *parcels_take(struct parcels *parcels, void (*deliver)(void *owner), void *owner)
{
    struct parcel *parcel = parcels->unused;

    if (parcel != NULL) {
        parcels->unused = parcel->next;
    } else if (parcels->made < PARCELS_MAX) {
        parcel = malloc(sizeof(*parcel));
        parcels->made += parcel != NULL;
    }
    if (parcel == NULL) {
        return NULL;
    }
    if (parcels->used == NULL) {
        event_active(parcels->turn_end, EV_TIMEOUT, 0);
    } else {
        parcels->used->previous = parcel;
    }
    parcel->deliver = deliver;
    parcel->owner = owner;
    parcel->next = parcels->used;
    parcel->previous = NULL;
    parcel->len = 0;
    parcels->used = parcel;
    return parcel;
}

void parcels_give_back(struct parcels *parcels, struct parcel *parcel)
{
    if (parcel->previous != NULL) {
        parcel->previous->next = parcel->next;
    } else {
        parcels->used = parcel->next;
    }
    if (parcel->next != NULL) {
        parcel->next->previous = parcel->previous;
    }
    parcel->next = parcels->unused;
    parcels->unused = parcel;
}
