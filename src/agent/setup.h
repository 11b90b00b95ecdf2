/* SPDX-License-Identifier: MIT
 *
 * What an agent needs to run, read from its files: configuration, keys, and whom to trust. All of it or nothing: a reload
 * makes a new one. */
#ifndef AGENT_SETUP_H
#define AGENT_SETUP_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <etcp/key.h>

#include "agent/trust.h"
#include "base/error.h"
#include "config/agent.h"
#include "keys/keyfile.h"

enum {
    SETUP_TAG_BYTES = 32,
};

struct setup {
    unsigned references;
    struct config_agent *config;
    struct keyfile_identity keys;
    struct trust trust;
    char *known_servers;                      /* what `trust` points to */
    uint8_t network_key_tag[SETUP_TAG_BYTES]; /* a hash that tells whether the network key is another; zeros: none */
};

/* Reads the configuration at `path`; NULL: at CONFIG_AGENT_PATH, and the defaults if there is no such file.
 * Returns 0 and an owned configuration, or an error text and -errno as config_agent_load(). */
int setup_config(const char *path, struct config_agent **ret_config, struct error_text *ret_error);

/* Writes every setting with its value and where it came from, and which files are used where none is named. */
void setup_dump(const struct config_agent *config, FILE *out);

/* Reads the keys that the configuration names, as setup_load() does, but makes none. Returns 0, or an error text and -errno. */
int setup_check_files(const struct config_agent *config, struct error_text *ret_error);

/* The configuration with everything that it names, making the identity at first start. Returns 0 and one reference to a setup, or an error text
 * and -errno; *ret_config_bad tells whether the configuration itself was the cause (or memory), not a key. */
int setup_load(const char *path, struct setup **ret_setup, bool *ret_config_bad, struct error_text *ret_error);

/* One reference more; the result is its argument. */
struct setup *setup_hold(struct setup *setup);

/* Gives a reference back; wipes and frees it with the last. NULL is fine. */
void setup_free(struct setup *setup);

/* The file that remembers servers' keys; owned, NULL if there is no state directory or no memory. */
char *setup_known_servers(void);

/* Whether a connection that `old` allowed, to `server` with this key (NULL in the classic suite) and suite, is one that `setup` would
 * make. */
bool setup_allows(const struct setup *setup, const struct setup *old, const struct config_address *server,
                  const uint8_t *key, int suite);

#endif
