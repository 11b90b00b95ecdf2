/* SPDX-License-Identifier: MIT
 *
 * Small buffers that collect what one turn of a loop makes for one owner, to be handed over when the turn ends. Few, and kept. */
#ifndef NET_PARCELS_H
#define NET_PARCELS_H

#include <stddef.h>
#include <stdint.h>

#include <sys/queue.h>

struct event_base;
struct parcels;

enum { PARCEL_BYTES = 4096, PARCELS_MAX = 64 };

struct parcel {
    void (*deliver)(void *owner);
    void *owner;
    LIST_ENTRY(parcel) place; /* among those in use, or the free ones */
    size_t len;
    uint8_t data[PARCEL_BYTES];
};

/* Returns 0 and an owned set, or -ENOMEM. */
int parcels_new(struct event_base *base, struct parcels **ret_parcels);

/* All parcels must have been given back. NULL is fine. */
void parcels_free(struct parcels *parcels);

/* An empty parcel; NULL when PARCELS_MAX are in use, or without memory. `deliver(owner)` is called when the other callbacks of this
 * turn are done, and gives it back; giving it back before then is fine too. */
struct parcel *parcels_take(struct parcels *parcels, void (*deliver)(void *owner), void *owner);
void parcels_give_back(struct parcels *parcels, struct parcel *parcel);

#endif
