/* SPDX-License-Identifier: MIT
 *
 * Who may have how many of the process's descriptors: connections of agents come first, so that streams to backends, of which each
 * takes one too, keep nobody from getting in. */
#ifndef SERVER_DESCRIPTORS_H
#define SERVER_DESCRIPTORS_H

#include <stdbool.h>
#include <stddef.h>

struct config_server;

/* Raises the limit as far as it goes, and leaves to backends what all connections that are allowed don't need, at least a quarter. Warns
 * if that is too little for these connections. On the main thread. */
void descriptors_share(const struct config_server *config, size_t workers);

/* Takes one for a backend; false: there is none left. Each is given back once. On any thread. */
bool descriptors_take(void);
void descriptors_give(void);

#endif
