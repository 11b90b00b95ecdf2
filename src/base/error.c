/* SPDX-License-Identifier: MIT */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

int error_set(struct error_text *ret_error, int result, const char *format, ...)
{
    va_list args;

    if (ret_error) {
        va_start(args, format);
        (void)vsnprintf(ret_error->text, sizeof ret_error->text, format, args); /* cut if too long, as promised */
        va_end(args);
    }
    return result;
}
