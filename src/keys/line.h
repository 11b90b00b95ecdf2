/* SPDX-License-Identifier: MIT
 *
 * What the files of this room share: lines of words, comments, and words about keys that are not what they should be. */
#ifndef ETCP_KEYS_LINE_H
#define ETCP_KEYS_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <etcp/key.h>

#include "base/error.h"

/* A walk over the lines of a text. Start from {.at = text, .end = text + len}. */
struct line_reader {
    const char *at;
    const char *end;
    unsigned number; /* of the line that was read last */
};

/* Finds the next line that is neither blank nor a comment (begins with #); not terminated. False: there is none. */
bool line_next(struct line_reader *reader, const char **ret_line, size_t *ret_len);

/* Splits a line at its first run of blanks: the length of the first word, and what follows without blanks at its end
 * (length 0: nothing). */
size_t line_split(const char *line, size_t len, const char **ret_rest, size_t *ret_rest_len);

/* Sets "FILE:LINE: " and what is wrong with a key (an enum etcp_error of etcp_key_parse()) and what to do. Never shows the key:
 * it may be a secret in the wrong place. `number` 0: no line. Returns -EINVAL. */
int line_bad_key(const char *name, unsigned number, const char *key, size_t len, int error, enum etcp_key_kind expected,
                 struct error_text *ret_error);

/* Nobody: as no user is called. */
#define LINE_NOBODY ((uid_t)-1)

/* file_read_guarded(), with an error text in case of failure. -ENOENT is left without one. `reader` is the user on whose behalf root
 * looks, who may own the file and must be able to read it; LINE_NOBODY: it is for ourselves. */
int line_file_read(const char *path, int max, uid_t reader, char **ret_text, size_t *ret_len,
                   struct error_text *ret_error);

/* Whether the files in a directory can be believed. Returns 0, also if there is none, or an error text and -EPERM: others may
 * exchange them. `friend` may own it, too; LINE_NOBODY: nobody else. */
int line_check_directory(const char *directory, uid_t friend, struct error_text *ret_error);

/* "public key (etcp-pub-)" */
const char *line_kind_name(int kind);

#endif
