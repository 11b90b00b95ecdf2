/* SPDX-License-Identifier: MIT
 *
 * The one error object of base, config and keys: text for people, made where the cause is known. It says where, what was
 * wrong, and what was expected or what to do; whoever attempted the work logs it. The result code goes beside it. */
#ifndef ETCP_BASE_ERROR_H
#define ETCP_BASE_ERROR_H

enum {
    ERROR_TEXT_BYTES = 1024,
};

struct error_text {
    char text[ERROR_TEXT_BYTES]; /* one line, terminated, without a full stop; longer text is cut */
};

/* Writes the text into `ret_error` (NULL: nowhere) and returns `result`, so that a failing function can
 * `return error_set(...)`. */
int error_set(struct error_text *ret_error, int result, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
