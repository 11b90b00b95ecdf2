/* SPDX-License-Identifier: MIT */
#ifndef ETCP_BASE_UTF8_H
#define ETCP_BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* The bytes of the character that begins at `s` (len >= 1), and its code point unless `ret_point` is NULL; 0 if none does. As RFC
 * 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF. */
size_t utf8_length(const uint8_t *s, size_t len, uint32_t *ret_point);

#endif
