/* SPDX-License-Identifier: MIT
 *
 * Single values as text: numbers, durations, sizes. Each parser takes all of the text or nothing. */
#ifndef ETCP_CONFIG_VALUE_H
#define ETCP_CONFIG_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All return 0; -EINVAL (not of this form), -ERANGE (does not fit); *ret_value is untouched then. */
int value_parse_bool(const char *text, bool *ret_value);       /* true or false */
int value_parse_number(const char *text, uint64_t *ret_value); /* decimal digits */
int value_parse_real(const char *text, double *ret_value);     /* digits with at most one decimal point */
int value_parse_duration(const char *text, uint64_t *ret_us);  /* 50us 250ms 10s 5min 1h, and 0 */
int value_parse_size(const char *text, uint64_t *ret_bytes);   /* 512 64KiB 1MiB */

/* Shows text of a file in a message: escaped, cut to fit, and not at all if it may be a secret key in the wrong place. */
void value_show(const char *text, size_t len, char *ret_text, size_t size);

enum { VALUE_TEXT_BYTES = 32 };

/* Write a value in its largest unit that keeps it exact. */
void value_format_duration(uint64_t us, char ret_text[static VALUE_TEXT_BYTES]);
void value_format_size(uint64_t bytes, char ret_text[static VALUE_TEXT_BYTES]);

#endif
