/* SPDX-License-Identifier: MIT
 *
 * Whether a server is the one that was meant, judged by its static key before anything is sent to it: pinned keys if there
 * are any, else the key that was met first at its address. Decides and remembers; says nothing to anybody. */
#ifndef AGENT_TRUST_H
#define AGENT_TRUST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <etcp/key.h>

#include "base/error.h"

struct trust {
    const uint8_t (*pins)[ETCP_KEY_BYTES]; /* any of them is accepted, and no other */
    size_t pin_count;                      /* 0: trust on first use */
    const char *known_servers;             /* the file that remembers; unused with pins. NULL: there is no such place */
};

enum trust_verdict {
    TRUST_PINNED = 1,
    TRUST_KNOWN,        /* the key that was remembered */
    TRUST_FIRST_USE,    /* not met before; it is remembered now */
    TRUST_NOT_PINNED,   /* refused: none of the pins */
    TRUST_CHANGED,      /* refused: another key is remembered: `known_key`, `line` */
    TRUST_NOT_RECORDED, /* refused: it can't be remembered, or what is remembered can't be read: `error` */
};

struct trust_decision {
    enum trust_verdict verdict;
    uint8_t known_key[ETCP_KEY_BYTES];
    unsigned line;
    struct error_text error;
};

/* Decides about the key that a server has proved to hold; `server` is its address as known_servers has it. On first use the
 * key is on disk when this returns. Returns whether to go on; *ret_decision tells why. */
bool trust_decide(const struct trust *trust, const char *server, const uint8_t key[static ETCP_KEY_BYTES],
                  struct trust_decision *ret_decision);

/* Whether a key that was trusted before would still be, without remembering anything: for a changed configuration. */
bool trust_allows(const struct trust *trust, const uint8_t key[static ETCP_KEY_BYTES]);

#endif
