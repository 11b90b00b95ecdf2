/* SPDX-License-Identifier: MIT
 *
 * A reload's first half: reading files and resolving names may block, so a thread does it. It may block for longer than the
 * server lives. */
#ifndef SERVER_LOADING_H
#define SERVER_LOADING_H

#include "base/error.h"

struct loading;
struct loop;
struct snapshot;

/* Loads a snapshot of the configuration at `path`, a string that stays for ever (NULL: as in snapshot_load()). `done` is called
 * from the loop, with 0 and a borrowed snapshot, or -errno and what is wrong; the loading has gone then. Returns 0 or -errno. */
int loading_start(struct loop *loop, const char *path,
                  void (*done)(int result, struct snapshot *snapshot, struct error_text *error, void *user), void *user,
                  struct loading **ret_loading);

/* Waits for nothing: `done` is not called. NULL is fine. From the loop's thread. */
void loading_abandon(struct loading *loading);

#endif
