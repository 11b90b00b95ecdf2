/* SPDX-License-Identifier: MIT
 *
 * Who may have how many of the process's descriptors: connections of agents come first, so that streams to backends, of which each
 * takes one too, keep nobody from getting in. */
#ifndef SERVER_DESCRIPTORS_H
#define SERVER_DESCRIPTORS_H

#include <stdbool.h>
#include <stddef.h>

struct config_server;

/* Raises the limit as far as it goes, and keeps of it for connections what all that are allowed need, at most a quarter; the rest is
 * for backends. Warns if there are fewer than these connections need. On the main thread. */
void descriptors_share(const struct config_server *config, size_t workers);

/* Takes one for a backend; false: there is none left. Each is given back once. On any thread. */
bool descriptors_take(void);
void descriptors_give(void);

#endif
