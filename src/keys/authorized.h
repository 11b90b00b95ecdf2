/* SPDX-License-Identifier: MIT
 *
 * authorized_agents: which public keys the server accepts, and what they are called. One "etcp-pub-... name" per line;
 * several keys may share a name (rotation). A list is constant once made: a reload makes a new one and swaps it in. */
#ifndef ETCP_KEYS_AUTHORIZED_H
#define ETCP_KEYS_AUTHORIZED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <etcp/key.h>

#include "base/error.h"

enum {
    AUTHORIZED_FILE_MAX = 4 << 20, /* bytes of the file */
};

struct authorized;

/* Reads a file. A file that is not there is an empty list, of which authorized_missing() is true.
 * Returns 0 and an owned list, or an error text ("FILE:LINE: ...") and -EINVAL (content), -ENOMEM, -EPERM (the file is
 * neither the user's nor root's, or everybody may write it), or what reading said. */
int authorized_load(const char *path, struct authorized **ret_list, struct error_text *ret_error);

/* The same for a look before the daemon reads it: root looks on behalf of the daemon's user (keyfile_daemon_user()), who may own the
 * file and must be able to read it; else -EACCES. */
int authorized_check(const char *path, struct authorized **ret_list, struct error_text *ret_error);

/* The same from text, which need not be terminated; `name` stands for the file in messages. */
int authorized_parse(const char *text, size_t len, const char *name, struct authorized **ret_list,
                     struct error_text *ret_error);

/* NULL is fine. */
void authorized_free(struct authorized *list);

/* The name of a key, valid as long as the list, or NULL. Which keys are listed can't be learned from the time it takes. */
const char *authorized_find(const struct authorized *list, const uint8_t key[static ETCP_KEY_BYTES]);

/* Whether any key has this name. */
bool authorized_has_name(const struct authorized *list, const char *name);

/* How many keys there are. */
size_t authorized_count(const struct authorized *list);

/* Whether the file was not there. */
bool authorized_missing(const struct authorized *list);

#endif
