/* SPDX-License-Identifier: MIT */
#include "net/parcels.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include <event2/event.h>

struct parcels {
    struct event *turn_end; /* made active by the first that is taken: it comes behind whatever is active by then */
    LIST_HEAD(parcel_list, parcel) used, unused;
    unsigned made;
};

static void on_turn_end(evutil_socket_t fd, short what, void *arg)
{
    struct parcels *parcels = arg;

    (void)fd;
    (void)what;
    for (unsigned i = 0; !LIST_EMPTY(&parcels->used) && i < PARCELS_MAX; i++) {
        struct parcel *parcel = LIST_FIRST(&parcels->used);

        parcel->deliver(parcel->owner);
    }
    if (!LIST_EMPTY(&parcels->used)) {
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
    assert(LIST_EMPTY(&parcels->used));
    while (!LIST_EMPTY(&parcels->unused)) {
        struct parcel *parcel = LIST_FIRST(&parcels->unused);

        LIST_REMOVE(parcel, place);
        free(parcel);
    }
    event_free(parcels->turn_end);
    free(parcels);
}

struct parcel *parcels_take(struct parcels *parcels, void (*deliver)(void *owner), void *owner)
{
    struct parcel *parcel = LIST_FIRST(&parcels->unused);

    if (parcel != NULL) {
        LIST_REMOVE(parcel, place);
    } else if (parcels->made < PARCELS_MAX) {
        parcel = malloc(sizeof(*parcel));
        parcels->made += parcel != NULL;
    }
    if (parcel == NULL) {
        return NULL;
    }
    if (LIST_EMPTY(&parcels->used)) {
        event_active(parcels->turn_end, EV_TIMEOUT, 0);
    }
    parcel->deliver = deliver;
    parcel->owner = owner;
    parcel->len = 0;
    LIST_INSERT_HEAD(&parcels->used, parcel, place);
    return parcel;
}

void parcels_give_back(struct parcels *parcels, struct parcel *parcel)
{
    LIST_REMOVE(parcel, place);
    LIST_INSERT_HEAD(&parcels->unused, parcel, place);
}
