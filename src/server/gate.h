/* SPDX-License-Identifier: MIT
 *
 * The server's listening sockets, and accepting from them; on the main loop. When the system has no more descriptors or
 * memory, accepting pauses, and is tried again when a connection has gone, and every second. */
#ifndef SERVER_GATE_H
#define SERVER_GATE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "net/address.h"

struct gate;
struct loop;

/* Returns 0 and an owned gate without sockets, or -errno. `arrived` gets each connection, which it takes. */
int gate_new(struct loop *loop, void (*arrived)(int fd, void *user), void *user, struct gate **ret_gate);

/* Closes what is still open; NULL is fine. */
void gate_free(struct gate *gate);

/* Takes the sockets that systemd passed to this process; the gate then stays as it is. Stores how many there were. Returns 0, or
 * -errno with an error text. Logs what is listened on. */
int gate_adopt(struct gate *gate, size_t *ret_count, struct error_text *ret_error);

/* Listens on exactly these addresses: opens what is missing and closes what is not listed, or changes nothing. Returns 0, or
 * -errno with an error text. Logs what has changed. Without effect on a gate whose sockets are systemd's. */
int gate_set(struct gate *gate, const struct address *addresses, size_t count, struct error_text *ret_error);

/* Has connections use this congestion control ("": the system's), those that arrive from now on, through the sockets that there are and that
 * will be. Returns 0, or -errno with an error text, and nothing has changed. */
int gate_set_congestion(struct gate *gate, const char *name, struct error_text *ret_error);

/* The address that a socket listens on, with the port that it really has: of the index-th one; NULL: there are no more. */
const struct address *gate_address(const struct gate *gate, size_t index);

/* Stops listening for good. */
void gate_close(struct gate *gate);

/* Whether accepting pauses; from any thread. */
bool gate_is_paused(const struct gate *gate);

/* Tries to go on, if it pauses. */
void gate_retry(struct gate *gate);

#endif
