/* SPDX-License-Identifier: MIT
 *
 * The kernel's congestion control, by its name, for a socket: `congestion_control`. */
#ifndef NET_CONGESTION_H
#define NET_CONGESTION_H

#include "base/error.h"

enum { CONGESTION_NAME_BYTES = 16 }; /* with the end; the kernel's TCP_CA_NAME_MAX */

/* Whether this process may use it; "" is always fine. May have the kernel load it. Returns 0, or -ENOENT, -EPERM or another -errno
 * with an error text that names what there is, where the kernel says so. */
int congestion_check(const char *name, struct error_text *ret_error);

/* For a TCP socket, and for all that are accepted from it. Returns 0 or -errno. */
int congestion_set(int fd, const char *name);

/* What a socket has; "" for one that is not TCP. */
void congestion_get(int fd, char ret_name[static CONGESTION_NAME_BYTES]);

#endif
