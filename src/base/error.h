/* SPDX-License-Identifier: MIT
 *
 * The one error object of base, config and keys: text for people, made where the cause is known. It says where, what was
 * wrong, and what was expected or what to do; whoever attempted the work logs it. The result code goes beside it. */
#ifndef ETCP_BASE_ERROR_H
#define ETCP_BASE_ERROR_H

enum {
    ERROR_TEXT_BYTES = 1024,
    ERROR_LINE_BYTES = 512, /* of those that follow */
    ERROR_LINES_MAX = 20,
};

struct error_text {
    /* Terminated, without a full stop; longer text is cut. One line; of a configuration one for each mistake. */
    char text[ERROR_TEXT_BYTES + ERROR_LINES_MAX * ERROR_LINE_BYTES];
};

/* Writes the text into `ret_error` (NULL: nowhere) and returns `result`, so that a failing function can
 * `return error_set(...)`. */
int error_set(struct error_text *ret_error, int result, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Leaves no text, for error_add(). */
void error_clear(struct error_text *ret_error);

/* As error_set(), but adds a line to those that are there; up to ERROR_LINES_MAX, then one that says that there are more. */
int error_add(struct error_text *error, int result, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Goes through the lines of a text: stores the length of the next one and moves *at, the text at first, behind it. Returns
 * it, or NULL if there is none. */
const char *error_next_line(const char **at, int *ret_len);

#endif
