/* SPDX-License-Identifier: MIT
 *
 * Names that operators give, and that more than one room has to recognise. */
#ifndef ETCP_BASE_NAME_H
#define ETCP_BASE_NAME_H

#include <stdbool.h>
#include <stddef.h>

enum {
    NAME_AGENT_MAX = 64, /* characters of an agent's name */
};

/* Whether `len` characters are an agent's name: 1 to 64 of a-z A-Z 0-9 . _ -, and not what
 * looks like a key: names are logged, and a secret key may be in the wrong place. */
bool name_agent_valid(const char *name, size_t len);

#endif
