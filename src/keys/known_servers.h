/* SPDX-License-Identifier: MIT
 *
 * known_servers: which key an agent met first at a server's address. "etcp-pub-... ADDRESS" per line, in the state
 * directory. What is there is never changed or overwritten: a person does that who knows why the key is another. */
#ifndef ETCP_KEYS_KNOWN_SERVERS_H
#define ETCP_KEYS_KNOWN_SERVERS_H

#include <stddef.h>
#include <stdint.h>

#include <etcp/key.h>

#include "base/error.h"

enum {
    KNOWN_SERVERS_FILE_MAX = 1 << 20,
};

/* Looks up the key of an address (config_address_format()'s text) in the file. Stores the key, and the number of
 * its line for messages. Returns 0, -ENOENT (the address, or the whole file, is not there), or an error text
 * ("FILE:LINE: ...") and -EINVAL (content), -EPERM (the file or its directory is neither the
 * user's nor root's, or everybody may write it), or what reading said. */
int known_servers_find(const char *path, const char *address, uint8_t ret_key[static ETCP_KEY_BYTES],
                       unsigned *ret_line, struct error_text *ret_error);

/* Adds an address with its key, durably and in one step, making the directory (0700) if need be. 0 also if just that
 * is there already. Else an error text and -EEXIST (the address has another key), -EAGAIN (another process is just
 * writing: try again later; this one never waits), or as known_servers_find(), or what writing said. */
int known_servers_add(const char *path, const char *address, const uint8_t key[static ETCP_KEY_BYTES],
                      struct error_text *ret_error);

#endif
