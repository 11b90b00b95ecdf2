/* SPDX-License-Identifier: MIT
 *
 * From an accepted socket to the worker that it stays with; on the main loop. Where a PROXY header is required, connections wait
 * here until theirs has been read: nothing is believed, counted under an address or handed on before. */
#ifndef SERVER_ENTRANCE_H
#define SERVER_ENTRANCE_H

#include <stddef.h>

struct census;
struct entrance;
struct snapshot;
struct worker;

/* Borrows the workers, of which the first one's loop is the main loop, and the census. Returns 0 and an entrance, or -ENOMEM. */
int entrance_new(struct census *census, struct worker *const *workers, size_t count, struct entrance **ret_entrance);

/* Takes an accepted socket, by the rules of the snapshot. */
void entrance_take(struct entrance *entrance, struct snapshot *snapshot, int fd);

/* Closes what still waits. */
void entrance_clear(struct entrance *entrance);

/* The same, and frees; NULL is fine. */
void entrance_free(struct entrance *entrance);

#endif
