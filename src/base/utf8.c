/* SPDX-License-Identifier: MIT */
#include "base/utf8.h"

size_t utf8_length(const uint8_t *s, size_t len, uint32_t *ret_point)
{
    size_t need = 1;
    uint32_t point = s[0];
    uint32_t least = 0;

    if (s[0] >= 0xc2 && s[0] <= 0xdf) {
        need = 2;
        point = s[0] & 0x1fu;
        least = 0x80;
    } else if (s[0] >= 0xe0 && s[0] <= 0xef) {
        need = 3;
        point = s[0] & 0x0fu;
        least = 0x800;
    } else if (s[0] >= 0xf0 && s[0] <= 0xf4) {
        need = 4;
        point = s[0] & 0x07u;
        least = 0x10000;
    } else if (s[0] >= 0x80) {
        return 0;
    }
    if (len < need)
        return 0;
    for (size_t i = 1; i < need; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        point = point << 6 | (s[i] & 0x3fu);
    }
    if (point < least || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
        return 0;
    if (ret_point)
        *ret_point = point;
    return need;
}
