/* SPDX-License-Identifier: MIT
 *
 * Everything that a reload replaces, read whole or not at all: configuration, authorised agents, keys, addresses to listen
 * on. Constant once made; the main loop and each worker hold a reference to the one they work by. */
#ifndef SERVER_SNAPSHOT_H
#define SERVER_SNAPSHOT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/error.h"
#include "config/server.h"
#include "keys/authorized.h"
#include "keys/keyfile.h"
#include "net/address.h"

struct snapshot {
    atomic_uint references;
    struct config_server *config;
    struct authorized *authorized;
    struct keyfile_identity identity;
    struct address *binds; /* what `bind` resolved to, without doubles */
    size_t bind_count;
};

/* Reads all of it; blocks on files and on name resolution. `path` NULL: the default path, whose file need not exist.
 * `bind`: whether the addresses of `bind` are wanted. Returns 0 and one reference, or -errno with an error text and in
 * *ret_exit_code the sysexits(3) code to end with. */
int snapshot_load(const char *path, bool bind, struct snapshot **ret_snapshot, int *ret_exit_code,
                  struct error_text *ret_error);

/* Only the configuration, as snapshot_load() reads it. */
int snapshot_load_config(const char *path, struct config_server **ret_config, int *ret_exit_code,
                         struct error_text *ret_error);

/* Writes every setting with its value and where it came from, and which key is used where none is named. */
void snapshot_dump(const struct config_server *config, FILE *out);

/* Reads the files that the configuration names, as snapshot_load() does, but makes no key and keeps nothing. Returns 0, or -errno
 * with an error text and the code to exit with. */
int snapshot_check_files(const struct config_server *config, int *ret_exit_code, struct error_text *ret_error);

/* The sysexits(3) code for an -errno: permission, unavailable, or else `otherwise`. */
int snapshot_exit_code(int r, int otherwise);

/* Logs the identity, and what in the rest may not be as it was meant. */
void snapshot_announce(const struct snapshot *snapshot);

struct snapshot *snapshot_hold(struct snapshot *snapshot);

/* Gives a reference back; NULL is fine. */
void snapshot_release(struct snapshot *snapshot);

/* The service of a name, or NULL. */
const struct config_service *snapshot_service(const struct snapshot *snapshot, const char *name);

/* Whether an agent of this name (NULL: its key is not listed) may use a service. */
bool snapshot_allows(const struct config_service *service, const char *agent);

/* Whether an agent may connect: its key is listed, or some service is for everybody. */
bool snapshot_welcomes(const struct snapshot *snapshot, const char *agent);

#endif
