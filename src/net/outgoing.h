/* SPDX-License-Identifier: MIT
 *
 * The output of links, in order. What is sealed becomes a piece of the loop's batch, wherever it lies, and the batch is written
 * when the pump ends, when it is full, when another link of the loop wants it, and before anything that it points to goes away.
 * What the socket does not take then is copied to the link's backlog, and while there is a backlog nothing is sealed. So the
 * order of sealing is the order on the wire, and memory is bounded by one batch.
 *
 * A link that is shared by several streams gets what they send one by one. Small records of such a link are put into a parcel
 * when the pump ends, and all that has come together in one turn of the loop is written at its end: one system call, one segment
 * and one wake-up of the peer instead of as many as there are streams. Parcels are the loop's, and few; without one, or when it
 * is full, the link writes at once. */
#ifndef NET_OUTGOING_H
#define NET_OUTGOING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct link;

/* Makes the batch the link's own, with room for one more piece and `room` bytes in the output buffer. Returns false when nothing may
 * be sealed now. */
bool outgoing_reserve(struct link *link, size_t room);

/* Adds what was sealed; outgoing_reserve() came before. */
void outgoing_append(struct link *link, uint8_t *data, size_t len);

/* The same for a record that was sealed where it had arrived. */
void outgoing_append_in_place(struct link *link, uint8_t *record, size_t len);

/* Writes what is sealed, or keeps it. Calls no handler, so it may be called for any link at any time. */
void outgoing_write(struct link *link);

/* The same at the end of the pump: small records of a shared link may wait for the end of the turn. */
void outgoing_finish(struct link *link);

/* The socket takes bytes again. There is a backlog. */
void outgoing_write_backlog(struct link *link);

/* Nothing more is written. */
void outgoing_drop(struct link *link);

#endif
