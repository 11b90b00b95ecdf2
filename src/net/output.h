/* SPDX-License-Identifier: MIT
 *
 * A descriptor that a loop writes to without ever waiting for it: a pipe, a terminal, a socket, a file, /dev/null. Others may
 * share it, and notice nothing: O_NONBLOCK belongs to all who do, so that it is left alone wherever that is possible, and put
 * back where not. */
#ifndef NET_OUTPUT_H
#define NET_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

struct loop;
struct output;

/* Whether the kernel tells when a descriptor is ready; where it does not (files, /dev/null), it always is. */
bool output_can_watch(int fd);

/* Borrows the loop, `fd` and `user`. `done` is told when what waited has been written (0), or why it can't be (-errno). Returns 0
 * or -errno. */
int output_new(struct loop *loop, int fd, void (*done)(int result, void *user), void *user, struct output **ret_output);

/* Writes `len` bytes of `text`, which it takes (free()). Nothing may wait already. Returns 0 if all of them were written; -EAGAIN if
 * they wait now, and `done` follows from the loop; else -errno. */
int output_write(struct output *output, char *text, size_t len);

/* Whether something waits. */
bool output_waits(const struct output *output);

/* What waits is not written. NULL is fine. */
void output_free(struct output *output);

#endif
