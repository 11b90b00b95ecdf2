/* SPDX-License-Identifier: MIT
 *
 * Who may send next on a link that several streams share. A stream that has more to send than it was let waits in one of the link's
 * two queues (link_wait(), link_leave(), link_turn() in link.h), so that a turn costs the same however many streams there are: those
 * with little to say have a queue of their own, which comes first unless it left the others nothing the last time. */
#ifndef NET_TURNS_H
#define NET_TURNS_H

#include <stdbool.h>

struct link;

/* Whether `writable` or turns are due that no event of the socket will bring. */
bool turns_due(const struct link *link);

/* Calls `writable`, if the handler waits for it, and lets those send who wait, each once and as far as there is room. Calls handlers:
 * from the loop's callbacks alone. */
void turns_give(struct link *link);

#endif
