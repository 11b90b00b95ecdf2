/* SPDX-License-Identifier: MIT
 *
 * Key files (section 7): one key as text on one line, blank lines and lines that begin with # aside. Secrets go straight
 * into memory that is locked, undumped, and wiped when freed. Error texts say what, where, and what to do. */
#ifndef ETCP_KEYS_KEYFILE_H
#define ETCP_KEYS_KEYFILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <etcp/key.h>

#include "base/error.h"

/* Loads a key of this kind. A secret or network key must lie in a regular file that belongs to the user or root and that
 * nobody else may touch. Stores 32 owned bytes in secret memory (keyfile_key_free()).
 * Returns 0, or an error text and -ENOENT, -EPERM (owner or mode), -EINVAL (content), -ENOMEM, or what reading said. */
int keyfile_load(const char *path, enum etcp_key_kind kind, uint8_t **ret_key, struct error_text *ret_error);

/* Wipes and frees; NULL is fine. */
void keyfile_key_free(uint8_t *key);

/* Writes a key to a new file, durably: 0600, a public key 0644. Returns 0, or an error text and -EEXIST (never over an existing
 * file), or what writing said. */
int keyfile_create(const char *path, enum etcp_key_kind kind, const uint8_t key[static ETCP_KEY_BYTES],
                   struct error_text *ret_error);

/* The state directory: $STATE_DIRECTORY, else /var/lib/etcp for root, else $XDG_STATE_HOME/etcp, else ~/.local/state/etcp.
 * Makes no directory. Stores an owned path (free()). Returns 0, -ENOMEM, or -ENOENT if there is no home to go by. */
int keyfile_state_directory(char **ret_path);

struct keyfile_request {
    const char *role;             /* "server" or "agent": server.key, agent.key */
    const char *identity;         /* path from the configuration; "": look in the places below */
    const char *network_key_file; /* path from the configuration; "": none */
};

struct keyfile_identity {
    struct etcp_identity *identity;
    char *path;   /* the secret key's file */
    bool created; /* this is the first start: the key was made now */
};

/* Loads the identity from the configured file, else ROLE.key in $CREDENTIALS_DIRECTORY if it is there, else ROLE.key in the
 * state directory, which must be the user's or root's, and not writable by everybody. Only there a missing key is made (0600), with its public key in ROLE.pub beside it (0644); of two
 * processes that do so at once, both get the same key. A missing public copy is made anew, a wrong one replaced; if that
 * fails (a read-only directory), the identity is good all the same.
 * Fills *ret_identity. Returns 0, or an error text and as keyfile_load() and keyfile_create(). */
int keyfile_identity_load(const struct keyfile_request *request, struct keyfile_identity *ret_identity,
                          struct error_text *ret_error);

/* The same for somebody else than the daemon, who makes and writes nothing: a key that is not there is an error. Root may have that
 * of the user whom the state directory belongs to. Returns 0, or an error text and as keyfile_load(). */
int keyfile_identity_borrow(const struct keyfile_request *request, struct keyfile_identity *ret_identity,
                            struct error_text *ret_error);

/* Which file keyfile_identity_load() would take or make; it need not be there. Stores an owned path (free()). Returns 0, or as
 * keyfile_state_directory(). */
int keyfile_identity_path(const struct keyfile_request *request, char **ret_path);

/* The user whom the state directory belongs to, for root, who looks on that user's behalf; (uid_t)-1 for others. */
uid_t keyfile_daemon_user(void);

/* Reads what keyfile_identity_load() would, and makes and writes nothing: that a key would have to be made is fine. Root looks on
 * behalf of the user whom the state directory belongs to: the keys have to be that user's. A directory of credentials that may not be looked into is passed over.
 * Returns 0, or an error text and as keyfile_identity_load(). */
int keyfile_identity_check(const struct keyfile_request *request, struct error_text *ret_error);

/* Frees what is in it and leaves it empty. */
void keyfile_identity_done(struct keyfile_identity *identity);

#endif
